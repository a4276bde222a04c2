// SPDX-License-Identifier: BSD-2-Clause
//! Tests of a whole life: tables with next hops that come and go, and lookups that
//! take their time.

use super::*;
use crate::fib::{Grace, Period};
use crate::sim::memory::HostMemory;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Sequences of steps that are tried.
const CASES: u32 = if cfg!(miri) { 3 } else { 400 };

/// Read sections that begin and end when the test says so, for one thread.
#[derive(Clone, Default)]
pub(super) struct Sections(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    inside: BTreeSet<u64>,
    waiting: Vec<(Period, BTreeSet<u64>)>,
}

impl Sections {
    /// Enters a section.
    pub(super) fn enter(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        state.next += 1;
        let section = state.next;
        state.inside.insert(section);
        section
    }

    /// Leaves it.
    pub(super) fn leave(&self, section: u64) {
        let mut state = self.0.lock().unwrap();
        state.inside.remove(&section);
        let waiting = std::mem::take(&mut state.waiting);
        for (period, mut sections) in waiting {
            sections.remove(&section);
            state.settle(period, sections);
        }
    }
}

impl State {
    fn settle(&mut self, period: Period, sections: BTreeSet<u64>) {
        if sections.is_empty() {
            period.elapsed();
        } else {
            self.waiting.push((period, sections));
        }
    }
}

// SAFETY: a period ends when all sections that were there when it began have left,
// and all is in one thread.
unsafe impl Grace for Sections {
    type Section<'s> = u64;

    fn start(&self, period: Period) {
        let mut state = self.0.lock().unwrap();
        let sections = state.inside.clone();
        state.settle(period, sections);
    }
}

/// What stands for the platform's object. The address is what counts.
type Object = u64;
type Book = Dictionary<HostMemory, Mutex<()>>;
type Ticks = Clock<HostMemory, Sections, Mutex<()>>;

/// The platform's side of one FIB: next hops with a lowest-free index, which go a
/// grace period after their last use.
struct Fib<'d> {
    map: NextHops<Object>,
    bindings: Option<Bindings<'d, Object, HostMemory, Mutex<()>>>,
    /// By index: what it is, its object, its uses.
    live: BTreeMap<u32, (u64, Box<Object>, u32)>,
    /// Those without uses that wait: index, object, the sections that may have it.
    dying: Vec<(u32, Box<Object>, BTreeSet<u64>)>,
    /// Sections, with what their lookups have found: class and object.
    held: BTreeMap<u64, Vec<(u32, usize)>>,
}

fn address(object: &Object) -> usize {
    std::ptr::from_ref(object) as usize
}

impl<'d> Fib<'d> {
    fn new(memory: &HostMemory, book: &'d Book) -> Self {
        let (bindings, map) = Bindings::new(memory.clone(), book).unwrap();
        Self {
            map,
            bindings: Some(bindings),
            live: BTreeMap::new(),
            dying: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// A route to a next hop of that kind comes. `fresh`: to one of its own, even if
    /// the FIB has one like it.
    fn add_route(&mut self, ticks: &Ticks, kind: u64, fresh: bool) -> Option<u32> {
        let there = self.live.iter().find(|(_, (k, ..))| *k == kind && !fresh);
        let index = match there {
            Some((&index, _)) => index,
            None => {
                let taken =
                    |n: &u32| self.live.contains_key(n) || self.dying.iter().any(|(i, ..)| i == n);
                let index = (1..).find(|n| !taken(n)).unwrap();
                self.live.insert(index, (kind, Box::new(kind), 0));
                index
            }
        };
        let (_, object, uses) = self.live.get_mut(&index).unwrap();
        let bindings = self.bindings.as_mut().unwrap();
        let pointer = std::ptr::from_ref(&**object).cast_mut();
        let identity = || Identifier::new([1, 2]).of(&[kind]);
        let class = bindings.add_use(&self.map, ticks, index, pointer, identity);
        let Ok(class) = class else {
            if *uses == 0 {
                self.live.remove(&index);
            }
            return None;
        };
        *uses += 1;
        assert_eq!(bindings.class_of(index, pointer), class);
        Some(class)
    }

    /// A route of the `n`-th next hop goes.
    fn remove_route(&mut self, ticks: &Ticks, n: usize, inside: &BTreeSet<u64>) {
        let indices: Vec<u32> = self.live.keys().copied().collect();
        let Some(&index) = indices.get(n % indices.len().max(1)) else {
            return;
        };
        let (_, object, uses) = self.live.get_mut(&index).unwrap();
        let pointer = std::ptr::from_ref(&**object).cast_mut();
        *uses -= 1;
        let last = *uses == 0;
        self.bindings
            .as_mut()
            .unwrap()
            .end_use(ticks, index, pointer);
        if last {
            let (_, object, _) = self.live.remove(&index).unwrap();
            self.dying.push((index, object, inside.clone()));
        }
    }

    /// What a lookup in a section can find: any next hop that has a route.
    fn look(&mut self, section: u64) {
        for (&index, (_, object, _)) in &self.live {
            let pointer = std::ptr::from_ref(&**object).cast_mut();
            let class = self.bindings.as_ref().unwrap().class_of(index, pointer);
            let found = self.held.entry(section).or_default();
            found.push((class, address(object)));
        }
    }

    fn left(&mut self, section: u64) {
        self.held.remove(&section);
        for (.., sections) in &mut self.dying {
            sections.remove(&section);
        }
        self.dying.retain(|(.., sections)| !sections.is_empty());
    }

    /// Every lookup's class leads to what it meant, and different next hops have
    /// different classes.
    fn check(&self) {
        for (class, meant) in self.held.values().flatten() {
            // SAFETY: found in this table, in a section that goes on.
            let led_to = unsafe { self.map.get(*class) };
            assert_eq!(led_to as usize, *meant, "class {class}");
        }
        let mut classes = BTreeSet::new();
        for (&index, (_, object, _)) in &self.live {
            let pointer = std::ptr::from_ref(&**object).cast_mut();
            let class = self.bindings.as_ref().unwrap().class_of(index, pointer);
            assert!(class > 0 && classes.insert(class), "index {index}");
            // SAFETY: bound, and this FIB's.
            assert_eq!(unsafe { self.map.get(class) } as usize, address(object));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add { fib: usize, kind: u64, fresh: bool },
    Remove { fib: usize, n: usize },
    Enter,
    Leave { n: usize },
    Fail { k: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..40u64, prop::bool::weighted(0.2))
            .prop_map(|(fib, kind, fresh)| Step::Add { fib, kind, fresh }),
        6 => (0..3usize, any::<usize>()).prop_map(|(fib, n)| Step::Remove { fib, n }),
        2 => Just(Step::Enter),
        2 => any::<usize>().prop_map(|n| Step::Leave { n }),
        1 => (1..4usize).prop_map(|k| Step::Fail { k }),
    ]
}

/// Runs the steps with classes up to `most`, and checks after each.
fn rehearse(steps: &[Step], most: u32, shortage: Shortage) {
    let memory = HostMemory::default();
    let sections = Sections::default();
    let ticks = Clock::new(memory.clone(), sections.clone(), Mutex::new(())).unwrap();
    let book = Dictionary::new(memory.clone(), Mutex::new(()), most, shortage);
    let mut fibs: Vec<Fib<'_>> = (0..3).map(|_| Fib::new(&memory, &book)).collect();
    let mut inside = BTreeSet::new();
    for step in steps {
        match *step {
            Step::Add { fib, kind, fresh } => {
                fibs[fib].add_route(&ticks, kind, fresh);
            }
            Step::Remove { fib, n } => fibs[fib].remove_route(&ticks, n, &inside),
            Step::Enter => {
                let section = sections.enter();
                inside.insert(section);
                fibs.iter_mut().for_each(|fib| fib.look(section));
            }
            Step::Leave { n } => {
                let nth = inside.iter().nth(n % inside.len().max(1)).copied();
                if let Some(section) = nth {
                    inside.remove(&section);
                    fibs.iter_mut().for_each(|fib| fib.left(section));
                    sections.leave(section);
                }
            }
            Step::Fail { k } => memory.fail_after(k),
        }
        fibs.iter().for_each(Fib::check);
    }
    for section in inside {
        sections.leave(section);
    }
    fibs.iter_mut().for_each(|fib| drop(fib.bindings.take()));
    assert_eq!(book.figures().classes, 0);
    drop(fibs);
    drop(book);
    assert!(!ticks.runs());
    drop(ticks);
    assert_eq!(memory.bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_lookup_is_led_to_what_it_meant(steps in prop::collection::vec(step(), 1..300)) {
        rehearse(&steps, 32_767, Shortage::Refuse);
    }

    /// So few classes that FIBs must take each other's, or go without.
    #[test]
    fn and_so_it_is_when_classes_run_out(steps in prop::collection::vec(step(), 1..300)) {
        rehearse(&steps, 12, Shortage::Borrow);
        rehearse(&steps, 12, Shortage::Refuse);
    }
}

#[test]
fn fibs_whose_next_hops_came_in_different_orders_agree_on_classes() {
    let memory = HostMemory::default();
    let ticks = Clock::new(memory.clone(), Sections::default(), Mutex::new(())).unwrap();
    let book = Dictionary::new(memory.clone(), Mutex::new(()), 32_767, Shortage::Refuse);
    let mut one = Fib::new(&memory, &book);
    let mut two = Fib::new(&memory, &book);
    let first: Vec<_> = (0..500)
        .map(|kind| one.add_route(&ticks, kind, false))
        .collect();
    let second: Vec<_> = (0..500)
        .rev()
        .map(|kind| two.add_route(&ticks, kind, false))
        .collect();
    assert!(first.iter().eq(second.iter().rev()));
    one.check();
    two.check();
}

/// A next hop that dies and comes again elsewhere gets its class again, once no lookup
/// holds it, so that FIBs go on sharing.
#[test]
fn a_next_hop_that_comes_again_has_its_class_again() {
    let memory = HostMemory::default();
    let sections = Sections::default();
    let ticks = Clock::new(memory.clone(), sections.clone(), Mutex::new(())).unwrap();
    let book = Dictionary::new(memory.clone(), Mutex::new(()), 32_767, Shortage::Refuse);
    let mut one = Fib::new(&memory, &book);
    let mut two = Fib::new(&memory, &book);
    let class = one.add_route(&ticks, 7, false);
    assert_eq!(two.add_route(&ticks, 7, false), class);
    for round in 1..100 {
        let section = sections.enter();
        one.remove_route(&ticks, 0, &BTreeSet::from([section]));
        // Another kind takes its place among the indices or not, as it comes.
        let other = one.add_route(&ticks, 1000 + round, false);
        assert_ne!(other, class, "a lookup may hold it");
        one.left(section);
        sections.leave(section);
        assert_eq!(one.add_route(&ticks, 7, false), class, "round {round}");
        let last = one
            .live
            .iter()
            .position(|(_, (kind, ..))| *kind == 1000 + round);
        one.remove_route(&ticks, last.unwrap(), &BTreeSet::new());
        one.left(0);
        one.check();
    }
}

/// A lookup may have read where the map is, and not yet the entry.
#[test]
fn a_map_that_was_replaced_stays_until_lookups_have_ended() {
    let memory = HostMemory::default();
    let sections = Sections::default();
    let ticks = Clock::new(memory.clone(), sections.clone(), Mutex::new(())).unwrap();
    let book = Dictionary::new(memory.clone(), Mutex::new(()), 32_767, Shortage::Refuse);
    let mut fib = Fib::new(&memory, &book);
    let own = |fib: &Fib<'_>| fib.bindings.as_ref().unwrap().bytes() + book.figures().bytes;
    let section = sections.enter();
    let at_rest = memory.bytes() - own(&fib);
    for kind in 0..100 {
        fib.add_route(&ticks, kind, false);
    }
    let kept = memory.bytes() - own(&fib);
    assert!(kept > at_rest, "maps of 16, 32 and 64 entries wait");
    sections.leave(section);
    fib.add_route(&ticks, 100, false);
    fib.add_route(&ticks, 101, false);
    assert_eq!(memory.bytes() - own(&fib), at_rest);
}
