// SPDX-License-Identifier: BSD-2-Clause
//! The counts of a buffer, and its way between caches and depot until the pool is
//! closed, in all interleavings, over a model of the C11 memory order.
//!
//! What is compiled here are the engine's own `count.rs`, `cache.rs` and `depot.rs`,
//! with loom's atomics for the processor's. Buffers have a word that is written and
//! read plainly: an access that another one does not order is a fault, so two owners
//! of a buffer are, and memory that is given back while someone is in it. What
//! `pool.rs` does around caches and depot is done here in the same order.
//!
//! Orderings are weakened, atomic operations taken apart and steps left out or
//! exchanged, too: then there must be a fault.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use std::cell::Cell;
use std::ptr::NonNull;

/// What is done otherwise than by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Loads do not acquire.
    LoadRelaxed,
    /// Read-modify-writes do not acquire.
    ChangeOnlyReleases,
    /// They do not release.
    ChangeOnlyAcquires,
    /// They are a load and a store.
    TornChange,
    /// Closing looks into the caches before it asks what was issued.
    CachesFirst,
    /// Closing does not wait for who is in his CPU's section.
    NoBarrier,
    /// What is brought back counts as returned before the work with it is done.
    ReturnedTooEarly,
}

thread_local! {
    /// The fault of this thread's model. (All threads of a model are coroutines of one.)
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
}

fn is(fault: Fault) -> bool {
    FAULT.get() == fault
}

/// The atomics of the engine's files below: loom's, or worse.
mod sync {
    use super::{Fault, is};
    use loom::sync::atomic;
    pub(crate) use std::sync::atomic::Ordering;

    #[derive(Debug)]
    pub(crate) struct AtomicU32(atomic::AtomicU32);
    pub(crate) use atomic::AtomicUsize;

    impl AtomicU32 {
        pub(crate) fn new(value: u32) -> Self {
            Self(atomic::AtomicU32::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u32 {
            let weak = is(Fault::LoadRelaxed);
            self.0.load(if weak { Ordering::Relaxed } else { order })
        }

        pub(crate) fn store(&self, value: u32, order: Ordering) {
            self.0.store(value, order);
        }

        pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
            self.change(order, |old| old.wrapping_add(value))
        }

        pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
            self.change(order, |old| old.wrapping_sub(value))
        }

        pub(crate) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
            self.change(order, |old| old | value)
        }

        pub(crate) fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
            self.change(order, |old| old & value)
        }

        fn change(&self, order: Ordering, new: impl Fn(u32) -> u32) -> u32 {
            if is(Fault::TornChange) {
                let old = self.0.load(Ordering::Acquire);
                self.0.store(new(old), Ordering::Release);
                return old;
            }
            let order = match order {
                Ordering::AcqRel if is(Fault::ChangeOnlyReleases) => Ordering::Release,
                Ordering::AcqRel if is(Fault::ChangeOnlyAcquires) => Ordering::Acquire,
                order => order,
            };
            let new = |old| Some(new(old));
            self.0.fetch_update(order, Ordering::Relaxed, new).unwrap()
        }
    }
}

#[allow(dead_code, unreachable_pub)]
#[path = "../src/packet/cache.rs"]
mod cache;
#[allow(dead_code)]
#[path = "../src/packet/count.rs"]
mod count;
#[allow(dead_code)]
#[path = "../src/packet/depot.rs"]
mod depot;

/// The least of a buffer that these files need.
mod layout {
    use super::*;

    pub(super) const EMBEDDED: usize = 0;
    pub(super) const STRIDES: [usize; 1] = [cache::BUNDLE * size_of::<Buffer>()];
    pub(super) type Buffer = NonNull<Header>;

    #[repr(C)]
    pub(super) struct Header {
        list: [usize; cache::BUNDLE],
        pub(super) next: Option<Buffer>,
        pub(super) others: u8,
        /// What its owner writes to.
        pub(super) word: UnsafeCell<u32>,
    }

    impl Header {
        pub(super) fn new() -> Self {
            Self {
                list: [0; cache::BUNDLE],
                next: None,
                others: 0,
                word: UnsafeCell::new(0),
            }
        }
    }

    /// # Safety
    /// The buffer lives.
    pub(super) unsafe fn tag_area(buffer: Buffer) -> *mut u8 {
        buffer.as_ptr().cast()
    }
}

/// No slabs: all buffers come from bundles.
mod slab {
    use super::layout::Buffer;
    use super::*;

    pub(super) struct Slab;
    pub(super) struct Slabs;

    impl Slabs {
        pub(super) const fn new() -> Self {
            Self
        }
        /// # Safety
        /// None: there is no slab.
        pub(super) unsafe fn pop(&mut self) -> Option<Buffer> {
            None
        }
        /// # Safety
        /// None: there is no slab.
        pub(super) unsafe fn insert(&mut self, _: NonNull<Slab>) {}
        /// # Safety
        /// None: there is no slab.
        pub(super) unsafe fn push(&mut self, _: Buffer) -> Option<NonNull<Slab>> {
            None
        }
        /// # Safety
        /// None: there is no slab.
        pub(super) unsafe fn take_whole(&mut self) -> Option<NonNull<Slab>> {
            None
        }
    }

    pub(super) fn slab_buffers(_: usize) -> usize {
        0
    }
}

fn explore(fault: Fault, model: fn()) {
    const PREEMPTIONS: usize = 3;
    FAULT.set(fault);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

/// A buffer as its counts see it.
struct Counted {
    refs: count::Refs,
    holds: count::Holds,
    data: UnsafeCell<u32>,
    tag: UnsafeCell<u32>,
    freed: Cell<usize>,
}

// SAFETY: what is plain in it is what loom looks at; `freed` is for one thread at a
// time, or the model fails.
unsafe impl Sync for Counted {}
// SAFETY: as above.
unsafe impl Send for Counted {}

const UNITS: u32 = 8;
const OF_TAG: u32 = 3;

impl Counted {
    fn new(refs: u32) -> Arc<Self> {
        Arc::new(Self {
            refs: count::Refs::of(refs),
            holds: count::Holds::data(),
            data: UnsafeCell::new(0),
            tag: UnsafeCell::new(0),
            freed: Cell::new(0),
        })
    }

    fn read(&self) {
        // SAFETY: loom finds an access beside this one that nothing orders.
        self.data.with(|data| unsafe { *data });
    }

    fn write(&self) {
        // SAFETY: as above.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    fn use_tag(&self) {
        // SAFETY: as above.
        self.tag.with_mut(|tag| unsafe { *tag += 1 });
    }

    /// The next owner writes to all of it.
    fn free(&self, is_free: bool) {
        if is_free {
            self.freed.set(self.freed.get() + 1);
            self.write();
            self.use_tag();
        }
    }

    fn release(&self) {
        if self.refs.release() {
            self.free(self.holds.give_data());
        }
    }

    fn is_freed_once(&self) {
        assert_eq!(self.freed.get(), 1, "times that the buffer was freed");
    }
}

/// Two read, one of them by two references, and let go.
fn sharers() {
    let buffer = Counted::new(2);
    let other = buffer.clone();
    let sharer = thread::spawn(move || {
        other.refs.add();
        other.read();
        other.release();
        other.read();
        other.release();
    });
    buffer.read();
    buffer.release();
    sharer.join().unwrap();
    buffer.is_freed_once();
}

/// One reads and lets go, the other one writes if he is alone.
fn a_writer() {
    let buffer = Counted::new(2);
    let other = buffer.clone();
    let writer = thread::spawn(move || {
        if other.refs.is_one() {
            other.write();
        }
        other.release();
    });
    buffer.read();
    buffer.release();
    writer.join().unwrap();
    buffer.is_freed_once();
}

/// A tag is freed by one thread, the data by another one, who has another tag meanwhile.
fn tag_elsewhere() {
    let buffer = Counted::new(1);
    let first = buffer.holds.take(OF_TAG, UNITS).unwrap();
    let other = buffer.clone();
    let elsewhere = thread::spawn(move || {
        other.use_tag();
        let is_free = other.holds.give(first, OF_TAG);
        other.free(is_free);
    });
    let second = buffer.holds.take(OF_TAG, UNITS).unwrap();
    if second == first {
        buffer.use_tag();
    }
    buffer.holds.give_own(second, OF_TAG);
    buffer.write();
    buffer.release();
    elsewhere.join().unwrap();
    buffer.is_freed_once();
}

/// A pool of one class and two CPUs.
struct World {
    caches: [Mutex<cache::Cache>; 2],
    depot: Mutex<depot::Depot>,
    /// The memory of the pool, which is there until it is closed.
    core: UnsafeCell<bool>,
    /// What figures read beside the owners of the caches.
    views: [*const cache::Cache; 2],
    buffers: Vec<NonNull<layout::Header>>,
}

// SAFETY: caches are used with their mutex held, but for their length, an atomic.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl Drop for World {
    fn drop(&mut self) {
        for buffer in &self.buffers {
            // SAFETY: from `new`, used for the last time.
            drop(unsafe { Box::from_raw(buffer.as_ptr()) });
        }
    }
}

impl World {
    /// All buffers are in bundles of the depot.
    fn new(count: usize) -> Arc<Self> {
        let buffer = |_| NonNull::from(Box::leak(Box::new(layout::Header::new())));
        let buffers: Vec<_> = (0..count).map(buffer).collect();
        let mut depot = depot::Depot::new(0);
        for some in buffers.chunks(cache::BUNDLE) {
            let mut hand = cache::Handful::new();
            assert!(some.iter().all(|&buffer| hand.push(buffer)));
            // SAFETY: free, and ours.
            depot.push(unsafe { depot::Bundle::pack(hand) }.unwrap());
        }
        let mut world = Arc::new(Self {
            caches: [(); 2].map(|()| Mutex::new(cache::Cache::new())),
            depot: Mutex::new(depot),
            core: UnsafeCell::new(true),
            views: [std::ptr::null(); 2],
            buffers,
        });
        let views = [0, 1].map(|cpu| &raw const *world.caches[cpu].lock().unwrap());
        Arc::get_mut(&mut world).unwrap().views = views;
        world
    }

    /// Each step in the pool is a use of its memory.
    fn touch(&self) {
        // SAFETY: as in `Counted::read`.
        let is_there = self.core.with(|core| unsafe { *core });
        assert!(is_there, "the pool's memory was given back");
    }

    fn here<R>(&self, cpu: usize, inside: impl FnOnce(&cache::Cache) -> R) -> R {
        let cache = self.caches[cpu].lock().unwrap();
        self.touch();
        let result = inside(&cache);
        self.touch();
        result
    }

    /// `Core::take_one`.
    fn take(&self, cpu: usize) -> NonNull<layout::Header> {
        // SAFETY: the mutex is held.
        let cached = self.here(cpu, |cache| unsafe { cache.pop() });
        let buffer = cached.unwrap_or_else(|| {
            let bundle = self.depot.lock().unwrap().take();
            let mut hand = bundle.ok().expect("a bundle").unpack();
            let buffer = hand.pop().unwrap();
            self.give(cpu, hand.as_slice());
            buffer
        });
        own(buffer);
        buffer
    }

    /// `Core::give`, `give_more`.
    fn give(&self, cpu: usize, mut buffers: &[NonNull<layout::Header>]) {
        loop {
            // SAFETY: the mutex is held; free, and the caller's.
            let done = self.here(cpu, |cache| unsafe { cache.put(buffers) });
            buffers = &buffers[done..];
            if buffers.is_empty() {
                return;
            }
            // SAFETY: the mutex is held.
            self.bring(self.here(cpu, |cache| unsafe { cache.spill() }));
        }
    }

    /// `Core::bring`, to a pool that holds too much: the buffers are in use until
    /// they count as returned.
    fn bring(&self, buffers: cache::Handful) {
        buffers.as_slice().iter().for_each(|&buffer| own(buffer));
        // SAFETY: free, and ours.
        let Some(bundle) = (unsafe { depot::Bundle::pack(buffers) }) else {
            return;
        };
        let count = bundle.len();
        self.depot.lock().unwrap().push(bundle);
        if is(Fault::ReturnedTooEarly) {
            self.depot.lock().unwrap().returned(count);
            self.touch();
        } else {
            self.touch();
            self.depot.lock().unwrap().returned(count);
        }
    }

    fn flush(&self) {
        for cpu in 0..2 {
            loop {
                // SAFETY: the mutex is held.
                let spilled = self.here(cpu, |cache| unsafe { cache.spill() });
                if spilled.as_slice().is_empty() {
                    break;
                }
                self.bring(spilled);
            }
        }
    }

    /// `Pool::class_figures`.
    fn out(&self) -> usize {
        let issued = || self.depot.lock().unwrap().issued();
        // SAFETY: an atomic, which stays as long as the world.
        let len = |&view: &*const cache::Cache| unsafe { (*view).len() };
        let cached = || self.views.iter().map(len).sum::<usize>();
        if is(Fault::CachesFirst) {
            let cached = cached();
            issued().saturating_sub(cached)
        } else {
            issued().saturating_sub(cached())
        }
    }

    /// `Pool::close`: whether it could be.
    fn close(&self) -> bool {
        if self.out() > 0 {
            return false;
        }
        if !is(Fault::NoBarrier) {
            self.flush();
        }
        // SAFETY: as in `Counted::read`.
        self.core.with_mut(|core| unsafe { *core = false });
        true
    }
}

/// Its owner writes to a buffer.
fn own(buffer: NonNull<layout::Header>) {
    // SAFETY: loom finds another owner.
    unsafe { (*buffer.as_ptr()).word.with_mut(|word| *word += 1) };
}

/// One CPU allocates what the other one frees, through full caches and back.
fn two_cpus() {
    let world = World::new(2 * cache::BUNDLE + 2);
    let taken: Vec<_> = (0..2 * cache::BUNDLE + 1).map(|_| world.take(0)).collect();
    let beside = world.clone();
    let taken = Taken(taken);
    let freeing = thread::spawn(move || {
        let Taken(taken) = { taken };
        taken.iter().for_each(|&buffer| own(buffer));
        beside.give(1, &taken);
    });
    world.give(0, &[world.take(0)]);
    freeing.join().unwrap();
    assert_eq!(world.out(), 0);
    assert!(world.close());
}

/// Buffers that go to another thread.
struct Taken<T>(T);
// SAFETY: they are their owner's.
unsafe impl<T> Send for Taken<T> {}

/// A pool is closed beside who frees its last buffer, on a CPU without a cache.
fn closing_from_afar() {
    let world = World::new(1);
    let mut hand = cache::Handful::new();
    assert!(hand.push(world.take(0)));
    let (beside, hand) = (world.clone(), Taken(hand));
    let freeing = thread::spawn(move || {
        let Taken(hand) = { hand };
        beside.bring(hand);
    });
    let closed = world.close();
    freeing.join().unwrap();
    assert!(closed || world.close(), "nothing is out");
}

/// The same with a cache that is full, so that others are brought to the depot.
fn closing() {
    let world = World::new(2 * cache::BUNDLE + 1);
    let taken: Vec<_> = (0..2 * cache::BUNDLE + 1).map(|_| world.take(0)).collect();
    let (last, taken) = taken.split_last().unwrap();
    world.give(1, taken);
    let (beside, last) = (world.clone(), Taken(vec![*last]));
    let freeing = thread::spawn(move || {
        let Taken(last) = { last };
        beside.give(1, &last);
    });
    let closed = world.close();
    freeing.join().unwrap();
    assert!(closed || world.close(), "nothing is out");
}

macro_rules! nothing_goes_wrong {
    ($($name:ident: $model:ident;)*) => { $(
        #[test]
        fn $name() {
            explore(Fault::None, $model);
        }
    )* };
}

nothing_goes_wrong! {
    nothing_goes_wrong_among_sharers: sharers;
    nothing_goes_wrong_when_one_wants_to_write: a_writer;
    nothing_goes_wrong_with_a_tag_elsewhere: tag_elsewhere;
    nothing_goes_wrong_between_two_cpus: two_cpus;
    nothing_goes_wrong_when_a_pool_is_closed: closing;
    nothing_goes_wrong_when_it_is_closed_from_afar: closing_from_afar;
}

macro_rules! found {
    ($($name:ident: $fault:ident in $model:ident, $message:literal;)*) => { $(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            explore(Fault::$fault, $model);
        }
    )* };
}

found! {
    freeing_without_acquire_is_found: LoadRelaxed in sharers, "Causality violation";
    writing_without_acquire_is_found: LoadRelaxed in a_writer, "Causality violation";
    tags_without_acquire_are_found: LoadRelaxed in tag_elsewhere, "Causality violation";
    a_last_release_without_acquire_is_found: ChangeOnlyReleases in sharers, "Causality violation";
    a_reference_left_without_release_is_found: ChangeOnlyAcquires in sharers, "Causality violation";
    a_tag_left_without_release_is_found: ChangeOnlyAcquires in tag_elsewhere, "Causality violation";
    a_torn_count_is_found: TornChange in sharers, "times that the buffer was freed";
    a_torn_hold_is_found: TornChange in tag_elsewhere, "times that the buffer was freed";
    figures_in_the_wrong_order_are_found: CachesFirst in closing, "Causality violation";
    closing_without_waiting_is_found: NoBarrier in closing, "Causality violation";
    returning_too_early_is_found: ReturnedTooEarly in closing_from_afar, "Causality violation";
}
