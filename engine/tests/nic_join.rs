// SPDX-License-Identifier: BSD-2-Clause
//! What a receive queue joins in software: cut again it is what was received, each frame once,
//! each flow in its order; nothing waits for another turn, and what may not be joined is not.

#[path = "wire_frames/mod.rs"]
mod wire_frames;

use std::collections::HashMap;
use std::ops::Range;

use arbitrary::{Result, Unstructured};
use weft_engine::nic::{FLOWS, Families, Joiner, MOST_JOINED, Received};
use weft_engine::wire::aggregate::{Frame, Joined};
use weft_engine::wire::complete::{self, Spans};
use weft_engine::wire::segment::Cut;
use wire_frames::{Network, Scattered, Shape, Sums, Transport};

/// A frame that was received, and the numbers of those that it has taken up.
struct Kept {
    frame: Scattered,
    numbers: Vec<usize>,
    is_tagged: bool,
    joined: Option<Joined>,
}

impl Spans for Kept {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        self.frame.walk(range, see);
    }
}

impl Frame for Kept {
    fn len(&self) -> usize {
        Frame::len(&self.frame)
    }

    fn is_checked(&self) -> bool {
        self.frame.is_checked
    }

    fn join(&mut self, other: Self, payload: Range<usize>) -> std::result::Result<(), Self> {
        let Self { frame, numbers, .. } = other;
        let joined = self.frame.join(frame, payload);
        if let Err(frame) = joined {
            return Err(Self {
                frame,
                numbers,
                ..other
            });
        }
        self.numbers.extend(numbers);
        Ok(())
    }

    fn replace_front(&mut self, front: &[u8]) -> bool {
        self.frame.replace_front(front)
    }
}

impl Received for Kept {
    fn is_tagged(&self) -> bool {
        self.is_tagged
    }

    fn mark_joined(&mut self, joined: &Joined) {
        self.joined = Some(*joined);
    }
}

/// A frame that is received, and what is known of it.
#[derive(Clone)]
struct Sent {
    bytes: Vec<u8>,
    flow: u8,
    family: Families,
    is_tagged: bool,
    /// Something of it was changed, so that it may be anything.
    is_odd: bool,
}

/// Frames of some connections, one after another and in between one another.
fn sent(u: &mut Unstructured<'_>) -> Result<Vec<Sent>> {
    let mut all: Vec<Sent> = Vec::new();
    for flow in 0..u.int_in_range(1..=FLOWS as u8 + 3)? {
        let is_tagged = u.ratio(1, 8)?;
        let family = match u.arbitrary()? {
            true => Families::IPV4,
            false => Families::IPV6,
        };
        let network = match family {
            Families::IPV4 => Network::V4 {
                options: 0,
                identification: u.arbitrary()?,
                fixed: u.arbitrary()?,
            },
            _ => Network::V6 { extensions: vec![] },
        };
        let transport = match u.ratio(1, 8)? {
            true => Transport::Udp { summed: true },
            false => Transport::Tcp {
                sequence: u.arbitrary()?,
                options: *u.choose(&[0, 3])?,
                flags: *u.choose(&[0x10, 0x18, 0x11, 0x90])?,
                window: u.arbitrary()?,
            },
        };
        let tags = if u.ratio(1, 10)? { vec![7] } else { vec![] };
        let has_tags = !tags.is_empty();
        let shape = Shape {
            tags,
            outer: None,
            network,
            transport,
            flow,
        };
        let payload: Vec<u8> = (0..u.int_in_range(1..=12_000)?)
            .map(|at| at as u8)
            .collect();
        for mut bytes in shape.frames(&payload, u.int_in_range(100..=1448)?, Sums::Whole) {
            let is_odd = u.ratio(1, 25)?;
            if is_odd {
                let at = u.int_in_range(14..=bytes.len() - 1)?;
                bytes[at] ^= 1 << u.int_in_range(0..=7)?;
            }
            let least = all.iter().rposition(|other| other.flow == flow);
            let place = u.int_in_range(least.map_or(0, |at| at + 1)..=all.len())?;
            let family = if has_tags { Families::empty() } else { family };
            let one = Sent {
                bytes,
                flow,
                family,
                is_tagged,
                is_odd,
            };
            all.insert(place, one);
        }
    }
    Ok(all)
}

/// What a cut makes of a long frame.
fn cut(frame: &[u8], cut: &Cut) -> Vec<Vec<u8>> {
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

/// Some turns of a queue. How many frames were joined, and into how many.
fn turns(joiner: &mut Joiner<Kept>, u: &mut Unstructured<'_>) -> Result<[u64; 2]> {
    let all = sent(u)?;
    let mut done = [0, 0];
    let mut first = 0;
    while first < all.len() {
        let end = all
            .len()
            .min(first + u.int_in_range(1..=MOST_JOINED.into())?);
        let mut families = Families::all();
        families.set(Families::IPV4, !u.ratio(1, 8)?);
        families.set(Families::IPV6, !u.ratio(1, 8)?);
        let mut came = Vec::new();
        for (number, one) in all.iter().enumerate().take(end).skip(first) {
            let mut frame = Scattered::any(&one.bytes, u)?;
            // A card's word is true.
            frame.is_checked = !one.is_odd && u.arbitrary()?;
            came.push(Kept {
                frame,
                numbers: vec![number],
                is_tagged: one.is_tagged,
                joined: None,
            });
        }
        let mut came = came.into_iter();
        let mut out = Vec::new();
        joiner.turn(families, || came.next(), &mut |kept| out.push(kept));
        assert!(came.next().is_none());
        let mut seen = vec![0; all.len()];
        let mut last: HashMap<u8, usize> = HashMap::new();
        for kept in &out {
            let bytes = kept.frame.bytes();
            let parts = match &kept.joined {
                None => vec![bytes],
                Some(joined) => {
                    assert_eq!(usize::from(joined.count), kept.numbers.len());
                    assert!(joined.count > 1 && joined.count <= MOST_JOINED);
                    done[0] += u64::from(joined.count);
                    done[1] += 1;
                    cut(&bytes, &joined.cut)
                }
            };
            assert_eq!(parts.len(), kept.numbers.len());
            for (number, part) in kept.numbers.iter().zip(parts) {
                let one = &all[*number];
                assert_eq!(part, one.bytes);
                seen[*number] += 1;
                if kept.joined.is_some() {
                    assert!(!one.is_tagged && families.intersects(one.family));
                }
                // What was changed may be of another flow.
                if !one.is_odd && last.insert(one.flow, *number) > Some(*number) {
                    panic!("{number} of flow {} came late", one.flow);
                }
            }
        }
        let wanted = |number| u8::from((first..end).contains(&number));
        assert!(seen.iter().enumerate().all(|(n, seen)| *seen == wanted(n)));
        first = end;
    }
    Ok(done)
}

#[test]
fn what_comes_out_of_a_turn_is_what_went_in() {
    let mut joiner = Joiner::new();
    let mut all = [0, 0];
    let mut seed = 0x5eed_0000_0000_0007_u64;
    let mut bytes = vec![0_u8; 16_384];
    for _ in 0..400 {
        for word in bytes.chunks_mut(8) {
            // xorshift64
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            word.copy_from_slice(&seed.to_le_bytes());
        }
        if let Ok(more) = turns(&mut joiner, &mut Unstructured::new(&bytes)) {
            all = [all[0] + more[0], all[1] + more[1]];
        }
    }
    let figures = joiner.figures();
    println!("{figures:?}");
    assert_eq!([figures.frames, figures.packets], all);
    assert!(figures.packets > 1_000 && figures.frames > 2 * figures.packets);
}
