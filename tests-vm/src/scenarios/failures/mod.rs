// SPDX-License-Identifier: BSD-2-Clause
//! Each allocation of the module fails in its turn, while the module is loaded, and while
//! interfaces, cards, route tables, filters, settings and rings of netmap(4) are made and
//! changed: an error where one is due, everything as it was, and nothing left at the end.

mod matrix;
mod sites;

use std::collections::BTreeSet;
use std::time::Duration;

use matrix::Matrix;
use serde::{Deserialize, Serialize};
use sites::Code;

use super::pair::{create_jail, destroy, remove_jail};
use super::{Context, Scenario, V4, V6};
use crate::guest::{Error, Result};
use crate::image::MODULES;
use crate::lan::{FIRST_SLOT, Nic};

/// What the parts have in common. Each boots by itself.
const PART: Scenario = Scenario {
    klds: &["if_epair"],
    limit: Duration::from_secs(400),
    ..Scenario::ORDINARY
};

pub(super) const LOAD: Scenario = Scenario {
    name: "failures-load",
    group: "failures-load",
    about: "each allocation of a load fails in its turn: nothing is left, the next load works",
    run: |context| {
        part(context, "load", |context, matrix| {
            loads(context, matrix)?;
            load(context)
        })
    },
    ..PART
};

pub(super) const PAIR: Scenario = Scenario {
    name: "failures-pair",
    group: "failures-pair",
    about: "each allocation for pairs, L3 interfaces, jails and filters fails in its turn: all is as before",
    by_name: true,
    run: |context| {
        part(context, "pair", |context, matrix| {
            load(context)?;
            interfaces(context, matrix)
        })
    },
    ..PART
};

pub(super) const FIB: Scenario = Scenario {
    name: "failures-fib",
    group: "failures-fib",
    about: "each allocation for a route table and its changes fails in its turn: the answers stay right",
    by_name: true,
    run: |context| {
        part(context, "fib", |context, matrix| {
            load(context)?;
            tables(context, matrix)
        })
    },
    ..PART
};

pub(super) const NIC: Scenario = Scenario {
    name: "failures-nic",
    group: "failures-nic",
    about: "each allocation for a card of each driver fails in its turn: it is attached whole or not at all",
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    by_name: true,
    run: |context| {
        part(context, "nic", |context, matrix| {
            load(context)?;
            cards(context, matrix)
        })
    },
    ..PART
};

/// Calls of one site that fail, everyday and with `--full`.
const TURNS: [u64; 2] = [2, 1_000_000];
/// Routes of a table.
const ROUTES: usize = 400;
/// The same of calls while the module is loaded.
const LOAD_TURNS: [u64; 2] = [1, 3];
/// How long one operation may take with all its failures.
const LIMIT: Duration = Duration::from_secs(300);
/// Who drives the cards, in their order.
const DRIVERS: [&str; 3] = ["wvmx", "wem", "wvtnet"];

/// Something that is done, again and again, and undone.
struct Operation<'a> {
    /// What it is called in the table.
    name: &'a str,
    /// The agent's commands.
    command: String,
    undo: String,
}

impl<'a> Operation<'a> {
    fn new(name: &'a str, command: impl Into<String>, undo: impl Into<String>) -> Self {
        Self {
            name,
            command: command.into(),
            undo: undo.into(),
        }
    }
}

/// A call that failed, and what came of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Attempt {
    /// The kind of the call, by its place in the list of gates.
    kind: usize,
    /// Return addresses in the module's code.
    places: Vec<u64>,
    /// `done`, `not-reached`, or the error.
    outcome: String,
    /// What was not as before.
    odd: String,
}

impl Attempt {
    /// From a line of the agent's: site, turn, kind and addresses, outcome, what has changed.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').skip(2);
        let mut words = fields.next()?.split(' ').map(str::parse::<u64>);
        let kind = words.next()?.ok()?;
        let places = words.collect::<std::result::Result<Vec<_>, _>>().ok()?;
        Some(Self {
            kind: usize::try_from(kind).ok()?,
            places: places.into_iter().filter(|at| *at != 0).collect(),
            outcome: fields.next()?.into(),
            odd: fields.next().unwrap_or_default().into(),
        })
    }
}

/// Loads the module whose code is read: for tests, and otherwise as it is shipped.
fn load(context: &mut Context<'_>) -> Result<()> {
    let command = format!("kld load {MODULES}/test/weft.ko");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Tries what a part has, and writes the matrix of all parts that there are by now.
fn part(
    context: &mut Context<'_>,
    name: &str,
    run: fn(&mut Context<'_>, &mut Matrix) -> Result<()>,
) -> Result<()> {
    let code = Code::read(&context.artifacts.module_with_checks)
        .map_err(|error| Error::Unexpected(format!("the module's code: {error}")))?;
    let mut matrix = Matrix::new(code);
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    run(context, &mut matrix)?;
    context.unload_weft()?;
    matrix.judge(context);
    matrix
        .write(&context.artifacts.output, context.kernel, name)
        .map_err(|error| Error::Unexpected(format!("the matrix: {error}")))
}

/// Does something with each of its allocations failing, and notes how it went.
fn fails(context: &mut Context<'_>, matrix: &mut Matrix, operation: &Operation<'_>) -> Result<()> {
    let turns = TURNS[usize::from(context.full)];
    let Operation {
        name,
        command,
        undo,
    } = operation;
    let before = context.guest.memory_held("weft")?;
    let line = format!("faults try {turns} {command} // {undo}");
    let lines = context.guest.call_within(&line, LIMIT)?;
    let after = context.guest.memory_held("weft")?;
    let attempts: Vec<Attempt> = lines
        .iter()
        .filter_map(|line| Attempt::parse(line))
        .collect();
    context.report.check(
        attempts.len() == lines.len(),
        &format!("{name}: each failure is told of"),
        format_args!("{} of {}", attempts.len(), lines.len()),
    );
    let odd: Vec<String> = attempts
        .iter()
        .filter(|attempt| !attempt.odd.is_empty())
        .map(|attempt| format!("{}: {}", matrix.describe(attempt), attempt.odd))
        .collect();
    context.report.equal(
        &odd,
        &vec![],
        &format!(
            "{name}: all is as it was after each of {} failures",
            attempts.len()
        ),
    );
    // Tables and lists keep room for what they had; a leak is what is left after unload.
    context
        .report
        .note(&format!("{name}: held before {before:?}, after {after:?}"));
    matrix.add(name, attempts);
    Ok(())
}

/// Loads the module with each allocation failing that a load makes.
fn loads(context: &mut Context<'_>, matrix: &mut Matrix) -> Result<()> {
    let load = format!("kld load {MODULES}/test/weft.ko");
    context.guest.call(&load)?;
    let lines = context.guest.call_within("faults sites", LIMIT)?;
    context.unload_weft()?;
    let turns = LOAD_TURNS[usize::from(context.full)];
    let (mut attempts, mut seen) = (Vec::new(), BTreeSet::new());
    for line in lines {
        let mut words = line.split(' ');
        let (Some(site), Some(calls)) = (words.next(), words.next()) else {
            return Err(Error::Unexpected(format!("faults sites: {line}")));
        };
        let calls: u64 = calls.parse().unwrap_or(1);
        let which: BTreeSet<u64> = (0..calls.min(turns))
            .map(|n| 1 + n * (calls - 1) / (calls.min(turns) - 1).max(1))
            .collect();
        let rest: Vec<&str> = words.collect();
        let mut numbers = rest.iter().filter_map(|word| word.parse::<u64>().ok());
        let (kind, places) = (numbers.next(), numbers.collect::<Vec<_>>());
        // A load takes long: each function once, by whichever way.
        let function = matrix.function(&places).to_owned();
        if !context.full && !seen.insert((kind, function)) {
            continue;
        }
        for turn in which {
            context.guest.each(&[
                format!("kenv set net.weft.test.fail.site {site}"),
                format!("kenv set net.weft.test.fail.turn {turn}"),
                "dmesg clear".into(),
            ])?;
            let loaded = context.guest.call_within(&load, LIMIT);
            let outcome = match loaded {
                Ok(_) => "done".to_owned(),
                Err(Error::Failed { why, .. }) => why,
                Err(other) => return Err(other),
            };
            let messages = context.guest.messages()?;
            let failed = messages.iter().any(|line| line.starts_with("weft: test: "));
            if outcome == "done" {
                context.guest.call("kld unload weft.ko")?;
            }
            let held = context.guest.memory_held("weft")?;
            let odd = if held.is_empty() {
                String::new()
            } else {
                held.join(", ")
            };
            let outcome = if failed {
                outcome
            } else {
                "not-reached".into()
            };
            let line = format!("{site}\t{turn}\t{}\t{outcome}\t{odd}", rest.join(" "));
            attempts.extend(Attempt::parse(&line));
        }
    }
    context.guest.call("kenv set net.weft.test.fail.site 0")?;
    let odd: Vec<String> = attempts
        .iter()
        .filter(|attempt| !attempt.odd.is_empty())
        .map(|attempt| format!("{}: {}", matrix.describe(attempt), attempt.odd))
        .collect();
    context.report.equal(
        &odd,
        &vec![],
        &format!(
            "kldload: nothing is left after each of {} failures",
            attempts.len()
        ),
    );
    matrix.add("kldload", attempts);
    Ok(())
}

/// Pairs, L3 interfaces, jails, the filter of IPv6, and what is sent over them.
fn interfaces(context: &mut Context<'_>, matrix: &mut Matrix) -> Result<()> {
    create_jail(context, "left")?;
    for operation in [
        Operation::new("create wpair", "if create wpair0", "if destroy wpair0a"),
        Operation::new("create a jail", "jail create other", "jail remove other"),
    ] {
        fails(context, matrix, &operation)?;
    }
    context.guest.call("if create wpair0")?;
    let end = "net.weft.pair.wpair0a";
    let queues = context.guest.number(&format!("sysctl get {end}.queues"))?;
    let fewer = format!("sysctl set {end}.queues 1");
    let all = format!("sysctl set {end}.queues {queues}");
    context.guest.call(&fewer)?;
    fails(
        context,
        matrix,
        &Operation::new("more queues", &all, &fewer),
    )?;
    context.guest.call(&all)?;
    for operation in [
        Operation::new(
            "move an end into a jail",
            "if vnet wpair0b left",
            "if reclaim wpair0b left",
        ),
        Operation::new("fewer queues", &fewer, &all),
        Operation::new(
            "set MTU of a pair",
            "if mtu wpair0a 9000",
            "if mtu wpair0a 1500",
        ),
        Operation::new(
            "capabilities of a pair",
            "if capability wpair0a -tso4 -txcsum",
            "if capability wpair0a tso4 txcsum",
        ),
        Operation::new(
            "create wip",
            "if create wpair0a.ip0",
            "if destroy wpair0a.ip0",
        ),
        Operation::new(
            "link weft:ipv6",
            "pfil first inet6 weft ipv6",
            "pfil unlink inet6 weft ipv6",
        ),
        Operation::new("netmap on a pair", "netmap recv wpair0a 5010 0 10", ""),
    ] {
        fails(context, matrix, &operation)?;
    }
    let guest = &mut context.guest;
    guest.each(&[
        "if create wpair0a.ip0".into(),
        "if vnet wpair0b left".into(),
    ])?;
    guest.call(
        "in left each if addr wpair0b 10.3.0.2/24 -- if addr wpair0b fd00:3::2/64 -- if up wpair0b",
    )?;
    guest.each(&[
        "if addr wpair0a 10.3.0.1/24".into(),
        "if addr wpair0a fd00:3::1/64".into(),
        "if up wpair0a".into(),
        "if up wpair0a.ip0".into(),
        "ping 10.3.0.2 1 5000 56".into(),
    ])?;
    for operation in [
        Operation::new(
            "address of wip",
            "if addr wpair0a.ip0 10.3.0.9/32",
            "if unaddr wpair0a.ip0 10.3.0.9",
        ),
        Operation::new(
            "IPv6 address of wip",
            "if addr wpair0a.ip0 fd00:3::9/128",
            "if unaddr wpair0a.ip0 fd00:3::9",
        ),
        Operation::new(
            "join a group by wip",
            "if down wpair0a.ip0",
            "if up wpair0a.ip0",
        ),
        Operation::new(
            "move wip into a jail",
            "if vnet wpair0a.ip0 left",
            "if reclaim wpair0a.ip0 left",
        ),
        Operation::new("echoes over a pair", "ping 10.3.0.2 3 300 3000", ""),
        Operation::new("IPv6 echoes over a pair", "ping fd00:3::2 3 300 3000", ""),
    ] {
        fails(context, matrix, &operation)?;
    }
    destroy(context, "wpair0a.ip0")?;
    destroy(context, "wpair0a")?;
    remove_jail(context, "left")
}

/// Route tables of both families.
fn tables(context: &mut Context<'_>, matrix: &mut Matrix) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    for family in [&V4, &V6] {
        let count = ROUTES;
        let (ours, plain, algo) = (family.ours, family.plain, family.algorithm);
        context.load_routes("", family, &family.gateways(), 0, count)?;
        let built = format!("build a table of {}", family.name);
        fails(
            context,
            matrix,
            &Operation::new(
                &built,
                format!("sysctl set {algo} {ours}"),
                format!("sysctl set {algo} {plain}"),
            ),
        )?;
        context.choose("", family, ours)?;
        let (gateway, apart) = (family.gateway(1), family.small.apart);
        let host = family.host(3);
        for (what, prefix) in [("a prefix", apart), ("a host", host.as_str())] {
            let changed = format!("add and remove {what} of {}", family.name);
            fails(
                context,
                matrix,
                &Operation::new(
                    &changed,
                    format!("route add {prefix} {gateway}"),
                    format!("route del {prefix}"),
                ),
            )?;
        }
        let checked = format!("compare a table of {}", family.name);
        fails(
            context,
            matrix,
            &Operation::new(&checked, "sysctl set net.weft.fib.check 100", ""),
        )?;
        context.compare("", &[family], 1_000, "after all failures")?;
        context.choose("", family, plain)?;
        context.unload_routes("", family, count)?;
    }
    destroy(context, &pair)
}

/// Cards of each driver.
fn cards(context: &mut Context<'_>, matrix: &mut Matrix) -> Result<()> {
    for (number, driver) in DRIVERS.into_iter().enumerate() {
        let (place, name) = (
            format!("pci0:0:{}:0", FIRST_SLOT + number),
            format!("{driver}0"),
        );
        let (set, clear) = (
            format!("devctl set {place} {driver}"),
            format!("devctl detach {place}"),
        );
        let attached = format!("attach {driver}");
        // Once told, a device has its driver again whenever it is attached.
        context.guest.call_within(&set, LIMIT)?;
        context.guest.call_within(&clear, LIMIT)?;
        let attach = format!("devctl attach {place}");
        fails(context, matrix, &Operation::new(&attached, &attach, &clear))?;
        if context.guest.call(&attach).is_err() {
            context.guest.call_within(&set, LIMIT)?;
        }
        let (up, down) = (format!("if up {name}"), format!("if down {name}"));
        let started = format!("start {driver}");
        fails(context, matrix, &Operation::new(&started, &up, &down))?;
        context.guest.call(&up)?;
        let resized = format!("MTU of {driver}");
        fails(
            context,
            matrix,
            &Operation::new(
                &resized,
                format!("if mtu {name} 1400"),
                format!("if mtu {name} 1500"),
            ),
        )?;
        let ringed = format!("netmap on {driver}");
        fails(
            context,
            matrix,
            &Operation::new(&ringed, format!("netmap recv {name} 5010 0 10"), ""),
        )?;
        context.guest.call(&down)?;
        context.guest.call_within(&clear, LIMIT)?;
    }
    Ok(())
}
