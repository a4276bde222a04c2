// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4): registrations of any kind, and rings with nonsense in them.

use alloc::boxed::Box;
use alloc::string::{String, ToString};

use super::super::command::Failure;
use super::super::netmap::{self, Place};
use super::super::sys::{self, Errno, Fd};
use super::{Dice, Turn};

/// Writes into the rings of a registration before the next one.
const WRITES: usize = 24;

pub(super) fn turn(interface: &str) -> Result<Turn, Failure> {
    let interface: String = interface.to_string();
    // Whether there is such a device at all.
    drop(Fd::open("/dev/netmap", libc::O_RDWR)?);
    Ok(Box::new(move |dice| {
        if dice.chance(40) {
            return registration(dice, &interface);
        }
        let port = netmap::Port::open(&interface).map_err(|_| Errno(libc::EBUSY))?;
        let mut last = Ok(());
        for _ in 0..WRITES {
            let place = *dice.pick(&Place::ALL);
            let value = match dice.chance(50) {
                true => dice.below(2100) as u64,
                false => dice.number(),
            };
            port.scribble(dice.any() as usize, place, dice.below(2100), value);
            if dice.chance(30) {
                last = port.hand_over(dice.chance(50));
            }
        }
        last
    }))
}

/// NIOCREGIF and NIOCGINFO with any numbers but the version, mostly, which is right.
fn registration(dice: &mut Dice, interface: &str) -> sys::Result<()> {
    let device = Fd::open("/dev/netmap", libc::O_RDWR)?;
    let mut bytes = dice.bytes(60);
    bytes[..16].fill(0);
    let count = interface.len().min(15);
    bytes[..count].copy_from_slice(&interface.as_bytes()[..count]);
    if dice.chance(90) {
        bytes[16..20].copy_from_slice(&netmap::API.to_ne_bytes());
    }
    // No command that makes or moves a switch: nr_cmd, nr_arg1, nr_arg2, nr_arg3.
    bytes[38..40].fill(0);
    for at in [24, 28, 32, 34] {
        let few = dice.below(5000) as u16;
        bytes[at..at + 2].copy_from_slice(&few.to_ne_bytes());
        if at < 32 {
            bytes[at + 2..at + 4].fill(0);
        }
    }
    if dice.chance(60) {
        bytes[40..56].fill(0);
        let flags = dice.below(8) as u32;
        bytes[48..52].copy_from_slice(&flags.to_ne_bytes());
    }
    // nr_arg3: extra buffers, of which there are few.
    bytes[44..48].copy_from_slice(&(dice.below(64) as u32).to_ne_bytes());
    let request = match dice.chance(80) {
        true => netmap::NIOCREGIF,
        false => netmap::NIOCGINFO,
    };
    device.ioctl_of(request, &mut bytes)
}
