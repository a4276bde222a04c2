// SPDX-License-Identifier: BSD-2-Clause
//! Cards that loader.conf(5) gives to the module's drivers are theirs when the system is up.

use super::nic::Wire;
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::Nic;
use weft_agent::frame::escape_word;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-loader",
    group: "nic-loader",
    about: "cards that hw.weft.devices in loader.conf names are the module's from boot on, the others the system's",
    installed: true,
    needs_loader: true,
    loader_conf: LOADER_CONF,
    nics: &[
        Nic { device: "e1000e" },
        Nic {
            device: "virtio-net-pci",
        },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run,
    ..Scenario::ORDINARY
};

/// All cards that wem knows, and one of two that wvtnet would.
const LOADER_CONF: &str = "weft_load=\"YES\"\nhw.weft.devices=\"wem pci0:0:9:0\"\n";
/// The slots of the cards, and who may have each: a driver that gave a card up keeps its number.
const CARDS: [(u32, &[&str]); 3] = [
    (8, &["wem.0"]),
    (9, &["wvtnet.0"]),
    (10, &["virtio_pci.0", "virtio_pci.1"]),
];

fn run(context: &mut Context<'_>) -> Result<()> {
    let devices = context.guest.sysctl("hw.weft.devices");
    context
        .report
        .note(&format!("hw.weft.devices: {devices:?}"));
    for (slot, drivers) in CARDS {
        let mut found = Vec::new();
        for driver in drivers {
            let location = context
                .guest
                .sysctl(&escape_word(&format!("dev.{driver}.%location")));
            found.push(format!("{driver}: {location:?}"));
        }
        context.report.check(
            found
                .iter()
                .any(|line| line.contains(&format!("slot={slot} "))),
            &format!(
                "the card in slot {slot} is that of {}",
                drivers.join(" or ")
            ),
            found.join("\n"),
        );
    }
    for (number, name) in ["wem0", "wvtnet0"].into_iter().enumerate() {
        let wire = Wire::new(number);
        wire.connect(context, name)?;
        wire.echoes(context, name)?;
        wire.disconnect(context, name)?;
    }
    Ok(())
}
