// SPDX-License-Identifier: BSD-2-Clause
//! The race of wire formats: checksums, headers found, long packets cut. Both sides
//! alternate, A B A B, in one process, on one processor; what they make is compared before
//! anything is timed.

mod cuts;
mod headers;
mod peers;
mod sums;

pub use peers::{Loaded, load};

use crate::clock::Watch;
use crate::race::OURS;
use crate::record::{At, Metric, Pair, Record, Rounds};
use std::collections::BTreeMap;
use std::hint::black_box;

/// How much is raced.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of everything.
    pub rounds: usize,
    /// Bytes or so that are gone through in each.
    pub bytes: usize,
}

impl Plan {
    /// What the targets ask for.
    pub fn full() -> Self {
        Self {
            rounds: 15,
            bytes: 1 << 22,
        }
    }

    /// A glance.
    pub fn quick() -> Self {
        Self {
            rounds: 7,
            bytes: 1 << 19,
        }
    }
}

/// Something that is timed: a call of it does the work once.
type Work<'w> = &'w mut dyn FnMut() -> u64;

/// What is done.
struct What {
    /// In words.
    work: String,
    /// The experiment: `sum`, `crc`, `headers` or `cut`.
    experiment: &'static str,
    /// How the packet lies in memory; empty where it lies always alike.
    shape: &'static str,
}

/// What is the same in a whole race.
struct Race<'r> {
    plan: &'r Plan,
    machine: &'r str,
    records: Vec<Record>,
}

/// Races everything.
pub fn run(plan: &Plan, machine: &str, loaded: &[Loaded]) -> Vec<Record> {
    let mut race = Race {
        plan,
        machine,
        records: Vec::new(),
    };
    sums::race(&mut race, loaded);
    headers::race(&mut race);
    cuts::race(&mut race);
    race.records
}

impl Race<'_> {
    /// Races our way against each peer's of the same work, over about so many bytes a call.
    fn pair(
        &mut self,
        target: &str,
        what: What,
        bytes: usize,
        ours: Work<'_>,
        (peer, version): (&str, &str),
        theirs: Work<'_>,
    ) {
        let calls = (self.plan.bytes / (bytes + 60)).max(64);
        let mut rounds = Rounds::default();
        // One turn that does not count.
        for round in 0..=self.plan.rounds {
            let (one, other) = (time(ours, calls), time(theirs, calls));
            if round > 0 {
                rounds.ours.push(one);
                rounds.theirs.push(other);
            }
        }
        let versions = [
            (OURS.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            (peer.to_owned(), version.to_owned()),
            ("rustc".to_owned(), env!("WEFT_RUSTC").to_owned()),
        ];
        let pair = Pair {
            peer: peer.into(),
            machine: self.machine.into(),
            versions: BTreeMap::from(versions),
        };
        let metric = Metric::lower("time a packet", "ns");
        let at = At {
            experiment: what.experiment.into(),
            pattern: what.shape.into(),
            bytes: (bytes > 0).then_some(bytes),
            ..At::default()
        };
        self.records
            .push(pair.record(target, what.work, metric, &rounds, at));
    }
}

/// Nanoseconds a call.
fn time(work: Work<'_>, calls: usize) -> f64 {
    let watch = Watch::start();
    for _ in 0..calls {
        black_box(work());
    }
    watch.elapsed().as_nanos() as f64 / calls as f64
}

/// Bytes that look like nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| byte()).collect()
}
