// SPDX-License-Identifier: BSD-2-Clause
//! The module's packets: one pool for all that it sends and receives, its limits and
//! its figures, `net.weft.packet`.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::packet::{AllocError, CLASSES, ClassFigures, PoolFigures};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::CriticalSections;
use crate::kpi::errno::Errno;
use crate::kpi::event::{LowMemory, OnLowMemory};
use crate::kpi::kernel;
use crate::kpi::lock::Mtx;
use crate::kpi::log;
use crate::kpi::memory::{PacketMemory, try_box};
use crate::kpi::module::refuse_while;
use crate::kpi::published::Published;
use crate::kpi::sysctl::{Access, Indexed, Number, Parent, Sysctls};
use crate::kpi::text::Text;

/// The pool's type: its memory, its lock, and what keeps the CPUs' caches apart.
pub(crate) type Pool = weft_engine::packet::Pool<PacketMemory, Mtx, CriticalSections>;

/// The pool, while the module is loaded.
pub(crate) static POOL: Published<Pool> = Published::nothing();

/// `net.weft.packet.bytes_limit`; 0 until it is set, by loader(8) or by [`Packets::open`].
static BYTES_LIMIT: AtomicU64 = AtomicU64::new(0);
/// The least that it may be: a slab of each class, and some.
const LEAST_LIMIT: u64 = 4 << 20;
/// Without a limit set, this part of the machine's memory.
const MEMORY_PART: u64 = 8;

/// Times that the system was short of memory, and bytes that were given back then.
static RECLAIMS: AtomicU64 = AtomicU64::new(0);
static RECLAIMED: AtomicU64 = AtomicU64::new(0);

/// The pool as long as the module is loaded.
pub(crate) struct Packets {
    /// Taken away first, so that nobody reclaims from what is being closed.
    on_low_memory: Option<OnLowMemory>,
}

impl Packets {
    /// Makes the pool.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is left behind.
    pub(crate) fn open(sleepable: &mut Sleepable) -> Result<Self, Errno> {
        let lock = Mtx::new(c"weft packets")?;
        let pool = Pool::new(PacketMemory, lock, CriticalSections).ok_or(Errno::ENOMEM)?;
        if BYTES_LIMIT.load(Ordering::Relaxed) == 0 {
            let part = kernel::physical_bytes() / MEMORY_PART;
            BYTES_LIMIT.store(part.max(LEAST_LIMIT), Ordering::Relaxed);
        }
        pool.limit_bytes(BYTES_LIMIT.load(Ordering::Relaxed) as usize);
        let pool = match try_box(pool) {
            Ok(pool) => pool,
            Err(pool) => {
                // No packet was ever made.
                let _ = pool.close(sleepable);
                return Err(Errno::ENOMEM);
            }
        };
        let _ = POOL.publish(pool);
        let mut packets = Self {
            on_low_memory: None,
        };
        match OnLowMemory::call::<GiveBack>(sleepable) {
            Ok(handler) => packets.on_low_memory = Some(handler),
            Err(error) => {
                packets.close(sleepable)?;
                return Err(error);
            }
        }
        Ok(packets)
    }

    /// Whether packets are with somebody else: in sockets' buffers, in queues of other
    /// interfaces.
    ///
    /// # Errors
    /// `EBUSY`; how many has been logged.
    pub(crate) fn refuse_while_out(&self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let out = POOL.with(sleepable, |_, pool| pool.out()).unwrap_or(0);
        refuse(out)
    }

    /// Whether the pool's memory was given back.
    pub(crate) fn are_closed(&self) -> bool {
        self.on_low_memory.is_none()
    }

    /// Gives the pool's memory back. After success a second call does nothing.
    ///
    /// # Errors
    /// `EBUSY` while packets are with somebody else; the pool is as it was.
    pub(crate) fn close(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let Some(pool) = POOL.withdraw(sleepable) else {
            return Ok(());
        };
        match pool.close(sleepable) {
            Ok(()) => {
                self.on_low_memory = None;
                // Whoever freed the last packet may not have left the module's code.
                kernel::pause_ms(sleepable, LEAVE_MS);
                Ok(())
            }
            Err(still) => {
                if let Ok(pool) = try_box(still.pool) {
                    let _ = POOL.publish(pool);
                }
                refuse(still.out.max(1))
            }
        }
    }
}

/// Milliseconds after which a thread that was about to leave the module's code has left,
/// be it ever so unlucky.
const LEAVE_MS: u32 = 50;

fn refuse(out: usize) -> Result<(), Errno> {
    refuse_while(
        out,
        format_args!("{out} packets are in use by sockets, interfaces or filters"),
    )
}

/// What is done when the system is short of memory.
struct GiveBack;

impl LowMemory for GiveBack {
    fn give_back(sleepable: &mut Sleepable) {
        let bytes = POOL.with(sleepable, |sleepable, pool| pool.reclaim(sleepable));
        RECLAIMS.fetch_add(1, Ordering::Relaxed);
        RECLAIMED.fetch_add(bytes.unwrap_or(0) as u64, Ordering::Relaxed);
    }
}

fn figures(sleepable: &mut Sleepable) -> PoolFigures {
    POOL.with(sleepable, |_, pool| pool.figures())
        .unwrap_or_default()
}

struct BytesLimit;

impl Number for BytesLimit {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        BYTES_LIMIT.load(Ordering::Relaxed)
    }

    fn write(sleepable: &mut Sleepable, _vnet: &Vnet<'_>, bytes: u64) -> Result<(), Errno> {
        let most = kernel::physical_bytes();
        if !(LEAST_LIMIT..=most).contains(&bytes) {
            log::warning(format_args!(
                "net.weft.packet.bytes_limit={bytes}: refused, allowed are {LEAST_LIMIT} to {most}"
            ));
            return Err(Errno::EINVAL);
        }
        BYTES_LIMIT.store(bytes, Ordering::Relaxed);
        POOL.with(sleepable, |_, pool| pool.limit_bytes(bytes as usize));
        Ok(())
    }
}

/// A figure of the pool.
#[derive(Clone, Copy)]
enum OfPool {
    Bytes,
    Out,
    Failures(AllocError),
    Reclaims,
    Reclaimed,
}

const POOL_FIGURES: [(OfPool, &CStr, &CStr); 7] = [
    (
        OfPool::Bytes,
        c"bytes",
        c"Bytes of memory that buffers of packets hold now, free ones included",
    ),
    (
        OfPool::Out,
        c"out",
        c"Buffers that packets hold now; the module can be unloaded when there are none",
    ),
    (
        OfPool::Failures(AllocError::ClassLimit { most: 0 }),
        c"class_limit",
        c"Packets that could not be had since as many buffers of their size were in use as may be",
    ),
    (
        OfPool::Failures(AllocError::PoolLimit { most: 0 }),
        c"pool_limit",
        c"Packets that could not be had since buffers held bytes_limit already; raise that",
    ),
    (
        OfPool::Failures(AllocError::NoMemory),
        c"no_memory",
        c"Packets that could not be had since the system had no memory at that moment",
    ),
    (
        OfPool::Reclaims,
        c"reclaims",
        c"Times that the system was short of memory and free buffers were given back",
    ),
    (
        OfPool::Reclaimed,
        c"reclaimed_bytes",
        c"Bytes that were given back then",
    ),
];

impl Indexed for OfPool {
    fn read(index: u32, sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let Some((figure, ..)) = POOL_FIGURES.get(index as usize) else {
            return 0;
        };
        match figure {
            OfPool::Bytes => figures(sleepable).bytes as u64,
            OfPool::Out => figures(sleepable).out() as u64,
            OfPool::Failures(why) => {
                let failures = figures(sleepable).failures;
                failures.get(why.index()).copied().unwrap_or(0)
            }
            OfPool::Reclaims => RECLAIMS.load(Ordering::Relaxed),
            OfPool::Reclaimed => RECLAIMED.load(Ordering::Relaxed),
        }
    }
}

/// A figure of a size class.
struct OfClass;

type ClassFigure = fn(&ClassFigures) -> usize;

const CLASS_FIGURES: [(ClassFigure, &CStr, &CStr); 4] = [
    (
        |class| class.buffers,
        c"buffers",
        c"Buffers of this size for which there is memory",
    ),
    (
        |class| class.in_depot,
        c"free",
        c"Those that are free for all CPUs",
    ),
    (
        |class| class.in_caches,
        c"cached",
        c"Those that are free, each for one CPU; a limit counts them as in use",
    ),
    (|class| class.out, c"out", c"Those that packets hold"),
];

/// The index of a class's limit, behind its figures.
const LIMIT: usize = CLASS_FIGURES.len();

fn class_index(class: usize, which: usize) -> u32 {
    (class << 8 | which) as u32
}

impl Indexed for OfClass {
    fn read(index: u32, sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let (class, which) = ((index >> 8) as usize, (index & 0xff) as usize);
        let figures = figures(sleepable);
        let Some(class) = figures.classes.get(class) else {
            return 0;
        };
        match CLASS_FIGURES.get(which) {
            Some((figure, ..)) => figure(class) as u64,
            None if class.limit == usize::MAX => 0,
            None => class.limit as u64,
        }
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let class = (index >> 8) as usize;
        let most = match value {
            0 => usize::MAX,
            _ => usize::try_from(value).unwrap_or(usize::MAX),
        };
        POOL.with(sleepable, |_, pool| pool.limit_class(class, most));
        Ok(())
    }
}

/// Adds `net.weft.packet`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, weft: Parent) -> Result<(), Errno> {
    let node = tree.node(weft, c"packet", c"Buffers of packets")?;
    let sizes = tree.node(node, c"size", c"Buffers by their size in bytes")?;
    for (class, stride) in weft_engine::packet::STRIDES.iter().enumerate().rev() {
        let name = Text::<8>::format(format_args!("{stride}"));
        let about = c"Buffers of this many bytes, header and headroom included";
        let node = tree.node_labelled(sizes, name.as_c_str(), c"size", about)?;
        tree.setting_of::<OfClass>(
            node,
            c"limit",
            class_index(class, LIMIT),
            c"The most buffers of this size that may be in use or cached; 0: as many as bytes_limit allows",
        )?;
        for (which, (_, name, about)) in CLASS_FIGURES.iter().enumerate().rev() {
            let index = class_index(class, which);
            tree.number_of::<OfClass>(node, name, None, index, about)?;
        }
    }
    for (index, (_, name, about)) in POOL_FIGURES.iter().enumerate().rev() {
        tree.number_of::<OfPool>(node, name, None, index as u32, about)?;
    }
    tree.number::<BytesLimit>(
        node,
        c"bytes_limit",
        Access::READ | Access::WRITE | Access::TUNABLE,
        c"The most bytes of memory that buffers may hold; an eighth of the machine's if not set",
    )
}

const _: () = assert!(CLASSES < 256);
