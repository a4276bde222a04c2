// SPDX-License-Identifier: BSD-2-Clause
//! Packet filter hooks, pfil(9). Header: `net/pfil.h`.

use core::ffi::{CStr, c_int, c_void};
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Sleepable, Vnet};
use super::epoch::drain_net_epoch_callbacks;
use super::errno::Errno;
use super::mbuf::Mbuf;

/// What packets a hook is for.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    Inet,
    Inet6,
    Ethernet,
}

impl Layer {
    fn kind(self) -> c::pfil_types {
        match self {
            Layer::Inet => c::PFIL_TYPE_IP4,
            Layer::Inet6 => c::PFIL_TYPE_IP6,
            Layer::Ethernet => c::PFIL_TYPE_ETHERNET,
        }
    }

    /// The kernel's own point at which all packets of the layer pass.
    fn head(self) -> &'static CStr {
        match self {
            Layer::Inet => c"inet",
            Layer::Inet6 => c"inet6",
            Layer::Ethernet => c"ethernet",
        }
    }
}

/// What looks at packets, both ways.
pub(crate) trait Filter: 'static {
    /// Its name for pfilctl(8), after `weft:`.
    const NAME: &'static CStr;
    /// What it looks at.
    const LAYER: Layer;

    /// Passes a packet on, itself or in another form, or drops it: `None`. Runs for
    /// each packet, on any CPU; must not sleep.
    fn pass(epoch: &NetEpoch<'_>, packet: Mbuf) -> Option<Mbuf>;
}

/// A hook of one network stack. Dropping it takes it out and waits until no packet is
/// in it.
pub(crate) struct Hook<F: Filter> {
    hook: NonNull<c::pfil_hook>,
    filter: PhantomData<fn(F)>,
}

// SAFETY: the kernel's own object, under its own lock; no thread is bound to it.
unsafe impl<F: Filter> Send for Hook<F> {}

impl<F: Filter> Hook<F> {
    /// Adds the hook to the current network stack and links it to the layer's own point,
    /// both ways. It must be dropped while the same one is current.
    ///
    /// # Errors
    /// What pfil(9) said.
    pub(crate) fn link(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> Result<Self, Errno> {
        let mut args = c::pfil_hook_args {
            pa_version: c::PFIL_VERSION as c_int,
            pa_flags: (c::PFIL_IN | c::PFIL_OUT) as c_int,
            pa_type: F::LAYER.kind(),
            pa_mbuf_chk: Some(check::<F>),
            pa_mem_chk: None,
            pa_ruleset: ptr::null_mut(),
            pa_modname: c"weft".as_ptr(),
            pa_rulname: F::NAME.as_ptr(),
        };
        // SAFETY: the names are static, and `check` takes what the kernel gives. The
        // caller may sleep.
        let hook = NonNull::new(unsafe { c::pfil_add_hook(&raw mut args) }).ok_or(Errno::ENOMEM)?;
        let hook = Self {
            hook,
            filter: PhantomData,
        };
        // SAFETY: zero is a value of each field; the hook and the name are there.
        Errno::check(unsafe {
            let mut link: c::pfil_link_args = core::mem::zeroed();
            link.pa_version = c::PFIL_VERSION as c_int;
            link.pa_flags = (c::PFIL_IN | c::PFIL_OUT | c::PFIL_HOOKPTR) as c_int;
            link.__bindgen_anon_1.pa_headname = F::LAYER.head().as_ptr();
            link.__bindgen_anon_2.pa_hook = hook.hook.as_ptr();
            c::pfil_link(&raw mut link)
        })?;
        Ok(hook)
    }
}

impl<F: Filter> Drop for Hook<F> {
    fn drop(&mut self) {
        // SAFETY: added by `link`, in this network stack. Packets run through hooks in
        // the network epoch, whose end the second call waits for.
        unsafe { c::pfil_remove_hook(self.hook.as_ptr()) };
        // SAFETY: hooks are dropped by who may sleep: nothing else has a way to them.
        drain_net_epoch_callbacks(&mut unsafe { Sleepable::assume() });
    }
}

/// What the kernel calls for a packet.
unsafe extern "C" fn check<F: Filter>(
    place: *mut *mut c::mbuf,
    _interface: *mut c::ifnet,
    _flags: c_int,
    _ruleset: *mut c_void,
    _pcb: *mut c::inpcb,
) -> c::pfil_return_t {
    // SAFETY: the kernel calls in the network epoch, and gives the packet away until this
    // returns; null in its place says that it is gone.
    unsafe {
        let packet = Mbuf::from_raw(NonNull::new_unchecked(*place));
        *place = ptr::null_mut();
        match F::pass(&NetEpoch::assume(), packet) {
            Some(packet) => {
                *place = packet.into_raw().as_ptr();
                c::PFIL_PASS
            }
            None => c::PFIL_DROPPED,
        }
    }
}
