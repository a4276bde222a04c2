// SPDX-License-Identifier: BSD-2-Clause
//! How long a card takes for frames, as its histograms have it.

use super::Context;
use super::nic_traffic::tree;
use super::nic_tuned::Tuned;
use crate::guest::Result;

/// So many frames are timed at least while datagrams of many flows go there and back.
const SEEN: u64 = 20;

impl Tuned<'_> {
    /// How long frames take: none, then each of them is timed.
    pub(super) fn completions(&mut self, context: &mut Context<'_>) -> Result<()> {
        const EVERY: &str = "completion_every";
        let full = format!("{}.{EVERY}", self.node);
        let usual = context.guest.sysctl(&full)?;
        for every in [0, 1] {
            self.set(context, EVERY, &every.to_string())?;
            // So that no frame was begun to be timed before.
            let _ = self.used(context)?;
            let given = self.sum(context, ".card.frames")?;
            let timed = self.sum(context, ".card.completion_ns_count")?;
            let _ = self.used(context)?;
            let timed = self.sum(context, ".card.completion_ns_count")? - timed;
            let given = self.sum(context, ".card.frames")? - given;
            // One frame of a queue at a time.
            let is_right = match every {
                0 => timed == 0,
                _ => (SEEN..=given).contains(&timed),
            };
            context.report.check(
                is_right,
                &format!(
                    "{}: with {EVERY}={every} so many frames are timed",
                    self.card.name
                ),
                format!("{timed} of {given}"),
            );
        }
        self.quantiles(context)?;
        self.set(context, EVERY, &usual)
    }

    fn sum(&self, context: &mut Context<'_>, end: &str) -> Result<u64> {
        let all = tree(context, &self.node)?;
        let some = all.iter().filter(|(name, _)| name.ends_with(end));
        Ok(some.map(|(_, value)| value).sum())
    }

    /// What is shown of the times of each queue that has any says the same.
    fn quantiles(&mut self, context: &mut Context<'_>) -> Result<()> {
        for queue in 0..self.card.queues[0] {
            let node = format!("net.weft.latency.completion.{}.{queue}", self.card.name);
            // First, since more are timed meanwhile.
            let mut quantiles = Vec::new();
            for name in ["p50", "p90", "p99", "p99_9"] {
                let read = format!("sysctl get {node}.quantile_ns.{name}");
                quantiles.push(context.guest.number(&read)?);
            }
            let card = format!("{}.tx.{queue}.card.completion_ns", self.node);
            let sum = context.guest.number(&format!("sysctl get {card}_sum"))?;
            let count = context.guest.number(&format!("sysctl get {card}_count"))?;
            // Quantiles are within a sixteenth, and half of the times are no shorter than one.
            let half = quantiles[0] / 17 * 16 * (count / 2);
            context.report.check(
                count > 0 && quantiles[0] > 0 && quantiles.is_sorted() && half <= sum,
                &format!("{node}: quantiles that agree with the sum of the times"),
                format!("{quantiles:?}; {count} of {sum} ns in all"),
            );
        }
        Ok(())
    }
}
