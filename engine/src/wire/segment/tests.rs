// SPDX-License-Identifier: BSD-2-Clause
//! Frames that were cut are put together again by a receiver that knows nothing of the
//! cutting, and checks every checksum, length, number and flag.

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// What a long frame is made of.
#[derive(Clone, Debug)]
struct Long {
    tags: Vec<u16>,
    /// Words of options, if this is IPv4; else lengths of extension headers in units of 8.
    network: Result<u8, Vec<u8>>,
    identification: u16,
    sequence: u32,
    /// Words of options of TCP.
    options: u8,
    flags: u8,
    payload: Vec<u8>,
    padding: usize,
}

fn a_long() -> impl Strategy<Value = Long> {
    let network = prop_oneof![
        (0u8..=10).prop_map(Ok),
        prop::collection::vec(0u8..6, 0..4).prop_map(Err)
    ];
    let tags = prop::collection::vec(prop_oneof![Just(0x8100), Just(0x88a8)], 0..3);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..200),
        (1usize..60_000, any::<u8>()).prop_map(|(len, seed)| pattern(len, seed)),
    ];
    let numbers = (any::<u16>(), any::<u32>(), 0u8..=10, any::<u8>());
    (tags, network, numbers, payload, 0usize..8).prop_map(
        |(tags, network, (identification, sequence, options, flags), payload, padding)| Long {
            tags,
            network,
            identification,
            sequence,
            options,
            flags,
            payload,
            padding,
        },
    )
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte = |at: usize| (at as u8).wrapping_mul(31).wrapping_add(seed);
    (0..len).map(byte).collect()
}

impl Long {
    fn frame(&self) -> Vec<u8> {
        let mut tcp = vec![0x12, 0x34, 0, 80];
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend([
            9,
            9,
            9,
            9,
            (5 + self.options) << 4,
            self.flags,
            2,
            0,
            0,
            0,
            0,
            0,
        ]);
        tcp.extend(vec![1; usize::from(self.options) * 4]);
        tcp.extend(&self.payload);
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0x20, 7]);
        }
        match &self.network {
            Ok(words) => {
                let len = 20 + usize::from(*words) * 4 + tcp.len();
                frame.extend([8, 0, 0x45 + words, 0]);
                frame.extend((len as u16).to_be_bytes());
                frame.extend(self.identification.to_be_bytes());
                frame.extend([0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
                frame.extend(vec![1; usize::from(*words) * 4]);
            }
            Err(extensions) => {
                let bytes: usize = extensions.iter().map(|&len| usize::from(len) * 8 + 8).sum();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(((bytes + tcp.len()) as u16).to_be_bytes());
                let kinds = [0, 60, 60, 60, 6];
                let kinds = &kinds[..extensions.len()];
                let mut next: Vec<u8> = kinds.to_vec();
                next.push(6);
                frame.extend([next[0], 64]);
                frame.extend([0xfd; 16]);
                frame.extend([0xfe; 16]);
                for (len, next) in extensions.iter().zip(&next[1..]) {
                    frame.extend([*next, *len]);
                    frame.extend(vec![0; usize::from(*len) * 8 + 6]);
                }
            }
        }
        frame.extend(tcp);
        frame.extend(vec![0; self.padding]);
        frame
    }

    /// Bytes in front of the network header, of that, and of TCP's.
    fn lens(&self) -> [usize; 3] {
        let network = match &self.network {
            Ok(words) => 20 + usize::from(*words) * 4,
            Err(extensions) => {
                40 + extensions
                    .iter()
                    .map(|&len| usize::from(len) * 8 + 8)
                    .sum::<usize>()
            }
        };
        let tcp = 20 + usize::from(self.options) * 4;
        [14 + self.tags.len() * 4, network, tcp]
    }
}

/// The frames that are cut from a long one.
fn cut(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let cut = Cut::of(&frame[..frame.len().min(MOST_HEADERS)], frame.len(), size).unwrap();
    (0..cut.count())
        .map(|n| {
            let mut part = frame[..cut.headers()].to_vec();
            cut.write(n, &mut part);
            part.extend(&frame[cut.payload(n)]);
            part
        })
        .collect()
}

/// The one's complement sum of words, a byte at a time.
fn sum(bytes: impl IntoIterator<Item = u8>) -> u16 {
    let mut sum = 0u16;
    for (at, byte) in bytes.into_iter().enumerate() {
        let word = u16::from(byte) << if at % 2 == 0 { 8 } else { 0 };
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    sum
}

/// Checks a frame as its receiver would, and gives its payload.
fn received<'f>(long: &Long, frame: &'f [u8], n: usize, count: usize) -> &'f [u8] {
    let [link, network, tcp] = long.lens();
    let packet = &frame[link..];
    let (header, segment) = packet.split_at(network);
    let addresses = match long.network {
        Ok(_) => {
            assert_eq!(sum(header.iter().copied()), 0xffff, "IPv4 checksum");
            assert_eq!(usize::from(word(header, 2)), packet.len());
            let identification = long.identification.wrapping_add(n as u16);
            assert_eq!(word(header, 4), identification);
            &header[12..20]
        }
        Err(_) => {
            assert_eq!(usize::from(word(header, 4)) + 40, packet.len());
            &header[8..40]
        }
    };
    // The checksum's field has the pseudo-header's sum: what a network card does.
    let own = addresses.iter().copied();
    let len = (segment.len() as u32).to_be_bytes();
    let own = own.chain(len).chain([0, 6]);
    assert_eq!(word(segment, 16), sum(own), "pseudo-header");
    let mut flags = long.flags;
    if n + 1 < count {
        flags &= !0x09;
    }
    if n > 0 {
        flags &= !0x80;
    }
    assert_eq!(segment[13], flags);
    &segment[tcp..]
}

proptest! {
    #[test]
    fn parts_make_the_whole_again(long in a_long(), size in 1usize..9000) {
        // Not too many frames for a test.
        let size = size.max(long.payload.len() / 200);
        let frame = long.frame();
        let parts = cut(&frame, size);
        let mut payload: Vec<u8> = vec![];
        for (n, part) in parts.iter().enumerate() {
            let [link, network, _] = long.lens();
            let sequence = super::long(part, link + network + 4);
            prop_assert_eq!(sequence, long.sequence.wrapping_add(payload.len() as u32));
            let bytes = received(&long, part, n, parts.len());
            prop_assert!(n + 1 == parts.len() || bytes.len() == size);
            payload.extend(bytes);
        }
        prop_assert_eq!(payload, long.payload);
    }

    #[test]
    fn any_bytes_are_cut_inside_or_not_at_all(
        long in a_long(),
        changes in prop::collection::vec((0usize..120, any::<u8>()), 0..6),
        shown in 0usize..200,
        size in 0usize..3000,
    ) {
        let mut frame = long.frame();
        for (at, byte) in changes {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        let header = &frame[..shown.min(frame.len())];
        if let Some(cut) = Cut::of(header, frame.len(), size) {
            prop_assert!(cut.headers() <= header.len());
            prop_assert!(cut.headers() <= MOST_HEADERS);
            prop_assert!(cut.destination(header).is_some());
            let ends: Vec<_> = (0..cut.count()).map(|n| cut.payload(n)).collect();
            prop_assert_eq!(ends[0].start, cut.headers());
            prop_assert!(ends.windows(2).all(|two| two[0].end == two[1].start));
            prop_assert!(ends.iter().all(|part| !part.is_empty() && part.end <= frame.len()));
            prop_assert!(cut.payload(cut.count()).is_empty());
            let mut copy = header.to_vec();
            cut.write(cut.count() - 1, &mut copy);
        }
    }

    #[test]
    fn a_frame_says_where_it_goes(long in a_long()) {
        let frame = long.frame();
        let cut = Cut::of(&frame, frame.len(), 1448).unwrap();
        let expected = match long.network {
            Ok(_) => Destination::V4([10, 0, 0, 2]),
            Err(_) => Destination::V6([0xfe; 16]),
        };
        prop_assert_eq!(cut.destination(&frame), Some(expected));
    }
}

/// A frame over IPv4 without options, and where its network header begins.
fn plain() -> (Vec<u8>, usize) {
    let long = Long {
        tags: vec![],
        network: Ok(0),
        identification: 1,
        sequence: 7,
        options: 0,
        flags: 0x10,
        payload: pattern(3000, 3),
        padding: 0,
    };
    (long.frame(), 14)
}

#[test]
fn what_is_not_to_be_cut_is_refused() {
    let (frame, network) = plain();
    assert!(Cut::of(&frame, frame.len(), 1448).is_some());
    assert_eq!(Cut::of(&frame, frame.len(), 0), None, "no size");
    assert_eq!(Cut::of(&frame, frame.len() - 1, 1448), None, "too short");
    let changed = |at: usize, byte: u8| {
        let mut frame = frame.clone();
        frame[at] = byte;
        Cut::of(&frame, frame.len(), 1448)
    };
    assert_eq!(changed(network + 9, 17), None, "UDP");
    assert_eq!(changed(network + 6, 0x20), None, "a fragment");
    assert_eq!(changed(network + 7, 1), None, "a later fragment");
    assert_eq!(changed(network, 0x44), None, "a short header");
    assert_eq!(changed(network + 20 + 12, 0x40), None, "a short TCP header");
    assert_eq!(changed(12, 0x99), None, "neither IPv4 nor IPv6");
}

#[test]
fn a_routing_header_is_not_cut() {
    let long = Long {
        tags: vec![],
        network: Err(vec![1]),
        identification: 0,
        sequence: 0,
        options: 0,
        flags: 0,
        payload: pattern(3000, 1),
        padding: 0,
    };
    let mut frame = long.frame();
    assert!(Cut::of(&frame, frame.len(), 1440).is_some());
    frame[14 + 6] = 43;
    assert_eq!(Cut::of(&frame, frame.len(), 1440), None);
}
