// SPDX-License-Identifier: BSD-2-Clause
//! The race: our table beside each peer's, in one run, A B A B.
//!
//! For each peer and each rule for next hops, both sides build the table, are
//! compared at a million addresses, look up, and are changed and compared again.
//! Then lookups beside changes, tables of many sizes, and many FIBs. A side that answers wrongly ends the
//! race: its times would mean nothing.

mod beside;
mod change;
mod fibs;
mod lookup;
mod size;

use crate::contender::{Contender, Table};
use crate::family::Family;
use crate::keys;
use crate::record::{At, Metric, Pair, Record, Rounds};
use crate::routes::{CLASSES, Route, assign};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::time::Duration;
use weft_engine::sim::naive::Naive;
use weft_engine::sim::table::{NextHops, Prefix};

/// How much is raced.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds of everything that is timed.
    pub rounds: usize,
    /// Rounds of builds.
    pub builds: usize,
    /// Addresses in a round of lookups.
    pub keys: usize,
    /// Addresses at which both sides are compared.
    pub checks: usize,
    /// Single changes in a round.
    pub changes: usize,
    /// Batches of changes in a round.
    pub batches: usize,
    /// How long a round of lookups beside changes lasts, but for peers that gather
    /// changes for longer.
    pub beside: Duration,
    /// Sizes of tables.
    pub sizes: Vec<usize>,
    /// Numbers of FIBs of which the memory is measured.
    pub fibs: Vec<usize>,
    /// FIBs that random lookups go to.
    pub live_fibs: usize,
    /// Whether peers may build for minutes, in the race with the whole table.
    pub slow: bool,
}

impl Plan {
    /// What the targets ask for.
    pub fn full() -> Self {
        Self {
            rounds: 9,
            builds: 7,
            keys: 1 << 20,
            checks: 1_000_000,
            changes: 1_000,
            batches: 10,
            beside: Duration::from_secs(1),
            sizes: vec![1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
            fibs: (0..=8).map(|power| 1 << power).collect(),
            live_fibs: 32,
            slow: false,
        }
    }

    /// A glance, in about a minute.
    pub fn quick() -> Self {
        Self {
            rounds: 7,
            builds: 1,
            keys: 1 << 17,
            checks: 200_000,
            changes: 100,
            batches: 1,
            beside: Duration::from_millis(100),
            sizes: vec![1_000, 10_000, 100_000],
            fibs: vec![1, 2, 4],
            live_fibs: 2,
            slow: false,
        }
    }
}

/// Who races, and where.
pub struct Field<K: Family> {
    /// Our side.
    pub ours: Box<dyn Contender<K>>,
    /// The peers.
    pub peers: Vec<Box<dyn Contender<K>>>,
    /// The processor and how many of it.
    pub machine: String,
    /// The processor for who changes a table that another looks up in, if there is
    /// one beside that of this thread.
    pub writer: Option<usize>,
}

/// Our name in the records' versions.
pub const OURS: &str = "weft";

impl<K: Family> Field<K> {
    fn pair(&self, peer: Option<&dyn Contender<K>>) -> Pair {
        let mut versions = BTreeMap::from([
            (OURS.into(), self.ours.version().into()),
            ("rustc".into(), env!("WEFT_RUSTC").into()),
        ]);
        if let Some(peer) = peer {
            versions.insert(peer.name().into(), peer.version().into());
        }
        Pair {
            peer: peer.map(|peer| peer.name().into()).unwrap_or_default(),
            machine: self.machine.clone(),
            versions,
        }
    }
}

/// The rule that gives a prefix its next hop.
fn rule(name: &str) -> NextHops {
    let (classes, salt) = (CLASSES, 0);
    match name {
        "random" => NextHops::Random { classes, salt },
        _ => NextHops::Clustered { classes, salt },
    }
}

/// The rules for next hops.
const RULES: [&str; 2] = ["clustered", "random"];

/// Runs everything, and returns what was measured.
pub fn run<K: Family>(
    plan: &Plan,
    field: &Field<K>,
    prefixes: &[Prefix<K>],
) -> anyhow::Result<Vec<Record>> {
    ensure!(prefixes.len() > 1, "a table of fewer than two prefixes");
    let mut records = Vec::new();
    for next_hops in RULES {
        let routes = assign(prefixes, rule(next_hops));
        check_ours(plan, field.ours.as_ref(), &routes)?;
        for peer in willing(field, routes.len(), plan.slow) {
            let heat = Heat {
                plan,
                ours: field.ours.as_ref(),
                peer,
                pair: field.pair(Some(peer)),
                next_hops,
                routes: &routes,
            };
            log(&format!(
                "{} {OURS} beside {}, {next_hops}",
                K::TITLE,
                peer.name()
            ));
            heat.run(&mut records)
                .with_context(|| format!("beside {}, {next_hops} next hops", peer.name()))?;
        }
        beside::run(plan, field, &routes, next_hops, &mut records)?;
    }
    size::run(plan, field, &mut records)?;
    fibs::run(
        plan,
        field,
        &assign(prefixes, rule("clustered")),
        &mut records,
    )?;
    Ok(records)
}

/// The peers that build a table of that size soon enough. The others are named.
fn willing<K: Family>(
    field: &Field<K>,
    size: usize,
    slow: bool,
) -> impl Iterator<Item = &dyn Contender<K>> {
    field.peers.iter().map(AsRef::as_ref).filter(move |peer| {
        let willing = slow || size <= peer.patience();
        if !willing {
            log(&format!(
                "skipped: {} builds {size} routes for minutes",
                peer.name()
            ));
        }
        willing
    })
}

fn log(line: &str) {
    eprintln!("bench-fib: {line}");
}

/// Holds our table against the plainest one.
fn check_ours<K: Family>(
    plan: &Plan,
    ours: &dyn Contender<K>,
    routes: &[Route<K>],
) -> anyhow::Result<()> {
    let mut naive = Naive::default();
    for route in routes {
        naive.insert(route.prefix, route.plen, route.class);
    }
    let mut table = ours.table();
    table.add(routes)?;
    let lookup = table.lookup(0);
    for dst in keys::checks(routes, plan.checks / 10, 2) {
        let (is, should) = (lookup.one(&dst.address()), naive.lookup(dst));
        ensure!(
            is == should,
            "{} answers {is} for {}, right is {should}",
            ours.name(),
            dst.ip()
        );
    }
    Ok(())
}

/// Holds two tables against each other, one by one and in batches.
fn compare<K: Family>(
    ours: &dyn Table<K>,
    theirs: &dyn Table<K>,
    keys: &[K],
) -> anyhow::Result<()> {
    let (ours, theirs) = (ours.lookup(0), theirs.lookup(0));
    let mut batches = [vec![0; keys.len()], vec![0; keys.len()]];
    let [in_ours, in_theirs] = &mut batches;
    let addresses = addresses(keys);
    ours.batch(&addresses, in_ours);
    theirs.batch(&addresses, in_theirs);
    for (at, dst) in addresses.iter().enumerate() {
        let answers = [ours.one(dst), theirs.one(dst), in_ours[at], in_theirs[at]];
        ensure!(
            answers.iter().all(|&answer| answer == answers[0]),
            "different answers for {}: ours {}, theirs {}, in a batch {} and {}",
            keys[at].ip(),
            answers[0],
            answers[1],
            answers[2],
            answers[3]
        );
    }
    Ok(())
}

/// Addresses as they lie in memory.
fn addresses<K: Family>(keys: &[K]) -> Vec<K::Address> {
    keys.iter().map(|key| key.address()).collect()
}

/// Calls both sides in turn, after one turn that does not count.
fn alternate(
    rounds: usize,
    mut ours: impl FnMut() -> f64,
    mut theirs: impl FnMut() -> f64,
) -> Rounds {
    let mut values = Rounds::default();
    ours();
    theirs();
    for _ in 0..rounds {
        values.ours.push(ours());
        values.theirs.push(theirs());
    }
    values
}

/// The circumstances that all records of an experiment share.
fn at<K: Family>(experiment: &str) -> At {
    At {
        family: K::NAME.into(),
        experiment: experiment.into(),
        ..At::default()
    }
}

/// A table of ours and one of a peer's.
type Sides<K> = (Box<dyn Table<K>>, Box<dyn Table<K>>);

/// One peer and one rule for next hops.
struct Heat<'r, K: Family> {
    plan: &'r Plan,
    ours: &'r dyn Contender<K>,
    peer: &'r dyn Contender<K>,
    pair: Pair,
    next_hops: &'static str,
    routes: &'r [Route<K>],
}

impl<K: Family> Heat<'_, K> {
    fn run(&self, records: &mut Vec<Record>) -> anyhow::Result<()> {
        let (mut ours, mut theirs) = self.build(records)?;
        let checks = keys::checks(self.routes, self.plan.checks, 1);
        compare(ours.as_ref(), theirs.as_ref(), &checks)?;
        lookup::run(self, ours.as_ref(), theirs.as_ref(), records);
        if self.ours.changes() && self.peer.changes() {
            let changed = change::run(self, ours.as_mut(), theirs.as_mut(), records)?;
            compare(ours.as_ref(), theirs.as_ref(), &checks)?;
            let checks = keys::checks(&changed, self.plan.checks.min(100_000), 3);
            compare(ours.as_ref(), theirs.as_ref(), &checks).context("after changes")?;
        }
        Ok(())
    }

    fn at(&self, experiment: &str) -> At {
        At {
            next_hops: self.next_hops.into(),
            prefixes: self.routes.len(),
            ..at::<K>(experiment)
        }
    }

    /// Builds both sides in turn; the last ones stay.
    fn build(&self, records: &mut Vec<Record>) -> anyhow::Result<Sides<K>> {
        let mut times = Rounds::default();
        let mut built = None;
        let slow = self.routes.len() > self.peer.patience();
        let builds = if slow { 1 } else { self.plan.builds.max(1) };
        for _ in 0..builds {
            drop(built.take());
            let (ours, our_time) = one_fib(self.ours, self.routes)?;
            let (theirs, their_time) = one_fib(self.peer, self.routes)?;
            times.ours.push(our_time.as_secs_f64() * 1e3);
            times.theirs.push(their_time.as_secs_f64() * 1e3);
            built = Some((ours, theirs));
        }
        let (ours, theirs) = built.context("nothing was built")?;
        let work = |what| {
            format!(
                "{} {what} of the whole table, {} next hops",
                K::TITLE,
                self.next_hops
            )
        };
        let mut push = |what, metric, rounds: &Rounds| {
            let record = self
                .pair
                .record(K::TARGET, work(what), metric, rounds, self.at("table"));
            records.push(record);
        };
        // Who looks up in the system's routing table itself builds nothing.
        if times.theirs.iter().all(|&time| time > 1e-2) {
            push("build", Metric::lower("build time", "ms"), &times);
        }
        let (our_bytes, their_bytes) = (ours.bytes(), theirs.bytes());
        push(
            "bytes",
            Metric::lower("lookup bytes", "bytes"),
            &Rounds::one(our_bytes.lookup as f64, their_bytes.lookup as f64),
        );
        push(
            "bytes",
            Metric::lower("all bytes", "bytes"),
            &Rounds::one(our_bytes.all as f64, their_bytes.all as f64),
        );
        Ok((ours, theirs))
    }
}

/// A table of one FIB, and how long the building took.
fn one_fib<K: Family>(
    contender: &dyn Contender<K>,
    routes: &[Route<K>],
) -> anyhow::Result<(Box<dyn Table<K>>, Duration)> {
    let mut table = contender.table();
    let time = table
        .add(routes)
        .with_context(|| format!("{} does not build", contender.name()))?;
    Ok((table, time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::contender::{Bytes, Lookup};
    use crate::crates;

    fn tiny() -> Plan {
        Plan {
            rounds: 2,
            builds: 1,
            keys: 100,
            checks: 3_000,
            changes: 20,
            batches: 1,
            beside: Duration::from_millis(20),
            sizes: vec![100],
            fibs: vec![1, 2],
            live_fibs: 2,
            slow: false,
        }
    }

    fn field(ours: Box<dyn Contender<u32>>) -> Field<u32> {
        Field {
            ours,
            peers: crates::ipv4(),
            machine: "a machine".into(),
            writer: clock::processors().unwrap().first().copied(),
        }
    }

    #[test]
    fn a_race_ends_with_records_of_every_experiment() {
        let records = run(&tiny(), &field(u32::ours()), &u32::generate(2_000, 1)).unwrap();
        for experiment in ["lookup", "table", "size", "fibs", "change"] {
            for peer in ["poptrie", "ip_network_table"] {
                assert!(
                    records.iter().any(|record| {
                        record.at.experiment == experiment && record.peer == peer
                    }),
                    "{experiment} beside {peer}"
                );
            }
        }
        let (alone, raced): (Vec<_>, Vec<_>) =
            records.iter().partition(|record| record.peer.is_empty());
        assert!(raced.iter().all(|record| record.ours > 0.0));
        assert!(
            raced
                .iter()
                .all(|record| record.ratio.is_some_and(f64::is_finite))
        );
        // No crate is looked up in while it is changed.
        assert!(
            !alone.is_empty()
                && alone
                    .iter()
                    .all(|record| record.at.experiment == "beside" && record.ours.is_finite())
        );
    }

    #[test]
    fn both_sides_take_turns() {
        let calls = std::cell::RefCell::new(String::new());
        let turn = |name: char| {
            calls.borrow_mut().push(name);
            1.0
        };
        let rounds = alternate(2, || turn('A'), || turn('B'));
        assert_eq!((rounds.ours.len(), rounds.theirs.len()), (2, 2));
        assert_eq!(*calls.borrow(), "ABABAB");
    }

    /// Answers as it should, but for one address.
    struct Liar(u32);
    struct LiarTable(Box<dyn Table<u32>>, Box<u32>);

    impl Contender<u32> for Liar {
        fn name(&self) -> &str {
            "liar"
        }
        fn version(&self) -> &str {
            "0"
        }
        fn changes(&self) -> bool {
            false
        }
        fn table(&self) -> Box<dyn Table<u32>> {
            Box::new(LiarTable(u32::ours().table(), Box::new(self.0)))
        }
    }

    impl Table<u32> for LiarTable {
        fn add(&mut self, routes: &[Route<u32>]) -> anyhow::Result<Duration> {
            self.0.add(routes)
        }
        fn lookup(&self, _: usize) -> Lookup<'_, u32> {
            let this: *const Self = self;
            // SAFETY: `lie` reads a `LiarTable`, which is borrowed.
            unsafe { Lookup::new(this.cast(), lie, None) }
        }
        fn bytes(&self) -> Bytes {
            self.0.bytes()
        }
    }

    unsafe extern "C" fn lie(table: *const (), dst: u32) -> u32 {
        // SAFETY: as `Lookup::new` was told.
        let table = unsafe { &*table.cast::<LiarTable>() };
        table.0.lookup(0).one(&dst) + u32::from(dst == *table.1)
    }

    #[test]
    fn a_wrong_answer_ends_the_race() {
        let prefixes = u32::generate(2_000, 1);
        let lie = keys::checks(&assign(&prefixes, rule("clustered")), 10, 2)[9];
        let error = run(&tiny(), &field(Box::new(Liar(lie))), &prefixes).unwrap_err();
        let dst = std::net::Ipv4Addr::from(lie);
        assert!(format!("{error:#}").contains(&dst.to_string()), "{error:#}");

        let routes = assign(&prefixes, rule("clustered"));
        let (ours, _) = one_fib(u32::ours().as_ref(), &routes).unwrap();
        let (theirs, _) = one_fib(&Liar(lie), &routes).unwrap();
        assert!(compare(ours.as_ref(), theirs.as_ref(), &[lie]).is_err());
        assert!(compare(ours.as_ref(), theirs.as_ref(), &[lie ^ 1]).is_ok());
    }

    #[test]
    fn who_builds_too_slowly_waits_for_slow() {
        struct Patient;
        impl Contender<u32> for Patient {
            fn name(&self) -> &str {
                "patient"
            }
            fn version(&self) -> &str {
                "0"
            }
            fn patience(&self) -> usize {
                10
            }
            fn changes(&self) -> bool {
                false
            }
            fn table(&self) -> Box<dyn Table<u32>> {
                u32::ours().table()
            }
        }
        let mut field = field(u32::ours());
        field.peers = vec![Box::new(Patient)];
        let count = |size, slow| willing(&field, size, slow).count();
        assert_eq!(
            [count(10, false), count(11, false), count(11, true)],
            [1, 0, 1]
        );
    }
}
