// SPDX-License-Identifier: BSD-2-Clause
//! Operations, the calls that failed in them, and what came of that: the table that
//! `docs/failure-matrix.md` is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::super::Context;
use super::Attempt;
use super::sites::Code;
use crate::kernel::Kernel;

/// The list of functions whose calls may fail, by which kinds are numbered.
const GATES: &str = include_str!("../../../../sys-shim/c/test/gates.h");

/// All that was tried.
pub(super) struct Matrix {
    code: Code,
    gates: Vec<&'static str>,
    operations: Vec<(String, Vec<Attempt>)>,
}

/// The parts, in the table's order.
const PARTS: [&str; 4] = ["load", "pair", "fib", "nic"];

/// What may come of a failure, in the table's columns.
const OUTCOMES: [&str; 3] = ["error", "done", "not-reached"];

fn column(outcome: &str) -> &str {
    match outcome {
        "done" | "not-reached" => outcome,
        _ => "error",
    }
}

impl Matrix {
    pub(super) fn new(code: Code) -> Self {
        let gates = GATES
            .lines()
            .filter_map(|line| line.trim().strip_prefix("X(")?.split_once(')'))
            .map(|(name, _)| name);
        Self {
            code,
            gates: gates.collect(),
            operations: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, operation: &str, attempts: Vec<Attempt>) {
        self.operations.push((operation.to_owned(), attempts));
    }

    /// The function that a call's places lead to: see [`Code::site`].
    pub(super) fn function(&self, places: &[u64]) -> &str {
        self.code.function(self.code.site(places))
    }

    fn gate(&self, attempt: &Attempt) -> &'static str {
        self.gates.get(attempt.kind).copied().unwrap_or("?")
    }

    /// What failed, and where.
    pub(super) fn describe(&self, attempt: &Attempt) -> String {
        let ways: Vec<&str> = attempt
            .places
            .iter()
            .map(|at| self.code.function(*at))
            .collect();
        format!("{} < {}", self.gate(attempt), ways.join(" < "))
    }

    /// Whether enough was tried, and how much that is.
    pub(super) fn judge(&self, context: &mut Context<'_>) {
        let (reached, all) = self.reached();
        let total: usize = self.operations.iter().map(|(_, all)| all.len()).sum();
        context.report.note(&format!(
            "{total} failures in {} operations; {} of {} sites in the module's code",
            self.operations.len(),
            reached.len(),
            all.len(),
        ));
        for (name, attempts) in &self.operations {
            let failed = attempts.iter().filter(|one| one.outcome != "not-reached");
            context.report.check(
                failed.count() * 2 >= attempts.len(),
                &format!("{name}: most of what was to fail did"),
                attempts.len(),
            );
        }
        for site in all.difference(&reached) {
            context.report.note(&format!(
                "not failed: {:#x} in {}",
                site,
                self.code.function(*site)
            ));
        }
    }

    /// Sites that failed at least once, and all that there are.
    fn reached(&self) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let all = self.code.sites();
        let failed = self
            .operations
            .iter()
            .flat_map(|(_, attempts)| attempts)
            .filter(|attempt| attempt.outcome != "not-reached")
            .flat_map(|attempt| attempt.places.iter().copied())
            .filter(|at| all.contains(at))
            .collect();
        (failed, all)
    }

    /// Keeps this part's attempts, and writes the tables of all parts that were kept.
    pub(super) fn write(
        mut self,
        folder: &Path,
        kernel: &Kernel,
        part: &str,
    ) -> anyhow::Result<()> {
        let folder = folder.join("failures").join(&kernel.name);
        std::fs::create_dir_all(&folder)?;
        let kept = serde_json::to_string(&self.operations)?;
        std::fs::write(folder.join(part).with_extension("json"), kept)?;
        self.operations.clear();
        for part in PARTS {
            if let Ok(text) = std::fs::read_to_string(folder.join(part).with_extension("json")) {
                self.operations
                    .extend(serde_json::from_str::<Vec<(String, Vec<Attempt>)>>(&text)?);
            }
        }
        std::fs::write(folder.join("matrix.md"), self.table(kernel)?)?;
        Ok(())
    }

    fn table(&self, kernel: &Kernel) -> anyhow::Result<String> {
        let mut text = String::new();
        let (reached, all) = self.reached();
        writeln!(
            text,
            "Kernel: {}. Sites in the module's code: {}, of which {} failed.\n",
            kernel.name,
            all.len(),
            reached.len()
        )?;
        writeln!(
            text,
            "| operation | failures | an error | done all the same | not reached again | errors |"
        )?;
        writeln!(text, "| --- | --- | --- | --- | --- | --- |")?;
        for (name, attempts) in &self.operations {
            let count = |which: &str| {
                attempts
                    .iter()
                    .filter(|one| column(&one.outcome) == which)
                    .count()
            };
            let [errors, done, missed] = OUTCOMES.map(count);
            let kinds: BTreeSet<&str> = attempts
                .iter()
                .filter(|one| column(&one.outcome) == "error")
                .filter_map(|one| {
                    one.outcome
                        .split([' ', ':'])
                        .find(|word| word.starts_with('E'))
                })
                .collect();
            let kinds: Vec<&str> = kinds.into_iter().collect();
            writeln!(
                text,
                "| {name} | {} | {errors} | {done} | {missed} | {} |",
                attempts.len(),
                kinds.join(", ")
            )?;
        }
        writeln!(
            text,
            "\n| asked for by | in | failures: outcomes |\n| --- | --- | --- |"
        )?;
        for ((gate, function), outcomes) in self.by_site() {
            let outcomes: Vec<String> = outcomes
                .iter()
                .map(|(outcome, count)| format!("{outcome} {count}"))
                .collect();
            writeln!(
                text,
                "| `{gate}` | `{function}` | {} |",
                outcomes.join(", ")
            )?;
        }
        let left: BTreeSet<&str> = all
            .difference(&reached)
            .map(|at| self.code.function(*at))
            .collect();
        writeln!(text, "\nNot failed, in:\n")?;
        for function in left {
            writeln!(text, "- `{function}`")?;
        }
        Ok(text)
    }

    /// By function and kind, how often what came of it.
    fn by_site(&self) -> BTreeMap<(&str, &str), BTreeMap<&str, usize>> {
        let mut sites: BTreeMap<(&str, &str), BTreeMap<&str, usize>> = BTreeMap::new();
        for attempt in self.operations.iter().flat_map(|(_, attempts)| attempts) {
            let function = self.code.function(self.code.site(&attempt.places));
            let outcomes = sites.entry((self.gate(attempt), function)).or_default();
            *outcomes.entry(column(&attempt.outcome)).or_default() += 1;
        }
        sites
    }
}
