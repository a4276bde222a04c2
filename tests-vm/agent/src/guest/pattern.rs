// SPDX-License-Identifier: BSD-2-Clause
//! Bytes that a receiver can know beforehand: each depends on a seed and on its
//! place, and the sequence does not repeat, so that a byte lost, doubled, moved or
//! changed shows.

/// The bytes of one seed, from place 0 on.
pub(super) struct Pattern(u64);

impl Pattern {
    /// The bytes of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Writes the bytes from place `at` on.
    pub(super) fn fill(&self, at: u64, out: &mut [u8]) {
        for (at, byte) in (at..).zip(out) {
            *byte = self.byte(at);
        }
    }

    /// How many of `bytes`, which should be those from place `at` on, are others.
    pub(super) fn differences(&self, at: u64, bytes: &[u8]) -> u64 {
        let wrong = |(at, byte): &(u64, &u8)| **byte != self.byte(*at);
        (at..).zip(bytes).filter(wrong).count() as u64
    }

    /// A number that looks random and depends on the seed and on `at`: the output
    /// function of `SplitMix64` (Steele, Lea, Flood, 2014).
    pub(super) fn number(&self, at: u64) -> u64 {
        let step = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0.wrapping_add(step);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn byte(&self, at: u64) -> u8 {
        self.number(at / 8).to_le_bytes()[(at % 8) as usize]
    }
}
