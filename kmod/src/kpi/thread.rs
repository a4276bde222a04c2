// SPDX-License-Identifier: BSD-2-Clause
//! Threads of one duty each, for tests: a [worker](super::worker) that does it whenever a
//! bell was rung.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;
use super::memory::try_box;
use super::shared::Shared;
use super::worker::Workers;

/// What a thread does each time its bell was rung.
pub(crate) trait Duty: Send + 'static {
    /// Does it once. The thread holds no lock, is in no epoch, and no network stack is
    /// current: what reaches one sets `curvnet` itself, for each packet or interface.
    fn run(&mut self, sleepable: &mut Sleepable);
}

/// What wakes a thread. May be rung from anywhere but an interrupt's filter, and with
/// locks held; but not any more while its thread is dropped, except by the duty.
pub(crate) struct Bell {
    task: UnsafeCell<MaybeUninit<c::task>>,
    /// The tasks of the thread that listens.
    tasks: AtomicPtr<c::taskqueue>,
    rung: AtomicBool,
}

// SAFETY: the task is written while nobody listens; then it is the kernel's, which has a
// lock for it.
unsafe impl Send for Bell {}
// SAFETY: as above.
unsafe impl Sync for Bell {}

impl Bell {
    /// A bell that nobody listens to yet.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new() -> Result<Shared<Self>, Errno> {
        Shared::made(|| {
            Ok(Self {
                task: UnsafeCell::new(MaybeUninit::zeroed()),
                tasks: AtomicPtr::new(ptr::null_mut()),
                rung: AtomicBool::new(false),
            })
        })
    }

    /// Has the thread run its duty, once for all rings until it begins. Does not sleep.
    pub(crate) fn ring(&self) {
        // Who begins to listen does this the other way round, so one sees the other.
        self.rung.store(true, Ordering::SeqCst);
        let tasks = self.tasks.load(Ordering::SeqCst);
        if !tasks.is_null() {
            // SAFETY: initialised before anybody listened.
            unsafe { c::taskqueue_enqueue(tasks, self.task.get().cast()) };
        }
    }
}

/// A thread. Dropping it waits for the end of the duty's run, if it runs, and then of
/// the thread; it sleeps.
///
/// # Invariants
/// The duty is freed with this value. It is the thread's until then.
pub(crate) struct Thread<D: Duty> {
    bell: Shared<Bell>,
    duty: NonNull<UnsafeCell<D>>,
    /// Ends after the task was drained.
    _worker: Workers,
}

// SAFETY: the duty may go to other threads, and is touched by its own only.
unsafe impl<D: Duty> Send for Thread<D> {}
// SAFETY: as above.
unsafe impl<D: Duty> Sync for Thread<D> {}

impl<D: Duty> Thread<D> {
    /// Starts a thread on a CPU, or on the first if there is none of this number. It runs
    /// its duty whenever `bell`, which is this thread's alone, is or was rung.
    ///
    /// # Errors
    /// `ENOMEM`, or why the kernel made no thread.
    pub(crate) fn start(
        _sleepable: &mut Sleepable,
        name: &'static CStr,
        cpu: usize,
        bell: Shared<Bell>,
        duty: D,
    ) -> Result<Self, Errno> {
        let worker = Workers::one(name, cpu as u32)?;
        let tasks = worker.queue(0).ok_or(Errno::ENOMEM)?;
        let duty = try_box(UnsafeCell::new(duty)).map_err(|_| Errno::ENOMEM)?;
        let duty = NonNull::from(Box::leak(duty));
        // SAFETY: the bell's own memory, which nobody uses as a task before it listens.
        unsafe {
            let task = bell.task.get().cast();
            c::weft_shim_task_init(task, Some(run::<D>), duty.as_ptr().cast());
        }
        bell.tasks.store(tasks, Ordering::SeqCst);
        if bell.rung.load(Ordering::SeqCst) {
            bell.ring();
        }
        Ok(Self {
            bell,
            duty,
            _worker: worker,
        })
    }
}

impl<D: Duty> Drop for Thread<D> {
    fn drop(&mut self) {
        let tasks = self.bell.tasks.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: initialised by `start`, and nobody rings any more; then no thread knows
        // the duty, which `start` leaked.
        unsafe {
            c::taskqueue_drain(tasks, self.bell.task.get().cast());
            drop(Box::from_raw(self.duty.as_ptr()));
        }
    }
}

/// The task's function.
unsafe extern "C" fn run<D: Duty>(duty: *mut c_void, _pending: c_int) {
    // SAFETY: the duty that `start` gave is this thread's, which may sleep.
    unsafe { (*(*duty.cast::<UnsafeCell<D>>()).get()).run(&mut Sleepable::assume()) };
}
