// SPDX-License-Identifier: BSD-2-Clause
//! Receive queues: a chain a buffer. A header is in front of each frame, in its first buffer; by
//! it a frame may go on in the next buffers, if that was agreed upon.

use super::layout::WRITE;
use super::net::{Header, HeaderFlags, cut};
use super::queue::{Piece, Queue};
use weft_engine::nic::{FRONT, Full, Meta, Platform, RxRing, Segment, Taken, Verdict, Wanted};

/// What the buffers of a queue are like.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// Bytes of each.
    pub(super) buffer_bytes: u32,
    /// Of them, the header's in a frame's first.
    pub(super) header_bytes: u32,
    /// A frame may be in several.
    pub(super) is_mergeable: bool,
    /// The header wants a descriptor of its own.
    pub(super) is_apart: bool,
}

/// A receive queue.
pub struct WvtnetRx<P: Platform> {
    queue: Queue<P>,
    form: Form,
    /// Buffers of the frame that are still to come,
    left: u16,
    /// and what was said of it.
    meta: Meta,
}

impl<P: Platform> WvtnetRx<P> {
    pub(super) fn new(queue: Queue<P>, form: Form) -> Self {
        Self {
            queue,
            form,
            left: 0,
            meta: Meta::default(),
        }
    }

    /// Descriptors of a buffer.
    fn pieces(&self) -> u16 {
        if self.form.is_apart { 2 } else { 1 }
    }
}

impl<P: Platform> RxRing for WvtnetRx<P> {
    const HAS_FRONT: bool = true;

    fn tokens(&self) -> u16 {
        self.queue.size()
    }

    #[inline]
    fn room(&self) -> u16 {
        let room = self.queue.room();
        if self.form.is_apart { room >> 1 } else { room }
    }

    #[inline]
    fn wanted(&self) -> Option<Wanted> {
        (self.room() > 0).then_some(Wanted {
            bytes: self.form.buffer_bytes,
        })
    }

    #[inline]
    fn next(&self) -> Option<u16> {
        Some(self.queue.head())
    }

    #[inline]
    fn give(&mut self, buffer: Segment) -> Result<u16, Full> {
        let header = self.form.header_bytes;
        let (first, rest) = match self.form.is_apart {
            true => (
                header.min(buffer.bytes),
                buffer.bytes.saturating_sub(header),
            ),
            false => (buffer.bytes, 0),
        };
        let places = [
            Segment {
                address: buffer.address,
                bytes: first,
            },
            Segment {
                address: buffer.address.wrapping_add(first.into()),
                bytes: rest,
            },
        ];
        let write = |place| Piece {
            place,
            flags: WRITE,
        };
        self.queue.put(self.pieces(), places.into_iter().map(write))
    }

    fn kick(&mut self) {
        self.queue.kick();
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Taken> {
        let (token, bytes) = self.queue.take()?;
        Some(Taken {
            token,
            bytes,
            is_last: true,
            ..Taken::default()
        })
    }

    #[inline(always)]
    fn look(&mut self, front: &[u8; FRONT], taken: &mut Taken) {
        if self.left > 0 {
            self.left = self.left.wrapping_sub(1);
            taken.is_last = self.left == 0;
            taken.meta = self.meta;
            return;
        }
        let header = Header::of(front);
        let buffers = if self.form.is_mergeable {
            header.buffers
        } else {
            1
        };
        let bytes = taken.bytes.checked_sub(self.form.header_bytes);
        let (Some(bytes), 1..) = (bytes, buffers) else {
            taken.bytes = 0;
            taken.is_bad = true;
            return;
        };
        taken.skip = self.form.header_bytes;
        taken.bytes = bytes;
        self.left = buffers.wrapping_sub(1);
        self.meta = meta(&header, bytes);
        taken.is_last = self.left == 0;
        taken.meta = self.meta;
    }

    fn arm(&mut self) -> bool {
        self.queue.arm()
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }
}

/// What the device says of a frame, of which it has so many bytes in the first buffer.
#[inline(always)]
fn meta(header: &Header, bytes: u32) -> Meta {
    let mut verdict = Verdict::empty();
    // A checksum that is not filled in yet comes from this host, and no wire could hurt it.
    let known = HeaderFlags::NEEDS_CHECKSUM | HeaderFlags::CHECKED;
    let is_good = header.flags.intersects(known);
    verdict.set(Verdict::L4_CHECKED | Verdict::L4_GOOD, is_good);
    let is_long = matches!(header.cut & !cut::ECN, cut::TCP_IPV4 | cut::TCP_IPV6);
    // The first buffer is full if there are others, so this is not more than there are.
    let mss = if is_long { header.segment_size } else { 0 };
    let segments = bytes.checked_div(mss.into()).unwrap_or(0);
    Meta {
        verdict,
        mss,
        segments: u16::try_from(segments).unwrap_or(u16::MAX),
        ..Meta::default()
    }
}
