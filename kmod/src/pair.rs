// SPDX-License-Identifier: BSD-2-Clause
//! wpair(4): pairs of Ethernet interfaces, of which one receives what the other one sends.
//! Each end can be in any jail.
//!
//! # The way of a frame
//!
//! `if_transmit` of one end, on the sender's thread: a hash of the flow, unless the stack
//! gave one -> the [`QueueSet`] of that end -> a queue, or `ENOBUFS` if that is full. The
//! queue's worker, a thread bound to a CPU that all pairs share, takes bursts out and hands
//! each as one row to the other end's `if_input`, in one section of the network epoch. Frames
//! of one flow go through one queue, so they stay in order.
//!
//! # Who receives on the sender's thread
//!
//! Nobody, as a rule. TCP sends with the lock of its connection held. If the other end's
//! stack received the segment on this thread, it would take the lock of the connection
//! there, while a thread that sends the other way holds that one and wants this one; and an
//! answer would come back into a connection that is in the middle of sending. Datagrams are
//! sent with a socket's lock held, too.
//!
//! If an end is set to, frames that this host forwards are received at once, where the
//! queue is empty: those that an interface has received, to one receiver, by a thread that
//! is not known to hold a lock and has half its stack left. Forwarding holds no lock of a
//! socket's. What the rules leave open is a received packet that a program in the kernel
//! sends again through a socket, such as ng_ksocket(4): the socket's lock is seen while it
//! is held for reading, which it is except when the sender still has to bind the socket.
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
use core::sync::atomic::{AtomicBool, Ordering};

use weft_engine::link::{Capabilities, Offer};
use weft_engine::queue::{
    Batch, Choice, Platform, QueueSet, Reason, Service, Settings, Sink, TxQueue, Verdict,
};
use weft_engine::stats::Cause;
use weft_engine::wire::toeplitz::Toeplitz;

use crate::kpi::cloner::{self, HasPeer, Made, Pairs};
use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Interface, Plan, Port, Unattached};
use crate::kpi::jail;
use crate::kpi::kernel::{self, Clock};
use crate::kpi::lock::Mtx;
use crate::kpi::mbuf::{Mbuf, Row};
use crate::kpi::memory::{self, StateMemory, try_box};
use crate::kpi::netmap::{Offered, Shape};
use crate::kpi::probe;
use crate::kpi::published::Published;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::worker::{Job, Workers};
use crate::pair_nodes::{self, Losses, Node, Shown};
use crate::pair_rings::EndRings;
use crate::sojourn::{Drainer, Sojourn};
use crate::tenants::Tenants;

/// What a pair can do.
const OFFER: Offer = {
    let check = Capabilities::CHECK_IPV4.union(Capabilities::CHECK_IPV6);
    Offer {
        has: Capabilities::all().difference(Capabilities::HARDWARE),
        // What is received may say that its checksum was left out, so this says what is.
        always: check.union(Capabilities::STATE),
        initial: Capabilities::all().difference(Capabilities::HARDWARE),
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
pub(crate) const LONGEST_SEGMENT: u32 = 65_535 - 18;

/// Frames that are kept while a bucket moves from queue to queue.
const LIMBO: usize = 1024;

/// Pairs that there are, and whether there can be none any more.
static PAIRS: Tenants = Tenants::none("pairs of interfaces (wpair)");

/// The threads that receive.
static WORKERS: Published<Shared<Workers>> = Published::nothing();

/// The threads, for others who have something for them to do.
///
/// # Errors
/// `ENXIO` while the module is going.
pub(crate) fn workers(sleepable: &mut Sleepable) -> Result<Shared<Workers>, Errno> {
    let workers = WORKERS.with(sleepable, |_, workers| workers.clone());
    workers.ok_or(Errno::ENXIO)
}

/// The hash by which a queue is selected, with the key that network cards are shipped
/// with.
pub(crate) static TOEPLITZ: Toeplitz = Toeplitz::new(&MICROSOFT_KEY);

/// Microsoft's key, of the RSS specification's verification suite.
const MICROSOFT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// What a queue needs of the kernel.
pub(crate) struct Kernel {
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
pub(crate) struct Receiver {
    port: Port,
    lost: Shared<Losses>,
    sojourn: Shared<Sojourn>,
    drainer: Drainer,
    /// The rings that programs have of the end that receives, of which it fills the one of this
    /// number, and of the end that sends.
    rings: [Shared<EndRings>; 2],
    number: usize,
    from: Port,
}

impl Sink<Mbuf> for Receiver {
    fn take(&mut self, burst: &mut Batch<Mbuf>) -> Verdict {
        let mut row = Row::new();
        let watched = self.drainer.watched(&self.sojourn);
        self.drainer.count(&self.sojourn, burst.len() as u64);
        let [rings, others] = &self.rings;
        others.waken(&self.from);
        if rings.receives(self.number) {
            self.fill_ring(burst);
            return Verdict::GoOn;
        }
        while let Some(frame) = burst.pop() {
            probe::dequeue(&frame, &self.port, self.drainer.queue());
            if watched == frame.address() {
                self.drainer.drained(&self.sojourn);
            }
            match frame.traits().is_segmented {
                true => self.receive_long(frame, &mut row),
                false => row.push(frame),
            }
        }
        if !self.port.is_going() {
            self.port.count(Counter::ReceivedDropped, row.len());
            self.lost.count(Cause::Down, row.len(), &self.port);
            return Verdict::GoOn;
        }
        self.port.count(Counter::Received, row.len());
        self.port.input(row);
        Verdict::GoOn
    }

    fn dropped(&mut self, frame: Mbuf, reason: Reason) {
        self.port.count(Counter::ReceivedDropped, 1);
        self.lost.count(reason.into(), 1, &self.port);
        self.sojourn.gone(frame.address());
        drop(frame);
    }
}

impl Receiver {
    /// Puts frames into the ring that a program has; those for which there is no room, and long
    /// segments, are lost.
    #[inline(never)]
    fn fill_ring(&mut self, burst: &mut Batch<Mbuf>) {
        let [rings, _] = &self.rings;
        let taken = rings.take(self.number, burst, &self.port);
        self.port.count(Counter::Received, taken);
        while let Some(frame) = burst.pop() {
            self.dropped(frame, Reason::Packets);
        }
    }

    /// Puts a long segment into the row, in one piece if the receiving stack keeps it.
    #[inline(never)]
    fn receive_long(&self, frame: Mbuf, row: &mut Row) {
        match frame.plan() {
            Some(plan) if !self.port.keeps(&plan) => {
                if frame.cut(&plan, row).is_err() {
                    self.port.count(Counter::ReceivedDropped, 1);
                    self.lost.count(Cause::Uncut, 1, &self.port);
                }
            }
            _ => row.push(frame),
        }
    }
}

pub(crate) type Queue = TxQueue<Mbuf, Receiver, Kernel, StateMemory>;
pub(crate) type Queues = QueueSet<Mbuf, Receiver, Kernel, StateMemory, NetEpochs, Mtx, Vec<Queue>>;

/// An end, and the queues to the other one.
pub(crate) struct End {
    pub(crate) own: Port,
    pub(crate) peer: Port,
    pub(crate) queues: Shared<Queues>,
    /// What programs have of it, and of the other end.
    pub(crate) rings: Shared<EndRings>,
    pub(crate) peer_rings: Shared<EndRings>,
    /// Until the end is taken out of the system.
    offered: Slept<Option<Offered<Self>>>,
    lost: Shared<Losses>,
    /// Whether frames may be received on the sender's thread.
    direct: Shared<AtomicBool>,
    sojourn: Shared<Sojourn>,
    /// Until the end is taken out of the system.
    node: Slept<Option<Node>>,
}

/// Held while ends come to terms.
static NEGOTIATION: Slept<()> = Slept::new(());

impl Interface for End {
    fn transmit(&self, mut frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let (len, traits) = (frame.packet_len(), frame.traits());
        self.own.admit(&frame, traits.is_segmented, epoch)?;
        // As on a wire, whoever sends does not learn that nobody listens.
        if !self.peer.is_going() {
            self.own.count(Counter::SendErrors, 1);
            self.lost.count(Cause::Down, 1, &self.own);
            return Ok(());
        }
        frame.ensure_hash(&TOEPLITZ);
        let through = self.direct.load(Ordering::Relaxed)
            && !traits.is_multicast
            && frame.was_received()
            && kernel::locks_held() == 0
            && kernel::stack_used() < pair_nodes::direct_stack();
        self.peer.adopt(&mut frame);
        self.submit(frame, through, epoch)?;
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

    fn retire(&self, sleepable: &mut Sleepable) {
        self.rings.close(sleepable);
        drop(self.offered.with(sleepable, |_, offered| offered.take()));
        drop(self.node.with(sleepable, |_, node| node.take()));
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

    fn shape(&self) -> Shape {
        self.rings.shape()
    }

    fn keep(&self, sleepable: &mut Sleepable, offered: Option<Offered<Self>>) {
        self.offered.with(sleepable, |_, place| *place = offered);
    }
}

impl End {
    #[inline(never)]
    fn submit(&self, frame: Mbuf, through: bool, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let address = frame.address();
        probe::enqueue(&frame, &self.own);
        self.sojourn.sent(address);
        let submitted = match through {
            false => self.queues.submit_one(epoch, Choice::Flow, frame),
            true => self.queues.submit_one_through(epoch, Choice::Flow, frame),
        };
        submitted.map_err(|(_frame, reason)| {
            self.sojourn.gone(address);
            self.own.count(Counter::SendDropped, 1);
            self.lost.count(reason.into(), 1, &self.own);
            Errno::ENOBUFS
        })
    }

    /// An end of that name, its queues and their node.
    fn new(
        sleepable: &mut Sleepable,
        workers: &Shared<Workers>,
        own: &Unattached<Self>,
        peer: &Unattached<Self>,
        rings: [&Shared<EndRings>; 2],
        name: &CStr,
    ) -> Result<Box<Self>, Errno> {
        let count = pair_nodes::queues() as usize;
        let lost = Shared::made(|| Ok(Losses::new()))?;
        let sojourn = Shared::made(|| Sojourn::new(count))?;
        let queues = memory::collected_in(count, |number, place| {
            let sink = Receiver {
                port: peer.port(),
                lost: lost.clone(),
                sojourn: sojourn.clone(),
                drainer: Drainer::of(number),
                rings: [rings[1].clone(), rings[0].clone()],
                number,
                from: own.port(),
            };
            queue(place, own.job(workers, number).ok()?, sink)
        })?;
        let lock = Mtx::new(c"weft pair")?;
        let queues = Shared::made_in(|place| {
            QueueSet::new_in(place, queues, count, LIMBO, NetEpochs, lock, StateMemory)
        })?;
        let direct = Shared::made(|| Ok(AtomicBool::new(false)))?;
        let shown = Shown {
            own: own.port(),
            peer: peer.port(),
            queues: queues.clone(),
            lost: lost.clone(),
            direct: direct.clone(),
            sojourn: sojourn.clone(),
        };
        let node = Node::new(sleepable, name, shown)?;
        memory::try_box(Self {
            own: own.port(),
            peer: peer.port(),
            queues,
            rings: rings[0].clone(),
            peer_rings: rings[1].clone(),
            offered: Slept::new(None),
            lost,
            direct,
            sojourn,
            node: Slept::new(Some(node)),
        })
        .map_err(|_| Errno::ENOMEM)
    }

    /// Empties the queues, to which nobody submits any more.
    fn close(&self, sleepable: &mut Sleepable) {
        for queue in self.queues.queues() {
            while queue
                .close(|_| self.lost.count(Cause::Closed, 1, &self.own))
                .is_err()
            {
                kernel::pause_ms(sleepable, 1);
            }
        }
    }
}

/// A queue from an end to its peer.
fn queue(place: &mut MaybeUninit<Queue>, job: Job, sink: Receiver) -> Option<&mut Queue> {
    let room = pair_nodes::room();
    let settings = Settings {
        service: Service::Worker,
        ..Settings::of(room)
    };
    let clock = Clock::new();
    let platform = Kernel { clock, job };
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
        if jail::current(sleepable).is_some() && !pair_nodes::jails_may_create() {
            return Err(Errno::EPERM);
        }
        PAIRS.enter()?;
        let made = make(sleepable, unit, names);
        if made.is_err() {
            PAIRS.leave();
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
        PAIRS.leave();
    }
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
    let workers = workers(sleepable)?;
    let [a, b] = names.map(|name| Unattached::new(sleepable, &plan, name));
    let count = pair_nodes::queues() as usize;
    let (ours, theirs) = (EndRings::new(count)?, EndRings::new(count)?);
    let end_a = End::new(sleepable, &workers, &a, &b, [&ours, &theirs], names[0])?;
    let end_b = End::new(sleepable, &workers, &b, &a, [&theirs, &ours], names[1])?;
    Ok([(a, end_a), (b, end_b)])
}

/// Pairs that there are, in all network stacks.
pub(crate) fn pairs() -> u32 {
    PAIRS.count()
}

/// Whether pairs can be made.
pub(crate) fn is_open() -> bool {
    PAIRS.is_open()
}

/// That pairs can be made, as long as the module is loaded.
pub(crate) struct Gate;

impl Gate {
    /// Starts the workers and lets pairs be made.
    ///
    /// # Errors
    /// `ENOMEM`, or why there are no threads.
    pub(crate) fn open(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let workers = Workers::start(sleepable, pair_nodes::are_workers_bound())?;
        let workers = try_box(workers).map_err(|_| Errno::ENOMEM)?;
        let _ = WORKERS.publish(workers);
        PAIRS.open();
        Ok(Self)
    }

    /// Whether there are pairs.
    ///
    /// # Errors
    /// `EBUSY`; how many has been logged.
    pub(crate) fn refuse_while_used(&self) -> Result<(), Errno> {
        PAIRS.refuse_while_any()
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
        PAIRS.shut()?;
        cloner::set_attached(sleepable, false);
        drop(WORKERS.withdraw(sleepable));
        Ok(())
    }
}
