// SPDX-License-Identifier: BSD-2-Clause
//! The engine's transmit queues in the kernel: their clock, their workers, and a sysctl
//! node for each, by which it is watched and tuned.
//!
//! An owner, such as an interface, [opens](Service::open) as many queues as it wants,
//! below a node of its own. Each queue has a worker: a thread that is bound to a CPU,
//! sleeps until the queue leaves it work, and drains one turn at a time, each in a
//! section of the network epoch of its own. No network stack is current then: a sink
//! that hands packets to one sets `curvnet` for each, as it knows whose they are.
//!
//! | made by    | is                       | goes                                          |
//! | ---------- | ------------------------ | --------------------------------------------- |
//! | `open`     | rings, sinks             | with the last owner of [`Queues`]             |
//! | `open`     | a bell for each queue    | with its queue, which rings it                |
//! | `open`     | workers, owners too      | first in `close`: nobody drains behind it     |
//! | `open`     | sysctls, an owner too    | next: nobody reads what is going              |

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;

use weft_engine::fib::Lock;
use weft_engine::queue::{
    CELL, Codel, Item, Platform, QueueSet, Reason, Sections, Service as Servant, Settings, Sink,
    TxQueue,
};

use crate::kpi::context::Sleepable;
use crate::kpi::cpu;
use crate::kpi::epoch::{NetEpochs, in_net_epoch};
use crate::kpi::errno::Errno;
use crate::kpi::kernel::{self, Clock};
use crate::kpi::lock::Mtx;
use crate::kpi::log;
use crate::kpi::memory::{self, StateMemory};
use crate::kpi::shared::Shared;
use crate::kpi::sysctl::{Branch, Parent, Subject};
use crate::kpi::text::Text;
use crate::kpi::thread::{Bell, Duty, Thread};

/// Packets of a moving bucket that are kept until its new queue may have them.
const LIMBO: usize = 1024;

/// What a queue needs of the kernel.
pub(crate) struct Kernel {
    clock: Clock,
    /// Its worker's, if it has one.
    bell: Option<Shared<Bell>>,
}

impl Kernel {
    /// For a queue without a worker, which must not be left work.
    pub(crate) fn without_worker() -> Self {
        Self {
            clock: Clock::new(),
            bell: None,
        }
    }
}

impl Platform for Kernel {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn wake(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }
}

/// A queue.
pub(crate) type Queue<T, S> = TxQueue<T, S, Kernel, StateMemory>;

/// Queues among which one is selected.
pub(crate) type Set<T, S> = QueueSet<T, S, Kernel, StateMemory, NetEpochs, Mtx, Vec<Queue<T, S>>>;

/// Queues, and what they are called.
pub(crate) struct Queues<T: Item, S> {
    pub(crate) set: Box<Set<T, S>>,
    /// The node below which each has its own.
    name: &'static str,
    /// Held while settings are read, changed and put back.
    tuning: Mtx,
}

/// What queues are to be like.
pub(crate) struct Plan {
    /// The full name of the owner's node, for the log.
    pub(crate) name: &'static str,
    /// The name of the workers' threads.
    pub(crate) worker: &'static CStr,
    /// How many there are.
    pub(crate) queues: usize,
    /// Packets that each has room for, a power of two.
    pub(crate) capacity: usize,
}

/// A worker's duty: a turn of its queue.
struct Turn<T: Item, S> {
    queues: Shared<Queues<T, S>>,
    number: usize,
}

impl<T, S> Duty for Turn<T, S>
where
    T: Item + 'static,
    S: Sink<T> + 'static,
{
    fn run(&mut self, sleepable: &mut Sleepable) {
        let queue = self.queues.set.queues().get(self.number);
        in_net_epoch(sleepable, |_| {
            if let Some(queue) = queue {
                queue.work();
            }
        });
    }
}

/// Queues in service.
pub(crate) struct Service<T: Item + 'static, S: Sink<T> + 'static> {
    workers: Vec<Thread<Turn<T, S>>>,
    branch: Branch<Queues<T, S>>,
    queues: Shared<Queues<T, S>>,
}

impl<T: Item + 'static, S: Sink<T> + 'static> Service<T, S> {
    /// Opens queues, each with its node below `parent`. They pass packets on as soon as
    /// they get any. `sink` makes the sink of each.
    ///
    /// # Errors
    /// `ENOMEM`, or why there is no thread; nothing is left behind.
    pub(crate) fn open(
        sleepable: &mut Sleepable,
        plan: &Plan,
        parent: Parent,
        sink: impl FnMut(usize) -> S,
    ) -> Result<Self, Errno> {
        let bells = memory::collected(plan.queues, |_| Bell::new())?;
        let queues = Self::queues(plan, &bells, sink)?;
        let branch = Branch::new(sleepable, queues.clone())?;
        let mut service = Self {
            workers: Vec::new(),
            branch,
            queues,
        };
        for number in 0..plan.queues {
            add_sysctls(&mut service.branch, parent, number)?;
        }
        let queues = service.queues.clone();
        service.workers = memory::collected(plan.queues, |number| {
            let bell = bells.get(number).ok_or(Errno::EINVAL)?.clone();
            let queues = queues.clone();
            let turn = Turn { queues, number };
            Thread::start(sleepable, plan.worker, cpu::of_nth(number), bell, turn)
        })?;
        Ok(service)
    }

    fn queues(
        plan: &Plan,
        bells: &[Shared<Bell>],
        mut sink: impl FnMut(usize) -> S,
    ) -> Result<Shared<Queues<T, S>>, Errno> {
        let settings = Settings::of(plan.capacity as u64);
        let queues = memory::collected_in(plan.queues, |number, place| {
            let kernel = Kernel {
                clock: Clock::new(),
                bell: bells.get(number).cloned(),
            };
            let sink = sink(number);
            TxQueue::new_in(place, plan.capacity, &settings, sink, kernel, StateMemory)
        })?;
        let (moving, tuning) = (Mtx::new(c"weft bucket")?, Mtx::new(c"weft tuning")?);
        let set = memory::boxed_in(|place| {
            QueueSet::new_in(
                place,
                queues,
                plan.queues,
                LIMBO,
                NetEpochs,
                moving,
                StateMemory,
            )
        })?;
        Shared::made(|| {
            Ok(Queues {
                set,
                name: plan.name,
                tuning,
            })
        })
    }

    /// The queues.
    pub(crate) fn shared(&self) -> &Shared<Queues<T, S>> {
        &self.queues
    }

    /// Takes no more packets, gives those that are queued to `back`, and ends the
    /// workers. Whoever submits must have been stopped, or is refused.
    pub(crate) fn close(self, sleepable: &mut Sleepable, mut back: impl FnMut(T)) {
        for queue in self.queues.set.queues() {
            // Somebody may be in it still.
            let _ = queue.close(&mut back);
        }
        // From here on no submitter is in a queue, nor comes into one.
        self.queues.set.sections().wait();
        drop(self.workers);
        drop(self.branch);
        for queue in self.queues.set.queues() {
            while queue.close(&mut back).is_err() {
                kernel::pause_ms(sleepable, 1);
            }
        }
    }
}

/// A figure of a queue.
type Read<T, S> = fn(&Queue<T, S>) -> u64;

/// All figures, and what they say.
struct FiguresOf<T, S>(core::marker::PhantomData<fn(T, S)>);

impl<T: Item, S: Sink<T>> FiguresOf<T, S> {
    const ALL: [(Read<T, S>, &'static CStr, &'static CStr); 10] = [
        (
            |queue| queue.figures().packets,
            c"packets",
            c"Packets that were passed on",
        ),
        (
            |queue| queue.figures().bytes,
            c"bytes",
            c"Bytes of these packets",
        ),
        (
            |queue| queue.figures().submits,
            c"submits",
            c"Calls that brought them: packets by submits is the size of a batch",
        ),
        (
            |queue| queue.figures().drains,
            c"drains",
            c"Times that a thread began to pass packets on; fewer than submits if threads leave work to each other",
        ),
        (
            |queue| queue.figures().hand_overs,
            c"hand_overs",
            c"Times that one went on where another had left work, at the end of its turn",
        ),
        (
            |queue| queue.figures().pauses,
            c"pauses",
            c"Times that what is behind the queue took no more",
        ),
        (
            |queue| queue.figures().most,
            c"most",
            c"The most packets that were seen in the queue at a time",
        ),
        (
            |queue| queue.level().items,
            c"queued",
            c"Packets in the queue now",
        ),
        (
            |queue| queue.level().cells.saturating_mul(u64::from(CELL)),
            c"queued_bytes",
            c"Bytes of these packets, each rounded up to 64",
        ),
        (
            |queue| u64::from(queue.is_high()),
            c"is_high",
            c"1: senders are told to hold back; see high and low",
        ),
    ];
}

/// Why packets were lost.
const DROPS: [(Reason, &CStr, &CStr); Reason::ALL.len()] = [
    (
        Reason::Packets,
        c"packets",
        c"Packets refused since packets_limit were queued",
    ),
    (
        Reason::Bytes,
        c"bytes",
        c"Packets refused since bytes_limit were queued",
    ),
    (
        Reason::Stopped,
        c"stopped",
        c"Packets refused while the queue was stopped",
    ),
    (
        Reason::Closed,
        c"closed",
        c"Packets refused since the queue was being closed",
    ),
    (
        Reason::Sojourn,
        c"sojourn",
        c"Packets dropped since they had been queued for too long; see codel_target_us",
    ),
];

/// Something that can be tuned.
struct Setting {
    name: &'static CStr,
    about: &'static CStr,
    read: fn(&Settings) -> u64,
    /// Puts a value in, which is in the range.
    write: fn(&mut Settings, u64),
    /// The least and the most, of a queue with room for so many packets.
    range: fn(&Settings, u64) -> (u64, u64),
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

const SETTINGS: [Setting; 9] = [
    Setting {
        name: c"packets_limit",
        about: c"The most packets that may be queued; more are refused",
        read: |settings| settings.packets,
        write: |settings, value| settings.packets = value,
        range: |_, capacity| (1, capacity),
    },
    Setting {
        name: c"bytes_limit",
        about: c"The most bytes that may be queued, each packet rounded up to 64; 0: any. An empty queue takes any packet",
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
    },
    Setting {
        name: c"high",
        about: c"With so many packets queued, senders are told to hold back; 0: never. More than low",
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
    },
    Setting {
        name: c"low",
        about: c"With so many packets left, senders are told to go on. Less than high",
        read: |settings| settings.low,
        write: |settings, value| settings.low = value,
        range: |settings, capacity| (0, settings.high.min(capacity).saturating_sub(1)),
    },
    Setting {
        name: c"service",
        about: c"Who passes packets on. 0: whoever sends, as long as nobody else does; 1: likewise for one turn, then the queue's thread; 2: the queue's thread only",
        read: |settings| match settings.service {
            Servant::Submitters => 0,
            Servant::Shared => 1,
            Servant::Worker => 2,
        },
        write: |settings, value| {
            settings.service = match value {
                0 => Servant::Submitters,
                1 => Servant::Shared,
                _ => Servant::Worker,
            }
        },
        range: |_, _| (0, 2),
    },
    Setting {
        name: c"turn_packets",
        about: c"Packets that a thread passes on before it looks for another one to go on: more is less work, fewer is a shorter wait for the thread",
        read: |settings| settings.turn_packets,
        write: |settings, value| settings.turn_packets = value,
        range: |_, _| (1, 1 << 20),
    },
    Setting {
        name: c"turn_us",
        about: c"Microseconds after which it does so, too; 0: any",
        read: |settings| settings.turn_time / 1_000,
        write: |settings, value| settings.turn_time = value.wrapping_mul(1_000),
        range: |_, _| (0, SECOND_US),
    },
    Setting {
        name: c"codel_target_us",
        about: c"CoDel (RFC 8289): drop some packets while all wait for more than so many microseconds; 0: off. 5000 for the Internet's edge",
        read: |settings| settings.codel.map_or(0, |codel| microseconds(codel.target)),
        write: |settings, value| {
            let interval = settings.codel.unwrap_or(Codel::INTERNET).interval;
            settings.codel = (value > 0).then(|| Codel {
                target: codel_ticks(value).max(1),
                interval,
            });
        },
        range: |_, _| (0, SECOND_US),
    },
    Setting {
        name: c"codel_interval_us",
        about: c"Microseconds for which they must have waited so long before the first is dropped, about the longest round trip; 100000 at first, 0 while codel_target_us is",
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
    },
];

/// An index: the queue, of what kind, and which.
fn index(number: usize, kind: usize, which: usize) -> u32 {
    (number << 8 | kind << 6 | which) as u32
}

const FIGURE: usize = 0;
const DROP: usize = 1;
const SETTING: usize = 2;

impl<T, S> Subject for Queues<T, S>
where
    T: Item + 'static,
    S: Sink<T> + 'static,
{
    fn read(&self, index: u32, _sleepable: &mut Sleepable) -> u64 {
        let Some(queue) = self.set.queues().get((index >> 8) as usize) else {
            return 0;
        };
        let (kind, which) = (index as usize >> 6 & 3, index as usize & 0x3f);
        match kind {
            FIGURE => FiguresOf::<T, S>::ALL
                .get(which)
                .map_or(0, |(figure, ..)| figure(queue)),
            DROP => DROPS
                .get(which)
                .map_or(0, |(reason, ..)| queue.figures().lost_for(*reason)),
            _ => SETTINGS
                .get(which)
                .map_or(0, |setting| (setting.read)(&queue.settings())),
        }
    }

    fn write(&self, index: u32, _sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        let number = (index >> 8) as usize;
        let (queue, setting) = self
            .set
            .queues()
            .get(number)
            .zip(SETTINGS.get(index as usize & 0x3f))
            .ok_or(Errno::EINVAL)?;
        let refused = self.tuning.with(|| {
            let mut settings = queue.settings();
            let (least, most) = (setting.range)(&settings, queue.capacity());
            if !(least..=most).contains(&value) {
                return Some((least, most));
            }
            (setting.write)(&mut settings, value);
            queue.set(&settings);
            None
        });
        let Some((least, most)) = refused else {
            return Ok(());
        };
        let name = setting.name.to_str().unwrap_or_default();
        log::warning(format_args!(
            "{}.{number}.{name}={value}: refused, allowed are {least} to {most}",
            self.name
        ));
        Err(Errno::EINVAL)
    }
}

/// Adds the node of a queue.
fn add_sysctls<T, S>(
    branch: &mut Branch<Queues<T, S>>,
    parent: Parent,
    number: usize,
) -> Result<(), Errno>
where
    T: Item + 'static,
    S: Sink<T> + 'static,
{
    let name = Text::<8>::format(format_args!("{number}"));
    let about = c"A transmit queue";
    let tree = branch.tree();
    let node = tree.node_labelled(parent, name.as_c_str(), c"queue", about)?;
    let drops = tree.node(
        node,
        c"drops",
        c"Packets that were not passed on, by the reason",
    )?;
    for (which, (_, name, about)) in DROPS.iter().enumerate().rev() {
        let index = index(number, DROP, which);
        branch.figure(drops, name, Some(c"reason"), index, about)?;
    }
    for (which, (_, name, about)) in FiguresOf::<T, S>::ALL.iter().enumerate().rev() {
        branch.figure(node, name, None, index(number, FIGURE, which), about)?;
    }
    for (which, setting) in SETTINGS.iter().enumerate().rev() {
        let index = index(number, SETTING, which);
        branch.setting(node, setting.name, index, setting.about)?;
    }
    Ok(())
}
