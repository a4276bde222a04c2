// SPDX-License-Identifier: BSD-2-Clause
//! What is behind a ring's tokens: frames or buffers, each in one place.

use alloc::vec::Vec;

/// The order in which tokens were put: a list through their numbers.
///
/// # Invariants
/// Behind `first` there are, by `next`, all tokens that were put and not taken, up to `last`.
#[derive(Debug)]
pub(super) struct Turns {
    next: Vec<u16>,
    first: u16,
    last: u16,
}

impl Turns {
    /// For so many tokens. `None` if there is no memory.
    pub(super) fn new(count: u16) -> Option<Self> {
        Some(Self {
            next: filled(count.into(), || 0)?,
            first: 0,
            last: 0,
        })
    }

    /// A token that was put, and whether it is the only one.
    #[inline(always)]
    pub(super) fn put(&mut self, token: u16, is_only: bool) {
        match self.next.get_mut(usize::from(self.last)) {
            Some(next) if !is_only => *next = token,
            _ => self.first = token,
        }
        self.last = token;
    }

    /// Whether it is a token's turn. It goes on to the next if so.
    #[inline(always)]
    pub(super) fn take(&mut self, token: u16) -> bool {
        let is_first = token == self.first;
        if let Some(&next) = self.next.get(usize::from(token))
            && is_first
        {
            self.first = next;
        }
        is_first
    }
}

/// So many of what `make` makes. `None` if there is no memory.
fn filled<T>(count: usize, make: impl Fn() -> T) -> Option<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(count).ok()?;
    for place in vec.spare_capacity_mut().iter_mut().take(count) {
        place.write(make());
    }
    // SAFETY: at least `count` places were reserved, and the loop wrote to each.
    unsafe { vec.set_len(count) };
    Some(vec)
}

/// Things by token.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Option<T>>,
    used: u16,
}

impl<T> Slots<T> {
    /// So many places, empty. `None` if there is no memory.
    pub fn new(count: u16) -> Option<Self> {
        let places = filled(count.into(), || None)?;
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

    /// What is in a place.
    #[inline(always)]
    pub fn get(&self, token: u16) -> Option<&T> {
        self.places.get(usize::from(token))?.as_ref()
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

/// Things by token that are lent to a device: while they are not, they may stay in their places
/// until they are lent again.
///
/// # Invariants
/// `lent` places have a thing that is lent.
#[derive(Debug)]
pub(super) struct Loans<T> {
    places: Vec<Loan<T>>,
    lent: u16,
}

#[derive(Debug)]
struct Loan<T> {
    thing: Option<T>,
    is_lent: bool,
}

impl<T> Loans<T> {
    /// So many places, empty. `None` if there is no memory.
    pub(super) fn new(count: u16) -> Option<Self> {
        let empty = || Loan {
            thing: None,
            is_lent: false,
        };
        Some(Self {
            places: filled(count.into(), empty)?,
            lent: 0,
        })
    }

    /// Lends a thing. What has stayed in the place is dropped.
    ///
    /// # Errors
    /// The thing, if there is no such place or one is lent from it.
    #[inline]
    pub(super) fn lend(&mut self, token: u16, thing: T) -> Result<(), T> {
        match self.places.get_mut(usize::from(token)) {
            Some(place) if !place.is_lent => {
                *place = Loan {
                    thing: Some(thing),
                    is_lent: true,
                };
                self.lent = self.lent.wrapping_add(1);
                Ok(())
            }
            _ => Err(thing),
        }
    }

    /// What is lent from a place.
    #[inline(always)]
    pub(super) fn lent(&self, token: u16) -> Option<&T> {
        let place = self.places.get(usize::from(token))?;
        place.thing.as_ref().filter(|_| place.is_lent)
    }

    /// Takes back what is lent, out of its place.
    #[inline(always)]
    pub(super) fn take(&mut self, token: u16) -> Option<T> {
        let place = self.places.get_mut(usize::from(token))?;
        if !place.is_lent {
            return None;
        }
        place.is_lent = false;
        self.lent = self.lent.wrapping_sub(1);
        place.thing.take()
    }

    /// Takes back what is lent, and has it stay in its place.
    #[inline(always)]
    pub(super) fn keep(&mut self, token: u16) {
        if let Some(place) = self.places.get_mut(usize::from(token))
            && place.is_lent
        {
            place.is_lent = false;
            self.lent = self.lent.wrapping_sub(1);
        }
    }

    /// What has stayed in a place.
    #[inline(always)]
    pub(super) fn kept(&self, token: u16) -> Option<&T> {
        let place = self.places.get(usize::from(token))?;
        place.thing.as_ref().filter(|_| !place.is_lent)
    }

    /// Lends what has stayed in a place. False if nothing has.
    #[inline(always)]
    pub(super) fn lend_again(&mut self, token: u16) -> bool {
        match self.places.get_mut(usize::from(token)) {
            Some(place) if !place.is_lent && place.thing.is_some() => {
                place.is_lent = true;
                self.lent = self.lent.wrapping_add(1);
                true
            }
            _ => false,
        }
    }

    /// Takes out something that has stayed in a place, this one or the next behind it, and fits.
    #[cold]
    pub(super) fn take_kept(&mut self, from: u16, fits: impl Fn(&T) -> bool) -> Option<T> {
        let count = self.places.len();
        let is_kept = |place: &Loan<T>| !place.is_lent && place.thing.as_ref().is_some_and(&fits);
        let mut behind = usize::from(from)..count;
        let found = behind
            .find(|&at| self.places.get(at).is_some_and(is_kept))
            .or_else(|| (0..count).find(|&at| self.places.get(at).is_some_and(is_kept)));
        self.places.get_mut(found?)?.thing.take()
    }

    /// How many are lent.
    #[inline(always)]
    pub(super) fn used(&self) -> u16 {
        self.lent
    }

    /// Places.
    pub(super) fn count(&self) -> u16 {
        self.places.len() as u16
    }
}
