// SPDX-License-Identifier: BSD-2-Clause
//! IPv6 packets that break rules: one for each, which breaks it first of all.

use crate::wire::policy::Rule;
use crate::wire::protocol::{
    AUTHENTICATION, DESTINATION_OPTIONS, ESP, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, NO_NEXT,
    ROUTING, SHIM6, TCP, UDP,
};

/// A header behind the IPv6 header: its number, and its bytes, the first of which is filled
/// in by [`packet`].
pub type Header = (u8, Vec<u8>);

/// An IPv6 packet of these headers; the last one's first byte stays as it is.
pub fn packet(addresses: [[u8; 16]; 2], headers: &[Header]) -> Vec<u8> {
    let numbers = headers.iter().map(|(number, _)| *number);
    let mut next = numbers.chain([NO_NEXT]);
    let first = next.next().unwrap_or(NO_NEXT);
    let mut behind = Vec::new();
    for (n, (_, bytes)) in headers.iter().enumerate() {
        let mut bytes = bytes.clone();
        let number = next.next().unwrap_or(NO_NEXT);
        if let (Some(place), false) = (bytes.first_mut(), n + 1 == headers.len()) {
            *place = number;
        }
        behind.extend(bytes);
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((behind.len() as u16).to_be_bytes());
    packet.extend([first, 64]);
    packet.extend(addresses.concat());
    packet.extend(behind);
    packet
}

/// A header of options, filled up with PadN to a multiple of eight bytes.
pub fn options(number: u8, options: &[u8]) -> Header {
    let mut bytes = [&[NO_NEXT, 0][..], options].concat();
    match (8 - bytes.len() % 8) % 8 {
        0 => {}
        1 => bytes.push(0),
        more => {
            bytes.extend([1, more as u8 - 2]);
            bytes.extend(vec![0; more - 2]);
        }
    }
    bytes[1] = (bytes.len() / 8 - 1) as u8;
    (number, bytes)
}

/// A header of eight bytes and more with these behind the length.
fn plain(number: u8, rest: &[u8]) -> Header {
    let mut bytes = [&[NO_NEXT, 0][..], rest].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes[1] = (bytes.len() / 8 - 1) as u8;
    (number, bytes)
}

/// A fragment header: where the fragment begins, a multiple of eight, and 1 if more follow.
pub fn fragment(field: u16) -> Header {
    let mut bytes = vec![NO_NEXT, 0];
    bytes.extend(field.to_be_bytes());
    bytes.extend([0, 0, 0x12, 0x34]);
    (FRAGMENT, bytes)
}

fn authentication() -> Header {
    let mut bytes = vec![0; 24];
    bytes[..2].copy_from_slice(&[NO_NEXT, 4]);
    (AUTHENTICATION, bytes)
}

/// A datagram to the discard service with so many bytes, and a checksum that is wrong.
fn datagram(payload: usize) -> Header {
    let mut bytes = vec![0x12, 0x34, 0, 9];
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0xde, 0xad]);
    bytes.resize(8 + payload, 0x5a);
    (UDP, bytes)
}

/// A packet between these addresses to which the rule applies, with all bounds as they are
/// at first, and no other that any preset drops in its place.
///
/// For [`Rule::Scattered`] that is any packet, in small pieces; for [`Rule::OptionBytes`]
/// one with 24 bytes of options.
pub fn example(rule: Rule, addresses: [[u8; 16]; 2]) -> Vec<u8> {
    let of = |headers: &[Header]| packet(addresses, headers);
    let udp = || datagram(16);
    let with_options = |bytes: &[u8]| of(&[options(DESTINATION_OPTIONS, bytes), udp()]);
    let empty = |number: u8| options(number, &[]);
    let routed = |of_type: u8| of(&[plain(ROUTING, &[of_type, 0, 0, 0, 0, 0]), udp()]);
    // Kept to eight bytes of payload a fragment, or a multiple of them.
    let rest = |bytes: usize| (UDP, vec![7; bytes]);
    match rule {
        Rule::Short => {
            let mut bytes = of(&[udp()]);
            bytes.truncate(60);
            bytes
        }
        Rule::Truncated => {
            let mut bytes = of(&[empty(DESTINATION_OPTIONS), (TCP, vec![0; 12])]);
            bytes.truncate(60);
            bytes
        }
        Rule::Malformed => of(&[(AUTHENTICATION, vec![NO_NEXT, 0, 0, 0, 0, 0, 0, 0]), udp()]),
        Rule::OptionLength => {
            let header = vec![NO_NEXT, 0, 0x04, 9, 0, 0, 0, 0];
            of(&[(DESTINATION_OPTIONS, header), udp()])
        }
        Rule::Jumbo => {
            let mut bytes = of(&[options(HOP_BY_HOP, &[0xc2, 4, 0, 1, 0, 0]), udp()]);
            bytes[4..6].fill(0);
            bytes
        }
        Rule::Scattered | Rule::OptionBytes => {
            with_options(&[4, 1, 7, 5, 2, 0, 0, 4, 1, 3, 4, 1, 3, 4, 1, 2])
        }
        Rule::Headers => of(&[
            empty(HOP_BY_HOP),
            empty(DESTINATION_OPTIONS),
            plain(ROUTING, &[2, 0, 0, 0, 0, 0]),
            fragment(0),
            authentication(),
            empty(DESTINATION_OPTIONS),
            plain(MOBILITY, &[0; 6]),
            plain(HIP, &[0; 38]),
            plain(SHIM6, &[0x80, 0, 0, 0, 0, 0]),
            udp(),
        ]),
        Rule::HeaderBytes => of(&[plain(SHIM6, &[0; 600]), udp()]),
        Rule::Options => with_options(&[4, 1, 7].repeat(9)),
        Rule::Pad1 => with_options(&[0; 200]),
        Rule::PadN => with_options(&[[1, 8].to_vec(), vec![0; 8]].concat()),
        Rule::PadRow => with_options(&[1, 2, 0, 0, 1, 2, 0, 0]),
        Rule::PadContent => with_options(&[1, 4, 0, 0, 7, 0]),
        Rule::UnknownOption => with_options(&[0x1c, 2, 0, 0]),
        Rule::RouterAlert => of(&[options(HOP_BY_HOP, &[5, 2, 0, 0]), udp()]),
        Rule::JumboOption => of(&[options(HOP_BY_HOP, &[0xc2, 4, 0, 1, 0, 0]), udp()]),
        Rule::OldOption => with_options(&[0x8a, 2, 0, 0]),
        Rule::TrialOption => with_options(&[0x1e, 2, 0, 0]),
        Rule::HopByHopPlace => of(&[empty(DESTINATION_OPTIONS), empty(HOP_BY_HOP), udp()]),
        Rule::Repeated => of(&[authentication(), authentication(), udp()]),
        Rule::Order => of(&[authentication(), plain(ROUTING, &[2, 0, 0, 0, 0, 0]), udp()]),
        Rule::FirstFragment => {
            let behind = vec![UDP, 0, 1, 4, 0, 0, 0, 0];
            of(&[fragment(1), (DESTINATION_OPTIONS, behind)])
        }
        Rule::FragmentLength => of(&[fragment(1), datagram(293)]),
        Rule::FragmentEnd => of(&[fragment(0xfff8), rest(16)]),
        Rule::FragmentEmpty => of(&[fragment(0x0800)]),
        Rule::FragmentTiny => of(&[fragment(1), udp()]),
        Rule::FragmentAtomic => of(&[fragment(0), udp()]),
        Rule::Routing0 => routed(0),
        Rule::Routing1 => routed(1),
        Rule::Routing2 => routed(2),
        Rule::Routing3 => routed(3),
        Rule::Routing4 => routed(4),
        Rule::RoutingOther => routed(99),
        Rule::HopByHop => of(&[empty(HOP_BY_HOP), udp()]),
        Rule::DestinationOptions => of(&[empty(DESTINATION_OPTIONS), udp()]),
        Rule::Fragment => of(&[fragment(0x0800), rest(16)]),
        Rule::Authentication => of(&[authentication(), udp()]),
        Rule::Esp => of(&[(ESP, vec![0; 32])]),
        Rule::Mobility => of(&[plain(MOBILITY, &[0; 6])]),
        Rule::Hip => of(&[plain(HIP, &[0; 38])]),
        Rule::Shim6 => of(&[plain(SHIM6, &[0x80, 0, 0, 0, 0, 0]), udp()]),
        Rule::NoNext => of(&[]),
        Rule::Trial => of(&[(253, vec![0; 16])]),
        Rule::Unknown => of(&[(89, vec![0; 16])]),
    }
}
