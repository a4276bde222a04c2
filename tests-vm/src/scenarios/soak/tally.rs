// SPDX-License-Identifier: BSD-2-Clause
//! What a soak has done and what became of it: its summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use super::chance::Kind;

/// Reasons for refusals that are named for each kind of step.
const REASONS: usize = 4;

/// Commands of a kind that were carried out, and those that were refused, by the reason.
#[derive(Default)]
pub(super) struct Outcomes {
    done: u64,
    refused: BTreeMap<String, u64>,
}

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) seed: u64,
    pub(super) took: Duration,
    pub(super) rounds: u64,
    /// Steps, and commands in them.
    pub(super) steps: u64,
    /// Loads and unloads of the module, and how many of those by the build with checks.
    pub(super) cycles: [u64; 2],
    /// Packets that senders sent, and that interfaces received which lived until the end of a
    /// round.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Routes added, changed, deleted; refused.
    pub(super) routes: [u64; 4],
    /// Jails that were made and have died.
    pub(super) jails: u64,
    /// How often all figures were read.
    pub(super) readings: u64,
    /// Drops by their reason.
    pub(super) drops: BTreeMap<String, u64>,
    /// What was found held after an unload.
    pub(super) leaks: Vec<String>,
    /// Interrupts, memory and the like that is watched from round to round, a line each.
    pub(super) watched: Vec<String>,
    /// Where each step is written before it is taken.
    pub(super) log: Option<File>,
    pub(super) outcomes: BTreeMap<Kind, Outcomes>,
}

impl Tally {
    pub(super) fn done(&mut self, kind: Kind) {
        self.outcomes.entry(kind).or_default().done += 1;
    }

    /// Writes a line to the log of steps.
    pub(super) fn log(&mut self, line: &str) {
        if let Some(log) = &mut self.log {
            // A soak does not end for want of a line.
            let _ = writeln!(log, "{line}");
        }
    }

    /// Counts a refusal by the first word of what was said that is an error's name.
    pub(super) fn refused(&mut self, kind: Kind, why: &str) {
        let is_error = |word: &&str| {
            word.len() > 3
                && word.starts_with('E')
                && word
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        let words = why.split(|c: char| !c.is_ascii_alphanumeric());
        let name = words.into_iter().find(is_error).unwrap_or(why);
        let refused = &mut self.outcomes.entry(kind).or_default().refused;
        *refused.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn drop_of(&mut self, reason: &str, count: u64) {
        if count > 0 {
            *self.drops.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// Commands, and of them those that were refused.
    fn commands(&self) -> (u64, u64) {
        let refused = |one: &Outcomes| one.refused.values().sum::<u64>();
        let all = self.outcomes.values();
        all.fold((0, 0), |(all, no), one| {
            let refused = refused(one);
            (all + one.done + refused, no + refused)
        })
    }

    /// The summary, as `docs/testing.md` has it.
    pub(super) fn summary(&self, kernel: &str) -> String {
        let mut text = format!("| soak on {kernel} | |\n| --- | --- |\n");
        let (commands, refused) = self.commands();
        let [added, changed, deleted, failed] = self.routes;
        let leaks = match self.leaks.as_slice() {
            [] => "0".to_owned(),
            leaks => leaks.join(", "),
        };
        for (what, value) in [
            ("seed", self.seed.to_string()),
            ("minutes", format!("{:.1}", self.took.as_secs_f64() / 60.0)),
            ("rounds", self.rounds.to_string()),
            (
                "loads and unloads",
                format!(
                    "{}, {} of them with overflow checks",
                    self.cycles[0], self.cycles[1]
                ),
            ),
            (
                "commands",
                format!("{commands} in {} steps, {refused} refused", self.steps),
            ),
            ("packets sent by senders", self.sent.to_string()),
            (
                "packets received by what lived to the end of a round",
                self.received.to_string(),
            ),
            (
                "route changes",
                format!(
                    "{}: {added} added, {changed} changed, {deleted} deleted; {failed} failed",
                    added + changed + deleted
                ),
            ),
            ("jail lifetimes", self.jails.to_string()),
            ("readings of all figures", self.readings.to_string()),
            ("leaks", leaks),
        ] {
            let _ = writeln!(text, "| {what} | {value} |");
        }
        text += "\n| dropped for | packets |\n| --- | --- |\n";
        for (reason, count) in &self.drops {
            let _ = writeln!(text, "| {reason} | {count} |");
        }
        text += "\n| steps about | done | refused |\n| --- | --- | --- |\n";
        for (kind, outcomes) in &self.outcomes {
            let mut refused: Vec<_> = outcomes.refused.iter().collect();
            refused.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let named = refused.iter().take(REASONS);
            let named: Vec<String> = named.map(|(why, count)| format!("{count} {why}")).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                kind.about(),
                outcomes.done,
                named.join(", ")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_the_errors_name() {
        let mut tally = Tally::default();
        tally.refused(Kind::Verb, "command 1 (if up E): EBUSY (errno 16)");
        tally.refused(Kind::Verb, "EBUSY (errno 16)");
        tally.refused(Kind::Verb, "no such thing");
        tally.done(Kind::Verb);
        let summary = tally.summary("k");
        assert!(
            summary.contains("| 1 | 2 EBUSY, 1 no such thing |"),
            "{summary}"
        );
        assert!(summary.contains("| commands | 4 in 0 steps, 3 refused |"));
    }

    #[test]
    fn drops_add_up_by_reason() {
        let mut tally = Tally::default();
        tally.drop_of("pairs: full", 3);
        tally.drop_of("pairs: full", 4);
        tally.drop_of("pairs: down", 0);
        let summary = tally.summary("k");
        assert!(summary.contains("| pairs: full | 7 |") && !summary.contains("down |"));
        assert!(summary.contains("| leaks | 0 |"));
    }
}
