// SPDX-License-Identifier: BSD-2-Clause
//! Frames for the tests of segmentation, aggregation and checksums, made in the plainest
//! way: all of one from its description, every sum a byte at a time. So the n-th frame that
//! a cut must make is simply made, and not cut.
//!
//! Steps are chosen by `arbitrary`, so that a fuzzer can choose them as well.

#![allow(dead_code)]

use arbitrary::{Arbitrary, Result, Unstructured};
use std::ops::Range;
use weft_engine::wire::aggregate::Frame;
use weft_engine::wire::complete::Spans;
use weft_engine::wire::offload::Outgoing;

/// The one's complement sum of words, a byte at a time, adding each carry as it arises.
pub(crate) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    for (at, &byte) in bytes.iter().enumerate() {
        let word = u16::from(byte) << if at % 2 == 0 { 8 } else { 0 };
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    sum
}

/// CRC32c bit by bit.
pub(crate) fn naive_crc(bytes: &[u8]) -> u32 {
    let mut state = !0u32;
    for byte in bytes {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0x82f6_3b78 & (state & 1).wrapping_neg());
        }
    }
    !state
}

/// What is in checksums of layer 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sums {
    /// They are whole.
    Whole,
    /// The sum of the pseudo-header, or 0 where there is none.
    Pseudo,
}

#[derive(Clone, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) enum Network {
    /// With so many words of options, up to 10.
    V4 {
        options: u8,
        identification: u16,
        fixed: bool,
    },
    /// With extension headers of so many units of eight bytes more than one.
    V6 { extensions: Vec<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) enum Carrier {
    Ip,
    Vxlan {
        summed: bool,
    },
    Gre {
        summed: bool,
        keyed: bool,
        bridged: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) enum Transport {
    Tcp {
        sequence: u32,
        /// Words of options, up to 10.
        options: u8,
        flags: u8,
        window: u16,
    },
    Udp {
        summed: bool,
    },
}

/// What a frame is, but for its payload.
#[derive(Clone, Debug, PartialEq, Eq, Arbitrary)]
pub(crate) struct Shape {
    pub(crate) tags: Vec<u8>,
    pub(crate) outer: Option<(Network, Carrier)>,
    pub(crate) network: Network,
    pub(crate) transport: Transport,
    /// Ports, so that flows differ.
    pub(crate) flow: u8,
}

/// What of a long frame one has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) n: usize,
    pub(crate) gone: usize,
    pub(crate) is_last: bool,
    pub(crate) sums: Sums,
}

impl Piece {
    /// All of it.
    pub(crate) fn all(sums: Sums) -> Self {
        Self {
            n: 0,
            gone: 0,
            is_last: true,
            sums,
        }
    }
}

impl Network {
    fn tamed(&mut self) {
        match self {
            Self::V4 { options, .. } => *options %= 11,
            Self::V6 { extensions } => {
                extensions.truncate(3);
                for len in extensions {
                    *len %= 5;
                }
            }
        }
    }

    /// Bytes of the headers.
    fn len(&self) -> usize {
        match self {
            Self::V4 { options, .. } => 20 + usize::from(*options) * 4,
            Self::V6 { extensions } => {
                40 + extensions
                    .iter()
                    .map(|&len| usize::from(len) * 8 + 8)
                    .sum::<usize>()
            }
        }
    }

    fn protocol(&self) -> (u8, u16) {
        match self {
            Self::V4 { .. } => (4, 0x0800),
            Self::V6 { .. } => (41, 0x86dd),
        }
    }

    /// The addresses behind one another.
    fn addresses(&self, host: u8) -> Vec<u8> {
        match self {
            Self::V4 { .. } => vec![10, 0, 0, host, 10, 0, 1, host],
            Self::V6 { .. } => {
                let mut both = vec![0xfd; 16];
                both.extend([0xfe; 15]);
                both.push(host);
                both
            }
        }
    }

    fn pseudo(&self, host: u8, protocol: u8, len: usize) -> Vec<u8> {
        let mut bytes = self.addresses(host);
        bytes.extend((len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        bytes
    }

    /// The headers in front of `behind`.
    fn headers(&self, host: u8, protocol: u8, behind: usize, n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::V4 {
                options,
                identification,
                fixed,
            } => {
                let identification = match fixed {
                    true => *identification,
                    false => identification.wrapping_add(n as u16),
                };
                bytes.extend([0x45 + options, 0]);
                bytes.extend(((self.len() + behind) as u16).to_be_bytes());
                bytes.extend(identification.to_be_bytes());
                bytes.extend([0x40, 0, 64, protocol, 0, 0]);
                bytes.extend(self.addresses(host));
                bytes.extend(vec![1; usize::from(*options) * 4]);
                let sum = !naive_sum(&bytes);
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            Self::V6 { extensions } => {
                let mut kinds = [0, 60, 60][..extensions.len()].to_vec();
                kinds.push(protocol);
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(((self.len() - 40 + behind) as u16).to_be_bytes());
                bytes.extend([kinds[0], 64]);
                bytes.extend(self.addresses(host));
                for (len, next) in extensions.iter().zip(&kinds[1..]) {
                    bytes.extend([*next, *len]);
                    // PadN.
                    let pad = usize::from(*len) * 8 + 4;
                    bytes.extend([1, pad as u8]);
                    bytes.extend(vec![0; pad]);
                }
            }
        }
        bytes
    }
}

/// Puts a sum over a pseudo-header and all that was made into a field.
fn put_sum(bytes: &mut [u8], at: usize, pseudo: &[u8], sums: Sums, is_udp: bool) {
    let sum = match sums {
        Sums::Pseudo => naive_sum(pseudo),
        Sums::Whole => match !naive_sum(&[pseudo, bytes].concat()) {
            0 if is_udp => 0xffff,
            sum => sum,
        },
    };
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

impl Shape {
    /// Any shape that can be cut.
    pub(crate) fn any(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut shape = Self::arbitrary(u)?;
        shape.tags.truncate(2);
        shape.network.tamed();
        if let Some((network, _)) = &mut shape.outer {
            network.tamed();
        }
        if let Transport::Tcp { options, flags, .. } = &mut shape.transport {
            *options %= 11;
            *flags &= 0xdf;
        }
        Ok(shape)
    }

    /// Bytes in front of the payload.
    pub(crate) fn headers(&self) -> usize {
        self.frame(&[], Piece::all(Sums::Pseudo)).len()
    }

    /// The frame.
    pub(crate) fn frame(&self, payload: &[u8], piece: Piece) -> Vec<u8> {
        let (protocol, layer4) = self.layer4(payload, piece);
        let mut packet = self
            .network
            .headers(self.flow, protocol, layer4.len(), piece.n);
        packet.extend(layer4);
        let (_, mut ethertype) = self.network.protocol();
        if let Some((network, carrier)) = &self.outer {
            packet = self.wrapped(network, *carrier, &packet, piece);
            (_, ethertype) = network.protocol();
        }
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend([0x81, 0, 0x20, *tag]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn layer4(&self, payload: &[u8], piece: Piece) -> (u8, Vec<u8>) {
        let mut bytes = vec![0x12, self.flow, 0, 80];
        match &self.transport {
            Transport::Tcp {
                sequence,
                options,
                flags,
                window,
            } => {
                let mut flags = *flags;
                if !piece.is_last {
                    flags &= !0x09;
                }
                if piece.n > 0 {
                    flags &= !0x80;
                }
                bytes.extend(sequence.wrapping_add(piece.gone as u32).to_be_bytes());
                bytes.extend([9, 9, 9, 9, (5 + options) << 4, flags]);
                bytes.extend(window.to_be_bytes());
                bytes.extend([0, 0, 0, 0]);
                bytes.extend(vec![1; usize::from(*options) * 4]);
                bytes.extend(payload);
                let pseudo = self.network.pseudo(self.flow, 6, bytes.len());
                put_sum(&mut bytes, 16, &pseudo, piece.sums, false);
                (6, bytes)
            }
            Transport::Udp { summed } => {
                bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(payload);
                if *summed {
                    let pseudo = self.network.pseudo(self.flow, 17, bytes.len());
                    put_sum(&mut bytes, 6, &pseudo, piece.sums, true);
                }
                (17, bytes)
            }
        }
    }

    fn wrapped(&self, outer: &Network, carrier: Carrier, inner: &[u8], piece: Piece) -> Vec<u8> {
        let (number, ethertype) = self.network.protocol();
        let ethernet = [&[4; 12][..], &ethertype.to_be_bytes()].concat();
        let (protocol, between) = match carrier {
            Carrier::Ip => (number, inner.to_vec()),
            Carrier::Vxlan { summed } => {
                let len = 8 + 8 + ethernet.len() + inner.len();
                let mut bytes = vec![0xc0, 0, 0x12, 0xb5];
                bytes.extend((len as u16).to_be_bytes());
                bytes.extend([0, 0, 8, 0, 0, 0, 0, 0, 7, 0]);
                bytes.extend(&ethernet);
                bytes.extend(inner);
                if summed {
                    let pseudo = outer.pseudo(200, 17, len);
                    put_sum(&mut bytes, 6, &pseudo, piece.sums, true);
                }
                (17, bytes)
            }
            Carrier::Gre {
                summed,
                keyed,
                bridged,
            } => {
                let mut bytes = vec![(u8::from(summed) << 7) | (u8::from(keyed) << 5), 0];
                let carried = if bridged { 0x6558 } else { ethertype };
                bytes.extend(carried.to_be_bytes());
                if summed {
                    bytes.extend([0; 4]);
                }
                if keyed {
                    bytes.extend([1, 2, 3, 4]);
                }
                if bridged {
                    bytes.extend(&ethernet);
                }
                bytes.extend(inner);
                if summed && piece.sums == Sums::Whole {
                    put_sum(&mut bytes, 4, &[], Sums::Whole, false);
                }
                (47, bytes)
            }
        };
        let mut packet = outer.headers(200, protocol, between.len(), piece.n);
        packet.extend(between);
        packet
    }

    /// The frames of a long one, each made by itself.
    pub(crate) fn frames(&self, payload: &[u8], size: usize, sums: Sums) -> Vec<Vec<u8>> {
        let count = payload.len().div_ceil(size);
        let part = |(n, part): (usize, &[u8])| {
            let piece = Piece {
                n,
                gone: n * size,
                is_last: n + 1 == count,
                sums,
            };
            self.frame(part, piece)
        };
        payload.chunks(size).enumerate().map(part).collect()
    }
}

/// A frame in pieces.
#[derive(Clone, Debug)]
pub(crate) struct Scattered {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) is_checked: bool,
    /// Nothing can be joined to it.
    pub(crate) refuses: bool,
}

impl Scattered {
    /// The bytes, cut anywhere.
    pub(crate) fn any(bytes: &[u8], u: &mut Unstructured<'_>) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        for _ in 0..u.int_in_range(0..=5)? {
            let (piece, behind) = rest.split_at(u.int_in_range(0..=rest.len().min(300))?);
            pieces.push(piece.to_vec());
            rest = behind;
        }
        pieces.push(rest.to_vec());
        Ok(Self {
            pieces,
            is_checked: false,
            refuses: u.ratio(1, 16)?,
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl Spans for Scattered {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        let pieces: Vec<&[u8]> = self.pieces.iter().map(Vec::as_slice).collect();
        pieces[..].walk(range, see);
    }
}

impl Frame for Scattered {
    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    fn is_checked(&self) -> bool {
        self.is_checked
    }

    fn join(&mut self, other: Self, payload: Range<usize>) -> std::result::Result<(), Self> {
        if self.refuses {
            return Err(other);
        }
        other.walk(payload, &mut |piece| self.pieces.push(piece.to_vec()));
        Ok(())
    }

    fn replace_front(&mut self, front: &[u8]) -> bool {
        let mut bytes = self.bytes();
        bytes[..front.len()].copy_from_slice(front);
        self.pieces = vec![bytes];
        true
    }
}

impl Outgoing for Scattered {
    fn len(&self) -> usize {
        Frame::len(self)
    }

    fn change_front(&mut self, len: usize, change: impl FnOnce(&mut [u8])) -> bool {
        let mut bytes = self.bytes();
        change(&mut bytes[..len]);
        self.pieces = vec![bytes];
        true
    }

    fn grow_front(&mut self, len: usize) -> bool {
        self.pieces.insert(0, vec![0xaa; len]);
        true
    }

    fn part(&self, header: &[u8], payload: Range<usize>) -> Option<Self> {
        let mut pieces = vec![header.to_vec()];
        self.walk(payload, &mut |piece| pieces.push(piece.to_vec()));
        Some(Self {
            pieces,
            is_checked: false,
            refuses: false,
        })
    }
}
