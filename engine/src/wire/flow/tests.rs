// SPDX-License-Identifier: BSD-2-Clause
//! Against the published vectors, and against a parser that goes by offsets.

use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::vec;
use std::vec::Vec;

/// The key of the published vectors.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0x20, 7]);
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 packet with this fragment field, and with `options` words of options.
fn packet4(
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    fragment: u16,
    options: u8,
) -> Vec<u8> {
    let mut packet = vec![0x45 + options, 0, 0, 0, 0, 0];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(vec![1; usize::from(options) * 4]);
    packet
}

fn packet6(source: [u8; 16], destination: [u8; 16], next: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet.extend(source);
    packet.extend(destination);
    packet
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

fn hash_of(frame: &[u8]) -> (u32, HashKind) {
    let FlowHash { hash, kind } = of_frame(frame, &Toeplitz::new(&KEY), Order::Sent);
    (hash, kind)
}

/// "Verifying the RSS hash calculation": destination and source with their ports, the
/// hash of the addresses, and the hash of all.
#[test]
fn the_published_vectors_of_ipv4() {
    let vectors = [
        (
            "161.142.100.80",
            1766,
            "66.9.149.187",
            2794,
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "65.69.140.83",
            4739,
            "199.92.111.2",
            14230,
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "12.22.207.184",
            38024,
            "24.19.198.95",
            12898,
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "209.142.163.6",
            2217,
            "38.27.205.30",
            48228,
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "202.188.127.2",
            1303,
            "153.39.163.191",
            44251,
            0x5d18_09c5,
            0x10e8_28a2,
        ),
    ];
    for (to, to_port, from, from_port, addresses, all) in vectors {
        let octets = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
        let frame = |protocol: u8, fragment: u16| {
            let mut packet = packet4(octets(from), octets(to), protocol, fragment, 0);
            packet.extend(ports(from_port, to_port));
            ethernet(&[], ethernet::IPV4, &packet)
        };
        assert_eq!(hash_of(&frame(TCP, 0x4000)), (all, HashKind::TcpIpv4));
        assert_eq!(hash_of(&frame(UDP, 0)), (all, HashKind::UdpIpv4));
        assert_eq!(hash_of(&frame(1, 0)), (addresses, HashKind::Ipv4));
        for fragment in [0x2000, 0x2001, 0x0001, 0x1fff] {
            assert_eq!(hash_of(&frame(TCP, fragment)), (addresses, HashKind::Ipv4));
        }
    }
}

#[test]
fn the_published_vectors_of_ipv6() {
    let vectors = [
        (
            "3ffe:2501:200:3::1",
            1766,
            "3ffe:2501:200:1fff::7",
            2794,
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "ff02::1",
            4739,
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "fe80::200:f8ff:fe21:67cf",
            38024,
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];
    for (to, to_port, from, from_port, addresses, all) in vectors {
        let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let frame = |next: u8, extension: &[u8]| {
            let mut packet = packet6(octets(from), octets(to), next);
            packet.extend(extension);
            packet.extend(ports(from_port, to_port));
            ethernet(&[], ethernet::IPV6, &packet)
        };
        assert_eq!(hash_of(&frame(TCP, &[])), (all, HashKind::TcpIpv6));
        assert_eq!(hash_of(&frame(UDP, &[])), (all, HashKind::UdpIpv6));
        assert_eq!(hash_of(&frame(58, &[])), (addresses, HashKind::Ipv6));
        // A fragment, and one that is the whole packet.
        let fragment = |offset: u8| [TCP, 0, 0, offset, 0, 0, 0, 1];
        assert_eq!(
            hash_of(&frame(FRAGMENT, &fragment(1))),
            (addresses, HashKind::Ipv6)
        );
        assert_eq!(
            hash_of(&frame(FRAGMENT, &fragment(8))),
            (addresses, HashKind::Ipv6)
        );
        assert_eq!(
            hash_of(&frame(FRAGMENT, &fragment(0))),
            (all, HashKind::TcpIpv6)
        );
    }
}

#[test]
fn a_hash_that_is_set_is_kept() {
    let hash = Toeplitz::new(&KEY);
    let frame = ethernet(&[], ethernet::IPV4, &packet4([1; 4], [2; 4], 1, 0, 0));
    let set = FlowHash {
        hash: 7,
        kind: HashKind::Opaque,
    };
    assert_eq!(set.or_of(&frame, &hash, Order::Sent), set);
    let unset = FlowHash {
        hash: 7,
        kind: HashKind::None,
    };
    assert_eq!(
        unset.or_of(&frame, &hash, Order::Sent),
        of_frame(&frame, &hash, Order::Sent)
    );
}

#[test]
fn extension_headers_are_bounded() {
    let frame = |count: usize, words: u8| {
        let mut packet = packet6([1; 16], [2; 16], DESTINATION_OPTIONS);
        for n in 0..count {
            let next = if n + 1 == count {
                TCP
            } else {
                DESTINATION_OPTIONS
            };
            packet.extend([next, words]);
            packet.extend(vec![0; usize::from(words) * 8 + 6]);
        }
        packet.extend(ports(1, 2));
        hash_of(&ethernet(&[], ethernet::IPV6, &packet)).1
    };
    assert_eq!(frame(MOST_EXTENSIONS, 0), HashKind::TcpIpv6);
    assert_eq!(frame(MOST_EXTENSIONS + 1, 0), HashKind::Ipv6);
    assert_eq!(
        frame(1, (MOST_EXTENSION_BYTES / 8 - 1) as u8),
        HashKind::TcpIpv6
    );
    assert_eq!(frame(1, (MOST_EXTENSION_BYTES / 8) as u8), HashKind::Ipv6);
}

/// The same by offsets: where the EtherType, the IP header and the ports are.
fn naive(frame: &[u8]) -> Option<(HashKind, Vec<u8>)> {
    let byte = |at: usize| frame.get(at).copied();
    let two = |at: usize| Some(u16::from(byte(at)?) << 8 | u16::from(byte(at + 1)?));
    frame.get(13)?;
    let mut at = 12;
    while at < 12 + 4 * MOST_TAGS
        && [0x8100, 0x88a8, 0x9100].contains(&two(at)?)
        && byte(at + 5).is_some()
    {
        at += 4;
    }
    let ethertype = two(at)?;
    let ip = at + 2;
    let other = || {
        Some((
            HashKind::Opaque,
            [&frame[..12], &ethertype.to_be_bytes()].concat(),
        ))
    };
    let (addresses, found, kinds) = match (ethertype, byte(ip).map(|byte| byte >> 4)) {
        (0x0800, Some(4)) if byte(ip + 19).is_some() && byte(ip)? & 15 >= 5 => {
            let l4 = ip + usize::from(byte(ip)? & 15) * 4;
            let whole = two(ip + 6)? & 0x3fff == 0;
            let kinds = [HashKind::Ipv4, HashKind::TcpIpv4, HashKind::UdpIpv4];
            (
                &frame[ip + 12..ip + 20],
                whole.then_some((byte(ip + 9)?, l4)),
                kinds,
            )
        }
        (0x86dd, Some(6)) if byte(ip + 39).is_some() => {
            let kinds = [HashKind::Ipv6, HashKind::TcpIpv6, HashKind::UdpIpv6];
            (
                &frame[ip + 8..ip + 40],
                naive_transport(frame, ip + 40, byte(ip + 6)?),
                kinds,
            )
        }
        _ => return other(),
    };
    let ports =
        found.filter(|&(protocol, l4)| [6, 17].contains(&protocol) && byte(l4 + 3).is_some());
    Some(match ports {
        None => (kinds[0], addresses.to_vec()),
        Some((protocol, l4)) => {
            let kind = kinds[if protocol == 6 { 1 } else { 2 }];
            (kind, [addresses, &frame[l4..l4 + 4]].concat())
        }
    })
}

/// The protocol behind the extension headers and where it begins, if it is in bounds.
fn naive_transport(frame: &[u8], start: usize, first: u8) -> Option<(u8, usize)> {
    let (mut protocol, mut at, mut count) = (first, start, 0);
    loop {
        let len = || frame.get(at + 1).map(|&len| usize::from(len));
        let bytes = match protocol {
            0 | 43 | 60 => (len()? + 1) * 8,
            51 => (len()? + 2) * 4,
            44 => {
                let fragment = frame.get(at..at + 8)?;
                if fragment[2] != 0 || fragment[3] & 0xf9 != 0 {
                    return None;
                }
                8
            }
            _ => {
                return (count <= MOST_EXTENSIONS && at - start <= MOST_EXTENSION_BYTES)
                    .then_some((protocol, at));
            }
        };
        protocol = *frame.get(at)?;
        (at, count) = (at + bytes, count + 1);
    }
}

/// Frames that mean something, cut short at times.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let protocols = prop::sample::select(vec![
        TCP,
        UDP,
        1,
        58,
        59,
        HOP_BY_HOP,
        ROUTING,
        FRAGMENT,
        AUTHENTICATION,
        DESTINATION_OPTIONS,
    ]);
    let extension = (
        protocols.clone(),
        0u8..4,
        prop::sample::select(vec![0u8, 0, 0, 1, 8, 6]),
    );
    let extensions = prop::collection::vec(extension, 0..11);
    let tags = prop::collection::vec(prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]), 0..6);
    let fragment = prop::sample::select(vec![0u16, 0, 0x4000, 0x2000, 0x2001, 1, 0x8000]);
    let addresses = any::<([u8; 16], [u8; 16])>();
    (
        any::<bool>(),
        tags,
        protocols,
        extensions,
        fragment,
        0u8..4,
        addresses,
        any::<[u8; 4]>(),
        0usize..300,
        any::<bool>(),
    )
        .prop_map(
            |(
                is_ipv6,
                tags,
                first,
                extensions,
                fragment,
                options,
                (source, destination),
                last,
                cut,
                is_cut,
            )| {
                let mut packet = if is_ipv6 {
                    let mut packet = packet6(source, destination, first);
                    for (next, words, offset) in extensions {
                        let mut bytes = vec![0; 8 + 8 * usize::from(words)];
                        (bytes[0], bytes[1], bytes[3]) = (next, words, offset);
                        packet.extend(bytes);
                    }
                    packet
                } else {
                    let four = |bytes: [u8; 16]| *bytes.first_chunk().unwrap();
                    packet4(four(source), four(destination), first, fragment, options)
                };
                packet.extend(last);
                let mut frame = ethernet(&tags, if is_ipv6 { 0x86dd } else { 0x0800 }, &packet);
                if is_cut {
                    frame.truncate(cut);
                }
                frame
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn finds_what_the_naive_parser_finds(frame in frames()) {
        let found = tuple(&frame, Order::Sent).map(|tuple| (tuple.kind(), tuple.bytes().to_vec()));
        prop_assert_eq!(found, naive(&frame));
    }

    #[test]
    fn no_bytes_make_it_panic(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..4) {
        if let (Some(place), 1..) = (frame.get_mut(12..15), kind) {
            place.copy_from_slice(&[[0x81, 0, 0], [0x08, 0, 0x45], [0x86, 0xdd, 0x60]][usize::from(kind) - 1]);
        }
        let found = tuple(&frame, Order::Sent).map(|tuple| (tuple.kind(), tuple.bytes().to_vec()));
        prop_assert_eq!(found, naive(&frame));
    }

    /// The same bytes as in one of both directions, and the same in both.
    #[test]
    fn sorted_hashes_are_symmetric(
        addresses: ([u8; 4], [u8; 4]),
        of_ports: (u16, u16),
        alike: bool,
    ) {
        let (one, other) = if alike { (addresses.0, addresses.0) } else { addresses };
        let frame = |from, to, from_port, to_port| {
            let packet = [packet4(from, to, UDP, 0, 0), ports(from_port, to_port)].concat();
            ethernet(&[], ethernet::IPV4, &packet)
        };
        let there = frame(one, other, of_ports.0, of_ports.1);
        let back = frame(other, one, of_ports.1, of_ports.0);
        let sorted = tuple(&there, Order::Sorted).unwrap();
        prop_assert_eq!(sorted, tuple(&back, Order::Sorted).unwrap());
        let sent = [&there, &back].map(|frame| tuple(frame, Order::Sent).unwrap());
        prop_assert!(sent.contains(&sorted));
    }
}
