// SPDX-License-Identifier: BSD-2-Clause
//! FIBs whose tables differ little hold their memory together: many FIBs are filled
//! with a table of which one route of a hundred leads elsewhere, in runs, and the
//! kernel's own accounting tells what the algorithms hold; for IPv4 beside dxr's.

use std::time::{Duration, Instant};

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "sharing",
    group: "sharing",
    about: "tables of many FIBs share what they have in common; bytes held, beside dxr's",
    klds: &["if_epair", "fib_dxr"],
    limit: Duration::from_secs(480),
    memory_mib: [1024, 6144],
    run,
    ..Scenario::ORDINARY
};

/// How many FIBs, and routes in each.
struct Shape {
    fibs: u32,
    routes: [usize; 2],
}

/// Routes in all FIBs cost the kernel's own table some hundred bytes each, so 128 whole
/// tables do not fit into a test machine.
const EVERYDAY: Shape = Shape {
    fibs: 16,
    routes: [5_000, 2_000],
};
const FULL: Shape = Shape {
    fibs: 128,
    routes: [10_000, 2_000],
};
/// Addresses of each kind that are compared in each FIB.
const KEYS: u64 = 500;
/// How many tables' worth of memory the tables of so many FIBs may take: what is shared
/// counts once, what differs for each.
fn most_tables(fibs: u32) -> u64 {
    (u64::from(fibs) / 10).max(3)
}

/// dxr holds at least so many times what weft does.
const LEAST_RATIO: u64 = 50;

fn run(context: &mut Context<'_>) -> Result<()> {
    let shape = if context.full { &FULL } else { &EVERYDAY };
    // Interfaces' routes in all FIBs, so that gateways are known there.
    context.guest.set_sysctl("net.add_addr_allfibs", 1)?;
    context.guest.set_sysctl("net.fibs", shape.fibs)?;
    context.set_up_interface(0)?;
    context.load_weft()?;
    let mut ours = [0; 2];
    for family in [&V4, &V6] {
        fill(context, family, shape)?;
        ours[family.number] = hold(context, family, family.ours, "weft", shape.fibs)?;
    }
    for fib in 0..shape.fibs {
        let what = format!("FIB {fib} of {}", shape.fibs);
        context.compare(&place(fib), &[&V4, &V6], KEYS, &what)?;
    }
    for family in [&V4, &V6] {
        choose_in_all(context, family, family.plain, 0..shape.fibs)?;
    }
    context.unload_weft()?;
    beside_dxr(context, shape, ours[V4.number])
}

fn place(fib: u32) -> String {
    format!("fib {fib} ")
}

/// Loads each FIB's variant of the table, two at a time, as the machine has two CPUs.
fn fill(context: &mut Context<'_>, family: &Family, shape: &Shape) -> Result<()> {
    choose_in_all(context, family, family.plain, 0..shape.fibs)?;
    let count = shape.routes[family.number].min(context.routes[family.number]);
    let (table, gateways) = (family.table, family.gateways());
    let start = Instant::now();
    let fibs: Vec<u32> = (0..shape.fibs).collect();
    for pair in fibs.chunks(2) {
        for &fib in pair {
            let load = format!("{}route load {table} {gateways} {fib} {count}", place(fib));
            context.guest.start(&format!("load{fib}"), &load)?;
        }
        for &fib in pair {
            let limit = super::limit_for(2 * count);
            let loaded = context.guest.finish(&format!("load{fib}"), limit)?;
            if loaded.get(..2) != Some(&[count as u64, 0]) {
                let found = format!("FIB {fib}: routes, errors, ms: {loaded:?}");
                context.report.fail("all routes of each FIB are in", found);
            }
        }
    }
    context.report.note(&format!(
        "{}: {} FIBs of {count} routes filled in {:?}",
        family.name,
        shape.fibs,
        start.elapsed()
    ));
    Ok(())
}

fn choose_in_all(
    context: &mut Context<'_>,
    family: &Family,
    algorithm: &str,
    fibs: std::ops::Range<u32>,
) -> Result<()> {
    for fib in fibs {
        let command = format!("{}sysctl set {} {algorithm}", place(fib), family.algorithm);
        context
            .guest
            .call_within(&command, Duration::from_secs(120))?;
    }
    Ok(())
}

/// Chooses the algorithm in all FIBs, and gives the bytes that memory types and zones
/// named `prefix...` have then and had not before.
fn hold(
    context: &mut Context<'_>,
    family: &Family,
    algorithm: &str,
    prefix: &str,
    fibs: u32,
) -> Result<u64> {
    let before = context.bytes_held(prefix)?;
    choose_in_all(context, family, algorithm, 0..1)?;
    let one = context.bytes_held(prefix)?.saturating_sub(before);
    let start = Instant::now();
    choose_in_all(context, family, algorithm, 1..fibs)?;
    let took = start.elapsed();
    let all = context.bytes_held(prefix)?.saturating_sub(before);
    let chosen = context.guest.line(&format!(
        "{}sysctl get {}",
        place(fibs - 1),
        family.algorithm
    ))?;
    let what = format!("{algorithm} is selected in the last FIB");
    context.report.equal(chosen.as_str(), algorithm, &what);
    context.report.note(&format!(
        "{algorithm}: {one} bytes in one FIB, {all} in {fibs}; the others built in {took:?}"
    ));
    if algorithm == family.ours {
        let most = most_tables(fibs);
        context.report.check(
            one > 0 && all < most * one,
            &format!("{algorithm}: {fibs} FIBs hold less than {most} tables do"),
            format_args!("{all} bytes, one table {one}"),
        );
    }
    Ok(all)
}

/// The same FIBs served by dxr.
fn beside_dxr(context: &mut Context<'_>, shape: &Shape, ours: u64) -> Result<()> {
    context.load_kld("fib_dxr")?;
    let theirs = hold(context, &V4, "dxr", "dxr", shape.fibs)?;
    context.report.check(
        ours > 0 && theirs > LEAST_RATIO * ours,
        &format!("weft4 holds less than one part in {LEAST_RATIO} of what dxr does"),
        format_args!("weft4 {ours} bytes, dxr {theirs}"),
    );
    context.report.note(&format!(
        "IPv4, {} FIBs: weft4 {ours} bytes, dxr {theirs}: {:.1} times as much",
        shape.fibs,
        theirs as f64 / ours as f64
    ));
    choose_in_all(context, &V4, V4.plain, 0..shape.fibs)?;
    context
        .guest
        .call_within("kld unload fib_dxr.ko", Duration::from_secs(60))
        .map(drop)
}
