// SPDX-License-Identifier: BSD-2-Clause
//! A routing information base for tests: the naive reference, which also says what
//! a table of its routes must answer.

#![allow(dead_code)]

use weft_engine::fib::{FibError, Routes};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::{Naive, mask};
use weft_engine::sim::store::HostTable4;
pub(crate) use weft_engine::sim::store::{HostStore, settle};

pub(crate) type Table<'s> = HostTable4<'s>;

/// The routes, and in which order those of one address are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rib {
    pub(crate) naive: Naive,
    /// As the kernel's radix tree shows them; else the shorter first.
    pub(crate) longer_first: bool,
}

impl Rib {
    /// Shows routes from `first` to `last`, those of one address in their order.
    fn show(&self, first: u32, last: u32, visit: &mut dyn FnMut(u32, u8, u32) -> bool) {
        let mut routes: Vec<_> = self
            .naive
            .routes
            .range((first, 0)..=(last, 32))
            .map(|(&(prefix, plen), &class)| (prefix, plen, class))
            .collect();
        if self.longer_first {
            routes.sort_by_key(|&(prefix, plen, _)| (prefix, 32 - plen));
        }
        for (prefix, plen, class) in routes {
            if !visit(prefix, plen, class) {
                break;
            }
        }
    }

    /// Tells the table all routes.
    pub(crate) fn dump(&self, table: &mut Table<'_>) -> Result<(), FibError> {
        let mut outcome = Ok(());
        self.show(0, u32::MAX, &mut |prefix, plen, class| {
            outcome = table.route(prefix, plen, class);
            outcome.is_ok()
        });
        outcome?;
        table.end()
    }

    /// Sets a route's class, or removes it for 0, here and then in the table.
    pub(crate) fn change(
        &mut self,
        table: &mut Table<'_>,
        (prefix, plen, class): (u32, u8, u32),
    ) -> Result<(), FibError> {
        self.set(prefix, plen, class);
        table.update(prefix, plen, self)
    }

    pub(crate) fn set(&mut self, prefix: u32, plen: u8, class: u32) {
        if class == 0 {
            self.naive.remove(prefix, plen);
        } else {
            self.naive.insert(prefix, plen, class);
        }
    }
}

impl Routes<u32> for Rib {
    fn count(&self) -> usize {
        self.naive.routes.len()
    }

    /// With some that are outside, as a radix tree's walk begins and ends there.
    fn inside(&self, prefix: u32, plen: u8, visit: &mut dyn FnMut(u32, u8, u32) -> bool) {
        let last = prefix | !mask(plen);
        self.show(prefix.saturating_sub(3), last.saturating_add(3), visit);
    }

    fn around(&self, prefix: u32, plen: u8) -> Option<(u8, u32)> {
        (0..plen).rev().find_map(|plen| {
            let class = self.naive.routes.get(&(prefix & mask(plen), plen))?;
            Some((plen, *class))
        })
    }
}

pub(crate) fn store() -> (HostStore, HostMemory) {
    let memory = HostMemory::default();
    let store = weft_engine::sim::store::store(memory.clone()).unwrap();
    (store, memory)
}

/// The same answer by all ways of looking up.
pub(crate) fn answer(table: &Table<'_>, dst: u32) -> u32 {
    let section = weft_engine::sim::epoch::Section::enter();
    let class = table.lookup(dst);
    assert_eq!(table.reader().lookup(&section, dst), class);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the CPU has it.
        let by_popcnt = unsafe { table.reader().lookup_popcnt(&section, dst) };
        assert_eq!(by_popcnt, class);
    }
    class
}
