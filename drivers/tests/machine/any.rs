// SPDX-License-Identifier: BSD-2-Clause
//! Any sequence of what an adapter, a wire and a short memory can do to a driver, with a device
//! that keeps to its manual or one that does not.
//!
//! Always: each frame that the driver took is done or lost, and counted; each buffer that was
//! given came back or was withdrawn; all memory is back in the end. With a device that keeps to
//! its manual also: it complains of nothing; what was sent is on the wire whole, in the order of
//! its queue; what was stored is received whole, in the order of its flow, or counted.

use std::collections::BTreeMap;

use super::frames::{self, layer_4};
use super::{Card, Machine};
use weft_engine::link::Capabilities;
use weft_engine::nic::{Asked, Nic, State};
use weft_engine::sim::nic::Host;
use weft_engine::sim::random::Random;

/// What has happened.
#[derive(Default)]
struct Journal {
    next: u32,
    /// Frames that were sent and are not on the wire yet: queue and bytes.
    taken: BTreeMap<u32, (u16, Vec<u8>)>,
    /// The last number of each queue that was on the wire.
    last_of_queue: [u32; 16],
    on_wire: u64,
    /// Frames that were stored and not received yet.
    stored: BTreeMap<u32, Vec<u8>>,
    last_of_flow: [u32; 32],
}

/// How long a run is: steps.
const STEPS: usize = 400;

/// How many runs there are: as many as `WEFT_NIC_SEEDS` says.
pub(crate) fn seeds() -> u64 {
    let said = std::env::var("WEFT_NIC_SEEDS").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(40)
}

/// Runs for each of the seeds. `lies` says whether the device may misbehave.
pub(crate) fn any_steps<M: Card, D: Nic<Host<M>>>(
    make: &dyn Fn(&mut Random) -> Machine<M, D>,
    seeds: std::ops::Range<u64>,
    lies: bool,
) {
    for seed in seeds {
        // So that a failure tells its seed.
        println!("seed {seed}, lies {lies}");
        let mut random = Random::new(seed);
        let mut machine = make(&mut random);
        let mut journal = Journal::default();
        machine.start().unwrap();
        for _ in 0..STEPS {
            step(&mut machine, &mut journal, &mut random, lies);
        }
        finish(machine, journal, lies);
    }
}

fn step<M: Card, D: Nic<Host<M>>>(
    machine: &mut Machine<M, D>,
    journal: &mut Journal,
    random: &mut Random,
    lies: bool,
) {
    match random.below(100) {
        0..40 => send(machine, journal, random, lies),
        40..70 => arrive(machine, journal, random),
        70..78 => {
            let (came, _) = machine.answer();
            journal.receive(came.into_iter().map(|(bytes, _)| bytes), lies);
        }
        78..82 => {
            let came = machine.received();
            journal.receive(came.into_iter().map(|(bytes, _)| bytes), lies);
        }
        82..86 => machine.reap(),
        86..90 => {
            let most = random.below(8);
            machine.host.with(|card, bus| card.work(bus, most));
        }
        90..92 => {
            let is_slow = random.percent(50);
            machine.host.with(|card, _| card.be_slow(is_slow));
        }
        92 => {
            let is_up = random.percent(70);
            machine.host.with(|card, bus| card.plug(bus, is_up));
        }
        93 | 94 => {
            machine.tick();
        }
        95 => {
            machine.event();
        }
        96 => {
            let successes = random.below(20) as u64;
            machine
                .host
                .fail_allocations(successes, random.below(6) as u64);
        }
        97 => {
            if random.percent(50) {
                machine.stop();
            }
            machine.setup.mtu =
                [1500, 1500, 4000, 9000][random.below(4)].min(machine.port.offer().most_mtu);
            let (tx, rx) = machine.most_queues;
            let mut some = |most: u16| 1 + random.below(most.into()) as u16;
            machine.set_queues(some(tx), some(rx));
            // There may be no memory.
            let _ = machine.start();
        }
        98 => {
            let group = [1, 0, 0x5e, 0, 0, random.below(4) as u8];
            machine.listens.multicast.push(group);
            machine.listens.promiscuous = random.percent(50);
            machine.listen();
        }
        _ if lies => machine.host.with(|card, bus| card.misbehave(bus, random)),
        _ => {}
    }
}

fn send<M: Card, D: Nic<Host<M>>>(
    machine: &mut Machine<M, D>,
    journal: &mut Journal,
    random: &mut Random,
    lies: bool,
) {
    let number = journal.next;
    let (is_ipv6, mut is_tcp) = (random.percent(30), random.percent(60));
    let capabilities = machine.port.offer().capabilities;
    let can_segment = capabilities.contains(match is_ipv6 {
        true => Capabilities::SEGMENT_IPV6,
        false => Capabilities::SEGMENT_IPV4,
    });
    let can_fill = capabilities.contains(match is_ipv6 {
        true => Capabilities::FILL_IPV6,
        false => Capabilities::FILL_IPV4,
    });
    let mut asked = Asked {
        checksum: can_fill && random.percent(50),
        ..Asked::default()
    };
    let mut payload = 4 + random.below(1400);
    if can_segment && random.percent(20) {
        is_tcp = true;
        asked.mss = 500 + random.below(900) as u16;
        payload = 4 + random.below(30_000);
    }
    if capabilities.contains(Capabilities::VLAN_TAG) && random.percent(20) {
        asked.vlan = Some(random.bits() as u16);
    }
    let bytes = frames::numbered(is_ipv6, is_tcp, payload, number);
    let given = match asked.checksum || asked.mss > 0 {
        true => frames::unfilled(bytes.clone()),
        false => bytes.clone(),
    };
    let piece = 1 + random.below(2000).max(given.len() / 50);
    let queue = random.below(machine.setup.tx_queues.into()) as u16;
    if machine.send(queue, &given, piece, &asked).is_ok() {
        journal.next += 1;
        let whole = match asked.vlan {
            Some(tag) => frames::tagged(bytes, tag),
            None => bytes,
        };
        journal.taken.insert(number, (queue, whole));
    }
    journal.see_wire_unless(machine.sent(), lies);
}

fn arrive<M: Card, D: Nic<Host<M>>>(
    machine: &mut Machine<M, D>,
    journal: &mut Journal,
    random: &mut Random,
) {
    let number = journal.next;
    journal.next += 1;
    let payload = 4 + random.below(1450);
    let bytes = frames::numbered(random.percent(30), random.percent(60), payload, number);
    if machine.arrive(&bytes) {
        journal.stored.insert(number, bytes);
    }
}

/// The number of a frame, with a tag or none.
fn number(frame: &[u8]) -> Option<u32> {
    let mut frame = frame.to_vec();
    if frame[12..14] == [0x81, 0] {
        frame.drain(12..16);
    }
    let l4 = layer_4(&frame);
    let is_tcp = frame[if l4 == 34 { 23 } else { 20 }] == 6;
    let payload = frame.get(l4 + if is_tcp { 20 } else { 8 }..)?;
    payload.first_chunk().map(|&four| u32::from_be_bytes(four))
}

/// The flow of a frame that came.
fn flow(frame: &[u8], number: u32) -> usize {
    let l4 = layer_4(frame);
    let is_tcp = frame[if l4 == 34 { 23 } else { 20 }] == 6;
    number as usize % 8 + 8 * usize::from(l4 == 34) + 16 * usize::from(is_tcp)
}

impl Journal {
    fn see_wire(&mut self, sent: Vec<Vec<u8>>) {
        let mut parts_left = 0_usize;
        for frame in sent {
            if parts_left > 0 {
                // More of a segment that was cut.
                parts_left = parts_left.saturating_sub(frame.len() - 54);
                continue;
            }
            let number = number(&frame).unwrap();
            let (queue, whole) = self
                .taken
                .remove(&number)
                .expect("sent once, and given before");
            let last = &mut self.last_of_queue[usize::from(queue)];
            assert!(*last <= number, "in the order of the queue");
            *last = number;
            self.on_wire += 1;
            if frame.len() < whole.len() {
                parts_left = segment_rest(&frame, &whole);
            } else {
                assert_eq!(frame, whole, "whole");
            }
        }
    }

    fn receive(&mut self, came: impl Iterator<Item = Vec<u8>>, lies: bool) {
        for bytes in came {
            if lies {
                continue;
            }
            let number = number(&bytes).unwrap();
            let whole = self
                .stored
                .remove(&number)
                .expect("received once, and stored before");
            assert_eq!(bytes[..whole.len()], whole, "whole");
            let last = &mut self.last_of_flow[flow(&whole, number)];
            assert!(*last <= number, "in the order of the flow");
            *last = number;
        }
    }
}

/// Bytes of payload that come in further frames.
fn segment_rest(frame: &[u8], whole: &[u8]) -> usize {
    let mut untagged = whole.to_vec();
    let tag = if whole[12..14] == [0x81, 0] { 4 } else { 0 };
    untagged.drain(12..12 + tag);
    let headers = layer_4(&untagged) + 20 + tag;
    assert_eq!(
        frame[headers..],
        whole[headers..frame.len()],
        "the first part"
    );
    // Each further frame counts with what is behind 54 bytes.
    let mss = frame.len() - headers;
    let rest = whole.len() - frame.len();
    rest + rest.div_ceil(mss) * (headers - 54)
}

fn finish<M: Card, D: Nic<Host<M>>>(machine: Machine<M, D>, mut journal: Journal, lies: bool) {
    machine.host.fail_allocations(0, 0);
    machine.host.with(|card, bus| {
        card.be_slow(false);
        card.work(bus, usize::MAX);
    });
    journal.see_wire_unless(machine.sent(), lies);
    machine.reap();
    let came = machine.received();
    journal.receive(came.into_iter().map(|(bytes, _)| bytes), lies);
    if lies {
        machine.end_with();
        return;
    }
    if machine.port.state() == State::Running {
        assert_eq!(machine.in_flight(), 0, "all is done");
    }
    let (tx, rx) = (machine.tx_figures(), machine.rx_figures());
    assert!(tx.done <= journal.on_wire, "{tx:?} {}", journal.on_wire);
    assert!(journal.taken.len() as u64 <= tx.lost, "{tx:?}");
    assert_eq!((tx.bogus, rx.bogus), (0, 0));
    let counted = rx.no_packet + rx.cut_off + rx.left;
    assert!(journal.stored.len() as u64 <= counted, "{rx:?}");
    machine.end();
}

impl Journal {
    fn see_wire_unless(&mut self, sent: Vec<Vec<u8>>, lies: bool) {
        if !lies {
            self.see_wire(sent);
        }
    }
}
