// SPDX-License-Identifier: BSD-2-Clause
//! What is held of each thing: files in TOML, a table of judgements a kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Item, Kind};

/// What should become of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It does what it should.
    Keep,
    /// It should do so otherwise.
    Change,
    /// Its time is over.
    Retire,
}

/// A judgement, of one thing or of several that share it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Judgement {
    /// Filled in from the table that it is in.
    #[serde(skip)]
    pub(super) kind: Option<Kind>,
    /// Of what.
    pub(super) names: Vec<String>,
    /// What should become of it.
    pub(super) verdict: Verdict,
    /// What is wrong with it; nothing if there is nothing.
    #[serde(default)]
    pub(super) wrong: String,
    /// What this module does with it, or in its stead.
    pub(super) r#use: String,
}

impl Judgement {
    /// The things that it is of.
    pub(super) fn items(&self) -> impl Iterator<Item = Item> {
        let kind = self.kind.into_iter();
        kind.flat_map(|kind| self.names.iter().map(move |name| Item::new(kind, name)))
    }
}

/// Reads all files of judgements, by name.
///
/// # Errors
/// A file that can't be read, or that says what it may not.
pub(super) fn all(root: &Path) -> Result<Vec<Judgement>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(root.join("xtask/audit"))? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|x| x == "toml"));
    paths.sort();
    let mut judgements = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)?;
        judgements.extend(parse(&text).with_context(|| path.display().to_string())?);
    }
    let mut seen = BTreeSet::new();
    for item in judgements.iter().flat_map(Judgement::items) {
        if let Some(twice) = seen.replace(item) {
            bail!("{:?} {} is judged twice", twice.kind, twice.name);
        }
    }
    Ok(judgements)
}

/// Reads the judgements of one file.
///
/// # Errors
/// As [`all`].
pub(super) fn parse(text: &str) -> Result<Vec<Judgement>> {
    let tables: BTreeMap<Kind, Vec<Judgement>> = toml::from_str(text)?;
    let mut judgements = Vec::new();
    for (kind, of_kind) in tables {
        for mut judgement in of_kind {
            judgement.kind = Some(kind);
            if judgement.verdict != Verdict::Keep && judgement.wrong.is_empty() {
                bail!("{:?}: no word of what is wrong", judgement.names);
            }
            judgements.push(judgement);
        }
    }
    Ok(judgements)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn who_is_to_go_is_told_why() {
        let text = "[[flag]]\nnames = [\"IFF_UP\"]\nuse = \"none\"\nverdict = ";
        assert!(parse(&format!("{text}\"keep\"")).is_ok());
        let error = parse(&format!("{text}\"retire\"")).unwrap_err();
        assert!(error.to_string().contains("IFF_UP"), "{error}");
        assert!(parse(&format!("{text}\"perhaps\"")).is_err());
    }
}
