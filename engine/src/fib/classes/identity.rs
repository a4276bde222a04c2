// SPDX-License-Identifier: BSD-2-Clause
//! What tells one next hop from another, in 128 bits.
//!
//! A hash: equal next hops have equal identities, and different ones different
//! identities but for odds of 2^-64 and less. Nothing breaks when those come up:
//! the two are then taken for two next hops that are alike, see
//! [`classes`](super).

use core::ops::BitXor;

/// A next hop or a group of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity(u128);

/// How identities are made: the same seed gives the same ones.
#[derive(Clone, Copy, Debug)]
pub struct Identifier {
    seed: [u64; 2],
}

/// Odd numbers without a pattern: the golden ratio's, and the square root of 3's,
/// fractions in 64 bits.
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];

impl Identifier {
    /// Identities that nobody can tell in advance, if the seed is random.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// The identity of what those words say.
    pub fn of(&self, words: &[u64]) -> Identity {
        let [a, b] = self.seed;
        let (mut a, mut b) = (a ^ words.len() as u64, b);
        for &word in words {
            a = fold(a, word, MULTIPLIERS[0]);
            b = fold(b, word.rotate_left(32), MULTIPLIERS[1]);
        }
        let [c, d] = self.seed;
        Identity(u128::from(fold(a, b, d | 1)) << 64 | u128::from(fold(b, a, c | 1)))
    }

    /// The identity of a group whose members, in any order, have these identities
    /// and weights.
    pub fn of_group(&self, members: impl Iterator<Item = (Identity, u32)>) -> Identity {
        let mut count = 0u64;
        let mut sum = 0u128;
        for (Identity(member), weight) in members {
            let (high, low) = ((member >> 64) as u64, member as u64);
            // A sum does not depend on the order.
            sum = sum.wrapping_add(self.of(&[high, low, u64::from(weight)]).0);
            count = count.wrapping_add(1);
        }
        self.of(&[u64::MAX, count, (sum >> 64) as u64, sum as u64])
    }
}

impl Identity {
    /// Some 32 bits of it.
    pub(super) fn hash(self) -> u32 {
        self.0 as u32
    }
}

/// Mixes a word in: the two halves of a product of 128 bits, one over the other.
fn fold(state: u64, word: u64, multiplier: u64) -> u64 {
    let product = u128::from(state.bitxor(word)).wrapping_mul(u128::from(multiplier));
    (product >> 64) as u64 ^ product as u64 ^ state.rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn different_words_have_different_identities() {
        let identifier = Identifier::new([3, 5]);
        let mut seen = HashSet::new();
        for a in 0..200u64 {
            for b in 0..200u64 {
                assert!(seen.insert(identifier.of(&[a, b])), "{a} {b}");
                assert!(
                    seen.insert(identifier.of(&[a << 40, b << 56, 0])),
                    "{a} {b}"
                );
            }
        }
        assert!(seen.insert(identifier.of(&[])));
        assert!(seen.insert(identifier.of(&[0])));
        assert!(!seen.insert(identifier.of(&[7, 9])));
        assert_ne!(Identifier::new([3, 6]).of(&[7]), identifier.of(&[7]));
        assert_ne!(Identifier::new([2, 5]).of(&[7]), identifier.of(&[7]));
    }

    #[test]
    fn a_group_is_its_members_and_weights_in_any_order() {
        let identifier = Identifier::new([1, 2]);
        let member = |n: u64, weight: u32| (identifier.of(&[n]), weight);
        let group = |members: &[(Identity, u32)]| identifier.of_group(members.iter().copied());
        let this = group(&[member(1, 10), member(2, 20), member(3, 10)]);
        assert_eq!(this, group(&[member(3, 10), member(1, 10), member(2, 20)]));
        assert_ne!(this, group(&[member(3, 10), member(1, 20), member(2, 10)]));
        assert_ne!(this, group(&[member(1, 10), member(2, 20)]));
        assert_ne!(group(&[member(1, 10)]), member(1, 10).0);
        assert_ne!(
            group(&[member(1, 10), member(1, 10)]),
            group(&[member(2, 10), member(2, 10)])
        );
    }
}
