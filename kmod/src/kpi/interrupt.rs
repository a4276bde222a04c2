// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts of a device, BUS_SETUP_INTR(9), pci_alloc_msix(9): messages (MSI-X, MSI) if
//! there are, else the device's line, which others may share.
//!
//! A handler runs in a thread of the kernel's, in the network epoch, never twice at once
//! for the same interrupt.

use alloc::boxed::Box;
use core::ffi::{CStr, c_int, c_void};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Sleepable};
use super::device::Device;
use super::epoch::surely_in_net_epoch;
use super::errno::Errno;
use super::memory::try_box;
use super::pci::{Bar, Bars};
use super::shared::Shared;

/// How a device interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages, each of its own address and bound to a CPU by itself.
    MsiX,
    /// One message.
    Msi,
    /// A line, which may be shared.
    Line,
}

impl Kind {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MsiX => "MSI-X",
            Self::Msi => "MSI",
            Self::Line => "INTx",
        }
    }
}

/// The device's interrupts, allocated. Dropping it gives them back.
pub(crate) struct Vectors {
    device: Shared<Device>,
    kind: Kind,
    count: usize,
    /// The parts of memory that MSI-X is in, which stay mapped as long; none if the driver has
    /// mapped them.
    _tables: [Option<Shared<Bar>>; 2],
}

impl Vectors {
    /// As many MSI-X messages as are wanted, or fewer, but at least `needed`; else one MSI
    /// message; else the line. Without `bars` the driver has mapped what it needs.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        bars: Option<&Bars>,
        (needed, wanted): (usize, usize),
    ) -> Result<Shared<Self>, Errno> {
        let found = Self::msix(sleepable, device, bars, (needed, wanted))
            .or_else(|| Self::messages(device, Kind::Msi, 1, [None, None]));
        let line = || Self {
            device: device.clone(),
            kind: Kind::Line,
            count: 1,
            _tables: [None, None],
        };
        Shared::made(|| Ok(found.unwrap_or_else(line)))
    }

    fn msix(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        bars: Option<&Bars>,
        (needed, wanted): (usize, usize),
    ) -> Option<Self> {
        // SAFETY: asks the bus about the device.
        let there = unsafe { c::weft_shim_pci_messages(device.raw(), true) };
        let count = usize::try_from(there).ok()?.min(wanted);
        if count == 0 || count < needed {
            return None;
        }
        let mut table = |bars: &Bars, pending| {
            // SAFETY: as above.
            let rid = unsafe { c::weft_shim_pci_msix_bar(device.raw(), pending) };
            bars.get(sleepable, Bar::number_of(rid)?).ok()
        };
        let tables = match bars {
            Some(bars) => [Some(table(bars, false)?), Some(table(bars, true)?)],
            None => [None, None],
        };
        Self::messages(device, Kind::MsiX, count, tables).filter(|found| found.count >= needed)
    }

    fn messages(
        device: &Shared<Device>,
        kind: Kind,
        wanted: usize,
        tables: [Option<Shared<Bar>>; 2],
    ) -> Option<Self> {
        let is_msix = kind == Kind::MsiX;
        let mut count = wanted as c_int;
        // SAFETY: the device has none allocated; what it gets goes with the value.
        let error = unsafe {
            if c::weft_shim_pci_messages(device.raw(), is_msix) < 1 {
                return None;
            }
            c::weft_shim_pci_messages_new(device.raw(), is_msix, &raw mut count)
        };
        (error == 0).then(|| Self {
            device: device.clone(),
            kind,
            count: count as usize,
            _tables: tables,
        })
    }

    /// What they are.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

impl Drop for Vectors {
    fn drop(&mut self) {
        if self.kind != Kind::Line {
            // SAFETY: allocated by this value; no interrupt that holds it is left.
            unsafe { c::weft_shim_pci_messages_free(self.device.raw()) }
        }
    }
}

/// What handles interrupts.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The vector of that number has interrupted, or, of a line, perhaps something else
    /// has. Does not sleep.
    fn interrupt(&self, vector: usize, epoch: &NetEpoch<'_>);
}

/// What the kernel's thread finds.
struct Slot<H> {
    handler: Shared<H>,
    vector: usize,
}

/// A vector with its handler. Dropping it waits until the handler does not run, and sleeps.
///
/// # Invariants
/// The slot is freed with this value, when the kernel knows it no more.
pub(crate) struct Interrupt<H: Handler> {
    vectors: Shared<Vectors>,
    irq: NonNull<c::resource>,
    cookie: *mut c_void,
    _slot: Box<Slot<H>>,
}

// SAFETY: the kernel's own objects, bound to no thread; the handler is shared anyway.
unsafe impl<H: Handler> Send for Interrupt<H> {}
// SAFETY: as above.
unsafe impl<H: Handler> Sync for Interrupt<H> {}

impl<H: Handler> Interrupt<H> {
    /// Has the handler called from now on. `name` is what tools show it as, behind the
    /// device's.
    ///
    /// # Errors
    /// `EINVAL` if there is no such vector; `ENOMEM`; what the bus says.
    pub(crate) fn new(
        _sleepable: &mut Sleepable,
        vectors: &Shared<Vectors>,
        vector: usize,
        handler: Shared<H>,
        name: &CStr,
    ) -> Result<Self, Errno> {
        if vector >= vectors.count {
            return Err(Errno::EINVAL);
        }
        let slot = try_box(Slot { handler, vector }).map_err(|_| Errno::ENOMEM)?;
        let device = vectors.device.raw();
        // Messages are counted from 1; 0 is the line.
        let rid = match vectors.kind {
            Kind::Line => 0,
            _ => vector as c_int + 1,
        };
        let argument = (&raw const *slot).cast_mut().cast();
        let mut cookie = ptr::null_mut();
        // SAFETY: the device is this driver's. The slot stays where it is as long as the
        // kernel knows it.
        unsafe {
            let irq = c::weft_shim_irq_new(device, rid);
            let irq = NonNull::new(irq).ok_or(Errno::ENXIO)?;
            let set_up = Errno::check(c::weft_shim_irq_set_up(
                device,
                irq.as_ptr(),
                Some(handle::<H>),
                argument,
                name.as_ptr(),
                &raw mut cookie,
            ));
            if let Err(error) = set_up {
                c::weft_shim_irq_free(device, irq.as_ptr());
                return Err(error);
            }
            Ok(Self {
                vectors: vectors.clone(),
                irq,
                cookie,
                _slot: slot,
            })
        }
    }

    /// Has the interrupt delivered to that CPU, and handled there.
    ///
    /// # Errors
    /// What the bus says; it is delivered where it was.
    pub(crate) fn bind(&self, _sleepable: &mut Sleepable, cpu: u32) -> Result<(), Errno> {
        let device = self.vectors.device.raw();
        // SAFETY: set up by `new`.
        Errno::check(unsafe { c::weft_shim_irq_bind(device, self.irq.as_ptr(), cpu as c_int) })
    }
}

impl<H: Handler> Drop for Interrupt<H> {
    fn drop(&mut self) {
        let device = self.vectors.device.raw();
        // SAFETY: set up by `new`; after the first call no thread knows the slot.
        unsafe {
            c::weft_shim_irq_tear_down(device, self.irq.as_ptr(), self.cookie);
            c::weft_shim_irq_free(device, self.irq.as_ptr());
        }
    }
}

unsafe extern "C" fn handle<H: Handler>(slot: *mut c_void) {
    // SAFETY: what `new` gave, which is there until the interrupt was torn down.
    let slot = unsafe { &*slot.cast::<Slot<H>>() };
    surely_in_net_epoch(|epoch| slot.handler.interrupt(slot.vector, epoch));
}
