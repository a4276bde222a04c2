// SPDX-License-Identifier: BSD-2-Clause
//! The parser's naive counterpart, byte by byte over all of a packet at once, with every
//! rule as it is said in `engine/src/wire/parse.rs`, and nothing done to be fast. It also
//! lists what a visitor is to see.

use std::ops::ControlFlow;
use weft_engine::wire::parse::{
    Extension, Kinds, Layer, Limits, Parsed, Start, Tunnel, TypedOption, Verdict, Visit,
};

/// Everything that a visitor has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) extensions: Vec<Extension>,
    pub(crate) options: Vec<TypedOption>,
}

impl Visit for Seen {
    const OPTIONS: bool = true;

    fn extension(&mut self, extension: &Extension) -> ControlFlow<()> {
        self.extensions.push(*extension);
        ControlFlow::Continue(())
    }

    fn option(&mut self, option: &TypedOption) -> ControlFlow<()> {
        self.options.push(*option);
        ControlFlow::Continue(())
    }
}

pub(crate) struct Naive<'b> {
    bytes: &'b [u8],
    limits: Limits,
    seen: Seen,
    parsed: Parsed,
}

type Fault = (Verdict, usize);

/// Parses all of `bytes`.
pub(crate) fn parse(bytes: &[u8], start: Start, limits: Limits) -> (Parsed, Seen) {
    let mut naive = Naive {
        bytes,
        limits,
        seen: Seen::default(),
        parsed: Parsed::default(),
    };
    let end = bytes.len();
    let verdict = match naive.frame(start, 0, end, false) {
        Ok(()) => Verdict::Whole,
        Err((verdict, at)) => {
            if verdict.is_fault() {
                naive.parsed.stopped = at.min(65535) as u16;
            }
            verdict
        }
    };
    naive.parsed.verdict = verdict;
    (naive.parsed, naive.seen)
}

impl Naive<'_> {
    fn byte(&self, at: usize, end: usize) -> Option<usize> {
        if at >= end {
            return None;
        }
        self.bytes.get(at).map(|&byte| byte.into())
    }

    fn two(&self, at: usize, end: usize) -> Option<usize> {
        Some(self.byte(at, end)? * 256 + self.byte(at + 1, end)?)
    }

    fn has(&self, at: usize, count: usize, end: usize) -> Result<(), Fault> {
        for n in 0..count {
            self.byte(at + n, end).ok_or((Verdict::Truncated, at))?;
        }
        Ok(())
    }

    fn layer(&mut self, is_inner: bool) -> &mut Layer {
        match is_inner {
            false => &mut self.parsed.outer,
            true => &mut self.parsed.inner,
        }
    }

    fn frame(&mut self, start: Start, at: usize, end: usize, inner: bool) -> Result<(), Fault> {
        let (version, at) = match start {
            Start::Ipv4 => (4, at),
            Start::Ipv6 => (6, at),
            Start::Ethernet => self.ethernet(at, end, inner)?,
        };
        if !inner {
            self.parsed.ethertype = if version == 4 { 0x0800 } else { 0x86dd };
        }
        self.layer(inner).l3 = at as u16;
        let (next, behind, end) = match version {
            4 => self.ipv4(at, end, inner)?,
            _ => self.ipv6(at, end, inner)?,
        };
        let limits = self.limits;
        let layer = self.layer(inner);
        (layer.protocol, layer.l4) = (next, behind.min(65535) as u16);
        if behind > 65535 - 64 {
            return Err((Verdict::TooLong, behind));
        }
        if layer.fragment / 8 != 0 {
            return Err((Verdict::LaterFragment, behind));
        }
        let looks = limits.tunnels && !inner && !layer.kinds.contains(Kinds::FRAGMENT);
        let is_v6 = layer.kinds.contains(Kinds::IPV6);
        self.transport(next, behind, end, inner, looks, is_v6)
    }

    fn ethernet(&mut self, at: usize, end: usize, inner: bool) -> Result<(usize, usize), Fault> {
        self.has(at, 14, end)?;
        let mut types = Vec::new();
        let mut place = at + 12;
        loop {
            let kind = self.two(place, end).unwrap();
            let is_tag = [0x8100, 0x88a8, 0x9100].contains(&kind);
            if is_tag && types.len() == usize::from(self.limits.tags) {
                return Err((Verdict::TooMany, place + 2));
            }
            if !is_tag {
                if !inner {
                    self.parsed.ethertype = kind as u16;
                }
                return match kind {
                    0x0800 => Ok((4, place + 2)),
                    0x86dd => Ok((6, place + 2)),
                    _ => Err((Verdict::NotIp, place + 2)),
                };
            }
            self.has(place + 2, 4, end)?;
            types.push(kind);
            if !inner {
                if types.len() <= 2 {
                    self.parsed.vlan[types.len() - 1] = self.two(place + 2, end).unwrap() as u16;
                }
                self.parsed.tags = types.len() as u8;
            }
            place += 4;
        }
    }

    fn ipv4(&mut self, at: usize, end: usize, inner: bool) -> Result<(u8, usize, usize), Fault> {
        self.has(at, 20, end)?;
        let byte = |n: usize| self.byte(at + n, end).unwrap();
        if byte(0) / 16 != 4 {
            return Err((Verdict::Version, at));
        }
        let (header, total) = (byte(0) % 16 * 4, byte(2) * 256 + byte(3));
        let (flags, offset) = (byte(6) / 32, (byte(6) % 32 * 256 + byte(7)) * 8);
        let protocol = byte(9) as u8;
        let layer = self.layer(inner);
        layer.kinds = Kinds::IPV4;
        if header < 20 || header > total {
            return Err((Verdict::Length, at));
        }
        layer.kinds.set(Kinds::IPV4_OPTIONS, header > 20);
        if at + total > end {
            return Err((Verdict::Short, at));
        }
        let end = at + total;
        layer.end = end as u32;
        let more = flags % 2;
        layer.kinds.set(Kinds::WHOLE_ONLY, flags / 2 % 2 == 1);
        layer.kinds.set(Kinds::FRAGMENT, offset + more != 0);
        layer.fragment = (offset + more) as u16;
        if protocol == 51 && offset == 0 {
            let (next, at) = self.chain(&[51], 51, at + header, end, inner)?;
            return Ok((next, at, end));
        }
        Ok((protocol, at + header, end))
    }

    fn ipv6(&mut self, at: usize, end: usize, inner: bool) -> Result<(u8, usize, usize), Fault> {
        self.has(at, 40, end)?;
        let byte = |n: usize| self.byte(at + n, end).unwrap();
        if byte(0) / 16 != 6 {
            return Err((Verdict::Version, at));
        }
        let (len, next) = (byte(4) * 256 + byte(5), byte(6) as u8);
        let layer = self.layer(inner);
        layer.kinds = Kinds::IPV6;
        if len == 0 && next == 0 {
            return Err((Verdict::Jumbo, at));
        }
        if at + 40 + len > end {
            return Err((Verdict::Short, at));
        }
        let end = at + 40 + len;
        layer.end = end as u32;
        let all = [0, 43, 44, 51, 60, 135, 139, 140];
        let (next, at) = self.chain(&all, next, at + 40, end, inner)?;
        Ok((next, at, end))
    }

    fn chain(
        &mut self,
        known: &[u8],
        first: u8,
        start: usize,
        end: usize,
        inner: bool,
    ) -> Result<(u8, usize), Fault> {
        let (mut next, mut at, mut count) = (first, start, 0);
        while known.contains(&next) {
            let limits = self.limits;
            let layer = self.layer(inner);
            (layer.protocol, layer.l4) = (next, at.min(65535) as u16);
            if count == limits.extensions {
                return Err((Verdict::TooMany, at));
            }
            self.has(at, 8, end)?;
            let unit = self.byte(at + 1, end).unwrap();
            let len = match next {
                44 => 8,
                51 if unit == 0 => return Err((Verdict::Length, at)),
                51 => 8 + unit * 4,
                _ => 8 + unit * 8,
            };
            if at + len - start > limits.extension_bytes.into() {
                return Err((Verdict::TooLong, at));
            }
            if at + len > end {
                return Err((Verdict::Truncated, at));
            }
            let head: [u8; 8] = self.bytes[at..at + 8].try_into().unwrap();
            let kind = next;
            self.seen.extensions.push(Extension {
                kind,
                head,
                at,
                len,
            });
            count += 1;
            let layer = self.layer(inner);
            layer.extensions = count;
            let has = match next {
                0 => Kinds::HOP_BY_HOP,
                43 => Kinds::ROUTING,
                51 => Kinds::AUTHENTICATION,
                60 => Kinds::DESTINATION_OPTIONS,
                135 => Kinds::MOBILITY,
                139 => Kinds::HIP,
                140 => Kinds::SHIM6,
                _ => Kinds::empty(),
            };
            layer.kinds |= has;
            if [0, 60].contains(&next) {
                self.options(next, at, at + len)?;
            }
            let layer = self.layer(inner);
            if next == 44 && !layer.kinds.contains(Kinds::FRAGMENT) {
                let field = usize::from(head[2]) * 256 + usize::from(head[3]);
                let (offset, more) = (field / 8, field % 2);
                layer.fragment = (offset * 8 + more) as u16;
                layer.fragment_at = at.min(65535) as u16;
                layer.kinds.remove(Kinds::ATOMIC);
                let kind = if layer.fragment == 0 {
                    Kinds::ATOMIC
                } else {
                    Kinds::FRAGMENT
                };
                layer.kinds |= kind;
            }
            (next, at) = (head[0], at + len);
            if self.layer(inner).fragment / 8 != 0 {
                break;
            }
        }
        Ok((next, at))
    }

    fn options(&mut self, header: u8, start: usize, end: usize) -> Result<(), Fault> {
        let (mut at, mut count) = (start + 2, 0);
        while at < end {
            if count == self.limits.options {
                return Err((Verdict::TooManyOptions, at));
            }
            count += 1;
            let kind = self.bytes[at];
            let mut option = TypedOption {
                header,
                kind,
                len: 0,
                at,
                is_filled: false,
            };
            if kind != 0 {
                let len = *self.bytes[..end].get(at + 1).ok_or((Verdict::Length, at))?;
                let data = self.bytes[..end]
                    .get(at + 2..at + 2 + usize::from(len))
                    .ok_or((Verdict::Length, at))?;
                option.len = len;
                option.is_filled = kind == 1 && len <= 5 && data.iter().any(|&byte| byte != 0);
                at += 1 + usize::from(len);
            }
            at += 1;
            self.seen.options.push(option);
        }
        Ok(())
    }

    fn transport(
        &mut self,
        protocol: u8,
        at: usize,
        end: usize,
        inner: bool,
        looks: bool,
        is_v6: bool,
    ) -> Result<(), Fault> {
        let len = match protocol {
            6 => {
                self.has(at, 20, end)?;
                let len = self.byte(at + 12, end).unwrap() / 16 * 4;
                if len < 20 || at + len > end {
                    return Err((Verdict::Length, at));
                }
                len
            }
            1 | 17 | 58 | 136 => {
                self.has(at, 8, end)?;
                8
            }
            132 => {
                self.has(at, 12, end)?;
                12
            }
            59 if is_v6 => return Err((Verdict::Nothing, at)),
            4 | 41 if looks => {
                self.layer(false).payload = at as u16;
                self.parsed.tunnel = Tunnel::Ip;
                let start = if protocol == 4 {
                    Start::Ipv4
                } else {
                    Start::Ipv6
                };
                return self.frame(start, at, end, true);
            }
            47 if looks => return self.gre(at, end),
            _ => return Err((Verdict::Unknown, at)),
        };
        self.layer(inner).payload = (at + len) as u16;
        if protocol == 17 && looks && self.two(at + 2, end) == Some(4789) {
            let has_number =
                self.has(at + 8, 8, end).is_ok() && self.byte(at + 8, end).unwrap() / 8 % 2 == 1;
            if has_number {
                self.parsed.tunnel = Tunnel::Vxlan;
                return self.frame(Start::Ethernet, at + 16, end, true);
            }
        }
        Ok(())
    }

    fn gre(&mut self, at: usize, end: usize) -> Result<(), Fault> {
        self.has(at, 4, end)?;
        let (flags, version) = (
            self.byte(at, end).unwrap(),
            self.byte(at + 1, end).unwrap() % 8,
        );
        if version != 0 || flags & 0x40 != 0 {
            return Err((Verdict::Unknown, at));
        }
        let mut len = 4;
        for bit in [0x80, 0x20, 0x10] {
            if flags & bit != 0 {
                len += 4;
            }
        }
        self.has(at, len, end)?;
        self.layer(false).payload = (at + len) as u16;
        let (tunnel, start) = match self.two(at + 2, end).unwrap() {
            0x0800 => (Tunnel::Gre, Start::Ipv4),
            0x86dd => (Tunnel::Gre, Start::Ipv6),
            0x6558 => (Tunnel::GreEthernet, Start::Ethernet),
            _ => return Ok(()),
        };
        self.parsed.tunnel = tunnel;
        self.frame(start, at + len, end, true)
    }
}
