// SPDX-License-Identifier: BSD-2-Clause
//! The tables that are raced: prefixes read or generated, with next hops by a
//! rule; copies of a table that differ in one of a hundred routes; and changes.

use crate::family::Family;
use anyhow::Context;
use flate2::read::MultiGzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use weft_engine::sim::random::Random;
use weft_engine::sim::table::{self, NextHops, Prefix};

/// How many next hops there are.
pub const CLASSES: u32 = 64;

/// One route of a table, or one change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<K> {
    /// The first address, in host order.
    pub prefix: K,
    /// The length in bits.
    pub plen: u8,
    /// The next hop's class, 1 and up; in a change, 0 withdraws the prefix.
    pub class: u32,
}

impl<K: Family> Route<K> {
    /// The prefix without its class.
    pub fn prefix(&self) -> Prefix<K> {
        Prefix {
            address: self.prefix,
            len: self.plen,
        }
    }
}

/// The prefixes of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Those of IPv4.
    pub ipv4: Vec<Prefix<u32>>,
    /// Those of IPv6.
    pub ipv6: Vec<Prefix<u128>>,
}

/// Reads prefixes from text, one a line, which may be gzipped (`.gz`): sorted,
/// each once.
pub fn read(path: &Path) -> anyhow::Result<Prefixes> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let text: Box<dyn BufRead> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    let text = table::read(text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Prefixes {
        ipv4: ordered(text.prefixes),
        ipv6: ordered(text.prefixes6),
    })
}

/// Without a default route, which not every peer takes, and the Internet's table
/// has none.
fn ordered<K: Family>(mut prefixes: Vec<Prefix<K>>) -> Vec<Prefix<K>> {
    prefixes.retain(|prefix| prefix.len > 0);
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// Gives each prefix its class.
pub fn assign<K: Family>(prefixes: &[Prefix<K>], rule: NextHops) -> Vec<Route<K>> {
    let route = |&prefix: &Prefix<K>| Route {
        prefix: prefix.address,
        plen: prefix.len,
        class: rule.class(prefix),
    };
    prefixes.iter().map(route).collect()
}

/// Where the routes lie that differ between FIBs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differ {
    /// In runs of up to 256 routes that follow one another: a customer's part of
    /// the table goes another way.
    Runs,
    /// Anywhere: each route for itself. The worst case for sharing.
    Uniform,
}

impl Differ {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Runs, Self::Uniform];

    /// The name in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Uniform => "uniform",
        }
    }
}

/// Of how many routes one differs.
const DIFFERING: usize = 100;
/// The longest run.
const RUN: usize = 256;

/// The table of FIB `fib`: that of FIB 0, with another next hop for one route in
/// a hundred. FIB 0 is the table itself.
pub fn differing<K: Family>(routes: &[Route<K>], differ: Differ, fib: usize) -> Vec<Route<K>> {
    let mut other = routes.to_vec();
    if fib == 0 || routes.is_empty() {
        return other;
    }
    let mut random = Random::new(fib as u64);
    let mut left = routes.len() / DIFFERING;
    while left > 0 {
        let len = match differ {
            Differ::Runs => left.min(1 + random.below(RUN)),
            Differ::Uniform => 1,
        };
        let at = random.below(other.len() - len + 1);
        let step = 1 + random.below(CLASSES as usize - 1) as u32;
        for route in &mut other[at..at + len] {
            route.class = (route.class - 1 + step) % CLASSES + 1;
        }
        left -= len;
    }
    other
}

/// A kind of single change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A prefix that is not in the table comes.
    Add,
    /// A prefix goes.
    Withdraw,
    /// A prefix stays and its next hop changes.
    NextHop,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Add, Self::Withdraw, Self::NextHop];

    /// The name in the records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Withdraw => "withdraw",
            Self::NextHop => "next hop",
        }
    }
}

/// How often a prefix is looked for that is shorter.
const DRAWS: usize = 16;

/// Changes to a table, which go through it as long as they are all applied in
/// turn: of each kind a third.
pub struct Changes<K> {
    random: Random,
    prefixes: Vec<Prefix<K>>,
    present: HashMap<Prefix<K>, u32>,
    gone: Vec<Prefix<K>>,
}

impl<K: Family> Changes<K> {
    /// Changes to this table, the same for a seed.
    pub fn new(routes: &[Route<K>], seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            prefixes: routes.iter().map(Route::prefix).collect(),
            present: routes
                .iter()
                .map(|route| (route.prefix(), route.class))
                .collect(),
            gone: Vec::new(),
        }
    }

    fn class(&mut self) -> u32 {
        1 + self.random.below(CLASSES as usize) as u32
    }

    /// One that is in the table, as long as there is one.
    fn some(&mut self) -> Option<Prefix<K>> {
        loop {
            if self.present.is_empty() {
                return None;
            }
            let prefix = self.random.pick(&self.prefixes).copied()?;
            if self.present.contains_key(&prefix) {
                return Some(prefix);
            }
        }
    }

    /// One that is not in the table: one that went, or a part of one that is.
    fn other(&mut self) -> Option<Prefix<K>> {
        if self.random.percent(50) && !self.gone.is_empty() {
            let at = self.random.below(self.gone.len());
            return Some(self.gone.swap_remove(at));
        }
        let around = (0..DRAWS)
            .filter_map(|_| self.some())
            .find(|around| around.len < K::LONGEST)?;
        let len = (around.len + 1 + self.random.below(4) as u8).min(K::LONGEST);
        let part = Prefix {
            address: around.address_in(&mut self.random).network(len),
            len,
        };
        (!self.present.contains_key(&part)).then_some(part)
    }

    /// The next change of a kind, if one can be found.
    fn of(&mut self, kind: Kind) -> Option<Route<K>> {
        let (prefix, class) = match kind {
            Kind::Add => (self.other()?, self.class()),
            Kind::Withdraw => (self.some()?, 0),
            Kind::NextHop => {
                let prefix = self.some()?;
                (prefix, self.present[&prefix] % CLASSES + 1)
            }
        };
        match class {
            0 => {
                self.present.remove(&prefix);
                self.gone.push(prefix);
            }
            class => {
                if self.present.insert(prefix, class).is_none() {
                    self.prefixes.push(prefix);
                    self.gone.retain(|&gone| gone != prefix);
                }
            }
        }
        Some(Route {
            prefix: prefix.address,
            plen: prefix.len,
            class,
        })
    }
}

impl<K: Family> Iterator for Changes<K> {
    type Item = (Kind, Route<K>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.prefixes.is_empty() {
            return None;
        }
        loop {
            let kind = *self.random.pick(&Kind::ALL)?;
            if let Some(route) = self.of(kind) {
                return Some((kind, route));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_routes<K: Family>() -> Vec<Route<K>> {
        assign(
            &K::generate(20_000, 3),
            NextHops::Clustered {
                classes: CLASSES,
                salt: 0,
            },
        )
    }

    #[test]
    fn one_route_in_a_hundred_differs() {
        let routes = some_routes::<u32>();
        for differ in Differ::ALL {
            assert_eq!(differing(&routes, differ, 0), routes);
            let other = differing(&routes, differ, 5);
            let count = routes.iter().zip(&other).filter(|(a, b)| a != b).count();
            // A route that was drawn twice counts once, or not at all.
            assert!((180..=200).contains(&count), "{differ:?}: {count}");
            let moved = routes
                .iter()
                .zip(&other)
                .all(|(a, b)| a.prefix() == b.prefix());
            assert!(moved && other.iter().all(|r| (1..=CLASSES).contains(&r.class)));
        }
        let breaks = |differ| {
            let other = differing(&routes, differ, 5);
            let differs: Vec<_> = routes.iter().zip(&other).map(|(a, b)| a != b).collect();
            differs.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        assert!(breaks(Differ::Runs) < 20 && breaks(Differ::Uniform) > 300);
    }

    #[test]
    fn changes_fit_the_table_they_change() {
        changes_fit::<u32>();
        changes_fit::<u128>();
    }

    /// An add finds nothing, a withdrawal and a new next hop find something.
    fn changes_fit<K: Family>() {
        let routes = some_routes::<K>();
        let mut table: HashMap<_, _> = routes.iter().map(|r| (r.prefix(), r.class)).collect();
        let mut counts = HashMap::new();
        for (kind, route) in Changes::new(&routes, 1).take(9_000) {
            let before = match route.class {
                0 => table.remove(&route.prefix()),
                class => table.insert(route.prefix(), class),
            };
            match kind {
                Kind::Add => assert_eq!(before, None),
                Kind::Withdraw => assert!(before.is_some() && route.class == 0),
                Kind::NextHop => assert!(before.is_some_and(|class| class != route.class)),
            }
            *counts.entry(kind).or_insert(0) += 1;
        }
        assert!(counts.len() == 3 && counts.values().all(|&count| count > 2_500));
    }

    #[test]
    fn an_empty_table_has_no_changes() {
        assert_eq!(Changes::<u32>::new(&[], 1).next(), None);
    }

    #[test]
    fn a_table_is_sorted_and_without_default_route() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        std::fs::write(
            &path,
            "10.0.0.0/8\n0.0.0.0/0\n1.0.0.0/24\n2001:db8::/32\n10.0.0.0/8\n2001:db8::/29\n::/0\n",
        )
        .unwrap();
        let prefixes = read(&path).unwrap();
        let texts: Vec<_> = prefixes.ipv4.iter().map(Prefix::to_string).collect();
        assert_eq!(texts, ["1.0.0.0/24", "10.0.0.0/8"]);
        let texts: Vec<_> = prefixes.ipv6.iter().map(Prefix::to_string).collect();
        assert_eq!(texts, ["2001:db8::/29", "2001:db8::/32"]);
    }
}
