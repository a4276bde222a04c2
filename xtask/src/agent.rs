// SPDX-License-Identifier: BSD-2-Clause
//! Builds the guest agent: a static FreeBSD program without libc, from Rust and
//! LLVM's linker alone.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{Build, target_dir};
use crate::tools::{quiet, run};

const TARGET: &str = "x86_64-unknown-freebsd";

/// Builds the agent and returns its path, `target/weft/weft-agent`.
///
/// # Errors
/// What the compiler or the linker said.
pub(crate) fn agent(build: &Build) -> Result<PathBuf> {
    compile(build)?;
    let archive = target_dir(&build.root)
        .join(TARGET)
        .join("agent/libweft_agent.a");
    let program = build.out().join("weft-agent");
    std::fs::create_dir_all(build.out())?;
    quiet(
        Command::new(&build.tools.lld)
            .args(["-m", "elf_x86_64_fbsd", "-static", "--gc-sections", "-s"])
            .args(["-e", "_start", "-o"])
            .arg(&program)
            .arg(&archive),
    )
    .context("linking the guest agent failed")?;
    Ok(program)
}

fn compile(build: &Build) -> Result<()> {
    let mut command = guest_cargo(build, "rustc");
    command.args(["--lib", "--crate-type", "staticlib"]);
    run(&mut command).context("compiling the guest agent failed")
}

/// Lints the half of the agent that exists for the guest only.
///
/// # Errors
/// Any warning.
pub(crate) fn clippy(build: &Build) -> Result<()> {
    let mut command = guest_cargo(build, "clippy");
    quiet(command.args(["--no-deps", "--", "--deny", "warnings"]))
}

/// A cargo command on the agent, for the guest's target.
fn guest_cargo(build: &Build, verb: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&build.root)
        .args([verb, "--quiet", "--locked", "--package", "weft-agent"])
        .args(["--features", "guest", "--profile", "agent"])
        .args(["--target", TARGET, "-Z", "build-std=core,alloc"])
        .args(["-Z", "build-std-features=compiler-builtins-mem"])
        .env("RUSTC_BOOTSTRAP", "1");
    command
}
