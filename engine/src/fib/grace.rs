// SPDX-License-Identifier: BSD-2-Clause
//! What route tables need of their platform: memory, grace periods and a lock.

use super::sync::{AtomicU8, Ordering};
use core::alloc::Layout;
use core::ptr::NonNull;

/// Mutual exclusion of the writers of several tables that share a store. Readers
/// never take it. Held for short times, without sleeping, and perhaps inside the
/// net epoch and under other locks: in the kernel an mtx(9), on the host a
/// `std::sync::Mutex`.
///
/// # Safety
///
/// Of two calls of [`with`](Lock::with) on one lock, one ends before the other
/// begins, and what the earlier one stored, the later one sees.
pub unsafe trait Lock {
    /// Runs `inside` with the lock held. Not called from within itself.
    fn with<R>(&self, inside: impl FnOnce() -> R) -> R;
}

// SAFETY: a mutex is held until its guard is dropped. One that is poisoned still
// excludes.
#[cfg(feature = "std")]
unsafe impl Lock for std::sync::Mutex<()> {
    fn with<R>(&self, inside: impl FnOnce() -> R) -> R {
        let _held = self.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        inside()
    }
}

/// Where a table gets its memory. Called by writers only, in a writer's
/// context: in the kernel under a lock and inside the net epoch, so an
/// implementation there must not sleep.
///
/// # Safety
///
/// A block that [`allocate`](Memory::allocate) returns fits the layout, is no
/// one else's, and stays so until it is given to [`free`](Memory::free).
pub unsafe trait Memory {
    /// A block of that layout (its size is never 0), or `None` if there is none now.
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from `allocate` of this very allocator with this layout, is
    /// given back once, and is not used afterwards.
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout);
}

/// How a store of tables learns that every lookup of some moment is over.
///
/// # Safety
///
/// - A `Section` exists only while its thread is in a read section, and
///   [`Period::elapsed`] is not called before every section that existed when
///   [`start`](Grace::start) was called has ended.
/// - A section for which the period did not wait sees all stores that were made
///   before the call of `start`.
///
/// `NET_EPOCH_CALL` of epoch(9) gives both.
pub unsafe trait Grace {
    /// Proof that the thread is in a read section. In the kernel it is the net
    /// epoch's token.
    type Section<'s>;

    /// Starts a grace period: have `period.elapsed()` called once, from any
    /// thread, after all sections that exist now have ended. May be called
    /// inside a section, so it must not wait. A store has at most one period running.
    fn start(&self, period: Period);
}

/// A grace period that a store waits for.
#[must_use = "a store reuses nothing until its period is told to have elapsed"]
#[derive(Debug)]
pub struct Period {
    /// The state byte of the store that waits.
    state: NonNull<AtomicU8>,
}

// SAFETY: the only thing a period does is one atomic operation on a byte that
// stays allocated until it has done so (see the drop of `Store`).
unsafe impl Send for Period {}

/// No period runs.
pub(super) const IDLE: u8 = 0;
/// A period was started and has not elapsed.
pub(super) const RUNNING: u8 = 1;
/// The period has elapsed; the writer has not taken the batch back yet.
pub(super) const ELAPSED: u8 = 2;

impl Period {
    /// A period of the store whose state byte this is.
    pub(super) fn of(state: NonNull<AtomicU8>) -> Self {
        Self { state }
    }

    /// Tells the store that the lookups it waits for are over. One atomic store; any
    /// thread, any context. Nothing of the store is touched afterwards.
    pub fn elapsed(self) {
        // SAFETY: the byte is not given back while it is RUNNING, and only this call,
        // once a period, ends that.
        unsafe { self.state.as_ref() }.store(ELAPSED, Ordering::Release);
    }

    /// The period as a pointer, for a callback that C carries.
    pub fn into_raw(self) -> NonNull<()> {
        self.state.cast()
    }

    /// The period that a pointer stands for.
    ///
    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Period::into_raw) and is turned back once.
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self { state: raw.cast() }
    }
}
