// SPDX-License-Identifier: BSD-2-Clause
//! A pool's figures, its limits, and how memory leaves it.

use super::AllocError;
use super::cache::BUNDLE;
use super::cpus::Cpus;
use super::layout::{CLASSES, STRIDES};
use super::pool::Pool;
use crate::context::Sleepable;
use crate::fib::{Lock, Memory};
use core::sync::atomic::Ordering;

/// One size class of a pool. Taken while others are at work: each number is right for
/// some moment, not all of them for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassFigures {
    /// Bytes of a buffer.
    pub stride: usize,
    /// Buffers for which there is memory.
    pub buffers: usize,
    /// Those that lie in the depot, free.
    pub in_depot: usize,
    /// Those in the caches of CPUs, free.
    pub in_caches: usize,
    /// Those that packets hold, and tags that left their packet.
    pub out: usize,
    /// The most that may be in caches and out.
    pub limit: usize,
}

/// A pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Its classes, from the smallest.
    pub classes: [ClassFigures; CLASSES],
    /// Bytes of buffers and of what keeps account of them.
    pub bytes: usize,
    /// The most that may be.
    pub most_bytes: usize,
    /// Allocations that failed, by [`AllocError::index`].
    pub failures: [u64; AllocError::REASONS],
}

impl PoolFigures {
    /// Buffers that are out.
    pub fn out(&self) -> usize {
        self.classes.iter().map(|class| class.out).sum()
    }
}

impl<M: Memory, L: Lock, C: Cpus> Pool<M, L, C> {
    /// The figures. Takes the lock once a class.
    pub fn figures(&self) -> PoolFigures {
        let core = self.core();
        let mut figures = PoolFigures {
            bytes: core.bytes.load(Ordering::Relaxed),
            most_bytes: core.most_bytes.load(Ordering::Relaxed),
            ..PoolFigures::default()
        };
        for (class, of) in figures.classes.iter_mut().enumerate() {
            *of = self.class_figures(class);
        }
        for per in core.per_cpu() {
            for (sum, count) in figures.failures.iter_mut().zip(&per.failures) {
                *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
            }
        }
        figures
    }

    fn class_figures(&self, class: usize) -> ClassFigures {
        let core = self.core();
        // Asked before the caches: what is freed meanwhile is counted as out rather
        // than as free.
        let asked = core.depot(class, |depot| {
            (depot.buffers(), depot.issued(), depot.limit())
        });
        let (buffers, issued, limit) = asked.unwrap_or_default();
        let caches = core
            .per_cpu()
            .iter()
            .filter_map(|per| per.caches.get(class));
        let in_caches = caches.map(super::cache::Cache::len).sum::<usize>();
        ClassFigures {
            stride: STRIDES.get(class).copied().unwrap_or(0),
            buffers,
            in_depot: buffers.saturating_sub(issued),
            in_caches,
            out: issued.saturating_sub(in_caches),
            limit,
        }
    }

    /// Buffers that are out. While nobody allocates, it is never less than there are.
    pub fn out(&self) -> usize {
        self.figures().out()
    }

    /// From now on no more than `most` buffers of the class with this number leave the
    /// depot. Those that have left come back when they are freed.
    pub fn limit_class(&self, class: usize, most: usize) {
        self.core().depot(class, |depot| depot.set_limit(most));
    }

    /// From now on the pool gets no slab that would make it hold more than `most`
    /// bytes. If it does already, what comes back to the depot goes back to memory.
    pub fn limit_bytes(&self, most: usize) {
        self.core().most_bytes.store(most, Ordering::Relaxed);
    }

    /// Gives back what memory can be given back: the caches of all CPUs are emptied,
    /// and slabs freed of which no buffer is in use. Returns the bytes. CPU by CPU and
    /// bundle by bundle: the lock, or a CPU, is held for 32 buffers at a time.
    pub fn reclaim(&self, sleepable: &mut Sleepable) -> usize {
        let mut bytes = self.flush(sleepable);
        for class in 0..CLASSES {
            while let Some(freed) = self.core().dissolve(class) {
                bytes = bytes.wrapping_add(freed);
            }
        }
        bytes
    }

    /// Brings what is in the caches of all CPUs to the depot. How many bytes went on
    /// to memory.
    pub(super) fn flush(&self, sleepable: &mut Sleepable) -> usize {
        let core = self.core();
        let mut bytes = 0_usize;
        for (cpu, per) in core.per_cpu().iter().enumerate() {
            for (class, cache) in per.caches.iter().enumerate() {
                // Once more than a full cache takes, if its owner fills it meanwhile.
                for _ in 0..=super::cache::CAPACITY / BUNDLE {
                    // SAFETY: `on` has the CPU's caches to itself.
                    let spilled = core.cpus.on(sleepable, cpu, || unsafe { cache.spill() });
                    if spilled.as_slice().is_empty() {
                        break;
                    }
                    bytes = bytes.wrapping_add(core.bring(class, spilled));
                }
            }
        }
        bytes
    }
}
