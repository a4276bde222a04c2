// SPDX-License-Identifier: BSD-2-Clause
//! `weft4` answers as the route table does: for a large table, for small awkward
//! ones, and while routes change under traffic.

use std::time::{Duration, Instant};

use super::{ALGORITHM, Context, PLAIN_ALGORITHM, Scenario, TABLE};
use crate::guest::Result;
use crate::image::KLDS;
use crate::table::GATEWAYS;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fib",
    group: "network",
    about: "lookups in weft4 equal the route table's, in large and small tables, during changes",
    klds: &["if_epair"],
    limit: Duration::from_secs(240),
    run,
};

/// Addresses of each kind that a check of the large table compares.
const KEYS: u64 = 20_000;
const KEYS_FULL: u64 = 1_000_000;
/// Addresses of each kind that a check of a small table compares.
const KEYS_SMALL: u64 = 500;
/// The network on the interface that all gateways are in.
const NETWORK: &str = "10.200.0";

fn run(context: &mut Context<'_>) -> Result<()> {
    let pair = set_up_interface(context)?;
    context.load_weft()?;
    small_tables(context)?;
    large_table(context)?;
    refused_unload(context)?;

    // The kernel's own choice for a table of this size.
    context.guest.set_sysctl(ALGORITHM, "radix4_lockless")?;
    context.unload_weft()?;
    context.guest.set_sysctl(ALGORITHM, PLAIN_ALGORITHM)?;
    unload_table(context)?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

impl Context<'_> {
    /// How long it may take to put the table's routes in, or take them out.
    fn table_limit(&self) -> Duration {
        Duration::from_secs(60) + Duration::from_millis(2 * self.routes as u64)
    }
}

/// One end of an epair with all gateways behind it.
pub(super) fn set_up_interface(context: &mut Context<'_>) -> Result<String> {
    // Another scenario may have loaded it; a second load is refused.
    let _ = context.guest.call(&format!("kld load {KLDS}/if_epair.ko"));
    let pair = context.guest.line("if create epair")?;
    context.guest.call(&format!(
        "each if addr lo0 127.0.0.1/8 -- if up lo0 -- if up {pair}"
    ))?;
    let other = format!("{}b", pair.trim_end_matches('a'));
    context.guest.call(&format!(
        "each if up {other} -- if addr {pair} {NETWORK}.1/24"
    ))?;
    Ok(pair)
}

pub(super) fn gateway(number: u32) -> String {
    format!("{NETWORK}.{}", number + 2)
}

fn gateways() -> String {
    (0..GATEWAYS).map(gateway).collect::<Vec<_>>().join(",")
}

/// Each step changes a table of a few routes in a way that has its own code
/// somewhere: no default route, one, host routes, no way out, several ways.
fn small_tables(context: &mut Context<'_>) -> Result<()> {
    context.guest.set_sysctl(ALGORITHM, "weft4")?;
    let (one, two, three) = (gateway(0), gateway(1), gateway(2));
    let steps = [
        ("the interface's own routes", String::new()),
        ("a default route", format!("route add 0.0.0.0/0 {one}")),
        ("a route inside it", format!("route add 20.0.0.0/8 {two}")),
        (
            "a route inside that",
            format!("route add 20.1.0.0/16 {three}"),
        ),
        ("a host route", format!("route add 20.1.2.3/32 {one}")),
        (
            "a host route beside it",
            format!("route add 20.1.2.2/32 {two}"),
        ),
        (
            "two halves",
            format!("each route add 64.0.0.0/3 {one} -- route add 96.0.0.0/3 {two}"),
        ),
        ("a blackhole", "route add 30.0.0.0/8 blackhole".into()),
        ("a rejected network", "route add 31.0.0.0/8 reject".into()),
        (
            "a hole in the blackhole",
            format!("route add 30.1.0.0/16 {two}"),
        ),
        ("a second way", format!("route add 20.1.0.0/16 {two}")),
        (
            "a third way, with weight",
            format!("route add 20.1.0.0/16 {one} 5"),
        ),
        ("one way less", format!("route del 20.1.0.0/16 {three}")),
        (
            "another gateway",
            format!("route change 20.0.0.0/8 {three}"),
        ),
        (
            "a way becomes a blackhole",
            "route change 20.0.0.0/8 blackhole".into(),
        ),
        ("no default route", "route del 0.0.0.0/0".into()),
        (
            "the same host route again",
            format!("each route del 20.1.2.3/32 -- route add 20.1.2.3/32 {two}"),
        ),
    ];
    for (what, command) in steps {
        if !command.is_empty() {
            context.guest.call(&command)?;
        }
        context.compare_fib("", KEYS_SMALL, &format!("small table: {what}"))?;
    }
    let remove = [
        "20.0.0.0/8",
        "20.1.2.3/32",
        "20.1.2.2/32",
        "64.0.0.0/3",
        "96.0.0.0/3",
        "30.0.0.0/8",
        "31.0.0.0/8",
        "30.1.0.0/16",
    ];
    for prefix in remove {
        context.guest.call(&format!("route del {prefix}"))?;
    }
    for way in [&two, &one] {
        context
            .guest
            .call(&format!("route del 20.1.0.0/16 {way}"))?;
    }
    context.compare_fib("", KEYS_SMALL, "small table: all gone again")
}

/// Puts the table's routes in, with the kernel's plain algorithm.
pub(super) fn load_table(context: &mut Context<'_>) -> Result<()> {
    context.guest.set_sysctl(ALGORITHM, PLAIN_ALGORITHM)?;
    let limit = context.table_limit();
    let lines = context
        .guest
        .call_within(&format!("route load {TABLE} {}", gateways()), limit)?;
    let loaded: Vec<usize> = lines[0]
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    context.report.equal(
        &loaded[..2],
        &[context.routes, 0],
        "all routes of the table are in",
    );
    context
        .report
        .note(&format!("{} routes loaded in {} ms", loaded[0], loaded[2]));
    Ok(())
}

/// Takes the table's routes out again.
pub(super) fn unload_table(context: &mut Context<'_>) -> Result<()> {
    let limit = context.table_limit();
    context
        .guest
        .call_within(&format!("route unload {TABLE}"), limit)
        .map(drop)
}

fn large_table(context: &mut Context<'_>) -> Result<()> {
    load_table(context)?;
    let start = Instant::now();
    context.guest.set_sysctl(ALGORITHM, "weft4")?;
    let chosen = context.guest.sysctl(ALGORITHM)?;
    context
        .report
        .equal(&chosen.as_str(), &"weft4", "weft4 is selected");
    context
        .report
        .note(&format!("weft4 built in {:?}", start.elapsed()));

    let keys = if context.full { KEYS_FULL } else { KEYS };
    context.compare_fib("", keys, "large table")?;
    changes_under_traffic(context, keys)?;
    context.compare_fib("", keys, "large table after the changes")
}

/// Routes come, move and go in the large table while packets are sent into it and
/// answers are compared.
fn changes_under_traffic(context: &mut Context<'_>, keys: u64) -> Result<()> {
    let guest = &mut context.guest;
    let ways = [gateway(3), gateway(4), gateway(5)].join(",");
    guest.start("flap", &format!("route flap 198.18.0.0/26 64 {ways} 400 0"))?;
    guest.start("send", "udp send 198.18.0.1 9 1000000 300 4096")?;
    let start = Instant::now();
    let mut round = 0;
    while round < 3 || (!enough_went_on(context)? && start.elapsed() < Duration::from_secs(60)) {
        round += 1;
        context.compare_fib(
            "",
            keys / 4,
            &format!("large table during changes, round {round}"),
        )?;
    }
    let flaps = context.guest.stop("flap")?;
    let sent = context.guest.stop("send")?;
    context.report.check(
        flaps.len() == 4 && flaps[0] > 20 && flaps[1] > 20 && flaps[2] == flaps[0] && flaps[3] == 0,
        "routes were added, moved and deleted meanwhile",
        format_args!("added, changed, deleted, errors: {flaps:?}"),
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

/// While a FIB uses `weft4` the module must stay, and say why.
fn refused_unload(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    let why = context.guest.refused("kld unload weft.ko")?;
    context.report.check(
        why.starts_with("EBUSY"),
        "unload is refused while weft4 is in use",
        &why,
    );
    let messages = context.guest.messages()?;
    let reasons = messages
        .iter()
        .filter(|line| line.starts_with("weft") && line.contains("weft4"))
        .count();
    context.report.check(
        reasons == 1,
        "one line says what is in use",
        messages.join("\n"),
    );
    context.compare_fib(
        "",
        KEYS_SMALL,
        "weft4 still answers after the refused unload",
    )
}
