// SPDX-License-Identifier: BSD-2-Clause
//! From routes, sorted by address, to pages and rows: one pass over a range of
//! addresses that keeps no more than the routes around the present one.
//!
//! The sweep paints addresses from low to high, each with the class of the longest
//! route over it. Routes that are over the present address nest, so there is one of
//! a length at most, and a class and a bit for each length are all it remembers. A
//! page's worth of addresses that is not painted in one go becomes a page, and a
//! slot of the page above it; what is complete goes to the [store](super::store),
//! which may have it already.
//!
//! A range that begins or ends within a row or a page starts from what the table has
//! there.
//!
//! Nothing it makes is published here. A sweep that ends early gives all of it back.

use super::FibError;
use super::grace::{Grace, Lock, Memory};
use super::heap::{Block, line};
use super::key::{Key, check};
use super::owned::Owned;
use super::page::{self, Format, SLOTS, Slots, is_number};
use super::store::{LiveRow, PLACES, Row, Store};
use core::ops::Range;

/// Rows of a table.
pub(super) const ROWS: usize = 1024;

/// A sweep over some addresses.
pub(super) struct Sweep<'s, K: Key, M: Memory, G: Grace, L: Lock> {
    store: &'s Store<M, G, L>,
    /// That of pages of runs.
    format: Format,
    canvas: Owned<'s, Canvas<K>, M>,
    /// The rows that were made, if the range has whole ones.
    rows: Option<Owned<'s, [u32; ROWS], M>>,
}

/// What has been painted so far. All its bytes may be 0.
///
/// # Invariants
///
/// The sweep refers to the pages in `pages[level][pages_made[level]]`,
/// `row[row_made]` and the rows in `rows[rows_made]`, and to nothing else here.
struct Canvas<K: Key> {
    /// The address of the last route.
    anchor: K,
    /// Bit `n - 1`: a route of length `n` is over `anchor`.
    active: u128,
    /// The class of each such route; at 0, of what is around the range.
    class: [u32; 129],
    /// The length of the shortest route that counts.
    shortest: u8,
    /// Whether all of the range is painted.
    done: bool,
    /// The first address that is not, and the range's last.
    next: K,
    last: K,
    pages: K::Pages,
    row: Row,
    pages_made: [Made; 16],
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

/// The format of a level's pages in a table whose pages of runs are in `runs`.
#[inline(always)]
pub(super) fn format_at<K: Key>(runs: Format, level: usize) -> Format {
    if !K::PAGE_ON_TOP && level + 1 == K::LEVELS {
        Format::Full
    } else {
        runs
    }
}

impl<'s, K: Key, M: Memory, G: Grace, L: Lock> Sweep<'s, K, M, G, L> {
    /// A sweep over the addresses of a prefix, where the longest route around it is of
    /// class `around`, or 0. `present` is the table's row of the prefix, to which the
    /// table refers until the sweep's end.
    pub(super) fn new(
        store: &'s Store<M, G, L>,
        format: Format,
        (prefix, plen): (K, u8),
        around: u32,
        present: Block,
    ) -> Result<Self, FibError> {
        // SAFETY: integers.
        let mut canvas: Owned<'s, Canvas<K>, M> = unsafe { Owned::zeroed(store.memory())? };
        canvas.anchor = prefix;
        canvas.class[0] = around;
        canvas.shortest = plen.max(1);
        canvas.next = prefix;
        canvas.last = prefix.last(plen);
        let rows = if u32::from(plen) <= ROWS.ilog2() {
            // SAFETY: integers.
            Some(unsafe { Owned::zeroed(store.memory())? })
        } else {
            None
        };
        let mut sweep = Self {
            store,
            format,
            canvas,
            rows,
        };
        sweep.start_from(present, lowest_level::<K>(plen));
        Ok(sweep)
    }

    /// Takes over what is around the range in its row, and in its pages down to a
    /// level.
    fn start_from(&mut self, present: Block, lowest: usize) {
        if self.rows.is_some() {
            return;
        }
        let origin = self.store.origin();
        let canvas = &mut *self.canvas;
        let first = canvas.next;
        // SAFETY: the table refers to the row until the sweep's end at least. Who
        // stores to it is the table's writer, for whom this runs.
        let live = unsafe { &*line(origin, present.bits()).cast::<LiveRow>() };
        for (place, answer) in canvas.row.0.iter_mut().zip(live) {
            *place = answer.own();
        }
        let mut answer = canvas.row.0[first.top() % PLACES];
        for level in (lowest..K::LEVELS).rev() {
            let Some(slots) = canvas.pages.as_mut().get_mut(level) else {
                return;
            };
            if is_number(answer) {
                let format = format_at::<K>(self.format, level);
                // SAFETY: the row refers to the page, and so on down, until the
                // sweep's end at least.
                unsafe { page::read(format, line(origin, answer), slots) };
            } else {
                slots.fill(answer);
            }
            answer = slots[first.byte(level) as usize & 0xff];
        }
    }

    /// Adds a route. Those that are not inside the range are passed over, and so is
    /// the default route. Addresses must not descend; the lengths at one address may.
    pub(super) fn route(&mut self, prefix: K, plen: u8, class: u32) -> Result<(), FibError> {
        check(prefix, plen)?;
        let canvas = &*self.canvas;
        let before = prefix < canvas.anchor && canvas.active == 0;
        if plen < canvas.shortest || before || prefix > canvas.last {
            return Ok(());
        }
        self.format.check_class(class)?;
        if prefix < canvas.anchor {
            let prefix = prefix.ip();
            return Err(FibError::OutOfOrder { prefix, plen });
        }
        self.paint_before(Some(prefix))?;
        let canvas = &mut *self.canvas;
        canvas.anchor = prefix;
        canvas.active |= 1 << (plen.wrapping_sub(1) & 127);
        if let Some(place) = canvas.class.get_mut(usize::from(plen)) {
            *place = class;
        }
        Ok(())
    }

    /// Paints what is left, and completes what was begun.
    pub(super) fn finish(&mut self, plen: u8) -> Result<(), FibError> {
        self.paint_before(None)?;
        let last = self.canvas.last;
        for level in lowest_level::<K>(plen)..K::LEVELS {
            if !last.ends(level + 1) {
                self.seal_page(level, last)?;
            }
        }
        Ok(())
    }

    /// The row whose places were made, and which; nothing if whole rows were.
    pub(super) fn partial_row(&self) -> Option<(&Row, Range<usize>)> {
        let made = self.canvas.row_made.range();
        (!made.is_empty()).then_some((&self.canvas.row, made))
    }

    /// To be called when the places of [`partial_row`](Sweep::partial_row) have gone
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
        let rows = self.rows.as_mut().and_then(|rows| rows.get_mut(made));
        (start, rows.unwrap_or(&mut []))
    }

    /// Paints the addresses before `to`, or all, which the routes so far may end
    /// before.
    fn paint_before(&mut self, to: Option<K>) -> Result<(), FibError> {
        loop {
            let canvas = &*self.canvas;
            let plen = 128 - canvas.active.leading_zeros() as u8;
            let end = match plen {
                0 => canvas.last,
                _ => canvas.anchor.last(plen),
            };
            let class = canvas
                .class
                .get(usize::from(plen))
                .copied()
                .unwrap_or_default();
            match to {
                Some(to) if to <= end => {
                    if canvas.next < to {
                        self.paint_through(to.before(), class)?;
                    }
                    return Ok(());
                }
                _ => self.paint_through(end, class)?,
            }
            if plen == 0 {
                return Ok(());
            }
            self.canvas.active &= !(1 << ((plen - 1) & 127));
        }
    }

    /// Paints up to an address and with it, in pieces as large as there are.
    fn paint_through(&mut self, stop: K, class: u32) -> Result<(), FibError> {
        while !self.canvas.done && self.canvas.next <= stop {
            let next = self.canvas.next;
            let mut level = next.zero_levels().min(K::LEVELS);
            while next.steps_to(stop, level) == 0 {
                level = level.saturating_sub(1);
            }
            let steps = next.steps_to(stop, level);
            if level == K::LEVELS {
                self.paint_places(steps, class)?;
            } else {
                self.paint_slots(level, steps, class)?;
            }
        }
        Ok(())
    }

    /// Paints slots of a level's page, and completes the pages that end there.
    fn paint_slots(&mut self, level: usize, steps: usize, class: u32) -> Result<(), FibError> {
        let canvas = &mut *self.canvas;
        let start = canvas.next.byte(level) as usize;
        let end = start.saturating_add(steps).min(SLOTS);
        let pages = canvas.pages.as_mut();
        if let Some(slots) = pages
            .get_mut(level)
            .and_then(|page| page.get_mut(start..end))
        {
            slots.fill(class);
        }
        if let Some(made) = canvas.pages_made.get_mut(level) {
            made.extend(start, end);
        }
        let painted = self.advance(end.wrapping_sub(start), level);
        let mut level = level;
        while level < K::LEVELS && painted.ends(level + 1) {
            self.seal_page(level, painted)?;
            level += 1;
        }
        self.seal_row_at(painted)
    }

    /// Fills places of the row with one class.
    fn paint_places(&mut self, steps: usize, class: u32) -> Result<(), FibError> {
        let start = self.canvas.next.top() % PLACES;
        let end = start.saturating_add(steps).min(PLACES);
        let count = end.wrapping_sub(start);
        let answer = if K::PAGE_ON_TOP {
            self.page_of_one(class, count)?.bits()
        } else {
            class
        };
        if let Some(places) = self.canvas.row.0.get_mut(start..end) {
            places.fill(answer);
        }
        self.canvas.row_made.extend(start, end);
        let painted = self.advance(count, K::LEVELS);
        self.seal_row_at(painted)
    }

    /// The page of one class, referred to that many times.
    fn page_of_one(&mut self, class: u32, references: usize) -> Result<Block, FibError> {
        let level = K::LEVELS - 1;
        let format = format_at::<K>(self.format, level);
        let Some(slots) = self.canvas.pages.as_mut().get_mut(level) else {
            return Err(FibError::OutOfMemory);
        };
        slots.fill(class);
        let slots = &*slots;
        self.store.with(|held| {
            let page = held.page(format, slots)?;
            held.refer(page, (references as u32).wrapping_sub(1));
            Ok(page)
        })
    }

    /// Goes on behind what was painted, and returns its last address.
    fn advance(&mut self, steps: usize, level: usize) -> K {
        let canvas = &mut *self.canvas;
        match canvas.next.step(steps, level) {
            Some(next) => {
                canvas.done = next > canvas.last;
                canvas.next = next;
                next.before()
            }
            None => {
                canvas.done = true;
                canvas.last
            }
        }
    }

    /// Makes a page of a level's slots, and the answer above of it; `at` is one of
    /// its addresses.
    fn seal_page(&mut self, level: usize, at: K) -> Result<(), FibError> {
        let Some(slots) = self.canvas.pages.as_ref().get(level) else {
            return Ok(());
        };
        let first = slots[0];
        let has_page = is_number(first)
            || (K::PAGE_ON_TOP && level + 1 == K::LEVELS)
            || slots.iter().any(|&slot| slot != first);
        let answer = if has_page {
            let format = format_at::<K>(self.format, level);
            self.store.with(|held| held.page(format, slots))?.bits()
        } else {
            first
        };
        self.give_up_pages(level);
        let canvas = &mut *self.canvas;
        if level + 1 == K::LEVELS {
            let place = at.top() % PLACES;
            canvas.row.0[place] = answer;
            canvas.row_made.extend(place, place + 1);
            return Ok(());
        }
        let slot = at.byte(level + 1) as usize & 0xff;
        if let Some(above) = canvas.pages.as_mut().get_mut(level + 1) {
            above[slot] = answer;
        }
        if let Some(made) = canvas.pages_made.get_mut(level + 1) {
            made.extend(slot, slot + 1);
        }
        Ok(())
    }

    /// Makes a row, if the painting has come to the end of one, all of whose places
    /// are the sweep's own. Of a part of a row the table makes one.
    fn seal_row_at(&mut self, painted: K) -> Result<(), FibError> {
        let ends = painted.ends(K::LEVELS) && painted.top() % PLACES == PLACES - 1;
        let Some(rows) = self.rows.as_mut().filter(|_| ends) else {
            return Ok(());
        };
        let row = &self.canvas.row;
        let row = self.store.with(|held| held.row(row))?;
        self.canvas.row_made = Made::default();
        let at = painted.top() / PLACES % ROWS;
        rows[at] = row.bits();
        self.canvas.rows_made.extend(at, at + 1);
        Ok(())
    }

    /// Gives up the pages that a level's slots refer to.
    fn give_up_pages(&mut self, level: usize) {
        let canvas = &mut *self.canvas;
        let made = canvas.pages_made.get_mut(level).map(Made::take);
        let slots: Option<&Slots> = canvas.pages.as_ref().get(level);
        let slots = slots.zip(made).and_then(|(slots, made)| slots.get(made));
        self.store.release_all(slots.unwrap_or(&[]));
    }
}

/// The level of whose slots a prefix takes one or more, but not all; `LEVELS` or more
/// if it takes whole places of a row.
fn lowest_level<K: Key>(plen: u8) -> usize {
    usize::from(K::BITS.saturating_sub(plen) / 8)
}

impl<K: Key, M: Memory, G: Grace, L: Lock> Drop for Sweep<'_, K, M, G, L> {
    /// Gives back what was not taken.
    fn drop(&mut self) {
        for level in 0..K::LEVELS {
            self.give_up_pages(level);
        }
        let places = self.canvas.row_made.take();
        let places = self.canvas.row.0.get(places).unwrap_or(&[]);
        self.store.release_all(places);
        let is_left = !places.is_empty();
        let made = self.canvas.rows_made.take();
        if let Some(rows) = &self.rows {
            for row in rows.get(made).unwrap_or(&[]) {
                self.store.release_all(core::slice::from_ref(row));
            }
        }
        if self.rows.is_some() || is_left {
            self.store.reclaim();
        }
    }
}
