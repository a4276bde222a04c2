// SPDX-License-Identifier: BSD-2-Clause
//! Ethernet interfaces, ifnet(9). Headers: `net/if_var.h`, `net/if.h`.
//!
//! An interface of the module's is a value that implements [`Interface`], and that the
//! kernel owns from [`Unattached::attach`] to [`detach`]. It is reached by way of the
//! kernel's `struct ifnet`, whose memory a [`Port`] keeps.
//!
//! # Why nobody finds an interface that is gone
//!
//! Packets and [jobs](super::worker::Job) find the value in the network epoch, by the
//! pointer in the ifnet; requests find it while they are counted in `CONTROLS`. [`detach`]
//! has the kernel take the ifnet out of everything, then clears the pointer, then waits
//! for the end of all sections of the epoch, and of all requests. What the kernel leaves
//! out when a whole network stack goes (`if_dead`), nothing here rests on.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use weft_bindings::kernel as c;
use weft_engine::link::{self, Capabilities};

use super::context::{NetEpoch, Sleepable, Vnet};
use super::counter;
use super::epoch::{NetEpochs, surely_in_net_epoch};
use super::errno::{Errno, returned};
use super::kernel;
use super::link::Handle;
use super::mbuf::{Mbuf, Row};
use super::memory::try_box;
use super::shared::Shared;
use super::worker::{Job, Workers};
use weft_engine::queue::Sections;

/// What an Ethernet interface does.
pub(crate) trait Interface: Send + Sync + 'static {
    /// Sends a frame, or says why not; then the frame is gone. May be called on many
    /// threads at once, with locks of the protocols' held: does not sleep.
    ///
    /// # Errors
    /// `ENOBUFS` if it is to be tried again later.
    fn transmit(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno>;

    /// Does the [job](super::worker::Job) of that number.
    fn work(&self, number: usize, epoch: &NetEpoch<'_>);

    /// Ends what reaches it by other ways than the kernel's, before it is taken out of the
    /// system.
    fn retire(&self, sleepable: &mut Sleepable);

    /// Enables what it can of the capabilities that are wanted.
    fn enable(&self, sleepable: &mut Sleepable, wanted: Capabilities);

    /// Its addresses, or the groups that it has joined, are others now. Does not sleep.
    fn changed(&self, _epoch: &NetEpoch<'_>) {}

    /// The largest MTU that it may be given, in bytes.
    fn largest_mtu(&self, _epoch: &NetEpoch<'_>) -> u32 {
        u32::MAX
    }

    /// Whether there is hardware behind it, which follows what is set, and counts by
    /// [itself](Interface::counted).
    const HAS_HARDWARE: bool = false;

    /// What it has counted beyond [`Port::count`]. Of an interface with hardware only.
    fn counted(&self, _counter: Counter, _epoch: &NetEpoch<'_>) -> u64 {
        0
    }

    /// It is to be up or down, or to receive all frames, as its [flags](Port::flags) say. Of
    /// an interface with hardware only.
    ///
    /// # Errors
    /// Why it can't be; it is down then.
    fn turned(&self, _sleepable: &mut Sleepable) -> Result<(), Errno> {
        Ok(())
    }

    /// It is to have that MTU. Of an interface with hardware only.
    ///
    /// # Errors
    /// Why not; it has the one that it had.
    fn resize(&self, _sleepable: &mut Sleepable, _mtu: u32) -> Result<(), Errno> {
        Ok(())
    }
}

/// What the administrator and programs want of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    /// To go.
    pub(crate) up: bool,
    /// To receive all frames.
    pub(crate) promiscuous: bool,
    /// To receive all groups' frames.
    pub(crate) all_groups: bool,
}

/// Requests that may have found an interface.
static CONTROLS: AtomicU32 = AtomicU32::new(0);

/// What an interface counts of itself; the kernel counts received bytes.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Frames received.
    Received,
    /// Frames received and dropped.
    ReceivedDropped,
    /// Frames sent.
    Sent,
    /// Bytes sent.
    SentBytes,
    /// Frames sent to more than one.
    SentMulticast,
    /// Frames that could not be sent.
    SendErrors,
    /// Frames that found no room.
    SendDropped,
    /// Frames that came broken.
    ReceiveErrors,
}

impl Counter {
    const ALL: [Self; 8] = [
        Self::Received,
        Self::ReceivedDropped,
        Self::Sent,
        Self::SentBytes,
        Self::SentMulticast,
        Self::SendErrors,
        Self::SendDropped,
        Self::ReceiveErrors,
    ];

    /// The kernel's number of it.
    const fn kernels(self) -> c::ift_counter {
        match self {
            Self::Received => c::IFCOUNTER_IPACKETS,
            Self::ReceivedDropped => c::IFCOUNTER_IQDROPS,
            Self::Sent => c::IFCOUNTER_OPACKETS,
            Self::SentBytes => c::IFCOUNTER_OBYTES,
            Self::SentMulticast => c::IFCOUNTER_OMCASTS,
            Self::SendErrors => c::IFCOUNTER_OERRORS,
            Self::SendDropped => c::IFCOUNTER_OQDROPS,
            Self::ReceiveErrors => c::IFCOUNTER_IERRORS,
        }
    }
}

/// An interface's `struct ifnet`, for as long as this is there, though the interface may
/// be detached.
pub(crate) struct Port {
    ifp: NonNull<c::ifnet>,
}

// SAFETY: the kernel's interfaces are for all threads.
unsafe impl Send for Port {}
// SAFETY: as above.
unsafe impl Sync for Port {}

impl Port {
    /// # Safety
    /// The ifnet is there, and the caller gives one of its references away.
    pub(super) unsafe fn from_raw(ifp: NonNull<c::ifnet>) -> Self {
        Self { ifp }
    }

    pub(super) fn raw_ifnet(&self) -> NonNull<c::ifnet> {
        self.ifp
    }

    fn raw(&self) -> *mut c::ifnet {
        self.ifp.as_ptr()
    }

    /// A handle of its own.
    pub(crate) fn another(&self) -> Self {
        // SAFETY: there is a reference, this value's.
        unsafe { c::if_ref(self.raw()) };
        Self { ifp: self.ifp }
    }

    /// The value that is attached.
    ///
    /// # Safety
    /// What is attached, if anything, is an `I`.
    pub(super) unsafe fn attached<'e, I: Interface>(&self, _epoch: &NetEpoch<'e>) -> Option<&'e I> {
        // SAFETY: `detach` waits for the end of the epoch before it gives the value away.
        unsafe { c::if_getsoftc(self.raw()).cast::<I>().as_ref() }
    }

    /// Whether the administrator and the driver have it going. May change at any time.
    #[inline]
    pub(crate) fn is_going(&self) -> bool {
        // SAFETY: reads flags.
        unsafe { c::weft_shim_ifnet_is_going(self.raw()) }
    }

    /// Whether it is in the current network stack. May change at any time.
    pub(crate) fn is_here(&self, _vnet: &Vnet<'_>) -> bool {
        // SAFETY: reads and compares pointers.
        unsafe { ptr::eq(c::if_getvnet(self.raw()).cast(), c::weft_shim_curvnet()) }
    }

    /// Bytes of a frame's payload that it takes.
    #[inline]
    pub(crate) fn mtu(&self) -> u32 {
        // SAFETY: reads a number.
        unsafe { c::if_getmtu(self.raw()) as u32 }
    }

    /// What is enabled.
    pub(crate) fn enabled(&self) -> Capabilities {
        // SAFETY: reads a number.
        capabilities_of(unsafe { c::if_getcapenable(self.raw()) as u32 })
    }

    /// Enables just these, and tells what is on top of the interface.
    pub(crate) fn enable(&self, _sleepable: &mut Sleepable, capabilities: Capabilities) {
        // SAFETY: sets numbers; the caller may sleep for the lock of VLANs.
        unsafe {
            self.set_enabled(capabilities);
            c::if_vlancap(self.raw());
        }
    }

    /// What others have enabled, such as netmap(4), stays so.
    fn set_enabled(&self, capabilities: Capabilities) {
        // SAFETY: reads and sets numbers.
        unsafe {
            let others = c::if_getcapenable(self.raw()) as u32 & !bits_of(Capabilities::all());
            c::if_setcapenable(self.raw(), (others | bits_of(capabilities)) as c_int);
            c::if_sethwassist(self.raw(), assists_of(capabilities) as c_int);
        }
    }

    /// Goes up or down as far as the driver is concerned, and tells who listens.
    pub(crate) fn set_going(&self, going: bool) {
        let running = c::IFF_DRV_RUNNING as c_int;
        // SAFETY: sets flags, and asks the kernel's thread to tell.
        unsafe {
            if going {
                c::if_setdrvflagbits(self.raw(), running, 0);
                c::if_link_state_change(self.raw(), c::LINK_STATE_UP as c_int);
            } else {
                c::if_link_state_change(self.raw(), c::LINK_STATE_DOWN as c_int);
                c::if_setdrvflagbits(self.raw(), 0, running);
            }
        }
    }

    /// Goes or not, as far as the driver is concerned; the link has a state of its own.
    pub(crate) fn set_running(&self, running: bool) {
        let bit = c::IFF_DRV_RUNNING as c_int;
        let (set, clear) = if running { (bit, 0) } else { (0, bit) };
        // SAFETY: sets flags.
        unsafe { c::if_setdrvflagbits(self.raw(), set, clear) };
    }

    /// What is wanted of it.
    pub(crate) fn flags(&self) -> Flags {
        // SAFETY: reads flags.
        let flags = unsafe { c::if_getflags(self.raw()) } as u32;
        Flags {
            up: flags & c::IFF_UP != 0,
            promiscuous: flags & (c::IFF_PROMISC | c::IFF_PPROMISC) != 0,
            all_groups: flags & c::IFF_ALLMULTI != 0,
        }
    }

    /// Says how fast its link is, in bits a second.
    pub(crate) fn set_baudrate(&self, bits: u64) {
        // SAFETY: sets a number.
        unsafe { c::if_setbaudrate(self.raw(), bits) };
    }

    /// Whether there are VLANs on it, which must go first.
    pub(crate) fn has_vlans(&self) -> bool {
        // SAFETY: reads a pointer.
        unsafe { c::if_vlantrunkinuse(self.raw()) != 0 }
    }

    /// Counts.
    #[inline]
    pub(crate) fn count(&self, counter: Counter, more: u32) {
        if !counter::IS_ON {
            return;
        }
        // SAFETY: one of the kernel's counters of the interface.
        unsafe { c::if_inc_counter(self.raw(), counter.kernels(), i64::from(more)) };
    }

    /// Shows a frame that is being sent to bpf(4).
    #[inline]
    pub(crate) fn tap(&self, frame: &Mbuf, _epoch: &NetEpoch<'_>) {
        // SAFETY: in the epoch, and the frame is the caller's own.
        unsafe { c::weft_shim_ifnet_tap(self.raw(), frame.raw()) };
    }

    /// Looks whether a frame that is to be sent can be, which may be a segment that is cut
    /// later; counts it if not, and shows it to bpf(4) if so.
    ///
    /// # Errors
    /// `ENETDOWN`; or `ENOBUFS`, if it is longer than the MTU allows, as what was on its way
    /// while the MTU was lowered is: TCP sends that again, cut anew. By `E2BIG` a connection's
    /// program would learn of it, and by `EMSGSIZE` TCP would try at once, for as long as
    /// the route's MTU is larger.
    #[inline]
    pub(crate) fn admit(
        &self,
        frame: &Mbuf,
        is_segmented: bool,
        epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        let refused = if !self.is_going() {
            Errno::ENETDOWN
        } else if !is_segmented && link::is_too_long(frame.packet_len(), self.mtu()) {
            Errno::ENOBUFS
        } else {
            self.tap(frame, epoch);
            return Ok(());
        };
        self.count(Counter::SendErrors, 1);
        Err(refused)
    }

    /// Makes a frame that was sent one that this interface receives.
    #[inline]
    pub(crate) fn adopt(&self, frame: &mut Mbuf) {
        // SAFETY: the frame is the caller's own.
        unsafe { c::weft_shim_mbuf_hand_over(frame.raw(), self.raw()) };
    }

    /// Hands frames that it has [adopted](Port::adopt) to the stack, in the order in which
    /// they are. Holds no lock.
    pub(crate) fn input(&self, frames: Row) {
        let first = frames.into_raw();
        if first.is_null() {
            return;
        }
        // SAFETY: frames of the caller's own, in the epoch.
        surely_in_net_epoch(|_| unsafe { c::weft_shim_ifnet_input(self.raw(), first) });
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: gives up this value's reference.
        unsafe { c::if_rele(self.raw()) };
    }
}

/// What an interface is called and can do.
pub(crate) struct Plan {
    /// The cloner's name.
    pub(crate) cloner: &'static CStr,
    /// The unit's number.
    pub(crate) unit: u32,
    /// What it can do, and what of it is on.
    pub(crate) has: Capabilities,
    /// Of these.
    pub(crate) initial: Capabilities,
    /// Bits a second that it says it does.
    pub(crate) baudrate: u64,
    /// The longest segment of TCP that it takes, headers but Ethernet's included, in bytes.
    pub(crate) longest_segment: u32,
}

/// An interface that is not in the system yet, or no more. Dropping it frees its ifnet.
pub(crate) struct Unattached<I: Interface> {
    port: Port,
    of: PhantomData<fn() -> I>,
}

impl<I: Interface> Unattached<I> {
    /// An interface in the current network stack, and its name.
    pub(crate) fn new(_sleepable: &mut Sleepable, plan: &Plan, name: &CStr) -> Self {
        // SAFETY: the caller may sleep, and a cloner's `curvnet` is set. The cloner's name
        // is static; the kernel copies the other.
        unsafe {
            let ifp = NonNull::new_unchecked(c::if_alloc(c::WEFT_IFT_ETHER as u8));
            c::if_initname(ifp.as_ptr(), plan.cloner.as_ptr(), plan.unit as c_int);
            c::if_setname(ifp.as_ptr(), name.as_ptr());
            let flags = c::IFF_BROADCAST | c::IFF_SIMPLEX | c::IFF_MULTICAST;
            c::if_setflags(ifp.as_ptr(), flags as c_int);
            c::if_setcapabilities(ifp.as_ptr(), bits_of(plan.has) as c_int);
            c::if_setbaudrate(ifp.as_ptr(), plan.baudrate);
            c::if_sethwtsomax(ifp.as_ptr(), plan.longest_segment);
            c::if_settransmitfn(ifp.as_ptr(), Some(transmit::<I>));
            c::if_setqflushfn(ifp.as_ptr(), Some(flush));
            c::if_setioctlfn(ifp.as_ptr(), Some(control::<I>));
            c::if_setinitfn(ifp.as_ptr(), Some(init));
            if I::HAS_HARDWARE {
                c::if_setgetcounterfn(ifp.as_ptr(), Some(counted::<I>));
            }
            c::if_ref(ifp.as_ptr());
            let port = Port { ifp };
            port.set_enabled(plan.initial);
            Self {
                port,
                of: PhantomData,
            }
        }
    }

    /// The interface's ifnet.
    pub(crate) fn port(&self) -> Port {
        self.port.another()
    }

    /// One of the interface's jobs, for the worker of the same number.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn job(&self, workers: &Shared<Workers>, number: usize) -> Result<Job, Errno> {
        // SAFETY: only as an `I` is this port ever attached.
        unsafe { Job::new::<I>(workers, self.port(), number) }
    }

    /// In how many pieces it takes a long segment, and how many bytes each may have.
    pub(crate) fn limit_pieces(&self, count: u32, bytes: u32) {
        // SAFETY: sets numbers of an ifnet that is not in the system yet.
        unsafe {
            c::if_sethwtsomaxsegcount(self.port.raw(), count);
            c::if_sethwtsomaxsegsize(self.port.raw(), bytes);
        }
    }

    /// Puts it into the system with that hardware address, to be taken out by its owner.
    pub(crate) fn put_in(
        self,
        sleepable: &mut Sleepable,
        interface: Box<I>,
        address: [u8; 6],
    ) -> InSystem<I> {
        InSystem {
            ifp: self.attach_as(sleepable, interface, address),
            of: PhantomData,
        }
    }

    /// A way to the interface, when it is attached.
    pub(crate) fn handle(&self) -> Handle<I> {
        // SAFETY: only as an `I` is this port ever attached.
        unsafe { Handle::new(self.port()) }
    }

    /// Puts it into the system, with an address of its own that is the same each time for
    /// this host, jail and name.
    pub(super) fn attach(self, sleepable: &mut Sleepable, interface: Box<I>) -> NonNull<c::ifnet> {
        let mut address = MaybeUninit::<c::ether_addr>::zeroed();
        // SAFETY: writes the address, all bytes of which are values.
        let address = unsafe {
            c::ether_gen_addr(self.port.raw(), address.as_mut_ptr());
            address.assume_init()
        };
        self.attach_as(sleepable, interface, address.octet)
    }

    /// Puts it into the system with that hardware address.
    pub(super) fn attach_as(
        self,
        _sleepable: &mut Sleepable,
        interface: Box<I>,
        address: [u8; 6],
    ) -> NonNull<c::ifnet> {
        let ifp = self.port.ifp;
        mem::forget(self);
        // SAFETY: the caller may sleep; the ifnet is complete, and `detach` gets back what
        // is put into it. The reference that `new` took stays with it.
        unsafe {
            c::if_setsoftc(ifp.as_ptr(), Box::into_raw(interface).cast());
            // It is in the system for a moment before that sets this itself.
            c::if_setoutputfn(ifp.as_ptr(), Some(c::ether_output));
            c::ether_ifattach(ifp.as_ptr(), address.as_ptr());
        }
        ifp
    }
}

impl<I: Interface> Drop for Unattached<I> {
    fn drop(&mut self) {
        // SAFETY: attached to nothing; the port has a reference of its own.
        unsafe { c::if_free(self.port.raw()) };
    }
}

/// That an interface is in the system, of which its owner can take it out. To drop this
/// leaves it there.
pub(crate) struct InSystem<I: Interface> {
    ifp: NonNull<c::ifnet>,
    of: PhantomData<fn() -> I>,
}

// SAFETY: the kernel's interfaces are for all threads.
unsafe impl<I: Interface> Send for InSystem<I> {}
// SAFETY: as above.
unsafe impl<I: Interface> Sync for InSystem<I> {}

impl<I: Interface> InSystem<I> {
    /// The interface's ifnet.
    pub(super) fn port(&self) -> Port {
        // SAFETY: in the system, so there are references.
        unsafe { c::if_ref(self.ifp.as_ptr()) };
        Port { ifp: self.ifp }
    }

    /// Takes it out: what it was, and its ifnet.
    pub(crate) fn take_out(self, sleepable: &mut Sleepable) -> Option<(Box<I>, Unattached<I>)> {
        // SAFETY: put in as an `I`; there is one such value of it, so nobody else does this.
        unsafe { detach::<I>(sleepable, self.ifp) }
    }
}

/// Takes an interface out of the system: what it was, and its ifnet. `None` if that was
/// done before.
///
/// # Safety
/// The ifnet came from [`Unattached::attach`] of the same type, was not freed, and no other
/// thread detaches it.
pub(super) unsafe fn detach<I: Interface>(
    sleepable: &mut Sleepable,
    ifp: NonNull<c::ifnet>,
) -> Option<(Box<I>, Unattached<I>)> {
    // SAFETY: attached until here, and reached by nobody when the value is taken, as the
    // head of this file says.
    unsafe {
        let interface = NonNull::new(c::if_getsoftc(ifp.as_ptr()).cast::<I>())?;
        interface.as_ref().retire(sleepable);
        let port = Port { ifp };
        port.set_going(false);
        c::ether_ifdetach(ifp.as_ptr());
        c::if_setsoftc(ifp.as_ptr(), ptr::null_mut());
        NetEpochs.wait();
        while CONTROLS.load(Ordering::SeqCst) > 0 {
            kernel::pause_ms(sleepable, 1);
        }
        let unattached = Unattached {
            port,
            of: PhantomData,
        };
        Some((Box::from_raw(interface.as_ptr()), unattached))
    }
}

/// Whether an ifnet of this module's has nothing attached to it.
///
/// # Safety
/// The ifnet is there.
pub(super) unsafe fn is_bare(ifp: NonNull<c::ifnet>) -> bool {
    // SAFETY: reads a pointer.
    unsafe { c::if_getsoftc(ifp.as_ptr()).is_null() }
}

unsafe extern "C" fn transmit<I: Interface>(ifp: *mut c::ifnet, frame: *mut c::mbuf) -> c_int {
    let Some(frame) = NonNull::new(frame) else {
        return 0;
    };
    // SAFETY: a frame that the kernel gives away; the ifnet is there during the call, so
    // no reference is needed, and only an `I` is attached to it.
    returned(surely_in_net_epoch(|epoch| unsafe {
        let frame = Mbuf::from_raw(frame);
        match c::if_getsoftc(ifp).cast::<I>().as_ref() {
            Some(interface) => interface.transmit(frame, epoch),
            None => Err(Errno::ENXIO),
        }
    }))
}

/// What the kernel has counted of an interface, and the interface.
unsafe extern "C" fn counted<I: Interface>(ifp: *mut c::ifnet, which: c::ift_counter) -> u64 {
    // SAFETY: the ifnet is there during the call, and only an `I` is attached to it.
    let (by_kernel, more) = unsafe {
        let counter = Counter::ALL.iter().find(|one| one.kernels() == which);
        let more = visit::<I, u64>(ifp, |interface, epoch| {
            counter.map_or(0, |&counter| interface.counted(counter, epoch))
        });
        (c::if_get_counter_default(ifp, which), more.unwrap_or(0))
    };
    by_kernel.wrapping_add(more)
}

/// What is queued is the other side's already.
unsafe extern "C" fn flush(_ifp: *mut c::ifnet) {}

/// There is nothing to be started.
unsafe extern "C" fn init(_softc: *mut c_void) {}

/// A request of ifconfig(8)'s or the stack's, in a thread that may sleep.
unsafe extern "C" fn control<I: Interface>(
    ifp: *mut c::ifnet,
    request: c_ulong,
    data: *mut c_char,
) -> c_int {
    // SAFETY: the kernel passes the data that go with the request. The thread may sleep
    // where a request looks into the value; the stack's own requests do not.
    unsafe {
        match request as u32 {
            c::WEFT_SIFFLAGS if I::HAS_HARDWARE => {
                returned(stay::<I>(ifp, |interface, sleepable| {
                    interface.turned(sleepable)
                }))
            }
            c::WEFT_SIFFLAGS | c::WEFT_ADDMULTI | c::WEFT_DELMULTI => {
                visit::<I, ()>(ifp, |interface, epoch| interface.changed(epoch));
                0
            }
            c::WEFT_SIFADDR => {
                let tell = || visit::<I, ()>(ifp, |interface, epoch| interface.changed(epoch));
                tell();
                if I::HAS_HARDWARE {
                    rise::<I>(ifp);
                }
                let error = c::ether_ioctl(ifp, request, data);
                if I::HAS_HARDWARE {
                    // It is up now, if by no other way.
                    tell();
                }
                error
            }
            c::WEFT_SIFMTU => {
                let mtu = c::weft_shim_ifreq_mtu(data.cast());
                let largest = visit::<I, u32>(ifp, |interface, epoch| interface.largest_mtu(epoch));
                match largest {
                    Some(largest) if mtu as u32 <= largest => {}
                    _ => return Errno::EINVAL.number(),
                }
                let resized = match I::HAS_HARDWARE {
                    true => stay::<I>(ifp, |one, sleepable| one.resize(sleepable, mtu as u32)),
                    false => Ok(()),
                };
                match resized {
                    Ok(()) => c::if_setmtu(ifp, mtu),
                    Err(error) => error.number(),
                }
            }
            c::WEFT_SIFCAP => {
                let wanted = capabilities_of(c::weft_shim_ifreq_reqcap(data.cast()) as u32);
                returned(stay::<I>(ifp, |interface, sleepable| {
                    interface.enable(sleepable, wanted);
                    Ok(())
                }))
            }
            c::WEFT_SIFMEDIA | c::WEFT_GIFMEDIA | c::WEFT_GIFXMEDIA => {
                media(ifp, request, data, I::HAS_HARDWARE)
            }
            _ => c::ether_ioctl(ifp, request, data),
        }
    }
}

/// Turns on an interface that is given an address, as ether_ioctl() is about to, and has it go
/// before the kernel announces that address and whoever gave it sends. A thread that must not
/// sleep, as one that has got an advertisement of a router's, leaves it to
/// [`changed`](Interface::changed).
///
/// # Safety
/// The ifnet is there, an `I` or nothing is attached to it, and the thread has no lock with which
/// it must not sleep.
unsafe fn rise<I: Interface>(ifp: *mut c::ifnet) {
    // SAFETY: reads and sets flags; the thread may sleep if it is not in an epoch.
    unsafe {
        c::if_setflags(ifp, c::if_getflags(ifp) | c::IFF_UP as c_int);
        if !c::weft_shim_ifnet_is_going(ifp) && c::weft_shim_can_sleep() {
            // It has been logged why it does not go. The address is there all the same.
            let _ = stay::<I>(ifp, |interface, sleepable| interface.turned(sleepable));
        }
    }
}

/// Looks into an interface, if it is attached.
///
/// # Safety
/// The ifnet is there, and an `I` or nothing is attached to it.
pub(super) unsafe fn visit<I: Interface, R>(
    ifp: *mut c::ifnet,
    look: impl FnOnce(&I, &NetEpoch<'_>) -> R,
) -> Option<R> {
    surely_in_net_epoch(|epoch| {
        // SAFETY: `detach` waits for the end of the epoch before it gives the value away.
        let interface = unsafe { c::if_getsoftc(ifp).cast::<I>().as_ref() };
        interface.map(|interface| look(interface, epoch))
    })
}

/// Has an interface do something for which it may sleep, if it is attached.
///
/// # Safety
/// The ifnet is there, an `I` or nothing is attached to it, and the thread may sleep.
pub(super) unsafe fn stay<I: Interface>(
    ifp: *mut c::ifnet,
    what: impl FnOnce(&I, &mut Sleepable) -> Result<(), Errno>,
) -> Result<(), Errno> {
    CONTROLS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: `detach` waits until nobody is counted before it gives the value away.
    let result = unsafe {
        let interface = c::if_getsoftc(ifp).cast::<I>().as_ref();
        interface.map(|interface| what(interface, &mut Sleepable::assume()))
    };
    CONTROLS.fetch_sub(1, Ordering::SeqCst);
    result.unwrap_or(Err(Errno::ENXIO))
}

/// Tells the one medium that a link without hardware has, or what that of a card is by what
/// the interface says of itself.
///
/// # Safety
/// As for a request of that kind.
unsafe fn media(ifp: *mut c::ifnet, request: c_ulong, data: *mut c_char, is_card: bool) -> c_int {
    let Ok(media) = try_box(UnsafeCell::new(MaybeUninit::<c::ifmedia>::zeroed())) else {
        return Errno::ENOMEM.number();
    };
    let media = media.get().cast();
    // SAFETY: memory of its own, set up and emptied again.
    unsafe {
        c::weft_shim_ifmedia_init(media, is_card);
        let error = c::ifmedia_ioctl(ifp, data.cast(), media, request);
        c::ifmedia_removeall(media);
        error
    }
}

/// The kernel's bit of each capability.
const CAPABILITIES: [(Capabilities, u32); 14] = [
    (Capabilities::FILL_IPV4, c::WEFT_IFCAP_TXCSUM),
    (Capabilities::FILL_IPV6, c::WEFT_IFCAP_TXCSUM_IPV6),
    (Capabilities::CHECK_IPV4, c::WEFT_IFCAP_RXCSUM),
    (Capabilities::CHECK_IPV6, c::WEFT_IFCAP_RXCSUM_IPV6),
    (Capabilities::SEGMENT_IPV4, c::WEFT_IFCAP_TSO4),
    (Capabilities::SEGMENT_IPV6, c::WEFT_IFCAP_TSO6),
    (Capabilities::VLAN_MTU, c::WEFT_IFCAP_VLAN_MTU),
    (Capabilities::VLAN_TAG, c::WEFT_IFCAP_VLAN_HWTAGGING),
    (Capabilities::VLAN_FILL, c::WEFT_IFCAP_VLAN_HWCSUM),
    (Capabilities::VLAN_SEGMENT, c::WEFT_IFCAP_VLAN_HWTSO),
    (Capabilities::JUMBO, c::WEFT_IFCAP_JUMBO_MTU),
    (Capabilities::STATE, c::WEFT_IFCAP_LINKSTATE),
    (Capabilities::JOIN, c::WEFT_IFCAP_LRO),
    (Capabilities::VLAN_FILTER, c::WEFT_IFCAP_VLAN_HWFILTER),
];

/// What the stack may leave to an interface that has a capability.
const ASSISTS: [(Capabilities, u32); 4] = [
    (Capabilities::FILL_IPV4, c::CSUM_IP_TCP | c::CSUM_IP_UDP),
    (Capabilities::FILL_IPV6, c::CSUM_IP6_TCP | c::CSUM_IP6_UDP),
    (Capabilities::SEGMENT_IPV4, c::CSUM_IP_TSO),
    (Capabilities::SEGMENT_IPV6, c::CSUM_IP6_TSO),
];

pub(super) fn capabilities_of(bits: u32) -> Capabilities {
    let named = CAPABILITIES.iter().filter(|(_, bit)| bits & bit != 0);
    named.fold(Capabilities::empty(), |all, (one, _)| all | *one)
}

fn mapped(capabilities: Capabilities, table: &[(Capabilities, u32)]) -> u32 {
    let there = table.iter().filter(|(one, _)| capabilities.contains(*one));
    there.fold(0, |all, (_, bits)| all | bits)
}

pub(super) fn bits_of(capabilities: Capabilities) -> u32 {
    mapped(capabilities, &CAPABILITIES)
}

fn assists_of(capabilities: Capabilities) -> u32 {
    mapped(capabilities, &ASSISTS)
}
