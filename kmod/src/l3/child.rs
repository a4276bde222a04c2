// SPDX-License-Identifier: BSD-2-Clause
//! An interface on top of a parent: what it sends, what it gets, its figures.

use alloc::boxed::Box;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use weft_engine::l3::{self, FRONT, Forgery, Mac};
use weft_engine::link::{self, Capabilities, Offer};
use weft_engine::queue::{Batch, Platform, Reason, Service, Settings, Sink, TxQueue, Verdict};
use weft_engine::stats::{Cause, Declared, LayerStat};

use super::trunk::{PARENT, Trunk, ends, readdressed};
use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::counter;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Interface, Port, Unattached};
use crate::kpi::jail;
use crate::kpi::kernel::{self, Clock};
use crate::kpi::mbuf::{Mbuf, Row};
use crate::kpi::memory::{self, StateMemory, collected};
use crate::kpi::probe;
use crate::kpi::shared::Shared;
use crate::kpi::sysctl::{Branch, Parent, Subject};
use crate::kpi::text::Text;
use crate::kpi::worker::{Job, Workers};
use crate::stats;
use alloc::vec::Vec;

/// Frames that wait for one receiver on the host. A power of two.
const ROOM: usize = 1024;

/// The job of the frames to the interface, and that of its frames to the parent.
const INBOX: usize = 0;
const OUTBOX: usize = 1;

/// What an interface does for its packets: all of it is done by the parent, or before the parent
/// gets them; what a neighbour on the host sends stays as it is.
pub(super) const OFFER: Offer = {
    let check = Capabilities::CHECK_IPV4.union(Capabilities::CHECK_IPV6);
    let has = Capabilities::FILL_IPV4
        .union(Capabilities::FILL_IPV6)
        .union(Capabilities::SEGMENT)
        .union(check);
    Offer {
        has,
        // What is received may say that its checksum was left out.
        always: check,
        initial: has,
        shared: Capabilities::empty(),
    }
};

/// What is counted of it.
pub(super) struct Counts {
    /// In the order of [`LayerStat`].
    counters: Vec<counter::Counter>,
    /// Whose they are.
    own: Port,
}

impl Counts {
    #[inline]
    fn add(&self, stat: LayerStat, more: u32) {
        if let Some(counter) = self.counters.get(stat.place() as usize) {
            counter.add(more);
        }
    }

    /// Frames that the interface was to receive are lost.
    #[cold]
    fn lose(&self, cause: Cause, frames: u32) {
        probe::lost(cause, frames, &self.own);
        self.own.count(Counter::ReceivedDropped, frames);
        self.add(
            match cause {
                Cause::Down => LayerStat::LostDown,
                Cause::NoMemory => LayerStat::LostMemory,
                _ => LayerStat::LostFull,
            },
            frames,
        );
    }

    /// A frame that it sent is lost, and the error says so.
    #[cold]
    fn unsent(&self, cause: Cause, error: Errno) -> Errno {
        probe::lost(cause, 1, &self.own);
        let stat = match cause {
            Cause::Full => LayerStat::UnsentFull,
            Cause::NoMemory => LayerStat::UnsentMemory,
            Cause::Forged => LayerStat::UnsentForged,
            Cause::Absent => LayerStat::UnsentAbsent,
            Cause::TooLong => LayerStat::UnsentLong,
            Cause::Parent => LayerStat::UnsentParent,
            _ => LayerStat::UnsentDown,
        };
        self.add(stat, 1);
        error
    }
}

impl Subject for Counts {
    fn is_shown(&self, sleepable: &Sleepable, vnet: &Vnet<'_>) -> bool {
        jail::current(sleepable).is_none() || self.own.is_here(vnet)
    }

    fn read(&self, index: u32, _sleepable: &mut Sleepable) -> u64 {
        let counter = self.counters.get(index as usize);
        counter.map_or(0, counter::Counter::read)
    }

    fn write(&self, _index: u32, _sleepable: &mut Sleepable, _value: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }
}

/// Why a frame that the interface sent is lost, and what its sender is told.
type Unsent = (Cause, Errno);

/// What a queue needs of the kernel.
struct Kernel {
    clock: Clock,
    job: Job,
}

impl Platform for Kernel {
    fn now(&self) -> u64 {
        self.clock.now()
    }

    #[inline]
    fn wake(&self) {
        self.job.ask();
    }
}

/// Where frames of a queue come out.
struct Receiver {
    /// The interface, or its parent.
    port: Port,
    /// If it is the parent.
    trunk: Option<Shared<Trunk>>,
    counts: Shared<Counts>,
}

impl Sink<Mbuf> for Receiver {
    fn take(&mut self, burst: &mut Batch<Mbuf>) -> Verdict {
        let is_gone = self.trunk.as_ref().is_some_and(|trunk| trunk.is_gone());
        let mut row = Row::new();
        while let Some(frame) = burst.pop() {
            match frame.traits().is_segmented {
                true => self.take_long(frame, &mut row, is_gone),
                false => row.push(frame),
            }
        }
        if is_gone || !self.port.is_going() {
            self.lose(Cause::Down, row.len(), is_gone);
            return Verdict::GoOn;
        }
        if self.trunk.is_none() {
            self.counts.add(LayerStat::Local, row.len());
        }
        self.port.count(Counter::Received, row.len());
        self.port.input(row);
        Verdict::GoOn
    }
}

impl Receiver {
    /// Counts frames that end here.
    #[cold]
    fn lose(&self, cause: Cause, frames: u32, is_gone: bool) {
        if self.trunk.is_none() {
            return self.counts.lose(cause, frames);
        }
        self.counts.add(LayerStat::ParentLost, frames);
        if !is_gone {
            probe::lost(cause, frames, &self.port);
            self.port.count(Counter::ReceivedDropped, frames);
        }
    }

    /// Puts a long segment into the row, in one piece if the receiving stack keeps it.
    #[inline(never)]
    fn take_long(&self, frame: Mbuf, row: &mut Row, is_gone: bool) {
        match frame.plan() {
            Some(plan) if !self.port.keeps(&plan) => {
                if frame.cut(&plan, row).is_err() {
                    self.lose(Cause::NoMemory, 1, is_gone);
                }
            }
            _ => row.push(frame),
        }
    }
}

type Queue = TxQueue<Mbuf, Receiver, Kernel, StateMemory>;

/// An interface.
pub(crate) struct Child {
    number: u32,
    own: Port,
    trunk: Shared<Trunk>,
    inbox: Box<Queue>,
    outbox: Box<Queue>,
    counts: Shared<Counts>,
    _figures: Branch<Counts>,
    /// It is between two network stacks, or going.
    is_away: AtomicBool,
}

impl Child {
    /// An interface that is not in the system yet, with the figures of its number below
    /// `place`'s node.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(
        sleepable: &mut Sleepable,
        bare: &Unattached<Self>,
        trunk: Shared<Trunk>,
        number: u32,
        workers: &Shared<Workers>,
        place: (Parent, &CStr),
    ) -> Result<Box<Self>, Errno> {
        let counts = Shared::made(|| {
            let counters = collected(LayerStat::ALL.len(), |_| counter::Counter::new())?;
            let own = bare.port();
            Ok(Counts { counters, own })
        })?;
        let own = Receiver {
            port: bare.port(),
            trunk: None,
            counts: counts.clone(),
        };
        let parent = Receiver {
            port: trunk.parent().another(),
            trunk: Some(trunk.clone()),
            counts: counts.clone(),
        };
        let job = |which| bare.job(workers, number as usize * 2 + which);
        memory::try_box(Self {
            number,
            own: bare.port(),
            inbox: queue(own, job(INBOX)?)?,
            outbox: queue(parent, job(OUTBOX)?)?,
            _figures: figures(sleepable, &counts, number, place)?,
            counts,
            trunk,
            is_away: AtomicBool::new(false),
        })
        .map_err(|_| Errno::ENOMEM)
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn trunk(&self) -> &Shared<Trunk> {
        &self.trunk
    }

    /// Whether it is between two network stacks, or going.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::SeqCst)
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Empties the queues, to which nobody submits any more.
    pub(super) fn close(&self, sleepable: &mut Sleepable) {
        for queue in [&self.inbox, &self.outbox] {
            while queue.close(drop).is_err() {
                kernel::pause_ms(sleepable, 1);
            }
        }
    }

    /// Receives a frame that the parent has received.
    pub(super) fn receive(&self, mut frame: Mbuf, _epoch: &NetEpoch<'_>) {
        if !self.own.is_going() {
            return self.counts.lose(Cause::Down, 1);
        }
        self.counts.add(LayerStat::Steered, 1);
        self.own.count(Counter::Received, 1);
        self.own.adopt(&mut frame);
        let mut row = Row::new();
        row.push(frame);
        self.own.input(row);
    }

    /// There was no memory for a copy that it was to get.
    #[cold]
    pub(super) fn miss(&self) {
        self.counts.lose(Cause::NoMemory, 1);
    }

    /// Has it receive soon what the sibling `from` sends, or with 0 the parent.
    ///
    /// # Errors
    /// Why the frame is lost, which is counted.
    pub(super) fn hand(&self, frame: Mbuf, from: u32, _epoch: &NetEpoch<'_>) -> Result<(), Cause> {
        let handed = self.put(&self.inbox, &self.own, frame, from);
        if let Err(cause) = handed {
            self.counts.lose(cause, 1);
        }
        handed
    }

    #[inline(never)]
    fn put(&self, queue: &Queue, to: &Port, frame: Mbuf, from: u32) -> Result<(), Cause> {
        let frame = readdressed(frame, from, self.trunk.mac());
        let mut frame = frame.ok_or(Cause::NoMemory)?;
        frame.trust_checksum();
        to.adopt(&mut frame);
        let mut batch = Batch::new();
        // There is room for one.
        let _room = batch.push(frame);
        queue.submit(&mut batch).map_err(|_: Reason| Cause::Full)
    }

    /// Has the parent's network stack receive soon what it sends.
    fn hand_up(&self, frame: Mbuf) -> Result<(), Unsent> {
        let handed = self.put(&self.outbox, self.trunk.parent(), frame, self.number);
        handed.map_err(|cause| (cause, Errno::ENOBUFS))?;
        self.counts.add(LayerStat::ToParent, 1);
        Ok(())
    }

    fn hand_over(&self, frame: Mbuf, number: u32, epoch: &NetEpoch<'_>) -> Result<(), Unsent> {
        let sibling = self.trunk.member(number, epoch);
        let sibling = sibling.ok_or((Cause::Absent, Errno::EHOSTUNREACH))?;
        let handed = sibling.hand(frame, self.number, epoch);
        handed.map_err(|cause| (cause, Errno::ENOBUFS))?;
        self.counts.add(LayerStat::ToSiblings, 1);
        Ok(())
    }

    /// Whether it may send a frame.
    fn check(&self, frame: &Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Forgery> {
        if frame.is_tagged() {
            return Err(Forgery::Protocol);
        }
        let mac = self.trunk.mac();
        let table = self.trunk.table(epoch);
        let holds = |address| table.is_some_and(|table| table.holds(self.number, address));
        frame.read_front::<FRONT, _>(
            |front| l3::check(front, mac, holds),
            |result| *result == Err(Forgery::Unreadable),
        )
    }

    /// Sends a frame of its own to whom it is for.
    fn dispatch(&self, frame: Mbuf, destination: Mac, epoch: &NetEpoch<'_>) -> Result<(), Unsent> {
        if l3::is_group(destination) {
            let copies = self.trunk.copy_to(destination, self.number, &frame, epoch);
            self.counts.add(LayerStat::ToSiblings, copies);
            if let Some(copy) = frame.duplicate() {
                // That it was lost does not concern the others.
                let _ = self.hand_up(copy);
            }
            return self.to_wire(frame, epoch);
        }
        match l3::aliased(destination) {
            Some(PARENT) => self.hand_up(frame),
            Some(number) => self.hand_over(frame, number, epoch),
            None if destination == self.trunk.mac() => match self.trunk.addressee(&frame, epoch) {
                Some((number, _)) => self.hand_over(frame, number, epoch),
                None => self.hand_up(frame),
            },
            None => self.to_wire(frame, epoch),
        }
    }

    fn to_wire(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Unsent> {
        let parent = self.trunk.parent();
        if !parent.is_going() {
            return Err((Cause::Down, Errno::ENETDOWN));
        }
        let is_whole = !frame.traits().is_segmented;
        if is_whole && link::is_too_long(frame.packet_len(), parent.mtu()) {
            // The parent's MTU was lowered.
            super::follow::ask_in(epoch);
            return Err((Cause::TooLong, Errno::EMSGSIZE));
        }
        let sent = parent.send_helped(frame, epoch);
        sent.map_err(|error| (Cause::Parent, error))?;
        self.counts.add(LayerStat::ToWire, 1);
        Ok(())
    }
}

impl Interface for Child {
    fn transmit(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let (len, traits) = (frame.packet_len(), frame.traits());
        if self.trunk.is_gone() {
            self.own.count(Counter::SendErrors, 1);
            return Err(self.counts.unsent(Cause::Absent, Errno::ENETDOWN));
        }
        let admitted = self.own.admit(&frame, traits.is_segmented, epoch);
        admitted.map_err(|error| {
            let cause = match error {
                Errno::ENETDOWN => Cause::Down,
                _ => Cause::TooLong,
            };
            self.counts.unsent(cause, error)
        })?;
        let sent = match (self.check(&frame, epoch), ends(&frame)) {
            (Ok(()), Some((destination, _))) => self.dispatch(frame, destination, epoch),
            _ => Err((Cause::Forged, Errno::EACCES)),
        };
        sent.map_err(|(cause, error)| {
            let counter = match error {
                Errno::ENOBUFS => Counter::SendDropped,
                _ => Counter::SendErrors,
            };
            self.own.count(counter, 1);
            self.counts.unsent(cause, error)
        })?;
        self.own.count(Counter::Sent, 1);
        self.own.count(Counter::SentBytes, len);
        if traits.is_multicast {
            self.own.count(Counter::SentMulticast, 1);
        }
        Ok(())
    }

    /// Its figures go with it.
    fn retire(&self, _sleepable: &mut Sleepable) {}

    fn work(&self, number: usize, _epoch: &NetEpoch<'_>) {
        match number % 2 {
            INBOX => self.inbox.work(),
            _ => self.outbox.work(),
        }
    }

    fn enable(&self, sleepable: &mut Sleepable, wanted: Capabilities) {
        self.own.enable(sleepable, OFFER.negotiate(wanted));
    }

    fn changed(&self, epoch: &NetEpoch<'_>) {
        self.trunk.refresh(epoch);
    }

    fn largest_mtu(&self, _epoch: &NetEpoch<'_>) -> u32 {
        match self.trunk.is_gone() {
            true => self.own.mtu(),
            false => self.trunk.parent().mtu(),
        }
    }
}

fn queue(receiver: Receiver, job: Job) -> Result<Box<Queue>, Errno> {
    let settings = Settings {
        service: Service::Worker,
        ..Settings::of(ROOM as u64)
    };
    let platform = Kernel {
        clock: Clock::new(),
        job,
    };
    memory::boxed_in(|place| {
        TxQueue::new_in(place, ROOM, &settings, receiver, platform, StateMemory)
    })
}

fn figures(
    sleepable: &mut Sleepable,
    counts: &Shared<Counts>,
    number: u32,
    (node, name): (Parent, &CStr),
) -> Result<Branch<Counts>, Errno> {
    let mut branch = Branch::new(sleepable, counts.clone())?;
    let own = Text::<12>::format(format_args!("{number}"));
    let tree = branch.tree();
    let own = tree.node_labelled(node, own.as_c_str(), c"l3", name)?;
    stats::add(&mut branch, own, 0, |_: LayerStat| true)?;
    Ok(branch)
}
