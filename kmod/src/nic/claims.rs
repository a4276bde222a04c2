// SPDX-License-Identifier: BSD-2-Clause
//! Which cards the drivers take though nobody has set the driver for them: those that the
//! loader's `hw.weft.devices` names.
//!
//! At boot another driver has had them first, since the module is set up after devices were
//! found; it gives them up. In a system that is up they are left to it, for they may be in use.
//! Those that have none then wait until all drivers are registered: with the first, the kernel
//! asks all drivers that it has, such as virtio_pci(4), which is not for cards only.

use core::ffi::CStr;

use weft_engine::nic::{is_claimed, wrong_claims};

use crate::kpi::context::Sleepable;
use crate::kpi::device::{Device, Driver, is_booting};
use crate::kpi::errno::Errno;
use crate::kpi::kernel;
use crate::kpi::log;
use crate::kpi::sysctl::{LINE, Line, Sysctls};
use crate::kpi::text::Text;

const NAME: &CStr = c"hw.weft.devices";

fn claims(sleepable: &mut Sleepable) -> Text<LINE> {
    kernel::environment(sleepable, NAME).unwrap_or(Text::new())
}

fn text(claims: &Text<LINE>) -> &str {
    claims.as_c_str().to_str().unwrap_or_default()
}

fn name(driver: Driver) -> &'static str {
    driver.name().to_str().unwrap_or_default()
}

/// Whether a driver is to take a device that it knows.
pub(super) fn has(sleepable: &mut Sleepable, driver: Driver, device: &Device) -> bool {
    let claims = claims(sleepable);
    is_claimed(text(&claims), name(driver), device.place())
}

/// The same of a device that another driver has; says so if it stays there.
pub(super) fn is_missed(sleepable: &mut Sleepable, driver: Driver, device: &Device) -> bool {
    if !has(sleepable, driver, device) {
        return false;
    }
    let is_free = is_booting();
    if !is_free {
        let (place, by) = (device.place(), device.name());
        let driver = name(driver);
        log::warning(format_args!(
            "hw.weft.devices: {place} is left to {by}, since the system is up: \
             devctl set driver -f {place} {driver}"
        ));
    }
    is_free
}

/// Says which words name nothing.
pub(super) fn check(sleepable: &mut Sleepable) {
    let claims = claims(sleepable);
    for wrong in wrong_claims(text(&claims), &Driver::ALL.map(name)) {
        log::warning(format_args!(
            "hw.weft.devices: {wrong}: refused, allowed are places such as pci0:0:3:0, \
             and wvmx, wem, wvtnet"
        ));
    }
}

struct DevicesLine;

impl Line for DevicesLine {
    fn read(sleepable: &mut Sleepable) -> Text<LINE> {
        claims(sleepable)
    }
}

/// Adds `hw.weft`.
///
/// # Errors
/// `ENOMEM`; nothing is left behind.
pub(super) fn add_sysctls(sleepable: &mut Sleepable) -> Result<Sysctls, Errno> {
    let mut tree = Sysctls::new(sleepable)?;
    let weft = tree.node(Sysctls::hw(), c"weft", c"Network cards with weft's drivers")?;
    tree.loader_line::<DevicesLine>(
        weft,
        c"devices",
        c"Cards that the drivers take at boot, with spaces between: places such as pci0:0:3:0, or wvmx, wem, wvtnet for all that one knows; set in loader.conf(5)",
    )?;
    Ok(tree)
}
