// SPDX-License-Identifier: BSD-2-Clause
//! What a pool needs of its platform beside memory and a lock: to know its CPUs, and
//! to have one of their caches to itself for a moment.

use crate::context::Sleepable;

/// Exclusive use of what belongs to a CPU.
///
/// In the kernel [`here`](Cpus::here) is a critical section and [`on`](Cpus::on) binds
/// the thread to the CPU for one (sched_bind(9)); on the host a slot that belongs to a
/// thread will do as a CPU.
///
/// # Safety
///
/// Of two calls with one CPU's number, one ends before the other begins, and what the
/// earlier one stored the later one sees.
pub unsafe trait Cpus {
    /// How many CPUs there are. It does not change.
    fn count(&self) -> usize;

    /// Runs `inside` as the only one on the CPU where the thread is now, with that
    /// CPU's number. `inside` is short, takes no lock and does not sleep. Not called
    /// from within itself.
    fn here<R>(&self, inside: impl FnOnce(usize) -> R) -> R;

    /// Runs `inside`, of the same kind, as the only one on the CPU with this number,
    /// which is below the count. May wait until it can.
    fn on<R>(&self, sleepable: &mut Sleepable, cpu: usize, inside: impl FnOnce() -> R) -> R;
}
