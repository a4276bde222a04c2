// SPDX-License-Identifier: BSD-2-Clause
//! The `net.weft` tree. Each part of the module adds its own branch here, with a
//! description that a stranger can tune by.

use core::ffi::CStr;

use crate::compat::KernelLine;
use crate::fib_figures::Figures;
use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::sysctl::{LINE, Line, Sysctls};
use crate::kpi::text::Text;
use crate::{fib, fib_check, l3, latency, packet, pair_nodes, pfil6};

/// The module's version, as `net.weft.version` shows it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

struct VersionLine;

impl Line for VersionLine {
    fn read(_sleepable: &mut Sleepable) -> Text<LINE> {
        Text::format(format_args!("{VERSION}"))
    }
}

struct BuildLine;

impl Line for BuildLine {
    fn read(_sleepable: &mut Sleepable) -> Text<LINE> {
        Text::format(format_args!("{}", env!("WEFT_BUILD")))
    }
}

/// Adds the tree, and the figures of FIBs, which are to be dropped first.
///
/// # Errors
/// `ENOMEM`; nothing is left behind.
pub(crate) fn grow(sleepable: &mut Sleepable) -> Result<(Sysctls, Figures), Errno> {
    const ABOUT: &CStr = c"weft: packets, queues, links and route lookup";
    let mut tree = Sysctls::new(sleepable)?;
    let weft = tree.node(Sysctls::net(), c"weft", ABOUT)?;
    tree.line::<VersionLine>(weft, c"version", c"Version of weft.ko")?;
    tree.line::<BuildLine>(
        weft,
        c"build",
        c"What weft.ko was built by: compiler; kernel headers",
    )?;
    tree.line::<KernelLine>(
        weft,
        c"kernel",
        c"The running kernel as weft.ko sees it: version, the version it was built for, options",
    )?;
    #[cfg(feature = "test")]
    crate::test::add_sysctls(sleepable, &mut tree, weft)?;
    latency::add_sysctls(sleepable, &mut tree, weft)?;
    packet::add_sysctls(&mut tree, weft)?;
    pair_nodes::add_sysctls(sleepable, &mut tree, weft)?;
    l3::add_sysctls(sleepable, &mut tree, weft)?;
    pfil6::add_sysctls(&mut tree, weft)?;
    let node = tree.node(weft, c"fib", c"Route lookup by weft's algorithms")?;
    fib::add_sysctls(&mut tree, node)?;
    fib_check::add_sysctls(&mut tree, node)?;
    let figures = Figures::new(sleepable, node)?;
    Ok((tree, figures))
}
