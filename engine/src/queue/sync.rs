// SPDX-License-Identifier: BSD-2-Clause
//! The processor's atomics and plain memory; those of a model in `tests/queue_model.rs`.

pub(super) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

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
