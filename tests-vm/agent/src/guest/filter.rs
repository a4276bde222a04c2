// SPDX-License-Identifier: BSD-2-Clause
//! What stands in the way of packets: pf(4), and the order of filters by pfil(9).

use alloc::vec;
use core::ffi::c_ulong;

use super::command::{Failure, Outcome};
use super::sys::{self, Fd, Plain};

// Requests of `net/pfvar.h` and `net/pfil.h`.
const DIOCSTART: c_ulong = 0x2000_4401;
const DIOCSTOP: c_ulong = 0x2000_4402;
const DIOCSETREASS: c_ulong = 0xc004_4466;
const PFILIOC_LINK: c_ulong = 0x80c4_5003;

/// `PF_REASS_ENABLED` of `net/pfvar.h`.
const REASSEMBLE: u32 = 1;
/// `PFIL_IN | PFIL_OUT` of `net/pfil.h`.
const BOTH_WAYS: u32 = 0x3_0000;
/// `PFIL_APPEND`: farther from the wire than those that are there.
const APPEND: u32 = 0x40_0000;
/// `PFIL_UNLINK`
const UNLINK: u32 = 0x80_0000;

/// `pf start` has pf(4) reassemble fragments and, without rules, let everything pass;
/// `pf stop`.
pub(super) fn pf(words: &[&str]) -> Outcome {
    let device = Fd::open("/dev/pf", libc::O_RDWR)?;
    match words {
        ["start"] => {
            device.ioctl(DIOCSETREASS, &mut { REASSEMBLE })?;
            device.ioctl_bare(DIOCSTART)?;
        }
        ["stop"] => device.ioctl_bare(DIOCSTOP)?,
        _ => return Err(Failure::usage("pf start | stop")),
    }
    Ok(vec![])
}

/// `struct pfilioc_link` of `net/pfil.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Link {
    head: [u8; 64],
    module: [u8; 64],
    ruleset: [u8; 64],
    flags: u32,
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Link {}

/// `pfil link HEAD MODULE RULESET` makes a filter see the packets of `HEAD` (inet,
/// inet6, ethernet) nearer to the wire than the filters that are there, `append`
/// instead of `link` farther from it; `unlink` takes it away.
pub(super) fn pfil(words: &[&str]) -> Outcome {
    let form = "pfil link|append|unlink HEAD MODULE RULESET";
    let [verb, head, module, ruleset] = words else {
        return Err(Failure::usage(form));
    };
    let flags = match *verb {
        "link" => BOTH_WAYS,
        "append" => BOTH_WAYS | APPEND,
        "unlink" => BOTH_WAYS | UNLINK,
        _ => return Err(Failure::usage(form)),
    };
    let mut link = Link {
        head: name(head)?,
        module: name(module)?,
        ruleset: name(ruleset)?,
        flags,
    };
    Fd::open("/dev/pfil", libc::O_RDWR)?.ioctl(PFILIOC_LINK, &mut link)?;
    Ok(vec![])
}

/// The text with NULs behind it.
fn name(text: &str) -> Result<[u8; 64], Failure> {
    let mut bytes = sys::zeroed::<[u8; 64]>();
    let room = bytes.get_mut(..text.len()).filter(|_| text.len() < 64);
    let room = room.ok_or(Failure::new("names of filters have at most 63 characters"))?;
    room.copy_from_slice(text.as_bytes());
    Ok(bytes)
}
