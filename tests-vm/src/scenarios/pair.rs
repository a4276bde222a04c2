// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4): two jails over a pair, by every verb of ifconfig(8) that matters, under
//! load, moved, dying; and nothing is left.

use std::time::{Duration, Instant};

use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair",
    group: "pair",
    about: "two jails over wpair: traffic, MTU, bridge, VLAN, moves and deaths under load; nothing is left",
    klds: &["bridgestp", "if_bridge", "if_vlan"],
    limit: Duration::from_secs(300),
    run,
    ..Scenario::ORDINARY
};

/// Bytes of a TCP stream.
const STREAM: u64 = 300_000;
const STREAM_FULL: u64 = 50_000_000;
/// Datagrams, how many of them in a second, and their bytes.
const DATAGRAMS: u64 = 200;
const DATAGRAM_RATE: u64 = 400;
const DATAGRAM: u64 = 1_200;
/// Datagrams that were sent when a load counts as one.
const LOAD: u64 = 100;
/// How often a pair is destroyed, moved, or loses its jail under load.
const TURNS: u32 = 5;
const TURNS_FULL: u32 = 200;
/// How long one thing may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// How long a receiver waits for the next packet, in milliseconds: longer than any host is
/// busy. What ends it is that it has all, or [`gather`].
pub(super) const PATIENCE_MS: u64 = 60_000;
/// How long an echo request that must be answered may wait for that, in milliseconds.
pub(super) const ECHO_MS: u64 = 15_000;

/// The jails, and their addresses of both families.
pub(super) const JAILS: [&str; 2] = ["left", "right"];
pub(super) const ADDRESSES: [[&str; 2]; 2] = [["10.1.0.1", "fd00:1::1"], ["10.1.0.2", "fd00:1::2"]];

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    names(context)?;
    for jail in JAILS {
        create_jail(context, jail)?;
    }
    let pair = connect(context)?;
    traffic(context, "over the pair")?;
    counted(context)?;
    refused_unload(context)?;
    jumbo(context)?;
    renamed(context)?;
    tagged(context)?;
    let turns = if context.full { TURNS_FULL } else { TURNS };
    moved(context, &pair, turns)?;
    let command = format!("in left if destroy {pair}");
    context.guest.call_within(&command, LIMIT)?;
    destroyed_under_load(context, turns)?;
    jail_dies(context, turns)?;
    bridged(context)?;
    for jail in JAILS {
        remove_jail(context, jail)?;
    }
    let pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    context.report.equal(&pairs, &0, "no pair is left");
    context.unload_weft()
}

/// A jail, in which TCP's connections do not outlive their ends for long: they would keep it
/// from dying; and in which IPv6 asks after a second whether a neighbour is still there.
pub(super) fn create_jail(context: &mut Context<'_>, jail: &str) -> Result<()> {
    let guest = &mut context.guest;
    guest.call_within(&format!("jail create {jail}"), LIMIT)?;
    guest
        .call(&format!(
            "in {jail} each sysctl set net.inet6.ip6.dad_count 0 \
             -- sysctl set net.inet.tcp.msl 500 -- sysctl set net.inet6.icmp6.nd6_delay 1 \
             -- if addr lo0 127.0.0.1/8 -- if up lo0"
        ))
        .map(drop)
}

pub(super) fn remove_jail(context: &mut Context<'_>, jail: &str) -> Result<()> {
    let command = format!("jail remove {jail}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

pub(super) fn destroy(context: &mut Context<'_>, interface: &str) -> Result<()> {
    let command = format!("if destroy {interface}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// The other end's name.
pub(super) fn other(pair: &str) -> String {
    format!("{}b", pair.trim_end_matches('a'))
}

/// Units and names, as ifconfig(8) asks for them.
fn names(context: &mut Context<'_>) -> Result<()> {
    let first = context.guest.line("if create wpair")?;
    context
        .report
        .equal(&first.as_str(), &"wpair0a", "the first unit is 0");
    let asked = context.guest.line("if create wpair7")?;
    context
        .report
        .equal(&asked.as_str(), &"wpair7a", "a unit can be asked for");
    let again = context.guest.refused("if create wpair7")?;
    context.report.check(
        again.starts_with("EEXIST"),
        "a unit that is there is refused",
        &again,
    );
    let ends = context.guest.refused("if create wpair8a")?;
    context.report.check(
        !ends.is_empty(),
        "an end by itself cannot be created",
        &ends,
    );
    let pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    context.report.equal(&pairs, &2, "both pairs are counted");
    // Either end takes the other along.
    destroy(context, "wpair7b")?;
    destroy(context, &first)?;
    let gone = context.guest.refused("if stat wpair0b")?;
    context.report.check(
        gone.starts_with("ENXIO"),
        "destroying one end destroys both",
        &gone,
    );
    Ok(())
}

/// A pair with an end in each jail, with addresses, up; gives the first end's name.
pub(super) fn connect(context: &mut Context<'_>) -> Result<String> {
    let pair = context.guest.line("if create wpair")?;
    let ends = [pair.clone(), other(&pair)];
    for ((end, jail), addresses) in ends.iter().zip(JAILS).zip(ADDRESSES) {
        context.guest.call(&format!("if vnet {end} {jail}"))?;
        let [v4, v6] = addresses;
        context.guest.call(&format!(
            "in {jail} each if addr {end} {v4}/24 -- if addr {end} {v6}/64 -- if up {end}"
        ))?;
    }
    meet(context)?;
    Ok(pair)
}

/// Has the jails learn each other's addresses, and checks that they answer.
pub(super) fn meet(context: &mut Context<'_>) -> Result<()> {
    for address in ADDRESSES[1] {
        reached(
            context,
            "in left ",
            address,
            64,
            &format!("{address} answers"),
        )?;
    }
    Ok(())
}

/// What most scenarios of one pair have: each jail, its end of the pair, and its address.
pub(super) const ENDS: [(&str, &str, &str); 2] = [
    ("left", "wpair0a", "10.1.0.1"),
    ("right", "wpair0b", "10.1.0.2"),
];

/// Makes `wpair0` between two jails that it makes: each jail, its end, and its address.
pub(super) fn between(context: &mut Context<'_>, ends: &[(&str, &str, &str); 2]) -> Result<()> {
    for (jail, ..) in ends {
        create_jail(context, jail)?;
    }
    context.guest.line("if create wpair0")?;
    for (jail, end, address) in ends {
        context.guest.call(&format!("if vnet {end} {jail}"))?;
        context.guest.call(&format!(
            "in {jail} each if addr {end} {address}/24 -- if up {end}"
        ))?;
    }
    Ok(())
}

/// Checks that an address answers an echo request of so many bytes, the first or a later
/// one: who is asked first may not be ready, and who asks may have no way there yet.
pub(super) fn reached(
    context: &mut Context<'_>,
    place: &str,
    address: &str,
    bytes: u64,
    what: &str,
) -> Result<()> {
    let start = Instant::now();
    let mut answered = String::new();
    while answered != "1 of 1" && start.elapsed() < LIMIT {
        let command = format!("{place}ping {address} 1 2000 {bytes}");
        answered = match context.guest.call_within(&command, LIMIT) {
            Err(Error::Failed { why, .. }) => {
                std::thread::sleep(Duration::from_millis(200));
                why
            }
            other => other?.join(" "),
        };
    }
    context.report.equal(&answered.as_str(), &"1 of 1", what);
    Ok(())
}

/// Starts a command in the background that waits for packets, and waits until it will
/// miss none.
pub(super) fn listen(context: &mut Context<'_>, job: &str, command: &str) -> Result<()> {
    context.guest.start(job, command)?;
    let start = Instant::now();
    while context.guest.counters(job)?.last() != Some(&1) && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until what a command in the background counts is so much, for as long as it grows;
/// then ends the command. The numbers of its line.
pub(super) fn gather(
    context: &mut Context<'_>,
    job: &str,
    counter: usize,
    wanted: u64,
) -> Result<Vec<u64>> {
    await_count(context, job, counter, wanted)?;
    context.guest.stop(job)
}

/// Waits until what a command in the background counts is so much, for as long as it grows.
pub(super) fn await_count(
    context: &mut Context<'_>,
    job: &str,
    counter: usize,
    wanted: u64,
) -> Result<u64> {
    let mut count = 0;
    let mut since = Instant::now();
    while since.elapsed() < LIMIT {
        let now = context.guest.counters(job)?.get(counter).copied();
        let now = now.unwrap_or(0);
        if now >= wanted {
            return Ok(now);
        }
        if now > count {
            (count, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(count)
}

/// Datagrams, streams and long echoes of both families from left to right.
fn traffic(context: &mut Context<'_>, what: &str) -> Result<()> {
    let bytes = if context.full { STREAM_FULL } else { STREAM };
    for (family, to) in ADDRESSES[1].into_iter().enumerate() {
        let receive = format!("in right udp recv 400{family} {DATAGRAMS} {PATIENCE_MS}");
        listen(context, "receive", &receive)?;
        let send =
            format!("in left udp send {to} 400{family} {DATAGRAMS} {DATAGRAM_RATE} 1 {DATAGRAM}");
        context.guest.call_within(&send, LIMIT)?;
        let received = context.guest.finish("receive", LIMIT)?;
        context.report.equal(
            &received,
            &vec![DATAGRAMS, DATAGRAMS, 0, 0],
            &format!("{what}: all datagrams to {to} arrived once, in order, whole"),
        );
        let serve = format!("in right tcp serve 500{family} {family}");
        listen(context, "serve", &serve)?;
        let send = format!("in left tcp send {to} 500{family} {family} {bytes}");
        context.guest.start("stream", &send)?;
        let limit = LIMIT * if context.full { 10 } else { 1 };
        let sent = context.guest.finish("stream", limit)?;
        let received = context.guest.finish("serve", limit)?;
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!("{what}: the stream to {to} arrived, byte by byte"),
        );
        context
            .report
            .note(&format!("{what}: bytes, packets sent again, ms: {sent:?}"));
        let command = format!("in left ping {to} 3 {ECHO_MS} 6000");
        let echoed = context.guest.call_within(&command, LIMIT)?;
        context.report.equal(
            &echoed,
            &vec!["3 of 3".to_owned()],
            &format!("{what}: {to} answers long echo requests"),
        );
    }
    Ok(())
}

/// What an interface has counted: packets and bytes in, packets and bytes out.
pub(super) fn counts(context: &mut Context<'_>, place: &str, interface: &str) -> Result<[u64; 4]> {
    let line = context.guest.line(&format!("{place}if stat {interface}"))?;
    let fields: Vec<u64> = line.split(' ').filter_map(|f| f.parse().ok()).collect();
    Ok([fields[0], fields[1], fields[4], fields[5]])
}

/// What both ends have counted, once right has received what left has sent.
pub(super) fn settled(context: &mut Context<'_>) -> Result<[[u64; 4]; 2]> {
    let start = Instant::now();
    loop {
        let left = counts(context, "in left ", "wpair0a")?;
        let right = counts(context, "in right ", "wpair0b")?;
        if right[..2] == left[2..] || start.elapsed() > LIMIT {
            return Ok([left, right]);
        }
    }
}

/// Once nothing is on its way, one end has received what the other one has sent.
fn counted(context: &mut Context<'_>) -> Result<()> {
    let [left, right] = settled(context)?;
    context.report.equal(
        &right[..2],
        &left[2..],
        "right has received the packets and bytes that left has sent",
    );
    context.report.check(
        left[2] > DATAGRAMS,
        "left has counted what it has sent",
        format_args!("{left:?}, {right:?}"),
    );
    Ok(())
}

fn refused_unload(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    let why = context.guest.refused("kld unload weft.ko")?;
    let messages = context.guest.messages()?;
    context.report.check(
        why.starts_with("EBUSY") && messages.iter().any(|line| line.contains("pairs")),
        "unload is refused while there is a pair, and the console says why",
        format_args!("{why}: {}", messages.join("\n")),
    );
    Ok(())
}

/// With a larger MTU a long echo is one packet, and with a small one several.
fn jumbo(context: &mut Context<'_>) -> Result<()> {
    for (mtu, bytes, packets) in [(9_000, 4_400, 3), (16_000, 15_900, 3), (1_500, 4_400, 9)] {
        for (jail, end) in [("left", "wpair0a"), ("right", "wpair0b")] {
            context
                .guest
                .call(&format!("in {jail} if mtu {end} {mtu}"))?;
        }
        let command = format!("in left ping {} 3 {ECHO_MS} {bytes}", ADDRESSES[1][0]);
        let mut echoed = vec![];
        let sent = undisturbed(packets, || {
            let before = counts(context, "in left ", "wpair0a")?;
            echoed = context.guest.call_within(&command, LIMIT)?;
            Ok(counts(context, "in left ", "wpair0a")?[2] - before[2])
        })?;
        context.report.equal(
            &echoed,
            &vec!["3 of 3".to_owned()],
            &format!("mtu {mtu}: echoes of {bytes} bytes are answered"),
        );
        context
            .report
            .equal(&sent, &packets, &format!("mtu {mtu}: in {packets} packets"));
    }
    Ok(())
}

/// How often at least, and how long at least, a count is made again that something of the
/// system's own may have come into, or that something is still on its way to.
const COUNTS: u32 = 20;
const COUNTING: Duration = Duration::from_secs(20);

/// Counts until nothing of the system's own (ARP, neighbour discovery, reports of groups) has
/// come between, or so often that it cannot be that.
pub(super) fn undisturbed<T: PartialEq>(
    wanted: T,
    mut count: impl FnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut counts = 0;
    loop {
        let found = count()?;
        counts += 1;
        if found == wanted || (counts >= COUNTS && start.elapsed() >= COUNTING) {
            return Ok(found);
        }
    }
}

/// An end goes by another name.
fn renamed(context: &mut Context<'_>) -> Result<()> {
    let guest = &mut context.guest;
    guest.call("in left if rename wpair0a uplink0")?;
    guest.call("in left if up uplink0")?;
    traffic(context, "renamed")?;
    context
        .guest
        .call("in left if rename uplink0 wpair0a")
        .map(drop)
}

/// vlan(4) on both ends.
fn tagged(context: &mut Context<'_>) -> Result<()> {
    for (jail, end, last) in [("left", "wpair0a", 1), ("right", "wpair0b", 2)] {
        context.guest.call(&format!(
            "in {jail} each if create {end}.5 -- if addr {end}.5 10.6.0.{last}/24 -- if up {end}.5"
        ))?;
    }
    let command = format!("in left ping 10.6.0.2 3 {ECHO_MS} 4000");
    let echoed = context.guest.call_within(&command, LIMIT)?;
    context.report.equal(
        &echoed,
        &vec!["3 of 3".to_owned()],
        "a VLAN on both ends answers long echo requests",
    );
    for (jail, end) in [("left", "wpair0a"), ("right", "wpair0b")] {
        let command = format!("in {jail} if destroy {end}.5");
        context.guest.call_within(&command, LIMIT)?;
    }
    Ok(())
}

/// Sends from left to right, as fast as can be, until it is stopped.
fn load(context: &mut Context<'_>) -> Result<()> {
    let to = ADDRESSES[1][0];
    let command = format!("in left udp send {to} 4009 10000000 20000 8 1000");
    context.guest.start("load", &command)?;
    await_count(context, "load", 0, LOAD).map(drop)
}

fn stop_load(context: &mut Context<'_>) -> Result<()> {
    // It may have ended by itself: the interface that it sent by is gone.
    let _ = context.guest.stop("load");
    Ok(())
}

/// The receiving end goes from jail to jail while the other one sends.
fn moved(context: &mut Context<'_>, pair: &str, turns: u32) -> Result<()> {
    let end = other(pair);
    create_jail(context, "third")?;
    load(context)?;
    for _ in 0..turns {
        // Out of a jail by its death: the end comes home to the host, where it was made.
        remove_jail(context, "right")?;
        await_home(context, &end)?;
        context
            .guest
            .call_within(&format!("if vnet {end} third"), LIMIT)?;
        context.guest.call(&format!(
            "in third each if addr {end} {}/24 -- if up {end}",
            ADDRESSES[1][0]
        ))?;
        remove_jail(context, "third")?;
        await_home(context, &end)?;
        create_jail(context, "third")?;
        create_jail(context, "right")?;
        context
            .guest
            .call_within(&format!("if vnet {end} right"), LIMIT)?;
        let [v4, v6] = ADDRESSES[1];
        context.guest.call(&format!(
            "in right each if addr {end} {v4}/24 -- if addr {end} {v6}/64 -- if up {end}"
        ))?;
    }
    stop_load(context)?;
    remove_jail(context, "third")?;
    traffic(context, "after moves under load")
}

/// A dead jail's interfaces come home when the last reference to it goes.
pub(super) fn await_home(context: &mut Context<'_>, interface: &str) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if context.guest.call(&format!("if stat {interface}")).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    context
        .report
        .check(false, "an interface comes home", interface);
    Ok(())
}

/// The pair goes while one end sends.
fn destroyed_under_load(context: &mut Context<'_>, turns: u32) -> Result<()> {
    for turn in 0..turns {
        let pair = connect(context)?;
        load(context)?;
        // Either end, from the jail where it is.
        let command = match turn % 2 {
            0 => format!("in left if destroy {pair}"),
            _ => format!("in right if destroy {}", other(&pair)),
        };
        context.guest.call_within(&command, LIMIT)?;
        stop_load(context)?;
    }
    context
        .report
        .pass("pairs were destroyed while packets were on their way");
    Ok(())
}

/// A jail in which a pair was created dies while one end, which is elsewhere, sends.
fn jail_dies(context: &mut Context<'_>, turns: u32) -> Result<()> {
    for _ in 0..turns {
        create_jail(context, "maker")?;
        let pair = context.guest.line("in maker if create wpair")?;
        let end = other(&pair);
        context.guest.call(&format!(
            "in maker each if addr {pair} 10.4.0.1/24 -- if up {pair} -- if addr {end} 10.5.0.1/24 \
             -- if up {end}"
        ))?;
        let command = "in maker udp send 10.4.0.9 4009 100000 20000 8 1000";
        context.guest.start("inner", command)?;
        await_count(context, "inner", 0, LOAD)?;
        let _ = context.guest.stop("inner");
        remove_jail(context, "maker")?;
    }
    let start = Instant::now();
    let mut pairs = 1;
    while pairs > 0 && start.elapsed() < LIMIT {
        pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    }
    context
        .report
        .equal(&pairs, &0, "pairs created in a jail go with it");
    Ok(())
}

/// Two pairs, one to each jail, with a bridge in the host between them.
fn bridged(context: &mut Context<'_>) -> Result<()> {
    let bridge = context.guest.line("if create bridge")?;
    let mut made = vec![bridge.clone()];
    for (jail, [v4, v6]) in JAILS.into_iter().zip(ADDRESSES) {
        let near = context.guest.line("if create wpair")?;
        let far = other(&near);
        context.guest.call(&format!("if vnet {far} {jail}"))?;
        context.guest.each(&[
            format!("if member {bridge} {near}"),
            format!("if up {near}"),
        ])?;
        context.guest.call(&format!(
            "in {jail} each if addr {far} {v4}/24 -- if addr {far} {v6}/64 -- if up {far}"
        ))?;
        made.push(near);
    }
    context.guest.call(&format!("if up {bridge}"))?;
    meet(context)?;
    traffic(context, "over a bridge of two pairs")?;
    for interface in made {
        destroy(context, &interface)?;
    }
    Ok(())
}
