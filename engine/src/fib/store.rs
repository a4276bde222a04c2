// SPDX-License-Identifier: BSD-2-Clause
//! Pages and rows that many tables share.
//!
//! A [page](super::page) tells the answers of 256 slots; a *row* tells those of the
//! 64 prefixes of 16 bits that one of 10 bits has: a page's number, or a class.
//! There is never a second one with the same content: who wants one gets the one
//! that is there (*hash consing*), and a count of those who refer to it is kept.
//! Tables that resemble one another thus share all but where they differ.
//!
//! A page is immutable from the moment anyone but its maker can find it. A row that
//! was one table's alone all its life may have one of its places replaced, by one
//! release store; else it is as immutable.
//!
//! When the last reference goes, the block leaves the hash table at once, so that
//! nobody refers to it again, and is *retired*: a reader may have found it by an
//! older row. Retired blocks are chained; when no grace period of the store runs,
//! the chain is set aside and a period is started for it; after its end the writers
//! free the chain, some hundred blocks a change.
//!
//! A store has one grace period at a time, not one for each table: a block's last
//! reference can go by a table other than the one whose readers may see it, and a
//! platform needs one callback's memory for all of them.
//!
//! All of it is under the store's one lock, which a writer takes for the time of a
//! page's or a row's making, not for the whole of its change. Readers take none.

use super::buckets::Buckets;
use super::grace::{Grace, IDLE, Lock, Memory, RUNNING};
use super::heap::{Block, Heap, LINE, Origin};
use super::owned::Owned;
use super::page::{self, Format, Image, Slots, is_number};
use super::retire::{self, Place};
use super::{FibError, StoreFigures};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

/// Places of a row.
pub(super) const PLACES: usize = 64;

/// The answers for the /16 prefixes of a prefix of 10 bits.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [u32; PLACES]);

/// The same as readers see it.
pub(super) type LiveRow = [Place; PLACES];

/// How many blocks a change gives back at most.
const FREE_AT_ONCE: usize = 256;

/// What a block is, in its tag: a page, by its format, or a row.
const BYTE: u8 = 0;
const NARROW: u8 = 1;
const WIDE: u8 = 2;
const FULL: u8 = 3;
const ROW: u8 = 4;
/// These three bits.
const WHAT: u8 = 7;
/// A page that has sub-pages.
const WITH_SUBS: u8 = 8;
/// A row to which more than one place of a root referred at some time. Readers of
/// another table may be in it, so it is never stored to.
const SHARED: u8 = 16;

/// What a block is that is a page of this format.
fn page_kind(format: Format, slots: &Slots) -> u8 {
    let what = match format {
        Format::Byte => BYTE,
        Format::Narrow => NARROW,
        Format::Wide => WIDE,
        Format::Full => FULL,
    };
    if slots.iter().any(|&slot| is_number(slot)) {
        what | WITH_SUBS
    } else {
        what
    }
}

/// The format of a block of this kind, if it is a page.
fn format_of(kind: u8) -> Option<Format> {
    match kind & WHAT {
        BYTE => Some(Format::Byte),
        NARROW => Some(Format::Narrow),
        WIDE => Some(Format::Wide),
        FULL => Some(Format::Full),
        _ => None,
    }
}

/// Tables' common memory. It outlives them; each borrows it.
pub struct Store<M: Memory, G: Grace, L: Lock> {
    shared: NonNull<Shared>,
    origin: Origin,
    lock: L,
    /// This one and the next are dropped with the store, or never: a period that
    /// still runs may lead to what they own.
    memory: ManuallyDrop<M>,
    grace: ManuallyDrop<G>,
}

/// What stays where it is: what the grace period reaches, and what is larger than a
/// kernel's stack likes. All its bytes may be 0.
struct Shared {
    /// [`IDLE`] is 0.
    period: AtomicU8,
    /// Touched with the lock held only.
    pool: UnsafeCell<Pool>,
}

const _: () = assert!(IDLE == 0);

// SAFETY: blocks belong to the store; nothing in it is bound to a thread.
unsafe impl<M: Memory + Send, G: Grace + Send, L: Lock + Send> Send for Store<M, G, L> {}
// SAFETY: the pool and the grace object are used with the lock held only.
unsafe impl<M: Memory + Sync, G: Grace + Send, L: Lock + Sync> Sync for Store<M, G, L> {}

impl<M: Memory, G: Grace, L: Lock> Store<M, G, L> {
    /// An empty store. `seed` goes into its hashes: drawn at random, it keeps those
    /// who announce routes from choosing some that collide.
    ///
    /// # Errors
    /// [`FibError::OutOfMemory`].
    pub fn new(memory: M, grace: G, lock: L, seed: u64) -> Result<Self, FibError> {
        // SAFETY: integers and null pointers.
        let mut shared: Owned<'_, Shared, M> = unsafe { Owned::zeroed(&memory)? };
        // SAFETY: integers.
        let image: Owned<'_, Image, M> = unsafe { Owned::zeroed(&memory)? };
        let pool = shared.pool.get_mut();
        pool.seed = seed;
        pool.heap.start(&memory)?;
        let origin = pool.heap.origin();
        pool.image = image.leak().as_ptr();
        Ok(Self {
            shared: shared.leak(),
            origin,
            lock,
            memory: ManuallyDrop::new(memory),
            grace: ManuallyDrop::new(grace),
        })
    }

    /// Frees what may be freed, up to some hundred blocks, and starts a grace period
    /// if blocks wait for one. Every change does so too. Takes the lock; does not
    /// sleep.
    ///
    /// All is freed when [`StoreFigures::pending`] is 0; to get there, call this,
    /// wait for the platform's callbacks, and begin again.
    pub fn reclaim(&self) {
        self.with(|held| held.collect());
    }

    /// What the store holds. Takes the lock.
    pub fn figures(&self) -> StoreFigures {
        self.with(|held| held.figures())
    }

    pub(super) fn memory(&self) -> &M {
        &self.memory
    }

    /// By what a block's number becomes its address.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Gives up a reference to each block among the answers.
    pub(super) fn release_all(&self, answers: &[u32]) {
        if answers.iter().any(|&answer| is_number(answer)) {
            self.with(|held| held.release_all(answers));
        }
    }

    /// Runs `inside` with the lock held.
    pub(super) fn with<R>(&self, inside: impl FnOnce(&mut Held<'_, M, G>) -> R) -> R {
        self.lock.with(|| {
            inside(&mut Held {
                // SAFETY: the shared block lives as long as the store, and the lock
                // excludes every other reference to the pool.
                pool: unsafe { &mut *self.shared.as_ref().pool.get() },
                memory: &self.memory,
                grace: &self.grace,
                shared: self.shared,
            })
        })
    }
}

impl<M: Memory, G: Grace, L: Lock> Drop for Store<M, G, L> {
    fn drop(&mut self) {
        // SAFETY: the shared block lives until the end of this.
        let period = unsafe { &self.shared.as_ref().period };
        // A running period will store to `Shared`, and use what `grace` owns:
        // better a leak than that.
        if period.load(Ordering::Acquire) == RUNNING {
            return;
        }
        // SAFETY: tables borrow the store, and readers have their table's lifetime,
        // or promised to be gone with it: nobody refers to a block, or to the pool.
        // The shared block and the image were leaked by `new`; nothing is used
        // afterwards.
        unsafe {
            let pool = &mut *self.shared.as_ref().pool.get();
            pool.buckets.release(&*self.memory);
            pool.heap.release(&*self.memory);
            if let Some(image) = NonNull::new(pool.image) {
                self.memory.free(image.cast(), Layout::new::<Image>());
            }
            self.memory
                .free(self.shared.cast(), Layout::new::<Shared>());
            ManuallyDrop::drop(&mut self.grace);
            ManuallyDrop::drop(&mut self.memory);
        }
    }
}

/// Retired blocks, linked by their tags: the first and the last, or none.
#[derive(Default)]
struct Chain {
    first: u32,
    last: u32,
    count: usize,
}

impl retire::Batch for Chain {
    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// What the lock protects. All its bytes may be 0: an empty pool without a heap.
struct Pool {
    heap: Heap,
    buckets: Buckets,
    seed: u64,
    /// Blocks in the hash table.
    pages: usize,
    rows: usize,
    /// Retired since the running grace period began.
    pending: Chain,
    /// Retired before it began.
    waiting: Chain,
    /// Retired before one that has elapsed.
    ripe: Chain,
    /// Where a page is made. The pool's own, in memory of its own.
    image: *mut Image,
}

/// A store whose lock is held.
pub(super) struct Held<'h, M: Memory, G: Grace> {
    pool: &'h mut Pool,
    memory: &'h M,
    grace: &'h G,
    shared: NonNull<Shared>,
}

impl<M: Memory, G: Grace> Held<'_, M, G> {
    /// The page of these slots, referred to by the caller now. It refers to the
    /// slots' sub-pages itself.
    pub(super) fn page(&mut self, format: Format, slots: &Slots) -> Result<Block, FibError> {
        // SAFETY: the pool's own image, until the store is dropped. It is not changed
        // below, nor by anyone without the lock.
        let image = unsafe { &mut *self.pool.image };
        let lines = image.set(format, slots);
        let kind = page_kind(format, slots);
        let (block, new) = self.intern(image.words(lines), kind)?;
        if new {
            self.for_each_child(block, |held, sub| held.refer(sub, 1));
        }
        Ok(block)
    }

    /// `count` more references to a page.
    pub(super) fn refer(&mut self, block: Block, count: u32) {
        let tag = self.tag(block);
        tag.refs = tag.refs.wrapping_add(count);
    }

    /// The row of these answers, referred to by the caller now. The caller's
    /// references to their pages become the row's, or are given up; on an error they
    /// stay the caller's.
    pub(super) fn row(&mut self, row: &Row) -> Result<Block, FibError> {
        let (block, new) = self.intern(row_words(row), ROW)?;
        if !new {
            let tag = self.tag(block);
            tag.set_kind(tag.kind() | SHARED);
            self.release_all(&row.0);
        }
        Ok(block)
    }

    /// Makes a row that differs from `old` in the places of `changed` at most, to
    /// whose pages alone the caller has references. `Some` row is to be published
    /// instead of `old`, under this lock yet; the caller refers to it now, and no
    /// longer to `old`. `None`: nothing is to be published, for there is no
    /// difference.
    ///
    /// What becomes of `old`:
    ///
    /// | the new row           | `old`, if nobody else refers to it | `old` otherwise  |
    /// | --------------------- | ---------------------------------- | ---------------- |
    /// | is there already      | is retired                         | loses a reference|
    /// | differs in one place, and `old` has always been the caller's alone | becomes the new row, by a store to that place | - |
    /// | else                  | is retired                         | loses a reference |
    pub(super) fn replace_row(
        &mut self,
        row: &Row,
        changed: Range<usize>,
        old: Block,
    ) -> Result<Option<Block>, FibError> {
        let hash = hash(self.pool.seed, row_words(row));
        if let Some(block) = self.find(hash, row_words(row), ROW) {
            self.release_all(row.0.get(changed).unwrap_or(&[]));
            if block == old {
                return Ok(None);
            }
            self.refer_row(block);
            self.release(old);
            return Ok(Some(block));
        }
        if changed.len() == 1 && self.tag(old).kind() & SHARED == 0 {
            self.unintern(old);
            self.store_place(old, row, changed.start);
            self.enter(old, hash, ROW);
            return Ok(Some(old));
        }
        let block = self.make(row_words(row))?;
        self.enter(block, hash, ROW);
        let around = row.0.iter().enumerate();
        for (_, &page) in
            around.filter(|&(place, &answer)| !changed.contains(&place) && is_number(answer))
        {
            self.refer(Block::of_bits(page), 1);
        }
        self.release(old);
        Ok(Some(block))
    }

    /// Stores an answer to its place in a row that is published.
    fn store_place(&mut self, block: Block, row: &Row, place: usize) {
        let lines = self.pool.heap.lines_of(block).cast::<LiveRow>();
        // SAFETY: a row of one table, which lives. All who read it load atomics.
        let live = unsafe { &*lines };
        if let (Some(answer), Some(&new)) = (live.get(place), row.0.get(place)) {
            let old = answer.own();
            answer.publish(new);
            self.release_all(&[old]);
        }
    }

    /// One more reference to a row, which more than one place has then.
    pub(super) fn refer_row(&mut self, block: Block) {
        self.refer(block, 1);
        let tag = self.tag(block);
        tag.set_kind(tag.kind() | SHARED);
    }

    /// Gives up a reference to each page among the answers.
    pub(super) fn release_all(&mut self, answers: &[u32]) {
        for &answer in answers.iter().filter(|&&answer| is_number(answer)) {
            self.release(Block::of_bits(answer));
        }
    }

    /// Gives up a reference to a page or a row. If it was the last, the block gives
    /// up its own, and so on, and all whose last it was are retired.
    pub(super) fn release(&mut self, block: Block) {
        let mut dying = None;
        self.unrefer(block, &mut dying);
        while let Some(block) = dying {
            dying = self.tag(block).next();
            self.for_each_child(block, |held, child| held.unrefer(child, &mut dying));
            self.retire(block);
        }
    }

    /// Gives up a reference; if it was the last, the block is found no more, and
    /// chained to the dying.
    fn unrefer(&mut self, block: Block, dying: &mut Option<Block>) {
        let tag = self.tag(block);
        tag.refs = tag.refs.wrapping_sub(1);
        if tag.refs == 0 {
            self.unintern(block);
            self.tag(block).set_next(*dying);
            *dying = Some(block);
        }
    }

    /// Shows the blocks that a block refers to, as often as it does.
    pub(super) fn for_each_child(&mut self, block: Block, mut visit: impl FnMut(&mut Self, Block)) {
        let kind = self.tag(block).kind();
        let lines = self.pool.heap.lines_of(block);
        match format_of(kind) {
            Some(format) if kind & WITH_SUBS != 0 => {
                // SAFETY: the block is such a page, and never written to.
                unsafe {
                    page::for_each_sub(format, lines, |sub| visit(self, Block::of_bits(sub)));
                }
            }
            Some(_) => {}
            None => {
                // SAFETY: the block is a row. All who read it load atomics.
                let row = unsafe { &*lines.cast::<LiveRow>() };
                for answer in row.iter().map(Place::own) {
                    if is_number(answer) {
                        visit(self, Block::of_bits(answer));
                    }
                }
            }
        }
    }

    /// See [`Store::reclaim`].
    pub(super) fn collect(&mut self) {
        // SAFETY: the shared block lives as long as the store.
        let period = unsafe { &self.shared.as_ref().period };
        let Pool {
            pending, waiting, ..
        } = &mut *self.pool;
        let batch = retire::turn(period, pending, waiting, self.grace);
        self.join_ripe(batch);
        for _ in 0..FREE_AT_ONCE {
            let Some(first) = Block::named(self.pool.ripe.first) else {
                break;
            };
            self.pool.ripe.first = Block::name(self.tag(first).next());
            self.pool.ripe.count = self.pool.ripe.count.wrapping_sub(1);
            // SAFETY: retired, so that no block refers to it, and a grace period
            // has elapsed since, so that no reader does.
            unsafe { self.pool.heap.free(self.memory, first) };
        }
    }

    fn figures(&self) -> StoreFigures {
        let Pool {
            heap,
            buckets,
            pages,
            rows,
            pending,
            waiting,
            ripe,
            ..
        } = &*self.pool;
        StoreFigures {
            pages: *pages,
            rows: *rows,
            pending: pending.count + waiting.count + ripe.count,
            used: heap.used_lines() * LINE,
            bytes: heap.bytes() + buckets.bytes() + size_of::<Shared>() + size_of::<Image>(),
        }
    }

    pub(super) fn tag(&mut self, block: Block) -> &mut super::heap::Tag {
        // SAFETY: blocks come from this pool's `intern` only, or from the rows and
        // pages in it, and are free only after the last reference was given up.
        unsafe { self.pool.heap.tag(block) }
    }

    /// The block of this content, with one reference more, and whether it is new.
    fn intern(&mut self, words: &[u64], kind: u8) -> Result<(Block, bool), FibError> {
        let hash = hash(self.pool.seed, words);
        if let Some(block) = self.find(hash, words, kind) {
            self.refer(block, 1);
            return Ok((block, false));
        }
        let block = self.make(words)?;
        self.enter(block, hash, kind);
        Ok((block, true))
    }

    /// A block of this content, which nobody finds yet, with one reference.
    fn make(&mut self, words: &[u64]) -> Result<Block, FibError> {
        self.make_room()?;
        let lines = words.len() / (LINE / 8);
        let block = self.pool.heap.allocate(self.memory, lines)?;
        // SAFETY: the block has as many lines, and nobody else knows it.
        unsafe {
            let place = self.pool.heap.lines_of(block).cast::<u64>();
            place.copy_from_nonoverlapping(words.as_ptr(), words.len());
        }
        Ok(block)
    }

    /// Puts a block into the hash table.
    fn enter(&mut self, block: Block, hash: u32, kind: u8) {
        let index = self.pool.buckets.index(hash);
        let head = self.pool.buckets.head(index);
        let tag = self.tag(block);
        tag.hash = hash;
        tag.set_kind(kind);
        tag.set_next(head);
        self.pool.buckets.set_head(index, Some(block));
        let count = self.count_of(kind);
        *count = count.wrapping_add(1);
    }

    fn count_of(&mut self, kind: u8) -> &mut usize {
        if kind & WHAT == ROW {
            &mut self.pool.rows
        } else {
            &mut self.pool.pages
        }
    }

    fn find(&mut self, hash: u32, words: &[u64], kind: u8) -> Option<Block> {
        let mut next = self.pool.buckets.head(self.pool.buckets.index(hash));
        while let Some(block) = next {
            let tag = *self.tag(block);
            let lines = words.len() / (LINE / 8);
            if tag.hash == hash && tag.kind() & !SHARED == kind && tag.count() == lines {
                let place = self.pool.heap.lines_of(block).cast::<u64>();
                // SAFETY: the block has as many words, and is written to with the
                // lock held only.
                let there = unsafe { core::slice::from_raw_parts(place, words.len()) };
                // Not `==`: that may become bcmp, which not every kernel has.
                let pairs = there.iter().zip(words);
                if pairs.fold(0, |differ, (a, b)| differ | (a ^ b)) == 0 {
                    return Some(block);
                }
            }
            next = tag.next();
        }
        None
    }

    /// Keeps chains short: one head more for each entry that comes in.
    fn make_room(&mut self) -> Result<(), FibError> {
        let entries = self.pool.pages.wrapping_add(self.pool.rows);
        if self.pool.buckets.count() == 0 {
            self.pool.buckets.widen(self.memory);
            if self.pool.buckets.count() == 0 {
                return Err(FibError::OutOfMemory);
            }
        }
        if entries < self.pool.buckets.count() as usize {
            return Ok(());
        }
        let Some(split) = self.pool.buckets.widen(self.memory) else {
            return Ok(());
        };
        let mut next = self.pool.buckets.head(split.from);
        let (mut stay, mut go) = (None, None);
        while let Some(block) = next {
            let hash = self.tag(block).hash;
            next = self.tag(block).next();
            let goes = self.pool.buckets.index(hash) == split.to;
            let chain = if goes { &mut go } else { &mut stay };
            let head = chain.replace(block);
            self.tag(block).set_next(head);
        }
        self.pool.buckets.set_head(split.from, stay);
        self.pool.buckets.set_head(split.to, go);
        Ok(())
    }

    /// Takes a block out of the hash table.
    fn unintern(&mut self, block: Block) {
        let tag = *self.tag(block);
        let index = self.pool.buckets.index(tag.hash);
        let mut last: Option<Block> = None;
        let mut next = self.pool.buckets.head(index);
        while let Some(other) = next {
            next = self.tag(other).next();
            if other == block {
                match last {
                    None => self.pool.buckets.set_head(index, next),
                    Some(last) => self.tag(last).set_next(next),
                }
                break;
            }
            last = Some(other);
        }
        let count = self.count_of(tag.kind());
        *count = count.wrapping_sub(1);
    }

    /// Keeps a block that nobody refers to any more for those who still read it.
    fn retire(&mut self, block: Block) {
        let pending = &mut self.pool.pending;
        let before = Block::named(pending.first);
        pending.first = block.bits();
        if before.is_none() {
            pending.last = block.bits();
        }
        pending.count = pending.count.wrapping_add(1);
        self.tag(block).set_next(before);
    }

    /// Puts a chain in front of the ripe one.
    fn join_ripe(&mut self, front: Chain) {
        let Some(last) = Block::named(front.last) else {
            return;
        };
        let ripe = Block::named(self.pool.ripe.first);
        self.tag(last).set_next(ripe);
        self.pool.ripe.first = front.first;
        self.pool.ripe.count = self.pool.ripe.count.wrapping_add(front.count);
    }
}

/// A row as words.
fn row_words(row: &Row) -> &[u64] {
    let count = size_of::<Row>() / size_of::<u64>();
    // SAFETY: as many bytes, without padding, aligned to more than a word.
    unsafe { core::slice::from_raw_parts((&raw const *row).cast(), count) }
}

/// A hash of the words. Each one is mixed in by a product of 64 bits, whose upper
/// half depends on all bits below.
fn hash(seed: u64, words: &[u64]) -> u32 {
    let mixed = words.iter().fold(seed, |hash, &word| {
        let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ (product >> 29)
    });
    let mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 32) as u32
}
