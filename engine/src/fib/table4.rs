// SPDX-License-Identifier: BSD-2-Clause
//! The IPv4 table of one FIB: a root of 256 rows, which a [`Store`] shares out.
//!
//! # A lookup
//!
//! | step | by               | reads                                                 |
//! | ---- | ---------------- | ----------------------------------------------------- |
//! | 1    | bits 31 to 24    | the root (2 KB, the table's own): a row               |
//! | 2    | bits 23 to 16    | the row (1 KB): a page's number                       |
//! | 3    | -                | the store's directory, which makes it an address      |
//! | 4    | bits 15 to 8     | the page, mostly one cache line: a class              |
//! | 5    | bits 7 to 0      | where routes are longer than /24: a sub-page likewise |
//!
//! A table may be [flattened](Table4::flatten): then steps 1 and 2 are one, in 256 KB
//! of its own.
//!
//! There is no branch on the way that depends on the address but that of step 5: a
//! /16 of one class has a page as well, which all such /16s share. The default route
//! is in no page: where nothing longer covers an address the pages say 0, and the
//! table's own cell has the rest, so that a change of it is one store.
//!
//! # A change
//!
//! The table keeps no routes. It asks for those inside the prefix that changed and
//! for the one around it ([`Routes`]), makes the pages anew that the prefix touches,
//! of an older page only what is outside the prefix, and publishes:
//!
//! | prefix       | by one release store of             | else                         |
//! | ------------ | ----------------------------------- | ---------------------------- |
//! | 0.0.0.0/0    | the default's cell                  |                              |
//! | /1 to /7     |                                     | a row to the root for each /8 |
//! | /8 to /32    | a row to the root, or a page to the row if the row was never shared | |
//!
//! What a prefix of less than 8 bits covers is thus seen to change /8 by /8 (in a
//! flat table, of less than 16 bits, /16 by /16); the
//! answer for each single address changes once. All pages and rows are there before
//! the first of these stores, so that a change is made as a whole or not at all.
//!
//! After them the writer adds one to `generation`. A lookup that found a class needs
//! no more: it took it from the one place that a change can store to for its
//! address. If it found 0, its answer is made of two places. It read the default
//! before, and `generation` before that and after all; if the latter differ it begins
//! anew. If both are `j` it saw nothing of change `j + 2`, for acquiring that would
//! have shown it `j + 1`; so at most one change ran beside it, which stored to one of
//! the two places, and the answer is that before the change or that after it.
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
//! impl Routes for Rib {
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
use super::owned::Owned;
use super::page::{self, SLOTS};
use super::slab::{Block, resolve};
use super::store::{self, LiveRow, Row, Store};
use super::sweep::{ROWS, Sweep};
use super::{FibError, TableFigures, check, mask};
use core::hint::select_unpredictable;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The routes that a table is made of: the routing information base. A table keeps
/// none of them itself, and asks for those around a change when it comes.
///
/// What it is told must be the same from the beginning of
/// [`update`](Table4::update) to its end; addresses and prefixes are in host order.
pub trait Routes {
    /// How many routes there are. For the table's figures only.
    fn count(&self) -> usize;

    /// Shows `visit(prefix, plen, class)` each route inside the prefix, itself
    /// included, in ascending order of addresses, the lengths at one address in any
    /// order. Routes that are not inside may be shown too. It may end when `visit`
    /// has returned false.
    fn inside(&self, prefix: u32, plen: u8, visit: &mut dyn FnMut(u32, u8, u32) -> bool);

    /// The length and the class of the longest route that covers the prefix and is
    /// shorter than it.
    fn around(&self, prefix: u32, plen: u8) -> Option<(u8, u32)>;
}

/// The IPv4 routes of one FIB, for one writer and any number of readers.
pub struct Table4<'s, M: Memory, G: Grace, L: Lock> {
    store: &'s Store<M, G, L>,
    shared: Owned<'s, Shared, M>,
    flat: Option<Owned<'s, Flat, M>>,
    dump: Option<Dump<'s, M, G, L>>,
}

/// The writer's end of a table that was [split](Table4::split).
pub struct Writer4<'t, 's, M: Memory, G: Grace, L: Lock> {
    /// Never replaced, for readers have the table's lifetime.
    table: &'t mut Table4<'s, M, G, L>,
}

impl<M: Memory, G: Grace, L: Lock> Writer4<'_, '_, M, G, L> {
    /// As [`Table4::route`].
    pub fn route(&mut self, prefix: u32, plen: u8, class: u32) -> Result<(), FibError> {
        self.table.route(prefix, plen, class)
    }

    /// As [`Table4::end`].
    pub fn end(&mut self) -> Result<(), FibError> {
        self.table.end()
    }

    /// As [`Table4::update`].
    pub fn update(&mut self, prefix: u32, plen: u8, routes: &impl Routes) -> Result<(), FibError> {
        self.table.update(prefix, plen, routes)
    }
}

/// The routes that were told so far, and will be the table.
struct Dump<'s, M: Memory, G: Grace, L: Lock> {
    sweep: Sweep<'s, M, G, L>,
    default: u32,
    prefixes: usize,
}

/// The number of the page of each /16. All its bytes may be 0.
type Flat = [AtomicU32; ROWS * SLOTS];

/// What readers reach. All its bytes may be 0; `store` is set before the first of
/// them comes.
#[repr(C, align(64))]
struct Shared {
    /// The row of each /8.
    root: [AtomicPtr<LiveRow>; ROWS],
    store: *const store::Shared,
    /// The pages of all rows, one after the other, or null.
    flat: AtomicPtr<Flat>,
    /// Changes published.
    generation: AtomicU64,
    /// The class of 0.0.0.0/0, or 0.
    default: AtomicU32,
    prefixes: AtomicUsize,
    /// The number of the row of each /8. The writer's.
    blocks: [AtomicU32; ROWS],
}

// SAFETY: the store outlives the table, and all else is atomic.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl<'s, M: Memory, G: Grace, L: Lock> Table4<'s, M, G, L> {
    /// A table without routes.
    ///
    /// # Errors
    /// [`FibError::OutOfMemory`].
    pub fn new(store: &'s Store<M, G, L>) -> Result<Self, FibError> {
        // SAFETY: null pointers and integers.
        let mut shared: Owned<'s, Shared, M> = unsafe { Owned::zeroed(store.memory())? };
        shared.store = store.shared().as_ptr();
        // SAFETY: integers.
        let mut pages: Owned<'s, Row, M> = unsafe { Owned::zeroed(store.memory())? };
        let row = store.with(|held| {
            // All slots 0, as the row still is.
            let page = held.page(&pages.0)?;
            held.refer(page, SLOTS as u32 - 1);
            pages.0.fill(page.bits());
            let row = held
                .row(&pages)
                .inspect_err(|_| held.release_pages(&pages.0))?;
            (1..ROWS).for_each(|_| held.refer_row(row));
            Ok(row)
        })?;
        let table = Self {
            store,
            shared,
            flat: None,
            dump: None,
        };
        for place in 0..ROWS {
            table.point(place, row);
        }
        Ok(table)
    }

    /// Takes one route of a dump of all routes, which [`end`](Table4::end) ends.
    /// Until then the table answers as before. Addresses must not descend; the
    /// lengths at one address may come in any order.
    ///
    /// Never sleeps, unless [`Memory`] or [`Lock`] does.
    ///
    /// # Errors
    /// After an error the dump is forgotten, and may begin anew.
    pub fn route(&mut self, prefix: u32, plen: u8, class: u32) -> Result<(), FibError> {
        let mut dump = match self.dump.take() {
            Some(dump) => dump,
            None => self.begin()?,
        };
        if plen == 0 {
            check(prefix, plen)?;
            page::check_class(class)?;
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
    /// As [`route`](Table4::route).
    pub fn end(&mut self) -> Result<(), FibError> {
        let mut dump = match self.dump.take() {
            Some(dump) => dump,
            None => self.begin()?,
        };
        dump.sweep.finish()?;
        self.publish_rows(&mut dump.sweep);
        self.set_default(dump.default);
        self.shared.prefixes.store(dump.prefixes, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&self) -> Result<Dump<'s, M, G, L>, FibError> {
        Ok(Dump {
            sweep: Sweep::new(self.store, (0, u32::MAX), 0, self.row_at(0))?,
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
    pub fn update(&mut self, prefix: u32, plen: u8, routes: &impl Routes) -> Result<(), FibError> {
        check(prefix, plen)?;
        if self.dump.is_some() {
            return Err(FibError::Dumping);
        }
        if plen == 0 {
            let class = routes.around(0, 1).map_or(0, |(_, class)| class);
            if class != 0 {
                page::check_class(class)?;
            }
            self.set_default(class);
        } else {
            let mut sweep = self.sweep_inside(prefix, plen, routes)?;
            self.publish_pages(&mut sweep, (prefix >> 24) as usize)?;
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
        for (place, row) in self.shared.root.iter().enumerate() {
            // SAFETY: the table refers to the row, whose readers load atomics.
            lay_out(unsafe { &*row.load(Ordering::Acquire) }, &flat, place);
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
        prefix: u32,
        plen: u8,
        routes: &impl Routes,
    ) -> Result<Sweep<'s, M, G, L>, FibError> {
        // The default route is no page's: pages say 0 where nothing else covers.
        let around = match routes.around(prefix, plen) {
            None | Some((0, _)) => 0,
            Some((_, class)) => page::check_class(class).map(|()| class)?,
        };
        let range = (prefix, prefix | !mask(plen));
        let row = self.row_at((prefix >> 24) as usize);
        let mut sweep = Sweep::new(self.store, range, around, row)?;
        let mut outcome = Ok(());
        routes.inside(prefix, plen, &mut |prefix, plen, class| {
            outcome = sweep.route(prefix, plen, class);
            outcome.is_ok()
        });
        outcome?;
        sweep.finish()?;
        Ok(sweep)
    }

    /// Puts the pages that a sweep made of a part of a /8 into the table.
    fn publish_pages(
        &mut self,
        sweep: &mut Sweep<'s, M, G, L>,
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
    fn publish_rows(&mut self, sweep: &mut Sweep<'s, M, G, L>) {
        let (start, rows) = sweep.whole_rows();
        if rows.is_empty() {
            return;
        }
        for (place, row) in (start..).zip(rows) {
            let old = self.row_at(place);
            self.point(place, Block::of_bits(*row));
            *row = old.bits();
        }
        self.published();
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

    /// The row of a /8.
    fn row_at(&self, place: usize) -> Block {
        Block::of_bits(self.shared.blocks[place & 0xff].load(Ordering::Relaxed))
    }

    /// Publishes a row.
    fn point(&self, place: usize, row: Block) {
        // SAFETY: the table refers to the row.
        let lines = unsafe { self.store.lines_of(row) };
        let place = place & 0xff;
        self.shared.blocks[place].store(row.bits(), Ordering::Relaxed);
        let lines = lines.cast::<LiveRow>().cast_mut();
        self.shared.root[place].store(lines, Ordering::Release);
        if let Some(flat) = &self.flat {
            // SAFETY: the table refers to the row, whose readers load atomics.
            lay_out(unsafe { &*lines }, flat, place);
        }
    }

    /// What the table holds, beside what it shares.
    pub fn figures(&self) -> TableFigures {
        figures(&self.shared)
    }

    /// The class of the longest route that covers `dst`, or 0. For the owner, who
    /// knows that nobody changes the table; others have a [`Reader4`].
    pub fn lookup(&self, dst: u32) -> u32 {
        find(&self.shared, dst, below)
    }

    /// The two ends of the table: one writer, and a reader that may be copied and
    /// sent to other threads, both for as long as the table is borrowed.
    pub fn split(&mut self) -> (Writer4<'_, 's, M, G, L>, Reader4<'_, G>) {
        let reader = Reader4 {
            shared: self.shared.as_ptr(),
            table: PhantomData,
            grace: PhantomData,
        };
        (Writer4 { table: self }, reader)
    }

    /// A reader for as long as nobody changes the table, or, made free of that by
    /// [`Reader4::detach`], for C.
    pub fn reader(&self) -> Reader4<'_, G> {
        Reader4 {
            shared: self.shared.as_ptr(),
            table: PhantomData,
            grace: PhantomData,
        }
    }
}

impl<M: Memory, G: Grace, L: Lock> Drop for Table4<'_, M, G, L> {
    /// Gives the rows back. No lookup may begin any more; those that run elsewhere in
    /// blocks of other tables are waited for by the store.
    fn drop(&mut self) {
        self.dump = None;
        for place in 0..ROWS {
            let row = self.row_at(place);
            self.store.with(|held| held.release_row(row));
        }
        self.store.reclaim();
    }
}

/// Publishes a row's pages in a flat table, where they are not there yet.
fn lay_out(row: &LiveRow, flat: &Flat, place: usize) {
    let start = (place & 0xff) * SLOTS;
    let places = flat.get(start..start + SLOTS).unwrap_or(&[]);
    for (place, page) in places.iter().zip(row) {
        let page = page.load(Ordering::Relaxed);
        if place.load(Ordering::Relaxed) != page {
            place.store(page, Ordering::Release);
        }
    }
}

fn figures(shared: &Shared) -> TableFigures {
    let flat = !shared.flat.load(Ordering::Relaxed).is_null();
    TableFigures {
        prefixes: shared.prefixes.load(Ordering::Relaxed),
        bytes: size_of::<Shared>() + if flat { size_of::<Flat>() } else { 0 },
        generation: shared.generation.load(Ordering::Acquire),
    }
}

/// The readers' handle to a table: small, copied freely, for any thread.
pub struct Reader4<'t, G> {
    shared: NonNull<Shared>,
    /// A table is not dropped while `'t` lasts ...
    table: PhantomData<&'t Shared>,
    /// ... and is read in `G`'s sections. Neither owned nor stored.
    grace: PhantomData<fn(G)>,
}

impl<G> Clone for Reader4<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Reader4<'_, G> {}

// SAFETY: a reader reads atomics, and blocks that nobody writes to.
unsafe impl<G> Send for Reader4<'_, G> {}
// SAFETY: as above; a reader has no state of its own.
unsafe impl<G> Sync for Reader4<'_, G> {}

impl<G: Grace> Reader4<'_, G> {
    /// The class of the longest route that covers `dst`, or 0 if none does: an
    /// answer that was right at some moment of this call.
    ///
    /// Runs beside the writer; takes no lock, does not allocate, cannot panic. Bits
    /// are counted as the target's baseline allows, on amd64 without POPCNT; where
    /// the CPU has it, [`lookup_popcnt`](Reader4::lookup_popcnt) is faster.
    #[inline]
    pub fn lookup(&self, _section: &G::Section<'_>, dst: u32) -> u32 {
        // SAFETY: the table outlives `'t`.
        find(unsafe { self.shared.as_ref() }, dst, below)
    }

    /// As [`lookup`](Reader4::lookup), by the POPCNT instruction.
    ///
    /// # Safety
    ///
    /// The CPU has it: bit 23 of ECX of CPUID leaf 1.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "popcnt")]
    pub unsafe fn lookup_popcnt(&self, _section: &G::Section<'_>, dst: u32) -> u32 {
        // SAFETY: the table outlives `'t`.
        find(unsafe { self.shared.as_ref() }, dst, |page, dst| {
            below_popcnt(page, dst)
        })
    }

    /// What the table holds, beside what it shares. Needs no section.
    pub fn figures(&self) -> TableFigures {
        // SAFETY: the table outlives `'t`.
        figures(unsafe { self.shared.as_ref() })
    }

    /// This reader without its lifetime, for a caller in C that keeps it.
    ///
    /// # Safety
    ///
    /// The result and its copies are not used after the table was dropped.
    pub unsafe fn detach(self) -> Reader4<'static, G> {
        Reader4 {
            shared: self.shared,
            table: PhantomData,
            grace: PhantomData,
        }
    }
}

/// A lookup under way.
#[derive(Clone, Copy)]
struct Looking<'r> {
    shared: &'r Shared,
    dst: u32,
    /// What were the generation, and then the default route's class, before it.
    generation: u64,
    default: u32,
}

/// One lookup, for a thread in a read section, or without a writer beside it.
/// `below` ends it in a sub-page: a call out of the way, so that what most lookups
/// run needs few registers.
#[inline(always)]
fn find(shared: &Shared, dst: u32, below: impl Fn(Looking<'_>, *const u8) -> u32) -> u32 {
    let looking = Looking {
        shared,
        dst,
        generation: shared.generation.load(Ordering::Acquire),
        default: shared.default.load(Ordering::Acquire),
    };
    // SAFETY: a table's root has rows of the store, and the thread is where it keeps
    // them.
    match unsafe { walk(shared, dst) } {
        Ok(class) => looking.end(class),
        Err(page) => below(looking, page),
    }
}

impl Looking<'_> {
    /// The answer, when the pages say `class`.
    #[inline(always)]
    fn end(self, class: u32) -> u32 {
        if self.shared.generation.load(Ordering::Acquire) != self.generation {
            return find_again(self.shared, self.dst, class);
        }
        select_unpredictable(class == 0, self.default, class)
    }

    /// The answer of a sub-page.
    #[inline(always)]
    fn end_in(self, page: *const u8) -> u32 {
        // SAFETY: `walk` found the page: a sub-page, which has none of its own.
        let class = unsafe { page::answer(page, self.dst & 0xff) };
        self.end(class.unwrap_or(0))
    }
}

/// Ends a lookup in a sub-page.
#[inline(never)]
fn below(looking: Looking<'_>, page: *const u8) -> u32 {
    looking.end_in(page)
}

/// As [`below`], by POPCNT.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "popcnt")]
fn below_popcnt(looking: Looking<'_>, page: *const u8) -> u32 {
    looking.end_in(page)
}

/// The rest of a lookup beside which a change ended, and whose pages said `class`.
#[cold]
#[inline(never)]
fn find_again(shared: &Shared, dst: u32, class: u32) -> u32 {
    let mut class = class;
    while class == 0 {
        let generation = shared.generation.load(Ordering::Acquire);
        let default = shared.default.load(Ordering::Acquire);
        // SAFETY: as in `find`, whose rest this is.
        class = unsafe {
            match walk(shared, dst) {
                Ok(class) => class,
                Err(page) => page::answer(page, dst & 0xff).unwrap_or(0),
            }
        };
        if class == 0 && shared.generation.load(Ordering::Acquire) == generation {
            return default;
        }
    }
    class
}

/// The class that the pages have for `dst`, or `Err` with the sub-page that has it.
///
/// # Safety
///
/// The rows of `shared`, and what they refer to, stay during the call, and as long
/// as the result is used.
#[inline(always)]
unsafe fn walk(shared: &Shared, dst: u32) -> Result<u32, *const u8> {
    let flat = shared.flat.load(Ordering::Acquire);
    // SAFETY: the caller's promise; a flat table lives as long as `shared`. The row was whole when it was released, and a
    // page when its number was; and so was the directory, which has the slabs of all
    // that the page leads to.
    unsafe {
        let number = if flat.is_null() {
            let row = shared.root[(dst >> 24) as usize].load(Ordering::Acquire);
            (*row)[(dst >> 16) as usize & 0xff].load(Ordering::Acquire)
        } else {
            (*flat)[(dst >> 16) as usize].load(Ordering::Acquire)
        };
        let directory = (*shared.store).directory.load(Ordering::Relaxed);
        page::answer(resolve(directory, number), (dst >> 8) & 0xff)
            .map_err(|sub| resolve(directory, sub))
    }
}
