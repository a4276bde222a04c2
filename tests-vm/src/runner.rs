// SPDX-License-Identifier: BSD-2-Clause
//! Runs scenarios on a kernel: one boot a group, a log for each scenario, a TAP
//! report for the kernel.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};

use crate::Artifacts;
use crate::boot::{Backend, Order};
use crate::console::Sign;
use crate::guest::{self, Guest};
use crate::image::{KLDS, MODULES, Root, SYSTEM};
use crate::kernel::{Form, Kernel};
use crate::report::{Counts, Report};
use crate::scenarios::{Context, Scenario, Soak, System, TABLES};
use crate::sources::{self, NO_SOURCES, Sources};
use crate::userland::{NO_USERLAND, Userland};

/// How much longer everything may take in the long form.
const FULL_FACTOR: u32 = 10;
/// How long a guest may take to switch itself off; long, as busy waits of the kernel's
/// take their time in one that counts instructions.
const HALT_LIMIT: Duration = Duration::from_secs(120);

/// What is to be done on every kernel.
pub struct Plan<'a> {
    /// The modules and the agent.
    pub artifacts: &'a Artifacts,
    /// The scenarios, groups together.
    pub scenarios: Vec<Scenario>,
    /// True for the long form.
    pub full: bool,
    /// How long to soak, if it is not as usual.
    pub soak: Soak,
    /// The table files of IPv4 and IPv6, and the routes in each.
    pub tables: [(PathBuf, usize); 2],
    /// Where logs and reports go.
    pub output: PathBuf,
    /// What runs the guests.
    pub backend: Backend,
    /// Where the loader, bhyve and FreeBSD's other programs come from, if they are needed.
    pub userland: Option<Userland>,
    /// Where FreeBSD's own tests come from, if they are needed.
    pub sources: Option<Sources>,
}

/// The scenarios that share a boot, on one kernel.
struct Part<'a> {
    kernel: usize,
    group: &'a [Scenario],
}

/// What has become of parts so far.
struct Progress {
    /// The number of the next part.
    next: usize,
    /// The report of each part that is done.
    reports: Vec<Option<Report>>,
    /// Why the host cannot go on, if so.
    error: Option<Error>,
}

impl Plan<'_> {
    /// Runs everything on all of `kernels`, in so many machines at a time.
    ///
    /// # Errors
    /// If the host cannot make what a machine needs.
    pub fn run(&self, kernels: &[Kernel], at_once: usize) -> Result<Counts> {
        let start = Instant::now();
        let on = |kernel| self.groups().map(move |group| Part { kernel, group });
        let parts: Vec<Part<'_>> = (0..kernels.len()).flat_map(on).collect();
        let progress = Mutex::new(Progress {
            next: 0,
            reports: parts.iter().map(|_| None).collect(),
            error: None,
        });
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| self.work(kernels, &parts, &progress));
            }
        });
        let progress = progress
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = progress.error {
            return Err(error);
        }
        let mut reports: Vec<Report> = kernels.iter().map(|_| Report::default()).collect();
        for (part, report) in parts.iter().zip(progress.reports) {
            let mut report = report.unwrap_or_default();
            if at_once > 1 && report.deserves_another_run() {
                report = self.run_alone(&kernels[part.kernel], part.group, &report)?;
            }
            reports[part.kernel].append(report);
        }
        let mut counts = Counts::default();
        for (kernel, report) in kernels.iter().zip(reports) {
            self.conclude(kernel, &report)?;
            counts += report.counts();
        }
        println!(
            "{:.0} s, machines at a time: {at_once}",
            start.elapsed().as_secs_f32()
        );
        Ok(counts)
    }

    /// Takes one part after the other until none is left, or the host cannot go on.
    fn work(&self, kernels: &[Kernel], parts: &[Part<'_>], progress: &Mutex<Progress>) {
        let locked = || progress.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let number = {
                let mut progress = locked();
                progress.next += 1;
                progress.next - 1
            };
            let Some(part) = parts.get(number) else {
                return;
            };
            let kernel = &kernels[part.kernel];
            let mut report = Report::with_prefix(&format!("{}: ", kernel.name));
            let outcome = self.run_group(kernel, part.group, &self.folder(kernel), &mut report);
            let mut progress = locked();
            progress.reports[number] = Some(report);
            if let Err(error) = outcome {
                progress.next = parts.len();
                progress.error = Some(error);
            }
        }
    }

    /// Runs what failed beside another machine once more, with the host to itself; what
    /// that says counts.
    fn run_alone(&self, kernel: &Kernel, group: &[Scenario], earlier: &Report) -> Result<Report> {
        let mut report = Report::with_prefix(&format!("{}, alone: ", kernel.name));
        for failure in earlier.failures() {
            report.say(&format!("to be run again: {failure}"));
        }
        let folder = self.folder(kernel).join("alone");
        self.run_group(kernel, group, &folder, &mut report)?;
        report.supersede(earlier);
        Ok(report)
    }

    /// Writes the report of a kernel, and says what is in it.
    fn conclude(&self, kernel: &Kernel, report: &Report) -> Result<()> {
        let tap = self.folder(kernel).join("report.tap");
        std::fs::write(&tap, report.tap())
            .with_context(|| format!("could not write {}", tap.display()))?;
        for failure in report.failures() {
            println!("{}: FAILED: {failure}", kernel.name);
        }
        let Counts {
            passed,
            failed,
            skipped,
        } = report.counts();
        println!(
            "{}: {passed} passed, {failed} failed, {skipped} skipped ({})",
            kernel.name,
            tap.display()
        );
        Ok(())
    }

    /// Boots once for the whole group, and again after a scenario that cost the machine.
    fn run_group(
        &self,
        kernel: &Kernel,
        group: &[Scenario],
        folder: &Path,
        report: &mut Report,
    ) -> Result<()> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        let mut guest: Option<Guest> = None;
        for scenario in group {
            if let Some(missing) = scenario.klds.iter().find(|kld| !kernel.has_module(kld)) {
                report.skip(
                    scenario.name,
                    &format!("{missing}.ko is not beside the kernel"),
                );
                continue;
            }
            if scenario.counted && !matches!(self.backend, Backend::Qemu | Backend::QemuLoader) {
                report.skip(scenario.name, "only QEMU counts instructions");
                continue;
            }
            if scenario.needs_loader && self.backend == Backend::Qemu {
                report.skip(
                    scenario.name,
                    "it needs FreeBSD's loader (--backend qemu-loader)",
                );
                continue;
            }
            let is_qemu = matches!(self.backend, Backend::Qemu | Backend::QemuLoader);
            if !scenario.nics.is_empty() && !is_qemu {
                report.skip(scenario.name, "its network cards are QEMU's");
                continue;
            }
            if let Some(why) = self.lacks_system(scenario.system, kernel) {
                report.skip(scenario.name, &why);
                continue;
            }
            report.begin(scenario.name);
            let log = folder.join(scenario.name).join("console.log");
            let mut current = match guest.take() {
                Some(guest) => guest,
                None => match self.boot(kernel, group, folder, report)? {
                    Ok(mut guest) => {
                        note_boot_alarms(&mut guest, report);
                        guest
                    }
                    Err(error) => {
                        report.fail("the kernel boots", error);
                        continue;
                    }
                },
            };
            current.machine().log_to(&log)?;
            if self.run_scenario(scenario, kernel, &mut current, report) {
                guest = Some(current);
            }
        }
        if let Some(guest) = guest {
            report.begin("halt");
            halt(guest, report);
        }
        Ok(())
    }

    /// Why there is not what a scenario needs of FreeBSD's own, if so.
    fn lacks_system(&self, needed: System, kernel: &Kernel) -> Option<String> {
        if needed >= System::Programs {
            if kernel.form == Form::Disk {
                return Some("the programs are on a root of their own only".into());
            }
            let Some(userland) = &self.userland else {
                return Some(NO_USERLAND.into());
            };
            if let Some(why) = userland.lacks_programs() {
                return Some(why);
            }
        }
        (needed >= System::Tests && self.sources.is_none()).then(|| NO_SOURCES.into())
    }

    /// True if the machine can be used for the next scenario.
    fn run_scenario(
        &self,
        scenario: &Scenario,
        kernel: &Kernel,
        guest: &mut Guest,
        report: &mut Report,
    ) -> bool {
        let start = Instant::now();
        let factor = if self.full { FULL_FACTOR } else { 1 };
        guest.set_deadline(start + scenario.limit * factor * guest.patience());
        let before = report.counts().failed;
        let outcome = (scenario.run)(&mut Context {
            guest,
            report,
            artifacts: self.artifacts,
            kernel,
            routes: [self.tables[0].1, self.tables[1].1],
            full: self.full,
            soak: self.soak,
        });
        let usable = match outcome {
            Ok(()) => true,
            Err(error @ (guest::Error::Panicked(_) | guest::Error::Gone)) => {
                report.complaint("runs to its end", &error);
                false
            }
            Err(error) => {
                report.fail("runs to its end", &error);
                false
            }
        };
        note_alarms(guest, report);
        let failed = report.counts().failed - before;
        let result = if failed == 0 { "ok" } else { "FAILED" };
        report.say(&format!(
            "{:<22} {result:<6} {:.1} s",
            scenario.name,
            start.elapsed().as_secs_f32()
        ));
        usable
    }

    /// The outer error is the host's, the inner the guest's.
    fn boot(
        &self,
        kernel: &Kernel,
        group: &[Scenario],
        folder: &Path,
        report: &Report,
    ) -> Result<std::result::Result<Guest, guest::Error>> {
        let order = self.order(kernel, group, folder);
        let boot = format!("boot {}", order.name);
        let guest = order.start()?;
        if let Ok(guest) = &guest {
            report.say(&format!(
                "{boot:<22}        {:.1} s",
                guest.age().as_secs_f32()
            ));
        }
        Ok(guest)
    }

    fn order<'b>(&'b self, kernel: &'b Kernel, group: &[Scenario], folder: &'b Path) -> Order<'b> {
        Order {
            backend: self.backend,
            kernel,
            root: self.root(kernel, group),
            agent: &self.artifacts.agent,
            folder,
            // A group of this name may run in several parts, at the same time.
            name: group.first().map_or("none", |scenario| scenario.name),
            memory_mib: group
                .first()
                .map_or(0, |scenario| scenario.memory_mib[usize::from(self.full)]),
            counted: group.first().is_some_and(|scenario| scenario.counted),
            nics: group.first().map_or(&[], |scenario| scenario.nics),
            loader_conf: group.first().map_or("", |scenario| scenario.loader_conf),
            userland: self.userland.as_ref(),
        }
    }

    /// Prints what [`Plan::run`] would start for `kernel`.
    pub fn print_commands(&self, kernel: &Kernel) {
        let folder = self.folder(kernel);
        for group in self.groups() {
            for line in self.order(kernel, group, &folder).commands() {
                println!("{line}");
            }
        }
    }

    fn groups(&self) -> impl Iterator<Item = &[Scenario]> {
        self.scenarios
            .chunk_by(|one, other| one.group == other.group)
    }

    fn folder(&self, kernel: &Kernel) -> PathBuf {
        let suffix = match self.backend {
            Backend::Qemu => "",
            Backend::QemuLoader => ".loader",
            Backend::Bhyve => ".bhyve",
            Backend::Bochs => ".bochs",
        };
        self.output.join(format!("{}{suffix}", kernel.name))
    }

    fn root(&self, kernel: &Kernel, group: &[Scenario]) -> Root {
        let mut root = Root::with_agent(&self.artifacts.agent);
        root.add(&format!("{MODULES}/weft.ko"), &self.artifacts.module);
        let for_tests = &self.artifacts.module_for_tests;
        root.add(&format!("{MODULES}/test/weft.ko"), for_tests);
        let with_checks = &self.artifacts.module_with_checks;
        root.add(&format!("{MODULES}/checked/weft.ko"), with_checks);
        if let Some(uncounted) = &self.artifacts.module_uncounted {
            root.add(&format!("{MODULES}/uncounted/weft.ko"), uncounted);
        }
        let [example, of_other_abi] = &self.artifacts.examples;
        root.add(&format!("{MODULES}/memnic.ko"), example);
        root.add(&format!("{MODULES}/other-abi/memnic.ko"), of_other_abi);
        for variant in &self.artifacts.variants {
            root.add(
                &format!("{MODULES}/{}/weft.ko", variant.name),
                &variant.path,
            );
        }
        if group.iter().any(|scenario| scenario.installed) {
            for folder in ["boot/modules", "usr/local"] {
                root.add(
                    &format!("/{folder}"),
                    &self.artifacts.installed.join(folder),
                );
            }
        }
        for kld in group.iter().flat_map(|scenario| scenario.klds) {
            if let Some(path) = kernel.module(kld) {
                root.add(&format!("{KLDS}/{kld}.ko"), &path);
            }
        }
        for (place, (file, _)) in TABLES.into_iter().zip(&self.tables) {
            root.add(place, file);
        }
        let system = group.iter().map(|scenario| scenario.system).max();
        if system >= Some(System::Programs)
            && let Some(userland) = &self.userland
        {
            userland.add_programs(&mut root);
            root.add(
                SYSTEM,
                &Path::new(env!("CARGO_MANIFEST_DIR")).join("system"),
            );
        }
        if system >= Some(System::Tests)
            && let Some(sources) = &self.sources
        {
            sources.add_tests(&mut root);
            let klds = sources::KLDS.iter();
            for (kld, path) in klds.filter_map(|kld| Some((kld, kernel.module(kld)?))) {
                root.add(&format!("{KLDS}/{kld}.ko"), &path);
            }
        }
        root
    }
}

/// Lines of a complaint and what follows it that go into the report.
const COMPLAINT_LINES: usize = 40;
const BOOT_COMPLAINT_LINES: usize = 9;

/// What the kernel finds in its own locking before anything of ours has run is
/// noted; WITNESS reports a pair of locks once, so it does not come again.
fn note_boot_alarms(guest: &mut Guest, report: &mut Report) {
    for alarm in guest.take_alarms() {
        if alarm.sign == Sign::LockOrder {
            let text = guest.text_from(&alarm.line, BOOT_COMPLAINT_LINES);
            report.note(&format!("the kernel's own, before weft is loaded:\n{text}"));
        } else {
            let text = guest.text_from(&alarm.line, COMPLAINT_LINES);
            report.complaint("the kernel has no complaints at boot", text);
        }
    }
}

/// Every complaint of the kernel fails.
fn note_alarms(guest: &mut Guest, report: &mut Report) {
    let alarms = guest.take_alarms();
    for alarm in &alarms {
        let text = guest.text_from(&alarm.line, COMPLAINT_LINES);
        report.complaint("the kernel has no complaints", text);
    }
    if alarms.is_empty() {
        report.pass("the kernel has no complaints");
    }
    if guest.repeats() > 0 {
        report.note(&format!("{} requests repeated so far", guest.repeats()));
    }
}

fn halt(guest: Guest, report: &mut Report) {
    let tail = guest.last_lines(30);
    report.check(
        guest.halt(HALT_LIMIT),
        "the machine switches itself off",
        tail,
    );
}
