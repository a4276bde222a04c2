// SPDX-License-Identifier: BSD-2-Clause
//! The whole table in both families, changed at a high rate all over while answers
//! are compared.

use std::time::{Duration, Instant};

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "churn",
    group: "network",
    about: "whole tables of both families change thousands of times a second; answers stay right",
    klds: &["if_epair"],
    limit: Duration::from_secs(400),
    run,
    ..Scenario::ORDINARY
};

const BOTH: [&Family; 2] = [&V4, &V6];
/// Addresses of each kind, in each family, that are compared while routes change, and
/// how many of them at a time: in the long form five million that are announced, and
/// five million of any kind.
const KEYS: [u64; 2] = [20_000, 20_000];
const KEYS_FULL: [u64; 2] = [5_000_000, 500_000];
/// Addresses of each kind that are compared while nothing changes.
const KEYS_AT_REST: u64 = 20_000;
/// Changes a second that are tried, in both families together.
const RATE: u64 = 10_000;
/// The share of it that IPv6 has, of a hundred: as of the Internet's routes.
const RATE_V6_PERCENT: u64 = 15;

/// Changes of each kind, in each family, without which a comparison says little.
const ENOUGH: u64 = 100;
/// How long, at the longest, comparisons go on to see as many.
const LONGEST: Duration = Duration::from_secs(60);

fn run(context: &mut Context<'_>) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    for family in BOTH {
        let all = context.routes[family.number];
        context.load_routes("", family, &family.gateways(), 0, all)?;
        let start = Instant::now();
        context.choose("", family, family.ours)?;
        context
            .report
            .note(&format!("{} built in {:?}", family.ours, start.elapsed()));
    }
    context.compare("", &BOTH, KEYS_AT_REST, "before the changes")?;
    compare_during_changes(context)?;
    context.compare("", &BOTH, KEYS_AT_REST, "after the changes")?;
    let bytes = context.guest.sysctl("net.weft.fib.bytes")?;
    context.report.note(&format!("bytes held: {bytes}"));
    for family in BOTH {
        context.choose("", family, family.plain)?;
    }
    context.unload_weft()?;
    for family in BOTH {
        context.unload_routes("", family, context.routes[family.number])?;
    }
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

fn compare_during_changes(context: &mut Context<'_>) -> Result<()> {
    let rates = [
        RATE * (100 - RATE_V6_PERCENT) / 100,
        RATE * RATE_V6_PERCENT / 100,
    ];
    for (family, rate) in BOTH.into_iter().zip(rates) {
        let (table, gateways) = (family.table, family.gateways());
        let command = format!("route churn {table} {gateways} {rate} 0");
        context.guest.start(family.name, &command)?;
    }
    let [wanted, at_a_time] = if context.full { KEYS_FULL } else { KEYS };
    let start = Instant::now();
    let mut compared = 0;
    while compared < wanted || (!enough_went_on(context)? && start.elapsed() < LONGEST) {
        compared += at_a_time;
        let what = format!("during the changes, {compared} keys of each kind");
        context.compare("", &BOTH, at_a_time, &what)?;
        let passed = start.elapsed();
        context.report.say(&format!("  {what}, {passed:.0?}"));
    }
    context.report.note(&format!(
        "{compared} keys of each kind compared in {:?}",
        start.elapsed()
    ));
    for family in BOTH {
        let counts = context.guest.stop(family.name)?;
        note_changes(context, family, &counts);
    }
    Ok(())
}

/// Whether routes of both families were added, moved and deleted by now.
fn enough_went_on(context: &mut Context<'_>) -> Result<bool> {
    for family in BOTH {
        let counts = context.guest.counters(family.name)?;
        if counts.iter().take(3).any(|&count| count < ENOUGH) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn note_changes(context: &mut Context<'_>, family: &Family, counts: &[u64]) {
    let &[added, changed, deleted, errors, ms] = counts else {
        let found = format!("{counts:?}");
        context.report.fail("the changes are counted", found);
        return;
    };
    context.report.check(
        errors == 0 && added == deleted && added >= ENOUGH && changed >= ENOUGH,
        &format!(
            "{}: routes were added, moved and deleted meanwhile",
            family.name
        ),
        format_args!("added, changed, deleted, errors, ms: {counts:?}"),
    );
    let rate = (added + changed + deleted) * 1_000 / ms.max(1);
    context.report.note(&format!(
        "{}: {added} added, {changed} changed, {deleted} deleted in {ms} ms: {rate} a second",
        family.name
    ));
}
