// SPDX-License-Identifier: BSD-2-Clause
//! What is true of every table: withdrawn routes leave nothing behind, and what is
//! refused is named.

mod fib_rib;

use fib_rib::{Rib, settle, store};
use proptest::prelude::*;
use weft_engine::fib::{FibError, Table4};
use weft_engine::sim::naive::mask;

/// Prefixes that nest and neighbour one another: few addresses, each with one bit
/// flipped at times, cut to any length.
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn routes_withdrawn_in_any_order_leave_an_empty_table(
        routes in prop::collection::vec((prefix(), 1u32..6), 1..200),
        order: u64,
    ) {
        let (store, memory) = store();
        let mut table = Table4::new(&store).unwrap();
        let empty = store.figures();
        let mut rib = Rib::default();
        for ((prefix, len), class) in routes {
            rib.change(&mut table, (prefix, len, class)).unwrap();
        }
        let mut leaving: Vec<_> = rib.naive.routes.keys().copied().collect();
        leaving.sort_by_key(|&(prefix, len)| {
            (order ^ u64::from(prefix)).wrapping_mul(0x9e37_79b9_7f4a_7c15 + u64::from(len))
        });
        for (prefix, len) in leaving {
            rib.change(&mut table, (prefix, len, 0)).unwrap();
        }
        settle(&store);
        let drained = store.figures();
        prop_assert_eq!(
            (drained.pages, drained.rows, drained.used),
            (empty.pages, empty.rows, empty.used)
        );
        prop_assert_eq!(table.figures().prefixes, 0);
        drop(table);
        settle(&store);
        drop(store);
        prop_assert_eq!(memory.bytes(), 0);
    }
}

#[test]
fn to_withdraw_what_is_not_there_is_no_change() {
    let (store, _) = store();
    let mut table = Table4::new(&store).unwrap();
    let mut rib = Rib::default();
    rib.change(&mut table, (0x0a00_0000, 8, 7)).unwrap();
    for absent in [(0, 0, 0), (0x0a01_0000, 16, 0), (0x0b01_0000, 16, 0)] {
        rib.change(&mut table, absent).unwrap();
    }
    assert_eq!(table.figures().generation, 1);
}

#[test]
fn a_fault_says_what_was_given_and_what_is_allowed() {
    let (store, _) = store();
    let mut table = Table4::new(&store).unwrap();
    let rib = Rib::default();
    let mut fault = |prefix, len| table.update(prefix, len, &rib).unwrap_err().to_string();
    assert_eq!(fault(0, 33), "prefix length 33, allowed are 0 to 32");
    assert_eq!(fault(0, 255), "prefix length 255, allowed are 0 to 32");
    assert_eq!(
        fault(0x0a00_0001, 8),
        "10.0.0.1/8 has bits set beyond its length"
    );
    assert_eq!(fault(1, 0), "0.0.0.1/0 has bits set beyond its length");
    assert_eq!(
        table.route(0, 0, 0).unwrap_err(),
        FibError::ZeroClass,
        "class 0 is no route"
    );
}
