// SPDX-License-Identifier: BSD-2-Clause
//! The project's build program, `cargo xtask`. The `Makefile` only names its
//! commands.

mod agent;
mod arch;
mod audit;
mod bench;
mod build;
mod census;
mod check_ko;
#[cfg(test)]
mod diagrams;
mod example;
mod headers;
mod install;
mod licences;
mod manual;
mod port;
mod run;
mod rust_src;
mod shared_ko;
mod simulate;
mod test;
mod tools;
mod tsan;
mod vm;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

use anyhow::Context;
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
    /// Build weft.ko and the driver in examples/, and hold them against check-ko
    Build {
        /// The machine to compile for
        #[arg(long, value_enum, default_value_t)]
        target: arch::Arch,
        /// Only a module that counts no packets, to measure what counting costs
        #[arg(long, conflicts_with = "target")]
        uncounted: bool,
    },
    /// Install the module, its headers, manual pages and examples
    Install(install::InstallArgs),
    /// Remove what was installed
    Uninstall(install::Places),
    /// Lint the kernel module and the guest agent
    Clippy,
    /// Write the pages of the documentation that are made of what the engine declares
    Docs,
    /// Check a module against the rules of the kernel linker
    CheckKo(check_ko::Arguments),
    /// See the module at work: here on FreeBSD, else in a virtual machine, else simulated
    Run(simulate::SimulateArgs),
    /// Run the engine as a router on this host
    Simulate(simulate::SimulateArgs),
    /// Run every benchmark and write one report, or compare with another revision (see docs/benchmarks.md)
    Bench(bench::AllArgs),
    /// Race the route tables against their peers, natively (see docs/benchmarks.md)
    BenchFib(bench::BenchArgs),
    /// Race packet pools against their peers, natively (see docs/benchmarks.md)
    BenchPacket(bench::BenchArgs),
    /// Race transmit queues against their peers, natively (see docs/benchmarks.md)
    BenchQueue(bench::BenchArgs),
    /// Race checksums, the parser and segmentation, natively (see docs/benchmarks.md)
    BenchWire(bench::BenchArgs),
    /// Write docs/interface-audit.md from the kernel's headers and the project's judgements
    Audit(audit::AuditArgs),
    /// Make FreeBSD's port, with its archive of the sources and distinfo
    Port,
    /// Check the licences and sources of dependencies (see deny.toml)
    Licences,
    /// Check the manual pages with mandoc
    Manual,
    /// Count unsafe code, and fail if it is where it may not be (see docs/unsafe.md)
    Unsafe(census::CensusArgs),
    /// Check everything that can be checked on this machine
    Test,
    /// Run the engine's tests with threads under ThreadSanitizer
    Tsan(tsan::TsanArgs),
    /// Test the module in virtual machines
    Vm(weft_tests_vm::VmArgs),
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
        Task::Build {
            target: arch::Arch::Arm64,
            ..
        } => {
            let build = build::Build::prepare_for(&root, arch::Arch::Arm64)?;
            println!("{}", build::shared_module(&build)?.display());
        }
        Task::Build {
            uncounted: true, ..
        } => {
            let build = build::Build::prepare(&root)?;
            println!("{}", build::module_uncounted(&build)?.display());
        }
        Task::Build { .. } => {
            let build = build::Build::prepare(&root)?;
            let module = build::module(&build)?;
            example::module(&build)?;
            print!(
                "{}",
                check_ko::check(&module, &check_ko::Options::for_weft()?)?
            );
        }
        Task::Install(arguments) => install::install(&root, &arguments)?,
        Task::Uninstall(places) => install::uninstall(&places)?,
        Task::Clippy => {
            let build = build::Build::prepare(&root)?;
            build::clippy(&build)?;
            agent::clippy(&build)?;
        }
        Task::Docs => docs(&root)?,
        Task::Run(arguments) => run::run(&root, &arguments)?,
        Task::Simulate(arguments) => simulate::run(&arguments)?,
        Task::Port => port::run(&root)?,
        Task::Licences => println!("{} dependencies may be used", licences::check(&root)?),
        Task::Manual => {
            let count = manual::check(&root, &tools::find_or_install_mandoc()?)?;
            println!("{count} manual pages are clean");
        }
        Task::Audit(arguments) => audit::run(&build::Build::prepare(&root)?, &arguments)?,
        Task::Unsafe(arguments) => census::run(&root, &arguments)?,
        Task::Bench(arguments) => bench::all(&root, &arguments)?,
        Task::BenchFib(arguments) => return race(&root, "weft-bench", &arguments),
        Task::BenchPacket(arguments) => return race(&root, "weft-bench-packet", &arguments),
        Task::BenchWire(arguments) => return race(&root, "weft-bench-wire", &arguments),
        Task::BenchQueue(arguments) => return race(&root, "weft-bench-queue", &arguments),
        Task::Tsan(arguments) => return Ok(code(tsan::run(&root, &arguments)?)),
        Task::Test => return test::run(&root),
        Task::Vm(arguments) => {
            let counts = vm::run(&build::Build::prepare(&root)?, &arguments)?;
            println!(
                "{} passed, {} failed, {} skipped",
                counts.passed, counts.failed, counts.skipped
            );
            if counts.failed > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::CheckKo(arguments) => return check_ko::run(&arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn docs(root: &Path) -> anyhow::Result<()> {
    for page in weft_engine::stats::page::all() {
        let path = root.join(page.path);
        std::fs::write(&path, page.text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn race(root: &Path, program: &str, arguments: &bench::BenchArgs) -> anyhow::Result<ExitCode> {
    Ok(code(bench::run(root, program, arguments)?))
}

/// A program's success as this one's.
fn code(status: ExitStatus) -> ExitCode {
    match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The folder of the workspace: that above this package's, as Cargo says when it runs this, for
/// a program that was built in one checkout may have been copied into another.
fn workspace_root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().unwrap_or(&package).to_owned()
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
