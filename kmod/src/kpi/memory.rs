// SPDX-License-Identifier: BSD-2-Clause
//! Kernel memory, malloc(9).
//!
//! Everything here can fail and says so; `alloc` is compiled without its
//! infallible functions, so a type of it can only grow through what returns an
//! error. The module's memory is of type `weft`, that of route tables of type
//! `weft_fib`, that of packets of type `weft_packet`, so that `vmstat -m` shows them
//! apart.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use weft_bindings::kernel as c;
use weft_engine::fib::Memory;
use weft_engine::stats::{BUCKETS, Histogram};

use super::context::Sleepable;
use super::errno::Errno;

/// malloc(9) promises the alignment of any fundamental type; past it,
/// `malloc_aligned` is asked.
const PLAIN_ALIGN: usize = 16;

/// Allocates without sleeping.
///
/// # Safety
/// `kind` is one of the module's malloc types. The layout's size is not 0.
unsafe fn allocate(layout: Layout, kind: *mut c::malloc_type) -> *mut u8 {
    let flags = c::M_NOWAIT as c_int;
    let block = if layout.align() <= PLAIN_ALIGN {
        // SAFETY: the caller vouches for the type; M_NOWAIT may be used anywhere.
        unsafe { c::malloc(layout.size(), kind, flags) }
    } else {
        // SAFETY: as above; a layout's alignment is a power of two.
        unsafe { c::malloc_aligned(layout.size(), layout.align(), kind, flags) }
    };
    block.cast()
}

/// The allocator behind `alloc`: type `weft`, never sleeps.
struct Malloc;

#[global_allocator]
static MALLOC: Malloc = Malloc;

// SAFETY: malloc(9) returns blocks of their own, of the size and alignment asked
// for, that stay until free(9), or null.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: M_WEFT lives as long as the module; the size is not 0 by
        // GlobalAlloc's contract.
        unsafe { allocate(layout, (&raw mut c::M_WEFT).cast()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from `alloc` with this type.
        unsafe { c::free(block.cast(), (&raw mut c::M_WEFT).cast()) }
    }
}

/// The memory of route tables: type `weft_fib`, never sleeps, up to a limit.
#[derive(Clone, Copy)]
pub(crate) struct FibMemory;

/// Bytes that all route tables hold, and may hold; a limit of 0 is none.
static FIB_BYTES: AtomicU64 = AtomicU64::new(0);
static FIB_BYTES_LIMIT: AtomicU64 = AtomicU64::new(0);

impl FibMemory {
    /// Bytes that all route tables hold now.
    pub(crate) fn bytes() -> u64 {
        FIB_BYTES.load(Ordering::Relaxed)
    }

    /// Bytes that they may hold; 0: as many as the kernel has.
    pub(crate) fn limit() -> u64 {
        FIB_BYTES_LIMIT.load(Ordering::Relaxed)
    }

    /// Sets the limit. What is held already stays.
    pub(crate) fn set_limit(bytes: u64) {
        FIB_BYTES_LIMIT.store(bytes, Ordering::Relaxed);
    }

    /// Counts `size` bytes in, if the limit allows it.
    fn reserve(size: u64) -> bool {
        let limit = Self::limit();
        let held = FIB_BYTES.fetch_add(size, Ordering::Relaxed) + size;
        if limit != 0 && held > limit {
            Self::release(size);
            return false;
        }
        true
    }

    fn release(size: u64) {
        FIB_BYTES.fetch_sub(size, Ordering::Relaxed);
    }
}

/// Blocks that are aligned so, or more, come as pages of their own.
const PAGE: usize = 4096;

/// A block for the engine, without sleeping. Pages are in a row, of the kernel's
/// address space: malloc(9) would take single ones from the direct map and others from
/// here, which are too far from one another for route tables, whose numbers reach
/// 128 GB.
///
/// # Safety
/// `kind` is one of the module's malloc types. The layout's size is not 0.
unsafe fn allocate_block(layout: Layout, kind: *mut c::malloc_type) -> Option<NonNull<u8>> {
    let size = layout.size() as u64;
    // SAFETY: the caller vouches for the type; M_NOWAIT may be used anywhere.
    NonNull::new(unsafe {
        match layout.align() {
            PAGE.. => {
                let pages = c::kmem_malloc(size, c::M_NOWAIT as c_int);
                if !pages.is_null() {
                    c::malloc_type_allocated(kind, size);
                }
                pages.cast()
            }
            _ => allocate(layout, kind),
        }
    })
}

/// Gives a block back.
///
/// # Safety
/// It came from [`allocate_block`] with this layout and type, and nobody uses it.
unsafe fn free_block(block: NonNull<u8>, layout: Layout, kind: *mut c::malloc_type) {
    let size = layout.size() as u64;
    // SAFETY: the caller's promise.
    unsafe {
        match layout.align() {
            PAGE.. => {
                c::kmem_free(block.as_ptr().cast(), size);
                c::malloc_type_freed(kind, size);
            }
            _ => c::free(block.as_ptr().cast(), kind),
        }
    }
}

// SAFETY: as for `Malloc`; pages are pages, and nobody else's until they are freed.
unsafe impl Memory for FibMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let size = layout.size() as u64;
        if !Self::reserve(size) {
            return None;
        }
        // SAFETY: the type lives as long as the module; the engine never asks for 0
        // bytes.
        let block = unsafe { allocate_block(layout, (&raw mut c::M_WEFT_FIB).cast()) };
        if block.is_none() {
            Self::release(size);
        }
        block
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        Self::release(layout.size() as u64);
        // SAFETY: the block came from `allocate` with this layout.
        unsafe { free_block(block, layout, (&raw mut c::M_WEFT_FIB).cast()) }
    }
}

/// The memory of packets: type `weft_packet`, never sleeps.
#[derive(Clone, Copy)]
pub(crate) struct PacketMemory;

// SAFETY: as for `FibMemory`.
unsafe impl Memory for PacketMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: as for `FibMemory`.
        unsafe { allocate_block(layout, (&raw mut c::M_WEFT_PACKET).cast()) }
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `allocate` with this layout.
        unsafe { free_block(block, layout, (&raw mut c::M_WEFT_PACKET).cast()) }
    }
}

/// The memory of the module's state for the engine: type `weft`, never sleeps.
#[derive(Clone, Copy)]
pub(crate) struct StateMemory;

// SAFETY: as for `FibMemory`.
unsafe impl Memory for StateMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: as for `FibMemory`.
        unsafe { allocate_block(layout, (&raw mut c::M_WEFT).cast()) }
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `allocate` with this layout.
        unsafe { free_block(block, layout, (&raw mut c::M_WEFT).cast()) }
    }
}

/// Puts a value into memory of its own; gives it back when there is none. Never
/// sleeps.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    const { assert!(size_of::<T>() > 0) };
    // SAFETY: the size is not 0.
    let block: *mut T = unsafe { alloc::alloc::alloc(Layout::new::<T>()) }.cast();
    if block.is_null() {
        return Err(value);
    }
    // SAFETY: the block is this value's size and alignment, and nobody else's;
    // it came from the global allocator, as a box's must.
    unsafe {
        block.write(value);
        Ok(Box::from_raw(block))
    }
}

/// Makes a value in memory of its own; what is large should not be on a stack, too.
///
/// # Errors
/// `ENOMEM`, or what `make` returned.
#[inline(always)]
pub(crate) fn try_box_made<T>(make: impl FnOnce() -> Result<T, Errno>) -> Result<Box<T>, Errno> {
    let place = try_box(MaybeUninit::<T>::uninit()).map_err(|_| Errno::ENOMEM)?;
    Ok(Box::write(place, make()?))
}

/// Puts a value behind the others; gives it back when there is no memory. Never sleeps.
pub(crate) fn push<T>(vec: &mut Vec<T>, value: T) -> Result<(), T> {
    if vec.try_reserve(1).is_err() {
        return Err(value);
    }
    match vec.spare_capacity_mut().first_mut() {
        Some(slot) => {
            slot.write(value);
            // SAFETY: one more was written, for which there was room.
            unsafe { vec.set_len(vec.len() + 1) };
            Ok(())
        }
        None => Err(value),
    }
}

/// What `make` makes in a place of its own, for what is too large for a stack. Does not
/// sleep by itself.
///
/// # Errors
/// `ENOMEM`, also if there was none for `make`.
pub(crate) fn boxed_in<T>(
    make: impl for<'p> FnOnce(&'p mut MaybeUninit<T>) -> Option<&'p mut T>,
) -> Result<Box<T>, Errno> {
    let mut place = try_box(MaybeUninit::<T>::uninit()).map_err(|_| Errno::ENOMEM)?;
    let at = place.as_ptr();
    match make(&mut place) {
        // SAFETY: a reference to the place as a `T` says that there is one now.
        Some(made) if core::ptr::eq(made, at) => Ok(unsafe { place.assume_init() }),
        _ => Err(Errno::ENOMEM),
    }
}

/// What `make` makes for each number below `len`, each in its place, likewise.
///
/// # Errors
/// As for [`boxed_in`].
pub(crate) fn collected_in<T>(
    len: usize,
    mut make: impl for<'p> FnMut(usize, &'p mut MaybeUninit<T>) -> Option<&'p mut T>,
) -> Result<Vec<T>, Errno> {
    let mut vec: Vec<T> = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    for n in 0..len {
        let place = vec.spare_capacity_mut().first_mut().ok_or(Errno::ENOMEM)?;
        let at = place.as_ptr();
        match make(n, place) {
            // SAFETY: as above; one more is there, for which there was room.
            Some(made) if core::ptr::eq(made, at) => unsafe { vec.set_len(n + 1) },
            _ => return Err(Errno::ENOMEM),
        }
    }
    Ok(vec)
}

/// What `make` returns for each number below `len`, in memory of its own. Does not
/// sleep by itself.
///
/// # Errors
/// `ENOMEM`, or the first that `make` returned.
#[inline(always)]
pub(crate) fn collected<T>(
    len: usize,
    mut make: impl FnMut(usize) -> Result<T, Errno>,
) -> Result<Vec<T>, Errno> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    for n in 0..len {
        if let Some(slot) = vec.spare_capacity_mut().first_mut() {
            slot.write(make(n)?);
            // SAFETY: one more was written, for which there was room.
            unsafe { vec.set_len(n + 1) };
        }
    }
    Ok(vec)
}

/// `len` times the value, in memory of its own.
///
/// # Errors
/// `ENOMEM`. Large blocks are asked for with the kernel free to reclaim, but
/// without sleeping for them.
pub(crate) fn filled<T: Copy>(
    _sleepable: &Sleepable,
    value: T,
    len: usize,
) -> Result<Vec<T>, Errno> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    for slot in vec.spare_capacity_mut().iter_mut().take(len) {
        slot.write(value);
    }
    // SAFETY: at least `len` elements were reserved, and the loop wrote to each.
    unsafe { vec.set_len(len) };
    Ok(vec)
}

/// An empty histogram, in memory of its own. Does not sleep.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn histogram() -> Result<Box<Histogram>, Errno> {
    let counts = collected(BUCKETS, |_| Ok(AtomicU64::new(0)))?;
    let histogram = Histogram::of(counts).ok_or(Errno::ENOMEM)?;
    try_box(histogram).map_err(|_| Errno::ENOMEM)
}
