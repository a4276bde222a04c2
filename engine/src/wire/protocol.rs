// SPDX-License-Identifier: BSD-2-Clause
//! Numbers that IANA gives to what follows a header of IPv4 or IPv6.

/// Hop-by-hop options of IPv6 (RFC 8200, 4.3).
pub const HOP_BY_HOP: u8 = 0;
/// ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// IPv4 in IP (RFC 2003, RFC 2473).
pub const IPV4: u8 = 4;
/// TCP (RFC 9293).
pub const TCP: u8 = 6;
/// UDP (RFC 768).
pub const UDP: u8 = 17;
/// IPv6 in IP (RFC 2473, RFC 4213).
pub const IPV6: u8 = 41;
/// A routing header of IPv6 (RFC 8200, 4.4).
pub const ROUTING: u8 = 43;
/// A fragment header of IPv6 (RFC 8200, 4.5).
pub const FRAGMENT: u8 = 44;
/// GRE (RFC 2784, RFC 2890).
pub const GRE: u8 = 47;
/// Encapsulating security payload (RFC 4303).
pub const ESP: u8 = 50;
/// Authentication header (RFC 4302).
pub const AUTHENTICATION: u8 = 51;
/// ICMPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;
/// Nothing follows (RFC 8200, 4.7).
pub const NO_NEXT: u8 = 59;
/// Destination options of IPv6 (RFC 8200, 4.6).
pub const DESTINATION_OPTIONS: u8 = 60;
/// SCTP (RFC 9260).
pub const SCTP: u8 = 132;
/// Mobility (RFC 6275, 6.1).
pub const MOBILITY: u8 = 135;
/// UDP-Lite (RFC 3828).
pub const UDP_LITE: u8 = 136;
/// Host identity protocol (RFC 7401, 5.1).
pub const HIP: u8 = 139;
/// Shim6 (RFC 5533, 5.1).
pub const SHIM6: u8 = 140;
