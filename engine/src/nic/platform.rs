// SPDX-License-Identifier: BSD-2-Clause
//! What a driver needs of its surroundings. `kmod` gives it over FreeBSD's newbus and
//! bus_dma(9), `sim::nic` over a model of the device.
//!
//! # Order
//!
//! Register accesses of one [`Registers`] reach the device in the order of the program, and
//! a register write comes after all stores to [`Dma`] memory before it. Stores and loads of
//! [`Dma`] memory among themselves are ordered by nothing but the fences of `ring.rs`
//! ([`before_handover`](super::before_handover), [`on_taking`](super::on_taking),
//! [`full`](super::full)).
//!
//! # What is out of range
//!
//! Offsets that lie outside of a BAR or a block, or are not aligned to what is accessed, read
//! as 0 and write nothing. A driver that computes one is wrong, so a platform for tests may
//! panic.

use super::driver::{Error, Limits};
use core::fmt;
use core::ops::Range;

/// A number of 1, 2, 4 or 8 bytes, as devices have it: little endian.
pub trait Word: Copy + Send + Sync + 'static {
    /// Bytes that it has.
    const BYTES: usize;
    /// It, wider.
    fn widen(self) -> u64;
    /// The low bytes of a number.
    fn narrow(wide: u64) -> Self;
}

macro_rules! word {
    ($($word:ty),*) => {$(
        impl Word for $word {
            const BYTES: usize = size_of::<$word>();
            #[inline(always)]
            fn widen(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn narrow(wide: u64) -> Self {
                wide as $word
            }
        }
    )*};
}
word!(u8, u16, u32, u64);

/// The registers of one BAR, in memory or in I/O space. A clone is another handle of the same
/// mapping, which ends with the last one.
pub trait Registers: Clone + Send + Sync {
    /// Reads at an offset in bytes. Registers of 8 bytes are read at once where the bus can,
    /// never in I/O space.
    fn read<W: Word>(&self, at: u32) -> W;

    /// Writes at an offset in bytes.
    fn write<W: Word>(&self, at: u32, value: W);

    /// Bytes that there are.
    fn bytes(&self) -> u32;
}

/// Memory that the device sees at [`address`](Dma::address), coherent, zero at first. Freed
/// when dropped: the device must not use it any more by then.
pub trait Dma: Send + Sync {
    /// Where the device sees its first byte.
    fn address(&self) -> u64;

    /// Bytes that there are.
    fn bytes(&self) -> usize;

    /// What is at an offset in bytes. The device may change it at any time.
    fn load<W: Word>(&self, at: usize) -> W;

    /// Puts a number at an offset in bytes.
    fn store<W: Word>(&self, at: usize, value: W);

    /// Puts bytes there.
    fn put(&self, at: usize, bytes: &[u8]) {
        for (at, &byte) in (at..).zip(bytes) {
            self.store(at, byte);
        }
    }

    /// Puts zeroes there, 8 bytes at a time.
    fn clear(&self, range: Range<usize>) {
        for at in range.step_by(u64::BYTES) {
            self.store(at, 0_u64);
        }
    }
}

/// Bytes of a buffer's front that a driver may look at.
pub const FRONT: usize = 16;

/// Where a piece of a frame is, for the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// The device's address of the first byte.
    pub address: u64,
    /// Bytes.
    pub bytes: u32,
}

/// Pieces that a [`Segments`] holds at most: 64 KB in pages of 4 KB that begin and end
/// anywhere, and headers apart.
pub const MOST_SEGMENTS: usize = 40;

/// The pieces of a frame.
#[derive(Clone, Debug)]
pub struct Segments {
    list: [Segment; MOST_SEGMENTS],
    len: usize,
    /// What the device takes at most, and what a frame may have now.
    limit: usize,
    most: usize,
    most_bytes: u32,
}

impl Segments {
    /// None so far, of so many at most, each of no more than so many bytes.
    pub const fn new(limits: &Limits) -> Self {
        let limit = limits.segments as usize;
        let limit = if limit < MOST_SEGMENTS {
            limit
        } else {
            MOST_SEGMENTS
        };
        Self {
            list: [Segment {
                address: 0,
                bytes: 0,
            }; MOST_SEGMENTS],
            len: 0,
            limit,
            most: limit,
            most_bytes: limits.segment_bytes,
        }
    }

    /// The most pieces that there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The most bytes that a piece may have.
    pub fn most_bytes(&self) -> u32 {
        self.most_bytes
    }

    /// Pieces that any frame may have.
    pub(super) fn limit(&self) -> u16 {
        self.limit as u16
    }

    /// Forgets all, for a frame that may have so many pieces, but not more than any.
    #[inline]
    pub(super) fn restart(&mut self, most: u16) {
        self.most = self.limit.min(most.into());
        self.len = 0;
    }

    /// Forgets all.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Puts a piece behind the others, in several if it is too long for one. Empty ones are
    /// left out.
    ///
    /// # Errors
    /// [`MapError::TooMany`], with some of it put.
    #[inline]
    pub fn push(&mut self, mut segment: Segment) -> Result<(), MapError> {
        while segment.bytes > 0 {
            let bytes = segment.bytes.min(self.most_bytes.max(1));
            if self.len >= self.most {
                return Err(MapError::TooMany);
            }
            let Some(place) = self.list.get_mut(self.len) else {
                return Err(MapError::TooMany);
            };
            place.address = segment.address;
            place.bytes = bytes;
            self.len = self.len.wrapping_add(1);
            segment.address = segment.address.wrapping_add(u64::from(bytes));
            segment.bytes = segment.bytes.wrapping_sub(bytes);
        }
        Ok(())
    }

    /// Those that there are.
    #[inline]
    pub fn as_slice(&self) -> &[Segment] {
        self.list.get(..self.len).unwrap_or_default()
    }
}

/// Why a frame is not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// It is in more pieces than the device takes: to be linearized.
    TooMany,
    /// There is no memory, or no room for bouncing, now.
    NoMemory,
    /// It can't be mapped, ever.
    Unfit,
}

/// A frame on its way out: in the kernel an mbuf chain, with a map of bus_dma(9) once it is
/// mapped. Dropping it unmaps and frees it.
pub trait Frame: Send + Sized {
    /// Bytes, with the Ethernet header.
    fn bytes(&self) -> u32;

    /// Makes the frame visible to the device, and says where. `into` is empty, and has the
    /// device's limits. The frame stays mapped until it is dropped. On an error it is as it was.
    ///
    /// # Errors
    /// Why not.
    fn map(&mut self, into: &mut Segments) -> Result<(), MapError>;

    /// Puts a frame that is not mapped into fewer pieces.
    ///
    /// # Errors
    /// [`MapError::NoMemory`], with the frame as it was, or [`MapError::Unfit`].
    fn linearize(&mut self, most: usize) -> Result<(), MapError>;
}

/// Of what kind a line in the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is wrong with the device.
    Error,
    /// Something that the administrator did not ask for happened.
    Warning,
    /// What can be known.
    Info,
}

/// One device, as the platform sees it. A clone is another handle of the same.
pub trait Platform: Clone + Send + Sync {
    /// Registers of a BAR.
    type Registers: Registers;
    /// Memory for descriptors and such.
    type Dma: Dma;
    /// A frame to be sent.
    type Frame: Frame;
    /// Memory for received bytes, mapped; when it is dropped it is unmapped and freed.
    type Buffer: Send;
    /// A received frame, before it goes to the stack; dropping it frees it.
    type Packet: Send;

    /// Maps a BAR, by its number, 0 to 5. May sleep.
    ///
    /// # Errors
    /// [`Error::NoResource`] if there is none.
    fn registers(&self, bar: u8) -> Result<Self::Registers, Error>;

    /// Reads the configuration space, at an offset in bytes.
    fn config<W: Word>(&self, at: u16) -> W;

    /// Writes the configuration space. Bus mastering and memory access are on already.
    fn set_config<W: Word>(&self, at: u16, value: W);

    /// Memory for the device and the driver, zeroed; `align` is a power of two. May sleep.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn dma(&self, bytes: usize, align: usize) -> Result<Self::Dma, Error>;

    /// Asked when there was no buffer of so many bytes: whether that is for want of memory. If
    /// not, it is no failure. Does not sleep.
    fn has_buffers(&self, bytes: u32) -> bool {
        let _ = bytes;
        true
    }

    /// A buffer that the device can write to, of so many bytes at least. Does not sleep.
    /// `None` if there is no memory now.
    fn buffer(&self, bytes: u32) -> Option<Self::Buffer>;

    /// Where the device sees a buffer, in one piece.
    fn place(&self, buffer: &Self::Buffer) -> Segment;

    /// The first bytes of a buffer that the device is done with, zeroes behind its end. They
    /// are what the device wrote before it said so.
    fn front(&self, buffer: &Self::Buffer) -> [u8; FRONT];

    /// Bytes of a frame up to which it is [copied](Platform::copied) out of its buffer, which
    /// the device gets again at once; 0 if none is.
    const COPIED: u32 = 0;

    /// A packet with a copy of so many bytes of a buffer that the device is done with, at most
    /// [`COPIED`](Platform::COPIED), which begin at `skip`. Both are within the buffer. `None` if
    /// there is no memory, or it is not worth it.
    fn copied(&self, buffer: &Self::Buffer, skip: u32, bytes: u32) -> Option<Self::Packet> {
        let _ = (buffer, skip, bytes);
        None
    }

    /// Makes a buffer that the device is done with a packet, of `bytes` that begin at `skip`.
    /// Both are within the buffer. `None`, with the buffer freed, if there is no memory.
    fn packet(&self, buffer: Self::Buffer, skip: u32, bytes: u32) -> Option<Self::Packet>;

    /// Puts what is in a further buffer behind a packet. False if there is no memory: then the
    /// buffer is freed, and the packet is not whole.
    fn append(
        &self,
        packet: &mut Self::Packet,
        buffer: Self::Buffer,
        skip: u32,
        bytes: u32,
    ) -> bool;

    /// Nanoseconds of a clock that does not go back.
    fn now(&self) -> u64;

    /// Waits for some microseconds, at most 100,000. In a thread that may sleep, or not: it is
    /// called by [`Nic`](super::Nic) only.
    fn wait_us(&self, us: u32);

    /// Puts a line into the log, under the device's name.
    fn log(&self, level: Level, line: fmt::Arguments<'_>);

    /// Where a capability of that number begins in the configuration space: the first one, or
    /// the next after one that was found.
    fn capability(&self, id: u8, after: Option<u16>) -> Option<u16> {
        const STATUS: u16 = 0x06;
        const HAS_LIST: u16 = 1 << 4;
        const FIRST: u16 = 0x34;
        if self.config::<u16>(STATUS) & HAS_LIST == 0 {
            return None;
        }
        let mut next = after.map_or(FIRST, |at| at.wrapping_add(1));
        // There is no room for more, so who goes on is led in a circle.
        for _ in 0..48 {
            let at = u16::from(self.config::<u8>(next) & !3);
            if at == 0 {
                return None;
            }
            if self.config::<u8>(at) == id {
                return Some(at);
            }
            next = at.wrapping_add(1);
        }
        None
    }
}
