// SPDX-License-Identifier: BSD-2-Clause
//! `wvtnet`: network cards of virtio on PCI, modern and legacy, as QEMU, bhyve and clouds give them.
//!
//! | part | in |
//! | --- | --- |
//! | attach, negotiation, start, stop, link | here |
//! | registers, of either kind of device | `device.rs` |
//! | split virtqueues | `queue.rs` |
//! | queues of frames | `transmit.rs`, `receive.rs` |
//! | the control queue: filters, address, pairs of queues | `control.rs` |
//! | interrupts | `interrupts.rs` |
//! | what the specification says | `net.rs`, `layout.rs` |
//!
//! Features are agreed upon anew at each start, and only those that are on. So what is off is
//! off in the device as well, and needs no command.

mod control;
mod device;
mod interrupts;
pub mod layout;
pub mod net;
mod queue;
mod receive;
mod transmit;

pub use interrupts::WvtnetInterrupts;
pub use receive::WvtnetRx;
pub use transmit::WvtnetTx;

use control::{Control, MOST_GROUPS};
use device::Device;
use layout::{MODERN, TRANSITIONAL, VENDOR};
use net::{DeviceStatus, Features, Header, command, config};
use queue::Queue;
use receive::Form;
use weft_engine::l3::Mac;
use weft_engine::link::Capabilities;
use weft_engine::nic::{
    Cuts, Dma as _, Error, Events, Extras, Filter, Id, Level, Limits, Link, Nic, Offer, Platform,
    Range, SegmentSums, Setup, VectorKind, VlanSet,
};

/// What a feature of the device does for the stack.
const OFFERS: [(Features, Capabilities); 3] = [
    (Features::CHECKSUM, FILL),
    (Features::HOST_TSO4, Capabilities::SEGMENT_IPV4),
    (Features::HOST_TSO6, Capabilities::SEGMENT_IPV6),
];
const FILL: Capabilities = Capabilities::FILL_IPV4.union(Capabilities::FILL_IPV6);
const CHECK: Capabilities = Capabilities::CHECK_IPV4.union(Capabilities::CHECK_IPV6);

/// What is agreed upon wherever the device has it.
const ALWAYS: Features = Features::MTU
    .union(Features::MAC)
    .union(Features::MERGEABLE)
    .union(Features::STATUS)
    .union(Features::CONTROL)
    .union(Features::CONTROL_RX)
    .union(Features::CONTROL_MAC)
    .union(Features::EVENT_INDEX)
    .union(Features::VERSION_1)
    .union(Features::PLATFORM)
    .union(Features::SPEED);
/// What has long segments received.
const LRO: Features = Features::GUEST_TSO4.union(Features::GUEST_TSO6);

/// Descriptors that a queue has at most: more than that are no use.
const MOST_SLOTS: u16 = 1024;
/// Bytes of the largest buffer, where a frame must be in one.
const LARGEST_BUFFER: u32 = 9216;
/// Bytes of a frame beside its content, with a tag.
const AROUND: u32 = 18;

/// Words of 32 bits that a set of VLANs has.
const VLAN_WORDS: usize = 128;

/// A device.
pub struct Wvtnet<P: Platform> {
    platform: P,
    device: Device<P>,
    offer: Offer,
    /// What the device can do, and what was agreed upon at the last start.
    has: Features,
    agreed: Features,
    /// Pairs of queues that it has.
    pairs: u16,
    control: Option<Control<P>>,
    /// The VLANs that it was told of, a bit each; not here, for a kernel's stack is small.
    vlans: P::Dma,
    link: Link,
    /// It was greeted, and not stopped since.
    is_greeted: bool,
}

impl<P: Platform> Wvtnet<P> {
    /// What is agreed upon for that.
    fn wanted(&self, setup: &Setup) -> Features {
        let mut features = ALWAYS;
        let on = setup.capabilities;
        for (feature, capability) in OFFERS {
            features.set(feature, on.intersects(capability));
        }
        let looks = on.intersects(CHECK);
        features.set(Features::GUEST_CHECKSUM, looks);
        features.set(LRO, looks && setup.extras.contains(Extras::LRO));
        features.set(
            Features::CONTROL_VLAN,
            setup.extras.contains(Extras::VLAN_FILTER),
        );
        let queues = setup.rx_queues.max(setup.tx_queues);
        features.set(Features::MULTI_QUEUE, queues > 1);
        features & self.has
    }

    /// Has the device start anew, up to where queues are made.
    fn greet(&mut self, features: Features) -> Result<(), Error> {
        self.control = None;
        self.device.reset()?;
        self.device
            .add_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        self.device.agree(features)?;
        self.agreed = features;
        for n in 0..VLAN_WORDS {
            self.vlans.store(n * 4, 0_u32);
        }
        self.is_greeted = true;
        Ok(())
    }

    /// Has the device go, if it does not: all queues are made. It obeys no command before.
    fn go(&self) {
        if !self.device.status().contains(DeviceStatus::DRIVER_OK) {
            self.device.add_status(DeviceStatus::DRIVER_OK);
        }
    }

    /// Bytes of the header in front of each frame.
    fn header_bytes(&self) -> u32 {
        let is_long = Features::VERSION_1.union(Features::MERGEABLE);
        match self.agreed.intersects(is_long) {
            true => Header::LONG as u32,
            false => Header::SHORT as u32,
        }
    }

    fn make_queue(&self, number: u16, size: u16, vector: Option<u16>) -> Result<Queue<P>, Error> {
        let has_events = self.agreed.contains(Features::EVENT_INDEX);
        let (platform, device) = (&self.platform, &self.device);
        Queue::new(platform, device, number, size, vector, has_events)
    }

    /// Has the device do something, if it can be told. What it refuses is logged.
    fn command(
        &mut self,
        needed: Features,
        command: [u8; 2],
        data: impl Iterator<Item = u8>,
    ) -> bool {
        let Some(control) = &mut self.control else {
            return false;
        };
        if !self.agreed.contains(needed) {
            return false;
        }
        let done = control.command(command, data);
        if let Err(error) = done {
            self.platform.log(Level::Warning, format_args!("{error}"));
        }
        done.is_ok()
    }

    fn look_at_link(&self) -> Link {
        let is_down = self.has.contains(Features::STATUS)
            && self.device.config::<u16>(config::STATUS) & config::LINK_UP == 0;
        if is_down {
            return Link::Down;
        }
        let (mut mbps, mut full_duplex) = (0, true);
        if self.has.contains(Features::SPEED) {
            let said: u32 = self.device.config(config::SPEED);
            mbps = if said > i32::MAX as u32 { 0 } else { said };
            full_duplex = self.device.config::<u8>(config::DUPLEX) != 0;
        }
        Link::Up { mbps, full_duplex }
    }

    /// Tells the device which VLANs came and went.
    fn set_vlans(&mut self, vlans: &VlanSet) {
        for (n, &new) in (0_u16..).zip(&vlans.0) {
            let place = usize::from(n) * 4;
            let old: u32 = self.vlans.load(place);
            self.vlans.store(place, new);
            let mut changed = new ^ old;
            while changed != 0 {
                let bit = changed.trailing_zeros();
                changed &= changed.wrapping_sub(1);
                let command = match new >> bit & 1 {
                    0 => command::VLAN_REMOVE,
                    _ => command::VLAN_ADD,
                };
                let number = n.wrapping_mul(32).wrapping_add(bit as u16);
                let data = number.to_le_bytes().into_iter();
                self.command(Features::CONTROL_VLAN, command, data);
            }
        }
    }
}

/// The vector of MSI-X, if interrupts come so.
fn vector(setup: &Setup, number: u16) -> Option<u16> {
    (setup.vectors.kind == VectorKind::Msix).then_some(number)
}

impl<P: Platform> Nic<P> for Wvtnet<P> {
    const NAME: &'static str = "wvtnet";
    const IDS: &'static [Id] = &[
        Id {
            vendor: VENDOR,
            device: TRANSITIONAL,
            name: "VirtIO network adapter",
        },
        Id {
            vendor: VENDOR,
            device: MODERN,
            name: "VirtIO network adapter (modern)",
        },
    ];

    const QUEUES: Option<&'static str> = Some("both kinds at once");
    const HAS_PAIRS: bool = true;

    type Tx = WvtnetTx<P>;
    type Rx = WvtnetRx<P>;
    type Interrupts = WvtnetInterrupts<P>;

    fn attach(platform: &P) -> Result<Self, Error> {
        let is_modern_only = platform.config::<u16>(2) == MODERN;
        let device = Device::find(platform, is_modern_only)?;
        device.reset()?;
        device.add_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let has = device.features();
        if !device.is_legacy() && !has.contains(Features::VERSION_1) {
            return Err(Error::Unsupported(
                "features of a modern device",
                has.bits(),
            ));
        }
        let sizes = (device.queue_size(0), device.queue_size(1));
        let mut wvtnet = Self {
            platform: platform.clone(),
            offer: offer(&device, has, sizes)?,
            device,
            has,
            agreed: Features::empty(),
            pairs: 1,
            control: None,
            vlans: platform.dma(VLAN_WORDS * 4, 8)?,
            link: Link::Down,
            is_greeted: false,
        };
        wvtnet.pairs = wvtnet.offer.rx_queues;
        wvtnet.device.reset()?;
        Ok(wvtnet)
    }

    fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The device takes both queues of a pair for ready.
    fn queues(&self, (tx, rx): (u16, u16)) -> (u16, u16) {
        (tx.min(rx), tx.min(rx))
    }

    fn interrupts(&self, kind: VectorKind) -> WvtnetInterrupts<P> {
        WvtnetInterrupts {
            status: self.device.interrupt_status(),
            kind,
        }
    }

    #[inline(never)]
    fn begin(&mut self, setup: &Setup) -> Result<(), Error> {
        self.greet(self.wanted(setup))?;
        self.device
            .route_events(vector(setup, setup.vectors.event()))?;
        let by_command = self.agreed.contains(Features::CONTROL_MAC);
        if self.device.is_legacy() && !by_command && setup.mac != self.offer.mac {
            for (n, byte) in (config::MAC..).zip(setup.mac) {
                self.device.set_config(n, byte);
            }
        }
        if self.agreed.contains(Features::CONTROL) {
            let number = match self.agreed.contains(Features::MULTI_QUEUE) {
                true => self.pairs.wrapping_mul(2),
                false => 2,
            };
            let size = self.device.queue_size(number);
            if !size.is_power_of_two() || size < 4 {
                return Err(Error::Unsupported("control queue's size", size.into()));
            }
            let queue = self.make_queue(number, size, None)?;
            self.control = Some(Control::new(&self.platform, queue)?);
        }
        Ok(())
    }

    fn tx(&mut self, setup: &Setup, number: u16) -> Result<WvtnetTx<P>, Error> {
        let vector = vector(setup, setup.vectors.tx(number));
        let queue = self.make_queue(number * 2 + 1, setup.tx_slots, vector)?;
        WvtnetTx::new(&self.platform, queue, self.header_bytes())
    }

    fn rx(&mut self, setup: &Setup, number: u16) -> Result<WvtnetRx<P>, Error> {
        let vector = vector(setup, setup.vectors.rx(number));
        let queue = self.make_queue(number * 2, setup.rx_slots, vector)?;
        let is_mergeable = self.agreed.contains(Features::MERGEABLE);
        let needed = setup.frame_bytes().wrapping_add(self.header_bytes());
        let is_long = needed > 2048 || self.agreed.intersects(LRO);
        let buffer_bytes = match (is_long, is_mergeable) {
            (false, _) => 2048,
            (true, true) => 4096,
            (true, false) => needed.next_multiple_of(1024),
        };
        let form = Form {
            buffer_bytes,
            header_bytes: self.header_bytes(),
            is_mergeable,
            is_apart: !is_mergeable && !self.agreed.contains(Features::VERSION_1),
        };
        Ok(WvtnetRx::new(queue, form))
    }

    fn start(&mut self, setup: &Setup) -> Result<(), Error> {
        self.go();
        let status = self.device.status();
        if !status.contains(DeviceStatus::DRIVER_OK) {
            return Err(Error::Broken("status", status.bits().into()));
        }
        if setup.mac != self.offer.mac {
            let mac = setup.mac.into_iter();
            self.command(Features::CONTROL_MAC, command::ADDRESS, mac);
        }
        if self.agreed.contains(Features::MULTI_QUEUE) {
            let pairs = setup.rx_queues.to_le_bytes().into_iter();
            if !self.command(Features::MULTI_QUEUE, command::PAIRS, pairs) {
                return Err(Error::Broken("pairs of queues", setup.rx_queues.into()));
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        // A device that can't be reset is gone.
        let _ = self.device.reset();
        self.control = None;
        self.is_greeted = false;
        self.link = Link::Down;
    }

    #[inline(never)]
    fn filter(&mut self, filter: &Filter<'_>) {
        if !self.is_greeted {
            return;
        }
        self.go();
        let on = |is_on: bool| core::iter::once(is_on.into());
        let all_groups = filter.all_multicast || filter.multicast.len() > MOST_GROUPS;
        let rx = Features::CONTROL_RX;
        self.command(rx, command::PROMISCUOUS, on(filter.promiscuous));
        self.command(rx, command::ALL_MULTICAST, on(all_groups));
        let groups: &[Mac] = if all_groups { &[] } else { filter.multicast };
        let none = 0_u32.to_le_bytes().into_iter();
        let count = (groups.len() as u32).to_le_bytes().into_iter();
        let tables = none.chain(count).chain(groups.iter().copied().flatten());
        self.command(Features::CONTROL_MAC, command::TABLES, tables);
        self.set_vlans(filter.vlans);
    }

    fn link(&mut self) -> Link {
        self.link = self.look_at_link();
        self.link
    }

    fn events(&mut self) -> Events {
        let mut events = Events::empty();
        let status = self.device.status();
        events.set(Events::RESET, status.contains(DeviceStatus::NEEDS_RESET));
        events.set(Events::LINK, self.look_at_link() != self.link);
        events
    }
}

/// What a device of these features offers.
fn offer<P: Platform>(
    device: &Device<P>,
    has: Features,
    (rx_size, tx_size): (u16, u16),
) -> Result<Offer, Error> {
    let mut capabilities = Capabilities::VLAN_MTU | Capabilities::JUMBO;
    capabilities.set(Capabilities::STATE, has.contains(Features::STATUS));
    for (feature, capability) in OFFERS {
        capabilities.set(capability, has.contains(feature));
    }
    capabilities.set(CHECK, has.contains(Features::GUEST_CHECKSUM));
    let mut extras = Extras::empty();
    let lro = Features::GUEST_CHECKSUM | Features::MERGEABLE;
    extras.set(Extras::LRO, has.contains(lro) && has.intersects(LRO));
    let usual_extras = extras;
    let vlans = Features::CONTROL | Features::CONTROL_VLAN;
    extras.set(Extras::VLAN_FILTER, has.contains(vlans));
    let pairs = match has.contains(Features::MULTI_QUEUE | Features::CONTROL) {
        true => device.config::<u16>(config::PAIRS).clamp(1, 0x4000),
        false => 1,
    };
    let mut mac = [2, 0, 0, 0, 0, 0];
    if has.contains(Features::MAC) {
        for (n, byte) in (config::MAC..).zip(&mut mac) {
            *byte = device.config(n);
        }
    }
    let most_mtu = match has.contains(Features::MERGEABLE) {
        true => 0xffff - AROUND,
        false => LARGEST_BUFFER - AROUND - Header::LONG as u32,
    };
    let said: u16 = match has.contains(Features::MTU) {
        true => device.config(config::MTU),
        false => u16::MAX,
    };
    Ok(Offer {
        mac,
        capabilities: capabilities.consistent(),
        extras,
        usual_extras,
        tx_queues: pairs,
        rx_queues: pairs,
        tx_slots: slots(device, tx_size)?,
        rx_slots: slots(device, rx_size)?,
        most_mtu: most_mtu.min(said.into()).max(72),
        limits: Limits {
            segments: 32,
            segment_bytes: 1 << 16,
            longest: 65_535 + 14,
            sums: SegmentSums::WithLength,
            // The device is told all of it.
            cuts: Cuts {
                headers: u16::MAX,
                least: 1,
                extensions: true,
            },
        },
        vectors: pairs.saturating_mul(2).saturating_add(1),
        mbps: 10_000,
    })
}

/// The sizes that a queue may have: a legacy device leaves no choice.
fn slots<P: Platform>(device: &Device<P>, size: u16) -> Result<Range, Error> {
    if !size.is_power_of_two() || size < 64 {
        return Err(Error::Unsupported("queue's size", size.into()));
    }
    let most = if device.is_legacy() {
        size
    } else {
        size.min(MOST_SLOTS)
    };
    Ok(Range {
        least: if device.is_legacy() { size } else { 64 },
        most,
        step: 0,
        usual: most,
    })
}
