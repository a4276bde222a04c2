// SPDX-License-Identifier: BSD-2-Clause
//! Rule 1: only relocations that the kernel's linker can apply to a module.
//!
//! Source: `elf_reloc_internal` in `sys/amd64/amd64/elf_machdep.c`. Its switch
//! takes NONE, 64, PC32, PLT32 (as PC32) and 32S; refuses COPY by name; and
//! refuses every other type as unexpected, so GOTPCREL* (no GOT is made), 32,
//! PC64 and all of TLS. It also has cases for GLOB_DAT, JMP_SLOT, RELATIVE and
//! IRELATIVE, which only a linker of shared objects makes: in an `ET_REL` file
//! they mean a broken link, and this rule refuses them.

use super::module::{Module, Relocation};
use super::violation::Violation;
use object::elf::{self, RelocationType};

/// What an `ET_REL` module may hold, and how many bytes each writes.
const ALLOWED: [(RelocationType, u64); 5] = [
    (elf::R_X86_64_NONE, 0),
    (elf::R_X86_64_64, 8),
    (elf::R_X86_64_PC32, 4),
    (elf::R_X86_64_PLT32, 4),
    (elf::R_X86_64_32S, 4),
];

/// Checks the relocations of every loaded section; the kernel ignores the rest.
pub(super) fn check(module: &Module<'_>) -> Vec<Violation> {
    let loaded = module
        .sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_loaded());
    loaded
        .flat_map(|(index, section)| section.relocations.iter().map(move |r| (index, r)))
        .filter_map(|(index, relocation)| check_one(module, index, relocation))
        .collect()
}

fn check_one(module: &Module<'_>, index: usize, relocation: &Relocation) -> Option<Violation> {
    let size = module.sections[index].size;
    let place = module.place(index, relocation.offset);
    let Some((_, width)) = ALLOWED.iter().find(|(kind, _)| *kind == relocation.kind) else {
        return Some(Violation::RelocationType {
            relocation: name(relocation.kind),
            place,
            allowed: ALLOWED.map(|(kind, _)| name(kind)).join(", "),
        });
    };
    let inside = relocation
        .offset
        .checked_add(*width)
        .is_some_and(|end| end <= size);
    (!inside).then(|| Violation::RelocationOutside {
        relocation: name(relocation.kind),
        place,
        width: *width,
        size,
    })
}

fn name(kind: RelocationType) -> String {
    match elf::NAMES_R_X86_64.name(kind) {
        Some(name) => name.to_owned(),
        None => format!("type {}", kind.0),
    }
}
