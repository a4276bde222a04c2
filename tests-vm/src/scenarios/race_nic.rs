// SPDX-License-Identifier: BSD-2-Clause
//! The module's drivers beside FreeBSD's: two cards of a kind in one guest with one CPU whose
//! clock counts instructions, of which one keeps FreeBSD's driver, measured in turn.
//!
//! What a measurement takes is all that a loop of idle priority does not get: system calls, the
//! stack, the driver, interrupts and the kernel's threads, the same for both sides but for the
//! driver. What one packet takes by itself, and what the guest takes that has nothing to do, are
//! measured as well and left out. Packets of UDP go to the host, and come from it in bursts, and
//! streams of TCP by a connection each, in segments that the card cuts where it can, and single
//! ones on the way in. To see drivers with as little as possible around them, frames that nobody
//! takes come in, and packets to a group go out, less what their way to edsc(4) takes, which drops
//! them.

use std::net::IpAddr;
use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::nic::Wire;
use super::pair::reached;
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::stream::{SEGMENT, SINK};
use crate::lan::{FIRST_SLOT, Nic, card_mac};
use crate::record::{At, median};

const ORDINARY: Scenario = Scenario {
    about: "instructions a packet sent and a packet received by a driver of the module's, beside \
            FreeBSD's of the same card",
    klds: &["if_edsc"],
    limit: Duration::from_secs(1_200),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    ..Scenario::ORDINARY
};

const fn two(device: &'static str) -> [Nic; 2] {
    [Nic { device }; 2]
}

pub(super) const VMX: Scenario = Scenario {
    name: "race-nic-vmx",
    group: "race-nic-vmx",
    nics: &two("vmxnet3"),
    run: |context| run(context, "wvmx", "vmx"),
    ..ORDINARY
};

pub(super) const EM: Scenario = Scenario {
    name: "race-nic-em",
    group: "race-nic-em",
    nics: &two("e1000"),
    run: |context| run(context, "wem", "em"),
    ..ORDINARY
};

pub(super) const VTNET: Scenario = Scenario {
    name: "race-nic-vtnet",
    group: "race-nic-vtnet",
    nics: &two("virtio-net-pci"),
    run: |context| run(context, "wvtnet", "vtnet"),
    ..ORDINARY
};

/// A kernel that checks itself is none to measure on: there it is shown that all runs.
const ROUNDS: usize = 7;
const ROUNDS_CHECKED: usize = 1;
/// Packets of a measurement, and of a burst of the host's.
const PACKETS: u64 = 640;
const BURST: u64 = 64;
/// Bytes of a datagram.
const SIZES: [usize; 2] = [64, 1_400];
/// Bytes of a frame that nobody takes.
const UNKNOWN: usize = 60;
/// Milliseconds without a packet that end a measurement.
const IDLE_MS: u64 = 20;
/// How often a measurement is tried of which no packet arrived.
const TRIES: usize = 5;
const DISCARD: u16 = 9;
const PORT: u16 = 5_009;
const LIMIT: Duration = Duration::from_secs(120);
/// A group that nobody is in, and the interface that drops all.
const GROUP: &str = "224.1.2.3";
const EDSC: &str = "edsc(4)";

/// What is set of a card of ours to see what it does, as far as the card has it.
const TUNED: [(&str, &[(&str, u64)]); 7] = [
    ("interrupts not kept apart", &[("interrupt_gap_max_us", 0)]),
    (
        "interrupts 1 ms apart",
        &[
            ("interrupt_gap_max_us", 1_000),
            ("interrupt_gap_min_us", 1_000),
        ],
    ),
    ("interrupt_moderation 0", &[("interrupt_moderation", 0)]),
    ("tx_descriptors 128", &[("tx_descriptors", 128)]),
    ("rx_descriptors 128", &[("rx_descriptors", 128)]),
    ("completion_every 0", &[("completion_every", 0)]),
    ("completion_every 1", &[("completion_every", 1)]),
];
/// What is measured of them.
const TUNED_WORK: [Work; 2] = [
    Work::Sent {
        size: SIZES[0],
        is_ipv6: false,
    },
    Work::Received {
        size: SIZES[0],
        is_ipv6: false,
    },
];

/// A card with a driver.
struct Side {
    driver: &'static str,
    name: String,
    number: usize,
}

impl Side {
    fn new(driver: &'static str, number: usize) -> Self {
        Self {
            driver,
            name: format!("{driver}0"),
            number,
        }
    }

    fn wire(&self) -> Wire {
        Wire::new(self.number)
    }

    fn host(&self, is_ipv6: bool) -> IpAddr {
        match is_ipv6 {
            true => self.wire().host6().into(),
            false => self.wire().host().into(),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Work {
    Sent {
        size: usize,
        is_ipv6: bool,
    },
    Received {
        size: usize,
        is_ipv6: bool,
    },
    /// A stream of TCP, of which so many bytes count as a packet.
    Poured,
    /// The same to the guest.
    Drawn,
    /// To a group.
    Grouped,
    /// That nobody takes.
    Dropped,
}

impl Work {
    fn name(self) -> String {
        let ip = |is_ipv6| if is_ipv6 { "IPv6" } else { "IPv4" };
        match self {
            Self::Sent { size, is_ipv6 } => format!("UDP over {} sent, {size} bytes", ip(is_ipv6)),
            Self::Received { size, is_ipv6 } => {
                format!("UDP over {} received, {size} bytes", ip(is_ipv6))
            }
            Self::Poured => format!("TCP over IPv4 sent, {SEGMENT} bytes of a stream"),
            Self::Drawn => format!("TCP over IPv4 received, {SEGMENT} bytes of a stream"),
            Self::Grouped => format!("UDP to a group, beyond what {EDSC} takes"),
            Self::Dropped => "frames received that nobody takes".into(),
        }
    }

    fn at(self) -> At {
        let (experiment, bytes, is_ipv6) = match self {
            Self::Sent { size, is_ipv6 } => ("udp sent", Some(size), is_ipv6),
            Self::Received { size, is_ipv6 } => ("udp received", Some(size), is_ipv6),
            Self::Poured => ("tcp sent", Some(SEGMENT), false),
            Self::Drawn => ("tcp received", Some(SEGMENT), false),
            Self::Grouped => ("sent", Some(SIZES[0]), false),
            Self::Dropped => ("received", Some(UNKNOWN), false),
        };
        At {
            experiment,
            bytes,
            family: if is_ipv6 { "ipv6" } else { "ipv4" },
            queues: Some(1),
            cpus: Some(1),
            ..At::default()
        }
    }
}

fn run(context: &mut Context<'_>, ours: &'static str, theirs: &'static str) -> Result<()> {
    for kld in ORDINARY.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    let is_checked = context.is_checked()?;
    let rounds = if is_checked { ROUNDS_CHECKED } else { ROUNDS };
    let sides = [Side::new(ours, 1), Side::new(theirs, 0)];
    let set = format!("devctl set {} {ours}", place(1));
    context.guest.call_within(&set, LIMIT)?;
    let mut race = Race {
        contest: Contest::new(context)?,
        rate: context.guest.number("sysctl get machdep.tsc_freq")? as f64 / 1e9,
        sides,
        rounds,
        quiet: 0.0,
    };
    race.quiet(context)?;
    race.datagrams(context)?;
    race.tuned(context)?;
    if !is_checked {
        let file = format!("nic-{theirs}-vm.json");
        race.contest.write(context, &file);
    }
    let detach = format!("devctl detach {}", place(1));
    context.guest.call_within(&detach, LIMIT)?;
    context.unload_weft()
}

/// Where a card is.
fn place(card: usize) -> String {
    format!("pci0:0:{}:0", FIRST_SLOT + card)
}

/// What a measurement gave: packets, and instructions without those of an idle guest.
#[derive(Clone, Copy)]
struct Figure {
    count: f64,
    spent: f64,
}

impl Figure {
    /// Of one packet, if both of these were of some.
    fn each_beyond(self, one: Self) -> f64 {
        (self.spent - one.spent) / (self.count - one.count)
    }
}

struct Race {
    contest: Contest,
    /// Ticks of the guest's clock in an instruction.
    rate: f64,
    /// Ours, theirs.
    sides: [Side; 2],
    rounds: usize,
    /// Of 1, what a guest takes that has nothing to do.
    quiet: f64,
}

impl Race {
    fn quiet(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut shares = Vec::new();
        for _ in 0..3 {
            let line = context.guest.call_within("spent sleep 100", LIMIT)?;
            let [.., passed, others] = numbers(&line.join(" "))?[..] else {
                return Err(Error::Unexpected(line.join(" ")));
            };
            shares.push(others / passed);
        }
        self.quiet = median(&shares);
        let percent = self.quiet * 100.0;
        let line = format!("a guest that has nothing to do takes {percent:.2}%");
        context.report.note(&line);
        Ok(())
    }

    fn figure(&self, count: f64, passed: f64, others: f64) -> Figure {
        Figure {
            count,
            spent: (others - self.quiet * passed) / self.rate,
        }
    }

    fn datagrams(&mut self, context: &mut Context<'_>) -> Result<()> {
        for side in &self.sides {
            let wire = side.wire();
            wire.connect(context, &side.name)?;
            wire.echoes(context, &side.name)?;
        }
        let edsc = self.edsc(context)?;
        let mut works = vec![Work::Dropped, Work::Grouped];
        for is_ipv6 in [false, true] {
            for size in SIZES {
                works.push(Work::Sent { size, is_ipv6 });
            }
            for size in SIZES {
                works.push(Work::Received { size, is_ipv6 });
            }
        }
        works.extend([Work::Poured, Work::Drawn]);
        for work in works {
            self.raced(context, work)?;
        }
        context.guest.call(&format!("if destroy {edsc}"))?;
        for side in &self.sides {
            side.wire().disconnect(context, &side.name)?;
        }
        Ok(())
    }

    /// What settings of ours do, beside as it is at first.
    fn tuned(&mut self, context: &mut Context<'_>) -> Result<()> {
        const FIRST: &str = "as at first";
        let side = &self.sides[0];
        let full = |name: &str| format!("dev.{}.0.{name}", side.driver);
        let wire = side.wire();
        wire.connect(context, &side.name)?;
        wire.echoes(context, &side.name)?;
        let mut ways: Vec<(&str, &[(&str, u64)])> = vec![(FIRST, &[])];
        for (name, settings) in TUNED {
            let asked = format!("sysctl get {}", full(settings[0].0));
            // Not each card has each setting.
            if context.guest.call(&asked).is_ok() {
                ways.push((name, settings));
            }
        }
        for work in TUNED_WORK {
            let mut values = Values::default();
            for _ in 0..self.rounds {
                for (name, settings) in &ways {
                    let mut before = Vec::new();
                    for (name, value) in *settings {
                        let full = full(name);
                        let was = context.guest.number(&format!("sysctl get {full}"))?;
                        before.push(format!("sysctl set {full} {was}"));
                        let command = format!("sysctl set {full} {value}");
                        context.guest.call_within(&command, LIMIT)?;
                    }
                    // Some settings stop and start the card.
                    let what = format!("{}, {name}", side.name);
                    let host = wire.host().to_string();
                    reached(context, "", &host, 64, &what)?;
                    let one = self.measured(context, side, work, false)?;
                    let many = self.measured(context, side, work, true)?;
                    values.add(name, many.each_beyond(one));
                    for command in before.iter().rev() {
                        context.guest.call_within(command, LIMIT)?;
                    }
                }
            }
            for (name, _) in &ways[1..] {
                let what = What {
                    target: "tuning",
                    work: format!("{}: {}, {name}", side.driver, work.name()),
                    metric: "a packet",
                    unit: INSTRUCTIONS,
                    at: work.at(),
                };
                self.contest.note(context, name, &[FIRST], &what, &values);
            }
        }
        wire.disconnect(context, &side.name)
    }

    /// An interface that drops all.
    fn edsc(&self, context: &mut Context<'_>) -> Result<String> {
        let edsc = context.guest.line("if create edsc")?;
        let commands = [
            format!("if addr {edsc} 10.21.0.1/24"),
            format!("if up {edsc}"),
        ];
        context.guest.each(&commands)?;
        Ok(edsc)
    }

    fn raced(&mut self, context: &mut Context<'_>, work: Work) -> Result<()> {
        let mut values = Values::default();
        for _ in 0..self.rounds {
            let dropped = match work {
                Work::Grouped => self.grouped(context, "10.21.0.9")?,
                _ => 0.0,
            };
            for side in &self.sides {
                let one = self.measured(context, side, work, false)?;
                let many = self.measured(context, side, work, true)?;
                values.add(side.driver, many.each_beyond(one) - dropped);
            }
        }
        let what = What {
            target: "P11",
            work: work.name(),
            metric: "a packet",
            unit: INSTRUCTIONS,
            at: work.at(),
        };
        let [ours, theirs] = &self.sides;
        self.contest
            .note(context, ours.driver, &[theirs.driver], &what, &values);
        Ok(())
    }

    /// A measurement of many packets, or of one.
    fn measured(
        &self,
        context: &mut Context<'_>,
        side: &Side,
        work: Work,
        is_many: bool,
    ) -> Result<Figure> {
        for _ in 0..TRIES {
            let figure = self.measured_once(context, side, work, is_many)?;
            // Of a packet alone nothing is known if it was lost.
            if figure.count >= 1.0 {
                return Ok(figure);
            }
        }
        let what = format!("{}: {}: no packet arrives", side.driver, work.name());
        Err(Error::Unexpected(what))
    }

    fn measured_once(
        &self,
        context: &mut Context<'_>,
        side: &Side,
        work: Work,
        is_many: bool,
    ) -> Result<Figure> {
        let count = if is_many { PACKETS } else { 1 };
        match work {
            Work::Sent { size, is_ipv6 } => {
                let to = side.host(is_ipv6).to_string();
                self.sent(context, &to, size, count)
            }
            Work::Grouped => self.to_group(context, &side.wire().host().to_string(), count),
            Work::Received { size, is_ipv6 } => {
                self.received(context, side, is_ipv6, count, Some(size))
            }
            Work::Poured => self.poured(context, &side.host(false).to_string(), count),
            Work::Drawn => self.drawn(context, side, count),
            Work::Dropped => self.received(context, side, false, count, None),
        }
    }

    fn sent(&self, context: &mut Context<'_>, to: &str, size: usize, count: u64) -> Result<Figure> {
        let command = format!("spent flood {to} {DISCARD} {size} 1 {count} 0");
        let line = context.guest.call_within(&command, LIMIT)?.join(" ");
        let [taken, full, failed, _, _, passed, others] = numbers(&line)?[..] else {
            return Err(Error::Unexpected(line));
        };
        let is_whole = full + failed == 0.0;
        if !is_whole {
            context.report.check(false, "each packet is taken", &line);
        }
        Ok(self.figure(taken, passed, others))
    }

    /// So many segments' bytes by a connection to the host.
    fn poured(&self, context: &mut Context<'_>, to: &str, count: u64) -> Result<Figure> {
        let bytes = count * SEGMENT as u64;
        let command = format!("spent pour {to} {SINK} 1 {bytes}");
        let line = context.guest.call_within(&command, LIMIT)?.join(" ");
        let [1.0, _, _, passed, others] = numbers(&line)?[..] else {
            return Err(Error::Unexpected(line));
        };
        Ok(self.figure(count as f64, passed, others))
    }

    /// The same by a connection from the host.
    fn drawn(&self, context: &mut Context<'_>, side: &Side, count: u64) -> Result<Figure> {
        let (wire, card) = (side.wire(), side.number);
        let port = wire.port(context)?;
        let sink = format!("spent sink {PORT} 1");
        context.guest.start("sink", &sink)?;
        // Asking takes instructions, so it is asked once, as a rule.
        loop {
            std::thread::sleep(Duration::from_millis(200));
            if context.guest.counters("sink")?.last() == Some(&1) {
                break;
            }
        }
        let bytes = count as usize * SEGMENT;
        let poured = port.pour(
            &wire.station(),
            card_mac(card),
            wire.guest().into(),
            PORT,
            bytes,
        );
        poured.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        let got = context.guest.finish("sink", LIMIT)?;
        let [1, passed, others] = got[..] else {
            return Err(Error::Unexpected(format!("{sink}: {got:?}")));
        };
        Ok(self.figure(count as f64, passed as f64, others as f64))
    }

    /// To the group by a gateway, behind a card or edsc(4).
    fn to_group(&self, context: &mut Context<'_>, gateway: &str, count: u64) -> Result<Figure> {
        let route = format!("route add 224.0.0.0/4 {gateway}");
        context.guest.call(&route)?;
        let figure = self.sent(context, GROUP, SIZES[0], count)?;
        let route = format!("route del 224.0.0.0/4 {gateway}");
        context.guest.call(&route)?;
        Ok(figure)
    }

    fn grouped(&self, context: &mut Context<'_>, gateway: &str) -> Result<f64> {
        let one = self.to_group(context, gateway, 1)?;
        let many = self.to_group(context, gateway, PACKETS)?;
        Ok(many.each_beyond(one))
    }

    /// Datagrams of that size, or frames that nobody takes and then a datagram.
    fn received(
        &self,
        context: &mut Context<'_>,
        side: &Side,
        is_ipv6: bool,
        count: u64,
        size: Option<usize>,
    ) -> Result<Figure> {
        let (wire, card) = (side.wire(), side.number);
        let port = wire.port(context)?;
        let station = wire.station();
        let to = match is_ipv6 {
            true => IpAddr::from(wire.guest6()),
            false => wire.guest().into(),
        };
        let host = side.host(is_ipv6);
        let before = received(context, &side.name)?;
        port.clear();
        let drain = format!("spent drain {PORT} {IDLE_MS} {host} {DISCARD}");
        context.guest.start("drain", &drain)?;
        if !port.wait(LIMIT, |seen| seen.udp > 0) {
            return Err(Error::Unexpected(format!("{drain}: it does not begin")));
        }
        let datagram = |number| {
            let size = size.unwrap_or(SIZES[0]);
            station.numbered(card_mac(card), to, PORT, number, size)
        };
        for number in 0..count {
            let is_last = number + 1 == count;
            let frame = match size {
                None if !is_last => station.unknown(card_mac(card), UNKNOWN),
                _ => datagram(number),
            };
            let sent = port.send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
            // A card has room for some hundreds.
            if number % BURST == BURST - 1 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let got = context.guest.finish("drain", LIMIT)?;
        let [arrived, .., passed, others] = got[..] else {
            return Err(Error::Unexpected(format!("{drain}: {got:?}")));
        };
        let after = received(context, &side.name)?;
        let arrived = match size {
            Some(_) => arrived,
            None => after.saturating_sub(before),
        };
        let is_lossy = arrived < count;
        if is_lossy {
            let line = format!("{}: {arrived} of {count} arrived", side.driver);
            context.report.note(&line);
        }
        Ok(self.figure(arrived as f64, passed as f64, others as f64))
    }
}

/// Frames that an interface has received.
fn received(context: &mut Context<'_>, name: &str) -> Result<u64> {
    let line = context.guest.line(&format!("if stat {name}"))?;
    let first = line.split(' ').find_map(|word| word.parse().ok());
    first.ok_or(Error::Unexpected(line))
}

fn numbers(line: &str) -> Result<Vec<f64>> {
    let words = line.split(' ').map(str::parse);
    words
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Unexpected(line.into()))
}
