// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4): pairs of Ethernet interfaces, of which one receives what the other one sends.
//! Each end can be in any jail.
//!
//! # The way of a frame
//!
//! `if_transmit` of one end, on the sender's thread: a hash of the flow, unless the stack
//! gave one -> the [`QueueSet`] of that end -> a queue, or `ENOBUFS` if that is full. Nothing
//! is received on the sender's thread, which may hold locks of its protocol. The queue's
//! worker, a thread bound to a CPU that all pairs share, takes bursts out and hands each
//! as one row to the other end's `if_input`, in one section of the network epoch. Frames of
//! one flow go through one queue, so they stay in order.
//!
//! A queue holds mbufs as they are. They are the sender's already, so a packet of this
//! module's around each would be one more allocation, and save none.
//!
//! Checksums that the sender left out stay left out, for the receiving stack knows such
//! packets by the same flags as when they were sent, and so does whatever puts them on a
//! wire later. Long segments of TCP (TSO) go through a queue whole. The receiving stack gets
//! them whole, too, if it keeps them; else, since a stack that forwards does not cut what is
//! longer than the next link's MTU, they are cut before.
//!
//! # Life
//!
//! `make` counts a pair, `end` counts it out. The module goes only while there is none,
//! and from then on there can be none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weft_engine::link::{self, Capabilities, Offer};
use weft_engine::queue::{
    Batch, Choice, Platform, QueueSet, Reason, Service, Settings, Sink, TxQueue, Verdict,
};
use weft_engine::wire::toeplitz::Toeplitz;

use crate::kpi::cloner::{self, HasPeer, Made, Pairs};
use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::cpu::CriticalSections;
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Interface, Plan, Port, Unattached};
use crate::kpi::kernel::{self, Clock};
use crate::kpi::lock::Mtx;
use crate::kpi::log;
use crate::kpi::mbuf::{Mbuf, Row};
use crate::kpi::memory::{self, StateMemory, try_box};
use crate::kpi::module::refuse_while;
use crate::kpi::published::Published;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Access, Indexed, Number, Parent, Sysctls};
use crate::kpi::worker::{Job, Workers};
use weft_engine::packet::Cpus;

/// What a pair can do.
const OFFER: Offer = {
    let check = Capabilities::CHECK_IPV4.union(Capabilities::CHECK_IPV6);
    Offer {
        has: Capabilities::all(),
        // What is received may say that its checksum was left out, so this says what is.
        always: check.union(Capabilities::STATE),
        initial: Capabilities::all(),
        // Who receives such frames sends them on; a bridge that turns one of these off at
        // its member means those who send to it.
        shared: Capabilities::FILL_IPV4
            .union(Capabilities::FILL_IPV6)
            .union(Capabilities::SEGMENT)
            .union(Capabilities::VLAN_TAG)
            .union(Capabilities::VLAN_FILL)
            .union(Capabilities::VLAN_SEGMENT),
    }
};

/// Bits a second that an end says it does: what epair(4) says.
const BAUDRATE: u64 = 10_000_000_000;

/// The longest IP packet, which leaves room for headers of Ethernet in 64 KB.
const LONGEST_SEGMENT: u32 = 65_535 - 18;

/// Queues of each direction, for pairs that are made later; 0 until it is set.
static QUEUES: AtomicU64 = AtomicU64::new(0);
/// As many as there are CPUs, up to this, if it is not set.
const QUEUES_UNASKED: u64 = 8;
/// The most that may be set.
const MOST_QUEUES: u64 = 64;

/// Frames that a queue has room for, in pairs that are made later. A power of two.
static ROOM: AtomicU64 = AtomicU64::new(4096);
/// The least and the most of it.
const LEAST_ROOM: u64 = 64;
const MOST_ROOM: u64 = 1 << 16;

/// Frames that could be kept while a bucket moves from queue to queue; none does yet.
const LIMBO: usize = 64;

/// Pairs that there are, and whether there can be none any more.
static PAIRS: AtomicU32 = AtomicU32::new(SHUT);
/// No pair can be made.
const SHUT: u32 = 1 << 31;

/// Frames that were lost, by the order of [`Reason::ALL`], then those that reached an end
/// that was down, and long segments for whose parts there was no memory.
static LOST: [AtomicU64; Reason::ALL.len() + 2] =
    [const { AtomicU64::new(0) }; Reason::ALL.len() + 2];
/// The index of frames for an end that was down.
const DOWN: usize = Reason::ALL.len();
/// The index of long segments that could not be cut.
const UNCUT: usize = DOWN + 1;

fn lose(index: usize, frames: usize) {
    if let Some(count) = LOST.get(index) {
        count.fetch_add(frames as u64, Ordering::Relaxed);
    }
}

/// The threads that receive.
static WORKERS: Published<Shared<Workers>> = Published::nothing();

/// The hash by which a queue is selected, with the key that network cards are shipped
/// with.
static TOEPLITZ: Toeplitz = Toeplitz::new(&MICROSOFT_KEY);

/// Microsoft's key, of the RSS specification's verification suite.
const MICROSOFT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// What a queue needs of the kernel.
struct Kernel {
    clock: Clock,
    job: Job,
}

impl Platform for Kernel {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now()
    }

    #[inline]
    fn wake(&self) {
        self.job.ask();
    }
}

/// Where frames of one queue come out.
struct Receiver {
    port: Port,
}

impl Sink<Mbuf> for Receiver {
    fn take(&mut self, burst: &mut Batch<Mbuf>) -> Verdict {
        let mut row = Row::new();
        while let Some(frame) = burst.pop() {
            match frame.traits().is_segmented {
                true => self.receive_long(frame, &mut row),
                false => row.push(frame),
            }
        }
        if !self.port.is_going() {
            self.port.count(Counter::ReceivedDropped, row.len());
            lose(DOWN, row.len() as usize);
            return Verdict::GoOn;
        }
        self.port.count(Counter::Received, row.len());
        self.port.input(row);
        Verdict::GoOn
    }

    fn dropped(&mut self, frame: Mbuf, reason: Reason) {
        self.port.count(Counter::ReceivedDropped, 1);
        lose(reason as usize, 1);
        drop(frame);
    }
}

impl Receiver {
    /// Puts a long segment into the row, in one piece if the receiving stack keeps it.
    #[inline(never)]
    fn receive_long(&self, frame: Mbuf, row: &mut Row) {
        match frame.plan() {
            Some(plan) if !self.port.keeps(&plan) => {
                if frame.cut(&plan, row).is_err() {
                    self.port.count(Counter::ReceivedDropped, 1);
                    lose(UNCUT, 1);
                }
            }
            _ => row.push(frame),
        }
    }
}

type Queue = TxQueue<Mbuf, Receiver, Kernel, StateMemory>;
type Queues = QueueSet<Mbuf, Receiver, Kernel, StateMemory, NetEpochs, Mtx, Vec<Queue>>;

/// An end, and the queues to the other one.
pub(crate) struct End {
    own: Port,
    peer: Port,
    queues: Box<Queues>,
}

/// Held while ends come to terms.
static NEGOTIATION: Slept<()> = Slept::new(());

impl Interface for End {
    fn transmit(&self, mut frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let (len, traits) = (frame.packet_len(), frame.traits());
        let refused = if !self.own.is_going() {
            Some(Errno::ENETDOWN)
        } else if !traits.is_segmented && link::is_too_long(len, self.own.mtu()) {
            Some(Errno::E2BIG)
        } else {
            None
        };
        if let Some(error) = refused {
            self.own.count(Counter::SendErrors, 1);
            return Err(error);
        }
        self.own.tap(&frame, epoch);
        // As on a wire, whoever sends does not learn that nobody listens.
        if !self.peer.is_going() {
            self.own.count(Counter::SendErrors, 1);
            lose(DOWN, 1);
            return Ok(());
        }
        frame.ensure_hash(&TOEPLITZ);
        self.peer.adopt(&mut frame);
        self.submit(frame, epoch)?;
        self.own.count(Counter::Sent, 1);
        self.own.count(Counter::SentBytes, len);
        if traits.is_multicast {
            self.own.count(Counter::SentMulticast, 1);
        }
        Ok(())
    }

    fn work(&self, number: usize, _epoch: &NetEpoch<'_>) {
        if let Some(queue) = self.queues.queues().get(number) {
            queue.work();
        }
    }

    fn enable(&self, sleepable: &mut Sleepable, wanted: Capabilities) {
        NEGOTIATION.with(sleepable, |sleepable, ()| {
            let ours = OFFER.negotiate(wanted);
            self.own.enable(sleepable, ours);
            let before = self.peer.enabled();
            let theirs = OFFER.follow(ours, before);
            if theirs != before {
                self.peer.enable(sleepable, theirs);
            }
        });
    }
}

impl HasPeer for End {
    fn peer(&self) -> &Port {
        &self.peer
    }
}

impl End {
    #[inline(never)]
    fn submit(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let submitted = self.queues.submit_one(epoch, Choice::Flow, frame);
        submitted.map_err(|(_frame, reason)| {
            self.own.count(Counter::SendDropped, 1);
            lose(reason as usize, 1);
            Errno::ENOBUFS
        })
    }

    /// An end and its queues.
    fn new(
        workers: &Shared<Workers>,
        own: &Unattached<Self>,
        peer: &Unattached<Self>,
    ) -> Result<Box<Self>, Errno> {
        let count = match QUEUES.load(Ordering::Relaxed) {
            0 => (workers.count() as u64).min(QUEUES_UNASKED),
            asked => asked,
        } as usize;
        let queues = memory::collected_in(count, |number, place| {
            queue(place, workers, own, peer, number)
        })?;
        let lock = Mtx::new(c"weft pair")?;
        let queues = memory::boxed_in(|place| {
            QueueSet::new_in(place, queues, count, LIMBO, NetEpochs, lock, StateMemory)
        })?;
        memory::try_box(Self {
            own: own.port(),
            peer: peer.port(),
            queues,
        })
        .map_err(|_| Errno::ENOMEM)
    }

    /// Empties the queues, to which nobody submits any more.
    fn close(&self, sleepable: &mut Sleepable) {
        for queue in self.queues.queues() {
            while queue.close(|_| lose(Reason::Closed as usize, 1)).is_err() {
                kernel::pause_ms(sleepable, 1);
            }
        }
    }
}

/// The queue of that number from an end to its peer.
fn queue<'p>(
    place: &'p mut MaybeUninit<Queue>,
    workers: &Shared<Workers>,
    own: &Unattached<End>,
    peer: &Unattached<End>,
    number: usize,
) -> Option<&'p mut Queue> {
    let room = ROOM.load(Ordering::Relaxed);
    let settings = Settings {
        service: Service::Worker,
        ..Settings::of(room)
    };
    let platform = Kernel {
        clock: Clock::new(),
        job: own.job(workers, number).ok()?,
    };
    let sink = Receiver { port: peer.port() };
    let room = room as usize;
    TxQueue::new_in(place, room, &settings, sink, platform, StateMemory)
}

/// What wpair's cloner does.
pub(crate) enum Wpair {}

impl Pairs for Wpair {
    type End = End;

    fn make(
        sleepable: &mut Sleepable,
        unit: u32,
        names: [&CStr; 2],
    ) -> Result<[Made<End>; 2], Errno> {
        enter()?;
        let made = make(sleepable, unit, names);
        if made.is_err() {
            leave();
        }
        made
    }

    fn begin(ends: [&Port; 2]) {
        for end in ends {
            end.set_going(true);
        }
    }

    fn end(sleepable: &mut Sleepable, ends: [Box<End>; 2]) {
        for end in &ends {
            end.close(sleepable);
        }
        drop(ends);
        leave();
    }
}

/// Counts a pair in, unless there can be none.
fn enter() -> Result<(), Errno> {
    let more = |pairs: u32| (pairs & SHUT == 0).then(|| pairs.wrapping_add(1));
    let entered = PAIRS.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more);
    entered.map(drop).map_err(|_| Errno::ENXIO)
}

fn leave() {
    PAIRS.fetch_sub(1, Ordering::AcqRel);
}

fn make(sleepable: &mut Sleepable, unit: u32, names: [&CStr; 2]) -> Result<[Made<End>; 2], Errno> {
    let plan = Plan {
        cloner: cloner::NAME,
        unit,
        has: OFFER.has,
        initial: OFFER.negotiate(OFFER.initial),
        baudrate: BAUDRATE,
        longest_segment: LONGEST_SEGMENT,
    };
    let workers = WORKERS.with(sleepable, |_, workers| workers.clone());
    let workers = workers.ok_or(Errno::ENXIO)?;
    let [a, b] = names.map(|name| Unattached::new(sleepable, &plan, name));
    let end_a = End::new(&workers, &a, &b)?;
    let end_b = End::new(&workers, &b, &a)?;
    Ok([(a, end_a), (b, end_b)])
}

/// Whether pairs can be made.
pub(crate) fn is_open() -> bool {
    PAIRS.load(Ordering::Acquire) & SHUT == 0
}

/// That pairs can be made, as long as the module is loaded.
pub(crate) struct Gate;

impl Gate {
    /// Starts the workers and lets pairs be made.
    ///
    /// # Errors
    /// `ENOMEM`, or why there are no threads.
    pub(crate) fn open(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let workers = Workers::start(sleepable)?;
        let workers = try_box(workers).map_err(|_| Errno::ENOMEM)?;
        let _ = WORKERS.publish(workers);
        PAIRS.store(0, Ordering::Release);
        Ok(Self)
    }

    /// Whether there are pairs.
    ///
    /// # Errors
    /// `EBUSY`; how many has been logged.
    pub(crate) fn refuse_while_used(&self) -> Result<(), Errno> {
        refuse(PAIRS.load(Ordering::Acquire) & !SHUT)
    }

    /// Opens it again after [`close`](Gate::close).
    ///
    /// # Errors
    /// As for [`open`](Gate::open).
    pub(crate) fn reopen(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let gate = Self::open(sleepable)?;
        cloner::set_attached(sleepable, true);
        Ok(gate)
    }

    /// Lets no pair be made any more, takes the cloners away and stops the workers. After
    /// success a second call does nothing.
    ///
    /// # Errors
    /// `EBUSY` while there are pairs; nothing has changed.
    pub(crate) fn close(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let shut = PAIRS.compare_exchange(0, SHUT, Ordering::AcqRel, Ordering::Acquire);
        match shut {
            Ok(_) | Err(SHUT) => {
                cloner::set_attached(sleepable, false);
                drop(WORKERS.withdraw(sleepable));
                Ok(())
            }
            Err(pairs) => refuse(pairs & !SHUT),
        }
    }
}

fn refuse(pairs: u32) -> Result<(), Errno> {
    refuse_while(
        pairs as usize,
        format_args!("there are {pairs} pairs of interfaces (wpair), in this or other jails"),
    )
}

/// Puts a setting into its place, if it is in its range.
fn set(place: &AtomicU64, name: &str, value: u64, least: u64, most: u64) -> Result<(), Errno> {
    if !(least..=most).contains(&value) {
        log::warning(format_args!(
            "net.weft.pair.{name}={value}: refused, allowed are {least} to {most}"
        ));
        return Err(Errno::EINVAL);
    }
    place.store(value, Ordering::Relaxed);
    Ok(())
}

struct QueuesSetting;

impl Number for QueuesSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        match QUEUES.load(Ordering::Relaxed) {
            0 => (CriticalSections.count() as u64).min(QUEUES_UNASKED),
            asked => asked,
        }
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        set(&QUEUES, "queues", value, 1, MOST_QUEUES)
    }
}

struct RoomSetting;

impl Number for RoomSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        ROOM.load(Ordering::Relaxed)
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        let value = value.checked_next_power_of_two().unwrap_or(u64::MAX);
        set(&ROOM, "room", value, LEAST_ROOM, MOST_ROOM)
    }
}

struct PairsFigure;

impl Number for PairsFigure {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(PAIRS.load(Ordering::Relaxed) & !SHUT)
    }
}

/// Frames lost for a reason.
struct Lost;

impl Indexed for Lost {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let count = LOST.get(index as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

const LOST_FIGURES: [(usize, &CStr, &CStr); 4] = [
    (
        Reason::Packets as usize,
        c"full",
        c"Frames that found no room in a queue; their senders were told (ENOBUFS)",
    ),
    (
        Reason::Closed as usize,
        c"destroyed",
        c"Frames that were in a queue when their pair was destroyed",
    ),
    (
        DOWN,
        c"down",
        c"Frames that were sent to an end that was down",
    ),
    (
        UNCUT,
        c"uncut",
        c"Long segments of TCP that had to be cut, wholly or in part, without memory for it",
    ),
];

/// Adds `net.weft.pair`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, weft: Parent) -> Result<(), Errno> {
    let node = tree.node(weft, c"pair", c"Pairs of interfaces, wpair")?;
    let lost = tree.node(node, c"lost", c"Frames that were lost, in all pairs")?;
    for (index, name, about) in LOST_FIGURES.iter().rev() {
        tree.number_of::<Lost>(lost, name, None, *index as u32, about)?;
    }
    tree.number::<PairsFigure>(
        node,
        c"pairs",
        Access::READ,
        c"Pairs that there are, in all jails; the module can be unloaded when there are none",
    )?;
    let access = Access::READ | Access::WRITE | Access::TUNABLE;
    tree.number::<RoomSetting>(
        node,
        c"room",
        access,
        c"Frames that each queue has room for, in pairs made later; rounded up to a power of two",
    )?;
    tree.number::<QueuesSetting>(
        node,
        c"queues",
        access,
        c"Queues in each direction, in pairs made later; as many as CPUs, up to 8, if not set",
    )
}
