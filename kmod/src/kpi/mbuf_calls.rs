// SPDX-License-Identifier: BSD-2-Clause
//! What the stack does with packets, for tests: calls of mbuf(9) by their names.

use core::ffi::c_int;
use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;

use super::mbuf::Mbuf;

const NOWAIT: c_int = c::M_NOWAIT as c_int;

impl Mbuf {
    /// A chain that such a call returned.
    fn returned(mbuf: *mut c::mbuf) -> Option<Self> {
        // SAFETY: the calls below return a chain of their own, with a header, or null.
        NonNull::new(mbuf).map(|first| unsafe { Self::from_raw(first) })
    }

    /// `m_dup`: a copy that shares nothing.
    pub(crate) fn dup(&self) -> Option<Self> {
        // SAFETY: the chain is this value's own.
        Self::returned(unsafe { c::m_dup(self.raw(), NOWAIT) })
    }

    /// `m_copypacket`: one that shares what is external.
    pub(crate) fn copypacket(&self) -> Option<Self> {
        // SAFETY: the chain is this value's own.
        Self::returned(unsafe { c::m_copypacket(self.raw(), NOWAIT) })
    }

    /// `m_pullup`: the first `len` bytes in one piece.
    pub(crate) fn pullup(self, len: u32) -> Option<Self> {
        // SAFETY: given away; freed if it fails.
        Self::returned(unsafe { c::m_pullup(self.into_raw().as_ptr(), len as c_int) })
    }

    /// `m_unshare`: one that may be written to.
    pub(crate) fn unshare(self) -> Option<Self> {
        // SAFETY: given away; freed if it fails.
        Self::returned(unsafe { c::m_unshare(self.into_raw().as_ptr(), NOWAIT) })
    }

    /// `m_defrag`: in as few mbufs as possible; itself if it fails.
    pub(crate) fn defrag(self) -> Self {
        let first = self.into_raw();
        // SAFETY: given away, but for a failure.
        Self::returned(unsafe { c::m_defrag(first.as_ptr(), NOWAIT) })
            // SAFETY: as before.
            .unwrap_or_else(|| unsafe { Self::from_raw(first) })
    }

    /// `m_split`: what is behind the first `len` bytes.
    pub(crate) fn split(&mut self, len: u32) -> Option<Self> {
        // SAFETY: the chain is this value's own, and stays.
        Self::returned(unsafe { c::m_split(self.raw(), len as c_int, NOWAIT) })
    }

    /// `m_cat`, with the header's length brought up to date.
    pub(crate) fn cat(&mut self, other: Self) {
        let other = other.into_raw().as_ptr();
        // SAFETY: both are chains of our own; the other one is given away.
        unsafe { c::weft_shim_mbuf_catpkt(self.raw(), other) }
    }

    /// `m_prepend`: bytes before it, in an mbuf of their own if there is no room.
    pub(crate) fn prepend(self, bytes: &[u8]) -> Option<Self> {
        // SAFETY: given away; freed if it fails. The bytes are there and may be written.
        unsafe {
            let first = self.into_raw().as_ptr();
            let mbuf = Self::returned(c::m_prepend(first, bytes.len() as c_int, NOWAIT))?;
            c::weft_shim_mbuf_copyback(mbuf.raw(), bytes.as_ptr().cast(), bytes.len() as u32);
            Some(mbuf)
        }
    }

    /// `m_adj`: bytes off the front.
    pub(crate) fn adj(&mut self, count: u32) {
        // SAFETY: the chain is this value's own.
        unsafe { c::m_adj(self.raw(), count as c_int) }
    }

    /// `m_tag_alloc` and `m_tag_prepend`: a tag of the kernel's.
    pub(crate) fn add_tag(&mut self, cookie: u32, id: u16, data: u64) -> bool {
        // SAFETY: a tag of its own, with room for the data, for the chain's header.
        unsafe {
            let tag = c::m_tag_alloc(cookie, id, size_of::<u64>() as c_int, NOWAIT);
            if tag.is_null() {
                return false;
            }
            tag.add(1).cast::<u64>().write(data);
            c::weft_shim_mbuf_add_tag(self.raw(), tag);
        }
        true
    }

    /// `m_tag_locate`: the data of a tag.
    pub(crate) fn tag(&self, cookie: u32, id: u16) -> Option<u64> {
        // SAFETY: the chain is this value's own; tags found have data of that length.
        unsafe {
            let tag = c::m_tag_locate(self.raw(), cookie, id, ptr::null_mut());
            (!tag.is_null()).then(|| tag.add(1).cast::<u64>().read())
        }
    }

    /// `m_tag_copy_chain`: the other one's tags, copied.
    pub(crate) fn copy_tags(&mut self, other: &Self) -> bool {
        // SAFETY: both begin with headers.
        unsafe { c::m_tag_copy_chain(self.raw(), other.raw(), NOWAIT) != 0 }
    }

    /// `m_tag_delete`: away with a tag.
    pub(crate) fn delete_tag(&mut self, cookie: u32, id: u16) {
        // SAFETY: a tag of the chain's header.
        unsafe {
            let tag = c::m_tag_locate(self.raw(), cookie, id, ptr::null_mut());
            if !tag.is_null() {
                c::m_tag_delete(self.raw(), tag);
            }
        }
    }

    /// A chain of ordinary mbufs of `piece` bytes each with these bytes.
    pub(crate) fn scattered(bytes: &[u8], piece: usize) -> Option<Self> {
        let (data, len) = (bytes.as_ptr().cast(), bytes.len() as u32);
        // SAFETY: copies so many bytes.
        Self::returned(unsafe { c::weft_shim_mbuf_scattered(data, len, piece as u32) })
    }

    /// Pages that are mapped nowhere with these bytes, as sendfile(2) makes them.
    pub(crate) fn unmapped(bytes: &[u8]) -> Option<Self> {
        // SAFETY: copies so many bytes.
        let mbuf = unsafe { c::weft_shim_mbuf_unmapped(bytes.as_ptr().cast(), bytes.len() as u32) };
        Self::returned(mbuf)
    }
}
