// SPDX-License-Identifier: BSD-2-Clause
//! Why an item did not go on its way, with words for people.

use core::fmt;

/// Why a queue did not take an item, or dropped one that it had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As many items are queued as the limit allows, or as there is room for.
    Packets,
    /// As many bytes are queued as the limit allows.
    Bytes,
    /// The queue takes nothing for now; what it has, it sends.
    Stopped,
    /// The queue is closed, or about to be.
    Closed,
    /// It was in the queue for too long, and others before it (RFC 8289).
    Sojourn,
}

impl Reason {
    /// All.
    pub const ALL: [Self; 5] = [
        Self::Packets,
        Self::Bytes,
        Self::Stopped,
        Self::Closed,
        Self::Sojourn,
    ];

    /// A word for it, as in the name of a counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Stopped => "stopped",
            Self::Closed => "closed",
            Self::Sojourn => "sojourn",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Packets => "the queue is full: packets",
            Self::Bytes => "the queue is full: bytes",
            Self::Stopped => "the queue is stopped",
            Self::Closed => "the queue is closed",
            Self::Sojourn => "queued for too long",
        })
    }
}

impl core::error::Error for Reason {}
