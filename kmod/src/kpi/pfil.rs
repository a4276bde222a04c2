// SPDX-License-Identifier: BSD-2-Clause
//! Packet filter hooks, pfil(9). Header: `net/pfil.h`.

use alloc::boxed::Box;
use core::ffi::{CStr, c_int, c_void};
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Sleepable, Vnet};
use super::epoch::drain_net_epoch_callbacks;
use super::errno::Errno;
use super::ifnet::Port;
use super::mbuf::Mbuf;
use super::memory::try_box;
use super::shared::Shared;
use super::text::Text;

/// What packets a hook is for.
#[derive(Clone, Copy)]
pub(crate) enum Layer {
    #[cfg(feature = "test")]
    Inet,
    Inet6,
    Ethernet,
}

impl Layer {
    fn kind(self) -> c::pfil_types {
        match self {
            #[cfg(feature = "test")]
            Layer::Inet => c::PFIL_TYPE_IP4,
            Layer::Inet6 => c::PFIL_TYPE_IP6,
            Layer::Ethernet => c::PFIL_TYPE_ETHERNET,
        }
    }

    /// The kernel's own point at which all packets of the layer pass.
    fn head(self) -> &'static CStr {
        match self {
            #[cfg(feature = "test")]
            Layer::Inet => c"inet",
            Layer::Inet6 => c"inet6",
            Layer::Ethernet => c"ethernet",
        }
    }
}

/// Where a packet passes.
pub(crate) struct Point {
    ifp: *mut c::ifnet,
    flags: c_int,
}

impl Point {
    /// Whether it comes from, or goes to, that interface.
    #[inline]
    pub(crate) fn is_at(&self, port: &Port) -> bool {
        ptr::eq(self.ifp, port.raw_ifnet().as_ptr())
    }

    /// The interface's address.
    #[inline]
    pub(super) fn interface(&self) -> usize {
        self.ifp.addr()
    }

    /// Whether it was received, and is not to be sent.
    #[inline]
    pub(crate) fn is_inward(&self) -> bool {
        self.flags & c::PFIL_IN as c_int != 0
    }

    /// Whether it was received for another node, and is to be sent on.
    #[inline]
    pub(crate) fn is_forwarded(&self) -> bool {
        self.flags & c::PFIL_FWD as c_int != 0
    }
}

/// What becomes of a packet.
pub(crate) enum Fate {
    /// It passes, itself or in another form.
    Passed(Mbuf),
    /// It is gone, and its sender is told so.
    Dropped,
    /// It has gone another way.
    Taken,
}

/// What looks at packets, both ways.
pub(crate) trait Filter: Send + Sync + 'static {
    /// What it looks at.
    const LAYER: Layer;
    /// Whether it comes behind those that are linked already, and not in front of them.
    const IS_LAST: bool = false;

    /// Whether a packet passes as it is, by a short look at its front. Runs before
    /// [`pass`](Filter::pass), as that does; where this is not said, that decides.
    #[inline(always)]
    fn lets_pass(&self, _packet: &Mbuf, _point: &Point) -> bool {
        false
    }

    /// Decides on a packet. Runs for each packet, on any CPU; must not sleep.
    fn pass(&self, epoch: &NetEpoch<'_>, packet: Mbuf, point: &Point) -> Fate;
}

/// A hook of one network stack. Dropping it takes it out and waits until no packet is
/// in it.
pub(crate) struct Hook<F: Filter> {
    hook: NonNull<c::pfil_hook>,
    _name: Box<Text<NAME>>,
    _filter: Shared<F>,
}

/// Bytes of a hook's name, its NUL included.
pub(crate) const NAME: usize = 32;

// SAFETY: the kernel's own object, under its own lock; no thread is bound to it.
unsafe impl<F: Filter> Send for Hook<F> {}

impl<F: Filter> Hook<F> {
    /// Adds the hook to the current network stack, under a name that pfilctl(8) shows
    /// after `weft:` and can link. It must be dropped while the same network stack is
    /// current.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn add(
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        name: Text<NAME>,
        filter: Shared<F>,
    ) -> Result<Self, Errno> {
        let name = try_box(name).map_err(|_| Errno::ENOMEM)?;
        let mut args = c::pfil_hook_args {
            pa_version: c::PFIL_VERSION as c_int,
            pa_flags: (c::PFIL_IN | c::PFIL_OUT) as c_int,
            pa_type: F::LAYER.kind(),
            pa_mbuf_chk: Some(check::<F>),
            pa_mem_chk: None,
            pa_ruleset: filter.address().as_ptr().cast(),
            pa_modname: c"weft".as_ptr(),
            pa_rulname: name.as_c_str().as_ptr(),
        };
        // SAFETY: the hook's owner keeps the name and the filter, and `check` takes what
        // the kernel gives. The caller may sleep.
        let hook = NonNull::new(unsafe { c::pfil_add_hook(&raw mut args) }).ok_or(Errno::ENOMEM)?;
        Ok(Self {
            hook,
            _name: name,
            _filter: filter,
        })
    }

    /// As [`add`](Hook::add), and links it to the layer's own point, both ways.
    ///
    /// # Errors
    /// `ENOMEM`, or what pfil(9) said.
    pub(crate) fn link(
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        name: Text<NAME>,
        filter: Shared<F>,
    ) -> Result<Self, Errno> {
        let hook = Self::add(sleepable, vnet, name, filter)?;
        // The kernel appends to the outer end, which is the last way in and the first out.
        let (inward, outward) = match F::IS_LAST {
            true => (c::PFIL_IN | c::PFIL_APPEND, c::PFIL_OUT),
            false => (c::PFIL_IN, c::PFIL_OUT),
        };
        for flags in [inward, outward] {
            // SAFETY: zero is a value of each field; the hook and the name are there.
            Errno::check(unsafe {
                let mut link: c::pfil_link_args = core::mem::zeroed();
                link.pa_version = c::PFIL_VERSION as c_int;
                link.pa_flags = (flags | c::PFIL_HOOKPTR) as c_int;
                link.__bindgen_anon_1.pa_headname = F::LAYER.head().as_ptr();
                link.__bindgen_anon_2.pa_hook = hook.hook.as_ptr();
                c::pfil_link(&raw mut link)
            })?;
        }
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
    ifp: *mut c::ifnet,
    flags: c_int,
    filter: *mut c_void,
    _pcb: *mut c::inpcb,
) -> c::pfil_return_t {
    // SAFETY: the kernel calls in the network epoch, with a packet in the place and the filter
    // of a hook that is there. The packet is only lent to the first look.
    unsafe {
        let filter = &*filter.cast::<F>();
        let point = Point { ifp, flags };
        let packet = ManuallyDrop::new(Mbuf::from_raw(NonNull::new_unchecked(*place)));
        match filter.lets_pass(&packet, &point) {
            true => c::PFIL_PASS,
            false => decide(place, filter, &point),
        }
    }
}

/// Has a filter decide.
///
/// # Safety
/// In the network epoch, with a packet in the place that is given away until this returns; null
/// in its place then says that it is gone.
#[inline(never)]
unsafe fn decide<F: Filter>(
    place: *mut *mut c::mbuf,
    filter: &F,
    point: &Point,
) -> c::pfil_return_t {
    // SAFETY: as promised.
    unsafe {
        let packet = Mbuf::from_raw(NonNull::new_unchecked(*place));
        *place = ptr::null_mut();
        match filter.pass(&NetEpoch::assume(), packet, point) {
            Fate::Passed(packet) => {
                *place = packet.into_raw().as_ptr();
                c::PFIL_PASS
            }
            Fate::Dropped => c::PFIL_DROPPED,
            Fate::Taken => c::PFIL_CONSUMED,
        }
    }
}
