// SPDX-License-Identifier: BSD-2-Clause
//! From what a next hop is to its class, for all tables of one family.

use super::ClassError;
use super::array::Array;
use super::identity::Identity;
use crate::fib::{Lock, Memory};
use core::cell::UnsafeCell;

/// Heads of chains that the first class brings.
const FIRST_HEADS: u32 = 16;

/// What a table gets that wants one class more when each is bound by some table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Nothing: it had better be made anew, to hold more classes.
    Refuse,
    /// One that it has not bound itself, and that stands for something else elsewhere:
    /// this costs sharing only.
    Borrow,
}

/// The classes that the tables of one network stack and family have bound between
/// them, shared by their writers.
pub struct Dictionary<M: Memory, L: Lock> {
    lock: L,
    classes: UnsafeCell<Classes<M>>,
}

// SAFETY: what the cell has is touched with the lock held.
unsafe impl<M: Memory + Send, L: Lock + Send> Send for Dictionary<M, L> {}
// SAFETY: as above.
unsafe impl<M: Memory + Send, L: Lock + Sync> Sync for Dictionary<M, L> {}

/// What a [`Dictionary`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DictionaryFigures {
    /// Classes that are bound.
    pub classes: usize,
    /// Bytes obtained from memory and not given back.
    pub bytes: usize,
}

impl<M: Memory + Clone, L: Lock> Dictionary<M, L> {
    /// A dictionary for tables that hold classes up to `most`.
    pub fn new(memory: M, lock: L, most: u32, shortage: Shortage) -> Self {
        // SAFETY: integers, of which all bytes may be 0.
        let classes = unsafe {
            Classes {
                most,
                shortage,
                bound: 0,
                lowest_word: 0,
                entries: Array::new(memory.clone()),
                used: Array::new(memory.clone()),
                heads: Array::new(memory),
            }
        };
        Self {
            lock,
            classes: UnsafeCell::new(classes),
        }
    }

    /// Binds a class for one table: the lowest one of that identity which is not
    /// `taken` in the table, or the lowest that nobody has bound. If there is none of
    /// these, the dictionary's [`Shortage`] says what is done.
    ///
    /// # Errors
    /// There is no class, or no memory.
    pub(super) fn bind(
        &self,
        identity: Identity,
        taken: impl Fn(u32) -> bool,
    ) -> Result<u32, ClassError> {
        self.with(|classes| classes.bind(identity, taken))
    }

    /// Takes back what `bind` gave.
    pub(super) fn release(&self, class: u32) {
        self.with(|classes| classes.release(class));
    }

    /// What it holds.
    pub fn figures(&self) -> DictionaryFigures {
        self.with(|classes| DictionaryFigures {
            classes: classes.bound as usize,
            bytes: classes.entries.bytes() + classes.used.bytes() + classes.heads.bytes(),
        })
    }
}

impl<M: Memory, L: Lock> Dictionary<M, L> {
    fn with<R>(&self, inside: impl FnOnce(&mut Classes<M>) -> R) -> R {
        self.lock.with(|| {
            // SAFETY: the lock is held, and `with` is not called within itself.
            inside(unsafe { &mut *self.classes.get() })
        })
    }
}

/// A class.
#[derive(Clone, Copy)]
struct Entry {
    identity: Identity,
    /// Tables that have bound it.
    holders: u32,
    /// The next class of its chain, or 0.
    next: u32,
}

/// # Invariants
///
/// A class has holders, a bit in `used` and a place in the chain of its identity's
/// hash, or none of these. Every word of `used` below `lowest_word` is full.
struct Classes<M: Memory> {
    most: u32,
    shortage: Shortage,
    bound: u32,
    lowest_word: usize,
    /// By class; the first is not used.
    entries: Array<Entry, M>,
    /// A bit for each class; that of class 0 is set.
    used: Array<u64, M>,
    /// The first class of each chain, or 0. A power of two of them.
    heads: Array<u32, M>,
}

impl<M: Memory> Classes<M> {
    fn bind(&mut self, identity: Identity, taken: impl Fn(u32) -> bool) -> Result<u32, ClassError> {
        let most = self.most;
        let class = match self.find(identity, &taken) {
            Some(class) => class,
            None => match self.lowest_free().filter(|&class| class <= most) {
                Some(class) => return self.enter(class, identity).map(|()| class),
                None => self.borrowed(taken).ok_or(ClassError::Exhausted { most })?,
            },
        };
        if let Some(entry) = self.entry(class) {
            entry.holders = entry.holders.wrapping_add(1);
        }
        Ok(class)
    }

    /// The lowest class that is not taken, if one may be had whatever it stands for.
    fn borrowed(&self, taken: impl Fn(u32) -> bool) -> Option<u32> {
        match self.shortage {
            Shortage::Refuse => None,
            Shortage::Borrow => (1..=self.most).find(|&class| !taken(class)),
        }
    }

    /// The lowest class of that identity that is not taken.
    fn find(&self, identity: Identity, taken: &impl Fn(u32) -> bool) -> Option<u32> {
        let mut lowest: Option<u32> = None;
        let mut class = self.heads.as_slice().get(self.head_of(identity)).copied()?;
        while class != 0 {
            let entry = self.entries.as_slice().get(class as usize)?;
            let lower = lowest.is_none_or(|lowest| class < lowest);
            if entry.identity == identity && lower && !taken(class) {
                lowest = Some(class);
            }
            class = entry.next;
        }
        lowest
    }

    /// The lowest class that nobody has bound.
    fn lowest_free(&mut self) -> Option<u32> {
        let words = self.used.as_slice();
        let mut at = self.lowest_word;
        while words.get(at).is_some_and(|&word| word == u64::MAX) {
            at = at.wrapping_add(1);
        }
        self.lowest_word = at;
        let free = words.get(at).map_or(0, |word| word.trailing_ones());
        // No word is there before the first class; class 0 is none.
        u32::try_from(at.wrapping_mul(64))
            .ok()
            .map(|first| first.wrapping_add(free).max(1))
    }

    /// Makes a class that nobody has bound stand for an identity, for one holder.
    fn enter(&mut self, class: u32, identity: Identity) -> Result<(), ClassError> {
        let room = class.wrapping_add(1);
        let words = room.div_ceil(64);
        let grown = self.entries.grow(room).and_then(|()| self.used.grow(words));
        grown.ok_or(ClassError::OutOfMemory)?;
        self.widen()?;
        let head = self.head_of(identity);
        let Some(head) = self.heads.as_mut_slice().get_mut(head) else {
            return Err(ClassError::OutOfMemory);
        };
        let next = core::mem::replace(head, class);
        if let Some(entry) = self.entry(class) {
            *entry = Entry {
                identity,
                holders: 1,
                next,
            };
        }
        self.mark(0, true);
        self.mark(class, true);
        self.bound = self.bound.wrapping_add(1);
        Ok(())
    }

    fn release(&mut self, class: u32) {
        let Some(entry) = self.entry(class).filter(|entry| entry.holders > 0) else {
            return;
        };
        entry.holders = entry.holders.wrapping_sub(1);
        if entry.holders > 0 {
            return;
        }
        let Entry { identity, next, .. } = *entry;
        self.unlink(self.head_of(identity), class, next);
        self.mark(class, false);
        self.lowest_word = self.lowest_word.min(class as usize / 64);
        self.bound = self.bound.wrapping_sub(1);
    }

    /// Takes a class out of its chain.
    fn unlink(&mut self, head: usize, class: u32, next: u32) {
        let Some(head) = self.heads.as_mut_slice().get_mut(head) else {
            return;
        };
        if *head == class {
            *head = next;
            return;
        }
        let mut at = *head;
        while let Some(entry) = self.entry(at).filter(|_| at != 0) {
            if entry.next == class {
                entry.next = next;
                return;
            }
            at = entry.next;
        }
    }

    /// Keeps as many chains as classes, if there is memory: the first ones must be.
    fn widen(&mut self) -> Result<(), ClassError> {
        let now = self.heads.as_slice().len() as u32;
        if now > self.bound {
            return Ok(());
        }
        let wanted = now.saturating_mul(2).max(FIRST_HEADS);
        if self.heads.grow(wanted).is_none() {
            return if now > 0 {
                Ok(())
            } else {
                Err(ClassError::OutOfMemory)
            };
        }
        self.heads.as_mut_slice().fill(0);
        for class in 1..self.entries.as_slice().len() as u32 {
            let Some(entry) = self.entry(class).filter(|entry| entry.holders > 0) else {
                continue;
            };
            let identity = entry.identity;
            let at = self.head_of(identity);
            let Some(head) = self.heads.as_mut_slice().get_mut(at) else {
                continue;
            };
            let next = core::mem::replace(head, class);
            if let Some(entry) = self.entry(class) {
                entry.next = next;
            }
        }
        Ok(())
    }

    fn head_of(&self, identity: Identity) -> usize {
        let mask = self.heads.as_slice().len().wrapping_sub(1);
        identity.hash() as usize & mask
    }

    fn entry(&mut self, class: u32) -> Option<&mut Entry> {
        self.entries.as_mut_slice().get_mut(class as usize)
    }

    fn mark(&mut self, class: u32, used: bool) {
        if let Some(word) = self.used.as_mut_slice().get_mut(class as usize / 64) {
            let bit = 1u64 << (class % 64);
            *word = if used { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::classes::Identifier;
    use crate::sim::memory::HostMemory;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::Mutex;

    fn identity(n: u64) -> Identity {
        Identifier::new([11, 13]).of(&[n])
    }

    const MOST: u32 = 1000;

    fn dictionary(memory: &HostMemory) -> Dictionary<HostMemory, Mutex<()>> {
        Dictionary::new(memory.clone(), Mutex::new(()), MOST, Shortage::Refuse)
    }

    fn of_three(shortage: Shortage) -> Dictionary<HostMemory, Mutex<()>> {
        Dictionary::new(HostMemory::default(), Mutex::new(()), 3, shortage)
    }

    #[test]
    fn the_lowest_class_that_is_free_comes_first() {
        let classes = dictionary(&HostMemory::default());
        for n in 1..=300u32 {
            assert_eq!(classes.bind(identity(n.into()), |_| false), Ok(n));
        }
        for gone in [200, 7, 64, 128] {
            classes.release(gone);
        }
        for back in [7, 64, 128, 200, 301] {
            assert_eq!(
                classes.bind(identity(1000 + u64::from(back)), |_| false),
                Ok(back)
            );
        }
        assert_eq!(classes.figures().classes, 301);
    }

    #[test]
    fn tables_that_bind_in_different_orders_agree() {
        let classes = dictionary(&HostMemory::default());
        let first: Vec<u32> = (0..50)
            .map(|n| classes.bind(identity(n), |_| false).unwrap())
            .collect();
        let second: Vec<u32> = (0..50)
            .rev()
            .map(|n| classes.bind(identity(n), |_| false).unwrap())
            .collect();
        assert!(first.iter().eq(second.iter().rev()));
        assert_eq!(classes.figures().classes, 50);
    }

    #[test]
    fn two_of_one_identity_in_a_table_have_two_classes() {
        let classes = dictionary(&HostMemory::default());
        let one = classes.bind(identity(1), |_| false).unwrap();
        let two = classes.bind(identity(1), |class| class == one).unwrap();
        assert_ne!(one, two);
        // Another table finds both again, in this order.
        assert_eq!(classes.bind(identity(1), |_| false), Ok(one));
        assert_eq!(classes.bind(identity(1), |class| class == one), Ok(two));
    }

    #[test]
    fn when_all_are_bound_a_table_takes_one_that_is_another_s() {
        let classes = of_three(Shortage::Borrow);
        for n in 1..=3u32 {
            assert_eq!(classes.bind(identity(n.into()), |_| false), Ok(n));
        }
        assert_eq!(classes.bind(identity(4), |class| class == 1), Ok(2));
        assert_eq!(
            classes.bind(identity(5), |_| true),
            Err(ClassError::Exhausted { most: 3 })
        );
        // It is free when both have let it go.
        classes.release(2);
        assert_eq!(classes.bind(identity(5), |class| class == 1), Ok(2));
        classes.release(2);
        classes.release(2);
        assert_eq!(classes.figures().classes, 2);
        assert_eq!(classes.bind(identity(6), |_| false), Ok(2));
    }

    #[test]
    fn or_it_gets_none() {
        let classes = of_three(Shortage::Refuse);
        for n in 1..=3u32 {
            assert_eq!(classes.bind(identity(n.into()), |_| false), Ok(n));
        }
        assert_eq!(
            classes.bind(identity(4), |_| false),
            Err(ClassError::Exhausted { most: 3 })
        );
        assert_eq!(classes.bind(identity(2), |_| false), Ok(2));
        classes.release(3);
        assert_eq!(classes.bind(identity(4), |_| false), Ok(3));
    }

    #[test]
    fn each_allocation_may_fail_and_nothing_is_lost() {
        for k in 1..20 {
            let memory = HostMemory::default();
            let classes = dictionary(&memory);
            memory.fail_after(k);
            let mut bound = Vec::new();
            for n in 0..100u64 {
                match classes.bind(identity(n), |_| false) {
                    Ok(class) => bound.push((n, class)),
                    Err(error) => assert_eq!(error, ClassError::OutOfMemory),
                }
            }
            assert!(bound.len() >= 99, "{k}");
            assert_eq!(classes.figures().classes, bound.len());
            assert_eq!(classes.figures().bytes, memory.bytes());
            for &(n, class) in &bound {
                assert_eq!(classes.bind(identity(n), |_| false), Ok(class));
                classes.release(class);
                classes.release(class);
            }
            assert_eq!(classes.figures().classes, 0);
            drop(classes);
            assert_eq!(memory.bytes(), 0);
        }
    }

    proptest! {
        /// Against a plain map: identities keep their class as long as they are bound.
        #[test]
        fn it_does_as_a_map_would(steps in prop::collection::vec((0u64..40, any::<bool>()), 0..400)) {
            let memory = HostMemory::default();
            let classes = dictionary(&memory);
            let mut model: HashMap<u64, (u32, u32)> = HashMap::new();
            for (n, bind) in steps {
                if bind {
                    let class = classes.bind(identity(n), |_| false).unwrap();
                    let free = (1..).find(|class| model.values().all(|(there, _)| there != class));
                    let (there, holders) = model.entry(n).or_insert((free.unwrap(), 0));
                    *holders += 1;
                    prop_assert_eq!(class, *there);
                } else if let Some((class, holders)) = model.get_mut(&n) {
                    classes.release(*class);
                    *holders -= 1;
                    if *holders == 0 {
                        model.remove(&n);
                    }
                }
                prop_assert_eq!(classes.figures().classes, model.len());
            }
        }
    }
}
