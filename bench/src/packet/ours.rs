// SPDX-License-Identifier: BSD-2-Clause
//! The engine's pool in the race, and its tags.

use super::source::{BULK, Item, Source};
use crate::packet::peers::Malloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{Ordering, compiler_fence};
use weft_engine::context::Sleepable;
use weft_engine::fib::Memory;
use weft_engine::packet::{Batch, Cpus, Packet, Pool, Tag, Writable};

/// The host's allocator.
struct Heap;

// SAFETY: blocks come from the system's allocator and go back to it.
unsafe impl Memory for Heap {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not 0.
        NonNull::new(unsafe { System.alloc(layout) })
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block.as_ptr(), layout) }
    }
}

thread_local! {
    static CPU: Cell<usize> = const { Cell::new(0) };
    static CRITICAL: Cell<u32> = const { Cell::new(0) };
}

/// Two threads, each a CPU of its own. What is done on a CPU costs as much as in the
/// kernel, where a critical section is a count of the thread that goes up and down.
struct Threads;

// SAFETY: `Source::enter` gives each thread its own number, and nobody but this race
// uses them; `on` is called when all other threads have ended.
unsafe impl Cpus for Threads {
    fn count(&self) -> usize {
        2
    }

    #[inline]
    fn here<R>(&self, inside: impl FnOnce(usize) -> R) -> R {
        CRITICAL.set(CRITICAL.get() + 1);
        compiler_fence(Ordering::SeqCst);
        let result = inside(CPU.get());
        compiler_fence(Ordering::SeqCst);
        CRITICAL.set(CRITICAL.get() - 1);
        result
    }

    fn on<R>(&self, _: &mut Sleepable, _: usize, inside: impl FnOnce() -> R) -> R {
        inside()
    }
}

type BenchPool = Pool<Heap, Mutex<()>, Threads>;

/// The engine's pool, giving packets of one length.
pub(super) struct Ours {
    pool: Option<BenchPool>,
    len: usize,
}

impl Ours {
    pub(super) fn new(len: usize) -> Self {
        Self {
            pool: Pool::new(Heap, Mutex::new(()), Threads),
            len,
        }
    }

    fn pool(&self) -> &BenchPool {
        self.pool.as_ref().expect("memory for a pool")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // SAFETY: the race's threads may sleep.
        let mut sleepable = unsafe { Sleepable::assume() };
        let closed = self.pool.take().map(|pool| pool.close(&mut sleepable));
        assert!(matches!(closed, Some(Ok(()))), "packets are out");
    }
}

// SAFETY: a packet's data area is longer.
unsafe impl Source for Ours {
    fn name(&self) -> &str {
        "weft"
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").into()
    }

    fn enter(&self, thread: usize) {
        CPU.set(thread);
    }

    #[inline(never)]
    fn take(&self) -> Item {
        let packet = self.pool().packet(self.len);
        packet.map_or(std::ptr::null_mut(), |packet| packet.into_raw().as_ptr())
    }

    #[inline(never)]
    unsafe fn put(&self, item: Item) {
        // SAFETY: from `take`, once.
        unsafe { drop(Packet::<Writable>::from_raw(NonNull::new_unchecked(item))) }
    }

    #[inline(never)]
    fn take_many(&self, items: &mut [Item; BULK]) -> bool {
        let mut batch: Batch<Writable, BULK> = Batch::new();
        let taken = self.pool().packets(self.len, BULK, &mut batch);
        for (item, packet) in items.iter_mut().zip(batch.drain()) {
            *item = packet.into_raw().as_ptr();
        }
        taken.is_ok()
    }

    #[inline(never)]
    unsafe fn put_many(&self, items: &mut [Item; BULK]) {
        let mut batch: Batch<Writable, BULK> = Batch::new();
        for &mut item in items {
            // SAFETY: from `take`, once; the batch has room.
            let packet = unsafe { Packet::from_raw(NonNull::new_unchecked(item)) };
            drop(batch.push(packet));
        }
    }

    unsafe fn data(&self, item: Item) -> *mut u8 {
        // SAFETY: from `take`; the packet is not dropped here.
        let packet = std::mem::ManuallyDrop::new(unsafe {
            Packet::<Writable>::from_raw(NonNull::new_unchecked(item))
        });
        packet.head().as_ptr().cast_mut()
    }

    fn bytes(&self, count: usize) -> Option<f64> {
        let items: Vec<Item> = (0..count).map(|_| self.take()).collect();
        let bytes = self.pool().figures().bytes;
        for item in items {
            // SAFETY: from `take`, once.
            unsafe { self.put(item) };
        }
        Some(bytes as f64 / count as f64)
    }
}

/// A tag as small as most.
struct Mark;

impl Tag for Mark {
    const COOKIE: u32 = 0x7765_6674;
    const ID: u16 = 1;
    type Data = u64;
}

/// Gives a packet a tag, finds it, and takes it away, so many times. Ends with the sum
/// of what was found.
pub(super) fn tags(count: usize) -> u64 {
    let ours = Ours::new(64);
    let mut sum = 0;
    {
        let mut packet = ours.pool().packet(64).expect("a packet");
        for number in 0..count as u64 {
            sum += tag(&mut packet, number);
        }
    }
    sum
}

#[inline(never)]
fn tag(packet: &mut Packet<Writable>, number: u64) -> u64 {
    let inserted = packet.insert_tag::<Mark>(number);
    let found = packet.tag::<Mark>().copied();
    packet.remove_tag::<Mark>();
    found.filter(|_| inserted.is_ok()).expect("the tag")
}

/// `struct m_tag`, as `m_tag_alloc` allocates it.
#[repr(C)]
struct Listed {
    next: *mut Listed,
    id: u16,
    len: u16,
    cookie: u32,
    free: unsafe fn(Item),
    data: u64,
}

/// The same with tags that are allocated one by one.
pub(super) fn allocated_tags(count: usize) -> u64 {
    let mut list: *mut Listed = std::ptr::null_mut();
    (0..count as u64)
        .map(|number| listed(&mut list, number))
        .sum()
}

#[inline(never)]
fn listed(list: &mut *mut Listed, number: u64) -> u64 {
    // SAFETY: a new block, of that length, in a list of its own, freed once.
    unsafe {
        let tag = Malloc::allocate(size_of::<Listed>()).cast::<Listed>();
        tag.write(Listed {
            next: *list,
            id: Mark::ID,
            len: 8,
            cookie: Mark::COOKIE,
            free: Malloc::free,
            data: number,
        });
        *list = tag;
        let mut found = *list;
        while (*found).cookie != Mark::COOKIE || (*found).id != Mark::ID || (*found).len != 8 {
            found = (*found).next;
        }
        let data = (*found).data;
        *list = (*found).next;
        ((*found).free)(found.cast());
        data
    }
}
