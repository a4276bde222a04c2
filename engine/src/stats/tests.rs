// SPDX-License-Identifier: BSD-2-Clause
//! What is declared makes sense, and the documentation is what it makes.

use std::collections::HashSet;

use super::*;

fn stats() -> impl Iterator<Item = (&'static Group, &'static Stat)> {
    let of = |group: &'static Group| group.stats.iter().map(move |stat| (group, stat));
    GROUPS.iter().copied().flat_map(of)
}

#[test]
fn pages_are_what_is_declared() {
    for page in page::all() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let found = std::fs::read_to_string(path.join(page.path)).unwrap_or_default();
        assert!(
            found == page.text,
            "{}: not what is declared; `cargo xtask docs` writes it anew",
            page.path
        );
    }
}

/// Names are what sysctl(8) and readers of metrics take, and no two are the same.
#[test]
fn names_are_names() {
    let mut seen = HashSet::new();
    for (group, stat) in stats() {
        let below = stat.below.map(|below| below.name);
        let full = (group.places, below, stat.name);
        assert!(seen.insert(full), "{full:?} twice");
        for name in [Some(stat.name), below, stat.label()].into_iter().flatten() {
            let allowed =
                |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
            assert!(name.to_bytes().iter().all(allowed), "{name:?}");
        }
    }
}

/// Numbers below one node follow one another, as those who add nodes expect.
#[test]
fn nodes_are_in_one_piece() {
    for group in GROUPS {
        let below = group
            .stats
            .iter()
            .map(|stat| stat.below.map(|below| below.name));
        let mut runs: Vec<_> = below.collect();
        runs.dedup();
        let nodes: HashSet<_> = runs.iter().flatten().collect();
        assert_eq!(
            runs.iter().flatten().count(),
            nodes.len(),
            "{}",
            group.about
        );
    }
}

/// Defaults are in their ranges, and each text says something.
#[test]
fn settings_are_described() {
    for (_, stat) in stats() {
        assert!(stat.about.to_bytes().len() > 12, "{stat:?}");
        let (Kind::Setting(setting) | Kind::Text(setting)) = stat.kind else {
            continue;
        };
        assert!(
            setting.when.ends_with('.') && setting.when.len() > 8,
            "{stat:?}"
        );
        if let (Initial::Is(initial), Some((least, most))) = (setting.initial, stat.range()) {
            assert!((least..=most).contains(&initial), "{stat:?}");
        }
        if let Some(file) = setting.measured.strip_prefix("docs/") {
            let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
            assert!(docs.join(file).is_file(), "{stat:?}");
        }
    }
}

#[test]
fn an_enum_is_its_group() {
    fn check<D: Declared + PartialEq + core::fmt::Debug>() {
        assert_eq!(D::ALL.len(), D::GROUP.stats.len());
        for (place, (one, stat)) in D::ALL.iter().zip(D::GROUP.stats).enumerate() {
            assert_eq!(
                [
                    one.place() as usize,
                    D::at(one.place()).unwrap().place() as usize
                ],
                [place; 2]
            );
            assert_eq!(one.stat().name, stat.name);
        }
        assert!(D::at(D::ALL.len() as u32).is_none());
    }
    check::<PairStat>();
    check::<EndStat>();
    check::<QueueStat>();
    check::<FibStat>();
    check::<TableStat>();
    check::<TimesStat>();
    check::<LayersStat>();
    check::<LayerStat>();
    check::<CardStat>();
    check::<SendStat>();
    check::<ReceiveStat>();
    check::<JoinStat>();
    check::<CardSetting>();
    check::<FilterStat>();
    check::<RuleStat>();
    check::<PoolStat>();
    check::<SizeStat>();
}

/// A row is of numbers that stand alone.
#[test]
fn rows_are_of_numbers() {
    for group in GROUPS {
        for stat in group.stats {
            let Kind::Row(count) = stat.kind else {
                continue;
            };
            let is_number =
                |stat: &Stat| matches!(stat.kind, Kind::Counter | Kind::Gauge | Kind::Lost(_));
            let (row, rest) = group.stats.split_at(count as usize);
            assert!(row.iter().all(is_number) && !rest.is_empty(), "{stat:?}");
        }
    }
}

/// Each cause has a name of its own, and says what has happened and what to do.
#[test]
fn causes_are_told_apart() {
    let names: HashSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(names.len(), Cause::ALL.len());
    for (number, cause) in Cause::ALL.iter().enumerate() {
        assert_eq!(Cause::of_number(number as u32), Some(*cause));
        assert!(
            cause.remedy().len() > 20 && !cause.remedy().ends_with('.'),
            "{cause:?}"
        );
    }
}
