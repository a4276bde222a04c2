// SPDX-License-Identifier: BSD-2-Clause
//! A driver in C that is a module of its own: `examples/memnic`, two cards of memory that are
//! joined by a cable, each in a jail.

use std::time::{Duration, Instant};

use super::nic_card::stat;
use super::pair::{create_jail, listen, remove_jail, undisturbed};
use super::{Context, SETTLE_LIMIT, Scenario};
use crate::guest::{Error, Result};
use crate::image::MODULES;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-example",
    group: "modules",
    about: "a driver in C, of cards made of memory: traffic between two jails, each frame \
            accounted for, detached under load, order of unloading, another version refused",
    klds: &["if_vlan"],
    limit: Duration::from_secs(180),
    run,
    ..Scenario::ORDINARY
};

/// The cards' interfaces, their jails, and addresses.
const CARDS: [&str; 2] = ["memnic0", "memnic1"];
const JAILS: [&str; 2] = ["near", "far"];
const ADDRESSES: [[&str; 2]; 2] = [
    ["10.6.0.1/24", "fd00:6::1/64"],
    ["10.6.0.2/24", "fd00:6::2/64"],
];
const FAR: [&str; 2] = ["10.6.0.2", "fd00:6::2"];
const NEAR: [&str; 2] = ["10.6.0.1", "fd00:6::1"];

const ECHOES: u32 = 20;
/// Datagrams of a flood.
const FLOOD: u64 = 4000;
/// Bytes of a stream, everyday and with `--full`.
const STREAM: [u64; 2] = [500_000, 100_000_000];
/// Times that a card is detached and attached under load.
const TURNS: [u32; 2] = [20, 200];
/// Frames that a card has received before it is detached.
const LOAD: u64 = 200;
const LIMIT: Duration = Duration::from_secs(60);

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_kld("if_vlan")?;
    needs_weft(context)?;
    context.load_weft()?;
    other_version(context)?;
    load(context, "memnic.ko")?;
    for jail in JAILS {
        create_jail(context, jail)?;
    }
    for end in 0..2 {
        connect(context, end)?;
    }
    echoes(context)?;
    floods(context)?;
    streams(context)?;
    accounted(context)?;
    busy(context)?;
    under_load(context)?;
    unload(context)
}

fn load(context: &mut Context<'_>, file: &str) -> Result<()> {
    let command = format!("kld load {MODULES}/{file}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Alone it is refused by the kernel, for want of the library.
fn needs_weft(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    let load = format!("kld load {MODULES}/memnic.ko");
    let refused = context.guest.refused(&load)?;
    let said = "depends on weft - not available or version mismatch";
    said_once(
        context,
        said,
        &format!("without weft.ko: refused ({refused})"),
    )
}

/// The kernel's messages have one line with that.
fn said_once(context: &mut Context<'_>, text: &str, what: &str) -> Result<()> {
    let messages = context.guest.messages()?;
    let found = messages.iter().filter(|line| line.contains(text)).count();
    let shown = format!("wanted one with '{text}' in:\n{}", messages.join("\n"));
    context.report.check(found == 1, what, shown);
    Ok(())
}

/// One that was compiled with another header gets no device, and one line for each says why.
fn other_version(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    load(context, "other-abi/memnic.ko")?;
    for card in CARDS {
        let said = format!("{card}: not attached: its driver has version 99 of weft_nic.h");
        said_once(
            context,
            &said,
            &format!("{card}: another version is refused"),
        )?;
        let refused = context.guest.refused(&format!("if stat {card}"))?;
        let what = format!("{card} has no interface then");
        context
            .report
            .check(refused.starts_with("ENXIO"), &what, refused);
    }
    context.guest.call("kld unload memnic.ko").map(drop)
}

/// Puts a card into its jail, with addresses.
fn connect(context: &mut Context<'_>, end: usize) -> Result<()> {
    let (card, jail, [v4, v6]) = (CARDS[end], JAILS[end], ADDRESSES[end]);
    context.guest.call(&format!("if vnet {card} {jail}"))?;
    let set = format!("in {jail} each if addr {card} {v4} -- if addr {card} {v6}");
    context.guest.call(&set).map(drop)
}

fn echoes(context: &mut Context<'_>) -> Result<()> {
    for to in FAR {
        reached(context, to)?;
        for size in [56, 1400, 8000] {
            let command = format!("in near ping {to} {ECHOES} 1000 {size}");
            let answer = context.guest.call_within(&command, LIMIT)?.join(" ");
            let what = format!("{to} answers echoes of {size} bytes");
            let all = format!("{ECHOES} of {ECHOES}");
            context.report.equal(&answer, &all, &what);
        }
    }
    Ok(())
}

/// Waits until it answers.
fn reached(context: &mut Context<'_>, to: &str) -> Result<()> {
    let start = Instant::now();
    let command = format!("in near ping {to} 5 500");
    while let Err(error) = context.guest.call_within(&command, LIMIT) {
        if error.is_final() || start.elapsed() > SETTLE_LIMIT {
            return Err(error);
        }
    }
    Ok(())
}

/// Datagrams one way, as fast as the stack takes them. What becomes of each is in the figures;
/// some find no room in the socket.
fn floods(context: &mut Context<'_>) -> Result<()> {
    for (number, to) in FAR.into_iter().enumerate() {
        listen(context, "drain", &format!("in far drain 600{number} 1500"))?;
        let before = figure(context, 1, "device.no_buffer")?;
        let command = format!("in near flood {to} 600{number} 1000 4 {FLOOD} 0");
        let line = context.guest.call_within(&command, LIMIT)?.join(" ");
        let taken = line.split(' ').next().and_then(|n| n.parse().ok());
        let taken: u64 = taken.unwrap_or(0);
        let got = context.guest.finish("drain", LIMIT)?;
        let got = got.first().copied().unwrap_or(0);
        let lost = figure(context, 1, "device.no_buffer")? - before;
        let shown = format!("{got} of {taken} arrived, {lost} found no buffer");
        context.report.note(&format!("{to}: {shown}"));
        let what = format!("a flood to {to} arrives");
        context
            .report
            .check(got > 0 && got + lost <= taken, &what, shown);
        accounted(context)?;
    }
    Ok(())
}

fn figure(context: &mut Context<'_>, card: usize, name: &str) -> Result<u64> {
    context
        .guest
        .number(&format!("sysctl get dev.memnic.{card}.{name}"))
}

/// Streams in both families and both ways.
fn streams(context: &mut Context<'_>) -> Result<()> {
    let bytes = STREAM[usize::from(context.full)];
    let limit = LIMIT * if context.full { 10 } else { 1 };
    for (from, at, to) in [
        ("near", "far", FAR[0]),
        ("near", "far", FAR[1]),
        ("far", "near", NEAR[0]),
        ("far", "near", NEAR[1]),
    ] {
        listen(context, "serve", &format!("in {at} tcp serve 5000 7"))?;
        let send = format!("in {from} tcp send {to} 5000 7 {bytes}");
        context.guest.start("stream", &send)?;
        context.guest.finish("stream", limit)?;
        let received = context.guest.finish("serve", limit)?;
        let what = format!("the stream to {to} arrived, byte by byte");
        context.report.equal(&received, &vec![bytes, 0], &what);
    }
    Ok(())
}

/// What one card has sent the other one has received, but for what is counted as lost; and
/// interfaces say the same as queues.
fn accounted(context: &mut Context<'_>) -> Result<()> {
    let mut shown = String::new();
    let are_even = undisturbed(true, || {
        let counts = [counts(context, 0)?, counts(context, 1)?];
        let is_even = |one: usize, other: usize| {
            let (sent, got) = (&counts[one], &counts[other]);
            sent.sent == got.received + got.no_buffer + sent.no_cable
                && sent.interface == [sent.received, sent.sent]
        };
        shown = format!("{counts:?}");
        Ok(is_even(0, 1) && is_even(1, 0))
    })?;
    let what = "each frame that was sent was received, or counted as lost; interfaces agree";
    context.report.check(are_even, what, &shown);
    context.report.note(&shown);
    Ok(())
}

#[derive(Debug)]
struct Counts {
    sent: u64,
    received: u64,
    no_buffer: u64,
    no_cable: u64,
    /// Received and sent, as the interface says.
    interface: [u64; 2],
}

fn counts(context: &mut Context<'_>, card: usize) -> Result<Counts> {
    let (name, jail) = (CARDS[card], JAILS[card]);
    let line = stat(context, &format!("in {jail} "), name)?;
    Ok(Counts {
        sent: figure(context, card, "tx.0.card.frames")?,
        received: figure(context, card, "rx.0.frames")?,
        no_buffer: figure(context, card, "device.no_buffer")?,
        no_cable: figure(context, card, "device.no_cable")?,
        interface: [line[0], line[4]],
    })
}

/// Who is in use stays: the library while there is a driver, a card while there is a VLAN.
fn busy(context: &mut Context<'_>) -> Result<()> {
    refused(context, "kld unload weft.ko")?;
    let vlan = context.guest.line("in near if create vlan")?;
    context
        .guest
        .call(&format!("in near if vlan {vlan} memnic0 7 802.1q"))?;
    refused(context, "devctl detach memnic0")?;
    refused(context, "kld unload memnic.ko")?;
    context.guest.call(&format!("in near if destroy {vlan}"))?;
    // The driver's other card went before the first one refused.
    for (end, card) in CARDS.iter().enumerate() {
        match context.guest.call(&format!("devctl attach {card}")) {
            Ok(_) => connect(context, end)?,
            Err(Error::Failed { why, .. }) if why.starts_with("EBUSY") => {}
            Err(error) => return Err(error),
        }
    }
    reached(context, FAR[0])
}

fn refused(context: &mut Context<'_>, command: &str) -> Result<()> {
    let refused = context.guest.refused(command)?;
    let what = format!("{command} is refused");
    context
        .report
        .check(refused.starts_with("EBUSY"), &what, refused);
    Ok(())
}

/// A card goes and comes back, again and again, while the other one sends to it.
fn under_load(context: &mut Context<'_>) -> Result<()> {
    let turns = TURNS[usize::from(context.full)];
    let flood = format!("in near flood {} 9 1000 4 0 0", FAR[0]);
    context.guest.start("flood", &flood)?;
    for _ in 0..turns {
        let start = Instant::now();
        while figure(context, 1, "rx.0.frames")? < LOAD {
            if start.elapsed() > SETTLE_LIMIT {
                return Err(Error::Unexpected("memnic1 receives nothing".into()));
            }
        }
        context.guest.call_within("devctl detach memnic1", LIMIT)?;
        context.guest.call_within("devctl attach memnic1", LIMIT)?;
        connect(context, 1)?;
    }
    let what = format!("{turns} times detached and attached under load");
    context.report.pass(&what);
    context.guest.stop("flood")?;
    reached(context, FAR[0])
}

/// The driver goes with its cards up, then the library; nothing is left.
fn unload(context: &mut Context<'_>) -> Result<()> {
    let load = format!("in near flood {} 9 1000 4 0 0", FAR[0]);
    context.guest.start("flood", &load)?;
    context.guest.call_within("kld unload memnic.ko", LIMIT)?;
    context.guest.stop("flood")?;
    for jail in JAILS {
        remove_jail(context, jail)?;
    }
    for card in CARDS {
        let refused = context.guest.refused(&format!("if stat {card}"))?;
        let what = format!("{card} went with its driver");
        context
            .report
            .check(refused.starts_with("ENXIO"), &what, refused);
    }
    context.unload_weft()
}
