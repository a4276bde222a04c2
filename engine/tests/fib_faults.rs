// SPDX-License-Identifier: BSD-2-Clause
//! A grace period as a pointer: what a callback in C carries.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use weft_engine::fib::{Grace, Period, Store, Table4};
use weft_engine::sim::memory::HostMemory;

/// A grace period that the test ends, kept as C would keep it.
#[derive(Clone, Default)]
struct Carried(Arc<Mutex<Option<NonNull<()>>>>);

// SAFETY: no section is ever made.
unsafe impl Grace for Carried {
    type Section<'s> = std::convert::Infallible;

    fn start(&self, period: Period) {
        let before = self.0.lock().unwrap().replace(period.into_raw());
        assert!(before.is_none(), "a second period beside a running one");
    }
}

#[test]
fn a_period_survives_a_trip_through_c() {
    let (memory, grace) = (HostMemory::default(), Carried::default());
    let store = Store::new(memory.clone(), grace.clone(), Mutex::new(()), 1).unwrap();
    drop(Table4::new(&store).unwrap());
    let pending = store.figures().pending;
    assert!(pending > 0);
    let raw = grace.0.lock().unwrap().take().expect("no period runs");
    store.reclaim();
    assert_eq!(store.figures().pending, pending, "it has not elapsed");
    // SAFETY: from `into_raw` above, once.
    unsafe { Period::from_raw(raw) }.elapsed();
    store.reclaim();
    // What was retired after the period began waits for the next.
    while let Some(raw) = grace.0.lock().unwrap().take() {
        // SAFETY: as above.
        unsafe { Period::from_raw(raw) }.elapsed();
        store.reclaim();
    }
    assert_eq!(store.figures().pending, 0);
    drop(store);
    assert_eq!(memory.bytes(), 0);
}
