// SPDX-License-Identifier: BSD-2-Clause
//! Not a test but a tour, for `cargo xtask run`: the module's sysctls, a large
//! table looked up by `weft4`, and what it takes to unload.

use std::time::Duration;

use super::{ALGORITHM, Context, PLAIN_ALGORITHM, Scenario, fib};
use crate::guest::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "show",
    group: "network",
    about: "a tour of the module",
    klds: &["if_epair"],
    limit: Duration::from_secs(240),
    run,
};

/// Addresses of each kind that the tour compares.
const KEYS: u64 = 20_000;

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
    let pair = fib::set_up_interface(context)?;
    println!("# {} routes are loaded into FIB 0", context.routes);
    fib::load_table(context)?;
    println!("# sysctl {ALGORITHM}=weft4");
    context.guest.set_sysctl(ALGORITHM, "weft4")?;
    println!("# sysctl net.weft.fib.check={KEYS}");
    context.compare_fib("", KEYS, "the tour's comparison")?;
    for name in ["check_compared", "check_mismatches", "tables", "bytes"] {
        let value = context.guest.sysctl(&format!("net.weft.fib.{name}"))?;
        println!("net.weft.fib.{name}: {value}");
    }
    println!("# kldunload weft");
    let refused = context.guest.refused("kld unload weft.ko")?;
    println!("{refused}");
    context.guest.set_sysctl(ALGORITHM, PLAIN_ALGORITHM)?;
    println!("# sysctl {ALGORITHM}={PLAIN_ALGORITHM}; kldunload weft");
    context.unload_weft()?;
    fib::unload_table(context)?;
    context.guest.call(&format!("if destroy {pair}")).map(drop)
}
