// SPDX-License-Identifier: BSD-2-Clause
//! How long a card takes for a frame, from when its queue is given it until it is seen to be
//! done with it: of one frame in so many.

use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::stats::{COMPLETION, CardSetting, Declared, Histogram};

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::kernel::Clock;
use crate::kpi::late::Late;
use crate::kpi::memory;
use crate::latency;
use crate::stats::{self, initial};

/// Frames of which one is timed, unless it is set.
const EVERY: u64 = initial(&CardSetting::GROUP, CardSetting::CompletionEvery as usize);

/// What is timed of one queue.
pub(super) struct Completions {
    every: AtomicU64,
    /// Frames until one is timed, that one included; 0 if none is. Written with the card's
    /// queue's mutex held, but for when it is set.
    left: AtomicU64,
    clock: Clock,
    /// Made with the first.
    times: Late<Histogram>,
}

impl Completions {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            every: AtomicU64::new(EVERY),
            left: AtomicU64::new(EVERY),
            clock: Clock::new(),
            times: Late::default(),
        }
    }

    /// One frame in so many is timed; 0: none.
    #[inline]
    pub(super) fn every(&self) -> u64 {
        self.every.load(Ordering::Relaxed)
    }

    /// Changes that.
    pub(super) fn set_every(&self, every: u64) {
        self.every.store(every, Ordering::Relaxed);
        self.left.store(every, Ordering::Relaxed);
    }

    /// Whether a frame that was sent is one to be timed. By who has the card's queue.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return false;
        }
        self.left.store(left.wrapping_sub(1), Ordering::Relaxed);
        left == 1
    }

    /// When that begins; `None` if it was turned off meanwhile.
    #[cold]
    pub(super) fn begin(&self) -> Option<u64> {
        let every = self.every();
        self.left.store(every, Ordering::Relaxed);
        (every > 0).then(|| self.clock.now())
    }

    /// A frame that was timed is done. By who has the card's queue. Does not sleep.
    #[cold]
    pub(super) fn end(&self, since: u64) {
        if let Some(times) = self.times.get_or_make(memory::histogram) {
            times.count(self.clock.now().saturating_sub(since));
        }
    }

    /// A number of the histogram for readers of metrics.
    pub(super) fn read(&self, index: u32) -> u64 {
        stats::read_histogram(self.times.get(), index, &COMPLETION)
    }

    /// A quantile or a bucket.
    pub(super) fn latency(&self, index: u32) -> u64 {
        latency::read(self.times.get(), index)
    }

    /// All buckets.
    ///
    /// # Errors
    /// As of [`latency::read_row`].
    pub(super) fn latency_row(
        &self,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        latency::read_row(self.times.get(), sleepable, row)
    }
}
