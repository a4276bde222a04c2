// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask manual`: the manual pages as mandoc(1) sees them. It must have nothing to
//! say about them, and must be able to show each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::tools::output;

/// What mandoc says of a page that this machine does not have.
const ELSEWHERE: &str = "referenced manual not found";
/// Pages are FreeBSD's wherever they are looked at.
const SYSTEM: &str = "-Ios=FreeBSD";
/// Names of pages that can only be the project's.
const OURS: &str = "weft";

/// Checks all pages, and returns how many there are.
///
/// # Errors
/// Each line that mandoc has to say, each of the project's own pages that is referred to and
/// not there, and each page that can't be shown.
pub(crate) fn check(root: &Path, mandoc: &Path) -> Result<usize> {
    let pages = pages(&root.join("man"))?;
    let names: BTreeSet<String> = pages.iter().filter_map(|page| title(page)).collect();
    let mut complaints = Vec::new();
    for page in &pages {
        complaints.extend(lint(mandoc, page)?);
        let text = std::fs::read_to_string(page)?;
        for name in missing(&text, &names) {
            complaints.push(format!("{}: refers to {name}: not there", page.display()));
        }
        let shown = output(Command::new(mandoc).args([SYSTEM, "-Tascii"]).arg(page))?;
        let shown = without_overstrikes(&shown);
        let words = [".Nm", "NAME", "DESCRIPTION"].map(|word| shown.contains(word));
        if words != [false, true, true] {
            complaints.push(format!("{}: is not shown as a manual page", page.display()));
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(pages.len())
}

/// Text as a terminal shows it: bold letters are struck twice, underlined ones over a line.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '\u{8}' => drop(plain.pop()),
            letter => plain.push(letter),
        }
    }
    plain
}

fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut pages: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    pages.sort();
    ensure!(!pages.is_empty(), "{}: no pages", folder.display());
    Ok(pages)
}

/// `weft 4` of `man/weft.4`, as `.Xr` has it.
fn title(page: &Path) -> Option<String> {
    let name = page.file_name()?.to_str()?;
    let (name, section) = name.rsplit_once('.')?;
    Some(format!("{name} {section}"))
}

/// What mandoc says about a page. It ends with another status than 0 if that is serious.
fn lint(mandoc: &Path, page: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(mandoc);
    command.args([SYSTEM, "-Tlint"]).arg(page);
    let out = command.output().context("could not start mandoc")?;
    let said = String::from_utf8_lossy(&out.stdout);
    let lines = said.lines().filter(|line| !line.contains(ELSEWHERE));
    Ok(lines.map(String::from).collect())
}

/// The project's pages that a page refers to and that are not among `names`.
fn missing(text: &str, names: &BTreeSet<String>) -> Vec<String> {
    let is_known = |name: &str| {
        names
            .iter()
            .any(|page| page.starts_with(&format!("{name} ")))
    };
    let references = text.lines().filter_map(|line| line.strip_prefix(".Xr "));
    references
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, section) = (words.next()?, words.next()?);
            let page = format!("{name} {section}");
            let is_ours = name.starts_with(OURS) || is_known(name);
            (is_ours && !names.contains(&page)).then_some(page)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_pages_that_are_not_there_are_found() {
        let names = ["weft 4", "wip 4"].map(String::from).into();
        let text = ".Xr weft 4 ,\n.Xr weft_none 9\n.Xr wip 8\n.Xr ifconfig 8\n.Xr weft 4\n";
        assert_eq!(missing(text, &names), ["weft_none 9", "wip 8"]);
    }

    #[test]
    fn bold_letters_are_letters() {
        assert_eq!(without_overstrikes("N\u{8}NA\u{8}A _\u{8}n"), "NA n");
    }

    #[test]
    fn pages_have_titles() {
        let page = Path::new("man/weft_nic.9");
        assert_eq!(title(page).as_deref(), Some("weft_nic 9"));
    }
}
