// SPDX-License-Identifier: BSD-2-Clause
//! `weft4` and `weft6`: the engine's tables as lookup algorithms of the kernel.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use weft_engine::stats::{Declared, FibStat};

use crate::fib_figures::Figures;
use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{self, Family, FlatTops, Inet, Inet6, Opened, Policy, Registered};
use crate::kpi::log;
use crate::kpi::memory::FibMemory;
use crate::kpi::module::refuse_while;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::stats::{self, Once, initial};

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
static AUTO: AtomicU64 = AtomicU64::new(initial(&FibStat::GROUP, FibStat::Auto as usize));
/// `net.weft.fib.flat_prefixes` and `flat_tables`.
static FLAT_PREFIXES: AtomicU64 =
    AtomicU64::new(initial(&FibStat::GROUP, FibStat::FlatPrefixes as usize));
static FLAT_TABLES: AtomicU64 =
    AtomicU64::new(initial(&FibStat::GROUP, FibStat::FlatTables as usize));

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
    /// What they need, the figures of their tables among it; the kernel does not know them
    /// yet. To be withdrawn in any case.
    ///
    /// # Errors
    /// `ENOMEM`; nothing is left behind.
    pub(crate) fn prepare(sleepable: &mut Sleepable, figures: Figures) -> Result<Self, Errno> {
        Ok(Self {
            inet: Registered::new()?,
            inet6: Registered::new()?,
            common: Opened::open(sleepable, figures)?,
        })
    }

    /// Makes them known to the kernel, which may use them at once, so that they may not be
    /// withdrawn any more.
    pub(crate) fn enlist(&mut self) {
        self.inet.enlist(&self.common);
        self.inet6.enlist(&self.common);
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

/// Those of all tables.
struct OfTables;

/// Where a setting of this file's is.
fn place(stat: FibStat) -> Option<&'static AtomicU64> {
    match stat {
        FibStat::Auto => Some(&AUTO),
        FibStat::FlatPrefixes => Some(&FLAT_PREFIXES),
        FibStat::FlatTables => Some(&FLAT_TABLES),
        _ => None,
    }
}

impl Indexed for OfTables {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        match FibStat::at(index) {
            Some(FibStat::Tables) => {
                u64::from(fib::instances::<Inet>()) + u64::from(fib::instances::<Inet6>())
            }
            Some(FibStat::Bytes) => FibMemory::bytes(),
            Some(FibStat::Pages) => fib::store_figures().pages as u64,
            Some(FibStat::Pending) => fib::store_figures().pending as u64,
            Some(FibStat::BytesLimit) => FibMemory::limit(),
            Some(FibStat::OutOfMemory) => OUT_OF_MEMORY.load(Ordering::Relaxed),
            Some(stat) => place(stat).map_or(0, |place| place.load(Ordering::Relaxed)),
            None => 0,
        }
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        match stats::put_declared(c"net.weft.fib", index, value, place)? {
            None => Ok(()),
            Some(FibStat::BytesLimit) => {
                FibMemory::set_limit(value);
                Ok(())
            }
            Some(_) => Err(Errno::EINVAL),
        }
    }
}

/// Adds this file's part of `net.weft.fib`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
    stats::add(&mut Once::<OfTables>::new(tree), node, 0, |_: FibStat| true)
}
