// SPDX-License-Identifier: BSD-2-Clause
//! What can be tuned of a queue while it runs.
//!
//! Each value is read by itself, at the next submission or burst: a change of several is
//! not seen at one moment.

use super::codel::Codel;
use super::ring::Bounds;
use super::sync::{AtomicU64, Ordering};
use super::word::CELL;

/// Who takes items out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Whoever comes first, for as long as there is work and no other submitter.
    Submitters,
    /// Whoever comes first, for one turn; then the worker.
    Shared,
    /// The worker only.
    Worker,
}

/// What can be tuned of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Items that may be queued: 1 to the queue's capacity.
    pub packets: u64,
    /// Bytes that may be queued, each item's rounded up to [`CELL`]: up to 512 MB. An
    /// empty queue takes an item of any size.
    pub bytes: u64,
    /// From so many queued items on producers are told to stop. Above the capacity: never.
    pub high: u64,
    /// With so many items left they are told to go on.
    pub low: u64,
    /// Who takes items out.
    pub service: Service,
    /// Items after which a drainer looks for another one.
    pub turn_packets: u64,
    /// Nanoseconds after which it does, or 0 for any; it is looked at the clock after
    /// each burst then.
    pub turn_time: u64,
    /// Drops items that wait for too long, if set.
    pub codel: Option<Codel>,
}

impl Settings {
    /// Those of a queue with room for so many items: no limit beside that, turns of 256
    /// items, no worker, no CoDel.
    pub const fn of(capacity: u64) -> Self {
        Self {
            packets: capacity,
            bytes: u64::MAX,
            high: u64::MAX,
            low: 0,
            service: Service::Submitters,
            turn_packets: 256,
            turn_time: 0,
            codel: None,
        }
    }
}

/// Settings that change while they are read.
pub(super) struct Tunables {
    packets: AtomicU64,
    cells: AtomicU64,
    bytes: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
    service: AtomicU64,
    turn_packets: AtomicU64,
    turn_time: AtomicU64,
    /// Target and interval in 32 bits each, or 0.
    codel: AtomicU64,
}

const SUBMITTERS: u64 = 0;
const SHARED: u64 = 1;
const WORKER: u64 = 2;

#[inline]
fn get(place: &AtomicU64) -> u64 {
    place.load(Ordering::Relaxed)
}

impl Tunables {
    pub(super) fn new(settings: &Settings) -> Self {
        let zero = || AtomicU64::new(0);
        let tunables = Self {
            packets: zero(),
            cells: zero(),
            bytes: zero(),
            high: zero(),
            low: zero(),
            service: zero(),
            turn_packets: zero(),
            turn_time: zero(),
            codel: zero(),
        };
        tunables.set(settings);
        tunables
    }

    pub(super) fn set(&self, settings: &Settings) {
        let set = |place: &AtomicU64, value| place.store(value, Ordering::Relaxed);
        set(&self.packets, settings.packets.max(1));
        set(&self.cells, settings.bytes / u64::from(CELL));
        set(&self.bytes, settings.bytes);
        set(&self.high, settings.high.max(1));
        set(&self.low, settings.low);
        let service = match settings.service {
            Service::Submitters => SUBMITTERS,
            Service::Shared => SHARED,
            Service::Worker => WORKER,
        };
        set(&self.service, service);
        set(&self.turn_packets, settings.turn_packets.max(1));
        set(&self.turn_time, settings.turn_time);
        set(&self.codel, settings.codel.map_or(0, Codel::to_bits));
    }

    pub(super) fn get(&self) -> Settings {
        Settings {
            packets: get(&self.packets),
            bytes: get(&self.bytes),
            high: get(&self.high),
            low: self.low(),
            service: self.service(),
            turn_packets: self.turn_packets(),
            turn_time: self.turn_time(),
            codel: self.codel(),
        }
    }

    #[inline]
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            items: get(&self.packets),
            cells: get(&self.cells),
            high: get(&self.high),
        }
    }

    #[inline]
    pub(super) fn low(&self) -> u64 {
        get(&self.low)
    }

    #[inline]
    pub(super) fn service(&self) -> Service {
        match get(&self.service) {
            WORKER => Service::Worker,
            SHARED => Service::Shared,
            _ => Service::Submitters,
        }
    }

    #[inline]
    pub(super) fn turn_packets(&self) -> u64 {
        get(&self.turn_packets)
    }

    #[inline]
    pub(super) fn turn_time(&self) -> u64 {
        get(&self.turn_time)
    }

    #[inline]
    pub(super) fn codel(&self) -> Option<Codel> {
        Codel::from_bits(get(&self.codel))
    }
}
