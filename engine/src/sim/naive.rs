// SPDX-License-Identifier: BSD-2-Clause
//! What a routing table should say, computed in the plainest way: try each
//! length from the longest down in a sorted map. The reference that tests compare
//! with, for either family.

use crate::fib::Key;
use std::collections::BTreeMap;

/// A table of (prefix, length) to class. Of IPv4, unless `K` is `u128`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Naive<K = u32> {
    /// The class of each prefix, sorted by prefix, the shorter first.
    pub routes: BTreeMap<(K, u8), u32>,
}

/// A mask of the first `len` bits of an IPv4 address, 0 to 32.
pub fn mask(len: u8) -> u32 {
    u32::mask(len)
}

impl<K: Key> Naive<K> {
    /// Sets the class of a prefix and returns the one it had.
    pub fn insert(&mut self, prefix: K, len: u8, class: u32) -> Option<u32> {
        self.routes.insert((prefix, len), class)
    }

    /// Removes a prefix and returns the class it had.
    pub fn remove(&mut self, prefix: K, len: u8) -> Option<u32> {
        self.routes.remove(&(prefix, len))
    }

    /// The class of the longest prefix that covers `dst`, or 0.
    pub fn lookup(&self, dst: K) -> u32 {
        let longest = self.route_of(dst, K::BITS);
        longest.map_or(0, |(_, class)| class)
    }

    /// The length and the class of the longest prefix that covers `dst` and is of
    /// `len` bits at most.
    pub fn route_of(&self, dst: K, len: u8) -> Option<(u8, u32)> {
        (0..=len).rev().find_map(|len| {
            let class = self.routes.get(&(dst.network(len), len))?;
            Some((len, *class))
        })
    }
}

/// The addresses at which the answer for a prefix may be wrong: its first and
/// last, and those before and after them.
pub fn edges<K: Key>(prefix: K, len: u8) -> [K; 6] {
    let (first, last) = (prefix.bits(), prefix.last(len).bits());
    [
        first.wrapping_sub(1),
        first,
        first.wrapping_add(1),
        last.wrapping_sub(1),
        last,
        last.wrapping_add(1),
    ]
    .map(K::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edges_wrap_around() {
        assert_eq!(edges(0u32, 0), [u32::MAX, 0, 1, u32::MAX - 1, u32::MAX, 0]);
        assert_eq!(edges(5u32, 32), [4, 5, 6, 4, 5, 6]);
        let last = u128::MAX << 80;
        assert_eq!(edges(last, 48)[4..], [u128::MAX, 0]);
    }

    /// The longest of the routes that cover the address, by looking at each.
    fn by_looking_at_each<K: Key>(routes: &[(K, u8, u32)], dst: K) -> u32 {
        let covering = routes
            .iter()
            .filter(|(prefix, len, _)| *prefix <= dst && dst <= prefix.last(*len));
        // The last one told of those of a length counts.
        covering
            .enumerate()
            .max_by_key(|&(told, (_, len, _))| (*len, told))
            .map_or(0, |(_, &(_, _, class))| class)
    }

    fn compare<K: Key>(routes: Vec<(K, u8, u32)>, dst: K) -> Result<(), TestCaseError> {
        let mut naive = Naive::default();
        for &(prefix, len, class) in &routes {
            naive.insert(prefix, len, class);
        }
        let keys = routes
            .iter()
            .flat_map(|&(prefix, len, _)| edges(prefix, len));
        for key in keys.chain([dst]) {
            prop_assert_eq!(naive.lookup(key), by_looking_at_each(&routes, key));
        }
        Ok(())
    }

    /// Addresses of which many are near one another.
    fn address<K: Key>() -> impl Strategy<Value = K> {
        (any::<u128>(), 0u8..=128).prop_map(|(bits, ones)| K::from_bits(bits | u128::mask(ones)))
    }

    fn routes<K: Key>() -> impl Strategy<Value = Vec<(K, u8, u32)>> {
        let route = (address::<K>(), 0..=K::BITS, 1u32..9)
            .prop_map(|(address, len, class)| (address.network(len), len, class));
        prop::collection::vec(route, 0..40)
    }

    proptest! {
        #[test]
        fn answers_by_the_longest_route(routes in routes::<u32>(), dst: u32) {
            compare(routes, dst)?;
        }

        #[test]
        fn answers_by_the_longest_route_of_ipv6(routes in routes::<u128>(), dst: u128) {
            compare(routes, dst)?;
        }
    }
}
