// SPDX-License-Identifier: BSD-2-Clause
//! Typed tags that lie inside the packet's buffer.
//!
//! An [`Entry`] is laid out as `struct m_tag` (sys/mbuf.h), its data behind it, and a
//! packet's tags are a list that the kernel can walk: `m_tag_locate`, `m_tag_copy`,
//! `m_tag_delete` and whoever else takes a tag for a tag work on it, and tags that the
//! kernel has allocated may stand in the same list. What differs is the free function,
//! [`free`]: it gives a part of a buffer back, not memory.
//!
//! A tag may leave its packet: `m_move_pkthdr` hands the whole list to another mbuf,
//! and the first one may then be freed. So each tag keeps its buffer from being used
//! again until it is freed itself, wherever that happens (`count.rs`). The buffer is
//! found from the tag's address: the area is aligned to its size.

use super::count::Holds;
use super::layout::{Buffer, EMBEDDED, Header, TAGS, tag_area};
use super::pool;
use bytemuck::Pod;
use core::mem::{offset_of, size_of};
use core::ptr::{self, NonNull};

/// A kind of tag.
pub trait Tag {
    /// Whose tag it is, as in `m_tag_cookie`: let it be the time at which it was
    /// thought of, in seconds of the epoch.
    const COOKIE: u32;
    /// Which of his, as in `m_tag_id`. Bit 15 (`MTAG_PERSISTENT`) lets it live when the
    /// packet goes from one interface to another.
    const ID: u16;
    /// What it carries: plain bytes, aligned to 8 or less. The kernel copies them.
    type Data: Pod;
}

/// There is no room for another tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagsFull {
    /// Bytes that the tag takes, with what stands before its data.
    pub needs: usize,
    /// Bytes for all tags of a packet.
    pub area: usize,
}

/// `struct m_tag`. The data follows.
#[derive(Debug)]
#[repr(C)]
pub struct Entry {
    /// The next tag of the packet.
    pub(super) next: *mut Entry,
    kind: Kind,
    free: unsafe extern "C" fn(*mut Entry),
}

/// `m_tag_id`, `m_tag_len` and `m_tag_cookie`, which are compared and written as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Kind(u64);

impl Kind {
    const fn of<T: Tag>() -> Self {
        let [i0, i1] = T::ID.to_ne_bytes();
        let [l0, l1] = (size_of::<T::Data>() as u16).to_ne_bytes();
        let [c0, c1, c2, c3] = T::COOKIE.to_ne_bytes();
        Self(u64::from_ne_bytes([i0, i1, l0, l1, c0, c1, c2, c3]))
    }

    /// Bytes of the data.
    const fn len(self) -> usize {
        let [_, _, l0, l1, ..] = self.0.to_ne_bytes();
        u16::from_ne_bytes([l0, l1]) as usize
    }
}

impl Entry {
    /// Frees a tag by its own free function.
    ///
    /// # Safety
    ///
    /// It is a tag, in no list, and not used afterwards.
    pub(super) unsafe fn free(entry: *mut Self) {
        // SAFETY: the caller's promise.
        unsafe { ((*entry).free)(entry) };
    }
}

const _: () = assert!(size_of::<Entry>() == 24 && offset_of!(Entry, kind) == 8);
const _: () = assert!(EMBEDDED.is_multiple_of(TAGS));

/// Bytes of the unit in which the area is given out.
const UNIT: usize = 8;
/// Units of the area.
const UNITS: u32 = (TAGS / UNIT) as u32;

/// Units that a tag with `len` bytes of data takes.
const fn units(len: usize) -> u32 {
    ((size_of::<Entry>() + len).div_ceil(UNIT)) as u32
}

/// Frees a tag that lies in a buffer: `m_tag_free` of each of them. It may be the last
/// thing that kept the buffer. Any thread; does not sleep.
///
/// # Safety
///
/// `entry` is a tag of a packet of the engine's, in no list any more; it is not used
/// afterwards.
unsafe extern "C" fn free(entry: *mut Entry) {
    // SAFETY: the area is aligned to its size and lies so far behind its header. The
    // tag has kept the buffer until here.
    unsafe {
        let (buffer, first, count) = place(entry);
        if (*buffer.as_ptr()).holds.give(first, count) {
            pool::give_back(buffer);
        }
    }
}

/// The one address of [`free`] by which tags of the engine's are known. A function
/// has several, for all that the language says.
static FREE: unsafe extern "C" fn(*mut Entry) = free;

/// The buffer of a tag, the tag's first unit and how many it has.
///
/// # Safety
/// The tag is in a buffer, put there by [`insert`].
unsafe fn place(entry: *mut Entry) -> (Buffer, u32, u32) {
    // SAFETY: the caller's tag, in its buffer. `insert` exposed the provenance.
    unsafe {
        let address = entry.addr();
        let area = address & !(TAGS - 1);
        let header = ptr::with_exposed_provenance_mut(area.wrapping_sub(EMBEDDED));
        let count = units((*entry).kind.len());
        let first = (address.wrapping_sub(area) / UNIT) as u32;
        (NonNull::new_unchecked(header), first, count)
    }
}

/// Whether a tag lies in a buffer of the engine's, in whichever.
fn is_inline(entry: &Entry) -> bool {
    ptr::fn_addr_eq(entry.free, FREE)
}

/// The data of the packet's tag of this kind.
///
/// # Safety
///
/// The packet is the caller's or shared by him.
#[inline]
pub(super) unsafe fn find<T: Tag>(buffer: Buffer) -> Option<NonNull<T::Data>> {
    const { assert!(align_of::<T::Data>() <= UNIT) };
    // SAFETY: tags of the list live as long as they are in it.
    unsafe {
        let mut entry = (*buffer.as_ptr()).tags;
        while let Some(tag) = entry.as_ref() {
            if tag.kind == const { Kind::of::<T>() } {
                return NonNull::new(entry.add(1).cast());
            }
            entry = tag.next;
        }
    }
    None
}

/// Puts a tag before the others.
///
/// # Safety
///
/// The packet is the caller's alone.
#[inline]
pub(super) unsafe fn insert<T: Tag>(buffer: Buffer, data: T::Data) -> Result<(), TagsFull> {
    const {
        assert!(align_of::<T::Data>() <= UNIT);
        assert!(
            size_of::<Entry>() + size_of::<T::Data>() <= TAGS,
            "no packet has that much room"
        );
    }
    // SAFETY: the area is the caller's but for what other tags have taken of it, and
    // long enough.
    unsafe {
        let entry = room(buffer, size_of::<T::Data>())?;
        entry.write(Entry {
            next: (*buffer.as_ptr()).tags,
            kind: const { Kind::of::<T>() },
            free: FREE,
        });
        entry.add(1).cast::<T::Data>().write(data);
        (*buffer.as_ptr()).tags = entry;
    }
    Ok(())
}

/// A place in the area for a tag with `len` bytes of data.
///
/// # Safety
/// The buffer lives, and its tags are the caller's to change.
#[inline]
unsafe fn room(buffer: Buffer, len: usize) -> Result<*mut Entry, TagsFull> {
    // SAFETY: the caller's buffer; the units are in its area.
    unsafe {
        let holds: &Holds = &(*buffer.as_ptr()).holds;
        let full = TagsFull {
            needs: units(len) as usize * UNIT,
            area: TAGS,
        };
        let first = holds.take(units(len), UNITS).ok_or(full)?;
        buffer.as_ptr().expose_provenance();
        Ok(tag_area(buffer).add(first as usize * UNIT).cast())
    }
}

/// Takes the packet's tag of this kind out, and frees it.
///
/// # Safety
///
/// The packet is the caller's alone.
#[inline]
pub(super) unsafe fn remove<T: Tag>(buffer: Buffer) -> Option<T::Data> {
    // SAFETY: tags of the list live as long as they are in it, and are the packet's.
    unsafe {
        let mut link: *mut *mut Entry = &raw mut (*buffer.as_ptr()).tags;
        while let Some(tag) = (*link).as_ref() {
            if tag.kind == const { Kind::of::<T>() } {
                let entry = *link;
                *link = tag.next;
                let data = entry.add(1).cast::<T::Data>().read();
                drop_one(buffer, entry, size_of::<T::Data>());
                return Some(data);
            }
            link = &raw mut (**link).next;
        }
    }
    None
}

/// Frees a tag of the packet, with `len` bytes of data, that is in its list no more.
///
/// # Safety
/// The tag is the packet's, of that length, and nobody finds it any more.
#[inline]
unsafe fn drop_one(buffer: Buffer, entry: *mut Entry, len: usize) {
    // SAFETY: a tag. What lies in this buffer's area is one of the engine's, and the caller
    // has the data.
    unsafe {
        let at = entry.addr().wrapping_sub(tag_area(buffer).addr());
        if at < TAGS {
            let first = (at / UNIT) as u32;
            return (*buffer.as_ptr()).holds.give_own(first, units(len));
        }
        Entry::free(entry);
    }
}

/// Frees all tags of the packet.
///
/// # Safety
///
/// The packet is the caller's alone.
#[inline]
pub(super) unsafe fn clear(buffer: Buffer) {
    // SAFETY: as in `remove`.
    unsafe {
        let header: *mut Header = buffer.as_ptr();
        let mut entry = (*header).tags;
        (*header).tags = ptr::null_mut();
        while !entry.is_null() {
            let (next, len) = ((*entry).next, (*entry).kind.len());
            drop_one(buffer, entry, len);
            entry = next;
        }
    }
}

/// Gives the packet `to` the tags of `from`, in their order. False, with none given,
/// if there is one that is not the engine's: the platform alone knows how to copy it.
///
/// # Safety
///
/// `to` is the caller's alone and has no tags; `from` is shared by him.
pub(super) unsafe fn copy(to: Buffer, from: Buffer) -> bool {
    // SAFETY: tags of a list live as long as they are in it.
    unsafe {
        let mut link: *mut *mut Entry = &raw mut (*to.as_ptr()).tags;
        let mut entry = (*from.as_ptr()).tags;
        while let Some(tag) = entry.as_ref() {
            let len = tag.kind.len();
            let place = match is_inline(tag) {
                true => room(to, len),
                false => return clear_and_fail(to),
            };
            let Ok(place) = place else {
                return clear_and_fail(to);
            };
            ptr::copy_nonoverlapping(entry.cast::<u8>(), place.cast(), size_of::<Entry>() + len);
            (*place).next = ptr::null_mut();
            *link = place;
            link = &raw mut (*place).next;
            entry = tag.next;
        }
    }
    true
}

/// # Safety
/// As for [`clear`].
unsafe fn clear_and_fail(to: Buffer) -> bool {
    // SAFETY: the caller's.
    unsafe { clear(to) };
    false
}
