// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask port`: makes of `packaging/freebsd` a port that builds: the archive of the
//! sources, the list of crates, and distinfo, which holds the sums of all of them.
//!
//! The kernel's `core` and `alloc` are built from the compiler's own sources, so the crates
//! that those name in their lock file belong to the port as well.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::build::target_dir;
use crate::tools::{output, quiet};

const SKELETON: &str = "packaging/freebsd/net/weft-kmod";
/// Where ports keep crates among the distribution files.
const CRATES: &str = "rust/crates";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

/// A package in a lock file.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// The SHA-256 of its file; packages of the workspace have none.
    checksum: Option<String>,
}

impl Package {
    fn file(&self) -> String {
        format!("{}-{}.crate", self.name, self.version)
    }
}

/// Writes the port and its archive into `target/weft/port`.
///
/// # Errors
/// What git or cargo said, or a crate whose file is not what the lock file says.
pub(crate) fn run(root: &Path) -> Result<()> {
    if !output(git(root).args(["status", "--porcelain"]))?.is_empty() {
        log::warn!("what is not committed does not get into the archive");
    }
    let out = target_dir(root).join("weft/port");
    let port = out.join("net/weft-kmod");
    let files = out.join("distfiles");
    std::fs::create_dir_all(&port)?;
    std::fs::create_dir_all(&files)?;
    for entry in std::fs::read_dir(root.join(SKELETON))? {
        let entry = entry?;
        std::fs::copy(entry.path(), port.join(entry.file_name()))?;
    }
    let packages = packages(root)?;
    std::fs::write(port.join("Makefile.crates"), list(&packages))?;

    let name = format!("weft-{}.tar.gz", env!("CARGO_PKG_VERSION"));
    let archive = archive(root, &files.join(&name))?;
    let mut distinfo = format!("TIMESTAMP = {}\n", commit_time(root)?.trim());
    distinfo += &sums(&name, &archive);
    let cache = cargo_home()?.join("registry/cache");
    for package in &packages {
        let bytes = crate_file(&cache, package)?;
        distinfo += &sums(&format!("{CRATES}/{}", package.file()), &bytes);
    }
    std::fs::write(port.join("distinfo"), distinfo)?;
    println!(
        "{}: the port, with {} crates; {}: its archive",
        port.display(),
        packages.len(),
        files.join(name).display()
    );
    Ok(())
}

fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(root);
    git
}

/// The packages of both lock files that are not their own, after cargo has fetched them.
fn packages(root: &Path) -> Result<BTreeSet<Package>> {
    crate::rust_src::ensure()?;
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let mut packages = BTreeSet::new();
    for folder in [root.to_owned(), library] {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        quiet(
            Command::new(cargo)
                .args(["fetch", "--quiet", "--locked", "--manifest-path"])
                .arg(folder.join("Cargo.toml"))
                .env("RUSTC_BOOTSTRAP", "1"),
        )?;
        let path = folder.join("Cargo.lock");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        packages.extend(parse(&text).with_context(|| path.display().to_string())?);
    }
    Ok(packages)
}

fn parse(text: &str) -> Result<impl Iterator<Item = Package>> {
    let lock: Lock = toml::from_str(text)?;
    let packages = lock.package.into_iter();
    Ok(packages.filter(|package| package.checksum.is_some()))
}

/// `Makefile.crates`, as the ports' cargo.mk reads it.
fn list(packages: &BTreeSet<Package>) -> String {
    let names = packages
        .iter()
        .map(|package| format!("{}-{}", package.name, package.version));
    let names: Vec<String> = names.collect();
    format!("CARGO_CRATES=\t{}\n", names.join(" \\\n\t\t"))
}

/// The sources of the last commit, the same bytes wherever they are packed.
fn archive(root: &Path, to: &Path) -> Result<Vec<u8>> {
    let prefix = format!("--prefix=weft-{}/", env!("CARGO_PKG_VERSION"));
    let tar = git(root)
        .args(["archive", "--format=tar", &prefix, "HEAD"])
        .output()
        .context("could not start git")?;
    ensure!(
        tar.status.success(),
        "git archive: {}",
        String::from_utf8_lossy(&tar.stderr)
    );
    let mut gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar.stdout)?;
    let bytes = gzip.finish()?;
    std::fs::write(to, &bytes).with_context(|| to.display().to_string())?;
    Ok(bytes)
}

fn commit_time(root: &Path) -> Result<String> {
    output(git(root).args(["log", "-1", "--format=%ct"]))
}

/// Both lines of distinfo about a file.
fn sums(name: &str, bytes: &[u8]) -> String {
    format!(
        "SHA256 ({name}) = {}\nSIZE ({name}) = {}\n",
        hex(bytes),
        bytes.len()
    )
}

fn hex(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

/// A crate's file, from whichever registry's folder of cargo's cache has it.
fn crate_file(cache: &Path, package: &Package) -> Result<Vec<u8>> {
    let registries = std::fs::read_dir(cache).with_context(|| cache.display().to_string())?;
    let name = package.file();
    let mut files = registries
        .flatten()
        .map(|registry| registry.path().join(&name));
    let path = files
        .find(|path| path.is_file())
        .with_context(|| format!("{name}: not in {}", cache.display()))?;
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let found = hex(&bytes);
    if Some(&found) != package.checksum.as_ref() {
        bail!(
            "{}: its SHA-256 is {found}, not that of the lock file",
            path.display()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\
        [[package]]\nname = \"weft-engine\"\nversion = \"0.1.0\"\n\
        [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"registry\"\n\
        checksum = \"fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603\"\n\
        [[package]]\nname = \"a\"\nversion = \"1.0.1\"\nsource = \"registry\"\nchecksum = \"00\"\n";

    fn locked() -> BTreeSet<Package> {
        parse(LOCK).unwrap().collect()
    }

    #[test]
    fn crates_are_listed_as_ports_want_them() {
        assert_eq!(list(&locked()), "CARGO_CRATES=\ta-1.0.1 \\\n\t\tb-2.0.0\n");
    }

    #[test]
    fn a_crate_that_is_another_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let registry = cache.path().join("a-registry");
        std::fs::create_dir(&registry).unwrap();
        for package in locked() {
            std::fs::write(registry.join(package.file()), "ab").unwrap();
        }
        let found = locked().into_iter().map(|package| {
            let outcome = crate_file(cache.path(), &package);
            (package.name, outcome.map_err(|error| error.to_string()))
        });
        for (name, outcome) in found {
            match name.as_str() {
                "b" => assert_eq!(outcome.unwrap(), b"ab"),
                _ => assert!(outcome.unwrap_err().contains("not that of the lock file")),
            }
        }
    }

    #[test]
    fn sums_are_distinfo() {
        assert_eq!(
            sums("x.crate", b"ab"),
            "SHA256 (x.crate) = fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603\n\
             SIZE (x.crate) = 2\n"
        );
    }

    #[test]
    fn the_skeleton_has_the_version_of_the_sources() {
        let path = crate::workspace_root().join(SKELETON).join("Makefile");
        let text = std::fs::read_to_string(path).unwrap();
        let line = format!("DISTVERSION=\t{}\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&line), "no {line}");
    }
}
