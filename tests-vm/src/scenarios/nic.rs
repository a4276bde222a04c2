// SPDX-License-Identifier: BSD-2-Clause
//! What is done with a network card whose cable ends at the host, whatever driver it has.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Context;
use super::pair::{ECHO_MS, LIMIT, listen, reached};
use crate::guest::{Error, Result};
use crate::lan::{Behaviour, Figures, Port, Station, card_mac};

/// Answers that the host is asked for of each kind.
const ECHOES: u32 = 20;
/// Datagrams that the guest sends, and bytes of each.
const FLOOD: u64 = 4000;
const FLOOD_SIZE: usize = 1400;
/// Datagrams that the host sends, and how many of them may be on their way: less than the
/// smallest ring has room for.
const STREAM: u64 = 4000;
const WINDOW: u64 = 128;
/// Where the guest sends datagrams back.
const PORT: u16 = 5009;

/// A card, and the network of its own that its cable is.
pub(super) struct Wire {
    number: usize,
}

impl Wire {
    pub(super) fn new(number: usize) -> Self {
        Self { number }
    }

    /// Of which card it is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    fn net(&self) -> u8 {
        self.number as u8
    }

    /// The host's address.
    pub(super) fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, self.net(), 1)
    }

    /// The guest's.
    pub(super) fn guest(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, self.net(), 2)
    }

    /// The host's of IPv6.
    pub(super) fn host6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 9, self.net().into(), 0, 0, 0, 0, 1)
    }

    /// And the guest's.
    pub(super) fn guest6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 9, self.net().into(), 0, 0, 0, 0, 2)
    }

    /// Who is behind the cable.
    pub(super) fn station(&self) -> Station {
        Station {
            mac: [2, 0, 0, 9, self.net(), 1],
            v4: self.host(),
            v6: self.host6(),
            vlan: None,
            offered: Ipv4Addr::new(10, 9, self.net(), 77),
        }
    }

    /// The host's end of the cable.
    pub(super) fn port(&self, context: &Context<'_>) -> Result<Port> {
        let ports = &context.guest.lan()?.ports;
        let port = ports.get(self.number).cloned();
        port.ok_or_else(|| Error::Unexpected(format!("there is no card {}", self.number)))
    }

    /// Puts a host at the other end, and gives the interface addresses.
    pub(super) fn connect(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let port = self.port(context)?;
        port.set(Behaviour::Station(self.station()));
        port.clear();
        let (v4, v6) = (self.guest(), self.guest6());
        context.guest.each(&[
            "sysctl set net.inet6.ip6.dad_count 0".into(),
            // Which turns it on.
            format!("if addr {name} {v4}/24"),
            format!("if addr {name} {v6}/64"),
        ])
    }

    /// Turns the interface off, and looks whether all was well on the cable.
    pub(super) fn disconnect(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let (v4, v6) = (self.guest(), self.guest6());
        context.guest.each(&[
            format!("if unaddr {name} {v4}"),
            format!("if unaddr {name} {v6}"),
            format!("if down {name}"),
        ])?;
        let seen = self.port(context)?.figures();
        self.all_right(context, name, &seen);
        Ok(())
    }

    /// No frame that the host has seen was wrong.
    pub(super) fn all_right(&self, context: &mut Context<'_>, name: &str, seen: &Figures) {
        context.report.equal(
            &(seen.wrong, seen.first_wrong.as_ref()),
            &(0, None),
            &format!("{name}: the host finds all checksums right"),
        );
        context.report.note(&format!(
            "{name}: the host saw {} frames of {} bytes, the longest {}; {} of TCP, {} of UDP, \
             {} put together of fragments, the longest {}; {} with tags; sent {}",
            seen.frames,
            seen.bytes,
            seen.longest,
            seen.tcp,
            seen.udp,
            seen.reassembled,
            seen.longest_reassembled,
            seen.tagged,
            seen.sent,
        ));
    }

    /// Waits until the card is started and receives.
    pub(super) fn answers(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let address = self.host().to_string();
        reached(
            context,
            "",
            &address,
            56,
            &format!("{name}: {address} answers"),
        )
    }

    /// Echoes of both families, short and as long as a frame.
    pub(super) fn echoes(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        for address in [self.host().to_string(), self.host6().to_string()] {
            // Until the card is started and receives, and neighbours are known.
            let what = format!("{name}: {address} answers");
            reached(context, "", &address, 56, &what)?;
            for size in [56, 1400] {
                let command = format!("ping {address} {ECHOES} {ECHO_MS} {size}");
                let answer = context.guest.call_within(&command, LIMIT)?;
                context.report.equal(
                    &answer.join(" "),
                    &format!("{ECHOES} of {ECHOES}"),
                    &format!("{name}: {address} answers echoes of {size} bytes"),
                );
            }
        }
        Ok(())
    }

    /// Many datagrams, first to the host, then from it and back.
    pub(super) fn floods(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let port = self.port(context)?;
        port.clear();
        let host = self.host();
        let command = format!("flood {host} 9 {FLOOD_SIZE} 4 {FLOOD} 0");
        let line = context.guest.call_within(&command, LIMIT)?.join(" ");
        let taken = line.split(' ').next().and_then(|n| n.parse().ok());
        let taken: u64 = taken.unwrap_or(0);
        let came = port.gather(taken, |seen| seen.udp);
        context.report.check(
            taken > 0 && came == taken,
            &format!("{name}: all datagrams that the stack took come to the host"),
            format!("{came} of {taken}; {line}"),
        );
        self.all_right(context, name, &port.figures());
        self.there_and_back(context, name)
    }

    /// Datagrams from the host, each of which the guest sends back; no more at a time than a
    /// card and a socket have room for, however slow the guest is.
    fn there_and_back(&self, context: &mut Context<'_>, name: &str) -> Result<()> {
        let port = self.port(context)?;
        listen(context, "pong", &format!("pong {PORT}"))?;
        port.clear();
        let (station, guest) = (self.station(), self.guest());
        let mut back = 0;
        for number in 0..STREAM {
            if number == back + WINDOW {
                let enough = number - WINDOW / 2;
                back = port.gather(enough, |seen| seen.udp);
                if back < enough {
                    break;
                }
            }
            let frame = station.numbered(
                card_mac(self.number),
                guest.into(),
                PORT,
                number,
                FLOOD_SIZE,
            );
            let sent = port.send(&frame);
            sent.map_err(|error| Error::Unexpected(format!("the cable: {error}")))?;
        }
        let back = port.gather(STREAM, |seen| seen.udp);
        let received = context.guest.stop("pong")?;
        let mut lost = [0; 2];
        // `udps_noport` and `udps_fullsock` of `struct udpstat`.
        for (lost, at) in lost.iter_mut().zip([5, 7]) {
            *lost = context.guest.word("", "net.inet.udp.stats", at)?;
        }
        let counted = context.guest.line(&format!("if stat {name}"))?;
        context.report.check(
            received == [STREAM] && back == STREAM,
            &format!("{name}: all datagrams from the host arrive, and come back"),
            format_args!(
                "{received:?} of {STREAM} arrived, {back} came back; without a socket, and a \
                 full one: {lost:?}; in and out: {counted}"
            ),
        );
        Ok(())
    }
}
