// SPDX-License-Identifier: BSD-2-Clause
//! Frames that a card is asked to complete, and what they must be on the cable: each made by
//! itself, by adding up all of it. Nothing is shared with what completes them.

use super::check::{TCP, UDP, checksum, pseudo, sum};

/// SCTP's number.
pub const SCTP: u8 = 132;
/// The port of VXLAN.
const VXLAN: u16 = 4789;

/// What is around layer 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// With so many bytes of options.
    V4(usize),
    /// With extension headers of so many bytes each, hop-by-hop options first, then destination
    /// options.
    V6(&'static [usize]),
}

/// A kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// As above.
    pub ip: Ip,
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// In VXLAN, over UDP without a checksum, over IPv4.
    pub is_inner: bool,
    /// To whom it is.
    pub to: [u8; 6],
    /// From whom it is.
    pub from: [u8; 6],
}

/// What is left to whoever sends a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The sum of layer 4: its field has that of the pseudo-header.
    pub layer_4: bool,
    /// The sum of the IPv4 header: its field has anything.
    pub ip: bool,
}

/// Which part of a long segment a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: usize,
    /// Bytes of payload before it.
    pub gone: usize,
    /// It is the last.
    pub is_last: bool,
}

/// A frame that is no part of another.
pub const WHOLE: Part = Part {
    number: 0,
    gone: 0,
    is_last: true,
};

impl Made {
    /// The frame, as it must be on the cable but for what is left.
    #[must_use]
    pub fn frame(&self, payload: &[u8], part: Part, left: Left, tag: Option<u16>) -> Vec<u8> {
        let packet = self.packet(payload, part, left);
        let (kind, packet) = match self.is_inner {
            true => (
                0x0800,
                in_vxlan(&ethernet(self, self.kind(), &packet, None), part),
            ),
            false => (self.kind(), packet),
        };
        ethernet(self, kind, &packet, tag)
    }

    /// Bytes of headers in front of the payload.
    #[must_use]
    pub fn headers(&self) -> usize {
        self.frame(&[], WHOLE, Left::default(), None).len()
    }

    fn kind(&self) -> u16 {
        match self.ip {
            Ip::V4(_) => 0x0800,
            Ip::V6(_) => 0x86dd,
        }
    }

    fn addresses(&self) -> (Vec<u8>, Vec<u8>) {
        match self.ip {
            Ip::V4(_) => (vec![10, 77, 0, 1], vec![10, 77, 0, 2]),
            Ip::V6(_) => {
                let address = |last| {
                    let mut bytes = vec![0xfd, 0x77];
                    bytes.resize(15, 0);
                    bytes.push(last);
                    bytes
                };
                (address(1), address(2))
            }
        }
    }

    fn packet(&self, payload: &[u8], part: Part, left: Left) -> Vec<u8> {
        let body = self.layer_4(payload, part, left.layer_4);
        match self.ip {
            Ip::V4(options) => {
                let (from, to) = self.addresses();
                let mut packet = ipv4(options, self.protocol, 0x1234, part, &from, &to, body.len());
                if left.ip {
                    packet[10..12].copy_from_slice(&[0xde, 0xad]);
                }
                packet.extend(body);
                packet
            }
            Ip::V6(extensions) => self.ipv6(extensions, &body),
        }
    }

    fn ipv6(&self, extensions: &[usize], body: &[u8]) -> Vec<u8> {
        let (from, to) = self.addresses();
        let kinds: Vec<u8> = (0..extensions.len())
            .map(|n| if n == 0 { 0 } else { 60 })
            .chain([self.protocol])
            .collect();
        let len = extensions.iter().sum::<usize>() + body.len();
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((len as u16).to_be_bytes());
        packet.extend([kinds[0], 64]);
        packet.extend(from);
        packet.extend(to);
        for (n, len) in extensions.iter().enumerate() {
            let mut header = vec![kinds[n + 1], (len / 8 - 1) as u8];
            // An option that nobody need know, of all that is left.
            header.extend([0x1e, (len - 4) as u8]);
            header.resize(*len, 0x55);
            packet.extend(header);
        }
        packet.extend(body);
        packet
    }

    fn layer_4(&self, payload: &[u8], part: Part, is_left: bool) -> Vec<u8> {
        let mut body = vec![0x13, 0x88, 0, 80];
        let field = match self.protocol {
            TCP => {
                let sequence = 0xffff_ff00_u32.wrapping_add(part.gone as u32);
                body.extend(sequence.to_be_bytes());
                // FIN, PSH and ACK, and CWR.
                let last = if part.is_last { 0x09 } else { 0 };
                let first = if part.number == 0 { 0x80 } else { 0 };
                body.extend([1, 2, 3, 4, 0x80, 0x10 | last | first, 0x20, 0, 0, 0, 0, 0]);
                body.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
                16
            }
            UDP => {
                body.extend((payload.len() as u16 + 8).to_be_bytes());
                body.extend([0, 0]);
                6
            }
            _ => {
                body.extend([9, 9, 9, 9, 0, 0, 0, 0]);
                8
            }
        };
        body.extend(payload);
        let (from, to) = self.addresses();
        let around = pseudo(&from, &to, self.protocol, body.len());
        let value = match (self.protocol, is_left) {
            (SCTP, true) => vec![0; 4],
            (SCTP, false) => crc32c(&body).to_le_bytes().to_vec(),
            (_, true) => (sum(&[], around) as u16).to_be_bytes().to_vec(),
            (UDP, false) => match checksum(&body, around) {
                0 => vec![0xff, 0xff],
                value => value.to_be_bytes().to_vec(),
            },
            (_, false) => checksum(&body, around).to_be_bytes().to_vec(),
        };
        body[field..field + value.len()].copy_from_slice(&value);
        body
    }
}

fn ethernet(made: &Made, kind: u16, packet: &[u8], tag: Option<u16>) -> Vec<u8> {
    let mut frame = made.to.to_vec();
    frame.extend(made.from);
    if let Some(tag) = tag {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(packet);
    frame
}

/// An IPv4 header for so many bytes behind it.
fn ipv4(
    options: usize,
    protocol: u8,
    identification: u16,
    part: Part,
    from: &[u8],
    to: &[u8],
    len: usize,
) -> Vec<u8> {
    let header = 20 + options;
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + len) as u16).to_be_bytes());
    packet.extend(
        identification
            .wrapping_add(part.number as u16)
            .to_be_bytes(),
    );
    packet.extend([0x40, 0, 64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.resize(header, 1);
    let check = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet
}

fn in_vxlan(frame: &[u8], part: Part) -> Vec<u8> {
    let mut body = vec![0xc0, 1];
    body.extend(VXLAN.to_be_bytes());
    body.extend((frame.len() as u16 + 16).to_be_bytes());
    body.extend([0, 0, 8, 0, 0, 0, 0, 0, 7, 0]);
    body.extend(frame);
    let mut packet = ipv4(
        0,
        UDP,
        0x4321,
        part,
        &[10, 78, 0, 1],
        &[10, 78, 0, 2],
        body.len(),
    );
    packet.extend(body);
    packet
}

/// CRC32c, bit by bit, of SCTP's packet in which its field is 0.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::super::check::{Content, Reassembly, frame};
    use super::*;

    #[test]
    fn what_is_made_is_right() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        for ip in [Ip::V4(0), Ip::V4(8), Ip::V6(&[]), Ip::V6(&[8])] {
            for protocol in [TCP, UDP, SCTP] {
                let made = Made {
                    ip,
                    protocol,
                    is_inner: false,
                    to: [2; 6],
                    from: [4; 6],
                };
                let bytes = made.frame(&[7; 501], WHOLE, Left::default(), Some(9));
                let found = frame(&bytes, &mut Reassembly::default()).unwrap();
                assert_eq!(found.tags, [9]);
                let Content::Ip(packet) = found.content else {
                    panic!("{ip:?}");
                };
                assert_eq!(packet.protocol, protocol);
                assert_eq!(bytes.len(), made.headers() + 501 + 4);
                let left = Left {
                    layer_4: true,
                    ..Left::default()
                };
                let left = made.frame(&[7; 501], WHOLE, left, None);
                let is_right = frame(&left, &mut Reassembly::default()).is_ok();
                assert_eq!(is_right, protocol == SCTP);
            }
        }
    }
}
