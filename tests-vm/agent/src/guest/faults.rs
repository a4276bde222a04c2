// SPDX-License-Identifier: BSD-2-Clause
//! Allocations of the module that fail, each in its turn, while a command runs
//! (`net.weft.test.fail`), and what is the same before and afterwards.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::command::{Failure, Outcome, number};
use super::job;
use super::sys;
use super::{clock, netif, sysctl};

const SITE: &str = "net.weft.test.fail.site";
const TURN: &str = "net.weft.test.fail.turn";
const SITES: &str = "net.weft.test.fail.sites";
const FAILED: &str = "net.weft.test.fail.failed";
const FORGOTTEN: &str = "net.weft.test.fail.forgotten";
/// What is told of a site: its number, calls, kind, return addresses.
const WORDS: usize = 9;
/// How long a command may take.
const LIMIT_MS: u64 = 60_000;

/// A site that was called.
struct Site {
    number: u64,
    calls: u64,
    words: Vec<u64>,
}

/// `faults try TURNS COMMAND... // UNDO...`: runs the command, then again for each site
/// that it allocates memory at, with that failing, at most `TURNS` times a site. What succeeds
/// is undone. A line says: site, turn, kind and addresses, outcome, and what has changed.
/// `faults sites` lists those that were called; `faults state` what is compared.
pub(super) fn command(words: &[&str]) -> Outcome {
    match words {
        ["sites"] => Ok(sites()?.iter().map(told).collect()),
        ["state"] => state(),
        ["try", turns, steps @ ..] => {
            let steps: Vec<&[&str]> = steps.split(|&word| word == "//").collect();
            match steps[..] {
                [command, undo] => attempts(number(turns, "turns")?, command, undo),
                _ => Err(Failure::usage("faults try TURNS COMMAND... // UNDO...")),
            }
        }
        _ => Err(Failure::usage(
            "faults try TURNS COMMAND... // UNDO... | sites | state",
        )),
    }
}

fn told(site: &Site) -> String {
    let words: Vec<String> = site.words.iter().map(ToString::to_string).collect();
    format!("{} {} {}", site.number, site.calls, words.join(" "))
}

/// The sites that were called since they were forgotten.
fn sites() -> Result<Vec<Site>, Failure> {
    if sysctl::count(FORGOTTEN)? > 0 {
        return Err(Failure::new("more sites than there is room for"));
    }
    let (mut pages, used) = sysctl::raw(SITES)?;
    let words: Vec<u64> = pages.bytes_mut()[..used]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|raw| u64::from_ne_bytes(*raw))
        .collect();
    let rows = words.chunks_exact(WORDS).filter(|row| row[0] != 0);
    Ok(rows
        .map(|row| Site {
            number: row[0],
            calls: row[1],
            words: row[2..].to_vec(),
        })
        .collect())
}

/// Runs a command in a process of its own.
fn run(words: &[&str]) -> Outcome {
    if words.is_empty() {
        return Ok(vec![]);
    }
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    job::spawn(&words)?.collect(clock::monotonic_ms() + LIMIT_MS)
}

/// The module's settings, the interfaces, and what the module has in memory.
fn state() -> Outcome {
    let mut lines = netif::all()?;
    for tree in ["net.weft", "hw.weft"] {
        let settings = sysctl::settings(tree)?;
        lines.extend(
            settings
                .into_iter()
                .filter(|line| !line.starts_with("net.weft.test.fail")),
        );
    }
    Ok(lines)
}

/// The first thing that differs.
fn difference(before: &[String], after: &[String]) -> String {
    let gone = before.iter().find(|line| !after.contains(line));
    let come = after.iter().find(|line| !before.contains(line));
    match (gone, come) {
        (None, None) => String::new(),
        (gone, come) => format!(
            "was: {} is: {}",
            gone.map_or("-", String::as_str),
            come.map_or("-", String::as_str)
        ),
    }
}

/// Waits a second at most for all to be as it was; what is not.
fn settled(before: &[String]) -> Result<String, Failure> {
    let mut differs = String::new();
    for _ in 0..50 {
        differs = difference(before, &state()?);
        if differs.is_empty() {
            break;
        }
        sys::sleep(20_000_000);
    }
    Ok(differs)
}

fn attempts(turns: u64, command: &[&str], undo: &[&str]) -> Outcome {
    // Once beforehand, for what is kept from then on.
    run(command)?;
    run(undo)?;
    let before = state()?;
    sysctl::set(SITE, "0")?;
    run(command)?;
    let sites = sites()?;
    run(undo)?;
    let is_single = !command.contains(&"--");
    let mut lines = Vec::new();
    for site in &sites {
        for turn in chosen(site.calls, turns) {
            sysctl::set(TURN, &turn.to_string())?;
            sysctl::set(SITE, &site.number.to_string())?;
            let outcome = run(command);
            let failed = sysctl::count(FAILED)?;
            sysctl::set(SITE, "0")?;
            let said = match (&outcome, failed) {
                (_, 0) => "not-reached".into(),
                (Ok(_), _) => "done".into(),
                (Err(why), _) => why.to_string(),
            };
            let mut odd = String::new();
            if outcome.is_err() {
                // What failed has changed nothing; but a command of several has done some.
                odd = settled(&before)?;
            }
            match (run(undo), outcome.is_ok()) {
                (Err(why), true) => odd = format!("undo: {why}"),
                _ if odd.is_empty() || !is_single => odd = settled(&before)?,
                _ => {}
            }
            let row: Vec<String> = site.words.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "{}\t{turn}\t{}\t{said}\t{}",
                site.number,
                row.join(" "),
                odd
            ));
        }
    }
    Ok(lines)
}

/// Which of so many calls fail: the first, the last, and some between.
fn chosen(calls: u64, turns: u64) -> Vec<u64> {
    let count = calls.min(turns);
    let place = |n: u64| match count {
        1 => 1,
        _ => 1 + n * (calls - 1) / (count - 1),
    };
    (0..count).map(place).collect()
}
