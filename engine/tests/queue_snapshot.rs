// SPDX-License-Identifier: BSD-2-Clause
//! A snapshot of a queue is of one moment: while threads submit, drain and drop, what was
//! passed on, dropped late and is queued is what was taken, and bytes are those of the packets.
//!
//! A second of each, or as many as `WEFT_STRESS_SECONDS` says.

mod queue_world;

use queue_world::{Arrivals, Checker, Host, Owner, stall};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use weft_engine::queue::{Batch, Codel, Figures, Reason, Service, Settings, TxQueue};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::random::Random;

type Queue = TxQueue<Owner, Checker, Host, HostMemory>;

const CAPACITY: usize = 64;
const PRODUCERS: usize = 2;
/// Bytes of each packet.
const SIZE: u32 = 100;

struct World {
    queue: Queue,
    alive: Arc<AtomicUsize>,
    is_full: Arc<AtomicBool>,
    woken: Arc<AtomicBool>,
    is_over: AtomicBool,
    /// Packets that somebody has begun to submit.
    begun: AtomicU64,
    /// Packets that the queue has taken, as it said.
    taken: AtomicU64,
}

fn world(full_percent: usize, settings: &Settings) -> World {
    let (is_full, woken) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let checker = Checker {
        arrivals: Arrivals::new(PRODUCERS),
        is_full: is_full.clone(),
        random: Random::new(1),
        full_percent,
        inside: Arc::default(),
    };
    let host = Host::new(woken.clone());
    let queue = TxQueue::new(CAPACITY, settings, checker, host, HostMemory::default());
    World {
        queue: queue.expect("the host has memory"),
        alive: Arc::default(),
        is_full,
        woken,
        is_over: AtomicBool::new(false),
        begun: AtomicU64::new(0),
        taken: AtomicU64::new(0),
    }
}

/// Submits batches, or packets one by one; what is refused again and again.
fn produce(world: &World, flow: usize) {
    let mut random = Random::new(10 + flow as u64);
    let (mut batch, mut number) = (Batch::new(), 0);
    let is_over = || world.is_over.load(Ordering::Relaxed);
    while !is_over() || !batch.is_empty() {
        if batch.is_empty() {
            let count = 1 + random.below(20);
            world.begun.fetch_add(count as u64, Ordering::SeqCst);
            for _ in 0..count {
                number += 1;
                let pushed = batch.push(Owner::new(flow, number, SIZE, &world.alive));
                assert!(pushed.is_ok());
            }
        }
        stall(&mut random);
        let before = batch.len();
        if random.percent(50) {
            let _refused = world.queue.submit(&mut batch);
        } else if let Some(packet) = batch.pop()
            && let Err((packet, _)) = world.queue.submit_one(packet)
        {
            let mut rest = std::mem::take(&mut batch);
            batch.fill([packet]);
            batch.fill(rest.drain());
            thread::yield_now();
        }
        let taken = before - batch.len();
        world.taken.fetch_add(taken as u64, Ordering::SeqCst);
    }
}

/// What a worker and a backend's completions do.
fn attend(world: &World) {
    while world.alive.load(Ordering::Relaxed) > 0 || !world.is_over.load(Ordering::Relaxed) {
        if world.woken.swap(false, Ordering::Acquire) {
            world.queue.work();
        }
        if world.is_full.swap(false, Ordering::Acquire) {
            world.queue.resume();
        }
        thread::yield_now();
    }
}

/// Holds one snapshot after another against what producers know. How many there were.
fn watch(world: &World) -> u64 {
    let (mut count, mut last) = (0, Figures::default());
    while !world.is_over.load(Ordering::Relaxed) {
        let taken = world.taken.load(Ordering::SeqCst);
        let Some((figures, level)) = world.queue.snapshot() else {
            thread::yield_now();
            continue;
        };
        let begun = world.begun.load(Ordering::SeqCst);
        let accepted = figures.packets + figures.lost_for(Reason::Sojourn) + level.items;
        assert!(
            (taken..=begun).contains(&accepted),
            "{accepted} are accounted for; taken were {taken} before, begun {begun} after: {figures:?}, {level:?}"
        );
        assert_eq!(
            figures.bytes,
            figures.packets * u64::from(SIZE),
            "{figures:?}"
        );
        assert!(
            figures.through <= figures.packets && figures.most <= CAPACITY as u64,
            "{figures:?}"
        );
        assert!(
            figures.packets >= last.packets && figures.drains >= last.drains,
            "{figures:?} after {last:?}"
        );
        last = figures;
        count += 1;
    }
    count
}

fn run(full_percent: usize, settings: &Settings) {
    let seconds = std::env::var("WEFT_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let world = world(full_percent, settings);
    let count = thread::scope(|scope| {
        let world = &world;
        for flow in 0..PRODUCERS {
            scope.spawn(move || produce(world, flow));
        }
        scope.spawn(move || attend(world));
        let watching = scope.spawn(move || watch(world));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs_f64(seconds) && !watching.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        world.is_over.store(true, Ordering::Relaxed);
        watching.join().expect("all snapshots are whole")
    });
    let (figures, level) = world.queue.snapshot().expect("nobody is in the queue");
    println!("{count} snapshots of {figures:?}");
    assert_eq!(
        figures.packets + figures.lost_for(Reason::Sojourn),
        world.taken.load(Ordering::SeqCst)
    );
    assert!(level.items == 0 && count > 100, "{count} snapshots");
}

#[test]
fn while_submitters_drain() {
    run(0, &Settings::of(CAPACITY as u64));
}

#[test]
fn while_the_backend_is_full_at_times() {
    run(20, &Settings::of(CAPACITY as u64));
}

#[test]
fn while_a_worker_drains_and_drops() {
    let settings = Settings {
        service: Service::Worker,
        codel: Some(Codel {
            target: 1,
            interval: 20,
        }),
        ..Settings::of(CAPACITY as u64)
    };
    run(5, &settings);
}
