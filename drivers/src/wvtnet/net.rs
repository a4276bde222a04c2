// SPDX-License-Identifier: BSD-2-Clause
//! What virtio says of network devices: features, the configuration, the header in front of
//! each frame, and the commands of the control queue.
//!
//! Source: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", 5.1 and 6. Numbers are
//! little-endian; a legacy device on x86 has them so, too.

use bitflags::bitflags;

bitflags! {
    /// What device and driver agree upon.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Features: u64 {
        /// The device fills in checksums.
        const CHECKSUM = 1 << 0;
        /// The driver takes frames whose checksum is not filled in.
        const GUEST_CHECKSUM = 1 << 1;
        /// Offloads for received frames may change.
        const CONTROL_OFFLOADS = 1 << 2;
        /// The configuration says the largest MTU.
        const MTU = 1 << 3;
        /// The configuration has the address.
        const MAC = 1 << 5;
        /// The driver takes long segments of TCP over IPv4.
        const GUEST_TSO4 = 1 << 7;
        /// Over IPv6.
        const GUEST_TSO6 = 1 << 8;
        /// Also with ECN.
        const GUEST_ECN = 1 << 9;
        /// The device takes long segments of TCP over IPv4.
        const HOST_TSO4 = 1 << 11;
        /// Over IPv6.
        const HOST_TSO6 = 1 << 12;
        /// Also with ECN.
        const HOST_ECN = 1 << 13;
        /// A received frame may be in several buffers.
        const MERGEABLE = 1 << 15;
        /// The configuration says whether the link is up.
        const STATUS = 1 << 16;
        /// There is a control queue.
        const CONTROL = 1 << 17;
        /// Which takes receive modes,
        const CONTROL_RX = 1 << 18;
        /// VLANs,
        const CONTROL_VLAN = 1 << 19;
        /// and says that the driver may be asked to announce the guest;
        const ANNOUNCE = 1 << 21;
        /// there are several pairs of queues;
        const MULTI_QUEUE = 1 << 22;
        /// it takes the address.
        const CONTROL_MAC = 1 << 23;
        /// Descriptors may be in a table of their own.
        const INDIRECT = 1 << 28;
        /// Each side says at which index it wants to hear of the other.
        const EVENT_INDEX = 1 << 29;
        /// The device is not of the legacy kind.
        const VERSION_1 = 1 << 32;
        /// It takes addresses of its platform's, which an IOMMU may translate.
        const PLATFORM = 1 << 33;
        /// The configuration says how fast the link is.
        const SPEED = 1 << 63;
        const _ = !0;
    }

    /// How far the driver is, in the device's status.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct DeviceStatus: u8 {
        /// It was found.
        const ACKNOWLEDGE = 1;
        /// There is a driver.
        const DRIVER = 2;
        /// Which is ready.
        const DRIVER_OK = 4;
        /// Features are agreed upon.
        const FEATURES_OK = 8;
        /// The device is at its end, and wants a reset.
        const NEEDS_RESET = 64;
        /// The driver gives up.
        const FAILED = 128;
    }

    /// The flags of a frame's header.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct HeaderFlags: u8 {
        /// A checksum is to be filled in.
        const NEEDS_CHECKSUM = 1;
        /// Checksums were looked at and are right.
        const CHECKED = 2;
    }
}

/// How a long frame is cut: `gso_type`.
pub mod cut {
    /// Not at all.
    pub const NONE: u8 = 0;
    /// Segments of TCP over IPv4.
    pub const TCP_IPV4: u8 = 1;
    /// Fragments of UDP.
    pub const UDP: u8 = 3;
    /// Segments of TCP over IPv6.
    pub const TCP_IPV6: u8 = 4;
    /// ECN is in use: CWR belongs into the first segment only.
    pub const ECN: u8 = 0x80;
}

/// What precedes each frame, in the form with `num_buffers`: the first 10 bytes are all
/// that a legacy device without mergeable buffers has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What is to be done, or was.
    pub flags: HeaderFlags,
    /// How it is cut.
    pub cut: u8,
    /// Bytes of headers, as a hint.
    pub header_len: u16,
    /// Bytes of payload in each frame that is cut.
    pub segment_size: u16,
    /// From where the checksum is computed.
    pub from: u16,
    /// Where it is, from there.
    pub at: u16,
    /// How many buffers the received frame is in.
    pub buffers: u16,
}

impl Header {
    /// Bytes of it.
    pub const LONG: usize = 12;
    /// Bytes of the short form.
    pub const SHORT: usize = 10;

    /// As it is in memory: its first 8 bytes, and 4 more.
    pub fn words(&self) -> (u64, u32) {
        let first = u64::from(self.flags.bits())
            | u64::from(self.cut) << 8
            | u64::from(self.header_len) << 16
            | u64::from(self.segment_size) << 32
            | u64::from(self.from) << 48;
        (first, u32::from(self.at) | u32::from(self.buffers) << 16)
    }

    /// Of its bytes; what is missing at the end is 0.
    pub fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let two = bytes.get(at..).and_then(<[u8]>::first_chunk);
            two.map_or(0, |&two| u16::from_le_bytes(two))
        };
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        Self {
            flags: HeaderFlags::from_bits_truncate(byte(0)),
            cut: byte(1),
            header_len: word(2),
            segment_size: word(4),
            from: word(6),
            at: word(8),
            buffers: word(10),
        }
    }
}

/// Where things are in the device's configuration, in bytes.
pub mod config {
    /// The address, 6 bytes.
    pub const MAC: u32 = 0;
    /// Whether the link is up, and whether the guest is to be announced; 2 bytes.
    pub const STATUS: u32 = 6;
    /// How many pairs of queues there are at most; 2 bytes.
    pub const PAIRS: u32 = 8;
    /// The largest MTU; 2 bytes.
    pub const MTU: u32 = 10;
    /// Mb/s, 4 bytes; ones if it is not known.
    pub const SPEED: u32 = 12;
    /// 1 if it is full duplex; 1 byte.
    pub const DUPLEX: u32 = 16;
    /// In the status: the link is up.
    pub const LINK_UP: u16 = 1;
    /// The guest is to be announced.
    pub const ANNOUNCE: u16 = 2;
}

/// Commands: class and number.
pub mod command {
    /// All unicast frames pass, or not; one byte.
    pub const PROMISCUOUS: [u8; 2] = [0, 0];
    /// All multicast frames pass, or not; one byte.
    pub const ALL_MULTICAST: [u8; 2] = [0, 1];
    /// Two tables of addresses that pass: each a count of 4 bytes and so many addresses.
    pub const TABLES: [u8; 2] = [1, 0];
    /// The address, 6 bytes.
    pub const ADDRESS: [u8; 2] = [1, 1];
    /// A VLAN passes; 2 bytes.
    pub const VLAN_ADD: [u8; 2] = [2, 0];
    /// A VLAN passes no longer; 2 bytes.
    pub const VLAN_REMOVE: [u8; 2] = [2, 1];
    /// The guest was announced.
    pub const ANNOUNCED: [u8; 2] = [3, 0];
    /// How many pairs of queues are used; 2 bytes.
    pub const PAIRS: [u8; 2] = [4, 0];
    /// Which features of received frames are on; 8 bytes.
    pub const OFFLOADS: [u8; 2] = [5, 0];
    /// The device's answer if it has done it.
    pub const DONE: u8 = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_its_bytes_say() {
        let header = Header {
            flags: HeaderFlags::NEEDS_CHECKSUM,
            cut: cut::TCP_IPV6 | cut::ECN,
            header_len: 74,
            segment_size: 1440,
            from: 54,
            at: 16,
            buffers: 0x0201,
        };
        let (first, rest) = header.words();
        let bytes = [&first.to_le_bytes()[..], &rest.to_le_bytes()].concat();
        assert_eq!(bytes, [1, 0x84, 74, 0, 0xa0, 5, 54, 0, 16, 0, 1, 2]);
        assert_eq!(Header::of(&bytes), header);
        assert_eq!(Header::of(&bytes[..Header::SHORT]).buffers, 0);
    }
}
