// SPDX-License-Identifier: BSD-2-Clause
//! How flows are spread over receive queues: a hash by Toeplitz's function with a key, the low
//! bits of which choose an entry of a table of queues (Microsoft, "Receive Side Scaling").

use crate::wire::toeplitz::KEY;
use bitflags::bitflags;
use core::fmt;

/// Entries of the table.
pub const TABLE: usize = 128;

/// Microsoft's key, of the RSS specification's verification suite: cards are shipped with it,
/// so what hashes in software with it has the same hash.
pub const DEFAULT_KEY: [u8; KEY] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

bitflags! {
    /// What is hashed. The first four are as VMXNET3 has them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Hashes: u8 {
        /// IPv4 addresses.
        const IPV4 = 1 << 0;
        /// And TCP ports.
        const TCP_IPV4 = 1 << 1;
        /// IPv6 addresses.
        const IPV6 = 1 << 2;
        /// And TCP ports.
        const TCP_IPV6 = 1 << 3;
        /// IPv4 addresses and UDP ports.
        const UDP_IPV4 = 1 << 4;
        /// IPv6 addresses and UDP ports.
        const UDP_IPV6 = 1 << 5;
    }
}

/// How flows are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The key.
    pub key: [u8; KEY],
    /// The queue of each hash.
    pub table: [u8; TABLE],
    /// What is hashed. Without the ports of UDP all fragments of a datagram stay together.
    pub hashes: Hashes,
}

impl Rss {
    /// Over so many queues by turns, with the usual key.
    pub fn even(queues: u16) -> Self {
        let queues = queues.clamp(1, TABLE as u16);
        let mut table = [0; TABLE];
        for (n, place) in (0_u16..).zip(&mut table) {
            *place = n.checked_rem(queues).unwrap_or(0) as u8;
        }
        Self {
            key: DEFAULT_KEY,
            table,
            hashes: Hashes::all() - Hashes::UDP_IPV4 - Hashes::UDP_IPV6,
        }
    }

    /// The queue of a hash.
    pub fn queue(&self, hash: u32) -> u16 {
        let entry = self.table.get(hash as usize & (TABLE - 1));
        entry.copied().unwrap_or(0).into()
    }
}

/// Bytes as hexadecimal numbers of two digits, with colons between.
pub struct KeyText<'k>(pub &'k [u8; KEY]);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            let colon = if n == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Reads what [`KeyText`] writes, also without the colons. `None` if it is anything else.
pub fn parse_key(text: &str) -> Option<[u8; KEY]> {
    let mut digits = text.chars().filter(|&c| c != ':').map(|c| c.to_digit(16));
    let mut key = [0; KEY];
    for byte in &mut key {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(key)
}

/// A table as numbers of queues with spaces between; what repeats itself is written once.
pub struct TableText<'t>(pub &'t [u8; TABLE]);

impl fmt::Display for TableText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = (0..=TABLE.ilog2()).map(|bits| 1_usize << bits);
        let repeats = |&len: &usize| {
            self.0
                .iter()
                .zip(self.0.iter().skip(len))
                .all(|(a, b)| a == b)
        };
        let len = lengths.into_iter().find(repeats).unwrap_or(TABLE);
        for (n, queue) in self.0.iter().take(len).enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{queue}")?;
        }
        Ok(())
    }
}

/// Reads a table: 1 to 128 numbers of queues, all below `queues`, which are repeated until the
/// table is full. `None` if it is anything else.
pub fn parse_table(text: &str, queues: u16) -> Option<[u8; TABLE]> {
    let mut table = [0; TABLE];
    let mut count = 0_usize;
    for word in text.split_ascii_whitespace() {
        let queue: u8 = word.parse().ok()?;
        if u16::from(queue) >= queues {
            return None;
        }
        *table.get_mut(count)? = queue;
        count = count.wrapping_add(1);
    }
    for at in count..TABLE {
        let from = at.checked_rem(count)?;
        let queue = table.get(from).copied()?;
        *table.get_mut(at)? = queue;
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let text = KeyText(&DEFAULT_KEY).to_string();
        assert!(text.starts_with("6d:5a:56:da:"));
        assert_eq!(parse_key(&text), Some(DEFAULT_KEY));
        assert_eq!(parse_key(&text.replace(':', "")), Some(DEFAULT_KEY));
        for wrong in [
            "",
            "6d:5a",
            "zz",
            &text[3..],
            &format!("{text}:00"),
            &format!("{text}0"),
        ] {
            assert_eq!(parse_key(wrong), None, "{wrong}");
        }
        let not_hex = text.replacen('6', "x", 1);
        assert_eq!(parse_key(&not_hex), None);
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        for queues in 1..=8 {
            let table = Rss::even(queues).table;
            let text = TableText(&table).to_string();
            assert_eq!(parse_table(&text, queues), Some(table), "{text}");
        }
        assert_eq!(TableText(&Rss::even(4).table).to_string(), "0 1 2 3");
        assert_eq!(TableText(&[3; TABLE]).to_string(), "3");
        let third = Rss::even(3).table;
        let text = TableText(&third).to_string();
        assert_eq!(text.split(' ').count(), TABLE);
    }

    #[test]
    fn a_short_table_is_repeated_and_a_wrong_one_refused() {
        let table = parse_table("0 0 0 1", 2).unwrap();
        assert_eq!(table.iter().filter(|&&queue| queue == 1).count(), 32);
        let all = parse_table(&"1 ".repeat(TABLE), 2);
        assert_eq!(all, Some([1; TABLE]));
        for wrong in [
            "",
            " ",
            "2",
            "0 2",
            "-1",
            "0,1",
            "x",
            &"0 ".repeat(TABLE + 1),
        ] {
            assert_eq!(parse_table(wrong, 2), None, "{wrong}");
        }
    }
}
