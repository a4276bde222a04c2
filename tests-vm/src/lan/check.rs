// SPDX-License-Identifier: BSD-2-Clause
//! Whether a frame's checksums are right: all of it is added up, whatever hardware filled in.
//! Nothing is shared with what made the frame.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Of what kind a frame's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// ARP, or anything else that is no IP.
    Other(u16),
    /// A part of a datagram.
    Fragment,
    /// Whole.
    Ip(Packet),
}

/// An IP packet, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sender and receiver: 4 or 16 bytes each.
    pub from: Vec<u8>,
    /// As above.
    pub to: Vec<u8>,
    /// Of what is behind the IP header.
    pub protocol: u8,
    /// What is behind the IP header.
    pub body: Vec<u8>,
    /// Frames in which it came.
    pub pieces: usize,
}

/// A frame in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// To whom.
    pub to: [u8; 6],
    /// By whom.
    pub from: [u8; 6],
    /// Tags, from outside in.
    pub tags: Vec<u16>,
    /// What is in it.
    pub content: Content,
}

/// TCP, UDP and both ICMPs.
pub const ICMP: u8 = 1;
/// As above.
pub const TCP: u8 = 6;
/// As above.
pub const UDP: u8 = 17;
/// As above.
pub const ICMP6: u8 = 58;

/// Datagrams of which some parts have come.
#[derive(Default)]
pub struct Reassembly {
    parts: HashMap<Key, (Instant, Vec<Part>)>,
}

/// How long fragments wait for the others (RFC 791, 3.2): less than it takes a guest to come round to
/// an identification again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sender, receiver, identification.
type Key = (Vec<u8>, Vec<u8>, u16);
/// Offset in bytes, whether more follow, bytes.
type Part = (usize, bool, Vec<u8>);

/// The Internet checksum's sum (RFC 1071) of some bytes, on top of another one.
#[must_use]
pub fn sum(bytes: &[u8], before: u32) -> u32 {
    let mut total = before;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        total += u32::from(u16::from_be_bytes([pair[0], low]));
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// A checksum's field's value, for bytes in which it is 0.
#[must_use]
pub fn checksum(bytes: &[u8], before: u32) -> u16 {
    !(sum(bytes, before) as u16)
}

/// The sum of a pseudo-header, of either family.
#[must_use]
pub fn pseudo(from: &[u8], to: &[u8], protocol: u8, len: usize) -> u32 {
    let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    let base = sum(to, sum(from, u32::from(protocol)));
    sum(&len, base)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Takes a frame apart, and looks at all checksums in it.
///
/// # Errors
/// What is wrong with it.
pub fn frame(bytes: &[u8], reassembly: &mut Reassembly) -> Result<Frame, String> {
    let cut = || "is cut short".to_string();
    let to = *bytes.first_chunk().ok_or_else(cut)?;
    let from = *bytes
        .get(6..)
        .and_then(|b| b.first_chunk())
        .ok_or_else(cut)?;
    let (mut at, mut tags) = (12, Vec::new());
    let mut kind = word(bytes, at).ok_or_else(cut)?;
    while matches!(kind, 0x8100 | 0x88a8) {
        tags.push(word(bytes, at + 2).ok_or_else(cut)?);
        at += 4;
        kind = word(bytes, at).ok_or_else(cut)?;
    }
    let packet = &bytes[at + 2..];
    let content = match kind {
        0x0800 => ipv4(packet, reassembly)?,
        0x86dd => ipv6(packet)?,
        _ => Content::Other(kind),
    };
    if let Content::Ip(packet) = &content {
        transport(packet)?;
    }
    Ok(Frame {
        to,
        from,
        tags,
        content,
    })
}

fn ipv4(packet: &[u8], reassembly: &mut Reassembly) -> Result<Content, String> {
    let header = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
    let total = usize::from(word(packet, 2).unwrap_or(0));
    if header < 20 || total < header || packet.len() < total {
        return Err(format!(
            "IPv4 header of {header} and packet of {total} bytes in {}",
            packet.len()
        ));
    }
    if sum(&packet[..header], 0) != 0xffff {
        return Err("the checksum of the IPv4 header is wrong".into());
    }
    let flags = word(packet, 6).unwrap_or(0);
    let (more, offset) = (flags & 0x2000 != 0, usize::from(flags & 0x1fff) * 8);
    let (from, to) = (packet[12..16].to_vec(), packet[16..20].to_vec());
    let body = packet[header..total].to_vec();
    let protocol = packet[9];
    if !more && offset == 0 {
        let pieces = 1;
        return Ok(Content::Ip(Packet {
            from,
            to,
            protocol,
            body,
            pieces,
        }));
    }
    let key = (from.clone(), to.clone(), word(packet, 4).unwrap_or(0));
    let now = Instant::now();
    let waiting = |since: Instant| now.duration_since(since) < PATIENCE;
    reassembly.parts.retain(|_, (since, _)| waiting(*since));
    let (_, parts) = reassembly
        .parts
        .entry(key.clone())
        .or_insert_with(|| (now, Vec::new()));
    parts.push((offset, more, body));
    parts.sort_by_key(|part| part.0);
    let mut end = 0;
    for (offset, _, part) in parts.iter() {
        if *offset != end {
            return Ok(Content::Fragment);
        }
        end += part.len();
    }
    if parts.last().is_none_or(|(_, more, _)| *more) {
        return Ok(Content::Fragment);
    }
    let pieces = parts.len();
    let mut body = Vec::with_capacity(end);
    for (_, _, part) in parts.iter() {
        body.extend_from_slice(part);
    }
    reassembly.parts.remove(&key);
    Ok(Content::Ip(Packet {
        from,
        to,
        protocol,
        body,
        pieces,
    }))
}

fn ipv6(packet: &[u8]) -> Result<Content, String> {
    let len = usize::from(word(packet, 4).unwrap_or(0));
    let (Some(header), Some(body)) = (packet.get(..40), packet.get(40..40 + len)) else {
        return Err(format!("IPv6 body of {len} bytes in {}", packet.len()));
    };
    let (mut protocol, mut body) = (header[6], body);
    // Hop-by-hop options, as of multicast listener reports.
    if protocol == 0 {
        let skip = usize::from(body.get(1).copied().unwrap_or(0)) * 8 + 8;
        protocol = body.first().copied().unwrap_or(0);
        body = body.get(skip..).ok_or("IPv6 options that are too long")?;
    }
    if protocol == 44 {
        return Ok(Content::Fragment);
    }
    Ok(Content::Ip(Packet {
        from: header[8..24].to_vec(),
        to: header[24..40].to_vec(),
        protocol,
        body: body.to_vec(),
        pieces: 1,
    }))
}

fn transport(packet: &Packet) -> Result<(), String> {
    let Packet {
        from,
        to,
        protocol,
        body,
        ..
    } = packet;
    let is_ipv6 = from.len() == 16;
    let with_pseudo = || sum(body, pseudo(from, to, *protocol, body.len()));
    let (name, total) = match *protocol {
        TCP => ("TCP", with_pseudo()),
        UDP if !is_ipv6 && word(body, 6) == Some(0) => return Ok(()),
        UDP => {
            let len = usize::from(word(body, 4).unwrap_or(0));
            if len != body.len() {
                return Err(format!("UDP says {len} bytes, there are {}", body.len()));
            }
            ("UDP", with_pseudo())
        }
        ICMP if !is_ipv6 => ("ICMP", sum(body, 0)),
        ICMP6 if is_ipv6 => ("ICMPv6", with_pseudo()),
        _ => return Ok(()),
    };
    match total {
        0xffff => Ok(()),
        _ => Err(format!(
            "the checksum of {name} over {} bytes in {} frames is wrong: {total:#06x}",
            body.len(),
            packet.pieces
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UDP from 10.0.0.1 to 10.0.0.2 in fragments of at most so many bytes.
    fn datagram(most: usize) -> Vec<Vec<u8>> {
        let mut body = vec![0, 7, 0, 9, 0, 28, 0, 0];
        body.extend([
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
        ]);
        let (from, to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let check = checksum(&body, pseudo(&from, &to, UDP, body.len()));
        body[6..8].copy_from_slice(&check.to_be_bytes());
        let count = body.chunks(most).count();
        let parts = body.chunks(most).enumerate();
        parts
            .map(|(n, part)| {
                let mut header = vec![0x45, 0, 0, 20 + part.len() as u8, 0, 1];
                let more = if n + 1 < count { 0x2000 } else { 0 };
                header.extend(((n * most / 8) as u16 | more).to_be_bytes());
                header.extend([64, UDP, 0, 0]);
                header.extend(from.iter().chain(&to));
                let check = checksum(&header, 0);
                header[10..12].copy_from_slice(&check.to_be_bytes());
                let mut frame = vec![2; 12];
                frame.extend([8, 0]);
                frame.extend(header);
                frame.extend(part);
                frame
            })
            .collect()
    }

    #[test]
    fn each_byte_that_is_another_is_found() {
        let good = datagram(64).remove(0);
        assert!(frame(&good, &mut Reassembly::default()).is_ok());
        for at in 14..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let found = frame(&bad, &mut Reassembly::default());
            // A fragment's flags make it wait for others.
            let waits = matches!(
                &found,
                Ok(Frame {
                    content: Content::Fragment,
                    ..
                })
            );
            assert!(found.is_err() || waits, "{at}");
        }
    }

    #[test]
    fn fragments_are_put_together_in_any_order() {
        let mut all = Reassembly::default();
        let parts = datagram(16);
        assert_eq!(parts.len(), 2);
        let first = frame(&parts[1], &mut all).unwrap();
        assert_eq!(first.content, Content::Fragment);
        match frame(&parts[0], &mut all).unwrap().content {
            Content::Ip(packet) => assert_eq!((packet.pieces, packet.body.len()), (2, 28)),
            other => panic!("{other:?}"),
        }
        assert!(all.parts.is_empty());
    }
}
