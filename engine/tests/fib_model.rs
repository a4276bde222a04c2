// SPDX-License-Identifier: BSD-2-Clause
//! Publication, retirement and reuse in all interleavings, over a model of the C11
//! memory order.
//!
//! What is compiled here are the engine's own `retire.rs` and `grace.rs`, with loom's
//! atomics for the processor's. Around them is the least of a table and a store that
//! still has what they are for: blocks that are written plainly and read plainly, a
//! row that names a page and may be changed in place, a count of those who refer to a
//! block, one lock for two writers. loom runs each case in all orders in which its
//! threads may meet, and with all values that a load may see; a plain access that
//! another one does not order is a fault.
//!
//! Each ordering and each step is taken out in turn, too: then there must be a fault.

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use retire::{Batch, Place, turn};
use std::cell::Cell;
use sync::{AtomicU8, AtomicU32, Ordering};

/// The atomics of the engine's files below.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, Ordering};
}

#[allow(dead_code, unreachable_pub)]
#[path = "../src/fib/grace.rs"]
mod grace;
#[allow(dead_code)]
#[path = "../src/fib/retire.rs"]
mod retire;

use grace::{Grace, Period};

/// What is done otherwise than by the engine, or with other orderings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Readers load without acquire.
    ReadRelaxed,
    /// Writers store without release.
    PublishRelaxed,
    /// The end of a period is told without release.
    ElapsedRelaxed,
    /// A period does not wait for readers.
    NoWait,
    /// Blocks are free as soon as they are retired.
    NoGrace,
    /// The period begins before the publication that made blocks unreachable.
    PeriodTooEarly,
    /// What was retired during a period counts as retired before it.
    BatchesMixed,
    /// A row to which another table refers is changed in place.
    SharedInPlace,
}

/// A place, with the orderings of the engine or weaker ones.
enum AnyPlace {
    Sound(Place),
    Weak(AtomicU32, Fault),
}

impl AnyPlace {
    fn new(answer: u32, fault: Fault) -> Self {
        match fault {
            Fault::ReadRelaxed | Fault::PublishRelaxed => Self::Weak(AtomicU32::new(answer), fault),
            _ => {
                let place = Place::default();
                place.publish(answer);
                Self::Sound(place)
            }
        }
    }

    fn read(&self) -> u32 {
        match self {
            Self::Sound(place) => place.read(),
            Self::Weak(place, Fault::ReadRelaxed) => place.load(Ordering::Relaxed),
            Self::Weak(place, _) => place.load(Ordering::Acquire),
        }
    }

    fn own(&self) -> u32 {
        match self {
            Self::Sound(place) => place.own(),
            Self::Weak(place, _) => place.load(Ordering::Relaxed),
        }
    }

    fn publish(&self, answer: u32) {
        match self {
            Self::Sound(place) => place.publish(answer),
            Self::Weak(place, Fault::PublishRelaxed) => place.store(answer, Ordering::Relaxed),
            Self::Weak(place, _) => place.store(answer, Ordering::Release),
        }
    }
}

/// A page, which has `words`, or a row, whose one answer is `place`. What it is made
/// with is written plainly in either case.
struct Block {
    words: UnsafeCell<u32>,
    place: AnyPlace,
}

/// The sections that run, and those for which the period waits.
#[derive(Default)]
struct Sections {
    running: Vec<usize>,
    awaited: Vec<usize>,
    period: Option<Period>,
    begun: usize,
}

/// Grace periods, as the trait demands them and no better.
struct ModelGrace {
    sections: Mutex<Sections>,
    fault: Fault,
}

/// A read section.
struct Section<'g>(&'g ModelGrace, usize);

impl ModelGrace {
    fn enter(&self) -> Section<'_> {
        let mut sections = self.sections.lock().unwrap();
        sections.begun += 1;
        let section = sections.begun;
        sections.running.push(section);
        Section(self, section)
    }

    fn end(&self, period: Period) {
        if self.fault == Fault::ElapsedRelaxed {
            let state = period.into_raw().cast::<AtomicU8>();
            // SAFETY: what `elapsed` does, but for the ordering.
            unsafe { state.as_ref() }.store(grace::ELAPSED, Ordering::Relaxed);
        } else {
            period.elapsed();
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Self(grace, section) = *self;
        let mut sections = grace.sections.lock().unwrap();
        sections.running.retain(|&other| other != section);
        sections.awaited.retain(|&other| other != section);
        let over = sections.awaited.is_empty();
        let period = over.then(|| sections.period.take()).flatten();
        drop(sections);
        if let Some(period) = period {
            grace.end(period);
        }
    }
}

// SAFETY: a period ends after those sections that ran at its start; a section that
// begins later has had the mutex after the thread that started the period.
unsafe impl Grace for ModelGrace {
    type Section<'s> = Section<'s>;

    fn start(&self, period: Period) {
        let mut sections = self.sections.lock().unwrap();
        assert!(
            sections.period.is_none(),
            "two periods of a store at a time"
        );
        if sections.running.is_empty() || self.fault == Fault::NoWait {
            drop(sections);
            self.end(period);
        } else {
            sections.awaited = sections.running.clone();
            sections.period = Some(period);
        }
    }
}

#[derive(Default)]
struct Numbers(Vec<u32>);

impl Batch for Numbers {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a store's lock protects.
struct Pool {
    free_rows: Vec<u32>,
    free_pages: Vec<u32>,
    /// Who refers to each block.
    refs: Vec<usize>,
    /// Whether more than one ever did.
    shared: Vec<bool>,
    pending: Numbers,
    waiting: Numbers,
    /// Those that were free again after a grace period, and then used again.
    ripened: Vec<bool>,
}

/// A store, and what readers reach of its tables.
struct World {
    /// `ROWS` rows, then pages.
    blocks: Vec<Block>,
    /// The row of each table.
    roots: [AnyPlace; 2],
    state: AtomicU8,
    grace: ModelGrace,
    pool: Mutex<Pool>,
    fault: Fault,
}

/// How many rows there are, and blocks in all.
const ROWS: u32 = 3;
const BLOCKS: u32 = 6;
/// The row and the page with which the tables begin, and the class there.
const FIRST: (u32, u32) = (0, ROWS);
const FIRST_CLASS: u32 = 0;

/// What a writer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A new page: in the row that is there, or in a new one if that was ever shared.
    Page,
    /// A new page in a new row.
    Row,
    Reclaim,
}
use Step::{Page, Reclaim, Row};

impl World {
    /// As many tables (1 or 2), with one row between them.
    fn new(tables: usize, fault: Fault) -> Self {
        let block = |_| Block {
            words: UnsafeCell::new(FIRST_CLASS),
            place: AnyPlace::new(FIRST.1, fault),
        };
        let root = || AnyPlace::new(FIRST.0, fault);
        let mut refs = vec![0; BLOCKS as usize];
        let mut shared = vec![false; BLOCKS as usize];
        (refs[FIRST.0 as usize], refs[FIRST.1 as usize]) = (tables, 1);
        shared[FIRST.0 as usize] = tables > 1;
        Self {
            blocks: (0..BLOCKS).map(block).collect(),
            roots: [root(), root()],
            state: AtomicU8::new(grace::IDLE),
            grace: ModelGrace {
                sections: Mutex::default(),
                fault,
            },
            pool: Mutex::new(Pool {
                free_rows: (FIRST.0 + 1..ROWS).collect(),
                free_pages: (FIRST.1 + 1..BLOCKS).collect(),
                refs,
                shared,
                pending: Numbers::default(),
                waiting: Numbers::default(),
                ripened: vec![false; BLOCKS as usize],
            }),
            fault,
        }
    }

    fn block(&self, number: u32) -> &Block {
        &self.blocks[number as usize]
    }

    /// A lookup: the same words twice, for a page does not change under a reader.
    fn look_up(&self, table: usize) -> u32 {
        let _section = self.grace.enter();
        let row = self.block(self.roots[table].read());
        // SAFETY: loom finds an access beside this one that nothing orders.
        row.words.with(|words| unsafe { *words });
        let page = self.block(row.place.read());
        // SAFETY: as above.
        let words = || page.words.with(|words| unsafe { *words });
        let class = words();
        assert_eq!(words(), class, "a page changed under its reader");
        class
    }

    /// One step of a table's writer. What it finds no memory for is not done.
    fn write(&self, table: usize, step: Step, class: u32) {
        let mut pool = self.pool.lock().unwrap();
        let pool = &mut *pool;
        if step != Reclaim {
            let _no_memory = self.change(pool, table, step, class);
        }
        self.collect(pool);
    }

    /// Makes a page, and a row if there must be one, and publishes them.
    fn change(&self, pool: &mut Pool, table: usize, step: Step, class: u32) -> Option<()> {
        let old = self.roots[table].own();
        let own = match self.fault {
            Fault::SharedInPlace => pool.refs[old as usize] == 1,
            _ => !pool.shared[old as usize],
        };
        let page = self.make(pool, class, false)?;
        if step == Page && own {
            let place = &self.block(old).place;
            let before = place.own();
            place.publish(page);
            self.release(pool, before);
            return Some(());
        }
        let Some(row) = self.make(pool, class, true) else {
            pool.free_pages.push(page);
            return None;
        };
        // Nobody knows the row yet: this stands for a plain write.
        self.block(row).place.publish(page);
        if self.fault == Fault::PeriodTooEarly {
            self.release(pool, old);
            self.collect(pool);
            self.roots[table].publish(row);
        } else {
            self.roots[table].publish(row);
            self.release(pool, old);
        }
        Some(())
    }

    /// A block that nobody knows yet.
    fn make(&self, pool: &mut Pool, class: u32, row: bool) -> Option<u32> {
        let free = if row {
            &mut pool.free_rows
        } else {
            &mut pool.free_pages
        };
        let number = free.pop()?;
        let words = &self.block(number).words;
        // SAFETY: as in `look_up`.
        words.with_mut(|words| unsafe { *words = class });
        pool.refs[number as usize] = 1;
        REUSED.with(|reused| reused.set(reused.get() + usize::from(pool.ripened[number as usize])));
        pool.shared[number as usize] = false;
        Some(number)
    }

    /// Gives up a reference. A row whose last it was gives up its page.
    fn release(&self, pool: &mut Pool, block: u32) {
        let refs = &mut pool.refs[block as usize];
        *refs -= 1;
        if *refs > 0 {
            return;
        }
        if block < ROWS {
            self.release(pool, self.block(block).place.own());
        }
        if self.fault == Fault::NoGrace {
            free(pool, Numbers(vec![block]));
        } else {
            pool.pending.0.push(block);
        }
    }

    fn collect(&self, pool: &mut Pool) {
        if self.fault == Fault::BatchesMixed && !pool.waiting.is_empty() {
            pool.waiting.0.append(&mut pool.pending.0);
        }
        let Pool {
            pending, waiting, ..
        } = pool;
        let ripe = turn(&self.state, pending, waiting, &self.grace);
        for &block in &ripe.0 {
            pool.ripened[block as usize] = true;
        }
        free(pool, ripe);
    }
}

fn free(pool: &mut Pool, Numbers(blocks): Numbers) {
    for block in blocks {
        if block < ROWS {
            pool.free_rows.push(block);
        } else {
            pool.free_pages.push(block);
        }
    }
}

thread_local! {
    /// How often a block was used again, in all runs of this thread's case. (All
    /// threads of a model are coroutines of one.)
    static REUSED: Cell<usize> = const { Cell::new(0) };
}

/// What runs side by side: a writer for each table, and a reader of the last one.
struct Case {
    writers: &'static [&'static [Step]],
    lookups: usize,
}

/// The class of a table's change.
fn class_of(table: usize, change: usize) -> u32 {
    (table as u32 + 1) * 100 + change as u32
}

/// Looks up again and again: what comes is what the table's own writer put there, and
/// it does not go back.
fn read(world: &World, table: usize, lookups: usize) {
    let mut last = FIRST_CLASS;
    for _ in 0..lookups {
        let class = world.look_up(table);
        let own = class == FIRST_CLASS || class / 100 == table as u32 + 1;
        assert!(own, "class {class} was never that of table {table}");
        assert!(class >= last, "class {class} after {last}");
        last = class;
    }
}

/// Runs a case in all interleavings in which no more than `PREEMPTIONS` times a
/// thread is stopped that could go on.
fn explore(case: &'static Case, fault: Fault) {
    const PREEMPTIONS: usize = 4;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(move || run(case, fault));
}

fn run(case: &'static Case, fault: Fault) {
    let last = case.writers.len() - 1;
    let world = Arc::new(World::new(case.writers.len(), fault));
    let write = |world: &World, table: usize| {
        for (change, &step) in case.writers[table].iter().enumerate() {
            world.write(table, step, class_of(table, change));
        }
    };
    let beside = world.clone();
    let reader = thread::spawn(move || read(&beside, last, case.lookups));
    let others: Vec<_> = (0..last)
        .map(|table| {
            let world = world.clone();
            thread::spawn(move || write(&world, table))
        })
        .collect();
    write(&world, last);
    reader.join().unwrap();
    for other in others {
        other.join().unwrap();
    }
}

/// Pages of a table's own row, replaced in place and used again.
static PAGES: Case = Case {
    writers: &[&[Page, Reclaim, Page, Page, Page]],
    lookups: 2,
};
/// Rows, replaced and used again with their pages.
static WHOLE_ROWS: Case = Case {
    writers: &[&[Row, Reclaim, Row, Row, Row]],
    lookups: 2,
};
/// Two tables leave the row that they had in common.
static TWO_TABLES: Case = Case {
    writers: &[&[Page, Page, Page], &[Row, Page]],
    lookups: 1,
};

macro_rules! nothing_goes_wrong {
    ($($name:ident: $case:ident;)*) => { $(
        #[test]
        fn $name() {
            explore(&$case, Fault::None);
            assert!(REUSED.get() > 0, "no block was used again");
        }
    )* };
}

nothing_goes_wrong! {
    nothing_goes_wrong_page_by_page: PAGES;
    nothing_goes_wrong_row_by_row: WHOLE_ROWS;
    nothing_goes_wrong_with_two_tables: TWO_TABLES;
}

macro_rules! found {
    ($($name:ident: $fault:ident in $case:ident, $message:literal;)*) => { $(
        #[test]
        #[should_panic(expected = $message)]
        fn $name() {
            explore(&$case, Fault::$fault);
        }
    )* };
}

found! {
    relaxed_reads_are_found: ReadRelaxed in PAGES, "Causality violation";
    relaxed_publication_is_found: PublishRelaxed in PAGES, "Causality violation";
    relaxed_reads_of_rows_are_found: ReadRelaxed in WHOLE_ROWS, "Causality violation";
    relaxed_publication_of_rows_is_found: PublishRelaxed in WHOLE_ROWS, "Causality violation";
    a_relaxed_end_of_a_period_is_found: ElapsedRelaxed in PAGES, "Causality violation";
    a_period_that_does_not_wait_is_found: NoWait in PAGES, "Causality violation";
    reuse_without_grace_is_found: NoGrace in PAGES, "Causality violation";
    reuse_of_rows_without_grace_is_found: NoGrace in WHOLE_ROWS, "Causality violation";
    a_period_before_publication_is_found: PeriodTooEarly in WHOLE_ROWS, "Causality violation";
    a_batch_that_grows_during_a_period_is_found: BatchesMixed in PAGES, "Causality violation";
    a_shared_row_changed_in_place_is_found: SharedInPlace in TWO_TABLES, "was never that of table 1";
}
