// SPDX-License-Identifier: BSD-2-Clause
//! From a kernel and a root to a guest that listens, by each of the back ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::bhyve::{self, Vm};
use crate::bochs;
use crate::guest::{Error, Guest};
use crate::image::{KLDS, Root};
use crate::kernel::{Form, Kernel};
use crate::lan::{self, Lan, Nic};
use crate::loader;
use crate::machine::Machine;
use crate::qemu::{self, Accelerator, Start};
use crate::userland::{NO_USERLAND, Userland, loader_conf, settings};

/// What runs the guest.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// QEMU, which gets the kernel directly.
    #[default]
    Qemu,
    /// QEMU, whose guest boots by FreeBSD's loader from the CD.
    QemuLoader,
    /// bhyve, on a FreeBSD host.
    Bhyve,
    /// bhyve on a FreeBSD host that Bochs emulates.
    Bochs,
}

/// How long a guest may take from power-on to the agent's greeting.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// The same for an installed system, which grows its disk and makes keys first.
const DISK_BOOT_LIMIT: Duration = Duration::from_secs(900);
/// How much longer things may take where QEMU translates the guest's instructions, on a
/// host that has others to serve. It bounds what hangs, and is never waited for.
const TRANSLATED_FACTOR: u32 = 3;
/// How much longer things take in a machine inside Bochs.
const BOCHS_FACTOR: u32 = 10;
/// Memory of a machine inside Bochs, in MiB.
const NESTED_MIB: u32 = 256;

/// The kernel's environment, as `loader.conf` and `device.hints` would give it.
const ENVIRONMENT: [&str; 12] = [
    "hint.uart.0.at=isa",
    "hint.uart.0.port=0x3F8",
    "hint.uart.0.flags=0x10",
    "hint.uart.0.irq=4",
    "vfs.root.mountfrom=cd9660:/dev/cd0",
    "init_path=/sbin/init",
    "net.fibs=4",
    "kern.panic_reboot_wait_time=0",
    "debug.debugger_on_panic=0",
    "debug.trace_on_panic=1",
    // As FreeBSD's own debug kernels have it (WITNESS_SKIPSPIN): the kernel reverses
    // spin locks of callout(9) and rmlock(9) by itself.
    "debug.witness.skipspin=1",
    // The agent writes to the console; its lines have no business in the kernel's.
    "kern.log_console_output=0",
];

/// What an installed system does with the second disk, by sh(1), when it is up: the
/// agent finds everything where it is on a root of its own.
const USER_DATA: &str = "#!/bin/sh
mount -t cd9660 /dev/iso9660/cidata /mnt
ln -s /mnt/modules /mnt/tables /
ln -s /boot/kernel /klds
/mnt/sbin/init
shutdown -o -p now
";

/// A guest to be started.
pub struct Order<'a> {
    /// What runs it.
    pub backend: Backend,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Its root, with the agent in it.
    pub root: Root,
    /// The agent, for the host inside Bochs.
    pub agent: &'a Path,
    /// Where its images and logs go.
    pub folder: &'a Path,
    /// What its images and logs are called.
    pub name: &'a str,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Whether its clock counts instructions; QEMU only.
    pub counted: bool,
    /// Its network cards; QEMU only.
    pub nics: &'a [Nic],
    /// Lines for the loader, or what they set for the kernel.
    pub loader_conf: &'a str,
    /// Where the loader and bhyve come from.
    pub userland: Option<&'a Userland>,
}

/// Why this back end cannot be used here, if so.
#[must_use]
pub fn reason_to_skip(backend: Backend, userland: Option<&Userland>) -> Option<String> {
    let without_userland = || userland.is_none().then(|| NO_USERLAND.to_string());
    let without_qemu = || {
        (!qemu::is_there())
            .then(|| format!("{} is not installed (cargo xtask setup)", qemu::PROGRAM))
    };
    match backend {
        Backend::Qemu => without_qemu(),
        Backend::QemuLoader => without_qemu().or_else(without_userland),
        Backend::Bhyve => bhyve::reason_to_skip().or_else(without_userland),
        Backend::Bochs => bochs::reason_to_skip()
            .or_else(without_userland)
            .or_else(|| userland?.lacks_bhyve()),
    }
}

impl Order<'_> {
    /// Starts the guest. The outer error is the host's, the inner the guest's.
    ///
    /// # Errors
    /// If an image cannot be made or a program not be started.
    pub fn start(mut self) -> Result<std::result::Result<Guest, Error>> {
        let guest = match self.backend {
            Backend::Qemu if self.kernel.form == Form::Disk => self.start_disk(),
            Backend::Qemu => self.start_qemu(),
            Backend::QemuLoader => self.start_qemu_by_loader(),
            Backend::Bhyve => self.start_bhyve(),
            Backend::Bochs => self.start_bochs(),
        }?;
        Ok(guest.map(|mut guest| {
            if self.is_translated() {
                guest.set_patience(TRANSLATED_FACTOR);
            }
            guest
        }))
    }

    fn is_translated(&self) -> bool {
        matches!(self.backend, Backend::Qemu | Backend::QemuLoader)
            && self.accelerator() != Accelerator::Kvm
    }

    /// The command lines that [`Order::start`] would run, without running them.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let qemu = |start: Start<'_>| {
            let mut words =
                qemu::arguments(self.accelerator(), &start, &self.iso(), self.memory_mib);
            words.extend(lan::arguments(Path::new("."), self.nics));
            vec![format!("{} {}", qemu::PROGRAM, words.join(" "))]
        };
        match self.backend {
            Backend::Qemu if self.kernel.form == Form::Disk => {
                qemu(Start::Disk(&self.kernel.image))
            }
            Backend::Qemu => qemu(Start::Kernel(&self.elf())),
            Backend::QemuLoader => qemu(Start::Cd),
            Backend::Bhyve => bhyve_commands(&self.vm()),
            Backend::Bochs => {
                let mut lines = vec![format!(
                    "bochs -f {} -rc ...",
                    self.path("bochsrc").display()
                )];
                lines.extend(bhyve_commands(&nested_vm()));
                lines
            }
        }
    }

    fn accelerator(&self) -> Accelerator {
        match (self.counted, self.nics) {
            (false, _) => qemu::accelerator(),
            (true, []) => Accelerator::Counting,
            // Whoever is at the other end of a cable takes time.
            (true, _) => Accelerator::CountingWork,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn iso(&self) -> PathBuf {
        self.path(&format!("{}.iso", self.name))
    }

    fn elf(&self) -> PathBuf {
        self.path(&format!("{}.elf", self.name))
    }

    fn log(&self) -> PathBuf {
        self.path(&format!("boot-{}.log", self.name))
    }

    fn start_qemu(&mut self) -> Result<std::result::Result<Guest, Error>> {
        self.root.write(&self.iso())?;
        let path = &self.kernel.image;
        let image =
            std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        let environment: Vec<String> = ENVIRONMENT
            .iter()
            .chain(&["console=comconsole"])
            .map(ToString::to_string)
            .chain(settings(self.loader_conf))
            .collect();
        let composed = loader::compose(&image, &environment, self.memory_mib)
            .with_context(|| format!("could not boot {}", path.display()))?;
        write(&self.elf(), &composed)?;
        let guest = self.run_qemu(&Start::Kernel(&self.elf()));
        // QEMU has read it, and there is one for each group.
        let _ = std::fs::remove_file(self.elf());
        guest
    }

    /// The root becomes the second disk that tells the installed system what to run.
    fn start_disk(&mut self) -> Result<std::result::Result<Guest, Error>> {
        let [script, about] =
            ["user-data", "meta-data"].map(|name| self.path(&format!("{}.{name}", self.name)));
        write(&script, USER_DATA.as_bytes())?;
        write(&about, b"instance-id: weft\nlocal-hostname: weft\n")?;
        self.root.label("cidata");
        self.root.add("/user-data", &script);
        self.root.add("/meta-data", &about);
        self.root.write(&self.iso())?;
        let mut command = Command::new(qemu::PROGRAM);
        let start = Start::Disk(&self.kernel.image);
        command.args(qemu::arguments(
            self.accelerator(),
            &start,
            &self.iso(),
            self.memory_mib,
        ));
        let machine = Machine::start(&mut command, &self.log())?;
        Ok(Guest::meet(machine, DISK_BOOT_LIMIT))
    }

    fn start_qemu_by_loader(&mut self) -> Result<std::result::Result<Guest, Error>> {
        self.add_loader(&["console=comconsole"])?;
        self.root.write(&self.iso())?;
        self.run_qemu(&Start::Cd)
    }

    fn run_qemu(&self, start: &Start<'_>) -> Result<std::result::Result<Guest, Error>> {
        let mut command = Command::new(qemu::PROGRAM);
        command.args(qemu::arguments(
            self.accelerator(),
            start,
            &self.iso(),
            self.memory_mib,
        ));
        // A socket's path must be short.
        let sockets = tempfile::tempdir().context("no folder for sockets")?;
        let network = Lan::new(sockets.path(), self.nics)?;
        command.args(lan::arguments(sockets.path(), self.nics));
        let machine = Machine::start(&mut command, &self.log())?;
        Ok(Guest::meet(machine, BOOT_LIMIT).map(|guest| guest.with_lan(network, sockets)))
    }

    fn start_bhyve(&mut self) -> Result<std::result::Result<Guest, Error>> {
        // bhyveload is the console while it loads.
        self.add_loader(&[])?;
        self.root.write(&self.iso())?;
        let vm = self.vm();
        let mut load = command(&vm.load());
        let loaded = load
            .stdin(Stdio::null())
            .output()
            .context("could not start bhyveload")?;
        write(&self.path("bhyveload.log"), &loaded.stdout)?;
        ensure!(
            loaded.status.success(),
            "bhyveload failed: {}",
            String::from_utf8_lossy(&loaded.stderr)
        );
        let machine = Machine::start(&mut command(&vm.run()), &self.log())?
            .clean_up_by(command(&vm.destroy()));
        Ok(Guest::meet(machine, BOOT_LIMIT))
    }

    fn vm(&self) -> Vm {
        Vm {
            name: format!("weft-{}", std::process::id()),
            memory_mib: self.memory_mib,
            cpus: 2,
            root: self.iso().display().to_string(),
            userboot: None,
            tap: None,
        }
    }

    /// Two roots: the guest's inside that of the FreeBSD host that Bochs boots.
    fn start_bochs(&mut self) -> Result<std::result::Result<Guest, Error>> {
        self.add_loader(&[])?;
        self.root.write(&self.iso())?;
        let guest_root = self.iso();
        let mut host = Order {
            root: Root::with_agent(self.agent),
            name: "bochs-host",
            memory_mib: self.memory_mib,
            loader_conf: "",
            ..*self
        };
        host.add_loader(&["console=comconsole"])?;
        host.root.add("/guest.iso", &guest_root);
        let vmm = self
            .kernel
            .module("vmm")
            .context("vmm.ko is not beside the kernel")?;
        host.root.add(&format!("{KLDS}/vmm.ko"), &vmm);
        if let Some(userland) = self.userland {
            userland.add_bhyve(&mut host.root);
        }
        host.root.write(&host.iso())?;
        let machine = bochs::start(&host.iso(), &self.log())?;
        Ok(enter_nested(machine))
    }

    fn add_loader(&mut self, more: &[&str]) -> Result<()> {
        let userland = self.userland.context("no userland to take a loader from")?;
        let conf = self.path(&format!("{}.loader.conf", self.name));
        let variables: Vec<&str> = ENVIRONMENT.iter().chain(more).copied().collect();
        let text = loader_conf(&variables) + self.loader_conf;
        write(&conf, text.as_bytes())?;
        userland.add_loader(&mut self.root, &self.kernel.image, &conf);
        Ok(())
    }
}

/// The machine inside Bochs. bhyveload(8) opens its disk for writing, so the image
/// must lie where that can be done.
fn nested_vm() -> Vm {
    Vm {
        name: "weft".into(),
        memory_mib: NESTED_MIB,
        cpus: 1,
        root: "/tmp/guest.iso".into(),
        userboot: Some("/boot/userboot.so".into()),
        tap: None,
    }
}

/// Brings up bhyve in the FreeBSD host that `machine` is, and then speaks with the
/// guest inside it over the same line.
fn enter_nested(machine: Machine) -> std::result::Result<Guest, Error> {
    let vm = nested_vm();
    let limit = BOOT_LIMIT * BOCHS_FACTOR;
    let mut host = Guest::meet(machine, limit)?;
    host.set_patience(BOCHS_FACTOR);
    host.call("mount tmpfs /tmp")?;
    host.call(&format!("kld load {KLDS}/vmm.ko"))?;
    host.run_program("/rescue/cp /guest.iso /tmp/guest.iso", limit)?;
    host.run_program(&vm.load().join(" "), limit)?;
    host.enter(&vm.run().join(" "), limit)
}

fn bhyve_commands(vm: &Vm) -> Vec<String> {
    [vm.load(), vm.run(), vm.destroy()]
        .map(|words| words.join(" "))
        .into()
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("could not write {}", path.display()))
}
