// SPDX-License-Identifier: BSD-2-Clause
//! The module's checksum beside the kernel's `in_cksum_skip`, in a guest whose clock counts
//! instructions, over mbuf chains of some shapes; and whether both agree over chains of any.
//!
//! The module for tests does the work (`net.weft.test.sums`). Some rounds are interrupted by
//! the guest's timer: the median over many short measurements leaves that out.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::{Context, Scenario};
use crate::guest::Result;
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-wire",
    group: "race-wire",
    about: "instructions a checksum beside in_cksum_skip, over mbuf chains",
    limit: Duration::from_secs(600),
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.test.sums";
/// Measurements of each side, in turn, and sums in each: few enough that most are not
/// interrupted.
const ROUNDS: usize = 9;
const SUMS: u64 = 200;
/// Chains over which both sides are compared.
const COMPARED: u64 = 20_000;

const SIZES: [u64; 10] = [20, 40, 64, 128, 256, 576, 1024, 1460, 4096, 9000];
/// Mbufs, and where the first one begins.
const SHAPES: [(&str, u64, u64); 4] = [
    ("in one mbuf", 1, 0),
    ("at an odd address", 1, 1),
    ("in 3 mbufs", 3, 0),
    ("in 7 mbufs from an odd address on", 7, 1),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_to_measure()?;
    let differ = set(context, "compare", COMPARED)?;
    context.report.check(
        differ == 0,
        "sums agree with in_cksum_skip's over chains of any shape",
        format!("{differ} of {COMPARED} differ"),
    );
    if context.is_to_measure("race-wire")? {
        let mut contest = Contest::new(context)?;
        for (shape, pieces, offset) in SHAPES {
            set(context, "pieces", pieces)?;
            set(context, "offset", offset)?;
            for size in SIZES {
                let ways = ["weft", "in_cksum_skip"];
                measured(context, &mut contest, ("checksum", shape, size), ways)?;
            }
        }
        set(context, "pieces", 1)?;
        set(context, "offset", 0)?;
        for size in [64, 576, 1460, 9000] {
            let ways = ["weft_crc", "calculate_crc32c"];
            measured(
                context,
                &mut contest,
                ("CRC32c", "in one piece", size),
                ways,
            )?;
        }
        contest.write(context, "wire-vm.json");
    }
    context.unload_weft()
}

/// Writes a node, and reads it.
fn set(context: &mut Context<'_>, name: &str, value: u64) -> Result<u64> {
    let command = format!("sysctl set {NODE}.{name} {value}");
    let limit = Duration::from_secs(60);
    context.guest.call_within(&command, limit)?;
    context.guest.number(&format!("sysctl get {NODE}.{name}"))
}

fn measured(
    context: &mut Context<'_>,
    contest: &mut Contest,
    (sum, shape, size): (&str, &str, u64),
    ways: [&str; 2],
) -> Result<()> {
    let rate = context.guest.number("sysctl get machdep.tsc_freq")?;
    set(context, "size", size)?;
    let mut values = Values::default();
    for _ in 0..ROUNDS {
        for name in ways {
            let ticks = set(context, name, SUMS)?;
            let instructions = ticks as f64 * 1e9 / rate as f64;
            values.add(name, instructions / SUMS as f64);
        }
    }
    let what = What {
        target: "P8",
        work: format!("{sum} of {size} bytes {shape}"),
        metric: "a packet",
        unit: INSTRUCTIONS,
        at: At {
            experiment: "sum",
            ..At::default()
        },
    };
    contest.note(context, ways[0], &ways[1..], &what, &values);
    Ok(())
}
