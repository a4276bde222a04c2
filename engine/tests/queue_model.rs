// SPDX-License-Identifier: BSD-2-Clause
//! Queues, and the passing on of the role of their consumer, in all interleavings, over a
//! model of the C11 memory order.
//!
//! What is compiled here are the engine's own files, with loom's atomics for the
//! processor's. An item has bytes that are written plainly and read plainly: if nothing
//! orders the two, or two threads have the role at a time, that is a fault. At the end of
//! each run nothing may be left in a queue while nobody is obliged to take it out.

use loom::sync::Arc;
use loom::thread;
use std::alloc::Layout;
use std::ptr::NonNull;

/// What the engine's files need of the crate around them.
mod fib {
    pub(crate) use weft_engine::fib::{Lock, Memory};
}

/// The atomics of the engine's files below.
mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
    pub(crate) const LOOKS: usize = 1;
}

#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/batch.rs"]
mod batch;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/item.rs"]
mod item;
#[allow(dead_code)]
#[path = "../src/queue/ring.rs"]
mod ring;
#[allow(dead_code)]
#[path = "../src/queue/role.rs"]
mod role;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/word.rs"]
mod word;

#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/codel.rs"]
mod codel;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/figures.rs"]
mod figures;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/reason.rs"]
mod reason;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/set.rs"]
mod set;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/settings.rs"]
mod settings;
#[allow(dead_code, unreachable_pub)]
#[path = "../src/queue/tx.rs"]
mod tx;

use batch::Batch;
use item::{Item, Ticks};
use set::{Choice, Moved, QueueSet, Sections};
use settings::{Service, Settings};
use sync::Ordering;
use tx::{Platform, Sink, TxQueue, Verdict};

/// The system's memory.
struct Heap;

// SAFETY: as the global allocator promises.
unsafe impl fib::Memory for Heap {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: never of size 0.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
    }
}

/// A packet: who sent it and its number.
#[repr(align(8))]
struct Packet(loom::cell::UnsafeCell<(usize, usize)>);

struct Owner(Box<Packet>);

// SAFETY: a box, which is aligned to 8 bytes, and not in the first page.
unsafe impl Item for Owner {
    fn into_raw(self) -> NonNull<()> {
        NonNull::from(Box::leak(self.0)).cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: from `into_raw`.
        Self(unsafe { Box::from_raw(raw.cast().as_ptr()) })
    }

    fn bytes(&self) -> u32 {
        1
    }

    fn flow_hash(&self) -> u32 {
        0
    }

    fn set_queued_at(&mut self, _: Ticks) {}

    fn queued_at(&self) -> Ticks {
        0
    }
}

fn packet(sender: usize, number: usize) -> Owner {
    let empty = Packet(loom::cell::UnsafeCell::new((0, 0)));
    // SAFETY: nobody else knows it.
    empty
        .0
        .with_mut(|place| unsafe { *place = (sender, number) });
    Owner(Box::new(empty))
}

/// A backend that looks at each packet, and is full when told to be.
struct Checker {
    last: std::sync::Arc<[std::sync::atomic::AtomicUsize; 2]>,
    /// How many packets it takes before it says that it is full, once.
    room: Option<usize>,
    device: Arc<Device>,
}

/// What an interrupt tells a driver: that there is room again.
struct Device {
    has_room: sync::AtomicBool,
}

impl Sink<Owner> for Checker {
    fn take(&mut self, burst: &mut Batch<Owner>) -> Verdict {
        if self.room == Some(0) {
            if !self.device.has_room.load(Ordering::Relaxed) {
                return Verdict::Full;
            }
            self.room = None;
        }
        let Some(Owner(packet)) = burst.pop() else {
            return Verdict::GoOn;
        };
        self.room = self.room.map(|room| room - 1);
        // SAFETY: loom finds an access beside this one that nothing orders.
        let (sender, number) = packet.0.with(|place| unsafe { *place });
        let last = &self.last[sender];
        let before = last.swap(number, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(number, before + 1, "of sender {sender}");
        Verdict::GoOn
    }
}

/// A platform whose worker comes when it is called, at the end of the run.
#[derive(Default)]
struct Host {
    wakes: std::sync::atomic::AtomicUsize,
}

impl Platform for Host {
    fn now(&self) -> u64 {
        0
    }

    fn wake(&self) {
        self.wakes
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Host {
    fn woken(&self) -> bool {
        self.wakes.swap(0, std::sync::atomic::Ordering::Relaxed) > 0
    }
}

type Queue = TxQueue<Owner, Checker, Host, Heap>;

/// A queue of so many places, and the last numbers that came out.
struct World {
    queue: Queue,
    device: Arc<Device>,
    last: std::sync::Arc<[std::sync::atomic::AtomicUsize; 2]>,
}

fn world(places: usize, room: Option<usize>, settings: Settings) -> Arc<World> {
    let last = std::sync::Arc::default();
    let device = Arc::new(Device {
        has_room: sync::AtomicBool::new(false),
    });
    let checker = Checker {
        last: std::sync::Arc::clone(&last),
        room,
        device: device.clone(),
    };
    let queue = TxQueue::new(places, &settings, checker, Host::default(), Heap);
    Arc::new(World {
        queue: queue.unwrap(),
        device,
        last,
    })
}

impl World {
    /// How many packets of each sender came out.
    fn out(&self) -> [usize; 2] {
        let get =
            |last: &std::sync::atomic::AtomicUsize| last.load(std::sync::atomic::Ordering::Relaxed);
        [get(&self.last[0]), get(&self.last[1])]
    }

    /// Nothing was left, and nobody has the role.
    fn assert_drained(&self, out: [usize; 2]) {
        assert_eq!(
            self.queue.level().items,
            0,
            "something was left in the queue"
        );
        assert_eq!(self.out(), out);
        assert_eq!(self.queue.close(|_| panic!("something was left")), Ok(()));
    }
}

/// Submits packets of these numbers at once, one by itself, and returns how many were
/// taken.
fn send(queue: &Queue, sender: usize, numbers: std::ops::RangeInclusive<usize>) -> usize {
    if numbers.start() == numbers.end() {
        let alone = packet(sender, *numbers.start());
        return usize::from(queue.submit_one(alone).is_ok());
    }
    let mut batch = Batch::new();
    for number in numbers {
        assert!(batch.push(packet(sender, number)).is_ok());
    }
    let sent = batch.len();
    let result = queue.submit(&mut batch);
    assert_eq!(result.is_ok(), batch.is_empty());
    sent - batch.len()
}

/// Runs something in all interleavings in which no more than so many times a thread is
/// stopped that could go on.
fn explore(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

/// Two submitters at a time: directly, and by way of the ring, whose producers may be
/// stopped between their claim and their stores.
#[test]
fn submitters_drain_for_one_another() {
    explore(3, || {
        let world = world(4, None, Settings::of(4));
        let other = world.clone();
        let beside = thread::spawn(move || send(&other.queue, 1, 1..=2));
        assert_eq!(send(&world.queue, 0, 1..=1), 1);
        assert_eq!(send(&world.queue, 0, 2..=2), 1);
        assert_eq!(beside.join().unwrap(), 2);
        world.assert_drained([2, 2]);
    });
}

/// Both at a time with batches: what is left of one follows what was left before.
#[test]
fn batches_go_through_the_same_ring() {
    explore(2, || {
        let world = world(4, Some(1), Settings::of(4));
        let other = world.clone();
        let beside = thread::spawn(move || {
            let sent = send(&other.queue, 1, 1..=2);
            other.device.has_room.store(true, Ordering::Relaxed);
            other.queue.resume();
            sent
        });
        assert_eq!(send(&world.queue, 0, 1..=2), 2);
        assert_eq!(beside.join().unwrap(), 2);
        world.assert_drained([2, 2]);
    });
}

/// A drainer whose turn is over after each packet: somebody goes on.
#[test]
fn turns_end_while_work_is_left() {
    explore(2, || {
        let settings = Settings {
            turn_packets: 1,
            ..Settings::of(4)
        };
        let world = world(4, None, settings);
        let other = world.clone();
        let beside = thread::spawn(move || send(&other.queue, 1, 1..=2));
        assert_eq!(send(&world.queue, 0, 1..=2), 2);
        assert_eq!(beside.join().unwrap(), 2);
        world.assert_drained([2, 2]);
    });
}

/// More laps than one, of a ring that is full at times.
#[test]
fn places_are_used_again() {
    explore(2, || {
        let world = world(2, None, Settings::of(2));
        let other = world.clone();
        let beside = thread::spawn(move || send(&other.queue, 1, 1..=2));
        let mut sent = 0;
        for _ in 0..3 {
            sent += send(&world.queue, 0, sent + 1..=sent + 1);
        }
        let beside = beside.join().unwrap();
        world.assert_drained([sent, beside]);
    });
}

/// The backend is full, and has room again at any moment, also just before it is known
/// that it was full.
#[test]
fn a_backend_that_has_room_is_not_forgotten() {
    explore(3, || {
        let world = world(4, Some(1), Settings::of(4));
        let other = world.clone();
        let interrupt = thread::spawn(move || {
            other.device.has_room.store(true, Ordering::Relaxed);
            other.queue.resume();
        });
        assert_eq!(send(&world.queue, 0, 1..=2), 2);
        assert_eq!(send(&world.queue, 0, 3..=3), 1);
        interrupt.join().unwrap();
        world.assert_drained([3, 0]);
    });
}

/// What is left to the worker is done by it, by whichever of its calls.
#[test]
fn work_is_left_to_the_worker() {
    explore(3, || {
        let settings = Settings {
            service: Service::Worker,
            ..Settings::of(4)
        };
        let world = world(4, None, settings);
        let other = world.clone();
        let worker = thread::spawn(move || {
            // Once too often at any rate.
            other.queue.work();
            other.queue.work();
        });
        assert_eq!(send(&world.queue, 0, 1..=1), 1);
        assert_eq!(send(&world.queue, 0, 2..=2), 1);
        worker.join().unwrap();
        while world.queue.platform().woken() {
            world.queue.work();
        }
        world.assert_drained([2, 0]);
    });
}

/// A queue that is closed beside a submitter gives back what it does not send.
#[test]
fn closing_gives_back_what_is_left() {
    explore(3, || {
        let world = world(4, Some(1), Settings::of(4));
        let other = world.clone();
        let beside = thread::spawn(move || send(&other.queue, 0, 1..=2));
        let mut last = 0;
        let mut back = 0;
        let mut take = |Owner(packet): Owner| {
            // SAFETY: as in `Checker`.
            let (_, number) = packet.0.with(|place| unsafe { *place });
            assert!(number > last);
            (last, back) = (number, back + 1);
        };
        let _in_use = world.queue.close(&mut take);
        let sent = beside.join().unwrap();
        assert_eq!(world.queue.close(&mut take), Ok(()));
        let [out, _] = world.out();
        assert_eq!(out + back, sent);
        assert!(back == 0 || last == sent);
    });
}

/// Producers are told to stop and to go on, and not left with "stop".
#[test]
fn the_watermark_falls_in_the_end() {
    explore(3, || {
        let settings = Settings {
            high: 1,
            low: 0,
            ..Settings::of(4)
        };
        let world = world(4, None, settings);
        let other = world.clone();
        let beside = thread::spawn(move || send(&other.queue, 1, 1..=1));
        assert_eq!(send(&world.queue, 0, 1..=1), 1);
        beside.join().unwrap();
        assert!(!world.queue.is_high());
        world.assert_drained([1, 1]);
    });
}

/// A lock of the model.
struct ModelLock(loom::sync::Mutex<()>);

// SAFETY: a mutex.
unsafe impl fib::Lock for ModelLock {
    fn with<R>(&self, inside: impl FnOnce() -> R) -> R {
        let _held = self.0.lock().unwrap();
        inside()
    }
}

/// Sections by a lock, as weak as they may be: what is waited for is no more than asked.
#[derive(Default)]
struct ModelSections(loom::sync::RwLock<()>);

impl Sections for ModelSections {
    type Section<'s> = loom::sync::RwLockReadGuard<'s, ()>;

    fn wait(&self) {
        drop(self.0.write().unwrap());
    }

    fn relax(&self) {
        thread::yield_now();
    }
}

/// Packets of one flow, submitted one after the other while its bucket moves: no order
/// but theirs comes out of the two queues.
#[test]
fn a_flow_stays_in_order_while_its_bucket_moves() {
    explore(2, || {
        let last = std::sync::Arc::default();
        let device = Arc::new(Device {
            has_room: sync::AtomicBool::new(false),
        });
        let queues: Box<[Queue]> = (0..2)
            .map(|_| {
                let checker = Checker {
                    last: std::sync::Arc::clone(&last),
                    room: None,
                    device: device.clone(),
                };
                TxQueue::new(2, &Settings::of(2), checker, Host::default(), Heap).unwrap()
            })
            .collect();
        let lock = ModelLock(loom::sync::Mutex::new(()));
        let sections = ModelSections::default();
        let set = Arc::new(QueueSet::new(queues, 2, 4, sections, lock, Heap).unwrap());
        let other = set.clone();
        let beside = thread::spawn(move || {
            for number in 1..=3 {
                let alone = packet(0, number);
                let section = other.sections().0.read().unwrap();
                assert!(other.submit_one(&section, Choice::Flow, alone).is_ok());
            }
        });
        assert_eq!(set.move_bucket(0, 1, 9, drop), Ok(Moved::InOrder));
        beside.join().unwrap();
        let [last, _]: &[std::sync::atomic::AtomicUsize; 2] = &last;
        assert_eq!(last.load(std::sync::atomic::Ordering::Relaxed), 3);
    });
}
