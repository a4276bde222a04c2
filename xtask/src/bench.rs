// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask bench`: runs every benchmark and has `weft-report` write one page of what they
//! leave, or compares with another revision. `bench-fib`, `bench-packet`, `bench-queue`,
//! `bench-wire`: one race by itself; what they take besides is printed with `--help`.
//!
//! Programs of `weft-bench` are compiled as they should be raced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use weft_tests_vm::VmArgs;

use crate::build::{Build, target_dir};
use crate::tools::{output, run as run_shown};

/// Command line, which is the race's own.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct BenchArgs {
    /// Options of the race
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Command line of all benchmarks together.
#[derive(clap::Args, Debug)]
pub(crate) struct AllArgs {
    /// Quick forms, for a glance, and of the virtual machines' races the short ones
    #[arg(long)]
    quick: bool,
    /// Only these races
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = ["fib", "packet", "queue", "wire", "vm"])]
    only: Vec<String>,
    /// In virtual machines only with kernels that have this in their name
    #[arg(long, value_name = "TEXT", default_value = "generic")]
    kernel: String,
    /// Compare with this revision: natively, in turns, by quick forms unless --full is said
    #[arg(long, value_name = "REVISION", conflicts_with = "quick")]
    base: Option<String>,
    /// Compare by full forms
    #[arg(long, requires = "base")]
    full: bool,
    /// Turns of each revision
    #[arg(long, value_name = "N", default_value_t = 5, requires = "base")]
    turns: usize,
    /// Measure nothing: make the page of what is there
    #[arg(long, conflicts_with = "base")]
    report_only: bool,
}

impl AllArgs {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// A race on the host.
struct Race {
    name: &'static str,
    program: &'static str,
}

const RACES: [Race; 4] = [
    Race {
        name: "queue",
        program: "weft-bench-queue",
    },
    Race {
        name: "packet",
        program: "weft-bench-packet",
    },
    Race {
        name: "wire",
        program: "weft-bench-wire",
    },
    Race {
        name: "fib",
        program: "weft-bench",
    },
];

/// Runs the race of this program. Paths in its options are relative to the workspace's
/// folder.
pub(crate) fn run(root: &Path, program: &str, arguments: &BenchArgs) -> Result<ExitStatus> {
    let is_quick = arguments.options.iter().any(|option| option == "--quick");
    noted(root, is_quick, || {
        cargo(root, "run", program)
            .arg("--")
            .args(&arguments.options)
            .status()
            .context("cannot run cargo")
    })
}

/// A cargo command on a program of `weft-bench`.
fn cargo(root: &Path, verb: &str, program: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args([verb, "--release", "--package", "weft-bench"])
        .args(["--bin", program, "--features", "dpdk"]);
    // Peers count bits too, and unlike our side they do not choose how at run time.
    // But checksums are compiled for what the kernel's code may use.
    if cfg!(target_arch = "x86_64") {
        let cpu = match program {
            "weft-bench-wire" => "x86-64",
            _ => "x86-64-v2",
        };
        cargo.env("RUSTFLAGS", format!("-C target-cpu={cpu}"));
    }
    cargo
}

/// Runs all benchmarks, or compares with another revision.
///
/// # Errors
/// A race that fails; a revision that does not build.
pub(crate) fn all(root: &Path, arguments: &AllArgs) -> Result<()> {
    if let Some(base) = &arguments.base {
        return compare(root, base, arguments);
    }
    let bench = target_dir(root).join("bench");
    if !arguments.report_only {
        measure(root, &bench, arguments)?;
    }
    let mut report = cargo(root, "run", "weft-report");
    report.arg("--").arg("--from").arg(bench);
    report.arg("--out").arg(target_dir(root).join("report"));
    run_shown(&mut report)
}

/// How the records of each benchmark came to be, as `weft-report` reads it.
#[derive(Default, Serialize, Deserialize)]
struct Runs {
    /// By the name of the records' file, without its ending.
    runs: BTreeMap<String, Run>,
    /// What the last run of `bench` left out, and why.
    left_out: Vec<String>,
}

/// How the records of one benchmark came to be.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Run {
    commit: String,
    when: String,
    quick: bool,
    system: String,
    /// Before and after.
    loads: Vec<String>,
    /// When their file was written, in nanoseconds of 1970: of another file this does not tell.
    written: u64,
}

impl Runs {
    fn read(bench: &Path) -> Self {
        let text = std::fs::read_to_string(bench.join(RUNS)).unwrap_or_default();
        // What an earlier revision has left is not of this form, and tells of no file.
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write(&self, bench: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(bench.join(RUNS), text + "\n").context("cannot write run.json")
    }
}

const RUNS: &str = "run.json";

/// Does something, and notes of the records that it has written how they came to be.
///
/// # Errors
/// What keeps it from being done; a file that cannot be read or written.
pub(crate) fn noted<T>(root: &Path, quick: bool, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let bench = target_dir(root).join("bench");
    let before = written(&bench)?;
    let mut run = Run {
        commit: revision(root)?,
        when: said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
        quick,
        system: said(Command::new("uname").args(["-srm"])),
        loads: vec![load()],
        written: 0,
    };
    let done = act()?;
    run.loads.push(load());
    let mut runs = Runs::read(&bench);
    let mut is_new = false;
    for (name, written) in written(&bench)? {
        if before.get(&name) != Some(&written) {
            is_new = true;
            let run = run.clone();
            runs.runs.insert(name, Run { written, ..run });
        }
    }
    if is_new {
        runs.write(&bench)?;
    }
    Ok(done)
}

/// When each file of records was written; nothing if there is no folder.
fn written(bench: &Path) -> Result<BTreeMap<String, u64>> {
    let mut files = BTreeMap::new();
    if !bench.exists() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(bench)? {
        let path = entry?.path();
        if path.extension().is_some_and(|x| x == "json") && !path.ends_with(RUNS) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let since = path.metadata()?.modified()?.duration_since(UNIX_EPOCH)?;
            files.insert(name.into_owned(), u64::try_from(since.as_nanos())?);
        }
    }
    Ok(files)
}

fn measure(root: &Path, bench: &Path, arguments: &AllArgs) -> Result<()> {
    for race in RACES.iter().filter(|race| arguments.wants(race.name)) {
        let mut command = cargo(root, "run", race.program);
        command.arg("--").arg("--out").arg(bench);
        command.args(arguments.quick.then_some("--quick"));
        noted(root, arguments.quick, || run_shown(&mut command))?;
    }
    let mut left_out = Vec::new();
    if arguments.wants("vm") {
        left_out.extend(in_guests(root, arguments)?);
    }
    let mut runs = Runs::read(bench);
    runs.left_out = left_out;
    runs.write(bench)
}

/// The races in virtual machines, if there is a kernel; if not, why there are none.
fn in_guests(root: &Path, all: &AllArgs) -> Result<Option<String>> {
    let build = Build::prepare(root)?;
    let filter = match all.quick {
        true => "=race-packet,=race-wire,=race-ipv6",
        false => "race",
    };
    let arguments = VmArgs {
        filter: Some(filter.into()),
        // Checks of a debug kernel weigh on both sides, and say nothing of either.
        kernel: Some(all.kernel.clone()),
        repeat: 1,
        ..VmArgs::default()
    };
    let counts = crate::vm::run(&build, &arguments)?;
    ensure!(
        counts.failed == 0,
        "{} races in virtual machines failed",
        counts.failed
    );
    let reason = || {
        format!(
            "virtual machines: no kernel named *{}* was raced",
            all.kernel
        )
    };
    Ok((counts.passed == 0).then(reason))
}

/// The load of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().filter(|load| !load.is_empty());
    first.unwrap_or("unknown").to_owned()
}

/// What a program says, or nothing.
fn said(command: &mut Command) -> String {
    output(command).map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root);
    git
}

/// What is checked out, and whether it was changed.
fn revision(root: &Path) -> Result<String> {
    let commit = output(git(root).args(["rev-parse", "--short=12", "HEAD"]))?;
    let changes = output(git(root).args(["status", "--porcelain", "--untracked-files=no"]))?;
    let changed = if changes.is_empty() { "" } else { ", changed" };
    Ok(format!("{}{changed}", commit.trim()))
}

/// Builds another revision beside this one, runs both in turns, and tells what moved.
fn compare(root: &Path, base: &str, arguments: &AllArgs) -> Result<()> {
    ensure!(arguments.turns > 0, "--turns 0: at least one is needed");
    let folder = target_dir(root).join("compare");
    let other = folder.join("base");
    check_out(root, base, &other)?;
    let mut programs = Vec::new();
    for race in RACES.iter().filter(|race| arguments.wants(race.name)) {
        let mut both = Vec::new();
        for (name, root, target) in [
            ("base", other.as_path(), folder.join("target")),
            ("here", root, target_dir(root)),
        ] {
            run_shown(cargo(root, "build", race.program).env("CARGO_TARGET_DIR", &target))?;
            both.push((name, kept(&folder, name, &target, race.program)?));
        }
        programs.push(both);
    }
    let turns = folder.join("turns");
    if turns.exists() {
        std::fs::remove_dir_all(&turns)?;
    }
    for turn in 0..arguments.turns {
        for (name, program) in programs.iter().flatten() {
            let mut command = Command::new(program);
            command.current_dir(root).arg("--out");
            command.arg(turns.join(format!("{name}-{turn}")));
            command.args((!arguments.full).then_some("--quick"));
            log::info!("turn {} of {}: {name}", turn + 1, arguments.turns);
            output(&mut command)?;
        }
    }
    let mut report = cargo(root, "run", "weft-report");
    run_shown(report.arg("--").arg("--compare").arg(turns))
}

/// Has the revision's files in a worktree of git's.
fn check_out(root: &Path, revision: &str, into: &Path) -> Result<()> {
    let name = format!("{revision}^{{commit}}");
    let Ok(commit) = output(git(root).args(["rev-parse", "--verify", "--quiet", &name])) else {
        bail!("--base {revision}: no such revision");
    };
    if into.exists() {
        let detach = ["checkout", "--quiet", "--force", "--detach"];
        return run_shown(git(into).args(detach).arg(commit.trim()));
    }
    std::fs::create_dir_all(into.parent().context("a folder without a parent")?)?;
    let add = ["worktree", "add", "--quiet", "--force", "--detach"];
    run_shown(git(root).args(add).arg(into).arg(commit.trim()))
}

/// A copy of a program, which the next build would replace.
fn kept(folder: &Path, name: &str, target: &Path, program: &str) -> Result<PathBuf> {
    let kept = folder.join(format!("{program}-{name}"));
    let built = target.join("release").join(program);
    std::fs::copy(&built, &kept).with_context(|| format!("{} was not built", built.display()))?;
    Ok(kept)
}
