// SPDX-License-Identifier: BSD-2-Clause
//! From the store that publishes a block to the block's next use: the orderings on
//! which a lookup beside a change stands, and the way of what it may still read.
//!
//! | who     | does                                          | so that               |
//! | ------- | --------------------------------------------- | --------------------- |
//! | writer  | writes a block, then [publishes](Place::publish) its number: release | |
//! | reader  | in a section [reads](Place::read) the number: acquire | the block is whole |
//! | writer  | publishes another number, then retires the block | readers to come find the other |
//! | writer  | [starts a period](turn) for what is retired | readers in sections are waited for |
//! | platform | ends the period when they have left: release | |
//! | writer  | [sees that](turn): acquire           | what they read, they have read |
//! | writer  | writes to the block again                     | |
//!
//! `tests/fib_model.rs` compiles this file and `grace.rs` a second time, over a model
//! of the C11 memory order, and runs them in all interleavings; with any of these
//! orderings weakened, or two of the steps exchanged, it has to find a fault.

use super::grace::{ELAPSED, Grace, IDLE, Period, RUNNING};
use super::sync::{AtomicU8, AtomicU32, Ordering};
use core::mem;
use core::ptr::NonNull;

/// A place from which readers take an answer, which may be a block's number. All its
/// bytes may be 0.
#[derive(Default)]
#[repr(transparent)]
pub(super) struct Place(AtomicU32);

impl Place {
    /// The answer, for a reader. A block whose number it is, and what that leads to,
    /// is whole.
    #[inline(always)]
    pub(super) fn read(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// The answer, for the writer, who published it.
    pub(super) fn own(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Lets readers find `answer` from now on. The writer's.
    pub(super) fn publish(&self, answer: u32) {
        self.0.store(answer, Ordering::Release);
    }
}

/// Blocks to which nothing published leads any more.
pub(super) trait Batch: Default {
    /// Whether there is none.
    fn is_empty(&self) -> bool;
}

/// What no reader is in any more, if a grace period has ended since the last turn.
/// Starts the next one if anything is `pending` and none runs: what waits for that is
/// `waiting` then. `state` is that of the periods that `grace` starts, and stays
/// where it is while one runs.
pub(super) fn turn<B: Batch>(
    state: &AtomicU8,
    pending: &mut B,
    waiting: &mut B,
    grace: &impl Grace,
) -> B {
    let mut ripe = B::default();
    if state.load(Ordering::Acquire) == ELAPSED {
        ripe = mem::take(waiting);
        state.store(IDLE, Ordering::Relaxed);
    }
    if !pending.is_empty() && state.load(Ordering::Relaxed) == IDLE {
        *waiting = mem::take(pending);
        state.store(RUNNING, Ordering::Relaxed);
        grace.start(Period::of(NonNull::from(state)));
    }
    ripe
}
