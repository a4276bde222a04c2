// SPDX-License-Identifier: BSD-2-Clause
//! Descriptors, in memory that driver and device share.
//!
//! A [`Slot`] is one descriptor, and its type says whose it is. The driver's can be written;
//! of the device's one can only see whether it has been given back. There is no way from one to
//! the other but by [`hand_over`](Slot::hand_over) and [`take_back`](Slot::take_back), which have
//! the fences that belong there. A slot borrows its ring. That a descriptor is taken back only
//! after one has seen that the device is done is up to the driver, and to its model's complaints.
//!
//! | ring | filled by | told apart by |
//! | --- | --- | --- |
//! | [`Lane`] | the driver, in order; taken back in order | a generation bit that turns with each lap, or an index that the device is told |
//! | [`Completions`] | the device, in order | a generation bit |
//!
//! What is neither has a [`Ring`] of slots by number, and says itself whose they are.

use super::driver::Error;
use super::platform::{Dma, Platform, Word};
use core::marker::PhantomData;
use core::sync::atomic::{Ordering, fence};

/// What was stored to shared memory before comes before what is stored after.
#[inline(always)]
pub fn before_handover() {
    fence(Ordering::Release);
}

/// What is loaded from shared memory after comes after what was loaded before.
#[inline(always)]
pub fn on_taking() {
    fence(Ordering::Acquire);
}

/// What was stored before comes before what is loaded after: to say something, and then look
/// whether the other side has said something meanwhile.
#[inline(always)]
pub fn full() {
    fence(Ordering::SeqCst);
}

/// It is the driver's.
#[derive(Debug)]
pub enum Driver {}

/// It is the device's.
#[derive(Debug)]
pub enum Device {}

/// A descriptor, and whose it is.
#[derive(Debug)]
pub struct Slot<'r, M, O> {
    memory: &'r M,
    base: usize,
    owner: PhantomData<O>,
}

impl<'r, M: Dma> Slot<'r, M, Driver> {
    /// Writes a field, at an offset in bytes from the descriptor's first.
    #[inline(always)]
    pub fn set<W: Word>(&mut self, at: usize, value: W) {
        self.memory.store(self.base.wrapping_add(at), value);
    }

    /// Reads a field.
    #[inline(always)]
    pub fn get<W: Word>(&self, at: usize) -> W {
        self.memory.load(self.base.wrapping_add(at))
    }

    /// Makes it the device's, by the last store, which `publish` does: it becomes visible
    /// after all that were done before.
    #[inline(always)]
    pub fn hand_over(mut self, publish: impl FnOnce(&mut Self)) -> Slot<'r, M, Device> {
        before_handover();
        publish(&mut self);
        self.become_owned()
    }
}

impl<'r, M: Dma> Slot<'r, M, Device> {
    /// Reads the field by which the device says that it is done.
    #[inline(always)]
    pub fn peek<W: Word>(&self, at: usize) -> W {
        self.memory.load(self.base.wrapping_add(at))
    }

    /// Makes it the driver's, since [`peek`](Slot::peek) has shown that the device is done:
    /// what is read of it from now on is what the device has written before.
    #[inline(always)]
    pub fn take_back(self) -> Slot<'r, M, Driver> {
        on_taking();
        self.become_owned()
    }
}

impl<'r, M, O> Slot<'r, M, O> {
    #[inline(always)]
    fn become_owned<N>(self) -> Slot<'r, M, N> {
        Slot {
            memory: self.memory,
            base: self.base,
            owner: PhantomData,
        }
    }
}

/// Descriptors in a row, of `STRIDE` bytes each; 0 if that is not known before it is made. What
/// is known makes for shorter code.
#[derive(Debug)]
pub struct Ring<M, const STRIDE: usize = 0> {
    memory: M,
    slots: u16,
    stride: usize,
}

impl<M: Dma, const STRIDE: usize> Ring<M, STRIDE> {
    /// So many descriptors of so many bytes, zeroed. Their first byte is aligned so.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::Invalid`] if there is none, or they are of another size than
    /// the type says.
    pub fn new<P: Platform<Dma = M>>(
        platform: &P,
        slots: u16,
        stride: usize,
        align: usize,
    ) -> Result<Self, Error> {
        if slots == 0 {
            return Err(Error::Invalid("descriptors", 0));
        }
        if STRIDE > 0 && STRIDE != stride {
            return Err(Error::Invalid("bytes of a descriptor", stride as u64));
        }
        let memory = platform.dma(usize::from(slots).saturating_mul(stride), align)?;
        Ok(Self {
            memory,
            slots,
            stride,
        })
    }

    /// The memory that it is in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Where the device sees it.
    pub fn address(&self) -> u64 {
        self.memory.address()
    }

    /// Descriptors.
    #[inline]
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// Bytes.
    pub fn bytes(&self) -> u32 {
        self.memory.bytes() as u32
    }

    #[inline(always)]
    fn stride(&self) -> usize {
        if STRIDE > 0 { STRIDE } else { self.stride }
    }

    #[inline(always)]
    fn slot<O>(&self, number: u16) -> Slot<'_, M, O> {
        Slot {
            memory: &self.memory,
            base: usize::from(number).wrapping_mul(self.stride()),
            owner: PhantomData,
        }
    }

    /// A descriptor that the device does not have. The ring is borrowed for as long as one has
    /// it.
    #[inline(always)]
    pub fn owned(&mut self, number: u16) -> Slot<'_, M, Driver> {
        self.slot(number)
    }

    /// A descriptor that the device may have.
    #[inline(always)]
    pub fn lent(&self, number: u16) -> Slot<'_, M, Device> {
        self.slot(number)
    }

    /// The next number, and whether a new lap begins with it.
    #[inline(always)]
    fn after(&self, number: u16) -> (u16, bool) {
        let next = number.wrapping_add(1);
        if next >= self.slots {
            (0, true)
        } else {
            (next, false)
        }
    }
}

/// Which descriptors something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A ring that the driver fills in order, and the device is done with in order.
///
/// # Invariants
/// `used` descriptors from `oldest` on are the device's; `next` is the one behind them. The
/// others are the driver's.
#[derive(Debug)]
pub struct Lane<M, const STRIDE: usize = 0> {
    ring: Ring<M, STRIDE>,
    next: u16,
    oldest: u16,
    used: u16,
    /// Those that are never filled.
    spare: u16,
    generation: bool,
}

impl<M: Dma, const STRIDE: usize> Lane<M, STRIDE> {
    /// A lane over a fresh ring. `spare` descriptors are left free: one, where the device
    /// could not tell a full ring from an empty one otherwise. The first lap's generation is 1.
    pub fn new(ring: Ring<M, STRIDE>, spare: u16) -> Self {
        Self {
            ring,
            next: 0,
            oldest: 0,
            used: 0,
            spare,
            generation: true,
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<M, STRIDE> {
        &self.ring
    }

    /// Descriptors that can be filled.
    #[inline(always)]
    pub fn room(&self) -> u16 {
        let taken = self.used.saturating_add(self.spare);
        self.ring.slots.saturating_sub(taken)
    }

    /// Descriptors that the device has.
    #[inline(always)]
    pub fn used(&self) -> u16 {
        self.used
    }

    /// The one that is filled next: what the device is told at a doorbell.
    #[inline(always)]
    pub fn next(&self) -> u16 {
        self.next
    }

    /// Fills so many descriptors: `write` each but for what makes them the device's with the
    /// generation of its lap, then `publish` the first, after all the rest is visible. A device
    /// that is told by an index has nothing to publish. `None` if there is no room.
    #[inline(always)]
    pub fn put(
        &mut self,
        count: u16,
        mut write: impl FnMut(u16, &mut Slot<'_, M, Driver>, bool),
        publish: impl FnOnce(&mut Slot<'_, M, Driver>, bool),
    ) -> Option<Put> {
        if count == 0 || count > self.room() {
            return None;
        }
        let (first, generation) = (self.next, self.generation);
        let mut last = first;
        for n in 0..count {
            last = self.next;
            write(n, &mut self.ring.slot(last), self.generation);
            let (next, is_new_lap) = self.ring.after(last);
            self.next = next;
            self.generation ^= is_new_lap;
        }
        self.used = self.used.wrapping_add(count);
        let slot: Slot<'_, M, Driver> = self.ring.slot(first);
        slot.hand_over(|slot| publish(slot, generation));
        Some(Put { first, last })
    }

    /// Fills a descriptor for each thing: `write` gets the thing, whether it is the first, whether
    /// it is the last, the descriptor, and the generation of its lap. As in [`put`](Lane::put)
    /// the first becomes the device's by `publish`, when all the rest is visible.
    #[inline(always)]
    pub fn put_each<T>(
        &mut self,
        things: &[T],
        mut write: impl FnMut(&T, [bool; 2], &mut Slot<'_, M, Driver>, bool),
        publish: impl FnOnce(&mut Slot<'_, M, Driver>, bool),
    ) -> Option<Put> {
        let last = things.len().wrapping_sub(1);
        let mut things = things.iter().enumerate();
        let count = u16::try_from(last.wrapping_add(1)).ok()?;
        self.put(
            count,
            |_, slot, generation| {
                if let Some((n, thing)) = things.next() {
                    write(thing, [n == 0, n == last], slot, generation);
                }
            },
            publish,
        )
    }

    /// The descriptor that the device has had for longest.
    #[inline(always)]
    pub fn oldest(&self) -> Option<(u16, Slot<'_, M, Device>)> {
        (self.used > 0).then(|| (self.oldest, self.ring.slot(self.oldest)))
    }

    /// How many of the device's descriptors come before that one; `None` if it is not the
    /// device's.
    #[inline(always)]
    pub fn distance(&self, number: u16) -> Option<u16> {
        let distance = match number >= self.oldest {
            true => number.wrapping_sub(self.oldest),
            false => number
                .wrapping_add(self.ring.slots)
                .wrapping_sub(self.oldest),
        };
        (number < self.ring.slots && distance < self.used).then_some(distance)
    }

    /// The device is done with all up to that one, and with it. How many these were; `None`,
    /// and nothing is changed, if that one is not the device's.
    #[inline(always)]
    pub fn finish(&mut self, last: u16) -> Option<u16> {
        let count = self.distance(last)?.wrapping_add(1);
        self.oldest = self.ring.after(last).0;
        self.used = self.used.wrapping_sub(count);
        Some(count)
    }
}

/// A ring that the device fills in order, with the generation of its lap in each descriptor.
#[derive(Debug)]
pub struct Completions<M, const STRIDE: usize = 0> {
    ring: Ring<M, STRIDE>,
    next: u16,
    generation: bool,
}

impl<M: Dma, const STRIDE: usize> Completions<M, STRIDE> {
    /// Completions over a fresh ring. The first lap's generation is 1.
    pub fn new(ring: Ring<M, STRIDE>) -> Self {
        Self {
            ring,
            next: 0,
            generation: true,
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<M, STRIDE> {
        &self.ring
    }

    /// The one that the device fills next.
    #[inline(always)]
    pub fn next(&self) -> u16 {
        self.next
    }

    /// Whether the device has filled another one, as `generation` tells.
    #[inline(always)]
    pub fn is_ready(&self, generation: impl FnOnce(&Slot<'_, M, Device>) -> bool) -> bool {
        generation(&self.ring.slot(self.next)) == self.generation
    }

    /// What `read` makes of the next one, if the device has filled it.
    #[inline(always)]
    pub fn peek<R>(
        &self,
        generation: impl FnOnce(&Slot<'_, M, Device>) -> bool,
        read: impl FnOnce(&Slot<'_, M, Driver>) -> R,
    ) -> Option<R> {
        let slot: Slot<'_, M, Device> = self.ring.slot(self.next);
        (generation(&slot) == self.generation).then(|| read(&slot.take_back()))
    }

    /// Goes on to the one behind. This one is the device's again.
    #[inline(always)]
    pub fn advance(&mut self) {
        let (next, is_new_lap) = self.ring.after(self.next);
        self.next = next;
        self.generation ^= is_new_lap;
    }

    /// Both: what `read` makes of the next one, which is the device's again afterwards.
    #[inline(always)]
    pub fn take<R>(
        &mut self,
        generation: impl FnOnce(&Slot<'_, M, Device>) -> bool,
        read: impl FnOnce(&Slot<'_, M, Driver>) -> R,
    ) -> Option<R> {
        let result = self.peek(generation, read)?;
        self.advance();
        Some(result)
    }
}
