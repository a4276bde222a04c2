// SPDX-License-Identifier: BSD-2-Clause
//! Whether a member may send a frame: its hardware address, the source of its packets,
//! and what it tells neighbours must be its own.
//!
//! | frame            | what must be the sender's own                                      |
//! | ---------------- | ------------------------------------------------------------------ |
//! | any              | the hardware source                                                |
//! | ARP              | the sender's addresses of both kinds; 0.0.0.0 may ask (RFC 5227)   |
//! | IPv4             | the source; 0.0.0.0 may send to groups only (DHCP, IGMP)           |
//! | IPv6             | the source; :: may send to groups only (RFC 4862, MLD)             |
//! | Neighbor Discovery | also the target of an advertisement, that of a solicitation from ::, and the hardware address in an option (RFC 4861) |
//!
//! Extension headers in front of Neighbor Discovery are walked. A packet with so many
//! that they do not end in the front, or end before they say what is in them, is refused,
//! and so is Neighbor Discovery that is longer than that.
//! Fragments bear no Neighbor Discovery that anybody may believe (RFC 6980).

use super::{Arp, Mac, ends, ipv4, ipv6, is_group, mac, untagged};
use crate::wire::{ethernet, word};
use core::net::IpAddr;

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Another's hardware source.
    Hardware,
    /// ARP in another's name.
    Arp,
    /// Another's address as source.
    Source,
    /// Neighbor Discovery in another's name.
    Neighbor,
    /// Headers that are cut off, or do not end within what is looked at.
    Unreadable,
    /// Neither IPv4, ARP nor IPv6, or tagged for a VLAN.
    Protocol,
}

/// Checks a frame of the member that has the hardware address `own`, and the addresses of
/// which `holds` says so. `frame` may be the first bytes of it only: what is allowed then
/// is allowed whatever follows, and [`Forgery::Unreadable`] may mean that more would do.
///
/// # Errors
/// What is wrong with it.
#[inline]
pub fn check(frame: &[u8], own: Mac, holds: impl Fn(IpAddr) -> bool) -> Result<(), Forgery> {
    let (destination, source) = ends(frame).ok_or(Forgery::Unreadable)?;
    if source != own {
        return Err(Forgery::Hardware);
    }
    let (ethertype, payload) = untagged(frame).ok_or(Forgery::Protocol)?;
    match ethertype {
        ethernet::IPV4 => {
            let source = ipv4(payload, 12).ok_or(Forgery::Unreadable)?;
            let nobody = source.is_unspecified() && is_group(destination);
            allowed(nobody || holds(IpAddr::V4(source)), Forgery::Source)
        }
        ethernet::IPV6 => {
            let source = ipv6(payload, 8).ok_or(Forgery::Unreadable)?;
            let nobody = source.is_unspecified() && is_group(destination);
            allowed(nobody || holds(IpAddr::V6(source)), Forgery::Source)?;
            match message(payload)? {
                Some(message) => discovery(message, source.is_unspecified(), own, holds),
                None => Ok(()),
            }
        }
        ethernet::ARP => {
            let arp = Arp::parse(payload).ok_or(Forgery::Unreadable)?;
            let (hardware, sender) = arp.sender().ok_or(Forgery::Unreadable)?;
            let is_own = sender.is_unspecified() || holds(IpAddr::V4(sender));
            allowed(is_own && hardware == own, Forgery::Arp)
        }
        _ => Err(Forgery::Protocol),
    }
}

fn allowed(is_allowed: bool, otherwise: Forgery) -> Result<(), Forgery> {
    if is_allowed { Ok(()) } else { Err(otherwise) }
}

/// Next headers (RFC 8200, RFC 4302, RFC 4443).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const ICMP: u8 = 58;
const DESTINATION: u8 = 60;

/// Types of ICMPv6 (RFC 4861).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Options with the sender's, and the target's, hardware address.
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;

/// What there is of the ICMPv6 message of an IPv6 packet, if it bears one, and whether
/// that is all.
fn message(packet: &[u8]) -> Result<Option<(&[u8], bool)>, Forgery> {
    let mut next = *packet.get(6).ok_or(Forgery::Unreadable)?;
    let end = usize::from(word(packet, 4)) + 40;
    let is_whole = packet.len() >= end;
    let packet = packet.get(..end).unwrap_or(packet);
    let mut rest = packet.get(40..).ok_or(Forgery::Unreadable)?;
    loop {
        let unit = match next {
            ICMP => return Ok(Some((rest, is_whole))),
            HOP_BY_HOP | ROUTING | DESTINATION => 8,
            AUTHENTICATION => 4,
            _ => return Ok(None),
        };
        let &[after, units, ..] = rest else {
            return Err(Forgery::Unreadable);
        };
        // Counted without the first 8 bytes, in either unit.
        let len = usize::from(units) * unit + 8;
        (next, rest) = (after, rest.get(len..).ok_or(Forgery::Unreadable)?);
    }
}

fn discovery(
    (message, is_whole): (&[u8], bool),
    from_nobody: bool,
    own: Mac,
    holds: impl Fn(IpAddr) -> bool,
) -> Result<(), Forgery> {
    let kind = *message.first().ok_or(Forgery::Unreadable)?;
    if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
        return Ok(());
    }
    allowed(is_whole, Forgery::Unreadable)?;
    let target = ipv6(message, 8).ok_or(Forgery::Unreadable)?;
    let claims_target = kind == ADVERTISEMENT || from_nobody;
    allowed(
        !claims_target || holds(IpAddr::V6(target)),
        Forgery::Neighbor,
    )?;
    let mut options = message.get(24..).ok_or(Forgery::Unreadable)?;
    while let &[option, ref rest @ ..] = options {
        // No receiver believes a message with an option of no length.
        let len = rest.first().map_or(0, |&units| usize::from(units) * 8);
        allowed(len > 0, Forgery::Unreadable)?;
        if matches!(option, SOURCE_OPTION | TARGET_OPTION) {
            allowed(mac(options, 2) == Some(own), Forgery::Neighbor)?;
        }
        options = options.get(len..).ok_or(Forgery::Unreadable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l3::{BROADCAST, FRONT};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];

    fn holds(address: IpAddr) -> bool {
        ["10.0.0.7", "fd00::7", "fe80::7"].contains(&address.to_string().as_str())
    }

    fn checked(frame: &[u8]) -> Result<(), Forgery> {
        check(frame, OWN, holds)
    }

    fn frame(to: Mac, from: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        [&to[..], &from, &ethertype.to_be_bytes(), payload].concat()
    }

    fn packet4(to: Mac, source: [u8; 4]) -> Vec<u8> {
        let mut packet = [0u8; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&source);
        frame(to, OWN, ethernet::IPV4, &packet)
    }

    fn packet6(to: Mac, source: &str, next: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = [0u8; 40];
        header[0] = 0x60;
        header[6] = next;
        header[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
        let source: std::net::Ipv6Addr = source.parse().unwrap();
        header[8..24].copy_from_slice(&source.octets());
        frame(to, OWN, ethernet::IPV6, &[&header, rest].concat())
    }

    fn neighbor(kind: u8, target: &str, option: Option<(u8, Mac)>) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        let target: std::net::Ipv6Addr = target.parse().unwrap();
        message.extend(target.octets());
        if let Some((kind, mac)) = option {
            message.extend([kind, 1]);
            message.extend(mac);
        }
        message
    }

    fn arp(hardware: Mac, sender: [u8; 4]) -> Vec<u8> {
        let packet = [&Arp::KIND[..], &[0, 2], &hardware, &sender, &[0; 10]].concat();
        frame(BROADCAST, OWN, ethernet::ARP, &packet)
    }

    #[test]
    fn only_ones_own_addresses_are_sources() {
        assert_eq!(checked(&packet4(OTHER, [10, 0, 0, 7])), Ok(()));
        assert_eq!(
            checked(&packet4(OTHER, [10, 0, 0, 8])),
            Err(Forgery::Source)
        );
        assert_eq!(checked(&packet6(OTHER, "fd00::7", 17, &[])), Ok(()));
        assert_eq!(checked(&packet6(OTHER, "fe80::7", 17, &[])), Ok(()));
        let forged = packet6(OTHER, "fe80::8", 17, &[]);
        assert_eq!(checked(&forged), Err(Forgery::Source));
    }

    #[test]
    fn nobody_may_send_to_groups_only() {
        assert_eq!(checked(&packet4(BROADCAST, [0; 4])), Ok(()));
        assert_eq!(checked(&packet4(OTHER, [0; 4])), Err(Forgery::Source));
        assert_eq!(checked(&packet6(BROADCAST, "::", 17, &[])), Ok(()));
        assert_eq!(
            checked(&packet6(OTHER, "::", 17, &[])),
            Err(Forgery::Source)
        );
    }

    #[test]
    fn the_hardware_source_is_ones_own() {
        let frame = frame(BROADCAST, OTHER, ethernet::IPV4, &[0; 20]);
        assert_eq!(checked(&frame), Err(Forgery::Hardware));
    }

    #[test]
    fn arp_speaks_for_its_sender() {
        assert_eq!(checked(&arp(OWN, [10, 0, 0, 7])), Ok(()));
        assert_eq!(checked(&arp(OWN, [0; 4])), Ok(()));
        assert_eq!(checked(&arp(OWN, [10, 0, 0, 8])), Err(Forgery::Arp));
        assert_eq!(checked(&arp(OTHER, [10, 0, 0, 7])), Err(Forgery::Arp));
        let short = &arp(OWN, [10, 0, 0, 7])[..41];
        assert_eq!(checked(short), Err(Forgery::Unreadable));
    }

    #[test]
    fn neighbor_discovery_speaks_for_its_sender() {
        let told = |source, kind, target, option| {
            let message = neighbor(kind, target, option);
            checked(&packet6(BROADCAST, source, ICMP, &message))
        };
        let own = Some((TARGET_OPTION, OWN));
        assert_eq!(told("fd00::7", ADVERTISEMENT, "fd00::7", own), Ok(()));
        assert_eq!(told("fd00::7", SOLICITATION, "fd00::8", None), Ok(()));
        assert_eq!(told("::", SOLICITATION, "fd00::7", None), Ok(()));
        for (source, kind, target, option) in [
            ("fd00::7", ADVERTISEMENT, "fd00::8", own),
            ("::", SOLICITATION, "fd00::8", None),
            (
                "fd00::7",
                ADVERTISEMENT,
                "fd00::7",
                Some((TARGET_OPTION, OTHER)),
            ),
            (
                "fd00::7",
                SOLICITATION,
                "fd00::8",
                Some((SOURCE_OPTION, OTHER)),
            ),
        ] {
            assert_eq!(told(source, kind, target, option), Err(Forgery::Neighbor));
        }
    }

    #[test]
    fn extension_headers_hide_nothing() {
        let message = neighbor(ADVERTISEMENT, "fd00::8", None);
        let hidden = [
            &[DESTINATION, 0, 0, 0, 0, 0, 0, 0][..],
            &[ICMP, 1],
            &[0; 14],
            &message,
        ];
        let forged = packet6(OTHER, "fd00::7", HOP_BY_HOP, &hidden.concat());
        assert_eq!(checked(&forged), Err(Forgery::Neighbor));
        let endless = packet6(
            OTHER,
            "fd00::7",
            DESTINATION,
            &[ICMP, 255, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(checked(&endless), Err(Forgery::Unreadable));
    }

    #[test]
    fn other_protocols_and_tags_are_refused() {
        for ethertype in [0x8864, ethernet::VLAN, 0x88a8] {
            let frame = frame(BROADCAST, OWN, ethertype, &[0; 60]);
            assert_eq!(checked(&frame), Err(Forgery::Protocol));
        }
    }

    /// Packets of a member that has any address, with Neighbor Discovery in them, some
    /// forged in an option.
    fn messages() -> impl Strategy<Value = Vec<u8>> {
        let option = (1u8..15, 1u8..4, prop::sample::select(vec![OWN, OTHER]));
        let options = prop::collection::vec(option, 0..12);
        (135u8..137, options, 0u8..3).prop_map(|(kind, options, headers)| {
            let mut rest = Vec::new();
            let mut first = ICMP;
            for _ in 0..headers {
                rest.extend([first, 0, 0, 0, 0, 0, 0, 0]);
                first = DESTINATION;
            }
            rest.extend(neighbor(kind, "fd00::7", None));
            for (kind, units, mac) in options {
                let at = rest.len();
                rest.extend([kind, units]);
                rest.extend(mac);
                rest.resize(at + usize::from(units) * 8, 0);
            }
            packet6(BROADCAST, "fd00::7", first, &rest)
        })
    }

    proptest! {
        #[test]
        fn what_is_allowed_is_so_whatever_follows(frame in messages(), cut in 0usize..400) {
            if checked(&frame[..frame.len().min(cut)]).is_ok() {
                prop_assert_eq!(checked(&frame), Ok(()));
            }
        }

        /// A member without addresses gets nothing through but what nobody may send.
        #[test]
        fn who_has_no_address_speaks_for_none(
            to: Mac,
            kind in prop::sample::select(vec![ethernet::IPV4, ethernet::IPV6, ethernet::ARP]),
            payload in prop::collection::vec(any::<u8>(), 0..FRONT),
        ) {
            let frame = frame(to, OWN, kind, &payload);
            if check(&frame, OWN, |_| false).is_ok() {
                let (at, len) = match kind {
                    ethernet::IPV4 => (12, 4),
                    ethernet::IPV6 => (8, 16),
                    _ => (14, 4),
                };
                prop_assert!(payload[at..at + len].iter().all(|&byte| byte == 0));
                prop_assert!(kind == ethernet::ARP || is_group(to));
            }
        }
    }
}
