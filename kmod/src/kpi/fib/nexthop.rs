// SPDX-License-Identifier: BSD-2-Clause
//! Next hops as the kernel has them. Header: `net/route/nhop.h`.

use core::slice;

use weft_bindings::kernel as c;
use weft_engine::fib::classes::{Identifier, Identity};

/// What tells a nexthop or a nexthop group from others of its network stack: what
/// the kernel compares when it looks whether it has such a one already, and of a
/// group the members and weights, whatever their order.
///
/// # Safety
/// The nexthop is there: the caller's route table, whose lock is held, has it.
pub(super) unsafe fn identity(identifier: &Identifier, nexthop: *const c::nhop_object) -> Identity {
    let mut count = 0;
    // SAFETY: the caller's promise; a place to write to.
    let members = unsafe { c::weft_shim_nhop_members(nexthop, &raw mut count) };
    if members.is_null() {
        // SAFETY: as above.
        return unsafe { of_one(identifier, nexthop) };
    }
    // SAFETY: the group's own members, that many, which it refers to; a group has
    // its own index.
    let (members, uidx) = unsafe {
        (
            slice::from_raw_parts(members, count as usize),
            c::weft_shim_nhop_group_uidx(nexthop),
        )
    };
    let members = members.iter().map(|member| {
        // SAFETY: the group refers to its members.
        let identity = unsafe { of_one(identifier, member.nh) };
        (identity, member.weight)
    });
    let uidx = (identifier.of(&[u64::from(uidx)]), 0);
    identifier.of_group(members.chain([uidx]))
}

/// # Safety
/// As for [`identity`]; it is no group.
unsafe fn of_one(identifier: &Identifier, nexthop: *const c::nhop_object) -> Identity {
    let mut words = [0; c::WEFT_NHOP_WORDS as usize];
    // SAFETY: the caller's promise; as many words as the shim writes.
    unsafe { c::weft_shim_nhop_words(nexthop, words.as_mut_ptr()) };
    identifier.of(&words)
}
