// SPDX-License-Identifier: BSD-2-Clause
//! What queues are tested with: packets that know who sent them, a sink that checks
//! their order and is full at random, threads that are stopped at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use weft_engine::queue::{Batch, Item, Platform, Reason, Sink, Ticks, Verdict};
use weft_engine::sim::random::Random;

/// A packet: the number of its flow, and its own in the flow.
#[repr(align(8))]
#[derive(Debug)]
pub(crate) struct Packet {
    /// Counted from 0.
    pub(crate) flow: usize,
    /// Counted from 1.
    pub(crate) number: u64,
    /// Its length.
    pub(crate) bytes: u32,
    queued_at: Ticks,
    /// How many packets there are.
    alive: Arc<AtomicUsize>,
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The owner of a packet.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Box<Packet>);

impl Owner {
    /// A new packet.
    pub(crate) fn new(flow: usize, number: u64, bytes: u32, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Box::new(Packet {
            flow,
            number,
            bytes,
            queued_at: 0,
            alive: alive.clone(),
        }))
    }
}

// SAFETY: a box, aligned to 8 bytes and not in the first page.
unsafe impl Item for Owner {
    fn into_raw(self) -> std::ptr::NonNull<()> {
        std::ptr::NonNull::from(Box::leak(self.0)).cast()
    }

    unsafe fn from_raw(raw: std::ptr::NonNull<()>) -> Self {
        // SAFETY: from `into_raw`.
        Self(unsafe { Box::from_raw(raw.cast().as_ptr()) })
    }

    fn bytes(&self) -> u32 {
        self.0.bytes
    }

    fn flow_hash(&self) -> u32 {
        self.0.flow as u32
    }

    fn set_queued_at(&mut self, now: Ticks) {
        self.0.queued_at = now;
    }

    fn queued_at(&self) -> Ticks {
        self.0.queued_at
    }
}

/// What has arrived, of all queues' sinks.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// The last number of each flow; sinks of several queues check one order.
    pub(crate) last: Vec<AtomicU64>,
    /// Packets that came.
    pub(crate) count: AtomicU64,
    /// Packets dropped by a queue.
    pub(crate) dropped: AtomicU64,
    /// Packets that came out of order, or twice.
    pub(crate) astray: AtomicU64,
}

impl Arrivals {
    /// For so many flows.
    pub(crate) fn new(flows: usize) -> Arc<Self> {
        Arc::new(Self {
            last: (0..flows).map(|_| AtomicU64::new(0)).collect(),
            ..Self::default()
        })
    }

    /// Notes that a packet arrived, or went on its way.
    fn note(&self, packet: &Packet) {
        let before = self.last[packet.flow].swap(packet.number, Ordering::Relaxed);
        if before >= packet.number {
            self.astray.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A backend that is slow, full at times, and takes parts of a burst.
pub(crate) struct Checker {
    /// What has come to all checkers.
    pub(crate) arrivals: Arc<Arrivals>,
    /// Set when it said that it was full: somebody must resume the queue.
    pub(crate) is_full: Arc<AtomicBool>,
    /// Which burst is how.
    pub(crate) random: Random,
    /// How many of 100 bursts find it full.
    pub(crate) full_percent: usize,
    /// Nobody else may be in it.
    pub(crate) inside: Arc<AtomicBool>,
}

impl Sink<Owner> for Checker {
    fn take(&mut self, burst: &mut Batch<Owner>) -> Verdict {
        let alone = !self.inside.swap(true, Ordering::Acquire);
        assert!(alone, "two drainers at a time");
        stall(&mut self.random);
        let is_full = self.random.percent(self.full_percent);
        let most = if self.random.percent(70) {
            burst.len()
        } else {
            self.random.below(burst.len() + 1)
        };
        for _ in 0..most {
            let Some(Owner(packet)) = burst.pop() else {
                break;
            };
            self.arrivals.note(&packet);
            self.arrivals.count.fetch_add(1, Ordering::Relaxed);
        }
        self.inside.store(false, Ordering::Release);
        if is_full || most == 0 {
            self.is_full.store(true, Ordering::Release);
            return Verdict::Full;
        }
        Verdict::GoOn
    }

    fn dropped(&mut self, Owner(packet): Owner, reason: Reason) {
        assert_eq!(reason, Reason::Sojourn);
        self.arrivals.note(&packet);
        self.arrivals.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Stops a thread at times, for shorter or longer.
pub(crate) fn stall(random: &mut Random) {
    match random.below(400) {
        0 => thread::sleep(Duration::from_micros(random.below(200) as u64)),
        1..=20 => thread::yield_now(),
        21..=60 => (0..random.below(200)).for_each(|_| std::hint::spin_loop()),
        _ => (),
    }
}

/// The host, with a worker that is told by a flag.
pub(crate) struct Host {
    /// Set when the worker is to come.
    pub(crate) woken: Arc<AtomicBool>,
    /// How often a watermark was crossed.
    pub(crate) crossed: AtomicU64,
    start: Instant,
}

impl Host {
    /// A host whose clock begins at 0.
    pub(crate) fn new(woken: Arc<AtomicBool>) -> Self {
        Self {
            woken,
            crossed: AtomicU64::new(0),
            start: Instant::now(),
        }
    }
}

impl Platform for Host {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
    }

    fn watermark_crossed(&self) {
        self.crossed.fetch_add(1, Ordering::Relaxed);
    }
}
