// SPDX-License-Identifier: BSD-2-Clause
//! What the table of one FIB holds, and what has happened to it, for sysctls.

use core::sync::atomic::Ordering;

use weft_bindings::kernel as c;
use weft_engine::fib::Weight;
use weft_engine::stats::{Histogram, TableStat};

use super::common::FibStore;
use super::datapath::Datapath;
use super::family::Family;
use super::instance::Instance;
use crate::kpi::context::{NetEpoch, Sleepable, Vnet};
use crate::kpi::epoch::in_net_epoch;

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
    figure: TableStat,
) -> u64 {
    match figure {
        TableStat::BytesShared => weight::<F>(sleepable, vnet, fib).part,
        TableStat::BytesOwn => {
            let own = weight::<F>(sleepable, vnet, fib).own;
            own + of_instance::<F, _>(sleepable, vnet, fib, Instance::own_bytes).unwrap_or(0)
        }
        _ => of_instance::<F, _>(sleepable, vnet, fib, |instance| read(instance, figure))
            .unwrap_or(0),
    }
}

/// What `look` finds in the times of a FIB's changes, if there were any.
pub(crate) fn times<F: Family, R: Default>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    fib: u32,
    look: impl FnOnce(Option<&Histogram>) -> R,
) -> R {
    let found = of_instance::<F, _>(sleepable, vnet, fib, |instance| {
        look(instance.record.times.get())
    });
    found.unwrap_or_default()
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

fn read<F: Family>(instance: &Instance<F>, figure: TableStat) -> u64 {
    let record = &*instance.record;
    let table = instance.table_figures();
    match figure {
        TableStat::Served => 1,
        TableStat::Prefixes => table.prefixes as u64,
        TableStat::NextHops => u64::from(instance.next_hops_bound()),
        TableStat::Flat => u64::from(instance.is_flat()),
        TableStat::Generation => table.generation,
        TableStat::Changes => record.changes.load(Ordering::Relaxed),
        TableStat::Rebuilds => record.builds.load(Ordering::Relaxed).saturating_sub(1),
        TableStat::Failures => record.failures.load(Ordering::Relaxed),
        TableStat::ChangesNs => record.changes_ns.load(Ordering::Relaxed),

        TableStat::BytesOwn | TableStat::BytesShared => 0,
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
