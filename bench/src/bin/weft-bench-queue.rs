// SPDX-License-Identifier: BSD-2-Clause
//! `weft-bench-queue`: races transmit queues and reports. `cargo xtask bench-queue`
//! compiles it as it should be and runs it.

use clap::Parser;
use std::path::PathBuf;
use weft_bench::queue::contender::peers;
use weft_bench::queue::plot;
use weft_bench::queue::race::{Plan, run};
use weft_bench::{clock, record, report};

/// Command line.
#[derive(Parser)]
#[command(about = "Races transmit queues against named peers", version)]
struct Cli {
    /// A glance, in less than a minute
    #[arg(long)]
    quick: bool,
    /// Race only peers of these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Where queue.json and the plots go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Measure nothing: report and plot what is in queue.json
    #[arg(long)]
    report_only: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let json = cli.out.join("queue.json");
    if !cli.report_only {
        let plan = if cli.quick {
            Plan::quick()
        } else {
            Plan::full()
        };
        let mut peers = peers();
        peers.retain(|peer| cli.only.is_empty() || cli.only.iter().any(|name| name == peer.name));
        let machine = clock::machine();
        let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
        eprintln!("bench-queue: {machine}; peers: {}", names.join(", "));
        if let Some(reason) = weft_bench::dpdk_absent() {
            eprintln!("bench-queue: skipped: DPDK, {reason}");
        }
        record::write(&json, &run(&plan, &peers, &machine)?)?;
    }
    let records = record::read(&json)?;
    print!("{}", report::of_queues(&records));
    println!("records   {}", json.display());
    for path in plot::draw(&records, &cli.out)? {
        println!("plot      {}", path.display());
    }
    Ok(())
}
