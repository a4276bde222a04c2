// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.fib.<n>`: what the tables of FIB `n` hold and what has happened to them.
//!
//! The numbers of the FIBs are labels, so that prometheus_sysctl_exporter(8) makes one
//! metric of all of them. A node is there for each FIB that any network stack has, up
//! to [`MOST_FIBS`]; what it shows is the reader's own network stack's FIB.
//!
//! FIBs appear when `net.fibs` grows, for which the kernel has no event. But it asks
//! each algorithm how much it wants the new tables: with a lock held, so a task adds
//! the nodes soon after.

use core::ffi::CStr;

use crate::kpi::context::{Sleepable, Vnet, with_current_vnet};
use crate::kpi::errno::Errno;
use crate::kpi::fib::{self, Family, FibWatch, Figure, Inet, Inet6, LIMITS, limit_ns};
use crate::kpi::log;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};
use crate::kpi::text::Text;

/// FIBs that have nodes, at most: some 70 OIDs each, in 20 KB.
const MOST_FIBS: u32 = 256;

/// What each family's node has, by its index.
const FIGURES: [(Figure, &CStr, &CStr); 11] = [
    (
        Figure::Served,
        c"served",
        c"1: weft looks up this table; 0: another algorithm does, and all below reads 0",
    ),
    (Figure::Prefixes, c"prefixes", c"Routes in the table"),
    (
        Figure::NextHops,
        c"next_hops",
        c"Next hops and groups of them that the routes use, or used a moment ago",
    ),
    (
        Figure::BytesOwn,
        c"bytes_own",
        c"Bytes of lookup memory that this table alone has",
    ),
    (
        Figure::BytesShared,
        c"bytes_shared",
        c"This table's part of the lookup memory that it shares: what n tables have counts 1/n in each",
    ),
    (
        Figure::Flat,
        c"flat",
        c"1: the table has a flat top, 256 KB for faster lookups; see net.weft.fib.flat_prefixes",
    ),
    (
        Figure::Generation,
        c"generation",
        c"Times that lookups saw the table change since it was last built",
    ),
    (
        Figure::Changes,
        c"change_ns_count",
        c"Changes of routes that the table followed since weft serves it",
    ),
    (
        Figure::ChangesNs,
        c"change_ns_sum",
        c"Nanoseconds that these changes took together, each with the routing table locked",
    ),
    (
        Figure::Rebuilds,
        c"rebuilds",
        c"Times that the table was built again; growing numbers of next hops are one reason",
    ),
    (
        Figure::Failures,
        c"failures",
        c"Changes and builds that failed, mostly for want of memory; the table as it was answers on",
    ),
];

/// An index: the FIB, the family's place, and which figure; past the figures above,
/// a limit of times.
fn index(fib: u32, place: usize, which: usize) -> u32 {
    fib << 8 | (place as u32) << 7 | which as u32
}

struct OfFib;

impl Indexed for OfFib {
    fn read(index: u32, sleepable: &mut Sleepable, vnet: &Vnet<'_>) -> u64 {
        let (fib, inet6, which) = (index >> 8, index & 0x80 != 0, (index & 0x7f) as usize);
        let figure = match FIGURES.get(which) {
            Some((figure, ..)) => *figure,
            None => Figure::ChangesWithin(which - FIGURES.len()),
        };
        match inet6 {
            false => fib::figure::<Inet>(sleepable, vnet, fib, figure),
            true => fib::figure::<Inet6>(sleepable, vnet, fib, figure),
        }
    }
}

/// The nodes of all FIBs.
pub(crate) struct Figures {
    tree: Sysctls,
    parent: Parent,
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
            let about = c"Route lookup in the FIB of this number";
            let node = self
                .tree
                .node_labelled(self.parent, name.as_c_str(), c"fib", about)?;
            self.family::<Inet6>(node, fib, c"inet6", c"The FIB's IPv6 table")?;
            self.family::<Inet>(node, fib, c"inet", c"The FIB's IPv4 table")?;
        }
        Ok(())
    }

    fn family<F: Family>(
        &mut self,
        node: Parent,
        fib: u32,
        name: &'static CStr,
        about: &'static CStr,
    ) -> Result<(), Errno> {
        let node = self.tree.node(node, name, about)?;
        self.buckets::<F>(node, fib)?;
        // The kernel lists what came last first.
        for (which, (_, name, about)) in FIGURES.iter().enumerate().rev() {
            let index = index(fib, F::PLACE, which);
            self.tree
                .number_of::<OfFib>(node, name, None, index, about)?;
        }
        Ok(())
    }

    /// The histogram of changes: the numbers add up, as those who read it expect.
    fn buckets<F: Family>(&mut self, node: Parent, fib: u32) -> Result<(), Errno> {
        let buckets = self.tree.node(
            node,
            c"change_ns_bucket",
            c"Changes by the time they took: how many took no more than so many nanoseconds",
        )?;
        for limit in (0..=LIMITS).rev() {
            let name = match limit {
                LIMITS => Text::<16>::format(format_args!("+Inf")),
                _ => Text::format(format_args!("{}", limit_ns(limit))),
            };
            let index = index(fib, F::PLACE, FIGURES.len() + limit);
            self.tree.number_of::<OfFib>(
                buckets,
                name.as_c_str(),
                Some(c"le"),
                index,
                c"Changes that took no more than this many nanoseconds",
            )?;
        }
        Ok(())
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
