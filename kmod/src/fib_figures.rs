// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.fib.<n>`: what the tables of FIB `n` hold and what has happened to them, and
//! `net.weft.latency.fib_change.<n>`: how long its changes took.
//!
//! What there is of each is declared in [`TableStat`]. The numbers of the FIBs are labels,
//! so that prometheus_sysctl_exporter(8) makes one metric of all of them. A node is there
//! for each FIB that any network stack has, up to [`MOST_FIBS`]; what it shows is the
//! reader's own network stack's FIB.
//!
//! FIBs appear when `net.fibs` grows, for which the kernel has no event. But it asks
//! each algorithm how much it wants the new tables: with a lock held, so a task adds
//! the nodes soon after.

use core::ffi::CStr;

use weft_engine::stats::{CHANGE, Declared, TableStat};

use crate::kpi::context::{Sleepable, Vnet, with_current_vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{self, Family, FibWatch, Inet, Inet6};
use crate::kpi::log;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::text::Text;
use crate::latency::{self, INDEX_BITS, Timed};
use crate::stats::{self, Once};

/// FIBs that have nodes, at most: some 80 OIDs each, in 25 KB.
const MOST_FIBS: u32 = 256;

/// Indices of times begin here.
const TIMES: u32 = 1 << 31;
/// Places of limits of the histogram begin here; before are the figures'.
const WITHIN: u32 = 0x40;

/// An index: the FIB and the family's place; the figure's place comes on top.
fn index(fib: u32, place: usize) -> u32 {
    fib << 8 | (place as u32) << 7
}

/// Likewise, of times.
fn times_index(fib: u32, place: usize) -> u32 {
    TIMES | (fib << 1 | place as u32) << INDEX_BITS
}

struct OfFib;

fn figure<F: Family>(sleepable: &mut Sleepable, vnet: &Vnet<'_>, fib: u32, which: u32) -> u64 {
    if let Some(limit) = which.checked_sub(WITHIN) {
        let limit = CHANGE.limits.get(limit as usize).copied();
        let within = limit.unwrap_or(u64::MAX);
        return fib::times::<F, _>(sleepable, vnet, fib, |times| {
            times.map_or(0, |times| times.within(within))
        });
    }
    TableStat::at(which).map_or(0, |stat| fib::figure::<F>(sleepable, vnet, fib, stat))
}

fn time<F: Family>(sleepable: &mut Sleepable, vnet: &Vnet<'_>, fib: u32, index: u32) -> u64 {
    fib::times::<F, _>(sleepable, vnet, fib, |times| latency::read(times, index))
}

impl Indexed for OfFib {
    fn read(index: u32, sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        if index >= TIMES {
            let table = (index - TIMES) >> INDEX_BITS;
            return match table & 1 {
                0 => time::<Inet>(sleepable, vnet, table >> 1, index),
                _ => time::<Inet6>(sleepable, vnet, table >> 1, index),
            };
        }
        let (fib, which) = (index >> 8, index & 0x7f);
        match index & 0x80 {
            0 => figure::<Inet>(sleepable, vnet, fib, which),
            _ => figure::<Inet6>(sleepable, vnet, fib, which),
        }
    }
}

/// The nodes of all FIBs.
pub(crate) struct Figures {
    tree: Sysctls,
    parent: Parent,
    times: Parent,
    /// FIBs that have nodes.
    fibs: u32,
}

impl Figures {
    /// Nodes for the FIBs that the current network stack has, below `net.weft.fib`.
    /// To be dropped before that is.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new(sleepable: &mut Sleepable, parent: Parent) -> Result<Self, Errno> {
        let mut figures = Self {
            tree: Sysctls::new(sleepable)?,
            parent,
            times: latency::parent(sleepable, Timed::FibChange)?,
            fibs: 0,
        };
        let fibs = with_current_vnet(sleepable, |_, vnet| fib::fibs(vnet));
        figures.grow(fibs.unwrap_or(1))?;
        Ok(figures)
    }

    /// Adds the nodes of further FIBs.
    fn grow(&mut self, fibs: u32) -> Result<(), Errno> {
        while self.fibs < fibs.min(MOST_FIBS) {
            // Counted first: what fails is not tried again.
            let fib = self.fibs;
            self.fibs += 1;
            let name = Text::<8>::format(format_args!("{fib}"));
            let (name, tree) = (name.as_c_str(), &mut self.tree);
            let about = c"Route lookup in the FIB of this number";
            let node = tree.node_labelled(self.parent, name, c"fib", about)?;
            let about = c"Changes of the FIB of this number";
            let times = tree.node_labelled(self.times, name, c"fib", about)?;
            let nodes = [node, times];
            self.family::<Inet6>(nodes, fib, c"inet6", c"The FIB's IPv6 table")?;
            self.family::<Inet>(nodes, fib, c"inet", c"The FIB's IPv4 table")?;
        }
        Ok(())
    }

    fn family<F: Family>(
        &mut self,
        [figures, times]: [Parent; 2],
        fib: u32,
        name: &'static CStr,
        about: &'static CStr,
    ) -> Result<(), Errno> {
        let node = self.tree.node(figures, name, about)?;
        let base = index(fib, F::PLACE);
        let mut tree = Once::<OfFib>::new(&mut self.tree);
        stats::add_buckets(&mut tree, node, base | WITHIN, &CHANGE)?;
        stats::add(&mut tree, node, base, |_: TableStat| true)?;
        let node = self.tree.node(times, name, about)?;
        let mut tree = Once::<OfFib>::new(&mut self.tree);
        latency::add(&mut tree, node, times_index(fib, F::PLACE))
    }
}

impl FibWatch for Figures {
    fn fibs_appeared(&mut self, _sleepable: &mut Sleepable, fibs: u32) {
        if self.grow(fibs).is_err() {
            log::warning(format_args!(
                "net.weft.fib.{}: no memory for its figures",
                self.fibs.saturating_sub(1)
            ));
        }
    }
}
