// SPDX-License-Identifier: BSD-2-Clause
//! A receive queue: a ring of buffers in which frames begin, one of buffers in which long ones go
//! on, and one of completions.
//!
//! A device may pass over descriptors. Their buffers come back empty, before the one that it
//! has filled.

use super::layout::{self, bar0, done, rx};
use weft_engine::nic::{
    Completions, Error, Extras, Full, Lane, Meta, Platform, Registers, Ring, RxRing, Segment,
    Setup, Taken, Verdict, Wanted,
};
use weft_engine::packet::HashKind;

/// Bytes of a buffer in which a frame begins, if all of it fits there.
const SMALL: u32 = 2048;
/// Bytes of a buffer otherwise, and of those in which it goes on.
const LARGE: u32 = 4096;
/// Descriptors of the second ring if no frame is longer than a buffer.
const FEW: u16 = 32;

/// A receive queue.
#[derive(Debug)]
pub struct Queue<P: Platform> {
    lanes: [Lane<P::Dma>; 2],
    /// Whether the device was given buffers since the last doorbell.
    has_new: [bool; 2],
    completions: Completions<P::Dma>,
    doorbells: P::Registers,
    number: u16,
    queues: u16,
    wanted: [u32; 2],
    is_revision_2: bool,
}

impl<P: Platform> Queue<P> {
    pub(super) fn new(
        platform: &P,
        doorbells: &P::Registers,
        setup: &Setup,
        number: u16,
        is_revision_2: bool,
    ) -> Result<Self, Error> {
        let ring = |slots| Ring::new(platform, slots, layout::DESCRIPTOR, layout::RING_ALIGN);
        let fits = setup.frame_bytes() <= SMALL && !setup.extras.contains(Extras::LRO);
        let bodies = if fits { FEW } else { setup.rx_slots };
        let all = setup.rx_slots.saturating_add(bodies);
        Ok(Self {
            lanes: [
                Lane::new(ring(setup.rx_slots)?, 1),
                Lane::new(ring(bodies)?, 1),
            ],
            has_new: [true; 2],
            completions: Completions::new(ring(all)?),
            doorbells: doorbells.clone(),
            number,
            queues: setup.rx_queues,
            wanted: [if fits { SMALL } else { LARGE }, LARGE],
            is_revision_2,
        })
    }

    pub(super) fn rings(&self) -> [&Ring<P::Dma>; 2] {
        let [heads, bodies] = &self.lanes;
        [heads.ring(), bodies.ring()]
    }

    pub(super) fn completions(&self) -> &Ring<P::Dma> {
        self.completions.ring()
    }

    /// The first ring with room.
    fn with_room(&self) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.room() > 0)
    }

    /// The token of a descriptor: those of the second ring come behind those of the first.
    fn token(&self, ring: usize, number: u16) -> u16 {
        match ring {
            0 => number,
            _ => number.wrapping_add(self.rings()[0].slots()),
        }
    }
}

impl<P: Platform> RxRing for Queue<P> {
    fn tokens(&self) -> u16 {
        self.completions.ring().slots()
    }

    fn room(&self) -> u16 {
        let [heads, bodies] = &self.lanes;
        heads.room().saturating_add(bodies.room())
    }

    fn wanted(&self) -> Option<Wanted> {
        let bytes = *self.wanted.get(self.with_room()?)?;
        Some(Wanted { bytes })
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
            |slot, generation| slot.set(8, bytes | if generation { rx::GENERATION } else { 0 }),
        );
        if let Some(has_new) = self.has_new.get_mut(ring) {
            *has_new = true;
        }
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

    #[inline]
    fn take(&mut self) -> Option<Taken> {
        let is_new = |word: u32| word >> done::GENERATION != 0;
        let [where_, hash, what, sums] = self.completions.peek(
            |slot| is_new(slot.peek(12)),
            |slot| [slot.get(0), slot.get(4), slot.get(8), slot.get::<u32>(12)],
        )?;
        let nonsense = Taken {
            token: u16::MAX,
            ..Taken::default()
        };
        let ring = (where_ >> done::RING & 0x3ff) as u16;
        let ring = match ring.checked_sub(self.number) {
            Some(0) => 0,
            Some(queues) if queues == self.queues => 1,
            _ => return Some(nonsense),
        };
        let lane = self.lanes.get_mut(ring)?;
        let number = (where_ & done::INDEX) as u16;
        match lane.distance(number) {
            None => return Some(nonsense),
            Some(0) => self.completions.advance(),
            Some(_) => {
                let (passed, _) = lane.oldest()?;
                lane.finish(passed);
                let token = self.token(ring, passed);
                return Some(Taken {
                    token,
                    ..Taken::default()
                });
            }
        }
        lane.finish(number);
        let is_last = where_ & done::END != 0;
        Some(Taken {
            token: self.token(ring, number),
            skip: 0,
            bytes: what & done::BYTES,
            is_last,
            is_bad: what & done::ERROR != 0,
            meta: match is_last {
                true => self.meta(where_, hash, what, sums),
                false => Meta::default(),
            },
        })
    }

    #[inline]
    fn arm(&mut self) -> bool {
        let is_new = |word: u32| word >> done::GENERATION != 0;
        self.completions.is_ready(|slot| is_new(slot.peek(12)))
    }

    fn disarm(&mut self) {}
}

impl<P: Platform> Queue<P> {
    #[inline]
    fn meta(&self, where_: u32, hash: u32, what: u32, sums: u32) -> Meta {
        let mut meta = Meta {
            vlan: (what & done::HAS_TAG != 0).then_some((what >> 16) as u16),
            ..Meta::default()
        };
        if where_ & done::NOT_CHECKED == 0 {
            let is_ipv4 = sums & done::IPV4 != 0;
            let is_checked = sums & (done::TCP | done::UDP) != 0 && sums & done::FRAGMENT == 0;
            meta.verdict.set(Verdict::IP_CHECKED, is_ipv4);
            meta.verdict
                .set(Verdict::IP_GOOD, is_ipv4 && sums & done::IP_GOOD != 0);
            meta.verdict.set(Verdict::L4_CHECKED, is_checked);
            meta.verdict
                .set(Verdict::L4_GOOD, is_checked && sums & done::L4_GOOD != 0);
        }
        if self.is_revision_2 && sums >> done::KIND & 0x7f == done::MERGED {
            meta.segments = (hash & 0xff) as u16;
            meta.mss = sums as u16;
            return meta;
        }
        meta.hash_kind = match where_ >> done::HASH_KIND & 0xf {
            0 => return meta,
            1 => HashKind::Ipv4,
            2 => HashKind::TcpIpv4,
            3 => HashKind::Ipv6,
            4 => HashKind::TcpIpv6,
            _ => HashKind::Opaque,
        };
        meta.hash = hash;
        meta
    }
}
