// SPDX-License-Identifier: BSD-2-Clause
//! Transmit queues in the kernel (`net.weft.test.queue`): threads bound to CPUs send
//! numbered packets of several flows into a few queues, whose backends count them. Every
//! packet is accounted for, whoever drains, also when queues are full, paused or closed,
//! and none overtakes another of its flow while the indirection table changes.

use std::time::{Duration, Instant};

use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "queues",
    group: "packets",
    about: "packets through transmit queues are all accounted for, in order while buckets move; settings; unload",
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.test.queue";
/// Queues, and threads that send.
const QUEUES: u64 = 3;
const SENDERS: u64 = 3;
/// Packets of each sender in a stage.
const PACKETS: u64 = 4_000;
const PACKETS_FULL: u64 = 400_000;
/// Buckets that are moved while packets flow, two grace periods each at the most.
const MOVES: u64 = 40;
const MOVES_FULL: u64 = 2_000;
/// How long senders may take.
const LIMIT: Duration = Duration::from_secs(60);

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_for_tests()?;
    set(context, "open", QUEUES)?;
    described(context)?;
    refused_settings(context)?;
    for service in 0..3 {
        for (batch, size) in [(1, 64), (32, 1_500)] {
            drained(context, service, batch, size)?;
        }
    }
    moved(context)?;
    full(context)?;
    late(context)?;
    unload_while_busy(context)?;
    // Queues that are open and idle do not keep the module.
    context.unload_weft()
}

fn set(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    let command = format!("sysctl set {NODE}.{name} {value}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

fn get(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context.guest.number(&format!("sysctl get {NODE}.{name}"))
}

/// A number of all queues together.
fn sum(context: &mut Context<'_>, name: &str) -> Result<u64> {
    (0..QUEUES)
        .map(|queue| get(context, &format!("{queue}.{name}")))
        .sum()
}

fn set_all(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    (0..QUEUES).try_for_each(|queue| set(context, &format!("{queue}.{name}"), value))
}

/// Each queue's node has figures and settings that say what they are.
fn described(context: &mut Context<'_>) -> Result<()> {
    let nodes = context.guest.call(&format!("sysctl tree {NODE}.0"))?;
    let poor: Vec<&String> = nodes
        .iter()
        .filter(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            !matches!(fields[..], [_, _, _, _, about, value]
                if about.len() > 10 && !value.starts_with('!'))
        })
        .collect();
    context
        .report
        .check(nodes.len() > 20, "a queue has a node of many", nodes.len());
    context
        .report
        .equal(&poor, &Vec::new(), "all in it is described and readable");
    Ok(())
}

/// A value out of range is refused, with a line that says what is allowed.
fn refused_settings(context: &mut Context<'_>) -> Result<()> {
    for (name, value, allowed) in [
        ("packets_limit", 0, "1 to 1024"),
        ("packets_limit", 1_025, "1 to 1024"),
        ("service", 3, "0 to 2"),
        ("low", 1_024, "0 to 1023"),
        ("codel_interval_us", 5, "0 to 0"),
        ("turn_packets", 0, "1 to 1048576"),
    ] {
        context.guest.clear_messages()?;
        let command = format!("sysctl set {NODE}.1.{name} {value}");
        let why = context.guest.refused(&command)?;
        let messages = context.guest.messages()?;
        let wanted = format!("weft: {NODE}.1.{name}={value}: refused, allowed are {allowed}");
        context.report.check(
            why.starts_with("EINVAL") && messages.contains(&wanted),
            &format!("{name}={value} is refused, and the log says what is allowed"),
            format_args!("{why}; {}", messages.join("; ")),
        );
    }
    set(context, "1.codel_target_us", 5_000)?;
    let codel = [
        get(context, "1.codel_target_us")?,
        get(context, "1.codel_interval_us")?,
    ];
    context.report.check(
        codel[0].abs_diff(5_000) < 3 && codel[1].abs_diff(100_000) < 3,
        "CoDel is on with the interval of the RFC",
        format_args!("{codel:?}"),
    );
    set(context, "1.codel_target_us", 0)
}

/// What has become of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fates {
    sent: u64,
    delivered: u64,
    refused: u64,
    dropped: u64,
    lost: u64,
}

impl Fates {
    fn read(context: &mut Context<'_>) -> Result<Self> {
        Ok(Self {
            sent: get(context, "sent")?,
            delivered: get(context, "delivered")?,
            refused: get(context, "refused")?,
            dropped: get(context, "dropped")?,
            lost: get(context, "lost")?,
        })
    }
}

/// Has senders send, and runs `meanwhile`.
fn send(
    context: &mut Context<'_>,
    meanwhile: impl FnOnce(&mut Context<'_>) -> Result<()>,
) -> Result<()> {
    let packets = if context.full { PACKETS_FULL } else { PACKETS };
    set(context, "packets", packets)?;
    set(context, "senders", SENDERS)?;
    meanwhile(context)?;
    wait(context, "senders", |senders| senders == 0)
}

/// Waits until a number is as wanted, for as long as it may take.
fn wait(context: &mut Context<'_>, name: &str, wanted: impl Fn(u64) -> bool) -> Result<()> {
    let start = Instant::now();
    while !wanted(get(context, name)?) {
        if start.elapsed() > LIMIT {
            let value = get(context, name)?;
            return Err(Error::Unexpected(format!("{name} stays {value}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until nothing is queued, and checks that every packet is accounted for: by those
/// who sent and took, and by the queues themselves.
fn accounted(context: &mut Context<'_>, what: &str) -> Result<Fates> {
    for queue in 0..QUEUES {
        wait(context, &format!("{queue}.queued"), |queued| queued == 0)?;
    }
    let fates = Fates::read(context)?;
    context.report.check(
        fates.sent > 0
            && fates.sent == fates.delivered + fates.refused + fates.dropped + fates.lost,
        &format!("{what}: every packet is accounted for"),
        format_args!("{fates:?}"),
    );
    let by_queues = [sum(context, "packets")?, sum(context, "drops.sojourn")?];
    context.report.equal(
        &by_queues,
        &[fates.delivered, fates.dropped],
        &format!("{what}: the queues have counted the same"),
    );
    let astray = get(context, "astray")?;
    context
        .report
        .equal(&astray, &0, &format!("{what}: each flow is in order"));
    let out = context.guest.number("sysctl get net.weft.packet.out")?;
    context
        .report
        .equal(&out, &0, &format!("{what}: no packet is out"));
    Ok(fates)
}

/// All kinds of service, one and many packets a call.
fn drained(context: &mut Context<'_>, service: u64, batch: u64, size: u64) -> Result<()> {
    set(context, "open", QUEUES)?;
    set_all(context, "service", service)?;
    set_all(context, "turn_packets", 16)?;
    set(context, "batch", batch)?;
    set(context, "size", size)?;
    let start = Instant::now();
    send(context, |_| Ok(()))?;
    let what = format!("service={service}, {batch} of {size} bytes a call");
    let fates = accounted(context, &what)?;
    let drains = sum(context, "drains")?;
    let hand_overs = sum(context, "hand_overs")?;
    context.report.note(&format!(
        "{what}: {fates:?}, {drains} drains, {hand_overs} hand-overs, {:.1} s",
        start.elapsed().as_secs_f32()
    ));
    Ok(())
}

/// Buckets move from queue to queue while packets flow.
fn moved(context: &mut Context<'_>) -> Result<()> {
    let moves = if context.full { MOVES_FULL } else { MOVES };
    for service in [0, 2] {
        set(context, "open", QUEUES)?;
        set_all(context, "service", service)?;
        set(context, "batch", 8)?;
        set(context, "size", 64)?;
        send(context, |context| set(context, "move", moves))?;
        let what = format!("service={service}, {moves} buckets moved");
        accounted(context, &what)?;
        let gave_up = get(context, "gave_up")?;
        context
            .report
            .equal(&gave_up, &0, &format!("{what}: none gave up the order"));
    }
    Ok(())
}

/// Small limits, and a backend that takes nothing: what does not fit is refused and
/// counted by its reason.
fn full(context: &mut Context<'_>) -> Result<()> {
    set(context, "open", QUEUES)?;
    set(context, "batch", 8)?;
    set(context, "size", 640)?;
    set(context, "0.packets_limit", 50)?;
    set(context, "1.bytes_limit", 64_000)?;
    set(context, "1.high", 60)?;
    set(context, "1.low", 5)?;
    set(context, "pause", 1)?;
    send(context, |_| Ok(()))?;
    let levels = [
        get(context, "0.queued")?,
        get(context, "1.queued_bytes")?,
        get(context, "2.queued")?,
        get(context, "1.is_high")?,
    ];
    context.report.equal(
        &levels,
        &[50, 64_000, 1_024, 1],
        "full queues have what their limits allow",
    );
    set(context, "pause", 0)?;
    let fates = accounted(context, "full")?;
    let refused = [sum(context, "drops.packets")?, sum(context, "drops.bytes")?];
    context.report.check(
        refused[0] > 0 && refused[1] > 0 && refused[0] + refused[1] == fates.refused,
        "what was refused is counted by the limit that it passed",
        format_args!("{refused:?} of {}", fates.refused),
    );
    let after = [get(context, "1.is_high")?, get(context, "0.most")?];
    context.report.equal(
        &after,
        &[0, 50],
        "below the watermark, and most was the limit",
    );
    Ok(())
}

/// Packets that waited for long are dropped by CoDel, some of them.
fn late(context: &mut Context<'_>) -> Result<()> {
    set(context, "open", QUEUES)?;
    set_all(context, "codel_target_us", 1_000)?;
    set_all(context, "codel_interval_us", 1)?;
    set(context, "pause", 1)?;
    send(context, |_| Ok(()))?;
    std::thread::sleep(Duration::from_millis(50));
    set(context, "pause", 0)?;
    let fates = accounted(context, "late")?;
    context.report.check(
        fates.dropped > 0 && fates.delivered > 0,
        "CoDel drops packets that waited, not all",
        format_args!("{fates:?}"),
    );
    Ok(())
}

/// While packets are queued the module stays; closing gives them back.
fn unload_while_busy(context: &mut Context<'_>) -> Result<()> {
    set(context, "open", QUEUES)?;
    set_all(context, "service", 2)?;
    set(context, "pause", 1)?;
    set(context, "packets", u64::MAX / 2)?;
    set(context, "senders", SENDERS)?;
    wait(context, "0.queued", |queued| queued > 0)?;
    let why = context.guest.refused("kld unload weft.ko")?;
    context.report.check(
        why.starts_with("EBUSY"),
        "unload is refused while queues are busy",
        why,
    );
    // Senders are stopped, and what is queued comes back.
    set(context, "open", 0)?;
    let fates = Fates::read(context)?;
    let out = context.guest.number("sysctl get net.weft.packet.out")?;
    context.report.check(
        out == 0 && fates.sent == fates.delivered + fates.refused + fates.dropped,
        "closed while threads send: nothing is out, every packet is accounted for",
        format_args!("{fates:?}, {out} out"),
    );
    set(context, "open", QUEUES)
}
