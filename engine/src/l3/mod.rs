// SPDX-License-Identifier: BSD-2-Clause
//! L3 interfaces: interfaces with addresses of their own, members of one Ethernet link,
//! whose hardware address they share.
//!
//! | what                   | is                                                      | in           |
//! | ---------------------- | ------------------------------------------------------- | ------------ |
//! | [`Steering`]           | who has which address, who has joined which group       | `steering.rs` |
//! | [`target`]             | for whom a frame is, by its headers alone               | `target.rs`  |
//! | [`check`]              | whether its sender may send it                          | `source.rs`  |
//! | [`alias`], [`readdress`] | what members call each other, who have one hardware address | `alias.rs` |
//!
//! Members are told apart by a number, from 1 on; 0 is the link's own interface, the
//! parent. Frames are Ethernet II with IPv4, ARP or IPv6 in it. All else is the parent's,
//! and so is what is tagged for a VLAN.

mod alias;
mod source;
mod steering;
mod target;

pub use alias::{ALIASED, NUMBERS, alias, aliased, readdress};
pub use source::{Forgery, check};
pub use steering::{Holder, Member, Slot, Steering};
pub use target::{Target, target};

use crate::wire::ethernet;
use core::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address of Ethernet.
pub type Mac = [u8; 6];

/// Bytes of a frame's front that [`target`] and [`check`] may want to see: all headers of
/// packets but those with unusually many extensions.
pub const FRONT: usize = 256;

/// The address of all.
pub const BROADCAST: Mac = [0xff; 6];

/// Whether a hardware address is that of a group, all being one.
#[inline]
pub const fn is_group(mac: Mac) -> bool {
    mac[0] & 1 != 0
}

/// A frame's destination and source, if it is long enough.
#[inline]
pub fn ends(frame: &[u8]) -> Option<(Mac, Mac)> {
    Some((mac(frame, 0)?, mac(frame, 6)?))
}

fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    bytes.get(at..)?.first_chunk().copied()
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from(octets))
}

fn ipv6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = *bytes.get(at..)?.first_chunk()?;
    Some(Ipv6Addr::from(octets))
}

/// An ARP packet (RFC 826) that maps IPv4 to Ethernet.
struct Arp<'p>(&'p [u8]);

impl<'p> Arp<'p> {
    /// Where the sender's hardware address is.
    const SENDER: usize = 8;
    /// Where the target's is.
    const TARGET: usize = 18;
    /// Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes.
    const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

    fn parse(payload: &'p [u8]) -> Option<Self> {
        let bytes = payload.get(..28)?;
        bytes.starts_with(&Self::KIND).then_some(Self(bytes))
    }

    fn sender(&self) -> Option<(Mac, Ipv4Addr)> {
        Some((mac(self.0, Self::SENDER)?, ipv4(self.0, Self::SENDER + 6)?))
    }

    fn target(&self) -> Option<Ipv4Addr> {
        ipv4(self.0, Self::TARGET + 6)
    }
}

/// What an untagged frame bears: its EtherType and payload.
fn untagged(frame: &[u8]) -> Option<(u16, &[u8])> {
    let frame = ethernet::Frame::parse(frame).ok()?;
    match frame.vlan() {
        None => Some((frame.ethertype(), frame.payload())),
        Some(_) => None,
    }
}
