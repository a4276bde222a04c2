// SPDX-License-Identifier: BSD-2-Clause
//! Random sequences of steps on packets of one pool, on several CPUs, with memory that
//! fails and limits that change, for some seconds. Each packet is held against a model
//! of what it carries; nothing is lost and nothing there twice, and at the end not a
//! byte is left. A run that fails names its seed, and the fewest bytes with which it
//! still fails.
//!
//! `WEFT_SEQUENCES_SECONDS` makes it run longer.

#[allow(dead_code)]
mod packet_rig;

use arbitrary::{Arbitrary, Result, Unstructured};
use packet_rig::{Heap, HostPool, Number, bytes, close, pool, sleepable};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use weft_engine::packet::{
    Batch, Entry, HEADROOM, Meta, Packet, Shared, State, Writable, free_tags,
};
use weft_engine::sim::chain::{Chains, HostChain};
use weft_engine::sim::cpus::HostCpus;

const CPUS: usize = 3;
/// Packets at a time: enough to fill and empty caches again and again.
const MOST: usize = 400;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    /// From now on things happen on another CPU, or on one that the pool does not know.
    Go(u8),
    Make(u16),
    MakeBatch(u8, u16),
    /// A packet with a foreign body.
    Carry(u16, u8),
    Drop(u8),
    /// So many packets are dropped as a batch.
    DropBatch(u8),
    Append(u8, u8),
    Prepend(u8, u8),
    TrimFront(u8, u16),
    TrimBack(u8, u8),
    PullUp(u8, u8),
    PutDown(u8),
    Insert(u8, u8, u64),
    Remove(u8, u8),
    /// `m_move_pkthdr`: one packet's tags go to another one.
    MoveTags(u8, u8),
    /// Tags leave their packet, and are freed by and by.
    TakeTags(u8),
    FreeTags(u8),
    Share(u8),
    Clone(u8),
    TryWritable(u8),
    MakeWritable(u8),
    FailAllocation(u8),
    Limit(u8, u8),
    LimitBytes(u8),
    LimitBodies(bool),
    Reclaim,
}

/// What a packet should carry.
#[derive(Clone, Debug, Default)]
struct Carried {
    bytes: Vec<u8>,
    /// Bytes that are in a foreign body.
    body: usize,
    meta: Meta,
    /// The last one inserted is the first.
    tags: Vec<(u16, u64)>,
}

enum Any {
    Writable(Packet<Writable>),
    Shared(Packet<Shared>),
}

/// All that there is.
struct World {
    pool: HostPool,
    heap: Heap,
    chains: Arc<Chains>,
    packets: Vec<(Any, Carried)>,
    loose: Vec<*mut Entry>,
    made: usize,
}

fn is_as_carried<S: State>(packet: &Packet<S>, carried: &Carried) {
    let mut all = vec![0; carried.bytes.len() + 9];
    assert_eq!(packet.copy_out(0, &mut all), carried.bytes.len());
    all.truncate(carried.bytes.len());
    assert_eq!(all, carried.bytes);
    assert_eq!(packet.len(), carried.bytes.len());
    assert_eq!(packet.head().len(), carried.bytes.len() - carried.body);
    assert_eq!(packet.meta(), &carried.meta);
    let first = |id| {
        carried
            .tags
            .iter()
            .find(|tag| tag.0 == id)
            .map(|tag| &tag.1)
    };
    assert_eq!(packet.tag::<Number<1>>(), first(1));
    assert_eq!(packet.tag::<Number<2>>(), first(2));
    assert_eq!(packet.tag::<Number<3>>(), first(3));
}

impl World {
    fn new() -> Self {
        let heap = Heap::default();
        Self {
            pool: pool(&heap, CPUS),
            heap,
            chains: Arc::default(),
            packets: Vec::new(),
            loose: Vec::new(),
            made: 0,
        }
    }

    fn check(&self) {
        let mut places = HashSet::new();
        for (packet, carried) in &self.packets {
            match packet {
                Any::Writable(packet) => {
                    assert!(places.insert(packet.embedded()), "one buffer, two owners");
                    is_as_carried(packet, carried);
                }
                Any::Shared(packet) => is_as_carried(packet, carried),
            }
        }
        for (packet, _) in &self.packets {
            if let Any::Shared(packet) = packet {
                places.insert(packet.embedded());
            }
        }
        // Loose and moved tags hold buffers of which no packet is left.
        assert!(self.pool.out() >= places.len());
    }

    /// The place of a packet that may be written to, from this number on.
    fn writable(&self, nth: u8) -> Option<usize> {
        let len = self.packets.len();
        let mut places = (0..len).map(|at| (at + usize::from(nth)) % len);
        places.find(|&at| matches!(self.packets[at].0, Any::Writable(_)))
    }

    fn change(&mut self, nth: u8, with: impl FnOnce(&mut Packet<Writable>, &mut Carried)) {
        let at = self.writable(nth);
        if let Some((Any::Writable(packet), carried)) = at.map(|at| &mut self.packets[at]) {
            with(packet, carried);
        }
    }

    fn swap(&mut self, nth: u8, with: impl FnOnce(Any) -> Any) {
        if !self.packets.is_empty() {
            let at = usize::from(nth) % self.packets.len();
            let (packet, carried) = self.packets.swap_remove(at);
            self.packets.push((with(packet), carried));
        }
    }

    /// Fills a new packet.
    fn add(&mut self, mut packet: Packet<Writable>, len: usize) {
        self.made += 1;
        let meta = Meta {
            flow_hash: self.made as u32,
            ..Meta::default()
        };
        let bytes = bytes(len, self.made);
        assert!(packet.is_empty() && packet.headroom() == HEADROOM);
        assert_eq!(packet.meta(), &Meta::default());
        packet.append(&bytes).unwrap();
        *packet.meta_mut() = meta;
        let carried = Carried {
            bytes,
            meta,
            ..Carried::default()
        };
        self.packets.push((Any::Writable(packet), carried));
    }

    fn make(&mut self, len: u16) {
        let len = usize::from(len % 2048);
        if self.packets.len() < MOST
            && let Ok(packet) = self.pool.packet(len)
        {
            self.add(packet, len);
        }
    }

    fn make_batch(&mut self, count: u8, len: u16) {
        let len = usize::from(len % 2048);
        let count = usize::from(count) % 64;
        if self.packets.len() + count <= MOST {
            let mut batch: Batch<Writable, 48> = Batch::new();
            let result = self.pool.packets(len, count, &mut batch);
            assert!(result.is_err() || batch.len() == count.min(48));
            batch.drain().for_each(|packet| self.add(packet, len));
        }
    }

    fn carry(&mut self, len: u16, cut: u8) {
        let len = usize::from(len % 3000);
        let Ok(mut packet) = self.pool.packet(0) else {
            return;
        };
        self.made += 1;
        let whole = bytes(len, self.made);
        let pieces = whole.chunks(usize::from(cut) + 1);
        let chain = HostChain::new(pieces.chain([&[][..]]), &self.chains);
        chain.load(&mut packet).unwrap();
        let carried = Carried {
            bytes: whole,
            body: len,
            ..Carried::default()
        };
        self.packets.push((Any::Writable(packet), carried));
    }

    fn drop_batch(&mut self, count: u8) {
        let mut batch: Batch<Writable, 32> = Batch::new();
        for _ in 0..count % 48 {
            match self.packets.pop() {
                Some((Any::Writable(packet), _)) => drop(batch.push(packet)),
                Some((Any::Shared(packet), _)) => drop(packet),
                None => break,
            }
        }
    }

    fn insert(&mut self, nth: u8, id: u8, number: u64) {
        self.change(nth, |packet, carried| {
            let id = u16::from(id) % 3 + 1;
            let result = match id {
                1 => packet.insert_tag::<Number<1>>(number),
                2 => packet.insert_tag::<Number<2>>(number),
                _ => packet.insert_tag::<Number<3>>(number),
            };
            match result {
                Ok(()) => carried.tags.insert(0, (id, number)),
                Err(full) => assert_eq!((full.needs, full.area), (32, 64)),
            }
        });
    }

    fn remove(&mut self, nth: u8, id: u8) {
        self.change(nth, |packet, carried| {
            let id = u16::from(id) % 3 + 1;
            let at = carried.tags.iter().position(|tag| tag.0 == id);
            let number = match id {
                1 => packet.remove_tag::<Number<1>>(),
                2 => packet.remove_tag::<Number<2>>(),
                _ => packet.remove_tag::<Number<3>>(),
            };
            assert_eq!(number, at.map(|at| carried.tags.remove(at).1));
        });
    }

    fn move_tags(&mut self, from: u8, to: u8) {
        let (Some(from), Some(to)) = (self.writable(from), self.writable(to)) else {
            return;
        };
        if from == to || !self.packets[to].1.tags.is_empty() {
            return;
        }
        let mut taken = None;
        if let (Any::Writable(packet), carried) = &mut self.packets[from] {
            taken = Some((packet.take_tags(), std::mem::take(&mut carried.tags)));
        }
        if let (Some((entries, tags)), (Any::Writable(packet), carried)) =
            (taken, &mut self.packets[to])
        {
            // SAFETY: a packet's tags, which it has given away.
            unsafe { packet.give_tags(entries) };
            carried.tags = tags;
        }
    }

    fn take_tags(&mut self, nth: u8) {
        let mut loose = None;
        self.change(nth, |packet, carried| {
            carried.tags.clear();
            loose = Some(packet.take_tags());
        });
        self.loose.extend(loose);
    }

    fn free_tags(&mut self, nth: u8) {
        if !self.loose.is_empty() {
            let at = usize::from(nth) % self.loose.len();
            // SAFETY: tags that left their packet, for the last time.
            unsafe { free_tags(self.loose.swap_remove(at)) };
        }
    }

    fn clone(&mut self, nth: u8) {
        let len = self.packets.len().max(1);
        if let Some((Any::Shared(packet), carried)) = self.packets.get(usize::from(nth) % len) {
            let clone = (Any::Shared(packet.clone()), carried.clone());
            self.packets.push(clone);
        }
    }

    fn make_writable(&mut self, nth: u8) {
        self.swap(nth, |packet| match packet {
            Any::Shared(packet) => match packet.make_writable() {
                Ok(packet) => Any::Writable(packet),
                Err((packet, _)) => Any::Shared(packet),
            },
            writable => writable,
        });
    }

    fn pull_up(&mut self, nth: u8, count: u8) {
        self.change(nth, |packet, carried| {
            let (head, count) = (packet.head().len(), usize::from(count));
            match packet.pull_up(count) {
                Ok(_) => carried.body -= count.saturating_sub(head),
                Err(error) => {
                    let few = count > carried.bytes.len();
                    assert!(few || count > error.room, "{error}");
                }
            }
        });
    }

    fn trim_front(&mut self, nth: u8, count: u16) {
        self.change(nth, |packet, carried| {
            let count = usize::from(count % 700);
            let done = packet.trim_front(count);
            assert_eq!(done, count.min(carried.bytes.len()));
            carried.bytes.drain(..done);
            carried.body = carried.body.min(carried.bytes.len());
        });
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Go(cpu) => HostCpus::go(usize::from(cpu) % (CPUS + 1)),
            Step::Make(len) => self.make(len),
            Step::MakeBatch(count, len) => self.make_batch(count, len),
            Step::Carry(len, cut) => self.carry(len, cut),
            Step::Drop(nth) if !self.packets.is_empty() => {
                drop(
                    self.packets
                        .swap_remove(usize::from(nth) % self.packets.len()),
                );
            }
            Step::DropBatch(count) => self.drop_batch(count),
            Step::Append(nth, count) => self.change(nth, |packet, carried| {
                let more = bytes(usize::from(count), carried.bytes.len());
                let room = packet.tailroom();
                let result = packet.append(&more);
                assert_eq!(result.is_ok(), more.len() <= room);
                if result.is_ok() {
                    carried.bytes.extend(more);
                }
            }),
            Step::Prepend(nth, count) => self.change(nth, |packet, carried| {
                let more = bytes(usize::from(count), carried.bytes.len());
                let room = packet.headroom();
                match packet.prepend(more.len()) {
                    Ok(head) => {
                        head[..more.len()].copy_from_slice(&more);
                        carried.bytes.splice(..0, more);
                    }
                    Err(_) => assert!(more.len() > room),
                }
            }),
            Step::TrimFront(nth, count) => self.trim_front(nth, count),
            Step::TrimBack(nth, count) => self.change(nth, |packet, carried| {
                let done = packet.trim_back(usize::from(count));
                carried.bytes.truncate(carried.bytes.len() - done);
            }),
            Step::PullUp(nth, count) => self.pull_up(nth, count),
            Step::PutDown(nth) => self.change(nth, |packet, carried| {
                if let Some(chain) = HostChain::unload(packet) {
                    let head = carried.bytes.len() - carried.body;
                    assert_eq!(chain.bytes(), carried.bytes.split_off(head));
                    carried.body = 0;
                }
            }),
            Step::Insert(nth, id, number) => self.insert(nth, id, number),
            Step::Remove(nth, id) => self.remove(nth, id),
            Step::MoveTags(from, to) => self.move_tags(from, to),
            Step::TakeTags(nth) => self.take_tags(nth),
            Step::FreeTags(nth) => self.free_tags(nth),
            Step::Share(nth) => self.swap(nth, |packet| match packet {
                Any::Writable(packet) => Any::Shared(packet.share()),
                shared => shared,
            }),
            Step::Clone(nth) => self.clone(nth),
            Step::TryWritable(nth) => self.swap(nth, |packet| match packet {
                Any::Shared(packet) => packet
                    .try_writable()
                    .map_or_else(Any::Shared, Any::Writable),
                writable => writable,
            }),
            Step::MakeWritable(nth) => self.make_writable(nth),
            Step::FailAllocation(k) => self.heap.fail_after(usize::from(k) % 4),
            Step::Limit(class, most) => {
                let most = if most < 128 { usize::MAX } else { most.into() };
                self.pool.limit_class(usize::from(class) % 3, most);
            }
            Step::LimitBytes(most) => {
                let most = if most < 128 {
                    usize::MAX
                } else {
                    usize::from(most) << 11
                };
                self.pool.limit_bytes(most);
            }
            Step::LimitBodies(on) => self.chains.limit(usize::from(on)),
            Step::Reclaim => {
                let before = self.heap.bytes();
                let freed = self.pool.reclaim(&mut sleepable());
                assert_eq!(self.heap.bytes() + freed, before);
            }
            Step::Drop(_) => {}
        }
    }

    fn end(self) {
        let Self {
            pool,
            heap,
            chains,
            packets,
            loose,
            ..
        } = self;
        drop(packets);
        for tags in loose {
            // SAFETY: tags that left their packet, for the last time.
            unsafe { free_tags(tags) };
        }
        assert_eq!(chains.alive(), 0, "bodies that were not freed");
        HostCpus::go(0);
        close(pool, &heap);
    }
}

fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut world = World::new();
    while !bytes.is_empty() {
        // Half of the steps make packets, or there would be too few.
        let step = match bytes.int_in_range(0u8..=5)? {
            0..=1 => Step::Make(bytes.arbitrary()?),
            2 => Step::MakeBatch(bytes.arbitrary()?, bytes.arbitrary()?),
            _ => bytes.arbitrary()?,
        };
        world.step(step);
        if bytes.ratio(1u8, 16u8)? {
            world.check();
        }
    }
    world.check();
    world.end();
    Ok(())
}

#[test]
fn any_sequence_of_steps_leaves_packets_as_they_should_be() {
    let seconds = std::env::var("WEFT_SEQUENCES_SECONDS");
    let seconds = seconds.map_or(5, |text| text.parse().expect("a number of seconds"));
    arbtest::arbtest(run)
        .size_min(256)
        .size_max(if cfg!(miri) { 1 << 10 } else { 8 << 10 })
        .budget(Duration::from_secs(seconds));
}
