// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask tsan`: the engine's tests with threads under ThreadSanitizer, which sees
//! an access to memory that nothing orders with another thread's.
//!
//! The standard library is built anew with it, for one that is not would look unordered;
//! hence the compiler's own sources, and `RUSTC_BOOTSTRAP` for a stable one. It goes into
//! a target directory of its own.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

use crate::rust_src;
use crate::tools::output;

/// Tests with threads that are done in a minute. `fib_concurrent` takes very much longer;
/// what runs over loom's model is checked by it.
const TESTS: [&str; 3] = ["queue_stress", "queue_set", "packet_concurrent"];

/// Command line.
#[derive(clap::Args, Debug)]
pub(crate) struct TsanArgs {
    /// Tests of `engine/tests`; without any: queue_stress, queue_set, packet_concurrent
    tests: Vec<String>,
}

/// Builds and runs them.
///
/// # Errors
/// There are no sources of the standard library, or no cargo.
pub(crate) fn run(root: &Path, arguments: &TsanArgs) -> Result<ExitStatus> {
    rust_src::ensure()?;
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|l| l.strip_prefix("host: "));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["test", "--locked", "--no-fail-fast"])
        .args(["--package", "weft-engine"])
        .args(["--target", host.context("rustc -vV names no host")?])
        .args(["-Z", "build-std"])
        .arg("--target-dir")
        .arg(crate::build::target_dir(root).join("tsan"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=thread");
    let asked = arguments.tests.iter().map(String::as_str);
    let all = TESTS.iter().copied().filter(|_| arguments.tests.is_empty());
    for test in asked.chain(all) {
        cargo.args(["--test", test]);
    }
    cargo.status().context("cannot run cargo")
}
