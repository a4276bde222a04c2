// SPDX-License-Identifier: BSD-2-Clause
//! Finds a FreeBSD userland: the loader for CDs, bhyve for machines inside a machine,
//! and the programs and startup scripts of an installed system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::image::Root;

/// The root of a FreeBSD installation, or of enough of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userland(PathBuf);

/// What FreeBSD's BIOS loader reads from a CD.
const LOADER: [&str; 5] = [
    "boot/cdboot",
    "boot/loader",
    "boot/lua",
    "boot/defaults",
    "boot/device.hints",
];
/// What runs a machine by bhyve.
const BHYVE: [&str; 4] = [
    "usr/sbin/bhyve",
    "usr/sbin/bhyveload",
    "usr/sbin/bhyvectl",
    "boot/userboot.so",
];

/// Without these the startup scripts, jail(8) and the network tests do not run.
const PROGRAMS: [&str; 9] = [
    "bin/sh",
    "sbin/ifconfig",
    "usr/bin/awk",
    "usr/bin/mktemp",
    "bin/timeout",
    "usr/sbin/jail",
    "etc/rc.subr",
    "etc/rc.d/netif",
    "etc/defaults/rc.conf",
];
/// What else an installed system has of programs and their libraries; `usr/lib` has far
/// more than programs need.
const PROGRAM_FOLDERS: [&str; 6] = ["bin", "rescue", "lib", "libexec", "usr/bin", "usr/sbin"];
/// What programs read in `/etc`, and nothing of the host's own configuration.
const ETC: [&str; 12] = [
    "rc",
    "rc.subr",
    "network.subr",
    "rc.d",
    "defaults",
    "protocols",
    "hosts",
    "pf.os",
    "services",
    "group",
    "passwd",
    "pwd.db",
];
/// The largest folder of programs that goes on a CD whole, in entries: a system that was
/// made for this, not the one that people work on.
const MOST_PROGRAMS: usize = 400;

/// Why a userland is not there, and what to do.
pub const NO_USERLAND: &str =
    "no FreeBSD userland found: set WEFT_USERLAND to the root of one (docs/testing.md)";

impl Userland {
    /// The folder that `given` (the value of `WEFT_USERLAND`) names, on FreeBSD the
    /// running system, otherwise the last by name in `cache/userland`.
    #[must_use]
    pub fn find(given: Option<&OsStr>, cache: Option<&Path>) -> Option<Self> {
        let usable = |path: PathBuf| path.join(LOADER[1]).exists().then_some(Self(path));
        if let Some(given) = given.filter(|value| !value.is_empty()) {
            return usable(PathBuf::from(given));
        }
        if cfg!(target_os = "freebsd") {
            return usable(PathBuf::from("/"));
        }
        let entries = std::fs::read_dir(cache?.join("userland")).ok()?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders.into_iter().rev().find_map(usable)
    }

    /// What is missing to run bhyve from here, if anything is.
    #[must_use]
    pub fn lacks_bhyve(&self) -> Option<String> {
        let missing = BHYVE.iter().find(|path| !self.0.join(path).exists())?;
        Some(format!("{} has no {missing}", self.0.display()))
    }

    /// Makes `root` a CD that FreeBSD's loader boots `kernel` from, with this
    /// `loader.conf`.
    pub fn add_loader(&self, root: &mut Root, kernel: &Path, loader_conf: &Path) {
        for path in LOADER {
            root.add(&format!("/{path}"), &self.0.join(path));
        }
        root.add("/boot/kernel/kernel", kernel);
        root.add("/boot/loader.conf", loader_conf);
        root.boot_by("/boot/cdboot");
    }

    /// What is missing to run startup scripts and jails from here, if anything is.
    #[must_use]
    pub fn lacks_programs(&self) -> Option<String> {
        if let Some(missing) = PROGRAMS.iter().find(|path| !self.0.join(path).exists()) {
            return Some(format!("{} has no {missing}", self.0.display()));
        }
        let count = |path| std::fs::read_dir(self.0.join(path)).map_or(0, Iterator::count);
        (count("usr/bin") > MOST_PROGRAMS).then(|| {
            format!(
                "{} is more than what fits on a CD: set WEFT_USERLAND to a small system",
                self.0.display()
            )
        })
    }

    /// Makes `root` one in which startup scripts and programs run; its /sbin/init
    /// stays what it is.
    pub fn add_programs(&self, root: &mut Root) {
        let etc = ETC.map(|name| format!("etc/{name}"));
        let folders = PROGRAM_FOLDERS.map(String::from);
        let sbin = std::fs::read_dir(self.0.join("sbin")).into_iter().flatten();
        let sbin = sbin.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (name != "init").then(|| format!("sbin/{name}"))
        });
        for path in folders.into_iter().chain(etc).chain(sbin) {
            let from = self.0.join(&path);
            if from.exists() {
                root.add(&format!("/{path}"), &from);
            }
        }
        for folder in ["/var", "/jails", "/mnt", "/root"] {
            root.folder(folder);
        }
    }

    /// Adds bhyve, the libraries it may be linked with, and rescue's programs.
    pub fn add_bhyve(&self, root: &mut Root) {
        // bhyve writes its ACPI tables by iasl, which it starts by /bin/sh.
        let more = [
            "bin",
            "rescue",
            "lib",
            "usr/lib",
            "libexec",
            "usr/sbin/iasl",
        ];
        for path in BHYVE.iter().chain(&more) {
            let from = self.0.join(path);
            if from.exists() {
                root.add(&format!("/{path}"), &from);
            }
        }
    }
}

/// The text of a `loader.conf` that sets these variables (`NAME=VALUE`) and asks
/// nothing.
#[must_use]
pub fn loader_conf(variables: &[&str]) -> String {
    let quiet = [
        "autoboot_delay=-1",
        "beastie_disable=YES",
        "loader_logo=none",
        "boot_serial=YES",
    ];
    let line = |variable: &&str| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        format!("{name}=\"{value}\"\n")
    };
    quiet.iter().chain(variables).map(line).collect()
}

/// What the lines of a `loader.conf` set for the kernel and its modules, as `NAME=VALUE`.
/// Which modules to load is the loader's own matter.
pub fn settings(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (!name.ends_with("_load")).then(|| format!("{name}={}", value.trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_what_is_not_a_module() {
        let text = "# a=\"1\"\n\nweft_load=\"YES\"\nnet.weft.x=\"two words\"\n";
        assert_eq!(settings(text).collect::<Vec<_>>(), ["net.weft.x=two words"]);
    }

    #[test]
    fn values_are_quoted() {
        let text = loader_conf(&["vfs.root.mountfrom=cd9660:/dev/cd0"]);
        assert!(
            text.ends_with("boot_serial=\"YES\"\nvfs.root.mountfrom=\"cd9660:/dev/cd0\"\n"),
            "{text}"
        );
    }

    #[test]
    #[cfg(not(target_os = "freebsd"))]
    fn the_newest_in_the_cache_is_found() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(Userland::find(None, Some(cache.path())), None);
        for name in ["15.0", "15.1"] {
            let boot = cache.path().join("userland").join(name).join("boot");
            std::fs::create_dir_all(&boot).unwrap();
            std::fs::write(boot.join("loader"), "").unwrap();
        }
        let found = Userland::find(None, Some(cache.path())).unwrap();
        assert!(found.0.ends_with("15.1"));
        assert!(found.lacks_bhyve().unwrap().contains("usr/sbin/bhyve"));
    }
}
