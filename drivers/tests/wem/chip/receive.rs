// SPDX-License-Identifier: BSD-2-Clause
//! What the chip does with a frame from the wire before it is stored: whether it passes, what
//! its checksums are, whether its tag is taken out.

use super::transmit::ones;
use weft_drivers::wem::registers::*;

/// What is known of a frame that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The IPv4 header's checksum, if it was looked at.
    pub(crate) ip: Option<bool>,
    /// Layer 4's.
    pub layer_4: Option<bool>,
    /// It is UDP's.
    pub(crate) is_udp: bool,
}

/// Whether a frame passes the address filters. `register` reads a register.
pub(crate) fn passes(frame: &[u8], register: &dyn Fn(u32) -> u32) -> bool {
    let rctl = register(RCTL);
    let destination = &frame[..6];
    let vlan = frame[12] == 0x81 && frame[13] == 0;
    if rctl & 1 << 18 != 0 && vlan {
        let number = u32::from(u16::from_be_bytes([frame[14], frame[15]]) & 0x0fff);
        if register(VFTA + number / 32 * 4) & 1 << (number % 32) == 0 {
            return false;
        }
    }
    if destination == [0xff; 6] {
        return rctl & 1 << 15 != 0;
    }
    let exact = (0..15).any(|n| {
        let (low, high) = (register(RAL + 8 * n), register(RAH + 8 * n));
        let stored = [low.to_le_bytes(), high.to_le_bytes()].concat();
        high & 1 << 31 != 0 && stored[..6] == *destination
    });
    if exact {
        return true;
    }
    if destination[0] & 1 == 0 {
        return rctl & 1 << 3 != 0;
    }
    if rctl & 1 << 4 != 0 {
        return true;
    }
    // RCTL.MO is 0: bits 47 to 36 of the address, the lowest bit first.
    let hash = u32::from(destination[5]) << 4 | u32::from(destination[4]) >> 4;
    register(MTA + hash / 32 * 4) & 1 << (hash % 32) != 0
}

/// Looks at the checksums of an untagged frame.
pub(crate) fn verdict(frame: &[u8]) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(packet) = frame.get(14..) else {
        return verdict;
    };
    let (pseudo, protocol, layer_4) = match (frame[12], frame[13]) {
        (0x08, 0x00) if packet.len() >= 20 && packet[0] >> 4 == 4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if header < 20 || total < header || total > packet.len() {
                return verdict;
            }
            verdict.ip = Some(ones(&packet[..header]) == 0xffff);
            if packet[6] & 0x3f != 0 || packet[7] != 0 {
                return verdict;
            }
            (&packet[12..20], packet[9], &packet[header..total])
        }
        (0x86, 0xdd) if packet.len() >= 40 && packet[0] >> 4 == 6 => {
            let total = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            if total > packet.len() {
                return verdict;
            }
            (&packet[8..40], packet[6], &packet[40..total])
        }
        _ => return verdict,
    };
    let least = match protocol {
        6 => 20,
        17 => 8,
        _ => return verdict,
    };
    if layer_4.len() < least {
        return verdict;
    }
    verdict.is_udp = protocol == 17;
    if verdict.is_udp && layer_4[6..8] == [0, 0] {
        return verdict;
    }
    let mut all = pseudo.to_vec();
    all.extend_from_slice(&(layer_4.len() as u32).to_be_bytes());
    all.extend_from_slice(&[0, 0, 0, protocol]);
    all.extend_from_slice(layer_4);
    verdict.layer_4 = Some(ones(&all) == 0xffff);
    verdict
}

/// Toeplitz's hash over addresses and ports of TCP over IPv4, a bit at a time; of others none.
pub(crate) fn hash(key: &[u8], frame: &[u8]) -> Option<u32> {
    if frame[12..15] != [8, 0, 0x45] || frame[23] != 6 {
        return None;
    }
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    let input = &frame[26..38];
    let mut hash = 0u32;
    for n in (0..input.len() * 8).filter(|&n| bit(input, n) == 1) {
        let window = (n..n + 32).fold(0, |word, k| word << 1 | u32::from(bit(key, k)));
        hash ^= window;
    }
    Some(hash)
}
