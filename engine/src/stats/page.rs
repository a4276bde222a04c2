// SPDX-License-Identifier: BSD-2-Clause
//! The pages of the documentation that are made of what is declared.

use std::fmt::{self, Write};

use super::{
    BUCKETS, Cause, GROUPS, Group, HISTOGRAMS, Initial, Kind, Range, Setting, Stat, Writer,
};

/// A page and where it is in the repository.
#[derive(Debug)]
pub struct Page {
    /// Its path, from the repository's root.
    pub path: &'static str,
    /// All of it.
    pub text: String,
}

/// All pages.
pub fn all() -> [Page; 2] {
    let page = |path, write: fn(&mut String) -> fmt::Result| {
        let mut text = String::new();
        // Text takes whatever is written.
        let _ = write(&mut text);
        Page { path, text }
    };
    [
        page("docs/statistics.md", statistics),
        page("docs/tuning.md", tuning),
    ]
}

const MADE: &str = "Made by `cargo xtask docs` of what `engine/src/stats/declared/` says, as are the OIDs themselves.";

fn statistics(text: &mut String) -> fmt::Result {
    writeln!(
        text,
        "# Statistics\n\n{MADE}\n\n\
         Numbers are of 64 bits. A counter only grows, until what it is of goes. A name in angle brackets is one of many and\n\
         has a label in prometheus_sysctl_exporter(8): `net.weft.pair.wpair0a.queue.3.packets` is there\n\
         `sysctl_net_weft_pair_queue_packets{{interface=\"wpair0a\",queue=\"3\"}}`; names below `drops` and `lost` of one object are values\n\
         of the label `reason`. Settings are in [tuning.md](tuning.md). IPv6's rules are in [ipv6-policy.md](ipv6-policy.md).\n\n\
         Numbers are read one by one, each of its own moment. A row, such as `snapshot` of a queue, is of one moment.\n\n\
         What a card itself counts, by registers of its own, is below `device` at the card and its queues, with descriptions of\n\
         its driver's (`sysctl -d dev.wvmx.0`)."
    )?;
    let has_numbers = |group: &&&Group| {
        let is_set = |stat: &Stat| matches!(stat.kind, Kind::Setting(_) | Kind::Text(_));
        !group.stats.iter().all(is_set)
    };
    for group in GROUPS.iter().filter(has_numbers) {
        heading(text, group)?;
        writeln!(
            text,
            "| number | kind | what it tells |\n| --- | --- | --- |"
        )?;
        for stat in group.stats {
            let kind = match stat.kind {
                Kind::Counter | Kind::Lost(_) => "counter",
                Kind::Gauge => "gauge",
                Kind::Buckets => "counters",
                Kind::Row(_) => "numbers",
                Kind::Setting(_) | Kind::Text(_) => continue,
            };
            writeln!(text, "| `{}` | {kind} | {} |", name(stat), about(stat))?;
        }
    }
    histograms(text)?;
    causes(text)
}

fn heading(text: &mut String, group: &Group) -> fmt::Result {
    writeln!(text, "\n## {}\n", group.about)?;
    let places: Vec<String> = group.places.iter().map(|at| format!("`{at}`")).collect();
    writeln!(text, "{}\n", places.join(", "))
}

fn name(stat: &Stat) -> String {
    let own = stat.name.to_string_lossy();
    match stat.below {
        Some(below) => format!("{}.{own}", below.name.to_string_lossy()),
        None => own.into_owned(),
    }
}

fn about(stat: &Stat) -> String {
    stat.about.to_string_lossy().replace('|', "\\|")
}

fn histograms(text: &mut String) -> fmt::Result {
    writeln!(
        text,
        "\n## Histograms\n\n\
         `<name>_bucket.<limit>` counts all that was no more than the limit, `+Inf` all; `<name>_count` is the same number, and\n\
         `<name>_sum` the sum. Limits are values of the label `le`. Memory for one is taken when something is first counted.\n\n\
         Behind these, and behind the numbers of `net.weft.latency`, are {BUCKETS} buckets, which can be added to those of others. The\n\
         first 16 are of one number each, 0 and 1 in the first; from there on each power of two is divided into 16 of one size. A\n\
         bucket ends with its limit, and the last is of all above 2^36. So a limit is at most 1/16 above any number in its bucket.\n\n\
         | histogram | below | limits | of |\n| --- | --- | --- | --- |"
    )?;
    for shown in HISTOGRAMS {
        let (least, most) = (shown.limits.first(), shown.limits.last());
        let places: Vec<String> = shown.places.iter().map(|at| format!("`{at}`")).collect();
        writeln!(
            text,
            "| `{}` | {} | powers of two, {} to {} | {} |",
            shown.name,
            places.join(", "),
            least.unwrap_or(&0),
            most.unwrap_or(&0),
            shown.about
        )?;
    }
    Ok(())
}

fn causes(text: &mut String) -> fmt::Result {
    writeln!(
        text,
        "\n## Why packets are lost\n\n\
         | number | reason | what has happened | what to do | what test brings it about |\n| --- | --- | --- | --- | --- |"
    )?;
    for (number, cause) in Cause::ALL.iter().enumerate() {
        writeln!(
            text,
            "| {number} | `{}` | {} | {} | {} |",
            cause.name().to_string_lossy(),
            cause.meaning(),
            cause.remedy(),
            cause.shown()
        )?;
    }
    Ok(())
}

fn tuning(text: &mut String) -> fmt::Result {
    writeln!(
        text,
        "# Tuning\n\n{MADE}\n\n\
         A value out of its range is refused with `EINVAL`, and a line on the console says what is allowed. A test in the kernel\n\
         holds defaults and ranges against what is written here."
    )?;
    for group in GROUPS {
        let settings = group.stats.iter().filter_map(|stat| match stat.kind {
            Kind::Setting(setting) | Kind::Text(setting) => Some((stat, setting)),
            _ => None,
        });
        let mut settings = settings.peekable();
        if settings.peek().is_some() {
            heading(text, group)?;
        }
        for (stat, setting) in settings {
            described(text, stat, &setting)?;
        }
    }
    Ok(())
}

fn described(text: &mut String, stat: &Stat, setting: &Setting) -> fmt::Result {
    let initial = match setting.initial {
        Initial::Is(value) => value.to_string(),
        Initial::Depends(on) => on.to_owned(),
    };
    let range = match setting.range {
        Range::Of(least, most) => format!("{least} to {most}"),
        Range::Depends(on) => on.to_owned(),
    };
    let writer = match setting.writer {
        Writer::Host => "the host's root",
        Writer::HostOrLoader => "the host's root, loader(8)",
        Writer::Loader => "loader(8) only",
        Writer::Jail => "root of the jail that has the object, the host's root",
    };
    writeln!(
        text,
        "### `{}`\n\n{}.\n\n\
         - At first: {initial}. Allowed: {range}. Who: {writer}.\n\
         - When: {}\n\
         - Measured: {}.\n",
        name(stat),
        about(stat),
        setting.when,
        measured(setting.measured)
    )
}

/// A file of `docs/` becomes a link.
fn measured(text: &str) -> String {
    match text.strip_prefix("docs/") {
        Some(file) => format!("[{file}]({file})"),
        None => text.to_owned(),
    }
}
