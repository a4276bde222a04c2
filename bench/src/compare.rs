// SPDX-License-Identifier: BSD-2-Clause
//! Two revisions that were measured in turns: what moved more than its noise.
//!
//! A figure has moved if all turns of one revision lie on the same side of all turns of the
//! other, and the medians are apart by more than [`LEAST`]. By chance alone, if nothing
//! changed, the first happens to 2 in C(2n, n) figures at n turns.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use comfy_table::{Table, presets};

use crate::record::{self, Record};
use crate::stats::{median, spread};

/// By how much medians must be apart.
const LEAST: f64 = 0.01;

/// Our values of one figure, in the order of the turns.
#[derive(Clone, Debug, Default, PartialEq)]
struct Turns {
    base: Vec<f64>,
    here: Vec<f64>,
}

/// What a figure is of: the benchmark, the work, the metric and its unit. Beside each peer ours is
/// measured again; all of these are one figure.
type Key = (String, String, String, String);

impl Turns {
    /// How much more it is than it was: 0.1 is a tenth more. `None` if it cannot be told from
    /// what turns differ by.
    fn moved(&self) -> Option<f64> {
        let (base, here) = (spread(&self.base), spread(&self.here));
        let apart = base.max < here.min || here.max < base.min;
        let more = median(&self.here) / median(&self.base) - 1.0;
        (apart && more.is_finite() && more.abs() > LEAST).then_some(more)
    }

    /// From the smallest to the largest turn of one revision, as a share of the median.
    fn noise(&self) -> f64 {
        let of = |values: &[f64]| (spread(values).max - spread(values).min) / median(values);
        of(&self.base).max(of(&self.here))
    }
}

/// What moved, from the records in a folder's `base-*` to those in its `here-*`.
///
/// # Errors
/// If there are no turns of either; a file that cannot be read.
pub fn text(folder: &Path) -> anyhow::Result<String> {
    let mut turns: BTreeMap<Key, Turns> = BTreeMap::new();
    let mut counts = [0, 0];
    let mut folders: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .collect::<Result<_, _>>()?;
    folders.sort_by_key(fs::DirEntry::file_name);
    for entry in folders {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_base = name.starts_with("base-");
        if is_base || name.starts_with("here-") {
            counts[usize::from(!is_base)] += 1;
            add(&mut turns, &entry.path(), is_base)?;
        }
    }
    ensure!(
        counts[0] > 0 && counts[0] == counts[1],
        "{}: {} turns of the base and {} of what is here",
        folder.display(),
        counts[0],
        counts[1]
    );
    Ok(told(&turns, counts[0]))
}

/// Adds the figures of one turn: of each, the median of what was measured beside the peers.
fn add(turns: &mut BTreeMap<Key, Turns>, folder: &Path, is_base: bool) -> anyhow::Result<()> {
    let mut values: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|x| x != "json") {
            continue;
        }
        let bench = path.file_stem().unwrap_or_default().to_string_lossy();
        for record in record::read(&path)? {
            values
                .entry(key(&bench, &record))
                .or_default()
                .push(record.ours);
        }
    }
    for (key, values) in values {
        let of = turns.entry(key).or_default();
        let of = if is_base { &mut of.base } else { &mut of.here };
        of.push(median(&values));
    }
    Ok(())
}

fn key(bench: &str, record: &Record) -> Key {
    let family = &record.at.family;
    let work = [family.as_str(), record.work.as_str()];
    let work: Vec<&str> = work.into_iter().filter(|word| !word.is_empty()).collect();
    let metric = record.metric.clone();
    (bench.into(), work.join(" "), metric, record.unit.clone())
}

fn told(turns: &BTreeMap<Key, Turns>, count: usize) -> String {
    let both = || {
        turns
            .iter()
            .filter(|(_, of)| of.base.len() == count && of.here.len() == count)
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["bench", "work", "metric", "was", "is", "moved", "noise"]);
    let mut moved = 0;
    for ((bench, work, metric, unit), of) in both() {
        let Some(more) = of.moved() else { continue };
        moved += 1;
        table.add_row([
            bench.clone(),
            work.clone(),
            metric.clone(),
            format!("{:.4} {unit}", median(&of.base)),
            format!("{:.4} {unit}", median(&of.here)),
            format!("{:+.1}%", 100.0 * more),
            format!("{:.1}%", 100.0 * of.noise()),
        ]);
    }
    let measured = both().count();
    let mut text = String::new();
    if moved > 0 {
        let _ = writeln!(text, "{table}");
    }
    let chance = 2.0 * measured as f64 / ways(count);
    let _ = writeln!(
        text,
        "{moved} of {measured} figures moved more than their noise in {count} turns; by chance {chance:.1} would"
    );
    let lone = turns.len() - measured;
    if lone > 0 {
        let _ = writeln!(text, "{lone} figures are of one revision only");
    }
    text
}

/// In how many ways `2n` turns can be divided into two revisions' `n`.
fn ways(n: usize) -> f64 {
    (1..=n).fold(1.0, |ways, k| ways * (n + k) as f64 / k as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{At, Rounds, tests::sample};

    fn turns(base: &[f64], here: &[f64]) -> Turns {
        Turns {
            base: base.into(),
            here: here.into(),
        }
    }

    #[test]
    fn what_overlaps_has_not_moved() {
        let moved = |base: &[f64], here: &[f64]| turns(base, here).moved();
        assert_eq!(moved(&[10.0, 11.0, 12.0], &[11.5, 13.0, 14.0]), None);
        assert_eq!(moved(&[10.0, 10.0, 10.0], &[10.01, 10.02, 10.03]), None);
        let more = moved(&[10.0, 9.0, 11.0], &[15.0, 14.0, 16.0]).unwrap();
        assert!((more - 0.5).abs() < 1e-9);
        assert!(moved(&[15.0, 16.0], &[10.0, 9.0]).unwrap() < 0.0);
    }

    #[test]
    fn turns_are_divided_in_so_many_ways() {
        assert_eq!(ways(1), 2.0);
        assert_eq!(ways(5), 252.0);
    }

    #[test]
    fn folders_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [
            ("base-0", 4.0),
            ("here-0", 8.0),
            ("base-1", 4.1),
            ("here-1", 8.1),
        ] {
            // Beside two peers, and one figure that stays.
            let records = [
                sample("a", At::default(), &Rounds::one(value, 1.0)),
                sample("b", At::default(), &Rounds::one(value, 2.0)),
                Record {
                    work: "stays".into(),
                    ..sample("a", At::default(), &Rounds::one(3.0, 1.0))
                },
            ];
            record::write(&folder.path().join(name).join("fib.json"), &records).unwrap();
        }
        let text = text(folder.path()).unwrap();
        assert!(
            text.contains("some work") && text.contains("+98.8%"),
            "{text}"
        );
        assert!(text.contains("1 of 2 figures moved"), "{text}");
        assert!(!text.contains("stays"));
        fs::remove_dir_all(folder.path().join("here-1")).unwrap();
        assert!(super::text(folder.path()).is_err());
    }
}
