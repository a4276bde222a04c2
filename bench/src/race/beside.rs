// SPDX-License-Identifier: BSD-2-Clause
//! Lookups beside changes: one processor looks up without end, another changes the
//! table 10,000 times a second, each change at its time.
//!
//! A side hears of changes as the kernel tells its algorithm: one by one, or
//! gathered, the clock for which starts with the first change of a batch. A change
//! is *seen* when `commit` has returned, and the time until then begins when the
//! system's routing table has it. Of the lookups we ask how many fewer there are in
//! a second of processor time than without changes.
//!
//! Readers are in a section of a real epoch for each [`BURST`] of lookups, as the
//! kernel is for packets that come together; what changes take out waits for them.

use super::change::{PERCENTILES, TARGET, name};
use super::{Field, Plan, addresses, at, compare, log, one_fib, willing};
use crate::clock::{self, Watch};
use crate::contender::{Changing, Contender, Live, Table};
use crate::family::Family;
use crate::keys::{self, Pattern};
use crate::record::{At, Metric, Pair, Record, Rounds};
use crate::routes::{Changes, Route};
use crate::stats::percentile;
use anyhow::Context;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use weft_engine::sim::epoch::Section;

/// Changes a second.
const RATE: u32 = 10_000;
/// Lookups in a section.
const BURST: usize = 64;
/// A round has room for so many times of gathering.
const WINDOWS: u32 = 2;
/// How long lookups run without changes, as a part of the time with them ...
const QUIET: u32 = 2;
/// ... and before that without being timed, for the other side had the caches.
const WARM: u32 = 8;

/// Races who can be looked up in while it is changed; alone if there is no peer.
pub(super) fn run<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    routes: &[Route<K>],
    next_hops: &'static str,
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    let Some(writer) = field.writer else {
        log("skipped: lookups beside changes, there is one processor only");
        return Ok(());
    };
    if !field.ours.is_live() {
        return Ok(());
    }
    let mut race = |peer: Option<&dyn Contender<K>>, gathers| {
        let race = Race {
            plan,
            pair: field.pair(peer),
            ours: field.ours.as_ref(),
            peer,
            gathers,
            routes,
            next_hops,
            writer,
        };
        race.run(records)
    };
    let mut alone = true;
    for peer in willing(field, routes.len(), plan.slow).filter(|peer| peer.is_live()) {
        alone = false;
        let gathers = match peer.gathers() {
            [] => &[Duration::ZERO],
            gathers => gathers,
        };
        for &gathers in gathers {
            race(Some(peer), gathers).with_context(|| format!("beside {}", peer.name()))?;
        }
    }
    if alone {
        race(None, Duration::ZERO)?;
    }
    Ok(())
}

struct Race<'r, K: Family> {
    plan: &'r Plan,
    pair: Pair,
    ours: &'r dyn Contender<K>,
    peer: Option<&'r dyn Contender<K>>,
    /// How long the peer's caller gathers changes; ours does not.
    gathers: Duration,
    routes: &'r [Route<K>],
    next_hops: &'static str,
    writer: usize,
}

/// One side of the race.
struct Side<K: Family> {
    table: Box<dyn Table<K>>,
    gathers: Duration,
    changes: Changes<K>,
    turns: Vec<Turn>,
}

/// What one turn of a side came to.
struct Turn {
    /// Nanoseconds a lookup: without changes, and beside them.
    quiet: f64,
    beside: f64,
    written: Written,
}

/// What the writer came to.
#[derive(Default)]
struct Written {
    /// Microseconds until each change was seen.
    seen: Vec<f64>,
    /// Processor time of all commits.
    busy: Duration,
}

impl Written {
    /// Microseconds of processor time a change.
    fn cost(&self) -> f64 {
        self.busy.as_secs_f64() * 1e6 / self.seen.len().max(1) as f64
    }
}

impl<K: Family> Race<'_, K> {
    fn run(&self, records: &mut Vec<Record>) -> anyhow::Result<()> {
        log(&format!("{}: {}", self.work(), self.pair.peer));
        let keys = addresses(&Pattern::Announced.keys(self.routes, self.plan.keys, 12));
        let time = self.plan.beside.max(self.gathers * WINDOWS);
        let mut ours = self.side(self.ours, Duration::ZERO)?;
        let theirs = self.peer.map(|peer| self.side(peer, self.gathers));
        let mut theirs = theirs.transpose()?;
        for _ in 0..self.plan.rounds {
            for side in std::iter::once(&mut ours).chain(&mut theirs) {
                let turn = side.turn(&keys, time, self.writer)?;
                side.turns.push(turn);
            }
        }
        if let Some(theirs) = &theirs {
            let keys = keys::checks(self.routes, self.plan.checks, 13);
            compare(ours.table.as_ref(), theirs.table.as_ref(), &keys)
                .context("after changes beside lookups")?;
        }
        self.record(
            &ours.turns,
            theirs.as_ref().map(|side| &*side.turns),
            records,
        );
        Ok(())
    }

    fn side(&self, contender: &dyn Contender<K>, gathers: Duration) -> anyhow::Result<Side<K>> {
        Ok(Side {
            table: one_fib(contender, self.routes)?.0,
            gathers,
            changes: Changes::new(self.routes, 14),
            turns: Vec::new(),
        })
    }

    fn work(&self) -> String {
        let how = match self.gathers.as_millis() {
            0 => String::new(),
            time => format!(", the peer's gathered for {time} ms"),
        };
        format!(
            "{} {RATE} changes a second beside lookups, {} next hops{how}",
            K::TITLE,
            self.next_hops
        )
    }

    fn record(&self, ours: &[Turn], theirs: Option<&[Turn]>, records: &mut Vec<Record>) {
        let mut push = |metric, percentile, value: &dyn Fn(&Turn) -> f64| {
            let rounds = Rounds {
                ours: ours.iter().map(value).collect(),
                theirs: theirs.unwrap_or_default().iter().map(value).collect(),
            };
            let at = At {
                next_hops: self.next_hops.into(),
                prefixes: self.routes.len(),
                change: "seen".into(),
                gathers: self.peer.map(|_| self.gathers.as_secs_f64() * 1e3),
                percentile,
                ..at::<K>("beside")
            };
            records.push(self.pair.record(TARGET, self.work(), metric, &rounds, at));
        };
        push(Metric::loss("lookups lost"), None, &|turn| {
            100.0 * (1.0 - turn.quiet / turn.beside)
        });
        let time = Metric::lower("time a lookup", "ns");
        push(time, None, &|turn| turn.beside);
        let cost = Metric::lower("processor time a change", "us");
        push(cost, None, &|turn| turn.written.cost());
        for percent in PERCENTILES {
            push(Metric::lower(name(percent), "us"), Some(percent), &|turn| {
                percentile(&turn.written.seen, percent)
            });
        }
    }
}

impl<K: Family> Side<K> {
    /// Looks up alone for a while, and then beside changes.
    fn turn(&mut self, keys: &[K::Address], time: Duration, writer: usize) -> anyhow::Result<Turn> {
        let due = (time.as_secs_f64() * f64::from(RATE)) as usize;
        let changes = self.changes.by_ref().take(due);
        let changes: Vec<Route<K>> = changes.map(|(_, route)| route).collect();
        let gathers = self.gathers;
        let (mut changing, live) = self.table.split(0)?;
        let alone = |time| {
            let end = Instant::now() + time;
            look_up(live.as_ref(), keys, || Instant::now() >= end)
        };
        alone(time / WARM);
        let quiet = alone(time / QUIET);
        let ended = AtomicBool::new(false);
        let (beside, written) = thread::scope(|scope| {
            let handle = scope.spawn(|| {
                let written = clock::stay(writer)
                    .and_then(|()| Writer::new(changing.as_mut(), gathers).run(&changes));
                ended.store(true, Ordering::Release);
                written
            });
            let beside = look_up(live.as_ref(), keys, || ended.load(Ordering::Acquire));
            (beside, handle.join().expect("a writer does not panic"))
        });
        Ok(Turn {
            quiet,
            beside,
            written: written?,
        })
    }
}

/// Looks up until the end, and returns the nanoseconds a lookup took.
fn look_up<K: Family>(live: &dyn Live<K>, keys: &[K::Address], ends: impl Fn() -> bool) -> f64 {
    let mut looked_up = 0usize;
    let watch = Watch::start();
    for keys in keys.chunks(BURST).cycle() {
        let section = Section::enter();
        let lookup = live.lookup(&section);
        let sum = keys
            .iter()
            .fold(0u32, |sum, key| sum.wrapping_add(lookup.one(key)));
        black_box(sum);
        looked_up += keys.len();
        if ends() {
            break;
        }
    }
    watch.elapsed().as_nanos() as f64 / looked_up.max(1) as f64
}

/// Changes a table, each change at its time.
struct Writer<'w, K: Family> {
    changing: &'w mut dyn Changing<K>,
    gathers: Duration,
    /// When the routing table had each change that was not committed yet.
    waiting: Vec<Instant>,
    written: Written,
}

impl<'w, K: Family> Writer<'w, K> {
    fn new(changing: &'w mut dyn Changing<K>, gathers: Duration) -> Self {
        Self {
            changing,
            gathers,
            waiting: Vec::new(),
            written: Written::default(),
        }
    }

    /// Makes all changes.
    fn run(mut self, changes: &[Route<K>]) -> anyhow::Result<Written> {
        let start = Instant::now();
        for (at, change) in changes.iter().enumerate() {
            let due = start + Duration::from_secs(1) * at as u32 / RATE;
            if self.end_of_gathering().is_some_and(|end| end <= due) {
                self.commit(&changes[..at])?;
            }
            sleep_until(due);
            self.changing.prepare(std::slice::from_ref(change))?;
            self.waiting.push(Instant::now());
            if self.gathers.is_zero() {
                self.commit(&changes[..=at])?;
            }
        }
        if !self.waiting.is_empty() {
            self.commit(changes)?;
        }
        Ok(self.written)
    }

    /// When the changes that wait have waited long enough.
    fn end_of_gathering(&self) -> Option<Instant> {
        self.waiting.first().map(|&first| first + self.gathers)
    }

    /// Commits those of `changes` that wait, its last ones, when it is time to.
    fn commit(&mut self, changes: &[Route<K>]) -> anyhow::Result<()> {
        self.end_of_gathering().into_iter().for_each(sleep_until);
        let watch = Watch::start();
        self.changing
            .commit(&changes[changes.len() - self.waiting.len()..])?;
        self.written.busy += watch.elapsed();
        let seen = Instant::now();
        let times = self.waiting.drain(..).map(|told| (seen - told).as_nanos());
        self.written
            .seen
            .extend(times.map(|time| time as f64 / 1e3));
        Ok(())
    }
}

fn sleep_until(time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
