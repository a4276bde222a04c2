// SPDX-License-Identifier: BSD-2-Clause
//! The network epoch, epoch(9): entering it, and waiting for its end.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use weft_bindings::kernel as c;
use weft_engine::fib::{Grace, Period};
use weft_engine::queue::Sections;

use super::context::{NetEpoch, Sleepable};
use super::errno::Errno;
use super::memory::try_box;

/// Runs `inside` in the network epoch. `inside` must not sleep, and has no
/// [`Sleepable`] to do it with.
pub(crate) fn in_net_epoch<R>(
    sleepable: &mut Sleepable,
    inside: impl for<'e> FnOnce(&NetEpoch<'e>) -> R,
) -> R {
    let mut tracker = MaybeUninit::<c::epoch_tracker>::uninit();
    let tracker = tracker.as_mut_ptr();
    // SAFETY: enters and leaves the epoch, in pairs, on this thread; the tracker
    // stays where it is between the two.
    unsafe {
        NetEpoch::during(
            sleepable,
            || c::weft_shim_net_epoch_enter(tracker),
            inside,
            |()| c::weft_shim_net_epoch_exit(tracker),
        )
    }
}

/// Runs `inside` in the network epoch, in which the thread may be already: for what the
/// kernel calls by rule, but not always, in the epoch.
#[inline]
pub(super) fn surely_in_net_epoch<R>(inside: impl for<'e> FnOnce(&NetEpoch<'e>) -> R) -> R {
    let mut tracker = MaybeUninit::<c::epoch_tracker>::uninit();
    let tracker = tracker.as_mut_ptr();
    // SAFETY: what is entered here is left here. The tracker stays where it is between
    // entering and leaving, and nothing that bears the token's lifetime is carried out.
    unsafe {
        let has_entered = c::weft_shim_net_epoch_ensure(tracker);
        let result = inside(&NetEpoch::assume());
        if has_entered {
            c::weft_shim_net_epoch_exit(tracker);
        }
        result
    }
}

/// Waits until every callback that was asked for before has run. Sleeps.
pub(crate) fn drain_net_epoch_callbacks(_sleepable: &mut Sleepable) {
    // SAFETY: the caller may sleep and is in no epoch.
    unsafe { c::weft_shim_net_epoch_drain() }
}

/// Sections of the network epoch, for what waits until all of now have ended.
#[derive(Clone, Copy)]
pub(crate) struct NetEpochs;

impl Sections for NetEpochs {
    type Section<'s> = NetEpoch<'s>;

    fn wait(&self) {
        // SAFETY: the trait says that it may sleep, so its callers are in no epoch.
        unsafe { c::weft_shim_net_epoch_wait() }
    }

    fn relax(&self) {
        // SAFETY: as above.
        unsafe { c::weft_shim_pause_ms(1) }
    }
}

/// What the epoch's callback finds: C's link first, then whose period ended, and
/// what to do about it.
#[repr(C)]
struct Slot {
    context: UnsafeCell<MaybeUninit<c::epoch_context>>,
    period: UnsafeCell<Option<NonNull<()>>>,
    afterwards: fn(),
}

/// Grace periods of the network epoch, for what the engine keeps.
///
/// # Invariants
/// The slot is freed with this value. The engine drops it only when no period runs,
/// so the callback finds its slot.
pub(crate) struct EpochGrace {
    slot: NonNull<Slot>,
}

// SAFETY: the slot is used by one thread at a time: by the engine's writer while
// no period runs, by the callback while one does.
unsafe impl Send for EpochGrace {}

impl EpochGrace {
    /// `afterwards` is called when a period has ended, in a kernel thread that holds
    /// no lock and is in no epoch.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new(afterwards: fn()) -> Result<Self, Errno> {
        let slot = try_box(Slot {
            context: UnsafeCell::new(MaybeUninit::zeroed()),
            period: UnsafeCell::new(None),
            afterwards,
        })
        .map_err(|_| Errno::ENOMEM)?;
        Ok(Self {
            slot: NonNull::from(Box::leak(slot)),
        })
    }
}

impl Drop for EpochGrace {
    fn drop(&mut self) {
        // SAFETY: `new` leaked this box, and by the invariant no callback that
        // knows the slot is to come.
        drop(unsafe { Box::from_raw(self.slot.as_ptr()) });
    }
}

// SAFETY: a `NetEpoch` exists inside the epoch only, and the kernel calls back
// after every section of the time of `fib_epoch_call` has ended; epoch(9) orders
// stores before the call ahead of sections that begin after it.
unsafe impl Grace for EpochGrace {
    type Section<'s> = NetEpoch<'s>;

    fn start(&self, period: Period) {
        // SAFETY: no period runs, so the callback is not to come and the slot is
        // the writer's. It stays allocated until the callback has run.
        unsafe {
            let slot = self.slot.as_ref();
            *slot.period.get() = Some(period.into_raw());
            c::fib_epoch_call(Some(elapsed), slot.context.get().cast());
        }
    }
}

/// The epoch's callback: runs in a kernel thread, in no epoch.
unsafe extern "C" fn elapsed(context: c::epoch_context_t) {
    let slot: NonNull<Slot> = match NonNull::new(context.cast()) {
        Some(slot) => slot,
        None => return,
    };
    // SAFETY: `context` is the first field of a slot that lives until the period
    // it stands for has been told to have elapsed, below.
    let (period, afterwards) = unsafe {
        let slot = slot.as_ref();
        ((*slot.period.get()).take(), slot.afterwards)
    };
    let Some(period) = period else { return };
    // SAFETY: `start` stored it, and this is its one use. From here on the slot
    // is the writer's again.
    unsafe { Period::from_raw(period) }.elapsed();
    afterwards();
}
