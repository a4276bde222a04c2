// SPDX-License-Identifier: BSD-2-Clause
//! What surrounds a packet that is cut, if it is in a tunnel: VXLAN, GRE, or IP in IP.
//!
//! Each frame has the whole of it in front. Outer IPv4 headers get an identification of
//! their own each; a UDP header that had no checksum (RFC 7348, RFC 6935) has none after,
//! and one that had a sum gets its own, as does GRE (RFC 2784).

use super::{Identification, Part, Version, fill, put, write_ipv4, write_ipv6, write_udp};
use crate::wire::checksum::Sum;
use crate::wire::protocol;

/// The outer packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outer {
    pub(super) version: Version,
    pub(super) identification: Identification,
    pub(super) carrier: Carrier,
    /// Offsets in the frame, in bytes.
    pub(super) network: usize,
    pub(super) transport: usize,
}

/// What is between the IP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Nothing.
    Ip,
    /// UDP, and VXLAN behind it.
    Udp,
    /// GRE without a checksum.
    Gre,
    /// GRE with one.
    SummedGre,
}

/// Where GRE has its checksum.
const GRE_SUM: usize = 4;

impl Outer {
    /// Makes its headers those of a part whose payload begins at `payload`.
    pub(super) fn write(&self, part: &Part, payload: usize, header: &mut [u8]) {
        let Some(packet) = header.get_mut(self.network..) else {
            return;
        };
        let at = self.transport.saturating_sub(self.network);
        let Some((network, transport)) = packet.split_at_mut_checked(at) else {
            return;
        };
        let len = payload
            .saturating_sub(self.transport)
            .saturating_add(part.len);
        let more = self.identification.more(part.n);
        // Of UDP only there is a pseudo-header.
        let pseudo = match self.version {
            Version::V4 => write_ipv4(network, more, len, protocol::UDP),
            Version::V6 => write_ipv6(network, len, protocol::UDP),
        };
        match self.carrier {
            Carrier::Udp => write_udp(transport, len, pseudo),
            Carrier::SummedGre => put(transport, GRE_SUM, &[0, 0]),
            Carrier::Ip | Carrier::Gre => (),
        }
    }

    /// Makes its checksum whole; all that is behind it in `headers` is.
    pub(super) fn fill(&self, headers: &mut [u8], payload: Sum) {
        let Some(transport) = headers.get_mut(self.transport..) else {
            return;
        };
        match self.carrier {
            Carrier::Udp => fill(transport, 6, payload, true),
            Carrier::SummedGre => fill(transport, GRE_SUM, payload, false),
            Carrier::Ip | Carrier::Gre => (),
        }
    }
}
