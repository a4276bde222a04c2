// SPDX-License-Identifier: BSD-2-Clause
//! What the module keeps for each network stack, vnet(9). The memory comes with
//! the network stack, zeroed, and goes with it.

use core::sync::atomic::AtomicU64;

use weft_bindings::kernel as c;

use super::context::{Sleepable, Vnet, with_current_vnet};

/// What a check of one family has found.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Checked {
    /// Addresses that were compared.
    pub(crate) compared: AtomicU64,
    /// Addresses for which the answers differed.
    pub(crate) mismatches: AtomicU64,
}

/// The result of the last `net.weft.fib.check` in a network stack.
#[repr(C)]
pub(crate) struct State {
    /// Keys of each kind that were asked for.
    pub(crate) check_keys: AtomicU64,
    /// What was found, by family.
    pub(crate) checked: [Checked; 2],
}

const _: () = assert!(size_of::<State>() == size_of::<c::weft_vnet>());

/// What tells the current network stack from the others that there are.
pub(crate) fn identity(_vnet: &Vnet<'_>) -> usize {
    // SAFETY: reads a field of the current thread.
    unsafe { c::weft_shim_curvnet() }.addr()
}

/// Has [`crate::pfil6`] told of all network stacks that are there, as of one that comes or
/// goes.
pub(crate) fn tell_filters(_sleepable: &mut Sleepable, attached: bool) {
    // SAFETY: the caller may sleep, and holds no lock.
    unsafe { c::weft_shim_filters(attached) };
}

#[unsafe(no_mangle)]
extern "C" fn weft_filter_attach() {
    // SAFETY: the shim calls in a thread that may sleep, with curvnet set.
    with_current_vnet(&mut unsafe { Sleepable::assume() }, |sleepable, vnet| {
        crate::pfil6::arrive(sleepable, vnet);
    });
}

#[unsafe(no_mangle)]
extern "C" fn weft_filter_detach() {
    // SAFETY: as above.
    with_current_vnet(&mut unsafe { Sleepable::assume() }, |sleepable, vnet| {
        crate::pfil6::depart(sleepable, vnet);
    });
}

/// The current network stack's state.
pub(crate) fn state<'v>(_vnet: &Vnet<'v>) -> &'v State {
    // SAFETY: curvnet is set during 'v; the shim's structure has the same fields,
    // of the size and alignment of atomics, and nobody else uses it.
    unsafe { &*c::weft_shim_vnet_state().cast() }
}
