// SPDX-License-Identifier: BSD-2-Clause
//! The page's markup and style.

use std::collections::{BTreeMap, BTreeSet};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::draw::{self, side};
use super::sections::{self, Section};
use super::{Bench, Run, Runs};
use crate::plot::{Content, Figure};
use crate::race::OURS;
use crate::record::Record;

const STYLE: &str = include_str!("style.css");

/// The whole page.
///
/// # Errors
/// What the drawing library says.
pub(super) fn page(runs: &Runs, benches: &[Bench]) -> anyhow::Result<String> {
    let sections = sections::sections(benches);
    let glance = draw::svg(&sections::glance(benches), &[])?;
    let mut parts = Vec::new();
    for section in &sections {
        parts.push(part(section)?);
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "weft: benchmarks" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "weft, measured" }
                    (facts(benches))
                    @if benches.iter().filter_map(|bench| bench.run.as_ref()).any(|run| run.quick) { p.note {
                        "Some of these are quick forms of the benchmarks: few rounds, small tables. They show that "
                        "everything runs, and what the plots look like; figures to quote come from the full forms on a quiet machine." } }
                    nav { @for section in &sections { a href={"#" (section.bench.name)} { (section.title) } } }
                }
                main {
                    section {
                        h2 { "At a glance" }
                        p { "Each dot is one figure beside one peer, on a logarithmic scale: right of 1, ours is better. "
                            "The bar is the median of a row; dots at the edge lie beyond it." }
                        figure.wide { (PreEscaped(glance)) }
                    }
                    @for part in parts { (part) }
                    (environment(runs, benches))
                }
            }
        }
    };
    Ok(page.into_string())
}

/// What the page is of; each part says of itself what it is of.
fn facts(benches: &[Bench]) -> Markup {
    let figures: usize = benches.iter().map(|bench| bench.records.len()).sum();
    let of = |what: fn(&Run) -> &String| -> BTreeSet<&str> {
        let runs = benches.iter().map(|bench| bench.run.as_ref().map(what));
        runs.map(|text| text.map_or(NOT_RECORDED, |text| or_unknown(text)))
            .collect()
    };
    let all = |texts: BTreeSet<&str>| texts.into_iter().collect::<Vec<_>>().join("; ");
    let when = of(|run| &run.when);
    let known = || when.iter().copied().filter(|when| *when != NOT_RECORDED);
    let when = match (known().next(), known().next_back()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(at), _) => at.to_owned(),
        _ => NOT_RECORDED.to_owned(),
    };
    html! {
        dl.facts {
            div { dt { "revision" } dd { (all(of(|run| &run.commit))) } }
            div { dt { "measured" } dd { (when) } }
            div { dt { "figures" } dd { (figures) } }
        }
    }
}

const NOT_RECORDED: &str = "not recorded";

fn or_unknown(text: &str) -> &str {
    match text {
        "" => NOT_RECORDED,
        text => text,
    }
}

/// What a benchmark's records are of.
fn made(run: Option<&Run>) -> String {
    let Some(run) = run else {
        return "Of which revision and when: not recorded.".to_owned();
    };
    let form = if run.quick { ", in quick form" } else { "" };
    let load = match run.loads.join(" before, ") {
        loads if loads.is_empty() => String::new(),
        loads => format!(" Load of the host: {loads} after."),
    };
    let (commit, when) = (or_unknown(&run.commit), or_unknown(&run.when));
    format!("Of {commit}, {when}{form}.{load}")
}

fn part(section: &Section<'_>) -> anyhow::Result<Markup> {
    let mut figures = Vec::new();
    for figure in &section.figures {
        figures.push(drawn(figure)?);
    }
    let bench = section.bench;
    Ok(html! {
        section id=(bench.name) {
            h2 { (section.title) }
            p { (section.lead) }
            p.made { (made(bench.run.as_ref())) }
            @for figure in figures { (figure) }
            details {
                summary { "All " (bench.records.len()) " figures" }
                (table(&bench.records))
            }
            p.raw { a href={"data/" (bench.name) ".json"} { (bench.name) ".json" } }
        }
    })
}

/// A figure: its title, a legend if dots need one, its panels.
fn drawn(figure: &Figure) -> anyhow::Result<Markup> {
    let is_rows = |content: &Content| matches!(content, Content::Bars { .. });
    let rows = figure.panels.iter().any(|panel| is_rows(&panel.content));
    let mut panels = Vec::new();
    for panel in &figure.panels {
        panels.push((panel, draw::svg(panel, &figure.names)?));
    }
    Ok(html! {
        h3 { (figure.title) }
        @if rows {
            ul.legend { @for name in figure.names.iter().filter(|name| *name != OURS) {
                li { span style={"background:var(--side" (side(&figure.names, name)) ")"} {} (name) }
            } }
        }
        div.panels {
            @for (panel, svg) in panels {
                figure.wide[draw::is_wide(panel)] {
                    figcaption { (panel.title) }
                    (PreEscaped(svg))
                }
            }
        }
    })
}

fn table(records: &[Record]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr {
                th { "work" } th { "metric" } th { "beside" } th.number { "ours" } th.number { "theirs" }
                th { "unit" } th.number { "times better" } th.number { "of the rounds" } th.number { "rounds" }
            } }
            tbody { @for record in records { (row(record)) } }
        } }
    }
}

fn row(record: &Record) -> Markup {
    let spread = record.spread.ratio.map_or_else(String::new, |spread| {
        format!("{} to {}", digits(spread.min), digits(spread.max))
    });
    let is_worse = record.ratio.is_some_and(|ratio| ratio < 1.0);
    html! {
        tr {
            td { (record.work) } td { (record.metric) } td { (record.peer) }
            td.number { (digits(record.ours)) }
            td.number { (record.theirs.map_or_else(String::new, digits)) }
            td { (record.unit) }
            td.number.worse[is_worse] { (record.ratio.map_or_else(String::new, digits)) }
            td.number { (spread) }
            td.number { (record.rounds) }
        }
    }
}

/// Three digits that count, and a comma at each thousand.
fn digits(value: f64) -> String {
    let size = value.abs();
    let text = match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

fn environment(runs: &Runs, benches: &[Bench]) -> Markup {
    let mut facts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |name, value: String| {
        let values = facts.entry(name).or_default();
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    };
    for record in benches.iter().flat_map(|bench| &bench.records) {
        let place = if record.place == "native" {
            "host"
        } else {
            "guest"
        };
        add(place, record.machine.clone());
        for (name, version) in &record.versions {
            add("versions", format!("{name} {version}"));
        }
    }
    for run in benches.iter().filter_map(|bench| bench.run.as_ref()) {
        add("system", run.system.clone());
    }
    for reason in &runs.left_out {
        add("left out", reason.clone());
    }
    html! {
        section id="environment" {
            h2 { "Where and with what" }
            dl.environment { @for (name, values) in &facts {
                @if !values.is_empty() { dt { (name) } dd { (values.join("; ")) } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn three_digits_count() {
        let texts = [0.5, 12.34, 999.6, 1234567.0, -1234.0, -123456.0].map(digits);
        assert_eq!(
            texts,
            ["0.50", "12.3", "1,000", "1,234,567", "-1,234", "-123,456"]
        );
    }
}
