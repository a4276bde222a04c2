// SPDX-License-Identifier: BSD-2-Clause
//! A long segment of TCP, cut into frames with whole checksums, each in one piece. Crates
//! have nothing that cuts: they make each frame from what its headers say.

use super::{Race, What, noise};
use etherparse::PacketBuilder;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use std::hint::black_box;
use weft_engine::wire::complete;
use weft_engine::wire::parse::{Limits, Start, parse};
use weft_engine::wire::segment::Cut;

const FROM: [u8; 4] = [10, 0, 0, 1];
const TO: [u8; 4] = [10, 0, 0, 2];
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]];
const HEADERS: usize = 14 + 20 + 20;
const SIZE: usize = 1448;

/// The segment as the stack hands it over.
fn long(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    emit(payload, 0, &mut frame);
    let len = (40 + payload.len()) as u16;
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    frame
}

#[inline(never)]
fn ours(frame: &[u8], out: &mut Vec<u8>) {
    let found = parse(frame, frame.len(), Start::Ethernet, &Limits::of_front());
    let cut = Cut::of_parsed(&found, frame, SIZE).expect("it can be cut");
    for n in 0..cut.count() {
        let at = out.len();
        out.extend_from_slice(&frame[..cut.headers()]);
        let payload = &frame[cut.payload(n)];
        out.extend_from_slice(payload);
        let header = &mut out[at..at + cut.headers()];
        cut.write(n, header);
        cut.fill(header, complete::sum(payload, 0..payload.len()));
    }
}

#[inline(never)]
fn etherparse(payload: &[u8], out: &mut Vec<u8>) {
    for (n, part) in payload.chunks(SIZE).enumerate() {
        let mut ip = etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, FROM, TO)
            .expect("its length is set later");
        ip.identification = n as u16;
        ip.dont_fragment = true;
        let sequence = 7u32.wrapping_add((n * SIZE) as u32);
        let builder = PacketBuilder::ethernet2(MACS[0], MACS[1])
            .ip(etherparse::IpHeaders::Ipv4(ip, Default::default()))
            .tcp(1000, 80, sequence, 512)
            .ack(9);
        builder.write(out, part).expect("a vector takes all");
    }
}

fn emit(part: &[u8], n: usize, out: &mut Vec<u8>) {
    let (from, to) = (Ipv4Address::from(FROM), Ipv4Address::from(TO));
    let at = out.len();
    out.resize(at + HEADERS + part.len(), 0);
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(MACS[0]),
        dst_addr: EthernetAddress(MACS[1]),
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut frame = EthernetFrame::new_unchecked(&mut out[at..]);
    ethernet.emit(&mut frame);
    let tcp = TcpRepr {
        src_port: 1000,
        dst_port: 80,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(7 + (n * SIZE) as i32),
        ack_number: Some(TcpSeqNumber(9)),
        window_len: 512,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: part,
    };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let sums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &sums);
    packet.set_ident(n as u16);
    packet.fill_checksum();
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    let (from, to) = (IpAddress::Ipv4(from), IpAddress::Ipv4(to));
    tcp.emit(&mut segment, &from, &to, &sums);
}

#[inline(never)]
fn smoltcp(payload: &[u8], out: &mut Vec<u8>) {
    for (n, part) in payload.chunks(SIZE).enumerate() {
        emit(part, n, out);
    }
}

pub(super) fn race(race: &mut Race<'_>) {
    for len in [SIZE * 10, SIZE * 44] {
        let payload = noise(len);
        let long = long(&payload);
        let mut made = Vec::with_capacity(len * 2);
        let mut work = || {
            made.clear();
            ours(black_box(&long), &mut made);
            made.len() as u64
        };
        for (names, cut) in [
            (
                ("etherparse", "0.20.3"),
                etherparse as fn(&[u8], &mut Vec<u8>),
            ),
            (("smoltcp", "0.12.0"), smoltcp),
        ] {
            let (mut one, mut other) = (Vec::new(), Vec::with_capacity(len * 2));
            ours(&long, &mut one);
            cut(&payload, &mut other);
            assert!(one == other, "{names:?}: other frames");
            let cut = black_box(cut);
            let mut theirs = || {
                other.clear();
                cut(black_box(&payload), &mut other);
                other.len() as u64
            };
            let what = What {
                work: format!("a segment of {len} bytes cut and summed"),
                experiment: "cut",
                shape: "",
            };
            race.pair("wire", what, len, &mut work, names, &mut theirs);
        }
    }
}
