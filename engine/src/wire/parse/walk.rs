// SPDX-License-Identifier: BSD-2-Clause
//! The pass itself: the state of one that is under way, and a function for each kind of
//! header.
//!
//! A function is told where its header begins and says what follows, and where. `Err`
//! ends the pass: with a fault, or since nothing more can be told. Before it, whatever was
//! found out has been put into the layer.

use super::{
    Extension, Kinds, Layer, Limits, Parsed, Start, Tunnel, TypedOption, VXLAN_PORT, Verdict,
    Visit, extension_kind,
};
use crate::wire::protocol as number;
use crate::wire::source::Source;
use crate::wire::{ethernet, word};

/// GRE's protocol type of Ethernet frames, "transparent Ethernet bridging".
const BRIDGED: u16 = 0x6558;
/// Bytes of the VXLAN header.
const VXLAN_HEADER: usize = 8;
/// The bit that a VXLAN header has set: its number is valid.
const VXLAN_VALID: u8 = 0x08;
/// Where layer 4 may begin at the furthest, so that all offsets fit into 16 bits.
const DEEPEST: usize = u16::MAX as usize - 64;

pub(super) struct Walk<'w, S, V> {
    source: S,
    visit: &'w mut V,
    limits: &'w Limits,
    /// Where what encloses the header ends: the frame, then the packet.
    end: usize,
    /// Where the header begins that is being looked at.
    at: usize,
    found: Parsed,
}

/// What a packet carries that is looked into.
#[derive(Clone, Copy)]
struct Inside {
    tunnel: Tunnel,
    start: Start,
    at: usize,
}

impl<'w, S: Source, V: Visit> Walk<'w, S, V> {
    #[inline]
    pub(super) fn new(source: S, len: usize, limits: &'w Limits, visit: &'w mut V) -> Self {
        Self {
            source,
            visit,
            limits,
            end: len,
            at: 0,
            found: Parsed::default(),
        }
    }

    #[inline]
    pub(super) fn run(mut self, start: Start) -> Parsed {
        let verdict = match self.outer(start) {
            Ok(()) => Verdict::Whole,
            Err(Verdict::Truncated) if self.source.is_too_scattered() => Verdict::TooScattered,
            Err(verdict) => verdict,
        };
        if verdict.is_fault() {
            self.found.stopped = offset(self.at);
        }
        self.found.verdict = verdict;
        self.found
    }

    #[inline]
    fn outer(&mut self, start: Start) -> Result<(), Verdict> {
        let mut layer = Layer::default();
        let inside = self.link(start, 0, true).and_then(|(start, at)| {
            self.found.ethertype = match start {
                Start::Ipv4 => ethernet::IPV4,
                _ => ethernet::IPV6,
            };
            self.packet(&mut layer, start, at)
        });
        self.found.outer = layer;
        match inside? {
            Some(inside) => self.inner(inside),
            None => Ok(()),
        }
    }

    /// The packet in a tunnel; it ends where the outer one does, or before.
    #[inline(never)]
    fn inner(&mut self, Inside { tunnel, start, at }: Inside) -> Result<(), Verdict> {
        self.found.tunnel = tunnel;
        let mut layer = Layer::default();
        let inside = self
            .link(start, at, false)
            .and_then(|(start, at)| self.packet(&mut layer, start, at));
        self.found.inner = layer;
        inside.map(drop)
    }

    /// `N` bytes of the packet.
    #[inline]
    fn read<const N: usize>(&mut self, at: usize) -> Result<[u8; N], Verdict> {
        if self.end.saturating_sub(at) < N {
            return Err(Verdict::Truncated);
        }
        self.source.read(at).ok_or(Verdict::Truncated)
    }

    /// The IP header's version, and where it begins, behind an Ethernet header if there is
    /// one.
    #[inline]
    fn link(&mut self, start: Start, at: usize, outer: bool) -> Result<(Start, usize), Verdict> {
        match start {
            Start::Ethernet => self.ethernet(at, outer),
            _ => Ok((start, at)),
        }
    }

    #[inline]
    fn ethernet(&mut self, at: usize, outer: bool) -> Result<(Start, usize), Verdict> {
        self.at = at;
        // The addresses are of no interest, but all of the header must be there.
        let header: [u8; ethernet::HEADER] = self.read(at)?;
        let mut ethertype = word(&header, 12);
        let mut at = at.saturating_add(ethernet::HEADER);
        let mut left = self.limits.tags;
        while ethernet::is_tag(ethertype) {
            self.at = at;
            left = left.checked_sub(1).ok_or(Verdict::TooMany)?;
            let tag: [u8; ethernet::TAG] = self.read(at)?;
            if outer {
                if let Some(place) = self.found.vlan.get_mut(usize::from(self.found.tags)) {
                    *place = word(&tag, 0);
                }
                self.found.tags = self.found.tags.wrapping_add(1);
            }
            ethertype = word(&tag, 2);
            at = at.saturating_add(ethernet::TAG);
        }
        if outer {
            self.found.ethertype = ethertype;
        }
        match ethertype {
            ethernet::IPV4 => Ok((Start::Ipv4, at)),
            ethernet::IPV6 => Ok((Start::Ipv6, at)),
            _ => Err(Verdict::NotIp),
        }
    }

    #[inline]
    fn packet(
        &mut self,
        layer: &mut Layer,
        start: Start,
        at: usize,
    ) -> Result<Option<Inside>, Verdict> {
        self.at = at;
        let (protocol, at) = match start {
            Start::Ipv4 => self.ipv4(layer, at)?,
            _ => self.ipv6(layer, at)?,
        };
        (layer.protocol, layer.l4) = (protocol, offset(at));
        self.at = at;
        if at > DEEPEST {
            return Err(Verdict::TooLong);
        }
        if layer.kinds.contains(Kinds::FRAGMENT) && layer.fragment >> 3 != 0 {
            return Err(Verdict::LaterFragment);
        }
        self.transport(layer, protocol, at)
    }

    #[inline]
    fn ipv4(&mut self, layer: &mut Layer, at: usize) -> Result<(u8, usize), Verdict> {
        layer.l3 = offset(at);
        let header: [u8; 20] = self.read(at)?;
        if header[0] >> 4 != 4 {
            return Err(Verdict::Version);
        }
        layer.kinds = Kinds::IPV4;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let len = usize::from(word(&header, 2));
        if header_len < header.len() || len < header_len {
            return Err(Verdict::Length);
        }
        if header_len > header.len() {
            layer.kinds |= Kinds::IPV4_OPTIONS;
        }
        self.ends(layer, at, len)?;
        let fragment = word(&header, 6);
        if fragment & 0x4000 != 0 {
            layer.kinds |= Kinds::WHOLE_ONLY;
        }
        if fragment & 0x3fff != 0 {
            layer.kinds |= Kinds::FRAGMENT;
            layer.fragment = fragment << 3 | (fragment >> 13 & 1);
        }
        let (protocol, at) = (header[9], at.saturating_add(header_len));
        if protocol == number::AUTHENTICATION && layer.fragment >> 3 == 0 {
            return self.extensions(layer, protocol, at);
        }
        Ok((protocol, at))
    }

    #[inline]
    fn ipv6(&mut self, layer: &mut Layer, at: usize) -> Result<(u8, usize), Verdict> {
        layer.l3 = offset(at);
        let header: [u8; 40] = self.read(at)?;
        if header[0] >> 4 != 6 {
            return Err(Verdict::Version);
        }
        layer.kinds = Kinds::IPV6;
        let (len, next) = (usize::from(word(&header, 4)), header[6]);
        if len == 0 && next == number::HOP_BY_HOP {
            return Err(Verdict::Jumbo);
        }
        let behind = at.saturating_add(header.len());
        self.ends(layer, behind, len)?;
        if extension_kind(next).is_none() {
            return Ok((next, behind));
        }
        self.extensions(layer, next, behind)
    }

    /// The packet is so long, from there on.
    #[inline]
    fn ends(&mut self, layer: &mut Layer, from: usize, len: usize) -> Result<(), Verdict> {
        let end = from.saturating_add(len);
        if end > self.end {
            return Err(Verdict::Short);
        }
        self.end = end;
        layer.end = end.min(u32::MAX as usize) as u32;
        Ok(())
    }

    fn extensions(
        &mut self,
        layer: &mut Layer,
        mut next: u8,
        mut at: usize,
    ) -> Result<(u8, usize), Verdict> {
        let mut left = usize::from(self.limits.extension_bytes);
        while let Some(kind) = extension_kind(next) {
            (layer.protocol, layer.l4) = (next, offset(at));
            self.at = at;
            // Only AH is one in IPv4.
            if layer.kinds.contains(Kinds::IPV4) && next != number::AUTHENTICATION {
                break;
            }
            if layer.extensions >= self.limits.extensions {
                return Err(Verdict::TooMany);
            }
            let head: [u8; 8] = self.read(at)?;
            let len = extension_len(next, head[1]).ok_or(Verdict::Length)?;
            left = left.checked_sub(len).ok_or(Verdict::TooLong)?;
            if len > self.end.saturating_sub(at) {
                return Err(Verdict::Truncated);
            }
            layer.kinds |= kind;
            layer.extensions = layer.extensions.saturating_add(1);
            let seen = self.visit.extension(&Extension {
                kind: next,
                head,
                at,
                len,
            });
            if seen.is_break() {
                return Err(Verdict::Refused);
            }
            if V::OPTIONS && matches!(next, number::HOP_BY_HOP | number::DESTINATION_OPTIONS) {
                self.options(next, at, len)?;
            }
            if next == number::FRAGMENT {
                fragment(layer, &head, at);
            }
            (next, at) = (head[0], at.saturating_add(len));
            if layer.fragment >> 3 != 0 {
                break;
            }
        }
        Ok((next, at))
    }

    /// The options of a header that is all in the packet.
    fn options(&mut self, header: u8, start: usize, len: usize) -> Result<(), Verdict> {
        let end = start.saturating_add(len);
        let mut at = start.saturating_add(2);
        let mut left = self.limits.options;
        while at < end {
            self.at = at;
            left = left.checked_sub(1).ok_or(Verdict::TooManyOptions)?;
            let [kind] = self.read(at)?;
            let mut option = TypedOption {
                header,
                kind,
                len: 0,
                at,
                is_filled: false,
            };
            if kind == TypedOption::PAD1 {
                at = at.saturating_add(1);
            } else {
                let data = at.saturating_add(2);
                if data > end {
                    return Err(Verdict::Length);
                }
                let [_, len] = self.read(at)?;
                option.len = len;
                at = data.saturating_add(usize::from(len));
                if at > end {
                    return Err(Verdict::Length);
                }
                if kind == TypedOption::PADN && len <= 5 {
                    option.is_filled = self.is_filled(data, len)?;
                }
            }
            if self.visit.option(&option).is_break() {
                return Err(Verdict::Refused);
            }
        }
        Ok(())
    }

    /// Whether one of up to five bytes is not 0.
    fn is_filled(&mut self, at: usize, len: u8) -> Result<bool, Verdict> {
        let mut any = 0;
        for n in 0..usize::from(len.min(5)) {
            let [byte] = self.read(at.saturating_add(n))?;
            any |= byte;
        }
        Ok(any != 0)
    }

    #[inline]
    fn transport(
        &mut self,
        layer: &mut Layer,
        protocol: u8,
        at: usize,
    ) -> Result<Option<Inside>, Verdict> {
        let len = match protocol {
            number::TCP => {
                let header: [u8; 20] = self.read(at)?;
                let len = usize::from(header[12] >> 4) * 4;
                if len < header.len() || len > self.end.saturating_sub(at) {
                    return Err(Verdict::Length);
                }
                len
            }
            number::UDP | number::UDP_LITE | number::ICMP | number::ICMPV6 => {
                let header: [u8; 8] = self.read(at)?;
                let is_vxlan = protocol == number::UDP && word(&header, 2) == VXLAN_PORT;
                if is_vxlan && self.may_look_into(layer) {
                    layer.payload = offset(at.saturating_add(8));
                    return Ok(self.vxlan(at.saturating_add(8)));
                }
                header.len()
            }
            number::SCTP => self.read::<12>(at)?.len(),
            number::NO_NEXT if layer.kinds.contains(Kinds::IPV6) => return Err(Verdict::Nothing),
            number::GRE if self.may_look_into(layer) => return self.gre(layer, at),
            number::IPV4 | number::IPV6 if self.may_look_into(layer) => {
                layer.payload = offset(at);
                return Ok(Some(Inside {
                    tunnel: Tunnel::Ip,
                    start: version_of(protocol),
                    at,
                }));
            }
            _ => return Err(Verdict::Unknown),
        };
        layer.payload = offset(at.saturating_add(len));
        Ok(None)
    }

    /// Whether what is in this packet is to be looked into: it is the outer one, and whole.
    fn may_look_into(&self, layer: &Layer) -> bool {
        self.limits.tunnels
            && self.found.tunnel == Tunnel::None
            && !layer.kinds.contains(Kinds::FRAGMENT)
    }

    /// A header of VXLAN, or just a UDP packet to its port.
    fn vxlan(&mut self, at: usize) -> Option<Inside> {
        let header: [u8; VXLAN_HEADER] = self.read(at).ok()?;
        (header[0] & VXLAN_VALID != 0).then(|| Inside {
            tunnel: Tunnel::Vxlan,
            start: Start::Ethernet,
            at: at.saturating_add(VXLAN_HEADER),
        })
    }

    /// A header of GRE with checksum, key and sequence number, or without.
    fn gre(&mut self, layer: &mut Layer, at: usize) -> Result<Option<Inside>, Verdict> {
        let header: [u8; 4] = self.read(at)?;
        let (flags, carried) = (word(&header, 0), word(&header, 2));
        // Its version is not 0, or it has a source route.
        if flags & 0x4007 != 0 {
            return Err(Verdict::Unknown);
        }
        let fields = [0x8000, 0x2000, 0x1000];
        let fields = fields.iter().filter(|&bit| flags & bit != 0).count();
        let len = header.len().saturating_add(fields.wrapping_mul(4));
        if len > self.end.saturating_sub(at) {
            return Err(Verdict::Truncated);
        }
        let at = at.saturating_add(len);
        layer.payload = offset(at);
        let (tunnel, start) = match carried {
            ethernet::IPV4 => (Tunnel::Gre, Start::Ipv4),
            ethernet::IPV6 => (Tunnel::Gre, Start::Ipv6),
            BRIDGED => (Tunnel::GreEthernet, Start::Ethernet),
            _ => return Ok(None),
        };
        Ok(Some(Inside { tunnel, start, at }))
    }
}

/// The IP header of a packet whose number in the outer one is `protocol`.
fn version_of(protocol: u8) -> Start {
    match protocol {
        number::IPV4 => Start::Ipv4,
        _ => Start::Ipv6,
    }
}

/// Bytes of an extension header, by its length field. `None` if that is none.
fn extension_len(kind: u8, field: u8) -> Option<usize> {
    let field = usize::from(field);
    match kind {
        number::FRAGMENT => Some(8),
        // Of three words without a checksum.
        number::AUTHENTICATION if field >= 1 => Some(field.wrapping_add(2) * 4),
        number::AUTHENTICATION => None,
        _ => Some(field.wrapping_add(1) * 8),
    }
}

/// Takes a fragment header down: of several ones the first that makes it a part.
fn fragment(layer: &mut Layer, head: &[u8; 8], at: usize) {
    if layer.kinds.contains(Kinds::FRAGMENT) {
        return;
    }
    let field = word(head, 2);
    layer.fragment_at = offset(at);
    layer.fragment = field & 0xfff9;
    layer.kinds.remove(Kinds::ATOMIC);
    layer.kinds |= match layer.fragment {
        0 => Kinds::ATOMIC,
        _ => Kinds::FRAGMENT,
    };
}

/// An offset as it is kept. Those that are too large are refused elsewhere.
fn offset(at: usize) -> u16 {
    at.min(u16::MAX.into()) as u16
}
