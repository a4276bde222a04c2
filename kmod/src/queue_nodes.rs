// SPDX-License-Identifier: BSD-2-Clause
//! The sysctl node of a transmit queue, by which it is watched and tuned: the same for
//! the queues of all owners.
//!
//! An owner implements [`Owner`], has its `Subject` read and write by [`read`] and
//! [`write`], and [adds](add) a node for each queue below one of its own. What is in it is
//! declared in [`QueueStat`]. Numbers of queues and reasons of drops are labels, so that
//! prometheus_sysctl_exporter(8) makes one metric of all queues.

use weft_engine::fib::{Lock, Memory};
use weft_engine::queue::{
    CELL, Codel, Figures, Item, Level, Platform, Reason, Service, Settings, Sink, TxQueue,
};
#[cfg(feature = "test")]
use weft_engine::stats::Writer;
use weft_engine::stats::{Declared, QueueStat};

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::lock::Mtx;
#[cfg(feature = "test")]
use crate::kpi::sysctl::{Access, Oid};
use crate::kpi::sysctl::{Branch, Parent, Subject};
use crate::kpi::text::Text;
use crate::stats::{self, allow};

/// A queue, whatever is in it and behind it.
pub(crate) trait Watched {
    /// What it has done.
    fn figures(&self) -> Figures;
    /// What is queued.
    fn level(&self) -> Level;
    /// Both, of one moment; none if the queue was busy whenever it was looked at.
    fn snapshot(&self) -> Option<(Figures, Level)>;
    /// Whether senders are to hold back.
    fn is_high(&self) -> bool;
    /// Packets that there is room for.
    fn capacity(&self) -> u64;
    /// What is set.
    fn settings(&self) -> Settings;
    /// Changes what is set.
    fn set(&self, settings: &Settings);
    /// For tests: takes nothing any more (1), keeps what it has and gets (2), neither (0).
    #[cfg(feature = "test")]
    fn hold(&self, how: u64);
}

impl<T: Item, S: Sink<T>, P: Platform, M: Memory> Watched for TxQueue<T, S, P, M> {
    fn figures(&self) -> Figures {
        self.figures()
    }

    fn level(&self) -> Level {
        self.level()
    }

    fn snapshot(&self) -> Option<(Figures, Level)> {
        self.snapshot()
    }

    fn is_high(&self) -> bool {
        self.is_high()
    }

    fn capacity(&self) -> u64 {
        self.capacity()
    }

    fn settings(&self) -> Settings {
        self.settings()
    }

    fn set(&self, settings: &Settings) {
        self.set(settings);
    }

    #[cfg(feature = "test")]
    fn hold(&self, how: u64) {
        match how {
            1 => self.stop(),
            2 => self.pause(),
            _ => {
                self.start();
                self.resume();
            }
        }
    }
}

/// What has queues with nodes.
pub(crate) trait Owner {
    /// The queue of that number.
    fn queue(&self, number: usize) -> Option<&dyn Watched>;

    /// How the queues' nodes are called.
    fn tuning(&self) -> &Tuning;
}

/// The longest name of a node above those of queues, its NUL included.
const NAME: usize = 64;

/// What changing settings takes.
pub(crate) struct Tuning {
    /// The node above the queues', for the log.
    name: Text<NAME>,
    /// Held while settings are read, changed and put back.
    lock: Mtx,
}

impl Tuning {
    /// For queues whose nodes are below the one of that full name.
    ///
    /// # Errors
    /// `ENOMEM`. Does not sleep.
    pub(crate) fn new(name: core::fmt::Arguments<'_>) -> Result<Self, Errno> {
        let (name, lock) = (Text::format(name), Mtx::new(c"weft tuning")?);
        Ok(Self { name, lock })
    }
}

/// Nanoseconds of [`Ticks`](weft_engine::queue::Ticks).
const TICK_NS: u64 = 1 << 10;
const SECOND_US: u64 = 1_000_000;

fn microseconds(ticks: u32) -> u64 {
    (u64::from(ticks) * TICK_NS).div_ceil(1_000)
}

fn codel_ticks(microseconds: u64) -> u32 {
    // In range: some seconds at most.
    (microseconds.wrapping_mul(1_000) / TICK_NS) as u32
}

/// What a queue has counted, or how it is now.
fn figure(queue: &dyn Watched, stat: QueueStat) -> u64 {
    number(queue, &queue.figures(), queue.level(), stat)
}

/// The same, of what was read before.
fn number(queue: &dyn Watched, figures: &Figures, level: Level, stat: QueueStat) -> u64 {
    use QueueStat as Q;
    match stat {
        Q::Packets => figures.packets,
        Q::Bytes => figures.bytes,
        Q::Through => figures.through,
        Q::Submits => figures.submits,
        Q::Drains => figures.drains,
        Q::HandOvers => figures.hand_overs,
        Q::Pauses => figures.pauses,
        Q::Most => figures.most,
        Q::Queued => level.items,
        Q::QueuedBytes => level.cells.saturating_mul(u64::from(CELL)),
        Q::IsHigh => u64::from(queue.is_high()),
        Q::DropsPackets => figures.lost_for(Reason::Packets),
        Q::DropsBytes => figures.lost_for(Reason::Bytes),
        Q::DropsStopped => figures.lost_for(Reason::Stopped),
        Q::DropsClosed => figures.lost_for(Reason::Closed),
        Q::DropsSojourn => figures.lost_for(Reason::Sojourn),
        // A row, which is read as such.
        Q::Snapshot => 0,
        Q::PacketsLimit
        | Q::BytesLimit
        | Q::High
        | Q::Low
        | Q::Service
        | Q::TurnPackets
        | Q::TurnUs
        | Q::CodelTargetUs
        | Q::CodelIntervalUs => setting(&queue.settings(), stat),
    }
}

/// For what 0 means without a limit.
const fn unlimited(limit: u64) -> u64 {
    match limit {
        0 => u64::MAX,
        u64::MAX => 0,
        limit => limit,
    }
}

/// How a queue is set.
fn setting(settings: &Settings, stat: QueueStat) -> u64 {
    use QueueStat as Q;
    let codel = |of: fn(Codel) -> u32| settings.codel.map_or(0, |codel| microseconds(of(codel)));
    match stat {
        Q::PacketsLimit => settings.packets,
        Q::BytesLimit => unlimited(settings.bytes),
        Q::High => unlimited(settings.high),
        Q::Low => settings.low,
        Q::Service => match settings.service {
            Service::Submitters => 0,
            Service::Shared => 1,
            Service::Worker => 2,
        },
        Q::TurnPackets => settings.turn_packets,
        Q::TurnUs => settings.turn_time / 1_000,
        Q::CodelTargetUs => codel(|codel| codel.target),
        Q::CodelIntervalUs => codel(|codel| codel.interval),
        _ => 0,
    }
}

/// Puts a value in, which is in the setting's range.
fn put(settings: &mut Settings, stat: QueueStat, value: u64) {
    use QueueStat as Q;
    match stat {
        Q::PacketsLimit => settings.packets = value,
        Q::BytesLimit => settings.bytes = unlimited(value),
        Q::High => settings.high = unlimited(value),
        Q::Low => settings.low = value,
        Q::Service => {
            settings.service = match value {
                0 => Service::Submitters,
                1 => Service::Shared,
                _ => Service::Worker,
            }
        }
        Q::TurnPackets => settings.turn_packets = value,
        Q::TurnUs => settings.turn_time = value.wrapping_mul(1_000),
        Q::CodelTargetUs => {
            let interval = settings.codel.unwrap_or(Codel::INTERNET).interval;
            settings.codel = (value > 0).then(|| Codel {
                target: codel_ticks(value).max(1),
                interval,
            });
        }
        Q::CodelIntervalUs => {
            if let Some(codel) = &mut settings.codel {
                codel.interval = codel_ticks(value).max(1);
            }
        }
        _ => (),
    }
}

/// The least and the most that a setting can be, of a queue with room for so many packets.
fn range(settings: &Settings, capacity: u64, stat: QueueStat) -> (u64, u64) {
    use QueueStat as Q;
    match stat {
        Q::PacketsLimit => (1, capacity),
        Q::High => match settings.low {
            0 => (0, capacity),
            low => (low.saturating_add(1), capacity),
        },
        Q::Low => (0, settings.high.min(capacity).saturating_sub(1)),
        Q::CodelIntervalUs if settings.codel.is_some() => (1, 4 * SECOND_US),
        _ => stat.stat().range().unwrap_or((0, 0)),
    }
}

/// The place of what holds a queue for tests, behind all that is declared.
#[cfg(feature = "test")]
const HOLD: u32 = 0x7f;

/// The queue and the number of it that an index is about.
fn find(owner: &dyn Owner, index: u32) -> Option<(&dyn Watched, QueueStat)> {
    let queue = owner.queue((index >> 8) as usize);
    queue.zip(QueueStat::at(index & 0xff))
}

/// A queue's number, by the index that [`add`] gave it.
pub(crate) fn read(owner: &dyn Owner, index: u32) -> u64 {
    find(owner, index).map_or(0, |(queue, stat)| figure(queue, stat))
}

/// A queue's numbers in a row, all of one moment, by the index that [`add`] gave it.
///
/// # Errors
/// `EAGAIN` if the queue was busy whenever it was looked at.
pub(crate) fn read_row(
    owner: &dyn Owner,
    index: u32,
    sleepable: &mut Sleepable,
    row: &mut [u64],
) -> Result<(), Errno> {
    let (queue, _) = find(owner, index).ok_or(Errno::EINVAL)?;
    let (figures, level) = stats::at_a_moment(sleepable, || queue.snapshot())?;
    for (stat, value) in QueueStat::ALL.iter().zip(row) {
        *value = number(queue, &figures, level, *stat);
    }
    Ok(())
}

/// Changes a queue's setting, by the index that [`add`] gave it.
///
/// # Errors
/// `EINVAL` for a value out of range, which has been logged with the range.
pub(crate) fn write(owner: &dyn Owner, index: u32, value: u64) -> Result<(), Errno> {
    #[cfg(feature = "test")]
    if index & 0xff == HOLD {
        let queue = owner.queue((index >> 8) as usize).ok_or(Errno::EINVAL)?;
        queue.hold(value);
        return Ok(());
    }
    let (queue, stat) = find(owner, index).ok_or(Errno::EINVAL)?;
    let tuning = owner.tuning();
    let (least, most) = tuning.lock.with(|| {
        let mut settings = queue.settings();
        let (least, most) = range(&settings, queue.capacity(), stat);
        if (least..=most).contains(&value) {
            put(&mut settings, stat, value);
            queue.set(&settings);
        }
        (least, most)
    });
    let name = stat.stat().name.to_str().unwrap_or_default();
    let above = tuning.name.as_c_str().to_str().unwrap_or_default();
    let name = format_args!("{above}.{}.{name}", index >> 8);
    allow(name, value, (least, most))
}

/// Who may take packets out of an owner's queues.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servants {
    /// Senders as well: `service` says who does.
    Any,
    /// Workers only: there is no `service`.
    Workers,
}

/// Adds the node of a queue, and returns it.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add<T: Subject>(
    branch: &mut Branch<T>,
    parent: Parent,
    number: usize,
    servants: Servants,
) -> Result<Parent, Errno> {
    let name = Text::<8>::format(format_args!("{number}"));
    let about = c"A transmit queue";
    let tree = branch.tree();
    let node = tree.node_labelled(parent, name.as_c_str(), c"queue", about)?;
    let has = |stat: QueueStat| servants == Servants::Any || stat != QueueStat::Service;
    let base = (number as u32) << 8;
    stats::add(branch, node, base, has)?;
    #[cfg(feature = "test")]
    {
        let about = c"For tests: 1 refuses all packets, 2 keeps them, 0 neither; reads 0";
        let oid = Oid::plain(c"hold", about).at(base | HOLD);
        branch.add(node, &oid, Access::of(Writer::Jail))?;
    }
    Ok(node)
}
