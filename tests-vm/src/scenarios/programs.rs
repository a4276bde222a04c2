// SPDX-License-Identifier: BSD-2-Clause
//! FreeBSD's own programs in the guest, by sh(1).

use std::time::Duration;

use super::{Context, SETTLE_LIMIT};
use crate::guest::Result;
use crate::image::SYSTEM;
use weft_agent::frame::escape_word;

/// How long a startup script may take: hundreds of processes on a busy host.
pub(super) const LIMIT: Duration = Duration::from_secs(300);
/// What a command of [`shell`] said.
const SAID: &str = "/tmp/said";

/// Makes the guest one in which FreeBSD's programs run.
pub(super) fn begin(context: &mut Context<'_>) -> Result<()> {
    for kld in ["tmpfs", "nullfs"] {
        context.load_kld(kld)?;
    }
    context
        .guest
        .run_program(&format!("/bin/sh {SYSTEM}/start.sh"), LIMIT)?;
    Ok(())
}

/// Runs a command by sh(1); its output, or with its status as an error.
pub(super) fn shell(context: &mut Context<'_>, command: &str) -> Result<Vec<String>> {
    let words = escape_word(&format!("{{ {command}; }} > {SAID} 2>&1 < /dev/null"));
    let outcome = context
        .guest
        .run_program(&format!("/bin/sh -c {words}"), LIMIT);
    let said = context.guest.call(&format!("text {SAID}"))?;
    context
        .report
        .note(&format!("{command}\n{}", said.join("\n")));
    outcome.map(|()| said)
}

/// Writes lines behind what is in a file. They have no apostrophes.
pub(super) fn append(context: &mut Context<'_>, file: &str, lines: &[String]) -> Result<()> {
    for line in lines {
        shell(context, &format!("echo '{line}' >> {file}"))?;
    }
    Ok(())
}

/// Checks that an address answers three of ping(8)'s requests. `place` is a command's prefix.
pub(super) fn reaches(
    context: &mut Context<'_>,
    place: &str,
    address: &str,
    what: &str,
) -> Result<()> {
    // An address is a candidate until nobody else was found to have it.
    let command = format!("{place}ping -q -c 3 -i 0.5 -t 20 {address}");
    let outcome = shell(context, &command);
    if let Err(error) = &outcome
        && error.is_final()
    {
        return outcome.map(drop);
    }
    let detail = outcome
        .as_ref()
        .err()
        .map_or(String::new(), ToString::to_string);
    context.report.check(
        outcome.is_ok(),
        &format!("{what}: {address} answers"),
        detail,
    );
    Ok(())
}

/// Waits until there are so many pairs.
pub(super) fn await_pairs(context: &mut Context<'_>, wanted: u64, what: &str) -> Result<()> {
    let start = std::time::Instant::now();
    let mut pairs = u64::MAX;
    while pairs != wanted && start.elapsed() < SETTLE_LIMIT {
        pairs = context.guest.number("sysctl get net.weft.pair.pairs")?;
    }
    context.report.equal(&pairs, &wanted, what);
    Ok(())
}
