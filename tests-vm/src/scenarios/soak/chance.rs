// SPDX-License-Identifier: BSD-2-Clause
//! What a soak does next: drawn by a seed, and from nothing else, so that the same seed gives the
//! same commands whatever the guest answers.

use weft_engine::sim::malformed::example;
use weft_engine::sim::random::Random;
use weft_engine::wire::policy::RULES;

use super::world::{
    Child, DRIVERS, JAILS, PAIRS, PLACES, Parent, World, address, at, card_name, card_place,
    end_name, on_card, on_pair,
};

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Move,
    Pair,
    Jail,
    Child,
    Sender,
    Queue,
    End,
    Global,
    Algorithm,
    Policy,
    Malformed,
    Card,
    CardSetting,
    Cable,
    Verb,
    Check,
    Unload,
}

impl Kind {
    /// All, how likely each is, and what the summary calls it.
    pub(super) const ALL: [(Self, usize, &'static str); 17] = [
        (Self::Move, 12, "interfaces moved"),
        (Self::Pair, 6, "pairs destroyed and made"),
        (Self::Jail, 6, "jails removed and made"),
        (Self::Child, 12, "L3 interfaces made, moved, destroyed"),
        (Self::Sender, 16, "senders started elsewhere"),
        (Self::Queue, 14, "settings of queues"),
        (Self::End, 8, "settings of ends, numbers of queues"),
        (Self::Global, 6, "settings of all pairs, FIBs, packets"),
        (Self::Algorithm, 4, "algorithms chosen"),
        (Self::Policy, 8, "rules, limits and links of the policy"),
        (Self::Malformed, 6, "bursts of odd IPv6 packets"),
        (Self::Card, 4, "cards taken and given back"),
        (Self::CardSetting, 8, "settings of cards"),
        (Self::Cable, 3, "cables pulled and put in"),
        (Self::Verb, 10, "MTU, up, down, promiscuous"),
        (Self::Check, 3, "FIBs compared with the routing table"),
        (Self::Unload, 2, "unloads that must be refused"),
    ];

    pub(super) fn about(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or("", |(_, _, about)| about)
    }
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// A command.
    Call(String),
    /// One that must be refused with `EBUSY`.
    Busy(String),
    /// One whose answer says whether routes are looked up right.
    Check(String),
    /// Waits until an interface of a jail's that is gone is in the host.
    Home(String),
    /// Has a command run in the background, under a name.
    Start(String, String),
    /// Ends it.
    End(String),
    /// Whether a card's cable is in.
    Cable(usize, bool),
}

/// What is done together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) does: Vec<Do>,
}

/// Who sends in the background.
pub(super) const SENDERS: usize = 6;

/// Draws steps.
pub(super) struct Chance {
    random: Random,
    pub(super) world: World,
    /// Where each sender is.
    senders: [Option<usize>; SENDERS],
}

impl Chance {
    pub(super) fn new(seed: u64, world: World) -> Self {
        Self {
            random: Random::new(seed),
            world,
            senders: [None; SENDERS],
        }
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        self.random.pick(of).copied()
    }

    /// Has each sender begin.
    pub(super) fn senders(&mut self) -> Vec<Step> {
        let kind = Kind::Sender;
        let all = 0..SENDERS;
        all.filter_map(|sender| self.sender(sender))
            .map(|does| Step { kind, does })
            .collect()
    }

    /// The next step, which does something.
    pub(super) fn step(&mut self) -> Step {
        let all: usize = Kind::ALL.iter().map(|(_, weight, _)| weight).sum();
        loop {
            let mut at = self.random.below(all);
            for (kind, weight, _) in Kind::ALL {
                if at < weight {
                    match self.draw(kind) {
                        Some(does) => return Step { kind, does },
                        None => break,
                    }
                }
                at -= weight;
            }
        }
    }

    fn draw(&mut self, kind: Kind) -> Option<Vec<Do>> {
        let one = |text: Option<String>| text.map(|text| vec![Do::Call(text)]);
        match kind {
            Kind::Move => self.moved(),
            Kind::Pair => self.remade(),
            Kind::Jail => self.reborn(),
            Kind::Child => self.child(),
            Kind::Sender => {
                let sender = self.random.below(SENDERS);
                self.sender(sender)
            }
            Kind::Queue => one(self.queue_setting()),
            Kind::End => one(self.end_setting()),
            Kind::Global => one(self.global_setting()),
            Kind::Algorithm => one(self.algorithm()),
            Kind::Policy => one(self.policy()),
            Kind::Malformed => one(self.malformed()),
            Kind::Card => self.card(),
            Kind::CardSetting => one(self.card_setting()),
            Kind::Cable => self.cable(),
            Kind::Verb => self.verb(),
            Kind::Check => {
                let at = at(self.random.below(PLACES));
                let text = format!("{at}sysctl set net.weft.fib.check 1000");
                Some(vec![Do::Check(text)])
            }
            Kind::Unload => Some(vec![Do::Busy("kld unload weft.ko".into())]),
        }
    }

    /// A pair that there is, not the calm one.
    fn pair(&mut self) -> Option<(usize, [usize; 2])> {
        let pair = 1 + self.random.below(PAIRS - 1);
        Some((pair, self.world.pairs[pair]?))
    }

    /// An end goes to another place, which the other one is not in.
    fn moved(&mut self) -> Option<Vec<Do>> {
        let (pair, mut ends) = self.pair()?;
        let end = usize::from(self.random.percent(75));
        let (from, other) = (ends[end], ends[1 - end]);
        let to = self.random.below(PLACES);
        if to == from || to == other {
            return None;
        }
        ends[end] = to;
        self.world.pairs[pair] = Some(ends);
        if end == 0 {
            self.world.orphan(Parent::Pair(pair));
        }
        let name = end_name(pair, end);
        let addresses = on_pair(pair, end as u32 + 1);
        Some(
            moving(&name, from, to)
                .chain([Do::Call(address(to, &name, &addresses))])
                .collect(),
        )
    }

    /// A pair goes, or comes.
    fn remade(&mut self) -> Option<Vec<Do>> {
        let pair = 1 + self.random.below(PAIRS - 1);
        if let Some(ends) = self.world.pairs[pair] {
            let end = self.random.below(2);
            self.world.pairs[pair] = None;
            self.world.ends(Parent::Pair(pair));
            let text = format!("{}if destroy {}", at(ends[end]), end_name(pair, end));
            return Some(vec![Do::Call(text)]);
        }
        let there = 1 + self.random.below(JAILS.len());
        self.world.pairs[pair] = Some([0, there]);
        Some(make_pair(pair, there))
    }

    /// A jail dies with all that is in it, and another one is made.
    fn reborn(&mut self) -> Option<Vec<Do>> {
        let place = 1 + self.random.below(JAILS.len());
        let jail = JAILS[place - 1];
        let mut does = vec![Do::Call(format!("jail remove {jail}"))];
        for sender in 0..SENDERS {
            if self.senders[sender] == Some(place) {
                self.senders[sender] = None;
                does.push(Do::End(format!("sender{sender}")));
            }
        }
        does.extend(self.world.interfaces_in(place).into_iter().map(Do::Home));
        self.world.come_home(place);
        does.extend(make_jail(jail));
        Some(does)
    }

    fn child(&mut self) -> Option<Vec<Do>> {
        let many = self.world.children.len() > 4;
        if self.world.children.is_empty() || (!many && self.random.percent(50)) {
            return self.new_child();
        }
        let which = self.random.below(self.world.children.len());
        let child = self.world.children[which].clone();
        if many || !child.has_parent || self.random.percent(40) {
            self.world.children.remove(which);
            let text = format!("{}if destroy {}", at(child.place), child.name);
            return Some(vec![Do::Call(text)]);
        }
        let to = self.random.below(PLACES);
        if to == child.place {
            return None;
        }
        self.world.children[which].place = to;
        let addressed = Do::Call(address(to, &child.name, &child.addresses));
        Some(
            moving(&child.name, child.place, to)
                .chain([addressed])
                .collect(),
        )
    }

    fn new_child(&mut self) -> Option<Vec<Do>> {
        let parents = self.world.parents();
        let parent = self.one(&parents)?;
        let number = self.world.numbered;
        self.world.numbered += 1;
        let place = self.random.below(PLACES);
        let host = 10 + number % 200;
        let (on, addresses) = match parent {
            Parent::Pair(pair) => (end_name(pair, 0), on_pair(pair, host)),
            Parent::Card(card) => (card_name(card), on_card(card, host)),
        };
        let name = format!("{on}.ip{number}");
        let mut does = vec![Do::Call(format!("if create {name}"))];
        does.extend(moving(&name, 0, place));
        does.push(Do::Call(address(place, &name, &addresses)));
        self.world.had_children.push(parent);
        self.world.children.push(Child {
            name,
            parent,
            place,
            addresses,
            has_parent: true,
        });
        Some(does)
    }

    /// A sender ends, and one of its name begins, somewhere, to somebody.
    fn sender(&mut self, sender: usize) -> Option<Vec<Do>> {
        let ways = self.world.ways();
        let (place, to) = ways.get(self.random.below(ways.len()))?;
        let (place, to) = (*place, &to[self.random.below(2)]);
        let rate = self.one(&[500, 2_000, 10_000, 50_000])?;
        let size = self.one(&[16, 64, 200, 1_200, 1_400, 3_000, 8_000])?;
        let port = 4_000 + self.random.below(64);
        let name = format!("sender{sender}");
        let mut does = vec![];
        if self.senders[sender].replace(place).is_some() {
            does.push(Do::End(name.clone()));
        }
        let at = at(place);
        let command = format!("{at}udp send {to} {port} 100000000 {rate} 1 {size}");
        does.push(Do::Start(name, command));
        Some(does)
    }

    /// A setting of a queue, some of them out of range.
    fn queue_setting(&mut self) -> Option<String> {
        let (pair, _) = self.pair()?;
        let end = end_name(pair, self.random.below(2));
        let queue = self.random.below(4);
        let (name, value) = self.of_queue()?;
        Some(format!(
            "sysctl set net.weft.pair.{end}.queue.{queue}.{name} {value}"
        ))
    }

    fn of_queue(&mut self) -> Option<(&'static str, u64)> {
        let settings: [(&str, &[u64]); 8] = [
            ("packets_limit", &[0, 1, 16, 64, 256, 1_024, 100_000]),
            ("bytes_limit", &[0, 64, 65_536, 1_000_000]),
            ("codel_target_us", &[0, 1, 5_000, 2_000_000]),
            ("codel_interval_us", &[1, 100, 100_000]),
            ("turn_packets", &[0, 1, 8, 256, 4_096]),
            ("turn_us", &[0, 1, 1_000]),
            ("high", &[0, 8, 64]),
            ("low", &[0, 4, 32]),
        ];
        let (name, values) = self.one(&settings)?;
        Some((name, self.one(values)?))
    }

    /// Of an end, the calm pair's too: how many queues are in use, what is timed.
    fn end_setting(&mut self) -> Option<String> {
        let pair = self.random.below(PAIRS);
        self.world.pairs[pair]?;
        let end = end_name(pair, self.random.below(2));
        let settings: [(&str, &[u64]); 3] = [
            ("queues", &[0, 1, 2, 3, 4, 9]),
            ("sojourn_every", &[0, 1, 16, 256]),
            ("direct", &[0, 1]),
        ];
        let (name, values) = self.one(&settings)?;
        let value = self.one(values)?;
        Some(format!("sysctl set net.weft.pair.{end}.{name} {value}"))
    }

    fn global_setting(&mut self) -> Option<String> {
        let settings: [(&str, &[u64]); 7] = [
            ("pair.queues", &[0, 1, 2, 4, 8, 65]),
            ("pair.room", &[63, 64, 256, 1_024]),
            ("pair.direct_stack", &[0, 50, 75, 76]),
            ("fib.auto", &[0, 1, 1, 1]),
            ("fib.flat_prefixes", &[0, 100, 100_000]),
            ("fib.flat_tables", &[0, 1, 16]),
            ("packet.bytes_limit", &[1, 4_194_304, 67_108_864]),
        ];
        let (name, values) = self.one(&settings)?;
        let value = self.one(values)?;
        Some(format!("sysctl set net.weft.{name} {value}"))
    }

    fn algorithm(&mut self) -> Option<String> {
        let at = at(self.random.below(PLACES));
        let (family, algorithm) = self.one(&[
            ("inet", "weft4"),
            ("inet", "weft4"),
            ("inet", "radix4_lockless"),
            ("inet6", "weft6"),
            ("inet6", "weft6"),
            ("inet6", "radix6_lockless"),
        ])?;
        Some(format!(
            "{at}sysctl set net.route.algo.{family}.algo {algorithm}"
        ))
    }

    fn policy(&mut self) -> Option<String> {
        let at = at(self.random.below(PLACES));
        let rule = &RULES[self.random.below(RULES.len())];
        let rule = rule.name.to_str().ok()?;
        let action = self.random.below(4);
        Some(match self.random.below(10) {
            0 => format!("{at}sysctl set net.weft.ipv6.preset {action}"),
            1 => format!("{at}pfil unlink inet6 weft ipv6"),
            2 | 3 => format!("{at}pfil first inet6 weft ipv6"),
            4 => {
                let limit = self.one(&["headers", "options", "option_bytes", "fragment_bytes"])?;
                let value = self.one(&[0, 2, 8, 32, 64, 1_000_000])?;
                format!("{at}sysctl set net.weft.ipv6.limit.{limit} {value}")
            }
            5..=7 => format!("{at}sysctl set net.weft.ipv6.rule.{rule}.received {action}"),
            _ => format!("{at}sysctl set net.weft.ipv6.rule.{rule}.transit {action}"),
        })
    }

    /// Packets that a rule is for, to all on a pair.
    fn malformed(&mut self) -> Option<String> {
        let (pair, ends) = self.pair()?;
        let end = self.random.below(2);
        let about = &RULES[self.random.below(RULES.len())];
        let octets = |host: u8| {
            let mut octets = [0; 16];
            // As `on_pair` writes them.
            let net = 0x20 + pair as u8;
            (octets[0], octets[3], octets[15]) = (0xfd, net, host);
            octets
        };
        let sender = end as u8 + 1;
        let packet = example(about.rule, [octets(sender), octets(3 - sender)]);
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        let (at, name) = (at(ends[end]), end_name(pair, end));
        Some(format!(
            "{at}ether send {name} ffffffffffff02000000770186dd{hex} 40"
        ))
    }

    fn card(&mut self) -> Option<Vec<Do>> {
        let card = self.random.below(DRIVERS.len());
        let is_on = &mut self.world.cards[card];
        *is_on = !*is_on;
        if *is_on {
            return Some(take_card(card));
        }
        self.world.ends(Parent::Card(card));
        let text = format!("devctl disable {}", card_place(card));
        Some(vec![Do::Call(text)])
    }

    fn card_setting(&mut self) -> Option<String> {
        let card = self.random.below(DRIVERS.len());
        if !self.world.cards[card] {
            return None;
        }
        let driver = DRIVERS[card];
        let settings: [(&str, &[u64]); 8] = [
            ("tx_queues", &[1, 2, 3]),
            ("rx_queues", &[1, 2, 0]),
            ("tx_descriptors", &[64, 256, 512, 1_024]),
            ("rx_descriptors", &[64, 256, 512, 1_000_000]),
            ("interrupt_gap_max_us", &[0, 50, 1_000, 20_000]),
            ("interrupt_gap_min_us", &[0, 20]),
            ("interrupt_moderation", &[0, 1]),
            ("", &[0]),
        ];
        let (name, values) = self.one(&settings)?;
        if name.is_empty() {
            let (name, value) = self.of_queue()?;
            return Some(format!("sysctl set dev.{driver}.0.tx.0.{name} {value}"));
        }
        let value = self.one(values)?;
        Some(format!("sysctl set dev.{driver}.0.{name} {value}"))
    }

    fn cable(&mut self) -> Option<Vec<Do>> {
        let card = self.random.below(DRIVERS.len());
        let is_in = &mut self.world.cables[card];
        *is_in = !*is_in;
        Some(vec![Do::Cable(card, *is_in)])
    }

    /// What ifconfig(8) does to an interface: of a pair, on another one, or a card.
    fn verb(&mut self) -> Option<Vec<Do>> {
        let mut all = vec![];
        for pair in 1..PAIRS {
            let ends = self.world.pairs[pair].unwrap_or_default();
            if self.world.pairs[pair].is_some() {
                all.extend([0, 1].map(|end| (ends[end], end_name(pair, end))));
            }
        }
        let children = self.world.children.iter();
        all.extend(children.map(|child| (child.place, child.name.clone())));
        let cards = (0..DRIVERS.len()).filter(|&card| self.world.cards[card]);
        all.extend(cards.map(|card| (0, card_name(card))));
        let which = self.random.below(all.len());
        let (place, name) = all.get(which)?;
        let at = at(*place);
        Some(match self.random.below(6) {
            0 => vec![Do::Call(format!("{at}if down {name}"))],
            1 => vec![Do::Call(format!("{at}if up {name}"))],
            2 => vec![Do::Call(format!("{at}each if down {name} -- if up {name}"))],
            3 => {
                let on = format!("{at}if promiscuous {name}");
                vec![Do::Call(on.clone()), Do::Call(format!("{on} off"))]
            }
            _ => {
                let mtu = self.one(&[1_280, 1_500, 1_500, 4_000, 9_000, 20_000])?;
                vec![Do::Call(format!("{at}if mtu {name} {mtu}"))]
            }
        })
    }
}

/// An interface goes from one network stack to another.
fn moving(name: &str, from: usize, to: usize) -> impl Iterator<Item = Do> + use<> {
    let jail = |place: usize| place.checked_sub(1).map(|jail| JAILS[jail]);
    let out = jail(from).map(|jail| Do::Call(format!("if reclaim {name} {jail}")));
    let into = jail(to).map(|jail| Do::Call(format!("if vnet {name} {jail}")));
    out.into_iter().chain(into)
}

/// A pair between the host and a place.
pub(super) fn make_pair(pair: usize, there: usize) -> Vec<Do> {
    let [near, far] = [end_name(pair, 0), end_name(pair, 1)];
    let mut does = vec![Do::Call(format!("if create wpair{pair}"))];
    does.extend(moving(&far, 0, there));
    does.push(Do::Call(address(0, &near, &on_pair(pair, 1))));
    does.push(Do::Call(address(there, &far, &on_pair(pair, 2))));
    does
}

/// A jail whose network stack asks nobody about its addresses and forgets connections soon.
pub(super) fn make_jail(jail: &str) -> [Do; 2] {
    [
        Do::Call(format!("jail create {jail}")),
        Do::Call(format!(
            "in {jail} each sysctl set net.inet6.ip6.dad_count 0 -- sysctl set net.inet.tcp.msl 500 \
             -- if addr lo0 127.0.0.1/8 -- if up lo0"
        )),
    ]
}

/// A card that was given back gets its driver, and addresses.
pub(super) fn take_card(card: usize) -> Vec<Do> {
    vec![
        Do::Call(format!("devctl enable {}", card_place(card))),
        Do::Call(address(0, &card_name(card), &on_card(card, 2))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn steps(seed: u64, count: usize) -> Vec<Step> {
        let mut chance = Chance::new(seed, World::default());
        (0..count).map(|_| chance.step()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_commands_again() {
        assert_eq!(steps(7, 2_000), steps(7, 2_000));
        assert_ne!(steps(7, 50), steps(8, 50));
    }

    #[test]
    fn every_kind_of_step_comes() {
        let kinds: BTreeSet<Kind> = steps(1, 2_000).iter().map(|step| step.kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
    }

    #[test]
    fn nothing_is_sent_to_where_the_other_end_is() {
        let together = |world: &World| {
            let pairs = world.pairs.iter().flatten();
            pairs.filter(|[one, other]| one == other).count()
        };
        let mut chance = Chance::new(3, World::default());
        for _ in 0..5_000 {
            let before = together(&chance.world);
            let step = chance.step();
            let is_move = step.kind == Kind::Move;
            assert!(!is_move || together(&chance.world) <= before, "{step:?}");
        }
    }

    #[test]
    fn odd_packets_are_between_the_ends_of_a_pair() {
        let all = steps(5, 3_000);
        let sent = all.iter().filter(|step| step.kind == Kind::Malformed);
        let texts = sent
            .flat_map(|step| &step.does)
            .map(|one| format!("{one:?}"));
        let between: Vec<String> = texts.filter(|text| text.contains("fd000021")).collect();
        assert!(!between.is_empty());
    }
}
