// SPDX-License-Identifier: BSD-2-Clause
//! Buffers of netmap's in a device's queues, in the place of the system's packets.
//!
//! A queue whose ring is on gets buffers from a [`Feed`], which the program fills, and puts
//! what it has received into the ring: nothing is copied. A frame to be sent is one slot of a
//! ring; when the queue is done with it, however that came about, [`Marks`] say so. So
//! a reset or a stop of the device is nothing that a ring must know of.

use alloc::vec::Vec;
use core::mem;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use weft_engine::nic::{self, MapError, Segment, Segments};

use super::dma::{Loaded, Maps, Sync};
use super::errno::Errno;
use super::memory::collected;
use super::netmap::{Memory, MemoryCell, Place};
use super::shared::Shared;

/// The buffers that a receive queue has not given to its device, in the order in which they
/// came. Who calls has the queue's lock, so that the atomics cost nothing.
pub(crate) struct Feed {
    memory: MemoryCell,
    first: AtomicU32,
    count: AtomicU32,
    places: Vec<AtomicU32>,
}

impl Feed {
    /// One that is off, with room for so many buffers.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(buffers: u16) -> Result<Shared<Self>, Errno> {
        let places = collected(buffers.into(), |_| Ok(AtomicU32::new(0)))?;
        Shared::made(|| {
            Ok(Self {
                memory: MemoryCell::new(),
                first: AtomicU32::new(0),
                count: AtomicU32::new(0),
                places,
            })
        })
    }

    /// Whether the queue's ring is on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.memory.get().is_some()
    }

    /// The ring is on from now on, with these buffers. The queue is stopped.
    pub(crate) fn turn_on(&self, memory: Memory, buffers: impl Iterator<Item = u32>) {
        self.memory.set(Some(memory));
        self.count.store(0, Ordering::Relaxed);
        for buffer in buffers {
            self.give(buffer);
        }
    }

    /// The ring is off, and all buffers are where the queue does not see them. It is stopped.
    pub(crate) fn turn_off(&self) {
        self.memory.set(None);
    }

    /// The place of the buffer so many behind the first.
    fn place(&self, behind: u32) -> Option<&AtomicU32> {
        let first = self.first.load(Ordering::Relaxed);
        let at = first.wrapping_add(behind) as usize;
        let count = self.places.len();
        self.places.get(if at < count {
            at
        } else {
            at.wrapping_sub(count)
        })
    }

    /// Takes a buffer that is the kernel's. There is never one more than there is room for.
    #[inline]
    pub(crate) fn give(&self, buffer: u32) {
        let count = self.count.load(Ordering::Relaxed);
        if (count as usize) < self.places.len()
            && let Some(place) = self.place(count)
        {
            place.store(buffer, Ordering::Relaxed);
            self.count.store(count.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Whether there is a buffer of so many bytes.
    #[inline]
    pub(super) fn has(&self, bytes: u32) -> bool {
        let fits = self
            .memory
            .get()
            .is_some_and(|memory| memory.bytes() >= bytes);
        fits && self.count.load(Ordering::Relaxed) > 0
    }

    /// The next buffer, for a device that puts so many bytes there.
    #[inline]
    pub(super) fn take(feed: &Shared<Self>, maps: &Shared<Maps>, bytes: u32) -> Option<Empty> {
        let memory = feed.memory.get()?;
        if !feed.has(bytes) {
            return None;
        }
        let number = feed.place(0)?.load(Ordering::Relaxed);
        let place = memory.place(number)?;
        let (loaded, address) = Maps::load_place(maps, &place).ok()?;
        loaded.sync(Sync::BeforeWrite);
        let next = feed.first.load(Ordering::Relaxed).wrapping_add(1);
        let is_end = next as usize >= feed.places.len();
        feed.first
            .store(if is_end { 0 } else { next }, Ordering::Relaxed);
        let left = feed.count.load(Ordering::Relaxed).wrapping_sub(1);
        feed.count.store(left, Ordering::Relaxed);
        Some(Empty {
            loaded,
            number,
            bytes: place.bytes,
            address,
            feed: feed.clone(),
        })
    }
}

/// A buffer of a feed's, in the device's reach. If it is dropped, the feed has it again.
pub(crate) struct Empty {
    loaded: Loaded,
    number: u32,
    bytes: u32,
    /// Where the device sees it.
    address: u64,
    feed: Shared<Feed>,
}

impl Empty {
    /// Where the device sees it.
    #[inline]
    pub(super) fn seen(&self) -> Segment {
        Segment {
            address: self.address,
            bytes: self.bytes,
        }
    }

    /// Where it is, as long as the ring is on.
    fn place(&self) -> Option<Place> {
        self.feed.memory.get()?.place(self.number)
    }

    /// The first bytes that the device has written there.
    #[inline]
    pub(super) fn front(&self) -> [u8; nic::FRONT] {
        self.loaded.sync(Sync::AfterWrite);
        let mut front = [0; nic::FRONT];
        if let Some(place) = self.place() {
            place.read(&mut front);
        }
        front
    }

    /// What the device has put there, so many bytes from `skip` on: moved to the front, where
    /// programs look for it.
    #[inline]
    pub(super) fn filled(self, skip: u32, bytes: u32) -> Filled {
        self.loaded.sync(Sync::AfterWrite);
        let bytes = self.place().map_or(0, |place| place.shift(skip, bytes));
        Filled {
            bytes,
            buffer: self,
        }
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        if self.number != 0 {
            self.feed.give(self.number);
        }
    }
}

/// A frame that was received, in a buffer of a feed's. If it is dropped, the feed has the
/// buffer again.
pub(crate) struct Filled {
    bytes: u32,
    buffer: Empty,
}

impl Filled {
    /// The buffer, and the bytes in it: for the ring, which has it from now on.
    #[inline]
    pub(crate) fn into_parts(mut self) -> (u32, u32) {
        let number = mem::take(&mut self.buffer.number);
        (number, self.bytes)
    }
}

/// Which slots of a ring to send the queue is done with.
pub(crate) struct Marks {
    is_on: AtomicBool,
    are_done: Vec<AtomicBool>,
}

impl Marks {
    /// For a ring of so many slots.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(slots: u16) -> Result<Shared<Self>, Errno> {
        let are_done = collected(slots.into(), |_| Ok(AtomicBool::new(true)))?;
        Shared::made(|| {
            Ok(Self {
                is_on: AtomicBool::new(false),
                are_done,
            })
        })
    }

    /// Whether the ring is on.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// The ring is on, or off.
    pub(crate) fn turn(&self, on: bool) {
        self.is_on.store(on, Ordering::Relaxed);
    }

    /// Whether the queue is done with a slot.
    #[inline]
    pub(crate) fn is_done(&self, slot: u32) -> bool {
        let mark = self.are_done.get(slot as usize);
        mark.is_none_or(|mark| mark.load(Ordering::Relaxed))
    }

    fn set(&self, slot: u32, is_done: bool) {
        if let Some(mark) = self.are_done.get(slot as usize) {
            mark.store(is_done, Ordering::Relaxed);
        }
    }
}

/// A frame in a slot of a ring, on its way out.
pub(crate) struct Outgoing {
    address: NonNull<u8>,
    physical: u64,
    bytes: u32,
    slot: u32,
    marks: Shared<Marks>,
}

impl Outgoing {
    /// So many bytes of a buffer, in that slot.
    #[inline]
    pub(crate) fn new(place: Place, bytes: u32, slot: u32, marks: &Shared<Marks>) -> Self {
        marks.set(slot, false);
        Self {
            address: place.address,
            physical: place.physical,
            bytes: bytes.min(place.bytes),
            slot,
            marks: marks.clone(),
        }
    }

    /// Bytes that it has.
    #[inline]
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Has the device see it.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub(super) fn map(&self, maps: &Shared<Maps>, into: &mut Segments) -> Result<Loaded, MapError> {
        let place = Place {
            address: self.address,
            physical: self.physical,
            bytes: self.bytes,
        };
        let (loaded, address) = Maps::load_place(maps, &place)?;
        into.push(Segment {
            address,
            bytes: self.bytes,
        })?;
        Ok(loaded)
    }
}

// SAFETY: as of a [`Place`].
unsafe impl Send for Outgoing {}

impl Drop for Outgoing {
    #[inline]
    fn drop(&mut self) {
        self.marks.set(self.slot, true);
    }
}
