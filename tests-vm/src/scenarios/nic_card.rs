// SPDX-License-Identifier: BSD-2-Clause
//! Cards with the module's drivers: taken when told, frames of all kinds both ways, pulled
//! cables, traffic while a card goes, given back.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::nic::Wire;
use super::pair::{LIMIT, create_jail, listen, reached, remove_jail, undisturbed};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::{Behaviour, FIRST_SLOT, Nic, Port, card_mac};

const ABOUT: &str = "cards with the module's driver: taken when told, frames both ways with the \
                     host looking at each, cables pulled, detached under load, given back";

const ORDINARY: Scenario = Scenario {
    about: ABOUT,
    limit: Duration::from_secs(180),
    klds: &["if_vlan"],
    ..Scenario::ORDINARY
};

const INTEL: Driver = Driver {
    name: "wem",
    foreign: "em",
    back: Back::Full,
};

pub(super) const EM: Scenario = Scenario {
    name: "nic-em",
    group: "nic-em",
    nics: &[Nic { device: "e1000" }, Nic { device: "e1000" }],
    run: |context| INTEL.run(context),
    ..ORDINARY
};

pub(super) const EM_EXPRESS: Scenario = Scenario {
    name: "nic-em-express",
    group: "nic-em-express",
    nics: &[Nic { device: "e1000e" }, Nic { device: "e1000e" }],
    run: |context| INTEL.run(context),
    ..ORDINARY
};

pub(super) const VMX: Scenario = Scenario {
    name: "nic-vmx",
    group: "nic-vmx",
    nics: &[Nic { device: "vmxnet3" }, Nic { device: "vmxnet3" }],
    run: |context| {
        Driver {
            name: "wvmx",
            foreign: "vmx",
            back: Back::Never,
        }
        .run(context)
    },
    ..ORDINARY
};

const VIRTIO: Nic = Nic {
    device: "virtio-net-pci",
};

pub(super) const VTNET: Scenario = Scenario {
    name: "nic-vtnet",
    group: "nic-vtnet",
    nics: &[VIRTIO, VIRTIO],
    run: |context| {
        Driver {
            name: "wvtnet",
            foreign: "vtnet",
            back: Back::Always,
        }
        .run(context)
    },
    ..ORDINARY
};

const LEGACY_VIRTIO: Nic = Nic {
    device: "virtio-net-pci,disable-modern=on",
};

pub(super) const VTNET_LEGACY: Scenario = Scenario {
    name: "nic-vtnet-legacy",
    group: "nic-vtnet-legacy",
    nics: &[LEGACY_VIRTIO, LEGACY_VIRTIO],
    ..VTNET
};

/// A driver of the module's, and FreeBSD's own.
struct Driver {
    name: &'static str,
    foreign: &'static str,
    /// Whether FreeBSD's takes the card again.
    back: Back,
}

/// When a card gets FreeBSD's driver again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Back {
    Always,
    /// In the long form: em(4) takes most of a minute in an emulated guest.
    Full,
    /// 15.1's vmx(4) calls a null pointer when it attaches to a running system
    /// (`iflib_media_status`, by netlink(4)).
    Never,
}

/// How many fragments of a packet a network stack takes.
const FRAGMENTS: &str = "net.inet.ip.maxfragsperpacket";
/// How often a network stack asks whether another has its new address, for a second each.
const PROBES: &str = "net.inet6.ip6.dad_count";
/// Bytes of a stream.
const STREAM: u64 = 200_000;
const STREAM_FULL: u64 = 500_000_000;
/// Times that a card is taken and given back under load.
const TURNS: u32 = 3;
const TURNS_FULL: u32 = 100;

impl Driver {
    fn run(&self, context: &mut Context<'_>) -> Result<()> {
        for kld in ORDINARY.klds {
            context.load_kld(kld)?;
        }
        context.load_weft()?;
        self.unasked(context)?;
        let name = self.take(context, 0)?;
        let wire = Wire::new(0);
        Self::at_once(context, &wire, &name)?;
        wire.connect(context, &name)?;
        self.dhcp(context, &wire, &name)?;
        wire.echoes(context, &name)?;
        wire.floods(context, &name)?;
        self.figures(context, &name)?;
        self.cable(context, &wire, &name)?;
        wire.disconnect(context, &name)?;
        self.give_back(context)?;
        self.streams(context)?;
        self.under_load(context)?;
        context.unload_weft()
    }

    /// Where a card is.
    fn place(number: usize) -> String {
        format!("pci0:0:{}:0", FIRST_SLOT + number)
    }

    /// Nobody has asked for the cards, so they have FreeBSD's driver.
    fn unasked(&self, context: &mut Context<'_>) -> Result<()> {
        let ours = format!("{}0", self.name);
        let refused = context.guest.refused(&format!("if stat {ours}"))?;
        context.report.check(
            refused.starts_with("ENXIO"),
            &format!("{ours} is not there unasked"),
            refused,
        );
        let foreign = format!("{}0", self.foreign);
        context.guest.call(&format!("if stat {foreign}")).map(drop)
    }

    /// Gives a card the module's driver: the interface's name.
    fn take(&self, context: &mut Context<'_>, number: usize) -> Result<String> {
        let place = Self::place(number);
        // A card that had the driver before has it again.
        let attach = format!("devctl attach {place}");
        if context.guest.call(&attach).is_err() {
            let set = format!("devctl set {place} {}", self.name);
            context.guest.call_within(&set, Duration::from_secs(30))?;
        }
        let name = format!("{}{number}", self.name);
        context.guest.call(&format!("if stat {name}"))?;
        let refused = context.guest.refused("kld unload weft.ko")?;
        context.report.check(
            refused.starts_with("EBUSY"),
            &format!("unload is refused while there is {name}"),
            refused,
        );
        Ok(name)
    }

    /// Gives a card FreeBSD's driver again.
    fn give_back(&self, context: &mut Context<'_>) -> Result<()> {
        let place = Self::place(0);
        let start = Instant::now();
        let detach = format!("devctl detach {place}");
        context
            .guest
            .call_within(&detach, Duration::from_secs(30))?;
        context
            .report
            .note(&format!("given back in {:?}", start.elapsed()));
        let comes_back = match self.back {
            Back::Always => true,
            Back::Full => context.full,
            Back::Never => false,
        };
        if !comes_back {
            return Ok(());
        }
        let clear = format!("devctl clear {place}");
        context
            .guest
            .call_within(&clear, Duration::from_secs(100))?;
        context.report.note(&format!(
            "taken by the other driver in {:?}",
            start.elapsed()
        ));
        let foreign = format!("{}0", self.foreign);
        let there = context.guest.call(&format!("if stat {foreign}"));
        context.report.check(
            there.is_ok(),
            &format!("{foreign} is back"),
            there
                .err()
                .map_or_else(String::new, |error| error.to_string()),
        );
        Ok(())
    }

    /// Whoever has given an interface an address, which turns it on, can send by it, and is not
    /// told that it is down.
    fn at_once(context: &mut Context<'_>, wire: &Wire, name: &str) -> Result<()> {
        let (v4, v6) = (wire.guest().to_string(), wire.guest6().to_string());
        for (address, bits) in [(v4, 24), (v6, 64)] {
            let command = format!(
                "each if addr {name} {address}/{bits} -- ether send {name} {}",
                in_hex(&discover(card_mac(0)))
            );
            let sent = context.guest.call_within(&command, LIMIT);
            let found = sent
                .err()
                .map_or_else(String::new, |error| error.to_string());
            context.report.check(
                found.is_empty(),
                &format!("{name}: it sends as soon as it has {address}"),
                found,
            );
            let off = [
                format!("if unaddr {name} {address}"),
                format!("if down {name}"),
            ];
            context.guest.each(&off)?;
        }
        Ok(())
    }

    /// DHCP's exchange, to all and from all: DISCOVER as a frame of its own, and the offer in
    /// what bpf(4) shows.
    fn dhcp(&self, context: &mut Context<'_>, wire: &Wire, name: &str) -> Result<()> {
        let hex = in_hex(&discover(card_mac(0)));
        let port = wire.port(context)?;
        let sent = port.figures().sent;
        let before = self.received(context, name)?;
        let (mut offered, mut after) = (false, before);
        // Again and again as clients do, for a card may take a second until it receives.
        let start = Instant::now();
        while after == before && start.elapsed() < LIMIT {
            context.guest.call(&format!("ether send {name} {hex}"))?;
            offered |= port.wait(Duration::from_secs(1), |seen| seen.sent > sent);
            after = self.received(context, name)?;
        }
        context.report.check(
            offered && after > before,
            &format!("{name}: DHCP's DISCOVER gets an offer, both to all"),
            format!("offered: {offered}; received before {before}, after {after}"),
        );
        Ok(())
    }

    fn received(&self, context: &mut Context<'_>, name: &str) -> Result<u64> {
        Ok(stat(context, "", name)?[0])
    }

    /// The interface's counters and the queues' figures say the same.
    fn figures(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let (mut counted, mut by_queues) = (vec![], [0; 2]);
        undisturbed(true, || {
            counted = stat(context, "", name)?;
            by_queues = self.by_queues(context)?;
            Ok([counted[0], counted[4]] == by_queues)
        })?;
        context.report.equal(
            &[counted[0], counted[4]],
            &by_queues,
            &format!("{name}: the interface has counted what its queues have"),
        );
        context.report.note(&format!(
            "{name}: in, bytes, errors, drops, out, bytes, errors, drops: {counted:?}"
        ));
        Ok(())
    }

    /// Frames that the queues of the first card have received, and those that have sent.
    fn by_queues(&self, context: &mut Context<'_>) -> Result<[u64; 2]> {
        let (mut received, mut sent) = (0, 0);
        let command = format!("sysctl tree dev.{}.0", self.name);
        for line in &context.guest.call(&command)? {
            let fields: Vec<&str> = line.split('\t').collect();
            let (name, value) = (fields[0], fields.last().copied().unwrap_or(""));
            let value = value.parse().unwrap_or(0);
            if name.contains(".rx.") && name.ends_with(".frames") {
                received += value;
            }
            if name.contains(".tx.") && name.ends_with(".card.frames") {
                sent += value;
            }
        }
        Ok([received, sent])
    }

    /// The cable is pulled and put in again: the interface says so, and goes on.
    fn cable(&self, context: &mut Context<'_>, wire: &Wire, name: &str) -> Result<()> {
        for (up, wanted) in [(false, "down"), (true, "up")] {
            let monitor = &context.guest.lan()?.monitor;
            let set = monitor.set_link(0, up);
            set.map_err(|error| Error::Unexpected(error.to_string()))?;
            let start = Instant::now();
            let mut found = String::new();
            while found != wanted && start.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(50));
                found = context.guest.line(&format!("if link {name}"))?;
            }
            let what = format!("{name}: the link is {wanted}, as the cable is");
            context.report.equal(found.as_str(), wanted, &what);
        }
        wire.echoes(context, name)
    }

    /// Streams of TCP between two cards, one of them in a jail, by a cable on which the host
    /// looks at each frame: long segments that the card cut, checksums that it filled in.
    fn streams(&self, context: &mut Context<'_>) -> Result<()> {
        let near = self.take(context, 0)?;
        let far = self.take(context, 1)?;
        let ports = [self.port(context, 0)?, self.port(context, 1)?];
        for (one, other) in [(0, 1), (1, 0)] {
            ports[one].set(Behaviour::Cable(ports[other].line()));
            ports[one].clear();
        }
        create_jail(context, "far")?;
        // QEMU 7.2 cuts long segments by IP fragments, which it makes of IPv4 only: with IPv6 it
        // writes IPv4's checksum into the sender's address. A segment is up to 45 fragments, and
        // a network stack puts no more than 16 together unless it is told to.
        context.guest.each(&[
            format!("sysctl set {FRAGMENTS} 64"),
            format!("if addr {near} 10.8.0.1/24"),
            format!("if addr {near} fd00:8::1/64"),
            format!("if capability {near} -tso6"),
            format!("if vnet {far} far"),
        ])?;
        context.guest.call(&format!(
            "in far each sysctl set {FRAGMENTS} 64 -- sysctl set {PROBES} 0 \
             -- if addr {far} 10.8.0.2/24 -- if addr {far} fd00:8::2/64 -- if capability {far} -tso6"
        ))?;
        let what = format!("{near}: the other card answers");
        reached(context, "", "10.8.0.2", 56, &what)?;
        for (from, at, to) in [
            ("", "in far ", "10.8.0.2"),
            ("", "in far ", "fd00:8::2"),
            ("in far ", "", "10.8.0.1"),
            ("in far ", "", "fd00:8::1"),
        ] {
            self.stream(context, from, at, to)?;
        }
        self.tagged(context, &near, &far)?;
        for (number, port) in ports.iter().enumerate() {
            let name = format!("{}{number}", self.name);
            Wire::new(number).all_right(context, &name, &port.figures());
        }
        remove_jail(context, "far")?;
        for number in 0..2 {
            let detach = format!("devctl detach {}", Self::place(number));
            context
                .guest
                .call_within(&detach, Duration::from_secs(30))?;
        }
        Ok(())
    }

    fn port(&self, context: &Context<'_>, number: usize) -> Result<Port> {
        Wire::new(number).port(context)
    }

    fn stream(&self, context: &mut Context<'_>, from: &str, at: &str, to: &str) -> Result<()> {
        let bytes = if context.full { STREAM_FULL } else { STREAM };
        let limit = Duration::from_secs(if context.full { 1800 } else { 60 });
        listen(context, "serve", &format!("{at}tcp serve 5000 7"))?;
        let start = Instant::now();
        context
            .guest
            .start("stream", &format!("{from}tcp send {to} 5000 7 {bytes}"))?;
        context.guest.finish("stream", limit)?;
        let received = context.guest.finish("serve", limit)?;
        let took = start.elapsed();
        let rate = bytes as f64 / took.as_secs_f64() / 1e6;
        context.report.note(&format!(
            "{}: {bytes} bytes to {to} in {took:.1?}, {rate:.1} MB/s",
            self.name
        ));
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!("{}: the stream to {to} arrived, byte by byte", self.name),
        );
        Ok(())
    }

    /// The same on a VLAN, whose tags the cards put in and take out.
    fn tagged(&self, context: &mut Context<'_>, near: &str, far: &str) -> Result<()> {
        let ours = context.guest.line("if create vlan")?;
        let theirs = context.guest.line("in far if create vlan")?;
        context.guest.call(&format!(
            "each if vlan {ours} {near} 7 802.1q -- if addr {ours} 10.8.7.1/24 -- if up {ours}"
        ))?;
        context.guest.call(&format!(
            "in far each if vlan {theirs} {far} 7 802.1q -- if addr {theirs} 10.8.7.2/24 \
             -- if up {theirs}"
        ))?;
        self.stream(context, "", "in far ", "10.8.7.2")?;
        let seen = self.port(context, 0)?.figures();
        context.report.check(
            seen.tagged > 0,
            &format!("{near}: frames of the VLAN have their tag on the cable"),
            seen.tagged,
        );
        let detach = format!("devctl detach {}", Self::place(0));
        let refused = context.guest.refused(&detach)?;
        context.report.check(
            refused.starts_with("EBUSY"),
            &format!("{near} stays as long as there is a VLAN on it"),
            refused,
        );
        context.guest.call(&format!("if destroy {ours}"))?;
        context
            .guest
            .call(&format!("in far if destroy {theirs}"))
            .map(drop)
    }

    /// A card goes and comes while traffic runs both ways.
    fn under_load(&self, context: &mut Context<'_>) -> Result<()> {
        let turns = if context.full { TURNS_FULL } else { TURNS };
        self.take(context, 0)?;
        let detach = format!("devctl detach {}", Self::place(0));
        context
            .guest
            .call_within(&detach, Duration::from_secs(30))?;
        let wire = Wire::new(0);
        let port = wire.port(context)?;
        for _ in 0..turns {
            let name = self.take_quietly(context)?;
            wire.connect(context, &name)?;
            let host = wire.host();
            context
                .guest
                .start("flood", &format!("flood {host} 7 1000 4 0 0"))?;
            port.wait(Duration::from_secs(10), |seen| seen.udp > 200);
            context.guest.call_within(
                &format!("devctl detach {}", Self::place(0)),
                Duration::from_secs(30),
            )?;
            context.guest.stop("flood")?;
            let seen = port.figures();
            wire.all_right(context, &name, &seen);
        }
        context
            .report
            .pass(&format!("{turns} times taken and given back under load"));
        Ok(())
    }

    fn take_quietly(&self, context: &mut Context<'_>) -> Result<String> {
        let command = format!("devctl attach {}", Self::place(0));
        context
            .guest
            .call_within(&command, Duration::from_secs(30))?;
        Ok(format!("{}0", self.name))
    }
}

/// What an interface has counted, of that place, such as `in jail `: in, bytes, errors, drops,
/// out, bytes, errors, drops.
pub(super) fn stat(context: &mut Context<'_>, place: &str, name: &str) -> Result<Vec<u64>> {
    let line = context.guest.line(&format!("{place}if stat {name}"))?;
    let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
    match numbers.len() {
        8 => Ok(numbers),
        _ => Err(Error::Unexpected(line)),
    }
}

fn in_hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A DHCP DISCOVER, to all, from nobody (RFC 2131).
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut dhcp = vec![1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0];
    dhcp.resize(28, 0);
    dhcp.extend(mac);
    dhcp.resize(236, 0);
    dhcp.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let udp_len = (dhcp.len() + 8) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend((udp_len + 20).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let check = crate::lan::check::checksum(&packet, 0);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet.extend([0, 68, 0, 67]);
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(dhcp);
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 0]);
    frame.extend(packet);
    frame
}
