// SPDX-License-Identifier: BSD-2-Clause
//! Readers beside a writer: each answer must have been true while its lookup ran.
//!
//! The writer goes round a circle of states that are known in advance. It says
//! which change it begins and which it has finished; a reader notes the finished
//! one before its lookup and the begun one after it, and the answer must be that
//! of one of the states between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use weft_engine::fib::{Reader, Trie4, Writer};
use weft_engine::sim::epoch::{HostEpoch, Section, settle};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::{Naive, mask};

const READERS: usize = 3;
const ROUNDS: usize = 400;

/// Set this prefix to that class; 0 removes it.
type Change = (u32, u8, u32);

/// A circle of changes, and for each key its class after each of them.
struct Circle {
    changes: Vec<Change>,
    keys: Vec<u32>,
    /// By state, then by key. State `i` is the one before change `i`.
    answers: Vec<Vec<u32>>,
}

impl Circle {
    /// Pseudo-random changes within a nest of prefixes, and then their removal.
    fn new(seed: u64) -> Self {
        let mut bits = seed;
        let mut next = |below: u64| {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (bits >> 33) % below
        };
        let keys: Vec<u32> = (0..16)
            .map(|i| 0x0a01_0100 ^ (1u32 << (2 * i)))
            .chain([0x0a01_0100])
            .collect();
        let mut now = Naive::default();
        let mut changes = Vec::new();
        for _ in 0..150 {
            let len = next(33) as u8;
            let prefix = keys[next(keys.len() as u64) as usize] & mask(len);
            let class = if next(3) == 0 {
                0
            } else {
                changes.len() as u32 + 1
            };
            apply_naive(&mut now, (prefix, len, class));
            changes.push((prefix, len, class));
        }
        changes.extend(now.routes.keys().map(|&(prefix, len)| (prefix, len, 0)));
        let answers = states(&changes, &keys);
        Self {
            changes,
            keys,
            answers,
        }
    }

    /// Whether `class` was the answer for the key in a state from `from` to `to`,
    /// counted over all rounds.
    fn allows(&self, key: usize, class: u32, from: usize, to: usize) -> bool {
        let length = self.changes.len();
        to - from >= length || (from..=to).any(|state| self.answers[state % length][key] == class)
    }
}

fn apply_naive(table: &mut Naive, (prefix, len, class): Change) {
    if class == 0 {
        table.remove(prefix, len);
    } else {
        table.insert(prefix, len, class);
    }
}

fn states(changes: &[Change], keys: &[u32]) -> Vec<Vec<u32>> {
    let mut table = Naive::default();
    let of = |table: &Naive| keys.iter().map(|&key| table.lookup(key)).collect();
    let mut answers = Vec::new();
    for &change in changes {
        answers.push(of(&table));
        apply_naive(&mut table, change);
    }
    assert_eq!(table, Naive::default(), "the circle closes");
    answers
}

/// How far the writer is, counted over all rounds.
#[derive(Default)]
struct Progress {
    begun: AtomicUsize,
    finished: AtomicUsize,
    over: AtomicBool,
}

fn write(mut table: Writer<'_, HostMemory, HostEpoch>, circle: &Circle, progress: &Progress) {
    for step in 0..ROUNDS * circle.changes.len() {
        let (prefix, len, class) = circle.changes[step % circle.changes.len()];
        progress.begun.store(step + 1, Ordering::SeqCst);
        if class == 0 {
            table.remove(prefix, len).unwrap();
        } else {
            table.insert(prefix, len, class).unwrap();
        }
        progress.finished.store(step + 1, Ordering::SeqCst);
    }
    progress.over.store(true, Ordering::SeqCst);
}

/// Looks up until the writer is done; returns how many lookups were compared
/// with less than all states.
fn read(table: Reader<'_, HostEpoch>, circle: &Circle, progress: &Progress) -> usize {
    let mut telling = 0;
    while !progress.over.load(Ordering::SeqCst) {
        for (key, &dst) in circle.keys.iter().enumerate() {
            let section = Section::enter();
            let from = progress.finished.load(Ordering::SeqCst);
            let class = table.lookup(&section, dst);
            let to = progress.begun.load(Ordering::SeqCst);
            assert!(
                circle.allows(key, class, from, to),
                "class {class} for {dst:#x}, not so in states {from} to {to} of {}",
                circle.changes.len(),
            );
            telling += usize::from(to - from < circle.changes.len());
        }
    }
    telling
}

#[test]
fn each_answer_was_true_while_its_lookup_ran() {
    for seed in 1..=4 {
        let circle = Circle::new(seed);
        let memory = HostMemory::default();
        let mut table = Trie4::new(memory.clone(), HostEpoch).unwrap();
        let progress = Progress::default();
        let (writer, reader) = table.split();
        thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|_| scope.spawn(|| read(reader, &circle, &progress)))
                .collect();
            write(writer, &circle, &progress);
            for reader in readers {
                let telling = reader.join().unwrap();
                assert!(telling > 0, "a reader that never ran beside the writer");
            }
        });
        let figures = table.figures();
        assert_eq!((figures.prefixes, figures.nodes), (0, 0));
        settle(&mut table);
        drop(table);
        assert_eq!(memory.bytes(), 0);
    }
}
