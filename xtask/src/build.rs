// SPDX-License-Identifier: BSD-2-Clause
//! Builds `weft.ko`: compiles the shim and the Rust side for the kernel, links
//! them by the project's own linker script, makes every symbol local that is not
//! exported, and holds the result against `check_ko`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
use crate::check_ko::{self, Violation};
use crate::headers::Headers;
use crate::tools::{Toolchain, output, quiet, run};

/// Separates flags in `WEFT_CFLAGS`: no path has this character.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// A module that is wrong in one way, made so that the kernel and the module's own
/// load checks can be seen to refuse it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// What is wrong with it, as a word.
    pub(crate) name: &'static str,
    /// What the C shim is compiled with to make it so.
    pub(crate) flag: Flag,
}

/// See [`Variant`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flag {
    /// `__FreeBSD_version` of another branch in the module's metadata.
    Branch(u32),
    /// A macro definition, as `-D` takes it.
    Define(&'static str),
}

/// What a build needs, found once and used by every step.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) root: PathBuf,
    pub(crate) tools: Toolchain,
    pub(crate) headers: Headers,
    pub(crate) arch: Arch,
}

impl Build {
    /// Finds or installs all that a build needs.
    ///
    /// # Errors
    /// One line for the first thing that can't be had.
    pub(crate) fn prepare(root: &Path) -> Result<Self> {
        Self::prepare_for(root, Arch::default())
    }

    /// The same for a machine that may be another than amd64.
    ///
    /// # Errors
    /// As [`Build::prepare`].
    pub(crate) fn prepare_for(root: &Path, arch: Arch) -> Result<Self> {
        let tools = Toolchain::find_or_install()?;
        crate::rust_src::ensure()?;
        let headers = Headers::find_or_fetch(&target_dir(root).join("weft"), arch)?;
        Ok(Self {
            root: root.to_owned(),
            tools,
            headers,
            arch,
        })
    }

    /// Where the build puts what it makes: `target/weft`.
    pub(crate) fn out(&self) -> PathBuf {
        target_dir(&self.root).join("weft")
    }
}

/// Cargo's target folder for this workspace.
pub(crate) fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds the module and returns its path.
///
/// # Errors
/// What the failing tool said, or each rule of `check_ko` that was broken.
pub(crate) fn module(build: &Build) -> Result<PathBuf> {
    let form = Form {
        profile: SHIPPED,
        features: &[],
        lists: &[],
        lacks: &[],
        max_frame: None,
    };
    compiled(build, &form, &build.out())
}

/// Builds the module with what its tests in the kernel need, `net.weft.test`, which
/// the module that is shipped does not have. Returns its path.
///
/// # Errors
/// As [`module`].
pub(crate) fn module_for_tests(build: &Build) -> Result<PathBuf> {
    let form = Form {
        profile: SHIPPED,
        features: &["--features", "test"],
        lists: &["kernel-symbols-test.txt"],
        lacks: &[],
        max_frame: None,
    };
    compiled(build, &form, &build.out().join("test"))
}

/// Builds that with arithmetic that panics where it overflows, which costs some of the speed
/// and of the stack. Returns its path.
///
/// # Errors
/// As [`module`].
pub(crate) fn module_with_checks(build: &Build) -> Result<PathBuf> {
    let form = Form {
        profile: "kmod-checked",
        features: &["--features", "test"],
        lists: &["kernel-symbols-test.txt", "kernel-symbols-checked.txt"],
        lacks: &[],
        max_frame: Some(CHECKED_FRAME),
    };
    compiled(build, &form, &build.out().join("checked"))
}

/// Builds the module without what it counts of packets, to measure what that costs. Never
/// to be shipped. Returns its path.
///
/// # Errors
/// As [`module`].
pub(crate) fn module_uncounted(build: &Build) -> Result<PathBuf> {
    let form = Form {
        profile: SHIPPED,
        features: &["--features", "uncounted"],
        lists: &[],
        lacks: &["if_inc_counter"],
        max_frame: None,
    };
    compiled(build, &form, &build.out().join("uncounted"))
}

/// The functions whose calls tests can have fail (`sys-shim/c/test/gates.h`).
fn gates(build: &Build) -> Result<Vec<String>> {
    let path = build.root.join("sys-shim/c/test/gates.h");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("X("))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(name, _)| name.to_owned());
    Ok(names.collect())
}

/// Cargo's profile of what is shipped.
const SHIPPED: &str = "kmod";
/// The largest stack frame of the module with checks, in bytes.
const CHECKED_FRAME: u64 = 2048;

/// A form of the module.
struct Form {
    profile: &'static str,
    features: &'static [&'static str],
    /// Lists in `kmod/` of symbols that it needs beside those that are shipped.
    lists: &'static [&'static str],
    /// What is in a list and it does not need.
    lacks: &'static [&'static str],
    /// The largest stack frame, if it is not as usual.
    max_frame: Option<u64>,
}

/// Compiles, links and checks the module in a folder. In a form for tests, calls of the gates
/// go to functions of its own that the linker calls `__wrap_...`.
fn compiled(build: &Build, form: &Form, folder: &Path) -> Result<PathBuf> {
    let mut cargo = kernel_cargo(build, "build", form.profile)?;
    run(cargo.args(form.features)).context("compiling weft.ko failed")?;
    std::fs::create_dir_all(folder)?;
    let ko = folder.join("weft.ko");
    let gates = match form.features {
        ["--features", "test"] => gates(build)?,
        _ => Vec::new(),
    };
    link(build, form.profile, &[], &gates, &ko)?;
    let mut options = check_ko::Options::for_weft()?;
    let lists = form.lists.iter();
    options.more_symbols = lists
        .map(|list| build.root.join("kmod").join(list))
        .collect();
    options.max_frame = form.max_frame.unwrap_or(options.max_frame);
    options.unstripped = Some(ko.with_extension("ko.full"));
    let mut report = check_ko::check(&ko, &options)?;
    report.violations.retain(|violation| match violation {
        Violation::ImportStale { symbol, .. } => !form.lacks.contains(&symbol.as_str()),
        _ => true,
    });
    if !report.violations.is_empty() {
        bail!("{report}");
    }
    log::info!("{} passes check-ko", ko.display());
    Ok(ko)
}

/// Compiles and links the module for arm64, whose kernel loads shared objects, and holds the
/// result against what can be known of those without a kernel. Returns its path.
///
/// # Errors
/// What the failing tool said, or each rule that was broken.
pub(crate) fn shared_module(build: &Build) -> Result<PathBuf> {
    run(&mut kernel_cargo(build, "build", SHIPPED)?).context("compiling weft.ko failed")?;
    let folder = build.out().join(build.arch.wheel());
    std::fs::create_dir_all(&folder)?;
    let kld = folder.join("weft.kld");
    link(build, SHIPPED, &[], &[], &kld)?;
    let ko = folder.join("weft.ko");
    // As kmod.mk has it: relocations in read-only data stay, and lld does not turn loads of
    // addresses into computed ones, which the kernel could not move apart for VNET.
    quiet(
        Command::new(&build.tools.lld)
            .args(["-m", build.arch.emulation(), "-Bshareable"])
            .args(["-znotext", "-znorelro", "--no-relax", "-o"])
            .args([&ko, &kld])
            .args(crate::shared_ko::bounds(&kld)?),
    )
    .context("linking weft.ko failed")?;
    crate::shared_ko::check(build, &ko)?;
    Ok(ko)
}

/// Links a variant of the module that was built last: the same Rust, and the C
/// shim compiled with the variant's flag, whose objects come before the archive's.
///
/// # Errors
/// What the compiler or the linker said.
pub(crate) fn variant(build: &Build, variant: Variant) -> Result<PathBuf> {
    let dir = build.out().join("variants").join(variant.name);
    std::fs::create_dir_all(&dir)?;
    let mut flags = cflags(build);
    match variant.flag {
        Flag::Define(macro_) => flags.push(format!("-D{macro_}")),
        Flag::Branch(version) => flags.push(format!("-DWEFT_TEST_BRANCH={version}")),
    }
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(build.root.join("sys-shim/c"))? {
        let source = entry?.path();
        if source.extension().is_some_and(|x| x == "c") {
            objects.push(compile_c(build, &flags, &source, &dir)?);
        }
    }
    let ko = dir.join("weft.ko");
    link(build, SHIPPED, &objects, &[], &ko)?;
    Ok(ko)
}

/// Compiles one C file for the kernel.
///
/// # Errors
/// What the compiler said.
pub(crate) fn compile_c(
    build: &Build,
    flags: &[String],
    source: &Path,
    dir: &Path,
) -> Result<PathBuf> {
    let name = source.file_name().context("a source without a name")?;
    let object = dir.join(name).with_extension("o");
    quiet(
        Command::new(&build.tools.clang)
            .args(["-O2", "-Wall", "-Werror"])
            .args(flags)
            .arg("-c")
            .arg(source)
            .arg("-o")
            .arg(&object),
    )?;
    Ok(object)
}

/// The kernel's own flags (`sys/conf/kern.mk`, `kmod.mk`), without those that only
/// silence warnings.
pub(crate) fn cflags(build: &Build) -> Vec<String> {
    let common = [
        "-std=gnu17",
        "-fno-asynchronous-unwind-tables",
        "-ffreestanding",
        "-fwrapv",
        "-fno-common",
        "-fms-extensions",
        "-fno-omit-frame-pointer",
        "-mno-omit-leaf-frame-pointer",
        "-ffunction-sections",
        "-fdata-sections",
        "-nostdinc",
        "-D_KERNEL",
        "-DKLD_MODULE",
        "-DHAVE_KERNEL_OPTION_HEADERS",
    ];
    let all = build.arch.cflags().iter().chain(&common);
    let mut flags: Vec<String> = all.map(ToString::to_string).collect();
    flags.push(format!("-DWEFT_OSRELDATE={}", build.headers.osreldate));
    if !build.headers.defines_version {
        flags.push(format!("-D__FreeBSD_version={}", build.headers.osreldate));
    }
    let options = build.root.join("sys-shim/opt");
    flags.push(format!("-I{}", options.display()));
    flags.push(format!("-I{}", build.root.join("include").display()));
    flags.push("-include".into());
    flags.push(options.join("opt_global.h").display().to_string());
    for dir in &build.headers.include {
        flags.push("-isystem".into());
        flags.push(dir.display().to_string());
    }
    flags
}

/// Lints the crates that exist for the kernel only.
///
/// # Errors
/// Any warning.
pub(crate) fn clippy(build: &Build) -> Result<()> {
    let forms = ["weft-kmod/test", "weft-kmod/uncounted"];
    let forms = forms.map(|feature| ["--features", feature]);
    for features in [&[][..], &forms[0], &forms[1]] {
        let mut command = kernel_cargo(build, "clippy", SHIPPED)?;
        command.args(["--package", "weft-bindings", "--package", "weft-shim"]);
        quiet(command.args(features).args(["--", "--deny", "warnings"]))?;
    }
    Ok(())
}

/// A cargo command on the module, for the kernel's target.
fn kernel_cargo(build: &Build, verb: &str, profile: &str) -> Result<Command> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&build.root)
        .args([verb, "--quiet", "--locked", "--package", "weft-kmod"])
        .args(["--profile", profile, "--target"])
        .arg(
            build
                .root
                .join(format!("kmod/{}.json", build.arch.target())),
        )
        .args(["-Z", "json-target-spec", "-Z", "build-std=core,alloc"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rustflags(build)?.join(FLAG_SEPARATOR),
        )
        .env("WEFT_CFLAGS", cflags(build).join(FLAG_SEPARATOR))
        .env("WEFT_CLANG", &build.tools.clang)
        .env("WEFT_HEADERS", &build.headers.origin)
        .env("LIBCLANG_PATH", &build.tools.libclang)
        .env("CLANG_PATH", &build.tools.clang);
    Ok(command)
}

/// Flags for every crate of the module, `core` and `alloc` included.
///
/// `no_global_oom_handling` takes every function out of `alloc` that would have
/// to panic when memory runs out: in the kernel only the fallible ones exist.
fn rustflags(build: &Build) -> Result<Vec<String>> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let cargo_home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|h| format!("{h}/.cargo")))
        .unwrap_or_default();
    let mut flags: Vec<String> = [
        "--cfg",
        "no_global_oom_handling",
        "-C",
        "force-frame-pointers=yes",
    ]
    .map(str::to_owned)
    .to_vec();
    for (from, to) in [
        (build.root.display().to_string(), "weft"),
        (target_dir(&build.root).display().to_string(), "target"),
        (cargo_home, "cargo"),
        (sysroot.trim().to_owned(), "rust"),
    ] {
        flags.push(format!("--remap-path-prefix={from}={to}"));
    }
    Ok(flags)
}

/// Links the archive, after `first`, into a relocatable module, and keeps global
/// only what `kmod/exports.txt` lists. Local names stay, for ddb(4)'s backtraces.
fn link(
    build: &Build,
    profile: &str,
    first: &[PathBuf],
    gates: &[String],
    ko: &Path,
) -> Result<()> {
    let full = ko.with_extension("ko.full");
    let exports = check_ko::Options::for_weft()?.exports;
    let wanted = exports.iter().map(|name| format!("--undefined={name}"));
    let target = target_dir(&build.root).join(build.arch.target());
    let archive = target.join(profile).join("libweft_kmod.a");
    quiet(
        Command::new(&build.tools.lld)
            .args(["-m", build.arch.emulation()])
            .args(["-r", "--gc-sections", "-T"])
            .arg(build.root.join("kmod/weft.ld"))
            .arg("-o")
            .arg(&full)
            .arg("--undefined=weft_module_event")
            .arg("--undefined=weft_shim_moduledata")
            .args(wanted)
            .args(gates.iter().map(|name| format!("--wrap={name}")))
            .args(first)
            .arg(without_compiler_builtins(build, &archive)?),
    )
    .context("linking weft.ko failed")?;
    let mut objcopy = Command::new(&build.tools.objcopy);
    objcopy.arg("--strip-debug");
    // objcopy takes an empty list for "keep all".
    objcopy.arg("--keep-global-symbol=weft_exports_nothing_by_this_name");
    for export in exports {
        objcopy.arg(format!("--keep-global-symbol={export}"));
    }
    quiet(objcopy.arg(&full).arg(ko)).context("stripping weft.ko failed")
}

/// The archive without `compiler_builtins`, whose `memcpy`, `log` and other
/// names would take the place of the kernel's functions. Nothing in the module
/// needs what it has (division of 128 bits, floating point); should that change,
/// `check_ko` names the symbol.
fn without_compiler_builtins(build: &Build, archive: &Path) -> Result<PathBuf> {
    let stripped = archive.with_file_name("libweft_kmod.kernel.a");
    std::fs::copy(archive, &stripped)?;
    let members = output(Command::new(&build.tools.ar).arg("t").arg(&stripped))?;
    let unwanted = members
        .lines()
        .filter(|name| name.starts_with("compiler_builtins"));
    quiet(
        Command::new(&build.tools.ar)
            .arg("d")
            .arg(&stripped)
            .args(unwanted),
    )?;
    Ok(stripped)
}
