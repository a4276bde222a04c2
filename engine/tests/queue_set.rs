// SPDX-License-Identifier: BSD-2-Clause
//! Selection of queues, and that no packet overtakes one of its flow while buckets move:
//! flows that go from thread to thread, queues that are full and stall, buckets moved as
//! fast as can be.
//!
//! Two seconds of each, or as many as `WEFT_STRESS_SECONDS` says.

mod queue_world;

use queue_world::{Arrivals, Checker, Host, Owner, stall};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};
use weft_engine::queue::{
    BUCKETS, Batch, Choice, MoveError, Moved, QueueSet, Reason, Sections, Service, Settings, Sink,
    TxQueue, Verdict,
};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::random::Random;

type Queue = TxQueue<Owner, Checker, Host, HostMemory>;
type Set = QueueSet<Owner, Checker, Host, HostMemory, Guarded, Mutex<()>, Box<[Queue]>>;

const FLOWS: usize = 16;
const QUEUES: usize = 3;

/// Sections by a lock that the mover takes once.
#[derive(Default)]
struct Guarded(RwLock<()>);

impl Sections for Guarded {
    type Section<'s> = RwLockReadGuard<'s, ()>;

    fn wait(&self) {
        drop(self.0.write().unwrap());
    }

    fn relax(&self) {
        thread::sleep(Duration::from_micros(50));
    }
}

struct World {
    set: Set,
    arrivals: Arc<Arrivals>,
    alive: Arc<AtomicUsize>,
    is_full: Vec<Arc<AtomicBool>>,
    is_over: AtomicBool,
    /// The last number of each flow, for who sends the next packets of it.
    flows: Vec<Mutex<u64>>,
}

fn world(full_percent: usize) -> World {
    let arrivals = Arrivals::new(FLOWS);
    let is_full: Vec<Arc<AtomicBool>> = (0..QUEUES).map(|_| Arc::default()).collect();
    let queues: Box<[Queue]> = is_full
        .iter()
        .enumerate()
        .map(|(number, is_full)| {
            let checker = Checker {
                arrivals: arrivals.clone(),
                is_full: is_full.clone(),
                random: Random::new(number as u64),
                full_percent,
                inside: Arc::default(),
            };
            let host = Host::new(Arc::default());
            TxQueue::new(
                256,
                &Settings::of(256),
                checker,
                host,
                HostMemory::default(),
            )
            .unwrap()
        })
        .collect();
    let set = QueueSet::new(
        queues,
        2,
        1024,
        Guarded::default(),
        Mutex::new(()),
        HostMemory::default(),
    );
    World {
        set: set.unwrap(),
        arrivals,
        alive: Arc::default(),
        is_full,
        is_over: AtomicBool::new(false),
        flows: (0..FLOWS).map(|_| Mutex::new(0)).collect(),
    }
}

/// Sends packets of random flows, several in one batch. What is refused is dropped.
fn produce(world: &World, seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let mut taken = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        // In the order of their numbers, so that threads do not wait for one another.
        let mut chosen: Vec<usize> = (0..3).map(|_| random.below(FLOWS)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        let mut held: Vec<_> = chosen
            .iter()
            .map(|&flow| world.flows[flow].lock().unwrap())
            .collect();
        let mut batch = Batch::new();
        let len = if random.percent(50) {
            1
        } else {
            2 + random.below(31)
        };
        for _ in 0..len {
            let which = random.below(chosen.len());
            *held[which] += 1;
            let packet = Owner::new(chosen[which], *held[which], 64, &world.alive);
            assert!(batch.push(packet).is_ok());
        }
        let sent = batch.len();
        let section = world.set.sections().0.read().unwrap();
        stall(&mut random);
        let result = match batch.len() {
            1 => {
                let alone = batch.pop().unwrap();
                let result = world.set.submit_one(&section, Choice::Flow, alone);
                result.map_err(|(back, reason)| {
                    batch.fill([back]);
                    reason
                })
            }
            _ => world.set.submit(&section, Choice::Flow, &mut batch),
        };
        drop(section);
        assert_eq!(result.is_ok(), batch.is_empty());
        taken += (sent - batch.len()) as u64;
    }
    taken
}

fn attend(world: &World) {
    while !world.is_over.load(Ordering::Relaxed) {
        resume(world);
        thread::yield_now();
    }
}

fn resume(world: &World) {
    for (queue, is_full) in world.set.queues().iter().zip(&world.is_full) {
        if is_full.swap(false, Ordering::Acquire) {
            queue.resume();
        }
    }
}

/// Moves buckets, and returns how many it moved.
fn shuffle(world: &World, seed: u64) -> usize {
    let mut random = Random::new(seed);
    let mut moves = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        let (bucket, to) = (random.below(FLOWS), random.below(QUEUES));
        let before = usize::from(world.set.table()[bucket]);
        let moved = world.set.move_bucket(bucket, to, 200_000, drop);
        assert_eq!(moved, Ok(Moved::InOrder));
        moves += usize::from(before != to);
        if random.percent(1) {
            let moved = world.set.spread(1 + random.below(QUEUES), 200_000, drop);
            assert_eq!(moved, Ok(Moved::InOrder));
        }
    }
    moves
}

fn run(full_percent: usize) {
    let seconds = std::env::var("WEFT_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let world = world(full_percent);
    let (taken, moves) = thread::scope(|scope| {
        let world = &world;
        let producers: Vec<_> = (0..3)
            .map(|n| scope.spawn(move || produce(world, n)))
            .collect();
        let mover = scope.spawn(move || shuffle(world, 9));
        // Beyond the end: the mover waits for queues that are full.
        let attendant = scope.spawn(move || attend(world));
        thread::sleep(Duration::from_secs_f64(seconds));
        world.is_over.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while !mover.is_finished() && start.elapsed() < Duration::from_secs(20) {
            resume(world);
            thread::yield_now();
        }
        attendant.join().unwrap();
        let taken: u64 = producers
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        (taken, mover.join().unwrap())
    });
    let start = Instant::now();
    while world
        .set
        .queues()
        .iter()
        .any(|queue| queue.level().items > 0)
    {
        resume(&world);
        assert!(start.elapsed() < Duration::from_secs(20), "items were left");
    }
    let arrived = world.arrivals.count.load(Ordering::Relaxed);
    let astray = world.arrivals.astray.load(Ordering::Relaxed);
    let of_each = world
        .set
        .queues()
        .iter()
        .map(|queue| queue.figures().packets);
    println!(
        "{taken} packets, {moves} moves, {:?}",
        of_each.collect::<Vec<_>>()
    );
    assert_eq!(astray, 0, "packets that overtook, or came twice");
    assert_eq!((arrived, world.set.lost()), (taken, 0));
    assert_eq!(
        world.alive.load(Ordering::Relaxed),
        0,
        "packets were leaked"
    );
    assert!(taken > 1000 && moves > 10);
}

#[test]
fn flows_stay_in_order_while_buckets_move() {
    run(0);
}

#[test]
fn flows_stay_in_order_while_backends_are_full() {
    run(5);
}

fn send(world: &World, choice: Choice, flow: usize) {
    let mut batch = Batch::new();
    let mut number = world.flows[flow].lock().unwrap();
    *number += 1;
    assert!(
        batch
            .push(Owner::new(flow, *number, 64, &world.alive))
            .is_ok()
    );
    let section = world.set.sections().0.read().unwrap();
    world.set.submit(&section, choice, &mut batch).unwrap();
}

/// What each queue has sent.
fn sent(world: &World) -> Vec<u64> {
    while world
        .set
        .queues()
        .iter()
        .any(|queue| queue.level().items > 0)
    {
        resume(world);
    }
    world
        .set
        .queues()
        .iter()
        .map(|queue| queue.figures().packets)
        .collect()
}

#[test]
fn queues_are_selected() {
    let world = world(0);
    assert_eq!(
        world.set.table(),
        std::array::from_fn(|bucket| (bucket % 2) as u8)
    );
    send(&world, Choice::Flow, 4);
    send(&world, Choice::Flow, 5);
    send(&world, Choice::Cpu(BUCKETS + 1), 4);
    send(&world, Choice::Queue(2), 6);
    send(&world, Choice::Queue(3), 8);
    assert_eq!(sent(&world), [2, 2, 1]);
    assert_eq!(world.set.move_bucket(4, 2, 0, drop), Ok(Moved::InOrder));
    send(&world, Choice::Flow, 4);
    assert_eq!(sent(&world), [2, 2, 2]);
    assert_eq!(world.set.spread(1, 0, drop), Ok(Moved::InOrder));
    assert_eq!(world.set.table(), [0; BUCKETS]);
    assert_eq!(
        world.set.move_bucket(BUCKETS, 0, 0, drop),
        Err(MoveError::Bucket(BUCKETS))
    );
    assert_eq!(
        world.set.move_bucket(0, QUEUES, 0, drop),
        Err(MoveError::Queue(QUEUES))
    );
}

/// A queue that sends nothing holds a move up only for as long as it is told to.
#[test]
fn a_stuck_queue_is_given_up() {
    let world = world(0);
    world.set.queues()[0].pause();
    send(&world, Choice::Flow, 2);
    assert_eq!(world.set.move_bucket(2, 1, 3, drop), Ok(Moved::GaveUp));
    send(&world, Choice::Flow, 2);
    let level = |queue: usize| world.set.queues()[queue].level().items;
    while level(1) > 0 {
        world.set.queues()[1].resume();
    }
    assert_eq!(level(0), 1);
    world.set.queues()[0].resume();
    assert_eq!(sent(&world), [1, 1, 0]);
    assert_eq!(world.arrivals.astray.load(Ordering::Relaxed), 1);
}

/// What is held back while its bucket moves, and finds its new queue full for as long as it is
/// told to wait, is lost, counted, and handed to whoever moves it.
#[test]
fn what_finds_its_new_queue_full_is_lost_and_counted() {
    let world = world(0);
    let [old, new] = [0, 1].map(|queue| &world.set.queues()[queue]);
    new.set(&Settings {
        packets: 1,
        ..new.settings()
    });
    old.pause();
    new.pause();
    send(&world, Choice::Queue(1), 9);
    send(&world, Choice::Flow, 2);
    let (mut sent, mut handed) = (2, 0);
    thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let count = |_packet| handed += 1;
            world.set.move_bucket(2, 1, 2_000, count)
        });
        // Until packets are held back.
        loop {
            thread::sleep(Duration::from_millis(1));
            let before = old.level().items;
            send(&world, Choice::Flow, 2);
            sent += 1;
            if old.level().items == before {
                break;
            }
        }
        old.resume();
        assert_eq!(moving.join().unwrap(), Ok(Moved::InOrder));
    });
    let (passed, waits) = (old.figures().packets, new.level().items);
    assert_eq!(waits, 1);
    assert_eq!(world.set.lost(), sent - passed - waits);
    assert_eq!((world.set.lost(), handed), (1, 1));
    while new.level().items > 0 {
        new.resume();
    }
}

/// What a paused queue holds is all seen when it goes on, also behind a burst that was
/// taken out before it was full; and packets that come alone are counted like others.
#[test]
fn figures_tell_of_single_packets_and_of_what_came_behind_a_burst() {
    let world = world(0);
    let queue = &world.set.queues()[0];
    queue.set(&Settings {
        packets: 5,
        ..queue.settings()
    });
    let mut numbers = 1..;
    let mut submit = || {
        let packet = Owner::new(0, numbers.next().unwrap(), 64, &world.alive);
        queue.submit_one(packet).map_err(|(_, reason)| reason)
    };
    // The backend takes parts of a burst, or nothing at first.
    let drain = || {
        while queue.level().items > 0 {
            queue.resume();
        }
    };
    assert_eq!(submit(), Ok(()));
    drain();
    queue.pause();
    for _ in 0..5 {
        assert_eq!(submit(), Ok(()));
    }
    assert_eq!(submit(), Err(Reason::Packets));
    assert_eq!(queue.figures().most, 1);
    drain();
    let figures = queue.figures();
    assert_eq!(
        (figures.packets, figures.bytes, figures.most),
        (6, 6 * 64, 5)
    );
    assert_eq!((figures.submits, figures.lost_for(Reason::Packets)), (6, 1));
}

/// A backend that takes packets when it is let.
struct Gate {
    opened: Arc<Mutex<()>>,
    entered: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<u64>>>,
}

impl Sink<Owner> for Gate {
    fn take(&mut self, burst: &mut Batch<Owner>) -> Verdict {
        self.entered.fetch_add(1, Ordering::Relaxed);
        let _opened = self.opened.lock().unwrap();
        while let Some(packet) = burst.pop() {
            self.taken.lock().unwrap().push(packet.0.number);
        }
        Verdict::GoOn
    }
}

/// Who is on his way past an empty queue into the backend is in no ring, so only his
/// section tells that his packet is not there yet.
#[test]
fn a_bucket_waits_for_who_is_in_the_backend() {
    let opened = Arc::new(Mutex::new(()));
    let entered: Arc<AtomicUsize> = Arc::default();
    let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
    let queue = || {
        let gate = Gate {
            opened: opened.clone(),
            entered: entered.clone(),
            taken: taken.clone(),
        };
        let host = Host::new(Arc::default());
        TxQueue::new(16, &Settings::of(16), gate, host, HostMemory::default()).unwrap()
    };
    let queues: Box<[_]> = (0..2).map(|_| queue()).collect();
    let (sections, memory) = (Guarded::default(), HostMemory::default());
    let set = QueueSet::new(queues, 2, 16, sections, Mutex::new(()), memory).unwrap();
    let alive = Arc::default();
    let send = |number| {
        let mut batch = Batch::new();
        assert!(batch.push(Owner::new(0, number, 64, &alive)).is_ok());
        let section = set.sections().0.read().unwrap();
        set.submit(&section, Choice::Flow, &mut batch).unwrap();
    };
    thread::scope(|scope| {
        let closed = opened.lock().unwrap();
        scope.spawn(|| send(1));
        while entered.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let mover = scope.spawn(|| set.move_bucket(0, 1, 1_000, drop));
        thread::sleep(Duration::from_millis(100));
        assert!(!mover.is_finished(), "moved past a packet on its way");
        drop(closed);
        assert_eq!(mover.join().unwrap(), Ok(Moved::InOrder));
    });
    send(2);
    assert_eq!(*taken.lock().unwrap(), [1, 2]);
    assert_eq!(set.table()[0], 1);
}

/// Who submits through a queue of the worker's passes by it while it is empty, and only
/// then; what is left is the worker's.
#[test]
fn an_empty_queue_is_passed_by() {
    let world = world(0);
    let queue = &world.set.queues()[0];
    queue.set(&Settings {
        service: Service::Worker,
        ..queue.settings()
    });
    let submit = |through: bool, number| {
        let packet = Owner::new(0, number, 64, &world.alive);
        let section = world.set.sections().0.read().unwrap();
        let submitted = match through {
            true => world.set.submit_one_through(&section, Choice::Flow, packet),
            false => world.set.submit_one(&section, Choice::Flow, packet),
        };
        assert!(submitted.is_ok());
        let figures = queue.figures();
        (figures.packets, figures.through, queue.level().items)
    };
    assert_eq!(submit(true, 1), (1, 1, 0));
    assert_eq!(submit(false, 2), (1, 1, 1));
    assert_eq!(submit(true, 3), (1, 1, 2));
    queue.work();
    assert_eq!(submit(true, 4), (4, 2, 0));
}
