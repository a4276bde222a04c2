// SPDX-License-Identifier: BSD-2-Clause
//! ICMP echo of both families by raw sockets (RFC 792, RFC 4443).

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::net::IpAddr;

use super::address::{self, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::sys::{self, Fd};
use crate::pattern::Pattern;

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// The most that a request carries beside its header: what IPv4 leaves.
const LONGEST: usize = 65_535 - 20 - HEADER;
/// `SO_SNDBUF` and `SO_RCVBUF`, in bytes: room for the longest request.
const BUFFER: c_int = 1 << 17;

/// What differs between the families.
struct Protocol {
    domain: c_int,
    number: c_int,
    request: u8,
    reply: u8,
    /// IPv4's raw sockets give the IP header too, and leave the checksum to their user.
    raw: bool,
}

const ICMP: Protocol = Protocol {
    domain: libc::AF_INET,
    number: libc::IPPROTO_ICMP,
    request: 8,
    reply: 0,
    raw: true,
};
const ICMP6: Protocol = Protocol {
    domain: libc::AF_INET6,
    number: libc::IPPROTO_ICMPV6,
    request: 128,
    reply: 129,
    raw: false,
};

/// `IP_VLAN_PCP` of `netinet/in.h`.
const IP_VLAN_PCP: c_int = 75;

/// `ping ADDRESS COUNT TIMEOUT_MS [SIZE [PRIORITY]]`, with `SIZE` bytes in each request, by
/// a socket that asks for this priority of 802.1p; the line
/// says how many were answered with the same bytes.
pub(super) fn command(words: &[&str]) -> Outcome {
    let [address, count, timeout, more @ ..] = words else {
        return Err(Failure::usage(
            "ping ADDRESS COUNT TIMEOUT_MS [SIZE [PRIORITY]]",
        ));
    };
    let address = address::parse(address)?;
    let to = SocketAddress::new(address, 0);
    let (count, timeout): (u16, u64) = (number(count, "count")?, number(timeout, "timeout")?);
    let size = more.first().map_or(Ok(0), |word| number(word, "size"))?;
    if size > LONGEST {
        return Err(Failure::new(format!("size is at most {LONGEST}")));
    }
    let protocol = match address {
        IpAddr::V4(_) => ICMP,
        IpAddr::V6(_) => ICMP6,
    };
    let socket = Fd::socket(protocol.domain, libc::SOCK_RAW, protocol.number)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_SNDBUF, BUFFER)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER)?;
    if let Some(priority) = more.get(1) {
        let priority: c_int = number(priority, "priority")?;
        socket.set_option(libc::IPPROTO_IP, IP_VLAN_PCP, priority)?;
    }
    let id = (sys::getpid() as u16).to_be_bytes();
    let mut answered = 0;
    for sequence in 0..count {
        let request = protocol.request(id, sequence, size);
        socket.send_to(&request, to.as_bytes())?;
        answered += u32::from(protocol.answer(&socket, &request, timeout)?);
    }
    Ok(vec![format!("{answered} of {count}")])
}

impl Protocol {
    fn request(&self, id: [u8; 2], sequence: u16, size: usize) -> Vec<u8> {
        let mut packet = vec![0; HEADER + size];
        packet[0] = self.request;
        packet[4..6].copy_from_slice(&id);
        packet[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
        Pattern::new(sequence.into()).fill(0, &mut packet[HEADER..]);
        let check = checksum(&packet);
        packet[2..4].copy_from_slice(&check.to_be_bytes());
        packet
    }

    /// Whether the reply to `request` comes in time, with the same bytes. Other ICMP
    /// passes by.
    fn answer(&self, socket: &Fd, request: &[u8], timeout_ms: u64) -> Result<bool, Failure> {
        let deadline = clock::monotonic_ms() + timeout_ms;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let left = deadline.saturating_sub(clock::monotonic_ms());
            if left == 0 || !socket.readable(c_int::try_from(left).unwrap_or(c_int::MAX))? {
                return Ok(false);
            }
            let got = socket.receive(&mut buffer)?;
            let header = if self.raw {
                usize::from(buffer[0] & 0xf) * 4
            } else {
                0
            };
            let icmp = buffer[..got].get(header..).unwrap_or(&[]);
            if icmp.first() == Some(&self.reply) && icmp.get(4..) == Some(&request[4..]) {
                return Ok(true);
            }
        }
    }
}

/// The Internet checksum (RFC 1071) of a packet whose checksum field is zero.
pub(super) fn checksum(packet: &[u8]) -> u16 {
    let (pairs, last) = packet.as_chunks::<2>();
    let last = last.first().map_or(0, |&byte| u32::from(byte) << 8);
    let sum = pairs.iter().fold(last, |sum, pair| {
        let sum = sum + u32::from(u16::from_be_bytes(*pair));
        (sum & 0xffff) + (sum >> 16)
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
