// SPDX-License-Identifier: BSD-2-Clause
//! What FreeBSD's own tests hold against epair(4), held against wpair(4): each case here
//! checks what one of theirs does (`tests/sys/net`, `tests/sys/netinet`), by its name.

use std::time::{Duration, Instant};

use super::pair::{LIMIT, PATIENCE_MS, create_jail, destroy, gather, listen, other, remove_jail};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair-system",
    group: "pair",
    about: "wpair held against what FreeBSD's own tests check of epair and over it",
    klds: &[
        "bridgestp",
        "if_bridge",
        "if_vlan",
        "if_infiniband",
        "if_lagg",
    ],
    limit: Duration::from_secs(400),
    run,
    ..Scenario::ORDINARY
};

/// A case of FreeBSD's: where it is, what it is called, what does the same here.
type Case = (
    &'static str,
    &'static str,
    fn(&mut Context<'_>, &str) -> Result<()>,
);

const CASES: [Case; 19] = [
    ("if_epair", "params", parameters),
    ("if_epair_test", "pcp", priorities),
    ("if_clone_test", "epair_stress", stress),
    ("if_clone_test", "epair_up_stress", stress_up),
    ("if_clone_test", "epair_ipv6_up_stress", stress_up_v6),
    ("if_clone_test", "epair_destroy_race", destroyed_while_moved),
    (
        "if_clone_test",
        "epair_destroy_race2",
        destroyed_while_reclaimed,
    ),
    ("if_vlan", "basic", vlan),
    ("if_vlan", "qinq_deep", vlan_deep),
    ("if_vlan", "qinq_setflags", vlan_promiscuous),
    ("if_vlan", "conflict_id", vlan_conflict),
    ("if_bridge_test", "bridge_transmit_ipv4_unicast", bridge),
    ("if_bridge_test", "delete_with_members", bridge_deleted),
    ("if_bridge_test", "many_bridge_members", bridge_of_many),
    ("if_bridge_test", "mtu", bridge_mtu),
    ("if_lagg_test", "create_destroy_stress", lagg_stress),
    ("netinet/forward", "fwd_ip_icmp_gw", forwarded),
    ("netinet/forward", "fwd_ip_blackhole", dropped),
    ("netinet/arp", "pending_delete_if", resolved_never),
];

/// Turns of a race, everyday and with `--full`.
const TURNS: [u32; 2] = [20, 1_000];
const PORT: u16 = 4_400;
const JAILS: [&str; 2] = ["one", "two"];

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    for (file, name, case) in CASES {
        for jail in JAILS {
            create_jail(context, jail)?;
        }
        case(context, &format!("{file}: {name}"))?;
        for jail in JAILS {
            remove_jail(context, jail)?;
        }
        let pairs = await_pairs(context, 0)?;
        let what = format!("{file}: {name}: no pair is left");
        context.report.equal(&pairs, &0, &what);
    }
    context.unload_weft()
}

/// Waits until there are so many pairs, for a dead jail's go later; gives how many there are.
fn await_pairs(context: &mut Context<'_>, wanted: u64) -> Result<u64> {
    let start = Instant::now();
    loop {
        let pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
        if pairs == wanted || start.elapsed() > LIMIT {
            return Ok(pairs);
        }
    }
}

/// A pair between two jails, with addresses of a net; gives its ends.
fn pair_between(context: &mut Context<'_>, jails: [&str; 2], net: &str) -> Result<[String; 2]> {
    let near = context.guest.line("if create wpair")?;
    let ends = [near.clone(), other(&near)];
    for ((end, jail), last) in ends.iter().zip(jails).zip(1..) {
        context.guest.call(&format!("if vnet {end} {jail}"))?;
        context.guest.call(&format!(
            "in {jail} each if addr {end} {net}.{last}/24 -- if up {end}"
        ))?;
    }
    Ok(ends)
}

fn answers(context: &mut Context<'_>, jail: &str, words: &str, what: &str) -> Result<()> {
    let command = format!("in {jail} ping {words}");
    let line = context.guest.call_within(&command, LIMIT)?.join(" ");
    // The first request may be lost to ARP.
    let right = line == "3 of 3" || line == "2 of 3";
    context.report.check(right, what, line);
    Ok(())
}

/// Parameters that lie nowhere are not looked at.
fn parameters(context: &mut Context<'_>, what: &str) -> Result<()> {
    let command = format!("if create-with wpair {}", u64::MAX);
    let near = context.guest.line(&command)?;
    let what = format!("{what}: a pair is made whatever the parameters' address");
    context
        .report
        .check(near.starts_with("wpair"), &what, &near);
    destroy(context, &near)
}

/// Priorities of 802.1p, by the interface and by the socket: one tag each, with no VLAN.
fn priorities(context: &mut Context<'_>, what: &str) -> Result<()> {
    let [near, far] = pair_between(context, JAILS, "192.0.2")?;
    context.guest.call(&format!("in one if pcp {near} 3"))?;
    let said = format!("{what}: the interface's priority");
    answers(context, "one", "192.0.2.2 3 8000 64", &said)?;
    let said = format!("{what}: the socket's priority beside it");
    answers(context, "one", "192.0.2.2 3 8000 64 5", &said)?;
    let tap = format!("in two tap {far} {PORT} {PATIENCE_MS} 0");
    listen(context, "tap", &tap)?;
    let receive = format!("in two udp recv {PORT} 20 {PATIENCE_MS}");
    listen(context, "receive", &receive)?;
    let send = format!("in one udp send 192.0.2.2 {PORT} 20 200 1 100");
    context.guest.call_within(&send, LIMIT)?;
    let received = context.guest.finish("receive", LIMIT)?;
    let seen = gather(context, "tap", 1, 20)?;
    context.report.equal(
        &(received, seen[1..].to_vec()),
        &(vec![20, 20, 0, 0], vec![20, 0]),
        &format!("{what}: datagrams arrive with one tag, of VLAN 0"),
    );
    destroy_in(context, "one", &near)
}

fn destroy_in(context: &mut Context<'_>, jail: &str, interface: &str) -> Result<()> {
    let command = format!("in {jail} if destroy {interface}");
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Pairs are made, something is done to them, and they are destroyed while others do
/// things to them. Not while they are made: a request that comes between the kernel's
/// `if_attach` and the rest of `ether_ifattach` meets an interface without functions.
fn stressed(context: &mut Context<'_>, what: &str, before: &str, meddling: &[&str]) -> Result<()> {
    let turns = TURNS[usize::from(context.full)];
    let others = meddling.join(" // ");
    let command = format!(
        "repeat {turns} if create wpair900 -- {before} -- together {others} // if destroy wpair900a"
    );
    let limit = LIMIT * if context.full { 10 } else { 2 };
    let done = context.guest.call_within(&command, limit)?.join(" ");
    let turns = turns.to_string();
    context.report.check(
        done.split(' ').next() == Some(turns.as_str()),
        &format!("{what}: made {turns} times, and destroyed while others use it"),
        done,
    );
    Ok(())
}

fn stress(context: &mut Context<'_>, what: &str) -> Result<()> {
    stressed(
        context,
        what,
        "sleep 0",
        &["if stat wpair900a", "if stat wpair900b"],
    )
}

fn stress_up(context: &mut Context<'_>, what: &str) -> Result<()> {
    let meddling = [
        "if addr wpair900a 10.66.0.1/24",
        "if up wpair900a",
        "if up wpair900b",
    ];
    stressed(context, what, "sleep 0", &meddling)
}

fn stress_up_v6(context: &mut Context<'_>, what: &str) -> Result<()> {
    let meddling = [
        "if addr wpair900a fd00:66::1/64",
        "if up wpair900a",
        "if up wpair900b",
    ];
    stressed(context, what, "sleep 0", &meddling)
}

/// A pair is destroyed by one process while another gives one end to a jail.
fn destroyed_while_moved(context: &mut Context<'_>, what: &str) -> Result<()> {
    stressed(context, what, "sleep 0", &["if vnet wpair900b one"])
}

/// And while it is taken back from one.
fn destroyed_while_reclaimed(context: &mut Context<'_>, what: &str) -> Result<()> {
    let before = "if vnet wpair900b one";
    stressed(context, what, before, &["if reclaim wpair900b one"])
}

/// VLANs on both ends, each within the ones before: protocol and number of each. Gives
/// the innermost on either side.
fn vlans(
    context: &mut Context<'_>,
    ends: &[String; 2],
    levels: &[(&str, u16)],
) -> Result<[String; 2]> {
    let mut innermost = ends.clone();
    for ((inner, jail), last) in innermost.iter_mut().zip(JAILS).zip(1..) {
        for (protocol, number) in levels {
            let vlan = context.guest.line(&format!("in {jail} if create vlan"))?;
            context.guest.call(&format!(
                "in {jail} each if vlan {vlan} {inner} {number} {protocol} -- if up {vlan}"
            ))?;
            *inner = vlan;
        }
        context
            .guest
            .call(&format!("in {jail} if addr {inner} 10.42.0.{last}/24"))?;
    }
    Ok(innermost)
}

fn vlan(context: &mut Context<'_>, what: &str) -> Result<()> {
    let ends = pair_between(context, JAILS, "192.0.2")?;
    vlans(context, &ends, &[("802.1q", 42)])?;
    answers(context, "one", "10.42.0.2 3 8000 64", what)?;
    destroy_in(context, "one", &ends[0])
}

fn vlan_deep(context: &mut Context<'_>, what: &str) -> Result<()> {
    let ends = pair_between(context, JAILS, "192.0.2")?;
    let levels = [("802.1ad", 5), ("802.1ad", 6), ("802.1q", 42)];
    vlans(context, &ends, &levels)?;
    answers(context, "two", "10.42.0.1 3 8000 64", what)?;
    destroy_in(context, "two", &ends[1])
}

fn vlan_promiscuous(context: &mut Context<'_>, what: &str) -> Result<()> {
    let ends = pair_between(context, JAILS, "192.0.2")?;
    let [inner, _] = vlans(context, &ends, &[("802.1q", 1), ("802.1q", 2)])?;
    context
        .guest
        .call(&format!("in one if promiscuous {inner}"))?;
    answers(context, "one", "10.42.0.2 3 8000 64", what)?;
    // A VLAN that goes while it is promiscuous locks vlan(4)'s lock twice.
    context
        .guest
        .call(&format!("in one if promiscuous {inner} off"))?;
    destroy_in(context, "one", &ends[0])
}

fn vlan_conflict(context: &mut Context<'_>, what: &str) -> Result<()> {
    let near = context.guest.line("if create wpair")?;
    let first = context.guest.line("if create vlan")?;
    let second = context.guest.line("if create vlan")?;
    context
        .guest
        .call(&format!("if vlan {first} {near} 42 802.1q"))?;
    let why = context
        .guest
        .refused(&format!("if vlan {second} {near} 42 802.1q"))?;
    let what = format!("{what}: a second VLAN of the same number is refused");
    context.report.check(why.starts_with("EEXIST"), &what, why);
    for interface in [second, first, near] {
        destroy(context, &interface)?;
    }
    Ok(())
}

/// A bridge in the host of two pairs, whose other ends are in jails.
fn bridged(context: &mut Context<'_>) -> Result<(String, [String; 2])> {
    let bridge = context.guest.line("if create bridge")?;
    let mut near = Vec::new();
    for (jail, last) in JAILS.into_iter().zip(1..) {
        let end = context.guest.line("if create wpair")?;
        let far = other(&end);
        context.guest.call(&format!("if vnet {far} {jail}"))?;
        context.guest.call(&format!(
            "each if up {end} -- if member {bridge} {end} -- if up {bridge}"
        ))?;
        context.guest.call(&format!(
            "in {jail} each if addr {far} 192.0.2.{last}/24 -- if up {far}"
        ))?;
        near.push(end);
    }
    let near = [near[0].clone(), near[1].clone()];
    Ok((bridge, near))
}

fn bridge(context: &mut Context<'_>, what: &str) -> Result<()> {
    let (bridge, ends) = bridged(context)?;
    answers(context, "one", "192.0.2.2 3 8000 64", what)?;
    answers(context, "two", "192.0.2.1 3 8000 64", what)?;
    for interface in [bridge].iter().chain(&ends) {
        destroy(context, interface)?;
    }
    Ok(())
}

/// A bridge goes before its members, and members before their bridge.
fn bridge_deleted(context: &mut Context<'_>, what: &str) -> Result<()> {
    let (bridge, ends) = bridged(context)?;
    destroy(context, &bridge)?;
    let there = context.guest.call(&format!("if stat {}", ends[0])).is_ok();
    let said = format!("{what}: members outlive their bridge");
    context.report.check(there, &said, &ends[0]);
    let again = context.guest.line("if create bridge")?;
    for end in &ends {
        let command = format!("if member {again} {end}");
        context.guest.call(&command)?;
    }
    for interface in ends.iter().chain([&again]) {
        destroy(context, interface)?;
    }
    context
        .report
        .pass(&format!("{what}: a bridge outlives its members"));
    Ok(())
}

/// Many pairs in one bridge, all of which go at once with it.
fn bridge_of_many(context: &mut Context<'_>, what: &str) -> Result<()> {
    const MEMBERS: usize = 64;
    let bridge = context.guest.line("if create bridge")?;
    let mut made: Vec<String> = Vec::new();
    for _ in 0..MEMBERS {
        let end = context.guest.line("if create wpair")?;
        context
            .guest
            .call(&format!("each if member {bridge} {end} -- if up {end}"))?;
        made.push(end);
    }
    context.guest.call(&format!("if up {bridge}"))?;
    let pairs = await_pairs(context, MEMBERS as u64)?;
    let what = format!("{what}: {MEMBERS} members");
    context.report.equal(&pairs, &(MEMBERS as u64), &what);
    destroy(context, &bridge)?;
    for end in made {
        destroy(context, &end)?;
    }
    Ok(())
}

/// A member takes the bridge's MTU, and has it as long as it is one.
fn bridge_mtu(context: &mut Context<'_>, what: &str) -> Result<()> {
    let near = context.guest.line("if create wpair")?;
    context.guest.call(&format!("if mtu {near} 1300"))?;
    let bridge = context.guest.line("if create bridge")?;
    let second = context.guest.line("if create wpair")?;
    for end in [&near, &second] {
        let command = format!("if member {bridge} {end}");
        context.guest.call(&command)?;
    }
    let refused = context.guest.refused(&format!("if mtu {second} 1400"))?;
    let said = format!("{what}: a member's alone is not changed");
    context
        .report
        .check(refused.starts_with("EOPNOTSUPP"), &said, refused);
    context.guest.call(&format!("if mtu {bridge} 1280"))?;
    for interface in [bridge, near, second] {
        destroy(context, &interface)?;
    }
    context
        .report
        .pass(&format!("{what}: the bridge's is changed"));
    Ok(())
}

/// Pairs go while they are made ports of a lagg(4).
fn lagg_stress(context: &mut Context<'_>, what: &str) -> Result<()> {
    let lagg = context.guest.line("if create lagg")?;
    let port = format!("if lagg {lagg} failover wpair900a");
    stressed(context, what, "sleep 0", &[&port])?;
    destroy(context, &lagg)
}

/// Jails one and two with the host between, which forwards.
fn routed(context: &mut Context<'_>) -> Result<Vec<String>> {
    create_jail(context, "between")?;
    let first = pair_between(context, ["one", "between"], "10.30.1")?;
    let second = pair_between(context, ["two", "between"], "10.30.2")?;
    context
        .guest
        .call("in between sysctl set net.inet.ip.forwarding 1")?;
    for (jail, net) in JAILS.into_iter().zip(1..) {
        context
            .guest
            .call(&format!("in {jail} route add 0.0.0.0/0 10.30.{net}.2"))?;
    }
    Ok(vec![first[0].clone(), second[0].clone()])
}

fn unroute(context: &mut Context<'_>, ends: &[String]) -> Result<()> {
    for (jail, end) in JAILS.into_iter().zip(ends) {
        destroy_in(context, jail, end)?;
    }
    remove_jail(context, "between")
}

/// With redirects the slow way is taken, without them the fast one.
fn forwarded(context: &mut Context<'_>, what: &str) -> Result<()> {
    let ends = routed(context)?;
    for redirects in [0, 1] {
        let command = format!("in between sysctl set net.inet.ip.redirect {redirects}");
        context.guest.call(&command)?;
        let way = ["fast", "slow"][redirects];
        let what = format!("{what}, {way}");
        answers(context, "one", "10.30.2.1 3 8000 64", &what)?;
        answers(context, "one", "10.30.2.1 3 8000 4000", &what)?;
    }
    unroute(context, &ends)
}

fn dropped(context: &mut Context<'_>, what: &str) -> Result<()> {
    let ends = routed(context)?;
    context
        .guest
        .call("in between route add 10.30.9.0/24 blackhole")?;
    let sent = context.guest.line("in one ping 10.30.9.1 2 1000")?;
    context.report.equal(
        &sent.as_str(),
        &"0 of 2",
        &format!("{what}: nobody answers behind a black hole"),
    );
    answers(context, "one", "10.30.2.1 3 8000 64", what)?;
    unroute(context, &ends)
}

/// An interface goes while packets wait for an address that nobody has.
fn resolved_never(context: &mut Context<'_>, what: &str) -> Result<()> {
    for _ in 0..5 {
        let [near, _] = pair_between(context, JAILS, "192.0.2")?;
        context
            .guest
            .call_within("in one udp send 192.0.2.99 4444 16 1000 1 64", LIMIT)?;
        destroy_in(context, "one", &near)?;
    }
    context
        .report
        .pass(&format!("{what}: pairs go while ARP waits"));
    Ok(())
}
