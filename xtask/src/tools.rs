// SPDX-License-Identifier: BSD-2-Clause
//! The programs of other projects that the build calls: where they are, which
//! versions will do, and how to install the ones that are missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// LLVM releases that are looked for by suffix (`clang-19`) and by folder
/// (`/usr/local/llvm19/bin`), the preferred one first.
const LLVM_VERSIONS: [u32; 6] = [19, 20, 21, 22, 18, 17];

/// One program or library the build needs.
struct Need {
    /// Its name, as it is called without a version suffix.
    name: &'static str,
    /// What it is for, for the message when it can't be had.
    why: &'static str,
    /// Package names on Debian, tried in order.
    debian: &'static [&'static str],
    /// Package name on FreeBSD.
    freebsd: &'static str,
}

/// A part of LLVM; on FreeBSD one package has them all.
const fn llvm(name: &'static str, why: &'static str, debian: &'static [&'static str]) -> Need {
    Need {
        name,
        why,
        debian,
        freebsd: "llvm19",
    }
}

const CLANG: Need = llvm(
    "clang",
    "compiles the C shim for FreeBSD",
    &["clang-19", "clang"],
);
const LLD: Need = llvm("ld.lld", "links weft.ko", &["lld-19", "lld"]);
const OBJCOPY: Need = llvm(
    "llvm-objcopy",
    "localises symbols and strips weft.ko",
    &["llvm-19", "llvm"],
);
const AR: Need = llvm(
    "llvm-ar",
    "takes apart the archive that weft.ko is linked from",
    &["llvm-19", "llvm"],
);
const LIBCLANG: Need = llvm(
    "libclang",
    "lets bindgen read the kernel headers",
    &["libclang-19-dev", "libclang-dev"],
);
const XORRISO: Need = Need {
    name: "xorriso",
    why: "makes the test guest's root image",
    debian: &["xorriso"],
    freebsd: "xorriso",
};
const QEMU: Need = Need {
    name: "qemu-system-x86_64",
    why: "boots the test guest",
    debian: &["qemu-system-x86"],
    freebsd: "qemu-nox11",
};
const MANDOC: Need = Need {
    name: "mandoc",
    why: "checks the manual pages",
    debian: &["mandoc"],
    freebsd: "mandoc",
};

/// The LLVM programs that build `weft.ko`.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    pub(crate) clang: PathBuf,
    pub(crate) lld: PathBuf,
    pub(crate) ar: PathBuf,
    pub(crate) objcopy: PathBuf,
    /// The folder that holds `libclang.so`.
    pub(crate) libclang: PathBuf,
}

impl Toolchain {
    /// Finds every program, installing what is missing where that can be done.
    ///
    /// # Errors
    /// One line a missing program: what, why, and what to install.
    pub(crate) fn find_or_install() -> Result<Self> {
        Ok(Self {
            clang: find_or_install(&CLANG, || find_llvm(CLANG.name))?,
            lld: find_or_install(&LLD, || find_llvm(LLD.name))?,
            ar: find_or_install(&AR, || find_llvm(AR.name))?,
            objcopy: find_or_install(&OBJCOPY, || find_llvm(OBJCOPY.name))?,
            libclang: find_or_install(&LIBCLANG, find_libclang)?,
        })
    }
}

/// Finds or installs what only the VM tests need. Its absence is a reason to
/// skip them, not an error of the build: each missing one is a line.
pub(crate) fn find_or_install_vm_tools() -> Vec<String> {
    [&XORRISO, &QEMU]
        .into_iter()
        .filter_map(|need| find_or_install(need, || on_path(need.name)).err())
        .map(|e| format!("{e:#}"))
        .collect()
}

/// Finds or installs what only the check of the manual pages needs.
///
/// # Errors
/// One line, if it can't be had.
pub(crate) fn find_or_install_mandoc() -> Result<PathBuf> {
    find_or_install(&MANDOC, || on_path(MANDOC.name))
}

fn find_or_install(need: &Need, find: impl Fn() -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = find() {
        return Ok(path);
    }
    let attempt = install(need);
    if let Some(path) = find() {
        return Ok(path);
    }
    let hint = if cfg!(target_os = "freebsd") {
        format!("pkg install {}", need.freebsd)
    } else {
        format!("apt-get install {}", need.debian[0])
    };
    let tried = match attempt {
        Ok(()) => String::new(),
        Err(e) => format!(" (tried: {e:#})"),
    };
    bail!("{}: not found; it {}; {hint}{tried}", need.name, need.why)
}

fn install(need: &Need) -> Result<()> {
    if cfg!(target_os = "freebsd") {
        return run_as_root(&["pkg", "install", "-y", need.freebsd]);
    }
    if on_path("apt-get").is_none() {
        bail!("no package manager that this program knows");
    }
    apt_update_once()?;
    for package in need.debian {
        log::info!("installing {package}");
        if apt_install(&[package]).is_ok() {
            return Ok(());
        }
    }
    bail!(
        "apt-get could not install any of {}",
        need.debian.join(", ")
    )
}

/// Installs Debian packages without asking.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let mut argv = vec![
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
    ];
    argv.extend_from_slice(packages);
    run_as_root(&argv)
}

/// `apt-get update`, at most once in the life of this process.
fn apt_update_once() -> Result<()> {
    static DONE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if *DONE.get_or_init(|| run_as_root(&["apt-get", "update", "-q"]).is_ok()) {
        Ok(())
    } else {
        bail!("apt-get update failed: no network, or not allowed to")
    }
}

/// Runs a command as root: directly, or through `sudo -n` for another user.
fn run_as_root(argv: &[&str]) -> Result<()> {
    let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if is_root {
        Command::new(argv[0])
    } else {
        let mut c = Command::new("sudo");
        c.args(["-n", argv[0]]);
        c
    };
    command
        .args(&argv[1..])
        .env("DEBIAN_FRONTEND", "noninteractive");
    quiet(&mut command)
}

/// The program and the first words of its arguments, for messages.
fn short(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
    if words.len() > 8 {
        words.truncate(8);
        words.push("...".into());
    }
    format!("`{}`", words.join(" "))
}

/// Runs a command with its output kept, shown only when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let shown = short(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {shown}"))?;
    if !out.status.success() {
        bail!(
            "{shown} failed ({}):\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

/// Runs a command with its output shown as it comes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = short(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("could not start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = short(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {shown}"))?;
    if !out.status.success() {
        bail!(
            "{shown} failed ({}): {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The first program of that name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

fn llvm_dirs(version: u32) -> [PathBuf; 2] {
    [
        PathBuf::from(format!("/usr/lib/llvm-{version}")),
        PathBuf::from(format!("/usr/local/llvm{version}")),
    ]
}

fn find_llvm(name: &str) -> Option<PathBuf> {
    LLVM_VERSIONS
        .iter()
        .find_map(|&v| {
            on_path(&format!("{name}-{v}")).or_else(|| {
                llvm_dirs(v)
                    .into_iter()
                    .map(|d| d.join("bin").join(name))
                    .find(|p| p.is_file())
            })
        })
        .or_else(|| on_path(name))
}

fn find_libclang() -> Option<PathBuf> {
    let given = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    given
        .into_iter()
        .chain(
            LLVM_VERSIONS
                .iter()
                .flat_map(|&v| llvm_dirs(v))
                .map(|d| d.join("lib")),
        )
        .find(|dir| holds_libclang(dir))
}

fn holds_libclang(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libclang.so") || name.starts_with("libclang-")
        })
    })
}
