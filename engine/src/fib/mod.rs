// SPDX-License-Identifier: BSD-2-Clause
//! Longest-prefix match: which class of next hops a destination belongs to.
//!
//! Two engines. [`Table4`] is for many FIBs, small and large: pages of runs that all
//! tables of a [`Store`] share, made anew from the routing information base at each
//! change; its essay is at the head of `table4.rs`. [`Trie4`] keeps the routes
//! itself, for one table, and is told below.
//!
//! # The mechanism
//!
//! The trie is a path-compressed binary trie. A node stands for a prefix
//! (`key`, `len`); it carries a class, or 0 if it only joins two subtrees
//! (*glue*), and up to two children, which are longer prefixes that begin with
//! it and continue with a 0 or a 1 bit. A lookup walks from the root, which is
//! 0.0.0.0/0 and always there, towards the destination, and the last class it
//! saw is the answer. Lengths grow at each step, so a walk has at most 33 nodes.
//!
//! Invariants, true before and after each change:
//!
//! 1. A child's key begins with its parent's key, is longer, and its first bit
//!    after the parent's length names the side it hangs on.
//! 2. A node but the root has a class or two children.
//! 3. A node is the target of exactly one child pointer.
//! 4. A node's key and length never change while anyone may read it. Its class
//!    and children are atomics, stored to by the one writer only.
//!
//! # Publication
//!
//! A change builds what it needs out of sight and then makes **one** release
//! store, to a child pointer or to a class:
//!
//! | change                         | the store                                |
//! | ------------------------------ | ---------------------------------------- |
//! | prefix is there, or is glue    | its class                                |
//! | nothing on that side           | the side's pointer, to a new leaf        |
//! | prefix above the child there   | the pointer, to a new node over the child|
//! | prefix beside the child there  | the pointer, to glue over child and leaf |
//! | remove, two children           | its class, to 0: it is glue now          |
//! | remove, one child              | its pointer, to the child                |
//! | remove, leaf below glue        | the glue's pointer, to the leaf's sibling|
//! | remove, other leaf             | its pointer, to null                     |
//!
//! A reader loads with acquire, so a node it reaches is whole. After the store
//! the writer adds one to `generation`. A lookup reads `generation` before and
//! after its walk and walks again if the two differ. Here is why that makes each
//! answer one that was true while the lookup ran. Say both reads gave `j`. The
//! first one acquires changes 1 to `j`. The walk saw nothing of change `j + 2`,
//! for acquiring that store would have made `generation >= j + 1` visible to the
//! second read. So at most one change, `j + 1`, ran beside the walk; it is one
//! store to one place, and a walk reads no place twice: it saw the table either
//! wholly before that change or wholly after.
//!
//! Without the check a walk could mix: it passes 10/8 and reads class 1, the
//! writer sets 10/8 to 5 and then removes 10.1/16 (class 2), the walk finds no
//! 10.1/16 and answers 1 for 10.1.0.1, whose class was 2 and then 5, never 1.
//!
//! Readers are lock-free, not wait-free: a walk is repeated only if the writer
//! finished a change meanwhile.
//!
//! # Retirement
//!
//! A node that was taken out may be under a reader's feet. That reader is well:
//! nothing in the node is written to until every lookup that was running at the
//! time has ended, so its children still lead to nodes of the table as it was,
//! which for the same reason are whole; the answer from there is either still
//! true (that one change ran beside the walk) or is thrown away by the check of
//! `generation`.
//!
//! The writer chains nodes it took out into a *pending* list. When no grace
//! period is running, it makes that list the *waiting* batch and asks the
//! platform for a grace period ([`Grace::start`]). When the platform calls
//! [`Period::elapsed`], on whatever thread, one atomic byte changes and no more:
//! no lock, no list, no memory given back. The writer sees the byte at its next
//! change and splices the batch into its free list, in constant time.
//!
//! # Who may touch what
//!
//! The readers' half (root node, generation, figures, the byte above) is the
//! `Shared` block: an allocation of its own, all atomics, to which only shared
//! references are ever made. The writer's half is the owner, [`Trie4`], which
//! points to it. Thus a lookup on one CPU, which goes by a [`Reader`], never
//! refers to memory of which the writer on another CPU holds a `&mut`; nodes are
//! only borrowed shared, or written through a raw pointer while no other thread
//! can reach them.
//!
//! [`Trie4::split`] lends both halves with lifetimes. Where lifetimes cannot tell
//! it, as for C that keeps a pointer, [`Reader::detach`] is the unsafe way.
//!
//! # Going away
//!
//! A running grace period owns a pointer to the `Shared` block. To end a table,
//! call [`Trie4::abandon`] once no lookup can begin any more: [`Leave::Now`] says
//! drop it; [`Leave::WithPeriod`] says keep it, for the call of `elapsed` that is
//! to come will answer [`AfterGrace::Abandoned`], and who made that call drops it
//! then. A table that is dropped while a period runs gives nothing back: a leak,
//! rather than a store to memory that is someone else's by then.

#[allow(unsafe_code)]
mod arena;
#[allow(unsafe_code)]
mod buckets;
#[allow(unsafe_code)]
mod grace;
mod key;
#[allow(unsafe_code)]
mod owned;
#[allow(unsafe_code)]
mod page;
#[allow(unsafe_code)]
mod slab;
#[allow(unsafe_code)]
mod store;
#[allow(unsafe_code)]
mod sweep;
#[allow(unsafe_code)]
mod table4;
mod trie4;

pub use arena::Reader;
pub use grace::{AfterGrace, Grace, Leave, Lock, Memory, Period};
pub use key::Key;
pub use store::Store;
pub use table4::{Reader4, Routes, Table4, Writer4};
pub use trie4::{Trie4, Writer};

use core::fmt;

/// Why a change was refused. The table is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibError {
    /// The prefix length, which may be 0 to 32.
    PrefixLength(u8),
    /// The prefix (host order) has bits set beyond its length.
    HostBits {
        /// The prefix as given, in host order.
        prefix: u32,
        /// Its length, in bits.
        plen: u8,
    },
    /// Class 0 means "no route" and cannot be stored.
    ZeroClass,
    /// A class that a table cannot hold: allowed are 1 to 32,767.
    ClassRange(u32),
    /// A route, of this prefix and length, came after one of a higher address.
    OutOfOrder {
        /// The prefix, in host order.
        prefix: u32,
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
            Self::PrefixLength(plen) => write!(f, "prefix length {plen}, allowed are 0 to 32"),
            Self::HostBits { prefix, plen } => {
                let [a, b, c, d] = prefix.to_be_bytes();
                write!(f, "{a}.{b}.{c}.{d}/{plen} has bits set beyond its length")
            }
            Self::ZeroClass => f.write_str("class 0 means no route, allowed are 1 and up"),
            Self::ClassRange(class) => write!(f, "class {class}, allowed are 1 to 32767"),
            Self::OutOfOrder { prefix, plen } => {
                let [a, b, c, d] = prefix.to_be_bytes();
                write!(
                    f,
                    "{a}.{b}.{c}.{d}/{plen} after a route of a higher address"
                )
            }
            Self::Dumping => f.write_str("the dump of all routes has not ended"),
            Self::OutOfMemory => f.write_str("no memory for a node"),
        }
    }
}

impl core::error::Error for FibError {}

/// What a table holds. Read without a lock: beside a running change the numbers
/// may be those of neighbouring moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Prefixes that have a class.
    pub prefixes: usize,
    /// Nodes in the trie, glue included, the root (which is always there) not.
    pub nodes: usize,
    /// Nodes taken out, which running lookups may still read.
    pub pending: usize,
    /// Nodes ready for use again.
    pub free: usize,
    /// Bytes obtained from [`Memory`] and not given back.
    pub bytes: usize,
    /// Changes published since the table was made.
    pub generation: u64,
}

/// What one table of a [`Store`] holds of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// Routes, as the routing information base counted them at the last change.
    pub prefixes: usize,
    /// Bytes that no other table shares: the root, and what a flat table has.
    pub bytes: usize,
    /// Changes published since the table was made.
    pub generation: u64,
}

/// What a [`Store`] holds for all its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Pages, each counted once, however many tables share it.
    pub pages: usize,
    /// Rows, likewise.
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
