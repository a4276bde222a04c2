// SPDX-License-Identifier: BSD-2-Clause
//! Bytes that a receiver can know beforehand: each depends on a seed and on its
//! place, and the sequence does not repeat, so that a byte lost, doubled, moved or
//! changed shows. The host makes them, and knows them, as well.

/// The bytes of one seed, from place 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern(u64);

/// Bytes that are made of one number.
const WORD: u64 = 8;

impl Pattern {
    /// The bytes of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Writes the bytes from place `at` on.
    pub fn fill(&self, at: u64, out: &mut [u8]) {
        let first = odd(at, out.len());
        let (odd, words) = out.split_at_mut(first);
        for (at, byte) in (at..).zip(odd) {
            *byte = self.byte(at);
        }
        for (number, word) in (at.div_ceil(WORD)..).zip(words.chunks_mut(WORD as usize)) {
            word.copy_from_slice(&self.number(number).to_le_bytes()[..word.len()]);
        }
    }

    /// How many of `bytes`, which should be those from place `at` on, are others.
    #[must_use]
    pub fn differences(&self, at: u64, bytes: &[u8]) -> u64 {
        let (odd, words) = bytes.split_at(odd(at, bytes.len()));
        let wrong = |(at, byte): &(u64, &u8)| **byte != self.byte(*at);
        let mut count = (at..).zip(odd).filter(wrong).count();
        for (number, word) in (at.div_ceil(WORD)..).zip(words.chunks(WORD as usize)) {
            let wanted = self.number(number).to_le_bytes();
            if *word != wanted[..word.len()] {
                let pairs = word.iter().zip(&wanted);
                count += pairs.filter(|(one, other)| one != other).count();
            }
        }
        count as u64
    }

    /// A number that looks random and depends on the seed and on `at`: the output
    /// function of `SplitMix64` (Steele, Lea, Flood, 2014).
    #[must_use]
    pub fn number(&self, at: u64) -> u64 {
        let step = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0.wrapping_add(step);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn byte(&self, at: u64) -> u8 {
        self.number(at / WORD).to_le_bytes()[(at % WORD) as usize]
    }
}

/// How many of so many bytes from place `at` on come before a whole word.
fn odd(at: u64, len: usize) -> usize {
    len.min((at.next_multiple_of(WORD) - at) as usize)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    #[test]
    fn pieces_are_those_of_the_whole() {
        let pattern = Pattern::new(7);
        let whole: Vec<u8> = (0..64).map(|at| pattern.byte(at)).collect();
        for from in 0..24 {
            for to in from..64 {
                let mut piece = std::vec![0; to - from];
                pattern.fill(from as u64, &mut piece);
                assert_eq!(piece, whole[from..to]);
                assert_eq!(pattern.differences(from as u64, &piece), 0);
            }
        }
    }

    #[test]
    fn each_byte_that_differs_is_counted() {
        let pattern = Pattern::new(9);
        let mut bytes = [0; 40];
        pattern.fill(3, &mut bytes);
        for (wrong, at) in [0, 4, 5, 20, 39].into_iter().enumerate() {
            bytes[at] ^= 1;
            assert_eq!(pattern.differences(3, &bytes), wrong as u64 + 1);
        }
    }
}
