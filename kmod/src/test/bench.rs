// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.bench`: packets, tags and queues of this module's and of the kernel's,
//! measured alike, by who reads the figures.
//!
//! Each measurement is on a thread that is bound to a CPU, which interrupts may take for
//! a moment: let the rounds be few, and repeat. What a round does:
//!
//! | node       | ours                                      | node       | theirs                  |
//! | ---------- | ----------------------------------------- | ---------- | ----------------------- |
//! | `packet`   | `batch` packets allocated by one call, then freed by one | `mbuf` | allocated one by one, then freed so: there is no call for several |
//! | `tag`      | a tag of 8 bytes inserted, found, removed | `m_tag`    | the same; a malloc(9) each |
//! | `passed`   | `batch` packets submitted by one call to an idle queue, which passes them to the sink | `mp_ring` | enqueued and drained by one call |
//! |            |                                           | `mp_ring_sent` | the same with a sink that counts |
//! |            |                                           | `buf_ring_sent` | enqueued one by one, drained into that sink under a lock that the enqueuer tries to get |
//! |            |                                           | `mbufq_sent` | put into a list under a mutex, sent by who finds nobody sending |
//! |            |                                           | `mtx_sent` | given to that sink under a mutex: no queue |
//! | `ringed`   | submitted by one call, kept in the ring, drained by another | `buf_ring` | enqueued one by one, dequeued so |
//! |            |                                           | `mbufq`    | likewise, a mutex taken for each |
//! | `tasked`   | submitted by one call, drained by a task of taskqueue(9) | `buf_ring_task` | drained into the counting sink by a task that each call asks for |
//! |            |                                           | `mbufq_task` | the steps of if_epair(4) |
//!
//! The queues get packets' addresses, the same for all. Ours reads each one's length
//! when it is submitted, for it counts bytes and limits them, and counts what it passes
//! on. Of the kernel's, those with a sink that counts read the lengths, too; none limits
//! bytes. Tasks are run by who measures: the switch of threads is left out for all.

use core::ffi::CStr;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::boxed::Box;
use alloc::vec::Vec;

use weft_engine::packet::{self, Packet, Tag, Writable};
use weft_engine::queue::{BATCH, Batch, Platform, Service, Settings, Sink, TxQueue, Verdict};

use super::rounds::{Rounds, Setting};
use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::bound;
use crate::kpi::errno::Errno;
use crate::kpi::kernel;
use crate::kpi::memory::{self, StateMemory};
use crate::kpi::peers::{self, Channel, Held, Loan, Peer, Tasks};
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::packet::{POOL, Pool};
use crate::queue::Kernel;

/// The most packets that are held.
const MOST_HELD: u64 = 100_000;
/// Packets that a queue has room for, as many as the peers' have.
const CAPACITY: usize = 1024;

/// `net.weft.test.bench.batch` and `.size`.
static BATCHED: AtomicU64 = AtomicU64::new(1);
static SIZE: AtomicU64 = AtomicU64::new(256);

/// What can be measured.
#[derive(Clone, Copy)]
enum Work {
    Packet,
    Tag,
    Passed,
    Ringed,
    Tasked,
    Theirs(Peer),
    TheirChannel(Channel),
}

/// Ticks of the last measurement of each; 0: there was none, or it failed.
static TICKS: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// A tag to be measured, as long as `Peer::Tag`'s.
struct Mark;

impl Tag for Mark {
    const COOKIE: u32 = 1_795_000_000;
    const ID: u16 = 1;
    type Data = u64;
}

/// Takes everything, and looks at the addresses, as a device would.
struct Swallow;

impl<'p> Sink<Loan<'p>> for Swallow {
    fn take(&mut self, burst: &mut Batch<Loan<'p>>) -> Verdict {
        for loan in burst.drain() {
            black_box(loan.address());
        }
        Verdict::GoOn
    }

    fn take_one(&mut self, loan: Loan<'p>) -> Result<Verdict, Loan<'p>> {
        black_box(loan.address());
        Ok(Verdict::GoOn)
    }
}

fn ticks_of(work: impl FnOnce() -> Option<()>) -> Option<u64> {
    bound(|| {
        let start = kernel::ticks();
        work()?;
        Some(kernel::ticks().wrapping_sub(start).max(1))
    })
}

#[inline(never)]
fn packets(pool: &Pool, rounds: u64, batch: usize, size: usize) -> Option<u64> {
    ticks_of(|| {
        for _ in 0..rounds {
            if batch == 1 {
                drop(black_box(pool.packet(size).ok()?));
                continue;
            }
            let mut held = packet::Batch::<Writable>::new();
            pool.packets(size, batch, &mut held).ok()?;
            drop(black_box(&mut held).drain());
        }
        Some(())
    })
}

#[inline(never)]
fn tags(pool: &Pool, rounds: u64) -> Option<u64> {
    let mut packet = pool.packet(64).ok()?;
    ticks_of(|| {
        for _ in 0..rounds {
            let packet = black_box(&mut packet);
            packet.insert_tag::<Mark>(1).ok()?;
            black_box(packet.tag::<Mark>()?);
            packet.remove_tag::<Mark>()?;
        }
        Some(())
    })
}

/// Surroundings whose worker is a task, or comes unasked.
struct Around {
    kernel: Kernel,
    tasks: Option<Tasks>,
}

impl Platform for Around {
    #[inline]
    fn now(&self) -> u64 {
        self.kernel.now()
    }

    #[inline]
    fn wake(&self) {
        if let Some(tasks) = &self.tasks {
            tasks.ask();
        }
    }
}

type Queue<'p> = TxQueue<Loan<'p>, Swallow, Around, StateMemory>;

fn idle_queue<'p>(service: Service, tasks: Option<Tasks>) -> Option<Box<Queue<'p>>> {
    let settings = Settings {
        service,
        ..Settings::of(CAPACITY as u64)
    };
    let around = Around {
        kernel: Kernel::without_worker(),
        tasks,
    };
    peers::queue_of_loans(CAPACITY, &settings, Swallow, around)
}

/// Has the packets pass by a queue.
#[inline(never)]
fn passed(lent: &[Packet<Writable>], rounds: u64) -> Option<u64> {
    let queue = idle_queue(Service::Submitters, None)?;
    ticks_of(|| {
        for _ in 0..rounds {
            submit(&queue, lent)?;
        }
        Some(())
    })
}

/// Has them go through its ring.
#[inline(never)]
fn ringed(lent: &[Packet<Writable>], rounds: u64) -> Option<u64> {
    let queue = idle_queue(Service::Worker, None)?;
    ticks_of(|| {
        for _ in 0..rounds {
            submit(&queue, lent)?;
            queue.work();
        }
        Some(())
    })
}

/// Has a task take them out of it.
#[inline(never)]
fn tasked(lent: &[Packet<Writable>], rounds: u64, tasks: Tasks) -> Option<u64> {
    let queue = idle_queue(Service::Worker, Some(tasks))?;
    ticks_of(|| {
        for _ in 0..rounds {
            submit(&queue, lent)?;
            if queue.platform().tasks.as_ref().is_some_and(Tasks::run) {
                queue.work();
            }
        }
        Some(())
    })
}

/// Part of each round, as the peers' calls are.
#[inline(always)]
fn submit<'p>(queue: &Queue<'p>, lent: &'p [Packet<Writable>]) -> Option<()> {
    if let [alone] = lent {
        return queue.submit_one(Loan::of(alone)).ok();
    }
    let mut batch = Batch::new();
    batch.fill(lent.iter().map(Loan::of));
    queue.submit(&mut batch).ok()
}

fn measure(sleepable: &mut Sleepable, work: Work, rounds: u64) -> Option<u64> {
    let (batch, size) = (
        BATCHED.load(Ordering::Relaxed) as usize,
        SIZE.load(Ordering::Relaxed) as usize,
    );
    POOL.with(sleepable, |sleepable, pool| {
        let mut lent = Vec::new();
        if !matches!(work, Work::Packet | Work::Tag | Work::Theirs(_)) {
            lent = memory::collected(batch, |_| packet_of(pool, size)).ok()?;
        }
        match work {
            Work::Packet => packets(pool, rounds, batch, size),
            Work::Tag => tags(pool, rounds),
            Work::Passed => passed(&lent, rounds),
            Work::Ringed => ringed(&lent, rounds),
            Work::Tasked => tasked(&lent, rounds, Tasks::new(sleepable)?),
            Work::Theirs(peer) => {
                let peer = match peer {
                    Peer::Mbuf { .. } => Peer::Mbuf { size: size as u32 },
                    other => other,
                };
                peers::measure(sleepable, peer, rounds as u32, batch as u32)
            }
            Work::TheirChannel(channel) => {
                peers::measure_channel(sleepable, channel, rounds as u32, &lent)
            }
        }
    })
    .flatten()
}

fn packet_of(pool: &Pool, size: usize) -> Result<Packet<Writable>, Errno> {
    let mut packet = pool.packet(size).map_err(|_| Errno::ENOMEM)?;
    packet.extend(size).map_err(|_| Errno::EINVAL)?;
    Ok(packet)
}

/// What each measurement is.
const ABOUT: &CStr =
    c"Write N to do N rounds of it; reads the ticks of the CPU's clock that they took together";

struct Bench;

impl Rounds for Bench {
    const NODE: &'static str = "net.weft.test.bench";

    const SETTINGS: &'static [Setting] = &[
        (&BATCHED, c"batch", c"Packets in a round", (1, BATCH as u64)),
        (&SIZE, c"size", c"Bytes of each packet", (1, 9_000)),
    ];

    type Work = Work;

    const WORKS: &'static [(Work, &'static CStr, &'static CStr)] = &[
        (Work::Packet, c"packet", ABOUT),
        (Work::Tag, c"tag", ABOUT),
        (Work::Passed, c"passed", ABOUT),
        (Work::Ringed, c"ringed", ABOUT),
        (Work::Tasked, c"tasked", ABOUT),
        (Work::Theirs(Peer::Mbuf { size: 0 }), c"mbuf", ABOUT),
        (Work::Theirs(Peer::Tag), c"m_tag", ABOUT),
        (Work::TheirChannel(Channel::BufRing), c"buf_ring", ABOUT),
        (Work::TheirChannel(Channel::Mbufq), c"mbufq", ABOUT),
        (Work::TheirChannel(Channel::MpRing), c"mp_ring", ABOUT),
        (Work::TheirChannel(Channel::MtxSent), c"mtx_sent", ABOUT),
        (
            Work::TheirChannel(Channel::BufRingSent),
            c"buf_ring_sent",
            ABOUT,
        ),
        (Work::TheirChannel(Channel::MbufqSent), c"mbufq_sent", ABOUT),
        (
            Work::TheirChannel(Channel::MpRingSent),
            c"mp_ring_sent",
            ABOUT,
        ),
        (
            Work::TheirChannel(Channel::BufRingTask),
            c"buf_ring_task",
            ABOUT,
        ),
        (Work::TheirChannel(Channel::MbufqTask), c"mbufq_task", ABOUT),
    ];

    const RESULTS: &'static [AtomicU64] = &TICKS;

    fn measure(sleepable: &mut Sleepable, work: Work, rounds: u64) -> Option<u64> {
        measure(sleepable, work, rounds)
    }
}

/// Times that packets can be held, in addition to those that are.
const TIMES: usize = 4;

/// Packets that are held so that the memory they take can be read.
struct Holding {
    ours: [Vec<Packet<Writable>>; TIMES],
    theirs: [Option<Held>; TIMES],
}

static HOLDING: Slept<Holding> = Slept::new(Holding::nothing());

impl Holding {
    const fn nothing() -> Self {
        Self {
            ours: [const { Vec::new() }; TIMES],
            theirs: [const { None }; TIMES],
        }
    }

    fn hold_ours(&mut self, sleepable: &mut Sleepable, count: u64, size: u64) -> Result<(), Errno> {
        let mut places = self.ours.iter_mut();
        let place = places.find(|held| held.is_empty()).ok_or(Errno::EBUSY)?;
        let made = POOL.with(sleepable, |_, pool| {
            memory::collected(count as usize, |_| packet_of(pool, size as usize))
        });
        *place = made.ok_or(Errno::ENOENT)??;
        Ok(())
    }

    fn hold_theirs(
        &mut self,
        sleepable: &mut Sleepable,
        count: u64,
        size: u64,
    ) -> Result<(), Errno> {
        let mut places = self.theirs.iter_mut();
        let place = places.find(|held| held.is_none()).ok_or(Errno::EBUSY)?;
        let held = Held::new(sleepable, count as u32, size as u32);
        *place = Some(held.ok_or(Errno::ENOMEM)?);
        Ok(())
    }
}

/// Gives back what is held.
pub(super) fn stop(sleepable: &mut Sleepable) {
    HOLDING.with(sleepable, |_, holding| *holding = Holding::nothing());
}

struct Hold;

const HOLDS: [(&CStr, &CStr); 2] = [
    (
        c"hold",
        c"Write N to hold N more packets of ours with `size` bytes, at most 4 times; 0: none, of mbufs neither",
    ),
    (
        c"hold_mbufs",
        c"Likewise of mbufs, with clusters as drivers get them",
    ),
];

impl Indexed for Hold {
    fn read(_index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        0
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        count: u64,
    ) -> Result<(), Errno> {
        let (name, _) = HOLDS.get(index as usize).ok_or(Errno::EINVAL)?;
        Bench::allow(name, count, (0, MOST_HELD))?;
        let size = SIZE.load(Ordering::Relaxed);
        if count == 0 {
            stop(sleepable);
            return Ok(());
        }
        HOLDING.with(sleepable, |sleepable, holding| match index {
            0 => holding.hold_ours(sleepable, count, size),
            _ => holding.hold_theirs(sleepable, count, size),
        })
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    let node = tree.node(node, c"bench", c"What packets and queues take")?;
    for (index, (name, about)) in HOLDS.iter().enumerate().rev() {
        tree.setting_of::<Hold>(node, name, index as u32, about)?;
    }
    Bench::add_sysctls(tree, node)
}
