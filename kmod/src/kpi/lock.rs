// SPDX-License-Identifier: BSD-2-Clause
//! Locks, mutex(9).

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;

use weft_bindings::kernel as c;
use weft_engine::fib::Lock;

use super::errno::Errno;
use super::memory::try_box;

/// A mutex that is held for short times only: whoever holds it does not sleep.
///
/// # Invariants
/// The mutex is initialised, and stays where it is until it is destroyed.
pub(crate) struct Mtx {
    mtx: Box<UnsafeCell<MaybeUninit<c::mtx>>>,
}

// SAFETY: a mutex is made to be used by many threads.
unsafe impl Send for Mtx {}
// SAFETY: as above.
unsafe impl Sync for Mtx {}

impl Mtx {
    /// A new mutex, which witness(4) calls by that name.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new(name: &'static CStr) -> Result<Self, Errno> {
        let mtx = try_box(UnsafeCell::new(MaybeUninit::zeroed())).map_err(|_| Errno::ENOMEM)?;
        let mtx = Self { mtx };
        // SAFETY: memory of its own, not used as a mutex before; the name is static.
        unsafe { c::weft_shim_mtx_init(mtx.raw(), name.as_ptr()) };
        Ok(mtx)
    }

    fn raw(&self) -> *mut c::mtx {
        self.mtx.get().cast()
    }
}

impl Drop for Mtx {
    fn drop(&mut self) {
        // SAFETY: initialised, and nobody can hold it: it is not shared any more.
        unsafe { c::weft_shim_mtx_destroy(self.raw()) };
    }
}

// SAFETY: a mutex excludes, and orders what was stored under it.
unsafe impl Lock for Mtx {
    fn with<R>(&self, inside: impl FnOnce() -> R) -> R {
        // SAFETY: initialised; the contract of `with` excludes recursion.
        unsafe { c::weft_shim_mtx_lock(self.raw()) };
        let result = inside();
        // SAFETY: locked above, by this thread.
        unsafe { c::weft_shim_mtx_unlock(self.raw()) };
        result
    }
}
