// SPDX-License-Identifier: BSD-2-Clause
//! What is asked of a device but it cannot do, done before it gets the frame: so a frame with
//! any request can go to any device.
//!
//! | asked for                    | done here if the device lacks                            |
//! | ---------------------------- | --------------------------------------------------------- |
//! | a tag beside the frame       | `VLAN_TAG`: it is put in                                  |
//! | segmentation of TCP          | `SEGMENT_IPV4` or `_IPV6`; `VLAN_SEGMENT` if tagged       |
//! | segmentation of UDP          | always                                                    |
//! | checksums of TCP and UDP     | `FILL_IPV4` or `_IPV6`; `VLAN_FILL` if tagged             |
//! | checksums of other protocols | always                                                    |
//! | anything inside of a tunnel  | always: no device is told where the inner headers are     |
//!
//! Which of a tunnel's packets is meant, [`Request::is_inner`] says.
//!
//! [`Steps::of`] is a few tests of bits; a frame that needs nothing is not looked at further.

use core::ops::Range;

use bitflags::bitflags;

use super::complete::{self, Covered, Spans};
use super::crc32c::Method;
use super::parse::{Kinds, Limits, Parsed, Start, Tunnel, parse};
use super::segment::{Cut, Refusal};
use super::{checksum, copy, ethernet, protocol, vlan};
use crate::link::Capabilities;
use crate::packet::{Flags, Meta, Segmentation};

bitflags! {
    /// What has to be done.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Steps: u8 {
        /// Put the tag in.
        const TAG = 1 << 0;
        /// Cut it.
        const CUT = 1 << 1;
        /// Make the IPv4 header's checksum.
        const FILL_IP = 1 << 2;
        /// Make the checksum of layer 4 whole.
        const FILL_L4 = 1 << 3;
    }
}

impl Steps {
    /// What has to be done for a frame, of which `meta` tells what is asked for, `protocol`
    /// included, before a device that `has` this.
    #[inline]
    pub fn of(meta: &Meta, has: Capabilities) -> Self {
        const ASKED: Flags = Flags::FILL_IP.union(Flags::FILL_L4).union(Flags::VLAN);
        if !meta.flags.intersects(ASKED) && meta.segmentation == Segmentation::None {
            return Self::empty();
        }
        let is_tagged = meta.flags.contains(Flags::VLAN);
        let may = |what, tagged| has.contains(what) && (!is_tagged || has.contains(tagged));
        let (fill, segment) = match meta.flags.contains(Flags::IPV6) {
            true => (Capabilities::FILL_IPV6, Capabilities::SEGMENT_IPV6),
            false => (Capabilities::FILL_IPV4, Capabilities::SEGMENT_IPV4),
        };
        let mut steps = Self::empty();
        steps.set(
            Self::TAG,
            is_tagged && !has.contains(Capabilities::VLAN_TAG),
        );
        let is_cut = match meta.segmentation {
            Segmentation::None => false,
            Segmentation::Udp => true,
            Segmentation::TcpIpv4 | Segmentation::TcpIpv6 => {
                !may(segment, Capabilities::VLAN_SEGMENT)
            }
        };
        steps.set(Self::CUT, is_cut);
        let fills = may(fill, Capabilities::VLAN_FILL);
        let is_known = matches!(meta.protocol, protocol::TCP | protocol::UDP);
        let wants_l4 = meta.flags.contains(Flags::FILL_L4) || is_cut;
        steps.set(Self::FILL_L4, wants_l4 && !(fills && is_known));
        steps.set(Self::FILL_IP, meta.flags.contains(Flags::FILL_IP) && !fills);
        steps
    }
}

/// A frame on its way out.
pub trait Outgoing: Spans + Sized {
    /// Bytes of the frame.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has its first `len` bytes changed, in one piece that nobody shares. False, and
    /// unchanged, if there is no memory for that.
    fn change_front(&mut self, len: usize, change: impl FnOnce(&mut [u8])) -> bool;

    /// Puts `len` bytes in front, of any value. False if there is no memory.
    fn grow_front(&mut self, len: usize) -> bool;

    /// A frame of its own that begins with `header`, and has these bytes of this one behind
    /// it; shared, if that can be. `None` without memory.
    fn part(&self, header: &[u8], payload: Range<usize>) -> Option<Self>;
}

/// Why a frame, or what is left of it, was not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is not what a step needs, or not what it says of itself.
    Refused(Refusal),
    /// It asks for a checksum that it has no place for.
    Unsummed,
    /// There was no memory.
    Memory,
}

/// Bytes of headers that are looked at: more are refused.
const MOST_FRONT: usize = 256;

/// How a frame's steps are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The tag of [`Steps::TAG`]: priority, drop bit and number.
    pub tag: u16,
    /// Bytes of payload in each part of [`Steps::CUT`].
    pub size: usize,
    /// Of a packet in a tunnel: whether the inner one is to be cut and summed, and not the
    /// one around it. A cut sums both.
    pub is_inner: bool,
}

/// Does the steps, and gives out what goes to the device, in order.
///
/// # Errors
/// Why the frame, or the rest of its parts, was not given out.
pub fn carry_out<F: Outgoing>(
    mut frame: F,
    steps: Steps,
    request: &Request,
    method: Method,
    out: &mut impl FnMut(F),
) -> Result<(), Lost> {
    if steps.intersects(Steps::CUT | Steps::FILL_IP | Steps::FILL_L4) {
        let mut room = [0; MOST_FRONT];
        let there = front_of(&frame, &mut room);
        let front = room.get_mut(..there).unwrap_or_default();
        let limits = match request.is_inner {
            true => Limits::with_tunnels(),
            false => Limits::of_front(),
        };
        let parsed = parse(&*front, frame.len(), Start::Ethernet, &limits);
        if steps.contains(Steps::CUT) {
            let job = Job { steps, request };
            return job.cut(&frame, &parsed, front, out);
        }
        fill(&mut frame, &parsed, front, steps, method)?;
    }
    out(tagged(frame, steps, request.tag)?);
    Ok(())
}

/// What is the same for all parts.
struct Job<'r> {
    steps: Steps,
    request: &'r Request,
}

impl Job<'_> {
    fn cut<F: Outgoing>(
        &self,
        frame: &F,
        parsed: &Parsed,
        front: &[u8],
        out: &mut impl FnMut(F),
    ) -> Result<(), Lost> {
        let cut = Cut::of_parsed(parsed, front, self.request.size).map_err(Lost::Refused)?;
        // A tunnel's outer checksum is no device's.
        let fills = self.steps.contains(Steps::FILL_L4) || parsed.tunnel != Tunnel::None;
        let mut room = [0; MOST_FRONT];
        for n in 0..cut.count() {
            let header = room.get_mut(..cut.headers()).ok_or(Lost::Memory)?;
            let original = front.get(..cut.headers()).ok_or(Lost::Memory)?;
            copy(original, header);
            cut.write(n, header);
            if fills {
                cut.fill(header, complete::sum(frame, cut.payload(n)));
            }
            let part = frame.part(header, cut.payload(n)).ok_or(Lost::Memory)?;
            out(tagged(part, self.steps, self.request.tag)?);
        }
        Ok(())
    }
}

/// Makes checksums of the innermost packet, where the headers are.
fn fill<F: Outgoing>(
    frame: &mut F,
    parsed: &Parsed,
    front: &mut [u8],
    steps: Steps,
    method: Method,
) -> Result<(), Lost> {
    let layer = parsed.innermost();
    let mut end = 0;
    if steps.contains(Steps::FILL_IP) && layer.kinds.contains(Kinds::IPV4) {
        // Options' length is in the first byte; extension headers are none of it.
        let at = usize::from(layer.l3);
        let words = front.get(at).map_or(0, |byte| usize::from(byte & 0x0f));
        let behind = at.saturating_add(words.wrapping_mul(4));
        let header = front.get_mut(at..behind).ok_or(Lost::Unsummed)?;
        if let Some(field) = header.get_mut(10..12) {
            field.fill(0);
        }
        let sum = checksum::of(header).to_be_bytes();
        if let Some(field) = header.get_mut(10..12) {
            copy(&sum, field);
        }
        end = behind;
    }
    if steps.contains(Steps::FILL_L4) {
        let covered = Covered::of(layer, front).ok_or(Lost::Unsummed)?;
        let field = covered.complete(frame, method);
        field.put(front);
        end = field.at.saturating_add(field.bytes().len());
    }
    let changed = front.get(..end).ok_or(Lost::Unsummed)?;
    let change = |place: &mut [u8]| {
        copy(changed, place);
    };
    match frame.change_front(end, change) {
        true => Ok(()),
        false => Err(Lost::Memory),
    }
}

fn tagged<F: Outgoing>(mut frame: F, steps: Steps, tag: u16) -> Result<F, Lost> {
    if !steps.contains(Steps::TAG) {
        return Ok(frame);
    }
    let mut is_in = false;
    let is_done = frame.grow_front(ethernet::TAG)
        && frame.change_front(vlan::TAGGED, |front| {
            is_in = vlan::insert(front, ethernet::VLAN, tag);
        });
    match is_done && is_in {
        true => Ok(frame),
        false => Err(Lost::Memory),
    }
}

/// Puts a frame's front into `front`. How many bytes these are.
fn front_of<F: Outgoing>(frame: &F, front: &mut [u8; MOST_FRONT]) -> usize {
    let mut done = 0;
    frame.walk(0..MOST_FRONT.min(frame.len()), &mut |piece| {
        let room = front.get_mut(done..).unwrap_or_default();
        done = done.wrapping_add(copy(piece, room));
    });
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_and_lacking_is_done() {
        let all = Capabilities::all();
        let mut meta = Meta::default();
        assert_eq!(Steps::of(&meta, Capabilities::empty()), Steps::empty());
        meta.flags = Flags::FILL_L4 | Flags::FILL_IP | Flags::VLAN;
        meta.protocol = protocol::TCP;
        assert_eq!(Steps::of(&meta, all), Steps::empty());
        let every = Steps::TAG | Steps::FILL_IP | Steps::FILL_L4;
        assert_eq!(Steps::of(&meta, Capabilities::empty()), every);
        // Tagged frames need a device that fills in those, too.
        let untagged = all - Capabilities::VLAN_FILL;
        let steps = Steps::FILL_IP | Steps::FILL_L4;
        assert_eq!(Steps::of(&meta, untagged), steps);
        meta.segmentation = Segmentation::TcpIpv4;
        assert_eq!(Steps::of(&meta, all), Steps::empty());
        let whole = all - Capabilities::SEGMENT;
        assert_eq!(Steps::of(&meta, whole), Steps::CUT);
    }

    #[test]
    fn devices_know_neither_sctp_nor_datagrams_behind_one_another() {
        let meta = Meta {
            flags: Flags::FILL_L4,
            protocol: protocol::SCTP,
            ..Meta::default()
        };
        assert_eq!(Steps::of(&meta, Capabilities::all()), Steps::FILL_L4);
        let meta = Meta {
            segmentation: Segmentation::Udp,
            protocol: protocol::UDP,
            ..meta
        };
        assert_eq!(Steps::of(&meta, Capabilities::all()), Steps::CUT);
    }
}
