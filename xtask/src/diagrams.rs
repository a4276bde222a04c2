// SPDX-License-Identifier: BSD-2-Clause
//! The diagrams in `docs/` name places in the code. Each must be there.

use std::path::Path;

use crate::workspace_root;

/// Where the places are.
const SOURCES: [&str; 3] = ["engine/src", "kmod/src", "drivers/src"];

/// All sources in one text.
fn sources(root: &Path) -> String {
    let files = SOURCES.map(|folder| walkdir::WalkDir::new(root.join(folder)));
    let files = files.into_iter().flatten().flatten();
    let is_rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let texts = files
        .filter(|entry| is_rust(entry.path()))
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap());
    texts.collect()
}

/// The names in a diagram that are those of the code: `QueueSet::submit_one`, or two of one
/// trait, `TxRing::put, kick`.
fn names(diagram: &str) -> Vec<&str> {
    let texts = diagram.split("<text class=\"weft\"").skip(1);
    texts
        .filter_map(|rest| rest.split_once('>')?.1.split_once('<'))
        .map(|(name, _)| name)
        .collect()
}

/// What declares the parts of a name.
fn declarations(name: &str) -> Vec<[String; 4]> {
    let (owner, functions) = name.split_once("::").unwrap_or((name, ""));
    let owner = [
        format!("struct {owner}"),
        format!("trait {owner}"),
        format!("mod {owner};"),
        format!("enum {owner}"),
    ];
    let functions = functions
        .split(", ")
        .filter(|function| !function.is_empty());
    let functions = functions.map(|function| {
        let declared = |end: &str| format!("fn {function}{end}");
        [declared("("), declared("<"), declared("<'"), declared("(&")]
    });
    std::iter::once(owner).chain(functions).collect()
}

#[test]
fn what_diagrams_name_is_in_the_code() {
    let root = workspace_root();
    let sources = sources(&root);
    for diagram in ["way-of-a-packet.svg", "way-of-a-route.svg"] {
        let text = std::fs::read_to_string(root.join("docs").join(diagram)).unwrap();
        let names = names(&text);
        assert!(names.len() > 4, "{diagram} names {names:?}");
        for name in names {
            for ways in declarations(name) {
                let is_there = ways.iter().any(|way| sources.contains(way));
                assert!(is_there, "{diagram}: {name}: no {}", ways[0]);
            }
        }
    }
}

#[test]
fn names_are_taken_apart() {
    let text =
        "<text class=\"weft\" x=\"1\">TxRing::put, kick</text><text class=\"note\">no</text>";
    assert_eq!(names(text), ["TxRing::put, kick"]);
    let declared: Vec<String> = declarations("TxRing::put, kick")
        .into_iter()
        .map(|ways| ways[0].clone())
        .collect();
    assert_eq!(declared, ["struct TxRing", "fn put(", "fn kick("]);
}
