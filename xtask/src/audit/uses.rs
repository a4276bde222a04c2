// SPDX-License-Identifier: BSD-2-Clause
//! Who uses what the headers declare: a count of names in the kernel's sources, without
//! comments and strings, in the places where a name of that kind can mean it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Item, Kind};

/// Parts of the tree that are told apart.
pub(super) const PARTS: [&str; 3] = ["stack", "drivers", "rest"];

/// Uses, and files with uses, of a thing in each of [`PARTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Uses(pub(super) [(usize, usize); PARTS.len()]);

/// What was counted in which release.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counted {
    /// `__FreeBSD_version` of the sources.
    pub(super) osreldate: u32,
    /// By kind and name.
    pub(super) uses: BTreeMap<Kind, BTreeMap<String, Uses>>,
}

impl Counted {
    /// Counts in the kernel's sources, the folder that has `sys/param.h`.
    ///
    /// # Errors
    /// A file that can't be read.
    pub(super) fn in_tree(sysdir: &Path, osreldate: u32, items: &BTreeSet<Item>) -> Result<Self> {
        let kinds: HashMap<&str, Vec<Kind>> = by_name(items);
        let mut uses: BTreeMap<Kind, BTreeMap<String, Uses>> = BTreeMap::new();
        for item in items {
            let of_kind = uses.entry(item.kind).or_default();
            of_kind.insert(item.name.clone(), Uses::default());
        }
        for entry in walkdir::WalkDir::new(sysdir).sort_by_file_name() {
            let entry = entry?;
            let path = entry.path().strip_prefix(sysdir)?.to_owned();
            if !entry.file_type().is_file() || !is_source(&path) {
                continue;
            }
            let text = std::fs::read(entry.path())
                .with_context(|| format!("cannot read {}", path.display()))?;
            let part = part(&path);
            for (item, count) in in_file(&String::from_utf8_lossy(&text), &kinds) {
                let of_kind = uses.entry(item.kind).or_default();
                let (sum, files) = &mut of_kind.entry(item.name).or_default().0[part];
                *sum += count;
                *files += 1;
            }
        }
        Ok(Self { osreldate, uses })
    }

    /// The uses of a thing, if it was there to be counted.
    pub(super) fn of(&self, item: &Item) -> Option<Uses> {
        self.uses.get(&item.kind)?.get(&item.name).copied()
    }
}

fn by_name(items: &BTreeSet<Item>) -> HashMap<&str, Vec<Kind>> {
    let mut kinds: HashMap<&str, Vec<Kind>> = HashMap::new();
    for item in items {
        kinds.entry(&item.name).or_default().push(item.kind);
    }
    kinds
}

/// Sources and headers, but those in which the things are declared.
fn is_source(path: &Path) -> bool {
    let declares = ["net/if.h", "net/if_var.h", "net/if_private.h"]
        .iter()
        .chain(&["net/if_clone.h", "net/pfil.h"]);
    let is_c = path
        .extension()
        .is_some_and(|x| ["c", "h", "m"].iter().any(|c| x == *c));
    is_c && !declares.into_iter().any(|header| path == Path::new(header))
}

/// Which of [`PARTS`] a file is in: network code, drivers with the code of boards, the rest.
fn part(path: &Path) -> usize {
    let first = path.iter().next().and_then(|x| x.to_str()).unwrap_or("");
    match first {
        "dev" | "arm" | "arm64" | "powerpc" | "riscv" | "amd64" | "i386" | "x86" => 1,
        _ if first.starts_with("net") => 0,
        _ => 2,
    }
}

/// The uses in one file.
fn in_file(text: &str, kinds: &HashMap<&str, Vec<Kind>>) -> HashMap<Item, usize> {
    let text = code(text);
    let mut counts = HashMap::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut from = 0;
    while let Some(start) = text[from..].find(is_word).map(|at| from + at) {
        let rest = &text[start..];
        let end = start + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        from = end;
        let name = &text[start..end];
        let Some(kinds) = kinds.get(name) else {
            continue;
        };
        let (before, after) = (&text[..start], &text[end..]);
        for &kind in kinds.iter().filter(|kind| may_be(**kind, before, after)) {
            *counts.entry(Item::new(kind, name)).or_default() += 1;
        }
    }
    counts
}

/// Whether a name between these can be of that kind.
fn may_be(kind: Kind, before: &str, after: &str) -> bool {
    let line_starts = before.is_empty() || before.ends_with('\n');
    let before = before.trim_end();
    let is_member = before.ends_with("->") || before.ends_with('.');
    match kind {
        Kind::Field => is_member,
        // By style(9) a name at the start of a line is defined there.
        Kind::Function => !is_member && !line_starts && after.trim_start().starts_with('('),
        Kind::Flag | Kind::Capability | Kind::Counter => true,
        Kind::Event => before.ends_with('('),
    }
}

/// The text without what stands in comments and in strings.
fn code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (plain, special) = rest.split_at(at);
        kept.push_str(plain);
        let (blank, next) = skipped(special);
        kept.push_str(blank);
        rest = next;
    }
    kept + rest
}

/// What stands for a comment or a string that text begins with, and what comes after it.
fn skipped(text: &str) -> (&'static str, &str) {
    let after = |end: Option<usize>, length| end.map_or("", |at| &text[at + length..]);
    if text.starts_with("/*") {
        (" ", after(text.find("*/"), 2))
    } else if text.starts_with("//") {
        ("\n", after(text.find('\n'), 1))
    } else if let Some(rest) = text.strip_prefix('/') {
        ("/", rest)
    } else {
        (" ", &text[literal(text)..])
    }
}

/// The length of a literal, which ends at its line's end at the latest.
fn literal(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'\n' => return at,
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_counted_where_it_can_mean_the_thing() {
        let items = BTreeSet::from([
            Item::new(Kind::Field, "if_init"),
            Item::new(Kind::Function, "if_init"),
            Item::new(Kind::Flag, "IFF_UP"),
            Item::new(Kind::Event, "ifnet_event"),
        ]);
        let text = "int\nif_init(if_t ifp)\n{\n\tif_init(a); /* if_init(b) */\n\tifp->if_init(c);\n\
                    \tlog(\"if_init(d) \\\" IFF_UP\"); // IFF_UP\n\tx = '\"' + IFF_UP | IFF_UPPER;\n\
                    \tEVENTHANDLER_INVOKE(ifnet_event, ifp); ifnet_event++;\n}\n";
        let counts = in_file(text, &by_name(&items));
        let wanted = items.into_iter().map(|item| (item, 1)).collect();
        assert_eq!(counts, wanted);
    }

    #[test]
    fn drivers_are_in_dev_and_in_the_code_of_boards() {
        let of = |path| PARTS[part(Path::new(path))];
        assert_eq!(of("netinet6/nd6.c"), "stack");
        assert_eq!(of("arm/ti/cpsw/if_cpsw.c"), "drivers");
        assert_eq!(of("compat/linux/linux.c"), "rest");
    }
}
