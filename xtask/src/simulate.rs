// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask run` without a FreeBSD machine: the engine as a router on the
//! host. It reads a routing table and a capture, routes each frame by one of two
//! FIBs, writes what goes out to another capture if told to, and prints what
//! became of every frame. Tables and captures that are not given are generated.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use comfy_table::{Cell, CellAlignment, Table, presets};
use pcap_file::DataLink;
use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use weft_engine::sim::forward::{Count, Fib, Frame, Place, Reason, Router};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::store::{HostStore, store};
use weft_engine::sim::table::{self, NextHops, Prefix};
use weft_engine::sim::traffic::Traffic;

/// Prefixes in the generated table.
const SAMPLE_PREFIXES: usize = 50_000;
/// Frames in the generated capture.
const SAMPLE_FRAMES: usize = 20_000;
/// What the generated files are generated from.
const SAMPLE_SEED: u64 = 20_251_001;
/// How many frames are routed before the queues are emptied.
const BURST: usize = 32;

/// Command line of the simulator.
#[derive(clap::Args, Debug)]
pub(crate) struct SimulateArgs {
    /// Routing table, one prefix a line, may be gzipped (.gz) [default: a generated one]
    #[arg(long, value_name = "FILE")]
    rib: Option<PathBuf>,
    /// Capture of what comes in, Ethernet in pcap format [default: a generated one]
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Write what goes out to this capture, queue by queue
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Number of next hops
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    next_hops: u32,
    /// Queues to each next hop
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    queues: u16,
    /// Frames of this VLAN go by FIB 1, all others by FIB 0
    #[arg(long, value_name = "ID", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: u16,
}

/// Runs the simulator and prints its report to standard output.
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let samples = crate::workspace_root().join("target/weft/sample");
    let store = store(HostMemory::default())?;
    let (router, inputs) = simulate(&store, args, &samples)?;
    report(&store, &router, &inputs, &mut std::io::stdout().lock())
        .context("cannot print the report")
}

/// Where the input came from, for the report.
struct Inputs {
    rib: PathBuf,
    pcap: PathBuf,
    ipv6: usize,
    next_hops: u32,
}

/// Routes the whole capture by FIBs of the store.
fn simulate<'s>(
    store: &'s HostStore,
    args: &SimulateArgs,
    samples: &Path,
) -> anyhow::Result<(Router<'s>, Inputs)> {
    let rib = args.rib.clone().map_or_else(|| sample_table(samples), Ok)?;
    let text = read_table(&rib)?;
    let pcap = args
        .pcap
        .clone()
        .map_or_else(|| sample_capture(samples, &text.prefixes, args.vlan), Ok)?;
    let fibs = vec![
        fill(store, &text.prefixes, None, args.next_hops, 0)?,
        fill(store, &text.prefixes, Some(args.vlan), args.next_hops, 1)?,
    ];
    let mut router =
        Router::new(fibs, args.next_hops, args.queues.into()).context("a router needs a FIB")?;
    route(&mut router, &pcap, args.out.as_deref())?;
    let totals = router.totals();
    ensure!(
        totals.balance(),
        "frames were lost or counted twice: {totals:?}"
    );
    Ok((
        router,
        Inputs {
            rib,
            pcap,
            ipv6: text.prefixes6.len(),
            next_hops: args.next_hops,
        },
    ))
}

fn read_table(path: &Path) -> anyhow::Result<table::Text> {
    let file = File::open(path)
        .with_context(|| format!("cannot open routing table {}", path.display()))?;
    let text: Box<dyn BufRead> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file)))
    } else {
        Box::new(BufReader::new(file))
    };
    table::read(text).with_context(|| format!("cannot read routing table {}", path.display()))
}

/// A FIB of these prefixes, whose next hops are those of their covering /12.
fn fill<'s>(
    store: &'s HostStore,
    prefixes: &[Prefix],
    vlan: Option<u16>,
    classes: u32,
    salt: u64,
) -> anyhow::Result<Fib<'s>> {
    let rule = NextHops::Clustered { classes, salt };
    let routes = prefixes.iter().map(|&prefix| (prefix, rule.class(prefix)));
    Fib::new(store, vlan, routes).context("cannot make a FIB")
}

/// Routes the frames of one capture in bursts, and writes those that go out to
/// another.
fn route(router: &mut Router<'_>, pcap: &Path, out: Option<&Path>) -> anyhow::Result<()> {
    let mut capture = open_capture(pcap)?;
    let mut out = out
        .map(|path| Ok::<_, anyhow::Error>((create_capture(path)?, path)))
        .transpose()?;
    for number in 1usize.. {
        let frame = match capture.next_packet() {
            Some(packet) => {
                packet.with_context(|| format!("packet {number} of {}", pcap.display()))?
            }
            None => break,
        };
        // What is dropped is counted by the router; its bytes end here.
        let _ = router.forward(Frame {
            time: frame.timestamp,
            bytes: frame.data.into_owned(),
        });
        if number % BURST == 0 {
            send(router, &mut out)?;
        }
    }
    send(router, &mut out)?;
    out.map_or(Ok(()), |(writer, path)| close_capture(writer, path))
}

/// A capture that is being written, and its path.
type Output<'p> = (PcapWriter<BufWriter<File>>, &'p Path);

/// Empties the queues.
fn send(router: &mut Router<'_>, out: &mut Option<Output<'_>>) -> anyhow::Result<()> {
    router.drain(|_, frame| match out {
        Some((writer, path)) => write_frame(writer, path, &frame),
        None => Ok(()),
    })
}

fn open_capture(path: &Path) -> anyhow::Result<PcapReader<File>> {
    let file =
        File::open(path).with_context(|| format!("cannot open capture {}", path.display()))?;
    let capture = PcapReader::new(file)
        .with_context(|| format!("{} is no capture in pcap format", path.display()))?;
    let link = capture.header().datalink;
    if link != DataLink::ETHERNET {
        bail!(
            "{} is a capture of link type {link:?}, needed is Ethernet",
            path.display()
        );
    }
    Ok(capture)
}

fn create_capture(path: &Path) -> anyhow::Result<PcapWriter<BufWriter<File>>> {
    let file =
        File::create(path).with_context(|| format!("cannot create capture {}", path.display()))?;
    PcapWriter::new(BufWriter::new(file))
        .with_context(|| format!("cannot write to {}", path.display()))
}

fn close_capture(writer: PcapWriter<BufWriter<File>>, path: &Path) -> anyhow::Result<()> {
    writer
        .into_writer()
        .flush()
        .with_context(|| format!("cannot write to {}", path.display()))
}

fn write_frame(
    writer: &mut PcapWriter<BufWriter<File>>,
    path: &Path,
    frame: &Frame,
) -> anyhow::Result<()> {
    let len = u32::try_from(frame.bytes.len()).context("a frame of 4 GiB or more")?;
    writer
        .write_packet(&PcapPacket::new(frame.time, len, &frame.bytes))
        .with_context(|| format!("cannot write to {}", path.display()))?;
    Ok(())
}

/// Generates a routing table, and returns where it is.
fn sample_table(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("table.txt");
    let mut text = format!("# {SAMPLE_PREFIXES} generated prefixes, seed {SAMPLE_SEED}\n");
    for prefix in table::generate(SAMPLE_PREFIXES, SAMPLE_SEED) {
        text.push_str(&format!("{prefix}\n"));
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Generates a capture of traffic to these prefixes, and returns where it is.
fn sample_capture(folder: &Path, prefixes: &[Prefix], vlan: u16) -> anyhow::Result<PathBuf> {
    let path = folder.join("traffic.pcap");
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut writer = create_capture(&path)?;
    for (frame, _) in Traffic::new(prefixes, vlan, SAMPLE_SEED).take(SAMPLE_FRAMES) {
        write_frame(&mut writer, &path, &frame)?;
    }
    close_capture(writer, &path)?;
    Ok(path)
}

/// Prints what became of every frame.
fn report(
    store: &HostStore,
    router: &Router<'_>,
    inputs: &Inputs,
    out: &mut impl Write,
) -> std::io::Result<()> {
    writeln!(
        out,
        "routing table  {} ({} IPv6 prefixes passed over)",
        inputs.rib.display(),
        inputs.ipv6
    )?;
    writeln!(out, "capture        {}", inputs.pcap.display())?;
    writeln!(
        out,
        "next hops      {}, by a hash of the covering /12, another one in each FIB\n",
        inputs.next_hops
    )?;
    writeln!(out, "{}", fib_table(router))?;
    let shared = store.figures();
    writeln!(
        out,
        "shared by the FIBs: {} pages and {} rows in {} bytes\n",
        shared.pages, shared.rows, shared.used
    )?;
    writeln!(out, "{}\n", queue_table(router))?;
    let totals = router.totals();
    for (name, count) in [
        ("received", totals.received),
        ("queued", totals.queued),
        ("dropped", totals.dropped),
    ] {
        writeln!(
            out,
            "{name:<9} {:>10} packets {:>14} bytes",
            count.packets, count.bytes
        )?;
    }
    Ok(())
}

/// One row a figure, one column a FIB.
fn fib_table(router: &Router<'_>) -> Table {
    let fibs = router.fibs();
    let mut table = plain_table();
    let names = fibs
        .iter()
        .enumerate()
        .map(|(number, fib)| match fib.vlan() {
            Some(vlan) => format!("FIB {number} (VLAN {vlan})"),
            None => format!("FIB {number}"),
        });
    table.set_header(std::iter::once(String::new()).chain(names));
    let mut row = |name: &str, value: &dyn Fn(&Fib<'_>) -> String| {
        let values = fibs.iter().map(|fib| right(value(fib)));
        table.add_row(std::iter::once(Cell::new(name)).chain(values));
    };
    row("prefixes", &|fib| fib.figures().prefixes.to_string());
    row("bytes of its own", &|fib| fib.figures().bytes.to_string());
    row("received packets", &|fib| {
        fib.received().packets.to_string()
    });
    row("received bytes", &|fib| fib.received().bytes.to_string());
    for reason in Reason::ALL {
        row(&format!("dropped: {reason}"), &|fib| {
            fib.dropped(reason).packets.to_string()
        });
    }
    row("forwarded packets", &|fib| {
        let dropped: Count = Reason::ALL
            .into_iter()
            .map(|reason| fib.dropped(reason))
            .sum();
        (fib.received().packets - dropped.packets).to_string()
    });
    table
}

/// One row a next hop, one column a queue.
fn queue_table(router: &Router<'_>) -> Table {
    let mut table = plain_table();
    table.set_header(["next hop", "queue", "packets", "bytes"]);
    for (Place { class, lane }, count) in router.queues() {
        let name = if lane == 0 {
            class.to_string()
        } else {
            String::new()
        };
        table.add_row(
            [
                name,
                lane.to_string(),
                count.packets.to_string(),
                count.bytes.to_string(),
            ]
            .map(right),
        );
    }
    table
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use flate2::{Compression, write::GzEncoder};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn args(words: &[&str]) -> SimulateArgs {
        Line::try_parse_from(std::iter::once("run").chain(words.iter().copied()))
            .unwrap()
            .args
    }

    fn host_store() -> HostStore {
        store(HostMemory::default()).unwrap()
    }

    /// Counts of the frames in a capture.
    fn count(path: &Path) -> Count {
        let mut capture = open_capture(path).unwrap();
        std::iter::from_fn(|| {
            capture
                .next_packet()
                .map(|packet| packet.unwrap().data.len() as u64)
        })
        .map(|bytes| Count { packets: 1, bytes })
        .sum()
    }

    #[test]
    fn the_captures_hold_what_the_report_says() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.pcap");
        let store = host_store();
        let (router, inputs) = simulate(
            &store,
            &args(&["--out", out.to_str().unwrap()]),
            folder.path(),
        )
        .unwrap();
        let totals = router.totals();
        assert_eq!(totals.received.packets, SAMPLE_FRAMES as u64);
        assert_eq!(totals.received, count(&inputs.pcap));
        assert_eq!(totals.queued, count(&out));
        assert!(totals.dropped.packets > 0 && totals.queued.packets > totals.dropped.packets);
        assert!(
            router
                .fibs()
                .iter()
                .all(|fib| fib.figures().prefixes == SAMPLE_PREFIXES)
        );

        let mut text = Vec::new();
        report(&store, &router, &inputs, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let last = text
            .lines()
            .last()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>();
        assert_eq!(last[..2], ["dropped", &totals.dropped.packets.to_string()]);
        for reason in Reason::ALL {
            assert!(text.contains(&format!("dropped: {reason}")), "{text}");
        }
    }

    #[test]
    fn a_table_may_be_gzipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.txt.gz");
        let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        encoder
            .write_all(b"192.0.2.0/24\n2001:db8::/32\n198.51.100.0/24\n")
            .unwrap();
        encoder.finish().unwrap();
        let store = host_store();
        let (router, inputs) = simulate(
            &store,
            &args(&["--rib", path.to_str().unwrap()]),
            folder.path(),
        )
        .unwrap();
        assert_eq!(router.fibs()[1].figures().prefixes, 2);
        assert_eq!(inputs.ipv6, 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.txt");
        fs::write(&bad, "192.0.2.0/24\n192.0.2.1/24\n").unwrap();
        let bad = bad.to_str().unwrap();
        let fault = |words: &[&str]| {
            let outcome = simulate(&host_store(), &args(words), folder.path()).err();
            format!("{:#}", outcome.unwrap())
        };
        assert!(
            fault(&["--rib", bad]).contains("line 2, '192.0.2.1/24': bits set beyond the length")
        );
        assert!(fault(&["--rib", "/nowhere"]).contains("cannot open routing table /nowhere"));
        assert!(fault(&["--pcap", bad]).contains("is no capture in pcap format"));
        for word in [
            ["--vlan", "0"],
            ["--vlan", "4095"],
            ["--queues", "0"],
            ["--next-hops", "0"],
        ] {
            assert!(
                Line::try_parse_from(["run"].into_iter().chain(word)).is_err(),
                "{word:?}"
            );
        }
    }
}
