// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask bench-fib`, `bench-packet`, `bench-queue`, `bench-wire`: compile the races of `weft-bench`
//! as they should be raced, and run them. What they take besides is printed with `--help`.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::Context;

/// Command line, which is the race's own.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArgs {
    /// Options of the race
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs the race of this program. Paths in its options are relative to the workspace's
/// folder.
pub(crate) fn run(root: &Path, program: &str, arguments: &BenchArgs) -> anyhow::Result<ExitStatus> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["run", "--release", "--package", "weft-bench"])
        .args(["--bin", program, "--features", "dpdk", "--"])
        .args(&arguments.options);
    // Peers count bits too, and unlike our side they do not choose how at run time.
    // But checksums are compiled for what the kernel's code may use.
    if cfg!(target_arch = "x86_64") {
        let cpu = match program {
            "weft-bench-wire" => "x86-64",
            _ => "x86-64-v2",
        };
        cargo.env("RUSTFLAGS", format!("-C target-cpu={cpu}"));
    }
    cargo.status().context("cannot run cargo")
}
