// SPDX-License-Identifier: BSD-2-Clause
//! How long a card takes for a frame, from when its queue is given it until it is seen to be
//! done with it: of one frame in so many.

use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::stats::{COMPLETION, CardSetting, Declared, Histogram};

use crate::kpi::late::Late;
use crate::kpi::memory;
use crate::latency;
use crate::stats::{self, initial};

/// Frames of which one is timed, unless it is set.
const EVERY: u64 = initial(&CardSetting::GROUP, CardSetting::CompletionEvery as usize);

/// What is timed of one queue.
pub(super) struct Completions {
    every: AtomicU64,
    /// Made with the first.
    times: Late<Histogram>,
}

impl Completions {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            every: AtomicU64::new(EVERY),
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
    }

    /// A frame took so long. By who has the card's queue. Does not sleep.
    #[cold]
    #[expect(dead_code, reason = "the card's queue does not time frames yet")]
    pub(super) fn count(&self, ns: u64) {
        if let Some(times) = self.times.get_or_make(memory::histogram) {
            times.count(ns);
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
}
