// SPDX-License-Identifier: BSD-2-Clause
//! Foreign bodies: bytes that are the platform's, carried by a packet and not copied.
//!
//! In the kernel a body is an mbuf chain of any shape. The packet that carries it is
//! a buffer of the smallest class: its own bytes come first, the chain's follow. So a
//! header is put before a chain in the packet's headroom, and *pulling up* moves
//! bytes from the front of the chain into the packet, where they are in one piece and
//! may be changed. The chain's bytes are only read here: who else may hold them is
//! known to the platform alone.

use core::fmt;
use core::ops::ControlFlow;
use core::ptr::NonNull;

/// What the platform can do with its chains. A chain is a pointer that only these
/// functions understand.
///
/// # Safety
///
/// A chain may be sent to any thread, and be read by several at once. [`walk`] shows
/// the same bytes each time, `len` minus `skip` of them; [`trim`] takes away from the
/// front as many as it is told. None of the functions keeps what it was given.
///
/// [`walk`]: ChainOps::walk
/// [`trim`]: ChainOps::trim
pub unsafe trait ChainOps: Sync {
    /// Shows the chain's bytes from the byte `skip` on, segment by segment, until all
    /// are shown or `see` breaks off.
    ///
    /// # Safety
    ///
    /// This and the others: `chain` is one of the platform's, not freed yet.
    unsafe fn walk(
        &self,
        chain: NonNull<()>,
        skip: usize,
        see: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    );

    /// Takes `count` bytes, no more than there are, from the front. Returns the chain
    /// that is left; it may have another address.
    ///
    /// # Safety
    ///
    /// `chain` is used no more, but the result.
    unsafe fn trim(&self, chain: NonNull<()>, count: usize) -> NonNull<()>;

    /// Another chain with the same bytes, which may be shared with this one. `None`
    /// if there is no memory for it.
    ///
    /// # Safety
    ///
    /// As for [`walk`](ChainOps::walk).
    unsafe fn duplicate(&self, chain: NonNull<()>) -> Option<NonNull<()>>;

    /// Gives the chain back.
    ///
    /// # Safety
    ///
    /// `chain` is used no more.
    unsafe fn free(&self, chain: NonNull<()>);
}

/// A chain of the platform's.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Chain {
    pub(super) at: NonNull<()>,
    /// A reference in a static: one word, where a `&dyn` has two.
    pub(super) ops: &'static &'static dyn ChainOps,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chain").field(&self.at).finish()
    }
}

impl Chain {
    /// Copies bytes from `skip` on into `out`. How many there were.
    pub(super) fn copy_out(&self, skip: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        self.walk(skip, &mut |segment| {
            let left = out.get_mut(done..).unwrap_or_default();
            done = done.wrapping_add(copy_front(segment, left));
            match done < out.len() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        done
    }

    pub(super) fn walk(&self, skip: usize, see: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
        // SAFETY: a `Chain` is made of a chain that its packet owns.
        unsafe { self.ops.walk(self.at, skip, see) }
    }
}

/// Copies as much of `from` as there is room for. How much that is.
pub(super) fn copy_front(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    if let (Some(from), Some(to)) = (from.get(..count), to.get_mut(..count)) {
        to.copy_from_slice(from);
    }
    count
}
