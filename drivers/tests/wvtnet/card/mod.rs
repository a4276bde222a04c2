// SPDX-License-Identifier: BSD-2-Clause
//! A device for `wvtnet` on the host: a network card of virtio, legacy or modern, with what
//! features it is told to have.
//!
//! It complains of what the specification forbids a driver ([`Bus::complain`]), and misbehaves when
//! it is told to ([`Fault`]). Numbers here are the specification's, not the driver's.

mod file;
mod frames;
mod rings;

use crate::machine::Card;
use rings::Ring;
use std::collections::VecDeque;
use weft_engine::sim::nic::{Bus, Model};
use weft_engine::sim::random::Random;

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Takes no frame any more, until it is reset.
    SendStuck,
    /// Stores no frame any more, until it is reset.
    ReceiveStuck,
    /// The next chain that it is done with has that head.
    Head(u32),
    /// It says once more that it is done with the last chain.
    Again,
    /// Its used index jumps.
    Jump(u16),
    /// It says that it has written so many bytes to the next buffer.
    Length(u32),
    /// It says that the next frame is in so many buffers.
    Buffers(u16),
    /// It is at its end, and wants a reset.
    NeedsReset,
    /// It does not answer commands.
    ControlDead,
    /// It refuses commands.
    ControlRefuses,
    /// It never ends a reset.
    ResetStuck,
    /// It does not agree upon any features.
    Disagrees,
    /// Answers all reads with ones, as a device that is pulled.
    Gone,
}

/// What a device is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) is_legacy: bool,
    pub(crate) features: u64,
    pub(crate) pairs: u16,
    pub(crate) has_msix: bool,
    pub(crate) queue_size: u16,
}

/// Feature bits.
pub(crate) const CSUM: u64 = 1 << 0;
pub(crate) const GUEST_CSUM: u64 = 1 << 1;
pub(crate) const MTU: u64 = 1 << 3;
pub(crate) const MAC: u64 = 1 << 5;
pub(crate) const GUEST_TSO: u64 = 1 << 7 | 1 << 8;
pub(crate) const HOST_TSO: u64 = 1 << 11 | 1 << 12;
pub(crate) const MERGEABLE: u64 = 1 << 15;
pub(crate) const STATUS: u64 = 1 << 16;
pub(crate) const CONTROL: u64 = 1 << 17 | 1 << 18 | 1 << 23;
pub(crate) const CONTROL_VLAN: u64 = 1 << 19;
pub(crate) const MULTI_QUEUE: u64 = 1 << 22;
pub(crate) const EVENTS: u64 = 1 << 29;
pub(crate) const VERSION_1: u64 = 1 << 32;

/// Bits of the device's status.
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;

/// What the control queue has been told.
#[derive(Clone, Debug, Default)]
struct Listens {
    promiscuous: bool,
    all_multicast: bool,
    groups: Vec<[u8; 6]>,
    vlans: Vec<u16>,
    mac: [u8; 6],
    pairs: u16,
}

/// The device.
pub(crate) struct Virtio {
    kind: Kind,
    mac: [u8; 6],
    pci: [u8; 256],
    status: u8,
    agreed: u64,
    device_half: u32,
    driver_half: u32,
    selected: u16,
    config_vector: u16,
    interrupt: u8,
    rings: Vec<Ring>,
    listens: Listens,
    link: bool,
    faults: Vec<Fault>,
    is_slow: bool,
    /// Frames that were sent.
    sent: VecDeque<Vec<u8>>,
    /// Doorbells so far.
    pub(crate) doorbells: u32,
    /// Commands so far.
    pub(crate) commands: Vec<[u8; 2]>,
}

impl Virtio {
    /// A device with that address.
    pub(crate) fn new(kind: Kind, mac: [u8; 6]) -> Self {
        let queues = usize::from(kind.pairs) * 2 + 1;
        let mut card = Self {
            kind,
            mac,
            pci: [0; 256],
            status: 0,
            agreed: 0,
            device_half: 0,
            driver_half: 0,
            selected: 0,
            config_vector: 0xffff,
            interrupt: 0,
            rings: vec![Ring::default(); queues],
            listens: Listens::default(),
            link: true,
            faults: Vec::new(),
            is_slow: false,
            sent: VecDeque::new(),
            doorbells: 0,
            commands: Vec::new(),
        };
        card.lay_out();
        card.reset();
        card
    }

    /// The configuration space.
    fn lay_out(&mut self) {
        let device: u16 = if self.kind.is_legacy { 0x1000 } else { 0x1041 };
        self.pci[..2].copy_from_slice(&0x1af4_u16.to_le_bytes());
        self.pci[2..4].copy_from_slice(&device.to_le_bytes());
        self.pci[6] = 1 << 4;
        self.pci[0x34] = 0x40;
        self.pci[0x40..0x44].copy_from_slice(&[0x11, 0, 0, 0]);
        self.pci[0x43] = if self.kind.has_msix { 0x80 } else { 0 };
        if self.kind.is_legacy {
            return;
        }
        self.pci[0x41] = 0x50;
        // Each at its own offset in BAR 4; the second of a kind is not to be used.
        let parts = [
            (1, 0_u32),
            (3, 0x1000),
            (4, 0x2000),
            (2, 0x3000),
            (1, 0x7000),
        ];
        for (n, (kind, offset)) in parts.into_iter().enumerate() {
            let at = 0x50 + n * 0x18;
            let next = if n + 1 < parts.len() { at + 0x18 } else { 0 };
            let len = if kind == 2 { 20 } else { 16 };
            self.pci[at..at + 5].copy_from_slice(&[9, next as u8, len, kind, 4]);
            self.pci[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
            self.pci[at + 12..at + 16].copy_from_slice(&0x1000_u32.to_le_bytes());
            self.pci[at + 16..at + 20].copy_from_slice(&4_u32.to_le_bytes());
        }
    }

    fn reset(&mut self) {
        let size = self.kind.queue_size;
        self.rings.fill(Ring::of(size));
        (self.status, self.agreed, self.interrupt) = (0, 0, 0);
        self.config_vector = 0xffff;
        self.listens = Listens {
            mac: self.mac,
            pairs: 1,
            ..Listens::default()
        };
        self.faults
            .retain(|fault| !matches!(fault, Fault::SendStuck | Fault::ReceiveStuck));
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether that was agreed upon.
    fn does(&self, feature: u64) -> bool {
        self.agreed & feature == feature
    }

    /// Has it misbehave.
    pub(crate) fn inject(&mut self, bus: &mut Bus, fault: Fault) {
        if fault == Fault::NeedsReset {
            self.status |= NEEDS_RESET;
            self.change_config(bus);
        } else {
            self.faults.push(fault);
        }
    }

    fn take_fault<T>(&mut self, find: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let place = self.faults.iter().position(|fault| find(fault).is_some())?;
        find(&self.faults.remove(place))
    }

    fn change_config(&mut self, bus: &mut Bus) {
        if self.kind.has_msix {
            if self.config_vector != 0xffff {
                bus.interrupt(self.config_vector);
            }
        } else {
            self.interrupt |= 2;
            bus.interrupt(0);
        }
    }

    /// The configuration, as bytes.
    fn config_byte(&self, at: u32) -> u8 {
        let status = u16::from(self.link);
        let mut bytes = self.mac.to_vec();
        bytes.extend(status.to_le_bytes());
        bytes.extend(self.kind.pairs.to_le_bytes());
        bytes.extend(9000_u16.to_le_bytes());
        bytes.get(at as usize).copied().unwrap_or(0)
    }
}

impl Card for Virtio {
    fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).collect()
    }

    fn arrive(&mut self, bus: &mut Bus, frame: &[u8]) -> bool {
        self.receive(bus, frame, 0)
    }

    fn work(&mut self, bus: &mut Bus, most: usize) {
        self.run(bus, most);
    }

    fn be_slow(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
    }

    fn misbehave(&mut self, bus: &mut Bus, random: &mut Random) {
        let fault = match random.below(16) {
            0 => Fault::SendStuck,
            1 => Fault::ReceiveStuck,
            2 | 3 => Fault::Head(random.bits() as u32 >> random.below(32)),
            4 => Fault::Again,
            5 => Fault::Jump(random.bits() as u16 >> random.below(16)),
            6 | 7 => Fault::Length(random.bits() as u32 >> random.below(32)),
            8 | 9 => Fault::Buffers(random.bits() as u16 >> random.below(16)),
            10 => Fault::NeedsReset,
            11 => Fault::ControlRefuses,
            12 => Fault::ResetStuck,
            13 if random.percent(20) => Fault::Gone,
            14 => return self.change_config(bus),
            _ => return self.faults.clear(),
        };
        self.inject(bus, fault);
    }

    fn plug(&mut self, bus: &mut Bus, is_up: bool) {
        if self.link != is_up {
            self.link = is_up;
            if self.does(STATUS) {
                self.change_config(bus);
            }
        }
    }
}

impl Model for Virtio {
    fn read(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize) -> u64 {
        if self.has(Fault::Gone) {
            return !0;
        }
        self.read_register(bus, bar, at, bytes)
    }

    fn write(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize, value: u64) {
        if !self.has(Fault::Gone) {
            self.write_register(bus, bar, at, bytes, value);
        }
    }

    fn bar_bytes(&self, bar: u8) -> u32 {
        match (self.kind.is_legacy, bar) {
            (true, 0) => 64,
            (false, 4) => 0x8000,
            _ => 0,
        }
    }

    fn config(&mut self, at: u16, bytes: usize) -> u64 {
        let from = usize::from(at);
        let mut wide = [0; 8];
        wide[..bytes].copy_from_slice(&self.pci[from..from + bytes]);
        u64::from_le_bytes(wide)
    }
}
