// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue of a device, whichever it is: frames are mapped and put, the doorbell rings
//! once a burst, and each frame comes back once. Called by one thread at a time, which may not
//! sleep.
//!
//! A frame that is in too many pieces is linearized; one that can't be is given back, with the
//! reason counted. What the device has when it is stopped or reset is freed and counted as lost.
//!
//! [`tick`](Transmitter::tick) notices a device that has had frames for long and is done with
//! none.

use super::driver::{Limits, TxRing};
use super::offload::{Offload, Task};
use super::platform::{Frame, MapError, Platform, Segments};
use super::slots::{Slots, Turns};

/// Ticks without a frame being done, while there are some, after which a queue is stuck.
const PATIENCE: u8 = 5;

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The device does not go.
    Stopped,
    /// There is no room until some frames are done.
    Full,
    /// There is no memory to map or linearize it, now.
    NoMemory,
    /// It can't be brought into a form that the device takes.
    Unfit,
}

/// A frame that is not taken, and why.
#[derive(Debug)]
pub struct Refused<F> {
    /// The frame.
    pub frame: F,
    /// Why.
    pub why: Why,
}

/// What a queue has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxFigures {
    /// Frames that the device was given.
    pub frames: u64,
    /// Their bytes, before segments were cut.
    pub bytes: u64,
    /// Frames that the device is done with.
    pub done: u64,
    /// Frames that a reset or stop took from the device.
    pub lost: u64,
    /// Frames that had to be copied into fewer pieces.
    pub linearized: u64,
    /// Frames for which there was no room.
    pub full: u64,
    /// Frames given back for want of memory.
    pub no_memory: u64,
    /// Frames given back since no device could take them so.
    pub unfit: u64,
    /// Doorbells.
    pub kicks: u64,
    /// Completions that no frame belonged to.
    pub bogus: u64,
    /// Times that the device was found stuck.
    pub hangs: u64,
}

/// A frame whose way through the device is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// None.
    Nothing,
    /// It is with the device since then.
    Out(u64),
    /// The device is done with it.
    Done(u64),
}

/// No token that there could be.
const NO_TOKEN: u32 = u32::MAX;

/// A queue while the device goes.
#[derive(Debug)]
struct Running<T, F> {
    ring: T,
    frames: Slots<F>,
    turns: Turns,
    /// The last frame that was put, and one that is watched.
    last: u16,
    watched: u32,
    /// Frames in flight above which they are reaped when others are put.
    high: u16,
}

/// A transmit queue.
#[derive(Debug)]
pub struct Transmitter<P: Platform, T: TxRing> {
    running: Option<Running<T, P::Frame>>,
    segments: Segments,
    figures: TxFigures,
    is_kick_due: bool,
    is_broken: bool,
    /// `figures.done` at the last tick, and how many ticks ago it was less.
    done_then: u64,
    stalled: u8,
    watch: Watch,
    /// Room that a frame of any kind takes; while the queue is held, more than there ever is.
    needed: u16,
}

/// What a frame needs of a queue that is held.
const HELD: u16 = u16::MAX;

impl<P: Platform, T: TxRing> Transmitter<P, T> {
    /// A queue that is stopped, of a device with these limits.
    pub fn new(limits: &Limits) -> Self {
        let segments = Segments::new(limits);
        Self {
            running: None,
            needed: segments.limit(),
            segments,
            figures: TxFigures::default(),
            is_kick_due: false,
            is_broken: false,
            done_then: 0,
            stalled: 0,
            watch: Watch::Nothing,
        }
    }

    /// Takes a device's queue that is fresh. False if there is no memory.
    pub fn start(&mut self, ring: T) -> bool {
        self.stop();
        let tokens = ring.tokens();
        let turns = if T::IS_IN_ORDER { tokens } else { 0 };
        let (Some(frames), Some(turns)) = (Slots::new(tokens), Turns::new(turns)) else {
            return false;
        };
        self.running = Some(Running {
            ring,
            frames,
            turns,
            last: 0,
            watched: NO_TOKEN,
            high: tokens >> 2,
        });
        true
    }

    /// Forgets the device's queue, which the device does not touch any more. What the device
    /// is done with counts as done, the rest is lost: how many frames that is.
    pub fn stop(&mut self) -> u32 {
        if !self.is_broken {
            self.reap(u32::MAX);
        }
        self.is_kick_due = false;
        self.is_broken = false;
        self.stalled = 0;
        self.watch = Watch::Nothing;
        let Some(running) = self.running.take() else {
            return 0;
        };
        let lost = running.frames.used();
        self.figures.lost = self.figures.lost.wrapping_add(lost.into());
        lost.into()
    }

    /// Whether the device goes.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether there may be no room for a frame, after what is done has been reaped. Asked
    /// before a frame is made, it saves mapping one in vain.
    #[inline]
    pub fn is_full(&mut self) -> bool {
        if !self.lacks_room() {
            return false;
        }
        self.reap(u32::MAX);
        self.lacks_room()
    }

    #[inline]
    fn lacks_room(&self) -> bool {
        match &self.running {
            Some(running) => running.ring.room() < self.needed,
            None => self.needed == HELD,
        }
    }

    /// Has the queue say that it [is full](Transmitter::is_full), whether the device goes or
    /// not, so that frames wait while it is stopped and started; or ends that.
    pub fn hold(&mut self, is_held: bool) {
        self.needed = match is_held {
            true => HELD,
            false => self.segments.limit(),
        };
    }

    /// Gives the device a frame, which it need not see before [`kick`](Transmitter::kick).
    ///
    /// # Errors
    /// The frame, and why.
    #[inline]
    pub fn send(
        &mut self,
        mut frame: P::Frame,
        offload: &Offload,
    ) -> Result<(), Refused<P::Frame>> {
        if self.in_flight() > self.running.as_ref().map_or(0, |running| running.high) {
            self.reap(32);
        }
        let bytes = frame.bytes();
        let is_cut = offload.task == Task::Segment;
        let mapped = self.map(&mut frame, is_cut);
        match mapped.and_then(|()| self.put(offload)) {
            Err(why) => Err(self.refuse(frame, why, is_cut)),
            Ok(token) => {
                self.keep(token, frame);
                self.is_kick_due = true;
                self.figures.frames = self.figures.frames.wrapping_add(1);
                self.figures.bytes = self.figures.bytes.wrapping_add(bytes.into());
                Ok(())
            }
        }
    }

    /// Keeps a frame until the device is done with it.
    #[inline]
    fn keep(&mut self, token: u16, frame: P::Frame) {
        let Some(running) = &mut self.running else {
            return;
        };
        if T::IS_IN_ORDER {
            running.turns.put(token, running.frames.used() == 0);
        }
        running.last = token;
        if running.frames.put(token, frame).is_err() {
            self.given_twice();
        }
    }

    /// Watches the frame that was sent last, since that time, unless another one is watched; and
    /// asks for an interrupt when the device is done, so that it is seen soon.
    #[cold]
    pub fn watch(&mut self, now: u64) {
        if let Some(running) = &mut self.running
            && !matches!(self.watch, Watch::Out(_))
        {
            running.watched = running.last.into();
            self.watch = Watch::Out(now);
            // What is done already is reaped with the rest.
            running.ring.arm();
        }
    }

    /// Since when a frame was watched with which the device is done. Says so once.
    #[inline]
    pub fn watched(&mut self) -> Option<u64> {
        let Watch::Done(since) = self.watch else {
            return None;
        };
        self.watch = Watch::Nothing;
        Some(since)
    }

    /// The driver has given a token twice. The device is told nothing more, and keeps the
    /// memory of the first frame until the reset that follows; the second is lost.
    #[cold]
    fn given_twice(&mut self) {
        self.is_broken = true;
        self.figures.lost = self.figures.lost.wrapping_add(1);
        self.figures.bogus = self.figures.bogus.wrapping_add(1);
    }

    /// A long segment that it can't be given may do in parts, so the caller counts it.
    #[cold]
    fn refuse(&mut self, frame: P::Frame, why: Why, is_cut: bool) -> Refused<P::Frame> {
        let figure = match why {
            Why::Stopped => return Refused { frame, why },
            Why::NoMemory | Why::Unfit if is_cut => return Refused { frame, why },
            Why::Full => &mut self.figures.full,
            Why::NoMemory => &mut self.figures.no_memory,
            Why::Unfit => &mut self.figures.unfit,
        };
        *figure = figure.wrapping_add(1);
        Refused { frame, why }
    }

    /// Maps a frame into `segments`, in fewer pieces if there are too many.
    #[inline]
    fn map(&mut self, frame: &mut P::Frame, is_cut: bool) -> Result<(), Why> {
        if self.running.is_none() {
            return Err(Why::Stopped);
        }
        let most = if is_cut { u16::MAX } else { T::PLAIN_SEGMENTS };
        self.segments.restart(most);
        match frame.map(&mut self.segments) {
            Ok(()) => Ok(()),
            Err(error) => self.map_again(frame, error),
        }
    }

    #[cold]
    fn map_again(&mut self, frame: &mut P::Frame, error: MapError) -> Result<(), Why> {
        let why = |error| match error {
            MapError::NoMemory => Why::NoMemory,
            MapError::TooMany | MapError::Unfit => Why::Unfit,
        };
        if error != MapError::TooMany {
            return Err(why(error));
        }
        frame.linearize(self.segments.most()).map_err(why)?;
        self.figures.linearized = self.figures.linearized.wrapping_add(1);
        self.segments.clear();
        frame.map(&mut self.segments).map_err(why)
    }

    /// Describes a frame that is mapped to the device, if need be after what is done has been
    /// reaped: its token.
    #[inline]
    fn put(&mut self, offload: &Offload) -> Result<u16, Why> {
        let running = self.running.as_mut().ok_or(Why::Stopped)?;
        let segments = self.segments.as_slice();
        if segments.is_empty() {
            return Err(Why::Unfit);
        }
        // What it says of its room may be as wrong: frames wait until the reset.
        if self.is_broken {
            return Err(Why::Full);
        }
        match running.ring.put(segments, offload) {
            Ok(token) => Ok(token),
            Err(_) => self.put_again(offload),
        }
    }

    #[cold]
    #[inline(never)]
    fn put_again(&mut self, offload: &Offload) -> Result<u16, Why> {
        if self.reap(u32::MAX) == 0 || self.is_broken {
            return Err(Why::Full);
        }
        let running = self.running.as_mut().ok_or(Why::Stopped)?;
        let put = running.ring.put(self.segments.as_slice(), offload);
        put.map_err(|_| Why::Full)
    }

    /// Tells the device of what was sent, if anything was.
    #[inline]
    pub fn kick(&mut self) {
        if let Some(running) = &mut self.running
            && self.is_kick_due
            && !self.is_broken
        {
            running.ring.kick();
            self.figures.kicks = self.figures.kicks.wrapping_add(1);
            self.is_kick_due = false;
        }
    }

    /// Frees frames that the device is done with, so many at most. How many these were.
    #[inline]
    pub fn reap(&mut self, most: u32) -> u32 {
        let Some(running) = &mut self.running else {
            return 0;
        };
        let mut count = 0_u32;
        while count < most && !self.is_broken && running.frames.used() > 0 {
            let Some(token) = running.ring.reap() else {
                break;
            };
            let is_turn = !T::IS_IN_ORDER || running.turns.take(token);
            match running.frames.take(token) {
                Some(frame) if is_turn => {
                    if running.watched == u32::from(token) {
                        running.watched = NO_TOKEN;
                        if let Watch::Out(since) = self.watch {
                            self.watch = Watch::Done(since);
                        }
                    }
                    drop(frame);
                }
                out_of_turn => {
                    // The device may be reading it: it is kept until the reset.
                    if let Some(frame) = out_of_turn {
                        let _same_place = running.frames.put(token, frame);
                    }
                    self.figures.bogus = self.figures.bogus.wrapping_add(1);
                    self.is_broken = true;
                    break;
                }
            }
            count = count.wrapping_add(1);
        }
        self.figures.done = self.figures.done.wrapping_add(count.into());
        count
    }

    /// Asks for an interrupt when frames are done. True if some are already: reap, and ask
    /// again.
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

    /// Frames that the device has.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        self.running
            .as_ref()
            .map_or(0, |running| running.frames.used())
    }

    /// To be called once a second. False if the device must be reset: it has had frames for
    /// five ticks and is done with none, or has said nonsense. A device whose link is down may
    /// keep frames.
    pub fn tick(&mut self, link_is_up: bool) -> bool {
        self.kick();
        self.reap(u32::MAX);
        let has_moved = self.figures.done != self.done_then;
        self.done_then = self.figures.done;
        if has_moved || !link_is_up || self.in_flight() == 0 {
            self.stalled = 0;
        } else {
            self.stalled = self.stalled.saturating_add(1);
        }
        if self.stalled >= PATIENCE {
            self.figures.hangs = self.figures.hangs.wrapping_add(1);
            self.stalled = 0;
            self.is_broken = true;
        }
        !self.is_broken
    }

    /// What was counted.
    pub fn figures(&self) -> TxFigures {
        self.figures
    }
}

impl<P: Platform, T: TxRing> Drop for Transmitter<P, T> {
    fn drop(&mut self) {
        self.stop();
    }
}
