// SPDX-License-Identifier: BSD-2-Clause
//! TCP streams of known bytes: a sender, a receiver that knows what must come, which
//! may leave it unread for a while, and a relay whose data never leaves the kernel.

use alloc::format;
use alloc::vec;
use core::ffi::{c_int, c_ulong};
use core::net::Ipv6Addr;

use super::address::{self, SocketAddress};
use super::clock::{self, Pace};
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Errno, Fd};
use crate::pattern::Pattern;

/// `FIONREAD` of `sys/filio.h`.
const FIONREAD: c_ulong = 0x4004_667f;
/// How long to wait for an event before the stop flag is looked at, in milliseconds.
const GLANCE_MS: c_int = 100;
/// `SO_RCVBUF` of a receiver that leaves its data unread, in bytes.
const UNREAD_BUFFER: c_int = 1 << 20;
/// What the sender writes at a time, by chance one of these, in bytes: less than an
/// mbuf holds, around a segment of either family, more than a cluster.
const WRITES: [usize; 12] = [
    1, 7, 64, 223, 1000, 1427, 1428, 1447, 1449, 2049, 4096, 16_384,
];
const LONGEST_WRITE: usize = 16_384;
/// The longest write of one size, in bytes.
const LONGEST_BULK: usize = 1 << 20;

/// `tcp serve PORT SEED [BYTES]` takes one connection of either family and holds what
/// comes against the bytes of `SEED`; with `BYTES` it first lets that many gather
/// unread, until it is told to stop. `tcp send TO PORT SEED BYTES [WRITE [RATE]]` sends them, in
/// writes of varied sizes, or of that many bytes, so many bytes a second (0: as they go). `tcp splice PORT TO TOPORT` takes one connection and
/// has the kernel move its data to another.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["serve", port, seed, unread @ ..] if unread.len() < 2 => {
            let pattern = Pattern::new(number(seed, "seed")?);
            let unread = unread.first().map(|word| number(word, "bytes"));
            serve(number(port, "port")?, &pattern, unread.transpose()?, meter)
        }
        ["send", to, port, seed, bytes, how @ ..] if how.len() < 3 => {
            let to = SocketAddress::new(address::parse(to)?, number(port, "port")?);
            let pattern = Pattern::new(number(seed, "seed")?);
            let write = how.first().map(|word| number(word, "write"));
            let rate = how.get(1).map_or(Ok(0), |word| number(word, "rate"))?;
            let bytes = number(bytes, "bytes")?;
            send(&to, &pattern, bytes, write.transpose()?, rate, meter)
        }
        ["splice", port, to, to_port] => {
            let to = SocketAddress::new(address::parse(to)?, number(to_port, "port")?);
            relay(number(port, "port")?, &to, meter)
        }
        _ => Err(Failure::usage(
            "tcp serve PORT SEED [BYTES] | send TO PORT SEED BYTES [WRITE [RATE]] | splice PORT TO TOPORT",
        )),
    }
}

/// Waits for one connection to `port`, of either family, with `receive_buffer` bytes
/// (0: as many as the kernel gives).
fn accept_one(port: u16, receive_buffer: c_int, meter: &Meter) -> Result<Fd, Failure> {
    let listener = Fd::socket(libc::AF_INET6, libc::SOCK_STREAM, 0)?;
    listener.set_option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    listener.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if receive_buffer != 0 {
        listener.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, receive_buffer)?;
    }
    let anywhere = SocketAddress::new(Ipv6Addr::UNSPECIFIED.into(), port);
    listener.bind(anywhere.as_bytes())?;
    listener.listen(1)?;
    meter.ready();
    while !listener.readable(GLANCE_MS)? {
        if meter.stop_asked() {
            return Err(Failure::new("stopped before a connection came"));
        }
    }
    Ok(listener.accept()?)
}

/// Counter and the reply's line: bytes received; those of them that differ. The
/// counter has the bytes that lie unread while they are left so.
fn serve(port: u16, pattern: &Pattern, unread: Option<u32>, meter: &Meter) -> Outcome {
    let buffer = unread.map_or(0, |_| UNREAD_BUFFER);
    let socket = accept_one(port, buffer, meter)?;
    if let Some(unread) = unread {
        leave_unread(&socket, unread, meter)?;
    }
    let (mut received, mut wrong) = (0u64, 0u64);
    let mut room = vec![0; 1 << 16];
    loop {
        let got = socket.read(&mut room)?;
        if got == 0 {
            return Ok(vec![format!("{received} {wrong}")]);
        }
        wrong += pattern.differences(received, &room[..got]);
        received += got as u64;
        meter.set(0, received);
    }
}

/// Reads nothing until the command is told to stop, which may be once `wanted` bytes
/// have come.
fn leave_unread(socket: &Fd, wanted: u32, meter: &Meter) -> Result<(), Failure> {
    loop {
        let mut there = 0u32;
        socket.ioctl(FIONREAD, &mut there)?;
        meter.set(0, there.into());
        if meter.stop_asked() {
            return match there {
                there if there < wanted => Err(Failure::new(format!(
                    "{there} of {wanted} bytes had come when asked to read them"
                ))),
                _ => Ok(()),
            };
        }
        sys::sleep(20_000_000);
    }
}

/// The reply's line: bytes sent, packets sent again, milliseconds until the peer had
/// taken all and closed.
fn send(
    to: &SocketAddress,
    pattern: &Pattern,
    bytes: u64,
    write: Option<usize>,
    rate: u64,
    meter: &Meter,
) -> Outcome {
    if write.is_some_and(|write| write == 0 || write > LONGEST_BULK) {
        return Err(Failure::new(format!(
            "a write has 1 to {LONGEST_BULK} bytes"
        )));
    }
    let start = clock::monotonic_ms();
    let socket = connect(to)?;
    // Each write shall become segments of its own.
    socket.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    let mut room = vec![0; write.unwrap_or(LONGEST_WRITE)];
    let mut sent = 0;
    let mut writes = 0;
    let pace = Pace::per_second(rate);
    while sent < bytes && !meter.stop_asked() {
        let choice = pattern.number(u64::MAX - writes) % WRITES.len() as u64;
        let size = write.unwrap_or(WRITES[choice as usize]);
        let size = size.min((bytes - sent) as usize);
        let piece = &mut room[..size];
        pattern.fill(sent, piece);
        socket.write_all(piece)?;
        sent += size as u64;
        writes += 1;
        meter.set(0, sent);
        pace.wait_for(sent);
    }
    socket.end_sending()?;
    expect_end(&socket)?;
    let about: libc::tcp_info = socket.option(libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let again = about.tcpi_snd_rexmitpack;
    let time = clock::monotonic_ms() - start;
    Ok(vec![format!("{sent} {again} {time}")])
}

fn connect(to: &SocketAddress) -> Result<Fd, Failure> {
    let socket = Fd::socket(to.family(), libc::SOCK_STREAM, 0)?;
    socket.connect(to.as_bytes())?;
    Ok(socket)
}

/// Waits for the peer to close, which must not send anything.
fn expect_end(socket: &Fd) -> Result<(), Failure> {
    match socket.read(&mut [0; 1])? {
        0 => Ok(()),
        _ => Err(Failure::new("the peer sent something")),
    }
}

/// The reply's line: bytes that the kernel moved forth, and back; bytes that it left
/// behind, which were copied here.
fn relay(port: u16, to: &SocketAddress, meter: &Meter) -> Outcome {
    let near = accept_one(port, 0, meter)?;
    let far = connect(to)?;
    for (source, sink) in [(&near, &far), (&far, &near)] {
        source.splice_to(sink)?;
    }
    let mut left_behind = 0;
    for (source, sink) in [(&near, &far), (&far, &near)] {
        // Not readable before the source's end, which also ends the splice.
        while !source.readable(GLANCE_MS)? {
            if meter.stop_asked() {
                return Err(Failure::new("stopped before the connection ended"));
            }
        }
        left_behind += copy_rest(source, sink)?;
        match sink.end_sending() {
            // The other side has closed already.
            Err(Errno(libc::ENOTCONN)) => {}
            other => other?,
        }
    }
    let (forth, back) = (near.spliced()?, far.spliced()?);
    Ok(vec![format!("{forth} {back} {left_behind}")])
}

/// Copies what is left to the end. A splice ends by itself when the source's end is
/// known and the sink has no room at that moment, with data still in the source
/// (`kern/uipc_socket.c`, `so_splice_xfer_data`).
fn copy_rest(source: &Fd, sink: &Fd) -> Result<u64, Failure> {
    let mut room = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let got = source.read(&mut room)?;
        if got == 0 {
            return Ok(copied);
        }
        sink.write_all(&room[..got])?;
        copied += got as u64;
    }
}
