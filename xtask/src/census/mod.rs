// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask unsafe`: counts `unsafe` in all of the project's Rust, holds each against
//! the rooms that `xtask/unsafe.toml` names and against the comment that must tell why it
//! is sound, and writes the count to `docs/unsafe.md`.

mod count;
mod page;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use walkdir::WalkDir;

use count::{Count, Use};

/// Command line.
#[derive(clap::Args, Debug)]
pub(crate) struct CensusArgs {
    /// Write nothing; fail if the page is not what is counted
    #[arg(long)]
    check: bool,
}

/// A file or folder in which `unsafe` may be written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Room {
    /// From the workspace's root, with slashes.
    path: String,
    /// What needs it there.
    holds: String,
    /// Whether it needs no comments, as what it has is never run.
    #[serde(default)]
    unexplained: bool,
}

impl Room {
    /// Whether a file is in it. Whole names count: `engine/src/fib` is not in front of
    /// `engine/src/fibs.rs`.
    fn has(&self, file: &str) -> bool {
        let rest = file.strip_prefix(self.path.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// `xtask/unsafe.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rooms {
    room: Vec<Room>,
}

/// What is in each room, in the order of the list.
type Counted = Vec<(Room, Count)>;

/// Does what the command line says.
///
/// # Errors
/// Each `unsafe` outside the rooms or without its comment; a page that is not true.
pub(crate) fn run(root: &Path, arguments: &CensusArgs) -> Result<()> {
    if arguments.check {
        return check(root);
    }
    let counted = counted(root)?;
    std::fs::write(page_path(root), page::text(&counted)).context("cannot write the page")?;
    let all: usize = counted.iter().map(|(_, count)| count.all()).sum();
    println!(
        "{all} uses of unsafe in {} rooms, none elsewhere",
        counted.len()
    );
    Ok(())
}

/// Whether `unsafe` is only where it may be, each with its comment, and as often as the page says.
///
/// # Errors
/// What is not so.
pub(crate) fn check(root: &Path) -> Result<()> {
    let path = page_path(root);
    let is_current = std::fs::read_to_string(&path)? == page::text(&counted(root)?);
    if !is_current {
        bail!(
            "{} is not what is counted: look at what was added, then `cargo xtask unsafe`",
            path.display()
        );
    }
    Ok(())
}

/// Counts all files of the workspace.
fn counted(root: &Path) -> Result<Counted> {
    let text = std::fs::read_to_string(root.join("xtask/unsafe.toml"))?;
    let rooms: Rooms = toml::from_str(&text).context("xtask/unsafe.toml")?;
    divided(rooms.room, &uses(root)?)
}

/// Every use, by file.
fn uses(root: &Path) -> Result<BTreeMap<String, Vec<Use>>> {
    let mut found = BTreeMap::new();
    // Folders of tools and what was built are not the project's.
    let is_ours = |name: &str| !name.starts_with('.') && name != "target";
    let entries = WalkDir::new(root).into_iter();
    for entry in entries
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name().to_str().is_some_and(is_ours))
    {
        let path = entry?.into_path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let uses = count::uses(&text).with_context(|| path.display().to_string())?;
        if !uses.is_empty() {
            let name = path.strip_prefix(root)?.display().to_string();
            found.insert(name.replace('\\', "/"), uses);
        }
    }
    Ok(found)
}

/// Puts uses into their rooms.
fn divided(rooms: Vec<Room>, uses: &BTreeMap<String, Vec<Use>>) -> Result<Counted> {
    let mut counted: Counted = rooms
        .into_iter()
        .map(|room| (room, Count::default()))
        .collect();
    let mut wrong = Vec::new();
    for (file, uses) in uses {
        let Some((room, count)) = counted.iter_mut().find(|(room, _)| room.has(file)) else {
            let name = |one: &Use| format!("{file}:{}: {} outside the rooms", one.line, one.kind);
            wrong.extend(uses.iter().map(name));
            continue;
        };
        for one in uses {
            count.add(one.kind);
            if !one.is_explained && !room.unexplained {
                let (line, kind) = (one.line, one.kind);
                wrong.push(format!("{file}:{line}: {kind} without {}", kind.needs()));
            }
        }
    }
    wrong.extend(
        counted
            .iter()
            .filter(|(_, count)| count.all() == 0)
            .map(|(room, _)| format!("nothing is unsafe in {}", room.path)),
    );
    if !wrong.is_empty() {
        bail!("by xtask/unsafe.toml:\n{}", wrong.join("\n"));
    }
    Ok(counted)
}

fn page_path(root: &Path) -> std::path::PathBuf {
    root.join("docs/unsafe.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(path: &str) -> Room {
        Room {
            path: path.to_owned(),
            holds: String::new(),
            unexplained: false,
        }
    }

    fn one_use(file: &str, text: &str) -> BTreeMap<String, Vec<Use>> {
        BTreeMap::from([(file.to_owned(), count::uses(text).unwrap())])
    }

    #[test]
    fn the_workspace_keeps_to_its_rooms() {
        counted(&crate::workspace_root()).unwrap();
    }

    #[test]
    fn what_is_outside_is_named_with_its_line() {
        let uses = one_use(
            "a/fibs.rs",
            "\n// SAFETY: none.\nunsafe impl Send for A {}\n",
        );
        let error = divided(vec![room("a/fib")], &uses).unwrap_err().to_string();
        assert!(
            error.contains("a/fibs.rs:3: unsafe impl outside"),
            "{error}"
        );
        assert!(error.contains("nothing is unsafe in a/fib"), "{error}");
        assert!(divided(vec![room("a")], &uses).is_ok());
    }

    #[test]
    fn what_is_not_explained_is_named_though_it_is_inside() {
        let uses = one_use("a/b.rs", "fn f() {\n    unsafe { g() };\n}\n");
        let error = divided(vec![room("a/b.rs")], &uses).unwrap_err();
        assert!(error.to_string().contains("a/b.rs:2: unsafe block without"));
    }
}
