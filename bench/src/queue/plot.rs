// SPDX-License-Identifier: BSD-2-Clause
//! Plots of the race of queues, made of records.

use crate::plot::{Content, Figure, Palette, Panel, distinct, with_ours};
use crate::race::OURS;
use crate::record::Record;
use crate::stats::median;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Draws all plots of which there are records, and returns their paths.
pub fn draw(records: &[Record], folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let palette = Palette::of(records);
    let mut drawn = Vec::new();
    for (name, figure) in figures(records) {
        if figure.panels.is_empty() {
            continue;
        }
        let path = folder.join(format!("queue-{name}.svg"));
        figure
            .draw(&path, &palette)
            .with_context(|| format!("cannot draw {}", path.display()))?;
        drawn.push(path);
    }
    Ok(drawn)
}

/// All figures, some perhaps empty, and their names.
pub(crate) fn figures(records: &[Record]) -> [(&'static str, Figure); 3] {
    [
        ("producers", against_producers(records)),
        ("batch", against_batch(records)),
        ("delay", delays(records)),
    ]
}

/// Lines of both sides: for each place on the axis the median of what was measured there.
fn lines(
    records: &[&Record],
    steps: &[String],
    step: impl Fn(&Record) -> String,
    value: impl Fn(f64) -> f64,
) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut values: BTreeMap<(String, usize), Vec<f64>> = BTreeMap::new();
    for record in records {
        let Some(at) = steps.iter().position(|name| *name == step(record)) else {
            continue;
        };
        let mut add = |name: &str, measured| {
            values
                .entry((name.to_owned(), at))
                .or_default()
                .push(value(measured));
        };
        add(OURS, record.ours);
        if let Some(theirs) = record.theirs {
            add(&record.peer, theirs);
        }
    }
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, at), values) in values {
        lines
            .entry(name)
            .or_default()
            .push((at as f64, median(&values)));
    }
    lines
}

fn number(number: Option<usize>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// A figure with a panel for each value of `panel`.
fn figure(
    title: &str,
    records: Vec<&Record>,
    x: &'static str,
    y: &'static str,
    (panel, title_of): (impl Fn(&Record) -> String, impl Fn(&str) -> String),
    step: impl Fn(&Record) -> String,
    value: impl Fn(f64) -> f64,
) -> Figure {
    let panels = distinct(&records, &panel).into_iter().map(|which| {
        let of = records.iter().filter(|record| panel(record) == which);
        let of: Vec<&Record> = of.copied().collect();
        let steps = distinct(&of, &step);
        Panel {
            title: title_of(&which),
            x,
            y,
            content: Content::Lines {
                lines: lines(&of, &steps, &step, &value),
                steps: Some(steps),
            },
        }
    });
    Figure {
        title: title.into(),
        names: with_ours(distinct(&records, |record| record.peer.clone())),
        panels: panels.collect(),
    }
}

fn of<'r>(records: &'r [Record], experiment: &str) -> Vec<&'r Record> {
    let of = records
        .iter()
        .filter(|record| record.at.experiment == experiment);
    of.collect()
}

fn against_batch(records: &[Record]) -> Figure {
    figure(
        "Packets through one transmit queue, by packets a call",
        of(records, "throughput"),
        "packets a call",
        "million packets/s",
        (
            |record| number(record.at.producers),
            |producers| match producers {
                "1" => String::from("1 producer"),
                producers => format!("{producers} producers"),
            },
        ),
        |record| number(record.at.batch),
        |rate| rate / 1e6,
    )
}

fn against_producers(records: &[Record]) -> Figure {
    let mut of = of(records, "throughput");
    of.retain(|record| matches!(record.at.batch, Some(1 | 32)));
    figure(
        "Packets through one transmit queue, by producers",
        of,
        "producers",
        "million packets/s",
        (
            |record| number(record.at.batch),
            |batch| match batch {
                "1" => String::from("1 packet a call"),
                batch => format!("{batch} packets a call"),
            },
        ),
        |record| number(record.at.producers),
        |rate| rate / 1e6,
    )
}

fn delays(records: &[Record]) -> Figure {
    figure(
        "Delay from submission to the device, 2 producers",
        of(records, "delay"),
        "of 100 packets",
        "ns",
        (
            |record| {
                record
                    .at
                    .load
                    .map_or_else(String::new, |load| load.to_string())
            },
            |load| format!("{load}% load"),
        ),
        |record| {
            record
                .at
                .percentile
                .map_or_else(String::new, |percent| percent.to_string())
        },
        |delay| delay.max(1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{At, Rounds, tests::sample};

    #[test]
    fn every_plot_names_who_is_in_it() {
        let at = |experiment: &str, producers| At {
            experiment: experiment.into(),
            producers: Some(producers),
            batch: Some(32),
            load: Some(50.0),
            percentile: Some(99.0),
            ..At::default()
        };
        let record = |experiment, producers| {
            sample(
                "rte_ring",
                at(experiment, producers),
                &Rounds::one(2e6, 1e6),
            )
        };
        let records = [
            record("throughput", 1),
            record("throughput", 4),
            record("delay", 2),
        ];
        let folder = tempfile::tempdir().unwrap();
        let paths = draw(&records, folder.path()).unwrap();
        assert_eq!(paths.len(), 3);
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains("rte_ring") && text.ends_with("</svg>\n"));
        }
        assert!(draw(&[], folder.path()).unwrap().is_empty());
    }
}
