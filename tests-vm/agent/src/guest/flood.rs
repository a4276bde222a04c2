// SPDX-License-Identifier: BSD-2-Clause
//! UDP packets as fast as they go, to measure with: a sender that never waits, and a
//! receiver that only counts.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::net::{IpAddr, Ipv6Addr};

use super::address::{self, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::Fd;

/// `SO_RCVBUF` of the receiver, in bytes.
const RECEIVE_BUFFER: c_int = 1 << 20;
/// The longest packet of either command, in bytes.
const LONGEST: usize = 65_507;
/// How many packets a sender sends before it looks at the clock.
const STRIDE: u64 = 16;
/// How long the receiver waits for a packet at a time, in milliseconds.
const GLANCE_MS: c_int = 10;
/// How long a receiver that has asked for packets waits for the first one, in nanoseconds.
const FIRST_NS: u64 = 1_000_000_000;

/// `flood TO PORT SIZE FLOWS PACKETS MS` sends from so many ports in turn until it has
/// sent that many packets or for that long (0: no limit), or is stopped. A packet of 8 bytes
/// or more begins with a number, which grows.
pub(super) fn flood(words: &[&str], meter: &Meter) -> Outcome {
    let [to, port, size, flows, packets, ms] = words else {
        return Err(Failure::usage("flood TO PORT SIZE FLOWS PACKETS MS"));
    };
    let sockets = connected(
        address::parse(to)?,
        number(port, "port")?,
        number(flows, "flows")?,
    )?;
    let size: usize = number(size, "size")?;
    let (packets, ms): (u64, u64) = (number(packets, "packets")?, number(ms, "time")?);
    if sockets.is_empty() || size > LONGEST {
        return Err(Failure::new(format!(
            "there is at least 1 flow, and size is at most {LONGEST}"
        )));
    }
    Ok(vec![send(&sockets, &mut vec![0; size], packets, ms, meter)])
}

/// A socket for each flow: the kernel gives each a port of its own.
fn connected(to: IpAddr, port: u16, flows: usize) -> Result<Vec<Fd>, Failure> {
    let to = SocketAddress::new(to, port);
    let one = |_| {
        let socket = Fd::socket(to.family(), libc::SOCK_DGRAM, 0)?;
        socket.connect(to.as_bytes())?;
        Ok(socket)
    };
    (0..flows).map(one).collect()
}

/// The line: packets that the stack took, that it had no room for (`ENOBUFS`), and that
/// failed otherwise; nanoseconds since boot at the start and at the end.
fn send(sockets: &[Fd], packet: &mut [u8], packets: u64, ms: u64, meter: &Meter) -> String {
    let (mut taken, mut full, mut failed) = (0u64, 0u64, 0u64);
    let start = clock::monotonic_ns();
    let end = ms.checked_mul(1_000_000).filter(|&time| time > 0);
    let mut turns = sockets.iter().cycle();
    let mut tried = 0;
    while packets == 0 || tried < packets {
        let Some(socket) = turns.next() else { break };
        if let Some(number) = packet.first_chunk_mut() {
            *number = u64::to_be_bytes(tried);
        }
        match socket.write(packet) {
            Ok(_) => taken += 1,
            Err(error) if error.0 == libc::ENOBUFS => full += 1,
            Err(_) => failed += 1,
        }
        tried += 1;
        if tried.is_multiple_of(STRIDE) {
            let late = end.is_some_and(|time| clock::monotonic_ns() - start >= time);
            if late || meter.stop_asked() {
                break;
            }
        }
    }
    let stop = clock::monotonic_ns();
    format!("{taken} {full} {failed} {start} {stop}")
}

/// `drain PORT IDLE_MS [TO TO_PORT]` counts the packets of either family that come, and ends
/// when none has come for `IDLE_MS` since the first, or when it is stopped. When it misses none
/// any more, it sends one, and does not wait for the first for longer than a second. The line: packets, bytes, nanoseconds since boot at the first and at
/// the last of them.
pub(super) fn drain(words: &[&str], meter: &Meter) -> Outcome {
    let (port, idle, to) = match words {
        [port, idle] => (port, idle, None),
        [port, idle, to, to_port] => (port, idle, Some((to, to_port))),
        _ => return Err(Failure::usage("drain PORT IDLE_MS [TO TO_PORT]")),
    };
    let (port, idle): (u16, u64) = (number(port, "port")?, number(idle, "idle")?);
    let socket = listening(port)?;
    let mut buffer = vec![0; LONGEST];
    let (mut packets, mut bytes, mut first, mut last) = (0u64, 0u64, 0, 0);
    let mut counted = 0;
    let start = clock::monotonic_ns();
    meter.ready();
    if let Some((to, to_port)) = to {
        for socket in connected(address::parse(to)?, number(to_port, "port")?, 1)? {
            socket.write(&[0; 8])?;
        }
    }
    while !meter.stop_asked() {
        match socket.receive(&mut buffer) {
            Ok(got) => {
                if packets == 0 {
                    first = clock::monotonic_ns();
                }
                bytes += got as u64;
                packets += 1;
            }
            Err(error) if error.0 == libc::EAGAIN => {
                // What came last has come by now.
                if packets > counted {
                    (counted, last) = (packets, clock::monotonic_ns());
                    meter.set(0, packets);
                }
                let is_quiet = !socket.readable(GLANCE_MS)?;
                let now = clock::monotonic_ns();
                let is_over = match packets {
                    0 => to.is_some() && now - start > FIRST_NS,
                    _ => now - last > idle * 1_000_000,
                };
                if is_quiet && is_over {
                    break;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(vec![format!("{packets} {bytes} {first} {last}")])
}

/// A socket that takes packets of either family.
pub(super) fn listening(port: u16) -> Result<Fd, Failure> {
    let socket = Fd::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    socket.set_option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    let anywhere = SocketAddress::new(Ipv6Addr::UNSPECIFIED.into(), port);
    socket.bind(anywhere.as_bytes())?;
    Ok(socket)
}
