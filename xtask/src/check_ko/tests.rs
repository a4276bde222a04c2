// SPDX-License-Identifier: BSD-2-Clause
//! Each rule against a module that breaks it, and only it: the report must name
//! exactly the violations that were put in. Everything starts from one module
//! that breaks no rule.

mod fixture;

use super::frames::Frame;
use super::imports::Kernel;
use super::module::Module;
use super::name_list::NameList;
use super::violation::Violation as V;
use super::{Options, Report, check, inspect};
use fixture::*;
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use object::elf;
use std::path::{Path, PathBuf};

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The rules that [`Fixture::good`] keeps.
fn options() -> Options {
    Options {
        required_sets: owned(&["set_modmetadata_set", "set_sysinit_set"]),
        exports: Vec::new(),
        symbol_list: PathBuf::from("kernel-symbols.txt"),
        provided: Vec::new(),
        more_symbols: Vec::new(),
        kernels: Vec::new(),
        max_frame: 1024,
        forbidden: owned(&["handle_alloc_error", "__rg_oom"]),
        forbidden_texts: owned(&["capacity overflow"]),
        forbidden_paths: owned(&["/home/al", "/build/weft"]),
        unstripped: None,
    }
}

const LIST: &str = "# <sys/systm.h>\nprintf\n";

fn report_with(fixture: &Fixture, options: &Options, list: &str, kernels: &[Kernel]) -> Report {
    let file = fixture.write();
    let module = Module::parse(&file).unwrap();
    let list = NameList::parse(&options.symbol_list, list).unwrap();
    inspect(Path::new("weft.ko"), &module, options, &list, kernels)
}

fn report(fixture: &Fixture) -> Report {
    report_with(fixture, &options(), LIST, &[])
}

fn refused(fixture: &Fixture) -> Vec<V> {
    report(fixture).violations
}

/// The violations as the reader sees them, joined, for tests of what they say.
fn told(violations: &[V]) -> String {
    violations
        .iter()
        .map(V::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_good_module_passes() {
    let report = report(&Fixture::good());
    assert_eq!(report.violations, []);
    assert_eq!(report.imports, ["printf"]);
    assert_eq!(report.functions, 1);
    assert!(report.to_string().ends_with("passed\n"));
}

#[test]
fn only_amd64_relocatable_files_are_modules() {
    for (kind, machine, named) in [
        (elf::ET_DYN, elf::EM_X86_64, "ET_DYN"),
        (elf::ET_REL, elf::EM_AARCH64, "EM_AARCH64"),
    ] {
        let mut fixture = Fixture::good();
        fixture.header = Some((kind, machine));
        let error = Module::parse(&fixture.write()).err().unwrap().to_string();
        assert!(error.contains(named), "{error}");
    }
    assert!(Module::parse(b"\x7fELF").is_err());
}

// Rule 1: relocations.

#[test]
fn relocations_the_kernel_applies_pass() {
    let all = [
        elf::R_X86_64_NONE,
        elf::R_X86_64_64,
        elf::R_X86_64_PC32,
        elf::R_X86_64_PLT32,
        elf::R_X86_64_32S,
    ];
    for kind in all {
        let mut fixture = Fixture::good();
        let data = fixture.section(".data", elf::SHT_PROGBITS, data_flags(), &[0; 8]);
        fixture.relocate(data, 0, kind, EVENT, 0);
        assert_eq!(refused(&fixture), []);
    }
}

#[test]
fn relocations_the_kernel_cannot_apply_are_refused() {
    let all = [
        elf::R_X86_64_GOTPCREL,
        elf::R_X86_64_GOTPCRELX,
        elf::R_X86_64_REX_GOTPCRELX,
        elf::R_X86_64_32,
        elf::R_X86_64_PC64,
        elf::R_X86_64_TPOFF32,
        elf::R_X86_64_TLSGD,
        elf::R_X86_64_COPY,
        elf::R_X86_64_GLOB_DAT,
        elf::R_X86_64_RELATIVE,
        elf::R_X86_64_IRELATIVE,
    ];
    for kind in all {
        let mut fixture = Fixture::good();
        let data = fixture.section(".data", elf::SHT_PROGBITS, data_flags(), &[0; 16]);
        fixture.relocate(data, 8, kind, EVENT, 0);
        let found = refused(&fixture);
        assert!(
            matches!(&found[..], [V::RelocationType { .. }]),
            "{kind:?}: {found:?}"
        );
        let name = elf::NAMES_R_X86_64.name(kind).unwrap();
        assert!(told(&found).starts_with(&format!("relocation {name} at .data+0x8;")));
    }
}

#[test]
fn relocations_of_sections_that_are_not_loaded_are_free() {
    let mut fixture = Fixture::good();
    let debug = fixture.section(
        ".debug_info",
        elf::SHT_PROGBITS,
        Default::default(),
        &[0; 8],
    );
    fixture.relocate(debug, 0, elf::R_X86_64_32, EVENT, 0);
    assert_eq!(refused(&fixture), []);
}

#[test]
fn a_relocation_must_stay_in_its_section() {
    let mut fixture = Fixture::good();
    let data = fixture.section(".data", elf::SHT_PROGBITS, data_flags(), &[0; 8]);
    fixture.relocate(data, 4, elf::R_X86_64_64, EVENT, 0);
    fixture.relocate(data, 4, elf::R_X86_64_32S, EVENT, 0);
    fixture.relocate(data, u64::MAX, elf::R_X86_64_64, EVENT, 0);
    let found = refused(&fixture);
    let [
        V::RelocationOutside { place, .. },
        V::RelocationOutside { .. },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!((place.offset, place.section.as_str()), (4, ".data"));
}

// Rule 2: linker sets.

#[test]
fn a_set_in_two_sections_is_refused() {
    let mut fixture = Fixture::good();
    let again = fixture.section(
        "set_sysinit_set",
        elf::SHT_PROGBITS,
        elf::SHF_ALLOC,
        &[0; 8],
    );
    fixture.relocate(again, 0, elf::R_X86_64_64, EVENT, 0);
    let set = "set_sysinit_set".to_owned();
    assert_eq!(refused(&fixture), [V::SetRepeated { set, count: 2 }]);
}

#[test]
fn a_required_set_must_be_there() {
    let mut options = options();
    options.required_sets.push("set_sysctl_set".to_owned());
    let found = report_with(&Fixture::good(), &options, LIST, &[]).violations;
    assert!(matches!(&found[..], [V::SetMissing { set, .. }] if set == "set_sysctl_set"));
}

#[test]
fn an_empty_or_unloaded_set_counts_as_missing() {
    let mut empty = Fixture::good();
    empty.data_mut(SYSINIT).clear();
    empty.drop_relocations(SYSINIT);
    let mut unloaded = Fixture::good();
    *unloaded.flags_mut(SYSINIT) = Default::default();
    for fixture in [empty, unloaded] {
        let found = refused(&fixture);
        assert!(matches!(&found[..], [V::SetMissing { .. }]), "{found:?}");
    }
}

#[test]
fn a_set_holds_whole_pointers() {
    let mut ragged = Fixture::good();
    ragged.data_mut(METADATA).extend([0; 4]);
    let set = "set_modmetadata_set".to_owned();
    assert_eq!(refused(&ragged), [V::SetRagged { set, size: 12 }]);

    let mut hollow = Fixture::good();
    hollow.data_mut(METADATA).extend([0; 16]);
    let astride = |fixture: &mut Fixture| {
        fixture.relocate(METADATA, 12, elf::R_X86_64_64, EVENT, 0);
    };
    for change in [|_: &mut Fixture| {}, astride] {
        change(&mut hollow);
        let found = refused(&hollow);
        let [V::SetSlotEmpty { place: a }, V::SetSlotEmpty { place: b }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!((a.offset, b.offset), (8, 16));
    }
}

#[test]
fn data_sets_need_no_pointers() {
    let mut fixture = Fixture::good();
    fixture.section("set_vnet", elf::SHT_PROGBITS, data_flags(), &[0; 12]);
    assert_eq!(refused(&fixture), []);
}

// Rule 3: FPU and vector state.

type Assembly = fn(&mut CodeAssembler) -> Result<(), IcedError>;

#[test]
fn fpu_and_vector_instructions_are_refused() {
    let all: [Assembly; 23] = [
        |a| a.movaps(xmm0, xmm1),
        |a| a.cvtsi2sd(xmm0, eax),
        |a| a.movd(eax, xmm0),
        |a| a.movq(mm0, mm1),
        |a| a.emms(),
        |a| a.vaddps(ymm0, ymm1, ymm2),
        |a| a.vpaddd(zmm0, zmm1, zmm2),
        |a| a.vmovdqu64(zmmword_ptr(rdi), zmm31),
        |a| a.kmovw(k1, eax),
        |a| a.vzeroupper(),
        |a| a.vzeroall(),
        |a| a.aesenc(xmm0, xmm1),
        |a| a.fld1(),
        |a| a.fninit(),
        |a| a.fnstcw(word_ptr(rdi)),
        |a| a.wait(),
        |a| a.ldmxcsr(dword_ptr(rdi)),
        |a| a.vstmxcsr(dword_ptr(rdi)),
        |a| a.fxsave(byte_ptr(rdi)),
        |a| a.xsave(byte_ptr(rdi)),
        |a| a.xrstors(byte_ptr(rdi)),
        |a| a.tilezero(tmm0),
        |a| a.tdpbssd(tmm0, tmm1, tmm2),
    ];
    for build in all {
        let code = assemble(|a| {
            a.nop()?;
            build(a)?;
            a.ret()
        });
        let found = refused(&Fixture::with_code(&code).0);
        let [V::FloatingPoint { place, .. }] = &found[..] else {
            panic!("{code:x?}: {found:?}")
        };
        assert_eq!(place.to_string(), ".text.probe+0x1 (probe+0x1)");
    }
}

#[test]
fn integer_instructions_of_vector_extensions_pass() {
    let all: [Assembly; 10] = [
        |a| a.lfence(),
        |a| a.mfence(),
        |a| a.sfence(),
        |a| a.pause(),
        |a| a.prefetcht0(byte_ptr(rdi)),
        |a| a.movnti(qword_ptr(rdi), rax),
        |a| a.crc32(eax, ecx),
        |a| a.popcnt(rax, rcx),
        |a| a.andn(rax, rcx, rdx),
        |a| a.clflush(byte_ptr(rdi)),
    ];
    for build in all {
        let code = assemble(|a| {
            build(a)?;
            a.ret()
        });
        assert_eq!(refused(&Fixture::with_code(&code).0), [], "{code:x?}");
    }
}

#[test]
fn code_without_a_name_is_read_too() {
    let mut fixture = Fixture::good();
    let padding = [0, 0x90, 0xcc, 0x66, 0x0f, 0x1f, 0x44, 0, 0, 0];
    fixture.data_mut(TEXT).extend(padding);
    assert_eq!(refused(&fixture), [], "padding is no function");
    assert_eq!(report(&fixture).functions, 1);
    fixture
        .data_mut(TEXT)
        .extend([0x0f, 0x28, 0xc1, 0xc3, 0, 0, 0]);
    let found = refused(&fixture);
    let [
        V::FloatingPoint {
            instruction, place, ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!(
        (instruction.as_str(), place.offset),
        ("movaps xmm0,xmm1", 21)
    );
    assert_eq!(report(&fixture).functions, 2);
}

#[test]
fn bytes_that_are_no_instruction_are_refused() {
    // `06` pushed ES in 32-bit mode; 64-bit mode has no such instruction.
    let found = refused(&Fixture::with_code(&[0x90, 0x06, 0xc3]).0);
    let [V::Undecodable { bytes, place }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((&bytes[..2], place.offset), ("06", 1));
}

// Rule 4: sections.

#[test]
fn writable_code_is_refused() {
    let mut fixture = Fixture::good();
    *fixture.flags_mut(TEXT) |= elf::SHF_WRITE;
    assert_eq!(
        refused(&fixture),
        [V::WritableCode {
            section: ".text".to_owned()
        }]
    );
}

#[test]
fn thread_local_storage_is_refused() {
    let mut fixture = Fixture::good();
    let flags = data_flags() | elf::SHF_TLS;
    let tdata = fixture.section(".tdata", elf::SHT_PROGBITS, flags, &[0; 8]);
    let counter = ("COUNTER", elf::STB_LOCAL, elf::STT_TLS);
    fixture.symbol(counter, At::Section(tdata, 0), 8);
    let found = refused(&fixture);
    let [V::ThreadLocal { name, .. }, V::ThreadLocal { what, .. }] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((name.as_str(), *what), (".tdata", "symbol"));
}

#[test]
fn constructors_and_destructors_are_refused() {
    let all = [
        (".ctors", elf::SHT_PROGBITS),
        (".dtors.100", elf::SHT_PROGBITS),
        (".init_array", elf::SHT_INIT_ARRAY),
        (".init_array.5", elf::SHT_PROGBITS),
        (".fini_array", elf::SHT_FINI_ARRAY),
        ("any", elf::SHT_PREINIT_ARRAY),
    ];
    for (name, kind) in all {
        let mut fixture = Fixture::good();
        fixture.section(name, kind, data_flags(), &[0; 8]);
        let (section, size) = (name.to_owned(), 8);
        assert_eq!(refused(&fixture), [V::Constructors { section, size }]);
    }
}

#[test]
fn unwind_tables_are_refused_unless_empty() {
    for (name, kind) in [
        (".eh_frame", elf::SHT_PROGBITS),
        (".unwind", elf::SHT_X86_64_UNWIND),
        (".gcc_except_table", elf::SHT_PROGBITS),
    ] {
        let mut fixture = Fixture::good();
        let unwind = fixture.section(name, kind, elf::SHF_ALLOC, &[0; 24]);
        let (section, size) = (name.to_owned(), 24);
        assert_eq!(refused(&fixture), [V::UnwindTable { section, size }]);
        fixture.data_mut(unwind).clear();
        assert_eq!(refused(&fixture), []);
    }
}

#[test]
fn a_section_that_is_used_must_be_loaded() {
    let mut fixture = Fixture::good();
    let note = fixture.section(".note.weft", elf::SHT_NOTE, elf::SHF_ALLOC, &[0; 16]);
    assert_eq!(
        refused(&fixture),
        [],
        "an unused note is dropped, and harmless"
    );
    fixture.relocate(note, 8, elf::R_X86_64_64, EVENT, 0);
    let patched = refused(&fixture);
    fixture.drop_relocations(note);
    let banner = ("banner", elf::STB_LOCAL, elf::STT_OBJECT);
    fixture.symbol(banner, At::Section(note, 0), 16);
    for found in [patched, refused(&fixture)] {
        assert!(
            matches!(&found[..], [V::SectionNotLoaded { .. }]),
            "{found:?}"
        );
        assert!(told(&found).contains("section .note.weft (type SHT_NOTE)"));
    }
}

#[test]
fn a_second_symbol_table_is_refused() {
    let mut fixture = Fixture::good();
    fixture.second_symbol_table = Some(24);
    assert_eq!(refused(&fixture), [V::SymbolTables { count: 2 }]);
}

// Rule 5: exports.

#[test]
fn a_global_symbol_that_is_not_listed_is_refused() {
    for (bind, named) in [(elf::STB_GLOBAL, "global"), (elf::STB_WEAK, "weak")] {
        let mut fixture = Fixture::good();
        fixture.rename_symbol(EVENT, "_RNvCs4fqI2P2rA04_9weft_kmod6attach");
        fixture.bind_symbol(EVENT, bind);
        let found = told(&refused(&fixture));
        let expected = format!("{named} symbol weft_kmod::attach at .text+0x0 (weft_kmod::attach)");
        assert!(found.starts_with(&expected), "{found}");
    }
}

#[test]
fn a_listed_symbol_must_be_global() {
    let mut options = options();
    options.exports = owned(&["weft_event"]);
    let mut fixture = Fixture::good();
    let found = report_with(&fixture, &options, LIST, &[]).violations;
    assert_eq!(
        found,
        [V::ExportMissing {
            symbol: "weft_event".to_owned()
        }]
    );
    fixture.bind_symbol(EVENT, elf::STB_GLOBAL);
    assert_eq!(report_with(&fixture, &options, LIST, &[]).violations, []);
    fixture.bind_symbol(EVENT, elf::STB_WEAK);
    assert_eq!(
        report_with(&fixture, &options, LIST, &[]).violations.len(),
        2
    );
}

#[test]
fn an_export_begins_with_the_prefix() {
    let mut options = options();
    options.exports = owned(&["event"]);
    let mut fixture = Fixture::good();
    fixture.rename_symbol(EVENT, "event");
    fixture.bind_symbol(EVENT, elf::STB_GLOBAL);
    let found = report_with(&fixture, &options, LIST, &[]).violations;
    assert_eq!(
        found,
        [V::ExportName {
            symbol: "event".to_owned()
        }]
    );
}

#[test]
fn common_symbols_are_refused() {
    let mut fixture = Fixture::good();
    fixture.symbol(
        ("weft_table", elf::STB_GLOBAL, elf::STT_OBJECT),
        At::Common,
        64,
    );
    let (symbol, size) = ("weft_table".to_owned(), 64);
    assert_eq!(refused(&fixture), [V::Common { symbol, size }]);
}

// Rule 6: imports.

#[test]
fn an_unlisted_import_is_refused() {
    let mut fixture = Fixture::good();
    fixture.rename_symbol(PRINTF, "uprintf");
    let found = refused(&fixture);
    let [
        V::ImportStale {
            symbol, line: 2, ..
        },
        V::ImportUnlisted { first_use, .. },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(symbol, "printf");
    assert_eq!(first_use, ".text+0x5 (weft_event+0x5)");
}

#[test]
fn the_list_names_each_import_once_and_nothing_else() {
    let list = "printf # varargs\n\nmalloc\n  printf\n";
    let found = report_with(&Fixture::good(), &options(), list, &[]).violations;
    let [
        V::ImportStale {
            symbol, line: 3, ..
        },
        V::ImportRepeated {
            line: 4, first: 1, ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(symbol, "malloc");
    let list = "printf\nmemcmp\n";
    let found = report_with(&Fixture::good(), &options(), list, &[]).violations;
    assert_eq!(found, [], "the compiler may call memcmp, or not");
    assert!(NameList::parse(Path::new("list"), "int printf\n").is_err());
}

#[test]
fn an_import_must_be_in_every_kernel() {
    let kernel = |name: &str, defined: &[&str], undefined: &[&str]| {
        Kernel::parse(Path::new(name), &kernel(defined, undefined)).unwrap()
    };
    let has = kernel("has", &["printf", "malloc"], &[]);
    let lacks = kernel("lacks", &["malloc"], &["printf"]);
    let good = Fixture::good();
    assert_eq!(report_with(&good, &options(), LIST, &[has]).violations, []);
    let found = report_with(&good, &options(), LIST, &[lacks]).violations;
    let [V::ImportNotInKernel { symbol, kernel, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (symbol.as_str(), kernel.as_path()),
        ("printf", Path::new("lacks"))
    );
}

#[test]
fn a_file_without_dynamic_symbols_is_no_kernel() {
    assert!(Kernel::parse(Path::new("k"), &Fixture::good().write()).is_err());
    assert!(Kernel::parse(Path::new("k"), b"not ELF").is_err());
}

#[test]
fn the_bounds_of_a_set_are_no_import() {
    let mut fixture = Fixture::good();
    let undefined = |name| (name, elf::STB_GLOBAL, elf::STT_NOTYPE);
    fixture.symbol(undefined("__start_set_sysinit_set"), At::Undefined, 0);
    fixture.symbol(undefined("__stop_set_sysinit_set"), At::Undefined, 0);
    assert_eq!(refused(&fixture), []);
    let unloaded = Default::default();
    fixture.section("set_absent", elf::SHT_PROGBITS, unloaded, &[0; 8]);
    fixture.symbol(undefined("__start_set_absent"), At::Undefined, 0);
    assert!(matches!(&refused(&fixture)[..], [V::ImportUnlisted { .. }]));
}

#[test]
fn a_local_undefined_symbol_is_refused() {
    let mut fixture = Fixture::good();
    fixture.symbol(("lost", elf::STB_LOCAL, elf::STT_NOTYPE), At::Undefined, 0);
    assert_eq!(
        refused(&fixture),
        [V::LocalUndefined {
            symbol: "lost".to_owned()
        }]
    );
}

// Rule 7: stack frames.

/// Bytes of stack of the function that `build` assembles, and what is refused.
fn frame(build: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> (u64, Vec<V>) {
    let (fixture, _) = Fixture::with_code(&assemble(build));
    let report = report(&fixture);
    let probe = |frame: &&Frame| frame.function.symbol.as_deref() == Some("probe");
    (
        report.largest_frames.iter().find(probe).unwrap().bytes,
        report.violations,
    )
}

#[test]
fn a_frame_is_pushes_and_locals() {
    let (bytes, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.push(rbx)?;
        a.sub(rsp, 1008)?;
        a.add(rsp, 1008)?;
        a.pop(rbx)?;
        a.pop(rbp)?;
        a.ret()
    });
    assert_eq!((bytes, found), (1024, Vec::new()));
}

#[test]
fn a_frame_over_the_limit_is_refused() {
    let (bytes, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.push(rbx)?;
        a.sub(rsp, 1016)?;
        a.lea(rsp, rbp - 8)?;
        a.pop(rbx)?;
        a.pop(rbp)?;
        a.ret()
    });
    assert_eq!(bytes, 1032);
    let [
        V::FrameTooLarge {
            function,
            bytes: 1032,
            limit: 1024,
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(function.to_string(), ".text.probe+0x0 (probe)");
}

#[test]
fn every_path_counts_from_its_own_depth() {
    let (bytes, found) = frame(|a| {
        let (mut early, mut body) = (a.create_label(), a.create_label());
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.sub(rsp, 64)?;
        a.test(edi, edi)?;
        a.je(early)?;
        a.jmp(body)?;
        a.set_label(&mut early)?;
        a.leave()?;
        a.ret()?;
        a.set_label(&mut body)?;
        a.push(rax)?;
        a.push(rax)?;
        a.add(rsp, 16)?;
        a.sub(rsp, -128)?;
        a.add(rsp, -128)?;
        a.mov(rsp, rbp)?;
        a.pop(rbp)?;
        a.ret()
    });
    assert_eq!((bytes, found), (8 + 64 + 16, Vec::new()));
}

#[test]
fn leave_undoes_the_frame_and_the_push() {
    let (bytes, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.leave()?;
        a.sub(rsp, 64)?;
        a.add(rsp, 64)?;
        a.ret()
    });
    assert_eq!((bytes, found), (64, Vec::new()));
}

#[test]
fn aligning_the_stack_costs_the_worst_case() {
    let (bytes, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.and(rsp, -64)?;
        a.sub(rsp, 128)?;
        a.mov(rsp, rbp)?;
        a.pop(rbp)?;
        a.ret()
    });
    assert_eq!((bytes, found), (8 + 56 + 128, Vec::new()));
}

#[test]
fn a_computed_stack_pointer_is_refused() {
    let all: [Assembly; 6] = [
        |a| a.sub(rsp, rax),
        |a| a.mov(rsp, rax),
        |a| a.mov(rsp, qword_ptr(rdi)),
        |a| a.lea(rsp, rsp + rax),
        |a| a.pop(rsp),
        |a| a.and(rsp, -48),
    ];
    for build in all {
        let (_, found) = frame(|a| {
            build(a)?;
            a.ret()
        });
        assert!(
            matches!(&found[..], [V::StackPointerComputed { .. }]),
            "{found:?}"
        );
    }
    let (_, found) = frame(|a| {
        a.sub(rsp, rax)?;
        a.ret()
    });
    assert!(told(&found).starts_with("`sub rsp,rax` at .text.probe+0x0 (probe) computes"));
}

#[test]
fn a_frame_pointer_that_was_popped_is_unknown() {
    let (_, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.pop(rbp)?;
        a.leave()?;
        a.ret()
    });
    assert!(
        matches!(&found[..], [V::StackPointerComputed { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_loop_that_moves_the_stack_pointer_is_refused() {
    for bytes in [4096, 512] {
        let (_, found) = frame(|a| {
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.sub(rsp, bytes)?;
            a.mov(qword_ptr(rsp), 0)?;
            a.cmp(rsp, r11)?;
            a.jne(again)?;
            a.ret()
        });
        let varies = |v: &V| matches!(v, V::StackDepthVaries { place, .. } if place.offset == 0);
        assert!(found.iter().any(varies), "{found:?}");
    }
}

#[test]
fn code_behind_a_jump_table_has_the_depth_of_the_jump() {
    let (bytes, found) = frame(|a| {
        a.push(rbp)?;
        a.mov(rbp, rsp)?;
        a.sub(rsp, 48)?;
        a.jmp(qword_ptr(rdi * 8 + 0x1000))?;
        a.push(rax)?;
        a.lea(rsp, rbp + 0)?;
        a.pop(rbp)?;
        a.ret()
    });
    assert_eq!((bytes, found), (64, Vec::new()));
}

#[test]
fn a_relocated_branch_goes_where_its_symbol_says() {
    let code = assemble(|a| {
        a.sub(rsp, 16)?;
        // At 4..9, patched; unpatched it would go to the next instruction.
        a.db(&[0xe9, 0, 0, 0, 0])?;
        a.sub(rsp, 2048)?;
        a.add(rsp, 2048)?;
        // At 23.
        a.add(rsp, 16)?;
        a.ret()
    });
    let (mut fixture, section) = Fixture::with_code(&code);
    let target = ("probe_end", elf::STB_LOCAL, elf::STT_NOTYPE);
    let target = fixture.symbol(target, At::Section(section, 23), 0);
    fixture.relocate(section, 5, elf::R_X86_64_PLT32, target, -4);
    let found = refused(&fixture);
    // The skipped `sub` is measured all the same, from the entry's depth.
    let [V::FrameTooLarge { bytes, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(*bytes, 2048);
}

#[test]
fn stack_arguments_of_a_call_that_never_returns_are_forgiven() {
    let (bytes, found) = frame(|a| {
        let (mut body, mut panic) = (a.create_label(), a.create_label());
        a.set_label(&mut body)?;
        a.test(edi, edi)?;
        a.je(panic)?;
        a.ret()?;
        a.set_label(&mut panic)?;
        a.push(rax)?;
        a.push(rax)?;
        a.call(body)?;
        a.jmp(body)
    });
    assert_eq!((bytes, found), (16, Vec::new()));
}

// Rule 8: infallible allocation.

#[test]
fn a_forbidden_function_is_refused_by_its_name() {
    let mut fixture = Fixture::good();
    fixture.rename_symbol(
        EVENT,
        "_ZN5alloc5alloc18handle_alloc_error17h0123456789abcdefE",
    );
    let found = refused(&fixture);
    let [
        V::ForbiddenSymbol {
            what: "symbol",
            name,
            word,
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(name, "alloc::alloc::handle_alloc_error");
    assert_eq!(word, "handle_alloc_error");

    let mut fixture = Fixture::good();
    let ret = [0xc3];
    fixture.section(".text.__rg_oom", elf::SHT_PROGBITS, code_flags(), &ret);
    assert!(matches!(
        &refused(&fixture)[..],
        [V::ForbiddenSymbol {
            what: "section",
            ..
        }]
    ));
}

#[test]
fn a_forbidden_function_is_refused_by_its_text() {
    let mut fixture = Fixture::good();
    fixture.data_mut(RODATA).extend(b"capacity overflow");
    let found = refused(&fixture);
    assert!(matches!(&found[..], [V::ForbiddenText { place, .. }] if place.offset == 12));
}

// Rule 9: sizes.

#[test]
fn sizes_count_loaded_sections_only() {
    let mut fixture = Fixture::good();
    fixture.section(".data", elf::SHT_PROGBITS, data_flags(), &[1; 24]);
    fixture.section(".bss", elf::SHT_NOBITS, data_flags(), &[0; 40]);
    fixture.section(".comment", elf::SHT_PROGBITS, Default::default(), &[1; 100]);
    let report = report(&fixture);
    let sizes = &report.sizes;
    let sum = (sizes.text, sizes.rodata, sizes.data, sizes.bss);
    assert_eq!(sum, (11, 12 + 8 + 8, 24, 40));
    assert_eq!(sizes.file, fixture.write().len() as u64);
    let bss = report.sections.iter().find(|s| s.name == ".bss").unwrap();
    assert_eq!(
        (bss.kind.as_str(), bss.flags.as_str(), bss.size),
        ("SHT_NOBITS", "AW", 40)
    );
    let text = report.sections.iter().find(|s| s.name == ".text").unwrap();
    assert_eq!((text.flags.as_str(), text.relocations), ("AX", 1));
}

// Rule 10: paths of the build machine.

#[test]
fn a_path_of_the_build_machine_is_refused() {
    let mut fixture = Fixture::good();
    fixture
        .data_mut(RODATA)
        .extend(b"/home/alice/x.rs /home/al/src/a.rs:1\0");
    let found = refused(&fixture);
    let [
        V::BuildPath {
            text,
            section,
            path,
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((section.as_str(), path.as_str()), (".rodata", "/home/al"));
    assert_eq!(text, "/home/al/src/a.rs:1");
}

#[test]
fn a_path_counts_in_sections_that_are_not_loaded_too() {
    let mut fixture = Fixture::good();
    let unloaded = Default::default();
    fixture.section(
        ".debug_str",
        elf::SHT_PROGBITS,
        unloaded,
        b"/build/weft\0/home/alice\0",
    );
    let found = refused(&fixture);
    assert!(matches!(&found[..], [V::BuildPath { section, .. }] if section == ".debug_str"));
}

// The command.

#[test]
fn files_are_read_and_each_failure_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let ko = write("weft.ko", &Fixture::good().write());
    let mut unstripped = Fixture::good();
    unstripped.rename_symbol(EVENT, "__rg_oom");
    let mut options = options();
    options.symbol_list = write("list", LIST.as_bytes());
    options.kernels = vec![write("kernel", &kernel(&["printf"], &[]))];
    assert_eq!(check(&ko, &options).unwrap().violations, []);

    options.unstripped = Some(write("weft.full", &unstripped.write()));
    let found = check(&ko, &options).unwrap().violations;
    assert!(matches!(&found[..], [V::ForbiddenSymbol { file, .. }] if file.ends_with("weft.full")));

    options.kernels.push(folder.path().join("absent"));
    let error = check(&ko, &options).unwrap_err().to_string();
    assert!(error.ends_with("absent"), "{error}");
}

#[test]
fn the_report_lists_every_violation_for_people_and_programs() {
    let mut fixture = Fixture::good();
    *fixture.flags_mut(TEXT) |= elf::SHF_WRITE;
    fixture.symbol(("lost", elf::STB_LOCAL, elf::STT_NOTYPE), At::Undefined, 0);
    let report = report(&fixture);
    let text = report.to_string();
    assert!(
        text.contains("error: section .text is both writable and executable"),
        "{text}"
    );
    assert!(
        text.contains("error: local symbol lost is undefined"),
        "{text}"
    );
    assert!(text.ends_with("refused: 2 violations\n"), "{text}");

    let json = serde_json::to_value(&report).unwrap();
    let first = &json["violations"][0];
    assert_eq!(first["kind"], "writable-code");
    assert_eq!(first["section"], ".text");
    assert_eq!(first["message"], report.violations[0].to_string());
    assert_eq!(json["sizes"]["text"], 11);
    assert_eq!(json["imports"][0], "printf");
}
