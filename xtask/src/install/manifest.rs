// SPDX-License-Identifier: BSD-2-Clause
//! The list of what was installed: a line a file, and a line for each folder that was not
//! there before. Paths are those in the installed system.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Places, is_plain};

const FILE: &str = "file ";
const FOLDER: &str = "folder ";

/// See the top of this file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Manifest {
    /// The list that lies there, if one does.
    pub(super) fn read(places: &Places) -> Result<Option<Self>> {
        let path = places.real(&places.manifest());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        };
        Self::parse(&text)
            .with_context(|| format!("{}: not what this program wrote", path.display()))
            .map(Some)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut manifest = Self::default();
        for line in text.lines() {
            let (set, path) = match (line.strip_prefix(FILE), line.strip_prefix(FOLDER)) {
                (Some(path), _) => (&mut manifest.files, path),
                (_, Some(path)) => (&mut manifest.folders, path),
                _ => bail!("the line {line:?}"),
            };
            if !is_plain(path) {
                bail!("the path {path:?}");
            }
            set.insert(path.to_owned());
        }
        Ok(manifest)
    }

    /// Writes the list, before what is in it.
    pub(super) fn write(&self, places: &Places) -> Result<()> {
        let path = places.real(&places.manifest());
        let files = self.files.iter().map(|path| format!("{FILE}{path}\n"));
        let folders = self.folders.iter().map(|path| format!("{FOLDER}{path}\n"));
        let text: String = files.chain(folders).collect();
        let attempt = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, text)
        };
        attempt().with_context(|| format!("writing {}", path.display()))
    }

    /// Adds a file, and the folders above it that are not there yet.
    pub(super) fn add(&mut self, path: &str, places: &Places) {
        self.files.insert(path.to_owned());
        let above = Path::new(path).ancestors().skip(1);
        for folder in above.filter_map(Path::to_str) {
            if folder == "/" || places.real(folder).exists() {
                break;
            }
            self.folders.insert(folder.to_owned());
        }
    }

    /// Adds the folders that were made for an earlier installation.
    pub(super) fn inherit(&mut self, earlier: &Self) {
        self.folders.extend(earlier.folders.iter().cloned());
    }

    pub(super) fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    /// Removes what the list names, and the list last. Folders in which something else is stay.
    pub(super) fn remove(&self, places: &Places) -> Result<()> {
        let list = places.manifest();
        for path in self.files.iter().filter(|path| **path != list) {
            remove_file(&places.real(path))?;
        }
        remove_file(&places.real(&list))?;
        // What is in a folder sorts behind it.
        for folder in self.folders.iter().rev() {
            let path = places.real(folder);
            match std::fs::remove_dir(&path) {
                Err(e) if !is_harmless(e.kind()) => {
                    return Err(e).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why a folder may stay, or be gone already.
fn is_harmless(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty)
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
