// SPDX-License-Identifier: BSD-2-Clause
//! Nodes of `net.weft.test` that measure: settings, and numbers to which one writes how many
//! rounds there are to be, and reads what they took.

use core::ffi::CStr;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::stats;

/// The most rounds, so that a measurement takes seconds at most.
const MOST: u64 = 1_000_000;

/// A setting: where it is kept, its name, what it is, the least and the most that it may be.
pub(super) type Setting = (&'static AtomicU64, &'static CStr, &'static CStr, (u64, u64));

/// A node with settings and measurements.
pub(super) trait Rounds: Sized {
    /// The node's name, from `net` on.
    const NODE: &'static str;
    /// Its settings.
    const SETTINGS: &'static [Setting];
    /// What can be measured.
    type Work: Copy + 'static;
    /// Each, its name, and what it is.
    const WORKS: &'static [(Self::Work, &'static CStr, &'static CStr)];
    /// The last result of each; 0: there was none, or it failed.
    const RESULTS: &'static [AtomicU64];

    /// Does so many rounds. `None` if there was no memory.
    fn measure(sleepable: &mut Sleepable, work: Self::Work, rounds: u64) -> Option<u64>;

    /// Adds the settings and the measurements to the node.
    ///
    /// # Errors
    /// As [`Sysctls::setting_of`].
    fn add_sysctls(tree: &mut Sysctls, node: Parent) -> Result<(), Errno> {
        for (index, (_, name, about)) in Self::WORKS.iter().enumerate().rev() {
            tree.setting_of::<Measured<Self>>(node, name, index as u32, about)?;
        }
        for (index, (_, name, about, _)) in Self::SETTINGS.iter().enumerate().rev() {
            tree.setting_of::<Set<Self>>(node, name, index as u32, about)?;
        }
        Ok(())
    }

    /// Refuses a number that is not in the range, and says so.
    ///
    /// # Errors
    /// `EINVAL` for such a number.
    fn allow(name: &CStr, value: u64, allowed: (u64, u64)) -> Result<(), Errno> {
        let name = name.to_str().unwrap_or_default();
        stats::allow(format_args!("{}.{name}", Self::NODE), value, allowed)
    }
}

struct Set<R>(PhantomData<R>);

impl<R: Rounds> Indexed for Set<R> {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let setting = R::SETTINGS.get(index as usize);
        setting.map_or(0, |(place, ..)| place.load(Ordering::Relaxed))
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        let setting = R::SETTINGS.get(index as usize);
        let (place, name, _, allowed) = setting.ok_or(Errno::EINVAL)?;
        R::allow(name, value, *allowed)?;
        place.store(value, Ordering::Relaxed);
        Ok(())
    }
}

struct Measured<R>(PhantomData<R>);

impl<R: Rounds> Indexed for Measured<R> {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        let result = R::RESULTS.get(index as usize);
        result.map_or(0, |result| result.load(Ordering::Relaxed))
    }

    fn write(
        index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        rounds: u64,
    ) -> Result<(), Errno> {
        let found = R::WORKS
            .get(index as usize)
            .zip(R::RESULTS.get(index as usize));
        let (&(work, name, _), place) = found.ok_or(Errno::EINVAL)?;
        R::allow(name, rounds, (1, MOST))?;
        let result = R::measure(sleepable, work, rounds);
        place.store(result.unwrap_or(0), Ordering::Relaxed);
        result.map(drop).ok_or(Errno::ENOMEM)
    }
}
