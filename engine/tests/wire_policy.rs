// SPDX-License-Identifier: BSD-2-Clause
//! The rules on IPv6: each by a packet that breaks it, all of them against a naive
//! counterpart, and the table in the documentation.

mod wire_naive;

use proptest::prelude::*;
use std::fmt::Write;
use weft_engine::sim::malformed::{self, example};
use weft_engine::wire::parse::{Kinds, Limits, Start, Verdict};
use weft_engine::wire::policy::{
    Action, Bounds, Judgement, Point, Policy, Preset, RULES, Rule, Rules, is_plain, judge,
};
use weft_engine::wire::source::Pieces;

const ADDRESSES: [[u8; 16]; 2] = [
    [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
];

fn all() -> Rules {
    RULES
        .iter()
        .fold(Rules::NONE, |all, about| all.with(about.rule, true))
}

/// Judges a rule's example, which for one of them has to be in small pieces.
fn judged(rule: Rule, policy: &Policy) -> Judgement {
    let bytes = example(rule, ADDRESSES);
    match rule {
        Rule::Scattered => {
            let pieces = Pieces::new(bytes.chunks(1), policy.bounds.pieces);
            judge(pieces, bytes.len(), policy)
        }
        _ => judge(&bytes[..], bytes.len(), policy),
    }
}

fn bounds_for(rule: Rule) -> Bounds {
    Bounds {
        option_bytes: if rule == Rule::OptionBytes { 16 } else { 0 },
        ..Bounds::DEFAULT
    }
}

/// Each rule finds its example, whichever other ones are looked at, and drops it if it is
/// to.
#[test]
fn each_rule_applies_to_its_example() {
    for about in RULES {
        let (rule, bounds) = (about.rule, bounds_for(about.rule));
        let (counts, drops) = (all(), Rules::NONE);
        let found = judged(
            rule,
            &Policy {
                counts,
                drops,
                bounds,
            },
        );
        assert!(found.applied.has(rule), "{rule:?}: {found:?}");
        assert_eq!(found.dropped_by, None);
        let (counts, drops) = (Rules::NONE, Rules::only(rule));
        let found = judged(
            rule,
            &Policy {
                counts,
                drops,
                bounds,
            },
        );
        assert_eq!(found.dropped_by, Some(rule));
        assert_eq!(found.applied, Rules::only(rule));
        let (counts, drops) = (Rules::NONE, all().with(rule, false));
        let found = judged(
            rule,
            &Policy {
                counts,
                drops,
                bounds,
            },
        );
        assert!(!found.applied.has(rule));
    }
}

/// What a preset says becomes of each example is what becomes of it.
#[test]
fn presets_do_as_they_say() {
    for preset in Preset::ALL {
        for point in Point::ALL {
            for about in RULES {
                let mut policy = Policy::of(preset, point);
                policy.bounds = bounds_for(about.rule);
                let found = judged(about.rule, &policy);
                let (is_applied, dropped_by) = match preset.action(about, point) {
                    Action::Pass => (false, None),
                    Action::Count => (true, None),
                    Action::Drop => (true, Some(about.rule)),
                };
                let what = format!("{:?} at {} by {preset:?}", about.rule, point.name());
                assert_eq!(
                    found.applied.has(about.rule),
                    is_applied,
                    "{what}: {found:?}"
                );
                assert_eq!(found.dropped_by, dropped_by, "{what}");
            }
        }
    }
    assert!(Policy::of(Preset::Off, Point::Received).is_idle());
}

/// Ordinary packets break no rule that a preset drops or counts.
#[test]
fn what_is_ordinary_passes() {
    use malformed::{fragment, options, packet};
    let udp = (17, vec![1; 300]);
    let tcp = (6, [vec![0; 12], vec![0x50], vec![0; 7]].concat());
    let icmp = (58, vec![0; 24]);
    let alert = || options(0, &[5, 2, 0, 0]);
    let ordinary = [
        packet(ADDRESSES, &[tcp]),
        packet(ADDRESSES, std::slice::from_ref(&udp)),
        packet(ADDRESSES, std::slice::from_ref(&icmp)),
        // A report of MLD.
        packet(ADDRESSES, &[alert(), icmp]),
        packet(ADDRESSES, &[options(60, &[4, 1, 4]), udp.clone()]),
        packet(ADDRESSES, &[fragment(1), (17, vec![1; 1_232])]),
        packet(ADDRESSES, &[fragment(1_232), udp]),
        packet(ADDRESSES, &[(89, vec![0; 40])]),
    ];
    for preset in Preset::ALL {
        for (n, bytes) in ordinary.iter().enumerate() {
            let found = judge(
                &bytes[..],
                bytes.len(),
                &Policy::of(preset, Point::Received),
            );
            assert!(found.applied.is_empty(), "{n}: {found:?}");
        }
    }
}

/// Where a rule begins to apply.
#[test]
fn limits_are_exact() {
    use malformed::{options, packet};
    let udp = || (17, vec![1; 40]);
    let applies = |rule: Rule, bounds: Bounds, headers: &[malformed::Header]| {
        let bytes = packet(ADDRESSES, headers);
        let (counts, drops) = (all(), Rules::NONE);
        let policy = Policy {
            counts,
            drops,
            bounds,
        };
        judge(&bytes[..], bytes.len(), &policy).applied.has(rule)
    };
    let bounds = Bounds::DEFAULT;
    for count in [7, 8] {
        // Fourteen bytes: with the two of the header, two units.
        let row = [vec![0; count], vec![5, 2, 0, 0], vec![0; 10 - count]].concat();
        let is = applies(Rule::Pad1, bounds, &[options(60, &row), udp()]);
        assert_eq!(is, count == 8, "{count} Pad1");
    }
    for len in [5, 6] {
        let row = [vec![1, len], vec![0; len.into()], vec![5, 2, 0, 0]].concat();
        let is = applies(Rule::PadN, bounds, &[options(60, &row), udp()]);
        assert_eq!(is, len == 6, "PadN of {} bytes", len + 2);
    }
    // What was deprecated, and RPL's number that replaced one of it.
    for (kind, is_old) in [(0x8a, true), (0x4d, true), (0x63, true), (0x23, false)] {
        let header = options(60, &[kind, 2, 0, 0]);
        let is = applies(Rule::OldOption, bounds, &[header, udp()]);
        assert_eq!(is, is_old, "an option of type {kind:#x}");
    }
    for most in [2, 3] {
        let bounds = Bounds {
            options: most,
            ..bounds
        };
        let row = [4, 1, 9].repeat(3);
        assert_eq!(
            applies(Rule::Options, bounds, &[options(60, &row), udp()]),
            most < 3
        );
    }
    for headers in [1, 2] {
        let bounds = Bounds { headers, ..bounds };
        let row = [options(0, &[]), options(60, &[]), udp()];
        assert_eq!(applies(Rule::Headers, bounds, &row), headers < 2);
    }
    for header_bytes in [15, 16] {
        let bounds = Bounds {
            header_bytes,
            ..bounds
        };
        let row = [options(0, &[]), options(60, &[]), udp()];
        assert_eq!(applies(Rule::HeaderBytes, bounds, &row), header_bytes < 16);
    }
    // A fragment of 88 bytes, IPv6 header included.
    for fragment_bytes in [88, 89] {
        let bounds = Bounds {
            fragment_bytes,
            ..bounds
        };
        let row = [malformed::fragment(1), udp()];
        assert_eq!(
            applies(Rule::FragmentTiny, bounds, &row),
            fragment_bytes == 89
        );
    }
    for (len, is_beyond) in [(7, false), (8, true)] {
        let row = [malformed::fragment(0xfff8), (17, vec![1; len])];
        assert_eq!(applies(Rule::FragmentEnd, bounds, &row), is_beyond);
    }
}

/// All rules by what the naive parser lists, each as its text has it.
fn naive(bytes: &[u8], bounds: &Bounds) -> Option<Vec<Rule>> {
    let limits = Limits {
        tags: 0,
        extensions: bounds.headers,
        extension_bytes: bounds.header_bytes,
        options: 128,
        tunnels: false,
    };
    let (parsed, seen) = wire_naive::parse(bytes, Start::Ipv6, limits);
    let layer = &parsed.outer;
    let mut found = Vec::new();
    let kinds: Vec<u8> = seen.extensions.iter().map(|seen| seen.kind).collect();
    let count = |kind: u8| kinds.iter().filter(|&&seen| seen == kind).count();
    for (kind, rule) in [
        (0, Rule::HopByHop),
        (60, Rule::DestinationOptions),
        (51, Rule::Authentication),
        (135, Rule::Mobility),
        (139, Rule::Hip),
        (140, Rule::Shim6),
    ] {
        if count(kind) > 0 {
            found.push(rule);
        }
    }
    let most = |kind: u8| if kind == 60 { 2 } else { 1 };
    if kinds.iter().any(|&kind| count(kind) > most(kind)) {
        found.push(Rule::Repeated);
    }
    if kinds.iter().skip(1).any(|&kind| kind == 0) {
        found.push(Rule::HopByHopPlace);
    }
    for seen in seen.extensions.iter().filter(|seen| seen.kind == 43) {
        found.push(match seen.head[2] {
            0 => Rule::Routing0,
            1 => Rule::Routing1,
            2 => Rule::Routing2,
            3 => Rule::Routing3,
            4 => Rule::Routing4,
            _ => Rule::RoutingOther,
        });
    }
    for header in seen
        .extensions
        .iter()
        .filter(|seen| [0, 60].contains(&seen.kind))
    {
        if bounds.option_bytes != 0 && header.len > bounds.option_bytes.into() {
            found.push(Rule::OptionBytes);
        }
        let inside = header.at..header.at + header.len;
        let options: Vec<_> = seen
            .options
            .iter()
            .filter(|seen| inside.contains(&seen.at))
            .collect();
        let plain = options.iter().filter(|option| option.kind > 1).count();
        if plain > bounds.options.into() {
            found.push(Rule::Options);
        }
        for row in options.split(|option| option.kind > 1) {
            let bytes = |kind: u8, len: u8| if kind == 0 { 1 } else { usize::from(len) + 2 };
            let total: usize = row.iter().map(|pad| bytes(pad.kind, pad.len)).sum();
            let ones = row.split(|pad| pad.kind == 1).map(<[_]>::len).max();
            if ones.unwrap_or(0) > 7 {
                found.push(Rule::Pad1);
            }
            if row.len() > 1 && total > 7 && row.iter().any(|pad| pad.kind == 1) {
                found.push(Rule::PadRow);
            }
            if row.iter().any(|pad| pad.kind == 1 && pad.len > 5) {
                found.push(Rule::PadN);
            }
            if row.iter().any(|pad| pad.is_filled) {
                found.push(Rule::PadContent);
            }
        }
    }
    let in_options = seen.extensions.last().is_some_and(|last| {
        let stopped = usize::from(parsed.stopped);
        [0, 60].contains(&last.kind) && stopped > last.at && stopped < last.at + last.len
    });
    match parsed.verdict {
        Verdict::Truncated if layer.is_first_fragment() => found.push(Rule::FirstFragment),
        Verdict::Truncated => found.push(Rule::Truncated),
        Verdict::Short => found.push(Rule::Short),
        Verdict::Length if in_options => found.push(Rule::OptionLength),
        Verdict::Length | Verdict::Version => found.push(Rule::Malformed),
        Verdict::Jumbo => found.push(Rule::Jumbo),
        Verdict::TooMany => found.push(Rule::Headers),
        Verdict::TooLong => found.push(Rule::HeaderBytes),
        Verdict::TooManyOptions => found.push(Rule::Options),
        Verdict::Nothing => found.push(Rule::NoNext),
        Verdict::Unknown if layer.protocol == 50 => found.push(Rule::Esp),
        Verdict::Unknown if matches!(layer.protocol, 253 | 254) => found.push(Rule::Trial),
        Verdict::Unknown => found.push(Rule::Unknown),
        _ => {}
    }
    if layer.kinds.contains(Kinds::ATOMIC) && !layer.kinds.contains(Kinds::FRAGMENT) {
        found.push(Rule::FragmentAtomic);
    }
    if layer.kinds.contains(Kinds::FRAGMENT) {
        found.push(Rule::Fragment);
        let at = usize::from(layer.fragment_at);
        let payload = layer.end as usize - at - 8;
        let (offset, more) = (usize::from(layer.fragment / 8 * 8), layer.fragment % 2 == 1);
        if payload == 0 {
            found.push(Rule::FragmentEmpty);
        }
        if more && !payload.is_multiple_of(8) {
            found.push(Rule::FragmentLength);
        }
        if at - 40 + offset + payload > 65_535 {
            found.push(Rule::FragmentEnd);
        }
        if more && layer.end < bounds.fragment_bytes.into() {
            found.push(Rule::FragmentTiny);
        }
    }
    Some(found)
}

/// Rules about what options mean and in what order headers come, which the naive one
/// leaves out.
const APART: [Rule; 7] = [
    Rule::Order,
    Rule::UnknownOption,
    Rule::RouterAlert,
    Rule::JumboOption,
    Rule::OldOption,
    Rule::TrialOption,
    Rule::Scattered,
];

/// Packets of headers in a row, most of which are right.
fn packets() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        Just(vec![0]),
        (0u8..7).prop_map(|len| [vec![1, len], vec![0; len.into()]].concat()),
        (2u8.., 0u8..5).prop_map(|(kind, len)| [vec![kind, len], vec![9; len.into()]].concat()),
        Just(vec![1, 2, 0, 1]),
        Just(vec![1]),
    ];
    let row = prop::collection::vec(option, 0..14).prop_map(|row| row.concat());
    let of_options = (prop::sample::select(vec![0u8, 60]), row)
        .prop_map(|(kind, row)| malformed::options(kind, &row));
    let field = prop::sample::select(vec![0u16, 1, 8, 9, 0xfff8, 0xfff9, 6]);
    let other = (
        prop::sample::select(vec![43u8, 135, 139, 140, 51]),
        0u8..6,
        prop::sample::select(vec![1u8, 1, 2, 0]),
    )
        .prop_map(|(kind, of_type, units)| {
            let len = if kind == 51 {
                8 + 4 * usize::from(units)
            } else {
                8 + 8 * usize::from(units)
            };
            let mut bytes = vec![0; len];
            (bytes[1], bytes[2]) = (units, of_type);
            (kind, bytes)
        });
    let header = prop_oneof![of_options, field.prop_map(malformed::fragment), other];
    let last = (
        prop::sample::select(vec![6u8, 17, 58, 59, 50, 89, 253]),
        prop::collection::vec(any::<u8>(), 0..50),
    );
    let faults = prop::sample::select(vec![0u8, 0, 0, 1, 2]);
    (
        prop::collection::vec(header, 0..8),
        last,
        faults,
        any::<(u16, u8)>(),
    )
        .prop_map(|(mut headers, last, fault, (place, byte))| {
            headers.push(last);
            let mut bytes = malformed::packet(ADDRESSES, &headers);
            let place = usize::from(place) % bytes.len();
            match fault {
                1 => bytes[place] = byte,
                2 => bytes.truncate(place),
                _ => {}
            }
            bytes
        })
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (
        0u8..9,
        0u16..200,
        0u16..60,
        0u8..10,
        0u16..200,
        any::<bool>(),
    )
        .prop_map(
            |(headers, header_bytes, option_bytes, options, fragment_bytes, is_default)| {
                match is_default {
                    true => Bounds::DEFAULT,
                    false => Bounds {
                        headers,
                        header_bytes,
                        option_bytes,
                        options,
                        fragment_bytes,
                        pieces: 64,
                    },
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    #[test]
    fn finds_what_the_naive_judge_finds(bytes in packets(), bounds in bounds()) {
        let apart = APART.into_iter().fold(Rules::NONE, |all, rule| all.with(rule, true));
        let naive = naive(&bytes, &bounds).unwrap_or_default();
        let expected = naive.into_iter().fold(Rules::NONE, |all, rule| all.with(rule, true));
        let (counts, drops) = (all(), Rules::NONE);
        let policy = Policy { counts, drops, bounds };
        let found = judge(&bytes[..], bytes.len(), &policy);
        let plain = Rules::of_bits(found.applied.bits() & !apart.bits());
        prop_assert_eq!(
            plain.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{:?}", found
        );
        // Whoever drops drops the same packets, and none by a rule that does not apply.
        let policy = Policy { counts: Rules::NONE, drops: policy.counts, bounds };
        let dropped = judge(&bytes[..], bytes.len(), &policy);
        prop_assert_eq!(dropped.dropped_by.is_some(), !found.applied.is_empty());
        prop_assert_eq!(dropped.applied.bits() & !found.applied.bits(), 0);
    }

    /// No rule applies to what is plain, and ordinary packets are.
    #[test]
    fn what_is_plain_breaks_no_rule(
        bytes in packets(),
        last in prop::sample::select(vec![6u8, 17, 58, 60]),
        lie in prop::sample::select(vec![0u8, 0, 0, 1, 20]),
        payload in prop::collection::vec(any::<u8>(), 0..60),
        offset in 0u8..16,
        cut in 0usize..120,
    ) {
        let mut payload = payload;
        if let Some(place) = payload.get_mut(12) {
            *place = offset << 4;
        }
        let mut plain = malformed::packet(ADDRESSES, &[(last, payload.clone())]);
        plain[5] = plain[5].wrapping_add(lie);
        let (counts, drops) = (all(), Rules::NONE);
        let policy = Policy { counts, drops, bounds: Bounds::DEFAULT };
        for bytes in [&bytes, &plain] {
            let front = &bytes[..cut.min(bytes.len())];
            if is_plain(front, bytes.len()) {
                let found = judge(&bytes[..], bytes.len(), &policy);
                prop_assert!(found.applied.is_empty(), "{:?}", found);
            }
        }
        let is_ordinary = lie == 0 && match last {
            6 => payload.len() >= 20 && offset >= 5 && usize::from(offset) * 4 <= payload.len(),
            17 | 58 => payload.len() >= 8,
            _ => false,
        };
        prop_assert_eq!(is_plain(&plain, plain.len()), is_ordinary);
    }

    /// It does not matter in what pieces a packet is.
    #[test]
    fn pieces_are_judged_as_the_whole(bytes in packets(), size in 1usize..50) {
        let mut policy = Policy::of(Preset::Host, Point::Received);
        policy.bounds.pieces = u16::MAX;
        let whole = judge(&bytes[..], bytes.len(), &policy);
        let pieces = Pieces::new(bytes.chunks(size), policy.bounds.pieces);
        prop_assert_eq!(judge(pieces, bytes.len(), &policy), whole);
    }
}

/// `docs/ipv6-policy.md` has each rule, as it is declared.
#[test]
fn the_documentation_has_each_rule() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ipv6-policy.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut table = String::new();
    for about in RULES {
        let text = about.about.to_str().unwrap();
        let (source, what) = text.split_once(": ").unwrap();
        let action = |action: Action| match action {
            Action::Pass => "pass",
            Action::Count => "count",
            Action::Drop => "drop",
        };
        let [host, router] = [about.host, about.router].map(|actions| {
            let [received, transit] = actions.map(action);
            match received == transit {
                true => received.to_owned(),
                false => format!("{received}, {transit}"),
            }
        });
        let name = about.name.to_str().unwrap();
        // In one frame no packet is scattered.
        let tested = match about.rule {
            Rule::Scattered => "host",
            _ => "guest, host",
        };
        writeln!(
            table,
            "| `{name}` | {source} | {what} | {host} | {router} | {tested} |"
        )
        .unwrap();
    }
    assert!(page.contains(&table), "the table should be:\n{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/weft_ipv6.4");
    let manual = std::fs::read_to_string(path).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let manual = words(&manual);
    for about in RULES {
        let [name, text] = [about.name, about.about].map(|text| text.to_str().unwrap());
        let entry = words(&format!(".It Cm {name} {text}."));
        assert!(manual.contains(&entry), "the manual page lacks: {entry}");
    }
}
