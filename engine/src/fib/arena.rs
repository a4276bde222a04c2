// SPDX-License-Identifier: BSD-2-Clause
//! The memory of a trie: nodes in slabs, the one store that publishes a change,
//! and the way of a node from the trie through a grace period to its next use.
//!
//! This is the only part of [`fib`](super) with unsafe code. It knows nothing of
//! longest-prefix match: its safe interface keeps the tree a tree (one pointer to
//! each node, no cycle, no node reused while it may be read) whatever keys its
//! caller puts in. Two things make that so. A `&'s Node` comes from a root only,
//! borrowed for a read section or for a time without a writer, and its children
//! are borrowed for no longer. A [`Cursor`] borrows the whole arena, and each
//! change consumes it, so no place in the tree is remembered across a change.

use super::grace::{ABANDONED, ELAPSED, Grace, IDLE, Leave, Memory, Period, RUNNING};
use super::{FibError, Figures};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, size_of};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// On which side of a node a child hangs: that of the next bit 0, or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Zero,
    One,
}

impl Side {
    /// The side below a node of length `len` (0 to 31) to which `key` belongs.
    #[inline]
    pub(super) fn of(key: u32, len: u8) -> Self {
        if key.rotate_left(u32::from(len)) >> 31 == 0 {
            Self::Zero
        } else {
            Self::One
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

/// What a new node is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) key: u32,
    pub(super) len: u8,
    pub(super) class: u32,
}

/// A node of the trie.
///
/// # Invariants
///
/// Shared by readers from its publication until a grace period after it was
/// taken out. During that time `key` and `len` are constant, and only the writer
/// stores to the rest.
#[repr(C)]
pub(super) struct Node {
    key: u32,
    class: AtomicU32,
    len: u8,
    child: [AtomicPtr<Node>; 2],
    /// The next node in the list of the writer this one is in. Readers do not
    /// look at it: a retired node keeps its children for them.
    next: AtomicPtr<Node>,
}

impl Node {
    const fn new(entry: Entry) -> Self {
        Self {
            key: entry.key,
            class: AtomicU32::new(entry.class),
            len: entry.len,
            child: [const { AtomicPtr::new(ptr::null_mut()) }; 2],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(super) fn key(&self) -> u32 {
        self.key
    }

    #[inline]
    pub(super) fn len(&self) -> u8 {
        self.len
    }

    #[inline]
    pub(super) fn class(&self) -> u32 {
        self.class.load(Ordering::Acquire)
    }

    /// How many leading bits of `key` agree with this node's prefix, no more
    /// than the node's length.
    #[inline]
    pub(super) fn agreement(&self, key: u32) -> u8 {
        let same = (self.key ^ key).leading_zeros();
        if same >= u32::from(self.len) {
            self.len
        } else {
            same as u8
        }
    }

    /// Whether `key` begins with this node's prefix.
    #[inline]
    pub(super) fn covers(&self, key: u32) -> bool {
        (self.key ^ key).leading_zeros() >= u32::from(self.len)
    }

    /// The child on that side, for as long as this node may be looked at.
    #[inline]
    pub(super) fn child(&self, side: Side) -> Option<&Node> {
        let child = self.link(side).load(Ordering::Acquire);
        // SAFETY: null, or a node that was whole when its pointer was released.
        // `&self` exists within a read section, or while there is no writer; in
        // both cases a node reachable from here is not reused before that ends:
        // it left the tree, if at all, during the section.
        unsafe { child.as_ref() }
    }

    #[inline]
    fn link(&self, side: Side) -> &AtomicPtr<Node> {
        &self.child[side as usize]
    }
}

/// Counters that the writer keeps and anyone may read. On a cache line of their
/// own, for lookups read the line before them.
#[repr(align(64))]
#[derive(Default)]
struct Counters {
    prefixes: AtomicUsize,
    nodes: AtomicUsize,
    pending: AtomicUsize,
    free: AtomicUsize,
    bytes: AtomicUsize,
}

/// Adds to a counter that only this thread stores to.
fn add(counter: &AtomicUsize, more: usize) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

/// Subtracts from a counter that only this thread stores to.
fn sub(counter: &AtomicUsize, less: usize) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_sub(less),
        Ordering::Relaxed,
    );
}

/// The part of a table that several threads reach. See the module's essay.
#[repr(C, align(64))]
pub(super) struct Shared {
    root: Node,
    generation: AtomicU64,
    counters: Counters,
    period: AtomicU8,
}

impl Shared {
    const LAYOUT: Layout = Layout::new::<Shared>();

    fn new() -> Self {
        Self {
            root: Node::new(Entry {
                key: 0,
                len: 0,
                class: 0,
            }),
            generation: AtomicU64::new(0),
            counters: Counters::default(),
            period: AtomicU8::new(IDLE),
        }
    }

    /// The number of changes published.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn figures(&self) -> Figures {
        let counters = &self.counters;
        Figures {
            prefixes: counters.prefixes.load(Ordering::Relaxed),
            nodes: counters.nodes.load(Ordering::Relaxed),
            pending: counters.pending.load(Ordering::Relaxed),
            free: counters.free.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            generation: self.generation(),
        }
    }
}

/// The readers' handle to a table: small, copied freely, for any thread.
pub struct Reader<'t, G> {
    shared: NonNull<Shared>,
    /// A table is not dropped while `'t` lasts ...
    table: PhantomData<&'t Shared>,
    /// ... and is read in `G`'s sections. Neither owned nor stored.
    grace: PhantomData<fn(G)>,
}

impl<G> Clone for Reader<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Reader<'_, G> {}

// SAFETY: a reader reads atomics, and nodes that other threads do not write to.
unsafe impl<G> Send for Reader<'_, G> {}
// SAFETY: as above; a reader has no state of its own.
unsafe impl<G> Sync for Reader<'_, G> {}

impl<'t, G: Grace> Reader<'t, G> {
    /// What the table holds now. Needs no section.
    pub fn figures(&self) -> Figures {
        // SAFETY: the table outlives `'t`, and so does its shared block.
        unsafe { self.shared.as_ref() }.figures()
    }

    /// The shared block and the root, for the time of a section.
    pub(super) fn enter<'s>(&'s self, _section: &'s G::Section<'_>) -> (&'s Shared, &'s Node) {
        // SAFETY: the table outlives `'t`, which outlives the borrow of `self`.
        // That nodes stay while the section does is `Grace`'s promise.
        let shared = unsafe { self.shared.as_ref() };
        (shared, &shared.root)
    }

    /// This reader without its lifetime, for a caller in C that keeps it.
    ///
    /// # Safety
    ///
    /// The result and its copies are not used after the table was dropped.
    pub unsafe fn detach(self) -> Reader<'static, G> {
        Reader {
            shared: self.shared,
            table: PhantomData,
            grace: PhantomData,
        }
    }
}

/// The first bytes of a slab, before its nodes.
struct Slab {
    next: Option<NonNull<Slab>>,
    layout: Layout,
}

impl Slab {
    /// The first slab of a table is of this many bytes, and each further one
    /// twice as large as the last, up to `MAX`: a small table stays small.
    const MIN: usize = 4096;
    const MAX: usize = 65536;
    /// Bytes from the start of a slab to its first node.
    const NODES_AT: usize = size_of::<Slab>().next_multiple_of(align_of::<Node>());
}

const _: () = assert!(size_of::<Node>() == 40);
const _: () = assert!(Slab::NODES_AT + size_of::<Node>() <= Slab::MIN);

/// A chain of nodes through `Node::next`, joined to another in constant time.
#[derive(Default)]
struct Chain {
    /// First and last node.
    ends: Option<(NonNull<Node>, NonNull<Node>)>,
    count: usize,
}

impl Chain {
    /// Puts a node in front. It must be in no other chain.
    fn push(&mut self, node: NonNull<Node>) {
        self.join(Chain {
            ends: Some((node, node)),
            count: 1,
        });
    }

    /// Puts all nodes of another chain in front.
    fn join(&mut self, front: Chain) {
        let Some((first, front_last)) = front.ends else {
            return;
        };
        let last = match self.ends {
            None => front_last,
            Some((next, last)) => {
                // SAFETY: a chain's nodes are the arena's, allocated until it drops.
                unsafe { front_last.as_ref() }
                    .next
                    .store(next.as_ptr(), Ordering::Relaxed);
                last
            }
        };
        self.ends = Some((first, last));
        self.count = self.count.wrapping_add(front.count);
    }

    /// Takes the first node out.
    fn pop(&mut self) -> Option<NonNull<Node>> {
        let (first, last) = self.ends?;
        self.count = self.count.wrapping_sub(1);
        self.ends = if first == last {
            None
        } else {
            // SAFETY: as in `join`.
            let next = unsafe { first.as_ref() }.next.load(Ordering::Relaxed);
            NonNull::new(next).map(|next| (next, last))
        };
        Some(first)
    }
}

/// The writer's half of a table, and the owner of all its memory.
pub(super) struct Arena<M: Memory, G: Grace> {
    shared: NonNull<Shared>,
    /// This one and the next are dropped with the blocks, or never: a period
    /// that still runs may lead to what they own.
    memory: ManuallyDrop<M>,
    grace: ManuallyDrop<G>,
    slabs: Option<NonNull<Slab>>,
    /// The part of the newest slab that was never used.
    untouched: NonNull<Node>,
    untouched_count: usize,
    /// Nodes nobody reads.
    free: Chain,
    /// Nodes taken out since the running grace period began.
    pending: Chain,
    /// Nodes taken out before it began.
    waiting: Chain,
}

// SAFETY: the memory behind the pointers belongs to the arena; what other
// threads reach of it is atomic or constant.
unsafe impl<M: Memory + Send, G: Grace + Send> Send for Arena<M, G> {}
// SAFETY: a `&Arena` reads what a `Reader` reads.
unsafe impl<M: Memory + Sync, G: Grace + Sync> Sync for Arena<M, G> {}

impl<M: Memory, G: Grace> Arena<M, G> {
    /// An arena with a root and no other node.
    pub(super) fn new(memory: M, grace: G) -> Result<Self, FibError> {
        let shared = memory
            .allocate(Shared::LAYOUT)
            .ok_or(FibError::OutOfMemory)?
            .cast::<Shared>();
        // SAFETY: fresh, and of `Shared`'s layout.
        unsafe { shared.write(Shared::new()) };
        let arena = Self {
            shared,
            memory: ManuallyDrop::new(memory),
            grace: ManuallyDrop::new(grace),
            slabs: None,
            untouched: NonNull::dangling(),
            untouched_count: 0,
            free: Chain::default(),
            pending: Chain::default(),
            waiting: Chain::default(),
        };
        add(&arena.shared().counters.bytes, Shared::LAYOUT.size());
        Ok(arena)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: allocated as long as the arena, and never borrowed mutably.
        unsafe { self.shared.as_ref() }
    }

    /// The root, for a time without changes.
    pub(super) fn root(&self) -> &Node {
        &self.shared().root
    }

    pub(super) fn figures(&self) -> Figures {
        self.shared().figures()
    }

    /// A handle for readers, for a time without changes.
    pub(super) fn reader(&self) -> Reader<'_, G> {
        Reader {
            shared: self.shared,
            table: PhantomData,
            grace: PhantomData,
        }
    }

    /// The two halves, both for as long as the arena is lent.
    pub(super) fn split(&mut self) -> (&mut Self, Reader<'_, G>) {
        // That the arena is not replaced, and so dropped, through the mutable
        // reference is what `Writer` sees to, which keeps it to itself.
        let reader = Reader {
            shared: self.shared,
            table: PhantomData,
            grace: PhantomData,
        };
        (self, reader)
    }

    /// A cursor at the root, to make one change with.
    pub(super) fn cursor(&mut self) -> Cursor<'_, M, G> {
        self.reclaim();
        Cursor {
            node: NonNull::from(self.root()),
            above: None,
            arena: self,
        }
    }

    /// Takes back the nodes whose grace period has elapsed, and starts a period
    /// for those that wait for one. Constant time.
    pub(super) fn reclaim(&mut self) {
        if self.shared().period.load(Ordering::Acquire) == ELAPSED {
            let batch = core::mem::take(&mut self.waiting);
            sub(&self.shared().counters.pending, batch.count);
            add(&self.shared().counters.free, batch.count);
            self.free.join(batch);
            self.shared().period.store(IDLE, Ordering::Release);
        }
        if self.pending.count != 0 && self.shared().period.load(Ordering::Relaxed) == IDLE {
            self.waiting = core::mem::take(&mut self.pending);
            self.shared().period.store(RUNNING, Ordering::Release);
            // SAFETY: a place within the shared block, which stays until the
            // period has elapsed: see the drop below.
            let state = unsafe { NonNull::new_unchecked(&raw mut (*self.shared.as_ptr()).period) };
            self.grace.start(Period::of(state));
        }
    }

    /// Leaves the table to the running grace period, if there is one.
    pub(super) fn abandon(&mut self) -> Leave {
        let period = &self.shared().period;
        match period.compare_exchange(RUNNING, ABANDONED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(ABANDONED) => Leave::WithPeriod,
            Err(_) => Leave::Now,
        }
    }

    /// A node with no children that no reader can see yet.
    fn make(&mut self, entry: Entry) -> Result<NonNull<Node>, FibError> {
        let node = match self.free.pop() {
            Some(node) => {
                sub(&self.shared().counters.free, 1);
                node
            }
            None => self.carve()?,
        };
        // SAFETY: room for a node in a slab of ours, which no reader can reach:
        // never used before, or free, that is, out of the tree since before a
        // grace period that has elapsed.
        unsafe { node.write(Node::new(entry)) };
        add(&self.shared().counters.nodes, 1);
        Ok(node)
    }

    /// Takes back a node that was made and not published.
    fn unmake(&mut self, node: NonNull<Node>) {
        sub(&self.shared().counters.nodes, 1);
        add(&self.shared().counters.free, 1);
        self.free.push(node);
    }

    /// Room for a node that was never used.
    fn carve(&mut self) -> Result<NonNull<Node>, FibError> {
        if self.untouched_count == 0 {
            self.grow()?;
        }
        let node = self.untouched;
        self.untouched_count = self.untouched_count.wrapping_sub(1);
        // SAFETY: at most one past the last node of the slab.
        self.untouched = unsafe { node.add(1) };
        Ok(node)
    }

    /// Gets a further slab.
    fn grow(&mut self) -> Result<(), FibError> {
        // SAFETY: a slab of ours, whose first bytes were written below.
        let newest = self
            .slabs
            .map(|slab| unsafe { slab.as_ref() }.layout.size());
        let size = newest.map_or(Slab::MIN, |newest| Slab::MAX.min(newest.saturating_mul(2)));
        let layout = Layout::from_size_align(size, align_of::<Node>().max(align_of::<Slab>()))
            .map_err(|_| FibError::OutOfMemory)?;
        let slab = self
            .memory
            .allocate(layout)
            .ok_or(FibError::OutOfMemory)?
            .cast::<Slab>();
        // SAFETY: fresh, aligned for a `Slab`, and larger than one.
        unsafe {
            slab.write(Slab {
                next: self.slabs,
                layout,
            })
        };
        // SAFETY: within the slab, and aligned since `NODES_AT` is a multiple of
        // a node's alignment.
        self.untouched = unsafe { slab.byte_add(Slab::NODES_AT) }.cast();
        self.untouched_count = (size - Slab::NODES_AT) / size_of::<Node>();
        self.slabs = Some(slab);
        add(&self.shared().counters.bytes, size);
        Ok(())
    }

    /// Keeps a node that was just taken out for those who still read it.
    fn retire(&mut self, node: NonNull<Node>) {
        self.pending.push(node);
        sub(&self.shared().counters.nodes, 1);
        add(&self.shared().counters.pending, 1);
    }

    /// Counts the change that was just published.
    fn published(&self) {
        let generation = &self.shared().generation;
        generation.store(
            generation.load(Ordering::Relaxed).wrapping_add(1),
            Ordering::Release,
        );
    }
}

impl<M: Memory, G: Grace> Drop for Arena<M, G> {
    fn drop(&mut self) {
        // A running period will store to `Shared`, and use what `grace` owns:
        // better a leak than that.
        if matches!(
            self.shared().period.load(Ordering::Acquire),
            RUNNING | ABANDONED
        ) {
            return;
        }
        let mut slabs = self.slabs.take();
        while let Some(slab) = slabs {
            // SAFETY: as in `grow`; read before the slab goes.
            let Slab { next, layout } = unsafe { slab.read() };
            // SAFETY: came from `allocate` with this layout. No reader is left:
            // each `Reader` borrows the table or promised to be gone.
            unsafe { self.memory.free(slab.cast(), layout) };
            slabs = next;
        }
        // SAFETY: as above; it came from `allocate` in `new`.
        unsafe { self.memory.free(self.shared.cast(), Shared::LAYOUT) };
        // SAFETY: once, here, and neither is used afterwards.
        unsafe {
            ManuallyDrop::drop(&mut self.grace);
            ManuallyDrop::drop(&mut self.memory);
        }
    }
}

/// A place in the tree where the writer makes its next change. It starts at the
/// root and goes down; each change consumes it.
pub(super) struct Cursor<'w, M: Memory, G: Grace> {
    arena: &'w mut Arena<M, G>,
    /// Where it stands. A node in the tree, always.
    node: NonNull<Node>,
    above: Option<Above>,
}

/// The way by which a cursor came to its node.
#[derive(Clone, Copy)]
struct Above {
    parent: NonNull<Node>,
    side: Side,
    /// The parent's own parent and side, unless the parent is the root.
    grand: Option<(NonNull<Node>, Side)>,
}

impl<M: Memory, G: Grace> Cursor<'_, M, G> {
    /// The node it stands at.
    pub(super) fn node(&self) -> &Node {
        // SAFETY: in the tree, which only a change through this cursor alters.
        unsafe { self.node.as_ref() }
    }

    /// Goes down to the child on that side, if there is one.
    pub(super) fn descend(&mut self, side: Side) {
        // The pointer itself, not one made of a `&Node`: when the node has been
        // retired and is used again, it is written to by this pointer.
        let child = self.node().link(side).load(Ordering::Relaxed);
        let Some(child) = NonNull::new(child) else {
            return;
        };
        let grand = self.above.map(|above| (above.parent, above.side));
        self.above = Some(Above {
            parent: self.node,
            side,
            grand,
        });
        self.node = child;
    }

    /// Sets the class of the node and returns the one it had.
    pub(super) fn set_class(self, class: u32) -> u32 {
        let old = self.node().class();
        if old == class {
            return old;
        }
        self.node().class.store(class, Ordering::Release);
        self.arena.published();
        let prefixes = &self.arena.shared().counters.prefixes;
        if old == 0 {
            add(prefixes, 1);
        } else if class == 0 {
            sub(prefixes, 1);
        }
        old
    }

    /// Hangs a new leaf on that side, where there is no child.
    pub(super) fn put(self, side: Side, leaf: Entry) -> Result<(), FibError> {
        debug_assert!(self.node().child(side).is_none());
        let leaf = self.arena.make(leaf)?;
        self.publish(side, leaf);
        Ok(())
    }

    /// Puts a new node between this one and the child on that side, which hangs
    /// on the new node's side `below`.
    pub(super) fn wrap(self, side: Side, entry: Entry, below: Side) -> Result<(), FibError> {
        let middle = self.arena.make(entry)?;
        self.hang_child_on(side, middle, below);
        self.publish(side, middle);
        Ok(())
    }

    /// Puts new glue between this node and the child on that side, which hangs
    /// on the glue's side `below`, with a new leaf on its other side.
    pub(super) fn fork(
        self,
        side: Side,
        glue: Entry,
        below: Side,
        leaf: Entry,
    ) -> Result<(), FibError> {
        let glue = self.arena.make(glue)?;
        let leaf = match self.arena.make(leaf) {
            Ok(leaf) => leaf,
            Err(error) => {
                self.arena.unmake(glue);
                return Err(error);
            }
        };
        // SAFETY: made above, and seen by nobody else.
        unsafe { glue.as_ref() }
            .link(below.other())
            .store(leaf.as_ptr(), Ordering::Relaxed);
        self.hang_child_on(side, glue, below);
        self.publish(side, glue);
        Ok(())
    }

    /// Makes a node that nobody sees yet the second parent of the child on that
    /// side, until `publish` makes it the only one.
    fn hang_child_on(&self, side: Side, fresh: NonNull<Node>, below: Side) {
        let child = self.node().link(side).load(Ordering::Relaxed);
        // SAFETY: `fresh` was just made.
        unsafe { fresh.as_ref() }
            .link(below)
            .store(child, Ordering::Relaxed);
    }

    /// The one store by which a new prefix comes to be.
    fn publish(self, side: Side, fresh: NonNull<Node>) {
        self.node()
            .link(side)
            .store(fresh.as_ptr(), Ordering::Release);
        self.arena.published();
        add(&self.arena.shared().counters.prefixes, 1);
    }

    /// Removes the class of the node, which has one, and with it what is there
    /// for its sake only: the node if it has fewer than two children, and glue
    /// above it that would be left with one.
    pub(super) fn erase(self) {
        let zero = self.node().link(Side::Zero).load(Ordering::Relaxed);
        let one = self.node().link(Side::One).load(Ordering::Relaxed);
        let Some(above) = self.above else {
            self.set_class(0);
            return;
        };
        if !zero.is_null() && !one.is_null() {
            self.set_class(0);
            return;
        }
        let child = if zero.is_null() { one } else { zero };
        let glue = self.glue_over(above).filter(|_| child.is_null());
        // SAFETY: the nodes above a node in the tree are in the tree.
        let (parent, grand) = unsafe {
            (
                above.parent.as_ref(),
                glue.map(|(at, side)| (at.as_ref(), side)),
            )
        };
        match grand {
            Some((grand, side)) => {
                let sibling = parent.link(above.side.other()).load(Ordering::Relaxed);
                grand.link(side).store(sibling, Ordering::Release);
            }
            None => parent.link(above.side).store(child, Ordering::Release),
        }
        self.arena.published();
        sub(&self.arena.shared().counters.prefixes, 1);
        self.arena.retire(self.node);
        if glue.is_some() {
            self.arena.retire(above.parent);
        }
        self.arena.reclaim();
    }

    /// Where the parent hangs, if the parent is glue.
    fn glue_over(&self, above: Above) -> Option<(NonNull<Node>, Side)> {
        // SAFETY: as in `erase`.
        let parent = unsafe { above.parent.as_ref() };
        above
            .grand
            .filter(|_| parent.class.load(Ordering::Relaxed) == 0)
    }
}
