// SPDX-License-Identifier: BSD-2-Clause
//! Calls with what nobody would ask for, at random but the same for the same seed: settings,
//! requests to interfaces, route messages, rings of netmap(4), filters, frames.

mod frame;
mod request;
mod ring;
mod route;
mod setting;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::command::{Failure, Outcome, number};
use super::job::Meter;
use super::sys::{self, Errno};

const USAGE: &str = "fuzz setting TREE[,TREE...] SEED CALLS | request INTERFACES SEED CALLS | \
                     cloner PREFIXES SEED CALLS | filter SEED CALLS | route INTERFACE SEED CALLS | \
                     ring INTERFACE SEED CALLS | frame INTERFACE MAC MTU SEED CALLS";

/// `fuzz KIND ...`: so many calls; a line for each outcome, and how often it came.
pub(super) fn command(words: &[&str], meter: &Meter) -> Outcome {
    let [kind, about @ .., seed, calls] = words else {
        return Err(Failure::usage(USAGE));
    };
    let mut dice = Dice(number(seed, "seed")?);
    let mut tally = Tally::default();
    let calls: u64 = number(calls, "calls")?;
    let mut turn: Turn = match (*kind, about) {
        ("setting", [trees]) => setting::turn(trees)?,
        ("request", [names]) => request::turn(names)?,
        ("cloner", [prefixes]) => request::cloner(prefixes)?,
        ("filter", []) => request::filter()?,
        ("route", [interface]) => route::turn(interface)?,
        ("ring", [interface]) => ring::turn(interface)?,
        ("frame", [interface, mac, mtu]) => frame::turn(interface, mac, number(mtu, "mtu")?)?,
        _ => return Err(Failure::usage(USAGE)),
    };
    for call in 0..calls {
        tally.count(turn(&mut dice));
        meter.set(0, call + 1);
        if meter.stop_asked() {
            break;
        }
    }
    Ok(tally.lines())
}

/// A call with what the dice say.
type Turn = Box<dyn FnMut(&mut Dice) -> sys::Result<()>>;

/// Numbers at random, all of which follow from the first.
pub(super) struct Dice(u64);

impl Dice {
    /// Any number (splitmix64, by Sebastiano Vigna).
    pub(super) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.any() % bound.max(1) as u64) as usize
    }

    /// True so many times of a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.any() % 100 < percent
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A number that borders on something, or any.
    pub(super) fn number(&mut self) -> u64 {
        const EDGES: [u64; 18] = [
            0,
            1,
            2,
            3,
            63,
            64,
            65,
            255,
            256,
            1500,
            4096,
            65_535,
            65_536,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x7fff_ffff_ffff_ffff,
            u64::MAX,
        ];
        match self.below(4) {
            0 => self.any(),
            1 => self.any() & 0xffff,
            2 => self.any() & 0xf,
            _ => *self.pick(&EDGES),
        }
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            let word = match self.below(4) {
                0 => 0,
                1 => self.number(),
                _ => self.any(),
            };
            bytes.extend(word.to_ne_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// What came of calls, and how often.
#[derive(Default)]
struct Tally(BTreeMap<i32, u64>);

impl Tally {
    fn count(&mut self, outcome: sys::Result<()>) {
        let number = outcome.err().map_or(0, |Errno(number)| number);
        *self.0.entry(number).or_default() += 1;
    }

    fn lines(&self) -> Vec<String> {
        let name = |number: i32| match number {
            0 => "ok".into(),
            _ => {
                let text = Errno(number).to_string();
                text.split(" (")
                    .next()
                    .unwrap_or_default()
                    .replace(' ', "-")
            }
        };
        self.0
            .iter()
            .map(|(number, count)| format!("{} {count}", name(*number)))
            .collect()
    }
}
