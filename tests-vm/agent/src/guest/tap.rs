// SPDX-License-Identifier: BSD-2-Clause
//! What bpf(4) shows of an interface's packets.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_ulong;

use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Fd, Plain};
use super::{netif, traffic};

// Requests of `net/bpf.h`.
const BIOCGBLEN: c_ulong = 0x4004_4266;
const BIOCSBLEN: c_ulong = 0xc004_4266;
const BIOCSETIF: c_ulong = 0x8020_426c;
const BIOCIMMEDIATE: c_ulong = 0x8004_4270;
const BIOCSDIRECTION: c_ulong = 0x8004_4277;
/// Received packets only.
const BPF_D_IN: u32 = 0;

/// Room for packets that come while the reader does not run, in bytes.
const BUFFER: u32 = 1 << 19;
/// An Ethernet header, and where it has the type of what follows.
const ETHERNET: usize = 14;
/// UDP's protocol number, and the length of its header.
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// `struct bpf_hdr` of `net/bpf.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    time: [i64; 2],
    captured: u32,
    length: u32,
    header: u16,
    padding: [u16; 3],
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Header {}

/// What the tap has shown so far.
#[derive(Default)]
struct Seen {
    /// The VLAN tags that count, from outside in; `None`: any.
    tags: Option<Vec<u16>>,
    packets: u64,
    numbered: u64,
    damaged: u64,
}

/// `tap INTERFACE PORT IDLE_MS [TAGS]`, with numbers of VLANs from outside in and dots
/// between as `TAGS`, or `-` for none, until nothing has come for `IDLE_MS` since the first
/// packet, or it is stopped. Counters and the reply's line: packets of any kind; whole
/// datagrams to `PORT` that are as `udp send` made them; those that are not.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    let [interface, port, idle, tags @ ..] = words else {
        return Err(Failure::usage("tap INTERFACE PORT IDLE_MS [TAGS]"));
    };
    let (port, idle): (u16, u64) = (number(port, "port")?, number(idle, "idle")?);
    let tap = open(interface)?;
    let mut length = 0u32;
    tap.ioctl(BIOCGBLEN, &mut length)?;
    let mut room = vec![0; length as usize];
    let mut seen = Seen {
        tags: tags.first().map(|tags| wanted_tags(tags)).transpose()?,
        ..Seen::default()
    };
    let mut last = clock::monotonic_ms();
    meter.ready();
    while !meter.stop_asked() {
        if tap.readable(100)? {
            let got = tap.read(&mut room)?;
            seen.read(&room[..got], port)?;
            last = clock::monotonic_ms();
        } else if seen.packets > 0 && clock::monotonic_ms() - last > idle {
            break;
        }
        for (slot, count) in seen.counts().into_iter().enumerate() {
            meter.set(slot, count);
        }
    }
    let [packets, numbered, damaged] = seen.counts();
    Ok(vec![format!("{packets} {numbered} {damaged}")])
}

/// `long INTERFACE BYTES`, until it is stopped. Counters and the reply's line: packets that the
/// interface has received, and those of them that are longer than that, as the network stack
/// gets them.
pub(super) fn long(words: &[&str], meter: &Meter) -> Outcome {
    let [interface, bytes] = words else {
        return Err(Failure::usage("long INTERFACE BYTES"));
    };
    let most: u32 = number(bytes, "bytes")?;
    let tap = open(interface)?;
    tap.ioctl(BIOCSDIRECTION, &mut { BPF_D_IN })?;
    let mut length = 0u32;
    tap.ioctl(BIOCGBLEN, &mut length)?;
    let mut room = vec![0; length as usize];
    let mut seen = [0u64; 2];
    meter.ready();
    while !meter.stop_asked() {
        if !tap.readable(100)? {
            continue;
        }
        let got = tap.read(&mut room)?;
        each(&room[..got], |header, _| {
            seen[0] += 1;
            seen[1] += u64::from(header.length > most);
        })?;
        for (slot, count) in seen.into_iter().enumerate() {
            meter.set(slot, count);
        }
    }
    Ok(vec![format!("{} {}", seen[0], seen[1])])
}

/// Takes the packets of one read: each has a header, and begins at a multiple of eight bytes
/// (`BPF_WORDALIGN`).
fn each(mut bytes: &[u8], mut take: impl FnMut(&Header, &[u8])) -> Result<(), Failure> {
    while let Some(header) = sys::read_plain::<Header>(bytes) {
        let start = usize::from(header.header);
        let end = start + header.captured as usize;
        let packet = bytes.get(start..end).ok_or(Failure::new("a cut packet"))?;
        take(&header, packet);
        bytes = bytes.get(end.next_multiple_of(8)..).unwrap_or(&[]);
    }
    Ok(())
}

fn open(interface: &str) -> Result<Fd, Failure> {
    let tap = Fd::open("/dev/bpf", libc::O_RDWR)?;
    tap.ioctl(BIOCSBLEN, &mut { BUFFER })?;
    tap.ioctl(BIOCIMMEDIATE, &mut 1u32)?;
    tap.ioctl(BIOCSETIF, &mut netif::named(interface)?)?;
    Ok(tap)
}

impl Seen {
    fn counts(&self) -> [u64; 3] {
        [self.packets, self.numbered, self.damaged]
    }

    fn read(&mut self, bytes: &[u8], port: u16) -> Result<(), Failure> {
        each(bytes, |_, packet| self.packet(packet, port))
    }

    fn packet(&mut self, packet: &[u8], port: u16) {
        self.packets += 1;
        let (tags, packet) = without_tags(packet);
        if self.tags.as_ref().is_some_and(|wanted| *wanted != tags) {
            return;
        }
        let Some(data) = datagram(&packet, port) else {
            return;
        };
        match traffic::number_of(data) {
            Some(_) => self.numbered += 1,
            None => self.damaged += 1,
        }
    }
}

/// The numbers in a command's word.
fn wanted_tags(word: &str) -> Result<Vec<u16>, Failure> {
    let tags = word.split('.').filter(|_| word != "-");
    tags.map(|tag| number(tag, "tag")).collect()
}

/// The numbers of the VLANs of a frame, from outside in, and the frame without its tags,
/// which lie between the addresses and the type (IEEE 802.1Q).
fn without_tags(frame: &[u8]) -> (Vec<u16>, Vec<u8>) {
    let mut tags = Vec::new();
    let mut frame = frame.to_vec();
    while let [0x81, 0x00, high, low] | [0x88, 0xa8, high, low] =
        frame.get(12..16).unwrap_or_default()
    {
        tags.push(u16::from_be_bytes([*high, *low]) & 0xfff);
        frame.drain(12..16);
    }
    (tags, frame)
}

/// What a whole UDP datagram to `port` carries, in an Ethernet frame of either family.
pub(super) fn datagram(frame: &[u8], port: u16) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let (protocol, header) = match ethernet[12..] {
        [0x08, 0x00] => {
            let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
            if fragment & 0x3fff != 0 {
                return None;
            }
            (*packet.get(9)?, usize::from(packet[0] & 0xf) * 4)
        }
        [0x86, 0xdd] => (*packet.get(6)?, 40),
        _ => return None,
    };
    let udp = packet.get(header..)?;
    let to = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    if protocol != UDP || to != port {
        return None;
    }
    udp.get(UDP_HEADER..length)
}
