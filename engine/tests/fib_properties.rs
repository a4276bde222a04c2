// SPDX-License-Identifier: BSD-2-Clause
//! The trie against the naive reference, over random changes, and the accounts
//! of its nodes.

use proptest::prelude::*;
use weft_engine::fib::{FibError, Trie4};
use weft_engine::sim::epoch::{HostEpoch, Section, settle};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::{Naive, edges, mask};

type Table = Trie4<HostMemory, HostEpoch>;

fn empty() -> (Table, HostMemory) {
    let memory = HostMemory::default();
    (Table::new(memory.clone(), HostEpoch).unwrap(), memory)
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u32, u8, u32),
    Remove(u32, u8),
    /// Removes the prefix at this place of the reference, if it is not empty.
    RemoveNth(prop::sample::Index),
    /// Changes the class of the prefix at this place.
    Reclass(prop::sample::Index, u32),
    Flap(u32, u8, u32),
    Reclaim,
}

/// Prefixes that nest and neighbour one another: few addresses, each with one
/// bit flipped at times, cut to any length.
fn prefix() -> impl Strategy<Value = (u32, u8)> {
    let address = prop_oneof![
        4 => prop::sample::select(vec![0u32, u32::MAX, 0x0a01_0203, 0x0a01_0280, 0xc0a8_0001, 0x8000_0000]),
        1 => any::<u32>(),
    ];
    (address, prop::option::of(0u32..32), 0u8..=32).prop_map(|(address, flip, len)| {
        let address = address ^ flip.map_or(0, |bit| 1 << bit);
        (address & mask(len), len)
    })
}

fn change() -> impl Strategy<Value = Change> {
    let class = 1u32..6;
    prop_oneof![
        6 => (prefix(), class.clone()).prop_map(|((p, l), c)| Change::Insert(p, l, c)),
        2 => prefix().prop_map(|(p, l)| Change::Remove(p, l)),
        3 => any::<prop::sample::Index>().prop_map(Change::RemoveNth),
        1 => (any::<prop::sample::Index>(), class.clone()).prop_map(|(i, c)| Change::Reclass(i, c)),
        1 => (prefix(), class).prop_map(|((p, l), c)| Change::Flap(p, l, c)),
        1 => Just(Change::Reclaim),
    ]
}

/// Makes one change on both tables, compares what they return, and names the
/// prefix that was touched.
fn apply(table: &mut Table, naive: &mut Naive, change: Change) -> Option<(u32, u8)> {
    let nth = |index: prop::sample::Index, naive: &Naive| {
        (!naive.routes.is_empty()).then(|| {
            *naive
                .routes
                .keys()
                .nth(index.index(naive.routes.len()))
                .unwrap()
        })
    };
    let (prefix, len) = match change {
        Change::Insert(p, l, _) | Change::Remove(p, l) | Change::Flap(p, l, _) => (p, l),
        Change::RemoveNth(index) | Change::Reclass(index, _) => nth(index, naive)?,
        Change::Reclaim => {
            table.reclaim();
            return None;
        }
    };
    match change {
        Change::Insert(_, _, class) | Change::Reclass(_, class) => {
            assert_eq!(
                table.insert(prefix, len, class),
                Ok(naive.insert(prefix, len, class))
            );
        }
        Change::Flap(_, _, class) => {
            for _ in 0..3 {
                assert_eq!(
                    table.insert(prefix, len, class),
                    Ok(naive.insert(prefix, len, class))
                );
                assert_eq!(table.remove(prefix, len), Ok(naive.remove(prefix, len)));
            }
        }
        _ => assert_eq!(table.remove(prefix, len), Ok(naive.remove(prefix, len))),
    }
    assert_eq!(
        table.get(prefix, len),
        naive.routes.get(&(prefix, len)).copied()
    );
    Some((prefix, len))
}

/// Compares all answers that can differ, the walk, and the shape.
fn compare(table: &mut Table, naive: &Naive) {
    for &(prefix, len) in naive.routes.keys() {
        for key in edges(prefix, len) {
            assert_eq!(table.lookup(key), naive.lookup(key), "{key:#x}");
        }
    }
    let mut walked = Vec::new();
    table.for_each(|prefix, len, class| walked.push(((prefix, len), class)));
    assert_eq!(walked, naive.routes.clone().into_iter().collect::<Vec<_>>());
    let figures = table.figures();
    assert_eq!(figures.prefixes, naive.routes.len());
    // A path-compressed trie has one shape for a set of prefixes, however it
    // came about: no glue may be left over.
    let (mut fresh, _) = empty();
    for (&(prefix, len), &class) in naive.routes.iter().rev() {
        fresh.insert(prefix, len, class).unwrap();
    }
    assert_eq!(figures.nodes, fresh.figures().nodes);
    let reader = table.split().1;
    for &(prefix, len) in naive.routes.keys() {
        assert_eq!(
            reader.lookup(&Section::enter(), prefix),
            naive.lookup(prefix),
            "{prefix:#x}/{len}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_the_reference_does(changes in prop::collection::vec(change(), 1..200)) {
        let (mut table, memory) = empty();
        let mut naive = Naive::default();
        for change in changes {
            if let Some((prefix, len)) = apply(&mut table, &mut naive, change) {
                for key in edges(prefix, len) {
                    prop_assert_eq!(table.lookup(key), naive.lookup(key));
                }
            }
        }
        compare(&mut table, &naive);
        settle(&mut table);
        drop(table);
        prop_assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn drained_it_has_all_its_nodes_back(
        prefixes in prop::collection::vec((prefix(), 1u32..6), 1..300),
        order in any::<u64>(),
    ) {
        let (mut table, memory) = empty();
        let mut naive = Naive::default();
        for ((prefix, len), class) in prefixes {
            table.insert(prefix, len, class).unwrap();
            naive.insert(prefix, len, class);
        }
        let full = table.figures();
        let mut leaving: Vec<_> = naive.routes.into_iter().collect();
        leaving.sort_by_key(|&((prefix, len), _)| (order ^ u64::from(prefix)).wrapping_mul(0x9e37_79b9_7f4a_7c15 + u64::from(len)));
        for ((prefix, len), class) in leaving {
            prop_assert_eq!(table.remove(prefix, len), Ok(Some(class)));
        }
        let drained = table.figures();
        prop_assert_eq!((drained.prefixes, drained.nodes), (0, 0));
        prop_assert_eq!(drained.pending + drained.free, full.nodes + full.pending + full.free);
        prop_assert_eq!(drained.bytes, full.bytes);
        settle(&mut table);
        prop_assert_eq!(table.figures().free, drained.pending + drained.free);
        prop_assert_eq!(table.lookup(0x0a01_0203), 0);
        drop(table);
        prop_assert_eq!(memory.bytes(), 0);
    }
}

#[test]
fn every_length_nested_and_unnested() {
    for key in [0u32, u32::MAX, 0x5555_5555, 0x0a01_0203] {
        let (mut table, _) = empty();
        let mut naive = Naive::default();
        for len in (0..=32).rev().step_by(2).chain((0..=32).skip(1).step_by(2)) {
            let (prefix, class) = (key & mask(len), u32::from(len) + 1);
            assert_eq!(
                table.insert(prefix, len, class),
                Ok(naive.insert(prefix, len, class))
            );
            compare(&mut table, &naive);
        }
        assert_eq!(table.figures().prefixes, 33);
        for len in (0..=32)
            .step_by(3)
            .chain((0..=32).skip(1).step_by(3))
            .chain((0..=32).skip(2).step_by(3))
        {
            let prefix = key & mask(len);
            assert_eq!(table.remove(prefix, len), Ok(naive.remove(prefix, len)));
            compare(&mut table, &naive);
        }
        assert_eq!(table.figures().nodes, 0);
    }
}

#[test]
fn what_is_no_prefix_is_refused_with_its_value() {
    let (mut table, _) = empty();
    assert_eq!(table.insert(0, 33, 1), Err(FibError::PrefixLength(33)));
    assert_eq!(table.remove(0, 255), Err(FibError::PrefixLength(255)));
    assert_eq!(table.get(0, 33), None);
    let bits = FibError::HostBits {
        prefix: 0x0a00_0001,
        plen: 8,
    };
    assert_eq!(table.insert(0x0a00_0001, 8, 1), Err(bits));
    assert_eq!(table.remove(0x0a00_0001, 8), Err(bits));
    assert_eq!(
        table.insert(1, 0, 1),
        Err(FibError::HostBits { prefix: 1, plen: 0 })
    );
    assert_eq!(table.insert(0x0a00_0000, 8, 0), Err(FibError::ZeroClass));
    assert_eq!(table.figures().generation, 0);
    assert_eq!(
        bits.to_string(),
        "10.0.0.1/8 has bits set beyond its length"
    );
    assert_eq!(
        FibError::PrefixLength(33).to_string(),
        "prefix length 33, allowed are 0 to 32"
    );
}

#[test]
fn the_same_class_again_is_no_change() {
    let (mut table, _) = empty();
    assert_eq!(table.insert(0, 0, 7), Ok(None));
    assert_eq!(table.insert(0, 0, 7), Ok(Some(7)));
    assert_eq!(table.figures().generation, 1);
    assert_eq!(table.remove(0x0a00_0000, 8), Ok(None));
    assert_eq!(table.figures().generation, 1);
    assert_eq!(table.remove(0, 0), Ok(Some(7)));
    assert_eq!(table.remove(0, 0), Ok(None));
    assert_eq!(table.figures().generation, 2);
}
