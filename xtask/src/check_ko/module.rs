// SPDX-License-Identifier: BSD-2-Clause
//! The module under check, as the kernel's linker reads it: the sections, the
//! one symbol table and the relocations of an ELF64 x86-64 `ET_REL` file
//! (`sys/kern/link_elf_obj.c`). Every rule reads this and nothing else, so that
//! no rule knows how ELF is laid out.
//!
//! Offsets are bytes from the start of a section; an `ET_REL` file has no
//! addresses. Indices are the file's own, so section 0 and symbol 0 are the
//! empty entries that ELF demands.

use anyhow::{Context, bail};
use object::LittleEndian as Le;
use object::elf::{self, FileHeader64, RelocationType, SectionFlags, SectionType};
use object::read::SymbolIndex;
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, SymbolTable};
use serde::Serialize;
use std::fmt;

type Header = FileHeader64<Le>;

/// A parsed `ET_REL` file.
pub(crate) struct Module<'d> {
    /// The whole file.
    pub(crate) file: &'d [u8],
    /// Every section header, in the file's order.
    pub(crate) sections: Vec<Section<'d>>,
    /// Every symbol, in the file's order.
    pub(crate) symbols: Vec<Symbol<'d>>,
    /// How many `SHT_SYMTAB` sections there are; the kernel wants exactly one.
    pub(crate) symbol_tables: usize,
    /// Symbols that name a place, sorted by (section, offset).
    labels: Vec<Label>,
}

/// One section, with the relocations that patch it.
pub(crate) struct Section<'d> {
    pub(crate) name: &'d str,
    pub(crate) kind: SectionType,
    pub(crate) flags: SectionFlags,
    /// Bytes in memory.
    pub(crate) size: u64,
    /// Where `data` starts in the file.
    pub(crate) file_offset: u64,
    /// Bytes in the file; empty for `SHT_NOBITS`.
    pub(crate) data: &'d [u8],
    /// Sorted by offset.
    pub(crate) relocations: Vec<Relocation>,
}

/// One relocation of a section.
#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) kind: RelocationType,
    /// Index into [`Module::symbols`].
    pub(crate) symbol: usize,
    /// Zero for `SHT_REL`, whose addend is in the section.
    pub(crate) addend: i64,
}

/// One entry of the symbol table.
pub(crate) struct Symbol<'d> {
    pub(crate) name: &'d str,
    pub(crate) bind: elf::SymbolBind,
    pub(crate) kind: elf::SymbolType,
    pub(crate) home: Home,
    /// Offset within the section for [`Home::Section`].
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    Undefined,
    Section(usize),
    Common,
    /// `SHN_ABS` or another reserved index.
    Absolute,
}

struct Label {
    section: usize,
    offset: u64,
    symbol: usize,
}

/// A place in the module, printed as `.text+0x40 (weft_kmod::attach+0x10)`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Place {
    /// The section's name.
    pub(crate) section: String,
    /// Bytes from the section's start.
    pub(crate) offset: u64,
    /// The nearest symbol at or before the place, demangled, and the distance.
    pub(crate) symbol: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:#x}", self.section, self.offset)?;
        match &self.symbol {
            Some(symbol) => write!(f, " ({symbol})"),
            None => Ok(()),
        }
    }
}

impl<'d> Module<'d> {
    /// Reads `file`.
    ///
    /// # Errors
    ///
    /// When it is no ELF64 little-endian x86-64 `ET_REL` file, or a table of it
    /// reaches outside the file.
    pub(crate) fn parse(file: &'d [u8]) -> anyhow::Result<Self> {
        let header = Header::parse(file).context("not an ELF64 file")?;
        check_header(header)?;
        let table = header.sections(Le, file).context("section headers")?;
        let mut sections = read_sections(file, &table)?;
        read_relocations(file, &table, &mut sections)?;
        let symbols = table
            .symbols(Le, file, elf::SHT_SYMTAB)
            .context("symbol table")?;
        let symbols = read_symbols(&symbols, sections.len())?;
        let labels = sort_labels(&symbols);
        let symbol_tables = sections
            .iter()
            .filter(|s| s.kind == elf::SHT_SYMTAB)
            .count();
        Ok(Self {
            file,
            sections,
            symbols,
            symbol_tables,
            labels,
        })
    }

    /// Names the place `offset` bytes into section number `section`.
    pub(crate) fn place(&self, section: usize, offset: u64) -> Place {
        let after = self
            .labels
            .partition_point(|l| (l.section, l.offset) <= (section, offset));
        let label = self.labels[..after].last().filter(|l| l.section == section);
        Place {
            section: self.sections[section].name.to_owned(),
            offset,
            symbol: label.map(|l| self.label_and_distance(l, offset)),
        }
    }

    fn label_and_distance(&self, label: &Label, offset: u64) -> String {
        let name = demangle(self.symbols[label.symbol].name);
        match offset - label.offset {
            0 => name,
            distance => format!("{name}+{distance:#x}"),
        }
    }

    /// The first place whose relocation needs symbol number `symbol`.
    pub(crate) fn first_use(&self, symbol: usize) -> Option<Place> {
        self.sections
            .iter()
            .enumerate()
            .find_map(|(index, section)| {
                let hit = section.relocations.iter().find(|r| r.symbol == symbol)?;
                Some(self.place(index, hit.offset))
            })
    }
}

impl Section<'_> {
    /// Whether all of `flags` are set.
    pub(crate) fn has(&self, flags: SectionFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Whether the kernel's linker gives the section memory: the types that
    /// `link_elf_load_file` knows, when they are `SHF_ALLOC` and not empty.
    pub(crate) fn is_loaded(&self) -> bool {
        const LOADED: [SectionType; 5] = [
            elf::SHT_PROGBITS,
            elf::SHT_NOBITS,
            elf::SHT_X86_64_UNWIND,
            elf::SHT_INIT_ARRAY,
            elf::SHT_FINI_ARRAY,
        ];
        self.has(elf::SHF_ALLOC) && self.size > 0 && LOADED.contains(&self.kind)
    }

    /// The first relocation at an offset in `from..to`.
    pub(crate) fn relocation_in(&self, from: u64, to: u64) -> Option<&Relocation> {
        let first = self.relocations.partition_point(|r| r.offset < from);
        self.relocations.get(first).filter(|r| r.offset < to)
    }
}

/// The human form of a Rust symbol (either mangling), without its hash; any
/// other name as it is.
pub(crate) fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

fn check_header(header: &Header) -> anyhow::Result<()> {
    if header.is_big_endian() {
        bail!("big-endian ELF; the kernel takes little-endian only");
    }
    let (kind, machine) = (header.e_type(Le), header.e_machine(Le));
    if kind != elf::ET_REL {
        bail!("e_type is {kind:?}; an amd64 kernel module is ET_REL");
    }
    if machine != elf::EM_X86_64 {
        bail!("e_machine is {machine:?}; an amd64 kernel module is EM_X86_64");
    }
    Ok(())
}

fn read_sections<'d>(
    file: &'d [u8],
    table: &SectionTable<'d, Header>,
) -> anyhow::Result<Vec<Section<'d>>> {
    let read = |header: &'d elf::SectionHeader64<Le>| -> anyhow::Result<Section<'d>> {
        let name = str::from_utf8(table.section_name(Le, header)?)?;
        Ok(Section {
            name,
            kind: header.sh_type(Le),
            flags: header.sh_flags(Le),
            size: header.sh_size(Le),
            file_offset: header.sh_offset(Le),
            data: header
                .data(Le, file)
                .with_context(|| format!("contents of {name}"))?,
            relocations: Vec::new(),
        })
    };
    table
        .iter()
        .enumerate()
        .map(|(index, header)| read(header).with_context(|| format!("section {index}")))
        .collect()
}

fn read_relocations<'d>(
    file: &'d [u8],
    table: &SectionTable<'d, Header>,
    sections: &mut [Section<'d>],
) -> anyhow::Result<()> {
    for header in table.iter() {
        let mut found = Vec::new();
        if let Some((entries, _)) = header.rela(Le, file)? {
            found.extend(entries.iter().map(|r| Relocation {
                offset: r.r_offset.get(Le),
                kind: r.r_type(Le, false),
                symbol: r.r_sym(Le, false) as usize,
                addend: r.r_addend.get(Le),
            }));
        }
        if let Some((entries, _)) = header.rel(Le, file)? {
            found.extend(entries.iter().map(|r| Relocation {
                offset: r.r_offset.get(Le),
                kind: r.r_type(Le),
                symbol: r.r_sym(Le) as usize,
                addend: 0,
            }));
        }
        if found.is_empty() {
            continue;
        }
        let target = header.sh_info(Le) as usize;
        let target = sections
            .get_mut(target)
            .with_context(|| format!("relocations for section {target}, which does not exist"))?;
        target.relocations.extend(found);
        target.relocations.sort_by_key(|r| r.offset);
    }
    Ok(())
}

fn read_symbols<'d>(
    table: &SymbolTable<'d, Header>,
    sections: usize,
) -> anyhow::Result<Vec<Symbol<'d>>> {
    let read = |index: usize, raw: &elf::Sym64<Le>| -> anyhow::Result<Symbol<'d>> {
        let name = str::from_utf8(table.symbol_name(Le, raw)?)?;
        Ok(Symbol {
            name,
            bind: raw.st_bind(),
            kind: raw.st_type(),
            home: match raw.st_shndx(Le) {
                elf::SHN_UNDEF => Home::Undefined,
                elf::SHN_COMMON => Home::Common,
                _ => match table.symbol_section(Le, raw, SymbolIndex(index))? {
                    Some(section) if section.0 >= sections => {
                        bail!("{name} is in section {}, which does not exist", section.0)
                    }
                    Some(section) => Home::Section(section.0),
                    None => Home::Absolute,
                },
            },
            value: raw.st_value(Le),
            size: raw.st_size(Le),
        })
    };
    table
        .iter()
        .enumerate()
        .map(|(index, raw)| read(index, raw).with_context(|| format!("symbol {index}")))
        .collect()
}

fn sort_labels(symbols: &[Symbol<'_>]) -> Vec<Label> {
    let mut labels: Vec<Label> = symbols
        .iter()
        .enumerate()
        .filter(|(_, s)| s.kind != elf::STT_SECTION && !s.name.is_empty())
        .filter_map(|(symbol, s)| match s.home {
            Home::Section(section) => Some(Label {
                section,
                offset: s.value,
                symbol,
            }),
            _ => None,
        })
        .collect();
    labels.sort_by_key(|l| (l.section, l.offset));
    labels
}
