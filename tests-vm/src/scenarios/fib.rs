// SPDX-License-Identifier: BSD-2-Clause
//! `weft4` and `weft6` answer as the route table does: for a large table, for small
//! awkward ones, and while routes change under traffic.

use std::time::{Duration, Instant};

use super::family::Small;
use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO_V4: Scenario = Scenario {
    name: "fib4",
    group: "network",
    about: "lookups in weft4 equal the route table's, in large and small tables, during changes",
    klds: &["if_epair"],
    limit: Duration::from_secs(240),
    run: |context| run(context, &V4),
    ..Scenario::ORDINARY
};

pub(super) const SCENARIO_V6: Scenario = Scenario {
    name: "fib6",
    about: "the same of weft6",
    run: |context| run(context, &V6),
    ..SCENARIO_V4
};

/// Addresses of each kind that a check of the large table compares.
const KEYS: u64 = 20_000;
const KEYS_FULL: u64 = 1_000_000;
/// Addresses of each kind that a check of a small table compares.
const KEYS_SMALL: u64 = 500;

fn run(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    small_tables(context, family)?;
    large_table(context, family)?;
    refused_unload(context, family)?;

    context.choose("", family, family.stock)?;
    context.unload_weft()?;
    context.choose("", family, family.plain)?;
    context.unload_routes("", family, context.some_routes(family))?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

/// What to do, and what the table is like then.
type Step = (&'static str, String);

/// Each step changes a table of a few routes in a way that has its own code
/// somewhere: no default route, one, host routes, no way out, several ways.
fn small_tables(context: &mut Context<'_>, family: &Family) -> Result<()> {
    context.choose("", family, family.ours)?;
    let steps = [growing(family), changing(family), shrinking(family)].concat();
    for (what, command) in steps {
        if !command.is_empty() {
            context.guest.call(&command)?;
        }
        context.compare("", &[family], KEYS_SMALL, &format!("small table: {what}"))?;
    }
    Ok(())
}

fn growing(family: &Family) -> Vec<Step> {
    let small = &family.small;
    let [one, two, three] = [0, 1, 2].map(|number| family.gateway(number));
    let add = |prefix: &str, gateway: &str| format!("route add {prefix} {gateway}");
    vec![
        ("the interface's own routes", String::new()),
        ("a default route", add(small.all, &one)),
        ("a route inside it", add(small.outer, &two)),
        ("a route inside that", add(small.inner, &three)),
        ("a host route", add(small.hosts[0], &one)),
        ("a host route beside it", add(small.hosts[1], &two)),
        ("an odd length", add(small.odd[0], &one)),
        ("another odd length", add(small.odd[1], &two)),
        ("a pair of hosts as one", add(small.odd[2], &one)),
        (
            "two halves",
            format!(
                "each {} -- {}",
                add(small.halves[0], &one),
                add(small.halves[1], &two)
            ),
        ),
        ("a blackhole", add(small.hole[0], "blackhole")),
        ("a rejected network", add(small.rejected, "reject")),
        ("a hole in the blackhole", add(small.hole[1], &two)),
    ]
}

fn changing(family: &Family) -> Vec<Step> {
    let Small { inner, outer, .. } = family.small;
    let [one, two, three] = [0, 1, 2].map(|number| family.gateway(number));
    let host = family.small.hosts[0];
    vec![
        ("a second way", format!("route add {inner} {two}")),
        (
            "a third way, with weight",
            format!("route add {inner} {one} 5"),
        ),
        ("one way less", format!("route del {inner} {three}")),
        ("another gateway", format!("route change {outer} {three}")),
        (
            "a way becomes a blackhole",
            format!("route change {outer} blackhole"),
        ),
        (
            "no default route",
            format!("route del {}", family.small.all),
        ),
        (
            "the same host route again",
            format!("each route del {host} -- route add {host} {two}"),
        ),
        (
            "a second way out",
            format!(
                "each route add {all} {one} -- route add {all} {two}",
                all = family.small.all
            ),
        ),
    ]
}

/// Takes all out again, the outermost first.
fn shrinking(family: &Family) -> Vec<Step> {
    let small = &family.small;
    let [one, two] = [0, 1].map(|number| family.gateway(number));
    let mut commands = vec![
        format!("route del {} {one}", small.all),
        format!("route del {} {two}", small.all),
        format!("route del {}", small.outer),
        format!("route del {} {two}", small.inner),
        format!("route del {} {one}", small.inner),
    ];
    let rest = [
        &small.hosts[..],
        &small.halves,
        &small.hole,
        &[small.rejected],
        &small.odd,
    ];
    commands.extend(
        rest.concat()
            .iter()
            .map(|prefix| format!("route del {prefix}")),
    );
    vec![("all gone again", format!("each {}", commands.join(" -- ")))]
}

fn large_table(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let count = context.some_routes(family);
    context.load_routes("", family, &family.gateways(), 0, count)?;
    let start = Instant::now();
    context.choose("", family, family.ours)?;
    context
        .report
        .note(&format!("{} built in {:?}", family.ours, start.elapsed()));

    let keys = if context.full { KEYS_FULL } else { KEYS };
    context.compare("", &[family], keys, "large table")?;
    changes_under_traffic(context, family, keys)?;
    context.compare("", &[family], keys, "large table after the changes")
}

/// Routes come, move and go in the large table while packets are sent into it and
/// answers are compared.
fn changes_under_traffic(context: &mut Context<'_>, family: &Family, keys: u64) -> Result<()> {
    let ways = [3, 4, 5].map(|number| family.gateway(number)).join(",");
    let apart = family.small.apart;
    let (first, _) = apart.split_once('/').unwrap_or((apart, ""));
    let guest = &mut context.guest;
    guest.start("flap", &format!("route flap {apart} 64 {ways} 400 0"))?;
    guest.start("send", &format!("udp send {first} 9 1000000 300 4096"))?;
    let start = Instant::now();
    let mut round = 0;
    while round < 3 || (!enough_went_on(context)? && start.elapsed() < Duration::from_secs(60)) {
        round += 1;
        let what = format!("large table during changes, round {round}");
        context.compare("", &[family], keys / 4, &what)?;
    }
    let flaps = context.guest.stop("flap")?;
    let sent = context.guest.stop("send")?;
    context.report.check(
        matches!(flaps[..], [added, changed, deleted, 0, _]
            if added > 20 && changed > 20 && deleted == added),
        "routes were added, moved and deleted meanwhile",
        format_args!("added, changed, deleted, errors, ms: {flaps:?}"),
    );
    context.report.check(
        sent.first().is_some_and(|&count| count > 20),
        "packets were sent meanwhile",
        format_args!("sent, refused, retried: {sent:?}"),
    );
    context
        .report
        .note(&format!("flaps {flaps:?}, packets {sent:?}"));
    Ok(())
}

/// Whether routes were added and moved, and packets sent, often enough by now.
fn enough_went_on(context: &mut Context<'_>) -> Result<bool> {
    let flaps = context.guest.counters("flap")?;
    let sent = context.guest.counters("send")?;
    let past = |counts: &[u64], at: usize| counts.get(at).is_some_and(|&count| count > 20);
    Ok(past(&flaps, 0) && past(&flaps, 1) && past(&sent, 0))
}

/// While a FIB uses the algorithm the module must stay, and say why.
fn refused_unload(context: &mut Context<'_>, family: &Family) -> Result<()> {
    context.guest.clear_messages()?;
    let why = context.guest.refused("kld unload weft.ko")?;
    context.report.check(
        why.starts_with("EBUSY"),
        "unload is refused while the algorithm is in use",
        &why,
    );
    let messages = context.guest.messages()?;
    let reasons = messages
        .iter()
        .filter(|line| line.starts_with("weft") && line.contains(family.ours))
        .count();
    context.report.check(
        reasons == 1,
        "one line says what is in use",
        messages.join("\n"),
    );
    let what = "still right after the refused unload";
    context.compare("", &[family], KEYS_SMALL, what)
}
