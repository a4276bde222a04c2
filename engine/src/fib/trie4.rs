// SPDX-License-Identifier: BSD-2-Clause
//! Longest-prefix match of IPv4 over the nodes of [`arena`](super::arena).
//!
//! Addresses and prefixes are `u32` in host order. For one writer and any number
//! of readers; see the essay of [`fib`](super).

use super::arena::{Arena, Cursor, Entry, Node, Reader, Side};
use super::grace::{Grace, Leave, Memory};
use super::{FibError, Figures};

/// The longest prefix.
const BITS: u8 = 32;

/// A table of IPv4 prefixes: the owner of its memory and the writer's end of it.
pub struct Trie4<M: Memory, G: Grace> {
    arena: Arena<M, G>,
}

/// The writer's end of a table that was [split](Trie4::split).
pub struct Writer<'t, M: Memory, G: Grace> {
    arena: &'t mut Arena<M, G>,
}

impl<M: Memory, G: Grace> Trie4<M, G> {
    /// An empty table. It holds no more than a few cache lines until the first
    /// prefix comes. [`FibError::OutOfMemory`] if even these could not be had.
    pub fn new(memory: M, grace: G) -> Result<Self, FibError> {
        Ok(Self {
            arena: Arena::new(memory, grace)?,
        })
    }

    /// As [`Writer::insert`].
    pub fn insert(&mut self, prefix: u32, plen: u8, class: u32) -> Result<Option<u32>, FibError> {
        self.writer().insert(prefix, plen, class)
    }

    /// As [`Writer::remove`].
    pub fn remove(&mut self, prefix: u32, plen: u8) -> Result<Option<u32>, FibError> {
        self.writer().remove(prefix, plen)
    }

    /// As [`Writer::reclaim`].
    pub fn reclaim(&mut self) {
        self.arena.reclaim();
    }

    /// The class of the longest prefix that covers `dst`, or 0. For the owner,
    /// who knows that nobody changes the table; others have a [`Reader`].
    pub fn lookup(&self, dst: u32) -> u32 {
        walk(self.arena.root(), dst)
    }

    /// The class of exactly this prefix, if it is in the table.
    pub fn get(&self, prefix: u32, plen: u8) -> Option<u32> {
        let mut node = self.arena.root();
        while node.len() < plen && plen <= BITS {
            node = node.child(Side::of(prefix, node.len()))?;
        }
        Some(node.class()).filter(|&class| class != 0 && node.key() == prefix && node.len() == plen)
    }

    /// Calls `visit(prefix, plen, class)` for each prefix, sorted by prefix and
    /// the shorter first. Iterative, with a fixed stack of about 300 bytes.
    pub fn for_each(&self, mut visit: impl FnMut(u32, u8, u32)) {
        // One place for each length at which a walk can leave a side for later.
        let mut later: [Option<&Node>; BITS as usize] = [None; BITS as usize];
        let mut depth = 0usize;
        let mut next = Some(self.arena.root());
        while let Some(node) = next {
            let class = node.class();
            if class != 0 {
                visit(node.key(), node.len(), class);
            }
            let (zero, one) = (node.child(Side::Zero), node.child(Side::One));
            if let (Some(_), Some(one), Some(place)) = (zero, one, later.get_mut(depth)) {
                *place = Some(one);
                depth = depth.wrapping_add(1);
            }
            next = zero.or(one).or_else(|| {
                depth = depth.checked_sub(1)?;
                later.get_mut(depth)?.take()
            });
        }
    }

    /// What the table holds.
    pub fn figures(&self) -> Figures {
        self.arena.figures()
    }

    /// The two ends of the table: one writer, and a reader that may be copied and
    /// sent to other threads, both for as long as the table is borrowed.
    pub fn split(&mut self) -> (Writer<'_, M, G>, Reader<'_, G>) {
        let (arena, reader) = self.arena.split();
        (Writer { arena }, reader)
    }

    /// A reader for as long as nobody changes the table, or, made free of that by
    /// [`Reader::detach`], for C.
    pub fn reader(&self) -> Reader<'_, G> {
        self.arena.reader()
    }

    /// Says that the owner wants to drop the table. To be called when no lookup
    /// can begin any more; see "Going away" in [`fib`](super).
    pub fn abandon(&mut self) -> Leave {
        self.arena.abandon()
    }

    fn writer(&mut self) -> Writer<'_, M, G> {
        Writer {
            arena: &mut self.arena,
        }
    }
}

impl<M: Memory, G: Grace> Writer<'_, M, G> {
    /// Puts a prefix in, or changes its class, and returns the class it had.
    ///
    /// Never sleeps, unless [`Memory`] does. On an error the table is as it was.
    pub fn insert(&mut self, prefix: u32, plen: u8, class: u32) -> Result<Option<u32>, FibError> {
        check(prefix, plen)?;
        if class == 0 {
            return Err(FibError::ZeroClass);
        }
        let entry = Entry {
            key: prefix,
            len: plen,
            class,
        };
        let cursor = nearest(self.arena.cursor(), entry);
        if cursor.node().len() == plen {
            let old = cursor.set_class(class);
            return Ok(Some(old).filter(|&old| old != 0));
        }
        let side = Side::of(prefix, cursor.node().len());
        let below = cursor
            .node()
            .child(side)
            .map(|child| (child.key(), child.agreement(prefix)));
        match below {
            None => cursor.put(side, entry)?,
            Some((key, agreed)) if agreed >= plen => {
                cursor.wrap(side, entry, Side::of(key, plen))?
            }
            Some((key, agreed)) => {
                let glue = Entry {
                    key: prefix & mask(agreed),
                    len: agreed,
                    class: 0,
                };
                cursor.fork(side, glue, Side::of(key, agreed), entry)?;
            }
        }
        Ok(None)
    }

    /// Takes a prefix out, and returns the class it had, or `None` if it was not
    /// there. Needs no memory.
    pub fn remove(&mut self, prefix: u32, plen: u8) -> Result<Option<u32>, FibError> {
        check(prefix, plen)?;
        let cursor = nearest(
            self.arena.cursor(),
            Entry {
                key: prefix,
                len: plen,
                class: 0,
            },
        );
        let class = cursor.node().class();
        if cursor.node().len() != plen || class == 0 {
            return Ok(None);
        }
        cursor.erase();
        Ok(Some(class))
    }

    /// Takes back the memory of prefixes removed whose grace period has elapsed,
    /// and starts the next period if there is a need. Every change does so too.
    pub fn reclaim(&mut self) {
        self.arena.reclaim();
    }

    /// What the table holds.
    pub fn figures(&self) -> Figures {
        self.arena.figures()
    }
}

impl<G: Grace> Reader<'_, G> {
    /// The class of the longest prefix that covers `dst`, or 0 if none does: an
    /// answer that was right at some moment of this call.
    ///
    /// Runs beside the writer; takes no lock, does not allocate, cannot panic.
    pub fn lookup(&self, section: &G::Section<'_>, dst: u32) -> u32 {
        let (shared, root) = self.enter(section);
        let mut generation = shared.generation();
        loop {
            let class = walk(root, dst);
            let now = shared.generation();
            if now == generation {
                return class;
            }
            generation = now;
        }
    }
}

/// The last class on the way from `root` to `dst`.
#[inline]
fn walk(root: &Node, dst: u32) -> u32 {
    let mut class = root.class();
    let mut node = root;
    while node.len() < BITS {
        match node.child(Side::of(dst, node.len())) {
            Some(child) if child.covers(dst) => node = child,
            _ => break,
        }
        let own = node.class();
        if own != 0 {
            class = own;
        }
    }
    class
}

/// Moves a cursor down to the longest node that covers the prefix or equals it.
fn nearest<M: Memory, G: Grace>(mut cursor: Cursor<'_, M, G>, prefix: Entry) -> Cursor<'_, M, G> {
    while cursor.node().len() < prefix.len {
        let side = Side::of(prefix.key, cursor.node().len());
        match cursor.node().child(side) {
            Some(child) if child.len() <= prefix.len && child.covers(prefix.key) => {
                cursor.descend(side);
            }
            _ => break,
        }
    }
    cursor
}

/// A mask of the first `len` bits, 0 to 32.
pub(super) fn mask(len: u8) -> u32 {
    u32::MAX
        .checked_shl(u32::from(BITS.saturating_sub(len)))
        .unwrap_or(0)
}

/// Refuses what is not a prefix.
pub(super) fn check(prefix: u32, plen: u8) -> Result<(), FibError> {
    if plen > BITS {
        return Err(FibError::PrefixLength(plen));
    }
    if prefix & !mask(plen) != 0 {
        return Err(FibError::HostBits { prefix, plen });
    }
    Ok(())
}
