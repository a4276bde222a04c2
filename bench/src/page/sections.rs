// SPDX-License-Identifier: BSD-2-Clause
//! Which plots each benchmark has, in which order, and the words above them.

use super::Bench;
use super::draw::MEDIAN;
use crate::plot::{self, Bar, Content, Figure, Panel, distinct};
use crate::queue;
use crate::record::Record;
use crate::stats::median;

/// The benchmarks by the names of their files, in the order of the page. Others come after.
pub(super) const NAMES: [&str; 12] = [
    "fib",
    "queue",
    "packet",
    "wire",
    "fib-vm",
    "packet-vm",
    "wire-vm",
    "ipv6-vm",
    "pair-vm",
    "pair-vm-time",
    "statistics-vm",
    "tuning-vm",
];

/// A part of the page.
pub(super) struct Section<'b> {
    pub(super) bench: &'b Bench,
    pub(super) title: &'b str,
    /// What was measured, and how it is to be read.
    pub(super) lead: &'static str,
    pub(super) figures: Vec<Figure>,
}

const NATIVE: &str = "On the host, where caches are real.";
const GUEST: &str = "In a FreeBSD kernel, in a guest whose clock counts instructions. They say what a path costs when each \
                     load hits the nearest cache and each branch is foreseen; they are not time.";

const EMULATED: &str =
    "In a FreeBSD kernel, in an emulated guest with two processors, by the time that passes.";

/// The parts of the page.
pub(super) fn sections(benches: &[Bench]) -> Vec<Section<'_>> {
    benches.iter().map(section).collect()
}

fn section(bench: &Bench) -> Section<'_> {
    let records: Vec<&Record> = bench.records.iter().collect();
    let (title, lead) = match bench.name.as_str() {
        "fib" => ("Route lookup", NATIVE),
        "queue" => (
            "Transmit queues",
            "Producers hand packets to one queue, a drainer to a device that takes each at once. By the clock on the wall.",
        ),
        "packet" => ("Packets", NATIVE),
        "wire" => ("Checksums and headers", NATIVE),
        "fib-vm" => ("Route lookup, in the kernel", GUEST),
        "packet-vm" => ("Packets, tags and queues, in the kernel", GUEST),
        "wire-vm" => ("Checksums, in the kernel", GUEST),
        "ipv6-vm" => ("IPv6 headers made to cost time, in the kernel", GUEST),
        "pair-vm" => ("Pairs of interfaces beside epair(4), in the kernel", GUEST),
        "pair-vm-time" => ("Pairs of interfaces beside epair(4), by time", EMULATED),
        "statistics-vm" => ("What statistics cost, in the kernel", GUEST),
        "tuning-vm" => (
            "Settings of a queue beside what they are at first, in the kernel",
            GUEST,
        ),
        other if records.iter().all(|record| record.place == "native") => (other, NATIVE),
        other => (other, GUEST),
    };
    let mut figures = match bench.name.as_str() {
        "fib" => of_fibs(&records),
        "queue" => queue::plot::figures(&bench.records)
            .into_iter()
            .map(|(_, figure)| figure)
            .collect(),
        "wire" => of_wire(&records),
        _ => vec![plot::ratios(&records, "How many times better ours is")],
    };
    figures.retain(|figure| !figure.panels.is_empty());
    Section {
        bench,
        title,
        lead,
        figures,
    }
}

/// Both families: what a person asks first comes first.
fn of_fibs(records: &[&Record]) -> Vec<Figure> {
    let order = ["size", "memory", "lookup", "seen", "change"];
    let mut figures = Vec::new();
    for (family, title) in plot::FAMILIES {
        let of = records.iter().filter(|record| record.at.family == family);
        let mut of_family = plot::figures(&of.copied().collect::<Vec<_>>());
        let place = |name: &str| order.iter().position(|start| name.starts_with(start));
        of_family.sort_by_key(|(name, _)| place(name));
        for (_, mut figure) in of_family {
            figure.title = format!("{title}: {}", figure.title);
            figures.push(figure);
        }
    }
    figures
}

/// Sums against the length of what is summed, and the rest as ratios.
fn of_wire(records: &[&Record]) -> Vec<Figure> {
    let (sums, rest): (Vec<&Record>, Vec<&Record>) = records
        .iter()
        .copied()
        .partition(|record| record.at.experiment == "sum");
    let panel = |shape: String| {
        let of: Vec<&Record> = sums
            .iter()
            .copied()
            .filter(|r| r.at.pattern == shape)
            .collect();
        Panel {
            title: shape,
            x: "bytes",
            y: "ns a sum",
            content: Content::Lines {
                steps: None,
                lines: plot::lines(&of, |record| record.at.bytes.map(|bytes| bytes as f64)),
            },
        }
    };
    let checksums = Figure {
        title: "Internet checksum, by length".into(),
        names: plot::with_ours(plot::peers(&sums)),
        panels: distinct(&sums, |record| record.at.pattern.clone())
            .into_iter()
            .map(panel)
            .collect(),
    };
    vec![
        checksums,
        plot::ratios(
            &rest,
            "CRC32c, headers, segments: how many times better ours is",
        ),
    ]
}

/// Ratios beyond these are drawn at the edge.
const EDGES: (f64, f64) = (0.02, 100.0);

/// All ratios at once: a row for each of the project's targets, a dot for each figure.
pub(super) fn glance(benches: &[Bench]) -> Panel {
    let mut all: Vec<&Record> = benches.iter().flat_map(|bench| &bench.records).collect();
    all.sort_by_key(|record| (record.place.clone(), record.target.clone()));
    let of_row = |record: &Record| format!("{} ({})", target(&record.target), place(record));
    let mut groups = distinct(&all, of_row);
    let mut bars = Vec::new();
    for (group, name) in groups.iter().enumerate() {
        let of = all.iter().filter(|record| of_row(record) == *name);
        let ratios: Vec<f64> = of.filter_map(|record| record.ratio).collect();
        let inside = |ratio: f64| ratio.clamp(EDGES.0, EDGES.1);
        let named = ratios.iter().map(|&ratio| (String::new(), inside(ratio)));
        let middle = (!ratios.is_empty()).then(|| (MEDIAN.to_owned(), median(&ratios)));
        bars.extend(named.chain(middle).map(|(name, value)| Bar {
            group,
            name,
            value,
            low: value,
            high: value,
        }));
    }
    for (group, name) in groups.iter_mut().enumerate() {
        let middle = bars
            .iter()
            .find(|bar| bar.group == group && bar.name == MEDIAN);
        if let Some(middle) = middle {
            *name = format!("{name}: {:.2}×", middle.value);
        }
    }
    Panel {
        title: String::new(),
        x: "",
        y: "how many times better ours is",
        content: Content::Bars { groups, bars },
    }
}

fn place(record: &Record) -> &'static str {
    match record.place.as_str() {
        "native" => "host",
        _ => "guest",
    }
}

/// What a target of the project's is about.
fn target(name: &str) -> &str {
    match name {
        "P1" => "IPv4 lookups",
        "P2" => "IPv6 lookups",
        "P3" => "many FIBs",
        "P4" => "route changes",
        "P5" => "transmit queues",
        "P6" => "pairs of jails",
        "P7" => "packets and tags",
        "P8" => "checksums",
        "P9" => "IPv6 floods",
        "P11" => "a driver",
        "statistics" => "statistics, beside none",
        "tuning" => "settings, beside the first ones",
        "wire" => "headers and segments",
        other => other,
    }
}
