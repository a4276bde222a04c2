// SPDX-License-Identifier: BSD-2-Clause
//! What has happened to the table of a FIB since the module began to serve it: kept
//! across the instances that follow one another.

use alloc::boxed::Box;
use core::array;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::kpi::errno::Errno;
use crate::kpi::kernel::Moment;
use crate::kpi::memory::try_box;

/// The shortest time that is told from shorter ones: 2 to the power of this, in
/// nanoseconds.
const SHORTEST: u32 = 10;
/// Limits of times, each twice the one before: 1.024 us to 33.6 ms.
pub(crate) const LIMITS: usize = 16;

/// The `n`-th limit, in nanoseconds.
pub(crate) const fn limit_ns(n: usize) -> u64 {
    1 << (SHORTEST as usize + n)
}

/// Counts, each of which only grows.
#[derive(Default)]
pub(super) struct Record {
    holders: AtomicU32,
    /// Times that the table was made anew, the first time included.
    pub(super) builds: AtomicU64,
    /// Changes and builds that failed.
    pub(super) failures: AtomicU64,
    /// Changes that were taken.
    pub(super) changes: AtomicU64,
    /// How long these took together, in nanoseconds.
    pub(super) changes_ns: AtomicU64,
    /// Changes by the first limit that they were within; the rest at the end.
    within: [AtomicU64; LIMITS + 1],
}

impl Record {
    /// Counts a change that began then and was taken.
    pub(super) fn note_change(&self, began: Moment) {
        let ns = began.elapsed_ns();
        let above = ns
            .saturating_sub(1)
            .checked_ilog2()
            .map_or(0, |log| log + 1);
        let place = (above.saturating_sub(SHORTEST) as usize).min(LIMITS);
        if let Some(within) = self.within.get(place) {
            add(within, 1);
        }
        add(&self.changes, 1);
        add(&self.changes_ns, ns);
    }

    pub(super) fn note_failure(&self) {
        add(&self.failures, 1);
    }

    pub(super) fn note_build(&self) {
        add(&self.builds, 1);
    }

    /// Changes that took no longer than the limit of that number; all, if there is no
    /// such limit.
    pub(super) fn changes_within(&self, limit: usize) -> u64 {
        let counts = self.within.iter().take(limit.saturating_add(1));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// The route table's lock is held, so nobody else adds at the same time.
fn add(count: &AtomicU64, more: u64) {
    let sum = count.load(Ordering::Relaxed).wrapping_add(more);
    count.store(sum, Ordering::Relaxed);
}

/// A hold on a record, which goes with its last one.
pub(super) struct Kept(NonNull<Record>);

// SAFETY: a record is atomics.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    /// A new record.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self, Errno> {
        let record = Record {
            holders: AtomicU32::new(1),
            within: array::from_fn(|_| AtomicU64::new(0)),
            ..Record::default()
        };
        let record = try_box(record).map_err(|_| Errno::ENOMEM)?;
        Ok(Self(NonNull::from(Box::leak(record))))
    }

    /// A further hold on it.
    pub(super) fn again(&self) -> Self {
        self.holders.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Deref for Kept {
    type Target = Record;

    fn deref(&self) -> &Record {
        // SAFETY: it is there as long as it has a holder.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: leaked by `new`, and this was the last hold.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}
