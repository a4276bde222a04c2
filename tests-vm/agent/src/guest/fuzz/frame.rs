// SPDX-License-Identifier: BSD-2-Clause
//! Frames by bpf(4): all kinds of headers, right and wrong, cut short and too long.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_ulong;

use super::super::command::Failure;
use super::super::sys::Fd;
use super::super::{ether, netif};
use super::{Dice, Turn};

const BIOCSETIF: c_ulong = 0x8020_426c;
const BIOCSHDRCMPLT: c_ulong = 0x8004_4275;

/// What may be next in IPv6: hop-by-hop, routing, fragment, AH, destination options, mobility,
/// HIP, shim6, ESP, and then TCP, UDP, ICMPv6, IPv6, IPv4, GRE, SCTP, nothing, any.
const NEXT: [u8; 18] = [
    0, 43, 44, 51, 60, 135, 139, 140, 50, 6, 17, 58, 41, 4, 47, 132, 59, 255,
];

pub(super) fn turn(interface: &str, mac: &str, mtu: usize) -> Result<Turn, Failure> {
    let mac = ether::bytes(mac)?;
    let tap = Fd::open("/dev/bpf", libc::O_RDWR)?;
    tap.ioctl(BIOCSETIF, &mut netif::named(interface)?)?;
    tap.ioctl(BIOCSHDRCMPLT, &mut 1u32)?;
    Ok(Box::new(move |dice| {
        let mut frame = frame(dice, &mac, mtu);
        match dice.below(12) {
            0 => {
                let cut = dice.below(frame.len());
                frame.truncate(cut);
            }
            1 => {
                let more = dice.below(70);
                frame.resize(mtu + 14 - 20 + more, 0x5a);
            }
            2 => {
                let place = dice.below(frame.len());
                frame[place] = dice.any() as u8;
            }
            _ => {}
        }
        tap.write(&frame).map(drop)
    }))
}

fn frame(dice: &mut Dice, mac: &[u8], mtu: usize) -> Vec<u8> {
    let mut frame = match dice.below(6) {
        0 => vec![0xff; 6],
        1 => vec![0x33, 0x33, 0, 0, 0, 1],
        2 => vec![1, 0, 0x5e, 0, 0, 1],
        3 => dice.bytes(6),
        _ => mac.to_vec(),
    };
    frame.extend([2, 0, 0, 0, 0x66, dice.any() as u8]);
    while dice.chance(20) {
        let kind = *dice.pick(&[0x8100_u16, 0x88a8]);
        frame.extend(kind.to_be_bytes());
        frame.extend((dice.any() as u16).to_be_bytes());
    }
    let left = mtu.saturating_sub(40);
    match dice.below(8) {
        0..3 => {
            frame.extend([8, 0]);
            frame.extend(ipv4(dice, left, 0));
        }
        3..6 => {
            frame.extend([0x86, 0xdd]);
            frame.extend(ipv6(dice, left, 0));
        }
        6 => {
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, dice.any() as u8 & 3]);
            frame.extend(dice.bytes(20));
        }
        _ => {
            frame.extend((dice.any() as u16).to_be_bytes());
            let count = dice.below(left);
            frame.extend(dice.bytes(count));
        }
    }
    frame
}

fn ipv4(dice: &mut Dice, most: usize, depth: u32) -> Vec<u8> {
    let options = 4 * if dice.chance(30) { dice.below(11) } else { 0 };
    let protocol = *dice.pick(&[1, 2, 4, 6, 6, 17, 17, 41, 47, 50, 51, 132, 255]);
    let inner = payload(dice, protocol, most.saturating_sub(20 + options), depth);
    let total = match dice.chance(90) {
        true => (20 + options + inner.len()) as u16,
        false => dice.number() as u16,
    };
    let words = match dice.chance(95) {
        true => 5 + options / 4,
        false => dice.below(16),
    };
    let mut packet = vec![0x40 | words as u8, dice.any() as u8];
    packet.extend(total.to_be_bytes());
    packet.extend((dice.any() as u16).to_be_bytes());
    let fragment = match dice.chance(80) {
        true => 0,
        false => dice.any() as u16 & 0x7fff,
    };
    packet.extend(fragment.to_be_bytes());
    packet.extend([1 + dice.below(64) as u8, protocol, 0, 0]);
    packet.extend([10, 3, 0, 1]);
    match dice.below(4) {
        0 => packet.extend([224, 0, 0, 1]),
        _ => packet.extend([10, 3, 0, 2]),
    }
    packet.extend(dice.bytes(options));
    if dice.chance(90) {
        let sum = sum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(inner);
    packet
}

/// The checksum of the Internet's.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn ipv6(dice: &mut Dice, most: usize, depth: u32) -> Vec<u8> {
    let mut next = *dice.pick(&NEXT);
    let first = next;
    let mut rest = Vec::new();
    for _ in 0..dice.below(12) {
        if rest.len() + 264 > most || ![0, 43, 44, 51, 60, 135, 139, 140].contains(&next) {
            break;
        }
        let following = *dice.pick(&NEXT);
        let mut header = match next {
            44 => dice.bytes(8),
            _ => {
                let eights = dice.below(4);
                let mut header = dice.bytes(8 + 8 * eights);
                header[1] = match dice.chance(90) {
                    true => eights as u8,
                    false => dice.any() as u8,
                };
                if dice.chance(50) {
                    // Options that are only room.
                    header[2..].fill(0);
                }
                header
            }
        };
        header[0] = following;
        rest.extend(header);
        next = following;
    }
    let inner = payload(dice, next, most.saturating_sub(rest.len() + 40), depth);
    rest.extend(inner);
    let length = match dice.chance(90) {
        true => rest.len() as u16,
        false => dice.number() as u16,
    };
    let mut packet = vec![0x60, 0, 0, dice.any() as u8];
    packet.extend(length.to_be_bytes());
    packet.extend([first, 1 + dice.below(64) as u8]);
    packet.extend([0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    match dice.below(4) {
        0 => packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        _ => packet.extend([0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]),
    }
    packet.extend(rest);
    packet
}

fn payload(dice: &mut Dice, protocol: u8, most: usize, depth: u32) -> Vec<u8> {
    match protocol {
        4 if depth < 3 => return ipv4(dice, most, depth + 1),
        41 if depth < 3 => return ipv6(dice, most, depth + 1),
        _ => {}
    }
    let count = match dice.below(3) {
        0 => dice.below(40),
        1 => dice.below(200),
        _ => dice.below(most.max(1)),
    };
    let mut bytes = dice.bytes(count.min(most));
    if protocol == 17 && bytes.len() >= 8 {
        let length = match dice.chance(80) {
            true => bytes.len() as u16,
            false => dice.number() as u16,
        };
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
    }
    if protocol == 6 && bytes.len() >= 20 && dice.chance(80) {
        bytes[12] = ((5 + dice.below(11)) as u8) << 4;
    }
    bytes
}
