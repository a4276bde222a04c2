// SPDX-License-Identifier: BSD-2-Clause
//! Rule 9: how large the module is, told in every build. Nothing is refused.

use super::module::Module;
use object::elf;
use serde::Serialize;

/// Bytes of memory by use, and of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Sizes {
    /// Executable sections.
    pub(crate) text: u64,
    /// Loaded, neither writable nor executable.
    pub(crate) rodata: u64,
    /// Writable, with contents.
    pub(crate) data: u64,
    /// Writable, zero at load.
    pub(crate) bss: u64,
    /// The file.
    pub(crate) file: u64,
}

/// One line of the section table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct SectionLine {
    pub(crate) name: String,
    /// `SHT_*`, as the ELF specification names it.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `A`lloc, `W`rite, e`X`ecute, `M`erge, `T`LS; as readelf(1) letters them.
    pub(crate) flags: String,
    pub(crate) size: u64,
    pub(crate) relocations: usize,
}

/// Adds up the loaded sections.
pub(super) fn sizes(module: &Module<'_>) -> Sizes {
    let mut sizes = Sizes {
        file: module.file.len() as u64,
        ..Sizes::default()
    };
    for section in module.sections.iter().filter(|s| s.is_loaded()) {
        let sum = if section.has(elf::SHF_EXECINSTR) {
            &mut sizes.text
        } else if section.kind == elf::SHT_NOBITS {
            &mut sizes.bss
        } else if section.has(elf::SHF_WRITE) {
            &mut sizes.data
        } else {
            &mut sizes.rodata
        };
        *sum += section.size;
    }
    sizes
}

/// The section table without its empty first entry.
pub(super) fn section_lines(module: &Module<'_>) -> Vec<SectionLine> {
    const LETTERS: [(elf::SectionFlags, char); 5] = [
        (elf::SHF_ALLOC, 'A'),
        (elf::SHF_WRITE, 'W'),
        (elf::SHF_EXECINSTR, 'X'),
        (elf::SHF_MERGE, 'M'),
        (elf::SHF_TLS, 'T'),
    ];
    let sections = module.sections.iter().skip(1);
    sections
        .map(|section| SectionLine {
            name: section.name.to_owned(),
            kind: format!("{:?}", section.kind),
            flags: LETTERS
                .iter()
                .filter(|(flag, _)| section.has(*flag))
                .map(|(_, c)| c)
                .collect(),
            size: section.size,
            relocations: section.relocations.len(),
        })
        .collect()
}
