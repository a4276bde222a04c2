// SPDX-License-Identifier: BSD-2-Clause
//! Tags of VLANs (IEEE 802.1Q), put into frames and taken out of them.
//!
//! The addresses are moved, which are twelve bytes; what is behind them stays where it is.
//! So a frame needs room in front, and its front must be in one piece and its owner's alone.

use super::ethernet::{TAG, is_tag};
use super::word;

/// Bytes of the two addresses.
const ADDRESSES: usize = 12;
/// Bytes of a frame's front that have a tag behind the addresses.
pub const TAGGED: usize = ADDRESSES + TAG;

/// Puts a tag in. `front` begins with [`TAG`] bytes of room, which become the first of the
/// frame; the frame's front follows, at least its addresses. `kind` is the tag's EtherType,
/// and `tag` priority, drop bit and number. False if `front` is too short.
#[must_use]
pub fn insert(front: &mut [u8], kind: u16, tag: u16) -> bool {
    let Some(front) = front.first_chunk_mut::<TAGGED>() else {
        return false;
    };
    front.copy_within(TAG.., 0);
    let [kind1, kind2] = kind.to_be_bytes();
    let [tag1, tag2] = tag.to_be_bytes();
    if let Some(place) = front.last_chunk_mut() {
        *place = [kind1, kind2, tag1, tag2];
    }
    true
}

/// Takes the outermost tag out: its EtherType, and priority, drop bit and number. The frame
/// then begins [`TAG`] bytes further. `None` if it has none, or is too short.
pub fn strip(front: &mut [u8]) -> Option<(u16, u16)> {
    let front = front.first_chunk_mut::<TAGGED>()?;
    let (kind, tag) = (word(front, ADDRESSES), word(front, ADDRESSES + 2));
    if !is_tag(kind) {
        return None;
    }
    front.copy_within(..ADDRESSES, TAG);
    Some((kind, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A frame with a tag is the frame and the tag, both ways; the bytes behind stay.
        #[test]
        fn what_was_put_in_comes_out(
            frame in prop::collection::vec(any::<u8>(), ADDRESSES..64),
            kind in prop_oneof![Just(0x8100u16), Just(0x88a8), Just(0x9100)],
            tag: u16,
        ) {
            let mut bytes = [&[0; TAG][..], &frame].concat();
            prop_assert!(insert(&mut bytes, kind, tag));
            prop_assert_eq!(&bytes[..ADDRESSES], &frame[..ADDRESSES]);
            prop_assert_eq!(word(&bytes, 12), kind);
            prop_assert_eq!(word(&bytes, 14), tag);
            prop_assert_eq!(&bytes[TAGGED..], &frame[ADDRESSES..]);
            prop_assert_eq!(strip(&mut bytes), Some((kind, tag)));
            prop_assert_eq!(&bytes[TAG..], &frame[..]);
        }

        #[test]
        fn without_a_tag_nothing_changes(frame in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = frame.clone();
            if strip(&mut bytes).is_none() {
                prop_assert_eq!(bytes, frame);
            }
        }
    }

    #[test]
    fn what_is_too_short_is_left() {
        assert!(!insert(&mut [0; TAGGED - 1], 0x8100, 1));
        assert_eq!(strip(&mut [0x81; TAGGED - 1]), None);
    }
}
