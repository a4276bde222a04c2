// SPDX-License-Identifier: BSD-2-Clause
//! How long it takes from a route's change until the stack routes by it.
//!
//! connect(2) of a UDP socket asks the FIB's lookup algorithm for a source address:
//! that of the interface over which the destination is reached now. So a route that
//! moves from one interface to another is watched from outside, without a packet.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::address::{self, Prefix, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::route::{Router, Target, Verb, parse_list};
use super::sys::{self, Fd};

/// How long a change may take to be seen, in nanoseconds.
const LIMIT: u64 = 10_000_000_000;

/// For so long it is asked on and on, then after pauses of one part in [`RESOLUTION`] of
/// the time so far.
const IMPATIENT: u64 = 1_000_000;
const RESOLUTION: u64 = 64;

/// `route visible PREFIX GATEWAY,GATEWAY LOCAL,LOCAL ROUNDS PAUSE_MS`: adds the prefix
/// by the first gateway, moves it to the other and back `ROUNDS` times with a pause
/// before each, and looks until its first address is reached from the local address
/// that belongs to the gateway. Counter: rounds. The line says the median, the 99th of
/// a hundred, and the most, in nanoseconds: of the writes to the routing socket, then
/// of the times from before the write until the change was seen.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    let ["visible", prefix, gateways, locals, rounds, pause] = words else {
        return Err(Failure::usage(
            "route visible PREFIX GATEWAY,GATEWAY LOCAL,LOCAL ROUNDS PAUSE_MS",
        ));
    };
    let prefix = Prefix::parse(prefix)?;
    let (gateways, locals) = (parse_list(gateways)?, parse_list(locals)?);
    let (&[first, _], &[_, _]) = (&gateways[..], &locals[..]) else {
        return Err(Failure::new("two gateways and two local addresses"));
    };
    let rounds: usize = number(rounds, "rounds")?;
    let pause = number::<u64>(pause, "pause")? * 1_000_000;
    let mut router = Router::for_changes()?;
    router.send(Verb::Add, prefix, Target::Gateway(first), None)?;
    let watch = Watch::new(prefix.first)?;
    let (mut writes, mut seen) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        if meter.stop_asked() {
            break;
        }
        sys::sleep(pause);
        let start = clock::monotonic_ns();
        let gateway = Target::Gateway(gateways[round % 2]);
        router.send(Verb::Change, prefix, gateway, None)?;
        writes.push(clock::monotonic_ns() - start);
        seen.push(watch.until(locals[round % 2], start)?);
        meter.set(0, round as u64);
    }
    router.send(Verb::Delete, prefix, Target::Any, None)?;
    Ok(vec![format!("{} {}", spread(writes), spread(seen))])
}

/// A socket that asks how the destination is reached.
struct Watch {
    socket: Fd,
    destination: SocketAddress,
}

impl Watch {
    fn new(destination: IpAddr) -> Result<Self, Failure> {
        let family = address::family(destination);
        Ok(Self {
            socket: Fd::socket(family, libc::SOCK_DGRAM, 0)?,
            // The discard service; nothing is sent.
            destination: SocketAddress::new(destination, 9),
        })
    }

    /// Asks until the answer is `local`; the time since `start`.
    fn until(&self, local: IpAddr, start: u64) -> Result<u64, Failure> {
        loop {
            let found = self.local()?;
            let passed = clock::monotonic_ns() - start;
            if found == local {
                return Ok(passed);
            }
            if passed > LIMIT {
                return Err(Failure::new(format!("still reached from {found}")));
            }
            if passed > IMPATIENT {
                sys::sleep(passed / RESOLUTION);
            }
        }
    }

    fn local(&self) -> Result<IpAddr, Failure> {
        self.socket.connect(self.destination.as_bytes())?;
        let mut room = [0; 128];
        let used = self.socket.local_address(&mut room)?;
        address::address_in(&room[..used]).ok_or(Failure::new("an address of another family"))
    }
}

/// Median, 99th of a hundred, and most.
fn spread(mut times: Vec<u64>) -> alloc::string::String {
    times.sort_unstable();
    let at = |percent: usize| {
        let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(place).copied().unwrap_or(0)
    };
    format!("{} {} {}", at(50), at(99), at(100))
}
