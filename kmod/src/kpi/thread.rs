// SPDX-License-Identifier: BSD-2-Clause
//! Threads of the kernel's, kthread(9), each bound to a CPU, that sleep until a bell
//! rings.
//!
//! # Why no ring is lost, and no thread left behind
//!
//! Who rings sets `rung` and then, with the bell's lock held, wakes the thread. The
//! thread looks at `rung` and at `stop` with the lock held, and keeps it until it is
//! asleep. So a ring comes before that look, which then sees it, or finds it asleep.
//! `rung` is cleared before the duty runs: what was asked for while it runs makes it run
//! again.
//!
//! A thread's last act in the module is a call of kthread_exit(9), which wakes whoever
//! sleeps on the thread itself ("a module may be waiting for us to exit"). Who stops it
//! asks for that with the bell's lock held, and keeps the lock until it sleeps on the
//! thread. The thread cannot be on its way out before, so it is woken from the kernel's
//! own code only, and the module may be unloaded.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

use weft_bindings::kernel as c;
use weft_engine::fib::Lock;

use super::context::Sleepable;
use super::errno::Errno;
use super::lock::Mtx;
use super::memory::try_box;
use super::shared::Shared;

/// What a thread does each time its bell was rung.
pub(crate) trait Duty: Send + 'static {
    /// Does it once. The thread holds no lock, is in no epoch, and no network stack is
    /// current: what reaches one sets `curvnet` itself, for each packet or interface.
    fn run(&mut self, sleepable: &mut Sleepable);
}

/// What wakes a thread. May be rung from anywhere but an interrupt's filter, and with
/// locks held.
pub(crate) struct Bell {
    lock: Mtx,
    rung: AtomicBool,
}

impl Bell {
    /// A bell that nobody listens to yet.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new() -> Result<Shared<Self>, Errno> {
        Shared::made(|| {
            Ok(Self {
                lock: Mtx::new(c"weft bell")?,
                rung: AtomicBool::new(false),
            })
        })
    }

    /// Has the thread run its duty, once for all rings until it begins. Does not sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.lock.with(|| self.wake());
        }
    }

    /// Wakes the thread if it is asleep. With the lock held.
    fn wake(&self) {
        // SAFETY: the channel is an address only.
        unsafe { c::weft_shim_wakeup(self.channel()) };
    }

    /// Sleeps until there was a ring or a wish to stop.
    fn wait(&self, stop: &AtomicBool) {
        self.lock.with(|| {
            while !self.rung.load(Ordering::Acquire) && !stop.load(Ordering::Relaxed) {
                // SAFETY: the thread may sleep, and holds this lock and no other.
                unsafe { c::weft_shim_sleep(self.channel(), self.lock.raw()) };
            }
        });
        self.rung.swap(false, Ordering::AcqRel);
    }

    fn channel(&self) -> *const c_void {
        ptr::from_ref(&self.rung).cast()
    }
}

/// What the thread finds.
struct Slot<D> {
    bell: Shared<Bell>,
    cpu: u32,
    /// Written with the bell's lock held, as is `gone`.
    stop: AtomicBool,
    gone: AtomicBool,
    duty: UnsafeCell<D>,
}

/// A thread. Dropping it waits for the end of the duty's run, if it runs, and then of
/// the thread; it sleeps.
///
/// # Invariants
/// The slot is freed with this value, when the thread is gone. Its duty is the thread's
/// until then.
pub(crate) struct Thread<D: Duty> {
    slot: NonNull<Slot<D>>,
    thread: *mut c::thread,
}

// SAFETY: the duty may go to other threads, and is touched by its own only.
unsafe impl<D: Duty> Send for Thread<D> {}
// SAFETY: as above.
unsafe impl<D: Duty> Sync for Thread<D> {}

impl<D: Duty> Thread<D> {
    /// Starts a thread on a CPU, or on any if there is none of this number. It runs its
    /// duty whenever `bell`, which is this thread's alone, is rung.
    ///
    /// # Errors
    /// `ENOMEM`, or why the kernel made no thread.
    pub(crate) fn start(
        _sleepable: &mut Sleepable,
        name: &CStr,
        cpu: usize,
        bell: Shared<Bell>,
        duty: D,
    ) -> Result<Self, Errno> {
        let slot = try_box(Slot {
            bell,
            cpu: cpu as u32,
            stop: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            duty: UnsafeCell::new(duty),
        })
        .map_err(|_| Errno::ENOMEM)?;
        let slot = NonNull::from(Box::leak(slot));
        let mut thread = ptr::null_mut();
        let argument = slot.as_ptr().cast();
        // SAFETY: the slot stays until the thread is gone; the kernel copies the name.
        let error = unsafe {
            c::weft_shim_thread_start(Some(main::<D>), argument, name.as_ptr(), &mut thread)
        };
        if let Err(error) = Errno::check(error) {
            // SAFETY: leaked above, and no thread knows it.
            drop(unsafe { Box::from_raw(slot.as_ptr()) });
            return Err(error);
        }
        Ok(Self { slot, thread })
    }

    fn slot(&self) -> &Slot<D> {
        // SAFETY: this value's own; its duty is reached through `UnsafeCell`.
        unsafe { self.slot.as_ref() }
    }
}

impl<D: Duty> Drop for Thread<D> {
    fn drop(&mut self) {
        let slot = self.slot();
        let bell = &*slot.bell;
        bell.lock.with(|| {
            slot.stop.store(true, Ordering::Relaxed);
            bell.wake();
            while !slot.gone.load(Ordering::Relaxed) {
                // SAFETY: who drops a thread may sleep, and holds this lock only; the
                // thread's address is a channel.
                unsafe { c::weft_shim_sleep(self.thread.cast(), bell.lock.raw()) };
            }
        });
        // SAFETY: leaked by `start`, and its thread is gone.
        drop(unsafe { Box::from_raw(self.slot.as_ptr()) });
    }
}

unsafe extern "C" fn main<D: Duty>(slot: *mut c_void) {
    // SAFETY: the kernel passes on what `start` gave; the slot stays until `gone` is set.
    let slot = unsafe { &*slot.cast::<Slot<D>>() };
    // SAFETY: a new thread, which may sleep and is bound to no CPU.
    let mut sleepable = unsafe {
        if c::weft_shim_cpu_present(slot.cpu) {
            c::weft_shim_bind(slot.cpu);
        }
        Sleepable::assume()
    };
    loop {
        slot.bell.wait(&slot.stop);
        if slot.stop.load(Ordering::Acquire) {
            break;
        }
        // SAFETY: the duty is this thread's.
        unsafe { (*slot.duty.get()).run(&mut sleepable) };
    }
    // Whoever stops sleeps by now, or has not begun to; the slot is not touched below.
    slot.bell
        .lock
        .with(|| slot.gone.store(true, Ordering::Relaxed));
    // SAFETY: a thread of the kernel's that `start` made, with no lock held.
    unsafe { c::weft_shim_thread_exit() }
}
