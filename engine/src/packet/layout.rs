// SPDX-License-Identifier: BSD-2-Clause
//! Where things are in a buffer.
//!
//! ```text
//!    0  the first half of the embedded struct mbuf: up to ext_arg2
//!  128  one cache line: metadata, and where the data is
//!  192  counts, owner, list of tags
//!  240  the rest of the embedded struct mbuf: ext_free, ext_arg1
//!  256  the area for tags
//!  320  the data area: headroom, data, tailroom
//! ```
//!
//! FreeBSD 15.1's `struct mbuf` is 256 bytes on amd64. One that has `M_EXT` and
//! `M_PKTHDR`, but not `M_EXTPG`, uses all but the bytes 128 to 240: there
//! `struct m_ext` has the page vector of `M_EXTPG` (sys/mbuf.h). Nothing in the
//! kernel writes to them; `mb_dupcl` copies them and nobody reads the copy. So they
//! are where the engine keeps what is its own, and a buffer costs 112 bytes less. The
//! kernel's side asserts these offsets when it is compiled.

use super::body::Chain;
use super::count::{Holds, Refs};
use super::meta::Meta;
use super::pool::Owner;
use super::slab::Slab;
use super::tag::Entry;
use crate::queue::Ticks;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;

/// Bytes that are reserved for the platform at the start of each buffer, aligned to
/// [`LINE`], but for those in [`ENGINE_FROM`]..[`ENGINE_TO`]. The engine never looks
/// into them. Their contents stay while a packet lives, and may be anything in a new one.
pub const EMBEDDED: usize = 256;
/// The first of the bytes among these that are the engine's.
pub const ENGINE_FROM: usize = 128;
/// The first one behind them.
pub const ENGINE_TO: usize = 240;

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Bytes of the area for tags, its alignment too.
pub(super) const TAGS: usize = 64;
/// Where the data area begins.
pub(super) const DATA_AT: usize = EMBEDDED + TAGS;
/// Bytes before the data of a new packet, for headers to come: Ethernet, a VLAN tag
/// and an IPv6 header, in a cache line.
pub const HEADROOM: usize = 64;

/// Bytes of a buffer, class by class. How they were chosen is told in
/// docs/decisions/0005.
pub const STRIDES: [usize; CLASSES] = [512, 1024, 2048, 4096, 9472, 17_408];
/// How many buffers of each class a slab has: some 64 KB of them, in whole pages of which
/// little is left over.
pub(super) const PER_SLAB: [usize; CLASSES] = [128, 64, 32, 16, 6, 4];
/// How many size classes there are.
pub const CLASSES: usize = 6;
/// The longest data for which there is a buffer, in bytes.
pub const LONGEST: usize = STRIDES[CLASSES - 1] - DATA_AT - HEADROOM;

/// The class of buffers for `len` bytes of data behind the usual headroom.
#[inline]
pub(super) fn class_for(len: usize) -> Option<usize> {
    let size = len.checked_add(DATA_AT + HEADROOM)?;
    STRIDES.iter().position(|&stride| size <= stride)
}

/// Bytes of the data area of a class; 0 for a class that is not there.
#[inline]
pub(super) fn room_of(class: u8) -> usize {
    let stride = STRIDES.get(usize::from(class)).copied();
    stride.unwrap_or(DATA_AT).wrapping_sub(DATA_AT)
}

/// A buffer, by its header.
pub(super) type Buffer = NonNull<Header>;

/// Where the data is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Extent {
    /// What follows the inline data.
    pub(super) chain: Option<Chain>,
    /// The first byte, from the start of the data area.
    pub(super) start: u16,
    /// Bytes in the buffer.
    pub(super) inline: u16,
    /// Bytes in the chain.
    pub(super) chained: u32,
}

/// What a queue and a link need.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Hot {
    pub(super) meta: Meta,
    pub(super) extent: Extent,
}

/// Before the data. Its parts are always reached one by one, never by a reference to
/// the whole, for some may be in others' hands.
#[repr(C, align(64))]
pub(super) struct Header {
    embedded: [MaybeUninit<u8>; ENGINE_FROM],
    pub(super) hot: Hot,
    pub(super) refs: Refs,
    pub(super) holds: Holds,
    /// The pool to which the buffer goes back. Set when the buffer is made.
    pub(super) owner: NonNull<Owner>,
    /// The slab that it is a part of. Set when the buffer is made.
    pub(super) slab: NonNull<Slab>,
    /// The packet's tags, the last one that was added first.
    pub(super) tags: *mut Entry,
    /// While the buffer is free: the next one in whatever list it is in.
    pub(super) next: Option<Buffer>,
    /// Its size class. Set when the buffer is made.
    pub(super) class: u8,
    /// While the buffer is free and the first of a bundle: how many others that has.
    pub(super) others: u8,
    unused: [MaybeUninit<u8>; 2],
    /// When a queue got the packet, if the queue drops what waits for too long.
    pub(super) queued_at: Ticks,
    rest: [MaybeUninit<u8>; EMBEDDED - ENGINE_TO],
}

const _: () = assert!(size_of::<Header>() == EMBEDDED);
const _: () = assert!(size_of::<Hot>() == LINE);
const _: () = assert!(offset_of!(Header, hot) == ENGINE_FROM);
const _: () = assert!(offset_of!(Header, rest) == ENGINE_TO);

/// The data area of a buffer.
///
/// # Safety
///
/// `buffer` is a pointer to a buffer, for all of it.
#[inline]
pub(super) unsafe fn data_area(buffer: Buffer) -> *mut u8 {
    // SAFETY: a buffer is longer than this.
    unsafe { buffer.as_ptr().cast::<u8>().add(DATA_AT) }
}

/// The tags' area of a buffer.
///
/// # Safety
///
/// As for [`data_area`].
#[inline]
pub(super) unsafe fn tag_area(buffer: Buffer) -> *mut u8 {
    // SAFETY: a buffer is longer than this.
    unsafe { buffer.as_ptr().cast::<u8>().add(EMBEDDED) }
}
