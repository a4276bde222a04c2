// SPDX-License-Identifier: BSD-2-Clause
//! What a routing table should say, computed in the plainest way: try each
//! length from 32 down in a sorted map. The reference that tests compare with.

use std::collections::BTreeMap;

/// A table of (prefix, length) to class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Naive {
    /// The class of each prefix, sorted by prefix, the shorter first.
    pub routes: BTreeMap<(u32, u8), u32>,
}

/// A mask of the first `len` bits, 0 to 32.
pub fn mask(len: u8) -> u32 {
    (u64::from(u32::MAX) << (32 - len)) as u32
}

impl Naive {
    /// Sets the class of a prefix and returns the one it had.
    pub fn insert(&mut self, prefix: u32, len: u8, class: u32) -> Option<u32> {
        self.routes.insert((prefix, len), class)
    }

    /// Removes a prefix and returns the class it had.
    pub fn remove(&mut self, prefix: u32, len: u8) -> Option<u32> {
        self.routes.remove(&(prefix, len))
    }

    /// The class of the longest prefix that covers `dst`, or 0.
    pub fn lookup(&self, dst: u32) -> u32 {
        (0..=32)
            .rev()
            .find_map(|len| self.routes.get(&(dst & mask(len), len)).copied())
            .unwrap_or(0)
    }
}

/// The addresses at which the answer for a prefix may be wrong: its first and
/// last, and those before and after them.
pub fn edges(prefix: u32, len: u8) -> [u32; 6] {
    let last = prefix | !mask(len);
    [
        prefix.wrapping_sub(1),
        prefix,
        prefix.wrapping_add(1),
        last.wrapping_sub(1),
        last,
        last.wrapping_add(1),
    ]
}
