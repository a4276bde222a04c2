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
use core::slice;

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
}

/// Places that were claimed, or the role alone.
struct Claim {
    place: u64,
    amount: Amount,
    /// The claimer has the role by it.
    is_free: bool,
    /// There was something in the ring.
    has_found: bool,
    /// Producers are to be told to stop.
    rose: bool,
    /// Why it is not for all.
    refused: Option<Refused>,
}

/// What came of [`Ring::enqueue`].
pub(super) struct Enqueued<'r, T: Item, D, M: Memory> {
    /// The role, if the caller got it. It must go on from there.
    pub(super) role: Option<Role<'r, T, D, M>>,
    /// Why there is still something with the caller.
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

/// The answer while nothing is taken.
#[cold]
fn shut(word: Word) -> Refused {
    match word.has(CLOSED) {
        true => Refused::Closed,
        false => Refused::Stopped,
    }
}

impl Refused {
    /// Whether there was no room, of which there may be some later.
    pub(super) fn is_for_room(self) -> bool {
        matches!(self, Self::Items | Self::Cells)
    }
}

impl<T: Item, D, M: Memory> Enqueued<'_, T, D, M> {
    fn refused(refused: Refused) -> Self {
        Self {
            role: None,
            refused: Some(refused),
            rose: false,
            is_handed_over: false,
        }
    }
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

    /// The role, if the ring is empty, without consumer, and open, and the word as it was.
    /// Who has it may pass by the ring, and then [leave](Role::leave_as) it as it was.
    #[inline]
    pub(super) fn pass_by(&self) -> Option<(Role<'_, T, D, M>, Word)> {
        let word = self.word();
        // The consumer's position has no flags: one comparison tells that none is set and
        // that there is nothing in.
        if word.0 != self.done.0.load(Ordering::Acquire) {
            return None;
        }
        let entered = self.claims.0.word.compare_exchange(
            word.0,
            word.with(BUSY).0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        entered.is_ok().then(|| (Role::of(self), word))
    }

    /// Puts in as much of `batch` as fits, in one piece. What does not stays in it.
    #[inline(never)]
    pub(super) fn enqueue(&self, batch: &mut Batch<T>, bounds: &Bounds) -> Enqueued<'_, T, D, M> {
        let all = batch.amount();
        let claim = match self.claim(all, bounds, |items, cells| batch.fitting(items, cells)) {
            Ok(claim) => claim,
            Err(refused) => return Enqueued::refused(refused),
        };
        let is_given = self.fill(claim.place, batch, claim.amount);
        self.enqueued(claim, is_given)
    }

    /// Puts in one item, or gives it back.
    #[inline]
    pub(super) fn enqueue_one(
        &self,
        item: T,
        bounds: &Bounds,
    ) -> (Enqueued<'_, T, D, M>, Option<T>) {
        let none = |_, _| Amount::default();
        let claim = match self.claim(Amount::of(&item), bounds, none) {
            Ok(claim) => claim,
            Err(refused) => return (Enqueued::refused(refused), Some(item)),
        };
        if claim.amount.items == 0 {
            return (self.enqueued(claim, false), Some(item));
        }
        let is_given = self.fill_first(claim.place, item.into_raw());
        (self.enqueued(claim, is_given), None)
    }

    #[inline]
    fn enqueued(&self, claim: Claim, is_given: bool) -> Enqueued<'_, T, D, M> {
        Enqueued {
            role: (claim.is_free | is_given).then(|| Role::of(self)),
            refused: claim.refused,
            rose: claim.rose,
            is_handed_over: !claim.is_free | claim.has_found,
        }
    }

    /// Claims places for what fits: for `all`, or as much as `fitting` says of a number of
    /// items and of cells. If nothing fits and nobody drains, it claims the role by itself.
    #[inline(always)]
    fn claim(
        &self,
        all: Amount,
        bounds: &Bounds,
        fitting: impl Fn(u64, u64) -> Amount,
    ) -> Result<Claim, Refused> {
        let claims = &self.claims.0;
        let mut word = self.word();
        loop {
            if word.has(STOPPED | CLOSED) {
                return Err(shut(word));
            }
            let is_free = !word.has(BUSY);
            let mut done = match is_free {
                true => Word(self.done.0.load(Ordering::Acquire)),
                false => Word(claims.done_seen.load(Ordering::Acquire)),
            };
            let mut fits = self.fits(word.since(done), all, bounds, &fitting);
            if !is_free && fits.is_none_or(|fits| fits.items < all.items) {
                done = Word(self.done.0.load(Ordering::Acquire));
                claims.done_seen.store(done.0, Ordering::Release);
                fits = self.fits(word.since(done), all, bounds, &fitting);
            }
            let Some(fits) = fits else {
                // The consumer is ahead of what was read of the word.
                word = self.word();
                continue;
            };
            let level = word.since(done);
            if fits.items == 0 && !is_free {
                return Err(self.why(level, bounds));
            }
            let after = level.items.wrapping_add(fits.items);
            let is_high = after >= bounds.high && fits.items > 0;
            let next = word
                .plus(fits)
                .with(if is_high { BUSY | HIGH } else { BUSY });
            if let Err(now) = claims.word.compare_exchange_weak(
                word.0,
                next.0,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                word = Word(now);
                continue;
            }
            let is_cut = fits.items < all.items;
            return Ok(Claim {
                place: word.items(),
                amount: fits,
                is_free,
                has_found: level.items > 0,
                rose: is_high && !word.has(HIGH),
                refused: is_cut.then(|| self.why(next.since(done), bounds)),
            });
        }
    }

    /// How much of `all` fits beside what is in. `None` if that is more than can be in.
    #[inline(always)]
    fn fits(
        &self,
        level: Level,
        all: Amount,
        bounds: &Bounds,
        fitting: impl Fn(u64, u64) -> Amount,
    ) -> Option<Amount> {
        if all.items == 1 && level.items == 0 {
            // However little the limit is: what is larger would never be sent.
            return Some(all);
        }
        let capacity = self.capacity();
        if level.items > capacity {
            return None;
        }
        let items = bounds.items.min(capacity).saturating_sub(level.items);
        let cells = bounds.cells.min(MOST_CELLS).saturating_sub(level.cells);
        if all.items <= items && all.cells <= cells {
            return Some(all);
        }
        let fits = fitting(items, cells);
        if fits.items == 0 && level.items == 0 {
            return Some(fitting(1, MOST_CELLS));
        }
        Some(fits)
    }

    /// Which bound keeps the rest of a batch out.
    #[cold]
    fn why(&self, level: Level, bounds: &Bounds) -> Refused {
        match level.items >= bounds.items.min(self.capacity()) {
            true => Refused::Items,
            false => Refused::Cells,
        }
    }

    /// Moves the foremost items, so much of the batch, to the places from `place` on,
    /// which the caller has claimed. True if it got the role by that.
    #[inline]
    fn fill(&self, place: u64, batch: &mut Batch<T>, amount: Amount) -> bool {
        let raws = batch.raws().get(..amount.items as usize);
        let Some((&first, others)) = raws.unwrap_or_default().split_first() else {
            return false;
        };
        let (mut at, mut left) = (advance(place, 1), others);
        while !left.is_empty() {
            let slots = self.slots_from(at, left.len() as u64);
            let lap = self.lap(at);
            for (slot, raw) in slots.iter().zip(left) {
                let filled = raw.as_ptr().map_addr(|address| address | lap);
                slot.store(filled, Ordering::Relaxed);
            }
            at = advance(at, slots.len() as u64);
            left = left.get(slots.len()..).unwrap_or_default();
        }
        batch.forget(amount.items as usize);
        self.fill_first(place, first)
    }

    /// Fills the first place of a claim. True if the caller got the role by that.
    #[inline]
    fn fill_first(&self, place: u64, raw: NonNull<()>) -> bool {
        let marks = FIRST | self.lap(place);
        let filled = raw.as_ptr().map_addr(|address| address | marks);
        let stale = self.slot(place).swap(filled, Ordering::AcqRel);
        stale.addr() == HELD
    }

    /// The slots of so many places at most, which are in the same lap.
    #[inline]
    pub(super) fn slots_from(&self, place: u64, most: u64) -> &[AtomicPtr<()>] {
        let index = place & self.mask;
        let len = most.min(self.capacity().wrapping_sub(index));
        // SAFETY: the mask keeps the first within the slots, and `len` the last.
        unsafe {
            let first = self.slots.as_ptr().add(index as usize);
            slice::from_raw_parts(first, len as usize)
        }
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
