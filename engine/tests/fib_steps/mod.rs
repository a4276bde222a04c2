// SPDX-License-Identifier: BSD-2-Clause
//! Any sequence of steps on tables of both families that share one store, made of
//! bytes and judged by the naive reference. `tests/fib_sequences.rs` draws the bytes
//! at random, `fuzz/` lets a fuzzer choose them.
//!
//! After each step what it touched answers as it should; when memory failed, as
//! before. At the end all answers are right, what came about by changes is what a
//! dump makes, and when the tables are gone not a byte is left.

use crate::fib_rib::{ByHand, Rib, answer_in};
use arbitrary::{Arbitrary, Result, Unstructured};
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Mutex;
use weft_engine::fib::{FibError, Key, Memory, Store, Table};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::edges;

type StepStore = Store<StepMemory, ByHand, Mutex<()>>;
type StepTable<'s, K> = Table<'s, K, StepMemory, ByHand, Mutex<()>>;

/// FIBs of each family.
const FIBS: usize = 4;
/// The largest class of each, for IPv4; those of IPv6 are all like the last.
const MOST: [u32; FIBS] = [127, 127, 32_767, (1 << 20) - 1];

/// Which of the FIBs: those of IPv4, then those of IPv6.
#[derive(Clone, Copy, Debug)]
struct Which(usize);

impl Arbitrary<'_> for Which {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> Result<Self> {
        bytes.int_in_range(0..=2 * FIBS - 1).map(Self)
    }
}

/// A prefix. There are few of them, for they are to nest and to come again: some
/// address, with one bit flipped, cut to some length.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Place {
    base: u8,
    flip: u8,
    len: u8,
}

/// Addresses; those of IPv4 are the last 32 bits.
const BASES: [u128; 6] = [
    0,
    u128::MAX,
    0x2001_0db8_0000_0000_0000_0000_0a01_0203,
    0x2001_0db8_0001_0000_0000_0000_0a01_0280,
    0x2001_0db8_0001_0002_0000_0000_c0a8_0001,
    0xfe80_0000_0000_0000_0123_4567_8000_0000,
];

impl Place {
    fn address<K: Key>(self) -> K {
        let base = BASES[usize::from(self.base) % BASES.len()];
        // As often as not none is flipped.
        let flip = 1u128.checked_shl(u32::from(self.flip)).unwrap_or(0);
        K::from_bits(base ^ flip)
    }

    fn prefix<K: Key>(self) -> (K, u8) {
        let len = self.len % (K::BITS + 1);
        (self.address::<K>().network(len), len)
    }
}

/// A class: 0 is none, most are small, some are the largest or too large.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Class(u8);

impl Class {
    fn of(self, most: u32) -> u32 {
        match self.0 {
            0..=63 => 0,
            253 => most,
            254 => most + 1,
            255 => u32::MAX,
            small => u32::from(small) % 6 + 1,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// A route comes, changes or goes.
    Change(Which, Place, Class),
    /// The same with one that is there, if there is any.
    ChangeNth(Which, u8, Class),
    LookUp(Which, Place),
    /// All routes are told anew.
    Dump(Which),
    Flatten(Which),
    /// The table goes. The next step that needs it makes another, of the same routes.
    Drop(Which),
    /// The allocation fails that is so many from now.
    FailAllocation(u8),
    /// The next allocation of memory for blocks fails.
    FailSlab,
    /// The grace period ends, if one runs.
    EndPeriod,
    Reclaim,
}

impl Step {
    /// Three in four of the steps are changes.
    fn next(bytes: &mut Unstructured<'_>) -> Result<Self> {
        match bytes.int_in_range(0u8..=7)? {
            0..=3 => Ok(Self::Change(
                Which::arbitrary(bytes)?,
                Place::arbitrary(bytes)?,
                Class::arbitrary(bytes)?,
            )),
            4..=5 => Ok(Self::ChangeNth(
                Which::arbitrary(bytes)?,
                u8::arbitrary(bytes)?,
                Class::arbitrary(bytes)?,
            )),
            _ => Self::arbitrary(bytes),
        }
    }
}

/// Runs the steps that the bytes stand for.
///
/// # Panics
/// If anything is not as it should be.
pub(crate) fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let around = Around::default();
    let (memory, grace) = (around.memory.clone(), around.grace.clone());
    let store = Store::new(memory, grace, Mutex::new(()), 1).unwrap();
    let mut four = MOST.map(Fib::<u32>::new);
    let mut six = [MOST[FIBS - 1]; FIBS].map(Fib::<u128>::new);
    while !bytes.is_empty() {
        let step = Step::next(bytes)?;
        around.elsewhere(&store, step);
        four.iter_mut()
            .enumerate()
            .for_each(|(at, fib)| fib.step(&store, &around, at, step));
        let six = six.iter_mut().enumerate();
        six.for_each(|(at, fib)| fib.step(&store, &around, FIBS + at, step));
    }
    around.memory.fault.take();
    four.iter().for_each(|fib| fib.compare_all());
    six.iter().for_each(|fib| fib.compare_all());
    four.iter()
        .for_each(|fib| fib.is_as_a_dump_makes_it(&store, &around));
    six.iter()
        .for_each(|fib| fib.is_as_a_dump_makes_it(&store, &around));
    drop((four, six));
    around.settle(&store);
    let figures = store.figures();
    assert_eq!((figures.pages, figures.rows, figures.used), (0, 0, 0));
    drop(store);
    assert_eq!(around.memory.host.bytes(), 0);
    Ok(())
}

/// The host's memory, of which one allocation may be told to fail: that so many from
/// now, or the next of memory for blocks, which is rare and comes amid the work.
#[derive(Clone, Default)]
struct StepMemory {
    host: HostMemory,
    fault: Rc<Cell<Fault>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fault {
    /// The allocation of this number, counted from now on.
    After(usize),
    Slab,
    /// It has failed.
    Struck,
    #[default]
    None,
}

// SAFETY: the host's memory, or none.
unsafe impl Memory for StepMemory {
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let next = match self.fault.get() {
            Fault::After(1) => Fault::Struck,
            Fault::After(more) => Fault::After(more - 1),
            Fault::Slab if layout.align() >= SLAB_ALIGN => Fault::Struck,
            fault => fault,
        };
        let before = self.fault.replace(next);
        let fails = before != next && next == Fault::Struck;
        (!fails).then(|| self.host.allocate(layout)).flatten()
    }

    unsafe fn free(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.host.free(block, layout) }
    }
}

/// No allocation but those of slabs is aligned so.
const SLAB_ALIGN: usize = 4096;

/// What is around the tables.
#[derive(Default)]
struct Around {
    memory: StepMemory,
    grace: ByHand,
}

impl Around {
    /// Does what is no table's.
    fn elsewhere(&self, store: &StepStore, step: Step) {
        match step {
            Step::FailAllocation(after) => {
                self.memory
                    .fault
                    .set(Fault::After(usize::from(after % 16) + 1));
            }
            Step::FailSlab => self.memory.fault.set(Fault::Slab),
            Step::EndPeriod if self.grace.runs() => self.grace.elapse(),
            Step::Reclaim => store.reclaim(),
            _ => {}
        }
    }

    /// Memory failed: because it was told to, and it will not again.
    fn excuse(&self) {
        let fault = self.memory.fault.take();
        assert!(fault == Fault::Struck, "memory that failed by itself");
    }

    /// Waits until nothing is retired any more.
    fn settle(&self, store: &StepStore) {
        store.reclaim();
        for _ in 0..10_000 {
            if store.figures().pending == 0 {
                return;
            }
            if self.grace.runs() {
                self.grace.elapse();
            }
            store.reclaim();
        }
        panic!("blocks that never become free: {:?}", store.figures());
    }
}

/// A FIB: its routes, and its table, if there is one now.
struct Fib<'s, K: Key> {
    table: Option<StepTable<'s, K>>,
    rib: Rib<K>,
    /// The largest class that the table takes.
    most: u32,
}

impl<'s, K: Key> Fib<'s, K> {
    fn new(most: u32) -> Self {
        Self {
            table: None,
            rib: Rib::default(),
            most,
        }
    }

    /// Does a step, if it is for this FIB, which is number `at`.
    fn step(&mut self, store: &'s StepStore, around: &Around, at: usize, step: Step) {
        match step {
            Step::Change(Which(which), place, class) if which == at => {
                self.change(store, around, place.prefix(), class.of(self.most));
            }
            Step::ChangeNth(Which(which), nth, class) if which == at => {
                let routes = &self.rib.naive.routes;
                let nth = usize::from(nth) % routes.len().max(1);
                if let Some(&route) = routes.keys().nth(nth) {
                    self.change(store, around, route, class.of(self.most));
                }
            }
            Step::LookUp(Which(which), place) if which == at => {
                self.make(store, around);
                self.look_up(place.address());
            }
            Step::Dump(Which(which)) if which == at => self.dump(store, around),
            Step::Flatten(Which(which)) if which == at => self.flatten(store, around),
            Step::Drop(Which(which)) if which == at => self.table = None,
            _ => {}
        }
    }

    fn empty_table(&self, store: &'s StepStore) -> std::result::Result<StepTable<'s, K>, FibError> {
        Table::for_classes(store, self.most)
    }

    /// Makes the table, if there is none.
    fn make(&mut self, store: &'s StepStore, around: &Around) -> &mut StepTable<'s, K> {
        if self.table.is_none() {
            let table = self.empty_table(store).or_else(|fault| {
                assert_eq!(fault, FibError::OutOfMemory);
                around.excuse();
                self.empty_table(store)
            });
            self.table = Some(table.unwrap());
            // It has no routes yet, and answers so until the dump has succeeded.
            let rib = std::mem::take(&mut self.rib);
            self.compare(K::default(), 0);
            self.rib = rib;
            self.tell_all(around);
            self.compare_all();
        }
        self.table.as_mut().unwrap()
    }

    /// Tells the table all routes, until there is memory.
    fn tell_all(&mut self, around: &Around) {
        let table = self.table.as_mut().unwrap();
        if let Err(fault) = self.rib.dump(table) {
            assert_eq!(fault, FibError::OutOfMemory);
            around.excuse();
            self.rib.dump(table).unwrap();
        }
    }

    fn dump(&mut self, store: &'s StepStore, around: &Around) {
        let table = self.make(store, around);
        let generation = table.figures().generation;
        self.tell_all(around);
        self.compare_all();
        let now = self.table.as_ref().unwrap().figures().generation;
        assert_eq!(now, generation, "the same routes are no change");
    }

    fn flatten(&mut self, store: &'s StepStore, around: &Around) {
        let table = self.make(store, around);
        if let Err(fault) = table.flatten() {
            assert_eq!(fault, FibError::OutOfMemory);
            around.excuse();
            self.compare_all();
            self.table.as_mut().unwrap().flatten().unwrap();
        }
        self.compare_all();
    }

    /// A route comes, changes, or goes, for class 0.
    fn change(
        &mut self,
        store: &'s StepStore,
        around: &Around,
        (prefix, len): (K, u8),
        class: u32,
    ) {
        self.make(store, around);
        let before = self.rib.naive.routes.get(&(prefix, len)).copied();
        let before = before.unwrap_or(0);
        match self.tell(prefix, len, class) {
            Ok(()) => assert!(class <= self.most, "class {class} was taken"),
            Err(FibError::OutOfMemory) => {
                around.excuse();
                self.rib.set(prefix, len, before);
                self.compare_all();
                self.rib.set(prefix, len, class);
                // The kernel makes the table anew; it may be tried again as well.
                if around.memory.host.calls().is_multiple_of(2) && class <= self.most {
                    self.tell_all(around);
                }
                return self.change_with_memory(prefix, len, (before, class));
            }
            Err(fault) => self.refused(prefix, len, (before, class), fault),
        }
        self.compare(prefix, len);
    }

    /// The same once more.
    fn change_with_memory(&mut self, prefix: K, len: u8, (before, class): (u32, u32)) {
        if let Err(fault) = self.tell(prefix, len, class) {
            self.refused(prefix, len, (before, class), fault);
        }
        self.compare(prefix, len);
    }

    /// Sets a route's class, or removes it for 0, in both.
    fn tell(&mut self, prefix: K, len: u8, class: u32) -> std::result::Result<(), FibError> {
        let table = self.table.as_mut().unwrap();
        self.rib.change(table, (prefix, len, class))
    }

    /// A change was refused for its class: the route is as before.
    fn refused(&mut self, prefix: K, len: u8, (before, class): (u32, u32), fault: FibError) {
        let most = self.most;
        assert_eq!(fault, FibError::ClassRange { class, most });
        assert!(class > most);
        self.rib.set(prefix, len, before);
    }

    fn look_up(&self, key: K) {
        if let Some(table) = &self.table {
            let right = self.rib.naive.lookup(key);
            assert_eq!(answer_in(table, &(), key), right, "{}", key.ip());
        }
    }

    /// Compares the answers that can differ at a prefix.
    fn compare(&self, prefix: K, len: u8) {
        edges(prefix, len)
            .into_iter()
            .for_each(|key| self.look_up(key));
    }

    /// Compares all answers that can differ.
    fn compare_all(&self) {
        self.compare(K::default(), 0);
        for &(prefix, len) in self.rib.naive.routes.keys() {
            self.compare(prefix, len);
        }
        if let Some(table) = &self.table {
            assert_eq!(table.figures().prefixes, self.rib.naive.routes.len());
        }
    }

    /// A dump into another table needs no page and no row that is not there.
    fn is_as_a_dump_makes_it(&self, store: &StepStore, around: &Around) {
        if self.table.is_none() {
            return;
        }
        around.settle(store);
        let before = store.figures();
        let mut fresh = Table::for_classes(store, self.most).unwrap();
        self.rib.dump(&mut fresh).unwrap();
        around.settle(store);
        let after = store.figures();
        assert_eq!((after.pages, after.rows), (before.pages, before.rows));
    }
}
