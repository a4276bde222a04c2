// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's framework for route lookup algorithms. Header:
//! `net/route/fib_algo.h`; how it works: the head of `net/route/fib_algo.c`.
//!
//! The framework calls everything here under the route table's write lock and in
//! the network epoch, so nothing may sleep, but for two: the lookup, which runs
//! in the epoch only and beside everything else, and the destruction, which runs
//! in a thread of the epoch when no lookup can see the instance any more.
//!
//! An instance is made for one table of one FIB, and again whenever the framework
//! wants to begin anew. It owns a table of the engine, whose classes are the
//! framework's nexthop indices, and borrows the framework's array that leads from
//! an index to a nexthop or group. That array has the instance's lifetime; a slot
//! is filled before the change that mentions it reaches us, and what it pointed
//! to is freed a grace period after the last change that took it out.
//!
//! The tables of all instances share one store of the engine. It keeps no routes:
//! when one changes, the engine asks the route table, which is locked, for those
//! around it ([`LockedRoutes`]).
//!
//! An instance that missed a change must take no further one. It misses one for
//! want of memory; or the framework keeps changes from it while a rebuild is due,
//! and when the rebuild fails goes on as if nothing had been missed, which the
//! table's generations tell. The framework counts a nexthop's references by our
//! answers, so to take part then would free a nexthop that lookups still answer.
//! Hence such an instance is stale from then on: it answers lookups as it did,
//! and changes with "rebuild".

use alloc::boxed::Box;
use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_void};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use weft_bindings::kernel as c;
use weft_engine::fib::{FibError, Reader4, Routes, Store, StoreFigures, Table4};

use super::context::{NetEpoch, Sleepable};
use super::epoch::{EpochGrace, drain_net_epoch_callbacks};
use super::errno::Errno;
use super::kernel::random_seed;
use super::lock::Mtx;
use super::memory::{FibMemory, try_box};

/// What an algorithm decides, beside how it looks up.
pub(crate) trait Policy: 'static {
    /// Its name, as `net.route.algo.inet.algo` takes it.
    const NAME: &'static CStr;

    /// How much it wants a table of that many prefixes: 0 (never) to 255. The
    /// framework changes algorithms for more than 12 points. Called with a mutex
    /// held.
    fn preference(prefixes: u32) -> u8;

    /// There was no memory for a change or for a new instance. The old state
    /// answers until the framework has rebuilt the table.
    fn out_of_memory(fib: u32);
}

/// Builds of one table in a row that may find no memory before it is given up.
const BUILD_TRIES: u32 = 2;

/// Instances that exist.
static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// How many tables the module's algorithms serve, or did until a moment ago.
pub(crate) fn instances() -> u32 {
    INSTANCES.load(Ordering::Relaxed)
}

/// An algorithm that the framework knows. To be withdrawn before it is dropped;
/// else its registration stays, for the framework may still use it.
pub(crate) struct Registered<P> {
    /// `None` after it was withdrawn.
    module: Option<NonNull<c::fib_lookup_module>>,
    policy: PhantomData<P>,
}

impl<P: Policy> Registered<P> {
    /// Makes the algorithm known.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn register(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        // SAFETY: integers, null pointers and absent functions are all zero.
        let mut module: c::fib_lookup_module = unsafe { MaybeUninit::zeroed().assume_init() };
        module.flm_name = P::NAME.as_ptr().cast_mut();
        module.flm_family = c::AF_INET as c_int;
        module.flm_init_cb = Some(init::<P>);
        module.flm_destroy_cb = Some(destroy);
        module.flm_dump_rib_item_cb = Some(dump::<P>);
        module.flm_dump_end_cb = Some(dump_end::<P>);
        module.flm_change_rib_item_cb = Some(change::<P>);
        module.flm_change_rib_items_cb = Some(change_batch::<P>);
        module.flm_lookup = Some(lookup);
        module.flm_get_pref = Some(preference::<P>);
        let module = try_box(module).map_err(|_| Errno::ENOMEM)?;
        open_store()?;
        let module = NonNull::from(Box::leak(module));
        // SAFETY: the structure stays in place until it is unregistered.
        if let Err(error) = Errno::check(unsafe { c::fib_module_register(module.as_ptr()) }) {
            close_store(sleepable);
            // SAFETY: leaked above, and refused.
            drop(unsafe { Box::from_raw(module.as_ptr()) });
            return Err(error);
        }
        Ok(Self {
            module: Some(module),
            policy: PhantomData,
        })
    }

    /// Takes the algorithm back and waits until none of its code runs. After
    /// success a second call does nothing.
    ///
    /// # Errors
    /// `EBUSY` while a table uses it; nothing has changed.
    pub(crate) fn withdraw(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let Some(module) = self.module else {
            return Ok(());
        };
        // SAFETY: registered by `register`; the framework says EBUSY, and forgets
        // nothing, as long as an instance exists.
        Errno::check(unsafe { c::fib_module_unregister(module.as_ptr()) })?;
        self.module = None;
        close_store(sleepable);
        // SAFETY: leaked by `register`, and unknown to the framework now.
        drop(unsafe { Box::from_raw(module.as_ptr()) });
        Ok(())
    }
}

/// What the tables of all instances share.
type FibStore = Store<FibMemory, EpochGrace, Mtx>;

/// The store, as long as an algorithm is registered. The framework's callbacks
/// carry no argument of ours by which an instance that is made could find it.
static STORE: AtomicPtr<FibStore> = AtomicPtr::new(ptr::null_mut());

/// Makes the store; not inlined, for the sake of its caller's stack frame.
#[inline(never)]
fn open_store() -> Result<(), Errno> {
    let grace = EpochGrace::new(tidy)?;
    let lock = Mtx::new(c"weft route tables")?;
    let store = Store::new(FibMemory, grace, lock, random_seed()).map_err(|_| Errno::ENOMEM)?;
    let store = try_box(store).map_err(|_| Errno::ENOMEM)?;
    STORE.store(Box::into_raw(store), Ordering::Release);
    Ok(())
}

/// Gives all memory of the store back. No instance exists any more.
fn close_store(sleepable: &mut Sleepable) {
    while store().is_some_and(|store| {
        store.reclaim();
        store.figures().pending > 0
    }) {
        drain_net_epoch_callbacks(sleepable);
    }
    // The last period's callback looks at the store.
    drain_net_epoch_callbacks(sleepable);
    let store = STORE.swap(ptr::null_mut(), Ordering::AcqRel);
    if !store.is_null() {
        // SAFETY: boxed by `open_store`; no instance and no callback is left that
        // could refer to it.
        drop(unsafe { Box::from_raw(store) });
    }
}

fn store() -> Option<&'static FibStore> {
    // SAFETY: `close_store` takes it down when nobody is left to ask.
    unsafe { STORE.load(Ordering::Acquire).as_ref() }
}

/// How often a callback of the epoch gives some hundred blocks back.
const TIDY_ROUNDS: u32 = 64;

/// What is done when a grace period of the store has ended: part of what waited
/// for it is given back, in short holds of the lock. The rest goes with later
/// changes.
fn tidy() {
    let Some(store) = store() else { return };
    let mut pending = store.figures().pending;
    for _ in 0..TIDY_ROUNDS {
        store.reclaim();
        let now = store.figures().pending;
        if now == 0 || now == pending {
            break;
        }
        pending = now;
    }
}

/// What the tables of all instances hold together.
pub(crate) fn store_figures() -> StoreFigures {
    store().map(Store::figures).unwrap_or_default()
}

/// One table of one FIB, as the framework keeps it.
struct Instance {
    /// The lookup's way into `table`, beside its writer.
    reader: Reader4<'static, EpochGrace>,
    /// Index to nexthop; index 0 is not used.
    nexthops: *const *mut c::nhop_object,
    framework: *mut c::fib_data,
    fib: u32,
    /// Instances before this one, in a row, whose building found no memory.
    failed_builds: u32,
    /// A change was missed.
    stale: AtomicBool,
    /// Touched by callbacks under the route table's write lock only.
    table: UnsafeCell<Table4<'static, FibMemory, EpochGrace, Mtx>>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        INSTANCES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instance {
    fn new(fib: u32, framework: *mut c::fib_data, failed_builds: u32) -> Result<Box<Self>, Errno> {
        let table = Table4::new(store().ok_or(Errno::ENOENT)?).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the reader goes into the instance that owns the table, and the
        // framework looks up in an instance only before it destroys it.
        let reader = unsafe { table.reader().detach() };
        INSTANCES.fetch_add(1, Ordering::Relaxed);
        try_box(Self {
            reader,
            // SAFETY: the framework's own pointer, valid during its call.
            nexthops: unsafe { c::fib_get_nhop_array(framework) }.cast_const(),
            framework,
            fib,
            failed_builds,
            stale: AtomicBool::new(false),
            table: UnsafeCell::new(table),
        })
        .map_err(|_| Errno::ENOMEM)
    }

    /// The instance behind the framework's pointer.
    ///
    /// # Safety
    /// `data` is what `init` gave to the framework, and not destroyed.
    unsafe fn from_data<'i>(data: *mut c_void) -> &'i Self {
        // SAFETY: the caller's promise.
        unsafe { &*data.cast() }
    }

    /// The table, for a callback.
    ///
    /// # Safety
    /// The route table's write lock is held, and nothing else in this callback has
    /// a reference to the engine's table.
    #[allow(clippy::mut_from_ref)]
    unsafe fn table(&self) -> &mut Table4<'static, FibMemory, EpochGrace, Mtx> {
        // SAFETY: the write lock lets one callback run at a time; the rest is the
        // caller's promise.
        unsafe { &mut *self.table.get() }
    }

    /// Brings the table up to a change of the routes.
    ///
    /// # Safety
    /// As for [`table`](Instance::table); `rib` is the route table.
    unsafe fn follow(&self, rib: *const c::rib_head, route: Route) -> Result<(), FibError> {
        if self.stale.load(Ordering::Relaxed) {
            return Err(FibError::OutOfMemory);
        }
        let routes = LockedRoutes {
            rib,
            fib: self.fib,
            framework: self.framework,
        };
        // SAFETY: the caller's promise.
        unsafe { self.table() }.update(route.prefix, route.length, &routes)
    }

    /// The framework's word for how a change went.
    fn verdict<P: Policy>(&self, outcome: Result<(), FibError>) -> c::flm_op_result {
        match outcome {
            Ok(()) => c::FLM_SUCCESS,
            Err(FibError::OutOfMemory) => {
                if !self.stale.swap(true, Ordering::Relaxed) {
                    P::out_of_memory(self.fib);
                }
                c::FLM_REBUILD
            }
            // No route of the kernel has such a prefix; were there one, this
            // algorithm could not serve the table.
            Err(_) => c::FLM_ERROR,
        }
    }

    /// The same while the instance is built. The framework tries 32 times on end,
    /// with the table locked; a table for which there is no memory ends that
    /// sooner, and the table keeps what served it before.
    fn verdict_of_build<P: Policy>(&self, outcome: Result<(), FibError>) -> c::flm_op_result {
        match self.verdict::<P>(outcome) {
            c::FLM_REBUILD if self.failed_builds + 1 >= BUILD_TRIES => c::FLM_ERROR,
            verdict => verdict,
        }
    }

    /// How many builds in a row have failed when a new one begins after this.
    fn failed_builds_so_far(&self) -> u32 {
        if self.stale.load(Ordering::Relaxed) {
            self.failed_builds.saturating_add(1)
        } else {
            0
        }
    }
}

/// A prefix in host order, without bits beyond its length, and its length.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) prefix: u32,
    pub(crate) length: u8,
}

impl Route {
    fn new(address: c::in_addr, length: c_int) -> Self {
        let length = length.clamp(0, 32) as u8;
        Self {
            prefix: u32::from_be(address.s_addr) & Self::mask(length),
            length,
        }
    }

    /// A socket address of that many leading ones, or of the prefix.
    fn socket_address(address: u32) -> c::sockaddr_in {
        c::sockaddr_in {
            sin_len: size_of::<c::sockaddr_in>() as u8,
            sin_family: c::AF_INET as u8,
            sin_port: 0,
            sin_addr: c::in_addr {
                s_addr: address.to_be(),
            },
            sin_zero: [0; 8],
        }
    }

    fn mask(length: u8) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(length.min(32)))
            .unwrap_or(0)
    }

    /// The route that an entry of the table stands for.
    ///
    /// # Safety
    /// `entry` is an entry of an IPv4 table whose lock is held.
    pub(super) unsafe fn of(entry: *const c::rtentry) -> Self {
        let mut address = c::in_addr { s_addr: 0 };
        let mut length = 0;
        let mut scope = 0;
        // SAFETY: the caller's entry; three places to write to.
        unsafe {
            c::rt_get_inet_prefix_plen(entry, &raw mut address, &raw mut length, &raw mut scope);
        }
        Self::new(address, length)
    }
}

unsafe extern "C" fn init<P: Policy>(
    fib: u32,
    framework: *mut c::fib_data,
    old: *mut c_void,
    new: *mut *mut c_void,
) -> c::flm_op_result {
    let failed_builds = if old.is_null() {
        0
    } else {
        // SAFETY: the framework keeps the instance before until this call is over.
        unsafe { Instance::from_data(old) }.failed_builds_so_far()
    };
    match Instance::new(fib, framework, failed_builds) {
        Ok(instance) => {
            // SAFETY: the framework's place for the pointer.
            unsafe { *new = Box::into_raw(instance).cast() };
            c::FLM_SUCCESS
        }
        Err(_) => {
            P::out_of_memory(fib);
            c::FLM_ERROR
        }
    }
}

unsafe extern "C" fn destroy(data: *mut c_void) {
    if !data.is_null() {
        // SAFETY: `init` made it, no callback comes any more, and all lookups that
        // could see it have ended: this is the only reference.
        drop(unsafe { Box::from_raw(data.cast::<Instance>()) });
    }
}

unsafe extern "C" fn dump<P: Policy>(
    entry: *mut c::rtentry,
    data: *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock.
    unsafe {
        let instance = Instance::from_data(data);
        let route = Route::of(entry);
        let class = c::fib_get_nhop_idx(instance.framework, c::rt_get_raw_nhop(entry));
        let outcome = instance.table().route(route.prefix, route.length, class);
        instance.verdict_of_build::<P>(outcome)
    }
}

unsafe extern "C" fn dump_end<P: Policy>(
    data: *mut c_void,
    datapath: *mut c::fib_dp,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock, its place for
    // function and argument among them.
    unsafe {
        let instance = Instance::from_data(data);
        let verdict = instance.verdict_of_build::<P>(instance.table().end());
        if verdict == c::FLM_SUCCESS {
            (*datapath).f = Some(best_lookup());
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
        let instance = Instance::from_data(data);
        if c::weft_shim_rib_behind(table) > 1 {
            instance.stale.store(true, Ordering::Relaxed);
        }
        let outcome = instance.follow(table, Route::of((*change).rc_rt));
        instance.verdict::<P>(outcome)
    }
}

unsafe extern "C" fn change_batch<P: Policy>(
    table: *mut c::rib_head,
    queue: *mut c::fib_change_queue,
    data: *mut c_void,
) -> c::flm_op_result {
    // SAFETY: the framework's pointers, under the table's write lock; the queue
    // holds `count` entries of IPv4 routes.
    unsafe {
        let instance = Instance::from_data(data);
        for at in 0..(*queue).count as usize {
            let entry = (*queue).entries.add(at);
            let route = Route::new((*entry).__bindgen_anon_1.addr4, c_int::from((*entry).plen));
            let verdict = instance.verdict::<P>(instance.follow(table, route));
            if verdict != c::FLM_SUCCESS {
                return verdict;
            }
        }
    }
    c::FLM_SUCCESS
}

unsafe extern "C" fn preference<P: Policy>(table: *const c::rib_rtable_info) -> u8 {
    // SAFETY: the framework's figures, valid during the call.
    P::preference(unsafe { (*table).num_prefixes })
}

/// The lookup to give to the framework: by POPCNT where the CPU has it, which
/// GENERIC does not take for granted.
fn best_lookup() -> Lookup {
    const POPCNT: u32 = 1 << 23;
    if __cpuid(1).ecx & POPCNT != 0 {
        lookup_popcnt
    } else {
        lookup
    }
}

/// A lookup, as the framework calls it.
type Lookup = unsafe extern "C" fn(*mut c_void, c::flm_lookup_key, u32) -> *mut c::nhop_object;

impl Instance {
    /// The nexthop of a class that the table answered.
    ///
    /// # Safety
    /// The framework gave the class to the table, and its array has a slot for it.
    #[inline(always)]
    unsafe fn nexthop(&self, class: u32) -> *mut c::nhop_object {
        match class {
            0 => ptr::null_mut(),
            // SAFETY: the caller's promise.
            index => unsafe { *self.nexthops.add(index as usize) },
        }
    }
}

/// The hot path: each IPv4 packet that the kernel routes comes through here, or
/// through `lookup_popcnt`.
unsafe extern "C" fn lookup(
    data: *mut c_void,
    key: c::flm_lookup_key,
    _scope: u32,
) -> *mut c::nhop_object {
    // SAFETY: the kernel looks up in the network epoch, which keeps the instance;
    // IPv4's key is an address.
    unsafe {
        let instance = Instance::from_data(data);
        let destination = u32::from_be(key.__bindgen_anon_1.addr4.s_addr);
        instance.nexthop(instance.reader.lookup(&NetEpoch::assume(), destination))
    }
}

/// As `lookup`, on a CPU with POPCNT.
#[target_feature(enable = "popcnt")]
unsafe extern "C" fn lookup_popcnt(
    data: *mut c_void,
    key: c::flm_lookup_key,
    _scope: u32,
) -> *mut c::nhop_object {
    // SAFETY: as in `lookup`; `best_lookup` chose this function for such a CPU.
    unsafe {
        let instance = Instance::from_data(data);
        let destination = u32::from_be(key.__bindgen_anon_1.addr4.s_addr);
        instance.nexthop(
            instance
                .reader
                .lookup_popcnt(&NetEpoch::assume(), destination),
        )
    }
}

/// The route table, whose lock is held, as the engine asks it.
struct LockedRoutes {
    rib: *const c::rib_head,
    fib: u32,
    framework: *mut c::fib_data,
}

impl LockedRoutes {
    /// The class of a route: its nexthop's index.
    ///
    /// # Safety
    /// `entry` is an entry of this table.
    unsafe fn class(&self, entry: *const c::rtentry) -> u32 {
        // SAFETY: the caller's promise, and the framework's own pointers.
        unsafe { c::fib_get_nhop_idx(self.framework, c::rt_get_raw_nhop(entry)) }
    }
}

impl Routes<u32> for LockedRoutes {
    fn count(&self) -> usize {
        // SAFETY: the table is locked.
        unsafe { c::weft_shim_rib_prefixes(self.rib) as usize }
    }

    fn inside(&self, prefix: u32, plen: u8, visit: &mut dyn FnMut(u32, u8, u32) -> bool) {
        let mut destination = Route::socket_address(prefix);
        let mut mask = Route::socket_address(Route::mask(plen));
        let mut walk = Walk {
            routes: self,
            last: prefix | !Route::mask(plen),
            first: prefix,
            visit,
        };
        // SAFETY: the table is locked by the caller of the callback that we are in;
        // the addresses and the walk live during the call.
        unsafe {
            c::rib_walk_from(
                self.fib,
                c::AF_INET as c_int,
                c::RIB_FLAG_LOCKED,
                (&raw mut destination).cast(),
                (&raw mut mask).cast(),
                Some(step),
                (&raw mut walk).cast(),
            );
        }
    }

    fn around(&self, prefix: u32, plen: u8) -> Option<(u8, u32)> {
        let address = c::in_addr {
            s_addr: prefix.to_be(),
        };
        // SAFETY: the table is locked.
        unsafe {
            let entry = c::rt_get_inet_parent(self.fib, address, c_int::from(plen));
            if entry.is_null() {
                return None;
            }
            Some((Route::of(entry).length, self.class(entry)))
        }
    }
}

/// A walk through the routes of some addresses.
struct Walk<'w> {
    routes: &'w LockedRoutes,
    first: u32,
    last: u32,
    visit: &'w mut dyn FnMut(u32, u8, u32) -> bool,
}

unsafe extern "C" fn step(entry: *mut c::rtentry, walk: *mut c_void) -> c_int {
    // SAFETY: `inside` passed its walk, and an entry of the locked table.
    unsafe {
        let walk = &mut *walk.cast::<Walk<'_>>();
        let route = Route::of(entry);
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

/// The module's lookup in one FIB of the current network stack, to be compared
/// with the route table.
pub(super) struct Datapath<'e> {
    function: Lookup,
    data: *mut c_void,
    epoch: PhantomData<&'e ()>,
}

impl<'e> Datapath<'e> {
    /// The FIB's datapath, if one of the module's algorithms serves it.
    ///
    /// # Safety
    /// The current network stack has an IPv4 FIB of that number.
    pub(super) unsafe fn of_fib(_epoch: &NetEpoch<'e>, fib: u32) -> Option<Self> {
        let mut datapath = c::fib_dp {
            f: None,
            arg: ptr::null_mut(),
        };
        // SAFETY: in the epoch, and there is such a FIB; a place to write to.
        unsafe { c::weft_shim_fib4_datapath(fib, &raw mut datapath) };
        let function = datapath.f?;
        if !ptr::fn_addr_eq(function, best_lookup()) {
            return None;
        }
        Some(Self {
            function,
            data: datapath.arg,
            epoch: PhantomData,
        })
    }

    /// What a packet to that address (host order) would be answered.
    pub(super) fn answer(&self, destination: u32) -> *mut c::nhop_object {
        let mut key = c::flm_lookup_key {
            __bindgen_anon_1: c::flm_lookup_key__bindgen_ty_1 { addr6: ptr::null() },
        };
        key.__bindgen_anon_1.addr4 = c::in_addr {
            s_addr: destination.to_be(),
        };
        // SAFETY: the argument belongs to this function, and the epoch keeps it.
        unsafe { (self.function)(self.data, key, 0) }
    }
}
