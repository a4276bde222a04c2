// SPDX-License-Identifier: BSD-2-Clause
//! A lock that may be held while its holder sleeps.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use super::context::Sleepable;
use super::kernel;

/// A value that one thread at a time may reach, which may sleep meanwhile. For what
/// happens seldom: those who wait look again each millisecond.
pub(crate) struct Slept<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: one thread at a time.
unsafe impl<T: Send> Sync for Slept<T> {}

impl<T> Slept<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `inside` as the only one. Not called from within itself.
    pub(crate) fn with<R>(
        &self,
        sleepable: &mut Sleepable,
        inside: impl FnOnce(&mut Sleepable, &mut T) -> R,
    ) -> R {
        while self.taken.swap(true, Ordering::Acquire) {
            kernel::pause_ms(sleepable, 1);
        }
        // SAFETY: taken above, and given back below.
        let result = inside(sleepable, unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        result
    }
}
