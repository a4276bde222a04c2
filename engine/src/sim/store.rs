// SPDX-License-Identifier: BSD-2-Clause
//! The engine's route tables as the host has them: memory from its allocator,
//! crossbeam-epoch's grace periods, a mutex. The only file of the simulator that
//! says so.

use super::epoch::HostEpoch;
use super::memory::HostMemory;
use crate::fib::{FibError, Store, Table};
use std::sync::Mutex;

/// What all FIBs of a process may share.
pub type HostStore = Store<HostMemory, HostEpoch, Mutex<()>>;

/// The routes of one FIB, of the family whose addresses `K` is.
pub type HostTable<'s, K> = Table<'s, K, HostMemory, HostEpoch, Mutex<()>>;

/// The IPv4 routes of one FIB.
pub type HostTable4<'s> = HostTable<'s, u32>;

/// An empty store that takes its memory from `memory`. Its hashes are the same in
/// each run: here nobody attacks them.
///
/// # Errors
/// [`FibError::OutOfMemory`].
pub fn store(memory: HostMemory) -> Result<HostStore, FibError> {
    Store::new(memory, HostEpoch, Mutex::new(()), 1)
}

/// Waits until nothing in the store waits for readers. The caller is in no read
/// section, or this never ends.
pub fn settle(store: &HostStore) {
    store.reclaim();
    while store.figures().pending != 0 {
        crossbeam_epoch::pin().flush();
        std::thread::yield_now();
        store.reclaim();
    }
}
