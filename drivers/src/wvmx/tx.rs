// SPDX-License-Identifier: BSD-2-Clause
//! A transmit queue: a ring of descriptors with generations, and one of completions, of which
//! there is one for each frame, in order.

use super::Wvmx;
use super::layout::{self, SIZE, bar0, done, tx};
use weft_engine::nic::{
    Completions, Error, Full, Lane, Offload, Platform, Registers, Ring, Segment, Setup, Task,
    TxRing,
};

/// A transmit queue.
#[derive(Debug)]
pub struct Queue<P: Platform> {
    lane: Lane<P::Dma, SIZE>,
    completions: Completions<P::Dma, SIZE>,
    doorbells: P::Registers,
    doorbell: u32,
    /// The mask of the vector, if that is this queue's own.
    mask: Option<u32>,
}

impl<P: Platform> Queue<P> {
    pub(super) fn new(card: &Wvmx<P>, setup: &Setup, number: u16) -> Result<Self, Error> {
        let ring = || layout::ring(&card.platform, setup.tx_slots);
        Ok(Self {
            lane: Lane::new(ring()?, 0),
            completions: Completions::new(ring()?),
            doorbells: card.lines.doorbells.clone(),
            doorbell: bar0::of(bar0::TX, number),
            mask: setup
                .vectors
                .own_tx(number)
                .map(|own| bar0::of(bar0::MASK, own)),
        })
    }

    /// Its rings, with their places in its description.
    pub(super) fn rings(&self) -> [(usize, &Ring<P::Dma, SIZE>); 2] {
        [(0, self.lane.ring()), (2, self.completions.ring())]
    }
}

/// What the first descriptor says of the frame.
#[inline]
fn of_frame(offload: &Offload) -> u64 {
    let with_tag = |tag| tx::HAS_TAG | u64::from(tag) << tx::TAG;
    let tag = offload.vlan.map_or(0, with_tag);
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
        let first = segments.first().ok_or(Full)?;
        let behind = |segment: &Segment, is_last, generation| {
            let end = u64::from(is_last) * (tx::END | tx::COMPLETE);
            u64::from(segment.bytes) | end | u64::from(generation) << tx::GENERATION
        };
        let put = self.lane.put_each(
            segments,
            |segment, [is_first, is_last], slot, generation| {
                slot.set(0, segment.address);
                // Until the first one is published, it has the generation of a lap ago.
                if !is_first {
                    slot.set(8, behind(segment, is_last, generation));
                }
            },
            |slot, generation| {
                let half = behind(first, segments.len() == 1, generation);
                slot.set(8, half | of_frame(offload));
            },
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
        let completions = &mut self.completions;
        let last = completions.take(done::is_new, |slot| slot.get::<u32>(0) & done::INDEX)? as u16;
        // What is not out is no frame's, and the library says so.
        Some(self.lane.finish(last).map_or(u16::MAX, |_| last))
    }

    fn arm(&mut self) -> bool {
        if let Some(mask) = self.mask {
            self.doorbells.write(mask, 0_u32);
        }
        self.completions.is_ready(done::is_new)
    }
}
