// SPDX-License-Identifier: BSD-2-Clause
//! The examples of loader.conf(5), sysctl.conf(5), rc.conf(5) and jail.conf(5) that are
//! installed, by FreeBSD's own startup scripts, and the manual pages by man(1).

use super::programs::{await_pairs, begin, reaches, shell};
use super::{Context, Scenario, System};
use crate::guest::Result;
use crate::userland::settings;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "examples",
    group: "examples",
    about: "the installed examples of loader.conf, sysctl.conf, rc.conf and jail.conf do as they say, and so does README's tour; man(1) shows the manual pages",
    klds: &["tmpfs", "nullfs"],
    limit: std::time::Duration::from_secs(900),
    system: System::Programs,
    installed: true,
    loader_conf: LOADER_CONF,
    run,
    ..Scenario::ORDINARY
};

const LOADER_CONF: &str = include_str!("../../../examples/system/loader.conf");
const SYSCTL_CONF: &str = include_str!("../../../examples/system/sysctl.conf");
const README: &str = include_str!("../../../README.md");
/// Where they are installed.
const FOLDER: &str = "/usr/local/share/examples/weft";
/// The jails, the addresses that reach them, and the host's that each must reach.
const JAILS: [(&str, [&str; 2], &str); 2] = [
    ("web", ["192.0.2.2", "2001:db8:0:1::2"], "192.0.2.1"),
    ("mail", ["192.0.2.6", "2001:db8:0:2::2"], "192.0.2.5"),
];
/// What has to be otherwise before the module can be unloaded.
const BACK: [&str; 3] = [
    "net.weft.fib.auto 0",
    "net.route.algo.inet.algo radix4_lockless",
    "net.route.algo.inet6.algo radix6_lockless",
];
/// Manual pages, and what each is about.
const PAGES: [(&str, &str); 3] = [
    ("weft", "route lookup"),
    ("wpair", "wpair"),
    ("9 weft_nic", "weft_nic_attach"),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    loaded(context)?;
    begin(context)?;
    manual(context)?;
    at_boot(context)?;
    jails(context)?;
    shell(context, "ifconfig wpair0a destroy")?;
    await_pairs(context, 0, "no pair is left")?;
    for setting in BACK {
        context.guest.call(&format!("sysctl set {setting}"))?;
    }
    context.unload_weft()?;
    tour(context)?;
    context.nothing_held()
}

/// The commands of README's tour, one after the other; each must end with status 0, and the
/// module is gone after the last.
fn tour(context: &mut Context<'_>) -> Result<()> {
    let commands = commands(README);
    for command in &commands {
        shell(context, command)?;
    }
    let what = format!("{} commands of README's tour", commands.len());
    let files = context.guest.call("kld stat")?.join("\n");
    context
        .report
        .check(!files.contains("weft.ko"), &what, files);
    Ok(())
}

/// The commands in the tour, but those that need a source tree or a terminal.
fn commands(readme: &str) -> Vec<String> {
    let tour = readme
        .lines()
        .skip_while(|line| *line != "## A tour of a minute")
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let lines = tour.filter_map(|line| line.strip_prefix("    "));
    lines
        .filter_map(|line| {
            let command = line.split(" #").next().unwrap_or(line);
            let parts = command.split("&&").map(str::trim);
            let parts: Vec<&str> = parts
                .filter(|part| !part.starts_with("make ") && !part.starts_with("man "))
                .collect();
            (!parts.is_empty()).then(|| parts.join(" && "))
        })
        .collect()
}

/// The module has what loader.conf sets.
fn loaded(context: &mut Context<'_>) -> Result<()> {
    let files = context.guest.call("kld stat")?.join("\n");
    match files.contains("weft.ko") {
        true => context.report.pass("the loader has loaded the module"),
        false => drop(context.guest.call("kld load weft")?),
    }
    let mut count = 0;
    for setting in settings(LOADER_CONF) {
        has(context, "loader.conf", &setting)?;
        count += 1;
    }
    let what = "loader.conf sets something";
    context.report.check(count > 0, what, count);
    Ok(())
}

/// Checks that a sysctl has the value that a line gives it.
fn has(context: &mut Context<'_>, file: &str, setting: &str) -> Result<()> {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let found = context.guest.sysctl(name)?;
    let what = format!("{file}: {name}");
    context.report.equal(found.as_str(), value, &what);
    Ok(())
}

/// What rc(8) does at boot.
fn at_boot(context: &mut Context<'_>) -> Result<()> {
    for file in ["sysctl.conf", "rc.conf", "jail.conf"] {
        shell(context, &format!("cat {FOLDER}/{file} >> /etc/{file}"))?;
    }
    shell(context, "/etc/rc.d/sysctl start")?;
    for line in SYSCTL_CONF.lines().filter(|line| !line.starts_with('#')) {
        if !line.is_empty() {
            has(context, "sysctl.conf", line)?;
        }
    }
    shell(context, "/etc/rc.d/netif start")?;
    // Its status is that of routes to lo0, which are there.
    shell(context, "/etc/rc.d/routing start || true")?;
    let said = shell(context, "ifconfig wpair0a")?.join("\n");
    context.report.check(
        said.contains("inet 192.0.2.1 ") && said.contains("inet6 2001:db8:0:1::1 "),
        "rc.conf: the pair is there and has its addresses",
        &said,
    );
    Ok(())
}

/// Packets go between the host and each jail, and between the jails.
fn jails(context: &mut Context<'_>) -> Result<()> {
    for (jail, ..) in JAILS {
        let root = format!("/jails/{jail}");
        shell(
            context,
            &format!("mkdir {root} && mount -t nullfs / {root}"),
        )?;
    }
    shell(context, "/etc/rc.d/jail start")?;
    for (jail, addresses, host) in JAILS {
        for address in addresses {
            reaches(context, "", address, &format!("the host, {jail}"))?;
        }
        let inside = format!("jexec {jail} ");
        reaches(context, &inside, host, &format!("{jail}, the host"))?;
    }
    let [(first, ..), (_, [other, _], _)] = JAILS;
    reaches(context, &format!("jexec {first} "), other, "jail to jail")?;
    shell(context, "/etc/rc.d/jail stop")?;
    await_pairs(context, 1, "the jail's own pair goes with it")?;
    shell(context, "ifconfig wpair0b")?;
    for (jail, ..) in JAILS {
        shell(context, &format!("umount /jails/{jail}"))?;
    }
    Ok(())
}

/// man(1) finds the pages where they are installed, and shows them.
fn manual(context: &mut Context<'_>) -> Result<()> {
    if shell(context, "test -x /usr/bin/man -a -x /usr/bin/mandoc").is_err() {
        let why = "manual pages not looked at: the userland has no man and mandoc";
        context.report.note(why);
        return Ok(());
    }
    for (page, words) in PAGES {
        // Without what a typewriter would print twice to have it bold.
        let plain = "awk '{ gsub(/.\\010/, \"\"); print }'";
        let shown = shell(context, &format!("man -P cat {page} | {plain}"))?.join("\n");
        context.report.check(
            shown.contains("DESCRIPTION") && shown.contains(words),
            &format!("man {page} shows it"),
            &shown,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{README, commands};

    #[test]
    fn the_tour_begins_and_ends_with_the_module() {
        let commands = commands(README);
        assert_eq!(commands.first().map(String::as_str), Some("kldload weft"));
        assert_eq!(commands.last().map(String::as_str), Some("kldunload weft"));
        assert!(commands.len() > 10, "{commands:?}");
    }
}
