// SPDX-License-Identifier: BSD-2-Clause
//! What statistics cost: the same packets over one pair, in a guest whose clock counts
//! instructions. In turn: by a module in which what counts packets is left out, by the one
//! that is shipped with no wait measured, one in so many as at first, and each, and by the
//! one for tests, which can turn probes on as dtrace(1) would.

use std::time::Duration;

use super::contest::{Contest, INSTRUCTIONS, Values, What};
use super::pair::{ENDS, listen, remove_jail};
use super::{Context, Scenario};
use crate::guest::{Error, Result};
use crate::record::At;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "race-statistics",
    group: "race-statistics",
    about: "instructions a packet over wpair with all statistics on, as at first, and off",
    limit: Duration::from_secs(2_400),
    memory_mib: [2048, 2048],
    counted: true,
    by_name: true,
    uncounted: true,
    run,
    ..Scenario::ORDINARY
};

/// A form of the module, and what is measured with it, in turn.
struct Form {
    load: fn(&mut Context<'_>) -> Result<()>,
    is_counting: bool,
    ways: &'static [Way],
}

/// What is on.
struct Way {
    name: &'static str,
    /// One packet in how many has its wait measured.
    every: u64,
    probes: bool,
}

const OFF: &str = "all off, counters too";
const COUNTERS: &str = "counters";
const DEFAULTS: &str = "counters, waits of one in 256, as at first";
const EACH: &str = "counters, each wait";
const FOR_TESTS: &str = "as at first, in the module for tests";
const ALL: &str = "counters, each wait, probes, in the module for tests";

const FORMS: [Form; 3] = [
    Form {
        load: |context| context.load_weft_uncounted(),
        is_counting: false,
        ways: &[Way::of(OFF, 0)],
    },
    Form {
        load: |context| context.load_weft(),
        is_counting: true,
        ways: &[
            Way::of(COUNTERS, 0),
            Way::of(DEFAULTS, 256),
            Way::of(EACH, 1),
        ],
    },
    Form {
        load: |context| context.load_weft_to_measure(),
        is_counting: true,
        ways: &[
            Way::of(FOR_TESTS, 256),
            Way {
                probes: true,
                ..Way::of(ALL, 1)
            },
        ],
    },
];

/// What is held against what.
const PAIRS: [(&str, &str); 7] = [
    (COUNTERS, OFF),
    (DEFAULTS, OFF),
    (EACH, OFF),
    (DEFAULTS, COUNTERS),
    (EACH, COUNTERS),
    (ALL, FOR_TESTS),
    (ALL, OFF),
];

impl Way {
    const fn of(name: &'static str, every: u64) -> Self {
        let probes = false;
        Self {
            name,
            every,
            probes,
        }
    }
}

const END: &str = "net.weft.pair.wpair0a";
const PROBES: &str = "net.weft.test.probes.on";
const ROUNDS: usize = 15;
/// Packets of a measurement.
const PACKETS: u64 = 4_000;
const SIZE: usize = 64;
const PORT: u16 = 4_100;
const IDLE_MS: u64 = 300;
const LIMIT: Duration = Duration::from_secs(120);

fn run(context: &mut Context<'_>) -> Result<()> {
    context.load_weft()?;
    if !context.is_to_measure("race-statistics")? {
        return context.unload_weft();
    }
    let mut contest = Contest::new(context)?;
    context.unload_weft()?;
    let mut values = Values::default();
    for _ in 0..ROUNDS {
        for form in &FORMS {
            measured(context, form, &mut values)?;
        }
    }
    for (name, peer) in PAIRS {
        let what = What {
            target: "statistics",
            work: format!("UDP, {SIZE} bytes: {name}"),
            metric: "a packet",
            unit: INSTRUCTIONS,
            at: At {
                experiment: "statistics",
                bytes: Some(SIZE),
                flows: Some(1),
                queues: Some(1),
                ..At::default()
            },
        };
        contest.note(context, name, &[peer], &what, &values);
    }
    contest.write(context, "statistics-vm.json");
    Ok(())
}

/// A round of one form of the module, loaded for it.
fn measured(context: &mut Context<'_>, form: &Form, values: &mut Values) -> Result<()> {
    (form.load)(context)?;
    context.guest.call("sysctl set net.weft.pair.queues 1")?;
    super::pair::between(context, &ENDS)?;
    let what = "the pair carries packets";
    super::pair::reached(context, "in left ", ENDS[1].2, 64, what)?;
    // The first packets find caches empty, of the kernel's memory above all.
    flooded(context)?;
    for way in form.ways {
        let every = way.every;
        let command = format!("sysctl set {END}.sojourn_every {every}");
        context.guest.call(&command)?;
        if way.probes {
            context.guest.call(&format!("sysctl set {PROBES} 1"))?;
        }
        values.add(way.name, flooded(context)?);
    }
    let counted = context
        .guest
        .number(&format!("sysctl get {END}.queue.0.packets"))?;
    context.report.check(
        match form.is_counting {
            true => counted >= PACKETS,
            false => counted == 0,
        },
        "the module counts packets, unless it is the one that does not",
        counted,
    );
    for (jail, ..) in ENDS {
        remove_jail(context, jail)?;
    }
    super::pair::await_home(context, ENDS[0].1)?;
    super::pair::destroy(context, ENDS[0].1)?;
    context.unload_weft()
}

/// Instructions for each packet that arrived, from the first that is sent to the last that
/// is received.
fn flooded(context: &mut Context<'_>) -> Result<f64> {
    listen(
        context,
        "drain",
        &format!("in right drain {PORT} {IDLE_MS}"),
    )?;
    let to = ENDS[1].2;
    let command = format!("in left flood {to} {PORT} {SIZE} 1 {PACKETS} 0");
    let line = context.guest.call_within(&command, LIMIT)?.join(" ");
    let sent: Vec<u64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let got = context.guest.finish("drain", LIMIT)?;
    match (&sent[..], &got[..]) {
        ([_, _, _, start, _], [arrived, _, _, last]) if *arrived > 0 => {
            Ok(last.saturating_sub(*start) as f64 / *arrived as f64)
        }
        _ => Err(Error::Unexpected(format!("{command}: {sent:?} {got:?}"))),
    }
}
