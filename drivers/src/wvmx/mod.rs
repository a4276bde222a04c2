// SPDX-License-Identifier: BSD-2-Clause
//! wvmx: VMXNET3, the network card of VMware's virtual machines, which QEMU has as well.
//!
//! The device is told of its queues and filters by a block of shared memory (`layout.rs`), and to
//! look there by commands in a register. Each transmit queue has a ring and a ring of
//! completions (`tx.rs`), each receive queue two rings and one of completions (`rx.rs`).
//!
//! Revisions 1 and 2 are known; 2 says of how many frames a merged one was made. Later
//! revisions of the device offer these, too.
//!
//! Interrupts are moderated by the device. Their masks turn by themselves when one is sent, unless
//! the device says that the driver must. A transmit queue's own vector stays masked but for when
//! the queue is armed.

mod layout;
mod rx;
mod tx;

use layout::{bar0, bar1, command, event, feature, queue, rss, rx_mode, shared};
use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cause, Cuts, Dma, Error, Events, Extras, Filter, Hashes, Id, Interrupts, Label, Level, Limits,
    Link, Nic, Offer, Platform, Range, Registers, Ring, Rss, SegmentSums, Setup, VectorKind, Word,
    bits_of,
};

/// Parts of a received frame at most: 64 KB in a head and pages.
const MOST_RX_PARTS: u16 = 18;

/// The card.
#[derive(Debug)]
pub struct Wvmx<P: Platform> {
    platform: P,
    lines: Lines<P::Registers>,
    memory: P::Dma,
    offer: Offer,
    revision: u32,
    is_active: bool,
    tx_queues: u16,
    rx_queues: u16,
    rss: Option<Rss>,
    has_vlan_filter: bool,
}

/// The registers; what interrupts' filters get.
#[derive(Clone, Debug)]
pub struct Lines<R> {
    doorbells: R,
    registers: R,
    /// The device masks a vector when it sends an interrupt.
    is_auto_masked: bool,
    is_intx: bool,
}

impl<R: Registers> Interrupts for Lines<R> {
    fn cause(&self, _vector: u16) -> Cause {
        // Reading it quiets the line.
        Cause::any(!self.is_intx || self.registers.read::<u32>(bar1::INTERRUPT) != 0)
    }

    fn mask(&self, vector: u16) {
        if !self.is_auto_masked {
            self.doorbells.write(bar0::of(bar0::MASK, vector), 1_u32);
        }
    }

    fn unmask(&self, vector: u16) {
        self.doorbells.write(bar0::of(bar0::MASK, vector), 0_u32);
    }
}

impl<P: Platform> Nic<P> for Wvmx<P> {
    const NAME: &'static str = "wvmx";
    const IDS: &'static [Id] = &[Id::new(0x15ad, 0x07b0, "VMware VMXNET3")];
    const LABELS: &'static [Label] = LABELS;
    const QUEUES: Option<&'static str> = Some("powers of two");

    type Tx = tx::Queue<P>;
    type Rx = rx::Queue<P>;
    type Interrupts = Lines<P::Registers>;

    fn attach(platform: &P) -> Result<Self, Error> {
        let registers = platform.registers(1)?;
        let revisions: u32 = registers.read(bar1::REVISION);
        let versions: u32 = registers.read(bar1::UPT_VERSION);
        let revision = match (revisions & 3, versions & 1) {
            (0, _) => return Err(Error::Unsupported("revision", revisions.into())),
            (_, 0) => return Err(Error::Unsupported("UPT version", versions.into())),
            (1, _) => 1,
            _ => layout::REVISION_2,
        };
        registers.write(bar1::REVISION, revision);
        registers.write(bar1::UPT_VERSION, 1_u32);
        let mut card = Self {
            platform: platform.clone(),
            lines: Lines {
                doorbells: platform.registers(0)?,
                registers,
                is_auto_masked: false,
                is_intx: false,
            },
            memory: platform.dma(shared::ALL, layout::RING_ALIGN)?,
            offer: OFFER,
            revision,
            is_active: false,
            tx_queues: 0,
            rx_queues: 0,
            rss: None,
            has_vlan_filter: false,
        };
        card.stop();
        card.lines.is_auto_masked = card.ask(command::GET_INTERRUPTS) >> 2 & 3 == 0;
        let [a, b, c, d] = card.ask(command::GET_MAC_LOW).to_le_bytes();
        let [e, f, ..] = card.ask(command::GET_MAC_HIGH).to_le_bytes();
        card.offer.mac = [a, b, c, d, e, f];
        Ok(card)
    }

    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn queues(&self, (tx, rx): (u16, u16)) -> (u16, u16) {
        let power = |count: u16| 1 << count.max(1).ilog2();
        (power(tx), power(rx))
    }

    fn interrupts(&self, kind: VectorKind) -> Self::Interrupts {
        let mut lines = self.lines.clone();
        lines.is_intx = kind == VectorKind::Intx;
        lines
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), Error> {
        self.command(command::RESET);
        for vector in 0..layout::MOST_VECTORS {
            let mask = bar0::of(bar0::MASK, vector);
            self.lines.doorbells.write(mask, 1_u32);
        }
        (self.tx_queues, self.rx_queues) = (setup.tx_queues, setup.rx_queues);
        self.has_vlan_filter = setup.extras.contains(Extras::VLAN_FILTER);
        let is_spread = setup.extras.contains(Extras::RSS) && setup.rx_queues > 1;
        self.rss = is_spread.then_some(setup.rss);
        self.describe(setup);
        self.describe_rss(&setup.rss);
        Ok(())
    }

    fn tx(&mut self, setup: &Setup, number: u16) -> Result<Self::Tx, Error> {
        let made = tx::Queue::new(self, setup, number)?;
        self.describe_queue(number, &made.rings(), setup.vectors.tx(number));
        Ok(made)
    }

    fn rx(&mut self, setup: &Setup, number: u16) -> Result<Self::Rx, Error> {
        let made = rx::Queue::new(self, setup, number)?;
        let behind = self.tx_queues.saturating_add(number);
        self.describe_queue(behind, &made.rings(), setup.vectors.rx(number));
        Ok(made)
    }

    fn start(&mut self, setup: &Setup) -> Result<(), Error> {
        let address = self.memory.address();
        self.write(bar1::SHARED_LOW, address as u32);
        self.write(bar1::SHARED_HIGH, (address >> 32) as u32);
        let status = self.ask(command::ACTIVATE);
        if status != 0 {
            return Err(Error::Broken("activation", status.into()));
        }
        self.is_active = true;
        // Afterwards, since QEMU's device takes its own address when it is activated.
        let [a, b, c, d, e, f] = setup.mac;
        self.write(bar1::MAC_LOW, u32::from_le_bytes([a, b, c, d]));
        self.write(bar1::MAC_HIGH, u32::from_le_bytes([e, f, 0, 0]));
        Ok(())
    }

    fn stop(&mut self) {
        // It counts from 0 when it is activated again.
        self.refresh();
        self.keep();
        self.is_active = false;
        self.command(command::QUIESCE);
        self.command(command::RESET);
    }

    fn filter(&mut self, filter: &Filter<'_>) {
        let groups = filter.multicast.as_flattened();
        let fits = filter.multicast.len() <= shared::MOST_GROUPS && !filter.all_multicast;
        let modes = [
            (true, rx_mode::OWN | rx_mode::BROADCAST),
            (filter.promiscuous, rx_mode::ALL),
            (!fits, rx_mode::ALL_GROUPS),
            (fits && !groups.is_empty(), rx_mode::GROUPS),
        ];
        let groups = if fits { groups } else { &[] };
        self.memory.put(shared::GROUPS, groups);
        self.memory.store(shared::GROUPS_BYTES, groups.len() as u16);
        self.memory.store(shared::RX_MODE, bits_of(&modes));
        for (n, &word) in filter.vlans.0.iter().enumerate() {
            // Without a tag, and with a priority only, a frame is of VLAN 0.
            let all = if self.has_vlan_filter { 0 } else { !0 };
            let word = word | u32::from(n == 0) | all;
            self.memory.store(shared::VLANS + n * 4, word);
        }
        if self.is_active {
            self.command(command::GROUPS);
            self.command(command::VLANS);
            self.command(command::RX_MODE);
        }
    }

    fn spread(&mut self, rss: &Rss) -> bool {
        // The device reads only the table again.
        let is_alike = |old: &Rss| old.key == rss.key && old.hashes == rss.hashes;
        if !self.is_active || !self.rss.as_ref().is_some_and(is_alike) {
            return false;
        }
        self.describe_rss(rss);
        self.command(command::RSS_TABLE);
        true
    }

    fn link(&mut self) -> Link {
        let state = self.ask(command::GET_LINK);
        let up = (state & 1 != 0).then_some(Link::up(state >> 16));
        up.unwrap_or(Link::Down)
    }

    fn events(&mut self) -> Events {
        let seen: u32 = self.memory.load(shared::EVENTS);
        let mut events = Events::empty();
        if seen != 0 {
            self.write(bar1::EVENT, seen);
            events.set(Events::LINK, seen & event::LINK != 0);
            let is_error = seen & event::ERROR != 0;
            events.set(Events::RESET, is_error && self.report_stopped());
        }
        events
    }

    fn refresh(&mut self) {
        if self.is_active {
            self.command(command::GET_STATISTICS);
        }
    }

    fn statistic(&mut self, label: usize, number: u16) -> u64 {
        let (label, is_rx) = match label.checked_sub(TX_LABELS) {
            Some(label) => (label, true),
            None => (label, false),
        };
        if number >= MOST_QUEUES || label >= queue::FIGURES {
            return 0;
        }
        let now: u64 = match self.counted_at(number, is_rx) {
            Some(at) => self.memory.load(at + label * u64::BYTES),
            None => 0,
        };
        let kept: u64 = self
            .memory
            .load(kept_at(number, is_rx) + label * u64::BYTES);
        kept.wrapping_add(now)
    }
}

impl<P: Platform> Wvmx<P> {
    fn write(&self, register: u32, value: u32) {
        self.lines.registers.write(register, value);
    }

    fn command(&self, command: u32) {
        self.write(bar1::COMMAND, command);
    }

    fn ask(&self, command: u32) -> u32 {
        self.command(command);
        self.lines.registers.read(bar1::COMMAND)
    }

    /// Where the device puts a queue's figures, if it goes and has that queue. Receive queues
    /// come behind transmit queues.
    fn counted_at(&self, number: u16, is_rx: bool) -> Option<usize> {
        let [own, behind] = match is_rx {
            true => [self.rx_queues, self.tx_queues],
            false => [self.tx_queues, 0],
        };
        let is_there = self.is_active && number < own;
        is_there.then(|| queue_at(number.saturating_add(behind)) + queue::STATISTICS)
    }

    /// Adds what the queues have counted to what they had before.
    fn keep(&self) {
        for is_rx in [false, true] {
            for number in 0..MOST_QUEUES {
                let Some(from) = self.counted_at(number, is_rx) else {
                    break;
                };
                let to = kept_at(number, is_rx);
                for offset in (0..queue::FIGURES).map(|figure| figure * u64::BYTES) {
                    let (now, before): (u64, u64) = (
                        self.memory.load(from + offset),
                        self.memory.load(to + offset),
                    );
                    self.memory.store(to + offset, before.wrapping_add(now));
                }
            }
        }
    }

    fn describe(&self, setup: &Setup) {
        let memory = &self.memory;
        memory.clear(0..shared::BYTES);
        memory.clear(shared::QUEUES..shared::QUEUES_END);
        let on = setup.capabilities;
        let check = Capabilities::CHECK_IPV4 | Capabilities::CHECK_IPV6;
        let features = bits_of(&[
            (on.intersects(check), feature::CHECK),
            (on.contains(Capabilities::VLAN_TAG), feature::VLAN),
            (setup.extras.contains(Extras::LRO), feature::LRO),
            (self.rss.is_some(), feature::RSS),
        ]);
        let (tx_queues, rx_queues) = (setup.tx_queues as u8, setup.rx_queues as u8);
        let queues = usize::from(tx_queues) + usize::from(rx_queues);
        let at = |offset: usize| memory.address().wrapping_add(offset as u64);
        for (at, value) in [
            (shared::MAGIC, layout::MAGIC),
            (shared::DRIVER_VERSION, 1 << 16),
            (shared::SYSTEM, layout::SYSTEM),
            (shared::REVISION, self.revision),
            (shared::UPT_VERSION, 1),
            (shared::FEATURES, features),
            (shared::QUEUES_BYTES, (queues * queue::BYTES) as u32),
            (shared::MTU, setup.mtu),
            (shared::RSS_VERSION, 1),
            (shared::RSS_BYTES, rss::BYTES),
        ] {
            memory.store(at, value);
        }
        memory.store(shared::QUEUES_AT, at(shared::QUEUES));
        memory.store(shared::GROUPS_AT, at(shared::GROUPS));
        memory.store(shared::RSS_AT, at(shared::RSS));
        memory.store(shared::MOST_RX_PARTS, MOST_RX_PARTS);
        memory.put(shared::TX_QUEUES, &[tx_queues, rx_queues]);
        let (all, event) = (setup.vectors.count as u8, setup.vectors.event() as u8);
        let masks = u8::from(self.lines.is_auto_masked);
        memory.put(shared::AUTO_MASK, &[masks, all, event]);
        let level = match setup.extras.contains(Extras::MODERATES_ITSELF) {
            true => layout::ADAPTIVE,
            false => layout::UNMODERATED,
        };
        memory.put(shared::MODERATION, &[level; layout::MOST_VECTORS as usize]);
    }

    fn describe_rss(&self, rss: &Rss) {
        const { assert!(Hashes::TCP_IPV6.bits() == 8) };
        let hashes = u16::from(rss.hashes.bits() & 0xf);
        let (key, table) = (rss.key.len() as u16, rss.table.len() as u16);
        for (at, half) in (shared::RSS..).step_by(2).zip([hashes, 1, key, table]) {
            self.memory.store(at, half);
        }
        self.memory.put(shared::RSS + rss::KEY, &rss.key);
        self.memory.put(shared::RSS + rss::TABLE, &rss.table);
    }

    /// Where the device finds a queue's rings, each by its place, and which interrupt is its own.
    fn describe_queue(
        &self,
        number: u16,
        rings: &[(usize, &Ring<P::Dma, { layout::SIZE }>)],
        vector: u16,
    ) {
        let at = queue_at(number);
        for &(place, ring) in rings {
            let slots = u32::from(ring.slots());
            self.memory
                .store(at + queue::RINGS + place * 8, ring.address());
            self.memory.store(at + queue::SLOTS + place * 4, slots);
        }
        self.memory.store(at + queue::VECTOR, vector as u8);
    }

    /// Says which queues the device has stopped. Whether there is one.
    fn report_stopped(&self) -> bool {
        self.command(command::GET_STATUS);
        let mut is_any = false;
        for number in 0..MOST_QUEUES * 2 {
            let at = queue_at(number);
            if self.memory.load::<u8>(at + queue::IS_STOPPED) != 0 {
                let error: u32 = self.memory.load(at + queue::ERROR);
                let line = format_args!("the device stopped queue {number}, error {error:#x}");
                self.platform.log(Level::Error, line);
                is_any = true;
            }
        }
        is_any
    }
}

/// Where a queue's description is.
fn queue_at(number: u16) -> usize {
    shared::QUEUES + usize::from(number) * queue::BYTES
}

/// Where what a queue had counted before is.
fn kept_at(number: u16, is_rx: bool) -> usize {
    let queue = usize::from(number) + usize::from(is_rx) * usize::from(MOST_QUEUES);
    shared::KEPT + queue * queue::FIGURES * u64::BYTES
}

/// Queues of each kind.
const MOST_QUEUES: u16 = 8;

const OFFER: Offer = Offer {
    mac: [0; 6],
    capabilities: Capabilities::all().difference(Capabilities::HARDWARE),
    extras: Extras::all().difference(Extras::MODERATE),
    usual_extras: Extras::RSS
        .union(Extras::HASH)
        .union(Extras::MODERATES_ITSELF),
    tx_queues: MOST_QUEUES,
    rx_queues: MOST_QUEUES,
    tx_slots: Range::new(64, 4096, 32, 512),
    rx_slots: Range::new(32, 2048, 32, 512),
    most_mtu: 9000,
    limits: Limits {
        segments: 32,
        segment_bytes: layout::MOST_BYTES,
        longest: 65_535,
        sums: SegmentSums::WithoutLength,
        cuts: Cuts::ORDINARY,
    },
    vectors: layout::MOST_VECTORS,
    mbps: 10_000,
};

/// In the order of the device's figures.
const LABELS: &[Label] = &[
    Label::tx("tso_packets", "Frames of long segments that were cut"),
    Label::tx("tso_bytes", "Their bytes"),
    Label::tx("unicast_packets", "Frames to one receiver"),
    Label::tx("unicast_bytes", "Their bytes"),
    Label::tx("multicast_packets", "Frames to groups"),
    Label::tx("multicast_bytes", "Their bytes"),
    Label::tx("broadcast_packets", "Frames to all"),
    Label::tx("broadcast_bytes", "Their bytes"),
    Label::tx("errors", "Frames that the device could not send"),
    Label::tx("discards", "Frames that the device dropped"),
    Label::rx("lro_packets", "Merged frames"),
    Label::rx("lro_bytes", "Their bytes"),
    Label::rx("unicast_packets", "Frames to this receiver"),
    Label::rx("unicast_bytes", "Their bytes"),
    Label::rx("multicast_packets", "Frames to groups"),
    Label::rx("multicast_bytes", "Their bytes"),
    Label::rx("broadcast_packets", "Frames to all"),
    Label::rx("broadcast_bytes", "Their bytes"),
    Label::rx("no_buffer", "Frames lost since the device had no buffer"),
    Label::rx("errors", "Frames that were broken"),
];
/// Of them, transmit queues'.
const TX_LABELS: usize = queue::FIGURES;
