// SPDX-License-Identifier: BSD-2-Clause
//! Drivers in C as one more driver of the engine's: each method calls the function of the
//! driver's table. Rings, and which frame is in which descriptors, are kept here.

use alloc::boxed::Box;
use alloc::vec::Vec;

use weft_engine::nic::{
    Cause, Error, Events, Filter, Full, Id, Interrupts, Label, Lane, Link, Nic, Offer, Offload,
    Ring, RxRing, Segment, Setup, Taken, TxRing, VectorKind, Wanted, full, on_taking,
};

use super::card::{Card, Prepared};
use super::core::Core;
use super::{AnyCard, CARDS};
use crate::kpi::cdriver::{Calls, Place, Queue, Table, Way};
use crate::kpi::context::Sleepable;
use crate::kpi::device::Device;
use crate::kpi::dma::Block;
use crate::kpi::errno::Errno;
use crate::kpi::memory::{collected, try_box};
use crate::kpi::nic::Kernel;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;

/// A device with a driver in C.
pub(crate) struct InC {
    kernel: Kernel,
    table: Shared<Table>,
}

impl InC {
    /// Bytes of a receive buffer.
    fn buffer(&self, setup: &Setup) -> u32 {
        match self.table.buffer {
            0 => setup.frame_bytes(),
            bytes => bytes,
        }
    }

    /// A ring in memory of its own.
    fn ring(&self, way: Way, slots: u16, who: (u16, u16)) -> Result<Descriptors, Error> {
        let table = &*self.table;
        let [tx, rx] = table.bytes;
        let bytes = match way {
            Way::Tx => tx,
            Way::Rx => rx,
        };
        let ring = Ring::new(&self.kernel, slots, bytes, table.align)?;
        let queue = Queue::new(&table.calls, way, ring.memory(), slots, who)?;
        let lane = Lane::new(ring, table.spare);
        Ok(Descriptors { queue, lane })
    }
}

impl Nic<Kernel> for InC {
    const NAME: &'static str = "driver in C";
    const IDS: &'static [Id] = &[];
    type Tx = Sending;
    type Rx = Receiving;
    type Interrupts = Lines;

    fn attach(kernel: &Kernel) -> Result<Self, Error> {
        let table = kernel.table().ok_or(Error::NoResource("table"))?.clone();
        let kernel = kernel.clone();
        Ok(Self { kernel, table })
    }

    fn offer(&self) -> &Offer {
        &self.table.offer
    }

    fn interrupts(&self, _kind: VectorKind) -> Lines {
        Lines(self.table.calls)
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), Error> {
        self.table.calls.begin(setup, self.buffer(setup))
    }

    fn tx(&mut self, setup: &Setup, number: u16) -> Result<Sending, Error> {
        let slots = setup.tx_slots;
        let who = (number, setup.vectors.tx(number));
        Ok(Sending {
            descriptors: self.ring(Way::Tx, slots, who)?,
            lasts: collected(slots.into(), |_| Ok(0)).map_err(|_| Error::NoMemory)?,
            extra: self.table.extra,
        })
    }

    fn rx(&mut self, setup: &Setup, number: u16) -> Result<Receiving, Error> {
        let who = (number, setup.vectors.rx(number));
        Ok(Receiving {
            descriptors: self.ring(Way::Rx, setup.rx_slots, who)?,
            bytes: self.buffer(setup),
        })
    }

    fn start(&mut self, _setup: &Setup) -> Result<(), Error> {
        self.table.calls.start()
    }

    fn stop(&mut self) {
        self.table.calls.stop();
    }

    fn filter(&mut self, filter: &Filter<'_>) {
        self.table.calls.filter(filter);
    }

    fn link(&mut self) -> Link {
        self.table.calls.link()
    }

    fn events(&mut self) -> Events {
        self.table.calls.events()
    }

    fn labels(&self) -> &[Label] {
        &self.table.labels
    }

    fn statistic(&mut self, label: usize, queue: u16) -> u64 {
        self.table.calls.figure(label, queue)
    }
}

/// Its interrupts.
pub(crate) struct Lines(Calls);

impl Interrupts for Lines {
    #[inline]
    fn cause(&self, vector: u16) -> Cause {
        self.0.cause(vector)
    }

    #[inline]
    fn mask(&self, vector: u16) {
        self.0.mask(vector);
    }

    #[inline]
    fn unmask(&self, vector: u16) {
        self.0.unmask(vector);
    }
}

/// A queue as the driver knows it, and where it is filled and emptied. Dropped in order: first
/// what leads to the memory.
struct Descriptors {
    queue: Queue,
    lane: Lane<Block>,
}

impl Descriptors {
    #[inline(always)]
    fn place(&self) -> Place {
        let next = self.lane.next();
        Place {
            next,
            oldest: self.lane.oldest().map_or(next, |(oldest, _)| oldest),
            used: self.lane.used(),
        }
    }

    /// The driver has filled so many.
    #[inline(always)]
    fn filled(&mut self, count: u16) -> Result<u16, Full> {
        let put = self.lane.put(count, |_, _, _| {}, |_, _| {});
        put.map(|put| put.last).ok_or(Full)
    }
}

/// A transmit queue.
pub(crate) struct Sending {
    descriptors: Descriptors,
    /// By the first descriptor of a frame: the last one.
    lasts: Vec<u16>,
    extra: u16,
}

impl Sending {
    /// Whether the device is done with the oldest frame: its last descriptor.
    #[inline]
    fn oldest_done(&mut self) -> Option<u16> {
        let of = &mut self.descriptors;
        let (first, _) = of.lane.oldest()?;
        let last = *self.lasts.get(usize::from(first))?;
        let place = of.place();
        of.queue.tx_done(place, first, last).then_some(last)
    }
}

impl TxRing for Sending {
    const IS_IN_ORDER: bool = true;

    fn tokens(&self) -> u16 {
        self.descriptors.lane.ring().slots()
    }

    #[inline]
    fn room(&self) -> u16 {
        self.descriptors.lane.room().saturating_sub(self.extra)
    }

    #[inline]
    fn put(&mut self, segments: &[Segment], offload: &Offload) -> Result<u16, Full> {
        if usize::from(self.room()) < segments.len() {
            return Err(Full);
        }
        let of = &mut self.descriptors;
        let place = of.place();
        let count = of.queue.tx_put(place, segments, offload);
        let last = of.filled(count)?;
        if let Some(at) = self.lasts.get_mut(usize::from(place.next)) {
            *at = last;
        }
        Ok(last)
    }

    #[inline]
    fn kick(&mut self) {
        let place = self.descriptors.place();
        self.descriptors.queue.tx_kick(place);
    }

    #[inline]
    fn reap(&mut self) -> Option<u16> {
        let last = self.oldest_done()?;
        on_taking();
        self.descriptors.lane.finish(last)?;
        Some(last)
    }

    fn arm(&mut self) -> bool {
        let place = self.descriptors.place();
        self.descriptors.queue.tx_arm(place);
        full();
        self.oldest_done().is_some()
    }
}

/// A receive queue.
pub(crate) struct Receiving {
    descriptors: Descriptors,
    bytes: u32,
}

impl Receiving {
    /// What the device says of the oldest buffer, if it is done with it.
    #[inline]
    fn oldest_done(&mut self) -> Option<Taken> {
        let of = &mut self.descriptors;
        let place = of.place();
        if place.used == 0 {
            return None;
        }
        of.queue.rx_take(place)
    }
}

impl RxRing for Receiving {
    fn tokens(&self) -> u16 {
        self.descriptors.lane.ring().slots()
    }

    #[inline]
    fn room(&self) -> u16 {
        self.descriptors.lane.room()
    }

    #[inline]
    fn wanted(&self) -> Option<Wanted> {
        let bytes = self.bytes;
        (self.room() > 0).then_some(Wanted { bytes })
    }

    #[inline]
    fn next(&self) -> Option<u16> {
        Some(self.descriptors.lane.next())
    }

    #[inline]
    fn give(&mut self, buffer: Segment) -> Result<u16, Full> {
        if self.room() == 0 {
            return Err(Full);
        }
        let of = &mut self.descriptors;
        let place = of.place();
        of.queue.rx_put(place, &buffer);
        of.filled(1)
    }

    #[inline]
    fn kick(&mut self) {
        let place = self.descriptors.place();
        self.descriptors.queue.rx_kick(place);
    }

    #[inline]
    fn take(&mut self) -> Option<Taken> {
        let taken = self.oldest_done()?;
        on_taking();
        self.descriptors.lane.finish(taken.token)?;
        Some(taken)
    }

    #[inline]
    fn arm(&mut self) -> bool {
        let place = self.descriptors.place();
        self.descriptors.queue.rx_arm(place);
        full();
        self.oldest_done().is_some()
    }

    fn moderate(&mut self, gap_ns: u32) {
        let place = self.descriptors.place();
        self.descriptors.queue.rx_moderate(place, gap_ns);
    }
}

/// A device that is attached, as its driver has it.
pub(crate) struct Attachment {
    core: Shared<Core<InC>>,
    card: Slept<Option<Box<Card<InC>>>>,
}

impl Attachment {
    /// A device that is ready for the system.
    ///
    /// # Errors
    /// Why not, which has been logged; nothing is left behind.
    #[inline(never)]
    pub(crate) fn prepared(
        sleepable: &mut Sleepable,
        device: &Shared<Device>,
        table: Shared<Table>,
    ) -> Result<(Box<Self>, Prepared<InC>), Errno> {
        CARDS.enter()?;
        let prepared = Kernel::with_table(sleepable, device, table)
            .and_then(|kernel| Card::prepared(sleepable, device.driver_name(), kernel))
            .and_then(|card| {
                let attachment = Self {
                    core: card.core().clone(),
                    card: Slept::new(None),
                };
                let attachment = try_box(attachment).map_err(|_| Errno::ENOMEM)?;
                Ok((attachment, card))
            });
        if prepared.is_err() {
            CARDS.leave();
        }
        prepared
    }

    /// Puts it in.
    pub(crate) fn enter(&self, sleepable: &mut Sleepable, card: Prepared<InC>) {
        let card = card.put_in(sleepable);
        self.card.with(sleepable, |_, place| *place = Some(card));
    }

    /// Takes it out.
    ///
    /// # Errors
    /// `EBUSY`, which has been logged; then nothing has changed.
    pub(crate) fn leave(&self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let card = self.card.with(sleepable, |_, place| {
            place.as_ref().map_or(Ok(()), |card| card.refuse_to_go())?;
            Ok(place.take())
        })?;
        if let Some(card) = card {
            card.go(sleepable);
            CARDS.leave();
        }
        Ok(())
    }

    /// Stops the device until it is resumed.
    pub(crate) fn suspend(&self, sleepable: &mut Sleepable) {
        self.core.suspend(sleepable);
    }

    /// Has it go again.
    pub(crate) fn resume(&self, sleepable: &mut Sleepable) {
        self.core.resume(sleepable);
    }

    /// A vector has interrupted. Does not sleep.
    pub(crate) fn interrupt(&self, vector: u32) {
        self.core.interrupted(vector);
    }

    /// Events are to be looked at. Does not sleep.
    pub(crate) fn event(&self) {
        self.core.chime.ring();
    }
}
