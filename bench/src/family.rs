// SPDX-License-Identifier: BSD-2-Clause
//! What the race needs to know of an address family beside its [`Key`]: how an
//! address is handed to a lookup, and what is raced in it.
//!
//! The kernel hands an IPv4 address over by value and an IPv6 address by its place
//! in the packet, in network order; so does the race. IPv4 is in host order here,
//! for both sides would turn it round alike.

use crate::contender::Contender;
use crate::weft::Weft;
use std::fmt;
use weft_engine::fib::Key;
use weft_engine::sim::random::Random;
use weft_engine::sim::table::{self, Prefix};

/// An address family.
pub trait Family: Key {
    /// Its name in the records.
    const NAME: &'static str;
    /// Its name for one's eyes.
    const TITLE: &'static str;
    /// The project's target for lookups in one table.
    const TARGET: &'static str;
    /// The longest prefix that comes as a part of another: what is longer, hardly
    /// anyone announces on the Internet.
    const LONGEST: u8;
    /// Prefixes in a generated table: as many as the Internet's had in 2025.
    const PREFIXES: usize;
    /// The number that a peer in C names it by.
    const NUMBER: u32;

    /// An address as it lies in memory.
    type Address: Copy + fmt::Debug + PartialEq + Send + Sync;
    /// An address as a lookup gets it.
    type Passed: Copy;

    /// The address as it lies in memory.
    fn address(self) -> Self::Address;

    /// The address as it is handed over.
    fn pass(address: &Self::Address) -> Self::Passed;

    /// One of `keys`, in such a way that the processor, which does not know that
    /// `zero` is 0, must know `zero` first.
    fn pass_after(keys: &[Self::Address], at: usize, zero: u32) -> Self::Passed;

    /// The address that lies there.
    fn of(address: &Self::Address) -> Self;

    /// The address that a lookup got.
    ///
    /// # Safety
    ///
    /// It came from [`pass`](Self::pass) or [`pass_after`](Self::pass_after), and what
    /// it was made of is still there.
    unsafe fn received(passed: Self::Passed) -> Self;

    /// Any address.
    fn any(random: &mut Random) -> Self;

    /// That many prefixes with the shape of the Internet's, the same for a seed.
    fn generate(count: usize, seed: u64) -> Vec<Prefix<Self>>;

    /// Our table of this family.
    fn ours() -> Box<dyn Contender<Self>> {
        Box::new(Weft::default())
    }
}

impl Family for u32 {
    const NAME: &'static str = "ipv4";
    const TITLE: &'static str = "IPv4";
    const TARGET: &'static str = "P1";
    const LONGEST: u8 = 24;
    const PREFIXES: usize = 900_000;
    const NUMBER: u32 = 4;

    type Address = u32;
    type Passed = u32;

    fn address(self) -> u32 {
        self
    }

    #[inline(always)]
    fn pass(address: &u32) -> u32 {
        *address
    }

    #[inline(always)]
    fn pass_after(keys: &[u32], at: usize, zero: u32) -> u32 {
        keys[at] ^ zero
    }

    #[inline(always)]
    fn of(address: &u32) -> Self {
        *address
    }

    #[inline(always)]
    unsafe fn received(passed: u32) -> Self {
        passed
    }

    fn any(random: &mut Random) -> Self {
        random.bits() as Self
    }

    fn generate(count: usize, seed: u64) -> Vec<Prefix<Self>> {
        table::generate(count, seed)
    }
}

impl Family for u128 {
    const NAME: &'static str = "ipv6";
    const TITLE: &'static str = "IPv6";
    const TARGET: &'static str = "P2";
    const LONGEST: u8 = 48;
    const PREFIXES: usize = 160_000;
    const NUMBER: u32 = 6;

    type Address = [u8; 16];
    type Passed = *const [u8; 16];

    fn address(self) -> [u8; 16] {
        self.to_be_bytes()
    }

    #[inline(always)]
    fn pass(address: &[u8; 16]) -> *const [u8; 16] {
        address
    }

    /// The place waits, not the address: to write an address just before it is
    /// read would be another race.
    #[inline(always)]
    fn pass_after(keys: &[[u8; 16]], at: usize, zero: u32) -> *const [u8; 16] {
        &keys[at + zero as usize]
    }

    #[inline(always)]
    fn of(address: &[u8; 16]) -> Self {
        Self::from_be_bytes(*address)
    }

    #[inline(always)]
    unsafe fn received(passed: *const [u8; 16]) -> Self {
        // SAFETY: the caller promises an address's place.
        Self::from_be_bytes(unsafe { *passed })
    }

    fn any(random: &mut Random) -> Self {
        Self::from(random.bits()) << 64 | Self::from(random.bits())
    }

    fn generate(count: usize, seed: u64) -> Vec<Prefix<Self>> {
        table::generate6(count, seed)
    }
}
