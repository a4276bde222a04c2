// SPDX-License-Identifier: BSD-2-Clause
//! Receive queues: a descriptor a buffer, written back in order. A frame that is longer than a
//! buffer takes several.

use super::Family;
use super::descriptor::{Arrived, Errors, Received, SIZE, empty};
use super::registers::*;
use weft_engine::nic::{
    Error, Full, Lane, Meta, Platform, Registers, Ring, RxRing, Segment, Setup, Taken, VectorKind,
    Verdict, Wanted,
};
use weft_engine::packet::HashKind;

/// Fetch ahead below 32 descriptors if 4 are there, write back by 4 (82574).
const THRESHOLDS: u32 = 32 | 4 << 8 | 4 << 16 | 1 << 24;

/// The bytes of a buffer, and what RCTL says of them.
pub(super) fn buffer_size(setup: &Setup) -> (u32, Receive) {
    if setup.frame_bytes() <= 2048 {
        (2048, Receive::empty())
    } else {
        (
            4096,
            Receive::SIZE_EXTENDED | Receive::SIZE_LOW | Receive::SIZE_HIGH,
        )
    }
}

/// A receive queue.
pub struct WemRx<P: Platform> {
    registers: P::Registers,
    tail: u32,
    /// The register of the least time between interrupts.
    gap: u32,
    lane: Lane<P::Dma, SIZE>,
    buffer_bytes: u32,
    family: Family,
}

impl<P: Platform> WemRx<P> {
    pub(super) fn new(
        platform: &P,
        registers: P::Registers,
        family: Family,
        setup: &Setup,
        number: u16,
    ) -> Result<Self, Error> {
        let ring = Ring::new(platform, setup.rx_slots, SIZE, 128)?;
        let row = RX_QUEUE + u32::from(number) * QUEUE_STRIDE;
        let address = ring.address();
        registers.write(row + BASE_LOW, address as u32);
        registers.write(row + BASE_HIGH, (address >> 32) as u32);
        registers.write(row + LENGTH, ring.bytes());
        registers.write(row + HEAD, 0_u32);
        registers.write(row + TAIL, 0_u32);
        registers.write(row + DELAY, 0_u32);
        registers.write(row + ABSOLUTE_DELAY, 0_u32);
        let (thresholds, gap) = match setup.vectors.kind {
            VectorKind::Msix => (THRESHOLDS, EITR + 4 * u32::from(setup.vectors.rx(number))),
            _ => (0, ITR),
        };
        if family == Family::Express {
            registers.write(row + DESCRIPTOR_CONTROL, thresholds);
        }
        Ok(Self {
            registers,
            tail: row + TAIL,
            gap,
            lane: Lane::new(ring, 1),
            buffer_bytes: buffer_size(setup).0,
            family,
        })
    }

    #[inline(always)]
    fn arrived(&self, words: [u64; 2]) -> Arrived {
        match self.family {
            Family::Pci => Arrived::of_legacy(words),
            Family::Express => Arrived::of_extended(words),
        }
    }
}

impl<P: Platform> RxRing for WemRx<P> {
    fn tokens(&self) -> u16 {
        self.lane.ring().slots()
    }

    #[inline]
    fn room(&self) -> u16 {
        self.lane.room()
    }

    #[inline]
    fn wanted(&self) -> Option<Wanted> {
        (self.lane.room() > 0).then_some(Wanted {
            bytes: self.buffer_bytes,
        })
    }

    #[inline]
    fn next(&self) -> Option<u16> {
        Some(self.lane.next())
    }

    #[inline]
    fn give(&mut self, buffer: Segment) -> Result<u16, Full> {
        let put = self.lane.put(
            1,
            |_, slot, _| {
                let words = empty(buffer.address);
                slot.set(0, words[0]);
                slot.set(8, words[1]);
            },
            |_, _| {},
        );
        Ok(put.ok_or(Full)?.first)
    }

    fn kick(&mut self) {
        self.registers.write(self.tail, u32::from(self.lane.next()));
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        let (token, slot) = self.lane.oldest()?;
        if !self
            .arrived([0, slot.peek(8)])
            .status
            .contains(Received::DONE)
        {
            return None;
        }
        let slot = slot.take_back();
        let arrived = self.arrived([slot.get(0), slot.get(8)]);
        self.lane.finish(token)?;
        Some(Taken {
            token,
            skip: 0,
            bytes: arrived.len.into(),
            is_last: arrived.status.contains(Received::END),
            is_bad: arrived.errors.intersects(Errors::FRAME),
            meta: meta(&arrived),
        })
    }

    fn arm(&mut self) -> bool {
        let Some((_, slot)) = self.lane.oldest() else {
            return false;
        };
        self.arrived([0, slot.peek(8)])
            .status
            .contains(Received::DONE)
    }

    fn disarm(&mut self) {}

    fn moderate(&mut self, gap_ns: u32) {
        // In 256 ns.
        self.registers.write(self.gap, (gap_ns >> 8).min(0xffff));
    }
}

/// What the device says of a frame.
#[inline(always)]
fn meta(arrived: &Arrived) -> Meta {
    let status = arrived.status;
    let mut verdict = Verdict::empty();
    if !status.contains(Received::IGNORE) {
        let ip = status.contains(Received::IP);
        let layer_4 = status.intersects(Received::LAYER_4 | Received::UDP);
        verdict.set(Verdict::IP_CHECKED, ip);
        verdict.set(Verdict::IP_GOOD, ip && !arrived.errors.contains(Errors::IP));
        verdict.set(Verdict::L4_CHECKED, layer_4);
        let is_good = layer_4 && !arrived.errors.contains(Errors::LAYER_4);
        verdict.set(Verdict::L4_GOOD, is_good);
    }
    let (hash_kind, hash) = match arrived.hash {
        Some((1, hash)) => (HashKind::TcpIpv4, hash),
        Some((2, hash)) => (HashKind::Ipv4, hash),
        Some((3 | 6, hash)) => (HashKind::TcpIpv6, hash),
        Some((4 | 5, hash)) => (HashKind::Ipv6, hash),
        _ => (HashKind::None, 0),
    };
    Meta {
        verdict,
        vlan: status.contains(Received::VLAN).then_some(arrived.vlan),
        hash,
        hash_kind,
        ..Meta::default()
    }
}
