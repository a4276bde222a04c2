// SPDX-License-Identifier: BSD-2-Clause
//! Some packets, in order: the unit of work. Of fixed capacity, without allocation;
//! what moves are pointers.

use super::layout::Buffer;
use super::packet::{Packet, State, Writable};
use super::pool;
use core::fmt;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::{ptr, slice};

/// Up to `N` packets. Dropping it frees them in bulk.
pub struct Batch<S: State = Writable, const N: usize = 32> {
    /// The first `len` are packets.
    packets: [MaybeUninit<Packet<S>>; N],
    len: usize,
}

impl<S: State, const N: usize> Batch<S, N> {
    /// How many packets it may hold.
    pub const CAPACITY: usize = N;

    /// An empty one.
    #[inline]
    pub const fn new() -> Self {
        Self {
            packets: [const { MaybeUninit::uninit() }; N],
            len: 0,
        }
    }

    /// How many packets it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more it can hold.
    #[inline]
    pub fn room(&self) -> usize {
        N.wrapping_sub(self.len)
    }

    /// Puts a packet behind the others.
    ///
    /// # Errors
    ///
    /// The packet, if there is no room.
    #[inline]
    pub fn push(&mut self, packet: Packet<S>) -> Result<(), Packet<S>> {
        match self.packets.get_mut(self.len) {
            Some(slot) => {
                slot.write(packet);
                self.len = self.len.wrapping_add(1);
                Ok(())
            }
            None => Err(packet),
        }
    }

    /// Takes the last packet out.
    #[inline]
    pub fn pop(&mut self) -> Option<Packet<S>> {
        let last = self.len.checked_sub(1)?;
        let slot = self.packets.get(last)?;
        self.len = last;
        // SAFETY: it was one of the first `len`, and is no longer.
        Some(unsafe { slot.assume_init_read() })
    }

    /// Takes all packets out, the first one first. Those that the iterator is not
    /// asked for are freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, S, N> {
        Drain {
            batch: self,
            next: 0,
        }
    }

    /// Moves packets from the front of `other` behind these, as many as there is room
    /// for. How many.
    pub fn append<const O: usize>(&mut self, other: &mut Batch<S, O>) -> usize {
        let count = self.room().min(other.len);
        let (Some(to), Some(from)) = (
            self.packets.get_mut(self.len..self.len.wrapping_add(count)),
            other.packets.get(..count),
        ) else {
            return 0;
        };
        // SAFETY: as long as one another, of different batches; they are packets of
        // `other` until `forget_front` and of this one after.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr(), count) };
        self.len = self.len.wrapping_add(count);
        other.forget_front(count);
        count
    }

    /// The first `count` packets are no longer here, and not freed.
    fn forget_front(&mut self, count: usize) {
        let left = self.len.saturating_sub(count);
        let start = self.packets.as_mut_ptr();
        // SAFETY: both ranges are within the first `len`, for `left + count <= len`
        // unless nothing is left.
        unsafe { ptr::copy(start.add(self.len.wrapping_sub(left)), start, left) };
        self.len = left;
    }

    /// The packets.
    #[inline]
    pub fn as_slice(&self) -> &[Packet<S>] {
        // SAFETY: the first `len` are packets.
        unsafe { slice::from_raw_parts(self.packets.as_ptr().cast(), self.len) }
    }

    /// The packets, to be changed or exchanged.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Packet<S>] {
        // SAFETY: as above.
        unsafe { slice::from_raw_parts_mut(self.packets.as_mut_ptr().cast(), self.len) }
    }

    /// Lets `fill` write the buffers of new packets into up to `count` free places, and
    /// say how many it wrote, from the first on, and what else it has to say.
    pub(super) fn extend_raw<R>(
        &mut self,
        count: usize,
        fill: impl FnOnce(&mut [MaybeUninit<Buffer>]) -> (usize, R),
    ) -> R {
        let count = count.min(self.room());
        // SAFETY: so many places are free; a packet is a buffer's pointer.
        let slots = unsafe {
            let start = self.packets.as_mut_ptr().add(self.len);
            slice::from_raw_parts_mut(start.cast::<MaybeUninit<Buffer>>(), count)
        };
        let (done, result) = fill(slots);
        self.len = self.len.wrapping_add(done.min(count));
        result
    }

    /// Frees all packets, runs of one pool and class at a time.
    fn clear(&mut self) {
        let len = core::mem::take(&mut self.len);
        let mut free = [const { MaybeUninit::<Buffer>::uninit() }; N];
        let mut run = Run {
            buffers: &mut free,
            len: 0,
        };
        for slot in self.packets.iter().take(len) {
            // SAFETY: one of the first, which are no longer the batch's.
            let packet = ManuallyDrop::new(unsafe { slot.assume_init_read() });
            // SAFETY: the packet is used no more; then its buffer is ours, if it is free.
            unsafe {
                if packet.end() {
                    run.push(packet.buffer());
                }
            }
        }
        run.flush();
    }
}

/// Free buffers of one pool and class.
struct Run<'r> {
    buffers: &'r mut [MaybeUninit<Buffer>],
    len: usize,
}

impl Run<'_> {
    /// # Safety
    ///
    /// The buffer is the caller's, and free.
    unsafe fn push(&mut self, buffer: Buffer) {
        let first = self.as_slice().first();
        // SAFETY: both are free buffers, and ours.
        let alike = first.is_none_or(|first| unsafe {
            let (one, other) = (first.as_ptr(), buffer.as_ptr());
            (*one).owner == (*other).owner && (*one).class == (*other).class
        });
        if !alike {
            self.flush();
        }
        if let Some(slot) = self.buffers.get_mut(self.len) {
            slot.write(buffer);
            self.len = self.len.wrapping_add(1);
        }
    }

    fn as_slice(&self) -> &[Buffer] {
        let written = self.buffers.get(..self.len).unwrap_or_default();
        // SAFETY: the first `len` were written.
        unsafe { &*(ptr::from_ref(written) as *const [Buffer]) }
    }

    fn flush(&mut self) {
        if let Some(&first) = self.as_slice().first() {
            // SAFETY: free, ours, and alike.
            unsafe { pool::give_back_all(first, self.as_slice()) };
        }
        self.len = 0;
    }
}

impl<S: State, const N: usize> Drop for Batch<S, N> {
    fn drop(&mut self) {
        if self.len > 0 {
            self.clear();
        }
    }
}

impl<S: State, const N: usize> Default for Batch<S, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: State, const N: usize> fmt::Debug for Batch<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Packets that leave a batch, in order.
#[derive(Debug)]
pub struct Drain<'b, S: State, const N: usize> {
    batch: &'b mut Batch<S, N>,
    next: usize,
}

impl<S: State, const N: usize> Iterator for Drain<'_, S, N> {
    type Item = Packet<S>;

    #[inline]
    fn next(&mut self) -> Option<Packet<S>> {
        if self.next >= self.batch.len {
            return None;
        }
        let slot = self.batch.packets.get(self.next)?;
        self.next = self.next.wrapping_add(1);
        // SAFETY: one of the first `len`; what is before `next` is not the batch's.
        Some(unsafe { slot.assume_init_read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len.wrapping_sub(self.next);
        (left, Some(left))
    }
}

impl<S: State, const N: usize> ExactSizeIterator for Drain<'_, S, N> {}

impl<S: State, const N: usize> Drop for Drain<'_, S, N> {
    fn drop(&mut self) {
        self.batch.forget_front(self.next);
        self.batch.clear();
    }
}
