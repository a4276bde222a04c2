// SPDX-License-Identifier: BSD-2-Clause
//! Our side: the engine's tables, entered by a function pointer as the kernel
//! module enters them. The engine answers with a class, which is an index into an
//! array of next hops; entry 0 is that of the default route.
//!
//! The engine keeps no routes: for a change it asks the system's routing table,
//! which here is a sorted map. What it asks is timed, as is what dxr asks; the
//! map's own change is not, except in batches, where the engine wants to hear of
//! one change before the next is made.

use crate::clock::{BATCH, Watch};
use crate::contender::{Batch, Bytes, Changing, Contender, Ends, Live, Lookup, One, Table};
use crate::family::Family;
use crate::routes::{CLASSES, Route};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weft_engine::fib::{self, Grace, Period, Reader, Routes, Store, Writer};
use weft_engine::sim::epoch::{HostEpoch, Section};
use weft_engine::sim::memory::HostMemory;

/// The engine's table of a family.
#[derive(Debug)]
pub struct Weft<K> {
    name: String,
    family: PhantomData<K>,
}

impl<K: Family> Default for Weft<K> {
    fn default() -> Self {
        Self {
            name: format!("weft{}", K::NUMBER),
            family: PhantomData,
        }
    }
}

impl<K: Family> Contender<K> for Weft<K> {
    fn name(&self) -> &str {
        &self.name
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

    fn is_live(&self) -> bool {
        true
    }

    fn table(&self) -> Box<dyn Table<K>> {
        Box::new(WeftTable {
            fibs: Vec::new(),
            store: None,
            live: Arc::default(),
        })
    }
}

/// Grace periods. As long as nobody looks up beside a change they are over at once;
/// with readers on other threads they are those of the host's epoch.
#[derive(Debug)]
struct Periods {
    live: Arc<AtomicBool>,
}

// SAFETY: until `live` is set, one thread looks up and changes, so no section exists
// during a change. `split` sets it, and whoever looks up by `Reading` is in a section
// of `HostEpoch`, which keeps the rest.
unsafe impl Grace for Periods {
    /// As in the kernel, whose caller has entered its epoch before it looks up.
    type Section<'s> = ();

    fn start(&self, period: Period) {
        if self.live.load(Ordering::Relaxed) {
            HostEpoch.start(period);
        } else {
            period.elapsed();
        }
    }
}

type Shared = Store<HostMemory, Periods, Mutex<()>>;
type Engine<K> = fib::Table<'static, K, HostMemory, Periods, Mutex<()>>;

/// Bytes of a row, which lookups in a flat table do not read.
const ROW: usize = 256;

/// From how many routes on a table is flattened, and how many are at most: what the
/// kernel module does by default.
const FLAT_FROM: usize = 100_000;
const FLAT_TABLES: usize = 16;

struct WeftTable<K: Family> {
    /// Dropped before the store they refer to.
    fibs: Vec<Fib<K>>,
    store: Option<Box<Shared>>,
    /// Whether readers on other threads have been.
    live: Arc<AtomicBool>,
}

struct Fib<K: Family> {
    table: Engine<K>,
    /// Boxed, since lookups know its address.
    datapath: Box<Datapath<K>>,
    rib: Rib<K>,
}

/// What a lookup gets, as the kernel keeps it for an instance of the algorithm.
struct Datapath<K> {
    /// Of the table beside it, which lives as long.
    reader: Reader<'static, K, Periods>,
    /// By class. The kernel has pointers there.
    nexthops: Box<[AtomicUsize]>,
}

impl<K: Family> Datapath<K> {
    fn new(table: &Engine<K>) -> Self {
        let default = table.reader().default_class() as usize;
        let classes = std::iter::once(default).chain(1..=CLASSES as usize);
        Self {
            // SAFETY: `Fib` drops both at once, and no lookup outlives it.
            reader: unsafe { table.reader().detach() },
            nexthops: classes.map(AtomicUsize::new).collect(),
        }
    }

    /// What lies at the index: in the kernel a next hop, here its class.
    #[inline(always)]
    fn nexthop(&self, class: u32) -> u32 {
        // SAFETY: the engine answers with classes that it was given, all of which are
        // in the array; the kernel has no check there either.
        let slot = unsafe { self.nexthops.get_unchecked(class as usize) };
        slot.load(Ordering::Relaxed) as u32
    }

    /// Keeps the default route's slot.
    fn follow(&self, change: Route<K>) {
        if change.plen == 0 {
            self.nexthops[0].store(change.class as usize, Ordering::Release);
        }
    }

    fn lookup(&self) -> Lookup<'_, K> {
        let this: *const Self = self;
        let (one, batch) = functions::<K>();
        // SAFETY: the functions read a `Datapath`, which is borrowed for the lifetime,
        // and this processor can run them.
        unsafe { Lookup::new(this.cast(), one, Some(batch)) }
    }
}

impl<K: Family> WeftTable<K> {
    /// The store, which is made for the first FIB.
    fn store(&mut self) -> anyhow::Result<&'static Shared> {
        if self.store.is_none() {
            let live = Arc::clone(&self.live);
            let store = Shared::new(HostMemory::default(), Periods { live }, Mutex::new(()), 1)?;
            self.store = Some(Box::new(store));
        }
        let store: *const Shared = self.store.as_deref().expect("made above");
        // SAFETY: boxed and never replaced, and the tables that keep this
        // reference are dropped first, as the order of the fields says.
        Ok(unsafe { &*store })
    }
}

impl<K: Family> Drop for WeftTable<K> {
    /// Waits for the readers that were, for which the store would else be left.
    fn drop(&mut self) {
        self.fibs.clear();
        let Some(store) = &self.store else { return };
        store.reclaim();
        while self.live.load(Ordering::Relaxed) && store.figures().pending != 0 {
            crate::epoch::after_readers().wait();
            store.reclaim();
        }
    }
}

impl<K: Family> Table<K> for WeftTable<K> {
    fn add(&mut self, routes: &[Route<K>]) -> anyhow::Result<Duration> {
        let watch = Watch::start();
        let mut table = Engine::new(self.store()?)?;
        for route in routes {
            table.route(route.prefix, route.plen, route.class)?;
        }
        table.end()?;
        if routes.len() >= FLAT_FROM && self.fibs.len() < FLAT_TABLES {
            table.flatten()?;
        }
        let time = watch.elapsed();
        self.fibs.push(Fib {
            datapath: Box::new(Datapath::new(&table)),
            rib: Rib::Told(routes.to_vec()),
            table,
        });
        Ok(time)
    }

    fn lookup(&self, fib: usize) -> Lookup<'_, K> {
        self.fibs[fib].datapath.lookup()
    }

    fn bytes(&self) -> Bytes {
        let Some(store) = &self.store else {
            return Bytes::default();
        };
        let figures = store.figures();
        let tables = self.fibs.iter().map(|fib| fib.table.figures().bytes);
        let tables: usize = tables.sum();
        let are_flat = self.fibs.iter().all(|fib| fib.table.figures().is_flat);
        let unread = if are_flat { figures.rows * ROW } else { 0 };
        Bytes {
            lookup: (figures.used + tables - unread) as u64,
            all: (figures.bytes + tables) as u64,
        }
    }

    fn prepare(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        prepare(&mut self.fibs[fib].rib, changes);
        Ok(())
    }

    fn commit(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        let Fib {
            table,
            datapath,
            rib,
        } = &mut self.fibs[fib];
        let (writer, _) = table.split();
        Writing {
            writer,
            datapath,
            rib,
        }
        .commit(changes)
    }

    fn freeze(&mut self) {
        for fib in &mut self.fibs {
            fib.rib = Rib::Told(Vec::new());
        }
    }

    fn split(&mut self, fib: usize) -> anyhow::Result<Ends<'_, K>> {
        self.live.store(true, Ordering::Relaxed);
        let Fib {
            table,
            datapath,
            rib,
        } = &mut self.fibs[fib];
        let (writer, _) = table.split();
        let datapath = &**datapath;
        let writing = Writing {
            writer,
            datapath,
            rib,
        };
        Ok((Box::new(writing), Box::new(Reading(datapath))))
    }
}

/// Changes the routing table, which a batch does change by change.
fn prepare<K: Family>(rib: &mut Rib<K>, changes: &[Route<K>]) {
    if let [change] = changes {
        rib.set(*change);
    }
}

/// The end that changes a FIB.
struct Writing<'t, K: Family> {
    writer: Writer<'t, 'static, K, HostMemory, Periods, Mutex<()>>,
    datapath: &'t Datapath<K>,
    rib: &'t mut Rib<K>,
}

impl<K: Family> Changing<K> for Writing<'_, K> {
    fn prepare(&mut self, changes: &[Route<K>]) -> anyhow::Result<()> {
        prepare(self.rib, changes);
        Ok(())
    }

    fn commit(&mut self, changes: &[Route<K>]) -> anyhow::Result<()> {
        for &change in changes {
            if changes.len() > 1 {
                self.rib.set(change);
            }
            self.writer.update(change.prefix, change.plen, self.rib)?;
            self.datapath.follow(change);
        }
        Ok(())
    }
}

/// The end that looks up beside changes.
struct Reading<'t, K>(&'t Datapath<K>);

impl<K: Family> Live<K> for Reading<'_, K> {
    fn lookup<'s>(&'s self, _: &'s Section) -> Lookup<'s, K> {
        self.0.lookup()
    }
}

/// The lookups that the kernel module would choose on this processor.
fn functions<K: Family>() -> (One<K>, Batch<K>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        return (one_popcnt::<K>, batch_popcnt::<K>);
    }
    (one_plain::<K>, batch_plain::<K>)
}

/// # Safety
///
/// `datapath` points to a [`Datapath`], whose table nobody changes, or this thread is
/// in a section; `dst` is an address as it is handed over.
unsafe extern "C" fn one_plain<K: Family>(datapath: *const (), dst: K::Passed) -> u32 {
    // SAFETY: as the caller promises, so for the next.
    let datapath = unsafe { &*datapath.cast::<Datapath<K>>() };
    // SAFETY: see above.
    let dst = unsafe { K::received(dst) };
    datapath.nexthop(datapath.reader.lookup_specific(&(), dst))
}

/// # Safety
///
/// As [`one_plain`], and the processor has POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
unsafe extern "C" fn one_popcnt<K: Family>(datapath: *const (), dst: K::Passed) -> u32 {
    // SAFETY: as the caller promises, so for the next two.
    let datapath = unsafe { &*datapath.cast::<Datapath<K>>() };
    // SAFETY: see above.
    let dst = unsafe { K::received(dst) };
    // SAFETY: see above.
    datapath.nexthop(unsafe { datapath.reader.lookup_specific_popcnt(&(), dst) })
}

/// # Safety
///
/// As [`one_plain`], with room for as many answers as there are addresses.
unsafe extern "C" fn batch_plain<K: Family>(
    datapath: *const (),
    dst: *const K::Address,
    class: *mut u32,
    count: usize,
) {
    // SAFETY: as the caller promises, so for the next.
    let datapath = unsafe { &*datapath.cast::<Datapath<K>>() };
    // SAFETY: see above.
    let (dst, class) = unsafe { arrays::<K>(dst, class, count) };
    in_chunks(datapath, dst, class, |dst, class| {
        datapath.reader.lookup_batch(&(), dst, class);
    });
}

/// # Safety
///
/// As [`batch_plain`], and the processor has POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
unsafe extern "C" fn batch_popcnt<K: Family>(
    datapath: *const (),
    dst: *const K::Address,
    class: *mut u32,
    count: usize,
) {
    // SAFETY: as the caller promises, so for the next two.
    let datapath = unsafe { &*datapath.cast::<Datapath<K>>() };
    // SAFETY: see above.
    let (dst, class) = unsafe { arrays::<K>(dst, class, count) };
    in_chunks(datapath, dst, class, |dst, class| {
        // SAFETY: see above.
        unsafe { datapath.reader.lookup_batch_popcnt(&(), dst, class) };
    });
}

/// # Safety
///
/// Both are arrays of that length, and nobody else uses them meanwhile.
#[inline(always)]
unsafe fn arrays<'a, K: Family>(
    dst: *const K::Address,
    class: *mut u32,
    count: usize,
) -> (&'a [K::Address], &'a mut [u32]) {
    // SAFETY: as the caller promises.
    unsafe {
        (
            slice::from_raw_parts(dst, count),
            slice::from_raw_parts_mut(class, count),
        )
    }
}

/// Looks up a chunk of addresses after the other, as the engine takes them.
#[inline(always)]
fn in_chunks<K: Family>(
    datapath: &Datapath<K>,
    dst: &[K::Address],
    class: &mut [u32],
    look_up: impl Fn(&[K], &mut [u32]),
) {
    let mut keys = [K::default(); BATCH];
    for (dst, class) in dst.chunks(BATCH).zip(class.chunks_mut(BATCH)) {
        let keys = &mut keys[..dst.len()];
        for (key, dst) in keys.iter_mut().zip(dst) {
            *key = K::of(dst);
        }
        look_up(keys, class);
        for class in class {
            *class = datapath.nexthop(*class);
        }
    }
}

/// The system's routing table.
enum Rib<K> {
    /// As it was told; nothing has changed yet.
    Told(Vec<Route<K>>),
    /// The class of each (prefix, length).
    Sorted(BTreeMap<(K, u8), u32>),
}

impl<K: Family> Rib<K> {
    fn set(&mut self, change: Route<K>) {
        let routes = self.sorted();
        let key = (change.prefix, change.plen);
        match change.class {
            0 => routes.remove(&key),
            class => routes.insert(key, class),
        };
    }

    fn sorted(&mut self) -> &mut BTreeMap<(K, u8), u32> {
        if let Self::Told(routes) = self {
            let routes = routes.drain(..);
            let pairs = routes.map(|route| ((route.prefix, route.plen), route.class));
            *self = Self::Sorted(pairs.collect());
        }
        match self {
            Self::Sorted(routes) => routes,
            Self::Told(_) => unreachable!("sorted above"),
        }
    }

    fn routes(&self) -> &BTreeMap<(K, u8), u32> {
        match self {
            Self::Sorted(routes) => routes,
            Self::Told(_) => unreachable!("a change sorts first"),
        }
    }
}

impl<K: Family> Routes<K> for Rib<K> {
    fn count(&self) -> usize {
        self.routes().len()
    }

    fn inside(&self, prefix: K, plen: u8, visit: &mut dyn FnMut(K, u8, u32) -> bool) {
        let last = (prefix.last(plen), u8::MAX);
        for (&(address, len), &class) in self.routes().range((prefix, plen)..=last) {
            if !visit(address, len, class) {
                return;
            }
        }
    }

    /// The route before the prefix either covers it, or agrees with it in its
    /// first bits only, and then whatever covers the prefix is no longer than that.
    fn around(&self, prefix: K, plen: u8) -> Option<(u8, u32)> {
        let mut before = (prefix, plen);
        loop {
            let (&(address, len), &class) = self.routes().range(..before).next_back()?;
            let agreed = agreed(address, prefix);
            if len <= agreed {
                return Some((len, class));
            }
            // One more, for the range ends before it.
            before = (prefix.network(agreed), agreed + 1);
        }
    }
}

/// How many of their first bits two addresses have in common.
fn agreed<K: Family>(one: K, other: K) -> u8 {
    let differing = one.bits() ^ other.bits();
    differing.leading_zeros() as u8 - (128 - K::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Changes, assign};
    use weft_engine::sim::naive::Naive;
    use weft_engine::sim::table::NextHops;

    fn routes<K: Family>() -> Vec<Route<K>> {
        let rule = NextHops::Random {
            classes: CLASSES,
            salt: 0,
        };
        assign(&K::generate(3_000, 2), rule)
    }

    #[test]
    fn the_route_around_a_prefix_is_the_longest_shorter_one() {
        around_is_the_longest_shorter_one::<u32>();
        around_is_the_longest_shorter_one::<u128>();
    }

    fn around_is_the_longest_shorter_one<K: Family>() {
        let routes = routes::<K>();
        let mut rib = Rib::Told(routes.clone());
        let sorted = rib.sorted().clone();
        for (prefix, plen) in sorted.keys().copied() {
            let right = (0..plen).rev().find_map(|len| {
                let class = sorted.get(&(prefix.network(len), len))?;
                Some((len, *class))
            });
            let prefix_ip = prefix.ip();
            assert_eq!(rib.around(prefix, plen), right, "{prefix_ip}/{plen}");
        }
    }

    #[test]
    fn a_table_follows_its_changes() {
        follows_its_changes::<u32>();
        follows_its_changes::<u128>();
    }

    /// Single changes and batches, in two FIBs of which one stays as it is. A default
    /// route comes and goes.
    fn follows_its_changes<K: Family>() {
        let routes = routes::<K>();
        let mut table = Weft::<K>::default().table();
        table.add(&routes).unwrap();
        table.add(&routes).unwrap();
        let mut naive = Naive::default();
        for route in &routes {
            naive.insert(route.prefix, route.plen, route.class);
        }
        let before = naive.clone();
        let changes = Changes::new(&routes, 4).map(|(_, route)| route);
        let mut changes: Vec<Route<K>> = changes.take(600).collect();
        for (at, class) in [(100, 5), (200, 0), (590, 9)] {
            let default = Route {
                prefix: K::default(),
                plen: 0,
                class,
            };
            changes.insert(at, default);
        }
        let (single, batch) = changes.split_at(300);
        for change in single.chunks(1).chain([batch]) {
            table.prepare(0, change).unwrap();
            table.commit(0, change).unwrap();
        }
        for change in &changes {
            match change.class {
                0 => naive.remove(change.prefix, change.plen),
                class => naive.insert(change.prefix, change.plen, class),
            };
        }
        let keys = crate::keys::checks(&changes, 3_001, 1);
        for (fib, naive) in [(0, &naive), (1, &before)] {
            let addresses: Vec<K::Address> = keys.iter().map(|key| key.address()).collect();
            let right: Vec<u32> = keys.iter().map(|&key| naive.lookup(key)).collect();
            let lookup = table.lookup(fib);
            let mut batch = vec![0; keys.len()];
            lookup.batch(&addresses, &mut batch);
            assert!(batch == right, "FIB {fib} in batches");
            let one: Vec<u32> = addresses.iter().map(|dst| lookup.one(dst)).collect();
            assert!(one == right, "FIB {fib}");
        }
    }

    /// What readers may still see is not given back, and all is in the end.
    #[test]
    fn readers_and_a_writer_go_together() {
        let routes = routes::<u128>();
        let mut table = Weft::<u128>::default().table();
        table.add(&routes).unwrap();
        let changes = Changes::new(&routes, 5).map(|(_, route)| route);
        let changes: Vec<Route<u128>> = changes.take(2_000).collect();
        let keys = crate::keys::checks(&routes, 1_000, 6);
        let (mut changing, live) = table.split(0).unwrap();
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let live = live;
                while !ends.load(Ordering::Acquire) {
                    let section = Section::enter();
                    let lookup = live.lookup(&section);
                    for key in &keys {
                        assert!(lookup.one(&key.address()) <= CLASSES);
                    }
                }
            });
            for change in &changes {
                let change = slice::from_ref(change);
                changing.prepare(change).unwrap();
                changing.commit(change).unwrap();
            }
            ends.store(true, Ordering::Release);
        });
        drop(changing);
        assert!(table.bytes().lookup > 0);
    }
}
