// SPDX-License-Identifier: BSD-2-Clause
//! What the engine declares of its numbers (`engine/src/stats/`) holds in a running kernel:
//! each is there, described and labelled as declared, and no other is; settings begin
//! as they are said to, and take what is said to be allowed, and nothing else.

use std::time::{Duration, Instant};

use regex::Regex;
use weft_engine::stats::{
    BUCKETS, GROUPS, Group, HISTOGRAMS, Initial, Kind, Range, Setting, Stat, Writer,
};

use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::{FIRST_SLOT, Nic};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "statistics",
    group: "pair",
    about: "each number that is declared is there as declared, with its labels, and no other; settings keep to their ranges",
    run,
    ..Scenario::ORDINARY
};

pub(super) const SCENARIO_NIC: Scenario = Scenario {
    name: "statistics-nic",
    group: "statistics-nic",
    about: "the same of network cards and their queues",
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run: run_nic,
    ..Scenario::ORDINARY
};

/// How long reading a tree may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What is looked at, and what of it is not.
struct Extent {
    /// Nodes below which all is declared.
    tops: &'static [&'static str],
    /// Below them, what has one of these in its name is not: neither in the kernel nor where
    /// it is declared.
    but: &'static [&'static str],
    /// The kernel has these there that are no settings of ours.
    not_declared: &'static [&'static str],
}

const MODULE: Extent = Extent {
    tops: &[
        "net.weft.pair",
        "net.weft.fib",
        "net.weft.latency",
        "net.weft.packet",
        "net.weft.l3",
        "net.weft.ipv6",
    ],
    // Pairs' queues have workers only. There is no card.
    but: &[".service", ".completion."],
    not_declared: &["net.weft.fib.check"],
};

const CARDS: Extent = Extent {
    tops: &[
        "dev.wvmx.0",
        "dev.wem.0",
        "dev.wvtnet.0",
        "net.weft.latency.completion",
    ],
    but: &[],
    // What newbus has of a device, and what the card itself counts.
    not_declared: &[".%", ".device.", ".wake"],
};

/// Who drives the cards, in their order.
const DRIVERS: [&str; 3] = ["wvmx", "wem", "wvtnet"];

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
    let layer = context.guest.line(&format!("if create {pair}.ip"))?;
    let metrics = MODULE.holds(context)?;
    asked_for(context, &metrics);
    for name in [layer, pair] {
        let command = format!("if destroy {name}");
        context.guest.call_within(&command, LIMIT)?;
    }
    idle(context)?;
    context.unload_weft()
}

/// A frame of Ethernet for nobody.
const FRAME: &str = "02000000123402000000567888b5000000000000000000000000";
/// Bytes that a histogram takes at most.
const HISTOGRAM: u64 = 8192;

/// Queues that pass nothing on have no histograms, also when all is read; then each queue
/// that passes something on gets one.
fn idle(context: &mut Context<'_>) -> Result<()> {
    let names = context.column("malloc sysctloid", 1)?;
    let pair = context.guest.line("if create wpair")?;
    let names = context.column("malloc sysctloid", 1)? - names;
    let queues = context.guest.number("sysctl get net.weft.pair.queues")?;
    context.report.note(&format!(
        "names and descriptions of a pair with {queues} queues a direction take {names} bytes"
    ));
    let fresh = context.bytes_held("weft")?;
    MODULE.tree(context)?;
    let read = context.bytes_held("weft")?;
    let what =
        "queues that have passed nothing on take no memory for times, also when they are read";
    context.report.equal(&read, &fresh, what);
    let other = format!("{}b", &pair[..pair.len() - 1]);
    let send = format!("ether send {pair} {FRAME}");
    context
        .guest
        .each(&[format!("if up {other}"), format!("if up {pair}"), send])?;
    let start = Instant::now();
    let count = |context: &mut Context<'_>| {
        let sum =
            |place: u64| format!("sysctl get net.weft.pair.{pair}.queue.{place}.sojourn_ns_count");
        (0..queues)
            .map(|place| context.guest.number(&sum(place)))
            .sum::<Result<u64>>()
    };
    while count(context)? == 0 && start.elapsed() < LIMIT {}
    let timed = context.bytes_held("weft")? - read;
    context.report.check(
        timed > 0 && timed <= 2 * queues * HISTOGRAM,
        "a queue that has passed a frame on has a histogram",
        format_args!("{timed} bytes more"),
    );
    let command = format!("if destroy {pair}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

fn run_nic(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    let place = |number| format!("pci0:0:{}:0", FIRST_SLOT + number);
    for (number, driver) in DRIVERS.iter().enumerate() {
        let set = format!("devctl set {} {driver}", place(number));
        context.guest.call_within(&set, LIMIT)?;
    }
    CARDS.holds(context)?;
    for number in 0..DRIVERS.len() {
        let detach = format!("devctl detach {}", place(number));
        context.guest.call_within(&detach, LIMIT)?;
    }
    context.unload_weft()
}

impl Extent {
    /// What is declared is there, and nothing else. Returns the metrics.
    fn holds(&self, context: &mut Context<'_>) -> Result<Vec<String>> {
        let shown = self.tree(context)?;
        let declared = || {
            let of = |group| self.of_group(group);
            GROUPS.iter().copied().flat_map(of)
        };
        for (full, stat) in declared() {
            described(context, &shown, &full, stat);
        }
        let known: Vec<String> = declared().map(|(full, _)| full).collect();
        undeclared(context, &shown, &known);
        let metrics = self.below_tops(context, "metrics")?;
        labelled(context, &shown, declared(), &metrics);
        for (full, stat) in declared() {
            if let Kind::Setting(setting) = stat.kind {
                begins(context, &shown, &full, &setting);
                let node = shown.iter().find(|shown| is(&shown.name, &full));
                let name = node.map(|node| node.name.clone()).unwrap_or_default();
                keeps_to(context, &name, stat, &setting)?;
            }
        }
        Ok(metrics)
    }

    /// All that is declared of a group here, with the full name, in which some parts stand for
    /// others.
    fn of_group(&self, group: &'static Group) -> impl Iterator<Item = (String, &'static Stat)> {
        let begins = |place: &str, top: &str| {
            let mut parts = place.split('.').zip(top.split('.'));
            place.split('.').count() >= top.split('.').count()
                && parts.all(|(part, top)| part.starts_with('<') || part == top)
        };
        let in_tops = move |place: &&&str| self.tops.iter().any(|top| begins(place, top));
        let places = group.places.iter().filter(in_tops);
        let all = places.flat_map(|place| group.stats.iter().map(move |stat| (place, stat)));
        let all = all.map(|(place, stat)| (full(place, stat), stat));
        all.filter(|(full, _)| !self.but.iter().any(|but| full.contains(but)))
    }

    fn below_tops(&self, context: &mut Context<'_>, command: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for top in self.tops {
            let command = format!("sysctl {command} {top}");
            lines.extend(context.guest.call_within(&command, LIMIT)?);
        }
        Ok(lines)
    }

    fn tree(&self, context: &mut Context<'_>) -> Result<Vec<Shown>> {
        let lines = self.below_tops(context, "tree")?;
        let fields = |line: &String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let fields: Vec<_> = lines.iter().map(fields).collect();
        let short = fields.iter().find(|fields| fields.len() != 6);
        context
            .report
            .equal(&short, &None, "each number has six fields");
        let shown = fields.into_iter().filter_map(|fields| {
            let [name, _, _, label, about, value] = fields.try_into().ok()?;
            Some(Shown {
                name,
                label,
                about,
                value,
            })
        });
        let is_ours = |shown: &Shown| {
            let mut others = self.not_declared.iter();
            !others.any(|other| shown.name.contains(other))
        };
        Ok(shown.filter(is_ours).collect())
    }
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

/// A number is there, and is what it is declared to be, wherever it is.
fn described(context: &mut Context<'_>, shown: &[Shown], full: &str, stat: &Stat) {
    let found: Vec<&Shown> = shown.iter().filter(|shown| is(&shown.name, full)).collect();
    let label = stat
        .label()
        .map_or("".into(), |label| label.to_string_lossy());
    let about = stat.about.to_string_lossy();
    // What depends on the object is said behind.
    let is_about = |said: &str| match said.strip_prefix(&*about) {
        Some(more) => more.is_empty() || more.starts_with("; "),
        None => false,
    };
    let wrong = found.iter().find(|shown| {
        !is_about(&shown.about) || shown.label != label || !holds(stat, &shown.value)
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
    if let Kind::Text(_) = stat.kind {
        return !value.is_empty();
    }
    let numbers: Vec<_> = value.split(' ').map(str::parse::<u64>).collect();
    let count = match stat.kind {
        Kind::Buckets => BUCKETS,
        Kind::Row(count) => count as usize,
        _ => 1,
    };
    numbers.len() == count && numbers.iter().all(std::result::Result::is_ok)
}

/// Nothing is there that is not declared.
fn undeclared(context: &mut Context<'_>, shown: &[Shown], declared: &[String]) {
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
        let mut declared = declared.iter();
        declared.any(|full| is(&shown.name, full)) || histogram(&shown.name)
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
fn labelled(
    context: &mut Context<'_>,
    shown: &[Shown],
    declared: impl Iterator<Item = (String, &'static Stat)>,
    metrics: &[String],
) {
    let missing: Vec<String> = declared
        .filter(|(_, stat)| !matches!(stat.kind, Kind::Buckets | Kind::Row(_) | Kind::Text(_)))
        .map(|(full, stat)| {
            let first = shown.iter().find(|shown| is(&shown.name, &full));
            metric(&full, first.map_or("", |shown| &shown.name), stat)
        })
        .filter(|wanted| !metrics.iter().any(|line| line.starts_with(wanted.as_str())))
        .collect();
    context.report.equal(
        &missing,
        &Vec::new(),
        "each is a metric of prometheus_sysctl_exporter(8) with its labels",
    );
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

/// How the number of that name, which `full` stands for, begins as a metric.
fn metric(full: &str, name: &str, stat: &Stat) -> String {
    let own = stat.name.to_string_lossy();
    let (mut metric, mut labels) = (String::from("sysctl"), Vec::new());
    let last = full.split('.').count() - 1;
    for (place, (part, value)) in full.split('.').zip(name.split('.')).enumerate() {
        match (part, stat.label()) {
            // newbus has a label for the unit's number only.
            ("<driver>", _) => metric = format!("{metric}_{value}"),
            ("<n>", _) => labels.push(format!("device_index=\"{value}\"")),
            (_, Some(label)) if place == last => {
                labels.push(format!("{}=\"{own}\"", label.to_string_lossy()));
            }
            _ => match part
                .strip_prefix('<')
                .and_then(|part| part.strip_suffix('>'))
            {
                Some(label) => labels.push(format!("{label}=\"{value}\"")),
                None => metric = format!("{metric}_{part}"),
            },
        }
    }
    match labels.is_empty() {
        true => format!("{metric} "),
        false => format!("{metric}{{{}}} ", labels.join(",")),
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
