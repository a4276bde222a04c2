// SPDX-License-Identifier: BSD-2-Clause
//! What has happened to the table of a FIB since the module began to serve it: kept
//! across the instances that follow one another.

use alloc::boxed::Box;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weft_engine::stats::Histogram;

use crate::kpi::errno::Errno;
use crate::kpi::kernel::Moment;
use crate::kpi::late::Late;
use crate::kpi::memory::{self, try_box};

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
    /// How long each took, in nanoseconds; made with the first.
    pub(super) times: Late<Histogram>,
}

impl Record {
    /// Counts a change that began then and was taken; returns how long it took.
    pub(super) fn note_change(&self, began: Moment) -> u64 {
        let ns = began.elapsed_ns();
        if let Some(times) = self.times.get_or_make(memory::histogram) {
            times.count(ns);
        }
        add(&self.changes, 1);
        add(&self.changes_ns, ns);
        ns
    }

    pub(super) fn note_failure(&self) {
        add(&self.failures, 1);
    }

    pub(super) fn note_build(&self) {
        add(&self.builds, 1);
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
