// SPDX-License-Identifier: BSD-2-Clause
//! Who keeps a buffer: the references to its data, and the tags inside it.
//!
//! Two words, for two questions. [`Refs`] counts who may read the data: 1 says that
//! its owner may write. In the kernel it is the mbufs' `ext_cnt`, counted with the
//! kernel's own atomics too, so it follows the rules of `mb_dupcl` and `mb_free_ext`
//! (kern/uipc_mbuf.c, kern/kern_mbuf.c): who finds 1 is alone and need not write; the
//! last one leaves 1 or 0 behind. [`Holds`] says what is still in use of the buffer:
//! the data, and each tag, since a tag may move to another packet (`m_move_pkthdr`)
//! and outlive the data. Were a tag one of the `Refs`, data with a tag would look
//! shared (`M_WRITABLE`) and be copied for nothing.
//!
//! The buffer goes back to its pool when `Holds` becomes 0. `tests/packet_model.rs`
//! compiles this file over a model of the C11 memory order.

use super::sync::{AtomicU32, Ordering};

/// The references to a buffer's data, 1 at least.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Refs(AtomicU32);

/// From here on a count is stuck: the buffer is never freed. Only references that are
/// leaked again and again lead here.
pub(super) const TOO_MANY: u32 = 1 << 31;
/// To where a stuck count is set: far from both ends.
const STUCK: u32 = 3 << 30;

impl Refs {
    /// So many.
    #[inline]
    pub(super) fn of(count: u32) -> Self {
        Self(AtomicU32::new(count))
    }

    /// Adds a reference to one that the caller has.
    #[inline]
    pub(super) fn add(&self) {
        if self.0.fetch_add(1, Ordering::Relaxed) >= TOO_MANY {
            self.0.store(STUCK, Ordering::Relaxed);
        }
    }

    /// Gives up the caller's reference. Whether it was the last; then all that others
    /// did with the data is done, and the count has no meaning any more.
    #[inline]
    pub(super) fn release(&self) -> bool {
        self.is_one() || self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether the caller has the only reference; then it stays so until he shares it,
    /// and all that others did with the data is done.
    #[inline]
    pub(super) fn is_one(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }
}

/// What is in use of a buffer: one bit for the data and one for each unit of the
/// tags' area.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Holds(AtomicU32);

/// The data's bit.
const DATA: u32 = 1 << 31;

impl Holds {
    /// The data only.
    #[inline]
    pub(super) fn data() -> Self {
        Self(AtomicU32::new(DATA))
    }

    /// Takes `count` units in a row of the first `of`, for a tag. The number of the
    /// first one; `None` if there is no room. By the data's owner only.
    #[inline]
    pub(super) fn take(&self, count: u32, of: u32) -> Option<u32> {
        let held = self.0.load(Ordering::Acquire);
        let last = of.checked_sub(count)?;
        if held == DATA {
            // Nobody else has anything of this buffer: nobody stores beside this.
            self.0.store(DATA | units(0, count), Ordering::Relaxed);
            return Some(0);
        }
        let first = (0..=last).find(|&first| held & units(first, count) == 0)?;
        self.0.fetch_or(units(first, count), Ordering::Relaxed);
        Some(first)
    }

    /// Gives a tag's units up. Whether the buffer is free now.
    #[inline]
    pub(super) fn give(&self, first: u32, count: u32) -> bool {
        let mask = units(first, count);
        self.release(mask)
    }

    /// Gives a tag's units up, by the data's owner, whose tag it is.
    #[inline]
    pub(super) fn give_own(&self, first: u32, count: u32) {
        let mask = units(first, count);
        if self.0.load(Ordering::Acquire) == DATA | mask {
            self.0.store(DATA, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!mask, Ordering::Relaxed);
        }
    }

    /// Gives the data up, after its last reference. Whether the buffer is free now.
    #[inline]
    pub(super) fn give_data(&self) -> bool {
        self.release(DATA)
    }

    #[inline]
    fn release(&self, mask: u32) -> bool {
        // Who finds only his own bits is alone, as with `Refs`.
        self.0.load(Ordering::Acquire) == mask || self.0.fetch_and(!mask, Ordering::AcqRel) == mask
    }
}

/// The bits of `count` units from `first` on. Both are below 31.
#[inline]
fn units(first: u32, count: u32) -> u32 {
    (1_u32.wrapping_shl(count).wrapping_sub(1)).wrapping_shl(first) & !DATA
}
