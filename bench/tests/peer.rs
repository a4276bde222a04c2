// SPDX-License-Identifier: BSD-2-Clause
//! Peers in shared libraries: one is compiled here, loaded and asked.

use std::path::{Path, PathBuf};
use std::time::Duration;
use weft_bench::c_peer::{self, CPeers};
use weft_bench::contender::{Bytes, Contender, Table};
use weft_bench::family::Family;
use weft_bench::race::{Field, Plan, run};
use weft_bench::routes::Route;
use weft_engine::sim::epoch::Section;

/// The folder with `peer.h`.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Compiles `tests/tiny.c` to a shared library.
fn compile(folder: &Path, define: Option<&str>) -> PathBuf {
    let path = folder.join("tiny.so");
    let host = format!(
        "{}-unknown-{}",
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    let mut compiler = cc::Build::new();
    compiler
        .target(&host.replace("linux", "linux-gnu"))
        .host(&host.replace("linux", "linux-gnu"))
        .opt_level(1)
        .pic(true)
        .out_dir(folder);
    let mut command = compiler.get_compiler().to_command();
    command
        .args(["-shared", "-Wall", "-Wextra", "-Werror", "-I", HERE, "-o"])
        .arg(&path)
        .arg(Path::new(HERE).join("tests/tiny.c"))
        .args(define.map(|define| format!("-D{define}")));
    assert!(command.status().unwrap().success(), "{command:?}");
    path
}

fn load(define: Option<&str>) -> anyhow::Result<CPeers> {
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), define);
    // SAFETY: `tests/tiny.c` keeps to `peer.h`.
    unsafe { c_peer::load(&path) }
}

/// 10/8, 10.1/16 and 192/4, or the same in the first bits of IPv6 addresses.
fn routes<K: Family>() -> Vec<Route<K>> {
    let route = |(prefix, plen, class)| Route {
        prefix: key(prefix),
        plen,
        class,
    };
    [
        (10 << 24, 8, 1),
        (10 << 24 | 1 << 16, 16, 2),
        (192 << 24, 4, 3),
    ]
    .map(route)
    .into()
}

/// The address that begins with these bits.
fn key<K: Family>(bits: u32) -> K {
    K::from_bits(u128::from(bits) << (K::BITS - 32))
}

/// One address in each route, and one in none.
fn keys<K: Family>() -> [K::Address; 4] {
    [10 << 24 | 5, 10 << 24 | 1 << 16 | 9, 11 << 24, 192 << 24].map(|bits| key::<K>(bits).address())
}

fn answers<K: Family>(table: &dyn Table<K>, fib: usize) -> [u32; 4] {
    let (lookup, keys) = (table.lookup(fib), keys::<K>());
    let mut batch = [0; 4];
    lookup.batch(&keys, &mut batch);
    let one_by_one: Vec<u32> = keys.iter().map(|key| lookup.one(key)).collect();
    assert_eq!(batch, *one_by_one);
    let after: Vec<u32> = (0..4).map(|at| lookup.one_after(&keys, at, 0)).collect();
    assert_eq!(batch, *after);
    batch
}

#[test]
fn every_peer_of_a_library_is_found() {
    let peers = load(None).unwrap();
    let told: Vec<_> = peers
        .ipv4
        .iter()
        .map(|peer| (peer.name(), peer.version(), peer.patience(), peer.changes()))
        .collect();
    assert_eq!(
        told,
        [
            ("tiny", "1.2", 100, true),
            ("constant", "3", usize::MAX, false)
        ]
    );
    assert_eq!(peers.ipv6.len(), 1);
    let gathers = [5, 20].map(Duration::from_millis);
    assert_eq!(peers.ipv4[0].gathers(), gathers);
    assert_eq!(peers.ipv6[0].gathers(), []);
    assert!(peers.ipv4[0].is_live() && !peers.ipv4[1].is_live());
}

#[test]
fn a_peer_is_built_asked_and_changed() {
    let peers = load(None).unwrap();
    built_asked_and_changed(&peers.ipv4[0]);
    built_asked_and_changed(&peers.ipv6[0]);
}

fn built_asked_and_changed<K: Family>(peer: &dyn Contender<K>) {
    let mut table = peer.table();
    table.add(&routes()).unwrap();
    table.add(&routes()[..1]).unwrap();
    assert_eq!(answers(table.as_ref(), 0), [1, 2, 0, 3]);
    assert_eq!(answers(table.as_ref(), 1), [1, 1, 0, 0]);
    let bytes = table.bytes();
    assert_eq!(bytes.lookup, 4 * 24);
    assert!(bytes.all > bytes.lookup && bytes != Bytes::default());

    let [one, other] = [(1, 7), (2, 8)].map(|(at, class)| Route {
        class,
        ..routes()[at]
    });
    table.prepare(0, &[one]).unwrap();
    table.prepare(0, &[other]).unwrap();
    table.commit(0, &[one, other]).unwrap();
    table.freeze();
    assert_eq!(answers(table.as_ref(), 0), [1, 7, 0, 8]);
    assert_eq!(answers(table.as_ref(), 1), [1, 1, 0, 0]);
    // It refuses a second change unless it was told to release what the first left.
    table.prepare(0, &[one]).unwrap();
}

#[test]
fn a_peer_is_looked_up_in_while_it_is_changed() {
    let peers = load(None).unwrap();
    beside_changes(&peers.ipv4[0]);
    beside_changes(&peers.ipv6[0]);
    assert!(peers.ipv4[1].table().split(0).is_err());
}

/// The class rises from change to change, for every reader.
fn beside_changes<K: Family>(peer: &dyn Contender<K>) {
    const CLASSES: std::ops::Range<u32> = 10..300;
    let mut table = peer.table();
    table.add(&routes()).unwrap();
    let (mut changing, live) = table.split(0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let keys = keys::<K>();
            let mut last = 0;
            while last < CLASSES.end - 1 {
                let section = Section::enter();
                let class = live.lookup(&section).one(&keys[1]);
                assert!(class >= last, "{class} after {last}");
                last = class;
            }
        });
        for class in CLASSES {
            let change = Route {
                class,
                ..routes()[1]
            };
            changing.prepare(&[change]).unwrap();
            changing.commit(&[change]).unwrap();
        }
    });
}

#[test]
fn what_the_peer_refuses_is_an_error() {
    let peers = load(None).unwrap().ipv4;
    let error = peers[0].table().add(&[]).unwrap_err();
    assert!(error.to_string().contains("Invalid argument"), "{error}");
    let many = vec![routes()[0]; 4097];
    assert!(peers[0].table().add(&many).is_err());
    let mut constant = peers[1].table();
    constant.add(&routes()).unwrap();
    assert!(constant.commit(0, &routes()).is_err());
}

#[test]
fn a_library_that_is_no_peer_is_named() {
    let fault = |define| format!("{:#}", load(Some(define)).err().unwrap());
    assert!(fault("INCOMPLETE").contains("peer 'broken' has no function 'open'"));
    assert!(fault("FOREIGN").contains("a peer of interface version 3, known is 2"));
    assert!(fault("UNKNOWN").contains("a peer of family 5, allowed are 4 and 6"));
    // SAFETY: there is no such file.
    let error = unsafe { c_peer::load(Path::new("/nowhere.so")) }
        .err()
        .unwrap();
    assert!(format!("{error:#}").contains("cannot load /nowhere.so"));
}

/// Lookups beside changes, with a peer that gathers and one that does not.
#[test]
fn a_race_with_a_live_peer_has_both_sides() {
    let peers = load(None).unwrap();
    let records = race(vec![peers.ipv4[0].clone()]);
    let of = |gathers| {
        let of = records.iter().filter(move |record| {
            record.at.experiment == "beside" && record.at.gathers == Some(gathers)
        });
        of.map(|record| (record.metric.as_str(), record.theirs.unwrap()))
            .collect::<Vec<_>>()
    };
    for gathers in [5.0, 20.0] {
        let of = of(gathers);
        let value = |name| of.iter().find(|(metric, _)| *metric == name).unwrap().1;
        assert!(value("processor time a change") > 0.0);
        // In microseconds: none is seen before its batch was gathered.
        assert!(value("max") >= gathers * 1e3, "{of:?}");
        assert!(value("lookups lost") < 100.0);
    }
}

fn race<K: Family>(peers: Vec<c_peer::CPeer<K>>) -> Vec<weft_bench::record::Record> {
    let plan = Plan {
        rounds: 1,
        builds: 1,
        keys: 64,
        checks: 300,
        changes: 9,
        batches: 0,
        sizes: Vec::new(),
        fibs: Vec::new(),
        live_fibs: 1,
        ..Plan::quick()
    };
    let prefixes: Vec<_> = routes::<K>().iter().map(Route::prefix).collect();
    let field = Field {
        ours: K::ours(),
        peers: peers.into_iter().map(|peer| Box::new(peer) as _).collect(),
        machine: String::from("a machine"),
        writer: weft_bench::clock::processors().unwrap().first().copied(),
    };
    run(&plan, &field, &prefixes).unwrap()
}
