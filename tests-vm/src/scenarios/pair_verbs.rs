// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4) by the verbs of ifconfig(8) and by what lies on top of interfaces, each told by
//! what becomes of packets.

use std::time::{Duration, Instant};

use super::pair::{
    ADDRESSES, ECHO_MS, JAILS, LIMIT, PATIENCE_MS, await_count, await_home, connect, counts,
    create_jail, destroy, gather, listen, meet, other, reached, remove_jail, settled, undisturbed,
};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair-verbs",
    group: "pair",
    about: "wpair: addresses, FIBs, groups, taps, nested VLANs, lagg, carp, netgraph, changes under traffic",
    klds: &[
        "if_vlan",
        "if_infiniband",
        "if_lagg",
        "carp",
        "netgraph",
        "ng_socket",
        "ng_ether",
        "ng_hub",
        "pf",
    ],
    limit: Duration::from_secs(400),
    run,
    ..Scenario::ORDINARY
};

/// Numbered packets of a check, and how many in a second.
const DATAGRAMS: u64 = 100;
const RATE: u64 = 400;
const PORT: u16 = 4_300;
/// Packets to a group of a check.
const GROUPED: u64 = 20;
/// How long an echo request that must not be answered waits all the same, in milliseconds.
const SILENCE_MS: u64 = 700;
/// Bytes of a stream during which something changes, everyday and with `--full`.
const STREAM: [u64; 2] = [2_000_000, 50_000_000];
const GROUP: &str = "224.5.6.7";
const NEAR: &str = "wpair0a";
const FAR: &str = "wpair0b";

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds.iter().filter(|&&kld| kld != "carp") {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    for jail in JAILS {
        create_jail(context, jail)?;
    }
    let pair = connect(context)?;
    context
        .report
        .equal(&pair.as_str(), &NEAR, "the first pair is unit 0");
    let steps: [fn(&mut Context<'_>) -> Result<()>; 13] = [
        readdressed,
        routed_by_fib,
        joined,
        tapped,
        nested,
        aggregated,
        redundant,
        netgraph,
        filtered,
        changed_under_traffic,
        overflowed,
        together,
        reclaimed,
    ];
    for step in steps {
        step(context)?;
    }
    destroy(context, NEAR)?;
    for jail in JAILS {
        remove_jail(context, jail)?;
    }
    context.unload_weft()
}

/// Numbered packets from a jail to an address of the other's, which must all arrive.
fn datagrams(context: &mut Context<'_>, [from, to]: [&str; 2], at: &str, what: &str) -> Result<()> {
    let receive = format!("in {to} udp recv {PORT} {DATAGRAMS} {PATIENCE_MS}");
    listen(context, "receive", &receive)?;
    let send = format!("in {from} udp send {at} {PORT} {DATAGRAMS} {RATE} 1 200");
    context.guest.call_within(&send, LIMIT)?;
    let received = context.guest.finish("receive", LIMIT)?;
    context.report.equal(
        &received,
        &vec![DATAGRAMS, DATAGRAMS, 0, 0],
        &format!("{what}: all datagrams to {at} arrived once, in order"),
    );
    Ok(())
}

/// How many of three echo requests from a jail are answered, each within so many
/// milliseconds.
fn answered(
    context: &mut Context<'_>,
    from: &str,
    to: &str,
    bytes: u32,
    wait_ms: u64,
) -> Result<String> {
    let command = format!("in {from} ping {to} 3 {wait_ms} {bytes}");
    let lines = context.guest.call_within(&command, LIMIT)?;
    Ok(lines.join(" "))
}

/// None of three is.
fn unanswered(context: &mut Context<'_>, from: &str, to: &str, what: &str) -> Result<()> {
    let answers = answered(context, from, to, 64, SILENCE_MS)?;
    context.report.equal(&answers.as_str(), &"0 of 3", what);
    Ok(())
}

fn all_answered(
    context: &mut Context<'_>,
    from: &str,
    to: &str,
    bytes: u32,
    what: &str,
) -> Result<()> {
    let answers = answered(context, from, to, bytes, ECHO_MS)?;
    let what = format!("{what}: {to} answers {from}'s echo requests of {bytes} bytes");
    context.report.equal(&answers.as_str(), &"3 of 3", &what);
    Ok(())
}

/// Another link-layer address: the other side learns it, and traffic goes on.
fn readdressed(context: &mut Context<'_>) -> Result<()> {
    for (jail, end, new) in [
        ("left", NEAR, "02:11:22:33:44:0a"),
        ("right", FAR, "02:11:22:33:44:0b"),
    ] {
        let old = context.guest.line(&format!("in {jail} if lladdr {end}"))?;
        let now = context
            .guest
            .line(&format!("in {jail} if lladdr {end} {new}"))?;
        context
            .report
            .equal(&now.as_str(), &new, &format!("{end} takes another address"));
        context
            .report
            .check(old != new, &format!("{end} had one of its own"), old);
        for (from, to) in [("left", ADDRESSES[1][0]), ("right", ADDRESSES[0][0])] {
            all_answered(context, from, to, 64, &format!("{end} readdressed"))?;
        }
        // IPv6 learns it once it finds the old one unreachable (RFC 4861, 7.3).
        for (from, to) in [("left", ADDRESSES[1][1]), ("right", ADDRESSES[0][1])] {
            let what = format!("{end} readdressed: {to} answers {from}");
            reached(context, &format!("in {from} "), to, 64, &what)?;
        }
        let ways = [("left", "right", 1), ("right", "left", 0)];
        for (from, to, at) in ways {
            for address in ADDRESSES[at] {
                datagrams(context, [from, to], address, &format!("{end} readdressed"))?;
            }
        }
    }
    Ok(())
}

/// What an interface receives belongs to its FIB: an answer goes by the routes there.
fn routed_by_fib(context: &mut Context<'_>) -> Result<()> {
    let (left, right) = (ADDRESSES[0][0], ADDRESSES[1][0]);
    context.guest.call(&format!(
        "in right each sysctl set net.fibs 2 -- fib 1 route add {left}/32 blackhole"
    ))?;
    context.guest.call(&format!("in right if fib {FAR} 1"))?;
    let what = "an end in a FIB that leads nowhere: no echo is answered";
    unanswered(context, "left", right, what)?;
    context.guest.call(&format!("in right if fib {FAR} 0"))?;
    all_answered(context, "left", right, 64, "back in FIB 0")?;
    context
        .guest
        .call(&format!("in right fib 1 route del {left}/32 blackhole"))
        .map(drop)
}

/// Sends to a group from left while a receiver on the right, which has joined it, gets the
/// packets, and another one, which has not, gets none.
fn joined(context: &mut Context<'_>) -> Result<()> {
    let ([from, _], [at, _]) = (ADDRESSES[0], ADDRESSES[1]);
    for (job, port, group) in [("member", PORT, GROUP), ("stranger", PORT + 1, "-")] {
        let receive = format!("in right group recv {group} {port} {at} {PATIENCE_MS}");
        listen(context, job, &receive)?;
    }
    for port in [PORT + 1, PORT] {
        let send = format!("in left group send {GROUP} {port} {from} {GROUPED}");
        context.guest.call_within(&send, LIMIT)?;
    }
    let member = gather(context, "member", 0, GROUPED)?;
    context.report.equal(
        &member,
        &vec![GROUPED],
        "who joined a group gets its packets",
    );
    let [left, right] = settled(context)?;
    let what = "all that was sent to the group has come to the other end";
    context.report.equal(&right[..2], &left[2..], what);
    let stranger = context.guest.stop("stranger")?;
    context
        .report
        .equal(&stranger, &vec![0], "who did not join it gets none");
    Ok(())
}

/// Watches an end while numbered packets go from left to right.
fn watched(
    context: &mut Context<'_>,
    jail: &str,
    end: &str,
    to: &str,
    tags: &str,
    what: &str,
) -> Result<()> {
    let command = format!("in {jail} tap {end} {PORT} {PATIENCE_MS} {tags}");
    listen(context, "tap", &command)?;
    datagrams(context, JAILS, to, what)?;
    let seen = gather(context, "tap", 1, DATAGRAMS)?;
    context.report.equal(
        &seen[1..].to_vec(),
        &vec![DATAGRAMS, 0],
        &format!("{what}: bpf shows each datagram once at {jail}'s {end}, with tags {tags}"),
    );
    Ok(())
}

/// bpf(4) at either end.
fn tapped(context: &mut Context<'_>) -> Result<()> {
    for (jail, end) in JAILS.into_iter().zip([NEAR, FAR]) {
        for to in ADDRESSES[1] {
            watched(context, jail, end, to, "-", "untagged")?;
        }
    }
    Ok(())
}

/// A VLAN of a provider (802.1ad), and a customer's inside.
fn nested(context: &mut Context<'_>) -> Result<()> {
    let mut made = Vec::new();
    for ((jail, end), last) in JAILS.into_iter().zip([NEAR, FAR]).zip(1..) {
        let outer = context.guest.line(&format!("in {jail} if create vlan"))?;
        let inner = context.guest.line(&format!("in {jail} if create vlan"))?;
        context.guest.call(&format!(
            "in {jail} each if vlan {outer} {end} 100 802.1ad -- if up {outer} \
             -- if vlan {inner} {outer} 5 802.1q -- if addr {outer} 10.7.0.{last}/24 \
             -- if addr {inner} 10.8.0.{last}/24 -- if up {inner}"
        ))?;
        made.push((jail, [inner, outer]));
    }
    // First, for packets that wait for ARP may be overtaken by those that need not.
    for to in ["10.7.0.2", "10.8.0.2"] {
        all_answered(context, "left", to, 4_000, "802.1ad")?;
    }
    for (jail, end) in JAILS.into_iter().zip([NEAR, FAR]) {
        watched(context, jail, end, "10.7.0.2", "100", "802.1ad")?;
        watched(context, jail, end, "10.8.0.2", "100.5", "802.1q in 802.1ad")?;
    }
    for (jail, vlans) in made {
        for vlan in vlans {
            let command = format!("in {jail} if destroy {vlan}");
            context.guest.call_within(&command, LIMIT)?;
        }
    }
    Ok(())
}

/// Whether the kernel is one that complains of something of its own that takes locks in
/// two orders.
fn watches_itself(context: &mut Context<'_>, what: &str) -> Result<bool> {
    let watches = context.is_checked()?;
    if watches {
        context
            .report
            .note(&format!("left out, the kernel complains of itself: {what}"));
    }
    Ok(watches)
}

/// lagg(4) of two pairs on either side.
fn aggregated(context: &mut Context<'_>) -> Result<()> {
    if watches_itself(context, "lagg(4) with an address (in_control, ifnet_sx)")? {
        return Ok(());
    }
    for protocol in ["failover", "loadbalance"] {
        let pairs = [
            context.guest.line("if create wpair")?,
            context.guest.line("if create wpair")?,
        ];
        let mut laggs = Vec::new();
        for (side, jail) in JAILS.into_iter().enumerate() {
            let ends = pairs.clone().map(|pair| match side {
                0 => pair,
                _ => other(&pair),
            });
            for end in &ends {
                context.guest.call(&format!("if vnet {end} {jail}"))?;
                context.guest.call(&format!("in {jail} if up {end}"))?;
            }
            let lagg = context.guest.line(&format!("in {jail} if create lagg"))?;
            let [first, second] = &ends;
            context.guest.call(&format!(
                "in {jail} each if lagg {lagg} {protocol} {first} {second} \
                 -- if addr {lagg} 10.9.0.{}/24 -- if up {lagg}",
                side + 1
            ))?;
            laggs.push((jail, lagg));
        }
        all_answered(context, "left", "10.9.0.2", 64, protocol)?;
        spread(context, protocol, &pairs)?;
        // The first pair goes, with both of its ends.
        let command = format!("in left if destroy {}", pairs[0]);
        context.guest.call_within(&command, LIMIT)?;
        let what = format!("{protocol}, without its first pair");
        datagrams(context, JAILS, "10.9.0.2", &what)?;
        for (jail, lagg) in laggs {
            let command = format!("in {jail} if destroy {lagg}");
            context.guest.call_within(&command, LIMIT)?;
        }
        let command = format!("in left if destroy {}", pairs[1]);
        context.guest.call_within(&command, LIMIT)?;
    }
    Ok(())
}

/// Sends many flows over a lagg, and looks at which of its pairs they go over.
fn spread(context: &mut Context<'_>, protocol: &str, pairs: &[String; 2]) -> Result<()> {
    let sent = |context: &mut Context<'_>| -> Result<[u64; 2]> {
        let first = counts(context, "in left ", &pairs[0])?[2];
        Ok([first, counts(context, "in left ", &pairs[1])?[2]])
    };
    let before = sent(context)?;
    let drain = format!("in right drain {PORT} {PATIENCE_MS}");
    listen(context, "drain", &drain)?;
    let flows = format!("in left flood 10.9.0.2 {PORT} 200 64 640 0");
    context.guest.call_within(&flows, LIMIT)?;
    let taken = gather(context, "drain", 0, 640)?;
    context.report.equal(
        &taken.first(),
        &Some(&640),
        &format!("{protocol}: the packets of many flows arrive"),
    );
    let after = sent(context)?;
    let carried = [after[0] - before[0], after[1] - before[1]];
    let (what, right) = match protocol {
        "failover" => (
            "failover: the first pair carries all",
            carried[0] >= 640 && carried[1] < 64,
        ),
        _ => (
            "loadbalance: both pairs carry some",
            carried.iter().all(|&carried| carried >= 64),
        ),
    };
    context
        .report
        .check(right, what, format_args!("{carried:?}"));
    Ok(())
}

/// carp(4): two jails for one address, of which the better one answers, then the other.
fn redundant(context: &mut Context<'_>) -> Result<()> {
    if watches_itself(context, "carp(4) (carp_detach, in_leavegroup)")? {
        return Ok(());
    }
    context.load_kld("carp")?;
    for jail in JAILS {
        let command = format!("in {jail} sysctl set net.inet.carp.preempt 1");
        context.guest.call(&command)?;
    }
    for ((jail, end), skew) in JAILS.into_iter().zip([NEAR, FAR]).zip([0, 100]) {
        context.guest.call(&format!(
            "in {jail} each if carp {end} 7 {skew} -- if addr {end} 10.1.0.100/24 vhid 7"
        ))?;
    }
    await_states(context, ["master", "backup"], "the one with less skew")?;
    context.guest.call(&format!("in left if down {NEAR}"))?;
    await_states(context, ["init", "master"], "the other one, alone")?;
    context.guest.call(&format!("in left if up {NEAR}"))?;
    await_states(context, ["master", "backup"], "the first again")?;
    meet(context)?;
    for (jail, end) in JAILS.into_iter().zip([NEAR, FAR]) {
        context
            .guest
            .call(&format!("in {jail} if unaddr {end} 10.1.0.100"))?;
    }
    Ok(())
}

fn await_states(context: &mut Context<'_>, wanted: [&str; 2], what: &str) -> Result<()> {
    let start = Instant::now();
    let mut found = Vec::new();
    while found != wanted && start.elapsed() < LIMIT {
        found.clear();
        for (jail, end) in JAILS.into_iter().zip([NEAR, FAR]) {
            found.push(
                context
                    .guest
                    .line(&format!("in {jail} if carp-state {end} 7"))?,
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let what = format!("carp: {what} is master");
    context
        .report
        .equal(&found, &wanted.map(String::from).to_vec(), &what);
    Ok(())
}

/// netgraph(4) between the wire and the stack: with nothing above, the stack is deaf; with
/// a node between, all passes.
fn netgraph(context: &mut Context<'_>) -> Result<()> {
    let to = ADDRESSES[1][0];
    context
        .guest
        .call(&format!("in right graph take {FAR} hub below"))?;
    let what = "netgraph takes what an end receives: no echo is answered";
    unanswered(context, "left", to, what)?;
    context
        .guest
        .call(&format!("in right graph give {FAR} above"))?;
    all_answered(context, "left", to, 64, "netgraph gives it back")?;
    datagrams(context, JAILS, to, "through netgraph")?;
    datagrams(
        context,
        ["right", "left"],
        ADDRESSES[0][0],
        "through netgraph",
    )?;
    context.guest.call(&format!("in right graph out {FAR}"))?;
    all_answered(context, "left", to, 4_000, "netgraph is gone")
}

/// pf(4) puts fragments together at the receiver, before the stack sees them.
fn filtered(context: &mut Context<'_>) -> Result<()> {
    let used = |context: &mut Context<'_>| context.column("zones pf%20frag", 3);
    let before = used(context)?;
    context.guest.call("in right pf start")?;
    for to in ADDRESSES[1] {
        all_answered(context, "left", to, 6_000, "pf")?;
        datagrams(context, JAILS, to, "pf")?;
    }
    context.guest.call("in right pf stop")?;
    let more = used(context)? - before;
    context
        .report
        .check(more > 0, "pf has put fragments together", more);
    Ok(())
}

/// A stream from left to right meanwhile something is done again and again.
fn meanwhile(
    context: &mut Context<'_>,
    what: &str,
    change: impl Fn(&mut Context<'_>, u32) -> Result<()>,
) -> Result<()> {
    let bytes = STREAM[usize::from(context.full)];
    listen(context, "serve", "in right tcp serve 5300 9")?;
    let send = format!("in left tcp send {} 5300 9 {bytes}", ADDRESSES[1][0]);
    context.guest.start("stream", &send)?;
    // Connected: what is changed must not keep it from that.
    await_count(context, "stream", 0, 1)?;
    let mut turns = 0;
    while turns < 12 {
        change(context, turns)?;
        turns += 1;
    }
    let progress = context.guest.counters("stream")?[0];
    let limit = LIMIT * if context.full { 10 } else { 2 };
    context.guest.finish("stream", limit)?;
    let received = context.guest.finish("serve", limit)?;
    let what = format!("{what}, {turns} times during a stream: it arrived, byte by byte");
    context.report.equal(&received, &vec![bytes, 0], &what);
    context.report.note(&format!(
        "bytes sent when the changes were over: {progress}"
    ));
    Ok(())
}

fn changed_under_traffic(context: &mut Context<'_>) -> Result<()> {
    meanwhile(context, "another MTU at both ends", |context, turn| {
        let mtu = [600, 9_000, 1_500][turn as usize % 3];
        for (jail, end) in JAILS.into_iter().zip([NEAR, FAR]) {
            let command = format!("in {jail} if mtu {end} {mtu}");
            context.guest.call(&command)?;
        }
        Ok(())
    })?;
    meanwhile(context, "an end down and up", |context, turn| {
        let side = turn as usize % 2;
        let (jail, end) = (JAILS[side], [NEAR, FAR][side]);
        let command = format!("in {jail} each if down {end} -- sleep 50 -- if up {end}");
        context.guest.call(&command).map(drop)
    })?;
    meanwhile(context, "another name", |context, turn| {
        let names = ["uplink0", NEAR];
        let (new, old) = (names[turn as usize % 2], names[(turn as usize + 1) % 2]);
        let command = format!("in left if rename {old} {new}");
        context.guest.call(&command).map(drop)
    })?;
    meanwhile(context, "tso on or off", |context, turn| {
        let sign = ["-", ""][turn as usize % 2];
        let command = format!("in left if capability {NEAR} {sign}tso4 {sign}tso6");
        context.guest.call(&command).map(drop)
    })
}

/// Queues that have room for few frames, and packets that the jails pass to and fro until
/// their time is over: what finds no room is refused and counted, by the interfaces and by
/// the module, and the rest is in order.
fn overflowed(context: &mut Context<'_>) -> Result<()> {
    let settings = ["room", "queues"].map(|name| format!("net.weft.pair.{name}"));
    let mut before = Vec::new();
    for (name, value) in settings.iter().zip([64, 1]) {
        before.push(context.guest.sysctl(name)?);
        context.guest.set_sysctl(name, value)?;
    }
    let pair = context.guest.line("if create wpair")?;
    let ends = [pair.clone(), other(&pair)];
    for ((jail, end), [own, peer]) in JAILS.into_iter().zip(&ends).zip([[1, 2], [2, 1]]) {
        context.guest.call(&format!("if vnet {end} {jail}"))?;
        context.guest.call(&format!(
            "in {jail} each if addr {end} 10.10.0.{own}/24 -- if up {end} \
             -- route add 10.99.0.0/16 10.10.0.{peer} -- sysctl set net.inet.ip.forwarding 1 \
             -- sysctl set net.inet.ip.redirect 0"
        ))?;
    }
    all_answered(context, "left", "10.10.0.2", 64, "a small queue")?;
    crowded(context, &ends)?;
    for jail in JAILS {
        context
            .guest
            .call(&format!("in {jail} sysctl set net.inet.ip.forwarding 0"))?;
    }
    let command = format!("in left if destroy {pair}");
    context.guest.call_within(&command, LIMIT)?;
    for (name, value) in settings.iter().zip(before) {
        context.guest.set_sysctl(name, value)?;
    }
    Ok(())
}

/// Numbered packets from left to right while others go round.
fn crowded(context: &mut Context<'_>, ends: &[String; 2]) -> Result<()> {
    let name = "sysctl get net.weft.pair.lost.full";
    let before = context.guest.number(name)?;
    let receive = format!("in right udp recv {PORT} 100000 {PATIENCE_MS}");
    listen(context, "receive", &receive)?;
    let flood = "in left flood 10.99.0.1 9 64 4 0 0";
    context.guest.start("flood", flood)?;
    await_full(context, before)?;
    let send = format!("in left udp send 10.10.0.2 {PORT} 100000 400 1 200");
    context.guest.start("send", &send)?;
    await_count(context, "receive", 1, DATAGRAMS)?;
    let sent = context.guest.stop("send")?;
    context.guest.stop("flood")?;
    let received = gather(context, "receive", 1, sent[0])?;
    let (lost, dropped) = refusals(context, before, ends)?;
    let what = "the interfaces have counted as many as dropped at their outputs";
    context.report.equal(&dropped, &lost, what);
    context.report.check(
        sent[0] >= DATAGRAMS && received == [sent[0], sent[0], 0, 0],
        "what found room meanwhile came once, in order, whole",
        format_args!("sent, refused, tried again: {sent:?}; {received:?}, {lost} lost"),
    );
    Ok(())
}

/// Waits until frames find no room.
fn await_full(context: &mut Context<'_>, before: u64) -> Result<()> {
    let name = "sysctl get net.weft.pair.lost.full";
    let start = Instant::now();
    let mut lost = 0;
    while lost == 0 && start.elapsed() < LIMIT {
        lost = context.guest.number(name)? - before;
    }
    context
        .report
        .check(lost > 0, "frames found no room in a small queue", lost);
    Ok(())
}

/// What the module has counted as lost for want of room, and the interfaces as dropped at
/// their outputs, once no packet goes round any more.
fn refusals(context: &mut Context<'_>, before: u64, ends: &[String; 2]) -> Result<(u64, u64)> {
    let start = Instant::now();
    loop {
        let lost = context
            .guest
            .number("sysctl get net.weft.pair.lost.full")?
            .wrapping_sub(before);
        let mut dropped = 0;
        for (jail, end) in JAILS.into_iter().zip(ends) {
            let line = context.guest.line(&format!("in {jail} if stat {end}"))?;
            let last = line.rsplit(' ').next().and_then(|n| n.parse().ok());
            dropped += last.unwrap_or(0);
        }
        if lost == dropped || start.elapsed() > LIMIT {
            return Ok((lost, dropped));
        }
    }
}

/// Both ends in one jail: what goes out at one comes in at the other.
fn together(context: &mut Context<'_>) -> Result<()> {
    create_jail(context, "alone")?;
    let pair = context.guest.line("in alone if create wpair")?;
    let end = other(&pair);
    let [left, _] = ADDRESSES[0];
    context.guest.call(&format!(
        "in alone each if addr {pair} {left}/24 -- if up {pair} -- if addr {end} 10.11.0.1/24 -- if up {end}"
    ))?;
    let receive = format!("in alone group recv {GROUP} {PORT} 10.11.0.1 {PATIENCE_MS}");
    listen(context, "group", &receive)?;
    let send = format!("in alone group send {GROUP} {PORT} {left} {GROUPED}");
    context.guest.call_within(&send, LIMIT)?;
    let got = gather(context, "group", 0, GROUPED)?;
    context.report.equal(
        &got,
        &vec![GROUPED],
        "both ends in one jail: a group's packets come in at the other end",
    );
    let (mut sent, mut received) = ([0; 4], [0; 4]);
    undisturbed(true, || {
        sent = counts(context, "in alone ", &pair)?;
        received = counts(context, "in alone ", &end)?;
        Ok(received[0] == sent[2])
    })?;
    context.report.check(
        sent[2] >= GROUPED && received[0] == sent[2],
        "both ends in one jail: what one has sent the other has received",
        format_args!("{sent:?}, {received:?}"),
    );
    remove_jail(context, "alone")
}

/// ifconfig(8)'s `-vnet`: the host takes an end back, which has no addresses any more.
fn reclaimed(context: &mut Context<'_>) -> Result<()> {
    context.guest.call(&format!("if reclaim {FAR} right"))?;
    await_home(context, FAR)?;
    let gone = context.guest.refused(&format!("in right if stat {FAR}"))?;
    context.report.check(
        gone.starts_with("ENXIO"),
        "an end that is taken back is not in the jail any more",
        gone,
    );
    unanswered(context, "left", ADDRESSES[1][0], "and nobody answers there")?;
    context.guest.call(&format!("if vnet {FAR} right"))?;
    let [v4, v6] = ADDRESSES[1];
    context.guest.call(&format!(
        "in right each if addr {FAR} {v4}/24 -- if addr {FAR} {v6}/64 -- if up {FAR}"
    ))?;
    meet(context)?;
    context.guest.call(&format!("if reclaim {NEAR} left"))?;
    await_home(context, NEAR)
}
