// SPDX-License-Identifier: BSD-2-Clause
//! The guest's root: a CD image with the agent as /sbin/init and the files that the
//! scenarios ask for, made by xorriso.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where the modules under test are in the guest.
pub const MODULES: &str = "/modules";
/// Where the kernel's own modules are in the guest.
pub const KLDS: &str = "/klds";
/// Where the scripts that run FreeBSD's programs are in the guest.
pub const SYSTEM: &str = "/system";

/// A root file system to be: paths in the guest and the host's files for them.
#[derive(Clone, Debug, Default)]
pub struct Root {
    files: BTreeMap<String, PathBuf>,
    folders: Vec<String>,
    boot: Option<String>,
    label: Option<&'static str>,
}

impl Root {
    /// A root whose /sbin/init is the agent.
    #[must_use]
    pub fn with_agent(agent: &Path) -> Self {
        let mut root = Self::default();
        root.add("/sbin/init", agent);
        root.folder("/dev");
        root.folder("/tmp");
        root
    }

    /// Adds the host's file or folder `from` as `path`.
    pub fn add(&mut self, path: &str, from: &Path) {
        self.files.insert(path.into(), from.to_owned());
    }

    /// Adds an empty folder.
    pub fn folder(&mut self, path: &str) {
        self.folders.push(path.into());
    }

    /// Makes the CD bootable by the BIOS loader that is in the image at `path`.
    pub fn boot_by(&mut self, path: &str) {
        self.boot = Some(path.into());
    }

    /// Gives the file system this label instead of `WEFT`.
    pub fn label(&mut self, label: &'static str) {
        self.label = Some(label);
    }

    /// Writes the image, with Rock Ridge names and modes.
    ///
    /// # Errors
    /// If a file is missing or xorriso fails.
    pub fn write(&self, image: &Path) -> Result<()> {
        let empty = tempfile::tempdir().context("no temporary folder")?;
        let mut command = Command::new("xorriso");
        command
            .args(self.arguments(image, empty.path())?)
            .stdin(Stdio::null());
        let out = command.output().context("could not start xorriso")?;
        if !out.status.success() {
            bail!(
                "xorriso failed ({}):\n{}",
                out.status,
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(())
    }

    fn arguments(&self, image: &Path, empty: &Path) -> Result<Vec<String>> {
        let label = self.label.unwrap_or("WEFT");
        let mut words: Vec<String> = ["-as", "mkisofs", "-quiet", "-R", "-V", label]
            .map(String::from)
            .into();
        if let Some(boot) = &self.boot {
            words.extend(["-b", boot.trim_start_matches('/'), "-no-emul-boot"].map(String::from));
        }
        words.extend([
            "-o".into(),
            image.display().to_string(),
            "-graft-points".into(),
        ]);
        words.extend(self.folders.iter().map(|path| graft(path, empty)));
        for (path, from) in &self.files {
            if !from.exists() {
                bail!("{} for the guest's {path} is not there", from.display());
            }
            words.push(graft(path, from));
        }
        Ok(words)
    }
}

/// `PATH=SOURCE` with the characters escaped that mean something to mkisofs.
fn graft(path: &str, from: &Path) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=");
    format!("{}={}", escape(path), escape(&from.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_meaning_are_escaped() {
        assert_eq!(graft("/a=b", Path::new("/c\\d")), "/a\\=b=/c\\\\d");
    }

    #[test]
    fn a_missing_file_is_named() {
        let root = Root::with_agent(Path::new("/nonexistent/agent"));
        let error = root
            .arguments(Path::new("out.iso"), Path::new("/tmp"))
            .unwrap_err();
        assert!(error.to_string().contains("/nonexistent/agent"), "{error}");
    }
}
