// SPDX-License-Identifier: BSD-2-Clause
//! Memory in cache lines: blocks of 1 to 32 lines, carved from leaves.
//!
//! A *leaf* is 4 KB, aligned so: 51 lines, then what the writer notes of each of
//! them (a [`Tag`]), then the leaf's own account. Leaves come in slabs, as large a
//! piece as the heap's size justifies, from wherever the platform has them; nothing
//! ever moves.
//!
//! A [`Block`] is named by a number of 32 bits: its distance, in lines, from an
//! address that is chosen once, 128 GB below the first slab. So a reader gets from
//! the number to the line by one shift and one addition, of a constant, and loads
//! nothing. A slab that is out of reach, 128 GB from the first, is refused as if
//! there were no memory. Numbers are never below [`FIRST`]: what is smaller may
//! stand for something else where a number could be.
//!
//! By the tag before a block, and that after it, a freed block finds free
//! neighbours in its leaf and joins them in constant time (boundary tags: Knuth,
//! "The Art of Computer Programming", volume 1, 2.5). A slab that is free as a whole
//! is given back, but for one.
//!
//! The heap is for one thread at a time; only [`line`] may run beside it.

use super::FibError;
use super::grace::Memory;
use core::alloc::Layout;
use core::mem::size_of;
use core::ptr::{self, NonNull};

/// Bytes of a cache line, and of the unit of allocation.
pub(super) const LINE: usize = 64;
/// The most lines that one block has.
pub(super) const MOST_LINES: usize = 32;
/// The least number of a block.
pub(super) const FIRST: u32 = 1 << 20;

/// Bytes of a leaf, and its alignment.
const LEAF: usize = 4096;
/// Lines of a leaf.
const LINES: u32 = 51;
/// Where a leaf's tags are.
const TAGS_AT: usize = LINES as usize * LINE;
/// Where its account is.
const ACCOUNT_AT: usize = TAGS_AT + LINES as usize * size_of::<Tag>();
/// Lines between one leaf's first and the next one's.
const STRIDE: u32 = (LEAF / LINE) as u32;
/// Leaves of the largest slab: 2 MB, amd64's superpage.
const LEAVES_MAX: u32 = 512;
/// How far below the first slab the numbers begin, in lines.
const BELOW: u32 = 1 << 31;

const _: () = assert!(ACCOUNT_AT + size_of::<Account>() == LEAF);
const _: () = assert!(MOST_LINES < LINES as usize);

/// Some consecutive lines, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block(u32);

impl Block {
    /// No block has this number.
    const NONE: u32 = 0;

    /// The number, [`FIRST`] at least.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// The block of a number that [`bits`](Block::bits) gave.
    pub(super) fn of_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The number of a block that may not be there, for [`named`](Block::named).
    pub(super) fn name(block: Option<Self>) -> u32 {
        block.map_or(Self::NONE, Self::bits)
    }

    /// The block of a number that [`name`](Block::name) gave.
    pub(super) fn named(name: u32) -> Option<Self> {
        (name != Self::NONE).then_some(Self(name))
    }

    fn next_to(self, lines: u32) -> Self {
        Self(self.0.wrapping_add(lines))
    }

    fn before(self, lines: u32) -> Self {
        Self(self.0.wrapping_sub(lines))
    }
}

/// The address from which a heap counts its lines. It is no one's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin(usize);

/// The first byte of the block of this number. Whether it may be read, and for how
/// long, is for the caller to know.
#[inline(always)]
pub(super) fn line(origin: Origin, number: u32) -> *const u8 {
    let address = origin.0.wrapping_add((number as usize) << LINE.ilog2());
    // Of a slab, whose provenance `grow` has exposed.
    ptr::with_exposed_provenance(address)
}

/// What the writer notes of a block, in the tag of its first line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Tag {
    /// Who refers to the block. 0 when it is free or retired.
    pub(super) refs: u32,
    /// The next block of the chain that this one is in.
    next: u32,
    /// While free: the one before in the list. While in use: the owner's.
    pub(super) hash: u32,
    /// How many lines, `FREE` and the owner's bits. In the last line's tag too.
    size: u32,
}

impl Tag {
    const FREE: u32 = 1 << 31;
    const LINES: u32 = 0xffff;

    fn lines(&self) -> u32 {
        self.size & Self::LINES
    }

    /// Eight bits that the owner of a block in use may set, 0 at first.
    pub(super) fn kind(&self) -> u8 {
        (self.size >> 16) as u8
    }

    pub(super) fn set_kind(&mut self, kind: u8) {
        self.size = self.lines() | u32::from(kind) << 16;
    }

    /// How many lines the block has.
    pub(super) fn count(&self) -> usize {
        self.lines() as usize
    }

    /// The next block of the owner's chain.
    pub(super) fn next(&self) -> Option<Block> {
        Block::named(self.next)
    }

    pub(super) fn set_next(&mut self, next: Option<Block>) {
        self.next = Block::name(next);
    }
}

/// What stands at a leaf's end. All but the first is of the slab whose first leaf
/// it is.
#[derive(Clone, Copy)]
#[repr(C)]
struct Account {
    /// Leaves of the slab before this one.
    index: u32,
    leaves: u32,
    /// Lines in blocks that are not free.
    used: u32,
    /// The first line of the slab that was got before, or [`Block::NONE`].
    next: u32,
}

/// Free blocks by size.
const LISTS: usize = LINES as usize + 1;

/// Slabs, and which of their lines are free. All its bytes may be 0: a heap that has
/// not been [started](Heap::start).
///
/// # Invariants
///
/// Each line of each leaf belongs to one block; a block's first and last tag agree
/// on its size; a free block is in the list of its size and has no free neighbour.
pub(super) struct Heap {
    origin: Origin,
    /// The slab that was got last, by its first line, or [`Block::NONE`].
    slabs: u32,
    lists: [u32; LISTS],
    /// Bit `i` is set when `lists[i]` is not empty.
    filled: u64,
    /// The slab that is kept though it is free, or [`Block::NONE`].
    spare: u32,
    leaves: usize,
    used_lines: usize,
}

impl Heap {
    /// Gets the first slab.
    pub(super) fn start(&mut self, memory: &impl Memory) -> Result<(), FibError> {
        self.grow(memory)
    }

    /// By what readers get from a number to a line, for all of the heap's life.
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// Bytes obtained from memory.
    pub(super) fn bytes(&self) -> usize {
        self.leaves.wrapping_mul(LEAF)
    }

    /// Lines in blocks that are not free.
    pub(super) fn used_lines(&self) -> usize {
        self.used_lines
    }

    /// The tag of a block.
    ///
    /// # Safety
    ///
    /// The block is one of this heap's, in use or retired.
    pub(super) unsafe fn tag(&mut self, block: Block) -> &mut Tag {
        // SAFETY: the caller's promise; the heap is borrowed for as long.
        unsafe { &mut *self.tag_at(block) }
    }

    /// The first byte of a block's lines, to read and, before anybody else knows
    /// the block, to write.
    pub(super) fn lines_of(&self, block: Block) -> *mut u8 {
        line(self.origin, block.0).cast_mut()
    }

    fn leaf_of(&self, block: Block) -> *mut u8 {
        let line = self.lines_of(block);
        line.wrapping_sub(line.addr() % LEAF)
    }

    fn place(&self, block: Block) -> u32 {
        (self.lines_of(block).addr() % LEAF / LINE) as u32
    }

    fn tag_at(&self, block: Block) -> *mut Tag {
        let place = self.place(block) as usize;
        self.leaf_of(block)
            .wrapping_add(TAGS_AT)
            .cast::<Tag>()
            .wrapping_add(place)
    }

    /// The account of the leaf that the block is in.
    fn account_at(&self, block: Block) -> *mut Account {
        self.leaf_of(block).wrapping_add(ACCOUNT_AT).cast()
    }

    /// The slab that the block is in, by its first line.
    ///
    /// # Safety
    /// The block is in a slab of this heap.
    unsafe fn slab_of(&self, block: Block) -> Block {
        // SAFETY: the caller's block is in a leaf of this heap.
        let index = unsafe { (*self.account_at(block)).index };
        let first = block.before(self.place(block));
        first.before(index.wrapping_mul(STRIDE))
    }

    /// How many lines the free block has whose first or last line this is.
    ///
    /// # Safety
    /// The line is the first or the last of a block of this heap.
    unsafe fn free_lines_at(&self, line: Block) -> Option<u32> {
        // SAFETY: the caller's line is the first or last of its block. Of a last
        // line's tag nothing but the size was ever written.
        let size = unsafe { (*self.tag_at(line)).size };
        (size & Tag::FREE != 0).then_some(size & Tag::LINES)
    }

    /// A block of that many lines (1 to [`MOST_LINES`]), referred to by one. What
    /// its lines hold is left over from others.
    pub(super) fn allocate(
        &mut self,
        memory: &impl Memory,
        lines: usize,
    ) -> Result<Block, FibError> {
        debug_assert!((1..=MOST_LINES).contains(&lines));
        let lines = lines as u32;
        let fitting = |filled: u64| (filled >> lines) << lines;
        if fitting(self.filled) == 0 {
            self.grow(memory)?;
        }
        let list = fitting(self.filled).trailing_zeros();
        let block = Block(
            self.lists
                .get(list as usize)
                .copied()
                .unwrap_or(Block::NONE),
        );
        // SAFETY: the head of a list is a free block of `list` lines, no fewer than
        // asked for.
        unsafe {
            self.unlist(block, list);
            if list > lines {
                self.enlist(block.next_to(lines), list.wrapping_sub(lines));
            }
            self.mark(block, lines, lines);
            let tag = self.tag(block);
            tag.refs = 1;
            tag.next = Block::NONE;
            let slab = self.slab_of(block);
            if self.spare == slab.0 {
                self.spare = Block::NONE;
            }
            let used = &mut (*self.account_at(slab)).used;
            *used = used.wrapping_add(lines);
        }
        self.used_lines = self.used_lines.wrapping_add(lines as usize);
        Ok(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// The block came from `allocate`, is given back once, and nobody refers to it
    /// or reads it.
    pub(super) unsafe fn free(&mut self, memory: &impl Memory, block: Block) {
        let mut block = block;
        // SAFETY: the caller's block, and its neighbours within the leaf, whose
        // boundary tags agree by the invariant.
        unsafe {
            let slab = self.slab_of(block);
            let mut size = (*self.tag_at(block)).lines();
            let used = &mut (*self.account_at(slab)).used;
            *used = used.wrapping_sub(size);
            let slab_is_free = *used == 0;
            self.used_lines = self.used_lines.wrapping_sub(size as usize);
            if self.place(block).wrapping_add(size) < LINES
                && let Some(lines) = self.free_lines_at(block.next_to(size))
            {
                self.unlist(block.next_to(size), lines);
                size = size.wrapping_add(lines);
            }
            if self.place(block) > 0
                && let Some(lines) = self.free_lines_at(block.before(1))
            {
                block = block.before(lines);
                self.unlist(block, lines);
                size = size.wrapping_add(lines);
            }
            self.enlist(block, size);
            if slab_is_free {
                self.slab_is_free(memory, slab);
            }
        }
    }

    /// Gives all memory back. The heap is not used afterwards.
    ///
    /// # Safety
    ///
    /// Nobody refers to a block, and nobody reads one, ever again.
    pub(super) unsafe fn release(&mut self, memory: &impl Memory) {
        while self.slabs != Block::NONE {
            // SAFETY: a slab of this heap.
            unsafe { self.give_back(memory, Block(self.slabs)) };
        }
    }

    /// Writes a block's size, with flags, to its first and its last tag.
    ///
    /// # Safety
    /// The block is of this heap and has that many lines.
    unsafe fn mark(&mut self, block: Block, lines: u32, size: u32) {
        // SAFETY: the caller's block has that many lines.
        unsafe {
            (*self.tag_at(block)).size = size;
            (*self.tag_at(block.next_to(lines.wrapping_sub(1)))).size = size;
        }
    }

    /// Makes lines a free block and puts it in its list.
    ///
    /// # Safety
    /// The lines are of this heap and in no block.
    unsafe fn enlist(&mut self, block: Block, lines: u32) {
        let head = self
            .lists
            .get(lines as usize)
            .copied()
            .unwrap_or(Block::NONE);
        // SAFETY: the caller's lines are in no block now; a list's head is free.
        unsafe {
            self.mark(block, lines, lines | Tag::FREE);
            let tag = &mut *self.tag_at(block);
            (tag.refs, tag.next, tag.hash) = (0, head, Block::NONE);
            if head != Block::NONE {
                (*self.tag_at(Block(head))).hash = block.0;
            }
        }
        self.set_head(lines, block.0);
    }

    /// Takes a free block out of its list.
    ///
    /// # Safety
    /// The block is free and has that many lines.
    unsafe fn unlist(&mut self, block: Block, lines: u32) {
        // SAFETY: the caller's block is free, hence in the list of its size, and
        // so are its neighbours there.
        unsafe {
            let Tag { next, hash, .. } = *self.tag_at(block);
            if next != Block::NONE {
                (*self.tag_at(Block(next))).hash = hash;
            }
            if hash != Block::NONE {
                (*self.tag_at(Block(hash))).next = next;
            } else {
                self.set_head(lines, next);
            }
        }
    }

    fn set_head(&mut self, lines: u32, head: u32) {
        if let Some(place) = self.lists.get_mut(lines as usize) {
            *place = head;
        }
        let bit = 1u64 << (lines & 63);
        self.filled = if head == Block::NONE {
            self.filled & !bit
        } else {
            self.filled | bit
        };
    }

    /// Gets a further slab.
    fn grow(&mut self, memory: &impl Memory) -> Result<(), FibError> {
        let leaves = slab_leaves(self.leaves);
        let layout = slab_layout(leaves)?;
        let base = memory.allocate(layout).ok_or(FibError::OutOfMemory)?;
        let address = base.as_ptr().expose_provenance();
        if self.leaves == 0 {
            self.origin = Origin(address.wrapping_sub(BELOW as usize * LINE));
        }
        let Some(first) = self.number(address, leaves) else {
            // SAFETY: from just above.
            unsafe { memory.free(base, layout) };
            return Err(FibError::OutOfMemory);
        };
        for index in 0..leaves {
            let leaf = first.next_to(index.wrapping_mul(STRIDE));
            let account = Account {
                index,
                leaves,
                used: 0,
                next: self.slabs,
            };
            // SAFETY: a leaf of the new slab, which nobody else knows.
            unsafe {
                self.account_at(leaf).write(account);
                self.enlist(leaf, LINES);
            }
        }
        self.slabs = first.0;
        self.leaves = self.leaves.wrapping_add(leaves as usize);
        Ok(())
    }

    /// The number of the first line of a slab, if all of its lines can have one.
    fn number(&self, address: usize, leaves: u32) -> Option<Block> {
        let first = u32::try_from(address.wrapping_sub(self.origin.0) / LINE).ok()?;
        first.checked_add(leaves.checked_mul(STRIDE)?)?;
        (first >= FIRST).then_some(Block(first))
    }

    /// Keeps a slab that has become free, or gives it back if one is kept already.
    ///
    /// # Safety
    /// The slab is in the chain of slabs, and nothing of it is in use or in a list.
    unsafe fn slab_is_free(&mut self, memory: &impl Memory, slab: Block) {
        if self.spare == Block::NONE {
            self.spare = slab.0;
            return;
        }
        // SAFETY: the slab is of this heap, and each of its leaves one free block,
        // the caller says.
        unsafe {
            let leaves = (*self.account_at(slab)).leaves;
            for index in 0..leaves {
                self.unlist(slab.next_to(index.wrapping_mul(STRIDE)), LINES);
            }
            self.give_back(memory, slab);
        }
    }

    /// Takes a slab out of the chain of slabs, and gives its memory back.
    ///
    /// # Safety
    /// The slab is in the chain of slabs, came from this memory, and nothing of it is in use.
    unsafe fn give_back(&mut self, memory: &impl Memory, slab: Block) {
        // SAFETY: the caller's slab and those in the chain are of this heap, and
        // nobody reads this one any more; it came from `grow` with this layout.
        unsafe {
            let Account { leaves, next, .. } = *self.account_at(slab);
            if self.slabs == slab.0 {
                self.slabs = next;
            } else {
                let mut other = Block(self.slabs);
                while (*self.account_at(other)).next != slab.0 {
                    other = Block((*self.account_at(other)).next);
                }
                (*self.account_at(other)).next = next;
            }
            self.leaves = self.leaves.wrapping_sub(leaves as usize);
            if let (Some(start), Ok(layout)) =
                (NonNull::new(self.lines_of(slab)), slab_layout(leaves))
            {
                memory.free(start, layout);
            }
        }
    }
}

/// How many leaves the next slab has: an eighth of what is there, within limits.
fn slab_leaves(there: usize) -> u32 {
    let eighth = u32::try_from(there / 8).unwrap_or(LEAVES_MAX);
    eighth.clamp(1, LEAVES_MAX)
}

fn slab_layout(leaves: u32) -> Result<Layout, FibError> {
    let size = (leaves as usize).saturating_mul(LEAF);
    Layout::from_size_align(size, LEAF).map_err(|_| FibError::OutOfMemory)
}
