// SPDX-License-Identifier: BSD-2-Clause
//! `hw.weft.devices`: cards that the module takes by itself, if the loader names them. First
//! with the module in memory when the kernel starts, when the cards have other drivers already,
//! which give them up; then with a module that is loaded later, when those that have a driver
//! are left to it.

use std::time::Duration;

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
    name: "nic-boot",
    group: "nic-boot",
    about: "cards that the loader's hw.weft.devices names are taken at boot, by a module that \
            was loaded with the kernel, and given back; a module loaded later leaves those that \
            have a driver",
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "vmxnet3" },
        Nic { device: "e1000" },
        VIRTIO,
        VIRTIO,
    ],
    environment: &[
        "hw.weft.devices=pci0:0:8:0 wem pci0:0:11:0 wrong pci0:3",
        "dev.wem.0.rx_descriptors=256",
        "dev.wvmx.0.interrupt_moderation=0",
    ],
    preloaded: true,
    run,
    ..Scenario::ORDINARY
};

/// Cards that are named, by their number, and their names; and those that are not.
const TAKEN: [(usize, &str); 3] = [(0, "wvmx0"), (2, "wem0"), (3, "wvtnet0")];
const LEFT: [&str; 2] = ["vmx1", "vtnet1"];

fn run(context: &mut Context<'_>) -> Result<()> {
    are_there(
        context,
        "at boot",
        &TAKEN.map(|(_, name)| name),
        &["vmx0", "em0", "vtnet0"],
    )?;
    are_there(context, "at boot", &LEFT, &["wvmx1", "wvtnet1"])?;
    for word in ["wrong", "pci0:3"] {
        let line = format!("weft: hw.weft.devices: {word}: refused, allowed are places such as");
        let said = context.guest.messages()?;
        let count = said.iter().filter(|said| said.starts_with(&line)).count();
        context.report.equal(
            &count,
            &1,
            &format!("one line says that {word} names nothing"),
        );
    }
    for (name, value) in [
        ("dev.wem.0.rx_descriptors", "256"),
        ("dev.wvmx.0.interrupt_moderation", "0"),
    ] {
        let set = context.guest.sysctl(name)?;
        context.report.equal(
            &set.as_str(),
            &value,
            &format!("{name} is as the loader set it"),
        );
    }
    answer(context)?;
    given_back(context)?;
    // The driver of its own takes a card that was given back.
    let place = place(TAKEN[2].0);
    context
        .guest
        .call_within(&format!("devctl attach {place}"), LIMIT)?;
    are_there(context, "given back", &["vtnet0"], &["wvtnet0"])?;
    loaded_later(context)
}

fn place(number: usize) -> String {
    format!("pci0:0:{}:0", FIRST_SLOT + number)
}

/// Whether these interfaces are there, and those are not.
fn are_there(context: &mut Context<'_>, when: &str, there: &[&str], gone: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    for name in there.iter().chain(gone) {
        if context.guest.call(&format!("if stat {name}")).is_ok() {
            found.push(*name);
        }
    }
    let what = format!("{when} there are {there:?}, and not {gone:?}");
    context.report.equal(&found, &there.to_vec(), &what);
    Ok(())
}

/// The host at each taken card's cable answers.
fn answer(context: &mut Context<'_>) -> Result<()> {
    for (number, name) in TAKEN {
        let wire = Wire::new(number);
        wire.connect(context, name)?;
        wire.answers(context, name)?;
        wire.disconnect(context, name)?;
    }
    Ok(())
}

/// The module stays while it has cards, and leaves nothing when it has none.
fn given_back(context: &mut Context<'_>) -> Result<()> {
    for (number, name) in TAKEN {
        let refused = context.guest.refused("kld unload weft.ko")?;
        context.report.check(
            refused.starts_with("EBUSY"),
            &format!("unload is refused while there is {name}"),
            refused,
        );
        let detach = format!("devctl detach {}", place(number));
        context.guest.call_within(&detach, LIMIT)?;
    }
    context.unload_weft()
}

/// Two cards have no driver now, a named one has one.
fn loaded_later(context: &mut Context<'_>) -> Result<()> {
    context.guest.clear_messages()?;
    let named = escape_word("pci0:0:8:0 wem wvtnet");
    context
        .guest
        .call(&format!("kenv set hw.weft.devices {named}"))?;
    context.load_weft()?;
    are_there(
        context,
        "loaded later",
        &["wvmx0", "wem0"],
        &["wvtnet0", "wvtnet1"],
    )?;
    are_there(
        context,
        "loaded later",
        &["vtnet0", "vtnet1"],
        &["vmx0", "em0"],
    )?;
    let said = context.guest.messages()?;
    for (place, by) in [(place(3), "vtnet0"), (place(4), "vtnet1")] {
        let line = format!(
            "weft: hw.weft.devices: {place} is left to {by}, since the system is up: \
             devctl set driver -f {place} wvtnet"
        );
        let count = said.iter().filter(|said| **said == line).count();
        context.report.check(
            count == 1,
            &format!("one line says that {by} keeps its card"),
            format!("{said:?}"),
        );
    }
    let shown = context.guest.sysctl("hw.weft.devices")?;
    context.report.equal(
        &shown.as_str(),
        &"pci0:0:8:0 wem wvtnet",
        "hw.weft.devices shows it",
    );
    for (number, name) in &TAKEN[..2] {
        let wire = Wire::new(*number);
        wire.connect(context, name)?;
        wire.answers(context, name)?;
        wire.disconnect(context, name)?;
        let detach = format!("devctl detach {}", place(*number));
        context
            .guest
            .call_within(&detach, Duration::from_secs(30))?;
    }
    context.unload_weft()
}
