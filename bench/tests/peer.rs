// SPDX-License-Identifier: BSD-2-Clause
//! Peers in shared libraries: one is compiled here, loaded and asked.

use std::path::{Path, PathBuf};
use weft_bench::c_peer::{self, CPeer};
use weft_bench::contender::{Bytes, Contender};
use weft_bench::routes::Route;

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

fn load(define: Option<&str>) -> anyhow::Result<Vec<CPeer>> {
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), define);
    // SAFETY: `tests/tiny.c` keeps to `peer.h`.
    unsafe { c_peer::load(&path) }
}

fn routes() -> Vec<Route> {
    [
        (10 << 24, 8, 1),
        (10 << 24 | 1 << 16, 16, 2),
        (192 << 24, 4, 3),
    ]
    .map(|(prefix, plen, class)| Route {
        prefix,
        class,
        plen,
    })
    .into()
}

#[test]
fn every_peer_of_a_library_is_found() {
    let peers = load(None).unwrap();
    let told: Vec<_> = peers
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
}

#[test]
fn a_peer_is_built_asked_and_changed() {
    let peer = &load(None).unwrap()[0];
    let mut table = peer.table();
    table.add(&routes()).unwrap();
    table.add(&routes()[..1]).unwrap();
    let keys = [10 << 24 | 5, 10 << 24 | 1 << 16 | 9, 11 << 24, 192 << 24];
    let answers = |table: &dyn weft_bench::contender::Table, fib| {
        let lookup = table.lookup(fib);
        let mut batch = [0; 4];
        lookup.batch(&keys, &mut batch);
        assert_eq!(batch, keys.map(|key| lookup.one(key)));
        batch
    };
    assert_eq!(answers(table.as_ref(), 0), [1, 2, 0, 3]);
    assert_eq!(answers(table.as_ref(), 1), [1, 1, 0, 0]);
    let bytes = table.bytes();
    assert_eq!(bytes.lookup, 4 * size_of::<Route>() as u64);
    assert!(bytes.all > bytes.lookup && bytes != Bytes::default());

    let change = [Route {
        class: 7,
        ..routes()[1]
    }];
    assert!(table.commit(0, &change).is_err(), "before it is prepared");
    table.prepare(0, &change).unwrap();
    table.commit(0, &change).unwrap();
    table.freeze();
    assert_eq!(answers(table.as_ref(), 0), [1, 7, 0, 3]);
    assert_eq!(answers(table.as_ref(), 1), [1, 1, 0, 0]);
}

#[test]
fn what_the_peer_refuses_is_an_error() {
    let peers = load(None).unwrap();
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
    assert!(fault("FOREIGN").contains("a peer of interface version 2, known is 1"));
    // SAFETY: there is no such file.
    let error = unsafe { c_peer::load(Path::new("/nowhere.so")) }
        .err()
        .unwrap();
    assert!(format!("{error:#}").contains("cannot load /nowhere.so"));
}
