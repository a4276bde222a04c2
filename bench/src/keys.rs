// SPDX-License-Identifier: BSD-2-Clause
//! Addresses to look up, in four patterns.

use crate::family::Family;
use crate::routes::Route;
use weft_engine::sim::naive::edges;
use weft_engine::sim::random::Random;

/// Addresses that the hot pattern asks for.
pub const HOT: usize = 4_096;

/// In which order which addresses are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// A random host in a random prefix of the table.
    Announced,
    /// A random host in each prefix, in the table's order.
    InOrder,
    /// [`HOT`] announced addresses, the k-th with a share of 1/k (Zipf).
    Hot,
    /// Any address, most of them in no prefix or in one of the largest.
    Uniform,
}

impl Pattern {
    /// All.
    pub const ALL: [Self; 4] = [Self::Announced, Self::InOrder, Self::Hot, Self::Uniform];

    /// The name in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::InOrder => "in order",
            Self::Hot => "hot",
            Self::Uniform => "uniform",
        }
    }

    /// That many addresses, the same for a seed.
    ///
    /// # Panics
    ///
    /// If there are no routes.
    pub fn keys<K: Family>(self, routes: &[Route<K>], count: usize, seed: u64) -> Vec<K> {
        let mut random = Random::new(seed);
        match self {
            Self::Announced => (0..count).map(|_| announced(routes, &mut random)).collect(),
            Self::InOrder => {
                let around = routes.iter().cycle().take(count);
                around
                    .map(|route| route.prefix().address_in(&mut random))
                    .collect()
            }
            Self::Hot => hot(routes, count, &mut random),
            Self::Uniform => (0..count).map(|_| K::any(&mut random)).collect(),
        }
    }
}

fn announced<K: Family>(routes: &[Route<K>], random: &mut Random) -> K {
    let route = routes[random.below(routes.len())];
    route.prefix().address_in(random)
}

fn hot<K: Family>(routes: &[Route<K>], count: usize, random: &mut Random) -> Vec<K> {
    let addresses: Vec<K> = (0..HOT).map(|_| announced(routes, random)).collect();
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=HOT)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let draw = |_| {
        let at = (random.bits() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        addresses[sums.partition_point(|&sum| sum <= at).min(HOT - 1)]
    };
    (0..count).map(draw).collect()
}

/// Addresses at which tables are compared before they are timed: announced ones,
/// any, and those at the edges of prefixes, in equal parts.
pub fn checks<K: Family>(routes: &[Route<K>], count: usize, seed: u64) -> Vec<K> {
    let mut random = Random::new(seed);
    let key = |number: usize| match number % 3 {
        0 => announced(routes, &mut random),
        1 => K::any(&mut random),
        _ => {
            let route = routes[random.below(routes.len())];
            let edges = edges(route.prefix, route.plen);
            edges[random.below(edges.len())]
        }
    };
    (0..count).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::assign;
    use std::collections::{HashMap, HashSet};
    use weft_engine::sim::table::NextHops;

    const COUNT: usize = 50_000;

    fn routes<K: Family>() -> Vec<Route<K>> {
        let rule = NextHops::Random {
            classes: 64,
            salt: 0,
        };
        assign(&K::generate(10_000, 1), rule)
    }

    /// Whether a prefix of the table covers the address.
    fn is_announced<K: Family>(set: &HashSet<(K, u8)>, address: K) -> bool {
        (1..=K::BITS).any(|plen| set.contains(&(address.network(plen), plen)))
    }

    #[test]
    fn announced_keys_are_announced_and_uniform_ones_are_not() {
        announced_and_uniform::<u32>();
        announced_and_uniform::<u128>();
    }

    fn announced_and_uniform<K: Family>() {
        let routes = routes::<K>();
        let set: HashSet<_> = routes.iter().map(|r| (r.prefix, r.plen)).collect();
        for pattern in [Pattern::Announced, Pattern::InOrder, Pattern::Hot] {
            let keys = pattern.keys(&routes, COUNT, 7);
            assert_eq!(keys.len(), COUNT);
            assert!(
                keys.iter().all(|&key| is_announced(&set, key)),
                "{pattern:?}"
            );
        }
        let uniform = Pattern::Uniform.keys(&routes, COUNT, 7);
        let outside = uniform.iter().filter(|&&key| !is_announced(&set, key));
        assert!(outside.count() > COUNT / 10);
    }

    #[test]
    fn keys_in_order_go_through_the_table() {
        let routes = routes::<u32>();
        let keys = Pattern::InOrder.keys(&routes, COUNT, 7);
        let pairs = routes.iter().cycle().zip(&keys);
        assert!(
            pairs
                .into_iter()
                .all(|(route, &key)| route.prefix().covers(key))
        );
    }

    #[test]
    fn hot_keys_are_few_and_the_hottest_leads() {
        let keys = Pattern::Hot.keys(&routes::<u32>(), COUNT, 7);
        let mut counts = HashMap::new();
        keys.iter()
            .for_each(|key| *counts.entry(key).or_insert(0) += 1);
        assert!((HOT / 2..=HOT).contains(&counts.len()));
        // The share of rank 1 is 1/(1 + 1/2 + ... + 1/4096), about 11 in 100.
        let most = counts.values().max().copied().unwrap();
        assert!((COUNT / 10..COUNT / 8).contains(&most), "{most}");
    }

    #[test]
    fn a_seed_is_a_sequence() {
        let routes = routes::<u32>();
        for pattern in Pattern::ALL {
            assert_eq!(pattern.keys(&routes, 9, 1), pattern.keys(&routes, 9, 1));
            assert_ne!(pattern.keys(&routes, 9, 1), pattern.keys(&routes, 9, 2));
        }
        assert_eq!(checks(&routes, 9, 1), checks(&routes, 9, 1));
    }
}
