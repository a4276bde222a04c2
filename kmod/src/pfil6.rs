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

use weft_engine::stats::{Cause, Declared, FilterStat, RuleStat};
use weft_engine::wire::policy::{
    About, Action, Bounds, Point as Place, Policy, Preset, RULES, Rule, Rules, is_plain, judge,
};
use weft_engine::wire::source::Pieces;

use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::counter::Counter;
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::memory::{collected, push};
use crate::kpi::pfil::{Fate, Filter, Hook, Layer, Point};
use crate::kpi::probe;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::text::Text;
use crate::kpi::vnet;
use crate::stats::{self, Once};

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

/// The numbers that rules go by. The place of each in a filter is its place here.
const LIMITS: [FilterStat; 6] = [
    FilterStat::Headers,
    FilterStat::HeaderBytes,
    FilterStat::OptionBytes,
    FilterStat::Options,
    FilterStat::FragmentBytes,
    FilterStat::Pieces,
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
            let initial = limit.stat().initial().unwrap_or(0);
            place.store(initial, Ordering::Relaxed);
        }
        self.preset.store(preset as u64, Ordering::Relaxed);
    }

    /// Where a limit is.
    fn place(&self, stat: FilterStat) -> Option<&AtomicU64> {
        let place = LIMITS.iter().position(|limit| *limit == stat)?;
        self.limits.get(place)
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
        let [
            headers,
            header_bytes,
            option_bytes,
            options,
            fragment_bytes,
            pieces,
        ] = self
            .limits
            .each_ref()
            .map(|limit| limit.load(Ordering::Relaxed));
        Policy {
            counts: of(&self.counts),
            drops: of(&self.drops),
            bounds: Bounds {
                headers: headers as u8,
                header_bytes: header_bytes as u16,
                option_bytes: option_bytes as u16,
                options: options as u8,
                fragment_bytes: fragment_bytes as u16,
                pieces: pieces as u16,
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
                probe::filtered(Cause::Rule, point);
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

/// What an OID is about: a number of a rule's, or of the filter's own.
#[derive(Clone, Copy)]
enum What {
    Rule(&'static About, RuleStat),
    Own(FilterStat),
}

/// The number that stands for a rule where there is none.
const OWN: u32 = 0xff;

impl What {
    /// By an OID's index: the rule's number, and in the lowest byte the number's place.
    fn of(index: u32) -> Option<Self> {
        let place = index & 0xff;
        match index >> 8 {
            OWN => FilterStat::at(place).map(Self::Own),
            rule => {
                let about = RULES.get(rule as usize)?;
                Some(Self::Rule(about, RuleStat::at(place)?))
            }
        }
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
                What::Rule(about, stat) => match stat {
                    RuleStat::Received => screen.action(about.rule, Place::Received) as u64,
                    RuleStat::Transit => screen.action(about.rule, Place::Transit) as u64,
                    RuleStat::Applied => counted(&screen.applied, about.rule),
                    RuleStat::Dropped => counted(&screen.dropped, about.rule),
                },
                What::Own(FilterStat::Preset) => screen.preset.load(Ordering::Relaxed),
                What::Own(FilterStat::LookedAt) => screen.looked_at.read(),
                What::Own(limit) => screen.place(limit)?.load(Ordering::Relaxed),
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
            Some(What::Rule(about, stat)) => set_rule(screen, about, stat, value),
            Some(What::Own(FilterStat::Preset)) => match Preset::of(value) {
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
            Some(What::Own(limit)) => set_limit(screen, limit, value),
            None => Err(Errno::EINVAL),
        });
        written.unwrap_or(Err(Errno::ENXIO))
    }
}

fn set_rule(screen: &Screen, about: &About, stat: RuleStat, value: u64) -> Result<(), Errno> {
    let place = match stat {
        RuleStat::Transit => Place::Transit,
        _ => Place::Received,
    };
    let Some(action) = Action::of(value) else {
        log::warning(format_args!(
            "net.weft.ipv6.rule.{}.{}={value}: refused, allowed are 0 (pass), 1 (count), 2 (drop)",
            about.name.to_str().unwrap_or_default(),
            place.name()
        ));
        return Err(Errno::EINVAL);
    };
    screen.set_action(about.rule, place, action);
    Ok(())
}

fn set_limit(screen: &Screen, limit: FilterStat, value: u64) -> Result<(), Errno> {
    stats::allow_declared(c"net.weft.ipv6.limit", limit.stat(), value)?;
    let place = screen.place(limit).ok_or(Errno::EINVAL)?;
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
        let rule = tree.node_labelled(rules, about.name, c"rule", about.about)?;
        let (mut tree, base) = (Once::<OfScreen>::new(tree), (about.rule as u32) << 8);
        stats::add(&mut tree, rule, base, |_: RuleStat| true)?;
    }
    let mut tree = Once::<OfScreen>::new(tree);
    stats::add(&mut tree, node, OWN << 8, |_: FilterStat| true)
}
