// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask test`: everything that can be checked on this machine, counted.
//! The last line it prints is `N passed, N failed, N skipped`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use weft_tests_vm::Artifacts;

use crate::build::{self, Build};
use crate::tools::quiet;

/// What was counted so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts one check and says how it went.
    fn check(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("ok: {name}");
                self.passed += 1;
            }
            Err(e) => {
                println!("FAILED: {name}: {e:#}");
                self.failed += 1;
            }
        }
    }

    /// Counts one check that can't be made here.
    fn skip(&mut self, name: &str, reason: &anyhow::Error) {
        println!("skipped: {name}: {reason:#}");
        self.skipped += 1;
    }
}

/// Runs all there is: style, host tests, the module and its gate, the VM tests.
///
/// # Errors
/// Only what keeps the count from being made; failed checks are counted.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let mut tally = Tally::default();
    tally.check("source is formatted", formatted(root));
    tally.check("clippy, host crates", clippy(root));
    tally.check(
        "licences and sources of dependencies are allowed",
        crate::licences::check(root).map(drop),
    );
    let name = "manual pages are clean";
    match crate::tools::find_or_install_mandoc() {
        Ok(mandoc) => tally.check(name, crate::manual::check(root, &mandoc).map(drop)),
        Err(e) => tally.skip(name, &e),
    }
    tally.check(
        "unsafe code is in its rooms, explained and counted",
        crate::census::check(root),
    );
    match host_tests(root) {
        Ok(counted) => tally.add(counted),
        Err(e) => tally.check("host tests", Err(e)),
    }
    match Build::prepare(root) {
        Ok(build) => tally.add(with_module(&build)?),
        Err(e) => tally.check("tools to build weft.ko", Err(e)),
    }
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

fn formatted(root: &Path) -> Result<()> {
    quiet(cargo(root).args(["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> Result<()> {
    quiet(cargo(root).args([
        "clippy",
        "--quiet",
        "--locked",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// The module, its gate, and what boots it.
fn with_module(build: &Build) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.check("clippy, kernel module", build::clippy(build));
    tally.check("clippy, guest agent", crate::agent::clippy(build));
    tally.check(
        "interface audit agrees with the headers",
        crate::audit::check(build),
    );
    let artifacts = crate::vm::artifacts(build);
    let built = artifacts
        .as_ref()
        .map(|_| ())
        .map_err(|e| anyhow::anyhow!("{e:#}"));
    tally.check("weft.ko builds and passes check-ko", built);
    if let Ok(artifacts) = artifacts {
        for missing in crate::tools::find_or_install_vm_tools() {
            println!("note: {missing}");
        }
        match everyday_vm(&artifacts) {
            Ok(counted) => tally.add(counted),
            Err(e) => tally.check("VM tests can be run", Err(e)),
        }
    }
    Ok(tally)
}

/// The VM tests in their short form.
fn everyday_vm(artifacts: &Artifacts) -> Result<Tally> {
    let counts = weft_tests_vm::run(&weft_tests_vm::VmArgs::default(), artifacts)?;
    Ok(Tally {
        passed: counts.passed as u64,
        failed: counts.failed as u64,
        skipped: counts.skipped as u64,
    })
}

/// Runs `cargo test` and adds up what its test programs say.
fn host_tests(root: &Path) -> Result<Tally> {
    let mut child = cargo(root)
        .args(["test", "--quiet", "--locked", "--no-fail-fast"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo test")?;
    let output = child.stdout.take().context("cargo test without output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally.add(parse_result(&line).unwrap_or_default());
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        // It stopped before a test could fail: it did not compile.
        tally.failed += 1;
    }
    Ok(tally)
}

/// Reads a test program's last line: `test result: ok. 3 passed; 0 failed; ...`.
fn parse_result(line: &str) -> Option<Tally> {
    let counts = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?
        .1;
    let count = |what: &str| {
        counts
            .split("; ")
            .find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Tally, parse_result};

    #[test]
    fn reads_the_summary_of_a_test_program() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; \
                    0 filtered out; finished in 0.01s";
        let tally = Tally {
            passed: 12,
            failed: 1,
            skipped: 2,
        };
        assert_eq!(parse_result(line), Some(tally));
        assert_eq!(parse_result("running 15 tests"), None);
    }
}
