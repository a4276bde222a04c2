// SPDX-License-Identifier: BSD-2-Clause
//! A receive queue: a ring of buffers in which frames begin, one of buffers in which long ones go
//! on, and one of completions.
//!
//! A device may pass over descriptors. Their buffers come back empty, before the one that it
//! has filled.

use super::Wvmx;
use super::layout::{self, SIZE, bar0, done, rx};
use weft_engine::nic::{
    Completions, Error, Extras, Full, Lane, Meta, Platform, Registers, Ring, RxRing, Segment,
    Setup, Slot, Taken, Verdict, Wanted,
};
use weft_engine::packet::HashKind;

/// Bytes of a buffer in which a frame begins, if all of it fits there.
const SMALL: u32 = 2048;
/// Bytes of a buffer otherwise, and of those in which it goes on.
const LARGE: u32 = 4096;
/// Descriptors of the second ring if no frame is longer than a buffer.
const FEW: u16 = 32;

/// What is hashed, by the device's number.
const HASH_KINDS: [HashKind; 5] = {
    use HashKind::{Ipv4, Ipv6, None, TcpIpv4, TcpIpv6};
    [None, Ipv4, TcpIpv4, Ipv6, TcpIpv6]
};

/// A receive queue.
#[derive(Debug)]
pub struct Queue<P: Platform> {
    lanes: [Lane<P::Dma, SIZE>; 2],
    /// Whether the device was given buffers since the last doorbell.
    has_new: [bool; 2],
    completions: Completions<P::Dma, SIZE>,
    doorbells: P::Registers,
    heads: u16,
    number: u16,
    queues: u16,
    wanted: [u32; 2],
    is_revision_2: bool,
}

impl<P: Platform> Queue<P> {
    pub(super) fn new(card: &Wvmx<P>, setup: &Setup, number: u16) -> Result<Self, Error> {
        let ring = |slots| layout::ring(&card.platform, slots);
        let fits = setup.frame_bytes() <= SMALL && !setup.extras.contains(Extras::LRO);
        let bodies = if fits { FEW } else { setup.rx_slots };
        let all = setup.rx_slots.saturating_add(bodies);
        Ok(Self {
            lanes: [ring(setup.rx_slots)?, ring(bodies)?].map(|ring| Lane::new(ring, 1)),
            has_new: [true; 2],
            completions: Completions::new(ring(all)?),
            doorbells: card.lines.doorbells.clone(),
            heads: setup.rx_slots,
            number,
            queues: setup.rx_queues,
            wanted: [if fits { SMALL } else { LARGE }, LARGE],
            is_revision_2: card.revision == layout::REVISION_2,
        })
    }

    /// Its rings, with their places in its description.
    pub(super) fn rings(&self) -> [(usize, &Ring<P::Dma, SIZE>); 3] {
        let [heads, bodies] = self.lanes.each_ref().map(Lane::ring);
        [(0, heads), (1, bodies), (2, self.completions.ring())]
    }

    /// The first ring with room.
    #[inline(always)]
    fn with_room(&self) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.room() > 0)
    }

    /// The token of a descriptor: those of the second ring come behind those of the first.
    fn token(&self, ring: usize, number: u16) -> u16 {
        number.wrapping_add(self.heads * ring as u16)
    }
}

impl<P: Platform> RxRing for Queue<P> {
    fn tokens(&self) -> u16 {
        self.completions.ring().slots()
    }

    #[inline]
    fn room(&self) -> u16 {
        let [heads, bodies] = &self.lanes;
        heads.room().saturating_add(bodies.room())
    }

    #[inline]
    fn wanted(&self) -> Option<Wanted> {
        let bytes = *self.wanted.get(self.with_room()?)?;
        Some(Wanted { bytes })
    }

    #[inline]
    fn next(&self) -> Option<u16> {
        let ring = self.with_room()?;
        let next = self.lanes.get(ring)?.next();
        Some(self.token(ring, next))
    }

    #[inline]
    fn give(&mut self, buffer: Segment) -> Result<u16, Full> {
        let ring = self.with_room().ok_or(Full)?;
        let kind = if ring == 0 { 0 } else { rx::BODY };
        let bytes = buffer.bytes.min(layout::MOST_BYTES) | kind;
        let lane = self.lanes.get_mut(ring).ok_or(Full)?;
        let put = lane.put(
            1,
            |_, slot, _| slot.set(0, buffer.address),
            |slot, generation| slot.set(8, bytes | u32::from(generation) << rx::GENERATION),
        );
        *self.has_new.get_mut(ring).ok_or(Full)? = true;
        put.map(|put| self.token(ring, put.last)).ok_or(Full)
    }

    fn kick(&mut self) {
        for ((lane, has_new), register) in self.lanes.iter().zip(&mut self.has_new).zip(bar0::RX) {
            if core::mem::take(has_new) {
                let next = u32::from(lane.next());
                self.doorbells.write(bar0::of(register, self.number), next);
            }
        }
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        let halves = |slot: &Slot<'_, _, _>| [slot.get::<u64>(0), slot.get::<u64>(8)];
        let [[where_, hash], [what, sums]] = self
            .completions
            .peek(done::is_new, halves)?
            .map(|half| [half as u32, (half >> 32) as u32]);
        let ring = (where_ >> done::RING & 0x3ff) as u16;
        let ring = match ring.checked_sub(self.number) {
            Some(0) => 0,
            Some(queues) if queues == self.queues => 1,
            _ => return Some(Taken::NONSENSE),
        };
        let lane = self.lanes.get_mut(ring)?;
        let number = (where_ & done::INDEX) as u16;
        match lane.distance(number) {
            None => return Some(Taken::NONSENSE),
            Some(0) => self.completions.advance(),
            Some(_) => {
                let (passed, _) = lane.oldest()?;
                lane.finish(passed);
                return Some(Taken::empty(self.token(ring, passed)));
            }
        }
        lane.finish(number);
        let is_last = where_ & done::END != 0;
        let meta = match is_last {
            true => self.meta(where_, hash, what, sums),
            false => Meta::NOTHING,
        };
        Some(Taken {
            bytes: what & done::BYTES,
            is_last,
            is_bad: what & done::ERROR != 0,
            meta,
            ..Taken::empty(self.token(ring, number))
        })
    }

    #[inline]
    fn arm(&mut self) -> bool {
        self.completions.is_ready(done::is_new)
    }
}

impl<P: Platform> Queue<P> {
    #[inline(always)]
    fn meta(&self, where_: u32, hash: u32, what: u32, sums: u32) -> Meta {
        let mut meta = Meta {
            vlan: (what & done::HAS_TAG != 0).then_some((what >> 16) as u16),
            ..Meta::NOTHING
        };
        if where_ & done::NOT_CHECKED == 0 {
            let has_l4 = sums & (done::TCP | done::UDP) != 0 && sums & done::FRAGMENT == 0;
            let ip = (sums & done::IPV4 != 0).then_some(sums & done::IP_GOOD != 0);
            let l4 = has_l4.then_some(sums & done::L4_GOOD != 0);
            meta.verdict = Verdict::of(ip, l4);
        }
        if self.is_revision_2 && sums >> done::KIND & 0x7f == done::MERGED {
            meta.segments = (hash & 0xff) as u16;
            meta.mss = sums as u16;
        } else {
            let kind = HASH_KINDS.get((where_ >> done::HASH_KIND & 0xf) as usize);
            meta.hash_kind = kind.copied().unwrap_or(HashKind::Opaque);
            meta.hash = hash;
        }
        meta
    }
}
