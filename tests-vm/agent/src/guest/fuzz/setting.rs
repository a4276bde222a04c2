// SPDX-License-Identifier: BSD-2-Clause
//! sysctl(3): reads into too little room, writes of the wrong size, type and range.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::super::command::Failure;
use super::super::sys;
use super::super::sysctl;
use super::{Dice, Turn};

/// Nodes that are left alone: what they are told to do takes as long as it is told to, or is
/// another test's tool.
const SPARED: [&str; 3] = ["net.weft.fib.check", "net.weft.test", "net.weft.fib.auto"];

pub(super) fn turn(trees: &str) -> Result<Turn, Failure> {
    let mut nodes = vec![];
    for tree in trees.split(',') {
        nodes.extend(sysctl::leaves(tree)?);
    }
    nodes.retain(|(name, _)| !SPARED.iter().any(|spared| name.starts_with(spared)));
    if nodes.is_empty() {
        return Err(Failure::new("no nodes"));
    }
    Ok(Box::new(move |dice| {
        let (_, oid) = dice.pick(&nodes);
        if dice.chance(30) {
            let room = match dice.below(3) {
                0 => dice.below(16),
                1 => 8 * dice.below(9),
                _ => dice.below(5000),
            };
            return sys::sysctl_read(oid, &mut vec![0; room]).map(drop);
        }
        // Also below a leaf, and at a node above it.
        let mut place: Vec<_> = oid.clone();
        match dice.below(20) {
            0 => place.push(dice.number() as i32),
            1 => drop(place.pop()),
            _ => {}
        }
        let value = match dice.below(6) {
            0 => dice.number().to_ne_bytes().to_vec(),
            1 => (dice.number() as u32).to_ne_bytes().to_vec(),
            2 => {
                let count = dice.below(17);
                dice.bytes(count)
            }
            3 => {
                let count = dice.below(600);
                dice.bytes(count)
            }
            4 => text(dice),
            _ => (dice.below(70) as u64).to_ne_bytes().to_vec(),
        };
        sys::sysctl_write(&place, &value)
    }))
}

/// Text as settings that are texts take it, or nearly so.
fn text(dice: &mut Dice) -> Vec<u8> {
    const PARTS: [&str; 14] = [
        "0",
        "1",
        " ",
        ",",
        "-",
        "pci",
        ":",
        "none",
        "8086",
        "*",
        "\t",
        "99999999999999999999",
        "\u{e9}",
        "wvmx",
    ];
    let mut text = Vec::new();
    for _ in 0..dice.below(200) {
        text.extend(dice.pick(&PARTS).bytes());
    }
    text
}
