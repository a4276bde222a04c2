// SPDX-License-Identifier: BSD-2-Clause
//! The clock, the timed loops, and the processor they are kept on.
//!
//! Time is processor time of this thread: what other programs take away on a busy
//! machine is no one's merit or fault. Nothing that is timed sleeps.

use crate::contender::Lookup;
use crate::family::Family;
use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// Processor time from its start on.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    start: Duration,
}

impl Watch {
    /// Starts now.
    ///
    /// # Panics
    ///
    /// If the system has no clock for the time of a thread.
    pub fn start() -> Self {
        Self { start: now() }
    }

    /// What this thread has taken since the start.
    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.start)
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.expect("POSIX has a clock for the time of a thread")
        .into()
}

/// The processor and how many of it there are.
pub fn machine() -> String {
    let name =
        processor(Path::new("/proc/cpuinfo")).unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{name}, {count} processors")
}

fn processor(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    Ok(name.context("no model name")?.1.to_owned())
}

/// Addresses that are looked up before a round is timed, to have the caches as
/// this side likes them.
const WARM: usize = 1 << 14;

/// Addresses in a batch.
pub const BATCH: usize = 16;

/// The processors that this thread may run on, in order.
pub fn processors() -> anyhow::Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("which processors may be used?")?;
    let all = 0..CpuSet::count();
    Ok(all
        .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .collect())
}

/// Keeps this thread on one processor.
pub fn stay(cpu: usize) -> anyhow::Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &one)
        .with_context(|| format!("cannot stay on processor {cpu}"))
}

/// How lookups follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// The processor may begin a lookup before the last one has ended.
    Independent,
    /// The next address is known only when the last answer is.
    Dependent,
    /// [`BATCH`] addresses a call.
    Batch,
}

impl Calls {
    /// All.
    pub const ALL: [Self; 3] = [Self::Independent, Self::Dependent, Self::Batch];

    /// The name in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Dependent => "dependent",
            Self::Batch => "batch of 16",
        }
    }

    /// Nanoseconds a lookup, over all keys.
    pub fn time<K: Family>(self, lookup: Lookup<'_, K>, keys: &[K::Address]) -> f64 {
        // The compiler must not know which functions these pointers point to.
        let lookup = black_box(lookup);
        black_box(self.run(lookup, &keys[keys.len().saturating_sub(WARM)..]));
        let watch = Watch::start();
        black_box(self.run(lookup, keys));
        watch.elapsed().as_nanos() as f64 / keys.len().max(1) as f64
    }

    /// Looks all keys up, and sums up the answers.
    fn run<K: Family>(self, lookup: Lookup<'_, K>, keys: &[K::Address]) -> u32 {
        match self {
            Self::Independent => keys
                .iter()
                .fold(0u32, |sum, key| sum.wrapping_add(lookup.one(key))),
            Self::Dependent => dependent(lookup, keys),
            Self::Batch => batches(lookup, keys),
        }
    }
}

/// Each key waits for the answer before it, which does not change it: only the
/// processor does not know that.
fn dependent<K: Family>(lookup: Lookup<'_, K>, keys: &[K::Address]) -> u32 {
    let nothing = black_box(0u32);
    (0..keys.len()).fold(0, |last, at| lookup.one_after(keys, at, last & nothing))
}

fn batches<K: Family>(lookup: Lookup<'_, K>, keys: &[K::Address]) -> u32 {
    let mut classes = [0; BATCH];
    let mut sum = 0u32;
    for keys in keys.chunks(BATCH) {
        let classes = &mut classes[..keys.len()];
        lookup.batch(keys, classes);
        sum = classes
            .iter()
            .fold(sum, |sum, &class| sum.wrapping_add(class));
    }
    sum
}

/// Nanoseconds a lookup where each key goes to a FIB of its own choice.
pub fn time_fibs<K: Family>(lookups: &[Lookup<'_, K>], keys: &[(u32, K::Address)]) -> f64 {
    let lookups = black_box(lookups);
    let run = |keys: &[(u32, K::Address)]| {
        keys.iter().fold(0u32, |sum, (fib, key)| {
            sum.wrapping_add(lookups[*fib as usize].one(key))
        })
    };
    black_box(run(&keys[keys.len().saturating_sub(WARM)..]));
    let watch = Watch::start();
    black_box(run(keys));
    watch.elapsed().as_nanos() as f64 / keys.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Route;

    /// Each kind of calls looks up the same.
    #[test]
    fn calls_differ_in_nothing_but_time() {
        let route = Route {
            prefix: 10 << 24,
            plen: 8,
            class: 3,
        };
        let mut table = u32::ours().table();
        table.add(&[route]).unwrap();
        // 70 keys, of which 50 are covered, and no whole number of batches.
        let keys: Vec<u32> = (0..70)
            .map(|n| if n < 50 { 10 << 24 | n } else { n })
            .collect();
        for calls in [Calls::Independent, Calls::Batch] {
            assert_eq!(calls.run(table.lookup(0), &keys), 150, "{calls:?}");
        }
        assert_eq!(Calls::Dependent.run(table.lookup(0), &keys[..50]), 3);
    }
}
