// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4) on a pair: a program at one end puts frames into rings, and takes out what the other
//! end sends.
//!
//! If there is a program at either end, a frame goes from ring to ring by its buffer, in
//! exchange for an empty one, as long as both programs have the same memory; else by a copy.
//! What a stack sends is copied into the program's buffers by the queue's worker, and what a
//! program sends to a stack is copied into packets, which go through the queues.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use weft_engine::link;
use weft_engine::queue::{Batch, Choice, Sections as _};

use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Port};
use crate::kpi::locked::Locked;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::memory::collected;
use crate::kpi::netmap::{Inbox, Memory, ReceiveRing, Rings, SendRing, Shape, Turn, Wanted};
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::pair::{End, TOEPLITZ};

/// Slots of a ring.
const SLOTS: u16 = 512;
/// Bytes of Ethernet's header, the least that a frame has.
const SHORTEST: u32 = 14;

/// The rings of one end.
pub(crate) struct EndRings {
    inboxes: Vec<Locked<Option<Inbox>>>,
    /// By number: whether there is an inbox, and whether the ring to send is on.
    receives: Vec<AtomicBool>,
    sends: Vec<AtomicBool>,
    /// A program waits until there is room at the other end.
    is_waiting: AtomicBool,
    /// Held while rings come or go: whether none can come.
    is_closed: Slept<bool>,
}

impl EndRings {
    /// So many each way, which are off.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(count: usize) -> Result<Shared<Self>, Errno> {
        let inboxes = collected(count, |_| Locked::new(c"weft inbox", None))?;
        let receives = collected(count, |_| Ok(AtomicBool::new(false)))?;
        let sends = collected(count, |_| Ok(AtomicBool::new(false)))?;
        Shared::made(|| {
            Ok(Self {
                inboxes,
                receives,
                sends,
                is_waiting: AtomicBool::new(false),
                is_closed: Slept::new(false),
            })
        })
    }

    /// What netmap(4) finds.
    pub(crate) fn shape(&self) -> Shape {
        let count = self.inboxes.len() as u16;
        Shape {
            tx_rings: count,
            rx_rings: count,
            tx_slots: SLOTS,
            rx_slots: SLOTS,
        }
    }

    /// No ring is on any more, and none comes.
    pub(crate) fn close(&self, sleepable: &mut Sleepable) {
        self.is_closed.with(sleepable, |_, is_closed| {
            *is_closed = true;
            self.set(None);
        });
    }

    /// When this returns, whoever has found a ring on that is off is out of it.
    fn set(&self, turn: Option<&Turn>) {
        for (number, inbox) in (0..).zip(&self.inboxes) {
            let new = turn.and_then(|turn| turn.inbox(number));
            let is_on = new.is_some();
            inbox.with(|inbox| *inbox = new);
            if let Some(receives) = self.receives.get(usize::from(number)) {
                receives.store(is_on, Ordering::Release);
            }
        }
        for (number, sends) in (0..).zip(&self.sends) {
            let is_on = turn.is_some_and(|turn| turn.sends(number));
            sends.store(is_on, Ordering::Release);
        }
        NetEpochs.wait();
    }

    /// Whether a ring receives what goes through the queue of that number.
    #[inline]
    pub(crate) fn receives(&self, number: usize) -> bool {
        let receives = self.receives.get(number);
        receives.is_some_and(|receives| receives.load(Ordering::Relaxed))
    }

    /// Gives frames to the ring of that number: how many it has taken. The rest stays.
    #[inline(never)]
    pub(crate) fn take(&self, number: usize, frames: &mut Batch<Mbuf>, own: &Port) -> u32 {
        let mut taken = 0_u32;
        let Some(inbox) = self.inboxes.get(number) else {
            return taken;
        };
        inbox.with(|inbox| {
            while let Some(inbox) = inbox.as_mut().filter(|inbox| !inbox.is_full())
                && let Some(frame) = frames.pop()
            {
                match inbox.give_copy(&frame) {
                    true => taken = taken.wrapping_add(1),
                    false => own.count(Counter::ReceivedDropped, 1),
                }
            }
        });
        if taken > 0 {
            own.notify(number as u16, true);
        }
        taken
    }

    /// There may be room at the other end, for which a program waits.
    #[inline]
    pub(crate) fn waken(&self, own: &Port) {
        if self.is_waiting.load(Ordering::Relaxed) && self.is_waiting.swap(false, Ordering::AcqRel)
        {
            for (number, sends) in (0..).zip(&self.sends) {
                if sends.load(Ordering::Acquire) {
                    own.notify(number, false);
                }
            }
        }
    }
}

/// What was sent.
#[derive(Default)]
struct Sent {
    frames: u32,
    bytes: u32,
}

impl Sent {
    fn note(&mut self, bytes: u32) {
        self.frames = self.frames.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes);
    }
}

impl Rings for End {
    fn turn(&self, sleepable: &mut Sleepable, turn: &mut Turn) -> Result<(), Errno> {
        self.rings.is_closed.with(sleepable, |_, is_closed| {
            if turn.is_coming() && *is_closed {
                return Err(Errno::ENXIO);
            }
            turn.commit(turn.is_coming());
            self.rings.set(Some(turn));
            Ok(())
        })
    }

    fn departs(&self, sleepable: &mut Sleepable) {
        self.rings.close(sleepable);
    }

    fn arrives(&self, sleepable: &mut Sleepable, rings: &Turn) {
        self.rings.is_closed.with(sleepable, |_, is_closed| {
            *is_closed = false;
            self.rings
                .set(Some(rings).filter(|rings| rings.is_in_use()));
        });
    }

    fn send(
        &self,
        number: u16,
        ring: &mut SendRing<'_>,
        epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        let memory = ring.memory().ok_or(Errno::ENXIO)?;
        let mut sent = Sent::default();
        if self.own.is_going() && self.peer.is_going() {
            for is_last in [false, true] {
                match self.peer_rings.receives(number.into()) {
                    true => self.send_to_ring(number, ring, &memory, &mut sent),
                    false => self.send_to_stack(ring, &memory, &mut sent, epoch),
                }
                if is_last || ring.wanted(&memory).is_none() {
                    break;
                }
                // Whoever makes room from here on sees it; what was made before, the next turn.
                self.rings.is_waiting.store(true, Ordering::SeqCst);
            }
        }
        ring.reclaim(|_| true);
        if sent.frames > 0 {
            self.own.count(Counter::Sent, sent.frames);
            self.own.count(Counter::SentBytes, sent.bytes);
        }
        Ok(())
    }

    fn receive(
        &self,
        number: u16,
        ring: &mut ReceiveRing<'_>,
        _epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        let inbox = self.rings.inboxes.get(usize::from(number));
        let has_room = inbox.ok_or(Errno::ENXIO)?.with(|inbox| {
            // It has none between two network stacks.
            let inbox = inbox.as_mut();
            inbox.map_or(Ok(false), |inbox| inbox.settle(ring))
        })?;
        if has_room {
            self.peer_rings.waken(&self.peer);
        }
        Ok(())
    }
}

impl End {
    /// Where the next frame is, if it is one; else it is counted, and skipped.
    #[inline]
    fn next_frame(
        &self,
        ring: &mut SendRing<'_>,
        memory: &Memory,
    ) -> Option<(Wanted, crate::kpi::netmap::Place)> {
        let mtu = self.own.mtu();
        loop {
            let wanted = ring.wanted(memory)?;
            let is_frame = wanted.bytes >= SHORTEST && !link::is_too_long(wanted.bytes, mtu);
            match wanted
                .place
                .filter(|place| is_frame && place.bytes >= wanted.bytes)
            {
                Some(place) => return Some((wanted, place)),
                None => {
                    self.own.count(Counter::SendErrors, 1);
                    ring.advance();
                }
            }
        }
    }

    fn send_to_ring(&self, number: u16, ring: &mut SendRing<'_>, memory: &Memory, sent: &mut Sent) {
        let Some(inbox) = self.peer_rings.inboxes.get(usize::from(number)) else {
            return;
        };
        inbox.with(|inbox| {
            while let Some(inbox) = inbox.as_mut().filter(|inbox| !inbox.is_full())
                && let Some((wanted, place)) = self.next_frame(ring, memory)
            {
                match inbox.give(memory, &wanted, &place) {
                    Some(buffer) => ring.advance_with(buffer),
                    None => ring.advance(),
                }
                sent.note(wanted.bytes);
            }
        });
        if sent.frames > 0 {
            self.peer.count(Counter::Received, sent.frames);
            self.peer.notify(number, true);
        }
    }

    fn send_to_stack(
        &self,
        ring: &mut SendRing<'_>,
        memory: &Memory,
        sent: &mut Sent,
        epoch: &NetEpoch<'_>,
    ) {
        while let Some((wanted, place)) = self.next_frame(ring, memory) {
            let Some(mut frame) = place.packet(wanted.bytes) else {
                return;
            };
            frame.ensure_hash(&TOEPLITZ);
            self.peer.adopt(&mut frame);
            if self.queues.submit_one(epoch, Choice::Flow, frame).is_err() {
                return;
            }
            ring.advance();
            sent.note(wanted.bytes);
        }
    }
}
