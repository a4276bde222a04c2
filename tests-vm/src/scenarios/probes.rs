// SPDX-License-Identifier: BSD-2-Clause
//! Probes for dtrace(1): the module for tests turns them on as dtrace's provider would, and
//! each fires as often as what it is about happens, with the arguments that are said.

use std::time::{Duration, Instant};

use weft_engine::stats::Cause;

use super::pair::{ENDS, destroy, remove_jail};
use super::{Context, Scenario, V4};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "probes",
    group: "pair",
    about: "probes for dtrace(1) fire once for each packet sent, taken out of a queue and lost, and each change of a FIB",
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.test.probes";
/// Queues of each end.
const QUEUES: u64 = 2;
/// Datagrams, and how many of them in a second.
const DATAGRAMS: u64 = 500;
const DATAGRAM_RATE: u64 = 1_000;
/// Routes that are added.
const ROUTES: u64 = 5;
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What each packet that a queue was given has become.
const FATES: [&str; 7] = [
    "packets",
    "queued",
    "drops.packets",
    "drops.bytes",
    "drops.stopped",
    "drops.closed",
    "drops.sojourn",
];
/// `AF_INET`.
const INET: u64 = 2;

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_for_tests()?;
    set(context, "net.weft.pair.queues", QUEUES)?;
    set(context, &format!("{NODE}.on"), 1)?;
    super::pair::between(context, &ENDS)?;
    send(context, "10.1.0.2")?;
    passed(context)?;
    lost(context)?;
    changed(context)?;
    set(context, &format!("{NODE}.on"), 0)?;
    let before = of(context, "enqueue.count")?;
    send(context, "10.1.0.2")?;
    let after = of(context, "enqueue.count")?;
    let what = "a probe that is off does not fire";
    context.report.equal(&after, &before, what);
    for (jail, ..) in ENDS {
        remove_jail(context, jail)?;
    }
    super::pair::await_home(context, "wpair0a")?;
    destroy(context, "wpair0a")?;
    context.unload_weft()
}

fn set(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    context
        .guest
        .call(&format!("sysctl set {name} {value}"))
        .map(drop)
}

fn of(context: &mut Context<'_>, what: &str) -> Result<u64> {
    context.guest.number(&format!("sysctl get {NODE}.{what}"))
}

/// Sends datagrams to where nobody listens.
fn send(context: &mut Context<'_>, to: &str) -> Result<()> {
    let command = format!("in left udp send {to} 4009 {DATAGRAMS} {DATAGRAM_RATE}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// What became of packets of all queues of both ends.
fn fates(context: &mut Context<'_>, which: &[&str]) -> Result<u64> {
    let mut sum = 0;
    for (_, end, _) in ENDS {
        for queue in 0..QUEUES {
            for what in which {
                let name = format!("sysctl get net.weft.pair.{end}.queue.{queue}.{what}");
                sum += context.guest.number(&name)?;
            }
        }
    }
    Ok(sum)
}

/// Each packet that was given to a queue, and each that came out, has fired a probe. What
/// the kernel sends by itself meanwhile is counted as well, so it is asked until both are
/// of one moment.
fn passed(context: &mut Context<'_>) -> Result<()> {
    for (probe, which) in [("enqueue", &FATES[..]), ("dequeue", &FATES[..1])] {
        let start = Instant::now();
        let counts = loop {
            let counts = (
                of(context, &format!("{probe}.count"))?,
                fates(context, which)?,
            );
            if counts.0 == counts.1 || start.elapsed() > LIMIT {
                break counts;
            }
        };
        context.report.check(
            counts.0 == counts.1 && counts.0 >= DATAGRAMS,
            &format!("{probe} fires for each packet"),
            format_args!("{counts:?}"),
        );
        let (packet, port) = (
            of(context, &format!("{probe}.first"))?,
            of(context, &format!("{probe}.second"))?,
        );
        context.report.check(
            packet > 1 << 63 && port > 1 << 63,
            &format!("{probe} tells the packet and the interface"),
            format_args!("{packet:#x} {port:#x}"),
        );
    }
    let queue = of(context, "dequeue.third")?;
    let what = "dequeue tells the queue";
    context.report.check(queue < QUEUES, what, queue);
    Ok(())
}

/// Packets to an end that is down are lost, for that cause.
fn lost(context: &mut Context<'_>) -> Result<()> {
    context.guest.call("in right if down wpair0b")?;
    let before = [
        of(context, "drop.count")?,
        context.guest.number("sysctl get net.weft.pair.lost.down")?,
    ];
    send(context, "10.1.0.2")?;
    let after = [
        of(context, "drop.count")?,
        context.guest.number("sysctl get net.weft.pair.lost.down")?,
    ];
    let [fired, counted] = [after[0] - before[0], after[1] - before[1]];
    context.report.check(
        fired == counted && fired >= DATAGRAMS,
        "drop fires for each packet that is lost",
        format_args!("{fired} times for {counted}"),
    );
    let told = [of(context, "drop.first")?, of(context, "drop.second")?];
    let wanted = [Cause::Down as u64, 1];
    let what = "drop tells the cause and how many";
    context.report.equal(&told, &wanted, what);
    context.guest.call("in right if up wpair0b").map(drop)
}

/// Changes of a FIB.
fn changed(context: &mut Context<'_>) -> Result<()> {
    context.choose("in left ", &V4, V4.ours)?;
    let name = "in left sysctl get net.weft.fib.0.inet.change_ns_count";
    let before = [
        of(context, "fib_change.count")?,
        context.guest.number(name)?,
    ];
    for route in 0..ROUTES {
        let command = format!("in left route add 10.9.{route}.0/24 10.1.0.2");
        context.guest.call(&command)?;
    }
    let after = [
        of(context, "fib_change.count")?,
        context.guest.number(name)?,
    ];
    let [fired, counted] = [after[0] - before[0], after[1] - before[1]];
    context.report.check(
        fired == counted && fired >= ROUTES,
        "fib-change fires for each change of a FIB",
        format_args!("{fired} times for {counted}"),
    );
    let told = [
        of(context, "fib_change.first")?,
        of(context, "fib_change.second")?,
    ];
    context
        .report
        .equal(&told, &[INET, 0], "fib-change tells family and FIB");
    let took = of(context, "fib_change.third")?;
    let half = "in left sysctl get net.weft.latency.fib_change.0.inet.quantile_ns.p50";
    let half = context.guest.number(half)?;
    context.report.check(
        took > 0 && half > 0,
        "how long changes took is told, and a quantile of it",
        format_args!("{took} ns, half within {half} ns"),
    );
    context.choose("in left ", &V4, V4.plain).map(drop)
}
