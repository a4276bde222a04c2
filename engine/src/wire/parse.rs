// SPDX-License-Identifier: BSD-2-Clause
//! The headers of a packet, found in one pass over whatever it is stored in.
//!
//! | at                    | is understood                                                    |
//! | --------------------- | ---------------------------------------------------------------- |
//! | the link              | Ethernet II, tags of 802.1Q and 802.1ad within each other        |
//! | IP                    | IPv4 with options, IPv6 (RFC 791, RFC 8200)                      |
//! | extension headers     | hop-by-hop and destination options, routing, fragment, AH, mobility, HIP, shim6, "no next header"; AH in IPv4, too |
//! | layer 4               | TCP, UDP, UDP-Lite, SCTP, ICMP, ICMPv6; ESP, behind which nothing can be told |
//! | tunnels, one level    | GRE (RFC 2784, RFC 2890), VXLAN (RFC 7348), IPv4 and IPv6 in either |
//!
//! # What holds for any bytes
//!
//! - Nothing is read that is outside the packet: not beyond the chain's end, nor beyond
//!   the end that the IP header names, nor an inner packet beyond the outer one.
//! - It ends: each step goes forward by as many bytes as a header has, never 0, and their
//!   number is bounded by [`Limits`]. With [`Limits::of_front`] these are no more than 15
//!   reads, with [`Limits::with_tunnels`] 31.
//! - It does not fail: what could not be found out is said in [`Verdict`], and what was
//!   found until then is there.
//!
//! Checksums are not looked at, nor are lengths that layer 4 names, but for TCP's offset
//! of its data.

use core::ops::ControlFlow;

use bitflags::bitflags;

use super::protocol as number;
use super::source::Source;
use crate::packet::{Flags, Meta};

mod walk;

/// The port of VXLAN.
pub const VXLAN_PORT: u16 = 4789;

/// What a packet may cost at most. What is beyond a limit is not looked at, and the
/// verdict says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tags of VLANs behind one another, of each Ethernet header.
    pub tags: u8,
    /// Extension headers, of each IP header.
    pub extensions: u8,
    /// Bytes of extension headers, likewise.
    pub extension_bytes: u16,
    /// Options in each header of options, each byte of Pad1 counting as one. Only a
    /// [`Visit`] with [`Visit::OPTIONS`] has them looked at.
    pub options: u16,
    /// Whether to look into a tunnel.
    pub tunnels: bool,
}

impl Limits {
    /// For what sorts packets by their flow: what an ordinary packet has, and somewhat
    /// more, outside of tunnels.
    pub const fn of_front() -> Self {
        Self {
            tags: 4,
            extensions: 8,
            extension_bytes: 512,
            options: 0,
            tunnels: false,
        }
    }

    /// The same, and one level of tunnels.
    pub const fn with_tunnels() -> Self {
        Self {
            tunnels: true,
            ..Self::of_front()
        }
    }
}

/// What the first byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// An Ethernet header.
    Ethernet,
    /// An IPv4 header.
    Ipv4,
    /// An IPv6 header.
    Ipv6,
}

/// How far the headers go, or why no more could be found out.
///
/// It is about the inner packet if [`Parsed::tunnel`] names a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// All headers are there, that of layer 4 included.
    Whole,
    /// All until that of layer 4, about which nothing is known here, or which is
    /// encrypted (ESP). It is at `l4`.
    Unknown,
    /// IPv6 says that nothing follows; at `l4` there may be bytes nevertheless.
    Nothing,
    /// A part of a packet but not its first: from `l4` on it goes on somewhere in the
    /// midst.
    LaterFragment,
    /// Not of IP; what it is, [`Parsed::ethertype`] tells.
    #[default]
    NotIp,
    /// It ends inside of a header.
    Truncated,
    /// It says that it is longer than there are bytes.
    Short,
    /// The IP header's version is not what was announced.
    Version,
    /// A header says of itself that it is shorter than it must be, or longer than the
    /// packet.
    Length,
    /// IPv6 names no length, and hop-by-hop options follow that could (RFC 2675).
    Jumbo,
    /// More headers behind one another than [`Limits`] allow.
    TooMany,
    /// More bytes of headers.
    TooLong,
    /// More options in a header.
    TooManyOptions,
    /// The headers are in too many pieces.
    TooScattered,
    /// A [`Visit`] has seen enough.
    Refused,
}

impl Verdict {
    /// Whether headers are wrong, missing or beyond a limit, and not merely unknown.
    pub const fn is_fault(self) -> bool {
        self as u8 >= Self::Truncated as u8
    }
}

bitflags! {
    /// What there is in a packet, each kind however often.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Kinds: u16 {
        /// An IPv4 header.
        const IPV4 = 1 << 0;
        /// An IPv6 header.
        const IPV6 = 1 << 1;
        /// Options of IPv4.
        const IPV4_OPTIONS = 1 << 2;
        /// Hop-by-hop options.
        const HOP_BY_HOP = 1 << 3;
        /// Destination options.
        const DESTINATION_OPTIONS = 1 << 4;
        /// A routing header.
        const ROUTING = 1 << 5;
        /// An authentication header.
        const AUTHENTICATION = 1 << 6;
        /// Mobility.
        const MOBILITY = 1 << 7;
        /// Host identity protocol.
        const HIP = 1 << 8;
        /// Shim6.
        const SHIM6 = 1 << 9;
        /// It is a part of a packet: the first one or a later one.
        const FRAGMENT = 1 << 10;
        /// It has a fragment header, but is the whole packet (RFC 6946).
        const ATOMIC = 1 << 11;
        /// IPv4's "don't fragment".
        const WHOLE_ONLY = 1 << 12;
    }
}

/// One packet of IP. Offsets are in bytes from the start of the frame; 0 where there is
/// no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Where the packet ends: what follows pads the frame.
    pub end: u32,
    /// Where the IP header begins.
    pub l3: u16,
    /// Where layer 4 begins, behind all extension headers; or what is there in its place.
    pub l4: u16,
    /// Where the payload of layer 4 begins. Only of a known protocol.
    pub payload: u16,
    /// Where the fragment header of IPv6 is.
    pub fragment_at: u16,
    /// Where in the unfragmented packet this fragment begins, in bytes: a multiple of
    /// eight; and 1 more if more fragments follow.
    pub fragment: u16,
    /// What there is.
    pub kinds: Kinds,
    /// What is at `l4`, an IANA number.
    pub protocol: u8,
    /// How many extension headers were found.
    pub extensions: u8,
}

impl Layer {
    /// Whether it is the first part of a packet, with more to follow.
    pub fn is_first_fragment(&self) -> bool {
        self.kinds.contains(Kinds::FRAGMENT) && self.fragment >> 3 == 0
    }

    /// Bytes of the IP header with its options or extension headers.
    pub fn header_len(&self) -> u16 {
        self.l4.saturating_sub(self.l3)
    }
}

/// What surrounds the inner packet, behind the outer one's IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tunnel {
    /// There is none, or it was not looked into.
    #[default]
    None,
    /// IP in IP.
    Ip,
    /// GRE, with an IP packet.
    Gre,
    /// GRE, with an Ethernet frame.
    GreEthernet,
    /// VXLAN.
    Vxlan,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The packet, or the outer one.
    pub outer: Layer,
    /// The one in the tunnel, if there is one.
    pub inner: Layer,
    /// The tags of VLANs, the outermost two: priority, drop bit and number.
    pub vlan: [u16; 2],
    /// The EtherType behind the tags. Not of an inner frame.
    pub ethertype: u16,
    /// Where what could not be parsed begins, if the verdict is a fault; `u16::MAX` if that
    /// is further on.
    pub stopped: u16,
    /// How many tags there are. Not of an inner frame.
    pub tags: u8,
    /// How far it goes.
    pub verdict: Verdict,
    /// The tunnel.
    pub tunnel: Tunnel,
}

const _: () = assert!(size_of::<Parsed>() <= 64);

impl Parsed {
    /// Whether all headers of the outer packet are known, whatever it carries.
    pub fn is_outer_whole(&self) -> bool {
        self.tunnel != Tunnel::None || self.verdict == Verdict::Whole
    }

    /// Whether the headers of the innermost packet are all known.
    pub fn is_whole(&self) -> bool {
        self.verdict == Verdict::Whole
    }

    /// Writes into a packet's metadata what was found of the outer packet. If its headers
    /// are not all there, or not of IP, they do not count as parsed.
    pub fn note(&self, meta: &mut Meta) {
        meta.flags
            .remove(Flags::PARSED | Flags::FRAGMENT | Flags::IPV6);
        let is_parsed = self.tunnel != Tunnel::None || !self.verdict.is_fault();
        if !is_parsed || self.outer.kinds.is_empty() {
            return;
        }
        (meta.l2, meta.l3) = (0, self.outer.l3);
        (meta.l4, meta.payload) = (self.outer.l4, self.outer.payload);
        meta.protocol = self.outer.protocol;
        let kinds = self.outer.kinds;
        meta.flags |= Flags::PARSED;
        meta.flags
            .set(Flags::FRAGMENT, kinds.contains(Kinds::FRAGMENT));
        meta.flags.set(Flags::IPV6, kinds.contains(Kinds::IPV6));
    }

    /// The innermost packet.
    pub fn innermost(&self) -> &Layer {
        match self.tunnel {
            Tunnel::None => &self.outer,
            _ => &self.inner,
        }
    }
}

/// An extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// What it is, an IANA number.
    pub kind: u8,
    /// Its first eight bytes; the next header's number is the first of them.
    pub head: [u8; 8],
    /// Where it begins.
    pub at: usize,
    /// Its bytes; all of them are in the packet.
    pub len: usize,
}

/// An option in a header of hop-by-hop or destination options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedOption {
    /// The header's number.
    pub header: u8,
    /// The option's type, with the two bits that say what who does not know it has to do.
    pub kind: u8,
    /// Bytes of its data, without type and length.
    pub len: u8,
    /// Where it begins.
    pub at: usize,
    /// For PadN of up to five bytes, which is all that alignment needs: whether one of them
    /// is not 0. Longer ones are not looked at.
    pub is_filled: bool,
}

impl TypedOption {
    /// One byte of padding, which has no length.
    pub const PAD1: u8 = 0;
    /// Padding of two bytes and more.
    pub const PADN: u8 = 1;
}

/// Who looks at headers while they are passed, and may break the pass off: the verdict is
/// then [`Verdict::Refused`].
pub trait Visit {
    /// Whether it wants to see options.
    const OPTIONS: bool = false;

    /// An extension header of IPv6, or AH in IPv4, that is all there and within limits; of
    /// the outer packet first. It comes before its options.
    #[inline]
    fn extension(&mut self, _extension: &Extension) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// An option, all of which is inside its header.
    #[inline]
    fn option(&mut self, _option: &TypedOption) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Looks at nothing.
impl Visit for () {}

/// Finds the headers of a packet of `len` bytes, of which `source` has the front, or all.
///
/// Any context; nothing is allocated. Bytes that are in the packet but not in the source
/// count as missing: the verdict is then [`Verdict::Truncated`].
#[inline]
pub fn parse<S: Source>(source: S, len: usize, start: Start, limits: &Limits) -> Parsed {
    visit(source, len, start, limits, &mut ())
}

/// As [`parse`], and shows extension headers and options to a visitor on the way.
#[inline]
pub fn visit<S: Source, V: Visit>(
    source: S,
    len: usize,
    start: Start,
    limits: &Limits,
    visit: &mut V,
) -> Parsed {
    walk::Walk::new(source, len, limits, visit).run(start)
}

/// The kind of an extension header; `None` if that number is none.
pub(super) const fn extension_kind(protocol: u8) -> Option<Kinds> {
    Some(match protocol {
        number::HOP_BY_HOP => Kinds::HOP_BY_HOP,
        number::DESTINATION_OPTIONS => Kinds::DESTINATION_OPTIONS,
        number::ROUTING => Kinds::ROUTING,
        number::FRAGMENT => Kinds::empty(),
        number::AUTHENTICATION => Kinds::AUTHENTICATION,
        number::MOBILITY => Kinds::MOBILITY,
        number::HIP => Kinds::HIP,
        number::SHIM6 => Kinds::SHIM6,
        _ => return None,
    })
}
