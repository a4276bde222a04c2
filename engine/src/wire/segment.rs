// SPDX-License-Identifier: BSD-2-Clause
//! A long segment of TCP, cut into frames: what a network card does that can do TSO,
//! where there is none.
//!
//! The stack makes one frame of many segments' bytes, with the headers of the first. Each
//! frame that is cut from it has a copy of these, of which [`Cut::write`] changes
//!
//! | header | what                                                                     |
//! | ------ | ------------------------------------------------------------------------ |
//! | IPv4   | the length, the identification, which goes up by one, and the checksum   |
//! | IPv6   | the length                                                               |
//! | TCP    | the sequence number; FIN and PSH are in the last frame only, CWR in the first only (RFC 3168); the checksum has the pseudo-header's sum, as in any segment whose checksum is left to the network card |
//!
//! Extension headers of IPv6 are copied as they are, those that the fragments of a packet
//! would have too. Nothing of the payload is touched.

use core::ops::Range;

use super::checksum::{self, Sum};
use super::{ethernet, flow, long, protocol, word};

/// Bytes of headers that a frame may have in front of its payload.
pub const MOST_HEADERS: usize =
    ethernet::HEADER + flow::MOST_TAGS * ethernet::TAG + 40 + flow::MOST_EXTENSION_BYTES + MOST_TCP;
/// Bytes of the longest TCP header.
const MOST_TCP: usize = 60;

/// The flags of TCP that belong into the last frame, FIN and PSH.
const LAST_ONLY: u8 = 0x01 | 0x08;
/// The flag that belongs into the first, CWR.
const FIRST_ONLY: u8 = 0x80;

/// How a frame is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    version: Version,
    /// Offsets in the frame, in bytes.
    network: usize,
    transport: usize,
    payload: usize,
    end: usize,
    /// Bytes of payload in each frame, but for the last.
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an IPv4 address.
    V4([u8; 4]),
    /// To an IPv6 address.
    V6([u8; 16]),
}

impl Cut {
    /// How to cut a frame of `len` bytes into parts with `size` bytes of payload. `header`
    /// is its front, which ends behind the headers or later. `None` if this is no TCP, a
    /// fragment, goes by a routing header, for whose pseudo-header the destination is not
    /// enough, or says of itself what is not so; then it cannot be cut.
    pub fn of(header: &[u8], len: usize, size: usize) -> Option<Self> {
        if size == 0 {
            return None;
        }
        let (ethertype, network) = flow::behind_tags(header)?;
        let packet = header.get(network..)?;
        let (version, tcp, packet_len) = match ethertype {
            ethernet::IPV4 => ipv4(packet)?,
            ethernet::IPV6 => ipv6(packet)?,
            _ => return None,
        };
        let transport = network.checked_add(tcp)?;
        let offset = header.get(transport.checked_add(12)?)?;
        let tcp_len = usize::from(offset >> 4) * 4;
        let cut = Self {
            version,
            network,
            transport,
            payload: transport.checked_add(tcp_len)?,
            end: network.checked_add(packet_len)?,
            size,
        };
        let is_whole =
            tcp_len >= 20 && cut.payload <= header.len() && cut.payload < cut.end && cut.end <= len;
        is_whole.then_some(cut)
    }

    /// Bytes of headers in front of the payload, in each frame.
    pub fn headers(&self) -> usize {
        self.payload
    }

    /// How many frames there will be; one if the segment is not longer than a frame.
    pub fn count(&self) -> usize {
        // The size is never 0, which the compiler sees in some callers only.
        let whole = self.end.saturating_sub(self.payload);
        whole.div_ceil(self.size.max(1))
    }

    /// What of the long frame is the payload of the n-th, from 0 on; nothing if there is
    /// no such frame.
    pub fn payload(&self, n: usize) -> Range<usize> {
        let from = n.saturating_mul(self.size).saturating_add(self.payload);
        let from = from.min(self.end);
        from..from.saturating_add(self.size).min(self.end)
    }

    /// Where the frame goes; `header` is its front, as it was.
    pub fn destination(&self, header: &[u8]) -> Option<Destination> {
        let packet = header.get(self.network..)?;
        match self.version {
            Version::V4 => Some(Destination::V4(*packet.get(16..)?.first_chunk()?)),
            Version::V6 => Some(Destination::V6(*packet.get(24..)?.first_chunk()?)),
        }
    }

    /// Makes a copy of the long frame's headers those of the n-th frame.
    pub fn write(&self, n: usize, header: &mut [u8]) {
        let part = self.payload(n);
        let gone = part.start.saturating_sub(self.payload);
        let tcp_len = self.payload.saturating_sub(self.transport);
        let tcp_len = tcp_len.saturating_add(part.len());
        let Some(packet) = header.get_mut(self.network..) else {
            return;
        };
        let transport = self.transport.saturating_sub(self.network);
        let Some((network, tcp)) = packet.split_at_mut_checked(transport) else {
            return;
        };
        let pseudo = match self.version {
            Version::V4 => write_ipv4(network, n, tcp_len),
            Version::V6 => write_ipv6(network, tcp_len),
        };
        let is_first = n == 0;
        let is_last = part.end == self.end;
        let sequence = long(tcp, 4).wrapping_add(gone as u32);
        put(tcp, 4, &sequence.to_be_bytes());
        if let Some(flags) = tcp.get_mut(13) {
            if !is_last {
                *flags &= !LAST_ONLY;
            }
            if !is_first {
                *flags &= !FIRST_ONLY;
            }
        }
        put(tcp, 16, &pseudo.to_be_bytes());
    }
}

/// The header's length and the packet's, of an IPv4 packet of TCP that is no fragment.
fn ipv4(packet: &[u8]) -> Option<(Version, usize, usize)> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let is_tcp = header[0] >> 4 == 4
        && header_len >= header.len()
        && header[9] == protocol::TCP
        && word(header, 6) & 0x3fff == 0;
    is_tcp.then(|| (Version::V4, header_len, word(header, 2).into()))
}

/// The same of an IPv6 packet; the header's length is that of the extension headers, too.
fn ipv6(packet: &[u8]) -> Option<(Version, usize, usize)> {
    let (header, behind) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let len = usize::from(word(header, 4)).saturating_add(40);
    let (mut next, mut rest) = (header[6], behind);
    for _ in 0..=flow::MOST_EXTENSIONS {
        match next {
            protocol::TCP => {
                let extensions = behind.len().saturating_sub(rest.len());
                return (extensions <= flow::MOST_EXTENSION_BYTES)
                    .then(|| (Version::V6, extensions.saturating_add(40), len));
            }
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS => {
                let &[following, units] = rest.first_chunk()?;
                let bytes = usize::from(units).wrapping_add(1) * 8;
                (next, rest) = (following, rest.get(bytes..)?);
            }
            _ => return None,
        }
    }
    None
}

/// Changes an IPv4 header, all of it, for a segment of so many bytes, and gives the sum of
/// the pseudo-header.
fn write_ipv4(header: &mut [u8], n: usize, tcp_len: usize) -> u16 {
    let len = header.len().saturating_add(tcp_len) as u16;
    let identification = word(header, 4).wrapping_add(n as u16);
    put(header, 2, &len.to_be_bytes());
    put(header, 4, &identification.to_be_bytes());
    put(header, 10, &[0, 0]);
    let sum = checksum::of(header);
    put(header, 10, &sum.to_be_bytes());
    pseudo(header.get(12..20), tcp_len)
}

/// Likewise an IPv6 header with its extension headers.
fn write_ipv6(header: &mut [u8], tcp_len: usize) -> u16 {
    let extensions = header.len().saturating_sub(40);
    let len = extensions.saturating_add(tcp_len) as u16;
    put(header, 4, &len.to_be_bytes());
    pseudo(header.get(8..40), tcp_len)
}

/// The sum of a pseudo-header, for two addresses: not its complement, for the payload's is
/// added to it.
fn pseudo(addresses: Option<&[u8]>, tcp_len: usize) -> u16 {
    let mut sum = Sum::new();
    sum.add(addresses.unwrap_or_default());
    sum.add_number(tcp_len as u32);
    sum.add_number(protocol::TCP.into());
    sum.value()
}

/// Puts bytes in, if they have room.
fn put<const N: usize>(bytes: &mut [u8], at: usize, new: &[u8; N]) {
    let place = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    if let Some(place) = place {
        *place = *new;
    }
}

#[cfg(test)]
mod tests;
