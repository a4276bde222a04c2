// SPDX-License-Identifier: BSD-2-Clause
//! A parent: who has which address on it, and its part of each frame.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weft_engine::fib::Lock;
use weft_engine::l3::{self, ALIASED, FRONT, Holder, Mac, Member, Slot, Steering, Target};

use super::child::Child;
use crate::kpi::context::{NetEpoch, Sleepable};
use crate::kpi::epoch::in_net_epoch;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::Port;
use crate::kpi::kernel;
use crate::kpi::link::Handle;
use crate::kpi::lock::Mtx;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::memory::collected;
use crate::kpi::pfil::{Fate, Filter, Layer, Point};
use crate::kpi::swapped::Swapped;

/// The parent's number among its interfaces.
pub(super) const PARENT: u32 = 0;

/// A parent, as long as it has interfaces.
pub(super) struct Trunk {
    parent: Port,
    /// It is not where it was; nothing is sent to it any more.
    is_gone: AtomicBool,
    mac: AtomicU64,
    /// Held while the table is replaced.
    lock: Mtx,
    table: Swapped<Steering<Handle<Child>>>,
    /// There was no memory for a table that is due.
    is_due: AtomicBool,
}

/// What changes a table beside addresses and groups.
enum Change {
    None,
    Join(u32, Handle<Child>),
    Leave(u32),
}

impl Trunk {
    /// The trunk of an interface that is attached.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn new(sleepable: &mut Sleepable, parent: Port) -> Result<Self, Errno> {
        let mac = in_net_epoch(sleepable, |epoch| parent.mac(epoch));
        Ok(Self {
            parent,
            is_gone: AtomicBool::new(false),
            mac: AtomicU64::new(packed(mac)),
            lock: Mtx::new(c"weft l3")?,
            table: Swapped::nothing(),
            is_due: AtomicBool::new(false),
        })
    }

    pub(super) fn parent(&self) -> &Port {
        &self.parent
    }

    /// The parent's hardware address.
    #[inline]
    pub(super) fn mac(&self) -> Mac {
        let [_, _, mac @ ..] = self.mac.load(Ordering::Relaxed).to_be_bytes();
        mac
    }

    /// The parent's hardware address is another.
    pub(super) fn set_mac(&self, mac: Mac) {
        self.mac.store(packed(mac), Ordering::Relaxed);
    }

    /// Whether the parent is not where it was. What is found of it in the epoch before
    /// this says so may be used for as long as the epoch lasts.
    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::SeqCst)
    }

    /// The parent goes.
    pub(super) fn set_gone(&self) {
        self.is_gone.store(true, Ordering::SeqCst);
    }

    /// The table.
    #[inline]
    pub(super) fn table<'e>(&'e self, epoch: &NetEpoch<'e>) -> Option<&'e Steering<Handle<Child>>> {
        self.table.get(epoch)
    }

    /// The interface of that number, if it is attached.
    #[inline]
    pub(super) fn member<'e>(&'e self, number: u32, epoch: &NetEpoch<'e>) -> Option<&'e Child> {
        self.table(epoch)?.member(number)?.get(epoch)
    }

    /// Whether there is an interface of that number.
    pub(super) fn has(&self, number: u32, epoch: &NetEpoch<'_>) -> bool {
        self.table(epoch)
            .is_some_and(|table| table.member(number).is_some())
    }

    /// Whether it has no interface.
    pub(super) fn is_idle(&self, epoch: &NetEpoch<'_>) -> bool {
        self.table(epoch).is_none_or(Steering::is_empty)
    }

    /// The handle of one of its interfaces, if that port is one's.
    pub(super) fn handle_of<'e>(
        &'e self,
        port: &Port,
        epoch: &NetEpoch<'e>,
    ) -> Option<&'e Handle<Child>> {
        let mut members = self.table(epoch)?.members();
        let (_, handle) = members.find(|(_, handle)| handle.port().is(port))?;
        Some(handle)
    }

    /// Takes an interface in, with the addresses that it has.
    ///
    /// # Errors
    /// `ENOMEM`; nothing has changed.
    pub(super) fn join(
        &self,
        number: u32,
        handle: Handle<Child>,
        epoch: &NetEpoch<'_>,
    ) -> Result<(), Errno> {
        self.rebuild(Change::Join(number, handle), epoch)
    }

    /// Lets one go.
    ///
    /// # Errors
    /// As for [`join`](Trunk::join).
    pub(super) fn leave(&self, number: u32, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        self.rebuild(Change::Leave(number), epoch)
    }

    /// Reads all addresses and groups anew. If there is no memory, that is done later.
    pub(super) fn refresh(&self, epoch: &NetEpoch<'_>) {
        if self.rebuild(Change::None, epoch).is_err() {
            self.is_due.store(true, Ordering::Relaxed);
        }
        // What was replaced is to be dropped.
        super::follow::ask_in(epoch);
    }

    /// Drops tables that were replaced, and does what was left to do.
    pub(super) fn reap(&self, sleepable: &mut Sleepable) {
        while self.is_due.swap(false, Ordering::Relaxed) {
            if in_net_epoch(sleepable, |epoch| self.rebuild(Change::None, epoch)).is_err() {
                self.is_due.store(true, Ordering::Relaxed);
                kernel::pause_ms(sleepable, 10);
            }
        }
        self.table.reap(sleepable);
    }

    fn rebuild(&self, change: Change, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        self.lock.with(|| {
            let before = self.table(epoch);
            let old = before.into_iter().flat_map(Steering::members);
            let old = old.map(|(number, handle)| (number, handle.clone()));
            let (mut joins, leaves) = match change {
                Change::None => (None, None),
                Change::Join(number, handle) => (Some((number, handle)), None),
                Change::Leave(number) => (None, Some(number)),
            };
            let had = |number| before.is_some_and(|table| table.member(number).is_some());
            let count = before.map_or(0, Steering::len) + usize::from(joins.is_some());
            let count = count.saturating_sub(usize::from(leaves.is_some_and(had)));
            let mut old = old.filter(|(number, _)| Some(*number) != leaves).peekable();
            let members = collected(count, |_| {
                let is_next = |(number, _): &mut (u32, _)| {
                    old.peek().is_none_or(|(other, _)| *number < *other)
                };
                let next = joins.take_if(is_next).or_else(|| old.next());
                let (number, handle) = next.ok_or(Errno::EINVAL)?;
                member(number, handle)
            })?;
            let parent = match self.is_gone() {
                true => Vec::new(),
                false => self.parent.addresses()?,
            };
            let claimed: usize = members.iter().map(|member| member.addresses.len()).sum();
            let room = Slot::room(claimed.saturating_add(parent.len()));
            let slots = collected(room, |_| Ok(Slot::EMPTY))?;
            let seed = kernel::random_seed();
            let table = Steering::build(&parent, members, slots, before, seed);
            self.table.replace(table).map_err(|_| Errno::ENOMEM)
        })
    }

    /// For whom a frame is.
    #[inline]
    fn target(frame: &Mbuf) -> Target {
        frame.read_front::<FRONT, _>(l3::target, |_| true)
    }

    /// The interface that has an address.
    #[inline]
    pub(super) fn holder<'e>(
        &'e self,
        address: IpAddr,
        epoch: &NetEpoch<'e>,
    ) -> Option<(u32, &'e Handle<Child>)> {
        match self.table(epoch)?.holder(address) {
            Holder::Member(number, handle) => Some((number, handle)),
            Holder::Parent | Holder::Nobody => None,
        }
    }

    /// For whom a frame to the common hardware address is among the interfaces.
    #[inline]
    pub(super) fn addressee<'e>(
        &'e self,
        frame: &Mbuf,
        epoch: &NetEpoch<'e>,
    ) -> Option<(u32, &'e Handle<Child>)> {
        match Self::target(frame) {
            Target::Holder { address, .. } => self.holder(address, epoch),
            Target::Group(_) | Target::Parent => None,
        }
    }

    /// A frame from the wire, or from one of the interfaces.
    fn received(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Fate {
        let Some((_, source)) = ends(&frame) else {
            return Fate::Passed(frame);
        };
        // Those of the interfaces were handed to whom they are for.
        if source == self.mac() || frame.is_tagged() {
            return Fate::Passed(frame);
        }
        let group = match Self::target(&frame) {
            Target::Parent => return Fate::Passed(frame),
            Target::Group(group) => group,
            Target::Holder { address, is_offer } => match self.holder(address, epoch) {
                Some((_, handle)) => {
                    if let Some(child) = handle.get(epoch) {
                        child.receive(frame, epoch);
                    }
                    return Fate::Taken;
                }
                None if is_offer => l3::BROADCAST,
                None => return Fate::Passed(frame),
            },
        };
        for (_, handle) in self
            .table(epoch)
            .into_iter()
            .flat_map(|table| table.listeners(group))
        {
            match (handle.get(epoch), frame.duplicate()) {
                (Some(child), Some(copy)) => child.receive(copy, epoch),
                (Some(child), None) => child.miss(),
                (None, _) => (),
            }
        }
        Fate::Passed(frame)
    }

    /// A frame that the parent's network stack sends.
    fn sent(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Fate {
        let Some((destination, _)) = ends(&frame).filter(|_| !frame.is_tagged()) else {
            return Fate::Passed(frame);
        };
        if l3::is_group(destination) {
            if let Target::Group(group) = Self::target(&frame) {
                self.copy_to(group, PARENT, &frame, epoch);
            }
            return Fate::Passed(frame);
        }
        let number = match l3::aliased(destination) {
            Some(number) => Some(number),
            None if destination == self.mac() => {
                self.addressee(&frame, epoch).map(|(number, _)| number)
            }
            None => None,
        };
        match number {
            None => Fate::Passed(frame),
            Some(number) => {
                if let Some(child) = self.member(number, epoch) {
                    // If it is lost, it counts as such.
                    let _ = child.hand(frame, PARENT, epoch);
                }
                Fate::Taken
            }
        }
    }

    /// Hands copies of a frame to those who have joined a group, but for its sender. How
    /// many got one.
    pub(super) fn copy_to(&self, group: Mac, from: u32, frame: &Mbuf, epoch: &NetEpoch<'_>) -> u32 {
        let mut count = 0;
        let table = self.table(epoch);
        for (number, handle) in table.into_iter().flat_map(|table| table.listeners(group)) {
            if number == from {
                continue;
            }
            match (handle.get(epoch), frame.duplicate()) {
                (Some(child), Some(copy)) => {
                    count += u32::from(child.hand(copy, from, epoch).is_ok());
                }
                (Some(child), None) => child.miss(),
                (None, _) => (),
            }
        }
        count
    }
}

impl Filter for Trunk {
    const LAYER: Layer = Layer::Ethernet;
    // Firewalls see frames of the parent first.
    const IS_LAST: bool = true;

    fn pass(&self, epoch: &NetEpoch<'_>, frame: Mbuf, point: &Point) -> Fate {
        if !point.is_at(&self.parent) {
            return Fate::Passed(frame);
        }
        match point.is_inward() {
            true => self.received(frame, epoch),
            false => self.sent(frame, epoch),
        }
    }
}

/// An interface, and what it claims now.
fn member(number: u32, handle: Handle<Child>) -> Result<Member<Handle<Child>>, Errno> {
    let port = handle.port();
    Ok(Member {
        number,
        addresses: port.addresses()?,
        groups: port.groups()?,
        takes_all: port.takes_all_groups(),
        handle,
    })
}

/// A frame's destination and source.
#[inline]
pub(super) fn ends(frame: &Mbuf) -> Option<(Mac, Mac)> {
    frame.read_front::<12, _>(l3::ends, Option::is_none)
}

/// A frame that one of the interfaces sent, or the parent, as a neighbour on the host is
/// to get it.
pub(super) fn readdressed(frame: Mbuf, from: u32, mac: Mac) -> Option<Mbuf> {
    frame.with_front(ALIASED as u32, |front| l3::readdress(front, from, mac))
}

fn packed(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}
