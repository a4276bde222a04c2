// SPDX-License-Identifier: BSD-2-Clause
//! Whether counters add up at the end of a soak's round, when nobody sends any more: those of
//! queues, of interfaces, of L3 interfaces and of cards.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tally::Tally;
use super::world::{CALM, DRIVERS, JAILS, PAIRS, Parent, World, at, card_name, end_name};
use crate::guest::Result;
use crate::scenarios::Context;
use crate::scenarios::nic_card::stat;
use crate::scenarios::pair::undisturbed;

/// How long a long list may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Numbers below a node, by their names behind it.
struct Tree(BTreeMap<String, u64>);

impl Tree {
    fn read(context: &mut Context<'_>, place: &str, node: &str) -> Result<Self> {
        let lines = lines(context, place, node)?;
        let number = |fields: &Vec<String>| {
            let name = fields.first()?.strip_prefix(node)?.strip_prefix('.')?;
            Some((name.to_owned(), fields.last()?.parse().ok()?))
        };
        Ok(Self(lines.iter().filter_map(number).collect()))
    }

    fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The sum of those whose names begin and end so.
    fn sum(&self, begin: &str, end: &str) -> u64 {
        let all = self.0.iter();
        let fits = all.filter(|(name, _)| name.starts_with(begin) && name.ends_with(end));
        fits.map(|(_, value)| value).sum()
    }
}

/// What the kernel tells of each node below one, in fields.
fn lines(context: &mut Context<'_>, place: &str, node: &str) -> Result<Vec<Vec<String>>> {
    let command = format!("{place}sysctl tree {node}");
    let lines = context.guest.call_within(&command, LIMIT)?;
    let fields = |line: &String| line.split('\t').map(str::to_owned).collect();
    Ok(lines.iter().map(fields).collect())
}

/// Two numbers that must be the same.
type Account = (String, u64, u64);

/// Checks all of it, and adds what interfaces received and why packets were dropped.
pub(super) fn close(context: &mut Context<'_>, world: &World, tally: &mut Tally) -> Result<()> {
    for pair in 0..PAIRS {
        if let Some(ends) = world.pairs[pair] {
            let places = ends.map(at);
            let had = world.had_children.contains(&Parent::Pair(pair));
            agree(context, |context| of_pair(context, pair, &places, had))?;
            for (end, place) in places.iter().enumerate() {
                tally.received += stat(context, place, &end_name(pair, end))?[0];
            }
        }
    }
    for child in &world.children {
        let place = at(child.place);
        agree(context, |context| of_child(context, &place, &child.name))?;
        tally.received += stat(context, &place, &child.name)?[0];
    }
    for card in (0..DRIVERS.len()).filter(|&card| world.cards[card]) {
        let had = world.had_children.contains(&Parent::Card(card));
        agree(context, |context| of_card(context, card, had))?;
        tally.received += stat(context, "", &card_name(card))?[0];
        dropped_by_card(context, card, tally)?;
    }
    dropped(context, tally)
}

/// Holds numbers against one another until nothing of the system's own has come between.
fn agree(
    context: &mut Context<'_>,
    accounts: impl Fn(&mut Context<'_>) -> Result<Vec<Account>>,
) -> Result<()> {
    let mut found = vec![];
    undisturbed(true, || {
        found = accounts(context)?;
        Ok(found.iter().all(|(_, one, other)| one == other))
    })?;
    for (what, one, other) in found {
        context.report.equal(&one, &other, &what);
    }
    Ok(())
}

/// What an end's queues and its interface say.
struct End {
    name: String,
    /// Passed on to the other end or dropped late on the way there; lost by a move.
    gone: [u64; 2],
    refused: u64,
    queued: u64,
    /// Packets received, dropped at the input, sent, dropped at the output.
    counted: [u64; 4],
}

impl End {
    fn read(context: &mut Context<'_>, pair: usize, end: usize, place: &str) -> Result<Self> {
        let name = end_name(pair, end);
        let counted = stat(context, place, &name)?;
        let tree = Tree::read(context, "", &format!("net.weft.pair.{name}"))?;
        let queue = |what: &str| tree.sum("queue.", &format!(".{what}"));
        let refused =
            ["packets", "bytes", "stopped", "closed"].map(|why| queue(&format!("drops.{why}")));
        // `drops.packets` is a reason, `packets` what was passed on.
        let passed = queue("packets") - queue("drops.packets");
        Ok(Self {
            gone: [passed + queue("drops.sojourn"), tree.get("lost.moved")],
            refused: refused.iter().sum(),
            queued: queue("queued"),
            counted: [counted[0], counted[3], counted[4], counted[7]],
            name,
        })
    }
}

/// What each end's queues say, the end itself and the other one.
///
/// What a network stack sends to itself, such as that a neighbour does not answer, the kernel
/// counts at the interface as sent and as received (`if_loop.c`). And the host's end has received
/// what L3 interfaces on it have sent to its network stack, some of which may be gone.
fn of_pair(
    context: &mut Context<'_>,
    pair: usize,
    places: &[String; 2],
    had_children: bool,
) -> Result<Vec<Account>> {
    let ends = [
        End::read(context, pair, 0, &places[0])?,
        End::read(context, pair, 1, &places[1])?,
    ];
    let mut accounts = vec![];
    for (number, own) in ends.iter().enumerate() {
        let (name, other) = (&own.name, &ends[1 - number]);
        let [received, dropped, sent, refused] = own.counted;
        let queued: u64 = own.gone.iter().sum();
        let looped = sent.saturating_sub(queued);
        let came = other.gone[0] + looped;
        let more = match had_children && number == 0 {
            true => (received + dropped).saturating_sub(came),
            false => 0,
        };
        accounts.extend([
            (format!("{name}: nothing is queued"), own.queued, 0),
            (
                format!("{name}: what its queues have had was sent"),
                queued.min(sent),
                queued,
            ),
            (
                format!("{name}: dropped at the output are refused"),
                refused,
                own.refused,
            ),
            (
                format!(
                    "{name}: received or dropped is what the other end passed on or dropped late"
                ),
                received + dropped,
                came + more,
            ),
        ]);
    }
    Ok(accounts)
}

/// An L3 interface received what its figures say, and dropped what they say.
fn of_child(context: &mut Context<'_>, place: &str, name: &str) -> Result<Vec<Account>> {
    let Some(node) = node_of(context, name)? else {
        let what = format!("{name} has its figures");
        return Ok(vec![(what, 0, 1)]);
    };
    let tree = Tree::read(context, "", &node)?;
    let counted = stat(context, place, name)?;
    // More, if its network stack has sent to itself.
    let handed = tree.get("steered") + tree.get("local");
    let unsent = tree.sum("unsent.", "");
    Ok(vec![
        (
            format!("{name}: what was steered or sent to it was received"),
            handed.min(counted[0]),
            handed,
        ),
        (
            format!("{name}: dropped at the input is lost"),
            counted[3],
            tree.sum("lost.", ""),
        ),
        (
            format!("{name}: what is unsent was dropped at the output, or an error there"),
            unsent.min(counted[6] + counted[7]),
            unsent,
        ),
    ])
}

/// The node of an L3 interface: the one whose description is its name.
fn node_of(context: &mut Context<'_>, name: &str) -> Result<Option<String>> {
    const NODE: &str = "net.weft.l3";
    let all = Tree::read(context, "", NODE)?;
    let numbers = all
        .0
        .keys()
        .filter_map(|name| Some(name.split_once('.')?.0));
    let numbers: std::collections::BTreeSet<&str> = numbers.collect();
    for number in numbers {
        let node = format!("{NODE}.{number}");
        if context.guest.line(&format!("sysctl about {node}"))? == name {
            return Ok(Some(node));
        }
    }
    Ok(None)
}

/// A card's interface has received and sent what its queues have, and received what L3
/// interfaces on it have sent to its network stack.
fn of_card(context: &mut Context<'_>, card: usize, had_children: bool) -> Result<Vec<Account>> {
    let name = card_name(card);
    let counted = stat(context, "", &name)?;
    let tree = Tree::read(context, "", &format!("dev.{}.0", DRIVERS[card]))?;
    let given = tree.sum("rx.", ".frames") - tree.sum("rx.", ".device.frames");
    let extra = counted[0].saturating_sub(given);
    Ok(vec![
        (
            format!("{name}: received by the queues"),
            counted[0] - if had_children { extra } else { 0 },
            given,
        ),
        (
            format!("{name}: sent by the queues"),
            counted[4],
            tree.sum("tx.", ".card.frames"),
        ),
    ])
}

fn dropped_by_card(context: &mut Context<'_>, card: usize, tally: &mut Tally) -> Result<()> {
    let driver = DRIVERS[card];
    let tree = Tree::read(context, "", &format!("dev.{driver}.0"))?;
    for (end, why) in [
        (".drops.packets", "queue full"),
        (".drops.bytes", "queue full"),
        (".drops.stopped", "stopped"),
        (".drops.closed", "closed"),
        (".drops.sojourn", "late"),
        (".card.lost", "lost by a stop or reset"),
        (".card.unfit", "unfit"),
        (".card.no_memory", "no memory"),
    ] {
        tally.drop_of(&format!("cards: {why}"), tree.sum("tx.", end));
    }
    for (end, why) in [
        (".no_packet", "no memory"),
        (".cut_off", "cut off"),
        (".left", "left at a stop"),
    ] {
        tally.drop_of(&format!("cards: {why}"), tree.sum("rx.", end));
    }
    Ok(())
}

/// What all pairs, L3 interfaces and filters have dropped.
fn dropped(context: &mut Context<'_>, tally: &mut Tally) -> Result<()> {
    let pairs = Tree::read(context, "", "net.weft.pair")?;
    for why in ["full", "late", "down", "uncut", "destroyed"] {
        tally.drop_of(&format!("pairs: {why}"), pairs.get(&format!("lost.{why}")));
    }
    let l3 = Tree::read(context, "", "net.weft.l3")?;
    for (name, count) in &l3.0 {
        // Behind the interface's number: the reason, below what it is one for.
        let words: Vec<&str> = name.split('.').collect();
        if let [_, what @ ("lost" | "unsent"), why] = words[..] {
            tally.drop_of(&format!("L3 interfaces: {what}, {why}"), *count);
        }
    }
    let jails = JAILS
        .iter()
        .chain([&CALM])
        .map(|jail| format!("in {jail} "));
    for place in jails.chain([String::new()]) {
        let rules = Tree::read(context, &place, "net.weft.ipv6.rule")?;
        tally.drop_of("IPv6 policy", rules.sum("", ".dropped"));
    }
    Ok(())
}
