// SPDX-License-Identifier: BSD-2-Clause
//! Builds `examples/memnic`, a driver in C that is a module of its own, and holds it against
//! `check_ko` as far as that is about any module.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::{Build, cflags, compile_c};
use crate::check_ko::{self, Options};
use crate::tools::quiet;

const SOURCES: [&str; 2] = ["memnic.c", "card.c"];

/// Bounds that a header of the kernel's names in every object, used or not.
const UNUSED: [&str; 2] = ["__start_set_pcpu", "__stop_set_pcpu"];

/// Another version of the header than there is.
const OTHER_ABI: &str = "#include <weft_nic.h>\n#undef WEFT_NIC_ABI\n#define WEFT_NIC_ABI 99\n";

/// Builds the driver and returns its path, `target/weft/memnic.ko`.
///
/// # Errors
/// What the compiler or the linker said, or each rule of `check_ko` that was broken.
pub(crate) fn module(build: &Build) -> Result<PathBuf> {
    let ko = linked(build, &build.out(), &[])?;
    let options = options(build)?;
    let report = check_ko::check(&ko, &options)?;
    if !report.violations.is_empty() {
        bail!("{report}");
    }
    log::info!("{} passes check-ko", ko.display());
    Ok(ko)
}

/// Builds the driver as if the header were of another version.
///
/// # Errors
/// As [`module`].
pub(crate) fn of_other_abi(build: &Build) -> Result<PathBuf> {
    let folder = build.out().join("variants/other-abi");
    std::fs::create_dir_all(&folder)?;
    let header = folder.join("other_abi.h");
    std::fs::write(&header, OTHER_ABI)?;
    let include = ["-include".to_owned(), header.display().to_string()];
    linked(build, &folder, &include)
}

/// What the driver is held to: that nothing of it is global, and that what it needs is the
/// kernel's or what `weft.ko` exports.
fn options(build: &Build) -> Result<Options> {
    let mut options = Options::for_weft()?;
    options.provided = std::mem::take(&mut options.exports);
    options.symbol_list = build.root.join("examples/memnic/symbols.txt");
    Ok(options)
}

fn linked(build: &Build, folder: &Path, more: &[String]) -> Result<PathBuf> {
    let mut flags = cflags(build);
    flags.extend(["-fno-function-sections", "-fno-data-sections"].map(str::to_owned));
    flags.push(format!("-ffile-prefix-map={}=weft", build.root.display()));
    flags.extend_from_slice(more);
    let source = build.root.join("examples/memnic");
    let objects = SOURCES
        .iter()
        .map(|name| compile_c(build, &flags, &source.join(name), folder))
        .collect::<Result<Vec<PathBuf>>>()?;
    let full = folder.join("memnic.ko.full");
    quiet(
        Command::new(&build.tools.lld)
            .args(["-m", "elf_x86_64_fbsd", "-r", "-o"])
            .arg(&full)
            .args(objects),
    )
    .context("linking memnic.ko failed")?;
    let ko = folder.join("memnic.ko");
    quiet(
        Command::new(&build.tools.objcopy)
            .args(["--strip-debug", "--remove-section=.comment"])
            .args([
                "--remove-section=.llvm_addrsig",
                "--remove-section=.note.GNU-stack",
            ])
            .args(UNUSED.map(|name| format!("--strip-symbol={name}")))
            .arg("--keep-global-symbol=memnic_exports_nothing_by_this_name")
            .arg(&full)
            .arg(&ko),
    )
    .context("stripping memnic.ko failed")?;
    Ok(ko)
}
