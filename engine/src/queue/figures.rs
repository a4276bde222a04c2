// SPDX-License-Identifier: BSD-2-Clause
//! What a queue counts.
//!
//! With the feature `uncounted` nothing is counted but what was lost: to measure what counting
//! costs. Nothing that a queue does goes by these numbers.
//!
//! All but refusals is written by the holder of the ring's role, one at a time, without
//! atomic read-modify-writes, on lines that producers do not touch.
//!
//! What belongs together is counted [together](Counts::together): a number before and a
//! number behind say to readers whether they have met a moment at which nothing was half
//! counted (Lameter, "Effective synchronization on Linux/NUMA systems", 2005, calls it a
//! sequence lock). Readers write nothing, and keep nobody from counting.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::reason::Reason;

/// What a queue has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Items that the sink took.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those of the items that their submitter passed to the sink at once.
    pub through: u64,
    /// Submissions of which anything was taken.
    pub submits: u64,
    /// Times that somebody began to drain.
    pub drains: u64,
    /// Times that somebody went on where another drainer had left work: at the end of
    /// its turn, or at a place that a producer had claimed and not filled yet.
    pub hand_overs: u64,
    /// Times that the backend was full.
    pub pauses: u64,
    /// The most items that were seen in the queue.
    pub most: u64,
    /// Items refused or dropped, in the order of [`Reason::ALL`].
    pub lost: [u64; Reason::ALL.len()],
}

impl Figures {
    /// Items refused or dropped for a reason.
    pub fn lost_for(&self, reason: Reason) -> u64 {
        self.lost.get(reason as usize).copied().unwrap_or(0)
    }
}

/// Whether anything is counted.
const IS_ON: bool = cfg!(not(feature = "uncounted"));

/// A number that one thread at a time adds to, and any may read.
pub(super) struct Count(AtomicU64);

impl Count {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// For the holder of the role.
    #[inline]
    pub(super) fn add(&self, more: u64) {
        if IS_ON {
            self.0
                .store(self.get().wrapping_add(more), Ordering::Relaxed);
        }
    }

    /// For the holder of the role.
    #[inline]
    pub(super) fn raise(&self, to: u64) {
        if IS_ON && to > self.get() {
            self.0.store(to, Ordering::Relaxed);
        }
    }

    #[inline]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a reader looks for a moment at which nothing is half counted.
const TRIES: u32 = 100;

/// What the holder of the role counts.
#[repr(align(128))]
pub(super) struct Counts {
    /// Odd while the others are being counted together.
    era: Count,
    /// Items that came alone and passed by the ring: each a drain and a submission, too.
    pub(super) singles: Count,
    /// The others, as below.
    pub(super) packets: Count,
    pub(super) bytes: Count,
    pub(super) through: Count,
    pub(super) submits: Count,
    pub(super) drains: Count,
    pub(super) hand_overs: Count,
    pub(super) pauses: Count,
    pub(super) most: Count,
    pub(super) late: Count,
}

/// What anyone counts, who has lost something anyway.
#[repr(align(128))]
pub(super) struct Refusals([AtomicU64; Reason::ALL.len()]);

impl Refusals {
    pub(super) fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    #[cold]
    pub(super) fn add(&self, reason: Reason, items: usize) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(items as u64, Ordering::Relaxed);
        }
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            era: Count::new(),
            singles: Count::new(),
            packets: Count::new(),
            bytes: Count::new(),
            through: Count::new(),
            submits: Count::new(),
            drains: Count::new(),
            hand_overs: Count::new(),
            pauses: Count::new(),
            most: Count::new(),
            late: Count::new(),
        }
    }

    /// Counts what belongs together: readers of all numbers see either all of it or nothing.
    /// For the holder of the role.
    #[inline(always)]
    pub(super) fn together<R>(&self, count: impl FnOnce() -> R) -> R {
        if !IS_ON {
            return count();
        }
        self.era.add(1);
        fence(Ordering::Release);
        let counted = count();
        let next = self.era.get().wrapping_add(1);
        self.era.0.store(next, Ordering::Release);
        counted
    }

    /// Reads what is counted together at a moment at which nothing is half counted, and
    /// during which nothing was. `None` if there was none for some tries.
    pub(super) fn at_a_moment<R>(&self, mut read: impl FnMut() -> R) -> Option<R> {
        for _ in 0..TRIES {
            let before = self.era.0.load(Ordering::Acquire);
            let value = read();
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.era.get() == before {
                return Some(value);
            }
            core::hint::spin_loop();
        }
        None
    }

    /// What came of all so far. Each number by itself is true of some moment.
    pub(super) fn figures(&self, refusals: &Refusals) -> Figures {
        let mut lost = refusals
            .0
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        if let Some(late) = lost.get_mut(Reason::Sojourn as usize) {
            *late = self.late.get();
        }
        let singles = self.singles.get();
        Figures {
            packets: self.packets.get().wrapping_add(singles),
            bytes: self.bytes.get(),
            through: self.through.get().wrapping_add(singles),
            submits: self.submits.get().wrapping_add(singles),
            drains: self.drains.get().wrapping_add(singles),
            hand_overs: self.hand_overs.get(),
            pauses: self.pauses.get(),
            most: self.most.get().max(u64::from(singles > 0)),
            lost,
        }
    }
}
