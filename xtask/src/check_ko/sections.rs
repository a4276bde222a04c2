// SPDX-License-Identifier: BSD-2-Clause
//! Rule 4: no section that the kernel cannot or should not load.
//!
//! `link_elf_load_file` (`sys/kern/link_elf_obj.c`) maps each loaded section
//! with the protection of its flags, runs `.ctors` and `.init_array` before the
//! module's event handler, has no notion of TLS, and copies unwind tables into
//! wired memory where nothing reads them.

use super::module::{Home, Module, Section};
use super::violation::Violation;
use object::elf;

/// Checks every section by itself, and the number of symbol tables.
pub(super) fn check(module: &Module<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    if module.symbol_tables != 1 {
        found.push(Violation::SymbolTables {
            count: module.symbol_tables,
        });
    }
    for (index, section) in module.sections.iter().enumerate() {
        found.extend(writable_code(section));
        found.extend(thread_local_section(section));
        found.extend(constructors(section));
        found.extend(unwind_table(section));
        found.extend(not_loaded(module, index));
    }
    found.extend(thread_local_symbols(module));
    found
}

fn writable_code(section: &Section<'_>) -> Option<Violation> {
    section
        .has(elf::SHF_WRITE | elf::SHF_EXECINSTR)
        .then(|| Violation::WritableCode {
            section: section.name.to_owned(),
        })
}

fn thread_local_section(section: &Section<'_>) -> Option<Violation> {
    section.has(elf::SHF_TLS).then(|| Violation::ThreadLocal {
        what: "section",
        name: section.name.to_owned(),
    })
}

fn thread_local_symbols(module: &Module<'_>) -> Vec<Violation> {
    let symbols = module.symbols.iter().filter(|s| s.kind == elf::STT_TLS);
    symbols
        .map(|s| Violation::ThreadLocal {
            what: "symbol",
            name: s.name.to_owned(),
        })
        .collect()
}

/// By name or by type, with or without a priority (`.init_array.00100`).
fn constructors(section: &Section<'_>) -> Option<Violation> {
    const NAMES: [&str; 7] = [
        ".ctors",
        ".dtors",
        ".init_array",
        ".fini_array",
        ".preinit_array",
        ".init",
        ".fini",
    ];
    let types = [
        elf::SHT_INIT_ARRAY,
        elf::SHT_FINI_ARRAY,
        elf::SHT_PREINIT_ARRAY,
    ];
    let refused = types.contains(&section.kind) || is_any_of(section.name, &NAMES);
    refused.then(|| Violation::Constructors {
        section: section.name.to_owned(),
        size: section.size,
    })
}

fn unwind_table(section: &Section<'_>) -> Option<Violation> {
    const NAMES: [&str; 3] = [".eh_frame", ".eh_frame_hdr", ".gcc_except_table"];
    let unwind = section.kind == elf::SHT_X86_64_UNWIND || is_any_of(section.name, &NAMES);
    (unwind && section.size > 0).then(|| Violation::UnwindTable {
        section: section.name.to_owned(),
        size: section.size,
    })
}

fn not_loaded(module: &Module<'_>, index: usize) -> Option<Violation> {
    let section = &module.sections[index];
    if !section.has(elf::SHF_ALLOC) || section.is_loaded() || section.size == 0 {
        return None;
    }
    let named = module
        .symbols
        .iter()
        .any(|s| s.home == Home::Section(index) && s.kind != elf::STT_SECTION);
    (named || !section.relocations.is_empty()).then(|| Violation::SectionNotLoaded {
        section: section.name.to_owned(),
        section_type: format!("{:?}", section.kind),
    })
}

/// Whether `name` is one of `names`, or one with a suffix after a dot.
fn is_any_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|candidate| {
        name.strip_prefix(candidate)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
