// SPDX-License-Identifier: BSD-2-Clause
//! Who may do what by which interface of the module's: root and an ordinary user of the host,
//! and of jails with and without a network stack of their own. The table that it checks is
//! the one in `docs/interface-permissions.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::pair::{create_jail, destroy, remove_jail};
use super::{Context, Scenario, V4};
use crate::guest::{Error, Result};
use crate::image::MODULES;
use crate::lan::{FIRST_SLOT, Nic};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "permissions",
    group: "permissions",
    about: "who may do what by each interface: root, users and roots of jails, by the errors they get",
    limit: Duration::from_secs(180),
    nics: &[Nic { device: "vmxnet3" }],
    run,
    ..Scenario::ORDINARY
};

/// How long one thing may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Who asks, in the table's columns, and the words before his commands. `wpair0a` is the
/// host's, `wpair0b` of the jail "owner"; "other" has a network stack of its own as well,
/// "shared" has the host's.
const WHO: [(&str, &str); 7] = [
    ("root", ""),
    ("user", "as 1001 "),
    ("owner's root", "in owner "),
    ("owner's user", "in owner as 1001 "),
    ("other's root", "in other "),
    ("other's user", "in other as 1001 "),
    ("shared's root", "in shared "),
];

/// A thing to do, how root of the host undoes it, and what comes of it for each of [`WHO`], by
/// order: `ok`, or the error's name.
/// `{x}` in a command is the number of who asks, `{at}` the words before his commands.
struct Row {
    what: &'static str,
    command: &'static str,
    undo: &'static str,
    expected: [&'static str; 7],
}

const fn row(
    what: &'static str,
    command: &'static str,
    undo: &'static str,
    expected: [&'static str; 7],
) -> Row {
    Row {
        what,
        command,
        undo,
        expected,
    }
}

const OK: &str = "ok";
const PERM: &str = "EPERM";
const ACCESS: &str = "EACCES";
const NO_SUCH: &str = "ENOENT";
const NO_DEVICE: &str = "ENXIO";

const ROWS: &[Row] = &[
    row(
        "read `net.weft.version`",
        "sysctl get net.weft.version",
        "",
        [OK; 7],
    ),
    row(
        "read a setting of all pairs",
        "sysctl get net.weft.pair.room",
        "",
        [OK; 7],
    ),
    row(
        "write a setting of all pairs",
        "sysctl set net.weft.pair.room 2048",
        "sysctl set net.weft.pair.room 1024",
        [OK, PERM, PERM, PERM, PERM, PERM, PERM],
    ),
    row(
        "read figures of owner's end",
        "sysctl get net.weft.pair.wpair0b.queue.0.packets",
        "",
        [OK, OK, OK, OK, NO_SUCH, NO_SUCH, NO_SUCH],
    ),
    row(
        "read figures of the host's end",
        "sysctl get net.weft.pair.wpair0a.queue.0.packets",
        "",
        [OK, OK, NO_SUCH, NO_SUCH, NO_SUCH, NO_SUCH, OK],
    ),
    row(
        "write a limit of owner's end",
        "sysctl set net.weft.pair.wpair0b.queue.0.packets_limit 500",
        "sysctl set net.weft.pair.wpair0b.queue.0.packets_limit 1024",
        [OK, PERM, OK, PERM, NO_SUCH, PERM, PERM],
    ),
    row(
        "write the queues of owner's end",
        "sysctl set net.weft.pair.wpair0b.queues 1",
        "sysctl set net.weft.pair.wpair0b.queues 2",
        [OK, PERM, OK, PERM, NO_SUCH, PERM, PERM],
    ),
    row(
        "have owner's end receive at once (`direct`)",
        "sysctl set net.weft.pair.wpair0b.direct 1",
        "sysctl set net.weft.pair.wpair0b.direct 0",
        [OK, PERM, PERM, PERM, PERM, PERM, PERM],
    ),
    row(
        "write a rule of `weft:ipv6`, one's own",
        "sysctl set net.weft.ipv6.limit.headers 12",
        "sysctl set net.weft.ipv6.limit.headers 8",
        [OK, PERM, OK, PERM, OK, PERM, PERM],
    ),
    row(
        "write a figure",
        "sysctl set net.weft.fib.tables 1",
        "",
        [PERM; 7],
    ),
    row(
        "write a limit of route tables",
        "sysctl set net.weft.fib.bytes_limit 0",
        "",
        [OK, PERM, PERM, PERM, PERM, PERM, PERM],
    ),
    row(
        "compare one's tables with the RIB",
        "sysctl set net.weft.fib.check 10",
        "",
        [OK, PERM, OK, PERM, OK, PERM, PERM],
    ),
    row(
        "choose an algorithm for one's FIB",
        "sysctl set net.route.algo.inet.algo radix4_lockless",
        "{at}sysctl set net.route.algo.inet.algo weft4",
        [OK, PERM, OK, PERM, OK, PERM, PERM],
    ),
    row(
        "read a card's figures",
        "sysctl get dev.wvmx.0.%25driver",
        "",
        [OK; 7],
    ),
    row(
        "create a pair",
        "if create wpair1{x}",
        "{at}if destroy wpair1{x}a",
        [OK, PERM, OK, PERM, OK, PERM, PERM],
    ),
    row(
        "create an interface on the host's",
        "if create wpair0a.ip{x}",
        "if destroy wpair0a.ip{x}",
        [OK, PERM, NO_DEVICE, PERM, NO_DEVICE, PERM, PERM],
    ),
    row(
        "create an interface on owner's",
        "if create wpair0b.ip{x}",
        "in owner if destroy wpair0b.ip{x}",
        [NO_DEVICE, PERM, OK, PERM, NO_DEVICE, PERM, PERM],
    ),
    row(
        "destroy the host's end",
        "if destroy wpair0a",
        "remake",
        [OK, PERM, NO_DEVICE, PERM, NO_DEVICE, PERM, PERM],
    ),
    row(
        "destroy owner's end",
        "if destroy wpair0b",
        "remake",
        [NO_DEVICE, PERM, OK, PERM, NO_DEVICE, PERM, PERM],
    ),
    row(
        "MTU of the host's end",
        "if mtu wpair0a 1400",
        "if mtu wpair0a 1500",
        [OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE, NO_DEVICE, PERM],
    ),
    row(
        "MTU of owner's end",
        "if mtu wpair0b 1400",
        "in owner if mtu wpair0b 1500",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "owner's end up",
        "if up wpair0b",
        "",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "capabilities of owner's end",
        "if capability wpair0b -tso4",
        "in owner if capability wpair0b tso4",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "hardware address of owner's end",
        "if lladdr wpair0b 02:00:00:00:77:01",
        "",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "address of owner's end",
        "if addr wpair0b 10.4.0.2/24",
        "in owner if unaddr wpair0b 10.4.0.2",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "address of a card",
        "if addr wvmx0 10.5.0.2/24",
        "if unaddr wvmx0 10.5.0.2",
        [OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE, NO_DEVICE, PERM],
    ),
    row(
        "a card down",
        "if down wvmx0",
        "",
        [OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE, NO_DEVICE, PERM],
    ),
    row(
        "another name for owner's end",
        "if rename wpair0b other0",
        "in owner if rename other0 wpair0b",
        [
            NO_DEVICE, NO_DEVICE, OK, PERM, NO_DEVICE, NO_DEVICE, NO_DEVICE,
        ],
    ),
    row(
        "move the host's end into a jail",
        "if vnet wpair0a other",
        "each if reclaim wpair0a other -- if up wpair0a",
        [OK, PERM, NO_SUCH, NO_SUCH, NO_SUCH, NO_SUCH, NO_SUCH],
    ),
    row(
        "take owner's end back",
        "if reclaim wpair0b owner",
        "each if vnet wpair0b owner -- in owner if up wpair0b",
        [OK, PERM, NO_SUCH, NO_SUCH, NO_SUCH, NO_SUCH, NO_SUCH],
    ),
    row(
        "link `weft:ipv6` in one's own stack",
        "pfil first inet6 weft ipv6",
        "{at}pfil unlink inet6 weft ipv6",
        [OK, ACCESS, OK, ACCESS, OK, ACCESS, OK],
    ),
    row(
        "rings of netmap(4) of the host's end",
        "netmap recv wpair0a 5010 0 10",
        "",
        [OK, ACCESS, NO_DEVICE, ACCESS, NO_DEVICE, ACCESS, OK],
    ),
    row(
        "a frame by bpf(4) from the host's end",
        "ether send wpair0a ffffffffffff02000000000108060001 1",
        "",
        [OK, ACCESS, NO_DEVICE, ACCESS, NO_DEVICE, ACCESS, OK],
    ),
    row(
        "give a card another driver",
        "devctl detach pci0:0:8:0",
        "devctl attach pci0:0:8:0",
        [OK, ACCESS, PERM, ACCESS, PERM, ACCESS, PERM],
    ),
    row(
        "load the module",
        "kld load {MODULES}/weft.ko",
        "",
        ["EEXIST", PERM, PERM, PERM, PERM, PERM, PERM],
    ),
    row(
        "unload the module",
        "kld unload weft.ko",
        "",
        ["EBUSY", PERM, PERM, PERM, PERM, PERM, PERM],
    ),
    row(
        "set a tunable",
        "kenv set hw.weft.devices none",
        "kenv set hw.weft.devices none",
        [OK, PERM, PERM, PERM, PERM, PERM, PERM],
    ),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    let set = format!("devctl set pci0:0:{FIRST_SLOT}:0 wvmx");
    context.guest.call_within(&set, LIMIT)?;
    create_jail(context, "owner")?;
    create_jail(context, "other")?;
    context.guest.call("jail share shared")?;
    make(context)?;
    let stacks = ["", "in owner ", "in other "];
    for at in stacks {
        context.choose(at, &V4, V4.ours)?;
    }
    let mut table = String::from("| what |");
    for (who, _) in WHO {
        let _ = write!(table, " {who} |");
    }
    table += "\n|";
    table += &" --- |".repeat(1 + WHO.len());
    for row in ROWS {
        let found = each(context, row)?;
        let _ = write!(table, "\n| {} | {} |", row.what, found.join(" | "));
        context
            .report
            .equal(&found, &row.expected.map(str::to_owned).to_vec(), row.what);
    }
    std::fs::write(
        context.artifacts.output.join("permissions.md"),
        table + "\n",
    )
    .map_err(|error| Error::Unexpected(format!("the table: {error}")))?;
    all_oids(context)?;
    for at in stacks {
        context.choose(at, &V4, V4.stock)?;
    }
    context
        .guest
        .call("sysctl set net.weft.pair.jails_may_create 0")?;
    let why = context.guest.refused("in other if create wpair")?;
    context.report.check(
        why.starts_with(PERM),
        "a jail makes no pair where it may not",
        &why,
    );
    destroy(context, "wpair0a")?;
    context
        .guest
        .call_within(&format!("devctl detach pci0:0:{FIRST_SLOT}:0"), LIMIT)?;
    for jail in ["shared", "other", "owner"] {
        remove_jail(context, jail)?;
    }
    context.wait_for_tables(0, "no route table is left")?;
    context.unload_weft()
}

/// The pair that the table is about.
fn make(context: &mut Context<'_>) -> Result<()> {
    context.guest.each(&[
        "if create wpair0".into(),
        "if up wpair0a".into(),
        "if vnet wpair0b owner".into(),
        "in owner if up wpair0b".into(),
    ])
}

/// What comes of a row for each of [`WHO`].
fn each(context: &mut Context<'_>, row: &Row) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (number, (_, at)) in WHO.into_iter().enumerate() {
        let fill = |text: &str| {
            text.replace("{x}", &number.to_string())
                .replace("{at}", at)
                .replace("{MODULES}", MODULES)
        };
        let asked = format!("{at}{}", fill(row.command));
        let outcome = match context.guest.call_within(&asked, LIMIT) {
            Ok(_) => {
                match row.undo {
                    "" => {}
                    "remake" => make(context)?,
                    undo => drop(context.guest.call_within(&fill(undo), LIMIT)?),
                }
                OK.to_owned()
            }
            Err(Error::Failed { why, .. }) => name(&why),
            Err(other) => return Err(other),
        };
        found.push(outcome);
    }
    Ok(found)
}

/// The name of an error in what the agent says.
fn name(why: &str) -> String {
    let mut words = why.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_name = |word: &&str| {
        word.len() > 2
            && word.starts_with('E')
            && word.bytes().all(|letter| letter.is_ascii_uppercase())
    };
    words.rfind(is_name).unwrap_or(why).to_owned()
}

/// Each OID of the module's, read and written by each who is not root of the host.
fn all_oids(context: &mut Context<'_>) -> Result<()> {
    let trees = ["net.weft", "hw.weft", "dev.wvmx"];
    for tree in trees {
        let before = settings(context, tree)?;
        for (who, at) in &WHO[1..] {
            let command = format!("{at}sysctl rewrite {tree}");
            let lines = context.guest.call_within(&command, LIMIT)?;
            let rows: Vec<Vec<&str>> = lines
                .iter()
                .map(|line| line.split('\t').collect())
                .collect();
            let wrote: Vec<&str> = rows
                .iter()
                .filter(|row| row.get(3) == Some(&"ok"))
                .filter_map(|row| row.first().copied())
                .filter(|oid| !may_write(who, oid))
                .collect();
            context.report.equal(
                &wrote,
                &vec![],
                &format!("{who} writes nothing of {tree} that is not his"),
            );
            let read: Vec<&str> = rows
                .iter()
                .filter(|row| row.get(2) == Some(&"ok"))
                .filter_map(|row| row.first().copied())
                .filter(|oid| !may_read(who, oid))
                .collect();
            context.report.equal(
                &read,
                &vec![],
                &format!("{who} reads nothing of {tree} that is not his"),
            );
            context.report.note(&format!(
                "{who}, {tree}: {} OIDs, {} read, {} written",
                rows.len(),
                rows.iter().filter(|row| row.get(2) == Some(&"ok")).count(),
                rows.iter().filter(|row| row.get(3) == Some(&"ok")).count(),
            ));
        }
        let after = settings(context, tree)?;
        context
            .report
            .equal(&after, &before, &format!("{tree} is as it was"));
    }
    Ok(())
}

fn settings(context: &mut Context<'_>, tree: &str) -> Result<BTreeMap<String, String>> {
    let lines = context
        .guest
        .call_within(&format!("sysctl settings {tree}"), LIMIT)?;
    Ok(lines
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Whether an OID may be written by who is not the host's root: what belongs to his own
/// network stack, by the root of that.
fn may_write(who: &str, oid: &str) -> bool {
    let own = ["net.weft.ipv6.", "net.weft.fib.check"];
    match who {
        "owner's root" => {
            own.iter().any(|prefix| oid.starts_with(prefix))
                || oid.starts_with("net.weft.pair.wpair0b.")
        }
        "other's root" => own.iter().any(|prefix| oid.starts_with(prefix)),
        _ => false,
    }
}

/// Whether it may be read: ends by the host and by the jail that has them.
fn may_read(who: &str, oid: &str) -> bool {
    let of_end = ["net.weft.pair.wpair", "net.weft.latency.pair.wpair"]
        .iter()
        .find_map(|prefix| oid.strip_prefix(prefix));
    match of_end {
        None => true,
        Some(end) => match who {
            "user" => true,
            // It is in the host's network stack.
            "shared's root" => end.starts_with("0a"),
            "owner's root" | "owner's user" => end.starts_with("0b"),
            _ => false,
        },
    }
}
