// SPDX-License-Identifier: BSD-2-Clause
//! `weft.ko`: the engine, plugged into FreeBSD.
//!
//! [`kpi`] wraps the kernel and is the only room with unsafe code; beside it are
//! the adapters, one a subsystem, that plug the engine in. This file is the
//! module's life: what is set up when it is loaded, in which order, and how it is
//! undone.
//!
//! Built for the kernel's target only, by `cargo xtask build`; on a host this
//! crate is empty.

#![cfg(target_os = "none")]
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
// Carries the C objects.
extern crate weft_shim;

mod compat;
mod fib;
mod fib_check;
mod fib_figures;
#[allow(unsafe_code)]
mod kpi;
mod l3;
mod latency;
mod nic;
mod packet;
mod pair;
mod pair_nodes;
mod pair_rings;
mod pfil6;
#[cfg(feature = "test")]
mod queue;
mod queue_nodes;
mod sojourn;
mod stats;
mod sysctl;
mod tenants;
#[cfg(feature = "test")]
mod test;

use kpi::context::Sleepable;
use kpi::errno::Errno;
use kpi::log;
use kpi::module::{Life, Module};
use kpi::sysctl::Sysctls;

/// The loaded module. Fields are dropped in order: first what the kernel calls,
/// last what those calls read.
struct Weft {
    algorithms: fib::Algorithms,
    cards: nic::Gate,
    filters: pfil6::Gate,
    l3: l3::Gate,
    pairs: pair::Gate,
    #[cfg(feature = "test")]
    tests: test::Tests,
    packets: packet::Packets,
    _sysctls: Sysctls,
}

impl Life for Weft {
    fn load(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        compat::check(sleepable)?;
        kpi::netmap::find(sleepable);
        // In this order, for what is returned from below drops the last one first.
        let (sysctls, figures) = sysctl::grow(sleepable)?;
        let mut packets = packet::Packets::open(sleepable)?;
        let mut algorithms = match fib::Algorithms::prepare(sleepable, figures) {
            Ok(algorithms) => algorithms,
            Err(error) => {
                packets.close(sleepable)?;
                return Err(error);
            }
        };
        let pairs = match pair::Gate::open(sleepable) {
            Ok(pairs) => pairs,
            Err(error) => {
                algorithms.withdraw(sleepable)?;
                packets.close(sleepable)?;
                return Err(error);
            }
        };
        let l3 = match l3::Gate::open(sleepable) {
            Ok(l3) => l3,
            Err(error) => {
                let mut pairs = pairs;
                pairs.close(sleepable)?;
                algorithms.withdraw(sleepable)?;
                packets.close(sleepable)?;
                return Err(error);
            }
        };
        let cards = match nic::Gate::open(sleepable) {
            Ok(cards) => cards,
            Err(error) => {
                let (mut l3, mut pairs) = (l3, pairs);
                l3.close(sleepable)?;
                pairs.close(sleepable)?;
                algorithms.withdraw(sleepable)?;
                packets.close(sleepable)?;
                return Err(error);
            }
        };
        let filters = pfil6::Gate::open(sleepable);
        // Last, for a FIB that has chosen one keeps it.
        algorithms.enlist();
        log::info(format_args!("{} loaded", sysctl::VERSION));
        Ok(Self {
            algorithms,
            cards,
            filters,
            l3,
            pairs,
            #[cfg(feature = "test")]
            tests: test::Tests::open(),
            packets,
            _sysctls: sysctls,
        })
    }

    fn quiesce(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        fib::refuse_while_used()?;
        self.cards.refuse_while_used()?;
        self.l3.refuse_while_used()?;
        self.pairs.refuse_while_used()?;
        kpi::netmap::refuse_while_outlived(sleepable)?;
        self.packets.refuse_while_out(sleepable)
    }

    fn unload(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        // Asked again, since a forced unload goes past `quiesce`.
        fib::refuse_while_used()?;
        #[cfg(feature = "test")]
        self.tests.stop(sleepable);
        self.cards.close()?;
        if let Err(error) = self.l3.close(sleepable) {
            self.cards = nic::Gate::open(sleepable)?;
            return Err(error);
        }
        if let Err(error) = self.pairs.close(sleepable) {
            self.l3.reopen(sleepable)?;
            self.cards = nic::Gate::open(sleepable)?;
            return Err(error);
        }
        let gone = kpi::netmap::refuse_while_outlived(sleepable)
            .and_then(|()| self.packets.close(sleepable))
            .and_then(|()| self.algorithms.withdraw(sleepable));
        if gone.is_err() {
            self.pairs = pair::Gate::reopen(sleepable)?;
            self.l3.reopen(sleepable)?;
            self.cards = nic::Gate::open(sleepable)?;
        }
        if gone.is_ok() {
            self.filters.close(sleepable);
        }
        if gone.is_err() && self.packets.are_closed() {
            self.packets = packet::Packets::open(sleepable)?;
        }
        gone
    }
}

/// The one instance, to which the kernel's module events are sent.
pub(crate) static MODULE: Module<Weft> = Module::new();
