// SPDX-License-Identifier: BSD-2-Clause
//! What is raced does what it is raced for: all that contenders are given reaches the
//! device, by several threads, if there is room for it.

use std::thread;
use weft_bench::queue::contender::{OURS, peers};
use weft_bench::queue::device::{Device, Packet};

#[test]
fn all_packets_reach_the_device() {
    // So few at a time that no queue is full.
    const THREADS: usize = 3;
    const CALLS: usize = 8;
    for contender in peers().into_iter().chain([OURS]) {
        for batch in [1, 32] {
            let (device, outcome) = Device::new(true);
            let queue = (contender.make)(device).unwrap();
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        let packets = Packet::several(batch);
                        packets.iter().for_each(|packet| packet.stamp());
                        (0..CALLS).for_each(|_| queue.submit(&packets));
                    });
                }
            });
            drop(queue);
            let outcome = outcome.recv().unwrap();
            let sent = (THREADS * CALLS * batch) as u64;
            assert_eq!(outcome.sent, sent, "{}", contender.name);
            assert_eq!(outcome.delays.len() as u64, sent);
        }
    }
}
