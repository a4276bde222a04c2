// SPDX-License-Identifier: BSD-2-Clause
//! Finds FreeBSD's source tree, and puts its network tests on the guest's CD, where an
//! installed system has them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::image::Root;

/// The root of a source tree that has tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(PathBuf);

/// Where the tests are in the guest.
pub const TESTS: &str = "/usr/tests/sys";

/// Modules of the kernel's that tests use, in the order in which they load. A kernel need
/// not have them all; a case that needs one says so.
pub const KLDS: [&str; 22] = [
    "if_epair",
    "bridgestp",
    "if_bridge",
    "if_vlan",
    "if_infiniband",
    "if_lagg",
    "if_gif",
    "if_gre",
    "if_stf",
    "if_tuntap",
    "if_enc",
    "carp",
    "pf",
    "pflog",
    "pfsync",
    "pflow",
    "libalias",
    "ipfw",
    "ipfw_nat",
    "dummynet",
    "ipdivert",
    "dummymbuf",
];

/// Why there are no tests, and what to do.
pub const NO_SOURCES: &str =
    "no FreeBSD source tree found: set WEFT_FREEBSD_SRC to the root of one (docs/testing.md)";

/// What all the tests read.
const COMMON: &str = "tests/sys/common/vnet.subr";
/// The folders of `tests/sys` that are about networks.
const FOLDERS: [&str; 5] = ["common", "net", "netinet", "netinet6", "netpfil"];

impl Sources {
    /// The tree that `WEFT_FREEBSD_SRC` names, else the one around `SYSDIR`, else that in
    /// /usr/src.
    #[must_use]
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let path = match (given("WEFT_FREEBSD_SRC"), given("SYSDIR")) {
            (Some(root), _) => PathBuf::from(root),
            (None, Some(sys)) => Path::new(&sys).join(".."),
            (None, None) => PathBuf::from("/usr/src"),
        };
        path.join(COMMON).exists().then_some(Self(path))
    }

    /// Adds the tests.
    pub fn add_tests(&self, root: &mut Root) {
        for folder in FOLDERS {
            let from = self.0.join("tests/sys").join(folder);
            root.add(&format!("{TESTS}/{folder}"), &from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_tests() {
        let tree = tempfile::tempdir().unwrap();
        let named = |wanted: &'static str| {
            let path = tree.path().to_owned();
            move |name: &str| match name {
                "SYSDIR" => (wanted == name).then(|| path.join("sys").into_os_string()),
                _ => (wanted == name).then(|| path.clone().into_os_string()),
            }
        };
        assert_eq!(Sources::find(named("WEFT_FREEBSD_SRC")), None);
        for folder in ["sys", "tests/sys/common"] {
            std::fs::create_dir_all(tree.path().join(folder)).unwrap();
        }
        std::fs::write(tree.path().join(COMMON), "").unwrap();
        assert!(Sources::find(named("WEFT_FREEBSD_SRC")).is_some());
        assert!(Sources::find(named("SYSDIR")).is_some());
    }
}
