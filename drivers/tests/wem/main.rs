// SPDX-License-Identifier: BSD-2-Clause
//! `wem` against models of its devices: what the driver must do, offload by offload, and what it
//! must stand, fault by fault.

mod chip;
#[path = "../machine/mod.rs"]
mod machine;

use chip::{Chip, Fault, Kind};
use machine::Machine;
use machine::any::{any_steps, seeds};
use machine::frames::*;
use weft_drivers::wem::Wem;
use weft_engine::link::Capabilities;
use weft_engine::nic::{Asked, Error, Link, Nic, State, VectorKind, Verdict, Why};
use weft_engine::packet::HashKind;
use weft_engine::sim::nic::Host;
use weft_engine::sim::random::Random;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const KINDS: [Kind; 3] = [Kind::Intel82540, Kind::Bhyve82545, Kind::Intel82574];
const PLAIN: Asked = Asked {
    checksum: false,
    mss: 0,
    vlan: None,
};
const CHECKSUM: Asked = Asked {
    checksum: true,
    ..PLAIN
};

type M = Machine<Chip, Wem<Host<Chip>>>;

fn machine(kind: Kind) -> M {
    let (vectors, count) = match kind {
        Kind::Intel82540 => (VectorKind::Msi, 1),
        Kind::Bhyve82545 => (VectorKind::Intx, 1),
        Kind::Intel82574 => (VectorKind::Msix, 5),
    };
    Machine::new(Chip::new(kind, MAC), vectors, count)
}

fn started(kind: Kind) -> M {
    let mut machine = machine(kind);
    machine.start().unwrap();
    machine
}

fn statistic(machine: &mut M, name: &str) -> u64 {
    let labels = <Wem<Host<Chip>> as Nic<Host<Chip>>>::LABELS;
    let place = labels.iter().position(|label| label.name == name).unwrap();
    machine.host.advance(1_000_000_000);
    machine.port.nic().refresh();
    machine.port.nic().statistic(place, 0)
}

/// Frames of all protocols and several lengths.
fn some_frames() -> impl Iterator<Item = Vec<u8>> {
    (0..60_u8).map(|n| frame(n & 1 != 0, n & 2 != 0, usize::from(n) * 23, n))
}

#[test]
fn the_address_is_found_wherever_it_is() {
    for kind in KINDS {
        assert_eq!(machine(kind).port.offer().mac, MAC, "{kind:?}");
    }
}

#[test]
fn frames_go_out_and_come_in_whole() {
    for kind in KINDS {
        let mut machine = started(kind);
        for (n, bytes) in some_frames().enumerate() {
            machine.send(0, &bytes, 100 + n * 10, &PLAIN).unwrap();
            assert_eq!(machine.sent(), std::slice::from_ref(&bytes), "{kind:?}");
            assert!(machine.arrive(&bytes));
            let (came, event) = machine.answer();
            assert!(!event);
            let padded = bytes.len().max(60);
            assert_eq!(came.len(), 1);
            assert_eq!(came[0].0[..bytes.len()], bytes, "{kind:?}");
            assert_eq!(came[0].0.len(), padded);
        }
        machine.reap();
        assert_eq!(machine.in_flight(), 0);
        assert_eq!(statistic(&mut machine, "sent"), 60);
        assert_eq!(statistic(&mut machine, "received_good"), 60);
        machine.end();
    }
}

#[test]
fn checksums_are_filled_in() {
    for kind in KINDS {
        let machine = started(kind);
        for bytes in some_frames() {
            machine
                .send(0, &unfilled(bytes.clone()), 60, &CHECKSUM)
                .unwrap();
            assert_eq!(machine.sent(), [bytes], "{kind:?}");
        }
        machine.end();
    }
}

#[test]
fn contexts_that_the_device_knows_are_not_said_again() {
    let machine = started(Kind::Intel82540);
    for _ in 0..20 {
        let bytes = unfilled(frame(false, true, 100, 1));
        machine.send(0, &bytes, 4096, &CHECKSUM).unwrap();
    }
    let contexts = machine.host.with(|chip, _| chip.contexts);
    assert_eq!(contexts, 1);
    machine.end();
    // With two queues each may have changed it for the other.
    let machine = started(Kind::Intel82574);
    for n in 0..20 {
        let bytes = unfilled(frame(n & 1 != 0, true, 100, 1));
        machine.send(n & 1, &bytes, 4096, &CHECKSUM).unwrap();
    }
    assert!(machine.sent().iter().all(|frame| is_right(frame)));
    machine.end();
}

#[test]
fn long_segments_are_cut() {
    for kind in KINDS {
        let machine = started(kind);
        for is_ipv6 in [false, true] {
            if is_ipv6 && kind != Kind::Intel82574 {
                continue;
            }
            for payload in [1, 1448, 1449, 20_000, 64_000] {
                let long = frame(is_ipv6, true, payload, 9);
                let asked = Asked { mss: 1448, ..PLAIN };
                machine
                    .send(0, &unfilled(long.clone()), 4096, &asked)
                    .unwrap();
                let cut = machine.sent();
                assert_eq!(cut.len(), payload.div_ceil(1448), "{kind:?}");
                let headers = layer_4(&long) + 20;
                let mut all = Vec::<u8>::new();
                for (n, part) in cut.iter().enumerate() {
                    assert!(is_right(part), "{kind:?} {is_ipv6} {n}");
                    let flags = part[headers - 7];
                    assert_eq!(flags & 9 != 0, n + 1 == cut.len());
                    all.extend(&part[headers..]);
                }
                assert_eq!(all, long[headers..]);
                // What follows at once is not cut by the segment's context.
                let short = frame(is_ipv6, false, 30, 3);
                machine
                    .send(0, &unfilled(short.clone()), 4096, &CHECKSUM)
                    .unwrap();
                assert_eq!(machine.sent(), [short]);
            }
        }
        machine.end();
    }
}

#[test]
fn tags_are_put_in_and_taken_out() {
    for kind in KINDS {
        let machine = started(kind);
        for tag in [5, 0x6005, 0xffff] {
            for asked in [PLAIN, CHECKSUM] {
                let asked = Asked {
                    vlan: Some(tag),
                    ..asked
                };
                let whole = frame(true, true, 200, 1);
                let bytes = if asked.checksum {
                    unfilled(whole.clone())
                } else {
                    whole.clone()
                };
                machine.send(0, &bytes, 4096, &asked).unwrap();
                assert_eq!(machine.sent(), [tagged(whole, tag)], "{kind:?}");
            }
        }
        machine.end();
        let mut machine = machine_with_vlan(kind, 5);
        let whole = frame(false, true, 200, 1);
        assert!(machine.arrive(&tagged(whole.clone(), 0x6005)), "{kind:?}");
        assert!(!machine.arrive(&tagged(whole.clone(), 6)), "filtered");
        let (came, _) = machine.answer();
        let (bytes, meta) = &came[0];
        if kind == Kind::Bhyve82545 {
            assert_eq!((bytes, meta.vlan), (&tagged(whole, 0x6005), None));
        } else {
            assert_eq!((bytes, meta.vlan), (&whole, Some(0x6005)));
        }
        machine.end();
    }
}

fn machine_with_vlan(kind: Kind, vlan: u16) -> M {
    let mut machine = machine(kind);
    machine.listens.vlans.set(vlan, true);
    machine.start().unwrap();
    machine
}

#[test]
fn checksums_that_were_looked_at_are_told() {
    let mut machine = started(Kind::Intel82574);
    let all = Verdict::all();
    for bytes in some_frames() {
        assert!(machine.arrive(&bytes));
        let (came, _) = machine.answer();
        let expected = if layer_4(&bytes) == 34 {
            all
        } else {
            Verdict::L4_CHECKED | Verdict::L4_GOOD
        };
        assert_eq!(came[0].1.verdict, expected);
    }
    let mut wrong = frame(false, true, 100, 1);
    wrong[80] ^= 1;
    assert!(machine.arrive(&wrong));
    assert_eq!(machine.answer().0[0].1.verdict, all - Verdict::L4_GOOD);
    let mut wrong = frame(false, true, 100, 1);
    wrong[22] ^= 1;
    assert!(machine.arrive(&wrong));
    assert_eq!(machine.answer().0[0].1.verdict, all - Verdict::IP_GOOD);
    machine.end();
    // QEMU's e1000 and bhyve's say that they have not looked.
    for kind in [Kind::Intel82540, Kind::Bhyve82545] {
        let mut machine = started(kind);
        assert!(machine.arrive(&frame(false, true, 100, 1)));
        assert_eq!(machine.answer().0[0].1.verdict, Verdict::empty());
        machine.end();
    }
}

#[test]
fn groups_and_addresses_pass_as_they_are_asked_for() {
    for kind in KINDS {
        let mut machine = started(kind);
        let to = |mac: [u8; 6]| {
            let mut bytes = frame(false, false, 100, 1);
            bytes[..6].copy_from_slice(&mac);
            bytes
        };
        let group = [0x01, 0, 0x5e, 0, 0, 0xfb];
        let other = [0x01, 0, 0x5e, 0, 0x10, 0xfb];
        let strange = [0x02, 9, 9, 9, 9, 9];
        let passes = |m: &M| {
            let them = [MAC, [0xff; 6], group, other, strange];
            them.map(|mac| m.arrive(&to(mac)))
        };
        assert_eq!(passes(&machine), [true, true, false, false, false]);
        machine.listens.multicast = vec![group];
        machine.listen();
        assert_eq!(passes(&machine), [true, true, true, false, false]);
        machine.listens.all_multicast = true;
        machine.listen();
        assert_eq!(passes(&machine), [true, true, true, true, false]);
        machine.listens.promiscuous = true;
        machine.listen();
        assert_eq!(passes(&machine), [true; 5]);
        machine.listens.promiscuous = false;
        machine.listens.all_multicast = false;
        machine.listen();
        assert_eq!(passes(&machine), [true, true, true, false, false]);
        machine.end();
    }
}

#[test]
fn long_frames_go_through_several_buffers() {
    for kind in KINDS {
        let mut machine = machine(kind);
        machine.setup.mtu = machine.port.offer().most_mtu;
        machine.start().unwrap();
        for len in [
            1000,
            2048,
            4096,
            4097,
            8192,
            machine.setup.mtu as usize + 14,
        ] {
            let bytes = frame(false, false, len - 42, 7);
            machine.send(0, &bytes, 4096, &PLAIN).unwrap();
            assert_eq!(machine.sent(), std::slice::from_ref(&bytes));
            assert!(machine.arrive(&bytes));
            let (came, _) = machine.answer();
            assert_eq!(came[0].0, bytes, "{kind:?}");
        }
        machine.end();
        let mut machine = started(kind);
        assert!(!machine.arrive(&frame(false, false, 1600, 1)), "too long");
        assert_eq!(machine.answer().0.len(), 0);
        machine.end();
    }
}

#[test]
fn flows_are_spread_over_both_queues_by_the_table() {
    let mut machine = started(Kind::Intel82574);
    let mut queues = [0; 2];
    for n in 0..100 {
        let bytes = frame(false, true, 100, n);
        assert!(machine.arrive(&bytes));
        for (number, queue) in queues.iter_mut().enumerate() {
            let polled = machine.sides.poll(number);
            *queue += polled.len();
            for (_, meta) in polled {
                assert_eq!(meta.hash_kind, HashKind::TcpIpv4);
                assert_eq!(usize::from(machine.setup.rss.queue(meta.hash)), number);
            }
        }
    }
    assert!(queues[0] > 20 && queues[1] > 20, "{queues:?}");
    machine.setup.rss.table = [1; 128];
    let rss = machine.setup.rss;
    assert!(machine.port.nic().spread(&rss));
    for n in 0..50 {
        assert!(machine.arrive(&frame(false, true, 100, n)));
    }
    assert_eq!(machine.sides.poll(0).len(), 0);
    assert_eq!(machine.sides.poll(1).len(), 50);
    machine.end();
}

#[test]
fn each_way_of_dividing_vectors_works() {
    for (kind, vectors) in [
        (VectorKind::Msix, 5),
        (VectorKind::Msix, 3),
        (VectorKind::Msix, 2),
        (VectorKind::Msi, 1),
        (VectorKind::Intx, 1),
    ] {
        let chip = Chip::new(Kind::Intel82574, MAC);
        let mut machine: M = Machine::new(chip, kind, vectors);
        machine.start().unwrap();
        for n in 0..20 {
            let bytes = frame(false, true, 100, n);
            let queue = u16::from(n) % machine.setup.tx_queues;
            machine.send(queue, &bytes, 4096, &PLAIN).unwrap();
            assert!(machine.arrive(&bytes));
            let (came, event) = machine.answer();
            assert_eq!(came.len(), 1, "{kind:?} {vectors}");
            assert!(!event || vectors == 1, "{kind:?} {vectors}");
        }
        assert_eq!(machine.in_flight(), 0, "{kind:?} {vectors}");
        machine.event();
        machine.host.with(|chip, bus| chip.set_link(bus, false));
        let (_, event) = machine.answer();
        assert!(event, "{kind:?} {vectors}");
        assert_eq!(machine.event().link, Some(Link::Down));
        machine.end();
    }
}

#[test]
fn the_link_is_told_by_interrupt_and_by_tick() {
    for kind in KINDS {
        let mut machine = started(kind);
        let up = Link::Up {
            mbps: 1000,
            full_duplex: true,
        };
        assert_eq!(machine.event().link, Some(up));
        assert!(machine.host.with(|chip, _| chip.pauses()), "as both want");
        machine.host.with(|chip, bus| chip.set_link(bus, false));
        assert!(machine.answer().1, "{kind:?}");
        assert_eq!(machine.event().link, Some(Link::Down));
        machine.host.with(|chip, bus| chip.set_link(bus, true));
        assert!(machine.answer().1);
        assert_eq!(machine.tick().link, Some(up));
        machine.host.with(|chip, bus| chip.set_link(bus, false));
        assert_eq!(machine.tick().link, Some(Link::Down));
        machine.end();
    }
}

#[test]
fn receive_control_is_written_only_when_it_changes() {
    let mut machine = started(Kind::Intel82540);
    let before = machine.host.with(|chip, _| chip.receive_writes);
    machine.listens.multicast = vec![[1, 0, 0x5e, 0, 0, 1]];
    machine.listen();
    machine.listen();
    assert_eq!(machine.host.with(|chip, _| chip.receive_writes), before);
    machine.end();
}

#[test]
fn a_full_queue_interrupts_once_when_it_was_asked_to() {
    for (kind, vectors, count) in [
        (Kind::Intel82540, VectorKind::Intx, 1),
        (Kind::Intel82574, VectorKind::Msix, 5),
        (Kind::Intel82574, VectorKind::Msix, 3),
    ] {
        let mut machine: M = Machine::new(Chip::new(kind, MAC), vectors, count);
        machine.start().unwrap();
        let vector = machine.setup.vectors.tx(0);
        let interrupts = |machine: &M| machine.host.interrupts(vector);
        machine.host.with(|chip, _| chip.is_slow = true);
        let bytes = frame(false, true, 100, 1);
        for round in 0..3 {
            while machine.send(0, &bytes, 4096, &PLAIN).is_ok() {}
            let before = interrupts(&machine);
            assert!(!machine.sides.arm_tx(0), "{kind:?} {round}");
            assert_eq!(interrupts(&machine), before + u64::from(round > 0));
            machine.answer();
            assert!(!machine.sides.arm_tx(0));
            machine.host.with(|chip, bus| chip.run(bus, 5));
            assert_eq!(interrupts(&machine), before + 1 + u64::from(round > 0));
            machine.answer();
            machine.host.with(|chip, bus| chip.run(bus, 5));
            assert_eq!(interrupts(&machine), before + 1 + u64::from(round > 0));
        }
        machine.end();
    }
}

#[test]
fn what_is_turned_off_is_off() {
    for kind in KINDS {
        let mut machine = machine(kind);
        machine.setup.capabilities = Capabilities::empty();
        machine.setup.extras = Default::default();
        machine.start().unwrap();
        let bytes = tagged(frame(false, true, 100, 1), 9);
        assert!(machine.arrive(&bytes), "no filter");
        let (came, _) = machine.answer();
        assert_eq!((&came[0].0, came[0].1.vlan), (&bytes, None));
        assert!(machine.arrive(&frame(false, true, 100, 1)));
        assert_eq!(machine.answer().0[0].1.verdict, Verdict::empty());
        machine.end();
    }
}

#[test]
fn a_stuck_queue_costs_a_reset_and_what_it_had() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.tick();
        machine.host.with(|chip, _| chip.inject(Fault::SendStuck));
        let mut sent = 0;
        while machine
            .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
            .is_ok()
        {
            sent += 1;
        }
        assert!((0..10).any(|_| machine.tick().was_reset), "{kind:?}");
        assert_eq!(machine.tx_figures().lost, sent);
        machine
            .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
            .unwrap();
        assert_eq!(machine.sent().len(), 1);
        machine.end();
    }
}

#[test]
fn a_link_that_is_down_is_no_hang() {
    let mut machine = started(Kind::Intel82574);
    machine.host.with(|chip, bus| {
        chip.inject(Fault::SendStuck);
        chip.set_link(bus, false);
    });
    machine.tick();
    machine
        .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
        .unwrap();
    assert!((0..20).all(|_| !machine.tick().was_reset));
    machine.end();
}

#[test]
fn nonsense_costs_a_reset() {
    for kind in KINDS {
        for fault in [Fault::Length(0xffff), Fault::Length(2049)] {
            let mut machine = started(kind);
            machine.host.with(|chip, _| chip.inject(fault));
            assert!(machine.arrive(&frame(false, true, 100, 1)));
            assert_eq!(machine.answer().0.len(), 0);
            assert!(machine.tick().was_reset, "{kind:?} {fault:?}");
            assert_eq!(machine.rx_figures().bogus, 1);
            assert!(machine.arrive(&frame(false, true, 100, 1)));
            assert_eq!(machine.received().len(), 1);
            machine.end();
        }
    }
}

#[test]
fn completions_of_nothing_do_no_harm() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.host.with(|chip, bus| {
            chip.inject(Fault::AllSent);
            chip.is_slow = true;
            chip.run(bus, 1);
        });
        for n in 0..10 {
            machine
                .send(0, &frame(false, true, 100, n), 4096, &PLAIN)
                .unwrap();
            machine.reap();
            assert_eq!(
                machine.in_flight(),
                u64::from(n) + 1,
                "not before it is sent"
            );
        }
        machine.host.with(|chip, bus| chip.run(bus, usize::MAX));
        machine.answer();
        machine.reap();
        assert_eq!(machine.in_flight(), 0);
        machine.end();
    }
}

#[test]
fn broken_frames_are_counted_and_their_buffers_used_again() {
    for kind in KINDS {
        let mut machine = started(kind);
        for bits in [0x01, 0x02, 0x80] {
            machine
                .host
                .with(|chip, _| chip.inject(Fault::Errors(bits)));
            assert!(machine.arrive(&frame(false, true, 100, 1)));
            assert_eq!(machine.answer().0.len(), 0, "{kind:?}");
        }
        assert_eq!(machine.rx_figures().bad, 3);
        assert!(machine.arrive(&frame(false, true, 100, 2)));
        assert_eq!(machine.answer().0.len(), 1);
        machine.end();
    }
}

#[test]
fn short_and_endless_frames_do_no_harm() {
    for kind in KINDS {
        let mut machine = started(kind);
        // What is said to be empty.
        machine.host.with(|chip, _| chip.inject(Fault::Length(0)));
        assert!(machine.arrive(&frame(false, true, 100, 1)));
        machine.answer();
        // A frame without an end takes what follows with it, but nothing else.
        machine.host.with(|chip, _| chip.inject(Fault::NoEnd));
        for n in 0..3 {
            assert!(machine.arrive(&frame(false, true, 100, n)));
        }
        let came = machine.answer().0.len();
        assert!(came <= 2, "{kind:?} {came}");
        // Without any end, buffers run out, and a stop has them all back.
        for n in 0..70 {
            machine.host.with(|chip, _| chip.inject(Fault::NoEnd));
            machine.arrive(&frame(false, true, 100, n));
            machine.answer();
        }
        machine.end();
    }
}

#[test]
fn a_full_ring_misses_frames_and_goes_on() {
    for kind in KINDS {
        let mut machine = started(kind);
        let bytes = frame(false, true, 100, 1);
        let stored = (0..200).filter(|_| machine.arrive(&bytes)).count();
        assert_eq!(stored, 63);
        assert_eq!(machine.answer().0.len(), 63);
        assert!(machine.arrive(&bytes));
        assert_eq!(machine.answer().0.len(), 1);
        assert_eq!(statistic(&mut machine, "missed"), 137);
        machine.end();
    }
}

#[test]
fn a_pulled_device_is_noticed() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.tick();
        machine
            .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
            .unwrap();
        machine.host.with(|chip, _| chip.inject(Fault::Gone));
        machine.tick();
        assert_eq!(machine.port.state(), State::Broken, "{kind:?}");
        let sent = machine.send(0, &frame(false, true, 100, 1), 4096, &PLAIN);
        assert_eq!(sent, Err(Why::Stopped));
        machine.tick();
        machine.end();
    }
}

#[test]
fn what_does_not_come_up_says_why() {
    for (fault, what) in [(Fault::ResetStuck, "reset"), (Fault::PhyDead, "PHY, MDIC")] {
        let mut chip = Chip::new(Kind::Intel82574, MAC);
        chip.inject(fault);
        let error = M::try_new(chip, VectorKind::Msix, 5).err();
        assert!(
            matches!(error, Some(Error::Broken(said, _)) if said == what),
            "{error:?}"
        );
    }
    let chip = Chip::new(Kind::Intel82540, [0; 6]);
    let error = M::try_new(chip, VectorKind::Msi, 1).err();
    assert_eq!(error, Some(Error::Broken("no address in the EEPROM", 0)));
}

#[test]
fn spurious_interrupts_find_nothing() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.host.with(|_, bus| bus.interrupt(0));
        if kind != Kind::Intel82574 {
            // The device says that it was not it.
            use weft_engine::nic::Interrupts;
            assert!(!machine.interrupts.cause(0).is_ours);
            machine.host.with(|chip, bus| chip.raise(bus, 1 << 7));
        }
        assert_eq!(machine.answer().0.len(), 0);
        machine.end();
    }
}

/// A device of any kind, with interrupts of any kind.
fn any_machine(random: &mut Random) -> M {
    let kind = KINDS[random.below(3)];
    let vectors = match kind {
        Kind::Intel82574 => [
            (VectorKind::Msix, 5),
            (VectorKind::Msix, 3),
            (VectorKind::Msi, 1),
        ],
        _ => [(VectorKind::Intx, 1); 3],
    };
    let (how, count) = vectors[random.below(3)];
    Machine::new(Chip::new(kind, MAC), how, count)
}

#[test]
fn whatever_is_done_nothing_is_lost_unaccounted() {
    any_steps(&any_machine, 0..seeds(), false);
}

#[test]
fn whatever_the_device_does_nothing_is_lost_unaccounted() {
    any_steps(&any_machine, 0..seeds(), true);
}
