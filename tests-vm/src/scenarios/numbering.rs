// SPDX-License-Identifier: BSD-2-Clause
//! FIBs with the same routes share their pages, though the kernel numbered their next
//! hops in different orders.

use std::time::Duration;

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;
use crate::table::GATEWAYS;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "numbering",
    group: "numbering",
    about: "FIBs with the same routes share pages, in whichever order their next hops came",
    klds: &["if_epair"],
    limit: Duration::from_secs(180),
    run,
    ..Scenario::ORDINARY
};

/// Addresses of each kind that a comparison takes.
const KEYS: u64 = 2_000;
/// FIBs that have the same table.
const FIBS: u32 = 3;
/// Pages that the further FIBs may add together: on the way to routes that only FIB 0
/// has, such as those of the loopback interface.
const ALLOWANCE: u64 = 32;
/// A table of its own would add at least so many.
const ENOUGH: u64 = 8 * ALLOWANCE;

fn run(context: &mut Context<'_>) -> Result<()> {
    // Each FIB gets the interface's routes.
    context.guest.set_sysctl("net.add_addr_allfibs", 1)?;
    let fibs = context.guest.number("sysctl get net.fibs")?;
    if fibs < u64::from(FIBS) {
        context.guest.set_sysctl("net.fibs", u64::from(FIBS))?;
    }
    let pair = context.set_up_interface(0)?;
    context.load_weft()?;
    for family in [&V4, &V6] {
        shared(context, family)?;
    }
    context.guest.set_sysctl("net.add_addr_allfibs", 0)?;
    context.unload_weft()?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}

fn place(fib: u32) -> String {
    format!("fib {fib} ")
}

fn shared(context: &mut Context<'_>, family: &Family) -> Result<()> {
    let count = context.some_routes(family) / 4;
    let mut first = 0;
    for fib in 0..FIBS {
        let place = place(fib);
        shuffle_next_hops(context, family, fib)?;
        context.load_routes(&place, family, &family.gateways(), 0, count)?;
        context.choose(&place, family, family.ours)?;
        let pages = context.guest.number("sysctl get net.weft.fib.pages")?;
        match fib {
            0 => {
                first = pages;
                context.report.check(
                    pages >= ENOUGH,
                    &format!("{}: a table has pages enough to tell", family.name),
                    format_args!("{pages} pages"),
                );
            }
            _ => context.report.check(
                pages <= first + ALLOWANCE,
                &format!("{}: FIB {fib} has the pages of FIB 0", family.name),
                format_args!("{pages} pages, {first} with one FIB"),
            ),
        }
        context.compare(&place, &[family], KEYS, &format!("FIB {fib} of {FIBS}"))?;
    }
    let pages = context.guest.number("sysctl get net.weft.fib.pages")?;
    context.report.note(&format!(
        "{}: {first} pages in one FIB, {pages} in {FIBS}",
        family.name
    ));
    for fib in 0..FIBS {
        let place = place(fib);
        context.choose(&place, family, family.plain)?;
        context.unload_routes(&place, family, count)?;
        let hosts = (0..GATEWAYS).map(|number| family.host(number));
        let commands: Vec<String> = hosts
            .map(|host| format!("{place}route del {host}"))
            .collect();
        context.guest.each(&commands)?;
    }
    Ok(())
}

/// Has a FIB make its next hops in an order of its own, by a host route over each.
fn shuffle_next_hops(context: &mut Context<'_>, family: &Family, fib: u32) -> Result<()> {
    // Odd, so that each comes once, as their number is a power of two.
    let step = 2 * fib + 1;
    let order = (0..GATEWAYS).map(|at| (at * step + fib) % GATEWAYS);
    let commands: Vec<String> = order
        .map(|number| {
            let (host, gateway) = (family.host(number), family.gateway(number));
            format!("{}route add {host} {gateway}", place(fib))
        })
        .collect();
    context.guest.each(&commands)
}
