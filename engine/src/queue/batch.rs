// SPDX-License-Identifier: BSD-2-Clause
//! The unit of work: up to 32 items in order, without allocation.

use super::item::Item;
use super::word::Amount;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

/// Items that a [`Batch`] holds at most.
pub const BATCH: usize = 32;

/// Items in order, to be taken from the front. It owns them: those that are left in it
/// are dropped with it.
///
/// # Invariants
///
/// `raws[first..first + len]` are pointers from [`Item::into_raw`], owned by the batch;
/// `first + len <= BATCH`. `cells` and `bytes` are the sums of theirs.
pub struct Batch<T: Item> {
    raws: [*mut (); BATCH],
    first: usize,
    len: usize,
    cells: u64,
    bytes: u64,
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
            raws: [ptr::null_mut(); BATCH],
            first: 0,
            len: 0,
            cells: 0,
            bytes: 0,
            items: PhantomData,
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more can be put behind.
    pub fn room(&self) -> usize {
        BATCH.saturating_sub(self.len)
    }

    /// Puts an item behind the others, or gives it back if there are [`BATCH`].
    #[inline]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let amount = Amount::of(&item);
        let raw = item.into_raw();
        if self.push_raw(raw.as_ptr(), amount) {
            return Ok(());
        }
        // SAFETY: from `into_raw` above, and put nowhere.
        Err(unsafe { T::from_raw(raw) })
    }

    /// The foremost item, taken out.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let raw = NonNull::new(*self.raws().first()?)?;
        // SAFETY: by the invariant it is owned; it is not counted from here on.
        let item = unsafe { T::from_raw(raw) };
        self.forget(Amount::of(&item));
        Some(item)
    }

    /// Notes in all items that they were queued now.
    pub fn set_queued_at(&mut self, now: super::Ticks) {
        for &raw in self.raws() {
            let Some(raw) = NonNull::new(raw) else { return };
            // SAFETY: owned by the batch, which is borrowed mutably; what is made of it is
            // turned into the same pointer again.
            let mut item = ManuallyDrop::new(unsafe { T::from_raw(raw) });
            item.set_queued_at(now);
        }
    }

    /// How many of the foremost items are alike.
    #[inline]
    pub(super) fn leading(&self, mut is_alike: impl FnMut(&T) -> bool) -> usize {
        let is_alike = |&&raw: &&*mut ()| {
            NonNull::new(raw).is_some_and(|raw| {
                // SAFETY: owned by the batch; looked at only.
                let item = ManuallyDrop::new(unsafe { T::from_raw(raw) });
                is_alike(&*item)
            })
        };
        self.raws().iter().take_while(is_alike).count()
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
        Amount {
            items: self.len as u64,
            cells: self.cells,
            bytes: self.bytes,
        }
    }

    /// The foremost of the items that are no more than so many, and so many cells.
    #[inline]
    pub(super) fn fitting(&self, items: u64, cells: u64) -> Amount {
        let all = self.amount();
        if all.items <= items && all.cells <= cells {
            return all;
        }
        let mut fits = Amount::default();
        for &raw in self.raws() {
            let Some(raw) = NonNull::new(raw) else { break };
            // SAFETY: owned by the batch; looked at only.
            let item = ManuallyDrop::new(unsafe { T::from_raw(raw) });
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
    pub(super) fn raws(&self) -> &[*mut ()] {
        let end = self.first.wrapping_add(self.len);
        self.raws.get(self.first..end).unwrap_or_default()
    }

    /// Puts a pointer from [`Item::into_raw`], which the batch then owns, behind the
    /// others. False if there is no room.
    #[inline]
    pub(super) fn push_raw(&mut self, raw: *mut (), amount: Amount) -> bool {
        if self.len == 0 {
            self.first = 0;
        } else if self.first.wrapping_add(self.len) >= BATCH && self.first > 0 {
            self.close_up();
        }
        let Some(place) = self.raws.get_mut(self.first.wrapping_add(self.len)) else {
            return false;
        };
        *place = raw;
        self.len = self.len.wrapping_add(1);
        self.cells = self.cells.wrapping_add(amount.cells);
        self.bytes = self.bytes.wrapping_add(amount.bytes);
        true
    }

    /// Moves all to the start of the array. The standard's `copy_within` could panic, for
    /// all that the compiler sees.
    #[cold]
    fn close_up(&mut self) {
        for at in 0..self.len {
            let from = self.raws.get(self.first.wrapping_add(at)).copied();
            if let Some((to, raw)) = self.raws.get_mut(at).zip(from) {
                *to = raw;
            }
        }
        self.first = 0;
    }

    /// Leaves the foremost items, so much of them, to whoever has their pointers now.
    #[inline]
    pub(super) fn forget(&mut self, amount: Amount) {
        self.first = self.first.wrapping_add(amount.items as usize);
        self.len = self.len.saturating_sub(amount.items as usize);
        self.cells = self.cells.wrapping_sub(amount.cells);
        self.bytes = self.bytes.wrapping_sub(amount.bytes);
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
