// SPDX-License-Identifier: BSD-2-Clause
//! Grace periods, numbered, for all who have something to wait for.
//!
//! Whoever takes something out of the readers' sight asks for a [time](Clock::time),
//! and later, when it wants to use it again, whether that time
//! [has come](Clock::has_come). One period runs at once, however many wait; when
//! nobody asks, none does.

use super::super::grace::{ELAPSED, IDLE, RUNNING};
use super::super::grace::{Grace, Lock, Memory, Period};
use core::alloc::Layout;
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

/// A time in the future: when every lookup of the moment in which it was asked for
/// has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

/// Counts grace periods. To be dropped when none [runs](Clock::runs).
///
/// # Invariants
///
/// `state` is a block of `memory`. `begun` is touched with `lock` held; it is how
/// many periods were started, of which all but the last have ended, and the last as
/// well unless `state` says RUNNING.
pub struct Clock<M: Memory, G: Grace, L: Lock> {
    lock: L,
    /// Dropped with the clock, or never: a period that still runs may use it.
    grace: ManuallyDrop<G>,
    memory: M,
    state: NonNull<AtomicU8>,
    begun: Cell<u64>,
}

// SAFETY: the cell is touched with the lock held; the state is atomic.
unsafe impl<M: Memory + Send, G: Grace + Send, L: Lock + Send> Send for Clock<M, G, L> {}
// SAFETY: as above; `grace` is used with the lock held.
unsafe impl<M: Memory + Sync, G: Grace + Send, L: Lock + Sync> Sync for Clock<M, G, L> {}

impl<M: Memory, G: Grace, L: Lock> Clock<M, G, L> {
    /// A clock that stands still. `None` if there is no memory.
    pub fn new(memory: M, grace: G, lock: L) -> Option<Self> {
        let state = memory.allocate(Layout::new::<AtomicU8>())?.cast();
        // SAFETY: a fresh block of this layout.
        unsafe { state.write(AtomicU8::new(IDLE)) };
        Some(Self {
            lock,
            grace: ManuallyDrop::new(grace),
            memory,
            state,
            begun: Cell::new(0),
        })
    }

    /// The time when all lookups that run now have ended. What they should not find
    /// has been taken out of their sight before this is called. Does not sleep.
    pub fn time(&self) -> Time {
        self.lock.with(|| {
            if self.running() {
                // It may have begun before the caller's stores.
                return Time(self.begun.get().wrapping_add(1));
            }
            self.begin();
            Time(self.begun.get())
        })
    }

    /// Whether that time has come. Does not sleep; once asked, a time does come.
    pub fn has_come(&self, time: Time) -> bool {
        self.lock.with(|| {
            let running = self.running();
            let ended = self.begun.get().wrapping_sub(u64::from(running));
            if ended >= time.0 {
                return true;
            }
            if !running {
                self.begin();
            }
            false
        })
    }

    /// Whether a period runs.
    pub fn runs(&self) -> bool {
        self.lock.with(|| self.running())
    }

    /// The lock is held.
    fn running(&self) -> bool {
        // SAFETY: a block of this clock.
        let state = unsafe { self.state.as_ref() };
        match state.load(Ordering::Acquire) {
            RUNNING => true,
            ELAPSED => {
                state.store(IDLE, Ordering::Relaxed);
                false
            }
            _ => false,
        }
    }

    /// Starts a period; none runs, and the lock is held.
    fn begin(&self) {
        // SAFETY: a block of this clock.
        unsafe { self.state.as_ref() }.store(RUNNING, Ordering::Relaxed);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.grace.start(Period::of(self.state));
    }
}

impl<M: Memory, G: Grace, L: Lock> Drop for Clock<M, G, L> {
    /// While a period runs nothing of it is given back: a leak, rather than a store
    /// to memory that is someone else's by then.
    fn drop(&mut self) {
        if !self.running() {
            let layout = Layout::new::<AtomicU8>();
            // SAFETY: from `new`, with this layout; no period refers to it or to what
            // made it, and the clock is used for the last time.
            unsafe {
                self.memory.free(self.state.cast(), layout);
                ManuallyDrop::drop(&mut self.grace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rehearsal::Sections;
    use super::*;
    use crate::sim::memory::HostMemory;
    use std::sync::Mutex;

    #[test]
    fn a_time_comes_when_the_sections_before_it_have_ended() {
        let memory = HostMemory::default();
        let sections = Sections::default();
        let clock = Clock::new(memory.clone(), sections.clone(), Mutex::new(())).unwrap();
        let early = sections.enter();
        let first = clock.time();
        let late = sections.enter();
        let second = clock.time();
        assert!(first < second && clock.runs());
        assert!(!clock.has_come(first));
        sections.leave(early);
        assert!(clock.has_come(first));
        // The second's period begins only now; `late` is older than that.
        assert!(!clock.has_come(second));
        sections.leave(late);
        assert!(clock.has_come(second));
        assert!(!clock.runs());
        drop(clock);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn without_memory_there_is_no_clock() {
        let memory = HostMemory::default();
        memory.fail_after(1);
        assert!(Clock::new(memory.clone(), Sections::default(), Mutex::new(())).is_none());
        assert_eq!(memory.bytes(), 0);
    }
}
