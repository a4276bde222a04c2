// SPDX-License-Identifier: BSD-2-Clause
//! The module's algorithms beside the kernel's own, in one guest whose clock counts
//! instructions: what a lookup takes, what a table holds, and how long a change takes
//! to be seen.
//!
//! Lookups are those of FreeBSD's own benchmark (`sys/tests/fib_lookup`), its loop and
//! the kernel's way to the algorithm included. A nanosecond of the guest's clock is an
//! instruction, so the figures know nothing of caches; waiting takes no time of the
//! host but all of the guest's, so delays by timers are as long as they would be.
//!
//! `run_lps_rnd_ann` and its kin are left out: they store an announced address in host
//! order where the kernel wants network order, so on amd64 its bytes are turned round,
//! and what is looked up is not announced. `run_inet` does what they mean to.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::{Context, Family, Scenario, V4, V6};
use crate::guest::{Error, Result};
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race",
    group: "race",
    about: "instructions a lookup, and the time until a change is seen, beside the kernel's own",
    klds: &[
        "if_epair",
        "test_lookup",
        "fib_dxr",
        "dpdk_lpm4",
        "dpdk_lpm6",
    ],
    limit: Duration::from_secs(3_600),
    memory_mib: [2048, 4096],
    counted: true,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

/// Each algorithm is measured so often, in turn with the others. Counts differ little
/// from round to round; to build the tables is what takes long.
const ROUNDS: usize = 3;
/// Lookups of a measurement.
const LOOKUPS: u64 = 100_000;
/// Announced addresses that are looked up again and again; FreeBSD's benchmark takes
/// them one by one and goes through all of them within 10,000 lookups.
const KEYS: usize = 2_000;
/// Time between changes that are watched, so that none is seen with the one before.
const PAUSE_MS: u32 = 30;

/// Changes whose time until they are seen is measured.
struct Watched {
    /// Other changes a second meanwhile.
    others: u32,
    /// How many in a round, everyday and with `--full`, where those that are rebuilt
    /// whole take seconds.
    changes: [u32; 2],
}

const WATCHED: [Watched; 2] = [
    Watched {
        others: 0,
        changes: [40, 5],
    },
    Watched {
        others: 2_000,
        changes: [10, 3],
    },
];

/// Kernel modules with algorithms.
const PEERS: [&str; 3] = ["fib_dxr", "dpdk_lpm4", "dpdk_lpm6"];

/// One benchmark of FreeBSD's.
struct Pattern {
    /// Its name in the records.
    name: &'static str,
    /// The sysctl that runs it.
    node: &'static str,
}

const PATTERNS_V4: [Pattern; 2] = [
    Pattern {
        name: "announced",
        node: "run_inet",
    },
    Pattern {
        name: "uniform",
        node: "run_lps_rnd",
    },
];
const PATTERNS_V6: [Pattern; 1] = [Pattern {
    name: "announced",
    node: "run_inet6",
}];

/// What is raced in a family.
struct Field {
    family: &'static Family,
    patterns: &'static [Pattern],
    /// The peers in a table of a few routes, and in a large one.
    peers: [&'static [&'static str]; 2],
    /// Those whose changes are watched: alone, and among others. Not among others: what is
    /// rebuilt whole, and dxr, with which a guest of one CPU may not answer any more.
    watched: [&'static [&'static str]; 2],
    /// The sysctl that takes an address to look up.
    keys: &'static str,
    /// The project's target that lookups belong to.
    target: &'static str,
}

const FIELDS: [Field; 2] = [
    Field {
        family: &V4,
        patterns: &PATTERNS_V4,
        peers: [
            &["bsearch4", "dxr", "dpdk_lpm4", "radix4"],
            &["dxr", "dpdk_lpm4", "radix4_lockless", "radix4"],
        ],
        watched: [&["dxr", "dpdk_lpm4", "radix4_lockless"], &["dpdk_lpm4"]],
        keys: "net.route.test.add_inet_addr",
        target: "P1",
    },
    Field {
        family: &V6,
        patterns: &PATTERNS_V6,
        peers: [
            &["dpdk_lpm6", "radix6_lockless", "radix6"],
            &["dpdk_lpm6", "radix6_lockless", "radix6"],
        ],
        watched: [&["dpdk_lpm6", "radix6_lockless"], &["dpdk_lpm6"]],
        keys: "net.route.test.add_inet6_addr",
        target: "P2",
    },
];

fn run(context: &mut Context<'_>) -> Result<()> {
    let pairs = [context.set_up_interface(0)?, context.set_up_interface(1)?];
    context.load_weft()?;
    if context.is_to_measure("race")? {
        context.load_kld("test_lookup")?;
        for peer in PEERS {
            context.load_kld(peer)?;
        }
        let mut race = Race(Contest::new(context)?);
        for field in &FIELDS {
            race.run(context, field)?;
            race.0.write(context, "fib-vm.json");
        }
        for peer in PEERS {
            let unload = format!("kld unload {peer}.ko");
            context
                .guest
                .call_within(&unload, Duration::from_secs(60))?;
        }
        context.guest.call("kld unload test_lookup.ko")?;
    }
    context.unload_weft()?;
    for pair in pairs {
        context.guest.call(&format!("if destroy {pair}"))?;
    }
    Ok(())
}

/// The race, and the records so far.
struct Race(Contest);

impl Race {
    fn run(&mut self, context: &mut Context<'_>, field: &Field) -> Result<()> {
        let family = field.family;
        if !context.full {
            self.few(context, field)?;
        }
        let count = match context.full {
            true => context.routes[family.number],
            false => context.some_routes(family),
        };
        context.load_routes("", family, &family.gateways(), 0, count)?;
        self.lookups(context, field, field.peers[1], count)?;
        self.memory(context, field, count)?;
        for (watched, peers) in WATCHED.iter().zip(field.watched) {
            self.changes(context, family, watched, peers, count)?;
        }
        context.choose("", family, family.plain)?;
        context.unload_routes("", family, count)
    }

    /// Lookups in a table of a few routes.
    fn few(&mut self, context: &mut Context<'_>, field: &Field) -> Result<()> {
        let gateway = field.family.gateway(1);
        let few = few_routes(field.family);
        let add = few.map(|prefix| format!("route add {prefix} {gateway}"));
        context.guest.each(&add)?;
        self.lookups(context, field, field.peers[0], few.len())?;
        let delete = few.map(|prefix| format!("route del {prefix}"));
        context.guest.each(&delete)
    }

    /// Instructions a lookup, of ours and each peer in turn.
    fn lookups(
        &mut self,
        context: &mut Context<'_>,
        field: &Field,
        peers: &[&'static str],
        prefixes: usize,
    ) -> Result<()> {
        let family = field.family;
        add_keys(context, field, prefixes)?;
        let mut values: Vec<Values> = field.patterns.iter().map(|_| Values::default()).collect();
        for _ in 0..ROUNDS {
            for &algorithm in [&[family.ours], peers].concat().iter() {
                choose(context, family, algorithm)?;
                for (pattern, values) in field.patterns.iter().zip(&mut values) {
                    values.add(algorithm, instructions_a_lookup(context, pattern)?);
                }
            }
        }
        for (pattern, values) in field.patterns.iter().zip(&values) {
            let work = format!("{} lookups, {} keys", family.name, pattern.name);
            let at = At {
                experiment: "lookup",
                pattern: pattern.name,
                prefixes,
                ..at(family)
            };
            let what = What {
                target: field.target,
                work,
                metric: "lookup",
                unit: INSTRUCTIONS,
                at,
            };
            self.0.note(context, family.ours, peers, &what, values);
        }
        Ok(())
    }

    /// Bytes that the tables hold, by the kernel's own accounting.
    fn memory(&mut self, context: &mut Context<'_>, field: &Field, prefixes: usize) -> Result<()> {
        let (family, peers) = (field.family, field.peers[1]);
        let mut values = Values::default();
        for &algorithm in [&[family.ours], peers].concat().iter() {
            choose(context, family, family.plain)?;
            let before = bytes_held(context)?;
            choose(context, family, algorithm)?;
            let held = bytes_held(context)?.saturating_sub(before);
            values.add(algorithm, held as f64);
        }
        let at = At {
            experiment: "table",
            prefixes,
            ..at(family)
        };
        let what = What {
            target: field.target,
            work: format!("{} table", family.name),
            metric: "bytes held",
            unit: "bytes",
            at,
        };
        // The plain radix holds nothing but the system's table.
        let peers: Vec<&str> = peers
            .iter()
            .copied()
            .filter(|&peer| peer != family.plain)
            .collect();
        self.0.note(context, family.ours, &peers, &what, &values);
        Ok(())
    }

    /// Time until a changed next hop is seen, alone or among other changes.
    fn changes(
        &mut self,
        context: &mut Context<'_>,
        family: &Family,
        watched: &Watched,
        peers: &[&'static str],
        prefixes: usize,
    ) -> Result<()> {
        let others = watched.others;
        let mut values = [Values::default(), Values::default()];
        for _ in 0..ROUNDS {
            for &algorithm in [&[family.ours], peers].concat().iter() {
                choose(context, family, algorithm)?;
                let times = times_until_seen(context, family, watched)?;
                for (values, time) in values.iter_mut().zip(times) {
                    values.add(algorithm, time);
                }
            }
        }
        for (values, percentile) in values.iter().zip([50.0, 99.0]) {
            let at = At {
                experiment: "change",
                change: "next hop",
                percentile: Some(percentile),
                prefixes,
                ..at(family)
            };
            let what = What {
                target: "P4",
                work: format!(
                    "{} next hop changed until the stack routes by it, {others} others a second",
                    family.name
                ),
                metric: "change to visible",
                unit: INSTRUCTIONS,
                at,
            };
            self.0.note(context, family.ours, peers, &what, values);
        }
        Ok(())
    }
}

fn at(family: &Family) -> At {
    At {
        family: ["ipv4", "ipv6"][family.number],
        next_hops: "clustered",
        ..At::default()
    }
}

/// A few prefixes, some inside others.
fn few_routes(family: &Family) -> [&'static str; 6] {
    let small = &family.small;
    [
        small.outer,
        small.inner,
        small.hosts[0],
        small.odd[0],
        small.hole[1],
        small.apart,
    ]
}

/// Chooses an algorithm, whose building may take its time at this clock.
fn choose(context: &mut Context<'_>, family: &Family, algorithm: &str) -> Result<()> {
    let command = format!("sysctl set {} {algorithm}", family.algorithm);
    context
        .guest
        .call_within(&command, Duration::from_secs(300))?;
    let chosen = context.guest.sysctl(family.algorithm)?;
    match chosen == algorithm {
        true => Ok(()),
        false => Err(Error::Unexpected(format!("{command}: {chosen} is chosen"))),
    }
}

/// Bytes in the malloc(9) types and UMA zones that hold tables of any algorithm: the
/// modules' own, and the two that the kernel's and DPDK's share with others.
fn bytes_held(context: &mut Context<'_>) -> Result<u64> {
    let mut bytes = 0;
    for prefix in ["weft", "dxr"] {
        bytes += context.bytes_held(prefix)?;
    }
    for kind in ["routetbl", "temp"] {
        bytes += context.column(&format!("malloc {kind}"), 1)?;
    }
    Ok(bytes)
}

/// Has the benchmark look up addresses of announced prefixes, from now on only.
fn add_keys(context: &mut Context<'_>, field: &Field, prefixes: usize) -> Result<()> {
    // Keys are forgotten when the module goes.
    context.guest.call("kld unload test_lookup.ko")?;
    context.load_kld("test_lookup")?;
    let (family, node) = (field.family, field.keys);
    let few = few_routes(family);
    if prefixes == few.len() {
        let first = few.map(|prefix| prefix.split('/').next().unwrap_or(prefix));
        let commands = first.map(|address| format!("sysctl set {node} {address}"));
        return context.guest.each(&commands);
    }
    let command = format!("route keys {} {KEYS} {node}", family.table);
    let limit = Duration::from_secs(120);
    context.guest.call_within(&command, limit).map(drop)
}

/// "N lookups in N.N milliseconds ..." or "N packets in N nanoseconds ...".
fn instructions_a_lookup(context: &mut Context<'_>, pattern: &Pattern) -> Result<f64> {
    context.guest.clear_messages()?;
    let command = format!("sysctl set net.route.test.{} {LOOKUPS}", pattern.node);
    context
        .guest
        .call_within(&command, Duration::from_secs(300))?;
    let messages = context.guest.messages()?;
    messages
        .iter()
        .find_map(|line| nanoseconds_each(line))
        .ok_or_else(|| Error::Unexpected(format!("{command}: {}", messages.join("\n"))))
}

fn nanoseconds_each(line: &str) -> Option<f64> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[count, "lookups" | "packets", "in", time, unit, ..] = &words[..] else {
        return None;
    };
    let nanoseconds = match unit.trim_end_matches(',') {
        "milliseconds" => 1e6,
        "nanoseconds" => 1.0,
        _ => return None,
    };
    let time: f64 = time.parse().ok()?;
    Some(time * nanoseconds / count.parse::<f64>().ok()?)
}

/// The median and the 99th of a hundred times from the write of a change until it is
/// seen, in nanoseconds, while routes of the table change.
fn times_until_seen(
    context: &mut Context<'_>,
    family: &Family,
    watched: &Watched,
) -> Result<[f64; 2]> {
    let (others, changes) = (watched.others, watched.changes[usize::from(context.full)]);
    if others > 0 {
        let (table, gateways) = (family.table, family.gateways());
        let churn = format!("route churn {table} {gateways} {others} 0");
        context.guest.start("churn", &churn)?;
    }
    let both = |of: &dyn Fn(usize) -> String| format!("{},{}", of(0), of(1));
    let gateways = both(&|at| family.gateway_at(at, 1));
    let locals = both(&|at| {
        let own = family.interface(at);
        own.split('/').next().unwrap_or_default().to_owned()
    });
    let apart = family.small.apart;
    let command = format!("route visible {apart} {gateways} {locals} {changes} {PAUSE_MS}");
    let lines = context
        .guest
        .call_within(&command, Duration::from_secs(300))?;
    if others > 0 {
        context.guest.stop("churn")?;
    }
    let numbers: Vec<f64> = lines[0]
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [_, _, _, median, most_of_all, _] => Ok([median, most_of_all]),
        _ => Err(Error::Unexpected(format!("{command}: {}", lines[0]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_s_lines_are_understood() {
        let lines = [
            (
                "100000 lookups in 12.500000 milliseconds, 8.0 MLPS",
                Some(125.0),
            ),
            (
                "10000 packets in 500000 nanoseconds, 20000000 pps",
                Some(50.0),
            ),
            ("Preparing 100000 random keys...", None),
        ];
        for (line, wanted) in lines {
            assert_eq!(nanoseconds_each(line), wanted, "{line}");
        }
    }
}
