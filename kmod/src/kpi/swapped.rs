// SPDX-License-Identifier: BSD-2-Clause
//! A value that is read in the network epoch and replaced as a whole, also by who may not
//! sleep: what was replaced is dropped later, by who may.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::context::{NetEpoch, Sleepable};
use super::epoch::NetEpochs;
use super::memory::try_box;
use weft_engine::queue::Sections;

struct Node<T> {
    value: T,
    /// Another that was replaced, if this one was.
    next: *mut Node<T>,
}

/// A place for one value at a time.
///
/// # Invariants
/// `current` is a node of this value's own, or null; from `retired` on there is a list of
/// others.
pub(crate) struct Swapped<T> {
    current: AtomicPtr<Node<T>>,
    retired: AtomicPtr<Node<T>>,
}

// SAFETY: nodes are owned like boxes; readers share them.
unsafe impl<T: Send + Sync> Sync for Swapped<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Swapped<T> {}

impl<T: Send + Sync> Swapped<T> {
    /// With nothing in it.
    pub(crate) const fn nothing() -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            retired: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value, for as long as the epoch lasts.
    #[inline]
    pub(crate) fn get<'e>(&'e self, _epoch: &NetEpoch<'e>) -> Option<&'e T> {
        let node = self.current.load(Ordering::Acquire);
        // SAFETY: a node that was published, and that is not freed before the end of the
        // epoch, nor before the end of the borrow. Beside the value, nothing is borrowed.
        (!node.is_null()).then(|| unsafe { &(*node).value })
    }

    /// Puts another value in; gives it back if there is no memory. Does not sleep.
    pub(crate) fn replace(&self, value: T) -> Result<(), T> {
        let next = ptr::null_mut();
        let node = try_box(Node { value, next }).map_err(|node| node.value)?;
        self.retire(self.current.swap(Box::into_raw(node), Ordering::AcqRel));
        Ok(())
    }

    /// Takes the value out. Does not sleep.
    pub(crate) fn clear(&self) {
        self.retire(self.current.swap(ptr::null_mut(), Ordering::AcqRel));
    }

    fn retire(&self, node: *mut Node<T>) {
        if node.is_null() {
            return;
        }
        let mut first = self.retired.load(Ordering::Relaxed);
        loop {
            // SAFETY: taken out of `current`, so this thread's alone but for readers of
            // the value.
            unsafe { (&raw mut (*node).next).write(first) };
            let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
            match self
                .retired
                .compare_exchange_weak(first, node, release, relaxed)
            {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Drops what was replaced, once nobody reads it.
    pub(crate) fn reap(&self, _sleepable: &mut Sleepable) {
        let first = self.retired.swap(ptr::null_mut(), Ordering::Acquire);
        if !first.is_null() {
            NetEpochs.wait();
        }
        // SAFETY: a list that was taken out as a whole; readers of its values have left.
        unsafe { drop_list(first) };
    }
}

/// # Safety
/// The list is the caller's alone.
unsafe fn drop_list<T>(mut node: *mut Node<T>) {
    while !node.is_null() {
        // SAFETY: made by `try_box`, and the caller's.
        let owned = unsafe { Box::from_raw(node) };
        node = owned.next;
    }
}

impl<T> Drop for Swapped<T> {
    /// Nobody reads any more, as the borrow says.
    fn drop(&mut self) {
        // SAFETY: nodes of this value's own; a current one has no next.
        unsafe {
            drop_list(*self.current.get_mut());
            drop_list(*self.retired.get_mut());
        }
    }
}
