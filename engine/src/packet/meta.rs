// SPDX-License-Identifier: BSD-2-Clause
//! What is known of a packet beside its bytes: parsed once, carried along.

use bitflags::bitflags;

bitflags! {
    /// What is asked for when the packet is sent, what was found when it was
    /// received, and which fields of [`Meta`] mean something.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Send: compute the checksum of the IPv4 header.
        const FILL_IP = 1 << 0;
        /// Send: compute the checksum of the layer-4 header that `l4` points to and
        /// `protocol` names. The field holds the sum of the pseudo-header.
        const FILL_L4 = 1 << 1;
        /// Received: the IPv4 header's checksum was looked at.
        const IP_CHECKED = 1 << 2;
        /// Received: and is right.
        const IP_GOOD = 1 << 3;
        /// Received: the layer-4 checksum was looked at.
        const L4_CHECKED = 1 << 4;
        /// Received: and is right.
        const L4_GOOD = 1 << 5;
        /// `vlan[0]` is a tag that is not among the bytes.
        const VLAN = 1 << 6;
        /// So is `vlan[1]`, the inner one.
        const INNER_VLAN = 1 << 7;
        /// `timestamp` is set.
        const TIMESTAMP = 1 << 8;
        /// It was taken by the hardware at the port.
        const PRECISE = 1 << 9;
        /// Came, or goes, to the link's broadcast address.
        const BROADCAST = 1 << 10;
        /// To a multicast address of the link.
        const MULTICAST = 1 << 11;
        /// To another station: the link is promiscuous.
        const PROMISCUOUS = 1 << 12;
        /// `queue` was chosen and is to be kept.
        const QUEUE = 1 << 13;
        /// The headers were parsed: `l2` to `payload` and `protocol` are right.
        const PARSED = 1 << 14;
        /// The packet is an IPv4 or IPv6 fragment: there may be no layer-4 header.
        const FRAGMENT = 1 << 15;
        /// The IP header is IPv6's; otherwise it is IPv4's, if there is one.
        const IPV6 = 1 << 16;
    }
}

/// Over what a flow hash was computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum HashKind {
    /// There is none.
    #[default]
    None,
    /// Not told by whoever made it, but alike for all packets of a flow.
    Opaque,
    /// Toeplitz over the IPv4 addresses.
    Ipv4,
    /// And the TCP ports.
    TcpIpv4,
    /// And the UDP ports.
    UdpIpv4,
    /// Toeplitz over the IPv6 addresses.
    Ipv6,
    /// And the TCP ports.
    TcpIpv6,
    /// And the UDP ports.
    UdpIpv6,
}

/// Into what a packet that is longer than the link's MTU is to be cut, or of what a
/// received one was put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Segmentation {
    /// It is one packet.
    #[default]
    None,
    /// TCP over IPv4.
    TcpIpv4,
    /// TCP over IPv6.
    TcpIpv6,
    /// UDP.
    Udp,
}

/// The metadata of one packet. With the extent of the data it fills one cache line,
/// which is all that a queue and a link read of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Meta {
    /// When it came, in nanoseconds of the platform's monotonic clock.
    pub timestamp: u64,
    /// The hash of its flow; what of, `hash_kind` tells.
    pub flow_hash: u32,
    /// What is asked for, known and set.
    pub flags: Flags,
    /// Where the link's header begins, in bytes from the start of the data.
    pub l2: u16,
    /// Where the IP header begins, likewise.
    pub l3: u16,
    /// Where the layer-4 header begins, behind all extension headers.
    pub l4: u16,
    /// Where the payload of layer 4 begins.
    pub payload: u16,
    /// The outer and the inner VLAN tag: priority, drop bit and number, as in 802.1Q.
    pub vlan: [u16; 2],
    /// The FIB by which it is routed.
    pub fib: u16,
    /// The transmit queue that was chosen, or the receive queue it came by.
    pub queue: u16,
    /// Payload bytes of each segment, but perhaps the last.
    pub segment_size: u16,
    /// Of how many segments it was put together.
    pub segments: u16,
    /// Over what `flow_hash` was computed.
    pub hash_kind: HashKind,
    /// Into what to cut it.
    pub segmentation: Segmentation,
    /// The layer-4 protocol, an IANA number.
    pub protocol: u8,
}
