// SPDX-License-Identifier: BSD-2-Clause
//! The consumer of a ring: what only the holder of its role may do, and the ways to give
//! the role away. `ring.rs` begins with the whole of it.

use super::batch::Batch;
use super::item::Item;
use super::ring::{Berth, Bounds, Enqueued, FIRST, HELD, LAP, Owned, PARKED, QUIET, Refused, Ring};
use super::sync::Ordering;
use super::word::{self, Amount, BUSY, HIGH, Word, distance};
use crate::fib::Memory;
use core::mem;
use core::ptr::{self, NonNull};

/// The role of a ring's consumer. One that is dropped is free to be taken again.
#[must_use = "items stay in the ring until somebody goes on with the role"]
pub(super) struct Role<'r, T: Item, D, M: Memory> {
    ring: &'r Ring<T, D, M>,
}

/// What [`Role::take`] took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) items: u64,
    /// Claims that began with one of them.
    pub(super) claims: u64,
    pub(super) bytes: u64,
    /// Items that were in the ring before.
    pub(super) level: u64,
}

/// What came of [`Role::leave`].
pub(super) enum Left<'r, T: Item, D, M: Memory> {
    /// The ring is empty. With it, whether producers may be told to go on.
    Empty(bool),
    /// The role went to a producer that was stopped.
    Held,
    /// There is something to do.
    Work(Role<'r, T, D, M>),
}

impl<'r, T: Item, D, M: Memory> Role<'r, T, D, M> {
    /// The role, for who has come by it in one of the ways that `ring.rs` lists.
    pub(super) fn of(ring: &'r Ring<T, D, M>) -> Self {
        Self { ring }
    }

    /// What belongs to the consumer, and what was taken out and is to be passed on from
    /// the front.
    #[inline]
    pub(super) fn parts(&mut self) -> (&mut D, &mut Batch<T>) {
        let owned = self.owned();
        (&mut owned.data, &mut owned.rest)
    }

    /// What belongs to the consumer.
    #[inline]
    pub(super) fn data(&mut self) -> &mut D {
        &mut self.owned().data
    }

    /// What was taken out, to be passed on from the front.
    #[inline]
    pub(super) fn rest(&mut self) -> &mut Batch<T> {
        &mut self.owned().rest
    }

    #[inline]
    fn owned(&mut self) -> &mut Owned<T, D> {
        // SAFETY: there is one role, it is borrowed mutably, and who had it before gave it
        // away by a release that was acquired.
        self.ring.owned.with_mut(|owned| unsafe { &mut *owned })
    }

    /// The ring's word, whose flags tell what is wanted of the consumer.
    #[inline]
    pub(super) fn word(&self) -> Word {
        self.ring.word()
    }

    /// Moves items to [`rest`](Role::rest), until that is full, the next place is not
    /// filled, or the ring's last slot is reached. They count as in the ring until they are
    /// [settled](Role::settle).
    #[inline(always)]
    pub(super) fn take(&mut self) -> Taken {
        let ring = self.ring;
        let word = ring.word();
        let owned = self.owned();
        let place = owned.next.items();
        let there = distance(place, word.items());
        let before = owned.rest.len();
        let lap = ring.lap(place);
        let (mut claims, mut bytes, mut cells) = (0u64, 0u64, 0u64);
        let slots = ring.slots_from(place, there).iter();
        owned.rest.fill(slots.map_while(|slot| {
            let raw = slot.load(Ordering::Acquire);
            if (raw.addr() ^ lap) & LAP != 0 {
                return None;
            }
            claims = claims.wrapping_add((raw.addr() & FIRST) as u64);
            let raw = NonNull::new(raw.map_addr(|address| address & !(LAP | FIRST)))?;
            // SAFETY: a filled place holds what `into_raw` gave, and the role takes it out.
            let item = unsafe { T::from_raw(raw) };
            let of_item = item.bytes();
            bytes = bytes.wrapping_add(u64::from(of_item));
            cells = cells.wrapping_add(word::cells(of_item));
            Some(item)
        }));
        let items = owned.rest.len().wrapping_sub(before) as u64;
        owned.next = owned.next.plus(Amount { items, cells });
        Taken {
            items,
            claims: claims / FIRST as u64,
            bytes,
            level: there.wrapping_add(before as u64),
        }
    }

    /// Items in the ring, with those that were taken out and not passed on.
    pub(super) fn level(&mut self) -> u64 {
        let claimed = self.ring.word().items();
        let owned = self.owned();
        distance(owned.next.items(), claimed).wrapping_add(owned.rest.len() as u64)
    }

    /// Whether all that is in the ring was taken out and passed on.
    #[inline]
    pub(super) fn has_all(&mut self) -> bool {
        let claimed = self.ring.word().items();
        let owned = self.owned();
        owned.next.items() == claimed && owned.rest.is_empty()
    }

    /// Cells of what is in the ring behind what was taken out.
    pub(super) fn behind(&mut self) -> u64 {
        let word = self.ring.word();
        word.since(self.owned().next).cells
    }

    /// Lets producers have the places of all that was taken and is not in
    /// [`rest`](Role::rest) any more. True if producers may be told to go on, for there
    /// are no more than `low` in now.
    #[inline]
    pub(super) fn settle(&mut self, low: u64) -> bool {
        let ring = self.ring;
        let owned = self.owned();
        let done = match owned.rest.is_empty() {
            true => owned.next,
            false => owned.next.minus(owned.rest.amount()),
        };
        ring.done.0.store(done.0, Ordering::Release);
        let word = Word(ring.claims.0.word.load(Ordering::Relaxed));
        word.has(HIGH)
            && word.since(done).items <= low
            && Word(ring.claims.0.word.fetch_and(!HIGH, Ordering::AcqRel)).has(HIGH)
    }

    /// Puts in what fits, as a producer: why the rest did not, and whether producers are
    /// to be told to stop.
    pub(super) fn enqueue(
        &mut self,
        batch: &mut Batch<T>,
        bounds: &Bounds,
    ) -> (Option<Refused>, bool) {
        let Enqueued {
            role,
            refused,
            rose,
            ..
        } = self.ring.enqueue(batch, bounds);
        // There is one role, and the caller has it.
        debug_assert!(role.is_none());
        (refused, rose)
    }

    /// Goes away, unless there is something to take or to pass on.
    #[inline]
    pub(super) fn leave(mut self) -> Left<'r, T, D, M> {
        if !self.rest().is_empty() {
            return Left::Work(self);
        }
        let ring = self.ring;
        let next = self.owned().next.items();
        loop {
            let word = ring.word();
            if word.items() != next {
                return self.hold(next);
            }
            let left = ring.claims.0.word.compare_exchange(
                word.0,
                word.without(BUSY | HIGH).0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if left.is_ok() {
                mem::forget(self);
                return Left::Empty(word.has(HIGH));
            }
        }
    }

    /// Gives the role to the producer of the next place, unless that is filled.
    #[cold]
    fn hold(self, next: u64) -> Left<'r, T, D, M> {
        let ring = self.ring;
        let slot = ring.slot(next);
        let stale = slot.load(Ordering::Acquire);
        if stale.addr() & LAP == ring.lap(next) {
            return Left::Work(self);
        }
        let held = ptr::without_provenance_mut(HELD);
        let given = slot.compare_exchange(stale, held, Ordering::AcqRel, Ordering::Acquire);
        if given.is_err() {
            return Left::Work(self);
        }
        mem::forget(self);
        Left::Held
    }

    /// Goes away from a ring that it [passed by](Ring::pass_by), if nobody has claimed
    /// or wanted anything since: the word is as it was.
    #[inline]
    pub(super) fn leave_as(self, word: Word) -> Result<(), Self> {
        let left = self.ring.claims.0.word.compare_exchange(
            word.with(BUSY).0,
            word.0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        match left {
            Ok(_) => {
                mem::forget(self);
                Ok(())
            }
            Err(_) => Err(self),
        }
    }

    /// Answers the calls at a berth: what is tried after this is tried after what they
    /// were made for.
    #[inline]
    pub(super) fn attend(&self, berth: Berth) {
        let place = self.ring.berth(berth);
        if place.load(Ordering::Relaxed) != QUIET {
            place.swap(QUIET, Ordering::AcqRel);
        }
    }

    /// Leaves the role at a berth, unless there was a call since the holder
    /// [attended](Role::attend) to it: then it has the role still.
    pub(super) fn park(self, berth: Berth) -> Option<Self> {
        let place = self.ring.berth(berth);
        let parked = place.compare_exchange(QUIET, PARKED, Ordering::AcqRel, Ordering::Acquire);
        if parked.is_err() {
            return Some(self);
        }
        mem::forget(self);
        None
    }
}

impl<T: Item, D, M: Memory> Drop for Role<'_, T, D, M> {
    fn drop(&mut self) {
        self.ring.claims.0.word.fetch_and(!BUSY, Ordering::AcqRel);
    }
}
