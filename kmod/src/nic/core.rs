// SPDX-License-Identifier: BSD-2-Clause
//! What a card's interrupts, its senders and its administrator share; and receiving.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use weft_engine::link::{self, Capabilities};
use weft_engine::nic::{self, Interrupts, Joiner, Nic, Receiver, Transmitter, Vectors, VlanSet};
use weft_engine::queue::{Choice, QueueSet};
use weft_engine::wire::toeplitz::Toeplitz;

use super::Driven;
use super::control::Control;
use super::lane::{Lane, Queue};
use super::nodes::Node;
use crate::kpi::chime::{Chime, Duty};
use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::event::Vlans;
use crate::kpi::ifnet::{Counter, Interface, Port};
use crate::kpi::interrupt::Handler;
use crate::kpi::join::Held;
use crate::kpi::kernel;
use crate::kpi::lock::Mtx;
use crate::kpi::locked::Locked;
use crate::kpi::mbuf::{Mbuf, Row};
use crate::kpi::memory::StateMemory;
use crate::kpi::netmap_dma::Feed;
use crate::kpi::nic::Kernel;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::worker::Job;

/// Frames that are received of a queue at a time.
const BUDGET: u32 = 64;
/// How often that is done in an interrupt's thread before a worker goes on.
const ROUNDS: u32 = 8;

/// The hash by which a queue is selected, with the key that cards are shipped with.
static TOEPLITZ: Toeplitz = Toeplitz::new(&nic::DEFAULT_KEY);

/// A receive queue of the card's.
pub(super) type CardReceiver<D> = Receiver<Kernel, <D as Nic<Kernel>>::Rx>;

/// The queues by which the stack sends.
pub(super) type Set<D> = QueueSet<
    Mbuf,
    super::lane::Drain<D>,
    super::lane::Waker,
    StateMemory,
    NetEpochs,
    Mtx,
    Vec<Queue<D>>,
>;

/// What is shared.
pub(super) struct Core<D: Driven> {
    pub(super) own: Port,
    pub(super) lanes: Vec<Shared<Lane<D>>>,
    pub(super) queues: Shared<Set<D>>,
    pub(super) receivers: Vec<Locked<Box<CardReceiver<D>>>>,
    /// By receive queue: what is joined in software; none if the card does that.
    pub(super) joiners: Vec<Locked<Box<Joiner<Held>>>>,
    /// Segments are to be joined, by the card or in software.
    pub(super) joins: AtomicBool,
    /// By receive queue: the buffers of its ring of netmap's, if that is on.
    pub(super) feeds: Vec<Shared<Feed>>,
    pub(super) interrupts: D::Interrupts,
    pub(super) vectors: Vectors,
    /// By vector: what goes on where an interrupt's thread has stopped.
    pub(super) jobs: Vec<Job>,
    /// By vector: it stays masked until a program looks into its rings.
    pub(super) is_quiet: Vec<AtomicBool>,
    /// It stands still until the interface is in a network stack again.
    pub(super) is_away: AtomicBool,
    /// Bytes of the longest frame that is sent; 0 while the interface does not go.
    pub(super) longest: AtomicU32,
    pub(super) control: Slept<Control<D>>,
    pub(super) chime: Shared<Chime>,
    pub(super) vlans: Box<Tagged>,
    pub(super) largest_mtu: u32,
}

/// The VLANs on the interface.
pub(super) struct Tagged {
    /// A bit each.
    vlans: [AtomicU32; 128],
    /// How often they have changed.
    changes: AtomicU32,
}

impl Tagged {
    /// None.
    pub(super) const fn none() -> Self {
        Self {
            vlans: [const { AtomicU32::new(0) }; 128],
            changes: AtomicU32::new(0),
        }
    }

    /// A number that is another one when others are there, and that is read before them.
    pub(super) fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Writes which there are; 0 is always, the one of frames that have a priority only.
    pub(super) fn write(&self, to: &mut VlanSet) {
        for (to, from) in to.0.iter_mut().zip(&self.vlans) {
            *to = from.load(Ordering::Relaxed);
        }
        to.set(0, true);
    }
}

impl<D: Driven> Vlans for Core<D> {
    fn vlan(&self, number: u16, is_there: bool) {
        if let Some(word) = self.vlans.vlans.get(usize::from(number >> 5)) {
            let bit = 1 << (number & 31);
            match is_there {
                true => word.fetch_or(bit, Ordering::Relaxed),
                false => word.fetch_and(!bit, Ordering::Relaxed),
            };
        }
        self.vlans.changes.fetch_add(1, Ordering::Release);
        self.chime.ring();
    }
}

impl<D: Driven> nic::Queues<Kernel, D> for Core<D> {
    fn tx<R>(
        &self,
        number: u16,
        with: impl FnOnce(&mut Transmitter<Kernel, D::Tx>) -> R,
    ) -> Option<R> {
        let lane = self.lanes.get(usize::from(number))?;
        Some(lane.with(with))
    }

    fn rx<R>(
        &self,
        number: u16,
        with: impl FnOnce(&mut Receiver<Kernel, D::Rx>) -> R,
    ) -> Option<R> {
        let receiver = self.receivers.get(usize::from(number))?;
        Some(receiver.with(|receiver| with(receiver)))
    }
}

impl<D: Driven> Core<D> {
    /// Looks whether a frame that is to be sent can be, as [`Port::admit`] does, without asking
    /// the kernel for what is known.
    ///
    /// # Errors
    /// Those of [`Port::admit`].
    #[inline]
    fn admit(&self, frame: &Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let longest = self.longest.load(Ordering::Relaxed);
        if longest == 0 || frame.packet_len() > longest {
            return self.own.admit(frame, frame.traits().is_segmented, epoch);
        }
        self.own.tap(frame, epoch);
        Ok(())
    }

    /// Says how long frames may be from now on, as the interface goes, or does not.
    pub(super) fn set_longest(&self, mtu: u32) {
        let longest = match self.own.is_going() {
            true => link::longest(mtu),
            false => 0,
        };
        self.longest.store(longest, Ordering::Relaxed);
    }

    /// Serves a vector that is masked until nothing is left to do, and unmasks it; or leaves
    /// the rest to a worker.
    fn serve(&self, vector: u16) {
        for _ in 0..ROUNDS {
            if !self.serve_once(vector) {
                // One that is a transmit queue's own comes when that is full, and arms it.
                if !self.vectors.is_own_tx(vector) && !self.has_rings_only(vector) {
                    self.interrupts.unmask(vector);
                }
                return;
            }
        }
        if let Some(job) = self.jobs.get(usize::from(vector)) {
            job.ask();
        }
    }

    /// Whether there is more; if not, the vector's queues are armed.
    fn serve_once(&self, vector: u16) -> bool {
        let mut is_more = false;
        self.quieten(vector);
        for (number, receiver) in (0..).zip(&self.receivers) {
            if self.vectors.rx(number) != vector {
                continue;
            }
            match self.has_ring(number) {
                true => self.tell_program(number, true),
                false => is_more |= self.receive(number, receiver),
            }
        }
        // What was sent by a queue whose number a receive queue has is freed with that one's turns.
        for (number, lane) in (0..).zip(&self.lanes) {
            let is_served = self.vectors.tx(number) == vector || self.vectors.rx(number) == vector;
            if is_served && lane.reap() {
                self.go_on(number);
            }
            if is_served && lane.has_ring() {
                self.tell_program(number, false);
            }
        }
        if !is_more {
            for (number, receiver) in (0..).zip(&self.receivers) {
                if self.vectors.rx(number) == vector && !self.has_ring(number) {
                    is_more |= receiver.with(|receiver| receiver.arm());
                }
            }
        }
        is_more
    }

    /// A vector has interrupted, as the card's driver has found out: masks it, and has it
    /// served soon. Does not sleep.
    pub(super) fn interrupted(&self, vector: u32) {
        if let Some(job) = self.jobs.get(vector as usize) {
            self.interrupts.mask(vector as u16);
            job.ask();
        }
    }

    /// Has a transmit queue go on that may have waited for the card.
    pub(super) fn go_on(&self, number: u16) {
        if let Some(lane) = self.lanes.get(usize::from(number)) {
            lane.go_on();
        }
        if let Some(queue) = self.queues.queues().get(usize::from(number)) {
            queue.resume();
        }
    }

    /// Receives what there is, up to the budget. Whether there may be more.
    #[inline]
    fn receive(&self, number: u16, receiver: &Locked<Box<CardReceiver<D>>>) -> bool {
        let mut row = Row::new();
        let polled = receiver.with(|receiver| {
            let polled = receiver.poll(BUDGET, |packet, meta| {
                if let Some(mut frame) = packet.into_mbuf() {
                    frame.received(&self.own, meta);
                    row.push(frame);
                }
            });
            if !polled.is_more {
                receiver.turn_is_over(polled.frames);
            }
            polled
        });
        if polled.frames > 0 {
            self.own.count(Counter::Received, row.len());
            if self.joins.load(Ordering::Relaxed) {
                row = self.joined(number, row);
            }
            self.own.input(row);
        }
        polled.is_more
    }

    /// What a queue has received in a turn, joined if the card does not do that.
    #[inline(never)]
    fn joined(&self, number: u16, mut row: Row) -> Row {
        let Some(joiner) = self.joiners.get(usize::from(number)) else {
            return row;
        };
        let families = self.own.joinable();
        let mut out = Row::new();
        joiner.with(|joiner| {
            let next = || row.pop().map(Held::new);
            joiner.turn(families, next, &mut |held| out.push(held.into_mbuf()));
        });
        out
    }

    /// Has every vector served, which arms and unmasks it.
    pub(super) fn serve_all(&self) {
        for job in &self.jobs {
            job.ask();
        }
        for number in (0..).take(self.lanes.len()) {
            self.go_on(number);
        }
    }

    /// Empties the queues, to which nobody submits any more.
    pub(super) fn close(&self, sleepable: &mut Sleepable) {
        for queue in self.queues.queues() {
            while queue
                .close(|_| self.own.count(Counter::SendDropped, 1))
                .is_err()
            {
                kernel::pause_ms(sleepable, 1);
            }
        }
    }
}

impl<D: Driven> Handler for Core<D> {
    fn interrupt(&self, vector: usize, _epoch: &NetEpoch<'_>) {
        let vector = vector as u16;
        let cause = self.interrupts.cause(vector);
        if !cause.is_ours {
            return;
        }
        self.interrupts.mask(vector);
        if cause.event && vector == self.vectors.event() {
            self.chime.ring();
        }
        self.serve(vector);
    }
}

/// What looks after a card: each second, and whenever its chime is rung.
pub(super) struct Care<D: Driven> {
    pub(super) core: Shared<Core<D>>,
}

impl<D: Driven> Duty for Care<D> {
    fn run(&mut self, sleepable: &mut Sleepable) {
        self.core.look(sleepable);
    }
}

/// The interface.
pub(super) struct Face<D: Driven> {
    pub(super) core: Shared<Core<D>>,
    pub(super) node: Slept<Option<Node<D>>>,
}

impl<D: Driven> Interface for Face<D> {
    const HAS_HARDWARE: bool = true;

    fn transmit(&self, mut frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let core = &*self.core;
        core.admit(&frame, epoch)?;
        if core.lanes.len() > 1 {
            frame.ensure_hash(&TOEPLITZ);
        }
        let submitted = core.queues.submit_one(epoch, Choice::Flow, frame);
        submitted.map_err(|(_frame, _reason)| {
            core.own.count(Counter::SendDropped, 1);
            Errno::ENOBUFS
        })
    }

    fn work(&self, number: usize, _epoch: &NetEpoch<'_>) {
        let core = &*self.core;
        match number.checked_sub(core.lanes.len()) {
            Some(vector) => core.serve(vector as u16),
            None => {
                if let Some(queue) = core.queues.queues().get(number) {
                    queue.work();
                }
            }
        }
    }

    fn counted(&self, counter: Counter, _epoch: &NetEpoch<'_>) -> u64 {
        let lanes = self.core.lanes.iter();
        lanes.fold(0, |all, lane| all.wrapping_add(lane.counted(counter)))
    }

    fn retire(&self, sleepable: &mut Sleepable) {
        drop(self.node.with(sleepable, |_, node| node.take()));
    }

    fn enable(&self, sleepable: &mut Sleepable, wanted: Capabilities) {
        self.core.enable(sleepable, wanted);
    }

    fn changed(&self, _epoch: &NetEpoch<'_>) {
        self.core.chime.ring();
    }

    fn largest_mtu(&self, _epoch: &NetEpoch<'_>) -> u32 {
        self.core.largest_mtu
    }

    fn turned(&self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        self.core.follow_flags(sleepable)
    }

    fn resize(&self, sleepable: &mut Sleepable, mtu: u32) -> Result<(), Errno> {
        self.core.resize(sleepable, mtu)
    }
}
