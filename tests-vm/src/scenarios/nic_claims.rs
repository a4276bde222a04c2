// SPDX-License-Identifier: BSD-2-Clause
//! `hw.weft.devices` in a system that is up: a module that is loaded takes the cards named there
//! that have no driver, and leaves the others. What the boot loader does with it is in
//! `nic_loader`.

use weft_agent::frame::escape_word;

use super::nic::Wire;
use super::pair::LIMIT;
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::{FIRST_SLOT, Nic};

const VIRTIO: Nic = Nic {
    device: "virtio-net-pci",
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-claims",
    group: "nic-claims",
    about: "a module that is loaded takes the cards that hw.weft.devices names and that have no \
            driver, leaves those that have one, and gives back what it has",
    nics: &[Nic { device: "vmxnet3" }, VIRTIO, VIRTIO, VIRTIO],
    run,
    ..Scenario::ORDINARY
};

/// What is named: a card by its place, all of a driver's, and two words that name nothing.
const NAMED: &str = "pci0:0:8:0 wvtnet wrong pci0:3";
const WRONG: [&str; 2] = ["wrong", "pci0:3"];
/// Cards without a driver, by their number, and the names that they get; and those with one.
const FREE: [(usize, &str); 2] = [(0, "wvmx0"), (1, "wvtnet0")];
const HELD: [(usize, &str); 2] = [(2, "vtnet1"), (3, "vtnet2")];
/// A setting of a card's as a tunable.
const TUNABLE: (&str, &str) = ("dev.wvmx.0.rx_descriptors", "256");

fn run(context: &mut Context<'_>) -> Result<()> {
    for (number, _) in FREE {
        detach(context, number)?;
    }
    context.guest.clear_messages()?;
    let (name, value) = TUNABLE;
    context.guest.each(&[
        format!("kenv set hw.weft.devices {}", escape_word(NAMED)),
        format!("kenv set {name} {value}"),
    ])?;
    context.load_weft()?;
    let names = FREE.map(|(_, name)| name);
    are_there(context, "loaded", &names, &["wvtnet1", "vmx0", "vtnet0"])?;
    are_there(context, "loaded", &HELD.map(|(_, name)| name), &[])?;
    said(context)?;
    let shown = context.guest.sysctl("hw.weft.devices")?;
    let what = "hw.weft.devices shows what was set";
    context.report.equal(&shown.as_str(), &NAMED, what);
    let set = context.guest.sysctl(name)?;
    let what = format!("{name} is as the tunable says");
    context.report.equal(&set.as_str(), &value, &what);
    for (number, name) in FREE {
        let wire = Wire::new(number);
        wire.connect(context, name)?;
        wire.answers(context, name)?;
        wire.disconnect(context, name)?;
        let refused = context.guest.refused("kld unload weft.ko")?;
        context.report.check(
            refused.starts_with("EBUSY"),
            &format!("unload is refused while there is {name}"),
            refused,
        );
        detach(context, number)?;
    }
    context.unload_weft()?;
    // Another driver takes a card that was given back.
    let attach = format!("devctl attach {}", place(FREE[1].0));
    context.guest.call_within(&attach, LIMIT)?;
    are_there(context, "given back", &["vtnet0"], &["wvtnet0"])
}

fn place(number: usize) -> String {
    format!("pci0:0:{}:0", FIRST_SLOT + number)
}

fn detach(context: &mut Context<'_>, number: usize) -> Result<()> {
    let command = format!("devctl detach {}", place(number));
    context.guest.call_within(&command, LIMIT).map(drop)
}

/// Whether these interfaces are there, and those are not.
fn are_there(context: &mut Context<'_>, when: &str, there: &[&str], gone: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    for name in there.iter().chain(gone) {
        if context.guest.call(&format!("if stat {name}")).is_ok() {
            found.push(*name);
        }
    }
    let what = format!("{when}: there are {there:?}, and not {gone:?}");
    context.report.equal(&found, &there.to_vec(), &what);
    Ok(())
}

/// A line says of each word that names nothing what can be named, and of each card that has a
/// driver how it is had.
fn said(context: &mut Context<'_>) -> Result<()> {
    let said = context.guest.messages()?;
    let wrong = WRONG.map(|word| {
        format!("weft: hw.weft.devices: {word}: refused, allowed are places such as pci0:0:3:0")
    });
    let held = HELD.map(|(number, _)| {
        let place = place(number);
        // What vtnet(4) is on.
        let by = format!("virtio_pci{}", number - 1);
        format!(
            "weft: hw.weft.devices: {place} is left to {by}, since the system is up: \
             devctl set driver -f {place} wvtnet"
        )
    });
    for line in wrong.iter().chain(&held) {
        let count = said.iter().filter(|said| said.starts_with(line)).count();
        let what = format!("one line of the log: {line}");
        context.report.check(count == 1, &what, format!("{said:?}"));
    }
    Ok(())
}
