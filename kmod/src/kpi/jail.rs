// SPDX-License-Identifier: BSD-2-Clause
//! Jails, jail(9). Header: `sys/jail.h`.

use weft_bindings::kernel as c;

use super::context::Sleepable;

/// The number of the jail, with or without a network stack of its own, that the thread
/// of a system call is in. `None` on the host.
pub(crate) fn current(_sleepable: &Sleepable) -> Option<u32> {
    // SAFETY: a thread that may sleep has credentials, which stay during the call.
    let id = unsafe { c::weft_shim_jail_id() };
    (id != 0).then_some(id as u32)
}
