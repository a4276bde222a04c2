// SPDX-License-Identifier: BSD-2-Clause
//! IPv4 tables with the shape of the Internet's: the share of each prefix length;
//! half of the prefixes inside a shorter one of the table; six of ten directly after
//! a neighbour of the same length.

use super::{Prefix, is_covered, shares};
use crate::sim::random::Random;
use std::collections::HashSet;

/// How many of 100,000 prefixes have each length. Lengths not named have none.
pub const LENGTHS: [(u8, usize); 25] = [
    (8, 2),
    (9, 1),
    (10, 4),
    (11, 10),
    (12, 35),
    (13, 65),
    (14, 130),
    (15, 230),
    (16, 1_500),
    (17, 900),
    (18, 1_500),
    (19, 2_800),
    (20, 4_700),
    (21, 5_600),
    (22, 12_000),
    (23, 10_700),
    (24, 59_700),
    (25, 4),
    (26, 2),
    (27, 2),
    (28, 4),
    (29, 4),
    (30, 3),
    (31, 4),
    (32, 100),
];

/// What the counts of [`LENGTHS`] sum to.
pub(super) const WHOLE: usize = 100_000;

/// Of 100 prefixes, how many directly follow another of their length.
const ADJACENT_PERCENT: usize = 62;
/// Of 100 that do not, how many are put inside a shorter prefix.
const NESTED_PERCENT: usize = 56;
/// How often an address outside all shorter prefixes is looked for.
const DRAWS: usize = 16;

/// Generates `count` different prefixes (up to about two million) with the
/// Internet's shape, sorted. The same seed gives the same table.
pub fn generate(count: usize, seed: u64) -> Vec<Prefix> {
    let mut random = Random::new(seed);
    let mut seen = HashSet::with_capacity(count);
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(count);
    for (len, share) in shares(&LENGTHS, WHOLE, 24, count) {
        let shorter = prefixes.len();
        let mut last: Option<Prefix> = None;
        while prefixes.len() < shorter + share {
            let prefix = match last {
                Some(last) if random.percent(ADJACENT_PERCENT) => last.successor(),
                _ if random.percent(NESTED_PERCENT) => {
                    inside(&mut random, len, &prefixes[..shorter])
                }
                _ => outside(&mut random, len, &seen),
            };
            let new = is_unicast(prefix) && seen.insert(prefix);
            last = new.then_some(prefix);
            prefixes.extend(last);
        }
    }
    prefixes.sort_unstable();
    prefixes
}

/// A prefix of the length in one of the shorter ones, or anywhere if there is none.
fn inside(random: &mut Random, len: u8, shorter: &[Prefix]) -> Prefix {
    let around = random
        .pick(shorter)
        .copied()
        .unwrap_or(Prefix { address: 0, len: 0 });
    Prefix::of(around.address_in(random), len)
}

/// A prefix of the length that none of the table covers, if a few draws find one.
fn outside(random: &mut Random, len: u8, table: &HashSet<Prefix>) -> Prefix {
    let mut draw = || Prefix::of(random.bits() as u32, len);
    let first = draw();
    let mut draws = std::iter::once(first)
        .chain(std::iter::repeat_with(draw))
        .take(DRAWS);
    draws
        .find(|&prefix| is_unicast(prefix) && !is_covered(prefix, table))
        .unwrap_or(first)
}

/// Whether the Internet could route it: 1/8 to 223/8, without 10/8 and 127/8.
fn is_unicast(prefix: Prefix) -> bool {
    !matches!(prefix.address >> 24, 0 | 10 | 127 | 224..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::random::mix;

    #[test]
    fn has_the_shape_of_the_internet() {
        const COUNT: usize = 100_000;
        let table = generate(COUNT, 1);
        let set: HashSet<_> = table.iter().copied().collect();
        assert_eq!(set.len(), COUNT);
        for (len, share) in LENGTHS {
            assert_eq!(
                table.iter().filter(|prefix| prefix.len == len).count(),
                share,
                "/{len}"
            );
        }
        let nested = table
            .iter()
            .filter(|&&prefix| is_covered(prefix, &set))
            .count();
        assert!(
            (40_000..60_000).contains(&nested),
            "{nested} of {COUNT} nested"
        );
        let adjacent = table
            .iter()
            .filter(|prefix| set.contains(&prefix.successor()))
            .count();
        assert!(
            (50_000..70_000).contains(&adjacent),
            "{adjacent} of {COUNT} adjacent"
        );
    }

    #[test]
    fn a_seed_is_a_table() {
        assert_eq!(generate(500, 7), generate(500, 7));
        assert_ne!(generate(500, 7), generate(500, 8));
    }

    /// Figures of other runs are compared with by these tables.
    #[test]
    fn a_table_stays_what_it_is() {
        let table = generate(10_000, 1);
        let sum = table.iter().fold(0u64, |sum, prefix| {
            mix(sum ^ u64::from(prefix.address) << 8 ^ u64::from(prefix.len))
        });
        assert_eq!(sum, 0xa733_1390_5d14_44b3);
    }
}
