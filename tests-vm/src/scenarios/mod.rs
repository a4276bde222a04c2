// SPDX-License-Identifier: BSD-2-Clause
//! What is tested in the guest. Each scenario is a file with a function and says
//! here what it needs. Scenarios of one group share a boot, in this order, and each
//! leaves the guest as it found it.

mod fib;
mod forward;
mod load;
mod memory;
mod refuse;
mod show;

use std::time::Duration;

use crate::Artifacts;
use crate::guest::{Guest, Result};
use crate::image::MODULES;
use crate::report::Report;

/// What a scenario may use.
pub struct Context<'a> {
    /// The guest it runs in.
    pub guest: &'a mut Guest,
    /// Where it notes its checks.
    pub report: &'a mut Report,
    /// The modules under test.
    pub artifacts: &'a Artifacts,
    /// Routes in the table file.
    pub routes: usize,
    /// True for the long form.
    pub full: bool,
}

/// One test in the guest.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// Scenarios of one group share a boot.
    pub group: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Modules of the kernel that it loads.
    pub klds: &'static [&'static str],
    /// How long it may take on a translated CPU; ten times that with `--full`.
    pub limit: Duration,
    /// The test. An error breaks it off and counts as a failed check.
    pub run: fn(&mut Context<'_>) -> Result<()>,
}

/// All scenarios.
pub const ALL: [Scenario; 5] = [
    load::SCENARIO,
    refuse::SCENARIO,
    fib::SCENARIO,
    memory::SCENARIO,
    forward::SCENARIO,
];

/// What `cargo xtask run` shows.
pub const TOUR: [Scenario; 2] = [show::SCENARIO, forward::SCENARIO];

/// Where the table file is in the guest.
pub const TABLE: &str = "/tables/ipv4";
/// The kernel's algorithm that takes single changes cheaply: the others are rebuilt
/// whole, which makes loading a table by single routes take for ever.
const PLAIN_ALGORITHM: &str = "radix4";
const ALGORITHM: &str = "net.route.algo.inet.algo";

impl Context<'_> {
    /// Loads `weft.ko`.
    fn load_weft(&mut self) -> Result<()> {
        self.guest
            .call(&format!("kld load {MODULES}/weft.ko"))
            .map(drop)
    }

    /// Unloads `weft.ko` and checks that it holds nothing any more.
    fn unload_weft(&mut self) -> Result<()> {
        self.guest
            .call_within("kld unload weft.ko", Duration::from_secs(30))?;
        self.nothing_held()
    }

    fn nothing_held(&mut self) -> Result<()> {
        let held = self.guest.memory_held("weft")?;
        self.report
            .equal(&held, &Vec::new(), "no memory held after unload");
        Ok(())
    }

    /// Compares `keys` addresses of both kinds in a FIB (`place` is a command's
    /// prefix, such as `in mid`), and notes whether all answers were right.
    fn compare_fib(&mut self, place: &str, keys: u64, what: &str) -> Result<()> {
        let limit = Duration::from_secs(60) + Duration::from_micros(keys * 100);
        let command = format!("{place}sysctl set net.weft.fib.check {keys}");
        let outcome = self.guest.call_within(&command, limit);
        let compared = self
            .guest
            .number(&format!("{place}sysctl get net.weft.fib.check_compared"))?;
        let wrong = self
            .guest
            .number(&format!("{place}sysctl get net.weft.fib.check_mismatches"))?;
        self.report.equal(&(compared, wrong), &(2 * keys, 0), what);
        outcome.map(drop)
    }
}
