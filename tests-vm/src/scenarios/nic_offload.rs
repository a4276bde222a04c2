// SPDX-License-Identifier: BSD-2-Clause
//! Cards are sent packets that ask for anything, whatever the card has and what of it is on:
//! each comes out as it must be, byte by byte.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::pair::LIMIT;
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::lan::check::{TCP, UDP};
use crate::lan::made::{Ip, Left, Made, Part, SCTP, WHOLE};
use crate::lan::{Behaviour, FIRST_SLOT, Nic, Port, card_mac};

/// The cards, and their drivers.
const CARDS: [(&str, &str); 4] = [
    ("vmxnet3", "wvmx"),
    ("e1000", "wem"),
    ("e1000e", "wem"),
    ("virtio-net-pci", "wvtnet"),
];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-offload",
    group: "nic-offload",
    about: "packets that ask a card for what it lacks, or has turned off: each comes out byte by byte as it must be",
    limit: Duration::from_secs(240),
    nics: &[
        Nic { device: CARDS[0].0 },
        Nic { device: CARDS[1].0 },
        Nic { device: CARDS[2].0 },
        Nic { device: CARDS[3].0 },
    ],
    run,
    ..Scenario::ORDINARY
};

/// To whom the packets are.
const TO: [u8; 6] = [2, 0, 0, 0x77, 0, 0x77];
/// Flags of `sys/mbuf.h`.
const IP: u32 = 0x1;
const IP_UDP: u32 = 0x2;
const IP_TCP: u32 = 0x4;
const IP_SCTP: u32 = 0x8;
const IP6_UDP: u32 = 0x200;
const IP6_TCP: u32 = 0x400;
const IP6_SCTP: u32 = 0x800;
/// As TCP sets it: in both families.
const TSO: u32 = 0x1010;
const INNER_IP: u32 = 0x4000;
const INNER_IP_TCP: u32 = 0x1_0000;
const INNER_IP_TSO: u32 = 0x2_0000;
const INNER_IP6_TCP: u32 = 0x80;
const INNER_IP6_TSO: u32 = 0x100;
const ENCAP_VXLAN: u32 = 0x4_0000;

/// A tag: priority 5, VLAN 77.
const TAG: u16 = 0xa04d;
/// What can be turned off.
const CAPABILITIES: &str = "txcsum txcsum6 tso4 tso6 vlanhwtag vlanhwcsum vlanhwtso";

/// A packet that is sent.
#[derive(Clone, Copy, Debug)]
struct Case {
    made: Made,
    csum_flags: u32,
    /// Bytes of payload of each frame; 0 if it is not cut.
    segment: usize,
    tag: Option<u16>,
    payload: usize,
    pieces: usize,
}

/// What of a card's figures has to be how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Helped {
    cut: u64,
    parts: u64,
    summed: u64,
    tagged: u64,
    lost: u64,
}

impl Case {
    fn left(&self) -> Left {
        let ip = if self.made.is_inner { INNER_IP } else { IP };
        Left {
            layer_4: self.csum_flags & !(IP | INNER_IP | TSO | ENCAP_VXLAN) != 0,
            ip: self.csum_flags & ip != 0,
        }
    }

    /// The bytes behind the header, which the guest makes by the same rule.
    fn bytes(&self, headers: usize) -> Vec<u8> {
        (headers..headers + self.payload)
            .map(|at| ((at * 7) ^ (at >> 8)) as u8)
            .collect()
    }

    /// The frames that must come.
    fn frames(&self) -> Vec<Vec<u8>> {
        let bytes = self.bytes(self.made.headers());
        let left = Left::default();
        if self.segment == 0 {
            return vec![self.made.frame(&bytes, WHOLE, left, self.tag)];
        }
        let count = bytes.chunks(self.segment).count();
        let parts = bytes.chunks(self.segment).enumerate();
        parts
            .map(|(number, payload)| {
                let part = Part {
                    number,
                    gone: number * self.segment,
                    is_last: number + 1 == count,
                };
                self.made.frame(payload, part, left, self.tag)
            })
            .collect()
    }

    /// What sends it by that interface.
    fn commands(&self, name: &str) -> Vec<String> {
        let headers = self.made.headers();
        let whole = self
            .made
            .frame(&self.bytes(headers), WHOLE, self.left(), None);
        let header = &whole[..headers];
        let set =
            |what: &str, value: u64| format!("sysctl set net.weft.test.offload.{what} {value}");
        let shape = (headers as u64) << 48 | (self.pieces as u64) << 32 | self.payload as u64;
        let mut commands = vec![
            set("shape", shape),
            set(
                "asks",
                (self.segment as u64) << 32 | u64::from(self.csum_flags),
            ),
            set("tag", self.tag.map_or(1 << 16, u64::from)),
        ];
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(word)
        };
        commands.extend(header.chunks(8).map(|bytes| set("header", word(bytes))));
        commands.push(set("send", word(name.as_bytes())));
        commands
    }

    /// What it adds to the figures of a card of which all is off.
    fn helped(&self) -> Helped {
        let flags = self.csum_flags & !ENCAP_VXLAN;
        let is_cut = self.segment > 0;
        let parts = if is_cut {
            self.frames().len() as u64
        } else {
            0
        };
        // A tunnel's packet has its tag put in when it is sent, after it was cut.
        let tagged = match (self.tag, self.made.is_inner && is_cut) {
            (None, _) => 0,
            (Some(_), true) => parts,
            (Some(_), false) => 1,
        };
        Helped {
            cut: u64::from(is_cut),
            parts,
            summed: u64::from(!is_cut && flags != 0),
            tagged,
            lost: 0,
        }
    }
}

impl std::ops::AddAssign for Helped {
    fn add_assign(&mut self, other: Self) {
        self.cut += other.cut;
        self.parts += other.parts;
        self.summed += other.summed;
        self.tagged += other.tagged;
        self.lost += other.lost;
    }
}

/// A packet from a card that asks for nothing.
fn plain(number: usize, ip: Ip, protocol: u8) -> Case {
    Case {
        made: Made {
            ip,
            protocol,
            is_inner: false,
            to: TO,
            from: card_mac(number),
        },
        csum_flags: 0,
        segment: 0,
        tag: None,
        payload: 501,
        pieces: 1,
    }
}

/// What asks for the sum of a protocol.
fn sum_of(ip: Ip, protocol: u8) -> u32 {
    match (ip, protocol) {
        (Ip::V4(_), TCP) => IP_TCP,
        (Ip::V4(_), UDP) => IP_UDP,
        (Ip::V4(_), _) => IP_SCTP,
        (Ip::V6(_), TCP) => IP6_TCP,
        (Ip::V6(_), UDP) => IP6_UDP,
        (Ip::V6(_), _) => IP6_SCTP,
    }
}

/// Extension headers that are too long for a card: more than 128 bytes with TCP's.
const LONG: Ip = Ip::V6(&[16, 40]);

/// Every request, over everything that may be around it.
fn all(number: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let networks = [
        Ip::V4(0),
        Ip::V4(8),
        Ip::V6(&[]),
        Ip::V6(&[8]),
        Ip::V6(&[16, 8]),
        LONG,
    ];
    for ip in networks {
        let is_v4 = matches!(ip, Ip::V4(_));
        let mut asking = Vec::new();
        for protocol in [TCP, UDP, SCTP] {
            let none = plain(number, ip, protocol);
            let csum_flags = sum_of(ip, protocol);
            asking.extend([none, Case { csum_flags, ..none }]);
            if is_v4 {
                asking.push(Case {
                    csum_flags: IP,
                    ..none
                });
                let csum_flags = csum_flags | IP;
                asking.push(Case { csum_flags, ..none });
            }
        }
        for (segment, payload) in [(700, 3333), (48, 500)] {
            let csum_flags = sum_of(ip, TCP) | TSO | if is_v4 { IP } else { 0 };
            let none = plain(number, ip, TCP);
            asking.push(Case {
                csum_flags,
                segment,
                payload,
                ..none
            });
        }
        for (tag, pieces) in [(None, 1), (None, 40), (Some(TAG), 3)] {
            let others = asking.iter().copied();
            cases.extend(others.map(|case| Case {
                tag,
                pieces,
                ..case
            }));
        }
    }
    cases.extend(inner(number));
    cases
}

/// In a tunnel.
fn inner(number: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for (ip, sums, tso) in [
        (Ip::V4(0), INNER_IP | INNER_IP_TCP, INNER_IP_TSO),
        (Ip::V6(&[8]), INNER_IP6_TCP, INNER_IP6_TSO),
    ] {
        let mut none = plain(number, ip, TCP);
        none.made.is_inner = true;
        let summed = Case {
            csum_flags: ENCAP_VXLAN | sums,
            ..none
        };
        let long = Case {
            csum_flags: summed.csum_flags | tso,
            segment: 700,
            payload: 3333,
            ..none
        };
        for tag in [None, Some(TAG)] {
            cases.extend([summed, long].map(|case| Case {
                tag,
                pieces: 3,
                ..case
            }));
        }
    }
    cases
}

/// What no card of these does, though all is on.
fn beyond(number: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for ip in [Ip::V6(&[8]), LONG] {
        let csum_flags = IP6_TCP | TSO;
        cases.push(Case {
            csum_flags,
            segment: 700,
            payload: 3333,
            ..plain(number, ip, TCP)
        });
    }
    cases.push(Case {
        csum_flags: IP_TCP | TSO,
        segment: 48,
        payload: 500,
        ..plain(number, Ip::V4(0), TCP)
    });
    for ip in [Ip::V4(0), Ip::V6(&[])] {
        let csum_flags = sum_of(ip, SCTP);
        cases.push(Case {
            csum_flags,
            ..plain(number, ip, SCTP)
        });
    }
    cases.push(Case {
        csum_flags: IP,
        ..plain(number, Ip::V4(0), UDP)
    });
    let tagged = cases.clone().into_iter();
    let tag = Some(TAG);
    cases.extend(tagged.map(|case| Case {
        tag,
        pieces: 3,
        ..case
    }));
    cases.extend(inner(number));
    cases
}

/// A card.
struct Card {
    number: usize,
    name: String,
    node: String,
    /// What is on at first, which is all that it has of what is turned off.
    has: String,
    port: Port,
}

impl Card {
    fn set(&self, context: &mut Context<'_>, setting: &str, value: u64) -> Result<()> {
        let command = format!("sysctl set {}.{setting} {value}", self.node);
        context.guest.call(&command).map(drop)
    }

    /// Turns everything on that the card has, or off.
    fn turn(&self, context: &mut Context<'_>, on: bool) -> Result<()> {
        let sign = if on { "" } else { "-" };
        let changes: Vec<String> = CAPABILITIES
            .split(' ')
            .filter(|one| self.has.split(' ').any(|has| has == *one))
            .map(|one| format!("{sign}{one}"))
            .collect();
        let command = format!("if capability {} {}", self.name, changes.join(" "));
        context.guest.call(&command).map(drop)
    }

    /// The sums of its queues' figures.
    fn helped(&self, context: &mut Context<'_>) -> Result<Helped> {
        let mut sums = BTreeMap::new();
        let command = format!("sysctl tree {}.tx", self.node);
        for line in &context.guest.call(&command)? {
            let fields: Vec<&str> = line.split('\t').collect();
            let value: u64 = fields.last().and_then(|v| v.parse().ok()).unwrap_or(0);
            if let Some((_, figure)) = fields[0].split_once(".software.") {
                *sums.entry(figure.to_string()).or_insert(0) += value;
            }
        }
        let mut figure = |name: &str| {
            let value = sums.remove(name);
            value.ok_or_else(|| Error::Unexpected(format!("no {name} in {command}")))
        };
        Ok(Helped {
            cut: figure("cut")?,
            parts: figure("parts")?,
            summed: figure("summed")?,
            tagged: figure("tagged")?,
            lost: figure("lost")?,
        })
    }

    /// Sends packets one by one, and looks at what comes.
    fn send(&self, context: &mut Context<'_>, cases: &[Case], what: &str) -> Result<()> {
        let mut wrong = Vec::new();
        let mut frames = 0;
        for case in cases {
            self.port.set(Behaviour::Keep(TO, Vec::new()));
            context.guest.each(&case.commands(&self.name))?;
            let expected = case.frames();
            let came = self.port.kept(expected.len());
            frames += came.len();
            if came != expected {
                wrong.push(difference(case, &expected, &came));
            }
        }
        context.report.check(
            wrong.is_empty(),
            &format!(
                "{}: {what}: all bytes of what comes are as they must be",
                self.name
            ),
            format!(
                "{} of {} packets not so: {:.2000}",
                wrong.len(),
                cases.len(),
                wrong.join("; ")
            ),
        );
        context.report.note(&format!(
            "{}: {what}: {} packets became {frames} frames",
            self.name,
            cases.len()
        ));
        Ok(())
    }

    fn counted(
        &self,
        context: &mut Context<'_>,
        before: Helped,
        cases: &[Case],
        what: &str,
    ) -> Result<()> {
        let mut expected = before;
        for case in cases {
            expected += case.helped();
        }
        let found = self.helped(context)?;
        let what = format!("{}: {what}: the queues have counted all of it", self.name);
        context.report.equal(&found, &expected, &what);
        Ok(())
    }

    /// Every request; if not all is to be tried, a third of them, another one with each card.
    fn cases(&self, context: &Context<'_>) -> Vec<Case> {
        let step = if context.full { 1 } else { 3 };
        let cases = all(self.number).into_iter();
        cases.skip(self.number % step).step_by(step).collect()
    }

    fn all_off(&self, context: &mut Context<'_>) -> Result<()> {
        self.turn(context, false)?;
        let (before, cases) = (self.helped(context)?, self.cases(context));
        self.send(context, &cases, "all off")?;
        self.counted(context, before, &cases, "all off")
    }

    fn all_on(&self, context: &mut Context<'_>) -> Result<()> {
        self.turn(context, true)?;
        self.send(context, &beyond(self.number), "all on, beyond the card")?;
        self.set(context, "software_offload", 2)?;
        let (before, cases) = (self.helped(context)?, self.cases(context));
        let some: Vec<Case> = cases.into_iter().step_by(4).collect();
        self.send(context, &some, "all on, but all in software")?;
        self.counted(context, before, &some, "all on, but all in software")?;
        self.set(context, "software_offload", 1)
    }

    /// More frames than the card has room for.
    fn long(&self, context: &mut Context<'_>) -> Result<()> {
        self.turn(context, false)?;
        let tree = format!("sysctl get {}.tx_descriptors", self.node);
        let usual: u64 = context.guest.line(&tree)?.parse().unwrap_or(512);
        // virtio's are what the device has.
        let _ = self.set(context, "tx_descriptors", 64);
        let csum_flags = IP_TCP | TSO;
        let cases = [400, 123].map(|segment| Case {
            csum_flags,
            segment,
            payload: 60_040,
            pieces: 30,
            ..plain(self.number, Ip::V4(0), TCP)
        });
        self.send(context, &cases, "more than there is room for")?;
        let _ = self.set(context, "tx_descriptors", usual);
        Ok(())
    }

    /// Nothing is done in software if that is not wanted.
    fn refusing(&self, context: &mut Context<'_>) -> Result<()> {
        self.turn(context, false)?;
        self.set(context, "software_offload", 0)?;
        let before = self.helped(context)?;
        let asking = plain(self.number, Ip::V4(0), TCP);
        let lost = Case {
            csum_flags: IP_TCP,
            ..asking
        };
        context.guest.each(&lost.commands(&self.name))?;
        self.send(context, &[asking], "nothing in software")?;
        let mut expected = before;
        expected.lost += 1;
        let found = self.helped(context)?;
        let what = format!("{}: what the card does not do is lost then", self.name);
        context.report.equal(&found, &expected, &what);
        let refused = context
            .guest
            .refused(&format!("sysctl set {}.software_offload 3", self.node))?;
        context.report.check(
            refused.starts_with("EINVAL"),
            &format!("{}: there is no fourth way", self.name),
            refused,
        );
        self.set(context, "software_offload", 1)
    }
}

/// What is not as it must be, briefly.
fn difference(case: &Case, expected: &[Vec<u8>], came: &[Vec<u8>]) -> String {
    let hex = |bytes: &[u8]| {
        let bytes = bytes.iter().take(100);
        bytes.map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let first = expected.iter().zip(came).position(|(a, b)| a != b);
    let detail = first.map_or_else(String::new, |n| {
        let (wanted, found) = (&expected[n], &came[n]);
        let at = wanted.iter().zip(found).position(|(a, b)| a != b);
        format!(
            ", frame {n} at {at:?}, {} and {} bytes: {} is to be {}",
            found.len(),
            wanted.len(),
            hex(found),
            hex(wanted)
        )
    });
    format!(
        "{case:?}: {} of {} frames{detail}",
        came.len(),
        expected.len()
    )
}

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft_for_tests()?;
    let mut units = BTreeMap::new();
    for (number, (device, driver)) in CARDS.into_iter().enumerate() {
        let place = format!("pci0:0:{}:0", FIRST_SLOT + number);
        let set = format!("devctl set {place} {driver}");
        context.guest.call_within(&set, Duration::from_secs(30))?;
        let unit = units.entry(driver).or_insert(0);
        let has = context
            .guest
            .line(&format!("if capability {driver}{unit}"))?;
        let card = Card {
            number,
            has,
            name: format!("{driver}{unit}"),
            node: format!("dev.{driver}.{unit}"),
            port: context.guest.lan()?.ports[number].clone(),
        };
        *unit += 1;
        context
            .report
            .note(&format!("{} is {device}, with {}", card.name, card.has));
        context.guest.call(&format!("if up {}", card.name))?;
        wait_for_link(context, &card.name)?;
        card.all_off(context)?;
        card.all_on(context)?;
        card.long(context)?;
        card.refusing(context)?;
        context.guest.call(&format!("if down {}", card.name))?;
        context
            .guest
            .call_within(&format!("devctl detach {place}"), Duration::from_secs(30))?;
    }
    context.unload_weft()
}

fn wait_for_link(context: &mut Context<'_>, name: &str) -> Result<()> {
    let start = Instant::now();
    while context.guest.line(&format!("if link {name}"))? != "up" {
        if start.elapsed() > LIMIT {
            return Err(Error::Unexpected(format!("{name} has no link")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
