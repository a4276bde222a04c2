// SPDX-License-Identifier: BSD-2-Clause
//! What the gate holds a module to: the rules' parameters, their defaults for
//! `weft.ko`, and the command line that changes them.

use super::name_list::NameList;
use crate::workspace_root;
use anyhow::Context;
use std::env;
use std::path::{Path, PathBuf};

/// `DECLARE_MODULE` (`sys/module.h`) puts one pointer into each.
const REQUIRED_SETS: [&str; 2] = ["set_modmetadata_set", "set_sysinit_set"];

/// Bytes; a sixteenth of the kernel stack of four pages.
const MAX_FRAME: u64 = 1024;

/// Functions of `alloc` that panic when memory is short.
const FORBIDDEN: [&str; 4] = [
    "handle_alloc_error",
    "capacity_overflow",
    "__rust_alloc_error_handler",
    "__rg_oom",
];

/// What those functions say.
const FORBIDDEN_TEXTS: [&str; 2] = ["capacity overflow", "memory allocation of "];

/// The rules' parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Linker sets that must be there and not empty.
    pub(crate) required_sets: Vec<String>,
    /// Every symbol that may, and must, be global.
    pub(crate) exports: Vec<String>,
    /// The list of kernel symbols that the module may, and must, need.
    pub(crate) symbol_list: PathBuf,
    /// Of these, what another module has and no kernel.
    pub(crate) provided: Vec<String>,
    /// Lists of those that it may, and must, need beside these.
    pub(crate) more_symbols: Vec<PathBuf>,
    /// Kernel files that must define each of them.
    pub(crate) kernels: Vec<PathBuf>,
    /// The largest stack frame allowed, in bytes.
    pub(crate) max_frame: u64,
    /// Words that no symbol's or section's name may hold.
    pub(crate) forbidden: Vec<String>,
    /// Texts that no loaded section may hold.
    pub(crate) forbidden_texts: Vec<String>,
    /// Paths that the file may not hold.
    pub(crate) forbidden_paths: Vec<String>,
    /// The module before its names were stripped.
    pub(crate) unstripped: Option<PathBuf>,
}

/// Check a FreeBSD amd64 kernel module before it is loaded
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The module. Default: what `cargo xtask build` made
    path: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A kernel that must define what the module needs; repeatable. Default:
    /// $WEFT_KERNEL, or every kernel that `cargo xtask` has fetched
    #[arg(long, value_name = "FILE")]
    kernel: Vec<PathBuf>,
    /// The list of kernel symbols. Default: kmod/kernel-symbols.txt
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// A symbol that must be global besides those in kmod/exports.txt; repeatable
    #[arg(long, value_name = "SYMBOL")]
    export: Vec<String>,
    /// Another linker set that must be there; repeatable
    #[arg(long, value_name = "SET")]
    require_set: Vec<String>,
    /// The largest stack frame allowed, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MAX_FRAME)]
    max_frame: u64,
    /// The module before stripping, for the rule on names
    #[arg(long, value_name = "FILE")]
    unstripped: Option<PathBuf>,
}

impl Arguments {
    /// The file to check.
    pub(super) fn module(&self) -> PathBuf {
        let target =
            || directory("CARGO_TARGET_DIR").unwrap_or_else(|| workspace_root().join("target"));
        self.path
            .clone()
            .unwrap_or_else(|| target().join("weft/weft.ko"))
    }

    /// The defaults for `weft.ko`, with what the command line adds.
    ///
    /// # Errors
    ///
    /// Those of [`Options::for_weft`].
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let mut options = Options::for_weft()?;
        options
            .required_sets
            .extend(self.require_set.iter().cloned());
        options.exports.extend(self.export.iter().cloned());
        options.max_frame = self.max_frame;
        options.unstripped = self.unstripped.clone();
        if let Some(list) = &self.symbols {
            options.symbol_list = list.clone();
        }
        if !self.kernel.is_empty() {
            options.kernels = self.kernel.clone();
        }
        Ok(options)
    }
}

impl Options {
    /// What `weft.ko` is held to on this machine.
    ///
    /// # Errors
    ///
    /// When `kmod/exports.txt`, or the directory of fetched kernels where there is
    /// one, cannot be read.
    pub(crate) fn for_weft() -> anyhow::Result<Self> {
        let workspace = workspace_root();
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Ok(Self {
            required_sets: owned(&REQUIRED_SETS),
            exports: NameList::read(&workspace.join("kmod/exports.txt"))?
                .lines
                .into_keys()
                .collect(),
            symbol_list: workspace.join("kmod/kernel-symbols.txt"),
            provided: Vec::new(),
            more_symbols: Vec::new(),
            kernels: kernels()?,
            max_frame: MAX_FRAME,
            forbidden: owned(&FORBIDDEN),
            forbidden_texts: owned(&FORBIDDEN_TEXTS),
            forbidden_paths: build_paths(&workspace),
            unstripped: None,
        })
    }
}

fn directory(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// `$WEFT_KERNEL`, or what was fetched into the cache directory.
fn kernels() -> anyhow::Result<Vec<PathBuf>> {
    if let Some(given) = env::var_os("WEFT_KERNEL").filter(|value| !value.is_empty()) {
        return Ok(kernels_named(&given.to_string_lossy()));
    }
    let cache = directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")));
    match cache.map(|cache| cache.join("weft/kernels")) {
        Some(fetched) if fetched.is_dir() => kernels_below(&fetched),
        _ => Ok(Vec::new()),
    }
}

/// The kernels of a list of files and of directories that have one, by commas.
fn kernels_named(list: &str) -> Vec<PathBuf> {
    let names = list.split(',').map(str::trim);
    let paths = names.filter(|name| !name.is_empty()).map(PathBuf::from);
    paths
        .map(|path| match path.is_dir() {
            true => path.join("kernel"),
            false => path,
        })
        .collect()
}

/// The file `kernel` of each directory in `fetched`, sorted.
fn kernels_below(fetched: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fetched
        .read_dir()
        .with_context(|| fetched.display().to_string())?;
    let mut kernels = entries
        .map(|entry| Ok(entry?.path().join("kernel")))
        .collect::<anyhow::Result<Vec<PathBuf>>>()?;
    kernels.retain(|kernel| kernel.is_file());
    kernels.sort();
    Ok(kernels)
}

/// Directories whose names say where the build ran.
fn build_paths(workspace: &Path) -> Vec<String> {
    let named = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"].map(directory);
    let paths = named.into_iter().flatten().chain([workspace.to_owned()]);
    let mut paths: Vec<String> = paths
        .filter_map(|path| Some(path.to_str()?.trim_end_matches('/').to_owned()))
        .filter(|path| path.starts_with('/'))
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_files_and_directories() {
        let folder = tempfile::tempdir().unwrap();
        let list = format!("{}, /boot/kernel/kernel,,", folder.path().display());
        let found = kernels_named(&list);
        let expected = [folder.path().join("kernel"), "/boot/kernel/kernel".into()];
        assert_eq!(found, expected);
        assert!(kernels_named(" ,").is_empty());
    }

    #[test]
    fn every_directory_with_a_kernel_is_found() {
        let fetched = tempfile::tempdir().unwrap();
        for name in ["b/kernel", "a/kernel", "c/if_vmx.ko"] {
            let file = fetched.path().join(name);
            std::fs::create_dir(file.parent().unwrap()).unwrap();
            std::fs::write(file, b"").unwrap();
        }
        let found = kernels_below(fetched.path()).unwrap();
        assert_eq!(
            found,
            ["a/kernel", "b/kernel"].map(|name| fetched.path().join(name))
        );
    }

    #[test]
    fn weft_is_held_to_its_own_lists() {
        let options = Options::for_weft().unwrap();
        assert!(options.symbol_list.is_file());
        assert!(
            options
                .required_sets
                .contains(&"set_modmetadata_set".to_owned())
        );
        let workspace = workspace_root().to_str().unwrap().to_owned();
        assert!(options.forbidden_paths.contains(&workspace));
    }
}
