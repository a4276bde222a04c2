// SPDX-License-Identifier: BSD-2-Clause
//! Something of the module's that any of its code may reach while it is there.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::context::NetEpoch;
use super::context::Sleepable;
use super::epoch::drain_net_epoch_callbacks;
use super::kernel;

/// A place for one value. It is reached in the network epoch, or by who may sleep, and
/// is taken back when nobody is in it any more.
pub(crate) struct Published<T> {
    value: AtomicPtr<T>,
    /// Threads that reached it outside of the network epoch.
    visitors: AtomicU32,
}

impl<T: Send + Sync> Published<T> {
    /// With nothing in it.
    pub(crate) const fn nothing() -> Self {
        Self {
            value: AtomicPtr::new(ptr::null_mut()),
            visitors: AtomicU32::new(0),
        }
    }

    /// Puts a value in; gives it back if there is one already.
    pub(crate) fn publish(&self, value: Box<T>) -> Result<(), Box<T>> {
        let raw = Box::into_raw(value);
        let (none, order) = (ptr::null_mut(), Ordering::AcqRel);
        match self
            .value
            .compare_exchange(none, raw, order, Ordering::Relaxed)
        {
            Ok(_) => Ok(()),
            // SAFETY: from `into_raw`, and nobody has seen it.
            Err(_) => Err(unsafe { Box::from_raw(raw) }),
        }
    }

    /// The value, for as long as the epoch lasts.
    #[inline]
    pub(crate) fn get<'e>(&'e self, _epoch: &NetEpoch<'e>) -> Option<&'e T> {
        // SAFETY: `withdraw` waits for the end of epochs before it gives the value away.
        unsafe { self.value.load(Ordering::Acquire).as_ref() }
    }

    /// Runs `visit` with the value, if it is there.
    pub(crate) fn with<R>(
        &self,
        sleepable: &mut Sleepable,
        visit: impl FnOnce(&mut Sleepable, &T) -> R,
    ) -> Option<R> {
        self.visitors.fetch_add(1, Ordering::SeqCst);
        // SAFETY: `withdraw` takes the value out before it waits until there are no
        // visitors; all of it is in one order.
        let value = unsafe { self.value.load(Ordering::SeqCst).as_ref() };
        let result = value.map(|value| visit(sleepable, value));
        self.visitors.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// Takes the value out and waits until nobody is in it.
    pub(crate) fn withdraw(&self, sleepable: &mut Sleepable) -> Option<Box<T>> {
        let raw = self.value.swap(ptr::null_mut(), Ordering::SeqCst);
        if raw.is_null() {
            return None;
        }
        while self.visitors.load(Ordering::SeqCst) > 0 {
            kernel::pause_ms(sleepable, 1);
        }
        drain_net_epoch_callbacks(sleepable);
        // SAFETY: from `publish`; nobody finds it any more, and those who had found it
        // have left.
        Some(unsafe { Box::from_raw(raw) })
    }
}
