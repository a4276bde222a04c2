// SPDX-License-Identifier: BSD-2-Clause
//! wip(4): two jails on the host's end of a pair, whose other end is the outer world in a
//! third jail. They reach it, each other and the host, send nothing in another's name,
//! follow the host's end, move and die; and nothing is left.

use std::time::{Duration, Instant};

use super::pair::{
    ECHO_MS, PATIENCE_MS, await_count, await_home, create_jail, destroy, listen, other, reached,
    remove_jail, undisturbed,
};
use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "l3",
    group: "pair",
    about: "jails on one interface over wip: traffic, neighbours, forged packets, a parent that changes and goes; nothing is left",
    klds: &["if_vlan"],
    limit: Duration::from_secs(400),
    run,
    ..Scenario::ORDINARY
};

/// Bytes of a TCP stream.
const STREAM: u64 = 200_000;
const STREAM_FULL: u64 = 20_000_000;
/// Datagrams, how many of them in a second, and their bytes.
const DATAGRAMS: u64 = 100;
const DATAGRAM_RATE: u64 = 400;
const DATAGRAM: u64 = 1_200;
/// Datagrams that were sent when a load counts as one.
const LOAD: u64 = 100;
/// How often an interface, a jail or the parent goes under load.
const TURNS: u32 = 2;
const TURNS_FULL: u32 = 100;
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A place with a network stack: the words before a command there, and its addresses.
#[derive(Clone, Copy)]
struct Place {
    name: &'static str,
    at: &'static str,
    addresses: [&'static str; 2],
}

const OUTER: Place = Place {
    name: "outer",
    at: "in outer ",
    addresses: ["10.7.0.1", "fd00:7::1"],
};
const HOST: Place = Place {
    name: "host",
    at: "",
    addresses: ["10.7.0.2", "fd00:7::2"],
};
const RED: Place = Place {
    name: "red",
    at: "in red ",
    addresses: ["10.7.0.3", "fd00:7::3"],
};
const BLUE: Place = Place {
    name: "blue",
    at: "in blue ",
    addresses: ["10.7.0.4", "fd00:7::4"],
};

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    for place in [OUTER, RED, BLUE] {
        create_jail(context, place.name)?;
    }
    let pair = context.guest.line("if create wpair")?;
    names(context, &pair)?;
    connect(context, &pair)?;
    link_local(context, &pair)?;
    autoconfigured(context, &pair)?;
    for (from, to) in [(OUTER, RED), (RED, OUTER), (BLUE, OUTER), (OUTER, HOST)] {
        traffic(context, from, to)?;
    }
    for (from, to) in [(RED, BLUE), (HOST, RED), (BLUE, HOST)] {
        traffic(context, from, to)?;
    }
    long_segments(context, &pair)?;
    figures(context)?;
    forged(context)?;
    lost(context, &pair)?;
    figures(context)?;
    addresses(context)?;
    follows(context, &pair)?;
    refused_unload(context)?;
    tagged(context, &pair)?;
    let turns = if context.full { TURNS_FULL } else { TURNS };
    children_go(context, &pair, turns)?;
    maker_dies(context, turns)?;
    parent_goes(context, &pair, turns)?;
    for place in [OUTER, RED, BLUE] {
        remove_jail(context, place.name)?;
    }
    await_none(context)?;
    context.unload_weft()
}

/// Units and names, as ifconfig(8) asks for them.
fn names(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let first = context.guest.line(&format!("if create {pair}.ip"))?;
    context
        .report
        .equal(&first, &format!("{pair}.ip0"), "the first number is 0");
    let asked = context.guest.line(&format!("if create {pair}.ip7"))?;
    context
        .report
        .equal(&asked, &format!("{pair}.ip7"), "a number can be asked for");
    for (name, error) in [
        (format!("{pair}.ip7"), "EEXIST"),
        ("nothing0.ip1".to_owned(), "ENXIO"),
        ("lo0.ip1".to_owned(), "EINVAL"),
        (format!("{pair}.ip0.ip1"), "EINVAL"),
        (format!("{pair}.ip01"), "EINVAL"),
        (format!("{pair}.ipx"), "EINVAL"),
        (format!("{pair}.ip65536"), "EINVAL"),
    ] {
        let why = context.guest.refused(&format!("if create {name}"))?;
        context
            .report
            .check(why.starts_with(error), &format!("{name} is refused"), &why);
    }
    let count = context.guest.number("sysctl get net.weft.l3.interfaces")?;
    context.report.equal(&count, &2, "both are counted");
    destroy(context, &first)?;
    destroy(context, &asked)
}

/// The outer world, the host and an interface in each jail, with addresses, up.
fn connect(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let far = other(pair);
    context.guest.call(&format!("if vnet {far} outer"))?;
    address(context, OUTER, &far)?;
    address(context, HOST, pair)?;
    join(context, pair, "ip0", RED)?;
    join(context, pair, "ip1", BLUE)
}

/// Gives a place an interface on the parent.
fn join(context: &mut Context<'_>, pair: &str, name: &str, place: Place) -> Result<()> {
    let child = context.guest.line(&format!("if create {pair}.{name}"))?;
    let command = format!("if vnet {child} {}", place.name);
    context.guest.call_within(&command, LIMIT)?;
    address(context, place, &child)
}

fn address(context: &mut Context<'_>, place: Place, interface: &str) -> Result<()> {
    let [v4, v6] = place.addresses;
    let at = place.at;
    context
        .guest
        .call(&format!(
            "{at}each if addr {interface} {v4}/24 -- if addr {interface} {v6}/64 -- if up {interface}"
        ))
        .map(drop)
}

/// The IPv6 addresses of an interface that begin so.
fn inet6(context: &mut Context<'_>, at: &str, name: &str, begin: &str) -> Result<Vec<String>> {
    let mut all = context.guest.call(&format!("{at}if inet6 {name}"))?;
    all.retain(|address| address.starts_with(begin));
    Ok(all)
}

/// Each forms an address of its own, though all have one hardware address.
fn link_local(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let mut formed = inet6(context, HOST.at, pair, "fe80:")?;
    for (place, name) in [(RED, "wpair0a.ip0"), (BLUE, "wpair0a.ip1")] {
        formed.extend(inet6(context, place.at, name, "fe80:")?);
    }
    let all = formed.join(", ");
    formed.sort_unstable();
    formed.dedup();
    context
        .report
        .check(formed.len() == 3, "link-local addresses differ", all);
    Ok(())
}

/// A router advertises fd00:9::/64 to all: an Ethernet frame with RFC 4861's message.
fn advertisement() -> String {
    let addresses = "fe800000000000000000000000001111ff020000000000000000000000000001";
    let message = "86000000400000000000000000000000";
    let prefix = "030440c000000e1000000e1000000000fd000009000000000000000000000000";
    let summed = format!("{addresses}000000300000003a{message}{prefix}");
    let words = (0..summed.len()).step_by(4);
    let sum: u32 = words
        .filter_map(|at| u32::from_str_radix(summed.get(at..at + 4)?, 16).ok())
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) & 0xffff;
    let message = message.replacen("86000000", &format!("8600{checksum:04x}"), 1);
    let packet = format!("6000000000303aff{addresses}{message}{prefix}");
    frame("333300000001", "020000001111", "86dd", &packet)
}

/// An interface forms an address of what a router advertises on the wire, not after its
/// hardware address, and is reached by it.
fn autoconfigured(context: &mut Context<'_>, pair: &str) -> Result<()> {
    create_jail(context, "auto")?;
    let guest = &mut context.guest;
    guest.call("in auto sysctl set net.inet6.ip6.accept_rtadv 1")?;
    let child = guest.line(&format!("if create {pair}.ip9"))?;
    guest.call_within(&format!("if vnet {child} auto"), LIMIT)?;
    guest.call(&format!("in auto if up {child}"))?;
    let far = other(pair);
    guest.call(&format!("in outer if addr {far} fd00:9::1/64"))?;
    let start = Instant::now();
    let mut formed = vec![];
    while formed.is_empty() && start.elapsed() < LIMIT {
        let command = format!("in outer ether send {far} {}", advertisement());
        context.guest.call(&command)?;
        formed = inet6(context, "in auto ", &child, "fd00:9:")?;
    }
    let address = formed.first().cloned().unwrap_or_default();
    context.report.check(
        formed.len() == 1 && !address.contains("ff:fe"),
        "an address of the router's prefix is formed, not after the hardware address",
        formed.join(", "),
    );
    meet(context, OUTER, &address, "outer to auto")?;
    let command = format!("in outer if unaddr {far} fd00:9::1");
    context.guest.call(&command)?;
    context
        .guest
        .call_within(&format!("in auto if destroy {child}"), LIMIT)?;
    remove_jail(context, "auto")
}

/// Echoes, datagrams and streams of both families.
fn traffic(context: &mut Context<'_>, from: Place, to: Place) -> Result<()> {
    let bytes = if context.full { STREAM_FULL } else { STREAM };
    let limit = LIMIT * if context.full { 10 } else { 1 };
    let what = format!("{} to {}", from.name, to.name);
    for (family, address) in to.addresses.into_iter().enumerate() {
        meet(context, from, address, &what)?;
        let command = format!("{}ping {address} 3 {ECHO_MS} 6000", from.at);
        let echoed = context.guest.call_within(&command, LIMIT)?;
        context.report.equal(
            &echoed,
            &vec!["3 of 3".to_owned()],
            &format!("{what}: {address} answers long echo requests"),
        );
        let receive = format!("{}udp recv 400{family} {DATAGRAMS} {PATIENCE_MS}", to.at);
        listen(context, "receive", &receive)?;
        let send = format!(
            "{}udp send {address} 400{family} {DATAGRAMS} {DATAGRAM_RATE} 1 {DATAGRAM}",
            from.at
        );
        context.guest.call_within(&send, LIMIT)?;
        let received = context.guest.finish("receive", LIMIT)?;
        context.report.equal(
            &received,
            &vec![DATAGRAMS, DATAGRAMS, 0, 0],
            &format!("{what}: all datagrams to {address} arrived once, in order, whole"),
        );
        let serve = format!("{}tcp serve 500{family} {family}", to.at);
        listen(context, "serve", &serve)?;
        let send = format!("{}tcp send {address} 500{family} {family} {bytes}", from.at);
        context.guest.start("stream", &send)?;
        context.guest.finish("stream", limit)?;
        let received = context.guest.finish("serve", limit)?;
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!("{what}: the stream to {address} arrived, byte by byte"),
        );
    }
    Ok(())
}

/// Bytes of a stream of long segments, and of what a frame has of it at the most.
const LONG_STREAM: u64 = 2_000_000;
const SHORT: u64 = 1_460;

/// TCP leaves segments long: a neighbour on the host gets them whole, the wire in frames; none is
/// long if the administrator has turned that off.
fn long_segments(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let far = other(pair);
    let ways = [
        (BLUE, format!("{pair}.ip1"), OUTER, far.clone(), "", true),
        (
            RED,
            format!("{pair}.ip0"),
            BLUE,
            format!("{pair}.ip1"),
            "",
            false,
        ),
        (BLUE, format!("{pair}.ip1"), OUTER, far, "-", true),
    ];
    for (from, near, to, end, sign, is_cut) in ways {
        let change = format!("{}if capability {near} {sign}tso4 {sign}tso6", from.at);
        context.guest.call(&change)?;
        for address in to.addresses {
            let sent = counts(context, from.at, &near)?[4];
            let got = counts(context, to.at, &end)?[0];
            listen(context, "serve", &format!("{}tcp serve 5002 9", to.at))?;
            let send = format!("{}tcp send {address} 5002 9 {LONG_STREAM}", from.at);
            context.guest.start("stream", &send)?;
            context.guest.finish("stream", LIMIT)?;
            let received = context.guest.finish("serve", LIMIT)?;
            let what = format!("{sign}tso, {} to {address}", from.name);
            context.report.equal(
                &received,
                &vec![LONG_STREAM, 0],
                &format!("{what}: the stream arrived, byte by byte"),
            );
            let sent = counts(context, from.at, &near)?[4] - sent;
            let got = counts(context, to.at, &end)?[0] - got;
            // How long they are is up to TCP: on the average a quarter longer than without.
            let is_long = |frames: u64| frames * 5 / 4 < LONG_STREAM / SHORT;
            let is_right = is_long(sent) == sign.is_empty() && is_long(got) != is_cut;
            let wanted = match (sign, is_cut) {
                ("-", _) => "no frame is long",
                (_, true) => "frames are long, and in parts on the wire",
                (_, false) => "frames are long, and stay so",
            };
            context.report.check(
                is_right,
                &format!("{what}: {wanted}"),
                format_args!("{sent} sent, {got} received"),
            );
        }
        let change = format!("{}if capability {near} tso4 tso6", from.at);
        context.guest.call(&change)?;
    }
    Ok(())
}

/// Has an address answer, which may take it to be asked for first.
fn meet(context: &mut Context<'_>, from: Place, address: &str, what: &str) -> Result<()> {
    let what = format!("{what}: {address} answers");
    reached(context, from.at, address, 64, &what)
}

/// A figure of an interface; the first one made is red's.
fn figure(context: &mut Context<'_>, number: u32, name: &str) -> Result<u64> {
    let command = format!("sysctl get net.weft.l3.{number}.{name}");
    context.guest.number(&command)
}

/// The sum of all reasons below a node of an interface's.
fn reasons(context: &mut Context<'_>, number: u32, node: &str) -> Result<u64> {
    let command = format!("sysctl tree net.weft.l3.{number}.{node}");
    let lines = context.guest.call(&command)?;
    let values = lines.iter().filter_map(|line| line.rsplit('\t').next());
    Ok(values.filter_map(|value| value.parse::<u64>().ok()).sum())
}

/// What an interface has counted: packets and bytes in, errors and drops, likewise out.
fn counts(context: &mut Context<'_>, at: &str, interface: &str) -> Result<Vec<u64>> {
    let line = context.guest.line(&format!("{at}if stat {interface}"))?;
    Ok(line.split(' ').filter_map(|f| f.parse().ok()).collect())
}

/// The sysctls and `if_data` tell the same, once nothing is on its way.
fn figures(context: &mut Context<'_>) -> Result<()> {
    for (number, at, name) in [(1, RED.at, "wpair0a.ip0"), (2, BLUE.at, "wpair0a.ip1")] {
        let (mut through, mut lost, mut unsent, mut counted) = (0, 0, 0, vec![]);
        undisturbed(true, || {
            through = figure(context, number, "steered")? + figure(context, number, "local")?;
            lost = reasons(context, number, "lost")?;
            unsent = reasons(context, number, "unsent")?;
            counted = counts(context, at, name)?;
            Ok((through, lost, unsent) == (counted[0], counted[3], counted[6] + counted[7]))
        })?;
        let wire = figure(context, number, "to_wire")?;
        let siblings = figure(context, number, "to_siblings")?;
        context.report.equal(
            &counted[0],
            &through,
            &format!("{name} received what was steered and sent to it"),
        );
        context.report.equal(
            &lost,
            &counted[3],
            &format!("{name} lost what it counted as dropped"),
        );
        context.report.equal(
            &unsent,
            &(counted[6] + counted[7]),
            &format!("{name}: what it could not send are its output drops and errors"),
        );
        context.report.check(
            counted[4] > wire / 2 && wire > DATAGRAMS && siblings > 0,
            &format!("{name} counted what it sent"),
            format_args!("{counted:?}, {wire} to the wire, {siblings} to siblings"),
        );
    }
    Ok(())
}

/// The hardware address of a place's interface, from what it last sent.
const SHARED: &str = "020000007700";

/// A frame of Ethernet: destination, source, type, payload.
fn frame(to: &str, from: &str, kind: &str, payload: &str) -> String {
    format!("{to}{from}{kind}{payload}")
}

/// Frames in another's name do not leave, and are counted.
fn forged(context: &mut Context<'_>) -> Result<()> {
    const ALL: &str = "ffffffffffff";
    const ELSE: &str = "020000001234";
    // The common address is a known one from here on.
    context.guest.call(&format!("ether mac wpair0a {SHARED}"))?;
    await_mac(context)?;
    // Source 10.7.0.3, and 10.7.0.4 and 10.7.0.99, who are not red; to 10.7.0.1.
    let ipv4 = |source: &str| format!("4500001c0000400040110000{source}0a070001000100020008000000");
    let ipv6 = |source: u8| format!("6000000000003b40fd000007{:024x}fd000007{:024x}", source, 1);
    let arp = |hardware: &str, sender: &str| {
        format!("0001080006040001{hardware}{sender}0000000000000a070001")
    };
    // An advertisement of fd00:7::<target>, from red.
    let neighbor = |target: u8| {
        format!(
            "6000000000203aff{}{}8800000020000000{}0201{SHARED}",
            format_args!("fd000007{:024x}", 3),
            format_args!("ff02{:028x}", 1),
            format_args!("fd000007{target:024x}"),
        )
    };
    let own = [
        frame(ELSE, SHARED, "0800", &ipv4("0a070003")),
        frame(ELSE, SHARED, "86dd", &ipv6(3)),
        frame(ALL, SHARED, "0806", &arp(SHARED, "0a070003")),
        frame("333300000001", SHARED, "86dd", &neighbor(3)),
    ];
    let others = [
        frame(ELSE, SHARED, "0800", &ipv4("0a070004")),
        frame(ELSE, SHARED, "0800", &ipv4("0a070063")),
        frame(ELSE, SHARED, "0800", &ipv4("0a070002")),
        frame(ELSE, SHARED, "0800", &ipv4("00000000")),
        frame(ELSE, SHARED, "86dd", &ipv6(4)),
        frame(ELSE, ELSE, "0800", &ipv4("0a070003")),
        frame(ALL, SHARED, "0806", &arp(SHARED, "0a070004")),
        frame(ALL, SHARED, "0806", &arp(ELSE, "0a070003")),
        frame("333300000001", SHARED, "86dd", &neighbor(1)),
        frame(
            ALL,
            SHARED,
            "8100",
            &format!("00050800{}", ipv4("0a070003")),
        ),
        frame(ALL, SHARED, "8863", "11090000"),
    ];
    let before = figure(context, 1, "unsent.forged")?;
    for frame in own {
        context
            .guest
            .call(&format!("in red ether send wpair0a.ip0 {frame}"))?;
    }
    let passed = figure(context, 1, "unsent.forged")?;
    context
        .report
        .equal(&passed, &before, "frames in one's own name pass");
    let sent = counts(context, OUTER.at, "wpair0b")?[0];
    for frame in &others {
        let why = context
            .guest
            .refused(&format!("in red ether send wpair0a.ip0 {frame}"))?;
        context.report.check(
            why.starts_with("EACCES"),
            "a frame in another's name is refused",
            format_args!("{frame}: {why}"),
        );
    }
    let refused = figure(context, 1, "unsent.forged")?;
    context.report.equal(
        &(refused - passed),
        &(others.len() as u64),
        "frames in another's name are counted",
    );
    let arrived = counts(context, OUTER.at, "wpair0b")?[0];
    context.report.check(
        arrived - sent < others.len() as u64,
        "none of them arrived",
        format_args!("{sent} before, {arrived} now"),
    );
    Ok(())
}

/// Frames are lost for each reason that can be brought about, and counted by it.
fn lost(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let flood = |from: Place, to: Place| {
        let address = to.addresses[0];
        format!("{}flood {address} 4009 200 4 500 0", from.at)
    };
    let queues = context.guest.number("sysctl get net.weft.pair.queues")?;
    let limits = |value: u64| -> Vec<String> {
        let one =
            |queue| format!("sysctl set net.weft.pair.{pair}.queue.{queue}.packets_limit {value}");
        (0..queues).map(one).collect()
    };
    let first = format!("sysctl get net.weft.pair.{pair}.queue.0.packets_limit");
    let room = context.guest.number(&first)?;
    // To an interface of a number that nobody has.
    let nobody: String = weft_engine::l3::alias(4_000)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stray = frame(
        &nobody,
        SHARED,
        "0800",
        "4500001c00004000401100000a0700030a070001000100020008000000",
    );
    let stray = format!("{}ether send {pair}.ip0 {stray}", RED.at);
    let full: Vec<String> = vec![flood(RED, OUTER)];
    let ways = [
        (1, "unsent.parent", limits(1), full.clone(), limits(room)),
        (
            1,
            "unsent.down",
            vec![format!("if down {pair}")],
            full,
            vec![format!("if up {pair}")],
        ),
        (1, "unsent.absent", vec![], vec![stray], vec![]),
        (
            2,
            "lost.down",
            vec![format!("{}if down {pair}.ip1", BLUE.at)],
            vec![flood(RED, BLUE)],
            vec![format!("{}if up {pair}.ip1", BLUE.at)],
        ),
    ];
    for (number, reason, before, during, after) in ways {
        let counted = figure(context, number, reason)?;
        for command in &before {
            context.guest.call(command)?;
        }
        let start = Instant::now();
        let mut more = 0;
        while more == 0 && start.elapsed() < LIMIT {
            for command in &during {
                // Who sends may be told.
                let _ = context.guest.call_within(command, LIMIT);
            }
            more = figure(context, number, reason)? - counted;
        }
        for command in &after {
            context.guest.call(command)?;
        }
        let what = format!("frames are lost for {reason}, and counted");
        context.report.check(more > 0, &what, more);
    }
    for place in [OUTER, BLUE] {
        for address in place.addresses {
            meet(context, RED, address, "after frames were lost")?;
        }
    }
    Ok(())
}

/// Interfaces have the parent's hardware address soon after it got another. IPv4 tells
/// neighbours; those of IPv6 find out for themselves after some seconds.
fn await_mac(context: &mut Context<'_>) -> Result<()> {
    for address in RED.addresses {
        let start = Instant::now();
        let mut reached = false;
        while !reached && start.elapsed() < LIMIT {
            let command = format!("in outer ping {address} 1 1000");
            let answered = context.guest.call_within(&command, LIMIT)?;
            reached = answered.iter().any(|line| line == "1 of 1");
        }
        context.report.check(
            reached,
            &format!("with the parent's new hardware address {address} is reached"),
            start.elapsed().as_millis(),
        );
    }
    Ok(())
}

/// What an interface gets goes with its addresses, and two do not have one at a time.
fn addresses(context: &mut Context<'_>) -> Result<()> {
    // Whether packets to the address are steered to the interface of that number, which is
    // waited for if they should be.
    let steered = |context: &mut Context<'_>, number: u32, should: bool| -> Result<bool> {
        let before = figure(context, number, "steered")?;
        let start = Instant::now();
        loop {
            context
                .guest
                .call_within("in outer ping 10.7.0.30 3 700", LIMIT)?;
            let is_so = figure(context, number, "steered")? >= before + 2;
            if is_so == should || start.elapsed() > LIMIT {
                return Ok(is_so);
            }
        }
    };
    context
        .guest
        .call("in red if addr wpair0a.ip0 10.7.0.30/32")?;
    let red = steered(context, 1, true)?;
    context
        .report
        .check(red, "a further address is steered to its interface", "");
    context
        .guest
        .call("in blue if addr wpair0a.ip1 10.7.0.30/32")?;
    let blue = steered(context, 2, false)?;
    context.report.check(
        !blue,
        "who takes an address that is in use does not get its packets",
        "",
    );
    context
        .guest
        .call("in red if unaddr wpair0a.ip0 10.7.0.30")?;
    let blue = steered(context, 2, true)?;
    context
        .report
        .check(blue, "it gets them when the first one gives it up", "");
    context
        .guest
        .call("in blue if addr wpair0a.ip1 10.7.0.2/32")?;
    let command = "in outer ping 10.7.0.2 3 700";
    let steered = undisturbed(0, || {
        let before = figure(context, 2, "steered")?;
        context.guest.call_within(command, LIMIT)?;
        Ok(figure(context, 2, "steered")? - before)
    })?;
    context
        .report
        .equal(&steered, &0, "the parent's addresses stay its own");
    for address in ["10.7.0.30", "10.7.0.2"] {
        let command = format!("in blue if unaddr wpair0a.ip1 {address}");
        context.guest.call(&command)?;
    }
    Ok(())
}

/// Interfaces follow the parent's MTU, and do not care for its name.
fn follows(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let why = context.guest.refused("in red if mtu wpair0a.ip0 9000")?;
    context.report.check(
        why.starts_with("EINVAL"),
        "an MTU above the parent's is refused",
        &why,
    );
    context.guest.call(&format!("if mtu {pair} 1280"))?;
    // The first packet that is too long says so, and has the interface follow.
    let command = format!("in red ping 10.7.0.1 6 {ECHO_MS} 3000");
    let why = context.guest.refused(&command)?;
    context.report.check(
        why.contains("EMSGSIZE"),
        "a packet above the parent's new MTU is refused",
        &why,
    );
    let start = Instant::now();
    let echoed = loop {
        match context.guest.call_within(&command, LIMIT) {
            Err(Error::Failed { why, .. })
                if why.contains("EMSGSIZE") && start.elapsed() < LIMIT => {}
            other => break other?,
        }
    };
    context.report.equal(
        &echoed,
        &vec!["6 of 6".to_owned()],
        "from then on packets are cut to it",
    );
    context.guest.call(&format!("if mtu {pair} 1500"))?;
    context.guest.call(&format!("if rename {pair} uplink0"))?;
    context.guest.call("if up uplink0")?;
    traffic(context, OUTER, RED)?;
    let more = context.guest.line("if create uplink0.ip")?;
    context.report.equal(
        &more.as_str(),
        &"uplink0.ip0",
        "names go by the parent's name of now",
    );
    destroy(context, &more)?;
    context.guest.call(&format!("if rename uplink0 {pair}"))?;
    context.guest.call(&format!("if up {pair}")).map(drop)
}

fn refused_unload(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    let why = context.guest.refused("kld unload weft.ko")?;
    let messages = context.guest.messages()?;
    context.report.check(
        why.starts_with("EBUSY") && messages.iter().any(|line| line.contains("2 L3 interfaces")),
        "unload is refused while there are interfaces, and the console says how many",
        format_args!("{why}: {}", messages.join("\n")),
    );
    Ok(())
}

/// On a VLAN of the parent, beside those on the parent itself.
fn tagged(context: &mut Context<'_>, pair: &str) -> Result<()> {
    create_jail(context, "green")?;
    let far = other(pair);
    context.guest.call(&format!(
        "in outer each if create {far}.5 -- if addr {far}.5 10.8.0.1/24 -- if up {far}.5"
    ))?;
    context
        .guest
        .each(&[format!("if create {pair}.5"), format!("if up {pair}.5")])?;
    let child = context.guest.line(&format!("if create {pair}.5.ip"))?;
    context.guest.call(&format!("if vnet {child} green"))?;
    context.guest.call(&format!(
        "in green each if addr {child} 10.8.0.2/24 -- if up {child}"
    ))?;
    let what = "an interface on a VLAN of the parent answers long echo requests";
    reached(context, OUTER.at, "10.8.0.2", 4_000, what)?;
    destroy(context, &format!("{pair}.5"))?;
    remove_jail(context, "green")?;
    await_home(context, &child)?;
    destroy(context, &child)?;
    let command = format!("in outer if destroy {far}.5");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Sends from a place, as fast as can be, until it is stopped.
fn load(context: &mut Context<'_>, job: &str, from: Place, to: Place) -> Result<()> {
    let address = to.addresses[0];
    let command = format!("{}udp send {address} 4009 10000000 5000 8 1000", from.at);
    context.guest.start(job, &command)?;
    await_count(context, job, 0, LOAD).map(drop)
}

fn stop(context: &mut Context<'_>, job: &str) {
    // It may have ended by itself: the interface that it sent by is gone.
    let _ = context.guest.stop(job);
}

/// Interfaces are destroyed, and their jails die, while they send and receive.
fn children_go(context: &mut Context<'_>, pair: &str, turns: u32) -> Result<()> {
    for turn in 0..turns {
        load(context, "in", OUTER, RED)?;
        load(context, "out", BLUE, RED)?;
        let child = format!("{pair}.ip0");
        if turn % 2 == 0 {
            context
                .guest
                .call_within(&format!("in red if destroy {child}"), LIMIT)?;
        } else {
            remove_jail(context, RED.name)?;
            await_home(context, &child)?;
            destroy(context, &child)?;
            create_jail(context, RED.name)?;
        }
        stop(context, "in");
        stop(context, "out");
        join(context, pair, "ip0", RED)?;
    }
    for (from, to) in [(OUTER, RED), (RED, BLUE)] {
        traffic(context, from, to)?;
    }
    Ok(())
}

/// A jail dies with a parent and its interface that were created in it.
fn maker_dies(context: &mut Context<'_>, turns: u32) -> Result<()> {
    let before = context.guest.number("sysctl get net.weft.l3.interfaces")?;
    for _ in 0..turns {
        create_jail(context, "maker")?;
        let parent = context.guest.line("in maker if create wpair")?;
        let child = context
            .guest
            .line(&format!("in maker if create {parent}.ip"))?;
        context.guest.call(&format!(
            "in maker each if addr {parent} 10.9.0.1/24 -- if up {parent} -- if addr {child} 10.9.0.2/24 -- if up {child}"
        ))?;
        remove_jail(context, "maker")?;
    }
    let start = Instant::now();
    let mut count = before + 1;
    while count > before && start.elapsed() < LIMIT {
        count = context.guest.number("sysctl get net.weft.l3.interfaces")?;
    }
    context
        .report
        .equal(&count, &before, "interfaces created in a jail go with it");
    Ok(())
}

/// The parent goes to another network stack and is destroyed, while packets are on their
/// way. Its interfaces are left, and do nothing.
fn parent_goes(context: &mut Context<'_>, pair: &str, turns: u32) -> Result<()> {
    for turn in 0..turns {
        load(context, "in", OUTER, RED)?;
        load(context, "out", RED, OUTER)?;
        load(context, "between", BLUE, RED)?;
        if turn % 2 == 0 {
            create_jail(context, "away")?;
            context
                .guest
                .call_within(&format!("if vnet {pair} away"), LIMIT)?;
        } else {
            destroy(context, pair)?;
        }
        for job in ["in", "out", "between"] {
            stop(context, job);
        }
        let left = context.guest.line("in red if stat wpair0a.ip0")?;
        context
            .report
            .check(!left.is_empty(), "interfaces outlive their parent", &left);
        if turn % 2 == 0 {
            remove_jail(context, "away")?;
            await_home(context, pair)?;
        } else {
            context
                .guest
                .line(&format!("if create {}", pair.trim_end_matches('a')))?;
            let far = other(pair);
            context.guest.call(&format!("if vnet {far} outer"))?;
            address(context, OUTER, &far)?;
        }
        for (place, child) in [(RED, "wpair0a.ip0"), (BLUE, "wpair0a.ip1")] {
            let command = format!("{}if destroy {child}", place.at);
            context.guest.call_within(&command, LIMIT)?;
        }
        address(context, HOST, pair)?;
        join(context, pair, "ip0", RED)?;
        join(context, pair, "ip1", BLUE)?;
        meet(context, OUTER, RED.addresses[0], "a new interface on it")?;
    }
    destroy(context, pair)
}

/// Interfaces created in the host are destroyed there.
fn await_none(context: &mut Context<'_>) -> Result<()> {
    for child in ["wpair0a.ip0", "wpair0a.ip1"] {
        await_home(context, child)?;
        destroy(context, child)?;
    }
    let count = context.guest.number("sysctl get net.weft.l3.interfaces")?;
    context.report.equal(&count, &0, "no interface is left");
    Ok(())
}
