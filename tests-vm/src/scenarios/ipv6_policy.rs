// SPDX-License-Identifier: BSD-2-Clause
//! `weft:ipv6`, the filter of IPv6 extension headers and fragments: floods of each kind of
//! packet that it has a rule for, each counted under its rule, with ordinary traffic beside
//! them that loses nothing; what is forwarded; settings; each network stack by itself.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use weft_engine::sim::malformed::example;
use weft_engine::wire::policy::{Action, Point, Preset, RULES, Rule};

use super::pair::{
    PATIENCE_MS, await_home, counts, create_jail, destroy, listen, other, remove_jail,
};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipv6-policy",
    group: "ipv6-policy",
    about: "floods of each kind of IPv6 packet that weft:ipv6 has a rule for are counted under it, ordinary traffic passes",
    limit: Duration::from_secs(240),
    run,
    ..Scenario::ORDINARY
};

const NODE: &str = "net.weft.ipv6";
/// Frames of a flood.
const FLOOD: u64 = 50;
const FLOOD_FULL: u64 = 20_000;
/// Datagrams that are sent meanwhile, and how many of them in a second.
const DATAGRAMS: u64 = 600;
const DATAGRAM_RATE: u64 = 100;
/// Bytes of a stream.
const STREAM: u64 = 2_000_000;
pub(super) const LIMIT: Duration = Duration::from_secs(60);

// outer -- host, which forwards -- inner
pub(super) const OUTER: &str = "fd00:9::1";
pub(super) const HOST: [&str; 2] = ["fd00:9::2", "fd00:a::2"];
const INNER: &str = "fd00:a::1";
/// Hardware addresses of the host's end towards outer, and of outer's.
pub(super) const HARDWARE: [&str; 2] = ["020000007701", "020000007702"];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    for jail in ["outer", "inner"] {
        create_jail(context, jail)?;
    }
    let pairs = [
        connect(context, "outer", OUTER, HOST[0])?,
        connect(context, "inner", INNER, HOST[1])?,
    ];
    let far = other(&pairs[0]);
    for command in [
        format!("ether mac {} {}", pairs[0], HARDWARE[0]),
        format!("in outer ether mac {far} {}", HARDWARE[1]),
        "sysctl set net.inet6.ip6.forwarding 1".to_owned(),
        format!("in outer route add fd00:a::/64 {}", HOST[0]),
        format!("in inner route add fd00:9::/64 {}", HOST[1]),
    ] {
        context.guest.call(&command)?;
    }
    for to in [HOST[0], INNER] {
        answers(context, to, "before anything is filtered")?;
    }
    idle(context, &pairs[0])?;
    context.guest.call("pfil first inet6 weft ipv6")?;
    settings(context)?;
    received(context, &far)?;
    in_transit(context, &pairs[0], &other(&pairs[1]))?;
    apart(context, &pairs[0])?;
    for to in [HOST[0], INNER] {
        answers(context, to, "after all floods")?;
    }
    stream(context)?;
    ends(context, &pairs)
}

/// A pair between a jail and the host.
pub(super) fn connect(
    context: &mut Context<'_>,
    jail: &str,
    there: &str,
    here: &str,
) -> Result<String> {
    let pair = context.guest.line("if create wpair")?;
    let far = other(&pair);
    for command in [
        format!("if vnet {far} {jail}"),
        format!("in {jail} each if addr {far} {there}/64 -- if up {far}"),
        format!("each if addr {pair} {here}/64 -- if up {pair}"),
    ] {
        context.guest.call(&command)?;
    }
    Ok(pair)
}

/// Echoes from outer, long ones among them, so in fragments.
fn answers(context: &mut Context<'_>, to: &str, when: &str) -> Result<()> {
    let first = format!("in outer ping {to} 4 3000");
    context.guest.call_within(&first, LIMIT)?;
    for size in [64, 4_000] {
        let command = format!("in outer ping {to} 3 5000 {size}");
        let echoed = context.guest.call_within(&command, LIMIT)?;
        let what = format!("{to} answers {size} bytes {when}");
        context
            .report
            .equal(&echoed, &vec!["3 of 3".to_owned()], &what);
    }
    Ok(())
}

/// Long segments of TCP, whole from end to end, pass both filters.
fn stream(context: &mut Context<'_>) -> Result<()> {
    listen(context, "serve", "tcp serve 5000 1")?;
    let send = format!("in outer tcp send {} 5000 1 {STREAM}", HOST[0]);
    context.guest.start("stream", &send)?;
    context.guest.finish("stream", LIMIT)?;
    let received = context.guest.finish("serve", LIMIT)?;
    let what = "a stream passes the filters of both sides, byte by byte";
    context.report.equal(&received, &vec![STREAM, 0], what);
    Ok(())
}

pub(super) fn figure(context: &mut Context<'_>, name: &str) -> Result<u64> {
    context.guest.number(&format!("sysctl get {NODE}.{name}"))
}

/// The numbers of all rules, by their full names.
struct OfRules(BTreeMap<String, u64>);

impl OfRules {
    fn of(&self, rule: Rule, what: &str) -> Option<u64> {
        let full = format!("{NODE}.rule.{}.{what}", name(rule));
        self.0.get(&full).copied()
    }
}

fn of_rules(context: &mut Context<'_>) -> Result<OfRules> {
    let command = format!("sysctl tree {NODE}.rule");
    let lines = context.guest.call_within(&command, LIMIT)?;
    let number = |line: &String| {
        let (name, rest) = line.split_once('\t')?;
        let (_, value) = rest.rsplit_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(OfRules(lines.iter().filter_map(number).collect()))
}

pub(super) fn set(context: &mut Context<'_>, name: &str, value: u64) -> Result<()> {
    let command = format!("sysctl set {NODE}.{name} {value}");
    context.guest.call(&command).map(drop)
}

fn name(rule: Rule) -> &'static str {
    let about = RULES.iter().find(|about| about.rule == rule);
    about
        .and_then(|about| about.name.to_str().ok())
        .unwrap_or_default()
}

/// Has outer send a rule's packets to an address behind the host's hardware address.
fn flood(context: &mut Context<'_>, far: &str, rule: Rule, to: &str, count: u64) -> Result<()> {
    let addresses = [OUTER, to].map(|text| {
        let address: Ipv6Addr = text.parse().unwrap_or(Ipv6Addr::UNSPECIFIED);
        address.octets()
    });
    let packet = example(rule, addresses);
    let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
    let [to, from] = HARDWARE;
    let command = format!("in outer ether send {far} {to}{from}86dd{hex} {count}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Waits until a figure has gone up by so much; by how much it has.
fn await_figure(context: &mut Context<'_>, name: &str, before: u64, more: u64) -> Result<u64> {
    let start = Instant::now();
    loop {
        let gone_up = figure(context, name)?.saturating_sub(before);
        if gone_up >= more || start.elapsed() > LIMIT {
            return Ok(gone_up);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Has outer send a rule's packets to the host, and waits until they have come.
fn flood_host(context: &mut Context<'_>, pair: &str, rule: Rule) -> Result<()> {
    let before = counts(context, "", pair)?[0];
    flood(context, &other(pair), rule, HOST[0], FLOOD)?;
    let start = Instant::now();
    while counts(context, "", pair)?[0] < before + FLOOD && start.elapsed() < LIMIT {}
    Ok(())
}

/// Nothing is looked at before the filter is linked.
fn idle(context: &mut Context<'_>, pair: &str) -> Result<()> {
    flood_host(context, pair, Rule::Pad1)?;
    let looked_at = figure(context, "looked_at")?;
    let what = "a filter that is not linked looks at nothing";
    context.report.equal(&looked_at, &0, what);
    let preset = figure(context, "preset")?;
    context
        .report
        .equal(&preset, &(Preset::Host as u64), "it begins as a host's");
    Ok(())
}

/// What is out of range is refused, and presets set what they say.
fn settings(context: &mut Context<'_>) -> Result<()> {
    for bad in [
        "rule.pad1.received 3",
        "rule.pad1.transit 9",
        "limit.headers 33",
        "limit.pieces 0",
        "limit.option_bytes 2049",
        "preset 3",
        "looked_at 0",
    ] {
        let why = context.guest.refused(&format!("sysctl set {NODE}.{bad}"))?;
        let is_refused = why.starts_with("EINVAL") || why.starts_with("EPERM");
        context
            .report
            .check(is_refused, &format!("{bad} is refused"), &why);
    }
    for preset in [Preset::Off, Preset::Router, Preset::Host] {
        set(context, "preset", preset as u64)?;
        let set = of_rules(context)?;
        let mut wrong = vec![];
        for about in RULES {
            for point in Point::ALL {
                let found = set.of(about.rule, point.name());
                if found != Some(preset.action(about, point) as u64) {
                    wrong.push(format!("{}.{}={found:?}", name(about.rule), point.name()));
                }
            }
        }
        let what = format!("the preset {preset:?} sets all rules");
        context.report.equal(&wrong, &vec![], &what);
    }
    Ok(())
}

/// The rules whose packets are sent.
fn flooded() -> Vec<Rule> {
    let rules = RULES.iter().map(|about| about.rule);
    // One frame arrives in few pieces.
    rules.filter(|&rule| rule != Rule::Scattered).collect()
}

/// Each kind of packet is dropped under its own rule, and nothing else is.
fn received(context: &mut Context<'_>, far: &str) -> Result<()> {
    let count = if context.full { FLOOD_FULL } else { FLOOD };
    let receive = format!("udp recv 4000 {DATAGRAMS} {PATIENCE_MS}");
    listen(context, "receive", &receive)?;
    let send = format!(
        "in outer udp send {} 4000 {DATAGRAMS} {DATAGRAM_RATE}",
        HOST[0]
    );
    context.guest.start("send", &send)?;
    let floods = flooded();
    for &rule in &floods {
        set(context, "preset", Preset::Host as u64)?;
        if rule == Rule::OptionBytes {
            set(context, "limit.option_bytes", 16)?;
        }
        set(
            context,
            &format!("rule.{}.received", name(rule)),
            Action::Drop as u64,
        )?;
        flood(context, far, rule, HOST[0], count)?;
        let dropped = format!("rule.{}.dropped", name(rule));
        await_figure(context, &dropped, 0, count)?;
    }
    set(context, "preset", Preset::Host as u64)?;
    let sent = context.guest.finish("send", LIMIT)?;
    let received = context.guest.finish("receive", LIMIT)?;
    let counted = of_rules(context)?;
    let reports = reports(context, "outer")? + reports(context, "inner")?;
    for about in RULES {
        let sent = if floods.contains(&about.rule) {
            count
        } else {
            0
        };
        counted.are(context, about.rule, sent, reports);
    }
    context
        .report
        .equal(&sent[..2], &[DATAGRAMS, 0], "datagrams were sent meanwhile");
    context.report.equal(
        &received,
        &vec![DATAGRAMS, DATAGRAMS, 0, 0],
        "all of them arrived once, in order, whole",
    );
    context
        .report
        .note(&format!("{} kinds, {count} packets of each", floods.len()));
    Ok(())
}

/// Rules that the jails' own reports of groups come under (MLD, RFC 3810).
const OF_REPORTS: [Rule; 2] = [Rule::RouterAlert, Rule::HopByHop];

impl OfRules {
    /// A rule has dropped as many as were sent, and at most so many reports if they come under
    /// it.
    fn are(&self, context: &mut Context<'_>, rule: Rule, sent: u64, reports: u64) {
        let more = if OF_REPORTS.contains(&rule) {
            reports
        } else {
            0
        };
        let [dropped, applied] = ["dropped", "applied"].map(|what| self.of(rule, what));
        context.report.check(
            dropped.is_some_and(|dropped| (sent..=sent + more).contains(&dropped)),
            &format!("{}: dropped as many as were sent", name(rule)),
            format_args!("{dropped:?} of {sent}, and of up to {more} reports"),
        );
        // Some packets are counted by a second rule.
        context.report.check(
            applied >= dropped,
            &format!("{}: applied to as many", name(rule)),
            format_args!("{applied:?}, dropped {dropped:?}"),
        );
    }
}

/// How many reports of groups a jail has sent.
fn reports(context: &mut Context<'_>, jail: &str) -> Result<u64> {
    // `icp6s_outhist` of `struct icmp6stat`, of MLDv2's reports.
    let place = format!("in {jail} ");
    context.guest.word(&place, "net.inet6.icmp6.stats", 3 + 143)
}

/// Packets that the host's inner interface has sent, as inner counts them.
fn arrived(context: &mut Context<'_>, inner: &str) -> Result<u64> {
    Ok(super::pair::counts(context, "in inner ", inner)?[0])
}

/// A router drops on the way on what RFC 9288 has dropped, and lets pass the rest.
fn in_transit(context: &mut Context<'_>, pair: &str, inner: &str) -> Result<()> {
    let far = &other(pair);
    set(context, "preset", Preset::Router as u64)?;
    let only_here =
        |about: &&weft_engine::wire::policy::About| about.router == [Action::Pass, Action::Drop];
    for about in RULES.iter().filter(only_here) {
        let dropped = format!("rule.{}.dropped", name(about.rule));
        let before = [figure(context, &dropped)?, arrived(context, inner)?];
        flood(context, far, about.rule, INNER, FLOOD)?;
        let gone_up = await_figure(context, &dropped, before[0], FLOOD)?;
        let what = format!("{}: all are dropped in transit", name(about.rule));
        context.report.equal(&gone_up, &FLOOD, &what);
        let passed = arrived(context, inner)? - before[1];
        context
            .report
            .check(passed < FLOOD / 2, &format!("{what}, none arrives"), passed);
        flood_host(context, pair, about.rule)?;
        let gone_up = figure(context, &dropped)? - before[0];
        let what = format!(
            "{}: none is dropped that is for the router",
            name(about.rule)
        );
        context.report.equal(&gone_up, &FLOOD, &what);
    }
    for rule in [
        Rule::DestinationOptions,
        Rule::HopByHop,
        Rule::Fragment,
        Rule::Routing4,
        Rule::Esp,
    ] {
        let before = arrived(context, inner)?;
        flood(context, far, rule, INNER, FLOOD)?;
        let start = Instant::now();
        let mut passed = 0;
        while passed < FLOOD && start.elapsed() < LIMIT {
            passed = arrived(context, inner)? - before;
        }
        let what = format!("{}: all pass in transit", name(rule));
        context.report.check(passed >= FLOOD, &what, passed);
    }
    set(context, "preset", Preset::Host as u64)
}

/// A jail has settings and figures of its own, and a filter that it links itself.
fn apart(context: &mut Context<'_>, pair: &str) -> Result<()> {
    let guest = &mut context.guest;
    let looked_at = guest.number(&format!("in outer sysctl get {NODE}.looked_at"))?;
    let mine = guest.number(&format!("sysctl get {NODE}.rule.pad1.received"))?;
    guest.call(&format!("in outer sysctl set {NODE}.rule.pad1.received 1"))?;
    let theirs = guest.number(&format!("in outer sysctl get {NODE}.rule.pad1.received"))?;
    let still = guest.number(&format!("sysctl get {NODE}.rule.pad1.received"))?;
    context
        .report
        .equal(&looked_at, &0, "a jail's filter has looked at nothing");
    context.report.equal(
        &[mine, theirs, still],
        &[2, 1, 2],
        "a jail sets its own rules",
    );
    context.guest.call("in outer pfil first inet6 weft ipv6")?;
    answers(context, HOST[0], "with filters on both sides")?;
    let command = format!("in outer sysctl get {NODE}.looked_at");
    let looked_at = context.guest.number(&command)?;
    context.report.check(
        looked_at >= 6,
        "the jail's filter looks at its packets",
        looked_at,
    );
    context.guest.call("pfil unlink inet6 weft ipv6")?;
    let before = figure(context, "looked_at")?;
    flood_host(context, pair, Rule::Pad1)?;
    let after = figure(context, "looked_at")?;
    context
        .report
        .equal(&after, &before, "unlinked, it looks at nothing any more");
    context.guest.call("pfil first inet6 weft ipv6").map(drop)
}

/// Network stacks go with their filter linked, and so does the module.
fn ends(context: &mut Context<'_>, pairs: &[String]) -> Result<()> {
    context
        .guest
        .call("sysctl set net.inet6.ip6.forwarding 0")?;
    for (jail, pair) in ["outer", "inner"].into_iter().zip(pairs) {
        remove_jail(context, jail)?;
        await_home(context, &other(pair))?;
        destroy(context, pair)?;
    }
    context.unload_weft()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/ipv6-policy.md` says of those rules that they are tested in a guest that are.
    #[test]
    fn the_documentation_says_what_is_tested_here() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ipv6-policy.md");
        let page = std::fs::read_to_string(path).unwrap();
        let floods = flooded();
        for about in RULES {
            let begins = format!("| `{}` |", name(about.rule));
            let row = page.lines().find(|line| line.starts_with(&begins)).unwrap();
            let tested = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
            let is_here = tested.split(", ").any(|place| place == "guest");
            assert_eq!(is_here, floods.contains(&about.rule), "{row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.count(), RULES.len());
    }
}
