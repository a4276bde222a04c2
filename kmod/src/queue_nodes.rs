// SPDX-License-Identifier: BSD-2-Clause
//! The sysctl node of a transmit queue, by which it is watched and tuned: the same for
//! the queues of all owners.
//!
//! An owner implements [`Owner`], has its `Subject` read and write by [`read`] and
//! [`write`], and [adds](add) a node for each queue below one of its own. Numbers of
//! queues and reasons of drops are labels, so that prometheus_sysctl_exporter(8) makes
//! one metric of all queues.

use core::ffi::CStr;

use weft_engine::fib::{Lock, Memory};
use weft_engine::queue::{
    CELL, Codel, Figures, Item, Level, Platform, Reason, Service, Settings, Sink, TxQueue,
};

use crate::kpi::errno::Errno;
use crate::kpi::lock::Mtx;
use crate::kpi::log;
use crate::kpi::sysctl::{Branch, Parent, Subject, Writer};
use crate::kpi::text::Text;

/// A queue, whatever is in it and behind it.
pub(crate) trait Watched {
    /// What it has done.
    fn figures(&self) -> Figures;
    /// What is queued.
    fn level(&self) -> Level;
    /// Whether senders are to hold back.
    fn is_high(&self) -> bool;
    /// Packets that there is room for.
    fn capacity(&self) -> u64;
    /// What is set.
    fn settings(&self) -> Settings;
    /// Changes what is set.
    fn set(&self, settings: &Settings);
}

impl<T: Item, S: Sink<T>, P: Platform, M: Memory> Watched for TxQueue<T, S, P, M> {
    fn figures(&self) -> Figures {
        self.figures()
    }

    fn level(&self) -> Level {
        self.level()
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

/// Refuses a value that is out of its range, and says so.
///
/// # Errors
/// `EINVAL`.
pub(crate) fn allow(
    name: core::fmt::Arguments<'_>,
    value: u64,
    least: u64,
    most: u64,
) -> Result<(), Errno> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    log::warning(format_args!(
        "{name}={value}: refused, allowed are {least} to {most}"
    ));
    Err(Errno::EINVAL)
}

/// A number below a queue's node.
struct Entry {
    name: &'static CStr,
    about: &'static CStr,
    kind: Kind,
}

enum Kind {
    Figure(fn(&dyn Watched) -> u64),
    /// Packets lost for a reason, below `drops`.
    Drop(Reason),
    Setting {
        read: fn(&Settings) -> u64,
        /// Puts a value in, which is in the range.
        write: fn(&mut Settings, u64),
        /// The least and the most, of a queue with room for so many packets.
        range: fn(&Settings, u64) -> (u64, u64),
        writer: Writer,
    },
}

/// Nanoseconds of [`Ticks`](weft_engine::queue::Ticks).
const TICK_NS: u64 = 1 << 10;
/// Without a limit of bytes; the most that there is to be had, in cells of 64 bytes.
const MOST_BYTES: u64 = 512 << 20;
const SECOND_US: u64 = 1_000_000;

fn microseconds(ticks: u32) -> u64 {
    (u64::from(ticks) * TICK_NS).div_ceil(1_000)
}

fn codel_ticks(microseconds: u64) -> u32 {
    // In range: some seconds at most.
    (microseconds.wrapping_mul(1_000) / TICK_NS) as u32
}

const fn figure(name: &'static CStr, read: fn(&dyn Watched) -> u64, about: &'static CStr) -> Entry {
    let kind = Kind::Figure(read);
    Entry { name, about, kind }
}

const fn drop_for(reason: Reason, name: &'static CStr, about: &'static CStr) -> Entry {
    let kind = Kind::Drop(reason);
    Entry { name, about, kind }
}

/// What each queue's node has; the kernel lists them in this order.
const ENTRIES: [Entry; 25] = [
    figure(c"packets", |queue| queue.figures().packets, c"Packets that were passed on"),
    figure(c"bytes", |queue| queue.figures().bytes, c"Bytes of these packets"),
    figure(
        c"through",
        |queue| queue.figures().through,
        c"Those of the packets that their sender passed on itself, without their being queued",
    ),
    figure(c"submits", |queue| queue.figures().submits, c"Calls that brought them: packets by submits is the size of a batch"),
    figure(c"drains", |queue| queue.figures().drains, c"Times that a thread began to pass packets on; fewer than submits if threads leave work to each other"),
    figure(c"hand_overs", |queue| queue.figures().hand_overs, c"Times that one went on where another had left work, at the end of its turn"),
    figure(c"pauses", |queue| queue.figures().pauses, c"Times that what is behind the queue took no more"),
    figure(c"most", |queue| queue.figures().most, c"The most packets that were seen in the queue at a time"),
    figure(c"queued", |queue| queue.level().items, c"Packets in the queue now"),
    figure(c"queued_bytes", |queue| queue.level().cells.saturating_mul(u64::from(CELL)), c"Bytes of these packets, each rounded up to 64"),
    figure(c"is_high", |queue| u64::from(queue.is_high()), c"1: senders are asked to hold back; see high and low"),
    drop_for(Reason::Packets, c"packets", c"Packets refused since packets_limit were queued"),
    drop_for(Reason::Bytes, c"bytes", c"Packets refused since bytes_limit were queued"),
    drop_for(Reason::Stopped, c"stopped", c"Packets refused while the queue was stopped"),
    drop_for(Reason::Closed, c"closed", c"Packets refused since the queue was being closed"),
    drop_for(Reason::Sojourn, c"sojourn", c"Packets dropped since they had been queued for too long; see codel_target_us"),
    Entry {
        name: c"packets_limit",
        about: c"The most packets that may be queued; more are refused",
        kind: Kind::Setting {
            read: |settings| settings.packets,
            write: |settings, value| settings.packets = value,
            range: |_, capacity| (1, capacity),
            writer: Writer::Jail,
        },
    },
    Entry {
        name: c"bytes_limit",
        about: c"The most bytes that may be queued, each packet rounded up to 64; 0: any. An empty queue takes any packet",
        kind: Kind::Setting {
            read: |settings| match settings.bytes {
                u64::MAX => 0,
                bytes => bytes,
            },
            write: |settings, value| {
                settings.bytes = match value {
                    0 => u64::MAX,
                    bytes => bytes,
                }
            },
            range: |_, _| (0, MOST_BYTES),
            writer: Writer::Jail,
        },
    },
    Entry {
        name: c"high",
        about: c"From so many queued packets on is_high is 1; 0: never. More than low",
        kind: Kind::Setting {
            read: |settings| match settings.high {
                u64::MAX => 0,
                high => high,
            },
            write: |settings, value| {
                settings.high = match value {
                    0 => u64::MAX,
                    high => high,
                }
            },
            range: |settings, capacity| match settings.low {
                0 => (0, capacity),
                low => (low.saturating_add(1), capacity),
            },
            writer: Writer::Jail,
        },
    },
    Entry {
        name: c"low",
        about: c"With so many packets left is_high is 0 again. Less than high",
        kind: Kind::Setting {
            read: |settings| settings.low,
            write: |settings, value| settings.low = value,
            range: |settings, capacity| (0, settings.high.min(capacity).saturating_sub(1)),
            writer: Writer::Jail,
        },
    },
    Entry {
        name: c"service",
        about: c"Who passes packets on. 0: whoever sends, as long as nobody else does; 1: likewise for one turn, then the queue's thread; 2: the queue's thread only",
        kind: Kind::Setting {
            read: |settings| match settings.service {
                Service::Submitters => 0,
                Service::Shared => 1,
                Service::Worker => 2,
            },
            write: |settings, value| {
                settings.service = match value {
                    0 => Service::Submitters,
                    1 => Service::Shared,
                    _ => Service::Worker,
                }
            },
            range: |_, _| (0, 2),
            writer: Writer::Host,
        },
    },
    Entry {
        name: c"turn_packets",
        about: c"Packets that a thread passes on before it looks for another one to go on: more is less work, fewer is a shorter wait for the thread",
        kind: Kind::Setting {
            read: |settings| settings.turn_packets,
            write: |settings, value| settings.turn_packets = value,
            range: |_, _| (1, 1 << 20),
            writer: Writer::Host,
        },
    },
    Entry {
        name: c"turn_us",
        about: c"Microseconds after which it does so, too; 0: any",
        kind: Kind::Setting {
            read: |settings| settings.turn_time / 1_000,
            write: |settings, value| settings.turn_time = value.wrapping_mul(1_000),
            range: |_, _| (0, SECOND_US),
            writer: Writer::Host,
        },
    },
    Entry {
        name: c"codel_target_us",
        about: c"CoDel (RFC 8289): drop some packets while all wait for more than so many microseconds; 0: off. 5000 for the Internet's edge",
        kind: Kind::Setting {
            read: |settings| settings.codel.map_or(0, |codel| microseconds(codel.target)),
            write: |settings, value| {
                let interval = settings.codel.unwrap_or(Codel::INTERNET).interval;
                settings.codel = (value > 0).then(|| Codel {
                    target: codel_ticks(value).max(1),
                    interval,
                });
            },
            range: |_, _| (0, SECOND_US),
            writer: Writer::Jail,
        },
    },
    Entry {
        name: c"codel_interval_us",
        about: c"Microseconds for which they must have waited so long before the first is dropped, about the longest round trip; 100000 at first, 0 while codel_target_us is",
        kind: Kind::Setting {
            read: |settings| settings.codel.map_or(0, |codel| microseconds(codel.interval)),
            write: |settings, value| {
                if let Some(codel) = &mut settings.codel {
                    codel.interval = codel_ticks(value).max(1);
                }
            },
            range: |settings, _| match settings.codel {
                Some(_) => (1, 4 * SECOND_US),
                None => (0, 0),
            },
            writer: Writer::Jail,
        },
    },
];

/// The index of a queue's number by its place.
fn index(number: usize, place: usize) -> u32 {
    (number << 8 | place) as u32
}

/// A queue's number, by the index that [`add`] gave it.
pub(crate) fn read(owner: &dyn Owner, index: u32) -> u64 {
    let queue = owner.queue((index >> 8) as usize);
    let Some((queue, entry)) = queue.zip(ENTRIES.get(index as usize & 0xff)) else {
        return 0;
    };
    match &entry.kind {
        Kind::Figure(read) => read(queue),
        Kind::Drop(reason) => queue.figures().lost_for(*reason),
        Kind::Setting { read, .. } => read(&queue.settings()),
    }
}

/// Changes a queue's setting, by the index that [`add`] gave it.
///
/// # Errors
/// `EINVAL` for a value out of range, which has been logged with the range.
pub(crate) fn write(owner: &dyn Owner, index: u32, value: u64) -> Result<(), Errno> {
    let number = (index >> 8) as usize;
    let entry = ENTRIES.get(index as usize & 0xff);
    let (queue, entry) = owner.queue(number).zip(entry).ok_or(Errno::EINVAL)?;
    let Kind::Setting { write, range, .. } = &entry.kind else {
        return Err(Errno::EINVAL);
    };
    let tuning = owner.tuning();
    let (least, most) = tuning.lock.with(|| {
        let mut settings = queue.settings();
        let (least, most) = range(&settings, queue.capacity());
        if (least..=most).contains(&value) {
            write(&mut settings, value);
            queue.set(&settings);
        }
        (least, most)
    });
    let name = entry.name.to_str().unwrap_or_default();
    let above = tuning.name.as_c_str().to_str().unwrap_or_default();
    let name = format_args!("{above}.{number}.{name}");
    allow(name, value, least, most)
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
    let about = c"Packets that were not passed on, by the reason";
    let drops = tree.node(node, c"drops", about)?;
    // The kernel lists what came last first.
    for (place, Entry { name, about, kind }) in ENTRIES.iter().enumerate().rev() {
        let index = index(number, place);
        match kind {
            Kind::Figure(_) => branch.figure(node, name, None, index, about)?,
            Kind::Drop(_) => branch.figure(drops, name, Some(c"reason"), index, about)?,
            Kind::Setting { .. } if servants == Servants::Workers && *name == c"service" => (),
            Kind::Setting { writer, .. } => branch.setting(node, name, index, *writer, about)?,
        }
    }
    Ok(node)
}
