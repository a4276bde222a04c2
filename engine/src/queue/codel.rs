// SPDX-License-Identifier: BSD-2-Clause
//! Controlled delay: which items are dropped because those before them waited for too
//! long (RFC 8289, section 5).
//!
//! The RFC dequeues again and again within one call; here the queue asks for one item
//! after the other, and the state between two items of one such call is kept as a flag.
//! Its control law, interval / sqrt(count), is a multiplication by a number from a table.

use super::item::{Item, Ticks};

/// The parameters of CoDel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codel {
    /// The time for which items may stand in the queue, in [`Ticks`].
    pub target: Ticks,
    /// The time in which they must have stood less than that once, in [`Ticks`].
    pub interval: Ticks,
}

impl Codel {
    /// 5 ms and 100 ms, as the RFC has it for the Internet's edge.
    pub const INTERNET: Self = Self {
        target: 4_883,
        interval: 97_656,
    };

    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.target.max(1)) | u64::from(self.interval.max(1)) << 32
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self {
            target: bits as u32,
            interval: (bits >> 32) as u32,
        })
    }
}

/// Entries of the table below; what is larger is looked up by its leading bits.
const ROOTS: usize = 256;

/// 65,536 divided by the square root of each number.
const INVERSE_ROOTS: [u32; ROOTS] = {
    let mut table = [1 << 16; ROOTS];
    let mut n = 2;
    while n < ROOTS {
        table[n] = ((1u64 << 32) / n as u64).isqrt() as u32;
        n += 1;
    }
    table
};

/// `interval` divided by the square root of `count`, to within 1%.
fn shortened(interval: Ticks, count: u32) -> Ticks {
    let bits = u32::BITS.saturating_sub(count.leading_zeros());
    // An even number of bits is left out of the count, half as many of the result.
    let half = bits.saturating_sub(ROOTS.ilog2()).div_ceil(2);
    let inverse = INVERSE_ROOTS.get((count >> (2 * half)) as usize);
    let product = u64::from(interval).wrapping_mul(u64::from(*inverse.unwrap_or(&0)));
    (product >> (16 + half)) as Ticks
}

/// Whether a time is before another one, of which half of all are.
fn is_before(time: Ticks, other: Ticks) -> bool {
    (time.wrapping_sub(other) as i32) < 0
}

/// The state of one queue.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// When the time of all items of an interval will have been above the target.
    first_above: Option<Ticks>,
    is_dropping: bool,
    /// When the next one is dropped, while dropping.
    drop_next: Ticks,
    /// Dropped since dropping began.
    count: u32,
    /// `count` when it began.
    last_count: u32,
    /// An item was dropped, and the next one decides how it goes on.
    is_open: bool,
    /// Bytes of the largest item so far: so few do not make a queue stand.
    largest: u32,
}

impl State {
    /// Whether to drop an item that comes out of the queue now, with so many bytes behind
    /// it.
    pub(super) fn judge<T: Item>(
        &mut self,
        codel: &Codel,
        now: Ticks,
        item: &T,
        behind: u64,
    ) -> bool {
        self.largest = self.largest.max(item.bytes());
        let sojourn = now.wrapping_sub(item.queued_at());
        let is_short = is_before(sojourn, codel.target) || behind <= u64::from(self.largest);
        let may_drop = self.stands(codel, now, is_short);
        if !self.is_dropping {
            if may_drop {
                self.begin(codel, now);
            }
            return may_drop;
        }
        if core::mem::take(&mut self.is_open) && may_drop {
            let later = shortened(codel.interval, self.count);
            self.drop_next = self.drop_next.wrapping_add(later);
        }
        if !may_drop {
            self.is_dropping = false;
            return false;
        }
        if is_before(now, self.drop_next) {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.is_open = true;
        true
    }

    /// The RFC's `dodequeue`: whether the queue has stood above the target for an
    /// interval.
    fn stands(&mut self, codel: &Codel, now: Ticks, is_short: bool) -> bool {
        if is_short {
            self.first_above = None;
            return false;
        }
        match self.first_above {
            None => {
                self.first_above = Some(now.wrapping_add(codel.interval));
                false
            }
            Some(first_above) => !is_before(now, first_above),
        }
    }

    /// Begins to drop, with the rate at which it ended if that was not long ago.
    fn begin(&mut self, codel: &Codel, now: Ticks) {
        self.is_dropping = true;
        let delta = self.count.wrapping_sub(self.last_count);
        let since = now.wrapping_sub(self.drop_next);
        let is_recent = is_before(since, codel.interval.saturating_mul(16));
        self.count = if delta > 1 && is_recent { delta } else { 1 };
        self.drop_next = now.wrapping_add(shortened(codel.interval, self.count));
        self.last_count = self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    struct Waited(Ticks);

    // SAFETY: never turned into a pointer.
    #[allow(unsafe_code)]
    unsafe impl Item for Waited {
        fn into_raw(self) -> core::ptr::NonNull<()> {
            unreachable!("nothing is queued here")
        }

        unsafe fn from_raw(_: core::ptr::NonNull<()>) -> Self {
            unreachable!("nothing is queued here")
        }

        fn bytes(&self) -> u32 {
            1000
        }

        fn flow_hash(&self) -> u32 {
            0
        }

        fn set_queued_at(&mut self, _: Ticks) {}

        fn queued_at(&self) -> Ticks {
            self.0
        }
    }

    #[test]
    fn the_interval_is_shortened_by_the_square_root() {
        for count in (1..100_000).chain([1 << 20, u32::MAX >> 1, u32::MAX]) {
            let exact = 1e8 / f64::from(count).sqrt();
            let ours = f64::from(shortened(100_000_000, count));
            assert!(
                (ours / exact - 1.0).abs() < 0.01,
                "{count}: {ours}, not {exact}"
            );
        }
    }

    /// The pseudocode of RFC 8289, section 5, with its names, over a list.
    #[derive(Default)]
    struct Rfc {
        first_above_time: u64,
        drop_next: u64,
        count: u32,
        lastcount: u32,
        dropping: bool,
    }

    /// The times at which items were queued, the foremost first.
    type Queue = std::collections::VecDeque<u64>;

    const CODEL: Codel = Codel {
        target: 50,
        interval: 1000,
    };

    impl Rfc {
        fn dodequeue(&mut self, queue: &mut Queue, now: u64) -> (Option<u64>, bool) {
            let Some(queued_at) = queue.pop_front() else {
                self.first_above_time = 0;
                return (None, false);
            };
            let bytes = 1000 * queue.len() as u64;
            if now - queued_at < u64::from(CODEL.target) || bytes <= 1000 {
                self.first_above_time = 0;
            } else if self.first_above_time == 0 {
                self.first_above_time = now + u64::from(CODEL.interval);
            } else if now >= self.first_above_time {
                return (Some(queued_at), true);
            }
            (Some(queued_at), false)
        }

        fn control_law(time: u64, count: u32) -> u64 {
            time + u64::from(shortened(CODEL.interval, count))
        }

        /// What goes out, and what is dropped before.
        fn dequeue(&mut self, queue: &mut Queue, now: u64) -> (Option<u64>, Vec<u64>) {
            let mut dropped = Vec::new();
            let (mut item, mut ok) = self.dodequeue(queue, now);
            if self.dropping {
                if !ok {
                    self.dropping = false;
                }
                while now >= self.drop_next && self.dropping {
                    dropped.extend(item);
                    self.count += 1;
                    (item, ok) = self.dodequeue(queue, now);
                    if ok {
                        self.drop_next = Self::control_law(self.drop_next, self.count);
                    } else {
                        self.dropping = false;
                    }
                }
            } else if ok {
                dropped.extend(item);
                (item, _) = self.dodequeue(queue, now);
                self.dropping = true;
                let delta = self.count.wrapping_sub(self.lastcount);
                self.count = 1;
                let recent = now.wrapping_sub(self.drop_next) < 16 * u64::from(CODEL.interval);
                if delta > 1 && recent {
                    self.count = delta;
                }
                self.drop_next = Self::control_law(now, self.count);
                self.lastcount = self.count;
            }
            (item, dropped)
        }
    }

    proptest! {
        /// Arrivals in groups, a service that is slow by turns: the same items are dropped
        /// as by the RFC's words.
        #[test]
        fn drops_what_the_rfc_drops(
            steps in prop::collection::vec((1u64..120, 0usize..4), 200..2000),
        ) {
            let mut rfc = Rfc::default();
            let mut ours = State::default();
            let (mut queue, mut copy) = (Queue::new(), Queue::new());
            let mut now = 20_000;
            for (gap, arrivals) in steps {
                now += gap;
                for _ in 0..arrivals {
                    queue.push_back(now);
                    copy.push_back(now);
                }
                let (item, dropped) = rfc.dequeue(&mut queue, now);
                let mut ours_dropped = Vec::new();
                let ours_item = loop {
                    let Some(queued_at) = copy.pop_front() else {
                        break None;
                    };
                    let behind = 1000 * copy.len() as u64;
                    let waited = Waited(queued_at as Ticks);
                    if !ours.judge(&CODEL, now as Ticks, &waited, behind) {
                        break Some(queued_at);
                    }
                    ours_dropped.push(queued_at);
                };
                prop_assert_eq!((ours_item, ours_dropped), (item, dropped));
            }
        }
    }
}
