// SPDX-License-Identifier: BSD-2-Clause
//! Grace periods on the host, by crossbeam-epoch's default collector. It stands
//! for the kernel's network epoch: one for all tables, entered by each reader.

use crate::fib::{Grace, Period};
use crossbeam_epoch::{Guard, pin};

/// Grace periods of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostEpoch;

/// The thread is in a read section. Short, please: it holds up all memory that
/// tables want back.
#[derive(Debug)]
pub struct Section {
    _pinned: Guard,
}

impl Section {
    /// Enters a read section, until the result is dropped.
    pub fn enter() -> Self {
        Self { _pinned: pin() }
    }
}

// SAFETY: a `Section` holds a guard of the default collector, and what is
// deferred by one guard of a collector runs after all its guards of that time
// are gone, with the fences that take.
unsafe impl Grace for HostEpoch {
    type Section<'s> = Section;

    fn start(&self, period: Period) {
        let guard = pin();
        guard.defer(move || period.elapsed());
        guard.flush();
    }
}
