// SPDX-License-Identifier: BSD-2-Clause
//! The EEPROM, for the address. A device that has no way to read it (bhyve's has none but by
//! single wires) has loaded the address into its first receive address when it was powered up.
//!
//! Source: 8254x manual 5.3, 5.6 and 13.4.4; 82574 datasheet 6.1 and 10.2.4.

use super::Family;
use super::registers::{ADDRESS_VALID, EERD, RAH, RAL};
use weft_engine::l3::Mac;
use weft_engine::nic::{Platform, Registers};

/// Words that have a sum.
const WORDS: u16 = 64;
/// What the sum of all of them is.
const SUM: u16 = 0xbaba;
/// EERD: begin.
const START: u32 = 1;
/// Times that a word is asked for, 5 us each: it takes less than 1 ms.
const TRIES: u32 = 400;

/// Reads a word, if the EEPROM can be read so.
fn word<P: Platform>(
    platform: &P,
    registers: &P::Registers,
    family: Family,
    at: u16,
) -> Option<u16> {
    let (shift, done) = match family {
        Family::Pci => (8, 1 << 4),
        Family::Express => (2, 1 << 1),
    };
    registers.write::<u32>(EERD, u32::from(at) << shift | START);
    for _ in 0..TRIES {
        let answer: u32 = registers.read(EERD);
        if answer & done != 0 {
            return Some((answer >> 16) as u16);
        }
        platform.wait_us(5);
    }
    None
}

/// The address in the EEPROM, if that can be read and its sum is right.
fn stored<P: Platform>(platform: &P, registers: &P::Registers, family: Family) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut sum = 0u16;
    for at in 0..WORDS {
        let word = word(platform, registers, family, at)?;
        sum = sum.wrapping_add(word);
        let from = usize::from(at).wrapping_mul(2);
        if let Some(place) = mac.get_mut(from..).and_then(<[u8]>::first_chunk_mut) {
            *place = word.to_le_bytes();
        }
    }
    (sum == SUM).then_some(mac)
}

/// The first receive address, valid or not.
fn loaded<R: Registers>(registers: &R) -> Mac {
    let [a, b, c, d] = registers.read::<u32>(RAL).to_le_bytes();
    let [e, f, ..] = registers.read::<u32>(RAH).to_le_bytes();
    [a, b, c, d, e, f]
}

/// The device's own address.
pub(super) fn mac<P: Platform>(
    platform: &P,
    registers: &P::Registers,
    family: Family,
) -> Option<Mac> {
    let is_own = |mac: &Mac| mac[0] & 1 == 0 && *mac != [0; 6];
    let stored = stored(platform, registers, family).filter(is_own);
    stored.or_else(|| Some(loaded(registers)).filter(is_own))
}

/// Has the device answer to an address.
pub(super) fn set_mac<R: Registers>(registers: &R, [a, b, c, d, e, f]: Mac) {
    registers.write(RAL, u32::from_le_bytes([a, b, c, d]));
    registers.write(RAH, u32::from_le_bytes([e, f, 0, 0]) | ADDRESS_VALID);
}
