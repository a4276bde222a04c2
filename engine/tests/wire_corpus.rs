// SPDX-License-Identifier: BSD-2-Clause
//! The parser against scapy: each frame of the corpus, made by it or sent by Linux, has the
//! headers that scapy finds in it (`tests/corpus/make.py` says how the files are made).

use weft_engine::wire::parse::{self, Layer, Limits, Parsed, Start, Tunnel, Verdict, Visit};
use weft_engine::wire::source::Pieces;

/// Frames of a capture: what is in a record of pcap's older format.
fn frames(capture: &[u8]) -> Vec<&[u8]> {
    let (_, mut rest) = capture.split_at(24);
    let mut frames = Vec::new();
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap());
        let (frame, behind) = behind.split_at(len as usize);
        frames.push(frame);
        rest = behind;
    }
    frames
}

/// The numbers of extension headers, those of the inner packet apart.
#[derive(Default)]
struct Kinds(Vec<(u8, usize)>);

impl Visit for Kinds {
    fn extension(&mut self, extension: &parse::Extension) -> std::ops::ControlFlow<()> {
        self.0.push((extension.kind, extension.at));
        std::ops::ControlFlow::Continue(())
    }
}

/// A layer as the corpus has it.
fn text(layer: &Layer, kinds: &Kinds) -> String {
    let version = if layer.kinds.contains(parse::Kinds::IPV4) {
        4
    } else {
        6
    };
    let inside = usize::from(layer.l3)..usize::from(layer.l4);
    let own = kinds.0.iter().filter(|(_, at)| inside.contains(at));
    let row: Vec<String> = own.map(|(kind, _)| kind.to_string()).collect();
    let row = if row.is_empty() {
        "-".to_owned()
    } else {
        row.join(",")
    };
    let Layer {
        l3,
        l4,
        protocol,
        end,
        fragment,
        ..
    } = layer;
    format!("{version}:{l3}:{l4}:{protocol}:{end}:{fragment}:{row}")
}

fn described(parsed: &Parsed, kinds: &Kinds) -> String {
    let mut all = format!("{} {:04x}", parsed.tags, parsed.ethertype);
    for layer in [&parsed.outer, &parsed.inner] {
        if !layer.kinds.is_empty() {
            all += " ";
            all += &text(layer, kinds);
        }
    }
    all
}

fn agree(capture: &[u8], expected: &str) -> usize {
    let limits = Limits {
        extensions: 20,
        ..Limits::with_tunnels()
    };
    let frames = frames(capture);
    assert_eq!(frames.len(), expected.lines().count());
    for (frame, line) in frames.iter().zip(expected.lines()) {
        let (name, expected) = line.split_once(' ').unwrap();
        for size in [1, 7, 60, usize::MAX] {
            let mut kinds = Kinds::default();
            let pieces = Pieces::new(frame.chunks(size), u16::MAX);
            let parsed = parse::visit(pieces, frame.len(), Start::Ethernet, &limits, &mut kinds);
            assert_eq!(described(&parsed, &kinds), expected, "{name}: {parsed:?}");
            // What scapy does not say: all is there, but of a first fragment that ends in
            // its headers.
            let may_end = name == "first_in_options";
            assert!(!parsed.verdict.is_fault() || may_end, "{name}: {parsed:?}");
            let is_tunnel = expected.split(' ').count() == 4;
            assert_eq!(parsed.tunnel != Tunnel::None, is_tunnel, "{name}");
            assert_eq!(
                parsed.verdict == Verdict::NotIp,
                name == "arp" || !expected.contains(':')
            );
        }
    }
    frames.len()
}

#[test]
fn frames_made_by_scapy_have_the_headers_that_it_finds() {
    let capture = include_bytes!("corpus/made.pcap");
    let count = agree(capture, include_str!("corpus/made.expected"));
    assert!(count >= 70);
}

#[test]
fn frames_sent_by_linux_have_the_headers_that_scapy_finds() {
    let capture = include_bytes!("corpus/captured.pcap");
    let count = agree(capture, include_str!("corpus/captured.expected"));
    assert!(count >= 30);
}
