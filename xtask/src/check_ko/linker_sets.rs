// SPDX-License-Identifier: BSD-2-Clause
//! Rule 2: each linker set is one section, and the sets that make the module do
//! anything are there.
//!
//! `DECLARE_MODULE`, `SYSINIT`, `SYSCTL_*` and their kin put one pointer each
//! into a section `set_<name>`, and `link_elf_lookup_set`
//! (`sys/kern/link_elf_obj.c`) reads the first loaded section of that name only.
//! A relocatable link that keeps input sections apart, or garbage-collects
//! them, yields a module that loads and silently does less than it should.

use super::module::{Module, Section};
use super::violation::Violation;
use object::elf;
use std::collections::BTreeMap;

const POINTER: u64 = 8;

/// Sections named like sets that hold the data itself, not pointers to it:
/// `DPCPU_SETNAME` (`sys/pcpu.h`), `VNET_SETNAME` (`net/vnet.h`) and the SDT
/// tracepoints (`sys/sdt.h`).
const DATA_SETS: [&str; 3] = ["set_pcpu", "set_vnet", "set_sdt_tracepoint_set"];

/// Checks every `set_*` section, and that each of `required` is there.
pub(super) fn check(module: &Module<'_>, required: &[String]) -> Vec<Violation> {
    let sets = sections_by_set(module);
    let mut found = check_required(&sets, required);
    for (name, indices) in &sets {
        if indices.len() > 1 {
            let (set, count) = ((*name).to_owned(), indices.len());
            found.push(Violation::SetRepeated { set, count });
        }
        if !DATA_SETS.contains(name) {
            found.extend(indices.iter().flat_map(|index| check_slots(module, *index)));
        }
    }
    found
}

fn sections_by_set<'d>(module: &Module<'d>) -> BTreeMap<&'d str, Vec<usize>> {
    let mut sets: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, section) in module.sections.iter().enumerate() {
        if section.is_loaded() && section.name.starts_with("set_") {
            sets.entry(section.name).or_default().push(index);
        }
    }
    sets
}

fn check_required(sets: &BTreeMap<&str, Vec<usize>>, required: &[String]) -> Vec<Violation> {
    let missing = required
        .iter()
        .filter(|set| !sets.contains_key(set.as_str()));
    missing
        .map(|set| Violation::SetMissing {
            set: set.clone(),
            required: required.to_vec(),
        })
        .collect()
}

fn check_slots(module: &Module<'_>, index: usize) -> Vec<Violation> {
    let section = &module.sections[index];
    if !section.size.is_multiple_of(POINTER) {
        let (set, size) = (section.name.to_owned(), section.size);
        return vec![Violation::SetRagged { set, size }];
    }
    (0..section.size)
        .step_by(POINTER as usize)
        .filter(|offset| !is_pointer(section, *offset))
        .map(|offset| Violation::SetSlotEmpty {
            place: module.place(index, offset),
        })
        .collect()
}

fn is_pointer(section: &Section<'_>, offset: u64) -> bool {
    let relocation = section.relocation_in(offset, offset + POINTER);
    relocation.is_some_and(|r| r.offset == offset && r.kind == elf::R_X86_64_64)
}
