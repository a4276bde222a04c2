// SPDX-License-Identifier: BSD-2-Clause
//! The pool: from memory to packets and back.
//!
//! ```text
//! memory --slab--> depot --32 buffers--> a CPU's cache --> packet
//!                        <-a bundle-----               <--
//! ```
//!
//! Taking and freeing touch the cache of the CPU on which they happen, nothing else.
//! When it is empty or full, 32 buffers are fetched from or brought to the depot, under
//! the pool's lock, so what one CPU allocates and another one frees comes back in
//! bulk. The lock is never taken inside a CPU's exclusive section: in the kernel that
//! is a critical section and the lock a mutex(9).
//!
//! Packets do not know the types of their pool: they reach it by its [`Owner`], two
//! functions. The pool's [`Core`] stays where it is until [`Pool::close`] has found
//! that no buffer is out.

use super::AllocError;
use super::cache::{Cache, Handful};
use super::cpus::Cpus;
use super::depot::{Bundle, Depot, Empty};
use super::layout::{Buffer, CLASSES, HEADROOM, LONGEST, class_for};
use super::slab::{self, Slab, charge};
use super::{Batch, Packet, Writable};
use crate::context::Sleepable;
use crate::fib::{Lock, Memory};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A pool as its buffers know it.
#[repr(C)]
pub(super) struct Owner {
    /// A buffer of this class, with the usual headroom.
    take: unsafe fn(NonNull<Owner>, usize) -> Result<Buffer, AllocError>,
    /// Takes free buffers of one class back.
    give: unsafe fn(NonNull<Owner>, usize, &[Buffer]),
}

/// Gives a buffer back to its pool.
///
/// # Safety
///
/// The buffer is the caller's, and nothing in it is in use any more.
#[inline]
pub(super) unsafe fn give_back(buffer: Buffer) {
    // SAFETY: the caller's promise.
    unsafe { give_back_all(buffer, &[buffer]) };
}

/// Gives buffers back that are of the same pool and class as `one`.
///
/// # Safety
///
/// As for [`give_back`]; all of them are of that pool and class.
#[inline]
pub(super) unsafe fn give_back_all(one: Buffer, buffers: &[Buffer]) {
    // SAFETY: a pool outlives its buffers.
    unsafe {
        let (owner, class) = ((*one.as_ptr()).owner, (*one.as_ptr()).class);
        ((*owner.as_ptr()).give)(owner, usize::from(class), buffers);
    }
}

/// A new buffer for `len` bytes from the pool of another one.
///
/// # Safety
///
/// `beside` is a buffer that is not free.
pub(super) unsafe fn take_beside(beside: Buffer, len: usize) -> Result<Buffer, AllocError> {
    let class = class_for(len).ok_or(AllocError::TooLong { len, most: LONGEST })?;
    // SAFETY: a pool outlives its buffers.
    unsafe {
        let owner = (*beside.as_ptr()).owner;
        ((*owner.as_ptr()).take)(owner, class)
    }
}

/// What belongs to one CPU.
#[repr(C, align(64))]
pub(super) struct PerCpu {
    pub(super) caches: [Cache; CLASSES],
    /// Allocations that failed, by [`AllocError::index`].
    pub(super) failures: [AtomicU64; AllocError::REASONS],
}

/// All of a pool.
#[repr(C)]
pub(super) struct Core<M, L, C> {
    /// First, for its address is the core's.
    owner: Owner,
    pub(super) memory: M,
    pub(super) cpus: C,
    lock: L,
    /// One a class. Touched with the lock held only.
    depots: UnsafeCell<[Depot; CLASSES]>,
    per_cpu: NonNull<PerCpu>,
    /// Bytes of slabs and their accounts.
    pub(super) bytes: AtomicUsize,
    /// The most that they may be.
    pub(super) most_bytes: AtomicUsize,
}

impl<M: Memory, L: Lock, C: Cpus> Core<M, L, C> {
    /// Runs `inside` with the lock held.
    pub(super) fn depot<R>(&self, class: usize, inside: impl FnOnce(&mut Depot) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: with the lock held nobody else is here.
            let depots = unsafe { &mut *self.depots.get() };
            depots.get_mut(class).map(inside)
        })
    }

    /// What belongs to each CPU.
    pub(super) fn per_cpu(&self) -> &[PerCpu] {
        // SAFETY: so many were made by `Pool::new`, and stay as long as the core.
        unsafe { core::slice::from_raw_parts(self.per_cpu.as_ptr(), self.cpus.count()) }
    }

    fn cache(&self, cpu: usize, class: usize) -> Option<&Cache> {
        self.per_cpu().get(cpu)?.caches.get(class)
    }

    /// One buffer, free.
    #[inline]
    fn take_one(&self, class: usize) -> Result<Buffer, AllocError> {
        let cached = self.cpus.here(|cpu| {
            let cache = self.cache(cpu, class)?;
            // SAFETY: `here` has this CPU's caches to itself.
            unsafe { cache.pop() }
        });
        cached.map_or_else(|| self.take_one_more(class), Ok)
    }

    #[cold]
    fn take_one_more(&self, class: usize) -> Result<Buffer, AllocError> {
        let mut buffers = self.fetch(class)?;
        // What is fetched is never nothing.
        let buffer = buffers.pop().ok_or(AllocError::NoMemory)?;
        self.give(class, buffers.as_slice());
        Ok(buffer)
    }

    /// Free buffers, until `into` is full; how many it came to, and why not more.
    fn take(&self, class: usize, into: &mut [MaybeUninit<Buffer>]) -> (usize, Option<AllocError>) {
        let mut done = self.cpus.here(|cpu| match self.cache(cpu, class) {
            // SAFETY: `here` has this CPU's caches to itself.
            Some(cache) => unsafe { cache.take(into) },
            None => 0,
        });
        while done < into.len() {
            let mut buffers = match self.fetch(class) {
                Ok(buffers) => buffers,
                Err(error) => return (done, Some(error)),
            };
            while let Some(slot) = into.get_mut(done) {
                let Some(buffer) = buffers.pop() else { break };
                slot.write(buffer);
                done = done.wrapping_add(1);
            }
            self.give(class, buffers.as_slice());
        }
        (done, None)
    }

    /// Takes free buffers of one class back.
    #[inline]
    fn give(&self, class: usize, buffers: &[Buffer]) {
        let done = self.put(class, buffers);
        if done < buffers.len() {
            self.give_more(class, buffers.get(done..).unwrap_or_default());
        }
    }

    /// Puts buffers into this CPU's cache; how many it has room for.
    #[inline]
    fn put(&self, class: usize, buffers: &[Buffer]) -> usize {
        self.cpus.here(|cpu| {
            let Some(cache) = self.cache(cpu, class) else {
                return 0;
            };
            // SAFETY: `here` has this CPU's caches to itself; free, the caller says.
            unsafe {
                match buffers {
                    &[one] => usize::from(cache.push(one)),
                    _ => cache.put(buffers),
                }
            }
        })
    }

    /// Makes room in this CPU's cache, and puts the buffers there.
    #[cold]
    fn give_more(&self, class: usize, mut buffers: &[Buffer]) {
        while !buffers.is_empty() {
            let spilled = self.cpus.here(|cpu| {
                let cache = self.cache(cpu, class)?;
                // SAFETY: `here` has this CPU's caches to itself.
                Some(unsafe { cache.spill() })
            });
            match spilled {
                Some(spilled) => {
                    let _ = self.bring(class, spilled);
                }
                // A CPU that was not counted: it has no cache.
                None => {
                    let mut direct = Handful::new();
                    let count = buffers.iter().take_while(|&&b| direct.push(b)).count();
                    let _ = self.bring(class, direct);
                    buffers = buffers.get(count..).unwrap_or_default();
                    continue;
                }
            }
            let done = self.put(class, buffers);
            buffers = buffers.get(done..).unwrap_or_default();
        }
    }

    /// Brings free buffers to the depot, and on to memory if the pool holds too much.
    /// That they have returned is told last, for the pool may be gone then. How many
    /// bytes went to memory.
    pub(super) fn bring(&self, class: usize, buffers: Handful) -> usize {
        // SAFETY: free and of one class, the callers say.
        let Some(bundle) = (unsafe { Bundle::pack(buffers) }) else {
            return 0;
        };
        let count = bundle.len();
        if self.bytes.load(Ordering::Relaxed) > self.most_bytes.load(Ordering::Relaxed) {
            self.depot(class, |depot| depot.push(bundle));
            let bytes = self.dissolve(class);
            self.depot(class, |depot| depot.returned(count));
            bytes.unwrap_or(0)
        } else {
            self.depot(class, |depot| {
                depot.push(bundle);
                depot.returned(count);
            });
            0
        }
    }

    /// Fetches up to 32 free buffers from the depot, one at least.
    fn fetch(&self, class: usize) -> Result<Handful, AllocError> {
        let found = match self.depot(class, Depot::take) {
            Some(Err(Empty::Slabs)) | None => self.grow(class),
            Some(Err(Empty::Limit(most))) => Err(AllocError::ClassLimit { most }),
            Some(Ok(bundle)) => Ok(bundle),
        };
        found
            .map(Bundle::unpack)
            .map_err(|error| self.failed(error))
    }

    /// Gets a slab, and takes buffers from it.
    #[cold]
    fn grow(&self, class: usize) -> Result<Bundle, AllocError> {
        let most = self.most_bytes.load(Ordering::Relaxed);
        let before = self.bytes.fetch_add(charge(class), Ordering::Relaxed);
        let slab = if before.saturating_add(charge(class)) > most {
            Err(AllocError::PoolLimit { most })
        } else {
            slab::make(&self.memory, class, self.owner()).ok_or(AllocError::NoMemory)
        };
        let slab = slab.inspect_err(|_| {
            self.bytes.fetch_sub(charge(class), Ordering::Relaxed);
        })?;
        let found = self.depot(class, |depot| {
            // SAFETY: new, and of this class.
            unsafe { depot.add(slab) };
            depot.take()
        });
        match found {
            Some(Ok(bundle)) => Ok(bundle),
            Some(Err(Empty::Limit(most))) => Err(AllocError::ClassLimit { most }),
            Some(Err(Empty::Slabs)) | None => Err(AllocError::NoMemory),
        }
    }

    /// Takes one bundle of the depot to pieces, and gives back the slabs that become
    /// free as a whole. `None` if there is no bundle, otherwise how many bytes.
    pub(super) fn dissolve(&self, class: usize) -> Option<usize> {
        let mut empty: Option<NonNull<Slab>> = None;
        self.depot(class, |depot| {
            depot.dissolve(|slab| {
                // SAFETY: the slab is ours now.
                unsafe { (*slab.as_ptr()).next = empty };
                empty = Some(slab);
            })
        })??;
        let mut bytes = 0;
        while let Some(slab) = empty {
            // SAFETY: as above; nothing of it is in use, and it came from `grow`.
            unsafe {
                empty = (*slab.as_ptr()).next;
                slab::unmake(&self.memory, slab);
            }
            self.bytes.fetch_sub(charge(class), Ordering::Relaxed);
            bytes = charge(class).wrapping_add(bytes);
        }
        Some(bytes)
    }

    /// Counts a failure, on this CPU.
    #[cold]
    fn failed(&self, error: AllocError) -> AllocError {
        self.cpus.here(|cpu| {
            let of = self.per_cpu().get(cpu).map(|per| &per.failures);
            if let Some(count) = of.and_then(|failures| failures.get(error.index())) {
                // Nobody else stores to it.
                count.store(
                    count.load(Ordering::Relaxed).wrapping_add(1),
                    Ordering::Relaxed,
                );
            }
        });
        error
    }

    fn owner(&self) -> NonNull<Owner> {
        NonNull::from(self).cast()
    }

    /// [`Owner::take`].
    ///
    /// # Safety
    /// The owner is a core of this kind of memory.
    unsafe fn erased_take(owner: NonNull<Owner>, class: usize) -> Result<Buffer, AllocError> {
        // SAFETY: the owner of a buffer that was made by this core.
        let core = unsafe { owner.cast::<Self>().as_ref() };
        let buffer = core.take_one(class)?;
        // SAFETY: free, and the caller's now.
        unsafe { slab::renew(buffer, HEADROOM as u16) };
        Ok(buffer)
    }

    /// [`Owner::give`].
    ///
    /// # Safety
    /// The owner is a core of this kind of memory, and the buffers are of its pool.
    unsafe fn erased_give(owner: NonNull<Owner>, class: usize, buffers: &[Buffer]) {
        // SAFETY: as above.
        unsafe { owner.cast::<Self>().as_ref() }.give(class, buffers);
    }
}

/// Where packets come from. Shared by reference; packets do not borrow it.
///
/// Dropping a pool gives nothing back: packets may be out, and others about to be
/// freed. [`close`](Pool::close) does.
pub struct Pool<M: Memory, L: Lock, C: Cpus> {
    pub(super) core: NonNull<Core<M, L, C>>,
}

// SAFETY: a core is a memory, a lock, CPUs, and what these keep apart.
unsafe impl<M: Memory + Send + Sync, L: Lock + Send + Sync, C: Cpus + Send + Sync> Send
    for Pool<M, L, C>
{
}
// SAFETY: as above.
unsafe impl<M: Memory + Send + Sync, L: Lock + Send + Sync, C: Cpus + Send + Sync> Sync
    for Pool<M, L, C>
{
}

impl<M, L, C> Pool<M, L, C>
where
    M: Memory + Send + Sync + 'static,
    L: Lock + Send + Sync + 'static,
    C: Cpus + Send + Sync + 'static,
{
    /// An empty pool without limits. `None` if there is no memory for it.
    pub fn new(memory: M, lock: L, cpus: C) -> Option<Self> {
        let per_cpu = memory
            .allocate(per_cpu_layout(cpus.count())?)?
            .cast::<PerCpu>();
        for cpu in 0..cpus.count() {
            // SAFETY: new, and so long.
            unsafe {
                per_cpu.add(cpu).write(PerCpu {
                    caches: core::array::from_fn(|_| Cache::new()),
                    failures: [const { AtomicU64::new(0) }; AllocError::REASONS],
                });
            }
        }
        let Some(core) = memory.allocate(Layout::new::<Core<M, L, C>>()) else {
            // SAFETY: from above, with this layout.
            unsafe { memory.free(per_cpu.cast(), per_cpu_layout(cpus.count())?) };
            return None;
        };
        let core = core.cast::<Core<M, L, C>>();
        // SAFETY: new, and of this layout.
        unsafe {
            core.write(Core {
                owner: Owner {
                    take: Core::<M, L, C>::erased_take,
                    give: Core::<M, L, C>::erased_give,
                },
                memory,
                cpus,
                lock,
                depots: UnsafeCell::new(core::array::from_fn(Depot::new)),
                per_cpu,
                bytes: AtomicUsize::new(0),
                most_bytes: AtomicUsize::new(usize::MAX),
            });
        }
        Some(Self { core })
    }

    /// A packet without data, with room for `len` bytes behind [`HEADROOM`] ones. Any
    /// context in which the platform's memory and lock may be used; does not sleep.
    ///
    /// # Errors
    ///
    /// There is no buffer of that class now, or never.
    #[inline]
    pub fn packet(&self, len: usize) -> Result<Packet<Writable>, AllocError> {
        let class = self.class(len)?;
        let buffer = self.core().take_one(class)?;
        // SAFETY: free, and ours; from now on the packet's.
        unsafe {
            slab::renew(buffer, HEADROOM as u16);
            Ok(Packet::of(buffer))
        }
    }

    /// Adds up to `count` such packets to a batch, as many as it has room for.
    ///
    /// # Errors
    ///
    /// As for [`packet`](Pool::packet); those that there were are in the batch.
    pub fn packets<const N: usize>(
        &self,
        len: usize,
        count: usize,
        batch: &mut Batch<Writable, N>,
    ) -> Result<(), AllocError> {
        let class = self.class(len)?;
        batch.extend_raw(count, |slots| {
            let (done, error) = self.core().take(class, slots);
            for slot in slots.iter().take(done) {
                // SAFETY: the first `done` were written; they are free, and ours.
                unsafe { slab::renew(slot.assume_init(), HEADROOM as u16) };
            }
            (done, error.map_or(Ok(()), Err))
        })
    }

    fn class(&self, len: usize) -> Result<usize, AllocError> {
        let too_long = || {
            self.core()
                .failed(AllocError::TooLong { len, most: LONGEST })
        };
        class_for(len).ok_or_else(too_long)
    }

    /// Gives all memory back, if no buffer is out: no packet, and no tag of one.
    ///
    /// # Errors
    ///
    /// The pool as it was, but for its caches, and how many buffers are out.
    pub fn close(self, sleepable: &mut Sleepable) -> Result<(), StillOut<Self>> {
        self.flush(sleepable);
        let out = self.out();
        if out > 0 {
            return Err(StillOut { pool: self, out });
        }
        // Whoever freed the last one may be in his CPU's section still, after it
        // was counted: wait for that. What he did put into a cache comes out now.
        self.flush(sleepable);
        for class in 0..CLASSES {
            while self.core().dissolve(class).is_some() {}
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: nothing is out, so nobody but us knows the core.
        unsafe {
            let core = this.core.read();
            let layout = per_cpu_layout(core.cpus.count());
            if let Some(layout) = layout {
                core.memory.free(core.per_cpu.cast(), layout);
            }
            let memory = core.memory;
            memory.free(this.core.cast(), Layout::new::<Core<M, L, C>>());
        }
        Ok(())
    }
}

impl<M: Memory, L: Lock, C: Cpus> Pool<M, L, C> {
    #[inline]
    pub(super) fn core(&self) -> &Core<M, L, C> {
        // SAFETY: from `new`; `close` takes the pool.
        unsafe { self.core.as_ref() }
    }
}

/// A pool could not be closed.
#[derive(Debug)]
pub struct StillOut<P> {
    /// The pool.
    pub pool: P,
    /// Buffers that packets, or tags that left them, still hold.
    pub out: usize,
}

fn per_cpu_layout(count: usize) -> Option<Layout> {
    Layout::array::<PerCpu>(count.max(1)).ok()
}
