// SPDX-License-Identifier: BSD-2-Clause
//! Memory of the host that counts what is out and fails on demand.
//!
//! It is all of one region of addresses, which is reserved at once and costs memory
//! only where it is used: tables want their blocks near one another, as a kernel's
//! allocator has them and the host's has not.

use crate::fib::Memory;
use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The region: blocks are taken from it and given back.
#[cfg(not(miri))]
mod region {
    use super::*;
    use linked_list_allocator::Heap;
    use memmap2::MmapOptions;
    use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

    /// Bytes of the region: enough for the largest tables many times over.
    const BYTES: usize = 64 << 30;

    /// The region's heap, or an empty one if the host does not grant it: then there is
    /// no memory, as at any other time.
    fn heap() -> MutexGuard<'static, Heap> {
        static HEAP: OnceLock<Mutex<Heap>> = OnceLock::new();
        let heap = HEAP.get_or_init(|| {
            let map = MmapOptions::new().len(BYTES).no_reserve_swap().map_anon();
            // Kept for ever: who borrows from it has no lifetime that could end.
            let heap = map.map_or_else(
                |_| Heap::empty(),
                |map| {
                    let map = Box::leak(Box::new(map));
                    // SAFETY: the map is this heap's alone, and stays.
                    unsafe { Heap::new(map.as_mut_ptr(), BYTES) }
                },
            );
            Mutex::new(heap)
        });
        heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(layout: Layout) -> Option<NonNull<u8>> {
        heap().allocate_first_fit(layout).ok()
    }

    /// # Safety
    /// The block came from `take` with this layout, and nobody uses it.
    pub(super) unsafe fn give_back(block: NonNull<u8>, layout: Layout) {
        // SAFETY: as this function's.
        unsafe { heap().deallocate(block, layout) }
    }
}

/// Miri knows no mappings of that kind, and its own addresses are near one another.
#[cfg(miri)]
mod region {
    use super::*;

    pub(super) fn take(layout: Layout) -> Option<NonNull<u8>> {
        assert!(layout.size() > 0);
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }

    /// # Safety
    /// The block came from `take` with this layout, and nobody uses it.
    pub(super) unsafe fn give_back(block: NonNull<u8>, layout: Layout) {
        // SAFETY: as this function's.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
    }
}

/// An allocator for [`fib`](crate::fib). Its clones share their counts, so one
/// can be kept to look at while a table owns the other.
#[derive(Clone, Debug, Default)]
pub struct HostMemory {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    calls: AtomicUsize,
    /// The number of the call that fails, counted from 1; 0 for none.
    fail_at: AtomicUsize,
}

impl HostMemory {
    /// Bytes handed out and not given back.
    pub fn bytes(&self) -> usize {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Allocations asked for so far, failed ones included.
    pub fn calls(&self) -> usize {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// Lets the `k`-th allocation from now on fail, once. 0 takes it back.
    pub fn fail_after(&self, k: usize) {
        let at = if k == 0 { 0 } else { self.calls() + k };
        self.counts.fail_at.store(at, Ordering::Relaxed);
    }
}

// SAFETY: blocks come from the region's allocator and go back to it.
unsafe impl Memory for HostMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let call = self.counts.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call == self.counts.fail_at.load(Ordering::Relaxed) {
            return None;
        }
        let block = region::take(layout)?;
        self.counts
            .bytes
            .fetch_add(layout.size(), Ordering::Relaxed);
        Some(block)
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        self.counts
            .bytes
            .fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller promises that it came from `allocate` with this layout.
        unsafe { region::give_back(block, layout) }
    }
}
