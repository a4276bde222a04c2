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
//! the queue is full.

mod layout;
mod rx;
mod tx;

use layout::{bar0, bar1, command, event, feature, queue, rss, rx_mode, shared};
use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cause, Dma, Error, Events, Extras, Filter, Hashes, Id, Interrupts, Label, Level, Limits, Link,
    Nic, Offer, Platform, Range, Registers, Rss, Scope, SegmentSums, Setup, VectorKind, Word,
};

/// The revision that says how many frames a merged one was made of.
const REVISION_2: u32 = 2;
/// Parts of a received frame at most: 64 KB in a head and pages.
const MOST_RX_PARTS: u16 = 18;

/// The card.
#[derive(Debug)]
pub struct Wvmx<P: Platform> {
    platform: P,
    doorbells: P::Registers,
    registers: P::Registers,
    memory: P::Dma,
    offer: Offer,
    revision: u32,
    /// The device masks a vector when it sends an interrupt.
    is_auto_masked: bool,
    is_active: bool,
    tx_queues: u16,
    rss: Option<Rss>,
    has_vlan_filter: bool,
}

/// What interrupts' filters get.
#[derive(Debug)]
pub struct Lines<R> {
    doorbells: R,
    registers: R,
    is_auto_masked: bool,
    is_intx: bool,
}

impl<R: Registers> Interrupts for Lines<R> {
    fn cause(&self, _vector: u16) -> Cause {
        // Reading it quiets the line.
        let is_ours = !self.is_intx || self.registers.read::<u32>(bar1::INTERRUPT) != 0;
        Cause {
            is_ours,
            queues: is_ours,
            event: is_ours,
        }
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
    const IDS: &'static [Id] = &[Id {
        vendor: 0x15ad,
        device: 0x07b0,
        name: "VMware VMXNET3",
    }];
    const LABELS: &'static [Label] = LABELS;

    type Tx = tx::Queue<P>;
    type Rx = rx::Queue<P>;
    type Interrupts = Lines<P::Registers>;

    fn attach(platform: &P) -> Result<Self, Error> {
        let registers = platform.registers(bar1::BAR)?;
        let revisions: u32 = registers.read(bar1::REVISION);
        let revision = match revisions & 3 {
            0 => return Err(Error::Unsupported("revision", revisions.into())),
            1 => 1,
            _ => REVISION_2,
        };
        registers.write(bar1::REVISION, revision);
        let versions: u32 = registers.read(bar1::UPT_VERSION);
        if versions & 1 == 0 {
            return Err(Error::Unsupported("UPT version", versions.into()));
        }
        registers.write(bar1::UPT_VERSION, 1_u32);
        let mut card = Self {
            platform: platform.clone(),
            doorbells: platform.registers(bar0::BAR)?,
            memory: platform.dma(shared::ALL, layout::RING_ALIGN)?,
            registers,
            offer: OFFER,
            revision,
            is_auto_masked: false,
            is_active: false,
            tx_queues: 0,
            rss: None,
            has_vlan_filter: false,
        };
        card.stop();
        let modes = card.ask(command::GET_INTERRUPTS) >> 2 & 3;
        card.is_auto_masked = modes == 0;
        let [a, b, c, d] = card.ask(command::GET_MAC_LOW).to_le_bytes();
        let [e, f, ..] = card.ask(command::GET_MAC_HIGH).to_le_bytes();
        card.offer.mac = [a, b, c, d, e, f];
        Ok(card)
    }

    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn interrupts(&self, kind: VectorKind) -> Self::Interrupts {
        Lines {
            doorbells: self.doorbells.clone(),
            registers: self.registers.clone(),
            is_auto_masked: self.is_auto_masked,
            is_intx: kind == VectorKind::Intx,
        }
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), Error> {
        for count in [setup.tx_queues, setup.rx_queues] {
            if !count.is_power_of_two() {
                return Err(Error::Invalid(
                    "queues, but for powers of two",
                    count.into(),
                ));
            }
        }
        self.command(command::RESET);
        for vector in 0..layout::MOST_VECTORS {
            self.doorbells.write(bar0::of(bar0::MASK, vector), 1_u32);
        }
        self.tx_queues = setup.tx_queues;
        self.has_vlan_filter = setup.extras.contains(Extras::VLAN_FILTER);
        self.describe(setup);
        self.describe_interrupts(setup);
        self.describe_rss(setup);
        Ok(())
    }

    fn tx(&mut self, setup: &Setup, number: u16) -> Result<Self::Tx, Error> {
        let doorbell = bar0::of(bar0::TX, number);
        let made = tx::Queue::new(&self.platform, &self.doorbells, doorbell, setup)?;
        let at = self.queue_at(number);
        self.memory.store(at + queue::RING, made.ring().address());
        self.memory
            .store(at + queue::RING_SLOTS, u32::from(made.ring().slots()));
        let completions = made.completions();
        self.memory
            .store(at + queue::COMPLETIONS, completions.address());
        self.memory
            .store(at + queue::COMPLETION_SLOTS, u32::from(completions.slots()));
        self.memory
            .store(at + queue::VECTOR, setup.vectors.tx(number) as u8);
        Ok(made)
    }

    fn rx(&mut self, setup: &Setup, number: u16) -> Result<Self::Rx, Error> {
        let is_revision_2 = self.revision == REVISION_2;
        let made = rx::Queue::new(
            &self.platform,
            &self.doorbells,
            setup,
            number,
            is_revision_2,
        )?;
        let at = self.queue_at(self.tx_queues.saturating_add(number));
        let [heads, bodies] = made.rings();
        self.memory.store(at + queue::RING, heads.address());
        self.memory
            .store(at + queue::RING_SLOTS, u32::from(heads.slots()));
        self.memory.store(at + queue::RX_RING_2, bodies.address());
        self.memory
            .store(at + queue::RX_RING_2_SLOTS, u32::from(bodies.slots()));
        let completions = made.completions();
        self.memory
            .store(at + queue::COMPLETIONS, completions.address());
        self.memory
            .store(at + queue::COMPLETION_SLOTS, u32::from(completions.slots()));
        self.memory
            .store(at + queue::VECTOR, setup.vectors.rx(number) as u8);
        Ok(made)
    }

    fn start(&mut self, setup: &Setup) -> Result<(), Error> {
        let address = self.memory.address();
        self.memory.store(shared::INTERRUPTS_OFF, 0_u32);
        self.registers.write(bar1::SHARED_LOW, address as u32);
        self.registers
            .write(bar1::SHARED_HIGH, (address >> 32) as u32);
        let status = self.ask(command::ACTIVATE);
        if status != 0 {
            return Err(Error::Broken("activation", status.into()));
        }
        self.is_active = true;
        // Afterwards, since QEMU's device takes its own address when it is activated.
        let [a, b, c, d, e, f] = setup.mac;
        self.registers
            .write(bar1::MAC_LOW, u32::from_le_bytes([a, b, c, d]));
        self.registers
            .write(bar1::MAC_HIGH, u32::from_le_bytes([e, f, 0, 0]));
        Ok(())
    }

    fn stop(&mut self) {
        self.is_active = false;
        self.command(command::QUIESCE);
        self.command(command::RESET);
    }

    fn filter(&mut self, filter: &Filter<'_>) {
        let fits = filter.multicast.len() <= shared::MOST_GROUPS;
        let mut mode = rx_mode::OWN | rx_mode::BROADCAST;
        let mut bytes = 0;
        if filter.promiscuous {
            mode |= rx_mode::ALL;
        }
        if filter.all_multicast || !fits {
            mode |= rx_mode::ALL_GROUPS;
        } else if !filter.multicast.is_empty() {
            mode |= rx_mode::GROUPS;
            for byte in filter.multicast.iter().flatten() {
                self.memory
                    .store(shared::GROUPS + usize::from(bytes), *byte);
                bytes += 1_u16;
            }
        }
        self.memory.store(shared::GROUPS_BYTES, bytes);
        self.memory.store(shared::RX_MODE, mode);
        for (n, &word) in filter.vlans.0.iter().enumerate() {
            // Without a tag, and with a priority only, a frame is of VLAN 0.
            let word = if n == 0 { word | 1 } else { word };
            let word = if self.has_vlan_filter { word } else { !0 };
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
        self.store_table(rss);
        self.rss = Some(*rss);
        self.command(command::RSS_TABLE);
        true
    }

    fn link(&mut self) -> Link {
        let state = self.ask(command::GET_LINK);
        match state & 1 {
            0 => Link::Down,
            _ => Link::Up {
                mbps: state >> 16,
                full_duplex: true,
            },
        }
    }

    fn events(&mut self) -> Events {
        let seen: u32 = self.memory.load(shared::EVENTS);
        let mut events = Events::empty();
        if seen == 0 {
            return events;
        }
        self.registers.write(bar1::EVENT, seen);
        events.set(Events::LINK, seen & event::LINK != 0);
        if seen & (event::TX_ERROR | event::RX_ERROR) != 0 {
            events.set(Events::RESET, self.report_stopped());
        }
        events
    }

    fn refresh(&mut self) {
        if self.is_active {
            self.command(command::GET_STATISTICS);
        }
    }

    fn statistic(&mut self, label: usize, number: u16) -> u64 {
        let (first, number) = match LABELS.get(label).map(|label| label.scope) {
            Some(Scope::Tx) => (0, number),
            Some(Scope::Rx) => (TX_LABELS, self.tx_queues.saturating_add(number)),
            _ => return 0,
        };
        if number >= MOST_QUEUES * 2 {
            return 0;
        }
        let at = self.queue_at(number) + queue::STATISTICS;
        self.memory.load(at + (label - first) * u64::BYTES)
    }
}

impl<P: Platform> Wvmx<P> {
    fn command(&self, command: u32) {
        self.registers.write(bar1::COMMAND, command);
    }

    fn ask(&self, command: u32) -> u32 {
        self.command(command);
        self.registers.read(bar1::COMMAND)
    }

    /// Where a queue's description is; receive queues come behind transmit queues.
    fn queue_at(&self, number: u16) -> usize {
        shared::QUEUES + usize::from(number) * queue::BYTES
    }

    fn describe(&self, setup: &Setup) {
        for at in (0..shared::BYTES).step_by(u64::BYTES) {
            self.memory.store(at, 0_u64);
        }
        for at in (shared::QUEUES..shared::ALL).step_by(u64::BYTES) {
            self.memory.store(at, 0_u64);
        }
        let on = setup.capabilities;
        let check = Capabilities::CHECK_IPV4 | Capabilities::CHECK_IPV6;
        let features = [
            (on.intersects(check), feature::CHECK),
            (on.contains(Capabilities::VLAN_TAG), feature::VLAN),
            (setup.extras.contains(Extras::LRO), feature::LRO),
            (is_spread(setup), feature::RSS),
        ];
        let wanted = features.iter().filter(|(is_on, _)| *is_on);
        let features = wanted.fold(0, |all, (_, feature)| all | feature);
        let queues = setup.tx_queues.saturating_add(setup.rx_queues);
        let address = self.memory.address();
        self.memory.store(shared::MAGIC, layout::MAGIC);
        self.memory.store(shared::DRIVER_VERSION, 1_u32 << 16);
        self.memory.store(shared::SYSTEM, layout::SYSTEM);
        self.memory.store(shared::REVISION, self.revision);
        self.memory.store(shared::UPT_VERSION, 1_u32);
        self.memory.store(shared::FEATURES, features);
        self.memory
            .store(shared::QUEUES_AT, address + shared::QUEUES as u64);
        self.memory.store(
            shared::QUEUES_BYTES,
            u32::from(queues) * queue::BYTES as u32,
        );
        self.memory.store(shared::MTU, setup.mtu);
        self.memory.store(shared::MOST_RX_PARTS, MOST_RX_PARTS);
        self.memory.store(shared::TX_QUEUES, setup.tx_queues as u8);
        self.memory.store(shared::RX_QUEUES, setup.rx_queues as u8);
        self.memory
            .store(shared::GROUPS_AT, address + shared::GROUPS as u64);
    }

    fn describe_interrupts(&self, setup: &Setup) {
        self.memory
            .store(shared::AUTO_MASK, u8::from(self.is_auto_masked));
        self.memory
            .store(shared::VECTORS, setup.vectors.count as u8);
        self.memory
            .store(shared::EVENT_VECTOR, setup.vectors.event() as u8);
        self.memory.store(shared::INTERRUPTS_OFF, 1_u32);
        for vector in 0..setup.vectors.count.min(layout::MOST_VECTORS) {
            let at = shared::MODERATION + usize::from(vector);
            self.memory.store(at, layout::ADAPTIVE);
        }
    }

    fn describe_rss(&mut self, setup: &Setup) {
        self.rss = is_spread(setup).then_some(setup.rss);
        if self.rss.is_none() {
            return;
        }
        let hashes = [
            Hashes::IPV4,
            Hashes::TCP_IPV4,
            Hashes::IPV6,
            Hashes::TCP_IPV6,
        ];
        let wanted = (0..4)
            .zip(hashes)
            .filter(|(_, hash)| setup.rss.hashes.contains(*hash));
        let hashes = wanted.fold(0_u16, |all, (bit, _)| all | 1 << bit);
        self.memory.store(shared::RSS + rss::HASHES, hashes);
        self.memory.store(shared::RSS + rss::FUNCTION, 1_u16);
        self.memory
            .store(shared::RSS + rss::KEY_BYTES, setup.rss.key.len() as u16);
        self.memory.store(
            shared::RSS + rss::TABLE_ENTRIES,
            setup.rss.table.len() as u16,
        );
        for (n, &byte) in setup.rss.key.iter().enumerate() {
            self.memory.store(shared::RSS + rss::KEY + n, byte);
        }
        self.store_table(&setup.rss);
        let address = self.memory.address();
        self.memory.store(shared::RSS_VERSION, 1_u32);
        self.memory.store(shared::RSS_BYTES, rss::BYTES);
        self.memory
            .store(shared::RSS_AT, address + shared::RSS as u64);
    }

    fn store_table(&self, rss: &Rss) {
        for (n, &queue) in rss.table.iter().enumerate() {
            self.memory.store(shared::RSS + rss::TABLE + n, queue);
        }
    }

    /// Says which queues the device has stopped. Whether there is one.
    fn report_stopped(&self) -> bool {
        self.command(command::GET_STATUS);
        let mut is_any = false;
        for number in 0..MOST_QUEUES * 2 {
            let at = self.queue_at(number);
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

fn is_spread(setup: &Setup) -> bool {
    setup.extras.contains(Extras::RSS) && setup.rx_queues > 1
}

/// Queues of each kind.
const MOST_QUEUES: u16 = 8;

const OFFER: Offer = Offer {
    mac: [0; 6],
    capabilities: Capabilities::all(),
    extras: Extras::all(),
    usual_extras: Extras::RSS.union(Extras::HASH),
    tx_queues: MOST_QUEUES,
    rx_queues: MOST_QUEUES,
    tx_slots: Range {
        least: 64,
        most: 4096,
        step: 32,
        usual: 512,
    },
    rx_slots: Range {
        least: 32,
        most: 2048,
        step: 32,
        usual: 512,
    },
    most_mtu: 9000,
    limits: Limits {
        segments: 32,
        segment_bytes: layout::MOST_BYTES,
        longest: 65_535,
        sums: SegmentSums::WithoutLength,
    },
    vectors: layout::MOST_VECTORS,
    mbps: 10_000,
};

const fn label(scope: Scope, name: &'static str, what: &'static str) -> Label {
    Label { scope, name, what }
}

/// In the order of the device's figures.
const LABELS: &[Label] = &[
    label(
        Scope::Tx,
        "tso_packets",
        "Frames of long segments that were cut",
    ),
    label(Scope::Tx, "tso_bytes", "Their bytes"),
    label(Scope::Tx, "unicast_packets", "Frames to one receiver"),
    label(Scope::Tx, "unicast_bytes", "Their bytes"),
    label(Scope::Tx, "multicast_packets", "Frames to groups"),
    label(Scope::Tx, "multicast_bytes", "Their bytes"),
    label(Scope::Tx, "broadcast_packets", "Frames to all"),
    label(Scope::Tx, "broadcast_bytes", "Their bytes"),
    label(Scope::Tx, "errors", "Frames that the device could not send"),
    label(Scope::Tx, "discards", "Frames that the device dropped"),
    label(Scope::Rx, "lro_packets", "Merged frames"),
    label(Scope::Rx, "lro_bytes", "Their bytes"),
    label(Scope::Rx, "unicast_packets", "Frames to this receiver"),
    label(Scope::Rx, "unicast_bytes", "Their bytes"),
    label(Scope::Rx, "multicast_packets", "Frames to groups"),
    label(Scope::Rx, "multicast_bytes", "Their bytes"),
    label(Scope::Rx, "broadcast_packets", "Frames to all"),
    label(Scope::Rx, "broadcast_bytes", "Their bytes"),
    label(
        Scope::Rx,
        "no_buffer",
        "Frames lost since the device had no buffer",
    ),
    label(Scope::Rx, "errors", "Frames that were broken"),
];
/// Of them, transmit queues'.
const TX_LABELS: usize = 10;
