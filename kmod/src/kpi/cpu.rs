// SPDX-License-Identifier: BSD-2-Clause
//! CPUs, and being alone on one: critical_enter(9), sched_bind(9).

use weft_bindings::kernel as c;
use weft_engine::packet::Cpus;

use super::context::Sleepable;

/// Critical sections of the CPUs.
#[derive(Clone, Copy)]
pub(crate) struct CriticalSections;

/// Runs `inside` in a critical section, with the CPU's number.
#[inline]
fn critical<R>(inside: impl FnOnce(usize) -> R) -> R {
    // SAFETY: critical sections nest, and end on the thread where they began.
    unsafe {
        c::weft_shim_critical_enter();
        let result = inside(c::weft_shim_curcpu() as usize);
        c::weft_shim_critical_exit();
        result
    }
}

/// Runs `inside`, which may sleep, with the thread bound to the CPU where it is. It is
/// bound to none before.
#[cfg(feature = "test")]
pub(crate) fn bound<R>(inside: impl FnOnce() -> R) -> R {
    // SAFETY: a thread is bound to the CPU that it runs on, or ran on a moment ago.
    unsafe { c::weft_shim_bind(c::weft_shim_curcpu()) };
    let result = inside();
    // SAFETY: bound above.
    unsafe { c::weft_shim_unbind() };
    result
}

/// CPUs of the machine, one of which is where the `n`th thread of many may go.
#[cfg(feature = "test")]
pub(crate) fn of_nth(n: usize) -> usize {
    n.checked_rem(CriticalSections.count()).unwrap_or(0)
}

// SAFETY: in a critical section the thread neither leaves its CPU nor is preempted, and
// interrupt filters do not use packets. One that begins later on the same CPU sees what
// was stored.
unsafe impl Cpus for CriticalSections {
    fn count(&self) -> usize {
        // SAFETY: reads a number that is fixed before modules are loaded.
        unsafe { c::weft_shim_cpus() as usize }
    }

    #[inline]
    fn here<R>(&self, inside: impl FnOnce(usize) -> R) -> R {
        critical(inside)
    }

    fn on<R>(&self, _sleepable: &mut Sleepable, cpu: usize, inside: impl FnOnce() -> R) -> R {
        // SAFETY: reads a set that is fixed before modules are loaded.
        if !unsafe { c::weft_shim_cpu_present(cpu as u32) } {
            // Nobody is there.
            return inside();
        }
        // SAFETY: the thread may sleep, is bound to no CPU, and the CPU is there.
        unsafe { c::weft_shim_bind(cpu as u32) };
        let result = critical(|_| inside());
        // SAFETY: bound above.
        unsafe { c::weft_shim_unbind() };
        result
    }
}
