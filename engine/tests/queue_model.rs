// SPDX-License-Identifier: BSD-2-Clause
//! The ring and the passing on of its role in all interleavings, over a model of the C11
//! memory order.
//!
//! What is compiled here are the engine's own files, with loom's atomics for the
//! processor's. An item has bytes that are written plainly and read plainly: if nothing
//! orders the two, or two threads have the role at a time, that is a fault. At the end of
//! each run nothing may be left in the ring while nobody is obliged to take it out.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use std::alloc::Layout;
use std::ptr::NonNull;

/// What the engine's files need of the crate around them.
mod fib {
    pub(crate) use weft_engine::fib::Memory;
}

/// The atomics of the engine's files below.
mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
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

use batch::Batch;
use item::{Item, Ticks};
use ring::{Berth, Bounds, Enqueued, Refused, Ring};
use role::{Left, Role};
use sync::Ordering;

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

/// What has come out, which belongs to the role.
#[derive(Default)]
struct Out {
    last: [usize; 3],
    count: usize,
    parked: bool,
}

type TestRing = Ring<Owner, Out, Heap>;

fn new_ring(places: usize) -> TestRing {
    Ring::new(places, Out::default(), Heap).unwrap()
}

const BOUNDS: Bounds = Bounds {
    items: 1 << 20,
    cells: 1 << 20,
    high: 1 << 20,
    direct: false,
};

/// Takes out what there is until the role is somebody else's.
fn drain(mut role: Role<'_, Owner, Out, Heap>) {
    loop {
        role.take();
        let (out, rest) = role.parts();
        deliver(out, rest);
        role.settle(0);
        match role.leave() {
            Left::Empty(_) | Left::Held => return,
            Left::Work(again) => role = again,
        }
    }
}

/// Each sender's packets come in its order.
fn deliver(out: &mut Out, batch: &mut Batch<Owner>) {
    while let Some(Owner(packet)) = batch.pop() {
        // SAFETY: loom finds an access beside this one that nothing orders.
        let (sender, number) = packet.0.with(|place| unsafe { *place });
        assert_eq!(number, out.last[sender] + 1, "of sender {sender}");
        out.last[sender] = number;
        out.count += 1;
    }
}

/// Sends so many packets at once.
fn send(
    ring: &TestRing,
    sender: usize,
    numbers: std::ops::RangeInclusive<usize>,
    direct: bool,
) -> usize {
    let mut batch = Batch::new();
    for number in numbers {
        assert!(batch.push(packet(sender, number)).is_ok());
    }
    let sent = batch.len();
    let bounds = Bounds { direct, ..BOUNDS };
    let Enqueued { role, refused, .. } = ring.enqueue(&mut batch, &bounds);
    if let Some(mut role) = role {
        if refused.is_none() && !batch.is_empty() {
            deliver(role.parts().0, &mut batch);
        }
        drain(role);
    }
    sent - batch.len()
}

/// Runs something in all interleavings in which no more than so many times a thread is
/// stopped that could go on.
fn explore(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

/// What is out when all is over: the role is free, and nothing was left.
fn assert_drained(ring: &TestRing, count: usize) {
    assert_eq!(ring.level().items, 0, "something was left in the ring");
    let mut role = ring.enter().expect("somebody has the role still");
    assert_eq!(role.parts().0.count, count);
}

#[test]
fn two_producers_drain_for_one_another() {
    for direct in [false, true] {
        explore(3, move || {
            let ring = Arc::new(new_ring(4));
            let other = ring.clone();
            let beside = thread::spawn(move || send(&other, 1, 1..=2, direct));
            let sent = send(&ring, 0, 1..=1, direct) + send(&ring, 0, 2..=2, direct);
            assert_eq!(beside.join().unwrap() + sent, 4);
            assert_drained(&ring, 4);
        });
    }
}

#[test]
fn three_producers_drain_for_one_another() {
    explore(2, || {
        let ring = Arc::new(new_ring(4));
        let others: Vec<_> = (1..3)
            .map(|sender| {
                let ring = ring.clone();
                thread::spawn(move || send(&ring, sender, 1..=1, false))
            })
            .collect();
        let mut sent = send(&ring, 0, 1..=2, false);
        for other in others {
            sent += other.join().unwrap();
        }
        assert_eq!(sent, 4);
        assert_drained(&ring, 4);
    });
}

/// More laps than one, and a ring that is full at times.
#[test]
fn places_are_used_again() {
    explore(3, || {
        let ring = Arc::new(new_ring(2));
        let other = ring.clone();
        let beside = thread::spawn(move || {
            (1..=3).map(|_| 1).sum::<usize>() * 0 + send(&other, 1, 1..=1, false)
        });
        let mut sent = 0;
        for number in 1..=3 {
            sent += send(&ring, 0, sent + 1..=sent + 1, false);
            let _ = number;
        }
        sent += beside.join().unwrap();
        assert_drained(&ring, sent);
    });
}
