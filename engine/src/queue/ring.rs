// SPDX-License-Identifier: BSD-2-Clause
//! A bounded ring with many producers, whose one consumer is whoever has its *role*.
//!
//! A producer claims places, as many as are free and in the limits, by one
//! compare-and-swap of the ring's word (`word.rs`), then stores its items' pointers there.
//! It waits for nobody. If the word says that there is no consumer, the same
//! compare-and-swap makes the producer the consumer.
//!
//! # Slots
//!
//! A slot is a pointer whose lowest bit changes from lap to lap: that tells the consumer
//! whether the place is filled, without another word beside it, and without the consumer
//! having to empty it. The second bit marks the first item of a claim, so that the
//! consumer can count claims.
//!
//! # The role
//!
//! The role is a value ([`Role`], in `role.rs`); there is never more than one of a ring. It goes
//!
//! - to a producer or another thread that finds [`BUSY`] not set, by setting it;
//! - to nobody, when its holder finds nothing claimed that it has not taken: the
//!   compare-and-swap that takes `BUSY` away fails if anybody has claimed meanwhile. So no
//!   work is left behind unseen, and no fence is needed;
//! - to a producer that was stopped between its claim and its stores. The holder, when it
//!   finds the next place claimed but not filled, does not wait: it exchanges the slot's
//!   stale pointer for [`HELD`] and goes away, with `BUSY` set. The producer fills that
//!   place by an exchange, too, finds `HELD` there, and is the consumer;
//! - to a [`Berth`], from where [`Ring::call`] fetches it: for a worker, or until
//!   the device has room again. A call that comes too early is not lost: the
//!   role is not parked then.
//!
//! Only the first place of a claim is filled by an exchange, after the others: who sees
//! the first sees all.
//!
//! # Orderings
//!
//! | who      | does                                         | so that                   |
//! | -------- | -------------------------------------------- | ------------------------- |
//! | producer | fills its places, the first last: release    |                           |
//! | consumer | reads a place: acquire                       | the items are whole       |
//! | consumer | has read places, publishes how far: release  |                           |
//! | producer | reads that: acquire, directly or as another producer noted it | it may fill them again |
//! | consumer | gives the role away: release, on the word, a slot or a berth  |          |
//! | the next | takes it there: acquire                      | it goes on where the last one ended |
//!
//! `tests/queue_model.rs` compiles this file over a model of that memory order.

use super::batch::Batch;
use super::item::Item;
use super::role::Role;
use super::sync::{AtomicPtr, AtomicU8, AtomicU64, Ordering, UnsafeCell};
use super::word::{
    Amount, BUSY, CLOSED, HIGH, Level, MOST_CELLS, STOPPED, Word, advance, distance,
};
use crate::fib::Memory;
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

/// The bit of a slot that changes from lap to lap.
pub(super) const LAP: usize = 1;
/// The bit of a slot that marks the first item of a claim.
pub(super) const FIRST: usize = 2;
/// What is in the slot whose producer is to be the next consumer. No item's address.
pub(super) const HELD: usize = 4;

/// Items that a ring may have room for.
const MOST: usize = 1 << 20;

/// On cache lines of its own, and of the pair that some processors fetch together.
#[repr(align(128))]
pub(super) struct Line<T>(pub(super) T);

/// What producers write.
pub(super) struct Claims {
    pub(super) word: AtomicU64,
    /// A value of `done` that some producer has read.
    done_seen: AtomicU64,
}

/// Where the role waits to be called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Berth {
    /// For the queue's worker.
    Worker,
    /// Until the backend takes items again.
    Backend,
}

/// Nobody called since the role's holder last looked.
pub(super) const QUIET: u8 = 0;
/// Somebody called.
const CALLED: u8 = 1;
/// The role is here.
pub(super) const PARKED: u8 = 2;

/// A ring of items, and `D`, which belongs to whoever consumes them.
///
/// # Invariants
///
/// - `slots` are `mask + 1` slots, a power of two, from `memory`.
/// - Places from `next` to the word's are claimed; no others are filled. What was in those
///   from `done` to `next` is in `rest`, or was when `done` was last stored.
/// - Who has the role, and nobody else, reaches `owned` and writes `done`.
pub(super) struct Ring<T: Item, D, M: Memory> {
    pub(super) claims: Line<Claims>,
    /// How far the consumer is: what it took is with the backend, or dropped.
    pub(super) done: Line<AtomicU64>,
    pub(super) owned: UnsafeCell<Owned<T, D>>,
    berths: Line<[AtomicU8; 2]>,
    slots: NonNull<AtomicPtr<()>>,
    mask: u64,
    memory: M,
    items: PhantomData<T>,
}

/// What belongs to the role.
pub(super) struct Owned<T: Item, D> {
    /// The place that is taken next, and the cells before it.
    pub(super) next: Word,
    /// What was taken out, and has not gone on its way.
    pub(super) rest: Batch<T>,
    pub(super) data: D,
}

// SAFETY: items and `D` go from thread to thread, and only one has `D` at a time.
unsafe impl<T: Item, D: Send, M: Memory + Sync> Sync for Ring<T, D, M> {}
// SAFETY: it owns all that it holds.
unsafe impl<T: Item, D: Send, M: Memory + Send> Send for Ring<T, D, M> {}

/// How much a producer may put in, beside the ring's own size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Items that may be in the ring.
    pub(super) items: u64,
    /// Cells that may be in it; an item goes into an empty ring whatever it takes.
    pub(super) cells: u64,
    /// From how many items on producers are told to stop.
    pub(super) high: u64,
    /// Whether a producer that finds the ring empty and without consumer becomes the
    /// consumer *without* putting anything in.
    pub(super) direct: bool,
}

/// What came of [`Ring::enqueue`].
pub(super) struct Enqueued<'r, T: Item, D, M: Memory> {
    /// The role, if the caller got it. It must go on from there.
    pub(super) role: Option<Role<'r, T, D, M>>,
    /// Why there is still something in the batch. `None` if there is nothing, or it is the
    /// caller's turn to pass it on directly.
    pub(super) refused: Option<Refused>,
    /// Whether producers are to be told to stop, by the caller.
    pub(super) rose: bool,
    /// Whether the role comes with work that somebody else had left.
    pub(super) is_handed_over: bool,
}

/// Why a ring took no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Items,
    Cells,
    Stopped,
    Closed,
}

impl<T: Item, D, M: Memory> Ring<T, D, M> {
    /// A ring with room for `items`, rounded up to a power of two, 2^20 at most. `None`
    /// if there is no memory.
    #[allow(dead_code, reason = "models and tests make rings by themselves")]
    pub(super) fn new(items: usize, data: D, memory: M) -> Option<Self> {
        let mut place = MaybeUninit::uninit();
        Self::new_in(&mut place, items, data, memory)?;
        // SAFETY: `new_in` has made it.
        Some(unsafe { place.assume_init() })
    }

    /// The same, made where it is to be.
    pub(super) fn new_in(
        place: &mut MaybeUninit<Self>,
        items: usize,
        data: D,
        memory: M,
    ) -> Option<&mut Self> {
        let len = items.clamp(2, MOST).next_power_of_two();
        let layout = Layout::array::<AtomicPtr<()>>(len).ok()?;
        let slots = memory.allocate(layout)?.cast::<AtomicPtr<()>>();
        for n in 0..len {
            // SAFETY: within the block, which is nobody else's yet.
            unsafe { slots.add(n).write(AtomicPtr::new(ptr::null_mut())) };
        }
        let at = place.as_mut_ptr();
        // SAFETY: fields of the place, which is borrowed; all are written.
        unsafe {
            (&raw mut (*at).claims).write(Line(Claims {
                word: AtomicU64::new(0),
                done_seen: AtomicU64::new(0),
            }));
            (&raw mut (*at).done).write(Line(AtomicU64::new(0)));
            (&raw mut (*at).owned).write(UnsafeCell::new(Owned {
                next: Word(0),
                rest: Batch::new(),
                data,
            }));
            let berths = [AtomicU8::new(QUIET), AtomicU8::new(QUIET)];
            (&raw mut (*at).berths).write(Line(berths));
            (&raw mut (*at).slots).write(slots);
            (&raw mut (*at).mask).write((len as u64).wrapping_sub(1));
            (&raw mut (*at).memory).write(memory);
            Some(place.assume_init_mut())
        }
    }

    /// Items that it has room for.
    pub(super) fn capacity(&self) -> u64 {
        self.mask.wrapping_add(1)
    }

    /// What is in it at this moment, or was at one just before.
    pub(super) fn level(&self) -> Level {
        let done = Word(self.done.0.load(Ordering::Acquire));
        let level = self.word().since(done);
        Level {
            items: level.items.min(self.capacity()),
            cells: level.cells.min(MOST_CELLS),
        }
    }

    /// Whether producers are to hold back.
    pub(super) fn is_high(&self) -> bool {
        self.word().has(HIGH)
    }

    /// Whether somebody has the role.
    pub(super) fn is_busy(&self) -> bool {
        self.word().has(BUSY)
    }

    /// The number of the place that is claimed next.
    pub(super) fn claimed(&self) -> u64 {
        self.word().items()
    }

    /// Whether all places before that one are done.
    pub(super) fn is_done(&self, place: u64) -> bool {
        let done = Word(self.done.0.load(Ordering::Acquire)).items();
        // No more can be missing than there are places.
        distance(done, place).wrapping_sub(1) >= self.capacity()
    }

    /// Sets or clears flags, for all claims to come.
    pub(super) fn mark(&self, set: u64, clear: u64) {
        if set != 0 {
            self.claims.0.word.fetch_or(set, Ordering::AcqRel);
        }
        if clear != 0 {
            self.claims.0.word.fetch_and(!clear, Ordering::AcqRel);
        }
    }

    pub(super) fn word(&self) -> Word {
        Word(self.claims.0.word.load(Ordering::Acquire))
    }

    /// Takes the role if nobody has it.
    pub(super) fn enter(&self) -> Option<Role<'_, T, D, M>> {
        // A flag that is set already stays what it is.
        let before = self.claims.0.word.fetch_or(BUSY, Ordering::AcqRel);
        (!Word(before).has(BUSY)).then(|| Role::of(self))
    }

    /// Puts in as much of `batch` as fits, in one piece. What does not stays in it.
    #[inline]
    pub(super) fn enqueue(&self, batch: &mut Batch<T>, bounds: &Bounds) -> Enqueued<'_, T, D, M> {
        match self.pass_by(bounds) {
            None => self.claim(batch, bounds),
            role => Enqueued {
                role,
                refused: None,
                rose: false,
                is_handed_over: false,
            },
        }
    }

    /// The role, if the ring is empty and without consumer, and need not be used.
    #[inline]
    fn pass_by(&self, bounds: &Bounds) -> Option<Role<'_, T, D, M>> {
        let word = self.word();
        if word.has(BUSY | STOPPED | CLOSED) || !bounds.direct {
            return None;
        }
        let done = Word(self.done.0.load(Ordering::Acquire));
        if done.items() != word.items() {
            return None;
        }
        let entered = self.claims.0.word.compare_exchange(
            word.0,
            word.with(BUSY).0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        entered.is_ok().then(|| Role::of(self))
    }

    /// Claims places for what fits, and fills them.
    #[inline(never)]
    fn claim(&self, batch: &mut Batch<T>, bounds: &Bounds) -> Enqueued<'_, T, D, M> {
        let claims = &self.claims.0;
        let all = batch.amount();
        let mut word = self.word();
        loop {
            if word.has(STOPPED | CLOSED) {
                return self.shut(word);
            }
            let is_free = !word.has(BUSY);
            let mut done = Word(claims.done_seen.load(Ordering::Acquire));
            let mut fits = self.fits(word.since(done), all, batch, bounds);
            if is_free || fits.is_none_or(|fits| fits.items < all.items) {
                done = Word(self.done.0.load(Ordering::Acquire));
                if !is_free {
                    claims.done_seen.store(done.0, Ordering::Release);
                }
                fits = self.fits(word.since(done), all, batch, bounds);
            }
            let Some(fits) = fits else {
                // The consumer is ahead of what was read of the word.
                word = self.word();
                continue;
            };
            let level = word.since(done).items;
            if fits.items == 0 && !is_free {
                return Enqueued {
                    role: None,
                    refused: self.why(word.since(done), batch, bounds),
                    rose: false,
                    is_handed_over: false,
                };
            }
            let is_high = level.wrapping_add(fits.items) >= bounds.high && fits.items > 0;
            let flags = if is_high { BUSY | HIGH } else { BUSY };
            let next = word.plus(fits).with(flags);
            if let Err(now) = claims.word.compare_exchange_weak(
                word.0,
                next.0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                word = Word(now);
                continue;
            }
            let got = is_free | self.fill(word.items(), batch, fits);
            return Enqueued {
                role: got.then(|| Role::of(self)),
                refused: self.why(next.since(done), batch, bounds),
                rose: is_high && !word.has(HIGH),
                is_handed_over: !is_free || level > 0,
            };
        }
    }

    /// The answer while nothing is taken.
    #[cold]
    fn shut(&self, word: Word) -> Enqueued<'_, T, D, M> {
        let is_closed = word.has(CLOSED);
        Enqueued {
            role: None,
            refused: Some(if is_closed {
                Refused::Closed
            } else {
                Refused::Stopped
            }),
            rose: false,
            is_handed_over: false,
        }
    }

    /// How much of a batch, which is `all`, fits beside what is in. `None` if that is more than can be in.
    #[inline]
    fn fits(&self, level: Level, all: Amount, batch: &Batch<T>, bounds: &Bounds) -> Option<Amount> {
        let capacity = self.capacity();
        if level.items > capacity {
            return None;
        }
        let items = bounds.items.min(capacity).saturating_sub(level.items);
        let cells = bounds.cells.min(MOST_CELLS).saturating_sub(level.cells);
        if all.items <= items && all.cells <= cells {
            return Some(all);
        }
        let fits = batch.fitting(items, cells);
        if fits.items == 0 && level.items == 0 && items > 0 {
            // However little the limit is: what is larger would never be sent.
            return Some(batch.fitting(1, MOST_CELLS));
        }
        Some(fits)
    }

    /// Which bound keeps the rest of a batch out.
    fn why(&self, level: Level, batch: &Batch<T>, bounds: &Bounds) -> Option<Refused> {
        let is_full = level.items >= bounds.items.min(self.capacity());
        let why = if is_full {
            Refused::Items
        } else {
            Refused::Cells
        };
        (!batch.is_empty()).then_some(why)
    }

    /// Moves the foremost items, so much of the batch, to the places from `place` on,
    /// which the caller has claimed. True if it got the role by that.
    #[inline]
    fn fill(&self, place: u64, batch: &mut Batch<T>, amount: Amount) -> bool {
        let raws = batch.raws().get(..amount.items as usize);
        let Some((&first, others)) = raws.unwrap_or_default().split_first() else {
            return false;
        };
        let mut at = place;
        for &raw in others {
            at = advance(at, 1);
            let filled = self.filled(at, raw, 0);
            self.slot(at).store(filled, Ordering::Relaxed);
        }
        let first = self.filled(place, first, FIRST);
        let stale = self.slot(place).swap(first, Ordering::AcqRel);
        batch.forget(amount.items as usize);
        stale.addr() == HELD
    }

    /// What stands for a pointer at a place.
    #[inline]
    fn filled(&self, place: u64, raw: NonNull<()>, first: usize) -> *mut () {
        raw.as_ptr()
            .map_addr(|address| address | first | self.lap(place))
    }

    /// The lap bit of a place that is filled. A slot begins as after a lap with the
    /// other one.
    #[inline]
    pub(super) fn lap(&self, place: u64) -> usize {
        if place & self.capacity() == 0 { LAP } else { 0 }
    }

    #[inline]
    pub(super) fn slot(&self, place: u64) -> &AtomicPtr<()> {
        // SAFETY: the mask keeps it within the slots.
        unsafe { self.slots.add((place & self.mask) as usize).as_ref() }
    }

    /// Calls the role away from a berth. If it is not there, who has it and is about to
    /// park there will not. Any thread.
    pub(super) fn call(&self, berth: Berth) -> Option<Role<'_, T, D, M>> {
        let before = self.berth(berth).swap(CALLED, Ordering::AcqRel);
        (before == PARKED).then(|| Role::of(self))
    }

    /// Takes the role away from a berth if it is there; otherwise nothing happens.
    pub(super) fn fetch(&self, berth: Berth) -> Option<Role<'_, T, D, M>> {
        let place = self.berth(berth);
        place
            .compare_exchange(PARKED, QUIET, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then(|| Role::of(self))
    }

    pub(super) fn berth(&self, berth: Berth) -> &AtomicU8 {
        let [worker, backend] = &self.berths.0;
        match berth {
            Berth::Worker => worker,
            Berth::Backend => backend,
        }
    }
}

impl<T: Item, D, M: Memory> Drop for Ring<T, D, M> {
    fn drop(&mut self) {
        // Alone with it, and so the consumer: whoever had the role has forgotten it.
        let mut role = Role::of(self);
        loop {
            *role.rest() = Batch::new();
            if role.take().items == 0 {
                break;
            }
        }
        drop(role);
        let len = self.capacity() as usize;
        for n in 0..len {
            // SAFETY: one of the slots, initialised by `new`, and not used again.
            unsafe { self.slots.add(n).drop_in_place() };
        }
        if let Ok(layout) = Layout::array::<AtomicPtr<()>>(len) {
            // SAFETY: from `new`, with this layout.
            unsafe { self.memory.free(self.slots.cast(), layout) };
        }
    }
}
