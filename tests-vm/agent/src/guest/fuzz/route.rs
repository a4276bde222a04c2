// SPDX-License-Identifier: BSD-2-Clause
//! Route messages (`net/route.h`) that are whole, or nearly so, about one interface.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::super::command::Failure;
use super::super::netif;
use super::super::sys::Fd;
use super::{Dice, Turn};

/// Where `struct rt_msghdr` has what, and its length.
const HEADER: usize = 152;
const KIND: usize = 3;
const INDEX: usize = 4;
const FLAGS: usize = 8;
const ADDRESSES: usize = 12;
/// `RTM_VERSION`
const VERSION: u8 = 5;
/// Prefixes that are added are in 198.18.0.0/15 and fd00:f0::/32, so that they are in nobody's
/// way and can be taken out again.
const V4: [u8; 2] = [198, 18];
const V6: [u8; 4] = [0xfd, 0, 0, 0xf0];

pub(super) fn turn(interface: &str) -> Result<Turn, Failure> {
    let index = netif::index(interface)?;
    let socket = Fd::socket(libc::PF_ROUTE, libc::SOCK_RAW, libc::AF_LINK)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_USELOOPBACK, 0)?;
    Ok(Box::new(move |dice| {
        let message = message(dice, index);
        socket.write(&message).map(drop)
    }))
}

fn message(dice: &mut Dice, index: u16) -> Vec<u8> {
    let mut message = dice.bytes(HEADER);
    if dice.chance(60) {
        message.fill(0);
    }
    message[2] = VERSION;
    // RTM_ADD, RTM_DELETE, RTM_CHANGE, RTM_GET; sometimes any.
    message[KIND] = match dice.chance(95) {
        true => *dice.pick(&[1, 1, 2, 3, 4]),
        false => dice.any() as u8,
    };
    message[INDEX..INDEX + 2].copy_from_slice(&index.to_ne_bytes());
    // RTF_UP, GATEWAY, HOST, REJECT, STATIC, BLACKHOLE; sometimes any.
    let flags = match dice.chance(80) {
        true => 0x801 | dice.any() as u32 & 0x100e,
        false => dice.any() as u32,
    };
    message[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
    let is_inet6 = dice.chance(50);
    let addresses = match dice.chance(85) {
        true => 3 | dice.any() as u32 & 0x34,
        false => dice.any() as u32 & 0xff,
    };
    message[ADDRESSES..ADDRESSES + 4].copy_from_slice(&addresses.to_ne_bytes());
    for place in 0..8 {
        if addresses & 1 << place != 0 {
            message.extend(address(dice, place, is_inet6, index));
        }
    }
    if dice.chance(10) {
        let cut = dice.below(message.len());
        message.truncate(cut);
    }
    let told = match dice.chance(95) {
        true => message.len() as u16,
        false => dice.number() as u16,
    };
    if message.len() >= 2 {
        message[..2].copy_from_slice(&told.to_ne_bytes());
    }
    message
}

/// A socket address for this place: destination, gateway, mask, and others.
fn address(dice: &mut Dice, place: u32, is_inet6: bool, index: u16) -> Vec<u8> {
    let mut bytes = match (is_inet6, place) {
        // RTAX_IFP, or a gateway that is an interface: struct sockaddr_dl.
        (_, 4) => link(index),
        (_, 1) if dice.chance(30) => link(index),
        (false, _) => {
            let mut bytes = alloc::vec![16, 2, 0, 0];
            match place {
                0 => bytes.extend([V4[0], V4[1], dice.any() as u8, dice.any() as u8]),
                2 => bytes.extend((u32::MAX << dice.below(32)).to_be_bytes()),
                _ => bytes.extend(dice.bytes(4)),
            }
            bytes.resize(16, 0);
            bytes
        }
        (true, _) => {
            let mut bytes = alloc::vec![28, 28, 0, 0, 0, 0, 0, 0];
            match place {
                0 => {
                    bytes.extend(V6);
                    bytes.extend(dice.bytes(12));
                }
                2 => bytes.extend((u128::MAX << dice.below(128)).to_be_bytes()),
                _ => bytes.extend(dice.bytes(16)),
            }
            bytes.resize(28, 0);
            bytes
        }
    };
    match dice.below(30) {
        0 => bytes[0] = dice.any() as u8,
        1 => bytes[1] = dice.any() as u8,
        2 => {
            let cut = 1 + dice.below(bytes.len() - 1);
            bytes.truncate(cut);
            bytes[0] = cut as u8;
        }
        _ => {}
    }
    while bytes.len() % 8 != 0 {
        bytes.push(0);
    }
    bytes
}

fn link(index: u16) -> Vec<u8> {
    let mut bytes = alloc::vec![54, 18];
    bytes.extend(index.to_ne_bytes());
    bytes.resize(54, 0);
    bytes
}
