// SPDX-License-Identifier: BSD-2-Clause
//! `weft:ipv6`: the engine's rules on IPv6 as a filter of pfil(9) at the point `inet6`.
//!
//! Each network stack has a filter of its own from the moment it is there, with rules,
//! numbers and counters of its own. It does nothing until pfilctl(8) links it, which also
//! puts it before or behind other filters. A packet on its way takes no lock and
//! allocates nothing: it reads a few words that sysctls write, each by itself, so a packet
//! that passes while several are written may meet the old and the new ones.
//!
//! What a filter is told by sysctls goes through `SCREENS`, which only threads that may
//! sleep use.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weft_engine::wire::policy::{
    Action, Bounds, Point as Place, Policy, Preset, RULES, Rule, Rules, is_plain, judge,
};
use weft_engine::wire::source::Pieces;

use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::counter::Counter;
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::memory::{collected, push};
use crate::kpi::pfil::{Fate, Filter, Hook, Layer, Point};
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::text::Text;
use crate::kpi::vnet;

/// The filter's name, behind `weft:`.
const NAME: &str = "ipv6";

/// What one network stack's filter does, and what it has counted.
struct Screen {
    /// By the place's number: the rules that count, as a number with a bit for each.
    counts: [AtomicU64; 2],
    /// And those that drop.
    drops: [AtomicU64; 2],
    /// The numbers, by their index in [`LIMITS`].
    limits: [AtomicU64; LIMITS.len()],
    /// The preset that was chosen last.
    preset: AtomicU64,
    looked_at: Counter,
    /// By the rule's number.
    applied: Vec<Counter>,
    dropped: Vec<Counter>,
}

/// A network stack's filter. The hook goes first.
struct Entry {
    vnet: usize,
    _hook: Hook<Screen>,
    screen: Shared<Screen>,
}

/// The filters of all network stacks.
static SCREENS: Slept<Vec<Entry>> = Slept::new(Vec::new());

/// Whether network stacks get filters.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// A number that rules go by.
struct Limit {
    name: &'static core::ffi::CStr,
    about: &'static core::ffi::CStr,
    most: u64,
    initial: u64,
}

/// The place of each number in a filter.
mod limit {
    pub(super) const HEADERS: usize = 0;
    pub(super) const HEADER_BYTES: usize = 1;
    pub(super) const OPTION_BYTES: usize = 2;
    pub(super) const OPTIONS: usize = 3;
    pub(super) const FRAGMENT_BYTES: usize = 4;
    pub(super) const PIECES: usize = 5;
}

static LIMITS: [Limit; 6] = [
    Limit {
        name: c"headers",
        about: c"Extension headers that a packet may have (RFC 8504, 5.3), 0 to 32; the rule headers applies to one with more",
        most: 32,
        initial: Bounds::DEFAULT.headers as u64,
    },
    Limit {
        name: c"header_bytes",
        about: c"Bytes of extension headers that a packet may have (RFC 8504, 5.3), 0 to 65535; the rule header_bytes applies to one with more",
        most: u16::MAX as u64,
        initial: Bounds::DEFAULT.header_bytes as u64,
    },
    Limit {
        name: c"option_bytes",
        about: c"Bytes that a header of hop-by-hop or destination options may have (RFC 8504, 5.3), 8 to 2048; 0: any number; the rule option_bytes applies to a longer one",
        most: 2048,
        initial: Bounds::DEFAULT.option_bytes as u64,
    },
    Limit {
        name: c"options",
        about: c"Options other than padding that a header may have (RFC 8504, 5.3), 0 to 128; the rule options applies to one with more",
        most: 128,
        initial: Bounds::DEFAULT.options as u64,
    },
    Limit {
        name: c"fragment_bytes",
        about: c"Bytes that a fragment must have, IPv6 header included, if it is not the last, 0 to 1280; the rule fragment_tiny applies to a shorter one",
        most: 1280,
        initial: Bounds::DEFAULT.fragment_bytes as u64,
    },
    Limit {
        name: c"pieces",
        about: c"mbufs that are looked at to read a packet's headers, 1 to 1024; the rule scattered applies if they are in more",
        most: 1024,
        initial: Bounds::DEFAULT.pieces as u64,
    },
];

impl Screen {
    /// As it is at first: [`Preset::Host`].
    fn new() -> Result<Self, Errno> {
        let screen = Self {
            counts: Default::default(),
            drops: Default::default(),
            limits: Default::default(),
            preset: AtomicU64::new(0),
            looked_at: Counter::new()?,
            applied: collected(RULES.len(), |_| Counter::new())?,
            dropped: collected(RULES.len(), |_| Counter::new())?,
        };
        screen.choose(Preset::default());
        Ok(screen)
    }

    /// Sets all rules and numbers to those of a preset.
    fn choose(&self, preset: Preset) {
        for (place, (counts, drops)) in Place::ALL
            .into_iter()
            .zip(self.counts.iter().zip(&self.drops))
        {
            let policy = Policy::of(preset, place);
            counts.store(policy.counts.bits(), Ordering::Relaxed);
            drops.store(policy.drops.bits(), Ordering::Relaxed);
        }
        for (limit, place) in LIMITS.iter().zip(&self.limits) {
            place.store(limit.initial, Ordering::Relaxed);
        }
        self.preset.store(preset as u64, Ordering::Relaxed);
    }

    #[inline]
    fn limit<const WHICH: usize>(&self) -> u64 {
        const { assert!(WHICH < LIMITS.len()) };
        self.limits[WHICH].load(Ordering::Relaxed)
    }

    /// What is done at a place. Nobody stores a number that would not fit.
    #[inline]
    fn policy(&self, place: Place) -> Policy {
        let of = |all: &[AtomicU64; 2]| {
            let all = match place {
                Place::Received => &all[0],
                Place::Transit => &all[1],
            };
            Rules::of_bits(all.load(Ordering::Relaxed))
        };
        Policy {
            counts: of(&self.counts),
            drops: of(&self.drops),
            bounds: Bounds {
                headers: self.limit::<{ limit::HEADERS }>() as u8,
                header_bytes: self.limit::<{ limit::HEADER_BYTES }>() as u16,
                option_bytes: self.limit::<{ limit::OPTION_BYTES }>() as u16,
                options: self.limit::<{ limit::OPTIONS }>() as u8,
                fragment_bytes: self.limit::<{ limit::FRAGMENT_BYTES }>() as u16,
                pieces: self.limit::<{ limit::PIECES }>() as u16,
            },
        }
    }

    /// What a rule does at a place.
    fn action(&self, rule: Rule, place: Place) -> Action {
        let policy = self.policy(place);
        if policy.drops.has(rule) {
            Action::Drop
        } else if policy.counts.has(rule) {
            Action::Count
        } else {
            Action::Pass
        }
    }

    fn set_action(&self, rule: Rule, place: Place, action: Action) {
        let set = |all: &[AtomicU64; 2], is_in: bool| {
            let bits = &all[place as usize & 1];
            let bit = Rules::only(rule).bits();
            match is_in {
                true => bits.fetch_or(bit, Ordering::Relaxed),
                false => bits.fetch_and(!bit, Ordering::Relaxed),
            };
        };
        set(&self.counts, action == Action::Count);
        set(&self.drops, action == Action::Drop);
    }
}

impl Filter for Screen {
    const LAYER: Layer = Layer::Inet6;

    #[inline(always)]
    fn lets_pass(&self, packet: &Mbuf, point: &Point) -> bool {
        let (front, len) = packet.front();
        let is_sent = !point.is_inward() && !point.is_forwarded();
        if is_sent || !is_plain(front, len) {
            return is_sent;
        }
        let [counts, drops] = [&self.counts, &self.drops].map(|rules| match point.is_inward() {
            true => rules[0].load(Ordering::Relaxed),
            false => rules[1].load(Ordering::Relaxed),
        });
        if counts | drops != 0 {
            self.looked_at.add(1);
        }
        true
    }

    fn pass(&self, _epoch: &NetEpoch<'_>, packet: Mbuf, point: &Point) -> Fate {
        let place = match point.is_inward() {
            true => Place::Received,
            false => Place::Transit,
        };
        let policy = self.policy(place);
        if policy.is_idle() {
            return Fate::Passed(packet);
        }
        self.looked_at.add(1);
        let len = packet.packet_len() as usize;
        let found = match packet.whole() {
            Some(bytes) => judge(bytes, bytes.len(), &policy),
            None => {
                let pieces = Pieces::new(packet.pieces(), policy.bounds.pieces);
                judge(pieces, len, &policy)
            }
        };
        if found.applied.is_empty() {
            return Fate::Passed(packet);
        }
        for rule in found.applied {
            if let Some(counter) = self.applied.get(rule as usize) {
                counter.add(1);
            }
        }
        match found.dropped_by {
            None => Fate::Passed(packet),
            Some(rule) => {
                if let Some(counter) = self.dropped.get(rule as usize) {
                    counter.add(1);
                }
                Fate::Dropped
            }
        }
    }
}

/// A network stack has come, which is current.
pub(crate) fn arrive(sleepable: &mut Sleepable, vnet: &Vnet<'_>) {
    if !IS_OPEN.load(Ordering::Acquire) {
        return;
    }
    let added = SCREENS.with(sleepable, |sleepable, screens| {
        let here = vnet::identity(vnet);
        if screens.iter().any(|entry| entry.vnet == here) {
            return Ok(());
        }
        screens.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let screen = Shared::made(Screen::new)?;
        let name = Text::format(format_args!("{NAME}"));
        let entry = Entry {
            vnet: here,
            _hook: Hook::add(sleepable, vnet, name, screen.clone())?,
            screen,
        };
        push(screens, entry).map_err(|_| Errno::ENOMEM)
    });
    if added.is_err() {
        log::warning(format_args!(
            "weft:{NAME}: no memory for the filter of a network stack, which goes without"
        ));
    }
}

/// The current network stack goes, or the module.
pub(crate) fn depart(sleepable: &mut Sleepable, vnet: &Vnet<'_>) {
    let here = vnet::identity(vnet);
    SCREENS.with(sleepable, |_, screens| {
        screens.retain(|entry| entry.vnet != here);
    });
}

/// That network stacks have filters, as long as the module is loaded.
pub(crate) struct Gate;

impl Gate {
    /// Lets network stacks have filters. The kernel tells of those that are there when the
    /// module has been loaded.
    pub(crate) fn open(_sleepable: &mut Sleepable) -> Self {
        IS_OPEN.store(true, Ordering::Release);
        Self
    }

    /// Takes all filters out of the way of packets.
    pub(crate) fn close(&mut self, sleepable: &mut Sleepable) {
        IS_OPEN.store(false, Ordering::Release);
        vnet::tell_filters(sleepable, false);
        SCREENS.with(sleepable, |_, screens| *screens = Vec::new());
    }
}

/// What an OID is about: a rule, and which of its values; or one of the filter's own.
#[derive(Clone, Copy)]
enum What {
    Action(Rule, Place),
    Applied(Rule),
    Dropped(Rule),
    Limit(usize),
    Preset,
    LookedAt,
}

/// The number that stands for a rule where there is none.
const OWN: u32 = 0xff;

impl What {
    /// As an OID's index.
    const fn index(self) -> u32 {
        match self {
            Self::Action(rule, place) => (rule as u32) << 8 | place as u32,
            Self::Applied(rule) => (rule as u32) << 8 | 2,
            Self::Dropped(rule) => (rule as u32) << 8 | 3,
            Self::Preset => OWN << 8,
            Self::LookedAt => OWN << 8 | 1,
            Self::Limit(which) => (OWN << 8) | (2 + which as u32),
        }
    }

    fn of(index: u32) -> Option<Self> {
        let (rule, which) = (index >> 8, index & 0xff);
        if rule == OWN {
            return Some(match which {
                0 => Self::Preset,
                1 => Self::LookedAt,
                _ => Self::Limit(which as usize - 2),
            });
        }
        let rule = RULES.get(rule as usize)?.rule;
        Some(match which {
            0 => Self::Action(rule, Place::Received),
            1 => Self::Action(rule, Place::Transit),
            2 => Self::Applied(rule),
            _ => Self::Dropped(rule),
        })
    }
}

/// The OIDs of filters.
struct OfScreen;

impl OfScreen {
    /// Runs `inside` with the filter of the current network stack.
    fn with<R>(
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        inside: impl FnOnce(&Screen) -> R,
    ) -> Option<R> {
        let here = vnet::identity(vnet);
        SCREENS.with(sleepable, |_, screens| {
            let entry = screens.iter().find(|entry| entry.vnet == here)?;
            Some(inside(&entry.screen))
        })
    }
}

impl Indexed for OfScreen {
    fn read(index: u32, sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        let value = Self::with(sleepable, vnet, |screen| {
            let counted = |counters: &[Counter], rule: Rule| {
                counters.get(rule as usize).map_or(0, Counter::read)
            };
            Some(match What::of(index)? {
                What::Action(rule, place) => screen.action(rule, place) as u64,
                What::Applied(rule) => counted(&screen.applied, rule),
                What::Dropped(rule) => counted(&screen.dropped, rule),
                What::Limit(which) => screen.limits.get(which)?.load(Ordering::Relaxed),
                What::Preset => screen.preset.load(Ordering::Relaxed),
                What::LookedAt => screen.looked_at.read(),
            })
        });
        value.flatten().unwrap_or_default()
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let written = Self::with(sleepable, vnet, |screen| match What::of(index) {
            Some(What::Action(rule, place)) => match Action::of(value) {
                Some(action) => {
                    screen.set_action(rule, place, action);
                    Ok(())
                }
                None => Err(refused_action(rule, place, value)),
            },
            Some(What::Limit(which)) => set_limit(screen, which, value),
            Some(What::Preset) => match Preset::of(value) {
                Some(preset) => {
                    screen.choose(preset);
                    Ok(())
                }
                None => {
                    log::warning(format_args!(
                        "net.weft.ipv6.preset={value}: refused, allowed are 0 (off), 1 (host), 2 (router)"
                    ));
                    Err(Errno::EINVAL)
                }
            },
            _ => Err(Errno::EINVAL),
        });
        written.unwrap_or(Err(Errno::ENXIO))
    }
}

fn refused_action(rule: Rule, place: Place, value: u64) -> Errno {
    let name = RULES.get(rule as usize).map(|about| about.name);
    log::warning(format_args!(
        "net.weft.ipv6.rule.{}.{}={value}: refused, allowed are 0 (pass), 1 (count), 2 (drop)",
        name.and_then(|name| name.to_str().ok()).unwrap_or_default(),
        place.name()
    ));
    Errno::EINVAL
}

fn set_limit(screen: &Screen, which: usize, value: u64) -> Result<(), Errno> {
    let (Some(limit), Some(place)) = (LIMITS.get(which), screen.limits.get(which)) else {
        return Err(Errno::EINVAL);
    };
    let least = u64::from(which == limit::PIECES);
    if value < least || value > limit.most {
        log::warning(format_args!(
            "net.weft.ipv6.limit.{}={value}: refused, allowed are {least} to {}",
            limit.name.to_str().unwrap_or_default(),
            limit.most
        ));
        return Err(Errno::EINVAL);
    }
    place.store(value, Ordering::Relaxed);
    Ok(())
}

/// Adds `net.weft.ipv6`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, weft: Parent) -> Result<(), Errno> {
    let node = tree.node(
        weft,
        c"ipv6",
        c"Rules on IPv6 extension headers and fragments, of the filter weft:ipv6, which pfilctl(8) links to inet6",
    )?;
    let rules = tree.node(node, c"rule", c"What is done about packets, rule by rule")?;
    for about in RULES.iter().rev() {
        add_rule(tree, rules, about)?;
    }
    let limits = tree.node(node, c"limit", c"Numbers that rules go by")?;
    for (which, limit) in LIMITS.iter().enumerate().rev() {
        let index = What::Limit(which).index();
        tree.own_setting_of::<OfScreen>(limits, limit.name, index, limit.about)?;
    }
    tree.number_of::<OfScreen>(
        node,
        c"looked_at",
        None,
        What::LookedAt.index(),
        c"Packets that were held against the rules; one that is forwarded counts twice if it was at both places",
    )?;
    tree.own_setting_of::<OfScreen>(
        node,
        c"preset",
        What::Preset.index(),
        c"The preset that was chosen last; choosing one sets all rules and limits: 0 off, 1 host (RFC 8504), 2 router (RFC 9288)",
    )
}

fn add_rule(
    tree: &mut Sysctls,
    rules: Parent,
    about: &weft_engine::wire::policy::About,
) -> Result<(), Errno> {
    let rule = tree.node_labelled(rules, about.name, c"rule", about.about)?;
    tree.number_of::<OfScreen>(
        rule,
        c"dropped",
        None,
        What::Dropped(about.rule).index(),
        c"Packets that were dropped by this rule: of several that would drop one, the first counts it",
    )?;
    tree.number_of::<OfScreen>(
        rule,
        c"applied",
        None,
        What::Applied(about.rule).index(),
        c"Packets to which this rule applied, passed and dropped; not those for which it is set to 0",
    )?;
    tree.own_setting_of::<OfScreen>(
        rule,
        c"transit",
        What::Action(about.rule, Place::Transit).index(),
        c"What becomes of a packet that is forwarded: 0 passes, 1 is counted, 2 is counted and dropped",
    )?;
    tree.own_setting_of::<OfScreen>(
        rule,
        c"received",
        What::Action(about.rule, Place::Received).index(),
        c"What becomes of a packet that is received, for whomever: 0 passes, 1 is counted, 2 is counted and dropped",
    )
}
