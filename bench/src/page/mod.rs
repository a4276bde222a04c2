// SPDX-License-Identifier: BSD-2-Clause
//! The report on all benchmarks: one page that needs nothing else, and the records beside it.
//!
//! What is on it comes from the records that the benchmarks left in a folder, and from
//! `run.json`, which says of each benchmark when and of what they were made.

mod draw;
mod html;
mod sections;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::record::{self, Record};

/// How records came to be, as `cargo xtask bench` and its like leave it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// Of each benchmark, by the name of its records' file without its ending.
    pub runs: BTreeMap<String, Run>,
    /// What did not run, and why.
    pub left_out: Vec<String>,
}

/// How the records of one benchmark came to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The revision that was measured, and whether there were changes to it.
    pub commit: String,
    /// When it began, in UTC.
    pub when: String,
    /// Whether the benchmark ran in its quick form.
    pub quick: bool,
    /// The host's system.
    pub system: String,
    /// What it was busy with: the load of the last minute, before and after.
    pub loads: Vec<String>,
    /// When the records' file was written, in nanoseconds of 1970. If it was written again, this
    /// is not about it.
    pub written: u64,
}

/// The records of one benchmark.
struct Bench {
    /// The file's name without its ending.
    name: String,
    records: Vec<Record>,
    /// How they came to be, if that was noted.
    run: Option<Run>,
}

/// Makes the page of the records in a folder, and copies these beside it. Returns the page's
/// path.
///
/// # Errors
/// If there is nothing to tell; if a file cannot be read or written.
pub fn write(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let runs: Runs = match fs::read_to_string(from.join(format!("{RUN}.json"))) {
        Ok(text) => serde_json::from_str(&text).context(RUN)?,
        Err(_) => Runs::default(),
    };
    let benches = read(from, &runs)?;
    ensure!(!benches.is_empty(), "no records in {}", from.display());
    let data = to.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    for bench in &benches {
        let name = format!("{}.json", bench.name);
        fs::copy(from.join(&name), data.join(&name))?;
    }
    let page = to.join("index.html");
    fs::write(&page, html::page(&runs, &benches)?)
        .with_context(|| format!("cannot write {}", page.display()))?;
    Ok(page)
}

/// How the records came to be is in this file beside them.
const RUN: &str = "run";

/// The benchmarks of which there are records, in the order of the page.
fn read(folder: &Path, runs: &Runs) -> anyhow::Result<Vec<Bench>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()));
    let mut benches = Vec::new();
    for entry in entries? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|x| x == "json") && name != RUN {
            let records = record::read(&path)?;
            let written = path.metadata()?.modified()?.duration_since(UNIX_EPOCH)?;
            let run = runs.runs.get(&*name);
            let run = run.filter(|run| u128::from(run.written) == written.as_nanos());
            benches.extend((!records.is_empty()).then(|| Bench {
                name: name.into_owned(),
                records,
                run: run.cloned(),
            }));
        }
    }
    let place = |name: &str| sections::NAMES.iter().position(|known| *known == name);
    benches.sort_by_key(|bench| {
        let known = place(&bench.name).unwrap_or(sections::NAMES.len());
        (known, bench.name.clone())
    });
    Ok(benches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{At, Rounds, tests::sample};

    fn records() -> Vec<Record> {
        let at = |batch, producers| At {
            experiment: "throughput".into(),
            batch: Some(batch),
            producers: Some(producers),
            ..At::default()
        };
        [(1, 1), (32, 1), (1, 2), (32, 2)]
            .map(|(batch, producers)| {
                sample("<b>peer</b>", at(batch, producers), &Rounds::one(1.0, 3.0))
            })
            .into()
    }

    #[test]
    fn the_page_needs_nothing_else_and_has_all_that_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let queue = from.join("queue.json");
        record::write(&queue, &records()).unwrap();
        record::write(&from.join("wire.json"), &records()).unwrap();
        let written = fs::metadata(&queue).unwrap().modified().unwrap();
        let written = written.duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let mut run = Run {
            commit: "0123abc".into(),
            quick: true,
            written: written.try_into().unwrap(),
            ..Run::default()
        };
        let mut runs = Runs::default();
        runs.runs.insert("queue".into(), run.clone());
        // Its records are not those that are there now.
        run.commit = "4567def".into();
        run.written -= 1;
        runs.runs.insert("wire".into(), run);
        fs::write(from.join("run.json"), serde_json::to_string(&runs).unwrap()).unwrap();
        let page = fs::read_to_string(write(&from, &to).unwrap()).unwrap();
        assert!(!page.contains("4567def"));
        for needed in [
            "<svg",
            "0123abc",
            "in quick form",
            "not recorded",
            "&lt;b&gt;peer",
            "data/queue.json",
        ] {
            assert!(page.contains(needed), "{needed}");
        }
        for foreign in ["http:", "https:", "<script", "@import", "url("] {
            let plain = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!plain.contains(foreign), "{foreign}");
        }
        assert_eq!(
            record::read(&to.join("data/queue.json")).unwrap(),
            records()
        );
    }

    #[test]
    fn without_records_there_is_no_page() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), folder.path()).is_err());
    }
}
