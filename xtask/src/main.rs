// SPDX-License-Identifier: BSD-2-Clause
//! The project's build program, `cargo xtask`. The `Makefile` only names its
//! commands.

mod build;
mod check_ko;
mod headers;
mod rust_src;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Builds, checks, tests and runs weft", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the build and the tests need
    Setup,
    /// Build weft.ko and hold it against check-ko
    Build,
    /// Check a module against the rules of the kernel linker
    CheckKo(check_ko::Arguments),
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp(None)
        .format_target(false)
        .init();
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> anyhow::Result<ExitCode> {
    let root = workspace_root();
    match task {
        Task::Setup => setup(&root)?,
        Task::Build => {
            let build = build::Build::prepare(&root)?;
            build::module(&build, &build::Variant::default())?;
        }
        Task::CheckKo(arguments) => return check_ko::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of the workspace: that above this package's.
fn workspace_root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

fn setup(root: &Path) -> anyhow::Result<()> {
    let build = build::Build::prepare(root)?;
    println!("compiler: {}", build.tools.clang.display());
    println!("headers: {}", build.headers.origin);
    for missing in tools::find_or_install_vm_tools() {
        println!("VM tests will be skipped: {missing}");
    }
    Ok(())
}
