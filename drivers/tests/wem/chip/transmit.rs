// SPDX-License-Identifier: BSD-2-Clause
//! What the chip does with a frame's descriptors: gathers, cuts, fills in checksums, puts the
//! tag in. Written from the manual, by other means than the driver's: bytes are looked at
//! one by one, and whatever the manual forbids is an error.

use weft_drivers::wem::descriptor::Words;

/// Bits of a transmit descriptor's second word, by the manual's names.
const TYPE_DATA: u64 = 1 << 20;
const EOP: u64 = 1 << 24;
const IFCS: u64 = 1 << 25;
const TSE: u64 = 1 << 26;
const RS: u64 = 1 << 27;
const DEXT: u64 = 1 << 29;
const VLE: u64 = 1 << 30;
const IXSM: u64 = 1 << 40;
const TXSM: u64 = 1 << 41;
/// What all descriptors of a frame must agree on.
const COMMON: u64 = IFCS | TSE | DEXT | VLE | TYPE_DATA | IXSM | TXSM | 0xffff << 48;

/// What a context descriptor has said.
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    ipcss: usize,
    ipcso: usize,
    ipcse: usize,
    tucss: usize,
    tucso: usize,
    paylen: usize,
    hdrlen: usize,
    mss: usize,
    tcp: bool,
    ipv4: bool,
    tse: bool,
}

/// A queue's half-gathered frame, and the context.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    context: Option<Context>,
    /// A context came, and no frame after it yet.
    is_told: bool,
    first: Option<u64>,
    bytes: Vec<u8>,
}

/// What a descriptor came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Frames for the wire.
    pub(crate) frames: Vec<Vec<u8>>,
    /// It is to be written back.
    pub(crate) report: bool,
}

impl Engine {
    /// Makes the context that of another queue's: the 82574 has one for both.
    pub(crate) fn share_context(&self, other: &mut Self) {
        other.context = self.context;
    }

    /// Whether a frame is half gathered, or its context has just come: chips with one context
    /// for several queues take turns in between only.
    pub(crate) fn is_amid(&self) -> bool {
        self.is_told || self.is_inside()
    }

    /// Whether a frame is half gathered.
    pub(crate) fn is_inside(&self) -> bool {
        self.first.is_some()
    }

    /// Takes a descriptor. `fetch` reads the driver's memory, `vlan` is CTRL.VME, `ethertype`
    /// that of tags, `most` the longest frame.
    pub(crate) fn take(
        &mut self,
        words: Words,
        vlan: bool,
        ethertype: u16,
        most: usize,
        fetch: &mut dyn FnMut(u64, &mut [u8]),
    ) -> Result<Taken, String> {
        let second = words[1];
        let report = second & RS != 0;
        if second >> 32 & 0xff != 0 {
            return Err(format!("a status was written by the driver: {second:#x}"));
        }
        if second & DEXT == 0 {
            return Err("a descriptor of the legacy form".into());
        }
        if second & TYPE_DATA == 0 {
            if self.is_inside() {
                return Err("a context inside a frame".into());
            }
            self.context = Some(context(words)?);
            self.is_told = true;
            return Ok(Taken {
                frames: Vec::new(),
                report,
            });
        }
        let len = (second & 0xf_ffff) as usize;
        if len == 0 || len > 16 * 1024 {
            return Err(format!("a data descriptor of {len} bytes"));
        }
        let first = *self.first.get_or_insert(second);
        if (first ^ second) & COMMON != 0 {
            return Err(format!("descriptors disagree: {first:#x}, {second:#x}"));
        }
        let from = self.bytes.len();
        self.bytes.resize(from + len, 0);
        fetch(words[0], &mut self.bytes[from..]);
        let mut frames = Vec::new();
        if second & EOP != 0 {
            self.first = None;
            self.is_told = false;
            let bytes = core::mem::take(&mut self.bytes);
            if second & IFCS == 0 {
                return Err("a frame without a check sequence".into());
            }
            frames = self.finish(bytes, second, most)?;
            if second & VLE != 0 {
                if !vlan {
                    return Err("a tag, though tags are off".into());
                }
                for frame in &mut frames {
                    let tag = (second >> 48) as u16;
                    let [a, b] = ethertype.to_be_bytes();
                    let [c, d] = tag.to_be_bytes();
                    frame.splice(12..12, [a, b, c, d]);
                }
            }
        }
        Ok(Taken { frames, report })
    }

    fn finish(&self, mut bytes: Vec<u8>, last: u64, most: usize) -> Result<Vec<Vec<u8>>, String> {
        if bytes.len() < 14 {
            return Err(format!("a frame of {} bytes", bytes.len()));
        }
        let (ip, layer_4) = (last & IXSM != 0, last & TXSM != 0);
        if last & TSE == 0 {
            if bytes.len() > most {
                return Err(format!("a frame of {} bytes, of {most}", bytes.len()));
            }
            if ip || layer_4 {
                let context = self.context.ok_or("checksums without a context")?;
                fill(&mut bytes, &context, ip, layer_4)?;
            }
            return Ok(vec![bytes]);
        }
        let context = self.context.ok_or("a segment without a context")?;
        self.cut(&bytes, &context, ip, layer_4, most)
    }

    fn cut(
        &self,
        bytes: &[u8],
        context: &Context,
        ip: bool,
        layer_4: bool,
        most: usize,
    ) -> Result<Vec<Vec<u8>>, String> {
        if !context.tse {
            return Err("a segment by a context that is not for segments".into());
        }
        if !layer_4 || ip != context.ipv4 {
            return Err("a segment whose checksums are not filled in".into());
        }
        if bytes.len() != context.hdrlen + context.paylen {
            return Err(format!("a segment of {} bytes, {context:?}", bytes.len()));
        }
        if context.hdrlen < context.tucss + 20 || context.mss == 0 || !context.tcp {
            return Err(format!("a segment that cannot be cut, {context:?}"));
        }
        if context.hdrlen + context.mss > most {
            return Err(format!("cut into frames that are too long, {context:?}"));
        }
        let (header, payload) = bytes.split_at(context.hdrlen);
        let count = payload.len().div_ceil(context.mss);
        let mut frames = Vec::new();
        for (n, part) in payload.chunks(context.mss).enumerate() {
            let mut frame = header.to_vec();
            frame.extend_from_slice(part);
            let network = frame.len() - context.ipcss;
            if context.ipv4 {
                set(&mut frame, context.ipcss + 2, network as u16);
                let id = get(&frame, context.ipcss + 4).wrapping_add(n as u16);
                set(&mut frame, context.ipcss + 4, id);
            } else {
                set(&mut frame, context.ipcss + 4, (network - 40) as u16);
            }
            let tcp = context.tucss;
            let high = u32::from(get(&frame, tcp + 4)) << 16 | u32::from(get(&frame, tcp + 6));
            let sequence = high.wrapping_add((n * context.mss) as u32);
            set(&mut frame, tcp + 4, (sequence >> 16) as u16);
            set(&mut frame, tcp + 6, sequence as u16);
            if n + 1 < count {
                frame[tcp + 13] &= !0x09;
            }
            let pseudo = u32::from(get(&frame, context.tucso)) + (frame.len() - tcp) as u32;
            let pseudo = (pseudo & 0xffff) + (pseudo >> 16);
            set(&mut frame, context.tucso, pseudo as u16);
            fill(&mut frame, context, ip, layer_4)?;
            frames.push(frame);
        }
        Ok(frames)
    }
}

fn context([first, second]: Words) -> Result<Context, String> {
    if second & RS != 0 {
        return Err("a context that is to be reported".into());
    }
    let byte = |word: u64, at: u32| (word >> at & 0xff) as usize;
    let half = |word: u64, at: u32| (word >> at & 0xffff) as usize;
    if half(first, 48) != 0 {
        return Err("a context whose layer 4 ends before the frame".into());
    }
    Ok(Context {
        ipcss: byte(first, 0),
        ipcso: byte(first, 8),
        ipcse: half(first, 16),
        tucss: byte(first, 32),
        tucso: byte(first, 40),
        paylen: (second & 0xf_ffff) as usize,
        hdrlen: byte(second, 40),
        mss: half(second, 48),
        tcp: second & EOP != 0,
        ipv4: second & IFCS != 0,
        tse: second & TSE != 0,
    })
}

fn fill(frame: &mut [u8], context: &Context, ip: bool, layer_4: bool) -> Result<(), String> {
    if ip {
        let (from, to) = (context.ipcss, context.ipcse + 1);
        if to > frame.len() || from + 20 > to || context.ipcso != from + 10 {
            return Err(format!("an IPv4 header that is none, {context:?}"));
        }
        let sum = !ones(&frame[from..to]);
        set(frame, context.ipcso, sum);
    }
    if layer_4 {
        let (from, at) = (context.tucss, context.tucso);
        if at + 2 > frame.len() || at < from {
            return Err(format!("a checksum outside the frame, {context:?}"));
        }
        let sum = !ones(&frame[from..]);
        set(frame, at, if sum == 0 { 0xffff } else { sum });
    }
    Ok(())
}

/// The Internet checksum's sum, a byte at a time.
pub(crate) fn ones(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for (n, &byte) in bytes.iter().enumerate() {
        sum += u32::from(byte) << if n % 2 == 0 { 8 } else { 0 };
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn get(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

fn set(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
