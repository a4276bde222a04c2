// SPDX-License-Identifier: BSD-2-Clause
//! Which devices drivers take by themselves: those that the administrator has named, in words
//! with spaces between. A word is a device's place, as pciconf(8) writes it, such as
//! `pci0:0:3:0`, or without the domain, `pci0:3:0`, which is 0 then; or a driver's name, for all
//! devices that the driver knows.

use core::fmt;

/// Where a device of PCI is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The domain.
    pub domain: u32,
    /// The bus.
    pub bus: u32,
    /// The slot.
    pub slot: u32,
    /// The function.
    pub function: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            slot,
            function,
        } = self;
        write!(f, "pci{domain}:{bus}:{slot}:{function}")
    }
}

impl Place {
    /// Reads a place. `None` if it is anything else.
    pub fn parse(word: &str) -> Option<Self> {
        // By bytes, for the search for characters has a check that is not proved.
        let numbers = word.strip_prefix("pci")?.as_bytes();
        let mut numbers = numbers.split(|&byte| byte == b':').map(number);
        let [first, bus, slot] = [numbers.next()??, numbers.next()??, numbers.next()??];
        let place = match numbers.next() {
            None => Self {
                domain: 0,
                bus: first,
                slot: bus,
                function: slot,
            },
            Some(function) => Self {
                domain: first,
                bus,
                slot,
                function: function?,
            },
        };
        numbers.next().is_none().then_some(place)
    }
}

/// A number in decimal digits, and nothing else.
fn number(digits: &[u8]) -> Option<u32> {
    let mut value = None;
    for &digit in digits {
        let digit = char::from(digit).to_digit(10)?;
        value = Some(value.unwrap_or(0_u32).checked_mul(10)?.checked_add(digit)?);
    }
    value
}

/// Whether a driver is to take the device there, which it knows.
pub fn is_claimed(claims: &str, driver: &str, place: Place) -> bool {
    let mut words = claims.split_ascii_whitespace();
    words.any(|word| word == driver || Place::parse(word) == Some(place))
}

/// The words that name neither a place nor one of the drivers.
pub fn wrong_claims<'c>(claims: &'c str, drivers: &[&str]) -> impl Iterator<Item = &'c str> {
    claims
        .split_ascii_whitespace()
        .filter(move |word| Place::parse(word).is_none() && !drivers.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(domain: u32, bus: u32, slot: u32, function: u32) -> Place {
        Place {
            domain,
            bus,
            slot,
            function,
        }
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for at in [place(0, 0, 3, 0), place(2, 255, 31, 7)] {
            assert_eq!(Place::parse(&at.to_string()), Some(at));
        }
        assert_eq!(Place::parse("pci1:2:3"), Some(place(0, 1, 2, 3)));
        for wrong in [
            "",
            "pci",
            "pci0",
            "pci0:3",
            "pci0:0:3:0:0",
            "0:3:0",
            "pci0:0:+3:0",
            "pci0:0:3:",
            "em0",
            "pci0:0:3:0x1",
            "pci0:0:3:99999999999",
        ] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_device_is_claimed_by_its_place_or_for_its_driver() {
        let here = place(0, 0, 3, 0);
        assert!(is_claimed("pci0:0:3:0", "wem", here));
        assert!(is_claimed(" wvmx  pci0:3:0", "wem", here));
        assert!(is_claimed("wvmx wem", "wem", here));
        for other in ["", "pci0:0:4:0", "pci1:0:3:0", "wvmx", "em", "wem0"] {
            assert!(!is_claimed(other, "wem", here), "{other}");
        }
        let wrong: Vec<_> = wrong_claims("wem em0 pci0:3:0 pci0", &["wvmx", "wem"]).collect();
        assert_eq!(wrong, ["em0", "pci0"]);
    }
}
