// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask licences`: holds the licences and the sources of all dependencies against
//! `deny.toml`, without a network. Of that file it reads what is about these two; cargo-deny
//! reads all of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use spdx::{Expression, ParseMode};

use crate::tools::output;

#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licences,
    sources: Sources,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licences {
    allow: BTreeSet<String>,
    #[serde(default)]
    clarify: Vec<Clarified>,
}

/// What licence a package has whose manifest does not say.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Clarified {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
    license_files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: PathBuf,
    /// CRC-32 of the text from which somebody has concluded the licence.
    hash: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A package as `cargo metadata` describes it.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// None for packages of the workspace.
    source: Option<String>,
    manifest_path: PathBuf,
}

/// Checks all dependencies, and returns how many there are.
///
/// # Errors
/// Each package whose licence or source is not allowed.
pub(crate) fn check(root: &Path) -> Result<usize> {
    let path = root.join("deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let rules: Rules = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut names = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    for target in &rules.graph.targets {
        for package in packages(root, target)? {
            let Some(source) = &package.source else {
                continue;
            };
            names.insert(format!("{} {}", package.name, package.version));
            let checks = [
                source_is_allowed(&rules.sources, source),
                licence_is_allowed(&rules.licenses, &package),
            ];
            wrong.extend(checks.into_iter().filter_map(|check| {
                let why = check.err()?;
                Some(format!("{} {}: {why:#}", package.name, package.version))
            }));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
    Ok(names.len())
}

fn packages(root: &Path, target: &str) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = output(
        Command::new(cargo)
            .current_dir(root)
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", target]),
    )?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(metadata.packages)
}

fn source_is_allowed(sources: &Sources, source: &str) -> Result<()> {
    let registry = source.strip_prefix("registry+");
    let is_allowed =
        registry.is_some_and(|url| sources.allow_registry.iter().any(|one| one == url));
    ensure!(
        is_allowed,
        "its source is {source}; allowed: {}",
        sources.allow_registry.join(", ")
    );
    Ok(())
}

fn licence_is_allowed(licences: &Licences, package: &Package) -> Result<()> {
    let clarified = licences.clarify.iter().find(|one| one.name == package.name);
    let text = match (&package.license, clarified) {
        (Some(text), _) => text,
        (None, Some(clarified)) => {
            is_as_read(clarified, package)?;
            &clarified.expression
        }
        (None, None) => bail!("its manifest names no licence; see clarify in deny.toml"),
    };
    let expression = Expression::parse_mode(text, ParseMode::LAX)
        .map_err(|error| anyhow::anyhow!("its licence is {text:?}: {}", error.reason))?;
    let is_allowed = expression.evaluate(|requirement| {
        let id = requirement.license.id();
        id.is_some_and(|id| licences.allow.contains(id.name))
    });
    ensure!(
        is_allowed,
        "its licence is {text:?}, which deny.toml does not allow"
    );
    Ok(())
}

/// Whether the files are those that the licence was concluded from.
fn is_as_read(clarified: &Clarified, package: &Package) -> Result<()> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new("."));
    for file in &clarified.license_files {
        let path = folder.join(&file.path);
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let mut crc = flate2::Crc::new();
        crc.update(&text);
        ensure!(
            crc.sum() == file.hash,
            "{}: its CRC-32 is {:#010x}, not the {:#010x} of deny.toml: read it again",
            path.display(),
            crc.sum(),
            file.hash
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licences() -> Licences {
        let text = "allow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\"]\n\
            [[clarify]]\ncrate = \"read\"\nexpression = \"MIT\"\n\
            license-files = [{ path = \"LICENSE\", hash = 0x9e83486d }]\n";
        toml::from_str(text).unwrap()
    }

    fn judged(name: &str, license: Option<&str>, folder: &Path) -> Result<()> {
        let package = Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: license.map(String::from),
            source: None,
            manifest_path: folder.join("Cargo.toml"),
        };
        licence_is_allowed(&licences(), &package)
    }

    #[test]
    fn licences_are_allowed_as_expressions() {
        let here = Path::new(".");
        for good in [
            "MIT",
            "GPL-2.0 OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
        ] {
            judged("x", Some(good), here).unwrap();
        }
        for bad in ["GPL-2.0", "MIT AND GPL-3.0", "no licence"] {
            assert!(judged("x", Some(bad), here).is_err(), "{bad}");
        }
        assert!(judged("x", None, here).is_err());
    }

    #[test]
    fn a_licence_that_was_read_must_stay_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("LICENSE");
        std::fs::write(&file, "ab").unwrap();
        judged("read", None, folder.path()).unwrap();
        std::fs::write(&file, "ac").unwrap();
        let error = judged("read", None, folder.path()).unwrap_err().to_string();
        assert!(error.contains("read it again"), "{error}");
    }

    #[test]
    fn only_the_registry_is_a_source() {
        let sources = Sources {
            allow_registry: vec!["https://one".into()],
        };
        assert!(source_is_allowed(&sources, "registry+https://one").is_ok());
        for bad in ["registry+https://two", "git+https://one", "https://one"] {
            assert!(source_is_allowed(&sources, bad).is_err(), "{bad}");
        }
    }
}
