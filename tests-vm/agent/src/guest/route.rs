// SPDX-License-Identifier: BSD-2-Clause
//! IPv4 routes by the routing socket of `net/route.h`: one by one, a table from a
//! file, and a steady churn. The FIB is that of the process (`fib N` in front).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{c_int, c_ulong};
use core::mem::size_of;
use core::net::Ipv4Addr;

use super::clock::{self, Pace};
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Errno, Fd, Plain};

const VERSION: u8 = 5;
const GATEWAY: c_int = 0x2;
const HOST: c_int = 0x4;
const REJECT: c_int = 0x8;
const STATIC: c_int = 0x800;
const BLACKHOLE: c_int = 0x1000;
const UP: c_int = 0x1;
/// `RTV_WEIGHT`
const WEIGHT: c_ulong = 0x100;
const HAS_DESTINATION: c_int = 0x1;
const HAS_GATEWAY: c_int = 0x2;
const HAS_MASK: c_int = 0x4;
/// What a table file begins with; `tests-vm` writes it.
const TABLE_MAGIC: &[u8; 8] = b"weftrib4";

/// `struct rt_msghdr`, with `struct rt_metrics` spelled out as 14 numbers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    length: u16,
    version: u8,
    kind: u8,
    index: u16,
    spare: u16,
    flags: c_int,
    addresses: c_int,
    pid: c_int,
    sequence: c_int,
    error: c_int,
    field_mask: c_int,
    inits: c_ulong,
    metrics: [c_ulong; 14],
}

/// The place of `rmx_weight` among the metrics.
const WEIGHT_AT: usize = 10;

// SAFETY: integers and arrays of integers, without padding.
unsafe impl Plain for Header {}

/// What to do with a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Add = 1,
    Delete = 2,
    Change = 3,
    Get = 4,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Gateway(Ipv4Addr),
    Blackhole,
    Reject,
    /// Not said, as a deletion may.
    Any,
}

/// `route add|change PREFIX GATEWAY|blackhole|reject [WEIGHT]`, `del PREFIX
/// [GATEWAY]`, `get ADDRESS`, `load FILE GATEWAY,...`, `unload FILE`, `flap PREFIX
/// COUNT GATEWAY,... RATE ROUNDS`.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["add", prefix, target, weight @ ..] => one(Verb::Add, prefix, target, weight),
        ["change", prefix, target, weight @ ..] => one(Verb::Change, prefix, target, weight),
        ["del", prefix, target @ ..] => {
            one(Verb::Delete, prefix, target.first().unwrap_or(&"any"), &[])
        }
        ["get", address] => get(address),
        ["load", file, gateways] => load(file, gateways, meter),
        ["unload", file] => unload(file, meter),
        ["flap", prefix, count, gateways, rate, rounds] => {
            let churn = Churn {
                base: parse_prefix(prefix)?,
                count: number(count, "count")?,
                gateways: parse_list(gateways)?,
            };
            churn.run(number(rate, "rate")?, number(rounds, "rounds")?, meter)
        }
        _ => Err(Failure::usage(
            "route add|change|del|get|load|unload|flap ...",
        )),
    }
}

/// An IPv4 socket address.
pub(super) fn socket_address(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    let mut out = sys::zeroed::<libc::sockaddr_in>();
    out.sin_len = u8::try_from(size_of::<libc::sockaddr_in>()).unwrap_or(0);
    out.sin_family = libc::AF_INET as u8;
    out.sin_port = port.to_be();
    out.sin_addr.s_addr = address.to_bits().to_be();
    out
}

/// The netmask of `bits` bits.
pub(super) fn mask(bits: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0))
}

/// An address in dotted form.
pub(super) fn parse_address(word: &str) -> Result<Ipv4Addr, Failure> {
    word.parse()
        .map_err(|_| Failure::new(format!("{word} is no IPv4 address")))
}

/// `ADDRESS/BITS`; without bits it is a host.
pub(super) fn parse_prefix(word: &str) -> Result<(Ipv4Addr, u8), Failure> {
    let (address, bits) = word.split_once('/').unwrap_or((word, "32"));
    let bits: u8 = number(bits, "prefix length")?;
    if bits > 32 {
        return Err(Failure::new(format!("{word}: a prefix length is 0 to 32")));
    }
    Ok((parse_address(address)?, bits))
}

fn parse_list(word: &str) -> Result<Vec<Ipv4Addr>, Failure> {
    word.split(',').map(parse_address).collect()
}

fn parse_target(word: &str) -> Result<Target, Failure> {
    Ok(match word {
        "blackhole" => Target::Blackhole,
        "reject" => Target::Reject,
        "any" => Target::Any,
        gateway => Target::Gateway(parse_address(gateway)?),
    })
}

/// A routing socket, and the message that is being made.
struct Router {
    socket: Fd,
    sequence: c_int,
    message: Vec<u8>,
}

impl Router {
    fn open(replies: bool) -> Result<Self, Failure> {
        let socket = Fd::socket(libc::PF_ROUTE, libc::SOCK_RAW, libc::AF_INET)?;
        if !replies {
            socket.set_option(libc::SOL_SOCKET, libc::SO_USELOOPBACK, 0)?;
        }
        Ok(Self {
            socket,
            sequence: 0,
            message: Vec::with_capacity(256),
        })
    }

    fn send(
        &mut self,
        verb: Verb,
        (address, bits): (Ipv4Addr, u8),
        target: Target,
        weight: Option<c_ulong>,
    ) -> Result<(), Errno> {
        let mut header = sys::zeroed::<Header>();
        self.sequence += 1;
        header.version = VERSION;
        header.kind = verb as u8;
        header.sequence = self.sequence;
        header.flags = UP | STATIC;
        header.addresses = HAS_DESTINATION;
        if let Some(weight) = weight {
            header.inits |= WEIGHT;
            header.metrics[WEIGHT_AT] = weight;
        }
        let gateway = match target {
            Target::Gateway(gateway) => Some((gateway, GATEWAY)),
            Target::Blackhole => Some((Ipv4Addr::LOCALHOST, GATEWAY | BLACKHOLE)),
            Target::Reject => Some((Ipv4Addr::LOCALHOST, GATEWAY | REJECT)),
            Target::Any => None,
        };
        if let Some((_, flags)) = gateway {
            header.flags |= flags;
            header.addresses |= HAS_GATEWAY;
        }
        if bits == 32 {
            header.flags |= HOST;
        } else {
            header.addresses |= HAS_MASK;
        }
        let parts = [
            Some(address),
            gateway.map(|(gateway, _)| gateway),
            (bits != 32).then(|| mask(bits)),
        ];
        self.write(header, &parts)
    }

    fn write(&mut self, mut header: Header, addresses: &[Option<Ipv4Addr>]) -> Result<(), Errno> {
        let count = addresses.iter().flatten().count();
        let length = size_of::<Header>() + count * size_of::<libc::sockaddr_in>();
        header.length = u16::try_from(length).unwrap_or(u16::MAX);
        self.message.clear();
        self.message.extend_from_slice(sys::bytes_of(&header));
        for address in addresses.iter().flatten() {
            self.message
                .extend_from_slice(sys::bytes_of(&socket_address(*address, 0)));
        }
        self.socket.write(&self.message).map(drop)
    }

    /// The answer to the last message.
    fn answer(&self) -> Result<(Header, Vec<Ipv4Addr>), Failure> {
        let mut buffer = [0; 2048];
        while self.socket.readable(2_000)? {
            let got = self.socket.read(&mut buffer)?;
            let header: Header =
                sys::read_plain(&buffer[..got]).ok_or(Failure::new("short message"))?;
            if header.pid == sys::getpid() && header.sequence == self.sequence {
                return Ok((header, addresses(&buffer[size_of::<Header>()..got])));
            }
        }
        Err(Failure::new("no answer from the routing socket"))
    }
}

/// The IPv4 addresses of a message in their order; what is not IPv4 becomes 0.0.0.0.
fn addresses(mut rest: &[u8]) -> Vec<Ipv4Addr> {
    let mut list = Vec::new();
    while let [length, family, ..] = *rest {
        let is_inet = c_int::from(family) == libc::AF_INET;
        let bits = rest
            .get(4..8)
            .and_then(|raw| raw.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        list.push(Ipv4Addr::from_bits(if is_inet { bits } else { 0 }));
        let step = usize::from(length)
            .max(1)
            .next_multiple_of(size_of::<c_ulong>());
        rest = rest.get(step..).unwrap_or(&[]);
    }
    list
}

fn one(verb: Verb, prefix: &str, target: &str, weight: &[&str]) -> Outcome {
    let weight = weight
        .first()
        .map(|word| number(word, "weight"))
        .transpose()?;
    Router::open(false)?.send(verb, parse_prefix(prefix)?, parse_target(target)?, weight)?;
    Ok(vec![])
}

/// One line: destination, gateway, `rtm_flags` in hexadecimal.
fn get(address: &str) -> Outcome {
    let mut router = Router::open(true)?;
    router.send(Verb::Get, (parse_address(address)?, 32), Target::Any, None)?;
    let (header, list) = router.answer()?;
    let mut parts = list.iter();
    let mut part = |bit: c_int| match header.addresses & bit {
        0 => "-".to_string(),
        _ => parts.next().map_or("-".to_string(), ToString::to_string),
    };
    let (destination, gateway) = (part(HAS_DESTINATION), part(HAS_GATEWAY));
    Ok(vec![format!("{destination} {gateway} {:x}", header.flags)])
}

/// A table file in memory: eight-byte records of address (network order), prefix
/// length, and a number that picks the gateway.
struct Table(Vec<u8>);

impl Table {
    fn read(path: &str) -> Result<Self, Failure> {
        let bytes = Fd::open(path, libc::O_RDONLY)?.read_to_end()?;
        match bytes.strip_prefix(TABLE_MAGIC) {
            Some(records) if records.len() % 8 == 0 => Ok(Self(records.to_vec())),
            _ => Err(Failure::new(format!("{path} is no table"))),
        }
    }

    fn routes(&self) -> impl Iterator<Item = ((Ipv4Addr, u8), usize)> {
        self.0.as_chunks::<8>().0.iter().map(|record| {
            let address = Ipv4Addr::new(record[0], record[1], record[2], record[3]);
            ((address, record[4]), usize::from(record[5]))
        })
    }
}

/// Counters: routes done, errors. The line says routes, errors, milliseconds.
fn load(path: &str, gateways: &str, meter: &Meter) -> Outcome {
    let gateways = parse_list(gateways)?;
    each_route(path, meter, |router, prefix, pick| {
        router.send(
            Verb::Add,
            prefix,
            Target::Gateway(gateways[pick % gateways.len()]),
            None,
        )
    })
}

fn unload(path: &str, meter: &Meter) -> Outcome {
    each_route(path, meter, |router, prefix, _| {
        router.send(Verb::Delete, prefix, Target::Any, None)
    })
}

fn each_route(
    path: &str,
    meter: &Meter,
    act: impl Fn(&mut Router, (Ipv4Addr, u8), usize) -> Result<(), Errno>,
) -> Outcome {
    let table = Table::read(path)?;
    let mut router = Router::open(false)?;
    let start = clock::monotonic_ms();
    let (mut done, mut errors, mut first) = (0u64, 0u64, None);
    for (prefix, pick) in table.routes() {
        match act(&mut router, prefix, pick) {
            Ok(()) => done += 1,
            Err(error) => {
                errors += 1;
                first.get_or_insert_with(|| format!("{}/{}: {error}", prefix.0, prefix.1));
            }
        }
        meter.set(0, done);
        meter.set(1, errors);
        if meter.stop_asked() {
            break;
        }
    }
    let took = clock::monotonic_ms() - start;
    Ok(vec![
        format!("{done} {errors} {took}"),
        first.unwrap_or_default(),
    ])
}

/// A set of neighbouring prefixes of one length that come, move and go in turn.
struct Churn {
    base: (Ipv4Addr, u8),
    count: u32,
    gateways: Vec<Ipv4Addr>,
}

impl Churn {
    /// A prime, so that steps visit all prefixes when `count` is no multiple of it.
    const STRIDE: u64 = 7_919;

    fn prefix(&self, at: u32) -> (Ipv4Addr, u8) {
        let (first, bits) = self.base;
        let step = 1u32.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        (
            Ipv4Addr::from_bits(first.to_bits().wrapping_add(at.wrapping_mul(step))),
            bits,
        )
    }

    /// `rate` steps a second (0: as fast as can be), `rounds` steps (0: until
    /// stopped). A step adds an absent prefix, moves one that is there to the next
    /// gateway, or deletes it after it had them all. What is left is deleted at the
    /// end. Counters and the reply's line: added, changed, deleted, errors.
    fn run(&self, rate: u64, rounds: u64, meter: &Meter) -> Outcome {
        if self.count == 0 || self.gateways.is_empty() {
            return Err(Failure::new("nothing to flap"));
        }
        let mut router = Router::open(false)?;
        let mut stages = vec![0usize; self.count as usize];
        let mut counts = [0u64; 4];
        let pace = Pace::per_second(rate);
        let mut step = 0u64;
        while (rounds == 0 || step < rounds) && !meter.stop_asked() {
            let at = step.wrapping_mul(Self::STRIDE) % u64::from(self.count);
            self.step(
                &mut router,
                at as u32,
                &mut stages[at as usize],
                &mut counts,
            );
            step += 1;
            publish(meter, &counts);
            pace.wait_for(step);
        }
        for (at, stage) in (0u32..).zip(&stages) {
            if *stage > 0 {
                let result = router.send(Verb::Delete, self.prefix(at), Target::Any, None);
                tally(&mut counts, Verb::Delete, result);
            }
        }
        publish(meter, &counts);
        Ok(vec![counts.map(|count| count.to_string()).join(" ")])
    }

    /// `stage` is 0 for an absent prefix, else one more than its gateway's place.
    fn step(&self, router: &mut Router, at: u32, stage: &mut usize, counts: &mut [u64; 4]) {
        let (verb, target) = match *stage {
            0 => (Verb::Add, Target::Gateway(self.gateways[0])),
            held if held < self.gateways.len() => {
                (Verb::Change, Target::Gateway(self.gateways[held]))
            }
            _ => (Verb::Delete, Target::Any),
        };
        let result = router.send(verb, self.prefix(at), target, None);
        if result.is_ok() {
            *stage = if verb == Verb::Delete { 0 } else { *stage + 1 };
        }
        tally(counts, verb, result);
    }
}

fn tally(counts: &mut [u64; 4], verb: Verb, result: Result<(), Errno>) {
    let at = match (result, verb) {
        (Err(_), _) => 3,
        (Ok(()), Verb::Change) => 1,
        (Ok(()), Verb::Delete) => 2,
        (Ok(()), _) => 0,
    };
    counts[at] += 1;
}

fn publish(meter: &Meter, counts: &[u64]) {
    for (slot, count) in counts.iter().enumerate() {
        meter.set(slot, *count);
    }
}
