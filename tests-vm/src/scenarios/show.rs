// SPDX-License-Identifier: BSD-2-Clause
//! Not a test but a tour, for `cargo xtask run`: the module's sysctls, a large
//! table of each family looked up by it, and what it takes to unload.

use std::time::Duration;

use super::{Context, Family, Scenario, V4, V6};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "show",
    group: "network",
    about: "a tour of the module",
    klds: &["if_epair"],
    limit: Duration::from_secs(240),
    run,
    ..Scenario::ORDINARY
};

const BOTH: [&Family; 2] = [&V4, &V6];
/// Addresses of each kind that the tour compares.
const KEYS: u64 = 20_000;
/// The sysctls that the tour reads afterwards, below `net.weft.fib`.
const FIGURES: [&str; 6] = [
    "check_compared",
    "check_mismatches",
    "check6_compared",
    "check6_mismatches",
    "tables",
    "bytes",
];

fn run(context: &mut Context<'_>) -> Result<()> {
    println!("# kldload weft");
    context.load_weft()?;
    println!("# sysctl -d net.weft");
    for line in context.guest.call("sysctl tree net.weft")? {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [name, _, _, _, description, value] = fields[..] {
            println!("{name} = {value}\n    {description}");
        }
    }
    let pair = context.set_up_interface(0)?;
    for family in BOTH {
        let routes = context.some_routes(family);
        println!("# {routes} routes of {} are loaded into FIB 0", family.name);
        context.load_routes("", family, &family.gateways(), 0, routes)?;
        println!("# sysctl {}={}", family.algorithm, family.ours);
        context.choose("", family, family.ours)?;
    }
    println!("# sysctl net.weft.fib.check={KEYS}");
    context.compare("", &BOTH, KEYS, "the tour's comparison")?;
    for name in FIGURES {
        let value = context.guest.sysctl(&format!("net.weft.fib.{name}"))?;
        println!("net.weft.fib.{name}: {value}");
    }
    println!("# kldunload weft");
    let refused = context.guest.refused("kld unload weft.ko")?;
    println!("{refused}");
    for family in BOTH {
        println!("# sysctl {}={}", family.algorithm, family.plain);
        context.choose("", family, family.plain)?;
    }
    println!("# kldunload weft");
    context.unload_weft()?;
    for family in BOTH {
        context.unload_routes("", family, context.some_routes(family))?;
    }
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}
