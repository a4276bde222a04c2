// SPDX-License-Identifier: BSD-2-Clause
//! What a soak has in its guest: network stacks, pairs between them, L3 interfaces and cards,
//! by name, place and address. This is what was asked for; the guest may have refused.

use crate::lan::FIRST_SLOT;

/// The jails that come and go. Place 0 is the host, place `n` the jail before `n`.
pub(super) const JAILS: [&str; 3] = ["s0", "s1", "s2"];
/// Places that interfaces move between.
pub(super) const PLACES: usize = JAILS.len() + 1;
/// A jail that stays as long as a round, with an end of the pair that does.
pub(super) const CALM: &str = "calm";
/// The drivers of the cards, in their order.
pub(super) const DRIVERS: [&str; 3] = ["wvmx", "wem", "wvtnet"];
/// Pairs, the calm one in front.
pub(super) const PAIRS: usize = 4;

/// The place of [`CALM`].
pub(super) const CALM_PLACE: usize = PLACES;

/// The words in front of a command in a place.
pub(super) fn at(place: usize) -> String {
    match (place, place.checked_sub(1).and_then(|jail| JAILS.get(jail))) {
        (CALM_PLACE, _) => format!("in {CALM} "),
        (_, Some(jail)) => format!("in {jail} "),
        _ => String::new(),
    }
}

/// An end of a pair, 0 or 1.
pub(super) fn end_name(pair: usize, end: usize) -> String {
    format!("wpair{pair}{}", ["a", "b"][end])
}

/// What a card is called.
pub(super) fn card_name(card: usize) -> String {
    format!("{}0", DRIVERS[card])
}

/// Where a card is.
pub(super) fn card_place(card: usize) -> String {
    format!("pci0:0:{}:0", FIRST_SLOT + card)
}

/// Addresses of both families.
pub(super) type Addresses = [String; 2];

/// An address on a pair's network: 1 and 2 are the ends'.
pub(super) fn on_pair(pair: usize, host: u32) -> Addresses {
    let net = 20 + pair;
    [
        format!("10.{net}.0.{host}"),
        format!("fd00:{net}::{host:x}"),
    ]
}

/// An address on a card's cable: 1 is the station's behind it, 2 the card's.
pub(super) fn on_card(card: usize, host: u32) -> Addresses {
    [
        format!("10.9.{card}.{host}"),
        format!("fd00:9:{card}::{host:x}"),
    ]
}

/// The command that gives an interface its addresses and turns it on.
pub(super) fn address(place: usize, name: &str, [v4, v6]: &Addresses) -> String {
    let at = at(place);
    format!("{at}each if up {name} -- if addr {name} {v4}/24 -- if addr {name} {v6}/64")
}

/// What an L3 interface is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parent {
    /// The host's end of a pair.
    Pair(usize),
    /// A card.
    Card(usize),
}

/// An L3 interface.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) parent: Parent,
    pub(super) place: usize,
    pub(super) addresses: Addresses,
    /// Whether the parent is where it was when the interface was made.
    pub(super) has_parent: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Where the ends of each pair are.
    pub(super) pairs: [Option<[usize; 2]>; PAIRS],
    pub(super) children: Vec<Child>,
    /// L3 interfaces made so far: each gets a number that none had before.
    pub(super) numbered: u32,
    /// Whether each card has its driver.
    pub(super) cards: [bool; DRIVERS.len()],
    /// Parents that had an L3 interface since they were made: what those sent to the parent's own
    /// network stack, the parent has received.
    pub(super) had_children: Vec<Parent>,
    /// Whether each cable is in.
    pub(super) cables: [bool; DRIVERS.len()],
}

impl World {
    /// Who is in a place, by name.
    pub(super) fn interfaces_in(&self, place: usize) -> Vec<String> {
        let pairs = self.pairs.iter().enumerate().skip(1);
        let ends = pairs.flat_map(|(pair, ends)| {
            let ends = ends.iter().flatten().enumerate();
            let there = ends.filter(|(_, at)| **at == place);
            there
                .map(move |(end, _)| end_name(pair, end))
                .collect::<Vec<_>>()
        });
        let children = self.children.iter().filter(|child| child.place == place);
        ends.chain(children.map(|child| child.name.clone()))
            .collect()
    }

    /// All of a place come home, as when its jail dies.
    pub(super) fn come_home(&mut self, place: usize) {
        for pair in 1..PAIRS {
            let Some(ends) = &mut self.pairs[pair] else {
                continue;
            };
            for end in ends.iter_mut().filter(|end| **end == place) {
                *end = 0;
            }
        }
        for child in self
            .children
            .iter_mut()
            .filter(|child| child.place == place)
        {
            child.place = 0;
        }
    }

    /// A parent goes, or goes elsewhere: what is on it has none any more.
    pub(super) fn orphan(&mut self, parent: Parent) {
        for child in self
            .children
            .iter_mut()
            .filter(|child| child.parent == parent)
        {
            child.has_parent = false;
        }
    }

    /// A parent goes for good.
    pub(super) fn ends(&mut self, parent: Parent) {
        self.orphan(parent);
        self.had_children.retain(|had| *had != parent);
    }

    /// Parents that there are in the host.
    pub(super) fn parents(&self) -> Vec<Parent> {
        let in_host = |pair: &usize| self.pairs[*pair].is_some_and(|[near, _]| near == 0);
        let cards = (0..DRIVERS.len()).filter(|&card| self.cards[card]);
        let pairs = (1..PAIRS).filter(in_host).map(Parent::Pair);
        pairs.chain(cards.map(Parent::Card)).collect()
    }

    /// Who can send to whom on the same network: a place, and addresses there.
    pub(super) fn ways(&self) -> Vec<(usize, Addresses)> {
        let mut ways = vec![];
        for (pair, ends) in self.pairs.iter().enumerate() {
            if let Some([near, far]) = *ends {
                ways.extend([(near, on_pair(pair, 2)), (far, on_pair(pair, 1))]);
            }
        }
        for card in (0..DRIVERS.len()).filter(|&card| self.cards[card]) {
            ways.push((0, on_card(card, 1)));
        }
        for child in &self.children {
            // The neighbour on the wire, the parent, and from the neighbour back.
            let (neighbour, parent) = match child.parent {
                Parent::Pair(pair) => (on_pair(pair, 2), on_pair(pair, 1)),
                Parent::Card(card) => (on_card(card, 1), on_card(card, 2)),
            };
            ways.extend([(child.place, neighbour), (child.place, parent)]);
            ways.push((0, child.addresses.clone()));
            if let Parent::Pair(pair) = child.parent
                && let Some([_, far]) = self.pairs[pair]
            {
                ways.push((far, child.addresses.clone()));
            }
        }
        ways
    }
}
