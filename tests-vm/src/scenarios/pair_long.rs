// SPDX-License-Identifier: BSD-2-Clause
//! Long segments of TCP (TSO) over wpair(4): a jail to which they go gets them whole, one
//! that passes them on, or that has a filter, gets them cut; and all bytes arrive.

use std::time::Duration;

use super::pair::{LIMIT, counts, create_jail, listen, other, remove_jail};
use super::{Context, Scenario};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair-long",
    group: "pair",
    about: "long segments of TCP over wpair: whole where they stay, cut where they are passed on",
    klds: &["if_epair", "bridgestp", "if_bridge", "if_vlan", "pf"],
    limit: Duration::from_secs(240),
    run,
    ..Scenario::ORDINARY
};

/// Bytes of a stream.
const STREAM: u64 = 2_000_000;
const STREAM_FULL: u64 = 50_000_000;
/// Bytes of payload that an MTU of 1,500 leaves at most.
const SHORT: u64 = 1_460;

/// Frames of ARP, of the like, and of the stream's beginning, that may come between.
const OTHERS: u64 = 20;

/// Each address of both families.
const LEFT: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
const MID_LEFT: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const MID_RIGHT: [&str; 2] = ["10.2.0.2", "fd00:2::2"];
const RIGHT: [&str; 2] = ["10.2.0.1", "fd00:2::1"];

fn run(context: &mut Context<'_>) -> Result<()> {
    for kld in SCENARIO.klds {
        context.load_kld(kld)?;
    }
    context.load_weft()?;
    for jail in ["left", "mid", "right"] {
        create_jail(context, jail)?;
    }
    let near = context.guest.line("if create wpair")?;
    place(context, "left", &near, LEFT)?;
    place(context, "mid", &other(&near), MID_LEFT)?;
    let mut link = Link {
        sender: near.clone(),
        receiver: other(&near),
    };
    for to in MID_LEFT {
        link.stream(context, "mid", to, Frames::Whole, "a pair")?;
    }
    forwarded(context, &link)?;
    filtered(context, &link)?;
    tagged(context, &mut link)?;
    turned_off(context, &link)?;
    context
        .guest
        .call_within(&format!("in left if destroy {near}"), LIMIT)?;
    bridged(context)?;
    for jail in ["left", "mid", "right"] {
        remove_jail(context, jail)?;
    }
    let uncut = context
        .guest
        .number("sysctl get net.weft.pair.lost.uncut")?;
    context
        .report
        .equal(&uncut, &0, "memory was there for all cuts");
    context.unload_weft()
}

/// Puts an interface into a jail, with addresses, up.
fn place(
    context: &mut Context<'_>,
    jail: &str,
    interface: &str,
    addresses: [&str; 2],
) -> Result<()> {
    let [v4, v6] = addresses;
    context.guest.call(&format!("if vnet {interface} {jail}"))?;
    context
        .guest
        .call(&format!(
            "in {jail} each if addr {interface} {v4}/24 -- if addr {interface} {v6}/64 \
             -- if up {interface}"
        ))
        .map(drop)
}

/// How frames go into the receiving stack.
#[derive(Clone, Copy, PartialEq)]
enum Frames {
    /// As long as they were sent.
    Whole,
    /// Long ones were sent.
    Cut,
    /// None was sent.
    Short,
}

/// The pair from left to mid, by the names of its ends there.
struct Link {
    sender: String,
    receiver: String,
}

impl Link {
    /// Sends a stream from left to a jail, and looks at the frames between left and mid.
    fn stream(
        &self,
        context: &mut Context<'_>,
        jail: &str,
        to: &str,
        frames: Frames,
        what: &str,
    ) -> Result<()> {
        let bytes = if context.full { STREAM_FULL } else { STREAM };
        let serve = format!("in {jail} tcp serve 5000 7");
        listen(context, "serve", &serve)?;
        let sent_before = counts(context, "in left ", &self.sender)?[2];
        let before = counts(context, "in mid ", &self.receiver)?[0];
        let send = format!("in left tcp send {to} 5000 7 {bytes}");
        context.guest.start("stream", &send)?;
        let limit = LIMIT * if context.full { 10 } else { 1 };
        let sent = context.guest.finish("stream", limit)?;
        let received = context.guest.finish("serve", limit)?;
        context.report.equal(
            &received,
            &vec![bytes, 0],
            &format!("{what}: the stream to {to} arrived, byte by byte"),
        );
        let sent_frames = counts(context, "in left ", &self.sender)?[2] - sent_before;
        let received_frames = counts(context, "in mid ", &self.receiver)?[0] - before;
        // How long they are is up to TCP: on the average a quarter longer than without.
        let is_long = |frames: u64| frames * 5 / 4 < bytes / SHORT;
        let is_short = |frames: u64| frames >= bytes / SHORT;
        let (expected, is_so) = match frames {
            Frames::Whole => (
                "long frames were sent, and arrived whole",
                is_long(sent_frames) && received_frames < sent_frames + OTHERS,
            ),
            Frames::Cut => (
                "long frames were sent, and arrived cut",
                is_long(sent_frames) && is_short(received_frames),
            ),
            Frames::Short => (
                "no long frames were sent",
                is_short(sent_frames) && is_short(received_frames),
            ),
        };
        context.report.check(
            is_so,
            &format!("{what}: {expected}, to {to}"),
            format_args!("{sent_frames} sent, {received_frames} received"),
        );
        context
            .report
            .note(&format!("{what}: bytes, packets sent again, ms: {sent:?}"));
        Ok(())
    }
}

fn set_gateways(context: &mut Context<'_>, jail: &str, gateways: [&str; 2]) -> Result<()> {
    let [v4, v6] = gateways;
    let command = format!("in {jail} each route add 0.0.0.0/0 {v4} -- route add ::/0 {v6}");
    context.guest.call(&command).map(drop)
}

/// Mid forwards to right, over another pair and over an epair.
fn forwarded(context: &mut Context<'_>, link: &Link) -> Result<()> {
    context.guest.call(
        "in mid each sysctl set net.inet.ip.forwarding 1 \
         -- sysctl set net.inet6.ip6.forwarding 1",
    )?;
    set_gateways(context, "left", MID_LEFT)?;
    for kind in ["wpair", "epair"] {
        let pair = context.guest.line(&format!("if create {kind}"))?;
        place(context, "mid", &pair, MID_RIGHT)?;
        place(context, "right", &other(&pair), RIGHT)?;
        set_gateways(context, "right", MID_RIGHT)?;
        for to in RIGHT {
            let what = format!("forwarded to an {kind}");
            link.stream(context, "right", to, Frames::Cut, &what)?;
        }
        for to in MID_LEFT {
            let what = "with forwarding, to an address of the forwarder's";
            link.stream(context, "mid", to, Frames::Whole, what)?;
        }
        context
            .guest
            .call_within(&format!("in mid if destroy {pair}"), LIMIT)?;
    }
    Ok(())
}

/// A filter in mid could rewrite any packet's destination.
fn filtered(context: &mut Context<'_>, link: &Link) -> Result<()> {
    context.guest.call("in mid pf start")?;
    let what = "with pf";
    let streamed = link.stream(context, "mid", MID_LEFT[0], Frames::Cut, what);
    context.guest.call("in mid pf stop")?;
    streamed
}

/// VLANs on both ends, whose packets are always cut.
fn tagged(context: &mut Context<'_>, link: &mut Link) -> Result<()> {
    for (jail, end, last) in [("left", &link.sender, 1), ("mid", &link.receiver, 2)] {
        context.guest.call(&format!(
            "in {jail} each if create {end}.5 -- if addr {end}.5 10.6.0.{last}/24 -- if up {end}.5"
        ))?;
    }
    link.stream(context, "mid", "10.6.0.2", Frames::Cut, "a VLAN")?;
    for (jail, end) in [("left", &link.sender), ("mid", &link.receiver)] {
        let command = format!("in {jail} if destroy {end}.5");
        context.guest.call_within(&command, LIMIT)?;
    }
    Ok(())
}

/// Without the capability nothing long is sent, whichever end gave it up.
fn turned_off(context: &mut Context<'_>, link: &Link) -> Result<()> {
    let ends = [("left", &link.sender), ("mid", &link.receiver)];
    for (jail, end) in ends {
        for sign in ["-", ""] {
            let change = format!("in {jail} if capability {end} {sign}tso4 {sign}tso6");
            context.guest.call(&change)?;
            let frames = match sign {
                "-" => Frames::Short,
                _ => Frames::Whole,
            };
            for to in MID_LEFT {
                let what = format!("{sign}tso at {end}");
                link.stream(context, "mid", to, frames, &what)?;
            }
        }
    }
    Ok(())
}

/// Left and right over a bridge in mid: of two pairs it passes long frames on; with an
/// epair, which takes none, it has the pair's ends send none.
fn bridged(context: &mut Context<'_>) -> Result<()> {
    context.guest.call(
        "in mid each sysctl set net.inet.ip.forwarding 0 \
         -- sysctl set net.inet6.ip6.forwarding 0",
    )?;
    for (kind, frames) in [("wpair", Frames::Whole), ("epair", Frames::Short)] {
        let bridge = context.guest.line("in mid if create bridge")?;
        let mut made = vec![];
        let mut ends = vec![];
        for (kind, jail, addresses) in [("wpair", "left", LEFT), (kind, "right", MID_LEFT)] {
            let pair = context.guest.line(&format!("if create {kind}"))?;
            place(context, jail, &pair, addresses)?;
            let end = other(&pair);
            context.guest.call(&format!("if vnet {end} mid"))?;
            context.guest.call(&format!(
                "in mid each if member {bridge} {end} -- if up {end}"
            ))?;
            made.push((jail, pair));
            ends.push(end);
        }
        context.guest.call(&format!("in mid if up {bridge}"))?;
        let link = Link {
            sender: made[0].1.clone(),
            receiver: ends[0].clone(),
        };
        for to in MID_LEFT {
            let what = format!("bridged to an {kind}");
            link.stream(context, "right", to, frames, &what)?;
        }
        for (jail, pair) in made {
            let command = format!("in {jail} if destroy {pair}");
            context.guest.call_within(&command, LIMIT)?;
        }
        let command = format!("in mid if destroy {bridge}");
        context.guest.call_within(&command, LIMIT)?;
    }
    Ok(())
}
