// SPDX-License-Identifier: BSD-2-Clause
//! Devices and their drivers, driver(9), device(9). Header: `sys/bus.h`.
//!
//! A driver is a type that implements [`Attached`]. The kernel asks it about devices on
//! PCI, but it gets one only if the administrator says so: by `devctl set driver pci0:0:3:0
//! wvmx`, or by naming it for the loader ([`Found::claimed`]). The value that `attach` returns is the device's from then on to `detach`, and so
//! is the [`Device`], which nothing keeps longer: what `attach` makes of it goes with the
//! value.
//!
//! The kernel probes, attaches and detaches with its lock of the bus's topology (`Giant`)
//! held, which a thread gives up while it sleeps.

use alloc::boxed::Box;
use core::ffi::{CStr, c_int};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::{Errno, returned};
use super::shared::Shared;
use super::sysctl::Parent;

/// The drivers that the module has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// `wvmx`: VMXNET3.
    Vmx,
    /// `wem`: Intel's 8254x and 82574.
    Em,
    /// `wvtnet`: virtio-net.
    Vtnet,
}

impl Driver {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Vmx, Self::Em, Self::Vtnet];

    /// Its name, which is that of its devices and interfaces without their numbers.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Vmx => c"wvmx",
            Self::Em => c"wem",
            Self::Vtnet => c"wvtnet",
        }
    }

    const fn raw(self) -> c::weft_driver {
        match self {
            Self::Vmx => c::WEFT_DRIVER_VMX,
            Self::Em => c::WEFT_DRIVER_EM,
            Self::Vtnet => c::WEFT_DRIVER_VTNET,
        }
    }

    fn of(raw: c::weft_driver) -> Option<Self> {
        Self::ALL.into_iter().find(|driver| driver.raw() == raw)
    }
}

/// What becomes of the system's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// It goes, for good.
    Shutdown,
    /// It goes, and comes back.
    Suspend,
    /// It is back.
    Resume,
}

/// What a driver says of a device that it knows.
pub(crate) struct Found {
    /// What the device is, for people.
    pub(crate) what: &'static CStr,
    /// The driver is to have it rather than any other; else only if it is set to it.
    pub(crate) claimed: bool,
}

/// A driver's part of a device.
pub(crate) trait Attached: Send + Sync + Sized + 'static {
    /// What the device is, if the driver knows it.
    fn probe(sleepable: &mut Sleepable, driver: Driver, device: &Device) -> Option<Found>;

    /// Whether the drivers are registered.
    fn can_be_had() -> bool;

    /// Whether one of the drivers is to have that device.
    fn is_claimed(sleepable: &mut Sleepable, device: &Device) -> bool;

    /// Whether a device that another driver has is to be taken from that, to be
    /// [probed](Attached::probe).
    fn is_missed(sleepable: &mut Sleepable, device: &Device) -> bool;

    /// Takes the device.
    ///
    /// # Errors
    /// Why not, which has been logged; nothing is left behind.
    fn attach(
        sleepable: &mut Sleepable,
        driver: Driver,
        device: Shared<Device>,
    ) -> Result<Box<Self>, Errno>;

    /// Gives the device back, and lets go of all that is of it.
    ///
    /// # Errors
    /// `EBUSY`: it stays, and so does the value; the reason has been logged.
    fn detach(self: Box<Self>, sleepable: &mut Sleepable) -> Result<(), (Box<Self>, Errno)>;

    /// Follows the system's power.
    fn power(&self, sleepable: &mut Sleepable, power: Power);
}

/// A device that a driver is asked about or has.
pub(crate) struct Device {
    raw: NonNull<c::_device>,
}

// SAFETY: the kernel's devices are for all threads; what is done to one is done under the
// kernel's locks or, for its own registers, by whoever has them.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// # Safety
    /// The device has a driver, and keeps it for as long as the value is there.
    pub(super) unsafe fn from_raw(raw: NonNull<c::_device>) -> Self {
        Self { raw }
    }

    pub(super) fn raw(&self) -> *mut c::_device {
        self.raw.as_ptr()
    }

    /// Its unit's number.
    pub(crate) fn unit(&self) -> u32 {
        // SAFETY: reads a number.
        unsafe { c::device_get_unit(self.raw()) as u32 }
    }

    /// The driver's name, which is there as long as the driver's module.
    pub(crate) fn driver_name(&self) -> &'static CStr {
        // SAFETY: the driver's own string; the device has gone before the module does.
        unsafe { CStr::from_ptr(c::device_get_name(self.raw())) }
    }

    /// The driver's name and the unit's number.
    pub(crate) fn name(&self) -> &str {
        // SAFETY: a string that is there as long as the device has a driver.
        let name = unsafe { CStr::from_ptr(c::device_get_nameunit(self.raw())) };
        name.to_str().unwrap_or_default()
    }

    /// `dev.<driver>.<unit>`.
    pub(crate) fn sysctls(&self) -> Parent {
        // SAFETY: the device has a driver, hence a tree, which is there until it has been
        // detached.
        unsafe { Parent::from_raw(c::weft_shim_device_sysctls(self.raw())) }
    }
}

/// The drivers, registered. Dropping it takes them back.
pub(crate) struct Registered {
    count: usize,
}

impl Registered {
    /// Registers all drivers. The thread handles an event of the module's.
    ///
    /// # Errors
    /// What the kernel says; then none is registered.
    pub(crate) fn new(_sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let mut registered = Self { count: 0 };
        // SAFETY: the bus's topology is locked while the module's events are handled.
        unsafe { c::weft_shim_devices_hold(Some(is_claimed)) };
        let all = Driver::ALL.into_iter().try_for_each(|driver| {
            if registered.count + 1 == Driver::ALL.len() {
                // SAFETY: as above.
                unsafe { c::weft_shim_devices_release() };
            }
            // SAFETY: as above.
            Errno::check(unsafe { c::weft_shim_driver(driver.raw(), true) })?;
            registered.count += 1;
            Ok(())
        });
        // Those that wait still, if it failed.
        // SAFETY: as above.
        unsafe { c::weft_shim_devices_release() };
        all.map(|()| registered)
    }
}

/// Whether the system is not up yet, so that nobody uses a device.
pub(crate) fn is_booting() -> bool {
    // SAFETY: reads a number.
    unsafe { c::weft_shim_is_booting() }
}

impl Drop for Registered {
    fn drop(&mut self) {
        for driver in Driver::ALL.into_iter().take(self.count) {
            // SAFETY: as above; no device is attached, so there is no error.
            unsafe { c::weft_shim_driver(driver.raw(), false) };
        }
    }
}

type Nic = crate::nic::Nic;

/// The device, and which driver's it is.
///
/// # Safety
/// The kernel calls one of the drivers' methods for it.
unsafe fn asked(raw: *mut c::_device) -> Option<(Driver, Device)> {
    let raw = NonNull::new(raw)?;
    // SAFETY: as promised.
    let driver = Driver::of(unsafe { c::weft_shim_device_driver(raw.as_ptr()) })?;
    Some((driver, Device { raw }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_card_probe(raw: *mut c::_device) -> c::weft_probe {
    // SAFETY: called by a driver's method, in a thread that holds no other lock than Giant.
    let (asked, mut sleepable) = unsafe { (asked(raw), Sleepable::assume()) };
    let Some((driver, device)) = asked else {
        return c::WEFT_PROBE_UNKNOWN;
    };
    let Some(found) = Nic::probe(&mut sleepable, driver, &device) else {
        return c::WEFT_PROBE_UNKNOWN;
    };
    // SAFETY: the string is static.
    unsafe { c::device_set_desc(raw, found.what.as_ptr()) };
    match found.claimed {
        true => c::WEFT_PROBE_CLAIMED,
        false => c::WEFT_PROBE_KNOWN,
    }
}

/// Has devices probed again that another driver took at boot, or says that they stay. It comes
/// behind the module's own load, when interfaces can go: at boot that is later.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_cards_claim() {
    if Nic::can_be_had() {
        // SAFETY: the caller has the bus's topology locked; all drivers can be asked.
        unsafe { c::weft_shim_devices_reclaim(Some(is_missed)) };
    }
}

unsafe extern "C" fn is_claimed(raw: *mut c::_device) -> bool {
    let Some(raw) = NonNull::new(raw) else {
        return false;
    };
    // SAFETY: called by `Registered::new`, which may sleep.
    let mut sleepable = unsafe { Sleepable::assume() };
    Nic::is_claimed(&mut sleepable, &Device { raw })
}

unsafe extern "C" fn is_missed(raw: *mut c::_device) -> bool {
    let Some(raw) = NonNull::new(raw) else {
        return false;
    };
    // SAFETY: called by `weft_cards_claim`, which may sleep.
    let mut sleepable = unsafe { Sleepable::assume() };
    Nic::is_missed(&mut sleepable, &Device { raw })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_card_attach(raw: *mut c::_device) -> c_int {
    // SAFETY: as above; the thread may sleep, as it holds no other lock than Giant.
    let Some((driver, device)) = (unsafe { asked(raw) }) else {
        return Errno::ENXIO.number();
    };
    // SAFETY: as above.
    let mut sleepable = unsafe { Sleepable::assume() };
    let attached = Shared::made(|| Ok(device))
        .and_then(|device| Nic::attach(&mut sleepable, driver, device))
        // SAFETY: a driver's device has room for a pointer.
        .map(|nic| unsafe { c::weft_shim_device_set_softc(raw, Box::into_raw(nic).cast()) });
    returned(attached)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_card_detach(raw: *mut c::_device) -> c_int {
    // SAFETY: the pointer that `attach` stored, and that is taken out here, with the bus's
    // topology locked; the thread may sleep.
    unsafe {
        let Some(nic) = NonNull::new(c::weft_shim_device_softc(raw).cast::<Nic>()) else {
            return 0;
        };
        c::weft_shim_device_set_softc(raw, ptr::null_mut());
        let nic = Box::from_raw(nic.as_ptr());
        match nic.detach(&mut Sleepable::assume()) {
            Ok(()) => 0,
            Err((nic, error)) => {
                c::weft_shim_device_set_softc(raw, Box::into_raw(nic).cast());
                error.number()
            }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_card_power(raw: *mut c::_device, power: c::weft_power) {
    let power = match power {
        c::WEFT_POWER_SUSPEND => Power::Suspend,
        c::WEFT_POWER_RESUME => Power::Resume,
        _ => Power::Shutdown,
    };
    // SAFETY: what `attach` stored, if anything, which stays during the call.
    unsafe {
        let nic = c::weft_shim_device_softc(raw).cast::<Nic>();
        if let Some(nic) = nic.as_ref() {
            nic.power(&mut Sleepable::assume(), power);
        }
    }
}
