// SPDX-License-Identifier: BSD-2-Clause
//! A long packet, cut into frames: what a network card does that can do TSO or the like,
//! where there is none.
//!
//! The stack makes one frame of many segments' or datagrams' bytes, with the headers of the
//! first. Each frame that is cut from it has a copy of these, of which [`Cut::write`] changes
//!
//! | header | what                                                                     |
//! | ------ | ------------------------------------------------------------------------ |
//! | IPv4   | the length, the checksum, and the [identification](Identification)       |
//! | IPv6   | the length                                                               |
//! | TCP    | the sequence number; FIN and PSH are in the last frame only, CWR in the first only (RFC 3168); the checksum has the pseudo-header's sum, as in any segment whose checksum is left to the network card |
//! | UDP    | the length; the checksum likewise, unless it is 0                        |
//! | VXLAN's UDP, GRE, outer IP | the same, for the whole inner packet ([`tunnel`])    |
//!
//! [`Cut::fill`] makes the sums whole where the card does not. Extension headers of IPv6 are
//! copied as they are. Nothing of the payload is touched.

use core::ops::Range;

use super::checksum::Sum;
use super::{ethernet, flow, long, protocol, word};

mod parsed;
mod tunnel;

pub use parsed::Refusal;
use tunnel::Outer;

/// Bytes of headers that a frame may have in front of its payload, outside of a tunnel.
pub const MOST_HEADERS: usize =
    ethernet::HEADER + flow::MOST_TAGS * ethernet::TAG + 40 + flow::MOST_EXTENSION_BYTES + MOST_TCP;
/// Bytes of the longest TCP header.
const MOST_TCP: usize = 60;

/// The flags of TCP that belong into the last frame, FIN and PSH.
pub(super) const LAST_ONLY: u8 = 0x01 | 0x08;
/// The flag that belongs into the first, CWR.
const FIRST_ONLY: u8 = 0x80;

/// How a frame is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    version: Version,
    kind: Kind,
    identification: Identification,
    /// Offsets in the frame, in bytes.
    network: usize,
    transport: usize,
    payload: usize,
    end: usize,
    /// Bytes of payload in each frame, but for the last.
    size: usize,
    outer: Option<Outer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A segment of TCP.
    Tcp,
    /// Datagrams of UDP, behind one another.
    Udp,
}

/// What becomes of the identification of IPv4 from one frame to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identification {
    /// It goes up by one, as network cards have it.
    #[default]
    Rising,
    /// It stays, as it may in packets that are not to be fragmented (RFC 6864).
    Fixed,
}

impl Identification {
    #[inline]
    fn more(self, n: usize) -> u16 {
        match self {
            Self::Rising => n as u16,
            Self::Fixed => 0,
        }
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To an IPv4 address.
    V4([u8; 4]),
    /// To an IPv6 address.
    V6([u8; 16]),
}

/// What of the whole a frame has.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Its number, from 0 on.
    pub(super) n: usize,
    /// Bytes of payload in those before it.
    pub(super) gone: usize,
    /// Its own.
    pub(super) len: usize,
    pub(super) is_last: bool,
}

impl Part {
    /// All of it.
    pub(super) const fn alone(len: usize) -> Self {
        Self {
            n: 0,
            gone: 0,
            len,
            is_last: true,
        }
    }
}

impl Cut {
    /// How to cut a frame of TCP, `len` bytes long, into parts with `size` bytes of payload.
    /// `header` is its front, which ends behind the headers or later. `None` if this is no
    /// TCP, a fragment, goes by a routing header, for whose pseudo-header the destination is
    /// not enough, or says of itself what is not so; then it cannot be cut.
    ///
    /// [`of_parsed`](Cut::of_parsed) has more.
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
            kind: Kind::Tcp,
            identification: Identification::Rising,
            network,
            transport,
            payload: transport.checked_add(tcp_len)?,
            end: network.checked_add(packet_len)?,
            size,
            outer: None,
        };
        let is_whole =
            tcp_len >= 20 && cut.payload <= header.len() && cut.payload < cut.end && cut.end <= len;
        is_whole.then_some(cut)
    }

    /// Bytes of headers in front of the payload, in each frame.
    pub fn headers(&self) -> usize {
        self.payload
    }

    /// What is cut.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes of payload in each frame, but perhaps the last.
    pub fn size(&self) -> usize {
        self.size
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

    /// Where the frame goes; `header` is its front, as it was. Of what is in a tunnel, where
    /// the inner packet goes.
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
        let part = Part {
            n,
            gone: part.start.saturating_sub(self.payload),
            len: part.len(),
            is_last: part.end == self.end,
        };
        self.write_part(&part, header);
    }

    #[inline]
    pub(super) fn write_part(&self, part: &Part, header: &mut [u8]) {
        if let Some(outer) = &self.outer {
            outer.write(part, self.payload, header);
        }
        let transport_len = self.payload.saturating_sub(self.transport);
        let transport_len = transport_len.saturating_add(part.len);
        let Some(packet) = header.get_mut(self.network..) else {
            return;
        };
        let transport = self.transport.saturating_sub(self.network);
        let Some((network, transport)) = packet.split_at_mut_checked(transport) else {
            return;
        };
        let number = match self.kind {
            Kind::Tcp => protocol::TCP,
            Kind::Udp => protocol::UDP,
        };
        let more = self.identification.more(part.n);
        let pseudo = match self.version {
            Version::V4 => write_ipv4(network, more, transport_len, number),
            Version::V6 => write_ipv6(network, transport_len, number),
        };
        match self.kind {
            Kind::Tcp => write_tcp(transport, part, pseudo),
            Kind::Udp => write_udp(transport, transport_len, pseudo),
        }
    }

    /// Makes the checksums whole, of headers that were just written, for a payload with that
    /// sum: of layer 4, and of what surrounds it in a tunnel.
    pub fn fill(&self, header: &mut [u8], payload: Sum) {
        let at = self.sum_at();
        let Some(headers) = header.get_mut(..self.payload) else {
            return;
        };
        if let Some(transport) = headers.get_mut(self.transport..) {
            fill(transport, at, payload, self.kind == Kind::Udp);
        }
        if let Some(outer) = &self.outer {
            outer.fill(headers, payload);
        }
    }
}

impl Cut {
    /// Where in its header layer 4 has its checksum.
    fn sum_at(&self) -> usize {
        match self.kind {
            Kind::Tcp => 16,
            Kind::Udp => 6,
        }
    }

    /// The sum of a payload whose checksum is right, by that checksum, which is in `header`;
    /// `written` are the same headers without it, as `write_part` leaves them. `None` if
    /// there is no checksum.
    pub(super) fn payload_sum(&self, written: &[u8], header: &[u8]) -> Option<Sum> {
        let at = self.transport.saturating_add(self.sum_at());
        let checksum = word(header, at);
        if self.kind == Kind::Udp && checksum == 0 {
            return None;
        }
        let mut sum = Sum::new();
        sum.add_header(written.get(self.transport..self.payload)?);
        sum.add_number(checksum.into());
        // All together are 0xffff.
        let mut payload = Sum::new();
        payload.add_number(sum.checksum().into());
        Some(payload)
    }
}

/// Makes a checksum whole whose field has the pseudo-header's sum; of UDP, which may be sent
/// without one, only if it is not 0.
#[inline]
fn fill(transport: &mut [u8], at: usize, payload: Sum, is_udp: bool) {
    if is_udp && word(transport, at) == 0 {
        return;
    }
    let mut sum = Sum::new();
    sum.add_header(transport);
    sum.append(payload);
    let sum = match is_udp {
        true => sum.udp_checksum(),
        false => sum.checksum(),
    };
    put(transport, at, &sum.to_be_bytes());
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

/// Changes an IPv4 header, all of it, for so many bytes behind it, and gives the sum of
/// the pseudo-header.
#[inline]
fn write_ipv4(header: &mut [u8], more: u16, behind: usize, protocol: u8) -> u16 {
    let len = header.len().saturating_add(behind) as u16;
    let identification = word(header, 4).wrapping_add(more);
    put(header, 2, &len.to_be_bytes());
    put(header, 4, &identification.to_be_bytes());
    put(header, 10, &[0, 0]);
    let mut sum = Sum::new();
    sum.add_header(header);
    put(header, 10, &sum.checksum().to_be_bytes());
    pseudo(header.get(12..20), behind, protocol)
}

/// Likewise an IPv6 header with its extension headers.
#[inline]
fn write_ipv6(header: &mut [u8], behind: usize, protocol: u8) -> u16 {
    let extensions = header.len().saturating_sub(40);
    let len = extensions.saturating_add(behind) as u16;
    put(header, 4, &len.to_be_bytes());
    pseudo(header.get(8..40), behind, protocol)
}

#[inline]
fn write_tcp(tcp: &mut [u8], part: &Part, pseudo: u16) {
    let sequence = long(tcp, 4).wrapping_add(part.gone as u32);
    put(tcp, 4, &sequence.to_be_bytes());
    if let Some(flags) = tcp.get_mut(13) {
        if !part.is_last {
            *flags &= !LAST_ONLY;
        }
        if part.n != 0 {
            *flags &= !FIRST_ONLY;
        }
    }
    put(tcp, 16, &pseudo.to_be_bytes());
}

#[inline]
fn write_udp(udp: &mut [u8], len: usize, pseudo: u16) {
    put(udp, 4, &(len as u16).to_be_bytes());
    if word(udp, 6) != 0 {
        put(udp, 6, &pseudo.to_be_bytes());
    }
}

/// The sum of a pseudo-header, for two addresses: not its complement, for the payload's is
/// added to it.
#[inline]
fn pseudo(addresses: Option<&[u8]>, len: usize, protocol: u8) -> u16 {
    Sum::pseudo(addresses.unwrap_or_default(), protocol, len as u32).value()
}

/// Puts bytes in, if they have room.
#[inline]
fn put<const N: usize>(bytes: &mut [u8], at: usize, new: &[u8; N]) {
    let place = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    if let Some(place) = place {
        *place = *new;
    }
}

#[cfg(test)]
mod tests;
