// SPDX-License-Identifier: BSD-2-Clause
//! A ring's position and what was put in so far, in one word that one compare-and-swap
//! changes: who claims places has thereby learnt whether they are in the limits, whether
//! someone drains, and whether they must.
//!
//! ```text
//!  63          40 39                       4 3      0
//! +--------------+--------------------------+--------+
//! | cells        | items                    | flags  |
//! +--------------+--------------------------+--------+
//! ```
//!
//! Cells and items count up and wrap. A word comes again after 2^36 items at the
//! earliest: for a claim to be mistaken, its thread must be stopped between a load and the
//! compare-and-swap behind it for just that many, eleven minutes at 100 million a second.

use super::item::Item;

/// Bytes of a cell, in which limits count: an item takes a whole number of them, and
/// one at least.
pub const CELL: u32 = 64;

/// Someone has the role of the consumer, or is about to get it.
pub(super) const BUSY: u64 = 1;
/// Producers were told to stop: the ring was filled to its watermark.
pub(super) const HIGH: u64 = 1 << 1;
/// Nothing is taken for now; what is in is drained.
pub(super) const STOPPED: u64 = 1 << 2;
/// Nothing is taken, and what is in comes back to who closed.
pub(super) const CLOSED: u64 = 1 << 3;

const FLAGS: u64 = (1 << ITEMS_SHIFT) - 1;
const ITEMS_SHIFT: u32 = 4;
const ITEMS_BITS: u32 = 36;
const ITEMS_MASK: u64 = (1 << ITEMS_BITS) - 1;
const CELLS_SHIFT: u32 = ITEMS_SHIFT + ITEMS_BITS;
const CELLS_MASK: u64 = (1 << (64 - CELLS_SHIFT)) - 1;

/// Cells that can be in a ring at a time: half of what the field can tell apart.
pub(super) const MOST_CELLS: u64 = CELLS_MASK >> 1;

/// Cells of an item of so many bytes.
#[inline]
pub(super) fn cells(bytes: u32) -> u64 {
    let bytes = u64::from(bytes.max(1));
    bytes.wrapping_add(u64::from(CELL - 1)) / u64::from(CELL)
}

/// Some items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) items: u64,
    pub(super) cells: u64,
}

impl Amount {
    /// One item.
    #[inline]
    pub(super) fn of<T: Item>(item: &T) -> Self {
        Self {
            items: 1,
            cells: cells(item.bytes()),
        }
    }

    /// These and those.
    #[inline]
    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            items: self.items.wrapping_add(more.items),
            cells: self.cells.wrapping_add(more.cells),
        }
    }
}

/// Such a word, or, with no flags, how far the consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// What is in a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Items.
    pub items: u64,
    /// What they take, in cells of [`CELL`] bytes.
    pub cells: u64,
}

impl Word {
    /// The number of items so far, which wraps.
    #[inline]
    pub(super) fn items(self) -> u64 {
        (self.0 >> ITEMS_SHIFT) & ITEMS_MASK
    }

    /// Whether any of these flags is set.
    #[inline]
    pub(super) fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// With these flags set besides.
    #[inline]
    pub(super) fn with(self, flags: u64) -> Self {
        Self(self.0 | flags)
    }

    /// Without these flags.
    #[inline]
    pub(super) fn without(self, flags: u64) -> Self {
        Self(self.0 & !flags)
    }

    /// After so much more.
    #[inline]
    pub(super) fn plus(self, amount: Amount) -> Self {
        let items = advance(self.items(), amount.items);
        let cells = (self.0 >> CELLS_SHIFT).wrapping_add(amount.cells) & CELLS_MASK;
        Self((self.0 & FLAGS) | items << ITEMS_SHIFT | cells << CELLS_SHIFT)
    }

    /// Before so much of it.
    #[inline]
    pub(super) fn minus(self, amount: Amount) -> Self {
        let items = self.items().wrapping_sub(amount.items) & ITEMS_MASK;
        let cells = (self.0 >> CELLS_SHIFT).wrapping_sub(amount.cells) & CELLS_MASK;
        Self((self.0 & FLAGS) | items << ITEMS_SHIFT | cells << CELLS_SHIFT)
    }

    /// What came in between `done` and this. Far more than fits if `done` is the later
    /// one.
    #[inline]
    pub(super) fn since(self, done: Self) -> Level {
        Level {
            items: distance(done.items(), self.items()),
            cells: (self.0 >> CELLS_SHIFT).wrapping_sub(done.0 >> CELLS_SHIFT) & CELLS_MASK,
        }
    }
}

/// The position so many places behind another.
#[inline]
pub(super) fn advance(position: u64, items: u64) -> u64 {
    position.wrapping_add(items) & ITEMS_MASK
}

/// How many places are between one position and a later one.
#[inline]
pub(super) fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) & ITEMS_MASK
}
