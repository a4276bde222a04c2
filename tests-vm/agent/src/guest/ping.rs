// SPDX-License-Identifier: BSD-2-Clause
//! ICMP echo by a raw socket (RFC 792).

use alloc::format;
use alloc::vec;
use core::ffi::c_int;

use super::address::{parse_v4, socket_address_v4};
use super::clock;
use super::command::{Failure, Outcome, number};
use super::sys::{self, Fd};

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// `ping ADDRESS COUNT TIMEOUT_MS`; the line says how many requests were answered.
pub(super) fn command(words: &[&str]) -> Outcome {
    let [address, count, timeout] = words else {
        return Err(Failure::usage("ping ADDRESS COUNT TIMEOUT_MS"));
    };
    let to = socket_address_v4(parse_v4(address)?, 0);
    let (count, timeout): (u16, u64) = (number(count, "count")?, number(timeout, "timeout")?);
    let socket = Fd::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)?;
    let id = (sys::getpid() as u16).to_be_bytes();
    let mut answered = 0;
    for sequence in 0..count {
        socket.send_to(&request(id, sequence.to_be_bytes()), sys::bytes_of(&to))?;
        answered += u32::from(answer(&socket, id, sequence.to_be_bytes(), timeout)?);
    }
    Ok(vec![format!("{answered} of {count}")])
}

fn request(id: [u8; 2], sequence: [u8; 2]) -> [u8; 8] {
    let mut packet = [
        ECHO_REQUEST,
        0,
        0,
        0,
        id[0],
        id[1],
        sequence[0],
        sequence[1],
    ];
    let sum: u32 = packet
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !(folded as u16);
    packet[2..4].copy_from_slice(&check.to_be_bytes());
    packet
}

/// Whether the reply to this request comes in time. Other ICMP passes by.
fn answer(socket: &Fd, id: [u8; 2], sequence: [u8; 2], timeout_ms: u64) -> Result<bool, Failure> {
    let deadline = clock::monotonic_ms() + timeout_ms;
    let mut buffer = [0; 2048];
    loop {
        let left = deadline.saturating_sub(clock::monotonic_ms());
        if left == 0 || !socket.readable(c_int::try_from(left).unwrap_or(c_int::MAX))? {
            return Ok(false);
        }
        let got = socket.receive(&mut buffer)?;
        let header = usize::from(buffer[0] & 0xf) * 4;
        let icmp = buffer[..got].get(header..).unwrap_or(&[]);
        if icmp.first() == Some(&ECHO_REPLY) && icmp.get(4..8) == Some(&[id, sequence].concat()[..])
        {
            return Ok(true);
        }
    }
}
