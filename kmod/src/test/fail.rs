// SPDX-License-Identifier: BSD-2-Clause
//! `net.weft.test.fail`: allocations of the module that fail when told to.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::kpi::context::{Sleepable, Vnet};
use crate::kpi::errno::Errno;
use crate::kpi::gate;
use crate::kpi::sysctl::{Access, Indexed, Oid, Parent, Sysctls};

/// By which of its calls the next site that is set fails.
static TURN: AtomicU64 = AtomicU64::new(1);

/// Indices of what is below the node, behind those of the sites' words.
const SITE: u32 = gate::SITES * gate::WORDS;
const TURNS: u32 = SITE + 1;
const FAILED: u32 = SITE + 2;
const FORGOTTEN: u32 = SITE + 3;

const SETTINGS: [(u32, &CStr, &CStr); 2] = [
    (
        SITE,
        c"site",
        c"Write a site's number to have one of its calls fail, 0 to forget all sites",
    ),
    (
        TURNS,
        c"turn",
        c"Which of the calls of the site that is set next, from 1 on",
    ),
];
const FIGURES: [(u32, &CStr, &CStr); 2] = [
    (FAILED, c"failed", c"The site that has failed since, or 0"),
    (
        FORGOTTEN,
        c"forgotten",
        c"Calls of sites for which there was no room",
    ),
];

struct OfGate;

impl Indexed for OfGate {
    fn read(index: u32, _sleepable: &mut Sleepable, _vnet: &Vnet<'_>) -> u64 {
        match index {
            SITE => 0,
            TURNS => TURN.load(Ordering::Relaxed),
            FAILED => gate::failed().into(),
            FORGOTTEN => gate::forgotten().into(),
            word => gate::word(word / gate::WORDS, word % gate::WORDS).into(),
        }
    }

    fn write(
        index: u32,
        _sleepable: &mut Sleepable,
        _vnet: &Vnet<'_>,
        value: u64,
    ) -> Result<(), Errno> {
        match (index, value) {
            (SITE, 0) => gate::forget(),
            (SITE, site) => gate::shut(site as u32, TURN.load(Ordering::Relaxed) as u32),
            _ => TURN.store(value, Ordering::Relaxed),
        }
        Ok(())
    }
}

/// Adds `net.weft.test.fail`.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn add_sysctls(tree: &mut Sysctls, test: Parent) -> Result<(), Errno> {
    let node = tree.node(test, c"fail", c"Allocations that fail when told to")?;
    for (index, name, about) in SETTINGS {
        tree.setting_of::<OfGate>(node, name, index, about)?;
    }
    for (index, name, about) in FIGURES {
        tree.number_of::<OfGate>(node, name, None, index, about)?;
    }
    let about = c"Sites that were called: number, calls, kind, return addresses";
    let sites = Oid::plain(c"sites", about).row(SITE);
    tree.indexed::<OfGate>(node, &sites, Access::FIGURE)
}
