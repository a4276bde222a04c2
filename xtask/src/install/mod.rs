// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask install` and `uninstall`: puts the module, the headers, the manual pages
//! and the examples where FreeBSD expects them, and takes them away again.
//!
//! What was put where is written into a list first (`manifest.rs`), so that a later version,
//! or `uninstall` from another checkout, removes what is there and not what it would install.

mod manifest;
#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use manifest::Manifest;

use crate::build::{self, Build, target_dir};
use crate::tools::{on_path, quiet};

/// Where things go.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Places {
    /// The root of the system that is installed into; nothing for the running one
    #[arg(long, value_name = "FOLDER", default_value = "")]
    destdir: String,
    /// Where headers, manual pages and examples go, in that system
    #[arg(long, value_name = "FOLDER", default_value = "/usr/local")]
    prefix: String,
    /// Where the kernel looks for modules, in that system
    #[arg(long, value_name = "FOLDER", default_value = "/boot/modules")]
    kmoddir: String,
}

/// The arguments of `cargo xtask install`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    places: Places,
    /// Install target/weft/weft.ko as it is, instead of building it first
    #[arg(long)]
    as_built: bool,
    /// Write no list of what was installed, as a package manager keeps its own; `uninstall`
    /// then finds nothing
    #[arg(long)]
    no_manifest: bool,
}

/// One file to install.
struct Item {
    from: PathBuf,
    /// Its path in the installed system.
    to: String,
    mode: u32,
}

/// Modules are what may be loaded, and the rest is read.
const MODULE_MODE: u32 = 0o555;
const FILE_MODE: u32 = 0o444;
/// Folders of examples: where they are in the source tree, and below `share/examples/weft`.
const EXAMPLES: [(&str, &str); 2] = [("examples/memnic", "/memnic"), ("examples/system", "")];
/// What of `docs/` other programs read.
const FOR_OTHERS: [&str; 2] = ["alerts.yml", "grafana.json"];

/// Builds the module, unless told not to, and installs it and what belongs to it.
///
/// # Errors
/// What keeps it from being built, or a file from being written, with its path.
pub(crate) fn install(root: &Path, arguments: &InstallArgs) -> Result<()> {
    let places = &arguments.places;
    places.check()?;
    let module = match arguments.as_built {
        true => target_dir(root).join("weft/weft.ko"),
        false => build::module(&Build::prepare(root)?)?,
    };
    ensure!(
        module.is_file(),
        "{}: not there; build it first (make build)",
        module.display()
    );
    let count = put(root, &module, places, !arguments.no_manifest)?;
    places.tell_linker()?;
    println!("installed {count} files; load the module by: kldload weft");
    Ok(())
}

/// Removes what `install` has put there, and the folders that it made for it.
///
/// # Errors
/// No list of what was installed, or a file that can't be removed.
pub(crate) fn uninstall(places: &Places) -> Result<()> {
    places.check()?;
    let manifest = Manifest::read(places)?.with_context(|| {
        format!(
            "{}: not there, so nothing was installed with this DESTDIR and PREFIX",
            places.real(&places.manifest()).display()
        )
    })?;
    let count = manifest.files().len();
    manifest.remove(places)?;
    places.tell_linker()?;
    println!("removed {count} files");
    Ok(())
}

/// Installs into a folder that nothing else is in, made anew, for the guests to find.
///
/// # Errors
/// As [`install`].
pub(crate) fn into_folder(build: &Build, module: &Path) -> Result<PathBuf> {
    let folder = build.out().join("installed");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let places = Places {
        destdir: folder.display().to_string(),
        ..Places::default()
    };
    put(&build.root, module, &places, true)?;
    Ok(folder)
}

/// Puts everything in place, and returns how many files that were.
fn put(root: &Path, module: &Path, places: &Places, with_manifest: bool) -> Result<usize> {
    let items = items(root, module, places)?;
    let earlier = Manifest::read(places)?.unwrap_or_default();
    let mut manifest = Manifest::default();
    let listed = with_manifest.then(|| places.manifest());
    for path in items.iter().map(|item| &item.to).chain(&listed) {
        manifest.add(path, places);
    }
    manifest.inherit(&earlier);
    if with_manifest {
        manifest.write(places)?;
    }
    for item in &items {
        copy(item, places)?;
    }
    for path in earlier.files() {
        let is_kept = manifest.files().contains(path) || *path == places.manifest();
        if !is_kept {
            manifest::remove_file(&places.real(path))?;
        }
    }
    Ok(items.len())
}

/// All files, by where they are in the source tree.
fn items(root: &Path, module: &Path, places: &Places) -> Result<Vec<Item>> {
    let share = |rest: &str| format!("{}/share/{rest}", places.prefix);
    let mut items = vec![Item {
        from: module.to_owned(),
        to: format!("{}/weft.ko", places.kmoddir),
        mode: MODULE_MODE,
    }];
    let mut add = |from: PathBuf, folder: &str| -> Result<()> {
        let name = from.file_name().context("a file without a name")?;
        let to = format!("{folder}/{}", name.to_string_lossy());
        let mode = FILE_MODE;
        items.push(Item { from, to, mode });
        Ok(())
    };
    for header in listing(&root.join("include"))? {
        add(header, &format!("{}/include", places.prefix))?;
    }
    for page in listing(&root.join("man"))? {
        let section = page
            .extension()
            .context("a manual page without a section")?;
        let folder = share(&format!("man/man{}", section.to_string_lossy()));
        add(page, &folder)?;
    }
    for name in FOR_OTHERS {
        add(root.join("docs").join(name), &share("examples/weft"))?;
    }
    for (from, to) in EXAMPLES {
        for file in listing(&root.join(from))? {
            add(file, &share(&format!("examples/weft{to}")))?;
        }
    }
    Ok(items)
}

/// The files of a folder by name, but hidden ones.
fn listing(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            !name.to_string_lossy().starts_with('.')
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Writes a file beside its place and moves it there, so that whoever reads has the old one
/// or the new one whole.
fn copy(item: &Item, places: &Places) -> Result<()> {
    let to = places.real(&item.to);
    let attempt = || -> Result<()> {
        let folder = to.parent().context("a file without a folder")?;
        std::fs::create_dir_all(folder)?;
        let mut staged = tempfile::NamedTempFile::new_in(folder)?;
        let mut from = std::fs::File::open(&item.from)
            .with_context(|| format!("reading {}", item.from.display()))?;
        std::io::copy(&mut from, &mut staged)?;
        std::fs::set_permissions(staged.path(), Permissions::from_mode(item.mode))?;
        staged.persist(&to)?;
        Ok(())
    };
    attempt().with_context(|| format!("installing {}", to.display()))
}

impl Default for Places {
    fn default() -> Self {
        Self {
            destdir: String::new(),
            prefix: "/usr/local".into(),
            kmoddir: "/boot/modules".into(),
        }
    }
}

impl Places {
    /// Where a path of the installed system is while it is installed.
    fn real(&self, path: &str) -> PathBuf {
        match self.destdir.as_str() {
            "" => PathBuf::from(path),
            destdir => Path::new(destdir).join(path.trim_start_matches('/')),
        }
    }

    /// The list of what was installed, in the installed system.
    fn manifest(&self) -> String {
        format!("{}/share/weft/installed", self.prefix)
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("PREFIX", &self.prefix), ("KMODDIR", &self.kmoddir)] {
            if !is_plain(value) {
                bail!("{name}={value}: not an absolute path without . and ..");
            }
        }
        Ok(())
    }

    /// Has the kernel linker's hints written anew where that is the running system's matter.
    /// Modules are found by name without them too.
    fn tell_linker(&self) -> Result<()> {
        let is_running_system = cfg!(target_os = "freebsd") && self.destdir.is_empty();
        match on_path("kldxref").filter(|_| is_running_system) {
            Some(kldxref) => quiet(Command::new(kldxref).arg(&self.kmoddir)),
            None => Ok(()),
        }
    }
}

/// Whether a path names one place, whatever it is put behind. It may stand in a list of
/// lines.
fn is_plain(path: &str) -> bool {
    let is_word = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let has_dot = path.split('/').any(|part| part == ".");
    path.starts_with('/')
        && !path.contains('\n')
        && !has_dot
        && Path::new(path).components().all(is_word)
}
