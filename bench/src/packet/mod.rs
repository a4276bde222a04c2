// SPDX-License-Identifier: BSD-2-Clause
//! The race of packet pools: allocating and freeing packets, on one thread and from
//! one to another, tags, and the bytes that packets hold.
//!
//! A packet is taken, 8 of its bytes are written, and it is put back: at once, or when
//! 511 others were taken after it, or by another thread. One at a time or 32 at a
//! time. Both sides alternate, A B A B, in one process. [`source`] says what can be
//! raced.

mod ours;
mod peers;
mod source;

use crate::clock::{self, Watch};
use crate::race::OURS;
use crate::record::{At, Metric, Pair, Record, Rounds};
use anyhow::ensure;
use crossbeam_queue::ArrayQueue;
use ours::Ours;
use source::{BULK, Item, Source};
use std::collections::BTreeMap;
use std::hint::{black_box, spin_loop};
use std::thread;

/// How much is raced.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of everything that is timed.
    pub rounds: usize,
    /// Packets in a round.
    pub packets: usize,
}

impl Plan {
    /// What the targets ask for.
    pub fn full() -> Self {
        Self {
            rounds: 9,
            packets: 1 << 21,
        }
    }

    /// A glance.
    pub fn quick() -> Self {
        Self {
            rounds: 7,
            packets: 1 << 17,
        }
    }
}

/// Where it is raced.
#[derive(Clone, Debug)]
pub struct Place {
    /// The processor and how many of it.
    pub machine: String,
    /// Processors to use: one for this thread, and perhaps another one.
    pub processors: Vec<usize>,
}

/// Packets in use at a time where they are not put back at once.
const WINDOW: usize = 512;

/// What is done with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Put back at once.
    Once,
    /// 32 at a time.
    Bulk,
    /// Put back when 511 others were taken.
    Window,
    /// Put back by another thread.
    Across,
    /// 32 at a time.
    AcrossBulk,
}

impl Work {
    const ALL: [Self; 5] = [
        Self::Once,
        Self::Bulk,
        Self::Window,
        Self::Across,
        Self::AcrossBulk,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Once => "one at a time",
            Self::Bulk => "32 at a time",
            Self::Window => "one at a time, 512 in use",
            Self::Across => "freed by another thread, one at a time",
            Self::AcrossBulk => "freed by another thread, 32 at a time",
        }
    }

    fn is_across(self) -> bool {
        matches!(self, Self::Across | Self::AcrossBulk)
    }

    /// Nanoseconds a packet, of the processor time of the thread that takes them.
    fn time(self, source: &dyn Source, count: usize, place: &Place) -> f64 {
        let source = black_box(source);
        source.enter(0);
        let watch = Watch::start();
        match self {
            Self::Once => once(source, count),
            Self::Bulk => bulk(source, count),
            Self::Window => window(source, count),
            Self::Across | Self::AcrossBulk => {
                across(source, count, place, self == Self::AcrossBulk);
            }
        }
        watch.elapsed().as_nanos() as f64 / count as f64
    }
}

fn take(source: &dyn Source, number: usize) -> Item {
    let item = source.take();
    assert!(!item.is_null(), "{} has no packet", source.name());
    touch(source, item, number);
    item
}

fn touch(source: &dyn Source, item: Item, number: usize) {
    // SAFETY: the source's packet, not put back yet, has 8 bytes.
    unsafe { source.data(item).cast::<usize>().write_unaligned(number) };
}

fn take_many(source: &dyn Source, number: usize) -> [Item; BULK] {
    let mut items = [std::ptr::null_mut(); BULK];
    assert!(
        source.take_many(&mut items),
        "{} has no packets",
        source.name()
    );
    items.iter().for_each(|&item| touch(source, item, number));
    items
}

fn once(source: &dyn Source, count: usize) {
    for number in 0..count {
        let item = take(source, number);
        // SAFETY: from `take`, once.
        unsafe { source.put(item) };
    }
}

fn bulk(source: &dyn Source, count: usize) {
    for number in 0..count / BULK {
        let mut items = take_many(source, number);
        // SAFETY: from `take_many`, once.
        unsafe { source.put_many(&mut items) };
    }
}

fn window(source: &dyn Source, count: usize) {
    let mut items: Vec<Item> = (0..WINDOW).map(|number| take(source, number)).collect();
    for number in 0..count {
        let place = &mut items[number % WINDOW];
        // SAFETY: from `take`, once.
        unsafe { source.put(*place) };
        *place = take(source, number);
    }
    for item in items {
        // SAFETY: as above.
        unsafe { source.put(item) };
    }
}

/// Packets that go to another thread.
struct Sent([Item; BULK]);
// SAFETY: their owner's, whichever thread that is.
unsafe impl Send for Sent {}

/// Packets go to the other thread 32 at a time, however they are taken and put back.
fn across(source: &dyn Source, count: usize, place: &Place, in_bulk: bool) {
    let sends = count / BULK;
    let ring: ArrayQueue<Sent> = ArrayQueue::new(16);
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(&other) = place.processors.get(1) {
                let _ = clock::stay(other);
            }
            source.enter(1);
            for _ in 0..sends {
                let Sent(mut items) = wait(|| ring.pop());
                match in_bulk {
                    // SAFETY: from the other thread, once.
                    true => unsafe { source.put_many(&mut items) },
                    // SAFETY: as above.
                    false => items.iter().for_each(|&item| unsafe { source.put(item) }),
                }
            }
        });
        for number in 0..sends {
            let items = match in_bulk {
                true => take_many(source, number),
                false => std::array::from_fn(|_| take(source, number)),
            };
            let mut sent = Some(Sent(items));
            wait(|| {
                sent = ring.push(sent.take()?).err();
                sent.is_none().then_some(())
            });
        }
    });
}

/// Spins until there is something.
fn wait<T>(mut try_it: impl FnMut() -> Option<T>) -> T {
    let mut spins = 0;
    loop {
        if let Some(value) = try_it() {
            return value;
        }
        spins += 1;
        match spins % 1024 {
            0 => thread::yield_now(),
            _ => spin_loop(),
        }
    }
}

/// The lengths of packets, in bytes, that are raced.
const LENGTHS: [usize; 2] = [256, 1500];
/// Those of which the memory is told: a frame's, but for the smallest.
const HELD: [(usize, &str); 4] = [
    (64, "64-byte packets"),
    (576 + 18, "576-byte packets"),
    (1500 + 18, "1,500-byte packets"),
    (9000 + 18, "9,000-byte packets"),
];
/// As many are held at a time.
const HOLD: usize = 4000;

/// Runs everything, and returns what was measured.
pub fn run(plan: &Plan, place: &Place) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for len in LENGTHS {
        for peer in peers::all(len) {
            let ours = Ours::new(len);
            let pair = pair(&ours, peer.name(), peer.version(), place);
            for work in Work::ALL {
                if work.is_across() && place.processors.len() < 2 {
                    eprintln!("bench-packet: skipped: {}, one processor only", work.name());
                    continue;
                }
                let time = |source| work.time(source, plan.packets, place);
                let rounds = alternate(plan, || time(&ours), || time(peer.as_ref()));
                let name = format!("{len} bytes, {}", work.name());
                records.push(record(
                    &pair,
                    name,
                    "time a packet",
                    "ns",
                    &rounds,
                    work.name(),
                ));
            }
        }
    }
    records.push(tags(plan, place)?);
    records.extend(held(place));
    Ok(records)
}

/// So many rounds of both sides, after one that does not count.
fn alternate(plan: &Plan, ours: impl Fn() -> f64, theirs: impl Fn() -> f64) -> Rounds {
    black_box((ours(), theirs()));
    let mut rounds = Rounds::default();
    for _ in 0..plan.rounds {
        rounds.ours.push(ours());
        rounds.theirs.push(theirs());
    }
    rounds
}

fn pair(ours: &Ours, name: &str, version: String, place: &Place) -> Pair {
    Pair {
        peer: name.into(),
        machine: place.machine.clone(),
        versions: BTreeMap::from([
            (OURS.into(), ours.version()),
            ("rustc".into(), env!("WEFT_RUSTC").into()),
            (name.into(), version),
        ]),
    }
}

fn record(
    pair: &Pair,
    work: String,
    metric: &'static str,
    unit: &'static str,
    rounds: &Rounds,
    calls: &str,
) -> Record {
    let at = At {
        experiment: "packet".into(),
        calls: calls.into(),
        ..At::default()
    };
    pair.record("P7", work, Metric::lower(metric, unit), rounds, at)
}

fn tags(plan: &Plan, place: &Place) -> anyhow::Result<Record> {
    ensure!(ours::tags(100) == ours::allocated_tags(100), "tags differ");
    let time = |tags: fn(usize) -> u64| {
        let watch = Watch::start();
        black_box(black_box(tags)(plan.packets));
        watch.elapsed().as_nanos() as f64 / plan.packets as f64
    };
    let rounds = alternate(plan, || time(ours::tags), || time(ours::allocated_tags));
    let ours = Ours::new(64);
    let pair = pair(&ours, "malloc", "of the C library".into(), place);
    let work = String::from("attach, find and remove a tag");
    Ok(record(&pair, work, "time a tag", "ns", &rounds, "tag"))
}

/// Bytes that a packet holds on FreeBSD 15.1, amd64: `struct mbuf` is 256 bytes, a
/// cluster 2048, and one for 9 KB takes three whole pages (kern/kern_mbuf.c).
fn freebsd(len: usize) -> Vec<(&'static str, usize)> {
    const MBUF: usize = 256;
    const CLUSTER: usize = 2048;
    const PAGE: usize = 4096;
    match len {
        // What m_gethdr gives, without a cluster, has room for so many.
        0..=160 => vec![("mbuf+cluster", MBUF + CLUSTER), ("mbuf alone", MBUF)],
        161..=CLUSTER => vec![("mbuf+cluster", MBUF + CLUSTER)],
        _ => vec![
            ("mbuf+9 KB cluster", MBUF + 3 * PAGE),
            ("mbufs+page clusters", len.div_ceil(PAGE) * (MBUF + PAGE)),
        ],
    }
}

fn held(place: &Place) -> Vec<Record> {
    let mut records = Vec::new();
    for (len, name) in HELD {
        let ours = Ours::new(len);
        let bytes = ours.bytes(HOLD).unwrap_or_default();
        let mut theirs: Vec<(String, String, f64)> = freebsd(len)
            .into_iter()
            .map(|(peer, bytes)| (peer.into(), "FreeBSD 15.1".into(), bytes as f64))
            .collect();
        for peer in peers::all(len)
            .iter()
            .filter(|peer| peer.name() == "rte_mbuf")
        {
            let bytes = peer.bytes(HOLD).unwrap_or_default();
            theirs.push((peer.name().into(), peer.version(), bytes));
        }
        for (peer, version, theirs) in theirs {
            let pair = pair(&ours, &peer, version, place);
            let rounds = Rounds::one(bytes, theirs);
            records.push(record(
                &pair,
                name.into(),
                "bytes held",
                "bytes",
                &rounds,
                "held",
            ));
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each work puts back what it takes, on either side: our pool, when it is dropped,
    /// says if not.
    #[test]
    fn a_race_ends_with_nothing_out() {
        let plan = Plan {
            rounds: 1,
            packets: 4096,
        };
        let place = Place {
            machine: "a machine".into(),
            processors: clock::processors().unwrap(),
        };
        let records = run(&plan, &place).unwrap();
        let peers = |peer: &str| records.iter().filter(|r| r.peer == peer).count();
        assert!(peers("malloc") >= 2 * 3 && peers("ArrayQueue") >= 2 * 3);
        let small = records
            .iter()
            .find(|record| record.peer == "mbuf+cluster")
            .unwrap();
        assert_eq!(small.theirs, Some(2304.0));
        assert!(small.ours >= 512.0 && small.ours < 700.0, "{}", small.ours);
    }
}
