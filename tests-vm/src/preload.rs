// SPDX-License-Identifier: BSD-2-Clause
//! A module in memory before the kernel runs, as `weft_load="YES"` in loader.conf(5) has it: its
//! sections where `stand/common/load_elf_obj.c` would put them, and the records by which
//! `kern/link_elf_obj.c` finds them. The kernel relocates it itself.

use anyhow::{Context, Result, ensure};
use object::elf::{
    FileHeader64, SHF_ALLOC, SHT_FINI_ARRAY, SHT_INIT_ARRAY, SHT_NOBITS, SHT_PROGBITS, SHT_REL,
    SHT_RELA, SHT_SYMTAB, SHT_X86_64_UNWIND, SectionHeader64, SectionType,
};
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, U64, pod};

/// A module, laid out for an address.
pub(crate) struct Laid {
    /// What is there.
    pub(crate) bytes: Vec<u8>,
    /// The file's header, for `MODINFOMD_ELFHDR`.
    pub(crate) header: Vec<u8>,
    /// Its section headers with their addresses, for `MODINFOMD_SHDR`.
    pub(crate) sections: Vec<u8>,
}

/// Lays out a module at an address.
///
/// # Errors
/// If it is no relocatable file of 64 bits with symbols.
pub(crate) fn lay_out(module: &[u8], start: u64) -> Result<Laid> {
    let header = FileHeader64::<Endianness>::parse(module).context("the module is no ELF file")?;
    let endian = header.endian()?;
    let mut sections = header.section_headers(endian, module)?.to_vec();
    let order = order(&sections, endian, header.shstrndx(endian, module)? as usize)?;
    let mut end = start;
    for section in &mut sections {
        section.sh_addr = U64::new(endian, 0);
    }
    let mut bytes = Vec::new();
    for number in order {
        let section = &mut sections[number];
        end = end.next_multiple_of(section.sh_addralign(endian).max(1));
        section.sh_addr = U64::new(endian, end);
        let size = section.sh_size(endian);
        bytes.resize((end - start) as usize, 0);
        end += size;
        if section.sh_type(endian) != SHT_NOBITS {
            let data = section.data(endian, module);
            bytes.extend_from_slice(data.ok().context("a section lies outside the module")?);
        }
        bytes.resize((end - start) as usize, 0);
    }
    Ok(Laid {
        bytes,
        header: pod::bytes_of(header).to_vec(),
        sections: pod::bytes_of_slice(&sections).to_vec(),
    })
}

/// Which sections are loaded, in their order: code and data, symbols and names, relocations.
fn order(
    sections: &[SectionHeader64<Endianness>],
    endian: Endianness,
    names: usize,
) -> Result<Vec<usize>> {
    const LOADED: [SectionType; 5] = [
        SHT_PROGBITS,
        SHT_NOBITS,
        SHT_X86_64_UNWIND,
        SHT_INIT_ARRAY,
        SHT_FINI_ARRAY,
    ];
    let is_there =
        |section: &SectionHeader64<Endianness>| section.sh_flags(endian).0 & SHF_ALLOC.0 != 0;
    let numbered = || sections.iter().enumerate();
    let code = numbered().filter(|(_, section)| {
        LOADED.contains(&section.sh_type(endian))
            && is_there(section)
            && section.sh_size(endian) > 0
    });
    let mut order: Vec<usize> = code.map(|(number, _)| number).collect();
    let symbols = numbered().find(|(_, section)| section.sh_type(endian) == SHT_SYMTAB);
    let (number, symbols) = symbols.context("the module has no symbols")?;
    order.extend([number, symbols.sh_link(endian) as usize, names]);
    let relocations = numbered().filter(|(_, section)| {
        let target = sections.get(section.sh_info(endian) as usize);
        matches!(section.sh_type(endian), SHT_REL | SHT_RELA) && target.is_some_and(is_there)
    });
    order.extend(relocations.map(|(number, _)| number));
    let is_known = order.iter().all(|number| *number < sections.len());
    ensure!(is_known, "the module names sections that it has not");
    Ok(order)
}
