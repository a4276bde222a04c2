// SPDX-License-Identifier: BSD-2-Clause
//! Packets and their pool, case by case.

#[allow(dead_code)]
mod packet_rig;

use packet_rig::{Heap, Number, bytes, close, pool, sleepable};
use std::sync::Arc;
use weft_engine::packet::{
    AllocError, BUNDLE, Batch, CopyError, EMBEDDED, Flags, HEADROOM, LONGEST, NoRoom, TagsFull,
};
use weft_engine::sim::chain::{Chains, HostChain};
use weft_engine::sim::cpus::HostCpus;

#[test]
fn each_length_has_the_smallest_buffer_that_fits() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    for (len, stride) in [
        (0, 512),
        (128, 512),
        (129, 1024),
        (576 + 18, 1024),
        (1500 + 18, 2048),
        (4000, 9472),
        (9000 + 18, 9472),
        (16_384 + 18, 17_408),
        (LONGEST, 17_408),
    ] {
        let mut packet = pool.packet(len).unwrap();
        assert_eq!(packet.stride(), stride, "{len} bytes");
        assert_eq!((packet.len(), packet.headroom()), (0, HEADROOM));
        assert!(packet.tailroom() >= len);
        packet.append(&bytes(len, len)).unwrap();
        assert_eq!(packet.head(), bytes(len, len));
        assert_eq!(packet.embedded().as_ptr().addr() % 64, 0);
    }
    let error = pool.packet(LONGEST + 1).unwrap_err();
    assert_eq!(
        error,
        AllocError::TooLong {
            len: LONGEST + 1,
            most: LONGEST
        }
    );
    assert_eq!(pool.figures().failures[error.index()], 1);
    close(pool, &heap);
}

/// A buffer's data is in no more pages than so many bytes need.
#[test]
fn data_crosses_no_more_pages_than_it_must() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let lens = [64, 594, 1518, 3600, 9018, 16_402];
    for len in lens.into_iter().take(if cfg!(miri) { 2 } else { 6 }) {
        let packets: Vec<_> = (0..70)
            .map(|_| {
                let mut packet = pool.packet(len).unwrap();
                packet.extend(len).unwrap();
                packet
            })
            .collect();
        for packet in packets {
            let first = packet.head().as_ptr().addr();
            let pages = (first + len - 1) / 4096 - first / 4096 + 1;
            let least = (len + HEADROOM + EMBEDDED + 64)
                .div_ceil(4096)
                .min(len.div_ceil(4096));
            assert_eq!(pages, least, "{len} bytes at {first:#x}");
        }
    }
    close(pool, &heap);
}

#[test]
fn bytes_come_and_go_at_both_ends() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(100).unwrap();
    packet.append(b"payload").unwrap();
    packet.prepend(4).unwrap()[..4].copy_from_slice(b"head");
    assert_eq!(packet.head(), b"headpayload");
    assert_eq!(packet.trim_front(2), 2);
    assert_eq!(packet.trim_back(3), 3);
    assert_eq!(packet.head(), b"adpayl");
    assert_eq!(packet.headroom(), HEADROOM - 2);
    let room = packet.headroom();
    let error = packet.prepend(room + 1).unwrap_err();
    assert_eq!(
        error,
        NoRoom {
            needs: room + 1,
            room
        }
    );
    let room = packet.tailroom();
    assert!(packet.extend(room + 1).is_err() && packet.extend(room).is_ok());
    assert!(packet.reserve(0).is_err(), "the packet has bytes");
    packet.trim_front(usize::MAX);
    assert!(packet.is_empty());
    packet.reserve(150).unwrap();
    assert_eq!((packet.headroom(), packet.len()), (150, 0));
    drop(packet);
    close(pool, &heap);
}

#[test]
fn sharing_counts_and_copies_only_when_shared() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(64).unwrap();
    packet.append(b"one").unwrap();
    packet.meta_mut().flow_hash = 17;
    packet.insert_tag::<Number<1>>(5).unwrap();
    let place = packet.embedded();
    let shared = packet.share();
    let other = shared.clone();
    let shared = shared.try_writable().unwrap_err();
    let mut copy = shared.make_writable().unwrap();
    assert_ne!(copy.embedded(), place);
    copy.head_mut()[0] = b'O';
    *copy.tag_mut::<Number<1>>().unwrap() = 6;
    assert_eq!(
        (other.head(), other.tag::<Number<1>>()),
        (&b"one"[..], Some(&5))
    );
    assert_eq!(
        (copy.head(), copy.tag::<Number<1>>()),
        (&b"One"[..], Some(&6))
    );
    assert_eq!((copy.meta().flow_hash, copy.headroom()), (17, HEADROOM));
    let alone = other.make_writable().unwrap();
    assert_eq!(alone.embedded(), place, "it was not copied");
    assert_eq!(pool.out(), 2);
    drop((alone, copy));
    close(pool, &heap);
}

#[test]
fn a_copy_that_fails_leaves_the_packet() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(2000 - 384).unwrap();
    packet.append(&bytes(1000, 1)).unwrap();
    let one = packet.share();
    let two = one.clone();
    pool.limit_class(2, 0);
    pool.reclaim(&mut sleepable());
    let (one, error) = one.make_writable().unwrap_err();
    assert_eq!(error, CopyError::Alloc(AllocError::ClassLimit { most: 0 }));
    assert_eq!(one.head(), bytes(1000, 1));
    drop(one);
    assert_eq!(two.try_writable().unwrap().head(), bytes(1000, 1));
    close(pool, &heap);
}

#[test]
fn tags_are_found_removed_and_refused_when_there_is_no_room() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(64).unwrap();
    assert_eq!(packet.tag::<Number<1>>(), None);
    packet.insert_tag::<Number<1>>(11).unwrap();
    packet.insert_tag::<Number<2>>(22).unwrap();
    let full = TagsFull {
        needs: 32,
        area: 64,
    };
    assert_eq!(packet.insert_tag::<Number<3>>(33), Err(full));
    assert_eq!(packet.tag::<Number<1>>(), Some(&11));
    assert_eq!(packet.remove_tag::<Number<1>>(), Some(11));
    assert_eq!(packet.remove_tag::<Number<1>>(), None);
    packet.insert_tag::<Number<3>>(33).unwrap();
    assert_eq!(packet.tag::<Number<2>>(), Some(&22));
    assert_eq!(packet.tag::<Number<3>>(), Some(&33));
    // The last one inserted hides the one before.
    packet.remove_tag::<Number<2>>();
    packet.insert_tag::<Number<3>>(34).unwrap();
    assert_eq!(packet.remove_tag::<Number<3>>(), Some(34));
    assert_eq!(packet.remove_tag::<Number<3>>(), Some(33));
    drop(packet);
    close(pool, &heap);
}

#[test]
fn a_body_is_walked_pulled_up_and_freed() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let chains = Arc::new(Chains::default());
    let whole = bytes(300, 3);
    let chain = HostChain::new([&whole[..10], &[], &whole[10..11], &whole[11..]], &chains);
    let mut packet = pool.packet(0).unwrap();
    chain.load(&mut packet).unwrap();
    assert_eq!(
        (packet.len(), packet.head().len(), packet.tailroom()),
        (300, 0, 0)
    );
    packet.prepend(14).unwrap().copy_from_slice(&[9; 14]);
    assert_eq!(
        packet.pull_up(14 + 40).unwrap(),
        [&[9; 14][..], &whole[..40]].concat()
    );
    assert_eq!((packet.len(), packet.head().len()), (314, 54));
    let mut out = [0; 400];
    assert_eq!(packet.copy_out(14, &mut out), 300);
    assert_eq!(&out[..300], &whole[..]);
    assert_eq!(packet.copy_out(60, &mut out[..5]), 5);
    assert_eq!(out[..5], whole[46..51]);
    let room = packet.pull_up(400).unwrap_err();
    assert_eq!(
        room,
        NoRoom {
            needs: 400,
            room: 142
        }
    );
    assert_eq!(packet.trim_front(64), 64);
    assert_eq!((packet.len(), packet.head().len()), (250, 0));
    let shared = packet.share();
    let copy = shared.clone().make_writable().unwrap();
    assert_eq!(chains.alive(), 2);
    chains.limit(2);
    let (other, error) = shared.clone().make_writable().unwrap_err();
    assert_eq!(error, CopyError::Body);
    assert_eq!(other.len(), 250);
    drop((shared, other, copy));
    close_with(pool, &heap, &chains);
}

fn close_with(pool: packet_rig::HostPool, heap: &Heap, chains: &Arc<Chains>) {
    assert_eq!(chains.alive(), 0, "bodies that were not freed");
    close(pool, heap);
}

#[test]
fn a_batch_keeps_the_order_and_frees_in_bulk() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut batch: Batch = Batch::new();
    pool.packets(100, 20, &mut batch).unwrap();
    pool.packets(1500, 100, &mut batch).unwrap();
    assert_eq!((batch.len(), batch.room()), (32, 0));
    let refused = batch.push(pool.packet(1).unwrap()).unwrap_err();
    for (index, packet) in batch.as_mut_slice().iter_mut().enumerate() {
        packet.meta_mut().queue = index as u16;
        packet.meta_mut().flags |= Flags::QUEUE;
    }
    let mut front: Batch<_, 8> = Batch::new();
    assert_eq!(front.append(&mut batch), 8);
    let queues = |packets: &[weft_engine::packet::Packet]| -> Vec<u16> {
        packets.iter().map(|packet| packet.meta().queue).collect()
    };
    assert_eq!(queues(front.as_slice()), (0..8).collect::<Vec<_>>());
    assert_eq!(queues(batch.as_slice()), (8..32).collect::<Vec<_>>());
    let mut drain = batch.drain();
    assert_eq!((drain.next().unwrap().meta().queue, drain.len()), (8, 23));
    drop(drain);
    assert!(batch.is_empty());
    assert_eq!(front.pop().unwrap().meta().queue, 7);
    assert_eq!(pool.out(), 8);
    drop((front, refused));
    close(pool, &heap);
}

#[test]
fn what_another_cpu_frees_comes_back_in_bundles() {
    let heap = Heap::default();
    let pool = pool(&heap, 2);
    for _ in 0..if cfg!(miri) { 20 } else { 1000 } {
        HostCpus::go(0);
        let packets: Vec<_> = (0..BUNDLE).map(|_| pool.packet(64).unwrap()).collect();
        HostCpus::go(1);
        drop(packets);
    }
    let small = pool.figures().classes[0];
    assert_eq!(small.out, 0);
    assert!(small.buffers <= 256, "{small:?}");
    // A CPU that the pool does not know has no cache, and works all the same.
    HostCpus::go(7);
    drop(
        (0..100)
            .map(|_| pool.packet(64).unwrap())
            .collect::<Vec<_>>(),
    );
    assert_eq!(pool.out(), 0);
    HostCpus::go(0);
    close(pool, &heap);
}

#[test]
fn limits_are_kept_and_can_be_changed() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    pool.limit_class(0, 50);
    let packets: Vec<_> = std::iter::from_fn(|| pool.packet(64).ok()).collect();
    assert_eq!(packets.len(), 50);
    let error = pool.packet(64).unwrap_err();
    assert_eq!(error, AllocError::ClassLimit { most: 50 });
    pool.limit_class(0, 60);
    let more: Vec<_> = std::iter::from_fn(|| pool.packet(64).ok()).collect();
    assert_eq!(more.len(), 10);
    pool.limit_class(0, usize::MAX);
    pool.limit_bytes(200 << 10);
    let rest: Vec<_> = std::iter::from_fn(|| pool.packet(64).ok()).collect();
    let most = 200 << 10;
    assert_eq!(pool.packet(64).unwrap_err(), AllocError::PoolLimit { most });
    assert!(pool.figures().bytes <= most);
    assert_eq!(rest.len(), 3 * 128 - 60);
    // Less than there is: what comes back goes back to memory.
    pool.limit_bytes(70 << 10);
    drop((packets, more, rest));
    assert!(
        pool.figures().bytes <= 2 * (64 << 10) + 500,
        "{:?}",
        pool.figures()
    );
    let failures = pool.figures().failures;
    assert_eq!((failures[1], failures[2]), (3, 2));
    close(pool, &heap);
}

#[test]
fn reclaiming_gives_back_what_nobody_uses() {
    let heap = Heap::default();
    let pool = pool(&heap, 3);
    let empty = heap.bytes();
    let mut kept = Vec::new();
    for cpu in 0..3 {
        HostCpus::go(cpu);
        let packets: Vec<_> = (0..1000).map(|_| pool.packet(64).unwrap()).collect();
        kept.extend(packets.into_iter().step_by(999));
    }
    let before = heap.bytes();
    let freed = pool.reclaim(&mut sleepable());
    assert!(freed > 0 && heap.bytes() + freed == before);
    assert!(heap.bytes() - empty <= kept.len() * (65 << 10));
    let still = pool.close(&mut sleepable()).unwrap_err();
    assert_eq!(still.out, kept.len());
    drop(kept);
    still.pool.reclaim(&mut sleepable());
    assert_eq!(heap.bytes(), empty);
    HostCpus::go(0);
    close(still.pool, &heap);
}

#[test]
fn each_allocation_may_fail() {
    let heap = Heap::default();
    let work = |pool: &packet_rig::HostPool| -> Result<(), AllocError> {
        let mut packets = Vec::new();
        for len in [64, 1500, 9000] {
            for _ in 0..40 {
                packets.push(pool.packet(len)?);
            }
        }
        Ok(())
    };
    let pool = pool(&heap, 1);
    let mut failed = 0;
    for k in 1.. {
        heap.fail_after(k);
        let calls = heap.calls();
        let result = work(&pool);
        let reached = heap.calls() - calls >= k;
        heap.fail_after(0);
        assert_eq!(result.is_err(), reached, "allocation {k}");
        assert_eq!(pool.out(), 0);
        pool.reclaim(&mut sleepable());
        if !reached {
            break;
        }
        assert_eq!(result, Err(AllocError::NoMemory));
        failed += 1;
    }
    assert!(failed >= 6, "{failed} allocations");
    close(pool, &heap);
}
