// SPDX-License-Identifier: BSD-2-Clause
//! Installs into folders of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Places, put, uninstall};
use crate::workspace_root;

/// A module to install, and an empty system to install into.
struct Setting {
    folder: tempfile::TempDir,
    places: Places,
}

impl Setting {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("weft.ko"), "a module").unwrap();
        let destdir = folder.path().join("system");
        std::fs::create_dir(&destdir).unwrap();
        let places = Places {
            destdir: destdir.display().to_string(),
            ..Places::default()
        };
        Self { folder, places }
    }

    fn install(&self) -> usize {
        let module = self.folder.path().join("weft.ko");
        put(&workspace_root(), &module, &self.places, true).unwrap()
    }

    /// Everything in the system, by path.
    fn found(&self) -> Vec<String> {
        let root = Path::new(&self.places.destdir);
        let entries = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name();
        let relative = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        entries
            .into_iter()
            .map(|entry| relative(entry.unwrap().path()))
            .collect()
    }

    fn files(&self) -> Vec<String> {
        let is_file = |path: &String| self.path(path).is_file();
        self.found().into_iter().filter(is_file).collect()
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        Path::new(&self.places.destdir).join(path)
    }
}

/// What a release installs. A file that is new, or gone, is a change that users see.
const FILES: [&str; 24] = [
    "boot/modules/weft.ko",
    "usr/local/include/weft.h",
    "usr/local/include/weft_nic.h",
    "usr/local/share/examples/weft/alerts.yml",
    "usr/local/share/examples/weft/grafana.json",
    "usr/local/share/examples/weft/jail.conf",
    "usr/local/share/examples/weft/loader.conf",
    "usr/local/share/examples/weft/memnic/Makefile",
    "usr/local/share/examples/weft/memnic/card.c",
    "usr/local/share/examples/weft/memnic/card.h",
    "usr/local/share/examples/weft/memnic/memnic.c",
    "usr/local/share/examples/weft/memnic/symbols.txt",
    "usr/local/share/examples/weft/rc.conf",
    "usr/local/share/examples/weft/sysctl.conf",
    "usr/local/share/man/man4/weft.4",
    "usr/local/share/man/man4/weft_ipv6.4",
    "usr/local/share/man/man4/wem.4",
    "usr/local/share/man/man4/wip.4",
    "usr/local/share/man/man4/wpair.4",
    "usr/local/share/man/man4/wvmx.4",
    "usr/local/share/man/man4/wvtnet.4",
    "usr/local/share/man/man9/weft_in_cksum.9",
    "usr/local/share/man/man9/weft_nic.9",
    "usr/local/share/weft/installed",
];

#[test]
fn everything_is_where_it_should_be_and_goes_again() {
    let setting = Setting::new();

    assert_eq!(setting.install(), FILES.len() - 1);
    assert_eq!(setting.files(), FILES);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(setting.path(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("boot/modules/weft.ko"), 0o555);
    assert_eq!(mode("usr/local/include/weft.h"), 0o444);
    uninstall(&setting.places).unwrap();
    assert_eq!(setting.found(), [""; 0]);
    let error = uninstall(&setting.places).unwrap_err().to_string();
    assert!(error.contains("nothing was installed"), "{error}");
}

#[test]
fn what_others_have_there_stays() {
    let setting = Setting::new();
    let theirs = "usr/local/include/theirs.h";
    std::fs::create_dir_all(setting.path("usr/local/include")).unwrap();
    std::fs::create_dir_all(setting.path("boot/modules")).unwrap();
    std::fs::write(setting.path(theirs), "").unwrap();
    setting.install();
    let later = "usr/local/share/man/man4/later.4";
    std::fs::write(setting.path(later), "").unwrap();
    uninstall(&setting.places).unwrap();
    assert_eq!(setting.files(), [theirs, later]);
    assert!(setting.path("boot/modules").is_dir());
    assert!(!setting.path("usr/local/share/examples").exists());
}

#[test]
fn another_version_takes_the_earlier_ones_files_away() {
    let setting = Setting::new();
    setting.install();
    let list = setting.path("usr/local/share/weft/installed");
    let gone = "usr/local/include/gone.h";
    std::fs::write(setting.path(gone), "").unwrap();
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, format!("{text}file /{gone}\n")).unwrap();
    std::fs::write(setting.folder.path().join("weft.ko"), "another").unwrap();
    setting.install();
    assert!(!setting.path(gone).exists());
    let module = std::fs::read_to_string(setting.path("boot/modules/weft.ko")).unwrap();
    assert_eq!(module, "another");
    // The folders that the first one made are known to the second.
    uninstall(&setting.places).unwrap();
    assert_eq!(setting.found(), [""; 0]);
}

#[test]
fn a_list_that_leads_elsewhere_removes_nothing() {
    let setting = Setting::new();
    setting.install();
    let outside = setting.folder.path().join("weft.ko");
    let list = setting.path("usr/local/share/weft/installed");
    for line in ["file /../weft.ko", "file boot/modules/weft.ko", "nonsense"] {
        std::fs::write(&list, format!("file /boot/modules/weft.ko\n{line}\n")).unwrap();
        let error = format!("{:#}", uninstall(&setting.places).unwrap_err());
        assert!(error.contains("not what this program wrote"), "{error}");
        assert!(outside.exists() && setting.path("boot/modules/weft.ko").exists());
    }
}

#[test]
fn paths_that_are_none_are_refused() {
    for prefix in ["", "usr/local", "/usr/../etc", "/usr/./local", "/a\nb"] {
        let places = Places {
            prefix: prefix.into(),
            ..Setting::new().places
        };
        let error = uninstall(&places).unwrap_err().to_string();
        assert!(error.starts_with(&format!("PREFIX={prefix}:")), "{error}");
    }
}

/// What the port's pkg-plist names is what is installed, but the list of it.
#[test]
fn the_port_has_the_same_files() {
    let path = workspace_root().join("packaging/freebsd/net/weft-kmod/pkg-plist");
    let plist = std::fs::read_to_string(path).unwrap();
    let mut listed: Vec<String> = plist
        .lines()
        .map(|line| match line.strip_prefix('/') {
            Some(absolute) => absolute.replace("%%KMODDIR%%", "boot/modules"),
            None => {
                let below = line.replace("%%EXAMPLESDIR%%", "share/examples/weft");
                format!("usr/local/{}", below.trim_end_matches(".gz"))
            }
        })
        .collect();
    listed.sort();
    let installed = FILES
        .into_iter()
        .filter(|path| !path.ends_with("/installed"));
    assert_eq!(listed, installed.collect::<Vec<_>>());
}
