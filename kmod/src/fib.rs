// SPDX-License-Identifier: BSD-2-Clause
//! `weft4` and `weft6`: the engine's tables as lookup algorithms of the kernel.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::fib_figures::Figures;
use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{self, Family, FlatTops, Inet, Inet6, Opened, Policy, Registered};
use crate::kpi::log;
use crate::kpi::memory::FibMemory;
use crate::kpi::module::refuse_while;
use crate::kpi::sysctl::{Access, Number, Parent, Sysctls};

/// A family's algorithm: its name and choices.
struct Weft<F>(PhantomData<F>);

/// What families' algorithms differ in.
trait Named: Family {
    const NAME: &'static CStr;
}

impl Named for Inet {
    const NAME: &'static CStr = c"weft4";
}

impl Named for Inet6 {
    const NAME: &'static CStr = c"weft6";
}

/// Changes and builds that failed since the module was loaded.
static OUT_OF_MEMORY: AtomicU64 = AtomicU64::new(0);

/// `net.weft.fib.auto`.
static AUTO: AtomicU64 = AtomicU64::new(1);
/// `net.weft.fib.flat_prefixes` and `flat_tables`.
static FLAT_PREFIXES: AtomicU64 = AtomicU64::new(100_000);
static FLAT_TABLES: AtomicU64 = AtomicU64::new(16);

/// How much the algorithms want a table; the kernel changes to another algorithm if
/// that wants it by more than 12 points more.
///
/// The kernel's lockless copies, which are made anew at each change, want a small
/// table by 250 or so, and the less the more prefixes it has: in IPv4 by 254 minus a
/// quarter of their number, in IPv6 by 255 minus a fortieth. The locked tree wants
/// all by 50, dxr by 251. With what follows a table changes to `weft4` at some 140
/// prefixes and back at 110, to `weft6` at 520 and back at 140. A table that dxr serves
/// stays with it, since nothing can want it by 264; of a new one or one that outgrows a
/// copy, `weft4` gets the better of it.
fn preference(prefixes: u32) -> u8 {
    const BASE: u32 = 100;
    match AUTO.load(Ordering::Relaxed) {
        0 => 0,
        _ => u8::try_from(prefixes.saturating_add(BASE)).unwrap_or(u8::MAX),
    }
}

impl<F: Named> Policy for Weft<F> {
    type Family = F;

    const NAME: &'static CStr = F::NAME;

    fn preference(prefixes: u32) -> u8 {
        preference(prefixes)
    }

    fn flat_tops() -> FlatTops {
        FlatTops {
            prefixes: FLAT_PREFIXES.load(Ordering::Relaxed),
            tables: FLAT_TABLES.load(Ordering::Relaxed),
        }
    }

    fn out_of_memory(fib: u32) {
        note_out_of_memory(F::NAME, fib);
    }
}

/// Logs one line for the first failure, and then for each power of two: a table that
/// does not fit is tried many times over.
fn note_out_of_memory(name: &CStr, fib: u32) {
    let count = OUT_OF_MEMORY.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        log::warning(format_args!(
            "{}: no memory for a change in FIB {fib} ({count} in all); \
             the table as it was answers until it is rebuilt",
            name.to_str().unwrap_or_default()
        ));
    }
}

/// The algorithms as long as the module is loaded.
pub(crate) struct Algorithms {
    inet: Registered<Weft<Inet>>,
    inet6: Registered<Weft<Inet6>>,
    common: Opened,
}

impl Algorithms {
    /// Makes them known to the kernel, and keeps the figures of their tables.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is left behind.
    pub(crate) fn register(sleepable: &mut Sleepable, figures: Figures) -> Result<Self, Errno> {
        let mut inet = Registered::new()?;
        let mut inet6 = Registered::new()?;
        let common = Opened::open(sleepable, figures)?;
        inet.enlist(&common);
        inet6.enlist(&common);
        Ok(Self {
            inet,
            inet6,
            common,
        })
    }

    /// Takes both back and waits until none of their code runs. After success a
    /// second call does nothing.
    ///
    /// # Errors
    /// `EBUSY` while a table uses one; nothing has changed.
    pub(crate) fn withdraw(&mut self, sleepable: &mut Sleepable) -> Result<(), Errno> {
        let Self {
            inet,
            inet6,
            common,
        } = self;
        inet.withdraw(common, || inet6.withdraw(common, || Ok(())))?;
        common.close(sleepable);
        Ok(())
    }
}

/// Says why the module cannot go while a FIB uses it.
///
/// # Errors
/// `EBUSY`.
pub(crate) fn refuse_while_used() -> Result<(), Errno> {
    let used = [
        refuse_family::<Weft<Inet>>("weft4", "radix4_lockless"),
        refuse_family::<Weft<Inet6>>("weft6", "radix6_lockless"),
    ];
    used.into_iter().find(Result::is_err).unwrap_or(Ok(()))
}

fn refuse_family<P: Policy>(name: &str, other: &str) -> Result<(), Errno> {
    let tables = fib::instances::<P::Family>();
    refuse_while(
        tables as usize,
        format_args!(
            "{tables} route table(s) use {name}; choose another algorithm in each: \
             sysctl {}={other}",
            P::Family::CHOICE
        ),
    )
}

struct Tables;

impl Number for Tables {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        u64::from(fib::instances::<Inet>()) + u64::from(fib::instances::<Inet6>())
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

/// A number that may be set to anything, up to `MOST`.
struct Setting<const WHICH: usize>;

/// Their places, and the largest value of each.
const SETTINGS: [(&AtomicU64, u64); 3] = [
    (&AUTO, 1),
    (&FLAT_PREFIXES, u64::MAX),
    (&FLAT_TABLES, 65_536),
];

impl<const WHICH: usize> Number for Setting<WHICH> {
    fn read(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        const { SETTINGS[WHICH].0 }.load(Ordering::Relaxed)
    }

    fn write(_sleepable: &mut Sleepable, _vnet: &Vnet<'_>, value: u64) -> Result<(), Errno> {
        let (place, most) = const { SETTINGS[WHICH] };
        if value > most {
            log::warning(format_args!(
                "net.weft.fib: {value} refused, allowed are 0 to {most}"
            ));
            return Err(Errno::EINVAL);
        }
        place.store(value, Ordering::Relaxed);
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
        c"Route tables of all network stacks that weft4 and weft6 serve; unload is refused above 0",
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
        c"Pages of these tables, each for 256 addresses or prefixes; one that several tables have \
          alike counts once",
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
    )?;
    let tunable = Access::READ | Access::WRITE | Access::TUNABLE;
    tree.number::<Setting<0>>(
        node,
        c"auto",
        tunable,
        c"1: tables of more than some 140 IPv4 or 520 IPv6 prefixes use weft4 and weft6 by \
          themselves, unless dxr has them; 0: only where net.route.algo.inet.algo or \
          net.route.algo.inet6.algo say so",
    )?;
    tree.number::<Setting<1>>(
        node,
        c"flat_prefixes",
        tunable,
        c"Prefixes from which on a table gets a flat top when it is built: 256 KB of its own, \
          which save each lookup a step",
    )?;
    tree.number::<Setting<2>>(
        node,
        c"flat_tables",
        tunable,
        c"Tables that may have a flat top at once, over all network stacks",
    )
}
