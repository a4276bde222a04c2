// SPDX-License-Identifier: BSD-2-Clause
//! One value in memory of its own, which may fail to be had.

use super::FibError;
use super::grace::Memory;
use core::alloc::Layout;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A value of `T` in a block of `M`, given back when it is dropped. The value's
/// own `Drop` is not run.
pub(super) struct Owned<'m, T, M: Memory> {
    value: NonNull<T>,
    memory: &'m M,
}

// SAFETY: it is a `T` and a `&M`.
unsafe impl<T: Send, M: Memory + Sync> Send for Owned<'_, T, M> {}
// SAFETY: as above.
unsafe impl<T: Sync, M: Memory + Sync> Sync for Owned<'_, T, M> {}

impl<'m, T, M: Memory> Owned<'m, T, M> {
    /// A value of which each byte is 0. It is made in place, for it may be larger
    /// than a kernel's stack likes.
    ///
    /// # Safety
    ///
    /// All bytes 0 are a value of `T`, and its size is not 0.
    pub(super) unsafe fn zeroed(memory: &'m M) -> Result<Self, FibError> {
        let layout = Layout::new::<T>();
        let value = memory.allocate(layout).ok_or(FibError::OutOfMemory)?;
        let value = value.cast::<T>();
        // SAFETY: fresh, and of this layout.
        unsafe { value.write_bytes(0, 1) };
        Ok(Self { value, memory })
    }

    /// The value without its owner: it stays until someone frees it.
    pub(super) fn leak(self) -> NonNull<T> {
        ManuallyDrop::new(self).value
    }

    /// Where the value is, to be shared with others than the owner.
    pub(super) fn as_ptr(&self) -> NonNull<T> {
        self.value
    }
}

impl<T, M: Memory> Deref for Owned<'_, T, M> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a value, this one's own.
        unsafe { self.value.as_ref() }
    }
}

impl<T, M: Memory> DerefMut for Owned<'_, T, M> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and borrowed mutably.
        unsafe { self.value.as_mut() }
    }
}

impl<T, M: Memory> Drop for Owned<'_, T, M> {
    fn drop(&mut self) {
        // SAFETY: from `zeroed`, with this layout, and used for the last time.
        unsafe { self.memory.free(self.value.cast(), Layout::new::<T>()) };
    }
}
