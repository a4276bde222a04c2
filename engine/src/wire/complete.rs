// SPDX-License-Identifier: BSD-2-Clause
//! Checksums of layer 4, made whole where a network card was to do that, and looked at where
//! it did not; over packets in pieces of any shape.
//!
//! | protocol            | sum                                                            |
//! | ------------------- | -------------------------------------------------------------- |
//! | TCP, UDP, ICMPv6    | Internet checksum; its field has the pseudo-header's sum until it is whole |
//! | UDP-Lite            | the same over what its header says is covered (RFC 3828)       |
//! | ICMP                | Internet checksum without a pseudo-header                      |
//! | SCTP                | CRC32c, whatever its field has (RFC 9260)                      |

use core::ops::Range;

use super::checksum::{Sum, covered};
use super::crc32c::{Crc, Method};
use super::parse::{Kinds, Layer};
use super::{copy, protocol, word};

/// A packet's bytes, in pieces.
pub trait Spans {
    /// Shows the bytes of `range`, piece by piece, in order; those that are there.
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8]));
}

impl Spans for [u8] {
    #[inline]
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        let end = range.end.min(self.len());
        see(self.get(range.start..end).unwrap_or_default());
    }
}

impl Spans for [&[u8]] {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        let (mut skip, mut left) = (range.start, range.len());
        for piece in self {
            let there = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            let there = there.get(..left).unwrap_or(there);
            left = left.saturating_sub(there.len());
            if !there.is_empty() {
                see(there);
            }
        }
    }
}

/// The one's complement sum of a range.
#[inline]
pub fn sum<S: Spans + ?Sized>(spans: &S, range: Range<usize>) -> Sum {
    let mut sum = Sum::new();
    spans.walk(range, &mut |piece| sum.add(piece));
    sum
}

/// What a checksum covers, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    from: usize,
    to: usize,
    /// Where in the packet its field is.
    field: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A sum whose field is as good as 0 without it.
    Plain,
    /// One where 0 means that there is none.
    Udp,
    Crc,
}

/// A checksum's field, as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    bytes: [u8; 4],
    len: usize,
    /// Where in the packet it is.
    pub at: usize,
}

impl Field {
    /// Its bytes, two or four.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Puts it where it belongs, into a packet's front that reaches so far.
    pub fn put(&self, front: &mut [u8]) {
        let place = front
            .get_mut(self.at..)
            .and_then(|at| at.get_mut(..self.len));
        if let Some(place) = place {
            copy(self.bytes(), place);
        }
    }
}

/// What a checksum was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// The packet has none, which UDP may.
    None,
}

impl Covered {
    /// What the checksum of layer 4 covers. `layer` is that of a whole packet whose headers
    /// are known, and `front` its first bytes, of which those of layer 4's header are looked
    /// at. `None` if there is no such checksum, since the protocol has none, the packet is a
    /// fragment, or UDP-Lite says what is not allowed.
    pub fn of(layer: &Layer, front: &[u8]) -> Option<Self> {
        let (from, end) = (usize::from(layer.l4), layer.end as usize);
        if layer.kinds.contains(Kinds::FRAGMENT) || layer.payload <= layer.l4 {
            return None;
        }
        let (field, kind) = match layer.protocol {
            protocol::TCP => (16, Kind::Plain),
            protocol::UDP => (6, Kind::Udp),
            protocol::UDP_LITE => (6, Kind::Plain),
            protocol::ICMP | protocol::ICMPV6 => (2, Kind::Plain),
            protocol::SCTP => (8, Kind::Crc),
            _ => return None,
        };
        let len = end.checked_sub(from)?;
        let len = match layer.protocol {
            protocol::UDP_LITE => covered(word(front, from.saturating_add(4)), len)?,
            // Its own length may be less than the packet's.
            protocol::UDP => match usize::from(word(front, from.saturating_add(4))) {
                0 => len,
                own => (8..=len).contains(&own).then_some(own)?,
            },
            _ => len,
        };
        Some(Self {
            from,
            to: from.saturating_add(len),
            field: from.saturating_add(field),
            kind,
        })
    }

    /// The checksum made whole, for a packet whose field has the pseudo-header's sum.
    #[inline]
    pub fn complete<S: Spans + ?Sized>(&self, packet: &S, method: Method) -> Field {
        let mut field = Field {
            bytes: [0; 4],
            len: 2,
            at: self.field,
        };
        let sum = match self.kind {
            Kind::Crc => {
                field.bytes = self.crc(packet, method).to_le_bytes();
                field.len = 4;
                return field;
            }
            Kind::Udp => sum(packet, self.from..self.to).udp_checksum(),
            Kind::Plain => sum(packet, self.from..self.to).checksum(),
        };
        let [high, low] = sum.to_be_bytes();
        field.bytes = [high, low, 0, 0];
        field
    }

    fn crc<S: Spans + ?Sized>(&self, packet: &S, method: Method) -> u32 {
        let mut crc = Crc::new(method);
        packet.walk(self.from..self.field, &mut |piece| crc.add(piece));
        crc.add(&[0; 4]);
        let behind = self.field.saturating_add(4)..self.to.max(self.field.saturating_add(4));
        packet.walk(behind, &mut |piece| crc.add(piece));
        crc.value()
    }

    /// Whether the checksum of a packet that was received is right. `layer` and `front` as
    /// before.
    pub fn check<S: Spans + ?Sized>(
        &self,
        layer: &Layer,
        front: &[u8],
        packet: &S,
        method: Method,
    ) -> Found {
        if self.kind == Kind::Crc {
            let at = front.get(self.field..).and_then(<[u8]>::first_chunk);
            let is_right = at.copied().map(u32::from_le_bytes) == Some(self.crc(packet, method));
            return found(is_right);
        }
        if self.kind == Kind::Udp && word(front, self.field) == 0 {
            return Found::None;
        }
        let mut all = pseudo(layer, front);
        all.append(sum(packet, self.from..self.to));
        found(all.checksum() == 0)
    }
}

fn found(is_right: bool) -> Found {
    match is_right {
        true => Found::Right,
        false => Found::Wrong,
    }
}

/// The pseudo-header of a packet whose IP header is in `front`; nothing for ICMP. Its length
/// is that of all of layer 4, whatever UDP-Lite covers; of UDP what its header says.
pub fn pseudo(layer: &Layer, front: &[u8]) -> Sum {
    let (at, l4) = (usize::from(layer.l3), usize::from(layer.l4));
    let len = match layer.protocol {
        protocol::ICMP => return Sum::new(),
        protocol::UDP if word(front, l4.saturating_add(4)) != 0 => {
            word(front, l4.saturating_add(4)).into()
        }
        _ => layer.end.saturating_sub(layer.l4.into()),
    };
    let addresses = match layer.kinds.contains(Kinds::IPV6) {
        true => at.saturating_add(8)..at.saturating_add(40),
        false => at.saturating_add(12)..at.saturating_add(20),
    };
    let addresses = front.get(addresses).unwrap_or_default();
    Sum::pseudo(addresses, layer.protocol, len)
}
