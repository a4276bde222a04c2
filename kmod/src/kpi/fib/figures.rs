// SPDX-License-Identifier: BSD-2-Clause
//! What the table of one FIB holds, and what has happened to it, for sysctls.

use core::sync::atomic::Ordering;

use weft_bindings::kernel as c;
use weft_engine::fib::Weight;

use super::common::FibStore;
use super::datapath::Datapath;
use super::family::Family;
use super::instance::Instance;
use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::epoch::in_net_epoch;

/// A figure of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// 1: the module serves the table.
    Served,
    /// Routes.
    Prefixes,
    /// Next hops in use, groups among them.
    NextHops,
    /// Bytes that nothing but this table holds.
    BytesOwn,
    /// Its part of the bytes that it holds together with other tables.
    BytesShared,
    /// 1: it has a flat top of its own.
    Flat,
    /// Changes that lookups have seen, counted from the last time it was made anew.
    Generation,
    /// Changes that were taken.
    Changes,
    /// How often it was made anew.
    Rebuilds,
    /// Changes and builds that failed.
    Failures,
    /// How long changes took together, in nanoseconds.
    ChangesNs,
    /// Changes that took no longer than the limit of that number; all, if there is no
    /// such limit.
    ChangesWithin(usize),
}

/// How many FIBs the current network stack has.
pub(crate) fn fibs(_vnet: &Vnet<'_>) -> u32 {
    // SAFETY: a network stack is current.
    unsafe { c::weft_shim_numfibs() }
}

/// A figure of the current network stack's FIB of that number; 0 if the module does
/// not serve it.
pub(crate) fn figure<F: Family>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    fib: u32,
    figure: Figure,
) -> u64 {
    match figure {
        Figure::BytesShared => weight::<F>(sleepable, vnet, fib).part,
        Figure::BytesOwn => {
            let own = weight::<F>(sleepable, vnet, fib).own;
            own + of_instance::<F, _>(sleepable, vnet, fib, Instance::own_bytes).unwrap_or(0)
        }
        _ => of_instance::<F, _>(sleepable, vnet, fib, |instance| read(instance, figure))
            .unwrap_or(0),
    }
}

/// Looks at the instance that serves a FIB, if one of the module's does.
fn of_instance<F: Family, R>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    fib: u32,
    look: impl FnOnce(&Instance<F>) -> R,
) -> Option<R> {
    if fib >= fibs(vnet) {
        return None;
    }
    in_net_epoch(sleepable, |epoch: &NetEpoch<'_>| {
        // SAFETY: the current network stack has this FIB.
        let datapath = unsafe { Datapath::<F>::of_fib(epoch, fib) }?;
        Some(look(datapath.instance()))
    })
}

fn read<F: Family>(instance: &Instance<F>, figure: Figure) -> u64 {
    let record = &*instance.record;
    let table = instance.table_figures();
    match figure {
        Figure::Served => 1,
        Figure::Prefixes => table.prefixes as u64,
        Figure::NextHops => u64::from(instance.next_hops_bound()),
        Figure::Flat => u64::from(instance.is_flat()),
        Figure::Generation => table.generation,
        Figure::Changes => record.changes.load(Ordering::Relaxed),
        Figure::Rebuilds => record.builds.load(Ordering::Relaxed).saturating_sub(1),
        Figure::Failures => record.failures.load(Ordering::Relaxed),
        Figure::ChangesNs => record.changes_ns.load(Ordering::Relaxed),
        Figure::ChangesWithin(limit) => record.changes_within(limit),
        Figure::BytesOwn | Figure::BytesShared => 0,
    }
}

/// Rows that are weighed in one section of the epoch.
const ROWS_AT_ONCE: usize = 16;

/// What the pages of a table weigh. The table may change, or another take its place,
/// meanwhile: then the sum is of neighbouring moments.
fn weight<F: Family>(sleepable: &mut Sleepable, vnet: &Vnet<'_>, fib: u32) -> Weight {
    let mut sum = Weight::default();
    for first in (0..FibStore::ROWS).step_by(ROWS_AT_ONCE) {
        let rows = first..first + ROWS_AT_ONCE;
        match of_instance::<F, _>(sleepable, vnet, fib, |instance| instance.weigh(rows)) {
            Some(weight) => sum += weight,
            None => break,
        }
    }
    sum
}
