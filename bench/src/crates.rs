// SPDX-License-Identifier: BSD-2-Clause
//! Peers from crates.io.

use crate::clock::Watch;
use crate::contender::{Bytes, Contender, Lookup, Table};
use crate::family::Family;
use crate::held;
use crate::routes::Route;
use ip_network::{Ipv4Network, Ipv6Network};
use ip_network_table::IpNetworkTable;
use poptrie::Poptrie;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A table of a crate.
trait Trie<K: Family>: Default + 'static {
    fn set(&mut self, route: Route<K>) -> anyhow::Result<()>;
    fn get(&self, dst: K) -> u32;
}

#[derive(Default)]
struct PoptrieTable<P: poptrie::Prefix>(Poptrie<P, u32>);

impl<K> Trie<K> for PoptrieTable<(K, u8)>
where
    K: Family,
    (K, u8): poptrie::Prefix<ADDRESS = K>,
    Self: Default,
{
    fn set(&mut self, route: Route<K>) -> anyhow::Result<()> {
        let prefix = (route.prefix, route.plen);
        match route.class {
            0 => self.0.remove(prefix),
            class => self.0.insert(prefix, class),
        };
        Ok(())
    }

    #[inline(always)]
    fn get(&self, dst: K) -> u32 {
        self.0.lookup(dst).copied().unwrap_or(0)
    }
}

/// The tree bitmap of `ip_network_table`.
#[derive(Default)]
struct NetworkTable(IpNetworkTable<u32>);

impl Trie<u32> for NetworkTable {
    fn set(&mut self, route: Route<u32>) -> anyhow::Result<()> {
        let network = Ipv4Network::new(Ipv4Addr::from(route.prefix), route.plen)?;
        match route.class {
            0 => self.0.remove(network),
            class => self.0.insert(network, class),
        };
        Ok(())
    }

    #[inline(always)]
    fn get(&self, dst: u32) -> u32 {
        let found = self.0.longest_match_ipv4(Ipv4Addr::from(dst));
        found.map_or(0, |(_, &class)| class)
    }
}

impl Trie<u128> for NetworkTable {
    fn set(&mut self, route: Route<u128>) -> anyhow::Result<()> {
        let network = Ipv6Network::new(Ipv6Addr::from(route.prefix), route.plen)?;
        match route.class {
            0 => self.0.remove(network),
            class => self.0.insert(network, class),
        };
        Ok(())
    }

    #[inline(always)]
    fn get(&self, dst: u128) -> u32 {
        let found = self.0.longest_match_ipv6(Ipv6Addr::from(dst));
        found.map_or(0, |(_, &class)| class)
    }
}

/// A crate as a peer.
struct Crate<T> {
    name: &'static str,
    version: &'static str,
    patience: usize,
    table: PhantomData<T>,
}

/// The version of a crate that is compiled in.
fn locked(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let package = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split_once(package.as_str()).map(|(_, rest)| rest);
    let version = version.and_then(|rest| rest.split('"').next());
    version.unwrap_or("unknown")
}

/// Those of IPv4.
pub fn ipv4() -> Vec<Box<dyn Contender<u32>>> {
    peers::<u32, PoptrieTable<(u32, u8)>, NetworkTable>()
}

/// Those of IPv6.
pub fn ipv6() -> Vec<Box<dyn Contender<u128>>> {
    peers::<u128, PoptrieTable<(u128, u8)>, NetworkTable>()
}

fn peers<K, P, N>() -> Vec<Box<dyn Contender<K>>>
where
    K: Family,
    P: Trie<K>,
    N: Trie<K>,
{
    vec![
        Box::new(Crate::<P> {
            name: "poptrie",
            version: locked("poptrie"),
            // A new node moves every later one.
            patience: 30_000,
            table: PhantomData,
        }),
        Box::new(Crate::<N> {
            name: "ip_network_table",
            version: locked("ip_network_table"),
            patience: usize::MAX,
            table: PhantomData,
        }),
    ]
}

impl<K: Family, T: Trie<K>> Contender<K> for Crate<T> {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> &str {
        self.version
    }

    fn patience(&self) -> usize {
        self.patience
    }

    fn changes(&self) -> bool {
        true
    }

    fn table(&self) -> Box<dyn Table<K>> {
        Box::new(CrateTable::<T> {
            fibs: Vec::new(),
            held: 0,
        })
    }
}

struct CrateTable<T> {
    /// Boxed, since lookups know their addresses.
    fibs: Vec<Box<T>>,
    held: u64,
}

impl<K: Family, T: Trie<K>> Table<K> for CrateTable<T> {
    fn add(&mut self, routes: &[Route<K>]) -> anyhow::Result<Duration> {
        let before = held::bytes();
        let watch = Watch::start();
        let mut trie = Box::<T>::default();
        for &route in routes {
            trie.set(route)?;
        }
        let time = watch.elapsed();
        self.held += held::bytes() - before;
        self.fibs.push(trie);
        Ok(time)
    }

    fn lookup(&self, fib: usize) -> Lookup<'_, K> {
        let trie: *const T = &*self.fibs[fib];
        // SAFETY: `one` reads a `T`, which is borrowed for the lifetime.
        unsafe { Lookup::new(trie.cast(), one::<K, T>, None) }
    }

    /// The crates do not tell which part lookups read, so `lookup` is all.
    fn bytes(&self) -> Bytes {
        Bytes {
            lookup: self.held,
            all: self.held,
        }
    }

    fn commit(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        changes
            .iter()
            .try_for_each(|&change| self.fibs[fib].set(change))
    }
}

/// # Safety
///
/// `trie` points to a `T` that nobody changes, and `dst` is as it was handed over.
unsafe extern "C" fn one<K: Family, T: Trie<K>>(trie: *const (), dst: K::Passed) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { (*trie.cast::<T>()).get(K::received(dst)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        for peer in ipv4() {
            let parts: Vec<&str> = peer.version().split('.').collect();
            assert!(
                parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()),
                "{}",
                peer.version()
            );
        }
        assert_eq!(locked("no such crate"), "unknown");
    }
}
