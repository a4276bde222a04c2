// SPDX-License-Identifier: BSD-2-Clause
//! What can be raced: something that holds one or more FIBs and is looked up in
//! by code that knows an address only, as the kernel does.
//!
//! To plug an engine in, implement [`Contender`] and [`Table`] (see
//! [`weft`](crate::weft)), and [`Live`] if it can be looked up in while it is
//! changed. Peers in C come by [`c_peer`](crate::c_peer).

use crate::family::Family;
use crate::routes::Route;
use std::marker::PhantomData;
use std::time::Duration;
use weft_engine::sim::epoch::Section;

/// Looks one address up in the table at an address; 0: no route.
pub type One<K> = unsafe extern "C" fn(*const (), <K as Family>::Passed) -> u32;
/// Looks up that many addresses and writes as many classes.
pub type Batch<K> = unsafe extern "C" fn(*const (), *const <K as Family>::Address, *mut u32, usize);

/// How one FIB is looked up in, until the table changes.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'t, K: Family> {
    table: *const (),
    one: One<K>,
    batch: Option<Batch<K>>,
    lifetime: PhantomData<&'t ()>,
}

impl<K: Family> Lookup<'_, K> {
    /// # Safety
    ///
    /// For the lifetime of the result, both functions may be called with `table`
    /// and any address on this thread, and `batch` with arrays of equal length.
    pub unsafe fn new(table: *const (), one: One<K>, batch: Option<Batch<K>>) -> Self {
        Self {
            table,
            one,
            batch,
            lifetime: PhantomData,
        }
    }

    /// The class of the longest prefix that covers `dst`, or 0.
    #[inline(always)]
    pub fn one(&self, dst: &K::Address) -> u32 {
        self.passed(K::pass(dst))
    }

    /// As [`one`](Self::one) for one of `keys`, where the processor must know
    /// `zero`, which is 0, before it knows the address.
    #[inline(always)]
    pub fn one_after(&self, keys: &[K::Address], at: usize, zero: u32) -> u32 {
        self.passed(K::pass_after(keys, at, zero))
    }

    #[inline(always)]
    fn passed(&self, dst: K::Passed) -> u32 {
        // SAFETY: as `new` was promised.
        unsafe { (self.one)(self.table, dst) }
    }

    /// As [`one`](Self::one) for each of `dst`, by as many calls if the table
    /// knows no batches.
    ///
    /// # Panics
    ///
    /// If `class` has not the length of `dst`.
    #[inline(always)]
    pub fn batch(&self, dst: &[K::Address], class: &mut [u32]) {
        assert_eq!(dst.len(), class.len());
        match self.batch {
            // SAFETY: as `new` was promised, and the lengths are equal.
            Some(batch) => unsafe {
                batch(self.table, dst.as_ptr(), class.as_mut_ptr(), dst.len())
            },
            None => dst
                .iter()
                .zip(class)
                .for_each(|(dst, class)| *class = self.one(dst)),
        }
    }
}

/// Bytes held for all FIBs of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// What a lookup may read.
    pub lookup: u64,
    /// With what is kept for the next change.
    pub all: u64,
}

/// A kind of table, ours or a peer's.
pub trait Contender<K: Family> {
    /// A short name, for one's eyes and for the records.
    fn name(&self) -> &str;

    /// The version that runs here.
    fn version(&self) -> &str;

    /// Whether FIBs that resemble one another share memory.
    fn shares(&self) -> bool {
        false
    }

    /// With how many routes its build begins to take minutes.
    fn patience(&self) -> usize {
        usize::MAX
    }

    /// Whether a table can be changed after it was built.
    fn changes(&self) -> bool;

    /// How long the algorithm's caller gathers changes that come fast, before it
    /// hands them over: at least and at most. Empty if each comes by itself.
    fn gathers(&self) -> &[Duration] {
        &[]
    }

    /// Whether [`Table::split`] works.
    fn is_live(&self) -> bool {
        false
    }

    /// A table without FIBs.
    fn table(&self) -> Box<dyn Table<K>>;
}

/// FIBs, numbered from 0 in the order in which they were added.
pub trait Table<K: Family> {
    /// Adds a FIB of these routes (each prefix once, sorted), and returns how
    /// long the algorithm itself took to build it.
    fn add(&mut self, routes: &[Route<K>]) -> anyhow::Result<Duration>;

    /// How to look up in a FIB.
    ///
    /// # Panics
    ///
    /// If there is no FIB of that number, as all that take one.
    fn lookup(&self, fib: usize) -> Lookup<'_, K>;

    /// Bytes held for all FIBs together.
    fn bytes(&self) -> Bytes;

    /// Does what the algorithm's caller does when its own routing table changes;
    /// not timed. May come several times before a commit.
    fn prepare(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        let _ = (fib, changes);
        Ok(())
    }

    /// Makes the changes that were prepared since the last time, in this order;
    /// timed. A class of 0 withdraws a prefix.
    fn commit(&mut self, fib: usize, changes: &[Route<K>]) -> anyhow::Result<()> {
        let _ = (fib, changes);
        anyhow::bail!("this table cannot be changed")
    }

    /// Says that no change will come, so that a table may give back what only
    /// changes need.
    fn freeze(&mut self) {}

    /// Both ends of a FIB, for a thread that changes it and others that look up
    /// meanwhile.
    fn split(&mut self, fib: usize) -> anyhow::Result<Ends<'_, K>> {
        let _ = fib;
        anyhow::bail!("this table cannot be looked up in while it is changed")
    }
}

/// Both ends of a FIB.
pub type Ends<'t, K> = (
    Box<dyn Changing<K> + Send + 't>,
    Box<dyn Live<K> + Send + 't>,
);

/// The writer's end of a FIB.
pub trait Changing<K: Family> {
    /// As [`Table::prepare`].
    fn prepare(&mut self, changes: &[Route<K>]) -> anyhow::Result<()>;

    /// As [`Table::commit`].
    fn commit(&mut self, changes: &[Route<K>]) -> anyhow::Result<()>;
}

/// The readers' end of a FIB.
pub trait Live<K: Family> {
    /// How to look up, as long as the section lasts.
    fn lookup<'s>(&'s self, section: &'s Section) -> Lookup<'s, K>;
}
