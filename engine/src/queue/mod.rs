// SPDX-License-Identifier: BSD-2-Clause
//! Queues.

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

pub use batch::{BATCH, Batch};
pub use codel::Codel;
pub use figures::Figures;
pub use item::{Item, Ticks, ticks};
pub use reason::Reason;
pub use set::{BUCKETS, Choice, MOST_QUEUES, MoveError, Moved, QueueSet, Sections};
pub use settings::{Service, Settings};
pub use tx::{InUse, Mark, Platform, Sink, TxQueue, Verdict};
pub use word::{CELL, Level};
