// SPDX-License-Identifier: BSD-2-Clause
//! Holding one packet against the rules, while it is parsed and after.

use core::ops::ControlFlow;

use super::{Bounds, Judgement, Policy, Rule, Rules};
use crate::wire::parse::{Extension, Kinds, Layer, Limits, Parsed, TypedOption, Verdict, Visit};
use crate::wire::protocol as number;

/// Bytes of padding that alignment may need.
const MOST_PADDING: u16 = 7;
/// Options in a header, padding included, that are looked at.
const MOST_OPTIONS: u16 = 128;

// Types of options, of the registry "Destination Options and Hop-by-Hop Options".
const ROUTER_ALERT: u8 = 0x05;
const JUMBO: u8 = 0xc2;
/// Types that have a number, those that are deprecated or for experiments aside: tunnel
/// encapsulation limit, router alert, CALIPSO, SMF_DPD, PDM, two of IOAM, two of alternate
/// marking, RPL, quick-start, minimum path MTU, MPL, ILNP nonce,
/// line identification, jumbo payload, home address, IP_DFF.
#[rustfmt::skip]
const KNOWN: [u8; 18] = [
    0x04, ROUTER_ALERT, 0x07, 0x08, 0x0f, 0x11, 0x31, 0x12, 0x32, 0x23, 0x26, 0x30, 0x6d,
    0x8b, 0x8c, JUMBO, 0xc9, 0xee,
];
/// Endpoint identification, one that was given back, and RPL's former number (RFC 9008).
const OLD: [u8; 3] = [0x8a, 0x4d, 0x63];
/// For experiments (RFC 4727): the same number with each action.
const TRIAL: [u8; 8] = [0x1e, 0x3e, 0x5e, 0x7e, 0x9e, 0xbe, 0xde, 0xfe];

/// What of an option's type is told apart, one bit each of 256 types.
const fn bits_of<const N: usize>(types: [u8; N]) -> [u64; 4] {
    let mut bits = [0; 4];
    let mut n = 0;
    while n < N {
        bits[types[n] as usize >> 6] |= 1 << (types[n] & 63);
        n += 1;
    }
    bits
}

const KNOWN_BITS: [u64; 4] = bits_of(KNOWN);
const OLD_BITS: [u64; 4] = bits_of(OLD);
const TRIAL_BITS: [u64; 4] = bits_of(TRIAL);

fn is_in(bits: &[u64; 4], kind: u8) -> bool {
    let word = bits.get(usize::from(kind >> 6)).copied();
    word.unwrap_or_default() >> (kind & 63) & 1 != 0
}

/// The parser's limits under which a packet is looked at.
#[inline]
pub(super) fn limits(bounds: &Bounds) -> Limits {
    Limits {
        tags: 0,
        extensions: bounds.headers,
        extension_bytes: bounds.header_bytes,
        options: MOST_OPTIONS,
        tunnels: false,
    }
}

/// What has been seen of the header of options that is being looked at.
#[derive(Default)]
struct Row {
    /// Where the header begins and ends.
    at: usize,
    end: usize,
    /// Options that are no padding.
    options: u8,
    /// Options Pad1 in a row.
    pad1: u16,
    /// Bytes of padding in a row, and whether a PadN is among them, and another.
    padding: u16,
    pads: u8,
    has_padn: bool,
}

/// One packet's case.
pub(super) struct Judge<'p> {
    policy: &'p Policy,
    found: Rules,
    /// Extension headers so far, as [`Kinds`] has them, and whether there was a fragment
    /// header.
    kinds: Kinds,
    was_fragment: bool,
    is_first: bool,
    destinations: u8,
    /// How far the recommended order has been gone.
    rank: u8,
    row: Row,
}

impl<'p> Judge<'p> {
    #[inline]
    pub(super) fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            found: Rules::NONE,
            kinds: Kinds::empty(),
            was_fragment: false,
            is_first: true,
            destinations: 0,
            rank: 0,
            row: Row::default(),
        }
    }

    fn find(&mut self, rule: Rule) {
        self.found = self.found.with(rule, true);
    }

    fn find_if(&mut self, applies: bool, rule: Rule) {
        if applies {
            self.find(rule);
        }
    }

    /// Whether to go on.
    fn goes_on(&self) -> ControlFlow<()> {
        match self.found.and(self.policy.drops).is_empty() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }

    /// Whether that header has its place and comes as often as it may.
    fn place(&mut self, kind: u8, is_again: bool) {
        let is_destination = kind == number::DESTINATION_OPTIONS;
        let repeated = match is_destination {
            true => self.destinations >= 2,
            false => is_again,
        };
        self.find_if(repeated, Rule::Repeated);
        if is_destination {
            self.destinations = self.destinations.saturating_add(1);
        }
        self.find_if(
            kind == number::HOP_BY_HOP && !self.is_first,
            Rule::HopByHopPlace,
        );
        self.is_first = false;
        let rank = match kind {
            number::HOP_BY_HOP => 0,
            // Before a routing header, or at the end.
            number::DESTINATION_OPTIONS if self.rank == 0 => 1,
            number::ROUTING => 2,
            number::FRAGMENT => 3,
            number::AUTHENTICATION => 4,
            number::DESTINATION_OPTIONS => 6,
            _ => return,
        };
        self.find_if(rank < self.rank && kind != number::HOP_BY_HOP, Rule::Order);
        self.rank = self.rank.max(rank);
    }

    /// What a header's type says.
    fn sort(&mut self, extension: &Extension) {
        let [_, _, of_type, ..] = extension.head;
        let rule = match extension.kind {
            number::HOP_BY_HOP => Rule::HopByHop,
            number::DESTINATION_OPTIONS => Rule::DestinationOptions,
            number::ROUTING => match of_type {
                0 => Rule::Routing0,
                1 => Rule::Routing1,
                2 => Rule::Routing2,
                3 => Rule::Routing3,
                4 => Rule::Routing4,
                _ => Rule::RoutingOther,
            },
            number::AUTHENTICATION => Rule::Authentication,
            number::MOBILITY => Rule::Mobility,
            number::HIP => Rule::Hip,
            number::SHIM6 => Rule::Shim6,
            _ => return,
        };
        self.find(rule);
    }

    /// One more option of padding, of so many bytes.
    fn pad(&mut self, bytes: u16) {
        self.row.padding = self.row.padding.saturating_add(bytes);
        self.row.pads = self.row.pads.saturating_add(1);
        let is_long = self.row.padding > MOST_PADDING;
        let is_mixed = self.row.has_padn && self.row.pads > 1;
        self.find_if(is_long && is_mixed, Rule::PadRow);
    }

    /// An option that is no padding.
    fn other(&mut self, kind: u8) {
        let row = &mut self.row;
        (row.pad1, row.padding, row.pads, row.has_padn) = (0, 0, 0, false);
        row.options = row.options.saturating_add(1);
        let is_one_too_many = row.options > self.policy.bounds.options;
        self.find_if(is_one_too_many, Rule::Options);
        if is_in(&KNOWN_BITS, kind) {
            self.find_if(kind == ROUTER_ALERT, Rule::RouterAlert);
            self.find_if(kind == JUMBO, Rule::JumboOption);
        } else if is_in(&OLD_BITS, kind) {
            self.find(Rule::OldOption);
        } else if is_in(&TRIAL_BITS, kind) {
            self.find(Rule::TrialOption);
        } else {
            self.find(Rule::UnknownOption);
        }
    }

    /// What the headers are worth when all is said.
    #[inline]
    pub(super) fn conclude(mut self, parsed: Parsed) -> Judgement {
        let stopped = usize::from(parsed.stopped);
        let layer = &parsed.outer;
        match parsed.verdict {
            Verdict::Whole | Verdict::LaterFragment | Verdict::Refused | Verdict::NotIp => {}
            Verdict::Unknown => self.find(match layer.protocol {
                number::ESP => Rule::Esp,
                253 | 254 => Rule::Trial,
                _ => Rule::Unknown,
            }),
            Verdict::Nothing => self.find(Rule::NoNext),
            Verdict::Truncated if layer.is_first_fragment() => self.find(Rule::FirstFragment),
            Verdict::Truncated => self.find(Rule::Truncated),
            Verdict::Short => self.find(Rule::Short),
            Verdict::Length if stopped > self.row.at && stopped < self.row.end => {
                self.find(Rule::OptionLength);
            }
            Verdict::Length | Verdict::Version => self.find(Rule::Malformed),
            Verdict::Jumbo => self.find(Rule::Jumbo),
            Verdict::TooMany => self.find(Rule::Headers),
            Verdict::TooLong => self.find(Rule::HeaderBytes),
            Verdict::TooManyOptions => self.find(Rule::Options),
            Verdict::TooScattered => self.find(Rule::Scattered),
        }
        let is_fragment = layer.kinds.intersects(Kinds::FRAGMENT | Kinds::ATOMIC);
        if is_fragment && parsed.verdict != Verdict::Refused {
            self.fragment(layer);
        }
        let seen = self.policy.counts.or(self.policy.drops);
        Judgement {
            applied: self.found.and(seen),
            dropped_by: self.found.and(self.policy.drops).next(),
            parsed,
        }
    }

    /// A packet with a fragment header. Its length is known.
    #[inline(never)]
    fn fragment(&mut self, layer: &Layer) {
        if layer.kinds.contains(Kinds::ATOMIC) {
            return self.find(Rule::FragmentAtomic);
        }
        self.find(Rule::Fragment);
        let behind = u32::from(layer.fragment_at).saturating_add(8);
        let len = layer.end.saturating_sub(behind);
        let (offset, has_more) = (u32::from(layer.fragment & !7), layer.fragment & 1 != 0);
        self.find_if(len == 0, Rule::FragmentEmpty);
        self.find_if(has_more && len & 7 != 0, Rule::FragmentLength);
        // Headers in front of the fragment header are part of each fragment's payload.
        let before = u32::from(layer.fragment_at).saturating_sub(u32::from(layer.l3));
        let before = before.saturating_sub(40);
        let end = before.saturating_add(offset).saturating_add(len);
        self.find_if(end > u32::from(u16::MAX), Rule::FragmentEnd);
        let bytes = layer.end.saturating_sub(layer.l3.into());
        let least = u32::from(self.policy.bounds.fragment_bytes);
        self.find_if(has_more && bytes < least, Rule::FragmentTiny);
    }
}

impl Visit for Judge<'_> {
    const OPTIONS: bool = true;

    #[inline(never)]
    fn extension(&mut self, extension: &Extension) -> ControlFlow<()> {
        let kind = extension.kind;
        let is_fragment = kind == number::FRAGMENT;
        let bit = crate::wire::parse::extension_kind(kind).unwrap_or_default();
        let is_again = match is_fragment {
            true => self.was_fragment,
            false => self.kinds.contains(bit),
        };
        self.place(kind, is_again);
        self.was_fragment |= is_fragment;
        self.kinds |= bit;
        self.sort(extension);
        if matches!(kind, number::HOP_BY_HOP | number::DESTINATION_OPTIONS) {
            let most = usize::from(self.policy.bounds.option_bytes);
            self.find_if(most != 0 && extension.len > most, Rule::OptionBytes);
            self.row = Row {
                at: extension.at,
                end: extension.at.saturating_add(extension.len),
                ..Row::default()
            };
        }
        self.goes_on()
    }

    fn option(&mut self, option: &TypedOption) -> ControlFlow<()> {
        match option.kind {
            TypedOption::PAD1 => {
                self.row.pad1 = self.row.pad1.saturating_add(1);
                self.find_if(self.row.pad1 > MOST_PADDING, Rule::Pad1);
                self.pad(1);
            }
            TypedOption::PADN => {
                let bytes = u16::from(option.len).saturating_add(2);
                self.row.pad1 = 0;
                self.row.has_padn = true;
                self.find_if(bytes > MOST_PADDING, Rule::PadN);
                self.find_if(option.is_filled, Rule::PadContent);
                self.pad(bytes);
            }
            kind => self.other(kind),
        }
        self.goes_on()
    }
}
