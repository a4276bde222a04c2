// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.sums`: this module's checksum beside the kernel's `in_cksum_skip`, over the
//! same mbuf chains, measured by who reads the figures, and compared.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::peers;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};

/// The most rounds, so that a measurement takes seconds at most.
const MOST_ROUNDS: u64 = 1_000_000;

/// Settings: what the packet is like.
static SIZE: AtomicU64 = AtomicU64::new(1500);
static PIECES: AtomicU64 = AtomicU64::new(1);
static OFFSET: AtomicU64 = AtomicU64::new(0);

const SETTINGS: [(&AtomicU64, &CStr, &CStr, [u64; 2]); 3] = [
    (&SIZE, c"size", c"Bytes of the packet, 1 to 9216", [1, 9216]),
    (&PIECES, c"pieces", c"Mbufs that it is in, 1 to 64", [1, 64]),
    (
        &OFFSET,
        c"offset",
        c"Bytes from a cache line's start to the packet's, 0 to 63",
        [0, 63],
    ),
];

struct Setting;

impl Indexed for Setting {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let setting = SETTINGS.get(index as usize);
        setting.map_or(0, |(place, ..)| place.load(Ordering::Relaxed))
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let (place, _, _, [least, most]) = SETTINGS.get(index as usize).ok_or(Errno::EINVAL)?;
        if !(*least..=*most).contains(&value) {
            return Err(Errno::EINVAL);
        }
        place.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// What is measured; then what is compared.
const WORKS: [(&CStr, &CStr); 5] = [
    (
        c"weft",
        c"Write N to make N sums by weft_in_cksum_skip; reads the ticks that they took together",
    ),
    (c"in_cksum_skip", c"Likewise by the kernel's own"),
    (
        c"weft_crc",
        c"Likewise of CRC32c, in one piece, by weft_crc32c",
    ),
    (c"calculate_crc32c", c"Likewise by the kernel's own"),
    (
        c"compare",
        c"Write N to compare both over N chains of random shapes; reads how many differed",
    ),
];

static RESULTS: [AtomicU64; WORKS.len()] = [const { AtomicU64::new(0) }; WORKS.len()];

struct Measured;

impl Indexed for Measured {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let result = RESULTS.get(index as usize);
        result.map_or(0, |result| result.load(Ordering::Relaxed))
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        rounds: u64,
    ) -> Result<(), Errno> {
        let place = RESULTS.get(index as usize).ok_or(Errno::EINVAL)?;
        if !(1..=MOST_ROUNDS).contains(&rounds) {
            return Err(Errno::EINVAL);
        }
        let of = |place: &AtomicU64| place.load(Ordering::Relaxed) as u32;
        let result = match index {
            0..4 => peers::sums(
                sleepable,
                rounds as u32,
                [of(&SIZE), of(&PIECES), of(&OFFSET)],
                index,
            ),
            _ => peers::sums_that_differ(sleepable, rounds as u32),
        };
        place.store(result.unwrap_or(0), Ordering::Relaxed);
        result.map(drop).ok_or(Errno::ENOMEM)
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    let node = tree.node(node, c"sums", c"What checksums take")?;
    for (index, (name, about)) in WORKS.iter().enumerate().rev() {
        tree.setting_of::<Measured>(node, name, index as u32, about)?;
    }
    for (index, (_, name, about, _)) in SETTINGS.iter().enumerate().rev() {
        tree.setting_of::<Setting>(node, name, index as u32, about)?;
    }
    Ok(())
}
