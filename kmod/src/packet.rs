// SPDX-License-Identifier: BSD-2-Clause
//! The module's packets: one pool for all that it sends and receives, its limits and
//! its figures, `net.weft.packet`.

use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::packet::{AllocError, PoolFigures};
use weft_engine::stats::{Declared, PoolStat, SizeStat};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::cpu::CriticalSections;
use crate::kpi::errno::Errno;
use crate::kpi::event::{LowMemory, OnLowMemory};
use crate::kpi::kernel;
use crate::kpi::lock::Mtx;
use crate::kpi::memory::{PacketMemory, try_box};
use crate::kpi::module::refuse_while;
use crate::kpi::published::Published;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::text::Text;
use crate::stats::{self, Once};

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

/// The numbers of the pool.
struct OfPool;

impl Indexed for OfPool {
    fn read(index: u32, sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let failures = |sleepable: &mut Sleepable, why: AllocError| {
            let failures = figures(sleepable).failures;
            failures.get(why.index()).copied().unwrap_or(0)
        };
        match PoolStat::at(index) {
            Some(PoolStat::BytesLimit) => BYTES_LIMIT.load(Ordering::Relaxed),
            Some(PoolStat::Bytes) => figures(sleepable).bytes as u64,
            Some(PoolStat::Out) => figures(sleepable).out() as u64,
            Some(PoolStat::ClassLimit) => failures(sleepable, AllocError::ClassLimit { most: 0 }),
            Some(PoolStat::PoolLimit) => failures(sleepable, AllocError::PoolLimit { most: 0 }),
            Some(PoolStat::NoMemory) => failures(sleepable, AllocError::NoMemory),
            Some(PoolStat::Reclaims) => RECLAIMS.load(Ordering::Relaxed),
            Some(PoolStat::Reclaimed) => RECLAIMED.load(Ordering::Relaxed),
            None => 0,
        }
    }

    /// Of the one setting.
    fn write(
        _index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        bytes: u64,
    ) -> Result<(), Errno> {
        let range = (LEAST_LIMIT, kernel::physical_bytes());
        stats::allow(format_args!("net.weft.packet.bytes_limit"), bytes, range)?;
        BYTES_LIMIT.store(bytes, Ordering::Relaxed);
        POOL.with(sleepable, |_, pool| pool.limit_bytes(bytes as usize));
        Ok(())
    }
}

/// The numbers of a size: its place among sizes, and the number's in the lowest byte.
struct OfSize;

impl Indexed for OfSize {
    fn read(index: u32, sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let figures = figures(sleepable);
        let size = figures.classes.get((index >> 8) as usize);
        let (Some(size), Some(stat)) = (size, SizeStat::at(index & 0xff)) else {
            return 0;
        };
        let number = match stat {
            SizeStat::Buffers => size.buffers,
            SizeStat::Free => size.in_depot,
            SizeStat::Cached => size.in_caches,
            SizeStat::Out => size.out,
            SizeStat::Limit if size.limit == usize::MAX => 0,
            SizeStat::Limit => size.limit,
        };
        number as u64
    }

    /// Of the one setting.
    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let most = match value {
            0 => usize::MAX,
            _ => usize::try_from(value).unwrap_or(usize::MAX),
        };
        let size = (index >> 8) as usize;
        POOL.with(sleepable, |_, pool| pool.limit_class(size, most));
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
    for (size, stride) in weft_engine::packet::STRIDES.iter().enumerate().rev() {
        let name = Text::<8>::format(format_args!("{stride}"));
        let about = c"Buffers of this many bytes, header and headroom included";
        let node = tree.node_labelled(sizes, name.as_c_str(), c"size", about)?;
        let mut tree = Once::<OfSize>::new(tree);
        stats::add(&mut tree, node, (size as u32) << 8, |_: SizeStat| true)?;
    }
    stats::add(&mut Once::<OfPool>::new(tree), node, 0, |_: PoolStat| true)
}
