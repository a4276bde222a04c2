// SPDX-License-Identifier: BSD-2-Clause
//! Long segments of TCP: whether the stack that receives one keeps it whole, and cutting
//! it into frames if not. Headers: `sys/mbuf.h`, `netinet/ip_var.h`.

use core::mem;

use weft_bindings::kernel as c;
use weft_engine::link::Capabilities;
use weft_engine::wire::ethernet;
use weft_engine::wire::segment::{Cut, Destination};

use super::errno::Errno;
use super::ifnet::Port;
use super::mbuf::{Mbuf, Row};

/// Bytes of a packet's front that are looked at, if they are not in one piece: headers
/// that are longer keep a segment from being cut.
const FRONT: usize = 192;

/// How a frame is cut, and where it goes.
pub(crate) struct Plan {
    cut: Cut,
    destination: Destination,
    is_tagged: bool,
}

impl Mbuf {
    /// How to cut this frame, if it is a long segment that can be.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let mut scattered = [0; FRONT];
        let mut front = self.head();
        if front.len() < FRONT {
            let there = self.copy_out(0, &mut scattered);
            front = scattered.get(..there).unwrap_or_default();
        }
        let header = self.header();
        let cut = Cut::of(front, self.packet_len() as usize, header.segsz.into())?;
        let ethertype = front.get(ethernet::HEADER - 2..ethernet::HEADER)?;
        let is_ip = ethertype == ethernet::IPV4.to_be_bytes().as_slice()
            || ethertype == ethernet::IPV6.to_be_bytes().as_slice();
        Some(Plan {
            destination: cut.destination(front)?,
            is_tagged: header.flags & c::M_VLANTAG != 0 || !is_ip,
            cut,
        })
    }

    /// Cuts the frame, and puts its parts into the row.
    ///
    /// # Errors
    /// `ENOBUFS`; the parts for which there was no memory are lost.
    pub(crate) fn cut(self, plan: &Plan, row: &mut Row) -> Result<(), Errno> {
        for n in 0..plan.cut.count() {
            row.push(self.part(&plan.cut, n).ok_or(Errno::ENOBUFS)?);
        }
        Ok(())
    }

    /// The n-th part.
    fn part(&self, cut: &Cut, n: usize) -> Option<Self> {
        self.part_of(cut.headers(), cut.payload(n), |header| cut.write(n, header))
    }
}

impl Port {
    /// Whether a frame that this interface receives can stay as long as it is, since
    /// nothing sends it on. In the network epoch.
    pub(crate) fn keeps(&self, plan: &Plan) -> bool {
        let enabled = self.enabled();
        // A VLAN's interface may be in another network stack.
        if plan.is_tagged {
            return false;
        }
        let ifp = self.raw_ifnet().as_ptr();
        // SAFETY: the interface is there; addresses are bytes in network order.
        unsafe {
            match plan.destination {
                Destination::V4(bytes) => {
                    let address = c::in_addr {
                        s_addr: u32::from_ne_bytes(bytes),
                    };
                    enabled.contains(Capabilities::SEGMENT_IPV4)
                        && c::weft_shim_ifnet_keeps(ifp, address)
                }
                Destination::V6(bytes) => {
                    let address = mem::transmute::<[u8; 16], c::in6_addr>(bytes);
                    enabled.contains(Capabilities::SEGMENT_IPV6)
                        && c::weft_shim_ifnet_keeps6(ifp, address)
                }
            }
        }
    }
}
