// SPDX-License-Identifier: BSD-2-Clause
//! A device for `wem` on the host: the register file and the rings of an 82540EM, an
//! 82545EM as bhyve has it, or an 82574L, by the manuals.
//!
//! It complains of what the manual forbids ([`Bus::complain`]): then the driver is wrong.
//! And it misbehaves when it is told to ([`Fault`]): then the driver has to stand it.

mod file;
mod receive;
mod rings;
mod transmit;

use crate::machine::Card;
pub(crate) use receive::{Verdict, passes, verdict};
pub(crate) use rings::Came;
use std::collections::VecDeque;
use transmit::Engine;
use weft_drivers::wem::registers::*;
use weft_engine::sim::nic::{Bus, Model};
use weft_engine::sim::random::Random;

/// Which device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On PCI, with an EEPROM; looks at no checksums, as QEMU's does not.
    Intel82540,
    /// As bhyve has it: no EEPROM that can be read by EERD, no tags, no checksums of received frames.
    Bhyve82545,
    /// On PCI Express: two queues, MSI-X, extended descriptors.
    Intel82574,
}

/// How the device misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Takes no transmit descriptor any more, until it is reset.
    SendStuck,
    /// Stores no received frame any more, until it is reset.
    ReceiveStuck,
    /// Says of the next frame that it is this long, in the last descriptor.
    Length(u16),
    /// Never ends the next frame.
    NoEnd,
    /// Reports errors with the next frame, by the manual's bits.
    Errors(u8),
    /// Says that all transmit descriptors are done, also those it was never given.
    AllSent,
    /// Answers all reads with ones, as a device that is pulled.
    Gone,
    /// Never ends a reset.
    ResetStuck,
    /// The PHY does not answer.
    PhyDead,
}

/// The device.
pub(crate) struct Chip {
    kind: Kind,
    mac: [u8; 6],
    registers: Vec<u32>,
    phy: [u16; 32],
    engines: [Engine; 2],
    link: bool,
    faults: Vec<Fault>,
    line: bool,
    /// Causes whose message was sent, and that are not cleared.
    messages: u32,
    /// Nothing is sent but by [`run`](Chip::run).
    pub(crate) is_slow: bool,
    /// Frames that were sent.
    pub(crate) sent: VecDeque<Vec<u8>>,
    /// Resets so far.
    pub(crate) resets: u32,
    /// Context descriptors so far.
    pub(crate) contexts: u32,
    /// Times that RCTL was written.
    pub(crate) receive_writes: u32,
}

/// Bytes of BAR 0.
pub(crate) const BAR_BYTES: u32 = 128 * 1024;

impl Chip {
    /// A device with that address, as after power-up.
    pub(crate) fn new(kind: Kind, mac: [u8; 6]) -> Self {
        let mut chip = Self {
            kind,
            mac,
            registers: vec![0; BAR_BYTES as usize / 4],
            phy: [0; 32],
            engines: Default::default(),
            link: true,
            faults: Vec::new(),
            line: false,
            messages: 0,
            is_slow: false,
            sent: VecDeque::new(),
            resets: 0,
            contexts: 0,
            receive_writes: 0,
        };
        chip.reset();
        chip
    }

    fn at(&self, register: u32) -> u32 {
        self.registers[register as usize / 4]
    }

    fn put(&mut self, register: u32, value: u32) {
        self.registers[register as usize / 4] = value;
    }

    /// Whether it misbehaves so.
    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Has it misbehave.
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes a fault for the next frame.
    fn take_fault<T>(&mut self, find: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let place = self.faults.iter().position(|fault| find(fault).is_some())?;
        find(&self.faults.remove(place))
    }

    fn reset(&mut self) {
        self.registers.fill(0);
        self.engines = Default::default();
        self.faults
            .retain(|fault| !matches!(fault, Fault::SendStuck | Fault::ReceiveStuck));
        self.line = false;
        self.messages = 0;
        let [a, b, c, d, e, f] = self.mac;
        self.put(RAL, u32::from_le_bytes([a, b, c, d]));
        let valid = if self.kind == Kind::Bhyve82545 {
            0
        } else {
            ADDRESS_VALID
        };
        self.put(RAH, u32::from_le_bytes([e, f, 0, 0]) | valid);
        self.phy[0] = 1 << 12 | 1 << 8 | 1 << 6;
        self.phy[4] = 0x0de1;
        self.phy[5] = 0x45e1;
        self.put(VET, 0x8100);
        self.show_link();
        self.put(ICR, 0);
    }

    /// Has the link come or go.
    pub(crate) fn set_link(&mut self, bus: &mut Bus, up: bool) {
        if self.link != up {
            self.link = up;
            self.show_link();
            self.raise(bus, 1 << 2);
        }
    }

    /// Whether pauses are obeyed and sent.
    pub(crate) fn pauses(&self) -> bool {
        self.at(CTRL) >> 27 & 3 == 3
    }

    fn show_link(&mut self) {
        let status = self.at(STATUS) & !0xc3;
        self.put(STATUS, status | if self.link { 0x83 } else { 0 });
    }
}

impl Card for Chip {
    fn take_sent(&mut self) -> Vec<Vec<u8>> {
        self.sent.drain(..).collect()
    }

    fn arrive(&mut self, bus: &mut Bus, frame: &[u8]) -> bool {
        self.receive(bus, frame) == Came::Stored
    }

    fn work(&mut self, bus: &mut Bus, most: usize) {
        self.run(bus, most);
    }

    fn be_slow(&mut self, is_slow: bool) {
        self.is_slow = is_slow;
    }

    fn misbehave(&mut self, bus: &mut Bus, random: &mut Random) {
        let fault = match random.below(12) {
            0 => Fault::SendStuck,
            1 => Fault::ReceiveStuck,
            2 | 3 => Fault::Length(random.bits() as u16),
            4 => Fault::NoEnd,
            5 | 6 => Fault::Errors(random.bits() as u8),
            7 => Fault::AllSent,
            8 if random.percent(20) => Fault::Gone,
            9 => Fault::ResetStuck,
            10 => return self.raise(bus, random.bits() as u32),
            _ => return self.faults.clear(),
        };
        self.inject(fault);
    }

    fn plug(&mut self, bus: &mut Bus, is_up: bool) {
        self.set_link(bus, is_up);
    }
}

impl Model for Chip {
    fn read(&mut self, bus: &mut Bus, _bar: u8, at: u32, bytes: usize) -> u64 {
        self.read_register(bus, at, bytes).into()
    }

    fn write(&mut self, bus: &mut Bus, _bar: u8, at: u32, bytes: usize, value: u64) {
        self.write_register(bus, at, bytes, value as u32);
    }

    fn bar_bytes(&self, bar: u8) -> u32 {
        if bar == 0 { BAR_BYTES } else { 0 }
    }

    fn config(&mut self, at: u16, bytes: usize) -> u64 {
        let device = match self.kind {
            Kind::Intel82540 => 0x100e,
            Kind::Bhyve82545 => 0x100f,
            Kind::Intel82574 => 0x10d3,
        };
        match (at, bytes) {
            (0, 2) => 0x8086,
            (2, 2) => device,
            _ => 0,
        }
    }
}
