// SPDX-License-Identifier: BSD-2-Clause
//! What tests in the kernel work with, `net.weft.test`. Not in the module that is
//! shipped.

mod bench;
mod exercise;
mod fail;
mod incoming;
mod probes;
mod queues;
mod repack;
mod rounds;
mod sums;

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::sysctl::{Parent, Sysctls};

/// What tests have set up.
pub(crate) struct Tests(());

impl Tests {
    /// Nothing yet.
    pub(crate) fn open() -> Self {
        Self(())
    }

    /// Takes everything back.
    pub(crate) fn stop(&mut self, sleepable: &mut Sleepable) {
        repack::stop(sleepable);
        queues::stop(sleepable);
        bench::stop(sleepable);
        probes::stop(sleepable);
    }
}

/// Adds `net.weft.test`.
///
/// # Errors
/// `ENOMEM`.
pub(crate) fn add_sysctls(
    sleepable: &mut Sleepable,
    tree: &mut Sysctls,
    weft: Parent,
) -> Result<(), Errno> {
    let node = tree.node(
        weft,
        c"test",
        c"For tests of this module: not in what is shipped",
    )?;

    fail::add_sysctls(tree, node)?;
    sums::add_sysctls(tree, node)?;
    bench::add_sysctls(tree, node)?;
    queues::add_sysctls(sleepable, tree, node)?;
    exercise::add_sysctls(tree, node)?;
    incoming::add_sysctls(tree, node)?;
    probes::add_sysctls(tree, node)?;
    repack::add_sysctls(tree, node)
}
