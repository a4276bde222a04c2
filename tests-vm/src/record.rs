// SPDX-License-Identifier: BSD-2-Clause
//! What is kept of a measurement in a guest: records in JSON, of the same form as the
//! host's benchmarks write (`bench/src/record.rs`), so that reports read both.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// One figure of ours beside one of a peer, of which less is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The project's target that it belongs to.
    pub target: String,
    /// What was done, in words.
    pub work: String,
    /// Beside whom.
    pub peer: String,
    /// What was measured.
    pub metric: String,
    /// In what.
    pub unit: String,
    /// Our median.
    pub ours: f64,
    /// The peer's median.
    pub theirs: f64,
    /// How many times better we are: above 1, we are.
    pub ratio: f64,
    /// Measured values on each side.
    pub rounds: usize,
    /// How far they lie apart.
    pub spread: Spreads,
    /// Where it was measured: always `vm`.
    #[serde(rename = "where")]
    pub place: &'static str,
    /// What the guest ran on.
    pub machine: String,
    /// The version of each side, and of what compiled ours.
    pub versions: BTreeMap<String, String>,
    /// Its circumstances.
    pub at: At,
}

/// From the smallest to the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// The spread of ours, of theirs, and of the ratios of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spreads {
    /// Of ours.
    pub ours: Spread,
    /// Of theirs.
    pub theirs: Spread,
    /// Of the ratio of one round's two values.
    pub ratio: Spread,
}

/// The circumstances of a figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct At {
    /// The experiment: `lookup`, `table` or `change`; of packets `packet`, `tag`, `throughput`
    /// or `held`; of pairs `udp`, `tcp`, `echo` or `many`.
    pub experiment: &'static str,
    /// `ipv4` or `ipv6`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub family: &'static str,
    /// How next hops lie.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub next_hops: &'static str,
    /// The pattern of the keys; empty if there are none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub pattern: &'static str,
    /// Routes in the table.
    pub prefixes: usize,
    /// The kind of change; empty if nothing changed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub change: &'static str,
    /// Of 100 changes, how many took no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Packets a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Bytes of a packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
    /// Flows, or streams, at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<usize>,
    /// Queues in each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<u32>,
    /// CPUs of the guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<usize>,
}

/// The values of both sides, in the order of the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rounds {
    /// Ours.
    pub ours: Vec<f64>,
    /// Theirs.
    pub theirs: Vec<f64>,
}

impl Rounds {
    /// Our median, the peer's, how many times better ours is, and the spreads.
    #[must_use]
    pub fn result(&self) -> (f64, f64, f64, Spreads) {
        let pairs = self.ours.iter().zip(&self.theirs);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| theirs / ours).collect();
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        let spreads = Spreads {
            ours: spread(&self.ours),
            theirs: spread(&self.theirs),
            ratio: spread(&ratios),
        };
        (ours, theirs, theirs / ours, spreads)
    }
}

/// The value in the middle; of an even number, between the two.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (below, above) = ((sorted.len().max(1) - 1) / 2, sorted.len() / 2);
    let value = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    f64::midpoint(value(below), value(above))
}

fn spread(values: &[f64]) -> Spread {
    Spread {
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Writes records to a file, and makes its folder.
///
/// # Errors
/// If that cannot be done.
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let text = serde_json::to_string_pretty(records)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
    }
    std::fs::write(path, text + "\n").with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_reports_read_what_is_written() {
        let rounds = Rounds {
            ours: vec![2.0, 1.0, 4.0],
            theirs: vec![8.0, 6.0, 4.0],
        };
        let (ours, theirs, ratio, spread) = rounds.result();
        let record = Record {
            target: "P1".into(),
            work: "some work".into(),
            peer: "dxr".into(),
            metric: "instructions a lookup".into(),
            unit: "instructions".into(),
            ours,
            theirs,
            ratio,
            rounds: 3,
            spread,
            place: "vm",
            machine: "a machine".into(),
            versions: BTreeMap::from([("weft".into(), "0".into())]),
            at: At {
                experiment: "lookup",
                prefixes: 5,
                ..At::default()
            },
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/fib-vm.json");
        write(&path, &[record]).unwrap();
        let read = weft_bench::record::read(&path).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].ours, read[0].theirs), (2.0, Some(6.0)));
        assert_eq!(read[0].ratio, Some(3.0));
        assert_eq!(read[0].place, "vm");
        let ratios = read[0].spread.ratio.unwrap();
        assert_eq!((ratios.min, ratios.max), (1.0, 6.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }
}
