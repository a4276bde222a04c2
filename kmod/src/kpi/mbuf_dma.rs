// SPDX-License-Identifier: BSD-2-Clause
//! Packets of the system's on their way to and from a device: an mbuf chain that the device
//! reads, and mbufs with clusters that it writes. Headers: `sys/mbuf.h`, `sys/bus_dma.h`.

use core::ptr::{self, NonNull};

use weft_bindings::kernel as c;
use weft_engine::nic::{
    self, Asked, MapError, Meta, Offload, Segment, SegmentSums, Segments, Verdict, describe,
};
use weft_engine::packet::HashKind;

use super::dma::{Loaded, Maps, Sync};
use super::ifnet::Port;
use super::mbuf::Mbuf;
use super::netmap_dma::{Empty, Filled, Outgoing};
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
        let link = self.link_mut();
        link.rcvif = by.raw_ifnet().as_ptr();
        link.csum_flags = flag(Verdict::IP_CHECKED, c::CSUM_L3_CALC)
            | flag(Verdict::IP_GOOD, c::CSUM_L3_VALID)
            | flag(Verdict::L4_CHECKED, c::CSUM_L4_CALC)
            | flag(Verdict::L4_GOOD, c::CSUM_L4_VALID);
        if verdict.contains(Verdict::L4_GOOD) {
            // The sum over data and pseudo-header, inverted, is 0.
            link.csum_value = 0xffff;
        }
        link.flowid = meta.hash;
        link.rsstype = hash_type(meta.hash_kind);
        if let Some(vlan) = meta.vlan {
            link.vtag = vlan;
            link.bits |= c::M_VLANTAG << c::WEFT_MBUF_FLAGS;
        }
        if meta.segments > 1 {
            link.segsz = meta.segments;
        }
    }

    /// Makes so many bytes from `skip` on all that there is in a packet of one mbuf, which has
    /// these.
    #[inline]
    pub(super) fn take(&mut self, skip: u32, bytes: u32) {
        let link = self.link_mut();
        link.data = link.data.wrapping_add(skip as usize);
        (link.len, link.packet_len) = (bytes as i32, bytes as i32);
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

/// A packet to be sent.
///
/// # Invariants
/// `map` is null, or the content is loaded by it, one of `maps`.
pub(crate) struct Frame {
    content: Content,
    maps: Shared<Maps>,
    map: *mut c::bus_dmamap,
}

// SAFETY: a map is bound to no thread.
unsafe impl Send for Frame {}

/// First the device's reach ends, then the content goes.
impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as the invariant says, and it is not used any more.
        unsafe { self.maps.unload(self.map) }
    }
}

/// What is sent.
enum Content {
    /// A packet of the stack's.
    Mbuf(Mbuf),
    /// What is in a slot of a ring of netmap's.
    Slot(Outgoing),
}

impl Frame {
    /// The packet, by maps of that queue's.
    #[inline]
    pub(crate) fn new(mbuf: Mbuf, maps: &Shared<Maps>) -> Self {
        Self {
            content: Content::Mbuf(mbuf),
            maps: maps.clone(),
            map: ptr::null_mut(),
        }
    }

    /// The frame in a ring, likewise.
    #[inline]
    pub(crate) fn of_ring(slot: Outgoing, maps: &Shared<Maps>) -> Self {
        Self {
            content: Content::Slot(slot),
            maps: maps.clone(),
            map: ptr::null_mut(),
        }
    }
}

impl nic::Frame for Frame {
    #[inline]
    fn bytes(&self) -> u32 {
        match &self.content {
            Content::Mbuf(mbuf) => mbuf.packet_len(),
            Content::Slot(slot) => slot.bytes(),
        }
    }

    #[inline]
    fn map(&mut self, into: &mut Segments) -> Result<(), MapError> {
        let loaded = match &self.content {
            Content::Mbuf(mbuf) => Maps::load(&self.maps, mbuf, into)?,
            Content::Slot(slot) => slot.map(&self.maps, into)?,
        };
        loaded.sync(Sync::BeforeRead);
        self.map = loaded.into_map();
        Ok(())
    }

    fn linearize(&mut self, most: usize) -> Result<(), MapError> {
        match &mut self.content {
            Content::Mbuf(mbuf) => match mbuf.collapse(most as u32) {
                true => Ok(()),
                false => Err(MapError::NoMemory),
            },
            Content::Slot(_) => Err(MapError::Unfit),
        }
    }
}

/// Memory for received bytes, in the device's reach.
pub(crate) enum Buffer {
    /// Of the system's.
    Cluster(Cluster),
    /// Of a ring of netmap's.
    Ring(Empty),
}

impl Buffer {
    /// Where the device sees it.
    #[inline]
    pub(crate) fn place(&self) -> Segment {
        match self {
            Self::Cluster(cluster) => cluster.place(),
            Self::Ring(empty) => empty.seen(),
        }
    }

    /// The first bytes that the device has written there.
    #[inline]
    pub(crate) fn front(&self) -> [u8; nic::FRONT] {
        match self {
            Self::Cluster(cluster) => cluster.front(),
            Self::Ring(empty) => empty.front(),
        }
    }
}

/// An mbuf with a cluster, in the device's reach.
pub(crate) struct Cluster {
    loaded: Loaded,
    mbuf: Mbuf,
    /// Where the device sees its first byte.
    address: u64,
}

impl Cluster {
    /// One of so many bytes at least, if there is memory. Does not sleep.
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
            address: place.address,
        })
    }

    #[inline]
    fn place(&self) -> Segment {
        Segment {
            address: self.address,
            bytes: self.mbuf.link().len as u32,
        }
    }

    #[inline]
    fn front(&self) -> [u8; nic::FRONT] {
        self.loaded.sync(Sync::AfterWrite);
        self.mbuf.head().first_chunk().copied().unwrap_or_default()
    }

    /// What the device has put there, so many bytes from `skip` on; no more than there are.
    #[inline]
    fn received(self, skip: u32, bytes: u32) -> Mbuf {
        self.loaded.sync(Sync::AfterWrite);
        let room = self.place().bytes;
        drop(self.loaded);
        let skip = skip.min(room);
        let bytes = bytes.min(room.wrapping_sub(skip));
        let mut mbuf = self.mbuf;
        mbuf.take(skip, bytes);
        mbuf
    }
}

/// A packet that was received.
pub(crate) enum Packet {
    /// In one cluster or in several.
    Chain(Chain),
    /// In a buffer of a ring of netmap's.
    Ring(Filled),
}

/// A packet in mbufs.
pub(crate) struct Chain {
    mbuf: Mbuf,
    /// The last mbuf of the chain.
    last: NonNull<c::mbuf>,
}

// SAFETY: the chain is this value's own.
unsafe impl Send for Chain {}

impl Chain {
    /// Bytes up to which a frame is copied: it fits into an mbuf, which costs less than another
    /// cluster does, and holds less memory while it waits in a socket.
    pub(crate) const COPIED: u32 = c::WEFT_COPIED;

    /// A copy of so many bytes from `skip` on.
    #[inline]
    fn copied(cluster: &Cluster, skip: u32, bytes: u32) -> Option<Self> {
        cluster.loaded.sync(Sync::AfterWrite);
        let (from, to) = (skip as usize, skip.wrapping_add(bytes) as usize);
        let from = cluster.mbuf.head().get(from..to)?;
        // SAFETY: a new mbuf with a header and so many bytes, or none.
        let mbuf = unsafe {
            let first = c::weft_shim_mbuf_copied(from.as_ptr().cast(), bytes);
            Mbuf::from_raw(NonNull::new(first)?)
        };
        cluster.loaded.sync(Sync::BeforeWrite);
        let last = mbuf.first;
        Some(Self { mbuf, last })
    }
}

impl Packet {
    /// A copy of what a buffer of the system's has.
    #[inline]
    pub(crate) fn copied(buffer: &Buffer, skip: u32, bytes: u32) -> Option<Self> {
        match buffer {
            Buffer::Cluster(cluster) => Chain::copied(cluster, skip, bytes).map(Self::Chain),
            Buffer::Ring(_) => None,
        }
    }

    /// What a buffer has.
    #[inline]
    pub(crate) fn new(buffer: Buffer, skip: u32, bytes: u32) -> Self {
        match buffer {
            Buffer::Cluster(cluster) => {
                let mbuf = cluster.received(skip, bytes);
                let last = mbuf.first;
                Self::Chain(Chain { mbuf, last })
            }
            Buffer::Ring(empty) => Self::Ring(empty.filled(skip, bytes)),
        }
    }

    /// Puts what another buffer has behind it. False if it can't be: a frame in a ring is in
    /// one buffer.
    #[inline]
    pub(crate) fn append(&mut self, buffer: Buffer, skip: u32, bytes: u32) -> bool {
        let (Self::Chain(chain), Buffer::Cluster(cluster)) = (self, buffer) else {
            return false;
        };
        let more = cluster.received(skip, bytes).into_raw();
        // SAFETY: the last mbuf of a chain of our own, and one that is given away.
        unsafe { c::weft_shim_mbuf_append(chain.mbuf.raw(), chain.last.as_ptr(), more.as_ptr()) };
        chain.last = more;
        true
    }

    /// The packet as the system's; `None` of a ring's, which has its buffer again.
    #[inline]
    pub(crate) fn into_mbuf(self) -> Option<Mbuf> {
        match self {
            Self::Chain(chain) => Some(chain.mbuf),
            Self::Ring(_) => None,
        }
    }
}
