// SPDX-License-Identifier: BSD-2-Clause
//! Fragments of IPv6 through `weft:ipv6` and the system's reassembly, one packet at a time: in
//! any order, twice, overlapping in each way there is, atomic ones among others, tiny ones. What
//! arrives is counted by the system, and answered if it was put together rightly.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::ipv6_policy::{HARDWARE, HOST, LIMIT, OUTER, connect, figure, set};
use super::pair::{await_home, create_jail, destroy, other, remove_jail};
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::check::{ICMP6, checksum, pseudo};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ipv6-fragments",
    group: "ipv6-policy",
    about: "IPv6 fragments in any order, twice, overlapping in each way, atomic, tiny: what weft:ipv6 drops, what is put together, and what not",
    limit: Duration::from_secs(120),
    run,
    ..Scenario::ORDINARY
};

/// Bytes of the echo request that is sent in fragments: three of eight units of eight bytes.
const BYTES: usize = 192;
const UNIT: usize = 8;
/// A fragment of so many units, with all headers, is as long as must be.
const LEAST_UNITS: usize = 8;

/// A fragment: units before it, its own, whether more follow, whether its bytes are others than
/// the packet's.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    from: usize,
    units: usize,
    more: bool,
    is_other: bool,
}

const fn fragment(from: usize, units: usize) -> Fragment {
    Fragment {
        from,
        units,
        more: from + units < BYTES / UNIT,
        is_other: false,
    }
}

const A: Fragment = fragment(0, 8);
const B: Fragment = fragment(8, 8);
const C: Fragment = fragment(16, 8);
/// The whole packet with a fragment header.
const ATOMIC: Fragment = fragment(0, BYTES / UNIT);

const fn other_bytes(fragment: Fragment) -> Fragment {
    Fragment {
        is_other: true,
        ..fragment
    }
}

/// What becomes of fragments that are sent under one identification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Dropped as tiny, by the filter.
    tiny: u64,
    /// Counted as atomic, by the filter and by the system.
    atomic: [u64; 2],
    /// Come to the system.
    came: u64,
    /// Dropped by the system as they came.
    dropped: u64,
    /// Packets that were put together.
    whole: u64,
    /// Echoes that were answered.
    answered: u64,
}

/// A row of fragments: what it is, they, and packets put together, fragments dropped by the
/// system, answers.
type Row = (&'static str, &'static [Fragment], [u64; 3]);

const ROWS: [Row; 21] = [
    ("in order", &[A, B, C], [1, 0, 1]),
    ("the last one first", &[C, B, A], [1, 0, 1]),
    ("from the midst on", &[B, C, A], [1, 0, 1]),
    ("without the midst", &[A, C], [0, 0, 0]),
    ("the first one twice", &[A, A, B, C], [1, 1, 1]),
    ("the last one twice", &[C, C, A, B], [1, 1, 1]),
    (
        "each twice, and the last one too late",
        &[A, A, B, B, C],
        [1, 2, 1],
    ),
    (
        "twice with other bytes: those that came first count",
        &[B, other_bytes(B), A, C],
        [1, 1, 1],
    ),
    (
        "one that begins at the same place and is longer",
        &[A, fragment(0, 9), B, C],
        [0, 1, 0],
    ),
    (
        "one that begins at the same place and is shorter",
        &[fragment(0, 9), A, C],
        [0, 1, 0],
    ),
    (
        "one that begins before the end of another",
        &[A, fragment(7, 9), C],
        [0, 1, 0],
    ),
    (
        "one that ends behind the beginning of another",
        &[B, fragment(0, 9), C],
        [0, 1, 0],
    ),
    (
        "one inside of another",
        &[fragment(0, 16), fragment(4, 8), C],
        [0, 1, 0],
    ),
    (
        "one around another",
        &[fragment(4, 8), fragment(0, 16), C],
        [0, 1, 0],
    ),
    (
        "one that fills a gap and more, on both sides",
        &[A, C, fragment(7, 10)],
        [0, 1, 0],
    ),
    (
        "a last one that begins before the end of another",
        &[A, B, fragment(15, 9)],
        [0, 1, 0],
    ),
    (
        "overlapping with the bytes that it overlaps",
        &[A, other_bytes(fragment(0, 9)), B, C],
        [0, 1, 0],
    ),
    (
        "all again after some overlapped: another packet",
        &[A, fragment(7, 9), A, B, C],
        [1, 1, 1],
    ),
    ("an atomic one", &[ATOMIC], [0, 0, 1]),
    (
        "an atomic one under the number of others that wait",
        &[A, ATOMIC, B, C],
        [1, 0, 2],
    ),
    (
        "a short last one",
        &[fragment(0, 12), fragment(12, 11), fragment(23, 1)],
        [1, 0, 1],
    ),
];

/// Rows with fragments that the filter drops, and how many.
const TINY: [(Row, u64); 3] = [
    (
        (
            "a tiny first one",
            &[fragment(0, 1), fragment(1, 7), B, C],
            [0, 0, 0],
        ),
        2,
    ),
    (
        (
            "a tiny one in the midst",
            &[A, fragment(8, 7), fragment(15, 9)],
            [0, 0, 0],
        ),
        1,
    ),
    (
        (
            "tiny ones over others: nothing overlaps",
            &[A, fragment(8, 1), fragment(7, 2), B, C],
            [1, 0, 1],
        ),
        2,
    ),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    context.guest.call("sysctl set net.inet6.ip6.dad_count 0")?;
    create_jail(context, "outer")?;
    let pair = connect(context, "outer", OUTER, HOST[0])?;
    let far = other(&pair);
    context.guest.each(&[
        format!("ether mac {pair} {}", HARDWARE[0]),
        format!("in outer ether mac {far} {}", HARDWARE[1]),
    ])?;
    // So that answers find their way.
    let known = format!("in outer ping {} 1 5000", HOST[0]);
    context.guest.call_within(&known, LIMIT)?;
    context.guest.call("pfil first inet6 weft ipv6")?;
    let least = 48 + LEAST_UNITS * UNIT;
    set(context, "limit.fragment_bytes", least as u64)?;
    let rows = ROWS.iter().map(|row| (row, 0));
    let tiny = TINY.iter().map(|(row, tiny)| (row, *tiny));
    for (number, (row, tiny)) in (1..).zip(rows.chain(tiny)) {
        judged(context, &far, number, row, tiny)?;
    }
    context.guest.call("pfil unlink inet6 weft ipv6")?;
    remove_jail(context, "outer")?;
    await_home(context, &far)?;
    destroy(context, &pair)?;
    context.unload_weft()
}

/// Sends a row, and looks at what becomes of it.
fn judged(context: &mut Context<'_>, far: &str, number: u32, row: &Row, tiny: u64) -> Result<()> {
    let (what, fragments, [whole, dropped, answered]) = *row;
    let atomic = fragments.iter().filter(|one| one.units * UNIT == BYTES);
    let atomic = [atomic.count() as u64; 2];
    let expected = Outcome {
        tiny,
        atomic,
        came: fragments.len() as u64 - tiny,
        dropped,
        whole,
        answered,
    };
    let before = counted(context)?;
    for one in fragments {
        let hex: String = frame(*one, number)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        context
            .guest
            .call(&format!("in outer ether send {far} {hex}"))?;
    }
    let start = Instant::now();
    let mut found = Outcome::default();
    while start.elapsed() < LIMIT {
        found = counted(context)?.less(&before);
        // What is dropped in the end is counted before that.
        if found.came + found.tiny >= fragments.len() as u64 && found.answered >= answered {
            found = counted(context)?.less(&before);
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    context.report.equal(&found, &expected, what);
    Ok(())
}

/// What was counted so far.
fn counted(context: &mut Context<'_>) -> Result<Outcome> {
    let mut of_system = |at| context.guest.word("", "net.inet6.ip6.stats", at);
    // `ip6s_fragments`, `fragdropped`, `reassembled`, `atomicfrags` of `struct ip6stat`.
    let [came, dropped, whole, atomic] = [3, 4, 13, 14].map(&mut of_system);
    let (came, dropped, whole, atomic) = (came?, dropped?, whole?, atomic?);
    // `icp6s_outhist` of `struct icmp6stat`, of echo replies.
    let answered = context.guest.word("", "net.inet6.icmp6.stats", 3 + 129)?;
    Ok(Outcome {
        tiny: figure(context, "rule.fragment_tiny.dropped")?,
        atomic: [figure(context, "rule.fragment_atomic.applied")?, atomic],
        came,
        dropped,
        whole,
        answered,
    })
}

impl Outcome {
    fn less(&self, before: &Self) -> Self {
        Self {
            tiny: self.tiny - before.tiny,
            atomic: [0, 1].map(|n| self.atomic[n] - before.atomic[n]),
            came: self.came - before.came,
            dropped: self.dropped - before.dropped,
            whole: self.whole - before.whole,
            answered: self.answered - before.answered,
        }
    }
}

/// A fragment of an echo request of that number, as a frame.
fn frame(fragment: Fragment, number: u32) -> Vec<u8> {
    let [from, to] = [OUTER, HOST[0]].map(|text| {
        let address: Ipv6Addr = text.parse().unwrap_or(Ipv6Addr::UNSPECIFIED);
        address.octets()
    });
    let mut echo = vec![128, 0, 0, 0, 0x77, 0x77];
    echo.extend((number as u16).to_be_bytes());
    echo.extend((echo.len()..BYTES).map(|at| at as u8));
    let check = checksum(&echo, pseudo(&from, &to, ICMP6, echo.len()));
    echo[2..4].copy_from_slice(&check.to_be_bytes());
    let part = fragment.from * UNIT..(fragment.from + fragment.units) * UNIT;
    let mut part = echo[part].to_vec();
    if fragment.is_other {
        part.iter_mut().for_each(|byte| *byte ^= 0xff);
    }
    let mut frame: Vec<u8> = HARDWARE.into_iter().flat_map(hardware).collect();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((part.len() as u16 + 8).to_be_bytes());
    frame.extend([44, 64]);
    frame.extend(from.iter().chain(&to));
    let field = (fragment.from as u16) << 3 | u16::from(fragment.more);
    frame.extend([ICMP6, 0]);
    frame.extend(field.to_be_bytes());
    frame.extend(number.to_be_bytes());
    frame.extend(part);
    frame
}

fn hardware(text: &str) -> [u8; 6] {
    let number = u64::from_str_radix(text, 16).unwrap_or(0);
    let [_, _, address @ ..] = number.to_be_bytes();
    address
}
