// SPDX-License-Identifier: BSD-2-Clause
//! Boots FreeBSD in a virtual machine and tests `weft.ko` in it.
//!
//! [`run`] is what `cargo xtask vm` does: for each kernel that [`kernel::find`]
//! finds, [`runner`] boots a machine whose root image has the agent as PID 1, and
//! lets each of the [`scenarios`] give it commands over the serial line.
//! `docs/testing.md` tells the whole.

pub mod console;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod loader;
pub mod machine;
pub mod qemu;
pub mod report;
pub mod runner;
pub mod scenarios;
pub mod table;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use report::Counts;
use scenarios::Scenario;

/// What to test and what to test it with.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// `weft.ko`.
    pub module: PathBuf,
    /// Modules that the kernel must refuse.
    pub variants: Vec<Variant>,
    /// The guest agent.
    pub agent: PathBuf,
    /// `weft_rtload.ko`, which takes many routes in one call.
    pub route_loader: PathBuf,
    /// Where logs and reports go, a folder a kernel.
    pub output: PathBuf,
}

/// A module that the kernel must refuse.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What is wrong with it, as a word.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What the kernel's message must contain.
    pub expected: String,
}

/// The arguments of `cargo xtask vm`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct VmArgs {
    /// Only scenarios with this in their name
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only kernels with this in their name
    #[arg(long, value_name = "TEXT")]
    pub kernel: Option<String>,
    /// The long form: a full table, many loads, much traffic
    #[arg(long)]
    pub full: bool,
    /// Name the scenarios and the kernels and run nothing
    #[arg(long)]
    pub list: bool,
}

/// Runs the scenarios on the kernels.
///
/// # Errors
/// If the host cannot do its part; what a guest does wrong is counted.
pub fn run(args: &VmArgs, artifacts: &Artifacts) -> Result<Counts> {
    let given = std::env::var_os("WEFT_KERNEL");
    let mut kernels = kernel::find(given.as_deref(), kernel::cache_folder().as_deref())?;
    kernels.retain(|kernel| {
        args.kernel
            .as_ref()
            .is_none_or(|text| kernel.name.contains(text))
    });
    let mut scenarios = scenarios::ALL.to_vec();
    scenarios.retain(|scenario| {
        args.filter
            .as_ref()
            .is_none_or(|text| scenario.name.contains(text))
    });
    if args.list {
        list(&scenarios, &kernels);
        return Ok(Counts::default());
    }
    if let Some(reason) = reason_to_skip(&kernels) {
        println!("skipped: {reason}");
        return Ok(Counts {
            skipped: scenarios.len(),
            ..Counts::default()
        });
    }
    run_all(args, artifacts, scenarios, &kernels)
}

/// Why [`show`] can't show anything here, if so.
#[must_use]
pub fn reason_not_to_show() -> Option<String> {
    let given = std::env::var_os("WEFT_KERNEL");
    match kernel::find(given.as_deref(), kernel::cache_folder().as_deref()) {
        Ok(kernels) if kernels.is_empty() => Some(kernel::HOW_TO_GET_ONE.to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Boots the first kernel, and shows the module at work in it.
///
/// # Errors
/// As for [`run`].
pub fn show(artifacts: &Artifacts) -> Result<Counts> {
    let given = std::env::var_os("WEFT_KERNEL");
    let mut kernels = kernel::find(given.as_deref(), kernel::cache_folder().as_deref())?;
    kernels.reverse();
    kernels.truncate(1);
    run_all(
        &VmArgs::default(),
        artifacts,
        scenarios::TOUR.to_vec(),
        &kernels,
    )
}

fn run_all(
    args: &VmArgs,
    artifacts: &Artifacts,
    scenarios: Vec<Scenario>,
    kernels: &[kernel::Kernel],
) -> Result<Counts> {
    let prefixes = table::prefixes(std::env::var_os("WEFT_RIB").as_deref(), args.full)?;
    std::fs::create_dir_all(&artifacts.output).context("could not make the folder for logs")?;
    let file = artifacts.output.join("table");
    table::write(&prefixes, &file)?;
    let plan = runner::Plan {
        artifacts,
        scenarios,
        full: args.full,
        table: (file, prefixes.len()),
        output: artifacts.output.clone(),
    };
    let mut counts = Counts::default();
    for kernel in kernels {
        println!("{} ({:?})", kernel.name, qemu::accelerator());
        counts += plan.run(kernel)?;
    }
    Ok(counts)
}

/// Why no machine can be started here, if so.
fn reason_to_skip(kernels: &[kernel::Kernel]) -> Option<&'static str> {
    if kernels.is_empty() {
        return Some(kernel::HOW_TO_GET_ONE);
    }
    (!qemu::is_there()).then_some("qemu-system-x86_64 is not installed (cargo xtask setup)")
}

fn list(scenarios: &[Scenario], kernels: &[kernel::Kernel]) {
    for scenario in scenarios {
        println!("{:<8} {}", scenario.name, scenario.about);
    }
    for kernel in kernels {
        println!("kernel {}: {}", kernel.name, kernel.image.display());
    }
}
