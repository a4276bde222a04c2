// SPDX-License-Identifier: BSD-2-Clause
//! The host's side of the engine: what the kernel gives there, given here by the
//! standard library, with faults on demand; and the generators of test data.

#[allow(unsafe_code)]
pub mod chain;
#[allow(unsafe_code)]
pub mod cpus;
#[allow(unsafe_code)]
pub mod epoch;
pub mod forward;
pub mod malformed;
#[allow(unsafe_code)]
pub mod memory;
pub mod naive;
pub mod nic;
pub mod random;
pub mod store;
pub mod table;
pub mod traffic;
