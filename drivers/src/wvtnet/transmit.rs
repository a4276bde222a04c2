// SPDX-License-Identifier: BSD-2-Clause
//! Transmit queues: each frame is a chain, of a header that says what is to be done with it, and
//! its pieces.

use super::net::{Header, HeaderFlags, cut};
use super::queue::{Piece, Queue};
use weft_engine::nic::{Dma, Error, Full, Offload, Platform, Segment, Task, TxRing};

/// Bytes from one header to the next.
const STRIDE: usize = 16;

/// A transmit queue.
pub struct WvtnetTx<P: Platform> {
    queue: Queue<P>,
    /// A header for each chain, by its head.
    headers: P::Dma,
    header_bytes: u32,
}

impl<P: Platform> WvtnetTx<P> {
    pub(super) fn new(platform: &P, queue: Queue<P>, header_bytes: u32) -> Result<Self, Error> {
        let bytes = usize::from(queue.size()).wrapping_mul(STRIDE);
        Ok(Self {
            headers: platform.dma(bytes, STRIDE)?,
            queue,
            header_bytes,
        })
    }
}

impl<P: Platform> TxRing for WvtnetTx<P> {
    fn tokens(&self) -> u16 {
        self.queue.size()
    }

    fn room(&self) -> u16 {
        self.queue.room().saturating_sub(1)
    }

    fn put(&mut self, segments: &[Segment], offload: &Offload) -> Result<u16, Full> {
        let count = (segments.len() as u16).wrapping_add(1);
        if count > self.queue.room() {
            return Err(Full);
        }
        let at = usize::from(self.queue.head()).wrapping_mul(STRIDE);
        let (first, rest) = header(offload).words();
        self.headers.store(at, first);
        self.headers.store(at.wrapping_add(8), rest);
        let header = Segment {
            address: self.headers.address().wrapping_add(at as u64),
            bytes: self.header_bytes,
        };
        let places = core::iter::once(header).chain(segments.iter().copied());
        self.queue
            .put(count, places.map(|place| Piece { place, flags: 0 }))
    }

    fn kick(&mut self) {
        self.queue.kick();
    }

    fn reap(&mut self) -> Option<u16> {
        self.queue.take().map(|(head, _)| head)
    }

    fn arm(&mut self) -> bool {
        // Whoever waits does not do so for a single frame's room.
        self.queue.arm_for_half()
    }

    fn disarm(&mut self) {
        self.queue.disarm();
    }
}

/// What the device is told.
fn header(offload: &Offload) -> Header {
    if offload.task == Task::None {
        return Header::default();
    }
    let mut header = Header {
        flags: HeaderFlags::NEEDS_CHECKSUM,
        from: offload.transport,
        at: offload.sum.wrapping_sub(offload.transport),
        ..Header::default()
    };
    if offload.task == Task::Segment {
        header.cut = match offload.is_ipv6 {
            true => cut::TCP_IPV6,
            false => cut::TCP_IPV4,
        };
        header.header_len = offload.payload;
        header.segment_size = offload.mss;
    }
    header
}
