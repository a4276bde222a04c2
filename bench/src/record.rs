// SPDX-License-Identifier: BSD-2-Clause
//! What is kept of a benchmark: a list of records in JSON, from which reports and
//! plots are made, and from nothing else.

use crate::stats::{Better, Spread, median, spread};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One figure of ours beside one of a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The project's target that it belongs to: P1, P2 ...
    pub target: String,
    /// What was done, in words.
    pub work: String,
    /// Beside whom; empty if beside nobody.
    pub peer: String,
    /// What was measured.
    pub metric: String,
    /// In what.
    pub unit: String,
    /// Our median.
    pub ours: f64,
    /// The peer's median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<f64>,
    /// How many times better we are: above 1, we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Measured values on each side.
    pub rounds: usize,
    /// How far they lie apart.
    pub spread: Spreads,
    /// `native` or `vm`.
    #[serde(rename = "where")]
    pub place: String,
    /// The processor and how many of it.
    pub machine: String,
    /// The version of each side, and of what compiled ours.
    pub versions: BTreeMap<String, String>,
    /// Where on a plot it belongs.
    pub at: At,
}

/// From the smallest to the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    /// Of ours.
    pub ours: Spread,
    /// Of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<Spread>,
    /// Of the ratio of one round's two values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Spread>,
}

/// The circumstances of a figure. What does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct At {
    /// `ipv4` or `ipv6`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub family: String,
    /// The experiment: `lookup`, `table`, `size`, `fibs`, `change` or `beside`; of
    /// queues `throughput` or `delay`.
    pub experiment: String,
    /// `clustered` or `random`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_hops: String,
    /// The pattern of the keys.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    /// How calls follow one another.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub calls: String,
    /// Routes in the table.
    #[serde(skip_serializing_if = "is_zero")]
    pub prefixes: usize,
    /// FIBs in the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fibs: Option<usize>,
    /// How FIBs differ: `runs` or `uniform`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub differ: String,
    /// For how long the peer's caller gathers changes, in ms; 0 for not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gathers: Option<f64>,
    /// The kind of change, or `batch`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub change: String,
    /// Of 100 changes, how many took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Threads that send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producers: Option<usize>,
    /// Packets a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Bytes of a packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Of what the slower side can do, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

/// Whether something is left out.
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The values of both sides, in the order of the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rounds {
    /// Ours.
    pub ours: Vec<f64>,
    /// Theirs; empty if there is no peer.
    pub theirs: Vec<f64>,
}

impl Rounds {
    /// One value a side, for what does not vary from round to round.
    pub fn one(ours: f64, theirs: f64) -> Self {
        Self {
            ours: vec![ours],
            theirs: vec![theirs],
        }
    }
}

/// What was measured, in words, and which end of it is good.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The good end.
    pub better: Better,
}

impl Metric {
    /// A share that is lost, in percent.
    pub const fn loss(name: &'static str) -> Self {
        Self {
            name,
            unit: "%",
            better: Better::Kept,
        }
    }

    /// A metric of which less is better.
    pub const fn lower(name: &'static str, unit: &'static str) -> Self {
        Self {
            name,
            unit,
            better: Better::Lower,
        }
    }
}

/// What is the same in all records of a pair of contenders.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The peer's name; empty for none.
    pub peer: String,
    /// As in [`Record`].
    pub machine: String,
    /// As in [`Record`].
    pub versions: BTreeMap<String, String>,
}

impl Pair {
    /// The record of these rounds. The ratio is that of the medians.
    pub fn record(
        &self,
        target: &str,
        work: String,
        metric: Metric,
        rounds: &Rounds,
        at: At,
    ) -> Record {
        let ours = median(&rounds.ours);
        let theirs = (!rounds.theirs.is_empty()).then(|| median(&rounds.theirs));
        let pairs = rounds.ours.iter().zip(&rounds.theirs);
        let ratios: Vec<f64> = pairs
            .map(|(&ours, &theirs)| metric.better.ratio(ours, theirs))
            .collect();
        Record {
            target: target.into(),
            work,
            peer: self.peer.clone(),
            metric: metric.name.into(),
            unit: metric.unit.into(),
            ours,
            theirs,
            ratio: theirs.map(|theirs| metric.better.ratio(ours, theirs)),
            rounds: rounds.ours.len(),
            spread: Spreads {
                ours: spread(&rounds.ours),
                theirs: theirs.map(|_| spread(&rounds.theirs)),
                ratio: theirs.map(|_| spread(&ratios)),
            },
            place: "native".into(),
            machine: self.machine.clone(),
            versions: self.versions.clone(),
            at,
        }
    }
}

/// Writes records to a file, and makes its folder.
pub fn write(path: &Path, records: &[Record]) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(records)?;
    let folder = path.parent().context("a path without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Reads records from a file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} does not hold records", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::Value;

    /// A record of made-up values.
    pub(crate) fn sample(peer: &str, at: At, rounds: &Rounds) -> Record {
        let pair = Pair {
            peer: peer.into(),
            machine: "a machine".into(),
            versions: BTreeMap::from([("weft".into(), "0".into())]),
        };
        let metric = Metric::lower("time", "ns");
        pair.record("P1", "some work".into(), metric, rounds, at)
    }

    fn rounds() -> Rounds {
        Rounds {
            ours: vec![2.0, 1.0, 4.0],
            theirs: vec![8.0, 6.0, 4.0],
        }
    }

    #[test]
    fn has_the_shape_that_reports_expect() {
        let at = At {
            family: "ipv4".into(),
            experiment: "lookup".into(),
            prefixes: 5,
            ..At::default()
        };
        let value = serde_json::to_value(sample("dxr", at, &rounds())).unwrap();
        let Value::Object(object) = &value else {
            panic!("{value}")
        };
        for (key, is) in [
            ("target", Value::is_string as fn(&Value) -> bool),
            ("work", Value::is_string),
            ("peer", Value::is_string),
            ("metric", Value::is_string),
            ("unit", Value::is_string),
            ("ours", Value::is_number),
            ("theirs", Value::is_number),
            ("ratio", Value::is_number),
            ("rounds", Value::is_u64),
            ("spread", Value::is_object),
            ("where", Value::is_string),
            ("machine", Value::is_string),
            ("versions", Value::is_object),
        ] {
            assert!(object.get(key).is_some_and(is), "{key} in {value}");
        }
        assert_eq!(value["where"], "native");
        assert_eq!(
            value["at"],
            serde_json::json!({"family": "ipv4", "experiment": "lookup", "prefixes": 5})
        );
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_and_above_one_if_we_are_better() {
        let record = sample("dxr", At::default(), &rounds());
        assert_eq!((record.ours, record.theirs), (2.0, Some(6.0)));
        assert_eq!(record.ratio, Some(3.0));
        assert_eq!(record.rounds, 3);
        let ratios = record.spread.ratio.unwrap();
        assert_eq!((ratios.min, ratios.max), (1.0, 6.0));
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        let alone = Rounds {
            ours: vec![1.0],
            theirs: Vec::new(),
        };
        let record = sample("", At::default(), &alone);
        assert_eq!((record.theirs, record.ratio), (None, None));
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/fib.json");
        let records = vec![sample("dxr", At::default(), &rounds()); 2];
        write(&path, &records).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        assert!(read(folder.path()).is_err());
    }
}
