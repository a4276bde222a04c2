// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.pair`: what is set and counted for all pairs, and a node for each end with
//! the [queues](crate::queue_nodes) by which it sends.
//!
//! # Names
//!
//! An end's node is called as the end was when it was made, with `@` and the jail's
//! number behind if that was in a jail: each network stack counts units by itself. A new
//! name of the interface does not change it. So prometheus_sysctl_exporter(8) shows
//! `{interface="wpair0a",queue="3"}`.
//!
//! # Jails
//!
//! The names of nodes are in one tree, which all jails have in common. What is below an
//! end's node is shown to the host and to the jail where the end is; to others it does not
//! exist (`ENOENT`). The root of that jail may tune its queues, but for what takes time from
//! the threads that all pairs share.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weft_engine::packet::Cpus;
use weft_engine::queue::{Moved, Reason};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::CriticalSections;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::Port;
use crate::kpi::jail;
use crate::kpi::log;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Access, Branch, Indexed, Number, Parent, Subject, Sysctls, Writer};
use crate::kpi::text::Text;
use crate::pair::{self, Queues};
use crate::queue_nodes::{self, Owner, Servants, Tuning, Watched, allow};
use crate::sojourn::{self, Sojourn};

/// Queues of each direction, for pairs that are made later; 0 until it is set.
static QUEUES: AtomicU64 = AtomicU64::new(0);
/// As many as there are CPUs, up to this, if it is not set.
const QUEUES_UNASKED: u64 = 8;
/// The most that may be set.
const MOST_QUEUES: u64 = 64;

/// Frames that a queue has room for, in pairs that are made later. A power of two.
static ROOM: AtomicU64 = AtomicU64::new(1024);
/// The least and the most of it.
const LEAST_ROOM: u64 = 64;
const MOST_ROOM: u64 = 1 << 16;

/// Percent of the kernel's stack up to which frames are received on the sender's thread.
static DIRECT_STACK: AtomicU64 = AtomicU64::new(50);
/// The most of it: receiving takes some kilobytes, and filters more.
const MOST_STACK: u64 = 75;

/// Whether pairs may be made in jails.
static JAILS_MAY_CREATE: AtomicBool = AtomicBool::new(true);

/// Whether each worker stays on its CPU. Nowhere is as good as where the sender is not, and
/// of that the scheduler knows more: a worker that is bound to its sender's CPU takes turns
/// with it while the others are idle.
static ARE_WORKERS_BOUND: AtomicBool = AtomicBool::new(false);

/// Whether the workers that are started now are to be bound.
pub(crate) fn are_workers_bound() -> bool {
    ARE_WORKERS_BOUND.load(Ordering::Relaxed)
}

/// The most frames of which one is measured.
const MOST_EVERY: u64 = 1 << 32;

/// Times a millisecond that a bucket which is moved waits for its old queue.
const PATIENCE: u32 = 1_000;

/// Queues of each direction of a pair that is made now.
pub(crate) fn queues() -> u64 {
    match QUEUES.load(Ordering::Relaxed) {
        0 => (CriticalSections.count() as u64).min(QUEUES_UNASKED),
        asked => asked,
    }
}

/// Frames that each has room for.
pub(crate) fn room() -> u64 {
    ROOM.load(Ordering::Relaxed)
}

/// Percent of its stack that a thread has used when it must not receive any more.
#[inline]
pub(crate) fn direct_stack() -> u64 {
    DIRECT_STACK.load(Ordering::Relaxed)
}

/// Whether a pair may be made in a jail. It is not a parameter of jails
/// (`prison_add_allow`): those stay in the kernel when the module goes, and a jail is given
/// none unless somebody asks for it, while other interfaces can be made in any.
pub(crate) fn jails_may_create() -> bool {
    JAILS_MAY_CREATE.load(Ordering::Relaxed)
}

/// Why a frame was lost.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    /// It found no room in a queue.
    Full,
    /// CoDel dropped it.
    Late,
    /// The other end was down.
    Down,
    /// It was a long segment that had to be cut, without memory for that.
    Uncut,
    /// It was in a queue when its pair was destroyed.
    Destroyed,
}

/// Each of them, and what it is called.
const LOSSES: [(Loss, &CStr, &CStr); 5] = [
    (
        Loss::Full,
        c"full",
        c"Frames that found no room in a queue; their senders were told (ENOBUFS)",
    ),
    (
        Loss::Late,
        c"late",
        c"Frames dropped since they had been queued for too long; see codel_target_us",
    ),
    (
        Loss::Down,
        c"down",
        c"Frames that were sent to an end that was down",
    ),
    (
        Loss::Uncut,
        c"uncut",
        c"Long segments of TCP that had to be cut, wholly or in part, without memory for it",
    ),
    (
        Loss::Destroyed,
        c"destroyed",
        c"Frames that were in a queue when their pair was destroyed",
    ),
];

impl Loss {
    /// What it is when a queue has this reason.
    pub(crate) fn of(reason: Reason) -> Self {
        match reason {
            Reason::Packets | Reason::Bytes | Reason::Stopped => Self::Full,
            Reason::Sojourn => Self::Late,
            Reason::Closed => Self::Destroyed,
        }
    }
}

/// Frames that were lost, by the order of [`LOSSES`].
pub(crate) struct Losses([AtomicU64; LOSSES.len()]);

/// Those of all pairs.
static LOST: Losses = Losses::new();

impl Losses {
    /// None.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; LOSSES.len()])
    }

    /// Counts frames of one end's, and of all.
    #[cold]
    pub(crate) fn count(&self, loss: Loss, frames: u32) {
        for losses in [self, &LOST] {
            if let Some(count) = losses.0.get(loss as usize) {
                count.fetch_add(u64::from(frames), Ordering::Relaxed);
            }
        }
    }

    fn get(&self, place: usize) -> u64 {
        let count = self.0.get(place);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// What an end has its node for.
pub(crate) struct Shown {
    /// Its interface.
    pub(crate) own: Port,
    /// By which it sends.
    pub(crate) queues: Shared<Queues>,
    /// What it sent and was lost.
    pub(crate) lost: Shared<Losses>,
    /// Whether frames may be received on the sender's thread.
    pub(crate) direct: Shared<AtomicBool>,
    /// How long its frames wait.
    pub(crate) sojourn: Shared<Sojourn>,
}

/// What is set and counted of the queues by which an end sends.
struct Outlet {
    end: Shown,
    name: Text<NAME>,
    tuning: Tuning,
    /// Held while buckets move.
    spreading: Slept<()>,
}

/// Indices of an end's own numbers; smaller ones are its queues'.
const OF_END: u32 = 1 << 31;
const SPREAD: u32 = OF_END;
const DIRECT: u32 = OF_END + 1;
const MOVED: u32 = OF_END + 2;
const EVERY: u32 = OF_END + 3;
const LOSS: u32 = OF_END + 4;
/// Indices of histograms begin here.
const SOJOURN: u32 = OF_END + (1 << 30);

impl Outlet {
    /// Queues that buckets name.
    fn active(&self) -> u64 {
        let table = self.end.queues.table();
        table.iter().max().map_or(0, |last| u64::from(*last) + 1)
    }

    fn set_direct(&self, direct: u64) -> Result<(), Errno> {
        let name = self.name.as_c_str().to_str().unwrap_or_default();
        allow(format_args!("net.weft.pair.{name}.direct"), direct, 0, 1)?;
        self.end.direct.store(direct == 1, Ordering::Relaxed);
        Ok(())
    }

    fn set_every(&self, every: u64) -> Result<(), Errno> {
        let name = self.name.as_c_str().to_str().unwrap_or_default();
        let full = format_args!("net.weft.pair.{name}.sojourn_every");
        allow(full, every, 0, MOST_EVERY)?;
        self.end.sojourn.set_every(every);
        Ok(())
    }

    /// Spreads the flows over so many queues. Not a part of its caller's stack frame, for it
    /// has batches.
    #[inline(never)]
    fn spread(&self, sleepable: &mut Sleepable, active: u64) -> Result<(), Errno> {
        let name = self.name.as_c_str().to_str().unwrap_or_default();
        let made = self.end.queues.queues().len() as u64;
        allow(format_args!("net.weft.pair.{name}.queues"), active, 1, made)?;
        let moved = self.spreading.with(sleepable, |_, ()| {
            self.end.queues.spread(active as usize, PATIENCE)
        });
        if moved.map_err(|_| Errno::EBUSY)? == Moved::GaveUp {
            log::warning(format_args!(
                "net.weft.pair.{name}.queues={active}: a queue was stuck, frames may be out of order"
            ));
        }
        Ok(())
    }
}

impl Owner for Outlet {
    fn queue(&self, number: usize) -> Option<&dyn Watched> {
        let queue = self.end.queues.queues().get(number);
        queue.map(|queue| queue as &dyn Watched)
    }

    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
}

impl Subject for Outlet {
    fn is_shown(&self, sleepable: &Sleepable, vnet: &Vnet<'_>) -> bool {
        jail::current(sleepable).is_none() || self.end.own.is_here(vnet)
    }

    fn read(&self, index: u32, _sleepable: &mut Sleepable) -> u64 {
        match index {
            SPREAD => self.active(),
            DIRECT => u64::from(self.end.direct.load(Ordering::Relaxed)),
            MOVED => self.end.queues.lost(),
            EVERY => self.end.sojourn.every(),
            SOJOURN.. => self.end.sojourn.read(index - SOJOURN),
            LOSS.. => self.end.lost.get((index - LOSS) as usize),
            _ => queue_nodes::read(self, index),
        }
    }

    fn write(&self, index: u32, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        match index {
            SPREAD => self.spread(sleepable, value),
            DIRECT => self.set_direct(value),
            EVERY => self.set_every(value),
            _ => queue_nodes::write(self, index, value),
        }
    }
}

/// Where ends' nodes go, while the module is loaded.
static PARENT: Slept<Option<Parent>> = Slept::new(None);

/// The longest name of an end's node, its NUL included.
const NAME: usize = 32;

/// An end's node. Dropping it waits for those who read or write below it.
pub(crate) struct Node {
    _branch: Branch<Outlet>,
}

impl Node {
    /// Adds the node of an end that is about to be made, of that name, by the current thread.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(sleepable: &mut Sleepable, name: &CStr, end: Shown) -> Result<Self, Errno> {
        let parent = PARENT.with(sleepable, |_, parent| *parent);
        let parent = parent.ok_or(Errno::ENXIO)?;
        let interface = name.to_str().unwrap_or_default();
        let name = match jail::current(sleepable) {
            None => Text::<NAME>::format(format_args!("{interface}")),
            Some(jail) => Text::format(format_args!("{interface}@{jail}")),
        };
        let full = name.as_c_str().to_str().unwrap_or_default();
        let tuning = Tuning::new(format_args!("net.weft.pair.{full}.queue"))?;
        let count = end.queues.queues().len();
        let outlet = Shared::made(|| {
            Ok(Outlet {
                end,
                name,
                tuning,
                spreading: Slept::new(()),
            })
        })?;
        let mut branch = Branch::new(sleepable, outlet.clone())?;
        let about = c"An end of a pair, and the queues by which it sends";
        let name = outlet.name.as_c_str();
        let tree = branch.tree();
        let node = tree.node_labelled(parent, name, c"interface", about)?;
        add_queues(&mut branch, node, count)?;
        add_own(&mut branch, node)?;
        Ok(Self { _branch: branch })
    }
}

fn add_queues(branch: &mut Branch<Outlet>, node: Parent, count: usize) -> Result<(), Errno> {
    let queue = branch.tree().node(
        node,
        c"queue",
        c"Queues of frames on their way to the other end",
    )?;
    for number in 0..count {
        let node = queue_nodes::add(branch, queue, number, Servants::Workers)?;
        sojourn::add(branch, node, SOJOURN, number)?;
    }
    Ok(())
}

fn add_own(branch: &mut Branch<Outlet>, node: Parent) -> Result<(), Errno> {
    let reason = Some(c"reason");
    let about = c"Frames that this end sent and that were lost, by the reason";
    let lost = branch.tree().node(node, c"lost", about)?;
    let about = c"Frames that found no room in the queue to which their flow was moved";
    branch.figure(lost, c"moved", reason, MOVED, about)?;
    for (loss, name, about) in LOSSES.iter().rev() {
        if !matches!(loss, Loss::Destroyed) {
            branch.figure(lost, name, reason, LOSS + *loss as u32, about)?;
        }
    }
    let about = c"1: frames that this host forwards are received at once, by the thread that sends, where the queue is empty; 0: by a worker, as all others";
    branch.setting(node, c"direct", DIRECT, Writer::Host, about)?;
    let about = c"One frame in so many has the time taken for which it waits in its queue (sojourn_ns); 0: none has";
    branch.setting(node, c"sojourn_every", EVERY, Writer::Jail, about)?;
    let about = c"Queues in use, of those that were made; flows move in order, without loss";
    branch.setting(node, c"queues", SPREAD, Writer::Jail, about)
}

struct QueuesSetting;

impl Number for QueuesSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        queues()
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        allow(format_args!("net.weft.pair.queues"), value, 1, MOST_QUEUES)?;
        QUEUES.store(value, Ordering::Relaxed);
        Ok(())
    }
}

struct RoomSetting;

impl Number for RoomSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        room()
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        let value = value.checked_next_power_of_two().unwrap_or(u64::MAX);
        let name = format_args!("net.weft.pair.room");
        allow(name, value, LEAST_ROOM, MOST_ROOM)?;
        ROOM.store(value, Ordering::Relaxed);
        Ok(())
    }
}

struct StackSetting;

impl Number for StackSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        direct_stack()
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        let name = format_args!("net.weft.pair.direct_stack");
        allow(name, value, 0, MOST_STACK)?;
        DIRECT_STACK.store(value, Ordering::Relaxed);
        Ok(())
    }
}

struct JailsSetting;

impl Number for JailsSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(jails_may_create())
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        allow(format_args!("net.weft.pair.jails_may_create"), value, 0, 1)?;
        JAILS_MAY_CREATE.store(value == 1, Ordering::Relaxed);
        Ok(())
    }
}

struct BoundSetting;

impl Number for BoundSetting {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(are_workers_bound())
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        allow(format_args!("net.weft.pair.bound_workers"), value, 0, 1)?;
        ARE_WORKERS_BOUND.store(value == 1, Ordering::Relaxed);
        Ok(())
    }
}

struct PairsFigure;

impl Number for PairsFigure {
    const OF_HOST: bool = true;

    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(pair::pairs())
    }
}

/// Frames of all pairs that were lost for a reason.
struct Lost;

impl Indexed for Lost {
    const OF_HOST: bool = true;

    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        LOST.get(index as usize)
    }
}

/// Adds `net.weft.pair`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(
    sleepable: &mut Sleepable,
    tree: &mut Sysctls,
    weft: Parent,
) -> Result<(), Errno> {
    let node = tree.node(weft, c"pair", c"Pairs of interfaces, wpair")?;
    PARENT.with(sleepable, |_, parent| *parent = Some(node));
    let lost = tree.node(node, c"lost", c"Frames that were lost, in all pairs")?;
    for (loss, name, about) in LOSSES.iter().rev() {
        tree.number_of::<Lost>(lost, name, None, *loss as u32, about)?;
    }
    tree.number::<PairsFigure>(
        node,
        c"pairs",
        Access::READ,
        c"Pairs that there are, in all jails; the module can be unloaded when there are none",
    )?;
    let access = Access::READ | Access::WRITE | Access::TUNABLE;
    tree.number::<BoundSetting>(
        node,
        c"bound_workers",
        Access::READ | Access::TUNABLE,
        c"1: each thread that receives from queues stays on a CPU of its own; 0: it goes where there is time. To be set before the module is loaded",
    )?;
    tree.number::<JailsSetting>(
        node,
        c"jails_may_create",
        access,
        c"1: a jail with a network stack of its own may make pairs; 0: the host only",
    )?;
    tree.number::<StackSetting>(
        node,
        c"direct_stack",
        access,
        c"Percent of its kernel stack up to which a thread receives the frames that it sends; see direct",
    )?;
    tree.number::<RoomSetting>(
        node,
        c"room",
        access,
        c"Frames that each queue has room for, in pairs made later; rounded up to a power of two",
    )?;
    tree.number::<QueuesSetting>(
        node,
        c"queues",
        access,
        c"Queues in each direction, in pairs made later; as many as CPUs, up to 8, if not set",
    )
}
