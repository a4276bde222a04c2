// SPDX-License-Identifier: BSD-2-Clause
//! The heads of a hash table's chains, one more at a time.
//!
//! Linear hashing (Litwin, "Linear hashing: a new tool for file and table
//! addressing", VLDB 1980): the table grows by splitting one chain for each entry
//! that comes in, so that no insertion ever waits for all others to be moved. The
//! heads are in segments, each as large as all before it, which never move. If
//! there is no memory for the next segment the chains grow longer, and that is all.

use super::grace::Memory;
use super::heap::Block;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Heads of the first segment: 2 to the power of this.
const FIRST_BITS: u32 = 6;
/// Segments: enough for 2^31 heads.
const SEGMENTS: usize = 26;

/// The heads. All bytes may be 0: none. Each is the name of the first block of a chain; the links are the
/// blocks' own.
///
/// # Invariants
///
/// Heads below `count` are initialised, and in segments that are there.
pub(super) struct Buckets {
    segments: [*mut u32; SEGMENTS],
    count: u32,
}

/// What to do after [`Buckets::widen`] made room.
pub(super) struct Split {
    /// The head whose chain is to be divided.
    pub(super) from: u32,
    /// The new head, of an empty chain.
    pub(super) to: u32,
}

impl Buckets {
    #[cfg(test)]
    const fn new() -> Self {
        Self {
            segments: [ptr::null_mut(); SEGMENTS],
            count: 0,
        }
    }

    /// How many heads there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The number of the head whose chain an entry of that hash belongs to. There
    /// must be heads.
    pub(super) fn index(&self, hash: u32) -> u32 {
        let wide = self.count.next_power_of_two();
        let index = hash & wide.wrapping_sub(1);
        if index < self.count {
            index
        } else {
            hash & (wide >> 1).wrapping_sub(1)
        }
    }

    /// The first block of a chain.
    pub(super) fn head(&self, index: u32) -> Option<Block> {
        if index >= self.count {
            return None;
        }
        let (segment, at) = place(index);
        let heads = self
            .segments
            .get(segment)
            .copied()
            .unwrap_or(ptr::null_mut());
        // SAFETY: initialised, by the invariant.
        Block::named(unsafe { *heads.add(at) })
    }

    /// Puts a block at the head of a chain, or empties it.
    pub(super) fn set_head(&mut self, index: u32, head: Option<Block>) {
        if index >= self.count {
            return;
        }
        let (segment, at) = place(index);
        let heads = self
            .segments
            .get(segment)
            .copied()
            .unwrap_or(ptr::null_mut());
        // SAFETY: as above.
        unsafe { *heads.add(at) = Block::name(head) };
    }

    /// Adds heads: the first ones, or one more, if there is memory. `None` if there
    /// is nothing to divide.
    pub(super) fn widen(&mut self, memory: &impl Memory) -> Option<Split> {
        if self.count >= 1 << 30 {
            return None;
        }
        let (segment, at) = place(self.count);
        if at == 0 {
            let size = segment_len(segment);
            let layout = Layout::array::<u32>(size).ok()?;
            let place = self.segments.get_mut(segment)?;
            *place = memory.allocate(layout)?.cast::<u32>().as_ptr();
        }
        let heads = self.segments.get(segment).copied()?;
        if self.count == 0 {
            for at in 0..1 << FIRST_BITS {
                // SAFETY: the first segment's own.
                unsafe { heads.add(at).write(Block::name(None)) };
            }
            self.count = 1 << FIRST_BITS;
            return None;
        }
        // SAFETY: the next head's place, in a segment that is there.
        unsafe { heads.add(at).write(Block::name(None)) };
        let to = self.count;
        self.count = to.wrapping_add(1);
        let from = to & !(1 << to.ilog2());
        Some(Split { from, to })
    }

    /// Bytes obtained from memory.
    pub(super) fn bytes(&self) -> usize {
        let there = self.segments.iter().enumerate();
        there
            .filter(|(_, heads)| !heads.is_null())
            .map(|(segment, _)| segment_len(segment).wrapping_mul(size_of::<u32>()))
            .sum()
    }

    /// Gives all memory back.
    pub(super) fn release(&mut self, memory: &impl Memory) {
        for (segment, heads) in self.segments.iter_mut().enumerate() {
            let layout = Layout::array::<u32>(segment_len(segment));
            let heads = core::mem::replace(heads, ptr::null_mut());
            if let (Some(heads), Ok(layout)) = (NonNull::new(heads), layout) {
                // SAFETY: from `widen`, with this layout.
                unsafe { memory.free(heads.cast(), layout) };
            }
        }
        self.count = 0;
    }
}

/// Where a head is: its segment, and its place in it.
fn place(index: u32) -> (usize, usize) {
    let group = index >> FIRST_BITS;
    match group.checked_ilog2() {
        None => (0, index as usize),
        Some(power) => {
            let first = 1u32 << (power + FIRST_BITS);
            (power as usize + 1, (index & !first) as usize)
        }
    }
}

/// How many heads a segment has.
fn segment_len(segment: usize) -> usize {
    1 << (FIRST_BITS as usize + segment.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::memory::HostMemory;

    #[test]
    fn each_head_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for index in 0..5000 {
            assert_eq!(place(index), next, "{index}");
            next.1 += 1;
            if next.1 == segment_len(next.0) {
                next = (next.0 + 1, 0);
            }
        }
    }

    #[test]
    fn an_entry_is_in_its_chain_or_in_the_one_that_was_divided() {
        let memory = HostMemory::default();
        let mut buckets = Buckets::new();
        let hashes: Vec<u32> = (1..500u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
        assert!(buckets.widen(&memory).is_none());
        for _ in 0..1000 {
            let before: Vec<u32> = hashes.iter().map(|&hash| buckets.index(hash)).collect();
            let split = buckets.widen(&memory).unwrap();
            for (&hash, &old) in hashes.iter().zip(&before) {
                let new = buckets.index(hash);
                assert!(new < buckets.count());
                assert!(new == old || (old == split.from && new == split.to));
            }
        }
        assert_eq!(memory.bytes(), buckets.bytes());
        buckets.release(&memory);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn without_memory_it_stays_as_it_is() {
        let memory = HostMemory::default();
        let mut buckets = Buckets::new();
        memory.fail_after(1);
        assert!(buckets.widen(&memory).is_none());
        assert_eq!((buckets.count(), buckets.head(0)), (0, None));
        buckets.widen(&memory);
        memory.fail_after(1);
        assert!(buckets.widen(&memory).is_none());
        assert_eq!(buckets.count(), 64);
        assert!(buckets.widen(&memory).is_some());
        buckets.release(&memory);
    }
}
