// SPDX-License-Identifier: BSD-2-Clause
//! Causes for which packets are lost that no traffic brings about by itself: memory that is
//! short, frames that only netgraph(4) makes, queues that are held by the module for tests.
//! Each is forced, and what is counted for it is held against what was sent.

use std::time::{Duration, Instant};

use super::pair::{LIMIT, await_home, create_jail, destroy, listen, reached, remove_jail};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "causes",
    group: "causes",
    about: "packets lost without memory, too long, and in queues that are stopped, full when flows move, or closed: each counted",
    klds: &["if_vlan", "netgraph", "ng_socket", "ng_ether", "ng_hub"],
    limit: Duration::from_secs(400),
    run,
    ..Scenario::ORDINARY
};

/// Queues of each end.
const QUEUES: u64 = 2;
/// The host's end, whose queues are held, and the other one's jail and address.
const NEAR: &str = "wpair0a";
const FAR: &str = "10.7.0.1";
/// An L3 interface of the host's end, in the jail red.
const CHILD: &str = "wpair0a.ip0";
/// Its number in the tree of sysctls: there is no other.
const CHILD_NODE: u64 = 1;
/// Bytes of a stream.
const STREAM: u64 = 300_000;
/// Packets of a flood.
const PACKETS: u64 = 500;
/// The most that the kernel sends by itself meanwhile.
const OTHERS: u64 = 100;

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft_for_tests()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    context
        .guest
        .call(&format!("sysctl set net.weft.pair.queues {QUEUES}"))?;
    connect(context)?;
    uncut(context)?;
    no_memory(context)?;
    too_long(context)?;
    stopped(context)?;
    moved(context)?;
    closed(context)?;
    for jail in ["outer", "red"] {
        remove_jail(context, jail)?;
    }
    await_home(context, CHILD)?;
    destroy(context, CHILD)?;
    context.unload_weft()
}

/// `wpair0` from the host to the jail outer, with an L3 interface in red and a VLAN; `wpair1`
/// from outer to red, with longer frames.
fn connect(context: &mut Context<'_>) -> Result<()> {
    for jail in ["outer", "red"] {
        create_jail(context, jail)?;
    }
    for pair in ["wpair0", "wpair1"] {
        context.guest.line(&format!("if create {pair}"))?;
    }
    context.guest.line(&format!("if create {CHILD}"))?;
    for (interface, jail) in [
        ("wpair0b", "outer"),
        ("wpair1a", "outer"),
        ("wpair1b", "red"),
        (CHILD, "red"),
    ] {
        let command = format!("if vnet {interface} {jail}");
        context.guest.call_within(&command, LIMIT)?;
    }
    for (at, interface, address) in [
        ("", NEAR, "10.7.0.2"),
        ("in outer ", "wpair0b", FAR),
        ("in red ", CHILD, "10.7.0.3"),
        ("in outer ", "wpair1a", "10.8.0.1"),
        ("in red ", "wpair1b", "10.8.0.2"),
    ] {
        context.guest.call(&format!(
            "{at}each if addr {interface} {address}/24 -- if up {interface}"
        ))?;
    }
    for (at, end, address) in [("", NEAR, "10.6.0.1"), ("in outer ", "wpair0b", "10.6.0.2")] {
        context.guest.call(&format!(
            "{at}each if create {end}.5 -- if addr {end}.5 {address}/24 -- if up {end}.5"
        ))?;
    }
    for (at, interface) in [("in outer ", "wpair1a"), ("in red ", "wpair1b")] {
        context
            .guest
            .call(&format!("{at}if mtu {interface} 9000"))?;
    }
    for (at, to, what) in [
        ("", FAR, "the host reaches outer"),
        ("", "10.6.0.2", "by the VLAN, too"),
        ("in red ", FAR, "red reaches outer"),
        (
            "in outer ",
            "10.8.0.2",
            "outer reaches red by the other pair",
        ),
    ] {
        reached(context, at, to, 64, what)?;
    }
    Ok(())
}

fn number(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context.guest.number(&format!("sysctl get net.weft.{name}"))
}

/// A number of all queues of the host's end.
fn sum(context: &mut Context<'_>, what: &str) -> Result<u64> {
    let name = |queue| format!("pair.{NEAR}.queue.{queue}.{what}");
    (0..QUEUES).map(|queue| number(context, &name(queue))).sum()
}

/// Sets something of all queues of an end.
fn set(context: &mut Context<'_>, end: &str, name: &str, value: u64) -> Result<()> {
    for queue in 0..QUEUES {
        let full = format!("net.weft.pair.{end}.queue.{queue}.{name}");
        context.guest.call(&format!("sysctl set {full} {value}"))?;
    }
    Ok(())
}

/// What an interface has counted: frames in, drops in, frames out, errors out.
fn interface(context: &mut Context<'_>, at: &str, name: &str) -> Result<[u64; 4]> {
    let line = context.guest.line(&format!("{at}if stat {name}"))?;
    let fields: Vec<u64> = line.split(' ').filter_map(|f| f.parse().ok()).collect();
    Ok([0, 3, 4, 6].map(|place| fields.get(place).copied().unwrap_or(u64::MAX)))
}

/// Does something once, to learn by which calls the module gets memory for it, and again with
/// each of these calls failing. How many have failed.
fn failing(
    context: &mut Context<'_>,
    mut act: impl FnMut(&mut Context<'_>) -> Result<()>,
) -> Result<u64> {
    const SITE: &str = "sysctl set net.weft.test.fail.site";
    context.guest.call(&format!("{SITE} 0"))?;
    context.guest.call("sysctl set net.weft.test.fail.turn 1")?;
    act(context)?;
    let sites = context.guest.call("faults sites")?;
    let mut failed = 0;
    for site in sites.iter().filter_map(|line| line.split(' ').next()) {
        context.guest.call(&format!("{SITE} {site}"))?;
        act(context)?;
        let last = number(context, "test.fail.failed")?;
        failed += u64::from(last.to_string() == site);
    }
    context.guest.call(&format!("{SITE} 0"))?;
    Ok(failed)
}

/// Long segments to a VLAN are always cut. A part without memory is lost, which TCP sends
/// again.
fn uncut(context: &mut Context<'_>) -> Result<()> {
    let lost = |context: &mut Context<'_>| {
        let [_, dropped, ..] = interface(context, "in outer ", "wpair0b")?;
        Ok([
            number(context, &format!("pair.{NEAR}.lost.uncut"))?,
            number(context, "pair.lost.uncut")?,
            dropped,
        ])
    };
    let before = lost(context)?;
    let mut whole = true;
    let failed = failing(context, |context| {
        listen(context, "serve", "in outer tcp serve 5000 7")?;
        let send = format!("tcp send 10.6.0.2 5000 7 {STREAM}");
        context.guest.start("stream", &send)?;
        context.guest.finish("stream", LIMIT)?;
        whole &= context.guest.finish("serve", LIMIT)? == [STREAM, 0];
        Ok(())
    })?;
    let after = lost(context)?;
    let [end, all, dropped] = [0, 1, 2].map(|place| after[place] - before[place]);
    let report = &mut context.report;
    report.check(
        end > 0 && end <= failed && [all, dropped] == [end; 2],
        "uncut: segments that could not be cut are counted by the end, in all, and by the interface",
        format_args!("{end} {all} {dropped} of {failed} calls that failed"),
    );
    report.check(whole, "uncut: the streams arrive all the same", whole);
    report.note(&format!("uncut: {end}, by {failed} calls that failed"));
    Ok(())
}

/// A broadcast frame is copied for an L3 interface.
fn no_memory(context: &mut Context<'_>) -> Result<()> {
    // A question of ARP's for an address that nobody has.
    let frame = "ffffffffffff02000000123408060001080006040001020000001234\
                 0a0700630000000000000a070062";
    let lost = format!("l3.{CHILD_NODE}.lost.no_memory");
    let before = number(context, &lost)?;
    let failed = failing(context, |context| {
        context
            .guest
            .call(&format!("in outer ether send wpair0b {frame}"))?;
        await_quiet(context)
    })?;
    let counted = number(context, &lost)? - before;
    let what = "no_memory: a copy for which there was none is counted";
    context.report.check(
        (1..=failed).contains(&counted),
        what,
        format_args!("{counted} of {failed} calls that failed"),
    );
    context.report.note(&format!(
        "no_memory: {counted}, by {failed} calls that failed"
    ));
    Ok(())
}

/// Waits until the pair's queues have nothing.
fn await_quiet(context: &mut Context<'_>) -> Result<()> {
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < LIMIT {
        let now = interface(context, "", NEAR)?;
        if last == Some(now) {
            return Ok(());
        }
        last = Some(now);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// netgraph(4) hands frames of a longer MTU to the L3 interface, which looks for itself.
fn too_long(context: &mut Context<'_>) -> Result<()> {
    let lost = format!("l3.{CHILD_NODE}.unsent.too_long");
    context.guest.call("in red graph take wpair1b hub first")?;
    context
        .guest
        .call("in red graph join wpair1b wpair0a_ip0 second")?;
    let before = (
        number(context, &lost)?,
        interface(context, "in red ", CHILD)?[3],
    );
    let sent = flood(context, "in outer ", "10.8.0.2", 4_000)?;
    context
        .report
        .equal(&sent, &(PACKETS, 0), "too_long: all are sent");
    let start = Instant::now();
    let mut counted = (0, 0);
    while counted.0 < PACKETS && start.elapsed() < LIMIT {
        counted = (
            number(context, &lost)? - before.0,
            interface(context, "in red ", CHILD)?[3] - before.1,
        );
    }
    context.report.equal(
        &counted,
        &(PACKETS, PACKETS),
        "too_long: each frame that is longer than the MTU is counted, and an error of the interface",
    );
    context.guest.call("in red graph out wpair1b").map(drop)
}

/// Sends packets as fast as it goes: how many were taken, and refused.
fn flood(context: &mut Context<'_>, at: &str, to: &str, bytes: u64) -> Result<(u64, u64)> {
    let command = format!("{at}flood {to} 4009 {bytes} 8 {PACKETS} 0");
    let line = context.guest.call_within(&command, LIMIT)?.join(" ");
    let mut counts = line.split(' ').map(|word| word.parse().unwrap_or(u64::MAX));
    Ok((counts.next().unwrap_or(0), counts.next().unwrap_or(0)))
}

/// What a stopped queue refuses.
fn stopped(context: &mut Context<'_>) -> Result<()> {
    let counts = |context: &mut Context<'_>| {
        Ok([
            sum(context, "drops.stopped")?,
            number(context, &format!("pair.{NEAR}.lost.full"))?,
            number(context, "pair.lost.full")?,
        ])
    };
    set(context, NEAR, "hold", 1)?;
    let before = counts(context)?;
    let told = flood(context, "", FAR, 64)?;
    let after = counts(context)?;
    set(context, NEAR, "hold", 0)?;
    let [queues, end, all] = [0, 1, 2].map(|place| after[place] - before[place]);
    let what = "stopped: whoever sends is told";
    context.report.equal(&told, &(0, PACKETS), what);
    context.report.check(
        (PACKETS..PACKETS + OTHERS).contains(&queues) && end == queues && all >= end,
        "stopped: each packet is counted by the queues, the end and in all",
        format_args!("{queues} {end} {all}"),
    );
    reached(context, "", FAR, 64, "a queue that was stopped goes on")
}

/// What has become of the packets of the host's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moves {
    /// By its queues: passed on, and waiting.
    passed: u64,
    queued: u64,
    /// Lost as their flows moved: by the end, in all, and by the interface that was to receive.
    lost: [u64; 3],
    /// Sent, by its interface.
    output: u64,
}

impl Moves {
    fn read(context: &mut Context<'_>) -> Result<Self> {
        let [_, dropped, ..] = interface(context, "in outer ", "wpair0b")?;
        let [_, _, output, _] = interface(context, "", NEAR)?;
        Ok(Self {
            passed: sum(context, "packets")?,
            queued: sum(context, "queued")?,
            lost: [
                number(context, &format!("pair.{NEAR}.lost.moved"))?,
                number(context, "pair.lost.moved")?,
                dropped,
            ],
            output,
        })
    }

    /// What came since.
    fn since(self, before: Self) -> Self {
        Self {
            passed: self.passed - before.passed,
            queued: self.queued.saturating_sub(before.queued),
            lost: [0, 1, 2].map(|place| self.lost[place] - before.lost[place]),
            output: self.output - before.output,
        }
    }

    fn known(&self) -> u64 {
        self.passed + self.queued + self.lost[0]
    }
}

/// Flows of a flood: so many that each part of the table has some.
const MANY: u64 = 512;

/// Flows move to a queue that is full. Neither queue sends anything until packets are held
/// back; the new one does not until they are lost.
fn moved(context: &mut Context<'_>) -> Result<()> {
    let spread = format!("sysctl set net.weft.pair.{NEAR}.queues");
    let second = format!("sysctl set net.weft.pair.{NEAR}.queue.1.");
    context.guest.call_within(&format!("{spread} 1"), LIMIT)?;
    await_quiet(context)?;
    let before = Moves::read(context)?;
    context.guest.call(&format!("{second}packets_limit 1"))?;
    set(context, NEAR, "hold", 2)?;
    let (mut sent, _) = flood(context, "", FAR, 64)?;
    let spread = format!("{spread} {QUEUES}");
    context.guest.start("spread", &spread)?;
    let flooding = format!("flood {FAR} 4009 64 {MANY} {MANY} 0");
    let start = Instant::now();
    let mut held_back = false;
    while !held_back && start.elapsed() < LIMIT {
        context.guest.start("flood", &flooding)?;
        sent += context.guest.finish("flood", LIMIT)?[0];
        let now = Moves::read(context)?.since(before);
        held_back = now.lost[0] > 0 || now.known() + 1 < sent;
    }
    let first = format!("sysctl set net.weft.pair.{NEAR}.queue.0.");
    context.guest.call(&format!("{first}hold 0"))?;
    context.guest.finish("spread", 2 * LIMIT)?;
    context.guest.call(&format!("{second}hold 0"))?;
    context.guest.call(&format!("{second}packets_limit 1024"))?;
    await_quiet(context)?;
    let moves = Moves::read(context)?.since(before);
    let [lost, ..] = moves.lost;
    context.report.check(
        lost > 0 && (sent..sent + OTHERS).contains(&(moves.passed + lost)),
        "moved: what finds no room in the flow's new queue is counted, and nothing else is missing",
        format_args!("{sent} sent, {moves:?}"),
    );
    context.report.equal(
        &[moves.lost[1], moves.lost[2], moves.output],
        &[lost, lost, moves.passed + lost],
        "moved: so it is in all, and by the interfaces, of which one has sent it and one dropped it",
    );
    context
        .report
        .note(&format!("moved: {sent} sent, {moves:?}"));
    reached(context, "", FAR, 64, "the flows go on")
}

/// A pair goes whose queues have packets in them.
fn closed(context: &mut Context<'_>) -> Result<()> {
    set(context, NEAR, "hold", 2)?;
    let (taken, refused) = flood(context, "", FAR, 64)?;
    let queued = sum(context, "queued")?;
    context.report.check(
        taken == PACKETS && refused == 0 && queued >= PACKETS,
        "closed: the queues keep what they get",
        format_args!("{taken} {refused} {queued}"),
    );
    let before = number(context, "pair.lost.destroyed")?;
    destroy(context, NEAR)?;
    let lost = number(context, "pair.lost.destroyed")? - before;
    context.report.check(
        (queued..queued + OTHERS).contains(&lost),
        "closed: what is in them when the pair is destroyed is counted",
        format_args!("{lost} of {queued}"),
    );
    context.guest.call("in outer if destroy wpair1a").map(drop)
}
