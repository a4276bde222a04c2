// SPDX-License-Identifier: BSD-2-Clause
//! Memory runs out while a table is built, and while it grows: what answered
//! before goes on answering, and all is well once there is memory again.

use std::time::{Duration, Instant};

use super::{ALGORITHM, Context, PLAIN_ALGORITHM, Scenario, fib};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "memory",
    group: "network",
    about: "without memory for a new table or a change, the old state answers",
    klds: &["if_epair"],
    limit: Duration::from_secs(120),
    run,
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
/// A destination that the flapping routes do not touch.
const KNOWN: &str = "203.0.113.9";

fn run(context: &mut Context<'_>) -> Result<()> {
    let pair = fib::set_up_interface(context)?;
    context.load_weft()?;
    fib::load_table(context)?;
    let gateway = fib::gateway(1);
    context
        .guest
        .call(&format!("route add 203.0.113.0/24 {gateway}"))?;
    while_built(context)?;
    while_growing(context)?;

    context.guest.set_sysctl(LIMIT, 0)?;
    context.guest.set_sysctl(ALGORITHM, PLAIN_ALGORITHM)?;
    context.unload_weft()?;
    context.guest.call("route del 203.0.113.0/24")?;
    fib::unload_table(context)?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

/// A table that does not fit is left to the algorithm that has it.
fn while_built(context: &mut Context<'_>) -> Result<()> {
    let failures = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    context.guest.set_sysctl(LIMIT, BUILD_LIMIT)?;
    refused_build(context)?;
    let chosen = context.guest.sysctl(ALGORITHM)?;
    context.report.equal(
        &chosen.as_str(),
        &PLAIN_ALGORITHM,
        "the algorithm before it keeps the table",
    );
    let now = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    context
        .report
        .check(now > failures, "the failure is counted", now);
    for _ in 0..BUILDS {
        refused_build(context)?;
    }
    let held = held_at_rest(context)?;
    context.report.check(
        held <= BETWEEN_BUILDS,
        "failed builds leave no memory behind",
        format_args!("{held} bytes, allowed {BETWEEN_BUILDS}"),
    );
    Ok(())
}

fn refused_build(context: &mut Context<'_>) -> Result<()> {
    let refused = context
        .guest
        .refused(&format!("sysctl set {ALGORITHM} weft4"))?;
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
        if start.elapsed() > Duration::from_secs(10) {
            context
                .report
                .fail("failed builds are given up", "still there after 10 s");
            break;
        }
    }
    context.guest.number("sysctl get net.weft.fib.bytes")
}

/// A table that cannot grow answers as it did, and is rebuilt when it can.
fn while_growing(context: &mut Context<'_>) -> Result<()> {
    context.guest.set_sysctl(LIMIT, 0)?;
    context.guest.set_sysctl(ALGORITHM, "weft4")?;
    let held = context.guest.number("sysctl get net.weft.fib.bytes")?;
    let failures = context.guest.number(&format!("sysctl get {FAILURES}"))?;
    let before = context.guest.line(&format!("route get {KNOWN}"))?;
    context.guest.set_sysctl(LIMIT, held)?;
    let gateway = fib::gateway(2);
    let mut added = 0;
    while added < MORE && context.guest.number(&format!("sysctl get {FAILURES}"))? == failures {
        let batch: Vec<String> = (added..added + 50)
            .map(|n| format!("route add 198.51.{}.{}/32 {gateway}", n / 250, n % 250 + 1))
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
    let after = context.guest.line(&format!("route get {KNOWN}"))?;
    context
        .report
        .equal(&after, &before, "a known destination is routed as before");

    context.guest.set_sysctl(LIMIT, 0)?;
    context
        .guest
        .call(&format!("route add 198.51.99.1/32 {gateway}"))?;
    context.compare_fib("", KEYS, "with memory again, all answers are right")?;
    context.guest.call("route del 198.51.99.1/32")?;
    for n in 0..added {
        context
            .guest
            .call(&format!("route del 198.51.{}.{}/32", n / 250, n % 250 + 1))?;
    }
    context.compare_fib("", KEYS, "and they stay right")
}
