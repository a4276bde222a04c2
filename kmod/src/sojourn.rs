// SPDX-License-Identifier: BSD-2-Clause
//! How long frames wait in an end's queues: a histogram for each queue, of one frame in so
//! many.
//!
//! Taking the time of each frame twice would cost more than its queue does. So one frame
//! of an end at a time is *watched*: who drains asks for one when it has passed on so many;
//! the next sender notes its frame's address and the time; who drains that frame, of
//! whichever queue, counts what has passed. Senders of other frames look at one word,
//! which changes some times in so many frames; who drains looks at it once a burst. Who loses
//! a frame otherwise says so, before it is freed.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use weft_engine::stats::{Declared, EndStat, Histogram, SOJOURN};

use crate::kpi::context::Sleepable;
use crate::kpi::counter::IS_ON;
use crate::kpi::errno::Errno;
use crate::kpi::kernel::Clock;
use crate::kpi::late::Late;
use crate::kpi::memory;
use crate::kpi::sysctl::{Branch, Parent, Subject};
use crate::latency::{self, INDEX_BITS};
use crate::stats::{self, initial};

/// Frames of which one is watched, unless it is set.
const EVERY: u64 = initial(&EndStat::GROUP, EndStat::SojournEvery as usize);
/// Frames after which an end that watches none looks whether it should.
const LOOK: u64 = 4096;

/// Nobody wants a frame.
const IDLE: usize = 0;
/// The next one is wanted.
const WANTED: usize = 1;
/// Its sender notes the time. Anything else is a frame's address.
const NOTING: usize = 2;

/// What an end's senders and those who drain its queues know of the frame that is watched.
pub(crate) struct Sojourn {
    watched: AtomicUsize,
    since: AtomicU64,
    every: AtomicU64,
    clock: Clock,
    /// Of each queue, which whoever drains it counts; made with the first.
    waits: Vec<Late<Histogram>>,
}

impl Sojourn {
    /// For so many queues.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new(queues: usize) -> Result<Self, Errno> {
        let waits = memory::collected(queues, |_| Ok(Late::default()))?;
        Ok(Self {
            watched: AtomicUsize::new(WANTED),
            since: AtomicU64::new(0),
            every: AtomicU64::new(EVERY),
            clock: Clock::new(),
            waits,
        })
    }

    /// One frame in so many is watched; 0: none.
    pub(crate) fn every(&self) -> u64 {
        self.every.load(Ordering::Relaxed)
    }

    /// Changes that.
    pub(crate) fn set_every(&self, every: u64) {
        self.every.store(every, Ordering::Relaxed);
        if every > 0 {
            self.change(IDLE, WANTED);
        } else {
            self.change(WANTED, IDLE);
        }
    }

    #[inline]
    fn change(&self, from: usize, to: usize) -> bool {
        let order = Ordering::Relaxed;
        let changed = self.watched.compare_exchange(from, to, order, order);
        changed.is_ok()
    }

    /// For who is about to submit a frame, and has its address.
    #[inline]
    pub(crate) fn sent(&self, address: usize) {
        if IS_ON && self.watched.load(Ordering::Relaxed) == WANTED {
            self.watch(address);
        }
    }

    #[cold]
    fn watch(&self, address: usize) {
        if self.change(WANTED, NOTING) {
            self.since.store(self.clock.now(), Ordering::Relaxed);
            self.watched.store(address, Ordering::Release);
        }
    }

    /// For who knows that the frame at this address is not in a queue, and will not be. To be
    /// told before the frame is freed.
    #[cold]
    pub(crate) fn gone(&self, address: usize) {
        if self.watched.load(Ordering::Relaxed) == address {
            self.change(address, IDLE);
        }
    }
}

/// Who drains one of the queues.
pub(crate) struct Drainer {
    queue: usize,
    /// Frames until it asks for one.
    left: u64,
}

impl Drainer {
    /// Of the queue of that number.
    pub(crate) const fn of(queue: usize) -> Self {
        Self { queue, left: 0 }
    }

    /// The queue's number.
    pub(crate) fn queue(&self) -> usize {
        self.queue
    }

    /// The address for whose frame to [tell](Drainer::drained), or what is no address.
    #[inline]
    pub(crate) fn watched(&self, sojourn: &Sojourn) -> usize {
        match IS_ON {
            true => sojourn.watched.load(Ordering::Acquire),
            false => IDLE,
        }
    }

    /// The frame that is watched comes out of this queue.
    #[cold]
    pub(crate) fn drained(&self, sojourn: &Sojourn) {
        let since = sojourn.since.load(Ordering::Relaxed);
        let waited = sojourn.clock.now().saturating_sub(since);
        sojourn.watched.store(IDLE, Ordering::Relaxed);
        let place = sojourn.waits.get(self.queue);
        if let Some(waits) = place.and_then(|place| place.get_or_make(memory::histogram)) {
            waits.count(waited);
        }
    }

    /// So many frames came out.
    #[inline]
    pub(crate) fn count(&mut self, sojourn: &Sojourn, frames: u64) {
        match self.left.checked_sub(frames) {
            _ if !IS_ON => (),
            Some(left) => self.left = left,
            None => self.ask(sojourn),
        }
    }

    #[cold]
    fn ask(&mut self, sojourn: &Sojourn) {
        self.left = match sojourn.every() {
            0 => LOOK,
            every => {
                sojourn.change(IDLE, WANTED);
                every.wrapping_sub(1)
            }
        };
    }
}

impl Sojourn {
    /// A queue's number, by what [`add`] put beside its base.
    pub(crate) fn read(&self, index: u32) -> u64 {
        let place = self.waits.get(index as usize >> 8);
        stats::read_histogram(place.and_then(Late::get), index, &SOJOURN)
    }
}

impl Sojourn {
    /// A quantile or a bucket of a queue's, by what [`latency::add`] was told and has added.
    pub(crate) fn latency(&self, index: u32) -> u64 {
        latency::read(self.waits_of(index), index)
    }

    /// All buckets of a queue's, likewise.
    ///
    /// # Errors
    /// As of [`latency::read_row`].
    pub(crate) fn latency_row(
        &self,
        index: u32,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        latency::read_row(self.waits_of(index), sleepable, row)
    }

    fn waits_of(&self, index: u32) -> Option<&Histogram> {
        let place = self.waits.get((index >> INDEX_BITS) as usize);
        place.and_then(Late::get)
    }
}

/// Adds the histogram of a queue to its node, with indices from `base` on.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add<T: Subject>(
    branch: &mut Branch<T>,
    node: Parent,
    base: u32,
    queue: usize,
) -> Result<(), Errno> {
    let base = base | (queue << 8) as u32;
    stats::add_histogram(branch, node, base, &SOJOURN)
}
