// SPDX-License-Identifier: BSD-2-Clause
//! Makes a bare FreeBSD/amd64 kernel bootable by `qemu -kernel`, without a loader.
//!
//! FreeBSD's own PVH entry installs Xen's early delay, which faults where nobody
//! tells the TSC frequency (`x86/xen/pv.c`, `xen_pvh_init_ops`), and that is every
//! plain emulation. So the kernel is entered as FreeBSD's BIOS loader would enter
//! it. The kernel itself is not changed: [`compose`] writes an ELF file that has
//!
//! - the kernel's segments at their physical addresses,
//! - behind them its symbols, the environment and the preload metadata
//!   (`sys/linker.h`), as `stand/common/load_elf.c` lays them out,
//! - a trampoline with page tables (the job of `stand/i386/libi386/amd64_tramp.S`),
//!   which the ELF file's PVH note names as its entry.
//!
//! The trampoline runs in 32-bit protected mode, without paging: it maps the first
//! GiB at 0 and at KERNBASE, goes to long mode and jumps to the kernel's `btext`
//! with the two words that `amd64/amd64/locore.S` expects on the stack.

use anyhow::{Context, Result, ensure};
use object::elf::{PT_LOAD, PT_NOTE, SHT_SYMTAB};
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader};
use object::{Endianness, Object};

const PAGE: usize = 4096;
/// Where the trampoline goes: above anything the kernel allocates before it has
/// page tables of its own, below what the firmware uses for itself.
const TRAMPOLINE: u32 = 256 << 20;
/// The least memory that has room for the trampoline, in MiB.
const LEAST_MIB: u32 = 512;
/// How much of it QEMU's q35 puts below the PCI hole, in MiB, when it is at least
/// [`SPLIT_FROM_MIB`]; the rest begins at [`ABOVE_HOLE`] (`pc_q35_init` of
/// `hw/i386/pc_q35.c`). With less, all is below.
const BELOW_HOLE_MIB: u32 = 2048;
const SPLIT_FROM_MIB: u32 = 2816;
const ABOVE_HOLE: u64 = 4 << 30;
/// What the firmware keeps at the top of memory for ACPI tables.
const FIRMWARE_TOP: u64 = 1 << 20;
/// The end of conventional memory, where the extended BIOS data area begins.
const LOW_END: u64 = 0x9f000;

// `sys/linker.h` and `x86/include/metadata.h`.
const NAME: u32 = 1;
const TYPE: u32 = 2;
const ADDRESS: u32 = 3;
const SIZE: u32 = 4;
const METADATA: u32 = 0x8000;
const SYMBOLS_START: u32 = METADATA | 3;
const SYMBOLS_END: u32 = METADATA | 4;
const ENVIRONMENT: u32 = METADATA | 6;
const HOW_TO: u32 = METADATA | 7;
const KERNEL_END: u32 = METADATA | 8;
const MEMORY_MAP: u32 = METADATA | 0x1001;
/// `RB_SERIAL` of `sys/reboot.h`.
const SERIAL_CONSOLE: u32 = 0x1000;

/// A piece of memory to be filled before the machine starts.
struct Segment {
    physical: u64,
    bytes: Vec<u8>,
    memory_size: u64,
}

/// The ELF file that boots `kernel` with these environment variables (`NAME=VALUE`,
/// as `loader.conf` would set them) on a machine with `memory_mib` MiB of memory.
///
/// # Errors
/// If `kernel` is not an amd64 kernel, or the memory is below 512 MiB.
pub fn compose(kernel: &[u8], environment: &[String], memory_mib: u32) -> Result<Vec<u8>> {
    ensure!(
        memory_mib >= LEAST_MIB,
        "memory of {memory_mib} MiB: at least {LEAST_MIB} are needed"
    );
    let file =
        ElfFile64::<Endianness>::parse(kernel).context("the kernel is no 64-bit ELF file")?;
    ensure!(
        file.architecture() == object::Architecture::X86_64,
        "the kernel is for {:?}, not amd64",
        file.architecture()
    );
    let mut segments = loadable(&file)?;
    let end = segments
        .iter()
        .map(|one| one.physical + one.memory_size)
        .max()
        .unwrap_or(0);
    ensure!(
        end < u64::from(TRAMPOLINE),
        "the kernel ends at {end:#x}, too high to boot it"
    );

    let entry = file.elf_header().e_entry.get(file.endian());
    let mut behind = Behind::new(end.next_multiple_of(PAGE as u64));
    let symbols = symbols(&file)?.map(|bytes| behind.put(&bytes));
    let environment = behind.put(&environment_block(environment));
    let kernel_start = segments.iter().map(|one| one.physical).min().unwrap_or(0);
    let known = Known {
        kernel_start,
        kernel_end: end,
        symbols,
        environment: environment.0,
        memory_mib,
    };
    let metadata = behind.place_metadata(&known);
    let kernel_end = behind.end();
    segments.push(behind.into_segment());
    segments.push(trampoline(entry, metadata, kernel_end)?);
    Ok(elf_file(&segments))
}

fn loadable(file: &ElfFile64<'_>) -> Result<Vec<Segment>> {
    let endian = file.endian();
    let mut segments = Vec::new();
    for header in file
        .elf_program_headers()
        .iter()
        .filter(|one| one.p_type(endian) == PT_LOAD)
    {
        let bytes = header
            .data(endian, file.data())
            .ok()
            .context("a kernel segment lies outside the file")?;
        segments.push(Segment {
            physical: header.p_paddr(endian),
            bytes: bytes.to_vec(),
            memory_size: header.p_memsz(endian),
        });
    }
    ensure!(!segments.is_empty(), "the kernel has nothing to load");
    Ok(segments)
}

/// The symbol and string tables, each with its size in front and padded to 8 bytes.
fn symbols(file: &ElfFile64<'_>) -> Result<Option<Vec<u8>>> {
    let endian = file.endian();
    let sections = file.elf_section_table();
    let Some(table) = sections
        .iter()
        .find(|one| one.sh_type(endian) == SHT_SYMTAB)
    else {
        return Ok(None);
    };
    let strings = sections
        .section(table.link(endian))
        .context("the symbol table has no strings")?;
    let mut block = Vec::new();
    for section in [table, strings] {
        let bytes = section
            .data(endian, file.data())
            .context("the kernel's symbols lie outside the file")?;
        block.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        block.extend_from_slice(bytes);
        block.resize(block.len().next_multiple_of(8), 0);
    }
    Ok(Some(block))
}

/// The environment as `kern/kern_environment.c` reads it: strings with their NUL,
/// ended by an empty one.
fn environment_block(variables: &[String]) -> Vec<u8> {
    let mut block: Vec<u8> = variables
        .iter()
        .flat_map(|one| one.bytes().chain([0]))
        .collect();
    block.push(0);
    block
}

/// What the metadata says.
struct Known {
    kernel_start: u64,
    kernel_end: u64,
    symbols: Option<(u64, u64)>,
    environment: u64,
    memory_mib: u32,
}

/// What lies behind the kernel in memory.
struct Behind {
    start: u64,
    bytes: Vec<u8>,
}

impl Behind {
    fn new(start: u64) -> Self {
        Self {
            start,
            bytes: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        (self.start + self.bytes.len() as u64).next_multiple_of(PAGE as u64)
    }

    /// Adds a block on pages of its own and gives its first address and its end.
    fn put(&mut self, block: &[u8]) -> (u64, u64) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(PAGE), 0);
        let start = self.start + self.bytes.len() as u64;
        self.bytes.extend_from_slice(block);
        (start, start + block.len() as u64)
    }

    /// Adds the metadata, which contains where everything ends, itself included.
    fn place_metadata(&mut self, known: &Known) -> u64 {
        let length = metadata(known, 0).len() as u64;
        let end = (self.end() + length).next_multiple_of(PAGE as u64);
        self.put(&metadata(known, end)).0
    }

    fn into_segment(self) -> Segment {
        let memory_size = self.bytes.len() as u64;
        Segment {
            physical: self.start,
            bytes: self.bytes,
            memory_size,
        }
    }
}

fn metadata(known: &Known, end: u64) -> Vec<u8> {
    let mut list = Records::default();
    list.add(NAME, b"kernel\0");
    list.add(TYPE, b"elf kernel\0");
    list.add(ADDRESS, &known.kernel_start.to_le_bytes());
    list.add(SIZE, &(known.kernel_end - known.kernel_start).to_le_bytes());
    list.add(HOW_TO, &SERIAL_CONSOLE.to_le_bytes());
    list.add(ENVIRONMENT, &known.environment.to_le_bytes());
    list.add(KERNEL_END, &end.to_le_bytes());
    if let Some((start, end)) = known.symbols {
        list.add(SYMBOLS_START, &start.to_le_bytes());
        list.add(SYMBOLS_END, &end.to_le_bytes());
    }
    list.add(MEMORY_MAP, &memory_map(known.memory_mib));
    list.add(0, &[]);
    list.0
}

/// Usable memory as BIOS call E820 tells it: base, length, type 1.
fn memory_map(memory_mib: u32) -> Vec<u8> {
    let below_mib = match memory_mib {
        SPLIT_FROM_MIB.. => BELOW_HOLE_MIB,
        all => all,
    };
    let top = (u64::from(below_mib) << 20) - FIRMWARE_TOP;
    let mut areas = vec![(0u64, LOW_END), (1 << 20, top - (1 << 20))];
    if memory_mib > below_mib {
        areas.push((ABOVE_HOLE, u64::from(memory_mib - below_mib) << 20));
    }
    let record = |(base, length): (u64, u64)| {
        [
            &base.to_le_bytes()[..],
            &length.to_le_bytes(),
            &1u32.to_le_bytes(),
        ]
        .concat()
    };
    areas.into_iter().flat_map(record).collect()
}

/// Preload records: type, length, data padded to 8 bytes.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, kind: u32, data: &[u8]) {
        self.0.extend_from_slice(&kind.to_le_bytes());
        self.0.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(8), 0);
    }
}

const GDT_AT: usize = 0x100;
const GDT_POINTER_AT: usize = 0x140;
const STACK_AT: usize = 0x180;

/// The trampoline's page of code and data, then three levels of page tables.
fn trampoline(entry: u64, metadata: u64, kernel_end: u64) -> Result<Segment> {
    let metadata = u32::try_from(metadata).context("metadata above 4 GiB")?;
    let kernel_end = u32::try_from(kernel_end).context("kernel end above 4 GiB")?;
    let mut page = code(entry);
    page.resize(GDT_AT, 0);
    // Null, 64-bit code, data.
    for descriptor in [0u64, 0x0020_9800_0000_0000, 0x0000_9200_0000_0000] {
        page.extend_from_slice(&descriptor.to_le_bytes());
    }
    page.resize(GDT_POINTER_AT, 0);
    page.extend_from_slice(&(3u16 * 8 - 1).to_le_bytes());
    page.extend_from_slice(&(TRAMPOLINE + GDT_AT as u32).to_le_bytes());
    page.resize(STACK_AT, 0);
    for word in [0, metadata, kernel_end] {
        page.extend_from_slice(&word.to_le_bytes());
    }
    page.resize(PAGE, 0);
    let table = |number: u32| u64::from(TRAMPOLINE) + u64::from(number) * PAGE as u64;
    // Every slot of the upper two levels leads to the same GiB, so that it stands at
    // 0 and at KERNBASE: present, writable; the last level: 2 MiB pages.
    for next in [table(2), table(3)] {
        page.extend((0..512).flat_map(|_| (next | 0x3).to_le_bytes()));
    }
    page.extend((0..512u64).flat_map(|slot| (slot << 21 | 0x83).to_le_bytes()));
    let memory_size = page.len() as u64;
    Ok(Segment {
        physical: u64::from(TRAMPOLINE),
        bytes: page,
        memory_size,
    })
}

/// The instructions, by the Intel manual's encodings.
fn code(entry: u64) -> Vec<u8> {
    let page_tables = (TRAMPOLINE + PAGE as u32).to_le_bytes();
    let gdt_pointer = (TRAMPOLINE + GDT_POINTER_AT as u32).to_le_bytes();
    let stack = (TRAMPOLINE + STACK_AT as u32).to_le_bytes();
    let mut out: Vec<u8> = Vec::new();
    let mut emit = |parts: &[&[u8]]| out.extend(parts.concat());
    emit(&[&[0xfa]]); // cli
    emit(&[&[0xb9, 0x80, 0x00, 0x00, 0xc0]]); // mov ecx, EFER
    emit(&[&[0x0f, 0x32]]); // rdmsr
    emit(&[&[0x0d, 0x00, 0x01, 0x00, 0x00]]); // or eax, LME
    emit(&[&[0x0f, 0x30]]); // wrmsr
    emit(&[&[0x0f, 0x20, 0xe0]]); // mov eax, cr4
    emit(&[&[0x83, 0xc8, 0x20]]); // or eax, PAE
    emit(&[&[0x0f, 0x22, 0xe0]]); // mov cr4, eax
    emit(&[&[0xb8], &page_tables]); // mov eax, page tables
    emit(&[&[0x0f, 0x22, 0xd8]]); // mov cr3, eax
    emit(&[&[0x0f, 0x20, 0xc0]]); // mov eax, cr0
    emit(&[&[0x0d, 0x00, 0x00, 0x00, 0x80]]); // or eax, PG
    emit(&[&[0x0f, 0x22, 0xc0]]); // mov cr0, eax
    emit(&[&[0x0f, 0x01, 0x15], &gdt_pointer]); // lgdt [gdt pointer]
    let here = TRAMPOLINE + out.len() as u32 + 7;
    out.extend([&[0xea][..], &here.to_le_bytes(), &[0x08, 0x00]].concat()); // jmp 8:here
    let mut emit = |parts: &[&[u8]]| out.extend(parts.concat());
    emit(&[&[0xb8, 0x10, 0x00, 0x00, 0x00]]); // mov eax, 16
    emit(&[&[0x8e, 0xd8], &[0x8e, 0xc0], &[0x8e, 0xd0]]); // mov ds, es, ss
    emit(&[&[0xbc], &stack]); // mov esp, stack
    emit(&[&[0x48, 0xb8], &entry.to_le_bytes()]); // mov rax, entry
    emit(&[&[0xff, 0xe0]]); // jmp rax
    out
}

/// An ELF file of these segments whose PVH note (`XEN_ELFNOTE_PHYS32_ENTRY`, 18)
/// leads to the trampoline.
fn elf_file(segments: &[Segment]) -> Vec<u8> {
    const HEADER: usize = 64;
    const ENTRY: usize = 56;
    let note: Vec<u8> = [
        &4u32.to_le_bytes()[..],
        &8u32.to_le_bytes(),
        &18u32.to_le_bytes(),
        b"Xen\0",
        &u64::from(TRAMPOLINE).to_le_bytes(),
    ]
    .concat();
    let count = segments.len() + 1;
    let note_at = HEADER + ENTRY * count;
    let mut at = (note_at + note.len()).next_multiple_of(PAGE);
    let mut file = elf_header(count as u16);
    file.extend(program_header(
        PT_NOTE.0,
        note_at as u64,
        0,
        note.len() as u64,
        note.len() as u64,
        4,
    ));
    for segment in segments {
        let size = segment.bytes.len() as u64;
        let header = program_header(
            PT_LOAD.0,
            at as u64,
            segment.physical,
            size,
            segment.memory_size,
            PAGE as u64,
        );
        file.extend(header);
        at = (at + segment.bytes.len()).next_multiple_of(PAGE);
    }
    file.extend(note);
    for segment in segments {
        file.resize(file.len().next_multiple_of(PAGE), 0);
        file.extend_from_slice(&segment.bytes);
    }
    file
}

fn elf_header(segments: u16) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01\x00\0\0\0\0\0\0\0\0".to_vec();
    out.extend(2u16.to_le_bytes()); // executable
    out.extend(62u16.to_le_bytes()); // x86-64
    out.extend(1u32.to_le_bytes());
    out.extend(u64::from(TRAMPOLINE).to_le_bytes());
    out.extend(64u64.to_le_bytes()); // program headers follow
    out.extend(0u64.to_le_bytes());
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, segments, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    out
}

fn program_header(
    kind: u32,
    offset: u64,
    physical: u64,
    size: u64,
    memory: u64,
    align: u64,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(56);
    out.extend(kind.to_le_bytes());
    out.extend(7u32.to_le_bytes()); // read, write, execute: nobody looks yet
    for word in [offset, physical, physical, size, memory, align] {
        out.extend(word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::FileHeader;
    use std::collections::BTreeMap;

    const ENTRY: u64 = 0xffff_ffff_8020_0010;
    const START: u64 = 0x20_0000;

    /// A kernel of one segment, of which the last page is not in the file.
    fn kernel() -> Vec<u8> {
        let mut file = elf_header(1);
        file[24..32].copy_from_slice(&ENTRY.to_le_bytes());
        file.extend(program_header(PT_LOAD.0, 0x78, START, 4, 0x1800, 0x1000));
        file.extend(b"code");
        file
    }

    /// The composed file's segments: note first, then memory by address.
    fn memory(file: &[u8]) -> BTreeMap<u64, Vec<u8>> {
        let elf = ElfFile64::<Endianness>::parse(file).unwrap();
        let endian = elf.endian();
        let loads = elf
            .elf_program_headers()
            .iter()
            .filter(|one| one.p_type(endian) == PT_LOAD);
        loads
            .map(|one| {
                (
                    one.p_paddr(endian),
                    one.data(endian, file).unwrap().to_vec(),
                )
            })
            .collect()
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// The preload records by type, as the kernel's linker walks them.
    fn records(mut bytes: &[u8]) -> BTreeMap<u32, Vec<u8>> {
        let mut found = BTreeMap::new();
        loop {
            let (kind, length) = (word(bytes, 0), word(bytes, 4) as usize);
            if kind == 0 {
                return found;
            }
            found.insert(kind, bytes[8..8 + length].to_vec());
            bytes = &bytes[(8 + length).next_multiple_of(8)..];
        }
    }

    fn number(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn the_kernel_gets_what_a_loader_gives() {
        let variables = ["a=1", "b=two words"].map(String::from);
        let memory = memory(&compose(&kernel(), &variables, 1024).unwrap());
        assert_eq!(memory[&START], b"code");
        let trampoline = &memory[&u64::from(TRAMPOLINE)];
        let (metadata, end) = (
            word(trampoline, STACK_AT + 4),
            u64::from(word(trampoline, STACK_AT + 8)),
        );

        // Behind the kernel's last page begins what the loader adds.
        let behind_at = (START + 0x1800).next_multiple_of(PAGE as u64);
        let behind = &memory[&behind_at];
        let from = |address: u64| &behind[usize::try_from(address - behind_at).unwrap()..];
        let found = records(from(u64::from(metadata)));
        assert_eq!(found[&TYPE], b"elf kernel\0");
        assert_eq!(number(&found[&ADDRESS]), START);
        assert_eq!(number(&found[&KERNEL_END]), end);
        assert!(end >= behind_at + behind.len() as u64 && end < u64::from(TRAMPOLINE));
        assert!(from(number(&found[&ENVIRONMENT])).starts_with(b"a=1\0b=two words\0\0"));
        assert!(
            !found.contains_key(&SYMBOLS_START),
            "this kernel has no symbols"
        );

        let map = &found[&MEMORY_MAP];
        assert_eq!(map.len(), 2 * 20);
        assert_eq!(
            number(&map[20..28]) + number(&map[28..36]),
            (1024 << 20) - FIRMWARE_TOP
        );
    }

    #[test]
    fn large_memory_goes_around_the_hole() {
        let map = memory_map(8192);
        assert_eq!(map.len(), 3 * 20);
        assert_eq!(
            number(&map[20..28]) + number(&map[28..36]),
            (2048 << 20) - FIRMWARE_TOP
        );
        assert_eq!(number(&map[40..48]), 4 << 30);
        assert_eq!(number(&map[48..56]), 6144 << 20);
    }

    #[test]
    fn the_trampoline_is_the_entry_and_maps_both_halves() {
        let file = compose(&kernel(), &[], 512).unwrap();
        let elf = ElfFile64::<Endianness>::parse(&*file).unwrap();
        assert_eq!(
            elf.elf_header().e_entry(elf.endian()),
            u64::from(TRAMPOLINE)
        );
        let note = elf
            .elf_program_headers()
            .iter()
            .find(|one| one.p_type(elf.endian()) == PT_NOTE)
            .unwrap();
        let note = note.data(elf.endian(), &*file).unwrap();
        assert_eq!((word(note, 8), &note[12..16]), (18, &b"Xen\0"[..]));
        assert_eq!(number(&note[16..24]), u64::from(TRAMPOLINE));

        let trampoline = &memory(&file)[&u64::from(TRAMPOLINE)];
        let slot = |table: usize, index: usize| {
            let at = table * PAGE + index * 8;
            number(&trampoline[at..at + 8])
        };
        // KERNBASE is slot 511 of the first level and 510 of the second.
        assert_eq!(slot(1, 0), slot(1, 511));
        assert_eq!(slot(2, 0), slot(2, 510));
        assert_eq!(slot(3, 1), (2 << 20) | 0x83);
        let jump = trampoline
            .windows(8)
            .any(|bytes| bytes == ENTRY.to_le_bytes());
        assert!(jump, "the kernel's entry is in the code");
    }

    #[test]
    fn what_cannot_boot_is_refused() {
        let refused = |kernel: &[u8], memory| compose(kernel, &[], memory).unwrap_err().to_string();
        assert_eq!(refused(b"text", 1024), "the kernel is no 64-bit ELF file");
        assert!(refused(&kernel(), 256).contains("at least 512"));
        let mut other = kernel();
        other[18] = 183;
        assert!(
            refused(&other, 1024).contains("Aarch64"),
            "{}",
            refused(&other, 1024)
        );
        let mut empty = kernel();
        empty[64] = 2;
        assert_eq!(refused(&empty, 1024), "the kernel has nothing to load");
        let mut short = kernel();
        short[72] = 0xff;
        assert_eq!(
            refused(&short, 1024),
            "a kernel segment lies outside the file"
        );
    }
}
