// SPDX-License-Identifier: BSD-2-Clause
//! Longest-prefix match over tables that share what they have in common: many FIBs,
//! small and large, in all network stacks. Lookups run beside changes, without a lock.
//!
//! | what            | is                                                            | essay in    |
//! | --------------- | ------------------------------------------------------------- | ----------- |
//! | a table         | the routes of one FIB, as lookups need them: a root           | `table.rs` |
//! | a [`Store`]     | the pages and rows of all tables, each once                   | `store.rs`  |
//! | a page          | the answers of 256 slots, in as few cache lines as they allow | `page.rs`   |
//! | the heap        | the blocks that pages and rows are in, and their numbers      | `heap.rs`   |
//! | a [`Key`]       | an address of IPv4 or IPv6, and how it is taken to pieces     | `key.rs`    |
//! | a sweep         | the way from sorted routes to pages                           | `sweep.rs`  |
//! | [`classes`]     | what next hops are called, alike in all FIBs                  | `classes/mod.rs` |
//! | [`Weight`]      | what a table holds of its own, and of what is shared          | `weigh.rs`  |
//! | a place         | from where readers take a block's number; what they may still be in | `retire.rs` |
//! | [`Routes`]      | the routing information base, which a change asks             | `table.rs` |
//! | [`Memory`], [`Grace`], [`Lock`] | the platform                                  | `grace.rs`  |
//!
//! # Publication
//!
//! A change writes pages and rows where no reader can be, and makes them reachable
//! by a release store of their number or address into a place that readers load with
//! acquire. So what a reader reaches is whole. It stays as it is from then on, until
//! no reader can be in it: it is replaced, not edited, with the one exception of a
//! row's page numbers, which are atomics.
//!
//! A reader loads each place once. Its answer comes from one such place, or from that
//! and the default route's; that it was true at some moment of the lookup is shown at
//! the head of `table.rs`.
//!
//! # Retirement
//!
//! A block to which no table refers any more may be under a reader's feet still: it is
//! *retired*, and written to by nobody until each read section of that moment has
//! ended. Retired blocks are chained. When no grace period of the store runs, the
//! chain is set aside and the platform is asked for one ([`Grace::start`]). When the
//! platform calls [`Period::elapsed`], on whatever thread, one atomic byte changes and
//! no more: no lock, no list, no memory given back. Writers see the byte at their next
//! change, and give the chain back a part at a time. `tests/fib_model.rs` runs these
//! steps in all interleavings.
//!
//! # Who may touch what
//!
//! What readers reach is atomics, and blocks that are not written to while they may be
//! read; only shared references to it are ever made, so that a lookup on one CPU never
//! meets a `&mut` of the writer on another. Of each table there is one writer, which
//! `&mut` says; what tables share is touched with the store's lock held only.
//! Splitting a table lends both ends with lifetimes. Where lifetimes cannot tell it,
//! as for C that keeps a pointer, detaching a reader is the unsafe way.
//!
//! # Going away
//!
//! A table is dropped when no lookup in it can begin any more; its blocks are retired
//! as by any change. A store outlives its tables. A running grace period will write to
//! it, so whoever drops a store sees to it first that [`StoreFigures::pending`] is 0
//! and the platform's callbacks are through. A store that is dropped under a running
//! period gives nothing back: a leak, rather than a store to memory that is someone
//! else's by then.

#[allow(unsafe_code)]
mod buckets;
#[allow(unsafe_code)]
pub mod classes;
#[allow(unsafe_code)]
mod grace;
#[allow(unsafe_code)]
mod heap;
mod key;
#[allow(unsafe_code)]
mod owned;
#[allow(unsafe_code)]
mod page;
mod retire;
#[allow(unsafe_code)]
mod store;
#[allow(unsafe_code)]
mod sweep;
#[allow(unsafe_code)]
mod table;
mod weigh;

/// The processor's atomics; those of a model in `tests/fib_model.rs`.
mod sync {
    pub(super) use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
}

pub use grace::{Grace, Lock, Memory, Period};
pub use key::Key;
pub use store::Store;
pub use table::{Reader, Reader4, Reader6, Routes, Table, Table4, Table6, Writer};
pub use weigh::Weight;

use core::fmt;
use core::net::IpAddr;

/// Why a change was refused. The table is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibError {
    /// A prefix length that the family has not.
    PrefixLength {
        /// The length, in bits.
        plen: u8,
        /// The largest that is allowed.
        most: u8,
    },
    /// The prefix has bits set beyond its length.
    HostBits {
        /// The prefix as given.
        prefix: IpAddr,
        /// Its length, in bits.
        plen: u8,
    },
    /// Class 0 means "no route" and cannot be stored.
    ZeroClass,
    /// A class that the table cannot hold.
    ClassRange {
        /// The class.
        class: u32,
        /// The largest that is allowed.
        most: u32,
    },
    /// A route, of this prefix and length, came after one of a higher address.
    OutOfOrder {
        /// The prefix.
        prefix: IpAddr,
        /// Its length, in bits.
        plen: u8,
    },
    /// A change came before the dump of all routes had ended.
    Dumping,
    /// The platform had no memory to give at this moment.
    OutOfMemory,
}

impl fmt::Display for FibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PrefixLength { plen, most } => {
                write!(f, "prefix length {plen}, allowed are 0 to {most}")
            }
            Self::HostBits { prefix, plen } => {
                write!(f, "{prefix}/{plen} has bits set beyond its length")
            }
            Self::ZeroClass => f.write_str("class 0 means no route, allowed are 1 and up"),
            Self::ClassRange { class, most } => {
                write!(f, "class {class}, allowed are 1 to {most}")
            }
            Self::OutOfOrder { prefix, plen } => {
                write!(f, "{prefix}/{plen} after a route of a higher address")
            }
            Self::Dumping => f.write_str("the dump of all routes has not ended"),
            Self::OutOfMemory => f.write_str("no memory for a part of the table"),
        }
    }
}

impl core::error::Error for FibError {}

/// What one table of a [`Store`] holds of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// Routes, as the routing information base counted them at the last change.
    pub prefixes: usize,
    /// Bytes that no other table shares: the root, and what a flat table has.
    pub bytes: usize,
    /// Whether the table is flat: then lookups read no rows.
    pub is_flat: bool,
    /// Changes published since the table was made.
    pub generation: u64,
}

/// What a [`Store`] holds for all its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Pages, each counted once, however many tables share it.
    pub pages: usize,
    /// Rows, likewise; 256 bytes each.
    pub rows: usize,
    /// Pages and rows that no table refers to any more, and that running lookups
    /// may still read, or that were not given back yet.
    pub pending: usize,
    /// Bytes of pages and rows, pending ones included: what lookups read, beside
    /// the tables' roots.
    pub used: usize,
    /// Bytes obtained from [`Memory`] and not given back: these, the accounts of
    /// them, and what is free.
    pub bytes: usize,
}
