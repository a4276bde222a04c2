// SPDX-License-Identifier: BSD-2-Clause
//! What a command takes of the processor in all, interrupts and the kernel's threads
//! included: a loop of idle priority takes the rest, and knows how much that was. For guests
//! with one CPU, whose clock counts instructions.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use super::clock;
use super::command::{self, Failure, Outcome};
use super::job::{self, Meter};
use super::sys;

/// Turns of the loop between two looks at the clock.
const TURNS: u64 = 1000;
/// How long the loop may take to come to its end, in milliseconds.
const LIMIT_MS: u64 = 10_000;

/// `spent WORDS...` runs a command in this process. The line: what the command says; ticks of
/// the processor's clock that passed, and those of them that were not left over.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    let rest = job::spawn(&["spin".to_string()])?;
    while !rest.is_ready() {
        sys::sleep(1_000_000);
    }
    let outcome = command::run(words, meter);
    rest.ask_to_stop();
    let left = rest.collect(clock::monotonic_ms() + LIMIT_MS)?;
    let mut lines = outcome?;
    lines.extend(left);
    Ok(vec![lines.join(" ")])
}

/// `spin` takes what nobody else wants of a processor, until it is stopped. Whatever some turns
/// took longer than the fastest ones, others had.
pub(super) fn spin(words: &[&str], meter: &Meter) -> Outcome {
    if !words.is_empty() {
        return Err(Failure::usage("spin"));
    }
    sys::be_idle()?;
    let (mut chunks, mut least) = (0u64, u64::MAX);
    sys::turn(TURNS);
    let start = sys::ticks();
    let mut last = start;
    meter.ready();
    while !meter.stop_asked() {
        sys::turn(TURNS);
        let now = sys::ticks();
        least = least.min(now - last);
        (last, chunks) = (now, chunks + 1);
    }
    let passed = last - start;
    let others = passed.saturating_sub(chunks * least.min(passed));
    Ok(vec![format!("{passed} {others}")])
}
