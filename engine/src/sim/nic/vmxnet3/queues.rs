// SPDX-License-Identifier: BSD-2-Clause
//! The queues of the device, with what they may expect of the driver.

use super::{Arrival, Fault};
use crate::sim::nic::Bus;

/// A ring of descriptors, as the device reads it.
#[derive(Debug)]
struct Ring {
    base: u64,
    slots: u32,
    next: u32,
    generation: bool,
}

impl Ring {
    fn new(bus: &mut Bus, base: u64, slots: u32, most: u32) -> Self {
        if !base.is_multiple_of(512) || !slots.is_multiple_of(32) || slots == 0 || slots > most {
            bus.complain(format!("a ring of {slots} descriptors at {base:#x}"));
        }
        Self {
            base,
            slots: slots.max(1),
            next: 0,
            generation: true,
        }
    }

    fn at(&self, number: u32) -> u64 {
        self.base + u64::from(number) * 16
    }

    fn go_on(&mut self) {
        self.next += 1;
        if self.next == self.slots {
            self.next = 0;
            self.generation = !self.generation;
        }
    }

    /// The descriptors from the next on that are the device's, in order, by the bit of that
    /// place in the third word.
    fn own(&self, bus: &mut Bus, bit: u32) -> Vec<u64> {
        let (mut number, mut generation) = (self.next, self.generation);
        let mut found = Vec::new();
        for _ in 0..self.slots {
            let at = self.at(number);
            if (bus.get32(at + 8) >> bit & 1 != 0) != generation {
                break;
            }
            found.push(at);
            number += 1;
            if number == self.slots {
                (number, generation) = (0, !generation);
            }
        }
        found
    }
}

fn vector_of(bus: &mut Bus, description: u64, vectors: u8) -> u8 {
    let vector = bus.bytes(description + 72, 1)[0];
    if vector >= vectors {
        bus.complain(format!("vector {vector} of {vectors}"));
    }
    vector
}

/// A frame that the driver has put.
pub(super) struct Put {
    /// The second half of its first descriptor.
    pub(super) first: u64,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Descriptors.
    pub(super) pieces: usize,
    /// The last of them.
    pub(super) last: u32,
}

/// A transmit queue.
#[derive(Debug)]
pub(super) struct TxQueue {
    pub(super) description: u64,
    pub(super) vector: u8,
    pub(super) is_stuck: bool,
    ring: Ring,
    completions: Ring,
    frames: u64,
    bytes: u64,
}

impl TxQueue {
    pub(super) fn new(bus: &mut Bus, description: u64, vectors: u8) -> Self {
        let (ring, completions) = (bus.get64(description + 16), bus.get64(description + 32));
        let (slots, done) = (bus.get32(description + 56), bus.get32(description + 64));
        if done != slots {
            bus.complain(format!("{done} completions for {slots} descriptors"));
        }
        Self {
            description,
            vector: vector_of(bus, description, vectors),
            is_stuck: false,
            ring: Ring::new(bus, ring, slots, 4096),
            completions: Ring::new(bus, completions, done, 4096),
            frames: 0,
            bytes: 0,
        }
    }

    /// The next frame before the one that the doorbell names.
    pub(super) fn next(&mut self, bus: &mut Bus, producer: u32) -> Option<Put> {
        if producer >= self.ring.slots {
            bus.complain(format!("doorbell says {producer} of {}", self.ring.slots));
            return None;
        }
        if self.is_stuck || self.ring.next == producer {
            return None;
        }
        let mut frame = Put {
            first: bus.get64(self.ring.at(self.ring.next) + 8),
            bytes: Vec::new(),
            pieces: 0,
            last: 0,
        };
        loop {
            let at = self.ring.at(self.ring.next);
            let (address, what) = (bus.get64(at), bus.get64(at + 8));
            if (what >> 14 & 1 != 0) != self.ring.generation {
                bus.complain(format!("descriptor {} was not handed over", self.ring.next));
                self.is_stuck = true;
                return None;
            }
            if what >> 16 & 3 != 0 || what >> 15 & 1 != 0 || what >> 46 & 1 != 0 {
                bus.complain(format!("reserved bits of {what:#x}"));
            }
            let is_first = frame.pieces == 0;
            if !is_first && what & !(0x3fff | 1 << 14 | 3 << 44) != 0 {
                bus.complain(format!("a later piece says {what:#x}"));
            }
            let bytes = what as usize & 0x3fff;
            if bytes == 0 {
                bus.complain("an empty piece");
            }
            frame.bytes.extend(bus.bytes(address, bytes));
            frame.pieces += 1;
            frame.last = self.ring.next;
            self.ring.go_on();
            if what >> 44 & 1 != 0 {
                if what >> 45 & 1 == 0 {
                    bus.complain("no completion is asked for");
                }
                break;
            }
            if self.ring.next == producer {
                bus.complain("a frame does not end");
                return None;
            }
        }
        self.frames += 1;
        self.bytes += frame.bytes.len() as u64;
        Some(frame)
    }

    pub(super) fn complete(&mut self, bus: &mut Bus, last: u32) {
        let at = self.completions.at(self.completions.next);
        bus.put32(at, last % self.ring.slots);
        bus.put32(at + 12, u32::from(self.completions.generation) << 31);
        self.completions.go_on();
    }

    pub(super) fn statistics(&self) -> (u64, Vec<u64>) {
        let figures = vec![0, 0, self.frames, self.bytes];
        (self.description + 88, figures)
    }

    pub(super) fn holds(&self, bus: &mut Bus, address: u64) -> bool {
        address == self.ring.base
            || address == self.completions.base
            || self
                .ring
                .own(bus, 14)
                .iter()
                .any(|&at| bus.get64(at) == address)
    }
}

/// A receive queue.
#[derive(Debug)]
pub(super) struct RxQueue {
    description: u64,
    pub(super) vector: u8,
    number: u16,
    rings: [Ring; 2],
    completions: Ring,
    frames: u64,
    bytes: u64,
    no_buffer: u64,
}

impl RxQueue {
    pub(super) fn new(bus: &mut Bus, description: u64, number: u16, vectors: u8) -> Self {
        let bases: Vec<u64> = (2..5).map(|n| bus.get64(description + n * 8)).collect();
        let slots: Vec<u32> = (14..17).map(|n| bus.get32(description + n * 4)).collect();
        if slots[2] != slots[0] + slots[1] {
            bus.complain(format!("receive rings of {slots:?}"));
        }
        Self {
            description,
            vector: vector_of(bus, description, vectors),
            number,
            rings: [
                Ring::new(bus, bases[0], slots[0], 4096),
                Ring::new(bus, bases[1], slots[1], 4096),
            ],
            completions: Ring::new(bus, bases[2], slots[2], 8192),
            frames: 0,
            bytes: 0,
            no_buffer: 0,
        }
    }

    /// All descriptors before the one that a doorbell names must have been handed over.
    pub(super) fn check_doorbell(&mut self, bus: &mut Bus, ring: usize, producer: u32) {
        let ring = &self.rings[ring];
        let own = ring.own(bus, 31).len() as u32;
        if producer >= ring.slots || (ring.next + own) % ring.slots != producer {
            let next = ring.next;
            bus.complain(format!("doorbell says {producer}, {own} from {next} on"));
        }
    }

    /// Takes the next buffer of a ring: its descriptor's number, its place and bytes.
    fn take(&mut self, bus: &mut Bus, ring: usize) -> Option<(u32, u64, usize)> {
        let one = &mut self.rings[ring];
        let at = one.at(one.next);
        let what = bus.get32(at + 8);
        if (what >> 31 != 0) != one.generation {
            return None;
        }
        if (what >> 14 & 1) as usize != ring || what & 0x7fff_8000 != 0 {
            bus.complain(format!("ring {ring} has a buffer {what:#x}"));
        }
        let bytes = what as usize & 0x3fff;
        if bytes < 128 {
            bus.complain(format!("a buffer of {bytes} bytes"));
        }
        let number = one.next;
        one.go_on();
        Some((number, bus.get64(at), bytes))
    }

    /// Writes a frame into buffers. False if there are too few.
    pub(super) fn receive(
        &mut self,
        bus: &mut Bus,
        frame: &[u8],
        arrival: &Arrival,
        queues: u16,
        most_parts: u16,
        fault: Option<Fault>,
    ) -> bool {
        if let Some(Fault::PassOver(count)) = fault {
            for _ in 0..count {
                // One is left for the frame.
                if self.rings[0].own(bus, 31).len() > 1 {
                    self.take(bus, 0);
                }
            }
        }
        let mut left = frame;
        let mut parts: Vec<(u32, u32, u32)> = Vec::new();
        while !left.is_empty() && parts.len() < usize::from(most_parts) {
            let ring = usize::from(!parts.is_empty());
            let Some((number, address, room)) = self.take(bus, ring) else {
                break;
            };
            let (now, rest) = left.split_at(left.len().min(room));
            bus.write(address, now);
            parts.push((ring as u32, number, now.len() as u32));
            left = rest;
        }
        let is_whole = left.is_empty();
        let last = parts.len().wrapping_sub(1);
        for (n, &(ring, number, bytes)) in parts.iter().enumerate() {
            let is_last = n == last;
            let id = u32::from(self.number) + ring * u32::from(queues);
            let mut words = [
                number | u32::from(is_last) << 14 | u32::from(n == 0) << 15 | id << 16 | 1 << 30,
                0,
                bytes,
                3 << 24,
            ];
            if is_last {
                describe(&mut words, arrival, !is_whole);
                distort(&mut words, fault, self.rings[0].slots);
            }
            self.complete(bus, words);
        }
        if is_whole {
            self.frames += 1;
            self.bytes += frame.len() as u64;
        } else {
            self.no_buffer += 1;
        }
        is_whole
    }

    fn complete(&mut self, bus: &mut Bus, words: [u32; 4]) {
        let at = self.completions.at(self.completions.next);
        let generation = u32::from(self.completions.generation) << 31;
        for (at, word) in (at..).step_by(4).zip(words) {
            bus.put32(at, word);
        }
        bus.put32(at + 12, words[3] | generation);
        self.completions.go_on();
    }

    pub(super) fn statistics(&self) -> (u64, Vec<u64>) {
        let figures = vec![0, 0, self.frames, self.bytes, 0, 0, 0, 0, self.no_buffer, 0];
        (self.description + 88, figures)
    }

    pub(super) fn holds(&self, bus: &mut Bus, address: u64) -> bool {
        let is_ring = self.rings.iter().any(|ring| ring.base == address);
        is_ring
            || self.completions.base == address
            || self.rings.iter().any(|ring| {
                let own = ring.own(bus, 31);
                own.iter().any(|&at| bus.get64(at) == address)
            })
    }
}

/// What the last completion of a frame says.
fn describe(words: &mut [u32; 4], arrival: &Arrival, is_bad: bool) {
    words[2] |= u32::from(is_bad) << 14;
    if let Some(tag) = arrival.vlan {
        words[2] |= 1 << 15 | u32::from(tag) << 16;
    }
    if let Some(sums) = arrival.sums {
        words[0] &= !(1 << 30);
        words[3] |= sums;
    }
    words[0] |= u32::from(arrival.hash_kind) << 26;
    words[1] = arrival.hash;
    if let Some((segments, mss)) = arrival.merged {
        words[1] = segments.into();
        words[3] = words[3] & !(0x7f << 24 | 0xffff) | 4 << 24 | u32::from(mss);
    }
}

fn distort(words: &mut [u32; 4], fault: Option<Fault>, slots: u32) {
    match fault {
        // The next descriptor is the device's still; this one has been given back.
        Some(Fault::BogusRx) => words[0] = words[0] & !0xfff | ((words[0] & 0xfff) + slots) & 0xfff,
        Some(Fault::LongRx) => words[2] |= 0x3fff,
        Some(Fault::WrongRing) => words[0] |= 0x3ff << 16,
        Some(Fault::BadFrame) => words[2] |= 1 << 14,
        _ => {}
    }
}
