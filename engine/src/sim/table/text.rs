// SPDX-License-Identifier: BSD-2-Clause
//! A routing table as text.

use super::{Prefix, Prefix6};
use std::fmt;
use std::io::{self, BufRead};

/// A table as read from text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// The IPv4 prefixes, in the text's order.
    pub prefixes: Vec<Prefix>,
    /// The IPv6 prefixes, likewise.
    pub prefixes6: Vec<Prefix6>,
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

/// Reads a table of one prefix a line, of either family. Empty lines, and what follows a '#', are
/// passed over.
pub fn read(text: impl BufRead) -> Result<Text, TextError> {
    let mut table = Text::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.map_err(TextError::Io)?;
        let prefix = line.split('#').next().unwrap_or_default().trim();
        let result = match prefix {
            "" => Ok(()),
            ipv6 if ipv6.contains(':') => ipv6.parse().map(|prefix| table.prefixes6.push(prefix)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_may_have_comments_and_both_families() {
        let text = "# a table\n0.0.0.0/0\n\n 192.0.2.0/24 # documentation\n2001:db8::/32\n255.255.255.255/32\n";
        let table = read(text.as_bytes()).unwrap();
        let lens: Vec<_> = table.prefixes.iter().map(|prefix| prefix.len).collect();
        assert_eq!(lens, [0, 24, 32]);
        assert_eq!(table.prefixes6, ["2001:db8::/32".parse().unwrap()]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, reason) in [
            ("192.0.2.1/24", "bits set beyond the length"),
            ("192.0.2.0/33", "length '33', allowed are 0 to 32"),
            ("192.0.2/24", "'192.0.2' is no IPv4 address"),
            ("192.0.2.0", "no '/' and length"),
            ("2001:db8::/129", "length '129', allowed are 0 to 128"),
            ("2001:db8::1/32", "bits set beyond the length"),
            ("2001:db8:::/32", "'2001:db8:::' is no IPv6 address"),
        ] {
            let error = read(format!("10.0.0.0/8\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("line 2, '{line}': {reason}"));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f:./#\n -]{0,80}") {
            let _ = read(text.as_bytes());
        }
    }
}
