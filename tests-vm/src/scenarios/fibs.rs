// SPDX-License-Identifier: BSD-2-Clause
//! Tables come and go in both families at once: FIBs are added to a running system,
//! network stacks of jails are born and die with their routes in them, and an
//! interface takes the routes over it along.

use std::time::Duration;

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "fibs",
    group: "network",
    about: "FIBs, jails and interfaces come and go with their routes; answers stay right",
    klds: &["if_epair"],
    limit: Duration::from_secs(240),
    run,
    ..Scenario::ORDINARY
};

const BOTH: [&Family; 2] = [&V4, &V6];
/// Addresses of each kind that a comparison takes.
const KEYS: u64 = 5_000;
/// FIBs that are added.
const MORE_FIBS: u64 = 3;
/// What puts a command into the jail.
const JAIL: &str = "in fleeting ";
/// Jails that are made and removed, one after the other.
const JAILS: u32 = 3;
/// Routes in each jail while it is compared.
const JAIL_ROUTES: usize = 1_000;
/// Routes of each family with which a jail dies. The kernel frees a dying stack's
/// routes by callbacks of the epoch and does not wait for the last of them
/// (NET_EPOCH_DRAIN_CALLBACKS may return beside callbacks that are older than it):
/// thousands of them outlive their UMA zone, with any algorithm.
const JAIL_ROUTES_LEFT: usize = 16;
/// Interfaces that are made and destroyed, one after the other.
const DEPARTURES: u32 = 2;

fn run(context: &mut Context<'_>) -> Result<()> {
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    departures(context)?;
    growth(context)?;
    jails(context)?;
    context.unload_weft()?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

/// An interface goes and takes half of a table along, and one of two ways of some routes.
fn departures(context: &mut Context<'_>) -> Result<()> {
    for round in 0..DEPARTURES {
        let second = context.set_up_interface(1)?;
        for family in BOTH {
            let count = context.some_routes(family) / 4;
            context.load_routes("", family, &family.gateways_of_both(), 0, count)?;
            let apart = family.small.apart;
            let (near, far) = (family.gateway(0), family.gateway_at(1, 0));
            context.guest.call(&format!(
                "each route add {apart} {near} -- route add {apart} {far}"
            ))?;
            context.choose("", family, family.ours)?;
        }
        context.compare("", &BOTH, KEYS, "routes over two interfaces")?;
        let limit = Duration::from_secs(120);
        context
            .guest
            .call_within(&format!("if destroy {second}"), limit)?;
        let what = format!("after one of them has gone, time {}", round + 1);
        context.compare("", &BOTH, KEYS, &what)?;
        for family in BOTH {
            nothing_leads_back(context, family)?;
            context.choose("", family, family.plain)?;
            // Those that are gone already are counted as errors, which nobody reads.
            context.unload_routes("", family, context.some_routes(family) / 4)?;
            context
                .guest
                .call(&format!("route del {}", family.small.apart))?;
        }
    }
    Ok(())
}

/// The route with two ways has the one that is left.
fn nothing_leads_back(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let apart = family.small.apart;
    let (first, _) = apart.split_once('/').unwrap_or((apart, ""));
    let line = context.guest.line(&format!("route get {first}"))?;
    let way = family.gateway(0);
    context.report.check(
        line.split(' ').nth(1) == Some(way.as_str()),
        &format!("{}: of two ways the one that is left", family.name),
        line,
    );
    Ok(())
}

/// FIBs are added while others are looked up; the new ones have tables of their own.
fn growth(context: &mut Context<'_>) -> Result<()> {
    for family in BOTH {
        let count = context.some_routes(family) / 4;
        context.load_routes("", family, &family.gateways(), 0, count)?;
        context.choose("", family, family.ours)?;
    }
    let before = context.guest.number("sysctl get net.fibs")?;
    let fibs = before + MORE_FIBS;
    // New FIBs get the interfaces' routes of the first.
    context.guest.set_sysctl("net.add_addr_allfibs", 1)?;
    context.guest.set_sysctl("net.fibs", fibs)?;
    context.compare("", &BOTH, KEYS, "after FIBs were added")?;
    for fib in before..fibs {
        one_more_fib(context, fib)?;
    }
    context.compare("", &BOTH, KEYS, "beside tables of other FIBs")?;
    for fib in (before..fibs).rev() {
        let place = format!("fib {fib} ");
        for family in BOTH {
            context.choose(&place, family, family.plain)?;
            context.unload_routes(&place, family, context.some_routes(family) / 4)?;
        }
    }
    context.compare("", &BOTH, KEYS, "after the other FIBs' tables have gone")?;
    context.guest.set_sysctl("net.add_addr_allfibs", 0)?;
    for family in BOTH {
        context.choose("", family, family.plain)?;
        context.unload_routes("", family, context.some_routes(family) / 4)?;
    }
    Ok(())
}

/// A table of its own in FIB `fib`, which changes while another FIB is compared.
fn one_more_fib(context: &mut Context<'_>, fib: u64) -> Result<()> {
    let place = format!("fib {fib} ");
    let variant = u32::try_from(fib).unwrap_or(1);
    for family in BOTH {
        let count = context.some_routes(family) / 4;
        context.load_routes(&place, family, &family.gateways(), variant, count)?;
        context.choose(&place, family, family.ours)?;
        let ways = [3, 4, 5].map(|number| family.gateway(number)).join(",");
        let flap = format!("{place}route flap {} 64 {ways} 500 0", family.small.apart);
        context.guest.start(family.name, &flap)?;
    }
    context.compare("", &BOTH, KEYS, &format!("FIB 0 while FIB {fib} changes"))?;
    context.compare(&place, &BOTH, KEYS, &format!("FIB {fib} while it changes"))?;
    for family in BOTH {
        let flaps = context.guest.stop(family.name)?;
        context.report.check(
            matches!(flaps[..], [added, _, deleted, 0, _] if added > 0 && added == deleted),
            &format!("{}: routes changed in FIB {fib}", family.name),
            format_args!("added, changed, deleted, errors, ms: {flaps:?}"),
        );
    }
    context.compare(&place, &BOTH, KEYS, &format!("FIB {fib} after the changes"))
}

/// Network stacks are made, looked up in, and destroyed with routes in them.
fn jails(context: &mut Context<'_>) -> Result<()> {
    let before = context.tables()?;
    let limit = Duration::from_secs(30);
    for round in 0..JAILS {
        context.guest.call_within("jail create fleeting", limit)?;
        context.guest.call(&format!(
            "{JAIL}each if addr lo0 127.0.0.1/8 -- if addr lo0 ::1/128 -- if up lo0"
        ))?;
        for family in BOTH {
            context.choose(JAIL, family, family.ours)?;
        }
        jail_routes(context, "load", JAIL_ROUTES)?;
        let what = format!("in jail number {}, all routes added one by one", round + 1);
        context.compare(JAIL, &BOTH, KEYS, &what)?;
        jail_routes(context, "unload", JAIL_ROUTES)?;
        jail_routes(context, "load", JAIL_ROUTES_LEFT)?;
        let what = format!("in jail number {}, most routes removed", round + 1);
        context.compare(JAIL, &BOTH, KEYS, &what)?;
        let tables = context.tables()?;
        let what = "the jail's two tables are counted";
        context.report.equal(&tables, &(before + 2), what);
        context.guest.call_within("jail remove fleeting", limit)?;
        context.wait_for_tables(before, "the dead jail's tables are gone")?;
    }
    Ok(())
}

/// Loads or unloads so many routes of each family in the jail, all over its lo0.
fn jail_routes(context: &mut Context<'_>, verb: &str, count: usize) -> Result<()> {
    for (family, gateway) in BOTH.into_iter().zip(["127.0.0.1", "::1"]) {
        let arguments = match verb {
            "load" => format!("{gateway} 0 {count}"),
            _ => count.to_string(),
        };
        let command = format!("{JAIL}route {verb} {} {arguments}", family.table);
        let lines = context
            .guest
            .call_within(&command, super::limit_for(count))?;
        context.report.check(
            lines[0].starts_with(&format!("{count} 0 ")),
            &format!("{}: {verb} in the jail", family.name),
            lines.join(" "),
        );
    }
    Ok(())
}
