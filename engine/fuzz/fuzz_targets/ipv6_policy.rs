// SPDX-License-Identifier: BSD-2-Clause
//! Any bytes as an IPv6 packet behind an Ethernet header, held against all rules: those that
//! apply do so however the packet is cut, a policy that drops drops by one of them, and no
//! other. The frame's destination chooses the bounds.
//!
//! ```text
//! mkdir -p fuzz/corpus/ipv6_policy && python3 tests/corpus/make.py seeds fuzz/corpus/ipv6_policy
//! cargo fuzz run --sanitizer none ipv6_policy
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_engine::wire::policy::{Bounds, Point, Policy, Preset, RULES, Rules, is_plain, judge};
use weft_engine::wire::source::Pieces;

fuzz_target!(|frame: &[u8]| {
    let [headers, bytes, options, kind, fragment, size] = *frame.first_chunk().unwrap_or(&[0; 6]);
    let bounds = match kind & 1 {
        0 => Bounds {
            pieces: u16::MAX,
            ..Bounds::DEFAULT
        },
        _ => Bounds {
            headers: headers & 31,
            header_bytes: u16::from(bytes) * 8,
            option_bytes: u16::from(kind),
            options,
            fragment_bytes: u16::from(fragment) * 5,
            pieces: u16::MAX,
        },
    };
    let packet = frame.get(14..).unwrap_or_default();
    let all = RULES
        .iter()
        .fold(Rules::NONE, |all, about| all.with(about.rule, true));
    let counting = Policy {
        counts: all,
        drops: Rules::NONE,
        bounds,
    };
    let found = judge(packet, packet.len(), &counting);
    assert_eq!(found.dropped_by, None);
    assert!(!is_plain(packet, packet.len()) || found.applied.is_empty());
    let pieces = Pieces::new(packet.chunks(usize::from(size) + 1), bounds.pieces);
    assert_eq!(judge(pieces, packet.len(), &counting), found);
    for preset in Preset::ALL {
        for point in Point::ALL {
            let policy = Policy {
                bounds,
                ..Policy::of(preset, point)
            };
            let judged = judge(packet, packet.len(), &policy);
            let seen = policy.counts.or(policy.drops);
            let drops = !found.applied.and(policy.drops).is_empty();
            assert_eq!(judged.dropped_by.is_some(), drops);
            assert_eq!(judged.applied.bits() & !found.applied.and(seen).bits(), 0);
            if !drops {
                assert_eq!(judged.applied, found.applied.and(seen));
            }
        }
    }
});
