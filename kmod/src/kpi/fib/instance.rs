// SPDX-License-Identifier: BSD-2-Clause
//! One table of one FIB, as the framework keeps it: the engine's table, and the
//! classes of the FIB's next hops.
//!
//! An instance is made whenever the framework wants to begin anew, and fed with all
//! routes; the one before it answers until then. It borrows the framework's next
//! hops: what a lookup returns is referred to by the framework until a grace period
//! after the last change that took it out.
//!
//! An instance that missed a change must take no further one. It misses one for
//! want of memory; or the framework keeps changes from it while a rebuild is due,
//! and when the rebuild fails goes on as if nothing had been missed, which the
//! table's generations tell. The framework counts a nexthop's references by our
//! answers, so to take part then would free a nexthop that lookups still answer.
//! Hence such an instance is stale from then on: it answers lookups as it did,
//! and changes with "rebuild".

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use weft_bindings::kernel as c;
use weft_engine::fib::classes::{Bindings, ClassError, NextHops};
use weft_engine::fib::{FibError, Reader, Table, TableFigures, Weight};

use super::common::{Common, Held, common};
use super::family::{Family, Route};
use super::nexthop;
use super::record::Kept;
use super::routes::LockedRoutes;
use crate::kpi::context::NetEpoch;
use crate::kpi::epoch::EpochGrace;
use crate::kpi::errno::Errno;
use crate::kpi::kernel::Moment;
use crate::kpi::lock::Mtx;
use crate::kpi::memory::{FibMemory, try_box};
use crate::kpi::probe;

pub(super) type FibBindings = Bindings<'static, c::nhop_object, FibMemory, Mtx>;
type FibTable<K> = Table<'static, K, FibMemory, EpochGrace, Mtx>;

/// The highest class of any table.
const MOST_CLASSES: u32 = (1 << 20) - 1;

/// Instances that exist, by family.
static INSTANCES: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Tables that have a flat top.
static FLAT: AtomicU32 = AtomicU32::new(0);

/// Which tables get a flat top, 256 KB of their own that save lookups a step.
#[derive(Clone, Copy)]
pub(crate) struct FlatTops {
    /// Those of so many prefixes at least ...
    pub(crate) prefixes: u64,
    /// ... as long as no more than this have one, over all network stacks.
    pub(crate) tables: u64,
}

/// How many tables of a family the module serves, or did until a moment ago.
pub(crate) fn instances<F: Family>() -> u32 {
    counter::<F>().load(Ordering::Relaxed)
}

fn counter<F: Family>() -> &'static AtomicU32 {
    &INSTANCES[F::PLACE]
}

/// Why a table did not take a route.
#[derive(Clone, Copy)]
pub(super) enum Failure {
    /// There was no memory, or a change was missed.
    Rebuild,
    /// More next hops than the table has classes, which are this many: one made for
    /// more has them.
    Widen(u32),
    /// No table takes it.
    Never,
}

impl From<FibError> for Failure {
    fn from(error: FibError) -> Self {
        match error {
            // The class of a route that came while this table was not told.
            FibError::OutOfMemory | FibError::ClassRange { .. } => Self::Rebuild,
            // No route of the kernel has such a prefix; were there one, this
            // algorithm could not serve the table.
            _ => Self::Never,
        }
    }
}

impl From<ClassError> for Failure {
    fn from(error: ClassError) -> Self {
        match error {
            ClassError::OutOfMemory => Self::Rebuild,
            ClassError::Exhausted { most } if most < MOST_CLASSES => Self::Widen(most),
            _ => Self::Never,
        }
    }
}

/// A change of the routes: to one prefix, from a next hop, to a next hop, each of
/// which may be null.
pub(super) struct Change<K> {
    pub(super) route: Route<K>,
    pub(super) old: *mut c::nhop_object,
    pub(super) new: *mut c::nhop_object,
}

/// One table of one FIB. What lookups read comes first.
#[repr(C, align(64))]
pub(super) struct Instance<F: Family> {
    /// The lookup's way into the writer's table, beside the writer ...
    reader: Reader<'static, F::Key, EpochGrace>,
    /// ... and from a class to a next hop.
    next_hops: NextHops<c::nhop_object>,
    common: &'static Common,
    framework: *mut c::fib_data,
    pub(super) fib: u32,
    /// Instances before this one, in a row, whose building failed.
    failed_builds: u32,
    /// The instance before this one had a flat top.
    follows_flat: bool,
    /// A change was missed.
    stale: AtomicBool,
    /// Which classes the next instance is to hold, up to this; more than this one's
    /// table does if those were too few.
    most: AtomicU32,
    widens: AtomicBool,
    /// The table has a flat top.
    flat: AtomicBool,
    /// Classes that are bound, and the bytes of the bindings.
    bound: AtomicU32,
    bindings_bytes: AtomicUsize,
    /// What has happened to the FIB's table.
    pub(super) record: Kept,
    /// Touched by callbacks under the route table's write lock only.
    writer: UnsafeCell<Writer<F>>,
    /// What the writer's bindings are entered in. Dropped after them.
    _dictionary: Held,
}

/// What changes the table.
struct Writer<F: Family> {
    table: FibTable<F::Key>,
    bindings: FibBindings,
}

impl<F: Family> Drop for Instance<F> {
    fn drop(&mut self) {
        if self.is_flat() {
            FLAT.fetch_sub(1, Ordering::Relaxed);
        }
        counter::<F>().fetch_sub(1, Ordering::Relaxed);
    }
}

impl<F: Family> Instance<F> {
    /// An instance without routes, in place of `before`, if that is one. Does not
    /// sleep.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(
        fib: u32,
        framework: *mut c::fib_data,
        before: Option<&Self>,
    ) -> Result<Box<Self>, Errno> {
        let common = common().ok_or(Errno::ENOENT)?;
        let most = before.map_or(0, |before| before.most.load(Ordering::Relaxed));
        let table = FibTable::for_classes(&common.store, most).map_err(|_| Errno::ENOMEM)?;
        let most = table.class_max();
        let dictionary = common.dictionary::<F>(most, most >= MOST_CLASSES)?;
        // SAFETY: the bindings go with the writer, which is dropped before the
        // dictionary.
        let borrowed = unsafe { dictionary.dictionary() };
        let record = match before {
            Some(before) => before.record.again(),
            None => Kept::new()?,
        };
        let (bindings, next_hops) =
            Bindings::new(FibMemory, borrowed).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the reader goes into the instance that owns the table, and the
        // framework looks up in an instance only before it destroys it.
        let reader = unsafe { table.reader().detach() };
        counter::<F>().fetch_add(1, Ordering::Relaxed);
        try_box(Self {
            reader,
            next_hops,
            common,
            framework,
            fib,
            failed_builds: before.map_or(0, Self::failed_builds_so_far),
            follows_flat: before.is_some_and(Self::is_flat),
            stale: AtomicBool::new(false),
            most: AtomicU32::new(most),
            widens: AtomicBool::new(false),
            flat: AtomicBool::new(false),
            bound: AtomicU32::new(0),
            bindings_bytes: AtomicUsize::new(0),
            record,
            writer: UnsafeCell::new(Writer { table, bindings }),
            _dictionary: dictionary,
        })
        .map_err(|_| Errno::ENOMEM)
    }

    /// The instance behind the framework's pointer.
    ///
    /// # Safety
    /// `data` is what `init` gave to the framework, and not destroyed.
    #[inline(always)]
    pub(super) unsafe fn from_data<'i>(data: *mut c_void) -> &'i Self {
        // SAFETY: the caller's promise.
        unsafe { &*data.cast() }
    }

    /// What changes the table.
    ///
    /// # Safety
    /// In a callback under the route table's write lock, which has no other
    /// reference to it.
    #[allow(clippy::mut_from_ref)]
    unsafe fn writer(&self) -> &mut Writer<F> {
        // SAFETY: the write lock lets one callback run at a time; the rest is the
        // caller's promise.
        unsafe { &mut *self.writer.get() }
    }

    /// The next hop for an address.
    #[inline(always)]
    pub(super) fn answer(&self, epoch: &NetEpoch<'_>, destination: F::Key) -> *mut c::nhop_object {
        let class = self.reader.lookup_specific(epoch, destination);
        // SAFETY: the table's classes come from the bindings.
        unsafe { self.next_hops.get(class) }
    }

    /// The same by the POPCNT instruction.
    ///
    /// # Safety
    /// The CPU has it.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) unsafe fn answer_popcnt(
        &self,
        epoch: &NetEpoch<'_>,
        destination: F::Key,
    ) -> *mut c::nhop_object {
        // SAFETY: the caller's promise; the table's classes come from the bindings.
        unsafe {
            let class = self.reader.lookup_specific_popcnt(epoch, destination);
            self.next_hops.get(class)
        }
    }

    /// Takes one route of the dump.
    ///
    /// # Safety
    /// As for [`writer`](Instance::writer); `entry` is the table's.
    pub(super) unsafe fn dump(&self, entry: *const c::rtentry) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        let (writer, nexthop, route) =
            unsafe { (self.writer(), c::rt_get_raw_nhop(entry), F::route(entry)) };
        // SAFETY: the route's own.
        let class = unsafe { self.add_use(&mut writer.bindings, nexthop) }?;
        Ok(writer.table.route(route.prefix, route.length, class)?)
    }

    /// Ends the dump. From here on the instance answers.
    ///
    /// # Safety
    /// As for [`writer`](Instance::writer).
    pub(super) unsafe fn end(&self, flat: FlatTops) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        let writer = unsafe { self.writer() };
        writer.table.end()?;
        self.flatten(writer, flat);
        self.publish_default(writer);
        self.note_bindings(writer);
        self.record.note_build();
        Ok(())
    }

    /// Gives the table a flat top, if it is to have one. Without memory for it the
    /// table is as good, but for the step that it would save.
    fn flatten(&self, writer: &mut Writer<F>, flat: FlatTops) {
        let prefixes = writer.table.figures().prefixes as u64;
        if prefixes < flat.prefixes {
            return;
        }
        // The instance before this one counts, and goes.
        let others = FLAT.fetch_add(1, Ordering::Relaxed);
        let allowed = flat.tables + u64::from(self.follows_flat);
        if u64::from(others) >= allowed || writer.table.flatten().is_err() {
            FLAT.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.flat.store(true, Ordering::Relaxed);
    }

    /// Brings the table up to changes that the route table has all had.
    ///
    /// # Safety
    /// As for [`writer`](Instance::writer); `rib` is the route table, and the
    /// changes are those that came since the last call.
    pub(super) unsafe fn follow<I>(&self, rib: *mut c::rib_head, changes: I) -> Result<(), Failure>
    where
        I: Iterator<Item = Change<F::Key>> + Clone,
    {
        if self.stale.load(Ordering::Relaxed) {
            return Err(Failure::Rebuild);
        }
        let began = Moment::now();
        // SAFETY: the caller's promise.
        let writer = unsafe { self.writer() };
        // All new next hops first: a route may be shown by the change before its own.
        for change in changes.clone().filter(|change| !change.new.is_null()) {
            // SAFETY: the change's own.
            unsafe { self.add_use(&mut writer.bindings, change.new) }?;
        }
        for change in changes {
            let Route { prefix, length } = change.route;
            let routes = LockedRoutes::<F> {
                rib,
                fib: self.fib,
                framework: self.framework,
                bindings: &writer.bindings,
                family: PhantomData,
            };
            writer.table.update(prefix, length, &routes)?;
            if length == 0 {
                self.publish_default(writer);
            }
            if !change.old.is_null() {
                // SAFETY: the framework refers to it until after this call.
                let index = unsafe { c::fib_get_nhop_idx(self.framework, change.old) };
                let bindings = &mut writer.bindings;
                bindings.end_use(&self.common.clock, index, change.old);
            }
        }
        self.note_bindings(writer);
        let ns = self.record.note_change(began);
        probe::fib_change(F::NUMBER, self.fib, ns);
        Ok(())
    }

    /// Keeps what figures tell of the bindings where they can be read.
    fn note_bindings(&self, writer: &Writer<F>) {
        let bindings = &writer.bindings;
        self.bound.store(bindings.bound(), Ordering::Relaxed);
        let bytes = &self.bindings_bytes;
        bytes.store(bindings.bytes(), Ordering::Relaxed);
    }

    /// Next hops in use, or that were a moment ago.
    pub(super) fn next_hops_bound(&self) -> u32 {
        self.bound.load(Ordering::Relaxed)
    }

    /// Whether the table has a flat top.
    pub(super) fn is_flat(&self) -> bool {
        self.flat.load(Ordering::Relaxed)
    }

    /// The table's own figures.
    pub(super) fn table_figures(&self) -> TableFigures {
        self.reader.figures()
    }

    /// Bytes that no other table has a part in, beside those of pages.
    pub(super) fn own_bytes(&self) -> u64 {
        let bindings = self.bindings_bytes.load(Ordering::Relaxed);
        (size_of::<Self>() + self.table_figures().bytes + bindings) as u64
    }

    /// What some of the table's rows weigh.
    pub(super) fn weigh(&self, rows: Range<usize>) -> Weight {
        self.common.store.weigh(&self.reader, rows)
    }

    /// # Safety
    /// The nexthop is that of a route of the table, whose lock is held.
    unsafe fn add_use(
        &self,
        bindings: &mut FibBindings,
        nexthop: *mut c::nhop_object,
    ) -> Result<u32, ClassError> {
        // SAFETY: the caller's promise, and the framework's own pointer.
        let index = unsafe { c::fib_get_nhop_idx(self.framework, nexthop) };
        let clock = &self.common.clock;
        bindings.add_use(&self.next_hops, clock, index, nexthop, || {
            // SAFETY: the caller's promise.
            unsafe { nexthop::identity(&self.common.identifier, nexthop) }
        })
    }

    /// What lookups answer where the table has nothing longer.
    fn publish_default(&self, writer: &Writer<F>) {
        let class = self.reader.default_class();
        writer.bindings.set_default(&self.next_hops, class);
    }

    /// Notes that a change was missed; true for the first one.
    pub(super) fn missed(&self) -> bool {
        !self.stale.swap(true, Ordering::Relaxed)
    }

    /// Has the next instance be made for more classes than this one's `few`.
    pub(super) fn widen(&self, few: u32) {
        let most = few.saturating_add(1).min(MOST_CLASSES);
        self.most.store(most, Ordering::Relaxed);
        self.widens.store(true, Ordering::Relaxed);
    }

    /// Whether this is one build too many that failed.
    pub(super) fn gives_up(&self, tries: u32) -> bool {
        self.failed_builds + 1 >= tries
    }

    /// How many builds in a row have failed when a new one begins after this. To be
    /// made for more classes is no failure, and happens twice at most.
    fn failed_builds_so_far(&self) -> u32 {
        if self.widens.load(Ordering::Relaxed) {
            self.failed_builds
        } else if self.stale.load(Ordering::Relaxed) {
            self.failed_builds.saturating_add(1)
        } else {
            0
        }
    }
}

/// Frees an instance.
///
/// # Safety
/// `init` gave it to the framework, no callback comes any more, and all lookups that
/// could see it have ended.
pub(super) unsafe fn destroy<F: Family>(data: *mut c_void) {
    if !ptr::eq(data, ptr::null()) {
        // SAFETY: boxed, and by the caller's promise this is the only reference.
        drop(unsafe { Box::from_raw(data.cast::<Instance<F>>()) });
    }
}
