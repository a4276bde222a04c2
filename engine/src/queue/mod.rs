// SPDX-License-Identifier: BSD-2-Clause
//! Transmit queues, as objects: many threads submit, one at a time drains, and none waits
//! for another. Each can be listed, read and tuned while it runs.
//!
//! | what             | is                                                        | essay in     |
//! | ---------------- | --------------------------------------------------------- | ------------ |
//! | an [`Item`]      | what is queued: a pointer that owns, such as a packet     | `item.rs`    |
//! | a [`Batch`]      | up to 32 of them, the unit of work                        | `batch.rs`   |
//! | the ring         | bounded, of many producers; its consumer has the *role*   | `ring.rs`    |
//! | the word         | its tail, what it holds in bytes, and its flags           | `word.rs`    |
//! | a [`TxQueue`]    | a ring, a backend, and rules for who drains               | `tx.rs`      |
//! | [`Settings`]     | limits, watermarks, turns, service, CoDel                 | `settings.rs` |
//! | [`Figures`]      | what a queue counts, without lines that producers share   | `figures.rs` |
//! | [`Codel`]        | which items waited for too long (RFC 8289)                | `codel.rs`   |
//! | a [`QueueSet`]   | which queue a packet goes to, and how that changes        | `set.rs`     |
//! | [`Sink`], [`Platform`], [`Sections`] | the backend and the surroundings      | `tx.rs`, `set.rs` |
//!
//! # What holds
//!
//! - An item is in one place: with its submitter, in a ring, in a burst, with the backend. What
//!   a queue does not take stays in the caller's batch, with a [`Reason`].
//! - Items of one submitter come out in its order, and so do those of submitters of which
//!   one has returned before the other begins. Nothing is promised of others.
//! - While there is an item in a queue, somebody is obliged to take it out: a drainer, a
//!   producer that has claimed a place and not filled it, the worker that was woken, or the
//!   backend that said it was full.
//! - No thread spins or sleeps for another one. A drainer whose turn is over looks for
//!   another for about the time of a submission.
//!
//! `tests/queue_model.rs` holds these files to that in all interleavings;
//! `tests/queue_stress.rs` and `queue_set.rs` with real threads.

#[allow(unsafe_code)]
mod batch;
mod codel;
mod figures;
#[allow(unsafe_code)]
mod item;
mod reason;
#[allow(unsafe_code)]
mod ring;
#[allow(unsafe_code)]
mod role;
mod set;
mod settings;
mod sync;
mod tx;
mod word;

pub use batch::{BATCH, Batch, Drain};
pub use codel::Codel;
pub use figures::Figures;
pub use item::{Item, Ticks, ticks};
pub use reason::Reason;
pub use set::{BUCKETS, Choice, MOST_QUEUES, MoveError, Moved, QueueSet, Sections};
pub use settings::{Service, Settings};
pub use tx::{InUse, Mark, Platform, Sink, TxQueue, Verdict};
pub use word::{CELL, Level};
