// SPDX-License-Identifier: BSD-2-Clause
//! Packets pass through a jail that forwards by `weft4`, all of them and in order,
//! while routes flap in that jail; and nothing of the jail is left when it dies.

use std::time::{Duration, Instant};

use super::pair::{ECHO_MS, PATIENCE_MS, reached};
use super::{Context, Scenario, V4};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "forward",
    group: "network",
    about: "a jail forwards every packet in order by weft4 while its routes flap",
    klds: &["if_epair"],
    run,
    ..Scenario::ORDINARY
};

/// How long the receiver may take to have its socket. Packets that come before it are
/// lost, and missed in the end.
const READY_LIMIT: Duration = Duration::from_secs(60);
const PACKETS: u64 = 3_000;
const PACKETS_FULL: u64 = 100_000;
/// Packets a second: what an emulated machine forwards without loss.
const RATE: u64 = 500;
/// Different destinations; each is an address of the last jail.
const DESTINATIONS: u32 = 32;

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_kld("if_epair")?;
    context.load_weft()?;
    let tables = context.tables()?;
    let pairs = build(context)?;
    traffic(context)?;
    refused_unload(context)?;
    for jail in ["left", "mid", "right"] {
        context
            .guest
            .call_within(&format!("jail remove {jail}"), Duration::from_secs(30))?;
    }
    context.wait_for_tables(tables, "the dead jail's tables are gone")?;
    for pair in pairs {
        // An epair in a dead jail comes home or goes with it, as vnet teardown has it.
        let _ = context.guest.call(&format!("if destroy {pair}"));
    }
    context.unload_weft()
}

/// left 10.1.0.1 -- 10.1.0.2 mid 10.2.0.2 -- 10.2.0.1 right, where
/// 10.2.0.3 is a second way to 10.9.0.1 and the addresses that follow it.
fn build(context: &mut Context<'_>) -> Result<[String; 2]> {
    let guest = &mut context.guest;
    for jail in ["left", "mid", "right"] {
        guest.call_within(&format!("jail create {jail}"), Duration::from_secs(30))?;
        guest.call(&format!(
            "in {jail} each if addr lo0 127.0.0.1/8 -- if up lo0"
        ))?;
    }
    let first = guest.line("if create epair")?;
    let second = guest.line("if create epair")?;
    let other = |pair: &str| format!("{}b", pair.trim_end_matches('a'));
    let ends = [
        (first.clone(), "left", "10.1.0.1/24"),
        (other(&first), "mid", "10.1.0.2/24"),
        (second.clone(), "mid", "10.2.0.2/24"),
        (other(&second), "right", "10.2.0.1/24"),
    ];
    for (end, jail, address) in &ends {
        guest.call(&format!("if vnet {end} {jail}"))?;
        guest.call(&format!(
            "in {jail} each if addr {end} {address} -- if up {end}"
        ))?;
    }
    guest.call(&format!("in right if addr lo0 10.9.0.1/32 {DESTINATIONS}"))?;
    guest.call(&format!("in right if addr {} 10.2.0.3/32", other(&second)))?;
    guest.call("in left route add 0.0.0.0/0 10.1.0.2")?;
    guest.call("in right route add 0.0.0.0/0 10.2.0.2")?;
    guest.call(
        "in mid each sysctl set net.inet.ip.forwarding 1 -- route add 10.9.0.0/16 10.2.0.1",
    )?;
    context.choose("in mid ", &V4, V4.ours)?;
    Ok([first, second])
}

fn traffic(context: &mut Context<'_>) -> Result<()> {
    // Unresolved neighbours may drop what is more than their hold queue takes; both
    // ways must be known before packets are counted.
    for way in ["10.2.0.1", "10.2.0.3"] {
        let what = format!("the last jail answers the middle one by {way}");
        reached(context, "in mid ", way, 64, &what)?;
    }
    let command = format!("in left ping 10.9.0.1 3 {ECHO_MS}");
    let echoed = context.guest.call_within(&command, READY_LIMIT)?;
    context.report.equal(
        &echoed,
        &vec!["3 of 3".to_owned()],
        "the last jail answers through the middle one",
    );

    let packets = if context.full { PACKETS_FULL } else { PACKETS };
    let guest = &mut context.guest;
    guest.start(
        "receive",
        &format!("in right udp recv 4000 {packets} {PATIENCE_MS}"),
    )?;
    let start = Instant::now();
    while guest.counters("receive")?.last() != Some(&1) && start.elapsed() < READY_LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    // Half of the flapping prefixes cover the destinations, half do not.
    guest.start(
        "flap",
        "in mid route flap 10.9.0.0/30 16 10.2.0.1,10.2.0.3 300 0",
    )?;
    guest.start(
        "send",
        &format!("in left udp send 10.9.0.1 4000 {packets} {RATE} {DESTINATIONS}"),
    )?;
    context.compare(
        "in mid ",
        &[&V4],
        2_000,
        "the middle jail's lookups during the traffic",
    )?;

    let time = Duration::from_secs(60 + 4 * packets / RATE);
    let sent = context.guest.finish("send", time)?;
    let received = context.guest.finish("receive", time)?;
    let flaps = context.guest.stop("flap")?;
    context
        .report
        .equal(&sent[..2], &[packets, 0], "all packets were sent");
    context.report.equal(
        &received,
        &vec![packets, packets, 0, 0],
        "all arrived once, in order, whole",
    );
    context.report.check(
        matches!(flaps[..], [added, changed, _, 0, _] if added > 20 && changed > 20),
        "routes flapped meanwhile",
        format_args!("added, changed, deleted, errors, ms: {flaps:?}"),
    );
    context.report.note(&format!(
        "sent {sent:?}, received {received:?}, flaps {flaps:?}"
    ));
    context.compare(
        "in mid ",
        &[&V4],
        2_000,
        "the middle jail's lookups after the traffic",
    )
}

fn refused_unload(context: &mut Context<'_>) -> Result<()> {
    let why = context.guest.refused("kld unload weft.ko")?;
    context.report.check(
        why.starts_with("EBUSY"),
        "unload is refused while a jail uses weft4",
        &why,
    );
    Ok(())
}
