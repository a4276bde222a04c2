// SPDX-License-Identifier: BSD-2-Clause
//! What settings of a queue do to a burst: the module for tests has the queue keep what it gets
//! until all is sent, then the worker empties it; in a guest with one CPU whose clock counts
//! instructions.
//!
//! A burst is longer than any that a sender would leave on a machine with idle CPUs, so what
//! is dropped of it, and how long it waits, is the most that a setting can do.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::pair::{ENDS, listen, remove_jail};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-tuning",
    group: "race-tuning",
    about: "bursts over wpair by what its queue is set to: instructions a packet, what is dropped, how long packets wait",
    limit: Duration::from_secs(1_200),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

/// Below the sender's end.
const QUEUE: &str = "queue.0.";
/// As all is at first.
const FIRST: &str = "as at first";
/// What is set, below the sender's end, and how it is called.
const WAYS: [(&str, &[(&str, u64)]); 15] = [
    (FIRST, &[]),
    ("sojourn_every 0", &[("sojourn_every", 0)]),
    ("sojourn_every 16", &[("sojourn_every", 16)]),
    ("sojourn_every 1", &[("sojourn_every", 1)]),
    ("turn_packets 1", &[("queue.0.turn_packets", 1)]),
    ("turn_packets 32", &[("queue.0.turn_packets", 32)]),
    ("turn_packets 1024", &[("queue.0.turn_packets", 1024)]),
    ("turn_us 100", &[("queue.0.turn_us", 100)]),
    ("packets_limit 16", &[("queue.0.packets_limit", 16)]),
    ("packets_limit 128", &[("queue.0.packets_limit", 128)]),
    ("packets_limit 512", &[("queue.0.packets_limit", 512)]),
    ("bytes_limit 16384", &[("queue.0.bytes_limit", 16_384)]),
    (
        "codel_target_us 5000",
        &[("queue.0.codel_target_us", 5_000)],
    ),
    (
        "codel_target_us 500, codel_interval_us 2000",
        &[
            ("queue.0.codel_target_us", 500),
            ("queue.0.codel_interval_us", 2_000),
        ],
    ),
    (
        "codel_target_us 100, codel_interval_us 1000",
        &[
            ("queue.0.codel_target_us", 100),
            ("queue.0.codel_interval_us", 1_000),
        ],
    ),
];
const ROUNDS: usize = 7;
/// Room of a queue.
const ROOMS: [u64; 3] = [64, 1_024, 65_536];
/// Packets of a burst: fewer than the queue has room for.
const BURST: u64 = 900;
const SIZE: usize = 64;
const PORT: u16 = 4_100;
const IDLE_MS: u64 = 100;
const LIMIT: Duration = Duration::from_secs(120);

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_to_measure()?;
    if !context.is_to_measure("race-tuning")? {
        return context.unload_weft();
    }
    let mut contest = Contest::new(context)?;
    context.guest.call("sysctl set net.weft.pair.queues 1")?;
    super::pair::between(context, &ENDS)?;
    let what = "the pair carries packets";
    super::pair::reached(context, "in left ", ENDS[1].2, 64, what)?;
    let mut all = [const { Values::new() }; MEASURES.len()];
    for _ in 0..ROUNDS {
        for (name, settings) in WAYS {
            let before = set(context, settings)?;
            let figures = burst(context)?;
            for (values, figure) in all.iter_mut().zip(figures) {
                values.add(name, figure);
            }
            put_back(context, &before)?;
        }
    }
    for ((metric, unit), values) in MEASURES.into_iter().zip(&all) {
        for (name, _) in &WAYS[1..] {
            let what = What {
                target: "tuning",
                work: format!("burst of {BURST} datagrams of {SIZE} bytes, {name}"),
                metric,
                unit,
                at: At {
                    experiment: "tuning",
                    bytes: Some(SIZE),
                    flows: Some(1),
                    queues: Some(1),
                    ..At::default()
                },
            };
            contest.note(context, name, &[FIRST], &what, values);
        }
    }
    contest.write(context, "tuning-vm.json");
    for (jail, ..) in ENDS {
        remove_jail(context, jail)?;
    }
    super::pair::await_home(context, ENDS[0].1)?;
    super::pair::destroy(context, ENDS[0].1)?;
    rooms(context)?;
    context.unload_weft()
}

/// What a pair takes of memory by the room that its two queues have.
fn rooms(context: &mut Context<'_>) -> Result<()> {
    let mut bytes = Vec::new();
    for room in ROOMS {
        let command = format!("sysctl set net.weft.pair.room {room}");
        context.guest.call(&command)?;
        let before = held(context)?;
        let pair = context.guest.line("if create wpair")?;
        bytes.push(held(context)?.saturating_sub(before));
        super::pair::destroy(context, &pair)?;
    }
    let line = format!("bytes of a pair with one queue each way, by room for {ROOMS:?}: {bytes:?}");
    println!("    {line}");
    context.report.note(&line);
    context.report.check(
        bytes.is_sorted() && bytes[0] > 0,
        "more room takes more memory",
        format_args!("{bytes:?}"),
    );
    Ok(())
}

/// Bytes that the module has of the kernel's memory for its state.
fn held(context: &mut Context<'_>) -> Result<u64> {
    let all = context.guest.memory_held("weft")?;
    let bytes = all.iter().find_map(|line| {
        let amount = line.strip_prefix("weft: ")?.strip_suffix(" bytes")?;
        amount.parse().ok()
    });
    bytes.ok_or_else(|| Error::Unexpected(format!("{all:?}")))
}

/// What is measured of a burst.
const MEASURES: [(&str, &str); 4] = [
    ("a packet, arrived or not", INSTRUCTIONS),
    ("refused of a burst", "packets"),
    ("dropped late of a burst", "packets"),
    (
        "from the end of sending until the last arrives",
        "microseconds, a thousand instructions each",
    ),
];

fn full(name: &str) -> String {
    format!("net.weft.pair.{}.{name}", ENDS[0].1)
}

fn number(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context.guest.number(&format!("sysctl get {}", full(name)))
}

/// Sets all of it; what it was before.
fn set(context: &mut Context<'_>, settings: &[(&str, u64)]) -> Result<Vec<(String, u64)>> {
    let mut before = Vec::new();
    for (name, value) in settings {
        // The interval is another one as soon as there is a target.
        if !name.ends_with("codel_interval_us") {
            before.push(((*name).to_owned(), number(context, name)?));
        }
        context
            .guest
            .call(&format!("sysctl set {} {value}", full(name)))?;
    }
    Ok(before)
}

fn put_back(context: &mut Context<'_>, before: &[(String, u64)]) -> Result<()> {
    if before.is_empty() {
        return Ok(());
    }
    let set = |(name, value): &(String, u64)| format!("sysctl set {} {value}", full(name));
    let commands: Vec<String> = before.iter().rev().map(set).collect();
    context.guest.each(&commands)
}

/// A burst's figures, as [`MEASURES`] has them.
fn burst(context: &mut Context<'_>) -> Result<[f64; MEASURES.len()]> {
    let names = ["drops.packets", "drops.bytes", "drops.sojourn"];
    let counts = |context: &mut Context<'_>| {
        let mut counts = [0; 3];
        for (count, name) in counts.iter_mut().zip(names) {
            *count = number(context, &format!("{QUEUE}{name}"))?;
        }
        Ok::<_, Error>(counts)
    };
    let before = counts(context)?;
    listen(
        context,
        "drain",
        &format!("in right drain {PORT} {IDLE_MS}"),
    )?;
    let to = ENDS[1].2;
    // In one process, for an idle guest's clock goes on by leaps.
    let hold = format!("sysctl set {}", full("queue.0.hold"));
    let command =
        format!("in left each {hold} 2 -- flood {to} {PORT} {SIZE} 1 {BURST} 0 -- {hold} 0");
    let line = context.guest.call_within(&command, LIMIT)?.join(" ");
    let sent: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let got = context.guest.finish("drain", LIMIT)?;
    let after = counts(context)?;
    let [packets, bytes, late] = std::array::from_fn(|place| (after[place] - before[place]) as f64);
    match (&sent[..], &got[..]) {
        ([_, _, _, start, stop], [arrived, _, _, last]) if *arrived > 0 => Ok([
            last.saturating_sub(*start) as f64 / BURST as f64,
            packets + bytes,
            late,
            last.saturating_sub(*stop) as f64 / 1_000.0,
        ]),
        _ => Err(Error::Unexpected(format!("{command}: {sent:?} {got:?}"))),
    }
}
