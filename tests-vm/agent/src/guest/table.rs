// SPDX-License-Identifier: BSD-2-Clause
//! A whole table of routes from a file, which `tests-vm/src/table.rs` writes.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Prefix;
use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::route::{Router, Target, Verb, parse_list};
use super::sys::{Errno, Fd};
use super::sysctl;

/// What a file begins with.
const MAGIC_V4: &[u8; 8] = b"weftrib4";
const MAGIC_V6: &[u8; 8] = b"weftrib6";
/// Bytes of a record beside its address: prefix length, a number that picks the
/// gateway, two of nothing.
const TAIL: usize = 4;

/// Routes that follow one another in the file and differ together.
const RUN: u64 = 64;
/// Of so many runs, one differs.
const ONE_OF: u64 = 100;

/// A table file in memory: records of an address in network order and [`TAIL`].
pub(super) struct Table {
    records: Vec<u8>,
    address_bytes: usize,
}

impl Table {
    pub(super) fn read(path: &str) -> Result<Self, Failure> {
        let mut records = Fd::open(path, libc::O_RDONLY)?.read_to_end()?;
        let address_bytes = match records.first_chunk() {
            Some(MAGIC_V4) => 4,
            Some(MAGIC_V6) => 16,
            _ => return Err(Failure::new(format!("{path} is no table"))),
        };
        records.drain(..MAGIC_V4.len());
        match records.len() % (address_bytes + TAIL) {
            0 => Ok(Self {
                records,
                address_bytes,
            }),
            _ => Err(Failure::new(format!("{path} ends within a record"))),
        }
    }

    /// How many routes it has.
    pub(super) fn len(&self) -> usize {
        self.records.len() / (self.address_bytes + TAIL)
    }

    /// Route number `at`, and the number that picks its gateway.
    pub(super) fn route(&self, at: usize) -> (Prefix, usize) {
        let size = self.address_bytes + TAIL;
        let record = &self.records[at * size..][..size];
        let (address, tail) = record.split_at(self.address_bytes);
        let first = match address.try_into() {
            Ok(octets) => IpAddr::V4(Ipv4Addr::from_octets(octets)),
            Err(_) => {
                let octets = address.first_chunk().copied().unwrap_or_default();
                IpAddr::V6(Ipv6Addr::from_octets(octets))
            }
        };
        let prefix = Prefix {
            first,
            bits: tail[0],
        };
        (prefix, usize::from(tail[1]))
    }
}

/// `route load FILE GATEWAY,... [VARIANT [COUNT]]` adds the routes of the file, or
/// `COUNT` of them that lie evenly in it; in variant 1 and up one of a hundred
/// leads elsewhere, in runs, which differ from variant to variant. `unload FILE
/// [COUNT]` removes them. Counters: routes done, errors. The first line says routes,
/// errors, milliseconds; the second the first error.
///
/// `route keys FILE COUNT NODE` writes an address inside each of `COUNT` prefixes that
/// lie evenly in the file to sysctl `NODE`, as text; the line says how many.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["load", file, gateways, rest @ ..] => {
            let variant = rest.first().map_or(Ok(0), |word| number(word, "variant"))?;
            let count = rest.get(1).map(|word| number(word, "count")).transpose()?;
            load(file, &parse_list(gateways)?, variant, count, meter)
        }
        ["unload", file, rest @ ..] => {
            let table = Table::read(file)?;
            let count = rest
                .first()
                .map_or(Ok(table.len()), |word| number(word, "count"))?;
            each_route(&table, count, meter, |router, prefix, _, _| {
                router.send(Verb::Delete, prefix, Target::Any, None)
            })
        }
        ["keys", file, count, node] => {
            let count = keys(&Table::read(file)?, number(count, "count")?, node)?;
            Ok(vec![format!("{count}")])
        }
        _ => Err(Failure::usage(
            "route load FILE GATEWAYS [VARIANT [COUNT]] | unload FILE [COUNT] | keys FILE COUNT NODE",
        )),
    }
}

fn keys(table: &Table, count: usize, node: &str) -> Result<usize, Failure> {
    let count = count.min(table.len());
    for place in 0..count {
        let (prefix, _) = table.route(place * table.len() / count);
        let seed = place as u64;
        let bits = u128::from(spread(seed)) << 64 | u128::from(spread(!seed));
        sysctl::set(node, &format!("{}", prefix.address_in(bits)))?;
    }
    Ok(count)
}

fn load(
    path: &str,
    gateways: &[IpAddr],
    variant: u64,
    count: Option<usize>,
    meter: &Meter,
) -> Outcome {
    let table = Table::read(path)?;
    let count = count.unwrap_or(table.len());
    each_route(&table, count, meter, |router, prefix, pick, place| {
        let pick = pick + detour(variant, place as u64, gateways.len());
        let gateway = gateways[pick % gateways.len()];
        router.send(Verb::Add, prefix, Target::Gateway(gateway), None)
    })
}

/// How many gateways further the route at `place` leads in a variant of the table.
fn detour(variant: u64, place: u64, gateways: usize) -> usize {
    let run = place / RUN;
    let drawn = spread(spread(variant) ^ run);
    if variant == 0 || gateways < 2 || !drawn.is_multiple_of(ONE_OF) {
        return 0;
    }
    1 + (drawn / ONE_OF) as usize % (gateways - 1)
}

/// A hash of 64 bits: the output step of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
fn spread(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Does the same to `count` routes that lie evenly in the table: `act` gets each,
/// the number of its gateway, and its place among the `count`.
fn each_route(
    table: &Table,
    count: usize,
    meter: &Meter,
    act: impl Fn(&mut Router, Prefix, usize, usize) -> Result<(), Errno>,
) -> Outcome {
    let count = count.min(table.len());
    let mut router = Router::for_changes()?;
    let start = clock::monotonic_ms();
    let (mut done, mut errors, mut first) = (0u64, 0u64, None);
    for place in 0..count {
        let (prefix, pick) = table.route(place * table.len() / count);
        match act(&mut router, prefix, pick, place) {
            Ok(()) => done += 1,
            Err(error) => {
                errors += 1;
                first.get_or_insert_with(|| format!("{prefix}: {error}"));
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
