// SPDX-License-Identifier: BSD-2-Clause
//! What gives each route of a table its next hop.

use super::Prefix;
use crate::fib::Key;
use crate::sim::random::mix;

/// The rule that gives a prefix its class, which stands for a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHops {
    /// By the covering /12, or /20 of IPv6: neighbours tend to share a next hop, as
    /// they do where a few peers each announce large parts of the address space. In
    /// a full table such a part has some 250 prefixes, of either family.
    Clustered {
        /// How many classes there are; 0 counts as 1.
        classes: u32,
        /// Different salts make different tables.
        salt: u64,
    },
    /// By the prefix itself: no neighbour tells anything about another. Harder to
    /// compress than any real table.
    Random {
        /// How many classes there are; 0 counts as 1.
        classes: u32,
        /// Different salts make different tables.
        salt: u64,
    },
}

impl NextHops {
    /// The class of a prefix, from 1 to the number of classes.
    pub fn class<K: Key>(&self, prefix: Prefix<K>) -> u32 {
        let (classes, key) = match *self {
            Self::Clustered { classes, salt } => {
                let around = if K::BITS > 32 { 20 } else { 12 };
                let part = prefix.address.bits() >> (K::BITS - around);
                (classes, mix(part as u64 ^ mix(salt)))
            }
            Self::Random { classes, salt } => {
                let bits = prefix.address.bits();
                let lower = (bits as u64).rotate_left(8) ^ u64::from(prefix.len);
                let upper = mix((bits >> 64) as u64);
                (classes, mix(lower ^ upper ^ mix(salt)))
            }
        };
        (key % u64::from(classes.max(1))) as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::table::{generate, generate6};
    use std::collections::HashSet;

    /// How many of 10,000 prefixes have the class of the one before them.
    fn shared<K: Key>(table: &[Prefix<K>], rule: NextHops) -> usize {
        let pairs = table.windows(2);
        pairs
            .filter(|pair| rule.class(pair[0]) == rule.class(pair[1]))
            .count()
    }

    #[test]
    fn neighbours_share_clustered_next_hops() {
        let (table, table6) = (generate(10_000, 1), generate6(10_000, 1));
        let (classes, salt) = (64, 0);
        let clustered = NextHops::Clustered { classes, salt };
        assert!(shared(&table, clustered) > 6_000);
        assert!(shared(&table6, clustered) > 6_000);
        let random = NextHops::Random { classes, salt };
        assert!(shared(&table, random) < 400);
        assert!(shared(&table6, random) < 400);
    }

    #[test]
    fn each_class_comes_and_no_other() {
        let (classes, salt) = (3, 9);
        let rule = NextHops::Random { classes, salt };
        let of = |prefix| rule.class(prefix);
        let found: HashSet<_> = generate(1000, 1).into_iter().map(of).collect();
        assert_eq!(found, HashSet::from([1, 2, 3]));
        let one = NextHops::Clustered { classes: 0, salt };
        assert_eq!(one.class(Prefix::of(7u32, 32)), 1);
        assert_eq!(one.class(Prefix::of(7u128, 128)), 1);
    }

    /// Figures of other runs are compared with by these classes.
    #[test]
    fn the_classes_stay_what_they_are() {
        let (classes, salt) = (1 << 16, 5);
        let prefix = Prefix::of(0xc000_0200u32, 24);
        let rule = NextHops::Clustered { classes, salt };
        assert_eq!(rule.class(prefix), 10_102);
        let rule = NextHops::Random { classes, salt };
        assert_eq!(rule.class(prefix), 49_686);
    }
}
