// SPDX-License-Identifier: BSD-2-Clause
//! What is tested in the guest. Each scenario is a file with a function and says
//! here what it needs. Scenarios of one group share a boot, in this order, and each
//! leaves the guest as it found it.

mod audit;
mod causes;
mod checker;
mod churn;
mod contest;
mod examples;
mod failures;
mod family;
mod fib;
mod fibs;
mod forward;
mod fuzz;
mod install;
mod ipv6_fragments;
mod ipv6_policy;
mod l3;
mod load;
mod memory;
mod netmap;
mod nic;
mod nic_bulk;
mod nic_card;
mod nic_claims;
mod nic_detach;
mod nic_example;
mod nic_host;
mod nic_loader;
mod nic_offload;
mod nic_settings;
mod nic_times;
mod nic_traffic;
mod nic_tuned;
mod numbering;
mod packets;
mod pair;
mod pair_conf;
mod pair_long;
mod pair_system;
mod pair_tuning;
mod pair_verbs;
mod permissions;
mod probes;
mod programs;
mod queues;
mod race;
mod race_ipv6;
mod race_nic;
mod race_packet;
mod race_pair;
mod race_statistics;
mod race_tuning;
mod race_wire;
mod refuse;
mod sharing;
mod show;
mod soak;
mod statistics;
mod system_tests;

use std::time::{Duration, Instant};

use family::{Family, V4, V6};
pub use soak::{Asked as Soak, NAME as SOAK, limit as soak_limit};

use crate::Artifacts;
use crate::guest::{Error, Guest, Result};
use crate::image::{KLDS, MODULES};
use crate::kernel::Kernel;
use crate::lan::Nic;
use crate::report::Report;
use crate::table::EVERYDAY;

/// What a scenario may use.
pub struct Context<'a> {
    /// The guest it runs in.
    pub guest: &'a mut Guest,
    /// Where it notes its checks.
    pub report: &'a mut Report,
    /// The modules under test.
    pub artifacts: &'a Artifacts,
    /// The kernel that runs.
    pub kernel: &'a Kernel,
    /// Routes in the table files of IPv4 and IPv6.
    pub routes: [usize; 2],
    /// True for the long form.
    pub full: bool,
    /// How long to soak, if it is not as usual.
    pub soak: soak::Asked,
}

/// What of FreeBSD's own a scenario needs beside the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// Nothing.
    #[default]
    None,
    /// The programs and startup scripts of a userland.
    Programs,
    /// Those, and the tests of a source tree.
    Tests,
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
    /// Memory of the guest in MiB, everyday and with `--full`. A group has that of its
    /// first scenario.
    pub memory_mib: [u32; 2],
    /// Whether the guest's clock counts instructions.
    pub counted: bool,
    /// What it needs of FreeBSD's own.
    pub system: System,
    /// Whether the guest is one into which the module was installed.
    pub installed: bool,
    /// Lines that FreeBSD's loader reads. Where there is no loader, the kernel gets what they
    /// set. A group has those of its first scenario.
    pub loader_conf: &'static str,
    /// Whether it makes no sense without a loader, which loads modules before the kernel runs.
    pub needs_loader: bool,
    /// The guest's network cards, all of which end at the host. A group has those of its
    /// first scenario.
    pub nics: &'static [Nic],
    /// Whether it is left out unless `--filter` asks for it.
    pub by_name: bool,
    /// Whether it loads a module that counts no packets, which is made for it alone.
    pub uncounted: bool,
    /// The test. An error breaks it off and counts as a failed check.
    pub run: fn(&mut Context<'_>) -> Result<()>,
}

impl Scenario {
    /// What most scenarios have in common.
    const ORDINARY: Self = Self {
        name: "",
        group: "",
        about: "",
        klds: &[],
        limit: Duration::from_secs(120),
        memory_mib: [1024, 2048],
        counted: false,
        system: System::None,
        installed: false,
        loader_conf: "",
        needs_loader: false,
        nics: &[],
        by_name: false,
        uncounted: false,
        run: |_| Ok(()),
    };
}

/// All scenarios.
pub const ALL: [Scenario; 67] = [
    load::SCENARIO,
    refuse::SCENARIO,
    install::SCENARIO,
    examples::SCENARIO,
    nic_example::SCENARIO,
    fib::SCENARIO_V4,
    fib::SCENARIO_V6,
    fibs::SCENARIO,
    churn::SCENARIO,
    checker::SCENARIO,
    memory::SCENARIO_V4,
    memory::SCENARIO_V6,
    forward::SCENARIO,
    numbering::SCENARIO,
    sharing::SCENARIO,
    packets::SCENARIO,
    queues::SCENARIO,
    pair::SCENARIO,
    pair_long::SCENARIO,
    pair_tuning::SCENARIO,
    statistics::SCENARIO,
    statistics::SCENARIO_NIC,
    probes::SCENARIO,
    audit::SCENARIO,
    causes::SCENARIO,
    l3::SCENARIO,
    ipv6_policy::SCENARIO,
    ipv6_fragments::SCENARIO,
    pair_verbs::SCENARIO,
    pair_system::SCENARIO,
    pair_conf::SCENARIO,
    nic_host::SCENARIO,
    nic_loader::SCENARIO,
    nic_card::EM,
    nic_card::EM_EXPRESS,
    nic_card::VMX,
    nic_card::VTNET,
    nic_card::VTNET_LEGACY,
    nic_offload::SCENARIO,
    nic_settings::VMX,
    nic_settings::EM,
    nic_settings::EM_EXPRESS,
    nic_settings::VTNET,
    nic_claims::SCENARIO,
    nic_bulk::SCENARIO,
    nic_bulk::CHANGES,
    nic_detach::SCENARIO,
    netmap::SCENARIO,
    permissions::SCENARIO,
    failures::LOAD,
    failures::PAIR,
    failures::FIB,
    failures::NIC,
    fuzz::SCENARIO,
    soak::SCENARIO,
    race::SCENARIO,
    race_ipv6::SCENARIO,
    race_nic::VMX,
    race_nic::EM,
    race_nic::VTNET,
    race_packet::SCENARIO,
    race_wire::SCENARIO,
    race_statistics::SCENARIO,
    race_tuning::SCENARIO,
    race_pair::SCENARIO,
    race_pair::SCENARIO_TIME,
    system_tests::SCENARIO,
];

/// What `cargo xtask run` shows.
pub const TOUR: [Scenario; 2] = [show::SCENARIO, forward::SCENARIO];

/// How long something that happens by itself may take to happen.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Bytes in a page of the kernel's.
const PAGE: u64 = 4096;

/// Where the table files are in the guest: IPv4's and IPv6's.
pub const TABLES: [&str; 2] = [V4.table, V6.table];

impl Context<'_> {
    /// Loads `weft.ko`.
    fn load_weft(&mut self) -> Result<()> {
        self.guest
            .call(&format!("kld load {MODULES}/weft.ko"))
            .map(drop)
    }

    /// Loads the `weft.ko` that has `net.weft.test`, and arithmetic that panics where it
    /// overflows.
    fn load_weft_for_tests(&mut self) -> Result<()> {
        self.guest
            .call(&format!("kld load {MODULES}/checked/weft.ko"))
            .map(drop)
    }

    /// Loads the `weft.ko` that has `net.weft.test` and is otherwise as it is shipped.
    fn load_weft_to_measure(&mut self) -> Result<()> {
        self.guest
            .call(&format!("kld load {MODULES}/test/weft.ko"))
            .map(drop)
    }

    /// Loads the `weft.ko` that counts no packets and is otherwise as it is shipped.
    fn load_weft_uncounted(&mut self) -> Result<()> {
        self.guest
            .call(&format!("kld load {MODULES}/uncounted/weft.ko"))
            .map(drop)
    }

    /// Whether the kernel, for which `weft.ko` is loaded, checks itself (INVARIANTS).
    fn is_checked(&mut self) -> Result<bool> {
        let kernel = self.guest.sysctl("net.weft.kernel")?;
        Ok(kernel.contains("INVARIANTS"))
    }

    /// Whether the kernel is one to measure on; if not, the scenario is skipped.
    fn is_to_measure(&mut self, scenario: &str) -> Result<bool> {
        let is_checked = self.is_checked()?;
        if is_checked {
            let why = "a kernel that checks itself is none to measure on";
            self.report.skip(scenario, why);
        }
        Ok(!is_checked)
    }

    /// Unloads `weft.ko` and checks that it holds nothing any more.
    fn unload_weft(&mut self) -> Result<()> {
        self.guest
            .call_within("kld unload weft.ko", Duration::from_secs(60))?;
        self.nothing_held()
    }

    /// Checks that no memory type or zone of the module has anything in use.
    fn nothing_held(&mut self) -> Result<()> {
        let held = self.guest.memory_held("weft")?;
        self.report
            .equal(&held, &Vec::new(), "no memory held after unload");
        Ok(())
    }

    /// Loads a module of the kernel's. Another scenario may have loaded it; then
    /// that is as good.
    fn load_kld(&mut self, name: &str) -> Result<()> {
        match self.guest.call(&format!("kld load {KLDS}/{name}.ko")) {
            Err(Error::Failed { why, .. }) if why.starts_with("EEXIST") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Has the FIB of `place` use an algorithm. `place` is a command's prefix, such
    /// as `in mid` or `fib 3`, with a space behind it, or nothing.
    fn choose(&mut self, place: &str, family: &Family, algorithm: &str) -> Result<()> {
        let name = family.algorithm;
        let limit = Duration::from_secs(120);
        self.guest
            .call_within(&format!("{place}sysctl set {name} {algorithm}"), limit)?;
        let chosen = self.guest.line(&format!("{place}sysctl get {name}"))?;
        let what = format!("{place}{algorithm} is selected");
        self.report.equal(chosen.as_str(), algorithm, &what);
        Ok(())
    }

    /// Compares `keys` addresses of both kinds in a FIB with the route table, for
    /// the families named, which must be those that the module serves there; and
    /// notes whether all answers were right.
    fn compare(&mut self, place: &str, families: &[&Family], keys: u64, what: &str) -> Result<()> {
        let limit = Duration::from_secs(60) + Duration::from_micros(keys * 200);
        let command = format!("{place}sysctl set net.weft.fib.check {keys}");
        let outcome = self.guest.call_within(&command, limit);
        for family in families {
            let mut counts = [0; 2];
            for (count, name) in counts.iter_mut().zip(family.check) {
                *count = self.guest.number(&format!("{place}sysctl get {name}"))?;
            }
            let what = format!("{}: {what}", family.name);
            self.report.equal(&counts, &[2 * keys, 0], &what);
        }
        outcome.map(drop)
    }

    /// Routes of a family's table that a scenario loads if it does not want all.
    fn some_routes(&self, family: &Family) -> usize {
        EVERYDAY[family.number].min(self.routes[family.number])
    }

    /// Puts `count` routes of a table in, with the plain algorithm, into the FIB of `place`.
    fn load_routes(
        &mut self,
        place: &str,
        family: &Family,
        gateways: &str,
        variant: u32,
        count: usize,
    ) -> Result<()> {
        self.choose(place, family, family.plain)?;
        let table = family.table;
        let command = format!("{place}route load {table} {gateways} {variant} {count}");
        let lines = self.guest.call_within(&command, limit_for(count))?;
        let numbers = lines[0].split(' ').map(str::parse);
        let loaded: Vec<usize> = numbers
            .collect::<std::result::Result<_, _>>()
            .unwrap_or_default();
        self.report.equal(
            &loaded[..2.min(loaded.len())],
            &[count, 0],
            &format!("{place}{}: all routes of the table are in", family.name),
        );
        self.report.note(&format!(
            "{place}{}: routes, errors, milliseconds: {}",
            family.name,
            lines.join(" ")
        ));
        Ok(())
    }

    /// Takes the routes out again that [`Context::load_routes`] put in.
    fn unload_routes(&mut self, place: &str, family: &Family, count: usize) -> Result<()> {
        let command = format!("{place}route unload {} {count}", family.table);
        self.guest.call_within(&command, limit_for(count)).map(drop)
    }

    /// One end of an epair with all gateways of both families behind it; `at` is 0 or 1.
    fn set_up_interface(&mut self, at: usize) -> Result<String> {
        self.load_kld("if_epair")?;
        let pair = self.guest.line("if create epair")?;
        let other = format!("{}b", pair.trim_end_matches('a'));
        let (v4, v6) = (V4.interface(at), V6.interface(at));
        // Detection of duplicates would keep the address from use for a while.
        self.guest.each(&[
            "sysctl set net.inet6.ip6.dad_count 0".into(),
            "if addr lo0 127.0.0.1/8".into(),
            "if up lo0".into(),
            format!("if up {pair}"),
            format!("if up {other}"),
            format!("if addr {pair} {v4}"),
            format!("if addr {pair} {v6}"),
        ])?;
        Ok(pair)
    }

    /// Bytes in use by malloc(9) types, and pages of UMA zones, named `prefix...`, when
    /// nothing of the module's waits to be given back.
    fn bytes_held(&mut self, prefix: &str) -> Result<u64> {
        let start = Instant::now();
        while prefix == "weft"
            && self.guest.number("sysctl get net.weft.fib.pending")? > 0
            && start.elapsed() < SETTLE_LIMIT
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        let types = self.column(&format!("malloc {prefix}"), 1)?;
        let pages = self.column(&format!("zones {prefix}"), 2)?;
        Ok(types + pages * PAGE)
    }

    /// The sum of a column of the agent's answer.
    fn column(&mut self, command: &str, at: usize) -> Result<u64> {
        let lines = self.guest.call_within(command, Duration::from_secs(30))?;
        lines
            .iter()
            .map(|line| {
                let field = line.split('\t').nth(at);
                field
                    .and_then(|field| field.parse::<u64>().ok())
                    .ok_or_else(|| Error::Unexpected(format!("{command}: {line}")))
            })
            .sum()
    }

    /// Waits until the module serves `wanted` tables; a dead jail's network stack goes
    /// when its last reference does, which may take a moment.
    fn wait_for_tables(&mut self, wanted: u64, what: &str) -> Result<()> {
        let start = Instant::now();
        let mut found = self.tables()?;
        while found != wanted && start.elapsed() < SETTLE_LIMIT {
            std::thread::sleep(Duration::from_millis(100));
            found = self.tables()?;
        }
        self.report.equal(&found, &wanted, what);
        Ok(())
    }

    /// Route tables that the module serves, over all network stacks.
    fn tables(&mut self) -> Result<u64> {
        self.guest.number("sysctl get net.weft.fib.tables")
    }
}

/// How long it may take to put so many routes in, or take them out.
fn limit_for(routes: usize) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(2 * routes as u64)
}
