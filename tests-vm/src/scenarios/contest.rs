// SPDX-License-Identifier: BSD-2-Clause
//! What measurements in a guest have in common: values of ours and of peers, round by
//! round, and the records that are made of them.
//!
//! In most of them the guest's clock counts instructions, so figures know nothing of
//! caches and of wrong guesses.

use std::collections::BTreeMap;
use std::process::Command;

use super::Context;
use crate::guest::Result;
use crate::qemu;
use crate::record::{self, At, Record, Rounds, Spreads};

/// What was measured, the same for all peers.
pub(super) struct What {
    pub(super) target: &'static str,
    pub(super) work: String,
    pub(super) metric: &'static str,
    pub(super) unit: &'static str,
    pub(super) at: At,
}

/// The unit of times: the guest's clock counts them.
pub(super) const INSTRUCTIONS: &str = "guest instructions";

/// Each contestant's values, in the order of the rounds.
#[derive(Default)]
pub(super) struct Values(BTreeMap<String, Vec<f64>>);

impl Values {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(super) fn add(&mut self, contestant: &str, value: f64) {
        self.0.entry(contestant.into()).or_default().push(value);
    }

    /// Whether a contestant was measured.
    pub(super) fn has(&self, contestant: &str) -> bool {
        self.0.contains_key(contestant)
    }

    fn rounds(&self, ours: &str, peer: &str) -> Rounds {
        let of = |name| self.0.get(name).cloned().unwrap_or_default();
        Rounds {
            ours: of(ours),
            theirs: of(peer),
        }
    }
}

/// The records so far, and what is the same in all of them.
pub(super) struct Contest {
    records: Vec<Record>,
    machine: String,
    versions: BTreeMap<String, String>,
}

impl Contest {
    /// No records, of a guest whose clock counts instructions. The module is loaded.
    pub(super) fn new(context: &mut Context<'_>) -> Result<Self> {
        Self::with(context, "-icount")
    }

    /// No records, of an ordinary guest. The module is loaded.
    pub(super) fn timed(context: &mut Context<'_>) -> Result<Self> {
        let accelerator = format!("{:?}", qemu::accelerator());
        Self::with(context, &accelerator)
    }

    fn with(context: &mut Context<'_>, how: &str) -> Result<Self> {
        let mut versions = BTreeMap::new();
        for name in ["version", "build", "kernel"] {
            let value = context.guest.sysctl(&format!("net.weft.{name}"))?;
            versions.insert(format!("weft {name}"), value);
        }
        let emulator = Command::new(qemu::PROGRAM).arg("--version").output();
        let emulator = emulator.map_or_else(|_| String::new(), |out| first_line(&out.stdout));
        Ok(Self {
            records: Vec::new(),
            machine: format!("{emulator}, {how}, kernel {}", context.kernel.name),
            versions,
        })
    }

    /// Keeps a record for each peer.
    pub(super) fn note(
        &mut self,
        context: &mut Context<'_>,
        our_name: &str,
        peers: &[&str],
        what: &What,
        values: &Values,
    ) {
        for &peer in peers {
            let rounds = values.rounds(our_name, peer);
            let (ours, theirs, ratio, spread) = rounds.result();
            let percentile = what
                .at
                .percentile
                .map(|percentile| format!(", p{percentile}"));
            let routes = match what.at.prefixes {
                0 => String::new(),
                routes => format!(", {routes} routes"),
            };
            let line = format!(
                "{}, {}{}{routes}: {ours:.0} beside {peer}'s {theirs:.0}, {ratio:.2} times better",
                what.work,
                what.metric,
                percentile.unwrap_or_default(),
            );
            println!("    {line}");
            context.report.note(&line);
            // Beside nothing there is no ratio, no number in a file, and no place in a plot.
            let Spreads { ratio: of, .. } = &spread;
            if ![ratio, of.min, of.max]
                .iter()
                .all(|ratio| ratio.is_normal())
            {
                continue;
            }
            self.records.push(Record {
                target: what.target.into(),
                work: what.work.clone(),
                peer: peer.into(),
                metric: what.metric.into(),
                unit: what.unit.into(),
                ours,
                theirs,
                ratio,
                rounds: rounds.ours.len(),
                spread,
                place: "vm",
                machine: self.machine.clone(),
                versions: self.versions.clone(),
                at: what.at.clone(),
            });
        }
    }

    /// Writes all records to a file of this name in `target/bench`.
    pub(super) fn write(&self, context: &mut Context<'_>, name: &str) {
        let path = context.artifacts.bench.join(name);
        let outcome = record::write(&path, &self.records);
        context.report.check(
            outcome.is_ok(),
            &format!("{} records are written", self.records.len()),
            format_args!("{outcome:?}"),
        );
    }
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().next().unwrap_or_default().into()
}
