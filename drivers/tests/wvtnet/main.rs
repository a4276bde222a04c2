// SPDX-License-Identifier: BSD-2-Clause
//! `wvtnet` against a model of its device, of both kinds and with several sets of features: what
//! the driver must do, offload by offload, and what it must stand, fault by fault.

mod card;
#[path = "../machine/mod.rs"]
mod machine;

use card::*;
use machine::Machine;
use machine::any::{any_steps, seeds};
use machine::frames::*;
use weft_drivers::wvtnet::Wvtnet;
use weft_engine::nic::{Asked, Error, Extras, Link, State, VectorKind, Verdict, Why};
use weft_engine::sim::nic::Host;
use weft_engine::sim::random::Random;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PLAIN: Asked = Asked {
    checksum: false,
    mss: 0,
    vlan: None,
};
const CHECKSUM: Asked = Asked {
    checksum: true,
    ..PLAIN
};

const ALL: u64 = CSUM
    | GUEST_CSUM
    | MTU
    | MAC
    | GUEST_TSO
    | HOST_TSO
    | MERGEABLE
    | STATUS
    | CONTROL
    | CONTROL_VLAN
    | MULTI_QUEUE
    | EVENTS;

/// As QEMU gives it to a modern guest.
const MODERN: Kind = Kind {
    is_legacy: false,
    features: ALL | VERSION_1,
    pairs: 4,
    has_msix: true,
    queue_size: 256,
};
/// As QEMU gives it to a legacy guest.
const LEGACY: Kind = Kind {
    is_legacy: true,
    features: ALL & !MTU,
    pairs: 2,
    has_msix: true,
    queue_size: 256,
};
/// As bhyve does.
const BHYVE: Kind = Kind {
    is_legacy: true,
    features: MAC | STATUS | MERGEABLE,
    pairs: 1,
    has_msix: true,
    queue_size: 1024,
};
/// The least there can be.
const BARE: Kind = Kind {
    is_legacy: true,
    features: 0,
    pairs: 1,
    has_msix: false,
    queue_size: 64,
};
/// The least that is modern.
const BARE_MODERN: Kind = Kind {
    is_legacy: false,
    features: VERSION_1,
    pairs: 1,
    has_msix: false,
    queue_size: 128,
};
const KINDS: [Kind; 5] = [MODERN, LEGACY, BHYVE, BARE, BARE_MODERN];

type M = Machine<Virtio, Wvtnet<Host<Virtio>>>;

fn try_machine(kind: Kind) -> Result<M, Error> {
    let vectors = if kind.has_msix {
        VectorKind::Msix
    } else {
        VectorKind::Intx
    };
    M::try_new(Virtio::new(kind, OURS), vectors, 16)
}

fn machine(kind: Kind) -> M {
    try_machine(kind).unwrap()
}

fn started(kind: Kind) -> M {
    let mut machine = machine(kind);
    machine.start().unwrap();
    machine
}

fn inject(machine: &M, fault: Fault) {
    machine.host.with(|card, bus| card.inject(bus, fault));
}

fn some_frames() -> impl Iterator<Item = Vec<u8>> {
    (0..60_u8).map(|n| frame(n & 1 != 0, n & 2 != 0, usize::from(n) * 23, n))
}

#[test]
fn what_the_device_has_is_offered() {
    let machine = machine(MODERN);
    let offer = *machine.port.offer();
    assert_eq!(
        (offer.mac, offer.tx_queues, offer.most_mtu),
        (OURS, 4, 9000)
    );
    assert_eq!(offer.extras, Extras::LRO | Extras::VLAN_FILTER);
    machine.end();
    for kind in [BHYVE, BARE] {
        let machine = self::machine(kind);
        let offer = *machine.port.offer();
        assert_eq!((offer.tx_queues, offer.extras), (1, Extras::empty()));
        assert_eq!(offer.rx_slots.fit(8), kind.queue_size, "no choice");
        machine.end();
    }
    // The bits above are these of the configuration: whose address is not there gets one.
    assert_eq!(self::machine(BARE).port.offer().mac, [2, 0, 0, 0, 0, 0]);
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
            assert_eq!(came.len(), 1, "{kind:?} {n}");
            assert_eq!(came[0].0, bytes, "{kind:?}");
        }
        machine.reap();
        assert_eq!(machine.in_flight(), 0);
        machine.end();
    }
}

#[test]
fn each_way_of_dividing_vectors_works() {
    for vectors in [9, 5, 3, 2, 1] {
        let mut machine = M::new(Virtio::new(MODERN, OURS), VectorKind::Msix, vectors);
        machine.start().unwrap();
        for n in 0..40 {
            let bytes = frame(false, true, 100, n);
            let queue = u16::from(n) % machine.setup.tx_queues;
            machine.send(queue, &bytes, 4096, &PLAIN).unwrap();
            assert!(machine.arrive(&bytes));
            assert_eq!(machine.answer().0.len(), 1, "{vectors}");
        }
        machine.event();
        machine
            .host
            .with(|card, bus| machine::Card::plug(card, bus, false));
        assert!(machine.answer().1, "{vectors}");
        assert_eq!(machine.event().link, Some(Link::Down));
        machine.end();
    }
}

#[test]
fn checksums_are_filled_in_and_segments_cut() {
    for kind in [MODERN, LEGACY] {
        let machine = started(kind);
        for bytes in some_frames() {
            machine
                .send(0, &unfilled(bytes.clone()), 60, &CHECKSUM)
                .unwrap();
            assert_eq!(machine.sent(), [bytes], "{kind:?}");
        }
        for (is_ipv6, payload) in [(false, 1), (false, 20_000), (true, 1449), (true, 64_000)] {
            let long = frame(is_ipv6, true, payload, 9);
            let asked = Asked { mss: 1448, ..PLAIN };
            machine
                .send(0, &unfilled(long.clone()), 4096, &asked)
                .unwrap();
            let cut = machine.sent();
            assert_eq!(cut.len(), payload.div_ceil(1448));
            assert!(cut.iter().all(|part| is_right(part)), "{kind:?}");
            let headers = layer_4(&long) + 20;
            let parts: Vec<_> = cut.iter().flat_map(|part| &part[headers..]).collect();
            assert!(parts.into_iter().eq(&long[headers..]));
        }
        machine.end();
    }
}

#[test]
fn checksums_that_were_looked_at_are_told() {
    for (kind, verdict) in [
        (MODERN, Verdict::L4_CHECKED | Verdict::L4_GOOD),
        (BHYVE, Verdict::empty()),
    ] {
        let mut machine = started(kind);
        assert!(machine.arrive(&frame(false, true, 100, 1)));
        assert_eq!(machine.answer().0[0].1.verdict, verdict);
        machine.end();
    }
}

#[test]
fn long_frames_and_merged_segments_go_through_several_buffers() {
    for kind in KINDS {
        let mut machine = machine(kind);
        machine.setup.mtu = machine.port.offer().most_mtu.min(9000);
        machine.start().unwrap();
        for len in [
            1000,
            2036,
            2037,
            4084,
            4085,
            8200,
            machine.setup.mtu as usize + 14,
        ] {
            let bytes = frame(false, false, len - 42, 7);
            machine.send(0, &bytes, 4096, &PLAIN).unwrap();
            assert_eq!(machine.sent(), std::slice::from_ref(&bytes));
            assert!(machine.arrive(&bytes), "{kind:?} {len}");
            assert_eq!(machine.answer().0[0].0, bytes, "{kind:?}");
        }
        machine.end();
    }
    let mut machine = started(MODERN);
    let long = frame(false, true, 60_000, 1);
    assert!(
        machine
            .host
            .with(|card, bus| card.receive(bus, &long, 1448))
    );
    let (came, _) = machine.answer();
    let (bytes, meta) = &came[0];
    assert_eq!((bytes, meta.mss), (&long, 1448));
    assert!(meta.segments > 1);
    machine.end();
}

#[test]
fn every_descriptor_is_used_again_through_many_laps() {
    for kind in KINDS {
        let mut machine = started(kind);
        for n in 0..3000_u32 {
            let bytes = numbered(n & 1 != 0, n & 2 != 0, 4 + n as usize % 1400, n);
            machine
                .send(0, &bytes, 1 + n as usize % 700, &PLAIN)
                .unwrap();
            assert!(machine.arrive(&bytes));
            if n % 30 == 0 {
                machine.answer();
            }
        }
        assert_eq!(machine.sent().len(), 3000);
        machine.received();
        assert_eq!(machine.rx_figures().frames, 3000, "{kind:?}");
        machine.end();
    }
}

#[test]
fn groups_addresses_and_vlans_pass_as_they_are_asked_for() {
    for kind in [MODERN, LEGACY] {
        let mut machine = machine(kind);
        machine.setup.mac = [2, 5, 5, 5, 5, 5];
        machine.listens.vlans.set(7, true);
        machine.listens.vlans.set(4000, true);
        machine.start().unwrap();
        let to = |mac: [u8; 6]| {
            let mut bytes = frame(false, false, 100, 1);
            bytes[..6].copy_from_slice(&mac);
            bytes
        };
        let group = [0x01, 0, 0x5e, 0, 0, 0xfb];
        let passes = |m: &M| {
            let them = [m.setup.mac, OURS, [0xff; 6], group];
            them.map(|mac| m.arrive(&to(mac)))
        };
        assert_eq!(passes(&machine), [true, false, true, false], "{kind:?}");
        machine.listens.multicast = vec![group];
        machine.listen();
        assert_eq!(passes(&machine), [true, false, true, true]);
        machine.listens.multicast = (0..100).map(|n| [1, 0, 0x5e, 0, 0, n]).collect();
        machine.listen();
        assert_eq!(passes(&machine), [true, false, true, true], "too many");
        machine.listens.multicast.clear();
        machine.listens.promiscuous = true;
        machine.listen();
        assert_eq!(passes(&machine), [true; 4]);
        let vlans = |m: &M| [7, 8, 4000].map(|vlan| m.arrive(&tagged(to(m.setup.mac), vlan)));
        assert_eq!(vlans(&machine), [true, false, true]);
        machine.listens.vlans.set(7, false);
        machine.listens.vlans.set(8, true);
        machine.listen();
        assert_eq!(vlans(&machine), [false, true, true]);
        machine.end();
    }
}

#[test]
fn what_is_off_is_not_agreed_upon() {
    let mut machine = machine(MODERN);
    machine.setup.capabilities = Default::default();
    machine.setup.extras = Extras::empty();
    machine.start().unwrap();
    assert!(
        machine.arrive(&tagged(frame(false, true, 100, 1), 9)),
        "no filter"
    );
    assert_eq!(machine.answer().0[0].1.verdict, Verdict::empty());
    machine.end();
}

#[test]
fn an_idle_driver_asks_for_no_doorbell_and_no_interrupt_too_many() {
    let machine = started(MODERN);
    machine
        .host
        .with(|card, _| machine::Card::be_slow(card, true));
    let before = machine.host.with(|card, _| card.doorbells);
    for n in 0..20 {
        machine
            .send(0, &frame(false, true, 100, n), 4096, &PLAIN)
            .unwrap();
    }
    // The device has asked to hear of the first one only.
    assert_eq!(machine.host.with(|card, _| card.doorbells), before + 1);
    let vector = machine.setup.vectors.tx(0);
    machine.host.with(|card, bus| card.run(bus, 10));
    assert_eq!(machine.host.interrupts(vector), 0);
    machine.reap();
    assert!(!machine.sides.arm_tx(0));
    machine.host.with(|card, bus| card.run(bus, 10));
    assert_eq!(machine.host.interrupts(vector), 1);
    machine.end();
}

#[test]
fn the_link_is_told_by_interrupt_and_by_tick() {
    for kind in [MODERN, LEGACY, BHYVE] {
        let mut machine = started(kind);
        let up = Some(Link::Up {
            mbps: 0,
            full_duplex: true,
        });
        assert_eq!(machine.event().link, up);
        let plug = |machine: &M, is_up| {
            machine
                .host
                .with(|card, bus| machine::Card::plug(card, bus, is_up));
        };
        plug(&machine, false);
        assert!(machine.answer().1, "{kind:?}");
        assert_eq!(machine.event().link, Some(Link::Down));
        plug(&machine, true);
        assert_eq!(machine.tick().link, up);
        machine.end();
    }
}

#[test]
fn a_stuck_queue_costs_a_reset_and_what_it_had() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.tick();
        inject(&machine, Fault::SendStuck);
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
fn a_device_that_wants_a_reset_gets_it() {
    for kind in [MODERN, LEGACY] {
        let mut machine = started(kind);
        machine.tick();
        inject(&machine, Fault::NeedsReset);
        assert!(machine.answer().1);
        assert!(machine.event().was_reset, "{kind:?}");
        assert!(machine.arrive(&frame(false, true, 100, 1)));
        assert_eq!(machine.answer().0.len(), 1);
        machine.end();
    }
}

#[test]
fn nonsense_about_received_buffers_costs_a_reset() {
    for kind in [MODERN, LEGACY, BARE] {
        for fault in [
            Fault::Head(5000),
            Fault::Head(0xffff_ffff),
            Fault::Again,
            Fault::Jump(3),
            Fault::Length(5000),
            Fault::Length(u32::MAX),
        ] {
            let mut machine = started(kind);
            inject(&machine, fault);
            assert!(machine.arrive(&frame(false, true, 100, 1)));
            machine.answer();
            machine.received();
            assert!(machine.tick().was_reset, "{kind:?} {fault:?}");
            assert_eq!(machine.rx_figures().bogus, 1);
            assert!(machine.arrive(&frame(false, true, 100, 1)));
            assert_eq!(machine.received().len(), 1);
            machine.end();
        }
    }
}

#[test]
fn nonsense_about_sent_frames_costs_a_reset() {
    for kind in KINDS {
        for fault in [Fault::Head(5000), Fault::Again, Fault::Jump(1)] {
            let mut machine = started(kind);
            machine
                .host
                .with(|card, _| machine::Card::be_slow(card, true));
            for n in 0..3 {
                machine
                    .send(0, &frame(false, true, 100, n), 4096, &PLAIN)
                    .unwrap();
            }
            inject(&machine, fault);
            machine.host.with(|card, bus| card.run(bus, 1));
            machine.reap();
            assert!(machine.tick().was_reset, "{kind:?} {fault:?}");
            assert_eq!(machine.tx_figures().bogus, 1, "{kind:?} {fault:?}");
            machine.end();
        }
    }
}

#[test]
fn headers_that_are_nonsense_do_no_harm() {
    for kind in [MODERN, LEGACY] {
        for fault in [
            Fault::Buffers(0),
            Fault::Buffers(2),
            Fault::Buffers(0xffff),
            Fault::Length(0),
            Fault::Length(11),
        ] {
            let mut machine = started(kind);
            inject(&machine, fault);
            for n in 0..5 {
                assert!(machine.arrive(&frame(false, true, 100, n)));
            }
            assert!(machine.answer().0.len() < 5, "{kind:?} {fault:?}");
            machine.end();
        }
    }
}

#[test]
fn a_device_that_does_not_obey_is_used_without() {
    for fault in [Fault::ControlRefuses, Fault::ControlDead] {
        let mut machine = machine(MODERN);
        inject(&machine, fault);
        let started = machine.start();
        assert_eq!(
            started,
            Err(Error::Broken("pairs of queues", 4)),
            "{fault:?}"
        );
        (machine.setup.tx_queues, machine.setup.rx_queues) = (1, 1);
        machine.start().unwrap();
        assert!(!machine.host.take_log().is_empty());
        machine
            .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
            .unwrap();
        assert_eq!(machine.sent().len(), 1);
        machine.end();
    }
}

#[test]
fn what_does_not_come_up_says_why() {
    let failing = |fault| {
        let mut machine = machine(MODERN);
        inject(&machine, fault);
        let error = machine.start().unwrap_err();
        machine.end();
        error
    };
    assert!(matches!(
        failing(Fault::Disagrees),
        Error::Broken("features", _)
    ));
    let mut machine = started(MODERN);
    inject(&machine, Fault::ResetStuck);
    let error = machine.start().unwrap_err();
    assert!(matches!(error, Error::Broken("reset", _)));
    machine
        .host
        .with(|card, bus| machine::Card::misbehave(card, bus, &mut Random::new(5)));
    let odd = Kind {
        features: ALL,
        ..MODERN
    };
    assert!(matches!(try_machine(odd), Err(Error::Unsupported(..))));
    let small = Kind {
        queue_size: 32,
        ..LEGACY
    };
    assert_eq!(
        try_machine(small).err(),
        Some(Error::Unsupported("queue's size", 32))
    );
    let mut machine = self::machine(MODERN);
    machine.setup.rx_queues = 2;
    let error = machine.start().unwrap_err();
    assert!(matches!(error, Error::Invalid(_, 4)));
}

#[test]
fn a_pulled_device_is_noticed() {
    for kind in KINDS {
        let mut machine = started(kind);
        machine.tick();
        machine
            .send(0, &frame(false, true, 100, 1), 4096, &PLAIN)
            .unwrap();
        inject(&machine, Fault::Gone);
        machine.tick();
        assert_eq!(machine.port.state(), State::Broken, "{kind:?}");
        let sent = machine.send(0, &frame(false, true, 100, 1), 4096, &PLAIN);
        assert_eq!(sent, Err(Why::Stopped));
        machine.end();
    }
}

/// A device of any kind.
fn any_machine(random: &mut Random) -> M {
    let mut kind = KINDS[random.below(KINDS.len())];
    kind.has_msix = random.percent(60);
    if random.percent(30) {
        kind.features &= random.bits() | VERSION_1 | 1 << 17;
        // What needs something else is there without it.
        if kind.features & CSUM == 0 {
            kind.features &= !HOST_TSO;
        }
        if kind.features & GUEST_CSUM == 0 {
            kind.features &= !GUEST_TSO;
        }
    }
    machine(kind)
}

#[test]
fn whatever_is_done_nothing_is_lost_unaccounted() {
    any_steps(&any_machine, 0..seeds(), false);
}

#[test]
fn whatever_the_device_does_nothing_is_lost_unaccounted() {
    any_steps(&any_machine, 0..seeds(), true);
}
