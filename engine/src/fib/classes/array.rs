// SPDX-License-Identifier: BSD-2-Clause
//! An array that grows by doubling, in memory that may fail to be had.

use super::super::grace::Memory;
use core::alloc::Layout;
use core::ptr::NonNull;

/// The fewest elements that are asked for.
const FEWEST: u32 = 16;

/// Elements of which each byte was 0 when they came; plain numbers and pointers.
///
/// # Invariants
///
/// `start` is a block of `len` initialised elements, or `len` is 0.
pub(super) struct Array<T: Copy, M: Memory> {
    start: NonNull<T>,
    len: u32,
    memory: M,
}

// SAFETY: it owns its elements.
unsafe impl<T: Copy + Send, M: Memory + Send> Send for Array<T, M> {}

impl<T: Copy, M: Memory> Array<T, M> {
    /// No elements.
    ///
    /// # Safety
    ///
    /// All bytes 0 are a value of `T`, and its size is not 0.
    pub(super) const unsafe fn new(memory: M) -> Self {
        Self {
            start: NonNull::dangling(),
            len: 0,
            memory,
        }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: the invariant.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the invariant; borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) }
    }

    /// Makes `len` elements at least, if there is memory for them. Those that come
    /// are 0. `None` leaves it as it was.
    pub(super) fn grow(&mut self, len: u32) -> Option<()> {
        if len <= self.len {
            return Some(());
        }
        let len = len.checked_next_power_of_two()?.max(FEWEST);
        let layout = Layout::array::<T>(len as usize).ok()?;
        let start = self.memory.allocate(layout)?.cast::<T>();
        // SAFETY: fresh, of this layout, and no shorter than what is copied.
        unsafe {
            start.write_bytes(0, len as usize);
            start.copy_from_nonoverlapping(self.start, self.len as usize);
        }
        self.release();
        (self.start, self.len) = (start, len);
        Some(())
    }

    /// Bytes obtained from memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<T>().wrapping_mul(self.len as usize)
    }

    fn release(&mut self) {
        let len = core::mem::take(&mut self.len);
        if let (true, Ok(layout)) = (len > 0, Layout::array::<T>(len as usize)) {
            // SAFETY: from `grow`, with this layout.
            unsafe { self.memory.free(self.start.cast(), layout) };
        }
    }
}

impl<T: Copy, M: Memory> Drop for Array<T, M> {
    fn drop(&mut self) {
        self.release();
    }
}
