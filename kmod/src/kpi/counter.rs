// SPDX-License-Identifier: BSD-2-Clause
//! Counters that no two CPUs share, counter(9).

use core::ptr::NonNull;

use weft_bindings::kernel as c;

use super::errno::Errno;

/// Whether packets are counted, here, by interfaces and by their waits: in what is shipped they
/// are.
pub(crate) const IS_ON: bool = cfg!(not(feature = "uncounted"));

/// A counter.
pub(crate) struct Counter {
    place: NonNull<u64>,
}

// SAFETY: the kernel's own object, to be used by all CPUs.
unsafe impl Send for Counter {}
// SAFETY: as above.
unsafe impl Sync for Counter {}

impl Counter {
    /// A counter at 0. Does not sleep.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: allocates.
        let place = NonNull::new(unsafe { c::weft_shim_counter_new() });
        place.map(|place| Self { place }).ok_or(Errno::ENOMEM)
    }

    /// Counts. Any context.
    #[inline]
    pub(crate) fn add(&self, more: u32) {
        if !IS_ON {
            return;
        }
        // SAFETY: there until this value is dropped.
        unsafe { c::weft_shim_counter_add(self.place.as_ptr(), u64::from(more)) }
    }

    /// What was counted on all CPUs.
    pub(crate) fn read(&self) -> u64 {
        // SAFETY: as above.
        unsafe { c::weft_shim_counter_read(self.place.as_ptr()) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and nobody else knows it.
        unsafe { c::weft_shim_counter_free(self.place.as_ptr()) }
    }
}
