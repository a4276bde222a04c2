// SPDX-License-Identifier: BSD-2-Clause
//! Sums against one that is made a byte at a time.

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

/// A byte at a time, adding each carry as it arises.
fn plain(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    for (at, &byte) in bytes.iter().enumerate() {
        let word = if at % 2 == 0 {
            u16::from(byte) << 8
        } else {
            u16::from(byte)
        };
        let (added, carry) = sum.overflowing_add(word);
        sum = added + u16::from(carry);
    }
    !sum
}

#[test]
fn rfc_1624_section_4() {
    assert_eq!(changed(0xdd2f, 0x5555, 0x3285), 0x0000);
}

proptest! {
    #[test]
    fn sums_as_the_plain_way_does(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(of(&bytes), plain(&bytes));
    }

    #[test]
    fn a_changed_word_gives_the_sum_over_all(
        mut bytes in prop::collection::vec(any::<u8>(), 20..=60),
        at in 0usize..9,
        new: u16,
    ) {
        // A header is never all zeros, for which 0xffff and 0 are both the
        // one's complement zero.
        bytes[19] |= 1;
        let old = crate::wire::word(&bytes, at * 2);
        let before = of(&bytes);
        bytes[at * 2..at * 2 + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(changed(before, old, new), of(&bytes));
    }
}

#[test]
fn the_largest_sum_does_not_overflow() {
    let bytes = std::vec![0xff; 300_001];
    for len in [1, 2, 7, 8, 31, 64, 65_535, bytes.len()] {
        assert_eq!(of(&bytes[..len]), plain(&bytes[..len]), "{len}");
    }
}

proptest! {
    #[test]
    fn pieces_sum_up_as_the_whole(
        bytes in prop::collection::vec(prop_oneof![Just(0xff), any::<u8>()], 0..3000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut sum = Sum::new();
        for piece in cuts.windows(2) {
            sum.add(&bytes[piece[0]..piece[1]]);
        }
        prop_assert_eq!(sum.checksum(), plain(&bytes));
    }

    #[test]
    fn numbers_count_as_their_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40), number: u32) {
        // Behind an odd piece, too: addition is commutative.
        let mut sum = Sum::new();
        sum.add(&bytes);
        sum.add_number(number);
        let whole = [&number.to_be_bytes()[..], &bytes].concat();
        prop_assert_eq!(sum.value(), !plain(&whole));
    }
}

/// Every length to beyond two rounds at every offset in a word, with bytes that carry.
#[test]
fn every_length_at_every_offset() {
    let mut compared = 0;
    for fill in 0..2 {
        let bytes: Vec<u8> = (0..700u32)
            .map(|n| {
                if fill == 0 {
                    0xff
                } else {
                    ((n * n * 31) >> 3) as u8
                }
            })
            .collect();
        for from in 0..8 {
            for len in 0..=ROUND * 2 + 70 {
                let bytes = &bytes[from..from + len];
                assert_eq!(of(bytes), plain(bytes), "{from} {len}");
                let mut sum = Sum::new();
                sum.add_header(bytes);
                assert_eq!(sum.checksum(), plain(bytes), "{from} {len}");
                compared += 2;
            }
        }
    }
    assert_eq!(compared, 2 * 8 * (ROUND * 2 + 71) * 2);
}

#[test]
fn udp_lite_covers_what_its_field_says() {
    assert_eq!(covered(0, 100), Some(100));
    assert_eq!(covered(8, 100), Some(8));
    assert_eq!(covered(100, 100), Some(100));
    for coverage in [1, 7, 101, 0xffff] {
        assert_eq!(covered(coverage, 100), None, "{coverage}");
    }
}

#[test]
fn udp_never_sends_0() {
    let mut sum = Sum::new();
    sum.add(&[0xff, 0xff]);
    assert_eq!((sum.checksum(), sum.udp_checksum()), (0, 0xffff));
    sum.add(&[0, 1]);
    assert_eq!(sum.udp_checksum(), sum.checksum());
}

proptest! {
    #[test]
    fn a_pseudo_header_counts_as_its_bytes(source: [u8; 16], destination: [u8; 16], protocol: u8, len: u32) {
        for part in [4, 16] {
            let addresses = [&source[..part], &destination[..part]].concat();
            let whole = [&addresses[..], &len.to_be_bytes(), &[0, 0, 0, protocol]].concat();
            let sum = Sum::pseudo(&addresses, protocol, len);
            prop_assert_eq!(sum.checksum(), plain(&whole));
        }
    }

    #[test]
    fn sums_apart_are_put_together(
        one in prop::collection::vec(any::<u8>(), 0..80),
        other in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let (mut sum, mut behind) = (Sum::new(), Sum::new());
        sum.add(&one);
        behind.add(&other);
        sum.append(behind);
        sum.add(&one);
        prop_assert_eq!(sum.checksum(), plain(&[&one[..], &other, &one].concat()));
    }

    #[test]
    fn changed_bytes_give_the_sum_over_all(
        mut bytes in prop::collection::vec(any::<u8>(), 20..=60),
        at in 0usize..2,
        new: [u8; 16],
    ) {
        // As above: never all zeros.
        bytes[19] |= 1;
        let before = of(&bytes);
        let place = at * 2..at * 2 + 16;
        let old = bytes[place.clone()].to_vec();
        bytes[place].copy_from_slice(&new);
        prop_assert_eq!(changed_bytes(before, &old, &new), of(&bytes));
    }
}
