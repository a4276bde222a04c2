// SPDX-License-Identifier: BSD-2-Clause
//! ELF files made to measure: a small module that breaks no rule, for a test to
//! spoil in one way, and a kernel with the symbols it is told to define.

use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;
use object::build::elf::{
    Builder, Relocation as BuiltRelocation, SectionData, SectionId, SymbolId,
};
use object::elf::{self, RelocationType, SectionFlags, SectionType, SymbolBind, SymbolType};

/// Where a symbol of a [`Fixture`] is.
#[derive(Clone, Copy)]
pub(super) enum At {
    Undefined,
    Common,
    /// Number of the section, as [`Fixture::section`] gave it, and the offset.
    Section(usize, u64),
}

struct SectionMade {
    name: String,
    kind: SectionType,
    flags: SectionFlags,
    data: Vec<u8>,
    relocations: Vec<(u64, RelocationType, usize, i64)>,
}

struct SymbolMade {
    name: String,
    bind: SymbolBind,
    kind: SymbolType,
    at: At,
    size: u64,
}

/// A relocatable file in the making.
#[derive(Default)]
pub(super) struct Fixture {
    sections: Vec<SectionMade>,
    symbols: Vec<SymbolMade>,
    pub(super) header: Option<(elf::FileType, elf::Machine)>,
    /// Bytes of a second symbol table, behind the real one.
    pub(super) second_symbol_table: Option<usize>,
}

/// The sections of [`Fixture::good`].
pub(super) const TEXT: usize = 0;
pub(super) const RODATA: usize = 1;
pub(super) const METADATA: usize = 2;
pub(super) const SYSINIT: usize = 3;

/// The symbols of [`Fixture::good`].
pub(super) const EVENT: usize = 0;
pub(super) const PRINTF: usize = 1;

/// Flags of code, of constants and of data.
pub(super) fn code_flags() -> SectionFlags {
    elf::SHF_ALLOC | elf::SHF_EXECINSTR
}

pub(super) fn data_flags() -> SectionFlags {
    elf::SHF_ALLOC | elf::SHF_WRITE
}

/// The bytes that `build` assembles.
pub(super) fn assemble(build: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).unwrap();
    build(&mut assembler).unwrap();
    assembler.assemble(0).unwrap()
}

impl Fixture {
    /// A module as the rules want it: one function that calls the kernel's
    /// `printf`, and the two linker sets of `DECLARE_MODULE`.
    pub(super) fn good() -> Self {
        let mut fixture = Self::default();
        // push rbp; mov rbp, rsp; call printf; pop rbp; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0xe8, 0, 0, 0, 0, 0x5d, 0xc3];
        fixture.section(".text", elf::SHT_PROGBITS, code_flags(), &code);
        fixture.section(
            ".rodata",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC,
            b"weft loaded\0",
        );
        fixture.section(
            "set_modmetadata_set",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC,
            &[0; 8],
        );
        fixture.section(
            "set_sysinit_set",
            elf::SHT_PROGBITS,
            elf::SHF_ALLOC,
            &[0; 8],
        );
        let event = ("weft_event", elf::STB_LOCAL, elf::STT_FUNC);
        fixture.symbol(event, At::Section(TEXT, 0), code.len() as u64);
        fixture.symbol(
            ("printf", elf::STB_GLOBAL, elf::STT_NOTYPE),
            At::Undefined,
            0,
        );
        fixture.relocate(TEXT, 5, elf::R_X86_64_PLT32, PRINTF, -4);
        fixture.relocate(METADATA, 0, elf::R_X86_64_64, EVENT, 0);
        fixture.relocate(SYSINIT, 0, elf::R_X86_64_64, EVENT, 0);
        fixture
    }

    /// [`Fixture::good`] with one more function, `probe`, in a section of its own
    /// whose number is returned.
    pub(super) fn with_code(code: &[u8]) -> (Self, usize) {
        let mut fixture = Self::good();
        let section = fixture.section(".text.probe", elf::SHT_PROGBITS, code_flags(), code);
        let probe = ("probe", elf::STB_LOCAL, elf::STT_FUNC);
        fixture.symbol(probe, At::Section(section, 0), code.len() as u64);
        (fixture, section)
    }

    pub(super) fn section(
        &mut self,
        name: &str,
        kind: SectionType,
        flags: SectionFlags,
        data: &[u8],
    ) -> usize {
        let (name, data, relocations) = (name.to_owned(), data.to_vec(), Vec::new());
        self.sections.push(SectionMade {
            name,
            kind,
            flags,
            data,
            relocations,
        });
        self.sections.len() - 1
    }

    pub(super) fn symbol(
        &mut self,
        (name, bind, kind): (&str, SymbolBind, SymbolType),
        at: At,
        size: u64,
    ) -> usize {
        self.symbols.push(SymbolMade {
            name: name.to_owned(),
            bind,
            kind,
            at,
            size,
        });
        self.symbols.len() - 1
    }

    /// Adds a relocation against the symbol that [`Fixture::symbol`] numbered so.
    pub(super) fn relocate(
        &mut self,
        section: usize,
        offset: u64,
        kind: RelocationType,
        symbol: usize,
        addend: i64,
    ) {
        self.sections[section]
            .relocations
            .push((offset, kind, symbol, addend));
    }

    pub(super) fn data_mut(&mut self, section: usize) -> &mut Vec<u8> {
        &mut self.sections[section].data
    }

    pub(super) fn flags_mut(&mut self, section: usize) -> &mut SectionFlags {
        &mut self.sections[section].flags
    }

    pub(super) fn rename_symbol(&mut self, symbol: usize, name: &str) {
        self.symbols[symbol].name = name.to_owned();
    }

    pub(super) fn bind_symbol(&mut self, symbol: usize, bind: SymbolBind) {
        self.symbols[symbol].bind = bind;
    }

    pub(super) fn drop_relocations(&mut self, section: usize) {
        self.sections[section].relocations.clear();
    }

    /// The file's bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut builder = Builder::new(object::Endianness::Little, true);
        let (kind, machine) = self.header.unwrap_or((elf::ET_REL, elf::EM_X86_64));
        (builder.header.e_type, builder.header.e_machine) = (kind, machine);
        let homes: Vec<SectionId> = self
            .sections
            .iter()
            .map(|made| add_section(&mut builder, made))
            .collect();
        let symbols: Vec<SymbolId> = self
            .symbols
            .iter()
            .map(|made| add_symbol(&mut builder, made, &homes))
            .collect();
        let table = add_tables(&mut builder);
        for (made, home) in self.sections.iter().zip(homes) {
            add_relocations(&mut builder, made, home, table, &symbols);
        }
        if let Some(size) = self.second_symbol_table {
            let section = builder.sections.add();
            section.name = b".symtab2"[..].into();
            section.sh_type = elf::SHT_SYMTAB;
            section.sh_addralign = 8;
            section.data = SectionData::Data(vec![0; size].into());
        }
        finish(builder)
    }
}

/// An `ET_DYN` file whose dynamic symbol table defines `defined` and needs, but
/// does not define, `undefined`.
pub(super) fn kernel(defined: &[&str], undefined: &[&str]) -> Vec<u8> {
    let mut builder = Builder::new(object::Endianness::Little, true);
    (builder.header.e_type, builder.header.e_machine) = (elf::ET_DYN, elf::EM_X86_64);
    for (names, section) in [(defined, elf::SHN_ABS), (undefined, elf::SHN_UNDEF)] {
        for name in names {
            let symbol = builder.dynamic_symbols.add();
            symbol.name = name.as_bytes().to_vec().into();
            symbol.set_st_info(elf::STB_GLOBAL, elf::STT_FUNC);
            symbol.st_shndx = section;
        }
    }
    let tables = [
        (".dynsym", elf::SHT_DYNSYM, SectionData::DynamicSymbol),
        (".dynstr", elf::SHT_STRTAB, SectionData::DynamicString),
    ];
    let ids = tables.map(|(name, kind, data)| {
        let section = builder.sections.add();
        section.name = name.as_bytes().into();
        section.sh_type = kind;
        section.sh_flags = elf::SHF_ALLOC;
        section.sh_addralign = 8;
        section.data = data;
        section.id()
    });
    let names = builder.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = elf::SHT_STRTAB;
    names.data = SectionData::SectionString;
    builder.header.e_phoff = builder.file_header_size();
    builder.set_section_sizes();
    let segment = builder.segments.add_load_segment(elf::PF_R, 0x1000);
    (segment.p_filesz, segment.p_memsz) = (0x1000, 0x1000);
    for id in ids {
        segment.append_section(builder.sections.get_mut(id));
    }
    finish(builder)
}

fn add_section(builder: &mut Builder<'_>, made: &SectionMade) -> SectionId {
    let section = builder.sections.add();
    section.name = made.name.clone().into_bytes().into();
    section.sh_type = made.kind;
    section.sh_flags = made.flags;
    section.sh_addralign = 8;
    section.data = match made.kind {
        elf::SHT_NOBITS => SectionData::UninitializedData(made.data.len() as u64),
        _ => SectionData::Data(made.data.clone().into()),
    };
    section.id()
}

fn add_symbol(builder: &mut Builder<'_>, made: &SymbolMade, homes: &[SectionId]) -> SymbolId {
    let symbol = builder.symbols.add();
    symbol.name = made.name.clone().into_bytes().into();
    symbol.set_st_info(made.bind, made.kind);
    symbol.st_size = made.size;
    match made.at {
        At::Undefined => symbol.st_shndx = elf::SHN_UNDEF,
        At::Common => symbol.st_shndx = elf::SHN_COMMON,
        At::Section(section, offset) => {
            symbol.section = Some(homes[section]);
            symbol.st_value = offset;
        }
    }
    symbol.id()
}

fn add_relocations(
    builder: &mut Builder<'_>,
    made: &SectionMade,
    home: SectionId,
    table: SectionId,
    symbols: &[SymbolId],
) {
    if made.relocations.is_empty() {
        return;
    }
    let relocations = made
        .relocations
        .iter()
        .map(|(offset, kind, symbol, addend)| BuiltRelocation {
            r_offset: *offset,
            symbol: Some(symbols[*symbol]),
            r_type: *kind,
            r_addend: *addend,
        });
    let section = builder.sections.add();
    section.name = format!(".rela{}", made.name).into_bytes().into();
    section.sh_type = elf::SHT_RELA;
    section.sh_addralign = 8;
    section.sh_link_section = Some(table);
    section.sh_info_section = Some(home);
    section.data = SectionData::Relocation(relocations.collect());
}

fn add_tables(builder: &mut Builder<'_>) -> SectionId {
    let tables = [
        (".strtab", elf::SHT_STRTAB, SectionData::String),
        (".shstrtab", elf::SHT_STRTAB, SectionData::SectionString),
        (".symtab", elf::SHT_SYMTAB, SectionData::Symbol),
    ];
    let ids = tables.map(|(name, kind, data)| {
        let section = builder.sections.add();
        section.name = name.as_bytes().into();
        section.sh_type = kind;
        section.sh_addralign = 8;
        section.data = data;
        section.id()
    });
    let [_, _, symbols] = ids;
    symbols
}

fn finish(mut builder: Builder<'_>) -> Vec<u8> {
    builder.set_section_sizes();
    let mut file = Vec::new();
    builder.write(&mut file).unwrap();
    file
}
