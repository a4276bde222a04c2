// SPDX-License-Identifier: BSD-2-Clause
//! Counts checks and writes them as TAP version 14 (testanything.org).

use std::fmt::{Display, Write};

/// How many checks passed, failed, or were not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Checks that found what they should.
    pub passed: usize,
    /// Checks that did not, and scenarios that broke off.
    pub failed: usize,
    /// Scenarios that could not be run.
    pub skipped: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A line of the document that [`Report::tap`] makes.
#[derive(Debug)]
enum Line {
    /// A check or a scenario, whether it is as it should be, and what follows its number.
    Point(bool, String),
    /// Text for people.
    Note(String),
}

/// The checks of one kernel, or of a part of its scenarios.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
    counts: Counts,
    scenario: String,
    prefix: String,
    is_final: bool,
}

impl Report {
    /// A report that says what it says at once with `prefix` before each line.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// Says something at once, on standard output.
    pub fn say(&self, text: &str) {
        let lines: Vec<String> = text
            .lines()
            .map(|line| format!("{}{line}", self.prefix))
            .collect();
        println!("{}", lines.join("\n"));
    }

    /// Adds what another report has, behind what this one has.
    pub fn append(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.counts += other.counts;
    }

    /// What failed, and why, a text each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut is_open = false;
        for line in &self.lines {
            match line {
                Line::Point(true, _) => is_open = false,
                Line::Point(false, what) => {
                    is_open = true;
                    failures.push(what.clone());
                }
                Line::Note(text) if is_open => {
                    if let Some(last) = failures.last_mut() {
                        *last += &format!("\n    {text}");
                    }
                }
                Line::Note(_) => {}
            }
        }
        failures
    }

    /// Whether something failed that a busy host may be to blame for: nothing that the
    /// kernel complained of.
    #[must_use]
    pub fn deserves_another_run(&self) -> bool {
        self.counts.failed > 0 && !self.is_final
    }

    /// Takes the place of `earlier`, whose failures stay readable as notes.
    pub fn supersede(&mut self, earlier: &Self) {
        for failure in earlier.failures() {
            self.note(&format!("failed beside another machine: {failure}"));
        }
    }

    /// The checks that follow belong to this scenario.
    pub fn begin(&mut self, scenario: &str) {
        self.scenario = scenario.into();
    }

    /// Notes a check; `detail` is shown if it failed.
    pub fn check(&mut self, holds: bool, what: &str, detail: impl Display) {
        if holds {
            self.pass(what);
        } else {
            self.fail(what, detail);
        }
    }

    /// Notes whether `found` is `wanted`.
    pub fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(
        &mut self,
        found: &T,
        wanted: &T,
        what: &str,
    ) {
        self.check(
            found == wanted,
            what,
            format_args!("found {found:?}, wanted {wanted:?}"),
        );
    }

    /// Notes a check that found what it should.
    pub fn pass(&mut self, what: &str) {
        self.counts.passed += 1;
        self.point(true, what, "");
    }

    /// Notes a check that did not, and why.
    pub fn fail(&mut self, what: &str, why: impl Display) {
        self.counts.failed += 1;
        let why = why.to_string();
        log::error!("{}{}: {what}: {why}", self.prefix, self.scenario);
        self.point(false, what, "");
        self.note(&why);
    }

    /// Notes what the kernel complained of, which no other run makes good.
    pub fn complaint(&mut self, what: &str, text: impl Display) {
        self.is_final = true;
        self.fail(what, text);
    }

    /// Notes a scenario that could not be run, and why.
    pub fn skip(&mut self, scenario: &str, why: &str) {
        self.counts.skipped += 1;
        self.scenario = scenario.into();
        self.point(true, "not run", &format!(" # SKIP {why}"));
    }

    /// Adds text for people.
    pub fn note(&mut self, text: &str) {
        let lines = text.lines().map(|line| Line::Note(line.into()));
        self.lines.extend(lines);
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// All checks as a TAP document.
    #[must_use]
    pub fn tap(&self) -> String {
        let mut tap = String::from("TAP version 14\n");
        let mut number = 0;
        for line in &self.lines {
            // Writing to a String cannot fail.
            let _ = match line {
                Line::Point(is_ok, what) => {
                    number += 1;
                    let result = if *is_ok { "ok" } else { "not ok" };
                    writeln!(tap, "{result} {number} - {what}")
                }
                Line::Note(text) => writeln!(tap, "# {text}"),
            };
        }
        tap + &format!("1..{number}\n")
    }

    fn point(&mut self, is_ok: bool, what: &str, directive: &str) {
        let what = what.replace('\\', "\\\\").replace('#', "\\#");
        let text = format!("{}: {what}{directive}", self.scenario);
        self.lines.push(Line::Point(is_ok, text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_complains_of_is_not_run_again() {
        let mut report = Report::default();
        report.pass("one");
        assert!(!report.deserves_another_run());
        report.equal(&1, &2, "number");
        assert!(report.deserves_another_run());
        let mut again = Report::default();
        again.pass("number");
        again.supersede(&report);
        assert_eq!((again.counts().failed, again.failures().len()), (0, 0));
        assert!(
            again
                .tap()
                .contains("# failed beside another machine: : number")
        );
        report.complaint("the kernel has no complaints", "lock order reversal");
        assert!(!report.deserves_another_run());
    }

    #[test]
    fn the_document_is_tap() {
        let mut report = Report::default();
        report.begin("load");
        report.pass("item #1");
        report.equal(&1, &2, "number");
        let mut more = Report::default();
        more.skip("fib", "no kernel");
        report.append(more);
        let failed = "load: number\n    found 1, wanted 2";
        assert_eq!(report.failures(), [failed]);
        assert_eq!(
            report.tap(),
            "TAP version 14\nok 1 - load: item \\#1\nnot ok 2 - load: number\n# found 1, wanted 2\n\
             ok 3 - fib: not run # SKIP no kernel\n1..3\n"
        );
        assert_eq!(
            report.counts(),
            Counts {
                passed: 1,
                failed: 1,
                skipped: 1
            }
        );
    }
}
