// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's events, EVENTHANDLER(9).

use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;

/// Calls a function when the system is short of memory, in a thread that may sleep.
/// Dropping it waits until the function does not run.
pub(crate) struct OnLowMemory {
    handler: NonNull<c::eventhandler_entry>,
}

// SAFETY: the kernel's own object, under its own lock; no thread is bound to it.
unsafe impl Send for OnLowMemory {}

/// What is called.
pub(crate) trait LowMemory {
    /// Gives back what is not in use. Runs seldom, one call at a time.
    fn give_back(sleepable: &mut Sleepable);
}

impl OnLowMemory {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn call<L: LowMemory>(_sleepable: &mut Sleepable) -> Result<Self, Errno> {
        // SAFETY: the function takes what the kernel gives.
        let handler = unsafe { c::weft_shim_lowmem_register(Some(called::<L>), ptr::null_mut()) };
        let handler = NonNull::new(handler).ok_or(Errno::ENOMEM)?;
        Ok(Self { handler })
    }
}

impl Drop for OnLowMemory {
    fn drop(&mut self) {
        // SAFETY: registered, and by this value only.
        unsafe { c::weft_shim_lowmem_deregister(self.handler.as_ptr()) }
    }
}

unsafe extern "C" fn called<L: LowMemory>(_context: *mut c_void, _kind: c_int) {
    // SAFETY: uma(9) and the page daemon call in threads that may sleep; the list of
    // handlers is not locked meanwhile.
    L::give_back(&mut unsafe { Sleepable::assume() });
}
