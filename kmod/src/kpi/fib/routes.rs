// SPDX-License-Identifier: BSD-2-Clause
//! The route table, whose lock is held, as the engine asks it.

use core::ffi::c_void;
use core::marker::PhantomData;

use weft_bindings::kernel as c;
use weft_engine::fib::{Key, Routes};

use super::family::Family;
use super::instance::FibBindings;

/// A route table during a callback of the framework.
pub(super) struct LockedRoutes<'b, F> {
    pub(super) rib: *mut c::rib_head,
    pub(super) fib: u32,
    pub(super) framework: *mut c::fib_data,
    pub(super) bindings: &'b FibBindings,
    pub(super) family: PhantomData<F>,
}

impl<F: Family> LockedRoutes<'_, F> {
    /// The class of a route's next hop. One that has none is no route of a table
    /// that is in step: the engine refuses the class that is returned then.
    ///
    /// # Safety
    /// `entry` is an entry of this table.
    unsafe fn class(&self, entry: *const c::rtentry) -> u32 {
        // SAFETY: the caller's promise, and the framework's own pointers.
        let (index, nexthop) = unsafe {
            let nexthop = c::rt_get_raw_nhop(entry);
            (c::fib_get_nhop_idx(self.framework, nexthop), nexthop)
        };
        match self.bindings.class_of(index, nexthop) {
            0 => u32::MAX,
            class => class,
        }
    }
}

impl<F: Family> Routes<F::Key> for LockedRoutes<'_, F> {
    fn count(&self) -> usize {
        // SAFETY: the table is locked.
        unsafe { c::weft_shim_rib_prefixes(self.rib) as usize }
    }

    fn inside(&self, prefix: F::Key, plen: u8, visit: &mut dyn FnMut(F::Key, u8, u32) -> bool) {
        let mut destination = F::socket_address(prefix);
        let mut mask = F::socket_address(F::Key::mask(plen));
        let mut walk = Walk {
            routes: self,
            first: prefix,
            last: prefix.last(plen),
            visit,
        };
        // SAFETY: the table is locked by the caller of the callback that we are in;
        // the addresses and the walk live during the call.
        unsafe {
            c::rib_walk_from(
                self.fib,
                F::NUMBER,
                c::RIB_FLAG_LOCKED,
                (&raw mut destination).cast(),
                (&raw mut mask).cast(),
                Some(step::<F>),
                (&raw mut walk).cast(),
            );
        }
    }

    /// The kernel has functions for this, `rt_get_inet_parent` and
    /// `rt_get_inet6_parent`. The latter's masks keep bits of the next word when the
    /// length comes down to a multiple of 32, so that it passes over a /32 around a
    /// /40 in its upper half. Also both ask for each length; here the table is asked
    /// once for each bit of the prefix that is 1, which is as many times as the
    /// address to ask for can change.
    fn around(&self, prefix: F::Key, plen: u8) -> Option<(u8, u32)> {
        let mut shorter_than = plen;
        while shorter_than > 0 {
            let first = prefix.network(shorter_than - 1);
            // SAFETY: the table is locked.
            if let Some(found) = unsafe { self.shorter(first, shorter_than) } {
                return Some(found);
            }
            // From the length on that the address needs, the same would be asked.
            let needed = u32::from(F::Key::BITS).saturating_sub(first.bits().trailing_zeros());
            shorter_than = needed as u8;
        }
        None
    }
}

impl<F: Family> LockedRoutes<'_, F> {
    /// The longest route over an address that is shorter than that. It may miss one
    /// that begins at another address than the longest one of all that cover it.
    ///
    /// # Safety
    /// The table is locked.
    unsafe fn shorter(&self, address: F::Key, shorter_than: u8) -> Option<(u8, u32)> {
        let mut key = F::socket_address(address);
        // SAFETY: the caller's promise; the key lives during the call. What is found
        // are entries of the table.
        unsafe {
            let mut entry = c::weft_shim_rib_match(self.rib, (&raw mut key).cast());
            while !entry.is_null() {
                let length = F::route(entry).length;
                if length < shorter_than {
                    return Some((length, self.class(entry)));
                }
                entry = c::weft_shim_rib_wider(entry);
            }
        }
        None
    }
}

/// A walk through the routes of some addresses.
struct Walk<'w, F: Family> {
    routes: &'w LockedRoutes<'w, F>,
    first: F::Key,
    last: F::Key,
    visit: &'w mut dyn FnMut(F::Key, u8, u32) -> bool,
}

unsafe extern "C" fn step<F: Family>(entry: *mut c::rtentry, walk: *mut c_void) -> i32 {
    // SAFETY: `inside` passed its walk, and an entry of the locked table.
    unsafe {
        let walk = &mut *walk.cast::<Walk<'_, F>>();
        let route = F::route(entry);
        if route.prefix > walk.last {
            return -1;
        }
        if route.prefix < walk.first {
            return 0;
        }
        let more = (walk.visit)(route.prefix, route.length, walk.routes.class(entry));
        if more { 0 } else { -1 }
    }
}
