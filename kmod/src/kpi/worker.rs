// SPDX-License-Identifier: BSD-2-Clause
//! Threads, one a CPU, that do what queues leave them, taskqueue(9).
//!
//! Many queues share a thread: each has a [`Job`] there, which is done in its turn. So a
//! host has as many threads as CPUs, however many interfaces there are.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use weft_bindings::kernel as c;
use weft_engine::packet::Cpus;

use super::context::{NetEpoch, Sleepable};
use super::cpu::CriticalSections;
use super::errno::Errno;
use super::ifnet::{Interface, Port};
use super::memory::try_box;
use super::shared::Shared;

/// The threads. They end when this is dropped, which sleeps.
pub(crate) struct Workers {
    /// Where each queue of tasks is: the kernel keeps the places' addresses.
    places: Vec<UnsafeCell<*mut c::taskqueue>>,
}

// SAFETY: the places are written by `start` only.
unsafe impl Send for Workers {}
// SAFETY: as above; the queues have locks of their own.
unsafe impl Sync for Workers {}

impl Workers {
    /// Starts as many threads as there are CPUs, each bound to one if they are to be.
    ///
    /// # Errors
    /// `ENOMEM`, or why there is no thread; then none is left.
    pub(crate) fn start(
        _sleepable: &mut Sleepable,
        are_bound: bool,
    ) -> Result<Shared<Self>, Errno> {
        let mut places = Vec::new();
        let cpus = CriticalSections.count();
        places.try_reserve_exact(cpus).map_err(|_| Errno::ENOMEM)?;
        let mut workers = Self { places };
        for cpu in 0..cpus as u32 {
            // SAFETY: reads a set that is fixed before modules are loaded.
            if unsafe { c::weft_shim_cpu_present(cpu) } {
                workers.start_on(c"weft_worker", cpu, are_bound)?;
            }
        }
        Shared::made(|| Ok(workers))
    }

    /// Starts one thread, of this name, on this CPU, or on the first if it is not there.
    ///
    /// # Errors
    /// As for [`start`](Workers::start).
    #[cfg(feature = "test")]
    pub(super) fn one(name: &'static CStr, cpu: u32) -> Result<Self, Errno> {
        let mut places = Vec::new();
        places.try_reserve_exact(1).map_err(|_| Errno::ENOMEM)?;
        let mut worker = Self { places };
        // SAFETY: as above.
        let is_there = unsafe { c::weft_shim_cpu_present(cpu) };
        worker.start_on(name, if is_there { cpu } else { 0 }, true)?;
        Ok(worker)
    }

    fn start_on(&mut self, name: &'static CStr, cpu: u32, is_bound: bool) -> Result<(), Errno> {
        let room = self.places.spare_capacity_mut().first_mut();
        let place = room.ok_or(Errno::ENOMEM)?;
        let place = place.write(UnsafeCell::new(ptr::null_mut())).get();
        // SAFETY: the vector has all the room that it will have, so the place stays
        // where it is. Without an error there is a queue in it.
        unsafe {
            Errno::check(c::weft_shim_worker_start(
                place,
                name.as_ptr(),
                cpu,
                is_bound,
            ))?;
            self.places.set_len(self.places.len() + 1);
        }
        Ok(())
    }

    /// The queue of tasks of the `n`th thread, or, as there are fewer, of another one.
    pub(super) fn queue(&self, n: usize) -> Option<*mut c::taskqueue> {
        let n = n.checked_rem(self.places.len())?;
        // SAFETY: nobody writes to it any more.
        self.places.get(n).map(|place| unsafe { *place.get() })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for place in &self.places {
            // SAFETY: started by `start_on`; each job is one of its owners, so there is none.
            unsafe { c::weft_shim_worker_stop(*place.get()) };
        }
    }
}

/// What a thread finds.
struct Slot {
    task: UnsafeCell<MaybeUninit<c::task>>,
    port: Port,
    number: usize,
}

/// One of the things to do for an interface, to be asked for again and again: its
/// [`Interface::work`] with the job's number. Dropping it waits until it is not done,
/// and sleeps.
pub(crate) struct Job {
    slot: Box<Slot>,
    queue: *mut c::taskqueue,
    _workers: Shared<Workers>,
}

// SAFETY: asking takes the kernel's lock; the thread looks at the slot only.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl Job {
    /// The job of that number of an interface that is, or will be, of type `I`, done by
    /// the thread of that number.
    ///
    /// # Safety
    /// The port is attached as an `I` or not at all.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) unsafe fn new<I: Interface>(
        workers: &Shared<Workers>,
        port: Port,
        number: usize,
    ) -> Result<Self, Errno> {
        let queue = workers.queue(number).ok_or(Errno::ENOMEM)?;
        let slot = try_box(Slot {
            task: UnsafeCell::new(MaybeUninit::zeroed()),
            port,
            number,
        })
        .map_err(|_| Errno::ENOMEM)?;
        let context = (&raw const *slot).cast_mut().cast();
        let task = slot.task.get().cast();
        // SAFETY: memory of its own, not used as a task before.
        unsafe { c::weft_shim_worker_task_init(task, Some(run::<I>), context) };
        Ok(Self {
            slot,
            queue,
            _workers: workers.clone(),
        })
    }

    /// Has it done soon, once for all calls until then. Does not sleep.
    #[inline]
    pub(crate) fn ask(&self) {
        // SAFETY: initialised, and there until it was drained.
        unsafe { c::taskqueue_enqueue(self.queue, self.slot.task.get().cast()) };
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: initialised; nobody else has the job to ask for it.
        unsafe { c::taskqueue_drain(self.queue, self.slot.task.get().cast()) };
    }
}

/// The task's function: in the net epoch.
unsafe extern "C" fn run<I: Interface>(slot: *mut c_void, _pending: c_int) {
    // SAFETY: the job's slot, which is there until the task was drained; the thread is
    // in the net epoch while it does tasks of this kind. The port is an `I`'s, as `new`
    // was promised.
    let (slot, epoch) = unsafe { (&*slot.cast::<Slot>(), NetEpoch::assume()) };
    // SAFETY: as above.
    let interface = unsafe { slot.port.attached::<I>(&epoch) };
    if let Some(interface) = interface {
        interface.work(slot.number, &epoch);
    }
}
