// SPDX-License-Identifier: BSD-2-Clause
//! The PHY, by its management lines: the link is negotiated there, and what the other side
//! thinks of pauses is known there.
//!
//! Source: IEEE 802.3, 22.2.4 (registers) and annex 28B (pauses); 8254x manual 13.4.5.

use super::Family;
use super::registers::*;
use weft_engine::nic::{Platform, Registers};

/// Basic control.
const CONTROL: u32 = 0;
/// What we can do.
const ADVERTISED: u32 = 4;
/// What the other side can do.
const PARTNER: u32 = 5;
/// In the control: negotiate anew.
const RESTART: u16 = 1 << 9;
/// It is off.
const POWER_DOWN: u16 = 1 << 11;
/// It negotiates.
const NEGOTIATE: u16 = 1 << 12;
/// In the abilities: pauses both ways; and pauses one way.
const PAUSE: u16 = 1 << 10;
const PAUSE_ONE_WAY: u16 = 1 << 11;
/// Times that an answer is looked for, 10 us each; it takes 64 us.
const TRIES: u32 = 100;

/// A PHY, for as long as its lines are ours: an 82574 shares them with its management.
pub(super) struct Phy<'p, P: Platform> {
    platform: &'p P,
    registers: &'p P::Registers,
    is_shared: bool,
}

impl<'p, P: Platform> Phy<'p, P> {
    /// The lines, if they are to be had.
    pub(super) fn take(
        platform: &'p P,
        registers: &'p P::Registers,
        family: Family,
    ) -> Option<Self> {
        let is_shared = family == Family::Express;
        let phy = Self {
            platform,
            registers,
            is_shared,
        };
        if !is_shared {
            return Some(phy);
        }
        for _ in 0..TRIES {
            let owner: u32 = registers.read(EXTCNF_CTRL);
            registers.write(EXTCNF_CTRL, owner | PHY_OURS);
            if registers.read::<u32>(EXTCNF_CTRL) & PHY_OURS != 0 {
                return Some(phy);
            }
            platform.wait_us(10);
        }
        None
    }

    fn access(&self, command: u32) -> Option<u16> {
        self.registers.write(MDIC, command | PHY_ONE);
        for _ in 0..TRIES {
            let answer: u32 = self.registers.read(MDIC);
            if answer & PHY_READY != 0 {
                return (answer & PHY_ERROR == 0).then_some((answer & PHY_VALUE) as u16);
            }
            self.platform.wait_us(10);
        }
        None
    }

    fn read(&self, register: u32) -> Option<u16> {
        self.access(register << PHY_REGISTER_AT | PHY_READ)
    }

    /// Has it negotiate, if it does not or is off. False if there is no answer.
    pub(super) fn wake(&self) -> bool {
        let Some(control) = self.read(CONTROL) else {
            return false;
        };
        if control & NEGOTIATE != 0 && control & POWER_DOWN == 0 {
            return true;
        }
        let control = control & !POWER_DOWN | NEGOTIATE | RESTART;
        let command = CONTROL << PHY_REGISTER_AT | PHY_WRITE | u32::from(control);
        self.access(command).is_some()
    }

    /// Whether pauses are to be obeyed, and whether they may be sent (annex 28B, table 3).
    pub(super) fn pauses(&self) -> Option<(bool, bool)> {
        Some(agree(self.read(ADVERTISED)?, self.read(PARTNER)?))
    }
}

impl<P: Platform> Drop for Phy<'_, P> {
    fn drop(&mut self) {
        if self.is_shared {
            let owner: u32 = self.registers.read(EXTCNF_CTRL);
            self.registers.write(EXTCNF_CTRL, owner & !PHY_OURS);
        }
    }
}

/// What two sides agree upon: whether we obey pauses, and whether we send them.
fn agree(ours: u16, theirs: u16) -> (bool, bool) {
    let one_way = ours & theirs & PAUSE_ONE_WAY != 0;
    match (ours & PAUSE != 0, theirs & PAUSE != 0) {
        (true, true) => (true, true),
        (true, false) if one_way => (true, false),
        (false, true) if one_way => (false, true),
        _ => (false, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_go_as_both_want() {
        assert_eq!(agree(PAUSE, PAUSE), (true, true));
        assert_eq!(agree(PAUSE, 0), (false, false));
        assert_eq!(agree(PAUSE | PAUSE_ONE_WAY, PAUSE_ONE_WAY), (true, false));
        assert_eq!(agree(PAUSE_ONE_WAY, PAUSE | PAUSE_ONE_WAY), (false, true));
        assert_eq!(agree(PAUSE_ONE_WAY, PAUSE), (false, false));
        assert_eq!(agree(0, PAUSE | PAUSE_ONE_WAY), (false, false));
    }
}
