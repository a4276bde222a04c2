// SPDX-License-Identifier: BSD-2-Clause
//! Addresses to look up, in four patterns.

use crate::routes::Route;
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
    pub fn keys(self, routes: &[Route], count: usize, seed: u64) -> Vec<u32> {
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
            Self::Uniform => (0..count).map(|_| random.bits() as u32).collect(),
        }
    }
}

fn announced(routes: &[Route], random: &mut Random) -> u32 {
    let route = routes[random.below(routes.len())];
    route.prefix().address_in(random)
}

fn hot(routes: &[Route], count: usize, random: &mut Random) -> Vec<u32> {
    let addresses: Vec<u32> = (0..HOT).map(|_| announced(routes, random)).collect();
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
pub fn checks(routes: &[Route], count: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let key = |number: usize| match number % 3 {
        0 => announced(routes, &mut random),
        1 => random.bits() as u32,
        _ => {
            let route = routes[random.below(routes.len())];
            let edges = weft_engine::sim::naive::edges(route.prefix, route.plen as u8);
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
    use weft_engine::sim::table::{NextHops, generate};

    const COUNT: usize = 50_000;

    fn routes() -> Vec<Route> {
        let rule = NextHops::Random {
            classes: 64,
            salt: 0,
        };
        assign(&generate(10_000, 1), rule)
    }

    /// Whether a prefix of the table covers the address.
    fn is_announced(set: &HashSet<(u32, u32)>, address: u32) -> bool {
        (1..=32).any(|plen| set.contains(&(address & (u32::MAX << (32 - plen)), plen)))
    }

    #[test]
    fn announced_keys_are_announced_and_uniform_ones_are_not() {
        let routes = routes();
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
        let routes = routes();
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
        let keys = Pattern::Hot.keys(&routes(), COUNT, 7);
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
        let routes = routes();
        for pattern in Pattern::ALL {
            assert_eq!(pattern.keys(&routes, 9, 1), pattern.keys(&routes, 9, 1));
            assert_ne!(pattern.keys(&routes, 9, 1), pattern.keys(&routes, 9, 2));
        }
        assert_eq!(checks(&routes, 9, 1), checks(&routes, 9, 1));
    }
}
