// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask audit`: writes `docs/interface-audit.md`, what the kernel offers of
//! interfaces, who uses it, and what this project holds of it. The list comes from the
//! headers, the counts from the kernel's sources, the judgements from `xtask/audit/*.toml`.

mod declared;
mod judgement;
mod page;
mod uses;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::build::Build;
use judgement::Judgement;
use uses::Counted;

/// Command line.
#[derive(clap::Args, Debug)]
pub(crate) struct AuditArgs {
    /// Count uses anew in the kernel's sources, which SYSDIR names
    #[arg(long)]
    count: bool,
    /// Write nothing; fail if headers, judgements and page do not agree
    #[arg(long)]
    check: bool,
}

/// What a header declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// A field of `struct ifnet`.
    Field,
    /// A function.
    Function,
    /// A bit of `if_flags` or `if_drv_flags`.
    Flag,
    /// A bit of `if_capabilities` and its kin.
    Capability,
    /// A counter of an interface.
    Counter,
    /// An event that handlers can be registered for.
    Event,
}

/// One thing that a header declares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Item {
    kind: Kind,
    name: String,
}

impl Item {
    fn new(kind: Kind, name: &str) -> Self {
        let name = name.to_owned();
        Self { kind, name }
    }
}

/// Does what the command line says.
///
/// # Errors
/// What does not agree; files that can't be read or written.
pub(crate) fn run(build: &Build, arguments: &AuditArgs) -> Result<()> {
    if arguments.check {
        return check(build);
    }
    let items = declared::items(build)?;
    if arguments.count {
        count(build, &items)?;
    }
    let judgements = judgement::all(&build.root)?;
    agree(&items, &judgements)?;
    let page = page::text(&judgements, &counted(&build.root)?);
    std::fs::write(page_path(&build.root), page).context("cannot write the page")?;
    println!("{} things judged", items.len());
    Ok(())
}

/// Whether headers, judgements and page agree.
///
/// # Errors
/// What does not.
pub(crate) fn check(build: &Build) -> Result<()> {
    agree(&declared::items(build)?, &judgement::all(&build.root)?)?;
    page_is_current(&build.root)
}

/// Whether the page is the one that judgements and counts make.
fn page_is_current(root: &Path) -> Result<()> {
    let path = page_path(root);
    let page = page::text(&judgement::all(root)?, &counted(root)?);
    if std::fs::read_to_string(&path)? != page {
        bail!("{} is not what `cargo xtask audit` writes", path.display());
    }
    Ok(())
}

/// Whether each thing has one judgement, and each judgement its things.
fn agree(items: &BTreeSet<Item>, judgements: &[Judgement]) -> Result<()> {
    let judged: BTreeSet<Item> = judgements.iter().flat_map(Judgement::items).collect();
    let words = |items: Vec<&Item>| {
        let words = items
            .iter()
            .map(|item| format!("{:?} {}", item.kind, item.name));
        words.collect::<Vec<_>>().join(", ")
    };
    let unjudged: Vec<&Item> = items.difference(&judged).collect();
    let gone: Vec<&Item> = judged.difference(items).collect();
    if !unjudged.is_empty() {
        bail!(
            "declared in the headers, not judged in xtask/audit: {}",
            words(unjudged)
        );
    }
    if !gone.is_empty() {
        bail!(
            "judged in xtask/audit, not declared in the headers: {}",
            words(gone)
        );
    }
    Ok(())
}

fn count(build: &Build, items: &BTreeSet<Item>) -> Result<()> {
    let sysdir = std::env::var_os("SYSDIR")
        .map(PathBuf::from)
        .context("SYSDIR is not set: uses are counted in a kernel source tree")?;
    let counted = Counted::in_tree(&sysdir, build.headers.osreldate, items)?;
    let text = serde_json::to_string(&counted)?
        .replace("]],", "]],\n")
        .replace("},", "},\n");
    std::fs::write(counts_path(&build.root), text + "\n").context("cannot write the counts")
}

fn counted(root: &Path) -> Result<Counted> {
    let text = std::fs::read_to_string(counts_path(root))?;
    serde_json::from_str(&text).context("xtask/audit/uses.json")
}

fn counts_path(root: &Path) -> PathBuf {
    root.join("xtask/audit/uses.json")
}

fn page_path(root: &Path) -> PathBuf {
    root.join("docs/interface-audit.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_judgements_and_counts_make() {
        page_is_current(&crate::workspace_root()).unwrap();
    }

    #[test]
    fn what_is_not_judged_or_not_there_is_named() {
        let judgements = judgement::parse(
            "[[field]]\nnames = [\"if_link\", \"if_gone\"]\nverdict = \"keep\"\nuse = \"a\"\n",
        )
        .unwrap();
        let items = |names: &[&str]| {
            let items = names.iter().map(|name| Item::new(Kind::Field, name));
            items.collect::<BTreeSet<_>>()
        };
        agree(&items(&["if_link", "if_gone"]), &judgements).unwrap();
        let new = agree(&items(&["if_link", "if_gone", "if_new"]), &judgements);
        assert!(new.unwrap_err().to_string().contains("if_new"));
        let gone = agree(&items(&["if_link"]), &judgements);
        assert!(gone.unwrap_err().to_string().contains("if_gone"));
    }
}
