// SPDX-License-Identifier: BSD-2-Clause
//! The system's packets, mbuf(9), as something owned, and what a queue and a driver
//! without hardware do with them. Header: `sys/mbuf.h`.

use core::ffi::c_int;
use core::marker::PhantomData;
use core::mem;
use core::ptr::{self, NonNull};
use core::slice;

use weft_bindings::kernel as c;
use weft_engine::queue::{Item, Ticks};
use weft_engine::wire::flow::{self, Order};
use weft_engine::wire::toeplitz::Toeplitz;

/// A packet of the system's: a chain of mbufs that begins with a packet header. It is
/// this code's own; dropping it frees it.
pub(crate) struct Mbuf {
    pub(super) first: NonNull<c::mbuf>,
}

// SAFETY: a chain is bound to no thread, and who has it has it alone; parts that it
// shares are counted by the kernel's atomics.
unsafe impl Send for Mbuf {}

/// Bytes of a packet's front that are looked at for its flow: all headers of ordinary
/// packets.
const FRONT: usize = 128;

/// What an mbuf begins with, and what is said of a packet in its first one; `mbuf.c` asserts
/// that it is there.
pub(super) type Link = c::weft_mbuf_link;

/// The number in a VLAN's tag.
const VLAN: u16 = 0xfff;

/// The flags of an mbuf.
#[inline(always)]
pub(super) fn flags(link: &Link) -> u32 {
    link.bits >> c::WEFT_MBUF_FLAGS
}

/// The bytes of an mbuf; none if they are not mapped.
#[inline(always)]
fn piece(link: &Link) -> &[u8] {
    if link.bits & c::WEFT_MBUF_UNMAPPED != 0 {
        return &[];
    }
    // SAFETY: so many bytes are there, which belong to whom the mbuf does.
    unsafe { slice::from_raw_parts(link.data.cast(), link.len as u32 as usize) }
}

/// What a packet header says beside its list of tags.
#[inline(always)]
pub(super) fn meta_of(link: &Link) -> c::weft_mbuf_meta {
    c::weft_mbuf_meta {
        timestamp: link.timestamp,
        flags: flags(link),
        flowid: link.flowid,
        csum_flags: link.csum_flags,
        csum_value: link.csum_value,
        vtag: link.vtag,
        segsz: link.segsz,
        fib: link.fib,
        rsstype: link.rsstype,
    }
}

impl Mbuf {
    /// # Safety
    /// The chain begins with a packet header, and is the caller's, who gives it away.
    pub(crate) unsafe fn from_raw(first: NonNull<c::mbuf>) -> Self {
        Self { first }
    }

    /// The chain, which is the caller's now.
    pub(crate) fn into_raw(self) -> NonNull<c::mbuf> {
        let first = self.first;
        mem::forget(self);
        first
    }

    pub(super) fn raw(&self) -> *mut c::mbuf {
        self.first.as_ptr()
    }

    /// What its first mbuf begins with.
    #[inline(always)]
    pub(super) fn link(&self) -> &Link {
        // SAFETY: the chain is this value's own and begins with what `mbuf.c` asserts.
        unsafe { &*self.raw().cast() }
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(super) fn link_mut(&mut self) -> &mut Link {
        // SAFETY: as above.
        unsafe { &mut *self.raw().cast() }
    }

    /// Where it is, which tells it from other packets that there are now.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.first.addr().get()
    }

    /// Bytes that are really in the chain, whatever its header says.
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: the chain is this value's own.
        unsafe { c::m_length(self.raw(), ptr::null_mut()) }
    }

    /// Copies bytes from `skip` on into `out`. How many there were.
    pub(crate) fn copy_out(&self, skip: u32, out: &mut [u8]) -> usize {
        let there = (self.len().saturating_sub(skip) as usize).min(out.len());
        if let Some(out) = out.get_mut(..there).filter(|out| !out.is_empty()) {
            let (skip, len) = (skip as c_int, out.len() as c_int);
            // SAFETY: so many bytes are in the chain behind those that are skipped.
            unsafe { c::m_copydata(self.raw(), skip, len, out.as_mut_ptr().cast()) };
        }
        there
    }

    /// Bytes of the packet, by its header.
    #[inline]
    pub(crate) fn packet_len(&self) -> u32 {
        self.link().packet_len as u32
    }

    /// What is said of it beside its bytes.
    #[inline]
    pub(crate) fn traits(&self) -> Traits {
        let link = self.link();
        Traits {
            is_multicast: flags(link) & (c::M_BCAST | c::M_MCAST) != 0,
            is_segmented: link.csum_flags & (c::CSUM_TSO | c::CSUM_INNER_TSO) != 0,
        }
    }

    /// Whether an interface has received it, or what it was made of. What a socket sends was
    /// received by none.
    #[inline]
    pub(crate) fn was_received(&self) -> bool {
        !self.link().rcvif.is_null()
    }

    #[inline]
    pub(super) fn header(&self) -> c::weft_mbuf_meta {
        meta_of(self.link())
    }

    /// What is in one piece from the first byte on.
    #[inline]
    pub(crate) fn head(&self) -> &[u8] {
        piece(self.link())
    }

    /// What is in one piece from the first byte on, and the bytes of the packet, by its header.
    #[inline(always)]
    pub(crate) fn front(&self) -> (&[u8], usize) {
        (self.head(), self.packet_len() as usize)
    }

    /// Its bytes, if they are in one piece.
    #[inline]
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.head().get(..self.packet_len() as usize)
    }

    /// Its bytes, piece by piece. What is not mapped into memory counts as no bytes.
    #[inline]
    pub(crate) fn pieces(&self) -> MbufPieces<'_> {
        MbufPieces {
            next: self.raw(),
            of: PhantomData,
        }
    }

    /// The same, but of what is not mapped it says `None`.
    #[inline(always)]
    pub(super) fn mapped_pieces(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut next: *const c::mbuf = self.raw();
        core::iter::from_fn(move || {
            // SAFETY: an mbuf of the packet's chain, which nobody changes while it is borrowed.
            let link = unsafe { next.cast::<Link>().as_ref() }?;
            next = link.next;
            Some((link.bits & c::WEFT_MBUF_UNMAPPED == 0).then(|| piece(link)))
        })
    }

    /// Reads the packet's front: what is in one piece and, if that `is_too_little` to
    /// tell, the first `N` bytes.
    #[inline]
    pub(crate) fn read_front<const N: usize, R>(
        &self,
        read: impl Fn(&[u8]) -> R,
        is_too_little: impl FnOnce(&R) -> bool,
    ) -> R {
        let head = self.head();
        let result = read(head);
        let is_all = head.len() >= N || head.len() >= self.packet_len() as usize;
        if is_all || !is_too_little(&result) {
            return result;
        }
        self.read_copied::<N, R>(read)
    }

    #[cold]
    #[inline(never)]
    fn read_copied<const N: usize, R>(&self, read: impl Fn(&[u8]) -> R) -> R {
        let mut front = [0; N];
        let there = self.copy_out(0, &mut front);
        read(front.get(..there).unwrap_or_default())
    }

    /// The packet after `change` of its first `len` bytes, or of all if it is shorter,
    /// which it then shares with nobody; gone if there is no memory.
    pub(crate) fn with_front(self, len: u32, change: impl FnOnce(&mut [u8])) -> Option<Self> {
        let len = len.min(self.packet_len());
        let raw = self.into_raw().as_ptr();
        // SAFETY: the chain is given away and comes back, so many bytes of it being in one
        // piece that nobody else has; or it is gone.
        unsafe {
            let first = NonNull::new(c::weft_shim_mbuf_own_front(raw, len))?;
            let mut packet = Self { first };
            let front = packet.link_mut().data.cast();
            change(slice::from_raw_parts_mut(front, len as usize));
            Some(packet)
        }
    }

    /// Has the packet in so many mbufs at most, by copying; false if there is no memory, and
    /// then it is what it was.
    #[cold]
    pub(crate) fn collapse(&mut self, most: u32) -> bool {
        // SAFETY: the chain is this value's own, and comes back, or stays.
        let first = unsafe { c::m_collapse(self.raw(), c::M_NOWAIT as c_int, most as c_int) };
        match NonNull::new(first) {
            Some(first) => {
                self.first = first;
                true
            }
            None => false,
        }
    }

    /// A packet with the same bytes and header that shares none of them, if there is
    /// memory.
    pub(crate) fn duplicate(&self) -> Option<Self> {
        // SAFETY: the chain is this value's own, and is read only.
        let copy = unsafe { c::m_dup(self.raw(), c::M_NOWAIT as c_int) };
        NonNull::new(copy).map(|first| Self { first })
    }

    /// Has whoever receives it take for right what its sender left to hardware.
    pub(crate) fn trust_checksum(&mut self) {
        // SAFETY: the chain is this value's own.
        unsafe { c::weft_shim_mbuf_trust(self.raw()) }
    }

    /// Whether the tag of a VLAN is beside it.
    #[inline]
    pub(crate) fn is_tagged(&self) -> bool {
        let link = self.link();
        flags(link) & c::M_VLANTAG != 0 && link.vtag & VLAN != 0
    }

    /// Sees to it that the packet, an Ethernet frame, has a hash of its flow: keeps the
    /// one that the stack gave it, if any.
    #[inline]
    pub(crate) fn ensure_hash(&mut self, toeplitz: &Toeplitz) {
        if u32::from(self.link().rsstype) != c::M_HASHTYPE_NONE {
            return;
        }
        let head = self.head();
        let hash = if head.len() >= FRONT || head.len() >= self.packet_len() as usize {
            flow::of_frame(head, toeplitz, Order::Sent).hash
        } else {
            self.scattered_hash(toeplitz)
        };
        let link = self.link_mut();
        (link.flowid, link.rsstype) = (hash, c::WEFT_HASH_OPAQUE as u8);
    }

    /// The hash of a frame whose headers are not in one piece.
    #[cold]
    #[inline(never)]
    fn scattered_hash(&self, toeplitz: &Toeplitz) -> u32 {
        let mut front = [0; FRONT];
        let there = self.copy_out(0, &mut front);
        let front = front.get(..there).unwrap_or_default();
        flow::of_frame(front, toeplitz, Order::Sent).hash
    }
}

/// The pieces of a packet, in order.
#[derive(Clone)]
pub(crate) struct MbufPieces<'m> {
    next: *const c::mbuf,
    of: PhantomData<&'m Mbuf>,
}

impl<'m> Iterator for MbufPieces<'m> {
    type Item = &'m [u8];

    #[inline]
    fn next(&mut self) -> Option<&'m [u8]> {
        // SAFETY: an mbuf of the packet's chain, which nobody changes while it is borrowed.
        let link = unsafe { self.next.cast::<Link>().as_ref() }?;
        self.next = link.next;
        Some(piece(link))
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: the chain is this value's own.
        unsafe { c::m_freem(self.raw()) }
    }
}

/// What an interface must know of a packet beside its bytes.
#[derive(Clone, Copy)]
pub(crate) struct Traits {
    /// To more than one receiver, broadcast included.
    pub(crate) is_multicast: bool,
    /// Longer than a frame, to be cut by whoever puts it on a wire.
    pub(crate) is_segmented: bool,
}

// SAFETY: mbufs are aligned to 256 bytes, and come from nowhere near address 0.
unsafe impl Item for Mbuf {
    #[inline]
    fn into_raw(self) -> NonNull<()> {
        Mbuf::into_raw(self).cast()
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self { first: raw.cast() }
    }

    #[inline]
    fn bytes(&self) -> u32 {
        self.packet_len()
    }

    #[inline]
    fn flow_hash(&self) -> u32 {
        self.link().flowid
    }

    fn set_queued_at(&mut self, now: Ticks) {
        self.link_mut().note = now;
    }

    fn queued_at(&self) -> Ticks {
        self.link().note
    }
}

/// Packets in a row, linked by `m_nextpkt`.
pub(crate) struct Row {
    ends: Option<(NonNull<c::mbuf>, NonNull<c::mbuf>)>,
    len: u32,
}

impl Row {
    /// No packets.
    pub(crate) const fn new() -> Self {
        Self { ends: None, len: 0 }
    }

    /// How many packets there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Puts a packet behind the others.
    #[inline]
    pub(crate) fn push(&mut self, packet: Mbuf) {
        let packet = packet.into_raw();
        let first = match self.ends {
            None => packet,
            Some((first, last)) => {
                // SAFETY: both are the row's own.
                unsafe { (*last.as_ptr().cast::<Link>()).nextpkt = packet.as_ptr() };
                first
            }
        };
        self.ends = Some((first, packet));
        self.len = self.len.wrapping_add(1);
    }

    /// Takes the first packet out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Mbuf> {
        let (first, last) = self.ends?;
        // SAFETY: the packets are the row's own, and linked by `push`.
        let mut packet = unsafe { Mbuf::from_raw(first) };
        let next = mem::replace(&mut packet.link_mut().nextpkt, ptr::null_mut());
        let next = NonNull::new(next);
        self.ends = next.map(|next| (next, last));
        self.len = self.len.wrapping_sub(1);
        Some(packet)
    }

    /// The first packet, with the others behind it, which are the caller's now.
    pub(super) fn into_raw(mut self) -> *mut c::mbuf {
        let ends = self.ends.take();
        ends.map_or(ptr::null_mut(), |(first, _)| first.as_ptr())
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        while let Some(packet) = self.pop() {
            drop(packet);
        }
    }
}
