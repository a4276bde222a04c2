// SPDX-License-Identifier: BSD-2-Clause
//! Packets that an interface has received, joined by `weft_engine::nic::Joiner` before the stack
//! gets them: mbufs are linked, and no payload is copied. Header: `sys/mbuf.h`.

use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use weft_bindings::kernel as c;
use weft_engine::nic::{Families, Received};
use weft_engine::wire::aggregate::{Frame, Joined};
use weft_engine::wire::complete::Spans;

use super::ifnet::Port;
use super::mbuf::Mbuf;

/// A packet that others may be joined to.
pub(crate) struct Held {
    mbuf: Mbuf,
    /// An mbuf of its chain, near the end.
    last: NonNull<c::mbuf>,
}

// SAFETY: the chain is this value's own.
unsafe impl Send for Held {}

impl Held {
    /// A packet that was received.
    #[inline]
    pub(crate) fn new(mbuf: Mbuf) -> Self {
        let last = mbuf.first;
        Self { mbuf, last }
    }

    /// The packet, with what was joined to it.
    #[inline]
    pub(crate) fn into_mbuf(self) -> Mbuf {
        self.mbuf
    }
}

impl Spans for Held {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        self.mbuf.walk(range, see);
    }
}

impl Frame for Held {
    fn len(&self) -> usize {
        self.mbuf.packet_len() as usize
    }

    fn is_checked(&self) -> bool {
        self.mbuf.link().csum_flags & c::CSUM_L4_VALID != 0
    }

    fn join(&mut self, other: Self, payload: Range<usize>) -> Result<(), Self> {
        if payload.end != other.len() {
            return Err(other);
        }
        let (own, more) = (self.mbuf.raw(), other.mbuf.raw());
        // SAFETY: two chains with headers, each a value's own, the mbuf one of the first, and no
        // fewer bytes in the second than are left out of it. Unless it is null the second belongs
        // to the first.
        let last =
            unsafe { c::weft_shim_mbuf_join(own, self.last.as_ptr(), more, payload.start as u32) };
        let Some(last) = NonNull::new(last) else {
            return Err(other);
        };
        let _ = other.mbuf.into_raw();
        self.last = last;
        Ok(())
    }

    fn replace_front(&mut self, front: &[u8]) -> bool {
        let link = self.mbuf.link_mut();
        if front.len() > link.len as u32 as usize {
            return false;
        }
        // SAFETY: so many bytes are in the first mbuf, which nobody else may read: `join` has
        // looked that it can be written to.
        let place = unsafe { slice::from_raw_parts_mut(link.data.cast::<u8>(), front.len()) };
        place.copy_from_slice(front);
        true
    }
}

impl Received for Held {
    fn is_tagged(&self) -> bool {
        self.mbuf.header().flags & c::M_VLANTAG != 0
    }

    fn mark_joined(&mut self, joined: &Joined) {
        let link = self.mbuf.link_mut();
        link.csum_flags |= c::CSUM_L3_CALC | c::CSUM_L3_VALID | c::CSUM_L4_CALC | c::CSUM_L4_VALID;
        // The sum over data and pseudo-header, inverted, is 0.
        link.csum_value = 0xffff;
        link.segsz = joined.count;
    }
}

impl Port {
    /// What of that which the interface receives may be joined: what its network stack does not
    /// forward.
    pub(crate) fn joinable(&self) -> Families {
        // SAFETY: the interface is there.
        let forwards = unsafe { c::weft_shim_ifnet_forwards(self.raw_ifnet().as_ptr()) };
        let mut families = Families::all();
        families.set(Families::IPV4, forwards & c::WEFT_FORWARDS_IPV4 == 0);
        families.set(Families::IPV6, forwards & c::WEFT_FORWARDS_IPV6 == 0);
        families
    }
}
