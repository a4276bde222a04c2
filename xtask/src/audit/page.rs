// SPDX-License-Identifier: BSD-2-Clause
//! The page that is made of judgements and counts.

use std::fmt::Write;

use super::judgement::{Judgement, Verdict};
use super::uses::{Counted, PARTS};
use super::{Item, Kind};

const HEAD: &str = "\
# The interface to interfaces, audited

Every field of `struct ifnet`, every function that `net/if.h`, `net/if_var.h`, `net/if_clone.h` and `net/pfil.h` declare, every flag and
capability of `net/if.h`, each counter and each event: who uses it in FreeBSD's kernel, what is wrong with it, whether it should
be kept, changed or retired, and what weft does. Read from the sources of FreeBSD 15.1.

`cargo xtask audit` writes this page; do not edit it. The list is the headers', by clang, and `cargo xtask test` fails when the headers
have something that is not judged, or lack something that is. The judgements are in `xtask/audit/*.toml`. The counts, of `__FreeBSD_version` ";

const HOW: &str = ",
are made by `SYSDIR=... cargo xtask audit --count`: a name outside comments and strings, where a name of its kind can stand; `12/3` is 12 uses in
3 files. *stack* is `sys/net*`, *drivers* is `sys/dev` and the folders of processors, *rest* the others. A field is counted by its name, so a field
of that name in another structure counts as well (`if_type`, `if_index` and `if_init` have such), and one that only the macros of lists
name (`if_link`, `if_clones`) does not.

**keep**: does its work. **change**: is needed, otherwise than it is. **retire**: nothing would be lost, or what would be has a better home.
What the changes come to, in which order, is in the [roadmap](roadmap.md).
";

/// The whole page.
pub(super) fn text(judgements: &[Judgement], counted: &Counted) -> String {
    let mut text = format!("{HEAD}{}{HOW}", counted.osreldate);
    text += &summary(judgements);
    for (kind, title) in KINDS {
        let of_kind = || judgements.iter().filter(|j| j.kind == Some(kind));
        if of_kind().next().is_none() {
            continue;
        }
        let _ = write!(
            text,
            "\n## {title}\n\n| which, and who uses it | verdict | what is wrong with it | weft |\n\
             | --- | --- | --- | --- |\n"
        );
        for judgement in of_kind() {
            let _ = writeln!(text, "{}", row(judgement, counted));
        }
    }
    text
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Field, "Fields of struct ifnet"),
    (Kind::Function, "Functions"),
    (Kind::Flag, "Flags"),
    (Kind::Capability, "Capabilities"),
    (Kind::Counter, "Counters"),
    (Kind::Event, "Events"),
];

/// How many of each kind got which verdict.
fn summary(judgements: &[Judgement]) -> String {
    let mut text = "\n| | keep | change | retire |\n| --- | --- | --- | --- |\n".to_owned();
    for (kind, title) in KINDS {
        let count = |verdict| {
            let of = judgements
                .iter()
                .filter(|j| j.kind == Some(kind) && j.verdict == verdict);
            of.map(|judgement| judgement.names.len()).sum::<usize>()
        };
        let [keep, change, retire] = [Verdict::Keep, Verdict::Change, Verdict::Retire].map(count);
        let _ = writeln!(text, "| {title} | {keep} | {change} | {retire} |");
    }
    text
}

fn row(judgement: &Judgement, counted: &Counted) -> String {
    let names: Vec<String> = judgement
        .items()
        .map(|item| format!("`{}` {}", item.name, uses(&item, counted)))
        .collect();
    let verdict = match judgement.verdict {
        Verdict::Keep => "keep",
        Verdict::Change => "**change**",
        Verdict::Retire => "**retire**",
    };
    let cells = [&judgement.wrong, &judgement.r#use].map(|cell| cell.trim().replace('\n', " "));
    let [wrong, weft] = cells;
    format!("| {} | {verdict} | {wrong} | {weft} |", names.join("<br>"))
}

/// "stack 57/18, drivers 246/75".
fn uses(item: &Item, counted: &Counted) -> String {
    let Some(uses) = counted.of(item) else {
        return "not counted".into();
    };
    let parts = PARTS.iter().zip(uses.0).filter(|(_, (sum, _))| *sum > 0);
    let words: Vec<String> = parts
        .map(|(part, (sum, files))| format!("{part} {sum}/{files}"))
        .collect();
    if words.is_empty() {
        return "nobody".into();
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::judgement;
    use std::collections::BTreeMap;

    #[test]
    fn a_row_has_names_uses_and_words() {
        let judgements = judgement::parse(
            "[[field]]\nnames = [\"if_a\", \"if_b\"]\nverdict = \"change\"\nwrong = \"w\\nx\"\nuse = \"u\"\n",
        )
        .unwrap();
        let uses = BTreeMap::from([(
            "if_a".into(),
            super::super::uses::Uses([(3, 2), (0, 0), (1, 1)]),
        )]);
        let counted = Counted {
            osreldate: 1,
            uses: BTreeMap::from([(Kind::Field, uses)]),
        };
        let text = text(&judgements, &counted);
        let row = "| `if_a` stack 3/2, rest 1/1<br>`if_b` not counted | **change** | w x | u |";
        assert!(text.lines().any(|line| line == row), "{text}");
        assert!(text.contains("| Fields of struct ifnet | 0 | 2 | 0 |"));
    }
}
