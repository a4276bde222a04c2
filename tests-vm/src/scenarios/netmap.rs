// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4) on the module's interfaces: what pkt-gen(8) does, by rings in memory shared with
//! the kernel, with every frame looked at. Cables end at the host; the other end of a pair is
//! in a jail.

use std::time::{Duration, Instant};

use super::nic::Wire;
use super::pair::{JAILS, LIMIT, PATIENCE_MS, create_jail, destroy, listen, other, remove_jail};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::{FIRST_SLOT, Nic, card_mac};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "netmap",
    group: "netmap",
    about: "netmap(4) on wvmx, wem, wvtnet and wpair: frames both ways, counted and looked at",
    limit: Duration::from_secs(400),
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run,
    ..Scenario::ORDINARY
};

/// Who drives the cards, in their order.
const DRIVERS: [&str; 3] = ["wvmx", "wem", "wvtnet"];
/// Frames each way, and bytes that each carries.
const FRAMES: u64 = 3000;
const FRAMES_FULL: u64 = 100_000;
const SIZE: usize = 1000;
/// Frames that the host sends before it looks whether they have come: fewer than any card has
/// room for.
const BURST: u64 = 64;
/// Programs that come and go.
const TURNS: u32 = 5;
const TURNS_FULL: u32 = 100;
/// Frames between a pair's end and a stack: as many as the receiver has room for, whenever it
/// comes to look.
const TO_STACK: u64 = 300;
/// The port that frames are sent to, and where they are counted.
const DISCARD: u16 = 9;
const PORT: u16 = 5010;

/// By what an interface is driven (`dev.netmap.admode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// By the module: programs' buffers are the card's.
    Native = 1,
    /// By the kernel, through what the stack sends and receives by.
    Emulated = 2,
}

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    context.guest.each(&[
        // As many buffers as are needed here, for the guest has little memory.
        "sysctl set dev.netmap.buf_num 8192".into(),
        "sysctl set net.inet6.ip6.dad_count 0".into(),
    ])?;
    for number in 0..DRIVERS.len() {
        let (wire, name) = take(context, number)?;
        for mode in [Mode::Emulated, Mode::Native] {
            card(context, &wire, &name, mode)?;
        }
        turns(context, &wire, &name)?;
        moved(context, &wire, &name)?;
        wire.disconnect(context, &name)?;
        detached(context, number, &name)?;
    }
    bridged(context)?;
    for mode in [Mode::Emulated, Mode::Native] {
        pair(context, mode)?;
        outlived(context, mode)?;
    }
    context.unload_weft()
}

fn place(number: usize) -> String {
    format!("pci0:0:{}:0", FIRST_SLOT + number)
}

/// Gives a card the module's driver, and a host at the other end of its cable.
fn take(context: &mut Context<'_>, number: usize) -> Result<(Wire, String)> {
    let (driver, place) = (DRIVERS[number], place(number));
    // A card that had the driver before has it again.
    let attach = format!("devctl attach {place}");
    if context.guest.call(&attach).is_err() {
        let set = format!("devctl set {place} {driver}");
        context.guest.call_within(&set, LIMIT)?;
    }
    let (wire, name) = (Wire::new(number), format!("{driver}0"));
    wire.connect(context, &name)?;
    wire.echoes(context, &name)?;
    Ok((wire, name))
}

fn give_back(context: &mut Context<'_>, number: usize) -> Result<()> {
    let detach = format!("devctl detach {}", place(number));
    context.guest.call_within(&detach, LIMIT).map(drop)
}

/// Programs come and go while frames come and the stack sends; then all is as it was.
fn turns(context: &mut Context<'_>, wire: &Wire, name: &str) -> Result<()> {
    let turns = if context.full { TURNS_FULL } else { TURNS };
    let (station, guest) = (wire.station(), wire.guest());
    let (port, mac) = (wire.port(context)?, card_mac(wire.number()));
    let flood = format!("flood {} {DISCARD} 500 2 0 0", wire.host());
    context.guest.start("flood", &flood)?;
    for _ in 0..turns {
        let command = format!("netmap recv {name} {PORT} {FRAMES} {PATIENCE_MS}");
        listen(context, "recv", &command)?;
        for number in 0..2 * BURST {
            let frame = station.numbered(mac, guest.into(), PORT, number, SIZE);
            let sent = port.send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        }
        has_come(context, 1)?;
        // It goes with frames in its rings and on their way.
        context.guest.stop("recv")?;
    }
    context.guest.stop("flood")?;
    wire.echoes(context, name)?;
    let what = format!("{name}: {turns} programs came and went while frames did");
    context.report.pass(&what);
    Ok(())
}

/// The interface goes to a jail while a program has its rings, and comes back as the jail
/// goes.
fn moved(context: &mut Context<'_>, wire: &Wire, name: &str) -> Result<()> {
    let (jail, count) = (JAILS[0], BURST);
    create_jail(context, jail)?;
    let command = format!("netmap recv {name} {PORT} {count} {PATIENCE_MS}");
    listen(context, "recv", &command)?;
    let move_in = format!("if vnet {name} {jail}");
    context.guest.call_within(&move_in, LIMIT)?;
    context.guest.call(&format!("in {jail} if up {name}"))?;
    let (station, guest) = (wire.station(), wire.guest());
    let (port, mac) = (wire.port(context)?, card_mac(wire.number()));
    // The card may take a moment to go again, and frames before are nobody's.
    let start = Instant::now();
    for number in (0..count).cycle() {
        let frame = station.numbered(mac, guest.into(), PORT, number, SIZE);
        let sent = port.send(&frame);
        sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        let counted = context.guest.counters("recv")?;
        if counted.get(1) >= Some(&count) || start.elapsed() > LIMIT {
            break;
        }
    }
    let counted = context.guest.finish("recv", LIMIT)?;
    context.report.check(
        counted.get(1) == Some(&count) && counted.get(3) == Some(&0),
        &format!("{name}: a program goes on with rings of a card that went to a jail"),
        format!("{counted:?} of {count}"),
    );
    remove_jail(context, jail)?;
    // The jail's network stack goes when its last reference does.
    let start = Instant::now();
    while context.guest.call(&format!("if stat {name}")).is_err() && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(100));
    }
    wire.connect(context, name)?;
    wire.echoes(context, name)
}

/// The card goes while a program has its rings.
fn detached(context: &mut Context<'_>, number: usize, name: &str) -> Result<()> {
    context.guest.call(&format!("if up {name}"))?;
    let command = format!("netmap recv {name} {PORT} {FRAMES} {PATIENCE_MS}");
    listen(context, "recv", &command)?;
    give_back(context, number)?;
    let ended = context.guest.finish("recv", LIMIT);
    context.report.check(
        is_cut_off(&ended),
        &format!("{name}: a program is told that its card has gone"),
        format!("{ended:?}"),
    );
    Ok(())
}

/// What one card receives another one sends, from the same buffer.
fn bridged(context: &mut Context<'_>) -> Result<()> {
    choose(context, Mode::Native)?;
    let (near, one) = take(context, 0)?;
    let (far, other) = take(context, 1)?;
    let count = frames(context);
    let command = format!("netmap bridge {one} {other} {count}");
    listen(context, "bridge", &command)?;
    let (from, to) = (near.port(context)?, far.port(context)?);
    to.clear();
    let station = near.station();
    for number in 0..count {
        // To all, for the second card has another address.
        let frame = station.numbered([0xff; 6], far.host().into(), PORT, number, SIZE);
        let sent = from.send(&frame);
        sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        if number % BURST == BURST - 1 {
            to.wait(LIMIT, |seen| seen.udp > number);
        }
    }
    let passed = context.guest.finish("bridge", 2 * LIMIT)?;
    to.wait(LIMIT, |seen| seen.udp >= count);
    let seen = to.figures();
    context.report.equal(
        &(seen.udp, seen.udp_bytes, seen.wrong),
        &(count, count * SIZE as u64, 0),
        &format!("{one} to {other}: each frame goes through, uncopied; {passed:?}"),
    );
    for (number, wire, name) in [(0, &near, &one), (1, &far, &other)] {
        wire.echoes(context, name)?;
        wire.disconnect(context, name)?;
        give_back(context, number)?;
    }
    Ok(())
}

fn frames(context: &Context<'_>) -> u64 {
    if context.full { FRAMES_FULL } else { FRAMES }
}

fn choose(context: &mut Context<'_>, mode: Mode) -> Result<()> {
    context.guest.set_sysctl("dev.netmap.admode", mode as u32)
}

/// Frames between a card and the host.
fn card(context: &mut Context<'_>, wire: &Wire, name: &str, mode: Mode) -> Result<()> {
    choose(context, mode)?;
    let info = context.guest.line(&format!("netmap info {name}"))?;
    let what = format!("{name}, {mode:?}: slots and rings, to send and to receive: {info}");
    context.report.note(&what);
    sent(context, wire, name, mode)?;
    received(context, wire, name, mode)?;
    // The stack has it again.
    wire.echoes(context, name)
}

/// What a program puts into a card's rings arrives at the host.
fn sent(context: &mut Context<'_>, wire: &Wire, name: &str, mode: Mode) -> Result<()> {
    let (port, count) = (wire.port(context)?, frames(context));
    port.clear();
    let (station, guest) = (wire.station(), wire.guest());
    let mac = hex(&station.mac) + &hex(&card_mac(wire.number()));
    let command = format!(
        "netmap send {name} {mac} {guest} {} {DISCARD} {SIZE} {count}",
        wire.host()
    );
    let sent = context.guest.call_within(&command, 3 * LIMIT)?.join(" ");
    context.report.equal(
        &sent,
        &count.to_string(),
        &format!("{name}, {mode:?}: the card is done with all frames"),
    );
    port.wait(LIMIT, |seen| seen.udp >= count);
    let seen = port.figures();
    context.report.equal(
        &(seen.udp, seen.udp_bytes),
        &(count, count * SIZE as u64),
        &format!("{name}, {mode:?}: they arrive at the host"),
    );
    wire.all_right(context, name, &seen);
    Ok(())
}

/// What the host sends comes out of a card's rings.
fn received(context: &mut Context<'_>, wire: &Wire, name: &str, mode: Mode) -> Result<()> {
    let (port, count) = (wire.port(context)?, frames(context));
    let command = format!("netmap recv {name} {PORT} {count} {PATIENCE_MS}");
    listen(context, "recv", &command)?;
    let (station, guest, mac) = (wire.station(), wire.guest(), card_mac(wire.number()));
    for number in 0..count {
        let frame = station.numbered(mac, guest.into(), PORT, number, SIZE);
        let sent = port.send(&frame);
        sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        if number % BURST == BURST - 1 && !has_come(context, number + 1)? {
            break;
        }
    }
    let counted = context.guest.finish("recv", 2 * LIMIT)?;
    whole(context, &counted, count, &format!("{name}, {mode:?}"));
    Ok(())
}

/// Whether so many frames come out.
fn has_come(context: &mut Context<'_>, count: u64) -> Result<bool> {
    let start = Instant::now();
    while context.guest.counters("recv")?.first() < Some(&count) {
        if start.elapsed() > LIMIT {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

/// A receiver has had each frame once, in order, and as it was sent.
fn whole(context: &mut Context<'_>, counted: &[u64], count: u64, who: &str) {
    context.report.equal(
        &counted,
        &&[count, count, 0, 0][..],
        &format!("{who}: each frame comes once, in order, as it was sent"),
    );
}

/// Frames between a program at one end of a pair and a jail's stack at the other.
fn pair(context: &mut Context<'_>, mode: Mode) -> Result<()> {
    choose(context, mode)?;
    let (near, jail) = (context.guest.line("if create wpair")?, JAILS[0]);
    let far = other(&near);
    create_jail(context, jail)?;
    let mac = ["020000000001", "020000000002"];
    context.guest.each(&[
        format!("ether mac {near} {}", mac[0]),
        format!("ether mac {far} {}", mac[1]),
        format!("if addr {near} 10.7.0.1/24"),
        format!("if vnet {far} {jail}"),
        format!("in {jail} if addr {far} 10.7.0.2/24"),
    ])?;
    // Each side knows where the other one is, for a program answers no ARP.
    let answered = context.guest.line("ping 10.7.0.2 1 15000")?;
    let what = format!("{near}: the pair carries packets");
    context.report.equal(&answered.as_str(), &"1 of 1", &what);
    let who = format!("{near}, {mode:?}");
    let send = format!(
        "netmap send {near} {}{} 10.7.0.1 10.7.0.2 {PORT} {SIZE}",
        mac[1], mac[0]
    );
    let receive = format!("in {jail} udp recv {PORT} {TO_STACK} {PATIENCE_MS}");
    across(
        context,
        &receive,
        &format!("{send} {TO_STACK}"),
        TO_STACK,
        &format!("{who} to a stack"),
    )?;
    let receive = format!("netmap recv {near} {PORT} {TO_STACK} {PATIENCE_MS}");
    across(
        context,
        &receive,
        &format!("in {jail} udp send 10.7.0.1 {PORT} {TO_STACK} 1000"),
        TO_STACK,
        &format!("{who} from a stack"),
    )?;
    if mode == Mode::Native {
        let count = frames(context);
        let receive = format!("in {jail} netmap recv {far} {PORT} {count} {PATIENCE_MS}");
        across(
            context,
            &receive,
            &format!("{send} {count}"),
            count,
            &format!("{who} to {far}"),
        )?;
    }
    let answered = context.guest.call_within("ping 10.7.0.2 5 15000", LIMIT)?;
    let what = format!("{who}: the stacks have it again");
    context
        .report
        .equal(&answered, &vec!["5 of 5".to_owned()], &what);
    dying(context, &near, &far)?;
    remove_jail(context, jail)
}

/// What one command sends, another one receives.
fn across(
    context: &mut Context<'_>,
    receive: &str,
    send: &str,
    count: u64,
    who: &str,
) -> Result<()> {
    listen(context, "recv", receive)?;
    context.guest.call_within(send, 3 * LIMIT)?;
    let mut counted = context.guest.finish("recv", 2 * LIMIT)?;
    // Frames are in several rings, among which there is no order.
    if let Some(late) = counted.get_mut(2) {
        *late = 0;
    }
    context.report.equal(
        &counted,
        &vec![count, count, 0, 0],
        &format!("{who}: each frame comes once, as it was sent"),
    );
    Ok(())
}

/// A pair goes while programs have the rings of both ends.
fn dying(context: &mut Context<'_>, near: &str, far: &str) -> Result<()> {
    let jail = JAILS[0];
    let receive = format!("netmap recv {near} {PORT} {FRAMES} {PATIENCE_MS}");
    listen(context, "near", &receive)?;
    let receive = format!("in {jail} netmap recv {far} {PORT} {FRAMES} {PATIENCE_MS}");
    listen(context, "far", &receive)?;
    destroy(context, near)?;
    let ends = ["near", "far"].map(|job| context.guest.finish(job, LIMIT));
    let are_told = ends.iter().all(is_cut_off);
    let what = format!("{near}: programs are told that it has gone");
    context.report.check(are_told, &what, format!("{ends:?}"));
    Ok(())
}

/// A pair goes, and so does the program that had its rings, as others are made: netmap may
/// touch no interface that is not there any more. The module stays until the program has gone.
fn outlived(context: &mut Context<'_>, mode: Mode) -> Result<()> {
    choose(context, mode)?;
    let turns = if context.full { TURNS_FULL } else { TURNS };
    for _ in 0..turns {
        let near = context.guest.line("if create wpair")?;
        let hold = format!("netmap hold {near}");
        listen(context, "holder", &hold)?;
        destroy(context, &near)?;
        let unloaded = context.guest.call("kld unload weft.ko");
        if !matches!(&unloaded, Err(Error::Failed { why, .. }) if why.contains("EBUSY")) {
            let what = format!("{near}, {mode:?}: unloaded under a program: {unloaded:?}");
            return Err(Error::Unexpected(what));
        }
        context.guest.stop("holder")?;
    }
    let what = format!("{mode:?}: {turns} pairs went before the programs that had their rings");
    context.report.pass(&what);
    Ok(())
}

/// Whether a program was told that its interface has gone.
fn is_cut_off(ended: &Result<Vec<u64>>) -> bool {
    matches!(ended, Err(Error::Failed { why, .. }) if why.contains("EIO"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
