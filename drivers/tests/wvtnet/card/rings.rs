// SPDX-License-Identifier: BSD-2-Clause
//! Split virtqueues, as the device sees them.

use super::frames::Header;
use super::{
    CONTROL_VLAN, CSUM, DRIVER_OK, EVENTS, Fault, GUEST_CSUM, HOST_TSO, MERGEABLE, MULTI_QUEUE,
    VERSION_1, Virtio,
};
use crate::machine::frames::layer_4;
use weft_engine::sim::nic::Bus;

/// A queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    pub(super) size: u16,
    pub(super) vector: u16,
    pub(super) is_on: bool,
    /// Descriptors, available, used.
    pub(super) parts: [u64; 3],
    taken: u16,
    used: u16,
    /// The used index when an interrupt was thought of last.
    told: u16,
    last: (u32, u32),
}

/// A chain: its head, what is read, and where is written.
struct Chain {
    head: u16,
    bytes: Vec<u8>,
    places: Vec<(u64, usize)>,
}

impl Ring {
    pub(super) fn of(size: u16) -> Self {
        Self {
            size,
            vector: 0xffff,
            ..Self::default()
        }
    }

    /// Where the parts are when they are in one piece (2.7.2).
    pub(super) fn lay_out(&mut self, base: u64) {
        let size = u64::from(self.size);
        let available = base + 16 * size;
        let used = (available + 4 + 2 * size + 2).next_multiple_of(4096);
        self.parts = [base, available, used];
    }

    fn available(&self, bus: &mut Bus) -> u16 {
        bus.get16(self.parts[1] + 2).wrapping_sub(self.taken)
    }

    fn next(&mut self, bus: &mut Bus) -> Option<Chain> {
        if !self.is_on {
            return None;
        }
        let waiting = self.available(bus);
        if waiting > self.size {
            bus.complain(format!("{waiting} chains are available, of {}", self.size));
            return None;
        }
        if waiting == 0 {
            return None;
        }
        let place = u64::from(self.taken % self.size);
        let head = bus.get16(self.parts[1] + 4 + 2 * place);
        self.taken = self.taken.wrapping_add(1);
        let mut chain = Chain {
            head,
            bytes: Vec::new(),
            places: Vec::new(),
        };
        let mut at = head;
        for _ in 0..=self.size {
            if at >= self.size {
                break;
            }
            let from = self.parts[0] + 16 * u64::from(at);
            let (address, len) = (bus.get64(from), bus.get32(from + 8));
            let (flags, next) = (bus.get16(from + 12), bus.get16(from + 14));
            if len == 0 && flags & 2 == 0 && chain.bytes.is_empty() {
                bus.complain("a descriptor of nothing");
            }
            if flags & 2 != 0 {
                chain.places.push((address, len as usize));
            } else if chain.places.is_empty() {
                chain.bytes.extend(bus.bytes(address, len as usize));
            } else {
                bus.complain("what is read behind what is written");
            }
            if flags & 1 == 0 {
                return Some(chain);
            }
            at = next;
        }
        bus.complain(format!("a chain without an end, from {head}"));
        None
    }

    fn put_used(&mut self, bus: &mut Bus, head: u32, bytes: u32) {
        let place = u64::from(self.used % self.size);
        bus.put32(self.parts[2] + 4 + 8 * place, head);
        bus.put32(self.parts[2] + 8 + 8 * place, bytes);
        self.used = self.used.wrapping_add(1);
        self.last = (head, bytes);
    }

    /// Makes what was put visible; whether the driver wants to hear of it.
    fn publish(&mut self, bus: &mut Bus, has_events: bool) -> bool {
        bus.put16(self.parts[2] + 2, self.used);
        let (old, new) = (self.told, self.used);
        self.told = new;
        if old == new {
            return false;
        }
        if has_events {
            let event = bus.get16(self.parts[1] + 4 + 2 * u64::from(self.size));
            return new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old);
        }
        bus.get16(self.parts[1]) & 1 == 0
    }

    /// Asks for a doorbell at the next chain.
    fn listen(&self, bus: &mut Bus, has_events: bool) {
        if has_events {
            bus.put16(self.parts[2] + 4 + 8 * u64::from(self.size), self.taken);
        }
    }
}

impl Virtio {
    fn header_len(&self) -> usize {
        if self.agreed & (MERGEABLE | VERSION_1) != 0 {
            12
        } else {
            10
        }
    }

    fn control_queue(&self) -> usize {
        if self.does(MULTI_QUEUE) {
            usize::from(self.kind.pairs) * 2
        } else {
            2
        }
    }

    pub(super) fn answer_doorbell(&mut self, bus: &mut Bus, queue: u16) {
        if usize::from(queue) == self.control_queue() && self.does(1 << 17) {
            self.obey(bus);
        } else if queue % 2 == 1 && !self.is_slow {
            self.run_queue(bus, queue.into(), usize::MAX);
        }
    }

    /// Sends up to so many frames of each queue.
    pub(crate) fn run(&mut self, bus: &mut Bus, most: usize) {
        for queue in 0..self.listens.pairs {
            self.run_queue(bus, usize::from(queue) * 2 + 1, most);
        }
    }

    fn run_queue(&mut self, bus: &mut Bus, queue: usize, most: usize) {
        let is_stuck = self.has(Fault::SendStuck) || self.has(Fault::Gone);
        if self.status & DRIVER_OK == 0 || is_stuck || queue >= self.control_queue() {
            return;
        }
        for _ in 0..most {
            let Some(chain) = self.rings[queue].next(bus) else {
                break;
            };
            let (header, frame) = chain
                .bytes
                .split_at(self.header_len().min(chain.bytes.len()));
            if header.len() < self.header_len() || !chain.places.is_empty() {
                bus.complain("a frame without a header");
                continue;
            }
            let (fills, cuts) = (self.does(CSUM), self.agreed & HOST_TSO != 0);
            let frames = Header::of(header).apply(frame.to_vec(), fills, cuts, 0xffff);
            match frames {
                Ok(frames) => self.sent.extend(frames),
                Err(what) => bus.complain(what),
            }
            self.finish(bus, queue, &[(chain.head.into(), 0)]);
        }
        self.rings[queue].listen(bus, self.does(EVENTS));
    }

    /// Gives chains back, and interrupts if that is wanted.
    fn finish(&mut self, bus: &mut Bus, queue: usize, done: &[(u32, u32)]) {
        for &(head, bytes) in done {
            let head = self
                .take_fault(|fault| match fault {
                    Fault::Head(head) => Some(*head),
                    _ => None,
                })
                .unwrap_or(head);
            self.rings[queue].put_used(bus, head, bytes);
        }
        if self
            .take_fault(|fault| (*fault == Fault::Again).then_some(()))
            .is_some()
        {
            let (head, bytes) = self.rings[queue].last;
            self.rings[queue].put_used(bus, head, bytes);
        }
        let jump = self.take_fault(|fault| match fault {
            Fault::Jump(by) => Some(*by),
            _ => None,
        });
        let ring = &mut self.rings[queue];
        ring.used = ring.used.wrapping_add(jump.unwrap_or(0));
        let has_events = self.agreed & EVENTS != 0;
        if ring.publish(bus, has_events) {
            let vector = ring.vector;
            if !self.kind.has_msix {
                self.interrupt |= 1;
                bus.interrupt(0);
            } else if vector != 0xffff {
                bus.interrupt(vector);
            }
        }
    }

    fn passes(&self, frame: &[u8]) -> bool {
        let to: [u8; 6] = frame[..6].try_into().unwrap();
        let listens = &self.listens;
        if frame[12..14] == [0x81, 0] && self.does(CONTROL_VLAN) {
            let vlan = u16::from_be_bytes([frame[14], frame[15]]) & 0xfff;
            if !listens.vlans.contains(&vlan) {
                return false;
            }
        }
        !self.does(1 << 18)
            || listens.promiscuous
            || to == [0xff; 6]
            || to == listens.mac
            || to[0] & 1 == 1 && (listens.all_multicast || listens.groups.contains(&to))
    }

    /// The queue of a frame's flow.
    fn receive_queue(&self, frame: &[u8]) -> usize {
        let l4 = layer_4(frame);
        let key = u32::from(frame[l4 + 1]) + u32::from(frame[12]) + u32::from(frame[l4 - 5]);
        (key % u32::from(self.listens.pairs)) as usize * 2
    }

    /// Takes a frame from the wire. `size` is the bytes of payload of each frame of which it was
    /// put together, or 0. Whether it was stored.
    pub(crate) fn receive(&mut self, bus: &mut Bus, frame: &[u8], size: u16) -> bool {
        let is_stuck = self.has(Fault::ReceiveStuck) || self.has(Fault::Gone);
        if self.status & DRIVER_OK == 0 || !self.link || is_stuck || !self.passes(frame) {
            return false;
        }
        let queue = self.receive_queue(frame);
        let before = self.rings[queue].taken;
        let header_len = self.header_len();
        let mut header = vec![0_u8; header_len];
        header[0] = if self.does(GUEST_CSUM) { 2 } else { 0 };
        if size > 0 {
            header[1] = if frame[12] == 8 { 1 } else { 4 };
            header[4..6].copy_from_slice(&size.to_le_bytes());
        }
        let all = [&header, frame].concat();
        let (mut left, mut chains) = (all.len(), Vec::new());
        while left > 0 {
            let Some(chain) = self.rings[queue].next(bus) else {
                self.rings[queue].taken = before;
                return false;
            };
            let room: usize = chain.places.iter().map(|place| place.1).sum();
            if !chain.bytes.is_empty() || room <= header_len {
                bus.complain("a buffer that is none");
                return false;
            }
            if !self.does(VERSION_1) && !self.does(MERGEABLE) && chain.places[0].1 != 10 {
                bus.complain("a header that has no descriptor of its own");
            }
            left = left.saturating_sub(room);
            chains.push((chain, room));
            if !self.does(MERGEABLE) && left > 0 {
                bus.complain("a buffer that is too small");
                return false;
            }
        }
        self.store(bus, queue, all, &chains);
        true
    }

    fn store(&mut self, bus: &mut Bus, queue: usize, mut all: Vec<u8>, chains: &[(Chain, usize)]) {
        if self.header_len() == 12 {
            let fault = self.take_fault(|fault| match fault {
                Fault::Buffers(count) => Some(*count),
                _ => None,
            });
            let count = fault.unwrap_or(chains.len() as u16);
            all[10..12].copy_from_slice(&count.to_le_bytes());
        }
        let mut done = Vec::new();
        let mut rest = &all[..];
        for (chain, room) in chains {
            let (part, behind) = rest.split_at(rest.len().min(*room));
            rest = behind;
            let mut part_left = part;
            for &(address, len) in &chain.places {
                let (now, later) = part_left.split_at(part_left.len().min(len));
                if !now.is_empty() {
                    bus.write(address, now);
                }
                part_left = later;
            }
            let fault = self.take_fault(|fault| match fault {
                Fault::Length(bytes) => Some(*bytes),
                _ => None,
            });
            done.push((u32::from(chain.head), fault.unwrap_or(part.len() as u32)));
        }
        self.finish(bus, queue, &done);
        self.rings[queue].listen(bus, self.does(EVENTS));
    }

    /// Does what the control queue says.
    fn obey(&mut self, bus: &mut Bus) {
        if self.has(Fault::ControlDead) {
            return;
        }
        let queue = self.control_queue();
        while let Some(chain) = self.rings[queue].next(bus) {
            let command = [chain.bytes[0], chain.bytes[1]];
            let done = self.command(command, &chain.bytes[2..]);
            self.commands.push(command);
            let answer = u8::from(!done || self.has(Fault::ControlRefuses));
            match chain.places[..] {
                [(address, 1)] => bus.write(address, &[answer]),
                _ => bus.complain("a command without room for the answer"),
            }
            self.finish(bus, queue, &[(chain.head.into(), 1)]);
        }
        self.rings[queue].listen(bus, self.does(EVENTS));
    }

    fn command(&mut self, command: [u8; 2], data: &[u8]) -> bool {
        let listens = &mut self.listens;
        match (command, data) {
            ([0, 0], &[on]) => listens.promiscuous = on != 0,
            ([0, 1], &[on]) => listens.all_multicast = on != 0,
            ([1, 0], data) if data.len() >= 8 && data[..4] == [0; 4] => {
                let groups = data[8..].as_chunks::<6>().0;
                if groups.len() != usize::from(data[4]) {
                    return false;
                }
                listens.groups = groups.to_vec();
            }
            ([1, 1], data) if data.len() == 6 => listens.mac.copy_from_slice(data),
            ([2, 0], &[a, b]) => listens.vlans.push(u16::from_le_bytes([a, b])),
            ([2, 1], &[a, b]) => listens
                .vlans
                .retain(|&vlan| vlan != u16::from_le_bytes([a, b])),
            ([4, 0], &[a, b]) => {
                let pairs = u16::from_le_bytes([a, b]);
                if pairs == 0 || pairs > self.kind.pairs {
                    return false;
                }
                listens.pairs = pairs;
            }
            _ => return false,
        }
        true
    }
}
