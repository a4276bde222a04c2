// SPDX-License-Identifier: BSD-2-Clause
//! Everything at once, for as long as is asked for: pairs, L3 interfaces, cards, routes that
//! change, the IPv6 policy and readers of all figures, while jails come and go, interfaces move,
//! numbers of queues and settings change, and the module is unloaded and loaded in between.
//!
//! A soak goes in rounds. A round loads and unloads the module some dozen times, loads it with
//! tunables that are drawn, makes its [`world`], takes [steps](chance) in it, sees whether the
//! [books](books) balance, takes all away, unloads the module, and looks whether anything is left.
//! All that is drawn comes from the round's seed. The next round's seed comes from that, so
//! `--seed` with the seed of a round, which is printed, begins with that round.

mod books;
mod chance;
mod tally;
mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use weft_engine::sim::random::mix;

use super::family::{V4, V6};
use super::nic::Wire;
use super::pair::{await_home, create_jail, listen, remove_jail};
use super::{Context, SETTLE_LIMIT, Scenario};
use crate::guest::{Error, Result};
use crate::image::MODULES;
use crate::lan::{Behaviour, Nic};
use chance::{Chance, Do, Kind, SENDERS, Step, make_jail, make_pair, take_card};
use tally::Tally;
use world::{
    CALM, CALM_PLACE, DRIVERS, JAILS, PAIRS, World, address, card_name, card_place, end_name,
    on_card, on_pair,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: NAME,
    group: NAME,
    about: "everything at once, drawn by a seed: jails, pairs, L3 interfaces, cards, routes, policy, readers; loads and unloads; the books balance, nothing is left",
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    limit: Duration::from_secs(600),
    run,
    ..Scenario::ORDINARY
};

/// What the scenario is called.
pub const NAME: &str = "soak";

/// How long to soak, and with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Minutes, or as the form of the run has it.
    pub minutes: Option<u32>,
    /// What the first round is drawn by.
    pub seed: Option<u64>,
}

/// Minutes everyday and in the long form, and the seed of both.
const MINUTES: u32 = 2;
const MINUTES_FULL: u32 = 20;
const SEED: u64 = 1;
/// Steps in a round.
const STEPS: u64 = 250;
/// Loads and unloads before a round, at least and at most.
const CYCLES: [usize; 2] = [20, 80];
/// As many as there are in all after [`MINUTES_FULL`] minutes.
const CYCLES_FULL: u64 = 1_000;
/// Routes of the tables that a round begins with.
const ROUTES: usize = 1_000;
/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of the streams that end a round.
const STREAM: u64 = 200_000;

/// Commands that read all figures, again and again, in which place.
const READERS: [(&str, &str); 2] = [("reader0", ""), ("reader1", "in calm ")];
/// Commands that change routes, again and again: neighbours of one length come, move and go.
const CHANGES: [(&str, &str); 3] = [
    (
        "routes0",
        "route flap 100.64.0.0/24 400 10.20.0.2,10.20.0.3 400 0",
    ),
    (
        "routes1",
        "route flap fd64::/64 700 fd00:20::2,fd00:20::3 400 0",
    ),
    (
        "routes2",
        "in calm route flap 100.64.0.0/24 400 10.20.0.1,10.20.0.4 400 0",
    ),
];

/// How much longer a soak of so many minutes may take before it counts as stuck.
#[must_use]
pub fn limit(minutes: u32) -> Duration {
    Duration::from_secs(60 * u64::from(minutes) + 600)
}

fn run(context: &mut Context<'_>) -> Result<()> {
    let usual = if context.full { MINUTES_FULL } else { MINUTES };
    let minutes = context.soak.minutes.unwrap_or(usual);
    let mut seed = context.soak.seed.unwrap_or(SEED);
    let start = Instant::now();
    let end = start + Duration::from_secs(60 * u64::from(minutes));
    let folder = folder(context);
    let log = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::File::create(folder.join("steps.log")));
    let mut tally = Tally {
        seed,
        log: Some(log.map_err(|error| Error::Unexpected(format!("steps.log: {error}")))?),
        ..Tally::default()
    };
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    context
        .report
        .say(&format!("soak: {minutes} minutes, --seed {seed}"));
    for number in 0.. {
        let outcome = round(context, seed, number == 0, end, &mut tally);
        tally.took = start.elapsed();
        if outcome.is_err() {
            // What led to it is worth knowing all the more.
            let text = format!(
                "in the round of --seed {seed}\n{}",
                tally.summary(&context.kernel.name)
            );
            context.report.say(&text);
        }
        write(context, &tally)?;
        outcome?;
        context.report.say(&format!(
            "round {number}, --seed {seed}: {} steps, {} loads so far, {:.0} s",
            tally.steps,
            tally.cycles[0],
            start.elapsed().as_secs_f32()
        ));
        seed = mix(seed ^ 0x5eed);
        if Instant::now() >= end {
            break;
        }
    }
    while minutes >= MINUTES_FULL && tally.cycles[0] < CYCLES_FULL {
        let missing = CYCLES_FULL - tally.cycles[0];
        cycles(context, missing.min(50) as usize, false, &mut tally)?;
    }
    conclude(context, &tally)
}

/// Where the steps and the summary are written: beside the console's log.
fn folder(context: &Context<'_>) -> PathBuf {
    let output = &context.artifacts.output;
    output.join(&context.kernel.name).join(NAME)
}

/// Writes the summary, as it is so far.
fn write(context: &Context<'_>, tally: &Tally) -> Result<()> {
    let summary = tally.summary(&context.kernel.name);
    let written = std::fs::write(folder(context).join("summary.md"), summary);
    written.map_err(|error| Error::Unexpected(format!("summary.md: {error}")))
}

/// Writes and says the summary.
fn conclude(context: &mut Context<'_>, tally: &Tally) -> Result<()> {
    write(context, tally)?;
    let summary = tally.summary(&context.kernel.name);
    context.report.say(&summary);
    context.report.note(&summary);
    context.report.note(&tally.watched.join("\n"));
    let leaks = &tally.leaks;
    context
        .report
        .equal(leaks, &vec![], "nothing was left by any round");
    Ok(())
}

/// Loads and unloads the module so many times: that which is shipped, or that with checks.
fn cycles(context: &mut Context<'_>, times: usize, checked: bool, tally: &mut Tally) -> Result<()> {
    let module = module(checked);
    let command = format!("repeat {times} kld load {module} -- kld unload weft.ko");
    let limit = Duration::from_secs(60 + 4 * times as u64);
    let well = context.guest.call_within(&command, limit)?;
    let wanted = format!("{times} {times}");
    let what = "each load and each unload is done";
    context.report.equal(&well, &vec![wanted], what);
    tally.cycles[0] += times as u64;
    tally.cycles[1] += if checked { times as u64 } else { 0 };
    Ok(())
}

fn module(checked: bool) -> String {
    let folder = if checked { "/checked" } else { "" };
    format!("{MODULES}{folder}/weft.ko")
}

fn round(
    context: &mut Context<'_>,
    seed: u64,
    is_first: bool,
    end: Instant,
    tally: &mut Tally,
) -> Result<()> {
    tally.log(&format!("--seed {seed}"));
    let mut chance = Chance::new(seed, World::default());
    let [least, most] = CYCLES;
    let times = least + chance.below(most - least);
    cycles(context, times, chance.below(2) == 1, tally)?;
    for (name, values) in [
        ("pair.queues", [1, 2, 3, 4]),
        ("pair.room", [64, 128, 1_024, 4_096]),
        ("pair.bound_workers", [0, 0, 0, 1]),
    ] {
        let value = values[chance.below(4)];
        context
            .guest
            .call(&format!("kenv set net.weft.{name} {value}"))?;
    }
    let checked = chance.below(2) == 1;
    context
        .guest
        .call(&format!("kld load {}", module(checked)))?;
    build(context, &mut chance.world, is_first)?;
    let senders = chance.senders();
    let steps = senders
        .into_iter()
        .map(Some)
        .chain((0..STEPS).map(|_| None));
    for step in steps {
        let step = step.unwrap_or_else(|| chance.step());
        take(context, &step, tally)?;
        tally.steps += 1;
        if Instant::now() >= end {
            break;
        }
    }
    for sender in 0..SENDERS {
        let _ = end_job(context, &format!("sender{sender}"), tally)?;
    }
    for (job, _) in CHANGES {
        let counts = end_job(context, job, tally)?;
        for (sum, count) in tally.routes.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    for (job, _) in READERS {
        let read = context.guest.stop(job)?;
        tally.readings += read.first().copied().unwrap_or(0);
    }
    quiet(context, &chance.world)?;
    books::close(context, &chance.world, tally)?;
    still_at_work(context, &chance.world)?;
    clear(context, &chance.world, tally)?;
    tally.cycles[0] += 1;
    tally.cycles[1] += u64::from(checked);
    tally.rounds += 1;
    Ok(())
}

/// What each round begins with.
fn build(context: &mut Context<'_>, world: &mut World, is_first: bool) -> Result<()> {
    let mut does = vec![];
    for (card, driver) in DRIVERS.into_iter().enumerate() {
        let wire = Wire::new(card);
        let port = wire.port(context)?;
        port.set(Behaviour::Station(wire.station()));
        port.clear();
        let set = format!("devctl set {} {driver}", card_place(card));
        match is_first {
            true => does.extend([
                Do::Call(set),
                Do::Call(address(0, &card_name(card), &on_card(card, 2))),
            ]),
            false => does.extend(take_card(card)),
        }
        (world.cards[card], world.cables[card]) = (true, true);
    }
    for jail in JAILS {
        does.extend(make_jail(jail));
    }
    for pair in 1..PAIRS - 1 {
        world.pairs[pair] = Some([0, pair]);
        does.extend(make_pair(pair, pair));
    }
    create_jail(context, CALM)?;
    let [near, far] = [end_name(0, 0), end_name(0, 1)];
    world.pairs[0] = Some([0, CALM_PLACE]);
    does.extend([
        Do::Call("if create wpair0".into()),
        Do::Call(format!("if vnet {far} {CALM}")),
        Do::Call(address(0, &near, &on_pair(0, 1))),
    ]);
    for one in does {
        let Do::Call(command) = one else { continue };
        context.guest.call_within(&command, LIMIT)?;
    }
    let [v4, v6] = on_pair(0, 2);
    context.guest.call(&format!(
        "in {CALM} each if up {far} -- if addr {far} {v4}/24 -- if addr {far} {v6}/64"
    ))?;
    context.load_routes("", &V4, "10.20.0.2,10.20.0.3", 0, ROUTES)?;
    context.load_routes("", &V6, "fd00:20::2,fd00:20::3", 0, ROUTES)?;
    for family in [&V4, &V6] {
        context.choose("", family, family.ours)?;
    }
    for place in ["", "in calm ", "in s0 "] {
        context
            .guest
            .call(&format!("{place}pfil first inet6 weft ipv6"))?;
    }
    for (job, command) in CHANGES {
        context.guest.start(job, command)?;
    }
    for (job, place) in READERS {
        let command = format!("{place}repeat 100000000 sysctl tree net.weft -- sysctl tree dev");
        context.guest.start(job, &command)?;
    }
    Ok(())
}

/// Takes a step; what the guest refuses is counted.
fn take(context: &mut Context<'_>, step: &Step, tally: &mut Tally) -> Result<()> {
    for one in &step.does {
        tally.log(&format!("{one:?}"));
        let outcome = match one {
            Do::Call(command) => context.guest.call_within(command, LIMIT).map(drop),
            Do::Start(job, command) => context.guest.start(job, command),
            Do::Home(interface) => await_home(context, interface),
            Do::End(job) => end_job(context, job, tally).map(drop),
            Do::Busy(command) => {
                let why = context.guest.refused(command)?;
                let what = "the module is not unloaded while it is in use";
                context.report.check(why.starts_with("EBUSY"), what, &why);
                Ok(())
            }
            Do::Check(command) => checked(context, command),
            Do::Cable(card, is_in) => {
                let set = context.guest.lan()?.monitor.set_link(*card, *is_in);
                set.map_err(|error| Error::Unexpected(error.to_string()))
            }
        };
        match outcome {
            Ok(()) => tally.done(step.kind),
            Err(Error::Failed { why, .. }) => {
                tally.log(&format!("    {why}"));
                tally.refused(step.kind, &why);
            }
            Err(error) => return Err(error),
        }
        tally.jails += u64::from(step.kind == Kind::Jail && is_removal(one));
    }
    Ok(())
}

fn is_removal(one: &Do) -> bool {
    matches!(one, Do::Call(command) if command.starts_with("jail remove "))
}

/// Compares a FIB with its routing table. That another algorithm serves it, or that it is to be
/// built anew, is no fault.
fn checked(context: &mut Context<'_>, command: &str) -> Result<()> {
    let outcome = context.guest.call_within(command, LIMIT);
    if let Err(Error::Failed { why, .. }) = &outcome {
        let what = "routes are looked up right";
        context.report.check(!why.contains("EIO"), what, why);
    }
    outcome.map(drop)
}

/// Ends a command in the background, and gives what it has counted. It may have died with its
/// jail, or not be there.
fn end_job(context: &mut Context<'_>, job: &str, tally: &mut Tally) -> Result<Vec<u64>> {
    let counts = match context.guest.counters(job) {
        Ok(counts) => counts,
        Err(Error::Failed { .. }) => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let last = match context.guest.stop(job) {
        Ok(last) => last,
        Err(Error::Failed { .. }) => counts,
        Err(error) => return Err(error),
    };
    if job.starts_with("sender") {
        tally.sent += last.first().copied().unwrap_or(0);
    }
    Ok(last)
}

/// Has all cables in and the calm pair without what a step may have set, and waits until nobody
/// has anything to do.
fn quiet(context: &mut Context<'_>, world: &World) -> Result<()> {
    for card in (0..DRIVERS.len()).filter(|&card| !world.cables[card]) {
        let set = context.guest.lan()?.monitor.set_link(card, true);
        set.map_err(|error| Error::Unexpected(error.to_string()))?;
    }
    for place in ["", "in calm "] {
        // Fragments and groups of the stream's own are nobody's business.
        context
            .guest
            .call(&format!("{place}sysctl set net.weft.ipv6.preset 0"))?;
    }
    Ok(())
}

/// After all of that, a stream passes over the calm pair, and the host behind each cable has
/// found no frame wrong.
fn still_at_work(context: &mut Context<'_>, world: &World) -> Result<()> {
    for (family, to) in on_pair(0, 2).into_iter().enumerate() {
        listen(
            context,
            "serve",
            &format!("in {CALM} tcp serve 500{family} 7"),
        )?;
        let send = format!("tcp send {to} 500{family} 7 {STREAM}");
        context.guest.start("stream", &send)?;
        context.guest.finish("stream", LIMIT)?;
        let received = context.guest.finish("serve", LIMIT)?;
        let what = format!("a stream to {to} arrives, byte by byte");
        context.report.equal(&received, &vec![STREAM, 0], &what);
    }
    for card in (0..DRIVERS.len()).filter(|&card| world.cards[card]) {
        let wire = Wire::new(card);
        let seen = wire.port(context)?.figures();
        wire.all_right(context, &card_name(card), &seen);
    }
    Ok(())
}

/// Takes all away, unloads the module and looks what is left.
fn clear(context: &mut Context<'_>, world: &World, tally: &mut Tally) -> Result<()> {
    context
        .guest
        .call("pfil unlink inet6 weft ipv6")
        .or_else(|error| match error {
            // A step may have done so.
            Error::Failed { .. } => Ok(vec![]),
            other => Err(other),
        })?;
    for jail in JAILS.iter().chain([&CALM]) {
        remove_jail(context, jail)?;
        tally.jails += 1;
    }
    let mut homeless = vec![end_name(0, 1)];
    for place in 0..=JAILS.len() {
        homeless.extend(world.interfaces_in(place));
    }
    for interface in &homeless {
        await_home(context, interface)?;
    }
    for child in &world.children {
        context
            .guest
            .call_within(&format!("if destroy {}", child.name), LIMIT)?;
    }
    for pair in (0..PAIRS).filter(|&pair| world.pairs[pair].is_some()) {
        let destroy = format!("if destroy {}", end_name(pair, 0));
        context.guest.call_within(&destroy, LIMIT)?;
    }
    for card in (0..DRIVERS.len()).filter(|&card| world.cards[card]) {
        let give_back = format!("devctl disable {}", card_place(card));
        context.guest.call_within(&give_back, LIMIT)?;
    }
    context.guest.call("sysctl set net.weft.fib.auto 0")?;
    for family in [&V4, &V6] {
        context.choose("", family, family.plain)?;
        context.unload_routes("", family, ROUTES)?;
    }
    context.wait_for_tables(0, "no table is served any more")?;
    unload(context)?;
    let threads = context.guest.number("threads weft")?;
    context
        .report
        .equal(&threads, &0, "no thread of the module's is left");
    let held = context.guest.memory_held("weft")?;
    context
        .report
        .equal(&held, &vec![], "nothing is held after a round");
    tally.leaks.extend(held);
    watch(context, tally)
}

/// What a dead jail had may take a moment to go.
fn unload(context: &mut Context<'_>) -> Result<()> {
    let start = Instant::now();
    loop {
        match context.guest.call_within("kld unload weft.ko", LIMIT) {
            Err(Error::Failed { why, .. })
                if why.starts_with("EBUSY") && start.elapsed() < SETTLE_LIMIT =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other.map(drop),
        }
    }
}

/// Notes memory of the kernel's own that would grow if something were forgotten there.
fn watch(context: &mut Context<'_>, tally: &mut Tally) -> Result<()> {
    let mut line = format!("after round {}:", tally.rounds);
    for name in ["sysctloid", "ifnet", "ifaddr", "vnet", "taskqueue"] {
        let bytes = context.column(&format!("malloc {name}"), 1)?;
        line += &format!(" {name} {bytes}");
    }
    let mbufs = context.column("zones mbuf", 1)?;
    line += &format!(" mbufs {mbufs}");
    tally.watched.push(line);
    Ok(())
}
