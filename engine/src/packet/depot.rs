// SPDX-License-Identifier: BSD-2-Clause
//! What all CPUs share of one class of buffers: whole bundles of free ones, and
//! slabs. It is touched with the pool's lock held.
//!
//! A bundle needs no memory of its own: the first of its buffers has the addresses of
//! the others where its data would be. So freeing never allocates, and a bundle comes
//! and goes under the lock by one pointer.

use super::cache::{BUNDLE, Handful};
use super::layout::{Buffer, STRIDES, tag_area};
use super::slab::{Slab, Slabs, slab_buffers};
use core::ptr::NonNull;

// The others of a bundle have room behind the first one's header.
const _: () = assert!(super::layout::EMBEDDED + BUNDLE * size_of::<Buffer>() <= STRIDES[0]);

/// Free buffers of one class, packed: a pointer to the first.
pub(super) struct Bundle(Buffer);

impl Bundle {
    /// Packs what is in hand; `None` if that is nothing.
    ///
    /// # Safety
    ///
    /// The buffers are the caller's, free, and all of one class.
    pub(super) unsafe fn pack(mut buffers: Handful) -> Option<Self> {
        let first = buffers.pop()?;
        let others = buffers.as_slice();
        // SAFETY: they are the caller's; there is room, see above.
        unsafe {
            (*first.as_ptr()).others = others.len() as u8;
            let list = tag_area(first).cast::<Buffer>();
            list.copy_from_nonoverlapping(others.as_ptr(), others.len());
        }
        Some(Self(first))
    }

    /// The buffers, the first one last.
    pub(super) fn unpack(self) -> Handful {
        let Self(first) = self;
        let mut buffers = Handful::new();
        // SAFETY: of a bundle, which is the caller's; `pack` wrote them.
        unsafe {
            let list = tag_area(first).cast::<Buffer>();
            for index in 0..usize::from((*first.as_ptr()).others) {
                buffers.push(list.add(index).read());
            }
        }
        buffers.push(first);
        buffers
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: as in `unpack`.
        usize::from(unsafe { (*self.0.as_ptr()).others }).wrapping_add(1)
    }
}

/// Why there is nothing to be had.
pub(super) enum Empty {
    /// All buffers are issued: a slab is needed.
    Slabs,
    /// As many are issued as may be.
    Limit(usize),
}

/// One class of buffers.
pub(super) struct Depot {
    bundles: Option<Buffer>,
    slabs: Slabs,
    /// Slabs in all.
    slab_count: usize,
    class: usize,
    /// Buffers that are not here: in caches and in packets.
    issued: usize,
    /// The most that may be.
    limit: usize,
}

impl Depot {
    pub(super) const fn new(class: usize) -> Self {
        Self {
            bundles: None,
            slabs: Slabs::new(),
            slab_count: 0,
            class,
            issued: 0,
            limit: usize::MAX,
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn issued(&self) -> usize {
        self.issued
    }

    /// Buffers in all.
    pub(super) fn buffers(&self) -> usize {
        self.slab_count.wrapping_mul(slab_buffers(self.class))
    }

    /// Takes a bundle out, of no more buffers than the limit allows.
    pub(super) fn take(&mut self) -> Result<Bundle, Empty> {
        let most = match self.limit.saturating_sub(self.issued) {
            0 => return Err(Empty::Limit(self.limit)),
            most => most,
        };
        let bundle = self.pop(most).or_else(|| self.carve(most));
        let bundle = bundle.ok_or(Empty::Slabs)?;
        self.issued = self.issued.wrapping_add(bundle.len());
        Ok(bundle)
    }

    /// A bundle of slabs' buffers, `most` or fewer.
    fn carve(&mut self, most: usize) -> Option<Bundle> {
        let mut buffers = Handful::new();
        for _ in 0..most.min(BUNDLE) {
            // SAFETY: slabs of the list exist.
            let Some(buffer) = (unsafe { self.slabs.pop() }) else {
                break;
            };
            buffers.push(buffer);
        }
        // SAFETY: free, of this class, and out of the slabs.
        unsafe { Bundle::pack(buffers) }
    }

    /// A bundle of `most` buffers or fewer. One that has more is taken to pieces.
    fn pop(&mut self, most: usize) -> Option<Bundle> {
        let first = self.bundles?;
        let bundle = Bundle(first);
        // SAFETY: a bundle that is here.
        self.bundles = unsafe { (*first.as_ptr()).next };
        if bundle.len() <= most {
            return Some(bundle);
        }
        let mut rest = bundle.unpack();
        let mut part = Handful::new();
        while part.as_slice().len() < most {
            let Some(buffer) = rest.pop() else { break };
            part.push(buffer);
        }
        // SAFETY: parts of one bundle that was here.
        unsafe {
            if let Some(rest) = Bundle::pack(rest) {
                self.push(rest);
            }
            Bundle::pack(part)
        }
    }

    /// Takes a bundle in that counts as issued until it [has returned](Self::returned).
    pub(super) fn push(&mut self, bundle: Bundle) {
        // SAFETY: a bundle is its holder's, who gives it here.
        unsafe { (*bundle.0.as_ptr()).next = self.bundles };
        self.bundles = Some(bundle.0);
    }

    /// So many buffers are no longer issued.
    pub(super) fn returned(&mut self, count: usize) {
        self.issued = self.issued.wrapping_sub(count);
    }

    /// Takes a new slab in.
    ///
    /// # Safety
    ///
    /// It is new, and of this class.
    pub(super) unsafe fn add(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise.
        unsafe { self.slabs.insert(slab) };
        self.slab_count = self.slab_count.wrapping_add(1);
    }

    /// Puts the buffers of one bundle back into their slabs, or, if there is no bundle,
    /// takes out a slab of which nothing was ever taken: one that two threads got at the
    /// same time, when one would have done. `None` if there is neither; otherwise `empty` is called with each slab that came to be free as a
    /// whole, which is no longer the depot's.
    pub(super) fn dissolve(&mut self, mut empty: impl FnMut(NonNull<Slab>)) -> Option<()> {
        let Some(bundle) = self.pop(usize::MAX) else {
            // SAFETY: slabs of the list exist.
            let slab = unsafe { self.slabs.take_whole() }?;
            self.slab_count = self.slab_count.wrapping_sub(1);
            empty(slab);
            return Some(());
        };
        for &buffer in bundle.unpack().as_slice() {
            // SAFETY: a free buffer of this class.
            if let Some(slab) = unsafe { self.slabs.push(buffer) } {
                self.slab_count = self.slab_count.wrapping_sub(1);
                empty(slab);
            }
        }
        Some(())
    }
}
