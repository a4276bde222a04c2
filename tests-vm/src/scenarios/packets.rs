// SPDX-License-Identifier: BSD-2-Clause
//! The module's own packets go through the kernel's stack: the test hooks
//! (`net.weft.test`) put one in place of each packet that passes, on its way through
//! the IP layers, bridges and filters, into sockets and out of them, and what arrives
//! is compared byte by byte. While one of them is anywhere in the kernel the module
//! stays; afterwards nothing is left.

use std::time::{Duration, Instant};

use super::pair::{ECHO_MS, PATIENCE_MS, gather, reached};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "packets",
    group: "packets",
    about: "packets of the module's own pass through sockets, IP, bridges and filters whole; unload waits for them",
    klds: &[
        "if_epair",
        "bridgestp",
        "if_bridge",
        "dummymbuf",
        "netlink",
        "pf",
        "ipfw",
    ],
    limit: Duration::from_secs(300),
    run,
    ..Scenario::ORDINARY
};

/// Where the hooks put packets of ours in place of others: bits of `net.weft.test.repack`.
const INET: u32 = 1;
const INET6: u32 = 2;
const ETHERNET: u32 = 4;
const EVERYWHERE: u32 = INET | INET6 | ETHERNET;

/// Bytes of a TCP stream.
const STREAM: u64 = 300_000;
const STREAM_FULL: u64 = 5_000_000;
/// Datagrams, how many of them in a second, and their bytes: several fragments each.
const DATAGRAMS: u64 = 20;
const DATAGRAMS_FULL: u64 = 1_000;
const DATAGRAM_RATE: u64 = 100;
const DATAGRAM: u64 = 5_000;
/// Bytes of an ICMP echo request: several fragments too.
const ECHO: u32 = 6_000;
/// One of so many packets is dropped when TCP must send some of them again.
const DROP_EVERY: u64 = 40;
/// Bytes that lie in a socket while the module should go. Less than a receive buffer.
const UNREAD: u64 = 100_000;
/// How long traffic of one kind may take, everyday.
const LIMIT: Duration = Duration::from_secs(60);

/// Where something is sent from, and to which addresses.
#[derive(Clone, Copy)]
struct Way {
    /// Puts a command where the sender is; with a space behind it, or nothing.
    from: &'static str,
    /// Puts a command where the receiver is.
    to: &'static str,
    /// The receiver's addresses, IPv4 and IPv6.
    addresses: [&'static str; 2],
}

/// Through the host, which routes.
const ROUTED: Way = Way {
    from: "in left ",
    to: "in right ",
    addresses: ["10.2.0.1", "fd00:2::1"],
};
/// To the host itself.
const TO_HOST: Way = Way {
    from: "in left ",
    to: "",
    addresses: ["10.1.0.2", "fd00:1::2"],
};
/// From the host, which cuts what is too long for a link.
const FROM_HOST: Way = Way {
    from: "",
    to: "in right ",
    addresses: ["10.2.0.1", "fd00:2::1"],
};
/// Through the host, which bridges.
const BRIDGED: Way = Way {
    from: "in left ",
    to: "in right ",
    addresses: ["10.3.0.2", "fd00:3::2"],
};

fn run(context: &mut Context<'_>) -> Result<()> {
    load_klds(context)?;
    context.load_weft_for_tests()?;
    exercises(context)?;
    let routed = build_routed(context)?;
    for layers in [INET | INET6, ETHERNET, EVERYWHERE] {
        repacked(context, layers, "routed", |context, what| {
            traffic(context, &ROUTED, what)
        })?;
    }
    repacked(context, EVERYWHERE, "to the host", |context, what| {
        traffic(context, &TO_HOST, what)
    })?;
    repacked(context, EVERYWHERE, "from the host", |context, what| {
        traffic(context, &FROM_HOST, what)
    })?;
    repacked(context, EVERYWHERE, "spliced", splice)?;
    repacked(context, EVERYWHERE, "tapped", |context, what| {
        tap(context, &routed[1], what)
    })?;
    losses(context, &ROUTED)?;
    losses(context, &TO_HOST)?;
    let bridged = build_bridge(context)?;
    repacked(context, EVERYWHERE, "bridged", |context, what| {
        traffic(context, &BRIDGED, what)
    })?;
    pulled(context, &routed)?;
    filtered(context)?;
    refused_unload(context)?;
    unload(context)?;
    take_down(context, &[&routed[..], &bridged[..]].concat())
}

/// Loads the modules of the kernel's but ipfw, which is in the way once it is there.
fn load_klds(context: &mut Context<'_>) -> Result<()> {
    // Smaller tables: a kernel that checks locks takes long for each of their locks.
    context.guest.each(&[
        "kenv set net.pf.states_hashsize 1024".into(),
        "kenv set net.pf.source_nodes_hashsize 1024".into(),
        "kenv set net.pf.udpendpoint_hashsize 1024".into(),
        "kenv set net.inet.ip.fw.default_to_accept 1".into(),
    ])?;
    for kld in SCENARIO.klds.iter().filter(|kld| **kld != "ipfw") {
        context.load_kld(kld)?;
    }
    Ok(())
}

/// Runs traffic of some kind while packets are replaced at `layers`, and checks that
/// some were, and none could not be.
fn repacked(
    context: &mut Context<'_>,
    layers: u32,
    what: &str,
    traffic: impl FnOnce(&mut Context<'_>, &str) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let what = format!("{what}, repack={layers}");
    let before = test_counts(context)?;
    context.guest.set_sysctl("net.weft.test.repack", layers)?;
    traffic(context, &what)?;
    context.guest.set_sysctl("net.weft.test.repack", 0)?;
    let after = test_counts(context)?;
    context.report.check(
        after.repacked > before.repacked,
        &format!("{what}: packets were replaced by ours"),
        after.repacked,
    );
    context.report.equal(
        &after.not_repacked,
        &before.not_repacked,
        &format!("{what}: no packet had to stay as it was"),
    );
    context.report.note(&format!(
        "{what}: {} packets of ours in {:.1} s",
        after.repacked - before.repacked,
        start.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// Counters of the module for tests.
struct TestCounts {
    repacked: u64,
    not_repacked: u64,
    dropped: u64,
}

fn test_counts(context: &mut Context<'_>) -> Result<TestCounts> {
    let mut count = |name| {
        context
            .guest
            .number(&format!("sysctl get net.weft.test.{name}"))
    };
    Ok(TestCounts {
        repacked: count("repacked")?,
        not_repacked: count("not_repacked")?,
        dropped: count("dropped")?,
    })
}

/// What the kernel's functions make of a packet of ours, one by one.
fn exercises(context: &mut Context<'_>) -> Result<()> {
    context.guest.set_sysctl("net.weft.test.exercise", 1)?;
    context
        .report
        .pass("the kernel's functions leave our packets' content as it is");
    no_packets_out(context, "after the exercises")?;
    given_back(context)?;
    limited(context)
}

/// Free buffers go back when the system says that it is short of memory.
fn given_back(context: &mut Context<'_>) -> Result<()> {
    let figure = |context: &mut Context<'_>, name: &str| {
        let command = format!("sysctl get net.weft.packet.{name}");
        context.guest.number(&command)
    };
    let before = [
        figure(context, "bytes")?,
        figure(context, "reclaims")?,
        figure(context, "reclaimed_bytes")?,
    ];
    context.guest.set_sysctl("debug.vm_lowmem", 1)?;
    let after = [
        figure(context, "bytes")?,
        figure(context, "reclaims")?,
        figure(context, "reclaimed_bytes")?,
    ];
    let all_back = after[0] < before[0] && after[2] - before[2] == before[0] - after[0];
    context.report.check(
        all_back && after[1] > before[1],
        "free buffers are given back when memory is short",
        format_args!("bytes, times, bytes given back: {before:?}, then {after:?}"),
    );
    Ok(())
}

/// Limits are taken if they can be kept, and keep packets from being made.
fn limited(context: &mut Context<'_>) -> Result<()> {
    let limit = "net.weft.packet.bytes_limit";
    let why = context.guest.refused(&format!("sysctl set {limit} 1"))?;
    context.report.check(
        why.starts_with("EINVAL"),
        "a limit below the least is refused",
        &why,
    );
    // The exercises need more than one packet of the smallest size at a time.
    let of_size = "net.weft.packet.size.512.limit";
    context.guest.set_sysctl(of_size, 1)?;
    let exercise = "sysctl set net.weft.test.exercise 1";
    let why = context.guest.refused(exercise)?;
    let failures = context
        .guest
        .number("sysctl get net.weft.packet.class_limit")?;
    context.report.check(
        why.starts_with("EIO") && failures > 0,
        "a limit on a size's buffers is kept, and counted",
        format_args!("{why}, {failures} failures"),
    );
    context.guest.set_sysctl(of_size, 0)?;
    context.guest.set_sysctl("net.weft.test.exercise", 1)?;
    no_packets_out(context, "after exercises with a limit")
}

/// left 10.1.0.1 -- 10.1.0.2 host 10.2.0.2 -- 10.2.0.1 right, and likewise fd00:1::/64
/// and fd00:2::/64. Gives the host's interfaces towards left and right.
fn build_routed(context: &mut Context<'_>) -> Result<[String; 2]> {
    let guest = &mut context.guest;
    guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    let mut ports = [String::new(), String::new()];
    for (port, (jail, number)) in ports.iter_mut().zip([("left", 1), ("right", 2)]) {
        guest.call_within(&format!("jail create {jail}"), Duration::from_secs(30))?;
        let near = guest.line("if create epair")?;
        let far = format!("{}b", near.trim_end_matches('a'));
        guest.call(&format!("if vnet {far} {jail}"))?;
        guest.each(&[
            format!("if addr {near} 10.{number}.0.2/24"),
            format!("if addr {near} fd00:{number}::2/64"),
            format!("if up {near}"),
        ])?;
        guest.call(&format!(
            "in {jail} each sysctl set net.inet6.ip6.dad_count 0 \
             -- if addr lo0 127.0.0.1/8 -- if up lo0 \
             -- if addr {far} 10.{number}.0.1/24 -- if addr {far} fd00:{number}::1/64 \
             -- if up {far} \
             -- route add 0.0.0.0/0 10.{number}.0.2 -- route add ::/0 fd00:{number}::2"
        ))?;
        *port = near;
    }
    guest.each(&[
        "sysctl set net.inet.ip.forwarding 1".into(),
        "sysctl set net.inet6.ip6.forwarding 1".into(),
    ])?;
    meet(context, &ROUTED)?;
    Ok(ports)
}

/// Has the neighbours on a way learn each other's addresses: until then they drop
/// more than a few packets. One that was not ready may miss the first question.
fn meet(context: &mut Context<'_>, way: &Way) -> Result<()> {
    for address in way.addresses {
        let what = format!("{address} answers");
        reached(context, way.from, address, 64, &what)?;
    }
    Ok(())
}

/// left 10.3.0.1 -- bridge in the host -- 10.3.0.2 right, and likewise fd00:3::/64. All
/// the bridge's hooks for filters are on. Gives the host's interfaces, the bridge first.
fn build_bridge(context: &mut Context<'_>) -> Result<Vec<String>> {
    let guest = &mut context.guest;
    let bridge = guest.line("if create bridge")?;
    let mut interfaces = vec![bridge.clone()];
    for (jail, number) in [("left", 1), ("right", 2)] {
        let near = guest.line("if create epair")?;
        let far = format!("{}b", near.trim_end_matches('a'));
        guest.call(&format!("if vnet {far} {jail}"))?;
        guest.each(&[
            format!("if member {bridge} {near}"),
            format!("if up {near}"),
        ])?;
        guest.call(&format!(
            "in {jail} each if addr {far} 10.3.0.{number}/24 \
             -- if addr {far} fd00:3::{number}/64 -- if up {far}"
        ))?;
        interfaces.push(near);
    }
    guest.each(&[
        format!("if up {bridge}"),
        // Turns the other two off, so it comes first.
        "sysctl set net.link.bridge.ipfw 1".into(),
        "sysctl set net.link.bridge.pfil_member 1".into(),
        "sysctl set net.link.bridge.pfil_bridge 1".into(),
    ])?;
    meet(context, &BRIDGED)?;
    Ok(interfaces)
}

/// Starts a command in the background that waits for packets, and waits until it will
/// miss none.
fn start(context: &mut Context<'_>, job: &str, command: &str) -> Result<()> {
    context.guest.start(job, command)?;
    let start = Instant::now();
    while context.guest.counters(job)?.last() != Some(&1) && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How long the traffic of one stage may take.
fn limit(context: &Context<'_>) -> Duration {
    LIMIT * if context.full { 10 } else { 1 }
}

/// TCP streams, datagrams and echoes of both families, all at the same time.
fn traffic(context: &mut Context<'_>, way: &Way, what: &str) -> Result<()> {
    let datagrams = if context.full {
        DATAGRAMS_FULL
    } else {
        DATAGRAMS
    };
    for family in 0..2 {
        let to = way.to;
        let command = format!("{to}udp recv 400{family} {datagrams} {PATIENCE_MS}");
        start(context, &format!("recv{family}"), &command)?;
        let Way {
            from, addresses, ..
        } = way;
        let to = addresses[family];
        let command =
            format!("{from}udp send {to} 400{family} {datagrams} {DATAGRAM_RATE} 1 {DATAGRAM}");
        context
            .guest
            .start(&format!("datagrams{family}"), &command)?;
    }
    streams(context, way, what)?;
    echoes(context, way, what)?;
    for family in 0..2 {
        let limit = limit(context);
        let sent = context.guest.finish(&format!("datagrams{family}"), limit)?;
        let received = context.guest.finish(&format!("recv{family}"), limit)?;
        let name = way.addresses[family];
        context.report.equal(
            &sent[..2],
            &[datagrams, 0],
            &format!("{what}: all datagrams were sent to {name}"),
        );
        context.report.equal(
            &received,
            &vec![datagrams, datagrams, 0, 0],
            &format!("{what}: all datagrams arrived at {name} once, in order, whole"),
        );
    }
    Ok(())
}

/// A TCP stream of each family at the same time; gives the packets sent again.
fn streams(context: &mut Context<'_>, way: &Way, what: &str) -> Result<u64> {
    let bytes = if context.full { STREAM_FULL } else { STREAM };
    for family in 0..2 {
        let to = way.to;
        let command = format!("{to}tcp serve 500{family} {family}");
        start(context, &format!("serve{family}"), &command)?;
        let Way {
            from, addresses, ..
        } = way;
        let to = addresses[family];
        let command = format!("{from}tcp send {to} 500{family} {family} {bytes}");
        context.guest.start(&format!("stream{family}"), &command)?;
    }
    let mut again = 0;
    for family in 0..2 {
        let limit = limit(context);
        let sent = context.guest.finish(&format!("stream{family}"), limit)?;
        let received = context.guest.finish(&format!("serve{family}"), limit)?;
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!(
                "{what}: the stream to {} arrived, byte by byte",
                way.addresses[family]
            ),
        );
        context
            .report
            .note(&format!("{what}: bytes, packets sent again, ms: {sent:?}"));
        again += sent.get(1).copied().unwrap_or(0);
    }
    Ok(again)
}

fn echoes(context: &mut Context<'_>, way: &Way, what: &str) -> Result<()> {
    for address in way.addresses {
        let from = way.from;
        let answered = context.guest.call_within(
            &format!("{from}ping {address} 3 {ECHO_MS} {ECHO}"),
            limit(context),
        )?;
        context.report.equal(
            &answered,
            &vec!["3 of 3".to_owned()],
            &format!("{what}: {address} answers long echo requests with the same bytes"),
        );
    }
    Ok(())
}

/// The host takes connections and has the kernel move their data to others.
fn splice(context: &mut Context<'_>, what: &str) -> Result<()> {
    let bytes = if context.full { STREAM_FULL } else { STREAM };
    for family in 0..2 {
        let to = ROUTED.addresses[family];
        let command = format!("in right tcp serve 500{family} {family}");
        start(context, &format!("serve{family}"), &command)?;
        let command = format!("tcp splice 510{family} {to} 500{family}");
        start(context, &format!("relay{family}"), &command)?;
        let to = TO_HOST.addresses[family];
        let command = format!("in left tcp send {to} 510{family} {family} {bytes}");
        context.guest.start(&format!("stream{family}"), &command)?;
    }
    for family in 0..2 {
        let limit = limit(context);
        context.guest.finish(&format!("stream{family}"), limit)?;
        let relayed = context.guest.finish(&format!("relay{family}"), limit)?;
        let received = context.guest.finish(&format!("serve{family}"), limit)?;
        let name = ROUTED.addresses[family];
        context.report.check(
            matches!(relayed[..], [forth, 0, rest] if forth > bytes / 2 && forth + rest == bytes),
            &format!("{what}: the kernel moved the stream to {name} by itself"),
            format_args!("bytes forth, back, left behind at the end: {relayed:?}"),
        );
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!("{what}: the stream to {name} arrived, byte by byte"),
        );
    }
    Ok(())
}

/// What bpf(4) shows of packets that leave by `port`.
fn tap(context: &mut Context<'_>, port: &str, what: &str) -> Result<()> {
    for to in ROUTED.addresses {
        start(context, "tap", &format!("tap {port} 4009 {PATIENCE_MS}"))?;
        let command = format!("in right udp recv 4009 {DATAGRAMS} {PATIENCE_MS}");
        start(context, "recv", &command)?;
        let guest = &mut context.guest;
        guest.call_within(
            &format!("in left udp send {to} 4009 {DATAGRAMS} {DATAGRAM_RATE} 1 1200"),
            LIMIT,
        )?;
        guest.finish("recv", LIMIT)?;
        let seen = gather(context, "tap", 1, DATAGRAMS)?;
        context.report.equal(
            &seen.get(1..).unwrap_or(&[]),
            &&[DATAGRAMS, 0][..],
            &format!("{what}: bpf shows each datagram to {to}, whole"),
        );
    }
    Ok(())
}

/// Packets are dropped, so that TCP sends again what it has sent before.
fn losses(context: &mut Context<'_>, way: &Way) -> Result<()> {
    let what = format!(
        "one of {DROP_EVERY} dropped on the way to {}",
        way.addresses[0]
    );
    let before = test_counts(context)?;
    context
        .guest
        .set_sysctl("net.weft.test.drop_every", DROP_EVERY)?;
    let mut again = 0;
    repacked(context, EVERYWHERE, &what, |context, what| {
        again = streams(context, way, what)?;
        Ok(())
    })?;
    context.guest.set_sysctl("net.weft.test.drop_every", 0)?;
    let dropped = test_counts(context)?.dropped - before.dropped;
    context.report.check(
        dropped > 0 && again > 0,
        &format!("{what}: packets were dropped and sent again"),
        format_args!("{dropped} dropped, {again} sent again"),
    );
    Ok(())
}

/// A filter that cuts packets into pieces (dummymbuf, of FreeBSD's own tests) before
/// our hooks: these get chains, and it gets what they made of a packet below.
fn pulled(context: &mut Context<'_>, [left, right]: &[String; 2]) -> Result<()> {
    let mut rules = String::new();
    for (layer, coming, going) in [("inet", 1, 21), ("inet6", 41, 3), ("ethernet", 15, 13)] {
        for (way, port, bytes) in [("in", left, coming), ("out", right, going)] {
            rules += &format!("{layer} {way} {port} pull-head {bytes}; ");
        }
    }
    let name = "net.dummymbuf.rules";
    context.guest.set_sysctl(name, rules.trim_end())?;
    repacked(context, EVERYWHERE, "cut in pieces", |context, what| {
        // Never the last, or the kernel would drop the packet: it says of each that it
        // is another one now, which only a filter behind it takes for "passed".
        link_filter(context, "first")?;
        let outcome = traffic(context, &ROUTED, what);
        link_filter(context, "unlink")?;
        outcome
    })?;
    let hits = context.guest.number("sysctl get net.dummymbuf.hits")?;
    context
        .report
        .check(hits > 0, "packets were cut into pieces", hits);
    Ok(())
}

/// Puts dummymbuf's filter into the way of packets, or takes it out.
fn link_filter(context: &mut Context<'_>, how: &str) -> Result<()> {
    for layer in ["inet", "inet6", "ethernet"] {
        let command = format!("pfil {how} {layer} dummymbuf {layer}");
        context.guest.call(&command)?;
    }
    Ok(())
}

/// pf(4) and ipfw(4) in the way; pf puts fragments together and cuts them again where
/// it can.
fn filtered(context: &mut Context<'_>) -> Result<()> {
    context.load_kld("ipfw")?;
    context.guest.call("pf start")?;
    for (name, way) in [("filtered", &ROUTED), ("filtered at the host", &TO_HOST)] {
        repacked(context, EVERYWHERE, name, |context, what| {
            traffic(context, way, what)
        })?;
    }
    // In a bridge pf gives what it has cut of IPv6's to the host's own output: streams only.
    let name = "filtered in the bridge";
    repacked(context, EVERYWHERE, name, |context, what| {
        streams(context, &BRIDGED, what).map(drop)
    })?;
    let passed = context.guest.number("ipfw packets")?;
    context
        .report
        .check(passed > 0, "ipfw has counted packets", passed);
    let zones = context.guest.call("zones pf%20frag")?;
    // One of each kind in each network stack; pf was on in the host's only.
    let used = |zone: &String| !zone.ends_with("\t0");
    context.report.check(
        zones.iter().any(used),
        "pf has put fragments together",
        zones.join("; "),
    );
    context.guest.call("pf stop").map(drop)
}

/// The module can't go while data in a socket is in packets of ours.
fn refused_unload(context: &mut Context<'_>) -> Result<()> {
    context
        .guest
        .set_sysctl("net.weft.test.repack", EVERYWHERE)?;
    for family in 0..2 {
        let serve = format!("serve{family}");
        let command = format!("tcp serve 500{family} {family} {UNREAD}");
        start(context, &serve, &command)?;
        let to = TO_HOST.addresses[family];
        let command = format!("in left tcp send {to} 500{family} {family} {UNREAD}");
        context.guest.start(&format!("stream{family}"), &command)?;
    }
    for family in 0..2 {
        let start = Instant::now();
        while context.guest.counters(&format!("serve{family}"))?[0] < UNREAD
            && start.elapsed() < LIMIT
        {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    context.guest.set_sysctl("net.weft.test.repack", 0)?;
    for family in 0..2 {
        refused_while_unread(context)?;
        let received = context.guest.stop(&format!("serve{family}"))?;
        context.report.equal(
            &received,
            &vec![UNREAD, 0],
            "what lay unread is as it was sent",
        );
        context.guest.finish(&format!("stream{family}"), LIMIT)?;
    }
    Ok(())
}

fn refused_while_unread(context: &mut Context<'_>) -> Result<()> {
    let out = context.guest.number("sysctl get net.weft.packet.out")?;
    context.guest.clear_messages()?;
    let why = context.guest.refused("kld unload weft.ko")?;
    let messages = context.guest.messages()?;
    context.report.check(
        why.starts_with("EBUSY") && out > 0,
        "unload is refused while packets of ours lie in a socket",
        format_args!("{why}; {out} out"),
    );
    context.report.check(
        messages
            .iter()
            .any(|line| line.starts_with("weft: ") && line.contains(&out.to_string())),
        "and the console says how many",
        messages.join("\n"),
    );
    Ok(())
}

/// No packet of ours is anywhere, at the latest after a moment.
fn no_packets_out(context: &mut Context<'_>, what: &str) -> Result<()> {
    let start = Instant::now();
    let mut out = context.guest.number("sysctl get net.weft.packet.out")?;
    while out != 0 && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(100));
        out = context.guest.number("sysctl get net.weft.packet.out")?;
    }
    context
        .report
        .equal(&out, &0, &format!("no packet of ours is out {what}"));
    Ok(())
}

fn unload(context: &mut Context<'_>) -> Result<()> {
    no_packets_out(context, "once all is read")?;
    context.unload_weft()
}

/// Everything that this scenario has made goes: the ends of interfaces in the host take
/// those in the jails along.
fn take_down(context: &mut Context<'_>, interfaces: &[String]) -> Result<()> {
    let limit = Duration::from_secs(30);
    for interface in interfaces {
        context
            .guest
            .call_within(&format!("if destroy {interface}"), limit)?;
    }
    for jail in ["left", "right"] {
        context
            .guest
            .call_within(&format!("jail remove {jail}"), limit)?;
    }
    context.guest.each(&[
        "sysctl set net.inet.ip.forwarding 0".into(),
        "sysctl set net.inet6.ip6.forwarding 0".into(),
    ])
}
