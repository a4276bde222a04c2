// SPDX-License-Identifier: BSD-2-Clause
//! Our side: the engine's tables, entered by a function pointer as the kernel
//! module enters them.
//!
//! The engine keeps no routes: for a change it asks the system's routing table,
//! which here is a sorted map. What it asks is timed, as is what dxr asks; the
//! map's own change is not, except in batches, where the engine wants to hear of
//! one change before the next is made.

use crate::clock::Watch;
use crate::contender::{Bytes, Contender, Lookup, One, Table};
use crate::routes::Route;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use weft_engine::fib::{Grace, Period, Routes, Store, Table4};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::mask;

/// The engine's IPv4 table.
#[derive(Debug)]
pub struct Weft4;

impl Contender for Weft4 {
    fn name(&self) -> &str {
        "weft4"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn shares(&self) -> bool {
        true
    }

    fn changes(&self) -> bool {
        true
    }

    fn table(&self) -> Box<dyn Table> {
        Box::new(Weft4Table {
            fibs: Vec::new(),
            store: None,
        })
    }
}

/// Grace periods where nothing is looked up while something changes: they are
/// over at once. The kernel's caller has entered its epoch before it looks up,
/// which is why a section costs nothing here.
#[derive(Debug)]
struct NoReaders;

// SAFETY: one thread looks up and changes, so no section exists during a change.
unsafe impl Grace for NoReaders {
    type Section<'s> = ();

    fn start(&self, period: Period) {
        period.elapsed();
    }
}

type Shared = Store<HostMemory, NoReaders, Mutex<()>>;
type Engine = Table4<'static, HostMemory, NoReaders, Mutex<()>>;

/// From how many routes on a table is flattened, and how many are at most: what the
/// kernel module does by default.
const FLAT_FROM: usize = 20_000;
const FLAT_TABLES: usize = 8;

struct Weft4Table {
    /// Dropped before the store they refer to.
    fibs: Vec<Fib>,
    store: Option<Box<Shared>>,
}

struct Fib {
    /// Boxed, since lookups know its address.
    table: Box<Engine>,
    rib: Rib,
}

impl Weft4Table {
    /// The store, which is made for the first FIB.
    fn store(&mut self) -> anyhow::Result<&'static Shared> {
        if self.store.is_none() {
            let store = Shared::new(HostMemory::default(), NoReaders, Mutex::new(()), 1)?;
            self.store = Some(Box::new(store));
        }
        let store: *const Shared = self.store.as_deref().expect("made above");
        // SAFETY: boxed and never replaced, and the tables that keep this
        // reference are dropped first, as the order of the fields says.
        Ok(unsafe { &*store })
    }
}

impl Table for Weft4Table {
    fn add(&mut self, routes: &[Route]) -> anyhow::Result<Duration> {
        let watch = Watch::start();
        let mut table = Box::new(Engine::new(self.store()?)?);
        for route in routes {
            table.route(route.prefix, route.plen as u8, route.class)?;
        }
        table.end()?;
        if routes.len() >= FLAT_FROM && self.fibs.len() < FLAT_TABLES {
            table.flatten()?;
        }
        let time = watch.elapsed();
        let rib = Rib::Told(routes.to_vec());
        self.fibs.push(Fib { table, rib });
        Ok(time)
    }

    fn lookup(&self, fib: usize) -> Lookup<'_> {
        let table: *const Engine = &*self.fibs[fib].table;
        // SAFETY: both functions read an `Engine`, which is borrowed for the
        // lifetime, and `one` chooses one that this processor can run.
        unsafe { Lookup::new(table.cast(), one(), None) }
    }

    fn bytes(&self) -> Bytes {
        let Some(store) = &self.store else {
            return Bytes::default();
        };
        let figures = store.figures();
        let tables = self.fibs.iter().map(|fib| fib.table.figures().bytes);
        let tables: usize = tables.sum();
        Bytes {
            lookup: (figures.used + tables) as u64,
            all: (figures.bytes + tables) as u64,
        }
    }

    fn prepare(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        if let [change] = changes {
            self.fibs[fib].rib.set(*change);
        }
        Ok(())
    }

    fn commit(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        let Fib { table, rib } = &mut self.fibs[fib];
        for change in changes {
            if changes.len() > 1 {
                rib.set(*change);
            }
            table.update(change.prefix, change.plen as u8, rib)?;
        }
        Ok(())
    }

    fn freeze(&mut self) {
        for fib in &mut self.fibs {
            fib.rib = Rib::Told(Vec::new());
        }
    }
}

/// The lookup that the kernel module would choose on this processor.
fn one() -> One {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        return one_popcnt;
    }
    one_plain
}

/// # Safety
///
/// `table` points to an [`Engine`] that nobody changes.
unsafe extern "C" fn one_plain(table: *const (), dst: u32) -> u32 {
    // SAFETY: as the caller promises.
    let table = unsafe { &*table.cast::<Engine>() };
    table.reader().lookup_specific(&(), dst)
}

/// # Safety
///
/// As [`one_plain`], and the processor has POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
unsafe extern "C" fn one_popcnt(table: *const (), dst: u32) -> u32 {
    // SAFETY: as the caller promises.
    let table = unsafe { &*table.cast::<Engine>() };
    // SAFETY: as the caller promises.
    unsafe { table.reader().lookup_specific_popcnt(&(), dst) }
}

/// The system's routing table.
enum Rib {
    /// As it was told; nothing has changed yet.
    Told(Vec<Route>),
    /// The class of each (prefix, length).
    Sorted(BTreeMap<(u32, u8), u32>),
}

impl Rib {
    fn set(&mut self, change: Route) {
        let routes = self.sorted();
        let key = (change.prefix, change.plen as u8);
        match change.class {
            0 => routes.remove(&key),
            class => routes.insert(key, class),
        };
    }

    fn sorted(&mut self) -> &mut BTreeMap<(u32, u8), u32> {
        if let Self::Told(routes) = self {
            let routes = routes.drain(..);
            let pairs = routes.map(|route| ((route.prefix, route.plen as u8), route.class));
            *self = Self::Sorted(pairs.collect());
        }
        match self {
            Self::Sorted(routes) => routes,
            Self::Told(_) => unreachable!("sorted above"),
        }
    }

    fn routes(&self) -> &BTreeMap<(u32, u8), u32> {
        match self {
            Self::Sorted(routes) => routes,
            Self::Told(_) => unreachable!("a change sorts first"),
        }
    }
}

impl Routes<u32> for Rib {
    fn count(&self) -> usize {
        self.routes().len()
    }

    fn inside(&self, prefix: u32, plen: u8, visit: &mut dyn FnMut(u32, u8, u32) -> bool) {
        let last = (prefix | !mask(plen), u8::MAX);
        for (&(address, len), &class) in self.routes().range((prefix, plen)..=last) {
            if !visit(address, len, class) {
                return;
            }
        }
    }

    /// The route before the prefix either covers it, or agrees with it in its
    /// first bits only, and then whatever covers the prefix is no longer than that.
    fn around(&self, prefix: u32, plen: u8) -> Option<(u8, u32)> {
        let mut before = (prefix, plen);
        loop {
            let (&(address, len), &class) = self.routes().range(..before).next_back()?;
            let agreed = (address ^ prefix).leading_zeros() as u8;
            if len <= agreed {
                return Some((len, class));
            }
            // One more, for the range ends before it.
            before = (prefix & mask(agreed), agreed + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{CLASSES, Changes, assign};
    use weft_engine::sim::naive::Naive;
    use weft_engine::sim::table::{NextHops, generate};

    fn routes() -> Vec<Route> {
        let rule = NextHops::Random {
            classes: CLASSES,
            salt: 0,
        };
        assign(&generate(3_000, 2), rule)
    }

    #[test]
    fn the_route_around_a_prefix_is_the_longest_shorter_one() {
        let routes = routes();
        let mut rib = Rib::Told(routes.clone());
        let sorted = rib.sorted().clone();
        for (prefix, plen) in sorted.keys().copied() {
            let right = (0..plen).rev().find_map(|len| {
                let class = sorted.get(&(prefix & mask(len), len))?;
                Some((len, *class))
            });
            assert_eq!(rib.around(prefix, plen), right, "{prefix:#x}/{plen}");
        }
    }

    /// Single changes and batches, in two FIBs of which one stays as it is.
    #[test]
    fn a_table_follows_its_changes() {
        let routes = routes();
        let mut table = Weft4.table();
        table.add(&routes).unwrap();
        table.add(&routes).unwrap();
        let mut naive = Naive::default();
        for route in &routes {
            naive.insert(route.prefix, route.plen as u8, route.class);
        }
        let before = naive.clone();
        let changes: Vec<Route> = Changes::new(&routes, 4)
            .take(600)
            .map(|(_, route)| route)
            .collect();
        let (single, batch) = changes.split_at(300);
        for change in single.chunks(1).chain([batch]) {
            table.prepare(0, change).unwrap();
            table.commit(0, change).unwrap();
        }
        for change in &changes {
            match change.class {
                0 => naive.remove(change.prefix, change.plen as u8),
                class => naive.insert(change.prefix, change.plen as u8, class),
            };
        }
        for dst in crate::keys::checks(&changes, 3_000, 1) {
            assert_eq!(table.lookup(0).one(dst), naive.lookup(dst));
            assert_eq!(table.lookup(1).one(dst), before.lookup(dst));
        }
    }
}
