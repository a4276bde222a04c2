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
use weft_engine::queue::Moved;
use weft_engine::stats::{Cause, Declared, EndStat, PairStat};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::CriticalSections;
use crate::kpi::errno::Errno;
use crate::kpi::ifnet::{Counter, Port};
use crate::kpi::jail;
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::probe;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Branch, Indexed, Parent, Subject, Sysctls};
use crate::kpi::text::Text;
use crate::latency::{self, INDEX_BITS, Timed};
use crate::pair::{self, Queues};
use crate::queue_nodes::{self, Owner, Servants, Tuning, Watched};
use crate::sojourn::{self, Sojourn};
use crate::stats::{self, Once, allow, allow_declared};

/// Queues of each direction, for pairs that are made later; 0 until it is set.
static QUEUES: AtomicU64 = AtomicU64::new(0);
/// As many as there are CPUs, up to this, if it is not set.
const QUEUES_UNASKED: u64 = 8;

/// Frames that a queue has room for, in pairs that are made later.
static ROOM: AtomicU64 = AtomicU64::new(initial(PairStat::Room));

/// Percent of the kernel's stack up to which frames are received on the sender's thread:
/// receiving takes some kilobytes, and filters more.
static DIRECT_STACK: AtomicU64 = AtomicU64::new(initial(PairStat::DirectStack));

/// Whether pairs may be made in jails.
static JAILS_MAY_CREATE: AtomicU64 = AtomicU64::new(initial(PairStat::JailsMayCreate));

/// Whether each worker stays on its CPU. Nowhere is as good as where the sender is not, and
/// of that the scheduler knows more: a worker that is bound to its sender's CPU takes turns
/// with it while the others are idle.
static BOUND_WORKERS: AtomicU64 = AtomicU64::new(initial(PairStat::BoundWorkers));

const fn initial(stat: PairStat) -> u64 {
    stats::initial(&PairStat::GROUP, stat as usize)
}

/// Whether the workers that are started now are to be bound.
pub(crate) fn are_workers_bound() -> bool {
    BOUND_WORKERS.load(Ordering::Relaxed) == 1
}

/// Times a millisecond that a bucket which is moved waits for its old queue.
const PATIENCE: u32 = 1_000;

/// Queues of each direction of a pair that is made now.
pub(crate) fn queues() -> u64 {
    match QUEUES.load(Ordering::Relaxed) {
        0 => (CriticalSections.count() as u64).min(QUEUES_UNASKED),
        asked => asked,
    }
}

/// Frames that each has room for: a power of two.
pub(crate) fn room() -> u64 {
    ROOM.load(Ordering::Relaxed).next_power_of_two()
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
    JAILS_MAY_CREATE.load(Ordering::Relaxed) == 1
}

/// Causes for which a frame finds no room.
const FULL: &[Cause] = &[Cause::Packets, Cause::Bytes, Cause::Stopped];

/// Frames that were lost, by the number of their [`Cause`].
pub(crate) struct Losses([AtomicU64; Cause::ALL.len()]);

/// Those of all pairs.
static LOST: Losses = Losses::new();

impl Losses {
    /// None.
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Cause::ALL.len()])
    }

    /// Counts frames of one end's, and of all, which an interface has sent or was to
    /// receive.
    #[cold]
    pub(crate) fn count(&self, cause: Cause, frames: u32, port: &Port) {
        probe::lost(cause, frames, port);
        for losses in [self, &LOST] {
            if let Some(count) = losses.0.get(cause as usize) {
                count.fetch_add(u64::from(frames), Ordering::Relaxed);
            }
        }
    }

    /// Those for all of these causes.
    fn of(&self, causes: &[Cause]) -> u64 {
        let counts = causes
            .iter()
            .filter_map(|cause| self.0.get(*cause as usize));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// What an end has its node for.
pub(crate) struct Shown {
    /// Its interface.
    pub(crate) own: Port,
    /// The other end's.
    pub(crate) peer: Port,
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
/// Indices of quantiles and buckets begin here.
const LATENCY: u32 = OF_END + (1 << 29);
/// Indices of histograms begin here.
const SOJOURN: u32 = OF_END + (1 << 30);

impl Outlet {
    /// Queues that buckets name.
    fn active(&self) -> u64 {
        let table = self.end.queues.table();
        table.iter().max().map_or(0, |last| u64::from(*last) + 1)
    }

    fn name(&self) -> &str {
        self.name.as_c_str().to_str().unwrap_or_default()
    }

    fn get(&self, stat: EndStat) -> u64 {
        let lost = &self.end.lost;
        match stat {
            EndStat::Queues => self.active(),
            EndStat::SojournEvery => self.end.sojourn.every(),
            EndStat::Direct => u64::from(self.end.direct.load(Ordering::Relaxed)),
            EndStat::LostFull => lost.of(FULL),
            EndStat::LostLate => lost.of(&[Cause::Sojourn]),
            EndStat::LostDown => lost.of(&[Cause::Down]),
            EndStat::LostUncut => lost.of(&[Cause::Uncut]),
            EndStat::LostMoved => lost.of(&[Cause::Moved]),
        }
    }

    fn set(&self, stat: EndStat, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        if stat == EndStat::Queues {
            return self.spread(sleepable, value);
        }
        let node = Text::<64>::format(format_args!("net.weft.pair.{}", self.name()));
        allow_declared(node.as_c_str(), stat.stat(), value)?;
        match stat {
            EndStat::Direct => self.end.direct.store(value == 1, Ordering::Relaxed),
            EndStat::SojournEvery => self.end.sojourn.set_every(value),
            _ => (),
        }
        Ok(())
    }

    /// Spreads the flows over so many queues. Not a part of its caller's stack frame, for it
    /// has batches.
    #[inline(never)]
    fn spread(&self, sleepable: &mut Sleepable, active: u64) -> Result<(), Errno> {
        let name = self.name();
        let made = self.end.queues.queues().len() as u64;
        allow(
            format_args!("net.weft.pair.{name}.queues"),
            active,
            (1, made),
        )?;
        // Frames that were taken, as those that are dropped late.
        let lost = |frame: Mbuf| {
            self.end.sojourn.gone(frame.address());
            self.end.peer.count(Counter::ReceivedDropped, 1);
            self.end.lost.count(Cause::Moved, 1, &self.end.peer);
        };
        let moved = self.spreading.with(sleepable, |_, ()| {
            self.end.queues.spread(active as usize, PATIENCE, lost)
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
            SOJOURN.. => self.end.sojourn.read(index - SOJOURN),
            LATENCY.. => self.end.sojourn.latency(index - LATENCY),
            OF_END.. => EndStat::at(index - OF_END).map_or(0, |stat| self.get(stat)),
            _ => queue_nodes::read(self, index),
        }
    }

    fn read_row(
        &self,
        index: u32,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        match index {
            LATENCY.. => {
                let sojourn = &self.end.sojourn;
                sojourn.latency_row(index - LATENCY, sleepable, row)
            }
            _ => queue_nodes::read_row(self, index, sleepable, row),
        }
    }

    fn write(&self, index: u32, sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        match index {
            OF_END.. => match EndStat::at(index - OF_END) {
                Some(stat) => self.set(stat, sleepable, value),
                None => Err(Errno::EINVAL),
            },
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
        let times = latency::parent(sleepable, Timed::Sojourn)?;
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
        let about = c"An end of a pair";
        let waits = branch
            .tree()
            .node_labelled(times, name, c"interface", about)?;
        add_times(&mut branch, waits, count)?;
        stats::add(&mut branch, node, OF_END, |_: EndStat| true)?;
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

fn add_times(branch: &mut Branch<Outlet>, node: Parent, count: usize) -> Result<(), Errno> {
    for number in 0..count {
        let name = Text::<8>::format(format_args!("{number}"));
        let about = c"A transmit queue";
        let tree = branch.tree();
        let node = tree.node_labelled(node, name.as_c_str(), c"queue", about)?;
        latency::add(branch, node, LATENCY | (number as u32) << INDEX_BITS)?;
    }
    Ok(())
}

/// Those of all pairs.
struct OfPairs;

/// Where a setting is.
fn place(stat: PairStat) -> Option<&'static AtomicU64> {
    match stat {
        PairStat::Queues => Some(&QUEUES),
        PairStat::Room => Some(&ROOM),
        PairStat::DirectStack => Some(&DIRECT_STACK),
        PairStat::JailsMayCreate => Some(&JAILS_MAY_CREATE),
        PairStat::BoundWorkers => Some(&BOUND_WORKERS),
        _ => None,
    }
}

impl Indexed for OfPairs {
    fn is_of_host(index: u32) -> bool {
        !matches!(PairStat::at(index), Some(stat) if place(stat).is_some())
    }

    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        match PairStat::at(index) {
            Some(PairStat::Pairs) => u64::from(pair::pairs()),
            Some(PairStat::LostFull) => LOST.of(FULL),
            Some(PairStat::LostLate) => LOST.of(&[Cause::Sojourn]),
            Some(PairStat::LostDown) => LOST.of(&[Cause::Down]),
            Some(PairStat::LostUncut) => LOST.of(&[Cause::Uncut]),
            Some(PairStat::LostMoved) => LOST.of(&[Cause::Moved]),
            Some(PairStat::LostDestroyed) => LOST.of(&[Cause::Closed]),
            Some(PairStat::Queues) => queues(),
            Some(PairStat::Room) => room(),
            Some(stat) => place(stat).map_or(0, |place| place.load(Ordering::Relaxed)),
            None => 0,
        }
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        match stats::put_declared(c"net.weft.pair", index, value, place)? {
            None => Ok(()),
            Some(_) => Err(Errno::EINVAL),
        }
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
    stats::add(&mut Once::<OfPairs>::new(tree), node, 0, |_: PairStat| true)
}
