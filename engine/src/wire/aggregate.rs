// SPDX-License-Identifier: BSD-2-Clause
//! Frames of one flow that follow one another, joined into a long one: what a network card
//! does that can do LRO, and undone by a [`Cut`] to the last bit.
//!
//! The rule is [`Cut`]'s own: a frame joins those before it if, and only if, it is what
//! cutting the long frame would give. For that the headers that the cut would write are
//! written, and compared with those that came, checksums included. So nothing that a frame
//! may bear is lost: neither options of TCP (timestamps must be the same), nor a window, nor
//! an urgent pointer, nor the identifications of IPv4, nor an option of IPv6, nor a tag.
//! What must hold besides:
//!
//! - All frames but the last have as many bytes of payload, the last no more; none has 0.
//! - The checksum of layer 4 is right, by the word of the card or by a sum. Datagrams of UDP
//!   without one join others without one.
//! - PSH and FIN are in the last frame only, CWR in the first only.
//! - No bytes pad the frame.
//!
//! Frames of a flow come out in the order in which they went in, for one that does not join
//! sends those before it on first. Nothing waits longer than until the next
//! [`flush`](Aggregator::flush), which belongs at the end of each burst.

use core::ops::Range;

use super::checksum::Sum;
use super::complete::{self, Spans};
use super::parse::{Kinds, Limits, Parsed, Start, Verdict, parse};
use super::segment::{Cut, Identification, Kind, LAST_ONLY, Part};
use super::{copy, word};

/// Bytes of headers that a frame may have to be joined with others.
pub const MOST_FRONT: usize = 192;

/// The longest IP packet.
const MOST_PACKET: usize = 65_535;
/// Where TCP has its flags, from its header on.
const FLAGS: usize = 13;

/// A frame that may be joined with others. A frame may not be changed by who else has it.
pub trait Frame: Spans + Sized {
    /// Bytes of the frame.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the checksum of layer 4 is known to be right, of the innermost packet.
    fn is_checked(&self) -> bool;

    /// Takes another frame's bytes of that range behind its own. Nothing has changed if that
    /// cannot be, and the other one comes back.
    ///
    /// # Errors
    /// The other one.
    fn join(&mut self, other: Self, payload: Range<usize>) -> Result<(), Self>;

    /// Replaces its first bytes by as many others. False, and unchanged, if that cannot be.
    fn replace_front(&mut self, front: &[u8]) -> bool;
}

/// Which frames may be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that a [`Cut`] can undo: TCP and UDP, also in tunnels.
    Any,
    /// Segments of TCP outside of tunnels: what a network stack takes for one segment, as
    /// long datagrams would not be taken for several.
    Tcp,
}

/// What a frame was made of that comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// How it is cut into what it was made of.
    pub cut: Cut,
    /// How many frames these are: more than one.
    pub count: u16,
}

/// Joins frames, of up to `N` flows at a time.
pub struct Aggregator<F, const N: usize> {
    flows: [Option<Flow<F>>; N],
    /// Which flow has to go when there are too many.
    next: usize,
    most: u16,
    scope: Scope,
}

struct Flow<F> {
    head: F,
    /// The first frame's headers.
    front: [u8; MOST_FRONT],
    parsed: Parsed,
    cut: Cut,
    /// Bytes of payload, and the frames that they came in.
    payload: usize,
    count: u16,
    /// Flags of TCP that the last frame has, if it has some that end a long segment.
    ending: u8,
    /// Nothing may follow.
    is_whole: bool,
}

/// A frame that may be joined with others, as far as it alone is concerned.
struct Candidate<'p> {
    front: &'p [u8; MOST_FRONT],
    parsed: &'p Parsed,
    /// How it would be cut if it were the first of several.
    cut: Cut,
    /// The sum of its payload.
    sum: Sum,
}

/// The frame as a candidate; `None` if it can't be joined with any.
// Kernel stacks are short: what it writes to is on the stack no longer than it runs.
#[inline(never)]
fn candidate<'p, F: Frame>(
    frame: &F,
    parsed: &'p Parsed,
    front: &'p [u8; MOST_FRONT],
    scope: Scope,
) -> Option<Candidate<'p>> {
    let layer = parsed.innermost();
    let payload = (layer.end as usize).checked_sub(layer.payload.into())?;
    let cut = Cut::of_parsed(parsed, front, payload).ok()?;
    let is_meant = scope == Scope::Any || cut.kind() == Kind::Tcp;
    if layer.end as usize != frame.len() || !is_meant || !is_ordinary(&cut, front) {
        return None;
    }
    let mut made = *front;
    cut.write_part(&Part::alone(payload), &mut made);
    let sum = match cut.payload_sum(&made, front) {
        Some(sum) if frame.is_checked() => sum,
        _ => complete::sum(frame, cut.payload(0)),
    };
    // It must be what a cut makes, a wrong checksum and even the other zero of a right one
    // excluded.
    cut.fill(&mut made, sum);
    let is_right = made.get(..cut.headers()) == front.get(..cut.headers());
    is_right.then_some(Candidate {
        front,
        parsed,
        cut,
        sum,
    })
}

impl<F: Frame, const N: usize> Aggregator<F, N> {
    /// With no frames. Up to `most` are joined, of those in the scope.
    pub const fn new(most: u16, scope: Scope) -> Self {
        Self {
            flows: [const { None }; N],
            next: 0,
            most,
            scope,
        }
    }

    /// The headers that are looked at: a tunnel is none if what is in it is out of scope.
    const fn limits(&self) -> Limits {
        match self.scope {
            Scope::Any => Limits::with_tunnels(),
            Scope::Tcp => Limits::of_front(),
        }
    }

    /// Takes a frame, and gives out what must not wait: in the end each frame comes out
    /// once, alone or joined.
    pub fn push(&mut self, frame: F, out: &mut impl FnMut(F, Option<Joined>)) {
        let mut front = [0; MOST_FRONT];
        let there = front_of(&frame, &mut front);
        let there = front.get(..there).unwrap_or_default();
        let parsed = parse(there, frame.len(), Start::Ethernet, &self.limits());
        if is_beyond(&parsed, frame.len()) {
            self.flush(out);
            return out(frame, None);
        }
        match candidate(&frame, &parsed, &front, self.scope) {
            Some(candidate) => self.put(frame, &candidate, out),
            None => {
                self.flush_flow(&front, &parsed, out);
                out(frame, None);
            }
        }
    }

    /// Gives out all that waits.
    pub fn flush(&mut self, out: &mut impl FnMut(F, Option<Joined>)) {
        for place in &mut self.flows {
            finish(place, out);
        }
    }

    fn put(
        &mut self,
        frame: F,
        candidate: &Candidate<'_>,
        out: &mut impl FnMut(F, Option<Joined>),
    ) {
        let is_its =
            |flow: &Flow<F>| is_same(&flow.parsed, &flow.front, candidate.parsed, candidate.front);
        let of_flow = |place: &&mut Option<Flow<F>>| place.as_ref().is_some_and(is_its);
        let Some(place) = self.flows.iter_mut().find(of_flow) else {
            return self.begin(frame, candidate, out);
        };
        let Some(flow) = place else { return };
        match flow.take(frame, candidate, self.most) {
            Ok(()) if flow.is_whole => finish(place, out),
            Ok(()) => {}
            Err(frame) => {
                finish(place, out);
                self.begin(frame, candidate, out);
            }
        }
    }

    /// Has the frame be the first of a flow's.
    // Kernel stacks are short: see [`candidate`].
    #[inline(never)]
    fn begin(
        &mut self,
        frame: F,
        candidate: &Candidate<'_>,
        out: &mut impl FnMut(F, Option<Joined>),
    ) {
        if ending(&candidate.cut, candidate.front) != 0 {
            return out(frame, None);
        }
        let place = match self.flows.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                let next = self.next;
                self.next = match next.wrapping_add(1) {
                    next if next < N => next,
                    _ => 0,
                };
                next
            }
        };
        match self.flows.get_mut(place) {
            Some(place) => {
                finish(place, out);
                *place = Some(Flow::new(frame, candidate));
            }
            None => out(frame, None),
        }
    }

    /// Gives out what waits of the flow of a frame that is not joined.
    fn flush_flow(
        &mut self,
        front: &[u8; MOST_FRONT],
        parsed: &Parsed,
        out: &mut impl FnMut(F, Option<Joined>),
    ) {
        for place in &mut self.flows {
            let is_before = |flow: &Flow<F>| may_be_same(&flow.parsed, &flow.front, parsed, front);
            if place.as_ref().is_some_and(is_before) {
                finish(place, out);
            }
        }
    }
}

impl<F: Frame> Flow<F> {
    /// Of one frame, that others may follow.
    fn new(head: F, candidate: &Candidate<'_>) -> Self {
        Self {
            head,
            front: *candidate.front,
            parsed: *candidate.parsed,
            cut: candidate.cut,
            payload: candidate.cut.size(),
            count: 1,
            ending: 0,
            is_whole: false,
        }
    }

    /// Joins a frame to those before it.
    fn take(&mut self, frame: F, candidate: &Candidate<'_>, most: u16) -> Result<(), F> {
        let (len, headers) = (candidate.cut.size(), self.cut.headers());
        let payload = self.payload.saturating_add(len);
        let fits = self.count < most
            && len <= self.cut.size()
            && candidate.cut.headers() == headers
            && self.cut.packet_len(payload) <= MOST_PACKET;
        if !fits {
            return Err(frame);
        }
        let cut = match self.count {
            1 => identified(&self.cut, &self.front, candidate.front),
            _ => self.cut,
        };
        if !self.is_next(&cut, candidate) {
            return Err(frame);
        }
        self.head.join(frame, candidate.cut.payload(0))?;
        self.cut = cut;
        self.payload = payload;
        self.count = self.count.saturating_add(1);
        self.ending = ending(&cut, candidate.front);
        self.is_whole = self.ending != 0 || len < self.cut.size() || self.count >= most;
        Ok(())
    }

    /// Whether the frame is what the cut would make.
    // Kernel stacks are short: see [`candidate`].
    #[inline(never)]
    fn is_next(&self, cut: &Cut, candidate: &Candidate<'_>) -> bool {
        let mut made = self.front;
        let part = Part {
            n: self.count.into(),
            gone: self.payload,
            len: candidate.cut.size(),
            is_last: true,
        };
        cut.write_part(&part, &mut made);
        let ending = ending(cut, candidate.front);
        if let Some(flags) = flags_of(cut, &mut made) {
            *flags |= ending;
        }
        cut.fill(&mut made, candidate.sum);
        made.get(..cut.headers()) == candidate.front.get(..cut.headers())
    }

    /// Has its first frame say what all of them are together, if these are several.
    fn close(&mut self) -> Option<Joined> {
        if self.count < 2 {
            return None;
        }
        let cut = self.cut.with_payload(self.payload);
        cut.write_part(&Part::alone(self.payload), &mut self.front);
        if let Some(flags) = flags_of(&cut, &mut self.front) {
            *flags |= self.ending;
        }
        let front = self.front.get(..cut.headers()).unwrap_or_default();
        // Who has joined frames to it can write to it.
        let _is_written = self.head.replace_front(front);
        let count = self.count;
        Some(Joined { cut, count })
    }
}

/// Gives out what waits in a place, and leaves it empty.
fn finish<F: Frame>(place: &mut Option<Flow<F>>, out: &mut impl FnMut(F, Option<Joined>)) {
    let joined = place.as_mut().and_then(Flow::close);
    if let Some(Flow { head, .. }) = place.take() {
        out(head, joined);
    }
}

/// Whether there may be more headers than what was looked at has: a tunnel's header is not
/// missed if it is cut off.
fn is_beyond(parsed: &Parsed, len: usize) -> bool {
    const TUNNEL_HEADER: usize = 8;
    let headers = usize::from(parsed.innermost().payload).saturating_add(TUNNEL_HEADER);
    len > MOST_FRONT && headers > MOST_FRONT
}

/// Puts a frame's front into `front`. How many bytes these are.
fn front_of<F: Frame>(frame: &F, front: &mut [u8; MOST_FRONT]) -> usize {
    let mut done = 0;
    frame.walk(0..MOST_FRONT.min(frame.len()), &mut |piece| {
        let room = front.get_mut(done..).unwrap_or_default();
        done = done.wrapping_add(copy(piece, room));
    });
    done
}

/// Where TCP's flags are; `None` of UDP.
fn flags_of<'f>(cut: &Cut, front: &'f mut [u8]) -> Option<&'f mut u8> {
    match cut.kind() {
        Kind::Tcp => front.get_mut(cut.transport().saturating_add(FLAGS)),
        Kind::Udp => None,
    }
}

/// The flags that only the last of several may have.
fn ending(cut: &Cut, front: &[u8]) -> u8 {
    match cut.kind() {
        Kind::Tcp => front
            .get(cut.transport().saturating_add(FLAGS))
            .map_or(0, |flags| flags & LAST_ONLY),
        Kind::Udp => 0,
    }
}

/// Whether it is a segment of a stream that goes on: with ACK, and without SYN, RST and URG.
fn is_ordinary(cut: &Cut, front: &[u8]) -> bool {
    match cut.kind() {
        Kind::Tcp => front
            .get(cut.transport().saturating_add(FLAGS))
            .is_some_and(|flags| flags & 0x36 == 0x10),
        Kind::Udp => true,
    }
}

/// The cut with identifications that go up or stay, as they do from one frame to the next.
fn identified(cut: &Cut, first: &[u8], second: &[u8]) -> Cut {
    let [inner, outer] = cut.identifications().map(|at| match at {
        Some(at) if word(first, at) == word(second, at) => Identification::Fixed,
        _ => Identification::Rising,
    });
    cut.identified(inner, outer)
}

/// The addresses of the innermost packet.
fn addresses<'f>(parsed: &Parsed, front: &'f [u8]) -> Option<&'f [u8]> {
    let layer = parsed.innermost();
    let at = usize::from(layer.l3);
    match layer.kinds.contains(Kinds::IPV6) {
        true => front.get(at.saturating_add(8)..at.saturating_add(40)),
        false => front.get(at.saturating_add(12)..at.saturating_add(20)),
    }
}

/// The ports.
fn ports<'f>(parsed: &Parsed, front: &'f [u8]) -> Option<&'f [u8; 4]> {
    front.get(parsed.innermost().l4.into()..)?.first_chunk()
}

/// Whether both frames are of one flow.
fn is_same(one: &Parsed, front: &[u8], other: &Parsed, behind: &[u8]) -> bool {
    ports(one, front) == ports(other, behind)
        && one.innermost().protocol == other.innermost().protocol
        && one.tunnel == other.tunnel
        && addresses(one, front) == addresses(other, behind)
}

/// Whether a frame that is not joined may be of a flow's: whatever has its addresses, and
/// whatever could not be parsed.
fn may_be_same(flow: &Parsed, front: &[u8], other: &Parsed, behind: &[u8]) -> bool {
    match other.verdict {
        Verdict::NotIp => false,
        verdict if verdict.is_fault() => true,
        _ => addresses(flow, front) == addresses(other, behind),
    }
}
