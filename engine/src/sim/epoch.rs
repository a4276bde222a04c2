// SPDX-License-Identifier: BSD-2-Clause
//! Grace periods on the host, by crossbeam-epoch's default collector. It stands
//! for the kernel's network epoch: one for all tables, entered by each reader.

use crate::fib::{Grace, Memory, Period, Trie4};
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
        guard.defer(move || {
            let _live = period.elapsed();
        });
        guard.flush();
    }
}

/// Waits until no node of the table waits for readers. The caller is in no read
/// section, or this never ends.
pub fn settle<M: Memory>(table: &mut Trie4<M, HostEpoch>) {
    table.reclaim();
    while table.figures().pending != 0 {
        pin().flush();
        std::thread::yield_now();
        table.reclaim();
    }
}
