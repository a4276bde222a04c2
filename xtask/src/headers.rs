// SPDX-License-Identifier: BSD-2-Clause
//! The kernel headers that `weft.ko` is compiled against: `SYSDIR` when it is
//! set, else `/usr/src/sys`, else a pinned set that any Linux machine can fetch.
//!
//! The pinned set is FreeBSD 15's installed headers as the PyPI wheel of `ziglang`
//! redistributes them, and ConcurrencyKit's, which the kernel carries in its tree
//! but does not install. Both are checked against hashes below, so what is
//! compiled is the same everywhere. The wheel's headers are a little older than
//! 15.1: `struct proc` and `struct ucred`, among others, have grown since. What
//! the module looks into has not, and `bindings/layout.rs` says what that is.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::arch::Arch;
use crate::tools::{on_path, quiet};

/// The wheel, and the SHA-256 of its x86-64 Linux build (which is fetched on
/// every host: only its headers are read).
const WHEEL: &str = "ziglang==0.17.1";
const WHEEL_PLATFORM: &str = "manylinux_2_12_x86_64";
const WHEEL_SHA256: &str = "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54";
/// Where the wheel keeps its folders, and the one that is common to all machines.
const WHEEL_PREFIX: &str = "ziglang/lib/libc/include/";
const WHEEL_COMMON: &str = "generic-freebsd";
/// The `__FreeBSD_version` that the pinned set stands for, which the wheel leaves
/// out: the oldest kernel on which a module built with it was run.
const PINNED_OSRELDATE: u32 = 1_501_000;

/// Debian's package of ConcurrencyKit's headers, and the hash over all of them.
const CK_PACKAGE: &str = "libck-dev";
const CK_SHA256: &str = "3fa5ab0e00a7129066f7538120569c908743cfa6eee5a914eba32a522cab8714";

/// A set of kernel headers, ready to compile against.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    /// Folders for `-isystem`, in order.
    pub(crate) include: Vec<PathBuf>,
    /// `__FreeBSD_version` of the headers.
    pub(crate) osreldate: u32,
    /// Whether the headers define `__FreeBSD_version` themselves.
    pub(crate) defines_version: bool,
    /// Where they are from, in words.
    pub(crate) origin: String,
}

impl Headers {
    /// Finds the headers, fetching the pinned set when there is nothing else.
    ///
    /// # Errors
    /// `SYSDIR` that is no kernel tree; a fetched file with another hash; no way
    /// to fetch.
    pub(crate) fn find_or_fetch(work: &Path, arch: Arch) -> Result<Self> {
        if let Some(dir) = std::env::var_os("SYSDIR") {
            let dir = PathBuf::from(dir);
            return Self::from_tree(&dir, work, arch).with_context(|| {
                format!(
                    "SYSDIR={}: not a FreeBSD kernel source tree (the folder that holds sys/param.h)",
                    dir.display()
                )
            });
        }
        let usual = Path::new("/usr/src/sys");
        if usual.join("sys/param.h").is_file() && usual.join("amd64/include").is_dir() {
            return Self::from_tree(usual, work, arch);
        }
        Self::pinned(arch)
    }

    fn from_tree(sysdir: &Path, work: &Path, arch: Arch) -> Result<Self> {
        let param = std::fs::read_to_string(sysdir.join("sys/param.h"))?;
        let osreldate = param
            .lines()
            .filter_map(|l| l.trim_start().strip_prefix('#'))
            .filter_map(|l| l.trim_start().strip_prefix("define"))
            .filter_map(|l| l.trim_start().strip_prefix("__FreeBSD_version"))
            .find_map(|l| l.split_whitespace().next()?.parse().ok())
            .context("sys/param.h defines no __FreeBSD_version")?;
        let sysdir = sysdir.canonicalize()?;
        let links = work.join("include").join(arch.target());
        std::fs::create_dir_all(&links)?;
        for (name, target) in arch.folders() {
            let link = links.join(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(sysdir.join(target), &link)?;
        }
        Ok(Self {
            include: vec![links, sysdir.clone(), sysdir.join("contrib/ck/include")],
            osreldate,
            defines_version: true,
            origin: format!("kernel source tree, __FreeBSD_version {osreldate}"),
        })
    }

    fn pinned(arch: Arch) -> Result<Self> {
        let name = match arch {
            Arch::Amd64 => WHEEL_SHA256[..12].to_owned(),
            other => format!("{}-{}", &WHEEL_SHA256[..12], other.wheel()),
        };
        let home = cache_dir()?.join("headers").join(name);
        if !home.join("complete").is_file() {
            fetch_pinned(&home, arch).context(
                "kernel headers: none found; weft.ko is compiled against them; \
                 set SYSDIR to a FreeBSD 15.1 sys folder, or allow the pinned set to be fetched",
            )?;
        }
        Ok(Self {
            include: vec![
                home.join(arch.wheel()),
                home.join(WHEEL_COMMON),
                home.join("ck"),
            ],
            osreldate: PINNED_OSRELDATE,
            defines_version: false,
            origin: format!("pinned FreeBSD 15 headers, __FreeBSD_version {PINNED_OSRELDATE}"),
        })
    }
}

/// The project's cache outside the repository: `WEFT_CACHE`, else
/// `$XDG_CACHE_HOME/weft`, else `~/.cache/weft`.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEFT_CACHE") {
        return Ok(dir.into());
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("weft"));
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cache/weft"))
}

/// Fetches both parts into a folder beside `home`, then moves it into place.
fn fetch_pinned(home: &Path, arch: Arch) -> Result<()> {
    let parent = home.parent().context("cache folder without a parent")?;
    std::fs::create_dir_all(parent)?;
    let staging = tempfile::tempdir_in(parent)?;
    fetch_wheel(staging.path(), arch)?;
    fetch_ck(staging.path())?;
    std::fs::write(staging.path().join("complete"), "")?;
    if home.exists() {
        std::fs::remove_dir_all(home)?;
    }
    std::fs::rename(staging.keep(), home)?;
    Ok(())
}

fn fetch_wheel(into: &Path, arch: Arch) -> Result<()> {
    log::info!("fetching the FreeBSD headers ({WHEEL})");
    let download = into.join("download");
    quiet(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--platform", WHEEL_PLATFORM, "--dest"])
            .arg(&download)
            .arg(WHEEL),
    )?;
    let wheel = std::fs::read_dir(&download)?
        .flatten()
        .map(|e| e.path())
        .next()
        .context("pip downloaded no file")?;
    let mut bytes = Vec::new();
    std::fs::File::open(&wheel)?.read_to_end(&mut bytes)?;
    require_hash(WHEEL, &hex(&Sha256::digest(&bytes)), WHEEL_SHA256)?;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        let Some(name) = file.enclosed_name() else {
            continue;
        };
        let Ok(name) = name.strip_prefix(WHEEL_PREFIX) else {
            continue;
        };
        let folders = [WHEEL_COMMON, arch.wheel()];
        if !file.is_file() || !folders.iter().any(|f| name.starts_with(f)) {
            continue;
        }
        let target = into.join(name);
        std::fs::create_dir_all(target.parent().context("file without a folder")?)?;
        std::io::copy(&mut file, &mut std::fs::File::create(target)?)?;
    }
    std::fs::remove_dir_all(download)?;
    Ok(())
}

fn fetch_ck(into: &Path) -> Result<()> {
    if on_path("apt-get").is_none() {
        bail!("ConcurrencyKit's headers: no apt-get to fetch {CK_PACKAGE} with");
    }
    log::info!("fetching ConcurrencyKit's headers ({CK_PACKAGE})");
    let download = into.join("download");
    std::fs::create_dir_all(&download)?;
    let mut get = Command::new("apt-get");
    get.current_dir(&download)
        .args(["-o", "APT::Sandbox::User=root", "download", CK_PACKAGE]);
    if quiet(&mut get).is_err() {
        quiet(Command::new("apt-get").args(["update", "-q"]))?;
        quiet(&mut get)?;
    }
    let deb = std::fs::read_dir(&download)?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|x| x == "deb"))
        .context("apt-get download left no package")?;
    let unpacked = into.join("unpacked");
    quiet(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacked))?;
    let ck = into.join("ck");
    std::fs::rename(unpacked.join("usr/include"), &ck)?;
    std::fs::remove_dir_all(unpacked)?;
    std::fs::remove_dir_all(download)?;
    require_hash(CK_PACKAGE, &hash_tree(&ck)?, CK_SHA256)
}

fn require_hash(what: &str, found: &str, wanted: &str) -> Result<()> {
    if found != wanted {
        bail!("{what}: SHA-256 is {found}, not the pinned {wanted}: not used");
    }
    Ok(())
}

/// One hash over every file below `dir`: its path, its length, its bytes.
fn hash_tree(dir: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(dir)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter(|e| e.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let bytes = std::fs::read(&file)?;
        let name = file.strip_prefix(dir)?.to_string_lossy().into_owned();
        hash.update(format!("{name}\0{}\0", bytes.len()));
        hash.update(&bytes);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{hash_tree, require_hash};

    #[test]
    fn another_byte_is_another_hash() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.h"), "x").unwrap();
        let first = hash_tree(dir.path()).unwrap();
        std::fs::write(dir.path().join("a.h"), "y").unwrap();
        let second = hash_tree(dir.path()).unwrap();
        assert_ne!(first, second);
        let message = require_hash("set", &second, &first)
            .unwrap_err()
            .to_string();
        assert!(message.contains("not the pinned"), "{message}");
    }
}
