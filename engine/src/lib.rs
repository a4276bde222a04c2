// SPDX-License-Identifier: BSD-2-Clause
//! The weft engine. It knows no kernel: what it needs of its surroundings is a
//! trait, implemented over FreeBSD by `weft-kmod` and over the host by the
//! simulator, so that every line of it runs under `cargo test`.

#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
pub mod context;
pub mod fib;
pub mod l3;
pub mod link;
pub mod nic;
pub mod packet;
pub mod queue;
#[cfg(feature = "std")]
pub mod sim;
pub mod stats;
pub mod wire;
