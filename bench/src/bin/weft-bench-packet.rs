// SPDX-License-Identifier: BSD-2-Clause
//! `weft-bench-packet`: races packet pools and reports. `cargo xtask bench-packet`
//! compiles it as it should be and runs it.

use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;
use weft_bench::packet::{Place, Plan, run};
use weft_bench::{clock, plot, record, report};

/// Command line.
#[derive(Parser)]
#[command(about = "Races packet pools against named peers", version)]
struct Cli {
    /// A glance, in some seconds
    #[arg(long)]
    quick: bool,
    /// Where packet.json and the plot go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Measure nothing: report and plot what is in packet.json
    #[arg(long)]
    report_only: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let json = cli.out.join("packet.json");
    if !cli.report_only {
        let plan = if cli.quick {
            Plan::quick()
        } else {
            Plan::full()
        };
        record::write(&json, &run(&plan, &place()?)?)?;
    }
    let records = record::read(&json)?;
    print!("{}", report::of_packets(&records));
    println!("records   {}", json.display());
    let title = "Packets: above 1, ours is better";
    let path = plot::draw_ratios(&records, title, &cli.out.join("packet.svg"))?;
    println!("plot      {}", path.display());
    Ok(())
}

/// Keeps this thread on the last processor it may run on, for the first ones tend to
/// serve interrupts. The one before it is for who frees what this one allocates.
fn place() -> anyhow::Result<Place> {
    let machine = clock::machine();
    let mut processors = clock::processors()?;
    processors.reverse();
    clock::stay(*processors.first().context("no processor may be used")?)?;
    eprintln!("bench-packet: {machine}, on processors {processors:?}");
    Ok(Place {
        machine,
        processors,
    })
}
