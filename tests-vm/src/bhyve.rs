// SPDX-License-Identifier: BSD-2-Clause
//! bhyve's command lines. They are the same on a FreeBSD host and in the FreeBSD
//! host that Bochs emulates.

use std::path::Path;
use std::process::{Command, Stdio};

/// A virtual machine of bhyve(8): its root in a CD drive, its console on standard
/// input and output.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its name in /dev/vmm.
    pub name: String,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Its CPUs.
    pub cpus: u32,
    /// The CD image, with the kernel and the loader's scripts in /boot.
    pub root: String,
    /// The loader's shared object, if not the installed one.
    pub userboot: Option<String>,
    /// A tap(4) interface for a virtio network card, if one is wanted.
    pub tap: Option<String>,
}

impl Vm {
    /// bhyveload(8) and its arguments: puts the kernel into the machine.
    #[must_use]
    pub fn load(&self) -> Vec<String> {
        let mut words = vec!["/usr/sbin/bhyveload".into(), "-c".into(), "stdio".into()];
        words.extend(["-m".into(), format!("{}M", self.memory_mib)]);
        words.extend(["-d".into(), self.root.clone()]);
        if let Some(userboot) = &self.userboot {
            words.extend(["-l".into(), userboot.clone()]);
        }
        words.extend(["-e".into(), "console=userboot".into()]);
        words.push(self.name.clone());
        words
    }

    /// bhyve(8) and its arguments: runs the machine until it switches itself off.
    #[must_use]
    pub fn run(&self) -> Vec<String> {
        let mut words = vec!["/usr/sbin/bhyve".into(), "-c".into(), self.cpus.to_string()];
        words.extend(["-m".into(), format!("{}M", self.memory_mib)]);
        // Yield when the guest idles; answer unknown MSRs as real hardware would not.
        words.extend(["-H", "-w"].map(String::from));
        let mut slots = vec![
            "0,hostbridge".to_string(),
            format!("3,ahci-cd,{}", self.root),
        ];
        slots.extend(self.tap.as_ref().map(|tap| format!("4,virtio-net,{tap}")));
        slots.push("31,lpc".into());
        words.extend(slots.into_iter().flat_map(|slot| ["-s".into(), slot]));
        words.extend(["-l", "com1,stdio"].map(String::from));
        words.push(self.name.clone());
        words
    }

    /// bhyvectl(8) and its arguments: removes what is left of the machine.
    #[must_use]
    pub fn destroy(&self) -> Vec<String> {
        vec![
            "/usr/sbin/bhyvectl".into(),
            format!("--vm={}", self.name),
            "--destroy".into(),
        ]
    }
}

/// Why bhyve cannot be used on this host, if so.
#[must_use]
pub fn reason_to_skip() -> Option<String> {
    if !cfg!(target_os = "freebsd") {
        return Some("bhyve needs a FreeBSD host".into());
    }
    if !Path::new("/usr/sbin/bhyveload").exists() {
        return Some("bhyveload(8) is not installed".into());
    }
    // hw.vmm.maxcpu exists once vmm.ko has found a CPU that it can use.
    let vmm = Command::new("sysctl")
        .args(["-n", "hw.vmm.maxcpu"])
        .stderr(Stdio::null())
        .output();
    let works = vmm.is_ok_and(|out| out.status.success());
    (!works).then(|| "vmm.ko is not loaded, or the CPU has no VMX or SVM (kldload vmm)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm() -> Vm {
        Vm {
            name: "weft".into(),
            memory_mib: 512,
            cpus: 2,
            root: "/tmp/root.iso".into(),
            userboot: None,
            tap: None,
        }
    }

    #[test]
    fn the_command_lines_are_bhyves() {
        assert_eq!(
            vm().load().join(" "),
            "/usr/sbin/bhyveload -c stdio -m 512M -d /tmp/root.iso -e console=userboot weft"
        );
        assert_eq!(
            vm().run().join(" "),
            "/usr/sbin/bhyve -c 2 -m 512M -H -w -s 0,hostbridge -s 3,ahci-cd,/tmp/root.iso -s 31,lpc \
             -l com1,stdio weft"
        );
        assert_eq!(
            vm().destroy().join(" "),
            "/usr/sbin/bhyvectl --vm=weft --destroy"
        );
    }

    #[test]
    fn options_are_passed_on() {
        let vm = Vm {
            userboot: Some("/boot/userboot.so".into()),
            tap: Some("tap0".into()),
            ..vm()
        };
        assert!(vm.load().join(" ").contains("-l /boot/userboot.so"));
        assert!(
            vm.run()
                .join(" ")
                .contains("-s 4,virtio-net,tap0 -s 31,lpc")
        );
    }

    #[test]
    #[cfg(not(target_os = "freebsd"))]
    fn elsewhere_it_is_skipped_with_a_reason() {
        assert_eq!(
            reason_to_skip().as_deref(),
            Some("bhyve needs a FreeBSD host")
        );
    }
}
