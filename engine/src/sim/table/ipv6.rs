// SPDX-License-Identifier: BSD-2-Clause
//! IPv6 tables with the shape of the Internet's: the share of each prefix length; a
//! few tens of /16s of 2000::/3, of unlike sizes; under these, allocations of /20 to
//! /32; more than half of the prefixes inside a shorter one, many of those inside
//! few; half of them directly after a neighbour of the same length. What is inside no
//! other and longer than an allocation comes in groups, each in a /32 that nobody
//! announces.
//!
//! In the real table still more are inside few: two thirds of what is nested, in a
//! twentieth of the prefixes that have something in them; here it is a third.

use super::{Prefix, Prefix6, is_covered, shares};
use crate::sim::random::{Random, mix};
use std::collections::HashSet;

/// How many prefixes of a full table have each length. Lengths not named have none.
pub const LENGTHS6: [(u8, usize); 46] = [
    (16, 1),
    (19, 1),
    (20, 16),
    (21, 3),
    (22, 7),
    (23, 8),
    (24, 30),
    (25, 8),
    (26, 15),
    (27, 20),
    (28, 193),
    (29, 4_371),
    (30, 650),
    (31, 284),
    (32, 22_548),
    (33, 2_926),
    (34, 2_603),
    (35, 1_043),
    (36, 5_996),
    (37, 880),
    (38, 1_617),
    (39, 1_377),
    (40, 13_418),
    (41, 903),
    (42, 2_301),
    (43, 1_001),
    (44, 14_365),
    (45, 1_553),
    (46, 3_039),
    (47, 3_153),
    (48, 75_488),
    (49, 11),
    (50, 3),
    (52, 1),
    (55, 1),
    (56, 24),
    (58, 20),
    (60, 2),
    (64, 184),
    (112, 2),
    (122, 1),
    (124, 4),
    (125, 9),
    (126, 19),
    (127, 42),
    (128, 6),
];

/// What the counts of [`LENGTHS6`] sum to.
pub(super) const WHOLE: usize = 160_147;

/// The /16s that are in use, those with more prefixes first.
const BLOCKS: [u16; 32] = [
    0x2001, 0x2804, 0x2409, 0x2a02, 0x2402, 0x2408, 0x2600, 0x2401, 0x240a, 0x2400, 0x2806, 0x2a00,
    0x2800, 0x2604, 0x240e, 0x2803, 0x2620, 0x2a01, 0x2407, 0x2607, 0x2a03, 0x2605, 0x2404, 0x2602,
    0x2405, 0x2606, 0x2a0b, 0x2406, 0x2a06, 0x2a04, 0x2a0e, 0x2c0f,
];

/// Of 100 prefixes, how many directly follow another of their length: of
/// allocations, and of what is longer.
const ADJACENT_PERCENT: [usize; 2] = [25, 60];
/// Of 100 that do not, how many are put inside a shorter prefix, likewise.
const NESTED_PERCENT: [usize; 2] = [15, 62];
/// The longest allocation.
const ALLOCATION: u8 = 32;
/// How often an address outside all shorter prefixes is looked for.
const DRAWS: usize = 16;
/// Of 100 that are put inside a shorter prefix, how many go where the last one went.
const STAY_PERCENT: usize = 70;
/// How many of those prefixes in which many are put are about alike.
const MOST_CHOSEN: usize = 32;
/// Of 100 outside all others and longer than an allocation, how many begin a group.
const NEW_GROUP_PERCENT: usize = 30;

/// Generates `count` different IPv6 prefixes (up to about a million) with the
/// Internet's shape, sorted. The same seed gives the same table.
pub fn generate6(count: usize, seed: u64) -> Vec<Prefix6> {
    let mut table = Growing {
        random: Random::new(seed),
        seen: HashSet::with_capacity(count),
        prefixes: Vec::with_capacity(count),
        groups: Vec::new(),
        place: None,
    };
    for (len, share) in shares(&LENGTHS6, WHOLE, 48, count) {
        table.add(len, share);
    }
    let mut prefixes = table.prefixes;
    prefixes.sort_unstable();
    prefixes
}

/// A table that has all prefixes up to some length.
struct Growing {
    random: Random,
    seen: HashSet<Prefix6>,
    /// The shorter first.
    prefixes: Vec<Prefix6>,
    /// The /32s of those that are inside no other and longer than that.
    groups: Vec<Prefix6>,
    /// What the last one was put inside.
    place: Option<Prefix6>,
}

impl Growing {
    /// Adds as many prefixes of a length.
    fn add(&mut self, len: u8, share: usize) {
        let shorter = self.prefixes.len();
        let longer = usize::from(len > ALLOCATION);
        let mut last: Option<Prefix6> = None;
        while self.prefixes.len() < shorter + share {
            let prefix = match last {
                Some(last) if self.random.percent(ADJACENT_PERCENT[longer]) => last.successor(),
                _ if shorter > 0 && self.random.percent(NESTED_PERCENT[longer]) => {
                    self.inside(len, shorter)
                }
                _ => self.outside(len),
            };
            let new = is_in_use(prefix) && self.seen.insert(prefix);
            last = new.then_some(prefix);
            self.prefixes.extend(last);
        }
    }

    /// A prefix of the length in one of the first `shorter` ones, of which some are
    /// much more often chosen than others.
    fn inside(&mut self, len: u8, shorter: usize) -> Prefix6 {
        let rank = skewed::<8>(&mut self.random, shorter) + self.random.below(MOST_CHOSEN);
        let chosen = self.prefixes[(mix(rank as u64 + 1) % shorter as u64) as usize];
        let place = match self.place {
            Some(place) if place.len < len && self.random.percent(STAY_PERCENT) => place,
            _ => chosen,
        };
        self.place = Some(place);
        Prefix::of(place.address_in(&mut self.random), len)
    }

    /// A prefix of the length that none of the table covers, if a few draws find one.
    fn outside(&mut self, len: u8) -> Prefix6 {
        if len > ALLOCATION && !self.random.percent(NEW_GROUP_PERCENT) {
            let at = skewed::<2>(&mut self.random, self.groups.len());
            if let Some(group) = self.groups.get(at) {
                return Prefix::of(group.address_in(&mut self.random), len);
            }
        }
        let mut prefix = self.anywhere(len);
        for _ in 1..DRAWS {
            if !is_covered(prefix, &self.seen) {
                break;
            }
            prefix = self.anywhere(len);
        }
        if len > ALLOCATION {
            self.groups.push(prefix.shortened(ALLOCATION));
        }
        prefix
    }

    /// A prefix of the length in one of the blocks.
    fn anywhere(&mut self, len: u8) -> Prefix6 {
        let block = u128::from(BLOCKS[skewed::<2>(&mut self.random, BLOCKS.len())]) << 112;
        Prefix::of(Prefix::of(block, 16).address_in(&mut self.random), len)
    }
}

/// A number below `limit`, or 0 if the limit is 0. Small ones are likelier: the
/// first part `x` of the limit has the `POWER`th root of `x` of the draws.
fn skewed<const POWER: u32>(random: &mut Random, limit: usize) -> usize {
    const ONE: u128 = 1 << 24;
    let part = u128::from(random.bits() >> 40);
    let skewed = (1..POWER).fold(part, |skewed, _| skewed * part / ONE);
    (skewed * limit as u128 / ONE) as usize
}

/// Whether the prefix is in one of the blocks.
fn is_in_use(prefix: Prefix6) -> bool {
    BLOCKS.contains(&((prefix.address >> 112) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The longest other prefix around this one.
    fn around(prefix: Prefix6, set: &HashSet<Prefix6>) -> Option<Prefix6> {
        let mut shorter = (0..prefix.len).rev().map(|len| prefix.shortened(len));
        shorter.find(|around| set.contains(around))
    }

    #[test]
    fn has_the_shape_of_the_internet() {
        let table = generate6(WHOLE, 1);
        let set: HashSet<_> = table.iter().copied().collect();
        assert_eq!(set.len(), WHOLE);
        for (len, share) in LENGTHS6 {
            let count = table.iter().filter(|prefix| prefix.len == len).count();
            assert_eq!(count, share, "/{len}");
        }
        let mut inside: HashMap<Prefix6, usize> = HashMap::new();
        for &prefix in &table {
            if let Some(around) = around(prefix, &set) {
                *inside.entry(around).or_default() += 1;
            }
        }
        let nested: usize = inside.values().sum();
        assert!((84_000..98_000).contains(&nested), "{nested} nested");
        // Many of them in few prefixes, but not in one.
        let mut sizes: Vec<_> = inside.into_values().collect();
        assert!((8_000..14_000).contains(&sizes.len()), "{}", sizes.len());
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let largest: usize = sizes[..sizes.len() / 20].iter().sum();
        assert!(largest > nested / 3, "{largest} of {nested}");
        assert!(sizes[0] < nested / 20, "{}", sizes[0]);
        let adjacent = table
            .iter()
            .filter(|prefix| set.contains(&prefix.successor()))
            .count();
        assert!((78_000..93_000).contains(&adjacent), "{adjacent} adjacent");
        for (len, real) in [(20, 617), (24, 7_246), (28, 18_851), (32, 29_369)] {
            let longer = table.iter().filter(|prefix| prefix.len >= len);
            let parts: HashSet<_> = longer.map(|prefix| prefix.shortened(len)).collect();
            let allowed = real * 2 / 3..real * 3 / 2;
            assert!(allowed.contains(&parts.len()), "{} /{len}s", parts.len());
        }
    }

    #[test]
    fn a_seed_is_a_table() {
        assert_eq!(generate6(500, 7), generate6(500, 7));
        assert_ne!(generate6(500, 7), generate6(500, 8));
    }

    #[test]
    fn a_small_table_and_a_large_one_end() {
        assert_eq!(generate6(0, 1).len(), 0);
        assert_eq!(generate6(1, 1).len(), 1);
        assert_eq!(generate6(400_000, 1).len(), 400_000);
    }
}
