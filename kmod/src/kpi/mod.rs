// SPDX-License-Identifier: BSD-2-Clause
//! The kernel, safely: the only part of the module that calls C.
//!
//! Each file wraps one area of the kernel and names its manual page or header.
//! The context in which a call is allowed is an argument: [`context::Sleepable`]
//! where it may sleep, [`context::NetEpoch`] where it must be inside the network
//! epoch, [`context::Vnet`] where a network stack must be current.

pub(crate) mod cdriver;
pub(crate) mod checksum;
pub(crate) mod chime;
pub(crate) mod cloner;
pub(crate) mod context;
pub(crate) mod counter;
pub(crate) mod cpu;
pub(crate) mod derived;
pub(crate) mod device;
pub(crate) mod dma;
pub(crate) mod epoch;
pub(crate) mod errno;
pub(crate) mod event;
pub(crate) mod fib;
#[cfg(feature = "test")]
pub(crate) mod gate;
pub(crate) mod ifnet;
pub(crate) mod interrupt;
#[cfg(feature = "test")]
pub(crate) mod ip6;
pub(crate) mod jail;
pub(crate) mod join;
pub(crate) mod kernel;
pub(crate) mod late;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod locked;
pub(crate) mod log;
pub(crate) mod mbuf;
#[cfg(feature = "test")]
mod mbuf_calls;
pub(crate) mod mbuf_dma;
#[cfg(feature = "test")]
mod mbuf_packet;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod netmap;
pub(crate) mod netmap_dma;
pub(crate) mod nic;
pub(crate) mod offload;
mod panic;
pub(crate) mod pci;
#[cfg(feature = "test")]
pub(crate) mod peers;
pub(crate) mod pfil;
pub(crate) mod probe;
pub(crate) mod published;
pub(crate) mod rib;
pub(crate) mod segment;
#[cfg(feature = "test")]
pub(crate) mod sent;
pub(crate) mod shared;
pub(crate) mod slept;
pub(crate) mod swapped;
pub(crate) mod sysctl;
pub(crate) mod task;
pub(crate) mod text;
#[cfg(feature = "test")]
pub(crate) mod thread;
pub(crate) mod vnet;
pub(crate) mod worker;
