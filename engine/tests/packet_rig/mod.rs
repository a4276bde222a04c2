// SPDX-License-Identifier: BSD-2-Clause
//! A pool to try things on: memory that counts and fails on demand, CPUs, tags.

use std::sync::Mutex;
use weft_engine::context::Sleepable;
use weft_engine::packet::{Pool, Tag};
use weft_engine::sim::cpus::HostCpus;

/// The host's memory.
pub(crate) type Heap = weft_engine::sim::memory::HostMemory;

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
