// SPDX-License-Identifier: BSD-2-Clause
//! The groups, object by object.

mod fib;
mod ipv6;
mod l3;
mod latency;
mod nic;
mod packet;
mod pair;
mod queue;

pub use fib::{CHANGE, FibStat, TableStat};
pub use ipv6::{FilterStat, RuleStat};
pub use l3::{LayerStat, LayersStat};
pub use latency::TimesStat;
pub use nic::{COMPLETION, CardSetting, CardStat, JoinStat, ReceiveStat, SendStat, SoftwareStat};
pub use packet::{PoolStat, SizeStat};
pub use pair::{EndStat, PairStat, SOJOURN};
pub use queue::QueueStat;

use super::{Declared, Group, Shown};

/// All groups, in the order of the documentation.
pub const GROUPS: &[&Group] = &[
    &PairStat::GROUP,
    &EndStat::GROUP,
    &QueueStat::GROUP,
    &LayersStat::GROUP,
    &LayerStat::GROUP,
    &CardStat::GROUP,
    &SendStat::GROUP,
    &SoftwareStat::GROUP,
    &ReceiveStat::GROUP,
    &JoinStat::GROUP,
    &CardSetting::GROUP,
    &FibStat::GROUP,
    &TableStat::GROUP,
    &FilterStat::GROUP,
    &RuleStat::GROUP,
    &PoolStat::GROUP,
    &SizeStat::GROUP,
    &TimesStat::GROUP,
];

/// All histograms.
pub const HISTOGRAMS: &[&Shown] = &[&SOJOURN, &COMPLETION, &CHANGE];
