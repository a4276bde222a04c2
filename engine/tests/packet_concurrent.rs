// SPDX-License-Identifier: BSD-2-Clause
//! Threads, each on a CPU of its own, make packets, hand them to one another, share
//! and copy them, let tags outlive their buffers, while another one reclaims memory
//! and one asks for figures. What a packet carries is what its maker put there, and
//! at the end nothing is left. Under a race detector it shows more than by itself.

#[allow(dead_code)]
mod packet_rig;

use packet_rig::{Heap, HostPool, Number, close, pool, sleepable};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use weft_engine::packet::{Batch, Packet, Shared, Writable, end_of_data, free_tags};
use weft_engine::sim::cpus::HostCpus;
use weft_engine::sim::random::Random;

const CPUS: usize = 3;
const ROUNDS: usize = if cfg!(miri) { 3 } else { 3_000 };

/// Packets on their way to a CPU.
#[derive(Default)]
struct Mailbox {
    writable: Mutex<Vec<Packet<Writable>>>,
    shared: Mutex<Vec<Packet<Shared>>>,
}

/// Fills a packet with one number over and over.
fn fill(packet: &mut Packet<Writable>, number: u64) {
    packet.extend(64).unwrap().fill(number as u8);
    packet.meta_mut().timestamp = number;
    packet.insert_tag::<Number<1>>(number).unwrap();
}

fn check<S: weft_engine::packet::State>(packet: &Packet<S>) {
    let number = packet.meta().timestamp;
    assert_eq!(packet.len(), 64);
    assert!(packet.head().iter().all(|&byte| byte == number as u8));
    assert!(packet.tag::<Number<1>>().is_none_or(|&tag| tag == number));
}

fn work(cpu: usize, pool: &HostPool, boxes: &[Mailbox; CPUS]) {
    HostCpus::go(cpu);
    let mut random = Random::new(cpu as u64);
    for round in 0..ROUNDS {
        let mut batch: Batch<Writable, 32> = Batch::new();
        pool.packets(64, random.below(33), &mut batch).unwrap();
        let other = &boxes[random.below(CPUS)];
        for mut packet in batch.drain() {
            fill(&mut packet, (round << 2 | cpu) as u64);
            match random.below(4) {
                0 => drop(packet),
                1 => {
                    let shared = packet.share();
                    let clones = boxes.iter().map(|to| to.shared.lock().unwrap());
                    clones.for_each(|mut to| to.push(shared.clone()));
                    check(&shared);
                }
                _ => other.writable.lock().unwrap().push(packet),
            }
        }
        let mine = std::mem::take(&mut *boxes[cpu].writable.lock().unwrap());
        mine.into_iter()
            .for_each(|packet| receive(pool, packet, &mut random));
        let mine = std::mem::take(&mut *boxes[cpu].shared.lock().unwrap());
        for packet in mine {
            check(&packet);
            if random.percent(50) {
                let mut own = packet.make_writable().unwrap();
                check(&own);
                own.head_mut().fill(0);
            }
        }
    }
}

/// A packet of whichever thread: it is as it was made, and ends in one of many ways.
fn receive(pool: &HostPool, mut packet: Packet<Writable>, random: &mut Random) {
    check(&packet);
    match random.below(3) {
        // The tags go to another packet, and this one first.
        0 => {
            let mut other = pool.packet(64).unwrap();
            // SAFETY: a packet's tags, which it has given away.
            unsafe { other.give_tags(packet.take_tags()) };
            drop(packet);
            assert!(other.tag::<Number<1>>().is_some());
        }
        // Data and tags are freed by two threads.
        1 => {
            let tags = packet.take_tags().expose_provenance();
            let data = packet.into_raw().as_ptr().expose_provenance();
            thread::scope(|scope| {
                // SAFETY: the tags were the packet's, whose only reference `data` is.
                scope.spawn(move || unsafe {
                    free_tags(std::ptr::with_exposed_provenance_mut(tags));
                });
                let data = std::ptr::with_exposed_provenance_mut(data);
                // SAFETY: as above.
                unsafe { end_of_data(std::ptr::NonNull::new_unchecked(data)) };
            });
        }
        _ => drop(packet),
    }
}

#[test]
fn threads_share_a_pool() {
    let heap = Heap::default();
    let pool = pool(&heap, CPUS);
    let boxes: [Mailbox; CPUS] = Default::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CPUS)
            .map(|cpu| {
                let (pool, boxes) = (&pool, &boxes);
                scope.spawn(move || work(cpu, pool, boxes))
            })
            .collect();
        let (pool, done) = (&pool, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                pool.reclaim(&mut sleepable());
                let figures = pool.figures();
                assert!(figures.out() <= figures.classes.iter().map(|c| c.buffers).sum());
                thread::yield_now();
            }
        });
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    drop(boxes);
    HostCpus::go(0);
    close(pool, &heap);
}

/// A pool is closed as soon as it can be, while others free their last packets.
#[test]
fn a_pool_closes_behind_the_last_packet() {
    for round in 0..if cfg!(miri) { 3 } else { 300 } {
        let heap = Heap::default();
        let mut pool = pool(&heap, CPUS);
        HostCpus::go(0);
        let mut packets: Vec<_> = (0..100).map(|_| pool.packet(round).unwrap()).collect();
        if round % 2 == 1 {
            pool.limit_bytes(1);
        }
        let halves = [packets.split_off(50), packets];
        thread::scope(|scope| {
            for (cpu, half) in halves.into_iter().enumerate() {
                scope.spawn(move || {
                    HostCpus::go(cpu + 1);
                    drop(half);
                });
            }
            while let Err(still) = pool.close(&mut sleepable()) {
                pool = still.pool;
                thread::yield_now();
            }
        });
        assert_eq!(heap.bytes(), 0);
    }
}
