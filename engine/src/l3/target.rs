// SPDX-License-Identifier: BSD-2-Clause
//! For whom a frame is that reached the link, by its headers alone.

use super::{Arp, Mac, ends, ipv4, ipv6, is_group, untagged};
use crate::wire::{ethernet, ipv4 as header, word};
use core::net::IpAddr;

/// Where DHCP's clients get answers (RFC 2131).
const DHCP_CLIENT: u16 = 68;

/// For whom a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// For whoever has the address. If nobody has, for the parent; or for all, since it
    /// may offer a DHCP client an address that is its own only later.
    Holder {
        /// The address.
        address: IpAddr,
        /// Whether it is for all if nobody has the address.
        is_offer: bool,
    },
    /// For all who joined the group, and the parent.
    Group(Mac),
    /// For the parent.
    Parent,
}

/// For whom a frame is. Of its bytes the first [`FRONT`](super::FRONT) are enough.
#[inline]
pub fn target(frame: &[u8]) -> Target {
    let (Some((destination, _)), Some((ethertype, payload))) = (ends(frame), untagged(frame))
    else {
        return Target::Parent;
    };
    let address = match ethertype {
        ethernet::IPV4 => ipv4(payload, 16).map(IpAddr::V4),
        ethernet::IPV6 => ipv6(payload, 24).map(IpAddr::V6),
        ethernet::ARP => Arp::parse(payload).and_then(|arp| arp.target().map(IpAddr::V4)),
        _ => None,
    };
    match address {
        None => Target::Parent,
        Some(_) if is_group(destination) => Target::Group(destination),
        Some(address) => Target::Holder {
            address,
            is_offer: ethertype == ethernet::IPV4 && is_offer(payload),
        },
    }
}

/// Whether an IPv4 packet goes to a client of DHCP.
fn is_offer(packet: &[u8]) -> bool {
    let header_len = packet
        .first()
        .map_or(0, |first| usize::from(first & 0xf) * 4);
    packet.get(9) == Some(&header::UDP)
        && word(packet, 6) & 0x1fff == 0
        && word(packet, header_len.saturating_add(2)) == DHCP_CLIENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l3::{BROADCAST, FRONT};
    use proptest::prelude::*;
    use std::vec::Vec;

    const TO: Mac = [2, 0, 0, 0, 0, 1];

    fn frame(to: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let kind = ethertype.to_be_bytes();
        [&to[..], &[2, 0, 0, 0, 0, 9], &kind, payload].concat()
    }

    fn udp4(port: u16) -> Vec<u8> {
        let mut packet = [0u8; 28];
        packet[0] = 0x45;
        packet[9] = 17;
        packet[16..20].copy_from_slice(&[10, 0, 0, 7]);
        packet[22..24].copy_from_slice(&port.to_be_bytes());
        packet.to_vec()
    }

    fn holder(text: &str, is_offer: bool) -> Target {
        let address = text.parse().unwrap();
        Target::Holder { address, is_offer }
    }

    #[test]
    fn packets_go_by_their_destination() {
        let v4 = frame(TO, ethernet::IPV4, &udp4(53));
        assert_eq!(target(&v4), holder("10.0.0.7", false));
        let offer = frame(TO, ethernet::IPV4, &udp4(DHCP_CLIENT));
        assert_eq!(target(&offer), holder("10.0.0.7", true));
        let mut v6 = [0u8; 40];
        v6[24..26].copy_from_slice(&[0xfd, 0]);
        v6[39] = 7;
        assert_eq!(
            target(&frame(TO, ethernet::IPV6, &v6)),
            holder("fd00::7", false)
        );
    }

    #[test]
    fn a_later_fragment_has_no_port() {
        let mut packet = udp4(DHCP_CLIENT);
        packet[7] = 1;
        let frame = frame(TO, ethernet::IPV4, &packet);
        assert_eq!(target(&frame), holder("10.0.0.7", false));
    }

    #[test]
    fn arp_goes_by_whom_it_asks_or_tells() {
        let mut arp = [0u8; 28];
        arp[..6].copy_from_slice(&Arp::KIND);
        arp[24..].copy_from_slice(&[10, 0, 0, 7]);
        let told = frame(TO, ethernet::ARP, &arp);
        assert_eq!(target(&told), holder("10.0.0.7", false));
        let asked = frame(BROADCAST, ethernet::ARP, &arp);
        assert_eq!(target(&asked), Target::Group(BROADCAST));
        arp[1] = 6;
        assert_eq!(target(&frame(TO, ethernet::ARP, &arp)), Target::Parent);
    }

    #[test]
    fn what_is_not_of_ip_is_the_parents() {
        for ethertype in [0x8864, ethernet::VLAN, 0x88a8, 0x0026] {
            for to in [TO, BROADCAST] {
                let frame = frame(to, ethertype, &udp4(1));
                assert_eq!(target(&frame), Target::Parent, "{ethertype:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_target(bytes in prop::collection::vec(any::<u8>(), 0..FRONT)) {
            if let Target::Group(group) = target(&bytes) {
                prop_assert!(is_group(group));
            }
        }

        /// Nothing behind the front changes the answer.
        #[test]
        fn the_front_is_enough(
            mut payload in prop::collection::vec(any::<u8>(), 0..2 * FRONT),
            kind in prop::sample::select(vec![ethernet::IPV4, ethernet::IPV6, ethernet::ARP]),
            group: bool,
        ) {
            if let Some(first) = payload.first_mut() {
                *first = *first & 0xf | 0x40;
            }
            let frame = frame(if group { BROADCAST } else { TO }, kind, &payload);
            let front = &frame[..frame.len().min(FRONT)];
            prop_assert_eq!(target(front), target(&frame));
        }
    }
}
