// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue: a ring of descriptors with generations, and one of completions, of which
//! there is one for each frame, in order.

use super::layout::{self, tx};
use weft_engine::nic::{
    Completions, Error, Full, Lane, Offload, Platform, Put, Registers, Ring, Segment, Setup, Task,
    TxRing,
};

/// A transmit queue.
#[derive(Debug)]
pub struct Queue<P: Platform> {
    lane: Lane<P::Dma>,
    completions: Completions<P::Dma>,
    doorbells: P::Registers,
    doorbell: u32,
}

impl<P: Platform> Queue<P> {
    pub(super) fn new(
        platform: &P,
        doorbells: &P::Registers,
        doorbell: u32,
        setup: &Setup,
    ) -> Result<Self, Error> {
        let ring = || {
            let (stride, align) = (layout::DESCRIPTOR, layout::RING_ALIGN);
            Ring::new(platform, setup.tx_slots, stride, align)
        };
        Ok(Self {
            lane: Lane::new(ring()?, 0),
            completions: Completions::new(ring()?),
            doorbells: doorbells.clone(),
            doorbell,
        })
    }

    pub(super) fn ring(&self) -> &Ring<P::Dma> {
        self.lane.ring()
    }

    pub(super) fn completions(&self) -> &Ring<P::Dma> {
        self.completions.ring()
    }
}

/// What the first descriptor says of the frame.
#[inline]
fn of_frame(offload: &Offload) -> u64 {
    let tag = match offload.vlan {
        Some(tag) => tx::HAS_TAG | u64::from(tag) << tx::TAG,
        None => 0,
    };
    let task = |mode, headers: u16, parameter: u16| {
        mode | u64::from(headers) << tx::HEADERS | u64::from(parameter) << tx::PARAMETER
    };
    tag | match offload.task {
        Task::None => 0,
        Task::Checksum => task(tx::CHECKSUM, offload.transport, offload.sum),
        Task::Segment => task(tx::SEGMENT, offload.payload, offload.mss),
    }
}

impl<P: Platform> TxRing for Queue<P> {
    const IS_IN_ORDER: bool = true;
    const PLAIN_SEGMENTS: u16 = 16;

    fn tokens(&self) -> u16 {
        self.lane.ring().slots()
    }

    #[inline]
    fn room(&self) -> u16 {
        self.lane.room()
    }

    #[inline]
    fn put(&mut self, segments: &[Segment], offload: &Offload) -> Result<u16, Full> {
        let (Some(first), count) = (segments.first(), segments.len() as u16) else {
            return Err(Full);
        };
        let behind = |n: u16, bytes: u32, is_new: bool| {
            let end = if n.wrapping_add(1) == count {
                tx::END | tx::COMPLETE
            } else {
                0
            };
            u64::from(bytes) | end | if is_new { tx::GENERATION } else { 0 }
        };
        let put: Option<Put> = self.lane.put(
            count,
            |n, slot, generation| {
                let Some(segment) = segments.get(usize::from(n)) else {
                    return;
                };
                slot.set(0, segment.address);
                if n > 0 {
                    slot.set(8, behind(n, segment.bytes, generation));
                }
            },
            // Until this the generation is that of a lap ago.
            |slot, generation| slot.set(8, behind(0, first.bytes, generation) | of_frame(offload)),
        );
        put.map(|put| put.last).ok_or(Full)
    }

    #[inline]
    fn kick(&mut self) {
        self.doorbells
            .write(self.doorbell, u32::from(self.lane.next()));
    }

    #[inline]
    fn reap(&mut self) -> Option<u16> {
        let is_new = |done: u32| done >> layout::done::GENERATION != 0;
        let last = self.completions.take(
            |slot| is_new(slot.peek(12)),
            |slot| slot.get::<u32>(0) & layout::done::INDEX,
        )? as u16;
        match self.lane.finish(last) {
            Some(_) => Some(last),
            None => Some(u16::MAX),
        }
    }

    fn arm(&mut self) -> bool {
        let is_new = |done: u32| done >> layout::done::GENERATION != 0;
        self.completions.is_ready(|slot| is_new(slot.peek(12)))
    }

    fn disarm(&mut self) {}
}
