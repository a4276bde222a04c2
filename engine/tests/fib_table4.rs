// SPDX-License-Identifier: BSD-2-Clause
//! Tables of a store against the naive reference: dumps, changes, sharing, and the
//! accounts of what is shared.

mod fib_rib;

use fib_rib::{HostStore, Rib, Table, answer, settle, store};
use proptest::prelude::*;
use weft_engine::fib::{FibError, Table4, Weight};
use weft_engine::sim::naive::{edges, mask};

/// What a test does to one of several tables.
#[derive(Clone, Copy, Debug)]
enum Step {
    Set(u32, u8, u32),
    Remove(u32, u8),
    /// Removes the route at this place of the reference, if there is one.
    RemoveNth(prop::sample::Index),
    Flap(u32, u8, u32),
    /// Makes the table anew from all routes.
    Dump,
    /// Ends the table, and makes another of the same routes.
    Again,
    Flatten,
    Reclaim,
}

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

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![4 => 1u32..6, 1 => Just(u32::MAX)];
    prop_oneof![
        8 => (prefix(), class.clone()).prop_map(|((p, l), c)| Step::Set(p, l, c)),
        2 => prefix().prop_map(|(p, l)| Step::Remove(p, l)),
        4 => any::<prop::sample::Index>().prop_map(Step::RemoveNth),
        1 => (prefix(), class).prop_map(|((p, l), c)| Step::Flap(p, l, c)),
        1 => Just(Step::Dump),
        1 => Just(Step::Again),
        1 => Just(Step::Flatten),
        1 => Just(Step::Reclaim),
    ]
}

/// For how many classes the tables are: two that share, and one of each other kind.
const MOST: [u32; 4] = [127, 127, 32_767, 1_048_575];

/// Does a step, and names the prefix that it touched.
fn apply<'s>(
    store: &'s HostStore,
    table: &mut Table<'s>,
    rib: &mut Rib,
    step: Step,
) -> Option<(u32, u8)> {
    let (prefix, plen, class) = match step {
        Step::Set(p, l, c) | Step::Flap(p, l, c) => (p, l, c),
        Step::Remove(p, l) => (p, l, 0),
        Step::RemoveNth(index) => {
            let count = rib.naive.routes.len();
            let at = (count != 0).then(|| index.index(count))?;
            let &(p, l) = rib.naive.routes.keys().nth(at).unwrap();
            (p, l, 0)
        }
        Step::Dump => {
            rib.dump(table).unwrap();
            return None;
        }
        Step::Again => {
            *table = Table4::for_classes(store, table.class_max()).unwrap();
            rib.dump(table).unwrap();
            return None;
        }
        Step::Flatten => {
            table.flatten().unwrap();
            return None;
        }
        Step::Reclaim => {
            store.reclaim();
            return None;
        }
    };
    let class = class.min(table.class_max());
    rib.change(table, (prefix, plen, class)).unwrap();
    if let Step::Flap(..) = step {
        rib.change(table, (prefix, plen, 0)).unwrap();
        rib.change(table, (prefix, plen, class)).unwrap();
    }
    Some((prefix, plen))
}

/// Compares all answers that can differ.
fn compare(table: &Table<'_>, rib: &Rib) {
    for &(prefix, len) in rib.naive.routes.keys().chain([&(0, 0)]) {
        for key in edges(prefix, len) {
            assert_eq!(answer(table, key), rib.naive.lookup(key), "{key:#x}");
        }
    }
    assert_eq!(table.figures().prefixes, rib.naive.routes.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn tables_of_one_store_answer_as_the_reference_does(
        steps in prop::collection::vec((0..MOST.len(), step()), 1..120),
        longer_first: bool,
    ) {
        let (store, memory) = store();
        let mut tables = MOST.map(|most| {
            let table = Table4::for_classes(&store, most).unwrap();
            (table, Rib { longer_first, ..Rib::default() })
        });
        for (which, step) in steps {
            let (table, rib) = &mut tables[which];
            if let Some((prefix, len)) = apply(&store, table, rib, step) {
                for key in edges(prefix, len) {
                    prop_assert_eq!(answer(table, key), rib.naive.lookup(key), "{:#x}", key);
                }
            }
        }
        for (table, rib) in &tables {
            compare(table, rib);
            // What came about by changes is what a dump makes: there is nothing new.
            settle(&store);
            let before = store.figures();
            let mut fresh = Table4::for_classes(&store, table.class_max()).unwrap();
            rib.dump(&mut fresh).unwrap();
            let after = store.figures();
            prop_assert!((after.pages, after.rows) <= (before.pages + 1, before.rows + 1));
            drop(fresh);
        }
        drop(tables);
        settle(&store);
        let figures = store.figures();
        prop_assert_eq!((figures.pages, figures.rows, figures.used), (0, 0, 0));
        drop(store);
        prop_assert_eq!(memory.bytes(), 0);
    }
}

/// A /24 in which each address differs from its neighbours, in a /16 of 256 such.
#[test]
fn a_page_of_nothing_but_sub_pages() {
    for most in [127, 32_767, 1_048_575] {
        nothing_but_sub_pages(most);
    }
}

fn nothing_but_sub_pages(most: u32) {
    let (store, memory) = store();
    let mut table = Table4::for_classes(&store, most).unwrap();
    let class = |low: u32| (low ^ low >> 8) % most + 1;
    let mut rib = Rib::default();
    for low in 0..=0xffffu32 {
        rib.set(0x0a01_0000 | low, 32, class(low));
    }
    rib.dump(&mut table).unwrap();
    for low in 0..=0xffffu32 {
        let key = 0x0a01_0000 | low;
        assert_eq!(answer(&table, key), rib.naive.lookup(key), "{key:#x}");
    }
    let figures = store.figures();
    for low in (0..=0xffffu32).step_by(777) {
        rib.change(&mut table, (0x0a01_0000 | low, 32, 0)).unwrap();
        assert_eq!(answer(&table, 0x0a01_0000 | low), 0);
        rib.change(&mut table, (0x0a01_0000 | low, 32, class(low)))
            .unwrap();
        settle(&store);
        assert_eq!(store.figures().pages, figures.pages);
    }
    drop(table);
    settle(&store);
    drop(store);
    assert_eq!(memory.bytes(), 0);
}

/// The routes of a host: what a small FIB costs, its store included.
#[test]
fn a_small_table_is_small() {
    let (store, memory) = store();
    let mut table = Table4::new(&store).unwrap();
    let mut rib = Rib::default();
    for (prefix, plen, class) in [
        (0, 0, 1),
        (0x0a00_0000, 24, 2),
        (0x0a00_0005, 32, 3),
        (0x6440_0000, 10, 4),
        (0x7f00_0001, 32, 5),
        (0xa9fe_0000, 16, 2),
        (0xac10_0000, 12, 6),
        (0xc0a8_0100, 24, 7),
        (0xc0a8_0101, 32, 5),
        (0xc0a8_0200, 24, 8),
    ] {
        rib.set(prefix, plen, class);
    }
    rib.dump(&mut table).unwrap();
    compare(&table, &rib);
    assert!(memory.bytes() < 16 << 10, "{} bytes", memory.bytes());
    assert_eq!(
        memory.bytes(),
        store.figures().bytes + table.figures().bytes
    );
}

#[test]
fn tables_of_the_same_routes_share_all_but_their_roots() {
    let (store, _) = store();
    let mut rib = Rib::default();
    for i in 0..5000u32 {
        rib.set(i.wrapping_mul(0x9e37_79b9) & mask(24), 24, i % 9 + 1);
    }
    let mut first = Table4::new(&store).unwrap();
    rib.dump(&mut first).unwrap();
    settle(&store);
    let one = store.figures();
    let others: Vec<_> = (0..20)
        .map(|_| {
            let mut table = Table4::new(&store).unwrap();
            rib.dump(&mut table).unwrap();
            table
        })
        .collect();
    settle(&store);
    let all = store.figures();
    assert_eq!(
        (all.pages, all.rows, all.used),
        (one.pages, one.rows, one.used)
    );
    // A change of one is none of the others, and its undoing shares again.
    rib.change(&mut first, (0x0a00_0000, 8, 3)).unwrap();
    assert_eq!(answer(&first, 0x0aff_ffff), 3);
    assert!(others.iter().all(|table| table.lookup(0x0aff_ffff) != 3));
    rib.change(&mut first, (0x0a00_0000, 8, 0)).unwrap();
    settle(&store);
    let again = store.figures();
    assert_eq!((again.pages, again.rows), (one.pages, one.rows));
}

#[test]
fn what_is_no_route_is_refused_with_its_value() {
    let (store, _) = store();
    let mut table = Table4::new(&store).unwrap();
    let rib = Rib::default();
    assert_eq!(
        table.update(0, 33, &rib),
        Err(FibError::PrefixLength { plen: 33, most: 32 })
    );
    let bits = FibError::HostBits {
        prefix: [10, 0, 0, 1].into(),
        plen: 8,
    };
    assert_eq!(table.update(0x0a00_0001, 8, &rib), Err(bits));
    assert_eq!(table.route(0x0a00_0001, 8, 1), Err(bits));
    assert_eq!(table.route(0x0a00_0000, 8, 0), Err(FibError::ZeroClass));
    assert_eq!(table.route(0, 0, 0), Err(FibError::ZeroClass));
    for most in MOST {
        let mut table = Table4::for_classes(&store, most - 1).unwrap();
        assert_eq!(table.class_max(), most);
        let class = most + 1;
        let refusal = FibError::ClassRange { class, most };
        assert_eq!(
            refusal.to_string(),
            format!("class {class}, allowed are 1 to {most}")
        );
        assert_eq!(table.route(0x0a00_0000, 8, class), Err(refusal));
        assert_eq!(table.route(0, 0, class), Err(refusal));
        for (prefix, plen) in [(0, 0), (0x0a00_0000, 8), (0x0a01_0000, 16)] {
            let mut rib = Rib::default();
            rib.set(prefix, plen, class);
            assert_eq!(table.update(prefix, plen, &rib), Err(refusal));
        }
        assert_eq!(table.figures().generation, 0);
    }
    let refusal = Table4::for_classes(&store, 1 << 20).err().unwrap();
    assert_eq!(
        refusal.to_string(),
        "class 1048576, allowed are 1 to 1048575"
    );
    table.route(0x0a00_0000, 8, 1).unwrap();
    assert_eq!(table.update(0, 0, &rib), Err(FibError::Dumping));
    let order = FibError::OutOfOrder {
        prefix: [9, 0, 0, 0].into(),
        plen: 8,
    };
    assert_eq!(table.route(0x0900_0000, 8, 1), Err(order));
    assert_eq!(
        order.to_string(),
        "9.0.0.0/8 after a route of a higher address"
    );
    assert_eq!(table.figures().generation, 0);
    assert_eq!(table.lookup(0x0a00_0001), 0);
}

#[test]
fn a_change_that_changes_nothing_is_not_counted() {
    let (store, _) = store();
    let mut table = Table4::new(&store).unwrap();
    let mut rib = Rib::default();
    rib.change(&mut table, (0x0a00_0000, 9, 7)).unwrap();
    rib.change(&mut table, (0, 0, 7)).unwrap();
    assert_eq!(table.figures().generation, 2);
    rib.change(&mut table, (0x0a00_0000, 9, 7)).unwrap();
    rib.change(&mut table, (0x0a01_0000, 16, 7)).unwrap();
    rib.change(&mut table, (0, 0, 7)).unwrap();
    assert_eq!(table.figures().generation, 2);
}

/// A full table, if `WEFT_RIB` names one (a prefix a line, perhaps with IPv6 ones).
#[test]
fn a_full_table_by_hand() {
    let Some(path) = std::env::var_os("WEFT_RIB") else {
        return;
    };
    use weft_engine::sim::random::Random;
    use weft_engine::sim::table::{NextHops, read};
    let text = read(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
    let rule = NextHops::Clustered {
        classes: 64,
        salt: 0,
    };
    let (store, memory) = store();
    let mut table = Table4::new(&store).unwrap();
    let mut rib = Rib::default();
    for &prefix in &text.prefixes {
        rib.set(prefix.address, prefix.len, rule.class(prefix));
    }
    rib.dump(&mut table).unwrap();
    settle(&store);
    println!(
        "{:?} {:?} {}",
        table.figures(),
        store.figures(),
        memory.bytes()
    );
    assert!(memory.bytes() < 2 << 20, "{} bytes", memory.bytes());
    let mut random = Random::new(5);
    let mut keys = |rounds: usize, table: &Table<'_>, rib: &Rib| {
        for _ in 0..rounds {
            let key = random
                .pick(&text.prefixes)
                .unwrap()
                .address_in(&mut random.clone());
            assert_eq!(answer(table, key), rib.naive.lookup(key), "{key:#x}");
            let key = random.bits() as u32;
            assert_eq!(answer(table, key), rib.naive.lookup(key), "{key:#x}");
        }
    };
    keys(1_000_000, &table, &rib);
    let mut random = Random::new(6);
    for round in 0..20_000 {
        let prefix = *random.pick(&text.prefixes).unwrap();
        let class = random.below(65) as u32;
        let change = (prefix.address, prefix.len, class);
        rib.change(&mut table, change).unwrap();
        for key in edges(prefix.address, prefix.len) {
            assert_eq!(
                answer(&table, key),
                rib.naive.lookup(key),
                "{round} {key:#x}"
            );
        }
    }
    keys(100_000, &table, &rib);
}

#[test]
fn what_tables_weigh_adds_up_to_what_the_store_holds() {
    let (store, _) = store();
    let mut ribs = [Rib::default(), Rib::default(), Rib::default()];
    for i in 0..3000u32 {
        for (at, rib) in ribs.iter_mut().enumerate() {
            // The third differs from the others in one route of a hundred.
            let class = if at == 2 && i % 100 == 0 {
                11
            } else {
                i % 9 + 1
            };
            rib.set(i.wrapping_mul(0x9e37_79b9) & mask(24), 24, class);
        }
    }
    let tables = ribs.each_ref().map(|rib| {
        let mut table = Table4::new(&store).unwrap();
        rib.dump(&mut table).unwrap();
        table
    });
    settle(&store);
    let weigh = |table: &Table<'_>| {
        let mut sum = Weight::default();
        // In pieces, as a kernel asks.
        for at in (0..HostStore::ROWS).step_by(100) {
            sum += store.weigh(&table.reader(), at..at + 100);
        }
        sum
    };
    let weights = tables.each_ref().map(weigh);
    let used = store.figures().used as u64;
    let sum: u64 = weights.iter().map(|weight| weight.own + weight.part).sum();
    assert!(sum <= used && sum > used - used / 50, "{sum} of {used}");
    let [same, also, other] = weights;
    assert_eq!((same, same.own), (also, 0), "two share all they have");
    assert!(other.own > 0 && other.part < same.part);
    let (elsewhere, _) = fib_rib::store();
    assert_eq!(
        elsewhere.weigh(&tables[0].reader(), 0..1024),
        Weight::default()
    );
}
