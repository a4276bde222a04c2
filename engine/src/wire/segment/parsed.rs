// SPDX-License-Identifier: BSD-2-Clause
//! What can be cut, of packets whose headers were [found](crate::wire::parse).

use super::tunnel::{Carrier, Outer};
use super::{Cut, Identification, Kind, Version};
use crate::wire::parse::{Kinds, Layer, Parsed, Tunnel};
use crate::wire::{protocol, word};

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Into parts of no bytes.
    Size,
    /// Its headers are not all known, or not all there.
    Headers,
    /// It is neither TCP nor UDP.
    Protocol,
    /// It is a part of a packet.
    Fragment,
    /// It goes by a routing header or by IPv4's source route: the pseudo-header has another
    /// destination than the IP header.
    Routed,
    /// It is authenticated: a copy of the headers would not be right.
    Authenticated,
    /// GRE numbers its packets.
    Numbered,
    /// There are bytes behind the inner packet that belong to the outer one.
    Trailer,
    /// It has no payload.
    Empty,
}

/// Options of IPv4 that say by which way a packet goes: loose and strict (RFC 791).
const SOURCE_ROUTES: [u8; 2] = [131, 137];
/// Flags of GRE.
const GRE_SUMMED: u16 = 0x8000;
const GRE_NUMBERED: u16 = 0x1000;

impl Cut {
    /// How to cut a frame, whose headers were found, into parts with `size` bytes of
    /// payload: TCP or UDP over IPv4 with options or IPv6 with extension headers, also in a
    /// tunnel, if the parser was allowed to look into it. `header` is its front, which ends
    /// behind the headers or later.
    ///
    /// # Errors
    /// Why it cannot be cut.
    pub fn of_parsed(parsed: &Parsed, header: &[u8], size: usize) -> Result<Self, Refusal> {
        if size == 0 {
            return Err(Refusal::Size);
        }
        if !parsed.is_whole() {
            return Err(Refusal::Headers);
        }
        let layer = parsed.innermost();
        let kind = match layer.protocol {
            protocol::TCP => Kind::Tcp,
            protocol::UDP => Kind::Udp,
            _ => return Err(Refusal::Protocol),
        };
        check(layer, header)?;
        let cut = Self {
            version: version(layer),
            kind,
            identification: Identification::Rising,
            network: layer.l3.into(),
            transport: layer.l4.into(),
            payload: layer.payload.into(),
            end: layer.end as usize,
            size,
            outer: outer(parsed, header)?,
        };
        if cut.payload > header.len() {
            return Err(Refusal::Headers);
        }
        match cut.payload < cut.end {
            true => Ok(cut),
            false => Err(Refusal::Empty),
        }
    }

    /// The same with identifications that go up or stay.
    #[must_use]
    pub fn identified(mut self, inner: Identification, outer: Identification) -> Self {
        self.identification = inner;
        if let Some(packet) = &mut self.outer {
            packet.identification = outer;
        }
        self
    }

    /// Where IPv4's identifications are: of the packet, and of what surrounds it.
    pub(in crate::wire) fn identifications(&self) -> [Option<usize>; 2] {
        let at = |version, network: usize| match version {
            Version::V4 => Some(network.saturating_add(4)),
            Version::V6 => None,
        };
        let outer = self
            .outer
            .and_then(|outer| at(outer.version, outer.network));
        [at(self.version, self.network), outer]
    }

    /// Where layer 4 begins.
    pub(in crate::wire) fn transport(&self) -> usize {
        self.transport
    }

    /// Bytes of an IP packet that has so many of payload: of the outermost one, from its
    /// header on.
    pub(in crate::wire) fn packet_len(&self, payload: usize) -> usize {
        let network = self.outer.map_or(self.network, |outer| outer.network);
        let headers = self.payload.saturating_sub(network);
        headers.saturating_add(payload)
    }

    /// The same cut of a frame that has so many bytes of payload.
    pub(in crate::wire) fn with_payload(mut self, payload: usize) -> Self {
        self.end = self.payload.saturating_add(payload);
        self
    }
}

fn version(layer: &Layer) -> Version {
    match layer.kinds.contains(Kinds::IPV6) {
        true => Version::V6,
        false => Version::V4,
    }
}

/// Whether copies of this packet's headers would do.
fn check(layer: &Layer, header: &[u8]) -> Result<(), Refusal> {
    const HAVE_OWN_RULES: Kinds = Kinds::MOBILITY.union(Kinds::HIP).union(Kinds::SHIM6);
    let kinds = layer.kinds;
    if kinds.intersects(Kinds::FRAGMENT | Kinds::ATOMIC) {
        return Err(Refusal::Fragment);
    }
    if kinds.contains(Kinds::AUTHENTICATION) {
        return Err(Refusal::Authenticated);
    }
    if kinds.intersects(HAVE_OWN_RULES) {
        return Err(Refusal::Headers);
    }
    let is_routed = kinds.contains(Kinds::ROUTING)
        || kinds.contains(Kinds::IPV4_OPTIONS) && has_source_route(layer, header);
    match is_routed {
        true => Err(Refusal::Routed),
        false => Ok(()),
    }
}

fn has_source_route(layer: &Layer, header: &[u8]) -> bool {
    let options = usize::from(layer.l3).saturating_add(20)..usize::from(layer.l4);
    let mut rest = header.get(options).unwrap_or_default();
    while let Some((&kind, behind)) = rest.split_first() {
        let len = match kind {
            0 => return false,
            1 => 1,
            _ if SOURCE_ROUTES.contains(&kind) => return true,
            _ => usize::from(behind.first().copied().unwrap_or(0)).max(2),
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    false
}

fn outer(parsed: &Parsed, header: &[u8]) -> Result<Option<Outer>, Refusal> {
    let layer = &parsed.outer;
    let carrier = match parsed.tunnel {
        Tunnel::None => return Ok(None),
        Tunnel::Ip => Carrier::Ip,
        Tunnel::Vxlan => Carrier::Udp,
        Tunnel::Gre | Tunnel::GreEthernet => {
            let flags = word(header, layer.l4.into());
            if flags & GRE_NUMBERED != 0 {
                return Err(Refusal::Numbered);
            }
            match flags & GRE_SUMMED {
                0 => Carrier::Gre,
                _ => Carrier::SummedGre,
            }
        }
    };
    check(layer, header)?;
    if layer.end != parsed.inner.end {
        return Err(Refusal::Trailer);
    }
    Ok(Some(Outer {
        version: version(layer),
        identification: Identification::Rising,
        carrier,
        network: layer.l3.into(),
        transport: layer.l4.into(),
    }))
}
