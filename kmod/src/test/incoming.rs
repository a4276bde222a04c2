// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.ipv6`: what the stack takes to receive IPv6 packets of a kind, with
//! whatever filters are linked, measured by who reads the figures.
//!
//! Packets are made first, then `ip6_input` is called for each, on a thread that is bound
//! to a CPU. They are from fd00:f::1 to fd00:f::2, which is to be an address of the
//! loopback interface.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::bound;
use crate::kpi::epoch::in_net_epoch;
use crate::kpi::errno::Errno;
use crate::kpi::ip6::Incoming;
use crate::kpi::log;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};

/// The most packets of a measurement.
const MOST: u64 = 256;
/// Bytes of the longest packet.
const LONGEST: usize = 1500;

/// What is sent, each by its name.
const KINDS: [(&CStr, &CStr); 6] = [
    (
        c"datagram",
        c"Datagrams of 64 bytes to a port that nobody has",
    ),
    (
        c"options",
        c"The same behind a header of destination options as it should be",
    ),
    (
        c"pad1",
        c"The same behind destination options of 1,200 bytes of Pad1",
    ),
    (
        c"chain",
        c"The same behind 150 headers of destination options of eight bytes each",
    ),
    (
        c"fragments",
        c"First fragments of 16 bytes, each of another packet",
    ),
    (c"routing", c"The same behind a routing header of type 0"),
];

/// Ticks of the last measurement of each; 0: there was none, or it failed.
static TICKS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

/// A packet that is being put together.
struct Draft {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Draft {
    fn put(&mut self, more: &[u8]) {
        for &byte in more {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len = self.len.wrapping_add(1);
            }
        }
    }

    /// Makes it the `n`-th packet of a kind.
    fn begin(&mut self, kind: usize, n: u32) {
        const DATAGRAM: [u8; 16] = [0x12, 0x34, 0, 9, 0, 24, 0xde, 0xad, 7, 7, 7, 7, 7, 7, 7, 7];
        let draft = self;
        draft.len = 0;
        let first = [17, 60, 60, 60, 44, 43].get(kind).copied().unwrap_or(17);
        draft.put(&[0x60, 0, 0, 0, 0, 0, first, 64]);
        for last in [1, 2] {
            draft.put(&[0xfd, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        match kind {
            1 => draft.put(&[17, 0, 1, 4, 0, 0, 0, 0]),
            2 => {
                draft.put(&[17, 149]);
                for _ in 2..1200 {
                    draft.put(&[0]);
                }
            }
            3 => {
                for _ in 0..149 {
                    draft.put(&[60, 0, 1, 4, 0, 0, 0, 0]);
                }
                draft.put(&[17, 0, 1, 4, 0, 0, 0, 0]);
            }
            4 => {
                draft.put(&[17, 0, 0, 1]);
                draft.put(&n.to_be_bytes());
            }
            5 => {
                draft.put(&[17, 2, 0, 1, 0, 0, 0, 0]);
                draft.put(&[0xfd, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
            }
            _ => {}
        }
        draft.put(&DATAGRAM);
        if kind == 0 {
            draft.put(&[7; 8]);
        }
        let payload = (draft.len.saturating_sub(40) as u16).to_be_bytes();
        if let Some(place) = draft.bytes.get_mut(4..6) {
            place.copy_from_slice(&payload);
        }
    }
}

static DRAFT: Slept<Draft> = Slept::new(Draft {
    bytes: [0; LONGEST],
    len: 0,
});

/// Packets of fragments get numbers that no other one has.
static NUMBER: AtomicU64 = AtomicU64::new(1);

fn measure(sleepable: &mut Sleepable, vnet: &Vnet<'_>, kind: usize, count: u64) -> Option<u64> {
    let mut incoming = Incoming::new();
    for _ in 0..count {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) as u32;
        DRAFT.with(sleepable, |_, draft| {
            draft.begin(kind, number);
            incoming.push(vnet, draft.bytes.get(..draft.len)?)
        })?;
    }
    let receive = || in_net_epoch(sleepable, |epoch| incoming.receive(epoch, vnet));
    Some(bound(receive).max(1))
}

struct Measured;

impl Indexed for Measured {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let ticks = TICKS.get(index as usize);
        ticks.map_or(0, |ticks| ticks.load(Ordering::Relaxed))
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        vnet: &Vnet<'_>,
        count: u64,
    ) -> Result<(), Errno> {
        if !(1..=MOST).contains(&count) {
            log::warning(format_args!(
                "net.weft.test.ipv6: {count} packets: refused, allowed are 1 to {MOST}"
            ));
            return Err(Errno::EINVAL);
        }
        let place = TICKS.get(index as usize).ok_or(Errno::EINVAL)?;
        let ticks = measure(sleepable, vnet, index as usize, count);
        place.store(ticks.unwrap_or(0), Ordering::Relaxed);
        ticks.map(drop).ok_or(Errno::ENOMEM)
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    let node = tree.node(
        node,
        c"ipv6",
        c"Write N to have the stack receive N packets of a kind; reads the ticks that it took",
    )?;
    for (index, (name, about)) in KINDS.iter().enumerate().rev() {
        tree.setting_of::<Measured>(node, name, index as u32, about)?;
    }
    Ok(())
}
