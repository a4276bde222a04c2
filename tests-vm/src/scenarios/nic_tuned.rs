// SPDX-License-Identifier: BSD-2-Clause
//! What is set of a card with traffic on it, and how one sees that it is so.

use std::time::Duration;

use weft_agent::frame::escape_word;

use super::Context;
use super::nic::Wire;
use super::nic_settings::{Card, Joins, Moderation};
use super::nic_traffic::{Traffic, tree};
use super::pair::{ECHO_MS, LIMIT, listen};
use crate::guest::{Error, Result};
use crate::lan::made::{Ip, Left, Made, Part};
use crate::lan::{Station, card_mac};

/// A key of the spreading hash, as Microsoft's vectors have it.
const KEY: &str = "6d:5a:56:da:25:5b:0e:c2:41:67:25:3d:43:a3:8f:b0:d0:ca:2b:cb:\
                   ae:7b:30:b4:77:cb:2d:a3:80:30:f2:0c:6a:42:b7:3b:be:ac:01:fa";
/// The port that single datagrams of the host's are sent to, how many, and their bytes.
const PORT: u16 = 5020;
const COUNT: u64 = 20;
const SIZE: usize = 200;
/// Datagrams of many flows.
const FLOOD: u64 = 160;
/// Long enough that they would have come, in milliseconds, before it is said that they have not.
const QUIET_MS: u64 = 500;
/// Segments in a row, their bytes of payload, and the longest frame of an MTU of 1500.
const SEGMENTS: usize = 8;
const SEGMENT: usize = 1400;
const LONGEST: usize = 1518;
/// VLANs: one on the interface, and one that is not.
const OURS: u16 = 7;
const OTHER: u16 = 9;

/// A card with traffic on it.
pub(super) struct Tuned<'t> {
    pub(super) card: &'t Card,
    pub(super) node: String,
    pub(super) place: &'t str,
    pub(super) wire: &'t Wire,
    pub(super) traffic: Traffic,
}

/// A group of things that are set.
pub(super) type Stage<'t> =
    for<'a, 'b, 'c> fn(&'a mut Tuned<'t>, &'b mut Context<'c>) -> Result<()>;

impl Tuned<'_> {
    /// Sets a number or text: it is so, and traffic goes on.
    pub(super) fn set(&mut self, context: &mut Context<'_>, name: &str, value: &str) -> Result<()> {
        let (node, said) = (&self.node, escape_word(value));
        let command = format!("each sysctl set {node}.{name} {said} -- sysctl get {node}.{name}");
        let lines = self.traffic.within(context, &command)?;
        let is_so = lines.join(" ") == value;
        let goes_on = self.traffic.goes_on();
        let value = &value[..value.len().min(16)];
        context.report.check(
            is_so && goes_on.is_ok(),
            &format!("{node}.{name}={value} while traffic runs"),
            format!("{lines:?}; {goes_on:?}"),
        );
        Ok(())
    }

    /// A value that can't be: one line says which can, and what was is still so.
    fn refuse(
        &self,
        context: &mut Context<'_>,
        name: &str,
        value: &str,
        allowed: &str,
    ) -> Result<()> {
        let (node, said) = (&self.node, escape_word(value));
        context.guest.clear_messages()?;
        let before = context.guest.sysctl(&format!("{node}.{name}"))?;
        let why = context
            .guest
            .refused(&format!("sysctl set {node}.{name} {said}"))?;
        let after = context.guest.sysctl(&format!("{node}.{name}"))?;
        let lines = context.guest.messages()?;
        let begin = format!("weft: {node}.{name}={:.60}: refused, allowed are ", value);
        let is_said =
            matches!(&lines[..], [line] if line.starts_with(&begin) && line.contains(allowed));
        let goes_on = self.traffic.goes_on();
        context.report.check(
            is_said && why.starts_with("EINVAL") && after == before && goes_on.is_ok(),
            &format!("{node}.{name}={value:.16} is refused, with what is allowed"),
            format!("{why}; {before:.20}, then {after:.20}; {lines:?}; {goes_on:?}"),
        );
        Ok(())
    }

    pub(super) fn queues(&mut self, context: &mut Context<'_>) -> Result<()> {
        let ways = ["tx_queues", "rx_queues"];
        for (name, most) in ways.into_iter().zip(self.card.queues) {
            let beyond = (most + 1).to_string();
            let allowed = if most == 1 { "1 only" } else { "1 to 2" };
            let allowed = match (self.card.driver, most) {
                ("wvmx", 2..) => "powers of two",
                _ => allowed,
            };
            self.refuse(context, name, "0", allowed)?;
            self.refuse(context, name, &beyond, allowed)?;
            for number in (1..=most).chain((1..most).rev()).chain([most]) {
                self.set(context, name, &number.to_string())?;
            }
        }
        let [tx, rx] = self.card.queues;
        // QEMU's vmxnet3 receives by its first queue only.
        let rx = if self.card.driver == "wvmx" { 1 } else { rx };
        let used = self.used(context)?;
        let wanted = [tx, rx].map(usize::from);
        context.report.equal(
            &used
                .each_ref()
                .map(|grown| grown.iter().filter(|grown| **grown > 0).count()),
            &wanted,
            &format!(
                "{}: flows are spread over so many queues each way; {used:?}",
                self.card.name
            ),
        );
        Ok(())
    }

    /// How many frames each queue has sent and received while flows went there and back.
    pub(super) fn used(&mut self, context: &mut Context<'_>) -> Result<[Vec<u64>; 2]> {
        let before = self.by_queue(context)?;
        let flood = format!("flood {} 7 100 16 {FLOOD} 0", self.wire.host());
        context.guest.call_within(&flood, LIMIT)?;
        self.traffic.sent_more(FLOOD);
        let goes_on = self.traffic.goes_on();
        let after = self.by_queue(context)?;
        if let Err(why) = goes_on {
            return Err(Error::Unexpected(why));
        }
        let grown = |way: usize| {
            let pairs = after[way].iter().zip(&before[way]);
            pairs.map(|(after, before)| after - before).collect()
        };
        Ok([grown(0), grown(1)])
    }

    fn by_queue(&self, context: &mut Context<'_>) -> Result<[Vec<u64>; 2]> {
        let mut numbers = tree(context, &self.node)?;
        numbers.sort();
        let of = |end: &str, way: &str| {
            let all = numbers.iter();
            let all = all.filter(|(name, _)| name.contains(way) && name.ends_with(end));
            all.map(|(_, value)| *value).collect()
        };
        Ok([of(".card.frames", ".tx."), of(".frames", ".rx.")])
    }

    pub(super) fn descriptors(&mut self, context: &mut Context<'_>) -> Result<()> {
        let ways = ["tx_descriptors", "rx_descriptors"];
        let first = ways.map(|name| context.guest.sysctl(&format!("{}.{name}", self.node)));
        for ((name, usual), (other, bad)) in ways.into_iter().zip(first).zip(self.card.descriptors)
        {
            self.set(context, name, &other.to_string())?;
            let allowed = match self.card.driver {
                "wvtnet" => "powers of two from 64 to 256",
                _ => "multiples of",
            };
            self.refuse(context, name, &bad.to_string(), allowed)?;
            self.set(context, name, &usual?)?;
        }
        Ok(())
    }

    pub(super) fn moderation(&mut self, context: &mut Context<'_>) -> Result<()> {
        match self.card.moderation {
            Moderation::None => {
                let none = ["interrupt_moderation", "interrupt_gap_max_us"];
                let why = none.map(|name| context.guest.sysctl(&format!("{}.{name}", self.node)));
                let what = format!("{}: what the card has not can't be set", self.card.name);
                context.report.check(
                    why.iter().all(|why| why.is_err()),
                    &what,
                    format!("{why:?}"),
                );
            }
            Moderation::Own => {
                self.refuse(context, "interrupt_moderation", "2", "0 to 1")?;
                self.set(context, "interrupt_moderation", "0")?;
                self.set(context, "interrupt_moderation", "1")?;
            }
            Moderation::Gaps => {
                let [least, most] = ["interrupt_gap_min_us", "interrupt_gap_max_us"];
                self.refuse(context, most, "10001", "0 to 10000")?;
                for (name, value) in [(most, "1000"), (least, "500"), (most, "500")] {
                    self.set(context, name, value)?;
                }
                self.refuse(context, least, "501", "0 to 500")?;
                self.refuse(context, most, "499", "500 to 10000")?;
                for (name, value) in [(least, "0"), (most, "0"), (most, "125")] {
                    self.set(context, name, value)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn spreading(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.card.queues[1] < 2 {
            let there = context.guest.sysctl(&format!("{}.rss.key", self.node));
            let what = format!("{}: one queue has nothing to spread", self.card.name);
            context
                .report
                .check(there.is_err(), &what, format!("{there:?}"));
            return Ok(());
        }
        for bad in ["00", "zz", &KEY[1..]] {
            self.refuse(context, "rss.key", bad, "40 bytes in hexadecimal")?;
        }
        for bad in ["2", "0 1 x", "-1"] {
            self.refuse(
                context,
                "rss.table",
                bad,
                "1 to 128 numbers of queues, 0 to 1",
            )?;
        }
        self.set(context, "rss.key", KEY)?;
        self.set(context, "rss.table", "0 0 0 1")?;
        // The shortest form is what is shown.
        self.set(context, "rss.table", "1")?;
        if self.card.driver != "wvmx" {
            let [_, received] = self.used(context)?;
            context.report.check(
                received[1] > 100 && received[0] < 10,
                &format!(
                    "{}: all flows come by the queue that the table names",
                    self.card.name
                ),
                format!("{received:?}"),
            );
        }
        // Spreads evenly anew.
        self.set(context, "rx_queues", "2")?;
        let table = context.guest.sysctl(&format!("{}.rss.table", self.node))?;
        let what = format!("{}.rss.table is even again", self.node);
        context.report.equal(&table.as_str(), &"0 1", &what);
        Ok(())
    }

    pub(super) fn mtu(&mut self, context: &mut Context<'_>) -> Result<()> {
        let (name, host) = (self.card.name, self.wire.host());
        for bad in [70_000, 20] {
            let refused = context.guest.refused(&format!("if mtu {name} {bad}"))?;
            let still = context.guest.line(&format!("if mtu {name}"))?;
            context.report.check(
                refused.starts_with("EINVAL") && still == "1500",
                &format!("{name}: an MTU of {bad} is refused"),
                format!("{refused}; {still}"),
            );
        }
        for (mtu, bytes) in [(9000, 8000), (1500, 1400)] {
            self.traffic.port().forget_longest();
            let set = format!("if mtu {name} {mtu}");
            self.traffic.within(context, &set)?;
            let ping = format!("ping {host} 3 {ECHO_MS} {bytes}");
            let answered = context.guest.call_within(&ping, LIMIT)?.join(" ");
            let longest = self.traffic.port().figures().longest;
            let goes_on = self.traffic.goes_on();
            context.report.check(
                answered == "3 of 3" && longest > bytes && longest <= mtu + 18 && goes_on.is_ok(),
                &format!(
                    "{name}: frames of {bytes} bytes with an MTU of {mtu}, set while traffic runs"
                ),
                format!("{answered}; the longest {longest}; {goes_on:?}"),
            );
        }
        Ok(())
    }

    /// Segments that the card has cut since it was started.
    fn cut(&self, context: &mut Context<'_>) -> Result<u64> {
        let Some(end) = self.card.cuts else {
            return Ok(0);
        };
        let all = tree(context, &self.node)?;
        let cuts = all.iter().filter(|(name, _)| name.ends_with(end));
        Ok(cuts.map(|(_, value)| value).sum())
    }

    pub(super) fn capabilities(&mut self, context: &mut Context<'_>) -> Result<()> {
        let name = self.card.name;
        let all = ["rxcsum", "txcsum", "rxcsum6", "txcsum6", "tso4"];
        let given = context.guest.line(&format!("if capability {name}"))?;
        let has = |line: &str, wanted: &str| line.split(' ').any(|one| one == wanted);
        if self.card.cuts.is_some() {
            context.report.check(
                all.iter().all(|one| has(&given, one)),
                &format!("{name} has sums and segments by the card at first"),
                &given,
            );
        }
        for is_on in [false, true] {
            for one in all.into_iter().filter(|one| has(&given, one)) {
                let sign = if is_on { "" } else { "-" };
                let set = format!("if capability {name} {sign}{one}");
                let line = self.traffic.within(context, &set)?.join(" ");
                let goes_on = self.traffic.goes_on();
                context.report.check(
                    has(&line, one) == is_on && goes_on.is_ok(),
                    &format!("{name}: {sign}{one} while traffic runs"),
                    format!("{line}; {goes_on:?}"),
                );
            }
            if self.card.cuts.is_some() {
                self.segments(context, is_on)?;
            }
        }
        if self.card.joins == Joins::Nobody {
            let refused = context
                .guest
                .refused(&format!("if capability {name} lro"))?;
            let what = format!("{name}: LRO is refused");
            context
                .report
                .check(refused.starts_with("EINVAL"), &what, refused);
            return Ok(());
        }
        let [on, off] = ["lro", "-lro"].map(|one| format!("if capability {name} {one}"));
        let asked = self.traffic.within(context, &on)?.join(" ");
        let goes_on = self.traffic.goes_on();
        let line = self.traffic.within(context, &off)?.join(" ");
        context.report.check(
            has(&asked, "lro") && !has(&line, "lro") && goes_on.is_ok(),
            &format!("{name}: LRO on and off while traffic runs"),
            format!("{asked}; {line}; {goes_on:?}"),
        );
        if self.card.joins == Joins::Software {
            for (is_on, forwards) in [(true, false), (true, true), (true, false), (false, false)] {
                self.joined(context, is_on, forwards)?;
            }
            context.guest.set_sysctl("net.inet6.ip6.forwarding", 0)?;
            context.guest.set_sysctl("net.inet.ip.forwarding", 0)?;
        }
        Ok(())
    }

    /// Segments of a connection come as one long packet if that is on and the guest forwards
    /// nothing of the family; and each as it is otherwise.
    fn joined(&mut self, context: &mut Context<'_>, is_on: bool, forwards: bool) -> Result<()> {
        let name = self.card.name;
        let sign = if is_on { "" } else { "-" };
        let set = format!("if capability {name} {sign}lro");
        self.traffic.within(context, &set)?;
        for sysctl in ["net.inet.ip.forwarding", "net.inet6.ip6.forwarding"] {
            context.guest.set_sysctl(sysctl, u64::from(forwards))?;
        }
        for ip in [Ip::V4(0), Ip::V6(&[])] {
            listen(context, "long", &format!("long {name} {LONGEST}"))?;
            let before = self.joins(context)?;
            let mut after = before;
            let mut long = 0;
            for _ in 0..if is_on && !forwards { 60 } else { 5 } {
                self.burst(ip)?;
                if let Err(why) = self.traffic.goes_on() {
                    return Err(Error::Unexpected(why));
                }
                after = self.joins(context)?;
                long = context.guest.counters("long")?.get(1).copied().unwrap_or(0);
                if long > 0 && after[1] > before[1] {
                    break;
                }
            }
            let seen = context.guest.stop("long")?;
            long = long.max(seen.get(1).copied().unwrap_or(0));
            let [frames, packets] = [0, 1].map(|n| after[n] - before[n]);
            let is_joined = long > 0 && packets > 0 && frames >= 2 * packets;
            let is_left = long == 0 && packets == 0 && frames == 0;
            context.report.check(
                if is_on && !forwards {
                    is_joined
                } else {
                    is_left
                },
                &format!(
                    "{name}: segments are joined by LRO ({is_on}), forwarding: {forwards}; {ip:?}"
                ),
                format!("{long} of {seen:?} long; {frames} became {packets}"),
            );
        }
        Ok(())
    }

    /// What its receive queues have joined, and into what.
    fn joins(&self, context: &mut Context<'_>) -> Result<[u64; 2]> {
        let all = tree(context, &self.node)?;
        Ok(["software.joined", "software.packets"].map(|end| {
            let own = all.iter().filter(|(name, _)| name.ends_with(end));
            own.map(|(_, value)| value).sum()
        }))
    }

    /// Segments in a row, of a connection that the guest does not know, and to nobody.
    fn burst(&self, ip: Ip) -> Result<()> {
        let made = Made {
            ip,
            protocol: 6,
            is_inner: false,
            to: card_mac(self.wire.number()),
            from: self.wire.station().mac,
        };
        for number in 0..SEGMENTS {
            let part = Part {
                number,
                gone: number * SEGMENT,
                is_last: number + 1 == SEGMENTS,
            };
            let frame = made.frame(&[7; SEGMENT], part, Left::default(), None);
            let sent = self.traffic.port().send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        }
        Ok(())
    }

    /// The card cuts segments, or does not.
    fn segments(&mut self, context: &mut Context<'_>, is_on: bool) -> Result<()> {
        let name = self.card.name;
        let before = self.cut(context)?;
        let mut after = before;
        // A connection that has met an interface without it does without it from then on.
        self.traffic.once_more(context)?;
        // The card's figures may be a second old.
        for _ in 0..if is_on { 60 } else { 3 } {
            std::thread::sleep(Duration::from_millis(500));
            after = self.cut(context)?;
            if is_on && after > before {
                break;
            }
        }
        context.report.check(
            (after > before) == is_on,
            &format!("{name}: long segments are cut by the card only with tso4: {is_on}"),
            format!("{before}, then {after}"),
        );
        Ok(())
    }

    /// Sends datagrams to the guest's address: how many bpf(4) shows, with those tags.
    fn shown(
        &mut self,
        context: &mut Context<'_>,
        station: &Station,
        mac: [u8; 6],
        tags: &str,
    ) -> Result<u64> {
        let tap = format!("tap {} {PORT} {QUIET_MS} {tags}", self.card.name);
        listen(context, "tap", &tap)?;
        for number in 0..COUNT {
            let to = self.wire.guest().into();
            let frame = station.numbered(mac, to, PORT, number, SIZE);
            let sent = self.traffic.port().send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        }
        // What comes behind them has come.
        if let Err(why) = self.traffic.goes_on() {
            return Err(Error::Unexpected(why));
        }
        std::thread::sleep(Duration::from_millis(QUIET_MS));
        let seen = context.guest.stop("tap")?;
        let seen = seen.iter().skip(1).sum();
        // What the card does not take is nobody's.
        self.traffic.left_out(COUNT.saturating_sub(seen));
        Ok(seen)
    }

    pub(super) fn vlans(&mut self, context: &mut Context<'_>) -> Result<()> {
        let (name, mac) = (self.card.name, card_mac(self.wire.number()));
        let vlan = context.guest.line("if create vlan")?;
        context
            .guest
            .call(&format!("if vlan {vlan} {name} {OURS} 802.1q"))?;
        for is_on in [false, true, false] {
            let sign = if is_on { "" } else { "-" };
            let set = format!("if capability {name} {sign}vlanhwfilter");
            let line = self.traffic.within(context, &set)?.join(" ");
            let mut came = [0; 2];
            for (came, tag) in came.iter_mut().zip([OURS, OTHER]) {
                let station = Station {
                    vlan: Some(tag),
                    ..self.wire.station()
                };
                *came = self.shown(context, &station, mac, &tag.to_string())?;
            }
            let wanted = [COUNT, if is_on { 0 } else { COUNT }];
            context.report.check(
                came == wanted && line.contains("vlanhwfilter") == is_on,
                &format!(
                    "{name}: of a VLAN that it is on, and of another one, with the filter: {is_on}"
                ),
                format!("{came:?} of {COUNT}; {line}"),
            );
        }
        context.guest.call(&format!("if destroy {vlan}")).map(drop)
    }

    pub(super) fn promiscuous(&mut self, context: &mut Context<'_>) -> Result<()> {
        let (name, station) = (self.card.name, self.wire.station());
        for is_on in [false, true, false] {
            let off = if is_on { "" } else { " off" };
            let set = format!("if promiscuous {name}{off}");
            self.traffic.within(context, &set)?;
            let came = self.shown(context, &station, [2, 0, 0, 9, 9, 9], "-")?;
            context.report.equal(
                &came,
                &if is_on { COUNT } else { 0 },
                &format!("{name}: frames to others come if it is promiscuous: {is_on}"),
            );
        }
        Ok(())
    }

    /// The card sleeps for a while, as for a system that does.
    pub(super) fn suspended(&mut self, context: &mut Context<'_>) -> Result<()> {
        let (name, place) = (self.card.name, self.place);
        let [before, after] = self.traffic.meanwhile(context, |context, port| {
            let suspend = format!("devctl suspend {place}");
            context.guest.call_within(&suspend, LIMIT)?;
            let before = port.figures().frames;
            std::thread::sleep(Duration::from_millis(QUIET_MS));
            let after = port.figures().frames;
            let resume = format!("devctl resume {place}");
            context.guest.call_within(&resume, LIMIT)?;
            Ok([before, after])
        })?;
        let goes_on = self.traffic.goes_on();
        context.report.check(
            after == before && goes_on.is_ok(),
            &format!("{name}: nothing is sent while it is suspended, and traffic goes on when it is resumed"),
            format!("{before} frames, then {after}; {goes_on:?}"),
        );
        Ok(())
    }
}
