// SPDX-License-Identifier: BSD-2-Clause
//! Checksums over mbuf chains, for this module and, by `include/weft.h`, for others. Header:
//! `machine/in_cksum.h`.
//!
//! A chain is walked here and not by `m_apply`, which calls a function for each mbuf: only
//! one with unmapped pages is left to it, with all that is behind.

use core::ffi::{c_int, c_uint, c_void};
use core::ops::Range;
use core::slice;
use core::sync::atomic::{AtomicU8, Ordering};

use weft_bindings::kernel as c;
use weft_engine::wire::checksum::{self, Sum};
use weft_engine::wire::complete::Spans;
use weft_engine::wire::crc32c::{Crc, Method};

use super::mbuf::{Link, Mbuf};

impl Spans for Mbuf {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        // SAFETY: the chain is this value's own.
        unsafe { walk(self.raw(), range.start, range.len(), see) }
    }
}

/// Shows the bytes of a chain, `len` of them from `skip` on, or those that are there.
///
/// # Safety
/// It is a chain of mbufs, which nobody changes meanwhile.
#[inline(always)]
unsafe fn walk(
    chain: *const c::mbuf,
    mut skip: usize,
    mut len: usize,
    see: &mut impl FnMut(&[u8]),
) {
    let mut next = chain.cast::<Link>();
    while len > 0 && !next.is_null() {
        // SAFETY: an mbuf of the chain.
        let link = unsafe { &*next };
        if link.bits & c::WEFT_MBUF_UNMAPPED != 0 {
            // SAFETY: as above.
            return unsafe { walk_unmapped(next, skip, len, see) };
        }
        let there = link.len.max(0) as usize;
        if skip >= there {
            skip = skip.wrapping_sub(there);
        } else {
            let count = there.wrapping_sub(skip).min(len);
            // SAFETY: so many bytes are at `data`.
            see(unsafe { slice::from_raw_parts(link.data.cast::<u8>().add(skip), count) });
            (skip, len) = (0, len.wrapping_sub(count));
        }
        next = link.next.cast();
    }
}

/// The same of what has unmapped pages, which the kernel maps piece by piece.
///
/// # Safety
/// As for `walk`.
#[cold]
#[inline(never)]
unsafe fn walk_unmapped<S: FnMut(&[u8])>(chain: *const Link, skip: usize, len: usize, see: &mut S) {
    extern "C" fn show<S: FnMut(&[u8])>(see: *mut c_void, data: *mut c_void, len: c_uint) -> c_int {
        // SAFETY: `see` is what was given to m_apply below, and so many bytes are at `data`.
        unsafe { (*see.cast::<S>())(slice::from_raw_parts(data.cast(), len as usize)) };
        0
    }
    let mbuf = chain.cast_mut().cast::<c::mbuf>();
    // SAFETY: as above. m_apply wants all bytes to be there.
    unsafe {
        let there = c::m_length(mbuf, core::ptr::null_mut()) as usize;
        let len = there.saturating_sub(skip).min(len);
        if len > 0 {
            let see = (&raw mut *see).cast();
            c::m_apply(mbuf, skip as c_int, len as c_int, Some(show::<S>), see);
        }
    }
}

/// How CRC32c is made on this CPU: 0 if nobody has asked yet.
static METHOD: AtomicU8 = AtomicU8::new(0);
const BY_TABLES: u8 = 1;
const BY_INSTRUCTION: u8 = 2;

/// How CRC32c is made on this CPU.
#[inline]
pub(crate) fn crc_method() -> Method {
    match METHOD.load(Ordering::Relaxed) {
        0 => find_method(),
        found => by(found),
    }
}

#[cold]
#[inline(never)]
fn find_method() -> Method {
    let found = match has_instruction() {
        false => BY_TABLES,
        true => BY_INSTRUCTION,
    };
    METHOD.store(found, Ordering::Relaxed);
    by(found)
}

/// What is stored of a method, as one.
#[inline(always)]
fn by(found: u8) -> Method {
    match found {
        // SAFETY: it was found where CPUID said that there is SSE4.2.
        #[cfg(target_arch = "x86_64")]
        BY_INSTRUCTION => unsafe { Method::instruction() },
        _ => Method::TABLES,
    }
}

/// Whether the CPU has an instruction for CRC32c that the module knows.
fn has_instruction() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const SSE42: u32 = 1 << 20;
        core::arch::x86_64::__cpuid(1).ecx & SSE42 != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Bytes from `skip` to `len`, as the functions of the kernel take it.
#[inline]
fn range(len: c_int, skip: c_int) -> (usize, usize) {
    let skip = skip.max(0);
    (skip as usize, len.saturating_sub(skip).max(0) as usize)
}

/// The version of `include/weft.h`.
#[unsafe(no_mangle)]
extern "C" fn weft_api() -> c_uint {
    c::WEFT_API
}

/// # Safety
/// As `include/weft.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_in_cksum_skip(chain: *const c::mbuf, len: c_int, skip: c_int) -> u16 {
    let (skip, len) = range(len, skip);
    let mut sum = Sum::new();
    // SAFETY: the caller's promise.
    unsafe { walk(chain, skip, len, &mut |piece| sum.add(piece)) };
    sum.checksum().to_be()
}

/// # Safety
/// As `include/weft.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_in_cksum_data(data: *const u8, len: usize) -> u16 {
    // SAFETY: the caller's promise.
    checksum::of(unsafe { bytes(data, len) }).to_be()
}

/// # Safety
/// As `include/weft.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_in_cksum_change(
    sum: u16,
    before: *const u8,
    after: *const u8,
    len: usize,
) -> u16 {
    // SAFETY: the caller's promise.
    let (before, after) = unsafe { (bytes(before, len), bytes(after, len)) };
    checksum::changed_bytes(u16::from_be(sum), before, after).to_be()
}

/// # Safety
/// As `include/weft.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_sctp_cksum(chain: *const c::mbuf, len: c_int, skip: c_int) -> u32 {
    let (skip, len) = range(len, skip);
    let mut crc = Crc::new(crc_method());
    // SAFETY: the caller's promise.
    unsafe { walk(chain, skip, len, &mut |piece| crc.add(piece)) };
    // The lowest byte is sent first.
    crc.value().to_le()
}

/// # Safety
/// As `include/weft.h` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn weft_crc32c(crc: u32, data: *const u8, len: usize) -> u32 {
    let mut crc = Crc::behind(crc, crc_method());
    // SAFETY: the caller's promise.
    crc.add(unsafe { bytes(data, len) });
    crc.value()
}

/// # Safety
/// So many bytes are there, for as long as the result is used; of none, `data` may be
/// anything.
#[inline]
unsafe fn bytes<'b>(data: *const u8, len: usize) -> &'b [u8] {
    match len {
        0 => &[],
        // SAFETY: the caller's promise.
        _ => unsafe { slice::from_raw_parts(data, len) },
    }
}
