// SPDX-License-Identifier: BSD-2-Clause
//! Work for later, in a thread that may sleep, taskqueue(9).

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;
use super::memory::try_box;

/// What a task does each time it was asked for, never twice at once.
pub(crate) trait Work: Send + 'static {
    /// Does it.
    fn run(&mut self, sleepable: &mut Sleepable);
}

/// What the kernel's thread finds.
#[repr(C)]
struct Slot<W> {
    task: UnsafeCell<MaybeUninit<c::task>>,
    work: UnsafeCell<W>,
}

/// Work that can be asked for. Dropping it waits until the work does not run.
///
/// # Invariants
/// The slot is freed with this value. Its work is touched by the task only, which
/// the kernel runs in one thread at a time.
pub(crate) struct Task<W: Work> {
    slot: NonNull<Slot<W>>,
}

// SAFETY: the work may go to other threads, and is touched by one at a time.
unsafe impl<W: Work> Send for Task<W> {}
// SAFETY: as above; asking for it takes the kernel's lock.
unsafe impl<W: Work> Sync for Task<W> {}

impl<W: Work> Task<W> {
    /// A task that nobody has asked for.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(work: W) -> Result<Self, Errno> {
        let slot = try_box(Slot {
            task: UnsafeCell::new(MaybeUninit::zeroed()),
            work: UnsafeCell::new(work),
        })
        .map_err(|_| Errno::ENOMEM)?;
        let slot = NonNull::from(Box::leak(slot));
        let task = Self { slot };
        // SAFETY: memory of its own, not used as a task before.
        unsafe { c::weft_shim_task_init(task.raw(), Some(run::<W>), slot.as_ptr().cast()) };
        Ok(task)
    }

    /// Asks for the work. Any context; a thread does it soon. If it was asked for and
    /// has not begun, that is all.
    pub(crate) fn ask(&self) {
        // SAFETY: initialised, and there until it was drained.
        unsafe { c::weft_shim_task_enqueue(self.raw()) }
    }

    fn raw(&self) -> *mut c::task {
        // SAFETY: the slot is this value's own.
        unsafe { self.slot.as_ref() }.task.get().cast()
    }
}

impl<W: Work> Drop for Task<W> {
    /// Sleeps. Nobody asks any more.
    fn drop(&mut self) {
        // SAFETY: initialised; when the task was drained no thread knows the slot,
        // which `new` leaked.
        unsafe {
            c::weft_shim_task_drain(self.raw());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

unsafe extern "C" fn run<W: Work>(slot: *mut c_void, _pending: c_int) {
    // SAFETY: the kernel passes on what `new` gave; its thread may sleep.
    unsafe {
        let slot = &*slot.cast::<Slot<W>>();
        (*slot.work.get()).run(&mut Sleepable::assume());
    }
}
