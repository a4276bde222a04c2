// SPDX-License-Identifier: BSD-2-Clause
//! Side-by-side benchmarks of the engine against named peers, on the host, where
//! caches are real. `weft-bench` races longest-prefix match,
//! `weft-bench-packet` packet pools, `weft-bench-wire` wire formats; see `docs/benchmarks.md` for how a figure comes to be.
//!
//! [`contender`] says what can be raced, [`race`] how, [`record`] what is kept of
//! it; [`report`], [`plot`], [`page`] and [`compare`] know the kept records only.

pub mod c_peer;
pub mod clock;
pub mod compare;
pub mod contender;
pub mod crates;
#[cfg(weft_dpdk)]
mod dpdk;
mod epoch;
pub mod family;
pub mod held;
pub mod keys;
pub mod packet;
pub mod page;
pub mod plot;
pub mod queue;
pub mod race;
pub mod record;
pub mod report;
pub mod routes;
pub mod stats;
pub mod weft;
pub mod wire;

/// The peers from DPDK, or why there are none.
pub fn dpdk() -> Result<c_peer::CPeers, String> {
    #[cfg(weft_dpdk)]
    return dpdk::peers();
    #[cfg(not(weft_dpdk))]
    Err(String::from(env!("WEFT_DPDK_ABSENT")))
}

/// Why there is nothing from DPDK, if so.
pub fn dpdk_absent() -> Option<&'static str> {
    option_env!("WEFT_DPDK_ABSENT")
}
