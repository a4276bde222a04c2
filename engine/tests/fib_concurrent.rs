// SPDX-License-Identifier: BSD-2-Clause
//! Readers and writers of tables of one store, of both families, all at once: each
//! answer must have been true while its lookup ran.
//!
//! Each writer goes round a circle of states that are known in advance. It says
//! which change it begins and which it has finished; a reader notes the finished
//! one before its lookup and the begun one after it, and the answer must be that
//! of one of the states between. A lookup that falls back to the default route may
//! also answer a later of these states' default.

mod fib_rib;

use fib_rib::{HostStore, Rib, Table, settle, store};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use weft_engine::fib::{Key, Reader, Writer};
use weft_engine::sim::epoch::{HostEpoch, Section};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::Naive;
use weft_engine::sim::random::Random;

const ROUNDS: usize = if cfg!(miri) { 1 } else { 6 };

/// Set this prefix to that class; 0 removes it.
type Change<K> = (K, u8, u32);

/// What is true between two changes.
struct State {
    /// The class of the longest route over each key that is not the default, or 0.
    specific: Vec<u32>,
    default: u32,
}

/// A circle of changes, and what is true after each of them.
struct Circle<K> {
    changes: Vec<Change<K>>,
    keys: Vec<K>,
    /// State `i` is the one before change `i`.
    states: Vec<State>,
}

impl<K: Key> Circle<K> {
    /// Pseudo-random changes within a nest of prefixes, and then their removal. The
    /// classes are few, so that pages come again, in one table or the other.
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Some address, and those that differ from it in one bit.
        let all = K::default().last(0).bits();
        let first = 0x2001_0db8_0a01_0100_2001_0db8_0a01_0100 & all;
        let step = K::BITS / 16;
        let keys: Vec<K> = (0..16)
            .map(|i| K::from_bits(first ^ (1u128 << (step * i))))
            .chain([K::from_bits(first)])
            .collect();
        let mut changes = Vec::new();
        let mut now = Rib::default();
        for _ in 0..150 {
            let len = random.below(usize::from(K::BITS) + 1) as u8;
            let prefix = random.pick(&keys).unwrap().network(len);
            let class = random.below(9) as u32;
            now.set(prefix, len, class);
            changes.push((prefix, len, class));
        }
        let left = now.naive.routes.keys();
        changes.extend(left.map(|&(prefix, len)| (prefix, len, 0)));
        let states = states(&changes, &keys);
        Self {
            changes,
            keys,
            states,
        }
    }

    /// Whether something was true in a state from `from` to `to`, counted over all
    /// rounds.
    fn allows(&self, from: usize, to: usize, holds: impl Fn(&State) -> bool) -> bool {
        let length = self.changes.len();
        to - from >= length || (from..=to).any(|state| holds(&self.states[state % length]))
    }

    /// Panics unless the answers for a key were true in those states.
    fn judge(&self, key: usize, (specific, class): (u32, u32), from: usize, to: usize) {
        let is_true = self.allows(from, to, |state| state.specific[key] == specific);
        assert!(
            is_true,
            "class {specific} for {:?}, not so in states {from} to {to} of {}",
            self.keys[key].ip(),
            self.changes.len(),
        );
        let is_true = self.allows(from, to, |state| match state.specific[key] {
            0 => state.default == class,
            specific => specific == class,
        });
        let falls_back = || {
            self.allows(from, to, |state| state.specific[key] == 0)
                && self.allows(from, to, |state| state.default == class)
        };
        assert!(
            is_true || falls_back(),
            "class {class} for {:?}, neither route nor default in states {from} to {to} of {}",
            self.keys[key].ip(),
            self.changes.len(),
        );
    }
}

fn states<K: Key>(changes: &[Change<K>], keys: &[K]) -> Vec<State> {
    let mut rib = Rib::default();
    let mut states = Vec::new();
    for &(prefix, len, class) in changes {
        let mut specific = rib.naive.clone();
        let default = specific.remove(K::default(), 0).unwrap_or(0);
        states.push(State {
            specific: keys.iter().map(|&key| specific.lookup(key)).collect(),
            default,
        });
        rib.set(prefix, len, class);
    }
    assert_eq!(rib.naive, Naive::default(), "the circle closes");
    states
}

/// How far a writer is, counted over all rounds.
#[derive(Default)]
struct Progress {
    begun: AtomicUsize,
    finished: AtomicUsize,
    over: AtomicBool,
}

fn write<K: Key>(
    mut table: Writer<'_, '_, K, HostMemory, HostEpoch, Mutex<()>>,
    circle: &Circle<K>,
    progress: &Progress,
) {
    let mut rib = Rib::default();
    for step in 0..ROUNDS * circle.changes.len() {
        let (prefix, len, class) = circle.changes[step % circle.changes.len()];
        progress.begun.store(step + 1, Ordering::SeqCst);
        rib.set(prefix, len, class);
        table.update(prefix, len, &rib).unwrap();
        progress.finished.store(step + 1, Ordering::SeqCst);
    }
    progress.over.store(true, Ordering::SeqCst);
}

/// Looks up until the writer is done; returns how many lookups were compared with
/// less than all states.
fn read<K: Key>(table: Reader<'_, K, HostEpoch>, circle: &Circle<K>, progress: &Progress) -> usize {
    let mut telling = 0;
    while !progress.over.load(Ordering::SeqCst) {
        for (key, &dst) in circle.keys.iter().enumerate() {
            let section = Section::enter();
            let from = progress.finished.load(Ordering::SeqCst);
            let specific = table.lookup_specific(&section, dst);
            let class = table.lookup(&section, dst);
            let to = progress.begun.load(Ordering::SeqCst);
            circle.judge(key, (specific, class), from, to);
            telling += usize::from(to - from < circle.changes.len());
        }
    }
    telling
}

fn race<K: Key>(store: &HostStore, seed: u64, flat: bool) {
    let circle = Circle::<K>::new(seed);
    let mut table: Table<'_, K> = Table::new(store).unwrap();
    if flat {
        table.flatten().unwrap();
    }
    let progress = Progress::default();
    let (writer, reader) = table.split();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| read(reader, &circle, &progress)))
            .collect();
        write(writer, &circle, &progress);
        for reader in readers {
            let telling = reader.join().unwrap();
            assert!(telling > 0, "a reader that never ran beside the writer");
        }
    });
}

#[test]
fn each_answer_was_true_while_its_lookup_ran() {
    for seed in 1..=2 {
        let (store, memory) = store();
        // Tables of a family go round the same circle, and so share what they meet in.
        thread::scope(|scope| {
            scope.spawn(|| race::<u32>(&store, seed, true));
            scope.spawn(|| race::<u128>(&store, seed, true));
            scope.spawn(|| race::<u128>(&store, seed, false));
            race::<u32>(&store, seed, false);
        });
        settle(&store);
        let figures = store.figures();
        assert_eq!((figures.pages, figures.rows, figures.used), (0, 0, 0));
        drop(store);
        assert_eq!(memory.bytes(), 0);
    }
}
