// SPDX-License-Identifier: BSD-2-Clause
//! What is behind a ring's tokens: frames or buffers, each in one place.

use alloc::vec::Vec;

/// Things by token.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Option<T>>,
    used: u16,
}

impl<T> Slots<T> {
    /// So many places, empty. `None` if there is no memory.
    pub fn new(count: u16) -> Option<Self> {
        let mut places = Vec::new();
        places.try_reserve_exact(count.into()).ok()?;
        for place in places.spare_capacity_mut().iter_mut().take(count.into()) {
            place.write(None);
        }
        // SAFETY: at least `count` places were reserved, and the loop wrote to each.
        unsafe { places.set_len(count.into()) };
        Some(Self { places, used: 0 })
    }

    /// Puts something in a place that is empty.
    ///
    /// # Errors
    /// The thing, if there is no such place or something is in it.
    #[inline(always)]
    pub fn put(&mut self, token: u16, thing: T) -> Result<(), T> {
        match self.places.get_mut(usize::from(token)) {
            Some(place @ None) => {
                *place = Some(thing);
                self.used = self.used.wrapping_add(1);
                Ok(())
            }
            _ => Err(thing),
        }
    }

    /// Takes out what is in a place.
    #[inline(always)]
    pub fn take(&mut self, token: u16) -> Option<T> {
        let thing = self.places.get_mut(usize::from(token))?.take()?;
        self.used = self.used.wrapping_sub(1);
        Some(thing)
    }

    /// Places that something is in.
    #[inline(always)]
    pub fn used(&self) -> u16 {
        self.used
    }

    /// Places.
    pub fn count(&self) -> u16 {
        self.places.len() as u16
    }
}
