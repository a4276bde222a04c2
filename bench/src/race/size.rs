// SPDX-License-Identifier: BSD-2-Clause
//! Times of lookups, and bytes, against the number of routes. The tables are
//! generated, with the Internet's shape and clustered next hops.

use super::lookup::TIME;
use super::{Field, OURS, Plan, addresses, alternate, at, compare, log, one_fib, rule, willing};
use crate::clock::Calls;
use crate::family::Family;
use crate::keys::{self, Pattern};
use crate::record::{At, Metric, Record, Rounds};
use crate::routes::assign;

/// Races every size that the plan names.
pub(super) fn run<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    for &size in &plan.sizes {
        log(&format!("{} {OURS} with {size} routes", K::TITLE));
        let routes = assign(&K::generate(size, 5), rule("clustered"));
        let announced = addresses(&Pattern::Announced.keys(&routes, plan.keys, 6));
        let (ours, _) = one_fib(field.ours.as_ref(), &routes)?;
        for peer in willing(field, size, false) {
            let (theirs, _) = one_fib(peer, &routes)?;
            compare(
                ours.as_ref(),
                theirs.as_ref(),
                &keys::checks(&routes, plan.checks / 10, 7),
            )?;
            let (one, other) = (ours.lookup(0), theirs.lookup(0));
            let rounds = alternate(
                plan.rounds,
                || Calls::Independent.time(one, &announced),
                || Calls::Independent.time(other, &announced),
            );
            let at = At {
                next_hops: "clustered".into(),
                pattern: Pattern::Announced.name().into(),
                calls: Calls::Independent.name().into(),
                prefixes: size,
                ..at::<K>("size")
            };
            let pair = field.pair(Some(peer));
            let work =
                |what: &str| format!("{} {what}, generated table of {size} routes", K::TITLE);
            let lookups = work("lookup, announced keys");
            records.push(pair.record(K::TARGET, lookups, TIME, &rounds, at.clone()));
            let (ours, theirs) = (ours.bytes(), theirs.bytes());
            for (name, ours, theirs) in [
                ("lookup bytes", ours.lookup, theirs.lookup),
                ("all bytes", ours.all, theirs.all),
            ] {
                let rounds = Rounds::one(ours as f64, theirs as f64);
                let metric = Metric::lower(name, "bytes");
                records.push(pair.record(K::TARGET, work("bytes"), metric, &rounds, at.clone()));
            }
        }
    }
    Ok(())
}
