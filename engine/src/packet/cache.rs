// SPDX-License-Identifier: BSD-2-Clause
//! What a CPU keeps at hand: free buffers of one class, up to twice a bundle.
//!
//! A cache is touched by one thread at a time (`Cpus`), so it needs neither lock nor
//! atomic operation. What was freed last is given out first, for it is warm; what
//! lies longest leaves first. The number of buffers is readable by all, for figures.

use super::layout::Buffer;
use super::sync::{AtomicUsize, Ordering};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// Buffers that go between a cache and the depot at a time.
pub const BUNDLE: usize = 32;
/// Buffers that a cache holds: so many that one bundle can come or go, and the next
/// one need not follow at once.
pub(super) const CAPACITY: usize = 2 * BUNDLE;

/// Some buffers in hand, on their way.
pub(super) struct Handful {
    slots: [MaybeUninit<Buffer>; BUNDLE],
    len: usize,
}

impl Handful {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { MaybeUninit::uninit() }; BUNDLE],
            len: 0,
        }
    }

    /// False if there is no room.
    pub(super) fn push(&mut self, buffer: Buffer) -> bool {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                slot.write(buffer);
                self.len = self.len.wrapping_add(1);
                true
            }
            None => false,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Buffer> {
        let last = self.len.checked_sub(1)?;
        let slot = self.slots.get(last)?;
        self.len = last;
        // SAFETY: the first `len` slots were written.
        Some(unsafe { slot.assume_init() })
    }

    pub(super) fn as_slice(&self) -> &[Buffer] {
        let slots = self.slots.get(..self.len).unwrap_or_default();
        // SAFETY: the first `len` slots were written, and the types are laid out alike.
        unsafe { &*(core::ptr::from_ref(slots) as *const [Buffer]) }
    }
}

/// Free buffers of one class, of one CPU.
#[repr(C, align(64))]
pub(super) struct Cache {
    len: AtomicUsize,
    slots: UnsafeCell<[MaybeUninit<Buffer>; CAPACITY]>,
}

impl Cache {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            slots: UnsafeCell::new([const { MaybeUninit::uninit() }; CAPACITY]),
        }
    }

    /// How many there are, were nobody at work.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// The buffer that was put here last.
    ///
    /// # Safety
    ///
    /// This and the others: nobody else is in any of them.
    #[inline]
    pub(super) unsafe fn pop(&self) -> Option<Buffer> {
        let last = self.len().checked_sub(1)?;
        // SAFETY: the first `len` slots were written; the cache is the caller's.
        let buffer = unsafe { (*self.slots.get()).get(last)?.assume_init() };
        self.set_len(last);
        Some(buffer)
    }

    /// Puts a buffer in; false if there is no room.
    ///
    /// # Safety
    ///
    /// As for [`pop`](Cache::pop). The buffer is the caller's, and free.
    #[inline]
    pub(super) unsafe fn push(&self, buffer: Buffer) -> bool {
        let len = self.len();
        // SAFETY: the cache is the caller's.
        match unsafe { &mut *self.slots.get() }.get_mut(len) {
            Some(slot) => {
                slot.write(buffer);
                self.set_len(len.wrapping_add(1));
                true
            }
            None => false,
        }
    }

    /// Takes buffers out until `into` is full or none is left. How many.
    ///
    /// # Safety
    ///
    /// As for [`pop`](Cache::pop).
    #[inline]
    pub(super) unsafe fn take(&self, into: &mut [MaybeUninit<Buffer>]) -> usize {
        let len = self.len();
        let count = into.len().min(len);
        let left = len.wrapping_sub(count);
        // SAFETY: the cache is the caller's.
        let slots = unsafe { &*self.slots.get() };
        if let (Some(from), Some(to)) = (slots.get(left..len), into.get_mut(..count)) {
            for (slot, buffer) in to.iter_mut().zip(from) {
                *slot = *buffer;
            }
            self.set_len(left);
            return count;
        }
        0
    }

    /// Puts buffers in, as many as there is room for. How many.
    ///
    /// # Safety
    ///
    /// As for [`pop`](Cache::pop). The buffers are the caller's, and free.
    #[inline]
    pub(super) unsafe fn put(&self, buffers: &[Buffer]) -> usize {
        let len = self.len();
        let count = buffers.len().min(CAPACITY.wrapping_sub(len));
        // SAFETY: the cache is the caller's.
        let slots = unsafe { &mut *self.slots.get() };
        let to = slots.get_mut(len..len.wrapping_add(count));
        if let (Some(to), Some(from)) = (to, buffers.get(..count)) {
            for (slot, buffer) in to.iter_mut().zip(from) {
                slot.write(*buffer);
            }
            self.set_len(len.wrapping_add(count));
            return count;
        }
        0
    }

    /// Takes out up to a bundle of those that lie longest.
    ///
    /// # Safety
    ///
    /// As for [`pop`](Cache::pop).
    pub(super) unsafe fn spill(&self) -> Handful {
        let mut spilled = Handful::new();
        let len = self.len();
        // SAFETY: the cache is the caller's.
        let slots = unsafe { &mut *self.slots.get() };
        for slot in slots.iter().take(len) {
            // SAFETY: the first `len` slots were written.
            if !spilled.push(unsafe { slot.assume_init() }) {
                break;
            }
        }
        for to in 0..len.wrapping_sub(spilled.len).min(CAPACITY) {
            let from = slots.get(to.wrapping_add(spilled.len)).copied();
            if let (Some(from), Some(slot)) = (from, slots.get_mut(to)) {
                *slot = from;
            }
        }
        self.set_len(len.wrapping_sub(spilled.len));
        spilled
    }

    #[inline]
    fn set_len(&self, len: usize) {
        self.len.store(len, Ordering::Relaxed);
    }
}
