// SPDX-License-Identifier: BSD-2-Clause
//! Calls of the functions that a driver in C has, and what they are told and say.

use alloc::boxed::Box;
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;
use weft_engine::nic::{
    Cause, Error, Events, Extras, Filter, Link, MOST_SEGMENTS, Meta, Offload, Segment, Setup,
    Taken, Task, Verdict,
};

use crate::kpi::dma::Block;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet;
use crate::kpi::mbuf_dma::hash_kind;
use crate::kpi::memory::try_box;

const _: () = {
    assert!(size_of::<Segment>() == size_of::<c::weft_nic_segment>());
    assert!(align_of::<Segment>() == align_of::<c::weft_nic_segment>());
    assert!(MOST_SEGMENTS == c::WEFT_NIC_SEGMENTS as usize);
};

/// A driver's functions, and what they are called with.
#[derive(Clone, Copy)]
pub(crate) struct Calls {
    pub(super) driver: NonNull<c::weft_nic_driver>,
    pub(super) softc: *mut c_void,
}

// SAFETY: the table is not written to, and the driver's functions may be called by any thread.
unsafe impl Send for Calls {}
// SAFETY: as above.
unsafe impl Sync for Calls {}

/// Calls a function of the table with its first argument and more, or returns what is said
/// if there is none.
macro_rules! call {
    ($calls:expr, $first:expr, $name:ident($($more:expr),*), $without:expr) => {
        // SAFETY: the table is there while the device is attached. The function is called
        // where the header says that it may be.
        match unsafe { $calls.driver.as_ref() }.$name {
            // SAFETY: as above.
            Some(function) => unsafe { function($first, $($more),*) },
            None => $without,
        }
    };
}

/// What a function returned that says 0 or an error number.
fn outcome(what: &'static str, returned: c_int) -> Result<(), Error> {
    match returned {
        0 => Ok(()),
        error if error == Errno::ENOMEM.number() => Err(Error::NoMemory),
        error => Err(Error::Broken(what, error as u64)),
    }
}

impl Calls {
    /// Resets the device.
    ///
    /// # Errors
    /// What the driver said.
    pub(crate) fn begin(&self, setup: &Setup, buffer: u32) -> Result<(), Error> {
        let setup = setup_of(setup, buffer);
        let error = call!(self, self.softc, begin(&raw const setup), 0);
        outcome("begin", error)
    }

    /// Has the device go.
    ///
    /// # Errors
    /// What the driver said.
    pub(crate) fn start(&self) -> Result<(), Error> {
        outcome("start", call!(self, self.softc, start(), 0))
    }

    /// Has it stop.
    pub(crate) fn stop(&self) {
        call!(self, self.softc, stop(), ());
    }

    /// Says what to receive.
    pub(crate) fn filter(&self, filter: &Filter<'_>) {
        let filter = c::weft_nic_filter {
            promiscuous: filter.promiscuous,
            all_groups: filter.all_multicast,
            count: filter.multicast.len() as c_uint,
            groups: filter.multicast.as_ptr(),
        };
        call!(self, self.softc, filter(&raw const filter), ());
    }

    /// What the link does.
    pub(crate) fn link(&self) -> Link {
        let mut link = c::weft_nic_link {
            up: false,
            full_duplex: true,
            mbps: 0,
        };
        call!(self, self.softc, link(&raw mut link), ());
        match link.up {
            false => Link::Down,
            true => Link::Up {
                mbps: link.mbps,
                full_duplex: link.full_duplex,
            },
        }
    }

    /// What happened.
    pub(crate) fn events(&self) -> Events {
        let said = call!(self, self.softc, events(), 0);
        Events::from_bits_truncate(said)
    }

    /// The figure of that place.
    pub(crate) fn figure(&self, place: usize, queue: u16) -> u64 {
        let place = place as c_uint;
        call!(self, self.softc, figure(place, queue.into()), 0)
    }

    /// Why an interrupt came.
    pub(crate) fn cause(&self, vector: u16) -> Cause {
        const ALL: u32 = c::WEFT_NIC_QUEUES | c::WEFT_NIC_EVENT;
        let said = call!(self, self.softc, intr_cause(vector.into()), ALL);
        Cause {
            is_ours: said & ALL != 0,
            queues: said & c::WEFT_NIC_QUEUES != 0,
            event: said & c::WEFT_NIC_EVENT != 0,
        }
    }

    /// Masks a vector.
    pub(crate) fn mask(&self, vector: u16) {
        call!(self, self.softc, intr_mask(vector.into()), ());
    }

    /// Unmasks it.
    pub(crate) fn unmask(&self, vector: u16) {
        call!(self, self.softc, intr_unmask(vector.into()), ());
    }
}

/// What of a setup a driver in C is told.
fn setup_of(setup: &Setup, buffer: u32) -> c::weft_nic_setup {
    let vectors = &setup.vectors;
    c::weft_nic_setup {
        mac: setup.mac,
        vectors: vectors.count,
        event_vector: vectors.event(),
        tx_queues: setup.tx_queues,
        rx_queues: setup.rx_queues,
        tx_slots: setup.tx_slots,
        rx_slots: setup.rx_slots,
        mtu: setup.mtu,
        frame_bytes: setup.frame_bytes(),
        rx_bytes: buffer,
        capabilities: ifnet::bits_of(setup.capabilities),
        features: features_of(setup.extras),
        hashes: setup.rss.hashes.bits().into(),
        key: setup.rss.key,
        table: setup.rss.table,
    }
}

/// What the header calls what the engine calls so.
pub(super) const FEATURES: [(Extras, u32); 2] = [
    (Extras::RSS, c::WEFT_NIC_RSS),
    (Extras::HASH, c::WEFT_NIC_HASH),
];

fn features_of(extras: Extras) -> u32 {
    let there = FEATURES.iter().filter(|(one, _)| extras.contains(*one));
    there.fold(0, |all, (_, bit)| all | bit)
}

/// Where a ring is filled and emptied.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// To be filled next.
    pub(crate) next: u16,
    /// That the device has had for longest.
    pub(crate) oldest: u16,
    /// That the device has.
    pub(crate) used: u16,
}

/// A queue, as a driver in C knows it.
pub(crate) struct Queue {
    calls: Calls,
    /// A box's, to which the driver may keep a pointer.
    ring: NonNull<c::weft_nic_ring>,
}

// SAFETY: the ring's place is this value's own; drivers read what does not change, or in calls.
unsafe impl Send for Queue {}

/// Of which kind a queue is.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// By which frames are sent.
    Tx,
    /// By which they are received.
    Rx,
}

impl Queue {
    /// Tells a driver of a queue with descriptors in that memory.
    ///
    /// # Errors
    /// What the driver said; [`Error::NoMemory`].
    pub(crate) fn new(
        calls: &Calls,
        way: Way,
        memory: &Block,
        slots: u16,
        (queue, vector): (u16, u16),
    ) -> Result<Self, Error> {
        let (desc, address) = memory.ends();
        let ring = c::weft_nic_ring {
            softc: calls.softc,
            desc: desc.as_ptr().cast(),
            address,
            slots,
            queue,
            vector,
            next: 0,
            oldest: 0,
            used: 0,
        };
        let ring = try_box(ring).map_err(|_| Error::NoMemory)?;
        let queue = Self {
            calls: *calls,
            ring: NonNull::from(Box::leak(ring)),
        };
        let (softc, ring) = (calls.softc, queue.ring.as_ptr());
        match way {
            Way::Tx => outcome("tx_init", call!(calls, softc, tx_init(ring), 0))?,
            Way::Rx => outcome("rx_init", call!(calls, softc, rx_init(ring), 0))?,
        }
        Ok(queue)
    }

    /// The ring, which the driver finds like this.
    #[inline(always)]
    fn at(&self, place: Place) -> *mut c::weft_nic_ring {
        let ring = self.ring.as_ptr();
        // SAFETY: the ring is this value's own; one thread at a time calls for a queue.
        unsafe {
            (*ring).next = place.next;
            (*ring).oldest = place.oldest;
            (*ring).used = place.used;
        }
        ring
    }

    /// Describes a frame: in how many descriptors the driver says that it did.
    #[inline]
    pub(crate) fn tx_put(&mut self, at: Place, segments: &[Segment], offload: &Offload) -> u16 {
        let (ring, offload) = (self.at(at), offload_of(offload));
        let (first, count) = (segments.as_ptr().cast(), segments.len() as c_uint);
        let put = call!(
            self.calls,
            ring,
            tx_put(first, count, &raw const offload),
            0
        );
        u16::try_from(put).unwrap_or(u16::MAX)
    }

    /// Rings the doorbell.
    #[inline]
    pub(crate) fn tx_kick(&mut self, at: Place) {
        let ring = self.at(at);
        call!(self.calls, ring, tx_kick(), ());
    }

    /// Whether the device is done with the frame that has those ends.
    #[inline]
    pub(crate) fn tx_done(&mut self, at: Place, first: u16, last: u16) -> bool {
        let (ring, first, last) = (self.at(at), first.into(), last.into());
        call!(self.calls, ring, tx_done(first, last), false)
    }

    /// Asks for an interrupt.
    #[inline]
    pub(crate) fn tx_arm(&mut self, at: Place) {
        let ring = self.at(at);
        call!(self.calls, ring, tx_arm(), ());
    }

    /// Gives a buffer.
    #[inline]
    pub(crate) fn rx_put(&mut self, at: Place, buffer: &Segment) {
        let (ring, buffer) = (self.at(at), ptr::from_ref(buffer).cast());
        call!(self.calls, ring, rx_put(buffer), ());
    }

    /// Rings the doorbell.
    #[inline]
    pub(crate) fn rx_kick(&mut self, at: Place) {
        let ring = self.at(at);
        call!(self.calls, ring, rx_kick(), ());
    }

    /// What the device says of its oldest buffer, if it is done with it.
    #[inline]
    pub(crate) fn rx_take(&mut self, at: Place) -> Option<Taken> {
        let mut said = c::weft_nic_received {
            skip: 0,
            bytes: 0,
            last: false,
            bad: false,
            flags: 0,
            hash_type: 0,
            hash: 0,
            tag: 0,
            merged: 0,
        };
        let ring = self.at(at);
        let is_done = call!(self.calls, ring, rx_take(&raw mut said), false);
        is_done.then(|| taken_of(at.oldest, &said))
    }

    /// Asks for an interrupt.
    #[inline]
    pub(crate) fn rx_arm(&mut self, at: Place) {
        let ring = self.at(at);
        call!(self.calls, ring, rx_arm(), ());
    }

    /// Keeps interrupts apart.
    pub(crate) fn rx_moderate(&mut self, at: Place, gap_ns: u32) {
        let ring = self.at(at);
        call!(self.calls, ring, rx_moderate(gap_ns), ());
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`; the driver has stopped, and does not look there any more.
        drop(unsafe { Box::from_raw(self.ring.as_ptr()) });
    }
}

#[inline(always)]
fn flag(is: bool, flag: u32) -> u8 {
    if is { flag as u8 } else { 0 }
}

#[inline]
fn offload_of(offload: &Offload) -> c::weft_nic_offload {
    let task = match offload.task {
        Task::None => c::WEFT_NIC_PLAIN,
        Task::Checksum => c::WEFT_NIC_CHECKSUM,
        Task::Segment => c::WEFT_NIC_CUT,
    };
    c::weft_nic_offload {
        task: task as u8,
        flags: flag(offload.is_ipv6, c::WEFT_NIC_IPV6)
            | flag(offload.is_tcp, c::WEFT_NIC_TCP)
            | flag(offload.vlan.is_some(), c::WEFT_NIC_TAG),
        network: offload.network,
        transport: offload.transport,
        sum: offload.sum,
        payload: offload.payload,
        mss: offload.mss,
        tag: offload.vlan.unwrap_or(0),
    }
}

#[inline]
fn taken_of(token: u16, said: &c::weft_nic_received) -> Taken {
    let has = |bit: u32| u32::from(said.flags) & bit != 0;
    let verdict = |seen, good| has(seen).then(|| has(good));
    Taken {
        token,
        skip: said.skip,
        bytes: said.bytes,
        is_last: said.last,
        is_bad: said.bad,
        meta: Meta {
            verdict: Verdict::of(
                verdict(c::WEFT_NIC_IP_SEEN, c::WEFT_NIC_IP_GOOD),
                verdict(c::WEFT_NIC_L4_SEEN, c::WEFT_NIC_L4_GOOD),
            ),
            vlan: has(c::WEFT_NIC_TAG).then_some(said.tag),
            hash: said.hash,
            hash_kind: hash_kind(said.hash_type),
            segments: said.merged,
            ..Meta::NOTHING
        },
    }
}
