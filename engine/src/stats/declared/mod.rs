// SPDX-License-Identifier: BSD-2-Clause
//! The groups, object by object.

mod fib;
mod latency;
mod pair;
mod queue;

pub use fib::{CHANGE, FibStat, TableStat};
pub use latency::TimesStat;
pub use pair::{EndStat, PairStat, SOJOURN};
pub use queue::QueueStat;

use super::{Declared, Group, Shown};

/// All groups, in the order of the documentation.
pub const GROUPS: &[&Group] = &[
    &PairStat::GROUP,
    &EndStat::GROUP,
    &QueueStat::GROUP,
    &FibStat::GROUP,
    &TableStat::GROUP,
    &TimesStat::GROUP,
];

/// All histograms.
pub const HISTOGRAMS: &[&Shown] = &[&SOJOURN, &CHANGE];
