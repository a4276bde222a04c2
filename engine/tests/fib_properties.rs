// SPDX-License-Identifier: BSD-2-Clause
//! What is true of every table: withdrawn routes leave nothing behind, and what is
//! refused is named.

mod fib_rib;

use fib_rib::{Rib, Table, answer, settle, store};
use proptest::prelude::*;
use weft_engine::fib::{FibError, Key, Table4};
use weft_engine::sim::naive::edges;
use weft_engine::sim::random::Random;
use weft_engine::sim::table::{NextHops, Prefix, Text, generate, generate6, read};

/// Prefixes that nest and neighbour one another: few addresses, each with one bit
/// flipped at times, cut to any length. Of IPv4 the last 32 bits count.
fn prefix<K: Key>() -> impl Strategy<Value = (K, u8)> {
    let address = prop_oneof![
        4 => prop::sample::select(vec![
            0u128,
            u128::MAX,
            0x2001_0db8_0000_0000_0000_0000_0a01_0203,
            0x2001_0db8_0000_0001_0000_0000_0a01_0280,
            0xfe80_0000_0000_0000_0000_0000_c0a8_0001,
            0x8000_0000_0000_0000_0000_0000_8000_0000,
        ]),
        1 => any::<u128>(),
    ];
    (address, prop::option::of(0..K::BITS), 0..=K::BITS).prop_map(|(address, flip, len)| {
        let address = address ^ flip.map_or(0, |bit| 1 << bit);
        (K::from_bits(address).network(len), len)
    })
}

fn routes<K: Key>() -> impl Strategy<Value = Vec<((K, u8), u32)>> {
    prop::collection::vec((prefix(), 1u32..6), 1..200)
}

fn withdrawn_in_any_order<K: Key>(
    routes: Vec<((K, u8), u32)>,
    order: u64,
) -> Result<(), TestCaseError> {
    let (store, memory) = store();
    let mut table: Table<'_, K> = Table::new(&store).unwrap();
    let empty = store.figures();
    let mut rib = Rib::default();
    for ((prefix, len), class) in routes {
        rib.change(&mut table, (prefix, len, class)).unwrap();
    }
    let mut leaving: Vec<_> = rib.naive.routes.keys().copied().collect();
    let mut random = Random::new(order);
    while !leaving.is_empty() {
        let (prefix, len) = leaving.swap_remove(random.below(leaving.len()));
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
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn routes_withdrawn_in_any_order_leave_an_empty_table(routes in routes::<u32>(), order: u64) {
        withdrawn_in_any_order(routes, order)?;
    }

    #[test]
    fn routes_of_ipv6_withdrawn_in_any_order_leave_an_empty_table(
        routes in routes::<u128>(), order: u64,
    ) {
        withdrawn_in_any_order(routes, order)?;
    }
}

/// Announcements around one address, of every length.
fn every_length<K: Key>() {
    for bits in [
        0,
        u128::MAX,
        u128::MAX / 3,
        0x2001_0db8_0a01_0203 << 64 | 0x0a01_0203,
    ] {
        let key = K::from_bits(bits);
        let (store, _) = store();
        let mut table: Table<'_, K> = Table::new(&store).unwrap();
        let empty = store.figures();
        let mut rib = Rib::default();
        let compare = |table: &Table<'_, K>, rib: &Rib<K>| {
            for (prefix, len) in (0..=K::BITS).map(|len| (key.network(len), len)) {
                for key in edges(prefix, len) {
                    assert_eq!(answer(table, key), rib.naive.lookup(key), "{}", key.ip());
                }
            }
        };
        let by_three = |from| (from..=K::BITS).step_by(3);
        for len in by_three(2)
            .rev()
            .chain(by_three(0))
            .chain(by_three(1).rev())
        {
            let class = u32::from(len) % 127 + 1;
            rib.change(&mut table, (key.network(len), len, class))
                .unwrap();
            compare(&table, &rib);
        }
        assert_eq!(table.figures().prefixes, usize::from(K::BITS) + 1);
        for len in by_three(0).chain(by_three(2).rev()).chain(by_three(1)) {
            rib.change(&mut table, (key.network(len), len, 0)).unwrap();
            compare(&table, &rib);
        }
        settle(&store);
        let drained = store.figures();
        assert_eq!((drained.pages, drained.rows), (empty.pages, empty.rows));
    }
}

#[test]
fn every_length_nested_and_unnested() {
    every_length::<u32>();
    every_length::<u128>();
}

/// The Internet's table, as the naive reference has it, and changes of it.
fn internet<K: Key>(mut prefixes: Vec<Prefix<K>>, changes: usize) {
    prefixes.sort_unstable();
    let rule = NextHops::Clustered {
        classes: 64,
        salt: 0,
    };
    let (store, memory) = store();
    let mut table: Table<'_, K> = Table::new(&store).unwrap();
    let mut rib = Rib::default();
    for &prefix in &prefixes {
        rib.set(prefix.address, prefix.len, rule.class(prefix));
    }
    rib.dump(&mut table).unwrap();
    let mut random = Random::new(5);
    let mut compare = |table: &Table<'_, K>, rib: &Rib<K>, count: usize| {
        for _ in 0..count {
            let prefix = *random.pick(&prefixes).unwrap();
            let inside = prefix.address_in(&mut random);
            for key in edges(prefix.address, prefix.len)
                .into_iter()
                .chain([inside])
            {
                assert_eq!(answer(table, key), rib.naive.lookup(key), "{}", key.ip());
            }
        }
    };
    compare(&table, &rib, changes);
    let mut random = Random::new(6);
    for _ in 0..changes {
        let prefix = *random.pick(&prefixes).unwrap();
        let class = random.below(65) as u32;
        rib.change(&mut table, (prefix.address, prefix.len, class))
            .unwrap();
        for key in edges(prefix.address, prefix.len) {
            assert_eq!(answer(&table, key), rib.naive.lookup(key), "{}", key.ip());
        }
    }
    compare(&table, &rib, changes);
    drop(table);
    settle(&store);
    drop(store);
    assert_eq!(memory.bytes(), 0);
}

#[test]
fn a_table_like_the_internets() {
    internet(generate(20_000, 1), 3_000);
    internet(generate6(20_000, 1), 3_000);
}

/// A full table, if `WEFT_RIB` names one, a prefix a line.
#[test]
fn a_full_table_by_hand() {
    if let Some(path) = std::env::var_os("WEFT_RIB") {
        let file = std::fs::File::open(path).unwrap();
        let Text {
            prefixes,
            prefixes6,
        } = read(std::io::BufReader::new(file)).unwrap();
        internet(prefixes, 100_000);
        internet(prefixes6, 100_000);
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
