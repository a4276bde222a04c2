// SPDX-License-Identifier: BSD-2-Clause
//! A value behind a mutex(9), for what is done without sleeping.

use core::cell::UnsafeCell;
use core::ffi::CStr;

use weft_engine::fib::Lock as _;

use super::errno::Errno;
use super::lock::Mtx;

/// A value that one thread at a time may reach, which does not sleep meanwhile.
pub(crate) struct Locked<T> {
    lock: Mtx,
    value: UnsafeCell<T>,
}

// SAFETY: one thread at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// The value, behind a lock that witness(4) calls by that name.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new(name: &'static CStr, value: T) -> Result<Self, Errno> {
        Ok(Self {
            lock: Mtx::new(name)?,
            value: UnsafeCell::new(value),
        })
    }

    /// Runs `inside` as the only one. Not called from within itself.
    #[inline]
    pub(crate) fn with<R>(&self, inside: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: locked.
        self.lock.with(|| inside(unsafe { &mut *self.value.get() }))
    }
}
