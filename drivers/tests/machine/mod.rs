// SPDX-License-Identifier: BSD-2-Clause
//! What an adapter is to a driver, for tests: it owns the device and its queues, brings frames to
//! them and from them, answers interrupts, and looks that nothing gets lost.

#![allow(dead_code)]

pub(crate) mod any;

use std::cell::RefCell;

use weft_engine::nic::{
    Asked, Error, Filter, Health, Interrupts, Meta, Nic, Port, Queues, Receiver, Rss, RxFigures,
    Setup, Transmitter, TxFigures, VectorKind, Vectors, VlanSet, Why, describe,
};
use weft_engine::sim::nic::{Bus, Host, Ledger, Model};
use weft_engine::sim::random::Random;

/// What a model of a card can do beside.
pub(crate) trait Card: Model {
    /// The frames that were sent, taken out.
    fn take_sent(&mut self) -> Vec<Vec<u8>>;
    /// A frame comes from the wire. Whether it was stored for the driver.
    fn arrive(&mut self, bus: &mut Bus, frame: &[u8]) -> bool;
    /// Takes so many descriptors of each queue, if it is slow.
    fn work(&mut self, bus: &mut Bus, most: usize);
    /// Has the card work only when it is told to, or at each doorbell.
    fn be_slow(&mut self, is_slow: bool);
    /// Does something that its manual does not allow.
    fn misbehave(&mut self, bus: &mut Bus, random: &mut Random);
    /// Has the link come or go.
    fn plug(&mut self, bus: &mut Bus, is_up: bool);
}

type Tx<M, D> = Transmitter<Host<M>, <D as Nic<Host<M>>>::Tx>;
type Rx<M, D> = Receiver<Host<M>, <D as Nic<Host<M>>>::Rx>;

/// The queues.
pub(crate) struct Sides<M: Card, D: Nic<Host<M>>> {
    tx: Vec<RefCell<Tx<M, D>>>,
    rx: Vec<RefCell<Rx<M, D>>>,
}

impl<M: Card, D: Nic<Host<M>>> Queues<Host<M>, D> for Sides<M, D> {
    fn tx<R>(&self, number: u16, with: impl FnOnce(&mut Tx<M, D>) -> R) -> Option<R> {
        Some(with(&mut self.tx.get(usize::from(number))?.borrow_mut()))
    }
    fn rx<R>(&self, number: u16, with: impl FnOnce(&mut Rx<M, D>) -> R) -> Option<R> {
        Some(with(&mut self.rx.get(usize::from(number))?.borrow_mut()))
    }
}

impl<M: Card, D: Nic<Host<M>>> Sides<M, D> {
    /// Asks for an interrupt when a frame is sent. Whether one is already.
    pub(crate) fn arm_tx(&self, number: usize) -> bool {
        self.tx[number].borrow_mut().arm()
    }

    /// What one queue has received.
    pub(crate) fn poll(&self, number: usize) -> Vec<(Vec<u8>, Meta)> {
        let mut all = Vec::new();
        self.rx[number].borrow_mut().poll(256, |packet, meta| {
            assert_eq!(packet.bytes().len(), meta.bytes as usize);
            all.push((packet.bytes().to_vec(), *meta));
        });
        all
    }
}

/// Whom the device listens to.
#[derive(Clone)]
pub(crate) struct Listens {
    pub(crate) promiscuous: bool,
    pub(crate) all_multicast: bool,
    pub(crate) multicast: Vec<[u8; 6]>,
    pub(crate) vlans: VlanSet,
}

/// A device with its driver.
pub(crate) struct Machine<M: Card, D: Nic<Host<M>>> {
    pub(crate) host: Host<M>,
    pub(crate) port: Port<Host<M>, D>,
    pub(crate) sides: Sides<M, D>,
    pub(crate) interrupts: D::Interrupts,
    pub(crate) setup: Setup,
    pub(crate) listens: Listens,
    /// Queues that there are vectors for.
    pub(crate) most_queues: (u16, u16),
    answered: Vec<u64>,
}

impl<M: Card, D: Nic<Host<M>>> Machine<M, D> {
    /// Attached and stopped, with so many vectors of that kind.
    pub(crate) fn new(model: M, kind: VectorKind, vectors: u16) -> Self {
        Self::try_new(model, kind, vectors).unwrap()
    }

    pub(crate) fn try_new(model: M, kind: VectorKind, vectors: u16) -> Result<Self, Error> {
        let host = Host::new(model);
        let mut port = Port::<_, D>::attach(host.clone())?;
        let offer = *port.offer();
        let queues = match kind {
            VectorKind::Msix => (offer.tx_queues, offer.rx_queues),
            _ => (1, 1),
        };
        let setup = Setup {
            mac: offer.mac,
            mtu: 1500,
            tx_queues: queues.0,
            rx_queues: queues.1,
            tx_slots: offer.tx_slots.fit(64),
            rx_slots: offer.rx_slots.fit(64),
            capabilities: offer.capabilities,
            extras: offer.extras,
            rss: Rss::even(queues.1),
            vectors: Vectors::plan(kind, vectors.min(offer.vectors), queues.0, queues.1),
        };
        let tx = (0..offer.tx_queues).map(|_| RefCell::new(Transmitter::new(&offer.limits)));
        let rx = (0..offer.rx_queues).map(|_| RefCell::new(Receiver::new(host.clone())));
        Ok(Self {
            interrupts: port.nic().interrupts(kind),
            sides: Sides {
                tx: tx.collect(),
                rx: rx.collect(),
            },
            host,
            port,
            setup,
            most_queues: queues,
            listens: Listens {
                promiscuous: false,
                all_multicast: false,
                multicast: Vec::new(),
                vlans: VlanSet::none(),
            },
            answered: vec![0; 16],
        })
    }

    /// Has so many queues from the next start on, or as near as the device works with.
    pub(crate) fn set_queues(&mut self, tx: u16, rx: u16) {
        let (tx, rx) = self.port.nic().queues((tx, rx));
        (self.setup.tx_queues, self.setup.rx_queues) = (tx, rx);
        self.setup.rss = Rss::even(rx);
    }

    fn with_filter<R>(&mut self, with: impl FnOnce(&mut Self, &Filter<'_>) -> R) -> R {
        let listens = self.listens.clone();
        let filter = Filter {
            promiscuous: listens.promiscuous,
            all_multicast: listens.all_multicast,
            multicast: &listens.multicast,
            vlans: &listens.vlans,
        };
        with(self, &filter)
    }

    pub(crate) fn start(&mut self) -> Result<(), Error> {
        let setup = self.setup;
        self.with_filter(|m, filter| m.port.start(&setup, filter, &m.sides))?;
        self.unmask();
        Ok(())
    }

    /// What comes after a start: queues are armed, vectors unmasked.
    fn unmask(&mut self) {
        for queue in &self.sides.rx {
            queue.borrow_mut().arm();
        }
        for vector in 0..self.setup.vectors.count {
            self.interrupts.unmask(vector);
        }
    }

    pub(crate) fn stop(&mut self) -> u32 {
        self.port.stop(&self.sides)
    }

    /// Tells the device whom to listen to.
    pub(crate) fn listen(&mut self) {
        self.with_filter(|m, filter| m.port.nic().filter(filter));
    }

    pub(crate) fn tick(&mut self) -> Health {
        let health = self.with_filter(|m, filter| m.port.tick(filter, &m.sides));
        if health.was_reset {
            self.unmask();
        }
        health
    }

    pub(crate) fn event(&mut self) -> Health {
        let health = self.with_filter(|m, filter| m.port.event(filter, &m.sides));
        if health.was_reset {
            self.unmask();
        }
        health
    }

    /// Sends a frame, in pieces of so many bytes, by that queue.
    pub(crate) fn send(
        &self,
        queue: u16,
        bytes: &[u8],
        piece: usize,
        asked: &Asked,
    ) -> Result<(), Why> {
        let mut bytes = bytes.to_vec();
        let limits = self.port.offer().limits;
        let len = bytes.len() as u32;
        let offload = describe(&mut bytes, len, asked, &limits).map_err(|_| Why::Unfit)?;
        let frame = self.host.frame(&bytes, piece);
        let mut tx = self.sides.tx[usize::from(queue)].borrow_mut();
        let sent = tx.send(frame, &offload);
        tx.kick();
        sent.map_err(|refused| refused.why)
    }

    /// What the device has sent since the last time.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        self.host.with(|card, _| card.take_sent())
    }

    /// A frame comes from the wire. Whether the device stored it.
    pub(crate) fn arrive(&self, frame: &[u8]) -> bool {
        self.host.with(|card, bus| card.arrive(bus, frame))
    }

    /// What was received, of all queues.
    pub(crate) fn received(&self) -> Vec<(Vec<u8>, Meta)> {
        (0..self.sides.rx.len())
            .flat_map(|number| self.sides.poll(number))
            .collect()
    }

    /// Frees what is sent.
    pub(crate) fn reap(&self) {
        for queue in &self.sides.tx {
            queue.borrow_mut().reap(u32::MAX);
        }
    }

    /// Does what an adapter does at each interrupt that has come since the last time, in the
    /// order of the trait's contract. What was received by that, and whether there was an event.
    pub(crate) fn answer(&mut self) -> (Vec<(Vec<u8>, Meta)>, bool) {
        let (mut all, mut event) = (Vec::new(), false);
        for vector in 0..self.setup.vectors.count {
            let came = self.host.interrupts(vector);
            if came == self.answered[usize::from(vector)] {
                continue;
            }
            self.answered[usize::from(vector)] = came;
            let cause = self.interrupts.cause(vector);
            if !cause.is_ours {
                continue;
            }
            event |= cause.event && vector == self.setup.vectors.event();
            self.interrupts.mask(vector);
            loop {
                all.extend(self.received());
                self.reap();
                let queues = self.sides.rx.iter();
                // What comes from here on interrupts, or has come.
                if !queues.fold(false, |more, queue| more | queue.borrow_mut().arm()) {
                    break;
                }
            }
            self.interrupts.unmask(vector);
        }
        (all, event)
    }

    pub(crate) fn tx_figures(&self) -> TxFigures {
        self.sides
            .tx
            .iter()
            .fold(TxFigures::default(), |sum, queue| {
                let one = queue.borrow().figures();
                TxFigures {
                    frames: sum.frames + one.frames,
                    done: sum.done + one.done,
                    lost: sum.lost + one.lost,
                    hangs: sum.hangs + one.hangs,
                    bogus: sum.bogus + one.bogus,
                    ..sum
                }
            })
    }

    pub(crate) fn rx_figures(&self) -> RxFigures {
        self.sides
            .rx
            .iter()
            .fold(RxFigures::default(), |sum, queue| {
                let one = queue.borrow().figures();
                RxFigures {
                    frames: sum.frames + one.frames,
                    given: sum.given + one.given,
                    returned: sum.returned + one.returned,
                    withdrawn: sum.withdrawn + one.withdrawn,
                    bad: sum.bad + one.bad,
                    no_packet: sum.no_packet + one.no_packet,
                    cut_off: sum.cut_off + one.cut_off,
                    left: sum.left + one.left,
                    bogus: sum.bogus + one.bogus,
                    ..sum
                }
            })
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let queues = self.sides.tx.iter();
        queues
            .map(|queue| u64::from(queue.borrow().in_flight()))
            .sum()
    }

    /// Stops it: then each frame is accounted for, and nothing is left.
    pub(crate) fn end(self) {
        let complaints = self.end_with();
        assert_eq!(complaints, [""; 0]);
    }

    /// The same, and what was complained of.
    pub(crate) fn end_with(mut self) -> Vec<String> {
        self.stop();
        let tx = self.tx_figures();
        assert_eq!(tx.frames, tx.done + tx.lost, "{tx:?}");
        let rx = self.rx_figures();
        assert_eq!(rx.given, rx.returned + rx.withdrawn, "{rx:?}");
        drop((self.port, self.sides, self.interrupts));
        assert_eq!(self.host.ledger(), Ledger::default());
        self.host.complaints()
    }
}

/// Frames, for tests.
pub(crate) mod frames {
    /// A TCP or UDP frame over IPv4 or IPv6, its checksums right, with that many bytes of payload,
    /// and a tag if there is one.
    pub(crate) fn frame(is_ipv6: bool, is_tcp: bool, payload: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        bytes.extend(if is_ipv6 { [0x86, 0xdd] } else { [8, 0] });
        let protocol = if is_tcp { 6 } else { 17 };
        let header = if is_tcp { 20 } else { 8 };
        let len = header + payload;
        if is_ipv6 {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend((len as u16).to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend((0..32).map(|n| n ^ seed));
        } else {
            bytes.extend([0x45, 0]);
            bytes.extend((len as u16 + 20).to_be_bytes());
            bytes.extend([0x12, seed, 0, 0, 64, protocol, 0, 0]);
            bytes.extend([10, 0, 0, seed, 10, 0, 0, 2]);
            let sum = !ones(&bytes[14..34]);
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        let l4 = bytes.len();
        bytes.extend([0x30, seed, 0x00, 0x50]);
        if is_tcp {
            bytes.extend([
                0,
                0,
                1,
                seed,
                0,
                0,
                0,
                0,
                5 << 4,
                0x19,
                0xff,
                0xff,
                0,
                0,
                0,
                0,
            ]);
        } else {
            bytes.extend((len as u16).to_be_bytes());
            bytes.extend([0, 0]);
        }
        bytes.extend((0..payload).map(|n| (n as u8).wrapping_mul(7) ^ seed));
        let sum = !layer_4_sum(&bytes, false);
        let at = l4 + if is_tcp { 16 } else { 6 };
        let sum = if sum == 0 { 0xffff } else { sum };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The same with a number in the first 4 bytes of its payload, by which its flow is chosen.
    pub(crate) fn numbered(is_ipv6: bool, is_tcp: bool, payload: usize, number: u32) -> Vec<u8> {
        let mut bytes = frame(is_ipv6, is_tcp, payload, (number % 8) as u8);
        let l4 = layer_4(&bytes);
        let at = l4 + if is_tcp { 20 } else { 8 };
        bytes[at..at + 4].copy_from_slice(&number.to_be_bytes());
        let field = l4 + if is_tcp { 16 } else { 6 };
        bytes[field..field + 2].fill(0);
        let sum = !layer_4_sum(&bytes, false);
        let sum = if sum == 0 { 0xffff } else { sum };
        bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Where layer 4 begins, of a frame without a tag.
    pub(crate) fn layer_4(frame: &[u8]) -> usize {
        if frame[12] == 8 { 34 } else { 54 }
    }

    /// The sum over pseudo-header and layer 4; of the pseudo-header only.
    pub(crate) fn layer_4_sum(frame: &[u8], only_pseudo: bool) -> u16 {
        let l4 = layer_4(frame);
        let (addresses, protocol) = match l4 {
            34 => (&frame[26..34], frame[23]),
            _ => (&frame[22..54], frame[20]),
        };
        let mut all = addresses.to_vec();
        all.extend((frame.len() as u32 - l4 as u32).to_be_bytes());
        all.extend([0, 0, 0, protocol]);
        if !only_pseudo {
            all.extend(&frame[l4..]);
        }
        ones(&all)
    }

    /// The frame as the stack leaves it to the device: its checksum's field has the
    /// pseudo-header's sum.
    pub(crate) fn unfilled(mut frame: Vec<u8>) -> Vec<u8> {
        let l4 = layer_4(&frame);
        let is_tcp = frame[if l4 == 34 { 23 } else { 20 }] == 6;
        let at = l4 + if is_tcp { 16 } else { 6 };
        let sum = layer_4_sum(&frame, true);
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// With a VLAN tag put in.
    pub(crate) fn tagged(mut frame: Vec<u8>, tag: u16) -> Vec<u8> {
        let [a, b] = tag.to_be_bytes();
        frame.splice(12..12, [0x81, 0, a, b]);
        frame
    }

    /// The Internet checksum's sum, a byte at a time.
    pub(crate) fn ones(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for (n, &byte) in bytes.iter().enumerate() {
            sum += u32::from(byte) << if n % 2 == 0 { 8 } else { 0 };
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// Whether both checksums of a frame without a tag are right.
    pub(crate) fn is_right(frame: &[u8]) -> bool {
        (layer_4(frame) != 34 || ones(&frame[14..34]) == 0xffff)
            && layer_4_sum(frame, false) == 0xffff
    }
}
