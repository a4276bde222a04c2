// SPDX-License-Identifier: BSD-2-Clause
//! The kernel's events, EVENTHANDLER(9).

use alloc::boxed::Box;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::Sleepable;
use super::errno::Errno;
use super::ifnet::Port;
use super::memory::try_box;
use super::shared::Shared;

/// Calls a function when the system is short of memory, in a thread that may sleep.
/// Dropping it waits until the function does not run.
pub(crate) struct OnLowMemory {
    handler: NonNull<c::eventhandler_entry>,
}

// SAFETY: the kernel's own object, under its own lock; no thread is bound to it.
unsafe impl Send for OnLowMemory {}

/// What is called.
pub(crate) trait LowMemory {
    /// Gives back what is not in use. Runs seldom, one call at a time.
    fn give_back(sleepable: &mut Sleepable);
}

impl OnLowMemory {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn call<L: LowMemory>(_sleepable: &mut Sleepable) -> Result<Self, Errno> {
        // SAFETY: the function takes what the kernel gives.
        let handler = unsafe { c::weft_shim_lowmem_register(Some(called::<L>), ptr::null_mut()) };
        let handler = NonNull::new(handler).ok_or(Errno::ENOMEM)?;
        Ok(Self { handler })
    }
}

impl Drop for OnLowMemory {
    fn drop(&mut self) {
        // SAFETY: registered, and by this value only.
        unsafe { c::weft_shim_lowmem_deregister(self.handler.as_ptr()) }
    }
}

unsafe extern "C" fn called<L: LowMemory>(_context: *mut c_void, _kind: c_int) {
    // SAFETY: uma(9) and the page daemon call in threads that may sleep; the list of
    // handlers is not locked meanwhile.
    L::give_back(&mut unsafe { Sleepable::assume() });
}

/// What follows the VLANs on an interface.
pub(crate) trait Vlans: Send + Sync + 'static {
    /// There is a VLAN of that number on it now, or no more. Does not sleep: vlan(4) has its
    /// lock.
    fn vlan(&self, number: u16, is_there: bool);
}

/// What the kernel's handlers find.
struct Follower<V> {
    port: Port,
    vlans: Shared<V>,
}

/// Has something told of the VLANs on an interface, which come and go. Dropping it waits
/// until that is not done.
///
/// # Invariants
/// The follower is freed with this value, when no handler has it any more.
pub(crate) struct OnVlans<V: Vlans> {
    tags: c::weft_vlans,
    _follower: Box<Follower<V>>,
}

// SAFETY: the kernel's own objects, under its own lock; the rest is shared anyway.
unsafe impl<V: Vlans> Send for OnVlans<V> {}
// SAFETY: as above; nothing is done by a shared reference.
unsafe impl<V: Vlans> Sync for OnVlans<V> {}

impl<V: Vlans> OnVlans<V> {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn call(
        _sleepable: &mut Sleepable,
        port: Port,
        vlans: Shared<V>,
    ) -> Result<Self, Errno> {
        let follower = try_box(Follower { port, vlans }).map_err(|_| Errno::ENOMEM)?;
        let context = (&raw const *follower).cast_mut().cast();
        let mut on = Self {
            tags: c::weft_vlans {
                come: ptr::null_mut(),
                go: ptr::null_mut(),
            },
            _follower: follower,
        };
        let (come, go): (c::weft_vlan_event, c::weft_vlan_event) =
            (Some(vlan_event::<V, true>), Some(vlan_event::<V, false>));
        // SAFETY: the follower stays where it is as long as a handler is registered.
        let has_memory = unsafe { c::weft_shim_vlans_watch(&raw mut on.tags, come, go, context) };
        has_memory.then_some(on).ok_or(Errno::ENOMEM)
    }
}

impl<V: Vlans> Drop for OnVlans<V> {
    fn drop(&mut self) {
        // SAFETY: registered by this value only, as far as it was.
        unsafe { c::weft_shim_vlans_unwatch(&raw const self.tags) }
    }
}

unsafe extern "C" fn vlan_event<V: Vlans, const IS_THERE: bool>(
    follower: *mut c_void,
    ifp: *mut c::ifnet,
    number: u16,
) {
    // SAFETY: what `call` gave, which is there until the handlers are taken back.
    let follower = unsafe { &*follower.cast::<Follower<V>>() };
    if follower.port.raw_ifnet().as_ptr() == ifp {
        follower.vlans.vlan(number, IS_THERE);
    }
}
