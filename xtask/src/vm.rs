// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask vm`: makes what the guests need, the refused modules among it,
//! and has `weft-tests-vm` boot them.

use std::path::Path;

use anyhow::{Context, Result};
use weft_tests_vm::{Artifacts, Counts, Variant, VmArgs};

use crate::agent;
use crate::build::{self, Build, Flag, target_dir};
use crate::example;
use crate::install;

/// A `__FreeBSD_version` of another branch.
const OTHER_BRANCH: u32 = 1_402_000;

/// Runs what the arguments ask for.
///
/// # Errors
/// What keeps the tests from being run; what a guest does wrong is counted.
pub(crate) fn run(build: &Build, args: &VmArgs) -> Result<Counts> {
    if weft_tests_vm::act(args)? {
        return Ok(Counts::default());
    }
    let mut artifacts = artifacts(build)?;
    if args.needs_uncounted() {
        artifacts.module_uncounted = Some(build::module_uncounted(build)?);
    }
    crate::bench::noted(&build.root, false, || weft_tests_vm::run(args, &artifacts))
}

/// Everything the guests need, beside a kernel.
///
/// # Errors
/// What the compiler or the linker said, or each rule of `check_ko` that was broken.
pub(crate) fn artifacts(build: &Build) -> Result<Artifacts> {
    let module_for_tests = build::module_for_tests(build)?;
    let module_with_checks = build::module_with_checks(build)?;
    // After the other one: variants are made of what was compiled last.
    let module = build::module(build)?;
    Ok(Artifacts {
        agent: agent::agent(build)?,
        examples: [example::module(build)?, example::of_other_abi(build)?],
        variants: refused(build, &module)?,
        installed: install::into_folder(build, &module)?,
        output: build.out().join("vm"),
        module_for_tests,
        module_with_checks,
        module_uncounted: None,
        bench: target_dir(&build.root).join("bench"),
        module,
    })
}

/// Modules that the kernel must refuse, and what it must say.
fn refused(build: &Build, module: &Path) -> Result<Vec<Variant>> {
    let wrong = [
        (
            "wrong-branch",
            Flag::Branch(OTHER_BRANCH),
            "depends on kernel - not available or version mismatch",
        ),
        (
            "too-new",
            Flag::Define("WEFT_TEST_TOO_NEW"),
            "weft: not loaded: built for __FreeBSD_version",
        ),
        (
            "no-vimage",
            Flag::Define("WEFT_NO_VIMAGE"),
            "link_elf_obj: symbol",
        ),
        (
            "wrong-option",
            Flag::Define("WEFT_TEST_WRONG_OPTION"),
            "weft: not loaded: built for a kernel without options VIMAGE",
        ),
        (
            "wrong-size",
            Flag::Define("WEFT_TEST_WRONG_SIZE"),
            "weft: not loaded: struct mtx has",
        ),
    ];
    let mut variants = vec![truncated(build, module)?];
    for (name, flag, expected) in wrong {
        variants.push(Variant {
            name: name.to_owned(),
            path: build::variant(build, build::Variant { name, flag })?,
            expected: expected.to_owned(),
        });
    }
    Ok(variants)
}

/// The first half of the module.
fn truncated(build: &Build, module: &Path) -> Result<Variant> {
    let dir = build.out().join("variants/truncated");
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("weft.ko");
    let bytes = std::fs::read(module).with_context(|| module.display().to_string())?;
    std::fs::write(&path, &bytes[..bytes.len() / 2])?;
    Ok(Variant {
        name: "truncated".to_owned(),
        path,
        expected: "weft.ko".to_owned(),
    })
}
