// SPDX-License-Identifier: BSD-2-Clause
//! What can be raced: something that holds one or more FIBs and is looked up in
//! by code that knows an address only, as the kernel does.
//!
//! To plug an engine in, implement [`Contender`] and [`Table`] (see
//! [`weft`](crate::weft)). Peers in C come by [`c_peer`](crate::c_peer).

use crate::routes::Route;
use std::marker::PhantomData;
use std::time::Duration;

/// Looks one address (host order) up in the table at an address; 0: no route.
pub type One = unsafe extern "C" fn(*const (), u32) -> u32;
/// Looks up that many addresses and writes as many classes.
pub type Batch = unsafe extern "C" fn(*const (), *const u32, *mut u32, usize);

/// How one FIB is looked up in, until the table changes.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'t> {
    table: *const (),
    one: One,
    batch: Option<Batch>,
    lifetime: PhantomData<&'t ()>,
}

impl Lookup<'_> {
    /// # Safety
    ///
    /// For the lifetime of the result, both functions may be called with `table`
    /// and any address on this thread, and `batch` with arrays of equal length.
    pub unsafe fn new(table: *const (), one: One, batch: Option<Batch>) -> Self {
        Self {
            table,
            one,
            batch,
            lifetime: PhantomData,
        }
    }

    /// The class of the longest prefix that covers `dst`, or 0.
    #[inline(always)]
    pub fn one(&self, dst: u32) -> u32 {
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
    pub fn batch(&self, dst: &[u32], class: &mut [u32]) {
        assert_eq!(dst.len(), class.len());
        match self.batch {
            // SAFETY: as `new` was promised, and the lengths are equal.
            Some(batch) => unsafe {
                batch(self.table, dst.as_ptr(), class.as_mut_ptr(), dst.len())
            },
            None => dst
                .iter()
                .zip(class)
                .for_each(|(&dst, class)| *class = self.one(dst)),
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
pub trait Contender {
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

    /// A table without FIBs.
    fn table(&self) -> Box<dyn Table>;
}

/// FIBs, numbered from 0 in the order in which they were added.
pub trait Table {
    /// Adds a FIB of these routes (each prefix once, sorted), and returns how
    /// long the algorithm itself took to build it.
    fn add(&mut self, routes: &[Route]) -> anyhow::Result<Duration>;

    /// How to look up in a FIB.
    ///
    /// # Panics
    ///
    /// If there is no FIB of that number, as all that take one.
    fn lookup(&self, fib: usize) -> Lookup<'_>;

    /// Bytes held for all FIBs together.
    fn bytes(&self) -> Bytes;

    /// Does what the algorithm's caller does before a change; not timed.
    fn prepare(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        let _ = (fib, changes);
        Ok(())
    }

    /// Makes changes, in this order; timed. A class of 0 withdraws a prefix.
    fn commit(&mut self, fib: usize, changes: &[Route]) -> anyhow::Result<()> {
        let _ = (fib, changes);
        anyhow::bail!("this table cannot be changed")
    }

    /// Says that no change will come, so that a table may give back what only
    /// changes need.
    fn freeze(&mut self) {}
}
