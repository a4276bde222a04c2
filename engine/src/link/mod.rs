// SPDX-License-Identifier: BSD-2-Clause
//! Links: what can carry frames, apart from the interfaces on it.
//!
//! What a link does for packets, and how that is settled, is in `capabilities.rs`.

mod capabilities;

pub use capabilities::{Capabilities, Offer};

/// Whether a frame that is to be sent is longer than the link takes.
///
/// `len` is in bytes, with the Ethernet header; there may be a tag, for which the MTU
/// leaves no room. Long segments are cut later, and not meant.
#[inline]
pub const fn is_too_long(len: u32, mtu: u32) -> bool {
    len > longest(mtu)
}

/// Bytes of the longest frame that a link takes, with the Ethernet header and a tag.
#[inline]
pub const fn longest(mtu: u32) -> u32 {
    mtu.saturating_add(HEADERS)
}

/// Bytes of an Ethernet header with a tag.
const HEADERS: u32 = (crate::wire::ethernet::HEADER + crate::wire::ethernet::TAG) as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_may_have_a_tag_beside_the_mtu() {
        assert!(!is_too_long(1500 + 14 + 4, 1500));
        assert!(is_too_long(1500 + 14 + 5, 1500));
        assert!(!is_too_long(u32::MAX, u32::MAX));
    }
}
