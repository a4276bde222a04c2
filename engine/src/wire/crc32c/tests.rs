// SPDX-License-Identifier: BSD-2-Clause
//! Both ways against one that goes bit by bit, and against published sums.

use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn plain(bytes: &[u8]) -> u32 {
    let mut state = !0u32;
    for byte in bytes {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = match state & 1 {
                0 => state >> 1,
                _ => (state >> 1) ^ POLYNOMIAL,
            };
        }
    }
    !state
}

fn methods() -> [Method; 2] {
    [Method::TABLES, Method::of_this_processor()]
}

fn of(bytes: &[u8], method: Method) -> u32 {
    let mut crc = Crc::new(method);
    crc.add(bytes);
    crc.value()
}

/// RFC 3720, appendix B.4, which prints them byte by byte as they are sent.
#[test]
fn the_published_sums() {
    let rising: Vec<u8> = (0..32).collect();
    let falling: Vec<u8> = (0..32).rev().collect();
    for method in methods() {
        assert_eq!(of(&[0; 32], method), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32], method), 0x62a8_ab43);
        assert_eq!(of(&rising, method), 0x46dd_794e);
        assert_eq!(of(&falling, method), 0x113f_db5c);
        assert_eq!(of(b"123456789", method), 0xe306_9283);
    }
}

#[test]
fn every_length_to_beyond_two_rounds() {
    let bytes: Vec<u8> = (0..900u32).map(|n| ((n * n * 77) >> 4) as u8).collect();
    for method in methods() {
        for len in 0..bytes.len() {
            assert_eq!(of(&bytes[..len], method), plain(&bytes[..len]), "{len}");
        }
    }
}

proptest! {
    #[test]
    fn pieces_sum_up_as_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend(vec![0, bytes.len()]);
        cuts.sort_unstable();
        for method in methods() {
            let mut crc = Crc::new(method);
            for piece in cuts.windows(2) {
                crc.add(&bytes[piece[0]..piece[1]]);
            }
            prop_assert_eq!(crc.value(), plain(&bytes));
        }
    }
}
