// SPDX-License-Identifier: BSD-2-Clause
//! An adapter for tests: a port and its queues, as `kmod` has them, without threads.

use super::{Host, HostPacket, Ledger, Model};
use crate::l3::Mac;
use crate::nic::{
    Asked, Error, Filter, Health, Interrupts, Link, Meta, Nic, Offload, Port, Queues, Receiver,
    Refused, Rss, Setup, Transmitter, TxFigures, VectorKind, Vectors, VlanSet, Why, describe,
};
use std::cell::RefCell;
use std::fmt;

type Tx<M, D> = Transmitter<Host<M>, <D as Nic<Host<M>>>::Tx>;
type Rx<M, D> = Receiver<Host<M>, <D as Nic<Host<M>>>::Rx>;

/// A port's queues.
pub struct Sides<M: Model, D: Nic<Host<M>>> {
    tx: Vec<RefCell<Tx<M, D>>>,
    rx: Vec<RefCell<Rx<M, D>>>,
}

impl<M: Model, D: Nic<Host<M>>> fmt::Debug for Sides<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sides").finish_non_exhaustive()
    }
}

impl<M: Model, D: Nic<Host<M>>> Queues<Host<M>, D> for Sides<M, D> {
    fn tx<R>(&self, number: u16, with: impl FnOnce(&mut Tx<M, D>) -> R) -> Option<R> {
        let queue = self.tx.get(usize::from(number))?;
        Some(with(&mut queue.borrow_mut()))
    }

    fn rx<R>(&self, number: u16, with: impl FnOnce(&mut Rx<M, D>) -> R) -> Option<R> {
        let queue = self.rx.get(usize::from(number))?;
        Some(with(&mut queue.borrow_mut()))
    }
}

/// What a device is to receive, as it is kept for resets.
#[derive(Clone, Debug)]
pub struct Wants {
    /// All.
    pub promiscuous: bool,
    /// All groups.
    pub all_multicast: bool,
    /// These groups.
    pub multicast: Vec<Mac>,
    /// These VLANs.
    pub vlans: VlanSet,
}

impl Wants {
    /// As a driver is told.
    pub fn filter(&self) -> Filter<'_> {
        Filter {
            promiscuous: self.promiscuous,
            all_multicast: self.all_multicast,
            multicast: &self.multicast,
            vlans: &self.vlans,
        }
    }
}

/// A host, its card, and the driver.
pub struct Machine<M: Model, D: Nic<Host<M>>> {
    /// The host.
    pub host: Host<M>,
    /// The device.
    pub port: Port<Host<M>, D>,
    /// Its queues.
    pub sides: Sides<M, D>,
    /// What it is to receive.
    pub wants: Wants,
    /// Frames that the port has taken.
    pub taken: u64,
}

impl<M: Model, D: Nic<Host<M>>> fmt::Debug for Machine<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl<M: Model, D: Nic<Host<M>>> Machine<M, D> {
    /// A host with that card, which is attached and stopped.
    ///
    /// # Errors
    /// Why it can't be driven.
    pub fn new(model: M) -> Result<Self, Error> {
        Self::on(Host::new(model))
    }

    /// The same, on a host that there is.
    ///
    /// # Errors
    /// As for [`new`](Machine::new).
    pub fn on(host: Host<M>) -> Result<Self, Error> {
        let port = Port::<Host<M>, D>::attach(host.clone())?;
        let offer = port.offer();
        let tx = (0..offer.tx_queues).map(|_| RefCell::new(Transmitter::new(&offer.limits)));
        let rx = (0..offer.rx_queues).map(|_| RefCell::new(Receiver::new(host.clone())));
        let sides = Sides {
            tx: tx.collect(),
            rx: rx.collect(),
        };
        Ok(Self {
            host,
            port,
            sides,
            wants: Wants {
                promiscuous: false,
                all_multicast: false,
                multicast: Vec::new(),
                vlans: VlanSet::none(),
            },
            taken: 0,
        })
    }

    /// What is usual with so many queues: all capabilities, the least descriptors, and enough
    /// vectors.
    pub fn setup(&self, tx_queues: u16, rx_queues: u16) -> Setup {
        let offer = self.port.offer();
        let wanted = Vectors::wanted(tx_queues, rx_queues).min(offer.vectors);
        Setup {
            mac: offer.mac,
            mtu: 1500,
            tx_queues,
            rx_queues,
            tx_slots: offer.tx_slots.least,
            rx_slots: offer.rx_slots.least,
            capabilities: offer.capabilities,
            extras: offer.usual_extras,
            rss: Rss::even(rx_queues),
            vectors: Vectors::plan(VectorKind::Msix, wanted, tx_queues, rx_queues),
        }
    }

    /// Starts it, arms receive queues and unmasks vectors.
    ///
    /// # Errors
    /// Why not.
    pub fn start(&mut self, setup: &Setup) -> Result<(), Error> {
        self.port.start(setup, &self.wants.filter(), &self.sides)?;
        self.open(setup);
        Ok(())
    }

    fn open(&mut self, setup: &Setup) {
        let lines = self.port.nic().interrupts(setup.vectors.kind);
        for number in 0..setup.rx_queues {
            self.sides.rx(number, |queue| queue.arm());
            lines.unmask(setup.vectors.rx(number));
        }
        lines.unmask(setup.vectors.event());
    }

    /// Stops it: how many frames were lost.
    pub fn stop(&mut self) -> u32 {
        self.port.stop(&self.sides)
    }

    /// A second goes by.
    pub fn tick(&mut self) -> Health {
        self.host.advance(1_000_000_000);
        let health = self.port.tick(&self.wants.filter(), &self.sides);
        if let Some(setup) = self.port.setup().copied()
            && health.was_reset
        {
            self.open(&setup);
        }
        health
    }

    /// What an interrupt for events would do.
    pub fn event(&mut self) -> Option<Link> {
        let health = self.port.event(&self.wants.filter(), &self.sides);
        if let Some(setup) = self.port.setup().copied()
            && health.was_reset
        {
            self.open(&setup);
        }
        health.link
    }

    /// Sends a frame in pieces of so many bytes, and rings.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn send(
        &mut self,
        queue: u16,
        bytes: &[u8],
        piece: usize,
        asked: &Asked,
    ) -> Result<(), Why> {
        let mut bytes = bytes.to_vec();
        let limits = self.port.offer().limits;
        let len = bytes.len() as u32;
        let offload: Offload = describe(&mut bytes, len, asked, &limits).map_err(|_| Why::Unfit)?;
        let frame = self.host.frame(&bytes, piece);
        let sent = self.sides.tx(queue, |queue| {
            let sent = queue.send(frame, &offload);
            queue.kick();
            sent
        });
        match sent {
            Some(Ok(())) => {
                self.taken += 1;
                Ok(())
            }
            Some(Err(Refused { why, .. })) => Err(why),
            None => Err(Why::Stopped),
        }
    }

    /// Has a queue take frames as they are, and rings once. How many it took.
    pub fn send_all(&mut self, queue: u16, frames: &[Vec<u8>]) -> u64 {
        let host = &self.host;
        let taken = self.sides.tx(queue, |queue| {
            let offload = Offload::default();
            let sent = frames
                .iter()
                .map(|bytes| queue.send(host.frame(bytes, 2048), &offload));
            let taken = sent.take_while(Result::is_ok).count();
            queue.kick();
            taken as u64
        });
        let taken = taken.unwrap_or(0);
        self.taken += taken;
        taken
    }

    /// Takes what a queue has received, `budget` at most.
    pub fn poll(&mut self, queue: u16, budget: u32) -> Vec<(Vec<u8>, Meta)> {
        let mut all = Vec::new();
        let add = |packet: HostPacket<M>, meta: &Meta| {
            assert_eq!(packet.bytes().len(), meta.bytes as usize);
            all.push((packet.bytes().to_vec(), *meta));
        };
        self.sides.rx(queue, |queue| {
            let polled = queue.poll(budget, add);
            queue.turn_is_over(polled.frames);
            queue.arm();
        });
        all
    }

    /// Has a queue reap what is done.
    pub fn reap(&mut self, queue: u16) -> u32 {
        let reaped = self.sides.tx(queue, |queue| queue.reap(u32::MAX));
        reaped.unwrap_or(0)
    }

    /// The figures of all transmit queues, together.
    pub fn sent(&self) -> TxFigures {
        let mut all = TxFigures::default();
        for queue in &self.sides.tx {
            let figures = queue.borrow().figures();
            all.frames += figures.frames;
            all.done += figures.done;
            all.lost += figures.lost;
            all.bogus += figures.bogus;
            all.hangs += figures.hangs;
            all.linearized += figures.linearized;
        }
        all
    }

    /// What must hold at any time: each frame that was taken is with the device, done or lost;
    /// each buffer that was given is with the device, returned or withdrawn.
    pub fn check(&self) {
        let mut taken = 0;
        for queue in &self.sides.tx {
            let queue = queue.borrow();
            let figures = queue.figures();
            let accounted = figures.done + figures.lost + u64::from(queue.in_flight());
            assert_eq!(figures.frames, accounted);
            taken += figures.frames;
        }
        assert_eq!(taken, self.taken);
        for queue in &self.sides.rx {
            let queue = queue.borrow();
            let figures = queue.figures();
            let accounted = figures.returned + figures.withdrawn + u64::from(queue.given());
            assert_eq!(figures.given, accounted);
        }
    }

    /// Detaches it: nothing is left, and the card had nothing to complain about.
    pub fn end(mut self) {
        self.check();
        self.stop();
        self.check();
        let Self {
            host, port, sides, ..
        } = self;
        drop((port, sides));
        assert_eq!(host.ledger(), Ledger::default());
        assert_eq!(host.complaints(), [""; 0]);
    }
}
