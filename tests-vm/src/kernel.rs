// SPDX-License-Identifier: BSD-2-Clause
//! Finds the systems to test on: the kernels that `WEFT_KERNEL` names, otherwise
//! those in the cache folder; and the disk images that `WEFT_IMAGE` names.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// How a person gets a kernel, for the line that says why tests were skipped.
pub const HOW_TO_GET_ONE: &str = "no FreeBSD/amd64 kernel found: set WEFT_KERNEL to a kernel file or a folder \
     like /boot/kernel, or put such folders into the cache (docs/testing.md says how)";

/// A kernel and the modules that were built with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What reports and logs call it: the folder's name.
    pub name: String,
    /// The kernel file.
    pub image: PathBuf,
    /// The folder with its modules.
    pub folder: PathBuf,
    /// What `image` is.
    pub form: Form,
}

/// What a [`Kernel`]'s image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A kernel file.
    Bare,
    /// A disk with an installed system that runs what a second disk tells it
    /// (nuageinit(7)), such as FreeBSD's BASIC-CLOUDINIT images.
    Disk,
}

impl Kernel {
    /// The file of the module `name`, such as `if_epair`, if it is there.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(format!("{name}.ko"));
        path.is_file().then_some(path)
    }

    /// True if the guest can load the kernel's module `name`. An installed system has
    /// all of them.
    #[must_use]
    pub fn has_module(&self, name: &str) -> bool {
        self.form == Form::Disk || self.module(name).is_some()
    }

    fn at(path: &Path) -> Option<Self> {
        let image = if path.is_dir() {
            path.join("kernel")
        } else {
            path.to_owned()
        };
        let folder = image.parent()?.to_owned();
        let name = folder.file_name()?.to_string_lossy().into_owned();
        image.is_file().then_some(Self {
            name,
            image,
            folder,
            form: Form::Bare,
        })
    }
}

/// The cache folder: `$WEFT_CACHE`, `$XDG_CACHE_HOME/weft`, or `~/.cache/weft`.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let below = |base: PathBuf| base.join("weft");
    set("WEFT_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(below))
        .or_else(|| Some(below(set("HOME")?.join(".cache"))))
}

/// The kernels to test on. `given` is the value of `WEFT_KERNEL`: kernel files or
/// folders with commas between. Without it, every folder in `cache/kernels` that has
/// a `kernel` file, by name. Empty if there is none.
///
/// # Errors
/// If `given` names something that is no kernel.
pub fn find(given: Option<&OsStr>, cache: Option<&Path>) -> Result<Vec<Kernel>> {
    if let Some(given) = given.filter(|value| !value.is_empty()) {
        let given = given.to_string_lossy();
        let paths = given
            .split(',')
            .map(str::trim)
            .filter(|path| !path.is_empty());
        return paths.map(|path| named(Path::new(path))).collect();
    }
    let folders = cache.and_then(|cache| std::fs::read_dir(cache.join("kernels")).ok());
    let mut kernels: Vec<Kernel> = folders
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Kernel::at(&entry.path()))
        .collect();
    kernels.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(kernels)
}

/// The disk images that `given`, the value of `WEFT_IMAGE`, names with commas between.
///
/// # Errors
/// If one of them is not there.
pub fn images(given: Option<&OsStr>) -> Result<Vec<Kernel>> {
    let given = given.unwrap_or_default().to_string_lossy().into_owned();
    let paths = given
        .split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty());
    paths.map(|path| disk(Path::new(path))).collect()
}

fn disk(path: &Path) -> Result<Kernel> {
    match path.file_stem() {
        Some(stem) if path.is_file() => Ok(Kernel {
            name: stem.to_string_lossy().into_owned(),
            image: path.to_owned(),
            folder: path.parent().unwrap_or(Path::new("/")).to_owned(),
            form: Form::Disk,
        }),
        _ => bail!("WEFT_IMAGE: {} is no file", path.display()),
    }
}

fn named(path: &Path) -> Result<Kernel> {
    match Kernel::at(path) {
        Some(kernel) => Ok(kernel),
        None => bail!(
            "WEFT_KERNEL: {} is neither a kernel nor a folder with one",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache_with(names: &[&str]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        for name in names {
            let folder = cache.path().join("kernels").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("kernel"), "").unwrap();
            std::fs::write(folder.join("if_epair.ko"), "").unwrap();
        }
        cache
    }

    fn names(kernels: &[Kernel]) -> Vec<&str> {
        kernels.iter().map(|kernel| kernel.name.as_str()).collect()
    }

    #[test]
    fn the_cache_is_searched_in_order() {
        let cache = cache_with(&["b", "a"]);
        std::fs::create_dir(cache.path().join("kernels/empty")).unwrap();
        let found = find(None, Some(cache.path())).unwrap();
        assert_eq!(names(&found), ["a", "b"]);
        assert!(found[0].module("if_epair").is_some());
        assert_eq!(found[0].module("if_none"), None);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(find(None, Some(cache.path())).unwrap(), []);
        assert_eq!(find(None, None).unwrap(), []);
    }

    #[test]
    fn given_kernels_come_instead_of_the_cache() {
        let cache = cache_with(&["a", "b", "c"]);
        let folder = cache.path().join("kernels");
        let given = format!(
            "{},{}",
            folder.join("c").display(),
            folder.join("a/kernel").display()
        );
        let found = find(Some(OsStr::new(&given)), Some(cache.path())).unwrap();
        assert_eq!(names(&found), ["c", "a"]);
        assert!(found[1].module("if_epair").is_some());
    }

    #[test]
    fn a_given_kernel_that_is_not_there_is_an_error() {
        let error = find(Some(OsStr::new("/nonexistent/kernel")), None).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/kernel"), "{error}");
    }

    #[test]
    fn disk_images_are_found_by_name_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("FreeBSD-15.1.qcow2");
        std::fs::write(&path, "").unwrap();
        let found = images(Some(path.as_os_str())).unwrap();
        assert_eq!(
            (names(&found), found[0].form),
            (vec!["FreeBSD-15.1"], Form::Disk)
        );
        assert!(found[0].has_module("if_epair"));
        assert_eq!(images(None).unwrap(), []);
        let error = images(Some(OsStr::new("/nonexistent.raw"))).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.raw"), "{error}");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let cache = cache_with(&["a"]);
        assert_eq!(
            names(&find(Some(OsStr::new("")), Some(cache.path())).unwrap()),
            ["a"]
        );
    }
}
