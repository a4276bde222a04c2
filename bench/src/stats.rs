// SPDX-License-Identifier: BSD-2-Clause
//! Medians, spreads and quantiles of measured values, and which way a ratio goes.

use serde::{Deserialize, Serialize};

/// The smallest and the largest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// The value in the middle, or the mean of both; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// The smallest and the largest value; zeros of none.
pub fn spread(values: &[f64]) -> Spread {
    let sorted = sorted(values);
    Spread {
        min: sorted.first().copied().unwrap_or_default(),
        max: sorted.last().copied().unwrap_or_default(),
    }
}

/// The smallest value that at least `percent` of 100 values do not exceed; 0 of none.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    let at = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

/// The mean; 0 of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Which end of a metric is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Time, bytes.
    Lower,
    /// Rates.
    Higher,
    /// Losses in percent, of which those have the ratio that are left.
    Kept,
}

impl Better {
    /// How many times better `ours` is than `theirs`: above 1, we are better.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Lower => theirs / ours,
            Self::Higher => ours / theirs,
            Self::Kept => (100.0 - ours) / (100.0 - theirs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), 3.0);
    }

    #[test]
    fn the_spread_is_from_end_to_end() {
        assert_eq!(
            spread(&[2.0, -1.0, 5.0]),
            Spread {
                min: -1.0,
                max: 5.0
            }
        );
        assert_eq!(spread(&[]), Spread { min: 0.0, max: 0.0 });
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), 100.0);
        assert_eq!(percentile(&values, 99.0), 198.0);
        assert_eq!(percentile(&values, 100.0), 200.0);
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&[], 50.0), 0.0);
        assert_eq!(mean(&values), 100.5);
    }

    #[test]
    fn above_one_is_better_whatever_the_metric() {
        assert_eq!(Better::Lower.ratio(2.0, 6.0), 3.0);
        assert_eq!(Better::Higher.ratio(2.0, 6.0), 1.0 / 3.0);
        assert_eq!(Better::Kept.ratio(0.0, 60.0), 2.5);
    }

    proptest! {
        #[test]
        fn median_and_percentiles_lie_in_the_spread(
            values in prop::collection::vec(-1e9..1e9, 1..50),
            percent in 0.0..=100.0,
        ) {
            let spread = spread(&values);
            for value in [median(&values), percentile(&values, percent)] {
                prop_assert!((spread.min..=spread.max).contains(&value));
            }
        }
    }
}
