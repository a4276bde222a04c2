// SPDX-License-Identifier: BSD-2-Clause
//! `weft4`: the engine's IPv4 tables as a lookup algorithm of the kernel.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{self, Policy};
use crate::kpi::log;
use crate::kpi::memory::FibMemory;
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};

/// The algorithm's name and choices.
pub(crate) struct Weft4;

/// The algorithm as long as the module is loaded.
pub(crate) type Registered = fib::Registered<Weft4>;

/// Changes and builds that failed since the module was loaded.
static OUT_OF_MEMORY: AtomicU64 = AtomicU64::new(0);

impl Policy for Weft4 {
    const NAME: &'static CStr = c"weft4";

    /// Above the kernel's locked radix tree (50), so that large tables leave it;
    /// below the lockless copies that the kernel prefers for small tables, and
    /// below dxr (251).
    fn preference(_prefixes: u32) -> u8 {
        200
    }

    fn out_of_memory(fib: u32) {
        // One line for the first, and then for each power of two: a table that
        // does not fit is tried many times over.
        let count = OUT_OF_MEMORY.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            log::warning(format_args!(
                "weft4: no memory for a change in FIB {fib} ({count} in all); \
                 the table as it was answers until it is rebuilt"
            ));
        }
    }
}

/// Makes the algorithm known to the kernel.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn register(sleepable: &mut Sleepable) -> Result<Registered, Errno> {
    fib::Registered::register(sleepable)
}

/// Says why the module cannot go while a FIB uses it.
///
/// # Errors
/// `EBUSY`.
pub(crate) fn refuse_while_used() -> Result<(), Errno> {
    match fib::instances() {
        0 => Ok(()),
        tables => {
            log::warning(format_args!(
                "not unloaded: {tables} route table(s) use weft4; choose another algorithm in each: \
                 sysctl net.route.algo.inet.algo=radix4_lockless"
            ));
            Err(Errno::EBUSY)
        }
    }
}

struct Tables;

impl Number for Tables {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(fib::instances())
    }
}

struct OutOfMemory;

impl Number for OutOfMemory {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        OUT_OF_MEMORY.load(Ordering::Relaxed)
    }
}

struct Bytes;

impl Number for Bytes {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        FibMemory::bytes()
    }
}

struct Pages;

impl Number for Pages {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        fib::store_figures().pages as u64
    }
}

struct Pending;

impl Number for Pending {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        fib::store_figures().pending as u64
    }
}

struct BytesLimit;

impl Number for BytesLimit {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        FibMemory::limit()
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, bytes: u64) -> Result<(), Errno> {
        FibMemory::set_limit(bytes);
        Ok(())
    }
}

/// Adds this file's part of `net.weft.fib`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    tree.number::<Tables>(
        node,
        c"tables",
        Access::READ | Access::STATS,
        c"Route tables of all network stacks that weft4 serves; unload is refused above 0",
    )?;
    tree.number::<Bytes>(
        node,
        c"bytes",
        Access::READ | Access::STATS,
        c"Bytes that the tables of all network stacks hold",
    )?;
    tree.number::<Pages>(
        node,
        c"pages",
        Access::READ | Access::STATS,
        c"Pages of these tables, of up to 65536 addresses each; one that several tables have alike \
          counts once",
    )?;
    tree.number::<Pending>(
        node,
        c"pending",
        Access::READ | Access::STATS,
        c"Pages and rows that changes took out and that lookups under way may still read",
    )?;
    tree.number::<BytesLimit>(
        node,
        c"bytes_limit",
        Access::READ | Access::WRITE,
        c"Bytes that these tables may hold in all, 0 for no limit; a table that would pass it is \
          served as before, and by another algorithm if it is new",
    )?;
    tree.number::<OutOfMemory>(
        node,
        c"out_of_memory",
        Access::READ | Access::STATS,
        c"Changes and builds that found no memory; each makes the kernel rebuild the table later",
    )
}
