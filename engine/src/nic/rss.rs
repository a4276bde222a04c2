// SPDX-License-Identifier: BSD-2-Clause
//! How flows are spread over receive queues: a hash by Toeplitz's function with a key, the low
//! bits of which choose an entry of a table of queues (Microsoft, "Receive Side Scaling").

use crate::wire::toeplitz::KEY;
use bitflags::bitflags;

/// Entries of the table.
pub const TABLE: usize = 128;

/// Microsoft's key, of the RSS specification's verification suite: cards are shipped with it,
/// so what hashes in software with it has the same hash.
pub const DEFAULT_KEY: [u8; KEY] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

bitflags! {
    /// What is hashed. The first four are as VMXNET3 has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Hashes: u8 {
        /// IPv4 addresses.
        const IPV4 = 1 << 0;
        /// And TCP ports.
        const TCP_IPV4 = 1 << 1;
        /// IPv6 addresses.
        const IPV6 = 1 << 2;
        /// And TCP ports.
        const TCP_IPV6 = 1 << 3;
        /// IPv4 addresses and UDP ports.
        const UDP_IPV4 = 1 << 4;
        /// IPv6 addresses and UDP ports.
        const UDP_IPV6 = 1 << 5;
    }
}

/// How flows are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The key.
    pub key: [u8; KEY],
    /// The queue of each hash.
    pub table: [u8; TABLE],
    /// What is hashed. Without the ports of UDP all fragments of a datagram stay together.
    pub hashes: Hashes,
}

impl Rss {
    /// Over so many queues by turns, with the usual key.
    pub fn even(queues: u16) -> Self {
        let queues = queues.clamp(1, TABLE as u16);
        let mut table = [0; TABLE];
        for (n, place) in (0_u16..).zip(&mut table) {
            *place = n.checked_rem(queues).unwrap_or(0) as u8;
        }
        Self {
            key: DEFAULT_KEY,
            table,
            hashes: Hashes::all() - Hashes::UDP_IPV4 - Hashes::UDP_IPV6,
        }
    }

    /// The queue of a hash.
    pub fn queue(&self, hash: u32) -> u16 {
        let entry = self.table.get(hash as usize & (TABLE - 1));
        entry.copied().unwrap_or(0).into()
    }
}
