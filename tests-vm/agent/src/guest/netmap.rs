// SPDX-License-Identifier: BSD-2-Clause
//! netmap(4): frames by rings in memory that the kernel shares, as pkt-gen(8) sends and
//! receives them. Header: `net/netmap.h`, of which the places below are.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_ulong};
use core::net::Ipv4Addr;

use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Errno, Fd, Pages, Plain};
use super::{ether, netif, ping, tap, traffic};

pub(super) const NIOCGINFO: c_ulong = 0xc03c_6991;
pub(super) const NIOCREGIF: c_ulong = 0xc03c_6992;
const NIOCTXSYNC: c_ulong = 0x2000_6994;
const NIOCRXSYNC: c_ulong = 0x2000_6995;
/// `NETMAP_API`, and `NR_REG_ALL_NIC`.
pub(super) const API: u32 = 14;
const ALL_RINGS: u32 = 1;

/// Where `struct netmap_if` has the numbers of rings, and the rings' places.
const IF_TX_RINGS: usize = 24;
const IF_HOST_TX_RINGS: usize = 36;
const IF_RINGS: usize = 56;
/// Where `struct netmap_ring` has what, and the bytes of a slot.
const RING_BUFFERS: usize = 0;
const RING_SLOTS: usize = 8;
const RING_BUFFER_SIZE: usize = 12;
const RING_HEAD: usize = 20;
const RING_CUR: usize = 24;
const RING_TAIL: usize = 28;
const RING_FLAGS: usize = 32;
const RING_FIRST: usize = 256;
const SLOT: usize = 16;
const SLOT_LEN: usize = 4;
const SLOT_FLAGS: usize = 6;
const SLOT_POINTER: usize = 8;
/// `NS_BUF_CHANGED`.
const BUFFER_CHANGED: u16 = 1;

/// The headers of a frame: Ethernet's, IPv4's and UDP's.
const HEADERS: usize = 14 + 20 + 8;
/// How long a wait is, and how long it takes until nothing happens any more.
const GLANCE_MS: c_int = 100;
const PATIENCE_MS: u64 = 60_000;

const USAGE: &str = "netmap info INTERFACE | send INTERFACE MAC FROM TO PORT SIZE COUNT | \
                     recv INTERFACE PORT COUNT IDLE_MS | bridge ONE OTHER COUNT | hold INTERFACE";

/// `struct nmreq` of `net/netmap_legacy.h`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [c_char; libc::IFNAMSIZ],
    version: u32,
    offset: u32,
    memory: u32,
    slots: [u32; 2],
    rings: [u16; 2],
    ring: u16,
    command: u16,
    args: [u16; 2],
    extra: u32,
    flags: u32,
    spare: u32,
}

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Request {}

impl Request {
    fn for_all_of(interface: &str) -> Result<Self, Failure> {
        Ok(Self {
            name: netif::name_bytes(interface)?,
            version: API,
            flags: ALL_RINGS,
            ..sys::zeroed()
        })
    }
}

/// `netmap info INTERFACE` says how many slots and rings there are, to send and to receive.
/// `send` sends numbered datagrams from the interface's address to a hardware address, and
/// `recv` takes those to a port: its line is that of `udp recv`. `bridge` has what
/// one interface receives sent by the other one, without copying, both ways, until so many
/// frames have gone or it is stopped: how many went each way. `hold` has the rings until it is
/// stopped, and does nothing.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["info", interface] => {
            let mut request = Request::for_all_of(interface)?;
            Fd::open("/dev/netmap", libc::O_RDWR)?.ioctl(NIOCGINFO, &mut request)?;
            let ([tx_slots, rx_slots], [tx, rx]) = (request.slots, request.rings);
            Ok(vec![format!("{tx_slots} {rx_slots} {tx} {rx}")])
        }
        ["send", interface, mac, from, to, port, size, count] => {
            let size: usize = number(size, "size")?;
            let stream = Stream {
                mac: ether::bytes(mac)?,
                from: ipv4(from)?,
                to: ipv4(to)?,
                port: number(port, "port")?,
                size,
            };
            stream.send(&Port::open(interface)?, number(count, "count")?, meter)
        }
        ["recv", interface, port, count, idle] => {
            let (port, count) = (number(port, "port")?, number(count, "count")?);
            let idle = number(idle, "idle")?;
            receive(&Port::open(interface)?, port, count, idle, meter)
        }
        ["hold", interface] => {
            let _port = Port::open(interface)?;
            meter.ready();
            while !meter.stop_asked() {
                sys::sleep(GLANCE_MS as u64 * 1_000_000);
            }
            Ok(vec![])
        }
        ["bridge", one, other, count] => {
            let ports = [Port::open(one)?, Port::open(other)?];
            bridge(&ports, number(count, "count")?, meter)
        }
        _ => Err(Failure::usage(USAGE)),
    }
}

fn ipv4(word: &str) -> Result<Ipv4Addr, Failure> {
    word.parse()
        .map_err(|_| Failure::new(format!("{word} is no IPv4 address")))
}

/// An interface in netmap mode, with all its rings.
pub(super) struct Port {
    device: Fd,
    memory: Pages,
    /// Which memory the buffers are in.
    region: u16,
    tx: Vec<Ring>,
    rx: Vec<Ring>,
}

/// Where a ring is.
struct Ring {
    at: usize,
    slots: u32,
    buffers: usize,
    buffer_size: usize,
}

impl Port {
    pub(super) fn open(interface: &str) -> Result<Self, Failure> {
        let device = Fd::open("/dev/netmap", libc::O_RDWR)?;
        let mut request = Request::for_all_of(interface)?;
        device.ioctl(NIOCREGIF, &mut request)?;
        let memory = Pages::of(&device, request.memory as usize)?;
        let at = request.offset as usize;
        let count = |field| memory.load::<u32>(at + field) as usize;
        let (tx, rx) = (count(IF_TX_RINGS), count(IF_TX_RINGS + 4));
        let after_tx = tx + count(IF_HOST_TX_RINGS);
        let ring = |index| Ring::find(&memory, at, index);
        Ok(Self {
            tx: (0..tx).map(ring).collect(),
            rx: (after_tx..after_tx + rx).map(ring).collect(),
            region: request.args[1],
            device,
            memory,
        })
    }

    /// Hands over what is in the rings, and has the kernel say what it is done with.
    fn sync(&self, request: c_ulong) -> Result<(), Errno> {
        self.device.ioctl_bare(request)
    }
}

/// A number in a ring that a program writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Head,
    Cur,
    Tail,
    Flags,
    Buffer,
    Length,
    SlotFlags,
    Pointer,
}

impl Place {
    pub(super) const ALL: [Self; 8] = [
        Self::Head,
        Self::Cur,
        Self::Tail,
        Self::Flags,
        Self::Buffer,
        Self::Length,
        Self::SlotFlags,
        Self::Pointer,
    ];
}

impl Port {
    /// Writes a number into a ring, and of a slot's into that of the number.
    pub(super) fn scribble(&self, ring: usize, place: Place, slot: usize, value: u64) {
        let rings = self.tx.len() + self.rx.len();
        let Some(ring) = self.tx.iter().chain(&self.rx).nth(ring % rings.max(1)) else {
            return;
        };
        let at = ring.at;
        let slot = at + RING_FIRST + slot % ring.slots.max(1) as usize * SLOT;
        let memory = &self.memory;
        match place {
            Place::Head => memory.store(at + RING_HEAD, value as u32),
            Place::Cur => memory.store(at + RING_CUR, value as u32),
            Place::Tail => memory.store(at + RING_TAIL, value as u32),
            Place::Flags => memory.store(at + RING_FLAGS, value as u32),
            Place::Buffer => memory.store(slot, value as u32),
            Place::Length => memory.store(slot + SLOT_LEN, value as u16),
            Place::SlotFlags => memory.store(slot + SLOT_FLAGS, value as u16),
            Place::Pointer => memory.store(slot + SLOT_POINTER, value),
        }
    }

    /// Hands over what is in the rings, to send or to receive.
    pub(super) fn hand_over(&self, sends: bool) -> Result<(), Errno> {
        self.sync(if sends { NIOCTXSYNC } else { NIOCRXSYNC })
    }
}

impl Ring {
    fn find(memory: &Pages, interface: usize, index: usize) -> Self {
        let offset = memory.load::<u64>(interface + IF_RINGS + 8 * index) as usize;
        let at = interface.wrapping_add(offset);
        let buffers = memory.load::<u64>(at + RING_BUFFERS) as usize;
        Self {
            at,
            slots: memory.load(at + RING_SLOTS),
            buffers: at.wrapping_add(buffers),
            buffer_size: memory.load::<u32>(at + RING_BUFFER_SIZE) as usize,
        }
    }

    fn head(&self, memory: &Pages) -> u32 {
        memory.load(self.at + RING_HEAD)
    }

    fn next(&self, slot: u32) -> u32 {
        if slot + 1 == self.slots { 0 } else { slot + 1 }
    }

    /// The next slot that is this program's, if there is one.
    fn slot(&self, memory: &Pages) -> Option<usize> {
        let (head, tail) = (self.head(memory), memory.load(self.at + RING_TAIL));
        (head != tail).then(|| self.at + RING_FIRST + head as usize * SLOT)
    }

    /// Whether the kernel has nothing of it.
    fn is_idle(&self, memory: &Pages) -> bool {
        self.next(memory.load(self.at + RING_TAIL)) == self.head(memory)
    }

    /// Gives the next slot to the kernel.
    fn advance(&self, memory: &Pages) {
        let next = self.next(self.head(memory));
        memory.store(self.at + RING_CUR, next);
        memory.store(self.at + RING_HEAD, next);
    }

    /// Where a slot's buffer is.
    fn buffer(&self, memory: &Pages, slot: usize) -> usize {
        self.buffers + memory.load::<u32>(slot) as usize * self.buffer_size
    }

    /// Puts a frame. False if there is no room.
    fn put(&self, memory: &Pages, frame: &[u8]) -> bool {
        let Some(slot) = self.slot(memory) else {
            return false;
        };
        let buffer = self.buffer(memory, slot);
        memory.write(buffer, &frame[..frame.len().min(self.buffer_size)]);
        memory.store(slot + SLOT_LEN, frame.len() as u16);
        memory.store(slot + SLOT_FLAGS, 0_u16);
        self.advance(memory);
        true
    }

    /// Takes a frame, if there is one.
    fn take(&self, memory: &Pages) -> Option<Vec<u8>> {
        let slot = self.slot(memory)?;
        let buffer = self.buffer(memory, slot);
        let len = usize::from(memory.load::<u16>(slot + SLOT_LEN)).min(self.buffer_size);
        let mut frame = vec![0; len];
        memory.read(buffer, &mut frame);
        self.advance(memory);
        Some(frame)
    }

    /// Has the other ring send what this one has received, by exchanging buffers. False if
    /// there is nothing, or no room.
    fn pass(&self, memory: &Pages, to: &Self, others: &Pages) -> bool {
        let (Some(from), Some(into)) = (self.slot(memory), to.slot(others)) else {
            return false;
        };
        let (full, empty) = (memory.load::<u32>(from), others.load::<u32>(into));
        memory.store(from, empty);
        memory.store(from + SLOT_FLAGS, BUFFER_CHANGED);
        others.store(into, full);
        others.store(into + SLOT_LEN, memory.load::<u16>(from + SLOT_LEN));
        others.store(into + SLOT_FLAGS, BUFFER_CHANGED);
        to.advance(others);
        self.advance(memory);
        true
    }
}

/// Datagrams as `udp send` makes them, each a frame.
struct Stream {
    /// The receiver's hardware address, and the sender's.
    mac: Vec<u8>,
    from: Ipv4Addr,
    to: Ipv4Addr,
    port: u16,
    size: usize,
}

impl Stream {
    /// The line: frames that the interface is done with.
    fn send(&self, port: &Port, count: u64, meter: &Meter) -> Outcome {
        let longest = port.tx.first().map_or(0, |ring| ring.buffer_size);
        if self.mac.len() != 12 || self.size + HEADERS > longest.min(1514) {
            return Err(Failure::new("12 bytes of addresses, and a frame of 1514"));
        }
        meter.ready();
        let mut sent = 0;
        while sent < count && !meter.stop_asked() {
            let turn = usize::try_from(sent).unwrap_or(0) % port.tx.len().max(1);
            if port.tx[turn].put(&port.memory, &self.frame(sent)) {
                sent += 1;
                meter.set(0, sent);
                continue;
            }
            port.sync(NIOCTXSYNC)?;
            if port.tx[turn].slot(&port.memory).is_none() {
                port.device.wait_for(libc::POLLOUT, GLANCE_MS)?;
            }
        }
        let start = clock::monotonic_ms();
        port.sync(NIOCTXSYNC)?;
        while !port.tx.iter().all(|ring| ring.is_idle(&port.memory)) {
            if clock::monotonic_ms() - start > PATIENCE_MS {
                return Err(Failure::new(format!("{sent} frames were not all sent")));
            }
            sys::sleep(1_000_000);
            port.sync(NIOCTXSYNC)?;
        }
        Ok(vec![format!("{sent}")])
    }

    fn frame(&self, sequence: u64) -> Vec<u8> {
        let mut frame = self.mac.clone();
        frame.extend([8, 0, 0x45, 0]);
        let total = (self.size + HEADERS - 14) as u16;
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        frame.extend(self.from.octets());
        frame.extend(self.to.octets());
        let check = ping::checksum(&frame[14..34]).to_be_bytes();
        frame[24..26].copy_from_slice(&check);
        frame.extend([15, 160]);
        frame.extend(self.port.to_be_bytes());
        frame.extend((total - 20).to_be_bytes());
        frame.extend([0, 0]);
        let data = frame.len();
        frame.resize(data + self.size, 0);
        traffic::fill(sequence, &mut frame[data..]);
        let check = udp_checksum(&frame).to_be_bytes();
        frame[40..42].copy_from_slice(&check);
        frame
    }
}

/// The checksum of UDP in a frame with an IPv4 header of 20 bytes: of what is there, so that
/// it is 0 if the frame has it and is whole.
fn udp_checksum(frame: &[u8]) -> u16 {
    let mut all = frame[26..34].to_vec();
    all.extend([0, 17]);
    all.extend(&frame[38..40]);
    all.extend(&frame[34..]);
    ping::checksum(&all)
}

/// Counters and the line: those of `udp recv`.
fn receive(port: &Port, to: u16, count: u64, idle_ms: u64, meter: &Meter) -> Outcome {
    let mut arrivals = traffic::Arrivals::new(count);
    let mut last = clock::monotonic_ms();
    meter.ready();
    while !arrivals.are_all(count) && !meter.stop_asked() {
        if port.device.wait_for(libc::POLLIN, GLANCE_MS)? {
            last = clock::monotonic_ms();
        } else if clock::monotonic_ms() - last > idle_ms {
            break;
        }
        for ring in &port.rx {
            while let Some(frame) = ring.take(&port.memory) {
                if let Some(data) = tap::datagram(&frame, to) {
                    arrivals.note(number_of(&frame, data));
                }
            }
        }
        arrivals.show(meter);
    }
    port.sync(NIOCRXSYNC)?;
    Ok(vec![arrivals.line()])
}

/// The number of a datagram: one of ours, or one that has just its number, and a checksum.
fn number_of(frame: &[u8], data: &[u8]) -> Option<u64> {
    let ours = traffic::number_of(data);
    let (first, rest) = data.split_first_chunk()?;
    let end = HEADERS + data.len();
    let is_plain = rest.iter().all(|&byte| byte == 0) && udp_checksum(frame.get(..end)?) == 0;
    ours.or_else(|| is_plain.then(|| u64::from_be_bytes(*first)))
}

fn bridge(ports: &[Port; 2], count: u64, meter: &Meter) -> Outcome {
    if ports[0].region != ports[1].region {
        return Err(Failure::new(
            "the interfaces have buffers in different memory",
        ));
    }
    let mut passed = [0_u64; 2];
    meter.ready();
    while passed.iter().sum::<u64>() < count && !meter.stop_asked() {
        for (from, to) in [(0, 1), (1, 0)] {
            let (one, other) = (&ports[from], &ports[to]);
            one.sync(NIOCRXSYNC)?;
            for (ring, into) in one.rx.iter().zip(other.tx.iter().cycle()) {
                while ring.pass(&one.memory, into, &other.memory) {
                    passed[from] += 1;
                }
            }
            other.sync(NIOCTXSYNC)?;
            meter.set(from, passed[from]);
        }
        ports[0].device.wait_for(libc::POLLIN, 1)?;
    }
    Ok(vec![format!("{} {}", passed[0], passed[1])])
}
