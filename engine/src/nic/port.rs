// SPDX-License-Identifier: BSD-2-Clause
//! A device as a whole: it starts, stops, is reset when it hangs, and tells of its link.
//!
//! ```text
//!            start                    tick: stuck, or an event says so
//! Stopped ----------> Running -------------------------------------------> Running
//!    ^  ^               |  |        (stop, begin, queues anew, start)
//!    |  +---- stop -----+  |
//!    |                     v  if that fails
//!    +------ stop ----- Broken   tried again at ticks 1, 2, 4 ... 64 later
//! ```
//!
//! Called by one thread at a time, which may sleep. The queues are the adapter's, each behind a
//! lock or on a thread of its own; [`Queues`] is how this gets at them. While the device is
//! stopped they take nothing, and say so.

use super::driver::{Error, Events, Filter, Link, Nic, Offer, Setup};
use super::platform::{Level, Platform};
use super::rss::Rss;
use super::rx::Receiver;
use super::tx::Transmitter;
use core::mem::MaybeUninit;

/// Ticks between tries to bring a broken device back, at most.
const LONGEST_WAIT: u8 = 64;

/// The queues, wherever the adapter has them. There are as many as the device offers, numbered
/// from 0; who is called here is the only one in that queue until `with` returns.
pub trait Queues<P: Platform, D: Nic<P>> {
    /// Calls with a transmit queue. `None` if there is no such queue.
    fn tx<R>(&self, number: u16, with: impl FnOnce(&mut Transmitter<P, D::Tx>) -> R) -> Option<R>;

    /// Calls with a receive queue. `None` if there is no such queue.
    fn rx<R>(&self, number: u16, with: impl FnOnce(&mut Receiver<P, D::Rx>) -> R) -> Option<R>;
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does nothing.
    Stopped,
    /// It goes.
    Running,
    /// A reset has failed; it is tried again.
    Broken,
}

/// What a tick or an event has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The link's state, if it is not what was told last.
    pub link: Option<Link>,
    /// The device was reset: queues have to be armed and vectors unmasked again.
    pub was_reset: bool,
}

/// A device.
#[derive(Debug)]
pub struct Port<P: Platform, D: Nic<P>> {
    nic: D,
    platform: P,
    state: State,
    setup: Option<Setup>,
    link: Link,
    resets: u64,
    failures: u64,
    wait: u8,
    next_wait: u8,
}

impl<P: Platform, D: Nic<P>> Port<P, D> {
    /// Finds out what the device is.
    ///
    /// # Errors
    /// Why it can't be driven.
    pub fn attach(platform: P) -> Result<Self, Error> {
        let nic = D::attach(&platform)?;
        Ok(Self::of(nic, platform))
    }

    /// The same, made where it is to be: a driver may be much for a kernel's stack.
    ///
    /// # Errors
    /// As for [`attach`](Port::attach).
    pub fn attach_in(place: &mut MaybeUninit<Self>, platform: P) -> Result<&mut Self, Error> {
        match Self::found(&platform) {
            Ok(nic) => Ok(place.write(Self::of(nic, platform))),
            Err(error) => Err(error),
        }
    }

    /// In a stack frame of its own.
    #[inline(never)]
    fn found(platform: &P) -> Result<D, Error> {
        D::attach(platform)
    }

    #[inline(always)]
    fn of(nic: D, platform: P) -> Self {
        Self {
            nic,
            platform,
            state: State::Stopped,
            setup: None,
            link: Link::Down,
            resets: 0,
            failures: 0,
            wait: 0,
            next_wait: 1,
        }
    }

    /// The driver, for filters, figures and the hash.
    pub fn nic(&mut self) -> &mut D {
        &mut self.nic
    }

    /// What the device offers.
    pub fn offer(&self) -> &Offer {
        self.nic.offer()
    }

    /// What it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// What the link was when it was last asked for; down while the device is stopped.
    pub fn link(&self) -> Link {
        self.link
    }

    /// How it was started, if it was.
    pub fn setup(&self) -> Option<&Setup> {
        self.setup.as_ref()
    }

    /// Resets so far, and how many of them failed.
    pub fn resets(&self) -> (u64, u64) {
        (self.resets, self.failures)
    }

    /// Has the device go, stopping it before if it goes: with other queues, another MTU, other
    /// capabilities. When this returns, no queue is armed and all vectors are masked.
    ///
    /// # Errors
    /// Why not: it is stopped then.
    pub fn start(
        &mut self,
        setup: &Setup,
        filter: &Filter<'_>,
        queues: &impl Queues<P, D>,
    ) -> Result<(), Error> {
        self.check(setup).inspect_err(|_| {
            self.stop(queues);
        })?;
        self.stop(queues);
        self.go(setup, filter, queues)?;
        self.setup = Some(*setup);
        Ok(())
    }

    /// Has the device stop, and takes all frames and buffers from it: how many frames were lost
    /// by that.
    pub fn stop(&mut self, queues: &impl Queues<P, D>) -> u32 {
        let lost = match self.state {
            State::Running => self.halt(queues),
            State::Stopped | State::Broken => 0,
        };
        self.state = State::Stopped;
        self.setup = None;
        self.link = Link::Down;
        lost
    }

    /// Spreads flows otherwise, also after a reset. False if that takes a stop and a start, or
    /// the device does not go.
    pub fn spread(&mut self, rss: &Rss) -> bool {
        let Some(setup) = &mut self.setup else {
            return false;
        };
        let is_done = self.state == State::Running && self.nic.spread(rss);
        if is_done {
            setup.rss = *rss;
        }
        is_done
    }

    /// Looks after the device: to be called once a second. `filter` is what a reset sets again.
    pub fn tick(&mut self, filter: &Filter<'_>, queues: &impl Queues<P, D>) -> Health {
        match self.state {
            State::Stopped => self.health(false),
            State::Running => {
                let is_up = self.link != Link::Down;
                let setup = self.setup;
                let (tx_queues, rx_queues) =
                    setup.map_or((0, 0), |setup| (setup.tx_queues, setup.rx_queues));
                let mut is_well = true;
                for number in 0..tx_queues {
                    is_well &= queues.tx(number, |queue| queue.tick(is_up)) != Some(false);
                }
                for number in 0..rx_queues {
                    is_well &= queues.rx(number, Receiver::tick) != Some(false);
                }
                if !is_well {
                    let line = format_args!("a queue is stuck or says nonsense; resetting");
                    self.platform.log(Level::Warning, line);
                    return self.reset(filter, queues);
                }
                self.event(filter, queues)
            }
            State::Broken => {
                self.wait = self.wait.saturating_sub(1);
                match self.wait {
                    0 => self.reset(filter, queues),
                    _ => self.health(false),
                }
            }
        }
    }

    /// Asks the device what happened, after an interrupt said that something did.
    pub fn event(&mut self, filter: &Filter<'_>, queues: &impl Queues<P, D>) -> Health {
        if self.state != State::Running {
            return self.health(false);
        }
        let events = self.nic.events();
        if events.contains(Events::RESET) {
            let line = format_args!("the device asks for a reset");
            self.platform.log(Level::Warning, line);
            return self.reset(filter, queues);
        }
        self.health(false)
    }

    /// Resets the device, and has it go as before. What it had is lost, and counted.
    pub fn reset(&mut self, filter: &Filter<'_>, queues: &impl Queues<P, D>) -> Health {
        let Some(setup) = self.setup else {
            return self.health(false);
        };
        if self.state == State::Running {
            self.halt(queues);
        }
        self.resets = self.resets.wrapping_add(1);
        if let Err(error) = self.go(&setup, filter, queues) {
            self.failures = self.failures.wrapping_add(1);
            self.state = State::Broken;
            self.wait = self.next_wait;
            self.next_wait = self.next_wait.saturating_mul(2).min(LONGEST_WAIT);
            let line = format_args!("the reset failed, {error}; again in {} s", self.wait);
            self.platform.log(Level::Error, line);
            return self.health(false);
        }
        self.health(true)
    }

    fn health(&mut self, was_reset: bool) -> Health {
        let link = match self.state {
            State::Running => self.nic.link(),
            State::Stopped | State::Broken => Link::Down,
        };
        let has_changed = link != self.link;
        self.link = link;
        Health {
            link: has_changed.then_some(link),
            was_reset,
        }
    }

    /// Whether the device can be so.
    ///
    /// # Errors
    /// What can't be.
    pub fn check(&self, setup: &Setup) -> Result<(), Error> {
        let offer = self.nic.offer();
        let within = |what, value: u64, least: u64, most: u64| {
            let fits = (least..=most).contains(&value);
            fits.then_some(()).ok_or(Error::Invalid(what, value))
        };
        within(
            "transmit queues",
            setup.tx_queues.into(),
            1,
            offer.tx_queues.into(),
        )?;
        within(
            "receive queues",
            setup.rx_queues.into(),
            1,
            offer.rx_queues.into(),
        )?;
        let (tx, rx) = self.nic.queues((setup.tx_queues, setup.rx_queues));
        within(
            "transmit queues",
            setup.tx_queues.into(),
            tx.into(),
            tx.into(),
        )?;
        within(
            "receive queues",
            setup.rx_queues.into(),
            rx.into(),
            rx.into(),
        )?;
        within("MTU", setup.mtu.into(), 72, offer.most_mtu.into())?;
        let slots = [
            ("transmit descriptors", setup.tx_slots, offer.tx_slots),
            ("receive descriptors", setup.rx_slots, offer.rx_slots),
        ];
        for (what, value, range) in slots {
            if range.fit(value) != value {
                return Err(Error::Invalid(what, value.into()));
            }
        }
        let capabilities = (setup.capabilities - offer.capabilities).bits();
        within("capabilities", capabilities.into(), 0, 0)?;
        let extras = (setup.extras - offer.extras).bits();
        within("capabilities", extras.into(), 0, 0)
    }

    /// From stopped to running, or stopped again.
    fn go(
        &mut self,
        setup: &Setup,
        filter: &Filter<'_>,
        queues: &impl Queues<P, D>,
    ) -> Result<(), Error> {
        let result = self.bring_up(setup, filter, queues);
        match result {
            Ok(()) => {
                self.state = State::Running;
                self.next_wait = 1;
            }
            Err(_) => {
                self.silence(setup, queues);
                self.state = State::Stopped;
            }
        }
        result
    }

    /// Makes a transmit queue; in a stack frame of its own.
    #[inline(never)]
    fn bring_up_tx(
        &mut self,
        setup: &Setup,
        number: u16,
        queues: &impl Queues<P, D>,
    ) -> Result<(), Error> {
        let ring = self.nic.tx(setup, number)?;
        let started = queues.tx(number, |queue| queue.start(ring));
        let has_memory = started.ok_or(Error::NoResource("transmit queue"))?;
        has_memory.then_some(()).ok_or(Error::NoMemory)
    }

    /// Makes a receive queue, with buffers; likewise.
    #[inline(never)]
    fn bring_up_rx(
        &mut self,
        setup: &Setup,
        number: u16,
        queues: &impl Queues<P, D>,
    ) -> Result<(), Error> {
        let ring = self.nic.rx(setup, number)?;
        let started = queues.rx(number, |queue| queue.start(ring));
        let given = started.ok_or(Error::NoResource("receive queue"))?;
        given.filter(|&given| given > 0).ok_or(Error::NoMemory)?;
        Ok(())
    }

    #[inline(never)]
    fn bring_up(
        &mut self,
        setup: &Setup,
        filter: &Filter<'_>,
        queues: &impl Queues<P, D>,
    ) -> Result<(), Error> {
        self.nic.begin(setup)?;
        for number in 0..setup.tx_queues {
            self.bring_up_tx(setup, number, queues)?;
        }
        for number in 0..setup.rx_queues {
            self.bring_up_rx(setup, number, queues)?;
        }
        self.nic.filter(filter);
        self.nic.start(setup)?;
        for number in 0..setup.rx_queues {
            queues.rx(number, Receiver::begin);
        }
        Ok(())
    }

    /// From running to stopped: the device first, then what it had.
    fn halt(&mut self, queues: &impl Queues<P, D>) -> u32 {
        let Some(setup) = self.setup else {
            return 0;
        };
        self.silence(&setup, queues)
    }

    fn silence(&mut self, setup: &Setup, queues: &impl Queues<P, D>) -> u32 {
        self.nic.stop();
        let mut lost = 0_u32;
        for number in 0..setup.tx_queues {
            let of_queue = queues.tx(number, Transmitter::stop);
            lost = lost.saturating_add(of_queue.unwrap_or(0));
        }
        for number in 0..setup.rx_queues {
            queues.rx(number, Receiver::stop);
        }
        lost
    }
}
