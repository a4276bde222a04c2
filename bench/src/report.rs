// SPDX-License-Identifier: BSD-2-Clause
//! Tables for the terminal, made of records.

use crate::family::Family;
use crate::record::Record;
use comfy_table::{Cell, CellAlignment, Table, presets};
use std::fmt::Write;

/// The text of the whole report.
pub fn text(records: &[Record]) -> String {
    let mut text = String::new();
    let title = |experiment: &str| match experiment {
        "table" => "The whole table",
        "lookup" => "Lookups in the whole table",
        "size" => "Against the number of routes",
        "fibs" => "Many FIBs",
        "beside" => "Changes beside lookups",
        _ => "Changes",
    };
    for family in [u32::NAME, u128::NAME] {
        for experiment in ["lookup", "table", "change", "beside", "fibs", "size"] {
            let is_in = |record: &&Record| {
                record.at.family == family && record.at.experiment == experiment && is_told(record)
            };
            let of: Vec<&Record> = records.iter().filter(is_in).collect();
            if !of.is_empty() {
                let _ = writeln!(text, "{}\n{}\n", title(experiment), table(&of));
            }
        }
    }
    text + &tail(records)
}

/// The text of the report on queues.
pub fn of_queues(records: &[Record]) -> String {
    let mut text = String::new();
    for (experiment, title) in [("throughput", "Throughput"), ("delay", "Delays")] {
        let of = records
            .iter()
            .filter(|record| record.at.experiment == experiment);
        let _ = writeln!(text, "{title}\n{}\n", table(&of.collect::<Vec<_>>()));
    }
    text + &tail(records)
}

/// The text of the report on packets.
pub fn of_packets(records: &[Record]) -> String {
    let all: Vec<&Record> = records.iter().collect();
    format!("Packets\n{}\n\n{}", table(&all), tail(records))
}

/// The text of the report on wire formats.
pub fn of_wire(records: &[Record]) -> String {
    let mut text = String::new();
    for (experiment, title) in [
        ("sum", "Checksums"),
        ("crc", "CRC32c"),
        ("headers", "Headers found"),
        ("cut", "Long segments cut"),
    ] {
        let of = records
            .iter()
            .filter(|record| record.at.experiment == experiment);
        let _ = writeln!(text, "{title}\n{}\n", table(&of.collect::<Vec<_>>()));
    }
    text + &tail(records)
}

/// Machine, versions, and how to read it.
fn tail(records: &[Record]) -> String {
    let mut text = String::new();
    if let Some(record) = records.first() {
        let _ = writeln!(text, "machine   {} ({})", record.machine, record.place);
    }
    let _ = writeln!(text, "versions  {}", versions(records));
    let _ = writeln!(
        text,
        "ratio: how many times better ours is, median and (smallest..largest) of the rounds; of \
         losses, ours and theirs"
    );
    text
}

/// Whether a record has a row. Of quantiles, the plots tell more.
fn is_told(record: &Record) -> bool {
    let percentile = record.at.percentile;
    percentile.is_none_or(|percent| percent == 50.0 || percent == 99.0)
}

/// All versions, each once.
fn versions(records: &[Record]) -> String {
    let mut all: Vec<String> = records
        .iter()
        .flat_map(|record| &record.versions)
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(", ")
}

/// One row a work and metric, one column a peer; a cell is a ratio.
fn table(records: &[&Record]) -> Table {
    let mut peers: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for record in records {
        if !peers.contains(&record.peer.as_str()) {
            peers.push(&record.peer);
        }
        let row = (record.work.as_str(), record.metric.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let names = peers.iter().map(|&peer| match peer {
        "" => "ours alone",
        peer => peer,
    });
    let head = ["work", "metric"].into_iter().chain(names);
    table.set_header(head);
    for (work, metric) in rows {
        let cells = peers.iter().map(|&peer| {
            let record = records.iter().find(|record| {
                record.peer == peer && record.work == work && record.metric == metric
            });
            Cell::new(record.map_or_else(String::new, |record| cell(record)))
                .set_alignment(CellAlignment::Right)
        });
        let names = [Cell::new(work), Cell::new(metric)];
        table.add_row(names.into_iter().chain(cells));
    }
    table
}

/// "2.10 (1.95..2.21)", or without spread where nothing spreads; of losses "0.8 and
/// 12.1 %"; without a peer what ours came to.
fn cell(record: &Record) -> String {
    if let ("%", Some(theirs)) = (record.unit.as_str(), record.theirs) {
        return format!("{:.1} and {theirs:.1} %", record.ours);
    }
    match (record.ratio, record.spread.ratio) {
        (Some(ratio), Some(spread)) if spread.min < spread.max => {
            format!(
                "{} ({}..{})",
                short(ratio),
                short(spread.min),
                short(spread.max)
            )
        }
        (Some(ratio), _) => short(ratio),
        (None, _) => format!("{} {}", short(record.ours), record.unit),
    }
}

/// Two digits behind the point, fewer for large numbers.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{At, Rounds, tests::sample};

    #[test]
    fn a_row_holds_the_ratios_of_all_peers() {
        let at = At {
            family: "ipv4".into(),
            experiment: "lookup".into(),
            ..At::default()
        };
        let rounds = Rounds {
            ours: vec![2.0, 2.0],
            theirs: vec![5.0, 9.0],
        };
        let text = text(&[
            sample("dxr", at.clone(), &rounds),
            sample("poptrie", at, &Rounds::one(4.0, 1.0)),
        ]);
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap();
        assert!(line("metric").contains("dxr") && line("metric").contains("poptrie"));
        let row = line("some work");
        assert!(
            row.contains("3.50 (2.50..4.50)") && row.contains(" 0.25 "),
            "{row}"
        );
        assert!(line("machine").contains("a machine (native)"));
        assert_eq!(text.matches("weft 0").count(), 1);
    }

    #[test]
    fn losses_and_lonely_figures_are_told_in_their_units() {
        let at = At::default();
        let mut loss = sample("dxr", at.clone(), &Rounds::one(0.84, 12.06));
        loss.unit = "%".into();
        assert_eq!(cell(&loss), "0.8 and 12.1 %");
        let alone = Rounds {
            ours: vec![4.5],
            theirs: Vec::new(),
        };
        assert_eq!(cell(&sample("", at, &alone)), "4.50 ns");
    }

    #[test]
    fn numbers_are_short() {
        let shorts = [0.123, 9.999, 12.34, 4321.0].map(short);
        assert_eq!(shorts, ["0.12", "10.00", "12.3", "4321"]);
    }
}
