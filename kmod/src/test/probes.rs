// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.probes`: the module's probes turned on, and what they have said.

use core::ffi::CStr;

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::peers;
use crate::kpi::sysctl::{Indexed, Parent, Sysctls};

/// The probes, in the order of `sys-shim/c/test/probes.c`.
const PROBES: [&CStr; 4] = [c"drop", c"enqueue", c"dequeue", c"fib_change"];
/// What there is of each: how often, and the last arguments.
const FIGURES: [(&CStr, &CStr); 4] = [
    (c"count", c"Times that it fired"),
    (c"first", c"Its first argument, the last time"),
    (c"second", c"Its second argument, the last time"),
    (c"third", c"Its third argument, the last time"),
];

/// The index of the switch.
const SWITCH: u32 = 0xff;

struct OfProbes;

impl Indexed for OfProbes {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        peers::probe(index >> 8, index & 0xff)
    }

    fn write(
        _index: u32,
        sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        match peers::turn_probes(sleepable, value == 1) {
            0 => Err(Errno::ENXIO),
            _ => Ok(()),
        }
    }
}

/// Turns the probes off.
pub(super) fn stop(sleepable: &mut Sleepable) {
    peers::turn_probes(sleepable, false);
}

/// Adds `net.weft.test.probes`.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn add_sysctls(tree: &mut Sysctls, test: Parent) -> Result<(), Errno> {
    let node = tree.node(test, c"probes", c"The module's probes for dtrace(1)")?;
    for (number, name) in PROBES.iter().enumerate() {
        let probe = tree.node(node, name, c"A probe")?;
        for (which, (name, about)) in FIGURES.iter().enumerate() {
            let index = (number << 8 | which) as u32;
            tree.number_of::<OfProbes>(probe, name, None, index, about)?;
        }
    }
    let about = c"Write 1 to turn all on, 0 to turn them off";
    tree.setting_of::<OfProbes>(node, c"on", SWITCH, about)
}
