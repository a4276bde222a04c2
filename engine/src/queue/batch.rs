// SPDX-License-Identifier: BSD-2-Clause
//! The unit of work: up to 32 items in order, without allocation.

use super::item::Item;
use super::word::Amount;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::slice;

/// Items that a [`Batch`] holds at most.
pub const BATCH: usize = 32;

/// Items in order, to be taken from the front. It owns them: those that are left in it
/// are dropped with it.
///
/// # Invariants
///
/// `raws[first..first + len]` are pointers from [`Item::into_raw`], owned by the batch;
/// `first + len <= BATCH`.
pub struct Batch<T: Item> {
    raws: [MaybeUninit<NonNull<()>>; BATCH],
    first: u32,
    len: u32,
    items: PhantomData<T>,
}

// SAFETY: it owns its items, which are `Send`.
unsafe impl<T: Item> Send for Batch<T> {}

impl<T: Item> Default for Batch<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Batch<T> {
    /// No items.
    pub const fn new() -> Self {
        Self {
            raws: [const { MaybeUninit::uninit() }; BATCH],
            first: 0,
            len: 0,
            items: PhantomData,
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more can be put behind.
    pub fn room(&self) -> usize {
        BATCH.saturating_sub(self.len())
    }

    /// Puts an item behind the others, or gives it back if there are [`BATCH`].
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let raw = item.into_raw();
        if self.push_raw(raw) {
            return Ok(());
        }
        // SAFETY: from `into_raw` above, and put nowhere.
        Err(unsafe { T::from_raw(raw) })
    }

    /// Puts items behind the others, as many as there are and there is room for.
    #[inline]
    pub fn fill(&mut self, items: impl IntoIterator<Item = T>) {
        if self.first > 0 {
            self.close_up();
        }
        let room = self.raws.get_mut(self.len as usize..).unwrap_or_default();
        // A place is asked for first: no item is taken for which there is none.
        let mut len = self.len;
        for (place, item) in room.iter_mut().zip(items) {
            place.write(item.into_raw());
            len = len.wrapping_add(1);
        }
        self.len = len;
    }

    /// The items, taken out from the foremost on. Those that are not asked for stay.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_, T> {
        let at = self.first as usize;
        let end = at.wrapping_add(self.len as usize);
        // Who forgets the iterator leaks what is left, and nothing worse.
        (self.first, self.len) = (0, 0);
        Drain {
            batch: self,
            at,
            end,
        }
    }

    /// The foremost item, taken out.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let &raw = self.raws().first()?;
        self.forget(1);
        // SAFETY: it was owned by the invariant, and is not the batch's any more.
        Some(unsafe { T::from_raw(raw) })
    }

    /// Notes in all items that they were queued now.
    pub fn set_queued_at(&mut self, now: super::Ticks) {
        for &raw in self.raws() {
            // SAFETY: owned by the batch, which is borrowed mutably; what is made of it is
            // turned into the same pointer again.
            let mut item = ManuallyDrop::new(unsafe { T::from_raw(raw) });
            item.set_queued_at(now);
        }
    }

    /// How many of the foremost items are alike.
    #[inline]
    pub(super) fn leading(&self, mut is_alike: impl FnMut(&T) -> bool) -> usize {
        self.items().take_while(|item| is_alike(item)).count()
    }

    /// The items, to look at.
    #[inline]
    fn items(&self) -> impl Iterator<Item = ManuallyDrop<T>> {
        self.raws().iter().map(|&raw| {
            // SAFETY: owned by the batch, which is borrowed; what is made of it here is looked
            // at and forgotten.
            ManuallyDrop::new(unsafe { T::from_raw(raw) })
        })
    }

    /// Moves the foremost items behind those of another batch, as many as asked for and
    /// as there is room for.
    pub(super) fn move_front(&mut self, to: &mut Self, items: usize) {
        for _ in 0..items.min(to.room()) {
            let Some(item) = self.pop() else { return };
            // There is room.
            let _room = to.push(item);
        }
    }

    /// What there is.
    #[inline]
    pub(super) fn amount(&self) -> Amount {
        let amounts = self.items().map(|item| Amount::of(&*item));
        amounts.fold(Amount::default(), Amount::plus)
    }

    /// Bytes of the items.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.items().map(|item| u64::from(item.bytes()));
        bytes.fold(0, u64::wrapping_add)
    }

    /// The foremost of the items that are no more than so many, and so many cells.
    #[cold]
    pub(super) fn fitting(&self, items: u64, cells: u64) -> Amount {
        let mut fits = Amount::default();
        for item in self.items() {
            let next = fits.plus(Amount::of(&*item));
            if next.items > items || next.cells > cells {
                break;
            }
            fits = next;
        }
        fits
    }

    /// The items' pointers.
    #[inline]
    pub(super) fn raws(&self) -> &[NonNull<()>] {
        // SAFETY: by the invariant these are initialised, and in the array.
        unsafe {
            let first = self.raws.as_ptr().add(self.first as usize);
            slice::from_raw_parts(first.cast(), self.len as usize)
        }
    }

    /// Puts a pointer from [`Item::into_raw`], which the batch then owns, behind the
    /// others. False if there is no room.
    #[inline]
    pub(super) fn push_raw(&mut self, raw: NonNull<()>) -> bool {
        let mut end = self.first.wrapping_add(self.len) as usize;
        if end >= BATCH && self.first > 0 {
            self.close_up();
            end = self.len as usize;
        }
        let Some(place) = self.raws.get_mut(end) else {
            return false;
        };
        place.write(raw);
        self.len = self.len.wrapping_add(1);
        true
    }

    /// Moves all to the start of the array. The standard's `copy_within` could panic, for
    /// all that the compiler sees.
    #[cold]
    #[inline(never)]
    fn close_up(&mut self) {
        for at in 0..self.len as usize {
            let from = self.raws.get(at.wrapping_add(self.first as usize)).copied();
            if let Some((to, raw)) = self.raws.get_mut(at).zip(from) {
                *to = raw;
            }
        }
        self.first = 0;
    }

    /// Leaves the foremost items, as many as there are at most, to whoever has their
    /// pointers now.
    #[inline]
    pub(super) fn forget(&mut self, items: usize) {
        let items = items.min(self.len as usize) as u32;
        self.len = self.len.wrapping_sub(items);
        self.first = match self.len {
            0 => 0,
            _ => self.first.wrapping_add(items),
        };
    }
}

/// Items on their way out of a [`Batch`].
///
/// # Invariants
///
/// `batch.raws[at..end]` are pointers from [`Item::into_raw`], owned by this; the batch is
/// empty.
pub struct Drain<'b, T: Item> {
    batch: &'b mut Batch<T>,
    at: usize,
    end: usize,
}

impl<T: Item> Iterator for Drain<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.at == self.end {
            return None;
        }
        // SAFETY: by the invariant this one is initialised, in the array, and not taken yet.
        let item = unsafe {
            let raw = self.batch.raws.as_ptr().add(self.at).read();
            T::from_raw(raw.assume_init())
        };
        self.at = self.at.wrapping_add(1);
        Some(item)
    }
}

impl<T: Item> Drop for Drain<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.at != self.end {
            self.batch.first = self.at as u32;
            self.batch.len = self.end.wrapping_sub(self.at) as u32;
        }
    }
}

impl<T: Item> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("left", &self.end.wrapping_sub(self.at))
            .finish_non_exhaustive()
    }
}

impl<T: Item> Drop for Batch<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<T: Item> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
