// SPDX-License-Identifier: BSD-2-Clause
//! TCP streams as fast as they go, several at a time, each end of each in a process of
//! its own; to measure with.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::net::Ipv6Addr;

use super::address::{self, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Fd};

/// What is written and read at a time, in bytes.
const CHUNK: usize = 1 << 16;
/// How long to wait for an event before the stop flag is looked at, in milliseconds.
const GLANCE_MS: c_int = 100;

/// `sink PORT STREAMS` takes so many connections of either family and all they bring.
/// The line: connections that ended well.
pub(super) fn sink(words: &[&str], meter: &Meter) -> Outcome {
    let [port, streams] = words else {
        return Err(Failure::usage("sink PORT STREAMS"));
    };
    let (port, streams): (u16, c_int) = (number(port, "port")?, number(streams, "streams")?);
    let listener = Fd::socket(libc::AF_INET6, libc::SOCK_STREAM, 0)?;
    listener.set_option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    listener.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let anywhere = SocketAddress::new(Ipv6Addr::UNSPECIFIED.into(), port);
    listener.bind(anywhere.as_bytes())?;
    listener.listen(streams)?;
    meter.ready();
    let mut children = Vec::new();
    for _ in 0..streams {
        while !listener.readable(GLANCE_MS)? {
            if meter.stop_asked() {
                return Err(Failure::new("stopped before all connections came"));
            }
        }
        let socket = listener.accept()?;
        children.push(in_child(|| take_all(&socket))?);
    }
    Ok(vec![format!("{}", ended_well(&children)?)])
}

fn take_all(socket: &Fd) -> sys::Result<()> {
    let mut room = vec![0; CHUNK];
    while socket.read(&mut room)? > 0 {}
    Ok(())
}

/// `pour TO PORT STREAMS BYTES` sends `BYTES` by each of so many connections. The line:
/// connections that ended well, nanoseconds since boot at the start, and when the peer
/// had taken all and closed.
pub(super) fn pour(words: &[&str]) -> Outcome {
    let [to, port, streams, bytes] = words else {
        return Err(Failure::usage("pour TO PORT STREAMS BYTES"));
    };
    let to = SocketAddress::new(address::parse(to)?, number(port, "port")?);
    let (streams, bytes): (usize, u64) = (number(streams, "streams")?, number(bytes, "bytes")?);
    let start = clock::monotonic_ns();
    let children = (0..streams).map(|_| in_child(|| send_all(&to, bytes)));
    let children: Vec<c_int> = children.collect::<Result<_, _>>()?;
    let well = ended_well(&children)?;
    let end = clock::monotonic_ns();
    Ok(vec![format!("{well} {start} {end}")])
}

fn send_all(to: &SocketAddress, mut bytes: u64) -> sys::Result<()> {
    let socket = Fd::socket(to.family(), libc::SOCK_STREAM, 0)?;
    socket.connect(to.as_bytes())?;
    let room = vec![0; CHUNK];
    while bytes > 0 {
        let size = bytes.min(CHUNK as u64);
        socket.write_all(&room[..size as usize])?;
        bytes -= size;
    }
    socket.end_sending()?;
    // The peer closes when it has read all.
    socket.read(&mut [0; 1]).map(drop)
}

/// Starts a process that does this and ends.
fn in_child(work: impl FnOnce() -> sys::Result<()>) -> Result<c_int, Failure> {
    match sys::fork()? {
        Some(pid) => Ok(pid),
        None => sys::exit(c_int::from(work().is_err())),
    }
}

/// How many of these processes, once all have ended, did so without an error.
fn ended_well(children: &[c_int]) -> Result<usize, Failure> {
    let mut well = 0;
    for &pid in children {
        let ended = sys::wait(pid, true)?;
        well += usize::from(matches!(ended, Some((_, 0))));
    }
    Ok(well)
}
