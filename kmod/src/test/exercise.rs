// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.exercise`: what the stack does with packets, done to the module's own
//! one thing at a time, with the bytes looked at after each.

use core::fmt;
use core::hint::black_box;

use weft_engine::packet::{AllocError, Flags, HashKind, Packet, Tag, Writable};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::memory;
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};
use crate::packet::{POOL, Pool};

/// What went wrong.
enum Wrong {
    NoMemory,
    Length(usize),
    Byte(usize),
    Meta,
    Tag,
    Shape(&'static str),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("no memory"),
            Self::Length(len) => write!(f, "{len} bytes"),
            Self::Byte(at) => write!(f, "byte {at} is another"),
            Self::Meta => f.write_str("other metadata"),
            Self::Tag => f.write_str("a tag is gone"),
            Self::Shape(what) => f.write_str(what),
        }
    }
}

impl From<AllocError> for Wrong {
    fn from(_: AllocError) -> Self {
        Self::NoMemory
    }
}

type Outcome = Result<(), Wrong>;

/// Where exercises are done: a pool, and room to copy packets to.
struct Bench<'p> {
    pool: &'p Pool,
    room: &'p mut [u8],
}

/// A tag of the tests.
struct Mark;

impl Tag for Mark {
    const COOKIE: u32 = 1_795_000_000;
    const ID: u16 = 7;
    type Data = u64;
}

const MARK: u64 = 0x0123_4567_89ab_cdef;

/// The longest packet that is exercised with.
const MOST: usize = 9_000;
/// Lengths of packets, one of each size class and some at their ends.
const LENGTHS: [usize; 8] = [1, 60, 128, 129, 576, 1_514, 4_000, MOST];

/// The byte at a place of every packet here.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8)) as u8
}

impl Bench<'_> {
    /// A packet of this length.
    fn packet(&self, len: usize) -> Result<Packet<Writable>, Wrong> {
        let mut packet = self.pool.packet(len)?;
        let bytes = packet.extend(len).map_err(|_| Wrong::Length(len))?;
        for (at, place) in bytes.iter_mut().enumerate() {
            *place = byte(at);
        }
        Ok(packet)
    }

    /// The same as the system's own.
    fn ours(&self, len: usize) -> Result<Mbuf, Wrong> {
        Mbuf::of(self.packet(len)?).ok_or(Wrong::NoMemory)
    }

    /// One of ordinary mbufs with the same bytes.
    fn theirs(&mut self, len: usize, piece: usize) -> Result<Mbuf, Wrong> {
        let bytes = self.fill(len);
        Mbuf::scattered(bytes, piece).ok_or(Wrong::NoMemory)
    }

    fn fill(&mut self, len: usize) -> &[u8] {
        let bytes = self.room.get_mut(..len).unwrap_or_default();
        for (at, place) in bytes.iter_mut().enumerate() {
            *place = byte(at);
        }
        bytes
    }

    /// Whether a packet has `len` bytes, which are those from `from` on.
    fn check(&mut self, mbuf: &Mbuf, from: usize, len: usize) -> Outcome {
        if mbuf.len() as usize != len {
            return Err(Wrong::Length(mbuf.len() as usize));
        }
        let bytes = self.room.get_mut(..len).unwrap_or_default();
        bytes.fill(0);
        if mbuf.copy_out(0, bytes) != len {
            return Err(Wrong::Length(len));
        }
        same(bytes, from)
    }

    fn check_packet(&mut self, packet: &Packet<Writable>, len: usize) -> Outcome {
        let bytes = self.room.get_mut(..len).unwrap_or_default();
        bytes.fill(0);
        match packet.len() == len && packet.copy_out(0, bytes) == len {
            true => same(bytes, 0),
            false => Err(Wrong::Length(packet.len())),
        }
    }
}

fn same(bytes: &[u8], from: usize) -> Outcome {
    let wrong = bytes
        .iter()
        .enumerate()
        .find(|(at, found)| **found != byte(from.wrapping_add(*at)));
    wrong.map_or(Ok(()), |(at, _)| Err(Wrong::Byte(at)))
}

fn made(mbuf: Option<Mbuf>) -> Result<Mbuf, Wrong> {
    mbuf.ok_or(Wrong::NoMemory)
}

/// What is done with a packet of so many bytes.
type Exercising = fn(&mut Bench<'_>, usize) -> Outcome;

/// Each exercise, for packets of each length.
const EXERCISES: [(&str, Exercising); 13] = [
    ("m_freem", |bench, len| {
        let mbuf = bench.ours(len)?;
        bench.check(&mbuf, 0, len)
    }),
    ("m_dup", |bench, len| {
        let mbuf = bench.ours(len)?;
        let copy = made(mbuf.dup())?;
        drop(mbuf);
        bench.check(&copy, 0, len)
    }),
    ("m_copypacket", |bench, len| {
        let mbuf = bench.ours(len)?;
        let copy = made(mbuf.copypacket())?;
        let another = made(copy.copypacket())?;
        drop(mbuf);
        drop(another);
        bench.check(&copy, 0, len)
    }),
    ("m_unshare", |bench, len| {
        let mbuf = bench.ours(len)?;
        let copy = made(mbuf.copypacket())?;
        let mbuf = made(mbuf.unshare())?;
        bench.check(&copy, 0, len)?;
        drop(copy);
        bench.check(&mbuf, 0, len)
    }),
    ("m_defrag", |bench, len| {
        let mut chain = bench.theirs(len, 50)?;
        // From here on the bytes are those of a second packet.
        chain.cat(bench.ours(len)?);
        let chain = chain.defrag();
        let bytes = bench.room.get_mut(..2 * len).unwrap_or_default();
        match chain.copy_out(0, bytes) == 2 * len {
            true => {
                same(bytes.get(..len).unwrap_or_default(), 0)?;
                same(bytes.get(len..).unwrap_or_default(), 0)
            }
            false => Err(Wrong::Length(chain.len() as usize)),
        }
    }),
    ("m_pullup", |bench, len| {
        let mut mbuf = bench.ours(len)?;
        let rest = mbuf
            .split(len as u32 / 2)
            .map_or_else(|| bench.ours(0), Ok)?;
        let split = len / 2;
        match rest.len() as usize == len - split {
            // One of the two refers to the other's buffer, and goes last.
            true => mbuf.cat(rest),
            false => return Err(Wrong::Length(rest.len() as usize)),
        }
        let mbuf = made(mbuf.pullup(len.min(150) as u32))?;
        bench.check(&mbuf, 0, len)
    }),
    ("m_split", |bench, len| {
        let mut mbuf = bench.ours(len)?;
        let split = len / 3;
        let rest = made(mbuf.split(split as u32))?;
        bench.check(&mbuf, 0, split)?;
        drop(mbuf);
        bench.check(&rest, split, len - split)
    }),
    ("m_prepend", |bench, len| {
        let mut mbuf = bench.ours(len)?;
        mbuf.adj(1);
        for (at, count) in [(1, 1), (0, 40), (0, 100)] {
            // The last one has no room in the buffer any more.
            let header = [byte(0); 100];
            let header = header.get(..count).unwrap_or_default();
            mbuf = made(mbuf.prepend(header))?;
            if at == 0 {
                mbuf.adj(count as u32);
            }
        }
        bench.check(&mbuf, 0, len)
    }),
    ("tags", |bench, len| {
        let mut packet = bench.packet(len)?;
        packet.insert_tag::<Mark>(MARK).map_err(|_| Wrong::Tag)?;
        let mut mbuf = made(Mbuf::of(packet))?;
        let (cookie, id) = (Mark::COOKIE, Mark::ID);
        let marked = |mbuf: &Mbuf| match mbuf.tag(cookie, id) {
            Some(MARK) => Ok(()),
            _ => Err(Wrong::Tag),
        };
        marked(&mbuf)?;
        if !mbuf.add_tag(cookie, 8, 3) || mbuf.tag(cookie, 8) != Some(3) {
            return Err(Wrong::Tag);
        }
        let mut copy = bench.theirs(len, 100)?;
        if !copy.copy_tags(&mbuf) {
            return Err(Wrong::NoMemory);
        }
        marked(&copy)?;
        // The tag leaves its packet, which is freed before it.
        let mut other = bench.ours(len)?;
        other.take_header(mbuf);
        marked(&other)?;
        other.delete_tag(cookie, 8);
        marked(&other)?;
        let packet = other
            .into_packet(|| bench.pool.packet(0))
            .map_err(|_| Wrong::NoMemory)?;
        match packet.tag::<Mark>() {
            Some(&MARK) => bench.check_packet(&packet, len),
            _ => Err(Wrong::Tag),
        }
    }),
    ("there and back", |bench, len| {
        let mut packet = bench.packet(len)?;
        let meta = packet.meta_mut();
        meta.flags = Flags::VLAN | Flags::L4_CHECKED | Flags::L4_GOOD | Flags::FILL_L4;
        meta.vlan = [0x3fff, 0];
        meta.protocol = 17;
        (meta.flow_hash, meta.hash_kind, meta.fib) = (0xdead_beef, HashKind::UdpIpv4, 3);
        let (meta, before) = (*packet.meta(), packet.embedded());
        let mut mbuf = made(Mbuf::of(packet))?;
        mbuf.adj(1);
        let mut packet = mbuf
            .into_packet(|| bench.pool.packet(0))
            .map_err(|_| Wrong::NoMemory)?;
        if packet.embedded() != before {
            return Err(Wrong::Shape("another buffer"));
        }
        let bytes = packet.prepend(1).map_err(|_| Wrong::Length(len))?;
        if let Some(first) = bytes.first_mut() {
            *first = byte(0);
        }
        if *packet.meta() != meta {
            return Err(Wrong::Meta);
        }
        bench.check_packet(&packet, len)
    }),
    ("a chain, carried", |bench, len| {
        let theirs = bench.theirs(len, 60)?;
        carried(bench, theirs, len)
    }),
    ("unmapped pages, carried", |bench, len| {
        let theirs = made(Mbuf::unmapped(bench.fill(len)))?;
        carried(bench, theirs, len)
    }),
    ("shared", |bench, len| {
        let shared = bench.packet(len)?.share();
        let first = Mbuf::of_shared(shared.clone()).map_err(|_| Wrong::NoMemory)?;
        let second = Mbuf::of_shared(shared.clone()).map_err(|_| Wrong::NoMemory)?;
        drop(first);
        let Err(shared) = shared.try_writable() else {
            return Err(Wrong::Shape("written to though shared"));
        };
        bench.check(&second, 0, len)?;
        drop(second);
        let packet = shared
            .try_writable()
            .map_err(|_| Wrong::Shape("shared though alone"))?;
        bench.check_packet(&packet, len)
    }),
];

/// A packet carries a chain, which is read, pulled up, copied, and given back.
#[inline(never)]
fn carried(bench: &mut Bench<'_>, theirs: Mbuf, len: usize) -> Outcome {
    let wrapper = || bench.pool.packet(100);
    let mut packet = theirs.into_packet(wrapper).map_err(|_| Wrong::NoMemory)?;
    bench.check_packet(&packet, len)?;
    let copy = packet.copy().map_err(|_| Wrong::NoMemory)?;
    packet
        .pull_up(len.min(90))
        .map_err(|_| Wrong::Length(len))?;
    bench.check_packet(&packet, len)?;
    let mbuf = made(Mbuf::of(packet))?;
    bench.check(&mbuf, 0, len)?;
    drop(mbuf);
    bench.check_packet(&copy, len)
}

struct Exercise;

impl Number for Exercise {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        (EXERCISES.len() * LENGTHS.len()) as u64
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, rounds: u64) -> Result<(), Errno> {
        let mut room = memory::filled(sleepable, 0u8, 2 * MOST)?;
        POOL.with(sleepable, |_, pool| {
            let mut bench = Bench {
                pool,
                room: &mut room,
            };
            (0..rounds).try_for_each(|_| all(&mut bench))
        })
        .unwrap_or(Err(Errno::ENOENT))
    }
}

/// Buffers that are out.
#[inline(never)]
fn out(pool: &Pool) -> usize {
    pool.out()
}

#[inline(never)]
fn all(bench: &mut Bench<'_>) -> Result<(), Errno> {
    for (name, exercise) in EXERCISES {
        for len in LENGTHS {
            let before = out(bench.pool);
            // Each with a stack frame of its own.
            let outcome = black_box(exercise)(bench, len);
            let left = out(bench.pool).wrapping_sub(before);
            let wrong = match (outcome, left) {
                (Ok(()), 0) => continue,
                (Ok(()), _) => Wrong::Shape("buffers are left"),
                (Err(wrong), _) => wrong,
            };
            log::error(format_args!(
                "net.weft.test.exercise: {name}, {len} bytes: {wrong}; {left} buffers left"
            ));
            return Err(Errno::EIO);
        }
    }
    Ok(())
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    tree.number::<Exercise>(
        node,
        c"exercise",
        Access::READ | Access::WRITE,
        c"Write N to do N times what the stack does with packets; EIO if bytes or buffers are lost",
    )
}
