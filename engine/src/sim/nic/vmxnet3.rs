// SPDX-License-Identifier: BSD-2-Clause
//! VMXNET3 as a [`Model`]: what VMware's device and QEMU's do, seen from the driver, with several
//! receive queues and both revisions. It holds the driver to what the device may expect, and
//! misbehaves on demand.
//!
//! What was sent is kept as it would be on the wire: sums filled in, long segments cut, tags
//! put in. How that is done is written down once more here, and owes nothing to the engine.

mod offload;
mod queues;

use super::{Bus, Model};
use offload::Work;
use queues::{RxQueue, TxQueue};

/// A way of misbehaving. Those with a number do so for so many frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A transmit queue does nothing any more, until the device is reset.
    StuckTx(u16),
    /// The next completion of a frame that was sent names a descriptor that is not the frame's last.
    BogusTx,
    /// The next completion of a frame that was sent names the descriptor behind: that of the
    /// next frame, if there is one.
    OutOfTurn,
    /// The next completion of a frame that was received names a descriptor that the device does
    /// not have.
    BogusRx,
    /// The next received frame is said to be longer than its buffer.
    LongRx,
    /// The next received frame is said to be of another queue's ring.
    WrongRing,
    /// The next received frame is said to be broken.
    BadFrame,
    /// So many receive descriptors are passed over before the next frame.
    PassOver(u16),
    /// So many activations fail.
    NoActivation(u16),
    /// The device stops a queue, and says so by an event.
    StopQueue(u16),
    /// An interrupt of that vector comes for nothing.
    Spurious(u16),
}

/// A frame on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The queue.
    pub queue: u16,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// What comes with a frame that is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The hash.
    pub hash: u32,
    /// The hash's kind as the device writes it; 0 is none.
    pub hash_kind: u8,
    /// Its tag, if the device takes it out.
    pub vlan: Option<u16>,
    /// What it found out about sums, in the bits of the completion's last word.
    pub sums: Option<u32>,
    /// Frames of which it was merged, and their size.
    pub merged: Option<(u8, u16)>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Vector {
    is_masked: bool,
    is_pending: bool,
}

/// What the driver said at activation.
#[derive(Debug, Default)]
struct Config {
    features: u64,
    most_parts: u16,
    is_auto_masked: bool,
    event_vector: u8,
    mtu: u32,
    rx_mode: u32,
    groups: Vec<[u8; 6]>,
    vlans: Vec<u32>,
    table: Vec<u8>,
    key: Vec<u8>,
    hashes: u16,
}

/// The device.
#[derive(Debug)]
pub struct Vmxnet3 {
    revisions: u32,
    revision: u32,
    upt: u32,
    /// How vectors are masked, as the device tells it.
    mask_mode: u32,
    permanent: [u8; 6],
    mac: [u8; 6],
    mac_low: u32,
    shared: u64,
    shared_low: u32,
    last_command: u32,
    activations: u64,
    is_active: bool,
    is_intx: bool,
    is_line_up: bool,
    link: u32,
    config: Config,
    tx: Vec<TxQueue>,
    rx: Vec<RxQueue>,
    vectors: [Vector; 25],
    faults: Vec<Fault>,
    sent: Vec<Sent>,
}

impl Vmxnet3 {
    /// A device that knows these revisions, a bit each, with its link up.
    pub fn new(revisions: u32, mac: [u8; 6]) -> Self {
        Self {
            revisions,
            revision: 0,
            upt: 0,
            mask_mode: 0,
            permanent: mac,
            mac,
            mac_low: 0,
            shared: 0,
            shared_low: 0,
            last_command: 0,
            activations: 0,
            is_active: false,
            is_intx: false,
            is_line_up: false,
            link: 10_000 << 16 | 1,
            config: Config::default(),
            tx: Vec::new(),
            rx: Vec::new(),
            vectors: [Vector {
                is_masked: true,
                is_pending: false,
            }; 25],
            faults: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// The driver has to mask vectors itself.
    #[must_use]
    pub fn with_active_masks(mut self) -> Self {
        self.mask_mode = 1;
        self
    }

    /// Interrupts come by a line.
    #[must_use]
    pub fn with_intx(mut self) -> Self {
        self.is_intx = true;
        self
    }

    /// Whether it goes.
    pub fn is_active(&self) -> bool {
        self.is_active
    }

    /// Times that it was activated.
    pub fn activations(&self) -> u64 {
        self.activations
    }

    /// Its address now.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// What the driver has turned on.
    pub fn features(&self) -> u64 {
        self.config.features
    }

    /// What it is to hash, and with which key.
    pub fn hashing(&self) -> (u16, &[u8]) {
        (self.config.hashes, &self.config.key)
    }

    /// Frames that were sent, taken out.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Has it misbehave.
    pub fn inject(&mut self, bus: &mut Bus, fault: Fault) {
        match fault {
            Fault::Spurious(vector) if self.is_active => self.trigger(bus, vector.into()),
            Fault::Spurious(_) => {}
            Fault::StuckTx(queue) => {
                if let Some(queue) = self.tx.get_mut(usize::from(queue)) {
                    queue.is_stuck = true;
                }
            }
            Fault::StopQueue(queue) => self.stop_queue(bus, queue),
            _ => self.faults.push(fault),
        }
    }

    /// Ends misbehaving that has not happened yet.
    pub fn behave(&mut self) {
        self.faults.clear();
    }

    /// The link goes up or down.
    pub fn set_link(&mut self, bus: &mut Bus, is_up: bool) {
        self.link = self.link & !1 | u32::from(is_up);
        self.raise(bus, 4);
    }

    fn stop_queue(&mut self, bus: &mut Bus, queue: u16) {
        let Some(one) = self.tx.get_mut(usize::from(queue)) else {
            return;
        };
        one.is_stuck = true;
        bus.write(one.description + 80, &[1]);
        bus.put32(one.description + 84, 0x8000_0002);
        self.raise(bus, 2);
    }

    /// Says that something happened.
    fn raise(&mut self, bus: &mut Bus, event: u32) {
        if !self.is_active {
            return;
        }
        let at = self.shared + 696;
        let events = bus.get32(at) | event;
        bus.put32(at, events);
        self.trigger(bus, self.config.event_vector.into());
    }

    fn trigger(&mut self, bus: &mut Bus, vector: usize) {
        let Some(one) = self.vectors.get_mut(vector) else {
            bus.complain(format!("vector {vector} is not there"));
            return;
        };
        one.is_pending = true;
        self.deliver(bus, vector);
        self.vectors[vector].is_masked |= self.config.is_auto_masked;
    }

    /// Sends an interrupt that waits. Only what happens then masks the vector: what is sent when
    /// a mask goes leaves it unmasked, in QEMU's device.
    fn deliver(&mut self, bus: &mut Bus, vector: usize) {
        let one = &mut self.vectors[vector];
        if one.is_pending && !one.is_masked {
            one.is_pending = false;
            self.is_line_up |= self.is_intx;
            bus.interrupt(vector as u16);
        }
    }

    /// A frame comes. False if the device has not taken it: filtered, down, or no buffer.
    pub fn receive(&mut self, bus: &mut Bus, frame: &[u8], arrival: &Arrival) -> bool {
        if !self.is_active || self.link & 1 == 0 || !self.passes(frame, arrival) {
            return false;
        }
        let queue = match self.config.table.len() {
            0 => 0,
            len => usize::from(self.config.table[arrival.hash as usize % len]),
        };
        if queue >= self.rx.len() {
            bus.complain(format!("the table names queue {queue}"));
            return false;
        }
        let fault = self.next_rx_fault();
        let queues = self.rx.len() as u16;
        let is_done =
            self.rx[queue].receive(bus, frame, arrival, queues, self.config.most_parts, fault);
        let vector = self.rx[queue].vector;
        self.trigger(bus, vector.into());
        is_done
    }

    fn next_rx_fault(&mut self) -> Option<Fault> {
        let concerns = |fault: &Fault| {
            matches!(
                fault,
                Fault::BogusRx
                    | Fault::LongRx
                    | Fault::WrongRing
                    | Fault::BadFrame
                    | Fault::PassOver(_)
            )
        };
        let at = self.faults.iter().position(concerns)?;
        Some(self.faults.remove(at))
    }

    fn passes(&self, frame: &[u8], arrival: &Arrival) -> bool {
        let mode = self.config.rx_mode;
        let vlan = usize::from(arrival.vlan.unwrap_or(0) & 0xfff);
        if mode & 16 != 0 {
            return true;
        }
        if self.config.vlans[vlan / 32] >> (vlan % 32) & 1 == 0 {
            return false;
        }
        let to = &frame[..6];
        if to == [0xff; 6] {
            return mode & 4 != 0;
        }
        if to[0] & 1 != 0 {
            let is_ours = self.config.groups.iter().any(|group| group == to);
            return mode & 8 != 0 || mode & 2 != 0 && is_ours;
        }
        mode & 1 != 0 && to == self.mac
    }

    fn process(&mut self, bus: &mut Bus, queue: usize, producer: u32) {
        if queue >= self.tx.len() {
            bus.complain(format!("doorbell of transmit queue {queue}"));
            return;
        }
        while let Some(frame) = self.tx[queue].next(bus, producer) {
            let work = Work::of(frame.first);
            for bytes in work.on_wire(bus, frame.bytes, frame.pieces) {
                let queue = queue as u16;
                self.sent.push(Sent { queue, bytes });
            }
            let concerns = |fault: &Fault| matches!(fault, Fault::BogusTx | Fault::OutOfTurn);
            let at = self.faults.iter().position(concerns);
            let wrong_by = match at.map(|at| self.faults.remove(at)) {
                Some(Fault::OutOfTurn) => 1,
                Some(_) => 7,
                None => 0,
            };
            self.tx[queue].complete(bus, frame.last + wrong_by);
            self.trigger(bus, self.tx[queue].vector.into());
        }
    }

    fn reset(&mut self) {
        self.is_active = false;
        self.is_line_up = false;
        for vector in &mut self.vectors {
            vector.is_masked = true;
            vector.is_pending = false;
        }
        self.shared = 0;
        self.tx.clear();
        self.rx.clear();
    }

    fn command(&mut self, bus: &mut Bus, command: u32) {
        self.last_command = command;
        match command {
            0xcafe_0000 => self.activate(bus),
            0xcafe_0001 => self.is_active = false,
            0xcafe_0002 => self.reset(),
            0xcafe_0003..=0xcafe_0006 | 0xf00d_0000..=0xf00d_0001 if !self.is_active => {
                bus.complain(format!(
                    "command {command:#x} to a device that is not active"
                ));
            }
            0xcafe_0003 => self.config.rx_mode = bus.get32(self.shared + 120),
            0xcafe_0004 => self.read_groups(bus),
            0xcafe_0005 => self.read_vlans(bus),
            0xcafe_0006 => self.read_table(bus),
            0xf00d_0001 => {
                let statistics = self.tx.iter().map(TxQueue::statistics);
                let all = statistics.chain(self.rx.iter().map(RxQueue::statistics));
                for (at, figures) in all {
                    for (at, figure) in (at..).step_by(8).zip(figures) {
                        bus.put64(at, figure);
                    }
                }
            }
            0xf00d_0000 | 0xf00d_0002..=0xf00d_0004 | 0xf00d_0008 => {}
            _ => bus.complain(format!("command {command:#x}")),
        }
    }

    fn result(&self) -> u32 {
        let [a, b, c, d, e, f] = self.permanent;
        match self.last_command {
            0xcafe_0000 => u32::from(!self.is_active),
            0xf00d_0002 => self.link,
            0xf00d_0003 => u32::from_le_bytes([a, b, c, d]),
            0xf00d_0004 => u32::from_le_bytes([e, f, 0, 0]),
            0xf00d_0008 => self.mask_mode << 2,
            _ => 0,
        }
    }

    fn read_groups(&mut self, bus: &mut Bus) {
        let bytes = usize::from(bus.get16(self.shared + 124));
        let at = bus.get64(self.shared + 128);
        if !bytes.is_multiple_of(6) {
            bus.complain(format!("{bytes} bytes of groups"));
        }
        let all = bus.bytes(at, bytes);
        let groups = all
            .chunks_exact(6)
            .filter_map(|group| group.try_into().ok());
        self.config.groups = groups.collect();
    }

    fn read_vlans(&mut self, bus: &mut Bus) {
        let words = (0..128).map(|n| bus.get32(self.shared + 136 + n * 4));
        self.config.vlans = words.collect();
    }

    fn read_table(&mut self, bus: &mut Bus) {
        self.config.table.clear();
        if self.config.features & 2 == 0 {
            return;
        }
        let (bytes, at) = (bus.get32(self.shared + 652), bus.get64(self.shared + 656));
        let head: Vec<u16> = (0..4).map(|n| bus.get16(at + n * 2)).collect();
        if bus.get32(self.shared + 648) != 1 || bytes != 176 || head[1] != 1 || head[0] == 0 {
            bus.complain(format!("spreading of flows: {bytes} bytes, {head:?}"));
        }
        if head[2] > 40 || head[3] > 128 || head[3] == 0 {
            bus.complain(format!("key or table too long: {head:?}"));
            return;
        }
        self.config.hashes = head[0];
        self.config.key = bus.bytes(at + 8, head[2].into());
        self.config.table = bus.bytes(at + 48, head[3].into());
    }

    fn activate(&mut self, bus: &mut Bus) {
        let failing = self.faults.iter_mut().find_map(|fault| match fault {
            Fault::NoActivation(left) if *left > 0 => Some(left),
            _ => None,
        });
        if let Some(left) = failing {
            *left -= 1;
            return;
        }
        if self.is_active {
            bus.complain("activated twice");
            return;
        }
        let at = self.shared;
        let words = [
            (at, 0xbabe_fee1, "magic"),
            (at + 12, 4 << 2 | 2, "system"),
            (at + 16, self.revision, "revision"),
            (at + 20, 1, "UPT version"),
            (at + 108, 0, "interrupts are off"),
        ];
        for (at, expected, what) in words {
            let found = bus.get32(at);
            if found != expected {
                bus.complain(format!("{what}: {found:#x}"));
                return;
            }
        }
        let numbers = bus.bytes(at + 62, 2);
        let interrupts = bus.bytes(at + 80, 28);
        let vectors = interrupts[1];
        self.config = Config {
            features: bus.get64(at + 24),
            most_parts: bus.get16(at + 60).max(1),
            is_auto_masked: interrupts[0] != 0,
            event_vector: interrupts[2],
            mtu: bus.get32(at + 56),
            rx_mode: bus.get32(at + 120),
            ..Config::default()
        };
        if self.config.is_auto_masked != (self.mask_mode == 0) {
            bus.complain("masks are not as the device has them");
        }
        if vectors == 0 || vectors > 25 || interrupts[2] >= vectors {
            bus.complain(format!("{vectors} vectors, {} for events", interrupts[2]));
        }
        if !(60..=9000).contains(&self.config.mtu) {
            bus.complain(format!("MTU {}", self.config.mtu));
        }
        if self.config.features & 8 != 0 && self.config.most_parts < 17 {
            bus.complain("merged frames do not fit into so few parts");
        }
        let table = bus.get64(at + 40);
        let (tx, rx) = (u64::from(numbers[0]), u64::from(numbers[1]));
        let bytes = u64::from(bus.get32(at + 52));
        if !table.is_multiple_of(128) || bytes != (tx + rx) * 256 {
            bus.complain(format!("queues at {table:#x}, {bytes} bytes"));
        }
        if !(1..=8).contains(&tx) || !(1..=8).contains(&rx) {
            bus.complain(format!("{tx} and {rx} queues"));
            return;
        }
        self.tx = (0..tx)
            .map(|n| TxQueue::new(bus, table + n * 256, vectors))
            .collect();
        let descriptions = (tx..tx + rx).map(|n| table + n * 256);
        self.rx = (0..)
            .zip(descriptions)
            .map(|(n, at)| RxQueue::new(bus, at, n, vectors))
            .collect();
        self.read_groups(bus);
        self.read_vlans(bus);
        self.read_table(bus);
        self.mac = self.permanent;
        self.is_active = true;
        self.activations += 1;
    }

    fn doorbell(&mut self, bus: &mut Bus, at: u32, value: u32) {
        if !self.is_active {
            bus.complain(format!("doorbell {at:#x} of a device that is not active"));
            return;
        }
        let number = (at as usize & 0x1ff) / 8;
        match at & !0x1ff {
            0x600 => self.process(bus, number, value),
            0x800 | 0xa00 => {
                let ring = usize::from(at >= 0xa00);
                match self.rx.get_mut(number) {
                    Some(queue) => queue.check_doorbell(bus, ring, value),
                    None => bus.complain(format!("doorbell of receive queue {number}")),
                }
            }
            _ => bus.complain(format!("register {at:#x}")),
        }
    }
}

impl Model for Vmxnet3 {
    fn bar_bytes(&self, bar: u8) -> u32 {
        if bar < 2 { 4096 } else { 0 }
    }

    fn read(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize) -> u64 {
        if bytes != 4 || bar != 1 {
            bus.complain(format!("reads {bytes} bytes at {at:#x} of BAR {bar}"));
        }
        u64::from(match at {
            0x00 => self.revisions,
            0x08 => 1,
            0x20 => self.result(),
            0x38 => {
                let was_up = std::mem::take(&mut self.is_line_up);
                if was_up && self.config.is_auto_masked {
                    self.vectors[0].is_masked = true;
                }
                u32::from(was_up)
            }
            _ => {
                bus.complain(format!("reads register {at:#x}"));
                0
            }
        })
    }

    fn write(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize, value: u64) {
        let value = value as u32;
        if bytes != 4 {
            bus.complain(format!("writes {bytes} bytes at {at:#x} of BAR {bar}"));
        }
        if bar == 0 && at < 25 * 8 {
            let vector = at as usize / 8;
            self.vectors[vector].is_masked = value != 0;
            return self.deliver(bus, vector);
        }
        if bar == 0 {
            return self.doorbell(bus, at, value);
        }
        match at {
            0x00 if value.is_power_of_two() && self.revisions & value != 0 => self.revision = value,
            0x08 if value == 1 => self.upt = 1,
            0x10 => self.shared_low = value,
            0x18 => self.shared = u64::from(self.shared_low) | u64::from(value) << 32,
            0x20 => self.command(bus, value),
            0x28 => self.mac_low = value,
            0x30 => {
                let [a, b, c, d] = self.mac_low.to_le_bytes();
                let [e, f, ..] = value.to_le_bytes();
                self.mac = [a, b, c, d, e, f];
            }
            0x40 => {
                let left = bus.get32(self.shared + 696) & !value;
                bus.put32(self.shared + 696, left);
            }
            _ => bus.complain(format!("writes {value:#x} to register {at:#x}")),
        }
    }

    fn holds(&self, bus: &mut Bus, address: u64) -> bool {
        self.is_active
            && (address == self.shared
                || self.tx.iter().any(|queue| queue.holds(bus, address))
                || self.rx.iter().any(|queue| queue.holds(bus, address)))
    }
}
