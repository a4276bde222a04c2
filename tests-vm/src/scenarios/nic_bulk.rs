// SPDX-License-Identifier: BSD-2-Clause
//! Much between cards and the host, both ways at once: long segments that cards cut, each byte
//! and sum looked at, by the host or the guest. Then cables that are pulled and put in again,
//! and numbers of queues that change, again and again, under traffic.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::nic::Wire;
use super::nic_traffic::{Books, Traffic};
use super::pair::{LIMIT, listen};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::{FIRST_SLOT, Nic, Stream, card_mac};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-bulk",
    group: "nic-bulk",
    about: "much between wvmx, wem, wvtnet and the host, both ways at once, each byte looked at",
    run: |context| {
        each(context, |context, wire, driver, name, _| {
            bulk(context, wire, driver, name)
        })
    },
    ..CARDS_AT_HAND
};

pub(super) const CHANGES: Scenario = Scenario {
    name: "nic-changes",
    group: "nic-changes",
    about: "cables of wvmx, wem, wvtnet that are pulled, and numbers of queues that change, again \
            and again, under traffic both ways",
    run: |context| {
        let turns = if context.full { TURNS_FULL } else { TURNS };
        each(context, |context, wire, driver, name, queues| {
            queues_change(context, wire, driver, name, queues, turns)?;
            cables(context, wire, driver, name, turns)
        })
    },
    ..CARDS_AT_HAND
};

pub(super) const CARDS_AT_HAND: Scenario = Scenario {
    limit: Duration::from_secs(300),
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000" },
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    ..Scenario::ORDINARY
};

/// The cards' drivers and names, and queues each way with two CPUs.
pub(super) const CARDS: [(&str, &str, u16); 4] = [
    ("wvmx", "wvmx0", 2),
    ("wem", "wem0", 1),
    ("wem", "wem1", 2),
    ("wvtnet", "wvtnet0", 1),
];

/// The variable that says how many bytes in all, of all cards and both ways.
const AMOUNT: &str = "WEFT_NIC_BYTES";
const BYTES: u64 = 8_000_000;
const BYTES_FULL: u64 = 10_000_000_000;
/// How often a cable is pulled, and queues change, of each card.
const TURNS: u32 = 2;
const TURNS_FULL: u32 = 100;
/// The ports of the streams, their bytes' seed, and what the guest writes at a time.
const TO_HOST: u16 = 5000;
const TO_GUEST: u16 = 5001;
const SEED: u64 = 11;
const WRITE: u64 = 65_536;
/// How long a stream may stand still.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has each card do something while it has a host: it gets the number of its queues as well.
fn each(
    context: &mut Context<'_>,
    what: impl Fn(&mut Context<'_>, &Wire, &str, &str, u16) -> Result<()>,
) -> Result<()> {
    context.load_weft()?;
    for (number, (driver, name, queues)) in CARDS.into_iter().enumerate() {
        let place = format!("pci0:0:{}:0", FIRST_SLOT + number);
        let set = format!("devctl set {place} {driver}");
        context.guest.call_within(&set, LIMIT)?;
        let wire = Wire::new(number);
        wire.connect(context, name)?;
        // QEMU 7.2 spoils segments of IPv6 that it cuts.
        context.guest.call(&format!("if capability {name} -tso6"))?;
        wire.answers(context, name)?;
        what(context, &wire, driver, name, queues)?;
        wire.disconnect(context, name)?;
        let detach = format!("devctl detach {place}");
        context.guest.call_within(&detach, LIMIT)?;
    }
    context.unload_weft()
}

/// Bytes of each stream.
fn amount(context: &Context<'_>) -> Result<u64> {
    let usual = if context.full { BYTES_FULL } else { BYTES };
    let all = match std::env::var(AMOUNT) {
        Ok(text) => text.parse().map_err(|_| {
            Error::Unexpected(format!("{AMOUNT}={text}: must be a number of bytes"))
        })?,
        Err(_) => usual,
    };
    Ok(all / CARDS.len() as u64 / 2)
}

/// A stream each way, as fast as they go.
fn bulk(context: &mut Context<'_>, wire: &Wire, driver: &str, name: &str) -> Result<()> {
    let bytes = amount(context)?;
    let port = wire.port(context)?;
    port.clear();
    let tcp = port.tcp(&wire.station(), card_mac(wire.number()));
    let books = Books::settled(context, &Books::node(driver, name), &port)?;
    let start = Instant::now();
    let out = tcp.take(TO_HOST, SEED);
    listen(context, "in", &format!("tcp serve {TO_GUEST} {SEED}"))?;
    let guest = SocketAddr::new(wire.guest().into(), TO_GUEST);
    let into = tcp.send(guest, SEED, None, bytes);
    let send = format!("tcp send {} {TO_HOST} {SEED} {bytes} {WRITE}", wire.host());
    context.guest.start("out", &send)?;
    let over = |stream: &Stream| stream.is_over;
    let [out, into] = [out, into].map(|stream| tcp.wait(stream, PATIENCE, over));
    let took = start.elapsed();
    let streamed = context.guest.finish("out", LIMIT)?;
    let received = context.guest.finish("in", LIMIT)?;
    let wanted = Stream {
        bytes,
        is_over: true,
        ..Stream::default()
    };
    let what = format!("{name}: {bytes} bytes to the host, each as it was sent");
    context.report.equal(&out, &wanted, &what);
    let what = format!("{name}: {bytes} bytes from the host, each as it was sent");
    context
        .report
        .equal(&(into, received), &(wanted, vec![bytes, 0]), &what);
    let rate = 2.0 * bytes as f64 / took.as_secs_f64() / 1e6;
    let again = streamed.get(1).copied().unwrap_or(0);
    let line = format!(
        "{name}: {bytes} bytes each way in {took:.1?}, {rate:.1} MB/s; {again} segments again"
    );
    context.report.say(&line);
    context.report.note(&line);
    wire.all_right(context, name, &port.figures());
    books.close(context, name, &port, 0)
}

/// Numbers of queues change under traffic.
fn queues_change(
    context: &mut Context<'_>,
    wire: &Wire,
    driver: &str,
    name: &str,
    queues: u16,
    turns: u32,
) -> Result<()> {
    if queues < 2 {
        return Ok(());
    }
    let mut traffic = Traffic::begin(context, wire, driver, name)?;
    let node = Books::node(driver, name);
    let mut stuck = None;
    for turn in 0..turns {
        let (tx, rx) = (1 + (turn + 1) % 2, 1 + turn.div_ceil(2) % 2);
        let set =
            format!("each sysctl set {node}.tx_queues {tx} -- sysctl set {node}.rx_queues {rx}");
        traffic.within(context, &set)?;
        if let Err(why) = traffic.goes_on() {
            stuck = Some(format!("turn {turn}: {why}"));
            break;
        }
    }
    let what = format!("{name}: {turns} times other numbers of queues, and traffic goes on");
    context
        .report
        .check(stuck.is_none(), &what, format!("{stuck:?}"));
    traffic.end(context)
}

/// The cable is pulled and put in again, under traffic. What a card sends meanwhile is lost, as
/// is what the host does.
fn cables(
    context: &mut Context<'_>,
    wire: &Wire,
    driver: &str,
    name: &str,
    turns: u32,
) -> Result<()> {
    let mut traffic = Traffic::begin(context, wire, driver, name)?;
    let mut wrong = None;
    for turn in 0..turns {
        let pulled = traffic.unplugged(context, |context| pull(context, wire.number(), name))?;
        if let Err(why) = pulled {
            wrong = Some(format!("turn {turn}: {why}"));
        }
        if let Err(why) = traffic.goes_on() {
            wrong = Some(format!("turn {turn}: {why}"));
        }
        if wrong.is_some() {
            break;
        }
    }
    let what = format!("{name}: {turns} times the cable pulled and put in, and traffic goes on");
    context
        .report
        .check(wrong.is_none(), &what, format!("{wrong:?}"));
    traffic.end_unreliable(context)
}

/// Pulls a cable and puts it in again, and waits until the interface says so each time: if not,
/// what it says.
fn pull(
    context: &mut Context<'_>,
    number: usize,
    name: &str,
) -> Result<std::result::Result<(), String>> {
    for (is_up, wanted) in [(false, "down"), (true, "up")] {
        let monitor = &context.guest.lan()?.monitor;
        let set = monitor.set_link(number, is_up);
        set.map_err(|error| Error::Unexpected(error.to_string()))?;
        let start = Instant::now();
        let mut found = String::new();
        while found != wanted {
            if start.elapsed() > LIMIT {
                return Ok(Err(format!("the link is {found}, not {wanted}")));
            }
            found = context.guest.line(&format!("if link {name}"))?;
        }
        let took = start.elapsed();
        context
            .report
            .note(&format!("{name}: the link is {wanted} after {took:.1?}"));
    }
    Ok(Ok(()))
}
