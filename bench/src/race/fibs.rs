// SPDX-License-Identifier: BSD-2-Clause
//! Many FIBs that differ in one of a hundred routes: memory against their number,
//! and lookups that each go to a random one.
//!
//! A table that shares nothing grows by the same for each FIB; of such a one two
//! FIBs are built, the second is measured, and the rest is multiplication.

use super::lookup::TIME;
use super::{Field, OURS, Plan, alternate, log, willing};
use crate::clock::time_fibs;
use crate::contender::{Contender, Lookup, Table};
use crate::family::Family;
use crate::keys::Pattern;
use crate::record::{At, Metric, Record, Rounds};
use crate::routes::{Differ, Route, differing};
use anyhow::Context;
use weft_engine::sim::random::Random;

const TARGET: &str = "P3";

/// Memory by number of FIBs and then lookups in many, for each way to differ.
pub(super) fn run<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    routes: &[Route<K>],
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    for differ in Differ::ALL {
        log(&format!(
            "{} FIBs of {OURS}, 1% differing ({})",
            K::TITLE,
            differ.name()
        ));
        memory(plan, field, routes, differ, records)?;
    }
    for peer in willing(field, routes.len(), false) {
        log(&format!(
            "{} lookups in {} FIBs beside {}",
            K::TITLE,
            plan.live_fibs,
            peer.name()
        ));
        random_fibs(plan, field, peer, routes, records)?;
    }
    Ok(())
}

fn at<K: Family>(routes: &[Route<K>], differ: Differ, fibs: usize) -> At {
    At {
        next_hops: "clustered".into(),
        differ: differ.name().into(),
        prefixes: routes.len(),
        fibs: Some(fibs),
        ..super::at::<K>("fibs")
    }
}

fn memory<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    routes: &[Route<K>],
    differ: Differ,
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    let ours = bytes_by_fibs(field.ours.as_ref(), routes, differ, &plan.fibs)?;
    for peer in willing(field, routes.len(), false) {
        let theirs = bytes_by_fibs(peer, routes, differ, &plan.fibs)?;
        for ((&fibs, &ours), &theirs) in plan.fibs.iter().zip(&ours).zip(&theirs) {
            records.push(field.pair(Some(peer)).record(
                TARGET,
                format!(
                    "{} FIBs: {fibs}, 1% of the routes differ ({})",
                    K::TITLE,
                    differ.name()
                ),
                Metric::lower("all bytes", "bytes"),
                &Rounds::one(ours, theirs),
                at(routes, differ, fibs),
            ));
        }
    }
    Ok(())
}

/// The bytes that each of these numbers of FIBs (rising) takes.
fn bytes_by_fibs<K: Family>(
    contender: &dyn Contender<K>,
    routes: &[Route<K>],
    differ: Differ,
    numbers: &[usize],
) -> anyhow::Result<Vec<f64>> {
    let mut table = contender.table();
    let mut built = 0;
    let mut grow = |to: usize| -> anyhow::Result<f64> {
        while built < to {
            table.add(&differing(routes, differ, built))?;
            table.freeze();
            built += 1;
        }
        Ok(table.bytes().all as f64)
    };
    if contender.shares() {
        return numbers.iter().map(|&number| grow(number)).collect();
    }
    let one = grow(1)?;
    let further = grow(2)? - one;
    let bytes = |&number: &usize| one + further * (number as f64 - 1.0);
    Ok(numbers.iter().map(bytes).collect())
}

/// A table with that many FIBs, which will not be changed.
fn table<K: Family>(
    contender: &dyn Contender<K>,
    routes: &[Route<K>],
    fibs: usize,
) -> anyhow::Result<Box<dyn Table<K>>> {
    let mut table = contender.table();
    for fib in 0..fibs {
        table
            .add(&differing(routes, Differ::Runs, fib))
            .with_context(|| format!("FIB {fib} of {}", contender.name()))?;
        table.freeze();
    }
    Ok(table)
}

fn random_fibs<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    peer: &dyn Contender<K>,
    routes: &[Route<K>],
    records: &mut Vec<Record>,
) -> anyhow::Result<()> {
    let fibs = plan.live_fibs;
    let ours = table(field.ours.as_ref(), routes, fibs)?;
    let theirs = match table(peer, routes, fibs) {
        Ok(theirs) => theirs,
        Err(error) => {
            log(&format!("skipped: {error:#}"));
            return Ok(());
        }
    };
    let ours: Vec<Lookup<'_, K>> = (0..fibs).map(|fib| ours.lookup(fib)).collect();
    let theirs: Vec<Lookup<'_, K>> = (0..fibs).map(|fib| theirs.lookup(fib)).collect();
    let mut random = Random::new(8);
    let keys: Vec<(u32, K::Address)> = Pattern::Announced
        .keys(routes, plan.keys, 9)
        .into_iter()
        .map(|key: K| (random.below(fibs) as u32, key.address()))
        .collect();
    for (fib, key) in &keys {
        let fib = *fib as usize;
        let (ours, theirs) = (ours[fib].one(key), theirs[fib].one(key));
        anyhow::ensure!(ours == theirs, "FIB {fib} answers {ours} and {theirs}");
    }
    let rounds = alternate(
        plan.rounds,
        || time_fibs(&ours, &keys),
        || time_fibs(&theirs, &keys),
    );
    records.push(field.pair(Some(peer)).record(
        TARGET,
        format!(
            "{} lookup, announced keys, each in a random one of {fibs} FIBs",
            K::TITLE
        ),
        TIME,
        &rounds,
        at(routes, Differ::Runs, fibs),
    ));
    Ok(())
}
