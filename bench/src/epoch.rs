// SPDX-License-Identifier: BSD-2-Clause
//! Grace periods for peers, of the same epoch that the engine's sections are in.

use crossbeam_epoch::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether all sections have ended that were there when this was made.
pub(crate) struct Elapsed(Arc<AtomicBool>);

/// Begins a grace period.
pub(crate) fn after_readers() -> Elapsed {
    let elapsed = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&elapsed);
    let guard = pin();
    guard.defer(move || tell.store(true, Ordering::Release));
    guard.flush();
    Elapsed(elapsed)
}

impl Elapsed {
    /// Waits for it. The caller is in no section, or this never ends.
    pub(crate) fn wait(&self) {
        while !self.0.load(Ordering::Acquire) {
            pin().flush();
            std::thread::yield_now();
        }
    }
}
