// SPDX-License-Identifier: BSD-2-Clause
//! Memory in cache lines: blocks of 1 to 32 lines, carved from slabs.
//!
//! A [`Block`] is a number of 31 bits, the slab's place in the *directory* and the
//! line within the slab, so that what refers to it takes four bytes. Readers
//! resolve it by one load from the directory, which is small and stays in their
//! first-level cache. A slab is found where the platform puts it: nothing has to
//! be contiguous, and nothing ever moves.
//!
//! A slab's lines hold nothing but what readers read. What the writer notes of a
//! block is in a [`Tag`] beside the lines, one for each line, of which the block's
//! first and last are used: by the tag before a block, and that after it, a freed
//! block finds free neighbours and joins them in constant time (boundary tags:
//! Knuth, "The Art of Computer Programming", volume 1, 2.5). A slab that is free
//! as a whole is given back, but for one.
//!
//! Slabs grow with the heap, from 5 KB to 1.3 MB, so that what is not in use is
//! about a fifth at most, and a small heap stays small.
//!
//! The heap is for one thread at a time; only [`resolve`] may run beside it.

use super::FibError;
use super::grace::Memory;
use core::alloc::Layout;
use core::mem::size_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

/// Bytes of a cache line, and of the unit of allocation.
pub(super) const LINE: usize = 64;
/// The most lines that one block has.
pub(super) const MOST_LINES: usize = 32;

/// Bits of a block's number that are the line within its slab.
const LINE_BITS: u32 = 14;
/// Lines of the largest slab.
const LINES_MAX: u32 = 1 << LINE_BITS;
/// Lines of the first slab.
const LINES_MIN: u32 = 64;
/// Slabs that the first directory has room for; each further one has twice that.
const DIRECTORY_MIN: u32 = 16;
/// Directories there may be: the last has room for `16 << 13` slabs.
const DIRECTORIES: usize = 14;

/// Some consecutive lines, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block(u32);

impl Block {
    /// No block has this number.
    const NONE: u32 = u32::MAX;

    /// The number, below 2^31.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// The block of a number that [`bits`](Block::bits) gave.
    pub(super) fn of_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn slab(self) -> u32 {
        self.0 >> LINE_BITS
    }

    fn line(self) -> u32 {
        self.0 & (LINES_MAX - 1)
    }

    fn next_to(self, lines: u32) -> Self {
        Self(self.0.wrapping_add(lines))
    }

    fn before(self, lines: u32) -> Self {
        Self(self.0.wrapping_sub(lines))
    }
}

/// Where a slab's lines begin.
pub(super) type Base = AtomicPtr<u8>;

/// The first byte of a block.
///
/// # Safety
///
/// `directory` is that of a heap, loaded after the block was known, and the block
/// is in use or was, a grace period not yet having passed since.
#[inline(always)]
pub(super) unsafe fn resolve(directory: *const Base, block: u32) -> *const u8 {
    let slab = (block >> LINE_BITS) as usize;
    let line = (block & (LINES_MAX - 1)) as usize;
    // SAFETY: the caller's promises: the slab is there, and the line in it. The
    // slab's base was stored before the block was published.
    unsafe {
        (*directory.add(slab))
            .load(Ordering::Relaxed)
            .cast_const()
            .add(line * LINE)
    }
}

/// What the writer notes of a block, or of a line.
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
        (self.next != Block::NONE).then_some(Block(self.next))
    }

    pub(super) fn set_next(&mut self, next: Option<Block>) {
        self.next = next.map_or(Block::NONE, Block::bits);
    }
}

/// The writer's part of a directory's entry.
#[derive(Clone, Copy)]
struct Slab {
    tags: *mut Tag,
    lines: u32,
}

/// Free blocks of up to 31 lines by size, and one list of all that are larger.
const LISTS: usize = 33;

/// Slabs, and which of their lines are free.
///
/// # Invariants
///
/// Each line of each slab belongs to one block; a block's first and last tag agree
/// on its size; a free block is in the list of its size and has no free neighbour.
pub(super) struct Heap {
    directories: [*mut Base; DIRECTORIES],
    /// Index of the newest directory, plus 1.
    directory_count: usize,
    /// Entries of the directory that are or were in use.
    slab_count: u32,
    /// Entries below `slab_count` that are not in use.
    holes: u32,
    lists: [u32; LISTS],
    /// Bit `i` is set when `lists[i]` is not empty.
    filled: u64,
    /// The slab that is kept though it is free, if there is one.
    spare: Option<u32>,
    lines: usize,
    free_lines: usize,
    bytes: usize,
}

impl Heap {
    pub(super) const fn new() -> Self {
        Self {
            directories: [ptr::null_mut(); DIRECTORIES],
            directory_count: 0,
            slab_count: 0,
            holes: 0,
            lists: [Block::NONE; LISTS],
            filled: 0,
            spare: None,
            lines: 0,
            free_lines: 0,
            bytes: 0,
        }
    }

    /// What readers resolve blocks by, null before the first block.
    pub(super) fn directory(&self) -> *mut Base {
        match self.directories.get(self.directory_count.wrapping_sub(1)) {
            Some(&directory) => directory,
            None => ptr::null_mut(),
        }
    }

    /// Bytes obtained from memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lines in blocks that are not free.
    pub(super) fn used_lines(&self) -> usize {
        self.lines.wrapping_sub(self.free_lines)
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
    ///
    /// # Safety
    ///
    /// As for [`tag`](Heap::tag).
    pub(super) unsafe fn lines_of(&self, block: Block) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { resolve(self.directory(), block.0).cast_mut() }
    }

    fn capacity(&self) -> u32 {
        match self.directory_count {
            0 => 0,
            count => DIRECTORY_MIN << (count - 1),
        }
    }

    /// The writer's part of the entry of a slab.
    ///
    /// # Safety
    ///
    /// `slab` is below the capacity of the directory.
    unsafe fn slab(&self, slab: u32) -> *mut Slab {
        // SAFETY: a directory has as many slabs as bases, after them.
        unsafe {
            self.directory()
                .add(self.capacity() as usize)
                .cast::<Slab>()
                .add(slab as usize)
        }
    }

    /// The tag of a line: of one in a slab in use.
    unsafe fn tag_at(&self, block: Block) -> *mut Tag {
        // SAFETY: the caller's promise; tags are as many as lines.
        unsafe { (*self.slab(block.slab())).tags.add(block.line() as usize) }
    }

    /// How many lines the free block has whose first or last line this is.
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
        let list = fitting(self.filled).trailing_zeros() as usize;
        let block = Block(self.lists.get(list).copied().unwrap_or(Block::NONE));
        // SAFETY: the head of a list is a free block with at least `lines` lines:
        // those of the last list have 32 or more, as much as one can ask for.
        unsafe {
            let size = (*self.tag_at(block)).lines();
            self.unlist(block, size);
            if self.spare == Some(block.slab()) {
                self.spare = None;
            }
            if size > lines {
                self.enlist(block.next_to(lines), size.wrapping_sub(lines));
            }
            self.mark(block, lines, lines);
            let tag = self.tag(block);
            tag.refs = 1;
            tag.next = Block::NONE;
        }
        self.free_lines = self.free_lines.wrapping_sub(lines as usize);
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
        // SAFETY: the caller's block, and its neighbours within the slab, whose
        // boundary tags agree by the invariant.
        unsafe {
            let mut size = (*self.tag_at(block)).lines();
            self.free_lines = self.free_lines.wrapping_add(size as usize);
            let slab_lines = (*self.slab(block.slab())).lines;
            let after = block.line().wrapping_add(size);
            if after < slab_lines
                && let Some(lines) = self.free_lines_at(block.next_to(size))
            {
                self.unlist(block.next_to(size), lines);
                size = size.wrapping_add(lines);
            }
            if block.line() > 0
                && let Some(lines) = self.free_lines_at(block.before(1))
            {
                block = block.before(lines);
                self.unlist(block, lines);
                size = size.wrapping_add(lines);
            }
            self.enlist(block, size);
            if size == slab_lines {
                self.slab_is_free(memory, block.slab());
            }
        }
    }

    /// Gives all memory back.
    ///
    /// # Safety
    ///
    /// Nobody refers to a block, and nobody resolves one, ever again.
    pub(super) unsafe fn release(&mut self, memory: &impl Memory) {
        for slab in 0..self.slab_count {
            // SAFETY: below the directory's capacity.
            unsafe { self.give_back(memory, slab) };
        }
        for index in 0..self.directory_count {
            let layout = directory_layout(DIRECTORY_MIN << index);
            let directory = self.directories.get(index).copied();
            if let (Ok(layout), Some(Some(directory))) = (layout, directory.map(NonNull::new)) {
                // SAFETY: from `widen`, with this layout.
                unsafe { memory.free(directory.cast(), layout) };
            }
        }
        *self = Self::new();
    }

    fn size_of_list(list: u32) -> usize {
        (list as usize).min(LISTS - 1)
    }

    /// Writes a block's size, with flags, to its first and its last tag.
    unsafe fn mark(&mut self, block: Block, lines: u32, size: u32) {
        // SAFETY: the caller's block has that many lines.
        unsafe {
            (*self.tag_at(block)).size = size;
            (*self.tag_at(block.next_to(lines.wrapping_sub(1)))).size = size;
        }
    }

    /// Makes lines a free block and puts it in its list.
    unsafe fn enlist(&mut self, block: Block, lines: u32) {
        let list = Self::size_of_list(lines);
        let head = self.lists.get(list).copied().unwrap_or(Block::NONE);
        // SAFETY: the caller's lines are in no block now; a list's head is free.
        unsafe {
            self.mark(block, lines, lines | Tag::FREE);
            let tag = &mut *self.tag_at(block);
            (tag.refs, tag.next, tag.hash) = (0, head, Block::NONE);
            if head != Block::NONE {
                (*self.tag_at(Block(head))).hash = block.0;
            }
        }
        self.set_head(list, block.0);
    }

    /// Takes a free block out of its list.
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
                self.set_head(Self::size_of_list(lines), next);
            }
        }
    }

    fn set_head(&mut self, list: usize, head: u32) {
        if let Some(place) = self.lists.get_mut(list) {
            *place = head;
        }
        let bit = 1u64 << (list & 63);
        self.filled = if head == Block::NONE {
            self.filled & !bit
        } else {
            self.filled | bit
        };
    }

    /// Gets a further slab: a quarter of what is there, within limits.
    fn grow(&mut self, memory: &impl Memory) -> Result<(), FibError> {
        if self.holes == 0 && self.slab_count == self.capacity() {
            self.widen(memory)?;
        }
        let quarter = u32::try_from(self.lines / 4).unwrap_or(LINES_MAX);
        let lines = quarter.clamp(LINES_MIN, LINES_MAX) & !15;
        let layout = slab_layout(lines)?;
        let base = memory.allocate(layout).ok_or(FibError::OutOfMemory)?;
        let slab = self.vacant();
        // SAFETY: a vacant entry of the directory; the block is large enough for
        // the lines and the tags after them, and aligned for both.
        unsafe {
            let tags = base.add(lines as usize * LINE).cast::<Tag>().as_ptr();
            self.slab(slab).write(Slab { tags, lines });
            (*self.directory().add(slab as usize)).store(base.as_ptr(), Ordering::Relaxed);
            self.enlist(Block(slab << LINE_BITS), lines);
        }
        self.lines = self.lines.wrapping_add(lines as usize);
        self.free_lines = self.free_lines.wrapping_add(lines as usize);
        self.bytes = self.bytes.wrapping_add(layout.size());
        Ok(())
    }

    /// An entry of the directory that is not in use; there is one.
    fn vacant(&mut self) -> u32 {
        if self.holes != 0 {
            for slab in 0..self.slab_count {
                // SAFETY: below the directory's capacity.
                let base = unsafe { &*self.directory().add(slab as usize) };
                if base.load(Ordering::Relaxed).is_null() {
                    self.holes = self.holes.wrapping_sub(1);
                    return slab;
                }
            }
        }
        let slab = self.slab_count;
        self.slab_count = slab.wrapping_add(1);
        slab
    }

    /// Gets a directory of twice the size. Readers may still use the old ones, which
    /// stay, being small, as long as the heap: the entries of blocks that a reader
    /// found before it loaded the directory are in the one that it loaded.
    fn widen(&mut self, memory: &impl Memory) -> Result<(), FibError> {
        let capacity = DIRECTORY_MIN << self.directory_count.min(DIRECTORIES);
        let layout = directory_layout(capacity)?;
        if self.directory_count == DIRECTORIES {
            return Err(FibError::OutOfMemory);
        }
        let block = memory.allocate(layout).ok_or(FibError::OutOfMemory)?;
        let bases = block.cast::<Base>().as_ptr();
        let (old, old_capacity) = (self.directory(), self.capacity() as usize);
        // SAFETY: room for `capacity` bases and as many slabs after them. Of the
        // old directory as many entries are taken as it has.
        unsafe {
            let slabs = bases.add(capacity as usize).cast::<Slab>();
            for index in 0..capacity as usize {
                let (base, slab) = if index < old_capacity {
                    let slabs = old.add(old_capacity).cast::<Slab>();
                    let base = (*old.add(index)).load(Ordering::Relaxed);
                    (base, slabs.add(index).read())
                } else {
                    let tags = ptr::null_mut();
                    (ptr::null_mut(), Slab { tags, lines: 0 })
                };
                bases.add(index).write(Base::new(base));
                slabs.add(index).write(slab);
            }
        }
        if let Some(place) = self.directories.get_mut(self.directory_count) {
            *place = bases;
        }
        self.directory_count = self.directory_count.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(layout.size());
        Ok(())
    }

    /// Keeps a slab that has become free, or gives it back if one is kept already.
    unsafe fn slab_is_free(&mut self, memory: &impl Memory, slab: u32) {
        if self.spare.is_none() {
            self.spare = Some(slab);
            return;
        }
        // SAFETY: the slab is one free block, the caller says.
        unsafe {
            let lines = (*self.slab(slab)).lines;
            self.unlist(Block(slab << LINE_BITS), lines);
            self.lines = self.lines.wrapping_sub(lines as usize);
            self.free_lines = self.free_lines.wrapping_sub(lines as usize);
            self.give_back(memory, slab);
        }
        self.holes = self.holes.wrapping_add(1);
    }

    /// Gives a slab's memory back, if there is such a slab.
    unsafe fn give_back(&mut self, memory: &impl Memory, slab: u32) {
        // SAFETY: the caller's index is below the capacity, and nobody reads the
        // slab any more; it came from `grow` with this layout.
        unsafe {
            let base = &*self.directory().add(slab as usize);
            let start = base.swap(ptr::null_mut(), Ordering::Relaxed);
            let lines = (*self.slab(slab)).lines;
            if let (Some(start), Ok(layout)) = (NonNull::new(start), slab_layout(lines)) {
                self.bytes = self.bytes.wrapping_sub(layout.size());
                memory.free(start, layout);
            }
        }
    }
}

/// A slab's memory: lines, then their tags.
fn slab_layout(lines: u32) -> Result<Layout, FibError> {
    let size = (lines as usize).saturating_mul(LINE + size_of::<Tag>());
    Layout::from_size_align(size, LINE).map_err(|_| FibError::OutOfMemory)
}

/// A directory's memory: bases, then slabs.
fn directory_layout(capacity: u32) -> Result<Layout, FibError> {
    let size = (capacity as usize).saturating_mul(size_of::<Base>() + size_of::<Slab>());
    Layout::from_size_align(size, LINE).map_err(|_| FibError::OutOfMemory)
}
