// SPDX-License-Identifier: BSD-2-Clause
//! FreeBSD's own tests of jails' networks, with epair(4) and with `wpair` in its place:
//! what passes with the one must pass with the other.

use std::fmt;
use std::time::Duration;

use super::programs::begin;
use super::{Context, Scenario, System};
use crate::guest::Result;
use crate::image::SYSTEM;
use crate::sources::{self, TESTS};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "system-tests",
    group: "system-tests",
    about: "FreeBSD's own network tests, with epair and with wpair in its place",
    klds: &["tmpfs", "nullfs", "if_epair"],
    limit: Duration::from_secs(4 * 3600),
    memory_mib: [2048, 2048],
    system: System::Tests,
    by_name: true,
    run,
    ..Scenario::ORDINARY
};

/// Which cases run, if it is set: those for which `SCRIPT CASE` begins with one of the
/// values, with commas between.
const ONLY: &str = "WEFT_SYSTEM_TESTS";

/// What a script gets that asks for an epair: FreeBSD's own, then ours.
const KINDS: [&str; 2] = ["epair", "wpair"];
/// Seconds that one case may take.
const SECONDS: u64 = 100;
/// The same, with what is around it.
const LIMIT: Duration = Duration::from_secs(2 * SECONDS + 60);
/// What case.sh writes.
const ANSWER: &str = "/tmp/answer";
/// Tries of a case that passes with epair and not with wpair. Many of the tests give a
/// packet a second to arrive, which an emulated CPU may miss.
const TRIES: u32 = 3;

/// Scripts of one folder below [`TESTS`], and where kyua(1) runs their cases by the
/// Makefile beside them: `host`, or `jail`.
struct Scripts {
    folder: &'static str,
    place: &'static str,
    names: &'static str,
}

/// Of each folder all scripts but those about if_wg(4) and if_ovpn(4).
const SCRIPTS: [Scripts; 9] = [
    Scripts {
        folder: "net",
        place: "jail",
        names: "if_bridge_test",
    },
    Scripts {
        folder: "net",
        place: "host",
        names: "if_epair_test if_vlan if_lagg_test if_gif if_stf if_clone_test if_tun_test",
    },
    Scripts {
        folder: "netinet",
        place: "host",
        names: "arp carp fibs lpm output redirect",
    },
    Scripts {
        folder: "netinet",
        place: "jail",
        names: "divert fibs_test forward multicast",
    },
    Scripts {
        folder: "netinet6",
        place: "host",
        names: "fibs6 lpm6 mld",
    },
    Scripts {
        folder: "netinet6",
        place: "jail",
        names: "addr6 divert exthdr forward6 ndp output6 proxy_ndp redirect scapyi386",
    },
    Scripts {
        folder: "netpfil/common",
        place: "jail",
        names: "dummynet forward fragments nat pass_block rdr tos",
    },
    Scripts {
        folder: "netpfil/ipfw",
        place: "jail",
        names: "divert fwd lookup",
    },
    Scripts {
        folder: "netpfil/pf",
        place: "jail",
        names: "altq anchor counters debug divert-to dup ether forward fragmentation_compat \
            fragmentation_no_reassembly fragmentation_pass get_state icmp icmp6 if_enc \
            killstate limits loginterface macro match max_pkt_rate max_pkt_size max_states \
            mbuf modulate names nat nat64 pass_block pflog pflow pfsync prio proxy rdr \
            ridentifier route_to rtable rules_counter scrub scrub_compat scrub_pass sctp \
            set_skip set_tos snmp src_track status syncookie synproxy table tcp tos",
    },
];

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// It passed, or failed as it said it would.
    Passed,
    /// It could not be run, and why.
    Skipped(String),
    /// It failed, and why.
    Failed(String),
}

impl End {
    /// From the first line that case.sh writes.
    fn parse(line: &str) -> Self {
        match line.split_once(": ") {
            None if line == "passed" => Self::Passed,
            Some(("expected_failure", _)) => Self::Passed,
            Some(("skipped", why)) => Self::Skipped(why.into()),
            Some(("failed", why)) => Self::Failed(why.into()),
            _ => Self::Failed(format!("no result: {line}")),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => out.write_str("passed"),
            Self::Skipped(why) => write!(out, "skipped ({why})"),
            Self::Failed(why) => write!(out, "failed ({why})"),
        }
    }
}

/// How many cases ended how with one kind of pair.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed: u32,
    skipped: u32,
    failed: u32,
}

impl Tally {
    fn add(&mut self, end: &End) {
        match end {
            End::Passed => self.passed += 1,
            End::Skipped(_) => self.skipped += 1,
            End::Failed(_) => self.failed += 1,
        }
    }
}

/// A case: where it is run, the script's path, and its name there.
struct Case<'a> {
    place: &'a str,
    script: &'a str,
    name: &'a str,
}

fn run(context: &mut Context<'_>) -> Result<()> {
    begin(context)?;
    context.load_weft()?;
    // ipfw(4) would let nothing pass, in all jails, and its tests want it to.
    context
        .guest
        .call("kenv set net.inet.ip.fw.default_to_accept 1")?;
    for kld in sources::KLDS
        .iter()
        .filter(|kld| context.kernel.has_module(kld))
    {
        let _ = context.load_kld(kld);
    }
    let only = std::env::var(ONLY).ok();
    let mut tallies = [Tally::default(); 2];
    for scripts in &SCRIPTS {
        for name in scripts.names.split_whitespace() {
            let script = format!("{}/{name}.sh", scripts.folder);
            if wanted(only.as_deref(), &script, None) {
                run_script(
                    context,
                    scripts.place,
                    &script,
                    only.as_deref(),
                    &mut tallies,
                )?;
            }
        }
    }
    for (kind, tally) in KINDS.iter().zip(tallies) {
        let Tally {
            passed,
            skipped,
            failed,
        } = tally;
        let line = format!("{kind}: {passed} passed, {failed} failed, {skipped} skipped");
        println!("  {line}");
        context.report.note(&line);
    }
    context.report.check(
        tallies[0].passed > 0,
        "cases pass with epair",
        "none does, so nothing is shown",
    );
    let pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    context.report.equal(&pairs, &0, "no pair is left");
    context.unload_weft()
}

/// Whether the selection, if there is one, has cases of this script, or this case of it.
fn wanted(only: Option<&str>, script: &str, case: Option<&str>) -> bool {
    let Some(only) = only else {
        return true;
    };
    only.split(',').any(|start| match case {
        Some(case) => format!("{script} {case}").starts_with(start),
        None => script.starts_with(start) || start.starts_with(script),
    })
}

/// All cases of a script with both kinds of pairs, a line of the table each.
fn run_script(
    context: &mut Context<'_>,
    place: &str,
    script: &str,
    only: Option<&str>,
    tallies: &mut [Tally; 2],
) -> Result<()> {
    let program = format!("/bin/sh {SYSTEM}/case.sh");
    context
        .guest
        .run_program(&format!("{program} list {TESTS}/{script} {ANSWER}"), LIMIT)?;
    let names = context.guest.call(&format!("text {ANSWER}"))?;
    for name in names.iter().filter(|name| wanted(only, script, Some(name))) {
        let case = Case {
            place,
            script,
            name,
        };
        compare(context, &case, tallies)?;
    }
    Ok(())
}

/// A case with both kinds. One that passes with epair only is a failure of ours, if it is
/// so each time.
fn compare(context: &mut Context<'_>, case: &Case<'_>, tallies: &mut [Tally; 2]) -> Result<()> {
    let Case { script, name, .. } = case;
    let [peer, _] = KINDS;
    let (theirs, _) = run_case(context, peer, case)?;
    let (mut ours, mut said) = run_case(context, KINDS[1], case)?;
    for _ in 1..TRIES {
        if theirs != End::Passed || ours == End::Passed {
            break;
        }
        context
            .report
            .note(&format!("{script} {name}: {ours}\n{said}"));
        (ours, said) = run_case(context, KINDS[1], case)?;
    }
    tallies[0].add(&theirs);
    tallies[1].add(&ours);
    let line = format!("{script} {name}: epair {theirs}, wpair {ours}");
    println!("    {line}");
    if theirs == End::Passed {
        context.report.check(ours == End::Passed, &line, said);
    } else {
        context.report.note(&line);
    }
    Ok(())
}

/// How the case ended with this kind of pair, and the last that it said.
fn run_case(context: &mut Context<'_>, kind: &str, case: &Case<'_>) -> Result<(End, String)> {
    let Case {
        place,
        script,
        name,
    } = case;
    let command = format!(
        "/bin/sh {SYSTEM}/case.sh run {kind} {place} {TESTS}/{script} {name} {SECONDS} {ANSWER}"
    );
    context.guest.run_program(&command, LIMIT)?;
    let said = context.guest.call(&format!("text {ANSWER}"))?;
    let (first, rest) = said
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    Ok((End::parse(first), rest.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn scripts_and_cases_can_be_selected() {
        let wanted = |only, case| wanted(Some(only), "net/if_vlan.sh", case);
        for only in ["net/", "net/if_vlan.sh", "netpfil,net/if_vlan.sh bas"] {
            assert!(wanted(only, None) && wanted(only, Some("basic")), "{only}");
        }
        assert!(wanted("net/if_vlan.sh qinq", None));
        assert!(!wanted("net/if_vlan.sh qinq", Some("basic")));
        assert!(!wanted("netinet/", None));
    }

    #[test]
    fn results_are_read() {
        assert_eq!(End::parse("passed"), End::Passed);
        assert_eq!(End::parse("expected_failure: a bug: x"), End::Passed);
        let skipped = End::Skipped("needs python3".into());
        assert_eq!(End::parse("skipped: needs python3"), skipped);
        assert_eq!(End::parse("failed: a: b"), End::Failed("a: b".into()));
        assert!(matches!(End::parse(""), End::Failed(_)));
    }

    /// A script in the manner of FreeBSD's.
    const SCRIPT: &str = r#"
atf_test_case checks cleanup
checks_head() { atf_set descr 'x y'; atf_set require.progs sh; }
checks_body()
{
    atf_check -o inline:"wpair create\n" ifconfig epair create
    atf_check -o inline:"lo0 up\n" ifconfig lo0 up
    atf_check -s exit:0 -o match:foo -o match:"b.r$" echo foo bar
    atf_check -o inline:"a\nb\n" printf 'a\nb\n'
    atf_check -s not-exit:0 false
    atf_check -s exit:3 -e match:err -x "echo err >&2; exit 3"
    atf_check -o not-match:zz -o save:out echo hi
    atf_check -o file:out cat out
    atf_check_equal "1" 1
}
checks_cleanup() { :; }
atf_test_case said
said_body() { atf_check echo foo; }
atf_test_case second_way
second_way_body() { atf_check -o match:one -o match:nope echo one; }
atf_test_case status
status_body() { false; }
atf_test_case no_pair
no_pair_body() { :; }
atf_test_case expected
expected_body() { atf_expect_fail "PR 1"; atf_check false; }
atf_test_case unexpected
unexpected_body() { atf_expect_fail "PR 1"; true; }
atf_test_case declared
declared_head() { atf_set require.progs no-such-program; }
declared_body() { :; }
atf_test_case undeclared
undeclared_body() { atf_check no-such-program; }
atf_test_case slow
slow_body() { sleep 60; }
atf_init_test_cases()
{
    for name in checks said second_way status no_pair expected unexpected declared undeclared slow; do
        atf_add_test_case $name
    done
}
"#;

    /// What case.sh makes of a case of [`SCRIPT`].
    fn end_of(folder: &Path, name: &str) -> End {
        let (script, answer) = (folder.join("script.sh"), folder.join("answer"));
        std::fs::write(&script, SCRIPT).unwrap();
        // An ifconfig that only says what it is told.
        let program = folder.join("ifconfig");
        std::fs::write(&program, "#!/bin/sh\necho \"$@\"\n").unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let status = Command::new("sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("system/case.sh"))
            .args(["run", "wpair", "host"])
            .arg(&script)
            .args([name, "2"])
            .arg(&answer)
            .env("CASE_SCRATCH", folder.join("scratch"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .status()
            .unwrap();
        assert!(status.success());
        let said = std::fs::read_to_string(&answer).unwrap();
        End::parse(said.lines().next().unwrap_or_default())
    }

    #[test]
    fn cases_end_as_under_atf() {
        let folder = tempfile::tempdir().unwrap();
        let end = |name| end_of(folder.path(), name);
        for name in ["checks", "expected"] {
            assert_eq!(end(name), End::Passed, "{name}");
        }
        for name in ["said", "second_way", "status", "unexpected", "slow"] {
            assert!(matches!(end(name), End::Failed(_)), "{name}");
        }
        assert_eq!(end("no_pair"), End::Skipped("asks for no pair".into()));
        for name in ["declared", "undeclared"] {
            assert_eq!(end(name), End::Skipped("needs no-such-program".into()));
        }
    }
}
