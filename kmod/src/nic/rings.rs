// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4) on a card: a program puts frames into rings and takes them out, which the card
//! reads and writes where they are.
//!
//! While a ring is on, the queue of the same number has its buffers from there, or its frames.
//! The library's bookkeeping is the same as for the stack's: by tokens, so that it does not
//! matter in which order a card is done, and each buffer and slot comes back, be it that the
//! card is reset, stopped, or gone. The stack may send by the same queue.

use core::sync::atomic::Ordering;

use weft_engine::nic::State;
use weft_engine::queue::Sections as _;

use super::Driven;
use super::control::Control;
use super::core::{Core, Face};
use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::Counter;
use crate::kpi::mbuf_dma::Packet;
use crate::kpi::netmap::{ReceiveRing, Rings, SendRing, Turn};

impl<D: Driven> Rings for Face<D> {
    fn turn(&self, sleepable: &mut Sleepable, turn: &mut Turn) -> Result<(), Errno> {
        let core = &*self.core;
        core.control
            .with(sleepable, |_, control| core.turn_rings(control, turn))
    }

    fn departs(&self, sleepable: &mut Sleepable) {
        if self.core.has_rings() {
            self.core.is_away.store(true, Ordering::SeqCst);
            self.core.suspend(sleepable);
            NetEpochs.wait();
        }
    }

    fn arrives(&self, sleepable: &mut Sleepable, rings: &Turn) {
        if !self.core.is_away.swap(false, Ordering::Relaxed) {
            return;
        }
        if !rings.is_in_use() {
            self.core.turn_all_off();
        }
        self.core.resume(sleepable);
    }

    fn send(
        &self,
        number: u16,
        ring: &mut SendRing<'_>,
        _epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        let core = &*self.core;
        let lane = core.lanes.get(usize::from(number)).ok_or(Errno::ENXIO)?;
        lane.send_ring(ring)?;
        core.waken(core.vectors.tx(number));
        Ok(())
    }

    fn receive(
        &self,
        number: u16,
        ring: &mut ReceiveRing<'_>,
        _epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        self.core.receive_ring(number, ring)
    }
}

impl<D: Driven> Core<D> {
    /// Whether a receive queue's ring is on.
    #[inline]
    pub(super) fn has_ring(&self, number: u16) -> bool {
        let feed = self.feeds.get(usize::from(number));
        feed.is_some_and(|feed| feed.is_on())
    }

    /// Whether any ring is on.
    pub(super) fn has_rings(&self) -> bool {
        self.feeds.iter().any(|feed| feed.is_on()) || self.lanes.iter().any(|lane| lane.has_ring())
    }

    /// Whether all that a vector receives for is rings.
    pub(super) fn has_rings_only(&self, vector: u16) -> bool {
        let mut numbers = (0..self.receivers.len() as u16)
            .filter(|&number| self.vectors.rx(number) == vector)
            .peekable();
        numbers.peek().is_some() && numbers.all(|number| self.has_ring(number))
    }

    /// Tells who waits for a ring, which goes only after the end of the epoch.
    #[inline]
    pub(super) fn tell_program(&self, number: u16, has_received: bool) {
        if !self.is_away.load(Ordering::Relaxed) {
            self.own.notify(number, has_received);
        }
    }

    /// No program has rings any more, for the interface goes. The card is suspended.
    pub(super) fn end_rings(&self, _sleepable: &mut Sleepable) {
        self.turn_all_off();
        NetEpochs.wait();
    }

    /// A vector that is masked and serves rings only stays so until a program looks.
    #[inline]
    pub(super) fn quieten(&self, vector: u16) {
        if self.has_rings_only(vector)
            && let Some(is_quiet) = self.is_quiet.get(usize::from(vector))
        {
            is_quiet.store(true, Ordering::Release);
        }
    }

    /// A program has looked.
    #[inline]
    fn waken(&self, vector: u16) {
        use weft_engine::nic::Interrupts as _;
        if let Some(is_quiet) = self.is_quiet.get(usize::from(vector))
            && is_quiet.load(Ordering::Relaxed)
            && is_quiet.swap(false, Ordering::AcqRel)
        {
            self.interrupts.unmask(vector);
        }
    }

    fn receive_ring(&self, number: u16, ring: &mut ReceiveRing<'_>) -> Result<(), Errno> {
        let number_of = usize::from(number);
        let (Some(receiver), Some(feed)) =
            (self.receivers.get(number_of), self.feeds.get(number_of))
        else {
            return Err(Errno::ENXIO);
        };
        let frames = receiver.with(|receiver| {
            // Between two network stacks.
            if !feed.is_on() {
                return Ok(0);
            }
            ring.released(|buffer| feed.give(buffer))?;
            let mut frames = 0_u32;
            loop {
                let room = ring.room();
                if room == 0 {
                    break;
                }
                let polled = receiver.poll(room, |packet, _| {
                    if let Packet::Ring(filled) = packet {
                        let (buffer, bytes) = filled.into_parts();
                        ring.put(buffer, bytes);
                    }
                });
                frames = frames.wrapping_add(polled.frames);
                if polled.is_more {
                    continue;
                }
                receiver.turn_is_over(polled.frames);
                if !ring.wants_interrupts() || !receiver.arm() {
                    break;
                }
            }
            receiver.refill();
            Ok(frames)
        })?;
        if frames > 0 {
            self.own.count(Counter::Received, frames);
        }
        self.waken(self.vectors.rx(number));
        Ok(())
    }

    /// Has the card stand still, rings come or go, and the card go on.
    fn turn_rings(&self, control: &mut Control<D>, turn: &mut Turn) -> Result<(), Errno> {
        if turn.is_coming() && control.is_suspended() {
            return Err(Errno::ENXIO);
        }
        let had_any = self.has_rings();
        let is_going = control.port.state() != State::Stopped;
        self.set_running(control, false);
        control.port.stop(self);
        turn.commit(turn.is_coming());
        self.set_rings(turn);
        // Whoever has found a ring on is out of it before it goes.
        NetEpochs.wait();
        if !is_going {
            return Ok(());
        }
        let started = self.start(control);
        if started.is_err() && turn.is_coming() && !had_any {
            turn.commit(false);
            self.turn_all_off();
            // What failed has been logged.
            let _ = self.start(control);
        }
        started.or_else(|error| if turn.is_coming() { Err(error) } else { Ok(()) })
    }

    fn set_rings(&self, turn: &Turn) {
        for (number, feed) in (0..).zip(&self.feeds) {
            match turn.receives(number) {
                Some((memory, buffers)) if !feed.is_on() => feed.turn_on(memory, buffers),
                Some(_) => {}
                None => feed.turn_off(),
            }
        }
        for (number, lane) in (0..).zip(&self.lanes) {
            lane.turn_ring(turn.sends(number));
        }
    }

    /// No ring is on any more. The card is stopped.
    fn turn_all_off(&self) {
        for feed in &self.feeds {
            feed.turn_off();
        }
        for lane in &self.lanes {
            lane.turn_ring(false);
        }
    }
}
