// SPDX-License-Identifier: BSD-2-Clause
//! What queues carry, and what they drain into.

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use weft_engine::queue::{Batch, Item, Sink, Ticks, Verdict};

/// Packets in a burst.
pub const BURST: usize = 32;

/// What of a packet is looked at: a cache line, as the metadata of a real one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Header {
    bytes: u32,
    /// When it was submitted, in nanoseconds; for measuring delays.
    submitted: AtomicU64,
}

/// A packet that nobody owns: producers send the same ones again and again, so that no
/// allocator is measured.
#[derive(Clone, Copy, Debug)]
pub struct Packet(&'static Header);

impl Packet {
    /// So many packets, which stay for ever.
    pub fn several(count: usize) -> Vec<Self> {
        let new = |_| {
            let bytes = 1000;
            let header = Header {
                bytes,
                ..Header::default()
            };
            Self(&*Box::leak(Box::new(header)))
        };
        (0..count).map(new).collect()
    }

    /// Notes that it is submitted now.
    pub fn stamp(self) {
        self.0.submitted.store(now(), Ordering::Relaxed);
    }

    /// Its address, for peers in C.
    pub fn as_ptr(self) -> *mut () {
        NonNull::from(self.0).cast().as_ptr()
    }

    /// The packet at an address.
    ///
    /// # Safety
    ///
    /// The address came from [`as_ptr`](Packet::as_ptr).
    pub unsafe fn from_ptr(address: *mut ()) -> Self {
        // SAFETY: headers are never freed.
        Self(unsafe { &*address.cast() })
    }
}

// SAFETY: an address of a static header, which is aligned to 64 bytes.
unsafe impl Item for Packet {
    fn into_raw(self) -> NonNull<()> {
        NonNull::from(self.0).cast()
    }

    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: from `into_raw`.
        unsafe { Self::from_ptr(raw.as_ptr()) }
    }

    fn bytes(&self) -> u32 {
        self.0.bytes
    }

    fn flow_hash(&self) -> u32 {
        0
    }

    fn set_queued_at(&mut self, _: Ticks) {}

    fn queued_at(&self) -> Ticks {
        0
    }
}

/// Nanoseconds since this was first asked for.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Descriptors in a device's ring.
const DESCRIPTORS: usize = 512;
/// Delays that are noted.
const DELAYS: usize = 1 << 20;

/// A device that takes what it gets: a descriptor is written for each packet.
#[derive(Debug)]
pub struct Device {
    descriptors: Vec<(u64, u64)>,
    outcome: Outcome,
    measures: bool,
    back: Sender<Outcome>,
}

/// What a device has taken.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Packets.
    pub sent: u64,
    /// How long each was on its way, in nanoseconds, if that was measured.
    pub delays: Vec<u32>,
}

impl Drop for Device {
    fn drop(&mut self) {
        // Nobody need want to know.
        let _ = self.back.send(std::mem::take(&mut self.outcome));
    }
}

impl Device {
    /// A device, and where it tells what it has taken when it goes away. One that
    /// `measures` notes for each packet how long it was on its way.
    pub fn new(measures: bool) -> (Self, Receiver<Outcome>) {
        let (back, outcome) = channel();
        let device = Self {
            descriptors: vec![(0, 0); DESCRIPTORS],
            outcome: Outcome {
                sent: 0,
                delays: Vec::with_capacity(if measures { DELAYS } else { 0 }),
            },
            measures,
            back,
        };
        (device, outcome)
    }

    /// Takes packets.
    #[inline]
    pub fn send(&mut self, packets: impl Iterator<Item = Packet>) {
        let time = if self.measures { now() } else { 0 };
        for packet in packets {
            let at = self.outcome.sent as usize % DESCRIPTORS;
            let header = packet.0;
            self.descriptors[at] = (packet.as_ptr().addr() as u64, u64::from(header.bytes));
            self.outcome.sent += 1;
            if self.measures && self.outcome.delays.len() < DELAYS {
                let delay = time.saturating_sub(header.submitted.load(Ordering::Relaxed));
                self.outcome
                    .delays
                    .push(u32::try_from(delay).unwrap_or(u32::MAX));
            }
        }
        std::hint::black_box(&self.descriptors);
    }
}

impl Sink<Packet> for Device {
    #[inline]
    fn take(&mut self, burst: &mut Batch<Packet>) -> Verdict {
        self.send(burst.drain());
        Verdict::GoOn
    }

    #[inline]
    fn take_one(&mut self, packet: Packet) -> Result<Verdict, Packet> {
        self.send(std::iter::once(packet));
        Ok(Verdict::GoOn)
    }
}
