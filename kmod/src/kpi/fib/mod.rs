// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's framework for route lookup algorithms. Header:
//! `net/route/fib_algo.h`; how it works: the head of `net/route/fib_algo.c`.
//!
//! The framework calls everything here under the route table's write lock and in
//! the network epoch, so nothing may sleep, but for two: the lookup, which runs
//! in the epoch only and beside everything else, and the destruction, which runs
//! in a thread of the epoch when no lookup can see the instance any more.
//!
//! | file          | is about                                                      |
//! | ------------- | ------------------------------------------------------------- |
//! | `family.rs`   | how the kernel writes addresses of IPv4 and IPv6              |
//! | `common.rs`   | what the tables of all FIBs share                             |
//! | `instance.rs` | one table of one FIB                                          |
//! | `nexthop.rs`  | what tells one next hop from another                          |
//! | `routes.rs`   | the route table, which the engine asks about the routes       |
//! | `datapath.rs` | lookups                                                       |
//! | `record.rs`   | what has happened to a FIB's table                            |
//! | `figures.rs`  | that, and what the table holds, for sysctls                   |
//! | this one      | making an algorithm known, and the framework's callbacks      |

mod common;
mod datapath;
mod family;
mod figures;
mod instance;
mod nexthop;
mod record;
mod routes;

pub(crate) use common::{FibWatch, Opened, store_figures};
pub(super) use datapath::Datapath;
pub(crate) use family::{Family, Inet, Inet6, Route, Written};
pub(crate) use figures::{fibs, figure, times};
pub(crate) use instance::{FlatTops, instances};

use alloc::boxed::Box;
use core::ffi::{CStr, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::{iter, slice};

use weft_bindings::kernel as c;

use super::context::Vnet;
use super::errno::Errno;
use super::memory::try_box;
use instance::{Change, Failure, Instance};

/// What an algorithm decides, beside how it looks up.
pub(crate) trait Policy: 'static {
    /// Whose addresses it looks up.
    type Family: Family;

    /// Its name, as `net.route.algo.inet.algo` or `inet6` takes it.
    const NAME: &'static CStr;

    /// How much it wants a table of that many prefixes: 0 (never) to 255. The
    /// framework changes algorithms for more than 12 points. Called with a mutex
    /// held.
    fn preference(prefixes: u32) -> u8;

    /// Which tables get a flat top.
    fn flat_tops() -> FlatTops;

    /// There was no memory for a change or for a new instance. The old state
    /// answers until the framework has rebuilt the table.
    fn out_of_memory(fib: u32);
}

/// Builds of one table in a row that may fail before it is given up.
const BUILD_TRIES: u32 = 2;

/// An algorithm, and whether the framework knows it. To be withdrawn before it is
/// dropped; else its registration stays, for the framework may still use it.
pub(crate) struct Registered<P> {
    module: NonNull<c::fib_lookup_module>,
    enlisted: bool,
    policy: PhantomData<P>,
}

impl<P: Policy> Registered<P> {
    /// An algorithm that nobody knows yet.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: integers, null pointers and absent functions are all zero.
        let mut module: c::fib_lookup_module = unsafe { MaybeUninit::zeroed().assume_init() };
        module.flm_name = P::NAME.as_ptr().cast_mut();
        module.flm_family = P::Family::NUMBER;
        module.flm_init_cb = Some(init::<P>);
        module.flm_destroy_cb = Some(destroy::<P>);
        module.flm_dump_rib_item_cb = Some(dump::<P>);
        module.flm_dump_end_cb = Some(dump_end::<P>);
        module.flm_change_rib_item_cb = Some(change::<P>);
        module.flm_change_rib_items_cb = Some(change_batch::<P>);
        module.flm_lookup = Some(datapath::lookup::<P::Family>);
        module.flm_get_pref = Some(preference::<P>);
        let module = try_box(module).map_err(|_| Errno::ENOMEM)?;
        Ok(Self {
            module: NonNull::from(Box::leak(module)),
            enlisted: false,
            policy: PhantomData,
        })
    }

    /// Makes the algorithm known. It is to be withdrawn before what its tables have
    /// in common is closed.
    pub(crate) fn enlist(&mut self, _common: &Opened) {
        // SAFETY: the structure stays in place until it is unregistered. The function
        // has no way to fail.
        unsafe { c::fib_module_register(self.module.as_ptr()) };
        self.enlisted = true;
    }

    /// Takes the algorithm back and does `then`. If that fails the algorithm is made
    /// known again. After success a second call only does `then`.
    ///
    /// # Errors
    /// `EBUSY` while a table uses it, or what `then` returned; nothing has changed.
    pub(crate) fn withdraw(
        &mut self,
        common: &Opened,
        then: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        if !self.enlisted {
            return then();
        }
        // SAFETY: registered by `enlist`; the framework says EBUSY, and forgets
        // nothing, as long as an instance exists.
        Errno::check(unsafe { c::fib_module_unregister(self.module.as_ptr()) })?;
        self.enlisted = false;
        then().inspect_err(|_| self.enlist(common))
    }
}

impl<P> Drop for Registered<P> {
    fn drop(&mut self) {
        if !self.enlisted {
            // SAFETY: leaked by `new`, and the framework does not know it.
            drop(unsafe { Box::from_raw(self.module.as_ptr()) });
        }
    }
}

unsafe extern "C" fn init<P: Policy>(
    fib: u32,
    framework: *mut c::fib_data,
    old: *mut c_void,
    new: *mut *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework keeps the instance before until this call is over.
    let before = (!old.is_null()).then(|| unsafe { Instance::<P::Family>::from_data(old) });
    match Instance::new(fib, framework, before) {
        Ok(instance) => {
            // SAFETY: the framework's place for the pointer.
            unsafe { *new = Box::into_raw(instance).cast() };
            c::FLM_SUCCESS
        }
        Err(_) => {
            if let Some(before) = before {
                before.record.note_failure();
            }
            P::out_of_memory(fib);
            c::FLM_ERROR
        }
    }
}

unsafe extern "C" fn destroy<P: Policy>(data: *mut c_void) {
    // SAFETY: the framework's pointer, for the last time.
    unsafe { instance::destroy::<P::Family>(data) }
}

/// The framework's word for how a change went.
fn verdict<P: Policy>(
    instance: &Instance<P::Family>,
    outcome: Result<(), Failure>,
) -> c::flm_op_result {
    match outcome {
        Ok(()) => return c::FLM_SUCCESS,
        Err(Failure::Never) => return c::FLM_ERROR,
        Err(Failure::Widen(few)) => instance.widen(few),
        Err(Failure::Rebuild) => {}
    }
    if instance.missed() && matches!(outcome, Err(Failure::Rebuild)) {
        instance.record.note_failure();
        P::out_of_memory(instance.fib);
    }
    c::FLM_REBUILD
}

/// The same while the instance is built. The framework tries 32 times on end,
/// with the table locked; a table for which there is no memory ends that
/// sooner, and the table keeps what served it before.
fn verdict_of_build<P: Policy>(
    instance: &Instance<P::Family>,
    outcome: Result<(), Failure>,
) -> c::flm_op_result {
    let widens = matches!(outcome, Err(Failure::Widen(_)));
    match verdict::<P>(instance, outcome) {
        c::FLM_REBUILD if !widens && instance.gives_up(BUILD_TRIES) => c::FLM_ERROR,
        verdict => verdict,
    }
}

unsafe extern "C" fn dump<P: Policy>(
    entry: *mut c::rtentry,
    data: *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock.
    unsafe {
        let instance = Instance::<P::Family>::from_data(data);
        verdict_of_build::<P>(instance, instance.dump(entry))
    }
}

unsafe extern "C" fn dump_end<P: Policy>(
    data: *mut c_void,
    datapath: *mut c::fib_dp,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock, its place for
    // function and argument among them.
    unsafe {
        let instance = Instance::<P::Family>::from_data(data);
        let verdict = verdict_of_build::<P>(instance, instance.end(P::flat_tops()));
        if verdict == c::FLM_SUCCESS {
            (*datapath).f = Some(datapath::best_lookup::<P::Family>());
            (*datapath).arg = data;
        }
        verdict
    }
}

unsafe extern "C" fn change<P: Policy>(
    table: *mut c::rib_head,
    change: *mut c::rib_cmd_info,
    data: *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock.
    unsafe {
        let instance = Instance::<P::Family>::from_data(data);
        if c::weft_shim_rib_behind(table) > 1 {
            instance.missed();
        }
        let change = &*change;
        let one = || Change {
            route: P::Family::route(change.rc_rt),
            old: change.rc_nh_old,
            new: change.rc_nh_new,
        };
        let outcome = instance.follow(table, iter::once(()).map(|()| one()));
        verdict::<P>(instance, outcome)
    }
}

unsafe extern "C" fn change_batch<P: Policy>(
    table: *mut c::rib_head,
    queue: *mut c::fib_change_queue,
    data: *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock; the queue
    // holds `count` entries of routes of the family, and none at all may be null.
    unsafe {
        let instance = Instance::<P::Family>::from_data(data);
        let (count, entries) = ((*queue).count as usize, (*queue).entries);
        let entries = match count {
            0 => &[],
            _ => slice::from_raw_parts(entries.cast_const(), count),
        };
        let changes = entries.iter().map(|entry| Change {
            route: P::Family::changed(entry),
            old: entry.nh_old,
            new: entry.nh_new,
        });
        verdict::<P>(instance, instance.follow(table, changes))
    }
}

unsafe extern "C" fn preference<P: Policy>(table: *const c::rib_rtable_info) -> u8 {
    // SAFETY: the framework's figures, valid during the call; it considers a table of
    // the current network stack.
    let (prefixes, vnet) = unsafe { ((*table).num_prefixes, Vnet::assume()) };
    common::fibs_seen(fibs(&vnet));
    P::preference(prefixes)
}
