// SPDX-License-Identifier: BSD-2-Clause
//! The registers of both kinds of device.

use super::{DRIVER_OK, FEATURES_OK, Fault, Virtio};
use weft_engine::sim::nic::Bus;

/// What a register is, whichever kind of device it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    DeviceHalf,
    DeviceFeatures,
    DriverHalf,
    DriverFeatures,
    ConfigVector,
    Queues,
    Status,
    Generation,
    Select,
    Size,
    Vector,
    Enable,
    NotifyOffset,
    /// Which of three addresses, and which half of it.
    Address(usize, u32),
    Page,
    Notify,
    Interrupt,
    Config(u32),
}

impl Virtio {
    /// The register there, if it may be accessed by so many bytes.
    fn name(&self, bar: u8, at: u32, bytes: usize) -> Option<Name> {
        let (name, width) = if self.kind.is_legacy {
            let config = if self.kind.has_msix { 24 } else { 20 };
            match (bar, at) {
                (0, 0) => (Name::DeviceFeatures, 4),
                (0, 4) => (Name::DriverFeatures, 4),
                (0, 8) => (Name::Page, 4),
                (0, 12) => (Name::Size, 2),
                (0, 14) => (Name::Select, 2),
                (0, 16) => (Name::Notify, 2),
                (0, 18) => (Name::Status, 1),
                (0, 19) => (Name::Interrupt, 1),
                (0, 20) if self.kind.has_msix => (Name::ConfigVector, 2),
                (0, 22) if self.kind.has_msix => (Name::Vector, 2),
                (0, at) if at >= config => (Name::Config(at - config), bytes),
                _ => return None,
            }
        } else {
            match (bar, at) {
                (4, 0x00) => (Name::DeviceHalf, 4),
                (4, 0x04) => (Name::DeviceFeatures, 4),
                (4, 0x08) => (Name::DriverHalf, 4),
                (4, 0x0c) => (Name::DriverFeatures, 4),
                (4, 0x10) => (Name::ConfigVector, 2),
                (4, 0x12) => (Name::Queues, 2),
                (4, 0x14) => (Name::Status, 1),
                (4, 0x15) => (Name::Generation, 1),
                (4, 0x16) => (Name::Select, 2),
                (4, 0x18) => (Name::Size, 2),
                (4, 0x1a) => (Name::Vector, 2),
                (4, 0x1c) => (Name::Enable, 2),
                (4, 0x1e) => (Name::NotifyOffset, 2),
                (4, 0x20..0x38) => (Name::Address((at as usize - 0x20) / 8, at & 4), 4),
                (4, 0x1000) => (Name::Interrupt, 1),
                (4, 0x2000..0x3000) => (Name::Config(at - 0x2000), bytes),
                (4, 0x3000..0x4000) if at.is_multiple_of(4) => (Name::Notify, 2),
                _ => return None,
            }
        };
        (width == bytes).then_some(name)
    }

    pub(super) fn read_register(&mut self, bus: &mut Bus, bar: u8, at: u32, bytes: usize) -> u64 {
        let Some(name) = self.name(bar, at, bytes) else {
            bus.complain(format!("{bytes} bytes read at {at:#x}"));
            return 0;
        };
        let ring = self.rings.get(usize::from(self.selected)).cloned();
        match name {
            Name::DeviceFeatures if self.kind.is_legacy => self.kind.features & 0xffff_ffff,
            Name::DeviceFeatures => {
                self.kind.features >> (32 * self.device_half.min(1)) & 0xffff_ffff
            }
            Name::ConfigVector => self.config_vector.into(),
            Name::Queues => self.rings.len() as u64,
            Name::Status => self.status.into(),
            Name::Select => self.selected.into(),
            Name::Size => ring.map_or(0, |ring| ring.size.into()),
            Name::Vector => ring.map_or(0xffff, |ring| ring.vector.into()),
            Name::NotifyOffset => self.selected.into(),
            Name::Interrupt => std::mem::take(&mut self.interrupt).into(),
            Name::Config(at) => (0..bytes as u32).fold(0, |word, n| {
                word | u64::from(self.config_byte(at + n)) << (8 * n)
            }),
            _ => 0,
        }
    }

    pub(super) fn write_register(
        &mut self,
        bus: &mut Bus,
        bar: u8,
        at: u32,
        bytes: usize,
        value: u64,
    ) {
        let Some(name) = self.name(bar, at, bytes) else {
            bus.complain(format!("{bytes} bytes written at {at:#x}"));
            return;
        };
        let is_going = self.status & DRIVER_OK != 0;
        match name {
            Name::DeviceHalf => self.device_half = value as u32,
            Name::DriverHalf => self.driver_half = value as u32,
            Name::DriverFeatures => self.agree(bus, value),
            Name::ConfigVector => self.config_vector = value as u16,
            Name::Status => self.set_status(bus, value as u8),
            Name::Select => self.selected = value as u16,
            Name::Notify => {
                self.doorbells += 1;
                let expected = u64::from(at.wrapping_sub(0x3000) / 4);
                if !is_going || !self.kind.is_legacy && value != expected {
                    bus.complain(format!("a doorbell of queue {value}"));
                }
                self.answer_doorbell(bus, value as u16);
            }
            Name::Config(at) if self.kind.is_legacy && bytes == 1 && at < 6 => {
                self.listens.mac[at as usize] = value as u8;
            }
            _ => {
                if is_going {
                    bus.complain(format!("{name:?} is written while the device goes"));
                }
                self.set_queue(bus, name, value);
            }
        }
    }

    fn set_queue(&mut self, bus: &mut Bus, name: Name, value: u64) {
        let is_legacy = self.kind.is_legacy;
        let most = self.kind.queue_size;
        let Some(ring) = self.rings.get_mut(usize::from(self.selected)) else {
            bus.complain("a queue that there is not");
            return;
        };
        match name {
            Name::Size if !is_legacy && value <= most.into() && value.is_power_of_two() => {
                ring.size = value as u16;
            }
            Name::Vector => ring.vector = value as u16,
            Name::Enable if value == 1 => ring.is_on = true,
            Name::Address(which, half) => {
                let shift = half * 8;
                let kept = ring.parts[which] & !(0xffff_ffff << shift);
                ring.parts[which] = kept | value << shift;
            }
            Name::Page if is_legacy => {
                ring.is_on = value != 0;
                ring.lay_out(value << 12);
            }
            _ => bus.complain(format!("{name:?} is written with {value:#x}")),
        }
        let ring = &self.rings[usize::from(self.selected)];
        let aligned = [16, 2, 4];
        let parts = ring.parts.iter().zip(aligned);
        if ring.is_on && parts.clone().any(|(part, align)| part % align != 0) {
            bus.complain("a queue that is not aligned");
        }
    }

    fn agree(&mut self, bus: &mut Bus, value: u64) {
        if self.status & (FEATURES_OK | DRIVER_OK) != 0 {
            bus.complain("features are agreed upon too late");
        }
        let shift = if self.kind.is_legacy {
            0
        } else {
            32 * self.driver_half.min(1)
        };
        let kept = self.agreed & !(0xffff_ffff << shift);
        self.agreed = kept | value << shift;
        if self.agreed & !self.kind.features != 0 {
            bus.complain(format!("features that there are not: {:#x}", self.agreed));
        }
        // What needs what (5.1.3.1).
        for (feature, needed) in [
            (1 << 7 | 1 << 8, 1 << 1),
            (1 << 11 | 1 << 12, 1 << 0),
            (1 << 18 | 1 << 19 | 1 << 22 | 1 << 23, 1 << 17),
        ] {
            if self.agreed & feature != 0 && self.agreed & needed == 0 {
                bus.complain(format!(
                    "features without what they need: {:#x}",
                    self.agreed
                ));
            }
        }
    }

    fn set_status(&mut self, bus: &mut Bus, value: u8) {
        if value == 0 {
            if !self.has(Fault::ResetStuck) {
                self.reset();
            }
            return;
        }
        if self.status & !value != 0 {
            bus.complain(format!(
                "status goes back from {:#x} to {value:#x}",
                self.status
            ));
        }
        let mut value = value;
        if value & FEATURES_OK != 0 && self.has(Fault::Disagrees) {
            value &= !FEATURES_OK;
        }
        let is_early = !self.kind.is_legacy && value & FEATURES_OK == 0;
        if value & DRIVER_OK != 0 && is_early {
            bus.complain("the driver goes before features are agreed upon");
        }
        self.status = value;
    }
}
