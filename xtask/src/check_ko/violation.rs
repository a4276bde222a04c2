// SPDX-License-Identifier: BSD-2-Clause
//! What the gate can find wrong, one variant a rule's refusal. A message is one
//! line: what, where, the value, and what is allowed instead.

use super::module::Place;
use serde::Serialize;
use std::path::PathBuf;

/// One reason not to load the module.
#[derive(Clone, PartialEq, Debug, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Violation {
    /// `elf_reloc` prints "unexpected relocation type" and the load fails.
    #[error("relocation {relocation} at {place}; allowed in an ET_REL module: {allowed}")]
    RelocationType {
        relocation: String,
        place: Place,
        allowed: String,
    },
    /// The kernel does not check: it would write past the section.
    #[error(
        "relocation {relocation} at {place} writes {width} bytes, but the section ends at {size:#x}"
    )]
    RelocationOutside {
        relocation: String,
        place: Place,
        width: u64,
        size: u64,
    },
    /// `findbase` knows no address for the section.
    #[error(
        "section {section} (type {section_type}) is referred to but never loaded; \
         allowed: PROGBITS, NOBITS, X86_64_UNWIND, INIT_ARRAY, FINI_ARRAY"
    )]
    SectionNotLoaded {
        section: String,
        section_type: String,
    },
    /// `link_elf_load_file`: "file must have exactly one symbol table".
    #[error("{count} symbol tables; the kernel takes exactly one")]
    SymbolTables { count: usize },

    /// `link_elf_lookup_set` reads only the first.
    #[error("linker set {set} is in {count} sections; the kernel reads only the first")]
    SetRepeated { set: String, count: usize },
    /// The module would load and do nothing.
    #[error("linker set {set} is missing or empty; required: {}", required.join(", "))]
    SetMissing { set: String, required: Vec<String> },
    /// The kernel divides the size by that of a pointer.
    #[error("linker set {set} is {size} bytes long; allowed: a multiple of 8, one pointer an item")]
    SetRagged { set: String, size: u64 },
    /// The kernel follows every pointer of a set.
    #[error("linker set slot {place} has no R_X86_64_64 relocation, so it is a null pointer")]
    SetSlotEmpty { place: Place },

    /// The kernel does not save this state for a kernel thread.
    #[error("`{instruction}` at {place} uses {state}; kernel code has no FPU or vector state")]
    FloatingPoint {
        instruction: String,
        place: Place,
        state: String,
    },
    /// Bytes in an executable section that are no instruction.
    #[error(
        "bytes {bytes} at {place} are no x86-64 instruction; executable sections hold code only"
    )]
    Undecodable { bytes: String, place: Place },

    /// W^X.
    #[error("section {section} is both writable and executable; allowed: one or the other")]
    WritableCode { section: String },
    /// A kernel thread has no TLS block.
    #[error("{what} {name} is thread-local; the kernel has no TLS for modules")]
    ThreadLocal { what: &'static str, name: String },
    /// Runs before the module is told that it is loaded.
    #[error(
        "section {section} ({size} bytes) holds constructors or destructors; \
         allowed: SYSINIT and the module's event handler"
    )]
    Constructors { section: String, size: u64 },
    /// Loaded memory that nothing reads: the kernel does not unwind with it.
    #[error("section {section} ({size} bytes) holds unwind tables; allowed: none, or empty")]
    UnwindTable { section: String, size: u64 },

    /// Visible to every other module.
    #[error("{bind} symbol {symbol} at {place} is visible to other modules; {allowed}")]
    Exported {
        bind: &'static str,
        symbol: String,
        place: String,
        allowed: String,
    },
    /// An API that is promised and absent.
    #[error("export {symbol} is listed but not defined as a global symbol")]
    ExportMissing { symbol: String },
    /// The list itself is wrong.
    #[error("export {symbol} is listed but does not begin with `weft_`")]
    ExportName { symbol: String },
    /// The kernel gives common symbols no memory.
    #[error("common symbol {symbol} ({size} bytes); the kernel does not allocate common symbols")]
    Common { symbol: String, size: u64 },

    /// A kernel interface nobody has agreed to.
    #[error("undefined symbol {symbol}, first used at {first_use}, is not in {}", list.display())]
    ImportUnlisted {
        symbol: String,
        first_use: String,
        list: PathBuf,
    },
    /// The list says more than the module needs.
    #[error("{}:{line}: stale entry: the module does not need {symbol}", list.display())]
    ImportStale {
        symbol: String,
        list: PathBuf,
        line: usize,
    },
    /// The list says it twice.
    #[error("{}:{line}: {symbol} is listed already on line {first}", list.display())]
    ImportRepeated {
        symbol: String,
        list: PathBuf,
        line: usize,
        first: usize,
    },
    /// kldload(8) would say "symbol undefined".
    #[error(
        "undefined symbol {symbol}, first used at {first_use}, is not defined in .dynsym of {}",
        kernel.display()
    )]
    ImportNotInKernel {
        symbol: String,
        first_use: String,
        kernel: PathBuf,
    },
    /// `elf_obj_lookup` refuses it.
    #[error("local symbol {symbol} is undefined; only global symbols are looked up in the kernel")]
    LocalUndefined { symbol: String },

    /// The kernel stack is four pages for everyone on it.
    #[error("stack frame of {function} is {bytes} bytes; allowed: {limit}")]
    FrameTooLarge {
        function: Place,
        bytes: u64,
        limit: u64,
    },
    /// The frame's size is not known before it runs.
    #[error("`{instruction}` at {place} computes the stack pointer; allowed: fixed frames")]
    StackPointerComputed { instruction: String, place: Place },
    /// A stack probe, or a variable-length array.
    #[error(
        "paths that meet at {place} differ by {bytes} bytes of stack; allowed: one depth a place"
    )]
    StackDepthVaries { place: Place, bytes: u64 },

    /// Code that ends in a panic when memory is short.
    #[error("{what} {name} of {} contains `{word}`; every allocation must be fallible", file.display())]
    ForbiddenSymbol {
        what: &'static str,
        name: String,
        file: PathBuf,
        word: String,
    },
    /// The same, told by its message where names are stripped.
    #[error(
        "text \"{text}\" at {place} belongs to an infallible allocation; allowed: fallible ones"
    )]
    ForbiddenText { text: String, place: Place },

    /// Builds would not be reproducible, and say where they were made.
    #[error("\"{text}\" at file offset {offset:#x} ({section}) names {path} of the build machine")]
    BuildPath {
        text: String,
        offset: usize,
        section: String,
        path: String,
    },
}
