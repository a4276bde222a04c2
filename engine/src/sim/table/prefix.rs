// SPDX-License-Identifier: BSD-2-Clause
//! A prefix of either family.

use crate::fib::Key;
use crate::sim::random::Random;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A prefix: an address in host order, with no bit set beyond the length. Of IPv4,
/// unless `K` is `u128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<K = u32> {
    /// The first address.
    pub address: K,
    /// The length: 0 to 32 bits, or 128.
    pub len: u8,
}

/// A prefix of IPv6.
pub type Prefix6 = Prefix<u128>;

impl<K: Key> Prefix<K> {
    /// The prefix of that length in which the address is.
    pub fn of(address: K, len: u8) -> Self {
        Self {
            address: address.network(len),
            len,
        }
    }

    /// The prefix of that length in which this one is.
    pub fn shortened(self, len: u8) -> Self {
        Self::of(self.address, len)
    }

    /// Whether the address is in the prefix.
    pub fn covers(&self, address: K) -> bool {
        address.network(self.len) == self.address
    }

    /// A random address in the prefix.
    pub fn address_in(&self, random: &mut Random) -> K {
        let low = u128::from(random.bits());
        let bits = if K::BITS > 64 {
            u128::from(random.bits()) << 64 | low
        } else {
            low
        };
        let host = K::from_bits(bits).bits() & !K::mask(self.len).bits();
        K::from_bits(self.address.bits() | host)
    }

    /// The prefix of the same length that follows; after the last comes the first.
    pub fn successor(self) -> Self {
        let last = self.address.last(self.len).bits();
        Self {
            address: K::from_bits(last.wrapping_add(1)),
            ..self
        }
    }
}

impl<K: Key> fmt::Display for Prefix<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bits, len) = (self.address.bits(), self.len);
        if K::BITS > 32 {
            write!(f, "{}/{len}", Ipv6Addr::from_bits(bits))
        } else {
            write!(f, "{}/{len}", Ipv4Addr::from_bits(bits as u32))
        }
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// Reads "192.0.2.0/24". The error says what is wrong with the text.
    fn from_str(text: &str) -> Result<Self, String> {
        parse::<u32, Ipv4Addr>(text, "IPv4")
    }
}

impl FromStr for Prefix6 {
    type Err = String;

    /// Reads "2001:db8::/32". The error says what is wrong with the text.
    fn from_str(text: &str) -> Result<Self, String> {
        parse::<u128, Ipv6Addr>(text, "IPv6")
    }
}

fn parse<K: Key + From<A>, A: FromStr>(text: &str, family: &str) -> Result<Prefix<K>, String> {
    let (address, len) = text.split_once('/').ok_or("no '/' and length")?;
    let address: A = address
        .parse()
        .map_err(|_| format!("'{address}' is no {family} address"))?;
    let len: u8 = len
        .parse()
        .ok()
        .filter(|&len| len <= K::BITS)
        .ok_or_else(|| format!("length '{len}', allowed are 0 to {}", K::BITS))?;
    let address = K::from(address);
    let prefix = Prefix::of(address, len);
    if prefix.address != address {
        return Err(String::from("bits set beyond the length"));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(address: u32, len in 0u8..=32) {
            let prefix = Prefix::of(address, len);
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn what_is_written_of_ipv6_is_read(address: u128, len in 0u8..=128) {
            let prefix = Prefix::of(address, len);
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn a_prefix_has_the_addresses_from_its_first_to_its_last(
            address: u128, len in 0u8..=128, seed: u64,
        ) {
            let prefix = Prefix::of(address, len);
            let inside = prefix.address_in(&mut Random::new(seed));
            prop_assert!(prefix.covers(address) && prefix.covers(inside));
            let next = prefix.successor();
            prop_assert!(len == 0 || !prefix.covers(next.address));
            prop_assert_eq!(next.address, address.last(len).wrapping_add(1));
        }
    }

    #[test]
    fn the_first_follows_the_last() {
        assert_eq!(Prefix::of(u32::MAX, 24).successor(), Prefix::of(0, 24));
        assert_eq!(Prefix::of(u128::MAX, 48).successor(), Prefix::of(0, 48));
        assert_eq!(Prefix::of(7u32, 0).successor(), Prefix::of(0, 0));
    }
}
