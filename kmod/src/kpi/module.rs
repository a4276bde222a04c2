// SPDX-License-Identifier: BSD-2-Clause
//! The module's events, module(9).

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::fmt;
use core::mem::MaybeUninit;

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::{Errno, returned};
use super::log;
use super::memory::try_box;

/// What a loaded module is, and how it comes and goes. The kernel sends its
/// events one at a time, in a thread that may sleep.
pub(crate) trait Life: Sized {
    /// Sets everything up, or nothing.
    ///
    /// # Errors
    /// Any; the kernel then removes the module. The reason has been logged.
    fn load(sleepable: &mut Sleepable) -> Result<Self, Errno>;

    /// Asked before an unload that is not forced.
    ///
    /// # Errors
    /// `EBUSY` while something uses the module; the reason has been logged.
    fn quiesce(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno>;

    /// Takes back what `load` set up. What is left is dropped afterwards.
    ///
    /// # Errors
    /// `EBUSY`: nothing has changed and the module stays; the reason has been
    /// logged.
    fn unload(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno>;
}

/// The place of the one instance of `T`.
pub(crate) struct Module<T> {
    loaded: UnsafeCell<Option<Box<T>>>,
}

// SAFETY: the instance is reached by `event` only, and the kernel sends a
// module's events one at a time (it holds Giant and the linker's lock).
unsafe impl<T> Sync for Module<T> {}

impl<T: Life> Module<T> {
    pub(crate) const fn new() -> Self {
        Self {
            loaded: UnsafeCell::new(None),
        }
    }

    /// # Safety
    /// Called by the kernel's module code only, one call at a time.
    unsafe fn event(&self, event: c::modeventtype_t) -> Result<(), Errno> {
        // SAFETY: the kernel sends events in a thread that may sleep.
        let mut sleepable = unsafe { Sleepable::assume() };
        // SAFETY: one call at a time, so this is the only reference.
        let loaded = unsafe { &mut *self.loaded.get() };
        match (event, loaded.as_mut()) {
            (c::MOD_LOAD, _) => {
                // Before, for what is loaded may be in use at once.
                let place = try_box(MaybeUninit::uninit()).map_err(|_| Errno::ENOMEM)?;
                *loaded = Some(Box::write(place, T::load(&mut sleepable)?));
                Ok(())
            }
            (c::MOD_QUIESCE, Some(instance)) => instance.quiesce(&mut sleepable),
            (c::MOD_UNLOAD, Some(instance)) => {
                instance.unload(&mut sleepable)?;
                *loaded = None;
                Ok(())
            }
            // Never loaded, or a shutdown, in which nothing needs saving.
            (c::MOD_QUIESCE | c::MOD_UNLOAD | c::MOD_SHUTDOWN, _) => Ok(()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

/// Refuses to unload the module while so many things of it are in use.
///
/// # Errors
/// `EBUSY` if there are any; `what` they are has been logged.
pub(crate) fn refuse_while(count: usize, what: fmt::Arguments<'_>) -> Result<(), Errno> {
    if count == 0 {
        return Ok(());
    }
    log::warning(format_args!("not unloaded: {what}"));
    Err(Errno::EBUSY)
}

/// What the shim's `moduledata_t` names as the event handler.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_module_event(
    _module: *mut c_void,
    event: c_int,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: only the kernel's module code knows this function.
    returned(unsafe { crate::MODULE.event(event as c::modeventtype_t) })
}
