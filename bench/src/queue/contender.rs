// SPDX-License-Identifier: BSD-2-Clause
//! Transmit queues: weft's, and those that are built of a mutex, and of others' rings.
//!
//! Those of rings have a flag that says who drains, as `drbr_transmit` has the driver's
//! lock: who has put packets in tries it, and whoever has it looks again after it has let
//! it go.

use super::device::{BURST, Device, Packet};
use crossbeam_queue::ArrayQueue;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use weft_engine::queue::{Batch, Platform, Settings, TxQueue};
use weft_engine::sim::memory::HostMemory;

/// Packets that a queue has room for.
pub const ROOM: usize = 1024;

/// A transmit queue.
pub trait Queue: Send + Sync {
    /// Submits packets, and sees to it that somebody sends those that there was room
    /// for. The others are lost.
    fn submit(&self, packets: &[Packet]);
}

/// How a queue is made, and what it is called.
#[derive(Clone, Copy)]
pub struct Contender {
    /// Its name in records.
    pub name: &'static str,
    /// A queue that drains into a device.
    pub make: fn(Device) -> Option<Box<dyn Queue>>,
}

/// Weft's.
pub const OURS: Contender = Contender {
    name: "weft",
    make: |device| Some(Box::new(Weft::new(device)?)),
};

/// The peers that there are.
pub fn peers() -> Vec<Contender> {
    vec![
        Contender {
            name: "mutex",
            make: |device| Some(Box::new(Locked(Mutex::new(device)))),
        },
        Contender {
            name: "mutex and list",
            make: |device| Some(Box::new(Listed::new(device))),
        },
        Contender {
            name: "crossbeam ArrayQueue",
            make: |device| Some(Box::new(Ringed::new(ArrayQueue::new(ROOM), device))),
        },
        #[cfg(weft_dpdk)]
        Contender {
            name: "rte_ring",
            make: |device| {
                let ring = super::rte_ring::RteRing::new()?;
                Some(Box::new(Ringed::new(ring, device)))
            },
        },
    ]
}

struct Weft(TxQueue<Packet, Device, Host, HostMemory>);

/// No worker, no clock: none of the settings here needs one.
struct Host;

impl Platform for Host {
    fn now(&self) -> u64 {
        0
    }

    fn wake(&self) {}
}

impl Weft {
    fn new(device: Device) -> Option<Self> {
        let settings = Settings::of(ROOM as u64);
        Some(Self(TxQueue::new(
            ROOM,
            &settings,
            device,
            Host,
            HostMemory::default(),
        )?))
    }
}

impl Queue for Weft {
    fn submit(&self, packets: &[Packet]) {
        // What is refused is lost.
        if let [alone] = packets {
            let _ = self.0.submit_one(*alone);
            return;
        }
        let mut batch = Batch::new();
        batch.fill(packets.iter().copied());
        let _ = self.0.submit(&mut batch);
    }
}

/// The device's own lock, and no queue: who comes waits.
struct Locked(Mutex<Device>);

impl Queue for Locked {
    fn submit(&self, packets: &[Packet]) {
        let mut device = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        device.send(packets.iter().copied());
    }
}

/// A list under a mutex, which is not held while the device takes a burst.
struct Listed {
    list: Mutex<List>,
    device: UnsafeCell<(Device, Vec<Packet>)>,
}

struct List {
    packets: VecDeque<Packet>,
    is_drained: bool,
}

// SAFETY: the device is reached by the one who has set `is_drained`.
unsafe impl Sync for Listed {}

impl Listed {
    fn new(device: Device) -> Self {
        let list = List {
            packets: VecDeque::with_capacity(ROOM),
            is_drained: false,
        };
        Self {
            list: Mutex::new(list),
            device: UnsafeCell::new((device, Vec::with_capacity(BURST))),
        }
    }
}

impl Queue for Listed {
    fn submit(&self, packets: &[Packet]) {
        let lock = || self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = lock();
        let room = ROOM - list.packets.len();
        list.packets.extend(packets.iter().take(room));
        if list.is_drained {
            return;
        }
        list.is_drained = true;
        // SAFETY: nobody else sets the flag while it is set.
        let (device, burst) = unsafe { &mut *self.device.get() };
        while !list.packets.is_empty() {
            burst.clear();
            let count = list.packets.len().min(BURST);
            burst.extend(list.packets.drain(..count));
            drop(list);
            device.send(burst.iter().copied());
            list = lock();
        }
        list.is_drained = false;
    }
}

/// A ring of many producers, of which one at a time takes out.
pub(super) trait Ring: Send + Sync {
    /// Puts in what there is room for.
    fn put(&self, packets: &[Packet]);

    /// Takes out up to [`BURST`] packets. For one thread at a time.
    fn get(&self, burst: &mut Vec<Packet>);

    fn is_empty(&self) -> bool;
}

struct Ringed<R> {
    ring: R,
    is_drained: AtomicBool,
    device: UnsafeCell<(Device, Vec<Packet>)>,
}

// SAFETY: the device is reached by the one who has set `is_drained`.
unsafe impl<R: Ring> Sync for Ringed<R> {}

impl<R: Ring> Ringed<R> {
    fn new(ring: R, device: Device) -> Self {
        Self {
            ring,
            is_drained: AtomicBool::new(false),
            device: UnsafeCell::new((device, Vec::with_capacity(BURST))),
        }
    }
}

impl<R: Ring> Queue for Ringed<R> {
    fn submit(&self, packets: &[Packet]) {
        self.ring.put(packets);
        // Either this thread sees that nobody drains, or who drained sees the packets.
        fence(Ordering::SeqCst);
        while !self.ring.is_empty() && !self.is_drained.swap(true, Ordering::Acquire) {
            // SAFETY: nobody else gets here while the flag is set.
            let (device, burst) = unsafe { &mut *self.device.get() };
            loop {
                burst.clear();
                self.ring.get(burst);
                if burst.is_empty() {
                    break;
                }
                device.send(burst.iter().copied());
            }
            self.is_drained.store(false, Ordering::Release);
            fence(Ordering::SeqCst);
        }
    }
}

impl Ring for ArrayQueue<Packet> {
    fn put(&self, packets: &[Packet]) {
        for &packet in packets {
            if self.push(packet).is_err() {
                return;
            }
        }
    }

    fn get(&self, burst: &mut Vec<Packet>) {
        burst.extend(std::iter::from_fn(|| self.pop()).take(BURST));
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}
