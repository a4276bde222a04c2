// SPDX-License-Identifier: BSD-2-Clause
//! The register file: what reads and writes do.

use super::{Chip, Fault, Kind};
use weft_drivers::wem::registers::*;
use weft_engine::sim::nic::Bus;

/// Bits of RCTL and TCTL that switch a unit on.
const ENABLE: u32 = 1 << 1;
const RESET: u32 = 1 << 26;

impl Chip {
    pub(super) fn read_register(&mut self, bus: &mut Bus, at: u32, bytes: usize) -> u32 {
        if self.has(Fault::Gone) {
            return !0;
        }
        if !self.is_known(at, bytes) {
            bus.complain(format!("{bytes} bytes read at {at:#x}"));
            return 0;
        }
        let value = self.at(at);
        match at {
            ICR => {
                let masked = self.at(IMS) == 0;
                if !self.is_msix() || masked {
                    self.put(ICR, 0);
                    self.line = false;
                }
            }
            STATISTICS..0x4128 => {
                self.put(at, 0);
                if matches!(at, 0x408c | 0x4094 | 0x40c4 | 0x40cc) {
                    self.put(at - 4, 0);
                }
            }
            _ => {}
        }
        value
    }

    pub(super) fn write_register(&mut self, bus: &mut Bus, at: u32, bytes: usize, value: u32) {
        if self.has(Fault::Gone) {
            return;
        }
        if !self.is_known(at, bytes) {
            bus.complain(format!("{bytes} bytes written at {at:#x}"));
            return;
        }
        match at {
            CTRL if value & RESET != 0 => {
                self.resets += 1;
                if self.has(Fault::ResetStuck) {
                    self.put(CTRL, value);
                } else {
                    self.reset();
                }
            }
            STATUS | STATISTICS..0x4128 => bus.complain(format!("{at:#x} is written")),
            ICR => {
                let left = self.at(ICR) & !value;
                self.put(ICR, left);
                self.messages &= left;
                self.line = left & self.at(IMS) != 0;
            }
            ICS => self.raise(bus, value),
            IMS => {
                let mask = self.at(IMS) | value;
                self.put(IMS, mask);
                self.raise(bus, 0);
            }
            IMC => {
                let mask = self.at(IMS) & !value;
                self.put(IMS, mask);
                self.line = self.at(ICR) & mask != 0;
            }
            EERD => self.eeprom(value),
            MDIC => self.management(bus, value),
            EXTCNF_CTRL => self.put(at, value),
            _ => {
                self.receive_writes += u32::from(at == RCTL);
                self.check_ring(bus, at, value);
                self.put(at, value);
                let is_tail = at.checked_sub(TX_QUEUE).is_some_and(|offset| {
                    offset < 2 * QUEUE_STRIDE && offset % QUEUE_STRIDE == TAIL
                });
                if is_tail && !self.is_slow {
                    self.run(bus, usize::MAX);
                }
            }
        }
    }

    fn is_known(&self, at: u32, bytes: usize) -> bool {
        let express = self.kind == Kind::Intel82574;
        let queues = if express { 2 } else { 1 };
        let in_queue = [RX_QUEUE, TX_QUEUE].iter().any(|&first| {
            let Some(offset) = at.checked_sub(first) else {
                return false;
            };
            let own = [
                BASE_LOW,
                BASE_HIGH,
                LENGTH,
                HEAD,
                TAIL,
                DELAY,
                DESCRIPTOR_CONTROL,
                ABSOLUTE_DELAY,
                ARBITRATION,
            ];
            offset / QUEUE_STRIDE < queues && own.contains(&(offset % QUEUE_STRIDE))
        });
        let table = |first: u32, count: u32| (first..first + count * 4).contains(&at);
        let single = [
            CTRL, STATUS, CTRL_EXT, MDIC, FCAL, FCAH, FCT, VET, ICR, ITR, ICS, IMS, IMC, RCTL,
            FCTTV, TCTL, TIPG, PBA, FCRTL, FCRTH, RXCSUM, WUC,
        ];
        let newer = [EIAC, IVAR, EXTCNF_CTRL, RFCTL, MRQC];
        bytes == 4
            && at.is_multiple_of(4)
            && (single.contains(&at)
                || in_queue
                || at == EERD
                || table(STATISTICS, 0x128 / 4)
                || table(MTA, TABLE)
                || table(VFTA, TABLE)
                || table(RAL, 30)
                || express
                    && (newer.contains(&at)
                        || table(EITR, 5)
                        || table(RETA, 32)
                        || table(RSSRK, 10)))
    }

    /// Rings do not move under a device that uses them.
    fn check_ring(&self, bus: &mut Bus, at: u32, value: u32) {
        for (first, control) in [(RX_QUEUE, RCTL), (TX_QUEUE, TCTL)] {
            let Some(offset) = at.checked_sub(first) else {
                continue;
            };
            if offset / QUEUE_STRIDE > 1 {
                continue;
            }
            let queue = at - offset % QUEUE_STRIDE;
            let is_on = self.at(control) & ENABLE != 0;
            match offset % QUEUE_STRIDE {
                BASE_LOW | BASE_HIGH | LENGTH | HEAD if is_on => {
                    bus.complain(format!("{at:#x} is written while the device is on"));
                }
                BASE_LOW if !value.is_multiple_of(16) => bus.complain("a ring that is not aligned"),
                LENGTH if !value.is_multiple_of(128) || value > 4096 * 16 => {
                    bus.complain(format!("a ring of {value} bytes"));
                }
                TAIL if is_on && value * 16 >= self.at(queue + LENGTH) => {
                    bus.complain(format!("a tail of {value} outside of the ring"));
                }
                _ => {}
            }
        }
    }

    fn eeprom(&mut self, value: u32) {
        let (shift, done) = match self.kind {
            Kind::Intel82540 => (8, 1 << 4),
            Kind::Intel82574 => (2, 1 << 1),
            Kind::Bhyve82545 => return,
        };
        let at = (value >> shift) as usize;
        let mut words = [0u16; 64];
        for (word, two) in words.iter_mut().zip(self.mac.as_chunks::<2>().0) {
            *word = u16::from_le_bytes(*two);
        }
        words[10] = 0x1234;
        let sum = words.iter().fold(0u16, |sum, &word| sum.wrapping_add(word));
        words[63] = 0xbaba_u16.wrapping_sub(sum);
        let word = words.get(at).copied().unwrap_or(0xffff);
        self.put(EERD, value & 0xffff | done | u32::from(word) << 16);
    }

    fn management(&mut self, bus: &mut Bus, value: u32) {
        if self.has(Fault::PhyDead) {
            self.put(MDIC, value);
            return;
        }
        if self.kind == Kind::Intel82574 && self.at(EXTCNF_CTRL) & PHY_OURS == 0 {
            bus.complain("the PHY is used by who has it not");
        }
        let register = (value >> 16 & 31) as usize;
        let answer = if value >> 21 & 31 != 1 {
            value | PHY_ERROR
        } else if value & PHY_READ != 0 {
            value & !0xffff | u32::from(self.phy[register])
        } else {
            self.phy[register] = value as u16 & !(1 << 9);
            value
        };
        self.put(MDIC, answer | PHY_READY);
    }

    /// Adds causes, and interrupts if they are wanted.
    pub(crate) fn raise(&mut self, bus: &mut Bus, causes: u32) {
        let mut causes = causes;
        if self.is_msix() && causes & (1 << 2 | 1 << 6) != 0 {
            causes |= 1 << 24;
        }
        let all = self.at(ICR) | causes;
        self.put(ICR, all);
        let wanted = all & self.at(IMS);
        if !self.is_msix() {
            let is_new = wanted != 0 && !self.line;
            self.line = wanted != 0;
            if is_new {
                bus.interrupt(0);
            }
            return;
        }
        // IVAR has RXQ0, RXQ1, TXQ0, TXQ1 and the rest in a row of nibbles.
        for n in 0..5 {
            let cause = 1 << (20 + n);
            let entry = self.at(IVAR) >> (4 * n);
            let is_new = wanted & cause != 0 && self.messages & cause == 0;
            if is_new && entry & VECTOR_VALID != 0 {
                bus.interrupt((entry & 7) as u16);
                let clear = self.at(EIAC) & cause;
                self.put(ICR, self.at(ICR) & !clear);
                self.put(IMS, self.at(IMS) & !clear);
                // What does not clear itself is not sent again before it is cleared.
                self.messages |= cause & !clear;
            }
        }
        self.messages &= self.at(ICR);
    }

    /// Messages, or one interrupt for all, as IVAR says.
    fn is_msix(&self) -> bool {
        self.kind == Kind::Intel82574 && self.at(IVAR) != 0
    }
}
