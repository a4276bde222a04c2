// SPDX-License-Identifier: BSD-2-Clause
//! What the stack takes to receive IPv6 packets of several kinds, with the filter
//! `weft:ipv6` in front of it and without, in a guest whose clock counts instructions.
//!
//! The module for tests has the packets made and received (`net.weft.test.ipv6`,
//! `kmod/src/test/incoming.rs`). The filter is set as a host's.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::{Context, Scenario};
use crate::guest::Result;
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-ipv6",
    group: "race-ipv6",
    about: "instructions an IPv6 packet, malformed and ordinary, with weft:ipv6 and without",
    limit: Duration::from_secs(600),
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.test.ipv6";
/// Measurements of each side, in turn.
const ROUNDS: usize = 15;
/// Packets of a measurement: few enough that most of them are not interrupted.
const PACKETS: u64 = 200;

/// Kinds of packets, and whether the filter drops them.
const KINDS: [(&str, bool); 6] = [
    ("pad1", true),
    ("chain", true),
    ("fragments", true),
    ("routing", true),
    ("datagram", false),
    ("options", false),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_to_measure()?;
    if !context.is_to_measure("race-ipv6")? {
        return context.unload_weft();
    }
    let address = "each if addr lo0 fd00:f::2/128 -- if up lo0";
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    context.guest.call(address)?;
    let mut contest = Contest::new(context)?;
    for (kind, is_dropped) in KINDS {
        raced(context, &mut contest, kind, is_dropped)?;
    }
    contest.write(context, "ipv6-vm.json");
    context.guest.call("if unaddr lo0 fd00:f::2")?;
    context.unload_weft()
}

fn raced(
    context: &mut Context<'_>,
    contest: &mut Contest,
    kind: &str,
    is_dropped: bool,
) -> Result<()> {
    let rate = context.guest.number("sysctl get machdep.tsc_freq")?;
    let mut values = Values::default();
    let dropped = |context: &mut Context<'_>| -> Result<u64> {
        let mut sum = 0;
        for rule in ["header_bytes", "repeated", "fragment_tiny", "routing_0"] {
            let name = format!("net.weft.ipv6.rule.{rule}.dropped");
            sum += context.guest.number(&format!("sysctl get {name}"))?;
        }
        Ok(sum)
    };
    let before = dropped(context)?;
    for _ in 0..ROUNDS {
        for (name, links) in [("weft", true), ("ip6_input", false)] {
            if links {
                context.guest.call("pfil first inet6 weft ipv6")?;
            }
            let command = format!("sysctl set {NODE}.{kind} {PACKETS}");
            context.guest.call(&command)?;
            if links {
                context.guest.call("pfil unlink inet6 weft ipv6")?;
            }
            let ticks = context.guest.number(&format!("sysctl get {NODE}.{kind}"))?;
            let instructions = ticks as f64 * 1e9 / rate as f64;
            values.add(name, instructions / PACKETS as f64);
        }
    }
    let count = dropped(context)? - before;
    let expected = if is_dropped {
        ROUNDS as u64 * PACKETS
    } else {
        0
    };
    let what = format!("{kind}: the filter dropped what it should");
    context.report.equal(&count, &expected, &what);
    let what = What {
        target: "P9",
        work: format!("an IPv6 packet received ({kind})"),
        metric: "a packet",
        unit: INSTRUCTIONS,
        at: At {
            experiment: "ipv6",
            ..At::default()
        },
    };
    contest.note(context, "weft", &["ip6_input"], &what, &values);
    Ok(())
}
