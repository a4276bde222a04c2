// SPDX-License-Identifier: BSD-2-Clause
//! Packets, tags and queues of the module beside the kernel's own, in one guest whose
//! clock counts instructions; and the memory that held packets take.
//!
//! The module for tests does the work (`net.weft.test.bench`; `kmod/src/test/bench.rs`
//! says what each side's is). Some rounds are interrupted by the guest's timer: the
//! median over many short measurements leaves that out.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::{Context, PAGE, Scenario};
use crate::guest::Result;
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-packet",
    group: "race-packet",
    about: "instructions a packet, a tag and a passage through a queue, and bytes held, beside the kernel's own",
    limit: Duration::from_secs(1_200),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.test.bench";
/// Measurements of each side, in turn.
const ROUNDS: usize = 15;
/// Packets of a measurement: few enough that most of them are not interrupted.
const PACKETS: u64 = 3_200;
/// Packets of a size that are held while memory is read. Many, for either side keeps some
/// hundred free ones at hand, which were there before.
const HELD: u64 = 4_000;

/// What is measured, ours first.
struct Race {
    work: &'static str,
    target: &'static str,
    experiment: &'static str,
    sizes: &'static [u64],
    batches: &'static [u64],
    ours: &'static [&'static str],
    peers: &'static [&'static str],
}

const RACES: [Race; 5] = [
    Race {
        work: "allocate and free",
        target: "P7",
        experiment: "packet",
        sizes: &[256, 1_500],
        batches: &[1, 32],
        ours: &["packet"],
        peers: &["mbuf"],
    },
    Race {
        work: "insert, find and remove a tag",
        target: "P7",
        experiment: "tag",
        sizes: &[256],
        batches: &[1],
        ours: &["tag"],
        peers: &["m_tag"],
    },
    Race {
        work: "through a queue",
        target: "P5",
        experiment: "throughput",
        sizes: &[256],
        batches: &[1, 32],
        ours: &["passed", "ringed"],
        peers: &["buf_ring", "mbufq", "mp_ring"],
    },
    Race {
        work: "through a queue that sees to its drainer",
        target: "P5",
        experiment: "throughput",
        sizes: &[256],
        batches: &[1, 32],
        ours: &["passed"],
        peers: &["buf_ring_sent", "mbufq_sent", "mp_ring_sent", "mtx_sent"],
    },
    Race {
        work: "through a queue that a task drains",
        target: "P5",
        experiment: "throughput",
        sizes: &[256],
        batches: &[1, 32],
        ours: &["tasked"],
        peers: &["buf_ring_task", "mbufq_task"],
    },
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_to_measure()?;
    if context.is_to_measure("race-packet")? {
        let mut contest = Contest::new(context)?;
        for race in &RACES {
            measured(context, &mut contest, race)?;
        }
        for size in [64, 576, 1_500, 9_000] {
            held(context, &mut contest, size)?;
        }
        set(context, "hold", 0)?;
        contest.write(context, "packet-vm.json");
    }
    context.unload_weft()
}

fn set(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    let command = format!("sysctl set {NODE}.{name} {value}");
    let limit = Duration::from_secs(60);
    context.guest.call_within(&command, limit).map(drop)
}

fn measured(context: &mut Context<'_>, contest: &mut Contest, race: &Race) -> Result<()> {
    // The guest's clock counts so many ticks in a second, and a second is 10^9
    // instructions.
    let rate = context.guest.number("sysctl get machdep.tsc_freq")?;
    for &size in race.sizes {
        for &batch in race.batches {
            set(context, "size", size)?;
            set(context, "batch", batch)?;
            let mut values = Values::default();
            let calls = PACKETS / batch;
            for _ in 0..ROUNDS {
                for &name in race.ours.iter().chain(race.peers) {
                    set(context, name, calls)?;
                    let ticks = context.guest.number(&format!("sysctl get {NODE}.{name}"))?;
                    let instructions = ticks as f64 * 1e9 / rate as f64;
                    values.add(name, instructions / (calls * batch) as f64);
                }
            }
            for &ours in race.ours {
                let what = What {
                    target: race.target,
                    work: format!("{} ({ours}), {batch} of {size} bytes a call", race.work),
                    metric: "a packet",
                    unit: INSTRUCTIONS,
                    at: At {
                        experiment: race.experiment,
                        batch: Some(batch as usize),
                        ..At::default()
                    },
                };
                let peers: Vec<&str> = race
                    .peers
                    .iter()
                    .copied()
                    .filter(|peer| values.has(peer))
                    .collect();
                contest.note(context, ours, &peers, &what, &values);
            }
        }
    }
    Ok(())
}

/// Bytes that the kernel says packets of a size take: malloc(9)'s type of ours, pages of
/// the zones of theirs. Those of the sizes before are still held, so that none of their
/// pages is used again.
fn held(context: &mut Context<'_>, contest: &mut Contest, size: u64) -> Result<()> {
    set(context, "size", size)?;
    let mut values = Values::default();
    for (name, node) in [("weft", "hold"), ("mbuf", "hold_mbufs")] {
        let before = bytes(context, name)?;
        set(context, node, HELD)?;
        let held = bytes(context, name)?.saturating_sub(before);
        values.add(name, held as f64 / HELD as f64);
    }
    let what = What {
        target: "P7",
        work: format!("{HELD} packets of {size} bytes held"),
        metric: "bytes a packet",
        unit: "bytes",
        at: At {
            experiment: "held",
            ..At::default()
        },
    };
    contest.note(context, "weft", &["mbuf"], &what, &values);
    Ok(())
}

/// With what is rounded up, kept in caches, and kept about each: slabs and pages are
/// counted whole. `mbuf_packet` is a zone without memory of its own: it shows the pages
/// of `mbuf`.
fn bytes(context: &mut Context<'_>, whose: &str) -> Result<u64> {
    match whose {
        "weft" => context.column("malloc weft_packet", 1),
        _ => {
            let all = context.column("zones mbuf", 2)?;
            let twice = context.column("zones mbuf_packet", 2)?;
            Ok((all - twice) * PAGE)
        }
    }
}
