// SPDX-License-Identifier: BSD-2-Clause
//! Settings of the module's drivers: cards that the loader names, what is set of them and what is
//! refused, and that traffic goes on while it changes, with each frame accounted for.

use std::time::{Duration, Instant};

use super::nic::{Card, Wire};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::{FIRST_SLOT, NUMBERED, Nic, card_mac};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-settings",
    group: "nic-settings",
    about: "settings of the module's drivers: cards named for the loader; queues, descriptors, \
            moderation, spreading, MTU and capabilities changed under traffic in which each frame \
            is accounted for; filters; suspend and resume",
    limit: Duration::from_secs(420),
    klds: &["if_vlan"],
    nics: &[
        Nic { device: "e1000e" },
        Nic { device: "vmxnet3" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run,
    ..Scenario::ORDINARY
};

/// A driver's card, and what is particular to it.
struct Tuned {
    number: usize,
    driver: &'static str,
    /// Settings, and values for them that are taken by turns while traffic runs.
    turns: &'static [(&'static str, [&'static str; 2])],
    /// Settings with values that are refused, and what the log says is allowed.
    refused: &'static [(&'static str, &'static str, &'static str)],
    has_lro: bool,
}

const CARDS: [Tuned; 3] = [
    Tuned {
        number: 0,
        driver: "wem",
        has_lro: false,
        turns: &[
            ("rx_queues", ["1", "2"]),
            ("tx_queues", ["1", "2"]),
            ("rx_descriptors", ["64", "512"]),
            ("tx_descriptors", ["128", "1024"]),
            ("interrupt_gap_max_us", ["1000", "125"]),
            ("interrupt_gap_min_us", ["100", "0"]),
            ("rss.table", ["0", "1"]),
        ],
        refused: &[
            ("rx_queues", "0", "allowed are 1 to 2"),
            ("tx_queues", "3", "allowed are 1 to 2"),
            (
                "rx_descriptors",
                "100",
                "allowed are multiples of 8 from 64 to 4096",
            ),
            ("interrupt_gap_min_us", "126", "allowed are 0 to 125"),
            ("interrupt_gap_max_us", "10001", "allowed are 0 to 10000"),
            (
                "rss.table",
                "0 2",
                "allowed are 1 to 128 numbers of queues, 0 to 1",
            ),
            ("rss.key", "6d:5a", "allowed are 40 bytes in hexadecimal"),
        ],
    },
    Tuned {
        number: 1,
        driver: "wvmx",
        has_lro: true,
        turns: &[
            ("rx_queues", ["1", "2"]),
            ("tx_queues", ["1", "2"]),
            ("rx_descriptors", ["64", "512"]),
            ("tx_descriptors", ["128", "512"]),
            ("interrupt_moderation", ["0", "1"]),
            ("rss.table", ["0", "1"]),
        ],
        refused: &[
            ("rx_queues", "3", "allowed are 1 to 2, powers of two"),
            (
                "tx_descriptors",
                "4097",
                "allowed are multiples of 32 from 64 to 4096",
            ),
            ("interrupt_moderation", "2", "allowed are 0 to 1"),
            ("rss.table", "x", "allowed are 1 to 128 numbers of queues"),
        ],
    },
    Tuned {
        number: 2,
        driver: "wvtnet",
        has_lro: false,
        turns: &[
            ("rx_descriptors", ["64", "256"]),
            ("tx_descriptors", ["64", "256"]),
        ],
        refused: &[
            ("rx_queues", "2", "allowed are 1 only"),
            (
                "rx_descriptors",
                "100",
                "allowed are powers of two from 64 to 256",
            ),
        ],
    },
];

/// Changes of each setting under traffic, everyday and with `--full`.
const ROUNDS: [usize; 2] = [1, 20];
/// Bytes of a datagram.
const SIZE: usize = 1000;
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Frames that are sent to a filter at a time.
const PROBES: u64 = 200;

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    claimed(context)?;
    for card in &CARDS[1..] {
        let place = card.place();
        let command = format!("devctl set {place} {}", card.driver);
        context.guest.call_within(&command, LIMIT)?;
    }
    for card in &CARDS {
        card.run(context)?;
    }
    context.unload_weft()
}

/// A card that the loader named, which is left to its driver in a system that is up, and taken
/// when that gives it up; and a setting of the loader's.
fn claimed(context: &mut Context<'_>) -> Result<()> {
    let place = CARDS[0].place();
    context.guest.each(&[
        format!("kenv set hw.weft.devices {place} em0"),
        "kenv set dev.wem.0.rx_queues 1".into(),
        "kenv set dev.wem.0.tx_descriptors 77".into(),
    ])?;
    context.guest.clear_messages()?;
    context.load_weft()?;
    expect_message(
        context,
        "hw.weft.devices: em0: refused, allowed are places such as pci0:0:3:0",
    )?;
    let left = format!("hw.weft.devices: {place} is left to em0, since the system is up");
    expect_message(context, &left)?;
    let refused = context.guest.refused("if stat wem0")?;
    context.report.check(
        refused.starts_with("ENXIO"),
        "a card that is in use is not taken by a name for the loader",
        refused,
    );
    for verb in ["detach", "attach"] {
        let command = format!("devctl {verb} {place}");
        context.guest.call_within(&command, LIMIT)?;
    }
    let there = context.guest.call("if stat wem0");
    context.report.check(
        there.is_ok(),
        "when its driver gives it up, the named card is taken",
        there.err().map_or(String::new(), |error| error.to_string()),
    );
    let devices = context.guest.sysctl("hw.weft.devices")?;
    let wanted = format!("{place} em0");
    let report = &mut context.report;
    report.equal(&devices, &wanted, "hw.weft.devices says what was named");
    let queues = context.guest.number("sysctl get dev.wem.0.rx_queues")?;
    let report = &mut context.report;
    report.equal(&queues, &1, "a card is set as the loader says");
    context.guest.set_sysctl("dev.wem.0.rx_queues", 2)?;
    expect_message(
        context,
        "dev.wem.0.tx_descriptors=77: refused, allowed are multiples of 8 from 64 to 4096",
    )
}

fn expect_message(context: &mut Context<'_>, wanted: &str) -> Result<()> {
    let messages = context.guest.messages()?;
    let is_there = messages.iter().any(|line| line.contains(wanted));
    let report = &mut context.report;
    report.check(
        is_there,
        &format!("the log says: {wanted}"),
        messages.join("; "),
    );
    Ok(())
}

impl Tuned {
    fn place(&self) -> String {
        format!("pci0:0:{}:0", FIRST_SLOT + self.number)
    }

    fn name(&self) -> String {
        format!("{}0", self.driver)
    }

    fn node(&self, setting: &str) -> String {
        format!("dev.{}.0.{setting}", self.driver)
    }

    fn set(&self, context: &mut Context<'_>, setting: &str, value: &str) -> Result<()> {
        let command = format!("sysctl set {} {value}", self.node(setting));
        context.guest.call_within(&command, LIMIT).map(drop)
    }

    fn run(&self, context: &mut Context<'_>) -> Result<()> {
        let wire = Wire::new(self.number, Card::Ours);
        self.refused(context)?;
        wire.connect(context, &self.name())?;
        wire.echoes(context, &self.name())?;
        self.live(context, &wire)?;
        self.spread(context, &wire)?;
        self.promiscuous(context, &wire)?;
        self.vlans(context, &wire)?;
        self.power(context, &wire)?;
        wire.echoes(context, &self.name())?;
        wire.disconnect(context, &self.name())?;
        let detach = format!("devctl detach {}", self.place());
        context.guest.call_within(&detach, LIMIT).map(drop)
    }

    /// What can't be is refused by one line that says what can, and changes nothing.
    fn refused(&self, context: &mut Context<'_>) -> Result<()> {
        for (setting, value, allowed) in self.refused {
            let node = self.node(setting);
            let before = context.guest.sysctl(&node)?;
            context.guest.clear_messages()?;
            let set = format!("sysctl set {node} {value}");
            let why = context.guest.refused(&set)?;
            let messages = context.guest.messages()?.join("; ");
            let said = format!("{node}={value}: refused, {allowed}");
            let after = context.guest.sysctl(&node)?;
            context.report.check(
                why.starts_with("EINVAL") && messages.contains(&said) && before == after,
                &said,
                format!("{why}; {messages}; {before}, then {after}"),
            );
        }
        Ok(())
    }

    /// A sum of figures of all queues: `tx.<n>.card.lost` by `("tx.", ".card.lost")`.
    fn sum(&self, context: &mut Context<'_>, kind: &str, figure: &str) -> Result<u64> {
        let tree = format!("sysctl tree dev.{}.0", self.driver);
        let lines = context.guest.call(&tree)?;
        let of = |line: &String| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let is_it = name.contains(&format!(".{kind}.")) && name.ends_with(figure);
            is_it.then(|| fields.last()?.parse::<u64>().ok())?
        };
        Ok(lines.iter().filter_map(of).sum())
    }

    /// Everything that can be set changes while datagrams go both ways: none is lost but those
    /// that are counted, and none comes before an earlier one of its flow.
    fn live(&self, context: &mut Context<'_>, wire: &Wire) -> Result<()> {
        let port = wire.port(context)?;
        let (name, host) = (self.name(), wire.host());
        port.clear();
        let before = self.counts(context)?;
        for (job, to) in [("flood", NUMBERED), ("echoes", ECHO)] {
            let command = format!("flood {host} {to} {SIZE} 8 0 0");
            context.guest.start(job, &command)?;
        }
        for _ in 0..ROUNDS[usize::from(context.full)] {
            for turn in 0..2 {
                for (setting, values) in self.turns {
                    let (node, value) = (self.node(setting), values[turn]);
                    self.set(context, setting, value)?;
                    let is = context.guest.sysctl(&node)?;
                    if is != value {
                        let report = &mut context.report;
                        report.equal(is.as_str(), value, &node);
                    }
                    self.goes_on(context, wire, setting)?;
                }
                let lro = self.has_lro.then_some(&LRO);
                for [off, on] in CHANGES.iter().chain(lro) {
                    let change = if turn == 0 { *off } else { *on };
                    let change = change.replace("NAME", &name);
                    context.guest.call_within(&format!("if {change}"), LIMIT)?;
                    self.goes_on(context, wire, &change)?;
                }
            }
        }
        let mut sent = Sent::default();
        for job in ["echoes", "flood"] {
            sent.add(&context.guest.stop(job)?)?;
        }
        self.account(context, wire, &before, &sent)
    }

    /// Datagrams come to the host, and its answers to the guest.
    fn goes_on(&self, context: &mut Context<'_>, wire: &Wire, after: &str) -> Result<()> {
        let port = wire.port(context)?;
        let sent = port.figures().udp;
        let received = self.counts(context)?.received;
        let start = Instant::now();
        let mut is_well = port.wait(LIMIT, |seen| seen.udp > sent + 50);
        while is_well && self.counts(context)?.received < received + 20 {
            is_well = start.elapsed() < LIMIT;
        }
        if !is_well {
            let what = format!("{}: traffic goes on after {after}", self.name());
            context.report.fail(&what, "it does not");
        }
        Ok(())
    }

    /// What the guest has counted of the card.
    fn counts(&self, context: &mut Context<'_>) -> Result<Counts> {
        let line = context.guest.line(&format!("if stat {}", self.name()))?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        let &[received, _, _, _, _, _, errors, drops] = &numbers[..] else {
            return Err(Error::Unexpected(line));
        };
        Ok(Counts {
            received,
            errors,
            drops,
            lost: self.sum(context, "tx", ".card.lost")?,
            left: self.sum(context, "rx", ".left")? + self.sum(context, "rx", ".cut_off")?,
        })
    }

    /// Each datagram that was taken is at the host or was counted, each answer of the host's in
    /// the guest or counted.
    fn account(
        &self,
        context: &mut Context<'_>,
        wire: &Wire,
        before: &Counts,
        sent: &Sent,
    ) -> Result<()> {
        let port = wire.port(context)?;
        let start = Instant::now();
        let (mut seen, mut now, mut lost, mut missed);
        loop {
            seen = port.figures();
            now = self.counts(context)?;
            let dropped = now.drops - before.drops + now.errors - before.errors;
            lost = now.lost - before.lost + dropped.saturating_sub(sent.refused);
            missed = now.left - before.left;
            let is_whole = seen.udp + lost >= sent.taken
                && now.received - before.received + missed >= seen.sent;
            if is_whole || start.elapsed() > LIMIT {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let (name, received) = (self.name(), now.received - before.received);
        let report = &mut context.report;
        report.check(
            seen.udp + lost >= sent.taken && seen.udp <= sent.taken,
            &format!("{name}: what was sent while settings changed arrived or was counted"),
            format!("{} and {lost} of {}", seen.udp, sent.taken),
        );
        report.check(
            received + missed >= seen.sent,
            &format!("{name}: what the host sent meanwhile arrived or was counted"),
            format!("{received} and {missed} of {}", seen.sent),
        );
        report.equal(
            &seen.late,
            &0,
            &format!("{name}: no datagram overtook another"),
        );
        report.note(&format!(
            "{name}: of {} datagrams taken {} arrived, {lost} counted as lost; of {} answers \
             {received} arrived, {missed} counted as left",
            sent.taken, seen.udp, seen.sent
        ));
        wire.all_right(context, &name, &seen);
        Ok(())
    }

    /// Frames come to the queue that the table says. QEMU's vmxnet3 has one queue only.
    fn spread(&self, context: &mut Context<'_>, wire: &Wire) -> Result<()> {
        if self.driver != "wem" {
            return Ok(());
        }
        for (queue, other) in [("0", "1"), ("1", "0")] {
            self.set(context, "rss.table", queue)?;
            let nodes = [queue, other].map(|queue| self.node(&format!("rx.{queue}.frames")));
            let mut counts = Vec::new();
            for _ in 0..2 {
                for node in &nodes {
                    let count = context.guest.number(&format!("sysctl get {node}"))?;
                    counts.push(count);
                }
                let command = format!("ping {} 20 1000", wire.host());
                context.guest.call_within(&command, LIMIT)?;
            }
            let (here, there) = (counts[2] - counts[0], counts[3] - counts[1]);
            context.report.check(
                here >= 20 && there < 20,
                &format!("{}: rss.table={queue} has frames come there", self.name()),
                format!("{here}, and elsewhere {there}"),
            );
        }
        self.set(context, "rss.table", "0 1")
    }

    /// Frames that come in when the host sends some to that address, with a tag or none; and
    /// echoes behind them, so that all have come.
    fn let_in(
        &self,
        context: &mut Context<'_>,
        wire: &Wire,
        mac: [u8; 6],
        tag: Option<u16>,
    ) -> Result<bool> {
        let port = wire.port(context)?;
        let before = self.counts(context)?.received;
        let station = wire.station();
        let mut frame = station.numbered(mac, wire.guest(), NUMBERED, 0, 100);
        if let Some(tag) = tag {
            let [high, low] = tag.to_be_bytes();
            frame.splice(12..12, [0x81, 0, high, low]);
        }
        for _ in 0..PROBES {
            let sent = port.send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        }
        let command = format!("ping {} 5 1000", wire.host());
        context.guest.call_within(&command, LIMIT)?;
        Ok(self.counts(context)?.received - before >= PROBES)
    }

    /// The same until it is so, for a while.
    fn expect_in(
        &self,
        context: &mut Context<'_>,
        wire: &Wire,
        (mac, tag): ([u8; 6], Option<u16>),
        is_in: bool,
        what: &str,
    ) -> Result<()> {
        let start = Instant::now();
        let mut is_so = false;
        while !is_so && start.elapsed() < LIMIT {
            is_so = self.let_in(context, wire, mac, tag)? == is_in;
        }
        let what = format!("{}: {what}", self.name());
        context.report.check(is_so, &what, "not so");
        Ok(())
    }

    /// Frames to others come in while the interface is promiscuous.
    fn promiscuous(&self, context: &mut Context<'_>, wire: &Wire) -> Result<()> {
        let to_other = ([2, 0, 0, 9, 9, 9], None);
        let what = "frames to another address stay out";
        self.expect_in(context, wire, to_other, false, what)?;
        let name = self.name();
        context.guest.call(&format!("if promiscuous {name}"))?;
        let what = "a promiscuous interface receives them";
        self.expect_in(context, wire, to_other, true, what)?;
        context.guest.call(&format!("if promiscuous {name} off"))?;
        let what = "and afterwards no more";
        self.expect_in(context, wire, to_other, false, what)
    }

    /// The card's filter of VLANs, where it has one.
    fn vlans(&self, context: &mut Context<'_>, wire: &Wire) -> Result<()> {
        let name = self.name();
        let tagged = (card_mac(self.number), Some(9));
        let what = "without a filter frames of any VLAN come in";
        self.expect_in(context, wire, tagged, true, what)?;
        let on = format!("if capability {name} vlanhwfilter");
        context.guest.call(&on)?;
        let what = "with a filter those of others stay out";
        self.expect_in(context, wire, tagged, false, what)?;
        let vlan = context.guest.line("if create vlan")?;
        context
            .guest
            .call(&format!("if vlan {vlan} {name} 9 802.1q"))?;
        let what = "those of a VLAN on the interface come in";
        self.expect_in(context, wire, tagged, true, what)?;
        self.set(context, "rx_descriptors", "128")?;
        let what = "and so they do when the card was started again";
        self.expect_in(context, wire, tagged, true, what)?;
        context.guest.call(&format!("if destroy {vlan}"))?;
        let what = "when the VLAN is gone they stay out";
        self.expect_in(context, wire, tagged, false, what)?;
        let off = format!("if capability {name} -vlanhwfilter");
        context.guest.call(&off)?;
        let what = "without the filter they come in again";
        self.expect_in(context, wire, tagged, true, what)
    }

    /// A device that is suspended does nothing, and goes on when it is resumed.
    fn power(&self, context: &mut Context<'_>, wire: &Wire) -> Result<()> {
        let (name, host, place) = (self.name(), wire.host(), self.place());
        let port = wire.port(context)?;
        let flood = format!("flood {host} {NUMBERED} {SIZE} 4 0 0");
        context.guest.start("flood", &flood)?;
        for _ in 0..ROUNDS[usize::from(context.full)] {
            let begun = port.figures().udp;
            let goes = port.wait(LIMIT, |seen| seen.udp > begun + 50);
            let suspend = format!("devctl suspend {place}");
            context.guest.call_within(&suspend, LIMIT)?;
            // What the card had sent before is here when QEMU has answered.
            let refused = context.guest.refused(&format!("ping {host} 1 300"))?;
            let resume = format!("devctl resume {place}");
            context.guest.call_within(&resume, LIMIT)?;
            let resumed = port.figures().udp;
            let goes_on = port.wait(LIMIT, |seen| seen.udp > resumed + 50);
            if !goes || !goes_on {
                let what = format!("{name}: traffic goes on after suspend and resume");
                context.report.fail(&what, refused);
            }
        }
        context.guest.stop("flood")?;
        context
            .report
            .pass(&format!("{name}: suspended and resumed under traffic"));
        Ok(())
    }
}

/// Changes of the interface, and their opposites.
const CHANGES: [[&str; 2]; 3] = [
    ["mtu NAME 4000", "mtu NAME 1500"],
    [
        "capability NAME -txcsum -tso4",
        "capability NAME txcsum tso4",
    ],
    ["capability NAME -rxcsum", "capability NAME rxcsum"],
];
/// That of cards that put segments together.
const LRO: [&str; 2] = ["capability NAME lro", "capability NAME -lro"];
/// The port that answers.
const ECHO: u16 = 7;

/// What the guest has counted of a card.
struct Counts {
    /// Frames that came in.
    received: u64,
    /// Frames that could not be sent, and that found no room.
    errors: u64,
    drops: u64,
    /// Frames that were taken from the card.
    lost: u64,
    /// Frames that had come to the card and were not taken.
    left: u64,
}

/// Datagrams that the stack took, and that it refused.
#[derive(Default)]
struct Sent {
    taken: u64,
    refused: u64,
}

impl Sent {
    fn add(&mut self, line: &[u64]) -> Result<()> {
        let &[taken, full, failed, ..] = line else {
            return Err(Error::Unexpected(format!("{line:?}")));
        };
        self.taken += taken;
        self.refused += full + failed;
        Ok(())
    }
}
