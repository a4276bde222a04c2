// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.latency`: quantiles and all buckets of what is timed.
//!
//! Who has a histogram adds a node below [`parent`] and answers for its indices by [`read`].

use weft_engine::stats::{BUCKETS, Declared, Histogram, TimesStat};

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Parent, Sysctls};
use crate::stats::{self, LIST, Tree};

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Timed {
    /// How long packets wait in queues.
    Sojourn,
    /// How long changes of FIBs take.
    FibChange,
    /// How long cards take for frames.
    Completion,
}

/// The node of each, while the module is loaded.
static PARENTS: Slept<[Option<Parent>; 3]> = Slept::new([None; 3]);

/// Bits that an index of a histogram's needs.
pub(crate) const INDEX_BITS: u32 = 11;

const _: () = assert!(LIST as usize + BUCKETS <= 1 << INDEX_BITS);

/// Adds `net.weft.latency`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(
    sleepable: &mut Sleepable,
    tree: &mut Sysctls,
    weft: Parent,
) -> Result<(), Errno> {
    let about = c"How long things take: quantiles, and histograms within 1/16";
    let node = tree.node(weft, c"latency", about)?;
    let about = c"From when a change of a route begins until lookups see it";
    let fib_change = tree.node(node, c"fib_change", about)?;
    let about = c"From when a card is given a frame until it is seen to be done with it; see completion_every";
    let completion = tree.node(node, c"completion", about)?;
    let about = c"From when a packet is sent until it comes out of its queue; see sojourn_every";
    let sojourn = tree.node(node, c"sojourn", about)?;
    PARENTS.with(sleepable, |_, parents| {
        *parents = [sojourn, fib_change, completion].map(Some);
    });
    Ok(())
}

/// Where nodes of that kind go.
///
/// # Errors
/// `ENXIO` before the module is loaded.
pub(crate) fn parent(sleepable: &mut Sleepable, timed: Timed) -> Result<Parent, Errno> {
    let parents = PARENTS.with(sleepable, |_, parents| *parents);
    let parent = parents.get(timed as usize).copied().flatten();
    parent.ok_or(Errno::ENXIO)
}

/// Adds what is shown of a histogram to its node, with indices from `base` on, whose lowest
/// [`INDEX_BITS`] are 0.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add(tree: &mut impl Tree, node: Parent, base: u32) -> Result<(), Errno> {
    stats::add(tree, node, base, |_: TimesStat| true)
}

/// A number of a histogram, which is there if something was timed.
pub(crate) fn read(times: Option<&Histogram>, index: u32) -> u64 {
    let index = index & ((1 << INDEX_BITS) - 1);
    let Some(times) = times else {
        return 0;
    };
    match index.checked_sub(LIST) {
        Some(bucket) => times.in_bucket(bucket as usize),
        None => {
            let share = TimesStat::at(index).and_then(TimesStat::of_thousand);
            share.map_or(0, |share| times.quantile(share, 1_000))
        }
    }
}

/// Buckets from the first on, all of one moment.
///
/// # Errors
/// `EAGAIN` if something was counted whenever they were looked at.
pub(crate) fn read_row(
    times: Option<&Histogram>,
    sleepable: &mut Sleepable,
    row: &mut [u64],
) -> Result<(), Errno> {
    match times {
        Some(times) => stats::at_a_moment(sleepable, || times.snapshot(row)).map(drop),
        None => Ok(()),
    }
}
