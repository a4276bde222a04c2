// SPDX-License-Identifier: BSD-2-Clause
//! The running kernel, and what the module was compiled for.

use core::ffi::{CStr, c_int};
use core::slice;

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;
use super::text::Text;

/// `__FreeBSD_version` of the headers the module was compiled with.
pub(crate) fn compiled_osreldate() -> i32 {
    // SAFETY: a constant of the shim.
    unsafe { c::weft_shim_osreldate }
}

/// Whether the module was compiled for a kernel with VIMAGE.
pub(crate) fn compiled_with_vimage() -> bool {
    // SAFETY: a constant of the shim.
    unsafe { c::weft_shim_vimage != 0 }
}

/// `__FreeBSD_version` of the running kernel.
pub(crate) fn running_osreldate() -> i32 {
    // SAFETY: the kernel sets it once, at compile time.
    unsafe { c::osreldate }
}

/// Whether the running kernel has `kern.features.<name>`, given as that name.
pub(crate) fn has_feature(sleepable: &mut Sleepable, oid: &CStr) -> bool {
    read_int(sleepable, oid).is_some_and(|value| value != 0)
}

/// An integer sysctl's value, as the current thread sees it, if there is such a
/// sysctl. May sleep.
pub(super) fn read_int(_sleepable: &mut Sleepable, oid: &CStr) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>();
    // SAFETY: the name is a C string, which the kernel only reads; value and
    // length are where it may write `len` bytes.
    let error = unsafe {
        c::kernel_sysctlbyname(
            c::weft_shim_curthread(),
            oid.as_ptr().cast_mut(),
            (&raw mut value).cast(),
            &raw mut len,
            core::ptr::null_mut(),
            0,
            core::ptr::null_mut(),
            0,
        )
    };
    (error == 0 && len == size_of::<c_int>()).then_some(value)
}

/// What loader(8) or kenv(1) has set by that name, cut to what the text takes. May sleep.
pub(crate) fn environment<const N: usize>(
    _sleepable: &mut Sleepable,
    name: &CStr,
) -> Option<Text<N>> {
    let mut text = Text::new();
    // SAFETY: the name is a C string; the storage takes so many bytes, the NUL included.
    let is_set = unsafe { c::weft_shim_getenv(name.as_ptr(), text.storage(), N as c_int) };
    is_set.then_some(text)
}

/// A moment by the CPU's own clock: cheap to take, and good for short times only.
#[derive(Clone, Copy)]
pub(super) struct Moment(u64);

impl Moment {
    /// This moment.
    pub(super) fn now() -> Self {
        // SAFETY: any context.
        Self(unsafe { c::weft_shim_cpu_ticks() })
    }

    /// Nanoseconds since then; 0 if the thread went to a CPU whose clock is behind.
    pub(super) fn elapsed_ns(self) -> u64 {
        let ticks = Self::now().0.saturating_sub(self.0);
        // SAFETY: any context.
        let rate = unsafe { c::cpu_tickrate() };
        // Times past some seconds are cut off, so that the product fits.
        let ticks = ticks.min(u64::MAX / 1_000_000_000);
        (ticks * 1_000_000_000).checked_div(rate).unwrap_or(0)
    }
}

/// Ticks of the CPU's own clock. Any context.
#[cfg(feature = "test")]
#[inline]
pub(crate) fn ticks() -> u64 {
    Moment::now().0
}

/// The CPU's own clock in nanoseconds: a read of a register and a multiplication. It
/// counts from some time before the module was loaded. Between CPUs it may go back by
/// as much as their clocks differ.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    /// Nanoseconds a tick, times 2^32.
    scale: u64,
}

impl Clock {
    /// The clock, by its rate of now.
    pub(crate) fn new() -> Self {
        const SECOND: u64 = 1_000_000_000 << 32;
        // SAFETY: any context.
        let rate = unsafe { c::cpu_tickrate() };
        Self {
            scale: SECOND.checked_div(rate).unwrap_or(0),
        }
    }

    /// The time. Any context.
    #[inline]
    pub(crate) fn now(self) -> u64 {
        let product = u128::from(Moment::now().0).wrapping_mul(u128::from(self.scale));
        (product >> 32) as u64
    }
}

/// Percent of the current thread's kernel stack that are in use. Any context.
#[inline]
pub(crate) fn stack_used() -> u64 {
    // SAFETY: reads what the thread has.
    u64::from(unsafe { c::weft_shim_stack_used() })
}

/// Locks that the current thread is known to hold: rwlock(9) for reading, as sockets' are
/// held by most senders of datagrams; and where the kernel counts them (INVARIANTS), all
/// others but spin locks.
#[inline]
pub(crate) fn locks_held() -> u32 {
    // SAFETY: reads what the thread has.
    unsafe { c::weft_shim_locks_held() }
}

/// Bytes of the machine's memory.
pub(crate) fn physical_bytes() -> u64 {
    // SAFETY: reads a number.
    unsafe { c::weft_shim_physical_bytes() }
}

/// Sleeps for that many milliseconds, or a little longer.
pub(crate) fn pause_ms(_sleepable: &mut Sleepable, ms: u32) {
    // SAFETY: the caller may sleep.
    unsafe { c::weft_shim_pause_ms(ms) }
}

/// Whether the current thread has a signal to take, which a long system call
/// should make way for.
///
/// # Errors
/// `EINTR` or `ERESTART`, if so.
pub(crate) fn check_interrupted(_sleepable: &mut Sleepable) -> Result<(), Errno> {
    // SAFETY: a system call's thread, with no lock held.
    Errno::check(unsafe { c::sig_intr() })
}

/// 64 bits from the kernel's generator, arc4random(9).
pub(crate) fn random_seed() -> u64 {
    // SAFETY: any context.
    unsafe { u64::from(c::arc4random()) << 32 | u64::from(c::arc4random()) }
}

/// A kernel type whose size differs from what the module was compiled with.
pub(crate) struct SizeMismatch {
    /// The type, as C writes it.
    pub(crate) name: &'static CStr,
    /// Its size, in bytes, at compile time.
    pub(crate) compiled: usize,
    /// The size of a kernel variable of this type, in bytes.
    pub(crate) running: usize,
}

/// Compares the sizes of kernel variables, by the kernel's symbol table, with
/// those of their types. Variables that the table says nothing of are passed
/// over.
///
/// # Errors
/// The first one that differs.
pub(crate) fn compare_sizes(_in_module_event: &mut Sleepable) -> Result<(), SizeMismatch> {
    // SAFETY: the shim's table of that many entries, all constant.
    let objects = unsafe {
        slice::from_raw_parts(
            (&raw const c::weft_shim_objects).cast(),
            c::weft_shim_nobjects,
        )
    };
    for object in objects {
        let object: &c::weft_shim_object = object;
        // SAFETY: module events run under the linker's lock, as the shim asks.
        let running = unsafe { c::weft_shim_object_size(object.object) };
        if running != 0 && running != object.size {
            return Err(SizeMismatch {
                // SAFETY: a string literal of the shim.
                name: unsafe { CStr::from_ptr(object.type_) },
                compiled: object.size,
                running,
            });
        }
    }
    Ok(())
}
