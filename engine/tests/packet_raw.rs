// SPDX-License-Identifier: BSD-2-Clause
//! Packets in the platform's hands: counted, taken to pieces, and outlived by their
//! tags, as the kernel does with the mbuf that is embedded in a buffer.

#[allow(dead_code)]
mod packet_rig;

use packet_rig::{Heap, Number, close, pool, sleepable};
use std::sync::atomic::{AtomicU32, Ordering};
use weft_engine::packet::{Packet, Shared, Writable, end_of_data, free_tags};

/// `mb_dupcl`: another mbuf refers to the data.
fn dupcl(refs: &AtomicU32) {
    if refs.load(Ordering::SeqCst) == 1 {
        refs.store(2, Ordering::SeqCst);
    } else {
        refs.fetch_add(1, Ordering::SeqCst);
    }
}

/// `mb_free_ext`: whether this was the last mbuf that referred to it.
fn free_ext(refs: &AtomicU32) -> bool {
    refs.load(Ordering::SeqCst) == 1 || refs.fetch_sub(1, Ordering::SeqCst) == 1
}

fn count<S: weft_engine::packet::State>(packet: &Packet<S>) -> &AtomicU32 {
    // SAFETY: the count is an atomic word of the packet's buffer.
    unsafe { AtomicU32::from_ptr(packet.refs().as_ptr()) }
}

#[test]
fn packets_and_mbufs_count_alike() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(64).unwrap();
    packet.append(b"data").unwrap();
    dupcl(count(&packet));
    // SAFETY: two references now, this one and the mbuf's.
    let shared: Packet<Shared> = unsafe { Packet::from_raw(packet.into_raw()) };
    let shared = shared.try_writable().unwrap_err();
    assert!(!free_ext(count(&shared)));
    let packet = shared.try_writable().unwrap();
    dupcl(count(&packet));
    dupcl(count(&packet));
    // SAFETY: the count stays while there is a reference, which is so until below.
    let refs = unsafe { AtomicU32::from_ptr(packet.refs().as_ptr()) };
    let raw = packet.embedded();
    // SAFETY: three references now, of which the packet has one.
    drop(unsafe { Packet::<Shared>::from_raw(packet.into_raw()) });
    assert_eq!(pool.out(), 1);
    assert!(!free_ext(refs) && free_ext(refs));
    // SAFETY: the last reference is gone.
    unsafe { end_of_data(raw) };
    close(pool, &heap);
}

/// `m_move_pkthdr`, then `m_free` of the mbuf that had the tags.
#[test]
fn tags_outlive_the_packet_that_they_lie_in() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(64).unwrap();
    packet.insert_tag::<Number<1>>(1).unwrap();
    packet.insert_tag::<Number<2>>(2).unwrap();
    let mut other = pool.packet(64).unwrap();
    let place = packet.embedded();
    // SAFETY: tags of a packet, which it has given away.
    unsafe { other.give_tags(packet.take_tags()) };
    assert_eq!(packet.tag::<Number<1>>(), None);
    drop(packet);
    assert_eq!(pool.out(), 2, "the tags hold their buffer");
    assert_eq!(other.tag::<Number<1>>(), Some(&1));
    // They may be copied to where there is room.
    let copy = other.share().copy().unwrap();
    assert_eq!(copy.tag::<Number<2>>(), Some(&2));
    let mut copy = copy;
    assert_eq!(copy.remove_tag::<Number<1>>(), Some(1));
    assert_eq!(pool.out(), 1, "what the other packet's tags held is free");
    drop(copy);
    let again: Vec<_> = (0..200).map(|_| pool.packet(64).unwrap()).collect();
    let uses = again.iter().filter(|packet| packet.embedded() == place);
    assert_eq!(uses.count(), 1);
    drop(again);
    close(pool, &heap);
}

/// The packet goes on, and its first tags are freed elsewhere meanwhile.
#[test]
fn a_packet_whose_tags_are_elsewhere_takes_others() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet = pool.packet(64).unwrap();
    packet.insert_tag::<Number<1>>(1).unwrap();
    let elsewhere = packet.take_tags();
    packet.insert_tag::<Number<2>>(2).unwrap();
    assert!(packet.insert_tag::<Number<3>>(3).is_err());
    // SAFETY: the tag is ours, and nobody's then.
    unsafe { free_tags(elsewhere) };
    packet.insert_tag::<Number<3>>(3).unwrap();
    assert_eq!(packet.tag::<Number<1>>(), None);
    let elsewhere = packet.take_tags();
    drop(packet);
    let still = pool.close(&mut sleepable()).unwrap_err();
    assert_eq!(still.out, 1);
    // SAFETY: as above.
    unsafe { free_tags(elsewhere) };
    close(still.pool, &heap);
}

#[test]
fn data_may_be_moved_within_its_area_only() {
    let heap = Heap::default();
    let pool = pool(&heap, 1);
    let mut packet: Packet<Writable> = pool.packet(64).unwrap();
    let (area, room) = packet.data_area();
    // SAFETY: within the area.
    unsafe {
        area.add(10)
            .as_ptr()
            .copy_from_nonoverlapping(b"abc".as_ptr(), 3)
    };
    // SAFETY: within the area, and no further than its end.
    let (inside, last, outside) = unsafe { (area.add(10), area.add(room - 2), area.sub(1)) };
    packet.set_data(inside, 3).unwrap();
    assert_eq!((packet.head(), packet.headroom()), (&b"abc"[..], 10));
    assert!(packet.set_data(last, 3).is_err() && packet.set_data(outside, 3).is_err());
    assert!(packet.set_data(inside, usize::MAX).is_err());
    assert_eq!(packet.head(), b"abc");
    drop(packet);
    close(pool, &heap);
}
