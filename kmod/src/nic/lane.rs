// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue of the engine's that drains into one of a card's.
//!
//! Who drains hands frames to the card, burst by burst, with the mutex of the card's queue held.
//! The card's completions are reaped by the same hand, and by the interrupts of receive queues;
//! one of its own is asked for only when the card's queue is full. Then the engine's queue
//! waits, and the interrupt's thread has it go on.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weft_engine::link::{self, Capabilities};
use weft_engine::nic::{Limits, Nic, Offload, Refused, Task, Transmitter, Why};
use weft_engine::queue::{Batch, Platform, Reason, Sink, TxQueue, Verdict};

use super::Driven;
use super::completions::Completions;
use super::help::{Help, Helped, Software};
use crate::kpi::context::Sleepable;
use crate::kpi::dma::Maps;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Port};
use crate::kpi::kernel::Clock;
use crate::kpi::locked::Locked;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::mbuf_dma::{Frame, Undone};
use crate::kpi::memory::{self, StateMemory};
use crate::kpi::netmap::{SendRing, Wanted};
use crate::kpi::netmap_dma::{Marks, Outgoing};
use crate::kpi::nic::Kernel;
use crate::kpi::shared::Shared;
use crate::kpi::worker::Job;

/// Bytes of Ethernet's header, the least that a frame has.
const SHORTEST: u32 = 14;

/// The card's queue.
pub(super) type CardQueue<D> = Transmitter<Kernel, <D as Nic<Kernel>>::Tx>;

/// The engine's queue in front of it.
pub(super) type Queue<D> = TxQueue<Mbuf, Drain<D>, Waker, StateMemory>;

/// A card's queue, and what it takes to send by it.
pub(super) struct Lane<D: Driven> {
    queue: Locked<Box<CardQueue<D>>>,
    maps: Shared<Maps>,
    limits: Limits,
    /// What the card lacks is done by this.
    help: Help,
    /// The engine's queue was told that this is full.
    is_waited_for: AtomicBool,
    /// What of its ring of netmap's is done, if that is on.
    marks: Shared<Marks>,
    own: Port,
    /// Frames to more than one; written with the queue's mutex held.
    multicast: AtomicU64,
    /// How long the card takes for frames.
    pub(super) completions: Completions,
}

impl<D: Driven> Lane<D> {
    /// A queue of the card's that is stopped.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline(never)]
    pub(super) fn new(
        sleepable: &mut Sleepable,
        kernel: &Kernel,
        limits: &Limits,
        slots: u16,
        own: Port,
    ) -> Result<Shared<Self>, Errno> {
        let maps = kernel.maps(sleepable, limits, slots.into())?;
        let queue = memory::boxed_in(|place| Some(place.write(Transmitter::new(limits))))?;
        let marks = Marks::new(slots)?;
        Shared::made(|| {
            Ok(Self {
                queue: Locked::new(c"weft tx", queue)?,
                maps,
                limits: *limits,
                help: Help::new()?,
                is_waited_for: AtomicBool::new(false),
                marks,
                own,
                multicast: AtomicU64::new(0),
                completions: Completions::new(),
            })
        })
    }

    /// Runs `inside` with the card's queue.
    pub(super) fn with<R>(&self, inside: impl FnOnce(&mut CardQueue<D>) -> R) -> R {
        self.queue.with(|queue| inside(queue))
    }

    /// Has frames wait in the engine's queue while the card is stopped and started, or ends
    /// that; then [`go_on`](super::core::Core::go_on) is due.
    pub(super) fn hold(&self, is_held: bool) {
        self.queue.with(|queue| queue.hold(self.help.hold(is_held)));
    }

    /// What the card does for packets from now on, and what is done about the rest.
    pub(super) fn take_up(&self, on: Capabilities, software: Software) {
        self.help.take_up(on, software);
    }

    /// What was done for packets that the card was not to do.
    pub(super) fn helped(&self) -> Helped {
        self.help.figures()
    }

    /// Has what waits for room go on.
    #[inline]
    pub(super) fn go_on(&self) {
        if self.help.has_rest() {
            self.send_rest();
        }
    }

    #[cold]
    #[inline(never)]
    fn send_rest(&self) {
        self.queue.with(|queue| {
            self.makes_room(queue);
            queue.kick();
        });
    }

    /// Whether the card has frames that it is not done with.
    pub(super) fn is_busy(&self) -> bool {
        self.queue.with(|queue| {
            queue.kick();
            queue.reap(u32::MAX);
            queue.in_flight() > 0
        })
    }

    /// Frees what the card is done with. Whether the engine's queue is to go on.
    #[inline]
    pub(super) fn reap(&self) -> bool {
        self.queue.with(|queue| {
            queue.reap(u32::MAX);
            self.look(queue);
        });
        self.is_waited_for.load(Ordering::Relaxed)
            && self.is_waited_for.swap(false, Ordering::AcqRel)
    }

    /// Whether the card takes a frame of any kind; if not, an interrupt will come when it does.
    #[inline]
    fn has_room(&self, queue: &mut CardQueue<D>) -> bool {
        !queue.is_full() || self.makes_room(queue)
    }

    #[cold]
    fn makes_room(&self, queue: &mut CardQueue<D>) -> bool {
        queue.kick();
        self.is_waited_for.store(true, Ordering::Release);
        loop {
            self.give_rest(queue);
            if !queue.is_full() {
                self.is_waited_for.store(false, Ordering::Release);
                return true;
            }
            if !queue.arm() {
                return false;
            }
        }
    }

    /// Gives the card what waits of packets that were helped, as far as it has room.
    fn give_rest(&self, queue: &mut CardQueue<D>) {
        if !self.help.has_rest() {
            return;
        }
        queue.hold(self.help.is_held());
        while !queue.is_full()
            && let Some(frame) = self.help.next()
        {
            self.put(queue, frame);
        }
        queue.hold(self.help.is_held() || self.help.has_rest());
    }

    /// Does for a packet what it asks for, as the card is not to do all of that, and hands the
    /// card what it becomes.
    #[cold]
    #[inline(never)]
    fn help(&self, queue: &mut CardQueue<D>, undone: Undone) {
        if !self.help.complete(undone) {
            self.own.count(Counter::SendErrors, 1);
        }
        self.give_rest(queue);
        if self.help.has_rest() {
            // Nothing else may come that would have it go on.
            self.makes_room(queue);
        }
    }

    /// Hands a frame to the card, which has room for it; counts what became of it.
    #[inline]
    fn send(&self, queue: &mut CardQueue<D>, frame: Mbuf) {
        if let Err(undone) = self.give(queue, frame) {
            self.help(queue, undone);
        }
    }

    /// The same of a packet that was helped already.
    fn put(&self, queue: &mut CardQueue<D>, frame: Mbuf) {
        if self.give(queue, frame).is_err() {
            self.own.count(Counter::SendErrors, 1);
        }
    }

    /// Hands a frame to the card, which has room for it; counts what became of it, if that is
    /// not for the caller to see to.
    #[inline(always)]
    fn give(&self, queue: &mut CardQueue<D>, frame: Mbuf) -> Result<(), Undone> {
        let is_multicast = frame.traits().is_multicast;
        let (frame, offload) = frame.described(&self.limits, self.help.takes())?;
        match queue.send(Frame::new(frame, &self.maps), &offload) {
            // The queue counts it.
            Ok(()) => {
                if is_multicast {
                    let before = self.multicast.load(Ordering::Relaxed);
                    self.multicast
                        .store(before.wrapping_add(1), Ordering::Relaxed);
                }
                if self.completions.is_due()
                    && let Some(now) = self.completions.begin()
                {
                    queue.watch(now);
                }
                Ok(())
            }
            Err(refused) => self.refused(refused, &offload),
        }
    }

    /// A long segment that the card can't take in any form may do in parts; what else it
    /// refuses is lost.
    #[cold]
    #[inline(never)]
    fn refused(&self, refused: Refused<Frame>, offload: &Offload) -> Result<(), Undone> {
        let Refused { frame, why } = refused;
        let may_do = offload.task == Task::Segment && matches!(why, Why::Unfit | Why::NoMemory);
        if !may_do {
            self.lose(frame, why);
            return Ok(());
        }
        Err(frame.into_mbuf().map_or(Undone::NoMemory, Undone::Unfit))
    }

    /// Looks whether the card is done with a frame that is timed.
    #[inline]
    fn look(&self, queue: &mut CardQueue<D>) {
        if let Some(since) = queue.watched() {
            self.completions.end(since);
        }
    }

    /// What it counts of its interface's.
    pub(super) fn counted(&self, counter: Counter) -> u64 {
        match counter {
            Counter::Sent => self.with(|queue| queue.figures().frames),
            Counter::SentBytes => self.with(|queue| queue.figures().bytes),
            Counter::SentMulticast => self.multicast.load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Whether its ring is on.
    #[inline]
    pub(super) fn has_ring(&self) -> bool {
        self.marks.is_on()
    }

    /// Its ring comes or goes. The card is stopped.
    pub(super) fn turn_ring(&self, on: bool) {
        self.marks.turn(on);
    }

    /// Sends what is in its ring, as far as the card has room, and gives slots back. Nothing goes
    /// between two network stacks.
    ///
    /// # Errors
    /// `ENXIO` if the ring has no memory.
    pub(super) fn send_ring(&self, ring: &mut SendRing<'_>) -> Result<(), Errno> {
        if !self.has_ring() {
            return Ok(());
        }
        let memory = ring.memory().ok_or(Errno::ENXIO)?;
        let mtu = self.own.mtu();
        self.queue.with(|queue| {
            while let Some(wanted) = ring.wanted(&memory) {
                if !self.send_slot(queue, &wanted, mtu) {
                    break;
                }
                ring.advance();
            }
            queue.kick();
            self.reclaim(queue, ring);
            while ring.is_full() && ring.wants_interrupts() && queue.arm() {
                self.reclaim(queue, ring);
            }
        });
        Ok(())
    }

    #[inline]
    fn reclaim(&self, queue: &mut CardQueue<D>, ring: &mut SendRing<'_>) {
        queue.reap(u32::MAX);
        ring.reclaim(|slot| self.marks.is_done(slot));
    }

    /// Hands what is in a slot to the card, or drops it. False if the card has no room now, or
    /// does not go.
    #[inline]
    fn send_slot(&self, queue: &mut CardQueue<D>, wanted: &Wanted, mtu: u32) -> bool {
        let is_frame = wanted.bytes >= SHORTEST && !link::is_too_long(wanted.bytes, mtu);
        let Some(place) = wanted.place.filter(|_| is_frame) else {
            self.own.count(Counter::SendErrors, 1);
            return true;
        };
        let slot = Outgoing::new(place, wanted.bytes, wanted.slot, &self.marks);
        match queue.send(Frame::of_ring(slot, &self.maps), &Offload::default()) {
            Ok(()) => true,
            Err(refused) => match refused.why {
                Why::Stopped | Why::Full | Why::NoMemory => false,
                Why::Unfit => {
                    self.lose(refused.frame, refused.why);
                    true
                }
            },
        }
    }

    #[cold]
    fn lose(&self, frame: Frame, why: Why) {
        drop(frame);
        self.own.count(
            match why {
                Why::Unfit => Counter::SendErrors,
                Why::Stopped | Why::Full | Why::NoMemory => Counter::SendDropped,
            },
            1,
        );
    }
}

/// What drains into a lane.
pub(super) struct Drain<D: Driven> {
    pub(super) lane: Shared<Lane<D>>,
}

impl<D: Driven> Sink<Mbuf> for Drain<D> {
    fn take(&mut self, burst: &mut Batch<Mbuf>) -> Verdict {
        let lane = &*self.lane;
        lane.queue.with(|queue| {
            let verdict = loop {
                if burst.is_empty() {
                    break Verdict::GoOn;
                }
                if !lane.has_room(queue) {
                    break Verdict::Full;
                }
                if let Some(frame) = burst.pop() {
                    lane.send(queue, frame);
                }
            };
            queue.kick();
            lane.look(queue);
            verdict
        })
    }

    #[inline]
    fn take_one(&mut self, frame: Mbuf) -> Result<Verdict, Mbuf> {
        let lane = &*self.lane;
        lane.queue.with(|queue| {
            if !lane.has_room(queue) {
                return Err(frame);
            }
            lane.send(queue, frame);
            queue.kick();
            lane.look(queue);
            Ok(Verdict::GoOn)
        })
    }

    fn dropped(&mut self, frame: Mbuf, _reason: Reason) {
        drop(frame);
        self.lane.own.count(Counter::SendDropped, 1);
    }
}

/// What a queue needs of the kernel.
pub(super) struct Waker {
    pub(super) clock: Clock,
    pub(super) job: Job,
}

impl Platform for Waker {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now()
    }

    #[inline]
    fn wake(&self) {
        self.job.ask();
    }
}
