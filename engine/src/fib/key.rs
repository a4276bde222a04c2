// SPDX-License-Identifier: BSD-2-Clause
//! The addresses of a family, as tables take them: integers in host order.
//!
//! A table tells addresses apart by their first 16 bits, the *top*, and then by 8
//! bits at each of `LEVELS` levels, of which level 0 is of the last 8 bits.

use super::FibError;
use super::page::Slots;
use core::fmt::Debug;
use core::hash::Hash;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, or a prefix's first one: `u32` for IPv4, `u128` for IPv6, of which
/// the highest bit is the first on the wire.
#[allow(private_bounds)]
pub trait Key: Copy + Ord + Hash + Debug + Default + Send + Sync + 'static + Path {
    /// Bits of an address: the longest prefix length.
    const BITS: u8;

    /// The address whose bits, after `128 - BITS` of 0, these are.
    fn from_bits(bits: u128) -> Self;

    /// The address with bits of 0 in front of it.
    fn bits(self) -> u128;

    /// `plen` bits of 1, then bits of 0; all 1 from `BITS` on.
    fn mask(plen: u8) -> Self;

    /// The prefix of that length that the address is in.
    fn network(self, plen: u8) -> Self;

    /// The last address of the prefix of that length that the address is in.
    fn last(self, plen: u8) -> Self;

    /// The address as what its family writes.
    fn ip(self) -> IpAddr;
}

/// How a table takes an address to pieces.
pub(super) trait Path: Sized {
    /// Levels below the top.
    const LEVELS: usize;
    /// Whether a top of one class has a page all the same.
    const PAGE_ON_TOP: bool;
    /// As many slots as there are levels.
    type Pages: AsRef<[Slots]> + AsMut<[Slots]> + Send + Sync;

    /// The first 16 bits.
    fn top(self) -> usize;

    /// The 8 bits of a level.
    fn byte(self, level: usize) -> u32;

    /// All bits, eight at a time, those of the top first.
    type Octets: AsRef<[u8]>;

    /// See [`Octets`](Path::Octets): what is loaded is cheaper than what is shifted,
    /// where addresses are wider than registers.
    fn octets(self) -> Self::Octets;

    /// At how many levels, from 0 on, all bits are 0.
    fn zero_levels(self) -> usize;

    /// Whether the bits of the levels below this one are all 1.
    fn ends(self, level: usize) -> bool;

    /// How many steps of a level are between this address and `last`, both included,
    /// 65,536 at most.
    fn steps_to(self, last: Self, level: usize) -> usize;

    /// The address that many steps of a level ahead, if there is one.
    fn step(self, steps: usize, level: usize) -> Option<Self>;

    /// The address before, or the last of all.
    fn before(self) -> Self;
}

/// Refuses what is no prefix.
pub(super) fn check<K: Key>(prefix: K, plen: u8) -> Result<(), FibError> {
    if plen > K::BITS {
        return Err(FibError::PrefixLength {
            plen,
            most: K::BITS,
        });
    }
    if prefix.network(plen) != prefix {
        let prefix = prefix.ip();
        return Err(FibError::HostBits { prefix, plen });
    }
    Ok(())
}

macro_rules! family {
    ($int:ty, $levels:literal, $page_on_top:literal, $address:ty) => {
        impl Key for $int {
            const BITS: u8 = <$int>::BITS as u8;

            fn from_bits(bits: u128) -> Self {
                bits as Self
            }

            fn bits(self) -> u128 {
                self.into()
            }

            fn mask(plen: u8) -> Self {
                !Self::MAX.checked_shr(u32::from(plen)).unwrap_or(0)
            }

            fn network(self, plen: u8) -> Self {
                self & Self::mask(plen)
            }

            fn last(self, plen: u8) -> Self {
                self | !Self::mask(plen)
            }

            fn ip(self) -> IpAddr {
                <$address>::from_bits(self).into()
            }
        }

        impl Path for $int {
            const LEVELS: usize = $levels;
            const PAGE_ON_TOP: bool = $page_on_top;
            type Pages = [Slots; $levels];

            #[inline(always)]
            fn top(self) -> usize {
                (self >> (Self::BITS - 16)) as usize
            }

            #[inline(always)]
            fn byte(self, level: usize) -> u32 {
                (self >> (level as u32 * 8 % Self::BITS)) as u32 & 0xff
            }

            type Octets = [u8; Self::BITS as usize / 8];

            #[inline(always)]
            fn octets(self) -> Self::Octets {
                self.to_be_bytes()
            }

            fn zero_levels(self) -> usize {
                (self.trailing_zeros() / 8) as usize
            }

            fn ends(self, level: usize) -> bool {
                self.trailing_ones() >= level as u32 * 8
            }

            fn steps_to(self, last: Self, level: usize) -> usize {
                let shift = level as u32 * 8 % Self::BITS;
                let span = last.wrapping_sub(self);
                let part = usize::from(span.ends(level));
                (span >> shift).min(1 << 16) as usize + part
            }

            fn step(self, steps: usize, level: usize) -> Option<Self> {
                let shift = level as u32 * 8 % Self::BITS;
                self.checked_add((steps as Self).checked_mul(1 << shift)?)
            }

            fn before(self) -> Self {
                self.wrapping_sub(1)
            }
        }
    };
}

family!(u32, 2, true, Ipv4Addr);
family!(u128, 14, false, Ipv6Addr);

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

    #[test]
    fn steps_reach_the_last_address() {
        assert_eq!(0u32.steps_to(u32::MAX, 2), 1 << 16);
        assert_eq!(0u128.steps_to(u128::MAX, 14), 1 << 16);
        assert_eq!(0x0a00_0000u32.steps_to(0x0a00_ffff, 1), 256);
        assert_eq!(0x0a00_0000u32.steps_to(0x0a00_fffe, 1), 255);
        assert_eq!(7u32.steps_to(7, 0), 1);
        assert_eq!(0x0a00_0000u32.step(256, 1), Some(0x0a01_0000));
        assert_eq!(0xffff_ff00u32.step(256, 0), None);
        assert_eq!(0u128.step(1 << 16, 14), None);
        assert_eq!(0u32.zero_levels(), 4);
        assert_eq!(0x0a00_0100u32.zero_levels(), 1);
        assert!(0x0a00_ffffu32.ends(2) && !0x0a00_fffeu32.ends(1));
        assert!(0u32.ends(0));
    }

    #[test]
    fn what_is_no_prefix_is_refused_in_words() {
        let refusal = |outcome: Result<(), FibError>| outcome.unwrap_err().to_string();
        assert_eq!(
            refusal(check(1u32, 33)),
            "prefix length 33, allowed are 0 to 32"
        );
        assert_eq!(
            refusal(check((0x2001_0db8u128 << 96) | 1, 32)),
            "2001:db8::1/32 has bits set beyond its length"
        );
        assert!(check(0u128, 0).is_ok());
    }
}
