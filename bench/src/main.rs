// SPDX-License-Identifier: BSD-2-Clause
//! `weft-bench`: races longest-prefix match and reports. `cargo xtask bench-fib`
//! compiles it as it should be and runs it.

use anyhow::{Context, ensure};
use clap::Parser;
use std::path::PathBuf;
use weft_bench::c_peer::{self, CPeers};
use weft_bench::contender::Contender;
use weft_bench::family::Family;
use weft_bench::race::{Field, Plan, run};
use weft_bench::record::Record;
use weft_bench::routes::{self, Prefixes};
use weft_bench::{clock, crates, dpdk, held, plot, record, report};
use weft_engine::sim::table::Prefix;

#[global_allocator]
static MEMORY: held::Counting = held::Counting;

/// What tables are generated from.
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
    /// Race only this family: ipv4 or ipv6
    #[arg(long, value_name = "FAMILY", value_parser = [u32::NAME, u128::NAME])]
    family: Option<String>,
    /// Prefixes in a generated table [default: 900000 of IPv4, 160000 of IPv6]
    #[arg(long, value_name = "N")]
    prefixes: Option<usize>,
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

fn measure(cli: &Cli) -> anyhow::Result<Vec<Record>> {
    // Asked first, for a thread that is kept on one processor sees but one.
    let race = Race::new(cli)?;
    let mut prefixes = match &cli.rib {
        Some(path) => routes::read(path)?,
        None => Prefixes::default(),
    };
    let peers = foreign(cli)?;
    let mut records = Vec::new();
    race.family(
        &mut prefixes.ipv4,
        &peers.ipv4,
        crates::ipv4(),
        &mut records,
    )?;
    race.family(
        &mut prefixes.ipv6,
        &peers.ipv6,
        crates::ipv6(),
        &mut records,
    )?;
    ensure!(!records.is_empty(), "nothing to race");
    Ok(records)
}

/// What is the same for both families.
struct Race<'c> {
    cli: &'c Cli,
    plan: Plan,
    machine: String,
    writer: Option<usize>,
}

impl<'c> Race<'c> {
    /// Keeps this thread on the last processor it may run on, for the first ones tend
    /// to serve interrupts. The one before it is for writers.
    fn new(cli: &'c Cli) -> anyhow::Result<Self> {
        let machine = clock::machine();
        let mut processors = clock::processors()?;
        let cpu = processors.pop().context("no processor may be used")?;
        clock::stay(cpu)?;
        let mut plan = if cli.quick {
            Plan::quick()
        } else {
            Plan::full()
        };
        plan.slow = cli.slow;
        plan.live_fibs = cli.live_fibs.unwrap_or(plan.live_fibs).max(1);
        eprintln!("bench-fib: {machine}, on processor {cpu}");
        Ok(Self {
            cli,
            plan,
            machine,
            writer: processors.pop(),
        })
    }

    /// Races a family, unless another was asked for.
    fn family<K: Family>(
        &self,
        prefixes: &mut Vec<Prefix<K>>,
        foreign: &[c_peer::CPeer<K>],
        crates: Vec<Box<dyn Contender<K>>>,
        records: &mut Vec<Record>,
    ) -> anyhow::Result<()> {
        let asked = self.cli.family.as_deref();
        if asked.is_some_and(|family| family != K::NAME) {
            return Ok(());
        }
        let foreign = foreign.iter().cloned().map(|peer| Box::new(peer) as _);
        let mut peers: Vec<Box<dyn Contender<K>>> = foreign.chain(crates).collect();
        let only = &self.cli.only;
        peers.retain(|peer| only.is_empty() || only.iter().any(|name| name == peer.name()));
        let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
        eprintln!("bench-fib: {} peers: {}", K::TITLE, names.join(", "));
        if peers.is_empty() {
            return Ok(());
        }
        self.table(prefixes);
        let field = Field {
            ours: K::ours(),
            peers,
            machine: self.machine.clone(),
            writer: self.writer,
        };
        records.extend(run(&self.plan, &field, prefixes)?);
        Ok(())
    }

    /// Generates a table where none was read.
    fn table<K: Family>(&self, prefixes: &mut Vec<Prefix<K>>) {
        let origin = match &self.cli.rib {
            Some(path) => path.display().to_string(),
            None => {
                *prefixes = K::generate(self.cli.prefixes.unwrap_or(K::PREFIXES), SEED);
                format!("generated from seed {SEED}")
            }
        };
        eprintln!(
            "bench-fib: {} {} prefixes, {origin}",
            prefixes.len(),
            K::TITLE
        );
    }
}

/// The peers in C that there are, and a line for each that there is not.
fn foreign(cli: &Cli) -> anyhow::Result<CPeers> {
    let mut peers = CPeers::default();
    for path in &cli.peers {
        // SAFETY: whoever names a library wants its code to run here.
        let found = unsafe { c_peer::load(path) }?;
        peers.ipv4.extend(found.ipv4);
        peers.ipv6.extend(found.ipv6);
    }
    match dpdk() {
        Ok(found) => {
            peers.ipv4.extend(found.ipv4);
            peers.ipv6.extend(found.ipv6);
        }
        Err(reason) => eprintln!("bench-fib: skipped: DPDK, {reason}"),
    }
    Ok(peers)
}
