// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask check-ko`: the gate that every built `weft.ko` passes before
//! anything loads it.
//!
//! The kernel's linker checks little: a bad relocation fails the load with one
//! number, a lost linker set makes the module do nothing, a vector instruction
//! corrupts some other process. Each rule here refuses one such file at build
//! time, and each is one module: `relocations`, `linker_sets`, `floating`,
//! `sections`, `exports`, `imports`, `frames`, `forbidden`, `sizes`, `paths`.
//! [`check`] runs them all, so a report lists every violation, not the first.

mod code;
mod exports;
mod floating;
mod forbidden;
mod frames;
mod imports;
mod linker_sets;
mod module;
mod name_list;
mod options;
mod paths;
mod relocations;
mod report;
mod sections;
mod sizes;
#[cfg(test)]
mod tests;
mod violation;

pub(crate) use options::{Arguments, Options};
pub(crate) use report::Report;
pub(crate) use violation::Violation;

use anyhow::Context;
use imports::Kernel;
use module::Module;
use name_list::NameList;
use std::path::Path;
use std::process::ExitCode;

/// How many of the largest stack frames a report names.
const FRAMES_SHOWN: usize = 3;

/// Checks the module in the file `path`, an amd64 `ET_REL` kernel module.
///
/// # Errors
///
/// When a file cannot be read or is not what it should be. A module that can be
/// read but breaks a rule is not an error: see [`Report::violations`].
pub(crate) fn check(path: &Path, options: &Options) -> anyhow::Result<Report> {
    let file = read(path)?;
    let module = Module::parse(&file).with_context(|| path.display().to_string())?;
    let mut list = NameList::read(&options.symbol_list)?;
    for more in &options.more_symbols {
        list.add(NameList::read(more)?);
    }
    let mut kernels = Vec::new();
    for path in &options.kernels {
        let kernel = Kernel::parse(path, &read(path)?);
        kernels.push(kernel.with_context(|| path.display().to_string())?);
    }
    let mut report = inspect(path, &module, options, &list, &kernels);
    if let Some(path) = &options.unstripped {
        let file = read(path)?;
        let module = Module::parse(&file).with_context(|| path.display().to_string())?;
        report
            .violations
            .extend(forbidden::check_names(&module, path, &options.forbidden));
    }
    Ok(report)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// Holds `module`, read from `path`, against every rule.
fn inspect(
    path: &Path,
    module: &Module<'_>,
    options: &Options,
    list: &NameList,
    kernels: &[Kernel],
) -> Report {
    let functions = code::functions(module);
    let (mut frames, too_deep) = frames::check(module, &functions, options.max_frame);
    frames.truncate(FRAMES_SHOWN);

    let mut violations = relocations::check(module);
    violations.extend(linker_sets::check(module, &options.required_sets));
    violations.extend(floating::check(module, &functions));
    violations.extend(sections::check(module));
    violations.extend(exports::check(module, &options.exports));
    violations.extend(imports::check(module, list, kernels, &options.provided));
    violations.extend(too_deep);
    violations.extend(forbidden::check_names(module, path, &options.forbidden));
    violations.extend(forbidden::check_texts(module, &options.forbidden_texts));
    violations.extend(paths::check(module, &options.forbidden_paths));

    Report {
        file: path.to_owned(),
        sizes: sizes::sizes(module),
        sections: sizes::section_lines(module),
        functions: functions.len(),
        largest_frames: frames,
        max_frame: options.max_frame,
        imports: imports::names(module),
        exports: options.exports.clone(),
        kernels: options.kernels.clone(),
        violations,
    }
}

/// The command: checks, prints the report, and tells by the exit status whether
/// the module may be loaded.
///
/// # Errors
///
/// Those of [`check`].
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = check(&arguments.module(), &arguments.options()?)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
