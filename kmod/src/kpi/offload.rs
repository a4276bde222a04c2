// SPDX-License-Identifier: BSD-2-Clause
//! What packets ask of a device that it lacks, done before it gets them: segments cut, checksums
//! made, tags put in, by `weft_engine::wire::offload` over mbuf chains. Header: `sys/mbuf.h`.
//!
//! The stack asks an interface for nothing that this lacks. But packets come by other ways, from
//! bridges, netgraph(4) and tunnels, or were on their way when something was turned off; they
//! ask for sums behind headers that no card looks behind, or are longer than a card can cut.

use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use weft_bindings::kernel as c;
use weft_engine::link::Capabilities;
use weft_engine::packet::{Flags, Meta, Segmentation};
use weft_engine::wire::complete::Spans;
use weft_engine::wire::offload::{Lost, Outgoing, Request, Steps, carry_out};
use weft_engine::wire::protocol;

use super::checksum::crc_method;
use super::context::NetEpoch;
use super::errno::Errno;
use super::ifnet::Port;
use super::mbuf::{Mbuf, Row};

/// Sums of layer 4: of a packet itself, and of one in a tunnel.
const TCP: u32 = c::CSUM_IP_TCP | c::CSUM_IP6_TCP;
const UDP: u32 = c::CSUM_IP_UDP | c::CSUM_IP6_UDP;
const SCTP: u32 = c::CSUM_IP_SCTP | c::CSUM_IP6_SCTP;
const SUMS: u32 = TCP | UDP | SCTP;
const V6: u32 = c::CSUM_IP6_TCP | c::CSUM_IP6_UDP | c::CSUM_IP6_SCTP | c::CSUM_IP6_TSO;
const INNER_TCP: u32 = c::CSUM_INNER_IP_TCP | c::CSUM_INNER_IP6_TCP;
const INNER_UDP: u32 = c::CSUM_INNER_IP_UDP | c::CSUM_INNER_IP6_UDP;
const INNER_V6: u32 = c::CSUM_INNER_IP6_TCP | c::CSUM_INNER_IP6_UDP | c::CSUM_INNER_IP6_TSO;
const INNER: u32 = c::CSUM_INNER_IP | INNER_TCP | INNER_UDP | c::CSUM_INNER_TSO;
/// All that is done here.
const ALL: u32 = c::CSUM_IP | SUMS | c::CSUM_TSO | INNER;
/// A packet on its way out; none any more when memory was short.
struct Leaving(Option<Mbuf>);

impl Spans for Leaving {
    fn walk(&self, range: Range<usize>, see: &mut impl FnMut(&[u8])) {
        if let Some(packet) = &self.0 {
            packet.walk(range, see);
        }
    }
}

impl Outgoing for Leaving {
    fn len(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |packet| packet.packet_len() as usize)
    }

    fn change_front(&mut self, len: usize, change: impl FnOnce(&mut [u8])) -> bool {
        let packet = self.0.take();
        self.0 = packet.and_then(|packet| packet.with_front(len as u32, change));
        self.0.is_some()
    }

    fn grow_front(&mut self, len: usize) -> bool {
        let packet = self.0.take();
        self.0 = packet.and_then(|packet| packet.with_more_front(len as u32));
        self.0.is_some()
    }

    fn part(&self, header: &[u8], payload: Range<usize>) -> Option<Self> {
        let packet = self.0.as_ref()?;
        let part = packet.part_of(header.len(), payload, |place| {
            for (place, byte) in place.iter_mut().zip(header) {
                *place = *byte;
            }
        });
        part.map(|part| Self(Some(part)))
    }
}

/// What of a packet is asked for, as the engine says it.
fn meta(is_inner: bool, header: &c::weft_mbuf_meta) -> Meta {
    let (tcp, udp, v6, tso, ip) = match is_inner {
        true => (
            INNER_TCP,
            INNER_UDP,
            INNER_V6,
            c::CSUM_INNER_TSO,
            c::CSUM_INNER_IP,
        ),
        false => (TCP, UDP, V6, c::CSUM_TSO, c::CSUM_IP),
    };
    let asks = |flags| header.csum_flags & flags != 0;
    let is_sctp = !is_inner && asks(SCTP);
    let mut meta = Meta {
        protocol: match (asks(udp), is_sctp) {
            (true, _) => protocol::UDP,
            (_, true) => protocol::SCTP,
            _ => protocol::TCP,
        },
        segmentation: match (asks(tso), asks(v6)) {
            (false, _) => Segmentation::None,
            (_, false) => Segmentation::TcpIpv4,
            (_, true) => Segmentation::TcpIpv6,
        },
        ..Meta::default()
    };
    meta.flags.set(Flags::FILL_IP, asks(ip));
    meta.flags.set(Flags::FILL_L4, asks(tcp | udp) || is_sctp);
    meta.flags.set(Flags::IPV6, asks(v6));
    let is_tagged = !is_inner && header.flags & c::M_VLANTAG != 0;
    meta.flags.set(Flags::VLAN, is_tagged);
    meta
}

impl Port {
    /// Sends a frame that others than its own network stack have made, as
    /// [`send`](Port::send), after what the interface lacks was done for it. Segments are cut
    /// in any case: how long they may be for the interface, only its own network stack heeds.
    ///
    /// # Errors
    /// What the driver said, or `ENOBUFS`; some of what was cut may have been sent.
    pub(crate) fn send_helped(&self, frame: Mbuf, epoch: &NetEpoch<'_>) -> Result<(), Errno> {
        let asked = frame.header().csum_flags & ALL;
        // SAFETY: reads a number.
        let assists = unsafe { c::if_gethwassist(self.raw_ifnet().as_ptr()) } as u32;
        if asked & (!assists | c::CSUM_TSO) == 0 {
            return self.send(frame, epoch);
        }
        let has = |sums, what| match assists & sums == sums {
            true => what,
            false => Capabilities::empty(),
        };
        let fills = has(c::CSUM_IP_TCP | c::CSUM_IP_UDP, Capabilities::FILL_IPV4)
            | has(c::CSUM_IP6_TCP | c::CSUM_IP6_UDP, Capabilities::FILL_IPV6);
        let mut row = Row::new();
        let helped = frame.helped(fills, &mut row);
        let mut sent = helped.map_err(|_| Errno::ENOBUFS);
        while let Some(frame) = row.pop() {
            sent = sent.and(self.send(frame, epoch));
        }
        sent
    }
}

impl Mbuf {
    /// Puts what the packet becomes for a device that has these into the row, in order: itself,
    /// or what it is cut into. It asks for no more than the device has.
    ///
    /// # Errors
    /// Why the packet, or the rest of its parts, is lost.
    #[cold]
    #[inline(never)]
    fn helped(self, has: Capabilities, row: &mut Row) -> Result<(), Lost> {
        if self.header().csum_flags & INNER == 0 {
            return self.stepped(false, has, row);
        }
        // No device is told where the inner headers are.
        let mut inner = Row::new();
        let done = self.stepped(true, Capabilities::VLAN_TAG, &mut inner);
        while let Some(packet) = inner.pop() {
            packet.stepped(false, has, row)?;
        }
        done
    }

    /// The steps for the packet, or for the one inside of it.
    fn stepped(self, is_inner: bool, has: Capabilities, row: &mut Row) -> Result<(), Lost> {
        let header = self.header();
        let meta = meta(is_inner, &header);
        let mut steps = Steps::of(&meta, has);
        // Cards fill in no sum of an IPv4 header that they do not cut.
        steps.set(Steps::FILL_IP, meta.flags.contains(Flags::FILL_IP));
        let request = Request {
            tag: header.vtag,
            size: header.segsz.into(),
            is_inner,
        };
        let (done, left) = settled(steps, is_inner, meta.flags.contains(Flags::IPV6));
        let untag = steps.contains(Steps::TAG);
        carry_out(
            Leaving(Some(self)),
            steps,
            &request,
            crc_method(),
            &mut |one| {
                if let Some(packet) = one.0 {
                    packet.settle(done, left, untag);
                    row.push(packet);
                }
            },
        )
    }

    /// Notes that it does not ask for that any more, but for this.
    fn settle(&self, done: u32, left: u32, untag: bool) {
        // SAFETY: the chain is this value's own.
        unsafe { c::weft_shim_mbuf_settle(self.raw(), done, left, untag) }
    }

    /// The packet with so many bytes of any value in front; gone if there is no memory.
    fn with_more_front(self, len: u32) -> Option<Self> {
        let first = self.into_raw().as_ptr();
        // SAFETY: given away, and comes back or is gone.
        unsafe {
            let first = NonNull::new(c::weft_shim_mbuf_grow_front(first, len))?;
            Some(Self::from_raw(first))
        }
    }

    /// A packet of its own that begins with so many bytes, which are this one's until they are
    /// written, and has these of this one behind them, shared. `None` without memory.
    pub(super) fn part_of(
        &self,
        headers: usize,
        payload: Range<usize>,
        write: impl FnOnce(&mut [u8]),
    ) -> Option<Self> {
        let (from, len) = (payload.start as u32, payload.len() as u32);
        // SAFETY: so many bytes are in the chain, which is this value's own: who cuts it has
        // looked at its length.
        let mut part = unsafe {
            let part = c::weft_shim_mbuf_part(self.raw(), headers as u32, from, len);
            Self::from_raw(NonNull::new(part)?)
        };
        let link = part.link_mut();
        // SAFETY: the part is our own, and its first mbuf, which has just the headers, is
        // nobody else's.
        write(unsafe {
            slice::from_raw_parts_mut(link.data.cast::<u8>(), link.len as u32 as usize)
        });
        Some(part)
    }
}

/// What is not asked for any more after these steps, and what then is.
fn settled(steps: Steps, is_inner: bool, is_ipv6: bool) -> (u32, u32) {
    let sums = if is_inner {
        INNER_TCP | INNER_UDP
    } else {
        SUMS
    };
    let ip = if is_inner {
        c::CSUM_INNER_IP
    } else {
        c::CSUM_IP
    };
    let (mut done, mut left) = (0, 0);
    if steps.contains(Steps::FILL_IP) {
        done |= ip;
    }
    if steps.contains(Steps::FILL_L4) {
        done |= sums;
    }
    if steps.contains(Steps::CUT) {
        done |= ip | c::CSUM_TSO | c::CSUM_INNER_TSO;
        if is_inner {
            // A cut sums what is around, too.
            done |= INNER | SUMS | c::CSUM_IP;
        } else if !steps.contains(Steps::FILL_L4) {
            left = if is_ipv6 {
                c::CSUM_IP6_TCP
            } else {
                c::CSUM_IP_TCP
            };
        }
    }
    (done, left)
}
