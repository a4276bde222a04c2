// SPDX-License-Identifier: BSD-2-Clause
//! Several queues of one link, and which of them a packet goes to: by its flow, by the
//! processor that sends it, or as its sender says.
//!
//! The first two go through an indirection table of 128 *buckets*, each of which names a
//! queue. Submitting costs one load of an entry besides.
//!
//! # Moving a bucket
//!
//! While packets flow, a bucket can be moved to another queue, and no packet overtakes one
//! of its flow by that. One bucket is moved at a time:
//!
//! | step | the mover                                    | submitters to the bucket            |
//! | ---- | -------------------------------------------- | ----------------------------------- |
//! | 1    | marks the entry                              | those who see it put packets into the old queue under a lock, and drain it outside |
//! | 2    | waits until all sections of now have ended   | from here on nobody does without the lock |
//! | 3    | under the lock: notes what the old queue has; [`HOLDING`] | put packets into *limbo*, a small ring, under the lock |
//! | 4    | waits until the old queue is past that       |                                     |
//! | 5    | submits what is in limbo to the new queue    |                                     |
//! | 6    | under the lock, if limbo is empty: names the new queue in the entry | submit to the new queue, without lock |
//!
//! No other bucket, and neither queue's drainer, takes part. What does not fit into limbo is
//! refused, as by a full queue. If the old queue does not get past the mark, since its
//! backend is stuck, the mover gives up the order after some time, and says so.

use super::batch::Batch;
use super::item::Item;
use super::reason::Reason;
use super::ring::{Bounds, Ring};
use super::role::Role;
use super::sync::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use super::tx::{Platform, Sink, TxQueue};
use crate::fib::{Lock, Memory};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Deref;

/// Buckets of an indirection table.
pub const BUCKETS: usize = 128;

/// Queues that a set may have.
pub const MOST_QUEUES: usize = 128;

/// The bit of an entry whose bucket is being moved; the others name a queue.
const MOVING: u8 = 0x80;

/// Packets of the moving bucket go into the old queue.
const STAYING: u8 = 0;
/// They go into limbo.
const HOLDING: u8 = 1;
/// The bucket has moved.
const SETTLED: u8 = 2;

/// By what a queue is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By each packet's flow hash.
    Flow,
    /// By the number of the processor.
    Cpu(usize),
    /// That queue, if there is one of that number; else by flow. Its sender answers for
    /// the order of packets.
    Queue(usize),
}

/// What moving a bucket needs of the platform: the submitters' sections, such as the
/// network epoch, and a thread that may wait for them.
pub trait Sections: Sync {
    /// Proof that the thread is in a section.
    type Section<'s>;

    /// Returns when all sections that exist now have ended. A section for which it does
    /// not wait sees all stores that were made before the call. May sleep.
    fn wait(&self);

    /// Lets others work for a while, no more than a few milliseconds. May sleep.
    fn relax(&self);
}

/// What came of moving a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is moved, and all packets are in order.
    InOrder,
    /// The old queue was stuck: packets may have overtaken what is in it.
    GaveUp,
}

/// Why a bucket cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveError {
    /// There is no bucket of this number.
    Bucket(usize),
    /// There is no queue of this number.
    Queue(usize),
    /// Another one is being moved.
    Busy,
}

/// Queues, and the table by which they are selected.
pub struct QueueSet<T: Item, S, P, M: Memory, G, L, B> {
    queues: B,
    entries: [AtomicU8; BUCKETS],
    /// Packets of the bucket that is being moved. The mover has its role.
    limbo: Ring<T, (), M>,
    lock: L,
    /// Written under the lock.
    phase: AtomicU8,
    is_moving: AtomicBool,
    lost: AtomicU64,
    sections: G,
    of: PhantomData<fn() -> (S, P)>,
}

impl<T, S, P, M, G, L, B> QueueSet<T, S, P, M, G, L, B>
where
    T: Item,
    S: Sink<T>,
    P: Platform,
    M: Memory,
    G: Sections,
    L: Lock,
    B: Deref<Target = [TxQueue<T, S, P, M>]>,
{
    /// A set of these queues, of which the first `active` are in the table, in turn. While
    /// a bucket moves, up to `limbo` packets are kept. `None` without memory, with no queue
    /// or with more than [`MOST_QUEUES`].
    #[allow(unsafe_code)]
    pub fn new(
        queues: B,
        active: usize,
        limbo: usize,
        sections: G,
        lock: L,
        memory: M,
    ) -> Option<Self> {
        let mut place = MaybeUninit::uninit();
        Self::new_in(&mut place, queues, active, limbo, sections, lock, memory)?;
        // SAFETY: `new_in` has made it.
        Some(unsafe { place.assume_init() })
    }

    /// The same, made where it is to be: a set is too large for a kernel's stack.
    #[allow(unsafe_code)]
    pub fn new_in(
        place: &mut MaybeUninit<Self>,
        queues: B,
        active: usize,
        limbo: usize,
        sections: G,
        lock: L,
        memory: M,
    ) -> Option<&mut Self> {
        let fits =
            (1..=MOST_QUEUES).contains(&queues.len()) && (1..=queues.len()).contains(&active);
        if !fits {
            return None;
        }
        let entries = core::array::from_fn(|bucket| AtomicU8::new((bucket % active) as u8));
        let at = place.as_mut_ptr();
        // SAFETY: fields of the place, which is borrowed; all are written.
        unsafe {
            let ring = &mut *(&raw mut (*at).limbo).cast::<MaybeUninit<_>>();
            Ring::<T, (), M>::new_in(ring, limbo, (), memory)?;
            (&raw mut (*at).queues).write(queues);
            (&raw mut (*at).entries).write(entries);
            (&raw mut (*at).lock).write(lock);
            (&raw mut (*at).phase).write(AtomicU8::new(SETTLED));
            (&raw mut (*at).is_moving).write(AtomicBool::new(false));
            (&raw mut (*at).lost).write(AtomicU64::new(0));
            (&raw mut (*at).sections).write(sections);
            Some(place.assume_init_mut())
        }
    }

    /// The queues.
    pub fn queues(&self) -> &[TxQueue<T, S, P, M>] {
        &self.queues
    }

    /// The platform's sections.
    pub fn sections(&self) -> &G {
        &self.sections
    }

    /// Packets that were in limbo and then found no room in their new queue.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Submits each packet to its queue. What is refused stays in the batch, in order,
    /// and the last reason is returned. `section` is what a move waits for.
    #[inline]
    pub fn submit(
        &self,
        section: &G::Section<'_>,
        choice: Choice,
        batch: &mut Batch<T>,
    ) -> Result<(), Reason> {
        let _ = section;
        let chosen = match choice {
            Choice::Queue(number) => self.queues.get(number),
            _ => None,
        };
        if let Some(queue) = chosen {
            return queue.submit(batch);
        }
        let (entry, run) = self.run(choice, batch);
        if run == batch.len() {
            return self.submit_to(entry, choice, batch);
        }
        self.in_parts(batch, |batch, part| {
            let (entry, run) = self.run(choice, batch);
            batch.move_front(part, run);
            self.submit_to(entry, choice, part)
        })
    }

    /// Submits one packet to its queue, or gives it back with the reason: what
    /// [`submit`](QueueSet::submit) does, for less.
    #[inline]
    pub fn submit_one(
        &self,
        section: &G::Section<'_>,
        choice: Choice,
        item: T,
    ) -> Result<(), (T, Reason)> {
        self.submit_one_by(section, choice, item, TxQueue::submit_one)
    }

    /// The same by [`TxQueue::submit_one_through`].
    #[inline]
    pub fn submit_one_through(
        &self,
        section: &G::Section<'_>,
        choice: Choice,
        item: T,
    ) -> Result<(), (T, Reason)> {
        self.submit_one_by(section, choice, item, TxQueue::submit_one_through)
    }

    #[inline]
    fn submit_one_by(
        &self,
        section: &G::Section<'_>,
        choice: Choice,
        item: T,
        submit: impl Fn(&TxQueue<T, S, P, M>, T) -> Result<(), (T, Reason)>,
    ) -> Result<(), (T, Reason)> {
        let chosen = match choice {
            Choice::Queue(number) => self.queues.get(number),
            _ => None,
        };
        if let Some(queue) = chosen {
            return submit(queue, item);
        }
        let entry = self.entry(self.bucket(choice, &item));
        match self.queue(entry) {
            Some(queue) if entry & MOVING == 0 => submit(queue, item),
            _ => self.submit_moving_one(section, choice, item),
        }
    }

    #[cold]
    #[inline(never)]
    fn submit_moving_one(
        &self,
        section: &G::Section<'_>,
        choice: Choice,
        item: T,
    ) -> Result<(), (T, Reason)> {
        let mut batch = Batch::new();
        batch.fill([item]);
        let submitted = self.submit(section, choice, &mut batch);
        match (submitted, batch.pop()) {
            (Err(reason), Some(item)) => Err((item, reason)),
            _ => Ok(()),
        }
    }

    /// The entry of a batch's first packet, and how many packets have the same.
    #[inline]
    fn run(&self, choice: Choice, batch: &Batch<T>) -> (u8, usize) {
        let mut first = None;
        let run = batch.leading(|item| {
            let entry = self.entry(self.bucket(choice, item));
            *first.get_or_insert(entry) == entry
        });
        (first.unwrap_or(0), run)
    }

    #[inline]
    fn bucket(&self, choice: Choice, item: &T) -> usize {
        let number = match choice {
            Choice::Cpu(cpu) => cpu,
            _ => item.flow_hash() as usize,
        };
        number % BUCKETS
    }

    #[inline]
    fn entry(&self, bucket: usize) -> u8 {
        let entry = self.entries.get(bucket);
        entry.map_or(0, |entry| entry.load(Ordering::Acquire))
    }

    fn queue(&self, entry: u8) -> Option<&TxQueue<T, S, P, M>> {
        self.queues.get(usize::from(entry & !MOVING))
    }

    /// Submits a batch part by part; what each part leaves stays in the batch. Not part of
    /// the caller's stack frame, for it is seldom needed and has two batches.
    #[inline(never)]
    fn in_parts(
        &self,
        batch: &mut Batch<T>,
        mut next: impl FnMut(&mut Batch<T>, &mut Batch<T>) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let mut left = Batch::new();
        let mut result = Ok(());
        while !batch.is_empty() {
            let mut part = Batch::new();
            let of_part = next(batch, &mut part);
            if of_part.is_err() {
                result = of_part;
            }
            let refused = part.len();
            part.move_front(&mut left, refused);
        }
        *batch = left;
        result
    }

    #[inline]
    fn submit_to(&self, entry: u8, choice: Choice, batch: &mut Batch<T>) -> Result<(), Reason> {
        if entry & MOVING != 0 {
            return self.in_parts(batch, |batch, part| self.submit_moving(choice, batch, part));
        }
        match self.queue(entry) {
            Some(queue) => queue.submit(batch),
            None => Err(Reason::Closed),
        }
    }

    /// Submits the foremost packets of one bucket, which was being moved a moment ago, as
    /// a part of the batch.
    #[cold]
    fn submit_moving(
        &self,
        choice: Choice,
        batch: &mut Batch<T>,
        part: &mut Batch<T>,
    ) -> Result<(), Reason> {
        let mut first = None;
        let run = batch.leading(|item| {
            let bucket = self.bucket(choice, item);
            *first.get_or_insert(bucket) == bucket
        });
        batch.move_front(part, run);
        let entered = self.lock.with(|| {
            // By now it may have moved, and another one be moving.
            let entry = self.entry(first.unwrap_or(0));
            let queue = self.queue(entry);
            match self.phase.load(Ordering::Relaxed) {
                _ if entry & MOVING == 0 => (queue, None),
                HOLDING => (None, Some((self.hold(part), None))),
                _ => (queue, queue.map(|old| old.put_in(part))),
            }
        });
        match entered {
            (Some(queue), None) => queue.submit(part),
            (Some(old), Some((result, Some(role)))) => {
                old.go_on(role);
                result
            }
            (_, Some((result, _))) => result,
            (None, None) => Err(Reason::Closed),
        }
    }

    /// Puts packets into limbo. Under the lock.
    fn hold(&self, batch: &mut Batch<T>) -> Result<(), Reason> {
        let bounds = Bounds {
            items: u64::MAX,
            cells: u64::MAX,
            high: u64::MAX,
        };
        // The mover has the role.
        match self.limbo.enqueue(batch, &bounds).refused {
            None => Ok(()),
            Some(_) => Err(Reason::Packets),
        }
    }

    /// The queue of each bucket.
    pub fn table(&self) -> [u8; BUCKETS] {
        core::array::from_fn(|bucket| self.entry(bucket) & !MOVING)
    }

    /// Moves a bucket to another queue. May sleep: it waits for submitters, and up to
    /// `patience` times [relaxes](Sections::relax) until the old queue has sent what it has.
    /// What was held back and finds no room in the new queue is handed to `lost`.
    pub fn move_bucket(
        &self,
        bucket: usize,
        to: usize,
        patience: u32,
        mut lost: impl FnMut(T),
    ) -> Result<Moved, MoveError> {
        if to >= self.queues.len() {
            return Err(MoveError::Queue(to));
        }
        let entry = self.entries.get(bucket).ok_or(MoveError::Bucket(bucket))?;
        if self.is_moving.swap(true, Ordering::Acquire) {
            return Err(MoveError::Busy);
        }
        let from = entry.load(Ordering::Relaxed);
        let moved = match usize::from(from) == to {
            true => Some(Moved::InOrder),
            false => self.move_from(entry, from, to as u8, patience, &mut lost),
        };
        self.is_moving.store(false, Ordering::Release);
        moved.ok_or(MoveError::Busy)
    }

    /// The steps of the table above.
    fn move_from(
        &self,
        entry: &AtomicU8,
        from: u8,
        to: u8,
        patience: u32,
        lost: &mut impl FnMut(T),
    ) -> Option<Moved> {
        let (old, new) = (self.queue(from)?, self.queue(to)?);
        let mut role = self.limbo.enter()?;
        self.lock
            .with(|| self.phase.store(STAYING, Ordering::Relaxed));
        entry.store(from | MOVING, Ordering::Release);
        self.sections.wait();
        let mark = self.lock.with(|| {
            self.phase.store(HOLDING, Ordering::Relaxed);
            old.mark()
        });
        let mut left = patience;
        while !old.is_past(mark) && left > 0 {
            self.sections.relax();
            left = left.wrapping_sub(1);
        }
        let moved = if old.is_past(mark) {
            Moved::InOrder
        } else {
            Moved::GaveUp
        };
        loop {
            let is_empty = self.lock.with(|| {
                role.take();
                let is_empty = role.rest().is_empty();
                if is_empty {
                    entry.store(to, Ordering::Release);
                    self.phase.store(SETTLED, Ordering::Relaxed);
                }
                is_empty
            });
            if is_empty {
                return Some(moved);
            }
            self.release(&mut role, new, &mut left, lost);
        }
    }

    /// Submits what was taken out of limbo to its new queue. What finds no room when
    /// patience is at an end is lost and counted.
    fn release(
        &self,
        role: &mut Role<'_, T, (), M>,
        new: &TxQueue<T, S, P, M>,
        left: &mut u32,
        lost: &mut impl FnMut(T),
    ) {
        while new.submit(role.rest()).is_err() {
            if *left == 0 {
                self.lost
                    .fetch_add(role.rest().len() as u64, Ordering::Relaxed);
                while let Some(item) = role.rest().pop() {
                    lost(item);
                }
            }
            *left = left.saturating_sub(1);
            self.sections.relax();
        }
        role.settle(0);
    }

    /// Spreads the buckets over the first `active` queues, one after the other, of which
    /// as many as may keep their queue. A queue that is not among them gets nothing more
    /// by flow or processor, and has sent what it had of the buckets that were moved.
    /// `lost` as for [`move_bucket`](QueueSet::move_bucket).
    pub fn spread(
        &self,
        active: usize,
        patience: u32,
        mut lost: impl FnMut(T),
    ) -> Result<Moved, MoveError> {
        if active == 0 || active > self.queues.len() {
            return Err(MoveError::Queue(active));
        }
        let mut all = Moved::InOrder;
        for bucket in 0..BUCKETS {
            let moved = self.move_bucket(bucket, bucket % active, patience, &mut lost)?;
            if moved == Moved::GaveUp {
                all = Moved::GaveUp;
            }
        }
        Ok(all)
    }
}
