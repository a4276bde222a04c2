// SPDX-License-Identifier: BSD-2-Clause
//! The processor's atomics, plain memory, and patience; those of a model in
//! `tests/queue_model.rs`.

pub(super) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// How often a drainer whose turn is over looks whether somebody has taken the role: for
/// about as long as a submission takes.
pub(super) const LOOKS: usize = 32;

/// Memory that is written through shared references, by those who know when they may.
pub(super) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Gives the address of the value.
    #[inline(always)]
    pub(super) fn with_mut<R>(&self, then: impl FnOnce(*mut T) -> R) -> R {
        then(self.0.get())
    }
}
