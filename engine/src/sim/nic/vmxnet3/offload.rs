// SPDX-License-Identifier: BSD-2-Clause
//! What the device does with a frame on its way to the wire, a byte at a time.

use crate::sim::nic::Bus;

/// What a frame's first descriptor asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    mode: u64,
    headers: usize,
    parameter: usize,
    tag: Option<u16>,
}

impl Work {
    pub(super) fn of(first: u64) -> Self {
        Self {
            mode: first >> 42 & 3,
            headers: (first >> 32 & 0x3ff) as usize,
            parameter: (first >> 18 & 0x3fff) as usize,
            tag: (first >> 47 & 1 != 0).then_some((first >> 48) as u16),
        }
    }

    /// The frames that go out.
    pub(super) fn on_wire(&self, bus: &mut Bus, frame: Vec<u8>, pieces: usize) -> Vec<Vec<u8>> {
        let most = if self.mode == 3 { 32 } else { 16 };
        if pieces > most {
            bus.complain(format!("a frame in {pieces} pieces"));
        }
        if frame.len() < 14 {
            bus.complain(format!("a frame of {} bytes", frame.len()));
            return Vec::new();
        }
        let frames = match self.mode {
            0 => vec![frame],
            2 => vec![self.filled(bus, frame)],
            3 => self.cut(bus, &frame),
            mode => {
                bus.complain(format!("offload mode {mode}"));
                Vec::new()
            }
        };
        frames.into_iter().map(|frame| self.tagged(frame)).collect()
    }

    fn tagged(&self, mut frame: Vec<u8>) -> Vec<u8> {
        if let Some(tag) = self.tag {
            let [high, low] = tag.to_be_bytes();
            frame.splice(12..12, [0x81, 0, high, low]);
        }
        frame
    }

    fn filled(&self, bus: &mut Bus, mut frame: Vec<u8>) -> Vec<u8> {
        let (from, at) = (self.headers, self.parameter);
        if from >= frame.len() || at + 2 > frame.len() || at < from {
            bus.complain(format!("a checksum at {at} of what is behind {from}"));
            return frame;
        }
        let sum = !sum(&frame[from..]);
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn cut(&self, bus: &mut Bus, frame: &[u8]) -> Vec<Vec<u8>> {
        let Some(network) = network(frame) else {
            bus.complain("a segment of neither IPv4 nor IPv6");
            return Vec::new();
        };
        let is_ipv6 = frame[network] >> 4 == 6;
        let tcp = match is_ipv6 {
            true => network + 40,
            false => network + usize::from(frame[network] & 15) * 4,
        };
        let end = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
        if end != self.headers || self.parameter == 0 || frame.len() <= end {
            bus.complain(format!("headers of {}, not {end}", self.headers));
            return Vec::new();
        }
        let addresses = match is_ipv6 {
            true => &frame[network + 8..network + 40],
            false => &frame[network + 12..network + 20],
        };
        let without_length = sum(&[addresses, &[0, 6]].concat());
        if frame[tcp + 16..tcp + 18] != without_length.to_be_bytes() {
            bus.complain("the segment's sum is not that of addresses and protocol");
        }
        if !is_ipv6 && frame[network + 10..network + 12] != [0, 0] {
            bus.complain("the segment's IPv4 checksum is not 0");
        }
        let parts: Vec<&[u8]> = frame[end..].chunks(self.parameter).collect();
        let last = parts.len() - 1;
        let mut gone = 0_u32;
        let mut all = Vec::new();
        for (n, part) in parts.into_iter().enumerate() {
            let mut one = [&frame[..end], part].concat();
            let number = u32::from_be_bytes(one[tcp + 4..tcp + 8].try_into().unwrap());
            one[tcp + 4..tcp + 8].copy_from_slice(&number.wrapping_add(gone).to_be_bytes());
            if n < last {
                one[tcp + 13] &= !9;
            }
            if n > 0 {
                one[tcp + 13] &= !0x80;
            }
            let length = (one.len() - network) as u16;
            if is_ipv6 {
                one[network + 4..network + 6].copy_from_slice(&(length - 40).to_be_bytes());
            } else {
                one[network + 2..network + 4].copy_from_slice(&length.to_be_bytes());
                let id = u16::from_be_bytes([one[network + 4], one[network + 5]]);
                let id = id.wrapping_add(n as u16);
                one[network + 4..network + 6].copy_from_slice(&id.to_be_bytes());
                let header = !sum(&one[network..tcp]);
                one[network + 10..network + 12].copy_from_slice(&header.to_be_bytes());
            }
            let tcp_bytes = (one.len() - tcp) as u16;
            let rest = sum(&[&one[tcp..], &tcp_bytes.to_be_bytes()[..]]
                .map(padded)
                .concat());
            one[tcp + 16..tcp + 18].copy_from_slice(&(!rest).to_be_bytes());
            gone += part.len() as u32;
            all.push(one);
        }
        all
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// Where the IP header begins, behind tags.
fn network(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    while frame.get(at..at + 2)? == [0x81, 0] {
        at += 4;
    }
    matches!(frame.get(at..at + 2)?, [8, 0] | [0x86, 0xdd]).then_some(at + 2)
}

/// The sum of RFC 1071, not its complement.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for (n, &byte) in bytes.iter().enumerate() {
        sum += u32::from(byte) << if n % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
