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
// Flags of `net/pfil.h`. A filter is put nearest to the wire, or with `PFIL_APPEND`
// farthest from it.
const PFIL_IN: u32 = 0x1_0000;
const PFIL_OUT: u32 = 0x2_0000;
const PFIL_APPEND: u32 = 0x40_0000;
const PFIL_UNLINK: u32 = 0x80_0000;

/// `pf start` lets pf(4) see all packets, which pass as long as there are no rules;
/// `pf stop`; `pf reassemble` has it put fragments together and cut them again
/// behind it, `pf fragments` has it take them as they come.
pub(super) fn pf(words: &[&str]) -> Outcome {
    let device = Fd::open("/dev/pf", libc::O_RDWR)?;
    match words {
        ["start"] => device.ioctl_bare(DIOCSTART)?,
        ["stop"] => device.ioctl_bare(DIOCSTOP)?,
        ["reassemble"] => device.ioctl(DIOCSETREASS, &mut { REASSEMBLE })?,
        ["fragments"] => device.ioctl(DIOCSETREASS, &mut 0u32)?,
        _ => return Err(Failure::usage("pf start|stop|reassemble|fragments")),
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

/// `pfil first HEAD MODULE RULESET` makes a filter see the packets of `HEAD` (inet,
/// inet6, ethernet) before the others that are there, coming and going;
/// `pfil unlink HEAD MODULE RULESET` takes it away.
pub(super) fn pfil(words: &[&str]) -> Outcome {
    let (changes, names): (&[u32], &[&str]) = match words {
        ["first", names @ ..] => (&[PFIL_IN, PFIL_OUT | PFIL_APPEND], names),
        ["unlink", names @ ..] => (&[PFIL_IN | PFIL_OUT | PFIL_UNLINK], names),
        _ => (&[], &[]),
    };
    let [head, module, ruleset] = names else {
        return Err(Failure::usage("pfil first|unlink HEAD MODULE RULESET"));
    };
    let device = Fd::open("/dev/pfil", libc::O_RDWR)?;
    for &flags in changes {
        let mut link = Link {
            head: name(head)?,
            module: name(module)?,
            ruleset: name(ruleset)?,
            flags,
        };
        device.ioctl(PFILIOC_LINK, &mut link)?;
    }
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
