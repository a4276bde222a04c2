// SPDX-License-Identifier: BSD-2-Clause
//! The race of transmit queues: producers, one queue, a backend that takes bursts.
//! `docs/benchmarks.md` says how a figure comes to be.
//!
//! What is raced is the whole of a transmit queue, not a ring by itself: whoever submits
//! makes sure that somebody sends it, and nobody waits in vain. [`contender`] has weft's
//! queue, and what one would build of the peers; [`race`] the experiments.

pub mod contender;
pub mod device;
pub mod plot;
pub mod race;
#[cfg(weft_dpdk)]
mod rte_ring;
