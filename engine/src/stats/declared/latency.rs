// SPDX-License-Identifier: BSD-2-Clause
//! What is shown of times beside histograms for readers of metrics: quantiles, and all
//! buckets.

use crate::stats::{Below, Stat, declare};

static QUANTILES: Below = Below {
    name: c"quantile_ns",
    label: Some(c"quantile"),
    about: c"Nanoseconds than which so many of the times were no longer, at most 1/16 too much",
};

declare! {
    /// What is shown of times.
    TimesStat: "Times: how long packets waited in a queue, how long a card took for a frame, how long changes of a FIB took until lookups saw them"
        at [
            "net.weft.latency.sojourn.<interface>.<queue>",
            "net.weft.latency.completion.<device>.<queue>",
            "net.weft.latency.fib_change.<fib>.inet",
            "net.weft.latency.fib_change.<fib>.inet6"
        ];

    Half = Stat::gauge(
        c"p50",
        c"Half of the times were no longer than so many nanoseconds; 0: none was taken yet",
    )
    .below(&QUANTILES);
    NineTenths = Stat::gauge(
        c"p90",
        c"Nine of ten times were no longer than so many nanoseconds",
    )
    .below(&QUANTILES);
    NinetyNine = Stat::gauge(
        c"p99",
        c"99 of 100 times were no longer than so many nanoseconds",
    )
    .below(&QUANTILES);
    AllButOne = Stat::gauge(
        c"p99_9",
        c"999 of 1000 times were no longer than so many nanoseconds",
    )
    .below(&QUANTILES);
    Buckets = Stat::buckets(
        c"buckets",
        c"How many times are in each bucket, all buckets in a row; docs/statistics.md has their limits",
    );
}

impl TimesStat {
    /// Which of a thousand times a quantile is the longest of; none for the buckets.
    pub fn of_thousand(self) -> Option<u64> {
        match self {
            Self::Half => Some(500),
            Self::NineTenths => Some(900),
            Self::NinetyNine => Some(990),
            Self::AllButOne => Some(999),
            Self::Buckets => None,
        }
    }
}
