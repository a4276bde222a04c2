// SPDX-License-Identifier: BSD-2-Clause
//! The rings: what is taken from memory, and what is stored there.

use super::receive::hash;
use super::{Chip, Fault, Kind, Verdict, passes, verdict};
use weft_drivers::wem::registers::*;
use weft_engine::sim::nic::Bus;

const ENABLE: u32 = 1 << 1;
const VME: u32 = 1 << 30;

/// What became of a frame from the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It was stored.
    Stored,
    /// The filters did not let it pass.
    Filtered,
    /// There was no room.
    Missed,
    /// Nobody receives.
    Off,
}

impl Chip {
    fn queue(&self, first: u32, n: u32) -> (u32, u64, u32) {
        let row = first + n * QUEUE_STRIDE;
        let base = u64::from(self.at(row + BASE_HIGH)) << 32 | u64::from(self.at(row + BASE_LOW));
        (row, base, self.at(row + LENGTH) / 16)
    }

    fn queues(&self) -> u32 {
        if self.kind == Kind::Intel82574 { 2 } else { 1 }
    }

    /// Takes what is to be sent, up to so many descriptors of each queue.
    pub(crate) fn run(&mut self, bus: &mut Bus, most: usize) {
        for n in 0..self.queues() {
            let mut causes = 0;
            let mut taken = 0;
            while taken < most || self.engines[n as usize].is_amid() {
                match self.take_one(bus, n) {
                    Some(cause) => causes |= cause,
                    None => break,
                }
                taken += 1;
            }
            if causes != 0 {
                self.raise(bus, causes);
            }
        }
    }

    fn take_one(&mut self, bus: &mut Bus, n: u32) -> Option<u32> {
        let (row, base, size) = self.queue(TX_QUEUE, n);
        let (head, tail) = (self.at(row + HEAD), self.at(row + TAIL));
        let off = self.at(TCTL) & ENABLE == 0 || size == 0;
        if off || self.has(Fault::Gone) || self.has(Fault::SendStuck) {
            return None;
        }
        if let Some(()) = self.take_fault(|fault| (*fault == Fault::AllSent).then_some(())) {
            for at in 0..size {
                bus.write(base + u64::from(at) * 16 + 12, &[1, 0, 0, 0]);
            }
            return Some(1);
        }
        if head == tail {
            return None;
        }
        let at = base + u64::from(head) * 16;
        let words = [bus.get64(at), bus.get64(at + 8)];
        self.contexts += u32::from(words[1] >> 20 & 0xf == 0);
        let vlan = self.at(CTRL) & VME != 0;
        let ethertype = self.at(VET) as u16;
        let most = if self.kind == Kind::Intel82574 {
            9234 - 4
        } else {
            16_288 - 4
        };
        let mut engine = core::mem::take(&mut self.engines[n as usize]);
        let taken = engine.take(words, vlan, ethertype, most, &mut |at, into| {
            bus.read(at, into)
        });
        if self.kind == Kind::Intel82574 {
            engine.share_context(&mut self.engines[1 - n as usize]);
        }
        self.engines[n as usize] = engine;
        self.put(row + HEAD, (head + 1) % size);
        let taken = match taken {
            Ok(taken) => taken,
            Err(what) => {
                bus.complain(what);
                return Some(0);
            }
        };
        for frame in taken.frames {
            self.count_sent(&frame);
            self.sent.push_back(frame);
        }
        if !taken.report {
            return Some(0);
        }
        let done = (words[1] >> 32) as u32 | 1;
        bus.put32(at + 12, done);
        Some(
            1 | if self.kind == Kind::Intel82574 {
                1 << (22 + n)
            } else {
                0
            },
        )
    }

    fn count(&mut self, register: u32, by: u32) {
        let value = self.at(register).saturating_add(by);
        self.put(register, value);
    }

    fn count_sent(&mut self, frame: &[u8]) {
        let bytes = frame.len() as u32 + 4;
        for (register, by) in [(0x4080, 1), (0x40d4, 1), (0x4090, bytes), (0x40c8, bytes)] {
            self.count(register, by);
        }
        if frame[..6] == [0xff; 6] {
            self.count(0x40f4, 1);
        } else if frame[0] & 1 != 0 {
            self.count(0x40f0, 1);
        }
    }

    fn buffer_bytes(&self) -> usize {
        let rctl = self.at(RCTL);
        let size = 2048 >> (rctl >> 16 & 3);
        if rctl & 1 << 25 != 0 { size * 16 } else { size }
    }

    /// Takes a frame from the wire, without its check sequence.
    pub(crate) fn receive(&mut self, bus: &mut Bus, frame: &[u8]) -> Came {
        let rctl = self.at(RCTL);
        if rctl & ENABLE == 0 || !self.link || self.has(Fault::Gone) {
            return Came::Off;
        }
        let mut frame = frame.to_vec();
        if frame.len() < 60 {
            frame.resize(60, 0);
        }
        if rctl & 1 << 26 == 0 {
            bus.complain("check sequences are stored");
        }
        if rctl & 1 << 5 == 0 && frame.len() > 1518 {
            self.count(0x40ac, 1);
            return Came::Filtered;
        }
        if !passes(&frame, &|at| self.at(at)) {
            return Came::Filtered;
        }
        let mut tag = 0;
        let tagged = frame[12] == 0x81 && frame[13] == 0;
        let stripped = tagged && self.at(CTRL) & VME != 0 && self.kind != Kind::Bhyve82545;
        if stripped {
            tag = u16::from_be_bytes([frame[14], frame[15]]);
            frame.drain(12..16);
        }
        let key: Vec<u8> = (0..10)
            .flat_map(|n| self.at(RSSRK + 4 * n).to_le_bytes())
            .collect();
        let hash = match self.at(MRQC) & 3 {
            1 => hash(&key, &frame),
            _ => None,
        };
        let n = if let Some(hash) = hash {
            let entry = self.at(RETA + (hash & 0x7f) / 4 * 4) >> (8 * (hash & 3));
            entry >> 7 & 1
        } else {
            0
        };
        self.store_frame(bus, n, &frame, stripped.then_some(tag), hash)
    }

    fn store_frame(
        &mut self,
        bus: &mut Bus,
        n: u32,
        frame: &[u8],
        tag: Option<u16>,
        hash: Option<u32>,
    ) -> Came {
        let (row, base, size) = self.queue(RX_QUEUE, n);
        let each = self.buffer_bytes();
        let needed = frame.len().div_ceil(each) as u32;
        let (head, tail) = (self.at(row + HEAD), self.at(row + TAIL));
        if size == 0 || self.has(Fault::ReceiveStuck) || (tail + size - head) % size < needed {
            self.count(0x4010, 1);
            self.count(0x40a0, 1);
            self.raise(bus, 1 << 6);
            return Came::Missed;
        }
        let no_end = self.take_fault(|fault| (*fault == Fault::NoEnd).then_some(()));
        let errors = self.take_fault(|fault| match fault {
            Fault::Errors(bits) => Some(*bits),
            _ => None,
        });
        let length = self.take_fault(|fault| match fault {
            Fault::Length(bytes) => Some(*bytes),
            _ => None,
        });
        let mut at = head;
        let parts: Vec<_> = frame.chunks(each).collect();
        for (k, part) in parts.iter().enumerate() {
            let place = base + u64::from(at) * 16;
            let is_last = k + 1 == parts.len();
            let mut written = Written {
                len: part.len() as u16,
                status: 1,
                errors: 0,
                tag: 0,
                hash,
            };
            if is_last {
                self.finish(&mut written, frame, tag);
                written.errors |= errors.unwrap_or(0);
                written.len = length.unwrap_or(written.len);
                if no_end.is_some() {
                    written.status &= !2;
                }
            }
            let words = [bus.get64(place), bus.get64(place + 8)];
            if words[1] != 0 {
                bus.complain(format!(
                    "a receive descriptor that is not empty: {words:x?}"
                ));
            }
            bus.write(words[0], part);
            bus.write(place, &self.written(words[0], &written));
            at = (at + 1) % size;
        }
        self.put(row + HEAD, at);
        self.count(0x4074, 1);
        self.count(0x40d0, 1);
        self.count(0x4088, frame.len() as u32 + 4);
        let own = if self.kind == Kind::Intel82574 {
            1 << (20 + n)
        } else {
            0
        };
        self.raise(bus, 1 << 7 | own);
        Came::Stored
    }

    fn finish(&self, written: &mut Written, frame: &[u8], tag: Option<u16>) {
        written.status |= 2;
        if let Some(tag) = tag {
            written.status |= 8;
            written.tag = tag;
        }
        let on = self.at(RXCSUM);
        let Verdict {
            ip,
            layer_4,
            is_udp,
        } = match self.kind {
            Kind::Intel82574 => verdict(frame),
            _ => Verdict::default(),
        };
        let (ip, layer_4) = (
            ip.filter(|_| on & 1 << 8 != 0),
            layer_4.filter(|_| on & 1 << 9 != 0),
        );
        if ip.is_none() && layer_4.is_none() {
            written.status |= 4;
            return;
        }
        written.status |= if ip.is_some() { 1 << 6 } else { 0 };
        written.status |= if layer_4.is_some() { 1 << 5 } else { 0 };
        written.status |= if layer_4.is_some() && is_udp {
            1 << 4
        } else {
            0
        };
        written.errors |= if ip == Some(false) { 1 << 6 } else { 0 };
        written.errors |= if layer_4 == Some(false) { 1 << 5 } else { 0 };
    }

    fn written(&self, address: u64, written: &Written) -> [u8; 16] {
        let mut bytes = [0; 16];
        if self.kind == Kind::Intel82574 && self.at(RFCTL) & 1 << 15 != 0 {
            let kind = u32::from(written.hash.is_some());
            bytes[..4].copy_from_slice(&kind.to_le_bytes());
            bytes[4..8].copy_from_slice(&written.hash.unwrap_or(0).to_le_bytes());
            bytes[8] = written.status;
            bytes[11] = written.errors;
            bytes[12..14].copy_from_slice(&written.len.to_le_bytes());
        } else {
            bytes[..8].copy_from_slice(&address.to_le_bytes());
            bytes[8..10].copy_from_slice(&written.len.to_le_bytes());
            bytes[12] = written.status;
            bytes[13] = written.errors;
        }
        bytes[14..].copy_from_slice(&written.tag.to_le_bytes());
        bytes
    }
}

struct Written {
    len: u16,
    status: u8,
    errors: u8,
    tag: u16,
    hash: Option<u32>,
}
