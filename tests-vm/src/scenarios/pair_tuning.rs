// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4) as its operator sees it: figures and settings of each end and queue, that
//! they agree with the interfaces' counters to the packet, and who sees and sets them.

use std::time::{Duration, Instant};

use super::pair::{
    ECHO_MS, PATIENCE_MS, await_home, create_jail, gather, listen, reached, remove_jail,
    undisturbed,
};
use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair-tuning",
    group: "pair",
    klds: &["bridgestp", "if_bridge"],
    about: "figures and settings of wpair's ends and queues: exact, tunable under load, kept apart by jail",
    limit: Duration::from_secs(300),
    run,
    ..Scenario::ORDINARY
};

/// Queues of each direction.
const QUEUES: u64 = 4;
/// Long datagrams, which make a burst of fragments each, and bytes of one.
const BURSTS: u64 = 50;
const BURST: u64 = 60_000;
/// Who sends such bursts at a time so that queues stand.
const SENDERS: u64 = 3;
/// Long echo requests by way of a jail that forwards, everyday and with `--full`.
const ECHOES: [u64; 2] = [5, 500];
/// Datagrams, at most, of each of the flows while queues come and go; and how many in a
/// second.
const DATAGRAMS: u64 = 100_000;
const DATAGRAM_RATE: u64 = 300;
const FLOWS: u64 = 4;
/// Bytes of a TCP stream.
const STREAM: u64 = 400_000;
/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Each jail, the end that it holds, and its address.
const JAILS: [(&str, &str, &str); 2] = [
    ("left", "wpair0a", "10.1.0.1"),
    ("right", "wpair0b", "10.1.0.2"),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    set(context, "", "net.weft.pair.queues", QUEUES)?;
    for (jail, ..) in JAILS {
        create_jail(context, jail)?;
    }
    let before = context.column("malloc sysctloid", 1)?;
    context.guest.line("if create wpair0")?;
    let nodes = context.column("malloc sysctloid", 1)? - before;
    context.report.note(&format!(
        "bytes of nodes for each queue: {}",
        nodes / (2 * QUEUES)
    ));
    for (jail, end, address) in JAILS {
        connect(context, jail, end, address)?;
    }
    described(context)?;
    forget_fragments(context)?;
    let longest = context.guest.number("sysctl get net.inet.udp.maxdgram")?;
    set(context, "", "net.inet.udp.maxdgram", BURST)?;
    exact(context)?;
    late(context)?;
    set(context, "", "net.inet.udp.maxdgram", longest)?;
    waits(context)?;
    refused(context)?;
    apart(context)?;
    spread(context)?;
    let before = get(context, "wpair0a.queue.0.through")?;
    context.report.equal(
        &before,
        &0,
        "nothing is received on a sender's thread unless asked for",
    );
    forwarded(context)?;
    gate(context)?;
    context
        .guest
        .call_within("in left if destroy wpair0a", LIMIT)?;
    let gone = context
        .guest
        .refused("sysctl get net.weft.pair.wpair0a.queues");
    context
        .report
        .check(gone.is_ok(), "a pair's nodes go with it", "they are there");
    for (jail, ..) in JAILS {
        remove_jail(context, jail)?;
    }
    context.unload_weft()
}

/// Gives an end to a jail, with an address, up.
fn connect(context: &mut Context<'_>, jail: &str, end: &str, address: &str) -> Result<()> {
    let guest = &mut context.guest;
    guest.call(&format!("if vnet {end} {jail}"))?;
    guest
        .call(&format!(
            "in {jail} each if addr {end} {address}/24 -- if up {end}"
        ))
        .map(drop)
}

fn set(context: &mut Context<'_>, place: &str, name: &str, value: u64) -> Result<()> {
    let command = format!("{place}sysctl set {name} {value}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

fn get(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context
        .guest
        .number(&format!("sysctl get net.weft.pair.{name}"))
}

/// Sets all queues of an end.
fn set_all(context: &mut Context<'_>, end: &str, what: &str, value: u64) -> Result<()> {
    for queue in 0..QUEUES {
        let name = format!("net.weft.pair.{end}.queue.{queue}.{what}");
        set(context, "", &name, value)?;
    }
    Ok(())
}

/// The sum over all queues of an end.
fn sum(context: &mut Context<'_>, end: &str, what: &str) -> Result<u64> {
    let names = (0..QUEUES).map(|queue| format!("net.weft.pair.{end}.queue.{queue}.{what}"));
    let commands: Vec<String> = names.map(|name| format!("sysctl get {name}")).collect();
    let command = format!("each {}", commands.join(" -- "));
    let lines = context.guest.call(&command)?;
    let number = |line: &String| {
        let number = line.parse::<u64>();
        number.map_err(|_| Error::Unexpected(format!("{command}: {line} is no number")))
    };
    lines.iter().map(number).sum()
}

/// Each node says what it is, and the table of each end is as long as that of the other.
fn described(context: &mut Context<'_>) -> Result<()> {
    let mut lengths = [0; 2];
    for (length, (_, end, _)) in lengths.iter_mut().zip(JAILS) {
        let command = format!("sysctl tree net.weft.pair.{end}");
        let lines = context.guest.call_within(&command, LIMIT)?;
        *length = lines.len();
        let bare = lines.iter().find(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            fields.get(4).is_none_or(|text| text.len() < 10)
        });
        context.report.check(
            bare.is_none(),
            &format!("each number of {end} is described"),
            bare.map_or("", String::as_str),
        );
    }
    context.report.check(
        lengths[0] == lengths[1] && lengths[0] > 20 * QUEUES as usize,
        "both ends have numbers for each queue",
        format_args!("{lengths:?}"),
    );
    Ok(())
}

/// Has the jail that gets the bursts keep no fragments. A burst has more of them than the
/// kernel puts together (`net.inet.ip.maxfragsperpacket`), so the last ones of each would
/// wait for the others for half a minute; and some hundred bursts are as many as the kernel
/// keeps for all jails together (`net.inet.ip.maxfrags`), after which no jail gets a packet
/// that came in fragments.
fn forget_fragments(context: &mut Context<'_>) -> Result<()> {
    set(context, "in right ", "net.inet.ip.maxfragpackets", 0)
}

/// What an interface has counted: packets, bytes, errors, drops in, and the same out.
fn counters(context: &mut Context<'_>, place: &str, interface: &str) -> Result<[u64; 8]> {
    let line = context
        .guest
        .line(&format!("in {place} if stat {interface}"))?;
    let mut counters = [0; 8];
    for (counter, field) in counters.iter_mut().zip(line.split(' ')) {
        *counter = field.parse().unwrap_or(u64::MAX);
    }
    Ok(counters)
}

/// Sends bursts from left to right, until something is counted, if that is waited for. How
/// often senders were told that there is no room.
fn bursts(context: &mut Context<'_>, until: Option<&str>) -> Result<u64> {
    let start = Instant::now();
    let mut told = 0;
    loop {
        for sender in 0..SENDERS {
            let to = JAILS[1].2;
            let command = format!("in left udp send {to} 4009 {BURSTS} 100000 1 {BURST}");
            context.guest.start(&format!("sender{sender}"), &command)?;
        }
        for sender in 0..SENDERS {
            let counts = context.guest.finish(&format!("sender{sender}"), LIMIT)?;
            told += counts.last().copied().unwrap_or(0);
        }
        let counted = until
            .map(|what| sum(context, "wpair0a", what))
            .transpose()?;
        if counted != Some(0) || start.elapsed() > LIMIT {
            break;
        }
    }
    // Until nothing is on its way.
    while sum(context, "wpair0a", "queued")? > 0 && start.elapsed() < 2 * LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(told)
}

/// Holds the queues of the end that sent against the counters of both interfaces.
fn agree(context: &mut Context<'_>, what: &str) -> Result<()> {
    let mut found = accounts(context)?;
    undisturbed(true, || {
        found = accounts(context)?;
        Ok(found.iter().all(|(_, one, other)| one == other))
    })?;
    for (said, one, other) in found {
        context
            .report
            .equal(&one, &other, &format!("{what}: {said}"));
    }
    Ok(())
}

/// What is counted in two places, and how much it is there.
type Account = (&'static str, [u64; 2], [u64; 2]);

fn accounts(context: &mut Context<'_>) -> Result<[Account; 3]> {
    let passed = sum(context, "wpair0a", "packets")?;
    let late = sum(context, "wpair0a", "drops.sojourn")?;
    let mut refused = 0;
    for reason in ["packets", "bytes", "stopped", "closed"] {
        refused += sum(context, "wpair0a", &format!("drops.{reason}"))?;
    }
    let moved = get(context, "wpair0a.lost.moved")?;
    let left = counters(context, "left", "wpair0a")?;
    let right = counters(context, "right", "wpair0b")?;
    let lost = [
        get(context, "wpair0a.lost.full")?,
        get(context, "wpair0a.lost.late")?,
    ];
    Ok([
        (
            "sent are passed on and late; dropped at the output are refused",
            [left[4], left[7]],
            [passed + late + moved, refused],
        ),
        (
            "received are passed on; dropped at the input are late",
            [right[0], right[3]],
            [passed, late],
        ),
        ("so says lost", lost, [refused, late]),
    ])
}

/// Limits for one burst, and not for two, so that a sender who tries again gets through; and
/// every frame is accounted for.
fn exact(context: &mut Context<'_>) -> Result<()> {
    bursts(context, None)?;
    agree(context, "with room")?;
    for (what, limit) in [("packets", 64), ("bytes", 98_304)] {
        let name = format!("{what}_limit");
        let before = get(context, &format!("wpair0a.queue.0.{name}"))?;
        set_all(context, "wpair0a", &name, limit)?;
        let reason = format!("drops.{what}");
        let told = bursts(context, Some(&reason))?;
        let drops = sum(context, "wpair0a", &reason)?;
        context.report.check(
            drops > 0 && told > 0,
            &format!("{name} {limit}: frames were dropped for that, and the sender told"),
            format_args!("{drops} dropped, told {told} times"),
        );
        agree(context, &name)?;
        set_all(context, "wpair0a", &name, before)?;
    }
    let all = [
        get(context, "lost.full")?,
        get(context, "wpair0a.lost.full")?,
    ];
    context
        .report
        .equal(&all[0], &all[1], "losses of all pairs are this one's");
    Ok(())
}

/// CoDel with a target that every burst misses.
fn late(context: &mut Context<'_>) -> Result<()> {
    set_all(context, "wpair0a", "codel_target_us", 1)?;
    set_all(context, "wpair0a", "codel_interval_us", 1)?;
    bursts(context, Some("drops.sojourn"))?;
    let late = sum(context, "wpair0a", "drops.sojourn")?;
    context
        .report
        .check(late > 0, "CoDel drops frames of a pair", late);
    agree(context, "CoDel")?;
    set_all(context, "wpair0a", "codel_target_us", 0)
}

/// How long frames wait, by the histograms of all queues.
fn waits(context: &mut Context<'_>) -> Result<()> {
    for (every, what) in [
        (0, "no wait is measured when that is off"),
        (1, "waits are measured"),
    ] {
        set(context, "", "net.weft.pair.wpair0a.sojourn_every", every)?;
        // What was watched by then comes out.
        bursts(context, None)?;
        let before = sum(context, "wpair0a", "sojourn_ns_count")?;
        bursts(context, None)?;
        let count = sum(context, "wpair0a", "sojourn_ns_count")?;
        context.report.check(
            (count > before) == (every > 0),
            what,
            format_args!("{before}, then {count}"),
        );
    }
    let (mut count, mut buckets) = (0, [0; 3]);
    undisturbed(true, || {
        count = sum(context, "wpair0a", "sojourn_ns_count")?;
        for (bucket, limit) in buckets.iter_mut().zip(["1024", "1073741824", "+Inf"]) {
            *bucket = sum(context, "wpair0a", &format!("sojourn_ns_bucket.{limit}"))?;
        }
        Ok(buckets[2] == count)
    })?;
    let time = sum(context, "wpair0a", "sojourn_ns_sum")?;
    context.report.check(
        buckets.is_sorted() && buckets[2] == count && buckets[1] > 0 && time > count,
        "the histogram is of all that were measured",
        format_args!("{buckets:?} of {count}, {time} ns together"),
    );
    set(context, "", "net.weft.pair.wpair0a.sojourn_every", 256)
}

/// Values that make no sense.
fn refused(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    for (name, value) in [
        ("queues", 0),
        ("queues", QUEUES + 1),
        ("queue.0.packets_limit", 0),
        ("queue.0.packets_limit", 1 << 20),
        ("queue.0.turn_packets", 0),
        ("direct", 2),
        ("sojourn_every", 1 << 33),
    ] {
        let name = format!("net.weft.pair.wpair0a.{name}");
        let why = context
            .guest
            .refused(&format!("sysctl set {name} {value}"))?;
        let messages = context.guest.messages()?.join("\n");
        context.report.check(
            why.starts_with("EINVAL") && messages.contains(&format!("{name}={value}: refused")),
            &format!("{name}={value} is refused, and the console says what is allowed"),
            format_args!("{why}: {messages}"),
        );
    }
    Ok(())
}

/// Each jail sees and sets what is of its own end.
fn apart(context: &mut Context<'_>) -> Result<()> {
    for ((jail, own, _), (_, foreign, _)) in JAILS.into_iter().zip(JAILS.into_iter().rev()) {
        let name = format!("net.weft.pair.{own}.queue.1.packets_limit");
        set(context, &format!("in {jail} "), &name, 1_000)?;
        let seen = get(context, &format!("{own}.queue.1.packets_limit"))?;
        let what = format!("{jail} tunes its end, and the host sees it");
        context.report.equal(&seen, &1_000, &what);
        for (command, error) in [
            (format!("get net.weft.pair.{foreign}.queues"), "ENOENT"),
            (format!("set net.weft.pair.{foreign}.queues 1"), "ENOENT"),
            (
                format!("set net.weft.pair.{foreign}.queue.0.packets_limit 1"),
                "ENOENT",
            ),
            (
                format!("set net.weft.pair.{own}.queue.0.turn_packets 1"),
                "EPERM",
            ),
            ("set net.weft.pair.queues 1".to_owned(), "EPERM"),
            ("set net.weft.pair.room 64".to_owned(), "EPERM"),
            ("get net.weft.pair.pairs".to_owned(), "ENOENT"),
            ("get net.weft.pair.lost.full".to_owned(), "ENOENT"),
        ] {
            let why = context
                .guest
                .refused(&format!("in {jail} sysctl {command}"))?;
            context.report.check(
                why.starts_with(error),
                &format!("in {jail}, {command}: {error}"),
                &why,
            );
        }
    }
    let both = [
        get(context, "wpair0a.queues")?,
        get(context, "wpair0b.queues")?,
    ];
    context
        .report
        .equal(&both, &[QUEUES; 2], "nothing was changed from another jail");
    same_unit(context)
}

/// A jail counts units by itself; a jail that holds no end sees none.
fn same_unit(context: &mut Context<'_>) -> Result<()> {
    create_jail(context, "third")?;
    let shown = |lines: &[String]| {
        let values = lines.iter().filter_map(|line| line.rsplit('\t').next());
        values.filter(|value| !value.starts_with('!')).count()
    };
    let command = "in third sysctl tree net.weft.pair.wpair0a";
    let lines = context.guest.call_within(command, LIMIT)?;
    context
        .report
        .equal(&shown(&lines), &0, "a jail without an end sees no number");
    let id = context.guest.line("jail id third")?;
    context.guest.line("in third if create wpair0")?;
    let own = format!("in third sysctl get net.weft.pair.wpair0a@{id}.queues");
    let own = context.guest.number(&own)?;
    let host = get(context, &format!("wpair0b@{id}.queues"))?;
    context.report.equal(
        &[own, host],
        &[QUEUES; 2],
        "a pair that a jail made has the jail's number in its nodes' names",
    );
    let why = context.guest.refused(&format!(
        "in left sysctl get net.weft.pair.wpair0a@{id}.queues"
    ))?;
    context.report.check(
        why.starts_with("ENOENT"),
        "and is hidden from other jails",
        &why,
    );
    remove_jail(context, "third")?;
    let start = Instant::now();
    while get(context, "pairs")? > 1 && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Queues come and go while flows pass, each of which stays whole and in order.
fn spread(context: &mut Context<'_>) -> Result<()> {
    let to = JAILS[1].2;
    for flow in 0..FLOWS {
        let port = 4020 + flow;
        let command = format!("in right udp recv {port} {DATAGRAMS} {PATIENCE_MS}");
        listen(context, &format!("receive{flow}"), &command)?;
        let command = format!("in left udp send {to} {port} {DATAGRAMS} {DATAGRAM_RATE} 1 900");
        context.guest.start(&format!("send{flow}"), &command)?;
    }
    for queues in [1, 4] {
        set(context, "in left ", "net.weft.pair.wpair0a.queues", queues)?;
        let now = get(context, "wpair0a.queues")?;
        let what = format!("{queues} of {QUEUES} queues are in use");
        context.report.equal(&now, &queues, &what);
        if queues == 1 {
            only_first(context)?;
        }
    }
    for flow in 0..FLOWS {
        let sent = context.guest.stop(&format!("send{flow}"))?[0];
        let received = gather(context, &format!("receive{flow}"), 1, sent)?;
        context.report.check(
            sent > 0 && received == [sent, sent, 0, 0],
            &format!("flow {flow} arrived once, in order, while queues changed"),
            format_args!("{sent} sent, {received:?}"),
        );
    }
    agree(context, "after queues changed")
}

/// While packets go through the first queue, nothing comes into the others.
fn only_first(context: &mut Context<'_>) -> Result<()> {
    let others = |context: &mut Context<'_>| -> Result<u64> {
        let names = (1..QUEUES).map(|queue| format!("wpair0a.queue.{queue}.packets"));
        names.map(|name| get(context, &name)).sum()
    };
    // What was queued before they went out of use comes out at first.
    let more = undisturbed(0, || {
        let before = others(context)?;
        let first = get(context, "wpair0a.queue.0.packets")?;
        let start = Instant::now();
        while get(context, "wpair0a.queue.0.packets")? < first + DATAGRAM_RATE / 10
            && start.elapsed() < LIMIT
        {}
        Ok(others(context)? - before)
    })?;
    context
        .report
        .equal(&more, &0, "queues that are not in use get nothing");
    Ok(())
}

/// A jail between the two forwards, and its end is set to have frames received at once.
fn forwarded(context: &mut Context<'_>) -> Result<()> {
    for jail in ["from", "mid", "to"] {
        create_jail(context, jail)?;
    }
    context.guest.line("if create wpair1")?;
    context.guest.line("if create wpair2")?;
    for (jail, end, address) in [
        ("from", "wpair1a", "10.2.0.1"),
        ("mid", "wpair1b", "10.2.0.2"),
        ("mid", "wpair2a", "10.3.0.2"),
        ("to", "wpair2b", "10.3.0.1"),
    ] {
        connect(context, jail, end, address)?;
    }
    for (jail, command) in [
        ("from", "route add 0.0.0.0/0 10.2.0.2"),
        ("to", "route add 0.0.0.0/0 10.3.0.2"),
        ("mid", "sysctl set net.inet.ip.forwarding 1"),
    ] {
        context.guest.call(&format!("in {jail} {command}"))?;
    }
    let what = "the jail between the two forwards";
    reached(context, "in from ", "10.3.0.1", 64, what)?;
    for end in ["wpair1a", "wpair1b", "wpair2a", "wpair2b"] {
        set(context, "", &format!("net.weft.pair.{end}.direct"), 1)?;
    }
    let direct = through_mid(context, "received at once")?;
    context.report.check(
        direct.0 > STREAM / 2_000 && direct.1 == 0,
        "forwarded frames were received at once, those of sockets were not",
        format_args!("{direct:?}"),
    );
    set(context, "", "net.weft.pair.direct_stack", 0)?;
    let before = direct.0;
    let direct = through_mid(context, "by workers, with no stack to use")?;
    context.report.equal(
        &direct,
        &(before, 0),
        "with no stack to use, no frame is received at once",
    );
    set(context, "", "net.weft.pair.direct_stack", 50)?;
    let bridge = context.guest.line("in mid if create bridge")?;
    context.guest.call(&format!(
        "in mid each if member {bridge} wpair1b -- if member {bridge} wpair2a -- if up {bridge}"
    ))?;
    context.guest.call("in to if addr wpair2b 10.2.0.9/24")?;
    reached(context, "in to ", "10.2.0.1", 64, "and bridges")?;
    let direct = through_mid(context, "bridged one way, routed the other")?;
    context.report.check(
        direct.0 > before + STREAM / 2_000 && direct.1 == 0,
        "bridged frames were received at once, too",
        format_args!("{before}, then {direct:?}"),
    );
    context
        .guest
        .call_within(&format!("in mid if destroy {bridge}"), LIMIT)?;
    for jail in ["from", "mid", "to"] {
        remove_jail(context, jail)?;
    }
    for pair in ["wpair1a", "wpair2a"] {
        await_home(context, pair)?;
        context
            .guest
            .call_within(&format!("if destroy {pair}"), LIMIT)?;
    }
    Ok(())
}

/// A stream each way at once, and echoes, from jail to jail by way of the one between. How
/// many frames were received at once of those that this one sent, and of the others.
fn through_mid(context: &mut Context<'_>, what: &str) -> Result<(u64, u64)> {
    let ways = [("from", "to", "10.3.0.1"), ("to", "from", "10.2.0.1")];
    for (number, (_, receiver, _)) in ways.iter().enumerate() {
        let job = format!("serve{number}");
        let serve = format!("in {receiver} tcp serve 501{number} 0");
        listen(context, &job, &serve)?;
    }
    for (number, (sender, _, address)) in ways.iter().enumerate() {
        let send = format!("in {sender} tcp send {address} 501{number} 0 {STREAM}");
        context.guest.start(&format!("stream{number}"), &send)?;
    }
    for number in 0..ways.len() {
        context.guest.finish(&format!("stream{number}"), LIMIT)?;
        let received = context.guest.finish(&format!("serve{number}"), LIMIT)?;
        let what = format!("{what}: stream {number} arrived, byte by byte");
        context.report.equal(&received, &vec![STREAM, 0], &what);
    }
    echoes(context, what)?;
    let forwarded = sum(context, "wpair1b", "through")? + sum(context, "wpair2a", "through")?;
    let own = sum(context, "wpair1a", "through")? + sum(context, "wpair2b", "through")?;
    Ok((forwarded, own))
}

/// Echo requests in fragments, one after the other, each of which is answered.
fn echoes(context: &mut Context<'_>, what: &str) -> Result<()> {
    // What lost its other fragments is kept for half a minute.
    let start = Instant::now();
    let mut kept = 1;
    while kept > 0 && start.elapsed() < LIMIT {
        kept = context.guest.number("sysctl get net.inet.ip.curfrags")?;
    }
    let found = format!("{what}: the kernel, which has a limit for all jails, keeps no fragments");
    context.report.equal(&kept, &0, &found);
    let count = ECHOES[usize::from(context.full)];
    let command = format!("in from ping 10.3.0.1 {count} {ECHO_MS} 4000");
    let echoed = context.guest.call_within(&command, 5 * LIMIT)?;
    context.report.equal(
        &echoed,
        &vec![format!("{count} of {count}")],
        &format!("{what}: long echo requests are answered"),
    );
    Ok(())
}

/// Whether jails may make pairs.
fn gate(context: &mut Context<'_>) -> Result<()> {
    let name = "net.weft.pair.jails_may_create";
    set(context, "", name, 0)?;
    let why = context.guest.refused("in left if create wpair9")?;
    let own = context
        .guest
        .refused(&format!("in left sysctl set {name} 1"))?;
    context.report.check(
        why.starts_with("EPERM") && own.starts_with("EPERM"),
        "a jail makes no pair if it may not, nor lets itself",
        format_args!("{why}; {own}"),
    );
    set(context, "", name, 1)?;
    let made = context.guest.line("in left if create wpair9")?;
    context
        .guest
        .call_within(&format!("in left if destroy {made}"), LIMIT)?;
    context.report.pass("and makes one if it may");
    Ok(())
}
