// SPDX-License-Identifier: BSD-2-Clause
//! What differs between IPv4 and IPv6: how the kernel writes addresses.
//!
//! The engine's keys are addresses in host order. An IPv6 address of link-local
//! scope has its interface's index in the second 16 bits there, as it has in the
//! route table's own keys (the *embedded* form, `netinet6/scope6.c`): what the
//! kernel hands out in two parts is put together here.

use core::ffi::c_int;
use core::{fmt, ptr};

use weft_bindings::kernel as c;
use weft_engine::fib::Key;

/// A prefix in host order, without bits beyond its length, and its length.
#[derive(Clone, Copy)]
pub(crate) struct Route<K> {
    pub(crate) prefix: K,
    pub(crate) length: u8,
}

impl<K: Key> Route<K> {
    fn new(address: K, length: c_int) -> Self {
        let length = length.clamp(0, c_int::from(K::BITS)) as u8;
        Self {
            prefix: address.network(length),
            length,
        }
    }
}

/// An address family of the kernel.
pub(crate) trait Family: 'static {
    /// An address in host order.
    type Key: Key;
    /// `struct sockaddr_in` or `sockaddr_in6`.
    type SocketAddress;

    /// Its number in the kernel, `AF_INET` or `AF_INET6`.
    const NUMBER: c_int;
    /// Its place in arrays of one thing for each family.
    const PLACE: usize;
    /// The sysctl that chooses its algorithm.
    const CHOICE: &'static str;

    /// A socket address, also one of a mask.
    fn socket_address(address: Self::Key) -> Self::SocketAddress;

    /// The route that an entry of the table stands for.
    ///
    /// # Safety
    /// `entry` is an entry of a table of this family whose lock is held.
    unsafe fn route(entry: *const c::rtentry) -> Route<Self::Key>;

    /// The route that a queued change is about.
    ///
    /// # Safety
    /// The entry is of a queue of this family.
    unsafe fn changed(entry: &c::fib_change_entry) -> Route<Self::Key>;

    /// The address that a lookup asks for.
    ///
    /// # Safety
    /// The key is one of this family, and what it points to is there.
    unsafe fn destination(key: c::flm_lookup_key, scope: u32) -> Self::Key;

    /// Writes an address as people do. (`core::net` would, but has checks that the
    /// compiler cannot prove.)
    ///
    /// # Errors
    /// The formatter's.
    fn write(address: Self::Key, to: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Runs `look_up` with what a lookup of an address is given.
    fn asked<R>(address: Self::Key, look_up: impl FnOnce(c::flm_lookup_key, u32) -> R) -> R;

    /// The lookup function of a FIB and its argument, which is written to
    /// `datapath`.
    ///
    /// # Safety
    /// In the network epoch; the current network stack has such a FIB.
    unsafe fn datapath(fib: u32, datapath: *mut c::fib_dp);
}

/// An address, to be written.
pub(crate) struct Written<F: Family>(pub(crate) F::Key);

impl<F: Family> fmt::Display for Written<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        F::write(self.0, to)
    }
}

/// IPv4.
pub(crate) struct Inet;

impl Family for Inet {
    type Key = u32;
    type SocketAddress = c::sockaddr_in;

    const NUMBER: c_int = c::AF_INET as c_int;
    const PLACE: usize = 0;
    const CHOICE: &'static str = "net.route.algo.inet.algo";

    fn socket_address(address: u32) -> c::sockaddr_in {
        c::sockaddr_in {
            sin_len: size_of::<c::sockaddr_in>() as u8,
            sin_family: c::AF_INET as u8,
            sin_port: 0,
            sin_addr: c::in_addr {
                s_addr: address.to_be(),
            },
            sin_zero: [0; 8],
        }
    }

    unsafe fn route(entry: *const c::rtentry) -> Route<u32> {
        let mut address = c::in_addr { s_addr: 0 };
        let (mut length, mut scope) = (0, 0);
        // SAFETY: the caller's entry; three places to write to.
        unsafe {
            c::rt_get_inet_prefix_plen(entry, &raw mut address, &raw mut length, &raw mut scope);
        }
        Route::new(u32::from_be(address.s_addr), length)
    }

    unsafe fn changed(entry: &c::fib_change_entry) -> Route<u32> {
        // SAFETY: the caller's promise says which of the union it is.
        let address = unsafe { entry.__bindgen_anon_1.addr4 };
        Route::new(u32::from_be(address.s_addr), c_int::from(entry.plen))
    }

    #[inline(always)]
    unsafe fn destination(key: c::flm_lookup_key, _scope: u32) -> u32 {
        // SAFETY: as above.
        u32::from_be(unsafe { key.__bindgen_anon_1.addr4 }.s_addr)
    }

    fn write(address: u32, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = address.to_be_bytes();
        write!(to, "{a}.{b}.{c}.{d}")
    }

    fn asked<R>(address: u32, look_up: impl FnOnce(c::flm_lookup_key, u32) -> R) -> R {
        let mut key = no_key();
        key.__bindgen_anon_1.addr4 = c::in_addr {
            s_addr: address.to_be(),
        };
        look_up(key, 0)
    }

    unsafe fn datapath(fib: u32, datapath: *mut c::fib_dp) {
        // SAFETY: the caller's promise.
        unsafe { c::weft_shim_fib4_datapath(fib, datapath) }
    }
}

/// IPv6.
pub(crate) struct Inet6;

/// Where the interface's index is in an address of link-local scope.
const SCOPE_SHIFT: u32 = 96;
const SCOPE_BITS: u128 = 0xffff << SCOPE_SHIFT;

/// Whether the address is of link-local scope, unicast or multicast
/// (`IN6_IS_SCOPE_LINKLOCAL`).
#[inline(always)]
fn has_scope(address: u128) -> bool {
    let first = (address >> 112) as u16;
    first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff02
}

/// The address with its scope embedded, if it has one.
#[inline(always)]
fn embed(address: u128, scope: u32) -> u128 {
    if has_scope(address) {
        address & !SCOPE_BITS | u128::from(scope & 0xffff) << SCOPE_SHIFT
    } else {
        address
    }
}

/// The address that is there in network order.
///
/// # Safety
/// There is one.
#[inline(always)]
unsafe fn read(address: *const c::in6_addr) -> u128 {
    // SAFETY: the caller's promise: 16 bytes, of any alignment.
    u128::from_be_bytes(unsafe { address.cast::<[u8; 16]>().read_unaligned() })
}

fn in6_addr(address: u128) -> c::in6_addr {
    // SAFETY: both are 16 bytes, of which any value will do.
    unsafe { core::mem::transmute(address.to_be_bytes()) }
}

impl Family for Inet6 {
    type Key = u128;
    type SocketAddress = c::sockaddr_in6;

    const NUMBER: c_int = c::AF_INET6 as c_int;
    const PLACE: usize = 1;
    const CHOICE: &'static str = "net.route.algo.inet6.algo";

    fn socket_address(address: u128) -> c::sockaddr_in6 {
        c::sockaddr_in6 {
            sin6_len: size_of::<c::sockaddr_in6>() as u8,
            sin6_family: c::AF_INET6 as u8,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: in6_addr(address),
            sin6_scope_id: 0,
        }
    }

    unsafe fn route(entry: *const c::rtentry) -> Route<u128> {
        let mut address = in6_addr(0);
        let (mut length, mut scope) = (0, 0);
        // SAFETY: the caller's entry; three places to write to, then an address.
        let address = unsafe {
            c::rt_get_inet6_prefix_plen(entry, &raw mut address, &raw mut length, &raw mut scope);
            read(&raw const address)
        };
        Route::new(embed(address, scope), length)
    }

    unsafe fn changed(entry: &c::fib_change_entry) -> Route<u128> {
        // SAFETY: the caller's promise says which of the union it is.
        let address = unsafe { read(&raw const entry.__bindgen_anon_1.addr6) };
        Route::new(embed(address, entry.scopeid), c_int::from(entry.plen))
    }

    #[inline(always)]
    unsafe fn destination(key: c::flm_lookup_key, scope: u32) -> u128 {
        // SAFETY: as above; the kernel's key points to the address.
        embed(unsafe { read(key.__bindgen_anon_1.addr6) }, scope)
    }

    fn write(address: u128, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |n: u32| (address >> (n * 16)) as u16;
        write!(to, "{:x}", part(7))?;
        (0..7).rev().try_for_each(|n| write!(to, ":{:x}", part(n)))
    }

    fn asked<R>(address: u128, look_up: impl FnOnce(c::flm_lookup_key, u32) -> R) -> R {
        let written = in6_addr(address);
        let mut key = no_key();
        key.__bindgen_anon_1.addr6 = &raw const written;
        // Taken for a scope only if the address has one.
        look_up(key, (address >> SCOPE_SHIFT) as u32 & 0xffff)
    }

    unsafe fn datapath(fib: u32, datapath: *mut c::fib_dp) {
        // SAFETY: the caller's promise.
        unsafe { c::weft_shim_fib6_datapath(fib, datapath) }
    }
}

fn no_key() -> c::flm_lookup_key {
    c::flm_lookup_key {
        __bindgen_anon_1: c::flm_lookup_key__bindgen_ty_1 { addr6: ptr::null() },
    }
}
