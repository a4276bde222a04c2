// SPDX-License-Identifier: BSD-2-Clause
//! Drivers of network cards. Each is a `Nic` of `weft_engine::nic`, generic over the platform: what
//! is compiled into the module is what the tests run against a model of the card.
//!
//! `docs/writing-a-driver.md` tells how one is written.

#![no_std]
#![forbid(unsafe_code)]

pub mod wem;
pub mod wvmx;
pub mod wvtnet;
