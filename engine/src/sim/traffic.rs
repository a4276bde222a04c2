// SPDX-License-Identifier: BSD-2-Clause
//! Generated traffic: flows of several sizes towards the prefixes of a table,
//! and among it what a router has to refuse. Each frame comes with what should
//! become of it.

use super::forward::{Frame, Reason};
use super::random::Random;
use super::table::Prefix;
use crate::wire::{checksum, ethernet, ipv4};
use std::time::Duration;

/// Frame lengths without the check sequence, and how many of 12 frames have
/// each: the "simple IMIX" that routers are commonly measured with.
const SIZES: [(usize, usize); 3] = [(60, 7), (590, 4), (1514, 1)];

/// How many flows there are at a time. A few of them carry most of the frames.
const FLOWS: usize = 512;

/// Time between two frames.
const GAP: Duration = Duration::from_micros(10);

/// Of 100 frames, how many are of each kind that is not forwarded.
const REFUSED: [(Kind, usize); 7] = [
    (Kind::LastHop, 2),
    (Kind::Unroutable, 2),
    (Kind::BadChecksum, 1),
    (Kind::BadLength, 1),
    (Kind::CutOff, 1),
    (Kind::Ipv6, 3),
    (Kind::Arp, 1),
];

/// What a generated frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A packet of a flow to an address in the table.
    Good,
    /// A good one, but its time to live is 1.
    LastHop,
    /// To an address of 240/4, which no generated table covers.
    Unroutable,
    /// A bit of the header was flipped.
    BadChecksum,
    /// The header says that it is shorter than 20 bytes.
    BadLength,
    /// The last bytes are missing, as with a capture that kept too few.
    CutOff,
    /// An IPv6 packet.
    Ipv6,
    /// An ARP request.
    Arp,
}

impl Kind {
    /// Why a router drops it, if it does.
    pub fn refused(self) -> Option<Reason> {
        match self {
            Self::Good => None,
            Self::LastHop => Some(Reason::TtlExceeded),
            Self::Unroutable => Some(Reason::NoRoute),
            Self::BadChecksum | Self::BadLength => Some(Reason::BadHeader),
            Self::CutOff => Some(Reason::Truncated),
            Self::Ipv6 | Self::Arp => Some(Reason::NotIpv4),
        }
    }
}

/// What all packets of a flow share.
#[derive(Clone, Copy)]
struct Flow {
    source: u32,
    destination: u32,
    protocol: u8,
    ports: [u16; 2],
    vlan: Option<u16>,
    options: usize,
}

/// An endless stream of frames.
pub struct Traffic<'t> {
    prefixes: &'t [Prefix],
    vlan: u16,
    flows: Vec<Flow>,
    random: Random,
    now: Duration,
}

impl<'t> Traffic<'t> {
    /// Traffic to addresses in these prefixes, one flow of three tagged with
    /// `vlan`. The same seed gives the same frames.
    pub fn new(prefixes: &'t [Prefix], vlan: u16, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let flows = (0..FLOWS)
            .map(|_| flow(&mut random, prefixes, vlan))
            .collect();
        Self {
            prefixes,
            vlan,
            flows,
            random,
            now: Duration::ZERO,
        }
    }

    /// A flow; those at the front much more often than those behind. Now and
    /// then a flow ends, and another takes its place.
    fn pick_flow(&mut self) -> Flow {
        let at = self.random.below(self.random.clone().below(FLOWS) + 1);
        if self.random.percent(1) {
            self.flows[at] = flow(&mut self.random, self.prefixes, self.vlan);
        }
        self.flows[at]
    }

    fn pick_kind(&mut self) -> Kind {
        let mut at = self.random.below(100);
        for (kind, share) in REFUSED {
            if at < share {
                return kind;
            }
            at -= share;
        }
        Kind::Good
    }

    fn pick_size(&mut self) -> usize {
        let mut at = self
            .random
            .below(SIZES.iter().map(|&(_, share)| share).sum());
        for (size, share) in SIZES {
            if at < share {
                return size;
            }
            at -= share;
        }
        SIZES[0].0
    }
}

impl Iterator for Traffic<'_> {
    type Item = (Frame, Kind);

    fn next(&mut self) -> Option<Self::Item> {
        let (flow, kind, size) = (self.pick_flow(), self.pick_kind(), self.pick_size());
        self.now += GAP;
        let mut bytes = ethernet_header(flow.vlan, kind);
        let header_at = bytes.len();
        match kind {
            Kind::Arp => bytes.resize(60, 0),
            Kind::Ipv6 => {
                bytes.push(0x60);
                bytes.resize(size, 0);
            }
            _ => bytes.extend(packet(flow, kind, size.saturating_sub(header_at))),
        }
        match kind {
            Kind::BadChecksum => bytes[header_at + 12] ^= 1 << self.random.below(8),
            Kind::BadLength => bytes[header_at] = 0x40 | self.random.below(5) as u8,
            Kind::CutOff => bytes.truncate(self.random.below(bytes.len())),
            _ => {}
        }
        Some((
            Frame {
                time: self.now,
                bytes,
            },
            kind,
        ))
    }
}

fn flow(random: &mut Random, prefixes: &[Prefix], vlan: u16) -> Flow {
    let anywhere = Prefix {
        address: 0xc633_6400,
        len: 24,
    };
    Flow {
        source: random
            .pick(prefixes)
            .unwrap_or(&anywhere)
            .address_in(random),
        destination: random
            .pick(prefixes)
            .unwrap_or(&anywhere)
            .address_in(random),
        protocol: if random.percent(80) {
            ipv4::TCP
        } else {
            ipv4::UDP
        },
        ports: [random.bits() as u16, 443],
        vlan: (random.below(3) == 0).then_some(vlan),
        options: if random.percent(2) { 1 } else { 0 },
    }
}

/// The header of a frame between two locally administered addresses.
fn ethernet_header(vlan: Option<u16>, kind: Kind) -> Vec<u8> {
    let ethertype = match kind {
        Kind::Ipv6 => ethernet::IPV6,
        Kind::Arp => ethernet::ARP,
        _ => ethernet::IPV4,
    };
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for word in vlan
        .into_iter()
        .flat_map(|vlan| [ethernet::VLAN, vlan])
        .chain([ethertype])
    {
        bytes.extend(word.to_be_bytes());
    }
    bytes
}

/// An IPv4 packet of the flow, of `len` bytes, or as many as its headers need.
fn packet(flow: Flow, kind: Kind, len: usize) -> Vec<u8> {
    let header_len = ipv4::MIN_HEADER + 4 * flow.options;
    let len = len.max(header_len + 8);
    let destination = if kind == Kind::Unroutable {
        flow.destination | 0xf000_0000
    } else {
        flow.destination
    };
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0];
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend([
        0,
        0,
        0x40,
        0,
        if kind == Kind::LastHop { 1 } else { 64 },
        flow.protocol,
        0,
        0,
    ]);
    bytes.extend(flow.source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    // No-operation options.
    bytes.resize(header_len, 1);
    let sum = checksum::of(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(flow.ports.into_iter().flat_map(u16::to_be_bytes));
    bytes.resize(len, 0);
    bytes
}
