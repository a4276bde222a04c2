// SPDX-License-Identifier: BSD-2-Clause
//! The routing information base: the table that routing daemons write to and
//! that every lookup algorithm is a copy of. Header: `net/route/route_var.h`.

use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Sleepable, Vnet};
use super::epoch::in_net_epoch;
use super::fib::{Datapath, Family, Route};
use super::kernel::read_int;

/// The table of a family and FIB of the current network stack.
pub(crate) struct Rib<'v, F> {
    head: NonNull<c::rib_head>,
    fib: u32,
    vnet: PhantomData<&'v F>,
}

impl<'v, F: Family> Rib<'v, F> {
    /// The table of the FIB that the current process uses, see setfib(2). The
    /// process is asked by sysctl, since the place of its FIB in `struct proc`
    /// differs from kernel to kernel.
    pub(crate) fn of_current_process(sleepable: &mut Sleepable, _vnet: &Vnet<'v>) -> Option<Self> {
        let fib = u32::try_from(read_int(sleepable, c"net.my_fibnum")?).ok()?;
        // SAFETY: the current network stack has a table for each of its FIBs as
        // long as it lives.
        unsafe {
            if fib >= c::weft_shim_numfibs() {
                return None;
            }
            let head = c::rt_tables_get_rnh(fib, F::NUMBER as c::sa_family_t);
            Some(Self {
                head: NonNull::new(head)?,
                fib,
                vnet: PhantomData,
            })
        }
    }

    /// The FIB's number.
    pub(crate) fn fib(&self) -> u32 {
        self.fib
    }

    /// How many prefixes the table has at this moment.
    pub(crate) fn prefixes(&self) -> u32 {
        // SAFETY: the table lives as long as the network stack.
        unsafe { c::weft_shim_rib_prefixes(self.head.as_ptr()) }
    }

    /// Shows each route to `visit`, which runs under the table's read lock: it
    /// must be short, and no route can change until the last one was shown.
    pub(crate) fn for_each<V: FnMut(Route<F::Key>)>(
        &self,
        _sleepable: &mut Sleepable,
        mut visit: V,
    ) {
        // SAFETY: the FIB is there; `show` is called with this closure, during
        // this call.
        unsafe {
            c::rib_walk(
                self.fib,
                F::NUMBER,
                false,
                Some(show::<F, V>),
                (&raw mut visit).cast(),
            );
        }
    }

    /// Whether the module serves the FIB at this moment.
    pub(crate) fn is_served(&self, sleepable: &mut Sleepable) -> bool {
        in_net_epoch(sleepable, |epoch: &NetEpoch<'_>| {
            // SAFETY: the current network stack has this FIB.
            unsafe { Datapath::<F>::of_fib(epoch, self.fib) }.is_some()
        })
    }

    /// Runs `compare` with the table and the module's algorithm side by side and
    /// no change under way. `None` if another algorithm serves the FIB.
    pub(crate) fn beside_algorithm<R>(
        &self,
        sleepable: &mut Sleepable,
        compare: impl FnOnce(&SideBySide<'_, F>) -> R,
    ) -> Option<R> {
        in_net_epoch(sleepable, |epoch: &NetEpoch<'_>| {
            let mut tracker = MaybeUninit::<c::rm_priotracker>::uninit();
            // SAFETY: the tracker stays in place between lock and unlock.
            unsafe { c::weft_shim_rib_rlock(self.head.as_ptr(), tracker.as_mut_ptr()) };
            // Under the lock: before, it could be that of an instance which a rebuild
            // has replaced by now, and which changes do not reach any more.
            // SAFETY: the current network stack has this FIB.
            let datapath = unsafe { Datapath::of_fib(epoch, self.fib) };
            let result = datapath.map(|datapath| {
                compare(&SideBySide {
                    head: self.head,
                    datapath,
                })
            });
            // SAFETY: locked above, on this thread.
            unsafe { c::weft_shim_rib_runlock(self.head.as_ptr(), tracker.as_mut_ptr()) };
            result
        })
    }
}

unsafe extern "C" fn show<F: Family, V: FnMut(Route<F::Key>)>(
    entry: *mut c::rtentry,
    visit: *mut c_void,
) -> c_int {
    // SAFETY: `for_each` passed its closure, and an entry of the locked table.
    unsafe { (*visit.cast::<V>())(F::route(entry)) };
    0
}

/// A table and the algorithm that copies it, while no change runs.
pub(crate) struct SideBySide<'e, F> {
    head: NonNull<c::rib_head>,
    datapath: Datapath<'e, F>,
}

/// A nexthop or nexthop group, to be compared with another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nexthop(*mut c::nhop_object);

impl<F: Family> SideBySide<'_, F> {
    /// Whether the algorithm has been told of every change. It has not while the
    /// framework waits to rebuild it.
    pub(crate) fn in_step(&self) -> bool {
        // SAFETY: the table is locked.
        unsafe { c::weft_shim_rib_behind(self.head.as_ptr()) == 0 }
    }

    /// The answers of the algorithm and of the table for an address, host order.
    pub(crate) fn answers(&self, destination: F::Key) -> (Nexthop, Nexthop) {
        let mut key = F::socket_address(destination);
        // SAFETY: the table is locked; the key lives during the call. What is found
        // is a route of the table.
        let table = unsafe {
            let entry = c::weft_shim_rib_match(self.head.as_ptr(), (&raw mut key).cast());
            match entry.is_null() {
                true => ptr::null_mut(),
                false => c::rt_get_raw_nhop(entry),
            }
        };
        (Nexthop(self.datapath.answer(destination)), Nexthop(table))
    }
}
