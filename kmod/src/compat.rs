// SPDX-License-Identifier: BSD-2-Clause
//! Whether this kernel is the one the module was built for.
//!
//! The kernel linker has refused other branches before any code of the module
//! ran (`MODULE_DEPEND`). What it cannot know is checked here: a kernel older
//! than the headers on the same branch, another choice of VIMAGE, and structures
//! of another size. One line says what differs.

use crate::kpi::context::Sleepable;
use crate::kpi::errno::Errno;
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::sysctl::{LINE, Line};
use crate::kpi::text::Text;

/// Compares the running kernel with what the module was compiled for.
///
/// # Errors
/// `EPROGMISMATCH`, when they differ; the reason has been logged.
pub(crate) fn check(sleepable: &mut Sleepable) -> Result<(), Errno> {
    let running = kernel::running_osreldate();
    let compiled = kernel::compiled_osreldate();
    if !(compiled..next_branch(compiled)).contains(&running) {
        log::error(format_args!(
            "not loaded: built for __FreeBSD_version {compiled} to {}, this kernel is {running}; \
             rebuild weft.ko with this kernel's headers",
            next_branch(compiled) - 1
        ));
        return Err(Errno::EPROGMISMATCH);
    }
    let vimage = kernel::has_feature(sleepable, c"kern.features.vimage");
    if vimage != kernel::compiled_with_vimage() {
        let with = |has| if has { "with" } else { "without" };
        log::error(format_args!(
            "not loaded: built for a kernel {} options VIMAGE, this kernel is {} it; \
             rebuild weft.ko with this kernel's options",
            with(kernel::compiled_with_vimage()),
            with(vimage)
        ));
        return Err(Errno::EPROGMISMATCH);
    }
    kernel::compare_sizes(sleepable).map_err(|differs| {
        log::error(format_args!(
            "not loaded: {} has {} bytes in this kernel, {} where weft.ko was built; \
             rebuild weft.ko with this kernel's headers and options",
            differs.name.to_str().unwrap_or("a structure"),
            differs.running,
            differs.compiled
        ));
        Errno::EPROGMISMATCH
    })
}

/// The first version of the branch after the one that `osreldate` belongs to.
fn next_branch(osreldate: i32) -> i32 {
    osreldate - osreldate % 100_000 + 100_000
}

/// `net.weft.kernel`.
pub(crate) struct KernelLine;

impl Line for KernelLine {
    fn read(sleepable: &mut Sleepable) -> Text<LINE> {
        let mut option = |oid, name| {
            if kernel::has_feature(sleepable, oid) {
                name
            } else {
                ""
            }
        };
        Text::format(format_args!(
            "__FreeBSD_version {}, built for {}; options:{}{}{}",
            kernel::running_osreldate(),
            kernel::compiled_osreldate(),
            option(c"kern.features.vimage", " VIMAGE"),
            option(c"kern.features.invariants", " INVARIANTS"),
            option(c"kern.features.witness", " WITNESS")
        ))
    }
}
