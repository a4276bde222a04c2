// SPDX-License-Identifier: BSD-2-Clause
//! Times of lookups in one table, by pattern and by how calls follow one another.

use super::{Heat, addresses, alternate};
use crate::clock::Calls;
use crate::contender::Table;
use crate::family::Family;
use crate::keys::Pattern;
use crate::record::{At, Metric, Record};

/// The metric of all lookups.
pub(super) const TIME: Metric = Metric::lower("time a lookup", "ns");

/// Races both tables in each pattern and kind of calls.
pub(super) fn run<K: Family>(
    heat: &Heat<'_, K>,
    ours: &dyn Table<K>,
    theirs: &dyn Table<K>,
    records: &mut Vec<Record>,
) {
    let (ours, theirs) = (ours.lookup(0), theirs.lookup(0));
    for pattern in Pattern::ALL {
        let keys = addresses(&pattern.keys(heat.routes, heat.plan.keys, 4));
        for calls in Calls::ALL {
            let rounds = alternate(
                heat.plan.rounds,
                || calls.time(ours, &keys),
                || calls.time(theirs, &keys),
            );
            let work = format!(
                "{} lookup, {} keys, {} next hops, {}",
                K::TITLE,
                pattern.name(),
                heat.next_hops,
                calls.name()
            );
            let at = At {
                pattern: pattern.name().into(),
                calls: calls.name().into(),
                ..heat.at("lookup")
            };
            records.push(heat.pair.record(K::TARGET, work, TIME, &rounds, at));
        }
    }
}
