// SPDX-License-Identifier: BSD-2-Clause
//! The engine's transmit queues with a thread for each, for tests: their clock, their
//! workers, and their [nodes](crate::queue_nodes).
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

use weft_engine::queue::{Item, Platform, QueueSet, Sections, Settings, Sink, TxQueue};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu;
use crate::kpi::epoch::{NetEpochs, in_net_epoch};
use crate::kpi::errno::Errno;
use crate::kpi::jail;
use crate::kpi::kernel::{self, Clock};
use crate::kpi::lock::Mtx;
use crate::kpi::memory::{self, StateMemory};
use crate::kpi::shared::Shared;
use crate::kpi::sysctl::{Branch, Parent, Subject};
use crate::kpi::thread::{Bell, Duty, Thread};
use crate::queue_nodes::{self, Owner, Servants, Tuning, Watched};

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
    tuning: Tuning,
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
            queue_nodes::add(&mut service.branch, parent, number, Servants::Any)?;
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
        let moving = Mtx::new(c"weft bucket")?;
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
            let tuning = Tuning::new(format_args!("{}", plan.name))?;
            Ok(Queues { set, tuning })
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

impl<T, S> Owner for Queues<T, S>
where
    T: Item + 'static,
    S: Sink<T> + 'static,
{
    fn queue(&self, number: usize) -> Option<&dyn Watched> {
        let queue = self.set.queues().get(number);
        queue.map(|queue| queue as &dyn Watched)
    }

    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
}

impl<T, S> Subject for Queues<T, S>
where
    T: Item + 'static,
    S: Sink<T> + 'static,
{
    fn is_shown(&self, sleepable: &Sleepable, _vnet: &Vnet<'_>) -> bool {
        jail::current(sleepable).is_none()
    }

    fn read(&self, index: u32, _sleepable: &mut Sleepable) -> u64 {
        queue_nodes::read(self, index)
    }

    fn read_row(
        &self,
        index: u32,
        sleepable: &mut Sleepable,
        row: &mut [u64],
    ) -> Result<(), Errno> {
        queue_nodes::read_row(self, index, sleepable, row)
    }

    fn write(&self, index: u32, _sleepable: &mut Sleepable, value: u64) -> Result<(), Errno> {
        queue_nodes::write(self, index, value)
    }
}
