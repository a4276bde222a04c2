// SPDX-License-Identifier: BSD-2-Clause
//! Something that is made when it is first needed.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::errno::Errno;

/// A place for a value. Once there, it stays as long as the place does.
pub(crate) struct Late<T> {
    value: AtomicPtr<T>,
}

// SAFETY: whoever has the place may drop the value, and all that can reach it share it.
unsafe impl<T: Send + Sync> Send for Late<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Late<T> {}

impl<T> Default for Late<T> {
    fn default() -> Self {
        let value = AtomicPtr::new(ptr::null_mut());
        Self { value }
    }
}

impl<T: Send + Sync> Late<T> {
    /// The value, if it was needed already.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: from `Box::into_raw` in `get_or_make`; freed with this place only.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }

    /// The value, made now if it is not there; `None` if there is no memory for it. Does not
    /// sleep unless `make` does.
    #[inline]
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Result<Box<T>, Errno>) -> Option<&T> {
        match self.get() {
            Some(value) => Some(value),
            None => self.put(make().ok()?),
        }
    }

    #[cold]
    fn put(&self, value: Box<T>) -> Option<&T> {
        let raw = Box::into_raw(value);
        let (none, order) = (ptr::null_mut(), Ordering::AcqRel);
        let put = self
            .value
            .compare_exchange(none, raw, order, Ordering::Relaxed);
        if put.is_err() {
            // SAFETY: from `into_raw`, and nobody has seen it.
            drop(unsafe { Box::from_raw(raw) });
        }
        self.get()
    }
}

impl<T> Drop for Late<T> {
    fn drop(&mut self) {
        let raw = *self.value.get_mut();
        if !raw.is_null() {
            // SAFETY: from `into_raw` in `put`, and nobody can reach it any more.
            drop(unsafe { Box::from_raw(raw) });
        }
    }
}
