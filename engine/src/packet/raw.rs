// SPDX-License-Identifier: BSD-2-Clause
//! Packets as the platform takes them to pieces: in the kernel, to make the mbuf that
//! is embedded in a buffer stand for it, and to have a packet again from that mbuf.
//!
//! As an mbuf, a buffer is `M_EXT|M_PKTHDR|M_NOFREE` with `EXT_EXTREF`: `ext_buf` and
//! `ext_size` are the [data area](Packet::data_area), `ext_cnt` is the
//! [count of references](Packet::refs), the tags of the mbuf's header are the
//! [packet's](Packet::take_tags), and `ext_free` calls [`end_of_data`]. Then mbufs that
//! `mb_dupcl` made may share the data with packets, both count alike, and whoever
//! comes last frees it. An mbuf that comes back is a `Packet<Shared>` again; if
//! nobody else has the data, `try_writable` finds that out.

use super::layout::{Buffer, Extent, data_area, room_of};
use super::packet::{Packet, State, Writable};
use super::tag::Entry;
use super::{NoRoom, pool};
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

impl<S: State> Packet<S> {
    /// The start of the buffer, where [`EMBEDDED`](super::EMBEDDED) bytes are the
    /// platform's. The packet's reference to the data is the caller's now.
    #[inline]
    pub fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).buffer().cast()
    }

    /// The packet of a buffer.
    ///
    /// # Safety
    ///
    /// `buffer` came from [`into_raw`](Packet::into_raw), perhaps of another state; a
    /// reference to its data is the caller's, and the packet's from now on. If it is to be
    /// `Writable`, there is no other. Nobody else has the metadata and the list of tags.
    #[inline]
    pub unsafe fn from_raw(buffer: NonNull<u8>) -> Self {
        // SAFETY: the caller's promises.
        unsafe { Self::of(buffer.cast()) }
    }

    /// The count of references to the data. It may be changed by atomic operations as
    /// FreeBSD's `mb_dupcl` and `mb_free_ext` do it, for references that came from
    /// [`into_raw`](Packet::into_raw).
    pub fn refs(&self) -> NonNull<u32> {
        // SAFETY: the packet's buffer; no reference to the count is made.
        unsafe {
            let refs = &raw mut (*self.buffer().as_ptr()).refs;
            NonNull::new_unchecked(refs).cast()
        }
    }

    /// Where data can be, and how many bytes.
    pub fn data_area(&self) -> (NonNull<u8>, usize) {
        // SAFETY: the packet's buffer; its class was set when it was made.
        unsafe {
            let start = NonNull::new_unchecked(data_area(self.buffer()));
            (start, room_of((*self.buffer().as_ptr()).class))
        }
    }
}

impl Packet<Writable> {
    /// The list of its tags, which it has no longer.
    pub fn take_tags(&mut self) -> *mut Entry {
        // SAFETY: the packet's owner is alone.
        unsafe { ptr::replace(&raw mut (*self.buffer().as_ptr()).tags, ptr::null_mut()) }
    }

    /// Gives the packet, which has no tags, a list of them. Tags that it has are kept
    /// for ever.
    ///
    /// # Safety
    ///
    /// Each of them is a `struct m_tag` of which nobody else knows; if it is a packet's
    /// tag by [`take_tags`](Packet::take_tags), it has not been freed.
    pub unsafe fn give_tags(&mut self, tags: *mut Entry) {
        // SAFETY: the packet's owner is alone.
        unsafe { (*self.buffer().as_ptr()).tags = tags };
    }

    /// Lets the data in the buffer be `len` bytes from `start` on, as the platform has
    /// left it.
    ///
    /// # Errors
    ///
    /// They are not in the data area. The packet is as it was.
    pub fn set_data(&mut self, start: NonNull<u8>, len: usize) -> Result<(), NoRoom> {
        let (area, room) = self.data_area();
        let at = start.addr().get().wrapping_sub(area.addr().get());
        let within = at.checked_add(len).is_some_and(|end| end <= room);
        match (within, u16::try_from(at), u16::try_from(len)) {
            (true, Ok(at), Ok(len)) => {
                let extent: &mut Extent = self.extent_mut();
                extent.start = at;
                extent.inline = len;
                Ok(())
            }
            _ => Err(NoRoom { needs: len, room }),
        }
    }
}

/// Ends a buffer's data after its last reference, whoever counted that down. What
/// the packet carries and its tags are freed if they are still the packet's; the
/// buffer goes back to its pool unless one of its tags is elsewhere. Does not sleep.
///
/// # Safety
///
/// `buffer` came from [`Packet::into_raw`]; its last reference is gone, and told to be
/// so here only. Nothing of it is touched afterwards.
pub unsafe fn end_of_data(buffer: NonNull<u8>) {
    let buffer: Buffer = buffer.cast();
    // SAFETY: the caller's promises.
    unsafe {
        if super::packet::end(buffer) {
            pool::give_back(buffer);
        }
    }
}

/// Frees a list of tags that came from [`Packet::take_tags`], as the kernel frees those
/// of an mbuf.
///
/// # Safety
///
/// The tags are the caller's, and used no more.
pub unsafe fn free_tags(mut tags: *mut Entry) {
    while !tags.is_null() {
        // SAFETY: a tag, and the caller's; its next one is read before it is freed.
        unsafe {
            let next = (*tags).next;
            Entry::free(tags);
            tags = next;
        }
    }
}
