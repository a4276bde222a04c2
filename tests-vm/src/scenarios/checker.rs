// SPDX-License-Identifier: BSD-2-Clause
//! FreeBSD's own checker, the module of `sys/tests/fib_lookup`, finds no difference
//! between the module's algorithms and the route table.
//!
//! It looks up the addresses at both ends of every prefix and beside them, and for
//! IPv4 random ones. It knows no groups of nexthops (a difference is all it sees in
//! one, and says so by dereferencing null), so there are none here; and it locks
//! nothing, so routes stay as they are meanwhile.

use std::time::Duration;

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "checker",
    group: "network",
    about: "FreeBSD's own checker finds the answers of weft4 and weft6 right",
    klds: &["if_epair", "test_lookup"],
    limit: Duration::from_secs(240),
    run,
    ..Scenario::ORDINARY
};

/// Addresses that the checker takes for each prefix, but for one that begins with
/// address 0.
const ADDRESSES: u64 = 5;
/// Random IPv4 addresses.
const RANDOM: u64 = 200_000;
const RANDOM_FULL: u64 = 5_000_000;

fn run(context: &mut Context<'_>) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    context.load_kld("test_lookup")?;
    for family in [&V4, &V6] {
        let routes = context.some_routes(family);
        context.load_routes("", family, &family.gateways(), 0, routes)?;
        context.choose("", family, family.ours)?;
        small_additions(context, family, "add")?;
        scan(context, family, routes as u64)?;
        small_additions(context, family, "del")?;
        scan(context, family, routes as u64)?;
    }
    let random = if context.full { RANDOM_FULL } else { RANDOM };
    check(
        context,
        "run_inet_random",
        random,
        "IPv4: random addresses",
        0,
    )?;
    for family in [&V4, &V6] {
        context.choose("", family, family.plain)?;
        context.unload_routes("", family, context.some_routes(family))?;
    }
    context.guest.call("kld unload test_lookup.ko")?;
    context.unload_weft()?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

/// Adds or removes routes that lie in one another, hosts and ways to nowhere.
fn small_additions(context: &mut Context<'_>, family: &Family, verb: &str) -> Result<()> {
    let small = &family.small;
    let [one, two] = [0, 1].map(|number| family.gateway(number));
    let routes = [
        (small.outer, one.as_str()),
        (small.inner, &two),
        (small.hosts[0], &one),
        (small.hosts[1], &two),
        (small.odd[0], &one),
        (small.odd[1], &two),
        (small.odd[2], &one),
        (small.hole[0], "blackhole"),
        (small.hole[1], &two),
        (small.rejected, "reject"),
    ];
    let command = |(prefix, target): &(&str, &str)| match verb {
        "add" => format!("route add {prefix} {target}"),
        _ => format!("route del {prefix}"),
    };
    // A real table may have one of them already, and keeps it then.
    for route in &routes {
        let _ = context.guest.call(&command(route));
    }
    Ok(())
}

fn scan(context: &mut Context<'_>, family: &Family, routes: u64) -> Result<()> {
    let node = ["run_inet_scan", "run_inet6_scan"][family.number];
    let what = format!("{}: both ends of each prefix", family.name);
    check(context, node, 1, &what, ADDRESSES * routes)
}

/// Has the checker do `what`, which must take at least `least` addresses.
fn check(context: &mut Context<'_>, node: &str, value: u64, what: &str, least: u64) -> Result<()> {
    context.guest.clear_messages()?;
    let command = format!("sysctl set net.route.test.{node} {value}");
    let outcome = context
        .guest
        .call_within(&command, Duration::from_secs(300));
    let messages = context.guest.messages()?;
    // "N packets in N nanoseconds, N pps"
    let looked_up = messages
        .iter()
        .find_map(|line| line.split_once(" packets in ")?.0.parse::<u64>().ok());
    context.report.check(
        outcome.is_ok() && looked_up.is_some_and(|count| count >= least.max(1)),
        &format!("{what}: the checker finds no difference"),
        format_args!("{outcome:?}\n{}", messages.join("\n")),
    );
    if let Some(count) = looked_up {
        context.report.note(&format!("{what}: {count} addresses"));
    }
    Ok(())
}
