// SPDX-License-Identifier: BSD-2-Clause
//! The checked-in lists of C symbols, `kmod/kernel-symbols.txt` and
//! `kmod/exports.txt`: one name a line, `#` begins a comment.

use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names in one file, and the lines each stands on, from 1.
pub(super) struct NameList {
    pub(super) path: PathBuf,
    pub(super) lines: BTreeMap<String, Vec<usize>>,
}

impl NameList {
    /// Reads the list at `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line holds more than one word.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(path, &text)
    }

    /// Reads `text`, the contents of the file `path`.
    ///
    /// # Errors
    ///
    /// When a line holds more than one word.
    pub(super) fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let mut lines: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.contains(char::is_whitespace) {
                bail!(
                    "{}:{}: `{entry}`; allowed: one symbol a line",
                    path.display(),
                    index + 1
                );
            }
            if !entry.is_empty() {
                lines.entry(entry.to_owned()).or_default().push(index + 1);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            lines,
        })
    }

    /// Adds another list's entries.
    pub(super) fn add(&mut self, other: Self) {
        for (name, lines) in other.lines {
            self.lines.entry(name).or_default().extend(lines);
        }
    }
}
