// SPDX-License-Identifier: BSD-2-Clause
//! The page `docs/unsafe.md`.

use std::collections::BTreeMap;

use super::Counted;
use super::count::Count;

const INTRODUCTION: &str = "# Unsafe code

Where `unsafe` is written, what for, and how often. `cargo xtask unsafe` counts it and writes this page; `cargo xtask test` fails
if it is anywhere else, if a block, an implementation or a foreign function stands without `// SAFETY:`, a function or a trait without
`# Safety` (but for functions that C calls, whose header says when, and methods of a trait that says it), or if there is more or less of it than here. So whoever adds some shows it in this page. The rooms are in
`xtask/unsafe.toml`. Crates that are not named have none.

What is unsafe is tested by what it is for: models of each interleaving (loom), threads under ThreadSanitizer, sequences
against a model, property tests, and the debug kernel ([testing.md](testing.md)).

";

/// The whole page.
pub(super) fn text(counted: &Counted) -> String {
    let mut crates: BTreeMap<&str, Count> = BTreeMap::new();
    for (room, count) in counted {
        let total = crates.entry(crate_of(&room.path)).or_default();
        total.blocks += count.blocks;
        total.functions += count.functions;
        total.impls += count.impls;
        total.other += count.other;
    }
    let mut page = INTRODUCTION.to_owned();
    page += "| crate | blocks | functions | traits and implementations | attributes, foreign blocks |\n";
    page += "| --- | --- | --- | --- | --- |\n";
    for (name, count) in &crates {
        page += &format!("| `{name}` | {} |\n", cells(count));
    }
    page += "\n| room | for | blocks | functions | traits and implementations | attributes, foreign blocks |\n";
    page += "| --- | --- | --- | --- | --- | --- |\n";
    for (room, count) in counted {
        page += &format!("| `{}` | {} | {} |\n", room.path, room.holds, cells(count));
    }
    page
}

fn cells(count: &Count) -> String {
    [count.blocks, count.functions, count.impls, count.other]
        .map(|number| number.to_string())
        .join(" | ")
}

/// The crate's folder.
fn crate_of(path: &str) -> &str {
    match path.strip_prefix("tests-vm/agent") {
        Some(_) => "tests-vm/agent",
        None => path.split('/').next().unwrap_or(path),
    }
}
