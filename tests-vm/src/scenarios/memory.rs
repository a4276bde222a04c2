// SPDX-License-Identifier: BSD-2-Clause
//! Memory runs out while a table is built, and while it grows: what answered
//! before goes on answering, and all is well once there is memory again.

use std::time::Instant;

use super::{Context, Family, SETTLE_LIMIT, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO_V4: Scenario = Scenario {
    name: "memory4",
    group: "network",
    about: "without memory for a new table or a change, the old state answers",
    klds: &["if_epair"],
    run: |context| run(context, &V4),
    ..Scenario::ORDINARY
};

pub(super) const SCENARIO_V6: Scenario = Scenario {
    name: "memory6",
    about: "the same of IPv6",
    run: |context| run(context, &V6),
    ..SCENARIO_V4
};

const LIMIT: &str = "net.weft.fib.bytes_limit";
const FAILURES: &str = "net.weft.fib.out_of_memory";
/// Addresses of each kind that a comparison takes.
const KEYS: u64 = 2_000;
/// Bytes that a build may have, and what all tables' common memory may hold when
/// none is there. It keeps the hash heads that the largest build so far needed, which
/// differ with the store's random seed; were the rest of a build kept, `BUILDS` of
/// them would be far above.
const BUILD_LIMIT: u64 = 64 * 1024;
const BETWEEN_BUILDS: u64 = BUILD_LIMIT / 2;
const BUILDS: u32 = 8;
/// Host routes that do not fit into what is left of a slab.
const MORE: u32 = 2_000;

fn run(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    let count = context.some_routes(family);
    context.load_routes("", family, &family.gateways(), 0, count)?;
    let (gateway, known) = (family.gateway(1), family.small.apart);
    context
        .guest
        .call(&format!("route add {known} {gateway}"))?;
    while_built(context, family)?;
    while_growing(context, family)?;

    context.guest.set_sysctl(LIMIT, 0)?;
    context.choose("", family, family.plain)?;
    context.unload_weft()?;
    context.guest.call(&format!("route del {known}"))?;
    context.unload_routes("", family, count)?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

/// A table that does not fit is left to the algorithm that has it.
fn while_built(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let failures = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    context.guest.set_sysctl(LIMIT, BUILD_LIMIT)?;
    refused_build(context, family)?;
    let chosen = context.guest.sysctl(family.algorithm)?;
    context.report.equal(
        chosen.as_str(),
        family.plain,
        "the algorithm before it keeps the table",
    );
    let now = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    context
        .report
        .check(now > failures, "the failure is counted", now);
    for _ in 0..BUILDS {
        refused_build(context, family)?;
    }
    let held = held_at_rest(context)?;
    context.report.check(
        held <= BETWEEN_BUILDS,
        "failed builds leave no memory behind",
        format_args!("{held} bytes, allowed {BETWEEN_BUILDS}"),
    );
    Ok(())
}

fn refused_build(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let refused = context
        .guest
        .refused(&format!("sysctl set {} {}", family.algorithm, family.ours))?;
    context.report.check(
        refused.starts_with("EINVAL"),
        "a table that does not fit is refused",
        refused,
    );
    Ok(())
}

/// Bytes that the module's tables hold when nothing waits for a grace period.
fn held_at_rest(context: &mut Context<'_>) -> Result<u64> {
    let start = Instant::now();
    while context.guest.number("sysctl get net.weft.fib.tables")? > 0
        || context.guest.number("sysctl get net.weft.fib.pending")? > 0
    {
        if start.elapsed() > SETTLE_LIMIT {
            let still = format_args!("still there after {SETTLE_LIMIT:?}");
            context.report.fail("failed builds are given up", still);
            break;
        }
    }
    context.guest.number("sysctl get net.weft.fib.bytes")
}

/// A table that cannot grow answers as it did, and is rebuilt when it can.
fn while_growing(context: &mut Context<'_>, family: &Family) -> Result<()> {
    context.guest.set_sysctl(LIMIT, 0)?;
    context.choose("", family, family.ours)?;
    let held = context.guest.number("sysctl get net.weft.fib.bytes")?;
    let failures = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    let apart = family.small.apart;
    let (known, _) = apart.split_once('/').unwrap_or((apart, ""));
    let before = context.guest.line(&format!("route get {known}"))?;
    context.guest.set_sysctl(LIMIT, held)?;
    let gateway = family.gateway(2);
    let mut added = 0;
    while added < MORE && context.guest.number(&format!("sysctl get {FAILURES}"))? == failures {
        let batch: Vec<String> = (added..added + 50)
            .map(|n| format!("route add {} {gateway}", family.host(n)))
            .collect();
        context.guest.each(&batch)?;
        added += 50;
    }
    let now = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    context.report.check(
        now > failures,
        "growing past the limit is counted",
        format_args!("after {added} routes"),
    );
    let after = context.guest.line(&format!("route get {known}"))?;
    context
        .report
        .equal(&after, &before, "a known destination is routed as before");

    context.guest.set_sysctl(LIMIT, 0)?;
    let last = family.host(MORE);
    context.guest.call(&format!("route add {last} {gateway}"))?;
    let what = "with memory again, all answers are right";
    context.compare("", &[family], KEYS, what)?;
    context.guest.call(&format!("route del {last}"))?;
    let removals: Vec<String> = (0..added)
        .map(|n| format!("route del {}", family.host(n)))
        .collect();
    context.guest.each(&removals)?;
    context.compare("", &[family], KEYS, "and they stay right")
}
