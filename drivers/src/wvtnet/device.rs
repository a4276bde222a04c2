// SPDX-License-Identifier: BSD-2-Clause
//! A virtio device on PCI, of either kind: status, features, configuration, queues' addresses and
//! doorbells.
//!
//! Registers of a modern device are in memory, wherever its capabilities say; those of a legacy
//! one in BAR 0, and where its configuration begins depends on whether MSI-X is on.

use super::layout::{CAPABILITY, NO_VECTOR, Part, Split, Structure, capability, common, legacy};
use super::net::{DeviceStatus, Features};
use weft_engine::nic::{Dma, Error, Platform, Registers, Word};

/// Times that a reset is waited for, 1 ms each.
const RESET_TRIES: u32 = 100;
/// The PCI capability MSI-X, and the bit of its second word by which it is on.
const MSIX: u8 = 0x11;
const MSIX_ON: u16 = 1 << 15;

/// A window of registers.
struct Window<R> {
    registers: R,
    at: u32,
}

impl<R: Registers> Window<R> {
    fn read<W: Word>(&self, at: u32) -> W {
        self.registers.read(self.at.wrapping_add(at))
    }

    fn write<W: Word>(&self, at: u32, value: W) {
        self.registers.write(self.at.wrapping_add(at), value);
    }
}

impl<R: Clone> Clone for Window<R> {
    fn clone(&self) -> Self {
        Self {
            registers: self.registers.clone(),
            at: self.at,
        }
    }
}

/// How the device is reached.
enum Way<R> {
    /// By BAR 0.
    Legacy(R),
    /// By four windows.
    Modern {
        common: Window<R>,
        notify: Window<R>,
        multiplier: u32,
        interrupt: Window<R>,
        device: Window<R>,
    },
}

/// A device.
pub(super) struct Device<P: Platform> {
    platform: P,
    way: Way<P::Registers>,
}

/// What tells the device that a queue has something.
pub(super) struct Doorbell<P: Platform> {
    window: Window<P::Registers>,
    queue: u16,
}

impl<P: Platform> Doorbell<P> {
    pub(super) fn ring(&self) {
        self.window.write(0, self.queue);
    }
}

/// Why the device interrupted; a read clears it, and has a line go quiet.
pub(super) struct InterruptStatus<P: Platform>(Window<P::Registers>);

impl<P: Platform> InterruptStatus<P> {
    pub(super) fn read(&self) -> u8 {
        self.0.read(0)
    }
}

impl<P: Platform> Device<P> {
    /// Finds the way to the device.
    pub(super) fn find(platform: &P, is_modern_only: bool) -> Result<Self, Error> {
        let way = match modern(platform)? {
            Some(way) => way,
            None if is_modern_only => return Err(Error::NoResource("virtio's capabilities")),
            None => Way::Legacy(platform.registers(0)?),
        };
        Ok(Self {
            platform: platform.clone(),
            way,
        })
    }

    /// Whether it is used as a legacy device.
    pub(super) fn is_legacy(&self) -> bool {
        matches!(self.way, Way::Legacy(_))
    }

    pub(super) fn status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(match &self.way {
            Way::Legacy(bar) => bar.read(legacy::STATUS),
            Way::Modern { common, .. } => common.read(common::STATUS),
        })
    }

    /// Says that the driver is further.
    pub(super) fn add_status(&self, more: DeviceStatus) {
        let bits = (self.status() | more).bits();
        match &self.way {
            Way::Legacy(bar) => bar.write(legacy::STATUS, bits),
            Way::Modern { common, .. } => common.write(common::STATUS, bits),
        }
    }

    /// Resets the device; after that it touches no memory.
    pub(super) fn reset(&self) -> Result<(), Error> {
        match &self.way {
            Way::Legacy(bar) => bar.write(legacy::STATUS, 0_u8),
            Way::Modern { common, .. } => common.write(common::STATUS, 0_u8),
        }
        for _ in 0..RESET_TRIES {
            if self.status().is_empty() {
                return Ok(());
            }
            self.platform.wait_us(1_000);
        }
        Err(Error::Broken("reset", self.status().bits().into()))
    }

    /// What the device can do.
    pub(super) fn features(&self) -> Features {
        Features::from_bits_retain(match &self.way {
            Way::Legacy(bar) => bar.read::<u32>(legacy::DEVICE_FEATURE).into(),
            Way::Modern { common, .. } => {
                let half = |n: u32| {
                    common.write(common::DEVICE_FEATURE_SELECT, n);
                    u64::from(common.read::<u32>(common::DEVICE_FEATURE))
                };
                half(0) | half(1) << 32
            }
        })
    }

    /// Agrees upon features, and has the device say whether that is well.
    pub(super) fn agree(&self, features: Features) -> Result<(), Error> {
        match &self.way {
            Way::Legacy(bar) => bar.write(legacy::DRIVER_FEATURE, features.bits() as u32),
            Way::Modern { common, .. } => {
                for (n, half) in [(0_u32, features.bits()), (1, features.bits() >> 32)] {
                    common.write(common::DRIVER_FEATURE_SELECT, n);
                    common.write(common::DRIVER_FEATURE, half as u32);
                }
                self.add_status(DeviceStatus::FEATURES_OK);
                if !self.status().contains(DeviceStatus::FEATURES_OK) {
                    return Err(Error::Broken("features", features.bits()));
                }
            }
        }
        Ok(())
    }

    /// Reads the device's own configuration, which is 1, 2 or 4 bytes at once.
    pub(super) fn config<W: Word>(&self, at: u32) -> W {
        match &self.way {
            Way::Legacy(bar) => bar.read(self.legacy_config().wrapping_add(at)),
            Way::Modern { device, .. } => device.read(at),
        }
    }

    /// Writes a byte of it.
    pub(super) fn set_config(&self, at: u32, value: u8) {
        match &self.way {
            Way::Legacy(bar) => bar.write(self.legacy_config().wrapping_add(at), value),
            Way::Modern { device, .. } => device.write(at, value),
        }
    }

    fn legacy_config(&self) -> u32 {
        let msix = self.platform.capability(MSIX, None);
        let is_on = msix.is_some_and(|at| self.platform.config::<u16>(at + 2) & MSIX_ON != 0);
        if is_on {
            legacy::DEVICE_MSIX
        } else {
            legacy::DEVICE
        }
    }

    fn select(&self, queue: u16) {
        match &self.way {
            Way::Legacy(bar) => bar.write(legacy::QUEUE_SELECT, queue),
            Way::Modern { common, .. } => common.write(common::QUEUE_SELECT, queue),
        }
    }

    /// How many descriptors a queue has, at most for a modern device; 0 if there is none.
    pub(super) fn queue_size(&self, queue: u16) -> u16 {
        self.select(queue);
        match &self.way {
            Way::Legacy(bar) => bar.read(legacy::QUEUE_SIZE),
            Way::Modern { common, .. } => common.read(common::QUEUE_SIZE),
        }
    }

    /// Has configuration changes interrupt by that vector of MSI-X, or by none.
    pub(super) fn route_events(&self, vector: Option<u16>) -> Result<(), Error> {
        let wanted = vector.unwrap_or(NO_VECTOR);
        let got: u16 = match &self.way {
            // There is no such register without MSI-X.
            Way::Legacy(_) if vector.is_none() => NO_VECTOR,
            Way::Legacy(bar) => {
                bar.write(legacy::CONFIG_VECTOR, wanted);
                bar.read(legacy::CONFIG_VECTOR)
            }
            Way::Modern { common, .. } => {
                common.write(common::CONFIG_VECTOR, wanted);
                common.read(common::CONFIG_VECTOR)
            }
        };
        accepted(got, wanted)
    }

    /// Gives a queue its memory and its vector of MSI-X, if it has one, and switches it on.
    pub(super) fn set_queue(
        &self,
        queue: u16,
        memory: &P::Dma,
        split: Split,
        vector: Option<u16>,
    ) -> Result<Doorbell<P>, Error> {
        self.select(queue);
        let address = memory.address();
        let wanted = vector.unwrap_or(NO_VECTOR);
        match &self.way {
            Way::Legacy(bar) => {
                let page = address >> legacy::PAGE.trailing_zeros();
                let page = u32::try_from(page);
                let page = page.map_err(|_| Error::Invalid("queue's address", address))?;
                bar.write(legacy::QUEUE_PAGE, page);
                if vector.is_some() {
                    bar.write(legacy::QUEUE_VECTOR, wanted);
                    accepted(bar.read(legacy::QUEUE_VECTOR), wanted)?;
                }
                Ok(Doorbell {
                    window: Window {
                        registers: bar.clone(),
                        at: legacy::QUEUE_NOTIFY,
                    },
                    queue,
                })
            }
            Way::Modern {
                common,
                notify,
                multiplier,
                ..
            } => {
                common.write(common::QUEUE_SIZE, split.size);
                for (at, offset) in [
                    (common::QUEUE_DESCRIPTORS, 0),
                    (common::QUEUE_AVAILABLE, split.available()),
                    (common::QUEUE_USED, split.used()),
                ] {
                    let address = address.wrapping_add(offset as u64);
                    common.write(at, address as u32);
                    common.write(at + 4, (address >> 32) as u32);
                }
                common.write(common::QUEUE_VECTOR, wanted);
                accepted(common.read(common::QUEUE_VECTOR), wanted)?;
                let offset: u16 = common.read(common::QUEUE_NOTIFY);
                common.write(common::QUEUE_ENABLE, 1_u16);
                let mut window = notify.clone();
                let offset = u32::from(offset).wrapping_mul(*multiplier);
                window.at = window.at.wrapping_add(offset);
                Ok(Doorbell { window, queue })
            }
        }
    }

    /// The interrupt status, for who answers interrupts.
    pub(super) fn interrupt_status(&self) -> InterruptStatus<P> {
        InterruptStatus(match &self.way {
            Way::Legacy(bar) => Window {
                registers: bar.clone(),
                at: legacy::INTERRUPT,
            },
            Way::Modern { interrupt, .. } => interrupt.clone(),
        })
    }
}

/// A device that has no room for a vector says that there is none.
fn accepted(got: u16, wanted: u16) -> Result<(), Error> {
    match got == wanted {
        true => Ok(()),
        false => Err(Error::Broken("MSI-X vector", got.into())),
    }
}

/// The windows of a modern device, if it is one.
fn modern<P: Platform>(platform: &P) -> Result<Option<Way<P::Registers>>, Error> {
    let (mut common, mut notify, mut interrupt, mut device) = (None, None, None, None);
    let mut at = platform.capability(CAPABILITY, None);
    while let Some(here) = at {
        let mut read = |offset: u16| platform.config(here.wrapping_add(offset));
        // The first one of a kind that can be used is the one to be used.
        match capability(&mut read) {
            Some((Structure::Common, part)) => common = common.or(Some(part)),
            Some((Structure::Notify { multiplier }, part)) => {
                notify = notify.or(Some((part, multiplier)));
            }
            Some((Structure::Interrupt, part)) => interrupt = interrupt.or(Some(part)),
            Some((Structure::Device, part)) => device = device.or(Some(part)),
            None => {}
        }
        at = platform.capability(CAPABILITY, at);
    }
    let (Some(common), Some((notify, multiplier)), Some(interrupt), Some(device)) =
        (common, notify, interrupt, device)
    else {
        return Ok(None);
    };
    let window = |part: Part| {
        let registers = platform.registers(part.bar)?;
        Ok(Window {
            registers,
            at: part.at,
        })
    };
    Ok(Some(Way::Modern {
        common: window(common)?,
        notify: window(notify)?,
        multiplier,
        interrupt: window(interrupt)?,
        device: window(device)?,
    }))
}
