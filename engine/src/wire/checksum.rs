// SPDX-License-Identifier: BSD-2-Clause
//! The Internet checksum (RFC 1071) and its change along with a word (RFC 1624).

/// The checksum over the bytes: the complement of the one's complement sum of
/// their words, in host order, an odd last byte being followed by 0. Over a
/// header that bears its right checksum it is 0.
pub fn of(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.checksum()
}

/// The one's complement sum of what comes in pieces of any length and alignment, such as
/// the parts of a packet, as if they were one.
///
/// 64 bits are added at a time, in the machine's order: the sum of words with their bytes
/// swapped is the sum with its bytes swapped (RFC 1071, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Congruent to the sum modulo 2^16 - 1, and 0 only if all was 0.
    words: u64,
    /// Whether so far an odd number of bytes was added.
    is_odd: bool,
}

/// Bytes that are added in one round: two chains of carries, which the processor can follow
/// at the same time.
const ROUND: usize = 64;

impl Sum {
    /// Of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self {
            words: 0,
            is_odd: false,
        }
    }

    /// Adds bytes behind those that were added before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = sum(bytes);
        let sum = if self.is_odd { sum.rotate_left(8) } else { sum };
        self.words = plus(self.words, sum);
        self.is_odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a number of 32 bits, or one of 16, such as a length, as if it stood there in
    /// network order at an even offset; which it need not.
    #[inline]
    pub fn add_number(&mut self, number: u32) {
        self.words = plus(self.words, number.to_be().into());
    }

    /// The sum in host order: what stands in the place of a checksum that is left to be
    /// filled in, if this is the pseudo-header's.
    #[inline]
    pub fn value(self) -> u16 {
        let halves = (self.words & 0xffff_ffff).wrapping_add(self.words >> 32);
        let halves = (halves & 0xffff_ffff).wrapping_add(halves >> 32) as u32;
        u16::from_be(fold(halves))
    }

    /// The checksum in host order: the complement.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.value()
    }
}

/// The one's complement sum of two.
#[inline]
const fn plus(one: u64, other: u64) -> u64 {
    let (sum, carry) = one.overflowing_add(other);
    // A sum that overflowed has room for its carry.
    sum.wrapping_add(carry as u64)
}

/// The sum of the bytes' 64-bit words in the machine's order, the last one filled up.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let (rounds, rest) = bytes.as_chunks::<ROUND>();
    let [mut one, mut other] = [0; 2];
    for round in rounds {
        let (half, _) = round.as_chunks::<{ ROUND / 2 }>();
        if let [first, second] = half {
            one = chain(one, first);
            other = chain(other, second);
        }
    }
    let mut sum = plus(one, other);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        sum = plus(sum, u64::from_ne_bytes(*word));
    }
    plus(sum, last(rest))
}

/// Adds four words, with one carry from each to the next.
#[inline]
fn chain(sum: u64, bytes: &[u8; ROUND / 2]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    let (mut sum, mut carry) = (sum, false);
    for word in words {
        (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    sum.wrapping_add(carry.into())
}

/// Fewer than eight bytes, as a word filled up with 0 behind them.
#[inline]
fn last(bytes: &[u8]) -> u64 {
    let (four, rest) = match bytes.split_first_chunk::<4>() {
        Some((four, rest)) => (u32::from_ne_bytes(*four), rest),
        None => (0, bytes),
    };
    let (two, rest) = match rest.split_first_chunk::<2>() {
        Some((two, rest)) => (u16::from_ne_bytes(*two), rest),
        None => (0, rest),
    };
    let one = rest
        .first()
        .map_or(0, |&byte| u16::from_ne_bytes([byte, 0]));
    // Words of a sum may stand anywhere at an even offset.
    u64::from(four)
        .wrapping_add(two.into())
        .wrapping_add(one.into())
}

/// The checksum after a word that it covers has changed from `old` to `new`:
/// equation 3 of RFC 1624, which, unlike RFC 1141's, never turns a sum that
/// must be 0xffff into 0.
pub fn changed(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

/// Adds the carries back in.
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    sum.wrapping_add(sum >> 16) as u16
}

#[cfg(test)]
mod tests {
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
            let old = super::super::word(&bytes, at * 2);
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
}
