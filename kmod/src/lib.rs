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
mod sysctl;

use kpi::context::Sleepable;
use kpi::errno::Errno;
use kpi::log;
use kpi::module::{Life, Module};
use kpi::sysctl::Sysctls;

/// The loaded module. Fields are dropped in order: first what the kernel calls,
/// last what those calls read.
struct Weft {
    algorithms: fib::Algorithms,
    _sysctls: Sysctls,
}

impl Life for Weft {
    fn load(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        compat::check(sleepable)?;
        let (figures, sysctls) = sysctl::grow(sleepable)?;
        let algorithms = fib::Algorithms::register(sleepable, figures)?;
        log::info(format_args!("{} loaded", sysctl::VERSION));
        Ok(Self {
            algorithms,
            _sysctls: sysctls,
        })
    }

    fn quiesce(&mut self, _sleepable: &mut Sleepable) -> Result<(), Errno> {
        fib::refuse_while_used()
    }

    fn unload(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        // Asked again, since a forced unload goes past `quiesce`.
        fib::refuse_while_used()?;
        self.algorithms.withdraw(sleepable)
    }
}

/// The one instance, to which the kernel's module events are sent.
pub(crate) static MODULE: Module<Weft> = Module::new();
