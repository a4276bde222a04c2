// SPDX-License-Identifier: BSD-2-Clause
//! Which driver a device has, as devctl(8) says it to the kernel. Header: `sys/bus.h`.

use alloc::vec;
use core::ffi::{c_int, c_ulong};

use super::command::{Failure, Outcome};
use super::sys::{self, Fd, Plain};

const ATTACH: c_ulong = 0x8098_4401;
const DETACH: c_ulong = 0x8098_4402;
const ENABLE: c_ulong = 0x8098_4403;
const DISABLE: c_ulong = 0x8098_4404;
const SUSPEND: c_ulong = 0x8098_4405;
const RESUME: c_ulong = 0x8098_4406;
const SET_DRIVER: c_ulong = 0x8098_4407;
const CLEAR_DRIVER: c_ulong = 0x8098_4408;
/// Detaches the driver that the device has.
const FORCE: c_int = 1;

/// `struct devreq`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; 128],
    flags: c_int,
    padding: c_int,
    data: usize,
    length: usize,
}

// SAFETY: integers and an array of them, without padding of the compiler's.
unsafe impl Plain for Request {}

/// `devctl set DEVICE DRIVER` and `devctl clear DEVICE`, also if the device has another
/// driver; `devctl attach|detach|suspend|resume DEVICE`; `devctl
/// disable|enable DEVICE`, which has it without a driver even if one is loaded. A device is its name, or where it
/// is, such as `pci0:0:8:0`.
pub(super) fn command(words: &[&str]) -> Outcome {
    let (request, device, flags, driver) = match words {
        ["set", device, driver] => (SET_DRIVER, device, FORCE, *driver),
        ["clear", device] => (CLEAR_DRIVER, device, FORCE, ""),
        ["attach", device] => (ATTACH, device, 0, ""),
        ["detach", device] => (DETACH, device, 0, ""),
        ["enable", device] => (ENABLE, device, 0, ""),
        ["disable", device] => (DISABLE, device, FORCE, ""),
        ["suspend", device] => (SUSPEND, device, 0, ""),
        ["resume", device] => (RESUME, device, 0, ""),
        _ => {
            return Err(Failure::usage(
                "devctl set DEVICE DRIVER | clear|attach|detach|enable|disable|suspend|resume DEVICE",
            ));
        }
    };
    let mut driver = driver.as_bytes().to_vec();
    driver.push(0);
    let mut asked = sys::zeroed::<Request>();
    if device.len() >= asked.name.len() {
        return Err(Failure::new("a device's name has at most 127 characters"));
    }
    for (to, from) in asked.name.iter_mut().zip(device.bytes()) {
        *to = from;
    }
    asked.flags = flags;
    asked.data = driver.as_ptr() as usize;
    Fd::open("/dev/devctl2", libc::O_RDWR)?.ioctl(request, &mut asked)?;
    Ok(vec![])
}
