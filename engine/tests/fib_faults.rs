// SPDX-License-Identifier: BSD-2-Clause
//! The trie when memory fails, and its retirement when grace periods come late.

use std::sync::{Arc, Mutex};
use weft_engine::fib::{AfterGrace, FibError, Grace, Leave, Period, Trie4};
use weft_engine::sim::epoch::{HostEpoch, settle};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::{Naive, edges, mask};

/// A grace period elapses when the test says so.
#[derive(Clone, Default)]
struct ByHand {
    running: Arc<Mutex<Option<Period>>>,
}

/// No one can be in a read section of this kind.
enum Never {}

// SAFETY: there are no sections.
unsafe impl Grace for ByHand {
    type Section<'s> = Never;

    fn start(&self, period: Period) {
        let before = self.running.lock().unwrap().replace(period);
        assert!(before.is_none(), "a second period beside a running one");
    }
}

impl ByHand {
    fn runs(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    fn elapse(&self) -> AfterGrace {
        self.running
            .lock()
            .unwrap()
            .take()
            .expect("no period runs")
            .elapsed()
    }
}

fn by_hand() -> (Trie4<HostMemory, ByHand>, HostMemory, ByHand) {
    let (memory, grace) = (HostMemory::default(), ByHand::default());
    (
        Trie4::new(memory.clone(), grace.clone()).unwrap(),
        memory,
        grace,
    )
}

/// Pseudo-random prefixes of all lengths, many of them nested.
fn prefixes(count: u32) -> impl Iterator<Item = (u32, u8, u32)> {
    (0..count).map(|i| {
        let bits = u64::from(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let len = (bits >> 32) as u8 % 33;
        let spread = if i % 3 == 0 {
            bits as u32
        } else {
            (bits as u32) & 0x0f0f_00ff
        };
        (spread & mask(len), len, i % 7 + 1)
    })
}

fn assert_same<G: Grace>(table: &Trie4<HostMemory, G>, naive: &Naive) {
    let mut walked = Naive::default();
    table.for_each(|prefix, len, class| assert_eq!(walked.insert(prefix, len, class), None));
    assert_eq!(&walked, naive);
}

/// Inserts, with retries; returns how often memory failed.
fn fill(table: &mut Trie4<HostMemory, HostEpoch>, naive: &mut Naive, count: u32) -> usize {
    let mut failures = 0;
    for (prefix, len, class) in prefixes(count) {
        let generation = table.figures().generation;
        let mut result = table.insert(prefix, len, class);
        if result == Err(FibError::OutOfMemory) {
            failures += 1;
            assert_same(table, naive);
            assert_eq!(table.figures().generation, generation);
            for key in edges(prefix, len) {
                assert_eq!(table.lookup(key), naive.lookup(key));
            }
            result = table.insert(prefix, len, class);
        }
        assert_eq!(result, Ok(naive.insert(prefix, len, class)));
    }
    failures
}

#[test]
fn each_allocation_may_fail() {
    const COUNT: u32 = 3000;
    let memory = HostMemory::default();
    let mut table = Trie4::new(memory.clone(), HostEpoch).unwrap();
    assert_eq!(fill(&mut table, &mut Naive::default(), COUNT), 0);
    settle(&mut table);
    drop(table);
    let calls = memory.calls();
    assert!(calls > 5, "too few slabs to tell anything: {calls}");

    let first = HostMemory::default();
    first.fail_after(1);
    assert_eq!(
        Trie4::new(first.clone(), HostEpoch).err(),
        Some(FibError::OutOfMemory)
    );
    assert_eq!(first.bytes(), 0);

    for k in 1..calls {
        let memory = HostMemory::default();
        let mut table = Trie4::new(memory.clone(), HostEpoch).unwrap();
        let mut naive = Naive::default();
        memory.fail_after(k);
        assert_eq!(
            fill(&mut table, &mut naive, COUNT),
            1,
            "allocation {k} of {calls}"
        );
        assert_same(&table, &naive);
        settle(&mut table);
        drop(table);
        assert_eq!(memory.bytes(), 0, "allocation {k} of {calls}");
    }
}

/// A split needs two nodes. Fills the first slab but for one node or none, then
/// lets the next allocation fail at the second or the first of them.
#[test]
fn a_split_that_gets_one_node_of_two_gives_it_back() {
    for nodes_left in [0usize, 1] {
        let (mut table, memory, _) = by_hand();
        let mut naive = Naive::default();
        let mut insert = |table: &mut Trie4<_, _>, prefix, len| {
            let result = table.insert(prefix, len, 1);
            if result.is_ok() {
                naive.insert(prefix, len, 1);
            }
            (result, naive.clone())
        };
        // Leaves side by side: each but the first needs glue. The slab's 101
        // nodes are then all used; a leaf above all makes it an even number.
        if nodes_left == 1 {
            insert(&mut table, 0, 1).0.unwrap();
        }
        let calls = memory.calls();
        let mut next = 0u32;
        while table.figures().nodes + 2 + nodes_left <= 101 {
            insert(&mut table, next << 8, 24).0.unwrap();
            next += 1;
        }
        assert!(memory.calls() <= calls + 1);
        assert_eq!(table.figures().nodes, 101 - nodes_left);
        memory.fail_after(1);
        let (result, naive) = insert(&mut table, next << 8, 24);
        assert_eq!(result, Err(FibError::OutOfMemory));
        assert_eq!(table.figures().free, nodes_left);
        assert_eq!(table.figures().nodes, 101 - nodes_left);
        assert_same(&table, &naive);
        drop(table);
        assert_eq!(memory.bytes(), 0);
    }
}

#[test]
fn nothing_is_reused_before_its_period_has_elapsed() {
    let (mut table, memory, grace) = by_hand();
    table.insert(0x0a00_0000, 8, 1).unwrap();
    table.insert(0x0a01_0000, 16, 2).unwrap();
    assert!(!grace.runs());

    table.remove(0x0a01_0000, 16).unwrap();
    assert!(grace.runs());
    table.insert(0x0b00_0000, 8, 3).unwrap();
    table.remove(0x0b00_0000, 8).unwrap();
    // The first node waits for the running period, the second leaf and its glue
    // for the next.
    let figures = table.figures();
    assert_eq!((figures.nodes, figures.pending, figures.free), (1, 3, 0));

    assert_eq!(grace.elapse(), AfterGrace::Live);
    assert_eq!(
        table.figures(),
        figures,
        "the callback itself changes nothing"
    );
    table.reclaim();
    assert!(grace.runs());
    let figures = table.figures();
    assert_eq!((figures.nodes, figures.pending, figures.free), (1, 2, 1));

    table.insert(0x0a02_0000, 16, 4).unwrap();
    assert_eq!(table.figures().free, 0);
    assert_eq!(grace.elapse(), AfterGrace::Live);
    table.reclaim();
    assert!(!grace.runs());
    let figures = table.figures();
    assert_eq!((figures.nodes, figures.pending, figures.free), (2, 0, 2));
    drop(table);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn a_flapping_prefix_uses_the_same_nodes_again() {
    let (mut table, _, grace) = by_hand();
    table.insert(0x0a00_0000, 8, 1).unwrap();
    let bytes = |flaps: u32, table: &mut Trie4<_, _>| {
        for flap in 0..flaps {
            table.insert(0x0a01_0000, 16, 2).unwrap();
            table.remove(0x0a01_0000, 16).unwrap();
            if flap % 10 == 9 {
                assert_eq!(grace.elapse(), AfterGrace::Live);
            }
        }
        table.figures().bytes
    };
    let few = bytes(20, &mut table);
    assert_eq!(bytes(10_000, &mut table), few);
    assert_eq!(table.figures().generation, 1 + 2 * 10_020);
}

#[test]
fn who_comes_last_drops_an_abandoned_table() {
    let (mut table, memory, grace) = by_hand();
    assert_eq!(table.abandon(), Leave::Now);
    table.insert(0, 1, 1).unwrap();
    table.remove(0, 1).unwrap();
    assert_eq!(table.abandon(), Leave::WithPeriod);
    assert_eq!(table.abandon(), Leave::WithPeriod);
    assert_eq!(grace.elapse(), AfterGrace::Abandoned);
    drop(table);
    assert_eq!(memory.bytes(), 0);

    let (mut table, memory, grace) = by_hand();
    table.insert(0, 1, 1).unwrap();
    table.remove(0, 1).unwrap();
    assert_eq!(grace.elapse(), AfterGrace::Live);
    assert_eq!(table.abandon(), Leave::Now);
    drop(table);
    assert_eq!(memory.bytes(), 0);
    assert_eq!(Arc::strong_count(&grace.running), 1);
}

#[test]
fn a_table_dropped_under_a_period_keeps_its_memory() {
    let (mut table, memory, grace) = by_hand();
    table.insert(0, 1, 1).unwrap();
    table.remove(0, 1).unwrap();
    let bytes = table.figures().bytes;
    drop(table);
    assert_eq!(memory.bytes(), bytes, "a leak is the lesser evil");
    assert_eq!(
        Arc::strong_count(&grace.running),
        2,
        "so it is for what the platform needs"
    );
    assert_eq!(grace.elapse(), AfterGrace::Live);
}

#[test]
fn a_period_survives_a_trip_through_c() {
    let (mut table, _, grace) = by_hand();
    table.insert(0, 1, 1).unwrap();
    table.remove(0, 1).unwrap();
    let raw = grace.running.lock().unwrap().take().unwrap().into_raw();
    // SAFETY: from `into_raw` above, once.
    assert_eq!(unsafe { Period::from_raw(raw) }.elapsed(), AfterGrace::Live);
    table.reclaim();
    assert_eq!(table.figures().free, 1);
}
