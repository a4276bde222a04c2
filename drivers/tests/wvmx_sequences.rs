// SPDX-License-Identifier: BSD-2-Clause
//! Any sequence of what may happen to a card: frames both ways, faults of the card, memory that
//! fails, resets, other queues, stops, the link, detaching. After each step every frame and
//! every buffer is accounted for; the card has nothing to complain about, and at the end nothing is
//! left.
//!
//! Two seconds of random ones, or as many as `WEFT_SEQUENCES_SECONDS` says.

use arbitrary::{Arbitrary, Unstructured};
use std::collections::VecDeque;
use std::time::Duration;

use weft_drivers::wvmx::Wvmx;
use weft_engine::nic::{Asked, Extras, Nic, State, Why};
use weft_engine::sim::nic::vmxnet3::{Arrival, Fault, Vmxnet3};
use weft_engine::sim::nic::{Host, Ledger, Machine};

mod frames;
use frames::{group, is_right, tcp, to_us, udp};

const MAC: [u8; 6] = [0, 0x50, 0x56, 1, 2, 3];

#[derive(Arbitrary, Debug)]
enum Step {
    Send {
        queue: u8,
        len: u16,
        piece: u8,
        kind: Kind,
    },
    Burst {
        queue: u8,
        frames: u8,
    },
    Arrive {
        len: u16,
        hash: u8,
        count: u8,
    },
    Poll {
        queue: u8,
        budget: u8,
    },
    Reap(u8),
    Tick,
    Event,
    Misbehave {
        what: u8,
        number: u8,
    },
    Behave,
    FailAllocations {
        successes: u8,
        failures: u8,
    },
    Start {
        tx: u8,
        rx: u8,
        slots: u8,
        jumbo: bool,
        lro: bool,
    },
    Stop,
    Link(bool),
    Filter {
        promiscuous: bool,
        groups: u8,
    },
    Figures,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Plain,
    Sum { is_ipv6: bool },
    Segment { is_ipv6: bool, mss: u16 },
}

/// A machine, and what must come of it.
struct Run {
    machine: Machine<Vmxnet3, Wvmx<Host<Vmxnet3>>>,
    /// By queue, what the card has received and the stack has not.
    coming: Vec<VecDeque<Vec<u8>>>,
    serial: u16,
}

impl Run {
    fn new() -> Self {
        Self {
            machine: Machine::new(Vmxnet3::new(3, MAC)).unwrap(),
            coming: vec![VecDeque::new(); 8],
            serial: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send {
                queue,
                len,
                piece,
                kind,
            } => self.send(queue, len, piece, kind),
            Step::Burst { queue, frames } => {
                let frames = vec![udp(false, 100, None); usize::from(frames % 80)];
                self.machine.send_all((queue % 8).into(), &frames);
                self.machine.host.with(|card, _| card.take_sent());
            }
            Step::Arrive { len, hash, count } => {
                for _ in 0..=count % 40 {
                    self.arrive(len, hash);
                }
            }
            Step::Poll { queue, budget } => self.poll(queue.into(), budget.into()),
            Step::Reap(queue) => {
                self.machine.reap((queue % 8).into());
            }
            Step::Tick => {
                if self.machine.tick().was_reset {
                    self.forget();
                }
            }
            Step::Event => {
                let (resets, _) = self.machine.port.resets();
                self.machine.event();
                if self.machine.port.resets().0 != resets {
                    self.forget();
                }
            }
            Step::Misbehave { what, number } => self.misbehave(what, number),
            Step::Behave => self.machine.host.with(|card, _| card.behave()),
            Step::FailAllocations {
                successes,
                failures,
            } => {
                let (successes, failures) = (successes.into(), failures.into());
                self.machine.host.fail_allocations(successes, failures);
            }
            Step::Start {
                tx,
                rx,
                slots,
                jumbo,
                lro,
            } => self.start(tx, rx, slots, jumbo, lro),
            Step::Stop => {
                self.machine.stop();
                self.forget();
                assert!(!self.machine.host.with(|card, _| card.is_active()));
            }
            Step::Link(is_up) => self
                .machine
                .host
                .with(|card, bus| card.set_link(bus, is_up)),
            Step::Filter {
                promiscuous,
                groups,
            } => {
                self.machine.wants.promiscuous = promiscuous;
                self.machine.wants.multicast = (0..u16::from(groups)).map(group).collect();
                if self.machine.port.state() == State::Running {
                    let wants = self.machine.wants.clone();
                    self.machine.port.nic().filter(&wants.filter());
                }
            }
            Step::Figures => {
                let nic = self.machine.port.nic();
                nic.refresh();
                for label in 0..25 {
                    for queue in 0..9 {
                        nic.statistic(label, queue);
                    }
                }
            }
        }
        if self.machine.port.state() != State::Running {
            self.forget();
        }
    }

    /// What the card had is lost.
    fn forget(&mut self) {
        for queue in &mut self.coming {
            queue.clear();
        }
    }

    fn start(&mut self, tx: u8, rx: u8, slots: u8, jumbo: bool, lro: bool) {
        let mut setup = self.machine.setup(1 << (tx % 4), 1 << (rx % 4));
        setup.tx_slots = 64 + 32 * u16::from(slots & 3);
        setup.rx_slots = 32 + 32 * u16::from(slots >> 2 & 3);
        setup.mtu = if jumbo { 9000 } else { 1500 };
        setup.extras.set(Extras::LRO, lro);
        self.forget();
        let started = self.machine.start(&setup);
        assert_eq!(started.is_ok(), self.machine.port.state() == State::Running);
    }

    fn send(&mut self, queue: u8, len: u16, piece: u8, kind: Kind) {
        let queue = u16::from(queue % 8);
        let len = usize::from(len);
        let (frame, asked) = match kind {
            Kind::Plain => (udp(false, len % 1400, None), Asked::default()),
            Kind::Sum { is_ipv6 } => {
                let asked = Asked {
                    checksum: true,
                    ..Asked::default()
                };
                (udp(is_ipv6, len % 1400, None), asked)
            }
            Kind::Segment { is_ipv6, mss } => {
                let asked = Asked {
                    checksum: true,
                    mss: 100 + mss % 1400,
                    vlan: Some(5),
                };
                (tcp(is_ipv6, 1 + len % 20_000, None), asked)
            }
        };
        let was_running = self.machine.port.state() == State::Running;
        let result = self
            .machine
            .send(queue, &frame, usize::from(piece) * 4, &asked);
        if !was_running {
            assert_eq!(result, Err(Why::Stopped));
        }
        let out = self.machine.host.with(|card, _| card.take_sent());
        if result.is_err() {
            assert!(out.is_empty(), "what was refused is not sent");
            return;
        }
        // A queue that is stuck sends nothing.
        for one in &out {
            assert_eq!(one.queue, queue);
            match kind {
                Kind::Plain => assert_eq!(one.bytes, frame),
                _ => assert!(is_right(&one.bytes)),
            }
        }
        let expected = match asked.mss {
            0 => 1,
            mss => (1 + len % 20_000).div_ceil(mss.into()),
        };
        assert!(out.is_empty() || out.len() == expected);
    }

    fn arrive(&mut self, len: u16, hash: u8) {
        self.serial = self.serial.wrapping_add(1);
        let setup = self.machine.port.setup();
        let most = setup.map_or(1400, |setup| setup.mtu - 40);
        let mut frame = to_us(udp(false, usize::from(len) % most as usize, None));
        frame[6..8].copy_from_slice(&self.serial.to_be_bytes());
        let arrival = Arrival {
            hash: hash.into(),
            ..Arrival::default()
        };
        let queue = setup.map_or(0, |setup| match setup.rx_queues {
            1 => 0,
            _ => setup.rss.queue(hash.into()),
        });
        let was_taken = self
            .machine
            .host
            .with(|card, bus| card.receive(bus, &frame, &arrival));
        if was_taken {
            self.coming[usize::from(queue)].push_back(frame);
        }
    }

    fn poll(&mut self, queue: u16, budget: u32) {
        let queue = queue % 8;
        let received = self.machine.poll(queue, budget);
        assert!(received.len() <= budget as usize);
        let coming = &mut self.coming[usize::from(queue)];
        for (frame, _) in received {
            // Others were dropped for want of memory, or since the card said they are bad.
            let at = coming.iter().position(|one| *one == frame);
            let at = at.expect("what was received has come, in order, once");
            coming.drain(..=at);
        }
    }

    fn misbehave(&mut self, what: u8, number: u8) {
        let number = u16::from(number);
        let fault = match what % 11 {
            0 => Fault::StuckTx(number % 8),
            1 => Fault::BogusTx,
            2 => Fault::BogusRx,
            3 => Fault::LongRx,
            4 => Fault::WrongRing,
            5 => Fault::BadFrame,
            6 => Fault::PassOver(number),
            7 => Fault::NoActivation(number % 4),
            8 => Fault::StopQueue(number % 8),
            9 => Fault::OutOfTurn,
            _ => Fault::Spurious(number % 25),
        };
        let host = &self.machine.host;
        host.with(|card, bus| card.inject(bus, fault));
    }
}

fn run(steps: &[Step]) {
    let mut run = Run::new();
    for step in steps {
        run.step(step);
        run.machine.check();
        let complaints = run.machine.host.complaints();
        assert!(complaints.is_empty(), "{complaints:?} after {step:?}");
    }
    run.machine.end();
}

#[test]
fn nothing_is_lost_unaccounted_or_owned_twice() {
    let seconds = std::env::var("WEFT_SEQUENCES_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    arbtest::arbtest(|source: &mut Unstructured<'_>| {
        let mut steps = vec![Step::Start {
            tx: 1,
            rx: 1,
            slots: 0,
            jumbo: false,
            lro: false,
        }];
        while !source.is_empty() && steps.len() < 300 {
            steps.push(source.arbitrary()?);
        }
        run(&steps);
        Ok(())
    })
    .budget(Duration::from_secs(seconds))
    .size_max(4096);
}

#[test]
fn a_host_without_memory_keeps_nothing() {
    let host = Host::new(Vmxnet3::new(1, MAC));
    host.fail_allocations(0, 1 << 40);
    assert!(Machine::<Vmxnet3, Wvmx<Host<Vmxnet3>>>::on(host.clone()).is_err());
    assert_eq!(host.ledger(), Ledger::default());
}
