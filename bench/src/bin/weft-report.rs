// SPDX-License-Identifier: BSD-2-Clause
//! `weft-report`: makes one page of what all benchmarks left, or tells what moved between two
//! revisions. `cargo xtask bench` runs the benchmarks and then this.

use clap::Parser;
use std::path::PathBuf;
use weft_bench::{compare, page};

/// Command line.
#[derive(Parser)]
#[command(about = "Reports on all benchmarks", version)]
struct Cli {
    /// Where the benchmarks' records are
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    from: PathBuf,
    /// Where the page goes
    #[arg(long, value_name = "FOLDER", default_value = "target/report")]
    out: PathBuf,
    /// Make no page: tell what moved from the records in this folder's `base-*` to those in its `here-*`
    #[arg(long, value_name = "FOLDER")]
    compare: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match &cli.compare {
        Some(folder) => print!("{}", compare::text(folder)?),
        None => println!("report    {}", page::write(&cli.from, &cli.out)?.display()),
    }
    Ok(())
}
