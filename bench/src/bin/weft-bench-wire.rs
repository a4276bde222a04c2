// SPDX-License-Identifier: BSD-2-Clause
//! `weft-bench-wire`: races checksums, the parser and segmentation, and reports. `cargo xtask
//! bench-wire` compiles it as it should be and runs it.

use anyhow::Context;
use clap::Parser;
use std::path::PathBuf;
use weft_bench::wire::{Plan, load, run};
use weft_bench::{clock, plot, record, report};

/// Command line.
#[derive(Parser)]
#[command(about = "Races wire formats against named peers", version)]
struct Cli {
    /// A glance, in some seconds
    #[arg(long)]
    quick: bool,
    /// Checksums in shared libraries, see bench/wire_peer.h. Their code runs in this process
    #[arg(
        long,
        value_name = "FILE",
        value_delimiter = ',',
        env = "WEFT_WIRE_PEERS"
    )]
    peers: Vec<PathBuf>,
    /// Where wire.json and the plot go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Measure nothing: report and plot what is in wire.json
    #[arg(long)]
    report_only: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let json = cli.out.join("wire.json");
    if !cli.report_only {
        record::write(&json, &measure(&cli)?)?;
    }
    let records = record::read(&json)?;
    print!("{}", report::of_wire(&records));
    println!("records   {}", json.display());
    let title = "Wire formats: above 1, ours is better";
    let path = plot::draw_ratios(&records, title, &cli.out.join("wire.svg"))?;
    println!("plot      {}", path.display());
    Ok(())
}

fn measure(cli: &Cli) -> anyhow::Result<Vec<record::Record>> {
    let mut loaded = Vec::new();
    for path in &cli.peers {
        // SAFETY: whoever names a library wants its code to run here.
        loaded.extend(unsafe { load(path) }?);
    }
    if loaded.is_empty() {
        eprintln!("bench-wire: skipped: in_cksum_skip and its like, no library is named (--peers)");
    }
    let machine = clock::machine();
    let cpu = clock::processors()?.pop();
    clock::stay(cpu.context("no processor may be used")?)?;
    eprintln!("bench-wire: {machine}, on processor {cpu:?}");
    let plan = if cli.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    Ok(run(&plan, &machine, &loaded))
}
