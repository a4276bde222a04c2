// SPDX-License-Identifier: BSD-2-Clause
//! QEMU's command lines, and whether KVM works here.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// How QEMU runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// In hardware, by Linux.
    Kvm,
    /// By translation, on any host.
    Tcg,
    /// By translation, on one CPU whose clock counts instructions: one takes a
    /// nanosecond, and waiting takes none.
    Counting,
    /// The same, but waiting takes as long as it takes, which is for guests that wait for
    /// others.
    CountingWork,
}

/// What the machine boots.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// A kernel file that [`crate::loader::compose`] made.
    Kernel(&'a Path),
    /// The loader on the CD.
    Cd,
    /// The system on this disk, raw or qcow2. What it writes is forgotten.
    Disk(&'a Path),
}

/// The arguments for a machine with `root` in its CD drive and the console on
/// standard input and output.
#[must_use]
pub fn arguments(
    accelerator: Accelerator,
    start: &Start<'_>,
    root: &Path,
    memory_mib: u32,
) -> Vec<String> {
    let counting: &[&str] = match accelerator {
        Accelerator::Counting => &["-icount", "shift=0,sleep=off"],
        Accelerator::CountingWork => &["-icount", "shift=0,sleep=on"],
        Accelerator::Kvm | Accelerator::Tcg => &[],
    };
    let (accelerator, cpu, cpus) = match accelerator {
        Accelerator::Kvm => ("kvm", "host", "2"),
        Accelerator::Tcg => ("tcg,thread=multi", "max", "2"),
        Accelerator::Counting | Accelerator::CountingWork => ("tcg,thread=single", "max", "1"),
    };
    let memory = memory_mib.to_string();
    let start = match start {
        Start::Kernel(kernel) => ["-kernel".into(), kernel.display().to_string()],
        Start::Cd => ["-boot".into(), "d".into()],
        Start::Disk(disk) => {
            let file = disk.display().to_string().replace(',', ",,");
            [
                "-drive".into(),
                format!("file={file},if=virtio,snapshot=on"),
            ]
        }
    };
    // A comma in a file name would begin another option.
    let drive = root.display().to_string().replace(',', ",,");
    let drive = format!("file={drive},format=raw,media=cdrom,readonly=on,if=none,id=root");
    [
        ["-M", "q35"],
        ["-accel", accelerator],
        ["-cpu", cpu],
        ["-smp", cpus],
        ["-m", &memory],
        ["-display", "none"],
        ["-monitor", "none"],
        ["-serial", "stdio"],
        [&start[0], &start[1]],
        ["-drive", &drive],
        ["-device", "ide-cd,drive=root,bus=ide.0"],
    ]
    .concat()
    .into_iter()
    .chain(counting.iter().copied())
    .chain(["-nodefaults", "-no-reboot"])
    .map(String::from)
    .collect()
}

/// The variable that chooses between them: `kvm` or `tcg`.
const CHOICE: &str = "WEFT_ACCEL";

/// How long a machine with KVM may take to its boot sector. One that runs in another
/// machine, each of whose exits is handled there, takes longer, and a kernel minutes.
const SOON: Duration = Duration::from_millis(1_500);

/// What `WEFT_ACCEL` names; otherwise KVM if a guest really runs with it here, and soon
/// enough, otherwise TCG. Asked once.
#[must_use]
pub fn accelerator() -> Accelerator {
    static CHOSEN: LazyLock<Accelerator> = LazyLock::new(|| {
        let given = std::env::var(CHOICE).unwrap_or_default();
        named(&given).unwrap_or_else(|| match kvm_runs(SOON) {
            true => Accelerator::Kvm,
            false => Accelerator::Tcg,
        })
    });
    *CHOSEN
}

fn named(given: &str) -> Option<Accelerator> {
    match given {
        "kvm" => Some(Accelerator::Kvm),
        "tcg" => Some(Accelerator::Tcg),
        _ => None,
    }
}

/// True if QEMU can be started at all.
#[must_use]
pub fn is_there() -> bool {
    let version = Command::new(PROGRAM)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    version.is_ok_and(|out| out.status.success())
}

/// True if Linux says of a CPU that it has Intel's or AMD's virtualisation (proc(5),
/// `cpuinfo`). Without it a guest by KVM need not be tried.
fn names_virtualisation(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags
        .flat_map(str::split_whitespace)
        .any(|word| matches!(word, "vmx" | "svm"))
}

/// What the boot sector of [`kvm_runs`] writes to QEMU's debug exit port, and the
/// exit status that QEMU makes of it.
const SIGN: u8 = 0x10;
const STATUS: i32 = (SIGN as i32) << 1 | 1;

/// Some hosts have /dev/kvm and yet no working KVM: only a guest that has executed
/// an instruction proves it.
fn kvm_runs(limit: Duration) -> bool {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !Path::new("/dev/kvm").exists() || !names_virtualisation(&cpus) {
        return false;
    }
    let Ok(disk) = tempfile::NamedTempFile::new() else {
        return false;
    };
    // mov dx, 0xf4; mov al, SIGN; out dx, al; hlt
    let mut sector = vec![0xba, 0xf4, 0x00, 0xb0, SIGN, 0xee, 0xf4];
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    if std::fs::write(disk.path(), sector).is_err() {
        return false;
    }
    let drive = format!("file={},format=raw", disk.path().display());
    let child = Command::new(PROGRAM)
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "32",
            "-display",
            "none",
            "-nodefaults",
        ])
        .args([
            "-no-reboot",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=1",
            "-drive",
            &drive,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return status.code() == Some(STATUS);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // It may have ended this moment, which is late all the same.
    let _ = child.kill();
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accelerator_is_named_or_found_out() {
        assert_eq!(named("kvm"), Some(Accelerator::Kvm));
        assert_eq!(named("tcg"), Some(Accelerator::Tcg));
        assert_eq!(named(""), None);
    }

    #[test]
    fn virtualisation_is_a_flag_of_the_cpu() {
        assert!(names_virtualisation(
            "processor\t: 0\nflags\t\t: fpu vmx sse\n"
        ));
        assert!(names_virtualisation("flags : svm\n"));
        assert!(!names_virtualisation(
            "flags\t: fpu vmxx\nvmx flags\t: vnmi\nmodel name\t: svm\n"
        ));
        assert!(!names_virtualisation(""));
    }

    #[test]
    fn the_command_line_names_everything_once() {
        let words = arguments(
            Accelerator::Tcg,
            &Start::Kernel(Path::new("/k.elf")),
            Path::new("/a,b.iso"),
            1024,
        );
        let line = words.join(" ");
        assert!(
            line.contains("-accel tcg,thread=multi -cpu max -smp 2 -m 1024"),
            "{line}"
        );
        assert!(
            line.contains("-kernel /k.elf -drive file=/a,,b.iso,format=raw,media=cdrom"),
            "{line}"
        );
        assert!(line.ends_with("-nodefaults -no-reboot"), "{line}");
        let root = Path::new("/r");
        let counting = arguments(Accelerator::Counting, &Start::Cd, root, 512).join(" ");
        for part in ["thread=single", "-smp 1", "-icount shift=0,sleep=off"] {
            assert!(counting.contains(part), "{counting}");
        }
        let kvm = arguments(Accelerator::Kvm, &Start::Cd, Path::new("/r"), 512).join(" ");
        let disk = arguments(
            Accelerator::Tcg,
            &Start::Disk(Path::new("/i.qcow2")),
            Path::new("/r"),
            512,
        );
        assert!(
            disk.join(" ")
                .contains("-drive file=/i.qcow2,if=virtio,snapshot=on"),
            "{disk:?}"
        );
        assert!(
            kvm.contains("-accel kvm -cpu host") && kvm.contains("-boot d"),
            "{kvm}"
        );
    }
}
