// SPDX-License-Identifier: BSD-2-Clause
//! What statistics cost: the same packets over one pair with no wait measured, one in so
//! many as at first, and each, in turn, in a guest whose clock counts instructions.
//!
//! Counters are always on: they are plain stores of whoever drains. So this is about what
//! can be turned off.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::pair::{ENDS, listen, remove_jail};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-statistics",
    group: "race-statistics",
    about: "instructions a packet over wpair with every wait measured, with defaults, with none",
    limit: Duration::from_secs(1_200),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

const EVERY: &str = "net.weft.pair.wpair0a.sojourn_every";
/// What is measured, and one packet in how many has its wait measured.
const WAYS: [(&str, u64); 3] = [("none", 0), ("defaults", 256), ("every packet", 1)];
const ROUNDS: usize = 15;
/// Packets of a measurement.
const PACKETS: u64 = 4_000;
const SIZE: usize = 64;
const PORT: u16 = 4_100;
const IDLE_MS: u64 = 300;
const LIMIT: Duration = Duration::from_secs(120);

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    if !context.is_to_measure("race-statistics")? {
        return context.unload_weft();
    }
    let mut contest = Contest::new(context)?;
    context.guest.call("sysctl set net.weft.pair.queues 1")?;
    super::pair::between(context, &ENDS)?;
    super::pair::reached(
        context,
        "in left ",
        ENDS[1].2,
        64,
        "the pair carries packets",
    )?;
    let mut values = Values::default();
    for _ in 0..ROUNDS {
        for (name, every) in WAYS {
            context.guest.call(&format!("sysctl set {EVERY} {every}"))?;
            values.add(name, flooded(context)?);
        }
    }
    for (name, _) in &WAYS[1..] {
        let what = What {
            target: "statistics",
            work: format!("UDP, {SIZE} bytes, waits measured of: {name}"),
            metric: "a packet",
            unit: INSTRUCTIONS,
            at: At {
                experiment: "statistics",
                bytes: Some(SIZE),
                flows: Some(1),
                queues: Some(1),
                ..At::default()
            },
        };
        contest.note(context, name, &[WAYS[0].0], &what, &values);
    }
    contest.write(context, "statistics-vm.json");
    for (jail, ..) in ENDS {
        remove_jail(context, jail)?;
    }
    super::pair::await_home(context, ENDS[0].1)?;
    super::pair::destroy(context, ENDS[0].1)?;
    context.unload_weft()
}

/// Instructions for each packet that arrived, from the first that is sent to the last that
/// is received.
fn flooded(context: &mut Context<'_>) -> Result<f64> {
    listen(
        context,
        "drain",
        &format!("in right drain {PORT} {IDLE_MS}"),
    )?;
    let to = ENDS[1].2;
    let command = format!("in left flood {to} {PORT} {SIZE} 1 {PACKETS} 0");
    let line = context.guest.call_within(&command, LIMIT)?.join(" ");
    let sent: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let got = context.guest.finish("drain", LIMIT)?;
    match (&sent[..], &got[..]) {
        ([_, _, _, start, _], [arrived, _, _, last]) if *arrived > 0 => {
            Ok(last.saturating_sub(*start) as f64 / *arrived as f64)
        }
        _ => Err(Error::Unexpected(format!("{command}: {sent:?} {got:?}"))),
    }
}
