// SPDX-License-Identifier: BSD-2-Clause
//! The host behind the cables, seen with FreeBSD's own drivers of the same cards: what fails
//! here is not a driver's of ours.

use super::nic::Wire;
use super::{Context, Scenario};
use crate::guest::Result;
use crate::lan::Nic;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "nic-host",
    group: "nic-host",
    about: "the host behind the cables answers FreeBSD's own vmx(4), em(4) and vtnet(4)",
    nics: &[
        Nic { device: "vmxnet3" },
        Nic { device: "e1000" },
        Nic {
            device: "virtio-net-pci",
        },
    ],
    run,
    ..Scenario::ORDINARY
};

fn run(context: &mut Context<'_>) -> Result<()> {
    for (number, name) in ["vmx0", "em0", "vtnet0"].into_iter().enumerate() {
        let wire = Wire::new(number);
        wire.connect(context, name)?;
        wire.echoes(context, name)?;
        wire.floods(context, name)?;
        wire.disconnect(context, name)?;
    }
    Ok(())
}
