// SPDX-License-Identifier: BSD-2-Clause
//! A host behind a port, made of what a test needs: it answers ARP and neighbour
//! discovery, echoes of both families, datagrams to the echo port, [streams](super::stream) of
//! TCP, and asks for addresses by DHCP's exchange; and it makes numbered datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::check::{Content, Frame, ICMP, ICMP6, Packet, TCP, UDP, checksum, pseudo};
use super::stream::Streams;

/// Datagrams to this port come back.
pub(super) const ECHO: u16 = 7;
const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
const DHCP_COOKIE: [u8; 4] = [99, 130, 83, 99];
const ARP: u16 = 0x0806;
const UNKNOWN: u16 = 0x88b5;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TTL: u8 = 64;
/// The shortest frame, without its check sequence.
const SHORTEST: usize = 60;
const ALL: [u8; 6] = [0xff; 6];

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// The VLAN that it is on, if it is on one.
    pub vlan: Option<u16>,
    /// The address that it offers by DHCP.
    pub offered: Ipv4Addr,
}

impl Station {
    /// What it answers to a frame.
    pub(super) fn answer(&self, frame: &Frame, bytes: &[u8]) -> Vec<Vec<u8>> {
        let is_ours = frame.to == self.mac || frame.to[0] & 1 != 0;
        let tags: Vec<u16> = self.vlan.into_iter().collect();
        let own: Vec<u16> = frame.tags.iter().map(|tag| tag & 0xfff).collect();
        if !is_ours || own != tags {
            return Vec::new();
        }
        let answer = match &frame.content {
            Content::Other(ARP) => self.answer_arp(frame, &bytes[14 + 4 * tags.len()..]),
            Content::Ip(packet) => self.answer_ip(frame, packet),
            _ => None,
        };
        answer.into_iter().collect()
    }

    /// What it answers to a segment of TCP.
    pub(super) fn answer_stream(&self, frame: &Frame, streams: &mut Streams) -> Vec<Vec<u8>> {
        let Content::Ip(packet) = &frame.content else {
            return Vec::new();
        };
        let is_ours = packet.to == self.v4.octets() || packet.to == self.v6.octets();
        if packet.protocol != TCP || frame.to != self.mac || !is_ours {
            return Vec::new();
        }
        let answers = streams.answers(&packet.body).into_iter();
        answers
            .map(|segment| self.tcp(frame.from, &packet.from, segment))
            .collect()
    }

    /// What begins a stream of so many bytes.
    pub(super) fn stream(
        &self,
        to: [u8; 6],
        address: IpAddr,
        port: u16,
        bytes: usize,
        streams: &mut Streams,
    ) -> Vec<u8> {
        let segment = streams.open(port, bytes);
        match address {
            IpAddr::V4(address) => self.tcp(to, &address.octets(), segment),
            IpAddr::V6(address) => self.tcp(to, &address.octets(), segment),
        }
    }

    /// A segment with its checksum filled in.
    fn tcp(&self, mac: [u8; 6], to: &[u8], mut segment: Vec<u8>) -> Vec<u8> {
        let base = pseudo(&self.source(to), to, TCP, segment.len());
        let check = checksum(&segment, base);
        segment[16..18].copy_from_slice(&check.to_be_bytes());
        self.ip(mac, to, TCP, &segment)
    }

    fn answer_arp(&self, frame: &Frame, arp: &[u8]) -> Option<Vec<u8>> {
        let is_request = arp.get(..8)? == [0, 1, 8, 0, 6, 4, 0, 1];
        if !is_request || arp.get(24..28)? != self.v4.octets() {
            return None;
        }
        let mut reply = vec![0, 1, 8, 0, 6, 4, 0, 2];
        reply.extend(self.mac);
        reply.extend(self.v4.octets());
        reply.extend(&arp[8..18]);
        Some(self.ethernet(frame.from, ARP, &reply))
    }

    fn answer_ip(&self, frame: &Frame, packet: &Packet) -> Option<Vec<u8>> {
        let body = &packet.body;
        let is_ours = packet.to == self.v4.octets() || packet.to == self.v6.octets();
        match packet.protocol {
            ICMP if is_ours && body.first() == Some(&8) => {
                let mut reply = body.clone();
                reply[..4].fill(0);
                let check = checksum(&reply, 0);
                reply[2..4].copy_from_slice(&check.to_be_bytes());
                Some(self.ip(frame.from, &packet.from, ICMP, &reply))
            }
            ICMP6 if is_ours && body.first() == Some(&128) => {
                Some(self.icmp6(frame.from, &packet.from, body, 129))
            }
            // A neighbour's solicitation.
            ICMP6 if body.first() == Some(&135) && body.get(8..24)? == self.v6.octets() => {
                let mut reply = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
                reply.extend(self.v6.octets());
                reply.extend([2, 1]);
                reply.extend(self.mac);
                Some(self.icmp6(frame.from, &packet.from, &reply, 136))
            }
            UDP if is_ours && body.get(2..4)? == ECHO.to_be_bytes() => {
                let mut reply = body.clone();
                reply[..4].rotate_left(2);
                Some(self.udp(frame.from, &packet.from, reply))
            }
            UDP if body.get(2..4)? == DHCP_SERVER.to_be_bytes() => self.answer_dhcp(body),
            _ => None,
        }
    }

    /// OFFER to DISCOVER and ACK to REQUEST (RFC 2131), to all.
    fn answer_dhcp(&self, body: &[u8]) -> Option<Vec<u8>> {
        let request = body.get(8..)?;
        if request.get(236..240)? != DHCP_COOKIE || request.first() != Some(&1) {
            return None;
        }
        let kind = option(request.get(240..)?, 53)?;
        let answer = match kind.first()? {
            1 => 2,
            3 => 5,
            _ => return None,
        };
        let mut reply = request[..236].to_vec();
        reply[0] = 2;
        reply[16..20].copy_from_slice(&self.offered.octets());
        reply[20..24].copy_from_slice(&self.v4.octets());
        reply.extend(DHCP_COOKIE);
        reply.extend([53, 1, answer, 54, 4]);
        reply.extend(self.v4.octets());
        reply.extend([1, 4, 255, 255, 255, 0, 255]);
        let mut datagram = Vec::new();
        datagram.extend(DHCP_SERVER.to_be_bytes());
        datagram.extend(DHCP_CLIENT.to_be_bytes());
        datagram.extend(((reply.len() + 8) as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(reply);
        Some(self.udp(ALL, &[255; 4], datagram))
    }

    /// A datagram of so many bytes, which are the number and then zeroes.
    #[must_use]
    pub fn numbered(
        &self,
        to: [u8; 6],
        address: IpAddr,
        port: u16,
        number: u64,
        size: usize,
    ) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(size + 8);
        datagram.extend(4000_u16.to_be_bytes());
        datagram.extend(port.to_be_bytes());
        datagram.extend(((size + 8) as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(number.to_be_bytes());
        datagram.resize(size + 8, 0);
        match address {
            IpAddr::V4(address) => self.udp(to, &address.octets(), datagram),
            IpAddr::V6(address) => self.udp(to, &address.octets(), datagram),
        }
    }

    /// A request of an echo by ICMP, with a number behind its header.
    pub(super) fn echo(&self, to: [u8; 6], address: Ipv4Addr, number: u64) -> Vec<u8> {
        let mut body = vec![8, 0, 0, 0, 0, 9, 0, 0];
        body.extend(number.to_be_bytes());
        let check = checksum(&body, 0);
        body[2..4].copy_from_slice(&check.to_be_bytes());
        self.ip(to, &address.octets(), ICMP, &body)
    }

    /// A frame of so many bytes that no stack knows (IEEE 802's first EtherType for experiments).
    #[must_use]
    pub fn unknown(&self, to: [u8; 6], size: usize) -> Vec<u8> {
        self.ethernet(to, UNKNOWN, &vec![0; size.saturating_sub(14)])
    }

    /// A datagram with its checksum filled in.
    fn udp(&self, mac: [u8; 6], to: &[u8], mut datagram: Vec<u8>) -> Vec<u8> {
        datagram[6..8].fill(0);
        let base = pseudo(&self.source(to), to, UDP, datagram.len());
        let check = match checksum(&datagram, base) {
            0 => 0xffff,
            check => check,
        };
        datagram[6..8].copy_from_slice(&check.to_be_bytes());
        self.ip(mac, to, UDP, &datagram)
    }

    fn icmp6(&self, mac: [u8; 6], to: &[u8], body: &[u8], kind: u8) -> Vec<u8> {
        let mut reply = body.to_vec();
        reply[0] = kind;
        reply[2..4].fill(0);
        let base = pseudo(&self.source(to), to, ICMP6, reply.len());
        let check = checksum(&reply, base);
        reply[2..4].copy_from_slice(&check.to_be_bytes());
        self.ip(mac, to, ICMP6, &reply)
    }

    fn source(&self, to: &[u8]) -> Vec<u8> {
        match to.len() {
            4 => self.v4.octets().to_vec(),
            _ => self.v6.octets().to_vec(),
        }
    }

    fn ip(&self, mac: [u8; 6], to: &[u8], protocol: u8, body: &[u8]) -> Vec<u8> {
        let from = self.source(to);
        if to.len() == 16 {
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend((body.len() as u16).to_be_bytes());
            // Neighbour discovery wants the highest number of hops.
            packet.extend([protocol, 255]);
            packet.extend(from);
            packet.extend(to);
            packet.extend(body);
            return self.ethernet(mac, IPV6, &packet);
        }
        let mut packet = vec![0x45, 0];
        packet.extend(((body.len() + 20) as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, TTL, protocol, 0, 0]);
        packet.extend(from);
        packet.extend(to);
        let check = checksum(&packet, 0);
        packet[10..12].copy_from_slice(&check.to_be_bytes());
        packet.extend(body);
        self.ethernet(mac, IPV4, &packet)
    }

    /// An IP packet in a frame.
    pub(super) fn around(to: &[u8; 6], from: &[u8; 6], packet: &[u8]) -> Vec<u8> {
        let kind = match packet.first() {
            Some(0x60..) => IPV6,
            _ => IPV4,
        };
        let mut frame = to.to_vec();
        frame.extend(from);
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }

    fn ethernet(&self, to: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = to.to_vec();
        frame.extend(self.mac);
        if let Some(vlan) = self.vlan {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(kind.to_be_bytes());
        frame.extend(body);
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }
}

/// The number in the answer to an echo of a station's.
pub(super) fn echo_number(body: &[u8]) -> Option<u64> {
    let is_answer = body.first() == Some(&0);
    let number = body.get(8..)?.first_chunk().copied();
    number.filter(|_| is_answer).map(u64::from_be_bytes)
}

/// A DHCP option's value.
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [255, ..] | [] | [_] => return None,
            [0, rest @ ..] => options = rest,
            [kind, len, rest @ ..] => {
                let value = rest.get(..usize::from(*len))?;
                if *kind == wanted {
                    return Some(value);
                }
                options = &rest[value.len()..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{self, Reassembly};
    use super::*;

    fn station() -> Station {
        Station {
            mac: [2, 0, 0, 0, 0, 1],
            v4: Ipv4Addr::new(10, 9, 0, 1),
            v6: "fd00:9::1".parse().unwrap(),
            vlan: None,
            offered: Ipv4Addr::new(10, 9, 0, 2),
        }
    }

    fn whole(bytes: &[u8]) -> Packet {
        match check::frame(bytes, &mut Reassembly::default())
            .unwrap()
            .content
        {
            Content::Ip(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_datagram_to_the_echo_port_comes_back_with_ports_exchanged() {
        let guest = Station {
            mac: [2, 0, 0, 0, 0, 2],
            v4: Ipv4Addr::new(10, 9, 0, 2),
            ..station()
        };
        let host = station();
        let sent = guest.numbered(host.mac, host.v4.into(), ECHO, 5, 100);
        let frame = check::frame(&sent, &mut Reassembly::default()).unwrap();
        let answers = host.answer(&frame, &sent);
        assert_eq!(answers.len(), 1);
        let back = whole(&answers[0]);
        assert_eq!(back.to, guest.v4.octets());
        assert_eq!(back.body[..4], [0, 7, 15, 160]);
        assert_eq!(back.body[8..], whole(&sent).body[8..]);
    }

    #[test]
    fn a_host_on_a_vlan_hears_nothing_else() {
        let host = Station {
            vlan: Some(7),
            ..station()
        };
        let guest = Station {
            vlan: None,
            ..station()
        };
        let sent = guest.numbered(host.mac, host.v4.into(), ECHO, 5, 100);
        let frame = check::frame(&sent, &mut Reassembly::default()).unwrap();
        assert!(host.answer(&frame, &sent).is_empty());
    }

    #[test]
    fn discover_is_answered_by_an_offer() {
        let host = station();
        let mut body = vec![0, 68, 0, 67, 1, 0, 0, 0];
        body.push(1);
        body.resize(8 + 236, 0);
        body.extend(DHCP_COOKIE);
        body.extend([53, 1, 1, 255]);
        let offer = whole(&host.answer_dhcp(&body).unwrap());
        assert_eq!(offer.body[8 + 16..8 + 20], host.offered.octets());
        assert_eq!(option(&offer.body[8 + 240..], 53), Some(&[2][..]));
    }
}
