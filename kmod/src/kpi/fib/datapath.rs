// SPDX-License-Identifier: BSD-2-Clause
//! Lookups, as the kernel calls them.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;

use weft_bindings::kernel as c;

use super::family::Family;
use super::instance::Instance;
use crate::kpi::context::NetEpoch;

/// A lookup, as the framework calls it.
pub(super) type Lookup =
    unsafe extern "C" fn(*mut c_void, c::flm_lookup_key, u32) -> *mut c::nhop_object;

/// The lookup to give to the framework: by POPCNT where the CPU has it, which amd64's
/// GENERIC does not take for granted.
pub(super) fn best_lookup<F: Family>() -> Lookup {
    #[cfg(target_arch = "x86_64")]
    {
        const POPCNT: u32 = 1 << 23;
        if core::arch::x86_64::__cpuid(1).ecx & POPCNT != 0 {
            return lookup_popcnt::<F>;
        }
    }
    lookup::<F>
}

/// The hot path: each packet that the kernel routes comes through here, or through
/// `lookup_popcnt`.
pub(super) unsafe extern "C" fn lookup<F: Family>(
    data: *mut c_void,
    key: c::flm_lookup_key,
    scope: u32,
) -> *mut c::nhop_object {
    // SAFETY: the kernel looks up in the network epoch, which keeps the instance, by
    // a key of its family.
    unsafe {
        let destination = F::destination(key, scope);
        Instance::<F>::from_data(data).answer(&NetEpoch::assume(), destination)
    }
}

/// As `lookup`, on a CPU with POPCNT.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
unsafe extern "C" fn lookup_popcnt<F: Family>(
    data: *mut c_void,
    key: c::flm_lookup_key,
    scope: u32,
) -> *mut c::nhop_object {
    // SAFETY: as in `lookup`; `best_lookup` chose this function for such a CPU.
    unsafe {
        let destination = F::destination(key, scope);
        Instance::<F>::from_data(data).answer_popcnt(&NetEpoch::assume(), destination)
    }
}

/// The module's lookup in one FIB of the current network stack, to be compared
/// with the route table.
pub(in crate::kpi) struct Datapath<'e, F> {
    function: Lookup,
    data: *mut c_void,
    epoch: PhantomData<&'e F>,
}

impl<'e, F: Family> Datapath<'e, F> {
    /// The FIB's datapath, if the module serves it.
    ///
    /// # Safety
    /// The current network stack has a FIB of that number.
    pub(in crate::kpi) unsafe fn of_fib(_epoch: &NetEpoch<'e>, fib: u32) -> Option<Self> {
        let mut datapath = c::fib_dp {
            f: None,
            arg: ptr::null_mut(),
        };
        // SAFETY: in the epoch, and there is such a FIB; a place to write to.
        unsafe { F::datapath(fib, &raw mut datapath) };
        let function = datapath.f?;
        if !ptr::fn_addr_eq(function, best_lookup::<F>()) {
            return None;
        }
        Some(Self {
            function,
            data: datapath.arg,
            epoch: PhantomData,
        })
    }

    /// The instance that answers.
    pub(super) fn instance(&self) -> &'e Instance<F> {
        // SAFETY: the argument of the module's own function, which the epoch keeps.
        unsafe { Instance::from_data(self.data) }
    }

    /// What a packet to that address would be answered.
    pub(in crate::kpi) fn answer(&self, destination: F::Key) -> *mut c::nhop_object {
        F::asked(destination, |key, scope| {
            // SAFETY: the argument belongs to this function, and the epoch keeps it.
            unsafe { (self.function)(self.data, key, scope) }
        })
    }
}
