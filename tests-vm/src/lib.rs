// SPDX-License-Identifier: BSD-2-Clause
//! Boots FreeBSD in a virtual machine and tests `weft.ko` in it.
//!
//! [`run`] is what `cargo xtask vm` does: for each kernel that [`kernel::find`]
//! finds, [`runner`] boots a machine whose root image has the agent as PID 1, and
//! lets each of the [`scenarios`] give it commands over the serial line.
//! `docs/testing.md` tells the whole.

pub mod bhyve;
pub mod bochs;
pub mod boot;
pub mod console;
pub mod fetch;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod lan;
pub mod loader;
pub mod machine;
pub mod qemu;
pub mod record;
pub mod report;
pub mod runner;
pub mod scenarios;
pub mod sources;
pub mod table;
pub mod userland;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use boot::Backend;
pub use report::Counts;
use scenarios::{Scenario, Soak};
use sources::Sources;
use userland::Userland;

/// What to test and what to test it with.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// `weft.ko`.
    pub module: PathBuf,
    /// `weft.ko` with `net.weft.test`.
    pub module_for_tests: PathBuf,
    /// That with arithmetic that panics where it overflows.
    pub module_with_checks: PathBuf,
    /// `weft.ko` that counts no packets, if it was [asked for](VmArgs::needs_uncounted).
    pub module_uncounted: Option<PathBuf>,
    /// Modules that the kernel must refuse.
    pub variants: Vec<Variant>,
    /// The driver in `examples/`, and that as if its header were of another version.
    pub examples: [PathBuf; 2],
    /// A folder into which all was installed, as if it were a system's root.
    pub installed: PathBuf,
    /// The guest agent.
    pub agent: PathBuf,
    /// Where logs and reports go, a folder a kernel.
    pub output: PathBuf,
    /// Where what was measured goes.
    pub bench: PathBuf,
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
    /// Only scenarios with this, or one of these with commas between, in their name; with
    /// `=` in front, of this name
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only kernels with this in their name
    #[arg(long, value_name = "TEXT")]
    pub kernel: Option<String>,
    /// The long form: a full table, many loads, much traffic
    #[arg(long)]
    pub full: bool,
    /// Run everything so many times, to see whether it always passes
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    pub repeat: u32,
    /// How many machines run at a time [default: half as many as there are CPUs, and two if
    /// there are two; one for scenarios that measure, and in bhyve]
    #[arg(long, value_name = "MACHINES", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub at_once: Option<u8>,
    /// Everything at once for so many minutes, in no other scenario [default: 20]
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "20",
        value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with_all = ["filter", "full"])]
    pub soak: Option<u32>,
    /// What the soak is drawn by [default: the clock]
    #[arg(long, value_name = "N", requires = "soak")]
    pub seed: Option<u64>,
    /// What runs the guests
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    /// Print the command lines that would start the guests, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do something else than run scenarios
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Name the scenarios and the kernels and run nothing
    #[arg(long)]
    pub list: bool,
}

impl VmArgs {
    /// Whether a scenario that is asked for loads a `weft.ko` that counts no packets.
    #[must_use]
    pub fn needs_uncounted(&self) -> bool {
        let mut all = scenarios::ALL.iter();
        all.any(|scenario| scenario.uncounted && self.is_asked_for(scenario))
    }

    fn is_asked_for(&self, scenario: &Scenario) -> bool {
        match &self.filter {
            Some(texts) => texts
                .split(',')
                .any(|text| is_asked_for(scenario.name, text)),
            None => !scenario.by_name,
        }
    }
}

/// What `cargo xtask vm` does besides running scenarios.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Action {
    /// Download FreeBSD's virtual machine image and check its SHA-512
    FetchImage(fetch::FetchArgs),
}

/// Does what the arguments ask for besides running scenarios; false if that is nothing.
///
/// # Errors
/// If it cannot be done.
pub fn act(args: &VmArgs) -> Result<bool> {
    match &args.action {
        Some(Action::FetchImage(args)) => fetch::run(args).map(|()| true),
        None => Ok(false),
    }
}

/// Runs the scenarios on the kernels.
///
/// # Errors
/// If the host cannot do its part; what a guest does wrong is counted.
pub fn run(args: &VmArgs, artifacts: &Artifacts) -> Result<Counts> {
    let given = std::env::var_os("WEFT_KERNEL");
    let mut kernels = kernel::find(given.as_deref(), kernel::cache_folder().as_deref())?;
    if args.backend == Backend::Qemu {
        kernels.extend(kernel::images(std::env::var_os("WEFT_IMAGE").as_deref())?);
    }
    kernels.retain(|kernel| {
        args.kernel
            .as_ref()
            .is_none_or(|text| kernel.name.contains(text))
    });
    let mut scenarios = scenarios::ALL.to_vec();
    scenarios.retain(|scenario| args.is_asked_for(scenario) || args.list && args.filter.is_none());
    if let Some(minutes) = args.soak {
        scenarios.retain(|scenario| scenario.name == scenarios::SOAK);
        for scenario in &mut scenarios {
            scenario.limit = scenarios::soak_limit(minutes);
        }
    }
    if args.list {
        list(&scenarios, &kernels);
        return Ok(Counts::default());
    }
    let userland = Userland::find(
        std::env::var_os("WEFT_USERLAND").as_deref(),
        kernel::cache_folder().as_deref(),
    );
    let no_kernel = || {
        kernels
            .is_empty()
            .then(|| kernel::HOW_TO_GET_ONE.to_string())
    };
    let no_machine =
        || boot::reason_to_skip(args.backend, userland.as_ref()).filter(|_| !args.dry_run);
    if let Some(reason) = no_kernel().or_else(no_machine) {
        println!("skipped: {reason}");
        return Ok(Counts {
            skipped: scenarios.len(),
            ..Counts::default()
        });
    }
    run_all(args, artifacts, scenarios, &kernels, userland)
}

/// Whether a scenario of that name is asked for by a text of `--filter`.
fn is_asked_for(name: &str, text: &str) -> bool {
    match text.strip_prefix('=') {
        Some(whole) => name == whole,
        None => name.contains(text),
    }
}

/// Why [`show`] can't show anything here, if so.
#[must_use]
pub fn reason_not_to_show() -> Option<String> {
    let given = std::env::var_os("WEFT_KERNEL");
    match kernel::find(given.as_deref(), kernel::cache_folder().as_deref()) {
        Ok(kernels) if kernels.is_empty() => Some(kernel::HOW_TO_GET_ONE.to_owned()),
        Ok(_) => boot::reason_to_skip(Backend::Qemu, None),
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
    let one_after_the_other = VmArgs {
        at_once: Some(1),
        ..VmArgs::default()
    };
    run_all(
        &one_after_the_other,
        artifacts,
        scenarios::TOUR.to_vec(),
        &kernels,
        None,
    )
}

fn run_all(
    args: &VmArgs,
    artifacts: &Artifacts,
    scenarios: Vec<Scenario>,
    kernels: &[kernel::Kernel],
    userland: Option<Userland>,
) -> Result<Counts> {
    let prefixes = table::prefixes(std::env::var_os("WEFT_RIB").as_deref(), args.full)?;
    std::fs::create_dir_all(&artifacts.output).context("could not make the folder for logs")?;
    let [v4, v6] = ["table-ipv4", "table-ipv6"].map(|name| artifacts.output.join(name));
    table::write(&prefixes, &v4, &v6)?;
    let plan = runner::Plan {
        artifacts,
        scenarios,
        full: args.full,
        soak: soak(args),
        tables: [(v4, prefixes.v4.len()), (v6, prefixes.v6.len())],
        output: artifacts.output.clone(),
        backend: args.backend,
        userland,
        sources: Sources::find(|name| std::env::var_os(name)),
    };
    if args.dry_run {
        kernels
            .iter()
            .for_each(|kernel| plan.print_commands(kernel));
        return Ok(Counts::default());
    }
    let at_once = at_once(args, &plan.scenarios, kernels);
    let mut counts = Counts::default();
    for _ in 0..args.repeat.max(1) {
        for kernel in kernels {
            println!("{} ({})", kernel.name, describe(args.backend));
        }
        counts += plan.run(kernels, at_once)?;
    }
    Ok(counts)
}

/// What the arguments say of the soak.
fn soak(args: &VmArgs) -> Soak {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let clock = since.map_or(0, |since| since.as_nanos() as u64);
    Soak {
        minutes: args.soak,
        seed: args.seed.or(args.soak.map(|_| clock)),
    }
}

/// How many machines run at a time.
fn at_once(args: &VmArgs, scenarios: &[Scenario], kernels: &[kernel::Kernel]) -> usize {
    // Their names and logs would be the same.
    let is_alone = matches!(args.backend, Backend::Bhyve | Backend::Bochs)
        || kernels.iter().enumerate().any(|(at, kernel)| {
            let earlier = &kernels[..at];
            earlier.iter().any(|other| other.name == kernel.name)
        });
    match args.at_once {
        _ if is_alone => 1,
        Some(asked) => asked.into(),
        None if scenarios.iter().any(|scenario| scenario.by_name) => 1,
        None => machines_for(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

/// How many machines so many CPUs have enough to do with. Each has two, and is often idle.
fn machines_for(cpus: usize) -> usize {
    match cpus {
        1 => 1,
        _ => (cpus / 2).clamp(2, 8),
    }
}

fn describe(backend: Backend) -> String {
    match backend {
        Backend::Qemu | Backend::QemuLoader => format!("{backend:?}, {:?}", qemu::accelerator()),
        Backend::Bhyve | Backend::Bochs => format!("{backend:?}"),
    }
}

fn list(scenarios: &[Scenario], kernels: &[kernel::Kernel]) {
    for scenario in scenarios {
        println!("{:<8} {}", scenario.name, scenario.about);
    }
    for kernel in kernels {
        println!("kernel {}: {}", kernel.name, kernel.image.display());
    }
}

#[cfg(test)]
mod tests {
    use super::{is_asked_for, machines_for};

    #[test]
    fn two_cpus_have_enough_to_do_with_two_machines() {
        let machines = [1, 2, 3, 4, 8, 64].map(machines_for);
        assert_eq!(machines, [1, 2, 2, 2, 4, 8]);
    }

    #[test]
    fn scenarios_are_asked_for_by_part_of_their_name_or_all_of_it() {
        for (name, text, is_so) in [
            ("pair", "pair", true),
            ("race-pair", "pair", true),
            ("race-pair", "=pair", false),
            ("pair", "=pair", true),
            ("pair", "l3", false),
        ] {
            assert_eq!(is_asked_for(name, text), is_so, "{name} {text}");
        }
    }
}
