// SPDX-License-Identifier: BSD-2-Clause
//! Slabs: pieces of memory that are cut into buffers of one class.
//!
//! The account of a slab is memory of its own, so that buffers lie at multiples of
//! their size from a page's start: none crosses more pages than its bytes need.
//! Slabs are touched with the depot's lock held.

use super::count::{Holds, Refs};
use super::layout::{Buffer, CLASSES, EMBEDDED, Extent, Header, Hot, PER_SLAB, STRIDES};
use super::meta::Meta;
use super::pool::Owner;
use crate::fib::Memory;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Bytes of a page.
const PAGE: usize = 4096;
/// The account of a slab.
pub(super) struct Slab {
    start: NonNull<u8>,
    /// Buffers that are in the slab, and not in caches, bundles or packets.
    free: Option<Buffer>,
    pub(super) count: usize,
    pub(super) class: usize,
    /// In the list of those that have some free; meaningless otherwise.
    prev: Option<NonNull<Slab>>,
    /// The same, or whatever list its holder has it in.
    pub(super) next: Option<NonNull<Slab>>,
}

/// The bytes of a slab of this class: whole pages.
fn slab_bytes(class: usize) -> usize {
    const BYTES: [usize; CLASSES] = {
        let mut bytes = STRIDES;
        let mut class = 0;
        while class < CLASSES {
            bytes[class] = (STRIDES[class] * PER_SLAB[class]).next_multiple_of(PAGE);
            class += 1;
        }
        bytes
    };
    BYTES.get(class).copied().unwrap_or(0)
}

/// How many buffers a slab of this class has.
pub(super) fn slab_buffers(class: usize) -> usize {
    PER_SLAB.get(class).copied().unwrap_or(0)
}

/// Bytes that a slab of this class costs, its account included.
pub(super) fn charge(class: usize) -> usize {
    slab_bytes(class).wrapping_add(size_of::<Slab>())
}

fn slab_layout(class: usize) -> Option<Layout> {
    Layout::from_size_align(slab_bytes(class), PAGE).ok()
}

/// A new slab, all of it free, of buffers that belong to `owner`. No lock is needed
/// for it.
pub(super) fn make(
    memory: &impl Memory,
    class: usize,
    owner: NonNull<Owner>,
) -> Option<NonNull<Slab>> {
    let (layout, stride) = (slab_layout(class)?, *STRIDES.get(class)?);
    let slab = memory.allocate(Layout::new::<Slab>())?.cast::<Slab>();
    let Some(start) = memory.allocate(layout) else {
        // SAFETY: from the line above, with this layout.
        unsafe { memory.free(slab.cast(), Layout::new::<Slab>()) };
        return None;
    };
    // SAFETY: both blocks are new, and of these layouts; a stride is longer than a
    // header and all strides are multiples of its alignment. Data that nobody wrote
    // yet must be bytes, too.
    unsafe {
        start.write_bytes(0, layout.size());
        let mut free = None;
        for index in (0..slab_buffers(class)).rev() {
            let buffer: Buffer = start.add(index * stride).cast();
            write_header(buffer, slab, owner, class as u8);
            (*buffer.as_ptr()).next = free;
            free = Some(buffer);
        }
        slab.write(Slab {
            start,
            free,
            count: slab_buffers(class),
            class,
            prev: None,
            next: None,
        });
    }
    Some(slab)
}

/// Writes what stays in a buffer's header, and what makes the rest of it valid.
///
/// # Safety
/// The buffer has memory for a header that nobody else uses.
unsafe fn write_header(buffer: Buffer, slab: NonNull<Slab>, owner: NonNull<Owner>, class: u8) {
    let header: *mut Header = buffer.as_ptr();
    // SAFETY: the caller's memory, long enough for a header.
    unsafe {
        (&raw mut (*header).owner).write(owner);
        (&raw mut (*header).slab).write(slab);
        (&raw mut (*header).class).write(class);
        (&raw mut (*header).others).write(0);
        renew(buffer, 0);
    }
}

/// Makes a free buffer one of a packet without data, `start` bytes into its data area.
///
/// # Safety
///
/// The buffer is the caller's, and free.
#[inline]
pub(super) unsafe fn renew(buffer: Buffer, start: u16) {
    let header: *mut Header = buffer.as_ptr();
    // SAFETY: the caller's.
    unsafe {
        (&raw mut (*header).hot).write(Hot {
            meta: Meta::default(),
            extent: Extent {
                chain: None,
                start,
                inline: 0,
                chained: 0,
            },
        });
        (&raw mut (*header).refs).write(Refs::of(1));
        (&raw mut (*header).holds).write(Holds::data());
        (&raw mut (*header).tags).write(ptr::null_mut());
    }
}

/// Gives a slab's memory back.
///
/// # Safety
///
/// All its buffers are free and in it, it is in no list, and it came from `make` with
/// this memory.
pub(super) unsafe fn unmake(memory: &impl Memory, slab: NonNull<Slab>) {
    // SAFETY: the caller's promises; the layouts are those of `make`.
    unsafe {
        let Slab { start, class, .. } = slab.read();
        if let Some(layout) = slab_layout(class) {
            memory.free(start, layout);
        }
        memory.free(slab.cast(), Layout::new::<Slab>());
    }
}

/// Slabs that have free buffers. All its bytes may be 0.
pub(super) struct Slabs {
    first: Option<NonNull<Slab>>,
}

impl Slabs {
    pub(super) const fn new() -> Self {
        Self { first: None }
    }

    /// Puts a slab into the list.
    ///
    /// # Safety
    ///
    /// It is a slab and in no list. This and the others: slabs of the list exist.
    pub(super) unsafe fn insert(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promises.
        unsafe {
            (*slab.as_ptr()).prev = None;
            (*slab.as_ptr()).next = self.first;
            if let Some(first) = self.first {
                (*first.as_ptr()).prev = Some(slab);
            }
        }
        self.first = Some(slab);
    }

    /// Takes a slab out of the list.
    ///
    /// # Safety
    ///
    /// It is in this list.
    pub(super) unsafe fn remove(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promises.
        unsafe {
            let Slab { prev, next, .. } = *slab.as_ref();
            match prev {
                Some(prev) => (*prev.as_ptr()).next = next,
                None => self.first = next,
            }
            if let Some(next) = next {
                (*next.as_ptr()).prev = prev;
            }
        }
    }

    /// A free buffer of the first slab.
    ///
    /// # Safety
    ///
    /// As for [`insert`](Slabs::insert).
    pub(super) unsafe fn pop(&mut self) -> Option<Buffer> {
        let slab = self.first?.as_ptr();
        // SAFETY: a slab of the list, and a free buffer of it.
        unsafe {
            let buffer = (*slab).free?;
            (*slab).free = (*buffer.as_ptr()).next;
            (*slab).count = (*slab).count.wrapping_sub(1);
            if (*slab).free.is_none() {
                self.remove(NonNull::new_unchecked(slab));
            }
            Some(buffer)
        }
    }

    /// Takes a slab out all of whose buffers are free. Looks through the list.
    ///
    /// # Safety
    ///
    /// As for [`insert`](Slabs::insert).
    pub(super) unsafe fn take_whole(&mut self) -> Option<NonNull<Slab>> {
        let mut next = self.first;
        while let Some(slab) = next {
            // SAFETY: a slab of the list.
            unsafe {
                let account = slab.as_ptr();
                if (*account).count == slab_buffers((*account).class) {
                    self.remove(slab);
                    return Some(slab);
                }
                next = (*account).next;
            }
        }
        None
    }

    /// Puts a free buffer back into its slab. Returns the slab, taken out of the list,
    /// if all of it is free now.
    ///
    /// # Safety
    ///
    /// The buffer is the caller's, free, and of a slab that belongs to this list
    /// whenever it has free buffers.
    pub(super) unsafe fn push(&mut self, buffer: Buffer) -> Option<NonNull<Slab>> {
        // SAFETY: the caller's promises.
        unsafe {
            let slab = (*buffer.as_ptr()).slab;
            let account = slab.as_ptr();
            if (*account).free.is_none() {
                self.insert(slab);
            }
            (*buffer.as_ptr()).next = (*account).free;
            (*account).free = Some(buffer);
            (*account).count = (*account).count.wrapping_add(1);
            let whole = (*account).count == slab_buffers((*account).class);
            whole.then(|| {
                self.remove(slab);
                slab
            })
        }
    }
}

const _: () = assert!(EMBEDDED.is_multiple_of(align_of::<Header>()));
