// SPDX-License-Identifier: BSD-2-Clause
//! The peers: the C library's malloc, a queue of free buffers, and DPDK's pools.

use super::source::{BULK, Item, Source};
use crossbeam_queue::ArrayQueue;
use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes before the data that a packet of any source has: as many as an mbuf's header.
const HEADER: usize = 256;

/// malloc, once a packet.
pub(super) struct Malloc {
    pub(super) len: usize,
}

impl Malloc {
    #[inline(never)]
    pub(super) fn allocate(len: usize) -> Item {
        // SAFETY: the layout is that of `free`, and not of size 0; nobody looks at it.
        unsafe { libc_malloc(len) }
    }

    /// # Safety
    /// From [`Malloc::allocate`], once.
    #[inline(never)]
    pub(super) unsafe fn free(item: Item) {
        // SAFETY: from `allocate`, once. The C library knows the length itself.
        unsafe { System.dealloc(item, Layout::new::<u64>()) }
    }
}

/// malloc(3), by way of the system's allocator.
///
/// # Safety
/// The length is not 0.
unsafe fn libc_malloc(len: usize) -> Item {
    // SAFETY: not of size 0; small alignments are malloc's own.
    unsafe { Layout::from_size_align(len, 8).map_or(std::ptr::null_mut(), |l| System.alloc(l)) }
}

// SAFETY: a block is longer.
unsafe impl Source for Malloc {
    fn name(&self) -> &str {
        "malloc"
    }

    fn version(&self) -> String {
        String::from("of the C library")
    }

    fn enter(&self, _: usize) {}

    fn take(&self) -> Item {
        Self::allocate(HEADER + self.len)
    }

    unsafe fn put(&self, item: Item) {
        // SAFETY: the caller's promise.
        unsafe { Self::free(item) }
    }

    fn take_many(&self, items: &mut [Item; BULK]) -> bool {
        items.iter_mut().for_each(|item| *item = self.take());
        true
    }

    unsafe fn put_many(&self, items: &mut [Item; BULK]) {
        // SAFETY: the caller's promise.
        items.iter().for_each(|&item| unsafe { Self::free(item) });
    }

    unsafe fn data(&self, item: Item) -> *mut u8 {
        // SAFETY: the block has so many bytes before its data.
        unsafe { item.add(HEADER) }
    }

    fn bytes(&self, _: usize) -> Option<f64> {
        None
    }
}

/// crossbeam's bounded queue, full of free buffers, shared by all threads.
pub(super) struct Queued {
    free: ArrayQueue<usize>,
}

/// Buffers in each pool of a fixed size.
const COUNT: u32 = 8191;

impl Queued {
    pub(super) fn new(len: usize) -> Self {
        let free = ArrayQueue::new(COUNT as usize);
        while !free.is_full() {
            let buffer = Malloc::allocate(HEADER + len);
            free.push(buffer.expose_provenance()).expect("room");
        }
        Self { free }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        while let Some(buffer) = self.free.pop() {
            // SAFETY: from `new`, and nobody else's.
            unsafe { Malloc::free(std::ptr::with_exposed_provenance_mut(buffer)) };
        }
    }
}

// SAFETY: a block is longer.
unsafe impl Source for Queued {
    fn name(&self) -> &str {
        "ArrayQueue"
    }

    fn version(&self) -> String {
        String::from("crossbeam-queue 0.3")
    }

    fn enter(&self, _: usize) {}

    #[inline(never)]
    fn take(&self) -> Item {
        std::ptr::with_exposed_provenance_mut(self.free.pop().unwrap_or(0))
    }

    #[inline(never)]
    unsafe fn put(&self, item: Item) {
        self.free.push(item.expose_provenance()).expect("room");
    }

    fn take_many(&self, items: &mut [Item; BULK]) -> bool {
        items.iter_mut().for_each(|item| *item = self.take());
        items.iter().all(|item| !item.is_null())
    }

    unsafe fn put_many(&self, items: &mut [Item; BULK]) {
        // SAFETY: the caller's promise.
        items.iter().for_each(|&item| unsafe { self.put(item) });
    }

    unsafe fn data(&self, item: Item) -> *mut u8 {
        // SAFETY: the block has so many bytes before its data.
        unsafe { item.add(HEADER) }
    }

    fn bytes(&self, _: usize) -> Option<f64> {
        None
    }
}

/// All peers for packets of this length, and a line for each that there is not.
pub(super) fn all(len: usize) -> Vec<Box<dyn Source>> {
    let mut peers: Vec<Box<dyn Source>> =
        vec![Box::new(Malloc { len }), Box::new(Queued::new(len))];
    match dpdk(len) {
        Ok(found) => peers.extend(found),
        Err(reason) => eprintln!("bench-packet: skipped: DPDK, {reason}"),
    }
    peers
}

#[cfg(not(weft_dpdk))]
fn dpdk(_: usize) -> Result<Vec<Box<dyn Source>>, String> {
    Err(String::from(env!("WEFT_DPDK_ABSENT")))
}

#[cfg(weft_dpdk)]
fn dpdk(len: usize) -> Result<Vec<Box<dyn Source>>, String> {
    crate::dpdk::start()?;
    Ok(vec![
        Box::new(dpdk::Mempool::new(HEADER + len, COUNT)?),
        Box::new(dpdk::Mbufs::new(len, COUNT)?),
    ])
}

#[cfg(weft_dpdk)]
mod dpdk {
    use super::{BULK, HEADER, Item, Source};
    use std::ffi::{c_int, c_uint};

    #[repr(C)]
    struct Raw {
        _opaque: [u8; 0],
    }

    // SAFETY: as `dpdk/pool.c` defines them.
    unsafe extern "C" {
        fn weft_dpdk_thread() -> c_int;
        fn weft_mempool_open(count: c_uint, size: c_uint) -> *mut Raw;
        fn weft_mbufs_open(count: c_uint, room: c_uint) -> *mut Raw;
        fn weft_mempool_close(pool: *mut Raw);
        fn weft_mempool_bytes(pool: *const Raw) -> usize;
        fn weft_mempool_take(pool: *mut Raw) -> Item;
        fn weft_mempool_put(pool: *mut Raw, object: Item);
        fn weft_mempool_take_many(pool: *mut Raw, objects: *mut Item, count: c_uint) -> c_int;
        fn weft_mempool_put_many(pool: *mut Raw, objects: *mut Item, count: c_uint);
        fn weft_mbufs_take(pool: *mut Raw) -> Item;
        fn weft_mbufs_put(pool: *mut Raw, mbuf: Item);
        fn weft_mbufs_take_many(pool: *mut Raw, mbufs: *mut Item, count: c_uint) -> c_int;
        fn weft_mbufs_put_many(pool: *mut Raw, mbufs: *mut Item, count: c_uint);
        fn weft_mbufs_data(mbuf: Item) -> *mut u8;
    }

    /// `rte_mempool`: objects without any contents.
    pub(super) struct Mempool(*mut Raw);
    /// `rte_mbuf`: packets, of one size of buffer.
    pub(super) struct Mbufs(*mut Raw);

    // SAFETY: DPDK's pools are for all threads.
    unsafe impl Sync for Mempool {}
    // SAFETY: as above.
    unsafe impl Sync for Mbufs {}

    fn opened(pool: *mut Raw) -> Result<*mut Raw, String> {
        match pool.is_null() {
            true => Err(String::from("no memory for a pool")),
            false => Ok(pool),
        }
    }

    impl Mempool {
        pub(super) fn new(size: usize, count: u32) -> Result<Self, String> {
            // SAFETY: DPDK has been started.
            opened(unsafe { weft_mempool_open(count, size as c_uint) }).map(Self)
        }
    }

    impl Mbufs {
        /// As a driver would: 2 KB, or as many as a jumbo frame has.
        pub(super) fn new(len: usize, count: u32) -> Result<Self, String> {
            let room = if len <= 2048 { 2048 } else { 9216 };
            // SAFETY: DPDK has been started.
            opened(unsafe { weft_mbufs_open(count, room) }).map(Self)
        }
    }

    macro_rules! source {
        ($type:ident, $name:literal, $take:ident, $put:ident, $take_many:ident, $put_many:ident,
         $data:expr) => {
            impl Drop for $type {
                fn drop(&mut self) {
                    // SAFETY: from `new`, used for the last time.
                    unsafe { weft_mempool_close(self.0) };
                }
            }

            // SAFETY: objects and mbufs are longer.
            unsafe impl Source for $type {
                fn name(&self) -> &str {
                    $name
                }

                fn version(&self) -> String {
                    concat!("DPDK ", env!("WEFT_DPDK_VERSION")).into()
                }

                fn enter(&self, _: usize) {
                    // SAFETY: any thread may call it.
                    let error = unsafe { weft_dpdk_thread() };
                    assert_eq!(error, 0, "DPDK knows too many threads");
                }

                fn take(&self) -> Item {
                    // SAFETY: a pool.
                    unsafe { $take(self.0) }
                }

                unsafe fn put(&self, item: Item) {
                    // SAFETY: the caller's promise.
                    unsafe { $put(self.0, item) }
                }

                fn take_many(&self, items: &mut [Item; BULK]) -> bool {
                    // SAFETY: a pool, and so many places.
                    unsafe { $take_many(self.0, items.as_mut_ptr(), BULK as c_uint) == 0 }
                }

                unsafe fn put_many(&self, items: &mut [Item; BULK]) {
                    // SAFETY: the caller's promise.
                    unsafe { $put_many(self.0, items.as_mut_ptr(), BULK as c_uint) }
                }

                unsafe fn data(&self, item: Item) -> *mut u8 {
                    // SAFETY: the caller's promise.
                    unsafe { $data(item) }
                }

                fn bytes(&self, _: usize) -> Option<f64> {
                    // SAFETY: a pool.
                    Some(unsafe { weft_mempool_bytes(self.0) } as f64)
                }
            }
        };
    }

    source!(
        Mempool,
        "rte_mempool",
        weft_mempool_take,
        weft_mempool_put,
        weft_mempool_take_many,
        weft_mempool_put_many,
        |item: Item| item.add(HEADER)
    );
    source!(
        Mbufs,
        "rte_mbuf",
        weft_mbufs_take,
        weft_mbufs_put,
        weft_mbufs_take_many,
        weft_mbufs_put_many,
        weft_mbufs_data
    );
}
