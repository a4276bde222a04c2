// SPDX-License-Identifier: BSD-2-Clause
//! wvmx against the model of its card: what goes out is what a wire must see, what comes in is what
//! the stack must get, and nothing is lost or owned twice when the card misbehaves.

use weft_drivers::wvmx::Wvmx;
use weft_engine::nic::{
    Asked, Cause, Error, Extras, Interrupts, Label, Link, Nic, Queues, Scope, State, VectorKind,
    Vectors, Verdict, Why,
};
use weft_engine::packet::HashKind;
use weft_engine::sim::nic::vmxnet3::{Arrival, Fault, Vmxnet3};
use weft_engine::sim::nic::{Host, Machine};

mod frames;
use frames::{group, is_right, tcp, to_us, udp};

const MAC: [u8; 6] = [0, 0x50, 0x56, 1, 2, 3];
const PLAIN: Asked = Asked {
    checksum: false,
    mss: 0,
    vlan: None,
};

type Wvmxs = Machine<Vmxnet3, Wvmx<Host<Vmxnet3>>>;

fn machine() -> Wvmxs {
    Machine::new(Vmxnet3::new(3, MAC)).unwrap()
}

fn started(tx_queues: u16, rx_queues: u16) -> Wvmxs {
    let mut machine = machine();
    let setup = machine.setup(tx_queues, rx_queues);
    machine.start(&setup).unwrap();
    machine
}

fn sent(machine: &Wvmxs) -> Vec<Vec<u8>> {
    let frames = machine.host.with(|card, _| card.take_sent());
    frames.into_iter().map(|frame| frame.bytes).collect()
}

fn arrive(machine: &Wvmxs, frame: &[u8], arrival: &Arrival) -> bool {
    machine
        .host
        .with(|card, bus| card.receive(bus, frame, arrival))
}

fn inject(machine: &Wvmxs, fault: Fault) {
    machine.host.with(|card, bus| card.inject(bus, fault));
}

#[test]
fn frames_go_out_as_they_are_through_several_laps_of_each_queue() {
    let mut machine = started(4, 1);
    for n in 0..500_u16 {
        let frame = udp(false, usize::from(n) * 3 % 1400, None);
        let queue = n % 4;
        machine.send(queue, &frame, 300, &PLAIN).unwrap();
        let out = machine.host.with(|card, _| card.take_sent());
        assert_eq!(out.len(), 1);
        assert_eq!((&out[0].bytes, out[0].queue), (&frame, queue));
    }
    machine.check();
    machine.end();
}

#[test]
fn sums_are_filled_in_for_both_families() {
    let mut machine = started(1, 1);
    for is_ipv6 in [false, true] {
        for len in [0, 1, 2, 999, 1400] {
            for (frame, tag) in [
                (udp(is_ipv6, len, None), None),
                (tcp(is_ipv6, len, None), None),
                (tcp(is_ipv6, len, None), Some(0x6007)),
                (udp(is_ipv6, len, Some(9)), None),
            ] {
                let asked = Asked {
                    checksum: true,
                    mss: 0,
                    vlan: tag,
                };
                machine.send(0, &frame, 64, &asked).unwrap();
                let [out] = sent(&machine).try_into().unwrap();
                assert!(is_right(&out), "{len} {is_ipv6}");
                let extra = if tag.is_some() { 4 } else { 0 };
                assert_eq!(out.len(), frame.len() + extra);
            }
        }
    }
    machine.end();
}

#[test]
fn long_segments_are_cut_and_each_part_is_right() {
    let mut machine = started(1, 1);
    for is_ipv6 in [false, true] {
        for tag in [None, Some(7)] {
            for len in [1449, 5000, 60_000] {
                let frame = tcp(is_ipv6, len, None);
                let asked = Asked {
                    checksum: true,
                    mss: 1448,
                    vlan: tag,
                };
                machine.send(0, &frame, 4096, &asked).unwrap();
                let out = sent(&machine);
                assert_eq!(out.len(), len.div_ceil(1448));
                assert!(out.iter().all(|frame| is_right(frame)));
                let headers = if is_ipv6 { 74 } else { 54 } + if tag.is_some() { 4 } else { 0 };
                let payload = out.iter().flat_map(|frame| &frame[headers..]);
                assert!(payload.eq(&frame[frame.len() - len..]));
            }
        }
    }
    machine.end();
}

#[test]
fn a_frame_in_too_many_pieces_is_linearized() {
    let mut machine = started(1, 1);
    let frame = udp(false, 1400, None);
    machine.send(0, &frame, 40, &PLAIN).unwrap();
    assert_eq!(sent(&machine), [&frame[..]]);
    assert_eq!(machine.sent().linearized, 1);
    // A segment may have more.
    let asked = Asked {
        checksum: true,
        mss: 500,
        vlan: None,
    };
    machine
        .send(0, &tcp(false, 1400, None), 60, &asked)
        .unwrap();
    assert_eq!(machine.sent().linearized, 1);
    machine.end();
}

#[test]
fn frames_come_in_whole_in_one_buffer_and_in_many() {
    for (mtu, lengths) in [(1500, 0..1456), (9000, 1200..8900)] {
        let mut machine = machine();
        let setup = weft_engine::nic::Setup {
            mtu,
            ..machine.setup(1, 1)
        };
        machine.start(&setup).unwrap();
        for len in lengths.step_by(97) {
            let frame = to_us(udp(false, len, None));
            assert!(arrive(&machine, &frame, &Arrival::default()));
            let [(received, meta)] = machine.poll(0, 64).try_into().unwrap();
            assert_eq!(received, frame);
            assert_eq!(meta.verdict, Verdict::empty());
        }
        machine.check();
        machine.end();
    }
}

#[test]
fn what_the_card_says_of_a_frame_arrives() {
    let mut machine = started(1, 1);
    let frame = to_us(tcp(false, 100, None));
    let all = Verdict::IP_CHECKED | Verdict::IP_GOOD | Verdict::L4_CHECKED | Verdict::L4_GOOD;
    let cases = [
        (1 << 16 | 1 << 18 | 1 << 19 | 1 << 21, all),
        (1 << 18 | 1 << 19 | 1 << 21, all - Verdict::L4_GOOD),
        (
            1 << 16 | 1 << 17 | 1 << 20,
            Verdict::L4_CHECKED | Verdict::L4_GOOD,
        ),
        (1 << 16 | 1 << 18 | 1 << 21 | 1 << 22, Verdict::IP_CHECKED),
    ];
    for (sums, verdict) in cases {
        let arrival = Arrival {
            sums: Some(sums),
            hash: 0x1234_5678,
            hash_kind: 2,
            vlan: Some(0x2005),
            merged: None,
        };
        assert!(arrive(&machine, &frame, &arrival));
        let [(_, meta)] = machine.poll(0, 1).try_into().unwrap();
        assert_eq!(meta.verdict, verdict);
        assert_eq!(
            (meta.hash, meta.hash_kind),
            (0x1234_5678, HashKind::TcpIpv4)
        );
        assert_eq!(meta.vlan, Some(0x2005));
    }
    machine.end();
}

#[test]
fn merged_frames_say_of_how_many_in_revision_2_only() {
    for (revisions, said) in [(3, 5), (1, 0)] {
        let card = Vmxnet3::new(revisions, MAC);
        let mut machine = Wvmxs::new(card).unwrap();
        let mut setup = machine.setup(1, 1);
        setup.extras |= Extras::LRO;
        machine.start(&setup).unwrap();
        assert_ne!(machine.host.with(|card, _| card.features()) & 8, 0);
        let frame = to_us(tcp(false, 7000, None));
        let arrival = Arrival {
            merged: Some((5, 1448)),
            ..Arrival::default()
        };
        assert!(arrive(&machine, &frame, &arrival));
        let [(received, meta)] = machine.poll(0, 1).try_into().unwrap();
        assert_eq!((received, meta.segments), (frame, said));
        machine.end();
    }
}

#[test]
fn flows_are_spread_by_the_table_and_it_can_change() {
    let mut machine = started(2, 4);
    let frame = to_us(udp(false, 50, None));
    let to_queue = |machine: &mut Wvmxs, hash: u32| {
        let arrival = Arrival {
            hash,
            hash_kind: 1,
            ..Arrival::default()
        };
        assert!(arrive(machine, &frame, &arrival));
        let found = (0..4).filter(|&queue| machine.poll(queue, 8).len() == 1);
        found.collect::<Vec<_>>()
    };
    for hash in 0..256 {
        assert_eq!(to_queue(&mut machine, hash), [(hash % 4) as u16]);
    }
    let mut rss = machine.setup(2, 4).rss;
    machine.host.with(|card, _| {
        // All that the card can hash.
        assert_eq!(card.hashing(), (15, &rss.key[..]));
    });
    rss.table.fill(3);
    assert!(machine.port.nic().spread(&rss));
    assert_eq!(to_queue(&mut machine, 17), [3]);
    rss.key[0] ^= 1;
    assert!(!machine.port.nic().spread(&rss), "the key takes a start");
    machine.end();
}

#[test]
fn the_card_takes_what_the_filter_says() {
    let mut machine = machine();
    let mut setup = machine.setup(1, 1);
    setup.extras |= Extras::VLAN_FILTER;
    machine.wants.multicast = vec![group(1), group(2)];
    machine.wants.vlans.set(7, true);
    machine.start(&setup).unwrap();
    let arrival = |vlan| Arrival {
        vlan,
        ..Arrival::default()
    };
    let takes = |machine: &mut Wvmxs, frame: &[u8], vlan| {
        let was_taken = arrive(machine, frame, &arrival(vlan));
        assert_eq!(machine.poll(0, 8).len(), usize::from(was_taken));
        was_taken
    };
    let mine = to_us(udp(false, 50, None));
    let to_group = |n| [&group(n), &mine[6..]].concat();
    assert!(takes(&mut machine, &mine, None));
    assert!(takes(&mut machine, &mine, Some(7)));
    assert!(!takes(&mut machine, &mine, Some(8)));
    assert!(takes(
        &mut machine,
        &[&[0xff; 6], &mine[6..]].concat(),
        None
    ));
    assert!(takes(&mut machine, &to_group(2), None));
    assert!(!takes(&mut machine, &to_group(3), None));
    assert!(
        !takes(&mut machine, &udp(false, 50, None), None),
        "not ours"
    );
    // More groups than the card has places for.
    machine.wants.multicast = (0..200).map(group).collect();
    let wants = machine.wants.clone();
    machine.port.nic().filter(&wants.filter());
    assert!(takes(&mut machine, &to_group(199), None));
    machine.wants.multicast.clear();
    machine.wants.promiscuous = true;
    let wants = machine.wants.clone();
    machine.port.nic().filter(&wants.filter());
    assert!(takes(&mut machine, &udp(false, 50, None), Some(8)));
    machine.end();
}

#[test]
fn the_address_is_the_one_that_was_set() {
    let mut machine = machine();
    assert_eq!(machine.port.offer().mac, MAC);
    let mut setup = machine.setup(1, 1);
    setup.mac = [2, 1, 2, 3, 4, 5];
    machine.start(&setup).unwrap();
    assert_eq!(machine.host.with(|card, _| card.mac()), setup.mac);
    machine.end();
}

#[test]
fn the_link_is_told_when_it_changes() {
    let mut machine = started(1, 1);
    let up = Link::Up {
        mbps: 10_000,
        full_duplex: true,
    };
    assert_eq!(machine.event(), Some(up));
    let events = |machine: &Wvmxs| machine.host.interrupts(2);
    for n in 1..5 {
        let is_up = n % 2 == 0;
        machine.host.with(|card, bus| card.set_link(bus, is_up));
        assert_eq!(events(&machine), n);
        assert_eq!(machine.event(), Some(if is_up { up } else { Link::Down }));
        assert_eq!(machine.event(), None);
        let lines = machine.port.nic().interrupts(VectorKind::Msix);
        lines.unmask(2);
    }
    machine.end();
}

#[test]
fn a_transmit_queue_interrupts_only_when_it_is_asked_to() {
    let mut machine = started(1, 1);
    let vectors = machine.port.setup().unwrap().vectors;
    let frame = udp(false, 10, None);
    machine.send(0, &frame, 100, &PLAIN).unwrap();
    assert_eq!(machine.host.interrupts(vectors.tx(0)), 0);
    assert_eq!(machine.reap(0), 1);
    let arm = |machine: &Wvmxs| {
        let armed = machine.sides.tx(0, |queue| queue.arm());
        armed.unwrap()
    };
    // What happened while it was masked interrupts at once, the next frame masks it.
    assert!(!arm(&machine));
    assert_eq!(machine.host.interrupts(vectors.tx(0)), 1);
    for _ in 0..3 {
        machine.send(0, &frame, 100, &PLAIN).unwrap();
        assert_eq!(machine.host.interrupts(vectors.tx(0)), 2);
    }
    assert!(arm(&machine), "a frame is done already");
    machine.end();
}

#[test]
fn a_line_says_whether_it_was_ours() {
    let card = Vmxnet3::new(1, MAC).with_intx().with_active_masks();
    let mut machine = Wvmxs::new(card).unwrap();
    let mut setup = machine.setup(1, 1);
    setup.vectors = Vectors::plan(VectorKind::Intx, 1, 1, 1);
    machine.start(&setup).unwrap();
    let lines = machine.port.nic().interrupts(VectorKind::Intx);
    assert_eq!(lines.cause(0), Cause::default());
    assert!(arrive(
        &machine,
        &to_us(udp(false, 9, None)),
        &Arrival::default()
    ));
    assert!(lines.cause(0).is_ours);
    lines.mask(0);
    assert!(arrive(
        &machine,
        &to_us(udp(false, 9, None)),
        &Arrival::default()
    ));
    assert_eq!(machine.host.interrupts(0), 1);
    lines.unmask(0);
    assert_eq!(machine.host.interrupts(0), 2);
    assert_eq!(machine.poll(0, 8).len(), 2);
    machine.end();
}

#[test]
fn figures_are_those_of_the_card() {
    let mut machine = started(2, 2);
    for _ in 0..3 {
        machine.send(1, &udp(false, 10, None), 100, &PLAIN).unwrap();
    }
    assert!(arrive(
        &machine,
        &to_us(udp(false, 9, None)),
        &Arrival::default()
    ));
    let labels = <Wvmx<Host<Vmxnet3>> as Nic<Host<Vmxnet3>>>::LABELS;
    let nic = machine.port.nic();
    nic.refresh();
    let mut figure = |scope, name, queue| {
        let is_it = |label: &Label| label.scope == scope && label.name == name;
        nic.statistic(labels.iter().position(is_it).unwrap(), queue)
    };
    assert_eq!(figure(Scope::Tx, "unicast_packets", 1), 3);
    assert_eq!(figure(Scope::Tx, "unicast_packets", 0), 0);
    assert_eq!(figure(Scope::Rx, "unicast_packets", 0), 1);
    assert_eq!(machine.poll(0, 8).len(), 1);
    machine.end();
}

#[test]
fn figures_go_on_when_the_card_is_started_again() {
    let mut machine = started(2, 1);
    let labels = <Wvmx<Host<Vmxnet3>> as Nic<Host<Vmxnet3>>>::LABELS;
    let figure = |machine: &mut Wvmxs, scope, name, queue| {
        let is_it = |label: &Label| label.scope == scope && label.name == name;
        let nic = machine.port.nic();
        nic.refresh();
        nic.statistic(labels.iter().position(is_it).unwrap(), queue)
    };
    let frame = to_us(udp(false, 9, None));
    // More than there is room for.
    let room = u64::from(machine.setup(2, 1).rx_slots);
    let mut lost = 0;
    for number in 0..room * 2 {
        lost += u64::from(!arrive(&machine, &frame, &Arrival::default()));
        if number == room {
            assert!(machine.poll(0, 8).len() == 8);
        }
    }
    assert!(lost > 0);
    machine.send(1, &udp(false, 10, None), 100, &PLAIN).unwrap();
    let counted = |machine: &mut Wvmxs| {
        [
            figure(machine, Scope::Rx, "unicast_packets", 0),
            figure(machine, Scope::Rx, "no_buffer", 0),
            figure(machine, Scope::Tx, "unicast_packets", 1),
        ]
    };
    let mut wanted = [room * 2 - lost, lost, 1];
    assert_eq!(counted(&mut machine), wanted);
    for (tx, rx) in [(1, 2), (2, 2), (2, 1)] {
        machine.stop();
        assert_eq!(counted(&mut machine), wanted);
        machine.start(&machine.setup(tx, rx)).unwrap();
        assert_eq!(counted(&mut machine), wanted);
        assert!(arrive(&machine, &frame, &Arrival::default()));
        wanted[0] += 1;
        assert_eq!(counted(&mut machine), wanted);
    }
    machine.end();
}

#[test]
fn settings_that_the_card_lacks_are_refused_with_what() {
    let mut machine = machine();
    let good = machine.setup(1, 1);
    let mut bad = good;
    bad.mtu = 9001;
    assert_eq!(machine.start(&bad), Err(Error::Invalid("MTU", 9001)));
    let mut bad = good;
    bad.tx_slots = 100;
    assert_eq!(
        machine.start(&bad),
        Err(Error::Invalid("transmit descriptors", 100))
    );
    let bad = machine.setup(3, 1);
    assert!(matches!(machine.start(&bad), Err(Error::Invalid(_, 3))));
    assert!(machine.host.complaints().is_empty());
    machine.start(&good).unwrap();
    machine.end();
    let Err(error) = Wvmxs::new(Vmxnet3::new(4, MAC)) else {
        panic!("a revision that is not known");
    };
    assert_eq!(error, Error::Unsupported("revision", 4));
}

#[test]
fn a_queue_that_is_stuck_costs_a_reset_and_its_frames_are_counted() {
    let mut machine = started(2, 1);
    machine.tick();
    inject(&machine, Fault::StuckTx(1));
    let frame = udp(false, 100, None);
    let mut count = 0;
    while machine.send(1, &frame, 200, &PLAIN).is_ok() {
        count += 1;
    }
    assert_eq!(machine.send(1, &frame, 200, &PLAIN), Err(Why::Full));
    machine.send(0, &frame, 200, &PLAIN).unwrap();
    assert!((0..8).any(|_| machine.tick().was_reset));
    assert_eq!(machine.sent().lost, count);
    assert_eq!(machine.host.with(|card, _| card.activations()), 2);
    machine.send(1, &frame, 200, &PLAIN).unwrap();
    machine.check();
    machine.end();
}

#[test]
fn what_is_nonsense_costs_a_reset_and_no_frame_is_owned_twice() {
    for fault in [
        Fault::BogusTx,
        Fault::BogusRx,
        Fault::LongRx,
        Fault::WrongRing,
    ] {
        let mut machine = started(1, 1);
        machine.tick();
        inject(&machine, fault);
        machine.send(0, &udp(false, 9, None), 100, &PLAIN).unwrap();
        arrive(&machine, &to_us(udp(false, 9, None)), &Arrival::default());
        let received = machine.poll(0, 8);
        assert_eq!(received.is_empty(), fault != Fault::BogusTx);
        machine.check();
        assert!(machine.tick().was_reset, "{fault:?}");
        assert!(arrive(
            &machine,
            &to_us(udp(false, 9, None)),
            &Arrival::default()
        ));
        assert_eq!(machine.poll(0, 8).len(), 1);
        machine.check();
        machine.end();
    }
}

#[test]
fn a_completion_out_of_turn_frees_nothing() {
    let mut machine = started(1, 1);
    inject(&machine, Fault::OutOfTurn);
    let frames = vec![udp(false, 9, None); 8];
    assert_eq!(machine.send_all(0, &frames), 8);
    assert_eq!(sent(&machine), frames);
    assert_eq!(machine.reap(0), 0);
    machine.check();
    assert!(machine.tick().was_reset);
    assert_eq!(machine.sent().lost, 8);
    machine.end();
}

#[test]
fn buffers_that_are_passed_over_come_back() {
    let mut machine = started(1, 1);
    for count in [1, 5, 40, 3] {
        inject(&machine, Fault::PassOver(count));
        assert!(arrive(
            &machine,
            &to_us(udp(false, 9, None)),
            &Arrival::default()
        ));
        assert_eq!(machine.poll(0, 8).len(), 1);
        machine.check();
    }
    inject(&machine, Fault::BadFrame);
    assert!(arrive(
        &machine,
        &to_us(udp(false, 9, None)),
        &Arrival::default()
    ));
    assert!(machine.poll(0, 8).is_empty());
    assert!(!machine.tick().was_reset);
    machine.end();
}

#[test]
fn a_queue_that_the_card_stops_is_reported_and_reset() {
    let mut machine = started(2, 1);
    inject(&machine, Fault::StopQueue(1));
    machine.event();
    assert_eq!(machine.host.with(|card, _| card.activations()), 2);
    let log = machine.host.take_log();
    assert!(
        log.iter()
            .any(|(_, line)| line.contains("queue 1, error 0x80000002")),
        "{log:?}"
    );
    machine.send(1, &udp(false, 9, None), 100, &PLAIN).unwrap();
    machine.end();
}

#[test]
fn a_reset_that_fails_is_tried_again() {
    let mut machine = started(1, 1);
    inject(&machine, Fault::NoActivation(3));
    inject(&machine, Fault::StopQueue(0));
    machine.event();
    assert_eq!(machine.port.state(), State::Broken);
    assert_eq!(
        machine.send(0, &udp(false, 9, None), 100, &PLAIN),
        Err(Why::Stopped)
    );
    assert!((0..20).any(|_| machine.tick().was_reset));
    assert_eq!(machine.port.resets(), (4, 3));
    machine.send(0, &udp(false, 9, None), 100, &PLAIN).unwrap();
    machine.end();
}

#[test]
fn each_allocation_may_fail() {
    let mut is_enough = false;
    for successes in 0.. {
        let host = Host::new(Vmxnet3::new(3, MAC));
        host.fail_allocations(successes, 1 << 40);
        let Ok(mut machine) = Wvmxs::on(host.clone()) else {
            assert_eq!(host.ledger(), weft_engine::sim::nic::Ledger::default());
            continue;
        };
        let setup = machine.setup(2, 2);
        let has_started = machine.start(&setup).is_ok();
        // What comes finds no memory for new buffers, and then none at all.
        for _ in 0..100 {
            arrive(&machine, &to_us(udp(false, 9, None)), &Arrival::default());
            machine.poll(0, 8);
            let _no_memory = machine.send(0, &udp(false, 9, None), 9, &PLAIN);
        }
        machine.check();
        machine.host.fail_allocations(0, 0);
        if has_started {
            machine.tick();
        } else {
            machine.start(&setup).unwrap();
        }
        assert!(arrive(
            &machine,
            &to_us(udp(false, 9, None)),
            &Arrival::default()
        ));
        assert_eq!(machine.poll(0, 8).len(), 1, "after {successes}");
        machine.end();
        if has_started && successes > 250 {
            is_enough = true;
            break;
        }
    }
    assert!(is_enough);
}
