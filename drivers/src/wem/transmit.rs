// SPDX-License-Identifier: BSD-2-Clause
//! Transmit queues: for each frame a context descriptor if the device does not know it yet, and
//! data descriptors, of which the last one is written back when the frame is sent.

use super::Family;
use super::descriptor::{self, Command, Context, Data, Fill, SIZE};
use super::registers::*;
use weft_engine::nic::{
    Error, Full, Lane, Offload, Platform, Registers, Ring, Segment, Setup, Slots, Task, TxRing,
    VectorKind,
};

/// Bytes of a segment's end that get a descriptor of their own: the 8254x may report a long
/// segment sent while its last descriptor is still read, unless that is small.
const END_APART: u32 = 4;
/// Descriptors that a frame may take beside its pieces: a context, and an end apart.
const EXTRA: u16 = 2;
/// How long a report may wait for more, in 1.024 us.
const REPORT_DELAY: u32 = 64;

/// A transmit queue.
pub struct WemTx<P: Platform> {
    registers: P::Registers,
    tail: u32,
    /// The interrupt cause of frames that were sent.
    cause: Cause,
    lane: Lane<P::Dma, SIZE>,
    /// The last descriptor of the frame that begins at each.
    ends: Slots<u16>,
    /// That of the oldest frame, if it was looked up.
    end: Option<u16>,
    /// What the device knows; `None` if that does not count.
    context: Option<Context>,
    /// Whether a context counts beyond its frame: an 82574 has one for both queues.
    keeps_context: bool,
    was_segment: bool,
}

impl<P: Platform> WemTx<P> {
    pub(super) fn new(
        platform: &P,
        registers: P::Registers,
        family: Family,
        setup: &Setup,
        number: u16,
    ) -> Result<Self, Error> {
        let ring = Ring::new(platform, setup.tx_slots, SIZE, 128)?;
        let row = TX_QUEUE + u32::from(number) * QUEUE_STRIDE;
        let address = ring.address();
        registers.write(row + BASE_LOW, address as u32);
        registers.write(row + BASE_HIGH, (address >> 32) as u32);
        registers.write(row + LENGTH, ring.bytes());
        registers.write(row + HEAD, 0_u32);
        registers.write(row + TAIL, 0_u32);
        registers.write(row + DELAY, REPORT_DELAY);
        registers.write(row + ABSOLUTE_DELAY, REPORT_DELAY);
        let mut thresholds = TX_THRESHOLDS;
        if family == Family::Express {
            thresholds |= TX_COUNTED;
            let mut arbitration: u32 = registers.read(row + ARBITRATION);
            arbitration |= if number == 0 { ARBITRATION_FIRST } else { 0 };
            arbitration |= if setup.tx_queues > 1 {
                ARBITRATION_BOTH
            } else {
                0
            };
            registers.write(row + ARBITRATION, arbitration);
        }
        registers.write(row + DESCRIPTOR_CONTROL, thresholds);
        Ok(Self {
            registers,
            tail: row + TAIL,
            cause: match (setup.vectors.kind, number) {
                (VectorKind::Msix, 0) => Cause::SENT_0,
                (VectorKind::Msix, _) => Cause::SENT_1,
                _ => Cause::SENT,
            },
            ends: Slots::new(ring.slots()).ok_or(Error::NoMemory)?,
            lane: Lane::new(ring, 1),
            end: None,
            context: None,
            keeps_context: setup.tx_queues == 1,
            was_segment: false,
        })
    }

    /// Whether the oldest frame is sent, and its last descriptor.
    fn sent(&mut self) -> Option<u16> {
        let (first, _) = self.lane.oldest()?;
        if self.end.is_none() {
            self.end = self.ends.take(first);
        }
        let end = self.end?;
        let slot = self.lane.ring().lent(end);
        if !descriptor::is_sent(slot.peek(descriptor::STATUS_AT)) {
            return None;
        }
        slot.take_back();
        Some(end)
    }
}

impl<P: Platform> TxRing for WemTx<P> {
    fn tokens(&self) -> u16 {
        self.lane.ring().slots()
    }

    fn room(&self) -> u16 {
        self.lane.room().saturating_sub(EXTRA)
    }

    fn put(&mut self, segments: &[Segment], offload: &Offload) -> Result<u16, Full> {
        let Some((last, others)) = segments.split_last() else {
            return Err(Full);
        };
        let bytes = segments
            .iter()
            .fold(0, |sum: u32, one| sum.wrapping_add(one.bytes));
        let context = context(offload, bytes);
        let is_segment = offload.task == Task::Segment;
        let needed = context.filter(|new| is_segment || self.context != Some(*new));
        // Where the frame begins among the descriptors, and what its last piece is split into.
        let skip = u16::from(needed.is_some());
        let apart = is_segment || self.was_segment && others.is_empty();
        let apart = apart && last.bytes > 2 * END_APART;
        let count = (segments.len() as u16)
            .wrapping_add(skip)
            .wrapping_add(apart.into());
        let mut pieces = segments.iter().copied();
        let mut rest = None;
        let mut left = count.wrapping_sub(skip);
        let mut data = data(offload);
        let put = self.lane.put(
            count,
            |n, slot, _| {
                let words = match needed {
                    Some(context) if n == 0 => context.words(),
                    _ => {
                        left = left.wrapping_sub(1);
                        let mut piece = rest.take().or_else(|| pieces.next()).unwrap_or_default();
                        if apart && left == 1 {
                            rest = Some(cut_end(&mut piece));
                        }
                        (data.address, data.len) = (piece.address, piece.bytes);
                        if left == 0 {
                            data.command |= Command::END | Command::REPORT;
                        }
                        data.words()
                    }
                };
                slot.set(0, words[0]);
                slot.set(8, words[1]);
            },
            |_, _| {},
        );
        let put = put.ok_or(Full)?;
        if needed.is_some() {
            self.context = needed.filter(|_| self.keeps_context && !is_segment);
        }
        self.was_segment = is_segment;
        // The place is free, for its descriptor was.
        let _ = self.ends.put(put.first, put.last);
        Ok(put.last)
    }

    fn kick(&mut self) {
        self.registers.write(self.tail, u32::from(self.lane.next()));
    }

    fn reap(&mut self) -> Option<u16> {
        let end = self.sent()?;
        self.end = None;
        self.lane.finish(end)?;
        Some(end)
    }

    fn arm(&mut self) -> bool {
        self.registers.write(IMS, self.cause.bits());
        self.sent().is_some()
    }

    fn disarm(&mut self) {
        self.registers.write(IMC, self.cause.bits());
    }
}

/// Takes the end off a piece.
fn cut_end(piece: &mut Segment) -> Segment {
    piece.bytes = piece.bytes.wrapping_sub(END_APART);
    Segment {
        address: piece.address.wrapping_add(piece.bytes.into()),
        bytes: END_APART,
    }
}

/// What the device must know to do that. Headers are where adapters look for them, in a frame's
/// first 128 bytes, so a byte has room for each offset.
fn context(offload: &Offload, bytes: u32) -> Option<Context> {
    if offload.task == Task::None {
        return None;
    }
    let segment = (offload.task == Task::Segment).then(|| descriptor::Segment {
        header: offload.payload as u8,
        size: offload.mss,
        payload: bytes.wrapping_sub(offload.payload.into()),
    });
    Some(Context {
        ip: offload.network as u8,
        ip_end: (!offload.is_ipv6).then_some(offload.transport),
        layer_4: offload.transport as u8,
        checksum: offload.sum as u8,
        is_tcp: offload.is_tcp,
        segment,
    })
}

/// What all data descriptors of a frame say.
fn data(offload: &Offload) -> Data {
    let mut command = Command::CRC | Command::DELAY;
    command.set(Command::VLAN, offload.vlan.is_some());
    command.set(Command::SEGMENT, offload.task == Task::Segment);
    let mut fill = Fill::empty();
    fill.set(Fill::LAYER_4, offload.task != Task::None);
    fill.set(Fill::IP, offload.task == Task::Segment && !offload.is_ipv6);
    Data {
        address: 0,
        len: 0,
        command,
        fill,
        vlan: offload.vlan.unwrap_or(0),
    }
}
