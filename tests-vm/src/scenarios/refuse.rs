// SPDX-License-Identifier: BSD-2-Clause
//! A module that does not fit the kernel is refused, with one line that says why,
//! and the kernel goes on.

use std::time::Duration;

use super::{Context, Scenario};
use crate::guest::Result;
use crate::image::MODULES;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "refuse",
    group: "modules",
    about: "modules of the wrong version, wrong options, or cut short are refused with a reason",
    limit: Duration::from_secs(60),
    run,
    ..Scenario::ORDINARY
};

fn run(context: &mut Context<'_>) -> Result<()> {
    for variant in &context.artifacts.variants {
        let name = &variant.name;
        context.guest.clear_messages()?;
        let why = context
            .guest
            .refused(&format!("kld load {MODULES}/{name}/weft.ko"))?;
        context.report.pass(&format!("{name}: refused ({why})"));

        let messages = context.guest.messages()?;
        let fitting = messages
            .iter()
            .filter(|line| line.contains(&variant.expected))
            .count();
        context.report.check(
            fitting == 1,
            &format!("{name}: one line on the console says why"),
            format_args!(
                "wanted one with '{}' in:\n{}",
                variant.expected,
                messages.join("\n")
            ),
        );
        let loaded = context.guest.call("kld stat")?;
        context.report.check(
            !loaded.iter().any(|line| line.starts_with("weft")),
            &format!("{name}: is not there afterwards"),
            loaded.join("\n"),
        );
    }
    context.nothing_held()?;
    context.load_weft()?;
    context.report.pass("the right module loads afterwards");
    context.unload_weft()
}
