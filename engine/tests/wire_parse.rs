// SPDX-License-Identifier: BSD-2-Clause
//! The parser against its naive counterpart, over packets that mean something, over any
//! bytes, and over chains of any shape; and what it may cost.

mod wire_naive;

use proptest::prelude::*;
use std::cell::Cell;
use weft_engine::packet::{Flags, Meta};
use weft_engine::wire::parse::{self, Kinds, Limits, Parsed, Start, Tunnel, Verdict};
use weft_engine::wire::source::{Pieces, Source};
use wire_naive::Seen;

/// Limits that packets reach, and ones that they do not.
fn limits() -> impl Strategy<Value = Limits> {
    (
        0u8..5,
        0u8..10,
        0u16..600,
        0u16..20,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(tags, extensions, extension_bytes, options, tunnels, are_wide)| match are_wide {
                true => Limits {
                    options: 64,
                    ..Limits::with_tunnels()
                },
                false => Limits {
                    tags,
                    extensions,
                    extension_bytes,
                    options,
                    tunnels,
                },
            },
        )
}

/// An option or a piece of one.
fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![0]),
        (0u8..8).prop_map(|len| [vec![1, len], vec![0; len.into()]].concat()),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(kind, data)| [
            vec![kind, data.len() as u8],
            data
        ]
        .concat()),
        prop::collection::vec(any::<u8>(), 0..3),
    ]
}

/// An extension header: its number and its bytes, of which the first is to be filled in.
fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let options = (
        prop::sample::select(vec![0u8, 60, 60]),
        prop::collection::vec(option(), 0..6),
    )
        .prop_map(|(kind, options)| {
            let mut bytes = [vec![0, 0], options.concat()].concat();
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes[1] = (bytes.len() / 8 - 1) as u8;
            (kind, bytes)
        });
    let field = prop::sample::select(vec![0u16, 0, 1, 8, 0x4d8, 0x4d9, 6, 7]);
    let fragment = (field, any::<u32>()).prop_map(|(field, number)| {
        let mut bytes = vec![0, 0];
        bytes.extend(field.to_be_bytes());
        bytes.extend(number.to_be_bytes());
        (44, bytes)
    });
    let other = (
        prop::sample::select(vec![43u8, 135, 139, 140]),
        0u8..4,
        any::<u8>(),
    )
        .prop_map(|(kind, units, fill)| {
            let mut bytes = vec![fill; 8 + 8 * usize::from(units)];
            bytes[1] = units;
            (kind, bytes)
        });
    let authentication = (0u8..5, any::<u8>()).prop_map(|(units, fill)| {
        let mut bytes = vec![fill; 8 + 4 * usize::from(units)];
        bytes[1] = units;
        (51, bytes)
    });
    prop_oneof![options, fragment, other, authentication]
}

/// What follows: its number and its bytes.
fn last() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (
        prop::sample::select(vec![6u8, 17, 136, 132, 1, 58, 59, 50, 47, 4, 41, 253]),
        prop::collection::vec(any::<u8>(), 0..40),
        prop::sample::select(vec![4u8, 5, 5, 8, 15]),
        any::<bool>(),
    )
        .prop_map(|(protocol, mut bytes, words, is_vxlan)| {
            if protocol == 6 && bytes.len() > 12 {
                bytes[12] = words << 4;
            }
            if protocol == 17 && is_vxlan && bytes.len() > 8 {
                bytes[2..4].copy_from_slice(&4789u16.to_be_bytes());
                bytes[8] |= 8;
            }
            (protocol, bytes)
        })
}

/// A packet of IP with its version, around a payload with its number.
fn around(
    payload: impl Strategy<Value = (u8, Vec<u8>)>,
) -> impl Strategy<Value = (Start, Vec<u8>)> {
    (
        any::<bool>(),
        prop::collection::vec(extension(), 0..6),
        payload,
        0u8..4,
        prop::sample::select(vec![0u16, 0, 0x4000, 0x2000, 0x2001, 1, 0x8000]),
        prop::sample::select(vec![0i32, 0, 0, 0, -9, 1, -100]),
    )
        .prop_map(
            |(is_v6, extensions, (last, payload), words, fragment, lie)| {
                let extensions: Vec<_> = extensions
                    .into_iter()
                    .filter(|(kind, _)| is_v6 || *kind == 51)
                    .collect();
                let mut kinds: Vec<u8> = extensions.iter().map(|(kind, _)| *kind).collect();
                kinds.push(last);
                let mut behind = Vec::new();
                for ((_, mut bytes), next) in extensions.into_iter().zip(&kinds[1..]) {
                    bytes[0] = *next;
                    behind.extend(bytes);
                }
                behind.extend(payload);
                let told = |len: usize| (len as i32 + lie).max(0) as u16;
                let mut packet;
                if is_v6 {
                    packet = vec![0x60, 0, 0, 0];
                    packet.extend(told(behind.len()).to_be_bytes());
                    packet.extend([kinds[0], 64]);
                    packet.extend([7; 32]);
                } else {
                    packet = vec![0x45 + words, 0];
                    packet.extend(told(20 + 4 * usize::from(words) + behind.len()).to_be_bytes());
                    packet.extend([0, 1]);
                    packet.extend(fragment.to_be_bytes());
                    packet.extend([64, kinds[0], 0, 0]);
                    packet.extend([9; 8]);
                    packet.extend(vec![1; 4 * usize::from(words)]);
                }
                packet.extend(behind);
                (if is_v6 { Start::Ipv6 } else { Start::Ipv4 }, packet)
            },
        )
}

/// A frame around a packet.
fn framed(tags: &[u16], (start, packet): &(Start, Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (n, tag) in tags.iter().enumerate() {
        frame.extend(tag.to_be_bytes());
        frame.extend([0x20, n as u8]);
    }
    let ethertype = match start {
        Start::Ipv4 => [0x08, 0x00],
        _ => [0x86, 0xdd],
    };
    frame.extend(ethertype);
    frame.extend(packet);
    frame
}

/// A packet in a tunnel: the number and the bytes of what the outer one carries.
fn tunnelled() -> impl Strategy<Value = (u8, Vec<u8>)> {
    (around(last()), 0u8..4, 0u8..16).prop_map(|(inner, kind, flags)| {
        let is_v4 = inner.0 == Start::Ipv4;
        match kind {
            0 => (if is_v4 { 4 } else { 41 }, inner.1),
            1 => {
                let mut bytes = vec![0x12, 0x34, 0x12, 0xb5, 0, 0, 0, 0];
                bytes.extend([8, 0, 0, 0, 0, 0, 1, 0]);
                bytes.extend(framed(&[], &inner));
                (17, bytes)
            }
            _ => {
                let mut bytes = vec![flags << 4, 0];
                bytes.extend(match (kind, is_v4) {
                    (2, _) => [0x65, 0x58],
                    (_, true) => [0x08, 0x00],
                    _ => [0x86, 0xdd],
                });
                let fields = (flags & 8 != 0) as usize + (flags & 2 != 0) as usize;
                bytes.extend(vec![0; 4 * (fields + (flags & 1) as usize)]);
                bytes.extend(match kind {
                    2 => framed(&[0x8100], &inner),
                    _ => inner.1,
                });
                (47, bytes)
            }
        }
    })
}

/// Frames and packets that mean something, cut short at times, with a byte changed at
/// times.
fn packets() -> impl Strategy<Value = (Start, Vec<u8>)> {
    let payload = prop_oneof![2 => last(), 1 => tunnelled()];
    let tags = prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]);
    (
        around(payload),
        prop::option::of(prop::collection::vec(tags, 0..6)),
        prop::sample::select(vec![0usize, 0, 0, 1, 2]),
        any::<(u16, u16, u8)>(),
    )
        .prop_map(|(packet, tags, fault, (cut, place, byte))| {
            let (start, mut bytes) = match tags {
                Some(tags) => (Start::Ethernet, framed(&tags, &packet)),
                None => packet,
            };
            match fault {
                1 => bytes.truncate(usize::from(cut) % (bytes.len() + 1)),
                2 => {
                    let place = usize::from(place) % bytes.len();
                    bytes[place] = byte;
                }
                _ => {}
            }
            (start, bytes)
        })
}

/// The same bytes, cut at these places.
fn cut_up<'b>(mut bytes: &'b [u8], cuts: &[u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for &cut in cuts {
        let (piece, rest) = bytes.split_at(usize::from(cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

fn agree(start: Start, bytes: &[u8], cuts: &[u8], limits: Limits) -> Result<Parsed, TestCaseError> {
    let (expected, expected_seen) = wire_naive::parse(bytes, start, limits);
    let mut seen = Seen::default();
    let whole = parse::visit(bytes, bytes.len(), start, &limits, &mut seen);
    prop_assert_eq!(whole, expected);
    prop_assert_eq!(&seen, &expected_seen);
    let pieces = cut_up(bytes, cuts);
    let mut seen = Seen::default();
    let source = Pieces::new(pieces.iter().copied(), u16::MAX);
    let scattered = parse::visit(source, bytes.len(), start, &limits, &mut seen);
    prop_assert_eq!(scattered, expected);
    prop_assert_eq!(&seen, &expected_seen);
    Ok(whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    #[test]
    fn finds_what_the_naive_parser_finds(
        (start, bytes) in packets(),
        cuts in prop::collection::vec(0u8..30, 0..40),
        limits in limits(),
    ) {
        let found = agree(start, &bytes, &cuts, limits)?;
        // Who does not look at options finds the same, but for faults in them.
        let unseen = parse::parse(&bytes[..], bytes.len(), start, &limits);
        if found.verdict != Verdict::TooManyOptions && found.verdict != Verdict::Length {
            prop_assert_eq!(unseen, found);
        }
    }

    #[test]
    fn finds_it_in_any_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..160),
        first in 0u8..4,
        cuts in prop::collection::vec(0u8..9, 0..30),
        limits in limits(),
    ) {
        let start = match first {
            0 | 1 => Start::Ethernet,
            2 => Start::Ipv4,
            _ => Start::Ipv6,
        };
        if let (Some(place), 1) = (bytes.get_mut(12..15), first) {
            place.copy_from_slice(&[0x86, 0xdd, 0x60]);
        }
        agree(start, &bytes, &cuts, limits)?;
    }

    /// Offsets are in the packet and in order.
    #[test]
    fn offsets_are_in_order((start, bytes) in packets(), limits in limits()) {
        let found = parse::parse(&bytes[..], bytes.len(), start, &limits);
        for layer in [found.outer, found.inner] {
            if layer.kinds.is_empty() {
                continue;
            }
            prop_assert!(layer.end as usize <= bytes.len());
            if layer.l4 != 0 && !found.verdict.is_fault() {
                prop_assert!(layer.l3 < layer.l4 && u32::from(layer.l4) <= layer.end);
            }
            if layer.payload != 0 {
                prop_assert!(layer.l4 <= layer.payload && u32::from(layer.payload) <= layer.end);
            }
        }
    }
}

/// Bytes that count how often they are read.
struct Counted<'c>(&'c [u8], &'c Cell<usize>);

impl Source for Counted<'_> {
    fn read<const N: usize>(&mut self, at: usize) -> Option<[u8; N]> {
        self.1.set(self.1.get() + 1);
        self.0.read(at)
    }
}

/// Nothing that one could send takes more reads than the documentation says.
#[test]
fn what_a_packet_may_cost() {
    let chain = |count: usize, next: u8| {
        let mut bytes = Vec::new();
        for n in 0..count {
            bytes.extend([if n + 1 == count { next } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        bytes
    };
    let packet = |count: usize, next: u8, payload: &[u8]| {
        let behind = [&chain(count, next)[..], payload].concat();
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((behind.len() as u16).to_be_bytes());
        packet.extend([60, 64]);
        packet.extend([1; 32]);
        packet.extend(behind);
        (Start::Ipv6, packet)
    };
    let tcp = [&[0; 12][..], &[0x50], &[0; 30]].concat();
    let inner = framed(&[0x8100; 4], &packet(8, 6, &tcp));
    let vxlan = [
        &[0, 0, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0][..],
        &inner,
    ]
    .concat();
    let outer = framed(&[0x88a8; 4], &packet(8, 17, &vxlan));
    let mut cost = [0, 0];
    for (cost, limits) in cost
        .iter_mut()
        .zip([Limits::of_front(), Limits::with_tunnels()])
    {
        let count = Cell::new(0);
        let found = parse::parse(
            Counted(&outer, &count),
            outer.len(),
            Start::Ethernet,
            &limits,
        );
        assert_eq!(found.verdict, Verdict::Whole);
        *cost = count.get();
    }
    assert_eq!(cost, [15, 31]);
    let found = parse::parse(
        &outer[..],
        outer.len(),
        Start::Ethernet,
        &Limits::with_tunnels(),
    );
    assert_eq!((found.tunnel, found.tags), (Tunnel::Vxlan, 4));
    assert_eq!(usize::from(found.inner.payload), outer.len() - 23);
    // One more of anything is too many.
    let longer = framed(&[], &packet(9, 6, &tcp));
    let verdict = |frame: &[u8]| {
        parse::parse(frame, frame.len(), Start::Ethernet, &Limits::of_front()).verdict
    };
    assert_eq!(verdict(&longer), Verdict::TooMany);
    assert_eq!(
        verdict(&framed(&[0x8100; 5], &packet(0, 6, &tcp))),
        Verdict::TooMany
    );
}

/// What is behind the front that is at hand is missing, not read.
#[test]
fn a_front_is_enough_for_what_is_in_it() {
    let mut packet = vec![0x60, 0, 0, 0, 0, 200, 17, 64];
    packet.extend([1; 32]);
    packet.extend([1; 200]);
    for front in 0..packet.len() {
        let found = parse::parse(&packet[..front], 240, Start::Ipv6, &Limits::of_front());
        let expected = if front < 48 {
            Verdict::Truncated
        } else {
            Verdict::Whole
        };
        assert_eq!(found.verdict, expected);
        assert_eq!(found.outer.kinds.contains(Kinds::IPV6), front >= 40);
    }
}

/// What is kept beside a packet's bytes.
#[test]
fn what_was_found_rides_along() {
    let tcp = [&[0; 12][..], &[0x50], &[0; 30]].concat();
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 44, 64];
    packet.extend([1; 32]);
    packet.extend([6, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend(&tcp);
    packet[5] = (packet.len() - 40) as u8;
    let frame = framed(&[0x8100], &(Start::Ipv6, packet));
    let found = parse::parse(
        &frame[..],
        frame.len(),
        Start::Ethernet,
        &Limits::of_front(),
    );
    let mut meta = Meta {
        flags: Flags::VLAN | Flags::FRAGMENT,
        ..Meta::default()
    };
    found.note(&mut meta);
    assert_eq!((meta.l2, meta.l3, meta.l4, meta.payload), (0, 18, 66, 86));
    assert_eq!(meta.protocol, 6);
    let flags = Flags::VLAN | Flags::PARSED | Flags::FRAGMENT | Flags::IPV6;
    assert_eq!(meta.flags, flags);
    // Nothing is said of what could not be parsed.
    let found = parse::parse(&frame[..50], 50, Start::Ethernet, &Limits::of_front());
    found.note(&mut meta);
    assert_eq!(meta.flags, Flags::VLAN);
}
