// SPDX-License-Identifier: BSD-2-Clause
//! The engine's context tokens, and how they come about in the kernel.

pub(crate) use weft_engine::context::{NetEpoch, Sleepable, Vnet};

use weft_bindings::kernel as c;

/// Runs `inside` with the current network stack's token, if one is current.
///
/// The threads of system calls, sysctls among them, have theirs set by the kernel
/// for as long as the call runs.
pub(crate) fn with_current_vnet<R>(
    _sleepable: &mut Sleepable,
    inside: impl for<'v> FnOnce(&mut Sleepable, &Vnet<'v>) -> R,
) -> Option<R> {
    // SAFETY: reads a field of the current thread.
    if !unsafe { c::weft_shim_in_vnet() } {
        return None;
    }
    // SAFETY: curvnet is set, and only whoever set it, a caller of ours, will
    // change it; the token's lifetime ends with this call.
    let vnet = unsafe { Vnet::assume() };
    Some(inside(_sleepable, &vnet))
}
