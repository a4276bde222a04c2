// SPDX-License-Identifier: BSD-2-Clause
//! The Toeplitz hash of receive-side scaling, as network cards compute it: the
//! exclusive or, over all bits that are set in the input, of the 32 bits of the key that
//! begin at the bit's place ("Verifying the RSS hash calculation", Windows driver
//! documentation).
//!
//! Here half a byte at a time, by a table of what each can contribute: 16 numbers for
//! each of 72 places, 4.5 KB, which stay in the first-level cache. A table for whole
//! bytes would take 36 KB.

/// Bytes of a key.
pub const KEY: usize = 40;
/// Bytes of input that a key is long enough for: two IPv6 addresses and two ports.
pub const INPUT: usize = 36;

/// A key, ready to hash with.
#[derive(Clone)]
pub struct Toeplitz {
    /// What the high and the low half of each byte contribute.
    halves: [[[u32; 16]; 2]; INPUT],
}

impl Toeplitz {
    /// The hash with this key.
    pub const fn new(key: &[u8; KEY]) -> Self {
        let mut halves = [[[0; 16]; 2]; INPUT];
        let mut at = 0;
        while at < INPUT {
            let mut value = 0;
            while value < 16 {
                halves[at][0][value] = contribution(key, at * 8, value);
                halves[at][1][value] = contribution(key, at * 8 + 4, value);
                value += 1;
            }
            at += 1;
        }
        Self { halves }
    }

    /// The hash of the first [`INPUT`] bytes; there is no key for more.
    #[inline]
    pub fn hash(&self, input: &[u8]) -> u32 {
        let mut hash = 0;
        for ([high, low], &byte) in self.halves.iter().zip(input) {
            hash ^= at(high, byte >> 4) ^ at(low, byte & 15);
        }
        hash
    }
}

#[inline]
fn at(table: &[u32; 16], half: u8) -> u32 {
    table.get(usize::from(half)).copied().unwrap_or(0)
}

/// What four bits of the input contribute that begin at bit `first`.
const fn contribution(key: &[u8; KEY], first: usize, value: usize) -> u32 {
    let mut hash = 0;
    let mut bit = 0;
    while bit < 4 {
        if value & (8 >> bit) != 0 {
            hash ^= window(key, first + bit);
        }
        bit += 1;
    }
    hash
}

/// The 32 bits of the key that begin at a bit.
const fn window(key: &[u8; KEY], first: usize) -> u32 {
    let mut window = 0u32;
    let mut bit = first;
    while bit < first + 32 {
        let is_set = key[bit / 8] & (0x80 >> (bit % 8)) != 0;
        window = window << 1 | is_set as u32;
        bit += 1;
    }
    window
}

impl core::fmt::Debug for Toeplitz {
    /// Does not tell the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Toeplitz").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Bit by bit, the key shifted along.
    fn naive(key: &[u8; KEY], input: &[u8]) -> u32 {
        let bit_of = |bytes: &[u8], bit: usize| bytes[bit / 8] >> (7 - bit % 8) & 1 == 1;
        let mut hash = 0;
        for bit in 0..input.len() * 8 {
            if bit_of(input, bit) {
                for place in 0..32 {
                    hash ^= u32::from(bit_of(key, bit + place)) << (31 - place);
                }
            }
        }
        hash
    }

    proptest! {
        #[test]
        fn equals_the_hash_bit_by_bit(
            first in any::<[u8; 32]>(),
            last in any::<[u8; 8]>(),
            input in prop::collection::vec(any::<u8>(), 0..=INPUT),
        ) {
            let key: Vec<u8> = first.into_iter().chain(last).collect();
            let key: [u8; KEY] = key.try_into().unwrap();
            prop_assert_eq!(Toeplitz::new(&key).hash(&input), naive(&key, &input));
        }
    }

    #[test]
    fn what_is_too_long_for_the_key_does_not_count() {
        let hash = Toeplitz::new(&[0x5a; KEY]);
        let input: [u8; 50] = core::array::from_fn(|n| n as u8);
        assert_eq!(hash.hash(&input), hash.hash(&input[..INPUT]));
        assert_eq!(hash.hash(&[]), 0);
    }
}
