// SPDX-License-Identifier: BSD-2-Clause
//! The module comes and goes, says what it is, and leaves nothing behind.

use std::time::Duration;

use super::{Context, Scenario};
use crate::guest::Result;
use crate::image::MODULES;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "load",
    group: "modules",
    about: "loads and unloads again and again, describes its sysctls, leaves no memory behind",
    run,
    ..Scenario::ORDINARY
};

/// Loads in a row.
const TIMES: u32 = 100;
const TIMES_FULL: u32 = 1_000;

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    for name in ["version", "build", "kernel"] {
        let value = context.guest.sysctl(&format!("net.weft.{name}"))?;
        context.report.check(
            !value.is_empty(),
            &format!("net.weft.{name} says something"),
            &value,
        );
        context.report.note(&format!("net.weft.{name}: {value}"));
    }
    descriptions(context)?;
    let again = context
        .guest
        .refused(&format!("kld load {MODULES}/weft.ko"))?;
    context.report.check(
        again.starts_with("EEXIST"),
        "a second load is refused",
        again,
    );
    context.unload_weft()?;

    let times = if context.full { TIMES_FULL } else { TIMES };
    let rounds = format!("kld load {MODULES}/weft.ko -- kld unload weft.ko");
    for _ in 0..times {
        context
            .guest
            .call_within(&format!("each {rounds}"), Duration::from_secs(20))?;
    }
    context.report.pass(&format!("{times} loads and unloads"));
    context.nothing_held()
}

/// Every node below `net.weft` must say what it is and be readable.
fn descriptions(context: &mut Context<'_>) -> Result<()> {
    let nodes = context.guest.call("sysctl tree net.weft")?;
    context
        .report
        .check(nodes.len() > 5, "net.weft has nodes", nodes.len());
    for line in nodes {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _kind, _format, _label, description, value] = fields[..] else {
            context.report.fail("a node has six fields", &line);
            continue;
        };
        context.report.check(
            description.len() > 3 && !value.starts_with('!'),
            &format!("{name} is described and readable"),
            &line,
        );
    }
    Ok(())
}
