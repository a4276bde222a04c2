// SPDX-License-Identifier: BSD-2-Clause
//! This module's packets as the system's, mbuf(9), and the other way round. Header: `sys/mbuf.h`.
//!
//! A [`Packet`] has room for a `struct mbuf` in its buffer (`WEFT_EMBEDDED`). To hand it
//! to the stack, that mbuf is filled in: with a packet header, `M_NOFREE` since it goes
//! with its buffer, and the buffer as external storage of type `EXT_EXTREF`, whose count
//! is the packet's own. Nothing is allocated and nothing copied. Whoever gives up the
//! last reference, through whichever mbuf, calls [`release`] (`mb_free_ext`,
//! kern/kern_mbuf.c). An mbuf of this kind that comes back alone becomes the packet that
//! it was; any other chain is carried by a packet as it is (`ChainOps`).

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ops::ControlFlow;
use core::ptr::{self, NonNull};
use core::slice;

use weft_bindings::kernel as c;
use weft_engine::packet::{
    AllocError, ChainOps, EMBEDDED, ENGINE_FROM, ENGINE_TO, Flags, HashKind, Meta, Packet,
    Segmentation, Shared, State, Writable, end_of_data,
};

use super::mbuf::{Mbuf, meta_of};

const _: () = assert!(c::WEFT_EMBEDDED as usize == EMBEDDED);
const _: () = assert!(c::WEFT_ENGINE_FROM as usize == ENGINE_FROM);
const _: () = assert!(c::WEFT_ENGINE_TO as usize == ENGINE_TO);

impl Mbuf {
    /// What its header says, in the engine's terms. Offsets of headers are not known.
    pub(crate) fn meta(&self) -> Meta {
        meta(&header_of(self.raw()))
    }

    /// Gives the header what the engine knows of the packet. What the engine has no
    /// word for stays.
    fn set_meta(&mut self, meta: &Meta) {
        let mut header = header_of(self.raw());
        put_meta(meta, &mut header);
        // SAFETY: the chain is this value's own and begins with a header.
        unsafe { c::weft_shim_mbuf_set_meta(self.raw(), &raw const header, FLAGS) };
    }

    /// Gives this packet, a single mbuf, the other one's header: flags, tags, all but the
    /// length. The other one is freed.
    pub(crate) fn take_header(&mut self, other: Mbuf) {
        // SAFETY: both are chains with headers, this one a single mbuf.
        unsafe { c::weft_shim_mbuf_move_header(self.raw(), other.raw()) }
    }

    /// The packet as the system's own. Allocates nothing, and fails only if a policy of
    /// mac(9) labels packets and has no memory for a label: then the packet is gone.
    pub(crate) fn of(mut packet: Packet<Writable>) -> Option<Self> {
        let meta = *packet.meta();
        let body = packet.put_down(&CHAIN_OPS);
        // SAFETY: only `carried_by` puts a body of these operations into a packet, and that
        // is a chain with a header.
        let rest = body.map(|(chain, _)| unsafe { Self::from_raw(chain.cast()) });
        let mut mbuf = match rest {
            Some(rest) if packet.is_empty() => rest,
            Some(rest) => {
                let mut mbuf = Self::embed(packet)?;
                mbuf.chain(rest);
                mbuf
            }
            None => Self::embed(packet)?,
        };
        mbuf.set_meta(&meta);
        Some(mbuf)
    }

    /// Puts the other chain behind this one, whose header is the one that counts.
    fn chain(&mut self, rest: Mbuf) {
        // SAFETY: two chains of our own, the first one a single mbuf.
        unsafe { c::weft_shim_mbuf_chain(self.raw(), rest.into_raw().as_ptr()) };
    }

    /// Fills in the mbuf that is in the packet's buffer.
    fn embed(mut packet: Packet<Writable>) -> Option<Self> {
        let storage = storage(&packet);
        let mbuf = packet.embedded().cast::<c::mbuf>();
        // SAFETY: the room for it is in the buffer, which the packet has alone; from here
        // on the reference to the data is the mbuf's.
        unsafe {
            if c::weft_shim_mbuf_embed(mbuf.as_ptr(), &storage) != 0 {
                return None;
            }
            c::weft_shim_mbuf_set_tags(mbuf.as_ptr(), packet.take_tags().cast());
        }
        Some(Self {
            first: packet.into_raw().cast(),
        })
    }

    /// A packet that is shared as the system's own: an mbuf of its own that refers to
    /// the packet's data, and must not be written to. Its tags stay behind.
    ///
    /// # Errors
    /// No mbuf, or the packet carries a chain: the packet.
    pub(crate) fn of_shared(packet: Packet<Shared>) -> Result<Self, Packet<Shared>> {
        if packet.len() != packet.head().len() {
            return Err(packet);
        }
        let meta = *packet.meta();
        // SAFETY: the packet's reference to the data goes with the mbuf.
        let mbuf = unsafe { c::weft_shim_mbuf_refer(&storage(&packet)) };
        let Some(first) = NonNull::new(mbuf) else {
            return Err(packet);
        };
        let _ = packet.into_raw();
        let mut mbuf = Self { first };
        mbuf.set_meta(&meta);
        Ok(mbuf)
    }

    /// The packet of this module's that this chain is or, in a buffer of `wrapper`'s,
    /// that carries it. Nothing is copied.
    ///
    /// # Errors
    /// There was no buffer: the chain as it was, and why.
    pub(crate) fn into_packet(
        self,
        wrapper: impl FnOnce() -> Result<Packet<Writable>, AllocError>,
    ) -> Result<Packet<Writable>, (Self, AllocError)> {
        let meta = self.meta();
        let mut packet = match self.unembed() {
            Ok(packet) => packet,
            Err(chain) => match wrapper() {
                Ok(packet) => chain.carried_by(packet),
                Err(error) => return Err((chain, error)),
            },
        };
        *packet.meta_mut() = meta;
        Ok(packet)
    }

    fn carried_by(self, mut packet: Packet<Writable>) -> Packet<Writable> {
        let len = self.len();
        let chain = self.into_raw().cast();
        // SAFETY: a chain of mbufs of this length, given away. A new packet carries
        // nothing yet.
        unsafe {
            if packet.carry(chain, len, &CHAIN_OPS).is_err() {
                CHAIN_OPS.free(chain);
            }
        }
        packet
    }

    /// The packet whose embedded mbuf this is, if it is one, alone, and nobody else has
    /// its data.
    fn unembed(self) -> Result<Packet<Writable>, Self> {
        let mut storage = MaybeUninit::<c::weft_mbuf_storage>::uninit();
        // SAFETY: the chain is this value's own. If it is embedded, all of `storage` is
        // set, and is what `embed` set but for where the data is.
        unsafe {
            if !c::weft_shim_mbuf_embedded(self.raw(), Some(release), storage.as_mut_ptr()) {
                return Err(self);
            }
            let storage = storage.assume_init();
            let tags = c::weft_shim_mbuf_tags(self.raw());
            let mut packet = Packet::<Writable>::from_raw(self.into_raw().cast());
            packet.give_tags(tags.cast());
            let data = NonNull::new_unchecked(storage.data.cast());
            // The shim has seen that the data is within the area.
            let _ = packet.set_data(data, storage.len as usize);
            Ok(packet)
        }
    }
}

/// What an mbuf is told of a packet's buffer.
fn storage<S: State>(packet: &Packet<S>) -> c::weft_mbuf_storage {
    let (start, room) = packet.data_area();
    c::weft_mbuf_storage {
        buffer: packet.embedded().as_ptr().cast(),
        start: start.as_ptr().cast(),
        data: packet.head().as_ptr().cast_mut().cast(),
        refs: packet.refs().as_ptr(),
        release: Some(release),
        size: room as u32,
        len: packet.head().len() as u32,
    }
}

/// `ext_free`: the last reference to a packet's data is gone.
unsafe extern "C" fn release(mbuf: *mut c::mbuf) {
    // SAFETY: `embed` and `of_shared` put the buffer there, and whatever copies external
    // storage copies that, too.
    unsafe {
        let buffer = NonNull::new_unchecked(c::weft_shim_mbuf_buffer(mbuf));
        end_of_data(buffer.cast());
    }
}

/// Chains as foreign bodies of packets.
struct Chains;

static CHAIN_OPS: &dyn ChainOps = &Chains;

/// What `m_apply` hands to [`show`].
struct Show<'s> {
    see: &'s mut dyn FnMut(&[u8]) -> ControlFlow<()>,
}

// SAFETY: mbufs are bound to no thread; `m_apply` and `m_length` read only. A chain has as
// many bytes as `m_length` counts.
unsafe impl ChainOps for Chains {
    unsafe fn walk(
        &self,
        chain: NonNull<()>,
        skip: usize,
        see: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) {
        let first = chain.as_ptr().cast::<c::mbuf>();
        let mut show = Show { see };
        // SAFETY: the caller's chain, which has that many bytes behind those skipped.
        unsafe {
            let len = c::m_length(first, ptr::null_mut()) as usize;
            if skip < len {
                let (skip, left) = (skip as c_int, (len - skip) as c_int);
                c::m_apply(first, skip, left, Some(show_one), (&raw mut show).cast());
            }
        }
    }

    unsafe fn trim(&self, chain: NonNull<()>, count: usize) -> NonNull<()> {
        // SAFETY: the caller's chain; its header, if it has one, stays.
        unsafe { c::m_adj(chain.as_ptr().cast(), count as c_int) };
        chain
    }

    unsafe fn duplicate(&self, chain: NonNull<()>) -> Option<NonNull<()>> {
        // SAFETY: the caller's chain, which begins with a packet header.
        let copy = unsafe { c::m_copypacket(chain.as_ptr().cast(), c::M_NOWAIT as c_int) };
        NonNull::new(copy.cast())
    }

    unsafe fn free(&self, chain: NonNull<()>) {
        // SAFETY: the caller's chain.
        unsafe { c::m_freem(chain.as_ptr().cast()) }
    }
}

unsafe extern "C" fn show_one(show: *mut c_void, bytes: *mut c_void, len: u32) -> c_int {
    // SAFETY: `walk` passed it; the bytes are a piece of the chain.
    let flow = unsafe {
        let show = &mut *show.cast::<Show<'_>>();
        (show.see)(slice::from_raw_parts(
            bytes.cast_const().cast(),
            len as usize,
        ))
    };
    c_int::from(flow.is_break())
}

/// The flags of an mbuf that [`Meta`] has a word for.
const FLAGS: u32 =
    c::M_BCAST | c::M_MCAST | c::M_PROMISC | c::M_VLANTAG | c::M_TSTMP | c::M_TSTMP_HPREC;

/// A flag of the engine's for one of the kernel's.
const FLAG_PAIRS: [(Flags, u32); 6] = [
    (Flags::BROADCAST, c::M_BCAST),
    (Flags::MULTICAST, c::M_MCAST),
    (Flags::PROMISCUOUS, c::M_PROMISC),
    (Flags::VLAN, c::M_VLANTAG),
    (Flags::TIMESTAMP, c::M_TSTMP),
    (Flags::PRECISE, c::M_TSTMP_HPREC),
];

/// Likewise of what was found out about checksums.
const CHECKED_PAIRS: [(Flags, u32); 4] = [
    (Flags::IP_CHECKED, c::CSUM_L3_CALC),
    (Flags::IP_GOOD, c::CSUM_L3_VALID),
    (Flags::L4_CHECKED, c::CSUM_L4_CALC),
    (Flags::L4_GOOD, c::CSUM_L4_VALID),
];

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// What asks for the checksum of layer 4: in which protocol, and whether over IPv6, and
/// at which byte of its header the checksum is.
const FILL_L4: [(u32, u8, bool, u32); 6] = [
    (c::CSUM_IP_TCP, TCP, false, 16),
    (c::CSUM_IP_UDP, UDP, false, 6),
    (c::CSUM_IP_SCTP, SCTP, false, 8),
    (c::CSUM_IP6_TCP, TCP, true, 16),
    (c::CSUM_IP6_UDP, UDP, true, 6),
    (c::CSUM_IP6_SCTP, SCTP, true, 8),
];

const HASHES: [(u32, HashKind); 6] = [
    (c::WEFT_HASH_IPV4, HashKind::Ipv4),
    (c::WEFT_HASH_TCP_IPV4, HashKind::TcpIpv4),
    (c::WEFT_HASH_UDP_IPV4, HashKind::UdpIpv4),
    (c::WEFT_HASH_IPV6, HashKind::Ipv6),
    (c::WEFT_HASH_TCP_IPV6, HashKind::TcpIpv6),
    (c::WEFT_HASH_UDP_IPV6, HashKind::UdpIpv6),
];

/// All flags of the kernel's in a list of pairs.
const fn all<const N: usize>(pairs: &[(Flags, u32); N]) -> u32 {
    let (mut flags, mut at) = (0, 0);
    while at < N {
        flags |= pairs[at].1;
        at += 1;
    }
    flags
}

/// Those of checksums and segmentation that [`Meta`] has a word for.
const CSUM: u32 = all(&CHECKED_PAIRS)
    | c::CSUM_IP
    | c::CSUM_IP_TCP
    | c::CSUM_IP_UDP
    | c::CSUM_IP_SCTP
    | c::CSUM_IP6_TCP
    | c::CSUM_IP6_UDP
    | c::CSUM_IP6_SCTP
    | c::CSUM_TSO;

fn header_of(mbuf: *mut c::mbuf) -> c::weft_mbuf_meta {
    // SAFETY: the caller's chain, which begins with a header.
    meta_of(unsafe { &*mbuf.cast() })
}

/// A packet header in the engine's terms.
fn meta(header: &c::weft_mbuf_meta) -> Meta {
    let mut meta = Meta {
        flow_hash: header.flowid,
        hash_kind: hash_kind(u32::from(header.rsstype)),
        vlan: [header.vtag, 0],
        fib: header.fib,
        ..Meta::default()
    };
    if header.flags & c::M_TSTMP != 0 {
        meta.timestamp = header.timestamp;
    }
    for (ours, theirs) in FLAG_PAIRS {
        meta.flags.set(ours, header.flags & theirs != 0);
    }
    let csum = header.csum_flags;
    for (ours, theirs) in CHECKED_PAIRS {
        meta.flags.set(ours, csum & theirs != 0);
    }
    meta.flags.set(Flags::FILL_IP, csum & c::CSUM_IP != 0);
    if let Some((_, protocol, ipv6, _)) = FILL_L4.iter().find(|(flag, ..)| csum & flag != 0) {
        meta.flags |= Flags::FILL_L4;
        meta.flags.set(Flags::IPV6, *ipv6);
        meta.protocol = *protocol;
    }
    match (csum & c::CSUM_IP_TSO != 0, csum & c::CSUM_IP6_TSO != 0) {
        (true, _) => meta.segmentation = Segmentation::TcpIpv4,
        (_, true) => meta.segmentation = Segmentation::TcpIpv6,
        _ => {}
    }
    match meta.segmentation {
        // Of a packet that was received, how many it was.
        Segmentation::None => meta.segments = header.segsz,
        _ => meta.segment_size = header.segsz,
    }
    meta
}

fn hash_kind(theirs: u32) -> HashKind {
    let theirs = theirs & !c::M_HASHTYPE_INNER;
    match HASHES.iter().find(|(kind, _)| *kind == theirs) {
        _ if theirs == c::M_HASHTYPE_NONE => HashKind::None,
        Some((_, kind)) => *kind,
        None => HashKind::Opaque,
    }
}

/// Puts into a packet header what the engine knows; the rest of it stays.
fn put_meta(meta: &Meta, header: &mut c::weft_mbuf_meta) {
    let flags = meta.flags;
    header.flags &= !FLAGS;
    for (ours, theirs) in FLAG_PAIRS {
        header.flags |= if flags.contains(ours) { theirs } else { 0 };
    }
    if flags.contains(Flags::TIMESTAMP) {
        header.timestamp = meta.timestamp;
    }
    put_hash(meta, header);
    header.vtag = meta.vlan[0];
    header.fib = meta.fib;
    let segmented = meta.segmentation != Segmentation::None;
    header.segsz = if segmented {
        meta.segment_size
    } else {
        meta.segments
    };
    header.csum_flags = header.csum_flags & !CSUM | csum_flags(meta);
    if flags.contains(Flags::L4_GOOD) {
        // The sum over data and pseudo-header, inverted, is 0.
        header.csum_value = 0xffff;
    }
    if let Some((flag, .., at)) = fill_l4(meta) {
        header.csum_flags |= flag;
        header.csum_value = at;
    }
}

/// The entry of [`FILL_L4`] for what is asked for.
fn fill_l4(meta: &Meta) -> Option<(u32, u8, bool, u32)> {
    let ipv6 = meta.flags.contains(Flags::IPV6);
    let asked = meta.flags.contains(Flags::FILL_L4);
    let is = |entry: &&(u32, u8, bool, u32)| entry.1 == meta.protocol && entry.2 == ipv6;
    FILL_L4.iter().find(is).copied().filter(|_| asked)
}

fn put_hash(meta: &Meta, header: &mut c::weft_mbuf_meta) {
    let same = header.flowid == meta.flow_hash;
    // What is opaque here may have a name there.
    if same && hash_kind(u32::from(header.rsstype)) == meta.hash_kind {
        return;
    }
    header.flowid = meta.flow_hash;
    let theirs = match HASHES.iter().find(|(_, kind)| *kind == meta.hash_kind) {
        Some((kind, _)) => *kind,
        None if meta.hash_kind == HashKind::None => c::M_HASHTYPE_NONE,
        None => c::WEFT_HASH_OPAQUE,
    };
    header.rsstype = theirs as u8;
}

/// The kernel's flags for what is asked for and known, but for layer 4.
fn csum_flags(meta: &Meta) -> u32 {
    let has = |flag| meta.flags.contains(flag);
    let mut csum = 0;
    for (ours, theirs) in CHECKED_PAIRS {
        csum |= if has(ours) { theirs } else { 0 };
    }
    csum |= if has(Flags::FILL_IP) { c::CSUM_IP } else { 0 };
    csum |= match meta.segmentation {
        Segmentation::TcpIpv4 => c::CSUM_IP_TSO,
        Segmentation::TcpIpv6 => c::CSUM_IP6_TSO,
        _ => 0,
    };
    csum
}
