// SPDX-License-Identifier: BSD-2-Clause
//! A receive queue of a device, whichever it is: buffers are given, what the device has filled
//! is put together to frames, and each buffer is in one place. Called by one thread at a time,
//! which may not sleep.
//!
//! Buffers are given when an eighth of the places is free, not one by one. A short frame is copied,
//! if the platform does that, and its buffer stays where it is until its turn comes. When there is no memory for buffers it is not asked again at once, but after 1, 2,
//! 4 ... 64 polls, and at each tick. A buffer of a frame that is dropped is given again as it is.

use super::driver::{Full, RxRing, Taken};
use super::moderation::Moderation;
use super::offload::Meta;
use super::platform::Platform;
use super::slots::Loans;

/// Buffers of dropped frames that are kept to be given again.
const KEPT: usize = 8;
/// Polls for which no memory is asked for at most.
const LONGEST_PAUSE: u8 = 64;

/// What a queue has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxFigures {
    /// Frames for the stack.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of them, those that the device has put together of several.
    pub merged: u64,
    /// Of them, those that were copied out of their buffers.
    pub copied: u64,
    /// Frames that the device said are broken.
    pub bad: u64,
    /// Frames dropped for want of memory for a packet.
    pub no_packet: u64,
    /// Times that there was no memory for a buffer.
    pub no_buffer: u64,
    /// Buffers given to the device.
    pub given: u64,
    /// Buffers that came back, with a frame or not.
    pub returned: u64,
    /// Buffers that a reset or stop took from the device.
    pub withdrawn: u64,
    /// Frames of which a part was there at a reset or stop.
    pub cut_off: u64,
    /// Whole frames that were there at a reset or stop, and were not taken.
    pub left: u64,
    /// Doorbells.
    pub kicks: u64,
    /// Completions that no buffer belonged to, or that said more bytes than it has.
    pub bogus: u64,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Frames.
    pub frames: u32,
    /// There may be more.
    pub is_more: bool,
    /// The device has no buffer at all: nothing will come, no interrupt either, before the next
    /// [`refill`](Receiver::refill).
    pub is_starved: bool,
}

/// A frame that is being put together.
#[derive(Debug)]
enum Partial<K> {
    /// Nothing.
    None,
    /// Its first parts.
    Some(K, u32),
    /// What is left of it is dropped.
    Dropped,
}

/// A queue while the device goes.
#[derive(Debug)]
struct Running<R, B> {
    ring: R,
    buffers: Loans<B>,
}

/// A receive queue.
#[derive(Debug)]
pub struct Receiver<P: Platform, R: RxRing> {
    platform: P,
    running: Option<Running<R, P::Buffer>>,
    partial: Partial<P::Packet>,
    kept: [Option<P::Buffer>; KEPT],
    /// There may be some.
    has_kept: bool,
    moderation: Moderation,
    figures: RxFigures,
    is_broken: bool,
    pause: u8,
    next_pause: u8,
}

impl<P: Platform, R: RxRing> Receiver<P, R> {
    /// A queue that is stopped.
    pub fn new(platform: P) -> Self {
        Self {
            platform,
            running: None,
            partial: Partial::None,
            kept: [const { None }; KEPT],
            has_kept: false,
            moderation: Moderation::default(),
            figures: RxFigures::default(),
            is_broken: false,
            pause: 0,
            next_pause: 1,
        }
    }

    /// Takes a device's queue that is fresh, and gives it buffers, without a doorbell: how many,
    /// or `None` if there is no memory for the bookkeeping.
    pub fn start(&mut self, ring: R) -> Option<u32> {
        self.stop();
        let buffers = Loans::new(ring.tokens())?;
        self.running = Some(Running { ring, buffers });
        Some(self.fill())
    }

    /// Forgets the device's queue, which the device does not touch any more, and frees all
    /// buffers.
    pub fn stop(&mut self) {
        self.count_left();
        if !matches!(self.partial, Partial::None) {
            self.figures.cut_off = self.figures.cut_off.wrapping_add(1);
        }
        self.partial = Partial::None;
        self.kept = [const { None }; KEPT];
        let (least, most) = self.moderation.limits();
        self.moderation = Moderation::between(least, most);
        self.is_broken = false;
        (self.pause, self.next_pause) = (0, 1);
        if let Some(running) = self.running.take() {
            let withdrawn = running.buffers.used();
            self.figures.withdrawn = self.figures.withdrawn.wrapping_add(withdrawn.into());
        }
    }

    /// Counts the frames that came before the device was stopped, and that nobody takes now. In a
    /// stack frame of its own.
    #[cold]
    #[inline(never)]
    fn count_left(&mut self) {
        loop {
            match self.take() {
                Took::Nothing => break,
                Took::Part => {}
                Took::Frame(..) => self.figures.left = self.figures.left.wrapping_add(1),
            }
        }
    }

    /// Whether the device goes.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Takes frames, `budget` at most, and gives them to `sink`. Gives the device new buffers.
    #[inline]
    pub fn poll(&mut self, budget: u32, mut sink: impl FnMut(P::Packet, &Meta)) -> Polled {
        let mut frames = 0_u32;
        let mut is_more = true;
        while frames < budget {
            match self.take() {
                Took::Nothing => {
                    is_more = false;
                    break;
                }
                Took::Part => {}
                Took::Frame(packet, meta) => {
                    frames = frames.wrapping_add(1);
                    self.figures.bytes = self.figures.bytes.wrapping_add(meta.bytes.into());
                    sink(packet, &meta);
                }
            }
        }
        self.figures.frames = self.figures.frames.wrapping_add(frames.into());
        let is_starved = self.refill_some();
        Polled {
            frames,
            is_more,
            is_starved,
        }
    }

    /// Takes the next buffer that is done. Where frames are counted in nanoseconds there is no
    /// time to hand them over by memory.
    #[inline(always)]
    fn take(&mut self) -> Took<P::Packet> {
        let Some(running) = &mut self.running else {
            return Took::Nothing;
        };
        if self.is_broken {
            return Took::Nothing;
        }
        let Some(mut taken) = running.ring.take() else {
            return Took::Nothing;
        };
        let Some(buffer) = running.buffers.lent(taken.token) else {
            return self.nonsense();
        };
        if R::HAS_FRONT {
            running.ring.look(&self.platform.front(buffer), &mut taken);
        }
        let room = self.platform.place(buffer).bytes;
        if taken.skip > room || taken.bytes > room.wrapping_sub(taken.skip) {
            return self.nonsense();
        }
        let is_alone = taken.is_last && !taken.is_bad && matches!(self.partial, Partial::None);
        if is_alone
            && taken.bytes.wrapping_sub(1) < P::COPIED
            && let Some(packet) = self.platform.copied(buffer, taken.skip, taken.bytes)
        {
            running.buffers.keep(taken.token);
            self.figures.returned = self.figures.returned.wrapping_add(1);
            self.figures.copied = self.figures.copied.wrapping_add(1);
            return self.whole(packet, taken.bytes, &taken);
        }
        let Some(buffer) = running.buffers.take(taken.token) else {
            return Took::Nothing;
        };
        self.figures.returned = self.figures.returned.wrapping_add(1);
        // As most frames are.
        if is_alone && taken.bytes > 0 {
            return match self.platform.packet(buffer, taken.skip, taken.bytes) {
                Some(packet) => self.whole(packet, taken.bytes, &taken),
                None => {
                    self.no_packet();
                    Took::Part
                }
            };
        }
        self.add(buffer, &taken)
    }

    #[cold]
    fn no_buffer(&mut self) {
        self.figures.no_buffer = self.figures.no_buffer.wrapping_add(1);
        self.pause = self.next_pause;
        self.next_pause = self.next_pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// A token was given for a buffer that is out already, or not the one that was said.
    #[cold]
    fn given_twice(&mut self) {
        self.figures.bogus = self.figures.bogus.wrapping_add(1);
        self.is_broken = true;
    }

    #[cold]
    fn nonsense<K>(&mut self) -> Took<K> {
        self.figures.bogus = self.figures.bogus.wrapping_add(1);
        self.is_broken = true;
        Took::Nothing
    }

    /// Puts a buffer's bytes behind those of its frame.
    #[inline(never)]
    fn add(&mut self, buffer: P::Buffer, taken: &Taken) -> Took<P::Packet> {
        let whole = core::mem::replace(&mut self.partial, Partial::None);
        let extended = match whole {
            _ if taken.bytes == 0 => {
                self.keep(buffer);
                whole
            }
            Partial::None if taken.is_last && taken.is_bad => {
                self.keep(buffer);
                Partial::Dropped
            }
            Partial::None => match self.platform.packet(buffer, taken.skip, taken.bytes) {
                Some(packet) => Partial::Some(packet, taken.bytes),
                None => self.no_packet(),
            },
            Partial::Some(mut packet, bytes) => {
                let (skip, more) = (taken.skip, taken.bytes);
                match self.platform.append(&mut packet, buffer, skip, more) {
                    true => Partial::Some(packet, bytes.saturating_add(more)),
                    false => self.no_packet(),
                }
            }
            Partial::Dropped => {
                self.keep(buffer);
                Partial::Dropped
            }
        };
        if !taken.is_last {
            self.partial = extended;
            return Took::Part;
        }
        if taken.is_bad {
            self.figures.bad = self.figures.bad.wrapping_add(1);
            return Took::Part;
        }
        let Partial::Some(packet, bytes) = extended else {
            return Took::Part;
        };
        self.whole(packet, bytes, taken)
    }

    #[inline(always)]
    fn whole(&mut self, packet: P::Packet, bytes: u32, taken: &Taken) -> Took<P::Packet> {
        let mut meta = taken.meta;
        meta.bytes = bytes;
        if meta.segments > 1 {
            self.figures.merged = self.figures.merged.wrapping_add(1);
        }
        Took::Frame(packet, meta)
    }

    #[cold]
    fn no_packet(&mut self) -> Partial<P::Packet> {
        self.figures.no_packet = self.figures.no_packet.wrapping_add(1);
        Partial::Dropped
    }

    /// Keeps a buffer to be given again, if there is a place.
    #[cold]
    fn keep(&mut self, buffer: P::Buffer) {
        if let Some(place) = self.kept.iter_mut().find(|place| place.is_none()) {
            *place = Some(buffer);
            self.has_kept = true;
        }
    }

    /// Gives buffers if it is worth it. True if the device has none.
    #[inline]
    fn refill_some(&mut self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let is_starved = running.buffers.used() == 0;
        let room = running.ring.room();
        if room.saturating_mul(8) < running.buffers.count() && !is_starved {
            return false;
        }
        if self.pause > 0 {
            self.pause = self.pause.wrapping_sub(1);
            return is_starved;
        }
        self.refill();
        self.has_nothing()
    }

    fn has_nothing(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.buffers.used() == 0)
    }

    /// Tells a device that has just been started of the buffers that it has.
    pub(super) fn begin(&mut self) {
        if let Some(running) = &mut self.running {
            running.ring.kick();
            self.figures.kicks = self.figures.kicks.wrapping_add(1);
            // A device that was reset has none.
            let gap = self.moderation.gap();
            if gap > 0 {
                running.ring.moderate(gap);
            }
        }
    }

    /// Has interrupts at least and at most that many nanoseconds apart, from now on and after
    /// each start: as the load says, or fixed if both are the same.
    pub fn moderate(&mut self, least: u32, most: u32) {
        self.moderation = Moderation::between(least, most);
        if let Some(running) = &mut self.running {
            running.ring.moderate(self.moderation.gap());
        }
    }

    /// Between how many nanoseconds interrupts are kept apart.
    pub fn moderated(&self) -> (u32, u32) {
        self.moderation.limits()
    }

    /// Gives the device as many buffers as there is room for, and tells it: how many.
    pub fn refill(&mut self) -> u32 {
        let given = self.fill();
        if given > 0
            && let Some(running) = &mut self.running
        {
            running.ring.kick();
            self.figures.kicks = self.figures.kicks.wrapping_add(1);
        }
        given
    }

    /// The same without telling it.
    fn fill(&mut self) -> u32 {
        let mut given = 0_u32;
        if self.is_broken {
            return given;
        }
        while let Some(running) = &mut self.running
            && let Some(wanted) = running.ring.wanted()
        {
            let next = running.ring.next();
            if let Some(next) = next
                && let Some(buffer) = running.buffers.kept(next)
                && let place = self.platform.place(buffer)
                && place.bytes >= wanted.bytes
            {
                match running.ring.give(place) {
                    Ok(token) if token == next && running.buffers.lend_again(token) => {
                        given = given.wrapping_add(1);
                        continue;
                    }
                    Ok(_) => self.given_twice(),
                    Err(Full) => {}
                }
                break;
            }
            let mut again = None;
            if self.has_kept {
                again = take_kept(&self.platform, &mut self.kept, wanted.bytes);
                self.has_kept = self.kept.iter().any(Option::is_some);
            }
            let fits = |buffer: &P::Buffer| self.platform.place(buffer).bytes >= wanted.bytes;
            let Some(buffer) = again
                .or_else(|| self.platform.buffer(wanted.bytes))
                .or_else(|| running.buffers.take_kept(next.unwrap_or(0), fits))
            else {
                if self.platform.has_buffers(wanted.bytes) {
                    self.no_buffer();
                }
                break;
            };
            let Ok(token) = running.ring.give(self.platform.place(&buffer)) else {
                break;
            };
            if running.buffers.lend(token, buffer).is_err() {
                self.given_twice();
                break;
            }
            given = given.wrapping_add(1);
        }
        if given > 0 {
            self.figures.given = self.figures.given.wrapping_add(given.into());
            self.next_pause = 1;
        }
        given
    }

    /// Asks for an interrupt when a frame comes. True if one has: poll, and ask again.
    #[inline]
    pub fn arm(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| running.ring.arm())
            && !self.is_broken
    }

    /// Asks for none.
    #[inline]
    pub fn disarm(&mut self) {
        if let Some(running) = &mut self.running {
            running.ring.disarm();
        }
    }

    /// To be called once a turn, that is from an interrupt until nothing was left, with the
    /// frames that it found: keeps interrupts apart as it is worth it.
    #[inline]
    pub fn turn_is_over(&mut self, frames: u32) {
        if let Some(gap) = self.moderation.observe(frames)
            && let Some(running) = &mut self.running
        {
            running.ring.moderate(gap);
        }
    }

    /// To be called once a second. False if the device must be reset, since it has said
    /// nonsense.
    pub fn tick(&mut self) -> bool {
        if self.running.as_ref().is_some_and(|r| r.ring.room() > 0) {
            self.refill();
        }
        !self.is_broken
    }

    /// Buffers that the device has.
    pub fn given(&self) -> u16 {
        self.running
            .as_ref()
            .map_or(0, |running| running.buffers.used())
    }

    /// What was counted.
    pub fn figures(&self) -> RxFigures {
        self.figures
    }
}

/// A buffer that was kept, if one is large enough.
#[cold]
fn take_kept<P: Platform>(
    platform: &P,
    kept: &mut [Option<P::Buffer>; KEPT],
    bytes: u32,
) -> Option<P::Buffer> {
    let fits = |buffer: &P::Buffer| platform.place(buffer).bytes >= bytes;
    let place = kept
        .iter_mut()
        .find(|place| place.as_ref().is_some_and(fits));
    place?.take()
}

/// What came of a buffer.
enum Took<K> {
    Nothing,
    Part,
    Frame(K, Meta),
}
