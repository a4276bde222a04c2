// SPDX-License-Identifier: BSD-2-Clause
//! Holds a module that is a shared object against what arm64's kernel linker takes
//! (`sys/kern/link_elf.c`, `sys/arm64/arm64/elf_machdep.c`), as far as that can be seen
//! without such a kernel.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use object::elf;
use object::read::elf::ElfFile64;
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationFlags};

use crate::build::Build;

/// Dynamic relocations that `elf_reloc_internal` knows.
const RELOCATIONS: [elf::RelocationType; 6] = [
    elf::R_AARCH64_NONE,
    elf::R_AARCH64_ABS64,
    elf::R_AARCH64_GLOB_DAT,
    elf::R_AARCH64_JUMP_SLOT,
    elf::R_AARCH64_RELATIVE,
    elf::R_AARCH64_IRELATIVE,
];
/// Bounds of linker sets, which the kernel finds by these names.
const BOUNDS: [&str; 2] = ["__start_", "__stop_"];

/// What has lld define the bounds of each linker set in a relocatable object: it defines those
/// that something asks for.
///
/// # Errors
/// A file that can't be read, or is no object.
pub(crate) fn bounds(kld: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(kld).with_context(|| kld.display().to_string())?;
    let file = ElfFile64::<object::Endianness>::parse(&*bytes)?;
    let names = file
        .sections()
        .filter_map(|section| section.name().ok().map(String::from));
    let sets = names.filter(|name| name.starts_with("set_"));
    Ok(sets
        .flat_map(|set| BOUNDS.map(|bound| format!("--undefined={bound}{set}")))
        .collect())
}

/// Checks a module.
///
/// # Errors
/// Each rule that it breaks.
pub(crate) fn check(build: &Build, ko: &Path) -> Result<()> {
    let bytes = std::fs::read(ko).with_context(|| ko.display().to_string())?;
    let file = ElfFile64::<object::Endianness>::parse(&*bytes)
        .with_context(|| format!("{}: no ELF file", ko.display()))?;
    let read = |name: &str| std::fs::read_to_string(build.root.join("kmod").join(name));
    let lists = read("kernel-symbols.txt")? + &read("kernel-symbols-arm64.txt")?;
    let lines = lists.lines().filter(|line| !line.starts_with('#'));
    let listed: BTreeSet<&str> = lines.collect();
    let mut wrong = relocations(&file)?;
    let mut defined = BTreeSet::new();
    for symbol in file.dynamic_symbols() {
        let name = symbol.name()?;
        if !symbol.is_undefined() {
            defined.insert(name);
        } else if !name.is_empty() && !listed.contains(name) {
            wrong.push(format!(
                "{name}: needed, and in neither list of kernel symbols"
            ));
        }
    }
    for section in file.sections() {
        let name = section.name()?;
        let is_set = name.starts_with("set_");
        for bound in BOUNDS.map(|bound| format!("{bound}{name}")) {
            if is_set && !defined.contains(bound.as_str()) {
                wrong.push(format!("{name}: the kernel can't find it by {bound}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}:\n{}", ko.display(), wrong.join("\n"));
    log::info!(
        "{} is a shared object as arm64's kernel takes it",
        ko.display()
    );
    Ok(())
}

fn relocations(file: &ElfFile64<'_, object::Endianness>) -> Result<Vec<String>> {
    let Some(relocations) = file.dynamic_relocations() else {
        bail!("no dynamic relocations: not a shared object");
    };
    let kinds: BTreeSet<Option<u32>> = relocations
        .map(|(_, relocation)| match relocation.flags() {
            RelocationFlags::Elf { r_type } => Some(r_type.0),
            _ => None,
        })
        .collect();
    let unknown = kinds
        .into_iter()
        .filter(|kind| !RELOCATIONS.iter().any(|known| Some(known.0) == *kind));
    Ok(unknown
        .map(|kind| format!("relocations of type {kind:?}: the kernel does not know them"))
        .collect())
}
