// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask run`: the shortest way to see weft at work on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::build::{self, Build};
use crate::simulate::{self, SimulateArgs};
use crate::tools::run as call;
use crate::vm;

/// Loads the module here on FreeBSD; boots a FreeBSD with it elsewhere, if a
/// kernel is at hand; else runs the engine in the simulator.
///
/// # Errors
/// What the way taken could not do. A missing tool or kernel only decides the way.
pub(crate) fn run(root: &Path, args: &SimulateArgs) -> Result<()> {
    if cfg!(target_os = "freebsd") {
        let build = Build::prepare(root)?;
        let module = build::module(&build)?;
        call(Command::new("kldload").arg("-n").arg(module))?;
        return call(Command::new("sysctl").arg("net.weft"));
    }
    match in_guest(root)? {
        None => Ok(()),
        Some(reason) => {
            println!("No FreeBSD here: {reason}");
            println!("So this is the same engine in a simulation.\n");
            simulate::run(args)
        }
    }
}

/// Shows the module in a virtual machine, or says why not.
fn in_guest(root: &Path) -> Result<Option<String>> {
    if let Some(reason) = weft_tests_vm::reason_not_to_show() {
        return Ok(Some(reason));
    }
    let build = Build::prepare(root)?;
    if let Some(missing) = crate::tools::find_or_install_vm_tools().into_iter().next() {
        return Ok(Some(missing));
    }
    let counts = weft_tests_vm::show(&vm::artifacts(&build)?)?;
    ensure!(
        counts.failed == 0,
        "{} checks failed in the guest",
        counts.failed
    );
    Ok(None)
}
