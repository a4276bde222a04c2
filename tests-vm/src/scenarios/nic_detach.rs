// SPDX-License-Identifier: BSD-2-Clause
//! Cards that are taken and given back, again and again, while datagrams go both ways.

use std::time::Duration;

use super::nic::Wire;
use super::nic_bulk::{CARDS, CARDS_AT_HAND};
use super::pair::LIMIT;
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::FIRST_SLOT;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-detach",
    group: "nic-detach",
    about: "cards given to wvmx, wem, wvtnet and taken away, again and again, under traffic both \
            ways: no frame on the cable is wrong, nothing is left",
    run,
    ..CARDS_AT_HAND
};

/// How often each card goes.
const TURNS: u32 = 5;
const TURNS_FULL: u32 = 100;
/// Datagrams that have come to the host when the card goes; it sends all of them back.
const DATAGRAMS: u64 = 100;

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    let turns = if context.full { TURNS_FULL } else { TURNS };
    for (number, (driver, name, _)) in CARDS.into_iter().enumerate() {
        card(context, number, driver, name, turns)?;
    }
    context.unload_weft()
}

fn card(
    context: &mut Context<'_>,
    number: usize,
    driver: &str,
    name: &str,
    turns: u32,
) -> Result<()> {
    let place = format!("pci0:0:{}:0", FIRST_SLOT + number);
    let wire = Wire::new(number);
    let port = wire.port(context)?;
    let (mut went, mut wrong, mut back) = (0, 0, 0);
    let mut first_wrong = None;
    for turn in 0..turns {
        let take = match turn {
            0 => format!("devctl set {place} {driver}"),
            _ => format!("devctl attach {place}"),
        };
        context.guest.call_within(&take, LIMIT)?;
        wire.connect(context, name)?;
        let flood = format!("flood {} 7 1000 4 0 0", wire.host());
        context.guest.start("flood", &flood)?;
        let is_going = port.wait(Duration::from_secs(30), |seen| seen.udp > DATAGRAMS);
        let detach = format!("devctl detach {place}");
        context.guest.call_within(&detach, LIMIT)?;
        context.guest.stop("flood")?;
        let seen = port.figures();
        went += u32::from(is_going);
        back += seen.sent;
        wrong += seen.wrong;
        first_wrong = first_wrong.or(seen.first_wrong);
        let gone = context.guest.refused(&format!("if stat {name}"))?;
        if !gone.starts_with("ENXIO") {
            context
                .report
                .check(false, &format!("{name} is gone"), gone);
        }
    }
    let what = format!("{name}: {turns} times taken and given back while datagrams went both ways");
    context.report.equal(&went, &turns, &what);
    let what = format!("{name}: the host finds all checksums right");
    context
        .report
        .equal(&(wrong, first_wrong), &(0, None), &what);
    let line = format!("{name}: given back {turns} times; the host sent {back} frames");
    context.report.say(&line);
    context.report.note(&line);
    Ok(())
}
