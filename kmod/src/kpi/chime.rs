// SPDX-License-Identifier: BSD-2-Clause
//! What has to be done now and then in a thread that may sleep: whenever somebody rings, and
//! at regular times, taskqueue(9).
//!
//! A [`Chime`] is what is rung; it may be part of what the duty is about. A [`Listener`] has
//! the duty done, as long as it is there.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;
use super::locked::Locked;
use super::memory::try_box;
use super::shared::Shared;

/// What is to be done.
pub(crate) trait Duty: Send + 'static {
    /// Does it. Never twice at once.
    fn run(&mut self, sleepable: &mut Sleepable);
}

/// What is rung. The kernel's task is there while somebody listens.
pub(crate) struct Chime {
    task: Locked<Option<NonNull<c::timeout_task>>>,
}

// SAFETY: the task is reached with the lock held.
unsafe impl Send for Chime {}
// SAFETY: as above.
unsafe impl Sync for Chime {}

impl Chime {
    /// A chime to which nobody listens yet.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new() -> Result<Shared<Self>, Errno> {
        let task = Locked::new(c"weft chime", None)?;
        Shared::made(|| Ok(Self { task }))
    }

    /// Has the duty done soon, once for all calls until it begins. Does not sleep. Nothing
    /// happens if nobody listens.
    pub(crate) fn ring(&self) {
        self.after(0);
    }

    fn after(&self, ms: u32) {
        self.task.with(|task| {
            if let Some(task) = task {
                // SAFETY: initialised, and there until the listener has taken it away.
                unsafe { c::weft_shim_timer_enqueue(task.as_ptr(), ms) }
            }
        });
    }
}

/// What the kernel's thread finds.
struct Slot<D> {
    task: UnsafeCell<MaybeUninit<c::timeout_task>>,
    duty: UnsafeCell<D>,
    chime: Shared<Chime>,
    period_ms: u32,
}

/// That a duty is done. Dropping it waits until it is not; sleeps.
///
/// # Invariants
/// The slot is freed with this value. Its duty is touched by the task only.
pub(crate) struct Listener<D: Duty> {
    slot: NonNull<Slot<D>>,
}

// SAFETY: the duty may go to other threads, and is touched by one at a time.
unsafe impl<D: Duty> Send for Listener<D> {}
// SAFETY: as above.
unsafe impl<D: Duty> Sync for Listener<D> {}

impl<D: Duty> Listener<D> {
    /// Has the duty done whenever the chime is rung, and that many milliseconds after each
    /// time. A chime has one listener.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(
        _sleepable: &mut Sleepable,
        chime: &Shared<Chime>,
        period_ms: u32,
        duty: D,
    ) -> Result<Self, Errno> {
        let slot = try_box(Slot {
            task: UnsafeCell::new(MaybeUninit::zeroed()),
            duty: UnsafeCell::new(duty),
            chime: chime.clone(),
            period_ms,
        })
        .map_err(|_| Errno::ENOMEM)?;
        let slot = NonNull::from(Box::leak(slot));
        // SAFETY: memory of its own, not used as a task before, that `drop` gives back.
        unsafe {
            let task = slot.as_ref().task.get().cast::<c::timeout_task>();
            c::weft_shim_timer_init(task, Some(run::<D>), slot.as_ptr().cast());
            chime.task.with(|place| *place = NonNull::new(task));
        }
        chime.after(period_ms);
        Ok(Self { slot })
    }
}

impl<D: Duty> Drop for Listener<D> {
    fn drop(&mut self) {
        // SAFETY: from here on nobody asks for the task; when it was drained no thread knows
        // the slot, which `new` leaked.
        unsafe {
            let slot = self.slot.as_ref();
            slot.chime.task.with(|place| *place = None);
            c::weft_shim_timer_drain(slot.task.get().cast());
            drop(Box::from_raw(self.slot.as_ptr()));
        }
    }
}

unsafe extern "C" fn run<D: Duty>(slot: *mut c_void, _pending: c_int) {
    // SAFETY: the kernel passes on what `new` gave; its thread may sleep.
    unsafe {
        let slot = &*slot.cast::<Slot<D>>();
        (*slot.duty.get()).run(&mut Sleepable::assume());
        slot.chime.after(slot.period_ms);
    }
}
