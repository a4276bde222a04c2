// SPDX-License-Identifier: BSD-2-Clause
//! The table of one FIB: a root of 1,024 rows, which a [`Store`] shares out.
//!
//! # A lookup
//!
//! | step | by                   | reads                                             |
//! | ---- | -------------------- | ------------------------------------------------- |
//! | 1    | the first 10 bits    | the root (4 KB, the table's own): a row           |
//! | 2    | 6 further bits       | the row (256 bytes): an answer                    |
//! | 3... | 8 further bits each  | while the answer is a page: the answer there      |
//!
//! A table may be [flattened](Table::flatten): then steps 1 and 2 are one, in 256 KB
//! of its own. An answer is a class or a page's number, from which its address
//! follows without a further load.
//!
//! For IPv4 there is no branch on the way that depends on the address but that to a
//! fourth step, where routes are longer than /24: a /16 of one class has a page as
//! well, which all such /16s share. For IPv6 a lookup ends where the answer is a
//! class, and the first page is a full one, for few of them hold all routes.
//!
//! The default route is in no page: where nothing longer covers an address the
//! answer is 0, and the table's own cell has the rest, so that a change of it is one
//! store.
//!
//! # A change
//!
//! The table keeps no routes. It asks for those inside the prefix that changed and
//! for the one around it ([`Routes`]), makes the pages anew that the prefix touches,
//! of an older page only what is outside the prefix, and publishes:
//!
//! | prefix       | by one release store of                  | else                    |
//! | ------------ | ---------------------------------------- | ----------------------- |
//! | default      | its class to the table's cell            |                         |
//! | /1 to /9     |                                          | a row to the root for each /10 |
//! | /10 and more | a row to the root, or an answer to the row if the row was never shared | |
//!
//! What a prefix of less than 10 bits covers is thus seen to change /10 by /10 (in a
//! flat table, of less than 16 bits, /16 by /16); the answer for each single address
//! changes once. All pages and rows are there before the first of these stores, so
//! that a change is made as a whole or not at all.
//!
//! # What a reader beside it sees
//!
//! [`lookup_specific`](Reader::lookup_specific) takes its answer from the one place
//! that a change can store to for its address: it was right at some moment of the
//! call. [`lookup`](Reader::lookup) reads the default's cell after it, if that was 0.
//! Between the two a more specific route may have come and then the default have
//! changed, so that its answer may be the present default where a route that is a few
//! nanoseconds old should have been preferred; never anything older or freed.
//!
//! # Use
//!
//! ```
//! use std::sync::Mutex;
//! use weft_engine::fib::{FibError, Routes, Store, Table4};
//! use weft_engine::sim::epoch::{HostEpoch, Section};
//! use weft_engine::sim::memory::HostMemory;
//!
//! /// 10/8 to class 1, and 10.1.2/24 to 2 for as long as it is there.
//! struct Rib {
//!     longer: bool,
//! }
//!
//! impl Routes<u32> for Rib {
//!     fn count(&self) -> usize {
//!         1 + usize::from(self.longer)
//!     }
//!
//!     fn inside(&self, _: u32, _: u8, visit: &mut dyn FnMut(u32, u8, u32) -> bool) {
//!         if visit(0x0a00_0000, 8, 1) && self.longer {
//!             visit(0x0a01_0200, 24, 2);
//!         }
//!     }
//!
//!     fn around(&self, prefix: u32, plen: u8) -> Option<(u8, u32)> {
//!         (plen > 8 && prefix >> 24 == 10).then_some((8, 1))
//!     }
//! }
//!
//! // One store for all FIBs of the module; the seed is random there.
//! let store = Store::new(HostMemory::default(), HostEpoch, Mutex::new(()), 1)?;
//! let mut table = Table4::new(&store)?;
//! // First the dump of all routes, in order of their addresses.
//! table.route(0x0a00_0000, 8, 1)?;
//! table.route(0x0a01_0200, 24, 2)?;
//! table.end()?;
//! let (mut writer, reader) = table.split();
//! assert_eq!(reader.lookup(&Section::enter(), 0x0a01_0203), 2);
//! // Then each change, after the routing information base has it.
//! writer.update(0x0a01_0200, 24, &Rib { longer: false })?;
//! assert_eq!(reader.lookup(&Section::enter(), 0x0a01_0203), 1);
//! # Ok::<(), FibError>(())
//! ```

use super::grace::{Grace, Lock, Memory};
use super::heap::{Block, LINE, Origin, line};
use super::key::{Key, check};
use super::owned::Owned;
use super::page::{self, Format, is_number};
use super::retire::Place;
use super::store::{LiveRow, PLACES, Row, Store};
use super::sweep::{ROWS, Sweep, format_at};
use super::{FibError, TableFigures};
use core::hint::select_unpredictable;
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The routes that a table is made of: the routing information base. A table keeps
/// none of them itself, and asks for those around a change when it comes.
///
/// What it is told must be the same from the beginning of
/// [`update`](Table::update) to its end; addresses and prefixes are in host order.
pub trait Routes<K> {
    /// How many routes there are. For the table's figures only.
    fn count(&self) -> usize;

    /// Shows `visit(prefix, plen, class)` each route inside the prefix, itself
    /// included, in ascending order of addresses, the lengths at one address in any
    /// order. Routes that are not inside may be shown too. It may end when `visit`
    /// has returned false.
    fn inside(&self, prefix: K, plen: u8, visit: &mut dyn FnMut(K, u8, u32) -> bool);

    /// The length and the class of the longest route that covers the prefix and is
    /// shorter than it.
    fn around(&self, prefix: K, plen: u8) -> Option<(u8, u32)>;
}

/// The routes of one FIB, for one writer and any number of readers.
pub struct Table<'s, K: Key, M: Memory, G: Grace, L: Lock> {
    store: &'s Store<M, G, L>,
    shared: Owned<'s, Shared, M>,
    flat: Option<Owned<'s, Flat, M>>,
    dump: Option<Dump<'s, K, M, G, L>>,
}

/// An IPv4 table.
pub type Table4<'s, M, G, L> = Table<'s, u32, M, G, L>;
/// An IPv6 table.
pub type Table6<'s, M, G, L> = Table<'s, u128, M, G, L>;

/// The writer's end of a table that was [split](Table::split).
pub struct Writer<'t, 's, K: Key, M: Memory, G: Grace, L: Lock> {
    /// Never replaced, for readers have the table's lifetime.
    table: &'t mut Table<'s, K, M, G, L>,
}

impl<K: Key, M: Memory, G: Grace, L: Lock> Writer<'_, '_, K, M, G, L> {
    /// As [`Table::route`].
    pub fn route(&mut self, prefix: K, plen: u8, class: u32) -> Result<(), FibError> {
        self.table.route(prefix, plen, class)
    }

    /// As [`Table::end`].
    pub fn end(&mut self) -> Result<(), FibError> {
        self.table.end()
    }

    /// As [`Table::update`].
    pub fn update(&mut self, prefix: K, plen: u8, routes: &impl Routes<K>) -> Result<(), FibError> {
        self.table.update(prefix, plen, routes)
    }
}

/// The routes that were told so far, and will be the table.
struct Dump<'s, K: Key, M: Memory, G: Grace, L: Lock> {
    sweep: Sweep<'s, K, M, G, L>,
    default: u32,
    prefixes: usize,
}

/// The answer for each /16. All its bytes may be 0.
type Flat = [Place; ROWS * PLACES];

/// What readers reach. All its bytes may be 0; `origin` and `format` are set before
/// the first of them comes.
#[repr(C, align(64))]
struct Shared {
    /// The answers of all rows, one after the other, or null.
    flat: AtomicPtr<Flat>,
    origin: Origin,
    /// The format of pages of runs, by its number.
    format: u8,
    /// The class of the default route, or 0.
    default: AtomicU32,
    prefixes: AtomicUsize,
    /// Changes published.
    generation: AtomicU64,
    /// The row of each prefix of 10 bits, by number.
    root: Root,
}

/// The rows, from a cache line's beginning on.
#[repr(C, align(64))]
struct Root([Place; ROWS]);

impl Shared {
    #[inline(always)]
    fn format(&self) -> Format {
        match self.format {
            BYTE => Format::Byte,
            NARROW => Format::Narrow,
            _ => Format::Wide,
        }
    }
}

/// Formats' numbers.
const BYTE: u8 = 0;
const NARROW: u8 = 1;
const WIDE: u8 = 2;

impl<'s, K: Key, M: Memory, G: Grace, L: Lock> Table<'s, K, M, G, L> {
    /// A table without routes, for classes up to 127 if it is of IPv4, up to 1,048,575
    /// if it is of IPv6.
    ///
    /// # Errors
    /// [`FibError::OutOfMemory`].
    pub fn new(store: &'s Store<M, G, L>) -> Result<Self, FibError> {
        Self::for_classes(store, 1)
    }

    /// A table without routes, for classes up to `most` at least. An IPv4 table is
    /// smallest, and its lookups are fastest, for up to 127; the next steps are 32,767
    /// and 1,048,575. One of IPv6 is for that many always.
    ///
    /// # Errors
    /// [`FibError::OutOfMemory`], or [`FibError::ClassRange`] if `most` is more than
    /// any table holds.
    pub fn for_classes(store: &'s Store<M, G, L>, most: u32) -> Result<Self, FibError> {
        Format::Wide.check_class(most.max(1))?;
        // SAFETY: null pointers and integers.
        let mut shared: Owned<'s, Shared, M> = unsafe { Owned::zeroed(store.memory())? };
        shared.origin = store.origin();
        shared.format = match Format::for_classes(most) {
            _ if !K::PAGE_ON_TOP => WIDE,
            Format::Byte => BYTE,
            Format::Narrow => NARROW,
            Format::Wide | Format::Full => WIDE,
        };
        let format = shared.format();
        let row = store.with(|held| {
            if !K::PAGE_ON_TOP {
                return held.row(&Row([0; PLACES]));
            }
            let page = held.page(format, &[0; page::SLOTS])?;
            held.refer(page, PLACES as u32 - 1);
            let row = Row([page.bits(); PLACES]);
            held.row(&row).inspect_err(|_| held.release_all(&row.0))
        })?;
        store.with(|held| (1..ROWS).for_each(|_| held.refer_row(row)));
        for place in &shared.root.0 {
            place.publish(row.bits());
        }
        Ok(Self {
            store,
            shared,
            flat: None,
            dump: None,
        })
    }

    /// The largest class that the table holds.
    pub fn class_max(&self) -> u32 {
        self.shared.format().class_max()
    }

    /// Takes one route of a dump of all routes, which [`end`](Table::end) ends.
    /// Until then the table answers as before. Addresses must not descend; the
    /// lengths at one address may come in any order.
    ///
    /// Never sleeps, unless [`Memory`] or [`Lock`] does.
    ///
    /// # Errors
    /// After an error the dump is forgotten, and may begin anew.
    pub fn route(&mut self, prefix: K, plen: u8, class: u32) -> Result<(), FibError> {
        let mut dump = match self.dump.take() {
            Some(dump) => dump,
            None => self.begin()?,
        };
        if plen == 0 {
            check(prefix, plen)?;
            self.shared.format().check_class(class)?;
            dump.default = class;
        }
        dump.sweep.route(prefix, plen, class)?;
        dump.prefixes = dump.prefixes.wrapping_add(1);
        self.dump = Some(dump);
        Ok(())
    }

    /// Ends a dump: the table is now made of the routes that were told since the
    /// last end, and no others.
    ///
    /// # Errors
    /// As [`route`](Table::route).
    pub fn end(&mut self) -> Result<(), FibError> {
        let mut dump = match self.dump.take() {
            Some(dump) => dump,
            None => self.begin()?,
        };
        dump.sweep.finish(0)?;
        self.publish_rows(&mut dump.sweep);
        self.set_default(dump.default);
        self.shared.prefixes.store(dump.prefixes, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&self) -> Result<Dump<'s, K, M, G, L>, FibError> {
        let all = (K::default(), 0);
        let format = self.shared.format();
        Ok(Dump {
            sweep: Sweep::new(self.store, format, all, 0, self.row_at(0))?,
            default: 0,
            prefixes: 0,
        })
    }

    /// Makes the table answer as the routes do now, of which that of this prefix may
    /// have come, changed or gone since the last time, and no other.
    ///
    /// Never sleeps, unless [`Memory`], [`Lock`] or `routes` does.
    ///
    /// # Errors
    /// What is wrong with the prefix or with a route's class, or
    /// [`FibError::OutOfMemory`]. The table answers as before; it may take a further
    /// change only after the one that failed was made up for.
    pub fn update(&mut self, prefix: K, plen: u8, routes: &impl Routes<K>) -> Result<(), FibError> {
        check(prefix, plen)?;
        if self.dump.is_some() {
            return Err(FibError::Dumping);
        }
        if plen == 0 {
            let class = routes.around(prefix, 1).map_or(0, |(_, class)| class);
            if class != 0 {
                self.shared.format().check_class(class)?;
            }
            self.set_default(class);
        } else {
            let mut sweep = self.sweep_inside(prefix, plen, routes)?;
            self.publish_places(&mut sweep, prefix.top() / PLACES)?;
            self.publish_rows(&mut sweep);
        }
        self.shared
            .prefixes
            .store(routes.count(), Ordering::Relaxed);
        Ok(())
    }

    /// Gives the table 256 KB of its own, by which lookups save one step (2 and the
    /// root's are one then). For a large table, as long as there are few of them: it
    /// is what tables of one store do not share. A second call does nothing.
    ///
    /// A change of less than 16 bits is then seen to come /16 by /16.
    ///
    /// # Errors
    /// [`FibError::OutOfMemory`]; the table is as it was.
    pub fn flatten(&mut self) -> Result<(), FibError> {
        if self.flat.is_some() {
            return Ok(());
        }
        // SAFETY: integers.
        let flat: Owned<'s, Flat, M> = unsafe { Owned::zeroed(self.store.memory())? };
        for place in 0..ROWS {
            self.lay_out(&flat, place);
        }
        self.shared
            .flat
            .store(flat.as_ptr().as_ptr(), Ordering::Release);
        self.flat = Some(flat);
        Ok(())
    }

    /// What a prefix's addresses are to answer.
    fn sweep_inside(
        &self,
        prefix: K,
        plen: u8,
        routes: &impl Routes<K>,
    ) -> Result<Sweep<'s, K, M, G, L>, FibError> {
        let format = self.shared.format();
        // The default route is no page's: pages say 0 where nothing else covers.
        let around = match routes.around(prefix, plen) {
            None | Some((0, _)) => 0,
            Some((_, class)) => format.check_class(class).map(|()| class)?,
        };
        let row = self.row_at(prefix.top() / PLACES);
        let mut sweep = Sweep::new(self.store, format, (prefix, plen), around, row)?;
        let mut outcome = Ok(());
        routes.inside(prefix, plen, &mut |prefix, plen, class| {
            outcome = sweep.route(prefix, plen, class);
            outcome.is_ok()
        });
        outcome?;
        sweep.finish(plen)?;
        Ok(sweep)
    }

    /// Puts what a sweep made of a part of a row into the table.
    fn publish_places(
        &mut self,
        sweep: &mut Sweep<'s, K, M, G, L>,
        place: usize,
    ) -> Result<(), FibError> {
        let Some((row, changed)) = sweep.partial_row() else {
            return Ok(());
        };
        let old = self.row_at(place);
        self.store.with(|held| {
            let new = held.replace_row(row, changed, old)?;
            if let Some(new) = new {
                self.point(place, new);
                self.published();
            }
            // Here, under the same lock: a grace period that the old row waits for
            // begins after the new one was published.
            held.collect();
            Ok(())
        })?;
        sweep.partial_row_is_taken();
        Ok(())
    }

    /// Puts the rows that a sweep made into the table, and leaves those that were
    /// there to the sweep.
    fn publish_rows(&mut self, sweep: &mut Sweep<'s, K, M, G, L>) {
        let (start, rows) = sweep.whole_rows();
        let mut differs = false;
        for (place, row) in (start..).zip(rows) {
            let (old, new) = (self.row_at(place), Block::of_bits(*row));
            if old != new {
                self.point(place, new);
                differs = true;
            }
            *row = old.bits();
        }
        if differs {
            self.published();
        }
    }

    fn set_default(&mut self, class: u32) {
        if self.shared.default.swap(class, Ordering::Release) != class {
            self.published();
        }
    }

    /// Counts the change that was just published.
    fn published(&self) {
        let generation = &self.shared.generation;
        let next = generation.load(Ordering::Relaxed).wrapping_add(1);
        generation.store(next, Ordering::Release);
    }

    /// A row of the root.
    fn row_at(&self, place: usize) -> Block {
        Block::of_bits(self.shared.root.0[place % ROWS].own())
    }

    /// Publishes a row.
    fn point(&self, place: usize, row: Block) {
        self.shared.root.0[place % ROWS].publish(row.bits());
        if let Some(flat) = &self.flat {
            self.lay_out(flat, place);
        }
    }

    /// Publishes a row's answers in a flat table, where they are not there yet.
    fn lay_out(&self, flat: &Flat, place: usize) {
        let number = self.row_at(place).bits();
        // SAFETY: the table refers to the row, whose readers load atomics.
        let row = unsafe { &*line(self.store.origin(), number).cast::<LiveRow>() };
        let start = (place % ROWS) * PLACES;
        let places = flat.get(start..start + PLACES).unwrap_or(&[]);
        for (place, answer) in places.iter().zip(row) {
            let answer = answer.own();
            if place.own() != answer {
                place.publish(answer);
            }
        }
    }

    /// What the table holds, beside what it shares.
    pub fn figures(&self) -> TableFigures {
        figures(&self.shared)
    }

    /// The class of the longest route that covers `dst`, or 0. For the owner, who
    /// knows that nobody changes the table; others have a [`Reader`].
    pub fn lookup(&self, dst: K) -> u32 {
        with_default(&self.shared, find(&self.shared, dst, below))
    }

    /// The two ends of the table: one writer, and a reader that may be copied and
    /// sent to other threads, both for as long as the table is borrowed.
    pub fn split(&mut self) -> (Writer<'_, 's, K, M, G, L>, Reader<'_, K, G>) {
        let reader = Reader::of(&self.shared);
        (Writer { table: self }, reader)
    }

    /// A reader for as long as nobody changes the table, or, made free of that by
    /// [`Reader::detach`], for C.
    pub fn reader(&self) -> Reader<'_, K, G> {
        Reader::of(&self.shared)
    }
}

impl<K: Key, M: Memory, G: Grace, L: Lock> Drop for Table<'_, K, M, G, L> {
    /// Gives the rows back. No lookup may begin any more; those that run elsewhere in
    /// blocks of other tables are waited for by the store.
    fn drop(&mut self) {
        self.dump = None;
        for row in &self.shared.root.0 {
            self.store.release_all(&[row.own()]);
        }
        self.store.reclaim();
    }
}

fn figures(shared: &Shared) -> TableFigures {
    let is_flat = !shared.flat.load(Ordering::Relaxed).is_null();
    TableFigures {
        prefixes: shared.prefixes.load(Ordering::Relaxed),
        bytes: size_of::<Shared>() + if is_flat { size_of::<Flat>() } else { 0 },
        is_flat,
        generation: shared.generation.load(Ordering::Acquire),
    }
}

/// The readers' handle to a table: small, copied freely, for any thread.
pub struct Reader<'t, K, G> {
    shared: NonNull<Shared>,
    /// A table is not dropped while `'t` lasts ...
    table: PhantomData<&'t Shared>,
    /// ... and is read by addresses of `K` in `G`'s sections. Neither owned nor stored.
    grace: PhantomData<fn(K, G)>,
}

/// A reader of an IPv4 table.
pub type Reader4<'t, G> = Reader<'t, u32, G>;
/// A reader of an IPv6 table.
pub type Reader6<'t, G> = Reader<'t, u128, G>;

impl<K, G> Clone for Reader<'_, K, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, G> Copy for Reader<'_, K, G> {}

// SAFETY: a reader reads atomics, and blocks that nobody writes to.
unsafe impl<K, G> Send for Reader<'_, K, G> {}
// SAFETY: as above; a reader has no state of its own.
unsafe impl<K, G> Sync for Reader<'_, K, G> {}

impl<K: Key, G: Grace> Reader<'_, K, G> {
    fn of<M: Memory>(shared: &Owned<'_, Shared, M>) -> Self {
        Self {
            shared: shared.as_ptr(),
            table: PhantomData,
            grace: PhantomData,
        }
    }

    /// Whether the table's blocks are counted from there.
    pub(super) fn is_of(&self, origin: Origin) -> bool {
        self.shared().origin == origin
    }

    /// A row of the root.
    pub(super) fn row(&self, place: usize) -> Block {
        Block::of_bits(self.shared().root.0[place % ROWS].read())
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the table outlives `'t`.
        unsafe { self.shared.as_ref() }
    }

    /// The class of the longest route that covers `dst`, or 0 if none does. How it
    /// goes together with a change beside it is told at the head of this file.
    ///
    /// Runs beside the writer; takes no lock, does not allocate, cannot panic. Bits
    /// are counted as the target's baseline allows, on amd64 without POPCNT; where
    /// the CPU has it, [`lookup_popcnt`](Reader::lookup_popcnt) is faster.
    #[inline]
    pub fn lookup(&self, section: &G::Section<'_>, dst: K) -> u32 {
        with_default(self.shared(), self.lookup_specific(section, dst))
    }

    /// As [`lookup`](Reader::lookup), but 0 where no route or only the default route
    /// covers `dst`: an answer that was right at some moment of this call.
    #[inline]
    pub fn lookup_specific(&self, _section: &G::Section<'_>, dst: K) -> u32 {
        find(self.shared(), dst, below)
    }

    /// [`lookup_specific`](Reader::lookup_specific) of many addresses, whose loads
    /// overlap: the classes of as many addresses as both slices have.
    #[inline]
    pub fn lookup_batch(&self, _section: &G::Section<'_>, dst: &[K], class: &mut [u32]) {
        find_all(self.shared(), dst, class);
    }

    /// As [`lookup`](Reader::lookup), by the POPCNT instruction.
    ///
    /// # Safety
    ///
    /// The CPU has it: bit 23 of ECX of CPUID leaf 1.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "popcnt")]
    pub unsafe fn lookup_popcnt(&self, _section: &G::Section<'_>, dst: K) -> u32 {
        let class = find(self.shared(), dst, |shared, page, slots| {
            below_popcnt(shared, page, slots)
        });
        with_default(self.shared(), class)
    }

    /// As [`lookup_specific`](Reader::lookup_specific), by the POPCNT instruction.
    ///
    /// # Safety
    ///
    /// As for [`lookup_popcnt`](Reader::lookup_popcnt).
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "popcnt")]
    pub unsafe fn lookup_specific_popcnt(&self, _section: &G::Section<'_>, dst: K) -> u32 {
        find(self.shared(), dst, |shared, page, slots| {
            below_popcnt(shared, page, slots)
        })
    }

    /// As [`lookup_batch`](Reader::lookup_batch), by the POPCNT instruction.
    ///
    /// # Safety
    ///
    /// As for [`lookup_popcnt`](Reader::lookup_popcnt).
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "popcnt")]
    pub unsafe fn lookup_batch_popcnt(
        &self,
        _section: &G::Section<'_>,
        dst: &[K],
        class: &mut [u32],
    ) {
        find_all(self.shared(), dst, class);
    }

    /// The class of the default route, or 0. Needs no section.
    pub fn default_class(&self) -> u32 {
        self.shared().default.load(Ordering::Acquire)
    }

    /// What the table holds, beside what it shares. Needs no section.
    pub fn figures(&self) -> TableFigures {
        figures(self.shared())
    }

    /// This reader without its lifetime, for a caller in C that keeps it.
    ///
    /// # Safety
    ///
    /// The result and its copies are not used after the table was dropped.
    pub unsafe fn detach(self) -> Reader<'static, K, G> {
        Reader {
            shared: self.shared,
            table: PhantomData,
            grace: PhantomData,
        }
    }
}

/// The answer, when all routes but the default one say `class`.
#[inline(always)]
fn with_default(shared: &Shared, class: u32) -> u32 {
    let default = shared.default.load(Ordering::Acquire);
    select_unpredictable(class == 0, default, class)
}

/// One lookup, for a thread in a read section, or without a writer beside it: the
/// class of the longest route that is not the default, or 0. `below` ends it in a
/// sub-page: a call out of the way, so that what most lookups run needs few
/// registers.
#[inline(always)]
fn find<K: Key>(shared: &Shared, dst: K, below: impl Fn(&Shared, *const u8, u32) -> u32) -> u32 {
    let answer = top(shared, dst);
    if K::PAGE_ON_TOP && shared.format != WIDE {
        let page = line(shared.origin, answer);
        let slot = dst.byte(1);
        // SAFETY: the table refers to the page, or did when the section began. It was
        // whole when its number was released. So are its sub-pages.
        let class = unsafe {
            if shared.format == BYTE {
                page::byte_class(page, slot)
            } else {
                page::narrow_class(page, slot)
            }
        };
        return match class {
            Some(class) => class,
            None => below(shared, page, slot << 8 | dst.byte(0)),
        };
    }
    let octets = dst.octets();
    // The first two are the top's.
    let mut octets = octets.as_ref().iter().skip(2);
    let mut answer = answer;
    if is_number(answer)
        && let Some(&octet) = octets.next()
    {
        answer = step(shared, answer, first_format::<K>(), octet);
    }
    while is_number(answer)
        && let Some(&octet) = octets.next()
    {
        answer = step(shared, answer, Format::Wide, octet);
    }
    answer
}

/// The format of the pages below the top, where they are not narrow.
const fn first_format<K: Key>() -> Format {
    if K::PAGE_ON_TOP {
        Format::Wide
    } else {
        Format::Full
    }
}

/// What the row of an address answers for it.
#[inline(always)]
fn top<K: Key>(shared: &Shared, dst: K) -> u32 {
    let flat = shared.flat.load(Ordering::Acquire);
    let top = dst.top();
    if !flat.is_null() {
        // SAFETY: a flat table lives as long as `shared`.
        return unsafe { (&(*flat))[top % (ROWS * PLACES)].read() };
    }
    let row = shared.root.0[top / PLACES % ROWS].read();
    // SAFETY: the table refers to the row, or did when the section began.
    let row = unsafe { &*line(shared.origin, row).cast::<LiveRow>() };
    row[top % PLACES].read()
}

/// What a wide or full page answers.
#[inline(always)]
fn step(shared: &Shared, number: u32, format: Format, octet: u8) -> u32 {
    let page = line(shared.origin, number);
    // SAFETY: as in `find`.
    unsafe {
        match format {
            Format::Full => page::full(page, octet.into()),
            _ => page::wide(page, octet.into()),
        }
    }
}

/// Ends a lookup in the sub-page of a byte or narrow page: `slots` are that of the
/// page, and in the low 8 bits that of the sub-page.
#[inline(never)]
fn below(shared: &Shared, page: *const u8, slots: u32) -> u32 {
    in_sub_page(shared, page, slots)
}

/// As [`below`], by POPCNT.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "popcnt")]
fn below_popcnt(shared: &Shared, page: *const u8, slots: u32) -> u32 {
    in_sub_page(shared, page, slots)
}

#[inline(always)]
fn in_sub_page(shared: &Shared, page: *const u8, slots: u32) -> u32 {
    let format = shared.format();
    // SAFETY: `find` found the page, and that the slot has a sub-page, which has none
    // of its own.
    unsafe {
        let sub = line(shared.origin, page::sub(format, page, slots >> 8));
        let class = match format {
            Format::Byte => page::byte_class(sub, slots & 0xff),
            _ => page::narrow_class(sub, slots & 0xff),
        };
        class.unwrap_or(0)
    }
}

/// Lookups that are under way at a time.
const BATCH: usize = 16;

/// Many lookups.
#[inline(always)]
fn find_all<K: Key>(shared: &Shared, dst: &[K], class: &mut [u32]) {
    for (dst, class) in dst.chunks(BATCH).zip(class.chunks_mut(BATCH)) {
        for (&dst, answer) in dst.iter().zip(class.iter_mut()) {
            *answer = top(shared, dst);
            fetch(shared, *answer);
        }
        if K::PAGE_ON_TOP && shared.format != WIDE {
            end_small(shared, dst, class);
        } else {
            end_wide(shared, dst, class);
        }
    }
}

/// Ends lookups in byte or narrow pages, whose numbers `class` has.
#[inline(always)]
fn end_small<K: Key>(shared: &Shared, dst: &[K], class: &mut [u32]) {
    for (&dst, answer) in dst.iter().zip(class) {
        let page = line(shared.origin, *answer);
        let slot = dst.byte(1);
        // SAFETY: as in `find`.
        let class = unsafe {
            match shared.format() {
                Format::Byte => page::byte_class(page, slot),
                _ => page::narrow_class(page, slot),
            }
        };
        *answer = class.unwrap_or_else(|| in_sub_page(shared, page, slot << 8 | dst.byte(0)));
    }
}

/// Ends lookups in wide and full pages, level by level: at each those that have not
/// ended yet, whose places are in `open`.
#[inline(always)]
fn end_wide<K: Key>(shared: &Shared, dst: &[K], class: &mut [u32]) {
    let mut open: [u8; BATCH] = core::array::from_fn(|place| place as u8);
    let count = dst.len().min(class.len()).min(BATCH);
    let octets: [K::Octets; BATCH] =
        core::array::from_fn(|place| dst.get(place).copied().unwrap_or_default().octets());
    // Of those that ended at the top a step would read what is no page.
    let mut count = still_open(&mut open, count, class);
    for level in (0..K::LEVELS).rev() {
        if count == 0 {
            break;
        }
        let format = format_at::<K>(Format::Wide, level);
        for &place in open.iter().take(count) {
            let octets = octets[usize::from(place) % BATCH].as_ref();
            let octet = octets.iter().nth_back(level);
            if let (Some(&octet), Some(answer)) = (octet, class.get_mut(usize::from(place))) {
                *answer = step(shared, *answer, format, octet);
                fetch(shared, *answer);
            }
        }
        count = still_open(&mut open, count, class);
    }
}

/// Keeps those places whose answer is a page, without a branch on it.
#[inline(always)]
fn still_open(open: &mut [u8; BATCH], count: usize, class: &[u32]) -> usize {
    let mut kept = 0;
    for at in 0..count.min(BATCH) {
        let place = open[at];
        let is_open = class
            .get(usize::from(place))
            .copied()
            .is_some_and(is_number);
        open[kept % BATCH] = place;
        kept += usize::from(is_open);
    }
    kept
}

/// Asks for a page's first line, if the answer is one.
#[inline(always)]
fn fetch(shared: &Shared, answer: u32) {
    let page = line(shared.origin, answer);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, for which any address will do. The instruction needs no more
    // than the architecture's baseline, though the intrinsic asks for SSE.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) page, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = page;
}

const _: () =
    assert!(size_of::<LiveRow>() == PLACES * 4 && size_of::<LiveRow>().is_multiple_of(LINE));
