// SPDX-License-Identifier: BSD-2-Clause
//! Drivers of network cards in C, by `include/weft_nic.h`: their tables of functions, and here
//! the functions that they call.
//!
//! What the header asks of a driver is what makes calls of its functions safe: they may be
//! called in the contexts that are said there, and the table stays as it is while a device is
//! attached. Beyond that a driver is not taken at its word: numbers are looked at here or by
//! the library.

mod calls;
mod table;

use alloc::boxed::Box;
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::device::Device;
use super::errno::{Errno, returned};
use super::shared::Shared;
use crate::nic::cdriver::Attachment;

pub(crate) use calls::{Calls, Place, Queue, Way};
pub(crate) use table::Table;

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_attach(
    dev: *mut c::_device,
    driver: *const c::weft_nic_driver,
    softc: *mut c_void,
    offer: *const c::weft_nic_offer,
    nic: *mut *mut c::weft_nic,
) -> c_int {
    // SAFETY: the caller's promise: a device_attach method, which may sleep.
    returned(unsafe {
        *nic = ptr::null_mut();
        attach(dev, driver, softc, offer, nic).inspect_err(|_| *nic = ptr::null_mut())
    })
}

/// # Safety
/// As for `weft_nic_attach`.
#[inline(never)]
unsafe fn attach(
    dev: *mut c::_device,
    driver: *const c::weft_nic_driver,
    softc: *mut c_void,
    offer: *const c::weft_nic_offer,
    nic: *mut *mut c::weft_nic,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sleepable = Sleepable::assume();
        let device = Device::from_raw(NonNull::new(dev).ok_or(Errno::EINVAL)?);
        let driver = NonNull::new(driver.cast_mut()).ok_or(Errno::EINVAL)?;
        let offer = offer.as_ref().ok_or(Errno::EINVAL)?;
        let table = Shared::made(|| Table::read(&device, driver, offer, softc))?;
        let device = Shared::made(|| Ok(device))?;
        let (attachment, card) = Attachment::prepared(&mut sleepable, &device, table)?;
        let attachment = Box::leak(attachment);
        *nic = ptr::from_mut(attachment).cast();
        attachment.enter(&mut sleepable, card);
    }
    Ok(())
}

/// What the driver has of it.
///
/// # Safety
/// A pointer that `weft_nic_attach` has given, before `weft_nic_detach` gets it; or null.
unsafe fn attachment<'n>(nic: *mut c::weft_nic) -> Option<&'n Attachment> {
    // SAFETY: the caller's promise.
    unsafe { nic.cast::<Attachment>().as_ref() }
}

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_detach(nic: *mut c::weft_nic) -> c_int {
    // SAFETY: the caller's promise: a device_detach method, which may sleep.
    unsafe {
        let Some(attachment) = attachment(nic) else {
            return 0;
        };
        let gone = attachment.leave(&mut Sleepable::assume());
        if gone.is_ok() {
            drop(Box::from_raw(nic.cast::<Attachment>()));
        }
        returned(gone)
    }
}

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_suspend(nic: *mut c::weft_nic) {
    // SAFETY: the caller's promise, who may sleep.
    unsafe {
        if let Some(attachment) = attachment(nic) {
            attachment.suspend(&mut Sleepable::assume());
        }
    }
}

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_resume(nic: *mut c::weft_nic) {
    // SAFETY: as above.
    unsafe {
        if let Some(attachment) = attachment(nic) {
            attachment.resume(&mut Sleepable::assume());
        }
    }
}

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_interrupt(nic: *mut c::weft_nic, vector: c_uint) {
    // SAFETY: the caller's promise.
    if let Some(attachment) = unsafe { attachment(nic) } {
        attachment.interrupt(vector);
    }
}

/// # Safety
/// As `include/weft_nic.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_nic_event(nic: *mut c::weft_nic) {
    // SAFETY: the caller's promise.
    if let Some(attachment) = unsafe { attachment(nic) } {
        attachment.event();
    }
}
