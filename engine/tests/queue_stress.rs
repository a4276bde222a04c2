// SPDX-License-Identifier: BSD-2-Clause
//! No packet is lost, comes twice, or overtakes one of its flow, whatever happens: random
//! stalls of producers, drainers and sinks, backends that are full, limits and services
//! that change, a queue that is closed and opened.
//!
//! Two seconds of each, or as many as `WEFT_STRESS_SECONDS` says.

mod queue_world;

use queue_world::{Arrivals, Checker, Host, Owner, stall};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use weft_engine::queue::{Batch, Codel, Reason, Service, Settings, TxQueue};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::random::Random;

type Queue = TxQueue<Owner, Checker, Host, HostMemory>;

/// Room in the queue.
const CAPACITY: usize = 64;
/// Producers, each of one flow.
const PRODUCERS: usize = 3;

/// What threads beside the producers may do to a queue.
#[derive(Clone, Copy, Default)]
struct Trouble {
    settings: bool,
    codel: bool,
    close: bool,
    pause: bool,
}

struct World {
    queue: Queue,
    arrivals: Arc<Arrivals>,
    alive: Arc<AtomicUsize>,
    is_full: Arc<AtomicBool>,
    woken: Arc<AtomicBool>,
    is_over: AtomicBool,
    returned: AtomicU64,
}

fn world(seed: u64, full_percent: usize) -> World {
    let arrivals = Arrivals::new(PRODUCERS);
    let (is_full, woken) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let checker = Checker {
        arrivals: arrivals.clone(),
        is_full: is_full.clone(),
        random: Random::new(seed),
        full_percent,
        inside: Arc::default(),
    };
    let settings = Settings {
        high: 48,
        low: 8,
        ..Settings::of(CAPACITY as u64)
    };
    let host = Host::new(woken.clone());
    let queue = TxQueue::new(CAPACITY, &settings, checker, host, HostMemory::default());
    World {
        queue: queue.expect("the host has memory"),
        arrivals,
        alive: Arc::default(),
        is_full,
        woken,
        is_over: AtomicBool::new(false),
        returned: AtomicU64::new(0),
    }
}

/// Submits batches of all sizes until the time is over. What is refused is tried again,
/// in order. Returns how many packets were taken.
fn produce(world: &World, flow: usize, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut batch = Batch::new();
    let mut number = 0;
    let mut taken = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        for _ in batch.len()..1 + random.below(32) {
            number += 1;
            let bytes = random.below(3000) as u32;
            let pushed = batch.push(Owner::new(flow, number, bytes, &world.alive));
            assert!(pushed.is_ok());
        }
        stall(&mut random);
        let before = batch.len();
        let result = submit(&world.queue, &mut batch, random.percent(50));
        assert_eq!(result.is_ok(), batch.is_empty(), "{result:?}");
        taken += (before - batch.len()) as u64;
        if let Err(reason) = result {
            assert_ne!(reason, Reason::Sojourn);
            thread::yield_now();
        }
    }
    taken
}

/// Submits a batch, at once or packet by packet.
fn submit(queue: &Queue, batch: &mut Batch<Owner>, one_by_one: bool) -> Result<(), Reason> {
    if !one_by_one {
        return queue.submit(batch);
    }
    let mut through = false;
    while let Some(packet) = batch.pop() {
        through = !through;
        let submitted = match through {
            true => queue.submit_one_through(packet),
            false => queue.submit_one(packet),
        };
        if let Err((packet, reason)) = submitted {
            let mut rest = std::mem::take(batch);
            batch.fill([packet]);
            batch.fill(rest.drain());
            return Err(reason);
        }
    }
    Ok(())
}

/// What a backend's completions and a worker's thread do.
fn attend(world: &World, seed: u64) {
    let mut random = Random::new(seed);
    while !world.is_over.load(Ordering::Relaxed) {
        stall(&mut random);
        if world.woken.swap(false, Ordering::Acquire) || random.percent(1) {
            world.queue.work();
        }
        if world.is_full.swap(false, Ordering::Acquire) || random.percent(1) {
            world.queue.resume();
        }
        thread::yield_now();
    }
}

/// Changes what can be changed.
fn trouble(world: &World, what: Trouble, seed: u64) {
    let mut random = Random::new(seed);
    let services = [Service::Submitters, Service::Shared, Service::Worker];
    while !world.is_over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(random.below(300) as u64));
        if what.settings {
            let codel = Codel {
                target: 1,
                interval: 20,
            };
            world.queue.set(&Settings {
                packets: 1 + random.below(2 * CAPACITY) as u64,
                bytes: random.below(100_000) as u64,
                high: 1 + random.below(CAPACITY) as u64,
                low: random.below(CAPACITY) as u64,
                service: services[random.below(3)],
                turn_packets: 1 + random.below(100) as u64,
                turn_time: random.below(2) as u64 * random.below(50_000) as u64,
                codel: (what.codel && random.percent(70)).then_some(codel),
            });
        }
        if what.pause && random.percent(20) {
            world.queue.pause();
            world.is_full.store(true, Ordering::Release);
        }
        if what.close && random.percent(20) {
            close(world);
            world.queue.open();
        }
        if random.percent(5) {
            world.queue.stop();
            stall(&mut random);
            world.queue.start();
        }
    }
}

/// Closes the queue to the end. What comes back is in order, and behind what was sent.
fn close(world: &World) {
    let mut back = |Owner(packet): Owner| {
        let before = world.arrivals.last[packet.flow].swap(packet.number, Ordering::Relaxed);
        if before >= packet.number {
            world.arrivals.astray.fetch_add(1, Ordering::Relaxed);
        }
        world.returned.fetch_add(1, Ordering::Relaxed);
    };
    let start = Instant::now();
    while world.queue.close(&mut back).is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the queue stays in use"
        );
        thread::yield_now();
    }
}

/// Runs it all, and holds what arrived against what was taken.
fn run(seed: u64, full_percent: usize, what: Trouble) {
    let seconds = std::env::var("WEFT_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let world = world(seed, full_percent);
    let taken: u64 = thread::scope(|scope| {
        let world = &world;
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|flow| scope.spawn(move || produce(world, flow, seed + 10 + flow as u64)))
            .collect();
        scope.spawn(move || attend(world, seed + 1));
        scope.spawn(move || trouble(world, what, seed + 2));
        thread::sleep(Duration::from_secs_f64(seconds));
        world.is_over.store(true, Ordering::Relaxed);
        producers
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    finish(&world, taken);
}

/// Lets the queue run empty, as whoever drains must see to, and counts.
fn finish(world: &World, taken: u64) {
    let queue = &world.queue;
    let start = Instant::now();
    let left = || queue.level().items > 0;
    while left() || world.woken.load(Ordering::Acquire) {
        // Only what a platform is bound to do: come when called, resume when there is room.
        if world.woken.swap(false, Ordering::Acquire) {
            queue.work();
        }
        if world.is_full.swap(false, Ordering::Acquire) {
            queue.resume();
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "items were left: {:?}",
            queue.figures()
        );
    }
    let figures = queue.figures();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let arrived = count(&world.arrivals.count);
    let (dropped, returned) = (count(&world.arrivals.dropped), count(&world.returned));
    println!("{taken} taken, {arrived} sent, {dropped} dropped, {returned} back; {figures:?}");
    assert_eq!(count(&world.arrivals.astray), 0, "out of order or twice");
    assert_eq!(arrived + dropped + returned, taken);
    assert_eq!(
        (figures.packets, figures.lost_for(Reason::Sojourn)),
        (arrived, dropped)
    );
    assert_eq!(
        world.alive.load(Ordering::Relaxed),
        0,
        "packets were leaked"
    );
    assert!(taken > 1000 && figures.most <= CAPACITY as u64 && !queue.is_high());
}

#[test]
fn submitters_drain_for_one_another() {
    run(1, 0, Trouble::default());
}

#[test]
fn a_backend_is_full_at_times() {
    run(
        2,
        20,
        Trouble {
            pause: true,
            ..Trouble::default()
        },
    );
}

#[test]
fn settings_change_meanwhile() {
    run(
        3,
        5,
        Trouble {
            settings: true,
            pause: true,
            ..Trouble::default()
        },
    );
}

#[test]
fn late_items_are_dropped_meanwhile() {
    run(
        4,
        5,
        Trouble {
            settings: true,
            codel: true,
            ..Trouble::default()
        },
    );
}

#[test]
fn the_queue_is_closed_and_opened() {
    let close = true;
    run(
        5,
        10,
        Trouble {
            close,
            ..Trouble::default()
        },
    );
    run(
        6,
        10,
        Trouble {
            close,
            settings: true,
            codel: true,
            pause: true,
        },
    );
}
