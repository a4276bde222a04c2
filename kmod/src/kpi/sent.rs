// SPDX-License-Identifier: BSD-2-Clause
//! Packets that ask an interface for anything, for tests. The C is in
//! `sys-shim/c/test/offload.c`.

use core::ffi::CStr;

use weft_bindings::kernel as c;

use super::context::{Sleepable, Vnet};
use super::errno::Errno;

/// A packet, and what it asks for.
pub(crate) struct Asking<'p> {
    /// Its first bytes; what follows is a pattern.
    pub(crate) header: &'p [u8],
    /// Bytes that follow.
    pub(crate) payload: u32,
    /// Mbufs that it is in.
    pub(crate) pieces: u32,
    /// As in `sys/mbuf.h`.
    pub(crate) csum_flags: u32,
    /// Likewise.
    pub(crate) segsz: u16,
    /// The tag beside it.
    pub(crate) tag: Option<u16>,
}

impl Asking<'_> {
    /// Has the interface of that name send it.
    ///
    /// # Errors
    /// `ENXIO` if there is none, or what its driver said.
    pub(crate) fn send(
        &self,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        interface: &CStr,
    ) -> Result<(), Errno> {
        let asked = c::weft_test_asked {
            payload: self.payload,
            pieces: self.pieces,
            csum_flags: self.csum_flags,
            segsz: self.segsz,
            vtag: self.tag.unwrap_or(0),
            is_tagged: self.tag.is_some(),
        };
        let (header, len) = (self.header.as_ptr().cast(), self.header.len() as u32);
        // SAFETY: so many bytes are there; may sleep.
        Errno::check(unsafe {
            c::weft_test_offload(interface.as_ptr(), header, len, &raw const asked)
        })
    }
}
