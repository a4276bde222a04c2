// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue: many threads submit, one at a time drains into the backend, and none
//! waits for another.
//!
//! Who submits to a queue that is empty and that nobody drains passes the items to the
//! backend directly. Who submits while another drains leaves the items in the ring, and
//! goes. A drainer sends bursts until nothing is left, but no longer than a turn while
//! there is somebody else to go on:
//!
//! | service            | at the end of a turn                                           |
//! | ------------------ | -------------------------------------------------------------- |
//! | [`Submitters`](Service::Submitters) | the role is free for a moment: a submitter that comes takes it; if none does, the drainer goes on for another turn |
//! | [`Shared`](Service::Shared) | the worker goes on |
//! | [`Worker`](Service::Worker) | the worker has itself woken again, so that its thread can do something else in between; submitters drain nothing |
//!
//! [`TxQueue::submit_one_through`] lets a submitter pass by an empty queue though its service
//! is the worker's.
//!
//! A backend that is full says so, and the drainer leaves the role parked until
//! [`TxQueue::resume`]. Items wait in the ring meanwhile, also those that the backend left
//! of a burst, which stay the foremost.
//!
//! # Contexts
//!
//! Nothing here sleeps or allocates. Submitters, the worker and the backend's completions
//! may run on any thread or in an interrupt's; the sink, and [`Platform::wake`], run in
//! that of whoever drains.

use super::batch::Batch;
use super::codel::{self, Codel};
use super::figures::{Counts, Figures, Refusals};
use super::item::{Item, ticks};
use super::reason::Reason;
use super::ring::{Berth, Enqueued, Refused, Ring};
use super::role::{Left, Role};
use super::settings::{Service, Settings, Tunables};
use super::sync::{AtomicBool, LOOKS, Ordering};
use super::word::{CELL, CLOSED, Level, STOPPED, Word};
use crate::fib::Memory;
use core::mem::MaybeUninit;

/// Whether a backend takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    GoOn,
    /// It does not, until it calls [`TxQueue::resume`]: which it may do at once, before
    /// it has said so.
    Full,
}

/// What a queue drains into: a device's ring, the other end of a pair.
pub trait Sink<T: Item>: Send {
    /// Takes as many items as it can from the front of a burst. What it leaves comes
    /// again first, and counts as [`Verdict::Full`] if it has taken none.
    fn take(&mut self, burst: &mut Batch<T>) -> Verdict;

    /// Takes an item that comes alone, as most do in a kernel, or gives it back: that
    /// counts as [`Verdict::Full`]. A sink that is to be cheap for these has more to say
    /// than this.
    fn take_one(&mut self, item: T) -> Result<Verdict, T> {
        let mut burst = Batch::new();
        burst.fill([item]);
        let verdict = self.take(&mut burst);
        burst.pop().map_or(Ok(verdict), Err)
    }

    /// Gets what was dropped after it had been queued.
    fn dropped(&mut self, item: T, reason: Reason) {
        let _ = (item, reason);
    }
}

/// What a queue needs of its surroundings. No call may sleep.
pub trait Platform: Sync {
    /// Nanoseconds of a clock that does not go back.
    fn now(&self) -> u64;

    /// Has [`TxQueue::work`] called soon, on the thread that serves this queue. Is called
    /// only with a [`Service`] that has a worker.
    fn wake(&self);

    /// Tells producers that they are to look at [`TxQueue::is_high`] again. Calls of
    /// several threads may come in any order.
    fn watermark_crossed(&self) {}
}

/// Somebody is in the queue still. What they do is bounded: try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse;

/// A transmit queue.
pub struct TxQueue<T: Item, S, P, M: Memory> {
    ring: Ring<T, Drain<S>, M>,
    tunables: Tunables,
    is_paused: AtomicBool,
    counts: Counts,
    refusals: Refusals,
    platform: P,
}

/// What belongs to whoever drains.
pub(super) struct Drain<S> {
    sink: S,
    codel: codel::State,
}

pub(super) type RoleOf<'q, T, S, M> = Role<'q, T, Drain<S>, M>;

/// What became of a batch, and the role, if the submitter got it.
pub(super) type PutIn<'q, T, S, M> = (Result<(), Reason>, Option<RoleOf<'q, T, S, M>>);

impl<T: Item, S: Sink<T>, P: Platform, M: Memory> TxQueue<T, S, P, M> {
    /// A queue with room for so many items, rounded up to a power of two, 2^20 at most.
    /// `None` if there is no memory.
    #[allow(unsafe_code)]
    pub fn new(
        capacity: usize,
        settings: &Settings,
        sink: S,
        platform: P,
        memory: M,
    ) -> Option<Self> {
        let mut place = MaybeUninit::uninit();
        Self::new_in(&mut place, capacity, settings, sink, platform, memory)?;
        // SAFETY: `new_in` has made it.
        Some(unsafe { place.assume_init() })
    }

    /// The same, made where it is to be: a queue has more than a kilobyte, which is much
    /// for a kernel's stack.
    #[allow(unsafe_code)]
    pub fn new_in<'p>(
        place: &'p mut MaybeUninit<Self>,
        capacity: usize,
        settings: &Settings,
        sink: S,
        platform: P,
        memory: M,
    ) -> Option<&'p mut Self> {
        let drain = Drain {
            sink,
            codel: codel::State::default(),
        };
        let at = place.as_mut_ptr();
        // SAFETY: fields of the place, which is borrowed; all are written.
        unsafe {
            let ring = &mut *(&raw mut (*at).ring).cast::<MaybeUninit<_>>();
            Ring::<T, Drain<S>, M>::new_in(ring, capacity, drain, memory)?;
            (&raw mut (*at).tunables).write(Tunables::new(settings));
            (&raw mut (*at).is_paused).write(AtomicBool::new(false));
            (&raw mut (*at).counts).write(Counts::new());
            (&raw mut (*at).refusals).write(Refusals::new());
            (&raw mut (*at).platform).write(platform);
            Some(place.assume_init_mut())
        }
    }

    /// Takes items from the front of a batch, as many as limits allow. What is not taken
    /// stays in the batch, and the reason is returned. May drain the queue for a turn.
    #[inline]
    pub fn submit(&self, batch: &mut Batch<T>) -> Result<(), Reason> {
        if batch.is_empty() {
            return Ok(());
        }
        match self.pass_by(self.may_drain()) {
            Some((role, word)) => self.pass(role, word, batch),
            None => self.put(batch),
        }
    }

    /// Takes one item, or gives it back with the reason: what [`submit`](TxQueue::submit)
    /// does, for less. May drain the queue for a turn.
    #[inline]
    pub fn submit_one(&self, item: T) -> Result<(), (T, Reason)> {
        self.take_one(item, self.may_drain())
    }

    /// The same, but an empty queue that nobody drains passes the item to the backend on
    /// this thread, whatever its service is. The rest is left to who drains by that.
    #[inline]
    pub fn submit_one_through(&self, item: T) -> Result<(), (T, Reason)> {
        self.take_one(item, true)
    }

    #[inline]
    fn take_one(&self, item: T, may_pass_by: bool) -> Result<(), (T, Reason)> {
        match self.pass_by(may_pass_by) {
            Some((role, word)) => self.pass_one(role, word, item),
            None => self.put_one(item),
        }
    }

    /// Whether submitters drain. Who may not must not pass by the ring either.
    #[inline]
    fn may_drain(&self) -> bool {
        self.tunables.service() != Service::Worker
    }

    /// The role, if what is submitted may go to the backend by the caller's hand, and there
    /// is nothing before it.
    #[inline]
    fn pass_by(&self, may: bool) -> Option<(RoleOf<'_, T, S, M>, Word)> {
        if !may || self.is_paused.load(Ordering::Relaxed) {
            return None;
        }
        self.ring.pass_by()
    }

    /// Puts in what limits allow, and drains nothing: that is up to the caller, who
    /// [goes on](TxQueue::go_on) with the role.
    pub(super) fn put_in(&self, batch: &mut Batch<T>) -> PutIn<'_, T, S, M> {
        self.stamp(batch);
        let entered = self.ring.enqueue(batch, &self.tunables.bounds());
        if entered.rose {
            self.platform.watermark_crossed();
        }
        let result = match entered.refused {
            None => Ok(()),
            Some(refused) => Err(self.refuse(refused, batch.len())),
        };
        (result, entered.role)
    }

    /// Notes in items that are about to be queued when that was, if somebody will ask.
    #[inline]
    fn stamp(&self, batch: &mut Batch<T>) {
        if self.tunables.codel().is_some() {
            batch.set_queued_at(ticks(self.platform.now()));
        }
    }

    #[cold]
    fn refuse(&self, refused: Refused, items: usize) -> Reason {
        let reason = match refused {
            Refused::Items => Reason::Packets,
            Refused::Cells => Reason::Bytes,
            Refused::Stopped => Reason::Stopped,
            Refused::Closed => Reason::Closed,
        };
        self.refusals.add(reason, items);
        reason
    }

    /// Puts a batch into the ring, and drains if nobody else does.
    #[inline(never)]
    fn put(&self, batch: &mut Batch<T>) -> Result<(), Reason> {
        let bounds = self.tunables.bounds();
        self.stamp(batch);
        let mut may_repeat = true;
        loop {
            let entered = self.ring.enqueue(batch, &bounds);
            let Some(refused) = entered.refused else {
                self.entered(entered);
                return Ok(());
            };
            // Who was kept out by a full queue that nobody drained has drained it.
            if !self.entered(entered) || !refused.is_for_room() || !may_repeat {
                return Err(self.refuse(refused, batch.len()));
            }
            may_repeat = false;
        }
    }

    /// The same of one item.
    #[inline(never)]
    fn put_one(&self, mut item: T) -> Result<(), (T, Reason)> {
        let bounds = self.tunables.bounds();
        if self.tunables.codel().is_some() {
            item.set_queued_at(ticks(self.platform.now()));
        }
        let mut may_repeat = true;
        loop {
            let (entered, back) = self.ring.enqueue_one(item, &bounds);
            let (refused, Some(back)) = (entered.refused, back) else {
                self.entered(entered);
                return Ok(());
            };
            let refused = refused.unwrap_or(Refused::Items);
            if !self.entered(entered) || !refused.is_for_room() || !may_repeat {
                return Err((back, self.refuse(refused, 1)));
            }
            item = back;
            may_repeat = false;
        }
    }

    /// Does what comes with having put something in. Whether that was to drain.
    #[inline]
    fn entered(&self, entered: Enqueued<'_, T, Drain<S>, M>) -> bool {
        if entered.rose {
            self.platform.watermark_crossed();
        }
        let Some(role) = entered.role else {
            return false;
        };
        self.counts.drains.add(1);
        if entered.is_handed_over {
            self.counts.hand_overs.add(1);
        }
        self.carry_on(role, Verdict::GoOn);
        true
    }

    /// Sees to it that a queue is drained, by this thread if it may.
    #[inline]
    fn carry_on<'q>(&'q self, role: RoleOf<'q, T, S, M>, verdict: Verdict) {
        match self.tunables.service() {
            Service::Worker => self.delegate(role),
            _ => self.serve(role, verdict),
        }
    }

    /// Gives a batch to the backend, and what that leaves to the ring.
    #[inline]
    fn pass<'q>(
        &'q self,
        mut role: RoleOf<'q, T, S, M>,
        word: Word,
        batch: &mut Batch<T>,
    ) -> Result<(), Reason> {
        let (items, bytes) = (batch.len() as u64, batch.bytes());
        role.attend(Berth::Backend);
        let verdict = role.data().sink.take(batch);
        if !batch.is_empty() {
            self.counts.drains.add(1);
            self.counts.most.raise(items);
            return self.keep(role, batch, (items, bytes), verdict);
        }
        let counts = &self.counts;
        counts.together(|| {
            counts.drains.add(1);
            counts.most.raise(items);
            counts.submits.add(1);
            counts.packets.add(items);
            counts.through.add(items);
            counts.bytes.add(bytes);
        });
        self.passed(role, word, verdict);
        Ok(())
    }

    /// Gives an item to the backend, or to the ring.
    #[inline]
    fn pass_one<'q>(
        &'q self,
        mut role: RoleOf<'q, T, S, M>,
        word: Word,
        item: T,
    ) -> Result<(), (T, Reason)> {
        let bytes = item.bytes();
        role.attend(Berth::Backend);
        match role.data().sink.take_one(item) {
            Ok(verdict) => {
                let counts = &self.counts;
                counts.together(|| {
                    counts.singles.add(1);
                    counts.bytes.add(u64::from(bytes));
                });
                self.passed(role, word, verdict);
                Ok(())
            }
            Err(item) => self.keep_one(role, item),
        }
    }

    /// Goes away, as a rule, after something was passed on.
    #[inline]
    fn passed<'q>(&'q self, role: RoleOf<'q, T, S, M>, word: Word, verdict: Verdict) {
        match verdict {
            Verdict::Full => self.carry_on(role, verdict),
            Verdict::GoOn => {
                if let Err(role) = role.leave_as(word) {
                    self.linger(role);
                }
            }
        }
    }

    /// Goes away, if nothing has come into the ring meanwhile.
    #[inline(never)]
    fn linger<'q>(&'q self, role: RoleOf<'q, T, S, M>) {
        match role.leave() {
            Left::Work(role) => self.carry_on(role, Verdict::GoOn),
            Left::Held => (),
            Left::Empty(was_high) => self.fell(was_high),
        }
    }

    /// Gives to the ring what the backend left of a batch, which was so many items and
    /// bytes.
    #[cold]
    #[inline(never)]
    fn keep<'q>(
        &'q self,
        mut role: RoleOf<'q, T, S, M>,
        batch: &mut Batch<T>,
        (items, bytes): (u64, u64),
        verdict: Verdict,
    ) -> Result<(), Reason> {
        let left = batch.len();
        let sent = items.saturating_sub(left as u64);
        let counts = &self.counts;
        counts.together(|| {
            counts.packets.add(sent);
            counts.through.add(sent);
            counts.bytes.add(bytes.saturating_sub(batch.bytes()));
        });
        self.stamp(batch);
        let (refused, rose) = role.enqueue(batch, &self.tunables.bounds());
        if batch.len() == left && sent > 0 {
            // Nothing in the ring will count for it.
            self.counts.submits.add(1);
        }
        if rose {
            self.platform.watermark_crossed();
        }
        let verdict = match sent {
            0 => Verdict::Full,
            _ => verdict,
        };
        match verdict {
            Verdict::Full => self.carry_on(role, verdict),
            Verdict::GoOn => self.linger(role),
        }
        match refused {
            None => Ok(()),
            Some(refused) => Err(self.refuse(refused, batch.len())),
        }
    }

    /// Gives to the ring what the backend had no room for.
    #[cold]
    #[inline(never)]
    fn keep_one<'q>(&'q self, role: RoleOf<'q, T, S, M>, item: T) -> Result<(), (T, Reason)> {
        let bytes = u64::from(item.bytes());
        let mut batch = Batch::new();
        batch.fill([item]);
        self.counts.drains.add(1);
        let kept = self.keep(role, &mut batch, (1, bytes), Verdict::Full);
        match (kept, batch.pop()) {
            (Err(reason), Some(item)) => Err((item, reason)),
            _ => Ok(()),
        }
    }

    /// Drains, until nothing is left, or somebody else goes on.
    #[inline(never)]
    fn serve<'q>(&'q self, mut role: RoleOf<'q, T, S, M>, mut verdict: Verdict) {
        let mut turn: Option<Turn> = None;
        loop {
            if verdict == Verdict::Full {
                self.counts.pauses.add(1);
                match role.park(Berth::Backend) {
                    None => return,
                    Some(called) => role = called,
                }
                verdict = Verdict::GoOn;
            }
            if role.word().has(CLOSED) {
                // What is left comes back to who closes.
                return;
            }
            let turn = turn.get_or_insert_with(|| self.turn());
            if let Some(bytes) = self.refill(&mut role) {
                verdict = self.burst(&mut role, bytes, turn);
                if verdict == Verdict::Full || !(self.is_over(turn) || role.has_all()) {
                    continue;
                }
            }
            role = match role.leave() {
                Left::Work(role) => role,
                Left::Held => return,
                Left::Empty(was_high) => return self.fell(was_high),
            };
            if self.is_over(turn) {
                match self.hand_over(role) {
                    None => return,
                    Some(again) => role = again,
                }
                *turn = self.turn();
            }
        }
    }

    /// Tells producers that they may go on, if they were told to stop.
    #[inline]
    fn fell(&self, was_high: bool) {
        if was_high {
            self.platform.watermark_crossed();
        }
    }

    /// Sends what was taken out, so many bytes. The backend may leave some of it.
    #[inline]
    fn burst(&self, role: &mut RoleOf<'_, T, S, M>, bytes: u64, turn: &mut Turn) -> Verdict {
        role.attend(Berth::Backend);
        if self.is_paused.load(Ordering::Relaxed) {
            return Verdict::Full;
        }
        let (drain, rest) = role.parts();
        let items = rest.len();
        let verdict = drain.sink.take(rest);
        let left = rest.len();
        let left_bytes = if left == 0 { 0 } else { rest.bytes() };
        let sent = items.saturating_sub(left) as u64;
        turn.packets = turn.packets.saturating_sub(sent);
        let (counts, low) = (&self.counts, self.tunables.low());
        // What has left the ring is counted with its leaving.
        let fell = counts.together(|| {
            counts.packets.add(sent);
            counts.bytes.add(bytes.saturating_sub(left_bytes));
            role.settle(low)
        });
        self.fell(fell);
        match left < items {
            true => verdict,
            false => Verdict::Full,
        }
    }

    /// Takes out a burst, if none is left of the last: its bytes. `None` if there is
    /// nothing.
    #[inline]
    fn refill(&self, role: &mut RoleOf<'_, T, S, M>) -> Option<u64> {
        if !role.rest().is_empty() {
            // More may have come since it was taken out.
            self.counts.most.raise(role.level());
            return Some(role.rest().bytes());
        }
        let taken = role.take();
        let counts = &self.counts;
        counts.together(|| {
            counts.submits.add(taken.claims);
            counts.most.raise(taken.level);
        });
        if taken.items == 0 {
            return None;
        }
        match self.tunables.codel() {
            None => Some(taken.bytes),
            Some(parameters) => self.drop_late(role, &parameters),
        }
    }

    /// Drops what CoDel says of what was taken out: the bytes of what is left, if anything
    /// is.
    #[inline(never)]
    fn drop_late(&self, role: &mut RoleOf<'_, T, S, M>, parameters: &Codel) -> Option<u64> {
        let now = ticks(self.platform.now());
        let behind = role.behind().wrapping_mul(u64::from(CELL));
        let (drain, rest) = role.parts();
        let mut taken = core::mem::take(rest);
        let mut late = 0_u64;
        while let Some(item) = taken.pop() {
            let behind = behind.wrapping_add(taken.bytes());
            if drain.codel.judge(parameters, now, &item, behind) {
                late = late.wrapping_add(1);
                drain.sink.dropped(item, Reason::Sojourn);
            } else {
                // There is room for as many as there were.
                let _room = rest.push(item);
            }
        }
        let bytes = match rest.is_empty() {
            true => None,
            false => Some(rest.bytes()),
        };
        if late > 0 {
            let (counts, low) = (&self.counts, self.tunables.low());
            let fell = counts.together(|| {
                counts.late.add(late);
                role.settle(low)
            });
            self.fell(fell);
        }
        bytes
    }

    fn turn(&self) -> Turn {
        let time = self.tunables.turn_time();
        Turn {
            packets: self.tunables.turn_packets(),
            until: (time > 0).then(|| self.platform.now().saturating_add(time)),
        }
    }

    fn is_over(&self, turn: &Turn) -> bool {
        turn.packets == 0 || turn.until.is_some_and(|until| self.platform.now() >= until)
    }

    /// Lets somebody else go on. Gives the role back if there is nobody.
    fn hand_over<'q>(&'q self, role: RoleOf<'q, T, S, M>) -> Option<RoleOf<'q, T, S, M>> {
        if self.tunables.service() != Service::Submitters {
            self.counts.hand_overs.add(1);
            self.delegate(role);
            return None;
        }
        drop(role);
        for _ in 0..LOOKS {
            if self.ring.is_busy() {
                return None;
            }
            core::hint::spin_loop();
        }
        self.ring.enter()
    }

    /// Leaves the role to the worker.
    fn delegate<'q>(&'q self, mut role: RoleOf<'q, T, S, M>) {
        while let Some(called) = role.park(Berth::Worker) {
            called.attend(Berth::Worker);
            role = called;
        }
        self.platform.wake();
    }

    /// Goes on with a role that was parked, on this thread if it may.
    pub(super) fn go_on<'q>(&'q self, role: RoleOf<'q, T, S, M>) {
        self.counts.drains.add(1);
        self.carry_on(role, Verdict::GoOn);
    }

    /// Drains for a turn, if that was left to the worker. It comes after each
    /// [`Platform::wake`]; more often does no harm.
    pub fn work(&self) {
        if let Some(role) = self.ring.fetch(Berth::Worker) {
            self.counts.drains.add(1);
            self.serve(role, Verdict::GoOn);
        }
    }

    /// The backend takes items again. Drains for a turn, if the backend was full.
    pub fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        if let Some(role) = self.ring.call(Berth::Backend) {
            self.go_on(role);
        }
    }

    /// Nothing is given to the backend, but for a burst that is on its way, until
    /// [`resume`](TxQueue::resume). Items are queued meanwhile.
    pub fn pause(&self) {
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// Takes nothing any more, and sends what there is.
    pub fn stop(&self) {
        self.ring.mark(STOPPED, 0);
    }

    /// Ends [`stop`](TxQueue::stop).
    pub fn start(&self) {
        self.ring.mark(0, STOPPED);
    }

    /// Takes and sends nothing any more, and gives back what there is, in order. To be
    /// called again while somebody is in the queue: no submitter can be in it after a
    /// grace period, no drainer after its burst.
    pub fn close(&self, mut back: impl FnMut(T)) -> Result<(), InUse> {
        self.ring.mark(CLOSED, 0);
        let parked = || {
            let worker = self.ring.fetch(Berth::Worker);
            worker.or_else(|| self.ring.fetch(Berth::Backend))
        };
        let mut role = self.ring.enter().or_else(parked).ok_or(InUse)?;
        loop {
            let mut left = 0;
            while let Some(item) = role.rest().pop() {
                back(item);
                left += 1;
            }
            let low = self.tunables.low();
            let fell = self.counts.together(|| {
                if left > 0 {
                    self.refusals.add(Reason::Closed, left);
                }
                role.settle(low)
            });
            self.fell(fell);
            if role.take().items > 0 {
                continue;
            }
            match role.leave() {
                Left::Empty(_) => return Ok(()),
                Left::Held => return Err(InUse),
                Left::Work(again) => role = again,
            }
        }
    }

    /// Ends [`close`](TxQueue::close).
    pub fn open(&self) {
        self.ring.mark(0, CLOSED);
        // What is left if it was not closed to the end.
        if let Some(role) = self.ring.enter() {
            self.go_on(role);
        }
    }

    /// Whether producers are to hold back. Nothing keeps them from submitting.
    pub fn is_high(&self) -> bool {
        self.ring.is_high()
    }

    /// What is queued, or was a moment ago.
    pub fn level(&self) -> Level {
        self.ring.level()
    }

    /// Items that there is room for.
    pub fn capacity(&self) -> u64 {
        self.ring.capacity()
    }

    /// What the queue has done so far.
    pub fn figures(&self) -> Figures {
        self.counts.figures(&self.refusals)
    }

    /// What the queue has done, and what is queued, all of one moment: what it has taken is
    /// what was passed on, dropped late, and is queued, and bytes are those of the packets
    /// passed on. Until it is closed; and what is moved to another queue is that one's.
    /// Refusals, which others count, are of a moment a little earlier. `None` if it was busy
    /// at each of some hundred looks: ask again.
    pub fn snapshot(&self) -> Option<(Figures, Level)> {
        let read = || (self.counts.figures(&self.refusals), self.ring.level());
        self.counts.at_a_moment(read)
    }

    /// What is set.
    pub fn settings(&self) -> Settings {
        self.tunables.get()
    }

    /// Changes what is set, from the next submission and burst on.
    pub fn set(&self, settings: &Settings) {
        self.tunables.set(settings);
    }

    /// Its surroundings.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// What was queued by now, to be asked for by [`is_past`](TxQueue::is_past).
    pub fn mark(&self) -> Mark {
        Mark(self.ring.claimed())
    }

    /// Whether all that was queued at a mark has been sent or dropped.
    pub fn is_past(&self, mark: Mark) -> bool {
        self.ring.is_done(mark.0)
    }
}

/// A moment in the life of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// How much longer a drainer's turn is.
struct Turn {
    packets: u64,
    until: Option<u64>,
}
