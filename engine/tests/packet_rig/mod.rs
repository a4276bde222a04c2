// SPDX-License-Identifier: BSD-2-Clause
//! A pool to try things on: memory that counts and fails on demand, CPUs, tags.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use weft_engine::context::Sleepable;
use weft_engine::fib::Memory;
use weft_engine::packet::{Pool, Tag};
use weft_engine::sim::cpus::HostCpus;

/// The host's heap. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heap {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    calls: AtomicUsize,
    /// The number of the call that fails, from 1; 0 for none.
    fail_at: AtomicUsize,
}

impl Heap {
    /// Bytes that are out.
    pub(crate) fn bytes(&self) -> usize {
        self.counts.bytes.load(Ordering::SeqCst)
    }

    /// Allocations asked for.
    pub(crate) fn calls(&self) -> usize {
        self.counts.calls.load(Ordering::SeqCst)
    }

    /// Lets the `k`-th allocation from now on fail; 0 for none.
    pub(crate) fn fail_after(&self, k: usize) {
        let at = if k == 0 { 0 } else { self.calls() + k };
        self.counts.fail_at.store(at, Ordering::SeqCst);
    }
}

// SAFETY: blocks come from the host's allocator and go back to it.
unsafe impl Memory for Heap {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let call = self.counts.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == self.counts.fail_at.load(Ordering::SeqCst) {
            return None;
        }
        // SAFETY: the size is not 0.
        let block = NonNull::new(unsafe { alloc(layout) })?;
        self.counts.bytes.fetch_add(layout.size(), Ordering::SeqCst);
        Some(block)
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        self.counts.bytes.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: from `allocate`, with this layout.
        unsafe { dealloc(block.as_ptr(), layout) }
    }
}

/// A pool on the host.
pub(crate) type HostPool = Pool<Heap, Mutex<()>, HostCpus>;

/// A pool of this memory, for so many CPUs.
pub(crate) fn pool(heap: &Heap, cpus: usize) -> HostPool {
    Pool::new(heap.clone(), Mutex::new(()), HostCpus::new(cpus)).unwrap()
}

/// The token of a thread that is in no epoch.
pub(crate) fn sleepable() -> Sleepable {
    // SAFETY: the host's threads may sleep, and no test makes another token.
    unsafe { Sleepable::assume() }
}

/// Closes the pool, of which nothing may be out, and sees that nothing is left.
pub(crate) fn close(pool: HostPool, heap: &Heap) {
    if let Err(still) = pool.close(&mut sleepable()) {
        panic!("{} buffers are out: {:?}", still.out, still.pool.figures());
    }
    assert_eq!(heap.bytes(), 0, "bytes that were not given back");
}

/// Tags of eight bytes.
pub(crate) struct Number<const ID: u16>;

impl<const ID: u16> Tag for Number<ID> {
    const COOKIE: u32 = 0x7765_6674;
    const ID: u16 = ID;
    type Data = u64;
}

/// Bytes like no others.
pub(crate) fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 + seed * 31 + at / 251) as u8)
        .collect()
}
