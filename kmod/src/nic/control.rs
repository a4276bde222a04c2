// SPDX-License-Identifier: BSD-2-Clause
//! What the administrator wants of a card, and what becomes of it.
//!
//! All of it is done by one thread at a time, which may sleep: requests of ifconfig(8), the
//! card's events, and a look each second. A card is stopped and started for whatever it can't
//! change as it goes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use weft_engine::l3::Mac;
use weft_engine::link::{self, Capabilities};
use weft_engine::nic::{Error, Extras, Filter, Health, Link, Port, Rss, Setup, State, VlanSet};
use weft_engine::queue::Moved;

use super::Driven;
use super::core::Core;
use super::help::Software;
use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::Counter;
use crate::kpi::kernel::{self, Clock};
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::nic::Kernel;

/// Milliseconds for which a card is waited for to send what it has before it is stopped and
/// started.
const SETTLE_MS: u32 = 50;
/// Milliseconds for which a queue is waited for when its flows are moved to another.
const PATIENCE: u32 = 1_000;
/// Nanoseconds between ticks, somewhat less than the time between looks.
const TICK_NS: u64 = 900_000_000;
const MEGA: u64 = 1_000_000;

/// A card as a whole.
pub(super) struct Control<D: Driven> {
    pub(super) port: Box<Port<Kernel, D>>,
    /// What it is to be when it goes.
    pub(super) setup: Setup,
    pub(super) offer: link::Offer,
    /// What is done for packets that ask for more than the card does.
    software: Software,
    /// What it was last told to receive.
    told: Option<Wanted>,
    /// The VLANs whose frames it takes, if it looks.
    vlans: Box<VlanSet>,
    clock: Clock,
    last_tick: u64,
    /// Broken frames that the interface has counted.
    bad: u64,
    is_suspended: bool,
    /// It did not start, and is not tried again before somebody says so.
    has_failed: bool,
}

impl<D: Driven> Control<D> {
    /// Of a card that is stopped.
    pub(super) fn new(
        port: Box<Port<Kernel, D>>,
        setup: Setup,
        offer: link::Offer,
        vlans: Box<VlanSet>,
    ) -> Self {
        Self {
            port,
            setup,
            offer,
            software: Software::Lacking,
            told: None,
            vlans,
            clock: Clock::new(),
            last_tick: 0,
            bad: 0,
            is_suspended: false,
            has_failed: false,
        }
    }
}

impl<D: Driven> Control<D> {
    /// What is done in software.
    pub(super) fn software(&self) -> Software {
        self.software
    }

    /// Whether the card is to stand still until it is [resumed](Core::resume).
    pub(super) fn is_suspended(&self) -> bool {
        self.is_suspended
    }
}

/// Why something was not set.
pub(super) enum Unset {
    /// The card can't be so; nothing has changed.
    Refused,
    /// The card did not start so, which has been logged.
    Failed(Errno),
}

/// Enables what was settled, as the driver wants to be told.
pub(super) fn turn_on(setup: &mut Setup, on: Capabilities) {
    setup.capabilities = on - Capabilities::HARDWARE;
    let extras = &mut setup.extras;
    extras.set(Extras::LRO, on.contains(Capabilities::JOIN));
    let filters = on.contains(Capabilities::VLAN_FILTER);
    extras.set(Extras::VLAN_FILTER, filters);
}

/// What is to be received, as the flags, groups and VLANs say.
#[derive(PartialEq, Eq)]
struct Wanted {
    promiscuous: bool,
    all_groups: bool,
    groups: Vec<Mac>,
    /// Which VLANs there are, by [`Tagged::changes`](super::core::Tagged::changes).
    vlans: u32,
}

impl Wanted {
    fn filter<'a>(&'a self, vlans: &'a VlanSet) -> Filter<'a> {
        Filter {
            promiscuous: self.promiscuous,
            all_multicast: self.all_groups,
            multicast: &self.groups,
            vlans,
        }
    }
}

/// An error of the library's as one of the system's.
fn errno(error: Error) -> Errno {
    match error {
        Error::NoMemory => Errno::ENOMEM,
        Error::Invalid(..) => Errno::EINVAL,
        Error::NoResource(_) | Error::Unsupported(..) => Errno::ENXIO,
        Error::Broken(..) => Errno::EIO,
    }
}

impl<D: Driven> Core<D> {
    /// What is to be received, by the interface's flags and groups. All groups, if there was no
    /// memory to read which.
    fn wanted(&self, control: &mut Control<D>) -> Wanted {
        let flags = self.own.flags();
        let groups = self.own.groups();
        // Before they are read.
        let vlans = self.vlans.changes();
        self.vlans.write(&mut control.vlans);
        Wanted {
            promiscuous: flags.promiscuous,
            all_groups: flags.all_groups || groups.is_err(),
            groups: groups.unwrap_or_default(),
            vlans,
        }
    }

    /// Starts the card with what is set, or starts it again.
    pub(super) fn start(&self, control: &mut Control<D>) -> Result<(), Errno> {
        self.take_up(control);
        let wanted = self.wanted(control);
        let filter = wanted.filter(&control.vlans);
        let started = control.port.start(&control.setup, &filter, self);
        control.has_failed = started.is_err();
        if let Err(error) = started {
            let name = self.own.name();
            let name = name.as_c_str().to_str().unwrap_or_default();
            log::error(format_args!("{name}: {error}"));
            self.set_running(control, false);
            self.go_on_all();
            return Err(errno(error));
        }
        self.set_running(control, true);
        // A link that comes back before the next tick was not down to anybody.
        control.last_tick = control.clock.now();
        let health = control.port.event(&filter, self);
        control.told = Some(wanted);
        self.tell(&health);
        self.serve_all();
        Ok(())
    }

    /// Says whether the card goes.
    pub(super) fn set_running(&self, control: &Control<D>, is_running: bool) {
        self.own.set_running(is_running);
        self.set_longest(control.setup.mtu);
    }

    /// Stops the card.
    fn stop(&self, control: &mut Control<D>) {
        self.set_running(control, false);
        control.port.stop(self);
        // What waits in queues finds a card that is stopped, and is dropped.
        self.go_on_all();
        self.own.set_link(false);
    }

    /// Tells the queues what the card does for packets.
    fn take_up(&self, control: &Control<D>) {
        for lane in &self.lanes {
            lane.take_up(control.setup.capabilities, control.software);
        }
    }

    /// Has this done in software from now on.
    pub(super) fn set_software(&self, sleepable: &mut Sleepable, software: Software) {
        self.control.with(sleepable, |_, control| {
            control.software = software;
            self.take_up(control);
        });
    }

    fn go_on_all(&self) {
        for number in (0..).take(self.lanes.len()) {
            self.go_on(number);
        }
    }

    /// Tells the system of the link, and goes on after a reset.
    fn tell(&self, health: &Health) {
        match health.link {
            Some(Link::Up { mbps, .. }) => {
                if mbps > 0 {
                    self.own.set_baudrate(u64::from(mbps) * MEGA);
                }
                self.own.set_link(true);
            }
            Some(Link::Down) => self.own.set_link(false),
            None => {}
        }
        if health.was_reset {
            self.serve_all();
        }
    }

    /// Goes up or down as the interface's flags say, and receives what they say.
    ///
    /// # Errors
    /// Why the card does not go.
    pub(super) fn follow_flags(&self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        self.control.with(sleepable, |_, control| {
            let is_going = control.port.state() != State::Stopped;
            match (self.own.flags().up, is_going) {
                (true, false) if control.is_suspended => Ok(()),
                (true, false) => self.start(control),
                (false, true) => {
                    self.stop(control);
                    Ok(())
                }
                (true, true) => {
                    let wanted = self.wanted(control);
                    self.follow(control, wanted);
                    Ok(())
                }
                (false, false) => Ok(()),
            }
        })
    }

    /// Has a card that goes receive what is wanted, if that is not what it was told.
    fn follow(&self, control: &mut Control<D>, wanted: Wanted) {
        if control.told.as_ref() != Some(&wanted) {
            control.port.nic().filter(&wanted.filter(&control.vlans));
            control.told = Some(wanted);
        }
    }

    /// Has frames of another length.
    ///
    /// # Errors
    /// Why not; then they have the one that they had.
    pub(super) fn resize(&self, sleepable: &mut Sleepable, mtu: u32) -> Result<(), Errno> {
        self.control.with(sleepable, |sleepable, control| {
            let altered = self.alter(sleepable, control, &mut |setup| setup.mtu = mtu);
            self.set_longest(control.setup.mtu);
            altered
        })
    }

    /// Has the card be otherwise.
    ///
    /// # Errors
    /// Why not; then it is as it was.
    fn alter(
        &self,
        sleepable: &mut Sleepable,
        control: &mut Control<D>,
        change: &mut dyn FnMut(&mut Setup),
    ) -> Result<(), Errno> {
        let before = control.setup;
        change(&mut control.setup);
        let Err(error) = self.restart(sleepable, control) else {
            return Ok(());
        };
        control.setup = before;
        self.restart(sleepable, control).and(Err(error))
    }

    /// Starts the card with what is set, if it is to go. If it goes, what it has is sent, and
    /// what is to be sent waits until it goes again.
    fn restart(&self, sleepable: &mut Sleepable, control: &mut Control<D>) -> Result<(), Errno> {
        match control.port.state() {
            State::Stopped if !self.own.flags().up || control.is_suspended => Ok(()),
            State::Stopped | State::Broken => self.start(control),
            State::Running => {
                self.hold_all(true);
                self.settle(sleepable);
                let started = self.start(control);
                self.hold_all(false);
                self.go_on_all();
                started
            }
        }
    }

    fn hold_all(&self, is_held: bool) {
        for lane in &self.lanes {
            lane.hold(is_held);
        }
    }

    /// Waits until the card has sent what it has, for a while.
    fn settle(&self, sleepable: &mut Sleepable) {
        for _ in 0..SETTLE_MS {
            if !self.lanes.iter().any(|lane| lane.is_busy()) {
                return;
            }
            kernel::pause_ms(sleepable, 1);
        }
    }

    /// Has the card be as a setting says that was changed, if it can be so.
    ///
    /// # Errors
    /// What of it the card can't be; or why it did not start, which has been logged. It is as it
    /// was then.
    pub(super) fn set(
        &self,
        sleepable: &mut Sleepable,
        change: &mut dyn FnMut(&mut Setup),
    ) -> Result<(), Unset> {
        self.control.with(sleepable, |sleepable, control| {
            let mut setup = control.setup;
            change(&mut setup);
            control.port.check(&setup).map_err(|_| Unset::Refused)?;
            let (before, after) = (control.setup.tx_queues, setup.tx_queues);
            // Flows leave a queue before it goes, and get one when it is there.
            if after < before {
                self.spread(after)?;
            }
            let altered = self.alter(sleepable, control, change);
            if after > before && altered.is_ok() {
                self.spread(after)?;
            }
            if after < before && altered.is_err() {
                self.spread(before)?;
            }
            altered.map_err(Unset::Failed)
        })
    }

    /// Has so many queues send what there is. Not a part of its caller's stack frame, for it has
    /// batches.
    #[inline(never)]
    fn spread(&self, queues: u16) -> Result<(), Unset> {
        let lost = |frame| {
            drop::<Mbuf>(frame);
            self.own.count(Counter::SendDropped, 1);
        };
        let moved = self.queues.spread(queues.into(), PATIENCE, lost);
        if moved.map_err(|_| Unset::Failed(Errno::EBUSY))? == Moved::GaveUp {
            let name = self.own.name();
            let name = name.as_c_str().to_str().unwrap_or_default();
            log::warning(format_args!(
                "{name}: a transmit queue was stuck, frames may be out of order"
            ));
        }
        Ok(())
    }

    /// Spreads received flows otherwise, without a stop if the card can.
    ///
    /// # Errors
    /// As for [`set`](Core::set).
    pub(super) fn set_spreading(
        &self,
        sleepable: &mut Sleepable,
        change: &mut dyn FnMut(&mut Rss),
    ) -> Result<(), Unset> {
        self.control.with(sleepable, |sleepable, control| {
            let mut rss = control.setup.rss;
            change(&mut rss);
            if control.port.spread(&rss) {
                control.setup.rss = rss;
                return Ok(());
            }
            let altered = self.alter(sleepable, control, &mut |setup| setup.rss = rss);
            altered.map_err(Unset::Failed)
        })
    }

    /// Enables what it can of what is wanted.
    pub(super) fn enable(&self, sleepable: &mut Sleepable, wanted: Capabilities) {
        self.control.with(sleepable, |sleepable, control| {
            let on = control.offer.negotiate(wanted);
            self.own.enable(sleepable, on);
            let before = (control.setup.capabilities, control.setup.extras);
            turn_on(&mut control.setup, on);
            if (control.setup.capabilities, control.setup.extras) != before {
                // What failed has been logged; the interface does not run then.
                let _ = self.restart(sleepable, control);
            }
        });
    }

    /// Looks after the card: events, and each second whether it does its work.
    pub(super) fn look(&self, sleepable: &mut Sleepable) {
        self.control.with(sleepable, |sleepable, control| {
            if control.port.state() == State::Stopped {
                // It is on by an address from a thread that could not wait for a card.
                if !control.has_failed {
                    // What fails has been logged.
                    let _ = self.restart(sleepable, control);
                }
                return;
            }
            let wanted = self.wanted(control);
            let now = control.clock.now();
            let is_due = now.wrapping_sub(control.last_tick) >= TICK_NS;
            let filter = wanted.filter(&control.vlans);
            let health = match is_due {
                true => control.port.tick(&filter, self),
                false => control.port.event(&filter, self),
            };
            if is_due {
                control.last_tick = now;
            }
            self.follow(control, wanted);
            self.set_running(control, control.port.state() == State::Running);
            self.tell(&health);
            if is_due {
                if control.port.link() == Link::Down {
                    self.own.set_link(false);
                }
                self.count_bad(control);
                // A card's queue may be full, and the interrupt that says otherwise lost.
                self.go_on_all();
            }
        });
    }

    /// Counts broken frames as the interface's.
    fn count_bad(&self, control: &mut Control<D>) {
        let bad = self.receivers.iter().fold(0_u64, |all, receiver| {
            all.wrapping_add(receiver.with(|receiver| receiver.figures().bad))
        });
        let more = bad.wrapping_sub(control.bad);
        control.bad = bad;
        if more > 0 {
            self.own.count(Counter::ReceiveErrors, more as u32);
        }
    }

    /// Stops the card for good, or until it is [resumed](Core::resume).
    pub(super) fn suspend(&self, sleepable: &mut Sleepable) {
        self.control.with(sleepable, |_, control| {
            control.is_suspended = true;
            if control.port.state() != State::Stopped {
                self.stop(control);
            }
        });
    }

    /// Has the card go again, if it is to.
    pub(super) fn resume(&self, sleepable: &mut Sleepable) {
        self.control.with(sleepable, |sleepable, control| {
            control.is_suspended = false;
            // As above.
            let _ = self.restart(sleepable, control);
        });
    }
}
