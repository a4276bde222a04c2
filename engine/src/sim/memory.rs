// SPDX-License-Identifier: BSD-2-Clause
//! Memory from the host's allocator that counts what is out and fails on demand.

use crate::fib::Memory;
use core::alloc::Layout;
use core::ptr::NonNull;
use std::alloc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

// SAFETY: blocks come from the global allocator and go back to it.
unsafe impl Memory for HostMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let call = self.counts.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if call == self.counts.fail_at.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: the size is not 0, as `Memory` says.
        let block = NonNull::new(unsafe { alloc::alloc(layout) })?;
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
        unsafe { alloc::dealloc(block.as_ptr(), layout) }
    }
}
