// SPDX-License-Identifier: BSD-2-Clause
//! What a driver says of its device. The order of calls is [`Port`](super::Port)'s:
//!
//! ```text
//! attach -> ( begin -> tx(0..n) -> rx(0..n) -> filter -> start -> ... -> stop -> queues dropped )*
//! ```
//!
//! `stop` comes after a `begin` that failed as well, and may come twice. A suspended or reset
//! device gets the same calls again.

use super::offload::{Meta, Offload, SegmentSums};
use super::platform::{FRONT, Platform, Segment};
use super::rss::Rss;
use super::vectors::{VectorKind, Vectors};
use crate::l3::Mac;
use crate::link::Capabilities;
use bitflags::bitflags;
use core::fmt;

/// Why a device is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no memory.
    NoMemory,
    /// A BAR, a vector or a capability is missing.
    NoResource(&'static str),
    /// The device is of a kind or version that the driver does not know.
    Unsupported(&'static str, u64),
    /// The device did not do what it must: what, and what it said.
    Broken(&'static str, u64),
    /// What is asked for can't be: what, the value.
    Invalid(&'static str, u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoMemory => f.write_str("there is no memory"),
            Self::NoResource(what) => write!(f, "there is no {what}"),
            Self::Unsupported(what, value) => write!(f, "{what} {value:#x} is not known"),
            Self::Broken(what, value) => write!(f, "the device failed at {what}, {value:#x}"),
            Self::Invalid(what, value) => write!(f, "{value} is not allowed as {what}"),
        }
    }
}

/// By what a device is known: vendor and device of PCI, and what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// PCI vendor.
    pub vendor: u16,
    /// PCI device.
    pub device: u16,
    /// For people.
    pub name: &'static str,
}

impl Id {
    /// A device of PCI.
    pub const fn new(vendor: u16, device: u16, name: &'static str) -> Self {
        Self {
            vendor,
            device,
            name,
        }
    }
}

bitflags! {
    /// What a device can do, beside [`Capabilities`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Extras: u32 {
        /// Puts segments of a TCP connection together (LRO).
        const LRO = 1 << 0;
        /// Takes only frames of VLANs that it was told of.
        const VLAN_FILTER = 1 << 1;
        /// Spreads flows over receive queues, by a key and a table.
        const RSS = 1 << 2;
        /// Says the hash by which it did.
        const HASH = 1 << 3;
        /// Its receive queues keep interrupts as far apart as [`RxRing::moderate`] says.
        const MODERATE = 1 << 4;
        /// Finds by itself how far interrupts are kept apart.
        const MODERATES_ITSELF = 1 << 5;
    }
}

/// Numbers from one to another, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: u16,
    /// The most.
    pub most: u16,
    /// Every value is a multiple of this; if it is 0, a power of two.
    pub step: u16,
    /// If nobody says anything.
    pub usual: u16,
}

impl Range {
    /// Multiples of `step` from `least` to `most`.
    pub const fn new(least: u16, most: u16, step: u16, usual: u16) -> Self {
        Self {
            least,
            most,
            step,
            usual,
        }
    }

    /// The value that is allowed, and not above what is wanted unless that is below the least.
    pub fn fit(&self, wanted: u16) -> u16 {
        let within = wanted.min(self.most).max(self.least);
        match self.step {
            0 => 1 << (15 - within.max(1).leading_zeros()),
            step => within.wrapping_sub(within.checked_rem(step).unwrap_or(0)),
        }
        .max(self.least)
    }
}

/// What a transmit queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pieces of a frame, at most [`MOST_SEGMENTS`](super::MOST_SEGMENTS).
    pub segments: u16,
    /// Bytes of a piece.
    pub segment_bytes: u32,
    /// Bytes of a frame that the device cuts, with headers; 0 if it cuts none.
    pub longest: u32,
    /// Which sum it wants in a segment that it cuts.
    pub sums: SegmentSums,
}

/// What a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its own address.
    pub mac: Mac,
    /// What it does for frames.
    pub capabilities: Capabilities,
    /// What it does beside.
    pub extras: Extras,
    /// What of that is on if nobody says anything.
    pub usual_extras: Extras,
    /// Transmit queues at most, 1 or more.
    pub tx_queues: u16,
    /// Receive queues at most, 1 or more.
    pub rx_queues: u16,
    /// Descriptors of a transmit queue.
    pub tx_slots: Range,
    /// Descriptors of a receive queue.
    pub rx_slots: Range,
    /// The longest MTU.
    pub most_mtu: u32,
    /// What a transmit queue takes.
    pub limits: Limits,
    /// Interrupts that it can use of its own at most.
    pub vectors: u16,
    /// Mb/s that are said while the device does not.
    pub mbps: u32,
}

/// What a device is to be, from [`begin`](Nic::begin) to [`stop`](Nic::stop). All is within the
/// [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The address that it answers to.
    pub mac: Mac,
    /// Bytes of a frame's content.
    pub mtu: u32,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Receive queues.
    pub rx_queues: u16,
    /// Descriptors of each transmit queue.
    pub tx_slots: u16,
    /// Descriptors of each receive queue.
    pub rx_slots: u16,
    /// What is on.
    pub capabilities: Capabilities,
    /// What is on beside.
    pub extras: Extras,
    /// How flows are spread.
    pub rss: Rss,
    /// Which interrupt is whose.
    pub vectors: Vectors,
}

impl Setup {
    /// Bytes of the longest frame on the wire, with a tag, without its check sequence.
    pub fn frame_bytes(&self) -> u32 {
        self.mtu.saturating_add(18)
    }
}

/// VLANs by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanSet(pub [u32; 128]);

impl VlanSet {
    /// None.
    pub const fn none() -> Self {
        Self([0; 128])
    }

    /// Puts a VLAN in, or takes it out. Numbers above 4,095 are nothing.
    pub fn set(&mut self, vlan: u16, is_in: bool) {
        if let Some(word) = self.0.get_mut(usize::from(vlan >> 5)) {
            let bit = 1 << (vlan & 31);
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }
}

/// Which frames a device takes, beside those to its own address and to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// All.
    pub promiscuous: bool,
    /// Those to any group.
    pub all_multicast: bool,
    /// Those to these groups. There may be more than the device can hold: then it takes all.
    pub multicast: &'a [Mac],
    /// With tags of these VLANs only, if the filter is on.
    pub vlans: &'a VlanSet,
}

/// A link's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing is at the other end.
    Down,
    /// It goes.
    Up {
        /// Mb/s; 0 if the device does not say.
        mbps: u32,
        /// Both ways at once.
        full_duplex: bool,
    },
}

impl Link {
    /// Up, and full duplex.
    pub const fn up(mbps: u32) -> Self {
        let full_duplex = true;
        Self::Up { mbps, full_duplex }
    }
}

/// The bits of what is on.
pub fn bits_of(bits: &[(bool, u32)]) -> u32 {
    let on = bits.iter().filter(|(is_on, _)| *is_on);
    on.fold(0, |all, (_, bit)| all | bit)
}

bitflags! {
    /// What a device wants to be asked about.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Events: u32 {
        /// The link may have changed.
        const LINK = 1 << 0;
        /// It can't go on without a reset.
        const RESET = 1 << 1;
    }
}

/// Why an interrupt came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The device sent it. Others may be on the same line.
    pub is_ours: bool,
    /// Queues of the vector have work.
    pub queues: bool,
    /// [`Nic::events`] has something to say. Looked at for the vector of events only.
    pub event: bool,
}

impl Cause {
    /// Anything may have happened, or the interrupt is not the device's.
    pub const fn any(is_ours: bool) -> Self {
        Self {
            is_ours,
            queues: is_ours,
            event: is_ours,
        }
    }
}

/// What an interrupt's filter can do. There is one for a device, for as long as it is attached.
pub trait Interrupts: Send + Sync {
    /// Why the interrupt came. An INTx line is quiet after this, or after
    /// [`mask`](Interrupts::mask).
    fn cause(&self, vector: u16) -> Cause;

    /// No interrupt of that vector until it is unmasked. Only called by a filter, after
    /// [`cause`](Interrupts::cause): a device that masks a vector when it sends an interrupt has
    /// nothing to do here. All are masked after [`Nic::begin`].
    fn mask(&self, vector: u16);

    /// Ends masking. What happened meanwhile interrupts at once, or is seen by
    /// [`RxRing::arm`] and [`TxRing::arm`] before. Is not called for a vector that is a transmit
    /// queue's own: that one comes when its queue was armed, once.
    fn unmask(&self, vector: u16);
}

/// Whose a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The device's.
    Device,
    /// Each transmit queue's.
    Tx,
    /// Each receive queue's.
    Rx,
}

/// A figure that the device counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose.
    pub scope: Scope,
    /// Its name, in letters, digits and `_`.
    pub name: &'static str,
    /// What it counts, for people.
    pub what: &'static str,
}

impl Label {
    /// A figure of the device's.
    pub const fn device(name: &'static str, what: &'static str) -> Self {
        let scope = Scope::Device;
        Self { scope, name, what }
    }

    /// A figure of each transmit queue's.
    pub const fn tx(name: &'static str, what: &'static str) -> Self {
        let scope = Scope::Tx;
        Self { scope, name, what }
    }

    /// A figure of each receive queue's.
    pub const fn rx(name: &'static str, what: &'static str) -> Self {
        let scope = Scope::Rx;
        Self { scope, name, what }
    }
}

/// A driver.
pub trait Nic<P: Platform>: Send + Sized {
    /// The name of its devices: `wvmx` for `wvmx0`.
    const NAME: &'static str;
    /// The devices that it drives.
    const IDS: &'static [Id];
    /// What its devices count.
    const LABELS: &'static [Label] = &[];
    /// Which numbers of queues [`queues`](Nic::queues) gives, for people, if not all that are
    /// offered.
    const QUEUES: Option<&'static str> = None;
    /// A transmit and a receive queue are one thing, so that there are as many of each.
    const HAS_PAIRS: bool = false;

    /// Its transmit queues.
    type Tx: TxRing;
    /// Its receive queues.
    type Rx: RxRing;
    /// Its interrupts.
    type Interrupts: Interrupts;

    /// Finds out what the device is, and leaves it quiet: no interrupt, no DMA.
    ///
    /// # Errors
    /// Why it can't be driven.
    fn attach(platform: &P) -> Result<Self, Error>;

    /// What it offers; the same for as long as it is attached.
    fn offer(&self) -> &Offer;

    /// The numbers of transmit and receive queues that it works with, as near as can be to
    /// those that are wanted, and not above. What is wanted is within the offer.
    fn queues(&self, wanted: (u16, u16)) -> (u16, u16) {
        wanted
    }

    /// What its interrupts' filters get. Is called once, when it is known how interrupts come,
    /// before the device is started.
    fn interrupts(&self, kind: VectorKind) -> Self::Interrupts;

    /// Resets the device, if it is not fresh, and makes ready for queues.
    ///
    /// # Errors
    /// Why not.
    fn begin(&mut self, setup: &Setup) -> Result<(), Error>;

    /// Makes a transmit queue. Numbers come in order from 0.
    ///
    /// # Errors
    /// Why not.
    fn tx(&mut self, setup: &Setup, number: u16) -> Result<Self::Tx, Error>;

    /// Makes a receive queue, without buffers.
    ///
    /// # Errors
    /// Why not.
    fn rx(&mut self, setup: &Setup, number: u16) -> Result<Self::Rx, Error>;

    /// Has the device go. Queues may get buffers before and after. All vectors are masked, and
    /// all queues not armed.
    ///
    /// # Errors
    /// Why not.
    fn start(&mut self, setup: &Setup) -> Result<(), Error>;

    /// Has the device stop. When this returns it touches no memory, and sends no interrupt.
    fn stop(&mut self);

    /// Says which frames to take. After `begin`, and whenever it changes.
    fn filter(&mut self, filter: &Filter<'_>);

    /// Changes how flows are spread while the device goes. False if it takes a stop and a start.
    fn spread(&mut self, rss: &Rss) -> bool {
        let _ = rss;
        false
    }

    /// What the link does now.
    fn link(&mut self) -> Link;

    /// What happened. Is called after [`Cause::event`], and at each tick while the device goes.
    fn events(&mut self) -> Events;

    /// What the device counts; [`LABELS`](Nic::LABELS), if that is known beforehand. The same
    /// for as long as it is attached.
    fn labels(&self) -> &[Label] {
        Self::LABELS
    }

    /// Has figures brought up to date, before [`statistic`](Nic::statistic).
    fn refresh(&mut self) {}

    /// The figure of that place in [`labels`](Nic::labels), of that queue if it is a queue's.
    fn statistic(&mut self, label: usize, queue: u16) -> u64 {
        let _ = (label, queue);
        0
    }
}

/// There is no room for it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A transmit queue of a device. Frames go by a *token*, a number below
/// [`tokens`](TxRing::tokens) which the queue chooses when it takes a frame, and tells again
/// when the device is done with it.
///
/// Only `kick`, `arm` and `disarm` may touch registers: the others are called when the device is
/// stopped, too.
pub trait TxRing: Send {
    /// Frames are done in the order in which they were put: a token that comes out of turn is
    /// the device's mistake.
    const IS_IN_ORDER: bool = false;
    /// Pieces of a frame that the device does not cut, if these are less than
    /// [`Limits::segments`].
    const PLAIN_SEGMENTS: u16 = u16::MAX;

    /// Tokens that there are.
    fn tokens(&self) -> u16;

    /// Descriptors that there is room for now, without what the queue needs of its own for a
    /// frame: a frame of so many segments can be put.
    fn room(&self) -> u16;

    /// Describes a frame to the device. It need not see it before [`kick`](TxRing::kick). There
    /// is at least one segment, and not more than the limit.
    ///
    /// # Errors
    /// [`Full`], with nothing changed.
    fn put(&mut self, segments: &[Segment], offload: &Offload) -> Result<u16, Full>;

    /// Tells the device of all that was put. Once a burst.
    fn kick(&mut self);

    /// The next frame that the device is done with. A token that is not out is the device's
    /// mistake, which the caller notices.
    fn reap(&mut self) -> Option<u16>;

    /// Asks for an interrupt when the device is done with a frame: unmasks the vector, if it is
    /// this queue's own. True if it is done with one already, so that there may be no interrupt. That the
    /// vector is masked may end this: who serves it reaps, and asks again if frames wait.
    fn arm(&mut self) -> bool;

    /// Asks for none. One may come still.
    fn disarm(&mut self) {}
}

/// What kind of buffer a receive queue wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Bytes, at least.
    pub bytes: u32,
}

/// What a device says of a buffer that it is done with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Which buffer.
    pub token: u16,
    /// Where in it the frame's bytes begin.
    pub skip: u32,
    /// How many there are. If it is 0, nothing of a frame is in this buffer.
    pub bytes: u32,
    /// The frame ends here.
    pub is_last: bool,
    /// The frame is broken, to be counted and not received. Looked at with the last buffer.
    pub is_bad: bool,
    /// What the device says of the frame. Looked at with the last buffer.
    pub meta: Meta,
}

impl Taken {
    /// The device has said what can't be.
    pub const NONSENSE: Self = Self::empty(u16::MAX);

    /// A buffer comes back as it was given.
    pub const fn empty(token: u16) -> Self {
        Self {
            token,
            skip: 0,
            bytes: 0,
            is_last: false,
            is_bad: false,
            meta: Meta::NOTHING,
        }
    }
}

/// A receive queue of a device. Buffers go by tokens, as frames do in a [`TxRing`].
///
/// Only `kick`, `arm`, `disarm` and `moderate` may touch registers.
pub trait RxRing: Send {
    /// Whether what the device says of a frame is in front of it, in the buffer, so that
    /// [`look`](RxRing::look) must see it.
    const HAS_FRONT: bool = false;

    /// Tokens that there are.
    fn tokens(&self) -> u16;

    /// Buffers that there is room for now.
    fn room(&self) -> u16;

    /// What the next buffer must be. `None` if there is no room.
    fn wanted(&self) -> Option<Wanted>;

    /// The token under which the next buffer will be given, if that is known: a buffer that has
    /// come back under it can stay where it is.
    fn next(&self) -> Option<u16> {
        None
    }

    /// Gives the device the buffer that is [`wanted`](RxRing::wanted). It need not see it before
    /// [`kick`](RxRing::kick).
    ///
    /// # Errors
    /// [`Full`], with nothing changed.
    fn give(&mut self, buffer: Segment) -> Result<u16, Full>;

    /// Tells the device of all that was given. Once a burst.
    fn kick(&mut self);

    /// The next buffer that the device is done with.
    fn take(&mut self) -> Option<Taken>;

    /// Completes what [`take`](RxRing::take) has just said of a buffer by the buffer's first
    /// bytes, which the device has written. Only if [`HAS_FRONT`](RxRing::HAS_FRONT).
    fn look(&mut self, front: &[u8; FRONT], taken: &mut Taken) {
        let _ = (front, taken);
    }

    /// Asks for an interrupt when a frame comes. True if one has come already, so that there
    /// may be no interrupt.
    fn arm(&mut self) -> bool;

    /// Asks for none. One may come still.
    fn disarm(&mut self) {}

    /// Has interrupts of this queue at least so many nanoseconds apart; 0 is without delay.
    fn moderate(&mut self, gap_ns: u32) {
        let _ = gap_ns;
    }
}
