// SPDX-License-Identifier: BSD-2-Clause
//! Routing tables for tests and benchmarks: one generated with the shape of the
//! Internet's, or one read from text.
//!
//! The shape is that of a full table as a transit provider saw it in October
//! 2025, of about 900,000 IPv4 prefixes: the share of each prefix length; half of
//! the prefixes inside a shorter one of the table; six of ten directly after a
//! neighbour of the same length.

use super::naive::mask;
use super::random::{Random, mix};
use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead};
use std::str::FromStr;

/// How many of 100,000 prefixes have each length. Lengths not named have none.
pub const LENGTHS: [(u8, usize); 25] = [
    (8, 2),
    (9, 1),
    (10, 4),
    (11, 10),
    (12, 35),
    (13, 65),
    (14, 130),
    (15, 230),
    (16, 1_500),
    (17, 900),
    (18, 1_500),
    (19, 2_800),
    (20, 4_700),
    (21, 5_600),
    (22, 12_000),
    (23, 10_700),
    (24, 59_700),
    (25, 4),
    (26, 2),
    (27, 2),
    (28, 4),
    (29, 4),
    (30, 3),
    (31, 4),
    (32, 100),
];

/// What the counts of [`LENGTHS`] sum to.
const WHOLE: usize = 100_000;

/// Of 100 prefixes, how many directly follow another of their length.
const ADJACENT_PERCENT: usize = 62;
/// Of 100 that do not, how many are put inside a shorter prefix.
const NESTED_PERCENT: usize = 56;
/// How often an address outside all shorter prefixes is looked for.
const DRAWS: usize = 16;

/// An IPv4 prefix: an address in host order, with no bit set beyond the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The first address.
    pub address: u32,
    /// The length, 0 to 32 bits.
    pub len: u8,
}

impl Prefix {
    /// Whether the address is in the prefix.
    pub fn covers(&self, address: u32) -> bool {
        address & mask(self.len) == self.address
    }

    /// A random address in the prefix.
    pub fn address_in(&self, random: &mut Random) -> u32 {
        self.address | (random.bits() as u32 & !mask(self.len))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", std::net::Ipv4Addr::from(self.address), self.len)
    }
}

impl FromStr for Prefix {
    type Err = String;

    /// Reads "192.0.2.0/24". The error says what is wrong with the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, len) = text.split_once('/').ok_or("no '/' and length")?;
        let address: std::net::Ipv4Addr = address
            .parse()
            .map_err(|_| format!("'{address}' is no IPv4 address"))?;
        let len: u8 = len
            .parse()
            .ok()
            .filter(|&len| len <= 32)
            .ok_or_else(|| format!("length '{len}', allowed are 0 to 32"))?;
        let address = u32::from(address);
        if address & !mask(len) != 0 {
            return Err(String::from("bits set beyond the length"));
        }
        Ok(Self { address, len })
    }
}

/// Generates `count` different prefixes (up to about two million) with the
/// Internet's shape, sorted. The same seed gives the same table.
pub fn generate(count: usize, seed: u64) -> Vec<Prefix> {
    let mut random = Random::new(seed);
    let mut seen = HashSet::with_capacity(count);
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(count);
    for (len, share) in shares(count) {
        let shorter = prefixes.len();
        let mut last = None;
        while prefixes.len() < shorter + share {
            let prefix = match last {
                Some(last) if random.percent(ADJACENT_PERCENT) => successor(last),
                _ if random.percent(NESTED_PERCENT) => {
                    inside(&mut random, len, &prefixes[..shorter])
                }
                _ => outside(&mut random, len, &seen),
            };
            let new = is_unicast(prefix) && seen.insert(prefix);
            last = new.then_some(prefix);
            prefixes.extend(last);
        }
    }
    prefixes.sort_unstable();
    prefixes
}

/// How many of `count` prefixes have each length: cut down to whole numbers,
/// with what is left over added to the most frequent length.
fn shares(count: usize) -> impl Iterator<Item = (u8, usize)> {
    let cut = move |share: usize| count * share / WHOLE;
    let left: usize = count - LENGTHS.iter().map(|&(_, share)| cut(share)).sum::<usize>();
    LENGTHS
        .iter()
        .map(move |&(len, share)| (len, cut(share) + if len == 24 { left } else { 0 }))
}

/// The prefix of the same length that follows.
fn successor(prefix: Prefix) -> Prefix {
    Prefix {
        address: prefix
            .address
            .wrapping_add(!mask(prefix.len))
            .wrapping_add(1),
        ..prefix
    }
}

/// A prefix of the length in one of the shorter ones, or anywhere if there is none.
fn inside(random: &mut Random, len: u8, shorter: &[Prefix]) -> Prefix {
    let around = random
        .pick(shorter)
        .copied()
        .unwrap_or(Prefix { address: 0, len: 0 });
    Prefix {
        address: around.address_in(random) & mask(len),
        len,
    }
}

/// A prefix of the length that none of the table covers, if a few draws find one.
fn outside(random: &mut Random, len: u8, table: &HashSet<Prefix>) -> Prefix {
    let mut draw = || Prefix {
        address: random.bits() as u32 & mask(len),
        len,
    };
    let first = draw();
    let mut draws = std::iter::once(first)
        .chain(std::iter::repeat_with(draw))
        .take(DRAWS);
    draws
        .find(|&prefix| is_unicast(prefix) && !is_covered(prefix, table))
        .unwrap_or(first)
}

/// Whether a shorter prefix of the table covers this one.
fn is_covered(prefix: Prefix, table: &HashSet<Prefix>) -> bool {
    (0..prefix.len).any(|len| {
        table.contains(&Prefix {
            address: prefix.address & mask(len),
            len,
        })
    })
}

/// Whether the Internet could route it: 1/8 to 223/8, without 10/8 and 127/8.
fn is_unicast(prefix: Prefix) -> bool {
    !matches!(prefix.address >> 24, 0 | 10 | 127 | 224..)
}

/// The rule that gives a prefix its class, which stands for a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHops {
    /// By the covering /12: neighbours tend to share a next hop, as they do where
    /// a few peers each announce large parts of the address space.
    Clustered {
        /// How many classes there are; 0 counts as 1.
        classes: u32,
        /// Different salts make different tables.
        salt: u64,
    },
    /// By the prefix itself: no neighbour tells anything about another. Harder to
    /// compress than any real table.
    Random {
        /// How many classes there are; 0 counts as 1.
        classes: u32,
        /// Different salts make different tables.
        salt: u64,
    },
}

impl NextHops {
    /// The class of a prefix, from 1 to the number of classes.
    pub fn class(&self, prefix: Prefix) -> u32 {
        let (classes, key) = match *self {
            Self::Clustered { classes, salt } => {
                (classes, mix(u64::from(prefix.address >> 20) ^ mix(salt)))
            }
            Self::Random { classes, salt } => (
                classes,
                mix((u64::from(prefix.address) << 8 | u64::from(prefix.len)) ^ mix(salt)),
            ),
        };
        (key % u64::from(classes.max(1))) as u32 + 1
    }
}

/// A table as read from text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The IPv4 prefixes, in the text's order.
    pub prefixes: Vec<Prefix>,
    /// How many IPv6 prefixes there were; they are not kept.
    pub ipv6: usize,
}

/// Why a text is no routing table.
#[derive(Debug)]
pub enum TextError {
    /// It could not be read.
    Io(io::Error),
    /// A line is not a prefix.
    Line {
        /// Its number, from 1.
        number: usize,
        /// The line.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line {
                number,
                text,
                reason,
            } => write!(f, "line {number}, '{text}': {reason}"),
        }
    }
}

impl std::error::Error for TextError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Line { .. } => None,
        }
    }
}

/// Reads a table of one prefix a line. Empty lines, and what follows a '#', are
/// passed over. IPv6 prefixes are checked and counted.
pub fn read(text: impl BufRead) -> Result<Text, TextError> {
    let mut table = Text::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.map_err(TextError::Io)?;
        let prefix = line.split('#').next().unwrap_or_default().trim();
        let result = match prefix {
            "" => Ok(()),
            ipv6 if ipv6.contains(':') => check_ipv6(ipv6).map(|()| table.ipv6 += 1),
            ipv4 => ipv4.parse().map(|prefix| table.prefixes.push(prefix)),
        };
        result.map_err(|reason| TextError::Line {
            number: index + 1,
            text: line.clone(),
            reason,
        })?;
    }
    Ok(table)
}

fn check_ipv6(text: &str) -> Result<(), String> {
    let (address, len) = text.split_once('/').ok_or("no '/' and length")?;
    let _: std::net::Ipv6Addr = address
        .parse()
        .map_err(|_| format!("'{address}' is no IPv6 address"))?;
    match len.parse::<u8>() {
        Ok(0..=128) => Ok(()),
        _ => Err(format!("length '{len}', allowed are 0 to 128")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shares_sum_to_the_whole() {
        assert_eq!(
            LENGTHS.iter().map(|&(_, share)| share).sum::<usize>(),
            WHOLE
        );
        for count in [0, 1, 1000, 123_457] {
            assert_eq!(shares(count).map(|(_, share)| share).sum::<usize>(), count);
        }
    }

    #[test]
    fn has_the_shape_of_the_internet() {
        const COUNT: usize = 100_000;
        let table = generate(COUNT, 1);
        let set: HashSet<_> = table.iter().copied().collect();
        assert_eq!(set.len(), COUNT);
        for (len, share) in LENGTHS {
            assert_eq!(
                table.iter().filter(|prefix| prefix.len == len).count(),
                share,
                "/{len}"
            );
        }
        let nested = table
            .iter()
            .filter(|&&prefix| is_covered(prefix, &set))
            .count();
        assert!(
            (40_000..60_000).contains(&nested),
            "{nested} of {COUNT} nested"
        );
        let before = |prefix: &Prefix| Prefix {
            address: prefix
                .address
                .wrapping_sub(!mask(prefix.len))
                .wrapping_sub(1),
            ..*prefix
        };
        let adjacent = table
            .iter()
            .filter(|prefix| set.contains(&before(prefix)))
            .count();
        assert!(
            (50_000..70_000).contains(&adjacent),
            "{adjacent} of {COUNT} adjacent"
        );
    }

    #[test]
    fn a_seed_is_a_table() {
        assert_eq!(generate(500, 7), generate(500, 7));
        assert_ne!(generate(500, 7), generate(500, 8));
    }

    #[test]
    fn neighbours_share_clustered_next_hops() {
        let table = generate(10_000, 1);
        let shared = |rule: NextHops| {
            table
                .windows(2)
                .filter(|pair| rule.class(pair[0]) == rule.class(pair[1]))
                .count()
        };
        assert!(
            shared(NextHops::Clustered {
                classes: 64,
                salt: 0
            }) > 6_000
        );
        assert!(
            shared(NextHops::Random {
                classes: 64,
                salt: 0
            }) < 400
        );
        let rule = NextHops::Random {
            classes: 3,
            salt: 9,
        };
        let classes: HashSet<_> = table.iter().map(|&prefix| rule.class(prefix)).collect();
        assert_eq!(classes, HashSet::from([1, 2, 3]));
        assert_eq!(
            NextHops::Clustered {
                classes: 0,
                salt: 0
            }
            .class(table[0]),
            1
        );
    }

    #[test]
    fn text_may_have_comments_and_ipv6() {
        let text = "# a table\n0.0.0.0/0\n\n 192.0.2.0/24 # documentation\n2001:db8::/32\n255.255.255.255/32\n";
        let table = read(text.as_bytes()).unwrap();
        let lens: Vec<_> = table.prefixes.iter().map(|prefix| prefix.len).collect();
        assert_eq!((lens, table.ipv6), (vec![0, 24, 32], 1));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, reason) in [
            ("192.0.2.1/24", "bits set beyond the length"),
            ("192.0.2.0/33", "length '33', allowed are 0 to 32"),
            ("192.0.2/24", "'192.0.2' is no IPv4 address"),
            ("192.0.2.0", "no '/' and length"),
            ("2001:db8::/129", "length '129', allowed are 0 to 128"),
            ("2001:db8:::/32", "'2001:db8:::' is no IPv6 address"),
        ] {
            let error = read(format!("10.0.0.0/8\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("line 2, '{line}': {reason}"));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address: u32, len in 0u8..=32) {
            let prefix = Prefix { address: address & mask(len), len };
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f:./#\n -]{0,80}") {
            let _ = read(text.as_bytes());
        }
    }
}
