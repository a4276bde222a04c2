// SPDX-License-Identifier: BSD-2-Clause
//! ioctl(2): requests to interfaces and cloners, and to pfil(9).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::c_ulong;

use super::super::command::Failure;
use super::super::sys::{Fd, Pages};
use super::{Dice, Turn};

const IOC_IN: c_ulong = 0x8000_0000;
const IOC_OUT: c_ulong = 0x4000_0000;

/// `_IOC(inout, group, number, length)` of `sys/ioccom.h`.
const fn coded(direction: c_ulong, group: u8, number: u8, length: usize) -> c_ulong {
    direction | (length as c_ulong & 0x1fff) << 16 | (group as c_ulong) << 8 | number as c_ulong
}

/// Numbers of group `i` (`sys/sockio.h`) whose argument is a `struct ifreq`, and whether it is
/// written to the program: what a driver may be asked for, and what comes before that.
const OF_INTERFACE: [(u8, bool); 36] = [
    (16, false),  // SIOCSIFFLAGS
    (17, true),   // SIOCGIFFLAGS
    (24, false),  // SIOCSIFMETRIC
    (30, false),  // SIOCSIFCAP
    (31, true),   // SIOCGIFCAP
    (32, true),   // SIOCGIFINDEX
    (33, true),   // SIOCGIFADDR
    (47, true),   // SIOCGIFMAC
    (49, false),  // SIOCADDMULTI
    (50, false),  // SIOCDELMULTI
    (51, true),   // SIOCGIFMTU
    (52, false),  // SIOCSIFMTU
    (53, true),   // SIOCGIFPHYS
    (54, false),  // SIOCSIFPHYS
    (55, true),   // SIOCSIFMEDIA
    (57, false),  // SIOCSIFGENERIC
    (58, true),   // SIOCGIFGENERIC
    (60, false),  // SIOCSIFLLADDR
    (61, true),   // SIOCGI2C
    (62, true),   // SIOCGHWADDR
    (70, false),  // SIOCSIFPHYADDR
    (71, true),   // SIOCGIFPSRCADDR
    (72, true),   // SIOCGIFPDSTADDR
    (73, false),  // SIOCDIFPHYADDR
    (80, true),   // SIOCGETVLAN's neighbours
    (92, true),   // SIOCGIFFIB
    (93, false),  // SIOCSIFFIB
    (94, true),   // SIOCGTUNFIB
    (95, false),  // SIOCSTUNFIB
    (152, true),  // SIOCGLANPCP
    (153, false), // SIOCSLANPCP
    (154, true),  // SIOCGIFDOWNREASON
    (57, true),
    (58, false),
    (69, false),
    (77, true),
];

/// Memory that requests may point to; what the kernel writes there is nobody's.
fn scratch() -> Result<(Pages, usize), Failure> {
    let pages = Pages::private(64 * 1024)?;
    let at = pages.start() as usize;
    Ok((pages, at))
}

/// A number that may be an address: of memory that is there, or that is not.
fn address(dice: &mut Dice, scratch: usize) -> u64 {
    match dice.below(5) {
        0 | 1 => scratch as u64,
        2 => 0,
        3 => u64::MAX - dice.below(64) as u64,
        _ => 0xffff_ffff_8000_0000 + dice.below(1 << 20) as u64,
    }
}

/// Puts numbers that may be addresses where there could be some: never any that hit memory of
/// this program other than `scratch`.
fn defused(dice: &mut Dice, bytes: &mut [u8], scratch: usize) {
    for word in bytes.as_chunks_mut::<8>().0 {
        let value = u64::from_ne_bytes(*word);
        // Small numbers, and what no program can have, stay.
        if (4096..0x8000_0000_0000).contains(&value) {
            *word = match dice.below(2) {
                0 => (value & 0xfff).to_ne_bytes(),
                _ => address(dice, scratch).to_ne_bytes(),
            };
        }
    }
}

fn named(name: &str, bytes: &mut [u8]) {
    let room = bytes.len().min(16);
    bytes[..room].fill(0);
    let count = name.len().min(room.saturating_sub(1));
    bytes[..count].copy_from_slice(&name.as_bytes()[..count]);
}

/// Requests about one of these interfaces, with commas between.
pub(super) fn turn(names: &str) -> Result<Turn, Failure> {
    let names: Vec<String> = names.split(',').map(ToString::to_string).collect();
    let (mut pages, at) = scratch()?;
    let sockets = [
        Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?,
        Fd::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?,
        Fd::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?,
    ];
    Ok(Box::new(move |dice| {
        let (request, size) = match dice.below(10) {
            // SIOCSDRVSPEC, SIOCGDRVSPEC, SIOCGIFMEDIA, SIOCGIFXMEDIA, SIOCGIFRSSKEY, SIOCGIFRSSHASH
            0 => *dice.pick(&[
                (coded(IOC_IN, b'i', 123, 40), 40),
                (coded(IOC_IN | IOC_OUT, b'i', 123, 40), 40),
                (coded(IOC_IN | IOC_OUT, b'i', 56, 48), 48),
                (coded(IOC_IN | IOC_OUT, b'i', 139, 48), 48),
                (coded(IOC_IN | IOC_OUT, b'i', 150, 160), 160),
                (coded(IOC_IN | IOC_OUT, b'i', 151, 32), 32),
            ]),
            // Addresses: SIOCAIFADDR, SIOCDIFADDR, of IPv6 as well.
            1 => *dice.pick(&[
                (coded(IOC_IN, b'i', 43, 68), 68),
                (coded(IOC_IN, b'i', 25, 32), 32),
                (coded(IOC_IN, b'i', 27, 136), 136),
                (coded(IOC_IN, b'i', 25, 288), 288),
            ]),
            // Any number of the group that makes nothing and moves nothing, of any length.
            2 => {
                let number = dice.below(256) as u8;
                let barred = [40, 90, 91, 121, 122, 124];
                let size = 8 * (1 + dice.below(40));
                match barred.contains(&number) {
                    true => (coded(IOC_IN | IOC_OUT, b'i', 17, 32), 32),
                    false => (coded(IOC_IN | IOC_OUT, b'i', number, size), size),
                }
            }
            _ => {
                let (number, is_read) = *dice.pick(&OF_INTERFACE);
                let direction = if is_read { IOC_IN | IOC_OUT } else { IOC_IN };
                (coded(direction, b'i', number, 32), 32)
            }
        };
        let mut bytes = dice.bytes(size);
        if dice.chance(50) && size >= 24 {
            bytes[16..24].copy_from_slice(&dice.number().to_ne_bytes());
        }
        let is_address = request & 0xff == 43 || request & 0xff == 27;
        if is_address && dice.chance(70) {
            let family = [2u8, 28][usize::from(size > 68)];
            for at in [16, 32 + 12 * usize::from(size > 68)] {
                bytes[at] = [16, 28][usize::from(size > 68)];
                bytes[at + 1] = family;
            }
        }
        defused(dice, &mut bytes, at);
        let name = dice.pick(&names).clone();
        if size >= 16 && dice.chance(97) {
            named(&name, &mut bytes);
        }
        // What is at the address that a request may name.
        let fill = dice.bytes(256);
        pages.bytes_mut()[..256].copy_from_slice(&fill);
        let socket = &sockets[dice.below(sockets.len())];
        socket.ioctl_of(request, &mut bytes)
    }))
}

/// Names and parameters for the cloners; what is made is destroyed.
pub(super) fn cloner(prefixes: &str) -> Result<Turn, Failure> {
    let prefixes: Vec<String> = prefixes.split(',').map(ToString::to_string).collect();
    let (_pages, at) = scratch()?;
    let control = Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    Ok(Box::new(move |dice| {
        let _ = &_pages;
        let mut name = dice.pick(&prefixes).clone();
        match dice.below(8) {
            0 => {}
            1 => name += &format!("{}", dice.number()),
            2 => name += &format!("{}a", dice.below(4)),
            3 => name += &format!("-{}", dice.below(9)),
            4 => name += &format!("{:016}", dice.below(1000)),
            5 => {
                let count = dice.below(16);
                let bytes = dice.bytes(count);
                name.extend(bytes.iter().map(|byte| char::from(byte & 0x7f)));
            }
            6 => name += &format!(".ip{}", dice.number()),
            _ => name += &format!("{}", dice.below(6)),
        }
        let mut bytes = dice.bytes(32);
        bytes[..16].fill(0);
        let count = name.len().min(16);
        bytes[..count].copy_from_slice(&name.as_bytes()[..count]);
        let parameters = address(dice, at);
        bytes[16..24].copy_from_slice(&parameters.to_ne_bytes());
        // SIOCIFCREATE, SIOCIFCREATE2
        let number = *dice.pick(&[122, 124]);
        let made = control.ioctl_of(coded(IOC_IN | IOC_OUT, b'i', number, 32), &mut bytes);
        if made.is_ok() {
            let _ = control.ioctl_of(coded(IOC_IN, b'i', 121, 32), &mut bytes);
        }
        made
    }))
}

/// Requests to pfil(9): links and lists.
pub(super) fn filter() -> Result<Turn, Failure> {
    const NAMES: [&str; 9] = [
        "inet",
        "inet6",
        "ethernet",
        "weft",
        "ipv6",
        "weft:ipv6",
        "",
        "wpair0a",
        "nothing",
    ];
    let device = Fd::open("/dev/pfil", libc::O_RDWR)?;
    let (pages, at) = scratch()?;
    Ok(Box::new(move |dice| {
        let _ = &pages;
        if dice.chance(30) {
            // PFILIOC_LISTHEADS, PFILIOC_LISTHOOKS: two numbers, two addresses.
            let mut bytes = dice.bytes(24);
            for place in [8, 16] {
                let list = address(dice, at);
                bytes[place..place + 8].copy_from_slice(&list.to_ne_bytes());
            }
            // No more than there is room for at an address that is there.
            for place in [0, 4] {
                let count = dice.below(20) as u32;
                bytes[place..place + 4].copy_from_slice(&count.to_ne_bytes());
            }
            let number = *dice.pick(&[1, 2]);
            return device.ioctl_of(coded(IOC_IN | IOC_OUT, b'P', number, 24), &mut bytes);
        }
        let mut bytes = dice.bytes(196);
        for place in [0, 64, 128] {
            if dice.chance(85) {
                let name = *dice.pick(&NAMES);
                bytes[place..place + 64].fill(0);
                bytes[place..place + name.len()].copy_from_slice(name.as_bytes());
            }
            bytes[place + 63] = 0;
        }
        if dice.chance(80) {
            // PFIL_IN, PFIL_OUT, PFIL_HOOKPTR, PFIL_APPEND, PFIL_UNLINK
            let flags = (dice.any() as u32) & 0x00f3_0000;
            bytes[192..].copy_from_slice(&flags.to_ne_bytes());
        }
        device.ioctl_of(coded(IOC_IN, b'P', 3, 196), &mut bytes)
    }))
}
