// SPDX-License-Identifier: BSD-2-Clause
//! What packets ask of a device that it lacks, done before it gets them: segments cut, checksums
//! made, tags put in, by `weft_engine::wire::offload` over mbuf chains. Header: `sys/mbuf.h`.
//!
//! The stack asks an interface for nothing that this lacks. But packets come by other ways, from
//! bridges, netgraph(4) and tunnels, or were on their way when something was turned off; they
//! ask for sums behind headers that no card looks behind, or are longer than a card can cut.
//!
//! For the module's own cards [`Takes`] has what is on, as the flags of packets that need no help.

use core::ops::Range;
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU32, Ordering};

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
/// A tag beside the packet, among these flags; none that asks for anything has that number.
const TAG: u32 = c::CSUM_SND_TAG;

/// What a packet asks for, its tag included.
#[inline]
pub(super) fn asked(header: &c::weft_mbuf_meta) -> u32 {
    let tag = header.flags & c::M_VLANTAG != 0;
    header.csum_flags & ALL | if tag { TAG } else { 0 }
}

/// Whether the packet asks in one family only; TCP sets the flags of both for a long segment,
/// and those of its own for the sum.
#[inline]
fn is_ambiguous(csum_flags: u32) -> bool {
    csum_flags & c::CSUM_TSO == c::CSUM_TSO && csum_flags & SUMS == 0
}

/// What a card does for packets, at a time.
pub(crate) struct Takes {
    has: AtomicU32,
    /// What packets may ask for, without a tag and with one.
    plain: AtomicU32,
    tagged: AtomicU32,
}

impl Takes {
    /// Nothing.
    pub(crate) const fn nothing() -> Self {
        Self {
            has: AtomicU32::new(0),
            plain: AtomicU32::new(0),
            tagged: AtomicU32::new(0),
        }
    }

    /// From now on this is on.
    pub(crate) fn set(&self, has: Capabilities) {
        let flags = |what: Capabilities, flags| if has.contains(what) { flags } else { 0 };
        let fills = flags(Capabilities::FILL_IPV4, c::CSUM_IP_TCP | c::CSUM_IP_UDP)
            | flags(Capabilities::FILL_IPV6, c::CSUM_IP6_TCP | c::CSUM_IP6_UDP);
        let cuts = flags(Capabilities::SEGMENT_IPV4, c::CSUM_IP_TSO)
            | flags(Capabilities::SEGMENT_IPV6, c::CSUM_IP6_TSO);
        self.has.store(has.bits(), Ordering::Relaxed);
        self.plain.store(fills | cuts, Ordering::Relaxed);
        let tagged = flags(Capabilities::VLAN_TAG, TAG)
            | flags(Capabilities::VLAN_FILL, fills)
            | flags(Capabilities::VLAN_SEGMENT, cuts);
        self.tagged.store(tagged, Ordering::Relaxed);
    }

    /// What is on.
    pub(crate) fn has(&self) -> Capabilities {
        Capabilities::from_bits_truncate(self.has.load(Ordering::Relaxed))
    }

    /// Whether a packet [asks](asked) for what is not on.
    #[inline]
    pub(super) fn lacks(&self, asked: u32) -> bool {
        let takes = match asked & TAG {
            0 => &self.plain,
            _ => &self.tagged,
        };
        let takes = takes.load(Ordering::Relaxed);
        asked & !takes != 0 && is_lacking(asked, takes)
    }
}

/// The same of a packet that may ask for a long segment in a family that it is not of.
#[cold]
fn is_lacking(asked: u32, takes: u32) -> bool {
    let other = match (asked & (SUMS & !V6), asked & (SUMS & V6)) {
        (0, 1..) => c::CSUM_IP_TSO,
        (1.., 0) => c::CSUM_IP6_TSO,
        _ => 0,
    };
    // A card that cuts makes the sums of IPv4 headers.
    let own = match asked & c::CSUM_TSO & !other & takes {
        0 => other,
        _ => other | c::CSUM_IP,
    };
    asked & !own & !takes != 0
}

/// What was done for packets.
#[derive(Clone, Copy, Default)]
pub(crate) struct Completed {
    /// Long ones that were cut.
    pub(crate) cut: u64,
    /// What these were cut into.
    pub(crate) parts: u64,
    /// Those that were not cut and got sums.
    pub(crate) summed: u64,
    /// Those that got a tag, parts apart.
    pub(crate) tagged: u64,
}
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
    // What a long segment is, its sum tells, if it asks for one.
    let sums = header.csum_flags & (tcp | udp | if is_inner { 0 } else { SCTP });
    let is_ipv6 = match sums {
        0 => asks(v6),
        _ => sums & v6 != 0,
    };
    let is_sctp = !is_inner && asks(SCTP);
    let mut meta = Meta {
        protocol: match (asks(udp), is_sctp) {
            (true, _) => protocol::UDP,
            (_, true) => protocol::SCTP,
            _ => protocol::TCP,
        },
        segmentation: match (asks(tso), is_ipv6) {
            (false, _) => Segmentation::None,
            (_, false) => Segmentation::TcpIpv4,
            (_, true) => Segmentation::TcpIpv6,
        },
        ..Meta::default()
    };
    meta.flags.set(Flags::FILL_IP, asks(ip));
    meta.flags.set(Flags::FILL_L4, asks(tcp | udp) || is_sctp);
    meta.flags.set(Flags::IPV6, is_ipv6);
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
        let helped = frame.helped(fills, &mut row, &mut Completed::default());
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
    pub(crate) fn helped(
        self,
        has: Capabilities,
        row: &mut Row,
        completed: &mut Completed,
    ) -> Result<(), Lost> {
        let flags = self.header().csum_flags;
        let has = match is_ambiguous(flags) {
            true => has & Capabilities::VLAN_TAG,
            false => has,
        };
        if flags & INNER == 0 {
            return self.stepped(false, has, row, completed);
        }
        // No device is told where the inner headers are.
        let mut inner = Row::new();
        let done = self.stepped(true, Capabilities::VLAN_TAG, &mut inner, completed);
        while let Some(packet) = inner.pop() {
            packet.stepped(false, has, row, completed)?;
        }
        done
    }

    /// The steps for the packet, or for the one inside of it.
    fn stepped(
        self,
        is_inner: bool,
        has: Capabilities,
        row: &mut Row,
        completed: &mut Completed,
    ) -> Result<(), Lost> {
        let header = self.header();
        let meta = meta(is_inner, &header);
        let mut steps = Steps::of(&meta, has);
        // Cards fill in no sum of an IPv4 header that they do not cut.
        let stays = meta.segmentation == Segmentation::None || steps.contains(Steps::CUT);
        let fills_ip = meta.flags.contains(Flags::FILL_IP) && stays;
        steps.set(Steps::FILL_IP, fills_ip);
        completed.note(steps);
        let request = Request {
            tag: header.vtag,
            size: header.segsz.into(),
            is_inner,
        };
        let (done, left) = settled(steps, is_inner, meta.flags.contains(Flags::IPV6));
        let untag = steps.contains(Steps::TAG);
        let before = row.len();
        let carried = carry_out(
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
        );
        if steps.contains(Steps::CUT) {
            let parts = row.len().wrapping_sub(before);
            completed.parts = completed.parts.wrapping_add(parts.into());
        }
        carried
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

impl Completed {
    fn note(&mut self, steps: Steps) {
        let is_cut = steps.contains(Steps::CUT);
        let is_summed = !is_cut && steps.intersects(Steps::FILL_IP | Steps::FILL_L4);
        for (figure, is_so) in [
            (&mut self.cut, is_cut),
            (&mut self.summed, is_summed),
            (&mut self.tagged, steps.contains(Steps::TAG)),
        ] {
            *figure = figure.wrapping_add(is_so.into());
        }
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
