// SPDX-License-Identifier: BSD-2-Clause
//! IPv4 multicast: numbered packets to a group, and who gets them.

use alloc::format;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use super::address::{self, SocketAddress};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Fd};

/// How long a receiver waits for a packet at a time, in milliseconds.
const GLANCE_MS: i32 = 50;

/// `group send GROUP PORT FROM COUNT` sends so many packets by the interface that has the
/// address `FROM`. `group recv GROUP PORT AT MS` joins the group on the interface that has
/// the address `AT`, and counts packets to the port for that long, or until it is stopped;
/// with `-` for `GROUP` it joins none. Counter and the reply's line: packets.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["send", group, port, from, count] => {
            let to = SocketAddress::new(address::parse(group)?, number(port, "port")?);
            let socket = Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            let from = in_address(from)?;
            socket.set_option(libc::IPPROTO_IP, libc::IP_MULTICAST_IF, from)?;
            for _ in 0..number::<u32>(count, "count")? {
                socket.send_to(&[7; 64], to.as_bytes())?;
            }
            Ok(vec![])
        }
        ["recv", group, port, at, ms] => {
            let socket = Fd::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            let anywhere = Ipv4Addr::UNSPECIFIED.into();
            socket.bind(SocketAddress::new(anywhere, number(port, "port")?).as_bytes())?;
            if *group != "-" {
                let membership = [in_address(group)?, in_address(at)?];
                let bytes = [membership[0].to_ne_bytes(), membership[1].to_ne_bytes()];
                let bytes: [u8; 8] = sys::read_plain(bytes.as_flattened())
                    .ok_or(Failure::new("a membership has eight bytes"))?;
                socket.set_option(libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, bytes)?;
            }
            count(&socket, number(ms, "time")?, meter)
        }
        _ => Err(Failure::usage(
            "group send GROUP PORT FROM COUNT | recv GROUP|- PORT AT MS",
        )),
    }
}

/// `struct in_addr`, in network order.
fn in_address(word: &str) -> Result<u32, Failure> {
    match address::parse(word)? {
        IpAddr::V4(address) => Ok(address.to_bits().to_be()),
        IpAddr::V6(_) => Err(Failure::new(format!("{word} is not of IPv4"))),
    }
}

fn count(socket: &Fd, ms: u64, meter: &Meter) -> Outcome {
    let end = clock::monotonic_ms() + ms;
    let mut packets = 0u64;
    meter.ready();
    while clock::monotonic_ms() < end && !meter.stop_asked() {
        if socket.readable(GLANCE_MS)? {
            socket.receive(&mut [0; 128])?;
            packets += 1;
            meter.set(0, packets);
        }
    }
    Ok(vec![format!("{packets}")])
}
