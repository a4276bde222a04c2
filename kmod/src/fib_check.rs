// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.fib.check`: does the lookup algorithm answer as the route table?
//!
//! Writing N compares N addresses drawn from announced prefixes and N drawn at
//! random, for the FIB and the network stack of the process that writes. Each
//! batch is compared under the table's read lock, so routes may change meanwhile:
//! a change is in both or in neither.

use core::sync::atomic::Ordering;

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::Route;
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::memory;
use crate::kpi::rib::{Rib4, SideBySide};
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};
use crate::kpi::vnet;

/// The most keys of a kind that may be asked for.
const MOST: u64 = 100_000_000;
/// Announced prefixes that are drawn at a time, to draw addresses from.
const SAMPLE: u64 = 65_536;
/// How often, at most, prefixes are drawn: each time the table's read lock is
/// held while it is walked.
const DRAWS: u64 = 16;
/// Addresses that are compared under one hold of the lock.
const BATCH: u64 = 64;
/// Mismatches that are logged one by one.
const LOGGED: u64 = 8;
/// How often, and after how many milliseconds each, an algorithm that waits to be
/// rebuilt is asked again.
const LAG_TRIES: u32 = 100;
const LAG_PAUSE_MS: u32 = 50;

struct Check;

impl Number for Check {
    fn read(_sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        vnet::state(vnet).check_keys.load(Ordering::Relaxed)
    }

    fn write(sleepable: &mut Sleepable, vnet: &Vnet<'_>, keys: u64) -> Result<(), Errno> {
        if !(1..=MOST).contains(&keys) {
            log::warning(format_args!(
                "net.weft.fib.check={keys}: refused, allowed are 1 to {MOST}"
            ));
            return Err(Errno::EINVAL);
        }
        let rib = Rib4::of_current_process(sleepable, vnet).ok_or(Errno::ENOENT)?;
        let outcome = run(sleepable, &rib, keys);
        let (tally, result) = match outcome {
            Ok(tally) => (tally, Ok(())),
            Err((tally, error)) => (tally, Err(error)),
        };
        let state = vnet::state(vnet);
        state.check_keys.store(keys, Ordering::Relaxed);
        state
            .check_compared
            .store(tally.compared, Ordering::Relaxed);
        state
            .check_mismatches
            .store(tally.mismatches, Ordering::Relaxed);
        result?;
        if tally.mismatches > 0 {
            log::error(format_args!(
                "net.weft.fib.check: FIB {}: {} of {} answers differ from the route table",
                rib.fib(),
                tally.mismatches,
                tally.compared
            ));
            return Err(Errno::EIO);
        }
        Ok(())
    }
}

struct Compared;

impl Number for Compared {
    fn read(_sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        vnet::state(vnet).check_compared.load(Ordering::Relaxed)
    }
}

struct Mismatches;

impl Number for Mismatches {
    fn read(_sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        vnet::state(vnet).check_mismatches.load(Ordering::Relaxed)
    }
}

/// Adds this file's part of `net.weft.fib`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    tree.number::<Check>(
        node,
        c"check",
        Access::READ | Access::WRITE | Access::VNET,
        c"Write N, 1 to 100000000, to compare weft4 with the route table of this process's FIB \
          for N announced and N random addresses; fails with EIO if an answer differs",
    )?;
    tree.number::<Compared>(
        node,
        c"check_compared",
        Access::READ | Access::VNET | Access::STATS,
        c"Addresses that the last check compared",
    )?;
    tree.number::<Mismatches>(
        node,
        c"check_mismatches",
        Access::READ | Access::VNET | Access::STATS,
        c"Addresses for which the last check found another answer in the route table; 0 is right",
    )
}

/// What a check has found so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    compared: u64,
    mismatches: u64,
}

/// Compares `keys` addresses of each kind.
fn run(sleepable: &mut Sleepable, rib: &Rib4<'_>, keys: u64) -> Result<Tally, (Tally, Errno)> {
    let mut random = Random::new();
    let mut tally = Tally::default();
    let room = keys.min(SAMPLE).min(u64::from(rib.prefixes()));
    let nothing = Route {
        prefix: 0,
        length: 0,
    };
    let mut sample =
        memory::filled(sleepable, nothing, room as usize).map_err(|error| (tally, error))?;
    let mut left = keys;
    while left > 0 && !sample.is_empty() {
        let drawn = draw(sleepable, rib, &mut random, &mut sample);
        let Some(prefixes) = sample.get(..drawn).filter(|p| !p.is_empty()) else {
            break;
        };
        let part = left.min(SAMPLE.max(keys.div_ceil(DRAWS)));
        let address = |random: &mut Random| {
            let route = prefixes
                .get(random.below(prefixes.len() as u64) as usize)
                .copied()
                .unwrap_or(nothing);
            let host = u32::MAX.checked_shr(u32::from(route.length)).unwrap_or(0);
            route.prefix | (random.next() as u32 & host)
        };
        compare(sleepable, rib, &mut random, &mut tally, part, address)?;
        left -= part;
    }
    let address = |random: &mut Random| random.next() as u32;
    compare(sleepable, rib, &mut random, &mut tally, keys, address)?;
    Ok(tally)
}

/// Fills the sample with prefixes of the table, each as likely as any other
/// (reservoir sampling, Vitter's algorithm R), and returns how many there were.
fn draw(
    sleepable: &mut Sleepable,
    rib: &Rib4<'_>,
    random: &mut Random,
    sample: &mut [Route],
) -> usize {
    let mut seen = 0u64;
    let room = sample.len() as u64;
    rib.for_each(sleepable, |route| {
        let place = if seen < room {
            seen
        } else {
            random.below(seen + 1)
        };
        if let Some(slot) = sample.get_mut(place as usize) {
            *slot = route;
        }
        seen += 1;
    });
    seen.min(room) as usize
}

/// Compares `keys` addresses in batches.
fn compare(
    sleepable: &mut Sleepable,
    rib: &Rib4<'_>,
    random: &mut Random,
    tally: &mut Tally,
    keys: u64,
    address: impl Fn(&mut Random) -> u32,
) -> Result<(), (Tally, Errno)> {
    let mut left = keys;
    let mut lag = 0;
    while left > 0 {
        kernel::check_interrupted(sleepable).map_err(|error| (*tally, error))?;
        let batch = left.min(BATCH);
        let compared = rib.beside_algorithm(sleepable, |both| {
            both.in_step()
                .then(|| compare_batch(both, rib.fib(), random, tally, batch, &address))
        });
        match compared {
            None => {
                log::warning(format_args!(
                    "net.weft.fib.check: FIB {} uses another algorithm; \
                     sysctl net.route.algo.inet.algo=weft4",
                    rib.fib()
                ));
                return Err((*tally, Errno::ENOENT));
            }
            Some(Some(())) => {
                left -= batch;
                lag = 0;
            }
            Some(None) if lag < LAG_TRIES => {
                lag += 1;
                kernel::pause_ms(sleepable, LAG_PAUSE_MS);
            }
            Some(None) => {
                log::warning(format_args!(
                    "net.weft.fib.check: FIB {} waits to be rebuilt, try again later",
                    rib.fib()
                ));
                return Err((*tally, Errno::EBUSY));
            }
        }
    }
    Ok(())
}

/// Compares one batch while no route changes.
fn compare_batch(
    both: &SideBySide<'_>,
    fib: u32,
    random: &mut Random,
    tally: &mut Tally,
    batch: u64,
    address: &impl Fn(&mut Random) -> u32,
) {
    for _ in 0..batch {
        let destination = address(random);
        let (algorithm, table) = both.answers(destination);
        tally.compared += 1;
        if algorithm != table {
            tally.mismatches += 1;
            if tally.mismatches <= LOGGED {
                let [a, b, c, d] = destination.to_be_bytes();
                log::error(format_args!(
                    "net.weft.fib.check: FIB {fib}: {a}.{b}.{c}.{d}: another nexthop than in the \
                     route table"
                ));
            }
        }
    }
}

/// Numbers that are random enough to draw samples with (splitmix64, Steele,
/// Lea and Flood, OOPSLA 2014), seeded by the kernel.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(kernel::random_seed())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
