// SPDX-License-Identifier: BSD-2-Clause
//! DPDK's rte_ring, by the glue in `dpdk/ring.c`.

use super::contender::{ROOM, Ring};
use super::device::{BURST, Packet};
use std::ffi::{c_uint, c_void};
use std::ptr::NonNull;

#[repr(C)]
struct Opaque([u8; 0]);

// SAFETY: as `bench/dpdk/ring.c` defines them.
unsafe extern "C" {
    fn weft_ring_new(count: c_uint) -> *mut Opaque;
    fn weft_ring_free(ring: *mut Opaque);
    fn weft_ring_put(ring: *mut Opaque, items: *const *mut c_void, count: c_uint) -> c_uint;
    fn weft_ring_get(ring: *mut Opaque, items: *mut *mut c_void, count: c_uint) -> c_uint;
    fn weft_ring_empty(ring: *const Opaque) -> c_uint;
}

/// A ring with the default ways of its producers: each waits for those before it.
pub(super) struct RteRing(NonNull<Opaque>);

// SAFETY: `put` is for any thread, `get` for one at a time, as `Ring` has it.
unsafe impl Send for RteRing {}
// SAFETY: as above.
unsafe impl Sync for RteRing {}

impl RteRing {
    /// A ring, if there is memory.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: no conditions.
        NonNull::new(unsafe { weft_ring_new(ROOM as c_uint) }).map(Self)
    }
}

impl Ring for RteRing {
    fn put(&self, packets: &[Packet]) {
        let mut items = [std::ptr::null_mut::<c_void>(); BURST];
        for packets in packets.chunks(BURST) {
            for (item, packet) in items.iter_mut().zip(packets) {
                *item = packet.as_ptr().cast();
            }
            // SAFETY: as many items as are told.
            unsafe { weft_ring_put(self.0.as_ptr(), items.as_ptr(), packets.len() as c_uint) };
        }
    }

    fn get(&self, burst: &mut Vec<Packet>) {
        let mut items = [std::ptr::null_mut::<c_void>(); BURST];
        // SAFETY: there is room for as many as are asked for, and one thread takes.
        let count = unsafe { weft_ring_get(self.0.as_ptr(), items.as_mut_ptr(), BURST as c_uint) };
        let taken = items.iter().take(count as usize);
        // SAFETY: what was put in are packets' addresses.
        burst.extend(taken.map(|&item| unsafe { Packet::from_ptr(item.cast()) }));
    }

    fn is_empty(&self) -> bool {
        // SAFETY: any thread may ask.
        unsafe { weft_ring_empty(self.0.as_ptr()) != 0 }
    }
}

impl Drop for RteRing {
    fn drop(&mut self) {
        // SAFETY: from `weft_ring_new`, and not used again.
        unsafe { weft_ring_free(self.0.as_ptr()) };
    }
}
