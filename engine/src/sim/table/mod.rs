// SPDX-License-Identifier: BSD-2-Clause
//! Routing tables for tests and benchmarks: generated with the shape of the
//! Internet's, or read from text; and rules that give routes their next hops.
//!
//! The shapes are those of a full table as a transit provider saw it in October
//! 2025: 901,899 IPv4 prefixes ([`generate`]) and 160,147 IPv6 ones ([`generate6`]).

mod ipv4;
mod ipv6;
mod next_hops;
mod prefix;
mod text;

pub use ipv4::{LENGTHS, generate};
pub use ipv6::{LENGTHS6, generate6};
pub use next_hops::NextHops;
pub use prefix::{Prefix, Prefix6};
pub use text::{Text, TextError, read};

use std::collections::HashSet;

/// How many of `count` prefixes have each length, where `lengths` names the counts
/// of a table of `whole`: cut down to whole numbers, with what is left over added to
/// the length `most`.
fn shares(
    lengths: &'static [(u8, usize)],
    whole: usize,
    most: u8,
    count: usize,
) -> impl Iterator<Item = (u8, usize)> {
    let cut = move |share: usize| (count as u128 * share as u128 / whole as u128) as usize;
    let left: usize = count - lengths.iter().map(|&(_, share)| cut(share)).sum::<usize>();
    lengths
        .iter()
        .map(move |&(len, share)| (len, cut(share) + if len == most { left } else { 0 }))
}

/// Whether a shorter prefix of the table covers this one.
fn is_covered<K: crate::fib::Key>(prefix: Prefix<K>, table: &HashSet<Prefix<K>>) -> bool {
    (0..prefix.len).any(|len| table.contains(&prefix.shortened(len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_sum_to_the_whole() {
        for count in [0, 1, 1000, 123_457, 2_000_000] {
            let sum = |lengths, whole, most| -> usize {
                shares(lengths, whole, most, count)
                    .map(|(_, share)| share)
                    .sum()
            };
            assert_eq!(sum(&LENGTHS, ipv4::WHOLE, 24), count);
            assert_eq!(sum(&LENGTHS6, ipv6::WHOLE, 48), count);
        }
    }
}
