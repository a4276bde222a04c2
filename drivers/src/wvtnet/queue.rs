// SPDX-License-Identifier: BSD-2-Clause
//! A split virtqueue: descriptors in chains, heads of chains for the device in the available
//! ring, heads that it is done with, in any order, in the used ring (VIRTIO 1.2, 2.7).
//!
//! Which descriptors are free, and which belong together, is kept apart from the descriptors,
//! which the device could write to.

use super::device::{Device, Doorbell};
use super::layout::{
    NEXT, RING_ELEMENTS, RING_FLAGS, RING_INDEX, Split, USED_ELEMENT, descriptor, legacy, wants,
};
use weft_engine::nic::{
    Dma, Error, Full, Platform, Segment, Slots, before_handover, full, on_taking,
};

/// In the flags of a ring: no interrupt, or no doorbell.
const QUIET: u16 = 1;

/// A piece of a chain.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    /// Where, and how many bytes.
    pub(super) place: Segment,
    /// [`WRITE`](super::layout::WRITE) or nothing.
    pub(super) flags: u16,
}

/// A chain that is with the device.
#[derive(Clone, Copy)]
struct Chain {
    last: u16,
    count: u16,
}

/// A queue.
pub(super) struct Queue<P: Platform> {
    memory: P::Dma,
    split: Split,
    doorbell: Doorbell<P>,
    /// Each side says at which index it wants to hear of the other.
    has_events: bool,
    /// The descriptor behind each, among the free ones or in its chain.
    links: Slots<u16>,
    free: u16,
    free_count: u16,
    /// The chains that the device has, by their heads.
    chains: Slots<Chain>,
    /// The available ring is filled up to there,
    available: u16,
    /// and the device knows of it up to there.
    published: u16,
    /// The used ring was read up to there.
    used: u16,
}

impl<P: Platform> Queue<P> {
    /// A fresh queue of a device that is not going yet.
    pub(super) fn new(
        platform: &P,
        device: &Device<P>,
        number: u16,
        size: u16,
        vector: Option<u16>,
        has_events: bool,
    ) -> Result<Self, Error> {
        let split = Split { size };
        let memory = platform.dma(split.bytes(), legacy::PAGE)?;
        let mut links = Slots::new(size).ok_or(Error::NoMemory)?;
        for n in 0..size {
            // The places are free.
            let _ = links.put(n, n.wrapping_add(1));
        }
        let mut queue = Self {
            chains: Slots::new(size).ok_or(Error::NoMemory)?,
            doorbell: device.set_queue(number, &memory, split, vector)?,
            memory,
            split,
            has_events,
            links,
            free: 0,
            free_count: size,
            available: 0,
            published: 0,
            used: 0,
        };
        queue.disarm();
        Ok(queue)
    }

    /// Descriptors.
    pub(super) fn size(&self) -> u16 {
        self.split.size
    }

    /// Descriptors that are free.
    #[inline]
    pub(super) fn room(&self) -> u16 {
        self.free_count
    }

    /// The head of the next chain.
    #[inline]
    pub(super) fn head(&self) -> u16 {
        self.free
    }

    fn ring_place(&self, index: u16) -> usize {
        usize::from(index & self.split.size.wrapping_sub(1))
    }

    /// Makes a chain available, which the device need not see before [`kick`](Queue::kick): its
    /// head.
    #[inline]
    pub(super) fn put(
        &mut self,
        count: u16,
        mut pieces: impl Iterator<Item = Piece>,
    ) -> Result<u16, Full> {
        if count == 0 || count > self.free_count {
            return Err(Full);
        }
        let head = self.free;
        let (mut at, mut last) = (head, head);
        for left in (0..count).rev() {
            let next = self.links.get(at).copied().unwrap_or(head);
            let Some(Piece { place, flags }) = pieces.next() else {
                return Err(Full);
            };
            let flags = if left > 0 { flags | NEXT } else { flags };
            let words = descriptor(place.address, place.bytes, flags, next);
            let from = usize::from(at).wrapping_mul(Split::DESCRIPTOR);
            self.memory.store(from, words[0]);
            self.memory.store(from.wrapping_add(8), words[1]);
            (last, at) = (at, next);
        }
        self.free = at;
        self.free_count = self.free_count.wrapping_sub(count);
        // The place is free, as the descriptor was.
        let _ = self.chains.put(head, Chain { last, count });
        let place = self.ring_place(self.available).wrapping_mul(2);
        let from = self.split.available().wrapping_add(RING_ELEMENTS);
        self.memory.store(from.wrapping_add(place), head);
        self.available = self.available.wrapping_add(1);
        Ok(head)
    }

    /// Tells the device of what was put, if it wants to hear.
    #[inline]
    pub(super) fn kick(&mut self) {
        let (old, new) = (self.published, self.available);
        if old == new {
            return;
        }
        before_handover();
        let from = self.split.available();
        self.memory.store(from.wrapping_add(RING_INDEX), new);
        self.published = new;
        full();
        let is_wanted = if self.has_events {
            wants(self.memory.load(self.split.available_event()), new, old)
        } else {
            let flags: u16 = self.memory.load(self.split.used() + RING_FLAGS);
            flags & QUIET == 0
        };
        if is_wanted {
            self.doorbell.ring();
        }
    }

    #[inline]
    fn used_index(&self) -> u16 {
        self.memory.load(self.split.used() + RING_INDEX)
    }

    /// The next chain that the device is done with: its head, and how many bytes it says it
    /// has written. A head that the device does not have comes as well.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(u16, u32)> {
        if self.used_index() == self.used {
            return None;
        }
        on_taking();
        let place = self.ring_place(self.used).wrapping_mul(USED_ELEMENT);
        let from = self.split.used().wrapping_add(RING_ELEMENTS);
        let from = from.wrapping_add(place);
        let head: u32 = self.memory.load(from);
        let bytes: u32 = self.memory.load(from.wrapping_add(4));
        self.used = self.used.wrapping_add(1);
        let head = u16::try_from(head).unwrap_or(u16::MAX);
        if let Some(chain) = self.chains.take(head) {
            // The chain goes in front of those that are free, as it is.
            self.links.take(chain.last);
            let _ = self.links.put(chain.last, self.free);
            self.free = head;
            self.free_count = self.free_count.wrapping_add(chain.count);
        }
        Some((head, bytes))
    }

    /// Asks for an interrupt when the device is done with another chain. True if it is already.
    #[inline]
    pub(super) fn arm(&mut self) -> bool {
        self.arm_behind(0)
    }

    /// The same, but when it is done with half of what it has, if it can be told that.
    pub(super) fn arm_for_half(&mut self) -> bool {
        let has = self.available.wrapping_sub(self.used);
        self.arm_behind(has >> 1)
    }

    #[inline]
    fn arm_behind(&mut self, count: u16) -> bool {
        let count = if self.has_events { count } else { 0 };
        if self.has_events {
            let last = self.used.wrapping_add(count);
            self.memory.store(self.split.used_event(), last);
        } else {
            let at = self.split.available() + RING_FLAGS;
            self.memory.store::<u16>(at, 0);
        }
        full();
        self.used_index().wrapping_sub(self.used) > count
    }

    /// Asks for none.
    #[inline]
    pub(super) fn disarm(&mut self) {
        if self.has_events {
            // An index so far behind that no step of the device's passes it.
            let passed = self.used.wrapping_sub(self.split.size).wrapping_sub(1);
            self.memory.store(self.split.used_event(), passed);
        } else {
            let at = self.split.available() + RING_FLAGS;
            self.memory.store(at, QUIET);
        }
    }
}
