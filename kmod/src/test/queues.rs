// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.queue`: transmit queues whose backend looks at each packet and drops
//! it, and threads that send to them, so that a test can count every packet.
//!
//! Each sender has flows of its own and numbers the packets of each. The sinks see
//! whether a flow's numbers only go up, also while its bucket moves from queue to queue.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use weft_engine::packet::{Packet, Writable};
use weft_engine::queue::{BATCH, BUCKETS, Batch, Choice, Moved, Reason, Sink, Verdict};

use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::cpu;
use crate::kpi::epoch::in_net_epoch;
use crate::kpi::errno::Errno;
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::memory;
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Access, Indexed, Number, Parent, Sysctls};
use crate::kpi::thread::{Bell, Duty, Thread};
use crate::packet::{POOL, Pool};
use crate::queue::{Plan, Queues, Service};

/// Packets that each queue has room for.
const CAPACITY: usize = 1024;
/// The most queues and senders.
const MOST: u64 = 16;
/// Flows of a sender, and packets of one flow in a row.
const FLOWS: usize = 8;
const RUN: u64 = 4;
/// Bytes of a flow's number and a packet's, with which each begins.
const MARK: usize = 16;
/// After so many calls a sender leaves its CPU to programs for a moment: a thread of the
/// kernel's that never sleeps keeps it from them.
const CALLS: u64 = 256;
/// Milliseconds for which a move waits for a queue to send what it has.
const PATIENCE: u32 = 2_000;

type Item = Packet<Writable>;

/// What is open.
struct Open {
    service: Service<Item, Look>,
    senders: Vec<Thread<Send>>,
}

static OPEN: Slept<Option<Open>> = Slept::new(None);
/// Where the queues' nodes go, once it is there.
static PARENT: Slept<Option<Parent>> = Slept::new(None);

/// Set to have senders stop early.
static STOP: AtomicBool = AtomicBool::new(false);
/// Senders that are not done.
static SENDING: AtomicUsize = AtomicUsize::new(0);
/// The last number of each flow that came.
static LAST: [AtomicU64; FLOWS * MOST as usize] =
    [const { AtomicU64::new(0) }; FLOWS * MOST as usize];

/// What is set, or has been counted, by its place in [`NUMBERS`].
static VALUES: [AtomicU64; 9] = [const { AtomicU64::new(0) }; 9];
const PACKETS: usize = 0;
const SIZE: usize = 1;
const IN_BATCH: usize = 2;
const SENT: usize = 3;
const REFUSED: usize = 4;
const DELIVERED: usize = 5;
const DROPPED: usize = 6;
const ASTRAY: usize = 7;
const GAVE_UP: usize = 8;

fn value(which: usize) -> u64 {
    VALUES
        .get(which)
        .map_or(0, |value| value.load(Ordering::Relaxed))
}

fn count(which: usize, more: u64) {
    if let Some(value) = VALUES.get(which) {
        value.fetch_add(more, Ordering::Relaxed);
    }
}

/// A queue's backend.
struct Look;

impl Look {
    /// Whether the packet is later than all of its flow that came or were dropped.
    fn note(packet: &Item) {
        let mut words = packet.head().chunks_exact(8).map(|word| {
            let word = word.try_into().unwrap_or_default();
            u64::from_ne_bytes(word)
        });
        let (flow, number) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
        let last = LAST.get(flow as usize);
        if last.is_none_or(|last| last.swap(number, Ordering::Relaxed) >= number) {
            count(ASTRAY, 1);
        }
    }
}

impl Sink<Item> for Look {
    fn take(&mut self, burst: &mut Batch<Item>) -> Verdict {
        count(DELIVERED, burst.len() as u64);
        while let Some(packet) = burst.pop() {
            Self::note(&packet);
        }
        Verdict::GoOn
    }

    fn dropped(&mut self, packet: Item, _reason: Reason) {
        count(DROPPED, 1);
        Self::note(&packet);
    }
}

/// A sender's duty: all its packets, once.
struct Send {
    queues: Shared<Queues<Item, Look>>,
    /// Its number, by which it has its flows.
    number: usize,
}

impl Duty for Send {
    fn run(&mut self, sleepable: &mut Sleepable) {
        let (packets, batch) = (value(PACKETS), value(IN_BATCH));
        let (mut sent, mut calls) = (0, 0u64);
        while sent < packets && !STOP.load(Ordering::Relaxed) {
            let count = batch.min(packets.wrapping_sub(sent));
            in_net_epoch(sleepable, |epoch| {
                if let Some(pool) = POOL.get(epoch) {
                    self.send(epoch, pool, sent, count);
                }
            });
            sent = sent.wrapping_add(count);
            calls = calls.wrapping_add(1);
            if calls.is_multiple_of(CALLS) {
                kernel::pause_ms(sleepable, 1);
            }
        }
        SENDING.fetch_sub(1, Ordering::Release);
    }
}

impl Send {
    #[inline(never)]
    fn send(&self, epoch: &NetEpoch<'_>, pool: &Pool, from: u64, packets: u64) {
        let mut batch = Batch::new();
        let mut made = 0;
        for at in from..from.wrapping_add(packets) {
            if let Some(packet) = self.packet(pool, at) {
                made += u64::from(batch.push(packet).is_ok());
            }
        }
        count(SENT, made);
        if self
            .queues
            .set
            .submit(epoch, Choice::Flow, &mut batch)
            .is_err()
        {
            count(REFUSED, batch.len() as u64);
        }
    }

    /// The packet of this number among all of this sender's.
    fn packet(&self, pool: &Pool, at: u64) -> Option<Item> {
        let size = (value(SIZE) as usize).max(MARK);
        let flow = self.number * FLOWS + (at / RUN) as usize % FLOWS;
        let mut packet = pool.packet(size).ok()?;
        let bytes = packet.extend(size).ok()?;
        let words = [flow as u64, at.wrapping_add(1)];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        // Spread over the buckets.
        packet.meta_mut().flow_hash = (flow as u32).wrapping_mul(37);
        Some(packet)
    }
}

/// Has the senders stop, and waits until they have.
fn stop_senders(open: &mut Open) {
    STOP.store(true, Ordering::Relaxed);
    open.senders.clear();
    SENDING.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
}

fn close(sleepable: &mut Sleepable, mut open: Open) {
    stop_senders(&mut open);
    open.service.close(sleepable, |packet| {
        count(DROPPED, 1);
        Look::note(&packet);
    });
}

/// Closes what is open, with all that is queued.
pub(super) fn stop(sleepable: &mut Sleepable) {
    OPEN.with(sleepable, |sleepable, slot| {
        if let Some(open) = slot.take() {
            close(sleepable, open);
        }
    });
}

/// Refuses a number that is not in the range, and says so.
fn allow(name: &str, value: u64, least: u64, most: u64) -> Result<(), Errno> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    log::warning(format_args!(
        "net.weft.test.queue.{name}={value}: refused, allowed are {least} to {most}"
    ));
    Err(Errno::EINVAL)
}

/// Runs `inside` with what is open.
fn with_open<R>(
    sleepable: &mut Sleepable,
    inside: impl FnOnce(&mut Sleepable, &mut Open) -> Result<R, Errno>,
) -> Result<R, Errno> {
    OPEN.with(sleepable, |sleepable, slot| match slot {
        Some(open) => inside(sleepable, open),
        None => Err(Errno::ENOENT),
    })
}

struct Opening;

impl Number for Opening {
    fn read(sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let count = with_open(sleepable, |_, open| {
            Ok(open.service.shared().set.queues().len())
        });
        count.unwrap_or(0) as u64
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, queues: u64) -> Result<(), Errno> {
        allow("open", queues, 0, MOST)?;
        let parent = PARENT.with(sleepable, |_, parent| *parent);
        stop(sleepable);
        for value in VALUES.iter().skip(SENT).chain(&LAST) {
            value.store(0, Ordering::Relaxed);
        }
        let plan = Plan {
            name: "net.weft.test.queue",
            worker: c"weft test queue",
            queues: queues as usize,
            capacity: CAPACITY,
        };
        let (1.., Some(parent)) = (plan.queues, parent) else {
            return Ok(());
        };
        OPEN.with(sleepable, |sleepable, slot| {
            let service = Service::open(sleepable, &plan, parent, |_| Look)?;
            *slot = Some(Open {
                service,
                senders: Vec::new(),
            });
            Ok(())
        })
    }
}

struct Senders;

impl Number for Senders {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        SENDING.load(Ordering::Acquire) as u64
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, senders: u64) -> Result<(), Errno> {
        allow("senders", senders, 0, MOST)?;
        with_open(sleepable, |sleepable, open| {
            stop_senders(open);
            LAST.iter()
                .for_each(|last| last.store(0, Ordering::Relaxed));
            open.senders = memory::collected(senders as usize, |number| {
                let bell = Bell::new()?;
                let queues = open.service.shared().clone();
                let duty = Send { queues, number };
                SENDING.fetch_add(1, Ordering::Relaxed);
                bell.ring();
                Thread::start(
                    sleepable,
                    c"weft test sender",
                    cpu::of_nth(number),
                    bell,
                    duty,
                )
            })?;
            Ok(())
        })
    }
}

struct Moves;

impl Number for Moves {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        0
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, moves: u64) -> Result<(), Errno> {
        let queues = with_open(sleepable, |_, open| Ok(open.service.shared().clone()))?;
        let set = &queues.set;
        for number in 0..moves {
            kernel::check_interrupted(sleepable)?;
            let bucket = number.wrapping_mul(29) as usize % BUCKETS;
            let to = kernel::random_seed() as usize % set.queues().len().max(1);
            match set.move_bucket(bucket, to, PATIENCE, drop) {
                Ok(Moved::InOrder) => (),
                Ok(Moved::GaveUp) => count(GAVE_UP, 1),
                Err(_) => return Err(Errno::EBUSY),
            }
        }
        Ok(())
    }
}

struct Pause;

impl Number for Pause {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        0
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, pause: u64) -> Result<(), Errno> {
        let queues = with_open(sleepable, |_, open| Ok(open.service.shared().clone()))?;
        in_net_epoch(sleepable, |_| {
            for queue in queues.set.queues() {
                match pause {
                    0 => queue.resume(),
                    _ => queue.pause(),
                }
            }
        });
        Ok(())
    }
}

struct Lost;

impl Number for Lost {
    fn read(sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        with_open(sleepable, |_, open| Ok(open.service.shared().set.lost())).unwrap_or(0)
    }
}

/// A number of the test's, by its place.
struct OfTest;

const NUMBERS: [(&core::ffi::CStr, &core::ffi::CStr, u64, u64); VALUES.len()] = [
    (c"packets", c"Packets that each sender sends", 1, u64::MAX),
    (c"size", c"Bytes of each", MARK as u64, 9_000),
    (c"batch", c"Packets in a call", 1, BATCH as u64),
    (
        c"sent",
        c"Packets that were sent, refused ones included",
        0,
        0,
    ),
    (c"refused", c"Packets that a queue refused", 0, 0),
    (c"delivered", c"Packets that arrived", 0, 0),
    (
        c"dropped",
        c"Packets that a queue dropped or gave back",
        0,
        0,
    ),
    (
        c"astray",
        c"Packets that arrived twice, or behind a later one of their flow",
        0,
        0,
    ),
    (c"gave_up", c"Moves that gave up the order", 0, 0),
];

impl Indexed for OfTest {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        value(index as usize)
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let number = NUMBERS.get(index as usize).zip(VALUES.get(index as usize));
        let ((name, _, least, most), place) = number.ok_or(Errno::EINVAL)?;
        allow(name.to_str().unwrap_or_default(), value, *least, *most)?;
        place.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(
    sleepable: &mut Sleepable,
    tree: &mut Sysctls,
    node: Parent,
) -> Result<(), Errno> {
    let node = tree.node(node, c"queue", c"Transmit queues whose packets are counted")?;
    PARENT.with(sleepable, |_, parent| *parent = Some(node));
    for (which, first) in [(PACKETS, 10_000), (SIZE, 64), (IN_BATCH, 1)] {
        if let Some(value) = VALUES.get(which) {
            value.store(first, Ordering::Relaxed);
        }
    }
    for (index, (name, about, _, most)) in NUMBERS.iter().enumerate().rev() {
        match most {
            0 => tree.number_of::<OfTest>(node, name, None, index as u32, about)?,
            _ => tree.setting_of::<OfTest>(node, name, index as u32, about)?,
        }
    }
    let both = Access::READ | Access::WRITE;
    tree.number::<Lost>(
        node,
        c"lost",
        Access::READ,
        c"Packets that found no room in the queue to which their bucket had moved",
    )?;
    tree.number::<Pause>(
        node,
        c"pause",
        both,
        c"Write 1: backends take nothing; 0: they do",
    )?;
    tree.number::<Moves>(
        node,
        c"move",
        both,
        c"Write N to move N buckets, one after the other, to queues drawn at random",
    )?;
    tree.number::<Senders>(
        node,
        c"senders",
        both,
        c"Write N to have N threads send; reads how many are not done",
    )?;
    tree.number::<Opening>(
        node,
        c"open",
        both,
        c"Write N to open N queues, after those there were were closed",
    )
}
