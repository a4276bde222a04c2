// SPDX-License-Identifier: BSD-2-Clause
//! What is done with frames, and what must come of it; chosen by `arbitrary`.

#![allow(dead_code)]

use super::wire_frames::{Piece, Scattered, Shape, Sums, Transport, naive_crc, naive_sum};
use arbitrary::{Result, Unstructured};
use std::collections::HashMap;
use weft_engine::link::Capabilities;
use weft_engine::packet::{Flags, Meta, Segmentation};
use weft_engine::wire::aggregate::{Aggregator, Joined, Scope};
use weft_engine::wire::complete::{self, Covered, Found};
use weft_engine::wire::crc32c::Method;
use weft_engine::wire::offload::{Request, Steps, carry_out};
use weft_engine::wire::parse::{Kinds, Limits, Parsed, Start, Tunnel, parse};
use weft_engine::wire::segment::{Cut, Kind};

pub(crate) fn parsed(frame: &[u8]) -> Parsed {
    parse(frame, frame.len(), Start::Ethernet, &Limits::with_tunnels())
}

/// The frames that a cut makes, with whole sums.
pub(crate) fn cut(frame: &[u8], cut: &Cut) -> Vec<Vec<u8>> {
    let part = |n| {
        let mut part = frame[..cut.headers()].to_vec();
        let payload = &frame[cut.payload(n)];
        cut.write(n, &mut part);
        cut.fill(&mut part, complete::sum(payload, 0..payload.len()));
        part.extend(payload);
        part
    };
    (0..cut.count()).map(part).collect()
}

/// A payload, not too many times as long as the size.
fn payload(u: &mut Unstructured<'_>, most: usize) -> Result<(Vec<u8>, usize)> {
    let size = u.int_in_range(1..=1460)?;
    let len = u.int_in_range(1..=(size * 40).min(most))?;
    let there = u.len().min(len).min(64);
    let fill = u.bytes(there)?.to_vec();
    let seed: u8 = u.arbitrary()?;
    let byte = |at: usize| {
        let other = fill.get(at % fill.len().max(1)).copied().unwrap_or(0xff);
        other.wrapping_add(((at / 64) as u8).wrapping_mul(seed))
    };
    Ok(((0..len).map(byte).collect(), size))
}

/// How many frames were compared with the reference.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct Compared {
    pub(crate) cut: usize,
    pub(crate) joined: usize,
    pub(crate) passed: usize,
    pub(crate) sums: usize,
}

/// A long frame is cut: each part is the frame that is made by itself. Then the parts are
/// joined: what comes out is the long frame.
pub(crate) fn segment(u: &mut Unstructured<'_>) -> Result<Compared> {
    let shape = Shape::any(u)?;
    let most = 65_535 - shape.headers();
    let (payload, size) = payload(u, most)?;
    // What is longer than a datagram can be is left to larger parts.
    let long = shape.frame(&payload, Piece::all(Sums::Pseudo));
    let found = parsed(&long);
    let mut how = Cut::of_parsed(&found, &long, size).expect("it can be cut");
    let fixed = |network: &super::wire_frames::Network| match network {
        super::wire_frames::Network::V4 { fixed: true, .. } => {
            weft_engine::wire::segment::Identification::Fixed
        }
        _ => Default::default(),
    };
    let outer = shape.outer.as_ref();
    let outer = outer.map_or(Default::default(), |(network, _)| fixed(network));
    how = how.identified(fixed(&shape.network), outer);
    let parts = cut(&long, &how);
    let expected = shape.frames(&payload, size, Sums::Whole);
    assert_eq!(parts.len(), expected.len());
    for (n, (part, expected)) in parts.iter().zip(&expected).enumerate() {
        assert_eq!(part, expected, "part {n} of {shape:?} by {size}");
    }
    let mut compared = Compared {
        cut: parts.len(),
        ..Default::default()
    };
    if can_be_joined(&shape, &parts) {
        let mut out = Vec::new();
        let mut give = |frame: Scattered, joined: Option<Joined>| out.push((frame, joined));
        let mut aggregator = Aggregator::<Scattered, 2>::new(u16::MAX, Scope::Any);
        for part in &parts {
            let mut frame = Scattered::any(part, u)?;
            (frame.refuses, frame.is_checked) = (false, u.arbitrary()?);
            aggregator.push(frame, &mut give);
        }
        aggregator.flush(&mut give);
        assert_eq!(out.len(), 1, "{shape:?} by {size}");
        assert_eq!(out[0].0.bytes(), long, "{shape:?} by {size}");
        let joined = out[0].1.expect("it was joined");
        assert_eq!(usize::from(joined.count), parts.len());
        assert_eq!(joined.cut.count(), parts.len());
        compared.joined = parts.len();
    }
    Ok(compared)
}

/// Whether the parts are such that all of them are joined again.
fn can_be_joined(shape: &Shape, parts: &[Vec<u8>]) -> bool {
    let is_ordinary = match shape.transport {
        Transport::Tcp { flags, .. } => flags & 0x36 == 0x10,
        Transport::Udp { .. } => true,
    };
    is_ordinary && parts.len() > 1 && shape.headers() + 8 <= 192
}

/// Frames of some flows, changed here and there: what comes out, cut again where it was
/// joined, is what went in, each flow in its order.
pub(crate) fn aggregate(u: &mut Unstructured<'_>) -> Result<Compared> {
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for flow in 0..u.int_in_range(1..=4u8)? {
        let mut shape = Shape::any(u)?;
        shape.flow = flow;
        if let Transport::Tcp { flags, .. } = &mut shape.transport
            && u.ratio(7, 8)?
        {
            *flags = 0x10 | (*flags & 0x89);
        }
        let (payload, size) = payload(u, 20_000)?;
        for mut frame in shape.frames(&payload, size.max(payload.len() / 20 + 1), Sums::Whole) {
            frame[5] = flow;
            if u.ratio(1, 12)? {
                change(&mut frame, u)?;
            }
            // Somewhere behind what is there of the same flow, which Ethernet's address tells.
            let least = sent.iter().rposition(|other| other[5] == flow);
            let place = u.int_in_range(least.map_or(0, |at| at + 1)..=sent.len())?;
            sent.insert(place, frame);
        }
    }
    let scope = *u.choose(&[Scope::Any, Scope::Any, Scope::Tcp])?;
    let mut out = Vec::new();
    let mut compared = Compared::default();
    let mut give = |frame: Scattered, joined: Option<Joined>| {
        let bytes = frame.bytes();
        match joined {
            None => {
                compared.passed += 1;
                out.push(bytes);
            }
            Some(joined) => {
                let parts = cut(&bytes, &joined.cut);
                let tunnel = parsed(&bytes).tunnel;
                let is_tcp = tunnel == Tunnel::None && joined.cut.kind() == Kind::Tcp;
                assert!(scope == Scope::Any || is_tcp);
                assert_eq!(parts.len(), usize::from(joined.count));
                assert!(parts.len() > 1);
                compared.joined += parts.len();
                out.extend(parts);
            }
        }
    };
    let mut aggregator = Aggregator::<Scattered, 3>::new(u.int_in_range(1..=64)?, scope);
    for frame in &sent {
        let mut scattered = Scattered::any(frame, u)?;
        scattered.is_checked = u.arbitrary()? && is_right(frame);
        aggregator.push(scattered, &mut give);
        if u.ratio(1, 16)? {
            aggregator.flush(&mut give);
        }
    }
    aggregator.flush(&mut give);
    let by_flow = |frames: &[Vec<u8>]| {
        let mut flows: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        for frame in frames {
            flows.entry(flow_of(frame)).or_default().push(frame.clone());
        }
        flows
    };
    let (sent, mut out) = (by_flow(&sent), by_flow(&out));
    for (flow, frames) in sent {
        assert_eq!(Some(frames), out.remove(&flow), "{flow:?}");
    }
    assert!(out.is_empty(), "{:?}", out.keys());
    Ok(compared)
}

/// The flow of a frame, whatever was changed: addresses and ports of the innermost packet;
/// nothing for what has none.
fn flow_of(frame: &[u8]) -> Vec<u8> {
    let found = parsed(frame);
    let layer = found.innermost();
    let (l3, l4) = (usize::from(layer.l3), usize::from(layer.l4));
    if !found.is_whole() {
        return Vec::new();
    }
    let addresses = match layer.kinds.contains(Kinds::IPV6) {
        true => l3 + 8..l3 + 40,
        false => l3 + 12..l3 + 20,
    };
    [&frame[addresses], &frame[l4..l4 + 4], &[layer.protocol]].concat()
}

fn change(frame: &mut Vec<u8>, u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=2)? {
        0 => frame.extend(vec![0; u.int_in_range(1..=9)?]),
        _ => {
            let at = u.int_in_range(6..=frame.len().min(120) - 1)?;
            frame[at] ^= 1 << u.int_in_range(0..=7)?;
        }
    }
    Ok(())
}

/// Whether the sum of layer 4 is right, as a card would say.
fn is_right(frame: &[u8]) -> bool {
    let found = parsed(frame);
    let layer = found.innermost();
    let Some(covered) = Covered::of(layer, frame) else {
        return false;
    };
    found.is_whole() && covered.check(layer, frame, frame, Method::TABLES) == Found::Right
}

/// Checksums are made whole, and found right or wrong, as a sum byte by byte is.
pub(crate) fn complete(u: &mut Unstructured<'_>) -> Result<Compared> {
    let is_v6: bool = u.arbitrary()?;
    let protocol = *u.choose(&[6u8, 17, 136, 1, 58, 132])?;
    let header = match protocol {
        6 => 20,
        132 => 12,
        _ => 8,
    };
    let len = u.int_in_range(0..=u.len().min(1600))?;
    let mut layer4 = u.bytes(len.min(u.len()))?.to_vec();
    if layer4.len() < header {
        layer4.resize(header, 7);
    }
    let len = layer4.len();
    let mut coverage = len;
    match protocol {
        6 => layer4[12] = 0x50,
        17 => layer4[4..6].copy_from_slice(&(len as u16).to_be_bytes()),
        136 => {
            coverage = u.int_in_range(8..=len)?;
            let field = if coverage == len && u.arbitrary()? {
                0
            } else {
                coverage as u16
            };
            layer4[4..6].copy_from_slice(&field.to_be_bytes());
        }
        _ => (),
    }
    let there = if is_v6 { 32 } else { 8 }.min(u.len());
    let addresses = u.bytes(there)?.to_vec();
    let addresses = [addresses, vec![9; 32]].concat()[..if is_v6 { 32 } else { 8 }].to_vec();
    let mut frame = vec![2; 12];
    match is_v6 {
        true => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((len as u16).to_be_bytes());
            frame.extend([protocol, 64]);
        }
        false => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((20 + len as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        }
    }
    frame.extend(&addresses);
    let at = frame.len();
    let field = match protocol {
        6 => 16,
        17 | 136 => 6,
        132 => 8,
        _ => 2,
    };
    let pseudo = match protocol {
        1 => vec![],
        _ => [
            &addresses[..],
            &(len as u32).to_be_bytes(),
            &[0, 0, 0, protocol],
        ]
        .concat(),
    };
    let width = if protocol == 132 { 4 } else { 2 };
    layer4[field..field + width].fill(0);
    let expected = match protocol {
        132 => naive_crc(&layer4).to_le_bytes().to_vec(),
        _ => {
            let sum = !naive_sum(&[&pseudo[..], &layer4[..coverage]].concat());
            let sum = if protocol == 17 && sum == 0 {
                0xffff
            } else {
                sum
            };
            sum.to_be_bytes().to_vec()
        }
    };
    if protocol != 132 {
        let sum = naive_sum(&pseudo);
        layer4[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame.extend(layer4);
    // Ethernet's padding is not covered.
    frame.extend(vec![0xee; u.int_in_range(0..=9)?]);
    let found = parse(
        &frame[..],
        frame.len(),
        Start::Ethernet,
        &Limits::of_front(),
    );
    let layer = &found.outer;
    let covered = Covered::of(layer, &frame).expect("it has a checksum");
    let scattered = Scattered::any(&frame, u)?;
    let mut whole = frame.clone();
    for method in [Method::TABLES, Method::of_this_processor()] {
        let made = covered.complete(&scattered, method);
        assert_eq!(
            (made.at, made.bytes()),
            (at + field, &expected[..]),
            "{protocol}"
        );
        made.put(&mut whole);
        let scattered = Scattered::any(&whole, u)?;
        assert_eq!(
            covered.check(layer, &whole, &scattered, method),
            Found::Right,
            "{protocol}"
        );
        let mut wrong = whole.clone();
        let place = u.int_in_range(0..=coverage - 1)?;
        wrong[at + place] ^= 0x10;
        if let Some(covered) = Covered::of(layer, &wrong) {
            let scattered = Scattered::any(&wrong, u)?;
            let found = covered.check(layer, &wrong, &scattered, method);
            // Another coverage of UDP-Lite is another sum, which may be right by chance.
            let is_right = protocol == 136 && matches!(place, 4 | 5) && {
                let layer4 = &wrong[at..at + len];
                let covered = match usize::from(u16::from_be_bytes([layer4[4], layer4[5]])) {
                    0 => len,
                    covered => covered,
                };
                let covered = layer4.get(..covered).unwrap_or_default();
                covered.len() >= 8 && naive_sum(&[&pseudo[..], covered].concat()) == 0xffff
            };
            assert_eq!(found == Found::Right, is_right, "{protocol} {place}");
        }
    }
    Ok(Compared {
        sums: 6,
        ..Default::default()
    })
}

/// Any bytes as a frame, the first two being the size of its parts.
pub(crate) fn any(bytes: &[u8]) {
    let Some((size, frame)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let size = usize::from(u16::from_le_bytes(*size));
    let mut outs = 0;
    let mut aggregator = Aggregator::<Scattered, 2>::new(9, Scope::Any);
    for _ in 0..3 {
        let frame = Scattered {
            pieces: vec![frame.to_vec()],
            is_checked: size % 2 == 1,
            refuses: false,
        };
        aggregator.push(frame, &mut |_, joined| {
            outs += joined.map_or(1, |j| j.count)
        });
    }
    aggregator.flush(&mut |_, joined| outs += joined.map_or(1, |j| j.count));
    assert_eq!(outs, 3);
    if let Some(cut) = Cut::of(frame, frame.len(), size) {
        check_cut(frame, &cut);
    }
    let found = parsed(frame);
    if let Ok(cut) = Cut::of_parsed(&found, frame, size) {
        check_cut(frame, &cut);
    }
    for layer in [&found.outer, &found.inner] {
        if let Some(covered) = Covered::of(layer, frame) {
            let _ = covered.check(layer, frame, frame, Method::TABLES);
            let field = covered.complete(frame, Method::TABLES);
            field.put(&mut frame.to_vec());
        }
    }
    let mut copy = frame.to_vec();
    let _ = weft_engine::wire::vlan::strip(&mut copy);
    let _ = weft_engine::wire::vlan::insert(&mut copy, 0x8100, 7);
}

fn check_cut(frame: &[u8], how: &Cut) {
    assert!(how.headers() <= frame.len() && how.size() > 0);
    let mut at = how.headers();
    for n in 0..how.count() {
        let part = how.payload(n);
        assert!(part.start == at && !part.is_empty() && part.end <= frame.len());
        at = part.end;
    }
    assert!(how.payload(how.count()).is_empty());
    assert!(how.destination(frame).is_some());
    // The first, one in the middle, and the last: any other is as they are.
    for n in [0, how.count() / 2, how.count() - 1] {
        let mut part = frame[..how.headers()].to_vec();
        how.write(n, &mut part);
        let payload = &frame[how.payload(n)];
        how.fill(&mut part, complete::sum(payload, 0..payload.len()));
    }
}

/// A frame with any request goes to a device with any capabilities: what reaches it are the
/// frames that are made by themselves, but for what the device does.
pub(crate) fn offload(u: &mut Unstructured<'_>) -> Result<Compared> {
    let mut shape = Shape::any(u)?;
    shape.tags.clear();
    if shape.headers() > 250 {
        return Ok(Compared::default());
    }
    let (payload, size) = payload(u, 20_000)?;
    let is_v6 = matches!(shape.network, super::wire_frames::Network::V6 { .. });
    let is_tcp = matches!(shape.transport, Transport::Tcp { .. });
    let has = Capabilities::from_bits_truncate(u.arbitrary()?).consistent();
    let (is_cut, is_tagged, tag): (bool, bool, u16) = u.arbitrary()?;
    let mut meta = Meta {
        protocol: if is_tcp { 6 } else { 17 },
        segmentation: match (is_cut, is_tcp, is_v6) {
            (false, ..) => Segmentation::None,
            (_, false, _) => Segmentation::Udp,
            (_, _, true) => Segmentation::TcpIpv6,
            (_, _, false) => Segmentation::TcpIpv4,
        },
        ..Meta::default()
    };
    meta.flags.set(Flags::FILL_L4, true);
    meta.flags.set(Flags::IPV6, is_v6);
    meta.flags.set(Flags::VLAN, is_tagged);
    // What is in a tunnel is asked of no device.
    let has = match shape.outer {
        Some(_) => has & Capabilities::VLAN_TAG,
        None => has,
    };
    // Left to the device, as the stack leaves it.
    let is_bare = !is_v6 && shape.outer.is_none() && u.arbitrary()?;
    meta.flags.set(Flags::FILL_IP, is_bare);
    let steps = Steps::of(&meta, has);
    // Datagrams without a checksum ask for none.
    if matches!(shape.transport, Transport::Udp { summed: false }) && !is_cut {
        return Ok(Compared::default());
    }
    let mut long = shape.frame(&payload, Piece::all(Sums::Pseudo));
    if is_bare {
        long[24..26].fill(0);
    }
    let mut out = Vec::new();
    let frame = Scattered::any(&long, u)?;
    let method = Method::of_this_processor();
    let request = Request {
        tag,
        size,
        is_inner: shape.outer.is_some(),
    };
    carry_out(frame, steps, &request, method, &mut |frame| {
        out.push(frame.bytes());
    })
    .expect("nothing fails");
    let cuts = steps.contains(Steps::CUT);
    let sums = match steps.contains(Steps::FILL_L4) {
        true => Sums::Whole,
        false => Sums::Pseudo,
    };
    // Identifications always rise, and an outer sum is made only with a cut.
    if !cuts && shape.outer.is_some() {
        return Ok(Compared::default());
    }
    for network in [
        Some(&mut shape.network),
        shape.outer.as_mut().map(|outer| &mut outer.0),
    ] {
        if let Some(super::wire_frames::Network::V4 { fixed, .. }) = network {
            *fixed = false;
        }
    }
    let mut expected = match cuts {
        true => shape.frames(&payload, size, sums),
        false => vec![shape.frame(&payload, Piece::all(sums))],
    };
    if is_bare && !steps.intersects(Steps::CUT | Steps::FILL_IP) {
        expected[0][24..26].fill(0);
    }
    if steps.contains(Steps::TAG) {
        for frame in &mut expected {
            let [high, low] = tag.to_be_bytes();
            frame.splice(12..12, [0x81, 0, high, low]);
        }
    }
    assert_eq!(out, expected, "{shape:?} {steps:?}");
    Ok(Compared {
        passed: out.len(),
        ..Default::default()
    })
}
