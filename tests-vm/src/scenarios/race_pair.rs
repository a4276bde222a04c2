// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4) beside epair(4): two jails in one guest, joined by pairs of both kinds at
//! once, which are measured in turn; then a host with a hundred pairs.
//!
//! Twice: in a guest with one CPU whose clock counts instructions (`race-pair`), and in an
//! ordinary one with two CPUs by the time that passes (`race-pair-time`). Under emulation
//! the second is noisy, and its latencies are mostly the emulator's. Its idle CPUs spin:
//! to wake one that has halted takes the emulator a system call of its host, where
//! hardware watches a word in memory (MWAIT).
//!
//! What is sent as fast as it goes counts as it arrives: from the start of the sender to
//! the last packet in the receiver, by the packets there. So both programs, the system
//! calls and the stack are in it, the same for both sides.

use std::time::{Duration, Instant};

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-pair",
    group: "race-pair",
    about: "instructions a packet, a KiB of TCP and an echo over wpair, beside epair; a hundred pairs",
    klds: &["if_epair", "if_edsc"],
    limit: Duration::from_secs(1_800),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    run: |context| run(context, &COUNTED),
    ..Scenario::ORDINARY
};

pub(super) const SCENARIO_TIME: Scenario = Scenario {
    name: "race-pair-time",
    group: "race-pair-time",
    about: "the time that the same takes in a guest with two CPUs",
    counted: false,
    run: |context| run(context, &TIMED),
    ..SCENARIO
};

/// How much is measured.
struct Extent {
    /// The unit of all times.
    unit: &'static str,
    /// The file with the records.
    file: &'static str,
    rounds: usize,
    /// A flood's end: after so many packets, or after so many milliseconds.
    packets: u64,
    flood_ms: u64,
    /// Bytes of all streams of a measurement together.
    stream: u64,
    echoes: u64,
    cpus: usize,
}

const COUNTED: Extent = Extent {
    unit: INSTRUCTIONS,
    file: "pair-vm.json",
    rounds: 7,
    packets: 2_000,
    flood_ms: 0,
    stream: 4 << 20,
    echoes: 2_000,
    cpus: 1,
};

const TIMED: Extent = Extent {
    unit: "nanoseconds",
    file: "pair-vm-time.json",
    rounds: 7,
    packets: 0,
    flood_ms: 500,
    stream: 16 << 20,
    echoes: 2_000,
    cpus: 2,
};

/// A kernel that checks itself is none to measure on: there it is shown that all runs.
const ROUNDS_CHECKED: usize = 1;

const JAILS: [&str; 2] = ["left", "right"];
const LIMIT: Duration = Duration::from_secs(120);
const PEER: &str = "if_epair";
/// Between the last packet and the end of a measurement.
const IDLE_MS: u64 = 300;
const PORT: u16 = 4_100;
/// Pairs of the host with many.
const MANY: usize = 100;
const MANY_ROUNDS: usize = 3;

/// A pair between the jails: what it is called, its cloner, queues (0: as it comes),
/// whether TSO is turned off.
struct Link {
    name: &'static str,
    cloner: &'static str,
    queues: u32,
    tso_off: bool,
}

const LINKS: [Link; 5] = [
    Link {
        name: PEER,
        cloner: "epair",
        queues: 0,
        tso_off: false,
    },
    Link {
        name: "1 queue",
        cloner: "wpair",
        queues: 1,
        tso_off: false,
    },
    Link {
        name: "2 queues",
        cloner: "wpair",
        queues: 2,
        tso_off: false,
    },
    Link {
        name: "4 queues",
        cloner: "wpair",
        queues: 4,
        tso_off: false,
    },
    Link {
        name: "1 queue, TSO off",
        cloner: "wpair",
        queues: 1,
        tso_off: true,
    },
];

/// What is measured over a link. Each gives figures, of which less is better.
#[derive(Clone, Copy)]
enum Work {
    /// UDP packets of so many bytes, of so many flows, and whether somebody takes them.
    Packets {
        size: usize,
        flows: usize,
        taken: bool,
    },
    /// So many TCP streams.
    Streams(usize),
    /// Packets of so many bytes there and back, one at a time.
    Echoes(usize),
}

const WORKS: [Work; 8] = [
    Work::Packets {
        size: 64,
        flows: 1,
        taken: true,
    },
    Work::Packets {
        size: 64,
        flows: 4,
        taken: true,
    },
    Work::Packets {
        size: 1_400,
        flows: 1,
        taken: true,
    },
    Work::Packets {
        size: 1_400,
        flows: 4,
        taken: true,
    },
    Work::Packets {
        size: 64,
        flows: 1,
        taken: false,
    },
    Work::Streams(1),
    Work::Streams(8),
    Work::Echoes(64),
];

/// What `pingpong` says of the times, in its order.
const PERCENTILES: [Option<f64>; 4] = [Some(50.0), Some(90.0), Some(99.0), Some(99.9)];

fn run(context: &mut Context<'_>, extent: &Extent) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    let is_checked = context.is_checked()?;
    let rounds = if is_checked {
        ROUNDS_CHECKED
    } else {
        extent.rounds
    };
    let mut contest = if extent.cpus == 1 {
        Contest::new(context)?
    } else {
        context.guest.set_sysctl("machdep.idle", "spin")?;
        Contest::timed(context)?
    };
    let ends = lay(context)?;
    for work in WORKS {
        raced(context, &mut contest, extent, work, rounds)?;
    }
    sending(context, extent, rounds)?;
    for end in ends {
        let command = format!("in left if destroy {end}");
        context.guest.call_within(&command, LIMIT)?;
    }
    many(context, &mut contest, extent, rounds.min(MANY_ROUNDS))?;
    for jail in JAILS {
        context
            .guest
            .call_within(&format!("jail remove {jail}"), LIMIT)?;
    }
    if !is_checked {
        contest.write(context, extent.file);
    }
    await_no_pair(context)?;
    context.unload_weft()
}

/// An address of a jail's end of a link.
fn address(link: usize, jail: usize) -> String {
    format!("10.20.{link}.{}", jail + 1)
}

fn other(end: &str) -> String {
    format!("{}b", end.trim_end_matches('a'))
}

/// Makes the jails and all links between them; gives the links' first ends.
fn lay(context: &mut Context<'_>) -> Result<Vec<String>> {
    for jail in JAILS {
        context
            .guest
            .call_within(&format!("jail create {jail}"), LIMIT)?;
        // Packets to a port where nobody listens are to be dropped, not answered.
        context.guest.call(&format!(
            "in {jail} each if addr lo0 127.0.0.1/8 -- if up lo0 -- sysctl set net.inet.udp.blackhole 1"
        ))?;
    }
    let mut ends = Vec::new();
    for (number, link) in LINKS.iter().enumerate() {
        if link.queues > 0 {
            context
                .guest
                .set_sysctl("net.weft.pair.queues", link.queues)?;
        }
        let near = context.guest.line(&format!("if create {}", link.cloner))?;
        let far = other(&near);
        for (jail, (name, end)) in JAILS.iter().zip([&near, &far]).enumerate() {
            let here = address(number, jail);
            context.guest.call(&format!("if vnet {end} {name}"))?;
            context.guest.call(&format!(
                "in {name} each if addr {end} {here}/24 -- if up {end}"
            ))?;
        }
        if link.tso_off {
            let command = format!("in left if capability {near} -tso4");
            let enabled = context.guest.line(&command)?;
            let is_off = !enabled.contains("tso4");
            context.report.check(is_off, "TSO can be disabled", enabled);
        }
        let command = format!("in left ping {} 3 3000", address(number, 1));
        let answered = context.guest.line(&command)?;
        let works = answered != "0 of 3";
        context.report.check(works, link.name, answered);
        ends.push(near);
    }
    Ok(ends)
}

/// Measures a work over all links that it concerns, in turn, and notes what came of it.
fn raced(
    context: &mut Context<'_>,
    contest: &mut Contest,
    extent: &Extent,
    work: Work,
    rounds: usize,
) -> Result<()> {
    let percentiles = match work {
        Work::Echoes(_) => &PERCENTILES[..],
        _ => &[None],
    };
    let mut values: Vec<Values> = percentiles.iter().map(|_| Values::default()).collect();
    for _ in 0..rounds {
        for (number, link) in LINKS.iter().enumerate() {
            if link.tso_off && !matches!(work, Work::Streams(_)) {
                continue;
            }
            let figures = measured(context, extent, work, number)?;
            for (values, figure) in values.iter_mut().zip(figures) {
                values.add(link.name, figure);
            }
        }
    }
    let (name, metric, at) = words(work);
    for link in LINKS.iter().filter(|link| link.name != PEER) {
        for (values, &percentile) in values.iter().zip(percentiles) {
            if !values.has(link.name) {
                continue;
            }
            let what = What {
                target: "P6",
                work: format!("{name} (wpair, {})", link.name),
                metric,
                unit: extent.unit,
                at: At {
                    percentile,
                    queues: Some(link.queues),
                    cpus: Some(extent.cpus),
                    ..at.clone()
                },
            };
            contest.note(context, link.name, &[PEER], &what, values);
        }
    }
    Ok(())
}

/// What a work is called, what its figures are, and where they belong.
fn words(work: Work) -> (String, &'static str, At) {
    match work {
        Work::Packets { size, flows, taken } => (
            format!(
                "UDP, {size} bytes, {flows} flows, {}",
                if taken { "received" } else { "to no socket" }
            ),
            "a packet",
            At {
                experiment: if taken { "udp" } else { "udp, no socket" },
                bytes: Some(size),
                flows: Some(flows),
                ..At::default()
            },
        ),
        Work::Streams(streams) => (
            format!("TCP, {streams} streams"),
            "a KiB",
            At {
                experiment: "tcp",
                flows: Some(streams),
                ..At::default()
            },
        ),
        Work::Echoes(size) => (
            format!("UDP there and back, {size} bytes"),
            "a round",
            At {
                experiment: "echo",
                bytes: Some(size),
                ..At::default()
            },
        ),
    }
}

/// The figures of one measurement.
fn measured(
    context: &mut Context<'_>,
    extent: &Extent,
    work: Work,
    link: usize,
) -> Result<Vec<f64>> {
    match work {
        Work::Packets { size, flows, taken } => {
            flooded(context, extent, link, size, flows, taken).map(|figure| vec![figure])
        }
        Work::Streams(streams) => {
            streamed(context, extent, link, streams).map(|figure| vec![figure])
        }
        Work::Echoes(size) => echoed(context, extent, link, size),
    }
}

/// Starts a command in the jail on the right, and waits until it will miss nothing.
fn listen(context: &mut Context<'_>, command: &str) -> Result<()> {
    context
        .guest
        .start("peer", &format!("in right {command}"))?;
    let start = Instant::now();
    while context.guest.counters("peer")?.last() != Some(&1) && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Numbers of the one line that a command on the left gives.
fn numbers(context: &mut Context<'_>, command: &str) -> Result<Vec<u64>> {
    let command = format!("in left {command}");
    let lines = context.guest.call_within(&command, LIMIT)?;
    let line = lines.first().map_or("", String::as_str);
    let fields = line.split(' ').map(str::parse);
    fields
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Unexpected(format!("{command}: {line}")))
}

/// Nanoseconds for each packet that arrived; if nobody takes them, for each that was sent,
/// until the sender was through.
fn flooded(
    context: &mut Context<'_>,
    extent: &Extent,
    link: usize,
    size: usize,
    flows: usize,
    taken: bool,
) -> Result<f64> {
    let Extent {
        packets, flood_ms, ..
    } = extent;
    let to = address(link, 1);
    if taken {
        listen(context, &format!("drain {PORT} {IDLE_MS}"))?;
    }
    let command = format!("flood {to} {PORT} {size} {flows} {packets} {flood_ms}");
    let sent = numbers(context, &command)?;
    let [through, full, failed, start, stop] = sent[..] else {
        return Err(Error::Unexpected(format!("{command}: {sent:?}")));
    };
    let (arrived, end) = if taken {
        let got = context.guest.finish("peer", LIMIT)?;
        match got[..] {
            [arrived, _, _, last] => (arrived, last),
            _ => return Err(Error::Unexpected(format!("drain: {got:?}"))),
        }
    } else {
        (through, stop)
    };
    context.report.note(&format!(
        "{}, {size} bytes, {flows} flows: {through} sent, {full} without room, {failed} failed, {arrived} arrived",
        LINKS[link].name
    ));
    Ok(end.saturating_sub(start) as f64 / arrived.max(1) as f64)
}

/// Nanoseconds a KiB.
fn streamed(
    context: &mut Context<'_>,
    extent: &Extent,
    link: usize,
    streams: usize,
) -> Result<f64> {
    listen(context, &format!("sink {PORT} {streams}"))?;
    let bytes = extent.stream / streams as u64;
    let to = address(link, 1);
    let done = numbers(context, &format!("pour {to} {PORT} {streams} {bytes}"))?;
    let taken = context.guest.finish("peer", LIMIT)?;
    let well = [done[0], taken[0]] == [streams as u64; 2];
    let name = LINKS[link].name;
    if !well {
        context
            .report
            .check(false, name, format_args!("{done:?} {taken:?}"));
    }
    let kibibytes = (bytes * streams as u64) as f64 / 1024.0;
    Ok(done[2].saturating_sub(done[1]) as f64 / kibibytes)
}

/// Nanoseconds that each of [`PERCENTILES`] took at most.
fn echoed(
    context: &mut Context<'_>,
    extent: &Extent,
    link: usize,
    size: usize,
) -> Result<Vec<f64>> {
    listen(context, &format!("pong {PORT}"))?;
    let (to, count) = (address(link, 1), extent.echoes);
    let times = numbers(context, &format!("pingpong {to} {PORT} {size} {count}"))?;
    context.guest.stop("peer")?;
    let name = LINKS[link].name;
    context.report.note(&format!("{name}: echoes: {times:?}"));
    Ok(times.iter().take(4).map(|&time| time as f64).collect())
}

/// Notes what sending alone takes, up to an interface that drops everything: what both
/// sides' figures have in common. To a group, for nobody would answer ARP there.
fn sending(context: &mut Context<'_>, extent: &Extent, rounds: usize) -> Result<()> {
    let sink = context.guest.line("if create edsc")?;
    context.guest.call(&format!("if vnet {sink} left"))?;
    context.guest.call(&format!(
        "in left each if addr {sink} 10.21.0.1/24 -- if up {sink} -- route add 224.0.0.0/4 10.21.0.2"
    ))?;
    for size in [64, 1_400] {
        let mut values = Vec::new();
        for _ in 0..rounds {
            let Extent {
                packets, flood_ms, ..
            } = extent;
            let command = format!("flood 224.1.2.3 {PORT} {size} 1 {packets} {flood_ms}");
            let sent = numbers(context, &command)?;
            context.report.check(
                sent[0] > 0,
                "packets are sent to edsc(4)",
                format_args!("{sent:?}"),
            );
            values.push((sent[4] - sent[3]) as f64 / sent[0].max(1) as f64);
        }
        let value = crate::record::median(&values);
        let line = format!("UDP, {size} bytes, sent to edsc(4), a packet: {value:.0}");
        println!("    {line}");
        context.report.note(&line);
    }
    let command = format!("in left each route del 224.0.0.0/4 10.21.0.2 -- if destroy {sink}");
    context.guest.call(&command).map(drop)
}

/// A host with a hundred pairs, whose second ends are a jail's.
fn many(
    context: &mut Context<'_>,
    contest: &mut Contest,
    extent: &Extent,
    rounds: usize,
) -> Result<()> {
    context.guest.set_sysctl("net.weft.pair.queues", 1)?;
    let metrics = [
        ("threads", "all pairs", "threads"),
        ("memory by malloc(9)", "a pair", "bytes"),
        ("set up", "a pair", extent.unit),
        ("destroyed", "a pair", extent.unit),
    ];
    let mut values: Vec<Values> = metrics.iter().map(|_| Values::default()).collect();
    for _ in 0..rounds {
        for cloner in ["wpair", "epair"] {
            let figures = many_of(context, cloner)?;
            for (values, figure) in values.iter_mut().zip(figures) {
                values.add(cloner, figure);
            }
        }
    }
    for ((work, metric, unit), values) in metrics.into_iter().zip(&values) {
        let what = What {
            target: "P6",
            work: format!("{MANY} pairs: {work}"),
            metric,
            unit,
            at: At {
                experiment: "many",
                queues: Some(1),
                cpus: Some(extent.cpus),
                ..At::default()
            },
        };
        contest.note(context, "wpair", &["epair"], &what, values);
    }
    Ok(())
}

/// Threads of all pairs; bytes by malloc(9) of each; nanoseconds to make one, to move an
/// end into a jail and to bring the other up; and to destroy it.
fn many_of(context: &mut Context<'_>, cloner: &str) -> Result<[f64; 4]> {
    let before = memory(context)?;
    let make = |number: usize| {
        let near = format!("{cloner}{number}a");
        format!("if create {cloner}{number} -- if vnet {cloner}{number}b right -- if up {near}")
    };
    let made = in_one(context, (100..100 + MANY).map(make))?;
    let threads = match cloner {
        "wpair" => context.guest.number("threads weft")?,
        _ => context.guest.number("threads epair")?,
    };
    let after = memory(context)?;
    let destroy = |number: usize| format!("if destroy {cloner}{number}a");
    let gone = in_one(context, (100..100 + MANY).map(destroy))?;
    let each = |sum: f64| sum / MANY as f64;
    Ok([threads as f64, each(after - before), each(made), each(gone)])
}

/// Bytes in use by all types of malloc(9).
fn memory(context: &mut Context<'_>) -> Result<f64> {
    let lines = context
        .guest
        .call_within("malloc", Duration::from_secs(30))?;
    let field = |line: &String| line.split('\t').nth(1)?.parse::<i64>().ok();
    let allocated: i64 = lines.iter().filter_map(field).sum();
    Ok(allocated as f64)
}

/// Has one process do all commands, some at a time, and gives the nanoseconds that passed
/// in it.
fn in_one(context: &mut Context<'_>, commands: impl Iterator<Item = String>) -> Result<f64> {
    let commands: Vec<String> = commands.collect();
    let mut passed = 0;
    for some in commands.chunks(20) {
        let batch = format!("each time -- {} -- time", some.join(" -- "));
        let lines = context.guest.call_within(&batch, LIMIT)?;
        let clock = |line: Option<&String>| line.and_then(|line| line.parse::<u64>().ok());
        match (clock(lines.first()), clock(lines.last())) {
            (Some(start), Some(end)) => passed += end.saturating_sub(start),
            _ => return Err(Error::Unexpected(format!("{batch}: {lines:?}"))),
        }
    }
    Ok(passed as f64)
}

/// Pairs of a dead jail go when its last reference does.
fn await_no_pair(context: &mut Context<'_>) -> Result<()> {
    let start = Instant::now();
    while context.guest.number("sysctl get net.weft.pair.pairs")? > 0 && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
