// SPDX-License-Identifier: BSD-2-Clause
//! One table's way from classes to next hops, and its writer's way back.

use super::ClassError;
use super::array::Array;
use super::clock::{Clock, Time};
use super::dictionary::Dictionary;
use super::identity::Identity;
use crate::fib::{Grace, Lock, Memory};
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

/// The fewest entries of a map.
const FEWEST: u32 = 16;
/// Bindings out of use that one call looks at, at most.
const SETTLED_AT_ONCE: u32 = 64;

/// The readers' half: from a class to the table's own next hop.
///
/// Entry 0 is the default route's. It has no memory of its own: that is the
/// [`Bindings`]', with which it is made and used.
pub struct NextHops<T> {
    entries: AtomicPtr<AtomicPtr<T>>,
}

impl<T> NextHops<T> {
    /// The next hop of a class: that for which the writer bound it, when the class
    /// was found in the table. Null where the entry of class 0 is asked for and
    /// there is no default route.
    ///
    /// Two loads; no lock, any thread.
    ///
    /// # Safety
    ///
    /// The class is 0, or was found, in the read section that goes on, in a table
    /// whose classes come from the [`Bindings`] of this map, which live.
    #[inline(always)]
    pub unsafe fn get(&self, class: u32) -> *mut T {
        let entries = self.entries.load(Ordering::Acquire);
        // SAFETY: a map has an entry 0 from the beginning, and one for each class
        // from before it was bound; the caller found the class after that.
        unsafe { (*entries.add(class as usize)).load(Ordering::Acquire) }
    }
}

/// What stands in memory before the entries of a map.
#[repr(C)]
struct Head {
    /// The next map that waits to be given back.
    next: *mut Head,
    /// When no reader has this map any more.
    free_at: Time,
    entries: u32,
}

/// What the platform's index of a next hop is bound to. All its bytes may be 0.
struct Binding<T> {
    next_hop: *mut T,
    /// 0: not bound.
    class: u32,
    /// Routes, and what else the caller counts.
    uses: u32,
    /// When lookups have forgotten the class, if there are no uses.
    forgotten_at: Time,
    /// The next one in the queue of those that have no use.
    next: u32,
    queued: bool,
}

impl<T> Clone for Binding<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Binding<T> {}

/// The writer's half: which class each of the platform's next hops has.
///
/// # Invariants
///
/// - The map has an entry for each class that is bound here; those of other classes
///   are null.
/// - Each index in the queue, from `first` to `last`, is `queued`, and no other.
pub struct Bindings<'d, T, M: Memory + Clone, D: Lock> {
    dictionary: &'d Dictionary<M, D>,
    memory: M,
    map: NonNull<Head>,
    /// Maps that were replaced by larger ones.
    retired: *mut Head,
    /// By the platform's index.
    bindings: Array<Binding<T>, M>,
    bound: u32,
    first: u32,
    last: u32,
}

// SAFETY: it owns its memory; next hops are only passed on.
unsafe impl<T, M: Memory + Clone + Send, D: Lock + Sync> Send for Bindings<'_, T, M, D> {}

impl<'d, T, M: Memory + Clone, D: Lock> Bindings<'d, T, M, D> {
    /// No bindings, and the map that lookups go by, for as long as the bindings live.
    ///
    /// # Errors
    /// [`ClassError::OutOfMemory`].
    pub fn new(
        memory: M,
        dictionary: &'d Dictionary<M, D>,
    ) -> Result<(Self, NextHops<T>), ClassError> {
        let map = new_map(&memory, FEWEST)?;
        let next_hops = NextHops {
            entries: AtomicPtr::new(entries_of(map)),
        };
        let bindings = Self {
            dictionary,
            // SAFETY: pointers and integers, and no size of 0.
            bindings: unsafe { Array::new(memory.clone()) },
            memory,
            map,
            retired: ptr::null_mut(),
            bound: 0,
            first: 0,
            last: 0,
        };
        Ok((bindings, next_hops))
    }

    /// The class of the platform's next hop of that index, for one use more. It is
    /// in `map` before this returns. Does not sleep.
    ///
    /// If the index was another next hop's, that one is gone: the platform gives an
    /// index away again when no lookup can find its next hop any more.
    ///
    /// # Errors
    /// Nothing has changed, and the use does not count.
    pub fn add_use<G: Grace, L: Lock>(
        &mut self,
        map: &NextHops<T>,
        clock: &Clock<M, G, L>,
        index: u32,
        next_hop: *mut T,
        identity: impl FnOnce() -> Identity,
    ) -> Result<u32, ClassError> {
        let class = match self.class_of(index, next_hop) {
            0 => {
                self.settle(clock);
                self.bind(map, clock, index, next_hop, identity())?
            }
            class => class,
        };
        if let Some(binding) = self.binding(index) {
            binding.uses = binding.uses.wrapping_add(1);
        }
        Ok(class)
    }

    /// Takes back one use of a next hop. The class stays its own until all lookups
    /// of this moment have ended: the table has changed before this is called.
    pub fn end_use<G: Grace, L: Lock>(
        &mut self,
        clock: &Clock<M, G, L>,
        index: u32,
        next_hop: *mut T,
    ) {
        if self.class_of(index, next_hop) == 0 {
            return;
        }
        let Some(binding) = self.binding(index).filter(|binding| binding.uses > 0) else {
            return;
        };
        binding.uses = binding.uses.wrapping_sub(1);
        if binding.uses == 0 {
            binding.forgotten_at = clock.time();
            self.enqueue(index);
        }
        self.settle(clock);
    }

    /// The class of a next hop, 0 if it has none.
    pub fn class_of(&self, index: u32, next_hop: *mut T) -> u32 {
        match self.bindings.as_slice().get(index as usize) {
            Some(binding) if ptr::eq(binding.next_hop, next_hop) => binding.class,
            _ => 0,
        }
    }

    /// Makes the default route's next hop that of a class, or none if it is 0.
    pub fn set_default(&self, map: &NextHops<T>, class: u32) {
        let next_hop = match class {
            0 => ptr::null_mut(),
            // SAFETY: a class that is bound has an entry, and 0 has one; the map is
            // this one's.
            _ => unsafe { map.get(class) },
        };
        self.set_entry(0, next_hop);
    }

    /// How many classes are bound.
    pub fn bound(&self) -> u32 {
        self.bound
    }

    /// Bytes obtained from memory, maps that wait to be given back not counted.
    pub fn bytes(&self) -> usize {
        layout_of(self.entries()).map_or(0, |layout| layout.size()) + self.bindings.bytes()
    }

    /// Gives back what lookups have forgotten by now.
    fn settle<G: Grace, L: Lock>(&mut self, clock: &Clock<M, G, L>) {
        for _ in 0..SETTLED_AT_ONCE {
            let index = self.first;
            let Some(binding) = self.binding(index).filter(|binding| binding.queued) else {
                break;
            };
            let (next, uses, forgotten_at) = (binding.next, binding.uses, binding.forgotten_at);
            if uses == 0 && !clock.has_come(forgotten_at) {
                break;
            }
            binding.queued = false;
            self.first = next;
            if next == 0 {
                self.last = 0;
            }
            if uses == 0 {
                self.unbind(index);
            }
        }
        self.release_retired(|head| clock.has_come(head.free_at));
    }

    fn bind<G: Grace, L: Lock>(
        &mut self,
        map: &NextHops<T>,
        clock: &Clock<M, G, L>,
        index: u32,
        next_hop: *mut T,
        identity: Identity,
    ) -> Result<u32, ClassError> {
        // Index 0 is no next hop's, and ends the queue.
        let room = index.checked_add(1).filter(|&room| room > 1);
        let room = room.ok_or(ClassError::Index(index))?;
        self.bindings.grow(room).ok_or(ClassError::OutOfMemory)?;
        self.unbind(index);
        let class = self
            .dictionary
            .bind(identity, |class| !self.entry(class).is_null())?;
        if let Err(error) = self.make_room(map, clock, class) {
            self.dictionary.release(class);
            return Err(error);
        }
        self.set_entry(class, next_hop);
        self.bound = self.bound.wrapping_add(1);
        if let Some(binding) = self.binding(index) {
            (binding.next_hop, binding.class, binding.uses) = (next_hop, class, 0);
        }
        Ok(class)
    }

    /// Makes an index mean nothing, and its class free for another next hop.
    fn unbind(&mut self, index: u32) {
        let Some(binding) = self.binding(index).filter(|binding| binding.class != 0) else {
            return;
        };
        let class = core::mem::take(&mut binding.class);
        (binding.next_hop, binding.uses) = (ptr::null_mut(), 0);
        self.set_entry(class, ptr::null_mut());
        self.bound = self.bound.wrapping_sub(1);
        self.dictionary.release(class);
    }

    fn binding(&mut self, index: u32) -> Option<&mut Binding<T>> {
        self.bindings.as_mut_slice().get_mut(index as usize)
    }

    fn enqueue(&mut self, index: u32) {
        let last = self.last;
        let Some(binding) = self.binding(index).filter(|binding| !binding.queued) else {
            return;
        };
        (binding.queued, binding.next) = (true, 0);
        self.last = index;
        match self.binding(last).filter(|_| last != 0) {
            Some(before) => before.next = index,
            None => self.first = index,
        }
    }

    /// Publishes a larger map, if this one has no entry for the class.
    fn make_room<G: Grace, L: Lock>(
        &mut self,
        map: &NextHops<T>,
        clock: &Clock<M, G, L>,
        class: u32,
    ) -> Result<(), ClassError> {
        if class < self.entries() {
            return Ok(());
        }
        let wanted = class.saturating_add(1).checked_next_power_of_two();
        let larger = new_map(&self.memory, wanted.ok_or(ClassError::OutOfMemory)?)?;
        for at in 0..self.entries() {
            let next_hop = self.entry(at);
            // SAFETY: the larger map has more entries than this one.
            unsafe {
                (*entries_of::<T>(larger).add(at as usize)).store(next_hop, Ordering::Relaxed)
            };
        }
        let old = core::mem::replace(&mut self.map, larger);
        map.entries.store(entries_of(larger), Ordering::Release);
        // SAFETY: this one's own; readers read the entries only.
        unsafe {
            (*old.as_ptr()).free_at = clock.time();
            (*old.as_ptr()).next = self.retired;
        }
        self.retired = old.as_ptr();
        Ok(())
    }

    fn entries(&self) -> u32 {
        // SAFETY: this one's own.
        unsafe { (*self.map.as_ptr()).entries }
    }

    fn entry(&self, class: u32) -> *mut T {
        if class >= self.entries() {
            return ptr::null_mut();
        }
        // SAFETY: the map has that entry.
        unsafe { (*entries_of::<T>(self.map).add(class as usize)).load(Ordering::Relaxed) }
    }

    fn set_entry(&self, class: u32, next_hop: *mut T) {
        if class < self.entries() {
            // SAFETY: the map has that entry.
            let entry = unsafe { &*entries_of::<T>(self.map).add(class as usize) };
            entry.store(next_hop, Ordering::Release);
        }
    }

    /// Gives back the maps of which `free` says that nobody has them any more.
    fn release_retired(&mut self, free: impl Fn(&Head) -> bool) {
        let mut kept: *mut Head = ptr::null_mut();
        let mut at = core::mem::replace(&mut self.retired, ptr::null_mut());
        while let Some(map) = NonNull::new(at) {
            // SAFETY: a map that was retired, this one's own.
            let head = unsafe { &mut *map.as_ptr() };
            at = head.next;
            if free(head) {
                release_map(&self.memory, map);
            } else {
                head.next = kept;
                kept = map.as_ptr();
            }
        }
        self.retired = kept;
    }
}

impl<T, M: Memory + Clone, D: Lock> Drop for Bindings<'_, T, M, D> {
    /// No lookup goes by the map any more.
    fn drop(&mut self) {
        for index in 0..self.bindings.as_slice().len() as u32 {
            self.unbind(index);
        }
        self.release_retired(|_| true);
        release_map(&self.memory, self.map);
    }
}

fn layout_of(entries: u32) -> Option<Layout> {
    let entries = Layout::array::<AtomicPtr<()>>(entries as usize).ok()?;
    let (layout, start) = Layout::new::<Head>().extend(entries).ok()?;
    (start == size_of::<Head>()).then_some(layout)
}

/// A map whose entries are null.
fn new_map(memory: &impl Memory, entries: u32) -> Result<NonNull<Head>, ClassError> {
    let layout = layout_of(entries).ok_or(ClassError::OutOfMemory)?;
    let map = memory.allocate(layout).ok_or(ClassError::OutOfMemory)?;
    let head = map.cast::<Head>();
    // SAFETY: fresh, and of this layout; null is all zero.
    unsafe {
        map.write_bytes(0, layout.size());
        (*head.as_ptr()).entries = entries;
    }
    Ok(head)
}

fn release_map(memory: &impl Memory, map: NonNull<Head>) {
    // SAFETY: a map of `new_map`, used for the last time; the layout is the one it
    // was made with.
    unsafe {
        if let Some(layout) = layout_of((*map.as_ptr()).entries) {
            memory.free(map.cast(), layout);
        }
    }
}

fn entries_of<T>(map: NonNull<Head>) -> *mut AtomicPtr<T> {
    // SAFETY: the entries begin where the head ends, in one block.
    unsafe { map.as_ptr().add(1).cast() }
}
