// SPDX-License-Identifier: BSD-2-Clause
//! What the kernel's headers declare of interfaces: clang's syntax tree for functions,
//! fields, counters and events, its preprocessor for flags and capabilities.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Item, Kind};
use crate::build::{self, Build};
use crate::tools::output;

/// The headers of the audit, under the kernel's `sys`, and what of each.
const HEADERS: [(&str, &[Kind]); 5] = [
    (FLAGS, &[Kind::Function]),
    (
        "net/if_var.h",
        &[Kind::Function, Kind::Counter, Kind::Event],
    ),
    ("net/if_private.h", &[Kind::Field]),
    ("net/if_clone.h", &[Kind::Function, Kind::Event]),
    ("net/pfil.h", &[Kind::Function]),
];
/// The header of flags and capabilities, which are macros.
const FLAGS: &str = "net/if.h";

/// What includes them all.
const SOURCE: &str = "\
#include <sys/param.h>
#include <sys/systm.h>
#include <sys/kernel.h>
#include <sys/eventhandler.h>
#include <sys/malloc.h>
#include <sys/socket.h>
#include <net/if.h>
#include <net/if_var.h>
#include <net/if_private.h>
#include <net/if_clone.h>
#include <net/pfil.h>
";

/// A node of clang's syntax tree, as far as it is looked at.
#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    loc: Location,
    #[serde(default)]
    range: Range,
    #[serde(default)]
    inner: Vec<Node>,
}

#[derive(Default, Deserialize)]
struct Range {
    #[serde(default)]
    begin: Location,
    #[serde(default)]
    end: Location,
}

/// A place in the source. clang leaves out the file where it is the same as at the place
/// that it printed before.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    file: Option<String>,
    spelling_loc: Option<Box<Location>>,
    expansion_loc: Option<Box<Location>>,
}

/// The file in which clang's printing is.
#[derive(Default)]
struct Place(String);

impl Place {
    fn goes_by(&mut self, location: &Location) {
        let inner = [&location.spelling_loc, &location.expansion_loc];
        inner
            .into_iter()
            .flatten()
            .for_each(|one| self.goes_by(one));
        if let Some(file) = &location.file {
            self.0.clone_from(file);
        }
    }

    /// What of this file the audit has.
    fn kinds(&self) -> &'static [Kind] {
        HEADERS
            .iter()
            .find(|(header, _)| is_header(&self.0, header))
            .map_or(&[], |(_, kinds)| kinds)
    }
}

fn is_header(file: &str, header: &str) -> bool {
    Path::new(file).ends_with(header)
}

/// All that the headers of this build declare.
///
/// # Errors
/// What clang said; a tree or text that is not as clang's.
pub(super) fn items(build: &Build) -> Result<BTreeSet<Item>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("audit.c");
    std::fs::write(&source, SOURCE)?;
    let clang = |options: &[&str]| {
        output(
            Command::new(&build.tools.clang)
                .args(build::cflags(build))
                .args(options)
                .arg(&source),
        )
    };
    let tree = clang(&["-fsyntax-only", "-w", "-Xclang", "-ast-dump=json"])?;
    let mut items = of_tree(&tree)?;
    items.extend(of_macros(&clang(&["-E", "-dD"])?));
    Ok(items)
}

/// The items in clang's syntax tree.
fn of_tree(text: &str) -> Result<BTreeSet<Item>> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // A block of code in an inline function may be nested deeply.
    reader.disable_recursion_limit();
    let root = Node::deserialize(&mut reader).context("clang's syntax tree")?;
    let mut items = BTreeSet::new();
    visit(&root, "", &mut Place::default(), &mut items);
    Ok(items)
}

/// Goes through a tree in the order in which clang printed it.
fn visit(node: &Node, parent: &str, place: &mut Place, items: &mut BTreeSet<Item>) {
    place.goes_by(&node.loc);
    if let Some((kind, name)) = item(node, parent)
        && place.kinds().contains(&kind)
    {
        items.insert(Item::new(kind, name));
    }
    place.goes_by(&node.range.begin);
    place.goes_by(&node.range.end);
    for inner in &node.inner {
        visit(inner, &node.name, place, items);
    }
}

/// What a node declares, if it is of a kind that the audit has.
fn item<'a>(node: &'a Node, parent: &str) -> Option<(Kind, &'a str)> {
    match node.kind.as_str() {
        "FunctionDecl" => Some((Kind::Function, &node.name)),
        "FieldDecl" if parent == "ifnet" => Some((Kind::Field, &node.name)),
        "EnumConstantDecl" if node.name.starts_with("IFCOUNTER_") => {
            Some((Kind::Counter, &node.name))
        }
        "RecordDecl" => {
            let name = node.name.strip_prefix("eventhandler_entry_")?;
            Some((Kind::Event, name))
        }
        _ => None,
    }
}

/// The flags and capabilities in what the preprocessor printed with `-dD`. An index of a
/// capability's bit is left out, as the capability is there.
fn of_macros(text: &str) -> BTreeSet<Item> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(marker) = line.strip_prefix("# ") {
            let file = marker.split('"').nth(1).unwrap_or("");
            inside = is_header(file, FLAGS);
        } else if let Some(rest) = line.strip_prefix("#define ")
            && inside
        {
            let end = rest.find([' ', '(']).unwrap_or(rest.len());
            names.insert(&rest[..end]);
        }
    }
    let has_bit = |index: &str| {
        ["IFCAP_", "IFCAP2_"]
            .iter()
            .any(|start| names.contains(format!("{start}{index}").as_str()))
    };
    let is_bit_index = |name: &&str| name.strip_prefix("IFCAP_B_").is_some_and(has_bit);
    names
        .iter()
        .filter(|name| !is_bit_index(name))
        .filter_map(|name| {
            let kind = match name.split_once('_')?.0 {
                "IFF" => Kind::Flag,
                "IFCAP" | "IFCAP2" => Kind::Capability,
                _ => return None,
            };
            Some(Item::new(kind, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_followed_where_clang_leaves_them_out() {
        let tree = r#"{"kind": "TranslationUnitDecl", "inner": [
            {"kind": "FunctionDecl", "name": "elsewhere", "loc": {"file": "/s/sys/param.h"}},
            {"kind": "FunctionDecl", "name": "if_alloc", "loc": {"file": "/s/net/if_var.h"},
             "inner": [{"kind": "ParmVarDecl", "loc": {"line": 3}}]},
            {"kind": "FunctionDecl", "name": "if_free", "loc": {"line": 5}},
            {"kind": "RecordDecl", "name": "eventhandler_entry_ifnet_event", "loc": {
             "spellingLoc": {"file": "/s/sys/eventhandler.h"},
             "expansionLoc": {"file": "/s/net/if_var.h"}}},
            {"kind": "RecordDecl", "name": "ifnet", "loc": {"file": "/s/net/if_private.h"},
             "inner": [{"kind": "FieldDecl", "name": "if_link", "loc": {"line": 9}}]},
            {"kind": "FunctionDecl", "name": "not_a_field", "loc": {"line": 20}}]}"#;
        let wanted = [
            Item::new(Kind::Field, "if_link"),
            Item::new(Kind::Function, "if_alloc"),
            Item::new(Kind::Function, "if_free"),
            Item::new(Kind::Event, "ifnet_event"),
        ];
        assert_eq!(of_tree(tree).unwrap(), BTreeSet::from(wanted));
    }

    #[test]
    fn macros_of_one_header_without_indexes_of_bits() {
        let text = "# 1 \"/s/net/other.h\" 1\n#define IFF_OTHER 1\n# 1 \"/s/net/if.h\" 1\n\
                    #define IFF_UP 0x1\n#define IFCAP_B_LRO 10\n#define IFCAP_LRO IFCAP_BIT(10)\n\
                    #define IFCAP_B_MAX (x)\n#define IFCAP_BIT(x) (1 << (x))\n#define IFNAMSIZ 16\n";
        let wanted = [
            Item::new(Kind::Flag, "IFF_UP"),
            Item::new(Kind::Capability, "IFCAP_B_MAX"),
            Item::new(Kind::Capability, "IFCAP_BIT"),
            Item::new(Kind::Capability, "IFCAP_LRO"),
        ];
        assert_eq!(of_macros(text), BTreeSet::from(wanted));
    }
}
