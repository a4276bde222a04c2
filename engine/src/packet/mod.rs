// SPDX-License-Identifier: BSD-2-Clause
//! Packets: one allocation each, metadata inside, and pools that they come from.
//!
//! | what             | is                                                          | essay in    |
//! | ---------------- | ----------------------------------------------------------- | ----------- |
//! | a [`Packet`]     | one buffer, by a pointer; [`Writable`] or [`Shared`]        | `packet.rs` |
//! | a buffer         | header, tags, headroom and data, in one of a few sizes      | `layout.rs` |
//! | [`Meta`]         | what was parsed of it, or is asked for                      | `meta.rs`   |
//! | a [`Tag`]        | typed data that travels along, in the kernel's own format   | `tag.rs`    |
//! | a body           | a chain of the platform's that a packet carries, uncopied   | `body.rs`   |
//! | a [`Batch`]      | packets in order, the unit of work                          | `batch.rs`  |
//! | a raw buffer     | what the platform makes of one: an mbuf                     | `raw.rs`    |
//! | a [`Pool`]       | where packets come from and go back to                      | `pool.rs`   |
//! | a cache          | free buffers at one CPU's hand                              | `cache.rs`  |
//! | the depot        | what all CPUs share: bundles of 32, and slabs               | `depot.rs`, `slab.rs` |
//! | [`Cpus`], [`Memory`](crate::fib::Memory), [`Lock`](crate::fib::Lock) | the platform | `cpus.rs` |
//!
//! # Why memory is safe here
//!
//! A buffer is free, or in use. A free one belongs to whoever has it: a slab or a
//! bundle, with the pool's lock held; a cache, on its CPU; a handful, in some thread's
//! hand on the way between them. Nobody else has a pointer to it.
//!
//! One in use belongs to references to its data, and to tags inside it. `count.rs`
//! counts both. The one reference of a `Packet<Writable>` may write to the data, to
//! the metadata and to the list of tags; there is no way from there to a second one
//! but `share`, which ends the right to write. All references of a `Packet<Shared>`
//! read. It becomes `Writable` when an acquire load finds the count at 1, which the
//! others left by a release. The last reference frees the body, then the packet's
//! tags, then gives up the data. Who clears the last bit of what is in use, the data
//! or the last tag that had moved away, gives the buffer back to the pool.
//!
//! No reference to a whole header is ever made: its first bytes, and the sixteen at
//! its end, may be in C's hands (`layout.rs`).
//!
//! A pool does not count references to itself. Its core stays until
//! [`Pool::close`] has seen that no buffer is out; a pool that is dropped otherwise
//! stays for ever. All bytes of a slab are set when it is made, so old bytes of a data
//! area are old, never undefined.

#[allow(unsafe_code)]
mod batch;
#[allow(unsafe_code)]
mod body;
#[allow(unsafe_code)]
mod cache;
#[allow(unsafe_code)]
mod copy;
mod count;
#[allow(unsafe_code)]
mod cpus;
#[allow(unsafe_code)]
mod depot;
#[allow(unsafe_code)]
mod figures;
#[allow(unsafe_code)]
mod layout;
mod meta;
#[allow(unsafe_code, clippy::module_inception)]
mod packet;
#[allow(unsafe_code)]
mod pool;
#[allow(unsafe_code)]
mod queued;
#[allow(unsafe_code)]
mod raw;
#[allow(unsafe_code)]
mod slab;
#[allow(unsafe_code)]
mod tag;

/// The processor's atomics; those of a model in `tests/packet_model.rs`.
mod sync {
    pub(super) use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
}

pub use batch::{Batch, Drain};
pub use body::ChainOps;
pub use cache::BUNDLE;
pub use copy::CopyError;
pub use cpus::Cpus;
pub use figures::{ClassFigures, PoolFigures};
pub use layout::{CLASSES, EMBEDDED, ENGINE_FROM, ENGINE_TO, HEADROOM, LINE, LONGEST, STRIDES};
pub use meta::{Flags, HashKind, Meta, Segmentation};
pub use packet::{Packet, Shared, State, Writable};
pub use pool::{Pool, StillOut};
pub use raw::{end_of_data, free_tags};
pub use tag::{Entry, Tag, TagsFull};

use core::fmt;

/// Why there was no buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocError {
    /// No class has buffers for so many bytes.
    TooLong {
        /// The bytes.
        len: usize,
        /// The most for which there are.
        most: usize,
    },
    /// As many buffers of the class are in use, or in caches, as may be.
    ClassLimit {
        /// How many.
        most: usize,
    },
    /// The pool holds as much memory as it may.
    PoolLimit {
        /// How many bytes.
        most: usize,
    },
    /// The platform had no memory to give at this moment.
    NoMemory,
}

impl AllocError {
    /// How many reasons there are.
    pub const REASONS: usize = 4;

    /// The reason's number, below [`REASONS`](AllocError::REASONS).
    pub const fn index(self) -> usize {
        match self {
            Self::TooLong { .. } => 0,
            Self::ClassLimit { .. } => 1,
            Self::PoolLimit { .. } => 2,
            Self::NoMemory => 3,
        }
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, most } => write!(f, "{len} bytes, allowed are 0 to {most}"),
            Self::ClassLimit { most } => {
                write!(
                    f,
                    "{most} buffers of the class are in use, and no more allowed"
                )
            }
            Self::PoolLimit { most } => write!(f, "the pool holds the {most} bytes that it may"),
            Self::NoMemory => f.write_str("no memory for buffers"),
        }
    }
}

impl core::error::Error for AllocError {}

/// There is not so much room in the packet's buffer. The packet is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes for which room is needed.
    pub needs: usize,
    /// Bytes for which there is.
    pub room: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes do not fit into {}", self.needs, self.room)
    }
}

impl core::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use super::count::{Holds, Refs, TOO_MANY};

    #[test]
    fn a_count_that_ran_away_is_stuck() {
        let refs = Refs::of(TOO_MANY - 1);
        for _ in 0..3 {
            refs.add();
        }
        assert!((0..100).all(|_| !refs.release()), "it was freed");
    }

    #[test]
    fn units_are_taken_where_there_is_room() {
        let holds = Holds::data();
        assert_eq!(holds.take(9, 8), None);
        assert_eq!(holds.take(3, 8), Some(0));
        assert_eq!(holds.take(3, 8), Some(3));
        assert_eq!(holds.take(3, 8), None);
        assert_eq!(holds.take(2, 8), Some(6));
        holds.give_own(0, 3);
        assert_eq!(holds.take(2, 8), Some(0));
        assert!(!holds.give(3, 3) && !holds.give_data());
        assert!(!holds.give(0, 2), "two are left");
        assert!(holds.give(6, 2), "and none");
    }
}
