// SPDX-License-Identifier: BSD-2-Clause
//! Checksums: of one piece at an even and an odd address, of chains, and CRC32c.
//!
//! Ours goes over a list of pieces, as it goes over mbufs in the kernel. FreeBSD's goes over
//! mbufs. Crates are given one piece after the other; etherparse, which cannot go on behind an
//! odd one, races over a single one, as ours then does.

use super::peers::{Loaded, Packet};
use super::{Race, What, noise};
use etherparse::checksum::Sum16BitWords;
use std::hint::black_box;
use weft_engine::wire::checksum::{self, Sum};
use weft_engine::wire::crc32c::{Crc, Method};

const SIZES: [usize; 12] = [20, 40, 64, 128, 256, 552, 576, 1024, 1460, 1500, 4096, 9000];

/// A packet: bytes a piece, and how far from a cache line's start.
const SHAPES: [(&str, Option<usize>, usize); 4] = [
    ("in one piece", None, 0),
    ("at an odd address", None, 1),
    ("in pieces of 576", Some(576), 0),
    ("in pieces of 101", Some(101), 0),
];

#[inline(never)]
fn ours(pieces: &[&[u8]]) -> u16 {
    let mut sum = Sum::new();
    for piece in pieces {
        sum.add(piece);
    }
    sum.checksum()
}

#[inline(never)]
fn ours_of_one(piece: &[u8]) -> u16 {
    checksum::of(piece)
}

#[inline(never)]
fn internet_checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = internet_checksum::Checksum::new();
    for piece in pieces {
        sum.add_bytes(piece);
    }
    u16::from_be_bytes(sum.checksum())
}

#[inline(never)]
fn etherparse(piece: &[u8]) -> u16 {
    let sum = Sum16BitWords::new().add_slice(piece).ones_complement();
    u16::from_be(sum)
}

pub(super) fn race(race: &mut Race<'_>, loaded: &[Loaded]) {
    let bytes = noise(9_100);
    let line = bytes.as_ptr().align_offset(64);
    for (shape, piece, from) in SHAPES {
        for size in SIZES {
            if piece.is_some_and(|piece| piece >= size) {
                continue;
            }
            let whole = &bytes[line + from..line + from + size];
            let pieces: Vec<&[u8]> = whole.chunks(piece.unwrap_or(size)).collect();
            one(race, loaded, &pieces, (shape, size));
        }
    }
    crcs(race, &bytes);
}

fn one(
    race: &mut Race<'_>,
    loaded: &[Loaded],
    pieces: &[&[u8]],
    (shape, size): (&'static str, usize),
) {
    let what = || What {
        work: format!("checksum of {size} bytes {shape}"),
        experiment: "sum",
        shape,
    };
    let mut us = || u64::from(ours(black_box(pieces)));
    let expected = ours(pieces);
    for peer in loaded {
        let packet = Packet::new(peer, pieces);
        assert_eq!(
            packet.sum(),
            expected,
            "{} of {size} bytes {shape}",
            peer.name
        );
        let packet = black_box(&packet);
        let names = (peer.name.as_str(), peer.version.as_str());
        race.pair("P8", what(), size, &mut us, names, &mut || {
            u64::from(packet.sum())
        });
    }
    assert_eq!(internet_checksum(pieces), expected);
    let names = ("internet-checksum", "0.2.1");
    race.pair("P8", what(), size, &mut us, names, &mut || {
        u64::from(internet_checksum(black_box(pieces)))
    });
    if let [piece] = pieces {
        assert_eq!(etherparse(piece), expected);
        let names = ("etherparse", "0.20.3");
        let mut us = || u64::from(ours_of_one(black_box(piece)));
        race.pair("P8", what(), size, &mut us, names, &mut || {
            u64::from(etherparse(black_box(piece)))
        });
    }
}

/// By the instruction and by tables.
fn crcs(race: &mut Race<'_>, bytes: &[u8]) {
    let of = |bytes: &[u8], method| {
        let mut crc = Crc::new(method);
        crc.add(bytes);
        crc.value()
    };
    for size in [64, 576, 1460, 9000] {
        let bytes = &bytes[..size];
        let best = Method::of_this_processor();
        assert_eq!(of(bytes, best), of(bytes, Method::TABLES));
        let what = What {
            work: format!("CRC32c of {size} bytes in one piece"),
            experiment: "crc",
            shape: "in one piece",
        };
        race.pair(
            "P8",
            what,
            size,
            &mut || u64::from(of(black_box(bytes), best)),
            ("our tables", env!("CARGO_PKG_VERSION")),
            &mut || u64::from(of(black_box(bytes), Method::TABLES)),
        );
    }
}
