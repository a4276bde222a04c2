// SPDX-License-Identifier: BSD-2-Clause
//! A router of one input: it looks a frame's destination up in the FIB of the
//! frame's VLAN, takes a hop off, and puts it on one of the queues of the next
//! hop; or gives it back with the reason why not.
//!
//! A frame never vanishes: each one that came in was given back, was taken from a
//! queue, or is on a queue, and is counted once as received and once as queued
//! or dropped. [`Router::totals`] gives the sums, which have to be equal.

use super::epoch::Section;
use super::random::mix;
use super::store::{HostStore, HostTable4};
use super::table::Prefix;
use crate::fib::{FibError, TableFigures};
use crate::wire::ethernet::{self, Frame as EthernetFrame};
use crate::wire::ipv4::{self, Malformed};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// A frame without its check sequence, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it was captured.
    pub time: Duration,
    /// Its bytes, from the destination's MAC address on.
    pub bytes: Vec<u8>,
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It ends before its headers do, or before the length they name.
    Truncated,
    /// Its EtherType is not that of IPv4.
    NotIpv4,
    /// Its IPv4 header has the wrong version, length or checksum.
    BadHeader,
    /// Its time to live ends here.
    TtlExceeded,
    /// No prefix of the FIB covers its destination.
    NoRoute,
}

impl Reason {
    /// All of them, in the order in which a frame is tried.
    pub const ALL: [Self; 5] = [
        Self::Truncated,
        Self::NotIpv4,
        Self::BadHeader,
        Self::TtlExceeded,
        Self::NoRoute,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Truncated => "truncated",
            Self::NotIpv4 => "not IPv4",
            Self::BadHeader => "bad header",
            Self::TtlExceeded => "TTL exceeded",
            Self::NoRoute => "no route",
        })
    }
}

/// A frame that was not taken, given back as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The frame.
    pub frame: Frame,
    /// Why it was not taken.
    pub reason: Reason,
}

/// A number of frames and the sum of their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub packets: u64,
    /// Bytes of these frames, Ethernet header included.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, frame: &Frame) {
        self.packets += 1;
        self.bytes += frame.bytes.len() as u64;
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        })
    }
}

/// A routing table, the VLAN whose frames go by it, and what became of them.
pub struct Fib<'s> {
    table: HostTable4<'s>,
    vlan: Option<u16>,
    received: Count,
    dropped: [Count; Reason::ALL.len()],
}

impl<'s> Fib<'s> {
    /// A FIB of these routes, each a prefix and a class, in any order; of two for
    /// one prefix the later counts. It shares with the other FIBs of the store what
    /// it has in common with them, and gets the frames tagged with `vlan`.
    ///
    /// # Errors
    /// What is wrong with a route, or [`FibError::OutOfMemory`].
    pub fn new(
        store: &'s HostStore,
        vlan: Option<u16>,
        routes: impl IntoIterator<Item = (Prefix, u32)>,
    ) -> Result<Self, FibError> {
        let mut table = HostTable4::new(store)?;
        let ascending: BTreeMap<Prefix, u32> = routes.into_iter().collect();
        for (prefix, class) in ascending {
            table.route(prefix.address, prefix.len, class)?;
        }
        table.end()?;
        Ok(Self {
            table,
            vlan,
            received: Count::default(),
            dropped: Default::default(),
        })
    }

    /// What it holds beside what it shares.
    pub fn figures(&self) -> TableFigures {
        self.table.figures()
    }

    /// The class of the longest prefix that covers `dst`, or 0.
    fn lookup(&self, dst: u32) -> u32 {
        self.table.reader().lookup(&Section::enter(), dst)
    }

    /// The VLAN it is for.
    pub fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// What came in to it.
    pub fn received(&self) -> Count {
        self.received
    }

    /// What it dropped for this reason.
    pub fn dropped(&self, reason: Reason) -> Count {
        self.dropped[reason as usize]
    }
}

/// One queue towards a next hop.
#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    taken: Count,
}

/// Which queue a frame was put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The class of the route: the next hop.
    pub class: u32,
    /// Which queue of that next hop, from 0.
    pub lane: usize,
}

/// What a router did since it was made. `received` is `queued` plus `dropped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What came in.
    pub received: Count,
    /// What was put on a queue.
    pub queued: Count,
    /// What was given back.
    pub dropped: Count,
}

impl Totals {
    /// Whether no frame has vanished, and none came from nowhere.
    pub fn balance(&self) -> bool {
        self.received == [self.queued, self.dropped].into_iter().sum()
    }
}

/// The router.
pub struct Router<'s> {
    fibs: Vec<Fib<'s>>,
    lanes: usize,
    /// Those of class 1 first, in the order of lanes.
    queues: Vec<Queue>,
}

/// What to do with a frame that can be forwarded.
struct Decision {
    place: Place,
    queue: usize,
    /// Where its IPv4 header begins.
    header_at: usize,
}

impl<'s> Router<'s> {
    /// A router with `lanes` queues (at least one) to each of its next hops,
    /// which are the classes 1 to `classes`. The first FIB is for all frames
    /// whose VLAN no other one names. `None` if there is no FIB.
    pub fn new(fibs: Vec<Fib<'s>>, classes: u32, lanes: usize) -> Option<Self> {
        let lanes = lanes.max(1);
        let queues = std::iter::repeat_with(Queue::default)
            .take(classes as usize * lanes)
            .collect();
        (!fibs.is_empty()).then_some(Self {
            fibs,
            lanes,
            queues,
        })
    }

    /// Takes a frame in and puts it on a queue, one hop nearer to its end.
    pub fn forward(&mut self, mut frame: Frame) -> Result<Place, Dropped> {
        let at = self.fib_of(&frame.bytes);
        let decision = self.decide(&self.fibs[at], &frame.bytes);
        let fib = &mut self.fibs[at];
        fib.received.add(&frame);
        let taken = decision.and_then(|decision| {
            ipv4::decrement_ttl(&mut frame.bytes[decision.header_at..])
                .map_err(|_| Reason::TtlExceeded)?;
            Ok(decision)
        });
        match taken {
            Ok(Decision { place, queue, .. }) => {
                self.queues[queue].taken.add(&frame);
                self.queues[queue].frames.push_back(frame);
                Ok(place)
            }
            Err(reason) => {
                fib.dropped[reason as usize].add(&frame);
                Err(Dropped { frame, reason })
            }
        }
    }

    /// The FIB that a frame goes by. One too short to bear a tag has none.
    fn fib_of(&self, frame: &[u8]) -> usize {
        let vlan = EthernetFrame::parse(frame)
            .ok()
            .and_then(|frame| frame.vlan());
        let named = vlan.and_then(|_| self.fibs.iter().position(|fib| fib.vlan == vlan));
        named.unwrap_or(0)
    }

    /// Where a frame is to go, or why nowhere. A route to a class for which the
    /// router has no queues is no route.
    fn decide(&self, fib: &Fib<'_>, frame: &[u8]) -> Result<Decision, Reason> {
        let frame = EthernetFrame::parse(frame).map_err(|ethernet::Truncated| Reason::Truncated)?;
        if frame.ethertype() != ethernet::IPV4 {
            return Err(Reason::NotIpv4);
        }
        let packet = ipv4::Packet::parse(frame.payload()).map_err(|fault| match fault {
            Malformed::Truncated => Reason::Truncated,
            _ => Reason::BadHeader,
        })?;
        if packet.ttl() <= 1 {
            return Err(Reason::TtlExceeded);
        }
        let class = fib.lookup(packet.destination());
        let lane = (flow_hash(&packet) % self.lanes as u64) as usize;
        let queue = (class as usize).checked_sub(1).ok_or(Reason::NoRoute)? * self.lanes + lane;
        if queue >= self.queues.len() {
            return Err(Reason::NoRoute);
        }
        Ok(Decision {
            place: Place { class, lane },
            queue,
            header_at: frame.payload_at(),
        })
    }

    /// Takes all frames off all queues, the first queue's first, and hands each
    /// of them to `send` until one fails: that frame and the
    /// rest of its queue are gone then.
    pub fn drain<E>(
        &mut self,
        mut send: impl FnMut(Place, Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        let lanes = self.lanes;
        for (index, queue) in self.queues.iter_mut().enumerate() {
            for frame in queue.frames.drain(..) {
                send(place(index, lanes), frame)?;
            }
        }
        Ok(())
    }

    /// What was put on each queue since the router was made.
    pub fn queues(&self) -> impl Iterator<Item = (Place, Count)> {
        self.queues
            .iter()
            .enumerate()
            .map(|(index, queue)| (place(index, self.lanes), queue.taken))
    }

    /// The FIBs, in the order given.
    pub fn fibs(&self) -> &[Fib<'s>] {
        &self.fibs
    }

    /// The sums over all FIBs and queues.
    pub fn totals(&self) -> Totals {
        Totals {
            received: self.fibs.iter().map(|fib| fib.received).sum(),
            queued: self.queues.iter().map(|queue| queue.taken).sum(),
            dropped: self.fibs.iter().flat_map(|fib| fib.dropped).sum(),
        }
    }
}

/// The place that a queue stands for.
fn place(index: usize, lanes: usize) -> Place {
    Place {
        class: (index / lanes) as u32 + 1,
        lane: index % lanes,
    }
}

/// A number that is the same for all packets of a flow.
fn flow_hash(packet: &ipv4::Packet<'_>) -> u64 {
    let (source, destination) = packet.ports().unwrap_or((0, 0));
    let addresses = u64::from(packet.source()) << 32 | u64::from(packet.destination());
    let rest =
        u64::from(packet.protocol()) << 32 | u64::from(source) << 16 | u64::from(destination);
    mix(mix(addresses) ^ rest)
}
