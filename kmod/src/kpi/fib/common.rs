// SPDX-License-Identifier: BSD-2-Clause
//! What the tables of all FIBs, families and network stacks have in common: the
//! engine's store and clock, and the dictionaries of classes.
//!
//! It is there as long as the algorithms are known to the framework, whose
//! callbacks carry no argument of ours by which an instance that is made could find
//! it: hence a static.

use alloc::boxed::Box;
use core::cell::Cell;
use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use weft_bindings::kernel as c;
use weft_engine::fib::classes::{Clock, Dictionary, Identifier, Shortage};
use weft_engine::fib::{Lock, Store, StoreFigures};

use super::family::Family;
use crate::kpi::context::Sleepable;
use crate::kpi::epoch::{EpochGrace, drain_net_epoch_callbacks};
use crate::kpi::errno::Errno;
use crate::kpi::kernel::random_seed;
use crate::kpi::lock::Mtx;
use crate::kpi::memory::{FibMemory, try_box, try_box_made};
use crate::kpi::task::{Task, Work};

pub(super) type FibStore = Store<FibMemory, EpochGrace, Mtx>;
pub(super) type FibClock = Clock<FibMemory, EpochGrace, Mtx>;
pub(super) type FibDictionary = Dictionary<FibMemory, Mtx>;

/// What all instances share.
pub(super) struct Common {
    /// Apart, since it is larger than a stack frame should be.
    pub(super) store: Box<FibStore>,
    /// Tells when lookups have forgotten the classes of next hops that went.
    pub(super) clock: FibClock,
    /// Tells next hops apart.
    pub(super) identifier: Identifier,
    shelf: Shelf,
    watcher: Task<Watcher>,
}

static COMMON: AtomicPtr<Common> = AtomicPtr::new(ptr::null_mut());

/// What all instances share, as long as an algorithm is registered.
pub(super) fn common() -> Option<&'static Common> {
    // SAFETY: `Opened::close` takes it down when nobody is left to ask.
    unsafe { COMMON.load(Ordering::Acquire).as_ref() }
}

/// Is told of FIBs that appear.
pub(crate) trait FibWatch: Send + 'static {
    /// A network stack has so many FIBs, more than any had before.
    fn fibs_appeared(&mut self, sleepable: &mut Sleepable, fibs: u32);
}

/// The most FIBs that a network stack has, as far as was seen.
static FIBS: AtomicU32 = AtomicU32::new(0);

struct Watcher(Box<dyn FibWatch>);

impl Work for Watcher {
    fn run(&mut self, sleepable: &mut Sleepable) {
        self.0
            .fibs_appeared(sleepable, FIBS.load(Ordering::Relaxed));
    }
}

/// Notes how many FIBs a network stack has. Called by an algorithm that is enlisted,
/// in any context.
pub(super) fn fibs_seen(fibs: u32) {
    let Some(common) = common() else { return };
    if FIBS.fetch_max(fibs, Ordering::Relaxed) < fibs {
        common.watcher.ask();
    }
}

/// What the tables of all instances hold together.
pub(crate) fn store_figures() -> StoreFigures {
    common().map_or_else(Default::default, |common| common.store.figures())
}

/// Proof that [`common`] is there. To be closed before it is dropped; else all
/// stays, for the framework may still use it.
pub(crate) struct Opened(());

impl Opened {
    /// `watch` is told of FIBs that appear, until all is closed, which drops it.
    ///
    /// # Errors
    /// `ENOMEM`.
    #[inline(never)]
    pub(crate) fn open(_sleepable: &mut Sleepable, watch: impl FibWatch) -> Result<Self, Errno> {
        FIBS.store(0, Ordering::Relaxed);
        let watch = try_box(watch).map_err(|_| Errno::ENOMEM)?;
        let common = Common {
            store: new_store()?,
            clock: new_clock()?,
            identifier: Identifier::new([random_seed(), random_seed()]),
            shelf: Shelf {
                lock: Mtx::new(c"weft route classes")?,
                first: Cell::new(ptr::null_mut()),
            },
            watcher: Task::new(Watcher(watch))?,
        };
        let common = try_box(common).map_err(|_| Errno::ENOMEM)?;
        COMMON.store(Box::into_raw(common), Ordering::Release);
        Ok(Self(()))
    }

    /// Gives all memory back. No instance exists any more, and none is made.
    pub(crate) fn close(&mut self, sleepable: &mut Sleepable) {
        while common().is_some_and(|common| {
            common.store.reclaim();
            common.store.figures().pending > 0 || common.clock.runs()
        }) {
            drain_net_epoch_callbacks(sleepable);
        }
        // The last period's callback looks at the store.
        drain_net_epoch_callbacks(sleepable);
        let common = COMMON.swap(ptr::null_mut(), Ordering::AcqRel);
        if !common.is_null() {
            // SAFETY: boxed by `open`; no instance and no callback is left that
            // could refer to it.
            drop(unsafe { Box::from_raw(common) });
        }
    }
}

/// Not inlined, for the sake of its caller's stack frame; so are the others below.
#[inline(never)]
fn new_store() -> Result<Box<FibStore>, Errno> {
    try_box_made(|| {
        let grace = EpochGrace::new(tidy)?;
        let lock = Mtx::new(c"weft route tables")?;
        Store::new(FibMemory, grace, lock, random_seed()).map_err(|_| Errno::ENOMEM)
    })
}

#[inline(never)]
fn new_clock() -> Result<FibClock, Errno> {
    let grace = EpochGrace::new(|| ())?;
    let lock = Mtx::new(c"weft route clock")?;
    Clock::new(FibMemory, grace, lock).ok_or(Errno::ENOMEM)
}

/// How often a callback of the epoch gives some hundred blocks back.
const TIDY_ROUNDS: u32 = 64;

/// What is done when a grace period of the store has ended: part of what waited
/// for it is given back, in short holds of the lock. The rest goes with later
/// changes.
fn tidy() {
    let Some(Common { store, .. }) = common() else {
        return;
    };
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

/// The dictionaries that are in use: one for each network stack, family, and number of
/// classes that a table can hold. Tables that differ in the latter have no pages in
/// common; the large ones' classes would only fill up the small ones' numbers.
///
/// # Invariants
/// The list and the books' counts are touched with the lock held. A book has a
/// holder.
struct Shelf {
    lock: Mtx,
    first: Cell<*mut Book>,
}

// SAFETY: the cells are touched with the lock held.
unsafe impl Sync for Shelf {}

/// A dictionary on the shelf.
struct Book {
    vnet: *const c_void,
    family: usize,
    most: u32,
    holders: Cell<u32>,
    next: Cell<*mut Book>,
    dictionary: FibDictionary,
}

/// A hold on a dictionary.
pub(super) struct Held {
    book: NonNull<Book>,
    shelf: &'static Shelf,
}

// SAFETY: the dictionary has a lock of its own, and the rest is the shelf's.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Common {
    /// The dictionary of the current network stack for tables of a family that hold
    /// classes up to `most`. The `last` of them, which hold the most, borrow numbers
    /// when they run out. Does not sleep.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn dictionary<F: Family>(
        &'static self,
        most: u32,
        last: bool,
    ) -> Result<Held, Errno> {
        let shortage = match last {
            true => Shortage::Borrow,
            false => Shortage::Refuse,
        };
        // SAFETY: reads a field of the current thread.
        let vnet = unsafe { c::weft_shim_curvnet() };
        // One too many, rather than memory asked for with the lock held.
        let spare = try_box(Book {
            vnet,
            family: F::PLACE,
            most,
            holders: Cell::new(0),
            next: Cell::new(ptr::null_mut()),
            dictionary: Dictionary::new(
                FibMemory,
                Mtx::new(c"weft route class names")?,
                most,
                shortage,
            ),
        })
        .map_err(|_| Errno::ENOMEM)?;
        let mut spare = Some(spare);
        let shelf = &self.shelf;
        let book = shelf.lock.with(|| {
            let book = shelf.find(vnet, F::PLACE, most).or_else(|| {
                let book = Box::leak(spare.take()?);
                book.next.set(shelf.first.get());
                shelf.first.set(book);
                Some(NonNull::from(book))
            })?;
            // SAFETY: on the shelf, whose lock is held.
            let holders = unsafe { &book.as_ref().holders };
            holders.set(holders.get() + 1);
            Some(book)
        });
        let book = book.ok_or(Errno::ENOMEM)?;
        Ok(Held { book, shelf })
    }
}

impl Shelf {
    /// The lock is held.
    fn find(&self, vnet: *const c_void, family: usize, most: u32) -> Option<NonNull<Book>> {
        let mut next = self.first.get();
        while let Some(at) = NonNull::new(next) {
            // SAFETY: on the shelf, whose lock is held.
            let book = unsafe { at.as_ref() };
            if ptr::eq(book.vnet, vnet) && (book.family, book.most) == (family, most) {
                return Some(at);
            }
            next = book.next.get();
        }
        None
    }

    /// Takes a book from the list; the lock is held.
    fn remove(&self, gone: NonNull<Book>) {
        let mut link = &self.first;
        while let Some(at) = NonNull::new(link.get()) {
            // SAFETY: on the shelf, whose lock is held.
            let book = unsafe { at.as_ref() };
            if at == gone {
                link.set(book.next.get());
                return;
            }
            link = &book.next;
        }
    }
}

impl Deref for Held {
    type Target = FibDictionary;

    fn deref(&self) -> &FibDictionary {
        // SAFETY: a book stays as long as it has a holder.
        unsafe { &self.book.as_ref().dictionary }
    }
}

impl Held {
    /// The dictionary for as long as the caller says.
    ///
    /// # Safety
    /// That is no longer than this hold.
    pub(super) unsafe fn dictionary<'d>(&self) -> &'d FibDictionary {
        // SAFETY: the caller's promise, and as above.
        unsafe { &self.book.as_ref().dictionary }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let last = self.shelf.lock.with(|| {
            // SAFETY: this hold keeps it.
            let holders = unsafe { &self.book.as_ref().holders };
            holders.set(holders.get() - 1);
            let last = holders.get() == 0;
            if last {
                self.shelf.remove(self.book);
            }
            last
        });
        if last {
            // SAFETY: leaked by `dictionary`, and nobody finds it any more.
            drop(unsafe { Box::from_raw(self.book.as_ptr()) });
        }
    }
}
