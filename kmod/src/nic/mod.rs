// SPDX-License-Identifier: BSD-2-Clause
//! Network cards: what the engine's driver library and a driver of `weft-drivers` make of one,
//! as an Ethernet interface of the system's.
//!
//! | part | is |
//! | --- | --- |
//! | [`cdriver`] | drivers in C, as one more driver of the library |
//! | [`card`] | a card's life, from newbus's attach to its detach |
//! | [`core`] | what interrupts, senders and the administrator share; receiving |
//! | [`help`] | what packets ask for and the card lacks, done before it gets them |
//! | [`lane`], [`completions`] | a transmit queue of the engine's that drains into one of the card's |
//! | [`control`] | what the administrator wants, and what becomes of it: up, down, MTU, filters, link, resets |
//! | [`rings`] | netmap(4): queues whose frames a program has |
//! | [`nodes`], [`settings`] | `dev.<driver>.<n>` |
//! | [`claims`] | which cards are taken unasked |
//!
//! # Threads and locks
//!
//! An interrupt's thread polls the receive queues of its vector, and hands what it finds to the
//! stack in rows; when that does not end, a worker goes on, so that the epoch gets its turn. A
//! sender, or a worker, sends: whoever has a transmit queue's role. What the card has of a queue
//! is behind a mutex, that is held for one burst and never while the stack is called. What
//! changes the card as a whole is done by one thread at a time, which may sleep, and takes those
//! mutexes one by one.

mod card;
pub(crate) mod cdriver;
mod claims;
mod completions;
mod control;
mod core;
mod help;
mod lane;
mod nodes;
mod rings;
mod settings;

use ::core::mem::MaybeUninit;
use alloc::boxed::Box;

use crate::kpi::context::Sleepable;
use crate::kpi::device::{Attached, Device, Driver, Found, Power, Registered};
use crate::kpi::errno::Errno;
use crate::kpi::memory::try_box;
use crate::kpi::nic::Kernel;
use crate::kpi::shared::Shared;
use crate::kpi::sysctl::Sysctls;
use crate::tenants::Tenants;

use card::Card;

/// Cards that there are, and whether there can be none any more.
static CARDS: Tenants = Tenants::none("network cards with drivers of this module");

/// A driver of the engine's, for this kernel.
pub(crate) trait Driven:
    weft_engine::nic::Nic<Kernel, Tx: 'static, Rx: 'static, Interrupts: 'static> + 'static
{
}

impl<D> Driven for D where
    D: weft_engine::nic::Nic<Kernel, Tx: 'static, Rx: 'static, Interrupts: 'static> + 'static
{
}

/// A card, whichever driver it has.
trait AnyCard: Send + Sync {
    /// Why it can't be given back now, if so.
    fn refuse_to_go(&self) -> Result<(), Errno>;
    /// Gives it back.
    fn go(self: Box<Self>, sleepable: &mut Sleepable);
    fn power(&self, sleepable: &mut Sleepable, power: Power);
}

/// What newbus has of a card.
pub(crate) struct Nic {
    card: Box<dyn AnyCard>,
}

/// Calls a generic function with the driver's type.
macro_rules! with_driver {
    ($driver:expr, $function:ident($($argument:expr),*)) => {
        match $driver {
            Driver::Vmx => $function::<weft_drivers::wvmx::Wvmx<Kernel>>($($argument),*),
            Driver::Em => $function::<weft_drivers::wem::Wem<Kernel>>($($argument),*),
            Driver::Vtnet => $function::<weft_drivers::wvtnet::Wvtnet<Kernel>>($($argument),*),
        }
    };
}

fn known<D: Driven>(device: &Device) -> bool {
    let (vendor, number) = device.id();
    D::IDS
        .iter()
        .any(|id| id.vendor == vendor && id.device == number)
}

fn known_by(device: &Device) -> Option<Driver> {
    let is_known = |driver: &Driver| with_driver!(*driver, known(device));
    Driver::ALL.into_iter().find(is_known)
}

#[inline(never)]
fn made<D: Driven>(
    sleepable: &mut Sleepable,
    driver: Driver,
    device: Shared<Device>,
) -> Result<Box<dyn AnyCard>, Errno> {
    let kernel = Kernel::new(sleepable, &device)?;
    let card = Card::<D>::prepared(sleepable, driver.name(), kernel)?;
    Ok(card.put_in(sleepable))
}

impl Attached for Nic {
    fn probe(sleepable: &mut Sleepable, driver: Driver, device: &Device) -> Option<Found> {
        let is_known = CARDS.is_open() && with_driver!(driver, known(device));
        is_known.then(|| Found {
            what: match driver {
                Driver::Vmx => c"VMXNET3 (weft)",
                Driver::Em => c"Intel PRO/1000 (weft)",
                Driver::Vtnet => c"VirtIO network (weft)",
            },
            claimed: claims::has(sleepable, driver, device),
        })
    }

    fn can_be_had() -> bool {
        CARDS.is_open()
    }

    fn is_claimed(sleepable: &mut Sleepable, device: &Device) -> bool {
        known_by(device).is_some_and(|driver| claims::has(sleepable, driver, device))
    }

    fn is_missed(sleepable: &mut Sleepable, device: &Device) -> bool {
        known_by(device).is_some_and(|driver| claims::is_missed(sleepable, driver, device))
    }

    fn attach(
        sleepable: &mut Sleepable,
        driver: Driver,
        device: Shared<Device>,
    ) -> Result<Box<Self>, Errno> {
        CARDS.enter()?;
        // Before, for a card that is put into the system may be in use at once.
        let nic = try_box(MaybeUninit::uninit())
            .map_err(|_| Errno::ENOMEM)
            .and_then(|place| {
                let card = with_driver!(driver, made(sleepable, driver, device))?;
                Ok(Box::write(place, Self { card }))
            });
        if nic.is_err() {
            CARDS.leave();
        }
        nic
    }

    fn detach(self: Box<Self>, sleepable: &mut Sleepable) -> Result<(), (Box<Self>, Errno)> {
        if let Err(error) = self.card.refuse_to_go() {
            return Err((self, error));
        }
        self.card.go(sleepable);
        CARDS.leave();
        Ok(())
    }

    fn power(&self, sleepable: &mut Sleepable, power: Power) {
        self.card.power(sleepable, power);
    }
}

/// That cards can be had, as long as the module is loaded.
pub(crate) struct Gate {
    registered: Option<Registered>,
    _sysctls: Sysctls,
}

impl Gate {
    /// Registers the drivers.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn open(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let _sysctls = claims::add_sysctls(sleepable)?;
        claims::check(sleepable);
        CARDS.open();
        let registered = Registered::new(sleepable);
        if registered.is_err() {
            // There are none.
            let _ = CARDS.shut();
        }
        registered.map(|registered| Self {
            registered: Some(registered),
            _sysctls,
        })
    }

    /// Whether there are cards.
    ///
    /// # Errors
    /// `EBUSY`; how many has been logged.
    pub(crate) fn refuse_while_used(&self) -> Result<(), Errno> {
        CARDS.refuse_while_any()
    }

    /// Lets there be no more cards, and takes the drivers back. After success a second call does
    /// nothing.
    ///
    /// # Errors
    /// `EBUSY` while there are cards; nothing has changed.
    pub(crate) fn close(&mut self) -> Result<(), Errno> {
        CARDS.shut()?;
        self.registered = None;
        Ok(())
    }
}
