// SPDX-License-Identifier: BSD-2-Clause
//! One UDP packet at a time, there and back: how long each takes.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::address::{self, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::flood;
use super::job::Meter;
use super::sys::{self, Fd};

/// The longest packet, in bytes.
const LONGEST: usize = 9_000;
/// How long either side waits for a packet at a time, in microseconds.
const GLANCE_US: i64 = 200_000;
/// Packets at first that are not counted: the first ones find nothing in any cache.
const WARM_UP: u64 = 16;
/// Parts of a thousand that took no longer.
const SHARES: [usize; 4] = [500, 900, 990, 999];

/// `pong PORT` sends each packet of either family back to where it came from, until it is
/// stopped. The line: packets.
pub(super) fn pong(words: &[&str], meter: &Meter) -> Outcome {
    let [port] = words else {
        return Err(Failure::usage("pong PORT"));
    };
    let socket = flood::listening(number(port, "port")?)?;
    wait_at_most(&socket, GLANCE_US)?;
    let mut buffer = vec![0; LONGEST];
    let mut packets = 0u64;
    meter.ready();
    while !meter.stop_asked() {
        let mut from = sys::zeroed::<libc::sockaddr_in6>();
        match socket.receive_from(&mut buffer, &mut from) {
            Ok(got) => {
                socket.send_to(&buffer[..got], sys::bytes_of(&from))?;
                packets += 1;
            }
            Err(error) if error.0 == libc::EAGAIN => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(vec![format!("{packets}")])
}

/// `pingpong TO PORT SIZE COUNT` sends a packet, waits until it is back, and so on. The
/// line, in nanoseconds: the times that 50, 90, 99 and 99.9% of them took at most, the
/// longest, the mean; and packets that did not come back in time.
pub(super) fn ping(words: &[&str], meter: &Meter) -> Outcome {
    let [to, port, size, count] = words else {
        return Err(Failure::usage("pingpong TO PORT SIZE COUNT"));
    };
    let to = SocketAddress::new(address::parse(to)?, number(port, "port")?);
    let (size, count): (usize, u64) = (number(size, "size")?, number(count, "count")?);
    if size > LONGEST || count == 0 {
        return Err(Failure::new(format!(
            "size is at most {LONGEST}, count at least 1"
        )));
    }
    let socket = Fd::socket(to.family(), libc::SOCK_DGRAM, 0)?;
    socket.connect(to.as_bytes())?;
    wait_at_most(&socket, GLANCE_US)?;
    let (packet, mut buffer) = (vec![0; size], vec![0; LONGEST]);
    let mut times = Vec::new();
    let mut lost = 0u64;
    for turn in 0..WARM_UP + count {
        if meter.stop_asked() {
            break;
        }
        let start = clock::monotonic_ns();
        socket.write(&packet)?;
        match socket.read(&mut buffer) {
            Ok(_) if turn < WARM_UP => {}
            Ok(_) => times.push(clock::monotonic_ns() - start),
            Err(error) if error.0 == libc::EAGAIN => lost += 1,
            Err(error) => return Err(error.into()),
        }
    }
    summary(&mut times, lost)
}

fn summary(times: &mut [u64], lost: u64) -> Outcome {
    times.sort_unstable();
    let (Some(longest), Some(last)) = (times.last(), times.len().checked_sub(1)) else {
        return Err(Failure::new("no packet came back"));
    };
    let shares = SHARES.map(|share| times[(times.len() * share / 1000).min(last)]);
    let [half, most, nearly, all_but] = shares;
    let mean = times.iter().sum::<u64>() / times.len() as u64;
    Ok(vec![format!(
        "{half} {most} {nearly} {all_but} {longest} {mean} {lost}"
    )])
}

/// Has reading fail with `EAGAIN` if nothing comes in time.
fn wait_at_most(socket: &Fd, microseconds: i64) -> Result<(), Failure> {
    let mut limit = sys::zeroed::<libc::timeval>();
    limit.tv_usec = microseconds;
    Ok(socket.set_option(libc::SOL_SOCKET, libc::SO_RCVTIMEO, limit)?)
}
