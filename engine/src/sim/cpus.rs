// SPDX-License-Identifier: BSD-2-Clause
//! CPUs of the host, of which threads have one each at a time.

use crate::context::Sleepable;
use crate::packet::Cpus;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

thread_local! {
    /// The CPU on which this thread is.
    static CPU: Cell<usize> = const { Cell::new(0) };
}

/// So many CPUs. A thread is on CPU 0 until it [goes](HostCpus::go) elsewhere; two
/// threads on one CPU wait for one another. Clones are the same CPUs.
#[derive(Clone, Debug)]
pub struct HostCpus {
    busy: Arc<[Mutex<()>]>,
}

impl HostCpus {
    /// `count` CPUs, one at least.
    pub fn new(count: usize) -> Self {
        Self {
            busy: (0..count.max(1)).map(|_| Mutex::new(())).collect(),
        }
    }

    /// Lets the calling thread be on this CPU from now on, of all `HostCpus`. A
    /// thread may be on one that there is not: a pool then has no cache for it.
    pub fn go(cpu: usize) {
        CPU.set(cpu);
    }

    fn alone<R>(&self, cpu: usize, inside: impl FnOnce() -> R) -> R {
        let _busy = self
            .busy
            .get(cpu)
            .map(|busy| busy.lock().unwrap_or_else(PoisonError::into_inner));
        inside()
    }
}

// SAFETY: a CPU that there is has a mutex. Of one that there is not, nothing is used.
unsafe impl Cpus for HostCpus {
    fn count(&self) -> usize {
        self.busy.len()
    }

    fn here<R>(&self, inside: impl FnOnce(usize) -> R) -> R {
        let cpu = CPU.get();
        self.alone(cpu, || inside(cpu))
    }

    fn on<R>(&self, _: &mut Sleepable, cpu: usize, inside: impl FnOnce() -> R) -> R {
        self.alone(cpu, inside)
    }
}
