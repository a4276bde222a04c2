// SPDX-License-Identifier: BSD-2-Clause
//! Queues.

#[allow(unsafe_code)]
mod batch;
#[allow(unsafe_code)]
mod item;
#[allow(unsafe_code)]
mod ring;
#[allow(unsafe_code)]
mod role;
mod sync;
mod word;

pub use batch::{BATCH, Batch};
pub use item::{Item, Ticks, ticks};
pub use word::{CELL, Level};
