// SPDX-License-Identifier: BSD-2-Clause
//! An audit of wpair(4)'s counters: what a program sent, what its queues, its interfaces
//! and the totals say, and what a program received, add up to the packet, while packets
//! are lost for each cause that can be forced.

use std::time::{Duration, Instant};

use weft_engine::stats::{Declared, QueueStat};

use super::pair::{ENDS, await_home, destroy, listen, remove_jail, undisturbed};
use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "audit",
    group: "pair",
    about: "packets of a program are those of queues, interfaces, totals and the receiver, with drops forced for each cause",
    limit: Duration::from_secs(300),
    run,
    ..Scenario::ORDINARY
};

/// Queues of each end.
const QUEUES: u64 = 2;
/// Flows that are sent in turn.
const FLOWS: u64 = 8;
/// Packets of each stage, of which there are five; with `--full` a million together.
const PACKETS: u64 = 4_000;
const PACKETS_FULL: u64 = 200_000;
const SIZE: u64 = 64;
const PORT: u64 = 4_300;
/// Between the last packet and the end of a receiver, in milliseconds.
const IDLE_MS: u64 = 2_000;
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Causes for which a sender is told that there is no room.
const REFUSED: [QueueStat; 4] = [
    QueueStat::DropsPackets,
    QueueStat::DropsBytes,
    QueueStat::DropsStopped,
    QueueStat::DropsClosed,
];

/// A stage: what is set before, on the queues of the sender's end, and the counter that has
/// to grow for it.
struct Stage {
    name: &'static str,
    set: &'static [(&'static str, u64)],
    grows: Option<&'static str>,
}

const STAGES: [Stage; 5] = [
    Stage {
        name: "with room",
        set: &[],
        grows: None,
    },
    Stage {
        name: "packets_limit 1",
        set: &[("packets_limit", 1)],
        grows: Some("drops.packets"),
    },
    Stage {
        name: "bytes_limit 64",
        set: &[("bytes_limit", 64)],
        grows: Some("drops.bytes"),
    },
    Stage {
        name: "CoDel with a target that all miss",
        set: &[("codel_target_us", 1), ("codel_interval_us", 1)],
        grows: Some("drops.sojourn"),
    },
    Stage {
        name: "the other end down",
        set: &[],
        grows: None,
    },
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    let command = format!("sysctl set net.weft.pair.queues {QUEUES}");
    context.guest.call(&command)?;
    super::pair::between(context, &ENDS)?;
    for (jail, ..) in ENDS {
        let command = format!("in {jail} sysctl set net.inet.udp.blackhole 1");
        context.guest.call(&command)?;
    }
    super::pair::reached(
        context,
        "in left ",
        ENDS[1].2,
        64,
        "the pair carries packets",
    )?;
    let mut programs = Program::default();
    for stage in &STAGES {
        staged(context, stage, &mut programs)?;
    }
    context.report.note(&format!("{programs:?}"));
    snapshots(context)?;
    for (jail, ..) in ENDS {
        remove_jail(context, jail)?;
    }
    await_home(context, ENDS[0].1)?;
    destroy(context, ENDS[0].1)?;
    context.unload_weft()
}

/// What programs have counted.
#[derive(Clone, Copy, Debug, Default)]
struct Program {
    /// Sent, as the system call said.
    sent: u64,
    /// Refused for want of room.
    refused: u64,
    received: u64,
}

/// What is counted about the sender's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Books {
    /// By its queues: passed on, refused, dropped late.
    passed: u64,
    refused: u64,
    late: u64,
    /// By its end: to an end that was down.
    down: u64,
    /// By the interfaces: sent, dropped at the output, sent in vain; received, dropped at
    /// the input.
    output: u64,
    output_drops: u64,
    output_errors: u64,
    input: u64,
    input_drops: u64,
    /// The totals of all pairs: no room, late, down.
    totals: [u64; 3],
}

impl Books {
    fn since(self, before: Self) -> Self {
        let [full, late, down] = self.totals;
        Self {
            passed: self.passed - before.passed,
            refused: self.refused - before.refused,
            late: self.late - before.late,
            down: self.down - before.down,
            output: self.output - before.output,
            output_drops: self.output_drops - before.output_drops,
            output_errors: self.output_errors - before.output_errors,
            input: self.input - before.input,
            input_drops: self.input_drops - before.input_drops,
            totals: [
                full - before.totals[0],
                late - before.totals[1],
                down - before.totals[2],
            ],
        }
    }
}

fn number(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context
        .guest
        .number(&format!("sysctl get net.weft.pair.{name}"))
}

/// A number of both queues of the sender's end.
fn sum(context: &mut Context<'_>, what: &str) -> Result<u64> {
    let name = |queue| format!("{}.queue.{queue}.{what}", ENDS[0].1);
    (0..QUEUES).map(|queue| number(context, &name(queue))).sum()
}

/// What an interface has counted: packets, bytes, errors, drops in, and the same out.
fn interface(context: &mut Context<'_>, end: usize) -> Result<[u64; 8]> {
    let (jail, name, _) = ENDS[end];
    let line = context.guest.line(&format!("in {jail} if stat {name}"))?;
    let mut counters = [0; 8];
    for (counter, field) in counters.iter_mut().zip(line.split(' ')) {
        *counter = field.parse().unwrap_or(u64::MAX);
    }
    Ok(counters)
}

/// What is in a queue's snapshot, in its order.
fn in_snapshot() -> impl Iterator<Item = String> {
    let count = QueueStat::Snapshot as usize;
    QueueStat::ALL.iter().take(count).map(|stat| {
        let (name, below) = (stat.stat().name, stat.stat().below);
        let below = below.map(|below| format!("{}.", below.name.to_string_lossy()));
        format!("{}{}", below.unwrap_or_default(), name.to_string_lossy())
    })
}

/// A queue's snapshot.
fn snapshot(context: &mut Context<'_>, queue: u64) -> Result<Vec<u64>> {
    let name = format!("net.weft.pair.{}.queue.{queue}.snapshot", ENDS[0].1);
    let line = context.guest.sysctl(&name)?;
    Ok(line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect())
}

/// While nothing is sent each number of a snapshot is what it is by itself.
fn snapshots(context: &mut Context<'_>) -> Result<()> {
    for queue in 0..QUEUES {
        let (mut row, mut alone) = (vec![], vec![]);
        undisturbed(true, || {
            row = snapshot(context, queue)?;
            alone = Vec::new();
            for name in in_snapshot() {
                let name = format!("{}.queue.{queue}.{name}", ENDS[0].1);
                alone.push(number(context, &name)?);
            }
            Ok(row == alone)
        })?;
        let what = format!("the snapshot of queue {queue} is what its numbers are one by one");
        context.report.equal(&row, &alone, &what);
    }
    Ok(())
}

/// All books, of one moment at which nothing was queued: they are read until two readings
/// are the same.
fn books(context: &mut Context<'_>) -> Result<Books> {
    let start = Instant::now();
    let mut last = None;
    loop {
        let mut rows = vec![];
        for queue in 0..QUEUES {
            rows.push(snapshot(context, queue)?);
        }
        let sum =
            |stat: QueueStat| -> u64 { rows.iter().filter_map(|row| row.get(stat as usize)).sum() };
        let queued = sum(QueueStat::Queued);
        let mut books = Books {
            passed: sum(QueueStat::Packets),
            late: sum(QueueStat::DropsSojourn),
            refused: REFUSED.into_iter().map(sum).sum(),
            down: number(context, &format!("{}.lost.down", ENDS[0].1))?,
            ..Books::default()
        };
        let [near, far] = [interface(context, 0)?, interface(context, 1)?];
        (books.output, books.output_errors, books.output_drops) = (near[4], near[6], near[7]);
        (books.input, books.input_drops) = (far[0], far[3]);
        for (total, name) in books.totals.iter_mut().zip(["full", "late", "down"]) {
            *total = number(context, &format!("lost.{name}"))?;
        }
        if (queued == 0 && last == Some(books)) || start.elapsed() > LIMIT {
            return Ok(books);
        }
        last = Some(books);
    }
}

fn set_all(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    for queue in 0..QUEUES {
        let full = format!("net.weft.pair.{}.queue.{queue}.{name}", ENDS[0].1);
        context.guest.call(&format!("sysctl set {full} {value}"))?;
    }
    Ok(())
}

/// Sends a stage's packets, until what must grow has grown, and holds all books against one
/// another.
fn staged(context: &mut Context<'_>, stage: &Stage, programs: &mut Program) -> Result<()> {
    let is_down = stage.grows.is_none() && stage.name != STAGES[0].name;
    let mut initial = Vec::new();
    for (name, value) in stage.set {
        let full = format!("{}.queue.0.{name}", ENDS[0].1);
        initial.push((name, number(context, &full)?));
        set_all(context, name, *value)?;
    }
    let before = books(context)?;
    if is_down {
        context.guest.call("in right if down wpair0b")?;
    }
    let start = Instant::now();
    let mut here = Program::default();
    loop {
        let round = flooded(context, !is_down)?;
        here.sent += round.sent;
        here.refused += round.refused;
        here.received += round.received;
        let grown = stage.grows.map(|what| sum(context, what)).transpose()?;
        if grown != Some(0) || start.elapsed() > LIMIT {
            break;
        }
    }
    if is_down {
        context.guest.call("in right if up wpair0b")?;
    }
    for (name, value) in initial.into_iter().rev() {
        set_all(context, name, value)?;
    }
    let counted = books(context)?.since(before);
    agree(context, stage, here, counted);
    programs.sent += here.sent;
    programs.refused += here.refused;
    programs.received += here.received;
    Ok(())
}

/// Sends packets of several flows as fast as it goes; what both programs counted.
fn flooded(context: &mut Context<'_>, is_taken: bool) -> Result<Program> {
    let packets = if context.full { PACKETS_FULL } else { PACKETS };
    if is_taken {
        listen(
            context,
            "drain",
            &format!("in right drain {PORT} {IDLE_MS}"),
        )?;
    }
    let to = ENDS[1].2;
    let command = format!("in left flood {to} {PORT} {SIZE} {FLOWS} {packets} 0");
    let line = context.guest.call_within(&command, 4 * LIMIT)?.join(" ");
    let counts: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [sent, refused, 0, ..] = counts[..] else {
        return Err(Error::Unexpected(format!("{command}: {line}")));
    };
    let received = match is_taken {
        true => context.guest.finish("drain", LIMIT)?.first().copied(),
        false => None,
    };
    Ok(Program {
        sent,
        refused,
        received: received.unwrap_or(0),
    })
}

/// Every packet is in each of the books once.
fn agree(context: &mut Context<'_>, stage: &Stage, program: Program, counted: Books) {
    let Books {
        passed,
        refused,
        late,
        down,
        totals,
        ..
    } = counted;
    let name = stage.name;
    let report = &mut context.report;
    report.equal(
        &[counted.output, counted.output_drops, counted.output_errors],
        &[passed + late, refused, down],
        &format!("{name}: the sending interface counts what its queues do"),
    );
    report.equal(
        &[counted.input, counted.input_drops],
        &[passed, late],
        &format!("{name}: so does the receiving one"),
    );
    report.equal(
        &totals,
        &[refused, late, down],
        &format!("{name}: so do the totals of all pairs"),
    );
    // What the kernel sends by itself, such as ARP's and MLD's packets, is counted as well.
    let by_itself = (passed + late + down + refused).checked_sub(program.sent + program.refused);
    report.check(
        by_itself.is_some_and(|packets| packets < 100),
        &format!("{name}: that is what the program sent, and what the kernel sends by itself"),
        format_args!("{program:?} {counted:?}"),
    );
    report.check(
        program.refused <= refused && program.received <= passed,
        &format!("{name}: who was refused was told"),
        format_args!("{program:?} {counted:?}"),
    );
    report.note(&format!("{name}: {program:?}, {counted:?}"));
}
