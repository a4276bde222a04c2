// SPDX-License-Identifier: BSD-2-Clause
//! A system into which `make install` has put the module: the kernel finds it by its name.

use super::{Context, Scenario};
use crate::guest::{Error, Result};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "install",
    group: "install",
    about: "after make install the kernel finds the module by its name, by its own module path; no sysctl of an earlier version is missing",
    installed: true,
    run,
    ..Scenario::ORDINARY
};

/// Where the kernel looks for modules when nobody tells it otherwise; a loader adds more.
const MODULE_PATH: &str = "/boot/kernel;/boot/modules";
/// The sysctls of a freshly loaded module: name, kind and format of each
/// (docs/versioning.md).
const TREE: &str = include_str!("../../../docs/sysctl-tree.txt");
const MODULE: &str = "/boot/modules/weft.ko";

fn run(context: &mut Context<'_>) -> Result<()> {
    let path = context.guest.sysctl("kern.module_path")?;
    context.report.equal(
        path.as_str(),
        MODULE_PATH,
        "the module path is the kernel's own",
    );
    for turn in ["first", "second"] {
        context.guest.call("kld load weft")?;
        let files = context.guest.call("kld stat")?;
        let loaded = files
            .iter()
            .any(|line| line.ends_with(&format!(" {MODULE}")));
        context.report.check(
            loaded,
            &format!("{turn}: kldload weft loads {MODULE}"),
            files.join("\n"),
        );
        let version = context.guest.sysctl("net.weft.version")?;
        context.report.check(
            version.contains(env!("CARGO_PKG_VERSION")),
            &format!("{turn}: it is this version"),
            version,
        );
        if turn == "first" {
            tree(context)?;
        }
        context.unload_weft()?;
    }
    Ok(())
}

/// Each sysctl that the list has is there and of its kind. What is new is noted, and the
/// whole list left beside the logs.
fn tree(context: &mut Context<'_>) -> Result<()> {
    let lines = context.guest.call("sysctl tree net.weft")?;
    let found: Vec<String> = lines.iter().filter_map(|line| listed(line)).collect();
    let known: Vec<&str> = TREE.lines().filter(|line| !line.starts_with('#')).collect();
    let missing: Vec<&&str> = known
        .iter()
        .filter(|line| !found.iter().any(|one| one == *line))
        .collect();
    context.report.equal(
        &missing,
        &Vec::new(),
        &format!("the {} sysctls of the list are there", known.len()),
    );
    let is_new = |line: &&String| !known.contains(&line.as_str());
    for line in found.iter().filter(is_new) {
        context.report.note(&format!("not in the list yet: {line}"));
    }
    let path = context.artifacts.output.join(&context.kernel.name);
    let write = std::fs::create_dir_all(&path)
        .and_then(|()| std::fs::write(path.join("sysctl-tree.txt"), found.join("\n") + "\n"));
    write.map_err(|error| Error::Unexpected(format!("{}: {error}", path.display())))
}

/// A line of the agent's as the list has it, unless it is about another FIB than the first.
fn listed(line: &str) -> Option<String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, kind, format, ..] = fields[..] else {
        return None;
    };
    let is_other = |part: &str| part.parse::<u32>().is_ok_and(|number| number > 0);
    let by_fib = name.split('.').any(is_other) && name.contains(".fib.");
    (!by_fib).then(|| format!("{name} {kind} {format}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn lines_are_about_the_first_fib() {
        let line = |name: &str| format!("{name}\tint\tIU\tfib\ta description\t5");
        assert_eq!(
            listed(&line("net.weft.fib.0.inet.prefixes")).as_deref(),
            Some("net.weft.fib.0.inet.prefixes int IU")
        );
        assert_eq!(listed(&line("net.weft.fib.3.inet.prefixes")), None);
        assert!(listed(&line("net.weft.latency.fib.0")).is_some());
        assert_eq!(listed("!damaged"), None);
    }
}
