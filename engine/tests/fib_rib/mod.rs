// SPDX-License-Identifier: BSD-2-Clause
//! A routing information base for tests: the naive reference, which also says what
//! a table of its routes must answer. For either family, of IPv4 where nothing is said.

#![allow(dead_code, unused_imports)]

use std::sync::{Arc, Mutex};
use weft_engine::fib::{FibError, Grace, Key, Lock, Memory, Period, Routes, Table as AnyTable};
use weft_engine::sim::epoch::Section;
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::Naive;
use weft_engine::sim::store::HostTable;
pub(crate) use weft_engine::sim::store::{HostStore, settle};

pub(crate) type Table<'s, K = u32> = HostTable<'s, K>;

/// The routes, and in which order those of one address are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rib<K = u32> {
    pub(crate) naive: Naive<K>,
    /// As the kernel's radix tree shows them; else the shorter first.
    pub(crate) longer_first: bool,
}

impl<K: Key> Rib<K> {
    /// Shows routes from `first` to `last`, those of one address in their order.
    fn show(&self, first: K, last: K, visit: &mut dyn FnMut(K, u8, u32) -> bool) {
        let mut routes: Vec<_> = self
            .naive
            .routes
            .range((first, 0)..=(last, K::BITS))
            .map(|(&(prefix, plen), &class)| (prefix, plen, class))
            .collect();
        if self.longer_first {
            routes.sort_by_key(|&(prefix, plen, _)| (prefix, K::BITS - plen));
        }
        for (prefix, plen, class) in routes {
            if !visit(prefix, plen, class) {
                break;
            }
        }
    }

    /// Tells the table all routes.
    pub(crate) fn dump<M: Memory, G: Grace, L: Lock>(
        &self,
        table: &mut AnyTable<'_, K, M, G, L>,
    ) -> Result<(), FibError> {
        let mut outcome = Ok(());
        let (first, last) = (K::default(), K::default().last(0));
        self.show(first, last, &mut |prefix, plen, class| {
            outcome = table.route(prefix, plen, class);
            outcome.is_ok()
        });
        outcome?;
        table.end()
    }

    /// Sets a route's class, or removes it for 0, here and then in the table.
    pub(crate) fn change<M: Memory, G: Grace, L: Lock>(
        &mut self,
        table: &mut AnyTable<'_, K, M, G, L>,
        (prefix, plen, class): (K, u8, u32),
    ) -> Result<(), FibError> {
        self.set(prefix, plen, class);
        table.update(prefix, plen, self)
    }

    pub(crate) fn set(&mut self, prefix: K, plen: u8, class: u32) {
        if class == 0 {
            self.naive.remove(prefix, plen);
        } else {
            self.naive.insert(prefix, plen, class);
        }
    }
}

impl<K: Key> Routes<K> for Rib<K> {
    fn count(&self) -> usize {
        self.naive.routes.len()
    }

    /// With some that are outside, as a radix tree's walk begins and ends there.
    fn inside(&self, prefix: K, plen: u8, visit: &mut dyn FnMut(K, u8, u32) -> bool) {
        let all = K::default().last(0).bits();
        let first = prefix.bits().saturating_sub(3);
        let last = prefix.last(plen).bits().saturating_add(3).min(all);
        self.show(K::from_bits(first), K::from_bits(last), visit);
    }

    fn around(&self, prefix: K, plen: u8) -> Option<(u8, u32)> {
        self.naive.route_of(prefix, plen.checked_sub(1)?)
    }
}

pub(crate) fn store() -> (HostStore, HostMemory) {
    let memory = HostMemory::default();
    let store = weft_engine::sim::store::store(memory.clone()).unwrap();
    (store, memory)
}

/// The same answer by all ways of looking up.
pub(crate) fn answer<K: Key>(table: &Table<'_, K>, dst: K) -> u32 {
    answer_in(table, &Section::enter(), dst)
}

/// The same in a section of any kind.
pub(crate) fn answer_in<K: Key, M: Memory, G: Grace, L: Lock>(
    table: &AnyTable<'_, K, M, G, L>,
    section: &G::Section<'_>,
    dst: K,
) -> u32 {
    let reader = table.reader();
    let class = table.lookup(dst);
    assert_eq!(reader.lookup(section, dst), class);
    let specific = reader.lookup_specific(section, dst);
    let default = reader.default_class();
    assert_eq!(class, if specific == 0 { default } else { specific });
    // As many as to go from one round of a batch to the next.
    let mut classes = [0; 17];
    reader.lookup_batch(section, &[dst; 17], &mut classes);
    assert_eq!(classes, [specific; 17]);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the CPU has it.
        unsafe {
            assert_eq!(reader.lookup_popcnt(section, dst), class);
            assert_eq!(reader.lookup_specific_popcnt(section, dst), specific);
            reader.lookup_batch_popcnt(section, &[dst; 17], &mut classes);
        }
        assert_eq!(classes, [specific; 17]);
    }
    class
}

/// Grace periods that elapse when the test says so. Nobody looks up while a step of
/// the test runs, so that a section is nothing.
#[derive(Clone, Default)]
pub(crate) struct ByHand {
    pub(crate) running: Arc<Mutex<Option<Period>>>,
}

// SAFETY: what runs at the start of a period, in the thread of the test, is a change
// or no lookup at all.
unsafe impl Grace for ByHand {
    type Section<'s> = ();

    fn start(&self, period: Period) {
        let before = self.running.lock().unwrap().replace(period);
        assert!(before.is_none(), "a second period beside a running one");
    }
}

impl ByHand {
    pub(crate) fn runs(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    pub(crate) fn elapse(&self) {
        let period = self.running.lock().unwrap().take();
        period.expect("no period runs").elapsed();
    }
}
