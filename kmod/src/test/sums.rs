// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.sums`: this module's checksum beside the kernel's `in_cksum_skip`, over the
//! same mbuf chains, measured by who reads the figures, and compared.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use super::rounds::{Rounds, Setting};
use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::peers;
use crate::kpi::sysctl::{Parent, Sysctls};

/// What the packet is like.
static SIZE: AtomicU64 = AtomicU64::new(1500);
static PIECES: AtomicU64 = AtomicU64::new(1);
static OFFSET: AtomicU64 = AtomicU64::new(0);

/// The last result of each.
static RESULTS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

struct Sums;

impl Rounds for Sums {
    const NODE: &'static str = "net.weft.test.sums";

    const SETTINGS: &'static [Setting] = &[
        (&SIZE, c"size", c"Bytes of the packet, 1 to 9216", (1, 9216)),
        (&PIECES, c"pieces", c"Mbufs that it is in, 1 to 64", (1, 64)),
        (
            &OFFSET,
            c"offset",
            c"Bytes from a cache line's start to the packet's, 0 to 63",
            (0, 63),
        ),
    ];

    /// The number of a sum in [`peers::sums`]; none compares.
    type Work = Option<u32>;

    const WORKS: &'static [(Option<u32>, &'static CStr, &'static CStr)] = &[
        (
            Some(0),
            c"weft",
            c"Write N to make N sums by weft_in_cksum_skip; reads the ticks that they took together",
        ),
        (Some(1), c"in_cksum_skip", c"Likewise by the kernel's own"),
        (
            Some(2),
            c"weft_crc",
            c"Likewise of CRC32c, in one piece, by weft_crc32c",
        ),
        (Some(3), c"calculate_crc32c", c"Likewise by the kernel's own"),
        (
            None,
            c"compare",
            c"Write N to compare both over N chains of random shapes; reads how many differed",
        ),
    ];

    const RESULTS: &'static [AtomicU64] = &RESULTS;

    fn measure(sleepable: &mut Sleepable, work: Option<u32>, rounds: u64) -> Option<u64> {
        let Some(number) = work else {
            return peers::sums_that_differ(sleepable, rounds as u32);
        };
        let shape = [&SIZE, &PIECES, &OFFSET].map(|place| place.load(Ordering::Relaxed) as u32);
        peers::sums(sleepable, rounds as u32, shape, number)
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    let node = tree.node(node, c"sums", c"What checksums take")?;
    Sums::add_sysctls(tree, node)
}
