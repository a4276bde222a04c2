// SPDX-License-Identifier: BSD-2-Clause
//! How long a change takes until lookups see it: single changes, one call each,
//! and batches as an algorithm gets them that asks for batches.
//!
//! Both sides get the same changes. A round's values are quantiles over the
//! round's changes. What the caller does besides (its own routing table) is not
//! timed, nor is the time that a batch waits before it is begun.

use super::{Heat, OURS, log};
use crate::clock::Watch;
use crate::contender::Table;
use crate::family::Family;
use crate::record::{At, Metric, Record, Rounds};
use crate::routes::{Changes, Kind, Route};
use crate::stats::{mean, percentile};

pub(super) const TARGET: &str = "P4";

/// Changes in a batch: 10,000 a second, gathered for 50 ms.
const BATCH: usize = 500;

/// Of 100 changes, how many are done within the recorded time.
pub(super) const PERCENTILES: [f64; 6] = [10.0, 50.0, 90.0, 95.0, 99.0, 100.0];

/// Times of changes in microseconds, by kind.
#[derive(Default)]
struct Times {
    by_kind: [Vec<f64>; Kind::ALL.len()],
}

impl Times {
    fn push(&mut self, kind: Kind, time: f64) {
        self.by_kind[kind as usize].push(time);
    }
}

/// Changes both tables, and returns the routes that came last.
pub(super) fn run<K: Family>(
    heat: &Heat<'_, K>,
    ours: &mut dyn Table<K>,
    theirs: &mut dyn Table<K>,
    records: &mut Vec<Record>,
) -> anyhow::Result<Vec<Route<K>>> {
    log(&format!("changes of {OURS} and of {}", heat.peer.name()));
    let mut changes = Changes::new(heat.routes, 10);
    let mut rounds = vec![];
    let mut last = Vec::new();
    for _ in 0..heat.plan.rounds {
        let changes: Vec<_> = changes.by_ref().take(heat.plan.changes).collect();
        rounds.push((single(ours, &changes)?, single(theirs, &changes)?));
        last.extend(changes.into_iter().map(|(_, route)| route));
    }
    quantiles(heat, &rounds, records);
    let mut values = Rounds::default();
    for _ in 0..heat.plan.rounds {
        let batches: Vec<Vec<Route<K>>> = (0..heat.plan.batches.max(1))
            .map(|_| {
                changes
                    .by_ref()
                    .take(BATCH)
                    .map(|(_, route)| route)
                    .collect()
            })
            .collect();
        values.ours.push(batch(ours, &batches)?);
        values.theirs.push(batch(theirs, &batches)?);
        last.extend(batches.concat());
    }
    let work = format!(
        "{} change in batches of {BATCH}, {} next hops",
        K::TITLE,
        heat.next_hops
    );
    let metric = Metric::lower("time a change", "us");
    let at = At {
        change: "batch".into(),
        ..heat.at("change")
    };
    records.push(heat.pair.record(TARGET, work, metric, &values, at));
    Ok(last)
}

fn single<K: Family>(
    table: &mut dyn Table<K>,
    changes: &[(Kind, Route<K>)],
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for (kind, route) in changes {
        let change = std::slice::from_ref(route);
        table.prepare(0, change)?;
        let watch = Watch::start();
        table.commit(0, change)?;
        times.push(*kind, watch.elapsed().as_nanos() as f64 / 1e3);
    }
    Ok(times)
}

/// Microseconds a change, over all batches.
fn batch<K: Family>(table: &mut dyn Table<K>, batches: &[Vec<Route<K>>]) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(batches.len());
    for changes in batches {
        table.prepare(0, changes)?;
        let watch = Watch::start();
        table.commit(0, changes)?;
        times.push(watch.elapsed().as_nanos() as f64 / 1e3 / changes.len().max(1) as f64);
    }
    Ok(mean(&times))
}

/// Records the mean and the quantiles of each kind.
fn quantiles<K: Family>(heat: &Heat<'_, K>, rounds: &[(Times, Times)], records: &mut Vec<Record>) {
    let over_rounds = |value: &dyn Fn(&Times) -> f64| Rounds {
        ours: rounds.iter().map(|(ours, _)| value(ours)).collect(),
        theirs: rounds.iter().map(|(_, theirs)| value(theirs)).collect(),
    };
    for kind in Kind::ALL {
        let work = format!(
            "{} single change, {}, {} next hops",
            K::TITLE,
            kind.name(),
            heat.next_hops
        );
        let mut push = |name, percentile, values: Rounds| {
            let at = At {
                change: kind.name().into(),
                percentile,
                ..heat.at("change")
            };
            let metric = Metric::lower(name, "us");
            let record = heat.pair.record(TARGET, work.clone(), metric, &values, at);
            records.push(record);
        };
        let values = |times: &Times| times.by_kind[kind as usize].clone();
        push("mean", None, over_rounds(&|times| mean(&values(times))));
        for percent in PERCENTILES {
            let values = over_rounds(&|times| percentile(&values(times), percent));
            push(name(percent), Some(percent), values);
        }
    }
}

pub(super) fn name(percent: f64) -> &'static str {
    match percent as u32 {
        10 => "p10",
        50 => "p50",
        90 => "p90",
        95 => "p95",
        99 => "p99",
        _ => "max",
    }
}
