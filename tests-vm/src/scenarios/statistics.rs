// SPDX-License-Identifier: BSD-2-Clause
//! What the engine declares of its numbers (`engine/src/stats/`) holds in a running kernel:
//! each is there, described and labelled as declared, and no other is; settings begin
//! as they are said to, and take what is said to be allowed, and nothing else.

use std::time::Duration;

use regex::Regex;
use weft_engine::stats::{
    BUCKETS, GROUPS, Group, HISTOGRAMS, Initial, Kind, Range, Setting, Stat, Writer,
};

use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "statistics",
    group: "pair",
    about: "each number that is declared is there as declared, with its labels, and no other; settings keep to their ranges",
    run,
    ..Scenario::ORDINARY
};

/// How long reading a tree may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Where all is declared.
const TOPS: [&str; 3] = ["net.weft.pair", "net.weft.fib", "net.weft.latency"];
/// Below them, what begins so is not.
const NOT_DECLARED: &str = "net.weft.fib.check";
/// What queues have that workers do not drain alone: a pair's have no such setting.
const NOT_OF_PAIRS: &str = "service";

/// A dashboard for Grafana, and alerts for Prometheus.
const DASHBOARD: &str = include_str!("../../../docs/grafana.json");
const ALERTS: &str = include_str!("../../../docs/alerts.yml");

/// A number as the kernel shows it.
struct Shown {
    name: String,
    label: String,
    about: String,
    value: String,
}

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    let pair = context.guest.line("if create wpair0")?;
    let shown = tree(context)?;
    for (full, stat) in declared() {
        described(context, &shown, &full, stat);
    }
    undeclared(context, &shown);
    labelled(context)?;
    for (full, stat) in declared() {
        if let Kind::Setting(setting) = stat.kind {
            begins(context, &shown, &full, &setting);
            let node = shown.iter().find(|shown| is(&shown.name, &full));
            let name = node.map(|node| node.name.clone()).unwrap_or_default();
            keeps_to(context, &name, stat, &setting)?;
        }
    }
    let command = format!("if destroy {pair}");
    context.guest.call_within(&command, LIMIT)?;
    context.unload_weft()
}

/// All that is declared of these, with the full name, in which some parts stand for others.
fn declared() -> impl Iterator<Item = (String, &'static Stat)> {
    let of = |group: &'static Group| {
        let in_tops = |place: &&&str| TOPS.iter().any(|top| place.starts_with(top));
        let places = group.places.iter().filter(in_tops);
        places.flat_map(|place| {
            group
                .stats
                .iter()
                .map(move |stat| (full(place, stat), stat))
        })
    };
    let all = GROUPS.iter().copied().flat_map(of);
    all.filter(|(full, _)| !full.ends_with(NOT_OF_PAIRS))
}

fn full(place: &str, stat: &Stat) -> String {
    let name = stat.name.to_string_lossy();
    match stat.below {
        Some(below) => format!("{place}.{}.{name}", below.name.to_string_lossy()),
        None => format!("{place}.{name}"),
    }
}

/// Whether a number's name is one that `declared` stands for.
fn is(name: &str, declared: &str) -> bool {
    let (parts, declared) = (name.split('.'), declared.split('.'));
    parts.clone().count() == declared.clone().count()
        && parts
            .zip(declared)
            .all(|(part, declared)| declared.starts_with('<') || part == declared)
}

fn below_tops(context: &mut Context<'_>, command: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for top in TOPS {
        let command = format!("sysctl {command} {top}");
        lines.extend(context.guest.call_within(&command, LIMIT)?);
    }
    lines.retain(|line| !line.starts_with(NOT_DECLARED));
    Ok(lines)
}

fn tree(context: &mut Context<'_>) -> Result<Vec<Shown>> {
    let lines = below_tops(context, "tree")?;
    let shown = lines.iter().filter_map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _, _, label, about, value] = fields[..] else {
            return None;
        };
        let [name, label, about, value] = [name, label, about, value].map(str::to_owned);
        Some(Shown {
            name,
            label,
            about,
            value,
        })
    });
    let shown: Vec<Shown> = shown.collect();
    context
        .report
        .equal(&shown.len(), &lines.len(), "each number has six fields");
    Ok(shown)
}

/// A number is there, and is what it is declared to be, wherever it is.
fn described(context: &mut Context<'_>, shown: &[Shown], full: &str, stat: &Stat) {
    let found: Vec<&Shown> = shown.iter().filter(|shown| is(&shown.name, full)).collect();
    let label = stat
        .label()
        .map_or("".into(), |label| label.to_string_lossy());
    let wrong = found.iter().find(|shown| {
        shown.about != stat.about.to_string_lossy()
            || shown.label != label
            || !holds(stat, &shown.value)
    });
    context.report.check(
        !found.is_empty() && wrong.is_none(),
        &format!("{full} is there as declared"),
        match wrong {
            Some(wrong) => format!("{}: {}: {}", wrong.name, wrong.about, wrong.value),
            None => "it is nowhere".to_owned(),
        },
    );
}

/// Whether a value is of its kind.
fn holds(stat: &Stat, value: &str) -> bool {
    let numbers: Vec<_> = value.split(' ').map(str::parse::<u64>).collect();
    let count = match stat.kind {
        Kind::Buckets => BUCKETS,
        _ => 1,
    };
    numbers.len() == count && numbers.iter().all(std::result::Result::is_ok)
}

/// Nothing is there that is not declared.
fn undeclared(context: &mut Context<'_>, shown: &[Shown]) {
    let histogram = |name: &str| {
        HISTOGRAMS.iter().any(|histogram| {
            let of = |place: &&str| {
                let base = format!("{place}.{}", histogram.name);
                is(name, &format!("{base}_sum"))
                    || is(name, &format!("{base}_count"))
                    || is(name, &format!("{base}_bucket.<le>"))
            };
            histogram.places.iter().any(of)
        })
    };
    let known = |shown: &&Shown| {
        declared().any(|(full, _)| is(&shown.name, &full)) || histogram(&shown.name)
    };
    let rest: Vec<&str> = shown
        .iter()
        .filter(|shown| !known(shown))
        .map(|shown| shown.name.as_str())
        .collect();
    context
        .report
        .equal(&rest, &Vec::new(), "nothing is there that is not declared");
}

/// Readers of metrics find each number under one name, told apart by labels.
fn labelled(context: &mut Context<'_>) -> Result<()> {
    let metrics = below_tops(context, "metrics")?;
    let missing: Vec<String> = declared()
        .filter(|(_, stat)| !matches!(stat.kind, Kind::Buckets))
        .map(|(full, stat)| metric(&full, stat))
        .filter(|wanted| !metrics.iter().any(|line| line.starts_with(wanted.as_str())))
        .collect();
    context.report.equal(
        &missing,
        &Vec::new(),
        "each is a metric of prometheus_sysctl_exporter(8) with its labels",
    );
    asked_for(context, &metrics);
    Ok(())
}

/// Each number that the dashboard and the alerts in `docs/` ask for is there, and has the
/// labels by which they ask.
fn asked_for(context: &mut Context<'_>, metrics: &[String]) {
    let name = Regex::new(r#"(sysctl_net_weft_\w+)(?:\{([^}]*)\})?"#).expect("a pattern");
    let label = Regex::new(r#"(\w+)(?:=|!=|=~)\\?""#).expect("a pattern");
    for (file, text) in [("grafana.json", DASHBOARD), ("alerts.yml", ALERTS)] {
        let missing: Vec<&str> = name
            .captures_iter(text)
            .filter(|asked| {
                let labels = asked.get(2).map_or("", |labels| labels.as_str());
                let labels: Vec<String> = label
                    .captures_iter(labels)
                    .map(|found| format!("{}=\"", &found[1]))
                    .collect();
                !metrics.iter().any(|line| {
                    let (metric, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(0));
                    metric == &asked[1] && labels.iter().all(|label| rest.contains(label))
                })
            })
            .map(|asked| asked.get(0).map_or("", |all| all.as_str()))
            .collect();
        let asked = name.find_iter(text).count();
        context.report.check(
            asked > 5 && missing.is_empty(),
            &format!("docs/{file} asks for what is there, {asked} times"),
            format_args!("{missing:?}"),
        );
    }
}

/// How the first of those that `full` stands for begins as a metric.
fn metric(full: &str, stat: &Stat) -> String {
    let own = stat.name.to_string_lossy();
    let (mut name, mut labels) = (String::from("sysctl"), Vec::new());
    let last = full.split('.').count() - 1;
    for (place, part) in full.split('.').enumerate() {
        match (part, stat.label()) {
            ("<interface>", _) => labels.push("interface=\"wpair0a\"".to_owned()),
            ("<fib>", _) => labels.push("fib=\"0\"".to_owned()),
            ("<queue>", _) => labels.push("queue=\"0\"".to_owned()),
            (_, Some(label)) if place == last => {
                labels.push(format!("{}=\"{own}\"", label.to_string_lossy()));
            }
            _ => name = format!("{name}_{part}"),
        }
    }
    match labels.is_empty() {
        true => format!("{name} "),
        false => format!("{name}{{{}}} ", labels.join(",")),
    }
}

/// A setting is at first what it is said to be.
fn begins(context: &mut Context<'_>, shown: &[Shown], full: &str, setting: &Setting) {
    let Initial::Is(initial) = setting.initial else {
        return;
    };
    let initial = initial.to_string();
    let other = shown
        .iter()
        .find(|shown| is(&shown.name, full) && shown.value != initial);
    context.report.check(
        other.is_none(),
        &format!("{full} is {initial} at first"),
        other.map_or("", |other| other.value.as_str()),
    );
}

/// A setting takes the least and the most, and nothing beyond.
fn keeps_to(context: &mut Context<'_>, name: &str, stat: &Stat, setting: &Setting) -> Result<()> {
    let Range::Of(least, most) = setting.range else {
        return Ok(());
    };
    if setting.writer == Writer::Loader {
        let why = context
            .guest
            .refused(&format!("sysctl set {name} {most}"))?;
        let what = format!("{name} is set by the loader only");
        context.report.check(why.starts_with("EPERM"), &what, &why);
        return Ok(());
    }
    let before = context.guest.number(&format!("sysctl get {name}"))?;
    for value in [least.checked_sub(1), most.checked_add(1)]
        .into_iter()
        .flatten()
    {
        let command = format!("sysctl set {name} {value}");
        let why = context.guest.refused(&command)?;
        let what = format!("{name}={value} is refused");
        context.report.check(why.starts_with("EINVAL"), &what, &why);
    }
    for value in [least, most, before] {
        context.guest.call(&format!("sysctl set {name} {value}"))?;
    }
    let after = context.guest.number(&format!("sysctl get {name}"))?;
    let what = format!("{} takes {least} and {most}", stat.name.to_string_lossy());
    context.report.equal(&after, &before, &what);
    Ok(())
}
