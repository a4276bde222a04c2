// SPDX-License-Identifier: BSD-2-Clause
//! A card's life.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicU32};

use weft_engine::l3::Mac;
use weft_engine::link::{self, Capabilities};
use weft_engine::nic::{self, Extras, Joiner, Offer, Receiver, Rss, Setup, VectorKind, VlanSet};
use weft_engine::queue::{QueueSet, Service, Settings, TxQueue};

use super::control::{Control, turn_on};
use super::core::{CardReceiver, Care, Core, Face, Set, Tagged};
use super::lane::{Drain, Lane, Queue, Waker};
use super::nodes::Node;
use super::{AnyCard, Driven};
use crate::kpi::chime::{Chime, Listener};
use crate::kpi::context::Sleepable;
use crate::kpi::cpu::CriticalSections;
use crate::kpi::device::{Device, Power};
use crate::kpi::epoch::NetEpochs;
use crate::kpi::errno::Errno;
use crate::kpi::event::OnVlans;
use crate::kpi::ifnet::{InSystem, Plan, Unattached};
use crate::kpi::interrupt::{Interrupt, Kind, Vectors};
use crate::kpi::join::Held;
use crate::kpi::kernel::Clock;
use crate::kpi::lock::Mtx;
use crate::kpi::locked::Locked;
use crate::kpi::log;
use crate::kpi::memory::{self, StateMemory, collected, try_box};
use crate::kpi::netmap::{Offered, Shape};
use crate::kpi::netmap_dma::Feed;
use crate::kpi::nic::Kernel;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::text::Text;
use crate::kpi::worker::{Job, Workers};
use weft_engine::packet::Cpus as _;

/// Queues of each kind that a card has at most.
const MOST_QUEUES: u16 = 8;
/// Frames that wait before a card's queue.
const ROOM: u64 = 1024;
/// Frames that are kept while a bucket moves from queue to queue.
const LIMBO: usize = 1024;
/// Milliseconds between looks.
const LOOK_MS: u32 = 1000;
const MEGA: u64 = 1_000_000;

/// A card that is attached. Fields are dropped in order: the interface has gone before.
pub(super) struct Card<D: Driven> {
    rings: Option<Offered<Face<D>>>,
    interface: Option<InSystem<Face<D>>>,
    care: Option<Listener<Care<D>>>,
    vlans: Option<OnVlans<Core<D>>>,
    interrupts: Vec<Interrupt<Core<D>>>,
    core: Shared<Core<D>>,
    device: Shared<Device>,
}

/// What a card is to be at first.
fn setup<D: Driven>(nic: &D, offer: &Offer, on: Capabilities) -> Setup {
    let cpus = (CriticalSections.count() as u16).min(MOST_QUEUES);
    let rx_queues = offer.rx_queues.min(cpus).max(1);
    let tx_queues = offer.tx_queues.min(cpus).max(1);
    let (tx_queues, rx_queues) = nic.queues((tx_queues, rx_queues));
    let mut setup = Setup {
        mac: offer.mac,
        mtu: 1500,
        tx_queues,
        rx_queues,
        tx_slots: offer.tx_slots.fit(offer.tx_slots.usual),
        rx_slots: offer.rx_slots.fit(offer.rx_slots.usual),
        capabilities: on,
        extras: offer.usual_extras.intersection(offer.extras),
        rss: Rss::even(rx_queues),
        vectors: nic::Vectors::plan(VectorKind::Intx, 1, tx_queues, rx_queues),
    };
    turn_on(&mut setup, offer.extras, on);
    setup
}

/// What of it is on as long as nobody says otherwise.
fn link_offer(offer: &Offer) -> link::Offer {
    let mut has = offer.capabilities | Capabilities::STATE | Capabilities::VLAN_MTU;
    // A host that forwards must not have the one, and VLANs that are on a lagg(4) or a bridge(4)
    // above the card not the other: whoever has no such thing turns them on.
    let initial = has;
    // What the card does not join is joined in software.
    has.set(Capabilities::JOIN, joins(offer));
    let filters = offer.extras.contains(Extras::VLAN_FILTER);
    has.set(Capabilities::VLAN_FILTER, filters);
    link::Offer {
        has,
        always: Capabilities::STATE | Capabilities::VLAN_MTU,
        initial,
        shared: Capabilities::empty(),
    }
}

/// Whether segments can be joined: by the card, or in software if it looks at sums.
fn joins(offer: &Offer) -> bool {
    offer.extras.contains(Extras::LRO) || offer.capabilities.contains(Capabilities::CHECK_IPV4)
}

/// How interrupts come, and how many there are. A driver that has none allocated sends as many
/// as are wanted.
fn kind_and_count(vectors: Option<&Shared<Vectors>>, wanted: u16) -> (VectorKind, u16) {
    let Some(vectors) = vectors else {
        return (VectorKind::Msix, wanted);
    };
    let kind = match vectors.kind() {
        Kind::MsiX => VectorKind::Msix,
        Kind::Msi => VectorKind::Msi,
        Kind::Line => VectorKind::Intx,
    };
    (kind, vectors.count() as u16)
}

/// A card whose interface is not in the system yet. Dropping it gives the card back.
pub(crate) struct Prepared<D: Driven> {
    bare: Unattached<Face<D>>,
    face: Box<Face<D>>,
    card: Box<Card<D>>,
    mac: Mac,
    /// Its rings, if programs may have them.
    shape: Option<Shape>,
}

impl<D: Driven> Prepared<D> {
    /// What the card's interrupts need.
    pub(super) fn core(&self) -> &Shared<Core<D>> {
        &self.card.core
    }

    /// Puts the interface in.
    #[inline(never)]
    pub(super) fn put_in(self, sleepable: &mut Sleepable) -> Box<Card<D>> {
        let mut card = self.card;
        let interface = self.bare.put_in(sleepable, self.face, self.mac);
        card.rings = self
            .shape
            .and_then(|shape| Offered::new(sleepable, &interface, &shape));
        card.interface = Some(interface);
        card
    }
}

impl<D: Driven> Card<D> {
    /// Takes a card. `driver` is what its interface is called without its number.
    ///
    /// # Errors
    /// Why not, which has been logged; nothing is left behind.
    #[inline(never)]
    pub(super) fn prepared(
        sleepable: &mut Sleepable,
        driver: &'static CStr,
        kernel: Kernel,
    ) -> Result<Prepared<D>, Errno> {
        let device = kernel.device().clone();
        let mut port = found::<D>(&kernel)?;
        let offer = *port.offer();
        let link = link_offer(&offer);
        let mut setup = setup(port.nic(), &offer, link.negotiate(link.initial));
        let wanted = nic::Vectors::wanted(setup.tx_queues, setup.rx_queues).min(offer.vectors);
        let vectors = kernel.vectors(sleepable, (1, wanted.into()))?;
        let (kind, count) = kind_and_count(vectors.as_ref(), wanted);
        setup.vectors = nic::Vectors::plan(kind, count, setup.tx_queues, setup.rx_queues);
        let bare = bare::<D>(sleepable, driver, &device, &offer, &link);
        let made = Making {
            kernel: &kernel,
            bare: &bare,
            offer: &offer,
            setup: &setup,
        };
        let core = made.core(sleepable, port, link)?;
        let interrupts = match &vectors {
            Some(vectors) => interrupts(sleepable, vectors, &core)?,
            None => Vec::new(),
        };
        let care = Care { core: core.clone() };
        let care = Listener::new(sleepable, &core.chime, LOOK_MS, care)?;
        let node = Node::new(sleepable, &device, &core)?;
        let vlans = OnVlans::call(sleepable, bare.port(), core.clone())?;
        let face = Face {
            core: core.clone(),
            node: Slept::new(Some(node)),
        };
        let face = try_box(face).map_err(|_| Errno::ENOMEM)?;
        let card = try_box(Self {
            rings: None,
            interface: None,
            care: Some(care),
            vlans: Some(vlans),
            interrupts,
            core,
            device,
        })
        .map_err(|_| Errno::ENOMEM)?;
        // Other modules' drivers are not given programs' memory.
        let shape = vectors.is_some().then(|| shape(&setup));
        log::info(format_args!(
            "{}: {} transmit and {} receive queues, {} vectors of {}",
            card.device.name(),
            setup.tx_queues,
            setup.rx_queues,
            setup.vectors.count,
            vectors.map_or("the driver's own", |vectors| vectors.kind().name()),
        ));
        Ok(Prepared {
            bare,
            face,
            card,
            mac: offer.mac,
            shape,
        })
    }
}

/// The rings that netmap(4) finds.
fn shape(setup: &Setup) -> Shape {
    Shape {
        tx_rings: setup.tx_queues,
        rx_rings: setup.rx_queues,
        tx_slots: setup.tx_slots,
        rx_slots: setup.rx_slots,
    }
}

/// The card, quiet, as its driver sees it.
#[inline(never)]
fn found<D: Driven>(kernel: &Kernel) -> Result<Box<nic::Port<Kernel, D>>, Errno> {
    let mut error = None;
    let port = memory::boxed_in(|place| {
        nic::Port::attach_in(place, kernel.clone())
            .inspect_err(|why| error = Some(*why))
            .ok()
    });
    match error {
        None => port,
        Some(error) => {
            log::error(format_args!("{}: {error}", kernel.device().name()));
            Err(Errno::ENXIO)
        }
    }
}

/// The interface, which is not in the system yet.
#[inline(never)]
fn bare<D: Driven>(
    sleepable: &mut Sleepable,
    driver: &'static CStr,
    device: &Device,
    offer: &Offer,
    link: &link::Offer,
) -> Unattached<Face<D>> {
    let plan = Plan {
        cloner: driver,
        unit: device.unit(),
        has: link.has,
        initial: link.negotiate(link.initial),
        baudrate: u64::from(offer.mbps) * MEGA,
        longest_segment: offer.limits.longest.saturating_sub(18),
    };
    let name = Text::<16>::format(format_args!("{}", device.name()));
    let bare = Unattached::new(sleepable, &plan, name.as_c_str());
    // The headers may be in a piece of their own.
    let pieces = u32::from(offer.limits.segments).saturating_sub(1).max(1);
    bare.limit_pieces(pieces, offer.limits.segment_bytes);
    bare
}

/// What a core is made of.
struct Making<'m, D: Driven> {
    kernel: &'m Kernel,
    bare: &'m Unattached<Face<D>>,
    offer: &'m Offer,
    setup: &'m Setup,
}

impl<D: Driven> Making<'_, D> {
    #[inline(never)]
    fn core(
        &self,
        sleepable: &mut Sleepable,
        mut port: Box<nic::Port<Kernel, D>>,
        link: link::Offer,
    ) -> Result<Shared<Core<D>>, Errno> {
        let setup = self.setup;
        let workers = crate::pair::workers(sleepable)?;
        let lanes = self.lanes(sleepable)?;
        let queues = self.queues(&workers, &lanes)?;
        let feeds = self.feeds()?;
        let receivers = self.receivers(&feeds)?;
        let joiners = self.joiners()?;
        let jobs = self.jobs(&workers)?;
        let is_quiet = quiet(setup.vectors.count)?;
        let chime = Chime::new()?;
        let largest_mtu = self.offer.most_mtu;
        let (vlans, told) = vlans()?;
        Shared::made_in(|place| {
            Some(place.write(Core {
                own: self.bare.port(),
                lanes,
                queues,
                receivers,
                joiners,
                joins: AtomicBool::new(false),
                feeds,
                interrupts: port.nic().interrupts(setup.vectors.kind),
                vectors: setup.vectors,
                jobs,
                is_quiet,
                is_away: AtomicBool::new(false),
                longest: AtomicU32::new(0),
                control: Slept::new(Control::new(port, *setup, link, told)),
                chime,
                vlans,
                largest_mtu,
            }))
        })
    }

    #[inline(never)]
    fn lanes(&self, sleepable: &mut Sleepable) -> Result<Vec<Shared<Lane<D>>>, Errno> {
        collected(self.setup.tx_queues.into(), |_| {
            let (limits, slots) = (&self.offer.limits, self.setup.tx_slots);
            Lane::new(sleepable, self.kernel, limits, slots, self.bare.port())
        })
    }

    #[inline(never)]
    fn feeds(&self) -> Result<Vec<Shared<Feed>>, Errno> {
        collected(self.setup.rx_queues.into(), |_| {
            Feed::new(self.setup.rx_slots)
        })
    }

    #[inline(never)]
    fn jobs(&self, workers: &Shared<Workers>) -> Result<Vec<Job>, Errno> {
        collected(self.setup.vectors.count.into(), |vector| {
            let before = usize::from(self.setup.tx_queues);
            self.bare.job(workers, before + vector)
        })
    }

    #[inline(never)]
    fn receivers(
        &self,
        feeds: &[Shared<Feed>],
    ) -> Result<Vec<Locked<Box<CardReceiver<D>>>>, Errno> {
        collected(feeds.len(), |number| {
            let feed = feeds.get(number).ok_or(Errno::EINVAL)?;
            let kernel = self.kernel.with_feed(feed);
            let receiver = memory::boxed_in(|place| Some(place.write(Receiver::new(kernel))))?;
            Locked::new(c"weft rx", receiver)
        })
    }

    /// By receive queue, if the card joins nothing itself.
    #[inline(never)]
    fn joiners(&self) -> Result<Vec<Locked<Box<Joiner<Held>>>>, Errno> {
        let is_needed = joins(self.offer) && !self.offer.extras.contains(Extras::LRO);
        let count = if is_needed { self.setup.rx_queues } else { 0 };
        collected(count.into(), |_| {
            let joiner = memory::boxed_in(|place| Some(place.write(Joiner::new())))?;
            Locked::new(c"weft rx join", joiner)
        })
    }

    #[inline(never)]
    fn queues(
        &self,
        workers: &Shared<Workers>,
        lanes: &[Shared<Lane<D>>],
    ) -> Result<Shared<Set<D>>, Errno> {
        let queues = memory::collected_in(lanes.len(), |number, place| {
            let lane = lanes.get(number)?.clone();
            queue(place, self.bare.job(workers, number).ok()?, Drain { lane })
        })?;
        let lock = Mtx::new(c"weft nic")?;
        Shared::made_in(|place| {
            QueueSet::new_in(
                place,
                queues,
                lanes.len(),
                LIMBO,
                NetEpochs,
                lock,
                StateMemory,
            )
        })
    }
}

/// That no vector is quiet.
#[inline(never)]
fn quiet(vectors: u16) -> Result<Vec<AtomicBool>, Errno> {
    collected(vectors.into(), |_| Ok(AtomicBool::new(false)))
}

/// No VLANs; in a stack frame of its own.
#[inline(never)]
fn vlans() -> Result<(Box<Tagged>, Box<VlanSet>), Errno> {
    Ok((
        memory::boxed_in(|place| Some(place.write(Tagged::none())))?,
        memory::boxed_in(|place| Some(place.write(VlanSet::none())))?,
    ))
}

/// A queue in front of a lane.
fn queue<D: Driven>(
    place: &mut MaybeUninit<Queue<D>>,
    job: Job,
    sink: Drain<D>,
) -> Option<&mut Queue<D>> {
    let settings = Settings {
        service: Service::Shared,
        ..Settings::of(ROOM)
    };
    let clock = Clock::new();
    let waker = Waker { clock, job };
    TxQueue::new_in(place, ROOM as usize, &settings, sink, waker, StateMemory)
}

/// Has the core called for each vector, each on a CPU of its own as far as there are.
#[inline(never)]
fn interrupts<D: Driven>(
    sleepable: &mut Sleepable,
    vectors: &Shared<Vectors>,
    core: &Shared<Core<D>>,
) -> Result<Vec<Interrupt<Core<D>>>, Errno> {
    let count = usize::from(core.vectors.count);
    let cpus = CriticalSections.count().max(1);
    collected(count, |vector| {
        let name = Text::<16>::format(format_args!("q{vector}"));
        let handler = core.clone();
        let interrupt = Interrupt::new(sleepable, vectors, vector, handler, name.as_c_str())?;
        if vectors.kind() == Kind::MsiX {
            let cpu = vector.checked_rem(cpus).unwrap_or(0);
            // It is delivered to some CPU anyway.
            let _ = interrupt.bind(sleepable, cpu as u32);
        }
        Ok(interrupt)
    })
}

impl<D: Driven> AnyCard for Card<D> {
    fn refuse_to_go(&self) -> Result<(), Errno> {
        if !self.core.own.has_vlans() {
            return Ok(());
        }
        log::warning(format_args!(
            "{}: not detached: there are VLANs on it (ifconfig <vlan> destroy)",
            self.device.name()
        ));
        Err(Errno::EBUSY)
    }

    fn go(mut self: Box<Self>, sleepable: &mut Sleepable) {
        // Programs may keep rings open, but the card no buffer of theirs.
        self.core.suspend(sleepable);
        self.core.end_rings(sleepable);
        self.rings = None;
        let interface = self.interface.take();
        let parts = interface.and_then(|interface| interface.take_out(sleepable));
        // Nobody sends any more, and no request comes.
        self.vlans = None;
        self.care = None;
        self.interrupts.clear();
        self.core.close(sleepable);
        drop(parts);
    }

    fn power(&self, sleepable: &mut Sleepable, power: Power) {
        match power {
            Power::Resume => self.core.resume(sleepable),
            Power::Suspend | Power::Shutdown => self.core.suspend(sleepable),
        }
    }
}
