// SPDX-License-Identifier: BSD-2-Clause
//! The addresses of a family, as tables take them: integers in host order.

use core::fmt::{self, Debug};
use core::hash::Hash;
use core::net::{Ipv4Addr, Ipv6Addr};

/// An address, or a prefix's first one: `u32` for IPv4, `u128` for IPv6, of which
/// the highest bit is the first on the wire.
pub trait Key:
    Copy + Ord + Hash + Debug + Default + Send + Sync + 'static + sealed::Sealed
{
    /// Bits of an address: the longest prefix length.
    const BITS: u8;

    /// The address whose bits, after `128 - BITS` of 0, these are.
    fn from_bits(bits: u128) -> Self;

    /// The address with bits of 0 in front of it.
    fn bits(self) -> u128;

    /// `plen` bits of 1, then bits of 0; all 1 from `BITS` on.
    fn mask(plen: u8) -> Self;

    /// The address as its family writes it.
    fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The prefix of that length that the address is in.
    fn network(self, plen: u8) -> Self {
        Self::from_bits(self.bits() & Self::mask(plen).bits())
    }

    /// The last address of the prefix of that length that the address is in.
    fn last(self, plen: u8) -> Self {
        let all = Self::mask(Self::BITS).bits();
        Self::from_bits(self.bits() | (all & !Self::mask(plen).bits()))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u128 {}
}

impl Key for u32 {
    const BITS: u8 = 32;

    fn from_bits(bits: u128) -> Self {
        bits as Self
    }

    fn bits(self) -> u128 {
        u128::from(self)
    }

    fn mask(plen: u8) -> Self {
        !Self::MAX.checked_shr(u32::from(plen)).unwrap_or(0)
    }

    fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv4Addr::from_bits(self), f)
    }
}

impl Key for u128 {
    const BITS: u8 = 128;

    fn from_bits(bits: u128) -> Self {
        bits
    }

    fn bits(self) -> u128 {
        self
    }

    fn mask(plen: u8) -> Self {
        !Self::MAX.checked_shr(u32::from(plen)).unwrap_or(0)
    }

    fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv6Addr::from_bits(self), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_begin_and_end_where_they_should() {
        assert_eq!(u32::mask(0), 0);
        assert_eq!(u32::mask(8), 0xff00_0000);
        assert_eq!(u32::mask(32), u32::MAX);
        assert_eq!(u128::mask(0), 0);
        assert_eq!(u128::mask(128), u128::MAX);
        assert_eq!(0x0a01_0203u32.network(8), 0x0a00_0000);
        assert_eq!(0x0a01_0203u32.last(8), 0x0aff_ffff);
        assert_eq!(5u32.last(32), 5);
        assert_eq!(5u32.last(0), u32::MAX);
        assert_eq!(5u128.last(0), u128::MAX);
        let doc = 0x2001_0db8u128 << 96;
        assert_eq!((doc | 7).network(32), doc);
        assert_eq!(doc.last(32) >> 96, 0x2001_0db8);
    }
}
