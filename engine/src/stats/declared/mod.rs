// SPDX-License-Identifier: BSD-2-Clause
//! The groups, object by object.

mod pair;
mod queue;

pub use pair::{EndStat, PairStat, SOJOURN};
pub use queue::QueueStat;

use super::{Declared, Group, Shown};

/// All groups, in the order of the documentation.
pub const GROUPS: &[&Group] = &[&PairStat::GROUP, &EndStat::GROUP, &QueueStat::GROUP];

/// All histograms.
pub const HISTOGRAMS: &[&Shown] = &[&SOJOURN];
