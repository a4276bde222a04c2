// SPDX-License-Identifier: BSD-2-Clause
//! Ethernet as it is: frames of any content, and hardware addresses.

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_ulong;

use super::command::{Failure, Outcome};
use super::netif;
use super::sys::{self, Fd};

// Requests of `net/bpf.h` and `sys/sockio.h`.
const BIOCSETIF: c_ulong = 0x8020_426c;
const BIOCSHDRCMPLT: c_ulong = 0x8004_4275;
const SIOCSIFLLADDR: c_ulong = 0x8020_693c;

const USAGE: &str = "ether send INTERFACE HEX [COUNT] | mac INTERFACE HEX";

/// Bytes of a hardware address.
const MAC: usize = 6;

/// `ether send INTERFACE HEX [COUNT]` sends a frame by bpf(4), its source as it says, so many
/// times; `ether mac INTERFACE HEX` gives an interface a hardware address.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["send", interface, frame, count @ ..] => {
            let count = match count {
                [] => Ok(1),
                [count] => count.parse::<u32>(),
                _ => return Err(Failure::usage(USAGE)),
            };
            let count = count.map_err(|_| Failure::new("not a count"))?;
            let frame = bytes(frame)?;
            let tap = Fd::open("/dev/bpf", libc::O_RDWR)?;
            tap.ioctl(BIOCSETIF, &mut netif::named(interface)?)?;
            tap.ioctl(BIOCSHDRCMPLT, &mut 1u32)?;
            for _ in 0..count {
                tap.write_all(&frame)?;
            }
            Ok(vec![])
        }
        ["mac", interface, mac] => {
            let mac = bytes(mac)?;
            let mut request = netif::named(interface)?;
            let mut address = sys::zeroed::<libc::sockaddr>();
            address.sa_len = u8::try_from(MAC).unwrap_or_default();
            address.sa_family = u8::try_from(libc::AF_LINK).unwrap_or_default();
            for (to, from) in address.sa_data.iter_mut().zip(mac) {
                *to = from.cast_signed();
            }
            request.ifr_ifru.ifru_addr = address;
            let control = Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            control.ioctl(SIOCSIFLLADDR, &mut request)?;
            Ok(vec![])
        }
        _ => Err(Failure::usage(USAGE)),
    }
}

/// Bytes in hexadecimal.
pub(super) fn bytes(hex: &str) -> Result<Vec<u8>, Failure> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = str::from_utf8(pair).unwrap_or_default();
            u8::from_str_radix(pair, 16).map_err(|_| Failure::new("not hexadecimal"))
        })
        .collect()
}
