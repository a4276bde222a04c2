// SPDX-License-Identifier: BSD-2-Clause
//! A value with several owners, the last of whom drops it. `alloc`'s `Arc` panics where
//! there is no memory.

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use super::errno::Errno;
use super::memory::{boxed_in, try_box_made};

struct Counted<T> {
    owners: AtomicUsize,
    value: T,
}

/// One of the owners. There are as many as are made by hand: some for each thread or
/// queue, never near what the count can hold.
pub(crate) struct Shared<T> {
    counted: NonNull<Counted<T>>,
    of: PhantomData<Counted<T>>,
}

// SAFETY: what all owners reach is `Sync`, and the last one, on whichever thread, drops
// what is `Send`.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The first owner of what `make` returns, in memory of its own. Does not sleep.
    ///
    /// # Errors
    /// `ENOMEM`, or what `make` returned.
    #[inline(always)]
    pub(crate) fn made(make: impl FnOnce() -> Result<T, Errno>) -> Result<Self, Errno> {
        let counted = try_box_made(|| {
            Ok(Counted {
                owners: AtomicUsize::new(1),
                value: make()?,
            })
        })?;
        Ok(Self {
            counted: NonNull::from(Box::leak(counted)),
            of: PhantomData,
        })
    }

    /// The first owner of what `make` makes in a place of its own, for what is too large
    /// for a stack. Does not sleep by itself.
    ///
    /// # Errors
    /// `ENOMEM`, also if there was none for `make`.
    pub(crate) fn made_in(
        make: impl for<'p> FnOnce(&'p mut MaybeUninit<T>) -> Option<&'p mut T>,
    ) -> Result<Self, Errno> {
        let counted = boxed_in(|place: &mut MaybeUninit<Counted<T>>| {
            let at = place.as_mut_ptr();
            // SAFETY: fields of the place, which is borrowed; a reference to the value's
            // place as a `T` says that there is one.
            unsafe {
                let value = &mut *(&raw mut (*at).value).cast::<MaybeUninit<T>>();
                let made: *const T = make(value)?;
                if !ptr::eq(made, &raw const (*at).value) {
                    return None;
                }
                (&raw mut (*at).owners).write(AtomicUsize::new(1));
                Some(place.assume_init_mut())
            }
        })?;
        Ok(Self {
            counted: NonNull::from(Box::leak(counted)),
            of: PhantomData,
        })
    }

    /// Where the value is, as long as there is an owner.
    pub(super) fn address(&self) -> NonNull<T> {
        NonNull::from(&**self)
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: there until its last owner goes, of whom this is one.
        unsafe { self.counted.as_ref() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        self.counted().owners.fetch_add(1, Ordering::Relaxed);
        Self {
            counted: self.counted,
            of: PhantomData,
        }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().owners.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        fence(Ordering::Acquire);
        // SAFETY: leaked by `made`, and this was the last owner; what the others did with
        // the value is done, by the fence.
        drop(unsafe { Box::from_raw(self.counted.as_ptr()) });
    }
}
