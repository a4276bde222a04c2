// SPDX-License-Identifier: BSD-2-Clause
//! Segmentation, aggregation and checksums against references that do each in the plainest
//! way: five seconds of random steps in all, or as many as `WEFT_OFFLOAD_SECONDS` says.

#[path = "wire_frames/mod.rs"]
mod wire_frames;
#[path = "wire_steps/mod.rs"]
mod wire_steps;

use std::time::{Duration, Instant};
use weft_engine::wire::aggregate::{Aggregator, Scope};
use wire_steps::Compared;

/// Runs a test with random bytes for a fifth of the time, and says what was compared.
fn run(name: &str, step: impl Fn(&mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Compared>) {
    let seconds = std::env::var("WEFT_OFFLOAD_SECONDS").map_or(5, |s| s.parse().unwrap());
    let until = Instant::now() + Duration::from_millis(seconds * 1000 / 5);
    let mut all = Compared::default();
    let (mut runs, mut seed) = (0u64, 0x5eed_0000_0000_0001u64);
    let mut bytes = vec![0u8; 4096];
    while Instant::now() < until {
        for word in bytes.chunks_mut(8) {
            // xorshift64
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            word.copy_from_slice(&seed.to_le_bytes());
        }
        let compared = step(&mut arbitrary::Unstructured::new(&bytes));
        let Ok(more) = compared else { continue };
        runs += 1;
        all.cut += more.cut;
        all.joined += more.joined;
        all.passed += more.passed;
        all.sums += more.sums;
    }
    println!("{name}: {runs} runs, {all:?}");
    assert!(runs > 20, "{name}: only {runs} runs");
}

#[test]
fn cut_frames_are_those_made_by_themselves_and_join_again() {
    run("segment", wire_steps::segment);
}

#[test]
fn joined_frames_are_cut_into_what_came() {
    run("aggregate", wire_steps::aggregate);
}

/// The front that is looked at ends inside of VXLAN's header: what is in the tunnel is of one
/// flow nevertheless, whatever the outer port.
#[test]
fn a_tunnel_beyond_what_is_looked_at_keeps_its_order() {
    use wire_frames::{Carrier, Network, Piece, Shape, Sums, Transport};
    let long = || Network::V6 {
        extensions: vec![4, 4, 4],
    };
    let shape = Shape {
        tags: vec![1, 2],
        outer: Some((long(), Carrier::Vxlan { summed: false })),
        network: long(),
        transport: Transport::Udp { summed: false },
        flow: 1,
    };
    let frame = shape.frame(&[7; 100], Piece::all(Sums::Whole));
    let mut other = frame.clone();
    // The outer source port.
    other[22 + 40 + 120] ^= 1;
    let sent = [&frame, &other, &frame].map(Vec::clone);
    let mut out = Vec::new();
    let mut give = |frame: wire_frames::Scattered, _| out.push(frame.bytes());
    let mut aggregator = Aggregator::<_, 4>::new(8, Scope::Any);
    for bytes in &sent {
        let frame = wire_frames::Scattered {
            pieces: vec![bytes.clone()],
            is_checked: false,
            refuses: false,
        };
        aggregator.push(frame, &mut give);
    }
    aggregator.flush(&mut give);
    assert_eq!(out, sent);
}

/// Frames that can be cut, with bits turned over and ends cut off.
#[test]
fn no_bytes_make_it_panic() {
    run("any", |u| {
        let shape = wire_frames::Shape::any(u)?;
        let piece = wire_frames::Piece::all(wire_frames::Sums::Whole);
        let mut bytes = vec![u.arbitrary()?, u.int_in_range(0..=3)?];
        bytes.extend(shape.frame(&[7; 300], piece));
        for _ in 0..u.int_in_range(0..=4)? {
            let at = u.int_in_range(2..=bytes.len() - 1)?;
            bytes[at] ^= 1 << u.int_in_range(0..=7)?;
        }
        bytes.truncate(u.int_in_range(2..=bytes.len())?.max(60));
        wire_steps::any(&bytes);
        Ok(Compared::default())
    });
}

#[test]
fn any_request_goes_to_any_device() {
    run("offload", wire_steps::offload);
}

#[test]
fn sums_are_those_of_a_byte_at_a_time() {
    run("complete", wire_steps::complete);
}

/// Found by the fuzzer: with another coverage, UDP-Lite's sum is right as well.
#[test]
fn another_coverage_may_have_the_same_sum() {
    let bytes = [
        &[0x08, 0x0e][..],
        &[0xff; 12],
        &[0xef],
        &[0xff; 21],
        &[0; 3],
        &[0x11; 44],
        &[0; 7],
        &[0xff, 0xff, 0x03, 0x0a],
    ];
    let bytes = bytes.concat();
    assert!(wire_steps::complete(&mut arbitrary::Unstructured::new(&bytes)).is_ok());
}

/// Who sends a tunnel's packet leaves the outer sum to the device, and has made the inner one.
#[test]
fn the_outer_sum_is_made_if_that_is_asked_for() {
    use weft_engine::wire::crc32c::Method;
    use weft_engine::wire::offload::{Request, Steps, carry_out};
    use wire_frames::{Carrier, Network, Piece, Scattered, Shape, Sums, Transport};
    let shape = |summed| Shape {
        tags: vec![3],
        outer: Some((
            Network::V6 { extensions: vec![] },
            Carrier::Vxlan { summed: true },
        )),
        network: Network::V6 {
            extensions: vec![1],
        },
        transport: Transport::Udp { summed },
        flow: 1,
    };
    let whole = shape(true).frame(&[7; 99], Piece::all(Sums::Whole));
    let mut asked = whole.clone();
    // What the outer UDP header has until it is summed.
    let pseudo = shape(true).frame(&[7; 99], Piece::all(Sums::Pseudo));
    let field = 18 + 40 + 6..18 + 40 + 8;
    asked[field.clone()].copy_from_slice(&pseudo[field]);
    let mut out = Vec::new();
    let frame = Scattered {
        pieces: vec![asked],
        is_checked: false,
        refuses: false,
    };
    let request = Request::default();
    let method = Method::TABLES;
    let done = carry_out(frame, Steps::FILL_L4, &request, method, &mut |frame| {
        out.push(frame.bytes());
    });
    assert_eq!((done, out), (Ok(()), vec![whole]));
}
