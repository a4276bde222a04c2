// SPDX-License-Identifier: BSD-2-Clause
//! Addresses and prefixes of both families: as words of a command, and as the
//! kernel's socket addresses.

use alloc::format;
use core::ffi::c_int;
use core::fmt;
use core::mem::size_of;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::command::{Failure, number};
use super::sys;

/// An address of either family.
pub(super) fn parse(word: &str) -> Result<IpAddr, Failure> {
    word.parse()
        .map_err(|_| Failure::new(format!("{word} is no address")))
}

/// `AF_INET` or `AF_INET6`.
pub(super) fn family(address: IpAddr) -> c_int {
    match address {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    }
}

/// This machine, in the family of `address`.
pub(super) fn localhost(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// The address that comes `steps` after `address`; after the last comes the first.
pub(super) fn following(address: IpAddr, steps: u32) -> IpAddr {
    match address {
        IpAddr::V4(one) => Ipv4Addr::from_bits(one.to_bits().wrapping_add(steps)).into(),
        IpAddr::V6(one) => Ipv6Addr::from_bits(one.to_bits().wrapping_add(steps.into())).into(),
    }
}

/// Some addresses: the first, and how many leading bits they share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    pub(super) first: IpAddr,
    pub(super) bits: u8,
}

impl Prefix {
    /// From `ADDRESS/BITS`; without bits it is a host.
    pub(super) fn parse(word: &str) -> Result<Self, Failure> {
        let (first, bits) = match word.split_once('/') {
            Some((first, bits)) => (parse(first)?, Some(bits)),
            None => (parse(word)?, None),
        };
        let most = address_bits(first);
        let bits = bits.map_or(Ok(most), |bits| number(bits, "prefix length"))?;
        if bits > most {
            return Err(Failure::new(format!(
                "{word}: a prefix length is 0 to {most}"
            )));
        }
        Ok(Self { first, bits })
    }

    /// True for a single address.
    pub(super) fn is_host(self) -> bool {
        self.bits == address_bits(self.first)
    }

    /// The address whose first `bits` bits are ones.
    pub(super) fn mask(self) -> IpAddr {
        let bits = u32::from(self.bits);
        match self.first {
            IpAddr::V4(_) => Ipv4Addr::from_bits(!u32::MAX.checked_shr(bits).unwrap_or(0)).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(!u128::MAX.checked_shr(bits).unwrap_or(0)).into(),
        }
    }

    /// The address in it whose last bits are those of `bits`.
    pub(super) fn address_in(self, bits: u128) -> IpAddr {
        match (self.first, self.mask()) {
            (IpAddr::V4(first), IpAddr::V4(mask)) => {
                Ipv4Addr::from_bits(first.to_bits() | (bits as u32 & !mask.to_bits())).into()
            }
            (IpAddr::V6(first), IpAddr::V6(mask)) => {
                Ipv6Addr::from_bits(first.to_bits() | (bits & !mask.to_bits())).into()
            }
            (first, _) => first,
        }
    }

    /// The prefix of the same length that comes `steps` after this one.
    pub(super) fn following(self, steps: u32) -> Self {
        let beyond = u32::from(address_bits(self.first) - self.bits);
        let first = match self.first {
            IpAddr::V4(first) => {
                let step = steps.checked_shl(beyond).unwrap_or(0);
                Ipv4Addr::from_bits(first.to_bits().wrapping_add(step)).into()
            }
            IpAddr::V6(first) => {
                let step = u128::from(steps).checked_shl(beyond).unwrap_or(0);
                Ipv6Addr::from_bits(first.to_bits().wrapping_add(step)).into()
            }
        };
        Self { first, ..self }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.bits)
    }
}

fn address_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A socket address of the address' own family.
#[derive(Clone, Copy)]
pub(super) enum SocketAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl SocketAddress {
    /// The port in host order.
    pub(super) fn new(address: IpAddr, port: u16) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(socket_address_v4(address, port)),
            IpAddr::V6(address) => Self::V6(socket_address_v6(address, port)),
        }
    }

    /// `AF_INET` or `AF_INET6`.
    pub(super) fn family(&self) -> c_int {
        match self {
            Self::V4(_) => libc::AF_INET,
            Self::V6(_) => libc::AF_INET6,
        }
    }

    /// The structure's bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(address) => sys::bytes_of(address),
            Self::V6(address) => sys::bytes_of(address),
        }
    }
}

/// An IPv4 socket address; the port in host order.
pub(super) fn socket_address_v4(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    let mut out = sys::zeroed::<libc::sockaddr_in>();
    out.sin_len = u8::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
    out.sin_family = libc::AF_INET as u8;
    out.sin_port = port.to_be();
    out.sin_addr.s_addr = address.to_bits().to_be();
    out
}

/// An IPv6 socket address; the port in host order.
pub(super) fn socket_address_v6(address: Ipv6Addr, port: u16) -> libc::sockaddr_in6 {
    let mut out = sys::zeroed::<libc::sockaddr_in6>();
    out.sin6_len = u8::try_from(size_of::<libc::sockaddr_in6>()).unwrap_or(0);
    out.sin6_family = libc::AF_INET6 as u8;
    out.sin6_port = port.to_be();
    out.sin6_addr.s6_addr = address.octets();
    out
}

/// The address at the start of a socket address' bytes; `None` for another family.
pub(super) fn address_in(bytes: &[u8]) -> Option<IpAddr> {
    match c_int::from(*bytes.get(1)?) {
        libc::AF_INET => {
            let address: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(Ipv4Addr::from(address).into())
        }
        libc::AF_INET6 => {
            let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Some(Ipv6Addr::from(address).into())
        }
        _ => None,
    }
}
