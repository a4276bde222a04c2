// SPDX-License-Identifier: BSD-2-Clause
//! `weft-bench`: races longest-prefix match and reports. `cargo xtask bench-fib`
//! compiles it as it should be and runs it.

use anyhow::{Context, ensure};
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use weft_bench::contender::Contender;
use weft_bench::race::{Field, Plan, run};
use weft_bench::weft::Weft4;
use weft_bench::{c_peer, clock, crates, dpdk, held, plot, record, report, routes};
use weft_engine::sim::table::{Prefix, generate};

#[global_allocator]
static MEMORY: held::Counting = held::Counting;

/// Prefixes in the generated table: as many as the Internet's had in 2025.
const PREFIXES: usize = 900_000;
/// What it is generated from.
const SEED: u64 = 20_251_001;

/// Command line.
#[derive(Parser)]
#[command(about = "Races longest-prefix match against named peers", version)]
struct Cli {
    /// A glance, in about a minute
    #[arg(long)]
    quick: bool,
    /// Let peers build for minutes
    #[arg(long)]
    slow: bool,
    /// Routing table, one prefix a line, may be gzipped (.gz) [default: a generated one]
    #[arg(long, value_name = "FILE", env = "WEFT_RIB")]
    rib: Option<PathBuf>,
    /// Peers in shared libraries, see bench/peer.h. Their code runs in this process
    #[arg(long, value_name = "FILE", value_delimiter = ',', env = "WEFT_PEERS")]
    peers: Vec<PathBuf>,
    /// Race only peers of these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Prefixes in the generated table
    #[arg(long, value_name = "N", default_value_t = PREFIXES)]
    prefixes: usize,
    /// FIBs that random lookups go to
    #[arg(long, value_name = "N")]
    live_fibs: Option<usize>,
    /// Where fib.json and the plots go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
    /// Measure nothing: report and plot what is in fib.json
    #[arg(long)]
    report_only: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let json = cli.out.join("fib.json");
    if !cli.report_only {
        record::write(&json, &measure(&cli)?)?;
    }
    let records = record::read(&json)?;
    print!("{}", report::text(&records));
    println!("records   {}", json.display());
    for path in plot::draw(&records, &cli.out)? {
        println!("plot      {}", path.display());
    }
    Ok(())
}

fn measure(cli: &Cli) -> anyhow::Result<Vec<record::Record>> {
    // Asked first, for a thread that is kept on one processor sees but one.
    let machine = machine();
    let cpu = clock::pin()?;
    let mut plan = if cli.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    plan.slow = cli.slow;
    plan.live_fibs = cli.live_fibs.unwrap_or(plan.live_fibs).max(1);
    let prefixes = table(cli)?;
    let field = Field {
        ours: Box::new(Weft4),
        peers: peers(cli)?,
        machine,
    };
    eprintln!("bench-fib: {}, on processor {cpu}", field.machine);
    run(&plan, &field, &prefixes)
}

fn table(cli: &Cli) -> anyhow::Result<Vec<Prefix>> {
    let prefixes = match &cli.rib {
        Some(path) => routes::read(path)?,
        None => generate(cli.prefixes, SEED),
    };
    let origin = cli.rib.as_ref().map_or_else(
        || format!("generated from seed {SEED}"),
        |path| path.display().to_string(),
    );
    eprintln!("bench-fib: {} prefixes, {origin}", prefixes.len());
    Ok(prefixes)
}

/// All peers there are, and a line for each that there is not.
fn peers(cli: &Cli) -> anyhow::Result<Vec<Box<dyn Contender>>> {
    let mut peers: Vec<Box<dyn Contender>> = Vec::new();
    for path in &cli.peers {
        // SAFETY: whoever names a library wants its code to run here.
        let found = unsafe { c_peer::load(path) }?;
        peers.extend(found.into_iter().map(|peer| Box::new(peer) as _));
    }
    match dpdk() {
        Ok(found) => peers.extend(found.into_iter().map(|peer| Box::new(peer) as _)),
        Err(reason) => eprintln!("bench-fib: skipped: DPDK, {reason}"),
    }
    peers.extend(crates::peers());
    if !cli.only.is_empty() {
        peers.retain(|peer| cli.only.iter().any(|name| name == peer.name()));
    }
    let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
    ensure!(!names.is_empty(), "no peer to race");
    eprintln!("bench-fib: peers: {}", names.join(", "));
    Ok(peers)
}

/// The processor and how many of it there are.
fn machine() -> String {
    let name =
        processor(Path::new("/proc/cpuinfo")).unwrap_or_else(|_| std::env::consts::ARCH.to_owned());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{name}, {count} processors")
}

fn processor(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    Ok(name.context("no model name")?.1.to_owned())
}
