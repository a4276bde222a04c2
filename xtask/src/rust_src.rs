// SPDX-License-Identifier: BSD-2-Clause
//! The sources of `core` and `alloc`, for the very compiler in use.
//!
//! The kernel module builds them anew (other code model, no SSE). rustup's
//! component comes first; a machine that can't reach rustup's server takes
//! Debian's `rust-src` package of the same version, from whichever suite of the
//! mirror that the machine already uses has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools::{on_path, output, quiet};

/// Suites that are asked for `rust-src`, beside the machine's own.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "sid", "experimental"];

/// Makes sure that the sources are in the compiler's sysroot.
///
/// # Errors
/// One line: what is missing, why, and what to install.
pub(crate) fn ensure() -> Result<()> {
    let sysroot = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    let library = sysroot.join("lib/rustlib/src/rust/library");
    if complete(&library) {
        return Ok(());
    }
    let version = compiler_version()?;
    let mut tried = Vec::new();
    if on_path("rustup").is_some() {
        match quiet(Command::new("rustup").args(["component", "add", "rust-src"])) {
            Ok(()) if complete(&library) => return Ok(()),
            Ok(()) => tried.push("rustup: nothing was unpacked".to_owned()),
            Err(e) => tried.push(format!("rustup: {}", last_line(&e))),
        }
    }
    if on_path("apt-get").is_some() {
        match from_debian(&version, &library) {
            Ok(()) => return Ok(()),
            Err(e) => tried.push(format!("Debian: {}", last_line(&e))),
        }
    }
    bail!(
        "rust-src {version}: not in {}; the kernel module builds `core` and `alloc` from source; \
         {} (tried: {})",
        library.display(),
        if cfg!(target_os = "freebsd") {
            "pkg install rust, whose package has the sources"
        } else {
            "rustup component add rust-src"
        },
        tried.join("; ")
    )
}

fn complete(library: &Path) -> bool {
    library.join("core/src/lib.rs").is_file() && library.join("Cargo.lock").is_file()
}

fn last_line(e: &anyhow::Error) -> String {
    let text = format!("{e:#}");
    text.lines()
        .rfind(|l| !l.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn compiler_version() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    text.lines()
        .find_map(|l| l.strip_prefix("release: "))
        .map(str::to_owned)
        .context("rustc -vV names no release")
}

/// Unpacks Debian's package of that version next to the compiler.
fn from_debian(version: &str, library: &Path) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let apt = PrivateApt::new(dir.path())?;
    quiet(apt.command("apt-get").arg("update"))?;
    let listed = output(apt.command("apt-cache").args(["madison", "rust-src"]))?;
    let full = listed
        .lines()
        .filter_map(|l| l.split('|').nth(1))
        .map(str::trim)
        .find(|v| v.split(['+', '-', '~']).next() == Some(version))
        .with_context(|| format!("no rust-src {version} in {}", SUITES.join(", ")))?;
    quiet(
        apt.command("apt-get")
            .current_dir(dir.path())
            .args(["download", &format!("rust-src={full}")]),
    )?;
    let deb = std::fs::read_dir(dir.path())?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|x| x == "deb"))
        .context("apt-get download left no package")?;
    let unpacked = dir.path().join("unpacked");
    quiet(Command::new("dpkg").arg("-x").arg(&deb).arg(&unpacked))?;
    let source = unpacked.join(format!("usr/src/rustc-{version}/library"));
    std::fs::create_dir_all(library.parent().context("sysroot without a parent")?)?;
    quiet(
        Command::new("cp")
            .args(["-R", "-p"])
            .arg(&source)
            .arg(library),
    )?;
    if !complete(library) {
        bail!("the package holds no core/src/lib.rs");
    }
    Ok(())
}

/// An apt with lists of its own, so that the machine's are left alone.
struct PrivateApt {
    options: Vec<String>,
}

impl PrivateApt {
    fn new(dir: &Path) -> Result<Self> {
        let lists = dir.join("lists");
        let cache = dir.join("cache");
        std::fs::create_dir_all(lists.join("partial"))?;
        std::fs::create_dir_all(cache.join("archives/partial"))?;
        let sources = dir.join("sources.list");
        let (mirror, signed_by) = debian_mirror()?;
        let signed = signed_by.map_or(String::new(), |k| format!("[signed-by={k}] "));
        let text: String = SUITES
            .iter()
            .map(|suite| format!("deb {signed}{mirror} {suite} main\n"))
            .collect();
        std::fs::write(&sources, text)?;
        Ok(Self {
            options: vec![
                format!("Dir::Etc::sourcelist={}", sources.display()),
                "Dir::Etc::sourceparts=/dev/null".into(),
                format!("Dir::State::lists={}", lists.display()),
                format!("Dir::Cache={}", cache.display()),
                "APT::Sandbox::User=root".into(),
            ],
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }
}

/// The Debian mirror that this machine already uses, and the key it trusts.
fn debian_mirror() -> Result<(String, Option<String>)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|e| e.path()));
    }
    files
        .iter()
        .filter_map(|f| std::fs::read_to_string(f).ok())
        .find_map(|text| parse_mirror(&text))
        .context("no Debian mirror in /etc/apt")
}

/// Reads either form of apt's source lists, and takes the first archive whose
/// path is `/debian`.
fn parse_mirror(text: &str) -> Option<(String, Option<String>)> {
    let is_archive = |uri: &str| uri.trim_end_matches('/').ends_with("/debian");
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|l| l.strip_prefix(name))
                .map(str::trim)
        };
        if let Some(uri) = field("URIs:").filter(|u| is_archive(u)) {
            let key = field("Signed-By:").filter(|k| k.starts_with('/'));
            return Some((uri.to_owned(), key.map(str::to_owned)));
        }
    }
    text.lines()
        .filter(|l| l.starts_with("deb "))
        .find_map(|l| l.split_whitespace().find(|w| is_archive(w)))
        .map(|uri| (uri.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::parse_mirror;

    #[test]
    fn reads_the_stanza_form() {
        let text = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: a\n\n\
                    Types: deb\nURIs: http://mirror.example/debian\nSigned-By: /k.gpg\n";
        assert_eq!(
            parse_mirror(text),
            Some(("http://mirror.example/debian".into(), Some("/k.gpg".into())))
        );
    }

    #[test]
    fn reads_the_line_form() {
        let text = "# a comment\ndeb [arch=amd64] http://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            parse_mirror(text),
            Some(("http://mirror.example/debian/".into(), None))
        );
        assert_eq!(parse_mirror("deb http://other.example/apt x main\n"), None);
    }
}
