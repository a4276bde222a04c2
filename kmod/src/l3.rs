// SPDX-License-Identifier: BSD-2-Clause
//! wip(4): interfaces with addresses of their own on top of one Ethernet interface, the
//! parent, whose hardware address they share. Each can be in any jail.
//!
//! # The way of a frame
//!
//! In: the parent's driver -> `ether_input` -> a hook at the Ethernet point of pfil(9),
//! which the parent's network stack has only while the parent has such interfaces -> by
//! the destination's address, `if_input` of the interface that has it, on the same
//! thread, as vlan(4) does. What is for a group goes to each that has joined as a copy,
//! and to the parent. What is for nobody is the parent's.
//!
//! Out: `if_transmit` -> a check that the frame is its sender's to send -> the parent's
//! `if_transmit`. What is for a neighbour on the host, a sibling or the parent's own
//! network stack, goes into a queue of the receiver's instead: nothing is received on the
//! sender's thread, which may hold locks of its protocol. What the parent's network stack
//! sends to one of them meets the same hook on its way out.
//!
//! # Who knows what
//!
//! | what                        | is                                         | changed under    |
//! | --------------------------- | ------------------------------------------ | ---------------- |
//! | [`Trunk`]                   | a parent, and who has which address on it  | its own lock     |
//! | [`Child`]                   | an interface                               | -                |
//! | `CONFIG`                    | all trunks and their hooks                 | itself           |
//! | `TRUNKS`                    | the same for who may not sleep             | `CONFIG`         |
//!
//! Whoever destroys or moves an interface holds the kernel's `ifnet_detach_sxlock`, and
//! takes `CONFIG` inside it; nobody does it the other way round. What must follow the
//! parent (`follow.rs`) does so in a thread of the kernel's, which never waits for
//! `ifnet_detach_sxlock`: others wait for that thread while they hold it.

mod child;
mod follow;
mod trunk;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::kpi::cloner::Made;
use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::derived::{self, Derived};
use crate::kpi::epoch::in_net_epoch;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Plan, Port, Unattached};
use crate::kpi::kernel;
use crate::kpi::link::Watch;
use crate::kpi::memory::{collected, push, try_box};
use crate::kpi::pfil::Hook;
use crate::kpi::published::Published;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::swapped::Swapped;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::task::Task;
use crate::kpi::text::Text;
use crate::pair;
use crate::stats::{self, Once};
use crate::tenants::Tenants;
use weft_engine::l3::NUMBERS;
use weft_engine::stats::{Declared, LayersStat};

use child::{Child, OFFER};
use follow::Follow;
pub(crate) use follow::Follower;
use trunk::Trunk;

/// Interfaces that there are, and whether there can be none any more.
static COUNT: Tenants = Tenants::none("L3 interfaces (wip)");

/// Bits a second that an interface says it does, as epair(4).
const BAUDRATE: u64 = 10_000_000_000;

/// A trunk, with its hook as long as the parent is there.
struct Entry {
    trunk: Shared<Trunk>,
    hook: Option<Hook<Trunk>>,
}

impl Entry {
    /// Whether that is the parent, and is where it was.
    fn is_of(&self, port: &Port) -> bool {
        self.trunk.parent().is(port) && !self.trunk.is_gone()
    }
}

static CONFIG: Slept<Vec<Entry>> = Slept::new(Vec::new());

/// The trunks of `CONFIG`.
static TRUNKS: Swapped<Vec<Shared<Trunk>>> = Swapped::nothing();

/// What has to be done by who may sleep.
static FOLLOW: Published<Task<Follow>> = Published::nothing();

/// The node `net.weft.l3`.
static NODE: Slept<Option<Parent>> = Slept::new(None);

/// What the cloner makes.
pub(crate) enum Wip {}

impl Derived for Wip {
    type Interface = Child;

    fn make(
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        parent: Port,
        name: &CStr,
    ) -> Result<Made<Child>, Errno> {
        if !parent.is_ethernet() || parent.is_made_by(derived::NAME) {
            return Err(Errno::EINVAL);
        }
        COUNT.enter()?;
        let made = CONFIG.with(sleepable, |sleepable, entries| {
            let made = make(sleepable, vnet, entries, parent, name);
            if made.is_err() {
                drop_idle(sleepable, entries);
            }
            made
        });
        if made.is_err() {
            COUNT.leave();
        }
        made
    }

    fn mac(child: &Child) -> [u8; 6] {
        child.trunk().mac()
    }

    fn begin(sleepable: &mut Sleepable, port: &Port) {
        port.set_going(true);
        follow::begin(sleepable, port);
    }

    fn end(sleepable: &mut Sleepable, child: Box<Child>) {
        CONFIG.with(sleepable, |sleepable, entries| {
            let trunk = child.trunk();
            while in_net_epoch(sleepable, |epoch| trunk.leave(child.number(), epoch)).is_err() {
                kernel::pause_ms(sleepable, 1);
            }
            trunk.reap(sleepable);
            drop_idle(sleepable, entries);
        });
        child.close(sleepable);
        drop(child);
        COUNT.leave();
    }
}

fn make(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    entries: &mut Vec<Entry>,
    parent: Port,
    name: &CStr,
) -> Result<Made<Child>, Errno> {
    let trunk = trunk_of(sleepable, vnet, entries, parent)?;
    let number = free_number(sleepable, entries).ok_or(Errno::ENOSPC)?;
    let plan = Plan {
        cloner: derived::NAME,
        unit: number,
        has: OFFER.has,
        initial: OFFER.initial,
        baudrate: BAUDRATE,
        longest_segment: pair::LONGEST_SEGMENT,
    };
    let workers = pair::workers(sleepable)?;
    let bare = Unattached::new(sleepable, &plan, name);
    let node = NODE.with(sleepable, |_, node| *node).ok_or(Errno::ENXIO)?;
    let child = Child::new(
        sleepable,
        &bare,
        trunk.clone(),
        number,
        &workers,
        (node, name),
    )?;
    let handle = bare.handle();
    in_net_epoch(sleepable, |epoch| trunk.join(number, handle, epoch))?;
    trunk.reap(sleepable);
    Ok((bare, child))
}

/// The trunk of a parent, which gets its hook with its first interface.
fn trunk_of(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    entries: &mut Vec<Entry>,
    parent: Port,
) -> Result<Shared<Trunk>, Errno> {
    if let Some(known) = entries.iter().find(|entry| entry.is_of(&parent)) {
        return Ok(known.trunk.clone());
    }
    let name = parent.name();
    // If it is there now, it departs behind our back only when we are done.
    let found = Port::find(sleepable, vnet, name.as_c_str());
    if !found.is_some_and(|found| found.is(&parent)) {
        return Err(Errno::ENXIO);
    }
    let trunk = Shared::made(|| Trunk::new(sleepable, parent.another()))?;
    entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    let shown = core::str::from_utf8(name.as_bytes()).unwrap_or_default();
    let label = Text::format(format_args!("l3-{shown}"));
    let hook = Some(Hook::link(sleepable, vnet, label, trunk.clone())?);
    let entry = Entry {
        trunk: trunk.clone(),
        hook,
    };
    push(entries, entry).map_err(|_| Errno::ENOMEM)?;
    parent.receive_all_groups(sleepable, true);
    publish(sleepable, entries)?;
    Ok(trunk)
}

/// The lowest number that no interface has. Not 0, which is the parent's.
fn free_number(sleepable: &mut Sleepable, entries: &[Entry]) -> Option<u32> {
    let is_free = |number: &u32| {
        in_net_epoch(sleepable, |epoch| {
            !entries.iter().any(|entry| entry.trunk.has(*number, epoch))
        })
    };
    (1..NUMBERS).find(is_free)
}

/// Shows the trunks to who may not sleep.
fn publish(sleepable: &mut Sleepable, entries: &[Entry]) -> Result<(), Errno> {
    let trunks = collected(entries.len(), |n| {
        let entry = entries.get(n).ok_or(Errno::EINVAL)?;
        Ok(entry.trunk.clone())
    })?;
    TRUNKS.replace(trunks).map_err(|_| Errno::ENOMEM)?;
    TRUNKS.reap(sleepable);
    Ok(())
}

/// Lets go of parents that have no interface any more.
fn drop_idle(sleepable: &mut Sleepable, entries: &mut Vec<Entry>) {
    let is_idle = |sleepable: &mut Sleepable, entry: &Entry| {
        in_net_epoch(sleepable, |epoch| entry.trunk.is_idle(epoch))
    };
    for entry in entries.iter_mut() {
        if is_idle(sleepable, entry) && !entry.trunk.is_gone() {
            let parent = entry.trunk.parent();
            parent.receive_all_groups(sleepable, false);
            let hook = entry.hook.take();
            parent.in_its_vnet(sleepable, |_, _| drop(hook));
        }
    }
    entries.retain(|entry| !is_idle(sleepable, entry));
    show(sleepable, entries);
}

/// As [`publish`], until there is memory for it.
fn show(sleepable: &mut Sleepable, entries: &[Entry]) {
    while publish(sleepable, entries).is_err() {
        kernel::pause_ms(sleepable, 1);
    }
}

/// Whether interfaces can be made.
pub(crate) fn is_open() -> bool {
    COUNT.is_open()
}

/// That interfaces can be made, as long as the module is loaded.
pub(crate) struct Gate {
    watch: Option<Watch>,
}

impl Gate {
    /// Lets interfaces be made.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn open(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let task = try_box(Task::new(Follow)?).map_err(|_| Errno::ENOMEM)?;
        let watch = Some(Watch::start(sleepable)?);
        let _ = FOLLOW.publish(task);
        COUNT.open();
        Ok(Self { watch })
    }

    /// Whether there are interfaces.
    ///
    /// # Errors
    /// `EBUSY`; how many has been logged.
    pub(crate) fn refuse_while_used(&self) -> Result<(), Errno> {
        COUNT.refuse_while_any()
    }

    /// Opens it again after [`close`](Gate::close).
    ///
    /// # Errors
    /// As for [`open`](Gate::open).
    pub(crate) fn reopen(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        *self = Self::open(sleepable)?;
        derived::set_attached(sleepable, true);
        Ok(())
    }

    /// Lets no interface be made any more and takes the cloners away. After success a
    /// second call does nothing.
    ///
    /// # Errors
    /// `EBUSY` while there are interfaces; nothing has changed.
    pub(crate) fn close(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        COUNT.shut()?;
        derived::set_attached(sleepable, false);
        self.watch = None;
        drop(FOLLOW.withdraw(sleepable));
        CONFIG.with(sleepable, |_, entries| *entries = Vec::new());
        TRUNKS.clear();
        TRUNKS.reap(sleepable);
        Ok(())
    }
}

/// The number of all.
struct OfAll;

impl Indexed for OfAll {
    fn is_of_host(_index: u32) -> bool {
        true
    }

    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        match LayersStat::at(index) {
            Some(LayersStat::Interfaces) => u64::from(COUNT.count()),
            None => 0,
        }
    }
}

/// Adds `net.weft.l3`, below which each interface adds a node of its own.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(
    sleepable: &mut Sleepable,
    tree: &mut Sysctls,
    weft: Parent,
) -> Result<(), Errno> {
    let node = tree.node(weft, c"l3", c"Interfaces on top of others, wip")?;
    NODE.with(sleepable, |_, place| *place = Some(node));
    stats::add(&mut Once::<OfAll>::new(tree), node, 0, |_: LayersStat| true)
}
