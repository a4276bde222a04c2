// SPDX-License-Identifier: BSD-2-Clause
//! Rule 6: every kernel symbol that the module needs is agreed to, and there.
//!
//! The agreement is a checked-in list (`kmod/kernel-symbols.txt`). An unlisted need and a listed name that nothing
//! needs are both errors, so the list is the module's exact kernel interface
//! and a review sees every change of it. When kernels are at hand, each needed
//! symbol must be defined in their dynamic symbol table, the one that
//! `link_elf_lookup_symbol` (`sys/kern/link_elf.c`) searches.

use super::module::{Home, Module};
use super::name_list::NameList;
use super::violation::Violation;
use anyhow::bail;
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, Sym};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What the compiler calls of its own accord, or not, as it sees fit each time: in
/// the list these may be without use.
const COMPILERS_OWN: [&str; 5] = ["bcmp", "memcmp", "memcpy", "memmove", "memset"];

/// The names that one kernel defines for modules.
pub(super) struct Kernel {
    path: PathBuf,
    defined: HashSet<Vec<u8>>,
}

/// A symbol that the kernel must supply.
struct Import<'d> {
    name: &'d str,
    first_use: String,
}

impl Kernel {
    /// Reads the dynamic symbol table of `file`, which is called `path`.
    ///
    /// # Errors
    ///
    /// When it is no amd64 ELF file, or its `.dynsym` defines nothing.
    pub(super) fn parse(path: &Path, file: &[u8]) -> anyhow::Result<Self> {
        let defined = defined_dynamic(file)?;
        if defined.is_empty() {
            bail!("no symbol is defined in .dynsym; not a kernel?");
        }
        Ok(Self {
            path: path.to_owned(),
            defined,
        })
    }
}

fn defined_dynamic(file: &[u8]) -> anyhow::Result<HashSet<Vec<u8>>> {
    let header = FileHeader64::<Le>::parse(file)?;
    if header.e_machine(Le) != elf::EM_X86_64 {
        bail!(
            "e_machine is {:?}; allowed: EM_X86_64",
            header.e_machine(Le)
        );
    }
    let table = header
        .sections(Le, file)?
        .symbols(Le, file, elf::SHT_DYNSYM)?;
    let defined = table
        .iter()
        .filter(|s| !s.is_undefined(Le) && !s.is_local())
        .map(|s| Ok(table.symbol_name(Le, s)?.to_vec()));
    defined.collect()
}

/// Checks the undefined symbols of `module` against `list` and each of `kernels`, where those
/// that are `provided` by another module need not be.
pub(super) fn check(
    module: &Module<'_>,
    list: &NameList,
    kernels: &[Kernel],
    provided: &[String],
) -> Vec<Violation> {
    let imports = imports(module);
    let mut found = local_undefined(module);
    found.extend(check_list(list, &imports));
    found.extend(imports.iter().filter_map(|import| unlisted(list, import)));
    for kernel in kernels {
        let kernels_own = |import: &&Import<'_>| !provided.iter().any(|name| name == import.name);
        found.extend(
            imports
                .iter()
                .filter(kernels_own)
                .filter_map(|import| not_in_kernel(kernel, import)),
        );
    }
    found
}

/// The names of the symbols that `module` takes from the kernel, sorted.
pub(super) fn names(module: &Module<'_>) -> Vec<String> {
    imports(module)
        .iter()
        .map(|import| import.name.to_owned())
        .collect()
}

fn imports<'d>(module: &Module<'d>) -> Vec<Import<'d>> {
    let undefined = module.symbols.iter().enumerate().skip(1).filter(|(_, s)| {
        s.home == Home::Undefined && s.bind != elf::STB_LOCAL && !is_set_bound(module, s.name)
    });
    let mut imports: Vec<Import<'d>> = undefined
        .map(|(index, symbol)| Import {
            name: symbol.name,
            first_use: match module.first_use(index) {
                Some(place) => place.to_string(),
                None => "no relocation".to_owned(),
            },
        })
        .collect();
    imports.sort_by_key(|import| import.name);
    imports
}

/// `link_elf_fix_link_set` defines the bounds of the sets that the module has.
fn is_set_bound(module: &Module<'_>, name: &str) -> bool {
    let set = name
        .strip_prefix("__start_")
        .or_else(|| name.strip_prefix("__stop_"));
    set.is_some_and(|set| {
        module
            .sections
            .iter()
            .any(|s| s.is_loaded() && s.name == set)
    })
}

fn local_undefined(module: &Module<'_>) -> Vec<Violation> {
    let symbols = module.symbols.iter().skip(1);
    symbols
        .filter(|s| s.home == Home::Undefined && s.bind == elf::STB_LOCAL)
        .map(|s| Violation::LocalUndefined {
            symbol: s.name.to_owned(),
        })
        .collect()
}

fn unlisted(list: &NameList, import: &Import<'_>) -> Option<Violation> {
    (!list.lines.contains_key(import.name)).then(|| Violation::ImportUnlisted {
        symbol: import.name.to_owned(),
        first_use: import.first_use.clone(),
        list: list.path.clone(),
    })
}

fn check_list(list: &NameList, imports: &[Import<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (symbol, lines) in &list.lines {
        let (symbol, path, first) = (symbol.clone(), list.path.clone(), lines[0]);
        if let Some(line) = lines.get(1).copied() {
            let (symbol, list) = (symbol.clone(), path.clone());
            found.push(Violation::ImportRepeated {
                symbol,
                list,
                line,
                first,
            });
        }
        let needed = imports.iter().any(|import| import.name == symbol);
        if !needed && !COMPILERS_OWN.contains(&symbol.as_str()) {
            found.push(Violation::ImportStale {
                symbol,
                list: path,
                line: first,
            });
        }
    }
    found
}

fn not_in_kernel(kernel: &Kernel, import: &Import<'_>) -> Option<Violation> {
    (!kernel.defined.contains(import.name.as_bytes())).then(|| Violation::ImportNotInKernel {
        symbol: import.name.to_owned(),
        first_use: import.first_use.clone(),
        kernel: kernel.path.clone(),
    })
}
