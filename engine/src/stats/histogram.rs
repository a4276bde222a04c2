// SPDX-License-Identifier: BSD-2-Clause
//! How often a number was about so large, in memory that does not grow.
//!
//! Each power of two is divided into 16 buckets of one size, so a bucket's upper limit is at
//! most 1/16 above any number in it. A bucket is of the numbers above the limit of the one
//! before up to its own, so that powers of two are limits.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Buckets of each power of two, as a power of two.
const PARTS: u32 = 4;
/// From this power of two on all numbers are in the last bucket: about 69 s in nanoseconds.
const MOST: u32 = 36;

/// Buckets of a histogram.
pub const BUCKETS: usize = ((MOST - PARTS + 1) << PARTS) as usize + 1;

/// The bucket of a number.
fn bucket(number: u64) -> usize {
    let below = number.saturating_sub(1);
    let power = (u64::BITS - 1).saturating_sub((below | 1).leading_zeros());
    let bucket = match power.checked_sub(PARTS) {
        None => below,
        Some(shift) => u64::from(shift << PARTS).wrapping_add(below >> shift),
    };
    bucket.min(BUCKETS as u64 - 1) as usize
}

/// The largest number of a bucket; of the last one there is none.
pub fn limit_of(bucket: usize) -> Option<u64> {
    let shift = (bucket >> PARTS).saturating_sub(1) as u32;
    let parts = (bucket as u64).wrapping_sub(u64::from(shift << PARTS));
    (bucket < BUCKETS - 1).then(|| parts.wrapping_add(1) << shift)
}

/// How often a reader looks for a moment at which nothing is half counted.
const TRIES: u32 = 100;

/// A histogram. One thread at a time counts, any may read.
#[derive(Debug)]
pub struct Histogram {
    /// Odd while a number is being counted.
    era: AtomicU64,
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// An empty one, with a count for each of [`BUCKETS`]; `None` if they are fewer or more.
    pub fn of(counts: Vec<AtomicU64>) -> Option<Self> {
        let [era, sum] = [const { AtomicU64::new(0) }; 2];
        (counts.len() == BUCKETS).then_some(Self { era, counts, sum })
    }

    /// Counts a number. By one thread at a time: no atomic read-modify-write.
    #[inline]
    pub fn count(&self, number: u64) {
        let add = |count: &AtomicU64, more: u64| {
            let now = count.load(Ordering::Relaxed).wrapping_add(more);
            count.store(now, Ordering::Relaxed);
        };
        add(&self.era, 1);
        fence(Ordering::Release);
        if let Some(count) = self.counts.get(bucket(number)) {
            add(count, 1);
        }
        add(&self.sum, number);
        let next = self.era.load(Ordering::Relaxed).wrapping_add(1);
        self.era.store(next, Ordering::Release);
    }

    /// Reads what is in buckets from the first on, and returns the sum, all of one moment.
    /// `None` if something was counted at each of some hundred tries: ask again.
    pub fn snapshot(&self, buckets: &mut [u64]) -> Option<u64> {
        for _ in 0..TRIES {
            let before = self.era.load(Ordering::Acquire);
            for (value, count) in buckets.iter_mut().zip(&self.counts) {
                *value = count.load(Ordering::Relaxed);
            }
            let sum = self.sum();
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.era.load(Ordering::Relaxed) == before {
                return Some(sum);
            }
            core::hint::spin_loop();
        }
        None
    }

    /// Adds what another one has counted, which nobody counts into meanwhile. By one thread
    /// at a time.
    pub fn merge(&self, other: &Self) {
        let pairs = self.counts.iter().zip(&other.counts);
        for (ours, theirs) in pairs.chain([(&self.sum, &other.sum)]) {
            let theirs = theirs.load(Ordering::Relaxed);
            let both = ours.load(Ordering::Relaxed).wrapping_add(theirs);
            ours.store(both, Ordering::Relaxed);
        }
    }

    /// What is in a bucket.
    pub fn in_bucket(&self, bucket: usize) -> u64 {
        let count = self.counts.get(bucket);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Numbers that were counted.
    pub fn total(&self) -> u64 {
        self.within(u64::MAX)
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// Of them, those that are no larger than `limit`; exact for powers of two and other
    /// limits of buckets, else without those of the bucket in which it is.
    pub fn within(&self, limit: u64) -> u64 {
        let inside =
            |bucket: usize| limit_of(bucket).map_or(limit == u64::MAX, |most| most <= limit);
        let buckets = (0..BUCKETS).take_while(|bucket| inside(*bucket));
        buckets.map(|bucket| self.in_bucket(bucket)).sum()
    }

    /// A number than which `share` out of `whole` of those counted are no larger, at most
    /// 1/16 above the least such; 0 if nothing was counted, `u64::MAX` if it is beyond the
    /// last limit.
    pub fn quantile(&self, share: u64, whole: u64) -> u64 {
        let total = self.total();
        let wanted = u128::from(total).wrapping_mul(u128::from(share));
        let mut seen: u64 = 0;
        if total == 0 {
            return 0;
        }
        for bucket in 0..BUCKETS {
            let count = self.in_bucket(bucket);
            seen = seen.saturating_add(count);
            if count > 0 && u128::from(seen).wrapping_mul(u128::from(whole)) >= wanted {
                return limit_of(bucket).unwrap_or(u64::MAX);
            }
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Histogram {
        Histogram::of((0..BUCKETS).map(|_| AtomicU64::new(0)).collect()).unwrap()
    }

    fn all(numbers: &[u64]) -> Histogram {
        let histogram = empty();
        numbers.iter().for_each(|number| histogram.count(*number));
        histogram
    }

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        let mut before = 0;
        for which in 0..BUCKETS - 1 {
            let limit = limit_of(which).unwrap();
            assert!(limit > before, "{which}: {limit} after {before}");
            assert_eq!([bucket(before + 1), bucket(limit)], [which; 2]);
            // Of the numbers in it the least is furthest from the limit.
            assert!(
                (limit - before - 1) * 16 <= before + 1,
                "{which}: {before} to {limit}"
            );
            before = limit;
        }
        assert_eq!(before, 1 << MOST);
        assert_eq!([bucket(before + 1), bucket(u64::MAX)], [BUCKETS - 1; 2]);
        assert_eq!(limit_of(BUCKETS - 1), None);
        assert_eq!(bucket(0), 0);
    }

    proptest::proptest! {
        /// Quantiles are as in the sorted list, but for 1/16.
        #[test]
        fn quantiles_are_near(mut numbers in proptest::collection::vec(1u64..1 << 36, 1..200), share in 1u64..=1000) {
            let histogram = all(&numbers);
            numbers.sort_unstable();
            let place = (numbers.len() as u64 * share).div_ceil(1000).max(1) as usize - 1;
            let (exact, found) = (numbers[place], histogram.quantile(share, 1000));
            proptest::prop_assert!(found >= exact, "{found} for {exact}");
            proptest::prop_assert!((found - exact) as f64 <= exact as f64 / 16.0, "{found} for {exact}");
            proptest::prop_assert_eq!(histogram.sum(), numbers.iter().sum::<u64>());
        }

        /// At powers of two counts are exact.
        #[test]
        fn powers_of_two_divide(numbers in proptest::collection::vec(proptest::prelude::any::<u64>(), 0..100), power in 0u32..=36) {
            let numbers: Vec<u64> = numbers.iter().map(|number| number >> (number % 64)).collect();
            let limit = 1u64 << power;
            let wanted = numbers.iter().filter(|number| **number <= limit).count();
            proptest::prop_assert_eq!(all(&numbers).within(limit), wanted as u64);
        }

        /// Two that are merged are as one that counted all.
        #[test]
        fn merging_adds(left in proptest::collection::vec(0u64..1 << 40, 0..50), right in proptest::collection::vec(0u64..1 << 40, 0..50)) {
            let merged = all(&left);
            merged.merge(&all(&right));
            let both = all(&[left, right].concat());
            for bucket in 0..BUCKETS {
                proptest::prop_assert_eq!(merged.in_bucket(bucket), both.in_bucket(bucket));
            }
            proptest::prop_assert_eq!(merged.sum(), both.sum());
        }
    }

    /// A snapshot has each number's bucket and its part of the sum, or neither.
    #[test]
    fn a_snapshot_is_of_one_moment() {
        const NUMBER: u64 = 1 << 20;
        let (histogram, is_over) = (empty(), core::sync::atomic::AtomicBool::new(false));
        let whole = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut whole, mut buckets) = (0, [0; BUCKETS]);
                while !is_over.load(Ordering::Relaxed) {
                    if let Some(sum) = histogram.snapshot(&mut buckets) {
                        assert_eq!(sum, buckets.iter().sum::<u64>() * NUMBER);
                        whole += 1;
                    }
                }
                whole
            });
            for _ in 0..100_000 {
                histogram.count(NUMBER);
                (0..20).for_each(|_| core::hint::spin_loop());
            }
            while histogram.snapshot(&mut [0; BUCKETS]).is_none() {}
            std::thread::sleep(std::time::Duration::from_millis(5));
            is_over.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        assert!(whole > 0);
        assert_eq!(histogram.total(), 100_000);
    }

    #[test]
    fn nothing_counted_is_nothing() {
        let histogram = empty();
        assert_eq!(
            [histogram.quantile(1, 2), histogram.total(), histogram.sum()],
            [0; 3]
        );
        histogram.count(1 << 50);
        assert_eq!(histogram.quantile(1, 2), u64::MAX);
        assert_eq!([histogram.total(), histogram.within(1 << 36)], [1, 0]);
    }
}
