// SPDX-License-Identifier: BSD-2-Clause
//! Any bytes as a frame: the parser finds what its naive counterpart finds, in one piece and
//! in many. The frame's destination, which nobody looks at, chooses limits and pieces.
//!
//! ```text
//! mkdir -p fuzz/corpus/wire_parse && python3 tests/corpus/make.py seeds fuzz/corpus/wire_parse
//! cargo fuzz run --sanitizer none wire_parse
//! ```

#![no_main]

#[path = "../../tests/wire_naive/mod.rs"]
mod wire_naive;

use libfuzzer_sys::fuzz_target;
use weft_engine::wire::parse::{self, Limits, Start};
use weft_engine::wire::source::Pieces;
use wire_naive::Seen;

fuzz_target!(|frame: &[u8]| {
    let [tags, extensions, bytes, options, kind, size] = *frame.first_chunk().unwrap_or(&[0; 6]);
    let limits = match kind & 1 {
        0 => Limits {
            options: 64,
            ..Limits::with_tunnels()
        },
        _ => Limits {
            tags: tags & 7,
            extensions: extensions & 15,
            extension_bytes: u16::from(bytes) * 3,
            options: options.into(),
            tunnels: kind & 2 != 0,
        },
    };
    let starts = [(Start::Ethernet, 0), (Start::Ipv6, 14), (Start::Ipv4, 14)];
    for (start, at) in starts {
        let bytes = frame.get(at..).unwrap_or_default();
        let (expected, expected_seen) = wire_naive::parse(bytes, start, limits);
        let mut seen = Seen::default();
        let found = parse::visit(bytes, bytes.len(), start, &limits, &mut seen);
        assert_eq!(found, expected);
        assert_eq!(seen, expected_seen);
        let mut seen = Seen::default();
        let pieces = Pieces::new(bytes.chunks(usize::from(size) + 1), u16::MAX);
        let found = parse::visit(pieces, bytes.len(), start, &limits, &mut seen);
        assert_eq!(found, expected);
        assert_eq!(seen, expected_seen);
    }
});
