// SPDX-License-Identifier: BSD-2-Clause
//! From routes, sorted by address, to pages and rows: one pass over a range of
//! addresses that keeps no more than the routes around the present one.
//!
//! The sweep paints addresses from low to high, each with the class of the longest
//! route over it. Routes that are over the present address nest, so there is one of
//! a length at most, and 33 classes and a bit for each are all it remembers. A /24
//! that is not painted in one go becomes a sub-page, a /16 a page, a /8 a row; what
//! is complete goes to the [store](super::store), which may have it already.
//!
//! A range that begins or ends within a row, a page or a sub-page starts from what
//! the table has there.
//!
//! Nothing it makes is published here. A sweep that ends early gives all of it back.

use super::grace::{Grace, Lock, Memory};
use super::owned::Owned;
use super::page::{self, SLOTS, SUB, Slots};
use super::slab::Block;
use super::store::{Row, Store};
use super::{FibError, check};
use core::ops::Range;

/// Rows of a table.
pub(super) const ROWS: usize = 256;

/// How many addresses a slot, a page and a row are for.
const SLOT: u64 = 1 << 8;
const PAGE: u64 = 1 << 16;
const ROW: u64 = 1 << 24;

/// A sweep over some addresses.
pub(super) struct Sweep<'s, M: Memory, G: Grace, L: Lock> {
    store: &'s Store<M, G, L>,
    canvas: Owned<'s, Canvas, M>,
}

/// What has been painted so far. All its bytes may be 0.
///
/// # Invariants
///
/// The sweep refers to the sub-pages in `slots[slots_made]`, the pages in
/// `row[row_made]` and the rows in `rows[rows_made]`, and to nothing else here.
struct Canvas {
    /// The address of the last route.
    anchor: u32,
    /// Bit `n`: a route of length `n` is over `anchor`. Bit 0 is set: what is
    /// around the range counts as of length 0.
    active: u64,
    /// The class of each such route.
    class: [u32; 33],
    /// The length of the shortest route that counts.
    shortest: u32,
    /// The first address that is not painted, and the one after the last to paint.
    next: u64,
    end: u64,
    sub: Slots,
    slots: Slots,
    row: Row,
    rows: [u32; ROWS],
    slots_made: Made,
    row_made: Made,
    rows_made: Made,
}

/// A range of places that grows at its end.
#[derive(Clone, Copy, Default)]
struct Made {
    start: u32,
    end: u32,
}

impl Made {
    /// Adds the places of a range that follows, or begins anew if there is none.
    fn extend(&mut self, start: usize, end: usize) {
        if self.start == self.end {
            self.start = start as u32;
        }
        self.end = end as u32;
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn take(&mut self) -> Range<usize> {
        core::mem::take(self).range()
    }
}

impl<'s, M: Memory, G: Grace, L: Lock> Sweep<'s, M, G, L> {
    /// A sweep over the addresses from `first` to `last`, which is a prefix, where
    /// the longest route around it is of class `around`, or 0. `present` is the
    /// table's row of `first`, to which the table refers until the sweep's end.
    pub(super) fn new(
        store: &'s Store<M, G, L>,
        (first, last): (u32, u32),
        around: u32,
        present: Block,
    ) -> Result<Self, FibError> {
        // SAFETY: integers.
        let mut canvas: Owned<'s, Canvas, M> = unsafe { Owned::zeroed(store.memory())? };
        canvas.anchor = first;
        canvas.active = 1;
        canvas.class[0] = around;
        canvas.shortest = (first ^ last).leading_zeros().max(1);
        canvas.next = u64::from(first);
        canvas.end = u64::from(last).wrapping_add(1);
        let mut sweep = Self { store, canvas };
        sweep.start_from(present);
        Ok(sweep)
    }

    /// Takes over what is around the range in its row, page and sub-page.
    fn start_from(&mut self, present: Block) {
        let Canvas {
            next,
            end,
            sub,
            slots,
            row,
            ..
        } = &mut *self.canvas;
        let length = end.wrapping_sub(*next);
        if length >= ROW {
            return;
        }
        // SAFETY: the table refers to the row, the row to the page, and the page to
        // the sub-page, until the sweep's end at least.
        unsafe {
            let present: *const Row = self.store.lines_of(present).cast();
            present.copy_to_nonoverlapping(row, 1);
            if length >= PAGE {
                return;
            }
            let number = row.0[(*next >> 16) as usize & 0xff];
            page::read(self.store.lines_of(Block::of_bits(number)), slots);
            if length >= SLOT {
                return;
            }
            match slots[(*next >> 8) as usize & 0xff] {
                slot if slot & SUB == 0 => sub.fill(slot),
                slot => page::read(self.store.lines_of(Block::of_bits(slot & !SUB)), sub),
            }
        }
    }

    /// Adds a route. Those that are not inside the range are passed over, and so is
    /// the default route. Addresses must not descend; the lengths at one address may.
    pub(super) fn route(&mut self, prefix: u32, plen: u8, class: u32) -> Result<(), FibError> {
        check(prefix, plen)?;
        let canvas = &*self.canvas;
        let before = prefix < canvas.anchor && canvas.active == 1;
        if u32::from(plen) < canvas.shortest || before || u64::from(prefix) >= canvas.end {
            return Ok(());
        }
        page::check_class(class)?;
        if prefix < canvas.anchor {
            return Err(FibError::OutOfOrder { prefix, plen });
        }
        self.paint_to(u64::from(prefix))?;
        let canvas = &mut *self.canvas;
        canvas.anchor = prefix;
        canvas.active |= 1 << (plen & 63);
        if let Some(place) = canvas.class.get_mut(usize::from(plen)) {
            *place = class;
        }
        Ok(())
    }

    /// Paints what is left, and completes what was begun.
    pub(super) fn finish(&mut self) -> Result<(), FibError> {
        let end = self.canvas.end;
        self.paint_to(end)?;
        let last = end.wrapping_sub(1);
        if !end.is_multiple_of(SLOT) {
            self.seal_sub(slot_of(last))?;
        }
        if !end.is_multiple_of(PAGE) {
            self.seal_page(page_of(last))?;
        }
        Ok(())
    }

    /// The row whose pages were made, and which; nothing if whole rows were.
    pub(super) fn partial_row(&self) -> Option<(&Row, Range<usize>)> {
        let made = self.canvas.row_made.range();
        (!made.is_empty()).then_some((&self.canvas.row, made))
    }

    /// To be called when the pages of [`partial_row`](Sweep::partial_row) have gone
    /// into a row.
    pub(super) fn partial_row_is_taken(&mut self) {
        self.canvas.row_made = Made::default();
    }

    /// The whole rows that were made: the index of the first one, and their numbers.
    /// A row that was taken from here leaves another in its place, which the sweep
    /// gives back at its end.
    pub(super) fn whole_rows(&mut self) -> (usize, &mut [u32]) {
        let made = self.canvas.rows_made.range();
        let start = made.start;
        (start, self.canvas.rows.get_mut(made).unwrap_or(&mut []))
    }

    /// Paints up to an address, which the routes so far may end before.
    fn paint_to(&mut self, to: u64) -> Result<(), FibError> {
        loop {
            let canvas = &mut *self.canvas;
            let plen = 63 - canvas.active.leading_zeros().min(63);
            let end = match plen {
                0 => canvas.end,
                _ => u64::from(canvas.anchor | (u32::MAX.checked_shr(plen).unwrap_or(0))) + 1,
            };
            let class = canvas.class.get(plen as usize).copied().unwrap_or(0);
            let stop = end.min(to);
            while self.canvas.next < stop {
                self.paint(stop, class)?;
            }
            if plen == 0 || end > to {
                return Ok(());
            }
            self.canvas.active &= !(1 << plen);
        }
    }

    /// Paints from `next` on, up to `stop` at most: as large a piece as there is.
    fn paint(&mut self, stop: u64, class: u32) -> Result<(), FibError> {
        let next = self.canvas.next;
        let length = stop.wrapping_sub(next);
        if next.is_multiple_of(ROW) && length >= ROW {
            self.paint_row(row_of(next), class)?;
            self.canvas.next = next + ROW;
        } else if next.is_multiple_of(PAGE) && length >= PAGE {
            let stop = stop.min(ceil(next, ROW)) & !(PAGE - 1);
            let end = (stop - 1) / PAGE % ROWS as u64 + 1;
            self.paint_pages(page_of(next)..end as usize, class)?;
            self.canvas.next = stop;
            return self.seal_at_row_end(stop);
        } else if next.is_multiple_of(SLOT) && length >= SLOT {
            let stop = stop.min(ceil(next, PAGE)) & !(SLOT - 1);
            let (start, end) = (slot_of(next), slot_of(stop - 1) + 1);
            if let Some(slots) = self.canvas.slots.get_mut(start..end) {
                slots.fill(class);
            }
            self.canvas.slots_made.extend(start, end);
            self.canvas.next = stop;
            return self.seal_at(stop);
        } else {
            let stop = stop.min(ceil(next, SLOT));
            let (start, end) = (next % SLOT, (stop - 1) % SLOT + 1);
            if let Some(sub) = self.canvas.sub.get_mut(start as usize..end as usize) {
                sub.fill(class);
            }
            self.canvas.next = stop;
            if !stop.is_multiple_of(SLOT) {
                return Ok(());
            }
            self.seal_sub(slot_of(next))?;
            return self.seal_at(stop);
        }
        Ok(())
    }

    /// Completes the page, and the row, that end where the painting has come to.
    fn seal_at(&mut self, stop: u64) -> Result<(), FibError> {
        if stop.is_multiple_of(PAGE) {
            self.seal_page(page_of(stop - 1))?;
        }
        self.seal_at_row_end(stop)
    }

    fn seal_at_row_end(&mut self, stop: u64) -> Result<(), FibError> {
        if !stop.is_multiple_of(ROW) {
            return Ok(());
        }
        self.seal_row(row_of(stop - 1))
    }

    fn paint_row(&mut self, at: usize, class: u32) -> Result<(), FibError> {
        self.paint_pages(0..SLOTS, class)?;
        self.seal_row(at)
    }

    /// Fills places of the row with the page that is of one class.
    fn paint_pages(&mut self, places: Range<usize>, class: u32) -> Result<(), FibError> {
        self.canvas.slots.fill(class);
        let count = places.len() as u32;
        let slots = &self.canvas.slots;
        let page = self.store.with(|held| {
            let page = held.page(slots)?;
            held.refer(page, count.wrapping_sub(1));
            Ok(page)
        })?;
        if let Some(row) = self.canvas.row.0.get_mut(places.clone()) {
            row.fill(page.bits());
        }
        self.canvas.row_made.extend(places.start, places.end);
        Ok(())
    }

    /// Makes a slot of the sub-page that was painted.
    fn seal_sub(&mut self, at: usize) -> Result<(), FibError> {
        let sub = &self.canvas.sub;
        let slot = if sub.iter().all(|&class| class == sub[0]) {
            sub[0]
        } else {
            SUB | self.store.with(|held| held.page(sub))?.bits()
        };
        self.canvas.slots[at & 0xff] = slot;
        self.canvas.slots_made.extend(at, at + 1);
        Ok(())
    }

    /// Makes a page of the slots.
    fn seal_page(&mut self, at: usize) -> Result<(), FibError> {
        let slots = &self.canvas.slots;
        let page = self.store.with(|held| held.page(slots))?;
        self.canvas.row.0[at & 0xff] = page.bits();
        self.canvas.row_made.extend(at, at + 1);
        self.give_up_subs();
        Ok(())
    }

    /// Makes a row of the pages, all of which are the sweep's own.
    fn seal_row(&mut self, at: usize) -> Result<(), FibError> {
        if self.canvas.row_made.range() != (0..SLOTS) {
            // The range is a part of this row: the table replaces it.
            return Ok(());
        }
        let row = &self.canvas.row;
        let row = self.store.with(|held| held.row(row))?;
        self.canvas.row_made = Made::default();
        self.canvas.rows[at & 0xff] = row.bits();
        self.canvas.rows_made.extend(at, at + 1);
        Ok(())
    }

    /// Gives up the sub-pages of the slots.
    fn give_up_subs(&mut self) {
        let made = self.canvas.slots_made.take();
        let slots = self.canvas.slots.get(made).unwrap_or(&[]);
        if slots.iter().all(|slot| slot & SUB == 0) {
            return;
        }
        self.store.with(|held| {
            for slot in slots.iter().filter(|&slot| slot & SUB != 0) {
                held.release_page(Block::of_bits(slot & !SUB));
            }
        });
    }
}

impl<M: Memory, G: Grace, L: Lock> Drop for Sweep<'_, M, G, L> {
    /// Gives back what was not taken.
    fn drop(&mut self) {
        self.give_up_subs();
        let pages = self.canvas.row_made.take();
        let rows = self.canvas.rows_made.take();
        if pages.is_empty() && rows.is_empty() {
            return;
        }
        let canvas = &*self.canvas;
        self.store.with(|held| {
            held.release_pages(canvas.row.0.get(pages).unwrap_or(&[]));
        });
        for &row in canvas.rows.get(rows).unwrap_or(&[]) {
            self.store
                .with(|held| held.release_row(Block::of_bits(row)));
        }
        self.store.reclaim();
    }
}

/// The least multiple of `unit`, a power of two, above `address`.
fn ceil(address: u64, unit: u64) -> u64 {
    (address | (unit - 1)) + 1
}

fn row_of(address: u64) -> usize {
    (address >> 24) as usize & 0xff
}

fn page_of(address: u64) -> usize {
    (address >> 16) as usize & 0xff
}

fn slot_of(address: u64) -> usize {
    (address >> 8) as usize & 0xff
}
