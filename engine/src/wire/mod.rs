// SPDX-License-Identifier: BSD-2-Clause
//! Views of packet headers over bytes that belong to somebody else: nothing is
//! copied, every length is checked once, when the view is made, and no bytes,
//! however made, make a view panic.
//!
//! A view is made by `parse`, which refuses what it could not answer for; from
//! then on its fields are plain reads. Numbers come in host order.

pub mod aggregate;
pub mod checksum;
pub mod complete;
pub mod crc32c;
pub mod ethernet;
pub mod flow;
pub mod ipv4;
pub mod offload;
pub mod parse;
pub mod policy;
pub mod protocol;
pub mod segment;
pub mod source;
pub mod toeplitz;
pub mod vlan;

/// Two bytes in network order; 0 if they are not there.
pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |&two| u16::from_be_bytes(two))
}

/// Four bytes in network order; 0 if they are not there.
fn long(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |&four| u32::from_be_bytes(four))
}

/// Copies as much as there is room for. How much that is.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let mut count = 0;
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
        count += 1;
    }
    count
}
