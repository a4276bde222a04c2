// SPDX-License-Identifier: BSD-2-Clause
//! The examples of rc.conf(5) and jail.conf(5) in wpair(4), taken from the manual page
//! and run by FreeBSD's own rc.d/netif, rc.d/jail and jail(8).

use std::time::Duration;

use super::programs::{append, await_pairs, begin, reaches, shell};
use super::{Context, Scenario, System};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "pair-conf",
    group: "pair-conf",
    about: "wpair(4)'s examples of rc.conf and jail.conf, by FreeBSD's own startup scripts and jail(8)",
    klds: &["tmpfs", "nullfs"],
    limit: Duration::from_secs(900),
    system: System::Programs,
    run,
    ..Scenario::ORDINARY
};

/// The manual page with the examples.
const PAGE: &str = include_str!("../../../man/wpair.4");
/// The jails of the example, the addresses that reach them, and one of the host's that each
/// must reach.
const JAILS: [(&str, [&str; 2], &str); 2] = [
    ("www", ["10.0.0.2", "fd00:1::2"], "10.0.0.1"),
    ("db", ["10.0.1.2", "fd00:2::2"], "10.0.1.1"),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    begin(context)?;
    context.load_weft()?;
    for file in ["/etc/rc.conf", "/etc/jail.conf"] {
        install(context, file)?;
    }
    for (jail, ..) in JAILS {
        let root = format!("/jails/{jail}");
        shell(
            context,
            &format!("mkdir {root} && mount -t nullfs / {root}"),
        )?;
    }
    at_boot(context)?;
    jails(context)?;
    restarted(context)?;
    for (jail, ..) in JAILS {
        shell(context, &format!("umount /jails/{jail}"))?;
    }
    context.unload_weft()
}

/// Writes the example of `file` there.
fn install(context: &mut Context<'_>, file: &str) -> Result<()> {
    let lines = example(PAGE, file);
    context.report.check(
        !lines.is_empty(),
        &format!("wpair(4) has an example of {file}"),
        "",
    );
    append(context, file, &lines)
}

/// What rc(8) does at boot.
fn at_boot(context: &mut Context<'_>) -> Result<()> {
    shell(context, "/etc/rc.d/netif start")?;
    // Its status is that of routes to lo0, which are there.
    shell(context, "/etc/rc.d/routing start || true")?;
    configured(context, "rc.d/netif started")
}

/// rc.d/jail starts, stops and starts again, and all packets go both ways.
fn jails(context: &mut Context<'_>) -> Result<()> {
    for turn in ["first", "second"] {
        shell(context, "/etc/rc.d/jail start")?;
        for (jail, addresses, host) in JAILS {
            for address in addresses {
                reaches(context, "", address, &format!("{turn}: the host, {jail}"))?;
            }
            let inside = format!("jexec {jail} ");
            reaches(context, &inside, host, &format!("{turn}: {jail}, the host"))?;
        }
        let (www, db) = (JAILS[0].0, JAILS[1].1[0]);
        let inside = format!("jexec {www} ");
        reaches(context, &inside, db, &format!("{turn}: {www}, db"))?;
        shell(context, "/etc/rc.d/jail stop")?;
        await_pairs(
            context,
            1,
            &format!("{turn}: the jail's own pair goes with it"),
        )?;
        shell(context, "ifconfig wpair0b")?;
        context
            .report
            .pass(&format!("{turn}: the lent end is home again"));
    }
    Ok(())
}

/// rc.d/netif stopped and started again leaves the pair, with its addresses; it goes by
/// the name of an end.
fn restarted(context: &mut Context<'_>) -> Result<()> {
    // It complains that it can neither destroy nor make an interface of the pair's name.
    shell(context, "/etc/rc.d/netif restart || true")?;
    configured(context, "rc.d/netif restarted")?;
    shell(context, "ifconfig wpair0a destroy")?;
    await_pairs(context, 0, "no pair is left")
}

/// Checks that there is the pair of rc.conf, with its addresses.
fn configured(context: &mut Context<'_>, what: &str) -> Result<()> {
    let pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    context
        .report
        .equal(&pairs, &1, &format!("{what}: there is the pair of rc.conf"));
    let said = shell(context, "ifconfig wpair0a")?.join("\n");
    context.report.check(
        said.contains("inet 10.0.0.1 ") && said.contains("inet6 fd00:1::1 "),
        &format!("{what}: the end has its addresses"),
        &said,
    );
    Ok(())
}

/// The lines of the first display of `page`, in mdoc(7), that follows the name of `file`.
fn example(page: &str, file: &str) -> Vec<String> {
    let name = format!(".Pa {file}");
    page.lines()
        .skip_while(|line| !line.starts_with(&name))
        .skip_while(|line| !line.starts_with(".Bd -literal"))
        .skip(1)
        .take_while(|line| !line.starts_with(".Ed"))
        .map(String::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_found() {
        let page = ".Sh EXAMPLES\n.Pa /etc/a.conf :\n.Bd -literal -offset indent\none\n\ttwo\n.Ed\nother\n";
        assert_eq!(example(page, "/etc/a.conf"), ["one", "\ttwo"]);
        assert_eq!(example(page, "/etc/b.conf"), [""; 0]);
        for file in ["/etc/rc.conf", "/etc/jail.conf"] {
            let lines = example(PAGE, file);
            assert!(!lines.is_empty(), "{file}");
            // Quoted for sh(1) by apostrophes, and not a word of mdoc's.
            assert!(lines.iter().all(|line| !line.contains(['\'', '\\'])));
        }
    }
}
