// SPDX-License-Identifier: BSD-2-Clause
//! IPv6 packets given to the stack as by an interface, for tests.
//! Header: `netinet6/ip6_var.h`.

use core::ptr;

use weft_bindings::kernel as c;

use super::context::{NetEpoch, Vnet};
use super::mbuf::Link;

/// Packets that the stack is to receive on the loopback interface.
pub(crate) struct Incoming {
    first: *mut c::mbuf,
}

impl Incoming {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            first: ptr::null_mut(),
        }
    }

    /// One more with these bytes, 2048 at the most. `None` if there is no memory.
    pub(crate) fn push(&mut self, _vnet: &Vnet<'_>, bytes: &[u8]) -> Option<()> {
        // SAFETY: so many bytes are there; the new packet is our own.
        unsafe {
            let packet = c::weft_test_ip6(bytes.as_ptr().cast(), bytes.len() as u32);
            if packet.is_null() {
                return None;
            }
            (*packet.cast::<Link>()).nextpkt = self.first;
            self.first = packet;
        }
        Some(())
    }

    /// Has the stack receive them all. The ticks that it took.
    pub(crate) fn receive(mut self, _epoch: &NetEpoch<'_>, _vnet: &Vnet<'_>) -> u64 {
        let first = core::mem::replace(&mut self.first, ptr::null_mut());
        // SAFETY: a list of packets with headers, given away.
        unsafe { c::weft_test_ip6_input(first) }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        while !self.first.is_null() {
            // SAFETY: packets of our own, in a list.
            unsafe {
                let next = (*self.first.cast::<Link>()).nextpkt;
                c::m_freem(self.first);
                self.first = next;
            }
        }
    }
}
