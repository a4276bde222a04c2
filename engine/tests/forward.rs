// SPDX-License-Identifier: BSD-2-Clause
//! The simulator's router: a frame never vanishes, and each goes where the naive
//! reference would send it.

use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use weft_engine::sim::forward::{Count, Dropped, Fib, Frame, Place, Reason, Router};
use weft_engine::sim::memory::HostMemory;
use weft_engine::sim::naive::Naive;
use weft_engine::sim::store::{HostStore, store};
use weft_engine::sim::table::{NextHops, Prefix, generate};
use weft_engine::sim::traffic::{Kind, Traffic};
use weft_engine::wire::ethernet::Frame as EthernetFrame;
use weft_engine::wire::ipv4::Packet;

const VLAN: u16 = 7;
const CLASSES: u32 = 5;
const LANES: usize = 4;

fn host_store() -> HostStore {
    store(HostMemory::default()).unwrap()
}

/// A router whose two FIBs have the same prefixes and other next hops, and what
/// its FIBs should say.
fn router<'s>(store: &'s HostStore, prefixes: &[Prefix]) -> (Router<'s>, [Naive; 2]) {
    let mut reference = [Naive::default(), Naive::default()];
    let mut fibs = Vec::new();
    for (salt, naive) in reference.iter_mut().enumerate() {
        let rule = NextHops::Random {
            classes: CLASSES,
            salt: salt as u64,
        };
        let routes = prefixes.iter().map(|&prefix| (prefix, rule.class(prefix)));
        for (prefix, class) in routes.clone() {
            naive.insert(prefix.address, prefix.len, class);
        }
        // The order of routes is nobody's concern.
        fibs.push(Fib::new(store, (salt == 1).then_some(VLAN), routes.rev()).unwrap());
    }
    (Router::new(fibs, CLASSES, LANES).unwrap(), reference)
}

fn bytes_of(frames: &[Frame]) -> Count {
    Count {
        packets: frames.len() as u64,
        bytes: frames.iter().map(|frame| frame.bytes.len() as u64).sum(),
    }
}

fn drain(router: &mut Router<'_>) -> Vec<(Place, Frame)> {
    let mut out = Vec::new();
    let Ok(()) = router.drain(|place, frame| {
        out.push((place, frame));
        Ok::<_, std::convert::Infallible>(())
    });
    out
}

#[test]
fn generated_traffic_goes_where_it_should() {
    let prefixes = generate(2000, 3);
    let store = host_store();
    let (mut router, reference) = router(&store, &prefixes);
    let mut kinds = HashSet::new();
    for (frame, kind) in Traffic::new(&prefixes, VLAN, 4).take(20_000) {
        kinds.insert(kind);
        let before = frame.clone();
        match (router.forward(frame), kind.refused()) {
            (Err(Dropped { frame, reason }), Some(expected)) => {
                assert_eq!((reason, &frame), (expected, &before), "{kind:?}");
            }
            (Ok(place), None) => {
                let ethernet = EthernetFrame::parse(&before.bytes).unwrap();
                let destination = Packet::parse(ethernet.payload()).unwrap().destination();
                let fib = &reference[usize::from(ethernet.vlan() == Some(VLAN))];
                assert_eq!(place.class, fib.lookup(destination));
            }
            (result, expected) => panic!("{kind:?}: {result:?}, not {expected:?}"),
        }
    }
    assert_eq!(kinds.len(), 8, "each kind of frame came: {kinds:?}");
    assert!(
        router
            .fibs()
            .iter()
            .all(|fib| fib.received().packets > 1000)
    );
    assert!(
        router.queues().all(|(_, count)| count.packets > 0),
        "each queue got something"
    );
    assert!(router.totals().balance());
}

#[test]
fn a_flow_stays_on_its_queue_and_in_order() {
    let prefixes = generate(500, 3);
    let store = host_store();
    let (mut router, _) = router(&store, &prefixes);
    let mut lanes: HashMap<Vec<u8>, (Place, Duration)> = HashMap::new();
    for (frame, _) in Traffic::new(&prefixes, VLAN, 4)
        .filter(|(_, kind)| *kind == Kind::Good)
        .take(5000)
    {
        router.forward(frame).unwrap();
    }
    let out = drain(&mut router);
    assert_eq!(out.len(), 5000);
    for (place, frame) in out {
        let ethernet = EthernetFrame::parse(&frame.bytes).unwrap();
        let packet = Packet::parse(ethernet.payload()).unwrap();
        assert_eq!(packet.ttl(), 63);
        let flow = [
            &frame.bytes[14..16],
            &packet.destination().to_be_bytes(),
            &packet.payload()[..4],
        ]
        .concat();
        let key = [
            flow,
            packet.source().to_be_bytes().to_vec(),
            vec![packet.protocol()],
        ]
        .concat();
        let last = lanes.insert(key, (place, frame.time));
        assert!(last.is_none_or(|(queue, time)| queue == place && time < frame.time));
    }
    assert!(drain(&mut router).is_empty());
}

#[test]
fn a_class_without_queues_is_no_route() {
    let default = Prefix { address: 0, len: 0 };
    let store = host_store();
    let fib = Fib::new(&store, None, [(default, 1), (default, 6)]).unwrap();
    let mut router = Router::new(vec![fib], 5, 0).unwrap();
    let (frame, _) = Traffic::new(&[], VLAN, 1)
        .find(|(_, kind)| *kind == Kind::Good)
        .unwrap();
    assert_eq!(router.forward(frame).unwrap_err().reason, Reason::NoRoute);
    assert!(Router::new(Vec::new(), 5, 1).is_none());
}

/// Bytes of all sorts: noise, and generated frames with some bytes changed.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let prefixes = generate(50, 3);
    let spoiled = (
        0usize..200,
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    )
        .prop_map(move |(nth, changes)| {
            let mut bytes = Traffic::new(&prefixes, VLAN, 9).nth(nth).unwrap().0.bytes;
            bytes.truncate(90);
            for (at, value) in changes
                .into_iter()
                .filter(|_| !bytes.is_empty())
                .collect::<Vec<_>>()
            {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            bytes
        });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..70), spoiled]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_frame_vanishes(frames in prop::collection::vec(any_frame(), 0..60), burst in 1usize..20) {
        let store = host_store();
        let (mut router, _) = router(&store, &generate(50, 3));
        let frames: Vec<_> =
            frames.into_iter().map(|bytes| Frame { time: Duration::ZERO, bytes }).collect();
        let (mut out, mut dropped) = (Vec::new(), Vec::new());
        for frames in frames.chunks(burst) {
            dropped.extend(frames.iter().cloned().filter_map(|frame| router.forward(frame).err()));
            out.extend(drain(&mut router).into_iter().map(|(_, frame)| frame));
        }
        let totals = router.totals();
        prop_assert!(totals.balance());
        prop_assert_eq!(totals.received, bytes_of(&frames));
        prop_assert_eq!(totals.queued, bytes_of(&out));
        let given_back: Vec<_> = dropped.iter().map(|dropped| dropped.frame.clone()).collect();
        prop_assert_eq!(totals.dropped, bytes_of(&given_back));
        for reason in Reason::ALL {
            let counted: u64 = router.fibs().iter().map(|fib| fib.dropped(reason).packets).sum();
            prop_assert_eq!(counted, dropped.iter().filter(|dropped| dropped.reason == reason).count() as u64);
        }
    }
}
