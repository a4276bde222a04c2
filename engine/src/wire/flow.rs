// SPDX-License-Identifier: BSD-2-Clause
//! Which flow a frame belongs to, as a hash by which queues are selected.
//!
//! | frame                              | hashed                           |
//! | ---------------------------------- | -------------------------------- |
//! | TCP or UDP over IPv4 or IPv6       | addresses and ports              |
//! | any fragment, any other protocol   | addresses                        |
//! | neither IPv4 nor IPv6              | the Ethernet addresses and type  |
//!
//! Tags of 802.1Q and 802.1ad are looked behind, and so are extension headers of IPv6
//! (RFC 8200), as many and as long as [`MOST_EXTENSIONS`] and [`MOST_EXTENSION_BYTES`] say:
//! what is behind more counts as another protocol. An IPv6 fragment that is the whole
//! packet (RFC 6946) is none. All fragments of a packet, and packets of its flow that were
//! not cut, need not have the same hash: only that of fragments can be the same for all.
//!
//! The walk is one of its own and not [`super::parse`], which finds more and takes four
//! times as long (`docs/decisions/0012-two-walks-over-headers.md`).
//!
//! # Symmetric hashes
//!
//! With [`Order::Sorted`] both directions of a flow have the same hash: the lower address,
//! with its port, is hashed first. The other way, a key that repeats each 16 bits, makes
//! the hash a function of the exclusive or of all 16-bit words: both halves of it are the
//! same, and whole networks of flows collide. Where a network card hashes with such a key, its
//! hash is taken as it is.

use super::protocol::{
    AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING, TCP, UDP,
};
use super::toeplitz::{INPUT, Toeplitz};
use super::{ethernet, word};
use crate::packet::HashKind;

/// Tags that are looked behind.
pub const MOST_TAGS: usize = 4;
/// Extension headers that are looked behind.
pub const MOST_EXTENSIONS: usize = 8;
/// Bytes of extension headers that are looked behind.
pub const MOST_EXTENSION_BYTES: usize = 512;

/// Whether source and destination count in the order in which they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Source first, as network cards have it.
    #[default]
    Sent,
    /// The lower one first: both directions are alike.
    Sorted,
}

/// A hash, and what of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowHash {
    /// The hash; 0 if there is none.
    pub hash: u32,
    /// What was hashed.
    pub kind: HashKind,
}

impl FlowHash {
    /// This hash if the stack or the network card has set one, else that of the frame,
    /// of whose headers `header` has what is at hand.
    #[inline]
    pub fn or_of(self, header: &[u8], hash: &Toeplitz, order: Order) -> Self {
        match self.kind {
            HashKind::None => of_frame(header, hash, order),
            _ => self,
        }
    }
}

/// What is hashed of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    bytes: [u8; INPUT],
    len: usize,
    kind: HashKind,
}

impl Tuple {
    /// The bytes that are hashed.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// What they are.
    pub fn kind(&self) -> HashKind {
        self.kind
    }

    /// Two addresses, and two ports, each in the order in which they were sent.
    #[inline]
    fn of<const A: usize>(
        [source, destination]: [&[u8; A]; 2],
        ports: Option<&[u8; 4]>,
        kind: HashKind,
        order: Order,
    ) -> Self {
        let [port1, port2, port3, port4] = *ports.unwrap_or(&[0; 4]);
        let source = (source, [port1, port2]);
        let destination = (destination, [port3, port4]);
        let (one, other) = match order {
            Order::Sorted if destination < source => (destination, source),
            _ => (source, destination),
        };
        let mut bytes = [0; INPUT];
        if let Some((first, rest)) = bytes.split_first_chunk_mut::<A>()
            && let Some((second, rest)) = rest.split_first_chunk_mut::<A>()
            && let Some(both) = rest.first_chunk_mut::<4>()
        {
            *first = *one.0;
            *second = *other.0;
            *both = [one.1[0], one.1[1], other.1[0], other.1[1]];
        }
        let len = A.wrapping_mul(2);
        Self {
            bytes,
            len: if ports.is_some() {
                len.wrapping_add(4)
            } else {
                len
            },
            kind,
        }
    }
}

/// The hash of a frame that begins with `header`.
#[inline]
pub fn of_frame(header: &[u8], hash: &Toeplitz, order: Order) -> FlowHash {
    let Some(tuple) = tuple(header, order) else {
        return FlowHash::default();
    };
    FlowHash {
        hash: hash.hash(tuple.bytes()),
        kind: tuple.kind,
    }
}

/// What is hashed of a frame that begins with `header`. `None` if not even the
/// Ethernet header is there. What is missing of the others counts as not there.
pub fn tuple(header: &[u8], order: Order) -> Option<Tuple> {
    let link = header.get(..ethernet::HEADER)?;
    let (ethertype, at) = behind_tags(header)?;
    let rest = header.get(at..)?;
    let found = match ethertype {
        ethernet::IPV4 => ipv4(rest, order),
        ethernet::IPV6 => ipv6(rest, order),
        _ => None,
    };
    found.or_else(|| {
        let mut bytes = [0; INPUT];
        for (place, &byte) in bytes.iter_mut().zip(link) {
            *place = byte;
        }
        let [.., first, second] = bytes.first_chunk_mut::<{ ethernet::HEADER }>()?;
        [*first, *second] = ethertype.to_be_bytes();
        Some(Tuple {
            bytes,
            len: ethernet::HEADER,
            kind: HashKind::Opaque,
        })
    })
}

/// The EtherType behind a frame's tags, and where that begins whose type it is.
pub(crate) fn behind_tags(header: &[u8]) -> Option<(u16, usize)> {
    let (link, mut rest) = header.split_at_checked(ethernet::HEADER)?;
    let mut ethertype = word(link, 12);
    for _ in 0..MOST_TAGS {
        if !ethernet::is_tag(ethertype) {
            break;
        }
        let Some((tag, behind)) = rest.split_at_checked(ethernet::TAG) else {
            break;
        };
        (ethertype, rest) = (word(tag, 2), behind);
    }
    Some((ethertype, header.len().saturating_sub(rest.len())))
}

fn ipv4(packet: &[u8], order: Order) -> Option<Tuple> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < header.len() {
        return None;
    }
    let is_fragment = word(header, 6) & 0x3fff != 0;
    let ports = match is_fragment {
        true => None,
        false => packet.get(header_len..).and_then(<[u8]>::first_chunk),
    };
    let kind = match (header[9], ports) {
        (TCP, Some(_)) => HashKind::TcpIpv4,
        (UDP, Some(_)) => HashKind::UdpIpv4,
        _ => HashKind::Ipv4,
    };
    let ports = ports.filter(|_| kind != HashKind::Ipv4);
    let addresses = [
        header.get(12..)?.first_chunk::<4>()?,
        header.get(16..)?.first_chunk()?,
    ];
    Some(Tuple::of(addresses, ports, kind, order))
}

fn ipv6(packet: &[u8], order: Order) -> Option<Tuple> {
    let (header, behind) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (protocol, ports) = transport(header[6], behind);
    let kind = match (protocol, ports) {
        (TCP, Some(_)) => HashKind::TcpIpv6,
        (UDP, Some(_)) => HashKind::UdpIpv6,
        _ => HashKind::Ipv6,
    };
    let ports = ports.filter(|_| kind != HashKind::Ipv6);
    let addresses = [
        header.get(8..)?.first_chunk::<16>()?,
        header.get(24..)?.first_chunk()?,
    ];
    Some(Tuple::of(addresses, ports, kind, order))
}

/// The protocol behind extension headers, and its first four bytes if they are there.
fn transport(mut protocol: u8, mut rest: &[u8]) -> (u8, Option<&[u8; 4]>) {
    let mut left = MOST_EXTENSION_BYTES;
    for _ in 0..=MOST_EXTENSIONS {
        let Some(&[next, len]) = rest.first_chunk() else {
            return (protocol, None);
        };
        let len = usize::from(len);
        let bytes = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => len.wrapping_add(1) * 8,
            AUTHENTICATION => len.wrapping_add(2) * 4,
            // Offset and "more to come": nothing of the packet is elsewhere if both are 0.
            FRAGMENT if rest.len() >= 8 && word(rest, 2) & 0xfff9 == 0 => 8,
            FRAGMENT => return (protocol, None),
            _ => return (protocol, rest.first_chunk()),
        };
        let (Some(behind), Some(fewer)) = (rest.get(bytes..), left.checked_sub(bytes)) else {
            return (protocol, None);
        };
        (protocol, rest, left) = (next, behind, fewer);
    }
    (protocol, None)
}

#[cfg(test)]
mod tests;
