// SPDX-License-Identifier: BSD-2-Clause
//! Routes of both families by the routing socket of `net/route.h`, one by one. The
//! FIB is that of the process (`fib N` in front).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::{c_int, c_ulong};
use core::mem::size_of;
use core::net::IpAddr;

use super::address::{self, Prefix, SocketAddress};
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Errno, Fd, Plain};
use super::{churn, table, visible};

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
pub(super) enum Verb {
    Add = 1,
    Delete = 2,
    Change = 3,
    Get = 4,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Target {
    Gateway(IpAddr),
    Blackhole,
    Reject,
    /// Not said, as a deletion may.
    Any,
}

/// `route add|change PREFIX GATEWAY|blackhole|reject [WEIGHT]`, `del PREFIX
/// [GATEWAY]`, `get ADDRESS`; the rest are [`table`]'s, [`churn`]'s and [`visible`]'s.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["add", prefix, target, weight @ ..] => one(Verb::Add, prefix, target, weight),
        ["change", prefix, target, weight @ ..] => one(Verb::Change, prefix, target, weight),
        ["del", prefix, target @ ..] => {
            one(Verb::Delete, prefix, target.first().unwrap_or(&"any"), &[])
        }
        ["get", address] => get(address),
        ["load" | "unload" | "keys", ..] => table::command(words, meter),
        ["flap" | "churn", ..] => churn::command(words, meter),
        ["visible", ..] => visible::command(words, meter),
        _ => Err(Failure::usage(
            "route add|change|del|get|load|unload|keys|flap|churn|visible ...",
        )),
    }
}

/// Addresses with commas between.
pub(super) fn parse_list(word: &str) -> Result<Vec<IpAddr>, Failure> {
    word.split(',').map(address::parse).collect()
}

fn parse_target(word: &str) -> Result<Target, Failure> {
    Ok(match word {
        "blackhole" => Target::Blackhole,
        "reject" => Target::Reject,
        "any" => Target::Any,
        gateway => Target::Gateway(address::parse(gateway)?),
    })
}

/// A routing socket, and the message that is being made.
pub(super) struct Router {
    socket: Fd,
    sequence: c_int,
    message: Vec<u8>,
}

impl Router {
    /// A socket to change routes by. It does not hear of anybody's changes: the
    /// kernel gives messages about routes to sockets of their family only.
    pub(super) fn for_changes() -> Result<Self, Failure> {
        let router = Self::open(libc::AF_LINK)?;
        router
            .socket
            .set_option(libc::SOL_SOCKET, libc::SO_USELOOPBACK, 0)?;
        Ok(router)
    }

    fn open(family: c_int) -> Result<Self, Failure> {
        Ok(Self {
            socket: Fd::socket(libc::PF_ROUTE, libc::SOCK_RAW, family)?,
            sequence: 0,
            message: Vec::with_capacity(256),
        })
    }

    /// Has the kernel do it; when this returns, it is done.
    pub(super) fn send(
        &mut self,
        verb: Verb,
        prefix: Prefix,
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
        let nowhere = address::localhost(prefix.first);
        let gateway = match target {
            Target::Gateway(gateway) => Some((gateway, GATEWAY)),
            Target::Blackhole => Some((nowhere, GATEWAY | BLACKHOLE)),
            Target::Reject => Some((nowhere, GATEWAY | REJECT)),
            Target::Any => None,
        };
        if let Some((_, flags)) = gateway {
            header.flags |= flags;
            header.addresses |= HAS_GATEWAY;
        }
        if prefix.is_host() {
            header.flags |= HOST;
        } else {
            header.addresses |= HAS_MASK;
        }
        let parts = [
            Some(prefix.first),
            gateway.map(|(gateway, _)| gateway),
            (!prefix.is_host()).then(|| prefix.mask()),
        ];
        self.write(header, &parts)
    }

    fn write(&mut self, mut header: Header, addresses: &[Option<IpAddr>]) -> Result<(), Errno> {
        self.message.clear();
        self.message.resize(size_of::<Header>(), 0);
        for address in addresses.iter().flatten() {
            self.message
                .extend_from_slice(SocketAddress::new(*address, 0).as_bytes());
            let padded = self.message.len().next_multiple_of(size_of::<c_ulong>());
            self.message.resize(padded, 0);
        }
        header.length = u16::try_from(self.message.len()).unwrap_or(u16::MAX);
        self.message[..size_of::<Header>()].copy_from_slice(sys::bytes_of(&header));
        self.socket.write(&self.message).map(drop)
    }

    /// The answer to the last message.
    fn answer(&self) -> Result<(Header, Vec<Option<IpAddr>>), Failure> {
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

/// The addresses of a message in their order; `None` for one of another family.
fn addresses(mut rest: &[u8]) -> Vec<Option<IpAddr>> {
    let mut list = Vec::new();
    while let [length, _, ..] = *rest {
        list.push(address::address_in(rest));
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
    let (prefix, target) = (Prefix::parse(prefix)?, parse_target(target)?);
    Router::for_changes()?.send(verb, prefix, target, weight)?;
    Ok(vec![])
}

/// One line: destination, gateway, `rtm_flags` in hexadecimal.
fn get(address: &str) -> Outcome {
    let host = Prefix::parse(address)?;
    let mut router = Router::open(address::family(host.first))?;
    router.send(Verb::Get, host, Target::Any, None)?;
    let (header, list) = router.answer()?;
    let mut parts = list.iter();
    let mut part = |bit: c_int| match header.addresses & bit {
        0 => "-".to_string(),
        _ => match parts.next() {
            Some(Some(address)) => address.to_string(),
            _ => "-".to_string(),
        },
    };
    let (destination, gateway) = (part(HAS_DESTINATION), part(HAS_GATEWAY));
    Ok(vec![format!("{destination} {gateway} {:x}", header.flags)])
}
