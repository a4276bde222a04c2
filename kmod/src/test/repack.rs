// SPDX-License-Identifier: BSD-2-Clause
//! Has the module's own packets go through the stack: a hook of pfil(9) replaces each
//! packet that passes by one of the module's with the same content.

use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::packet::LONGEST;

use crate::kpi::context::{NetEpoch, Sleepable, Vnet, with_current_vnet};
use crate::kpi::errno::Errno;
use crate::kpi::log;
use crate::kpi::mbuf::Mbuf;
use crate::kpi::pfil::{Fate, Filter, Hook, Layer, Point};
use crate::kpi::shared::Shared;
use crate::kpi::slept::Slept;
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};
use crate::kpi::text::Text;
use crate::packet::POOL;

/// `net.weft.test.repack`'s bits.
const INET: u64 = 1;
const INET6: u64 = 2;
const ETHERNET: u64 = 4;

static DROP_EVERY: AtomicU64 = AtomicU64::new(0);
static PASSED: AtomicU64 = AtomicU64::new(0);
static REPACKED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static NOT_REPACKED: AtomicU64 = AtomicU64::new(0);

/// Where packets pass: what the hook there is called, and its layer.
const POINTS: [(&str, Layer); 3] = [
    ("test-inet", Layer::Inet),
    ("test-inet6", Layer::Inet6),
    ("test-ethernet", Layer::Ethernet),
];

/// The hook at one of these points.
struct At<const POINT: usize>;

impl<const POINT: usize> Filter for At<POINT> {
    const LAYER: Layer = POINTS[POINT].1;

    fn pass(&self, epoch: &NetEpoch<'_>, packet: Mbuf, _point: &Point) -> Fate {
        pass(epoch, packet).map_or(Fate::Dropped, Fate::Passed)
    }
}

/// The hooks that are linked.
#[derive(Default)]
struct Hooks {
    inet: Option<Hook<At<0>>>,
    inet6: Option<Hook<At<1>>>,
    ethernet: Option<Hook<At<2>>>,
}

static HOOKS: Slept<Hooks> = Slept::new(Hooks {
    inet: None,
    inet6: None,
    ethernet: None,
});

fn pass(epoch: &NetEpoch<'_>, packet: Mbuf) -> Option<Mbuf> {
    let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    let every = DROP_EVERY.load(Ordering::Relaxed);
    if number.checked_rem(every) == Some(0) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    match repack(epoch, packet) {
        Ok(packed) => {
            REPACKED.fetch_add(1, Ordering::Relaxed);
            Some(packed)
        }
        Err(packet) => {
            NOT_REPACKED.fetch_add(1, Ordering::Relaxed);
            Some(packet)
        }
    }
}

/// A packet of the module's with the same bytes and header; the packet itself if there
/// is no room for it.
fn repack(epoch: &NetEpoch<'_>, packet: Mbuf) -> Result<Mbuf, Mbuf> {
    let len = packet.len() as usize;
    let Some(pool) = POOL.get(epoch).filter(|_| len <= LONGEST) else {
        return Err(packet);
    };
    let Ok(mut ours) = pool.packet(len) else {
        return Err(packet);
    };
    let copied = ours.extend(len).map(|room| packet.copy_out(0, room));
    if copied != Ok(len) {
        return Err(packet);
    }
    *ours.meta_mut() = packet.meta();
    match Mbuf::of(ours) {
        Some(mut mbuf) => {
            mbuf.take_header(packet);
            Ok(mbuf)
        }
        None => Err(packet),
    }
}

struct Repack;

impl Number for Repack {
    fn read(sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        HOOKS.with(sleepable, |_, hooks| {
            u64::from(hooks.inet.is_some()) * INET
                + u64::from(hooks.inet6.is_some()) * INET6
                + u64::from(hooks.ethernet.is_some()) * ETHERNET
        })
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, wanted: u64) -> Result<(), Errno> {
        if wanted > INET | INET6 | ETHERNET {
            log::warning(format_args!(
                "net.weft.test.repack={wanted}: refused, allowed are 0 to 7"
            ));
            return Err(Errno::EINVAL);
        }
        with_current_vnet(sleepable, |sleepable, vnet| {
            HOOKS.with(sleepable, |sleepable, hooks| {
                set(sleepable, vnet, wanted & INET != 0, &mut hooks.inet)?;
                set(sleepable, vnet, wanted & INET6 != 0, &mut hooks.inet6)?;
                set(sleepable, vnet, wanted & ETHERNET != 0, &mut hooks.ethernet)
            })
        })
        .unwrap_or(Err(Errno::EINVAL))
    }
}

fn set<const POINT: usize>(
    sleepable: &mut Sleepable,
    vnet: &Vnet<'_>,
    wanted: bool,
    hook: &mut Option<Hook<At<POINT>>>,
) -> Result<(), Errno> {
    match (wanted, hook.is_some()) {
        (true, false) => {
            let name = Text::format(format_args!("{}", POINTS[POINT].0));
            let filter = Shared::made(|| Ok(At::<POINT>))?;
            *hook = Some(Hook::link(sleepable, vnet, name, filter)?);
        }
        (false, true) => *hook = None,
        _ => {}
    }
    Ok(())
}

/// Takes the hooks out.
pub(super) fn stop(sleepable: &mut Sleepable) {
    HOOKS.with(sleepable, |_, hooks| *hooks = Hooks::default());
}

/// A counter to be read.
struct Counter<const WHICH: usize>;

impl<const WHICH: usize> Number for Counter<WHICH> {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let counters = [&REPACKED, &DROPPED, &NOT_REPACKED];
        counters
            .get(WHICH)
            .map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

struct DropEvery;

impl Number for DropEvery {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        DROP_EVERY.load(Ordering::Relaxed)
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, every: u64) -> Result<(), Errno> {
        DROP_EVERY.store(every, Ordering::Relaxed);
        Ok(())
    }
}

/// Adds this file's part of `net.weft.test`.
pub(super) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    let write = Access::READ | Access::WRITE;
    tree.number::<Repack>(
        node,
        c"repack",
        write,
        c"Where packets are replaced by the module's own: 1 inet, 2 inet6, 4 ethernet, added up",
    )?;
    tree.number::<DropEvery>(
        node,
        c"drop_every",
        write,
        c"Each so manieth packet is dropped there; 0: none",
    )?;
    tree.number::<Counter<0>>(
        node,
        c"repacked",
        Access::READ,
        c"Packets that were replaced",
    )?;
    tree.number::<Counter<1>>(node, c"dropped", Access::READ, c"Packets that were dropped")?;
    tree.number::<Counter<2>>(
        node,
        c"not_repacked",
        Access::READ,
        c"Packets that were passed on as they were, for want of a buffer",
    )
}
