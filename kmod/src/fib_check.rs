// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.fib.check`: do the lookup algorithms answer as the route tables?
//!
//! Writing N compares N addresses drawn from announced prefixes and N drawn at
//! random, of each family that the module serves in the FIB and the network stack of
//! the process that writes. Each batch is compared under the table's read lock, so
//! routes may change meanwhile: a change is in both or in neither.

use core::sync::atomic::Ordering;

use weft_engine::fib::Key;

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{Family, Inet, Inet6, Route, Written};
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::memory;
use crate::kpi::rib::{Rib, SideBySide};
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};
use crate::kpi::vnet::{self, Checked};

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
        let state = vnet::state(vnet);
        state.check_keys.store(keys, Ordering::Relaxed);
        let [inet, inet6] = &state.checked;
        let inet = check::<Inet>(sleepable, vnet, keys, inet)?;
        let inet6 = check::<Inet6>(sleepable, vnet, keys, inet6)?;
        if !inet && !inet6 {
            log::warning(format_args!(
                "net.weft.fib.check: no algorithm of weft serves this FIB; \
                 sysctl {}=weft4 or {}=weft6",
                Inet::CHOICE,
                Inet6::CHOICE
            ));
            return Err(Errno::ENOENT);
        }
        Ok(())
    }
}

/// Compares the addresses of one family, if the module serves it here, and returns
/// whether it does.
fn check<F: Family>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    keys: u64,
    checked: &Checked,
) -> Result<bool, Errno> {
    let rib = Rib::<F>::of_current_process(sleepable, vnet).ok_or(Errno::ENOENT)?;
    let served = rib.is_served(sleepable);
    let (tally, result) = match served.then(|| run(sleepable, &rib, keys)) {
        None => (Tally::default(), Ok(())),
        Some(Ok(tally)) => (tally, Ok(())),
        Some(Err((tally, error))) => (tally, Err(error)),
    };
    checked.compared.store(tally.compared, Ordering::Relaxed);
    checked
        .mismatches
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
    Ok(served)
}

/// What a check of the family at `PLACE` compared, or the mismatches of them.
struct Found<const PLACE: usize, const MISMATCHES: bool>;

impl<const PLACE: usize, const MISMATCHES: bool> Number for Found<PLACE, MISMATCHES> {
    fn read(_sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        let Some(checked) = vnet::state(vnet).checked.get(PLACE) else {
            return 0;
        };
        let figure = match MISMATCHES {
            true => &checked.mismatches,
            false => &checked.compared,
        };
        figure.load(Ordering::Relaxed)
    }
}

/// Adds this file's part of `net.weft.fib`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    const FOUND: Access = Access::READ.union(Access::VNET).union(Access::STATS);
    tree.number::<Check>(
        node,
        c"check",
        Access::READ | Access::WRITE | Access::VNET,
        c"Write N, 1 to 100000000, to compare weft4 and weft6 with the route tables of this \
          process's FIB for N announced and N random addresses; fails with EIO if an answer differs",
    )?;
    tree.number::<Found<{ Inet::PLACE }, false>>(
        node,
        c"check_compared",
        FOUND,
        c"IPv4 addresses that the last check compared, 0 if weft4 does not serve this FIB",
    )?;
    tree.number::<Found<{ Inet::PLACE }, true>>(
        node,
        c"check_mismatches",
        FOUND,
        c"IPv4 addresses for which the last check found another answer in the route table; 0 is right",
    )?;
    tree.number::<Found<{ Inet6::PLACE }, false>>(
        node,
        c"check6_compared",
        FOUND,
        c"IPv6 addresses that the last check compared, 0 if weft6 does not serve this FIB",
    )?;
    tree.number::<Found<{ Inet6::PLACE }, true>>(
        node,
        c"check6_mismatches",
        FOUND,
        c"IPv6 addresses for which the last check found another answer in the route table; 0 is right",
    )
}

/// What a check has found so far.
#[derive(Clone, Copy, Default)]
struct Tally {
    compared: u64,
    mismatches: u64,
}

/// Compares `keys` addresses of each kind.
fn run<F: Family>(
    sleepable: &mut Sleepable,
    rib: &Rib<'_, F>,
    keys: u64,
) -> Result<Tally, (Tally, Errno)> {
    let mut random = Random::new();
    let mut tally = Tally::default();
    let room = keys.min(SAMPLE).min(u64::from(rib.prefixes()));
    let nothing = Route {
        prefix: F::Key::default(),
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
            let host = !F::Key::mask(route.length).bits();
            F::Key::from_bits(route.prefix.bits() | (random.bits() & host))
        };
        compare(sleepable, rib, &mut random, &mut tally, part, address)?;
        left -= part;
    }
    let address = |random: &mut Random| F::Key::from_bits(random.bits());
    compare(sleepable, rib, &mut random, &mut tally, keys, address)?;
    Ok(tally)
}

/// Fills the sample with prefixes of the table, each as likely as any other
/// (reservoir sampling, Vitter's algorithm R), and returns how many there were.
fn draw<F: Family>(
    sleepable: &mut Sleepable,
    rib: &Rib<'_, F>,
    random: &mut Random,
    sample: &mut [Route<F::Key>],
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
fn compare<F: Family>(
    sleepable: &mut Sleepable,
    rib: &Rib<'_, F>,
    random: &mut Random,
    tally: &mut Tally,
    keys: u64,
    address: impl Fn(&mut Random) -> F::Key,
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
                     choose by sysctl {}",
                    rib.fib(),
                    F::CHOICE
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
fn compare_batch<F: Family>(
    both: &SideBySide<'_, F>,
    fib: u32,
    random: &mut Random,
    tally: &mut Tally,
    batch: u64,
    address: &impl Fn(&mut Random) -> F::Key,
) {
    for _ in 0..batch {
        let destination = address(random);
        let (algorithm, table) = both.answers(destination);
        tally.compared += 1;
        if algorithm != table {
            tally.mismatches += 1;
            if tally.mismatches <= LOGGED {
                log::error(format_args!(
                    "net.weft.fib.check: FIB {fib}: {}: another nexthop than in the route table",
                    Written::<F>(destination)
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

    /// As many bits as an address of any family has.
    fn bits(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// Less than `bound`; 0 if that is 0.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
