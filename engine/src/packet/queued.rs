// SPDX-License-Identifier: BSD-2-Clause
//! Packets in queues: a [`queue`](crate::queue) holds their buffers' addresses, and
//! each buffer has a place for the time at which it was queued.

use super::packet::{Packet, Writable};
use crate::queue::{Item, Ticks};
use core::ptr::NonNull;

// SAFETY: a buffer is aligned to a cache line, and never in the first page. A packet is
// that address and nothing besides, on any thread.
unsafe impl Item for Packet<Writable> {
    #[inline]
    fn into_raw(self) -> NonNull<()> {
        Packet::into_raw(self).cast()
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: from `into_raw` of a writable packet, by the caller's promise; of those
        // made of it all but one are only looked at.
        unsafe { Packet::from_raw(raw.cast()) }
    }

    #[inline]
    fn bytes(&self) -> u32 {
        self.len() as u32
    }

    #[inline]
    fn flow_hash(&self) -> u32 {
        self.meta().flow_hash
    }

    #[inline]
    fn set_queued_at(&mut self, now: Ticks) {
        // SAFETY: the packet's own header, which a `&mut Packet<Writable>` has alone.
        unsafe { (*self.buffer().as_ptr()).queued_at = now }
    }

    #[inline]
    fn queued_at(&self) -> Ticks {
        // SAFETY: the packet's own header; set to a number when the buffer was made.
        unsafe { (*self.buffer().as_ptr()).queued_at }
    }
}
