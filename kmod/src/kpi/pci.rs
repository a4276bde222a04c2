// SPDX-License-Identifier: BSD-2-Clause
//! What a PCI device has, pci(9), rman(9): configuration space, and parts of memory or of
//! I/O ports (BARs). Headers: `dev/pci/pcireg.h`, `sys/rman.h`.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use weft_bindings::kernel as c;
use weft_engine::nic::{Place, Registers, Word};

use super::context::Sleepable;
use super::device::Device;
use super::errno::Errno;
use super::shared::Shared;
use super::slept::Slept;

/// Where configuration space has the first BAR.
const FIRST_BAR: u32 = 0x10;
/// In a BAR: it is of I/O ports.
const IS_PORTS: u32 = 1;
/// BARs of a device.
const BARS: u32 = 6;
/// Bytes of configuration space, the extended part included.
const CONFIG_SIZE: u32 = 4096;

impl Device {
    /// Reads configuration space, four bytes at most; 0 where there is none.
    pub(crate) fn config<W: Word>(&self, at: u32) -> W {
        if at >= CONFIG_SIZE || W::BYTES > 4 {
            return W::narrow(0);
        }
        // SAFETY: a device on PCI; the kernel answers for what the device has not.
        W::narrow(u64::from(unsafe {
            c::weft_shim_pci_read(self.raw(), at as c_int, W::BYTES as c_int)
        }))
    }

    /// Writes to configuration space, four bytes at most.
    pub(crate) fn set_config<W: Word>(&self, at: u32, value: W) {
        if at < CONFIG_SIZE && W::BYTES <= 4 {
            let (at, width) = (at as c_int, W::BYTES as c_int);
            // SAFETY: as above.
            unsafe { c::weft_shim_pci_write(self.raw(), at, value.widen() as u32, width) }
        }
    }

    /// The vendor's and the device's number.
    pub(crate) fn id(&self) -> (u16, u16) {
        (self.config(0), self.config(2))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Place {
        let mut place = MaybeUninit::<c::weft_place>::uninit();
        // SAFETY: a device on PCI; all of the place is written.
        let place = unsafe {
            c::weft_shim_pci_place(self.raw(), place.as_mut_ptr());
            place.assume_init()
        };
        Place {
            domain: place.domain,
            bus: place.bus,
            slot: place.slot,
            function: place.function,
        }
    }

    /// Lets the device reach memory by itself, or not.
    pub(crate) fn set_bus_master(&self, on: bool) {
        // SAFETY: sets a bit of the device's. PCI has no error for it.
        let _ = unsafe { c::weft_shim_pci_bus_master(self.raw(), on) };
    }
}

/// One of a device's BARs, mapped. Dropping it gives it back.
pub(crate) struct Bar {
    device: Shared<Device>,
    resource: NonNull<c::resource>,
    size: usize,
    is_memory: bool,
}

// SAFETY: registers are for all threads; who writes which is for the driver to say.
unsafe impl Send for Bar {}
// SAFETY: as above.
unsafe impl Sync for Bar {}

impl Bar {
    /// The BAR of that number, from 0.
    ///
    /// # Errors
    /// `EINVAL` if a device cannot have it; `ENXIO` if this one has not, or somebody else
    /// has it already.
    pub(crate) fn new(device: &Shared<Device>, number: u32) -> Result<Self, Errno> {
        if number >= BARS {
            return Err(Errno::EINVAL);
        }
        let rid = FIRST_BAR + 4 * number;
        let is_memory = device.config::<u32>(rid) & IS_PORTS == 0;
        // SAFETY: the device is this driver's.
        let resource = unsafe { c::weft_shim_bar_new(device.raw(), rid as c_int, is_memory) };
        let resource = NonNull::new(resource).ok_or(Errno::ENXIO)?;
        // SAFETY: allocated above.
        let size = unsafe { c::weft_shim_bar_size(resource.as_ptr()) };
        Ok(Self {
            device: device.clone(),
            resource,
            size,
            is_memory,
        })
    }

    /// The number of the BAR that is named as MSI-X does.
    pub(super) fn number_of(rid: c_int) -> Option<u32> {
        let at = u32::try_from(rid).ok()?.checked_sub(FIRST_BAR)?;
        Some(at / 4)
    }

    /// Whether so many bytes at that offset are within the BAR, and aligned.
    #[inline]
    fn has(&self, at: usize, len: usize) -> bool {
        let is_within = at.checked_add(len).is_some_and(|end| end <= self.size);
        is_within && at & len.wrapping_sub(1) == 0
    }

    #[inline]
    fn long(&self, at: usize) -> u64 {
        // SAFETY: the caller has seen that four bytes are there.
        u64::from(unsafe { c::weft_shim_bar_read_4(self.resource.as_ptr(), at) })
    }
}

/// A handle of registers. They are the device's, so what is read and written is little endian,
/// as this machine is.
impl Registers for Shared<Bar> {
    #[inline]
    fn read<W: Word>(&self, at: u32) -> W {
        let at = at as usize;
        if !self.has(at, W::BYTES) {
            return W::narrow(0);
        }
        let raw = self.resource.as_ptr();
        // SAFETY: within the BAR, and aligned.
        W::narrow(unsafe {
            match W::BYTES {
                1 => u64::from(c::weft_shim_bar_read_1(raw, at)),
                2 => u64::from(c::weft_shim_bar_read_2(raw, at)),
                4 => u64::from(c::weft_shim_bar_read_4(raw, at)),
                _ if self.is_memory => c::weft_shim_bar_read_8(raw, at),
                _ => self.long(at) | self.long(at.wrapping_add(4)) << 32,
            }
        })
    }

    #[inline]
    fn write<W: Word>(&self, at: u32, value: W) {
        let (at, value) = (at as usize, value.widen());
        if !self.has(at, W::BYTES) {
            return;
        }
        let raw = self.resource.as_ptr();
        // SAFETY: within the BAR, and aligned.
        unsafe {
            match W::BYTES {
                1 => c::weft_shim_bar_write_1(raw, at, value as u8),
                2 => c::weft_shim_bar_write_2(raw, at, value as u16),
                4 => c::weft_shim_bar_write_4(raw, at, value as u32),
                _ if self.is_memory => c::weft_shim_bar_write_8(raw, at, value),
                _ => {
                    c::weft_shim_bar_write_4(raw, at, value as u32);
                    c::weft_shim_bar_write_4(raw, at.wrapping_add(4), (value >> 32) as u32);
                }
            }
        }
    }

    fn bytes(&self) -> u32 {
        self.size as u32
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and nobody else's.
        unsafe { c::weft_shim_bar_free(self.device.raw(), self.resource.as_ptr()) }
    }
}

/// The BARs of a device that are mapped, each once.
pub(crate) struct Bars {
    device: Shared<Device>,
    mapped: Slept<[Option<Shared<Bar>>; BARS as usize]>,
}

impl Bars {
    /// None yet.
    pub(crate) fn of(device: &Shared<Device>) -> Self {
        Self {
            device: device.clone(),
            mapped: Slept::new([const { None }; BARS as usize]),
        }
    }

    /// The BAR of that number, mapped now if it was not.
    ///
    /// # Errors
    /// As for [`Bar::new`]; `ENOMEM`.
    pub(crate) fn get(&self, sleepable: &mut Sleepable, number: u32) -> Result<Shared<Bar>, Errno> {
        self.mapped.with(sleepable, |_, mapped| {
            let place = mapped.get_mut(number as usize).ok_or(Errno::EINVAL)?;
            if let Some(bar) = place {
                return Ok(bar.clone());
            }
            let bar = Shared::made(|| Bar::new(&self.device, number))?;
            Ok(place.insert(bar).clone())
        })
    }
}
