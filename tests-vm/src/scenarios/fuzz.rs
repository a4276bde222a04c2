// SPDX-License-Identifier: BSD-2-Clause
//! Calls that nobody would make, at random, by root, by an ordinary user, and by the root of
//! a jail, to every interface that the module has: the system survives them, and who is not
//! root of the host changes nothing of the host's.
//!
//! What is called follows from a seed, which is in the report: `WEFT_FUZZ_SEED` has it again.

use std::time::{Duration, Instant};

use super::pair::{create_jail, other, remove_jail};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::{FIRST_SLOT, Nic};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fuzz",
    group: "fuzz",
    about: "random settings, requests, routes, rings, filters, frames, by root, users and jails: the kernel lives",
    limit: Duration::from_secs(400),
    by_name: true,
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run,
    ..Scenario::ORDINARY
};

/// Who drives the cards, in their order.
const DRIVERS: [&str; 3] = ["wvmx", "wem", "wvtnet"];
/// The words before a command of root of the host, of an ordinary user, and of a jail's.
const WHO: [(&str, &str); 4] = [
    ("root", ""),
    ("user", "as 1001 "),
    ("root of a jail", "in other "),
    ("user of a jail", "in other as 1001 "),
];
/// Rounds, each with seeds of its own, everyday and with `--full`.
const ROUNDS: [u64; 2] = [1, 40];
/// How long a batch of calls may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What is called, and how often a round. `{names}` are all interfaces, `{all}` all trees of
/// sysctl(3).
const KINDS: [(&str, &str, u64); 6] = [
    ("settings", "setting {all}", 700),
    ("requests", "request {names}", 700),
    (
        "cloners",
        "cloner wpair,wip,wpair0a,wpair0a.ip,wvmx0.ip",
        60,
    ),
    ("routes", "route {first}", 400),
    ("rings of a pair", "ring {first}", 15),
    ("filters", "filter", 200),
];
/// Frames from a pair's end, and writes into the rings of a card.
const FRAMES: u64 = 2_500;
const RINGS: u64 = 8;
/// The hardware address of the end that gets the frames.
const HARDWARE: &str = "020000006602";

fn run(context: &mut Context<'_>) -> Result<()> {
    let seed = std::env::var("WEFT_FUZZ_SEED").ok();
    let seed: u64 = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    context.report.note(&format!("WEFT_FUZZ_SEED={seed}"));
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    let mut calls = 0;
    for round in 0..ROUNDS[usize::from(context.full)] {
        let seed = seed.wrapping_mul(1_000).wrapping_add(round);
        calls += one_round(context, seed)?;
    }
    context.report.pass(&format!("{calls} calls"));
    Ok(())
}

/// Everything once, and back to where it began.
fn one_round(context: &mut Context<'_>, seed: u64) -> Result<u64> {
    let before = interfaces(context)?;
    let names = set_up(context)?;
    let mut calls = 0;
    // Whoever may change nothing comes first, while all is as it was set up.
    for (number, (who, at)) in WHO.iter().enumerate().rev() {
        let is_root = number == 0;
        let state = context.guest.call_within("faults state", LIMIT)?;
        for (kind, command, count) in KINDS {
            let command = command
                .replace("{names}", &names.join(","))
                .replace(
                    "{first}",
                    if at.starts_with("in ") {
                        "lo0"
                    } else {
                        &names[0]
                    },
                )
                .replace("{all}", "net.weft,hw.weft,dev.wvmx,dev.wem,dev.wvtnet");
            calls += batch(
                context,
                who,
                at,
                kind,
                &format!("{command} {seed} {count}"),
                count,
            )?;
        }
        if !is_root {
            let now = context.guest.call_within("faults state", LIMIT)?;
            let changed: Vec<&String> = now.iter().filter(|line| !state.contains(line)).collect();
            context.report.equal(
                &changed,
                &vec![],
                &format!("{who} changes nothing, seed {seed}"),
            );
        }
    }
    for driver in DRIVERS {
        let command = format!("ring {driver}0 {seed} {RINGS}");
        calls += batch(
            context,
            "root",
            "",
            &format!("rings of {driver}"),
            &command,
            RINGS,
        )?;
    }
    calls += frames(context, seed)?;
    tear_down(context, &before)?;
    Ok(calls)
}

/// So many calls; gives how many were made.
fn batch(
    context: &mut Context<'_>,
    who: &str,
    at: &str,
    kind: &str,
    command: &str,
    count: u64,
) -> Result<u64> {
    match context
        .guest
        .call_within(&format!("{at}fuzz {command}"), LIMIT)
    {
        Ok(tally) => {
            context
                .report
                .note(&format!("{kind}, {who}: {}", tally.join(", ")));
            Ok(count)
        }
        // Not even a device or an interface to begin with.
        Err(Error::Failed { why, .. }) if !at.is_empty() => {
            context.report.note(&format!("{kind}, {who}: {why}"));
            Ok(1)
        }
        Err(other) => Err(other),
    }
}

/// Pairs, an L3 interface and cards; gives their names.
fn set_up(context: &mut Context<'_>) -> Result<Vec<String>> {
    context.load_weft()?;
    create_jail(context, "far")?;
    create_jail(context, "other")?;
    let mut names = vec!["wpair0a".to_owned(), "wpair0a.ip0".to_owned()];
    let guest = &mut context.guest;
    guest.each(&["if create wpair0".into(), "if vnet wpair0b far".into()])?;
    guest.call(
        "in far each if addr wpair0b 10.3.0.2/24 -- if addr wpair0b fd00:3::2/64 -- if up wpair0b",
    )?;
    guest.each(&[
        "if addr wpair0a 10.3.0.1/24".into(),
        "if addr wpair0a fd00:3::1/64".into(),
        "if up wpair0a".into(),
        "if create wpair0a.ip0".into(),
        "if addr wpair0a.ip0 10.3.0.3/32".into(),
        "if up wpair0a.ip0".into(),
    ])?;
    for (number, driver) in DRIVERS.into_iter().enumerate() {
        let place = format!("pci0:0:{}:0", FIRST_SLOT + number);
        if context
            .guest
            .call_within(&format!("devctl attach {place}"), LIMIT)
            .is_err()
        {
            let set = format!("devctl set {place} {driver}");
            context.guest.call_within(&set, LIMIT)?;
        }
        context.guest.call(&format!("if up {driver}0"))?;
        names.push(format!("{driver}0"));
    }
    Ok(names)
}

/// Frames of all kinds over a new pair, with the filter of IPv6 and an L3 interface in their
/// way; and then an echo.
fn frames(context: &mut Context<'_>, seed: u64) -> Result<u64> {
    // `in` moves all that comes behind it in the same request.
    for command in [
        "each if create wpair9 -- if addr wpair9a 10.99.0.1/24 -- if up wpair9a -- if vnet wpair9b far",
        &format!("in far ether mac wpair9b {HARDWARE}"),
        "in far each if addr wpair9b 10.99.0.2/24 -- if addr wpair9b fd00:99::2/64 -- if up wpair9b",
        "in far if create wpair9b.ip0",
        "in far each if addr wpair9b.ip0 10.99.0.3/32 -- if up wpair9b.ip0",
        "in far pfil first inet6 weft ipv6",
    ] {
        context.guest.call(command)?;
    }
    let mut calls = 0;
    for (seed, count) in [(seed, FRAMES), (seed + 500, FRAMES)] {
        let command = format!("frame wpair9a {HARDWARE} 1500 {seed} {count}");
        calls += batch(context, "root", "", "frames", &command, count)?;
    }
    let start = Instant::now();
    let mut answer = String::new();
    while answer != "1 of 1" && start.elapsed() < LIMIT {
        answer = match context.guest.call_within("ping 10.99.0.2 1 2000 56", LIMIT) {
            Ok(lines) => lines.join(" "),
            Err(Error::Failed { why, .. }) => why,
            Err(other) => return Err(other),
        };
    }
    let what = format!("an echo is answered after all frames, seed {seed}");
    context.report.equal(answer.as_str(), "1 of 1", &what);
    Ok(calls)
}

fn interfaces(context: &mut Context<'_>) -> Result<Vec<String>> {
    let lines = context.guest.call_within("if all", LIMIT)?;
    let name = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    Ok(lines.iter().map(name).collect())
}

/// Everything goes, and nothing is left.
fn tear_down(context: &mut Context<'_>, before: &[String]) -> Result<()> {
    context
        .guest
        .call_within("in far if destroy wpair9b.ip0", LIMIT)?;
    for number in 0..DRIVERS.len() {
        let detach = format!("devctl detach pci0:0:{}:0", FIRST_SLOT + number);
        context.guest.call_within(&detach, LIMIT)?;
    }
    for jail in ["other", "far"] {
        remove_jail(context, jail)?;
    }
    let start = Instant::now();
    loop {
        let left: Vec<String> = interfaces(context)?
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        let home = left.iter().any(|name| name == &other("wpair0"));
        if left.is_empty() || start.elapsed() > LIMIT {
            context.report.equal(&left, &vec![], "no interface is left");
            break;
        }
        if home || start.elapsed() > Duration::from_secs(2) {
            // Those on top of others first.
            let last = left.iter().max_by_key(|name| name.len());
            if let Some(name) = last {
                let _ = context
                    .guest
                    .call_within(&format!("if destroy {name}"), LIMIT);
            }
        }
    }
    for (family, plain) in [("inet", "radix4_lockless"), ("inet6", "radix6_lockless")] {
        let algorithm = format!("net.route.algo.{family}.algo");
        context
            .guest
            .call_within(&format!("sysctl set {algorithm} {plain}"), LIMIT)?;
    }
    context.unload_weft()
}
