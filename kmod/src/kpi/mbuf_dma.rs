// SPDX-License-Identifier: BSD-2-Clause
//! Packets of the system's on their way to and from a device: an mbuf chain that the device
//! reads, and mbufs with clusters that it writes. Headers: `sys/mbuf.h`, `sys/bus_dma.h`.

use core::ptr::NonNull;

use weft_bindings::kernel as c;
use weft_engine::nic::{
    self, Asked, MapError, Meta, Offload, Segment, SegmentSums, Segments, Verdict, describe,
};
use weft_engine::packet::HashKind;

use super::dma::{Loaded, Maps, Sync};
use super::ifnet::Port;
use super::mbuf::Mbuf;
use super::shared::Shared;

/// Bytes of a packet's front in which its headers are looked for: all of ordinary packets.
const FRONT: u32 = 128;

/// What the stack may leave to a card.
const CHECKSUMS: u32 =
    c::CSUM_IP_TCP | c::CSUM_IP_UDP | c::CSUM_IP6_TCP | c::CSUM_IP6_UDP | c::CSUM_TSO;

impl Mbuf {
    /// What the card is to do with the packet, whose headers are prepared for that. `None`, and
    /// the packet is gone, if the card can't, or there is no memory.
    #[inline]
    pub(crate) fn described(self, sums: SegmentSums) -> Option<(Self, Offload)> {
        let header = self.header();
        let vlan = (header.flags & c::M_VLANTAG != 0).then_some(header.vtag);
        if header.csum_flags & CHECKSUMS == 0 {
            let offload = Offload {
                vlan,
                ..Offload::default()
            };
            return Some((self, offload));
        }
        let is_segment = header.csum_flags & c::CSUM_TSO != 0;
        let asked = Asked {
            checksum: true,
            mss: if is_segment { header.segsz } else { 0 },
            vlan,
        };
        self.headers_described(&asked, sums)
    }

    #[inline]
    fn headers_described(self, asked: &Asked, sums: SegmentSums) -> Option<(Self, Offload)> {
        let there = (self.head().len() as u32).min(FRONT);
        let mut found = Err(nic::Unfit);
        let mut frame = self.with_front(there, |front| found = describe(front, asked, sums))?;
        if found.is_err() && there < FRONT {
            // The headers are not in one piece.
            frame = frame.with_front(FRONT, |front| found = describe(front, asked, sums))?;
        }
        found.ok().map(|offload| (frame, offload))
    }

    /// Makes it a packet that the interface has received, of which a card says that.
    #[inline]
    pub(crate) fn received(&mut self, by: &Port, meta: &Meta) {
        let verdict = meta.verdict;
        let flag = |is, flag| if verdict.contains(is) { flag } else { 0 };
        let said = c::weft_received {
            csum_flags: flag(Verdict::IP_CHECKED, c::CSUM_L3_CALC)
                | flag(Verdict::IP_GOOD, c::CSUM_L3_VALID)
                | flag(Verdict::L4_CHECKED, c::CSUM_L4_CALC)
                | flag(Verdict::L4_GOOD, c::CSUM_L4_VALID),
            hash: meta.hash,
            vtag: meta.vlan.unwrap_or(0),
            segments: meta.segments,
            rsstype: hash_type(meta.hash_kind),
            tagged: meta.vlan.is_some(),
        };
        let ifp = by.raw_ifnet().as_ptr();
        // SAFETY: the packet is this value's own.
        unsafe { c::weft_shim_mbuf_received(self.raw(), ifp, &raw const said) }
    }
}

/// The kernel's name of a kind of hash.
#[inline]
fn hash_type(kind: HashKind) -> u8 {
    let kind = match kind {
        HashKind::None => c::M_HASHTYPE_NONE,
        HashKind::Opaque => c::WEFT_HASH_OPAQUE,
        HashKind::Ipv4 => c::WEFT_HASH_IPV4,
        HashKind::TcpIpv4 => c::WEFT_HASH_TCP_IPV4,
        HashKind::UdpIpv4 => c::WEFT_HASH_UDP_IPV4,
        HashKind::Ipv6 => c::WEFT_HASH_IPV6,
        HashKind::TcpIpv6 => c::WEFT_HASH_TCP_IPV6,
        HashKind::UdpIpv6 => c::WEFT_HASH_UDP_IPV6,
    };
    kind as u8
}

/// The kind of hash that the kernel calls so; one that has no name here is opaque.
#[inline]
pub(super) fn hash_kind(kernels: u8) -> HashKind {
    match u32::from(kernels) {
        c::M_HASHTYPE_NONE => HashKind::None,
        c::WEFT_HASH_IPV4 => HashKind::Ipv4,
        c::WEFT_HASH_TCP_IPV4 => HashKind::TcpIpv4,
        c::WEFT_HASH_UDP_IPV4 => HashKind::UdpIpv4,
        c::WEFT_HASH_IPV6 => HashKind::Ipv6,
        c::WEFT_HASH_TCP_IPV6 => HashKind::TcpIpv6,
        c::WEFT_HASH_UDP_IPV6 => HashKind::UdpIpv6,
        _ => HashKind::Opaque,
    }
}

/// A packet to be sent. Fields are dropped in order: first the device's reach ends.
pub(crate) struct Frame {
    loaded: Option<Loaded>,
    mbuf: Mbuf,
    maps: Shared<Maps>,
}

impl Frame {
    /// The packet, by maps of that queue's.
    #[inline]
    pub(crate) fn new(mbuf: Mbuf, maps: &Shared<Maps>) -> Self {
        Self {
            loaded: None,
            mbuf,
            maps: maps.clone(),
        }
    }
}

impl nic::Frame for Frame {
    #[inline]
    fn bytes(&self) -> u32 {
        self.mbuf.packet_len()
    }

    #[inline]
    fn map(&mut self, into: &mut Segments) -> Result<(), MapError> {
        let loaded = Maps::load(&self.maps, &self.mbuf, into)?;
        loaded.sync(Sync::BeforeRead);
        self.loaded = Some(loaded);
        Ok(())
    }

    fn linearize(&mut self, most: usize) -> Result<(), MapError> {
        match self.mbuf.collapse(most as u32) {
            true => Ok(()),
            false => Err(MapError::NoMemory),
        }
    }
}

/// Memory for received bytes: an mbuf with a cluster, in the device's reach.
pub(crate) struct Buffer {
    loaded: Loaded,
    mbuf: Mbuf,
    place: Segment,
}

impl Buffer {
    /// A buffer of so many bytes at least, if there is memory. Does not sleep.
    #[inline]
    pub(crate) fn new(maps: &Shared<Maps>, bytes: u32) -> Option<Self> {
        // SAFETY: a new mbuf with a header, or none.
        let mbuf = unsafe {
            let first = c::weft_shim_mbuf_with_cluster(bytes);
            Mbuf::from_raw(NonNull::new(first)?)
        };
        let (loaded, place) = Maps::load_one(maps, &mbuf).ok()?;
        loaded.sync(Sync::BeforeWrite);
        Some(Self {
            loaded,
            mbuf,
            place,
        })
    }

    /// Where the device sees it.
    #[inline]
    pub(crate) fn place(&self) -> Segment {
        self.place
    }

    /// The first bytes that the device has written there.
    #[inline]
    pub(crate) fn front(&self) -> [u8; nic::FRONT] {
        self.loaded.sync(Sync::AfterWrite);
        self.mbuf.head().first_chunk().copied().unwrap_or_default()
    }

    /// What the device has put there, so many bytes from `skip` on; no more than there are.
    #[inline]
    fn received(self, skip: u32, bytes: u32) -> Mbuf {
        self.loaded.sync(Sync::AfterWrite);
        drop(self.loaded);
        let skip = skip.min(self.place.bytes);
        let bytes = bytes.min(self.place.bytes.wrapping_sub(skip));
        // SAFETY: both are within the cluster, of an mbuf that nobody else has.
        unsafe { c::weft_shim_mbuf_take(self.mbuf.raw(), skip, bytes) };
        self.mbuf
    }
}

/// A packet that was received, in one buffer or in several.
pub(crate) struct Packet {
    mbuf: Mbuf,
    /// The last mbuf of the chain.
    last: NonNull<c::mbuf>,
}

// SAFETY: the chain is this value's own.
unsafe impl Send for Packet {}

impl Packet {
    /// What a buffer has.
    #[inline]
    pub(crate) fn new(buffer: Buffer, skip: u32, bytes: u32) -> Self {
        let mbuf = buffer.received(skip, bytes);
        let last = mbuf.first;
        Self { mbuf, last }
    }

    /// Puts what another buffer has behind it.
    #[inline]
    pub(crate) fn append(&mut self, buffer: Buffer, skip: u32, bytes: u32) {
        let more = buffer.received(skip, bytes).into_raw();
        // SAFETY: the last mbuf of a chain of our own, and one that is given away.
        unsafe { c::weft_shim_mbuf_append(self.mbuf.raw(), self.last.as_ptr(), more.as_ptr()) };
        self.last = more;
    }

    /// The packet as the system's.
    pub(crate) fn into_mbuf(self) -> Mbuf {
        self.mbuf
    }
}
