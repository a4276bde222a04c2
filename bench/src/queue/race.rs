// SPDX-License-Identifier: BSD-2-Clause
//! What is measured: packets a second at the device, and how long a packet is on its way
//! while producers send at a steady rate.
//!
//! Both sides of a pair take turns. Time is that of the clock on the wall: threads that
//! wait for one another take processor time, or none, according to how they wait.

use super::contender::{Contender, OURS, Queue};
use super::device::{BURST, Device, Outcome, Packet, now};
use crate::record::{At, Metric, Pair, Record, Rounds};
use crate::stats::{Better, median, percentile};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Values on each side; of throughput and of delays.
    pub rounds: usize,
    /// How long one value is measured.
    pub time: Duration,
    /// Numbers of producers.
    pub producers: Vec<usize>,
    /// Packets a call.
    pub batches: Vec<usize>,
    /// Loads in percent at which delays are measured.
    pub loads: Vec<u32>,
}

impl Plan {
    /// For figures.
    pub fn full() -> Self {
        Self {
            rounds: 9,
            time: Duration::from_millis(300),
            producers: vec![1, 2, 4],
            batches: vec![1, 2, 4, 8, 16, 32],
            loads: vec![10, 50, 90],
        }
    }

    /// For a glance.
    pub fn quick() -> Self {
        Self {
            rounds: 3,
            time: Duration::from_millis(60),
            batches: vec![1, 32],
            ..Self::full()
        }
    }
}

/// Packets that each producer sends again and again.
const PACKETS: usize = 4 * BURST;
/// How many producers delays are measured with, and packets a call.
const PACED: (usize, usize) = (2, 1);
/// Packets of 100 that take no longer.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// Races weft's queue against peers.
pub fn run(plan: &Plan, peers: &[Contender], machine: &str) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for peer in peers {
        let pair = Pair {
            peer: peer.name.into(),
            machine: machine.into(),
            versions: versions(peer.name),
        };
        for &producers in &plan.producers {
            for &batch in &plan.batches {
                let rounds = throughput(plan, peer, producers, batch)?;
                let work = format!("{producers} producers, {batch} a call");
                let metric = Metric {
                    name: "throughput",
                    unit: "packets/s",
                    better: Better::Higher,
                };
                let at = at("throughput", producers, batch);
                records.push(pair.record("P5", work, metric, &rounds, at));
            }
        }
        delays(plan, peer, &pair, &mut records)?;
    }
    Ok(records)
}

fn at(experiment: &str, producers: usize, batch: usize) -> At {
    At {
        experiment: experiment.into(),
        producers: Some(producers),
        batch: Some(batch),
        ..At::default()
    }
}

fn versions(peer: &str) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("weft".into(), env!("CARGO_PKG_VERSION").into()),
        ("rustc".into(), env!("WEFT_RUSTC").into()),
    ]);
    if let (true, Some(dpdk)) = (peer == "rte_ring", option_env!("WEFT_DPDK_VERSION")) {
        versions.insert("dpdk".into(), dpdk.into());
    }
    versions
}

/// Packets a second of both sides, in turn.
fn throughput(
    plan: &Plan,
    peer: &Contender,
    producers: usize,
    batch: usize,
) -> anyhow::Result<Rounds> {
    let mut rounds = Rounds::default();
    for _ in 0..plan.rounds {
        for (side, values) in [(&OURS, &mut rounds.ours), (peer, &mut rounds.theirs)] {
            let (outcome, time) = send(side, producers, batch, plan.time, None)?;
            values.push(outcome.sent as f64 / time.as_secs_f64());
        }
    }
    Ok(rounds)
}

/// Delays at several loads: shares of what the slower side can do.
fn delays(
    plan: &Plan,
    peer: &Contender,
    pair: &Pair,
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    let (producers, batch) = PACED;
    let most = throughput(plan, peer, producers, batch)?;
    let most = median(&most.ours).min(median(&most.theirs));
    for &load in &plan.loads {
        let gap = 1e9 * producers as f64 / (most * f64::from(load) / 100.0);
        let mut rounds: Vec<Rounds> = vec![Rounds::default(); PERCENTILES.len()];
        for _ in 0..plan.rounds {
            for (side, is_ours) in [(&OURS, true), (peer, false)] {
                let (outcome, _) = send(side, producers, batch, plan.time, Some(gap))?;
                let delays: Vec<f64> = outcome.delays.into_iter().map(f64::from).collect();
                for (rounds, percent) in rounds.iter_mut().zip(PERCENTILES) {
                    let values = if is_ours {
                        &mut rounds.ours
                    } else {
                        &mut rounds.theirs
                    };
                    values.push(percentile(&delays, percent));
                }
            }
        }
        for (rounds, percent) in rounds.iter().zip(PERCENTILES) {
            let at = At {
                load: Some(f64::from(load)),
                percentile: Some(percent),
                ..at("delay", producers, batch)
            };
            let work = format!("{load}% load, p{percent}");
            records.push(pair.record("P5", work, Metric::lower("delay", "ns"), rounds, at));
        }
    }
    Ok(())
}

/// Has producers send for some time, as fast as they can, or one call each `gap`
/// nanoseconds. What the device took, and in which time.
fn send(
    side: &Contender,
    producers: usize,
    batch: usize,
    time: Duration,
    gap: Option<f64>,
) -> anyhow::Result<(Outcome, Duration)> {
    ensure!(batch <= BURST, "no more than {BURST} packets a call");
    let (device, outcome) = Device::new(gap.is_some());
    let queue = (side.make)(device).with_context(|| format!("no memory for {}", side.name))?;
    let is_over = AtomicBool::new(false);
    let all_there = Barrier::new(producers + 1);
    let took = thread::scope(|scope| {
        for _ in 0..producers {
            scope.spawn(|| {
                let packets = Packet::several(PACKETS);
                all_there.wait();
                match gap {
                    None => flood(&*queue, &packets, batch, &is_over),
                    Some(gap) => pace(&*queue, &packets, batch, gap, &is_over),
                }
            });
        }
        all_there.wait();
        let start = Instant::now();
        thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
        start.elapsed()
    });
    drop(queue);
    Ok((outcome.recv().context("the device told nothing")?, took))
}

fn flood(queue: &dyn Queue, packets: &[Packet], batch: usize, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        for packets in packets.chunks(batch) {
            queue.submit(packets);
        }
    }
}

fn pace(queue: &dyn Queue, packets: &[Packet], batch: usize, gap: f64, is_over: &AtomicBool) {
    let start = now();
    let mut calls = 0u64;
    for packets in packets.chunks(batch).cycle() {
        let due = start + (calls as f64 * gap) as u64;
        while now() < due {
            spin_loop();
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        packets.iter().for_each(|packet| packet.stamp());
        queue.submit(packets);
        calls += 1;
    }
}
