// SPDX-License-Identifier: BSD-2-Clause
//! The driver library with the smallest card there can be: it receives what it sends. The driver
//! for it is as short as a driver can be, so that what is seen here is the library.

use std::cell::RefCell;

use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cause, Cuts, Error, Events, Extras, Filter, Full, Id, Interrupts, Lane, Limits, Link, Nic,
    Offer, Offload, Platform, Port, Queues, Range, Receiver, Registers, Ring, Rss, RxRing, Segment,
    SegmentSums, Setup, State, Taken, Transmitter, TxRing, VectorKind, Vectors, VlanSet, Wanted,
    Why,
};
use weft_engine::sim::nic::{Bus, Host, Ledger, Model};

// Registers.
const GO: u32 = 0x00;
const MASK: u32 = 0x04;
const TX_BASE: u32 = 0x08;
const RX_BASE: u32 = 0x10;
const TX_TAIL: u32 = 0x18;
const RX_TAIL: u32 = 0x1c;
/// Descriptors of each ring: address, bytes, flags.
const SLOTS: u16 = 16;
const STRIDE: usize = 16;
const DONE: u32 = 1;
const LAST: u32 = 2;

/// The card.
#[derive(Default)]
struct Loop {
    registers: [u32; 8],
    tx_head: u32,
    rx_head: u32,
    is_masked: bool,
    /// It takes nothing any more.
    is_stuck: bool,
    /// It says that it is done with what it was never given.
    lies: bool,
}

impl Loop {
    fn base(&self, register: u32) -> u64 {
        let at = register as usize / 4;
        u64::from(self.registers[at]) | u64::from(self.registers[at + 1]) << 32
    }

    fn turn(&mut self, bus: &mut Bus) {
        let mut frame = Vec::new();
        while !self.is_stuck && self.tx_head != self.registers[TX_TAIL as usize / 4] {
            let at = self.base(TX_BASE) + u64::from(self.tx_head) * STRIDE as u64;
            let (address, bytes) = (bus.get64(at), bus.get32(at + 8));
            frame.extend(bus.bytes(address, bytes as usize));
            let flags = bus.get32(at + 12);
            bus.put32(at + 12, flags | DONE);
            self.tx_head = (self.tx_head + 1) % u32::from(SLOTS);
            if flags & LAST != 0 {
                self.receive(bus, &std::mem::take(&mut frame));
            }
        }
    }

    fn receive(&mut self, bus: &mut Bus, frame: &[u8]) {
        if self.rx_head == self.registers[RX_TAIL as usize / 4] {
            return;
        }
        let at = self.base(RX_BASE) + u64::from(self.rx_head) * STRIDE as u64;
        let address = bus.get64(at);
        bus.write(address, frame);
        let bytes = if self.lies { 1 << 20 } else { frame.len() };
        bus.put32(at + 8, bytes as u32);
        bus.put32(at + 12, DONE | LAST);
        self.rx_head = (self.rx_head + 1) % u32::from(SLOTS);
        if !self.is_masked {
            bus.interrupt(0);
        }
    }
}

impl Model for Loop {
    fn bar_bytes(&self, bar: u8) -> u32 {
        if bar == 0 { 32 } else { 0 }
    }

    fn read(&mut self, _bus: &mut Bus, _bar: u8, at: u32, _bytes: usize) -> u64 {
        self.registers[at as usize / 4].into()
    }

    fn write(&mut self, bus: &mut Bus, _bar: u8, at: u32, bytes: usize, value: u64) {
        let register = at as usize / 4;
        self.registers[register] = value as u32;
        if bytes == 8 {
            self.registers[register + 1] = (value >> 32) as u32;
        }
        match at {
            GO => (self.tx_head, self.rx_head, self.is_stuck) = (0, 0, false),
            MASK => self.is_masked = value != 0,
            TX_TAIL if self.registers[0] == 1 => self.turn(bus),
            TX_TAIL | RX_TAIL if self.registers[0] != 1 => bus.complain("a doorbell after stop"),
            _ => {}
        }
    }
}

/// The driver.
struct Wloop<P: Platform> {
    platform: P,
    registers: P::Registers,
    offer: Offer,
}

struct Tail<P: Platform> {
    lane: Lane<P::Dma>,
    registers: P::Registers,
    doorbell: u32,
}

struct Line<R>(R);

impl<R: Registers> Interrupts for Line<R> {
    fn cause(&self, _vector: u16) -> Cause {
        Cause {
            is_ours: true,
            queues: true,
            event: false,
        }
    }
    fn mask(&self, _vector: u16) {
        self.0.write::<u32>(MASK, 1);
    }
    fn unmask(&self, _vector: u16) {
        self.0.write::<u32>(MASK, 0);
    }
}

impl<P: Platform> Wloop<P> {
    fn ring(&self, base: u32, doorbell: u32) -> Result<Tail<P>, Error> {
        let ring = Ring::new(&self.platform, SLOTS, STRIDE, 64)?;
        self.registers.write(base, ring.address());
        Ok(Tail {
            lane: Lane::new(ring, 1),
            registers: self.registers.clone(),
            doorbell,
        })
    }
}

impl<P: Platform> Nic<P> for Wloop<P> {
    const NAME: &'static str = "wloop";
    const IDS: &'static [Id] = &[];
    type Tx = Tail<P>;
    type Rx = Tail<P>;
    type Interrupts = Line<P::Registers>;

    fn attach(platform: &P) -> Result<Self, Error> {
        let slots = Range {
            least: SLOTS,
            most: SLOTS,
            step: 1,
            usual: SLOTS,
        };
        let limits = Limits {
            segments: 4,
            segment_bytes: 2048,
            longest: 0,
            sums: SegmentSums::WithLength,
            cuts: Cuts::ORDINARY,
        };
        Ok(Self {
            registers: platform.registers(0)?,
            platform: platform.clone(),
            offer: Offer {
                mac: [2, 0, 0, 0, 0, 1],
                capabilities: Capabilities::empty(),
                extras: Extras::empty(),
                usual_extras: Extras::empty(),
                tx_queues: 1,
                rx_queues: 1,
                tx_slots: slots,
                rx_slots: slots,
                most_mtu: 1500,
                limits,
                vectors: 1,
                mbps: 10_000,
            },
        })
    }
    fn offer(&self) -> &Offer {
        &self.offer
    }
    fn interrupts(&self, _kind: VectorKind) -> Line<P::Registers> {
        Line(self.registers.clone())
    }
    fn begin(&mut self, _setup: &Setup) -> Result<(), Error> {
        self.registers.write::<u32>(MASK, 1);
        Ok(())
    }
    fn tx(&mut self, _setup: &Setup, _number: u16) -> Result<Tail<P>, Error> {
        self.ring(TX_BASE, TX_TAIL)
    }
    fn rx(&mut self, _setup: &Setup, _number: u16) -> Result<Tail<P>, Error> {
        self.ring(RX_BASE, RX_TAIL)
    }
    fn start(&mut self, _setup: &Setup) -> Result<(), Error> {
        self.registers.write::<u32>(GO, 1);
        Ok(())
    }
    fn stop(&mut self) {
        self.registers.write::<u32>(GO, 0);
    }
    fn filter(&mut self, _filter: &Filter<'_>) {}
    fn link(&mut self) -> Link {
        Link::Up {
            mbps: 10_000,
            full_duplex: true,
        }
    }
    fn events(&mut self) -> Events {
        Events::empty()
    }
}

impl<P: Platform> Tail<P> {
    fn ring_doorbell(&mut self) {
        let tail = u32::from(self.lane.next());
        self.registers.write(self.doorbell, tail);
    }

    fn is_done(&self) -> bool {
        let flags = |slot: weft_engine::nic::Slot<'_, P::Dma, _>| slot.peek::<u32>(12);
        self.lane
            .oldest()
            .is_some_and(|(_, slot)| flags(slot) & DONE != 0)
    }
}

impl<P: Platform> TxRing for Tail<P> {
    fn tokens(&self) -> u16 {
        SLOTS
    }
    fn room(&self) -> u16 {
        self.lane.room()
    }
    fn put(&mut self, segments: &[Segment], _offload: &Offload) -> Result<u16, Full> {
        let count = segments.len() as u16;
        let put = self.lane.put(
            count,
            |n, slot, _| {
                let segment = segments.get(usize::from(n)).copied().unwrap_or_default();
                slot.set(0, segment.address);
                slot.set(8, segment.bytes);
                slot.set(12, if n + 1 == count { LAST } else { 0 });
            },
            |_, _| {},
        );
        put.map(|put| put.last).ok_or(Full)
    }
    fn kick(&mut self) {
        self.ring_doorbell();
    }
    fn reap(&mut self) -> Option<u16> {
        loop {
            let (number, slot) = self.lane.oldest()?;
            if slot.peek::<u32>(12) & DONE == 0 {
                return None;
            }
            let is_last = slot.take_back().get::<u32>(12) & LAST != 0;
            self.lane.finish(number);
            if is_last {
                return Some(number);
            }
        }
    }
    fn arm(&mut self) -> bool {
        self.is_done()
    }
    fn disarm(&mut self) {}
}

impl<P: Platform> RxRing for Tail<P> {
    fn tokens(&self) -> u16 {
        SLOTS
    }
    fn room(&self) -> u16 {
        self.lane.room()
    }
    fn wanted(&self) -> Option<Wanted> {
        (self.lane.room() > 0).then_some(Wanted { bytes: 2048 })
    }
    fn next(&self) -> Option<u16> {
        Some(self.lane.next())
    }
    fn give(&mut self, buffer: Segment) -> Result<u16, Full> {
        let put = self.lane.put(
            1,
            |_, slot, _| {
                slot.set(0, buffer.address);
                slot.set::<u64>(8, 0);
            },
            |_, _| {},
        );
        put.map(|put| put.last).ok_or(Full)
    }
    fn kick(&mut self) {
        self.ring_doorbell();
    }
    fn take(&mut self) -> Option<Taken> {
        let (token, slot) = self.lane.oldest()?;
        if slot.peek::<u32>(12) & DONE == 0 {
            return None;
        }
        let bytes = slot.take_back().get(8);
        self.lane.finish(token);
        Some(Taken {
            token,
            bytes,
            is_last: true,
            ..Taken::default()
        })
    }
    fn arm(&mut self) -> bool {
        self.is_done()
    }
    fn disarm(&mut self) {}
}

/// What an adapter has.
struct Sides {
    tx: RefCell<Transmitter<Host<Loop>, Tail<Host<Loop>>>>,
    rx: RefCell<Receiver<Host<Loop>, Tail<Host<Loop>>>>,
}

impl Queues<Host<Loop>, Wloop<Host<Loop>>> for Sides {
    fn tx<R>(
        &self,
        number: u16,
        with: impl FnOnce(&mut Transmitter<Host<Loop>, Tail<Host<Loop>>>) -> R,
    ) -> Option<R> {
        (number == 0).then(|| with(&mut self.tx.borrow_mut()))
    }
    fn rx<R>(
        &self,
        number: u16,
        with: impl FnOnce(&mut Receiver<Host<Loop>, Tail<Host<Loop>>>) -> R,
    ) -> Option<R> {
        (number == 0).then(|| with(&mut self.rx.borrow_mut()))
    }
}

struct Machine {
    host: Host<Loop>,
    port: Port<Host<Loop>, Wloop<Host<Loop>>>,
    sides: Sides,
}

const NO_VLANS: VlanSet = VlanSet::none();
const FILTER: Filter<'_> = Filter {
    promiscuous: false,
    all_multicast: false,
    multicast: &[],
    vlans: &NO_VLANS,
};

impl Machine {
    fn new() -> Self {
        let host = Host::new(Loop::default());
        let port = Port::attach(host.clone()).unwrap();
        let sides = Sides {
            tx: RefCell::new(Transmitter::new(&port.offer().limits)),
            rx: RefCell::new(Receiver::new(host.clone())),
        };
        Self { host, port, sides }
    }

    fn setup(&self) -> Setup {
        Setup {
            mac: self.port.offer().mac,
            mtu: 1500,
            tx_queues: 1,
            rx_queues: 1,
            tx_slots: SLOTS,
            rx_slots: SLOTS,
            capabilities: Capabilities::empty(),
            extras: Extras::empty(),
            rss: Rss::even(1),
            vectors: Vectors::plan(VectorKind::Intx, 1, 1, 1),
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        let setup = self.setup();
        self.port.start(&setup, &FILTER, &self.sides)
    }

    fn send(&self, bytes: &[u8], piece: usize) -> Result<(), Why> {
        let frame = self.host.frame(bytes, piece);
        let mut tx = self.sides.tx.borrow_mut();
        let sent = tx.send(frame, &Offload::default());
        tx.kick();
        sent.map_err(|refused| refused.why)
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut rx = self.sides.rx.borrow_mut();
        rx.poll(64, |packet, meta| {
            assert_eq!(packet.bytes().len(), meta.bytes as usize);
            all.push(packet.bytes().to_vec());
        });
        all
    }

    /// Ends it, with nothing left.
    fn end(mut self) {
        self.port.stop(&self.sides);
        drop((self.port, self.sides));
        assert_eq!(self.host.ledger(), Ledger::default());
        assert_eq!(self.host.complaints(), [""; 0]);
    }
}

#[test]
fn frames_come_back_whole() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    for n in 0..100_u8 {
        let frame: Vec<u8> = (0..60 + u16::from(n) * 10).map(|at| at as u8 ^ n).collect();
        // The last of these are in too many pieces.
        machine.send(&frame, 200).unwrap();
        assert_eq!(machine.received(), [frame]);
    }
    let figures = machine.sides.tx.borrow().figures();
    assert_eq!(figures.frames, 100);
    assert!(figures.linearized > 20);
    assert!(machine.host.interrupts(0) == 0, "nobody unmasked");
    machine.end();
}

#[test]
fn a_stopped_queue_takes_nothing_and_a_started_one_again() {
    let mut machine = Machine::new();
    assert_eq!(machine.send(&[1; 60], 60), Err(Why::Stopped));
    for _ in 0..3 {
        machine.start().unwrap();
        machine.send(&[1; 60], 60).unwrap();
        machine.port.stop(&machine.sides);
        assert_eq!(machine.send(&[1; 60], 60), Err(Why::Stopped));
    }
    machine.end();
}

/// A frame for which there is no memory, or that fits in no form, is given back, and counted
/// by what it was.
#[test]
fn what_a_device_cannot_be_given_is_counted() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    // It takes no frame in so many pieces, and the copy of it is too long to be one.
    assert_eq!(machine.send(&vec![3; 70_000], 100), Err(Why::Unfit));
    machine.host.fail_allocations(0, 1);
    assert_eq!(machine.send(&[4; 60], 60), Err(Why::NoMemory));
    // For the copy there is none.
    machine.host.fail_allocations(0, 1);
    assert_eq!(machine.send(&[5; 900], 10), Err(Why::NoMemory));
    machine.send(&[6; 60], 60).unwrap();
    let figures = machine.sides.tx.borrow().figures();
    assert_eq!(
        (figures.unfit, figures.no_memory, figures.frames),
        (1, 2, 1)
    );
    assert_eq!(machine.received(), [vec![6; 60]]);
    machine.end();
}

/// What a device is done with is looked for when more is sent, or at a tick: an idle queue holds
/// no frame, and no memory of a sender's, for longer than until the next one.
#[test]
fn what_was_sent_last_is_freed_at_the_next_tick() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    for turn in 1..4 {
        for _ in 0..3 {
            machine.send(&[1; 60], 60).unwrap();
        }
        assert_eq!(machine.sides.tx.borrow().in_flight(), 3);
        assert_eq!(machine.host.ledger().frames, 3);
        machine.port.tick(&FILTER, &machine.sides);
        assert_eq!(machine.host.ledger().frames, 0);
        let tx = machine.sides.tx.borrow();
        assert_eq!((tx.in_flight(), tx.figures().done), (0, turn * 3));
    }
    machine.end();
}

#[test]
fn a_stuck_device_is_reset_and_what_it_had_is_counted() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    machine.port.tick(&FILTER, &machine.sides);
    machine.host.with(|card, _| card.is_stuck = true);
    let mut sent = 0;
    while machine.send(&[1; 60], 60).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, u64::from(SLOTS) - 1);
    assert_eq!(machine.send(&[1; 60], 60), Err(Why::Full));
    let was_reset = (0..10).any(|_| machine.port.tick(&FILTER, &machine.sides).was_reset);
    assert!(was_reset);
    let figures = machine.sides.tx.borrow().figures();
    assert_eq!((figures.lost, figures.hangs), (sent, 1));
    machine.send(&[2; 60], 60).unwrap();
    assert_eq!(machine.received(), [vec![2; 60]]);
    machine.end();
}

#[test]
fn a_length_that_no_buffer_has_costs_a_reset() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    machine.host.with(|card, _| card.lies = true);
    machine.send(&[1; 60], 60).unwrap();
    assert!(machine.received().is_empty());
    machine.host.with(|card, _| card.lies = false);
    assert!(machine.port.tick(&FILTER, &machine.sides).was_reset);
    assert_eq!(machine.sides.rx.borrow().figures().bogus, 1);
    machine.send(&[2; 60], 60).unwrap();
    assert_eq!(machine.received(), [vec![2; 60]]);
    machine.end();
}

#[test]
fn a_link_is_told_again_after_a_stop() {
    let mut machine = Machine::new();
    for _ in 0..2 {
        machine.start().unwrap();
        let told = machine.port.event(&FILTER, &machine.sides).link;
        assert!(matches!(told, Some(Link::Up { .. })));
        assert_eq!(machine.port.event(&FILTER, &machine.sides).link, None);
        machine.port.stop(&machine.sides);
        assert_eq!(machine.port.link(), Link::Down);
    }
    machine.end();
}

/// A frame that is too long to be copied.
const LONG: [u8; 200] = [1; 200];

#[test]
fn buffers_that_are_withheld_are_no_want_of_memory() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    machine.host.withhold_buffers(true);
    for _ in 1..SLOTS {
        machine.send(&LONG, LONG.len()).unwrap();
        assert_eq!(machine.received(), [LONG]);
    }
    let figures = machine.sides.rx.borrow().figures();
    assert_eq!(
        (machine.sides.rx.borrow().given(), figures.no_buffer),
        (0, 0)
    );
    machine.host.withhold_buffers(false);
    // At once, for nothing has failed.
    let given = machine.sides.rx.borrow_mut().refill();
    assert_eq!(given, u32::from(SLOTS) - 1);
    machine.send(&[2; 60], 60).unwrap();
    assert_eq!(machine.received(), [vec![2; 60]]);
    machine.end();
}

#[test]
fn short_frames_are_copied_and_take_no_buffer() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    machine.host.withhold_buffers(true);
    for n in 0..3 * SLOTS {
        let bytes = [n as u8; 60];
        machine.send(&bytes, 60).unwrap();
        assert_eq!(machine.received(), [bytes]);
    }
    machine.sides.rx.borrow_mut().refill();
    let figures = machine.sides.rx.borrow().figures();
    let given = u32::from(machine.sides.rx.borrow().given());
    assert_eq!(
        (figures.copied, given),
        (u64::from(3 * SLOTS), u32::from(SLOTS) - 1)
    );
    assert!(
        figures.kicks < figures.frames,
        "buffers are told of in bursts"
    );
    machine.end();
}

#[test]
fn a_frame_is_watched_until_the_device_is_done_with_it() {
    let mut machine = Machine::new();
    machine.start().unwrap();
    let watched = |machine: &Machine| machine.sides.tx.borrow_mut().watched();
    machine.send(&[1; 60], 60).unwrap();
    machine.sides.tx.borrow_mut().watch(5);
    // Another one is not, as long as this one is.
    machine.send(&[2; 60], 60).unwrap();
    machine.sides.tx.borrow_mut().watch(7);
    assert_eq!(watched(&machine), None);
    machine.sides.tx.borrow_mut().reap(1);
    assert_eq!(watched(&machine), Some(5));
    assert_eq!(watched(&machine), None, "said once");
    machine.received();
    machine.send(&[3; 60], 60).unwrap();
    machine.sides.tx.borrow_mut().watch(9);
    machine.start().unwrap();
    machine.sides.tx.borrow_mut().reap(u32::MAX);
    assert_eq!(watched(&machine), None, "forgotten by a stop");
    machine.end();
}

#[test]
fn each_allocation_of_a_start_may_fail() {
    for successes in 0.. {
        let mut machine = Machine::new();
        machine.host.fail_allocations(successes, 1 << 40);
        let started = machine.start();
        let is_running = machine.port.state() == State::Running;
        assert_eq!(started.is_ok(), is_running);
        machine.host.fail_allocations(0, 0);
        if is_running && successes > 20 {
            machine.end();
            break;
        }
        machine.start().unwrap();
        machine.send(&[2; 60], 60).unwrap();
        assert_eq!(machine.received(), [vec![2; 60]]);
        machine.end();
    }
}
