// SPDX-License-Identifier: BSD-2-Clause
//! `wem`: Intel's 82540EM, 82545EM and 82574L, which QEMU calls `e1000` and `e1000e`, and
//! bhyve `e1000`.
//!
//! The 8254x are on PCI, have one queue each way and one interrupt. The 82574 is on PCI Express,
//! has two queues each way if there are message interrupts for them, spreads flows by RSS, and
//! segments TCP over IPv6 as well. Apart from that they are alike.
//!
//! | part | in |
//! | --- | --- |
//! | attach, start, stop, link, figures | here |
//! | address filters | `filter.rs` |
//! | queues | `transmit.rs`, `receive.rs` |
//! | interrupts | `interrupts.rs` |
//! | the EEPROM, the PHY | `eeprom.rs`, `phy.rs` |
//! | what is in registers and descriptors | `registers.rs`, `descriptor.rs`, `statistics.rs` |
//!
//! # What emulations do otherwise
//!
//! - QEMU's `e1000` ignores the reset bit. So each register that matters is written at each
//!   start, and both units are switched off before.
//! - QEMU's `e1000` receives nothing for a second after RCTL is written. So it is written when
//!   it changes only.
//! - bhyve reads what to fill in from a frame's last descriptor, QEMU from the first. So all
//!   descriptors of a frame say the same.
//! - bhyve has one context for checksums and segments, where the chip has two. So after a
//!   segment's context the next one is always written.

pub mod descriptor;
mod eeprom;
mod filter;
mod interrupts;
mod phy;
mod receive;
pub mod registers;
pub mod statistics;
mod transmit;

pub use interrupts::WemInterrupts;
pub use receive::WemRx;
pub use transmit::WemTx;

use phy::Phy;
use registers::*;
use statistics::{ALL, COUNT, LABELS};
use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cuts, Error, Events, Extras, Filter, Id, Label, Limits, Link, Nic, Offer, Platform, Range,
    Registers, Rss, SegmentSums, Setup, VectorKind,
};

/// What the devices differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// 8254x.
    Pci,
    /// 82574.
    Express,
}

const VENDOR: u16 = 0x8086;
const INTEL_82574L: u16 = 0x10d3;

/// What all of them do.
const CAPABILITIES: Capabilities = Capabilities::FILL_IPV4
    .union(Capabilities::FILL_IPV6)
    .union(Capabilities::CHECK_IPV4)
    .union(Capabilities::CHECK_IPV6)
    .union(Capabilities::SEGMENT_IPV4)
    .union(Capabilities::VLAN_MTU)
    .union(Capabilities::VLAN_TAG)
    .union(Capabilities::VLAN_FILL)
    .union(Capabilities::VLAN_SEGMENT)
    .union(Capabilities::JUMBO)
    .union(Capabilities::STATE);

/// Descriptors: a ring's bytes are a multiple of 128.
const SLOTS: Range = Range {
    least: 64,
    most: 4096,
    step: 8,
    usual: 1024,
};

/// Nanoseconds for which figures are good.
const COUNT_NS: u64 = 10_000_000;
/// Times that a reset is waited for, 1 ms each.
const RESET_TRIES: u32 = 20;
/// The address and EtherType of pauses (IEEE 802.3, annex 31B).
const PAUSE_ADDRESS: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x01];
const PAUSE_ETHERTYPE: u32 = 0x8808;
/// How long a pause is asked for, in 512 bits' times.
const PAUSE_TIME: u32 = 0x0680;

/// A device.
pub struct Wem<P: Platform> {
    platform: P,
    registers: P::Registers,
    family: Family,
    offer: Offer,
    /// What RCTL has, or is to have.
    receive: Receive,
    link: Link,
    is_going: bool,
    filters_vlans: bool,
    totals: [u64; COUNT],
    /// When they were brought up to date.
    counted: u64,
}

impl<P: Platform> Wem<P> {
    fn read(&self, at: u32) -> u32 {
        self.registers.read(at)
    }

    fn write(&self, at: u32, value: u32) {
        self.registers.write(at, value);
    }

    /// Switches everything off, and has the device start anew.
    fn reset(&self) -> Result<(), Error> {
        self.write(IMC, !0);
        self.write(RCTL, 0);
        self.write(TCTL, Transmit::PAD.bits());
        // What is under way ends meanwhile; the read has the writes arrive.
        self.read(STATUS);
        self.platform.wait_us(10_000);
        let control = Control::from_bits_retain(self.read(CTRL));
        self.write(CTRL, (control | Control::RESET).bits());
        for _ in 0..RESET_TRIES {
            self.platform.wait_us(1_000);
            if !Control::from_bits_retain(self.read(CTRL)).contains(Control::RESET) {
                // The reset may have set masks anew.
                self.write(IMC, !0);
                self.read(ICR);
                return Ok(());
            }
        }
        Err(Error::Broken("reset", self.read(CTRL).into()))
    }

    /// Divides the chip's packet memory, and says when to ask for a pause.
    fn divide_memory(&self, frame_bytes: u32) {
        let kilobytes = match self.family {
            Family::Express => 20,
            Family::Pci if frame_bytes > 8192 => 40,
            Family::Pci => 48,
        };
        self.write(PBA, kilobytes);
        let [a, b, c, d, e, f] = PAUSE_ADDRESS;
        self.write(FCAL, u32::from_le_bytes([a, b, c, d]));
        self.write(FCAH, u32::from_le_bytes([e, f, 0, 0]));
        self.write(FCT, PAUSE_ETHERTYPE);
        self.write(FCTTV, PAUSE_TIME);
        // A frame has room when the other side has been told, in steps of 8 bytes.
        let high = (kilobytes << 10).saturating_sub(frame_bytes.next_multiple_of(1024)) & !7;
        self.write(FCRTH, high);
        self.write(FCRTL, high.saturating_sub(1504));
    }

    /// Obeys and sends pauses as both sides of the link want.
    fn settle_pauses(&self) {
        let phy = Phy::take(&self.platform, &self.registers, self.family);
        let (obey, send) = phy.and_then(|phy| phy.pauses()).unwrap_or_default();
        let mut control = Control::from_bits_retain(self.read(CTRL));
        let before = control;
        control.set(Control::RECEIVE_PAUSE, obey);
        control.set(Control::SEND_PAUSE, send);
        if control != before {
            self.write(CTRL, control.bits());
        }
    }

    fn look_at_link(&self) -> Link {
        let status = Status::from_bits_retain(self.read(STATUS));
        if status == Status::all() || !status.contains(Status::LINK_UP) {
            return Link::Down;
        }
        let mbps = if status.contains(Status::GIGABIT) {
            1000
        } else if status.contains(Status::MEGABIT_100) {
            100
        } else {
            10
        };
        Link::Up {
            mbps,
            full_duplex: status.contains(Status::FULL_DUPLEX),
        }
    }

    fn set_receive(&mut self, receive: Receive) {
        if receive != self.receive {
            self.receive = receive;
            if self.is_going {
                self.write(RCTL, receive.bits());
            }
        }
    }

    /// Which vector each of the 82574's causes has.
    fn route(&self, setup: &Setup) {
        let of = |n: u32, vector: u16| (u32::from(vector) & 7 | VECTOR_VALID) << (n * 4);
        let mut routes = EACH_WRITE_BACK | of(4, setup.vectors.event());
        for (n, queue) in (0..2).zip(0..setup.rx_queues) {
            routes |= of(n, setup.vectors.rx(queue));
        }
        for (n, queue) in (2..4).zip(0..setup.tx_queues) {
            routes |= of(n, setup.vectors.tx(queue));
        }
        let is_msix = setup.vectors.kind == VectorKind::Msix;
        self.write(IVAR, if is_msix { routes } else { 0 });
        self.write(EIAC, if is_msix { Cause::ROUTED.bits() } else { 0 });
    }

    fn write_rss(&self, rss: &Rss) {
        for (n, four) in (0..).zip(rss.key.as_chunks::<4>().0) {
            self.write(RSSRK + 4 * n, u32::from_le_bytes(*four));
        }
        for (n, four) in (0..).zip(rss.table.as_chunks::<4>().0) {
            let entries = four.map(|queue| if queue == 0 { 0 } else { SECOND_QUEUE });
            self.write(RETA + 4 * n, u32::from_le_bytes(entries));
        }
    }

    /// Adds what the device has counted since the last time.
    fn count(&mut self) {
        for (statistic, total) in ALL.iter().zip(&mut self.totals) {
            let low: u32 = self.registers.read(statistic.register);
            let high: u32 = match statistic.is_long {
                true => self.registers.read(statistic.register + 4),
                false => 0,
            };
            // A device that is gone reads as ones, and has counted nothing.
            if low != !0 {
                *total = total.wrapping_add(u64::from(high) << 32 | u64::from(low));
            }
        }
    }
}

impl<P: Platform> Nic<P> for Wem<P> {
    const NAME: &'static str = "wem";
    const IDS: &'static [Id] = &[
        Id {
            vendor: VENDOR,
            device: 0x100e,
            name: "Intel 82540EM Gigabit Ethernet",
        },
        Id {
            vendor: VENDOR,
            device: 0x100f,
            name: "Intel 82545EM Gigabit Ethernet",
        },
        Id {
            vendor: VENDOR,
            device: INTEL_82574L,
            name: "Intel 82574L Gigabit Ethernet",
        },
    ];
    const LABELS: &'static [Label] = &LABELS;

    type Tx = WemTx<P>;
    type Rx = WemRx<P>;
    type Interrupts = WemInterrupts<P>;

    fn attach(platform: &P) -> Result<Self, Error> {
        let registers = platform.registers(0)?;
        let device: u16 = platform.config(2);
        let family = match device {
            INTEL_82574L => Family::Express,
            _ => Family::Pci,
        };
        let mut wem = Self {
            platform: platform.clone(),
            registers,
            family,
            offer: offer(family),
            receive: Receive::empty(),
            link: Link::Down,
            is_going: false,
            filters_vlans: false,
            totals: [0; COUNT],
            counted: 0,
        };
        wem.reset()?;
        let mac = eeprom::mac(platform, &wem.registers, family);
        wem.offer.mac = mac.ok_or(Error::Broken("no address in the EEPROM", 0))?;
        let phy = Phy::take(platform, &wem.registers, family);
        if !phy.is_some_and(|phy| phy.wake()) {
            return Err(Error::Broken("PHY, MDIC", wem.read(MDIC).into()));
        }
        Ok(wem)
    }

    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn interrupts(&self, kind: VectorKind) -> WemInterrupts<P> {
        WemInterrupts {
            registers: self.registers.clone(),
            kind,
        }
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), Error> {
        self.stop();
        self.reset()?;
        let mut control = Control::from_bits_retain(self.read(CTRL));
        control -= Control::FORCE_SPEED | Control::FORCE_DUPLEX;
        control |= Control::SET_LINK_UP | Control::AUTO_SPEED;
        control.set(
            Control::VLAN,
            setup.capabilities.contains(Capabilities::VLAN_TAG),
        );
        self.write(CTRL, control.bits());
        self.write(VET, weft_engine::wire::ethernet::VLAN.into());
        eeprom::set_mac(&self.registers, setup.mac);
        self.divide_memory(setup.frame_bytes());
        self.write(TIPG, GAP);
        let mut checksum = Checksum::empty();
        checksum.set(
            Checksum::IP | Checksum::LAYER_4,
            setup.capabilities.contains(Capabilities::CHECK_IPV4),
        );
        let over_ipv6 = setup.capabilities.contains(Capabilities::CHECK_IPV6);
        match self.family {
            Family::Pci => checksum.set(Checksum::IPV6, over_ipv6),
            Family::Express => {
                checksum.set(Checksum::HASH_INSTEAD, setup.rx_queues > 1);
                self.write(RFCTL, FilterControl::EXTENDED.bits());
                let extended = ControlExtended::from_bits_retain(self.read(CTRL_EXT));
                let extended =
                    extended | ControlExtended::DRIVER_LOADED | ControlExtended::CLEAR_PENDING;
                self.write(CTRL_EXT, extended.bits());
                self.write_rss(&setup.rss);
                let is_spread = setup.rx_queues > 1;
                self.write(MRQC, if is_spread { MULTI_QUEUE } else { 0 });
                self.route(setup);
            }
        }
        self.write(RXCSUM, checksum.bits());
        self.filters_vlans = setup.extras.contains(Extras::VLAN_FILTER);
        self.receive = Receive::ENABLE
            | Receive::BROADCAST
            | Receive::STRIP_CRC
            | receive::buffer_size(setup).1;
        self.receive.set(Receive::LONG, setup.frame_bytes() > 1518);
        Ok(())
    }

    fn tx(&mut self, setup: &Setup, number: u16) -> Result<WemTx<P>, Error> {
        WemTx::new(
            &self.platform,
            self.registers.clone(),
            self.family,
            setup,
            number,
        )
    }

    fn rx(&mut self, setup: &Setup, number: u16) -> Result<WemRx<P>, Error> {
        WemRx::new(
            &self.platform,
            self.registers.clone(),
            self.family,
            setup,
            number,
        )
    }

    fn start(&mut self, _setup: &Setup) -> Result<(), Error> {
        let mut transmit = Transmit::ENABLE | Transmit::PAD;
        transmit.set(Transmit::MULTIPLE_READS, self.family == Family::Express);
        self.write(TCTL, transmit.bits() | COLLISIONS);
        self.write(RCTL, self.receive.bits());
        self.is_going = true;
        Ok(())
    }

    fn stop(&mut self) {
        if !self.is_going {
            return;
        }
        self.is_going = false;
        self.link = Link::Down;
        self.count();
        // A device that can't be reset has been switched off at least.
        let _ = self.reset();
        if self.family == Family::Express {
            let extended = ControlExtended::from_bits_retain(self.read(CTRL_EXT));
            self.write(CTRL_EXT, (extended - ControlExtended::DRIVER_LOADED).bits());
        }
    }

    fn filter(&mut self, filter: &Filter<'_>) {
        self.set_filter(filter);
    }

    fn spread(&mut self, rss: &Rss) -> bool {
        if self.family == Family::Express {
            self.write_rss(rss);
        }
        true
    }

    fn link(&mut self) -> Link {
        let link = self.look_at_link();
        if link != self.link && self.is_going {
            self.link = link;
            if link != Link::Down {
                self.settle_pauses();
            }
        }
        link
    }

    fn events(&mut self) -> Events {
        let mut events = Events::empty();
        if self.family == Family::Express {
            // What happens from here on interrupts again.
            self.write(ICR, Cause::EVENTS.bits());
        }
        let is_gone = self.read(STATUS) == !0;
        events.set(Events::RESET, is_gone);
        events.set(Events::LINK, self.look_at_link() != self.link);
        events
    }

    fn refresh(&mut self) {
        // Who reads all figures one by one asks each time.
        let now = self.platform.now();
        if now.wrapping_sub(self.counted) >= COUNT_NS {
            self.counted = now;
            self.count();
        }
    }

    fn statistic(&mut self, label: usize, _queue: u16) -> u64 {
        self.totals.get(label).copied().unwrap_or(0)
    }
}

/// What a device of a family offers.
fn offer(family: Family) -> Offer {
    let is_express = family == Family::Express;
    let mut capabilities = CAPABILITIES;
    capabilities.set(Capabilities::SEGMENT_IPV6, is_express);
    let mut extras = Extras::VLAN_FILTER | Extras::MODERATE;
    extras.set(Extras::RSS | Extras::HASH, is_express);
    let queues = if is_express { 2 } else { 1 };
    Offer {
        mac: [0; 6],
        capabilities,
        extras,
        usual_extras: extras,
        tx_queues: queues,
        rx_queues: queues,
        tx_slots: SLOTS,
        rx_slots: SLOTS,
        // The longest frame that the chips take, without a tag and the check sequence.
        most_mtu: if is_express { 9234 - 22 } else { 16_128 - 22 },
        limits: Limits {
            segments: 40,
            segment_bytes: 4096,
            longest: 65_535 + 14,
            sums: SegmentSums::WithoutLength,
            cuts: Cuts::ORDINARY,
        },
        vectors: if is_express { 5 } else { 1 },
        mbps: 1000,
    }
}
