// SPDX-License-Identifier: BSD-2-Clause
//! What an interface on top of another one must know of both, and do with them, whoever's
//! driver the other one is. Headers: `net/if_var.h`, `netinet6/nd6.h`.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;
use weft_engine::l3::Mac;

use super::cloner::NAME_SIZE;
use super::context::{NetEpoch, Sleepable, Vnet};
use super::epoch::surely_in_net_epoch;
use super::errno::Errno;
use super::ifnet::{Interface, Port};
use super::mbuf::Mbuf;
use super::memory::collected;
use super::text::Text;

/// A way to an interface of the module's, which may not be attached yet, or no more.
pub(crate) struct Handle<I: Interface> {
    port: Port,
    of: PhantomData<fn() -> I>,
}

impl<I: Interface> Handle<I> {
    /// # Safety
    /// The port is attached as an `I` or not at all.
    pub(super) unsafe fn new(port: Port) -> Self {
        let of = PhantomData;
        Self { port, of }
    }

    /// The interface, for as long as the epoch lasts.
    #[inline]
    pub(crate) fn get<'e>(&self, epoch: &NetEpoch<'e>) -> Option<&'e I> {
        // SAFETY: as `new` was promised.
        unsafe { self.port.attached::<I>(epoch) }
    }

    /// Its ifnet.
    pub(crate) fn port(&self) -> &Port {
        &self.port
    }
}

impl<I: Interface> Clone for Handle<I> {
    fn clone(&self) -> Self {
        Self {
            port: self.port.another(),
            of: PhantomData,
        }
    }
}

/// How often it is tried to read a list that grows meanwhile.
const TRIES: usize = 4;

impl Port {
    /// The interface of that name in the current network stack.
    pub(crate) fn find(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, name: &CStr) -> Option<Self> {
        // SAFETY: reads a string; what is found is the caller's reference.
        let ifp = NonNull::new(unsafe { c::ifunit_ref(name.as_ptr()) })?;
        // SAFETY: as above.
        Some(unsafe { Self::from_raw(ifp) })
    }

    /// Its name, as of now.
    pub(crate) fn name(&self) -> Text<NAME_SIZE> {
        // SAFETY: reads a string that is there as long as the interface is.
        let name = unsafe { CStr::from_ptr(c::if_name(self.ptr())) };
        let name = core::str::from_utf8(name.to_bytes()).unwrap_or_default();
        Text::format(format_args!("{name}"))
    }

    /// Whether both are the same interface.
    #[inline]
    pub(crate) fn is(&self, other: &Port) -> bool {
        self.raw_ifnet() == other.raw_ifnet()
    }

    fn ptr(&self) -> *mut c::ifnet {
        self.raw_ifnet().as_ptr()
    }

    /// Whether it bears Ethernet: a card, a VLAN, or something else that acts like one.
    pub(crate) fn is_ethernet(&self) -> bool {
        // SAFETY: reads a number.
        let kind = unsafe { c::if_gettype(self.ptr()) } as u32;
        matches!(kind, c::WEFT_IFT_ETHER | c::WEFT_IFT_L2VLAN)
    }

    /// Whether a cloner of that name has made it.
    pub(crate) fn is_made_by(&self, cloner: &CStr) -> bool {
        // SAFETY: reads a string that is there as long as the interface is.
        unsafe {
            let name = c::if_getdname(self.ptr());
            !name.is_null() && CStr::from_ptr(name) == cloner
        }
    }

    /// The addresses of an interface that is attached, IPv4 first; those of link-local
    /// scope without a zone. Does not sleep.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn addresses(&self) -> Result<Vec<IpAddr>, Errno> {
        let mut room = 4;
        for _ in 0..TRIES {
            let mut places: Vec<c::weft_address> = collected(room, |_| Ok(NOWHERE))?;
            // SAFETY: so many places are there to be written.
            let count = unsafe {
                c::weft_shim_ifnet_addresses(self.ptr(), places.as_mut_ptr(), room as u32)
            } as usize;
            if let Some(found) = places.get(..count) {
                return collected(count, |n| found.get(n).map(address_of).ok_or(Errno::EINVAL));
            }
            room = count.saturating_add(4);
        }
        Err(Errno::ENOMEM)
    }

    /// The groups that an interface that is attached has joined. Does not sleep.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn groups(&self) -> Result<Vec<Mac>, Errno> {
        let mut room = 8;
        for _ in 0..TRIES {
            let mut places: Vec<Mac> = collected(room, |_| Ok([0; 6]))?;
            // SAFETY: so many places are there to be written.
            let count = unsafe {
                c::weft_shim_ifnet_groups(self.ptr(), places.as_mut_ptr().cast(), room as u32)
            } as usize;
            if count <= room {
                places.truncate(count);
                return Ok(places);
            }
            room = count.saturating_add(8);
        }
        Err(Errno::ENOMEM)
    }

    /// Whether it takes the frames of all groups.
    pub(crate) fn takes_all_groups(&self) -> bool {
        // SAFETY: reads flags.
        let flags = unsafe { c::if_getflags(self.ptr()) } as u32;
        flags & (c::IFF_ALLMULTI | c::IFF_PROMISC | c::IFF_PPROMISC) != 0
    }

    /// The hardware address of an interface that is attached.
    pub(crate) fn mac(&self, _epoch: &NetEpoch<'_>) -> Mac {
        let mut mac = [0; 6];
        // SAFETY: there is room for six bytes.
        unsafe { c::weft_shim_ifnet_mac(self.ptr(), mac.as_mut_ptr().cast()) };
        mac
    }

    /// Gives it another hardware address, and tells who listens. It is attached until
    /// this returns.
    pub(crate) fn set_mac(&self, _sleepable: &mut Sleepable, mac: Mac) {
        // SAFETY: the caller may sleep. The length is the same, so there is no error.
        let _ = unsafe { c::weft_shim_ifnet_set_mac(self.ptr(), mac.as_ptr().cast()) };
    }

    /// Gives it another MTU, and tells the protocols. It is attached until this returns.
    pub(crate) fn set_mtu(&self, _sleepable: &mut Sleepable, mtu: u32) {
        // SAFETY: the caller may sleep.
        unsafe { c::weft_shim_ifnet_set_mtu(self.ptr(), mtu as i32) };
    }

    /// Sends a frame as if the interface itself sent it. It is attached, which the epoch
    /// must have found.
    ///
    /// # Errors
    /// What the driver said.
    #[inline]
    pub(crate) fn send(&self, frame: Mbuf, _epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let frame = frame.into_raw().as_ptr();
        // SAFETY: in the epoch; the frame is given away.
        Errno::check(unsafe { c::weft_shim_ifnet_send(self.ptr(), frame) })
    }

    /// Has it receive the frames of all groups, or ends that. It is attached until this
    /// returns. Calls are counted.
    pub(crate) fn receive_all_groups(&self, _sleepable: &mut Sleepable, on: bool) {
        // SAFETY: the caller may sleep. A driver that refuses receives what it did.
        let _ = unsafe { c::weft_shim_ifnet_all_groups(self.ptr(), on) };
    }

    /// Has it form its own IPv6 addresses by RFC 7217. It is attached until this returns.
    pub(crate) fn take_opaque_addresses(&self, _sleepable: &mut Sleepable) {
        // SAFETY: the caller may sleep.
        unsafe { c::weft_shim_ifnet_opaque_addresses(self.ptr()) };
    }

    /// Forms its link-local address so, if it is to have one and has none yet. It is
    /// attached until this returns.
    pub(crate) fn form_link_local(&self, _sleepable: &mut Sleepable) {
        // SAFETY: the caller may sleep.
        unsafe { c::weft_shim_ifnet_link_local(self.ptr()) };
    }

    /// Whether its link is up, as far as it knows.
    pub(crate) fn has_link(&self) -> bool {
        // SAFETY: reads a number.
        unsafe { c::if_getlinkstate(self.ptr()) as u32 != c::LINK_STATE_DOWN }
    }

    /// Tells that its link is up or down.
    pub(crate) fn set_link(&self, up: bool) {
        let state = if up {
            c::LINK_STATE_UP
        } else {
            c::LINK_STATE_DOWN
        };
        // SAFETY: asks the kernel's thread to tell.
        unsafe { c::if_link_state_change(self.ptr(), state as i32) };
    }

    /// Runs `inside` with the interface's network stack as the current one. It is
    /// attached, and is not moved meanwhile.
    pub(crate) fn in_its_vnet<R>(
        &self,
        sleepable: &mut Sleepable,
        inside: impl for<'v> FnOnce(&mut Sleepable, &Vnet<'v>) -> R,
    ) -> R {
        // SAFETY: switched to what the interface is in, and back again, on this thread;
        // nothing that bears the token's lifetime is carried out.
        unsafe {
            let before = c::weft_shim_vnet_switch(c::if_getvnet(self.ptr()));
            let result = inside(sleepable, &Vnet::assume());
            c::weft_shim_vnet_switch(before);
            result
        }
    }
}

const NOWHERE: c::weft_address = c::weft_address {
    bytes: [0; 16],
    is_inet6: 0,
};

fn address_of(address: &c::weft_address) -> IpAddr {
    let [a, b, c, d, ..] = address.bytes;
    match address.is_inet6 {
        0 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(address.bytes)),
    }
}

/// What happens to any interface of the system's.
pub(crate) trait Watcher {
    /// It has come into a network stack.
    fn arrived(sleepable: &mut Sleepable, interface: &Port);

    /// It is leaving its network stack, which is current, for another one or for good.
    /// It is attached until this returns.
    fn departed(sleepable: &mut Sleepable, interface: &Port);

    /// It was turned on, and IPv6 does not know yet.
    fn turned_on(sleepable: &mut Sleepable, interface: &Port);

    /// Its addresses are others. Does not sleep.
    fn readdressed(epoch: &NetEpoch<'_>, interface: &Port);

    /// Its hardware address is another. Does not sleep.
    fn rewired(epoch: &NetEpoch<'_>, interface: &Port);

    /// Its link went up or down. Does not sleep.
    fn link_changed(epoch: &NetEpoch<'_>, interface: &Port);
}

/// That the module is told of all that. Dropping it waits until it is not being told.
pub(crate) struct Watch {
    tags: [*mut c::eventhandler_entry; c::WEFT_EVENTS as usize],
}

// SAFETY: the kernel's own objects, under its own locks; no thread is bound to them.
unsafe impl Send for Watch {}

impl Watch {
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn start(_sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let mut watch = Self {
            tags: [ptr::null_mut(); c::WEFT_EVENTS as usize],
        };
        // SAFETY: there is a place for each. What was registered goes with the value.
        match unsafe { c::weft_shim_interfaces_watch(watch.tags.as_mut_ptr()) } {
            true => Ok(watch),
            false => Err(Errno::ENOMEM),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: registered by `start`, and by this value only.
        unsafe { c::weft_shim_interfaces_unwatch(self.tags.as_mut_ptr()) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn weft_interface_event(ifp: *mut c::ifnet, event: c::weft_event) {
    let Some(ifp) = NonNull::new(ifp) else { return };
    // SAFETY: the kernel's interface, which is there during the call.
    let port = unsafe {
        c::if_ref(ifp.as_ptr());
        Port::from_raw(ifp)
    };
    told::<crate::l3::Follower>(&port, event);
}

fn told<W: Watcher>(port: &Port, event: c::weft_event) {
    // SAFETY: the kernel tells of the first three in threads that may sleep.
    let sleepable = || unsafe { Sleepable::assume() };
    match event {
        c::WEFT_EVENT_ARRIVED => W::arrived(&mut sleepable(), port),
        c::WEFT_EVENT_DEPARTED => W::departed(&mut sleepable(), port),
        c::WEFT_EVENT_UP => W::turned_on(&mut sleepable(), port),
        c::WEFT_EVENT_ADDRESS => surely_in_net_epoch(|epoch| W::readdressed(epoch, port)),
        c::WEFT_EVENT_MAC => surely_in_net_epoch(|epoch| W::rewired(epoch, port)),
        _ => surely_in_net_epoch(|epoch| W::link_changed(epoch, port)),
    }
}
