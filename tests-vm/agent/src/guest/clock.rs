// SPDX-License-Identifier: BSD-2-Clause
//! Time: what the clocks say, and waiting.

use alloc::format;
use alloc::vec;

use super::command::{Failure, Outcome, number};
use super::sys;

/// Nanoseconds since boot.
pub(super) fn monotonic_ns() -> u64 {
    sys::clock(libc::CLOCK_MONOTONIC)
}

/// Milliseconds since boot.
pub(super) fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// `uptime` (seconds since boot), `time` (nanoseconds since 1970), `sleep MS`.
pub(super) fn command(verb: &str, words: &[&str]) -> Outcome {
    match (verb, words) {
        ("uptime", []) => Ok(vec![format!(
            "{}.{:03}",
            monotonic_ms() / 1000,
            monotonic_ms() % 1000
        )]),
        ("time", []) => Ok(vec![format!("{}", sys::clock(libc::CLOCK_REALTIME))]),
        ("sleep", [ms]) => {
            sys::sleep(number::<u64>(ms, "sleep")? * 1_000_000);
            Ok(vec![])
        }
        _ => Err(Failure::usage("uptime | time | sleep MS")),
    }
}

/// Spreads events evenly over time.
pub(super) struct Pace {
    start: u64,
    interval_ns: u64,
}

impl Pace {
    /// `rate` events a second; 0 means as fast as can be.
    pub(super) fn per_second(rate: u64) -> Self {
        Self {
            start: monotonic_ns(),
            interval_ns: 1_000_000_000u64.checked_div(rate).unwrap_or(0),
        }
    }

    /// Sleeps until event number `event` is due.
    pub(super) fn wait_for(&self, event: u64) {
        if self.interval_ns == 0 {
            return;
        }
        let due = self.start + event * self.interval_ns;
        let now = monotonic_ns();
        if due > now {
            sys::sleep(due - now);
        }
    }
}
