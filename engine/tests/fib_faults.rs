// SPDX-License-Identifier: BSD-2-Clause
//! Tables of a store when memory fails, and the retirement of what they share when
//! grace periods come late.

mod fib_rib;

use fib_rib::{ByHand, Rib, Table, answer, settle, store};
use std::sync::{Arc, Mutex};
use weft_engine::fib::{FibError, Key, Period, Store, Table4};
use weft_engine::sim::epoch::HostEpoch;
use weft_engine::sim::memory::HostMemory;

/// Routes of all lengths, many of them nested; of IPv4 one in five is longer than /24.
fn routes<K: Key>(count: u32) -> impl Iterator<Item = (K, u8, u32)> {
    (0..count).map(|i| {
        let bits = u64::from(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let len = (bits >> 32) as u8 % (K::BITS + 1);
        let wide = u128::from(bits) * (1 + (1 << 64));
        let spread = if i % 3 == 0 {
            wide
        } else {
            wide & 0x0f0f_00ff_0f0f_00ff_0f0f_00ff_0f0f_00ff
        };
        (K::from_bits(spread).network(len), len, i % 7 + 1)
    })
}

/// What a table answers wherever one of those routes begins.
fn answers<K: Key>(table: &Table<'_, K>, count: u32) -> Vec<u32> {
    routes(count)
        .map(|(prefix, ..)| answer(table, prefix))
        .collect()
}

const COUNT: u32 = 400;

#[test]
fn each_allocation_of_a_dump_may_fail() {
    fail_each_of_a_dump::<u32>();
    fail_each_of_a_dump::<u128>();
}

fn fail_each_of_a_dump<K: Key>() {
    let rib = {
        let mut rib = Rib::<K>::default();
        routes(COUNT).for_each(|(prefix, plen, class)| rib.set(prefix, plen, class));
        rib
    };
    let calls = {
        let (store, memory) = store();
        rib.dump(&mut Table::new(&store).unwrap()).unwrap();
        memory.calls()
    };
    assert!(calls > 10, "too few to tell anything: {calls}");
    for k in 1..=calls {
        let memory = HostMemory::default();
        memory.fail_after(k);
        let Ok(store) = Store::new(memory.clone(), HostEpoch, Mutex::new(()), 1) else {
            assert_eq!(memory.bytes(), 0);
            continue;
        };
        // Hash chains may grow longer instead of failing: then all goes well.
        if let Ok(mut table) = Table::new(&store) {
            if rib.dump(&mut table).is_err() {
                assert_eq!(table.figures().generation, 0, "allocation {k}");
                assert!(answers(&table, COUNT).iter().all(|&class| class == 0));
                rib.dump(&mut table).unwrap();
            }
            for (prefix, ..) in routes(COUNT) {
                assert_eq!(answer(&table, prefix), rib.naive.lookup(prefix), "{k}");
            }
        }
        settle(&store);
        assert_eq!(store.figures().used, 0, "allocation {k}");
        drop(store);
        assert_eq!(memory.bytes(), 0, "allocation {k}");
    }
}

/// Each change is tried with its first allocation failing, its second and so on,
/// until it succeeds; before that the table and the store are as they were.
#[test]
fn each_allocation_of_a_change_may_fail() {
    fail_each_of_a_change::<u32>();
    fail_each_of_a_change::<u128>();
}

fn fail_each_of_a_change<K: Key>() {
    let (store, memory) = store();
    let mut table: Table<'_, K> = Table::new(&store).unwrap();
    memory.fail_after(1);
    assert_eq!(table.flatten(), Err(FibError::OutOfMemory));
    table.flatten().unwrap();
    let mut rib = Rib::default();
    let mut failures = 0;
    let additions = routes::<K>(COUNT);
    let removals = routes(COUNT).map(|(prefix, plen, _)| (prefix, plen, 0));
    for (turn, (prefix, plen, class)) in additions.chain(removals).enumerate() {
        rib.set(prefix, plen, class);
        let sampled = turn % 7 == 0;
        let before = sampled.then(|| answers(&table, COUNT));
        let (generation, pages) = (table.figures().generation, store.figures().pages);
        let mut k = 1;
        loop {
            memory.fail_after(k);
            let result = table.update(prefix, plen, &rib);
            memory.fail_after(0);
            if result.is_ok() {
                break;
            }
            assert_eq!(result, Err(FibError::OutOfMemory));
            assert_eq!(table.figures().generation, generation);
            assert_eq!(store.figures().pages, pages, "allocation {k}");
            if let Some(before) = &before {
                assert_eq!(&answers(&table, COUNT), before);
            }
            failures += 1;
            k += 1;
        }
        assert_eq!(answer(&table, prefix), rib.naive.lookup(prefix));
    }
    assert!(failures > COUNT, "{failures}");
    drop(table);
    settle(&store);
    drop(store);
    assert_eq!(memory.bytes(), 0);
}

type ByHandStore = Store<HostMemory, ByHand, Mutex<()>>;

fn by_hand() -> (ByHandStore, HostMemory, ByHand) {
    let (memory, grace) = (HostMemory::default(), ByHand::default());
    let store = Store::new(memory.clone(), grace.clone(), Mutex::new(()), 1).unwrap();
    (store, memory, grace)
}

fn change(
    table: &mut Table4<'_, HostMemory, ByHand, Mutex<()>>,
    rib: &mut Rib,
    route: (u32, u8, u32),
) {
    rib.set(route.0, route.1, route.2);
    table.update(route.0, route.1, rib).unwrap();
}

#[test]
fn nothing_is_reused_before_its_period_has_elapsed() {
    let (store, memory, grace) = by_hand();
    let mut rib = Rib::default();
    let mut table = Table4::new(&store).unwrap();
    // Each change takes one page out: the first, the row as well.
    for class in 1..=10 {
        change(&mut table, &mut rib, (0x0a00_0100, 24, class));
    }
    let figures = store.figures();
    assert_eq!(figures.pending, 9, "the pages of classes 1 to 9");
    let used = figures.used;
    // The period began with the first page that waited; the others came later.
    grace.elapse();
    assert_eq!(
        store.figures(),
        figures,
        "the callback itself changes nothing"
    );
    store.reclaim();
    assert_eq!(store.figures().pending, 8);
    grace.elapse();
    store.reclaim();
    assert_eq!(store.figures().pending, 0);
    assert!(store.figures().used < used);
    drop(table);
    grace.elapse();
    store.reclaim();
    let figures = store.figures();
    assert_eq!((figures.pending, figures.used), (0, 0));
    drop(store);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn a_flapping_route_uses_the_same_lines_again() {
    let (store, _, grace) = by_hand();
    let mut rib = Rib::default();
    let mut table = Table4::new(&store).unwrap();
    change(&mut table, &mut rib, (0x0a00_0000, 8, 1));
    let mut bytes = |flaps: u32| {
        for flap in 0..flaps {
            change(&mut table, &mut rib, (0x0a01_0000, 20, 2));
            change(&mut table, &mut rib, (0x0a01_0000, 20, 0));
            if flap % 10 == 9 {
                grace.elapse();
            }
        }
        store.figures().bytes
    };
    let few = bytes(100);
    assert_eq!(bytes(10_000), few);
}

/// The row that one table leaves may be read by its readers while another table,
/// which had the same one, keeps it: that one must not store to it then.
#[test]
fn a_row_that_was_shared_is_not_stored_to() {
    let (store, _, grace) = by_hand();
    let mut ribs = [Rib::default(), Rib::default()];
    let mut tables = [Table4::new(&store).unwrap(), Table4::new(&store).unwrap()];
    for (table, rib) in tables.iter_mut().zip(&mut ribs) {
        change(table, rib, (0x0a01_0000, 16, 1));
    }
    let rows = store.figures().rows;
    change(&mut tables[0], &mut ribs[0], (0x0a02_0000, 16, 2));
    assert_eq!(store.figures().rows, rows + 1, "the first has its own now");
    let pending = store.figures().pending;
    change(&mut tables[1], &mut ribs[1], (0x0a03_0000, 16, 3));
    assert_eq!(store.figures().rows, rows + 1, "and so has the second");
    assert_eq!(
        store.figures().pending,
        pending + 1,
        "the row that both had is kept for the readers of both"
    );
    // From now on its own row is changed where it is.
    change(&mut tables[1], &mut ribs[1], (0x0a04_0000, 16, 3));
    assert_eq!(store.figures().pending, pending + 1);
    grace.elapse();
}

#[test]
fn a_store_dropped_under_a_period_keeps_its_memory() {
    let (store, memory, grace) = by_hand();
    drop(Table4::new(&store).unwrap());
    let bytes = store.figures().bytes;
    drop(store);
    assert_eq!(memory.bytes(), bytes, "a leak is the lesser evil");
    assert_eq!(
        Arc::strong_count(&grace.running),
        2,
        "so it is for what the platform needs"
    );
    grace.elapse();
}

/// As C carries it in a callback.
#[test]
fn a_period_survives_a_trip_as_a_pointer() {
    let (store, _, grace) = by_hand();
    drop(Table4::new(&store).unwrap());
    let pending = store.figures().pending;
    let period = grace.running.lock().unwrap().take();
    let raw = period.expect("no period runs").into_raw();
    store.reclaim();
    assert_eq!(store.figures().pending, pending, "it has not elapsed");
    // SAFETY: from `into_raw` above, once.
    unsafe { Period::from_raw(raw) }.elapsed();
    store.reclaim();
    assert!(store.figures().pending < pending);
    if grace.runs() {
        grace.elapse();
    }
}
