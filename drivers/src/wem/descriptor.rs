// SPDX-License-Identifier: BSD-2-Clause
//! What the rings of Intel's 8254x and 82574 hold: descriptors of 16 bytes, as the two
//! little-endian words that the device reads and writes.
//!
//! Transmit: data descriptors, each with bytes of a frame, and context descriptors, which
//! say where the next frames' checksums are and how they are cut. Receive: the legacy form,
//! which all have, and the extended form of the 82574, which has the flow's hash.
//!
//! Source: 8254x manual 3.2.3 and 3.3.3 to 3.3.7; 82574 datasheet 7.1.4 and 7.2.10.

use bitflags::bitflags;

/// A descriptor as it is in memory, in host order.
pub type Words = [u64; 2];

/// Bytes of a descriptor.
pub const SIZE: usize = 16;

bitflags! {
    /// The command of a transmit descriptor, bits 24 to 31 of its second word.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Command: u8 {
        /// The frame ends here. In a context: layer 4 is TCP.
        const END = 1 << 0;
        /// The check sequence is added. In a context: layer 3 is IPv4.
        const CRC = 1 << 1;
        /// The frame is cut.
        const SEGMENT = 1 << 2;
        /// The descriptor is written back when it is done.
        const REPORT = 1 << 3;
        /// It is not of the legacy form.
        const EXTENDED = 1 << 5;
        /// A VLAN tag is put in.
        const VLAN = 1 << 6;
        /// The interrupt may wait.
        const DELAY = 1 << 7;
    }

    /// What is filled in, bits 40 to 47 of a data descriptor's second word.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Fill: u8 {
        /// The IPv4 header's checksum.
        const IP = 1 << 0;
        /// TCP's or UDP's.
        const LAYER_4 = 1 << 1;
    }

    /// The status of a received frame.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Received: u8 {
        /// The descriptor is done.
        const DONE = 1 << 0;
        /// The frame ends here.
        const END = 1 << 1;
        /// No checksum was looked at.
        const IGNORE = 1 << 2;
        /// A tag was taken out.
        const VLAN = 1 << 3;
        /// UDP's checksum was looked at (82574).
        const UDP = 1 << 4;
        /// TCP's was, or UDP's.
        const LAYER_4 = 1 << 5;
        /// The IPv4 header's was.
        const IP = 1 << 6;
    }

    /// What is wrong with a received frame.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Errors: u8 {
        /// The check sequence, or the alignment.
        const CRC = 1 << 0;
        /// A symbol.
        const SYMBOL = 1 << 1;
        /// The sequence of symbols.
        const SEQUENCE = 1 << 2;
        /// Carrier extension.
        const CARRIER = 1 << 4;
        /// TCP's or UDP's checksum.
        const LAYER_4 = 1 << 5;
        /// The IPv4 header's.
        const IP = 1 << 6;
        /// Anything about the data.
        const DATA = 1 << 7;
    }
}

impl Errors {
    /// Those by which a frame is none.
    pub const FRAME: Self = Self::CRC
        .union(Self::SYMBOL)
        .union(Self::SEQUENCE)
        .union(Self::CARRIER)
        .union(Self::DATA);
}

/// The descriptor type of a data descriptor, in bits 20 to 23; a context's is 0.
const DATA: u64 = 1 << 20;
/// Where the status of a transmit descriptor is, one byte.
pub const STATUS_AT: usize = 12;
/// It is done.
const SENT: u8 = 1;
/// Bits of a length.
const LENGTH: u64 = 0xf_ffff;

/// Bytes of a frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data {
    /// Where they are, for the device.
    pub address: u64,
    /// How many.
    pub len: u32,
    /// What to do.
    pub command: Command,
    /// What to fill in; the same in all descriptors of a frame, as devices differ in which
    /// they read it from.
    pub fill: Fill,
    /// The tag to put in.
    pub vlan: u16,
}

impl Data {
    /// As the device reads it.
    pub fn words(&self) -> Words {
        let command = self.command | Command::EXTENDED;
        let second = u64::from(self.len) & LENGTH
            | DATA
            | u64::from(command.bits()) << 24
            | u64::from(self.fill.bits()) << 40
            | u64::from(self.vlan) << 48;
        [self.address, second]
    }
}

/// Where checksums are, and how frames are cut, until the next context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Where the IP header begins, in bytes of the frame, without the tag that is put in.
    pub ip: u8,
    /// Where it ends, for IPv4.
    pub ip_end: Option<u16>,
    /// Where layer 4 begins.
    pub layer_4: u8,
    /// Where its checksum is.
    pub checksum: u8,
    /// Layer 4 is TCP.
    pub is_tcp: bool,
    /// How frames are cut.
    pub segment: Option<Segment>,
}

/// How a long frame is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Bytes of headers.
    pub header: u8,
    /// Bytes of payload of each frame, but perhaps the last.
    pub size: u16,
    /// Bytes of payload together.
    pub payload: u32,
}

impl Context {
    /// As the device reads it.
    pub fn words(&self) -> Words {
        let mut command = Command::EXTENDED;
        command.set(Command::END, self.is_tcp);
        command.set(Command::CRC, self.ip_end.is_some());
        command.set(Command::SEGMENT, self.segment.is_some());
        let cut = self.segment.unwrap_or_default();
        let last = self.ip_end.map_or(0, |end| end.saturating_sub(1));
        let first = u64::from(self.ip)
            | u64::from(self.ip.saturating_add(10)) << 8
            | u64::from(last) << 16
            | u64::from(self.layer_4) << 32
            | u64::from(self.checksum) << 40;
        let second = u64::from(cut.payload) & LENGTH
            | u64::from(command.bits()) << 24
            | u64::from(cut.header) << 40
            | u64::from(cut.size) << 48;
        [first, second]
    }
}

/// Whether that status says that a transmit descriptor is done.
pub fn is_sent(status: u8) -> bool {
    status & SENT != 0
}

/// A buffer for received bytes, as the device reads it, in either form.
pub fn empty(address: u64) -> Words {
    [address, 0]
}

/// What the device has written of a part of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes of this part.
    pub len: u16,
    /// How it came.
    pub status: Received,
    /// What is wrong; only of a frame's last part.
    pub errors: Errors,
    /// The tag that was taken out.
    pub vlan: u16,
    /// The flow's hash and its type, in the extended form.
    pub hash: Option<(u8, u32)>,
}

impl Arrived {
    /// Of the legacy form.
    pub fn of_legacy([_, second]: Words) -> Self {
        Self {
            len: second as u16,
            status: Received::from_bits_truncate((second >> 32) as u8),
            errors: Errors::from_bits_truncate((second >> 40) as u8),
            vlan: (second >> 48) as u16,
            hash: None,
        }
    }

    /// Of the extended form.
    pub fn of_extended([first, second]: Words) -> Self {
        Self {
            len: (second >> 32) as u16,
            status: Received::from_bits_truncate(second as u8),
            errors: Errors::from_bits_truncate((second >> 24) as u8),
            vlan: (second >> 48) as u16,
            hash: Some((first as u8 & 0x0f, (first >> 32) as u32)),
        }
    }
}
