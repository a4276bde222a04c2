// SPDX-License-Identifier: BSD-2-Clause
//! Numbered UDP packets: a sender that keeps a rate and a receiver that knows which
//! arrived, twice, late, or damaged.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_int;
use core::net::{IpAddr, Ipv6Addr};

use super::address::{self, SocketAddress};
use super::clock::{self, Pace};
use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::Fd;
use crate::pattern::Pattern;

const MAGIC: u32 = 0x7765_6674;
/// Magic, a word of padding, the packet's number.
const HEADER: usize = 16;
/// The longest packet that UDP carries in IPv4. The kernel has a limit of its own,
/// `net.inet.udp.maxdgram`.
const LONGEST: usize = 65_535 - 20 - 8;
/// `SO_RCVBUF` of the receiver, in bytes: emulated machines pause for long.
const RECEIVE_BUFFER: c_int = 1 << 20;
/// `SO_SNDBUF` of the sender, in bytes: room for the longest packet.
const SEND_BUFFER: c_int = 1 << 17;

/// `udp send DESTINATION PORT COUNT RATE [SPREAD [SIZE]]` sends packet `n` to
/// `DESTINATION + n % SPREAD`. `udp recv PORT COUNT IDLE_MS` takes those of both families and ends when `COUNT`
/// different packets have come, none has come for `IDLE_MS`, or it is stopped.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    match words {
        ["send", to, port, count, rate, rest @ ..] => Stream {
            first: address::parse(to)?,
            port: number(port, "port")?,
            count: number(count, "count")?,
            rate: number(rate, "rate")?,
            spread: rest.first().map_or(Ok(1), |word| number(word, "spread"))?,
            size: rest.get(1).map_or(Ok(64), |word| number(word, "size"))?,
        }
        .send(meter),
        ["recv", port, count, idle] => {
            let port = number(port, "port")?;
            receive(port, number(count, "count")?, number(idle, "idle")?, meter)
        }
        _ => Err(Failure::usage(
            "udp send TO PORT COUNT RATE [SPREAD [SIZE]] | recv PORT COUNT IDLE_MS",
        )),
    }
}

struct Stream {
    first: IpAddr,
    port: u16,
    count: u64,
    rate: u64,
    spread: u32,
    size: usize,
}

impl Stream {
    /// Counters and the reply's line: sent, refused by the stack, times it had no
    /// buffers and the packet was tried again.
    fn send(&self, meter: &Meter) -> Outcome {
        if self.spread == 0 || self.size < HEADER || self.size > LONGEST {
            return Err(Failure::new(format!(
                "spread is at least 1, size {HEADER} to {LONGEST}"
            )));
        }
        let socket = Fd::socket(address::family(self.first), libc::SOCK_DGRAM, 0)?;
        socket.set_option(libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER)?;
        let mut packet = vec![0; self.size];
        let (mut sent, mut refused, mut retries) = (0u64, 0u64, 0u64);
        let pace = Pace::per_second(self.rate);
        for sequence in 0..self.count {
            if meter.stop_asked() {
                break;
            }
            fill(sequence, &mut packet);
            let step = u32::try_from(sequence % u64::from(self.spread)).unwrap_or(0);
            let to = SocketAddress::new(address::following(self.first, step), self.port);
            loop {
                match socket.send_to(&packet, to.as_bytes()) {
                    Ok(_) => sent += 1,
                    Err(error) if error.0 == libc::ENOBUFS && !meter.stop_asked() => {
                        retries += 1;
                        super::sys::sleep(1_000_000);
                        continue;
                    }
                    Err(_) => refused += 1,
                }
                break;
            }
            meter.set(0, sent);
            meter.set(1, refused);
            meter.set(2, retries);
            pace.wait_for(sequence + 1);
        }
        Ok(vec![format!("{sent} {refused} {retries}")])
    }
}

/// What a receiver of numbered packets has seen.
pub(super) struct Arrivals {
    seen: Vec<u64>,
    received: u64,
    distinct: u64,
    late: u64,
    damaged: u64,
    highest: Option<u64>,
}

impl Arrivals {
    /// Nothing so far, of so many that are to come.
    pub(super) fn new(count: u64) -> Self {
        let words = usize::try_from(count.div_ceil(64)).unwrap_or(0);
        Self {
            seen: vec![0; words],
            received: 0,
            distinct: 0,
            late: 0,
            damaged: 0,
            highest: None,
        }
    }

    /// Takes a packet of that number; of none, if it is damaged.
    pub(super) fn note(&mut self, number: Option<u64>) {
        self.received += 1;
        let word = number.and_then(|number| self.seen.get_mut(usize::try_from(number / 64).ok()?));
        let (Some(number), Some(word)) = (number, word) else {
            self.damaged += 1;
            return;
        };
        let bit = 1u64 << (number % 64);
        self.distinct += u64::from(*word & bit == 0);
        *word |= bit;
        self.late += u64::from(self.highest.is_some_and(|highest| number < highest));
        self.highest = self.highest.max(Some(number));
    }

    /// Whether so many different ones have come.
    pub(super) fn are_all(&self, count: u64) -> bool {
        self.distinct >= count
    }

    /// Shows the first two of the reply's numbers.
    pub(super) fn show(&self, meter: &Meter) {
        meter.set(0, self.received);
        meter.set(1, self.distinct);
    }

    /// The reply's line: received, different ones, late ones (a higher number came before),
    /// damaged ones.
    pub(super) fn line(&self) -> String {
        let Self {
            received,
            distinct,
            late,
            damaged,
            ..
        } = self;
        format!("{received} {distinct} {late} {damaged}")
    }
}

/// What a numbered packet of that size has in it.
pub(super) fn fill(sequence: u64, packet: &mut [u8]) {
    let Some((header, filler)) = packet.split_at_mut_checked(HEADER) else {
        return;
    };
    header[..4].copy_from_slice(&MAGIC.to_be_bytes());
    header[8..].copy_from_slice(&sequence.to_be_bytes());
    Pattern::new(sequence).fill(0, filler);
}

/// The number in a packet of ours; `None` if it is none or a byte of it is not as it
/// was sent.
pub(super) fn number_of(packet: &[u8]) -> Option<u64> {
    let (header, filler) = packet.split_at_checked(HEADER)?;
    let number = u64::from_be_bytes(header[8..].try_into().ok()?);
    let whole = header.starts_with(&MAGIC.to_be_bytes())
        && Pattern::new(number).differences(0, filler) == 0;
    whole.then_some(number)
}

/// Counters and the reply's line: those of [`Arrivals::line`].
fn receive(port: u16, count: u64, idle_ms: u64, meter: &Meter) -> Outcome {
    let socket = Fd::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    socket.set_option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    socket.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER)?;
    let anywhere = SocketAddress::new(Ipv6Addr::UNSPECIFIED.into(), port);
    socket.bind(anywhere.as_bytes())?;
    let mut arrivals = Arrivals::new(count);
    let mut buffer = vec![0; LONGEST];
    let mut last = clock::monotonic_ms();
    meter.ready();
    while !arrivals.are_all(count) && !meter.stop_asked() {
        if socket.readable(100)? {
            let got = socket.receive(&mut buffer)?;
            arrivals.note(number_of(&buffer[..got]));
            last = clock::monotonic_ms();
        } else if clock::monotonic_ms() - last > idle_ms {
            break;
        }
        arrivals.show(meter);
    }
    Ok(vec![arrivals.line()])
}
