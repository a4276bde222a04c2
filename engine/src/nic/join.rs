// SPDX-License-Identifier: BSD-2-Clause
//! Frames of a connection that a receive queue got in one turn, joined into long ones before the
//! stack gets them: LRO in software, for devices that do none.
//!
//! What joins is [`aggregate`](crate::wire::aggregate)'s: segments of TCP outside of tunnels whose
//! checksums are right, and that a cut of the long one would give again to the last bit. What a
//! host sends on must not be joined, so a family that it forwards is left out, and so is what is
//! on a VLAN, whose interface may be another host's. Frames that are left out cost a look at their
//! EtherType. Nothing waits for another turn.

use bitflags::bitflags;

use crate::wire::aggregate::{Aggregator, Frame, Joined, Scope};
use crate::wire::{copy, ethernet};

/// Flows of a queue that frames wait for at a time; with one more, those of another are handed on.
pub const FLOWS: usize = 8;
/// Frames that become one at most: as many as are received in a turn.
pub const MOST_JOINED: u16 = 64;

bitflags! {
    /// What may be joined.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Families: u8 {
        /// IPv4.
        const IPV4 = 1 << 0;
        /// IPv6.
        const IPV6 = 1 << 1;
    }
}

/// A frame that a device has received.
pub trait Received: Frame {
    /// Whether the device has taken the tag of a VLAN out, and it is beside the frame.
    fn is_tagged(&self) -> bool;

    /// Says what it was joined of: frames whose checksums were right.
    fn mark_joined(&mut self, joined: &Joined);
}

/// What was joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinFigures {
    /// Frames that were joined with others.
    pub frames: u64,
    /// The frames that they became.
    pub packets: u64,
}

/// Joins what a receive queue gets.
pub struct Joiner<F> {
    aggregator: Aggregator<F, FLOWS>,
    figures: JoinFigures,
}

impl<F: Received> Joiner<F> {
    /// With nothing joined yet.
    pub const fn new() -> Self {
        Self {
            aggregator: Aggregator::new(MOST_JOINED, Scope::Tcp),
            figures: JoinFigures {
                frames: 0,
                packets: 0,
            },
        }
    }

    /// Takes all frames of a turn, in the order in which they were received, and gives them out,
    /// joined where they may be: each flow's in its order, each once. Allocates nothing.
    pub fn turn(
        &mut self,
        families: Families,
        mut next: impl FnMut() -> Option<F>,
        out: &mut impl FnMut(F),
    ) {
        let figures = &mut self.figures;
        let mut give = |mut frame: F, joined: Option<Joined>| {
            if let Some(joined) = joined {
                frame.mark_joined(&joined);
                figures.frames = figures.frames.wrapping_add(joined.count.into());
                figures.packets = figures.packets.wrapping_add(1);
            }
            out(frame);
        };
        while let Some(frame) = next() {
            match !frame.is_tagged() && families.intersects(family(&frame)) {
                true => self.aggregator.push(frame, &mut give),
                // Nothing of its flow waits: all of that is left out.
                false => give(frame, None),
            }
        }
        self.aggregator.flush(&mut give);
    }

    /// What was joined so far.
    pub fn figures(&self) -> JoinFigures {
        self.figures
    }
}

impl<F: Received> Default for Joiner<F> {
    fn default() -> Self {
        Self::new()
    }
}

/// The family that a frame without a tag in it is of; none of any other.
fn family<F: Frame>(frame: &F) -> Families {
    let (mut found, mut done) = ([0; 2], 0_usize);
    let from = ethernet::HEADER.saturating_sub(found.len());
    frame.walk(from..ethernet::HEADER, &mut |piece| {
        let room = found.get_mut(done..).unwrap_or_default();
        done = done.wrapping_add(copy(piece, room));
    });
    match u16::from_be_bytes(found) {
        ethernet::IPV4 => Families::IPV4,
        ethernet::IPV6 => Families::IPV6,
        _ => Families::empty(),
    }
}
