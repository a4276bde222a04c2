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

/// The checks of one kernel.
#[derive(Debug, Default)]
pub struct Report {
    tap: String,
    counts: Counts,
    scenario: String,
}

impl Report {
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
        self.point("ok", what, "");
    }

    /// Notes a check that did not, and why.
    pub fn fail(&mut self, what: &str, why: impl Display) {
        self.counts.failed += 1;
        let why = why.to_string();
        log::error!("{}: {what}: {why}", self.scenario);
        self.point("not ok", what, "");
        self.note(&why);
    }

    /// Notes a scenario that could not be run, and why.
    pub fn skip(&mut self, scenario: &str, why: &str) {
        self.counts.skipped += 1;
        self.scenario = scenario.into();
        self.point("ok", "not run", &format!(" # SKIP {why}"));
    }

    /// Adds text for people.
    pub fn note(&mut self, text: &str) {
        for line in text.lines() {
            // Writing to a String cannot fail.
            let _ = writeln!(self.tap, "# {line}");
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// All checks as a TAP document.
    #[must_use]
    pub fn tap(&self) -> String {
        let Counts {
            passed,
            failed,
            skipped,
        } = self.counts;
        format!(
            "TAP version 14\n{}1..{}\n",
            self.tap,
            passed + failed + skipped
        )
    }

    fn point(&mut self, result: &str, what: &str, directive: &str) {
        let Counts {
            passed,
            failed,
            skipped,
        } = self.counts;
        let number = passed + failed + skipped;
        let what = what.replace('\\', "\\\\").replace('#', "\\#");
        let _ = writeln!(
            self.tap,
            "{result} {number} - {}: {what}{directive}",
            self.scenario
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_tap() {
        let mut report = Report::default();
        report.begin("load");
        report.pass("item #1");
        report.equal(&1, &2, "number");
        report.skip("fib", "no kernel");
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
