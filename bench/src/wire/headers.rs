// SPDX-License-Identifier: BSD-2-Clause
//! Headers found: where layer 4 is and what its ports are, of frames of some kinds.

use super::{Race, What};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6ExtHeader, Ipv6Packet, TcpPacket,
};
use std::hint::black_box;
use weft_engine::wire::parse::{Limits, Start, parse};

/// A frame of TCP over IPv4, or over IPv6 with so many headers of destination options.
fn frame(extensions: Option<usize>) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let mut tcp = vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 2, 0];
    tcp.extend([0; 4]);
    tcp.extend([7; 100]);
    match extensions {
        None => {
            bytes.extend([8, 0, 0x45, 0]);
            bytes.extend((20 + tcp.len() as u16).to_be_bytes());
            bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        Some(count) => {
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            bytes.extend((8 * count as u16 + tcp.len() as u16).to_be_bytes());
            bytes.extend([if count > 0 { 60 } else { 6 }, 64]);
            bytes.extend([0xfd; 32]);
            for n in 0..count {
                let next = if n + 1 < count { 60 } else { 6 };
                bytes.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
        }
    }
    bytes.extend(tcp);
    bytes
}

/// Where TCP begins, and its ports.
#[inline(never)]
fn ours(frame: &[u8]) -> u64 {
    let found = parse(frame, frame.len(), Start::Ethernet, &Limits::of_front());
    let at = usize::from(found.outer.l4);
    let ports = frame.get(at..).and_then(|l4| l4.first_chunk::<4>());
    match found.is_whole() {
        true => u64::from(ports.copied().map_or(0, u32::from_be_bytes)),
        false => 0,
    }
}

#[inline(never)]
fn etherparse(frame: &[u8]) -> u64 {
    let Ok(found) = SlicedPacket::from_ethernet(frame) else {
        return 0;
    };
    let is_ip = matches!(found.net, Some(NetSlice::Ipv4(_) | NetSlice::Ipv6(_)));
    match found.transport {
        Some(TransportSlice::Tcp(tcp)) if is_ip => {
            u64::from(tcp.source_port()) << 16 | u64::from(tcp.destination_port())
        }
        _ => 0,
    }
}

#[inline(never)]
fn smoltcp(frame: &[u8]) -> u64 {
    smoltcp_tcp(frame).map_or(0, |tcp| {
        u64::from(tcp.src_port()) << 16 | u64::from(tcp.dst_port())
    })
}

fn smoltcp_tcp(frame: &[u8]) -> Option<TcpPacket<&[u8]>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let (mut next, mut rest) = match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            (packet.next_header(), packet.payload())
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            (packet.next_header(), packet.payload())
        }
        _ => return None,
    };
    while matches!(next, IpProtocol::HopByHop | IpProtocol::Ipv6Opts) {
        let header = Ipv6ExtHeader::new_checked(rest).ok()?;
        next = header.next_header();
        rest = rest.get(usize::from(header.header_len()) * 8 + 8..)?;
    }
    match next {
        IpProtocol::Tcp => TcpPacket::new_checked(rest).ok(),
        _ => None,
    }
}

pub(super) fn race(race: &mut Race<'_>) {
    let kinds = [
        ("IPv4", frame(None)),
        ("IPv6", frame(Some(0))),
        ("IPv6 with one extension header", frame(Some(1))),
        ("IPv6 with four extension headers", frame(Some(4))),
    ];
    for (kind, frame) in &kinds {
        let expected = ours(frame);
        assert_eq!(expected, 0x1234_0050);
        let mut us = || ours(black_box(frame));
        let what = || What {
            work: format!("headers of TCP over {kind}"),
            experiment: "headers",
            shape: "",
        };
        for (names, find) in [
            (("etherparse", "0.20.3"), etherparse as fn(&[u8]) -> u64),
            (("smoltcp", "0.12.0"), smoltcp),
        ] {
            assert_eq!(find(frame), expected, "{names:?} {kind}");
            let find = black_box(find);
            race.pair("wire", what(), 0, &mut us, names, &mut || {
                find(black_box(frame))
            });
        }
    }
}
