// SPDX-License-Identifier: BSD-2-Clause
//! What of IPv6 is let in and through: rules on extension headers, their options and
//! fragments, each of which may pass, be counted, or be dropped.
//!
//! A packet is looked at in one pass ([`parse`]), which ends at the first rule that drops.
//! It depends on nothing but the packet: two fragments that overlap cannot be told here,
//! and are left to reassembly, which has to drop them (RFC 8200, 4.5; RFC 5722).
//!
//! | what              | is                                                             |
//! | ----------------- | -------------------------------------------------------------- |
//! | [`Rule`], [`RULES`] | what is held against a packet; the one list of which settings, figures, documentation and tests are made |
//! | [`Point`]         | where the packet is: just received, for whomever; or forwarded, on its way out |
//! | [`Action`]        | what becomes of it                                             |
//! | [`Bounds`]        | the numbers that some rules go by                              |
//! | [`Policy`]        | actions and numbers; [`Preset`]s are there to start from       |
//! | [`judge`]         | holds a packet against it: [`Judgement`]                       |

use super::parse::{Parsed, Start, visit};
use super::protocol;
use super::source::Source;

mod judge;
mod rules;

pub use rules::{About, RULES, Rule};

/// What becomes of a packet that a rule applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Action {
    /// It passes, and is not counted.
    #[default]
    Pass = 0,
    /// It passes, and is counted.
    Count = 1,
    /// It is counted and dropped.
    Drop = 2,
}

impl Action {
    /// The action of that number.
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Pass),
            1 => Some(Self::Count),
            2 => Some(Self::Drop),
            _ => None,
        }
    }
}

/// Where a packet is when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// It was received. Whether it is for this node is not known yet.
    Received = 0,
    /// It is forwarded.
    Transit = 1,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Received, Self::Transit];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Transit => "transit",
        }
    }
}

/// A set of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// None.
    pub const NONE: Self = Self(0);

    /// One.
    pub const fn only(rule: Rule) -> Self {
        Self(1 << rule as u8)
    }

    /// Those in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is in here.
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & Self::only(rule).0 != 0
    }

    /// The same with that rule in it, or not.
    pub const fn with(self, rule: Rule, is_in: bool) -> Self {
        let bit = Self::only(rule).0;
        match is_in {
            true => Self(self.0 | bit),
            false => Self(self.0 & !bit),
        }
    }

    /// As a number with a bit for each.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From such a number.
    pub const fn of_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// The rules of a set, in order.
impl Iterator for Rules {
    type Item = Rule;

    #[inline]
    fn next(&mut self) -> Option<Rule> {
        let number = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        RULES.get(number as usize).map(|about| about.rule)
    }
}

/// The numbers that rules go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Extension headers of a packet ([`Rule::Headers`]), 0 to 32.
    pub headers: u8,
    /// Bytes of extension headers of a packet ([`Rule::HeaderBytes`]).
    pub header_bytes: u16,
    /// Bytes of a header of options ([`Rule::OptionBytes`]); 0: as many as there are.
    pub option_bytes: u16,
    /// Options in a header other than padding ([`Rule::Options`]), 0 to 64.
    pub options: u8,
    /// Bytes that a fragment must have, IPv6 header included, if it is not the last
    /// ([`Rule::FragmentTiny`]).
    pub fragment_bytes: u16,
    /// Pieces in which the headers may be ([`Rule::Scattered`]); who reads the packet goes
    /// by it.
    pub pieces: u16,
}

impl Bounds {
    /// What a node starts with: the numbers of RFC 8504 (5.3), and for those that it leaves
    /// open ones that no ordinary packet reaches.
    pub const DEFAULT: Self = Self {
        headers: 8,
        header_bytes: 512,
        option_bytes: 0,
        options: 8,
        fragment_bytes: 256,
        pieces: 64,
    };
}

/// What a node does, to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Preset {
    /// Everything passes, unseen.
    Off = 0,
    /// An end of connections.
    #[default]
    Host = 1,
    /// One that forwards for others: what is received is held against what would hurt the
    /// router itself, what is forwarded against RFC 9288 as well.
    Router = 2,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Host, Self::Router];

    /// The preset of that number.
    pub const fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::Host),
            2 => Some(Self::Router),
            _ => None,
        }
    }

    /// What it does about a rule.
    pub const fn action(self, about: &About, point: Point) -> Action {
        match self {
            Self::Off => Action::Pass,
            Self::Host => about.host[point as usize],
            Self::Router => about.router[point as usize],
        }
    }
}

/// What is done at one point, and by which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Rules that count. Those that drop count, too, without being in here.
    pub counts: Rules,
    /// Rules that drop.
    pub drops: Rules,
    /// Numbers.
    pub bounds: Bounds,
}

impl Policy {
    /// That of a preset.
    pub const fn of(preset: Preset, point: Point) -> Self {
        let mut policy = Self {
            counts: Rules::NONE,
            drops: Rules::NONE,
            bounds: Bounds::DEFAULT,
        };
        let mut n = 0;
        while n < RULES.len() {
            let about = &RULES[n];
            let action = preset.action(about, point);
            policy.counts = policy
                .counts
                .with(about.rule, matches!(action, Action::Count));
            policy.drops = policy
                .drops
                .with(about.rule, matches!(action, Action::Drop));
            n += 1;
        }
        policy
    }

    /// Whether there is nothing to be looked at.
    pub const fn is_idle(&self) -> bool {
        self.counts.or(self.drops).is_empty()
    }
}

/// What was found of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Rules that apply and are not passed: each is to be counted. If one of them drops,
    /// there may be others that were not looked at any more.
    pub applied: Rules,
    /// The one by which it is dropped.
    pub dropped_by: Option<Rule>,
    /// Its headers, as far as they were looked at.
    pub parsed: Parsed,
}

/// Whether no rule can apply to a packet of `len` bytes, of which `front` has what is at
/// hand: TCP, UDP or ICMPv6 right behind the IPv6 header, all there. Most packets are such,
/// and this costs a fraction of [`judge`].
#[inline]
pub fn is_plain(front: &[u8], len: usize) -> bool {
    let Some((header, behind)) = front.split_first_chunk::<40>() else {
        return false;
    };
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || payload > len.saturating_sub(header.len()) {
        return false;
    }
    match header[6] {
        protocol::TCP => behind.get(12).is_some_and(|offset| {
            let bytes = usize::from(offset >> 4) * 4;
            bytes >= 20 && bytes <= payload
        }),
        protocol::UDP | protocol::ICMPV6 => payload >= 8,
        _ => false,
    }
}

/// Holds a packet of `len` bytes that begins with an IPv6 header against a policy.
///
/// Any context; nothing is allocated or locked. It costs no more reads than there are
/// headers and options within the bounds.
#[inline]
pub fn judge<S: Source>(source: S, len: usize, policy: &Policy) -> Judgement {
    let limits = judge::limits(&policy.bounds);
    let mut judge = judge::Judge::new(policy);
    let parsed = visit(source, len, Start::Ipv6, &limits, &mut judge);
    judge.conclude(parsed)
}
