// SPDX-License-Identifier: BSD-2-Clause
//! Frames for tests of drivers, with sums as a stack leaves them to the card, and a check of what
//! is on the wire by one's own arithmetic.

/// The address of the card in tests.
const US: [u8; 6] = [0, 0x50, 0x56, 1, 2, 3];

/// A group's address.
pub(crate) fn group(n: u16) -> [u8; 6] {
    let [high, low] = n.to_be_bytes();
    [1, 0, 0x5e, 0, high, low]
}

/// The frame, to the card.
pub(crate) fn to_us(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&US);
    frame
}

/// UDP, with so many bytes.
pub(crate) fn udp(is_ipv6: bool, len: usize, tag: Option<u16>) -> Vec<u8> {
    let mut header = vec![0x12, 0x34, 0, 53];
    header.extend(((len + 8) as u16).to_be_bytes());
    header.extend([0, 0]);
    frame(is_ipv6, 17, header, 6, len, tag)
}

/// TCP, with so many bytes.
pub(crate) fn tcp(is_ipv6: bool, len: usize, tag: Option<u16>) -> Vec<u8> {
    let mut header = vec![0x12, 0x34, 0, 80, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 1];
    header.extend([5 << 4, 0x18, 0x20, 0, 0, 0, 0, 0]);
    frame(is_ipv6, 6, header, 16, len, tag)
}

fn frame(
    is_ipv6: bool,
    protocol: u8,
    mut header: Vec<u8>,
    sum_at: usize,
    len: usize,
    tag: Option<u16>,
) -> Vec<u8> {
    let total = (header.len() + len) as u16;
    let mut frame = vec![2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4];
    if let Some(tag) = tag {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    let addresses: Vec<u8> = (1..=if is_ipv6 { 32 } else { 8 }).collect();
    if is_ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([protocol, 64]);
    } else {
        let mut ip = vec![0x45, 0];
        ip.extend((total + 20).to_be_bytes());
        ip.extend([0x7f, 0xfe, 0, 0, 64, protocol, 0, 0]);
        let sum = !sum(&[&ip[..], &addresses].concat());
        ip[10..].copy_from_slice(&sum.to_be_bytes());
        frame.extend([8, 0]);
        frame.extend(ip);
    }
    frame.extend(&addresses);
    let pseudo = [&addresses[..], &[0, protocol], &total.to_be_bytes()].concat();
    header[sum_at..sum_at + 2].copy_from_slice(&sum(&pseudo).to_be_bytes());
    frame.extend(header);
    frame.extend((0..len).map(|n| (n * 7 + n / 256) as u8));
    frame
}

/// Whether all lengths and sums of a frame on the wire are right.
pub(crate) fn is_right(frame: &[u8]) -> bool {
    let mut at = 12;
    while frame[at..at + 2] == [0x81, 0] {
        at += 4;
    }
    let packet = &frame[at + 2..];
    let (addresses, protocol, l4) = match packet[0] >> 4 {
        4 => {
            let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if total != packet.len() || sum(&packet[..20]) != 0xffff {
                return false;
            }
            (&packet[12..20], packet[9], &packet[20..])
        }
        6 => {
            let total = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            if total + 40 != packet.len() {
                return false;
            }
            (&packet[8..40], packet[6], &packet[40..])
        }
        _ => return false,
    };
    let len = (l4.len() as u16).to_be_bytes();
    sum(&[addresses, &[0, protocol], &len, l4].concat()) == 0xffff
}

fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|two| {
        let low = two.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([two[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
