// SPDX-License-Identifier: BSD-2-Clause
//! A steady churn of routes: each comes, moves and goes, again and again, and is
//! in the end as it was in the beginning.

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::Prefix;
use super::clock::{self, Pace};
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::route::{Router, Target, Verb, parse_list};
use super::sys::Errno;
use super::table::Table;

/// Routes that take a step each before the first of them takes its next.
const GROUP: u64 = 256;
/// A prime, so that its multiples visit all routes when their number is none of them.
const STRIDE: u64 = 7_919;

/// Whose routes change.
enum Routes {
    /// `count` prefixes from the first on, which are absent otherwise.
    Neighbours { first: Prefix, count: u32 },
    /// Those of a table that is loaded.
    Loaded(Table),
}

impl Routes {
    fn count(&self) -> u64 {
        match self {
            Self::Neighbours { count, .. } => u64::from(*count),
            Self::Loaded(table) => table.len() as u64,
        }
    }
}

struct Churn {
    routes: Routes,
    gateways: Vec<IpAddr>,
    /// What each route's next step starts from.
    stages: Vec<u8>,
    router: Router,
    /// Added, changed, deleted, errors.
    counts: [u64; 4],
    first_error: Option<alloc::string::String>,
}

/// `route flap PREFIX COUNT GATEWAY,... RATE ROUNDS`: `COUNT` neighbours of one
/// length are added, moved to each other gateway, and deleted. `route churn FILE
/// GATEWAY,... RATE ROUNDS`: routes of a table that was loaded with these gateways
/// move to the next gateway, are deleted, and added. `RATE` steps a second (0: as
/// fast as can be), `ROUNDS` steps (0: until stopped). Counters and the reply's
/// first line: added, changed, deleted, errors, milliseconds; the second is the
/// first error. What is put back at the end is counted, the time it takes is not.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    let (routes, gateways, rate, rounds) = match words {
        ["flap", prefix, count, gateways, rate, rounds] => {
            let (first, count) = (Prefix::parse(prefix)?, number(count, "count")?);
            (Routes::Neighbours { first, count }, gateways, rate, rounds)
        }
        ["churn", file, gateways, rate, rounds] => {
            (Routes::Loaded(Table::read(file)?), gateways, rate, rounds)
        }
        _ => {
            return Err(Failure::usage(
                "route flap PREFIX COUNT GATEWAYS RATE ROUNDS | churn FILE GATEWAYS RATE ROUNDS",
            ));
        }
    };
    let gateways = parse_list(gateways)?;
    if routes.count() == 0 || gateways.is_empty() {
        return Err(Failure::new("nothing to change"));
    }
    let churn = Churn {
        stages: vec![0; routes.count() as usize],
        routes,
        gateways,
        router: Router::for_changes()?,
        counts: [0; 4],
        first_error: None,
    };
    churn.run(number(rate, "rate")?, number(rounds, "rounds")?, meter)
}

impl Churn {
    fn run(mut self, rate: u64, rounds: u64, meter: &Meter) -> Outcome {
        let start = clock::monotonic_ms();
        let pace = Pace::per_second(rate);
        let mut step = 0;
        while (rounds == 0 || step < rounds) && !meter.stop_asked() {
            self.step(self.place(step));
            step += 1;
            self.publish(meter, start);
            pace.wait_for(step);
        }
        let took = clock::monotonic_ms() - start;
        for at in 0..self.stages.len() {
            if self.stages[at] != 0 {
                self.go(at, 0);
            }
        }
        let counts = self.counts.map(|count| count.to_string()).join(" ");
        Ok(vec![
            format!("{counts} {took}"),
            self.first_error.unwrap_or_default(),
        ])
    }

    fn publish(&self, meter: &Meter, start: u64) {
        for (slot, count) in self.counts.iter().enumerate() {
            meter.set(slot, *count);
        }
        meter.set(self.counts.len(), clock::monotonic_ms() - start);
    }

    /// Which route takes step number `step`: a group makes all its stages, then
    /// comes the next.
    fn place(&self, step: u64) -> usize {
        let count = self.routes.count();
        let group = GROUP.min(count);
        let round = step / (group * self.stage_count());
        let at = (round * group + step % group).wrapping_mul(STRIDE) % count;
        at as usize
    }

    /// How many states a route goes through.
    fn stage_count(&self) -> u64 {
        match self.routes {
            Routes::Neighbours { .. } => self.gateways.len() as u64 + 1,
            Routes::Loaded(_) => 3,
        }
    }

    fn prefix(&self, at: usize) -> Prefix {
        match &self.routes {
            Routes::Neighbours { first, .. } => first.following(at as u32),
            Routes::Loaded(table) => table.route(at).0,
        }
    }

    /// The gateway in a stage; `None` if the route is absent in it.
    fn gateway(&self, at: usize, stage: u8) -> Option<IpAddr> {
        let pick = match &self.routes {
            Routes::Neighbours { .. } => usize::from(stage).checked_sub(1)?,
            Routes::Loaded(table) => match stage {
                0 | 1 => table.route(at).1 + usize::from(stage),
                _ => return None,
            },
        };
        Some(self.gateways[pick % self.gateways.len()])
    }

    fn step(&mut self, at: usize) {
        let next = (u64::from(self.stages[at]) + 1) % self.stage_count();
        self.go(at, next as u8);
    }

    /// Takes route `at` to a stage, or leaves it where it is if the kernel refuses.
    fn go(&mut self, at: usize, stage: u8) {
        let (verb, target) = match (self.gateway(at, self.stages[at]), self.gateway(at, stage)) {
            (None, Some(gateway)) => (Verb::Add, Target::Gateway(gateway)),
            (Some(_), Some(gateway)) => (Verb::Change, Target::Gateway(gateway)),
            _ => (Verb::Delete, Target::Any),
        };
        let prefix = self.prefix(at);
        let result = self.router.send(verb, prefix, target, None);
        if result.is_ok() {
            self.stages[at] = stage;
        }
        self.note(verb, prefix, result);
    }

    fn note(&mut self, verb: Verb, prefix: Prefix, result: Result<(), Errno>) {
        let slot = match (result, verb) {
            (Err(error), _) => {
                self.first_error
                    .get_or_insert_with(|| format!("{verb:?} {prefix}: {error}"));
                3
            }
            (Ok(()), Verb::Change) => 1,
            (Ok(()), Verb::Delete) => 2,
            (Ok(()), _) => 0,
        };
        self.counts[slot] += 1;
    }
}
