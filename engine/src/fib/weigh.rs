// SPDX-License-Identifier: BSD-2-Clause
//! What a table's pages and rows weigh: those that are its own, and its part of those
//! that it shares.
//!
//! A block to which `n` places refer counts for one `n`-th at each of them, so that
//! the parts of all tables of a store add up to what the store holds.

use super::grace::{Grace, Lock, Memory};
use super::heap::{Block, LINE};
use super::store::{Held, Store};
use super::sweep::ROWS;
use super::table::Reader;
use core::ops::{AddAssign, Range};

/// What some of a table's rows, and the pages below them, weigh, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Of blocks to which nothing else refers.
    pub own: u64,
    /// The table's part of all others, rounded down for each.
    pub part: u64,
}

impl AddAssign for Weight {
    fn add_assign(&mut self, other: Self) {
        self.own = self.own.saturating_add(other.own);
        self.part = self.part.saturating_add(other.part);
    }
}

/// One, as a part: fractions are of 32 bits.
const WHOLE: u64 = 1 << 32;

impl<M: Memory, G: Grace, L: Lock> Store<M, G, L> {
    /// The rows that a table has, for [`weigh`](Store::weigh).
    pub const ROWS: usize = ROWS;

    /// Weighs some rows of a table of this store, one after the other: takes the lock
    /// for each, for some microseconds, and does not sleep. Beside a running change the
    /// sums are of neighbouring moments. A table of another store weighs nothing.
    pub fn weigh<K: super::Key>(&self, table: &Reader<'_, K, G>, rows: Range<usize>) -> Weight {
        let mut sum = Weight::default();
        let rows = rows.start..rows.end.min(ROWS);
        if !table.is_of(self.origin()) {
            return sum;
        }
        let mut at = rows.start;
        while at < rows.end {
            let run = self.with(|held| {
                // Under the lock, so that the table refers to the row until its end.
                let row = table.row(at);
                let alike = (at..rows.end).take_while(|&other| table.row(other) == row);
                let run = alike.count().max(1);
                let part = WHOLE.saturating_mul(run as u64);
                held.weigh(row, part, run == 1, &mut sum);
                run
            });
            at = at.saturating_add(run);
        }
        sum
    }
}

impl<M: Memory, G: Grace> Held<'_, M, G> {
    /// Adds a block and all below it. It is referred to once for each whole of `part`,
    /// and `alone` if nobody else can reach who refers to it.
    fn weigh(&mut self, block: Block, part: u64, alone: bool, sum: &mut Weight) {
        let tag = self.tag(block);
        let bytes = (tag.count() * LINE) as u64;
        let part = part.checked_div(u64::from(tag.refs)).unwrap_or(0);
        let alone = alone && tag.refs == 1;
        if alone {
            sum.own = sum.own.saturating_add(bytes);
        } else {
            let bytes = bytes.saturating_mul(part) / WHOLE;
            sum.part = sum.part.saturating_add(bytes);
        }
        // No deeper than a table has levels.
        self.for_each_child(block, |held, child| held.weigh(child, part, alone, sum));
    }
}
